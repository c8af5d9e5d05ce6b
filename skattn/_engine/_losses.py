"""Losses: one value for each sample, and the way from raw scores to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from skorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.nn import functional

from skattn._engine._samples import Window

# The class of a token that does not count.
IGNORED = -100


class Loss(nn.Module):
    """Base class; ``forward(scores, target)`` gives one loss for each sample.

    Attributes
    ----------
    early_stopping : type
        A callback that tells the best epoch, `skorch.callbacks.EarlyStopping` or
        derived from it.
    monitor : str
        What it looks at, as the history names it.
    """

    early_stopping: ClassVar[type[EarlyStopping]] = EarlyStopping
    monitor: ClassVar[str] = "valid_loss"

    def predict(self, scores: Tensor) -> Tensor:
        """Turn raw scores into probabilities or point predictions.

        Parameters
        ----------
        scores : Tensor of shape (batch, n_outputs)
            What the module returned.

        Returns
        -------
        predictions : Tensor of shape (batch, n_outputs)
            On the scale of the encoded target.
        """
        return scores

    def error(self, scores: Tensor, *target: Any) -> Tensor:
        """Tell how wrong the scores are about each sample, for model selection.

        Parameters
        ----------
        scores, *target : Tensor
            As for `forward`.

        Returns
        -------
        error : Tensor of shape (batch,)
            Of classes and labels, the part that is wrong; else the loss.
        """
        return self(scores, *target)


class CrossEntropy(Loss):
    """Cross-entropy of one or several class targets.

    Parameters
    ----------
    class_counts : tuple of int
        Classes of each target; the scores stand side by side.
    """

    def __init__(self, class_counts: tuple[int, ...]) -> None:
        super().__init__()
        self.class_counts = class_counts

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Sum over targets; `target` (batch, n_targets) holds class numbers."""
        parts = scores.split(self.class_counts, dim=1)
        losses = [
            functional.cross_entropy(part, target[:, number], reduction="none")
            for number, part in enumerate(parts)
        ]
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum(dim=0)

    def predict(self, scores: Tensor) -> Tensor:
        """Softmax within each target."""
        parts = scores.split(self.class_counts, dim=1)
        return torch.cat([part.softmax(dim=1) for part in parts], dim=1)

    def error(self, scores: Tensor, target: Tensor) -> Tensor:
        """Part of the targets whose class is wrong."""
        parts = scores.split(self.class_counts, dim=1)
        labels = torch.stack([part.argmax(dim=1) for part in parts], dim=1)
        return (labels != target).to(scores.dtype).mean(dim=1)


class SequenceCrossEntropy(Loss):
    """Cross-entropy of a class for each token of a sequence.

    The loss of a sample is the sum over its tokens, in units of the mean number of
    tokens of the batch: the mean over samples is that over tokens.

    Parameters
    ----------
    label_smoothing : float, default=0
        Part of the probability that is spread over all classes; Szegedy et al.,
        "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, arXiv
        1512.00567.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Compare with `target` (batch, length), where `IGNORED` does not count."""
        losses = functional.cross_entropy(
            scores.flatten(0, 1),
            target.flatten(),
            reduction="none",
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
        ).view(target.shape)
        n_known = (target != IGNORED).sum().clamp(min=1)
        return losses.sum(dim=1) * (len(target) / n_known)

    def predict(self, scores: Tensor) -> Tensor:
        """Softmax over the classes of each token."""
        return scores.softmax(dim=-1)

    def error(self, scores: Tensor, target: Tensor) -> Tensor:
        """Part of the known tokens whose class is wrong."""
        known = target != IGNORED
        wrong = (scores.argmax(dim=-1) != target) & known
        return wrong.sum(dim=1) / known.sum(dim=1).clamp(min=1)


class BinaryCrossEntropy(Loss):
    """Cross-entropy of independent labels, summed over the labels."""

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Compare with `target` (batch, n_labels) of zeros and ones."""
        return functional.binary_cross_entropy_with_logits(
            scores, target, reduction="none"
        ).sum(dim=1)

    def predict(self, scores: Tensor) -> Tensor:
        """Probability of each label."""
        return scores.sigmoid()

    def error(self, scores: Tensor, target: Tensor) -> Tensor:
        """Part of the labels that are wrong."""
        return ((scores > 0) != (target > 0.5)).to(scores.dtype).mean(dim=1)


class Pointwise(Loss, ABC):
    """A loss of single numbers, averaged over those that are known.

    Subclasses give ``element(scores, target)``. Where a target is missing (NaN), it
    does not count. Forecasts are compared in units of the series, not of the window.
    """

    def forward(
        self, scores: Tensor, target: Tensor, window: Window | None = None
    ) -> Tensor:
        """Average over all axes but the first."""
        if window is not None:
            scores, target = scores * window.scale, target * window.scale
        known = ~target.isnan()
        losses = self.element(scores, torch.where(known, target, 0.0))
        losses = torch.where(known, losses, 0.0).flatten(1)
        return losses.sum(dim=1) / known.flatten(1).sum(dim=1).clamp(min=1)

    @abstractmethod
    def element(self, scores: Tensor, target: Tensor) -> Tensor:
        """Loss of each number."""


class SquaredError(Pointwise):
    """Half the squared error; its optimum is the mean."""

    def element(self, scores: Tensor, target: Tensor) -> Tensor:
        """Half the squared difference."""
        return 0.5 * (scores - target).square()


class AbsoluteError(Pointwise):
    """Absolute error; its optimum is the median."""

    def element(self, scores: Tensor, target: Tensor) -> Tensor:
        """Absolute difference."""
        return (scores - target).abs()


class Huber(Pointwise):
    """Squared near zero, absolute beyond one standard deviation of the target."""

    def element(self, scores: Tensor, target: Tensor) -> Tensor:
        """Huber's function with a corner at one."""
        return functional.huber_loss(scores, target, reduction="none")


class Pinball(Pointwise):
    """Pinball loss; its optimum is a quantile.

    Parameters
    ----------
    quantile : float
        Between 0 and 1.
    """

    def __init__(self, quantile: float) -> None:
        super().__init__()
        self.quantile = quantile

    def element(self, scores: Tensor, target: Tensor) -> Tensor:
        """Asymmetric absolute difference."""
        excess = target - scores
        return torch.maximum(self.quantile * excess, (self.quantile - 1) * excess)


class Poisson(Pointwise):
    """Half the Poisson deviance with a logarithmic link, up to a constant."""

    def element(self, scores: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood without the factorial."""
        return scores.exp() - target * scores

    def predict(self, scores: Tensor) -> Tensor:
        """Expected count."""
        return scores.exp()


REGRESSION_LOSSES: dict[str, Callable[[], Loss]] = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "poisson": Poisson,
    "huber": Huber,
}


def regression_loss(name: str, quantile: float | None = None) -> Loss:
    """Make the loss of a regressor.

    Parameters
    ----------
    name : str
        ``"quantile"``, or a key of `REGRESSION_LOSSES`.
    quantile : float, optional
        For ``name="quantile"`` only.

    Returns
    -------
    loss : Loss
        A module without parameters.

    Raises
    ------
    ValueError
        If `quantile` is missing where it is needed.
    """
    if name != "quantile":
        return REGRESSION_LOSSES[name]()
    if quantile is None:
        raise ValueError(
            "loss='quantile' needs the parameter quantile, a number between 0 and 1."
        )
    return Pinball(quantile)
