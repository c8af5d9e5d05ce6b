"""Sentences of two languages: those to translate, and their translations."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from skattn._architecture import SpecialToken
from skattn._engine._losses import SequenceCrossEntropy


def check_sentences(name: str, sentences: Any) -> np.ndarray:
    """Make sure that all sentences are strings.

    Parameters
    ----------
    name : str
        Of the argument, for errors.
    sentences : list, ndarray or Series of str of shape (n,)
        What the user passed.

    Returns
    -------
    sentences : ndarray of objects of shape (n,)
        The same strings.
    """
    if isinstance(sentences, str):
        raise TypeError(
            f"{name} is a single string. Pass a list of sentences: [{sentences[:20]!r}]"
        )
    if isinstance(sentences, pd.Series):
        sentences = sentences.to_numpy(dtype=object)
    if isinstance(sentences, np.ndarray) and sentences.ndim != 1:
        raise ValueError(
            f"{name} must hold one sentence a row, but its shape is {sentences.shape}. "
            "Use one column, of shape (n,)."
        )
    if not isinstance(sentences, (list, tuple, np.ndarray)):
        raise TypeError(
            f"{name} must be a list, an array or a Series of strings, not "
            f"{type(sentences).__name__}."
        )
    if not len(sentences):
        raise ValueError(f"{name} holds no sentence; at least one is needed.")
    for number, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise TypeError(
                f"Element {number} of {name} is {sentence!r:.60} of type "
                f"{type(sentence).__name__}, but all must be strings. Drop it, or turn "
                "it into a string."
            )
    checked = np.empty(len(sentences), dtype=object)
    checked[:] = [str(sentence) for sentence in sentences]
    return checked


def digests(sequences: Any) -> np.ndarray:
    """Summarise arrays or strings in 64 bits each, equal for equal ones.

    Parameters
    ----------
    sequences : iterable of ndarray or str
        Each is summarised by itself.

    Returns
    -------
    digests : ndarray of uint32 of shape (n, 2)
        For hashing rows.
    """
    summaries = []
    for each in sequences:
        if isinstance(each, str):
            content = each.encode("utf-8", "surrogatepass")
        else:
            content = each.tobytes()
        summaries.append(hashlib.blake2b(content, digest_size=8).digest())
    return np.frombuffer(b"".join(summaries), dtype=np.uint32).reshape(-1, 2)


class SourceEncoder:
    """Turn sentences into ``tokens``, each ending in ``SpecialToken.END``.

    Parameters
    ----------
    token_encoder, target_encoder : TokenEncoder
        Fitted; the same object where source and target share a vocabulary.
    """

    input = "tokens"
    n_features_in = None  # as to the vectorizers of scikit-learn

    def __init__(self, token_encoder: Any, target_encoder: Any) -> None:
        self.token_encoder = token_encoder
        self.target_encoder = target_encoder

    def check(self, X: Any) -> np.ndarray:
        """Validate sentences.

        Parameters
        ----------
        X : list, ndarray or Series of str of shape (n,)
            What the user passed.

        Returns
        -------
        sentences : ndarray of objects of shape (n,)
            The same strings.
        """
        return check_sentences("X", X)

    def learn(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Learn the greatest length, and read the sentences.

        Parameters
        ----------
        X : ndarray of objects of shape (n,)
            From `check`.

        Returns
        -------
        content : dict of str to ndarray
            As `read`.
        """
        content = self.read(X)
        self.length = max(map(len, content["tokens"]))
        return content

    def read(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Read sentences.

        Parameters
        ----------
        X : ndarray of objects of shape (n,)
            From `check`.

        Returns
        -------
        content : dict of str to ndarray
            ``tokens`` (n,), arrays of int64.
        """
        return {"tokens": _ended(self.token_encoder.transform(X))}

    def identity(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Give numbers by which sentences are ordered and split.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        numbers : dict of str to ndarray
            ``digests`` (n, 2), equal for equal sentences.
        """
        return {"digests": digests(content["tokens"])}

    def fit_scaling(self, content: Any, weight: Any) -> None:
        """Do nothing: tokens have no scale."""

    def samples(
        self,
        content: dict[str, np.ndarray],
        net: Any,
        target: np.ndarray | None = None,
    ) -> Any:
        """Put sentences, and where given their translations, into tensors.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.
        net : Net
            Where the tensors go.
        target : ndarray of objects of shape (n,), optional
            From `TranslationTarget.encode`; the module is given them one step later.

        Returns
        -------
        samples : TokenSamples
            One for each row of the content.
        """
        from skattn._engine._runtime import placement
        from skattn._engine._token_samples import TokenSamples

        sequences = dict(content)
        if target is not None:
            sequences["target_tokens"] = _started(target)
        consumes = net.module.architecture.consumes
        return TokenSamples(
            sequences, target=target, consumes=consumes, **placement(net)
        )

    def describe(self) -> dict[str, Any]:
        """Say what the tensors look like.

        Returns
        -------
        fields : dict of str to object
            Fields of `DataSpec`.
        """
        return {
            "input": "tokens",
            "length": self.length,
            "vocabulary_size": self.token_encoder.vocabulary_size_,
            "target_vocabulary_size": self.target_encoder.vocabulary_size_,
            "shared_vocabulary": self.token_encoder is self.target_encoder,
        }

    def axis_names(self, axis: str, content: Any = None) -> list[list[str]] | None:
        """Name the positions along an axis of attention.

        Parameters
        ----------
        axis : str
            ``"tokens"``, ``"target_tokens"``, ``"given_tokens"``, or something else.
        content : dict of str to ndarray
            From `read`; ``target_tokens`` as `TranslationTarget.encode` makes them.

        Returns
        -------
        names : list of list of str or None
            Tokens of each sentence: those that are written, or given before them.
        """
        if axis == "tokens":
            encoder, sequences = self.token_encoder, content["tokens"]
        elif axis == "target_tokens":
            encoder, sequences = self.target_encoder, content["target_tokens"]
        elif axis == "given_tokens":
            encoder = self.target_encoder
            sequences = _started(content["target_tokens"])
        else:
            return None
        return [encoder.tokens_[tokens].tolist() for tokens in sequences]


class TranslationTarget:
    """Translations as classes of tokens, each ending in ``SpecialToken.END``.

    Parameters
    ----------
    encoder : TokenEncoder
        Fitted.
    label_smoothing : float
        The estimator's parameter.
    """

    def __init__(self, encoder: Any, label_smoothing: float) -> None:
        self.encoder = encoder
        self.label_smoothing = label_smoothing

    @staticmethod
    def check(y: Any) -> np.ndarray:
        """Validate translations.

        Parameters
        ----------
        y : list, ndarray or Series of str of shape (n,)
            What the user passed.

        Returns
        -------
        y : ndarray of objects of shape (n,)
            The same strings.
        """
        return check_sentences("y", y)

    def learn(self, y: np.ndarray) -> None:
        """Learn nothing: the vocabulary is fitted before."""

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Number the tokens.

        Parameters
        ----------
        y : ndarray of objects of shape (n,)
            From `check`.

        Returns
        -------
        tokens : ndarray of objects of shape (n,)
            Arrays of int64.
        """
        return _ended(self.encoder.transform(y))

    @staticmethod
    def numbers(y: np.ndarray) -> np.ndarray:
        """Give the target as numbers that other rows do not decide, for hashing."""
        return digests(y)

    @staticmethod
    def strata(y: np.ndarray) -> None:
        """Give nothing by which a split could be stratified."""

    def fit_scaling(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        """Do nothing: tokens have no scale."""

    @property
    def n_outputs(self) -> int:
        """Tokens of the vocabulary."""
        return self.encoder.vocabulary_size_

    def loss(self) -> SequenceCrossEntropy:
        """Make the loss.

        Returns
        -------
        loss : SequenceCrossEntropy
            Of the next token.
        """
        return SequenceCrossEntropy(self.label_smoothing)


def _ended(sequences: np.ndarray) -> np.ndarray:
    """Put the end behind each sequence."""
    ended = np.empty(len(sequences), dtype=object)
    ended[:] = [np.append(tokens, np.int64(SpecialToken.END)) for tokens in sequences]
    return ended


def _started(sequences: np.ndarray) -> np.ndarray:
    """Put the start in front of each sequence, and leave out its last token."""
    started = np.empty(len(sequences), dtype=object)
    started[:] = [
        np.concatenate([[np.int64(SpecialToken.START)], tokens[:-1]])
        for tokens in sequences
    ]
    return started
