"""The forecaster: windows, intervals, updates, indices, and no look into the future."""

import copy
import io
import pickle
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from _forecasting import SMALL, make, memory_of, same_weights, waves, weights_of
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from skorch.callbacks import Callback
from sktime.datasets import load_airline
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import (
    MeanAbsolutePercentageError,
    mean_absolute_percentage_error,
)
from sktime.split import ExpandingWindowSplitter, SlidingWindowSplitter
from sktime.transformations.series.boxcox import LogTransformer
from torch import nn

from skattn import Architecture
from skattn.architectures import (
    BidirectionalAttention,
    SelfAttention,
    TemporalAttention,
)

# sktime's own forecasters and pipelines announce a change of sktime 1.3.
announced = pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")

ALL = [
    SMALL,
    TemporalAttention(d_model=8),
    BidirectionalAttention(d_model=8),
]
each_architecture = pytest.mark.parametrize(
    "architecture", ALL, ids=lambda architecture: architecture.name
)


@pytest.fixture(scope="module")
def airline():
    return load_airline()


def units_of(forecaster):
    memory = memory_of(forecaster)
    return memory.mean.tolist(), memory.std.tolist()


# Accuracy


@announced
def test_beats_the_seasonal_naive_on_airline(airline):
    train, test = airline[:-36], airline[-36:]
    fh = np.arange(1, 13)
    forecaster = make(max_epochs=10)
    naive = NaiveForecaster(strategy="last", sp=12)
    errors = {"ours": [], "naive": []}
    for start in (0, 12, 24):
        past = pd.concat([train, test[:start]])
        future = test[start : start + 12]
        for name, model in (("ours", forecaster), ("naive", naive)):
            predicted = model.fit(past, fh=fh).predict()
            errors[name].append(
                mean_absolute_percentage_error(future, predicted, symmetric=True)
            )
    assert np.mean(errors["ours"]) < 0.9 * np.mean(errors["naive"])


@each_architecture
@pytest.mark.parametrize("linear_skip", ["ols", "learned", None])
@pytest.mark.parametrize("normalization", ["last", "instance", None])
def test_every_way_to_normalise_and_start(architecture, normalization, linear_skip):
    y = waves()
    forecaster = make(
        architecture, normalization=normalization, linear_skip=linear_skip
    )
    predicted = forecaster.fit(y, fh=[1, 2, 3]).predict()
    assert (abs(predicted - 10) < 4).all()


@pytest.mark.parametrize("normalization", ["last", "instance", None])
def test_the_unit_and_level_of_the_series_do_not_count(airline, normalization):
    forecaster = make(normalization=normalization, max_epochs=1)
    expected = forecaster.fit(airline, fh=[1, 2, 3]).predict()
    scaled = forecaster.fit(1e4 * airline + 7e5, fh=[1, 2, 3]).predict()
    assert_allclose((scaled - 7e5) / 1e4, expected, rtol=1e-3)


def test_a_linear_start_is_trained_on(airline):
    learned = make(linear_skip="learned", max_epochs=3).fit(airline, fh=[1, 2])
    assert learned.net_.module_.linear.weight.abs().max() > 0
    regressed = make(max_epochs=3).fit(airline, fh=[1, 2])
    longer = make(max_epochs=6).fit(airline, fh=[1, 2])
    weight = "linear.weight"
    assert not torch.equal(weights_of(regressed)[weight], weights_of(longer)[weight])


def test_a_line_is_continued_from_the_start():
    y = pd.Series(np.arange(60.0))
    forecaster = make(max_epochs=1, lr=1e-9, window_length=8)
    assert_allclose(forecaster.fit(y, fh=[1, 2, 3]).predict(), [60, 61, 62], rtol=1e-2)


def test_a_constant_series():
    y = pd.Series(np.full(40, 5.0))
    forecaster = make(calibration="refit").fit(y, fh=[1, 2])
    assert_allclose(forecaster.predict(), 5.0, rtol=1e-5)
    assert_allclose(forecaster.predict_interval(coverage=0.9), 5.0, rtol=1e-5)


# Intervals


