"""Agreement of attention between layers, estimators and epochs."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skattn import AttentionClassifier, Graph
from skattn.architectures import GAT, InteractiveAttention, SelfAttention, TextEncoder
from skattn.inspection import (
    AttentionHistory,
    attention_transfer,
    attention_weights,
    head_similarity,
)

OPTIONS = {"max_epochs": 1, "num_threads": 1}
SMALL = SelfAttention(d_model=9, num_heads=3, num_layers=2)
TEXTS = TextEncoder(d_model=8, num_heads=2, num_layers=2)
SENTENCES = ["one two", "three", "one two three two one", "two two one"]


def classifier(architecture=SMALL, seed=0, **params):
    return AttentionClassifier(architecture, random_state=seed, **OPTIONS, **params)


def frame(columns="abcd", n=30):
    values = np.random.default_rng(0).normal(size=(n, len(columns)))
    return pd.DataFrame(values, columns=list(columns))


@pytest.fixture(scope="module")
def pair():
    X = frame()
    y = X["a"] * X["b"] > 0
    return [classifier(seed=seed).fit(X, y) for seed in range(2)]


def test_layers_of_one_estimator(pair):
    X = frame()
    result = attention_transfer(pair[0], X=X)
    heads = head_similarity(pair[0], X)
    assert_allclose(result.head_similarity, heads.similarity)
    assert result.heads == result.other_heads == heads.heads
    assert result.layers == result.other_layers == heads.layers
    block = heads.similarity[:3, 3:]
    best = max(
        np.mean([block[row, column] for row, column in enumerate(order)])
        for order in permutations(range(3))
    )
    assert_allclose(result.similarity, [[1, best], [best, 1]])
    first, last = attention_weights(pair[0], X).records
    ranks = [
        spearmanr(p, q).statistic
        for p, q in zip(
            first.weights.mean(axis=1)[:, 0],
            last.weights.mean(axis=1)[:, 0],
            strict=True,
        )
    ]
    expected = np.mean(ranks)
    assert_allclose(result.rank_correlation, [[1, expected], [expected, 1]], atol=1e-6)


def test_two_estimators(pair):
    X = frame()
    result = attention_transfer(*pair, X)
    back = attention_transfer(*pair[::-1], X)
    assert_allclose(result.head_similarity, back.head_similarity.T)
    assert_allclose(result.similarity, back.similarity.T)
    assert_allclose(result.rank_correlation, back.rank_correlation.T)
    total = sum(similarity for _, _, similarity in result.matches)
    best = max(
        result.head_similarity[range(6), order].sum()
        for order in permutations(range(6))
    )
    assert_allclose(total, best)
    for one, other, similarity in result.matches:
        row, column = result.heads.index(one), result.other_heads.index(other)
        assert result.head_similarity[row, column] == similarity


def test_an_estimator_agrees_with_itself(pair):
    X = frame()
    n_threads = torch.get_num_threads()
    result = attention_transfer(pair[0], pair[0], X)
    assert_allclose(np.diag(result.similarity), 1, atol=1e-6)
    assert_allclose(np.diag(result.rank_correlation), 1, atol=1e-9)
    assert [one == other for one, other, _ in result.matches] == [True] * 6
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == n_threads


def test_texts_of_several_lengths():
    clf = classifier(TEXTS).fit(SENTENCES, [0, 1, 0, 1])
    result = attention_transfer(clf, X=SENTENCES)
    records = attention_weights(clf, SENTENCES).records
    ranks = []
    for row in range(len(SENTENCES)):
        one, other = (record.of(row).weights[0].mean(axis=0) for record in records)
        ranks += [
            spearmanr(p, q).statistic
            for p, q in zip(one[: len(other)], other[: len(one)], strict=True)
        ]
    assert_allclose(result.rank_correlation[0, 1], np.mean(ranks), atol=1e-6)


def test_edges():
    rng = np.random.default_rng(0)
    edges = np.array([[0, 1, 2, 3, 0, 2], [1, 2, 3, 0, 2, 1]])
    X = [Graph(edges, rng.normal(size=(4, 2)), directed=True) for _ in range(4)]
    one, other = (
        classifier(GAT(hidden_size=3, num_heads=2), seed).fit(X, [0, 1, 0, 1])
        for seed in range(2)
    )
    result = attention_transfer(one, other, X)
    record, twin = (attention_weights(each, X).records[0] for each in (one, other))
    nodes = record.sample * 4 + record.edge_index[1]
    ranks = []
    for node in np.unique(nodes):
        at = nodes == node
        ranks.append(
            spearmanr(
                record.weights[at].mean(axis=1), twin.weights[at].mean(axis=1)
            ).statistic
        )
    assert_allclose(result.rank_correlation[0, 0], np.mean(ranks), atol=1e-6)
    # The pooling looks along other edges.
    assert np.isnan(result.similarity[0, -1])


def test_pipelines_are_walked_through():
    X = frame()
    pipeline = make_pipeline(StandardScaler(), classifier()).fit(X, X["a"] > 0)
    alone = attention_transfer(pipeline[1], X=pipeline[0].transform(X))
    assert_array_equal(attention_transfer(pipeline, X=X).similarity, alone.similarity)


def test_other_positions_are_refused(pair):
    X = frame()
    unnamed = make_pipeline(FunctionTransformer(np.asarray), classifier())
    unnamed.fit(X, X["a"] > 0)
    with pytest.raises(ValueError, match="they name these otherwise"):
        attention_transfer(pair[0], unnamed, X)
    fewer = make_pipeline(FunctionTransformer(without_last), classifier())
    fewer.fit(X, X["a"] > 0)
    with pytest.raises(
        ValueError, match=r"to 5 \('cls', 'features'\), .* to 4 \('cls'"
    ):
        attention_transfer(pair[0], fewer, X)


def without_last(X):
    return X.iloc[:, :-1]


def half(X):
    return X[: len(X) // 2]


def test_other_samples_are_refused(pair):
    X = frame()
    fewer = make_pipeline(FunctionTransformer(half), pair[1])
    with pytest.raises(ValueError, match="30 and 15 samples"):
        attention_transfer(pair[0], fewer, X)
    assert torch.is_grad_enabled()


def test_scores_are_refused():
    pairs = [(text, text[::-1]) for text in SENTENCES]
    joint = InteractiveAttention(d_model=8, normalization="joint")
    clf = classifier(joint).fit(pairs, [0, 1, 0, 1])
    with pytest.raises(ValueError, match="do not sum to one"):
        attention_transfer(clf, X=pairs)


def test_epochs():
    X = frame()
    clf = AttentionClassifier(
        SMALL, max_epochs=3, callbacks=[AttentionHistory(8)], random_state=0
    ).fit(X, X["a"] > 0)
    history = AttentionHistory.of(clf)
    result = attention_transfer(history)
    assert result.epochs == [1, 2, 3]
    assert result.layers == [("blocks.0", "self"), ("blocks.1", "self")]
    assert np.isnan(result.similarity[:, 0]).all()
    table = history.to_frame()
    for row, layer in enumerate(result.layers):
        for epoch in (2, 3):
            part = table[(table.layer == layer.layer) & (table.epoch == epoch)]
            assert_allclose(result.similarity[row, epoch - 1], part.similarity.mean())
    with pytest.raises(ValueError, match="without X"):
        attention_transfer(history, X=X)
