"""A linear model beside an architecture, fitted before training begins.

Beside that of a table, the architecture's own head starts at zero, so training starts
at the linear model and learns what it leaves. That of texts has far more coefficients
than there are texts; what it leaves is mostly chance. Here the architecture learns by
itself, and held-out texts tell how to weigh the two.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from torch import Tensor, nn

from skattn._architecture import DataSpec
from skattn._engine._forecast_linear import ZeroLinear
from skattn._engine._losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    Pinball,
    Poisson,
)

# Of the weights in `weigh`: a prior with a standard deviation of one half.
_PENALTY = 2.0


class LinearSkip(nn.Module):
    """Add the scores of a linear model to those of an architecture.

    Parameters
    ----------
    module : nn.Module
        Of the architecture; its ``head``, if it has one, starts at zero.
    data : DataSpec
        Of the table.
    """

    def __init__(self, module: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.module = module
        self.skip = _ColumnMap(data)
        # The best linear scores are known; moving them would overfit.
        self.skip.requires_grad_(False)
        head = getattr(module, "head", None)
        if isinstance(head, nn.Module):
            for parameter in head.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, **optional: Tensor) -> Tensor:
        """Compute scores.

        Parameters
        ----------
        x : Tensor
            The main input.
        **optional : Tensor
            What the architecture consumes.

        Returns
        -------
        scores : Tensor
            The sum of both models' scores.
        """
        return self.skip(x, optional.get("categories")) + self.module(x, **optional)


class OffsetSum(nn.Module):
    """Add up weighted scores of a model fitted before and of an architecture.

    In training the architecture stands alone; then samples that were held out from
    both tell how to weigh them (see `weigh`).

    Parameters
    ----------
    module : nn.Module
        Of the architecture.
    """

    weights: Tensor

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("weights", torch.tensor([0.5, 0.5]))

    def forward(self, *, offset: Tensor, **inputs: Tensor) -> Tensor:
        """Compute scores.

        Parameters
        ----------
        offset : Tensor of shape (batch, n_outputs)
            Scores of the other model.
        **inputs : Tensor
            What the architecture takes.

        Returns
        -------
        scores : Tensor of shape (batch, n_outputs)
            Of both models.
        """
        of_other, of_ours = self.weights
        return of_other * offset + of_ours * self.module(**inputs)


def weigh(
    offset: Tensor, scores: Tensor, target: Tensor, weight: Tensor | None, loss: Loss
) -> tuple[tuple[float, float], float]:
    """Find the weights of two models' scores by which their sum has the least loss.

    The loss is that of samples held out from both models, plus a penalty that equals a
    normal prior around the first model alone; so few samples leave the first one as it
    is.

    Parameters
    ----------
    offset, scores : Tensor of shape (n, n_outputs)
        Scores of the two models.
    target : Tensor of shape (n, n_targets)
        Encoded targets.
    weight : Tensor of shape (n,) or None
        Weights of the samples.
    loss : Loss
        To be least.

    Returns
    -------
    weights : tuple of float
        Of the first and of the second model; neither is negative.
    mean_loss : float
        With them, without the penalty.
    """

    def mean_loss(weights: Any) -> float:
        losses = loss(weights[0] * offset + weights[1] * scores, target)
        return float((losses if weight is None else losses * weight).mean())

    def penalised(weights: np.ndarray) -> float:
        distance = (weights[0] - 1) ** 2 + weights[1] ** 2
        return mean_loss(weights) + _PENALTY * distance / len(offset)

    found = minimize(penalised, [0.9, 0.3], method="Powell", bounds=[(0, 4), (0, 4)])
    of_other, of_ours = map(float, found.x)
    return (of_other, of_ours), mean_loss((of_other, of_ours))


class _ColumnMap(nn.Module):
    """Map the numbers and the categories of a row to scores."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.linear = ZeroLinear(data.n_features, data.n_outputs)
        self.tables = nn.ModuleList(
            nn.Embedding(count, data.n_outputs) for count in data.category_counts
        )
        for parameter in self.tables.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, categories: Tensor | None = None) -> Tensor:
        """Compute scores: (batch, n_outputs)."""
        scores = self.linear(x)
        if categories is not None:
            for column, table in enumerate(self.tables):
                scores = scores + table(categories[:, column])
        return scores


