"""Token lists whose tokens stay as they are: each has a tag."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from skattn._architecture import Architecture
from skattn._inputs._translations import digests
from skattn.text import TokenEncoder
from skattn.text._characters import CharacterCodes


class WordEncoder:
    """Turn token lists into ``tokens``, and ``characters`` and ``segments`` if wanted.

    Parameters
    ----------
    token_encoder : TokenEncoder or None
        A tagger's parameter.
    architecture : Architecture
        Its ``consumes`` tell what is wanted.

    Attributes
    ----------
    token_encoder_ : TokenEncoder
        Fitted by `learn`.
    """

    input = "tokens"
    n_features_in = None  # as to the vectorizers of scikit-learn

    def __init__(self, token_encoder: Any, architecture: Architecture) -> None:
        self.token_encoder = token_encoder
        self.consumes = frozenset(architecture.consumes)

    @staticmethod
    def check(X: Any) -> np.ndarray:
        """Validate token lists.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            A list of tokens for each sentence.

        Returns
        -------
        sentences : ndarray of objects of shape (n,)
            Lists of str.
        """
        if isinstance(X, pd.Series):
            X = X.to_numpy(dtype=object)
        if isinstance(X, str) or not isinstance(X, (list, tuple, np.ndarray)):
            raise TypeError(
                "X must be a list with a list of tokens for each sentence, but it is "
                f"{X!r:.60} of type {type(X).__name__}."
            )
        if not len(X):
            raise ValueError("X holds no sentence; at least one is needed.")
        checked = np.empty(len(X), dtype=object)
        for number, sentence in enumerate(X):
            if isinstance(sentence, str):
                raise TypeError(
                    f"Element {number} of X is the string {sentence!r:.60}, but must "
                    "be the list of the tokens of a sentence, because each token has a "
                    "tag. Split it, for instance by sentence.split()."
                )
            if not isinstance(sentence, (list, tuple, np.ndarray)):
                raise TypeError(
                    f"Element {number} of X is {sentence!r:.60} of type "
                    f"{type(sentence).__name__}, but must be the list of the tokens of "
                    "a sentence."
                )
            for position, token in enumerate(sentence):
                if not isinstance(token, str):
                    raise TypeError(
                        f"Token {position} of element {number} of X is {token!r:.60} "
                        f"of type {type(token).__name__}, but tokens are strings. Turn "
                        "it into one by str()."
                    )
            checked[number] = list(map(str, sentence))
        return checked

    def learn(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Learn the vocabulary, and read the sentences.

        Parameters
        ----------
        X : ndarray of objects of shape (n,)
            From `check`.

        Returns
        -------
        content : dict of str to ndarray
            As `read` gives it.
        """
        # To repeat a sentence is to weigh it, which makes no token more frequent.
        distinct = list({tuple(sentence): sentence for sentence in X}.values())
        self.token_encoder_ = self._make_token_encoder(distinct).fit(distinct)
        self.length = max(map(len, X))
        self.characters = None
        if "characters" in self.consumes:
            self.characters = CharacterCodes().fit(X)
        return self.read(X)

    def adopt(self, other: WordEncoder, X: np.ndarray) -> dict[str, np.ndarray]:
        """Take over what another encoder has learned, and read the sentences.

        Parameters
        ----------
        other : WordEncoder
            Fitted.
        X : ndarray of objects of shape (n,)
            From `check`.

        Returns
        -------
        content : dict of str to ndarray
            As `read`.
        """
        self.token_encoder_, self.length = other.token_encoder_, other.length
        self.characters = other.characters
        return self.read(X)

    def _make_token_encoder(self, sentences: list[list[str]]) -> TokenEncoder:
        if self.token_encoder is None:
            encoder = TokenEncoder("word", kind="tokens", min_frequency=2)
            try:  # what occurs once shows the net how to read unknown tokens
                return encoder.fit(sentences)
            except ValueError:
                return encoder.set_params(min_frequency=1)
        if not isinstance(self.token_encoder, TokenEncoder):
            raise TypeError(
                f"token_encoder={self.token_encoder!r} must be a "
                "skattn.text.TokenEncoder or None."
            )
        encoder = clone(self.token_encoder)
        if encoder.model != "word" or encoder.kind not in ("auto", "tokens"):
            raise ValueError(
                f"token_encoder={encoder!r} does not give one code to each token, but "
                "each has a tag. Use TokenEncoder('word', kind='tokens', ...)."
            )
        # No token is a turn of a dialogue, nor is one lost.
        return encoder.set_params(kind="tokens", max_length=None)

    def read(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Number the tokens.

        Parameters
        ----------
        X : ndarray of objects of shape (n,)
            From `check`.

        Returns
        -------
        content : dict of str to ndarray of objects of shape (n,)
            The tensors of the contract, and ``words``, the tokens themselves.
        """
        content = {"words": X, "tokens": self.token_encoder_.transform(X)}
        if self.characters is not None:
            content["characters"] = self.characters.transform(X.tolist())
        if "segments" in self.consumes:
            content["segments"] = self.token_encoder_.segments(X)
        return content

    @staticmethod
    def identity(content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
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
        return {"digests": digests(map("\0".join, content["words"]))}

    def fit_scaling(self, content: Any, weight: Any) -> None:
        """Do nothing: tokens have no scale."""

    def samples(
        self,
        content: dict[str, np.ndarray],
        net: Any,
        target: np.ndarray | None = None,
    ) -> Any:
        """Put sentences into tensors.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.
        net : Net
            Where the tensors go.
        target : ndarray of objects of shape (n,), optional
            Tags as arrays of int64.

        Returns
        -------
        samples : TokenSamples
            One for each row of the content.
        """
        from skattn._engine._runtime import placement
        from skattn._engine._token_samples import TokenSamples

        sequences = {name: each for name, each in content.items() if name != "words"}
        return TokenSamples(
            sequences, target=target, consumes=self.consumes, **placement(net)
        )

    def describe(self) -> dict[str, Any]:
        """Say what the tensors look like.

        Returns
        -------
        fields : dict of str to object
            Fields of `DataSpec`.
        """
        n_characters = 0 if self.characters is None else self.characters.n_codes_
        return {
            "input": "tokens",
            "length": self.length,
            "vocabulary_size": self.token_encoder_.vocabulary_size_,
            "character_vocabulary_size": n_characters,
        }

    @staticmethod
    def axis_names(axis: str, content: dict[str, np.ndarray]) -> list[list[str]] | None:
        """Name the positions along an axis of attention.

        Parameters
        ----------
        axis : str
            ``"tokens"``, or something else.
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        names : list of list of str or None
            The tokens of each sentence.
        """
        return content["words"].tolist() if axis == "tokens" else None
