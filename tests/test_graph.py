"""Graphs: every way to make one, what is refused, what is shared and never changed."""

import copy
import inspect
import pickle
import subprocess
import sys
import warnings

import joblib
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, clone

from skattn import Graph

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import uses what torch has deprecated
    from torch_geometric.data import Data, HeteroData

# A path 0 - 1 - 2, a self-loop at 2, and node 3 by itself.
PAIRS = [(0, 1), (1, 2), (2, 2)]
BOTH = np.array([[1, 0, 2, 1, 2], [0, 1, 1, 2, 2]])
X = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [3.0, 4.0]])


def fields(graph):
    """All that a graph holds, as dense arrays."""
    x = graph.x.toarray() if graph.is_sparse else graph.x
    return {
        "edge_index": graph.edge_index,
        "x": x,
        "edge_attr": graph.edge_attr,
        "nodes": graph.nodes,
        "indptr": graph.indptr,
        "is_directed": graph.is_directed,
    }


def assert_same(graph, other):
    for name, value in fields(graph).items():
        assert_array_equal(value, fields(other)[name], err_msg=name)


def arrays_of(graph):
    found = [graph.edge_index, graph.indptr, graph.edge_attr, graph.nodes]
    x = graph.x
    return found + ([x.data, x.indices, x.indptr] if graph.is_sparse else [x])


