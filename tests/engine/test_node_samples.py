"""Batches of nodes with all that they depend on, and scores layer by layer."""

import numpy as np
import pytest
import torch
from _graphs import Whole, draw_graph, make_stack, star
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skattn import Graph
from skattn._engine import _node_samples
from skattn._engine._node_samples import GraphTensors, LayerWalk, NodeSamples
from skattn._engine._node_scores import NodeScores
from skattn._inputs._graph_scaling import GraphScaling

CPU = torch.device("cpu")
NODES = np.array([30, 2, 38, 2, 17])

each_kind = pytest.mark.parametrize(
    "kind",
    [{}, {"n_edge_features": 2}, {"is_sparse": True}],
    ids=["plain", "edge features", "sparse"],
)


def tensors_of(graph, scaling=None, dtype=torch.float64):
    fitted = GraphScaling(scaling).fit(graph.x, graph.edge_attr)
    return GraphTensors(graph, fitted, dtype, CPU)


def net_for(graph, n_hops=2):
    return NodeScores(make_stack(n_hops, graph.n_features, graph.n_edge_features))


def whole_scores(graph, net):
    """Run the module over the whole graph, without any of the code under test."""
    x = graph.x.toarray() if graph.is_sparse else graph.x
    edge_attr = None if graph.edge_attr is None else torch.tensor(graph.edge_attr)
    with torch.no_grad():
        return net.module(torch.tensor(x), torch.tensor(graph.edge_index), edge_attr)


def close(found, expected):
    assert_allclose(found.detach(), expected.detach(), rtol=0, atol=1e-12)


def infer(samples, net):
    ((rows, inputs),) = samples.inference_batches()
    assert_array_equal(rows, np.arange(len(samples)))
    with torch.no_grad():
        return net(**inputs)


# Tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_of_nodes_and_edges(dtype):
    graph = draw_graph(n_edge_features=2)
    tensors = tensors_of(graph, "standard", dtype)
    x = tensors.nodes(np.array([3, 1, 3]))
    assert x.dtype == dtype
    expected = (graph.x - graph.x.mean(axis=0)) / graph.x.std(axis=0)
    assert_allclose(x, expected[[3, 1, 3]], rtol=1e-5, atol=1e-6)
    inputs = tensors.whole()
    assert inputs["edge_index"].dtype == torch.int64
    assert_array_equal(inputs["edge_index"], graph.edge_index)
    assert inputs["edge_attr"].dtype == dtype
    assert_allclose(inputs["edge_attr"].mean(dim=0), [0.0, 0.0], atol=1e-6)
    assert "edge_attr" not in tensors_of(draw_graph()).whole()


def test_sparse_features_stay_sparse():
    graph = draw_graph(is_sparse=True)
    x = tensors_of(graph, "l1").nodes(np.array([3, 1, 3]))
    assert x.layout == torch.sparse_csr
    expected = graph.x.toarray()[[3, 1, 3]]
    sums = np.abs(expected).sum(axis=1, keepdims=True)
    assert_allclose(x.to_dense(), expected / np.where(sums, sums, 1))


def test_features_of_the_graph_are_not_changed():
    for graph in (draw_graph(n_edge_features=1), draw_graph(is_sparse=True)):
        before = graph.x.copy()
        inputs = tensors_of(graph, "auto").whole()
        if not graph.is_sparse:
            inputs["x"].zero_()
            inputs["edge_attr"].zero_()
        inputs["edge_index"].zero_()
        assert abs(graph.x - before).max() == 0
        assert graph.edge_index.any()


# Batches for training


@each_kind
@pytest.mark.parametrize("n_hops", [1, 2, 3])
def test_a_batch_scores_as_the_whole_graph_does(kind, n_hops):
    graph = draw_graph(**kind)
    net = net_for(graph, n_hops)
    target = np.arange(5.0)
    samples = NodeSamples(tensors_of(graph), NODES, n_hops=n_hops, target=target)
    inputs, given = samples.take(torch.tensor([4, 0, 1, 3]))
    assert given.values.tolist() == [4.0, 0.0, 1.0, 3.0]
    assert given.weight is None
    assert inputs["x"].shape[0] < graph.n_nodes
    close(net(**inputs), whole_scores(graph, net)[NODES[[4, 0, 1, 3]]])


def test_a_module_without_layers_gets_the_whole_graph():
    graph = draw_graph(n_edge_features=2)
    net = net_for(graph)
    expected = whole_scores(graph, net)[NODES]
    net = NodeScores(Whole(net.module))
    assert net.layers is None
    samples = NodeSamples(
        tensors_of(graph), NODES, n_hops=None, target=np.zeros(5), is_whole=True
    )
    inputs, _ = samples.take(torch.arange(5))
    assert len(inputs["x"]) == graph.n_nodes
    close(net(**inputs), expected)
    close(infer(samples, net), expected)


