"""Prediction intervals from the errors on held-out data."""

from __future__ import annotations

import math

import numpy as np


class ConformalResiduals:
    r"""Errors of held-out forecasts, and the offsets that cover a given part of them.

    The interval of coverage :math:`1 - \alpha` for a step reaches to the
    :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest of its :math:`n` absolute
    errors (Lei et al., JASA 2018, arXiv 1604.04173), the largest where there are too
    few. Offsets never shrink along the horizon.

    Parameters
    ----------
    scores : ndarray of shape (n, n_targets, horizon)
        Forecasts.
    targets : ndarray of shape (n, n_targets, horizon)
        What came, NaN where unknown; of each target something is known, and of its
        first step where anything is.
    """

    def __init__(self, scores: np.ndarray, targets: np.ndarray) -> None:
        errors = np.abs(targets - scores)
        self.counts = (~np.isnan(errors)).sum(axis=0)  # (n_targets, horizon)
        self.sorted = np.sort(errors, axis=0)  # NaN last

    def quantile(self, level: float) -> np.ndarray:
        """Offset of a quantile from the point forecast.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Returns
        -------
        offset : ndarray of shape (n_targets, horizon)
            In units of the window; negative below one half, monotone in `level`.
        """
        coverage = abs(2 * level - 1)
        # Without rounding, 2 * 0.8 - 1 is a little more than 0.6, one rank too many.
        ranks = np.ceil(np.round((self.counts + 1) * coverage, 9)).astype(int)
        ranks = np.clip(ranks, 1, np.maximum(self.counts, 1))
        reach = np.take_along_axis(self.sorted, ranks[None] - 1, axis=0)[0]
        if coverage == 0:
            reach = np.zeros_like(reach)
        # A step without an error of its own takes that of the steps before it.
        reach = np.fmax.accumulate(reach, axis=-1)
        return math.copysign(1.0, level - 0.5) * reach
