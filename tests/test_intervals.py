"""Conformal residuals against a loop over sorted errors, and their coverage."""

import math
from fractions import Fraction

import numpy as np
import pytest

from skattn._intervals import ConformalResiduals


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
