"""Nodes of a graph as samples: each batch brings what its scores depend on."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from skattn._engine._neighbourhoods import (
    NeighbourFinder,
    Neighbourhood,
    edges_into,
)
from skattn._engine._samples import Inputs, Target
from skattn.nn import sparse_rows

# Edges that a layer computes at once when scores are computed layer by layer.
_EDGES_AT_ONCE = 1 << 17


class GraphTensors:
    """Scaled features of a graph's nodes and edges, a part at a time.

    Parameters
    ----------
    graph : Graph
        With node features.
    scaling : GraphScaling
        Fitted.
    dtype : torch.dtype
        Of the real numbers.
    device : torch.device
        Where tensors go.
    """

    def __init__(
        self, graph: Any, scaling: Any, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.graph = graph
        self.scaling = scaling
        self.dtype = dtype
        self.device = device

    def nodes(self, positions: np.ndarray) -> Tensor:
        """Gather features of nodes: (n, n_features), sparse where the graph's are."""
        x = self.scaling.nodes(self.graph.x[positions])
        if not sparse.issparse(x):
            return self._numbers(x)
        return sparse_rows(
            self._integers(x.indptr),
            self._integers(x.indices),
            self._numbers(x.data),
            x.shape,
        )

    def inputs(self, found: Neighbourhood) -> Inputs:
        """Make ``x``, ``edge_index`` and, with edge features, ``edge_attr``."""
        return self.with_edges(found, self.nodes(found.nodes))

    def with_edges(self, found: Neighbourhood, x: Tensor) -> Inputs:
        """Put the edges of a neighbourhood beside some states of its nodes."""
        inputs = {"x": x, "edge_index": self._integers(found.edge_index)}
        if self.graph.edge_attr is not None:
            edges = self.graph.edge_attr[found.edges]
            inputs["edge_attr"] = self._numbers(self.scaling.edges(edges))
        return inputs

    def whole(self) -> Inputs:
        """Make ``x``, ``edge_index`` and perhaps ``edge_attr`` of the whole graph."""
        graph = self.graph
        nodes, edges = np.arange(graph.n_nodes), np.arange(graph.n_edges)
        return self.inputs(Neighbourhood(nodes, edges, graph.edge_index, ()))

    def _numbers(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=self.dtype, device=self.device)

    def _integers(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=torch.int64, device=self.device)


