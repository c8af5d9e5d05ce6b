"""Scaling of numeric columns and channels that leaves missing values alone."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from skattn._base import MANY_SAMPLES

_MAX_KNOTS = 1000

# Rows of a long series that are looked at at once.
_CHUNK = 1 << 16


class Scaler:
    """Bring each column to a common scale.

    Parameters
    ----------
    scaling : {"standard", "quantile", "auto"} or None
        Mean 0 and standard deviation 1, a normal distribution by ranks, or nothing;
        ``"auto"`` takes ranks from 1,000 rows, where they are known well.
    """

    def __init__(self, scaling: str | None) -> None:
        self.scaling = scaling

    def fit(self, values: np.ndarray, weight: np.ndarray | None = None) -> Scaler:
        """Learn the scale.

        Parameters
        ----------
        values : ndarray of shape (n, n_columns)
            May hold NaN.
        weight : ndarray of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        self : Scaler
            Fitted.
        """
        self.scaling_ = self.scaling
        if self.scaling == "auto":
            has_many = len(values) >= MANY_SAMPLES
            self.scaling_ = "quantile" if has_many else "standard"
        if self.scaling_ == "quantile":
            self.knots_ = [_normal_scores(column, weight) for column in values.T]
        elif self.scaling_ == "standard":
            self.mean_, self.scale_ = weighted_moments(values, weight)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Scale; NaN stays NaN.

        Parameters
        ----------
        values : ndarray of shape (n, n_columns)
            As in `fit`.

        Returns
        -------
        scaled : ndarray of shape (n, n_columns)
            A new array.
        """
        if self.scaling_ == "standard":
            return (values - self.mean_) / self.scale_
        scaled = values.copy()
        if self.scaling_ == "quantile":
            for column, (seen, score) in enumerate(self.knots_):
                scaled[:, column] = np.interp(values[:, column], seen, score)
        return scaled


def _normal_scores(
    column: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Map the values of a column to normal quantiles of their ranks.

    Equal values share the middle of their ranks (unlike in scikit-learn's
    `QuantileTransformer`, where a frequent lowest value becomes an outlier).
    """
    known = ~np.isnan(column)
    if not known.any():
        return np.zeros(1), np.zeros(1)
    seen, place = np.unique(column[known], return_inverse=True)
    shares = np.bincount(place, None if weight is None else weight[known])
    rank = (shares.cumsum() - shares / 2) / shares.sum()
    if len(seen) > _MAX_KNOTS:
        picked = np.searchsorted(rank, np.linspace(0, 1, _MAX_KNOTS)[1:-1])
        picked = np.unique(np.concatenate([[0], picked, [len(seen) - 1]]))
        picked = picked[picked < len(seen)]
        seen, rank = seen[picked], rank[picked]
    return seen, norm.ppf(rank)


def weighted_moments(
    values: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over its known values.

    Parameters
    ----------
    values : ndarray of shape (n, n_columns)
        May hold NaN.
    weight : ndarray of shape (n,), optional
        Weights of the rows.

    Returns
    -------
    mean, scale : ndarray of shape (n_columns,)
        A constant or unknown column has scale 1, an unknown one mean 0.
    """
    known = ~np.isnan(values)
    shares = known * (np.ones(len(values)) if weight is None else weight)[:, None]
    total = np.maximum(shares.sum(axis=0), np.finfo(float).tiny)
    filled = np.where(known, values, 0.0)
    mean = (filled * shares).sum(axis=0) / total
    centred = np.where(known, values - mean, 0.0)
    scale = np.sqrt((centred**2 * shares).sum(axis=0) / total)
    # What is left of a constant column after rounding is no spread.
    constant = scale <= 10 * np.finfo(float).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, scale)


def series_moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute `weighted_moments` of a long series in little memory.

    Parameters
    ----------
    values : ndarray of shape (n_steps, n_columns)
        May hold NaN.

    Returns
    -------
    mean, scale : ndarray of shape (n_columns,)
        A constant or unknown column has scale 1, an unknown one mean 0.
    """
    if len(values) <= _CHUNK:
        return weighted_moments(values)
    parts = [values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK)]
    counts = [(~np.isnan(part)).sum(axis=0) for part in parts]
    means, scales = zip(*map(weighted_moments, parts), strict=True)
    # A constant part has scale 1 there, and none here.
    spreads = [
        np.where(
            np.nanmax(part, axis=0, initial=-np.inf)
            > np.nanmin(part, axis=0, initial=np.inf),
            scale,
            0.0,
        )
        for part, scale in zip(parts, scales, strict=True)
    ]
    shares = np.array(counts) / np.maximum(np.sum(counts, axis=0), 1)
    mean = (shares * means).sum(axis=0)
    within = (shares * np.square(spreads)).sum(axis=0)
    between = (shares * np.square(np.array(means) - mean)).sum(axis=0)
    scale = np.sqrt(within + between)
    constant = scale <= 10 * np.finfo(float).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, scale)
