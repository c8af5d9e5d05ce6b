"""Panels and hierarchies: one net for many series."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from _forecasting import (
    SMALL,
    make,
    make_panel,
    months,
    same_weights,
    waves,
)
from numpy.testing import assert_allclose, assert_array_equal
from sktime.utils._testing.hierarchical import _make_hierarchical

from skattn.architectures import PatchTST, SelfAttention, TemporalAttention

FH = [1, 2, 3]
PANEL = make_panel()


@pytest.fixture(scope="module")
def fitted():
    return make(window_length=8, calibration="split").fit(PANEL, fh=FH)


def hierarchy():
    y = pd.concat(
        {region: make_panel((30, 30), name="shop") for region in ("north", "south")},
        names=["region"],
    )
    y.loc["south"] = 2 * y.loc["south"].to_numpy() + 3
    return y


# Indices


def test_a_panel_is_forecast_by_one_net(fitted):
    predicted = fitted.predict()
    expected = pd.MultiIndex.from_product(
        [["a", "b", "c"], months(43)[40:]], names=["series", "time"]
    )
    pd.testing.assert_index_equal(predicted.index, expected)
    assert list(predicted.columns) == list(PANEL.columns)
    levels = predicted.groupby("series").mean().to_numpy()[:, 0]
    assert_allclose(levels, [10, 100, 1000], rtol=0.2)
    assert fitted.net_.module.data.n_series == 4  # with "unknown"


def test_a_hierarchy_keeps_its_levels():
    forecaster = make(window_length=8, calibration="split").fit(hierarchy(), fh=[1, 3])
    predicted = forecaster.predict()
    assert list(predicted.index.names) == ["region", "shop", "time"]
    keys = [("north", "a"), ("north", "b"), ("south", "a"), ("south", "b")]
    assert list(predicted.index.droplevel(-1).unique()) == keys
    assert list(predicted.loc["south", "b"].index) == list(months(33)[[30, 32]])
    intervals = forecaster.predict_interval(coverage=[0.5, 0.9])
    pd.testing.assert_index_equal(intervals.index, predicted.index)
    assert intervals.shape == (8, 4)


def test_the_index_is_that_of_a_single_series_each(fitted):
    """sktime's own names, types and order of levels."""
    y = _make_hierarchical((2, 3), min_timepoints=20, max_timepoints=20, random_state=0)
    predicted = make(window_length=4).fit(y, fh=[1, 2]).predict()
    assert list(predicted.index.names) == list(y.index.names)
    assert (predicted.index.dtypes == y.index.dtypes).all()
    keys = y.index.droplevel(-1).unique()
    pd.testing.assert_index_equal(predicted.index.droplevel(-1).unique(), keys)
    for key in keys:
        end = y.loc[key].index[-1]
        assert list(predicted.loc[key].index) == list(pd.date_range(end, periods=3)[1:])


def test_one_series_in_a_panel_is_a_panel():
    y = PANEL.loc[["b"]]
    predicted = make(window_length=8).fit(y, fh=FH).predict()
    assert predicted.index.nlevels == 2
    alone = make(window_length=8).fit(PANEL.loc["b"], fh=FH)
    assert_array_equal(predicted, alone.predict())
    assert alone.net_.module.data.n_series == 0  # nothing to tell apart


def test_several_targets_in_each_series():
    y = make_panel((30, 30), n_columns=2)
    forecaster = make(window_length=8, calibration="split").fit(y, fh=FH)
    predicted = forecaster.predict()
    assert predicted.shape == (6, 2)
    quantiles = forecaster.predict_quantiles(alpha=[0.1, 0.9])
    assert list(quantiles.columns) == [(n, a) for n in y.columns for a in (0.1, 0.9)]
    for name in y.columns:
        assert (quantiles[name, 0.1] < predicted[name]).all()
        assert (predicted[name] < quantiles[name, 0.9]).all()


# Lengths


def test_series_of_unequal_length_end_when_they_end():
    y = make_panel((40, 25, 30), ends=(40, 30, 35))
    forecaster = make(window_length=8, calibration="refit").fit(y, fh=[1, 3])
    predicted = forecaster.predict()
    for key, end in (("a", 40), ("b", 30), ("c", 35)):
        assert list(predicted.loc[key].index) == list(months(end + 3)[[end, end + 2]])
    assert np.isfinite(forecaster.predict_interval()).to_numpy().all()


@pytest.mark.parametrize("normalization", ["last", "instance", None])
def test_series_shorter_than_the_window(normalization):
    y = make_panel((40, 5, 2, 1))
    forecaster = make(
        window_length=12, normalization=normalization, calibration="refit"
    ).fit(y, fh=FH)
    assert forecaster.window_length_ == 12
    predicted = forecaster.predict()
    assert np.isfinite(predicted).to_numpy().all()
    assert np.isfinite(forecaster.predict_interval()).to_numpy().all()
    levels = predicted.groupby("series").mean().to_numpy()[:, 0]
    assert_allclose(levels, [10, 100, 1000, 10000], rtol=0.4)


