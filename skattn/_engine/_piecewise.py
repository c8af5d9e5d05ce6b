"""A distribution for skpro that is uniform between quantiles; skpro's own one rounds.

Import this module only where skpro is present.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skpro.distributions.base import BaseDistribution

from skattn._engine._likelihoods import piecewise_moments, with_tails


class PiecewiseUniform(BaseDistribution):
    """Distributions whose quantiles lie on straight lines between the given ones.

    ``skpro.distributions.HistogramQPD`` has the same density, but rounds its quantiles
    to four decimals.

    Parameters
    ----------
    quantiles : ndarray of shape (n_rows, n_columns, n_levels) or (n_levels,)
        In ascending order.
    levels : tuple of float
        Their levels, in ascending order, at least two, between 0 and 1. Below the first
        and above the last, the density of the next interval goes on.
    index, columns : pandas.Index, optional
        Labels, where there are rows and columns.
    """

    _tags = {
        "authors": ["skattn developers"],
        "capabilities:approx": ["pdfnorm", "energy"],
        "capabilities:exact": ["mean", "var", "pdf", "log_pdf", "cdf", "ppf"],
        "distr:measuretype": "continuous",
        "distr:paramtype": "nonparametric",
    }

    def __init__(
        self,
        quantiles: np.ndarray,
        levels: tuple[float, ...],
        index: Any = None,
        columns: Any = None,
    ) -> None:
        self.quantiles = quantiles
        self.levels = levels
        super().__init__(index=index, columns=columns)

    def _subset_params(
        self, rowidx: Any, colidx: Any, coerce_scalar: bool = False
    ) -> dict[str, Any]:
        quantiles = self.quantiles
        if rowidx is not None:
            quantiles = quantiles[rowidx]
        if colidx is not None:
            # One row has been taken out where both are numbers.
            quantiles = quantiles[colidx] if coerce_scalar else quantiles[:, colidx]
        return {"quantiles": quantiles, "levels": self.levels}

    def _mean(self) -> np.ndarray:
        return piecewise_moments(self.quantiles, self.levels)[0]

    def _var(self) -> np.ndarray:
        return piecewise_moments(self.quantiles, self.levels)[1]

    def _ppf(self, p: np.ndarray) -> np.ndarray:
        edges, cumulated = with_tails(self.quantiles, self.levels)
        piece = np.searchsorted(cumulated, p, side="right") - 1
        piece = np.clip(piece, 0, len(cumulated) - 2)
        part = (p - cumulated[piece]) / np.diff(cumulated)[piece]
        low, high = _ends(edges, piece)
        inside = (p >= 0) & (p <= 1)
        return np.where(inside, np.minimum(low + part * (high - low), high), np.nan)

    def _cdf(self, x: np.ndarray) -> np.ndarray:
        cumulated, piece, low, high = self._locate(x)
        width = np.where(high > low, high - low, 1.0)
        part = np.where(high > low, np.clip((x - low) / width, 0, 1), x >= low)
        return cumulated[piece] + part * np.diff(cumulated)[piece]

    def _pdf(self, x: np.ndarray) -> np.ndarray:
        cumulated, piece, low, high = self._locate(x)
        width = np.where(high > low, high - low, 1.0)
        inside = (x >= low) & (x <= high) & (high > low)
        return np.where(inside, np.diff(cumulated)[piece] / width, 0.0)

    def _log_pdf(self, x: np.ndarray) -> np.ndarray:
        density = self._pdf(x)
        positive = np.where(density > 0, density, 1.0)
        return np.where(density > 0, np.log(positive), -np.inf)

    def _locate(
        self, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Find the interval of each number, the first or last one for those outside."""
        edges, cumulated = with_tails(self.quantiles, self.levels)
        piece = (edges <= np.asarray(x)[..., None]).sum(axis=-1) - 1
        piece = np.clip(piece, 0, len(cumulated) - 2)
        return cumulated, piece, *_ends(edges, piece)


def _ends(edges: np.ndarray, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give both ends of an interval of each distribution."""
    piece = np.asarray(piece)[..., None]
    low = np.take_along_axis(edges, piece, axis=-1)[..., 0]
    high = np.take_along_axis(edges, piece + 1, axis=-1)[..., 0]
    return low, high
