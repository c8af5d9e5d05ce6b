"""What a forecaster says about the distribution of what comes."""

import copy

import numpy as np
import pandas as pd
import pytest
from _forecasting import make, make_panel, months, same_weights, waves
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from skattn.architectures import TFT, PatchTST, TemporalAttention

FH = [1, 2, 4]
LEVELS = [0.025, 0.1, 0.3, 0.5, 0.7, 0.9, 0.975]
COVERAGES = [0.1, 0.5, 0.8, 0.95]


def counts(n=80, seed=0, index=None):
    rng = np.random.default_rng(seed)
    mean = 6 + 4 * np.sin(np.arange(n) / 3)
    values = rng.poisson(mean).astype(float)
    return pd.Series(values, index=months(n) if index is None else index, name="sold")


SERIES = {
    "quantile": waves(80, months(80)),
    "normal": waves(80, months(80)),
    "student_t": waves(80, months(80)),
    "negative_binomial": counts(),
}
each_head = pytest.mark.parametrize("likelihood", sorted(SERIES))
each_calibration = pytest.mark.parametrize("calibration", ["refit", "split", None])


def head(likelihood, y=None, calibration=None, **params):
    y = SERIES[likelihood] if y is None else y
    params = {"window_length": 12, "likelihood": likelihood, **params}
    return make(calibration=calibration, **params).fit(y, fh=FH)


# Quantiles and intervals


@each_head
@each_calibration
def test_quantiles_are_nested_and_never_cross(likelihood, calibration):
    y = SERIES[likelihood]
    forecaster = head(likelihood, calibration=calibration)
    quantiles = forecaster.predict_quantiles(alpha=LEVELS[::-1])
    assert list(quantiles.columns) == [(y.name, level) for level in LEVELS[::-1]]
    assert list(quantiles.index) == list(months(84)[[80, 81, 83]])
    values = quantiles.to_numpy()[:, ::-1]
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values[:, -1] > values[:, 0]).all()
    assert (abs(values - y.mean()) < 15).all()
    intervals = forecaster.predict_interval(coverage=COVERAGES)
    lower, upper = (
        np.array([intervals[y.name, c, side] for c in COVERAGES])
        for side in ("lower", "upper")
    )
    assert (np.diff(lower, axis=0) <= 0).all()
    assert (np.diff(upper, axis=0) >= 0).all()
    median = forecaster.predict_quantiles(alpha=0.5).to_numpy()[:, 0]
    assert (lower <= median).all()
    assert (median <= upper).all()
    outer = forecaster.predict_interval(coverage=0.95).to_numpy()
    assert_allclose(outer[:, 0], quantiles[y.name, 0.025])
    assert_allclose(outer[:, 1], quantiles[y.name, 0.975])


@each_head
def test_point_forecasts_lie_in_the_middle(likelihood):
    forecaster = head(likelihood)
    inner = forecaster.predict_interval(coverage=0.5).to_numpy()
    point = forecaster.predict().to_numpy()
    assert (inner[:, 0] <= point).all()
    assert (point <= inner[:, 1]).all()
    if likelihood in {"quantile", "normal", "student_t"}:
        assert_allclose(forecaster.predict_quantiles(alpha=0.5).iloc[:, 0], point)


@each_head
@pytest.mark.parametrize("calibration", ["refit", "split"])
def test_calibration_moves_quantiles_and_leaves_the_rest(likelihood, calibration):
    calibrated = head(likelihood, calibration=calibration)
    plain = copy.deepcopy(calibrated)
    plain._calibration = None
    both = (plain, calibrated)
    for found, expected in (
        [forecaster.predict() for forecaster in both],
        [forecaster.predict_var() for forecaster in both],
        [forecaster.predict_quantiles(alpha=0.5) for forecaster in both],
    ):
        assert_array_equal(found, expected)
    # Of counts, a quantile need not move.
    several = [0.5, 0.8, 0.9, 0.95]
    outer = [forecaster.predict_interval(coverage=several) for forecaster in both]
    assert not np.array_equal(*outer)