def fit_column_map(skip: Any, samples: Any, loss: Loss) -> None:
    """Set the linear model of a table to scikit-learn's fit of the training rows.

    Logistic regression for classes, Poisson regression for counts, ridge regression
    for everything else, with scikit-learn's default strength; for a median or another
    quantile, its intercept is moved to that quantile of the residuals.

    Parameters
    ----------
    skip : nn.Module
        `LinearSkip.skip` of a table.
    samples : TensorSamples
        Training samples.
    loss : Loss
        What the net is trained with.
    """
    rows = samples.index
    inputs = {
        name: tensor[rows].cpu().numpy() for name, tensor in samples.inputs.items()
    }
    target = samples.target[rows].cpu().double().numpy()
    weight = None if samples.weight is None else samples.weight.cpu().double().numpy()
    design = _design(inputs, [table.num_embeddings for table in skip.tables])
    coefficients, intercept = fit_linear(design, target, weight, loss)
    with torch.no_grad():
        n_features = skip.linear.in_features
        skip.linear.weight.copy_(torch.from_numpy(coefficients[:, :n_features]))
        skip.linear.bias.copy_(torch.from_numpy(intercept))
        start = n_features
        for table in skip.tables:
            part = coefficients[:, start : start + table.num_embeddings]
            table.weight.copy_(torch.from_numpy(part.T))
            start += table.num_embeddings


def _design(inputs: dict[str, np.ndarray], counts: list[int]) -> Any:
    """Put numbers and one-hot categories side by side, sparse where there are any."""
    x = inputs["x"].astype(np.float64)
    if not counts:
        return x
    rows = np.arange(len(x))
    parts = [sparse.csr_matrix(x)]
    for column, count in enumerate(counts):
        place = (rows, inputs["categories"][:, column])
        parts.append(sparse.csr_matrix((np.ones(len(x)), place), (len(x), count)))
    return sparse.hstack(parts, format="csr")


def fit_linear(
    design: Any,
    target: np.ndarray,
    weight: np.ndarray | None,
    loss: Loss,
    C: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit scikit-learn's linear model of each target.

    Parameters
    ----------
    design : ndarray or sparse array of shape (n, n_columns)
        Features.
    target : ndarray of shape (n, n_targets)
        Encoded targets.
    weight : ndarray of shape (n,) or None
        Weights of the rows.
    loss : Loss
        Decides which model it is.
    C : float, default=1.0
        Of logistic regression, the inverse of its penalty.

    Returns
    -------
    coefficients : ndarray of shape (n_outputs, n_columns)
        Of the scores.
    intercept : ndarray of shape (n_outputs,)
        Of the scores.
    """
    if isinstance(loss, CrossEntropy):
        fits = [
            _fit_classes(design, column, weight, count, C)
            for column, count in zip(target.T, loss.class_counts, strict=True)
        ]
    elif isinstance(loss, BinaryCrossEntropy):
        fits = [_fit_classes(design, column, weight, 2, C) for column in target.T]
        fits = [(c[1:] - c[:1], i[1:] - i[:1]) for c, i in fits]
    else:
        fits = []
        for column in target.T:
            if isinstance(loss, Poisson):
                model = PoissonRegressor(alpha=1 / len(column), max_iter=1000)
            else:
                model = Ridge()
            model.fit(design, column, sample_weight=weight)
            intercept = np.atleast_1d(model.intercept_)
            if (level := _level(loss)) is not None:
                rest = column - model.predict(design)
                intercept = intercept + np.quantile(
                    rest, level, method="inverted_cdf", weights=weight
                )
            fits.append((np.atleast_2d(model.coef_), intercept))
    return np.vstack([c for c, _ in fits]), np.concatenate([i for _, i in fits])


def _level(loss: Loss) -> float | None:
    """Which quantile a loss estimates, if it is one."""
    if isinstance(loss, AbsoluteError):
        return 0.5
    return loss.quantile if isinstance(loss, Pinball) else None


def _fit_classes(
    design: Any, codes: np.ndarray, weight: np.ndarray | None, count: int, C: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit logistic regression; a class that is absent keeps the score zero."""
    coefficients, intercept = np.zeros((count, design.shape[1])), np.zeros(count)
    present = np.unique(codes).astype(int)
    if len(present) < 2:
        return coefficients, intercept
    with warnings.catch_warnings():
        # A start need not have converged.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=C, max_iter=1000)
        model.fit(design, codes, sample_weight=weight)
    if len(present) == 2:  # one score, shared by two opposite halves
        halves = np.array([[-0.5], [0.5]])
        coefficients[present] = halves * model.coef_
        intercept[present] = halves[:, 0] * model.intercept_
    else:
        coefficients[present], intercept[present] = model.coef_, model.intercept_
    return coefficients, intercept
