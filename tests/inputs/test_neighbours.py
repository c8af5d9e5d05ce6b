"""The nearest training rows of each row of a table."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skattn._inputs._neighbours import NeighbourEncoder


def draw(n=60, n_columns=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_columns))


def grid(side=6):
    """Points of a lattice: nearly all distances are there many times."""
    return np.stack(np.meshgrid(*[np.arange(float(side))] * 2), -1).reshape(-1, 2)


def fit(X, n_neighbors=4):
    encoder = NeighbourEncoder(None, None, n_neighbors, None)
    content = encoder.learn(encoder.check(X))
    encoder.fit_scaling(content, None)
    return encoder


def encoded(encoder, X):
    return encoder.tensors(encoder.read(encoder.check(X)))["x"]


def found_for(encoder, X):
    """Give the contents of the neighbours of each row."""
    return encoder.rows_[encoder.neighbours(encoded(encoder, X))]


def brute_force(train, queries, k):
    distinct = np.unique(train, axis=0)
    rows = []
    for query in queries:
        others = distinct[(distinct != query).any(axis=1)]
        nearest = ((others - query) ** 2).sum(axis=1).argsort(kind="stable")[:k]
        rows.append(others[nearest])
    return np.array(rows)


@pytest.mark.parametrize("n_columns", [1, 3, 20])
def test_the_nearest_rows(n_columns):
    X, other = draw(n_columns=n_columns), draw(50, n_columns, seed=1)
    encoder = fit(X)
    assert encoder.neighbours(encoded(encoder, X)).dtype == np.int64
    for queries in (X, other):
        expected = brute_force(encoded(encoder, X), encoded(encoder, queries), 4)
        assert_array_equal(found_for(encoder, queries), expected)


def test_a_row_is_no_neighbour_of_itself():
    X = draw()
    X[5] = X[9] = X[11]
    encoder = fit(X)
    for queries in (X, X[[5]], np.vstack([X[5:10], draw(300, seed=2)])):
        own = encoded(encoder, queries)
        assert not (found_for(encoder, queries) == own[:, None]).all(axis=2).any()


def test_repeated_rows_count_once():
    X = draw()
    repeated = np.repeat(X, 1 + np.arange(60) % 3, axis=0)
    encoder, longer = fit(X), fit(repeated)
    assert len(encoder.rows_) == len(longer.rows_) == 60
    assert_array_equal(found_for(longer, X), found_for(encoder, X))


@pytest.mark.parametrize(
    ("n_rows", "n_neighbors", "expected"), [(1, 4, 0), (2, 4, 1), (5, 4, 4), (9, 4, 4)]
)
def test_no_more_neighbours_than_there_are(n_rows, n_neighbors, expected):
    X = np.repeat(draw(n_rows), 3, axis=0)
    encoder = fit(X, n_neighbors)
    assert encoder.neighbours(encoded(encoder, X)).shape == (3 * n_rows, expected)
    assert encoder.neighbours(encoded(encoder, draw(2, seed=3))).shape == (2, expected)


# Of many columns distances come from products of matrices, which round.
BITS = np.random.default_rng(0).integers(0, 2, size=(80, 24)) * 0.1


@pytest.mark.parametrize(
    ("train", "queries"),
    [
        (grid(), grid()),
        (grid(), grid() + 0.5),
        (grid(), draw(300, 2)),
        (BITS, BITS),
        (BITS, 0.1 - BITS),
    ],
    ids=["lattice", "between", "drawn", "bits", "other bits"],
)
def test_neighbours_do_not_depend_on_what_else_is_asked(train, queries):
    encoder = fit(train)
    rows = encoded(encoder, queries)
    expected = encoder.neighbours(rows)
    order = np.random.default_rng(0).permutation(len(rows))
    assert_array_equal(encoder.neighbours(rows[order]), expected[order])
    for part in ([3], [3, 3], range(7, 20)):
        part = list(part)
        assert_array_equal(encoder.neighbours(rows[part]), expected[part])
    many = np.vstack([draw(300, train.shape[1], seed=4), rows])
    assert_array_equal(encoder.neighbours(many)[300:], expected)


def test_distances_are_between_scaled_rows():
    X = draw() * [1.0, 1e3, 1.0]
    encoder = NeighbourEncoder("standard", None, 4, None)
    encoder.fit_scaling(encoder.learn(encoder.check(X)), None)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    other = fit(scaled)
    assert_array_equal(
        encoder.neighbours(encoded(encoder, X)),
        other.neighbours(encoded(other, scaled)),
    )


def test_samples_bring_rows_and_neighbours():
    class Net:
        device, precision = "cpu", "float32"

    X = draw()
    encoder = fit(X)
    content = encoder.read(encoder.check(X[:5]))
    samples = encoder.samples(content, Net(), np.arange(5.0)[:, None])
    inputs, target = samples.take(torch.tensor([4, 1]))
    assert target.values.flatten().tolist() == [4.0, 1.0]
    assert inputs["neighbours"].dtype == torch.float32
    expected = found_for(encoder, X[[4, 1]]).astype(np.float32)
    assert_array_equal(inputs["neighbours"], expected)
    batches = list(encoder.samples(content, Net()).inference_batches())
    assert [len(rows) for rows, _ in batches] == [5]
    assert_array_equal(batches[0][1]["neighbours"][[4, 1]], expected)
