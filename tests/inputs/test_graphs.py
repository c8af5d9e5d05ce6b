"""Lists of graphs as an encoder reads them."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skattn import Graph
from skattn._engine._rows import canonical_order
from skattn._inputs import input_of
from skattn._inputs._graphs import GraphListEncoder

NO_EDGES = np.empty((2, 0), dtype=int)


class Estimator:
    """Named in error messages."""


def make(scaling="auto", consumes=("batch", "edge_attr")):
    architecture = SimpleNamespace(name="some", consumes=consumes)
    return GraphListEncoder(scaling, architecture, Estimator())


def path(n, seed=0, n_edge_features=0, shift=0.0):
    rng = np.random.default_rng(seed)
    edges = np.stack([np.arange(n - 1), np.arange(1, n)])
    attr = rng.normal(size=(n - 1, n_edge_features)) if n_edge_features else None
    x = shift + 3 * rng.normal(size=(n, 2))
    return Graph(edges, x, attr, directed=True)


def read(graphs, **params):
    encoder = make(**params)
    return encoder, encoder.learn(encoder.check(graphs))


def digest(graph):
    encoder, content = read([graph])
    return tuple(encoder.identity(content)["digests"][0])


# What is a list of graphs


def test_lists_tuples_and_arrays_of_graphs_are_graph_input():
    graphs = [path(2), path(3)]
    array = np.empty(2, dtype=object)
    array[:] = graphs
    for X in (graphs, tuple(graphs), array, [None, graphs[0]], graphs[0]):
        assert input_of(X) == "graph"
    assert input_of([[1.0, 2.0]]) == "table"
    assert input_of(np.array([["a", 1]], dtype=object)) == "table"
    assert input_of([np.zeros((2, 3))]) == "series"
    assert input_of([]) == "table"
    contents = [read(X)[1] for X in (graphs, tuple(graphs), array)]
    for content in contents:
        assert content["graphs"].shape == (2,)
        assert all(
            ours is theirs
            for ours, theirs in zip(content["graphs"], graphs, strict=True)
        )


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (path(2), TypeError, r"a single Graph\. Pass \[graph\], or use NodeClass"),
        ([path(2), "text"], TypeError, "Element 1 of X is of type str"),
        ([None, path(2)], TypeError, "Element 0 of X is of type NoneType"),
        ([Graph(NO_EDGES, n_nodes=3)], ValueError, "number 0 of X has no node feat"),
        ([Graph(NO_EDGES, np.ones((3, 0)))], ValueError, "no node features"),
        (
            [path(2), Graph(NO_EDGES, sparse.eye_array(2))],
            ValueError,
            r"number 1 of X has sparse node features.*x\.toarray\(\)",
        ),
        (
            [path(2), path(3), Graph(NO_EDGES, np.ones((3, 3)))],
            ValueError,
            "number 2 of X has 3 node features, but number 0 has 2",
        ),
        (
            [path(1), path(3, n_edge_features=2), path(3)],
            ValueError,
            "number 2 of X has 0 edge features, but number 1 has 2",
        ),
        (
            np.array([[path(2)], [path(3)]], dtype=object),
            ValueError,
            r"shape \(2, 1\)\. Use X\.ravel\(\)",
        ),
    ],
)
def test_bad_graphs_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        make().check(X)


def test_edge_features_are_refused_where_the_architecture_takes_none():
    graphs = [path(2), path(2, n_edge_features=1)]
    with pytest.raises(ValueError, match=r"number 1 of X has 1 edge feat.*'some'"):
        make(consumes=("batch",)).check(graphs)
    assert len(make(consumes=("batch",)).check(graphs[:1])) == 1


def test_other_numbers_of_features_than_the_fitted_ones_are_refused():
    encoder, _ = read([path(3, n_edge_features=2)])
    wide = [Graph(NO_EDGES, np.ones((2, 5)))]
    with pytest.raises(ValueError, match="5 node features, but Estimator is expecting"):
        encoder.read(encoder.check(wide))
    with pytest.raises(ValueError, match=r"0 edge features, but .* expecting 2 edge"):
        encoder.read(encoder.check([path(3)]))


def test_graphs_without_edges_fit_any_number_of_edge_features():
    lonely = path(1)
    encoder, content = read([lonely, path(3, n_edge_features=2)])
    assert encoder.describe() == {
        "input": "graph",
        "n_features": 2,
        "n_edge_features": 2,
    }
    assert encoder.n_features_in == 2
    encoder.fit_scaling(content, None)
    arrays = encoder.tensors(content)
    assert arrays["edge_attr"].shape == (2, 2)
    only = encoder.tensors(encoder.read(encoder.check([lonely])))
    assert only["edge_attr"].shape == (0, 2)
    assert only["edge_index"].shape == (2, 0)
    encoder, content = read([lonely, lonely])
    assert encoder.describe()["n_edge_features"] == 0
    encoder.fit_scaling(content, np.array([1.0, 2.0]))
    assert "edge_attr" not in encoder.tensors(content)


# What is equal


def test_graphs_of_equal_content_are_equal_rows():
    edges = np.array([[0, 1, 1], [1, 2, 0]])
    x, attr = np.array([[0.0], [1.5], [2.0]]), np.array([1.0, 0.0, 3.0])
    graph = Graph(edges, x, attr, directed=True)
    same = [
        Graph(edges, x.copy(), attr, directed=True),
        Graph(edges, x.astype(np.float32), attr.astype(np.float32), directed=True),
        Graph(edges, -1.0 * -x, attr * [1.0, -1.0, 1.0], directed=True),
        Graph(edges[:, ::-1], x, attr[::-1], directed=True),
        Graph(edges, x, attr, nodes=["a", "b", "c"], directed=True),
    ]
    assert {digest(each) for each in same} == {digest(graph)}


def test_all_of_a_graph_counts():
    edges = np.array([[0, 1, 1], [1, 2, 0]])
    x, attr = np.array([[0.0], [1.5], [2.0]]), np.array([1.0, 0.0, 3.0])
    graphs = [
        Graph(edges, x, attr, directed=True),
        Graph(edges, x, directed=True),
        Graph(edges, x + 1e-12, attr, directed=True),
        Graph(edges, x, attr + 1e-12, directed=True),
        Graph(edges[::-1], x, attr, directed=True),
        Graph(edges[:, :2], x, attr[:2], directed=True),
        Graph(edges, np.append(x, [[0.0]], axis=0), attr, directed=True),
        Graph(NO_EDGES, np.ones((4, 1))),
        Graph(NO_EDGES, np.ones((2, 2))),
    ]
    assert len({digest(graph) for graph in graphs}) == len(graphs)


def test_the_order_of_graphs_goes_by_their_content():
    graphs = [path(2 + number % 5, seed=number) for number in range(30)]
    target, weight = np.zeros(30), np.ones(30)
    shuffled = np.random.default_rng(0).permutation(30)
    content, other = (
        encoder.identity(content)
        for encoder, content in map(read, (graphs, [graphs[row] for row in shuffled]))
    )
    order, hashes = canonical_order(content, target, weight, seed=0)
    again, same = canonical_order(other, target, weight, seed=0)
    assert_array_equal(hashes, same)
    assert_array_equal(order, shuffled[again])
    assert not np.array_equal(order, np.sort(order))


# Scales


def test_features_are_scaled_over_the_nodes_and_edges_of_all_graphs():
    graphs = [path(n, seed=n, n_edge_features=2, shift=5.0) for n in (2, 5, 9)]
    encoder, content = read(graphs)
    encoder.fit_scaling(content, None)
    arrays = encoder.tensors(content)
    for name, rows in (("x", 16), ("edge_attr", 13)):
        assert arrays[name].shape == (rows, 2)
        assert_allclose(arrays[name].mean(axis=0), 0.0, atol=1e-12)
        assert_allclose(arrays[name].std(axis=0), 1.0)
    x = np.concatenate([graph.x for graph in graphs])
    last = encoder.tensors(encoder.read(encoder.check(graphs[2:])))
    assert_allclose(last["x"], (graphs[2].x - x.mean(axis=0)) / x.std(axis=0))
    assert_array_equal(last["edge_index"], graphs[2].edge_index)


def test_weights_count_for_all_nodes_and_edges_of_a_graph():
    graphs = [path(n, seed=n, n_edge_features=1) for n in (2, 5, 9)]
    encoder, content = read(graphs)
    encoder.fit_scaling(content, np.array([1.0, 3.0, 2.0]))
    repeated, more = read([graphs[row] for row in (0, 1, 1, 1, 2, 2)])
    repeated.fit_scaling(more, None)
    ours, theirs = encoder.tensors(content), repeated.tensors(content)
    assert_allclose(ours["x"], theirs["x"])
    assert_allclose(ours["edge_attr"], theirs["edge_attr"])


def test_ranks_or_no_scales_at_all():
    graphs = [path(n, seed=n, n_edge_features=1, shift=7.0) for n in (20, 30)]
    encoder, content = read(graphs, scaling="quantile")
    encoder.fit_scaling(content, None)
    arrays = encoder.tensors(content)
    for array in (arrays["x"], arrays["edge_attr"]):
        assert_allclose(array.mean(axis=0), 0.0, atol=1e-3)
        assert np.abs(array).max() < 3
    encoder, content = read(graphs, scaling=None)
    encoder.fit_scaling(content, None)
    arrays = encoder.tensors(content)
    assert_array_equal(arrays["x"], np.concatenate([graph.x for graph in graphs]))
    assert_array_equal(arrays["edge_attr"][:19], graphs[0].edge_attr)


def test_nodes_have_no_common_names():
    encoder, content = read([path(2)])
    assert encoder.axis_names("nodes", content) is None