class NodeSamples:
    """Nodes of one graph with their targets.

    Where a batch holds all nodes, what they depend on is gathered once; otherwise it
    is found, or sampled, for each batch.

    Parameters
    ----------
    tensors : GraphTensors
        The graph that predictions see, and its features.
    nodes : ndarray of int64 of shape (n_rows,)
        Position in the graph of each row.
    n_hops : int or None
        Layers of the module; None if it cannot run layer by layer: then each batch
        brings the whole graph.
    num_neighbors : int or None, default=None
        Edges into a node that are sampled in training; None takes all.
    is_whole : bool, default=False
        Whether one training step goes over all samples.
    seed : int, default=0
        Of the sampled edges.
    target : ndarray of shape (n_rows, ...), optional
        Encoded targets.
    trained : tuple of (GraphTensors, ndarray of int64), optional
        The graph along whose edges training sends messages, and the positions of its
        nodes in the other one, ascending.
    """

    sizes = None

    def __init__(
        self,
        tensors: GraphTensors,
        nodes: np.ndarray,
        *,
        n_hops: int | None,
        num_neighbors: int | None = None,
        is_whole: bool = False,
        seed: int = 0,
        target: np.ndarray | None = None,
        trained: tuple[GraphTensors, np.ndarray] | None = None,
    ) -> None:
        self.tensors = tensors
        self.nodes = nodes
        self.n_hops = n_hops
        self.num_neighbors = num_neighbors
        self.is_whole = is_whole
        self.seed = seed
        self.trained = trained
        self.is_training = False
        self.is_walked = False
        self.is_at_once = False
        self.target: Tensor | None = None
        if target is not None:
            self.target = torch.from_numpy(np.ascontiguousarray(target))
            is_real = self.target.is_floating_point()
            dtype = tensors.dtype if is_real else None
            self.target = self.target.to(tensors.device, dtype)
        self.weight: Tensor | None = None
        self._start()

    def _start(self) -> None:
        self._generator = np.random.default_rng(self.seed)
        self._all: Inputs | None = None
        self._finder: NeighbourFinder | None = None
        self._taken: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.nodes)

    def at(self, rows: np.ndarray, weight: np.ndarray | None) -> NodeSamples:
        """Make samples of some rows.

        Parameters
        ----------
        rows : ndarray of shape (n_samples,)
            Rows, perhaps repeated. If all of them are trained on, messages are sent
            along the edges for training, perhaps sampled; otherwise along all, and
            where training samples them, layer by layer.
        weight : ndarray of shape (n_samples,) or None
            Weights in the loss, of mean one.

        Returns
        -------
        samples : NodeSamples
            A view.
        """
        view = copy(self)
        view.nodes = self.nodes[rows]
        if self.trained is not None:
            tensors, known = self.trained
            view.is_training = bool(np.isin(view.nodes, known).all())
            if view.is_training and tensors is not self.tensors:
                view.tensors = tensors
                view.nodes = np.searchsorted(known, view.nodes)
        if self.num_neighbors is not None and not view.is_training:
            # All that held-out nodes depend on may be most of a large graph.
            view.is_walked = view.is_whole = True
        device, dtype = self.tensors.device, self.tensors.dtype
        if self.target is not None:
            view.target = self.target[torch.from_numpy(rows).to(device)]
        view.weight = None
        if weight is not None:
            view.weight = torch.from_numpy(weight).to(device, dtype)
        view._start()
        return view

    def take(self, positions: Tensor) -> tuple[Inputs, Target]:
        """Gather a batch.

        Parameters
        ----------
        positions : Tensor of shape (batch,)
            Samples; where `is_whole`, they are all taken, in their own order.

        Returns
        -------
        inputs : dict
            The arguments of `NodeScores`.
        target : Target
            What to compare its scores with.
        """
        if self.target is None:
            raise ValueError("Samples without targets can only be predicted.")
        if self.is_whole:
            if self._all is None:
                walked = self.is_walked
                self._all = self._walk() if walked else self._gather(self.nodes, None)
            return self._all, Target(self.target, self.weight)
        chosen = positions.cpu().numpy()
        generator = self._generator if self.is_training else None
        inputs = self._gather(self.nodes[chosen], generator)
        weight = None if self.weight is None else self.weight[positions]
        return inputs, Target(self.target[positions], weight)

    def _gather(
        self, nodes: np.ndarray, generator: np.random.Generator | None
    ) -> Inputs:
        """Gather what the scores of some nodes depend on."""
        if self.n_hops is None:
            return {**self.tensors.whole(), "rows": self._rows(nodes)}
        seeds, order = np.unique(nodes, return_inverse=True)
        if self._finder is None:
            self._finder = NeighbourFinder(
                self.tensors.graph, self.n_hops, self.num_neighbors
            )
        found = self._finder.find(seeds, generator)
        self._taken = found.nodes
        inputs: Inputs = {**self.tensors.inputs(found), "rows": self._rows(order)}
        return {**inputs, "hops": found.hops}  # type: ignore[dict-item]

    def _walk(self) -> Inputs:
        """Prepare to score all nodes layer by layer."""
        seeds, order = np.unique(self.nodes, return_inverse=True)
        walk = LayerWalk(self.tensors, seeds, self.n_hops or 0)
        return {"rows": self._rows(order), "walk": walk}  # type: ignore[dict-item]

    def _rows(self, positions: np.ndarray) -> Tensor:
        return torch.from_numpy(positions).to(self.tensors.device)

    def inference_batches(self) -> Iterator[tuple[Tensor, Inputs]]:
        """Give all nodes at once; the module walks over them layer by layer.

        Yields
        ------
        rows : Tensor of shape (n_rows,)
            All rows.
        inputs : dict
            The arguments of `NodeScores`.
        """
        rows = torch.arange(len(self.nodes), device=self.tensors.device)
        if self.n_hops is None or self.is_at_once:
            yield rows, self._gather(self.nodes, None)
        else:
            yield rows, self._walk()

    def at_once(self) -> NodeSamples:
        """Make samples for inference that come with all they depend on, in one batch.

        Returns
        -------
        samples : NodeSamples
            A view.
        """
        view = copy(self)
        view.is_at_once = True
        return view

    def locate(self, edge_index: np.ndarray, kind: str) -> tuple[np.ndarray, None]:
        """Tell which edges of the graph those of the batch taken last are.

        Parameters
        ----------
        edge_index : ndarray of int64 of shape (2, n_edges)
            As the module recorded them.
        kind : str
            Of the record.

        Returns
        -------
        edge_index : ndarray of int64 of shape (2, n_edges)
            Positions in the graph.
        sample : None
            There is one graph.
        """
        return edge_index if self._taken is None else self._taken[edge_index], None


