"""What is a token: words, characters or parts of words."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from skattn._architecture import SpecialToken

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[START]", "[END]", "[SEP]", "[MASK]")

# Stands for the space in front of a word, as in SentencePiece.
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
# Numbers with dots, words with apostrophes, dots or dashes in a row, single marks.
APOSTROPHE = "['\N{RIGHT SINGLE QUOTATION MARK}]"
WORD = rf"\d+(?:[.,]\d+)+|\w+(?:{APOSTROPHE}\w+)*|\.{{2,}}|-{{2,}}|[^\w\s]"
# A word or a row of marks, with the space in front of it.
PIECE = rf"{SPACE}?(?:\w+|[^\w{SPACE}]+)|{SPACE}"

# No blank is written before the first, behind the second, and on both sides of a dash.
CLOSING = frozenset(".,;:!?%)]}»”…-/\N{RIGHT SINGLE QUOTATION MARK}")
OPENING = frozenset("([{«“„¿¡$£€#-/\N{LEFT SINGLE QUOTATION MARK}")
# What tokenisers cut from the end of words: 's, n't, and dots in a row.
ENDING = re.compile(rf"{APOSTROPHE}\w+|n{APOSTROPHE}t|\.+")

_ENVIRONMENT = threading.Lock()


def import_tokenizers() -> Any:
    """Import the library, or say how to get it.

    Returns
    -------
    tokenizers : module
        Of Hugging Face.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            "TokenEncoder needs the package tokenizers, which is not installed: run "
            "pip install 'skattn[text]'."
        ) from error
    return tokenizers


class TokenModel(ABC):
    """Split texts into tokens of a vocabulary that it learns.

    Parameters
    ----------
    vocabulary_size : int
        Most tokens to keep, the special ones among them.
    min_frequency : int
        How often a token must occur.
    whole : bool
        Whether the strings are tokens that the user has split from their texts.
    """

    def __init__(self, vocabulary_size: int, min_frequency: int, whole: bool) -> None:
        self.vocabulary_size = vocabulary_size
        self.min_frequency = min_frequency
        self.whole = whole

    def learn(self, strings: Iterable[str]) -> None:
        """Learn the vocabulary.

        Parameters
        ----------
        strings : iterable of str
            Normalised texts, or tokens.

        Raises
        ------
        ValueError
            If nothing is frequent enough.
        """
        counts = self._count(strings)
        if not counts:
            raise ValueError(
                "TokenEncoder found no token in the training texts: all of them are "
                "empty. Pass texts with words."
            )
        tokens = self._learn(counts)
        if not tokens:
            raise ValueError(
                "TokenEncoder would know no token, since none occurs "
                f"min_frequency={self.min_frequency} times in the training texts. "
                "Reduce min_frequency, or pass more texts."
            )
        self.tokens = [*SPECIAL_TOKENS, *tokens]
        # Without the special tokens, whose names a user may write.
        self._codes = {
            token: code for code, token in enumerate(tokens, len(SPECIAL_TOKENS))
        }

    def _most_frequent(self, counts: Counter[str]) -> list[str]:
        # Equally frequent tokens in the order of their letters, not of the texts.
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        frequent = [token for token, count in ranked if count >= self.min_frequency]
        return frequent[: self.vocabulary_size - len(SPECIAL_TOKENS)]

    @abstractmethod
    def _count(self, strings: Iterable[str]) -> Counter[str]: ...

    @abstractmethod
    def _learn(self, counts: Counter[str]) -> list[str]: ...

    @abstractmethod
    def split(self, string: str) -> list[str]:
        """Split a text or a token.

        Parameters
        ----------
        string : str
            Normalised.

        Returns
        -------
        tokens : list of str
            As the vocabulary writes them, but unknown ones as the string does.
        """

    @abstractmethod
    def spans(self, string: str) -> list[tuple[int, int]]:
        """Find the tokens of a text or a token.

        Parameters
        ----------
        string : str
            Normalised.

        Returns
        -------
        spans : list of tuple of int
            Where each token that `split` gives begins and ends in the string, the space
            that it stands for included.
        """

    def encode(self, string: str) -> list[int]:
        """Encode a text or a token.

        Parameters
        ----------
        string : str
            Normalised.

        Returns
        -------
        codes : list of int
            Of the tokens that `split` gives.
        """
        unknown = int(SpecialToken.UNKNOWN)
        return [self._codes.get(token, unknown) for token in self.split(string)]

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """Write tokens as a text.

        Parameters
        ----------
        tokens : sequence of str
            Of the vocabulary.

        Returns
        -------
        text : str
            Detokenised; with blanks between all tokens if the user has split them.
        """