@pytest.mark.parametrize("calibration", ["refit", "split"])
def test_intervals_are_nested_and_never_cross(airline, calibration):
    forecaster = make(calibration=calibration).fit(airline, fh=[1, 3, 6])
    coverages = [0.01, 0.1, 0.5, 0.8, 0.9, 0.99]
    intervals = forecaster.predict_interval(coverage=coverages)
    point = forecaster.predict().to_numpy()
    name = airline.name
    lower = np.array([intervals[name, c, "lower"] for c in coverages])
    upper = np.array([intervals[name, c, "upper"] for c in coverages])
    assert (np.diff(lower, axis=0) <= 0).all()
    assert (np.diff(upper, axis=0) >= 0).all()
    assert (lower <= point).all()
    assert (point <= upper).all()
    widths = upper - lower
    # Never narrower along the horizon, but for rounding.
    assert (np.diff(widths, axis=1) >= -1e-9).all()
    assert (widths[-1] > widths[1]).all()


def test_quantiles_are_monotone(airline):
    forecaster = make(calibration="split").fit(airline, fh=[1, 2])
    alpha = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    quantiles = forecaster.predict_quantiles(alpha=alpha)
    assert list(quantiles.columns) == [(airline.name, level) for level in alpha]
    assert (np.diff(quantiles.to_numpy(), axis=1) >= 0).all()
    assert_allclose(quantiles[airline.name, 0.5], forecaster.predict())
    interval = forecaster.predict_interval(coverage=0.9)
    assert_allclose(interval.to_numpy(), quantiles.to_numpy()[:, [1, 5]])


def test_intervals_cover_what_they_say():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(12):
        y = pd.Series(rng.normal(size=130))
        forecaster = make(calibration="split", window_length=6, max_epochs=1)
        interval = forecaster.fit(y[:120], fh=np.arange(1, 11)).predict_interval(
            coverage=0.8
        )
        lower, upper = interval.to_numpy().T
        hits.append((lower <= y[120:]) & (y[120:] <= upper))
    assert 0.72 < np.mean(hits) < 0.92


def test_variances_and_distributions_follow_from_the_intervals(airline):
    forecaster = make(calibration="split").fit(airline, fh=[1, 2])
    assert (forecaster.predict_var() > 0).to_numpy().all()


def test_calibration_modes(airline):
    fits = {
        mode: make(calibration=mode).fit(airline, fh=[1, 2])
        for mode in ("refit", "split", None)
    }
    split, refit = (fits[mode]._calibration.sorted for mode in ("split", "refit"))
    assert_array_equal(split, refit)
    assert not same_weights(fits["split"], fits["refit"])
    with pytest.raises(ValueError, match=r"no held-out errors .* calibration=None"):
        fits[None].predict_interval()
    assert len(refit) == 20


def test_a_split_net_never_saw_the_tail(airline):
    """Ten horizons of two steps are the tail."""
    changed = airline.copy()
    changed[-20:] = changed[-20:].to_numpy()[::-1] * 3
    fits = [
        make(calibration="split").fit(each, fh=[1, 2]) for each in (airline, changed)
    ]
    assert same_weights(*fits)
    assert units_of(fits[0]) == units_of(fits[1])
    residuals = [forecaster._calibration.sorted for forecaster in fits]
    assert not np.array_equal(*residuals)


def test_missing_errors_make_no_intervals_of_width_zero(airline):
    holed = airline.copy()
    holed[-20:] = np.nan
    forecaster = make(calibration="split").fit(holed, fh=[1, 2])
    with pytest.raises(ValueError, match="no held-out errors"):
        forecaster.predict_interval()
    assert np.isfinite(forecaster.predict()).all()


# Windows


@pytest.mark.parametrize(
    ("n", "horizon", "frequency", "expected"),
    [
        (100, 3, None, 8),  # at least 8
        (100, 10, None, 20),  # twice the horizon
        (20, 3, None, 8),
        (12, 4, None, 4),  # half of what one horizon leaves
        (100, 3, "M", 24),  # two seasons
        (100, 13, "M", 36),  # twice the horizon, in whole seasons
        (400, 3, "h", 48),
        (400, 3, "2h", 8),  # a multiple suggests no season
        (400, 3, "D", 14),
        (400, 3, "W-SUN", 104),
        (50, 3, "Q", 8),
    ],
)
def test_window_lengths(n, horizon, frequency, expected):
    index = frequency and pd.period_range("2000", periods=n, freq=frequency)
    forecaster = make(max_epochs=1).fit(waves(n, index=index), fh=[horizon])
    assert forecaster.window_length_ == expected
    assert forecaster.horizon_ == horizon
    assert make(window_length=5).fit(waves(n), fh=[1]).window_length_ == 5


