"""Ridge regression of windows as a forecaster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import (
    Integral,
    Interval,
    Real,
    StrOptions,
    validate_parameter_constraints,
)

from skattn._base import MANY_SAMPLES
from skattn._inputs._origins import held_out_steps
from skattn._window_forecaster import WindowForecaster

_CONSTRAINTS: dict[str, list[Any]] = {
    "window_length": [Interval(Integral, 1, None, closed="left"), None],
    "normalization": [StrOptions({"last", "instance"}), None],
    "fit_intercept": ["boolean"],
    "calibration": [StrOptions({"refit", "split"}), None],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "refit": ["boolean"],
}


class LinearForecaster(WindowForecaster):
    r"""Forecast by a ridge regression of windows, one for all series and steps.

    .. math:: \hat y_{T+1 \dots T+H} = W x + b, \quad x = (y_{T-L+1}, \dots, y_T)

    after the window's last value, or its mean and standard deviation, is taken out. All
    targets and all series of a panel share :math:`W` and :math:`b`. This is the linear
    start of `AttentionForecaster`, and the baseline that any net has to beat: no seeds,
    no epochs, seconds.

    Parameters
    ----------
    window_length : int or None, default=None
        Steps to look back. None takes twice the longer of the horizon and the seasonal
        period that the index's frequency suggests, at least 8, in whole periods, and at
        most half of what the series leaves beside one horizon.
    normalization : {"last", "instance"} or None, default="last"
        What is taken out of each window and put back into its forecast: the last
        value; or the mean, and the standard deviation is divided by (reversible
        instance normalisation).
    fit_intercept : bool, default=True
        Whether there is an intercept :math:`b`: the mean drift of the training windows
        goes on.
    calibration : {"refit", "split"} or None, default="refit"
        How prediction intervals come about. A regression is fitted without the tail of
        each series, ten horizons or half of it, and its errors there are kept.
        ``"refit"`` then fits the one that forecasts to the whole series; ``"split"``
        forecasts with the first one. None fits once, and there are no intervals.
    validation_fraction : float, default=0.1
        Part of the time steps, at the end of each series, on which the ridge strength
        is chosen, from 1,000 windows on; with fewer, by generalised cross-validation.
    refit : bool, default=True
        Whether the steps that chose the strength are then learnt from too.

    Attributes
    ----------
    window_length_ : int
        Steps that the regression looks back.
    horizon_ : int
        Steps that it forecasts.
    coef_ : ndarray of shape (horizon, window_length)
        Coefficients, from the oldest step to the newest.
    intercept_ : ndarray of shape (horizon,)
        Intercepts, in units of the standardised series, with
        ``normalization="instance"`` in those of the window; zero without.
    strength_ : float or None
        Ridge strength, in units of the windows' mean square; None where no window was
        complete and the coefficients are zero.

    See Also
    --------
    AttentionForecaster : Starts from it.

    Notes
    -----
    All columns of `X` are covariates known in the future; they have the same linear
    effect at all steps, which is taken out of the window and put into the forecast.

    References
    ----------
    Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI 2023,
    arXiv 2205.13504, for the last value; Toner, Darlow, "An Analysis of Linear Time
    Series Forecasting Models", ICML 2024, arXiv 2403.14587, for the closed form.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from skattn import LinearForecaster
    >>> y = load_airline()
    >>> LinearForecaster().fit(y, fh=[1, 2, 3]).predict().round().tolist()
    [443.0, 411.0, 453.0]
    """

    _tags: ClassVar[dict[str, Any]] = {"capability:random_state": False}

    def __init__(
        self,
        *,
        window_length: int | None = None,
        normalization: str | None = "last",
        fit_intercept: bool = True,
        calibration: str | None = "refit",
        validation_fraction: float = 0.1,
        refit: bool = True,
    ) -> None:
        self.window_length = window_length
        self.normalization = normalization
        self.fit_intercept = fit_intercept
        self.calibration = calibration
        self.validation_fraction = validation_fraction
        self.refit = refit
        super().__init__()

    def _fit(self, y: pd.DataFrame, X: Any, fh: Any) -> Self:
        validate_parameter_constraints(
            _CONSTRAINTS, self.get_params(deep=False), type(self).__name__
        )
        memories = self._read(y, X, fh)
        self._module = self._fit_windows(memories)
        linear = self._module.linear
        self.coef_ = linear.weight.detach().numpy().copy()
        self.intercept_ = np.zeros(self.horizon_)
        if linear.bias is not None:
            self.intercept_ = linear.bias.detach().numpy().copy()
        self._remember(memories)
        return self

    def _learn(self, series: Sequence[Any]) -> Any:
        from skattn._engine._forecast_linear import ForecastSum, fit_linear

        n_valid = self._count_validation(series)
        seen = [one.until(len(one) - n) for one, n in zip(series, n_valid, strict=True)]
        samples = self._store(seen).samples(self._training_origins(seen))
        valid = self._validation(series, n_valid)
        module = ForecastSum(
            None,
            self._describe(),
            consumes=(),
            linear_skip=True,
            normalization=self.normalization,
            intercept=self.fit_intercept,
        ).double()
        self.strength_ = fit_linear(module, samples, valid, refit=self.refit)
        return module

    def _count_validation(self, series: Sequence[Any]) -> list[int]:
        if sum(map(len, self._training_origins(series))) < MANY_SAMPLES:
            return [0] * len(series)
        return held_out_steps(list(map(len, series)), self.validation_fraction)

    @property
    def _n_series(self) -> int:
        return 0  # all series share one regression

    def _store(self, series: Sequence[Any]) -> Any:
        import torch

        return self._lay_out(series, torch.float64, torch.device("cpu"))

    def _model(self) -> Any:
        return self._module

    def _scores(self, model: Any, samples: Any) -> np.ndarray:
        import torch

        n, data = len(samples), self._describe()
        scores = np.empty((n, data.n_targets, data.horizon))
        with torch.no_grad():
            for rows, inputs in samples.inference_batches():
                scores[rows.numpy()] = model(**inputs)[: len(rows)].numpy()
        return scores

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's checks.

        Parameters
        ----------
        parameter_set : str, default="default"
            There is one set of parameter sets.

        Returns
        -------
        params : list of dict
            Arguments of the constructor.
        """
        return [
            {},
            {"window_length": 4, "normalization": "instance", "fit_intercept": False},
        ]
