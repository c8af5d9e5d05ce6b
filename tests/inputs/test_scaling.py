"""Scaling of columns with missing values and weights."""

import numpy as np
import pytest
from scipy.stats import norm

from skattn._inputs._scaling import Scaler, weighted_moments

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)) * [1.0, 100.0, 1e-6] + [0.0, -40.0, 5.0]


def with_gaps(seed=0):
    return np.where(np.random.default_rng(seed).random(X.shape) < 0.2, np.nan, X)


def test_moments_are_numpys():
    for values in (X, with_gaps()):
        mean, scale = weighted_moments(values)
        np.testing.assert_allclose(mean, np.nanmean(values, axis=0))
        np.testing.assert_allclose(scale, np.nanstd(values, axis=0))


def test_weights_equal_repetitions():
    counts = RNG.integers(1, 4, 50)
    for values in (X, with_gaps()):
        weighted = weighted_moments(values, counts.astype(float))
        repeated = weighted_moments(np.repeat(values, counts, axis=0))
        np.testing.assert_allclose(weighted, repeated)
        scaled = weighted_moments(values, 0.01 * counts)
        np.testing.assert_allclose(scaled, repeated)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1, -1e-9])
def test_a_constant_column_has_scale_one(value):
    mean, scale = weighted_moments(np.full((1000, 1), value))
    assert mean[0] == pytest.approx(value)
    assert scale[0] == 1.0


def test_an_unknown_column_has_mean_zero_and_scale_one():
    mean, scale = weighted_moments(np.full((4, 1), np.nan))
    assert (mean[0], scale[0]) == (0.0, 1.0)


def test_standard_scaling():
    scaler = Scaler("standard").fit(with_gaps())
    scaled = scaler.transform(with_gaps())
    np.testing.assert_array_equal(np.isnan(scaled), np.isnan(with_gaps()))
    np.testing.assert_allclose(np.nanmean(scaled, axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.nanstd(scaled, axis=0), 1)
    other = scaler.transform(X[:2])
    expected = (X[:2] - np.nanmean(with_gaps(), axis=0)) / np.nanstd(
        with_gaps(), axis=0
    )
    np.testing.assert_allclose(other, expected)


def test_no_scaling_copies():
    scaled = Scaler(None).fit(X).transform(X)
    np.testing.assert_array_equal(scaled, X)
    assert not np.shares_memory(scaled, X)


@pytest.mark.parametrize("scaling", ["standard", "quantile", None])
def test_the_input_stays_as_it_is(scaling):
    values = with_gaps()
    Scaler(scaling).fit(values).transform(values)
    np.testing.assert_array_equal(values, with_gaps())


def test_ranks_become_normal_quantiles():
    values = np.array([[5.0], [1.0], [np.nan], [3.0], [100.0]])
    scaler = Scaler("quantile").fit(values)
    expected = norm.ppf([5 / 8, 1 / 8, np.nan, 3 / 8, 7 / 8])
    np.testing.assert_allclose(scaler.transform(values)[:, 0], expected)


def test_equal_values_share_the_middle_of_their_ranks():
    values = np.array([[0.0], [0.0], [0.0], [7.0]])
    scaled = Scaler("quantile").fit(values).transform(values)[:, 0]
    np.testing.assert_allclose(scaled, norm.ppf([3 / 8, 3 / 8, 3 / 8, 7 / 8]))


def test_between_knots_straight_lines_and_beyond_them_the_ends():
    scaler = Scaler("quantile").fit(np.array([[0.0], [10.0]]))
    low, high = norm.ppf([1 / 4, 3 / 4])
    got = scaler.transform(np.array([[-99.0], [0.0], [2.5], [10.0], [99.0]]))[:, 0]
    np.testing.assert_allclose(got, [low, low, low + (high - low) / 4, high, high])


def test_quantile_weights_equal_repetitions():
    counts = RNG.integers(1, 4, 50)
    weighted = Scaler("quantile").fit(with_gaps(), counts.astype(float))
    repeated = Scaler("quantile").fit(np.repeat(with_gaps(), counts, axis=0))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X))


def test_quantiles_of_constant_and_unknown_columns():
    values = np.column_stack([np.full(4, 3.0), np.full(4, np.nan)])
    scaled = Scaler("quantile").fit(values).transform(np.full((2, 2), 9.0))
    assert not scaled.any()


def test_quantiles_ignore_monotone_maps():
    one = Scaler("quantile").fit(X[:, :1]).transform(X[:, :1])
    other = Scaler("quantile").fit(np.exp(X[:, :1])).transform(np.exp(X[:, :1]))
    np.testing.assert_allclose(one, other)


def test_many_values_are_thinned_out_without_harm():
    values = np.random.default_rng(1).lognormal(size=(20_000, 1))
    scaler = Scaler("quantile").fit(values)
    ((seen, score),) = scaler.knots_
    assert len(seen) == len(score) <= 1001
    assert (np.diff(seen) > 0).all()
    assert (seen[0], seen[-1]) == (values.min(), values.max())
    rank = (values[:, 0].argsort().argsort() + 0.5) / len(values)
    error = norm.cdf(scaler.transform(values)[:, 0]) - rank
    assert np.abs(error).max() < 2e-3


@pytest.mark.parametrize(("n", "chosen"), [(999, "standard"), (1000, "quantile")])
def test_auto_takes_ranks_where_there_are_many(n, chosen):
    assert Scaler("auto").fit(np.zeros((n, 1))).scaling_ == chosen