def test_a_datetime_index_suggests_the_season_of_its_period_index():
    index = pd.period_range("2000-01", periods=100, freq="M")
    for stamps in (index.to_timestamp(), index.to_timestamp(how="end").normalize()):
        y = waves(100, index=pd.DatetimeIndex(stamps, freq="infer"))
        assert make(max_epochs=1).fit(y, fh=[1]).window_length_ == 24


def test_a_window_longer_than_the_series():
    forecaster = make(window_length=50).fit(waves(20), fh=[1, 2])
    assert np.isfinite(forecaster.predict()).all()


class FullWindows(Architecture):
    """Forecast by a linear map of windows without padding."""

    api_version = 1
    name = "full_windows"
    supports = {"series": {"forecasting"}}
    citation = "None"

    def build(self, data):
        return nn.Linear(data.length, data.horizon)


def test_an_architecture_without_a_mask_needs_a_target_after_a_full_window():
    assert len(make(FullWindows(), window_length=12).fit(waves(13), fh=[1]).predict())
    for n in (11, 12):
        with pytest.raises(ValueError, match=f"has {n} steps, .* needs 13.*'mask'"):
            make(FullWindows(), window_length=12).fit(waves(n), fh=[1])
    with pytest.raises(ValueError, match="as far as it is not held out, has 10 steps"):
        make(FullWindows(), window_length=12, calibration="split").fit(
            waves(20), fh=[1]
        )


