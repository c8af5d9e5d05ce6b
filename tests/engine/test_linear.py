"""The linear model beside an architecture against scikit-learn's and NumPy's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from torch import nn

from skattn import DataSpec
from skattn._engine._linear import LinearSkip, fit_column_map
from skattn._engine._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Poisson,
    SquaredError,
)
from skattn._engine._samples import TensorSamples

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


def test_only_the_head_starts_at_zero():
    data = DataSpec("regression", "table", n_features=3, category_counts=(4,))
    module = LinearSkip(Zero(data), data)
    assert not module.module.head.weight.any()
    assert not module.module.head.bias.any()
    assert module.module.body.weight.all()
    assert not any(parameter.any() for parameter in module.skip.parameters())