def test_short_series_are_refused_where_padding_is_not_consumed():
    class Rigid(SelfAttention):
        name = "rigid"
        consumes = ("observed",)

    with pytest.raises(ValueError, match=r"has 5 steps, .*'rigid' needs 13"):
        make(Rigid(d_model=8), window_length=12).fit(make_panel((40, 5)), fh=FH)


def test_the_median_length_decides_the_window():
    y = make_panel((100, 100, 6))
    forecaster = make(max_epochs=1).fit(y, fh=FH)
    assert forecaster.window_length_ == 24


# One net


def alone(forecaster, key):
    """Give a copy of a forecaster that holds one of its series."""
    copied = copy.deepcopy(forecaster)
    copied._memories = {key: forecaster._memories[key]}
    return copied


@pytest.mark.parametrize("normalization", ["last", "instance", None])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_forecast_does_not_depend_on_the_other_series(normalization, gaps):
    y = make_panel((40, 30, 5))
    if gaps:
        y.loc[("b", y.loc["b"].index[-2]), :] = np.nan
    forecaster = make(window_length=8, normalization=normalization).fit(y, fh=FH)
    predicted = forecaster.predict()
    for key in "abc":
        assert_array_equal(alone(forecaster, (key,)).predict(), predicted.loc[[key]])


def test_no_series_counts_by_its_unit():
    params = {"window_length": 8, "max_epochs": 1, "calibration": "split"}
    changed = PANEL.copy()
    changed.loc["b"] = 1e4 * changed.loc["b"].to_numpy() - 7e6
    fits = [make(**params).fit(y, fh=FH) for y in (PANEL, changed)]
    expected, found = (forecaster.predict() for forecaster in fits)
    assert_allclose(found.loc["a"], expected.loc["a"], rtol=1e-4)
    assert_allclose((found.loc["b"] + 7e6) / 1e4, expected.loc["b"], rtol=1e-3)
    widths = [fit.predict_interval().T.diff().iloc[1] for fit in fits]
    assert_allclose(widths[1]["b"], 1e4 * widths[0]["b"], rtol=1e-3)


def test_the_net_tells_series_apart():
    """Two series whose windows are alike, and whose futures are opposite."""
    rng = np.random.default_rng(0)
    parts = {}
    for sign, key in ((1, "up"), (-1, "down")):
        values = np.zeros(400)
        values[10::20] = sign * 4.0  # after ten steps of nothing
        parts[key] = pd.DataFrame({"y": values + 0.05 * rng.normal(size=400)})
    y = pd.concat(parts, names=["series", "time"])
    forecaster = make(
        window_length=4,
        max_epochs=20,
        lr=0.02,
        linear_skip=None,
        normalization=None,
        early_stopping=False,
        loss="squared_error",
    ).fit(y[y.index.get_level_values("time") < 390], fh=[1])
    up, down = forecaster.predict().to_numpy()[:, 0]
    assert up > down + 0.1


@pytest.mark.parametrize(
    "architecture", [SMALL, TemporalAttention(d_model=8)], ids=lambda each: each.name
)
def test_two_fits_of_one_seed_are_equal(architecture):
    params = {"window_length": 8, "calibration": "refit"}
    y = make_panel((40, 30, 5))
    first = make(architecture, **params).fit(y, fh=FH)
    torch.manual_seed(99)
    second = make(architecture, **params).fit(y, fh=FH)
    assert same_weights(first, second)
    assert_array_equal(first.predict(), second.predict())
    assert_array_equal(first.predict_interval(), second.predict_interval())
    other = make(architecture, random_state=1, **params).fit(y, fh=FH)
    assert not same_weights(other, second)


def test_no_series_looks_into_the_tail_of_another():
    """A split net has seen no tail; early stopping holds out the end of each."""
    changed = PANEL.copy()
    for key in "abc":
        end = changed.loc[key].index[-20:]
        rows = pd.MultiIndex.from_product([[key], end])
        changed.loc[rows] = changed.loc[rows].to_numpy()[::-1] * 3
    fits = [
        make(window_length=8, calibration="split").fit(y, fh=FH)
        for y in (PANEL, changed)
    ]
    assert same_weights(*fits)
    early = {"early_stopping": True, "validation_fraction": 0.5, "patience": 2}
    fits = [
        make(window_length=8, linear_skip=None, **early).fit(y, fh=FH)
        for y in (PANEL, changed)
    ]
    losses = [fit.history_[:, ("train_loss", "valid_loss")] for fit in fits]
    assert losses[0][0][0] == losses[1][0][0]
    assert losses[0][0][1] != losses[1][0][1]