def some_graph(n_nodes=40, n_edges=150, directed=True, seed=0, **params):
    """Make a random graph without repeated edges, in a random order."""
    rng = np.random.default_rng(seed)
    keys = rng.choice(n_nodes**2, size=n_edges, replace=False)
    pairs = np.stack([keys // n_nodes, keys % n_nodes], axis=1)
    params = {"edge_attr": rng.normal(size=(n_edges, 2)), **params}
    x = rng.normal(size=(n_nodes, 3)).astype(np.float32)
    return Graph.from_edges(pairs, x, directed=directed, **params)


def adjacency_of(graph, weight=None):
    weight = np.ones(graph.n_edges) if weight is None else weight
    dense = np.zeros((graph.n_nodes, graph.n_nodes))
    dense[tuple(graph.edge_index)] = weight
    return dense


def test_what_a_graph_holds():
    graph = Graph(BOTH[:, ::-1], X, edge_attr=[5, 4, 3, 2, 1])
    assert_array_equal(graph.edge_index, BOTH)
    assert graph.edge_index.dtype == graph.indptr.dtype == graph.nodes.dtype == np.int64
    assert graph.indptr.tolist() == [0, 1, 3, 5, 5]
    assert_array_equal(graph.x, X)
    assert graph.edge_attr.tolist() == [[1], [2], [3], [4], [5]]
    assert graph.nodes.tolist() == [0, 1, 2, 3]
    sizes = graph.n_nodes, graph.n_edges, graph.n_features, graph.n_edge_features
    assert sizes == (4, 5, 2, 1)
    assert graph.is_directed is False
    assert graph.is_sparse is False


def test_what_a_graph_without_features_holds():
    graph = Graph(BOTH, n_nodes=4)
    assert graph.x is None
    assert graph.edge_attr is None
    assert graph.n_features == graph.n_edge_features == 0
    assert Graph(BOTH, edge_attr=np.empty((5, 0)), n_nodes=4).edge_attr is None


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_what_it_says_of_itself(kind):
    what = " (sparse)" if kind is sparse.csr_array else ""
    assert repr(Graph(BOTH, kind(X))) == (
        f"Graph(nodes=4, edges=5, features=2{what}, edge_features=0, directed=False)"
    )


def networkx_of(directed=False):
    graph = nx.DiGraph() if directed else nx.Graph()
    for number, row in enumerate(X.tolist()):
        graph.add_node(number, first=row[0], both=row)
    ends = BOTH.T.tolist() if directed else PAIRS
    for source, target in ends:
        graph.add_edge(source, target, length=1.0 + source + target)
    return graph


@pytest.mark.parametrize("directed", [False, True])
def test_every_way_to_make_a_graph_gives_the_same(directed):
    attr = 1.0 + BOTH.sum(axis=0)
    expected = Graph(BOTH, X, attr, directed=directed)
    shuffled = np.random.default_rng(0).permutation(BOTH.shape[1])
    edges, mixed = BOTH[:, shuffled], attr[shuffled]
    params = {"edge_attr": mixed, "directed": directed}
    matrix = sparse.coo_array((mixed, tuple(edges)), shape=(4, 4))
    frame = pd.DataFrame(edges.T, columns=["from", "to"])
    made = {
        "positions": Graph(edges, X, **params),
        "lists": Graph(edges.tolist(), X.tolist(), **params),
        "small integers": Graph(edges.astype(np.int8), X, **params),
        "unsigned integers": Graph(edges.astype(np.uint64), X, **params),
        "names": Graph(edges, X, nodes=range(4), **params),
        "tensors": Graph(torch.tensor(edges), torch.tensor(X), **params),
        "a frame of features": Graph(edges, pd.DataFrame(X), **params),
        "from_edges": Graph.from_edges(edges.T, X, **params),
        "from_edges, frame": Graph.from_edges(frame, X, **params),
        "from_edges, pairs": Graph.from_edges(list(map(tuple, edges.T)), X, **params),
        "from_networkx": Graph.from_networkx(networkx_of(directed), "both", "length"),
    }
    for layout in ("csr", "csc", "coo", "lil"):
        adjacency = matrix.asformat(layout)
        made[layout] = Graph.from_scipy(adjacency, X, directed=directed)
    made["spmatrix"] = Graph.from_scipy(sparse.csr_matrix(matrix), X, directed=directed)
    if not directed:
        data = Data(
            x=torch.tensor(X),
            edge_index=torch.tensor(edges),
            edge_attr=torch.tensor(mixed),
        )
        made["from_data"] = Graph.from_data(data)
        half = Graph.from_edges(PAIRS, X, [2.0, 4.0, 5.0])
        made["from_edges, one direction"] = half
    for way, graph in made.items():
        try:
            assert_same(graph, expected)
        except AssertionError as error:
            raise AssertionError(way) from error


@pytest.mark.parametrize("n_edges", [0, 1, 60, 400])
@pytest.mark.parametrize("directed", [False, True])
def test_edges_are_sorted_and_keep_their_features(n_edges, directed):
    rng = np.random.default_rng(n_edges)
    keys = rng.choice(400, size=n_edges, replace=False)
    source, target = keys // 20, keys % 20
    attr = rng.normal(size=n_edges)
    expected = dict(zip(zip(target, source, strict=True), attr, strict=True))
    if not directed:
        for at in range(n_edges):
            expected.setdefault((source[at], target[at]), attr[at])
    graph = Graph.from_edges(
        np.stack([source, target], axis=1), None, attr, n_nodes=20, directed=directed
    )
    found = list(zip(*graph.edge_index[::-1].tolist(), strict=True))
    assert found == sorted(expected)
    values = np.array([expected[edge] for edge in found])
    assert_array_equal(graph.edge_attr, values.reshape(-1, 1))
    assert graph.edge_index.flags.c_contiguous
    for node in range(20):
        inside = slice(*graph.indptr[[node, node + 1]])
        assert_array_equal(
            np.arange(graph.n_edges)[inside],
            np.flatnonzero(graph.edge_index[1] == node),
        )


def test_both_directions_of_an_edge_may_have_features_of_their_own():
    graph = Graph.from_edges([(1, 0), (0, 1), (1, 2)], None, [1, 2, 3], n_nodes=3)
    assert_array_equal(graph.edge_index, [[1, 0, 2, 1], [0, 1, 1, 2]])
    assert graph.edge_attr[:, 0].tolist() == [1, 2, 3, 3]
    assert_same(graph, Graph(graph.edge_index, None, [1, 2, 3, 3], n_nodes=3))


@pytest.mark.parametrize("directed", [False, True])
def test_graphs_without_edges(directed):
    expected = Graph(np.empty((2, 0), dtype=int), X, directed=directed)
    assert expected.n_edges == 0
    assert expected.edge_index.shape == (2, 0)
    assert expected.edge_index.dtype == np.int64
    assert expected.indptr.tolist() == [0] * 5
    assert_same(Graph([[], []], X, directed=directed), expected)
    assert_same(Graph.from_edges([], X, directed=directed), expected)
    frame = pd.DataFrame({"from": [], "to": []})
    assert_same(Graph.from_edges(frame, X, directed=directed), expected)
    empty = sparse.csr_array((4, 4))
    assert_same(Graph.from_scipy(empty, X, directed=directed), expected)
    assert_same(expected.subgraph(range(4)), expected)
    assert Graph([[], []], X, np.empty((0, 3)), directed=directed).n_edge_features == 3


def test_one_node():
    graph = Graph([[0], [0]], [[1.0]])
    assert graph.n_edges == 1
    assert_same(graph.subgraph([0]), graph)
    assert Graph([[], []], n_nodes=1).n_nodes == 1


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (bool, np.float32),
        (np.int64, np.float32),
        (np.uint8, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csc_array, sparse.coo_matrix])
def test_types_of_features(dtype, expected, kind):
    values = np.array([[1, 0], [0, 1], [0, 0], [1, 1]], dtype=dtype)
    graph = Graph(BOTH, kind(values.astype(dtype)), edge_attr=values[[0] * 5])
    assert graph.x.dtype == graph.edge_attr.dtype == expected
    assert graph.is_sparse == sparse.issparse(kind(values))
    assert_array_equal(fields(graph)["x"], values)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float16, np.float32),
        (object, np.float64),
        (np.longdouble, np.float64),
        (">f4", np.float32),
        (">f8", np.float64),
    ],
)
def test_other_types_become_what_torch_can_use(dtype, expected):
    graph = Graph(BOTH.astype(">i8"), X.astype(dtype))
    assert graph.x.dtype == expected
    assert graph.x.dtype.isnative
    assert graph.edge_index.dtype.isnative
    assert_array_equal(graph.x, X)


@pytest.mark.parametrize("x", [np.asfortranarray(X), X[:, ::-1], X[::-1]])
def test_features_lie_in_rows(x):
    graph = Graph(BOTH, x)
    assert graph.x.flags.c_contiguous
    assert_array_equal(graph.x, x)


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "lil", "dok"])
def test_sparse_features_stay_sparse(layout):
    values = sparse.csr_array(X).asformat(layout)
    graph = Graph(BOTH, values)
    assert isinstance(graph.x, sparse.csr_array)
    assert graph.x.has_canonical_format
    assert_array_equal(graph.x.toarray(), X)
    assert graph.n_features == 2


