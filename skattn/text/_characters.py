"""Characters of words, from which taggers see how unseen words are spelt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from skattn._architecture import SpecialToken

_FIRST = int(SpecialToken.UNKNOWN) + 1


class CharacterCodes:
    """Encode the characters of words.

    Code 0 is padding behind the word and 1 a character that the training words lack.

    Parameters
    ----------
    max_length : int, default=20
        Most characters of a word. Of a longer one, the first and the last halves of
        them are kept (of an odd number, one more at the start), since prefixes and
        suffixes tell most.

    Attributes
    ----------
    codes_ : dict of str to int
        Of the characters of the training words.
    n_codes_ : int
        Number of codes, with those of padding and unknown characters.
    n_characters_ : int
        Columns of the result: characters of the longest training word, at most
        `max_length`.
    """

    def __init__(self, max_length: int = 20) -> None:
        self.max_length = max_length

    def fit(self, texts: Iterable[Sequence[str]]) -> CharacterCodes:
        """Learn the characters.

        Parameters
        ----------
        texts : iterable of sequence of str
            Token lists, case kept.

        Returns
        -------
        self : CharacterCodes
            This encoder.
        """
        words = {word for words in texts for word in words}
        characters = sorted({character for word in words for character in word})
        self.codes_ = {
            character: code for code, character in enumerate(characters, _FIRST)
        }
        self.n_codes_ = _FIRST + len(characters)
        longest = max(map(len, words), default=1)
        self.n_characters_ = max(1, min(longest, self.max_length))
        return self

    def transform(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Encode words.

        Parameters
        ----------
        texts : sequence of sequence of str
            Token lists.

        Returns
        -------
        codes : ndarray of objects of shape (n,)
            For each text, the characters of its words: an integer array of shape
            (n_tokens, n_characters_).
        """
        known: dict[str, np.ndarray] = {}
        rows = np.empty(len(texts), dtype=object)
        for number, words in enumerate(texts):
            codes = np.zeros((len(words), self.n_characters_), dtype=np.int64)
            for row, word in zip(codes, words, strict=True):
                if word not in known:
                    known[word] = self._encode(word)
                row[: len(known[word])] = known[word]
            rows[number] = codes
        return rows

    def _encode(self, word: str) -> np.ndarray:
        n_ends = self.n_characters_ // 2
        if len(word) > self.n_characters_:
            word = word[: self.n_characters_ - n_ends] + word[len(word) - n_ends :]
        unknown = int(SpecialToken.UNKNOWN)
        return np.array([self.codes_.get(c, unknown) for c in word], dtype=np.int64)
