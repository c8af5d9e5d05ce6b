"""Writing translations: one token after another, greedily or by beam search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skattn._architecture import SpecialToken
from skattn._engine._runtime import autocast

# Never written: they mean nothing in a sentence, or end up as nothing.
_NEVER = [token for token in SpecialToken if token is not SpecialToken.END]

# Sentences that are translated together: a constant, so that a translation does not
# depend on the others. A sentence alone costs as much as these.
_SENTENCES = 32


@dataclass
class Translation:
    """Tokens of one translation.

    Parameters
    ----------
    tokens : list of int
        Without those that start and end it.
    is_complete : bool
        Whether it came to its end before the limit.
    score : float
        Logarithm of its probability; of a beam search, after the length penalty.
    """

    tokens: list[int]
    is_complete: bool
    score: float


class _WholePrefix:
    """Decoding of a module that keeps no state: all tokens are computed each time."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def start(self, tokens: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Keep the sentences and no token of their translations."""
        given = {"tokens": tokens, "target_tokens": tokens[:, :0]}
        return given if mask is None else {**given, "mask": mask}

    def step(
        self, token: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Add a token and compute the scores of the next one."""
        written = torch.cat([state["target_tokens"], token[:, None]], dim=1)
        state = {**state, "target_tokens": written}
        return self.module(**state)[:, -1], state

    def reorder(self, state: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
        """Take these rows."""
        return {name: tensor[index] for name, tensor in state.items()}


def translate(
    net: Any,
    samples: Any,
    *,
    beam_size: int,
    length_penalty: float,
    limit: Callable[[int], int],
) -> list[Translation]:
    """Translate all sentences.

    Parameters
    ----------
    net : Net
        Trained.
    samples : TokenSamples
        With ``tokens``.
    beam_size : int
        Hypotheses that are followed; 1 takes the most probable token each time.
    length_penalty : float
        Exponent of the length by which the logarithm of a probability is divided.
    limit : callable
        From the number of tokens of a sentence to that of its longest translation.

    Returns
    -------
    translations : list of Translation
        In the order of the sentences.
    """
    net._set_training(False)
    module = getattr(net.module_, "_orig_mod", net.module_)
    decoder = module if hasattr(module, "step") else _WholePrefix(module)
    lengths = samples.sequences["tokens"].lengths
    found: list[Any] = [None] * len(lengths)
    with torch.no_grad(), autocast(net.precision, torch.device(net.device)):
        for rows, inputs in samples.inference_batches(most=_SENTENCES):
            limits = [limit(int(length)) for length in lengths[rows]]
            limits += [1] * (len(inputs["tokens"]) - len(rows))  # of repeated rows
            if beam_size == 1:
                batch = _greedy(decoder, inputs, limits)
            else:
                batch = _beam(decoder, inputs, limits, beam_size, length_penalty)
            for row, translation in zip(rows.tolist(), batch, strict=False):
                found[row] = translation
    return found


def _log_probabilities(scores: Tensor) -> Tensor:
    if not scores.isfinite().all():
        raise ValueError(
            "The net gives some sentences of X scores that are not finite: training "
            "diverged, or the precision is too low. Fit anew with a lower lr, or with "
            "precision='float32'."
        )
    never = torch.tensor(_NEVER, device=scores.device)
    return scores.float().index_fill(1, never, -torch.inf).log_softmax(dim=-1)


def _greedy(decoder: Any, inputs: Any, limits: list[int]) -> list[Translation]:
    """Take the most probable token again and again."""
    n = len(limits)
    end = int(SpecialToken.END)
    state = decoder.start(**inputs)
    token = torch.full((n,), SpecialToken.START, device=inputs["tokens"].device)
    most = torch.tensor(limits, device=token.device)
    is_open = torch.ones(n, dtype=torch.bool, device=token.device)
    total = torch.zeros(n, device=token.device)
    written: list[Tensor] = []
    while bool(is_open.any()):
        scores, state = decoder.step(token, state)
        best, token = _log_probabilities(scores).max(dim=-1)
        total = total + torch.where(is_open, best, 0.0)
        token = torch.where(is_open, token, end)
        written.append(token)
        is_open = is_open & (token != end) & (len(written) < most)
    table = torch.stack(written, dim=1).cpu().numpy()  # (n, steps)
    return [
        Translation(_before_end(row), bool((row == end).any()), score)
        for row, score in zip(_cut(table, limits), total.tolist(), strict=True)
    ]


def _cut(table: np.ndarray, limits: list[int]) -> Iterator[np.ndarray]:
    for row, limit in zip(table, limits, strict=True):
        yield row[:limit]


def _before_end(row: np.ndarray) -> list[int]:
    ends = np.flatnonzero(row == SpecialToken.END)
    return row[: ends[0] if len(ends) else len(row)].tolist()


@dataclass
class _Sentence:
    """Hypotheses of one sentence: those that have ended, and those to follow."""

    limit: int
    size: int
    penalty: float
    ended: list[Translation] = field(default_factory=list)
    followed: list[list[int]] = field(default_factory=lambda: [[]])
    is_open: bool = True

    def grow(
        self, parents: list[int], tokens: list[int], totals: list[float]
    ) -> tuple[list[int], list[int], list[float]]:
        """Continue by candidates, the best first: (parents, tokens, totals) to follow.

        One that ends counts only among the best `size`. The search is over when `size`
        hypotheses have ended, or at the limit, where the best one is cut off.
        """
        kept: tuple[list[int], list[int], list[float]] = ([], [], [])
        following: list[list[int]] = []
        for rank, (parent, token, total) in enumerate(
            zip(parents, tokens, totals, strict=True)
        ):
            if total == -np.inf:  # no further candidates
                break
            words = self.followed[parent]
            if token == SpecialToken.END:
                if rank < self.size:
                    self._end(words, True, total, len(words) + 1)
            elif len(following) < self.size:
                following.append([*words, token])
                kept[0].append(parent)
                kept[1].append(token)
                kept[2].append(total)
        self.followed = following
        if len(self.ended) >= self.size or not following:
            self.is_open = False
        elif len(following[0]) >= self.limit:
            self.is_open = False
            self._end(following[0], False, kept[2][0], self.limit)
        return kept

    def _end(self, words: list[int], done: bool, total: float, length: int) -> None:
        # Wu et al., 2016, arXiv 1609.08144, equation 14
        score = total / ((5 + length) / 6) ** self.penalty
        self.ended.append(Translation(words, done, score))

    @property
    def best(self) -> Translation:
        """The hypothesis of the highest score, the first of equals."""
        return max(self.ended, key=lambda each: each.score)


def _beam(
    decoder: Any, inputs: Any, limits: list[int], size: int, penalty: float
) -> list[Translation]:
    """Follow the `size` most probable hypotheses of each sentence."""
    n = len(limits)
    device = inputs["tokens"].device
    state = decoder.start(**inputs)
    state = decoder.reorder(
        state, torch.arange(n, device=device).repeat_interleave(size)
    )
    token = torch.full((n * size,), SpecialToken.START, device=device)
    # At first all hypotheses of a sentence are alike: only one is followed.
    totals = torch.full((n, size), -torch.inf, device=device)
    totals[:, 0] = 0.0
    sentences = [_Sentence(limit, size, penalty) for limit in limits]
    first = size * torch.arange(n)[:, None]  # hypothesis 0 of each sentence
    while any(sentence.is_open for sentence in sentences):
        scores, state = decoder.step(token, state)
        grown = totals.flatten()[:, None] + _log_probabilities(scores)
        vocabulary = grown.shape[1]
        # Each hypothesis can end only once: twice as many candidates are enough.
        count = min(2 * size, size * vocabulary)
        best = grown.view(n, -1).topk(count, dim=1)
        parents = (best.indices // vocabulary).tolist()
        tokens = (best.indices % vocabulary).tolist()
        values = best.values.tolist()
        origin = torch.zeros(n, size, dtype=torch.long)
        following = torch.full((n, size), int(SpecialToken.END))
        sums = torch.full((n, size), -torch.inf)
        for number, sentence in enumerate(sentences):
            if not sentence.is_open:
                continue
            kept = sentence.grow(parents[number], tokens[number], values[number])
            k = len(kept[0])
            origin[number, :k] = torch.tensor(kept[0])
            following[number, :k] = torch.tensor(kept[1])
            sums[number, :k] = torch.tensor(kept[2])
        totals = sums.to(device)
        token = following.flatten().to(device)
        state = decoder.reorder(state, (first + origin).flatten().to(device))
    return [sentence.best for sentence in sentences]