class WordModel(TokenModel):
    """Words and marks of punctuation."""

    def _count(self, strings: Iterable[str]) -> Counter[str]:
        return Counter(itertools.chain.from_iterable(map(self.split, strings)))

    def _learn(self, counts: Counter[str]) -> list[str]:
        for token in SPECIAL_TOKENS:
            counts.pop(token, None)
        return self._most_frequent(counts)

    def split(self, string: str) -> list[str]:
        return [string] if self.whole else _words(string)

    def spans(self, string: str) -> list[tuple[int, int]]:
        if self.whole:
            return [(0, len(string))]
        return [span for _, span in _pieces(WORD, string)]

    def join(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens) if self.whole else _attach(tokens)


class CharacterModel(TokenModel):
    """Characters, and a mark for the space in front of a word."""

    def _count(self, strings: Iterable[str]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for string in strings:
            counts.update(_mark_spaces(string))
        return counts

    def _learn(self, counts: Counter[str]) -> list[str]:
        return self._most_frequent(counts)

    def split(self, string: str) -> list[str]:
        return list(_mark_spaces(string))

    def spans(self, string: str) -> list[tuple[int, int]]:
        return _places(string)

    def join(self, tokens: Sequence[str]) -> str:
        return _unmark_spaces(tokens)


class SubwordModel(TokenModel):
    """Parts of words, which the library learns."""

    def _learn(self, counts: Counter[str]) -> list[str]:
        letters: Counter[str] = Counter()
        for word, count in counts.items():
            for letter in word:
                letters[letter] += count
        rare = {
            letter for letter, count in letters.items() if count < self.min_frequency
        }
        words = {word: counts[word] for word in sorted(counts) if rare.isdisjoint(word)}
        if not words:
            return []
        alphabet = self._alphabet(words)
        needed = len(SPECIAL_TOKENS) + len(alphabet)
        if needed > self.vocabulary_size:
            raise ValueError(
                f"vocabulary_size={self.vocabulary_size} is too small: the training "
                f"texts alone have {len(alphabet)} characters"
                f"{self._forms}, and {len(SPECIAL_TOKENS)} tokens are special. Set it "
                f"to more than {needed}, or raise min_frequency, so that rare "
                "characters become unknown."
            )
        self._tokenizer = self._train(words, alphabet)
        vocabulary = self._tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)[len(SPECIAL_TOKENS) :]

    _forms = ""

    @abstractmethod
    def _alphabet(self, words: dict[str, int]) -> list[str]: ...

    @abstractmethod
    def _train(self, words: dict[str, int], alphabet: list[str]) -> Any: ...


class BPEModel(SubwordModel):
    """Byte-pair encoding of words that begin with a mark for the space."""

    def _count(self, strings: Iterable[str]) -> Counter[str]:
        marked = map(_mark_spaces, strings)
        return Counter(itertools.chain.from_iterable(map(_splitter(PIECE), marked)))

    def _alphabet(self, words: dict[str, int]) -> list[str]:
        return sorted({letter for word in words for letter in word})

    def _train(self, words: dict[str, int], alphabet: list[str]) -> Any:
        library = import_tokenizers()
        learnt = _train(
            library.models.BPE(),
            library.trainers.BpeTrainer(
                vocab_size=self.vocabulary_size,
                min_frequency=self.min_frequency,
                special_tokens=list(SPECIAL_TOKENS),
                show_progress=False,
            ),
            words,
        )
        # Without the special tokens that the trainer has added, which would be found
        # where a text spells them.
        model = library.models.BPE(
            learnt["vocab"],
            [tuple(merge) for merge in learnt["merges"]],
            unk_token=SPECIAL_TOKENS[SpecialToken.UNKNOWN],
        )
        return _tokenizer(model, PIECE)

    def split(self, string: str) -> list[str]:
        marked = _mark_spaces(string)
        offsets = self._tokenizer.encode(marked).offsets
        return [marked[start:end] for start, end in offsets]

    def spans(self, string: str) -> list[tuple[int, int]]:
        places = _places(string)
        offsets = self._tokenizer.encode(_mark_spaces(string)).offsets
        return [(places[start][0], places[end - 1][1]) for start, end in offsets]

    def encode(self, string: str) -> list[int]:
        return self._tokenizer.encode(_mark_spaces(string)).ids

    def join(self, tokens: Sequence[str]) -> str:
        return _unmark_spaces(tokens)