def test_a_whole_batch_is_gathered_once_and_keeps_its_order():
    graph = draw_graph()
    samples = NodeSamples(
        tensors_of(graph), NODES, n_hops=2, target=np.arange(5.0), is_whole=True
    ).at(np.array([4, 1, 1]), np.array([0.5, 1.5, 1.0]))
    first, given = samples.take(torch.tensor([2, 0, 1]))
    assert given.values.tolist() == [4.0, 1.0, 1.0]
    assert given.weight.tolist() == [0.5, 1.5, 1.0]
    assert samples.take(torch.tensor([0, 1, 2]))[0] is first
    net = net_for(graph)
    close(net(**first), whole_scores(graph, net)[NODES[[4, 1, 1]]])


def test_rows_may_be_repeated_and_weighed():
    weight = np.array([0.5, 1.0, 1.5])
    samples = NodeSamples(
        tensors_of(draw_graph(), dtype=torch.float32),
        NODES,
        n_hops=2,
        target=np.arange(5.0),
    )
    view = samples.at(np.array([3, 3, 0]), weight)
    assert (len(view), len(samples)) == (3, 5)
    inputs, target = view.take(torch.tensor([2, 0]))
    assert target.values.tolist() == [0.0, 3.0]
    assert target.weight.tolist() == [1.5, 0.5]
    assert target.values.dtype == target.weight.dtype == torch.float32
    assert inputs["rows"].tolist() == [1, 0]  # among the distinct nodes 2 and 30
    with pytest.raises(ValueError, match="without targets"):
        NodeSamples(samples.tensors, NODES, n_hops=2).take(torch.tensor([0]))


def test_classes_stay_integers():
    target = np.array([[0], [1], [0], [2], [1]])
    samples = NodeSamples(tensors_of(draw_graph()), NODES, n_hops=1, target=target)
    assert samples.take(torch.tensor([3]))[1].values.dtype == torch.int64


# Sampled neighbours


def sampled(limit, nodes=(0, 1), known=(0,), seed=0):
    """Make samples of a crowded node 0 and of leaves; node 0 is trained on."""
    graph = star(30, np.arange(31.0)[:, None])
    tensors = tensors_of(graph)
    known = np.array(known)
    return NodeSamples(
        tensors,
        np.array(nodes),
        n_hops=1,
        num_neighbors=limit,
        seed=seed,
        target=np.zeros(len(nodes)),
        trained=(tensors, known),
    )


def sources(samples, position=0):
    inputs, _ = samples.take(torch.tensor([position]))
    return inputs["x"][inputs["edge_index"][0]].flatten().tolist()


def test_training_samples_neighbours_anew_in_each_step():
    samples = sampled(5).at(np.array([0]), None)
    assert samples.is_training
    first, second = sources(samples), sources(samples)
    assert len(set(first)) == len(set(second)) == 5
    assert first != second
    again = sampled(5).at(np.array([0]), None)
    assert [sources(again), sources(again)] == [first, second]
    assert sources(sampled(5, seed=1).at(np.array([0]), None)) != first


def test_held_out_nodes_see_all_neighbours_layer_by_layer():
    """In one batch, however large: no more of the graph is there at once."""
    net = NodeScores(make_stack(1, 1))
    held_out = sampled(5, nodes=(1, 0, 2, 0), known=(1,)).at(np.array([1, 2, 3]), None)
    assert not held_out.is_training
    assert held_out.is_whole
    inputs, target = held_out.take(torch.arange(3))
    assert "walk" in inputs
    everything = whole_scores(star(30, np.arange(31.0)[:, None]), net)
    close(net(**inputs), everything[[0, 2, 0]])
    assert len(target.values) == 3
    assert not sampled(5).at(np.array([0]), None).is_whole


def test_predictions_see_all_neighbours():
    graph = star(30, np.arange(31.0)[:, None])
    net = NodeScores(make_stack(1, 1))
    samples = sampled(5).at(np.array([0]), None)
    close(infer(samples, net), whole_scores(graph, net)[[0]])


def test_a_limit_that_no_node_exceeds_is_no_limit():
    graph = draw_graph(n_edge_features=2)
    tensors = tensors_of(graph)
    known = np.unique(NODES)
    largest = int(np.diff(graph.indptr).max())
    batches = []
    for limit in (largest, None):
        samples = NodeSamples(
            tensors,
            NODES,
            n_hops=2,
            num_neighbors=limit,
            target=np.zeros(5),
            trained=(tensors, known),
        ).at(np.arange(5), None)
        batches.append(samples.take(torch.arange(5))[0])
    exact, other = batches
    assert exact["hops"] == other["hops"]
    for name in ("x", "edge_index", "edge_attr", "rows"):
        assert torch.equal(exact[name], other[name])


# Inductive training


