"""Modules of graphs where the rest of the engine expects one score a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from skattn.nn import Recorded, rerecording


class NodeScores(nn.Module):
    """Score some nodes of a graph, over no more of it than they depend on.

    Parameters
    ----------
    module : nn.Module
        Of an architecture for nodes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @property
    def layers(self) -> Any:
        """Layers of the module, or None where it has none that can be called."""
        return getattr(self.module, "layers", None)

    def forward(
        self,
        rows: Tensor,
        x: Any = None,
        edge_index: Any = None,
        edge_attr: Tensor | None = None,
        hops: tuple[tuple[int, int], ...] | None = None,
        walk: Any = None,
    ) -> Tensor:
        """Compute scores.

        Parameters
        ----------
        rows : Tensor of shape (n,)
            Which of the scored nodes each sample is.
        x, edge_index, edge_attr : Tensor, optional
            As in `Architecture`; of a neighbourhood, or of the whole graph.
        hops : tuple of (int, int), optional
            See `Neighbourhood`.
        walk : LayerWalk, optional
            Brings layer after layer what it looks at, instead of all the tensors.

        Returns
        -------
        scores : Tensor of shape (n, n_outputs)
            Of the samples.
        """
        if walk is not None:
            return walk.run(self.layers)[rows]
        edges = {} if edge_attr is None else {"edge_attr": edge_attr}
        if hops is None:
            return self.module(x, edge_index, **edges)[rows]
        for layer, (n_nodes, n_edges) in zip(self.layers, hops, strict=True):
            near = {name: tensor[:n_edges] for name, tensor in edges.items()}
            x = layer(x, edge_index[:, :n_edges], **near, n_targets=n_nodes)
        return x[rows]


class StarScores(nn.Module):
    """Score rows of a table by a module for nodes, each row in a graph of its own.

    That graph is a star: the nearest training rows send messages to the row.

    Parameters
    ----------
    module : nn.Module
        Of an architecture for nodes, with layers that can be called.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @property
    def head(self) -> Any:
        """The module's last learned map."""
        return getattr(self.module, "head", None)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """Compute scores.

        Parameters
        ----------
        x : Tensor of shape (batch, n_features)
            Rows.
        neighbours : Tensor of shape (batch, n_neighbors, n_features)
            The training rows that are nearest to each.

        Returns
        -------
        scores : Tensor of shape (batch, n_outputs)
            Of the rows.
        """
        shape = neighbours.shape[:2]
        with rerecording(
            lambda each: _by_row(each, *shape),
            lambda each, weights: _by_edge(each, weights, *shape),
        ):
            return self._score(x, neighbours)

    def _score(self, x: Tensor, neighbours: Tensor) -> Tensor:
        n, k, _ = neighbours.shape
        source = torch.arange(n, n + n * k, device=x.device)
        target = torch.arange(n, device=x.device).repeat_interleave(k)
        edge_index = torch.stack([source, target])
        h = torch.cat([x, neighbours.flatten(0, 1)])
        *inner, last = self.module.layers  # type: ignore[misc]
        for layer in inner:
            h = layer(h, edge_index)
        return last(h, edge_index, n_targets=n)


def _by_row(received: Recorded, n: int, k: int) -> Recorded:
    """Turn weights of edges into weights (rows, heads, 1, 1 + neighbours)."""
    if received.edge_index is None:
        return received
    kept, target, rank = _places(received.edge_index, n, k)
    weights = received.weights.new_zeros(n, received.weights.shape[1], 1, k + 1)
    weights[target, :, 0, rank] = received.weights[kept]
    values = received.values
    if values is not None:  # (edges, heads, d) -> (rows, heads, 1 + neighbours, d)
        of_edges = values[kept]
        values = values.new_zeros(n, values.shape[1], k + 1, values.shape[2])
        values[target, :, rank] = of_edges
    keys = ("row", *(f"neighbour {number}" for number in range(1, k + 1)))
    return replace(
        received,
        weights=weights,
        queries="row",
        keys=keys,
        edge_index=None,
        values=values,
    )


def _by_edge(received: Recorded, weights: Tensor, n: int, k: int) -> Tensor:
    """Turn weights (rows, heads, 1, 1 + neighbours) back into weights of edges."""
    if received.edge_index is None:
        return weights
    kept, target, rank = _places(received.edge_index, n, k)
    # A head that is taken from all rows is taken from their neighbours, too.
    edges = received.weights * weights.any(dim=3).any(dim=0).flatten()
    edges[kept] = weights[target, :, 0, rank]
    return edges


def _places(edge_index: Tensor, n: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find edges to rows, their rows, and their places among the row's keys."""
    source, target = edge_index
    kept = target < n  # neighbours have edges to themselves
    source, target = source[kept], target[kept]
    rank = torch.where(source < n, 0, (source - n) % max(k, 1) + 1)
    return kept, target, rank