@pytest.mark.parametrize("calibration", ["refit", "split"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_very_short_series(n, calibration):
    y = waves(n, index=pd.period_range("2000-01", periods=n, freq="M"))
    forecaster = make(calibration=calibration).fit(y, fh=[1, 2, 3])
    predicted = forecaster.predict()
    assert list(predicted.index) == list(pd.period_range(y.index[-1], periods=4)[1:])
    assert np.isfinite(predicted).all()
    if n >= 3:
        assert np.isfinite(forecaster.predict_interval()).to_numpy().all()
    if n <= 2:
        with pytest.raises(ValueError, match="at least 3 steps"):
            forecaster.predict_interval()


# Horizons and indices


def test_horizons_with_gaps(airline):
    forecaster = make(calibration="split").fit(airline, fh=[2, 5])
    assert forecaster.horizon_ == 5
    sparse = forecaster.predict()
    dense = make(calibration="split").fit(airline, fh=[1, 2, 3, 4, 5])
    assert list(sparse.index) == [airline.index[-1] + 2, airline.index[-1] + 5]
    assert_array_equal(sparse, dense.predict().iloc[[1, 4]])
    assert_array_equal(
        forecaster.predict_interval(), dense.predict_interval().iloc[[1, 4]]
    )


def test_absolute_horizons(airline):
    relative = make().fit(airline[:100], fh=[1, 2, 3]).predict()
    absolute = make().fit(airline[:100], fh=airline.index[100:103]).predict()
    pd.testing.assert_series_equal(absolute, relative, check_names=False)


def test_horizons_of_the_past_are_refused(airline):
    for fh in ([-1, 0], [0, 2]):
        with pytest.raises(
            (ValueError, NotImplementedError), match=r"in-sample|future"
        ):
            make().fit(airline, fh=fh).predict()


INDICES = {
    "period": pd.period_range("2000-01", periods=60, freq="M"),
    "datetime": pd.date_range("2000-01-01", periods=60, freq="D"),
    "hours": pd.date_range("2000-01-01", periods=60, freq="2h"),
    "range": pd.RangeIndex(60),
    "offset": pd.RangeIndex(7, 67),
    "integer": pd.Index(np.arange(60)),
}


@pytest.mark.parametrize("kind", INDICES)
def test_the_kind_of_index_does_not_count(kind):
    expected = make(window_length=8).fit(waves(), fh=[1, 3]).predict()
    y = waves(index=INDICES[kind])
    found = make(window_length=8).fit(y, fh=[1, 3]).predict()
    assert_array_equal(found, expected)
    assert found.index.dtype == y.index.dtype
    assert found.name == y.name


@pytest.mark.parametrize("kind", ["period", "integer", "datetime"])
def test_times_that_an_index_leaves_out_are_missing_values(kind):
    y = waves(index=INDICES[kind])
    left_out = y.drop(y.index[[30, 31, 58]])
    if kind == "datetime":
        y.index.freq = None
    holed = y.copy()
    holed.iloc[[30, 31, 58]] = np.nan
    expected = make(window_length=8).fit(holed, fh=[1, 2])
    if kind == "datetime":
        # Nothing tells its frequency, so nothing tells what is left out.
        with pytest.raises(ValueError, match="frequency"):
            make(window_length=8).fit(left_out, fh=[1, 2])
        return
    found = make(window_length=8).fit(left_out, fh=[1, 2])
    assert same_weights(found, expected)
    assert_array_equal(found.predict(), expected.predict())


@pytest.mark.parametrize("kind", ["period", "integer", "datetime"])
def test_times_that_occur_twice_are_refused(kind):
    y = waves(index=INDICES[kind])
    double = pd.concat([y, y[:1]]).sort_index()
    with pytest.raises(ValueError, match="more than once"):
        make().fit(double, fh=[1])


# Values


def test_several_series_at_once(airline):
    frame = pd.DataFrame({"a": airline, "b": airline[::-1].to_numpy() / 100})
    forecaster = make(calibration="split").fit(frame, fh=[1, 2])
    predicted = forecaster.predict()
    assert predicted.shape == (2, 2)
    assert list(predicted.columns) == ["a", "b"]
    assert predicted["a"].mean() > 50 * predicted["b"].mean()
    intervals = forecaster.predict_interval(coverage=[0.5, 0.9])
    assert intervals.shape == (2, 8)
    assert (intervals["a", 0.5, "lower"] < predicted["a"]).all()
    assert (predicted["b"] < intervals["b", 0.9, "upper"]).all()


@each_architecture
def test_missing_values(architecture, airline):
    holed = airline.copy()
    holed.iloc[[5, 60, 61, -1]] = np.nan
    forecaster = make(architecture, calibration="split").fit(holed, fh=[1, 2])
    assert np.isfinite(forecaster.predict()).all()
    assert np.isfinite(forecaster.predict_interval().to_numpy()).all()
    later = pd.period_range(airline.index[-1] + 1, periods=2)
    forecaster.update(pd.Series(np.nan, index=later, name=airline.name))
    assert np.isfinite(forecaster.predict()).all()


def test_missing_values_are_refused_where_they_are_not_consumed(airline):
    class Blind(SelfAttention):
        name = "blind"
        consumes = ("mask",)

    holed = airline.copy()
    holed.iloc[5] = np.nan
    with pytest.raises(ValueError, match=r"'blind' does not consume 'observed'"):
        make(Blind(d_model=8, num_heads=2)).fit(holed, fh=[1])


def test_values_that_are_none_are_refused(airline):
    for bad in (np.inf, -np.inf):
        broken = airline.copy()
        broken.iloc[5] = bad
        with pytest.raises(ValueError, match="infinit"):
            make().fit(broken, fh=[1])
        forecaster = make().fit(airline[:-5], fh=[1])
        with pytest.raises(ValueError, match="infinit"):
            forecaster.update(airline[-5:].replace(airline.iloc[-1], bad))
    with pytest.raises(ValueError, match="no value"):
        make().fit(airline * np.nan, fh=[1])


# Updates


def test_an_update_without_parameters_moves_the_window_alone(airline):
    forecaster = make(calibration="split").fit(airline[:120], fh=[1, 2, 3])
    before = weights_of(forecaster)
    forecaster.update(airline[120:130], update_params=False)
    assert all(
        torch.equal(weights_of(forecaster)[name], before[name]) for name in before
    )
    assert forecaster.n_iter_ == len(forecaster.history_) == 2
    predicted = forecaster.predict()
    assert list(predicted.index) == list(airline.index[130:133])
    # The same net over the same window, given all at once.
    width = forecaster.window_length_ + forecaster.horizon_
    kept = memory_of(forecaster).y
    assert_array_equal(kept.to_numpy()[:, 0], airline[130 - width : 130])
    in_steps = make(calibration="split").fit(airline[:120], fh=[1, 2, 3])
    for start in range(120, 130):
        in_steps.update(airline[start : start + 1], update_params=False)
    assert_array_equal(in_steps.predict(), predicted)
    assert_array_equal(in_steps.predict_interval(), forecaster.predict_interval())


class Rates(Callback):
    """Keep the learning rates; a copy is the same object."""

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def on_batch_begin(self, net, training=False, **kwargs):
        self.seen.append(net.optimizer_.param_groups[0]["lr"])


def test_an_update_with_parameters_trains_a_little(airline):
    rates = Rates()
    forecaster = make(callbacks=[rates]).fit(airline[:120], fh=[1, 2, 3])
    before = weights_of(forecaster)
    rates.seen.clear()
    forecaster.update(airline[120:130])
    after = weights_of(forecaster)
    assert not torch.equal(after["module.cls"], before["module.cls"])
    assert_allclose(rates.seen, 0.1 * forecaster.lr)
    assert list(forecaster.predict().index) == list(airline.index[130:133])
    assert forecaster.n_iter_ == len(forecaster.net_.history) == 3
    other = make().fit(airline[:120], fh=[1, 2, 3]).update(airline[120:130])
    assert same_weights(other, forecaster)


def test_an_update_that_repeats_what_is_known(airline):
    forecaster = make().fit(airline[:120], fh=[1, 2])
    overlapping = copy.deepcopy(forecaster)
    forecaster.update(airline[120:130], update_params=False)
    overlapping.update(airline[110:130], update_params=False)
    assert_array_equal(overlapping.predict(), forecaster.predict())


def test_an_update_goes_on_in_time(airline):
    forecaster = make().fit(airline[:120], fh=[1])
    with pytest.raises(ValueError, match=r"ends at 1949-12, before the end 1958-12"):
        forecaster.update(airline[:12])
    quarters = airline[120:].resample("Q").mean()
    with pytest.raises(ValueError, match="frequency Q-DEC"):
        forecaster.update(quarters)


@pytest.mark.parametrize("kind", ["period", "integer", "datetime", "range"])
def test_an_update_with_a_gap_fills_it_with_missing_values(kind):
    y = waves(index=INDICES[kind])
    jumped = make(window_length=8).fit(y[:40], fh=[1, 2])
    jumped.update(y[43:46], update_params=False)
    holed = y[:46].copy()
    holed[40:43] = np.nan
    expected = make(window_length=8).fit(y[:40], fh=[1, 2])
    expected.update(holed[40:46], update_params=False)
    assert_array_equal(memory_of(jumped).y, memory_of(expected).y)
    assert_array_equal(jumped.predict(), expected.predict())
    assert jumped.predict().index[0] == y.index[46]


@pytest.mark.parametrize("update_params", [False, True])
def test_an_update_finds_its_columns_by_name(airline, update_params):
    frame = pd.DataFrame({"b": airline, "a": airline[::-1].to_numpy() / 100})
    expected, found = (make().fit(frame[:120], fh=[1, 2]) for _ in range(2))
    expected.update(frame[120:130], update_params=update_params)
    found.update(frame[["a", "b"]][120:130], update_params=update_params)
    assert list(found.predict().columns) == ["b", "a"]
    assert_array_equal(memory_of(found).y.iloc[-10:], frame[120:130])
    assert_array_equal(found.predict(), expected.predict())
    assert same_weights(found, expected)


def test_an_update_with_other_columns_is_refused(airline):
    frame = pd.DataFrame({"b": airline, "a": airline[::-1].to_numpy() / 100})
    forecaster = make().fit(frame[:120], fh=[1, 2])
    message = r"\['b', 'c'\], but .* with \['b', 'a'\]: \['a'\] .* \['c'\] are new"
    with pytest.raises(ValueError, match=message):
        forecaster.update(frame[120:].rename(columns={"a": "c"}))
    with pytest.raises(ValueError, match=r"\['a'\] are missing"):
        forecaster.update(frame[["b"]][120:])
    single = make().fit(airline[:120], fh=[1])
    with pytest.raises(ValueError, match=r"\['cars'\] are new"):
        single.update(airline[120:].rename("cars"))


@pytest.mark.parametrize("names", [("a", None), (None, "a")])
def test_a_nameless_series_is_updated_whatever_its_name(airline, names):
    forecaster = make().fit(airline[:120].rename(names[0]), fh=[1])
    forecaster.update(airline[120:].rename(names[1]), update_params=False)
    assert_array_equal(memory_of(forecaster).y.iloc[-24:, 0], airline[120:])
    assert np.isfinite(forecaster.predict()).all()


@announced
def test_walking_on_by_updates(airline):
    forecaster = make().fit(airline[:120], fh=[1, 2])
    splitter = SlidingWindowSplitter(fh=[1, 2], window_length=6, step_length=6)
    predicted = forecaster.update_predict(airline[120:], splitter)
    # One column for each cutoff, with a value for each step of the horizon.
    assert (np.isfinite(predicted).sum() == 2).all()
    assert np.isfinite(predicted).sum().size == 3


# Seeds, copies


@each_architecture
@pytest.mark.parametrize("early_stopping", [False, True])
def test_one_seed_one_forecast(architecture, early_stopping, airline):
    params = {"early_stopping": early_stopping, "calibration": "refit"}
    first = make(architecture, **params).fit(airline, fh=[1, 2])
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = make(architecture, **params).fit(airline, fh=[1, 2])
    assert torch.equal(torch.get_rng_state(), state)
    assert same_weights(first, second)
    assert_array_equal(first.predict(), second.predict())
    assert_array_equal(first.predict_interval(), second.predict_interval())
    assert same_weights(first.fit(airline, fh=[1, 2]), second)
    other = make(architecture, random_state=1, **params).fit(airline, fh=[1, 2])
    assert not same_weights(other, second)


def reload_joblib(estimator):
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


@pytest.mark.parametrize(
    "reload",
    [lambda each: pickle.loads(pickle.dumps(each)), reload_joblib, copy.deepcopy],
    ids=["pickle", "joblib", "deepcopy"],
)
def test_copies_forecast_and_update_alike(reload, airline):
    forecaster = make(calibration="split").fit(airline[:120], fh=[1, 2])
    copied = reload(forecaster)
    assert_array_equal(copied.predict(), forecaster.predict())
    assert_array_equal(copied.predict_interval(), forecaster.predict_interval())
    for each in (copied, forecaster):
        each.update(airline[120:130])
    assert same_weights(copied, forecaster)
    assert_array_equal(copied.predict(), forecaster.predict())


def test_clones_fit_alike(airline):
    forecaster = make().fit(airline, fh=[1])
    for fresh in (clone(forecaster), forecaster.clone()):
        assert not fresh.is_fitted
        assert same_weights(fresh.fit(airline, fh=[1]), forecaster)


def test_a_second_fit_starts_anew(airline):
    forecaster = make().fit(airline[:60], fh=[1, 2, 3])
    forecaster.fit(airline, fh=[1])
    assert same_weights(forecaster, make().fit(airline, fh=[1]))
    assert forecaster.n_iter_ == 2


# No look into the future


def test_what_comes_after_the_cutoff_does_not_matter(airline):
    changed = airline.copy()
    changed[100:] *= -3
    fits = [
        make(calibration="refit", early_stopping=True).fit(each[:100], fh=[1, 2])
        for each in (airline, changed)
    ]
    assert same_weights(*fits)


@pytest.mark.parametrize("normalization", ["last", "instance", None])
@pytest.mark.parametrize("linear_skip", ["learned", None])
def test_early_stopping_holds_out_the_end(airline, normalization, linear_skip):
    """The tail decides when to stop, and neither scales nor weights before that."""
    n_tail = round(0.25 * len(airline))
    late, early = airline.copy(), airline.copy()
    late[-n_tail:] = late[-n_tail:].to_numpy()[::-1] * 5
    early[:n_tail] = early[:n_tail].to_numpy()[::-1] * 5
    options = {
        "early_stopping": True,
        "validation_fraction": 0.25,
        "patience": 5,
        "normalization": normalization,
        "linear_skip": linear_skip,
    }
    fits = [make(**options).fit(each, fh=[1, 2]) for each in (airline, late, early)]
    trained = [forecaster.history_[:, "train_loss"] for forecaster in fits]
    assert trained[0] == trained[1] != trained[2]
    assert units_of(fits[0]) == units_of(fits[1]) != units_of(fits[2])
    held_out = [forecaster.history_[:, "valid_loss"] for forecaster in fits]
    assert held_out[0] != held_out[1]


def test_early_stopping_without_steps_to_train_on_is_refused():
    with pytest.raises(ValueError, match=r"validation_fraction=0.9 of 3 steps"):
        make(early_stopping=True, validation_fraction=0.9).fit(waves(3), fh=[1])


def test_a_forecast_sees_only_its_window(airline):
    forecaster = make(window_length=12).fit(airline, fh=[1, 2])
    older = airline.copy()
    older[:-14] = 0.0
    other = copy.deepcopy(forecaster)
    other._remember({(): replace(memory_of(forecaster), y=older.to_frame())})
    assert_array_equal(other.predict(), forecaster.predict())


# In sktime's company


@announced
def test_in_a_pipeline(airline):
    pipeline = TransformedTargetForecaster(
        [("log", LogTransformer()), ("net", make(calibration="split"))]
    )
    predicted = pipeline.fit(airline, fh=[1, 2]).predict()
    by_hand = make().set_params(calibration="split").fit(np.log(airline), fh=[1, 2])
    assert_allclose(predicted, np.exp(by_hand.predict()))
    intervals = pipeline.predict_interval(coverage=0.9)
    assert (intervals.iloc[:, 0] < predicted).all()


@announced
@pytest.mark.parametrize("strategy", ["refit", "update", "no-update_params"])
def test_a_backtest(airline, strategy):
    splitter = ExpandingWindowSplitter(fh=[1, 2], initial_window=120, step_length=8)
    results = evaluate(
        make(max_epochs=1),
        splitter,
        airline,
        strategy=strategy,
        scoring=MeanAbsolutePercentageError(),
        return_data=True,
        error_score="raise",
    )
    assert len(results) == 3
    assert results["test_MeanAbsolutePercentageError"].max() < 0.5
    first = make(max_epochs=1).fit(airline[:120], fh=[1, 2]).predict()
    assert_array_equal(results["y_pred"].iloc[0], first)


@announced
def test_a_search_inside_an_architecture(airline):
    given = SelfAttention(d_model=8, num_heads=2, num_layers=1)
    search = ForecastingGridSearchCV(
        make(given, max_epochs=1),
        ExpandingWindowSplitter(fh=[1, 2], initial_window=132, step_length=12),
        {"architecture__num_heads": [1, 2, 4]},
        scoring=MeanAbsolutePercentageError(),
        backend="None",
        error_score="raise",
    ).fit(airline, fh=[1, 2])
    rows = [row["architecture__num_heads"] for row in search.cv_results_["params"]]
    assert rows == [1, 2, 4]
    assert search.cv_results_["mean_test_MeanAbsolutePercentageError"].nunique() == 3
    best = search.best_params_["architecture__num_heads"]
    assert search.best_forecaster_.architecture_.num_heads == best
    assert given.num_heads == 2
    assert np.isfinite(search.predict()).all()


def test_a_diverging_net_is_an_error(airline):
    forecaster = make(lr=1e30, optimizer="SGD", gradient_clip=None, lr_schedule=None)
    with pytest.raises(ValueError, match="training diverged"):
        forecaster.set_params(max_epochs=20, loss="squared_error").fit(airline, fh=[1])


class Interrupt(Callback):
    """Press Ctrl-C in the second epoch, and count all epochs."""

    def __init__(self):
        self.epochs = 0

    def __deepcopy__(self, memo):
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.epochs += 1

    def on_batch_end(self, net, **kwargs):
        if self.epochs == 2:
            raise KeyboardInterrupt


def test_an_interrupted_calibration_is_the_end_of_training(airline):
    interrupt = Interrupt()
    forecaster = make(
        calibration="refit", max_epochs=5, early_stopping=False, callbacks=[interrupt]
    )
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 5"):
        forecaster.fit(airline, fh=[1, 2])
    assert interrupt.epochs == forecaster.n_iter_ == 2
    assert np.isfinite(forecaster.predict()).all()
    assert np.isfinite(forecaster.predict_interval()).to_numpy().all()


def test_forecasts_that_are_not_finite_are_an_error(airline):
    forecaster = make(calibration="split").fit(airline, fh=[1, 2])
    with torch.no_grad():
        forecaster.net_.module_.linear.weight.fill_(torch.nan)
    for predict in (forecaster.predict, forecaster.predict_interval):
        with pytest.raises(ValueError, match="forecasts are not finite"):
            predict()
