"""Graph attention networks whose attention depends on the node that asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import NodeLinear, check_sizes, first_nodes, keep_outputs, keep_rows
from skattn_graph._attention import EdgeAttention, per_head, stack


class GATv2(Architecture):
    r"""Graph attention network with dynamic attention.

    .. math:: e_{ij}^k = a_k^\top \mathrm{LeakyReLU}(W_k h_j + U_k h_i + V_k f_{ij}),
              \quad
              \alpha_{ij}^k = \mathrm{softmax}_{j \in N(i) \cup \{i\}}(e_{ij}^k), \quad
              h_i' = \big\Vert_k \mathrm{ELU}\Bigl(\sum_j \alpha_{ij}^k W_k h_j\Bigr)

    for the edges from :math:`j` to :math:`i` with features :math:`f_{ij}`. It is
    `GAT` but for the score: there the order of a node's neighbours is the same
    whichever node asks; here each node has its own.

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
        GAT's training on Cora, as parameters of `skattn.NodeClassifier`, which takes
        them as ``NodeClassifier(GATv2(), graph=graph, **GATv2.recipe)``. The
        constructor's defaults are the rest of the recipe.

    References
    ----------
    Brody, Alon, Yahav, "How Attentive are Graph Attention Networks?", ICLR 2022, arXiv
    2105.14491.

    Examples
    --------
    >>> from skattn import NodeClassifier
    >>> from skattn.architectures import GATv2
    >>> NodeClassifier(GATv2(num_heads=4), **GATv2.recipe).architecture
    GATv2(num_heads=4)
    """

    api_version = 1
    name = "gatv2"
    supports = {
        "nodes": {"classification", "regression"},
        "graph": {"classification", "regression"},
    }
    consumes = ("edge_attr", "batch")
    citation = (
        "Brody, Alon, Yahav, How Attentive are Graph Attention Networks?, ICLR 2022, "
        "arXiv 2105.14491"
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
        return stack(_GATv2Layer, self, data)


class _GATv2Layer(EdgeAttention):
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
        joined = num_heads * head_width
        self.project_source = NodeLinear(in_features, joined)
        self.project_target = NodeLinear(in_features, joined)
        self.project_edge = (
            nn.Linear(n_edge_features, joined, bias=False) if n_edge_features else None
        )
        self.weight_score = nn.Parameter(torch.empty(num_heads, head_width))
        nn.init.xavier_uniform_(self.weight_score)

    def cut(self, keep: Sequence[int], units: Tensor) -> None:
        keep_outputs(self.project_source, units)
        keep_outputs(self.project_target, units)
        if self.project_edge is not None:
            keep_outputs(self.project_edge, units)
        self.weight_score = keep_rows(self.weight_score, keep)

    @property
    def head(self) -> nn.Module:
        return self.project_source

    def score(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, n_targets: int
    ) -> tuple[Tensor, Tensor]:
        source, target = edge_index
        h_source = self.project_source(x)  # (nodes, heads * d)
        h_target = self.project_target(first_nodes(x, n_targets))
        z = h_source.index_select(0, source) + h_target.index_select(0, target)
        if self.project_edge is not None and edge_attr is not None:
            z = z + self.project_edge(edge_attr)
        z = functional.leaky_relu(z, self.negative_slope)  # (edges, heads * d)
        scores = z @ per_head(self.weight_score)  # (edges, heads)
        return scores, h_source.unflatten(1, self.weight_score.shape)
