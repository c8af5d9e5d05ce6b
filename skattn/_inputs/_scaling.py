"""Scaling of numeric columns and channels that leaves missing values alone."""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import QuantileTransformer


class Scaler:
    """Bring each column to a common scale.

    Parameters
    ----------
    scaling : {"standard", "quantile"} or None
        Mean 0 and standard deviation 1, a normal distribution by ranks, or nothing.
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
            Weights of the rows, for the standard scaling.

        Returns
        -------
        self : Scaler
            Fitted.
        """
        if self.scaling == "standard":
            self.mean_, self.scale_ = weighted_moments(values, weight)
        elif self.scaling == "quantile" and values.shape[1]:
            self.ranks_ = QuantileTransformer(
                n_quantiles=min(1000, len(values)),
                output_distribution="normal",
                subsample=None,
            ).fit(values)
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
        if self.scaling == "standard":
            return (values - self.mean_) / self.scale_
        if self.scaling == "quantile" and values.shape[1]:
            return self.ranks_.transform(values)
        return values.copy()


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
