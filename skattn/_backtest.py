"""Backtests of forecasters by windows: all origins in one pass, scored at once."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from sktime.datatypes import check_is_scitype, convert
from sktime.performance_metrics.forecasting import (
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanAbsoluteScaledError,
    MeanSquaredError,
    MeanSquaredScaledError,
    MedianAbsoluteError,
)
from sktime.performance_metrics.forecasting.probabilistic import (
    EmpiricalCoverage,
    IntervalWidth,
    PinballLoss,
)
from sktime.split.base import BaseSplitter
from sktime.utils.validation.forecasting import check_cv, check_fh, check_scoring

from skattn._inputs._panels import split_series
from skattn._time_index import regular
from skattn._window_forecaster import WindowForecaster

_WAY_OUT = "Use sktime.forecasting.model_evaluation.evaluate for it."

# By the kind of forecasts, the argument of the forecaster's method, and what sktime
# takes where a metric does not give it.
_LEVELS: dict[str, tuple[str | None, tuple[float, ...]]] = {
    "pred": (None, ()),
    "pred_quantiles": ("alpha", (0.05, 0.95)),
    "pred_interval": ("coverage", (0.9,)),
}

# Denominators are at least this, as sktime's are.
_EPS = float(np.finfo(np.float64).eps)


def backtest(
    forecaster: WindowForecaster,
    y: Any,
    X: Any = None,
    *,
    cv: BaseSplitter,
    refit: bool | int = False,
    scoring: Any = None,
    return_data: bool = False,
) -> pd.DataFrame:
    """Score forecasts from many origins of a series, computed in one pass.

    The table is that of sktime's ``evaluate``, with the same scores. A fitted net
    forecasts from all origins at once, instead of being updated and asked at each.

    Parameters
    ----------
    forecaster : AttentionForecaster or another forecaster by windows of skattn
        A copy of it is fitted, it stays as it is.
    y : Series, DataFrame or other container of sktime
        The series, or a panel or hierarchy of some. Times must not be left out;
        values may be missing.
    X : DataFrame or other container of sktime, default=None
        Covariates, at all times of `y`.
    cv : sktime splitter
        For instance ``ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=100)``.
    refit : bool or int, default=False
        False fits on the training window of the first fold; later ones forecast from
        the end of their own window with the weights and units of this fit, as
        ``evaluate`` does with ``strategy="no-update_params"``. True fits anew for each
        fold, as ``strategy="refit"`` does, and a number for each so many-th fold.
    scoring : metric of sktime, callable, list of these, or None, default=None
        Of points, quantiles or intervals. None takes that of ``evaluate``, the mean
        absolute percentage error.
    return_data : bool, default=False
        Add the columns ``y_train``, ``y_test`` and ``y_pred``.

    Returns
    -------
    results : DataFrame
        A row for each fold, with the columns of ``evaluate``: ``test_{metric name}``;
        ``fit_time``, in seconds, 0 for folds without a fit of their own; ``pred_time``,
        an equal share of the pass; ``len_train_window``; ``cutoff``.

    Raises
    ------
    TypeError
        If `forecaster` is none of skattn's forecasters by windows. ``evaluate`` takes
        any, and pipelines too.
    ValueError
        If a metric needs whole distributions, if `cv` gives no fold or folds that do
        not fit its horizon, if times are left out of `y` or `X`, or if `refit` is
        neither a bool nor a positive number. Errors of fits, forecasts and metrics are
        not caught.

    See Also
    --------
    sktime.forecasting.model_evaluation.evaluate : The same for any forecaster.

    Notes
    -----
    These metrics, with ``multioutput="uniform_average"``, are computed for all folds at
    once: mean absolute (percentage, scaled) error, mean squared (scaled) error, median
    absolute error; and of one target, pinball loss, empirical coverage, interval width.
    Other metrics are called for each fold.

    A window holds all steps of `y` up to the cutoff, from the start of the training
    window that was fitted on. ``evaluate`` takes steps as missing which `cv` leaves out
    between its training windows.

    Metrics of quantiles and intervals see what they see in ``evaluate``. Those of
    sktime 1.2 pair the columns of a multivariate `y` rightly only if these are in
    alphabetical order, and empirical coverage only if it has one level too.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from sktime.split import ExpandingWindowSplitter
    >>> from skattn import AttentionForecaster, backtest
    >>> y = load_airline()
    >>> cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=96, step_length=6)
    >>> forecaster = AttentionForecaster(max_epochs=5, random_state=0)
    >>> results = backtest(forecaster, y, cv=cv)
    >>> results.shape
    (8, 5)
    >>> results.columns[0]
    'test_MeanAbsolutePercentageError'
    """
    if not isinstance(forecaster, WindowForecaster):
        raise TypeError(
            f"backtest takes skattn's forecasters by windows, such as "
            f"AttentionForecaster, and not {type(forecaster).__name__}. {_WAY_OUT}"
        )
    cv = check_cv(cv, enforce_start_with_window=True)
    metrics = _read_metrics(scoring)
    y, X = _to_pandas(y, "y"), _to_pandas(X, "X")
    folds = _Folds.read(cv, y)
    _check_times(y, X)
    group_size = _group_size(refit, len(folds))
    wanted = {one.label: (one.kind, one.levels) for one in metrics}
    groups = [
        _forecast(forecaster, y, X, folds.part(first, first + group_size), wanted)
        for first in range(0, len(folds), group_size)
    ]
    seen = _Scored(y, folds, groups)
    columns: dict[str, Any] = {f"test_{one.name}": _score(one, seen) for one in metrics}
    columns["fit_time"] = np.concatenate([one.fit_time for one in groups])
    for label in wanted:
        columns[f"{label}_time"] = np.concatenate([one.times[label] for one in groups])
    columns["len_train_window"], columns["cutoff"] = folds.describe(y.index)
    if return_data:
        columns["y_train"] = seen.each(seen.train)
        columns["y_test"] = seen.each(seen.test)
        for label in wanted:
            columns[f"y_{label}"] = seen.each(partial(seen.pred, label))
    return pd.DataFrame(columns)


# Reading


class _Metric(NamedTuple):
    """A metric, and what it asks a forecaster for."""

    metric: Any
    kind: str
    levels: tuple[float, ...]
    name: str
    label: str


def _read_metrics(scoring: Any) -> list[_Metric]:
    """Find what metrics ask for, and name columns as ``evaluate`` does."""
    by_kind: dict[str, list[_Metric]] = {}
    for one in scoring if isinstance(scoring, list) else [scoring]:
        metric = check_scoring(one)
        kind = metric.get_tag(
            "scitype:y_pred", raise_error=False, tag_value_default="pred"
        )
        if kind not in _LEVELS:
            raise ValueError(
                f"{metric.name} scores forecasts of the kind {kind!r}, but backtest "
                f"gives points, quantiles and intervals. {_WAY_OUT}"
            )
        argument, levels = _LEVELS[kind]
        given = None if argument is None else getattr(metric, argument, None)
        levels = levels if given is None else tuple(map(float, np.atleast_1d(given)))
        suffix = "" if given is None else f"_{given}"
        by_kind.setdefault(kind, []).append(
            _Metric(metric, kind, levels, f"{metric.name}{suffix}", f"{kind}{suffix}")
        )
    found = [one for group in by_kind.values() for one in group]
    if all(_is_plain(group) for group in by_kind.values()):
        found = [one._replace(name=one.metric.name, label=one.kind) for one in found]
    names = [one.name for one in found]
    if double := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"scoring holds more than one metric of the name {double[0]!r}: set the "
            "attribute name of one of them."
        )
    return found


def _is_plain(metrics: Sequence[_Metric]) -> bool:
    """Tell whether metrics of one kind need no levels in the names of columns."""
    names = {one.metric.name for one in metrics}
    return len(names) == len(metrics) and len({one.levels for one in metrics}) == 1


def _to_pandas(data: Any, what: str) -> Any:
    """Convert one of sktime's containers as ``evaluate`` does."""
    if data is None:
        return None
    valid, message, metadata = check_is_scitype(
        data, scitype=["Series", "Panel", "Hierarchical"], return_metadata=[]
    )
    if not valid:
        raise TypeError(f"{what} is no series or panel that sktime knows: {message}")
    return convert(
        data,
        from_type=metadata["mtype"],
        to_type=["pd.DataFrame", "pd.Series", "pd-multiindex", "pd_multiindex_hier"],
    )