def test_messages_among_trained_nodes_and_from_all_to_held_out_ones():
    graph = draw_graph(n_edges=400, n_edge_features=1)
    tensors = tensors_of(graph)
    known = np.array([2, 7, 17, 30])
    inner = tensors_of(graph.subgraph(known))
    nodes = np.array([30, 5, 2, 7])  # node 5 is held out
    samples = NodeSamples(
        tensors, nodes, n_hops=2, target=np.arange(4.0), trained=(inner, known)
    )
    net = net_for(graph)
    trained = samples.at(np.array([0, 2, 3]), None)
    inputs, _ = trained.take(torch.arange(3))
    among = whole_scores(graph.subgraph(known), net)
    close(net(**inputs), among[[3, 0, 1]])
    held_out = samples.at(np.array([1]), None)
    inputs, _ = held_out.take(torch.tensor([0]))
    everywhere = whole_scores(graph, net)
    close(net(**inputs), everywhere[[5]])
    assert not torch.allclose(among[[3]], everywhere[[30]])


# Predictions


@each_kind
@pytest.mark.parametrize("n_hops", [1, 2, 3])
@pytest.mark.parametrize("at_once", [1, 7, 50, 1 << 20])
def test_layer_by_layer_equals_the_whole_graph(monkeypatch, kind, n_hops, at_once):
    monkeypatch.setattr(_node_samples, "_EDGES_AT_ONCE", at_once)
    graph = draw_graph(**kind)
    net = net_for(graph, n_hops)
    expected = whole_scores(graph, net)
    for nodes in (np.arange(40), NODES, np.array([39])):
        samples = NodeSamples(tensors_of(graph), nodes, n_hops=n_hops)
        close(infer(samples, net), expected[nodes])


@pytest.mark.parametrize("at_once", [1, 10, 60])
def test_a_layer_takes_a_bounded_number_of_edges_at_once(monkeypatch, at_once):
    monkeypatch.setattr(_node_samples, "_EDGES_AT_ONCE", at_once)
    graph = draw_graph(n_edges=400)
    net = net_for(graph)
    infer(NodeSamples(tensors_of(graph), np.arange(40), n_hops=2), net)
    crowd = int(np.diff(graph.indptr).max())
    for layer in net.layers:
        n_edges = [edges for _, edges, _ in layer.calls]
        assert max(n_edges) <= at_once + crowd
        assert sum(n_edges) == graph.n_edges
        # No node is computed twice, and few calls do the work.
        assert sum(n_targets for _, _, n_targets in layer.calls) == 40
        assert len(n_edges) <= (400 + 40) // at_once + 1


def test_a_compiled_module_walks_as_any_other(monkeypatch):
    monkeypatch.setattr(_node_samples, "_EDGES_AT_ONCE", 10)
    graph = draw_graph()
    net = net_for(graph)
    compiled = torch.compile(net, backend="eager")
    samples = NodeSamples(tensors_of(graph), NODES, n_hops=2)
    close(infer(samples, compiled), whole_scores(graph, net)[NODES])


def test_a_layer_computes_no_node_in_vain():
    # A path: node 3 hears 2, which hears 1, which hears 0.
    graph = Graph.from_edges(
        [(0, 1), (1, 2), (2, 3), (3, 4)], x=np.eye(5), directed=True
    )
    net = NodeScores(make_stack(2, 5))
    walk = LayerWalk(tensors_of(graph), np.array([3]), 2)
    with torch.no_grad():
        close(walk.run(net.layers), whole_scores(graph, net)[[3]])
    first, second = (layer.calls for layer in net.layers)
    assert first == [(3, 2, 2), (5, 4, None)]  # nodes 2 and 3, from 1, 2 and 3
    assert second == [(2, 1, 1), (5, 4, None)]


def test_all_in_one_batch_for_those_who_look_at_attention():
    graph = draw_graph()
    net = net_for(graph)
    samples = NodeSamples(tensors_of(graph), NODES, n_hops=2).at_once()
    ((rows, inputs),) = samples.inference_batches()
    assert_array_equal(rows, np.arange(5))
    close(net(**inputs), whole_scores(graph, net)[NODES])
    # Edges of the batch are found again in the graph.
    n_nodes, n_edges = inputs["hops"][1]
    inner = inputs["edge_index"].numpy()[:, :n_edges]
    edges, sample = samples.locate(inner, "edge")
    assert sample is None
    targets = np.isin(graph.edge_index[1], NODES)
    assert n_nodes == 4
    assert sorted(edges.T.tolist()) == sorted(graph.edge_index[:, targets].T.tolist())


def test_edges_of_a_whole_graph_are_where_they_are():
    samples = NodeSamples(tensors_of(draw_graph()), NODES, n_hops=None).at_once()
    list(samples.inference_batches())
    edges = np.array([[3], [4]])
    assert samples.locate(edges, "edge")[0] is edges


def test_a_graph_without_edges():
    graph = Graph(np.empty((2, 0)), x=sparse.csr_array(np.eye(3)))
    net = NodeScores(make_stack(2, 3))
    samples = NodeSamples(tensors_of(graph), np.array([2, 0]), n_hops=2)
    close(infer(samples, net), whole_scores(graph, net)[[2, 0]])
