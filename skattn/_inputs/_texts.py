"""Texts and pairs of texts: strings, lists of tokens, turns of a dialogue, ids."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from skattn._architecture import SpecialToken

# What the second text of a pair is called by, in the content and among the tensors.
_SIDES = {"tokens": ("",), "pair": ("", "other_")}

_FORMS = {
    "string": "strings",
    "list": "lists of strings",
    "ids": "arrays of token ids",
}


def holds_texts(X: Any) -> str | None:
    """Tell whether the elements of some data are texts or pairs of texts.

    Parameters
    ----------
    X : object
        What the user passed.

    Returns
    -------
    input : {"tokens", "pair"} or None
        None where they are neither.
    """
    if isinstance(X, (str, bytes)):
        return "tokens"
    elements = _elements(X)
    if elements is None or not len(elements):
        return None
    if any(isinstance(each, tuple) and any(map(_form_of, each)) for each in elements):
        return "pair"
    forms = set(map(_form_of, elements)) - {None}
    if isinstance(X, (list, tuple)) and "ids" in forms:
        forms.discard("ids")  # a list of arrays of equal length is a table
        if all(map(_is_ids, elements)) and len(set(map(len, elements))) > 1:
            raise ValueError(
                "X is a list of arrays of integers, which would be a table, but their "
                "lengths differ. If they are token ids, pass them in an array of "
                "objects, as skattn.text.TokenEncoder.transform gives them."
            )
    if forms or all(isinstance(each, list) and not each for each in elements):
        return "tokens"
    return None


def holds_two_texts(X: Any) -> bool:
    """Tell whether a table has two columns, both of them of strings.

    Parameters
    ----------
    X : object
        What the user passed.

    Returns
    -------
    are_texts : bool
        Whether it could be a table of pairs of texts.
    """
    if isinstance(X, pd.DataFrame):
        X = X.to_numpy(dtype=object)
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.shape[1] != 2:
        return False
    if X.dtype != object:
        return X.dtype.kind in "UT"
    return all(any(isinstance(value, str) for value in column) for column in X.T)


def _elements(X: Any) -> Any:
    """Give the elements of what has one axis, and is not of numbers; else None."""
    if isinstance(X, (list, tuple)):
        return X
    if isinstance(X, (pd.Series, pd.api.extensions.ExtensionArray)):
        if pd.api.types.is_numeric_dtype(X.dtype):
            return None
        X = X.to_numpy(dtype=object)
    if isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype.kind in "OUST":
        return X
    return None


def _is_ids(value: Any) -> bool:
    return _form_of(value) == "ids"


def _form_of(value: Any) -> str | None:
    """Tell the form of a text; None where it is none, or an empty list."""
    if isinstance(value, (str, bytes)):
        return "string"
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            return None
        if value.dtype.kind in "iu":
            return "ids"
        value = value.tolist()
    if isinstance(value, list):
        return "list" if any(isinstance(token, str) for token in value) else None
    return None


class TextsEncoder:
    """Turn texts, or pairs of texts, into the codes of their tokens.

    A text without any token counts as a single unknown one.

    Parameters
    ----------
    input : {"tokens", "pair"}
        Whether samples are single texts.
    token_encoder : TokenEncoder or None
        The estimator's parameter; of it a clone is fitted. Arrays of ids need none.
    architecture : Architecture
        What it consumes decides which tensors are made.
    estimator : object
        Named in error messages.
    """

    def __init__(
        self, input: str, token_encoder: Any, architecture: Any, estimator: Any
    ) -> None:
        self.input = input
        self.token_encoder = token_encoder
        self.consumes = frozenset(architecture.consumes)
        self.architecture_name = architecture.name
        self.estimator_name = type(estimator).__name__

    def check(self, X: Any) -> np.ndarray:
        """Validate texts, as far as those of the training do not matter.

        Parameters
        ----------
        X : list, ndarray, Series or DataFrame
            What the user passed.

        Returns
        -------
        texts : ndarray of objects of shape (n,)
            Strings, lists of strings or arrays of int64; of pairs, tuples of two.
        """
        elements = self._check_container(X)
        if self.input == "tokens":
            return _as_objects(self._check_texts(list(elements)))
        for number, element in enumerate(elements):
            if not isinstance(element, tuple) or len(element) != 2:
                found = f"of type {type(element).__name__}"
                if isinstance(element, tuple):
                    found = f"a tuple of {len(element)}"
                raise TypeError(
                    f"Element {number} of X is {found}, but to {self.estimator_name} "
                    "X is a list of pairs of texts. Make each a tuple of two texts."
                )
        sides = [self._check_texts(list(side)) for side in zip(*elements, strict=True)]
        return _as_objects(list(zip(*sides, strict=True)))

    def _check_container(self, X: Any) -> Any:
        """Give the elements of X, of a table of two columns as tuples."""
        if isinstance(X, (str, bytes)):
            raise TypeError(
                f"{self.estimator_name} takes a list of texts as X, but X is a single "
                f"{'string' if isinstance(X, str) else 'bytes object'}. Pass [text]."
            )
        if self.input == "pair" and getattr(X, "ndim", 1) == 2 and X.shape[1] == 2:
            X = X.to_numpy(dtype=object) if isinstance(X, pd.DataFrame) else X
            X = [tuple(row) for row in X.tolist()]
        elements = _elements(X)
        if elements is None:
            shape = getattr(X, "shape", None)
            found = "" if shape is None else f" of shape {shape}"
            what = "texts" if self.input == "tokens" else "pairs of texts"
            raise TypeError(
                f"{self.estimator_name} takes a list, an array or a Series of {what} "
                f"as X, but X is a {type(X).__name__}{found}. Pass one sample for each "
                "element, for instance a column as frame['text']."
            )
        if not len(elements):
            raise ValueError(
                f"{self.estimator_name}: X has 0 texts, but at least one is required."
            )
        return elements

    def _check_texts(self, texts: list[Any]) -> list[Any]:
        """Validate texts, which are all of one form."""
        from skattn.text._reading import read_texts

        if "ids" not in set(map(_form_of, texts)):
            return read_texts(texts)
        checked = []
        for number, ids in enumerate(texts):
            if not isinstance(ids, np.ndarray) or ids.ndim != 1:
                raise TypeError(
                    f"Element {number} of X is of type {type(ids).__name__}, but "
                    "others are arrays of token ids. Pass texts of one form."
                )
            if len(ids) and (ids.dtype.kind not in "iu" or ids.min() <= 0):
                found = ids.min() if ids.dtype.kind in "iuf" else f"{ids[0]!r:.60}"
                raise ValueError(
                    f"Element {number} of X must hold token ids, which are positive "
                    f"integers, but holds {found} of {ids.dtype}. Leave padding (0) "
                    "out: texts may be of any length."
                )
            checked.append(ids.astype(np.int64))
        return checked

    def learn(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Learn the vocabulary and read the texts.

        Parameters
        ----------
        X : ndarray of objects of shape (n,)
            The training texts, from `check`.

        Returns
        -------
        content : dict of str to ndarray
            As `read`.
        """
        sides = self._sides(X)
        every = [text for side in sides.values() for text in side]
        self.form_ = self._form(every)
        self.token_encoder_: Any = None
        self.characters_: Any = None
        self.linear_: Any = None
        if self.form_ == "ids":
            largest = max(int(ids.max(initial=0)) for ids in every)
            self.vocabulary_size_ = max(largest + 1, len(SpecialToken))
        else:
            self.token_encoder_ = clone(resolve_token_encoder(self.token_encoder))
            # So that to weigh a text is to repeat it, equal ones count once.
            distinct = {_digest((text,)): text for text in every}
            self.token_encoder_.fit(list(distinct.values()))
            self.vocabulary_size_ = self.token_encoder_.vocabulary_size_
            if "characters" in self.consumes:
                from skattn.text._characters import CharacterCodes

                tokens = self.token_encoder_.tokenize(every)
                self.characters_ = CharacterCodes().fit(tokens)
        content = self.read(X)
        self.length_ = max(
            len(ids) for side in sides for ids in content[f"{side}tokens"]
        )
        return content

    def adopt(self, other: TextsEncoder, X: np.ndarray) -> dict[str, np.ndarray]:
        """Take over what another encoder has learned, and read the texts.

        Parameters
        ----------
        other : TextsEncoder
            Fitted.
        X : ndarray of objects of shape (n,)
            The training texts, from `check`, of the form that the other one knows.

        Returns
        -------
        content : dict of str to ndarray
            As `read`.
        """
        self.form_, self.length_ = other.form_, other.length_
        self.token_encoder_, self.characters_ = other.token_encoder_, other.characters_
        self.vocabulary_size_ = other.vocabulary_size_
        self.linear_ = None
        return self.read(X)

    def _form(self, texts: list[Any]) -> str:
        """Tell the form of all texts."""
        forms = [form for form in map(_form_of, texts) if form is not None]
        if not forms:
            raise ValueError(
                f"{self.estimator_name}: no training text holds a token. Pass texts "
                "that are not empty."
            )
        for form in forms:
            if form != forms[0]:
                raise ValueError(
                    f"X holds {_FORMS[forms[0]]} and {_FORMS[form]}. Pass texts of one "
                    "form."
                )
        return forms[0]

    def _sides(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Separate first and second texts."""
        if self.input == "tokens":
            return {"": X}
        first, second = zip(*X, strict=True)
        return {"": _as_objects(first), "other_": _as_objects(second)}

    def read(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Encode texts.

        Parameters
        ----------
        X : ndarray of objects of shape (n,)
            From `check`, of the form of the training texts.

        Returns
        -------
        content : dict of str to ndarray of objects of shape (n,)
            ``texts``; ``tokens``, which are arrays of int64; where consumed,
            ``segments`` and ``characters``; of pairs also ``other_texts`` and
            ``other_tokens``.
        """
        content: dict[str, np.ndarray] = {}
        for side, texts in self._sides(X).items():
            self._check_form(texts)
            content[f"{side}texts"] = texts
            content[f"{side}tokens"] = self._codes(texts)
        if "segments" in self.consumes:
            content["segments"] = self._segments(content)
        if self.characters_ is not None:
            content["characters"] = self.characters_.transform(
                self._names(content["texts"])
            )
        self._check_lengths(content)
        return content

    def _check_form(self, texts: np.ndarray) -> None:
        for number, text in enumerate(texts):
            form = _form_of(text)
            if form not in (None, self.form_) or (
                form is None and self.form_ == "string"
            ):
                found = _FORMS.get(form or "list")
                raise ValueError(
                    f"Element {number} of X is of the form of {found}, but "
                    f"{self.estimator_name} was fitted with {_FORMS[self.form_]}. Pass "
                    "what it was fitted with."
                )

    def _codes(self, texts: np.ndarray) -> np.ndarray:
        unknown = int(SpecialToken.UNKNOWN)
        if self.token_encoder_ is not None:
            codes = self.token_encoder_.transform(list(texts))
        else:
            size = self.vocabulary_size_
            codes = _as_objects(
                [np.where(np.asarray(ids) < size, ids, unknown) for ids in texts]
            )
        # Attention needs something to look at.
        filled = [ids if len(ids) else np.array([unknown]) for ids in codes]
        return _as_objects([ids.astype(np.int64) for ids in filled])

    def _segments(self, content: dict[str, np.ndarray]) -> np.ndarray:
        """Number sentences or turns; of ids, what separators end."""
        tokens = content["tokens"]
        if self.token_encoder_ is None:
            ends = [ids == SpecialToken.SEPARATOR for ids in tokens]
            return _as_objects([np.cumsum(end) - end for end in ends])
        found = self.token_encoder_.segments(list(content["texts"]))
        return _as_objects([each if len(each) else np.zeros(1, int) for each in found])

    def _names(self, texts: np.ndarray) -> list[list[str]]:
        """Name the tokens of texts."""
        if self.token_encoder_ is None:
            return [[str(code) for code in ids] for ids in self._codes(texts)]
        empty = [self.token_encoder_.tokens_[SpecialToken.UNKNOWN]]
        found = self.token_encoder_.tokenize(list(texts))
        return [tokens or empty for tokens in found]

    def _check_lengths(self, content: dict[str, np.ndarray]) -> None:
        for side in _SIDES[self.input]:
            lengths = {len(ids) for ids in content[f"{side}tokens"]}
            if len(lengths) > 1 and f"{side}mask" not in self.consumes:
                raise ValueError(
                    f"X holds texts of {min(lengths)} to {max(lengths)} tokens, but "
                    f"the architecture {self.architecture_name!r} does not consume "
                    f"'{side}mask'. Choose one that does, or bring all texts to one "
                    "length."
                )

    def identity(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Give numbers by which texts are ordered and split.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        numbers : dict of str to ndarray
            ``digests`` (n, 2) of uint32, which are equal for equal texts.
        """
        digests = b"".join(map(_digest, zip(*self._texts(content), strict=True)))
        return {"digests": np.frombuffer(digests, dtype=np.uint32).reshape(-1, 2)}

    def fit_scaling(
        self, content: dict[str, np.ndarray], weight: np.ndarray | None
    ) -> None:
        """Learn nothing: tokens have no scale.

        Parameters
        ----------
        content : dict of str to ndarray
            Ignored.
        weight : ndarray of shape (n,) or None
            Ignored.
        """

    def _texts(self, content: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [content[f"{side}texts"] for side in _SIDES[self.input]]

    def size(self, content: dict[str, np.ndarray]) -> int:
        """Tell how much text there is.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        size : int
            Characters of all texts; of ids, five for each.
        """
        return sum(
            len(text)
            if isinstance(text, str)
            else sum(len(part) if isinstance(part, str) else 5 for part in text)
            for texts in self._texts(content)
            for text in texts
        )

    def start_linear(
        self,
        content: dict[str, np.ndarray],
        target: np.ndarray,
        trained: tuple[np.ndarray, np.ndarray],
        whole: tuple[np.ndarray, np.ndarray],
        loss: Any,
    ) -> np.ndarray:
        """Fit a linear model of n-grams, to which a net adds.

        Parameters
        ----------
        content : dict of str to ndarray
            From `learn`.
        target : ndarray of shape (n, n_targets)
            Encoded targets.
        trained, whole : tuple of ndarray
            Rows, perhaps repeated, and their weights: those that the net is trained on,
            and those that predictions may know.
        loss : Loss
            What the net is trained with.

        Returns
        -------
        scores : ndarray of shape (n, n_outputs)
            What the model says of each text that it has not seen.
        """
        from skattn._engine._ngrams import NgramModel, folds_of

        self.linear_ = NgramModel()
        folds = folds_of(self.identity(content)["digests"])
        texts = self._texts(content)
        return self.linear_.fit(texts, folds, target, trained, whole, loss)

    def samples(
        self,
        content: dict[str, np.ndarray],
        net: Any,
        target: np.ndarray | None = None,
    ) -> Any:
        """Put texts into tensors.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.
        net : Net
            Where the tensors go, and in which precision.
        target : ndarray of shape (n, ...), optional
            Encoded targets.

        Returns
        -------
        samples : TokenSamples
            One for each row of the content.
        """
        from skattn._engine._ngrams import folds_of
        from skattn._engine._runtime import placement
        from skattn._engine._token_samples import TokenSamples

        rows = {}
        if "offset" in content:
            rows["offset"] = content["offset"]
        elif self.linear_ is not None and target is None:
            rows["offset"] = self.linear_.scores(self._texts(content))
        elif self.linear_ is not None:  # texts that it may have been fitted to
            folds = folds_of(self.identity(content)["digests"])
            rows["offset"] = self.linear_.unseen_scores(self._texts(content), folds)
        names = [f"{side}tokens" for side in _SIDES[self.input]]
        names += [name for name in ("segments", "characters") if name in content]
        return TokenSamples(
            {name: content[name] for name in names},
            target=target,
            rows=rows,
            consumes=self.consumes,
            **placement(net),
        )

    def describe(self) -> dict[str, Any]:
        """Say what the tensors look like.

        Returns
        -------
        fields : dict of str to object
            Fields of `DataSpec`.
        """
        fields = {
            "input": self.input,
            "vocabulary_size": self.vocabulary_size_,
            "length": self.length_,
        }
        if self.characters_ is not None:
            fields["character_vocabulary_size"] = self.characters_.n_codes_
        return fields

    @property
    def n_features_in(self) -> None:
        """None: as to the vectorizers of scikit-learn, a text is not of features."""

    @property
    def length(self) -> int:
        """Tokens of the longest training text."""
        return self.length_

    def axis_names(self, axis: str, content: Any = None) -> list[list[str]] | None:
        """Name the positions along an axis of attention, sample by sample.

        Parameters
        ----------
        axis : str
            ``"tokens"``, ``"other_tokens"``, or something else.
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        names : list of list of str, or None
            The tokens of each sample; None for another axis.
        """
        if axis not in ("tokens", "other_tokens"):
            return None
        texts = content.get(axis.replace("tokens", "texts"))
        return None if texts is None else self._names(texts)


def resolve_token_encoder(token_encoder: Any, **defaults: Any) -> Any:
    """Make the default of an estimator's ``token_encoder``.

    Parameters
    ----------
    token_encoder : TokenEncoder or None
        The estimator's parameter.
    **defaults : dict
        Parameters of the encoder that None stands for.

    Returns
    -------
    token_encoder : TokenEncoder
        The same, or a new one.

    Raises
    ------
    TypeError
        If it is something else.
    """
    from skattn.text import TokenEncoder

    if token_encoder is None:
        return TokenEncoder(**defaults)
    if not isinstance(token_encoder, TokenEncoder):
        raise TypeError(
            "token_encoder must be a skattn.text.TokenEncoder or None, not "
            f"{token_encoder!r}. To bring ids of another tokenizer, pass them as X: an "
            "array of objects, each of them an array of integers."
        )
    return token_encoder


def _as_objects(values: Sequence[Any]) -> np.ndarray:
    objects = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        objects[number] = value
    return objects


def _digest(texts: tuple[Any, ...]) -> bytes:
    """Summarise a text, or a pair, in 64 bits."""
    state = hashlib.blake2b(digest_size=8)
    for text in texts:
        parts = [text] if isinstance(text, str) else list(text)
        # Lengths keep apart what is divided at other places.
        state.update(len(parts).to_bytes(8, "little"))
        for part in parts:
            encoded = str(part).encode("utf-8", "surrogatepass")
            state.update(len(encoded).to_bytes(8, "little") + encoded)
    return state.digest()
