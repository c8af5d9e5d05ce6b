"""Conformal offsets against a loop over sorted errors, and their coverage."""

import math
from fractions import Fraction

import numpy as np
import pytest

from skattn._engine._likelihoods import make_likelihood
from skattn._intervals import ConformalQuantiles, ConformalResiduals

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def offset(errors, coverage):
    """Give the rank-th smallest of the known errors; `coverage` is exact."""
    known = sorted(error for error in errors if not math.isnan(error))
    rank = math.ceil((len(known) + 1) * coverage)
    return known[min(max(rank, 1), len(known)) - 1]


def residuals_of(errors):
    """Make residuals of one target from signed errors (n, horizon)."""
    errors = np.asarray(errors, dtype=float)[:, None]
    return ConformalResiduals(np.zeros_like(errors), errors)


def test_by_hand():
    """Of errors 1 to 9 the eighth covers 80 %: (9 + 1) · 0.8 = 8."""
    errors = np.array([3, -1, 2, -9, 8, 7, -4, 5, 6])[:, None]
    residuals = residuals_of(errors)
    assert residuals.quantile(0.9).tolist() == [[8.0]]
    assert residuals.quantile(0.1).tolist() == [[-8.0]]
    assert residuals.quantile(0.5).tolist() == [[0.0]]


@pytest.mark.parametrize("n", [1, 4, 9, 19, 99, 100, 499])
def test_every_level_has_the_rank_of_lei_et_al(n):
    """Exact in decimals: 0.8 is eight tenths, not the next binary fraction."""
    errors = np.random.default_rng(n).normal(size=(n, 1))
    residuals = residuals_of(errors)
    for percent in range(1, 100):
        coverage = abs(2 * Fraction(percent, 100) - 1)
        expected = 0.0 if coverage == 0 else offset(abs(errors[:, 0]), coverage)
        sign = 1 if percent > 50 else -1
        got = residuals.quantile(percent / 100).item()
        assert got == pytest.approx(sign * expected), percent


def test_the_middle_of_a_grid_is_the_median():
    """It is 0.49999999999999994 there."""
    level = np.linspace(0.05, 0.95, 37)[18]
    assert level != 0.5
    assert residuals_of([[1.0], [2.0]]).quantile(level).tolist() == [[0.0]]


def test_intervals_are_symmetric():
    residuals = residuals_of(np.random.default_rng(0).normal(size=(19, 4)))
    for percent in range(1, 50):
        low, high = (residuals.quantile(p / 100) for p in (percent, 100 - percent))
        np.testing.assert_array_equal(low, -high)


def test_quantiles_never_cross():
    residuals = residuals_of(np.random.default_rng(0).normal(size=(30, 5)))
    offsets = [residuals.quantile(level) for level in np.linspace(0.01, 0.99, 99)]
    assert (np.diff(offsets, axis=0) >= 0).all()


def test_offsets_never_shrink_along_the_horizon():
    residuals = residuals_of([[1.0, 5.0, 2.0, 7.0]])
    assert residuals.quantile(0.9).tolist() == [[1, 5, 5, 7]]
    assert residuals.quantile(0.1).tolist() == [[-1, -5, -5, -7]]


def test_unknown_errors_do_not_count():
    nan = math.nan
    residuals = residuals_of([[1.0, nan], [2.0, 9.0], [3.0, nan], [4.0, 5.0]])
    # Rank ceil(5 · 0.6) = 3 of four errors, rank ceil(3 · 0.6) = 2 of two.
    assert residuals.quantile(0.8).tolist() == [[3.0, 9.0]]
    assert residuals.counts.tolist() == [[4, 2]]


def test_a_step_without_errors_takes_those_before_it():
    residuals = residuals_of([[1.0, math.nan, 3.0], [2.0, math.nan, 4.0]])
    assert residuals.quantile(0.9).tolist() == [[2.0, 2.0, 4.0]]


