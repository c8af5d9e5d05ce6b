"""What the tests of graphs share: a plain attention layer, nets of it, and graphs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from torch import nn

from skattn import Graph
from skattn.nn import NodeLinear, edge_softmax, first_nodes, record, with_self_loops


class Layer(nn.Module):
    """Softmax over the edges into a node, beside the node itself."""

    def __init__(
        self, n_in, n_out, *, n_edge_features=0, name="0", loops=False, heads=1
    ):
        super().__init__()
        self.own, self.other = NodeLinear(n_in, n_out), NodeLinear(n_in, n_out)
        self.edge = nn.Linear(n_edge_features, n_out) if n_edge_features else None
        self.score = nn.Linear(n_out, heads)
        self.name, self.loops = name, loops
        self.calls = []

    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        self.calls.append((len(x), edge_index.shape[1], n_targets))
        own = self.own(first_nodes(x, n_targets))
        if self.loops:
            edge_index, edge_attr = with_self_loops(edge_index, edge_attr, len(own))
        source, target = edge_index
        message = self.other(x)[source]
        if self.edge is not None:
            message = message + self.edge(edge_attr)
        message = torch.tanh(message)
        weights = edge_softmax(self.score(message), target, len(own))
        axes = {"queries": "nodes", "keys": "nodes", "edge_index": edge_index}
        record(weights, layer=self.name, kind="edge", **axes)
        return own.index_add(0, target, weights.mean(dim=1, keepdim=True) * message)


class Stack(nn.Module):
    """Some layers in turn."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x, edge_index, edge_attr=None):
        for layer in self.layers:
            x = layer(x, edge_index, edge_attr)
        return x


class Whole(nn.Module):
    """The same without layers that anybody could call."""

    def __init__(self, stack):
        super().__init__()
        self.stack = stack

    def forward(self, x, edge_index, edge_attr=None):
        return self.stack(x, edge_index, edge_attr)


def make_stack(n_hops=2, n_features=3, n_edge_features=0, *, seed=0, **params):
    """Make an untrained net in double precision, of two scores a node."""
    torch.manual_seed(seed)
    widths = [n_features, *[4] * (n_hops - 1), 2]
    layers = [
        Layer(*sizes, n_edge_features=n_edge_features, name=str(number), **params)
        for number, sizes in enumerate(pairwise(widths))
    ]
    return Stack(layers).double().eval()


def draw_graph(
    n=40, n_edges=120, *, n_features=3, n_edge_features=0, is_sparse=False, seed=0
):
    """Draw a directed graph with self-loops, its last two nodes without edges."""
    rng = np.random.default_rng(seed)
    codes = rng.choice((n - 2) ** 2, size=n_edges, replace=False)
    edge_index = np.stack([codes // (n - 2), codes % (n - 2)])
    x = rng.normal(size=(n, n_features))
    if is_sparse:
        x = sparse.csr_array(x * (rng.random(x.shape) < 0.5))
    edge_attr = rng.normal(size=(n_edges, n_edge_features)) if n_edge_features else None
    return Graph(edge_index, x, edge_attr, directed=True)


def star(n_leaves, x=None):
    """Make a graph whose node 0 hears from all others."""
    edges = [(leaf, 0) for leaf in range(1, n_leaves + 1)]
    return Graph.from_edges(edges, x, n_nodes=n_leaves + 1, directed=True)


def planted(n=90, *, degree=6, noise=1.0, is_sparse=False, seed=0):
    """Draw three communities, and features that hint at them; give the labels too."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    source = np.repeat(np.arange(n), degree)
    inside = rng.random(len(source)) < 0.9
    other = np.where(
        inside,
        3 * rng.integers(0, n // 3, len(source)),
        rng.integers(0, n, len(source)),
    )
    target = np.where(inside, other + labels[source], other)
    pairs = np.unique(np.sort(np.stack([source, target]), axis=0), axis=1)
    x = np.eye(3)[labels] + noise * rng.normal(size=(n, 3))
    if is_sparse:
        x = sparse.csr_array(np.where(x > 0.5, x, 0.0))
    return Graph.from_edges(pairs[:, pairs[0] != pairs[1]].T, x), labels


def changed(graph, *, x=None, edges=None):
    """Make the same graph with other features, or with other edges (2, n_edges)."""
    return Graph(
        graph.edge_index if edges is None else edges,
        graph.x if x is None else x,
        directed=edges is not None,
    )


def weights_of(estimator):
    """Copy the weights of a fitted estimator."""
    state = estimator.net_.module_.state_dict()
    return {name: tensor.clone() for name, tensor in state.items()}


def have_same_weights(first, second):
    """Tell whether two fitted estimators agree to the bit."""
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