class WordPieceModel(SubwordModel):
    """Words in parts, of which all but the first begin with ``##``."""

    _forms = " (at the beginning of words and inside)"

    def _count(self, strings: Iterable[str]) -> Counter[str]:
        return Counter(itertools.chain.from_iterable(map(_words, strings)))

    def _alphabet(self, words: dict[str, int]) -> list[str]:
        letters = sorted({letter for word in words for letter in word})
        inside = sorted({letter for word in words for letter in word[1:]})
        return [*(f"##{letter}" for letter in inside), *letters]

    def _train(self, words: dict[str, int], alphabet: list[str]) -> Any:
        library = import_tokenizers()
        # Left to itself, the trainer numbers the letters inside words at random.
        inside = [form for form in alphabet if len(form) > 1]
        learnt = _train(
            library.models.WordPiece(),
            library.trainers.WordPieceTrainer(
                vocab_size=self.vocabulary_size,
                min_frequency=self.min_frequency,
                special_tokens=[*SPECIAL_TOKENS, *inside],
                show_progress=False,
            ),
            words,
        )
        model = library.models.WordPiece(
            learnt["vocab"], unk_token=SPECIAL_TOKENS[SpecialToken.UNKNOWN]
        )
        return _tokenizer(model, WORD)

    def split(self, string: str) -> list[str]:
        encoding = self._tokenizer.encode(string)
        return [
            string[start:end] if code == SpecialToken.UNKNOWN else token
            for token, code, (start, end) in zip(
                encoding.tokens, encoding.ids, encoding.offsets, strict=True
            )
        ]

    def spans(self, string: str) -> list[tuple[int, int]]:
        return self._tokenizer.encode(string).offsets

    def encode(self, string: str) -> list[int]:
        return self._tokenizer.encode(string).ids

    def join(self, tokens: Sequence[str]) -> str:
        words: list[str] = []
        for token in tokens:
            if token.startswith("##") and words:
                words[-1] += token[2:]
            else:
                words.append(token)
        return " ".join(words) if self.whole else _attach(words)


MODELS: dict[str, type[TokenModel]] = {
    "word": WordModel,
    "bpe": BPEModel,
    "wordpiece": WordPieceModel,
    "character": CharacterModel,
}


@functools.cache
def _pre_tokenizer(pattern: str) -> Any:
    library = import_tokenizers()
    return library.pre_tokenizers.Split(library.Regex(pattern), "removed", invert=True)


def _pieces(pattern: str, text: str) -> list[tuple[str, tuple[int, int]]]:
    """Find what matches a pattern, and where."""
    return _pre_tokenizer(pattern).pre_tokenize_str(text)


@functools.cache
def _splitter(pattern: str) -> Any:
    def split(text: str) -> list[str]:
        return [piece for piece, _ in _pieces(pattern, text)]

    return split


def _words(text: str) -> list[str]:
    return _splitter(WORD)(text)


def _tokenizer(model: Any, pattern: str) -> Any:
    library = import_tokenizers()
    tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(
        library.Regex(pattern), "removed", invert=True
    )
    return tokenizer


def _train(model: Any, trainer: Any, words: dict[str, int]) -> dict[str, Any]:
    tokenizer = import_tokenizers().Tokenizer(model)
    repeated = itertools.chain.from_iterable(
        itertools.repeat(word, count) for word, count in words.items()
    )
    with _one_thread():
        tokenizer.train_from_iterator(repeated, trainer)
    return json.loads(tokenizer.to_str())["model"]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the library from starting threads, which a forked process would lack."""
    name = "TOKENIZERS_PARALLELISM"
    with _ENVIRONMENT:
        before = os.environ.get(name)
        os.environ[name] = "false"
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def _mark_spaces(text: str) -> str:
    words = text.replace(SPACE, " ").split()
    return "".join(SPACE + word for word in words)


def _places(text: str) -> list[tuple[int, int]]:
    """Tell which part of a text each character is from that `_mark_spaces` gives."""
    places = []
    end = 0
    for word in re.finditer(r"\S+", text.replace(SPACE, " ")):
        places.append((end, word.start()))
        end = word.end()
        places += [(at, at + 1) for at in range(word.start(), end)]
    return places


def _unmark_spaces(tokens: Sequence[str]) -> str:
    return "".join(tokens).replace(SPACE, " ").strip()


def _attach(words: Sequence[str]) -> str:
    text = ""
    is_open = True
    in_quotes = False
    for word in words:
        if word == '"':
            closes, in_quotes = in_quotes, not in_quotes
            opens = in_quotes
        else:
            closes = word in CLOSING or bool(ENDING.fullmatch(word))
            opens = word in OPENING
        text += word if is_open or closes else f" {word}"
        is_open = opens
    return text
