"""The linear model beside an architecture against scikit-learn's and NumPy's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from torch import nn

from skattn import DataSpec
from skattn._engine._linear import LinearSkip, fit_column_map, fit_step_map
from skattn._engine._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Poisson,
    SquaredError,
)
from skattn._engine._samples import Target, TensorSamples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
CODES = np.column_stack([RNG.integers(0, 3, 80), RNG.integers(0, 2, 80)])
WEIGHT = RNG.integers(1, 4, 80).astype(float)
WEIGHT /= WEIGHT.mean()
EFFECT = X @ [1.0, -2.0, 0.5] + np.array([0.0, 1.0, -1.0])[CODES[:, 0]]


class Zero(nn.Module):
    """An architecture whose scores are those of its head alone."""

    def __init__(self, data):
        super().__init__()
        self.head = nn.Linear(1, data.n_outputs)
        self.body = nn.Linear(1, 1)

    def forward(self, x, categories=None):
        return self.head(torch.ones(len(x), 1, dtype=x.dtype))


def one_hot(with_categories):
    """Put numbers and all codes side by side."""
    if not with_categories:
        return X
    return np.hstack(
        [X, np.eye(4)[CODES[:, 0]], np.eye(2)[CODES[:, 1]]]
    )  # code 3 of the first column never occurs


def fitted_scores(target, loss, n_outputs, weight, with_categories):
    data = DataSpec(
        "regression",
        "table",
        n_outputs=n_outputs,
        n_features=3,
        category_counts=(4, 2) if with_categories else (),
    )
    module = LinearSkip(Zero(data), data).double()
    inputs = {"x": X, **({"categories": CODES} if with_categories else {})}
    samples = TensorSamples(
        inputs,
        length=3,
        dtype=torch.float64,
        device=torch.device("cpu"),
        target=target if target.ndim == 2 else target[:, None],
    )
    # The rows in another order, as the estimators order them.
    order = np.random.default_rng(1).permutation(80)
    kept = None if weight is None else weight[order]
    fit_column_map(module.skip, samples.at(order, kept), loss)
    with torch.no_grad():
        scores = module(**samples.inputs)
    return scores.numpy()


each_design = pytest.mark.parametrize("with_categories", [False, True])
each_weight = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "own"])


def centred(scores):
    return scores - scores.mean(axis=1, keepdims=True)


@each_design
@each_weight
def test_two_classes(with_categories, weight):
    labels = (RNG.normal(size=80) + EFFECT > 0).astype(int)
    scores = fitted_scores(labels, CrossEntropy((2,)), 2, weight, with_categories)
    design = one_hot(with_categories)
    model = LogisticRegression(max_iter=1000).fit(design, labels, weight)
    expected = model.decision_function(design)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], expected, atol=1e-3)
    np.testing.assert_allclose(scores.sum(axis=1), 0, atol=1e-9)


@each_design
@each_weight
def test_three_classes(with_categories, weight):
    labels = np.digitize(RNG.normal(size=80) + EFFECT, [-1, 1])
    scores = fitted_scores(labels, CrossEntropy((3,)), 3, weight, with_categories)
    design = one_hot(with_categories)
    model = LogisticRegression(max_iter=1000).fit(design, labels, weight)
    expected = model.decision_function(design)
    np.testing.assert_allclose(centred(scores), centred(expected), atol=1e-3)


@each_design
def test_several_targets_and_classes_that_do_not_occur(with_categories):
    """A class that was declared but never seen keeps the score zero."""
    labels = np.column_stack([(EFFECT > 0) * 2, np.digitize(EFFECT, [-1, 1])])
    scores = fitted_scores(labels, CrossEntropy((4, 3)), 7, None, with_categories)
    design = one_hot(with_categories)
    first, second = (
        LogisticRegression(max_iter=1000).fit(design, column) for column in labels.T
    )
    assert not scores[:, [1, 3]].any()
    np.testing.assert_allclose(
        scores[:, 2] - scores[:, 0], first.decision_function(design), atol=1e-3
    )
    np.testing.assert_allclose(
        centred(scores[:, 4:]), centred(second.decision_function(design)), atol=1e-3
    )


def test_a_target_of_one_class_stays_zero():
    labels = np.ones(80, dtype=int)
    assert not fitted_scores(labels, CrossEntropy((2,)), 2, None, False).any()


@each_design
@each_weight
def test_many_labels(with_categories, weight):
    labels = np.column_stack([EFFECT > 0, RNG.normal(size=80) > X[:, 0]])
    labels = labels.astype(np.float32)
    scores = fitted_scores(labels, BinaryCrossEntropy(), 2, weight, with_categories)
    design = one_hot(with_categories)
    for number, column in enumerate(labels.T):
        model = LogisticRegression(max_iter=1000).fit(design, column, weight)
        np.testing.assert_allclose(
            scores[:, number], model.decision_function(design), atol=1e-3
        )


@each_design
@each_weight
@pytest.mark.parametrize("loss", [SquaredError(), Huber()])
def test_numbers(with_categories, weight, loss):
    target = np.column_stack([EFFECT, X[:, 0] ** 2])
    scores = fitted_scores(target, loss, 2, weight, with_categories)
    design = one_hot(with_categories)
    expected = Ridge().fit(design, target, weight).predict(design)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@each_design
@each_weight
def test_counts(with_categories, weight):
    target = RNG.poisson(np.exp(0.3 * EFFECT)).astype(float)
    scores = fitted_scores(target, Poisson(), 1, weight, with_categories)
    design = one_hot(with_categories)
    model = PoissonRegressor(alpha=1 / 80, max_iter=1000)
    expected = model.fit(design, target, weight).predict(design)
    np.testing.assert_allclose(np.exp(scores[:, 0]), expected, rtol=1e-3)


def test_a_table_of_categories_alone():
    data = DataSpec("regression", "table", category_counts=(4, 2))
    module = LinearSkip(Zero(data), data)
    samples = TensorSamples(
        {"x": np.zeros((80, 0)), "categories": CODES},
        length=2,
        dtype=torch.float32,
        device=torch.device("cpu"),
        target=EFFECT[:, None],
    ).at(np.arange(80), None)
    fit_column_map(module.skip, samples, SquaredError())
    with torch.no_grad():
        scores = module(**samples.inputs).numpy()[:, 0]
    design = one_hot(True)[:, 3:]
    expected = Ridge().fit(design, EFFECT).predict(design)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_the_linear_model_of_a_table_stays_what_it_is():
    data = DataSpec("regression", "table", n_features=3, category_counts=(4,))
    module = LinearSkip(Zero(data), data)
    assert not any(parameter.requires_grad for parameter in module.skip.parameters())
    assert all(parameter.requires_grad for parameter in module.module.parameters())


WINDOW = {"task": "forecasting", "input": "series", "length": 6, "horizon": 4}
FORECAST = DataSpec(**WINDOW, n_channels=3, n_targets=2)


def test_the_linear_model_of_a_forecast_is_trained_on():
    module = LinearSkip(Zero(FORECAST), FORECAST)
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_only_the_head_starts_at_zero():
    module = LinearSkip(Zero(FORECAST), FORECAST)
    assert not module.module.head.weight.any()
    assert not module.module.head.bias.any()
    assert module.module.body.weight.all()
    assert not any(parameter.any() for parameter in module.skip.parameters())


def make_batches(n=40, noise=0.5, unknown=(), seed=0):
    """Windows of two targets and a covariate, in batches of 16."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3, 6)).cumsum(axis=2)
    true = rng.normal(size=(6, 4)) / 3
    target = x[:, :2] @ true + 0.7 + noise * rng.normal(size=(n, 2, 4))
    for row in unknown:
        target[row, row % 2, -1] = np.nan
    batches = [
        (
            {"x": torch.from_numpy(x[start : start + 16])},
            Target(torch.from_numpy(target[start : start + 16]), None),
        )
        for start in range(0, n, 16)
    ]
    design, goal = x[:, :2].reshape(-1, 6), target.reshape(-1, 4)
    known = ~np.isnan(goal).any(axis=1)
    return batches, design[known], goal[known]