def test_targets_have_errors_of_their_own():
    scores = np.zeros((3, 2, 1))
    targets = np.array([[[1.0], [10.0]], [[-2.0], [20.0]], [[3.0], [-30.0]]])
    residuals = ConformalResiduals(scores, targets)
    assert residuals.quantile(0.75).tolist() == [[2.0], [20.0]]
    shifted = ConformalResiduals(scores + 5, targets + 5)
    np.testing.assert_array_equal(shifted.sorted, residuals.sorted)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_a_new_error_is_covered_as_often_as_promised(coverage):
    """Split conformal prediction covers between c and c + 1/(n + 1)."""
    rng = np.random.default_rng(0)
    n, repeats = 39, 2000
    draws = rng.standard_t(3, size=(n + 1, 1, repeats))
    hits = 0
    for repeat in range(repeats):
        errors = draws[:, :, repeat]
        reach = residuals_of(errors[:-1]).quantile((1 + coverage) / 2).item()
        hits += abs(errors[-1, 0]) <= reach
    slack = 3 * math.sqrt(coverage * (1 - coverage) / repeats)
    assert coverage - slack <= hits / repeats <= coverage + 1 / (n + 1) + slack


def units(n, n_targets):
    """Give windows of different units."""
    rng = np.random.default_rng(5)
    return 100 * rng.normal(size=(n, n_targets, 1)), rng.gamma(
        2, size=(n, n_targets, 1)
    )


def test_quantiles_around_point_forecasts_are_raw():
    rng = np.random.default_rng(0)
    residuals = ConformalResiduals(np.zeros((9, 2, 3)), rng.normal(size=(9, 2, 3)))
    scores = rng.normal(size=(4, 2, 3))
    loc, scale = units(4, 2)
    got = residuals.quantiles(scores, [0.9, 0.2, 0.5], loc, scale)
    assert got.shape == (4, 2, 3, 3)
    for at, level in enumerate([0.9, 0.2, 0.5]):
        expected = (scores + residuals.quantile(level)) * scale + loc
        np.testing.assert_allclose(got[..., at], expected)
    np.testing.assert_allclose(got[..., 2], scores * scale + loc)


def test_the_variance_is_the_mean_squared_error():
    nan = math.nan
    residuals = residuals_of([[1.0, 5.0, 0.0, nan], [-2.0, nan, 1.0, nan]])
    scale = np.array([[[1.0]], [[10.0]]])
    expected = np.array([[2.5, 25.0, 25.0, 25.0]])
    np.testing.assert_array_equal(residuals.variance(scale)[0], expected)
    np.testing.assert_array_equal(residuals.variance(scale)[1], 100 * expected)


def test_only_so_many_windows_are_kept():
    """Of 5,000 windows 2,048, evenly spaced: their errors are 0, 1, 2, ..."""
    errors = np.arange(5000.0)
    residuals = residuals_of(errors[:, None])
    assert residuals.counts.tolist() == [[2048]]
    assert residuals.sorted.dtype == np.float32
    assert residuals.quantile(0.75).item() == pytest.approx(2500, abs=3)
    likelihood = make_likelihood("normal")
    scores, one = np.zeros((5000, 1, 1, 2)), np.ones((5000, 1, 1))
    kept = ConformalQuantiles(likelihood, scores, errors[:, None, None], 0 * one, one)
    assert kept.counts.tolist() == [[2048]]
    assert kept.scores.dtype == kept.targets.dtype == np.float32
    assert kept.targets[[0, -1], 0, 0].tolist() == [0, 4999]


def held_out(name, n, n_targets=1, horizon=1, seed=0):
    """Forecasts whose spread is half of the truth, and targets about them."""
    likelihood = make_likelihood(name, LEVELS if name == "quantile" else None)
    rng = np.random.default_rng(seed)
    size = (n, n_targets, horizon)
    scores = np.zeros((*size, likelihood.n_parameters))
    scores[..., 0] = rng.normal(size=size)
    scores[..., 1:] = rng.normal(size=(*size, 1))  # the spread varies
    spread = np.log1p(np.exp(scores[..., 1]))
    targets = scores[..., 0] + 2 * spread * rng.normal(size=size)
    return likelihood, scores, targets


