"""A linear skip beside an architecture, started in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from skattn._architecture import DataSpec

# Ridge strengths to choose from, in units of the inputs' mean square.
_STRENGTHS = tuple(10.0**power for power in range(-4, 4))


class LinearSkip(nn.Module):
    """Add a linear forecast, shared over the targets, to an architecture's scores.

    Parameters
    ----------
    module : nn.Module
        Of the architecture; its ``head``, if it has one, starts at zero.
    data : DataSpec
        What the architecture was built for.
    is_learned : bool
        Whether training changes the linear forecast.
    """

    def __init__(self, module: nn.Module, data: DataSpec, is_learned: bool) -> None:
        super().__init__()
        self.module = module
        self.skip = nn.Linear(data.length, data.horizon)
        self.n_targets = data.n_targets
        head = getattr(module, "head", None)
        for part in [self.skip, *([head] if isinstance(head, nn.Module) else [])]:
            for parameter in part.parameters():
                nn.init.zeros_(parameter)
        self.skip.requires_grad_(is_learned)

    def forward(self, x: Tensor, **optional: Tensor) -> Tensor:
        """Forecast.

        Parameters
        ----------
        x : Tensor of shape (batch, n_channels, length)
            Windows.
        **optional : Tensor
            What the architecture consumes.

        Returns
        -------
        scores : Tensor of shape (batch, n_targets, horizon)
            The sum of both forecasts.
        """
        return self.skip(x[:, : self.n_targets]) + self.module(x, **optional)


def start_at_ridge(skip: nn.Linear, batches: Iterator[tuple[Any, Any]]) -> float | None:
    """Set a linear skip to the ridge regression of its windows.

    The normal equations are accumulated batch by batch; the strength minimises
    generalised cross-validation (Golub, Heath, Wahba, Technometrics 1979). Windows
    whose targets are not all known are left out; without any, the skip stays zero.

    Parameters
    ----------
    skip : nn.Linear
        From the steps of a window to those of a forecast.
    batches : iterator of (inputs, target)
        From the training samples.

    Returns
    -------
    strength : float or None
        The chosen one, in units of the inputs' mean square.
    """
    width = skip.in_features + 1
    gram = torch.zeros(width, width, dtype=torch.float64)
    cross = torch.zeros(width, skip.out_features, dtype=torch.float64)
    square = 0.0
    for inputs, target in batches:
        goal = target.values.double().flatten(0, 1).cpu()  # (batch * targets, horizon)
        n_targets = target.values.shape[1]
        design = inputs["x"][:, :n_targets].double().flatten(0, 1).cpu()
        known = ~goal.isnan().any(dim=1)
        goal = goal[known]
        design = nn.functional.pad(design[known], (0, 1), value=1.0)
        gram += design.T @ design
        cross += design.T @ goal
        square += float(goal.square().sum())
    count = float(gram[-1, -1])
    if count < 2:
        return None
    mean_x, mean_y = gram[-1, :-1] / count, cross[-1] / count
    centred = gram[:-1, :-1] - count * torch.outer(mean_x, mean_x)
    covariance = cross[:-1] - count * torch.outer(mean_x, mean_y)
    total = square - count * float(mean_y.square().sum())
    values, vectors = torch.linalg.eigh(centred)
    values = values.clamp(min=0.0)
    rotated = vectors.T @ covariance
    unit = max(float(values.mean()), torch.finfo(torch.float64).tiny)
    best = (float("inf"), 0.0)
    for strength in _STRENGTHS:
        shrunk = values / (values + strength * unit)
        coefficients = rotated / (values + strength * unit)[:, None]
        explained = 2 * (rotated * coefficients).sum()
        explained -= (values[:, None] * coefficients.square()).sum()
        residual = max(total - float(explained), 0.0)
        freedom = 1 - (1 + float(shrunk.sum())) / count
        if freedom > 0:
            best = min(best, (residual / freedom**2, strength))
    strength = best[1] or _STRENGTHS[-1]
    weight = vectors @ (rotated / (values + strength * unit)[:, None])
    with torch.no_grad():
        skip.weight.copy_(weight.T)
        skip.bias.copy_(mean_y - mean_x @ weight)
    return strength
