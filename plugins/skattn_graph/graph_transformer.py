"""Graph Transformer: dot-product attention along edges that have features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    GraphPooling,
    LeanDropout,
    NodeLinear,
    check_sizes,
    edge_softmax,
    first_nodes,
    head_units,
    is_recording,
    keep_outputs,
    node_dropout,
    record,
)
from skattn_graph._attention import dropout_rates, spread, still_kept


class GraphTransformer(Architecture):
    r"""The network of the unified message passing model (UniMP).

    In each layer and head a node asks its in-neighbours, with the features
    :math:`e_{ij}` of the edge from :math:`j` to :math:`i`, if there are any,

    .. math:: \alpha_{ij} = \mathrm{softmax}_{j \to i} \left(
              \frac{q_i^\top (k_j + \epsilon_{ij})}{\sqrt d}\right), \quad
              m_i = \sum_{j \to i} \alpha_{ij} (v_j + \epsilon_{ij})

    where :math:`q, k, v` are linear maps of :math:`h` and :math:`\epsilon` is one of
    :math:`e`. With :math:`m_i` of all heads joined, a gated residual connection gives

    .. math:: r_i = W_r h_i + b_r, \quad
              \beta_i = \sigma(w^\top [m_i; r_i; m_i - r_i]), \quad
              h_i' = \mathrm{ReLU}(\mathrm{LN}((1 - \beta_i) m_i + \beta_i r_i))

    The last layer for nodes averages its heads, and leaves out the norm and the ReLU.
    A whole graph is pooled by attention (`skattn.nn.GraphPooling`) and mapped to
    scores. No self-loops are added, since :math:`r_i` holds the node itself: of a node
    without in-edges it is all there is. The paper's masked labels as additional
    features are no part of this.

    Parameters
    ----------
    d_model : int, default=64
        Width of a node, a multiple of `num_heads`.
    num_heads : int, default=4
        Heads of each layer.
    num_layers : int, default=2
        Layers, which is how many edges away a node sees; in the paper 3 to 7.
    dropout : float or None, default=None
        Probability of dropping a feature of a node before each layer. None takes 0.8
        from 256 features, which suits bags of words and few labels, as in Cora, and
        0.1 below.
    attention_dropout : float or None, default=None
        Probability of dropping an attention weight. None takes 0.3 from 256 features,
        and 0 below.

    References
    ----------
    Shi et al., "Masked Label Prediction: Unified Message Passing Model for
    Semi-Supervised Classification", IJCAI 2021, arXiv 2009.03509.

    Examples
    --------
    >>> from skattn.architectures import GraphTransformer
    >>> GraphTransformer(num_layers=3)
    GraphTransformer(num_layers=3)
    """

    api_version = 1
    name = "graph_transformer"
    supports = {
        "nodes": {"classification", "regression"},
        "graph": {"classification", "regression"},
    }
    consumes = ("edge_attr", "batch")
    citation = (
        "Shi, Huang, Feng, Zhong, Wang, Sun, Masked Label Prediction: Unified Message "
        "Passing Model for Semi-Supervised Classification, IJCAI 2021, arXiv 2009.03509"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 4),
        "dropout": Float(0.0, 0.8),
        "attention_dropout": Float(0.0, 0.7),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_heads: int = 4,
        num_layers: int = 2,
        dropout: float | None = None,
        attention_dropout: float | None = None,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.dropout = dropout
        self.attention_dropout = attention_dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_heads",
            "num_layers",
            probabilities=["dropout", "attention_dropout"],
        )
        if self.d_model % self.num_heads:
            raise ValueError(
                f"num_heads={self.num_heads} of GraphTransformer must divide "
                f"d_model={self.d_model}."
            )
        return (_ForNodes if data.input == "nodes" else _ForGraphs)(self, data)


class _ForNodes(nn.Module):
    def __init__(self, params: GraphTransformer, data: DataSpec) -> None:
        super().__init__()
        hidden = _hidden_layers(params, data, params.num_layers - 1)
        in_features = params.d_model if hidden else data.n_features
        name = f"layers.{len(hidden)}"
        last = _Layer(params, data, in_features, data.n_outputs, name, is_last=True)
        self.layers = nn.ModuleList([*hidden, last])

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


class _ForGraphs(nn.Module):
    def __init__(self, params: GraphTransformer, data: DataSpec) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_hidden_layers(params, data, params.num_layers))
        self.pooling = GraphPooling(params.d_model)
        self.head = nn.Linear(params.d_model, data.n_outputs)

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


def _hidden_layers(
    params: GraphTransformer, data: DataSpec, count: int
) -> list[_Layer]:
    return [
        _Layer(
            params,
            data,
            params.d_model if number else data.n_features,
            params.d_model // params.num_heads,
            f"layers.{number}",
        )
        for number in range(count)
    ]


class _Layer(nn.Module):
    kept: Tensor | None

    def __init__(
        self,
        params: GraphTransformer,
        data: DataSpec,
        in_features: int,
        head_width: int,
        name: str,
        is_last: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads = self.all_heads = params.num_heads
        self.head_width = head_width
        self.register_buffer("kept", None, persistent=False)
        rates = dropout_rates(params, data, of_many=(0.8, 0.3))
        self.dropout, attention_dropout = rates
        self.drop_weights = LeanDropout(attention_dropout)
        self.layer, self.kind = name, "edge"
        joined = head_width * params.num_heads
        width = head_width if is_last else joined
        self.project_query = NodeLinear(in_features, joined)
        self.project_residual = NodeLinear(in_features, width)
        self.project_key_value = NodeLinear(in_features, 2 * joined)
        self.project_edge = (
            nn.Linear(data.n_edge_features, joined) if data.n_edge_features else None
        )
        self.gate = nn.Linear(3 * width, 1, bias=False)
        self.norm = None if is_last else nn.LayerNorm(width)

    @property
    def head(self) -> nn.Module:
        """All that a last layer's scores are made of. Where it is zero, so are they,
        but queries are not: with keys of zero as well, neither would ever learn."""
        parts: list[nn.Module] = [self.project_residual, self.project_key_value]
        if self.project_edge is not None:
            parts.append(self.project_edge)
        return nn.ModuleList(parts)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        n_targets: int | None = None,
    ) -> Tensor:
        """Compute the next features of the first `n_targets` nodes."""
        x = node_dropout(x, self.dropout, self.training)
        targets = first_nodes(x, n_targets)
        q, r = self.project_query(targets), self.project_residual(targets)
        k, v = self.project_key_value(x).chunk(2, dim=1)
        q, k, v = self._split(q), self._split(k), self._split(v)
        m = self._attend(q, k, v, edge_index, edge_attr)  # (targets, heads, d)
        m = spread(m, self.kept, self.all_heads)
        m = m.mean(dim=1) if self.norm is None else m.flatten(1)  # (targets, width)
        beta = torch.sigmoid(self.gate(torch.cat([m, r, m - r], dim=1)))
        h = (1 - beta) * m + beta * r
        return h if self.norm is None else torch.relu(self.norm(h))

    def prune_heads(self, keep: Sequence[int]) -> None:
        """Take out all heads but some; what the others gave becomes zero."""
        units = head_units(keep, self.head_width)
        joined = self.num_heads * self.head_width
        keep_outputs(self.project_query, units)
        keep_outputs(self.project_key_value, torch.cat([units, joined + units]))
        if self.project_edge is not None:
            keep_outputs(self.project_edge, units)
        self.kept = still_kept(self.kept, keep, self.gate.weight)
        self.num_heads = len(keep)

    def _attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None,
    ) -> Tensor:
        """Let targets (targets, heads, d) attend to sources (sources, heads, d)."""
        if not self.num_heads:
            return q
        source, target = edge_index
        k, v = k.index_select(0, source), v.index_select(0, source)  # (edges, heads, d)
        if self.project_edge is not None and edge_attr is not None:
            epsilon = self._split(self.project_edge(edge_attr))
            k, v = k + epsilon, v + epsilon
        scores = (q.index_select(0, target) * k).sum(dim=-1) / math.sqrt(k.shape[-1])
        alpha = edge_softmax(scores, target, len(q))  # (edges, heads)
        if is_recording():
            alpha = record(
                alpha,
                layer=self.layer,
                kind=self.kind,
                queries="nodes",
                keys="nodes",
                edge_index=edge_index,
                values=v,
            )
        messages = self.drop_weights(alpha)[..., None] * v
        return messages.new_zeros(q.shape).index_add(0, target, messages)

    def _split(self, h: Tensor) -> Tensor:
        return h.unflatten(1, (self.num_heads, self.head_width))