@each_head
def test_a_refitted_net_has_seen_the_tail(likelihood):
    split, refit = (head(likelihood, calibration=each) for each in ("split", "refit"))
    assert not same_weights(split, refit)
    assert_array_equal(split._calibration.scores, refit._calibration.scores)
    assert len(split._calibration.scores) == 40


@pytest.mark.parametrize("likelihood", ["normal", "student_t", "quantile"])
def test_calibrated_intervals_cover_what_they_say(likelihood):
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(10):
        y = pd.Series(rng.normal(size=130))
        forecaster = make(
            calibration="split", window_length=6, max_epochs=1, likelihood=likelihood
        )
        interval = forecaster.fit(y[:120], fh=np.arange(1, 11)).predict_interval(
            coverage=0.8
        )
        lower, upper = interval.to_numpy().T
        hits.append((lower <= y[120:]) & (y[120:] <= upper))
    assert 0.7 < np.mean(hits) < 0.93


def test_the_unit_and_level_of_the_series_do_not_count():
    y = SERIES["normal"]
    for likelihood in ("quantile", "normal", "student_t"):
        expected = head(likelihood, y).predict_quantiles(alpha=LEVELS)
        scaled = head(likelihood, 1e4 * y + 7e5).predict_quantiles(alpha=LEVELS)
        assert_allclose((scaled - 7e5) / 1e4, expected, rtol=1e-3)


def test_more_noise_is_forecast_where_there_is_more():
    """The spread is learnt, and not the mean alone."""
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(620) % 20 < 10, 0.1, 2.0)
    y = pd.Series(spread * rng.normal(size=620), name="y")
    forecaster = make(
        PatchTST(d_model=16, num_heads=2, num_layers=1),
        window_length=20,
        likelihood="normal",
        max_epochs=15,
        lr=0.01,
        early_stopping=False,
        normalization=None,
    )
    forecaster.fit(y[:600], fh=np.arange(1, 21))
    variance = forecaster.predict_var().to_numpy()[:, 0]
    is_calm = spread[600:] < 1
    assert variance[is_calm].mean() < 0.3 * variance[~is_calm].mean()


# Levels