def _check_times(y: Any, X: Any) -> None:
    """Refuse times that are left out: a fold counts rows, a forecast counts steps."""
    for key, part in split_series(y).items():
        where = f" in the series {key}" if key else ""
        if len(regular(part)) > len(part):
            raise ValueError(
                f"The index of y leaves out times{where}, where cv counts rows and a "
                "forecast counts steps of time. Insert them with missing values first, "
                "for instance by y.asfreq(...)."
            )
    if X is not None and len(absent := y.index[~y.index.isin(X.index)]):
        raise ValueError(
            f"X lacks the times {list(map(str, absent[:3]))} of y ({len(absent)} in "
            "all). A backtest needs the covariates of each step."
        )


def _group_size(refit: bool | int, n_folds: int) -> int:
    """Count the folds that share a fit."""
    if isinstance(refit, bool):
        return 1 if refit else n_folds
    if not isinstance(refit, Integral) or refit < 1:
        raise ValueError(
            f"refit={refit!r} is neither a bool nor a positive number of folds."
        )
    return int(refit)


# Folds


@dataclass
class _Folds:
    """Rows of folds.

    Parameters
    ----------
    train : list of ndarray
        Rows of each training window, of all series, in order.
    start, stop : ndarray of shape (n_folds, n_series)
        First row of each series in it, and the row after its last.
    test : ndarray of shape (n_folds, n_series, n_steps)
        Rows of the test windows.
    ends : ndarray of shape (n_series,)
        The row after the last of each series.
    fh : ForecastingHorizon
        Relative to the ends of training windows.
    """

    train: list[np.ndarray]
    start: np.ndarray
    stop: np.ndarray
    test: np.ndarray
    ends: np.ndarray
    fh: Any

    def __len__(self) -> int:
        return len(self.train)

    @classmethod
    def read(cls, cv: BaseSplitter, y: Any) -> Self:
        """Split a series or panel."""
        number = np.zeros(len(y), dtype=int)
        if isinstance(y.index, pd.MultiIndex):
            number = pd.factorize(y.index.droplevel(-1))[0]
        if (np.diff(number) < 0).any():
            raise ValueError("The series of y are interleaved: pass y.sort_index().")
        each = np.arange(number.max(initial=0) + 1)
        ends = np.searchsorted(number, each, side="right")
        trains, starts, stops, tests = [], [], [], []
        for fold, (train, test) in enumerate(cv.split(y.index)):
            train, test = np.sort(train), np.sort(test)
            last = np.searchsorted(number[train], each, side="right")
            first = np.append(0, last[:-1])
            if (first == last).any() or len(test) % len(ends):
                raise ValueError(
                    f"Fold {fold} of cv does not hold training and test steps of each "
                    "series of y."
                )
            trains.append(train)
            starts.append(train[first])
            stops.append(train[last - 1] + 1)
            tests.append(test.reshape(len(ends), -1))
        if not trains:
            raise ValueError(f"cv gives no fold for a y of {len(y)} rows.")
        fh = check_fh(cv.fh, enforce_relative=True)
        steps = np.asarray(fh)
        for fold, (stop, test) in enumerate(zip(stops, tests, strict=True)):
            if not np.array_equal(test, stop[:, None] - 1 + steps) or steps[0] < 1:
                raise ValueError(
                    f"Fold {fold} of cv does not test the steps {steps.tolist()} after "
                    "its training window, which must lie in the future."
                )
        return cls(trains, np.stack(starts), np.stack(stops), np.stack(tests), ends, fh)

    @property
    def are_contiguous(self) -> bool:
        """Whether training windows leave out no row between their ends."""
        lengths = (self.stop - self.start).sum(axis=1)
        return lengths.tolist() == [len(rows) for rows in self.train]

    def part(self, first: int, stop: int) -> _Folds:
        """Give some folds."""
        rows = slice(first, stop)
        return _Folds(
            self.train[rows],
            self.start[rows],
            self.stop[rows],
            self.test[rows],
            self.ends,
            self.fh,
        )

    def describe(self, index: pd.Index) -> tuple[list[int], Any]:
        """Give the lengths of training windows, and their last times."""
        if not isinstance(index, pd.MultiIndex):
            return [len(rows) for rows in self.train], index[self.stop[:, 0] - 1]
        times = index.get_level_values(-1)
        counts = [times[rows].nunique() for rows in self.train]
        return counts, _objects(times[rows - 1].max() for rows in self.stop)