def test_sparse_features_that_are_out_of_order_stay_as_they_are():
    values = sparse.csr_array(
        (np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1]), np.array([0, 3])), shape=(1, 2)
    )
    graph = Graph([[], []], values)
    assert graph.x.toarray().tolist() == [[2.0, 4.0]]
    assert graph.x.nnz == 2
    assert values.indices.tolist() == [1, 0, 1]


def test_arrays_that_fit_are_not_copied_and_the_callers_stay_writeable():
    x, attr = X.copy(), np.ones((5, 2))
    graph = Graph(BOTH, x, attr)
    assert np.shares_memory(graph.x, x)
    assert np.shares_memory(graph.edge_attr, attr)
    assert np.shares_memory(graph.edge_index, BOTH)
    assert x.flags.writeable
    assert BOTH.flags.writeable
    values = sparse.csr_array(X)
    graph = Graph(BOTH, values)
    for part in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(graph.x, part), getattr(values, part))
        assert getattr(values, part).flags.writeable
    data = Data(x=torch.tensor(X), edge_index=torch.tensor(BOTH))
    assert np.shares_memory(Graph.from_data(data).x, data.x.numpy())


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("again", [lambda graph: graph, lambda graph: repickled(graph)])
def test_a_graph_never_changes(kind, again):
    graph = again(Graph(BOTH, kind(X), np.ones(5), nodes=["a", "b", "c", "d"]))
    for array in arrays_of(graph):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = array
    for name in ("x", "edge_index", "n_nodes", "nodes", "new", "is_sparse"):
        with pytest.raises(AttributeError, match=f"{name}' cannot be set"):
            setattr(graph, name, None)
    with pytest.raises(AttributeError, match="'x' cannot be deleted"):
        del graph.x


def repickled(graph):
    return pickle.loads(pickle.dumps(graph))


class Holder(BaseEstimator):
    def __init__(self, graph=None):
        self.graph = graph


def test_copies_are_the_graph_itself():
    graph = some_graph()
    assert copy.copy(graph) is graph
    assert copy.deepcopy(graph) is graph
    assert clone(graph) is graph
    assert clone(Holder(graph)).graph is graph
    assert copy.deepcopy({"graph": [graph]})["graph"][0] is graph


@pytest.mark.parametrize("nodes", [None, [7, 3, 5, 9], ["d", "b", "a", "c"]])
@pytest.mark.parametrize("kind", [None, np.asarray, sparse.csr_array])
def test_a_pickle_holds_everything(nodes, kind):
    x = None if kind is None else kind(X)
    n_nodes = 4 if nodes is None else None
    graph = Graph(BOTH, x, np.ones(5), nodes=nodes, n_nodes=n_nodes)
    graph.positions(graph.nodes)
    found = repickled(graph)
    assert_same(found, graph)
    assert repr(found) == repr(graph)
    assert_array_equal(found.positions(graph.nodes[::-1]), [3, 2, 1, 0])
    assert_same(found.subgraph([2, 1]), graph.subgraph([2, 1]))


def test_a_pickle_holds_no_table_of_names():
    graph = Graph([[], []], nodes=[f"node number {at}" for at in range(500)])
    graph.positions(["node number 7"])
    assert b"pandas" not in pickle.dumps(graph)


def seen_by_a_worker(graph):
    """Types, files and sums of a graph's arrays, in the process that runs this."""
    arrays = arrays_of(graph)
    files = [getattr(array, "filename", None) for array in arrays]
    sums = [float(array.sum()) for array in arrays if array.dtype.kind != "U"]
    kinds = [isinstance(array, np.memmap) for array in arrays]
    writeable = [array.flags.writeable for array in arrays]
    found = graph.subgraph(graph.positions(graph.nodes[[5, 2, 1]]))
    same = clone(Holder(graph)).graph is graph
    return kinds, files, sums, writeable, pickle.dumps(found), same


@pytest.mark.parametrize("as_sparse", [False, True])
def test_worker_processes_map_the_arrays(as_sparse):
    graph = some_graph()
    x = sparse.csr_array(graph.x) if as_sparse else graph.x
    names = [f"n{at}" for at in range(graph.n_nodes)]
    params = {"nodes": names, "directed": True}
    graph = Graph(graph.edge_index, x, graph.edge_attr, **params)
    with joblib.parallel_config(backend="loky"):
        found = Parallel(n_jobs=2, max_nbytes=100)(
            delayed(seen_by_a_worker)(each) for each in (graph, clone(graph))
        )
    expected = [
        float(array.sum()) for array in arrays_of(graph) if array.dtype.kind != "U"
    ]
    part = graph.subgraph([5, 2, 1])
    for kinds, _, sums, writeable, pickled, same in found:
        assert all(kinds)
        assert not any(writeable)
        assert sums == expected
        assert_same(pickle.loads(pickled), part)
        assert same
    assert found[0][1] == found[1][1]  # one file for all


def test_a_mapped_dump_is_read_without_a_copy(tmp_path):
    graph = some_graph()
    joblib.dump(graph, tmp_path / "graph")
    found = joblib.load(tmp_path / "graph", mmap_mode="r")
    assert all(isinstance(array, np.memmap) for array in arrays_of(found))
    assert_same(found, graph)
    again = Graph(found.edge_index, found.x, found.edge_attr, directed=True)
    assert np.shares_memory(again.x, found.x)
    assert np.shares_memory(again.edge_index, found.edge_index)


