"""Graph attention networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import NodeLinear, check_sizes, keep_outputs, keep_rows
from skattn_graph._attention import EdgeAttention, per_head, stack


class GAT(Architecture):
    r"""Graph attention network.

    .. math:: e_{ij}^k = \mathrm{LeakyReLU}(a_k^\top W_k h_j + b_k^\top W_k h_i
              + c_k^\top f_{ij}), \quad
              \alpha_{ij}^k = \mathrm{softmax}_{j \in N(i) \cup \{i\}}(e_{ij}^k), \quad
              h_i' = \big\Vert_k \mathrm{ELU}\Bigl(\sum_j \alpha_{ij}^k W_k h_j\Bigr)

    for the edges from :math:`j` to :math:`i`, whose features :math:`f_{ij}` are an
    addition to the paper. Scores of nodes are those of a last layer that averages its
    heads; whole graphs are pooled by attention (`skattn.nn.GraphPooling`) and mapped
    linearly. Sparse features stay sparse through the first projection.

    Parameters
    ----------
    hidden_size : int, default=8
        Width of a head of a hidden layer.
    num_heads : int, default=8
        Heads of a hidden layer, which are joined.
    num_layers : int, default=2
        Layers, so the distance in edges over which nodes see each other.
    output_heads : int, default=1
        Heads of the last layer of scores of nodes, which are averaged.
    dropout : float or None, default=None
        Probability of dropping a feature of a node before each layer. None takes 0.6,
        as in the paper, from 256 features (bags of words), and 0.1 below.
    attention_dropout : float or None, default=None
        Probability of dropping an attention weight. None takes 0.6 from 256 features,
        as in the paper, and 0 below.
    negative_slope : float, default=0.2
        Slope of LeakyReLU below zero.

    Attributes
    ----------
    recipe : mapping of str to object
        How the paper trains on Cora, as parameters of `skattn.NodeClassifier`, which
        takes them as ``NodeClassifier(GAT(), graph=graph, **GAT.recipe)``. The
        constructor's defaults are the rest of the recipe.

    References
    ----------
    Veličković et al., "Graph Attention Networks", ICLR 2018, arXiv 1710.10903.

    Examples
    --------
    >>> from skattn import NodeClassifier
    >>> from skattn.architectures import GAT
    >>> NodeClassifier(GAT(num_heads=4), **GAT.recipe).architecture
    GAT(num_heads=4)
    """

    api_version = 1
    name = "gat"
    supports = {
        "nodes": {"classification", "regression"},
        "graph": {"classification", "regression"},
    }
    consumes = ("edge_attr", "batch")
    citation = (
        "Veličković, Cucurull, Casanova, Romero, Liò, Bengio, Graph Attention "
        "Networks, ICLR 2018, arXiv 1710.10903"
    )
    search_space = {
        "hidden_size": Choice(4, 8, 16, 32),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 3),
        "dropout": Float(0.0, 0.7),
        "attention_dropout": Float(0.0, 0.7),
        "negative_slope": Float(0.05, 0.3),
    }
    recipe: ClassVar[Mapping[str, Any]] = {
        "optimizer": "Adam",
        "lr": 0.005,
        "weight_decay": 5e-4,
        "lr_schedule": None,
        "gradient_clip": None,
        "max_epochs": 1000,
        "early_stopping": True,
        "patience": 100,
        "input_scaling": "l1",
    }

    def __init__(
        self,
        hidden_size: int = 8,
        num_heads: int = 8,
        num_layers: int = 2,
        output_heads: int = 1,
        dropout: float | None = None,
        attention_dropout: float | None = None,
        negative_slope: float = 0.2,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.output_heads = output_heads
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.negative_slope = negative_slope

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "hidden_size",
            "num_heads",
            "num_layers",
            "output_heads",
            probabilities=["dropout", "attention_dropout", "negative_slope"],
        )
        return stack(_GATLayer, self, data)


class _GATLayer(EdgeAttention):
    def __init__(
        self,
        in_features: int,
        n_edge_features: int,
        num_heads: int,
        head_width: int,
        negative_slope: float,
        **options: Any,
    ) -> None:
        super().__init__(num_heads, head_width, **options)
        self.negative_slope = negative_slope
        self.project = NodeLinear(in_features, num_heads * head_width, bias=False)
        self.score_source = nn.Parameter(torch.empty(num_heads, head_width))
        self.score_target = nn.Parameter(torch.empty(num_heads, head_width))
        nn.init.xavier_uniform_(self.score_source)
        nn.init.xavier_uniform_(self.score_target)
        self.score_edge = (
            nn.Linear(n_edge_features, num_heads, bias=False)
            if n_edge_features
            else None
        )

    def cut(self, keep: Sequence[int], units: Tensor) -> None:
        keep_outputs(self.project, units)
        self.score_source = keep_rows(self.score_source, keep)
        self.score_target = keep_rows(self.score_target, keep)
        if self.score_edge is not None:
            keep_outputs(self.score_edge, torch.tensor(keep))

    @property
    def head(self) -> nn.Module:
        return self.project

    def score(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, n_targets: int
    ) -> tuple[Tensor, Tensor]:
        source, target = edge_index
        h = self.project(x)  # (nodes, heads * d)
        vectors = [per_head(self.score_source), per_head(self.score_target)]
        from_source, from_target = (h @ torch.cat(vectors, dim=1)).chunk(2, dim=1)
        scores = from_source.index_select(0, source)  # (edges, heads)
        scores = scores + from_target.index_select(0, target)
        if self.score_edge is not None and edge_attr is not None:
            scores = scores + self.score_edge(edge_attr)
        scores = functional.leaky_relu(scores, self.negative_slope)
        return scores, h.unflatten(1, self.score_source.shape)
