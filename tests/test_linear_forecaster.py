"""LinearForecaster against ridge regressions of windows that are cut by hand."""

import numpy as np
import pandas as pd
import pytest
from _forecasting import make_panel, months, waves
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from skattn import LinearForecaster

LENGTH, HORIZON = 12, 3
FH = [1, 2, 3]
PARAMS = {"window_length": LENGTH, "calibration": None}


def drifting(n=150):
    steps = np.arange(n)
    return waves(n, months(n)) * (1 + steps / 100) + steps / 20


def cut(values, normalization):
    """Cut all windows, their targets, and their units."""
    x = np.lib.stride_tricks.sliding_window_view(values, LENGTH)
    loc, scale = np.zeros((len(x), 1)), np.ones((len(x), 1))
    if normalization == "last":
        loc = x[:, -1:]
    if normalization == "instance":
        loc, scale = x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
    goal = np.lib.stride_tricks.sliding_window_view(values[LENGTH:], HORIZON)
    n = len(goal)
    return (x - loc) / scale, (goal - loc[:n]) / scale[:n], loc, scale


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("normalization", ["last", "instance", None])
def test_it_is_a_ridge_regression_of_windows(normalization, fit_intercept):
    y = drifting()
    forecaster = LinearForecaster(
        normalization=normalization, fit_intercept=fit_intercept, **PARAMS
    ).fit(y, fh=FH)
    mean, std = y.mean(), y.std(ddof=0)
    x, goal, loc, scale = cut((y.to_numpy() - mean) / std, normalization)
    n = len(goal)
    weight = scale[:n, 0] ** 2  # errors count in units of the series
    centre = np.average(x[:n], axis=0, weights=weight) if fit_intercept else 0.0
    unit = np.square((x[:n] - centre) * scale[:n]).sum() / LENGTH
    ridge = Ridge(alpha=forecaster.strength_ * unit, fit_intercept=fit_intercept)
    ridge.fit(x[:n], goal, sample_weight=weight)
    assert_allclose(forecaster.coef_, ridge.coef_, atol=1e-8)
    assert_allclose(forecaster.intercept_, ridge.intercept_, atol=1e-8)
    assert forecaster.intercept_.any() == fit_intercept
    expected = (ridge.predict(x[-1:]) * scale[-1] + loc[-1])[0] * std + mean
    assert_allclose(forecaster.predict(), expected)


def test_all_series_of_a_panel_share_one_regression():
    y = make_panel((60, 50, 40))
    forecaster = LinearForecaster(**PARAMS).fit(y, fh=FH)
    assert forecaster.coef_.shape == (HORIZON, LENGTH)
    for key, part in y.groupby(level=0):
        values = part.to_numpy()[:, 0]
        window = (values[-LENGTH:] - values[-1]) / values.std()
        scores = forecaster.coef_ @ window + forecaster.intercept_
        found = forecaster.predict().loc[key].to_numpy()[:, 0]
        assert_allclose(found, scores * values.std() + values[-1])


def test_the_steps_that_chose_the_strength_are_learnt_from_unless_refused():
    y = waves(1200)
    other = y.copy()
    other.iloc[-100:] += np.linspace(0, 0.1, 100)
    for refit in (True, False):
        ours, theirs = (
            LinearForecaster(refit=refit, **PARAMS).fit(series, fh=FH)
            for series in (y, other)
        )
        assert ours.strength_ == theirs.strength_
        assert np.array_equal(ours.coef_, theirs.coef_) is not refit


@pytest.mark.parametrize("calibration", ["refit", "split"])
def test_intervals_hold_the_forecast(calibration):
    y = drifting()
    forecaster = LinearForecaster(window_length=LENGTH, calibration=calibration)
    interval = forecaster.fit(y, fh=FH).predict_interval(coverage=0.9).to_numpy()
    point = forecaster.predict().to_numpy()
    assert (interval[:, 0] < point).all()
    assert (point < interval[:, 1]).all()
    whole = LinearForecaster(**PARAMS).fit(y, fh=FH)
    assert np.allclose(forecaster.coef_, whole.coef_) is (calibration == "refit")


def test_without_calibration_there_are_no_intervals():
    with pytest.raises(ValueError, match="calibration=None"):
        LinearForecaster(**PARAMS).fit(drifting(), fh=FH).predict_interval()


@pytest.mark.parametrize("normalization", ["last", "instance", None])
def test_covariates_have_a_linear_effect(normalization):
    rng = np.random.default_rng(0)
    index = months(203)
    promoted = pd.Series(rng.integers(0, 2, 203).astype(float), index=index)
    y = waves(203, index) + 5 * promoted
    X = promoted.to_frame("promoted")
    forecaster = LinearForecaster(normalization=normalization, **PARAMS)
    forecaster.fit(y[:200], X=X[:200], fh=FH)
    low, high = (
        forecaster.predict(X=X[200:].assign(promoted=value)) for value in (0.0, 1.0)
    )
    assert_allclose(high - low, 5.0, atol=0.1)


def test_missing_values_are_left_out_of_the_regression():
    y = drifting()
    y.iloc[[30, 31]] = np.nan
    forecaster = LinearForecaster(**PARAMS).fit(y, fh=FH)
    assert np.isfinite(forecaster.predict()).all()
    assert forecaster.strength_ is not None


def test_too_short_a_series_goes_on_from_its_last_value():
    y = pd.Series([1.0, 3.0], index=months(2))
    forecaster = LinearForecaster().fit(y, fh=FH)
    assert forecaster.strength_ is None
    assert_array_equal(forecaster.predict(), [3.0, 3.0, 3.0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"window_length": 0}, "'window_length'"),
        ({"normalization": "mean"}, "'normalization'"),
        ({"calibration": "cv"}, "'calibration'"),
        ({"validation_fraction": 1.0}, "'validation_fraction'"),
    ],
)
def test_parameters_that_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        LinearForecaster(**params).fit(drifting(), fh=FH)