NAMES = [
    range(4),
    np.array([9, 4, 7, -1]),
    np.array([9, 4, 7, 1], dtype=np.uint16),
    ["d", "bb", "", "Ä"],
    np.array(["d", "bb", "c", "a"], dtype=object),
    pd.Series(["d", "bb", "c", "a"], index=[3, 2, 1, 0]),
    pd.Index([9, 4, 7, 1]),
    pd.Series([9, 4, 7, 1], dtype="Int64"),
    pd.Categorical(["d", "bb", "c", "a"]),
]


@pytest.mark.parametrize("nodes", NAMES)
def test_names_of_nodes(nodes):
    listed = list(nodes)
    graph = Graph(BOTH, X, nodes=nodes)
    assert graph.nodes.tolist() == listed
    assert graph.nodes.dtype.kind in "iU"
    wanted = [3, 1, 1, 0]
    ids = [listed[at] for at in wanted]
    for form in (
        ids,
        np.array(ids),
        np.array(ids)[:, None],
        np.array(ids, dtype=object),
        pd.Series(ids),
        pd.DataFrame({"node": ids}),
        graph.nodes[wanted],
    ):
        found = graph.positions(form)
        assert found.dtype == np.int64
        assert found.tolist() == wanted
    pairs = [(listed[source], listed[target]) for source, target in PAIRS]
    assert_same(Graph.from_edges(pairs, X, nodes=nodes), graph)
    assert_same(Graph.from_edges(pd.DataFrame(pairs), X, nodes=nodes), graph)
    assert_same(Graph.from_edges(np.array(pairs), X, nodes=nodes), graph)


def test_no_names_give_no_positions():
    for graph in (Graph(BOTH, X), Graph(BOTH, X, nodes=["a", "b", "c", "d"])):
        assert graph.positions([]).dtype == np.int64
        assert graph.positions([]).shape == graph.positions(np.empty((0, 1))).shape
        assert graph.positions([]).tolist() == []


@pytest.mark.parametrize(
    ("nodes", "ids", "message"),
    [
        (None, [4], r"ids names 1 node\(s\) that .* have: 4; the nodes are 0 to 3"),
        (None, [-1, 2], r"1 node\(s\) .*: -1;"),
        (None, range(3, 20), r"16 node\(s\) .*: 4, 5, 6, 7, 8, \.\.\.;"),
        (None, ["a"], "ids holds strings, but the nodes are named by integers"),
        (None, [1.0], "ids has the dtype float64"),
        (None, [True], "ids has the dtype bool"),
        (None, [1, None], "ids has the dtype mixed"),
        (None, [1, "a"], "ids has the dtype mixed-integer objects"),
        (None, np.array([2**63], dtype=np.uint64), "integers beyond those of int64"),
        (None, [2**70], "integers beyond those of int64"),
        (None, [[1, 2]], r"ids has the shape \(1, 2\), but must have one column"),
        (None, 1, r"ids has the shape \(\)"),
        (None, [[1], [2, 3]], "ids is no array"),
        (["a", "b", "c", "d"], ["a", "x", "x"], r"1 node\(s\) .*: 'x'; the attribute"),
        (["a", "b", "c", "d"], np.array(["A"]), r"1 node\(s\) .*: 'A'; the attribute"),
        (["a", "b", "c", "d"], [0], "ids holds integers, .* named by strings"),
        ([5, 6, 7, 8], [0, 6], r"1 node\(s\) .*: 0; the attribute nodes"),
    ],
)
def test_unknown_names(nodes, ids, message):
    with pytest.raises(ValueError, match=message):
        Graph(BOTH, X, nodes=nodes).positions(ids)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([1, 2, 1, 3], "nodes holds 1 twice, at 0 and 2"),
        (["a", "b", "c", "b"], "nodes holds 'b' twice, at 1 and 3"),
        (pd.Series(["a", "b", "c", "b"]), "nodes holds 'b' twice, at 1 and 3"),
        ([0.0, 1.0, 2.0, 3.0], "nodes has the dtype float64"),
        ([0, 1, 2, "a"], "nodes has the dtype mixed-integer objects"),
        (["a", "b", None, "c"], "nodes has the dtype mixed objects"),
        (pd.Series(["a", None, "b", "c"]), "nodes has the dtype mixed objects"),
        ([b"a", b"b", b"c", b"d"], r"nodes has the dtype \|S1"),
        ([[0, 1, 2, 3]], r"nodes has the shape \(1, 4\), but must have one dimension"),
        ([0, 1, 2], r"numbers of nodes differ: 3 \(nodes\) and 4 \(x\)"),
    ],
)
def test_wrong_names(nodes, message):
    with pytest.raises(ValueError, match=message):
        Graph(BOTH, X, nodes=nodes)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "number of nodes is unknown.*Give x, nodes or n_nodes"),
        ({"n_nodes": 3, "x": X}, r"differ: 3 \(n_nodes\) and 4 \(x\)"),
        ({"n_nodes": 3, "nodes": "abcd"}, r"nodes has the shape \(\)"),
        ({"n_nodes": 0}, "has a node at least, not 0"),
        ({"n_nodes": -2}, "has a node at least, not -2"),
        ({"nodes": []}, "has a node at least, not 0"),
        ({"x": np.empty((0, 3))}, "has a node at least, not 0"),
    ],
)
def test_the_number_of_nodes(params, message):
    for edges, make in (([[], []], Graph), ([], Graph.from_edges)):
        with pytest.raises(ValueError, match=message):
            make(edges, **params)