def ridge_at_gcv_optimum(design, goal):
    """Try all strengths with the influence matrix written out."""
    n = len(design)
    centred = design - design.mean(axis=0)
    unit = np.linalg.eigvalsh(centred.T @ centred).mean()
    best = (np.inf,)
    for strength in 10.0 ** np.arange(-4, 4):
        gram = centred.T @ centred + strength * unit * np.eye(design.shape[1])
        influence = centred @ np.linalg.solve(gram, centred.T) + 1 / n
        residual = goal - influence @ goal
        score = (residual**2).sum() / (1 - np.trace(influence) / n) ** 2
        if score < best[0]:
            weight = np.linalg.solve(gram, centred.T @ goal)
            best = (score, strength, weight)
    _, strength, weight = best
    return strength, weight, goal.mean(axis=0) - design.mean(axis=0) @ weight


@pytest.mark.parametrize(
    ("n", "noise", "unknown", "strength"),
    [
        (40, 0.01, (), 1e-4),
        (40, 1.0, (), 0.1),
        (40, 1.0, (0, 3, 17), 0.1),
        (5, 3.0, (0, 3), 1000.0),
        (4, 1.0, (), 1.0),  # 0.001, if the mean were no parameter
    ],
)
def test_ridge_at_the_optimum_of_gcv(n, noise, unknown, strength):
    batches, design, goal = make_batches(n, noise, unknown)
    module = LinearSkip(Zero(FORECAST), FORECAST).double()
    fit_step_map(module.skip, iter(batches))
    found, weight, bias = ridge_at_gcv_optimum(design, goal)
    assert found == pytest.approx(strength)
    linear = module.skip.linear
    np.testing.assert_allclose(linear.weight.detach().T, weight, atol=1e-8)
    np.testing.assert_allclose(linear.bias.detach(), bias, atol=1e-8)


def test_targets_are_forecast_alike_and_covariates_ignored():
    batches, _, _ = make_batches()
    module = LinearSkip(Zero(FORECAST), FORECAST).double()
    fit_step_map(module.skip, iter(batches))
    x = batches[0][0]["x"]
    with torch.no_grad():
        scores = module.skip(x)
        assert scores.shape == (16, 2, 4)
        torch.testing.assert_close(module.skip(x[:, [1, 0, 2]]), scores[:, [1, 0]])
        x[:, 2] = 77.0
        assert torch.equal(module.skip(x), scores)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_windows_leave_zeros(rows):
    data = DataSpec(**WINDOW, n_channels=1, n_targets=1)
    module = LinearSkip(Zero(data), data).double()
    x, target = torch.ones(3, 1, 6), torch.ones(3, 1, 4)
    target[rows:] = torch.nan
    fit_step_map(module.skip, iter([({"x": x}, Target(target, None))]))
    assert not any(parameter.any() for parameter in module.skip.parameters())


def test_constant_windows_give_their_mean():
    data = DataSpec(**WINDOW, n_channels=1, n_targets=1)
    module = LinearSkip(Zero(data), data).double()
    x, target = torch.ones(8, 1, 6), torch.full((8, 1, 4), 3.0)
    fit_step_map(module.skip, iter([({"x": x}, Target(target, None))]))
    with torch.no_grad():
        torch.testing.assert_close(module.skip(x.double()), target.double())