class LayerWalk:
    """Score nodes layer by layer, each over as many edges at once as memory allows.

    Every node that matters is computed once in each layer, with all of its neighbours.

    Parameters
    ----------
    tensors : GraphTensors
        The graph and its features.
    seeds : ndarray of int64 of shape (n,)
        The nodes that are scored, ascending.
    n_hops : int
        Layers.
    """

    def __init__(self, tensors: GraphTensors, seeds: np.ndarray, n_hops: int) -> None:
        self.tensors = tensors
        self.seeds = seeds
        self.n_hops = n_hops

    @torch.compiler.disable  # its NumPy would be traced, anew for each set of nodes
    def run(self, layers: Any) -> Tensor:
        """Compute the scores.

        Parameters
        ----------
        layers : iterable of nn.Module
            See `Architecture`.

        Returns
        -------
        scores : Tensor of shape (n, n_outputs)
            In the order of the seeds.
        """
        graph = self.tensors.graph
        finder = NeighbourFinder(graph, 1)
        needed = [self.seeds]
        for _ in range(self.n_hops - 1):
            needed.append(self._with_sources(needed[-1]))
        scores: Any = None
        place = np.zeros(graph.n_nodes, dtype=np.int64)  # of a node in `scores`
        for layer, targets in zip(layers, reversed(needed), strict=True):
            computed: Any = None
            done = 0
            for chunk in _chunks(graph.indptr, targets):
                found = finder.find(chunk)
                if scores is None:
                    x = self.tensors.nodes(found.nodes)
                else:
                    x = scores[torch.from_numpy(place[found.nodes]).to(scores.device)]
                inputs = self.tensors.with_edges(found, x)
                part = layer(**inputs, n_targets=len(chunk))
                if computed is None:
                    computed = part.new_empty(len(targets), part.shape[1])
                computed[done : done + len(chunk)] = part
                done += len(chunk)
            scores = computed
            place[targets] = np.arange(len(targets))
        return scores

    def _with_sources(self, targets: np.ndarray) -> np.ndarray:
        """Give some nodes and all that send them messages, ascending."""
        graph = self.tensors.graph
        is_needed = np.zeros(graph.n_nodes, dtype=bool)
        is_needed[targets] = True
        for chunk in _chunks(graph.indptr, targets):
            is_needed[graph.edge_index[0][edges_into(graph.indptr, chunk)]] = True
        return np.flatnonzero(is_needed)


def _chunks(indptr: np.ndarray, targets: np.ndarray) -> Iterator[np.ndarray]:
    """Cut targets where the edges into them, and they themselves, become too many."""
    load = (indptr[targets + 1] - indptr[targets] + 1).cumsum()
    ends = np.searchsorted(load, np.arange(_EDGES_AT_ONCE, load[-1], _EDGES_AT_ONCE))
    yield from (part for part in np.split(targets, np.unique(ends)) if len(part))