def test_a_channel_independent_architecture_takes_panels():
    net = PatchTST(d_model=8, num_heads=2, num_layers=1)
    y = make_panel((40, 30), n_columns=2)
    predicted = make(net, window_length=12).fit(y, fh=FH).predict()
    assert np.isfinite(predicted).to_numpy().all()


def test_drawn_windows_are_fewer_and_as_reproducible():
    params = {"window_length": 8, "windows_per_epoch": 20, "batch_size": 10}
    first, second = (make(**params).fit(PANEL, fh=FH) for _ in range(2))
    assert same_weights(first, second)
    whole = make(window_length=8, batch_size=10).fit(PANEL, fh=FH)
    assert not same_weights(first, whole)
    many = make(**{**params, "windows_per_epoch": 10_000}).fit(PANEL, fh=FH)
    assert same_weights(many, whole)


# Updates


def later(key, n, start=40, value=None):
    """Give months after the end of the panel's series."""
    index = pd.MultiIndex.from_product(
        [[key], months(start + n)[start:]], names=PANEL.index.names
    )
    values = waves(start + n)[start:].to_numpy() if value is None else value
    return pd.DataFrame({"y0": values}, index=index)


@pytest.mark.parametrize("update_params", [False, True])
def test_an_update_of_some_series_moves_these_alone(fitted, update_params):
    forecaster = copy.deepcopy(fitted)
    before = forecaster.predict()
    new = pd.concat([later("a", 4), later("c", 2)])
    forecaster.update(new, update_params=update_params)
    predicted = forecaster.predict()
    assert list(predicted.index.droplevel(-1).unique()) == ["a", "b", "c"]
    for key, end in (("a", 44), ("b", 40), ("c", 42)):
        assert list(predicted.loc[key].index) == list(months(end + 3)[end:])
    assert same_weights(forecaster, fitted) is (not update_params)
    if not update_params:
        assert_array_equal(predicted.loc["b"], before.loc["b"])
        assert forecaster.n_iter_ == fitted.n_iter_
    else:
        assert forecaster.n_iter_ == fitted.n_iter_ + 1
    assert np.isfinite(forecaster.predict_interval()).to_numpy().all()


@pytest.mark.parametrize("update_params", [False, True])
def test_a_new_series_is_unknown(fitted, update_params):
    forecaster = copy.deepcopy(fitted)
    y = make_panel((30, 30, 30, 30, 30)).loc[["d", "e"]]
    forecaster.update(y, update_params=update_params)
    codes = {key: memory.code for key, memory in forecaster._memories.items()}
    assert codes == {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 0, ("e",): 0}
    predicted = forecaster.predict()
    assert list(predicted.index.droplevel(-1).unique()) == list("abcde")
    assert predicted.loc["e"].to_numpy().mean() == pytest.approx(1e5, rel=0.2)
    assert list(predicted.loc["d"].index) == list(months(33)[30:])
    if not update_params:
        # A new series moves no other one.
        assert_array_equal(predicted.loc[list("abc")], fitted.predict())
    forecaster.update(later("d", 2, start=30, value=10_000.0), update_params=False)
    assert forecaster._memories["d",].code == 0
    assert forecaster.predict().loc["d"].index[0] == months(33)[32]


def test_an_update_goes_on_in_time_in_each_series(fitted):
    forecaster = copy.deepcopy(fitted).update(later("a", 6), update_params=False)
    # Behind the end of another series, but not behind its own.
    forecaster.update(later("b", 2), update_params=False)
    assert forecaster.predict().loc["b"].index[0] == months(43)[42]
    with pytest.raises(ValueError, match="ends at 2003-06, before the end 2003-10"):
        forecaster.update(later("a", 2), update_params=False)


def test_a_new_series_of_one_step_is_forecast(fitted):
    forecaster = copy.deepcopy(fitted)
    forecaster.update(later("z", 1, value=77.0), update_params=False)
    assert_allclose(forecaster.predict().loc["z"], 77.0, atol=5)


def test_an_update_in_steps_equals_one_at_once(fitted):
    at_once, in_steps = copy.deepcopy(fitted), copy.deepcopy(fitted)
    at_once.update(later("b", 6), update_params=False)
    for start in (40, 42, 44):
        in_steps.update(later("b", 2, start=start), update_params=False)
    found, expected = in_steps.predict(), at_once.predict()
    assert list(found.index) == list(expected.index)
    assert found.loc["b"].index[0] == months(47)[46]
    assert_array_equal(found.loc[["a", "c"]], fitted.predict().loc[["a", "c"]])


