"""What decides the label is found: precision at k on data where it is known."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from _planted import WIDTH, graphs, precision, series, stars, table, texts
from scipy import sparse

from skattn import AttentionClassifier, NodeClassifier
from skattn.architectures import (
    GATv2,
    GraphTransformer,
    PatchTST,
    SelfAttention,
    Transformer,
)
from skattn.inspection import (
    attention_rollout,
    gradient_rollout,
)

N_TEST = 100
OPTIONS = {"max_epochs": 20, "num_threads": 1}
KINDS = ["table", "series", "texts", "nodes", "edges"]
each_kind = pytest.mark.parametrize("kind", KINDS)


class Found(NamedTuple):
    """Accuracy on held-out samples, and how much of what decides them was found."""

    accuracy: float
    attention: float
    gradient: float


def problem(kind, seed):
    """Give an estimator that can learn, and data."""
    if kind == "table":
        net = SelfAttention()
        clf = AttentionClassifier(net, linear_skip=False, lr=5e-3, **OPTIONS)
        return clf, table(1000 + N_TEST, seed=seed)
    if kind == "series":
        net = PatchTST(num_layers=1, patch_length=WIDTH, stride=WIDTH)
        clf = AttentionClassifier(net, lr=5e-3, **OPTIONS)
        return clf, series(600 + N_TEST, seed=seed)
    if kind == "texts":
        net = Transformer(num_layers=1)
        clf = AttentionClassifier(net, linear_skip=False, lr=5e-3, **OPTIONS)
        return clf, texts(800 + N_TEST, seed=seed)
    if kind == "nodes":
        net = GATv2(num_heads=4, num_layers=1)
        return AttentionClassifier(net, lr=1e-2, **OPTIONS), graphs(600, seed=seed)
    graph, data = stars(700 + N_TEST, seed=seed)
    net = GraphTransformer(d_model=32, num_layers=1)
    clf = NodeClassifier(net, graph=graph, lr=1e-2)
    return clf.set_params(**{**OPTIONS, "max_epochs": 150}), data


@cache
def find(kind, seed):
    """Fit, explain held-out samples, and compare with what is known."""
    clf, data = problem(kind, seed)
    clf.set_params(random_state=seed)
    train, test = data.part(slice(N_TEST, None)), data.part(slice(N_TEST))
    clf.fit(train.X, train.y)
    found = []
    for method, positions in (
        (attention_rollout, test.deciding),
        (gradient_rollout, test.speaking),
    ):
        axis = kind if kind in ("nodes", "edges") else None
        importances = method(clf, test.X, axis=axis).importances
        if sparse.issparse(importances):
            importances = importances.toarray()
        if kind == "table":  # the same columns decide of all rows
            importances, positions = importances.mean(axis=0)[None], positions[:1]
        found.append(precision(importances, positions))
    return Found(clf.score(test.X, test.y), *found)


@each_kind
def test_attention_rollout_finds_what_decides(kind):
    assert find(kind, 0).attention >= 0.95


@each_kind
def test_gradient_rollout_finds_what_speaks_for_the_label(kind):
    assert find(kind, 0).gradient >= 0.95


@each_kind
def test_the_planted_truth_was_learned(kind):
    assert find(kind, 0).accuracy >= 0.9


@pytest.mark.slow
@each_kind
def test_precision_over_seeds(kind):
    results = [find(kind, seed) for seed in range(5)]
    assert np.mean([found.attention for found in results]) >= 0.95
    assert np.mean([found.gradient for found in results]) >= 0.95