def counts_of(n, n_targets, seed=0):
    """Poisson counts of a wrong mean, in units of windows."""
    rng = np.random.default_rng(seed)
    likelihood = make_likelihood("negative_binomial")
    scores = rng.normal(size=(n, n_targets, 1, 2))
    scores[..., 1] = -4.0  # hardly any dispersion
    loc, scale = np.full((n, n_targets, 1), 8.0), np.full((n, n_targets, 1), 3.0)
    mean = 1.3 * likelihood.point(scores, loc, scale)
    targets = (rng.poisson(mean) - loc) / scale
    return likelihood, scores, targets, loc, scale


@pytest.mark.parametrize("name", ["quantile", "normal", "student_t"])
def test_the_offset_has_the_rank_of_romano_et_al(name):
    """Moved by the rank-th smallest of max(low - y, y - high), by a plain loop."""
    likelihood, scores, targets = held_out(name, 30, 2, 3)
    targets[3:9, 1, 2] = np.nan
    loc, scale = units(30, 2)
    conformal = ConformalQuantiles(likelihood, scores, targets, loc, scale)
    assert conformal.counts.tolist() == [[30, 30, 30], [30, 30, 24]]
    pair = [0.1, 0.9]
    found = likelihood.quantiles(scores, pair, 0 * loc, 0 * scale + 1)
    got = conformal.quantiles(scores[:1], pair, loc[:1], scale[:1])
    for target in range(2):
        for step in range(3):
            errors = [
                max(low - y, y - high)
                for (low, high), y in zip(
                    found[:, target, step], targets[:, target, step], strict=True
                )
            ]
            reach = offset(errors, Fraction(4, 5))
            expected = found[0, target, step] + np.array([-reach, reach])
            expected = expected * scale[0, target] + loc[0, target]
            np.testing.assert_allclose(got[0, target, step], expected, rtol=1e-5)


def test_wide_quantiles_move_inwards():
    likelihood = make_likelihood("normal")
    scores, one = np.zeros((19, 1, 1, 2)), np.ones((19, 1, 1))
    targets = np.linspace(-0.1, 0.1, 19)[:, None, None]
    conformal = ConformalQuantiles(likelihood, scores, targets, 0 * one, one)
    got = conformal.quantiles(scores[:1], [0.1, 0.5, 0.9], 0 * one[:1], one[:1])
    # Of 19 distances to zero the 16th is 8 / 90: two stand at each but at zero.
    np.testing.assert_allclose(got[0, 0, 0], [-8 / 90, 0, 8 / 90], atol=1e-6)


@pytest.mark.parametrize("name", ["quantile", "normal", "student_t"])
def test_corrected_quantiles_never_cross_and_keep_the_median(name):
    levels = np.linspace(0.05, 0.95, 37)
    for seed, n in enumerate([1, 3, 10, 200]):
        likelihood, scores, targets = held_out(name, n, 2, 3, seed)
        if seed % 2:
            targets = scores[..., 0] + 0.2 * (targets - scores[..., 0])  # too wide
        loc, scale = units(n, 2)
        conformal = ConformalQuantiles(likelihood, scores, targets, loc, scale)
        got = conformal.quantiles(scores, levels, loc, scale)
        assert (np.diff(got, axis=-1) >= 0).all()
        median = likelihood.quantiles(scores, [0.5], loc, scale)
        # The level is 0.49999999999999994.
        np.testing.assert_allclose(got[..., 18:19], median, rtol=0, atol=1e-12)
        order = np.random.default_rng(0).permutation(len(levels))
        shuffled = conformal.quantiles(scores, levels[order], loc, scale)
        np.testing.assert_array_equal(shuffled, got[..., order])


def test_one_side_of_the_median_may_be_asked_alone():
    likelihood, scores, targets = held_out("quantile", 20)
    loc, scale = units(20, 1)
    conformal = ConformalQuantiles(likelihood, scores, targets, loc, scale)
    both = conformal.quantiles(scores, LEVELS, loc, scale)
    upper = conformal.quantiles(scores, LEVELS[4:], loc, scale)
    lower = conformal.quantiles(scores, LEVELS[:3], loc, scale)
    np.testing.assert_array_equal(upper, both[..., 4:])
    np.testing.assert_array_equal(lower, both[..., :3])


