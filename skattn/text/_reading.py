"""Texts that users pass: strings, token lists or turns of dialogues."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SENTENCE_END = re.compile(
    r"[.!?](?:\s*[.!?])*[\"'”\u2019»)\]]*\s+|[\n\r\x0b\f\x85\u2028\u2029]\s*"
)
END_MARKS = frozenset(".!?")


def read_texts(X: Any) -> list[str] | list[list[str]]:
    """Validate texts.

    Parameters
    ----------
    X : list, ndarray or Series of shape (n,)
        Strings, or lists of strings.

    Returns
    -------
    texts : list of str or of list of str
        The same.

    Raises
    ------
    TypeError
        If X or one of its elements is something else.
    ValueError
        If X has two dimensions, or its elements are of different types.
    """
    if isinstance(X, (str, bytes)):
        raise TypeError(
            "TokenEncoder takes a list of texts as X, but X is a single "
            f"{'string' if isinstance(X, str) else 'bytes object'}. Pass [text]."
        )
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) != 1:
        raise ValueError(
            f"TokenEncoder takes texts as X of shape (n,), but X has shape {shape}. "
            "Pass one column, as in X['text'] or X[:, 0], or token lists as X.tolist()."
        )
    if not isinstance(X, Sequence) and shape is None:
        raise TypeError(
            "TokenEncoder takes a list, an array or a Series of texts as X, but X is "
            f"of type {type(X).__name__}. Pass list(X)."
        )
    texts = [_read_text(element, number) for number, element in enumerate(X)]
    lists = [isinstance(text, list) for text in texts]
    if any(lists) and not all(lists):
        first, other = (lists.index(kind) for kind in (lists[0], not lists[0]))
        names = ["a string", "a list"]
        raise ValueError(
            f"X mixes strings and lists: element {first} is {names[lists[0]]}, but "
            f"element {other} is {names[not lists[0]]}. Pass one or the other: "
            "text.split() makes a token list, ' '.join(tokens) a string."
        )
    return texts  # type: ignore[return-value]


def _read_text(text: Any, number: int) -> str | list[str]:
    if isinstance(text, tuple):
        raise TypeError(
            f"Element {number} of X is a tuple, which stands for a pair of texts "
            "elsewhere in skattn. Make it a list of tokens or of turns: list(element)."
        )
    if isinstance(text, list) or (isinstance(text, np.ndarray) and text.ndim == 1):
        for position, token in enumerate(text):
            if (fault := _fault(token)) is not None:
                error, message = fault
                raise error(f"Item {position} of element {number} of X is {message}")
        return [str(token) for token in text]
    if (fault := _fault(text)) is not None:
        error, message = fault
        raise error(f"Element {number} of X is {message}")
    return str(text)


def _fault(text: Any) -> tuple[type[Exception], str] | None:
    if isinstance(text, str):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return ValueError, (
                f"a string with half of a surrogate pair at position {error.start}, "
                "which is no character. Clean it with "
                "text.encode('utf-8', 'replace').decode('utf-8')."
            )
        return None
    if isinstance(text, bytes):
        return TypeError, (
            "a bytes object, not a string. Decode it, as in text.decode('utf-8')."
        )
    is_nan = isinstance(text, float) and text != text
    # The last is pandas.NA, without an import.
    if text is None or is_nan or type(text).__name__ == "NAType":
        return TypeError, (
            f"{text!r}, not a string. Fill in '' for an empty text, or drop the row."
        )
    return TypeError, (
        f"of type {type(text).__name__}, not a string or a list of strings. Convert it "
        "with str, or pass the column that holds the texts."
    )


@dataclass(frozen=True)
class Form:
    """How equal texts are written in the same characters.

    Parameters
    ----------
    lowercase : bool
        Whether case is ignored.
    strip_accents : bool
        Whether accents are ignored.
    """

    lowercase: bool
    strip_accents: bool

    def normalise(self, text: str) -> str:
        """Write a text in this form.

        Parameters
        ----------
        text : str
            As the user wrote it.

        Returns
        -------
        text : str
            In Unicode's form NFC.
        """
        if self.lowercase:
            text = text.lower()
        if self.strip_accents and not text.isascii():
            decomposed = unicodedata.normalize("NFD", text)
            text = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
        return unicodedata.normalize("NFC", text)

    def origins(self, text: str) -> list[int]:
        """Tell where the characters of the normalised text come from.

        Parameters
        ----------
        text : str
            As the user wrote it.

        Returns
        -------
        origins : list of int
            For each character of what `normalise` gives, where in the text those begin
            that it was written for; at last the length of the text. Where one becomes
            several, the first of these stands for it.
        """
        length = len(self.normalise(text))
        if length == len(text) and (
            text.isascii() or all(len(self.normalise(c)) == 1 for c in text)
        ):
            return list(range(length + 1))
        origins: list[int] = []
        for at in range(len(text)):
            grown = min(len(self.normalise(text[: at + 1])), length)
            n_new = grown - len(origins)
            origins += [at, *[at + 1] * (n_new - 1)][:n_new]
        return [*origins, len(text)]


def split_sentences(text: str) -> list[str]:
    """Split a text after its sentences and lines.

    Parameters
    ----------
    text : str
        With its white space.

    Returns
    -------
    sentences : list of str
        Which the text consists of.
    """
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    return [text[i:j] for i, j in zip([0, *ends], [*ends, None], strict=True)]


def split_tokens(tokens: Sequence[str]) -> list[list[str]]:
    """Split a token list after its sentences.

    Parameters
    ----------
    tokens : sequence of str
        Of a text.

    Returns
    -------
    sentences : list of list of str
        Which the text consists of; marks in a row stay together.
    """
    sentences: list[list[str]] = [[]]
    for token in tokens:
        last = sentences[-1]
        if last and last[-1] in END_MARKS and token not in END_MARKS:
            sentences.append([])
        sentences[-1].append(token)
    return sentences