def _objects(values: Iterable[Any]) -> np.ndarray:
    """Put objects, of whatever length, into a column."""
    values = list(values)
    column = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        column[at] = value
    return column


# Forecasts


class _Group(NamedTuple):
    """Forecasts of folds that share a fit.

    By label: values of shape (n_folds, n_series, n_steps, n_targets, n_levels), with
    one level for points; seconds of each fold; and columns.
    """

    fit_time: np.ndarray
    values: dict[str, np.ndarray]
    times: dict[str, np.ndarray]
    columns: dict[str, pd.Index | None]


def _forecast(
    forecaster: WindowForecaster,
    y: Any,
    X: Any,
    folds: _Folds,
    wanted: dict[str, tuple[str, tuple[float, ...]]],
) -> _Group:
    """Fit on the first fold, and forecast from all."""
    n_folds = len(folds)
    train = y.iloc[folds.train[0]]
    clock = time.perf_counter()
    forecaster = forecaster.clone()
    forecaster.fit(train, X=None if X is None else X.loc[train.index], fh=folds.fh)
    fit_time = np.zeros(n_folds)
    fit_time[0] = time.perf_counter() - clock
    clock = time.perf_counter()
    scores, loc, scale = _scores(forecaster, y, X, folds)
    shared = time.perf_counter() - clock
    group = _Group(fit_time, {}, {}, {})
    for label, (kind, levels) in wanted.items():
        clock = time.perf_counter()
        if kind == "pred":
            found = forecaster._points(scores, loc, scale)[..., None]
            group.columns[label] = None
        else:
            asked = list(levels)
            method = kind.replace("pred", "predict")
            argument = {str(_LEVELS[kind][0]): asked}
            group.columns[label] = forecaster._get_columns(method, **argument)
            if kind == "pred_interval":
                asked = [0.5 + side * one for one in asked for side in (-0.5, 0.5)]
            found = forecaster._quantiles(scores, asked, loc, scale)
        # (n_series * n_folds, n_targets, horizon, n_levels)
        found = found[:, :, np.asarray(folds.fh) - 1]
        found = found.reshape(-1, n_folds, *found.shape[1:])
        group.values[label] = found.transpose(1, 0, 3, 2, 4)
        seconds = shared + time.perf_counter() - clock
        group.times[label] = np.full(n_folds, seconds / n_folds)
    return group