def test_levels_that_are_learnt():
    levels = [0.2, 0.5, 0.8]
    forecaster = head("quantile", quantiles=levels)
    scores = forecaster.net_.module.data.n_parameters
    assert scores == 3
    inside = forecaster.predict_quantiles(alpha=[0.2, 0.35, 0.5, 0.8]).to_numpy()
    assert_allclose(inside[:, 1], (inside[:, 0] + inside[:, 2]) / 2)
    for calibration in (None, "split"):
        other = head("quantile", quantiles=levels, calibration=calibration)
        with pytest.raises(ValueError, match=r"0\.1"):
            other.predict_interval(coverage=0.8)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"likelihood": "quantile", "quantiles": [0.1, 0.2]}, "quantiles"),
        ({"likelihood": "quantile", "quantiles": [0.5]}, "quantiles"),
        ({"likelihood": "quantile", "quantiles": [0.1, 0.5, 1.5]}, "quantiles"),
        ({"likelihood": "normal", "quantiles": [0.1, 0.5]}, r"quantiles=\[0.1, 0.5\]"),
        ({"quantiles": [0.1, 0.5, 0.9]}, "likelihood=None forecasts points"),
        ({"likelihood": "cauchy"}, "'likelihood' parameter"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        make(window_length=12, **params).fit(SERIES["normal"], fh=FH)


# Counts


def test_counts_are_forecast_by_whole_numbers():
    for calibration in (None, "split"):
        forecaster = head("negative_binomial", calibration=calibration)
        quantiles = forecaster.predict_quantiles(alpha=LEVELS).to_numpy()
        assert_array_equal(quantiles, np.floor(quantiles))
        assert (quantiles >= 0).all()
        assert (forecaster.predict() > 0).all()


def test_what_is_no_count_is_refused():
    for wrong in (-1.0, 2.5):
        y = counts()
        y.iloc[7] = wrong
        with pytest.raises(ValueError, match=rf"counts, but y holds {wrong:g}"):
            head("negative_binomial", y)
    y = counts()
    y.iloc[[7, -1]] = np.nan
    assert (head("negative_binomial", y).predict() > 0).all()


@pytest.mark.parametrize("update_params", [False, True])
def test_updates_that_are_no_counts_are_refused(update_params):
    forecaster = head("negative_binomial")
    later = counts(84)[80:] - 0.5
    with pytest.raises(ValueError, match="counts, but y holds"):
        forecaster.update(later, update_params=update_params)


def test_very_rare_counts():
    y = counts()
    y[:] = 0.0
    y.iloc[::17] = 1.0
    forecaster = head("negative_binomial", y, calibration="refit")
    assert (forecaster.predict() > 0).all()
    assert (forecaster.predict() < 2).all()
    assert np.isfinite(forecaster.predict_interval()).to_numpy().all()
    zeros = head("negative_binomial", 0 * y)
    assert (zeros.predict() < 1).all()


# Variances and distributions


@each_head
@each_calibration
def test_distributions_agree_with_the_rest(likelihood, calibration):
    y = SERIES[likelihood]
    forecaster = head(likelihood, calibration=calibration)
    distribution = forecaster.predict_proba()
    variance = forecaster.predict_var()
    assert (variance > 0).to_numpy().all()
    assert list(variance.columns) == list(distribution.columns) == [y.name]
    pd.testing.assert_index_equal(variance.index, distribution.index)
    assert_allclose(distribution.var(), variance, rtol=1e-6)
    point = forecaster.predict().to_numpy()
    if likelihood == "quantile":
        quantiles = forecaster.predict_quantiles(alpha=0.5)
        assert_allclose(quantiles.iloc[:, 0], point)
    else:
        assert_allclose(distribution.mean().to_numpy()[:, 0], point)
    if calibration is None:  # what is calibrated is the quantiles
        for level in (0.1, 0.5, 0.9):
            found = distribution.ppf(level).to_numpy()
            expected = forecaster.predict_quantiles(alpha=level).to_numpy()
            assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("likelihood", sorted(SERIES))
def test_samples_look_like_the_distribution(likelihood):
    forecaster = head(likelihood)
    distribution = forecaster.predict_proba()
    drawn = distribution.sample(2000)
    assert drawn.shape == (6000, 1)
    mean = drawn.groupby(level=-1, sort=False).mean().to_numpy()
    deviation = np.sqrt(forecaster.predict_var().to_numpy())
    assert (abs(mean - distribution.mean().to_numpy()) < 0.15 * deviation).all()


def test_points_have_a_variance_and_a_normal_distribution():
    y = SERIES["normal"]
    forecaster = make(window_length=12, calibration="split").fit(y, fh=FH)
    variance = forecaster.predict_var()
    assert (variance > 0).to_numpy().all()
    assert (np.diff(variance.to_numpy(), axis=0) >= 0).all()
    errors = forecaster._calibration.sorted[:, 0, 0]
    scale = forecaster._memories[()].std[0]
    assert variance.iloc[0, 0] == pytest.approx((errors**2).mean() * scale**2, rel=1e-5)
    distribution = forecaster.predict_proba()
    assert_allclose(distribution.mean().to_numpy()[:, 0], forecaster.predict())
    upper = norm.ppf(0.9, forecaster.predict(), np.sqrt(variance.iloc[:, 0]))
    assert_allclose(distribution.ppf(0.9).to_numpy()[:, 0], upper)
    plain = make(window_length=12).fit(y, fh=FH)
    for method in (plain.predict_var, plain.predict_proba):
        with pytest.raises(ValueError, match="no held-out errors"):
            method()


def test_there_are_neither_covariances_nor_joint_distributions():
    forecaster = make(window_length=12, calibration="split").fit(
        SERIES["normal"], fh=FH
    )
    with pytest.raises(NotImplementedError, match="covariances"):
        forecaster.predict_var(cov=True)
    with pytest.raises(NotImplementedError, match="marginal=True"):
        forecaster.predict_proba(marginal=False)


# With everything else


@each_head
def test_panels_of_several_targets_with_gaps(likelihood):
    rng = np.random.default_rng(0)
    y = make_panel((40, 30, 6), n_columns=2)
    y = y.round() if likelihood == "negative_binomial" else y
    y = y.mask(rng.random(y.shape) < 0.1)
    forecaster = head(likelihood, y, calibration="refit")
    predicted = forecaster.predict()
    variance = forecaster.predict_var()
    distribution = forecaster.predict_proba()
    quantiles = forecaster.predict_quantiles(alpha=[0.1, 0.9])
    for found in (predicted, variance, distribution, quantiles):
        pd.testing.assert_index_equal(found.index, predicted.index)
    assert_allclose(distribution.var(), variance, rtol=1e-6)
    assert list(distribution.columns) == list(y.columns)
    for name in y.columns:
        assert (quantiles[name, 0.1] <= quantiles[name, 0.9]).all()
    if likelihood != "quantile":
        assert_allclose(distribution.mean(), predicted, rtol=1e-6)


@pytest.mark.parametrize(
    "net",
    [
        TemporalAttention(d_model=8),
        TFT(d_model=8, num_heads=2),
        PatchTST(d_model=8, num_heads=2, num_layers=1),
    ],
    ids=lambda net: net.name,
)
@each_head
def test_each_head_on_each_kind_of_architecture(net, likelihood):
    y = SERIES[likelihood]
    forecaster = make(net, window_length=12, likelihood=likelihood).fit(y, fh=FH)
    quantiles = forecaster.predict_quantiles(alpha=LEVELS).to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()


@each_head
@pytest.mark.parametrize("normalization", ["last", "instance", None])
@pytest.mark.parametrize("linear_skip", ["ols", "learned", None])
def test_each_head_in_each_unit(likelihood, normalization, linear_skip):
    y = SERIES[likelihood]
    forecaster = head(likelihood, normalization=normalization, linear_skip=linear_skip)
    assert (abs(forecaster.predict() - y.mean()) < 8).all()
    intervals = forecaster.predict_interval(coverage=0.9).to_numpy()
    assert np.isfinite(intervals).all()
    assert (intervals[:, 1] - intervals[:, 0] < 40).all()


@each_head
def test_two_fits_and_copies_are_equal(likelihood):
    first = head(likelihood, calibration="refit")
    second = head(likelihood, calibration="refit")
    assert same_weights(first, second)
    copied = copy.deepcopy(first)
    y = SERIES[likelihood]
    later = counts(83) if likelihood == "negative_binomial" else waves(83, months(83))
    for each in (first, second, copied):
        each.update(later[80:].rename(y.name), update_params=True)
    assert same_weights(first, copied)
    for each in (second, copied):
        assert_array_equal(each.predict_interval(), first.predict_interval())
    assert first.n_iter_ == 3
    assert np.isfinite(first.history_[:, "train_loss"]).all()


@each_head
def test_early_stopping_looks_at_the_likelihood(likelihood):
    forecaster = head(likelihood, early_stopping=True, validation_fraction=0.3)
    assert np.isfinite(forecaster.history_[:, "valid_loss"]).all()
    assert np.isfinite(forecaster.predict()).all()


def test_a_constant_series():
    y = pd.Series(np.full(40, 5.0))
    for likelihood in sorted(SERIES):
        forecaster = head(likelihood, y, calibration="refit")
        assert_allclose(forecaster.predict(), 5.0, rtol=0.3)
        assert np.isfinite(forecaster.predict_interval()).to_numpy().all()
        assert (forecaster.predict_var() >= 0).to_numpy().all()
