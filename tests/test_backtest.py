"""Backtests give the numbers of sktime's evaluate, from one pass."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal
from sklearn.model_selection import KFold
from sktime.datasets import load_airline
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import (
    GeometricMeanAbsoluteError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanAbsoluteScaledError,
    MeanSquaredError,
    MeanSquaredScaledError,
    MedianAbsoluteError,
)
from sktime.performance_metrics.forecasting.probabilistic import (
    CRPS,
    ConstraintViolation,
    EmpiricalCoverage,
    IntervalWidth,
    PinballLoss,
)
from sktime.split import (
    CutoffFhSplitter,
    CutoffSplitter,
    ExpandingGreedySplitter,
    ExpandingWindowSplitter,
    InstanceSplitter,
    SingleWindowSplitter,
    SlidingWindowSplitter,
    TemporalTrainTestSplitter,
)

from skattn import AttentionForecaster, LinearForecaster, backtest
from skattn.architectures import SelfAttention

# sktime's own forecasters and pipelines announce a change of sktime 1.3.
announced = pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")

EXPANDING = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=4)
LINEAR = LinearForecaster(calibration=None)


def attention(**params):
    defaults = {"max_epochs": 1, "calibration": None, "random_state": 0}
    architecture = SelfAttention(d_model=8, num_heads=2, num_layers=1)
    return AttentionForecaster(architecture, **{**defaults, **params})


def named(metric, name):
    metric.name = name
    return metric


def point_metrics():
    return [
        MeanAbsoluteError(),
        MeanSquaredError(),
        named(MeanSquaredError(square_root=True), "root"),
        MeanAbsolutePercentageError(),
        named(MeanAbsolutePercentageError(symmetric=True), "symmetric"),
        named(MeanAbsolutePercentageError(relative_to="y_pred", eps=9.9), "relative"),
        MeanAbsoluteScaledError(),
        named(MeanAbsoluteScaledError(sp=12, eps=0.5), "seasonal"),
    ]


def complete_metrics():
    """More of them, which take no missing values."""
    return [
        MedianAbsoluteError(),
        MeanSquaredScaledError(),
        named(MeanSquaredScaledError(sp=12, square_root=True), "seasonal root"),
    ]


def waves(n=90, index=None, n_columns=1, seed=0):
    rng = np.random.default_rng(seed)
    steps = np.arange(n)[:, None] / (2 + np.arange(n_columns))
    values = 10 + np.sin(steps) + 0.1 * rng.normal(size=(n, n_columns))
    if n_columns == 1:
        return pd.Series(values[:, 0], index=index, name="waves")
    return pd.DataFrame(values, index=index, columns=list("bac")[:n_columns])


def assert_like_evaluate(forecaster, y, cv, X=None, scoring=None, refit=False):
    """Compare whole tables, but for the seconds; give ours."""
    ours = backtest(
        forecaster, y, X, cv=cv, scoring=scoring, refit=refit, return_data=True
    )
    theirs = evaluate(
        forecaster,
        cv,
        y,
        X,
        strategy="refit" if refit else "no-update_params",
        scoring=scoring,
        return_data=True,
        error_score="raise",
    )
    assert list(ours.columns) == list(theirs.columns)
    assert ours.dtypes.tolist() == theirs.dtypes.tolist()
    assert_index_equal(ours.index, theirs.index)
    for name in theirs.columns:
        if name.startswith("test_"):
            assert_allclose(ours[name], theirs[name], rtol=1e-12, err_msg=name)
        elif name.startswith("y_"):
            for one, other in zip(ours[name], theirs[name], strict=True):
                if isinstance(other, pd.Series):
                    assert_series_equal(one, other, check_freq=False)
                    continue
                if other.columns.nlevels > 1:  # sktime's metrics sort them in place
                    one = one.sort_index(axis=1, level=[0, 1])
                assert_frame_equal(one, other, check_freq=False)
        elif not name.endswith("_time"):
            assert_series_equal(ours[name], theirs[name])
    return ours


# The same numbers


@pytest.mark.parametrize(
    "index",
    [
        pd.period_range("2000-01", periods=90, freq="M"),
        pd.date_range("2000-01-01", periods=90, freq="D"),
        pd.DatetimeIndex(pd.date_range("2000-01-01", periods=90, freq="h"), freq=None),
        pd.RangeIndex(90),
        pd.Index(np.arange(5, 95)),
    ],
    ids=["periods", "days", "hours without a frequency", "range", "integers"],
)
def test_each_index(index):
    ours = assert_like_evaluate(LINEAR, waves(index=index), EXPANDING)
    assert list(ours.columns[:3]) == [
        "test_MeanAbsolutePercentageError",
        "fit_time",
        "pred_time",
    ]
    assert len(ours) == 7


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize(
    "cv",
    [
        EXPANDING,
        SlidingWindowSplitter(fh=[1, 2, 3], window_length=50, step_length=9),
        SlidingWindowSplitter(
            fh=2, window_length=20, initial_window=60, step_length=10
        ),
        SingleWindowSplitter(fh=[1, 2], window_length=40),
        ExpandingWindowSplitter(fh=[2, 5], initial_window=70, step_length=5),
        CutoffSplitter(cutoffs=np.array([60, 63, 80]), fh=[1, 3], window_length=45),
        ExpandingGreedySplitter(test_size=4, folds=5),
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_each_splitter(cv, refit):
    scoring = [*point_metrics(), *complete_metrics()]
    assert_like_evaluate(LINEAR, waves(), cv, scoring=scoring, refit=refit)


@pytest.mark.parametrize("n_columns", [1, 3])
def test_attention_forecaster(n_columns):
    scoring = [*point_metrics(), *complete_metrics()]
    y = waves(n_columns=n_columns)
    assert_like_evaluate(attention(), y, EXPANDING, scoring=scoring)


def test_windows_longer_than_the_training_window():
    forecaster = attention(window_length=30)
    cv = SlidingWindowSplitter(fh=[1, 2], window_length=20, step_length=7)
    assert_like_evaluate(forecaster, waves(), cv)
    cv = SingleWindowSplitter(fh=[1, 2], window_length=20)
    assert_like_evaluate(forecaster, waves(), cv)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("fh", [[1, 2, 3], [2]])
def test_past_covariates(fh, refit):
    y, X = waves(), waves(n_columns=2, seed=1)
    cv = ExpandingWindowSplitter(fh=fh, initial_window=60, step_length=10)
    forecaster = attention(past_covariates=["a", "b"])
    assert_like_evaluate(forecaster, y, cv, X, refit=refit)


@pytest.mark.parametrize("forecaster", [LINEAR, attention()])
@pytest.mark.parametrize("refit", [False, True])
def test_known_covariates(forecaster, refit):
    y, X = waves(), waves(n=95, n_columns=2, seed=1)
    X["kind"] = np.where(np.arange(95) % 7 < 5, "work", "rest")
    y = y + 3 * X["a"].iloc[:90] + (X["kind"].iloc[:90] == "rest")
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=10)
    if isinstance(forecaster, LinearForecaster):
        X = X.drop(columns="kind")
    assert_like_evaluate(forecaster, y, cv, X, refit=refit)


def test_known_covariates_between_the_steps_of_fh():
    # evaluate hands on those of the steps of fh only.
    y, X = waves(), waves(n_columns=2, seed=1)
    y = y + 3 * X["a"]
    every = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=10)
    some = ExpandingWindowSplitter(fh=[1, 3], initial_window=60, step_length=10)
    full = backtest(LINEAR, y, X, cv=every, return_data=True)
    gaps = backtest(LINEAR, y, X, cv=some, return_data=True)
    for one, other in zip(full["y_pred"], gaps["y_pred"], strict=True):
        assert_series_equal(one.iloc[[0, 2]], other)


@pytest.mark.parametrize("n_columns", [1, 2])
def test_missing_values(n_columns):
    y = waves(n_columns=n_columns)
    y.iloc[[3, 30, 62, 68, 70, 71, 72, 80]] = np.nan
    if n_columns == 2:
        y.iloc[60:75, 0] = np.nan
    assert_like_evaluate(attention(), y, EXPANDING, scoring=point_metrics())


def test_metrics_that_refuse_missing_values():
    y = waves()
    y.iloc[[3, 62]] = np.nan
    forecaster = attention(likelihood="normal")
    metrics = [PinballLoss(), EmpiricalCoverage(), IntervalWidth()]
    for metric in [*complete_metrics(), *metrics]:
        with pytest.raises(ValueError, match="NaN"):
            backtest(forecaster, y, cv=EXPANDING, scoring=metric)


def test_a_training_window_without_a_change():
    y = waves()
    y.iloc[:30] = 1e6
    y.iloc[30:60] = 5.0
    forecaster = LinearForecaster(calibration=None, window_length=10)
    cv = SlidingWindowSplitter(
        fh=[1, 2], window_length=25, initial_window=59, step_length=3
    )
    scoring = [MeanAbsoluteScaledError(), MeanSquaredScaledError()]
    assert_like_evaluate(forecaster, y, cv, scoring=scoring)


def test_a_training_window_shorter_than_the_season():
    cv = SlidingWindowSplitter(fh=[1], window_length=12, step_length=20)
    ours = assert_like_evaluate(
        LINEAR, waves(), cv, scoring=MeanAbsoluteScaledError(sp=12)
    )
    assert ours["test_MeanAbsoluteScaledError"].isna().all()


def test_training_windows_that_leave_steps_out():
    class Thinned(ExpandingWindowSplitter):
        def _split(self, y):
            for train, test in super()._split(y):
                yield np.delete(train, [10, 20, 21]), test

    cv = Thinned(fh=[1, 2], initial_window=60, step_length=9)
    index = pd.period_range("2000-01", periods=90, freq="M")
    scoring = [MeanAbsoluteScaledError(sp=3), MeanSquaredScaledError()]
    forecaster = attention(window_length=12)
    assert_like_evaluate(forecaster, waves(index=index), cv, scoring=scoring)


# Metrics


@pytest.mark.parametrize(
    "metric",
    [
        *point_metrics(),
        *complete_metrics(),
        PinballLoss(),
        PinballLoss(alpha=0.2),
        EmpiricalCoverage(coverage=[0.3, 0.7]),
        IntervalWidth(),
    ],
)
def test_known_metrics_are_not_called(metric, monkeypatch):
    forecaster = LinearForecaster(calibration="split")
    expected = evaluate(
        forecaster, EXPANDING, waves(), strategy="no-update_params", scoring=metric
    )
    monkeypatch.setattr(type(metric), "__call__", lambda *args, **kwargs: 1 / 0)
    ours = backtest(forecaster, waves(), cv=EXPANDING, scoring=metric)
    column = f"test_{metric.name}"
    assert_allclose(ours[column], expected[column], rtol=1e-12)


@pytest.mark.parametrize(
    "metric",
    [
        GeometricMeanAbsoluteError(),
        MeanAbsoluteError(multioutput=[0.2, 0.3, 0.5]),
        MeanSquaredScaledError(multioutput=np.array([0.2, 0.3, 0.5])),
        ConstraintViolation(),
    ],
)
def test_other_metrics(metric):
    forecaster = LinearForecaster(calibration="split")
    assert_like_evaluate(forecaster, waves(n_columns=3), EXPANDING, scoring=metric)


def test_a_function_as_metric():
    def largest_error(y_true, y_pred, **kwargs):
        return float(np.abs(np.asarray(y_true) - np.asarray(y_pred)).max())

    assert_like_evaluate(LINEAR, waves(), EXPANDING, scoring=largest_error)


def test_a_metric_derived_from_a_known_one():
    class Doubled(MeanAbsoluteError):
        def _evaluate_by_index(self, y_true, y_pred, **kwargs):
            return 2 * super()._evaluate_by_index(y_true, y_pred, **kwargs)

    scoring = [Doubled(), MeanAbsoluteError()]
    ours = assert_like_evaluate(LINEAR, waves(), EXPANDING, scoring=scoring)
    assert_allclose(ours["test_Doubled"], 2 * ours["test_MeanAbsoluteError"])


def test_a_known_metric_with_a_new_parameter_is_called(monkeypatch):
    metric = MeanSquaredError()
    metric.get_params = lambda deep: {"square_root": False, "new": 1}
    monkeypatch.setattr(type(metric), "__call__", lambda *args, **kwargs: 7.0)
    ours = backtest(LINEAR, waves(), cv=EXPANDING, scoring=metric)
    assert (ours["test_MeanSquaredError"] == 7.0).all()


def test_scores_of_each_column():
    metric = MeanAbsoluteError(multioutput="raw_values")
    y = waves(n_columns=3)
    ours = backtest(LINEAR, y, cv=EXPANDING, scoring=metric)
    theirs = evaluate(LINEAR, EXPANDING, y, strategy="no-update_params", scoring=metric)
    column = "test_MeanAbsoluteError"
    assert_allclose(np.stack(ours[column]), np.stack(theirs[column]), rtol=1e-12)


def test_scores_of_each_step():
    metric = MeanAbsoluteError(by_index=True)
    ours = backtest(LINEAR, waves(), cv=EXPANDING, scoring=metric)
    theirs = evaluate(
        LINEAR, EXPANDING, waves(), strategy="no-update_params", scoring=metric
    )
    for one, other in zip(ours.iloc[:, 0], theirs.iloc[:, 0], strict=True):
        assert_series_equal(one, other, check_freq=False)


PROBABILISTIC = [
    PinballLoss(),
    PinballLoss(alpha=[0.1, 0.5, 0.9]),
    EmpiricalCoverage(coverage=0.5),
    IntervalWidth(),
    [MeanAbsoluteError(), IntervalWidth(), PinballLoss(), EmpiricalCoverage()],
    [PinballLoss(alpha=0.1), MeanAbsoluteError(), PinballLoss(alpha=0.9)],
    [PinballLoss(alpha=0.1), PinballLoss(alpha=0.9), IntervalWidth(coverage=0.5)],
]


@pytest.mark.parametrize("n_columns", [1, 2])
@pytest.mark.parametrize("scoring", PROBABILISTIC)
def test_quantiles_and_intervals(scoring, n_columns):
    forecaster = LinearForecaster(calibration="split")
    y = waves(n_columns=n_columns)
    assert_like_evaluate(forecaster, y, EXPANDING, scoring=scoring)


@pytest.mark.parametrize("calibration", ["split", None])
@pytest.mark.parametrize("likelihood", ["normal", "quantile"])
def test_quantiles_of_a_likelihood(likelihood, calibration):
    forecaster = attention(likelihood=likelihood, calibration=calibration)
    scoring = [PinballLoss(alpha=[0.1, 0.5, 0.9]), MeanAbsoluteError()]
    assert_like_evaluate(forecaster, waves(), EXPANDING, scoring=scoring)


def test_levels_that_differ_name_their_columns():
    scoring = [EmpiricalCoverage(coverage=0.5), IntervalWidth(coverage=0.9)]
    forecaster = LinearForecaster(calibration="split")
    ours = backtest(forecaster, waves(), cv=EXPANDING, scoring=scoring)
    for metric in scoring:
        alone = backtest(forecaster, waves(), cv=EXPANDING, scoring=metric)
        name = f"test_{metric.name}"
        assert_series_equal(
            ours[f"{name}_{metric.coverage}"], alone[name], check_names=False
        )


def test_metrics_of_one_name_are_refused():
    scoring = [
        MeanAbsolutePercentageError(),
        MeanAbsolutePercentageError(symmetric=True),
    ]
    with pytest.raises(ValueError, match="more than one metric of the name 'MeanAbs"):
        backtest(LINEAR, waves(), cv=EXPANDING, scoring=scoring)


def test_metrics_of_distributions_are_refused():
    with pytest.raises(ValueError, match=r"CRPS scores .* 'pred_proba'.*evaluate"):
        backtest(LINEAR, waves(), cv=EXPANDING, scoring=CRPS())


# Panels


def panel(lengths=(90, 90, 90), **kwargs):
    parts = {
        f"s{number}": waves(length, seed=number, **kwargs)
        for number, length in enumerate(lengths)
    }
    frame = pd.concat(parts, names=["series", "time"])
    return frame.to_frame() if isinstance(frame, pd.Series) else frame


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("n_columns", [1, 2])
def test_panels(n_columns, refit):
    scoring = [*point_metrics(), *complete_metrics()]
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=12)
    y = panel(n_columns=n_columns)
    assert_like_evaluate(LINEAR, y, cv, scoring=scoring, refit=refit)


def test_panels_of_an_attention_forecaster_with_covariates():
    y, X = panel(), panel(n_columns=3)
    cv = SlidingWindowSplitter(fh=[1, 2, 3], window_length=60, step_length=12)
    forecaster = attention(past_covariates=["a"])
    scoring = [MeanAbsoluteError(), MeanAbsoluteScaledError(sp=3)]
    assert_like_evaluate(forecaster, y, cv, X, scoring=scoring)


def test_panels_of_unequal_lengths():
    y = panel((90, 80, 74))
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=5)
    scoring = [MeanAbsoluteError(), MeanAbsoluteScaledError(sp=3)]
    assert_like_evaluate(LINEAR, y, cv, scoring=scoring)


@pytest.mark.parametrize("n_columns", [1, 2])
def test_quantiles_of_panels(n_columns):
    forecaster = LinearForecaster(calibration="split")
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=12)
    scoring = [PinballLoss(), IntervalWidth(), EmpiricalCoverage()]
    assert_like_evaluate(forecaster, panel(n_columns=n_columns), cv, scoring=scoring)


def test_hierarchies():
    y = pd.concat({"x": panel(), "y": panel((90, 90))}, names=["group"])
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=12)
    assert_like_evaluate(LINEAR, y, cv)


def test_scores_of_each_series():
    metric = MeanAbsoluteError(multilevel="raw_values")
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=12)
    y = panel()
    ours = backtest(LINEAR, y, cv=cv, scoring=metric)
    theirs = evaluate(LINEAR, cv, y, strategy="no-update_params", scoring=metric)
    for one, other in zip(ours.iloc[:, 0], theirs.iloc[:, 0], strict=True):
        assert_frame_equal(one, other)


# Refits and other options


def test_a_refit_every_third_fold():
    y = waves()
    ours = backtest(LINEAR, y, cv=EXPANDING, refit=3)
    always = backtest(LINEAR, y, cv=EXPANDING, refit=True)
    never = backtest(LINEAR, y, cv=EXPANDING)
    column = "test_MeanAbsolutePercentageError"
    assert_allclose(ours[column][::3], always[column][::3], rtol=1e-12)
    assert_allclose(ours[column][:3], never[column][:3], rtol=1e-12)
    assert (ours[column] != always[column]).sum() == 4
    assert (ours["fit_time"] > 0).tolist() == [True, False, False] * 2 + [True]


def test_the_forecaster_is_left_as_it_was():
    forecaster = attention()
    before = forecaster.get_params()
    backtest(forecaster, waves(), cv=EXPANDING)
    assert not forecaster.is_fitted
    assert forecaster.get_params() == before


def test_arrays():
    y = waves().to_numpy()
    ours = backtest(LINEAR, y, cv=EXPANDING)
    assert_allclose(ours.iloc[:, 0], backtest(LINEAR, waves(), cv=EXPANDING).iloc[:, 0])


def test_times_are_shared_among_the_folds():
    results = backtest(LINEAR, waves(), cv=EXPANDING)
    assert results["fit_time"][0] > 0
    assert (results["fit_time"][1:] == 0).all()
    assert results["pred_time"].nunique() == 1
    assert results["pred_time"][0] > 0


def test_the_future_is_not_looked_at():
    y = load_airline()
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=100, step_length=12)
    whole = backtest(LINEAR, y, cv=cv, return_data=True)
    changed = y.copy()
    changed.iloc[124:] = 0.0
    other = backtest(LINEAR, changed, cv=cv, return_data=True)
    for fold in range(3):
        assert_series_equal(whole["y_pred"][fold], other["y_pred"][fold])
    assert not whole["y_pred"][3].equals(other["y_pred"][3])


def test_a_pretrained_net_with_a_longer_horizon():
    y, X = waves(), waves(n_columns=2, seed=1)
    forecaster = attention().pretrain(panel(), panel(n_columns=2), fh=[1, 2, 3, 4])
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=80, step_length=2)
    with pytest.raises(ValueError, match="forecasts 4 steps, and y ends 2 steps too"):
        backtest(forecaster, y.to_frame(), X, cv=cv)
    cv = CutoffSplitter(cutoffs=np.array([80, 85]), fh=[1, 2], window_length=80)
    assert len(backtest(forecaster, y.to_frame(), X, cv=cv)) == 2


# Errors


@announced
@pytest.mark.parametrize(
    "make",
    [
        NaiveForecaster,
        lambda: TransformedTargetForecaster([("forecast", LinearForecaster())]),
    ],
)
def test_other_forecasters_are_refused(make):
    forecaster = make()
    with pytest.raises(TypeError, match=f"{type(forecaster).__name__}. Use sktime.*ev"):
        backtest(forecaster, waves(), cv=EXPANDING)


def test_what_is_no_splitter_is_refused():
    with pytest.raises(TypeError, match="not an instance"):
        backtest(LINEAR, waves(), cv=5)


def test_what_is_no_series_is_refused():
    with pytest.raises(TypeError, match="y is no series"):
        backtest(LINEAR, "y", cv=EXPANDING)


@pytest.mark.parametrize("refit", [0, -1, "yes", 1.5])
def test_other_values_of_refit_are_refused(refit):
    with pytest.raises(ValueError, match=r"refit=.* is neither a bool nor a positive"):
        backtest(LINEAR, waves(), cv=EXPANDING, refit=refit)


def test_times_that_are_left_out_are_refused():
    index = pd.period_range("2000-01", periods=91, freq="M").delete(5)
    with pytest.raises(ValueError, match=r"y leaves out times, .*asfreq"):
        backtest(LINEAR, waves(index=index), cv=EXPANDING)
    y = panel()
    y = y.drop(index=y.index[100])
    with pytest.raises(ValueError, match=r"leaves out times in the series \('s1',\)"):
        backtest(LINEAR, y, cv=EXPANDING)


def test_covariates_that_lack_times_are_refused():
    X = waves(n_columns=2).drop(index=[7, 8])
    with pytest.raises(ValueError, match=r"lacks the times \['7', '8'\] of y \(2 in"):
        backtest(LINEAR, waves(), X, cv=EXPANDING)


def test_steps_of_the_past_are_refused():
    cv = ExpandingWindowSplitter(fh=[-1, 2], initial_window=60)
    with pytest.raises(ValueError, match=r"Fold 0 .* \[-1, 2\] .* in the future"):
        backtest(LINEAR, waves(), cv=cv)


@pytest.mark.parametrize(
    "cv",
    [
        CutoffFhSplitter(np.array([60, 88]), fh=[1, 2, 3]),
        TemporalTrainTestSplitter(test_size=6),  # whose own fh is 1
    ],
)
def test_folds_that_do_not_test_fh_are_refused(cv):
    with pytest.raises(ValueError, match=r"Fold \d of cv does not test the steps \[1"):
        backtest(LINEAR, waves(), cv=cv)


def test_interleaved_series_are_refused():
    y = panel().swaplevel().sort_index().swaplevel()
    with pytest.raises(ValueError, match=r"interleaved: pass y.sort_index\(\)"):
        backtest(LINEAR, y, cv=EXPANDING)


def test_series_in_any_order():
    y = panel()
    y = pd.concat([y.loc[["s2"]], y.loc[["s0"]], y.loc[["s1"]]])
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=60, step_length=12)
    column = "test_MeanAbsolutePercentageError"
    expected = backtest(LINEAR, panel(), cv=cv)[column]
    assert_allclose(backtest(LINEAR, y, cv=cv)[column], expected, rtol=1e-6)


def test_splits_without_a_fold_are_refused():
    cv = CutoffSplitter(cutoffs=np.array([20, 30]), fh=[1], window_length=5)
    cv.split = lambda y: iter(())
    with pytest.raises(ValueError, match="cv gives no fold for a y of 90 rows"):
        backtest(LINEAR, waves(), cv=cv)


def test_splits_of_series_are_refused():
    cv = InstanceSplitter(KFold(3))
    with pytest.raises(ValueError, match="Fold 0 of cv does not hold training and"):
        backtest(LINEAR, panel(), cv=cv)


def test_intervals_need_held_out_errors():
    with pytest.raises(ValueError, match="no held-out errors"):
        backtest(LINEAR, waves(), cv=EXPANDING, scoring=PinballLoss())
