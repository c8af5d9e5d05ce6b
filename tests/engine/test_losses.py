"""Losses against NumPy and against scikit-learn's metrics."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
)

from skattn._engine._losses import (
    REGRESSION_LOSSES,
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Pinball,
    Poisson,
    SquaredError,
    regression_loss,
)
from skattn._engine._samples import Window

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(40, 2))
NUMBERS = RNG.normal(size=(40, 2))
COUNTS = RNG.poisson(1.5, size=(40, 2)).astype(float)


def run(loss, scores, target):
    return loss(torch.from_numpy(scores), torch.from_numpy(target)).numpy()


def test_cross_entropy_of_one_target():
    scores, labels = RNG.normal(size=(40, 3)), RNG.integers(0, 3, (40, 1))
    losses = run(CrossEntropy((3,)), scores, labels)
    assert losses.shape == (40,)
    assert losses.mean() == pytest.approx(log_loss(labels[:, 0], softmax(scores, 1)))


def test_cross_entropy_of_several_targets_is_a_sum():
    scores = RNG.normal(size=(40, 5))
    labels = np.column_stack([RNG.integers(0, 2, 40), RNG.integers(0, 3, 40)])
    loss = CrossEntropy((2, 3))
    expected = log_loss(labels[:, 0], softmax(scores[:, :2], 1))
    expected += log_loss(labels[:, 1], softmax(scores[:, 2:], 1))
    assert run(loss, scores, labels).mean() == pytest.approx(expected)
    probabilities = loss.predict(torch.from_numpy(scores)).numpy()
    np.testing.assert_allclose(probabilities[:, :2], softmax(scores[:, :2], 1))
    np.testing.assert_allclose(probabilities[:, 2:], softmax(scores[:, 2:], 1))


def test_binary_cross_entropy_is_a_sum_over_labels():
    labels = RNG.integers(0, 2, (40, 2))
    loss = BinaryCrossEntropy()
    expected = sum(log_loss(labels[:, j], expit(SCORES[:, j])) for j in range(2))
    assert run(loss, SCORES, labels.astype(float)).mean() == pytest.approx(expected)
    np.testing.assert_allclose(
        loss.predict(torch.from_numpy(SCORES)).numpy(), expit(SCORES)
    )


@pytest.mark.parametrize(
    ("loss", "metric"),
    [
        (SquaredError(), lambda y, s: mean_squared_error(y, s) / 2),
        (AbsoluteError(), mean_absolute_error),
        (Pinball(0.2), lambda y, s: mean_pinball_loss(y, s, alpha=0.2)),
        (Pinball(0.9), lambda y, s: mean_pinball_loss(y, s, alpha=0.9)),
    ],
)
def test_losses_of_numbers(loss, metric):
    losses = run(loss, SCORES, NUMBERS)
    assert losses.shape == (40,)
    assert losses.mean() == pytest.approx(metric(NUMBERS, SCORES))
    assert losses[3] == pytest.approx(metric(NUMBERS[[3]], SCORES[[3]]))
    scores = torch.from_numpy(SCORES)
    assert loss.predict(scores) is scores


def test_huber_is_squared_up_to_one_and_straight_beyond():
    errors = np.array([[-3.0], [-1.0], [-0.5], [0.0], [0.5], [1.0], [3.0]])
    expected = [2.5, 0.5, 0.125, 0, 0.125, 0.5, 2.5]
    assert run(Huber(), errors, np.zeros((7, 1))).tolist() == expected


def test_poisson_is_half_the_deviance_up_to_a_constant():
    losses = [run(Poisson(), scores, COUNTS) for scores in (SCORES, 0.5 * SCORES)]
    deviances = [
        [
            mean_poisson_deviance(y, np.exp(s))
            for y, s in zip(COUNTS, scores, strict=True)
        ]
        for scores in (SCORES, 0.5 * SCORES)
    ]
    np.testing.assert_allclose(
        losses[0] - losses[1], np.subtract(*deviances) / 2, atol=1e-12
    )
    predicted = Poisson().predict(torch.from_numpy(SCORES)).numpy()
    np.testing.assert_allclose(predicted, np.exp(SCORES))


@pytest.mark.parametrize(
    ("loss", "optimum"),
    [
        (SquaredError(), np.mean),
        (AbsoluteError(), np.median),
        (Pinball(0.25), lambda y: np.quantile(y, 0.25)),
        (Poisson(), lambda y: math.log(np.mean(y))),
    ],
)
def test_where_a_constant_is_best(loss, optimum):
    target = RNG.gamma(2.0, size=(301, 1))
    grid = np.linspace(-1, 5, 601)
    losses = [run(loss, np.full_like(target, score), target).mean() for score in grid]
    assert grid[np.argmin(losses)] == pytest.approx(optimum(target), abs=0.02)


@pytest.mark.parametrize("name", [*REGRESSION_LOSSES, "quantile"])
def test_unknown_targets_do_not_count(name):
    loss = regression_loss(name, 0.3 if name == "quantile" else None)
    target = COUNTS[:3].copy()
    target[0, 1] = np.nan
    target[1] = np.nan
    scores = torch.from_numpy(SCORES[:3]).requires_grad_()
    losses = loss(scores, torch.from_numpy(target))
    losses.sum().backward()
    first = run(loss, SCORES[:1, :1], target[:1, :1])
    assert losses.tolist() == pytest.approx(
        [first.item(), 0.0, run(loss, SCORES[2:3], target[2:3]).item()]
    )
    assert scores.grad.isfinite().all()
    assert not scores.grad[torch.from_numpy(target).isnan()].any()


@pytest.mark.parametrize("name", [*REGRESSION_LOSSES, "quantile"])
def test_forecasts_are_averaged_over_targets_and_steps(name):
    loss = regression_loss(name, 0.3 if name == "quantile" else None)
    flat = run(loss, SCORES.reshape(10, 8), COUNTS.reshape(10, 8))
    cubes = run(loss, SCORES.reshape(10, 2, 4), COUNTS.reshape(10, 2, 4))
    np.testing.assert_allclose(cubes, flat)


def test_error_of_labels_is_the_part_that_is_wrong():
    labels = np.column_stack([RNG.integers(0, 2, 40), RNG.integers(0, 3, 40)])
    scores = RNG.normal(size=(40, 5))
    errors = CrossEntropy((2, 3)).error(*map(torch.from_numpy, (scores, labels)))
    first = scores[:, :2].argmax(axis=1) != labels[:, 0]
    second = scores[:, 2:].argmax(axis=1) != labels[:, 1]
    np.testing.assert_array_equal(errors, (first + second * 1.0) / 2)
    many = RNG.integers(0, 2, (40, 2)).astype(float)
    errors = BinaryCrossEntropy().error(*map(torch.from_numpy, (SCORES, many)))
    np.testing.assert_array_equal(errors, ((SCORES > 0) != many).mean(axis=1))


@pytest.mark.parametrize("name", [*REGRESSION_LOSSES, "quantile"])
def test_error_of_numbers_is_the_loss(name):
    loss = regression_loss(name, 0.3 if name == "quantile" else None)
    scores, target = map(torch.from_numpy, (SCORES, COUNTS))
    assert torch.equal(loss.error(scores, target), loss(scores, target))


def test_names():
    assert isinstance(regression_loss("huber"), Huber)
    assert regression_loss("quantile", 0.1).quantile == 0.1
    with pytest.raises(ValueError, match="needs the parameter quantile"):
        regression_loss("quantile")


@pytest.mark.parametrize("name", ["squared_error", "absolute_error", "huber"])
def test_forecasts_are_compared_in_units_of_the_series(name):
    """A window ten times as wide counts as its raw numbers do."""
    rng = np.random.default_rng(1)
    scores, target = rng.normal(size=(2, 6, 2, 3))
    target[0, 0, 0] = target[3, 1] = np.nan
    scale = rng.uniform(0.1, 10.0, size=(6, 2, 1))
    loc, mean, std = rng.normal(size=(3, 6, 2, 1))
    window = Window(*map(torch.from_numpy, (loc, scale, mean, std)))
    loss = regression_loss(name)
    found = loss(torch.from_numpy(scores), torch.from_numpy(target), window)
    # Neither level of the window nor units of the series count.
    expected = run(loss, scores * scale + loc, target * scale + loc)
    np.testing.assert_allclose(found, expected)
    assert not np.allclose(found, run(loss, scores, target))
    assert loss.error(torch.zeros(1, 1), torch.ones(1, 1)).shape == (1,)
