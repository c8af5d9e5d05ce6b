"""Scales of the features of nodes and edges."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skattn._inputs._graph_scaling import GraphScaling


def dense(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(50, 3)) * [1.0, 100.0, 1e-3] + [0.0, -7.0, 5.0]


def thin():
    x = np.where(np.random.default_rng(0).random((50, 8)) < 0.2, dense()[:, :1], 0)
    x[7] = 0.0
    return x


@pytest.mark.parametrize("scaling", ["standard", "auto"])
def test_dense_features_are_standardised(scaling):
    x = dense()
    scaled = GraphScaling(scaling).fit(x, None).nodes(x)
    assert_allclose(scaled, (x - x.mean(axis=0)) / x.std(axis=0), atol=1e-9)


def test_scales_are_those_of_what_was_fitted():
    x = dense()
    scaling = GraphScaling("standard").fit(x[:20], None)
    expected = (x[30:] - x[:20].mean(axis=0)) / x[:20].std(axis=0)
    assert_allclose(scaling.nodes(x[30:]), expected, atol=1e-9)


def test_a_constant_feature_becomes_zero():
    x = np.column_stack([dense()[:, 0], np.full(50, 3.0)])
    scaled = GraphScaling("standard").fit(x, None).nodes(x)
    assert_array_equal(scaled[:, 1], np.zeros(50))


@pytest.mark.parametrize("scaling", ["l1", "auto"])
def test_sparse_features_are_divided_by_the_sum_of_a_node(scaling):
    x = thin()
    kept = sparse.csr_array(x)
    scaled = GraphScaling(scaling).fit(kept, None).nodes(kept)
    assert isinstance(scaled, sparse.csr_array)
    assert_array_equal(scaled.indices, kept.indices)
    sums = np.abs(x).sum(axis=1, keepdims=True)
    assert sums[7] == 0
    assert_allclose(scaled.toarray(), x / np.where(sums, sums, 1))
    assert_array_equal(kept.toarray(), x)


def test_dense_features_can_be_divided_by_the_sum_of_a_node():
    x = dense()
    scaled = GraphScaling("l1").fit(x, None).nodes(x)
    assert_allclose(scaled, x / np.abs(x).sum(axis=1, keepdims=True))


def test_sparse_features_cannot_be_centred():
    with pytest.raises(ValueError, match=r"would make sparse .* input_scaling='l1'"):
        GraphScaling("standard").fit(sparse.csr_array(thin()), None)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_no_scaling(make):
    x, edge_attr = make(thin()), dense()
    scaling = GraphScaling(None).fit(x, edge_attr)
    assert scaling.nodes(x) is x
    assert_array_equal(scaling.edges(edge_attr), edge_attr)


@pytest.mark.parametrize("scaling", ["standard", "l1", "auto"])
def test_features_of_edges_are_standardised(scaling):
    edge_attr = dense(1)
    fitted = GraphScaling(scaling).fit(dense(), edge_attr[:30])
    mean, std = edge_attr[:30].mean(axis=0), edge_attr[:30].std(axis=0)
    assert_allclose(fitted.edges(edge_attr), (edge_attr - mean) / std, atol=1e-9)


@pytest.mark.parametrize("seen", [None, np.empty((0, 3))])
def test_features_of_edges_that_training_never_saw_stay(seen):
    edge_attr = dense(1)
    fitted = GraphScaling("standard").fit(dense(), seen)
    assert_array_equal(fitted.edges(edge_attr), edge_attr)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.eye(20), "l1"),
        (np.eye(5), "standard"),  # four zeros in five
        (-np.eye(20), "standard"),
        (np.ones((20, 3)), "standard"),
        (sparse.csr_array(np.ones((20, 3))), "l1"),
    ],
)
def test_bags_of_words_are_scaled_by_row(x, expected):
    assert GraphScaling("auto").fit(x, None).scaling_ == expected