@pytest.mark.parametrize(
    ("fit_on", "update_by"),
    [(PANEL, PANEL.loc["a"]), (PANEL.loc["a"], PANEL), (hierarchy(), PANEL)],
    ids=["panel-series", "series-panel", "hierarchy-panel"],
)
def test_an_update_of_another_shape_is_refused(fit_on, update_by):
    forecaster = make(window_length=8, max_epochs=1).fit(fit_on, fh=FH)
    with pytest.raises(ValueError, match="levels"):
        forecaster.update(update_by, update_params=False)


# Errors


def test_an_empty_series_is_named():
    y = PANEL.copy()
    y.loc["b"] = np.nan
    with pytest.raises(ValueError, match=r"no value at all .*'y0'.* of .*'b'"):
        make().fit(y, fh=FH)


def test_an_empty_new_series_is_named(fitted):
    with pytest.raises(ValueError, match=r"no value at all .*'y0'.* of .*'z'"):
        copy.deepcopy(fitted).update(later("z", 3, value=np.nan))


def test_times_that_occur_twice_are_refused():
    double = pd.concat([PANEL, PANEL.loc[["b"]].iloc[3:4]]).sort_index()
    with pytest.raises(ValueError, match="more than once"):
        make().fit(double, fh=FH)


def test_times_without_a_frequency_are_refused():
    y = PANEL.copy()
    times = y.index.levels[1].to_timestamp()
    y.index = y.index.set_levels(times, level=1)
    predicted = make(window_length=8).fit(y, fh=FH).predict()
    assert predicted.index.get_level_values(-1)[0] == pd.Timestamp("2003-05-01")
    # The other series tell which times one of them leaves out.
    holed = make(window_length=8).fit(y.drop(index=[("b", times[35])]), fh=FH)
    known = holed._memories[("b",)].y.notna().to_numpy().ravel()
    assert (~known).sum() == 1
    names = y.index.get_level_values(0).unique()
    gaps = [(name, times[at]) for name in names for at in (7, 20)]
    with pytest.raises(ValueError, match=r"In the series \('a',\).*frequency"):
        make(window_length=8).fit(y.drop(index=gaps), fh=FH)


def test_a_date_alone_does_not_tell_what_follows():
    y = pd.Series([1.0, 2.0], index=pd.to_datetime(["2020-01-01", "2020-01-02"]))
    X = pd.DataFrame({"x": [0.0, 1.0]}, index=y.index)
    later = pd.DataFrame({"x": [1.0]}, index=pd.to_datetime(["2020-01-03"]))
    fitted = make(calibration=None).fit(y, X=X, fh=[1])
    with pytest.raises(ValueError, match=r"frequency of y cannot be told from 2 dates"):
        fitted.predict(X=later)


def test_integer_times_that_are_not_numbered_one_by_one_are_refused():
    y = pd.Series(np.arange(20.0), index=range(0, 40, 2))
    with pytest.raises(ValueError, match=r"steps of 2.*RangeIndex\(len\(y\)\)"):
        make().fit(y, fh=FH)


def test_covariates_of_the_past_are_scaled_by_training_rows_alone():
    index = pd.RangeIndex(60)
    rng = np.random.default_rng(0)
    y = pd.Series(rng.normal(size=60), index=index)
    X = pd.DataFrame({"x": rng.normal(size=60), "kind": ["a", "b"] * 30}, index=index)
    other = X.assign(x=X["x"].where(index < 45, 1000.0))
    scales = []
    for given in (X, other):
        forecaster = make(
            past_covariates=["x", "kind"], calibration="split", window_length=4
        ).fit(y, X=given, fh=[1, 2])
        encoder = forecaster._encoder
        scales.append([*encoder.past_mean, *encoder.past_scale])
    assert scales[0] == pytest.approx(scales[1])
    mean, *_, scale, first, second = scales[0]
    assert mean == pytest.approx(X["x"][:40].mean())
    assert scale == pytest.approx(X["x"][:40].std(ddof=0))
    assert (first, second) == (1.0, 1.0)


def test_horizons_longer_than_the_trained_one_are_refused(fitted):
    with pytest.raises(ValueError, match="different forecasting horizon"):
        copy.deepcopy(fitted).predict(fh=[1, 4])


def test_horizons_of_the_past_are_refused():
    with pytest.raises((ValueError, NotImplementedError), match=r"in-sample|future"):
        make(window_length=8).fit(PANEL, fh=[-1, 0]).predict()


def test_absolute_horizons_count_from_the_end_of_each_series():
    y = make_panel((40, 30), ends=(40, 38))
    forecaster = make(window_length=8).fit(y, fh=months(43)[40:])
    assert forecaster.horizon_ == 5
    predicted = forecaster.predict()
    for key in "ab":
        assert list(predicted.loc[key].index) == list(months(43)[40:])
    relative = make(window_length=8).fit(y, fh=[1, 2, 3, 4, 5])
    assert_array_equal(
        predicted.loc["b"].to_numpy(), relative.predict().loc["b"].to_numpy()[2:]
    )
