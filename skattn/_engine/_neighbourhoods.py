"""Which nodes and edges the scores of some nodes depend on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Neighbourhood:
    """What a number of layers look at to score some nodes.

    Nodes are ordered by their distance to those that are scored, edges by the distance
    of their target, so that each layer takes the first of both.

    Parameters
    ----------
    nodes : ndarray of int64 of shape (n_nodes,)
        Their positions in the graph; first come the nodes that are scored.
    edges : ndarray of int64 of shape (n_edges,)
        Positions of the edges in the graph.
    edge_index : ndarray of int64 of shape (2, n_edges)
        Source and target of each, as positions in `nodes`; targets ascend.
    hops : tuple of (int, int)
        For each layer in turn, the number of nodes that it computes and the number of
        edges that it takes.
    """

    nodes: np.ndarray
    edges: np.ndarray
    edge_index: np.ndarray
    hops: tuple[tuple[int, int], ...]


class NeighbourFinder:
    """Find, or sample, the neighbourhoods of nodes of one graph.

    Parameters
    ----------
    graph : Graph
        Its edges are sorted by target.
    n_hops : int
        Layers of the module.
    limit : int, optional
        Edges into a node that are sampled where there are more, without replacement.
    """

    def __init__(self, graph: object, n_hops: int, limit: int | None = None) -> None:
        self.indptr: np.ndarray = graph.indptr  # type: ignore[attr-defined]
        self.sources: np.ndarray = graph.edge_index[0]  # type: ignore[attr-defined]
        self.n_hops = n_hops
        self.limit = limit
        # Where each node of the graph is in the neighbourhood; -1 everywhere else.
        self._place = np.full(len(self.indptr) - 1, -1, dtype=np.int64)

    def find(
        self, targets: np.ndarray, generator: np.random.Generator | None = None
    ) -> Neighbourhood:
        """Collect what the scores of some nodes depend on.

        Parameters
        ----------
        targets : ndarray of int64 of shape (n,)
            Different nodes.
        generator : numpy.random.Generator, optional
            Samples edges, where the number is limited.

        Returns
        -------
        neighbourhood : Neighbourhood
            Its first nodes are the targets.
        """
        place = self._place
        nodes, edges, ends, sizes = [targets], [], [], [(len(targets), 0)]
        place[targets] = np.arange(len(targets))
        start, n_edges = 0, 0
        try:
            for _ in range(self.n_hops):
                n_nodes = sizes[-1][0]
                taken, counts = self._edges_into(nodes[-1], generator)
                ends.append(np.repeat(np.arange(start, n_nodes), counts))
                edges.append(taken)
                newest = self._new(self.sources[taken])
                place[newest] = np.arange(n_nodes, n_nodes + len(newest))
                nodes.append(newest)
                start, n_edges = n_nodes, n_edges + len(taken)
                sizes.append((n_nodes + len(newest), n_edges))
            all_edges = np.concatenate(edges)
            edge_index = np.stack(
                [place[self.sources[all_edges]], np.concatenate(ends)]
            )
        finally:
            for part in nodes:
                place[part] = -1
        hops = [(sizes[hop - 1][0], sizes[hop][1]) for hop in range(self.n_hops, 0, -1)]
        return Neighbourhood(np.concatenate(nodes), all_edges, edge_index, tuple(hops))

    def _new(self, found: np.ndarray) -> np.ndarray:
        """Give those nodes that have no place yet, each once, ascending."""
        fresh = found[self._place[found] < 0]
        numbers = np.arange(len(fresh))
        self._place[fresh] = numbers  # of a node that is there twice, the last stays
        return np.sort(fresh[self._place[fresh] == numbers])

    def _edges_into(
        self, targets: np.ndarray, generator: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """List the edges into some nodes, target by target, and count them."""
        first = self.indptr[targets]
        counts = self.indptr[targets + 1] - first
        if self.limit is None or generator is None:
            return edges_into(self.indptr, targets), counts
        is_crowded = counts > self.limit
        kept = np.minimum(counts, self.limit)
        edges = _ranges(first, kept)
        if is_crowded.any():
            drawn = np.sort(_draw(counts[is_crowded], self.limit, generator), axis=1)
            sampled = first[is_crowded, None] + drawn
            edges[np.repeat(is_crowded, kept)] = sampled.ravel()
        return edges, kept


def edges_into(indptr: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """List all edges into some nodes, target by target.

    Parameters
    ----------
    indptr : ndarray of shape (n_nodes + 1,)
        Where the edges into each node begin.
    targets : ndarray of int64 of shape (n,)
        Nodes.

    Returns
    -------
    edges : ndarray of int64
        Positions of edges.
    """
    first = indptr[targets]
    return _ranges(first, indptr[targets + 1] - first)


def _ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Count up from each first number, and join the results."""
    ends = counts.cumsum()
    shift = np.repeat(first - (ends - counts), counts)
    return np.arange(len(shift)) + shift


def _draw(counts: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `size` different numbers below each count (Floyd's algorithm, by rows)."""
    drawn = np.empty((len(counts), size), dtype=np.int64)
    for number in range(size):
        last = counts - size + number  # the largest number that may come now
        candidate = generator.integers(0, last + 1)
        seen = (drawn[:, :number] == candidate[:, None]).any(axis=1)
        drawn[:, number] = np.where(seen, last, candidate)
    return drawn
