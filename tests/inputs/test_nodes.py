"""Ids of nodes as input, and what of the graph training sees."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from _graphs import Whole, draw_graph, make_stack
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skattn import Graph
from skattn._engine._node_scores import NodeScores
from skattn._inputs import _nodes
from skattn._inputs._nodes import NodeEncoder


class NodeThing:
    """Has the parameters of an estimator that the encoder reads."""

    def __init__(self, graph, **params):
        self.graph = graph
        defaults = {
            "mode": "transductive",
            "num_neighbors": None,
            "batch_size": "auto",
            "input_scaling": "auto",
            "compile": False,
        }
        vars(self).update(defaults | params)


def make(graph=None, consumes=("edge_attr",), **params):
    graph = draw_graph() if graph is None else graph
    architecture = SimpleNamespace(consumes=consumes, name="plain")
    return NodeEncoder(NodeThing(graph, **params), architecture)


def net_of(module):
    return SimpleNamespace(
        module_=NodeScores(module), device="cpu", precision="float64"
    )


def named():
    nodes = ["ann", "bob", "cem"]
    edges = [("ann", "bob"), ("bob", "cem")]
    return Graph.from_edges(edges, x=np.eye(3), nodes=nodes)


# Ids


@pytest.mark.parametrize(
    "ids",
    [
        np.array([3, 1, 3]),
        np.array([[3], [1], [3]]),
        np.array([3, 1, 3], dtype=np.uint8),
        [3, 1, 3],
        [[3], [1], [3]],
        pd.Series([3, 1, 3]),
        pd.DataFrame({"node": [3, 1, 3]}, index=[5, 6, 7]),
        pd.DataFrame({"node": pd.array([3, 1, 3], dtype="Int64")}),
    ],
)
def test_ids_in_any_form(ids):
    encoder = make()
    positions = encoder.check(ids)
    assert positions.dtype == np.int64
    assert_array_equal(encoder.read(positions)["nodes"], [3, 1, 3])
    assert encoder.learn(positions).keys() == {"nodes"}


@pytest.mark.parametrize(
    "ids",
    [
        ["cem", "ann"],
        np.array([["cem"], ["ann"]], dtype=object),
        np.array(["cem", "ann"]),
        pd.Series(["cem", "ann"], dtype="string"),
        pd.DataFrame({"name": ["cem", "ann"]}),
        pd.DataFrame({"name": pd.Categorical(["cem", "ann"])}),
    ],
)
def test_names_in_any_form(ids):
    assert_array_equal(make(named()).check(ids), [2, 0])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((4, 2), dtype=int), r"\(n, 1\), but X has shape \(4, 2\).*Graph\("),
        (np.zeros((4, 1, 1), dtype=int), r"X has shape \(4, 1, 1\)"),
        (3, r"X has shape \(\)"),
        ([], r"X has 0 sample\(s\)"),
        (np.empty((0, 1), dtype=int), r"X has 0 sample\(s\)"),
        ([3, 40], "40"),
        ([3, -1], "-1"),
        ([0.5, 1.0], "holds float64 numbers"),
        ([np.nan, 1.0], "holds float64 numbers"),
        (["ann"], "holds strings, but the nodes are named by integers"),
        ([None, 3], "integers"),
        (sparse.csr_array(np.eye(3)), r"X is sparse\. .*Graph\("),
    ],
)
def test_what_is_no_id_is_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        make().check(ids)


# Graphs


@pytest.mark.parametrize("graph", [np.zeros((2, 3)), "cora", {}])
def test_what_is_no_graph_is_refused(graph):
    with pytest.raises(ValueError, match=r"NodeThing needs a graph=skattn\.Graph"):
        make(graph)
    with pytest.raises(ValueError, match="but graph is None"):
        NodeEncoder(NodeThing(None), SimpleNamespace(consumes=(), name="plain"))


@pytest.mark.parametrize("x", [None, np.empty((3, 0))])
def test_a_graph_without_node_features_is_refused(x):
    graph = Graph.from_edges([(0, 1)], x, n_nodes=3)
    with pytest.raises(ValueError, match=r"no node features.*scipy\.sparse\.eye_array"):
        make(graph)


def test_edge_features_that_the_architecture_does_not_take_are_refused():
    graph = draw_graph(n_edge_features=2)
    make(graph)
    with pytest.raises(ValueError, match=r"2 edge features, .*'plain' does not take"):
        make(graph, consumes=("batch",))


def test_sparse_features_cannot_be_compiled():
    make(draw_graph(), compile=True)
    with pytest.raises(ValueError, match="compile=True does not work with sparse"):
        make(draw_graph(is_sparse=True), compile=True)


def test_over_another_graph():
    encoder = make(draw_graph(n_edge_features=1))
    encoder.fit_scaling(encoder.learn(np.arange(40)), None)
    grown = draw_graph(60, n_edge_features=1, seed=1)
    other = encoder.over(grown)
    assert other.check([59]).tolist() == [59]
    assert other.scaling is encoder.scaling
    with pytest.raises(ValueError, match="59"):
        encoder.check([59])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"n_features": 4}, "n_features=4, but NodeThing was fitted with n_features=3"),
        ({"n_edge_features": 2}, "n_edge_features=2, but .* n_edge_features=1"),
        ({"is_sparse": True, "n_edge_features": 1}, "is_sparse=True, but"),
    ],
)
def test_over_a_graph_with_other_features(kind, message):
    with pytest.raises(ValueError, match=message):
        make(draw_graph(n_edge_features=1)).over(draw_graph(**kind))


def test_over_no_graph():
    with pytest.raises(ValueError, match=r"needs a graph=skattn\.Graph"):
        make().over("grown")


@pytest.mark.parametrize("n_edge_features", [0, 2])
def test_the_data_are_described(n_edge_features):
    encoder = make(draw_graph(n_edge_features=n_edge_features))
    assert encoder.describe() == {
        "input": "nodes",
        "n_features": 3,
        "n_edge_features": n_edge_features,
    }
    assert encoder.axis_names("nodes") == [str(node) for node in range(40)]
    assert encoder.axis_names("heads") is None
    assert make(named()).axis_names("nodes") == ["ann", "bob", "cem"]


# What training sees


def test_scales_come_from_all_that_training_sees():
    graph = draw_graph(n_edge_features=1)
    trained = np.array([30, 2, 2, 17, 5, 2])
    content = {"nodes": trained}
    for mode, seen in (("transductive", range(40)), ("inductive", [2, 5, 17, 30])):
        encoder = make(graph, mode=mode)
        encoder.fit_scaling(content, np.ones(6))
        assert_array_equal(encoder.trained_, [2, 5, 17, 30])
        part = graph.subgraph(list(seen))
        assert_allclose(encoder.scaling.mean_, part.x.mean(axis=0))
        mean = part.edge_attr.mean(axis=0) if part.n_edges else 0.0
        expected = (graph.edge_attr - mean) / (part.edge_attr.std(axis=0) or 1.0)
        assert_allclose(encoder.scaling.edges(graph.edge_attr), expected)


def encoded(mode, graph, nodes, trained, net, target=True, **params):
    """Make samples of some nodes, of which some are trained on."""
    encoder = make(graph, mode=mode, input_scaling=None, **params)
    encoder.fit_scaling({"nodes": np.array(trained)}, None)
    content = encoder.read(np.array(nodes))
    values = np.zeros((len(nodes), 1)) if target else None
    return encoder.samples(content, net, values)


def scores_over(graph, module):
    inputs = torch.tensor(graph.x), torch.tensor(graph.edge_index)
    return module(*inputs).detach()


def take(samples, rows):
    view = samples.at(np.array(rows), None)
    return view.take(torch.arange(len(rows)))[0]


@pytest.mark.parametrize("has_layers", [True, False])
def test_transductive_samples_see_everything(has_layers):
    graph, stack = draw_graph(), make_stack()
    net = net_of(stack if has_layers else Whole(stack))
    nodes = [30, 5, 2]
    samples = encoded("transductive", graph, nodes, [2, 30], net)
    assert samples.is_whole
    for rows in ([0, 2], [1]):
        expected = scores_over(graph, stack)[np.array(nodes)[rows]]
        found = net.module_(**take(samples, rows)).detach()
        assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("has_layers", [True, False])
def test_inductive_samples_see_what_is_trained_on(has_layers):
    graph, stack = draw_graph(n_edges=500), make_stack()
    net = net_of(stack if has_layers else Whole(stack))
    nodes, trained = [30, 5, 2, 17, 9], [2, 17, 30]
    samples = encoded("inductive", graph, nodes, trained, net)
    among = scores_over(graph.subgraph(trained), stack)
    found = net.module_(**take(samples, [0, 2, 3])).detach()
    assert_allclose(found, among[[2, 0, 1]], atol=1e-12)
    # Held-out nodes hear all that were given, and no others.
    given = [2, 5, 9, 17, 30]
    beside = scores_over(graph.subgraph(given), stack)
    found = net.module_(**take(samples, [1, 4])).detach()
    assert_allclose(found, beside[[1, 2]], atol=1e-12)
    # Predictions see the whole graph.
    later = encoded("inductive", graph, nodes, trained, net, target=False)
    ((_, inputs),) = later.inference_batches()
    expected = scores_over(graph, stack)[nodes]
    assert_allclose(net.module_(**inputs).detach(), expected, atol=1e-12)


def limit_of(graph, mode="transductive", module=None, **params):
    net = net_of(make_stack() if module is None else module)
    return encoded(mode, graph, [30, 2], [2, 30], net, **params).num_neighbors


def test_large_graphs_are_sampled(monkeypatch):
    graph = draw_graph()
    assert limit_of(graph, num_neighbors="auto") is None
    assert limit_of(graph, num_neighbors=None) is None
    assert limit_of(graph, num_neighbors=3) == 3
    monkeypatch.setattr(_nodes, "_SMALL", graph.n_nodes + graph.n_edges)
    assert limit_of(graph, num_neighbors="auto") is None
    monkeypatch.setattr(_nodes, "_SMALL", graph.n_nodes + graph.n_edges - 1)
    assert limit_of(graph, num_neighbors="auto") == 10
    assert limit_of(graph, num_neighbors=None) is None
    whole = Whole(make_stack())
    assert limit_of(graph, num_neighbors="auto", module=whole) is None


def test_held_out_edges_do_not_decide_what_inductive_training_samples(monkeypatch):
    graph = draw_graph()
    monkeypatch.setattr(_nodes, "_SMALL", 100)
    assert graph.n_nodes + graph.n_edges > 100
    assert limit_of(graph, "inductive", num_neighbors="auto") is None
    monkeypatch.setattr(_nodes, "_SMALL", 1)
    assert limit_of(graph, "inductive", num_neighbors="auto") == 10


def test_a_module_without_layers_cannot_be_sampled():
    with pytest.raises(ValueError, match=r"num_neighbors=3 .*'plain' cannot.*=None"):
        limit_of(draw_graph(), num_neighbors=3, module=Whole(make_stack()))


@pytest.mark.parametrize(
    ("params", "is_whole"),
    [({}, True), ({"num_neighbors": 3}, False), ({"batch_size": 8}, False)],
)
def test_one_step_over_all_unless_something_is_cut(params, is_whole):
    net = net_of(make_stack())
    samples = encoded("transductive", draw_graph(), [30, 2], [2, 30], net, **params)
    assert samples.is_whole is is_whole


def test_a_compiled_module_is_looked_through():
    stack = make_stack()
    net = net_of(stack)
    net.module_ = SimpleNamespace(_orig_mod=net.module_)
    assert encoded("transductive", draw_graph(), [3], [3], net).n_hops == 2


def test_sparse_features_stay_sparse():
    graph = draw_graph(is_sparse=True)
    encoder = make(graph, mode="inductive")
    encoder.fit_scaling({"nodes": np.arange(9)}, None)
    assert encoder.scaling.scaling_ == "l1"
    samples = encoder.samples({"nodes": np.arange(9)}, net_of(make_stack()))
    assert sparse.issparse(samples.tensors.graph.x)
    assert samples.tensors.nodes(np.arange(3)).layout == torch.sparse_csr