def _scores(
    forecaster: WindowForecaster, y: Any, X: Any, folds: _Folds
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute scores from the ends of all training windows, series by series."""
    X_inner, y_inner = forecaster._check_X_y(X=X, y=y)
    begin = folds.start.min(axis=0)
    rows = [np.arange(*bounds) for bounds in zip(begin, folds.ends, strict=True)]
    y_inner = y_inner.iloc[np.concatenate(rows)]
    last = (folds.stop - 1 - begin).T  # (n_series, n_folds)
    lengths = folds.ends - begin
    encoder = forecaster._encoder
    if encoder is not None and encoder.known_names:
        lacking = last.max(axis=1) + forecaster.horizon_ + 1 - lengths
        if (lacking > 0).any():
            raise ValueError(
                f"The pretrained net forecasts {forecaster.horizon_} steps, and y ends "
                f"{lacking.max()} steps too early to have the covariates of all for "
                "the last folds. Leave these out of cv, or pretrain with a shorter fh."
            )
    origins = dict(zip(split_series(y_inner), last, strict=True))
    samples = forecaster._windows_from(y_inner, X_inner, origins)
    return (forecaster._scores(forecaster._model(), samples), *samples.units())


# Scores


class _Scored:
    """The rows of folds beside their forecasts.

    Parameters
    ----------
    y : Series or DataFrame
        All rows.
    folds : _Folds
        Which of them belong together.
    groups : list of _Group
        Forecasts of all folds.
    """

    def __init__(self, y: Any, folds: _Folds, groups: Sequence[_Group]) -> None:
        self.y = y
        self.folds = folds
        self.columns = groups[0].columns
        self.values = {
            label: np.concatenate([one.values[label] for one in groups])
            for label in self.columns
        }
        numbers = y.to_numpy(dtype=np.float64)
        self.rows = numbers.reshape(len(y), -1)  # (n_rows, n_targets)
        self.has_gaps = bool(np.isnan(self.rows).any())
        # (n_folds, n_series, n_steps, n_targets)
        self.truth = self.rows[folds.test]

    def each(self, frame: Callable[[int], Any]) -> np.ndarray:
        """Give something of each fold."""
        return _objects(map(frame, range(len(self.folds))))

    def train(self, fold: int) -> Any:
        """Give the training window."""
        return self.y.iloc[self.folds.train[fold]]

    def test(self, fold: int) -> Any:
        """Give the test window."""
        return self.y.iloc[self.folds.test[fold].ravel()]

    def pred(self, label: str, fold: int) -> Any:
        """Give the forecast of the test window."""
        values = self.values[label][fold]
        flat = values.reshape(-1, values.shape[-2] * values.shape[-1])
        index = self.y.index[self.folds.test[fold].ravel()]
        columns = self.columns[label]
        if columns is None and isinstance(self.y, pd.Series):
            return pd.Series(flat[:, 0], index=index, name=self.y.name)
        return pd.DataFrame(
            flat, index=index, columns=self.y.columns if columns is None else columns
        )

    def naive_errors(self, sp: int, power: int) -> np.ndarray:
        """Mean errors of forecasts by the last season: (n_folds, n_series, n_targets).

        Those of the training windows, NaN where none is known.
        """
        errors = np.abs(self.rows[sp:] - self.rows[:-sp]).T ** power
        known = ~np.isnan(errors)
        # One more, so that sums may end at the end: (n_targets, n_rows - sp + 1)
        errors = np.pad(np.where(known, errors, 0.0), ((0, 0), (0, 1)))
        counts = np.pad(np.cumsum(known, axis=1), ((0, 0), (1, 0)))
        first = np.minimum(self.folds.start, errors.shape[1] - 1)
        stop = np.maximum(self.folds.stop - sp, first)
        bounds = np.stack([first, stop], axis=-1)  # (n_folds, n_series, 2)
        sums = np.add.reduceat(errors, bounds.ravel(), axis=1)[:, ::2]
        sums = np.moveaxis(sums.reshape(-1, *first.shape), 0, -1)
        count = np.moveaxis(counts[:, stop] - counts[:, first], 0, -1)
        return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def _score(one: _Metric, seen: _Scored) -> np.ndarray:
    """Score all folds, at once if the metric is a known one."""
    if (formula := _formula(one, seen)) is not None:
        values = seen.values[one.label]
        pred = values[..., 0, :] if one.levels else values[..., 0]
        return _mean(formula(seen, pred))  # over series
    found = [
        one.metric(
            seen.test(fold), seen.pred(one.label, fold), y_train=seen.train(fold)
        )
        for fold in range(len(seen.folds))
    ]
    if all(np.ndim(score) == 0 for score in found):
        return np.array(found, dtype=np.float64)
    return _objects(found)


def _formula(one: _Metric, seen: _Scored) -> Callable[..., np.ndarray] | None:
    """Give the formula of a metric with its parameters, if there is one."""
    known = _FORMULAS.get(type(one.metric))
    if known is None or (seen.has_gaps and known in _WITHOUT_GAPS):
        return None
    chosen = one.metric.get_params(deep=False)
    for name, wanted in _AVERAGES.items():
        given = chosen.pop(name, wanted)
        if not isinstance(given, type(wanted)) or given != wanted:
            return None
    if one.levels:
        # With many targets, sktime's metrics pair columns and levels in their own ways.
        if seen.rows.shape[1] > 1:
            return None
        del chosen[str(_LEVELS[one.kind][0])]
    if known is _pinball:
        chosen["levels"] = np.array(one.levels)
    if "sp" in chosen and not seen.folds.are_contiguous:
        return None
    # Another release of sktime may have more parameters.
    is_known = chosen.keys() <= inspect.signature(known).parameters.keys()
    return partial(known, **chosen) if is_known else None


# Scores (n_folds, n_series) of points (n_folds, n_series, n_steps, n_targets)


def _absolute_error(seen: _Scored, pred: np.ndarray) -> np.ndarray:
    return _mean(_mean(np.abs(seen.truth - pred)))


def _percentage_error(
    seen: _Scored,
    pred: np.ndarray,
    symmetric: bool,
    relative_to: str = "y_true",
    eps: float | None = None,
) -> np.ndarray:
    least = _EPS if eps is None else eps
    truth = np.abs(seen.truth)
    if symmetric:
        denominator = np.maximum(truth + np.abs(pred), least) / 2
    else:
        chosen = np.abs(pred) if relative_to == "y_pred" else truth
        denominator = np.maximum(chosen, least)
    return _mean(_mean(np.abs(seen.truth - pred) / denominator))


def _scaled_error(
    seen: _Scored, pred: np.ndarray, sp: int, eps: float | None = None
) -> np.ndarray:
    least = _EPS if eps is None else eps
    naive = np.maximum(seen.naive_errors(sp, 1), least)[:, :, None]
    return _mean(_mean(np.abs(seen.truth - pred) / naive))


def _squared_error(
    seen: _Scored, pred: np.ndarray, square_root: bool = False
) -> np.ndarray:
    errors = _mean(np.square(seen.truth - pred), axis=2)
    return _mean(np.sqrt(errors) if square_root else errors)


def _squared_scaled_error(
    seen: _Scored, pred: np.ndarray, sp: int, square_root: bool = False
) -> np.ndarray:
    # Of a multivariate series, both errors are averaged before they are divided.
    naive = np.maximum(_mean(seen.naive_errors(sp, 2)), _EPS)
    errors = _squared_error(seen, pred) / naive
    return np.sqrt(errors) if square_root else errors


def _median_error(seen: _Scored, pred: np.ndarray) -> np.ndarray:
    return _mean(np.median(np.abs(seen.truth - pred), axis=2))


# Of quantiles of one target: (n_folds, n_series, n_steps, n_levels)


def _pinball(seen: _Scored, pred: np.ndarray, levels: np.ndarray) -> np.ndarray:
    errors = seen.truth - pred
    return _mean(_mean(np.where(errors >= 0, levels, levels - 1) * errors))


def _coverage(seen: _Scored, pred: np.ndarray) -> np.ndarray:
    inside = (pred[..., ::2] <= seen.truth) & (seen.truth <= pred[..., 1::2])
    return inside.mean(axis=(2, 3))


def _width(seen: _Scored, pred: np.ndarray) -> np.ndarray:
    return _mean(_mean(pred[..., 1::2] - pred[..., ::2]))


def _mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Average what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


_FORMULAS: dict[type, Callable[..., np.ndarray]] = {
    MeanAbsoluteError: _absolute_error,
    MeanAbsolutePercentageError: _percentage_error,
    MeanAbsoluteScaledError: _scaled_error,
    MeanSquaredError: _squared_error,
    MeanSquaredScaledError: _squared_scaled_error,
    MedianAbsoluteError: _median_error,
    EmpiricalCoverage: _coverage,
    IntervalWidth: _width,
    PinballLoss: _pinball,
}

# sktime's own refuse missing values.
_WITHOUT_GAPS = (_squared_scaled_error, _median_error, _pinball, _coverage, _width)

# What all formulas average over: targets, series, steps, levels.
_AVERAGES = {
    "multioutput": "uniform_average",
    "multilevel": "uniform_average",
    "by_index": False,
    "score_average": True,
}
