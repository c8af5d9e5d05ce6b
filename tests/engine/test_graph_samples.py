"""Batches of whole graphs, against graphs joined one by one."""

import numpy as np
import pytest
import torch

from skattn import Graph
from skattn._engine import _graph_samples
from skattn._engine._graph_samples import GraphSamples

CPU = torch.device("cpu")


def make_graphs(n=8, n_edge_features=2, seed=0):
    """Graphs of 1 to 5 nodes, some isolated; the third has no edge, the last a loop."""
    rng = np.random.default_rng(seed)
    graphs = []
    for number in range(n):
        size = 1 if number == 1 else int(rng.integers(2, 6))
        dense = rng.random((size, size)) < 0.4
        dense &= number != 2
        dense[0, 0] = number == n - 1
        edges = np.argwhere(dense).T.reshape(2, -1)
        attr = rng.normal(size=(edges.shape[1], n_edge_features))
        x = rng.normal(size=(size, 3))
        graphs.append(Graph(edges, x, attr if n_edge_features else None, directed=True))
    return graphs


def make(graphs, target=None, dtype=torch.float64):
    edge_attr = None
    if graphs[0].edge_attr is not None:
        edge_attr = np.concatenate([graph.edge_attr for graph in graphs])
    return GraphSamples(
        x=np.concatenate([graph.x for graph in graphs]),
        edge_index=np.concatenate([graph.edge_index for graph in graphs], axis=1),
        edge_attr=edge_attr,
        n_nodes=np.array([graph.n_nodes for graph in graphs]),
        n_edges=np.array([graph.n_edges for graph in graphs]),
        target=target,
        dtype=dtype,
        device=CPU,
    )


def join(graphs):
    """Join graphs one by one."""
    start, x, edges, attr, batch = 0, [], [], [], []
    for number, graph in enumerate(graphs):
        x.append(graph.x)
        edges.append(graph.edge_index + start)
        attr.append(graph.edge_attr)
        batch += [number] * graph.n_nodes
        start += graph.n_nodes
    joined = {
        "x": np.concatenate(x),
        "edge_index": np.concatenate(edges, axis=1),
        "batch": np.array(batch),
    }
    if graphs[0].edge_attr is not None:
        joined["edge_attr"] = np.concatenate(attr)
    return joined


def assert_joined(inputs, graphs):
    expected = join(graphs)
    assert inputs.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(inputs[name].numpy(), array, err_msg=name)


@pytest.mark.parametrize("n_edge_features", [0, 2])
@pytest.mark.parametrize(
    "chosen", [[0], [1], [2], [1, 2], [7, 3, 3, 0], list(range(8)), [5, 2, 1, 2, 5]]
)
def test_a_batch_joins_graphs_in_any_order_and_number(chosen, n_edge_features):
    graphs = make_graphs(n_edge_features=n_edge_features)
    samples = make(graphs, target=np.arange(8))
    inputs, target = samples.take(torch.tensor(chosen))
    assert_joined(inputs, [graphs[number] for number in chosen])
    assert target.values.tolist() == chosen
    assert target.weight is None
    assert (inputs["edge_index"][1].diff() >= 0).all()


def test_graphs_without_any_edge():
    graphs = [
        Graph(np.empty((2, 0), dtype=int), np.full((size, 1), size))
        for size in (1, 3, 2)
    ]
    samples = make(graphs, target=np.zeros(3))
    inputs, _ = samples.take(torch.tensor([2, 0]))
    assert inputs["edge_index"].shape == (2, 0)
    assert inputs["x"].flatten().tolist() == [2, 2, 1]
    assert inputs["batch"].tolist() == [0, 0, 1]


def test_numbers_become_what_the_net_takes():
    samples = make(make_graphs(), target=np.array([0, 1] * 4), dtype=torch.float32)
    inputs, target = samples.take(torch.arange(2))
    assert inputs["x"].dtype == inputs["edge_attr"].dtype == torch.float32
    assert inputs["edge_index"].dtype == inputs["batch"].dtype == torch.int64
    assert target.values.dtype == torch.int64
    real = make(make_graphs(), target=np.linspace(0, 1, 8), dtype=torch.float32)
    assert real.take(torch.arange(2))[1].values.dtype == torch.float32


def test_some_rows_with_weights():
    graphs = make_graphs()
    samples = make(graphs, target=np.arange(8.0))
    some = samples.at(np.array([6, 1, 1]), np.array([0.5, 1.0, 1.5]))
    assert (len(some), len(samples)) == (3, 8)
    inputs, target = some.take(torch.tensor([2, 0]))
    assert_joined(inputs, [graphs[1], graphs[6]])
    assert target.values.tolist() == [1.0, 6.0]
    assert target.weight.tolist() == [1.5, 0.5]
    assert samples.take(torch.tensor([0]))[1].weight is None


def test_graphs_without_targets_are_for_prediction_only():
    with pytest.raises(ValueError, match="can only be predicted"):
        make(make_graphs()).take(torch.arange(2))


@pytest.mark.parametrize("limit", [1, 12, 20, 1 << 16])
def test_inference_goes_over_all_graphs_in_batches_of_bounded_size(limit, monkeypatch):
    monkeypatch.setattr(_graph_samples, "_SIZE_PER_BATCH", limit)
    graphs = make_graphs(20)
    sizes = np.array([graph.n_nodes + graph.n_edges for graph in graphs])
    seen = []
    for rows, inputs in make(graphs).inference_batches():
        chosen = rows.tolist()
        assert_joined(inputs, [graphs[row] for row in chosen])
        assert len(chosen) == 1 or sizes[chosen].sum() <= limit
        if seen:  # the graph did not fit any more
            assert sizes[seen[-1]].sum() + sizes[chosen[0]] > limit
        seen.append(chosen)
    assert np.concatenate(seen).tolist() == list(range(20))
    n_batches = {1: 20, 1 << 16: 1}
    assert len(seen) == n_batches.get(limit, len(seen)) <= 20


@pytest.mark.parametrize("limit", [1, 20, 1 << 16])
def test_recorded_edges_are_found_in_their_graphs(limit, monkeypatch):
    monkeypatch.setattr(_graph_samples, "_SIZE_PER_BATCH", limit)
    graphs = make_graphs(20)
    samples = make(graphs)
    edges = {number: [] for number in range(20)}
    nodes = {number: [] for number in range(20)}
    for _, inputs in samples.inference_batches():
        found, owner = samples.locate(inputs["edge_index"].numpy(), "edge")
        for number, edge in zip(owner.tolist(), found.T.tolist(), strict=True):
            edges[number].append(edge)
        batch = inputs["batch"].numpy()
        pooled, owner = samples.locate(
            np.stack([np.arange(len(batch)), batch]), "pooling"
        )
        assert not pooled[1].any()
        for number, node in zip(owner.tolist(), pooled[0].tolist(), strict=True):
            nodes[number].append(node)
    for number, graph in enumerate(graphs):
        assert edges[number] == graph.edge_index.T.tolist()
        assert nodes[number] == list(range(graph.n_nodes))
