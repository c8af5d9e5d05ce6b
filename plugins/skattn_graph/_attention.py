"""What the graph attention networks share: a layer but for its scores, and stacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import DataSpec
from skattn.nn import (
    GraphPooling,
    LeanDropout,
    edge_softmax,
    edge_sum,
    head_units,
    is_recording,
    node_dropout,
    record,
    with_self_loops,
)

# Nodes with so many features mostly are bags of words.
_MANY_FEATURES = 256


def dropout_rates(
    params: Any, data: DataSpec, of_many: tuple[float, float]
) -> tuple[float, float]:
    """Choose the rates that a user leaves open.

    Parameters
    ----------
    params : Architecture
        With `dropout` and `attention_dropout`, each perhaps None.
    data : DataSpec
        What the data look like.
    of_many : tuple of float
        Both rates where nodes have 256 features or more; where they have fewer, 0.1
        and 0.

    Returns
    -------
    dropout, attention_dropout : float
        What is not None, and else the rate chosen.
    """
    chosen = of_many if data.n_features >= _MANY_FEATURES else (0.1, 0.0)
    given = (params.dropout, params.attention_dropout)
    first, second = (
        rate if each is None else each for each, rate in zip(given, chosen, strict=True)
    )
    return first, second


class EdgeAttention(nn.Module, ABC):
    r"""Attention of each node over its in-edges and itself; a subclass scores them.

    .. math:: h_i' = \sigma\Bigl(\big\Vert_k \sum_{j \in N(i) \cup \{i\}}
              \alpha_{ij}^k v_j^k + b\Bigr), \quad
              \alpha_{ij}^k = \mathrm{softmax}_j(e_{ij}^k)

    The last layer averages the heads instead, and has no nonlinearity.

    Parameters
    ----------
    num_heads : int
        Heads.
    head_width : int
        Width of a head.
    dropout : float
        Probability of dropping a feature of a node.
    attention_dropout : float
        Probability of dropping an attention weight.
    layer : str
        Name of the layer in records.
    is_last : bool
        Whether the output is scores.
    """

    kind = "edge"
    kept: Tensor | None

    def __init__(
        self,
        num_heads: int,
        head_width: int,
        *,
        dropout: float,
        attention_dropout: float,
        layer: str,
        is_last: bool,
    ) -> None:
        super().__init__()
        self.num_heads = self.all_heads = num_heads
        self.head_width = head_width
        self.register_buffer("kept", None, persistent=False)
        self.dropout = dropout
        self.drop_weights = LeanDropout(attention_dropout)
        self.layer = layer
        self.is_last = is_last
        width = head_width if is_last else num_heads * head_width
        self.bias = nn.Parameter(torch.zeros(width))

    @abstractmethod
    def score(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, n_targets: int
    ) -> tuple[Tensor, Tensor]:
        """Compute scores of the edges and values of the sources.

        Parameters
        ----------
        x, edge_index, edge_attr, n_targets
            As in `forward`, with self-loops.

        Returns
        -------
        scores : Tensor of shape (edges, num_heads)
            The :math:`e_{ij}`.
        values : Tensor of shape (nodes, num_heads, head_width)
            The :math:`v_j`.
        """

    @abstractmethod
    def cut(self, keep: Sequence[int], units: Tensor) -> None:
        """Take all heads but some out of the parameters that `score` uses.

        Parameters
        ----------
        keep : sequence of int
            The heads that stay.
        units : Tensor of int64 of shape (len(keep) * head_width,)
            Their units among those of the joined heads.
        """

    @property
    @abstractmethod
    def head(self) -> nn.Module:
        """What maps the sources to values. Where it is zero, so is `forward`, but the
        scores of the edges are not, and so all weights go on to learn."""

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        n_targets: int | None = None,
    ) -> Tensor:
        """Compute the next features of the first `n_targets` nodes.

        Parameters
        ----------
        x : Tensor of shape (nodes, features), dense or of layout torch.sparse_csr
            Features of all nodes.
        edge_index : Tensor of int of shape (2, edges)
            Source and target of each edge.
        edge_attr : Tensor of shape (edges, n_edge_features), optional
            Features of the edges.
        n_targets : int, optional
            None for all nodes.

        Returns
        -------
        h : Tensor of shape (n_targets, num_heads * head_width)
            Next features; of the last layer (n_targets, head_width) scores.
        """
        n_targets = len(x) if n_targets is None else n_targets
        x = node_dropout(x, self.dropout, self.training)
        edge_index, edge_attr = with_self_loops(edge_index, edge_attr, n_targets)
        scores, values = self.score(x, edge_index, edge_attr, n_targets)
        alpha = edge_softmax(scores, edge_index[1], n_targets)  # (edges, heads)
        if is_recording():
            alpha = record(
                alpha,
                layer=self.layer,
                kind=self.kind,
                queries="nodes",
                keys="nodes",
                edge_index=edge_index,
                values=values.index_select(0, edge_index[0]),
            )
        h = edge_sum(self.drop_weights(alpha), values, edge_index, n_targets)
        h = spread(h, self.kept, self.all_heads)
        if self.is_last:
            return h.mean(dim=1) + self.bias
        return functional.elu(h.flatten(1) + self.bias)

    def prune_heads(self, keep: Sequence[int]) -> None:
        """Take heads out; what they gave becomes zero.

        Parameters
        ----------
        keep : sequence of int
            The heads that stay, ascending; they are numbered anew.

        Raises
        ------
        ValueError
            If none would stay.
        """
        if not keep:
            raise ValueError(
                f"At least one head of layer {self.layer!r} must stay: nothing else "
                "leads through this layer. Keep its most important one."
            )
        self.cut(keep, head_units(keep, self.head_width))
        self.kept = still_kept(self.kept, keep, self.bias)
        self.num_heads = len(keep)


def still_kept(kept: Tensor | None, keep: Sequence[int], like: Tensor) -> Tensor:
    """Number the heads that stay as they were numbered first.

    Parameters
    ----------
    kept : Tensor of int64 of shape (heads,), or None
        First numbers of those that are there; None where they are all.
    keep : sequence of int
        Which of them stay.
    like : Tensor
        Of the device of the result.

    Returns
    -------
    kept : Tensor of int64 of shape (len(keep),)
        First numbers.
    """
    present = torch.tensor(list(keep), dtype=torch.int64, device=like.device)
    return present if kept is None else kept[present]


def spread(h: Tensor, kept: Tensor | None, all_heads: int) -> Tensor:
    """Put heads where they were before others were taken out.

    Parameters
    ----------
    h : Tensor of shape (..., heads, d)
        What the heads gave.
    kept : Tensor of int64 of shape (heads,), or None
        Their first numbers; None where they are all.
    all_heads : int
        How many there were.

    Returns
    -------
    h : Tensor of shape (..., all_heads, d)
        Zero for those taken out.
    """
    if kept is None:
        return h
    empty = h.new_zeros(*h.shape[:-2], all_heads, h.shape[-1])
    return empty.index_copy(-2, kept, h)


def per_head(vectors: Tensor) -> Tensor:
    """Put the vector of each head into a column, to multiply joined heads by it.

    Parameters
    ----------
    vectors : Tensor of shape (heads, d)
        A vector for each head.

    Returns
    -------
    matrix : Tensor of shape (heads * d, heads)
        Zero but for the rows of a head in its column.
    """
    eye = torch.eye(len(vectors), dtype=vectors.dtype, device=vectors.device)
    return (vectors[..., None] * eye[:, None]).flatten(0, 1)


def stack(
    layer: Callable[..., EdgeAttention], params: Any, data: DataSpec
) -> nn.Module:
    """Stack layers into a module for nodes or for graphs.

    Parameters
    ----------
    layer : callable
        Makes a layer: the subclass.
    params : Architecture
        The hyper-parameters: `hidden_size`, `num_heads`, `num_layers`, `output_heads`,
        `dropout`, `attention_dropout` and `negative_slope`.
    data : DataSpec
        What the data look like.

    Returns
    -------
    module : nn.Module
        Untrained.
    """
    for_nodes = data.input == "nodes"
    dropout, attention_dropout = dropout_rates(params, data, of_many=(0.6, 0.6))
    layers = nn.ModuleList()
    in_features = data.n_features
    for number in range(params.num_layers):
        is_last = for_nodes and number == params.num_layers - 1
        layers.append(
            layer(
                in_features,
                data.n_edge_features,
                params.output_heads if is_last else params.num_heads,
                data.n_outputs if is_last else params.hidden_size,
                negative_slope=params.negative_slope,
                dropout=dropout,
                attention_dropout=attention_dropout,
                layer=f"layers.{number}",
                is_last=is_last,
            )
        )
        in_features = params.num_heads * params.hidden_size
    if for_nodes:
        return _NodeStack(layers)
    return _GraphStack(layers, in_features, data.n_outputs)


class _NodeStack(nn.Module):
    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    @property
    def head(self) -> nn.Module:
        return self.layers[-1].head  # type: ignore[return-value]

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None
    ) -> Tensor:
        """Compute raw scores of the nodes; see `Architecture`."""
        for layer in self.layers:
            x = layer(x, edge_index, edge_attr)
        return x


class _GraphStack(nn.Module):
    def __init__(self, layers: nn.ModuleList, width: int, n_outputs: int) -> None:
        super().__init__()
        self.layers = layers
        self.pooling = GraphPooling(width)
        self.head = nn.Linear(width, n_outputs)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores of the graphs; see `Architecture`."""
        for layer in self.layers:
            x = layer(x, edge_index, edge_attr)
        return self.head(self.pooling(x, batch))
