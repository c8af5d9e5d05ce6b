"""Likelihoods: what a forecaster's scores say about a distribution.

Scores and the ``loc`` and ``scale`` of a distribution are in units of the window;
targets, quantiles and variances that leave this module are raw numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import ndtri, stdtrit
from torch import Tensor
from torch.nn import functional

from skattn._engine._losses import Loss
from skattn._engine._samples import Window

# Levels that likelihood="quantile" learns unless told; the outer two cover 95 %.
DEFAULT_LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)

# Least spread of a distribution, in units of the window.
_LEAST_SPREAD = 1e-3

# Degrees of freedom of Student's t: above this least number, in steps of the slope.
_LEAST_FREEDOM = 2.1
_FREEDOM_SLOPE = 6.0

# The mean count bends from zero to its line within this part of the window's scale.
_BEND = 0.25
_LEAST_DISPERSION = 1e-8

# Coverage 0.9 asks for the level 0.04999999999999999.
_LEVEL_TOLERANCE = 1e-9


class Likelihood(Loss, ABC):
    """Base class; the loss is a negative log-likelihood, or what stands for it.

    Scores have a last axis of `n_parameters`, the first of which is the location.
    Methods beside ``forward`` take NumPy arrays in float64 and give raw numbers.
    """

    n_parameters: int

    def forward(self, scores: Tensor, target: Tensor, window: Window) -> Tensor:
        """Average the losses of all known targets of each sample.

        Parameters
        ----------
        scores : Tensor of shape (batch, n_targets, horizon, n_parameters)
            What the module returned.
        target : Tensor of shape (batch, n_targets, horizon)
            In units of the window, NaN where unknown.
        window : Window
            Those units.

        Returns
        -------
        losses : Tensor of shape (batch,)
            In units of the standardised series.
        """
        known = ~target.isnan()
        losses = self.element(scores, torch.where(known, target, 0.0), window)
        losses = torch.where(known, losses, 0.0).flatten(1)
        return losses.sum(dim=1) / known.flatten(1).sum(dim=1).clamp(min=1)

    @abstractmethod
    def element(self, scores: Tensor, target: Tensor, window: Window) -> Tensor:
        """Loss of each target."""

    @abstractmethod
    def point(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the point forecast.

        Parameters
        ----------
        scores : ndarray of shape (n, n_targets, horizon, n_parameters)
            What the module returned.
        loc, scale : ndarray of shape (n, n_targets, 1)
            Units of each window, raw.

        Returns
        -------
        forecast : ndarray of shape (n, n_targets, horizon)
            The mean; of learnt quantiles, the one nearest to the median.
        """

    @abstractmethod
    def quantiles(
        self,
        scores: np.ndarray,
        levels: Sequence[float],
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> np.ndarray:
        """Give quantiles, which never cross.

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
            In the order of `levels`.
        """

    @abstractmethod
    def variance(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the variance.

        Parameters
        ----------
        scores : ndarray of shape (n, n_targets, horizon, n_parameters)
            What the module returned.
        loc, scale : ndarray of shape (n, n_targets, 1)
            Units of each window, raw.

        Returns
        -------
        variance : ndarray of shape (n, n_targets, horizon)
            Finite and positive.
        """

    @abstractmethod
    def distribution(
        self,
        scores: np.ndarray,
        loc: np.ndarray,
        scale: np.ndarray,
        index: Any,
        columns: Any,
    ) -> Any:
        """Give the distributions as an object of skpro.

        Parameters
        ----------
        scores : ndarray of shape (n, n_targets, n_steps, n_parameters)
            What the module returned for some steps.
        loc, scale : ndarray of shape (n, n_targets, 1)
            Units of each window, raw.
        index : pandas.Index of length ``n * n_steps``
            All steps of the first window, then of the next.
        columns : pandas.Index of length n_targets
            Names of the targets.

        Returns
        -------
        distribution : skpro.distributions.base.BaseDistribution
            One distribution a step and target, each for itself.

        Raises
        ------
        ImportError
            If skpro is not installed.
        """

    def supported(self, values: np.ndarray) -> np.ndarray:
        """Move raw numbers to where the distribution has mass.

        Parameters
        ----------
        values : ndarray
            Raw numbers, such as quantiles after a correction.

        Returns
        -------
        values : ndarray
            Of counts, whole numbers from zero; else as they were.
        """
        return values


class Normal(Likelihood):
    r"""Normal distribution: :math:`\sigma = 10^{-3} + \log(1 + e^{s_1})`.

    Mean :math:`s_0` and standard deviation are in units of the window; scores of zero
    make the latter 0.69.
    """

    n_parameters = 2

    def element(self, scores: Tensor, target: Tensor, window: Window) -> Tensor:
        """Negative log density."""
        spread = _LEAST_SPREAD + functional.softplus(scores[..., 1])
        z = (target - scores[..., 0]) / spread
        constant = 0.5 * math.log(2 * math.pi)
        return 0.5 * z.square() + spread.log() + window.scale.log() + constant

    def point(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the mean."""
        return scores[..., 0] * scale + loc

    def quantiles(
        self,
        scores: np.ndarray,
        levels: Sequence[float],
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> np.ndarray:
        """Give quantiles."""
        z = ndtri(np.asarray(levels, dtype=np.float64))
        return _spread_out(self.point(scores, loc, scale), _spread(scores) * scale, z)

    def variance(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the variance."""
        return np.square(_spread(scores) * scale)

    def distribution(
        self,
        scores: np.ndarray,
        loc: np.ndarray,
        scale: np.ndarray,
        index: Any,
        columns: Any,
    ) -> Any:
        """Give ``skpro.distributions.Normal``."""
        return _skpro().Normal(
            mu=_as_table(self.point(scores, loc, scale)),
            sigma=_as_table(_spread(scores) * scale),
            index=index,
            columns=columns,
        )


class StudentT(Likelihood):
    r"""Student's t: :math:`\sigma` as in `Normal`, :math:`\nu` a soft line of its own.

    Location and scale are in units of the window. There are
    :math:`\nu = 2.1 + 6 \log(1 + e^{s_2})` degrees of freedom, so that the variance
    exists; scores of zero make it 6.3.
    """

    n_parameters = 3

    def element(self, scores: Tensor, target: Tensor, window: Window) -> Tensor:
        """Negative log density."""
        spread = _LEAST_SPREAD + functional.softplus(scores[..., 1])
        freedom = _LEAST_FREEDOM + _FREEDOM_SLOPE * functional.softplus(scores[..., 2])
        z = (target - scores[..., 0]) / spread
        normaliser = (
            torch.lgamma(0.5 * freedom)
            - torch.lgamma(0.5 * (freedom + 1))
            + 0.5 * (math.pi * freedom).log()
        )
        tail = 0.5 * (freedom + 1) * torch.log1p(z.square() / freedom)
        return normaliser + tail + spread.log() + window.scale.log()

    def point(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the mean."""
        return scores[..., 0] * scale + loc

    def quantiles(
        self,
        scores: np.ndarray,
        levels: Sequence[float],
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> np.ndarray:
        """Give quantiles."""
        z = stdtrit(self._freedom(scores)[..., None], np.asarray(levels))
        return _spread_out(self.point(scores, loc, scale), _spread(scores) * scale, z)

    def variance(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the variance."""
        freedom = self._freedom(scores)
        return np.square(_spread(scores) * scale) * freedom / (freedom - 2)

    def distribution(
        self,
        scores: np.ndarray,
        loc: np.ndarray,
        scale: np.ndarray,
        index: Any,
        columns: Any,
    ) -> Any:
        """Give ``skpro.distributions.TDistribution``."""
        return _skpro().TDistribution(
            mu=_as_table(self.point(scores, loc, scale)),
            sigma=_as_table(_spread(scores) * scale),
            df=_as_table(self._freedom(scores)),
            index=index,
            columns=columns,
        )

    @staticmethod
    def _freedom(scores: np.ndarray) -> np.ndarray:
        return _LEAST_FREEDOM + _FREEDOM_SLOPE * _softplus(scores[..., 2])


class NegativeBinomial(Likelihood):
    r"""Counts with mean :math:`\mu` and variance :math:`\mu + \alpha \mu^2`.

    With :math:`r` the location as a raw number and :math:`\sigma` the window's scale,

    .. math::
        \mu = \tfrac{\sigma}{4} \log\left(1 + e^{4 r / \sigma}\right), \qquad
        \alpha = \log(1 + e^{s_1}) \frac{\sigma^2}{\sigma^2 + \mu^2}:

    the mean is the location itself but near zero, where it stays positive, and the
    variance beyond that of Poisson is in units of the window (as in DeepAR, Salinas et
    al., International Journal of Forecasting 2020, arXiv 1704.04110): a net that sees
    normalised windows cannot know their level.
    """

    n_parameters = 2

    @staticmethod
    def check(y: np.ndarray) -> None:
        """Refuse what is no count.

        Parameters
        ----------
        y : ndarray
            Raw targets, NaN where unknown.

        Raises
        ------
        ValueError
            If a number is negative or broken.
        """
        known = y[~np.isnan(y)]
        wrong = known[(known < 0) | (known != np.floor(known))]
        if len(wrong):
            raise ValueError(
                "likelihood='negative_binomial' forecasts counts, but y holds "
                f"{wrong[0]:g}. Choose 'normal', 'student_t' or 'quantile', or give "
                "whole numbers from zero."
            )

    def element(self, scores: Tensor, target: Tensor, window: Window) -> Tensor:
        """Negative log probability."""
        # Differences of logarithms of large factorials need float64.
        on_mps = scores.device.type == "mps"
        exact = torch.float32 if on_mps else torch.float64
        loc, scale, mean, std = (part.to(exact) for part in window)
        scale = scale * std
        loc = loc * std + mean
        count = (target.to(exact) * scale + loc).round().clamp(min=0)
        steepness = (scores[..., 0].to(exact) + loc / scale) / _BEND
        log_mean = _log_softplus(steepness) + (_BEND * scale).log()
        relative = (log_mean - scale.log()).clamp(max=20.0)
        dispersion = functional.softplus(scores[..., 1].to(exact))
        dispersion = _LEAST_DISPERSION + dispersion / (1 + (2 * relative).exp())
        log_size, size = -dispersion.log(), 1 / dispersion
        losses = (
            torch.lgamma(size)
            + torch.lgamma(count + 1)
            - torch.lgamma(count + size)
            + size * functional.softplus(log_mean - log_size)
            + count * functional.softplus(log_size - log_mean)
        )
        return losses.to(scores.dtype)

    def point(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the mean."""
        return _BEND * scale * _softplus((scores[..., 0] + loc / scale) / _BEND)

    def quantiles(
        self,
        scores: np.ndarray,
        levels: Sequence[float],
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> np.ndarray:
        """Give quantiles, which are whole numbers."""
        from scipy.stats import nbinom

        mean = self.point(scores, loc, scale)
        size = 1 / self._dispersion(scores, mean, scale)
        chance = size / (size + mean)
        return nbinom.ppf(np.asarray(levels), size[..., None], chance[..., None])

    def variance(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the variance."""
        mean = self.point(scores, loc, scale)
        return mean + self._dispersion(scores, mean, scale) * np.square(mean)

    def distribution(
        self,
        scores: np.ndarray,
        loc: np.ndarray,
        scale: np.ndarray,
        index: Any,
        columns: Any,
    ) -> Any:
        """Give ``skpro.distributions.NegativeBinomial``, whose alpha is our 1 / α."""
        mean = self.point(scores, loc, scale)
        return _skpro().NegativeBinomial(
            mu=_as_table(mean),
            alpha=_as_table(1 / self._dispersion(scores, mean, scale)),
            index=index,
            columns=columns,
        )

    def supported(self, values: np.ndarray) -> np.ndarray:
        """Round down to whole numbers from zero."""
        # What is whole but for rounding errors stays.
        return np.maximum(np.floor(np.round(values, 3)), 0.0)

    @staticmethod
    def _dispersion(
        scores: np.ndarray, mean: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        relative = mean / scale
        return _LEAST_DISPERSION + _softplus(scores[..., 1]) / (1 + relative**2)


class QuantileLikelihood(Likelihood):
    r"""Quantiles of some levels, learnt by their mean pinball loss; none ever cross.

    The first score is the quantile of the level nearest to one half. The others step
    away from it: first downwards, then upwards,

    .. math::
        q_{k \pm 1} = q_k \pm \left|z_{k \pm 1} - z_k\right| \log(1 + e^{s}),

    where :math:`z` are the quantiles of the standard normal distribution, so that
    scores of zero stand for one with a standard deviation of 0.69 windows. Between two
    levels quantiles are interpolated linearly; beyond the outermost levels there are
    none. The variance and the distribution, which need tails, let the density of the
    outermost intervals go on until it has used up the probability that is left.

    Parameters
    ----------
    levels : sequence of float
        At least two distinct numbers between 0 and 1, in any order, one half among or
        between them.

    Raises
    ------
    ValueError
        If the levels are none of that.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.levels = tuple(sorted(float(level) for level in levels))
        n_levels = len(self.levels)
        if (
            n_levels < 2
            or len(set(self.levels)) < n_levels
            or not 0 < self.levels[0] <= 0.5 <= self.levels[-1] < 1
        ):
            raise ValueError(
                f"quantiles={list(levels)} cannot be learnt: give at least two "
                "different levels between 0 and 1, with 0.5 among or between them, "
                f"for instance {list(DEFAULT_LEVELS)}."
            )
        self.n_parameters = n_levels
        self.middle = min(range(n_levels), key=lambda k: abs(self.levels[k] - 0.5))
        self._gaps = np.diff(ndtri(self.levels))  # (n_levels - 1,)

    def element(self, scores: Tensor, target: Tensor, window: Window) -> Tensor:
        """Pinball loss, averaged over the levels."""
        gaps = torch.as_tensor(self._gaps, dtype=scores.dtype, device=scores.device)
        steps = functional.softplus(scores[..., 1:])
        middle = scores[..., :1]
        down = (steps[..., : self.middle] * gaps[: self.middle].flip(0)).cumsum(dim=-1)
        up = (steps[..., self.middle :] * gaps[self.middle :]).cumsum(dim=-1)
        quantiles = torch.cat([middle - down.flip(-1), middle, middle + up], dim=-1)
        levels = scores.new_tensor(self.levels)
        excess = target[..., None] - quantiles
        losses = torch.maximum(levels * excess, (levels - 1) * excess)
        return losses.mean(dim=-1) * window.scale

    def point(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the quantile of the level nearest to one half."""
        return scores[..., 0] * scale + loc

    def quantiles(
        self,
        scores: np.ndarray,
        levels: Sequence[float],
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> np.ndarray:
        """Interpolate between learnt quantiles.

        Parameters
        ----------
        scores : ndarray of shape (n, n_targets, horizon, n_parameters)
            What the module returned.
        levels : sequence of float
            Within the learnt levels.
        loc, scale : ndarray of shape (n, n_targets, 1)
            Units of each window, raw.

        Returns
        -------
        quantiles : ndarray of shape (n, n_targets, horizon, n_levels)
            In the order of `levels`.

        Raises
        ------
        ValueError
            If a level lies beyond the learnt ones.
        """
        wanted = np.asarray(levels, dtype=np.float64)
        first, last = self.levels[0], self.levels[-1]
        beyond = np.maximum(first - wanted, wanted - last) > _LEVEL_TOLERANCE
        if beyond.any():
            raise ValueError(
                f"The quantiles {list(self.levels)} were learnt, and the level "
                f"{wanted[beyond][0]:g} lies beyond them. Fit again with "
                f"quantiles=[{wanted[beyond][0]:g}, ...], or ask for levels from "
                f"{first:g} to {last:g}."
            )
        known = np.asarray(self.levels)
        learnt = self._learnt(scores, loc, scale)
        wanted = np.clip(wanted, first, last)
        below = np.clip(np.searchsorted(known, wanted) - 1, 0, len(known) - 2)
        part = (wanted - known[below]) / (known[below + 1] - known[below])
        low, high = learnt[..., below], learnt[..., below + 1]
        # Rounding must not carry a level past the next learnt one.
        return np.minimum(low + part * (high - low), high)

    def variance(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the variance of the piecewise uniform distribution."""
        return piecewise_moments(self._learnt(scores, loc, scale), self.levels)[1]

    def distribution(
        self,
        scores: np.ndarray,
        loc: np.ndarray,
        scale: np.ndarray,
        index: Any,
        columns: Any,
    ) -> Any:
        """Give the piecewise uniform distribution with these quantiles."""
        learnt = self._learnt(scores, loc, scale)
        return quantile_distribution(learnt, self.levels, index, columns)

    def _learnt(
        self, scores: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Give the learnt quantiles in ascending order, raw."""
        steps = _softplus(scores[..., 1:])
        down, up = steps[..., : self.middle], steps[..., self.middle :]
        down = np.cumsum(down * self._gaps[: self.middle][::-1], axis=-1)[..., ::-1]
        up = np.cumsum(up * self._gaps[self.middle :], axis=-1)
        middle = scores[..., :1]
        learnt = np.concatenate([middle - down, middle, middle + up], axis=-1)
        return learnt * scale[..., None] + loc[..., None]


LIKELIHOODS: dict[str, Callable[[], Likelihood]] = {
    "normal": Normal,
    "student_t": StudentT,
    "negative_binomial": NegativeBinomial,
}


def make_likelihood(name: str, quantiles: Sequence[float] | None = None) -> Likelihood:
    """Make the likelihood of a forecaster.

    Parameters
    ----------
    name : str
        ``"quantile"``, or a key of `LIKELIHOODS`.
    quantiles : sequence of float, optional
        Levels to learn, for ``name="quantile"`` only; else `DEFAULT_LEVELS`.

    Returns
    -------
    likelihood : Likelihood
        A module without parameters.

    Raises
    ------
    ValueError
        If `quantiles` cannot be learnt, or if the likelihood learns none.
    """
    if name == "quantile":
        return QuantileLikelihood(DEFAULT_LEVELS if quantiles is None else quantiles)
    if quantiles is not None:
        raise ValueError(
            f"quantiles={list(quantiles)} are learnt by likelihood='quantile' alone; "
            f"likelihood={name!r} gives quantiles of every level. Leave quantiles=None."
        )
    return LIKELIHOODS[name]()


def piecewise_moments(
    quantiles: np.ndarray, levels: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and variance of a piecewise uniform distribution.

    Parameters
    ----------
    quantiles : ndarray of shape (..., n_levels)
        In ascending order.
    levels : sequence of float
        Their levels, in ascending order, at least two.

    Returns
    -------
    mean, variance : ndarray of shape (...)
        With tails as those of `with_tails`.
    """
    edges, cumulated = with_tails(quantiles, levels)
    masses = np.diff(cumulated)
    widths = np.diff(edges, axis=-1)
    # From the first edge, lest the squares of large numbers cancel.
    centres = edges[..., :-1] - edges[..., :1] + 0.5 * widths
    mean = (masses * centres).sum(axis=-1)
    deviation = centres - mean[..., None]
    squares = np.square(deviation) + np.square(widths) / 12
    return edges[..., 0] + mean, (masses * squares).sum(axis=-1)


def with_tails(
    quantiles: np.ndarray, levels: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Go on with the outermost densities until no probability is left.

    Parameters
    ----------
    quantiles : ndarray of shape (..., n_levels)
        In ascending order.
    levels : sequence of float
        Their levels, in ascending order, at least two, between 0 and 1.

    Returns
    -------
    edges : ndarray of shape (..., n_levels + 2)
        Ends of the intervals of equal density.
    cumulated : ndarray of shape (n_levels + 2,)
        Probability below each edge, from 0 to 1.
    """
    known = np.asarray(levels, dtype=np.float64)
    before = known[0] / (known[1] - known[0])
    after = (1 - known[-1]) / (known[-1] - known[-2])
    first = quantiles[..., :1] - before * (quantiles[..., 1:2] - quantiles[..., :1])
    rise = quantiles[..., -1:] - quantiles[..., -2:-1]
    edges = np.concatenate([first, quantiles, quantiles[..., -1:] + after * rise], -1)
    return edges, np.concatenate([[0.0], known, [1.0]])


def quantile_distribution(
    quantiles: np.ndarray, levels: Sequence[float], index: Any, columns: Any
) -> Any:
    """Make the skpro distribution that is uniform between quantiles.

    Parameters
    ----------
    quantiles : ndarray of shape (n, n_targets, n_steps, n_levels)
        In ascending order, raw.
    levels : sequence of float
        Their levels, in ascending order, at least two, between 0 and 1.
    index : pandas.Index of length ``n * n_steps``
        All steps of the first window, then of the next.
    columns : pandas.Index of length n_targets
        Names of the targets.

    Returns
    -------
    distribution : skpro.distributions.base.BaseDistribution
        With tails as those of `with_tails`.

    Raises
    ------
    ImportError
        If skpro is not installed.
    """
    _skpro()
    from skattn._engine._piecewise import PiecewiseUniform

    table = np.moveaxis(quantiles, 1, 2)  # (n, n_steps, n_targets, n_levels)
    table = table.reshape(-1, *table.shape[2:])
    return PiecewiseUniform(table, tuple(levels), index=index, columns=columns)


def _skpro() -> Any:
    """Import skpro's distributions, or say how to get them."""
    try:
        from skpro import distributions
    except ImportError as error:
        raise ImportError(
            "predict_proba gives distributions of skpro, which is not installed. "
            "Install it by pip install 'skattn[proba]'; predict_quantiles, "
            "predict_interval and predict_var do without."
        ) from error
    return distributions


def _as_table(values: np.ndarray) -> np.ndarray:
    """Bring (n, n_targets, n_steps) into rows of steps and columns of targets."""
    return np.moveaxis(values, 1, 2).reshape(-1, values.shape[1])


def _softplus(values: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, values)


def _log_softplus(values: Tensor) -> Tensor:
    """Logarithm of softplus, which far below zero is the identity."""
    return torch.where(
        values > -15.0, functional.softplus(values.clamp(min=-15.0)).log(), values
    )


def _spread(scores: np.ndarray) -> np.ndarray:
    """Scale of `Normal` and `StudentT` in units of the window."""
    return _LEAST_SPREAD + _softplus(scores[..., 1])


def _spread_out(centre: np.ndarray, spread: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Stack the quantiles that lie so many spreads from a centre."""
    return centre[..., None] + spread[..., None] * z
