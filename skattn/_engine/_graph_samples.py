"""Whole graphs as samples: a batch is one graph of several parts."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import numpy as np
import torch
from torch import Tensor

from skattn._engine._samples import Inputs, Target

# Nodes and edges of an inference batch, unless a single graph has more.
_SIZE_PER_BATCH = 1 << 16


class GraphSamples:
    """Graphs with their targets, held as whole tensors.

    Parameters
    ----------
    x : ndarray of shape (nodes, n_features)
        Features of the nodes of all graphs, one graph after another.
    edge_index : ndarray of int64 of shape (2, edges)
        Edges of all graphs, as positions within each graph.
    n_nodes, n_edges : ndarray of int64 of shape (n_rows,)
        Sizes of the graphs; each has a node.
    dtype : torch.dtype
        Of the real numbers.
    device : torch.device
        Where the tensors go.
    edge_attr : ndarray of shape (edges, n_edge_features), optional
        Features of the edges.
    target : ndarray of shape (n_rows, ...), optional
        Encoded targets: integers are classes, everything else becomes `dtype`.
    """

    is_whole = False
    sizes = None

    def __init__(
        self,
        *,
        x: np.ndarray,
        edge_index: np.ndarray,
        n_nodes: np.ndarray,
        n_edges: np.ndarray,
        dtype: torch.dtype,
        device: torch.device,
        edge_attr: np.ndarray | None = None,
        target: np.ndarray | None = None,
    ) -> None:
        def to_tensor(array: np.ndarray) -> Tensor:
            tensor = torch.from_numpy(np.ascontiguousarray(array))
            return tensor.to(device, dtype if array.dtype.kind == "f" else None)

        self.x = to_tensor(x)
        self.edge_index = to_tensor(edge_index)
        self.edge_attr = None if edge_attr is None else to_tensor(edge_attr)
        self.n_nodes, self.n_edges = to_tensor(n_nodes), to_tensor(n_edges)
        self.dtype = dtype
        self.device = device
        self.target = None if target is None else to_tensor(target)
        self.index: Tensor | None = None
        self.weight: Tensor | None = None
        self._first_node = self.n_nodes.cumsum(0) - self.n_nodes
        self._first_edge = self.n_edges.cumsum(0) - self.n_edges
        self._ends = np.cumsum(n_nodes + n_edges)
        self._count = len(n_nodes)

    def __len__(self) -> int:
        return self._count

    def at(self, index: np.ndarray, weight: np.ndarray | None) -> GraphSamples:
        """Make samples of some graphs that share these tensors.

        Parameters
        ----------
        index : ndarray of shape (n_samples,)
            The row of each sample; rows may be repeated.
        weight : ndarray of shape (n_samples,) or None
            Weights in the loss, of mean one.

        Returns
        -------
        samples : GraphSamples
            A view.
        """
        view = copy(self)
        view.index = torch.from_numpy(index).to(self.device)
        view.weight = None
        if weight is not None:
            view.weight = torch.from_numpy(weight).to(self.device, self.dtype)
        view._count = len(index)
        return view

    def take(self, positions: Tensor) -> tuple[Inputs, Target]:
        """Gather a training batch.

        Parameters
        ----------
        positions : Tensor of shape (batch,)
            Samples.

        Returns
        -------
        inputs : dict of str to Tensor
            The arguments of the module's ``forward``.
        target : Target
            What to compare its scores with.
        """
        if self.target is None:
            raise ValueError("Samples without targets can only be predicted.")
        rows = positions if self.index is None else self.index[positions]
        weight = None if self.weight is None else self.weight[positions]
        return self._gather(rows), Target(self.target[rows], weight)

    def inference_batches(self) -> Iterator[tuple[Tensor, Inputs]]:
        """Walk over all graphs in batches of a bounded number of nodes and edges.

        Yields
        ------
        rows : Tensor of shape (k,)
            The rows of this batch.
        inputs : dict of str to Tensor
            Their tensors.
        """
        start, done = 0, 0
        while start < len(self._ends):
            full = np.searchsorted(self._ends, done + _SIZE_PER_BATCH, side="right")
            stop = max(int(full), start + 1)
            rows = torch.arange(start, stop, device=self.device)
            self._taken = rows
            yield rows, self._gather(rows)
            start, done = stop, self._ends[stop - 1]

    def locate(
        self, edge_index: np.ndarray, kind: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tell where the edges of the last inference batch are.

        Parameters
        ----------
        edge_index : ndarray of int64 of shape (2, n_edges)
            As the module recorded them: nodes of the batch; in pooling, a node of the
            batch and a graph of the batch.
        kind : str
            Of the record.

        Returns
        -------
        edge_index : ndarray of int64 of shape (2, n_edges)
            Positions in the graph; in pooling, a node and 0.
        sample : ndarray of int64 of shape (n_edges,)
            Row of the graph.
        """
        rows = self._taken.cpu().numpy()
        n_nodes = self.n_nodes[self._taken].cpu().numpy()
        first = np.cumsum(n_nodes) - n_nodes
        if kind == "pooling":
            node, graph = edge_index
            return np.stack([node - first[graph], np.zeros_like(node)]), rows[graph]
        graph = np.repeat(np.arange(len(rows)), n_nodes)[edge_index[1]]
        return edge_index - first[graph], rows[graph]

    def _gather(self, rows: Tensor) -> Inputs:
        n_nodes = self.n_nodes[rows]
        nodes, batch = _ranges(self._first_node[rows], n_nodes)
        edges, owner = _ranges(self._first_edge[rows], self.n_edges[rows])
        first = (n_nodes.cumsum(0) - n_nodes)[owner]
        inputs = {
            "x": self.x[nodes],
            "edge_index": self.edge_index[:, edges] + first,
            "batch": batch,
        }
        if self.edge_attr is not None:
            inputs["edge_attr"] = self.edge_attr[edges]
        return inputs


def _ranges(starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Join ranges of positions: the positions, and the number of the range of each."""
    numbers = torch.arange(len(counts), device=counts.device)
    owner = numbers.repeat_interleave(counts)
    shift = starts - (counts.cumsum(0) - counts)
    return torch.arange(len(owner), device=counts.device) + shift[owner], owner
