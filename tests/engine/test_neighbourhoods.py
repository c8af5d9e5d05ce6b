"""What some nodes depend on, against networkx, and samples of it."""

from itertools import combinations

import networkx
import numpy as np
import pytest
from _graphs import draw_graph, star
from numpy.testing import assert_array_equal
from scipy.stats import chisquare

from skattn import Graph
from skattn._engine._neighbourhoods import NeighbourFinder, edges_into

FIELDS = ("nodes", "edges", "edge_index")


def assert_same(found, expected):
    for name in FIELDS:
        assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.hops == expected.hops


def distances(graph, targets, n_hops):
    """Count, for each node that matters, the edges on the way to a target."""
    backwards = networkx.DiGraph()
    backwards.add_nodes_from(range(graph.n_nodes))
    backwards.add_edges_from(graph.edge_index[::-1].T.tolist())
    return networkx.multi_source_dijkstra_path_length(
        backwards, set(targets.tolist()), cutoff=n_hops, weight=lambda *edge: 1
    )


def degrees(graph):
    return np.diff(graph.indptr)


@pytest.mark.parametrize("n_hops", [1, 2, 3])
@pytest.mark.parametrize("targets", [[5], [30, 2, 17], [38], [38, 39], range(40)])
def test_all_that_networkx_finds_within_so_many_edges(targets, n_hops):
    graph = draw_graph()
    targets = np.array(targets)
    found = NeighbourFinder(graph, n_hops).find(targets)
    away = distances(graph, targets, n_hops)
    assert len(found.nodes) == len(away)
    assert set(found.nodes.tolist()) == set(away)
    # Nodes come by distance, and first, in their own order, those that are asked for.
    assert_array_equal(found.nodes[: len(targets)], targets)
    assert (np.diff([away[node] for node in found.nodes.tolist()]) >= 0).all()
    # All edges into nodes that are not the outermost, and no others.
    inner = {node for node, distance in away.items() if distance < n_hops}
    expected = [
        edge for edge, target in enumerate(graph.edge_index[1]) if target in inner
    ]
    assert sorted(found.edges.tolist()) == expected
    assert_array_equal(found.nodes[found.edge_index], graph.edge_index[:, found.edges])
    assert (np.diff(found.edge_index[1]) >= 0).all()


@pytest.mark.parametrize("n_hops", [1, 2, 3])
def test_each_layer_computes_what_the_later_ones_need(n_hops):
    graph = draw_graph()
    targets = np.array([30, 2])
    found = NeighbourFinder(graph, n_hops).find(targets)
    away = distances(graph, targets, n_hops)
    for layer, (n_nodes, n_edges) in enumerate(found.hops):
        needed = {node for node, d in away.items() if d <= n_hops - 1 - layer}
        assert set(found.nodes[:n_nodes].tolist()) == needed
        assert n_nodes == len(needed)
        assert n_edges == degrees(graph)[list(needed)].sum()
        assert (found.edge_index[1, :n_edges] < n_nodes).all()
        assert (found.edge_index[1, n_edges:] >= n_nodes).all()
    assert len(found.hops) == n_hops
    assert found.hops[-1][0] == 2


def test_a_finder_can_be_used_again():
    graph = draw_graph()
    finder = NeighbourFinder(graph, 2)
    for targets in ([3, 1], [7], [3, 1]):
        fresh = NeighbourFinder(graph, 2).find(np.array(targets))
        assert_same(finder.find(np.array(targets)), fresh)


def test_a_graph_without_edges():
    found = NeighbourFinder(Graph(np.empty((2, 0)), n_nodes=3), 2).find(np.array([2]))
    assert found.nodes.tolist() == [2]
    assert found.edge_index.shape == (2, 0)
    assert found.hops == ((1, 0), (1, 0))


@pytest.mark.parametrize("more", [0, 1, 2**60])
def test_a_limit_that_no_node_exceeds_changes_nothing(more):
    graph = draw_graph()
    limit = degrees(graph).max() + more
    targets = np.array([30, 2, 17])
    sampled = NeighbourFinder(graph, 2, int(limit)).find(
        targets, np.random.default_rng(0)
    )
    assert_same(sampled, NeighbourFinder(graph, 2).find(targets))


def test_without_a_generator_nothing_is_sampled():
    graph = draw_graph()
    targets = np.array([30, 2])
    limited = NeighbourFinder(graph, 2, 1).find(targets)
    assert_same(limited, NeighbourFinder(graph, 2).find(targets))


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_each_node_keeps_so_many_different_edges(limit):
    graph = draw_graph(n_edges=400)
    finder = NeighbourFinder(graph, 2, limit)
    everything = degrees(graph)
    assert everything.max() > 3 > everything.min()
    for seed in range(20):
        found = finder.find(np.array([30, 2, 17, 38]), np.random.default_rng(seed))
        assert len(set(found.edges.tolist())) == len(found.edges)
        assert_array_equal(
            found.nodes[found.edge_index], graph.edge_index[:, found.edges]
        )
        assert (np.diff(found.edge_index[1]) >= 0).all()
        n_inner = found.hops[0][0]
        kept = np.bincount(found.edge_index[1], minlength=n_inner)
        inner = everything[found.nodes[:n_inner]]
        assert_array_equal(kept, np.minimum(inner, limit))


def test_every_sample_is_equally_likely():
    n_centres, n_leaves, limit = 4000, 6, 3
    centres = np.arange(n_centres)
    leaves = n_centres + np.arange(n_centres * n_leaves)
    edges = np.stack([leaves, np.repeat(centres, n_leaves)])
    graph = Graph(edges, n_nodes=n_centres * (1 + n_leaves), directed=True)
    found = NeighbourFinder(graph, 1, limit).find(centres, np.random.default_rng(0))
    ranks = (found.edges % n_leaves).reshape(n_centres, limit)
    subsets = list(combinations(range(n_leaves), limit))
    counts = [(ranks == subset).all(axis=1).sum() for subset in subsets]
    assert sum(counts) == n_centres
    assert chisquare(counts).pvalue > 0.01


def test_samples_follow_the_generator():
    graph = star(30)
    finder = NeighbourFinder(graph, 1, 5)
    centre = np.array([0])
    generator = np.random.default_rng(0)
    first, second = (finder.find(centre, generator) for _ in range(2))
    assert set(first.edges.tolist()) != set(second.edges.tolist())
    assert_same(finder.find(centre, np.random.default_rng(0)), first)


@pytest.mark.parametrize("targets", [[], [4], [7, 0, 7], [38, 3, 39], range(40)])
def test_edges_into_some_nodes(targets):
    graph = draw_graph()
    found = edges_into(graph.indptr, np.array(targets, dtype=np.int64))
    expected = [
        edge for node in targets for edge in np.flatnonzero(graph.edge_index[1] == node)
    ]
    assert found.tolist() == expected
