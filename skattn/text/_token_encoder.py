"""Texts to the codes of their tokens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted

from skattn._architecture import SpecialToken
from skattn.text._models import MODELS, SPECIAL_TOKENS
from skattn.text._reading import (
    Form,
    read_texts,
    split_sentences,
    split_tokens,
)

Item = TypeVar("Item", int, str)

# How messages name the texts of each kind, and how one becomes the other.
KINDS = {
    "text": ("strings", "' '.join(tokens) makes one"),
    "tokens": ("token lists", "text.split() makes one"),
    "turns": ("lists of turns", "[text] makes one of a single turn"),
}

# A smaller part of the strings with white space inside makes turns of them all, and is
# warned about.
_FEW_SPACED = 0.1


class TokenEncoder(  # type: ignore[call-arg]
    TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Encode texts as the numbers of their tokens.

    The vocabulary is learnt from the training texts alone. Its first six entries are
    those of `SpecialToken`; a text that spells one of them, such as ``"[MASK]"``, does
    not get its code.

    Parameters
    ----------
    model : {"word", "bpe", "wordpiece", "character"}, default="word"
        What is a token. ``"word"``: words, numbers and marks of punctuation; other
        words than those of the vocabulary become unknown. ``"bpe"``: parts of words by
        byte-pair encoding; of unseen words, only unseen characters become unknown, and
        `inverse_transform` gives all other text back as it was, but for white space.
        ``"wordpiece"``: parts of words as of BERT; a word that has a character unseen
        at the beginning or inside of words, or more than 100 of them, becomes unknown
        as a whole. ``"character"``: characters. For languages without spaces, take
        ``"bpe"`` or ``"character"``.
    vocabulary_size : int, default=30000
        Most tokens of the vocabulary, the six special ones among them. Words and
        characters are kept by their frequency. For ``"bpe"`` and ``"wordpiece"`` it
        must exceed the number of characters in the training texts.
    min_frequency : int, default=1
        How often a token must occur in the training texts. For ``"bpe"`` and
        ``"wordpiece"``: a character, or a pair of parts that becomes one.
    lowercase : bool or "auto", default="auto"
        Whether to ignore case. ``"auto"``: with ``"word"`` and ``"wordpiece"``, not
        with ``"bpe"`` and ``"character"``, whose texts come back as they were.
    strip_accents : bool, default=False
        Whether to ignore accents.
    max_length : int or None, default=None
        Most tokens of a text; what is behind is cut, with a warning that says how much.
        ``None`` keeps all of them.
    kind : {"auto", "text", "tokens", "turns"}, default="auto"
        What the texts are. ``"text"``: strings. ``"tokens"``: lists of tokens, which
        are not split further by ``"word"``. ``"turns"``: dialogues, as lists of
        strings. ``"auto"``: lists are turns where a string of the training texts has
        white space inside, else tokens.

    Attributes
    ----------
    vocabulary_ : dict of str to int
        Codes of the tokens.
    tokens_ : ndarray of str of shape (vocabulary_size_,)
        Tokens of the codes.
    vocabulary_size_ : int
        Number of codes.
    kind_ : {"text", "tokens", "turns"}
        What the training texts were.

    See Also
    --------
    skattn.SpecialToken : The first six codes.

    Notes
    -----
    Texts are brought into Unicode's form NFC. A separator follows each turn. A token
    of a token list that is spelt like a special one is unknown to ``"word"``. The
    library's threads are not used, so that encoders work in forked processes; the same
    texts give the same vocabulary in any order.

    ``"bpe"`` and ``"character"`` write the space before a word as U+2581, and read
    that character as a space.

    References
    ----------
    .. [1] R. Sennrich, B. Haddow and A. Birch, "Neural Machine Translation of Rare
       Words with Subword Units", ACL 2016, arXiv:1508.07909.
    .. [2] M. Schuster and K. Nakajima, "Japanese and Korean Voice Search", ICASSP 2012.

    Examples
    --------
    >>> from skattn.text import TokenEncoder
    >>> encoder = TokenEncoder()
    >>> encoder.fit_transform(["A good film.", "Bad!"])
    array([array([ 8, 11, 10,  7]), array([9, 6])], dtype=object)
    >>> encoder.tokenize(["A good, good film."])
    [['a', 'good', ',', 'good', 'film', '.']]
    >>> encoder.inverse_transform([[8, 11, 10, 7]])
    array(['a good film.'], dtype=object)
    """

    def __init__(
        self,
        model: str = "word",
        *,
        vocabulary_size: int = 30_000,
        min_frequency: int = 1,
        lowercase: bool | str = "auto",
        strip_accents: bool = False,
        max_length: int | None = None,
        kind: str = "auto",
    ) -> None:
        self.model = model
        self.vocabulary_size = vocabulary_size
        self.min_frequency = min_frequency
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.max_length = max_length
        self.kind = kind

    _parameter_constraints = {
        "model": [StrOptions(set(MODELS))],
        "vocabulary_size": [
            Interval(Integral, len(SPECIAL_TOKENS) + 1, None, closed="left")
        ],
        "min_frequency": [Interval(Integral, 1, None, closed="left")],
        "lowercase": ["boolean", StrOptions({"auto"})],
        "strip_accents": ["boolean"],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "kind": [StrOptions({"auto", *KINDS})],
    }

    def fit(self, X: Any, y: Any = None) -> TokenEncoder:
        """Learn the vocabulary.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            Training texts: strings, lists of tokens, or lists of turns.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : TokenEncoder
            This encoder.

        Raises
        ------
        TypeError
            If an element of X is neither a string nor a list of strings.
        ValueError
            If there are no tokens, if strings and lists are mixed, or if the vocabulary
            is too small.
        ImportError
            If the package tokenizers is not installed.
        """
        validate_parameter_constraints(
            self._parameter_constraints,
            self.get_params(deep=False),
            caller_name=type(self).__name__,
        )
        texts = read_texts(X)
        if not texts:
            raise ValueError(
                "TokenEncoder needs at least one training text, but X is empty."
            )
        kind = self._find_kind(texts)
        by_default = self.model in ("word", "wordpiece")
        form = Form(
            lowercase=by_default if self.lowercase == "auto" else bool(self.lowercase),
            strip_accents=self.strip_accents,
        )
        strings = (
            form.normalise(string)
            for text in texts
            for string in ([text] if isinstance(text, str) else text)
        )
        model = MODELS[self.model](
            self.vocabulary_size, self.min_frequency, whole=kind == "tokens"
        )
        model.learn(strings)
        self._model = model
        self._form = form
        self.kind_ = kind
        self.tokens_ = np.array(model.tokens, dtype=object)
        self.vocabulary_ = {token: code for code, token in enumerate(model.tokens)}
        self.vocabulary_size_ = len(model.tokens)
        return self

    def _find_kind(self, texts: list[str] | list[list[str]]) -> str:
        if self.kind == "auto":
            if isinstance(texts[0], str):
                return "text"
            spaced = [len(string.split()) > 1 for text in texts for string in text]
            if 0 < sum(spaced) < _FEW_SPACED * len(spaced):
                warnings.warn(
                    f"Of {len(spaced)} strings in lists, {sum(spaced)} hold white "
                    "space, so all are taken for turns of dialogues. If they are "
                    "tokens, set kind='tokens'; if they are turns, kind='turns'.",
                    UserWarning,
                    stacklevel=3,
                )
            return "turns" if any(spaced) else "tokens"
        self._check_kind(texts, self.kind, f"kind={self.kind!r}")
        return self.kind

    def _check_kind(self, texts: Any, kind: str, cause: str) -> None:
        names, advice = KINDS[kind]
        if texts and isinstance(texts[0], str) != (kind == "text"):
            found = "a string" if isinstance(texts[0], str) else "a list"
            raise ValueError(
                f"TokenEncoder takes {names}, because of {cause}, but element 0 of X "
                f"is {found}. Pass {names}: {advice}."
            )

    def transform(self, X: Any) -> np.ndarray:
        """Encode texts.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            Texts of the same kind as the training texts.

        Returns
        -------
        codes : ndarray of objects of shape (n,)
            For each text an integer array of shape (n_tokens,): the codes of its
            tokens. It is empty if the text is.

        Raises
        ------
        TypeError
            If an element of X is neither a string nor a list of strings.
        ValueError
            If the texts are of another kind than the training texts.
        """
        rows = [list(chain.from_iterable(parts)) for parts in self._encode(X)]
        if self.max_length is not None:
            _warn_of_cuts([len(row) for row in rows], self.max_length)
        return self._collect(rows)

    def segments(self, X: Any) -> np.ndarray:
        """Number the sentences or turns of texts.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            As `transform`.

        Returns
        -------
        segments : ndarray of objects of shape (n,)
            For each token that `transform` gives, the number of its sentence or turn,
            from 0. Sentences of strings end after ``.``, ``!`` or ``?`` and white
            space, and at line breaks; of token lists, after these marks; the separator
            belongs to its turn. Texts are cut as `transform` cuts them, which warns.
        """
        return self._collect(
            [
                [number for number, part in enumerate(parts) for _ in part]
                for parts in self._encode(X)
            ]
        )

    def tokenize(self, X: Any) -> list[list[str]]:
        """Split texts into tokens.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            As `transform`.

        Returns
        -------
        tokens : list of list of str
            The tokens that `transform` gives the codes of, unknown ones as the text
            spells them. Texts are cut as `transform` cuts them, which warns.
        """
        separator = SPECIAL_TOKENS[SpecialToken.SEPARATOR]
        return [
            list(chain.from_iterable(self._parts(text, self._model.split, separator)))[
                : self.max_length
            ]
            for text in self._read(X)
        ]

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Write codes as texts.

        Words are joined by blanks, but marks such as ``.`` and ``)`` follow the word
        before them, and marks such as ``(`` lead to the word behind them. If the
        training texts were token lists, blanks are between all of them. Unknown tokens
        are written ``[UNK]``; the other special tokens are left out, and so is
        everything behind the end.

        Parameters
        ----------
        X : sequence of int arrays, of shape (n,) or (n, length)
            Codes of each text, padded or not.

        Returns
        -------
        texts : ndarray of objects of shape (n,)
            Strings.

        Raises
        ------
        ValueError
            If a code is not of the vocabulary.
        """
        check_is_fitted(self)
        texts = np.empty(len(X), dtype=object)
        texts[:] = [self._join(np.asarray(codes), n) for n, codes in enumerate(X)]
        return texts

    def _join(self, codes: np.ndarray, number: int) -> str:
        if codes.ndim != 1 or (len(codes) and codes.dtype.kind not in "iu"):
            raise ValueError(
                f"Element {number} of X is not a sequence of integers. Pass a list of "
                "arrays of codes, one for each text."
            )
        if len(codes) and not 0 <= codes.min() <= codes.max() < self.vocabulary_size_:
            raise ValueError(
                f"Element {number} of X has codes from {codes.min()} to {codes.max()}, "
                f"but those of the vocabulary are from 0 to {self.vocabulary_size_ - 1}"
                ". Pass codes that this encoder gave."
            )
        ends = np.flatnonzero(codes == SpecialToken.END)
        if len(ends):
            codes = codes[: ends[0]]
        is_written = (codes >= len(SPECIAL_TOKENS)) | (codes == SpecialToken.UNKNOWN)
        tokens = self.tokens_[codes[is_written].astype(np.int64)]
        return self._model.join(tokens)

    def _read(self, X: Any) -> list[str] | list[list[str]]:
        check_is_fitted(self)
        texts = read_texts(X)
        self._check_kind(texts, self.kind_, "the training texts")
        return texts

    def _encode(self, X: Any) -> list[list[list[int]]]:
        """Codes of each text's sentences or turns."""
        separator = int(SpecialToken.SEPARATOR)
        return [
            list(self._parts(text, self._model.encode, separator))
            for text in self._read(X)
        ]

    def _parts(
        self, text: Any, split: Callable[[str], list[Item]], separator: Item
    ) -> Iterator[list[Item]]:
        """Tokens or codes of a text's sentences or turns."""
        if self.kind_ == "tokens":
            parts = split_tokens(text)
        else:
            turns = split_sentences(text) if self.kind_ == "text" else text
            parts = [[turn] for turn in turns]
        for strings in parts:
            forms = map(self._form.normalise, strings)
            items = list(chain.from_iterable(map(split, forms)))
            if self.kind_ == "turns":
                items.append(separator)
            if items:
                yield items

    def _spans(self, X: Any) -> list[list[tuple[int, int, int]]]:
        """Find the tokens that `transform` gives the codes of, in texts as they are.

        Of each token: which item of its list it is in, or 0 in a string; where it
        begins; and where it ends. Separators take no room.
        """
        spans = []
        for text in self._read(X):
            found: list[tuple[int, int, int]] = []
            items = [text] if isinstance(text, str) else text
            for number, item in enumerate(items):
                end = 0
                for part in split_sentences(item) if self.kind_ == "text" else [item]:
                    start, end = end, end + len(part)
                    origins = self._form.origins(part)
                    found += [
                        (number, start + origins[first], start + origins[last])
                        for first, last in self._model.spans(self._form.normalise(part))
                    ]
                if self.kind_ == "turns":
                    found.append((number, len(item), len(item)))
            spans.append(found[: self.max_length])
        return spans

    def _collect(self, rows: list[list[int]]) -> np.ndarray:
        collected = np.empty(len(rows), dtype=object)
        for number, row in enumerate(rows):
            collected[number] = np.array(row[: self.max_length], dtype=np.int64)
        return collected

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _warn_of_cuts(lengths: list[int], max_length: int) -> None:
    lost = [length - max_length for length in lengths if length > max_length]
    if lost:
        warnings.warn(
            f"{len(lost)} of {len(lengths)} texts are longer than "
            f"max_length={max_length}: {sum(lost)} of {sum(lengths)} tokens were cut "
            f"off at their ends. The longest text has {max(lengths)} tokens.",
            UserWarning,
            stacklevel=3,
        )
