"""Tags of a sequence that depend on their neighbours: a linear-chain random field.

All that the chain has learned lies in the scores, so that the losses here have no
weights of their own. Scores of a chain of k tags are (batch, length + k + 2, k): those
of each tag at each token, and below them k + 2 rows of edges, the same for all samples:
from each tag to the next one, from the start to the first tag, and from the last tag to
the end. Lafferty, McCallum and Pereira, "Conditional Random Fields", ICML 2001; with
the forbidden edges left out in training already, as in Papay, Klinger and Pado,
"Constraining Linear-chain CRFs to Regular Languages", ICLR 2022, arXiv 2106.07306.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from skorch.callbacks import EarlyStopping
from torch import Tensor, nn

from skattn._engine._losses import IGNORED, SequenceCrossEntropy
from skattn._engine._net import Blueprint

# What a token is to its entity; of type k, the tag is one more than 4 k and this.
BEGINNING, INSIDE, ENDING, SINGLE = range(4)

# In natural logarithms.
_SHIFTS = tuple(float(shift) for shift in np.arange(0, 4.5, 0.5))

# Instead of minus infinity, whose gradients are not numbers.
_FORBIDDEN = -1e4


class ChainBlueprint(Blueprint):
    """A blueprint whose module ends in a chain of tags; see `Blueprint`."""

    def __call__(self) -> nn.Module:
        module = Chained(super().__call__(), self.data.n_outputs)
        return module.to(next(module.module.parameters()).dtype)


class Chained(nn.Module):
    """Put learned edges between tags below the scores of an architecture.

    Parameters
    ----------
    module : nn.Module
        Of the architecture; its scores are (batch, length, n_tags).
    n_tags : int
        Tags.
    """

    def __init__(self, module: nn.Module, n_tags: int) -> None:
        super().__init__()
        self.module = module
        self.edges = nn.Parameter(torch.zeros(n_tags + 2, n_tags))

    def forward(self, tokens: Tensor, **optional: Tensor) -> Tensor:
        """Compute scores.

        Parameters
        ----------
        tokens : Tensor of int of shape (batch, length)
            The main input.
        **optional : Tensor
            What the architecture consumes.

        Returns
        -------
        scores : Tensor of shape (batch, length + n_tags + 2, n_tags)
            Of tags and edges.
        """
        scores = self.module(tokens, **optional)
        return torch.cat([scores, self.edges.expand(len(scores), -1, -1)], dim=1)


class Chain(NamedTuple):
    """Scores of the tags of each token and of the edges between them.

    Parameters
    ----------
    tags : Tensor of shape (batch, length, n_tags)
        Of each tag at each token.
    between : Tensor of shape (n_tags, n_tags)
        From the tag of a row to that of a column.
    start, end : Tensor of shape (n_tags,)
        Of the first and of the last tag.
    """

    tags: Tensor
    between: Tensor
    start: Tensor
    end: Tensor

    @classmethod
    def of(cls, tags: Tensor, edges: Tensor) -> Chain:
        """Cut `edges` (n_tags + 2, n_tags) into its three parts."""
        return cls(tags, edges[:-2], edges[-2], edges[-1])

    def shifted(self, shift: float) -> Chain:
        """Take `shift` off the scores of tag 0."""
        if not shift:
            return self
        tags = self.tags.clone()
        tags[:, :, 0] -= shift
        return self._replace(tags=tags)

    def log_likelihood(self, path: Tensor, mask: Tensor) -> Tensor:
        """Compute the logarithm of the probability of a path, by the forward algorithm.

        Parameters
        ----------
        path : Tensor of int of shape (batch, length)
            A tag for each token; any where `mask` is False.
        mask : Tensor of bool of shape (batch, length)
            True for the tokens of each sequence, at least one and the first ones.

        Returns
        -------
        log_likelihood : Tensor of shape (batch,)
            Natural logarithms.
        """
        alpha = self._forward(mask)[-1]
        return self._score(path, mask) - (alpha + self.end).logsumexp(dim=1)

    def _score(self, path: Tensor, mask: Tensor) -> Tensor:
        """Add up the scores along a path: (batch,)."""
        steps = self.tags.gather(2, path[:, :, None])[:, :, 0]
        moves = self.between[path[:, :-1], path[:, 1:]]
        last = path.gather(1, mask.sum(dim=1, keepdim=True) - 1)[:, 0]
        total = torch.where(mask, steps, 0.0).sum(dim=1)
        total = total + torch.where(mask[:, 1:], moves, 0.0).sum(dim=1)
        return total + self.start[path[:, 0]] + self.end[last]

    def _forward(self, mask: Tensor) -> list[Tensor]:
        """Sum over all beginnings of each length, by their last tag: (batch, n_tags).

        Behind the end of a sequence the last sum is repeated.
        """
        alpha = self.start + self.tags[:, 0]
        sums = [alpha]
        for step in range(1, self.tags.shape[1]):
            pairs = alpha[:, :, None] + self.between  # (batch, from, to)
            longer = pairs.logsumexp(dim=1) + self.tags[:, step]
            alpha = torch.where(mask[:, step, None], longer, alpha)
            sums.append(alpha)
        return sums

    def marginals(self, mask: Tensor) -> Tensor:
        """Compute probabilities of the tags of each token, by forward and backward.

        Parameters
        ----------
        mask : Tensor of bool of shape (batch, length)
            As for `log_likelihood`.

        Returns
        -------
        probabilities : Tensor of shape (batch, length, n_tags)
            Summing to one for each token; behind the end, the last ones again.
        """
        alphas, betas = self._forward(mask), self._backward(mask)
        total = (alphas[-1] + self.end).logsumexp(dim=1)
        joint = torch.stack(alphas, dim=1) + torch.stack(betas, dim=1)
        return (joint - total[:, None, None]).exp()

    def joint_marginals(self, mask: Tensor, pairs: Tensor) -> Tensor:
        """Compute probabilities of each tag behind certain others.

        Parameters
        ----------
        mask : Tensor of bool of shape (batch, length)
            As for `log_likelihood`.
        pairs : Tensor of bool of shape (n_tags, n_tags)
            Which tags (rows) count before which others (columns).

        Returns
        -------
        probabilities : Tensor of shape (batch, length, n_tags)
            Of each tag at each token, together with one of those at the token before.
        """
        alphas, betas = self._forward(mask), self._backward(mask)
        total = (alphas[-1] + self.end).logsumexp(dim=1)[:, None]
        between = torch.where(pairs, self.between, -torch.inf)
        found = [torch.zeros_like(alphas[0])]
        for step in range(1, len(alphas)):
            moves = (alphas[step - 1][:, :, None] + between).logsumexp(dim=1)
            found.append((moves + self.tags[:, step] + betas[step] - total).exp())
        return torch.stack(found, dim=1)

    def _backward(self, mask: Tensor) -> list[Tensor]:
        """Sum over all continuations, by the tag that they follow: (batch, n_tags)."""
        beta = self.end.expand(len(self.tags), -1)
        sums = [beta]
        for step in range(self.tags.shape[1] - 1, 0, -1):
            pairs = self.between + (beta + self.tags[:, step])[:, None, :]
            longer = pairs.logsumexp(dim=2)  # (batch, from)
            beta = torch.where(mask[:, step, None], longer, beta)
            sums.append(beta)
        return sums[::-1]

    def best_path(self, mask: Tensor) -> Tensor:
        """Find the path of the highest score, by Viterbi's algorithm.

        Parameters
        ----------
        mask : Tensor of bool of shape (batch, length)
            As for `log_likelihood`.

        Returns
        -------
        path : Tensor of int of shape (batch, length)
            A tag for each token; behind the end, the last one again.
        """
        best = self.start + self.tags[:, 0]
        stay = torch.arange(best.shape[1], device=best.device).expand_as(best)
        origins = []
        for step in range(1, self.tags.shape[1]):
            longer, origin = (best[:, :, None] + self.between).max(dim=1)
            real = mask[:, step, None]
            best = torch.where(real, longer + self.tags[:, step], best)
            origins.append(torch.where(real, origin, stay))
        tag = (best + self.end).argmax(dim=1, keepdim=True)
        path = [tag]
        for origin in reversed(origins):
            tag = origin.gather(1, tag)
            path.append(tag)
        return torch.cat(path[::-1], dim=1)


class BestTags(EarlyStopping):
    """Early stopping by the tags of held-out sentences, where the loss breaks ties.

    The loss of entities rises again, as rare ones are told too confidently, long before
    fewer of them are found. Their F1 score is often higher if more of them are told
    than is most probable: each epoch is judged by the best of some shifts, and that of
    the best epoch is kept.
    """

    def __init__(self, monitor: str, **params: Any) -> None:
        super().__init__(monitor, lower_is_better=False, **params)

    def on_epoch_end(self, net: Any, dataset_valid: Any = None, **_: Any) -> None:
        """Record the quality of an epoch and compare it with the best one."""
        criterion = net.criterion_
        net._set_training(False)
        shifts = criterion.shifts
        found: list[list[Any]] = [[] for _ in shifts]
        expected = []
        with torch.no_grad():
            for inputs, target in net.get_iterator(dataset_valid):
                mask = target.values != IGNORED
                chain = criterion.chain(net.infer(inputs))
                for paths, shift in zip(found, shifts, strict=True):
                    path = chain.shifted(shift).best_path(mask)
                    paths.append(path[mask].cpu().numpy())
                expected.append(target.values[mask].cpu().numpy())
        truth = np.concatenate(expected)
        scores = [criterion.quality(np.concatenate(each), truth) for each in found]
        best = int(np.argmax(scores))
        net.history.record("valid_shift", shifts[best])
        quality = scores[best] - 1e-6 * net.history[-1, "valid_loss"]
        net.history.record(self.monitor, quality)
        super().on_epoch_end(net)
        if self.best_epoch_ == net.history[-1, "epoch"]:
            self.shift_ = shifts[best]

    def on_train_end(self, net: Any, **_: Any) -> None:
        """Restore weights and shift of the best epoch."""
        super().on_train_end(net)
        if self.best_epoch_:
            for criterion in (net.criterion, net.criterion_):
                criterion.shift = self.shift_


class TagLoss(SequenceCrossEntropy):
    """Cross-entropy of the tag of each token; only what is read obeys the edges.

    Parameters
    ----------
    allowed : ndarray of bool of shape (n_tags + 2, n_tags)
        Whether a tag (row) may precede another (column); whether a tag may be the
        first one; whether it may be the last one.
    has_entities : bool, default=False
        Whether the tags are those of `TagTarget` in a scheme.
    shift : float or None, default=None
        What `BestTags` leaves alone where it is given.

    Attributes
    ----------
    shift : float
        What is taken off the score of the tag outside entities in prediction.
    shifts : sequence of float
        Those to choose from.
    """

    early_stopping = BestTags
    monitor = "valid_quality"

    def __init__(
        self,
        allowed: np.ndarray,
        has_entities: bool = False,
        shift: float | None = None,
    ) -> None:
        super().__init__()
        self.has_entities = has_entities
        is_open = has_entities and shift is None
        self.shift = 0.0 if shift is None else float(shift)
        self.shifts = _SHIFTS if is_open else (self.shift,)
        self.allowed: Tensor
        self.register_buffer("allowed", torch.from_numpy(allowed))

    def chain(self, scores: Tensor, forbidden: float = -torch.inf) -> Chain:
        """Read scores as those of a chain.

        Parameters
        ----------
        scores : Tensor
            What the module returned.
        forbidden : float, default=-inf
            Score of an edge that is not allowed.

        Returns
        -------
        chain : Chain
            Of logarithms of probabilities, if the module has no edges.
        """
        # Whoever reads scores may have moved them to the CPU.
        allowed = self.allowed.to(scores.device)
        edges = torch.where(allowed, 0.0, forbidden).to(scores.dtype)
        return Chain.of(scores.log_softmax(dim=-1), edges)

    def quality(self, found: np.ndarray, expected: np.ndarray) -> float:
        """Compare tags of sentences that stand one behind the other.

        Parameters
        ----------
        found, expected : ndarray of int of shape (n_tokens,)
            Two sequences of tags, both allowed.

        Returns
        -------
        quality : float
            The F1 score of entities, or else the part of the tags that are right.
        """
        right = found == expected
        if not self.has_entities:
            return float(right.mean())
        is_inside = expected > 0
        starts = is_start(expected)
        if not starts.any():
            return float(not is_start(found).any())
        number = starts.cumsum() - 1
        n_wrong = np.bincount(number[is_inside], weights=~right[is_inside])
        n_tags = starts.sum() + is_start(found).sum()
        return float(2 * (n_wrong == 0).sum() / n_tags)


def is_start(tags: np.ndarray) -> np.ndarray:
    """Tell where an entity begins: a token that is its first or its only one.

    Parameters
    ----------
    tags : ndarray of int
        0 outside; else, for each type, beginning, inside, end and single ones.

    Returns
    -------
    is_start : ndarray of bool
        Shaped as the tags.
    """
    return (tags > 0) & np.isin((tags - 1) % 4, (BEGINNING, SINGLE))


class ChainLoss(TagLoss):
    """Negative logarithm of the likelihood of all tags of a sequence.

    The loss of a sample is in units of the mean number of tokens of the batch, as in
    `SequenceCrossEntropy`.
    """

    def chain(self, scores: Tensor, forbidden: float = -torch.inf) -> Chain:
        """Cut scores into those of tags and edges; see `TagLoss`."""
        n_tags = scores.shape[2]
        allowed = self.allowed.to(scores.device)
        edges = torch.where(allowed, scores[0, -n_tags - 2 :], forbidden)
        return Chain.of(scores[:, : -n_tags - 2], edges)

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Compare with `target` (batch, length), `IGNORED` behind each end."""
        mask = target != IGNORED
        chain = self.chain(scores, _FORBIDDEN)
        losses = -chain.log_likelihood(target.clamp(min=0), mask)
        return losses * (len(target) / mask.sum().clamp(min=1))

    def error(self, scores: Tensor, target: Tensor) -> Tensor:
        """Part of the tokens whose tag is wrong on the best path."""
        mask = target != IGNORED
        wrong = (self.chain(scores).best_path(mask) != target) & mask
        return wrong.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