@pytest.mark.parametrize("n_nodes", [4.0, True, "4"])
def test_a_number_of_nodes_that_is_none(n_nodes):
    with pytest.raises(TypeError, match=r"n_nodes=.* must be an integer, or None"):
        Graph(BOTH, n_nodes=n_nodes)


@pytest.mark.parametrize(
    ("edge_index", "message"),
    [
        (
            [[0, 1, 4], [1, 0, 0]],
            "edge 4 -> 0, at 2 in edge_index, leads .* there are 4",
        ),
        ([[0, 1, 0], [1, 0, -1]], "edge 0 -> -1, at 2 in edge_index"),
        ([[0.0, 1.0], [1.0, 0.0]], "edge_index has the dtype float64"),
        ([[False, True], [True, False]], "edge_index has the dtype bool"),
        ([["a"], ["b"]], "edge_index has the dtype <U1.*Use Graph.from_edges for"),
        ([[0, 1], [1, 0], [1, 2]], r"shape \(3, 2\).*Transpose it, or use Graph.from"),
        ([0, 1], r"edge_index has the shape \(2,\), but must have two rows"),
        ([[0, 1], [1]], "edge_index is no array"),
    ],
)
def test_wrong_edge_indices(edge_index, message):
    with pytest.raises(ValueError, match=message):
        Graph(edge_index, X)


@pytest.mark.parametrize(
    ("edges", "params", "message"),
    [
        ([(0, 4), (9, 1)], {}, r"edges names 2 node\(s\) .*: 4, 9; the nodes are 0 to"),
        ([("a", "b")], {}, "edges holds strings, but .* by integers.*parameter nodes"),
        ([("a", "x")], {"nodes": list("abcd")}, r"edges names 1 node\(s\) .*: 'x'"),
        ([(0, 1)], {"nodes": list("abcd")}, "edges holds integers, .* by strings"),
        ([("a", 1)], {"nodes": list("abcd")}, "edges has the dtype mixed"),
        ([(0.0, 1.0)], {}, "edges has the dtype float64"),
        ([(0, np.nan)], {}, "edges has the dtype float64"),
        (
            [(0, 1, 2)],
            {},
            r"edges has the shape \(1, 3\).*edge_attr; .* Graph\(edge_index\)",
        ),
        ([0, 1], {}, r"edges has the shape \(2,\)"),
    ],
)
def test_wrong_edges(edges, params, message):
    with pytest.raises(ValueError, match=message):
        Graph.from_edges(edges, X, **params)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.coo_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_that_are_not_finite(value, kind, dtype):
    x = X.astype(dtype)
    x[3, 1] = value
    with pytest.raises(
        ValueError, match=rf"x holds {value} in row 3 \(node 3\), col.* 1"
    ):
        Graph(BOTH, kind(x))
    with pytest.raises(ValueError, match=r"in row 3 \(node 'd'\), column 1"):
        Graph(BOTH, kind(x), nodes=list("abcd"))
    x[2, 0] = value
    with pytest.raises(
        ValueError, match=rf"x holds {value} in row 2 \(node 2\), col.* 0"
    ):
        Graph(BOTH, kind(x))


def test_finite_features_whose_sum_is_not():
    x = np.full((4, 2), np.finfo(np.float32).max)
    assert_array_equal(Graph(BOTH, x).x, x)
    assert Graph(BOTH, sparse.csr_array(x)).x.nnz == 8


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, 0], r"x has the shape \(4,\), but .*Use x.reshape\(-1, 1\)"),
        (X[None], r"x has the shape \(1, 4, 2\)"),
        (X.astype(complex), "x has the dtype complex128, but must hold real numbers"),
        (sparse.csr_array(X.astype(complex)), "x has the dtype complex128"),
        (np.full((4, 1), "a"), "x has the dtype <U1.*OneHotEncoder"),
        (
            pd.DataFrame({"a": ["u"] * 4, "b": [1] * 4}),
            "x holds something that is no n",
        ),
        ([[1.0], [1.0, 2.0]], "x holds something that is no number"),
        ([[10**400]], "x holds something that is no number"),
    ],
)
def test_wrong_features(x, message):
    with pytest.raises(ValueError, match=message):
        Graph(BOTH, x)


@pytest.mark.parametrize(
    ("edge_attr", "message"),
    [
        (np.ones(4), r"edge_attr has the shape \(4, 1\), .* each of the 5 edges"),
        (np.ones((3, 5)), r"edge_attr has the shape \(3, 5\)"),
        (np.ones((5, 1, 1)), r"edge_attr has the shape \(5, 1, 1\)"),
        ([1, 2, 3, np.nan, 5], "edge_attr holds nan at the edge number 3"),
        (
            np.where(np.eye(5) > 0, np.inf, 1),
            "edge_attr holds inf at the edge number 0",
        ),
        (["a"] * 5, "edge_attr has the dtype <U1"),
        ([1, 2, 3, None, "a"], "edge_attr holds something that is no number"),
    ],
)
def test_wrong_features_of_edges(edge_attr, message):
    for edges, make in ((BOTH, Graph), (BOTH.T, Graph.from_edges)):
        with pytest.raises(ValueError, match=message):
            make(edges, X, edge_attr)


