"""Prediction intervals from the errors on held-out data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from skattn._engine._likelihoods import Likelihood

# Of more held-out windows, so many are kept, evenly spaced.
_MOST_WINDOWS = 2048


class ConformalResiduals:
    r"""Errors of held-out forecasts, and the offsets that cover a given part of them.

    The interval of coverage :math:`1 - \alpha` for a step reaches to the
    :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest of its :math:`n` absolute
    errors (Lei et al., JASA 2018, arXiv 1604.04173), the largest where there are too
    few. Offsets never shrink along the horizon.

    Parameters
    ----------
    scores : ndarray of shape (n, n_targets, horizon)
        Forecasts; of more than 2048, so many are kept, evenly spaced.
    targets : ndarray of shape (n, n_targets, horizon)
        What came, NaN where unknown; of each target something is known, and of its
        first step where anything is.
    """

    def __init__(self, scores: np.ndarray, targets: np.ndarray) -> None:
        kept = _evenly_spaced(len(scores))
        errors = np.abs(targets[kept] - scores[kept]).astype(np.float32)
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
        coverage = _coverage(level)
        reach = _covering(self.sorted, self.counts, coverage)
        if coverage == 0:
            reach = np.zeros_like(reach)
        # A step without an error of its own takes that of the steps before it.
        reach = np.fmax.accumulate(reach, axis=-1)
        return math.copysign(1.0, level - 0.5) * reach

    def quantiles(
        self,
        scores: np.ndarray,
        levels: Sequence[float],
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> np.ndarray:
        """Give quantiles around point forecasts.

        Parameters
        ----------
        scores : ndarray of shape (n, n_targets, horizon)
            Point forecasts in units of the window.
        levels : sequence of float
            Between 0 and 1, in any order.
        loc, scale : ndarray of shape (n, n_targets, 1)
            Those units, raw.

        Returns
        -------
        quantiles : ndarray of shape (n, n_targets, horizon, n_levels)
            Raw, in the order of `levels`; they never cross.
        """
        parts = [(scores + self.quantile(level)) * scale + loc for level in levels]
        return np.stack(parts, axis=-1)

    def variance(self, scale: np.ndarray) -> np.ndarray:
        """Give the mean squared error of point forecasts.

        Parameters
        ----------
        scale : ndarray of shape (n, n_targets, 1)
            Unit of each window, raw.

        Returns
        -------
        variance : ndarray of shape (n, n_targets, horizon)
            Raw; it never shrinks along the horizon.
        """
        squares = np.nansum(np.square(self.sorted, dtype=np.float64), axis=0)
        mean = squares / np.maximum(self.counts, 1)
        return np.maximum.accumulate(mean, axis=-1) * np.square(scale)


class ConformalQuantiles:
    r"""Quantiles of a likelihood, moved so that they cover held-out targets.

    Conformalised quantile regression (Romano, Patterson, Candès, NeurIPS 2019, arXiv
    1905.03222): with the quantiles :math:`\hat q` of levels :math:`\alpha / 2` and
    :math:`1 - \alpha / 2` of the :math:`i`-th held-out window, in its units,

    .. math::
        E_i = \max(\hat q_{\alpha/2}(x_i) - y_i,\, y_i - \hat q_{1-\alpha/2}(x_i)),

    both move outwards by the :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest of
    the :math:`n` errors of their step, the largest where there are too few; inwards
    where it is negative. A step without errors takes those of the step before it. The
    median stays. Where moved quantiles would cross, the outer one gives way, so that no
    interval loses what it covers.

    Parameters
    ----------
    likelihood : Likelihood
        Gives the quantiles.
    scores : ndarray of shape (n, n_targets, horizon, n_parameters)
        Of held-out windows; of more than 2048, so many are kept, evenly spaced.
    targets : ndarray of shape (n, n_targets, horizon)
        What came, in units of the window, NaN where unknown; of each target something
        is known, and of its first step where anything is.
    loc, scale : ndarray of shape (n, n_targets, 1)
        Those units, raw.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        scores: np.ndarray,
        targets: np.ndarray,
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> None:
        kept = _evenly_spaced(len(scores))
        self.likelihood = likelihood
        self.scores = scores[kept].astype(np.float32)
        self.targets = targets[kept].astype(np.float32)
        self.loc = loc[kept]
        self.scale = scale[kept]
        self.counts = (~np.isnan(self.targets)).sum(axis=0)  # (n_targets, horizon)

    def quantiles(
        self,
        scores: np.ndarray,
        levels: Sequence[float],
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> np.ndarray:
        """Give corrected quantiles.

        Parameters
        ----------
        scores : ndarray of shape (n, n_targets, horizon, n_parameters)
            What the module returned.
        levels : sequence of float
            Between 0 and 1, in any order.
        loc, scale : ndarray of shape (n, n_targets, 1)
            Units of each window, raw.

        Returns
        -------
        quantiles : ndarray of shape (n, n_targets, horizon, n_levels)
            Raw, in the order of `levels`; they never cross.

        Raises
        ------
        ValueError
            If the likelihood knows no quantile of a level or of its mirror image.
        """
        order = np.argsort(levels)
        ascending = [levels[at] for at in order]
        found = self.likelihood.quantiles(scores, [*ascending, 0.5], loc, scale)
        offsets = np.stack([self._offset(level) for level in ascending], axis=-1)
        moved = found[..., :-1] + offsets * scale[..., None]
        median = found[..., -1:]
        n_lower = sum(level < 0.5 for level in ascending)
        outwards = np.concatenate([median, moved[..., :n_lower][..., ::-1]], axis=-1)
        lower = np.minimum.accumulate(outwards, axis=-1)[..., :0:-1]
        outwards = np.concatenate([median, moved[..., n_lower:]], axis=-1)
        upper = np.maximum.accumulate(outwards, axis=-1)[..., 1:]
        corrected = self.likelihood.supported(np.concatenate([lower, upper], axis=-1))
        return corrected[..., np.argsort(order)]

    def _offset(self, level: float) -> np.ndarray:
        """How far a quantile moves: (n_targets, horizon), in units of the window."""
        coverage = _coverage(level)
        if coverage == 0:
            return np.zeros(self.counts.shape)
        pair = [min(level, 1 - level), max(level, 1 - level)]
        try:
            found = self.likelihood.quantiles(
                self.scores.astype(np.float64), pair, self.loc, self.scale
            )
        except ValueError as error:
            raise ValueError(
                f"Calibration moves the levels {pair[0]:g} and {pair[1]:g} together, "
                f"and one of them is unknown. {error} With calibration=None each level "
                "stands alone."
            ) from error
        targets = self.targets * self.scale + self.loc
        outside = np.maximum(found[..., 0] - targets, targets - found[..., 1])
        errors = np.sort(outside / self.scale, axis=0)  # NaN last
        offset = _covering(errors, self.counts, coverage)
        steps = np.arange(self.counts.shape[1])
        known = np.maximum.accumulate(np.where(self.counts > 0, steps, 0), axis=1)
        offset = np.take_along_axis(offset, known, axis=1)
        return offset if level > 0.5 else -offset


def _evenly_spaced(count: int) -> np.ndarray:
    """Choose the windows that are kept."""
    return np.linspace(0, count - 1, min(count, _MOST_WINDOWS)).round().astype(int)


def _coverage(level: float) -> float:
    """Part between a level and its mirror image; 2 * 0.8 - 1 is not quite 0.6."""
    return round(abs(2 * level - 1), 9)


def _covering(errors: np.ndarray, counts: np.ndarray, coverage: float) -> np.ndarray:
    """Give what covers a part of errors and of one to come: (n_targets, horizon).

    `errors` (n, n_targets, horizon) are sorted, `counts` of them are known.
    """
    # Without rounding, 25 * 0.28 is a little more than 7, one rank too many.
    ranks = np.ceil(np.round((counts + 1) * coverage, 9)).astype(int)
    ranks = np.clip(ranks, 1, np.maximum(counts, 1))
    covering = np.take_along_axis(errors, ranks[None] - 1, axis=0)[0]
    return covering.astype(np.float64)
