"""Texts as their own targets: masked tokens to guess, or next ones to predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from skattn._architecture import SpecialToken
from skattn._engine._losses import IGNORED
from skattn._engine._samples import Inputs, Target
from skattn._engine._token_samples import TokenSamples

# Of the tokens that are to be guessed, so many are masked, and so many are others.
_MASKED, _OTHER = 0.8, 0.1


class MaskedSamples(TokenSamples):
    """Texts of which some tokens are to be guessed, other ones each time.

    Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional
    Transformers for Language Understanding", NAACL 2019, arXiv 1810.04805: of the
    chosen tokens 80 % are masked, 10 % replaced by others, and 10 % left. What is
    unknown is never chosen.

    Parameters
    ----------
    tokens : ndarray of objects of shape (n_rows,)
        Arrays of int64.
    vocabulary_size : int
        Number of different tokens.
    rate : float
        Part of the tokens that is chosen.
    **placement : object
        See `TokenSamples`.

    Attributes
    ----------
    seed : int or None
        Where it is a number, each batch is masked in the same way each time.
    """

    def __init__(
        self, tokens: np.ndarray, *, vocabulary_size: int, rate: float, **placement: Any
    ) -> None:
        super().__init__({"tokens": tokens}, **placement)
        self.vocabulary_size = vocabulary_size
        self.rate = rate
        self.seed: int | None = None

    def take(self, positions: Tensor) -> tuple[Inputs, Target]:
        """Gather a batch, and choose what is to be guessed.

        Parameters
        ----------
        positions : Tensor of shape (batch,)
            Samples.

        Returns
        -------
        inputs : dict of str to Tensor
            The arguments of the module's ``forward``.
        target : Target
            The tokens that were chosen.
        """
        rows = positions if self.index is None else self.index[positions]
        inputs = self._pad(rows, spare_masks=True)
        tokens = inputs["tokens"]
        generator = None
        if self.seed is not None:
            generator = torch.Generator(tokens.device)
            generator.manual_seed(self.seed + int(positions[0]))
        first = len(SpecialToken)

        def draw() -> Tensor:
            return torch.rand(tokens.shape, generator=generator, device=tokens.device)

        chosen = (tokens >= first) & (draw() < self.rate)
        fate = draw()
        others = first + (draw() * (self.vocabulary_size - first)).long()
        changed = torch.where(fate < _MASKED, int(SpecialToken.MASKED), others)
        is_changed = chosen & (fate < _MASKED + _OTHER)
        values = torch.where(chosen, tokens, IGNORED)
        inputs["tokens"] = torch.where(is_changed, changed, tokens)
        weight = None if self.weight is None else self.weight[positions]
        return inputs, Target(values, weight, n_tokens=int(chosen.sum()))


class NextTokenSamples(TokenSamples):
    """Texts of which each token is to be predicted from those before it.

    Parameters
    ----------
    tokens : ndarray of objects of shape (n_rows,)
        Arrays of int64; each text begins with ``SpecialToken.START`` when it is read,
        and is to end in ``SpecialToken.END``.
    **placement : object
        See `TokenSamples`.
    """

    def __init__(self, tokens: np.ndarray, **placement: Any) -> None:
        start, end = np.int64(SpecialToken.START), np.int64(SpecialToken.END)
        read = np.empty(len(tokens), dtype=object)
        read[:] = [np.concatenate([[start], each]) for each in tokens]
        target = np.empty(len(tokens), dtype=object)
        target[:] = [np.append(each, end) for each in tokens]
        super().__init__({"tokens": read}, target=target, **placement)