def test_an_edge_without_its_reverse():
    lonely = [[0, 1, 1, 3], [1, 0, 2, 2]]
    message = r"2 of 4 edges lack their reverse, such as 1 -> 2, .*directed=True, or Gr"
    with pytest.raises(ValueError, match=message):
        Graph(lonely, X)
    with pytest.raises(ValueError, match="such as 'b' -> 'c'"):
        Graph(lonely, X, np.ones(4), nodes=list("abcd"))
    assert Graph(lonely, X, directed=True).n_edges == 4
    assert Graph.from_edges(np.transpose(lonely), X).n_edges == 6
    matrix = sparse.coo_array((np.ones(4), tuple(np.array(lonely))), shape=(4, 4))
    with pytest.raises(ValueError, match=r"adjacency.maximum\(adjacency.T\)"):
        Graph.from_scipy(matrix)
    assert Graph.from_scipy(matrix.tocsr().maximum(matrix.T.tocsr())).n_edges == 6


def test_edges_that_are_there_twice_are_merged_and_counted():
    twice = np.concatenate([BOTH, BOTH[:, :2], BOTH[:, -1:]], axis=1)
    with pytest.warns(UserWarning, match="3 of 8 edges repeat others") as caught:
        graph = Graph(twice, X)
    assert caught[0].filename == __file__
    assert_same(graph, Graph(BOTH, X))
    with pytest.warns(UserWarning, match="3 of 8 edges repeat others") as caught:
        graph = Graph.from_edges(twice.T, X)
    assert caught[0].filename == __file__
    assert_same(graph, Graph(BOTH, X))
    with pytest.warns(UserWarning, match="1 of 2 edges"):
        assert Graph([[2, 2], [2, 2]], X).n_edges == 1


def test_edges_with_features_may_not_be_there_twice():
    twice = np.concatenate([BOTH, BOTH[:, 2:3]], axis=1)
    message = "the edge 2 -> 1 is there twice, at 2 and 5, and only one"
    for edges, make in ((twice, Graph), (twice.T, Graph.from_edges)):
        with pytest.raises(ValueError, match=message):
            make(edges, X, np.arange(6))
    names = list("abcd")
    with pytest.raises(ValueError, match="the edge 'c' -> 'b' is there twice"):
        Graph(twice, X, np.arange(6), nodes=names)


@pytest.mark.parametrize("dtype", [bool, int, float])
def test_an_adjacency_of_ones_gives_no_features(dtype):
    matrix = sparse.csr_array(adjacency_of(Graph(BOTH, X)).astype(dtype))
    graph = Graph.from_scipy(matrix, X, nodes=list("abcd"))
    assert_same(graph, Graph(BOTH, X, nodes=list("abcd")))


def test_an_adjacency_names_rows_as_sources():
    dense = np.array([[0, 2.0, 0], [0, 0, 3.0], [4.0, 0, 0]])
    graph = Graph.from_scipy(sparse.csr_array(dense), directed=True)
    assert_array_equal(graph.edge_index, [[2, 0, 1], [0, 1, 2]])
    assert graph.edge_attr[:, 0].tolist() == [4, 2, 3]
    assert graph.edge_attr.dtype == np.float64
    assert graph.is_directed
    integers = sparse.csr_array(dense.astype(int))
    assert Graph.from_scipy(integers, directed=True).edge_attr.dtype == np.float32