def test_a_step_without_targets_takes_the_offset_before_it():
    likelihood, scores, targets = held_out("normal", 20, 1, 3)
    targets[:, 0, 1] = np.nan
    loc, scale = units(20, 1)
    scores[0] = 0.0
    conformal = ConformalQuantiles(likelihood, scores, targets, loc, scale)
    got = conformal.quantiles(scores[:1], [0.2, 0.8], loc[:1], scale[:1])[0, 0]
    np.testing.assert_array_equal(got[1], got[0])
    assert (got[2] != got[0]).all()


def test_a_level_without_its_mirror_image_is_refused():
    likelihood = make_likelihood("quantile", [0.4, 0.5, 0.9])
    scores, one = np.zeros((5, 1, 1, 3)), np.ones((5, 1, 1))
    conformal = ConformalQuantiles(likelihood, scores, one, one, one)
    with pytest.raises(ValueError, match=r"levels 0\.1 and 0\.9 together.*0\.4, 0\.5"):
        conformal.quantiles(scores, [0.9], one, one)
    with pytest.raises(ValueError, match=r"^The quantiles .* level 0\.1 lies beyond"):
        conformal.quantiles(scores, [0.1], one, one)


def within(hits, coverage, n, slack_of=3):
    """Whether hits are of a coverage between c and c + 1/(n + 1)."""
    slack = slack_of * math.sqrt(coverage * (1 - coverage) / hits.size)
    return coverage - slack <= hits.mean() <= coverage + 1 / (n + 1) + slack


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("name", ["quantile", "normal", "student_t"])
def test_a_new_target_is_covered_as_often_as_promised(name, coverage):
    """Each of 2,000 targets is an experiment of its own."""
    n = 39
    likelihood, scores, targets = held_out(name, n + 1, 2000)
    loc, scale = units(n + 1, 2000)
    raw = (targets * scale + loc)[n]
    pair = [(1 - coverage) / 2, (1 + coverage) / 2]
    plain = likelihood.quantiles(scores[n:], pair, loc[n:], scale[n:])[0]
    hits = (plain[..., 0] <= raw) & (raw <= plain[..., 1])
    assert not within(hits, coverage, n)
    conformal = ConformalQuantiles(
        likelihood, scores[:n], targets[:n], loc[:n], scale[:n]
    )
    got = conformal.quantiles(scores[n:], pair, loc[n:], scale[n:])[0]
    hits = (got[..., 0] <= raw) & (raw <= got[..., 1])
    assert within(hits, coverage, n)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_quantiles_around_point_forecasts_cover_as_often_as_promised(coverage):
    n = 39
    _, scores, targets = held_out("normal", n + 1, 2000)
    loc, scale = units(n + 1, 2000)
    raw = (targets * scale + loc)[n]
    residuals = ConformalResiduals(scores[:n, ..., 0], targets[:n])
    pair = [(1 - coverage) / 2, (1 + coverage) / 2]
    got = residuals.quantiles(scores[n:, ..., 0], pair, loc[n:], scale[n:])[0]
    assert within((got[..., 0] <= raw) & (raw <= got[..., 1]), coverage, n)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_counts_are_covered_by_whole_numbers(coverage):
    """Ties make intervals of counts cover more, never less."""
    n = 39
    likelihood, scores, targets, loc, scale = counts_of(n + 1, 1000)
    raw = np.round(targets * scale + loc)[n]
    conformal = ConformalQuantiles(
        likelihood, scores[:n], targets[:n], loc[:n], scale[:n]
    )
    pair = [(1 - coverage) / 2, (1 + coverage) / 2]
    got = conformal.quantiles(scores[n:], pair, loc[n:], scale[n:])[0]
    assert (got == np.floor(got)).all()
    assert (got >= 0).all()
    hits = (got[..., 0] <= raw) & (raw <= got[..., 1])
    assert hits.mean() >= coverage - 3 * math.sqrt(coverage * (1 - coverage) / 1000)
    plain = likelihood.quantiles(scores[n:], pair, loc[n:], scale[n:])[0]
    missed = (plain[..., 0] <= raw) & (raw <= plain[..., 1])
    assert missed.mean() < hits.mean()
