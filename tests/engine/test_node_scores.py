"""Modules of graphs wrapped so that they give one score a row."""

import pytest
import torch
from _graphs import Whole, draw_graph, make_stack
from numpy.testing import assert_allclose
from torch import nn

from skattn._engine._node_scores import NodeScores, StarScores
from skattn.nn import record, recording


def rows_and_neighbours(n=5, k=3, n_features=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, n_features, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, k, n_features, generator=generator, dtype=torch.float64)


def star_of(k):
    """Edges from nodes 1 to k into node 0."""
    return torch.stack([torch.arange(1, k + 1), torch.zeros(k, dtype=torch.int64)])


def test_a_whole_graph_gives_the_chosen_rows():
    graph = draw_graph()
    stack = make_stack()
    inputs = torch.tensor(graph.x), torch.tensor(graph.edge_index)
    rows = torch.tensor([3, 3, 1])
    assert torch.equal(NodeScores(stack)(rows, *inputs), stack(*inputs)[rows])


def test_edge_features_are_cut_with_the_edges():
    graph = draw_graph(n_edge_features=2)
    stack = make_stack(n_edge_features=2)
    inputs = [
        torch.tensor(array) for array in (graph.x, graph.edge_index, graph.edge_attr)
    ]
    # As if the first nodes were asked for: layers take the edges of the first targets.
    n_edges = int(graph.indptr[7])
    found = NodeScores(stack)(
        torch.tensor([6, 0]), *inputs, hops=((40, graph.n_edges), (7, n_edges))
    )
    assert_allclose(found.detach(), stack(*inputs)[[6, 0]].detach(), rtol=0, atol=1e-12)
    assert stack.layers[1].calls[0] == (40, n_edges, 7)


def test_layers_are_those_of_the_module():
    stack = make_stack()
    assert NodeScores(stack).layers is stack.layers
    assert NodeScores(Whole(stack)).layers is None


# Stars


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("n_hops", [1, 2, 3])
@pytest.mark.parametrize("k", [0, 1, 4])
def test_each_row_is_scored_as_in_a_graph_of_its_own(n_hops, k, loops):
    stack = make_stack(n_hops, loops=loops)
    x, neighbours = rows_and_neighbours(k=k)
    scores = StarScores(stack)(x, neighbours)
    assert scores.shape == (5, 2)
    for row, own, others in zip(scores, x, neighbours, strict=True):
        alone = stack(torch.cat([own[None], others]), star_of(k))[0]
        assert_allclose(row.detach(), alone.detach(), rtol=0, atol=1e-12)


def test_the_head_is_the_module_s():
    stack = make_stack()
    assert StarScores(stack).head is None
    stack.head = nn.Identity()
    assert StarScores(stack).head is stack.head


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("k", [0, 1, 4])
def test_attention_of_a_row_is_recorded_over_itself_and_its_neighbours(loops, k):
    stack = make_stack(2, loops=loops, heads=2)
    x, neighbours = rows_and_neighbours(k=k)
    received = []
    with recording(received.append):
        scores = StarScores(stack)(x, neighbours)
    assert torch.equal(scores, StarScores(stack)(x, neighbours))
    assert [each.layer for each in received] == ["0", "1"]
    for number, own in enumerate(x):
        alone = []
        with recording(alone.append):
            stack(torch.cat([own[None], neighbours[number]]), star_of(k))
        for each, single in zip(received, alone, strict=True):
            assert each.queries == "row"
            assert each.keys[0] == "row"
            assert list(each.keys[1:]) == [f"neighbour {1 + at}" for at in range(k)]
            assert each.edge_index is None
            assert each.weights.shape == (5, 2, 1, 1 + k)
            expected = torch.zeros(2, 1 + k, dtype=torch.float64)
            for weight, (source, target) in zip(
                single.weights, single.edge_index.T.tolist(), strict=True
            ):
                if target == 0:
                    expected[:, source] = weight
            found = each.weights[number, :, 0].detach()
            assert_allclose(found, expected.detach(), rtol=0, atol=1e-12)
            if k or loops:
                assert_allclose(found.sum(dim=-1), 1.0, rtol=0, atol=1e-12)


def test_what_is_recorded_without_edges_is_handed_on():
    class Telling(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x, edge_index, n_targets=None):
            record(
                torch.ones(1, 1, 1, 1), layer="own", kind="self", queries="a", keys="b"
            )
            return self.layer(x, edge_index, n_targets=n_targets)

    stack = make_stack(1)
    stack.layers[0] = Telling(stack.layers[0])
    received = []
    with recording(received.append):
        StarScores(stack)(*rows_and_neighbours())
    assert [each.layer for each in received] == ["own", "0"]
    assert received[0].weights.shape == (1, 1, 1, 1)