def test_zeros_that_an_adjacency_stores_are_edges():
    matrix = sparse.coo_array(([1.0, 0, 0], ([0, 1, 2], [0, 2, 1])), shape=(3, 3))
    graph = Graph.from_scipy(matrix)
    assert_array_equal(graph.edge_index, [[0, 2, 1], [0, 1, 2]])
    assert graph.edge_attr[:, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_values_that_an_adjacency_stores_twice_are_added(layout):
    parts = {
        "coo": ([1.0, 1, 1], ([0, 0, 1], [1, 1, 0])),
        "csr": (np.array([1.0, 1, 1]), np.array([1, 1, 0]), np.array([0, 2, 3])),
        "csc": (np.array([1.0, 1, 1]), np.array([1, 0, 0]), np.array([0, 1, 3])),
    }
    matrix = getattr(sparse, f"{layout}_array")(parts[layout], shape=(2, 2))
    graph = Graph.from_scipy(matrix, directed=True)
    assert_array_equal(graph.edge_index, [[1, 0], [0, 1]])
    assert graph.edge_attr[:, 0].tolist() == [1, 2]
    assert matrix.nnz == 3


@pytest.mark.parametrize(
    ("adjacency", "params", "message"),
    [
        (np.eye(3), {}, r"of type ndarray.*Wrap it: scipy.sparse.csr_array"),
        (sparse.csr_array((2, 3)), {}, r"shape \(2, 3\), but must be square"),
        (sparse.coo_array(np.ones(3)), {}, r"shape \(3,\), but must be square"),
        (sparse.csr_array((3, 3)), {"x": X}, r"3 \(adjacency\) and 4 \(x\)"),
        (sparse.csr_array((0, 0)), {}, "has a node at least"),
        (sparse.csr_array([[np.nan]]), {}, "adjacency holds nan at the edge number 0"),
        (sparse.csr_array([[1j]]), {}, "adjacency has the dtype complex128"),
        (sparse.csr_array([[0, 1], [0, 0]]), {}, "1 of 1 edges lack .* 0 -> 1"),
        (
            sparse.csr_array([[0, 1.5], [2.5, 0]]),
            {"nodes": ["a", "b"]},
            r"not symmetric: the edge 'b' -> 'a' has the value 2.5, its reverse 1.5",
        ),
    ],
)
def test_wrong_adjacencies(adjacency, params, message):
    with pytest.raises(ValueError, match=message):
        Graph.from_scipy(adjacency, **params)


def test_names_and_order_of_networkx_are_kept():
    theirs = nx.karate_club_graph()
    ours = Graph.from_networkx(theirs, edge_features=["weight"])
    expected = nx.to_numpy_array(theirs)
    assert_array_equal(adjacency_of(ours, ours.edge_attr[:, 0]), expected)
    named = nx.DiGraph([("b", "a"), ("c", "b")])
    graph = Graph.from_networkx(named)
    assert graph.nodes.tolist() == ["b", "a", "c"]
    assert_array_equal(graph.edge_index, [[2, 0], [0, 1]])
    assert graph.is_directed
    assert graph.x is graph.edge_attr is None
    reordered = nx.Graph([(7, 5)])
    assert Graph.from_networkx(reordered).nodes.tolist() == [7, 5]


def test_attributes_of_networkx_side_by_side():
    graph = Graph.from_networkx(networkx_of(), ["both", "first"])
    assert_array_equal(graph.x, np.column_stack([X, X[:, 0]]))
    assert Graph.from_networkx(networkx_of(), "first").n_features == 1
    assert Graph.from_networkx(networkx_of(), [], []).n_features == 0
    lonely = nx.empty_graph(3)
    assert Graph.from_networkx(lonely, edge_features="length").n_edges == 0


def test_wrong_networkx_graphs():
    graph = networkx_of()
    with pytest.raises(ValueError, match="the node 0 has no attribute 'last'; it has"):
        Graph.from_networkx(graph, ["first", "last"])
    del graph[1][2]["length"]
    with pytest.raises(
        ValueError, match="edge 1 -> 2 has no attribute 'length'; it ha"
    ):
        Graph.from_networkx(graph, edge_features="length")
    graph.nodes[2]["both"] = [1.0]
    with pytest.raises(ValueError, match="attribute 'both' holds vectors of several"):
        Graph.from_networkx(graph, "both")
    graph.nodes[2]["first"] = None
    with pytest.raises(ValueError, match="x holds nan in row 2"):
        Graph.from_networkx(graph, "first")
    with pytest.raises(
        ValueError, match=r"a MultiGraph.*networkx.Graph\(graph\) keeps"
    ):
        Graph.from_networkx(nx.MultiGraph([(0, 1)]))
    with pytest.raises(ValueError, match=r"networkx.DiGraph\(graph\) keeps the last"):
        Graph.from_networkx(nx.MultiDiGraph([(0, 1)]))
    for names in ((2, "ab"), (2, 3)):  # pairs
        with pytest.raises(
            ValueError, match=r"node .* of type tuple.*convert_node_labels_to_integers"
        ):
            Graph.from_networkx(nx.grid_graph(names))
    with pytest.raises(ValueError, match="has a node at least"):
        Graph.from_networkx(nx.Graph())
    with pytest.raises(TypeError, match="of type ndarray, but must be a networkx"):
        Graph.from_networkx(np.eye(2))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("layout", ["dense", "coo", "csr"])
def test_data_of_torch_geometric(layout):
    x = torch.tensor(X, dtype=torch.float32)
    x = {"dense": x, "coo": x.to_sparse(), "csr": x.to_sparse_csr()}[layout]
    edges = torch.tensor(BOTH)
    data = Data(x=x, edge_index=edges, y=torch.arange(4))
    graph = Graph.from_data(data)
    assert_same(graph, Graph(BOTH, X.astype(np.float32)))
    assert graph.is_sparse == (layout != "dense")
    assert not hasattr(graph, "y")
    data.x = data.x.bfloat16()  # which NumPy does not know
    assert_same(Graph.from_data(data), graph)


def test_directions_of_data():
    edges = torch.tensor(BOTH)
    attr = torch.arange(5.0)
    graph = Graph.from_data(Data(edge_index=edges, edge_attr=attr, num_nodes=4))
    assert graph.is_directed  # both directions differ in their features
    assert graph.edge_attr[:, 0].tolist() == [0, 1, 2, 3, 4]
    half = Graph.from_data(Data(edge_index=edges[:, :1], num_nodes=4))
    assert half.is_directed
    none = torch.empty((2, 0), dtype=torch.long)
    assert Graph.from_data(Data(edge_index=none, num_nodes=4)).n_edges == 0


def test_wrong_data():
    with pytest.raises(TypeError, match=r"HeteroData.*Call data.to_homogeneous\(\)"):
        Graph.from_data(HeteroData())
    with pytest.raises(TypeError, match=r"of type dict, .* torch_geometric.data.Data"):
        Graph.from_data({})
    with pytest.raises(ValueError, match="data has no edge_index"):
        Graph.from_data(Data(x=torch.tensor(X)))


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_a_subgraph_is_that_of_networkx(directed, kind):
    graph = some_graph(directed=directed)
    graph = Graph(
        graph.edge_index,
        kind(graph.x),
        graph.edge_attr,
        nodes=np.arange(100, 140)[::-1],
        directed=directed,
    )
    theirs = nx.DiGraph()
    theirs.add_nodes_from(range(graph.n_nodes))
    for source, target, attr in zip(*graph.edge_index, graph.edge_attr, strict=True):
        theirs.add_edge(int(source), int(target), attr=attr)
    rng = np.random.default_rng(1)
    for size in (1, 2, 15, 40):
        kept = rng.permutation(graph.n_nodes)[:size]
        for chosen in (kept, np.sort(kept)):
            found = graph.subgraph(chosen)
            assert found.is_directed is directed
            assert found.is_sparse == graph.is_sparse
            assert_array_equal(found.nodes, graph.nodes[chosen])
            assert_array_equal(fields(found)["x"], fields(graph)["x"][chosen])
            expected = {
                (u, v): each["attr"].tolist()
                for u, v, each in theirs.subgraph(chosen.tolist()).edges(data=True)
            }
            ends = chosen[found.edge_index].T.tolist()
            attrs = [] if found.edge_attr is None else found.edge_attr.tolist()
            assert dict(zip(map(tuple, ends), attrs, strict=True)) == expected
            again = Graph(
                found.edge_index,
                found.x,
                found.edge_attr,
                nodes=found.nodes,
                directed=directed,
            )
            assert_same(found, again)


def test_a_subgraph_keeps_names():
    graph = Graph(BOTH, X)
    assert graph.subgraph([3, 1, 2]).nodes.tolist() == [3, 1, 2]
    part = graph.subgraph(pd.Series([2, 1])).subgraph([1])
    assert part.nodes.tolist() == [1]
    assert part.positions([1]).tolist() == [0]
    assert part.n_edges == 0
    assert graph.subgraph([1, 2]).x.tolist() == X[[1, 2]].tolist()
    assert Graph(BOTH, n_nodes=4).subgraph([1, 2]).x is None


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([], "positions is empty"),
        ([4], "positions holds 4, but the graph has 4 nodes"),
        ([0, -1], "positions holds -1"),
        ([2, 1, 2], "positions holds 2 twice"),
        ([0.0], "positions has the dtype float64"),
        ([True, False, True, False], r"dtype bool.*numpy.flatnonzero\(mask\)"),
        (["a"], r"dtype <U1.*Graph.positions\(ids\) for names"),
        ([[0, 1]], r"the shape \(1, 2\), but must hold integers in one dimension"),
    ],
)
def test_wrong_positions(positions, message):
    with pytest.raises(ValueError, match=message):
        Graph(BOTH, X).subgraph(positions)


