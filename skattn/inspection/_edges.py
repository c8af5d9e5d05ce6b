"""Relevance of nodes and edges, carried back along the edges of graphs.

Shares of the read-out are rows of sparse matrices over the nodes, one row for each
sample: a graph of a list, or a node that is asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import Bunch

from skattn.inspection._follow import owed_to
from skattn.inspection._objective import Objective
from skattn.inspection._record import FUSIONS
from skattn.inspection._run import Batch, Subject, walk

# Nodes that are asked about at once.
_ROWS_AT_ONCE = 1024


def is_of_graphs(subject: Subject) -> bool:
    """Tell whether layers attend along the edges of graphs that the user gave.

    Parameters
    ----------
    subject : Subject
        Any.

    Returns
    -------
    is_of_graphs : bool
        True for nodes and for lists of graphs; not for rows beside their neighbours.
    """
    return hasattr(subject.samples, "locate")


class Links(NamedTuple):
    """What a layer looks at along edges.

    Parameters
    ----------
    source, target : ndarray of int64 of shape (n_edges,)
        Nodes, counted over all graphs; of a pooling layer `target` is a sample.
    edge : ndarray of int64 of shape (n_edges,)
        Which of the given edges each is, -1 for a self-loop that the net added.
    is_pooling : bool
        Whether samples look at their nodes, and not nodes at each other.
    """

    source: np.ndarray
    target: np.ndarray
    edge: np.ndarray
    is_pooling: bool = False


class Network:
    """All graphs of a subject as one.

    Parameters
    ----------
    subject : Subject
        An estimator of nodes or of lists of graphs.
    """

    def __init__(self, subject: Subject) -> None:
        samples = subject.samples
        self.is_list = hasattr(samples, "n_nodes")
        if self.is_list:
            self.graphs = list(subject.X)
            self.seeds = None
        else:
            self.graphs = [samples.tensors.graph]
            self.seeds = np.asarray(samples.nodes)
        self.n_samples = len(samples)
        sizes = np.array([graph.n_nodes for graph in self.graphs])
        self.n_nodes = int(sizes.sum())
        self.first_node = np.cumsum(sizes) - sizes
        n_edges = np.array([graph.n_edges for graph in self.graphs])
        self.first_edge = np.cumsum(n_edges) - n_edges
        self.n_edges = int(n_edges.sum())
        # Edges lie in the order of targets, then sources, within each graph.
        self.codes = np.concatenate(
            [
                (graph.edge_index[1] + first) * self.n_nodes
                + graph.edge_index[0]
                + first
                for graph, first in zip(self.graphs, self.first_node, strict=True)
            ]
        )

    def links(self, batch: Batch) -> list[Links]:
        """Find the edges of all layers among all graphs.

        Parameters
        ----------
        batch : Batch
            Of the walk.

        Returns
        -------
        links : list of Links
            One for each record, in its order.
        """
        return [self._links_of(batch, record) for record in batch.records]

    def _links_of(self, batch: Batch, record: Any) -> Links:
        (source, target), sample = batch.place_of(record)
        first = 0 if sample is None else self.first_node[sample]
        source = source + first
        if record.kind == "pooling":
            to = np.zeros_like(target) if sample is None else sample
            return Links(source, to, np.full_like(source, -1), is_pooling=True)
        target = target + first
        codes = target * self.n_nodes + source
        at = np.searchsorted(self.codes, codes)
        at = np.minimum(at, max(self.n_edges - 1, 0))
        known = self.codes[at] == codes if self.n_edges else np.zeros(len(codes), bool)
        return Links(source, target, np.where(known, at, -1))

    def rows_of(self, batch: Batch) -> Iterator[np.ndarray]:
        """Divide the rows of a batch into parts that are followed at once.

        Parameters
        ----------
        batch : Batch
            Of the walk.

        Yields
        ------
        rows : ndarray of int64 of shape (k,)
            Samples.
        """
        n_parts = 1 if self.is_list else -(-len(batch.rows) // _ROWS_AT_ONCE)
        yield from np.array_split(batch.rows, n_parts)

    def start(self, rows: np.ndarray) -> Any:
        """Share out one for each sample: to its node, or to all nodes of its graph.

        Parameters
        ----------
        rows : ndarray of int64 of shape (k,)
            Samples.

        Returns
        -------
        shares : csr_array of shape (k, n_nodes)
            Rows sum to one.
        """
        if self.seeds is not None:
            nodes, sizes = self.seeds[rows], np.ones(len(rows), dtype=np.int64)
        else:
            sizes = np.array([self.graphs[row].n_nodes for row in rows])
            nodes = np.concatenate(
                [
                    self.first_node[row] + np.arange(self.graphs[row].n_nodes)
                    for row in rows
                ]
            )
        shares = np.repeat(1.0 / sizes, sizes)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        return sparse.csr_array((shares, nodes, ends), shape=(len(rows), self.n_nodes))

    def to_nodes(self, links: Links, alpha: np.ndarray) -> Any:
        """Make the matrix of a layer's weights.

        Parameters
        ----------
        links : Links
            Of the layer.
        alpha : ndarray of shape (n_edges,)
            Weights.

        Returns
        -------
        matrix : csr_array of shape (n_nodes, n_nodes)
            From targets to sources.
        """
        return sparse.csr_array(
            (alpha, (links.target, links.source)), shape=(self.n_nodes, self.n_nodes)
        )

    def to_edges(self, links: Links, alpha: np.ndarray) -> Any:
        """Make the matrix that tells along which given edges a layer's weights lie.

        Parameters
        ----------
        links : Links
            Of the layer.
        alpha : ndarray of shape (n_edges,)
            Weights.

        Returns
        -------
        matrix : csr_array of shape (n_nodes, n_given_edges)
            From targets to edges.
        """
        given = links.edge >= 0
        return sparse.csr_array(
            (alpha[given], (links.target[given], links.edge[given])),
            shape=(self.n_nodes, self.n_edges),
        )

    def pooled(self, links: Links, alpha: np.ndarray, rows: np.ndarray) -> Any:
        """Make the matrix of the weights of a layer that pools nodes.

        Parameters
        ----------
        links : Links
            Of the layer.
        alpha : ndarray of shape (n_edges,)
            Weights.
        rows : ndarray of int64 of shape (k,)
            Samples, ascending.

        Returns
        -------
        matrix : csr_array of shape (k, n_nodes)
            From samples to nodes.
        """
        place = np.searchsorted(rows, links.target)
        return sparse.csr_array(
            (alpha, (place, links.source)), shape=(len(rows), self.n_nodes)
        )

    def by_axis(self, found: list[tuple[Any, Any, np.ndarray]]) -> dict[str, Bunch]:
        """Name what was found.

        Parameters
        ----------
        found : list of tuple
            Relevance of nodes (k, n_nodes) and of edges (k, n_given_edges), sparse, of
            some rows (k,), part by part.

        Returns
        -------
        by_axis : dict of str to Bunch
            Of ``"nodes"`` and ``"edges"``.
        """
        nodes, edges, rows = zip(*found, strict=True)
        order = np.argsort(np.concatenate(rows), kind="stable")
        by_axis = {}
        for axis, parts, first in (
            ("nodes", nodes, self.first_node),
            ("edges", edges, self.first_edge),
        ):
            importances = sparse.vstack(parts, format="csr")[order]
            names: list[Any] = [_names(graph, axis) for graph in self.graphs]
            if self.is_list:
                importances = _unpacked(importances, first, max(map(len, names)))
            else:
                (names,) = names
            by_axis[axis] = Bunch(importances=importances, names=names, axis=axis)
        return by_axis


def _names(graph: Any, axis: str) -> list[str]:
    nodes = list(map(str, graph.nodes))
    if axis == "nodes":
        return nodes
    return [f"{nodes[i]} -> {nodes[j]}" for i, j in graph.edge_index.T.tolist()]


def _unpacked(importances: Any, first: np.ndarray, longest: int) -> np.ndarray:
    """Let the positions of each graph begin at zero."""
    entries = importances.tocoo()
    dense = np.zeros((importances.shape[0], longest))
    dense[entries.row, entries.col - first[entries.row]] = entries.data
    return dense


def _follow(
    network: Network,
    rows: np.ndarray,
    links: Sequence[Links],
    alphas: Sequence[np.ndarray],
    residual: float | None,
) -> tuple[Any, Any]:
    """Carry shares of the read-out back through all layers.

    Parameters
    ----------
    network : Network
        All graphs.
    rows : ndarray of int64 of shape (k,)
        Samples.
    links : sequence of Links
        Of each layer.
    alphas : sequence of ndarray of shape (n_edges,)
        Weights of each layer.
    residual : float or None
        What part a node keeps of its own in each layer: `alphas` give the rest. None
        adds `alphas` to all of it, and leaves it out in the end.

    Returns
    -------
    nodes : csr_array of shape (k, n_nodes)
        What comes to each node.
    edges : csr_array of shape (k, n_given_edges)
        What goes along each edge, over all layers.
    """
    shares = network.start(rows)
    start = shares
    edges = sparse.csr_array((len(rows), network.n_edges))
    for each, alpha in zip(reversed(links), reversed(alphas), strict=True):
        if each.is_pooling:
            shares, start = network.pooled(each, alpha, rows), None
            continue
        moved, kept = shares, shares
        if residual is not None:
            looks = np.bincount(each.target, alpha, network.n_nodes) > 0
            moved = (1 - residual) * shares
            kept = shares @ sparse.diags_array(np.where(looks, residual, 1.0))
        edges = edges + moved @ network.to_edges(each, alpha)
        shares = kept + moved @ network.to_nodes(each, alpha)
    if residual is None and start is not None:
        shares = shares - start
    return shares.tocsr(), edges.tocsr()


def _share_out(links: Links, alpha: np.ndarray, discard: float) -> np.ndarray:
    """Let the weights of the edges to each target sum to one.

    Parameters
    ----------
    links : Links
        Of the layer.
    alpha : ndarray of shape (n_edges,)
        Weights.
    discard : float
        So large a part of the edges to each target are left out, those of the smallest
        weights.

    Returns
    -------
    alpha : ndarray of shape (n_edges,)
        Zeros where left out.
    """
    target = links.target
    if discard and len(alpha):
        order = np.lexsort((alpha, target))
        counts = np.bincount(target)
        first = np.cumsum(counts) - counts
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order)) - first[target[order]]
        alpha = np.where(rank < np.floor(discard * counts[target]), 0.0, alpha)
    total = np.bincount(target, alpha)[target] if len(alpha) else alpha
    return np.divide(alpha, total, out=np.zeros_like(alpha), where=total > 0)


def roll_along_edges(
    subject: Subject, head_fusion: str, discard: float, residual: float
) -> dict[str, Bunch]:
    """Roll attention out over nodes and edges.

    Parameters
    ----------
    subject : Subject
        An estimator of nodes or of lists of graphs.
    head_fusion, discard, residual : str or float
        See `skattn.inspection.attention_rollout`.

    Returns
    -------
    by_axis : dict of str to Bunch
        Of ``"nodes"`` and ``"edges"``.
    """
    network = Network(subject)
    found: list[tuple[Any, Any, np.ndarray]] = []
    for batch in walk(subject):
        links = network.links(batch)
        alphas = [
            _share_out(each, _joined(record.weights, head_fusion), discard)
            for each, record in zip(links, batch.records, strict=True)
        ]
        for rows in network.rows_of(batch):
            found.append((*_follow(network, rows, links, alphas, residual), rows))
    return network.by_axis(found)


def _joined(weights: Any, head_fusion: str = "mean") -> np.ndarray:
    heads = weights.detach()[:, None]  # (edges, 1, heads)
    return FUSIONS[head_fusion](heads)[:, 0].cpu().double().numpy()


def gradients_along_edges(subject: Subject, objective: Objective) -> dict[str, Bunch]:
    """Follow attention through which nodes and edges change a score.

    Graphs do not see each other; nodes of one graph do, so each takes a backward pass.

    Parameters
    ----------
    subject : Subject
        An estimator of nodes or of lists of graphs.
    objective : Objective
        The score.

    Returns
    -------
    by_axis : dict of str to Bunch
        Of ``"nodes"`` and ``"edges"``.
    """
    network = Network(subject)
    found: list[tuple[Any, Any, np.ndarray]] = []
    for batch in walk(subject, with_gradient=True):
        links = network.links(batch)
        numbers = objective(batch)
        wholes = [slice(None)]
        if not network.is_list:
            wholes = [slice(number, number + 1) for number in range(len(batch.rows))]
        for whole in wholes:
            gradients = batch.gradients(numbers[whole].sum())
            alphas = [
                _joined(owed_to(record, gradient, objective.has_sign))
                for record, gradient in zip(batch.records, gradients, strict=True)
            ]
            rows = batch.rows[whole]
            found.append((*_follow(network, rows, links, alphas, None), rows))
    return network.by_axis(found)


def last_along_edges(subject: Subject) -> dict[str, Bunch]:
    """Take the weights of the last layer along edges, and of one that pools nodes.

    Parameters
    ----------
    subject : Subject
        An estimator of nodes or of lists of graphs.

    Returns
    -------
    by_axis : dict of str to Bunch
        Of ``"nodes"`` and ``"edges"``.
    """
    network = Network(subject)
    found: list[tuple[Any, Any, np.ndarray]] = []
    for batch in walk(subject):
        each = list(zip(network.links(batch), batch.records, strict=True))
        links, record = [pair for pair in each if not pair[0].is_pooling][-1]
        pools = [pair for pair in each if pair[0].is_pooling]
        alpha = _joined(record.weights)
        for rows in network.rows_of(batch):
            start = network.start(rows)
            nodes = start @ network.to_nodes(links, alpha)
            if pools:
                nodes = network.pooled(
                    pools[-1][0], _joined(pools[-1][1].weights), rows
                )
            members = start.astype(bool).astype(np.float64)
            found.append((nodes, members @ network.to_edges(links, alpha), rows))
    return network.by_axis(found)
