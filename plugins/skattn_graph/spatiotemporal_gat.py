"""Spatio-temporal GAT: attention along each series, and between series of a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Graph, Int
from skattn.nn import (
    HorizonHead,
    LeanDropout,
    PatchTokens,
    PostNormBlock,
    ScoreHead,
    check_sizes,
    head_units,
    is_recording,
    keep_outputs,
    keep_rows,
    masked_mean,
    masked_softmax,
    record,
    sinusoidal_positions,
)
from skattn_graph._attention import spread, still_kept

# Width of the learned embedding of a series, as in the code of Graph WaveNet.
_EMBEDDING = 10


class SpatioTemporalGAT(Architecture):
    r"""Attention along the time of each series, then between neighbouring series.

    Each series :math:`i` is a node of a graph and has one token for each of its patches
    :math:`p`, which do not overlap, with sinusoidal positions. In each block, first the
    patches of a series attend to each other, then the series to their neighbours at the
    same patch:

    .. math:: H_i \leftarrow \mathrm{LN}(H_i + \mathrm{MultiHead}(H_i)), \quad
              H_i \leftarrow \mathrm{LN}(H_i + \mathrm{FFN}(H_i)), \quad
              h_{ip} \leftarrow \mathrm{LN}\Big(h_{ip} + \mathrm{ELU}\Big(
              \Big\Vert_k \sum_j \alpha^k_{ijp} W^k h_{jp}\Big)\Big)

    with the weights of a graph attention network for each head :math:`k`,

    .. math:: \alpha^k_{ijp} = \mathrm{softmax}_{j \in N(i) \cup \{i\}} \left(
              \mathrm{LeakyReLU}\left(a_k^\top W^k h_{ip} +
              a_k'^\top W^k h_{jp}\right) + b^k_{ij}\right).

    The part :math:`b` of the scores does not depend on the window, and all blocks share
    it. If the graph is learned, all series are neighbours, and :math:`b_{ij} =
    \mathrm{ReLU}(e_i^\top e'_j)` with learned embeddings: the weights are those of
    Graph WaveNet's adaptive adjacency matrix times those of attention, normalised. In a
    given graph :math:`b^k_{ij} = u_k^\top f_{ij}` with the features of the edge, if it
    has any; those of a series to itself are the mean of those of its other edges.

    One linear map of all tokens of a target forecasts it. Classes and numbers are
    scored from the mean token of each series.

    Parameters
    ----------
    d_model : int, default=32
        Width of a token; a multiple of `num_heads`.
    num_heads : int, default=4
        Heads of each attention layer.
    num_layers : int, default=2
        Blocks. Values travel so many edges.
    patch_length : int, default=8
        Steps of a patch, at most half of the window; 1 makes each step a token.
    graph : "learned", Graph or None, default="learned"
        Neighbours of each series: all others; those from which an edge of this
        `skattn.Graph` leads to it; or none, so that each series is forecast from itself
        alone. The nodes of a given graph are the names of the columns of the series and
        of covariates of the past, or numbers from 0 in their order. Other nodes are
        left out, and features of nodes are not used.
    dropout : float, default=0.1
        Probability of dropping a unit of the tokens, of each branch or of the
        feed-forward nets. Attention weights are not dropped.

    References
    ----------
    Veličković, Cucurull, Casanova, Romero, Liò, Bengio, "Graph Attention Networks",
    ICLR 2018, arXiv 1710.10903.

    Embeddings: Wu, Pan, Long, Jiang, Zhang, "Graph WaveNet for Deep Spatial-Temporal
    Graph Modeling", IJCAI 2019, arXiv 1906.00121. Attention in time and space by turns:
    Guo, Lin, Feng, Song, Wan, "Attention Based Spatial-Temporal Graph Convolutional
    Networks for Traffic Flow Forecasting", AAAI 2019.

    Examples
    --------
    >>> import skattn
    >>> from skattn.architectures import SpatioTemporalGAT
    >>> edges = [("rain", "river"), ("river", "sea")]
    >>> graph = skattn.Graph.from_edges(
    ...     edges, nodes=["rain", "river", "sea"], directed=True
    ... )
    >>> architecture = SpatioTemporalGAT(patch_length=4, graph=graph)
    >>> forecaster = skattn.AttentionForecaster(architecture, window_length=24)
    >>> forecaster.get_params()["architecture__graph"] is graph
    True
    """

    api_version = 1
    name = "spatiotemporal_gat"
    supports = {"series": {"classification", "regression", "forecasting"}}
    consumes = ("observed", "mask")
    citation = (
        "Veličković, Cucurull, Casanova, Romero, Liò, Bengio, Graph Attention "
        "Networks, ICLR 2018, arXiv 1710.10903; Wu, Pan, Long, Jiang, Zhang, Graph "
        "WaveNet for Deep Spatial-Temporal Graph Modeling, IJCAI 2019, arXiv 1906.00121"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 3),
        "patch_length": Choice(2, 4, 8, 16),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 32,
        num_heads: int = 4,
        num_layers: int = 2,
        patch_length: int = 8,
        graph: Graph | str | None = "learned",
        dropout: float = 0.1,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.patch_length = patch_length
        self.graph = graph
        self.dropout = dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_heads",
            "num_layers",
            "patch_length",
            probabilities=["dropout"],
        )
        return _SpatioTemporalGAT(self, data)


class _SpatioTemporalGAT(nn.Module):
    def __init__(self, params: SpatioTemporalGAT, data: DataSpec) -> None:
        super().__init__()
        width, heads = params.d_model, params.num_heads
        length = params.patch_length
        self.patches = PatchTokens(data, width, length, length)
        self.dropout = LeanDropout(params.dropout)
        self.temporal = nn.ModuleList(
            PostNormBlock(
                width,
                heads,
                d_ff=2 * width,
                dropout=params.dropout,
                layer=f"temporal.{number}",
                tokens=self.patches.axis,
            )
            for number in range(params.num_layers)
        )
        self.neighbours = _neighbours(params, data)
        self.spatial = nn.ModuleList(
            _GraphAttention(width, heads, params.dropout, f"spatial.{number}")
            for number in range(params.num_layers)
            if self.neighbours is not None
        )
        self.n_targets = data.n_targets
        self.is_forecast = data.task == "forecasting"
        self.head: nn.Module
        if self.is_forecast:
            self.head = HorizonHead(data, self.patches.n_patches * width)
        else:
            self.head = ScoreHead(data, data.n_channels * width)

    def forward(
        self, x: Tensor, observed: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h, mask = self.patches(x, observed, mask)  # (batch, series, patches, d_model)
        steps = torch.arange(h.shape[2], device=h.device)[None]
        h = self.dropout(h + sinusoidal_positions(steps, h.shape[3]).to(h.dtype))
        if self.neighbours is not None:
            linked, b = self.neighbours()
        for number, block in enumerate(self.temporal):
            h = block(h, mask)
            if self.neighbours is not None:
                h = self.spatial[number](h, linked, b, mask)
        if not self.is_forecast:
            tokens = h.transpose(1, 2).flatten(2)  # (batch, patches, series d_model)
            return self.head(masked_mean(tokens, mask))
        if mask is not None:
            h = torch.where(mask[:, None, :, None], h, 0.0)
        return self.head(h[:, : self.n_targets].flatten(2))


class _GraphAttention(nn.Module):
    """Attention between the series at each patch."""

    kept: Tensor | None

    def __init__(self, width: int, num_heads: int, dropout: float, layer: str) -> None:
        super().__init__()
        self.num_heads = self.all_heads = num_heads
        self.layer, self.kind = layer, "self"
        self.register_buffer("kept", None, persistent=False)
        self.project = nn.Linear(width, width, bias=False)
        self.a_target = nn.Parameter(torch.empty(num_heads, width // num_heads, 1))
        self.a_source = nn.Parameter(torch.empty(num_heads, width // num_heads, 1))
        nn.init.xavier_uniform_(self.a_target)
        nn.init.xavier_uniform_(self.a_source)
        self.dropout = LeanDropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, h: Tensor, linked: Tensor, b: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """Let each series attend to those that it is `linked` to."""
        if not self.num_heads:
            return self.norm(h)
        wh = self.project(h).unflatten(-1, (self.num_heads, -1))
        wh = wh.permute(0, 2, 3, 1, 4)  # (batch, patches, heads, series, d_head)
        joint = wh @ self.a_target + (wh @ self.a_source).transpose(-2, -1)
        scores = functional.leaky_relu(joint, 0.2)
        if b is not None:  # which may be one for each head
            is_shared = b.dim() == 2 or self.kept is None
            scores = scores + (b if is_shared else b[self.kept])
        if mask is not None:
            linked = linked & mask[:, :, None, None, None]
        alpha = masked_softmax(scores, linked)  # (batch, patches, heads, series, keys)
        if is_recording():
            alpha = record(
                alpha.flatten(1, 2),
                layer=self.layer,
                kind=self.kind,
                queries="channels",
                keys="channels",
                mask=linked.expand(alpha.shape).flatten(1, 2),
                values=wh.flatten(1, 2),
                groups=alpha.shape[1],
            ).view_as(alpha)
        attended = (alpha @ wh).permute(0, 3, 1, 2, 4)
        attended = spread(attended, self.kept, self.all_heads).flatten(3)
        return self.norm(h + self.dropout(functional.elu(attended)))

    def prune_heads(self, keep: Sequence[int]) -> None:
        """Take out all heads but some; what the others gave becomes zero."""
        width = self.a_target.shape[1]
        keep_outputs(self.project, head_units(keep, width))
        self.a_target = keep_rows(self.a_target, keep)
        self.a_source = keep_rows(self.a_source, keep)
        self.kept = still_kept(self.kept, keep, self.project.weight)
        self.num_heads = len(keep)


class _Learned(nn.Module):
    """All series as neighbours, with the scores of Graph WaveNet's adjacency."""

    def __init__(self, n_series: int) -> None:
        super().__init__()
        self.targets = nn.Parameter(0.1 * torch.randn(n_series, _EMBEDDING))
        self.sources = nn.Parameter(0.1 * torch.randn(n_series, _EMBEDDING))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Tell who is linked, (targets, sources), and score the links."""
        b = functional.relu(self.targets @ self.sources.T)
        return torch.ones_like(b, dtype=torch.bool), b


class _Given(nn.Module):
    """The neighbours in a graph, with scores from the features of its edges."""

    linked: Tensor
    features: Tensor

    def __init__(self, graph: Graph, num_heads: int) -> None:
        super().__init__()
        source, target = graph.edge_index
        is_edge = source != target
        source, target = source[is_edge], target[is_edge]
        linked = np.eye(graph.n_nodes, dtype=bool)
        linked[target, source] = True
        features = np.zeros((*linked.shape, graph.n_edge_features), np.float32)
        if graph.edge_attr is not None:
            features[target, source] = graph.edge_attr[is_edge]
            itself = np.arange(graph.n_nodes)
            degree = (linked.sum(axis=1, keepdims=True) - 1).clip(1)
            features[itself, itself] = features.sum(axis=1) / degree
            self.u = nn.Parameter(torch.zeros(graph.n_edge_features, num_heads))
        self.register_buffer("linked", torch.from_numpy(linked), persistent=False)
        self.register_buffer("features", torch.from_numpy(features), persistent=False)

    def forward(self) -> tuple[Tensor, Tensor | None]:
        """Tell who is linked, (targets, sources), and score the links."""
        if not self.features.shape[2]:
            return self.linked, None
        return self.linked, (self.features @ self.u).movedim(-1, 0)


def _neighbours(params: SpatioTemporalGAT, data: DataSpec) -> nn.Module | None:
    """Read the parameter `graph`."""
    graph = params.graph
    if isinstance(graph, str) and graph == "learned":
        return _Learned(data.n_channels)
    if not isinstance(graph, Graph | None):
        raise ValueError(
            f"graph={graph!r} of SpatioTemporalGAT must be 'learned', a skattn.Graph "
            "or None."
        )
    names = data.channel_names or tuple(map(str, range(data.n_channels)))
    given, linked = None, np.eye(data.n_channels)
    if graph is not None:
        given = _Given(_part_of(graph, names), params.num_heads)
        linked = given.linked.numpy().astype(float)
    # A weight is positive where a path of so many edges leads from series to target.
    paths = np.linalg.matrix_power(linked, params.num_layers)[: data.n_targets]
    unseen = [names[at] for at in np.flatnonzero(~paths.any(axis=0))]
    if data.task == "forecasting" and unseen:
        raise ValueError(
            f"With graph={graph!r} of SpatioTemporalGAT, the covariates of the past "
            f"{unseen[:3]} ({len(unseen)} in all) reach no target over "
            f"num_layers={params.num_layers} edges, so they would have no effect. "
            "Leave them out, add edges from them, or set graph='learned'."
        )
    return given


def _part_of(graph: Graph, names: tuple[str, ...]) -> Graph:
    """Take the part of a graph whose nodes are the channels, in their order."""
    position = {str(node): at for at, node in enumerate(graph.nodes.tolist())}
    missing = [name for name in names if name not in position]
    if not missing:
        return graph.subgraph(np.array([position[name] for name in names]))
    if graph.n_nodes == len(names) and np.array_equal(graph.nodes, range(len(names))):
        return graph
    raise ValueError(
        f"{graph!r} of SpatioTemporalGAT has no node for {missing[:3]}, {len(missing)} "
        f"of {len(names)} series: its nodes must be named like the columns of the "
        "series and of covariates of the past, or be numbered from 0 in their order, "
        "as many as these."
    )