def test_a_graph_needs_no_torch():
    program = (
        "import sys, skattn; skattn.Graph.from_edges([(0, 1)], n_nodes=2)\n"
        "print({'torch', 'torch_geometric', 'networkx', 'sktime'} & set(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_subclass_stays_one():
    class Network(Graph):
        pass

    graph = Network.from_edges(PAIRS, X)
    assert type(graph.subgraph([0, 1])) is Network
    assert type(Network.from_scipy(sparse.csr_array((2, 2)))) is Network
    assert repr(graph).startswith("Network(nodes=4")


def lines_run(function):
    """Count the lines of the module that run meanwhile."""
    home = inspect.getfile(Graph)
    count = 0

    def trace(frame, event, _):
        nonlocal count
        is_ours = frame.f_code.co_filename == home
        count += is_ours and event == "line"
        return trace if is_ours else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("nodes", [False, True])
def test_no_loop_goes_over_a_million_edges(nodes):
    rng = np.random.default_rng(0)
    n_nodes = 100_000
    keys = np.unique(rng.integers(n_nodes**2, size=1_000_000))
    pairs = rng.permutation(np.stack([keys // n_nodes, keys % n_nodes], axis=1))
    attr = np.arange(len(pairs), dtype=np.float32)
    names = np.char.add("n", np.arange(n_nodes).astype(str)) if nodes else None
    edges = names[pairs] if nodes else pairs
    made = []

    def make():
        graph = Graph.from_edges(edges, None, attr, nodes=names, n_nodes=n_nodes)
        made.append(Graph(graph.edge_index[:, ::-1], nodes=names, n_nodes=n_nodes))
        made.append(graph.subgraph(graph.positions(graph.nodes[::-2])))

    assert 50 < lines_run(make) < 1000
    whole, part = made
    assert_array_equal(np.diff(whole.indptr), np.bincount(whole.edge_index[1]))
    assert part.n_nodes == n_nodes // 2
    assert np.isin(part.edge_attr, attr).all()


def test_a_frame_with_an_index_names_the_nodes():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=["u", "v", "w"])
    graph = Graph.from_edges([("u", "w")], frame)
    assert graph.nodes.tolist() == ["u", "v", "w"]
    assert graph.edge_index.tolist() == [[2, 0], [0, 2]]
    plain = Graph.from_edges([(0, 2)], frame.reset_index(drop=True))
    assert plain.nodes.tolist() == [0, 1, 2]
    other = Graph.from_edges([(5, 6)], frame, nodes=[5, 6, 7])
    assert other.nodes.tolist() == [5, 6, 7]
