"""Pieces of graph networks in plain torch: sparse features, edges, pooling."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn.nn._dropout import LeanDropout
from skattn.nn._recording import is_recording, record


def sparse_rows(
    indptr: Tensor, indices: Tensor, values: Tensor, shape: Sequence[int]
) -> Tensor:
    """Make a sparse matrix by its rows, without torch's warning about beta state.

    Parameters
    ----------
    indptr : Tensor of int of shape (rows + 1,)
        Row i holds the stored values indptr[i] to indptr[i + 1].
    indices : Tensor of int of shape (stored,)
        Column of each stored value.
    values : Tensor of shape (stored,)
        Stored values; gradients flow into them.
    shape : sequence of two int
        Rows and columns.

    Returns
    -------
    matrix : Tensor of layout torch.sparse_csr
        The matrix.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import sparse_rows
    >>> indptr, indices = torch.tensor([0, 1, 3]), torch.tensor([2, 0, 1])
    >>> sparse_rows(indptr, indices, torch.ones(3), (2, 3)).to_dense()
    tensor([[0., 0., 1.],
            [1., 1., 0.]])
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        return torch.sparse_csr_tensor(
            indptr, indices, values, size=tuple(shape), check_invariants=False
        )


def first_nodes(x: Tensor, n_nodes: int | None) -> Tensor:
    """Take the features of the first nodes, as of the targets of a layer.

    Parameters
    ----------
    x : Tensor of shape (nodes, width), dense or of layout torch.sparse_csr
        Features of all nodes.
    n_nodes : int or None
        How many to take; None takes all.

    Returns
    -------
    x : Tensor of shape (n_nodes, width), in the layout of `x`
        Their features.
    """
    if n_nodes is None or n_nodes == len(x):
        return x
    if x.layout != torch.sparse_csr:
        return x[:n_nodes]
    indptr = x.crow_indices()[: n_nodes + 1]
    stored = int(indptr[-1])
    return sparse_rows(
        indptr, x.col_indices()[:stored], x.values()[:stored], (n_nodes, x.shape[1])
    )


def node_dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Drop features of nodes; of sparse features, stored values.

    Parameters
    ----------
    x : Tensor of shape (nodes, width), dense or of layout torch.sparse_csr
        Features of nodes.
    p : float
        Probability of dropping a feature, below 1.
    training : bool
        Outside training nothing is dropped.

    Returns
    -------
    x : Tensor of the same shape and layout
        With the features that are left scaled up by 1 / (1 - p).
    """
    if not training or p == 0:
        return x
    dropout = LeanDropout(p)
    if x.layout != torch.sparse_csr:
        return dropout(x)
    values = dropout(x.values())
    return sparse_rows(x.crow_indices(), x.col_indices(), values, x.shape)


class NodeLinear(nn.Module):
    r"""Linear map of features that may be sparse.

    .. math:: H = X W^\top + b

    Parameters
    ----------
    in_features : int
        Features of a node.
    out_features : int
        Width of the output.
    bias : bool, default=True
        Whether there is a :math:`b`, which starts at zero; :math:`W` starts after
        Glorot and Bengio.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import NodeLinear, sparse_rows
    >>> x = sparse_rows(torch.arange(4), torch.arange(3), torch.ones(3), (3, 3))
    >>> NodeLinear(3, 2)(x).shape
    torch.Size([3, 2])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map the features of each node.

        Parameters
        ----------
        x : Tensor of shape (nodes, in_features), dense or of layout torch.sparse_csr
            Features of nodes.

        Returns
        -------
        h : Tensor of shape (nodes, out_features)
            Dense in both cases.
        """
        if x.layout == torch.strided:
            return functional.linear(x, self.weight, self.bias)
        # Sparse products have no kernels for half precision.
        with torch.autocast(x.device.type, enabled=False):
            h = x @ self.weight.T
            return h if self.bias is None else h + self.bias


def with_self_loops(
    edge_index: Tensor, edge_attr: Tensor | None, n_targets: int
) -> tuple[Tensor, Tensor | None]:
    """Give each target exactly one edge from itself.

    Self-loops that are there are taken out first, with their features; the features of
    a new one are the mean over the other edges to its target, zeros where there are
    none.

    Parameters
    ----------
    edge_index : Tensor of int of shape (2, edges)
        Source and target of each edge; the targets are the first sources.
    edge_attr : Tensor of shape (edges, n_edge_features) or None
        Features of the edges.
    n_targets : int
        Number of targets.

    Returns
    -------
    edge_index : Tensor of int of shape (2, edges without self-loops + n_targets)
        The edges, then the new self-loops in the order of the targets.
    edge_attr : Tensor or None
        Their features.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import with_self_loops
    >>> edge_index = torch.tensor([[1, 1, 0], [0, 1, 1]])
    >>> with_self_loops(edge_index, None, 2)[0]
    tensor([[1, 0, 0, 1],
            [0, 1, 0, 1]])
    """
    kept = edge_index[0] != edge_index[1]
    edge_index = edge_index[:, kept]
    nodes = torch.arange(n_targets, device=edge_index.device)
    joined = torch.cat([edge_index, nodes.expand(2, -1)], dim=1)
    if edge_attr is None:
        return joined, None
    edge_attr = edge_attr[kept]
    target = edge_index[1]
    sums = edge_attr.new_zeros(n_targets, edge_attr.shape[1])
    counts = edge_attr.new_zeros(n_targets, 1)
    sums = sums.index_add(0, target, edge_attr)
    counts = counts.index_add(0, target, torch.ones_like(edge_attr[:, :1]))
    return joined, torch.cat([edge_attr, sums / counts.clamp(min=1)])


def edge_softmax(scores: Tensor, target: Tensor, n_targets: int) -> Tensor:
    r"""Softmax over the edges to each target.

    .. math:: \alpha_{ij} = \frac{\exp e_{ij}}{\sum_{k \to i} \exp e_{ik}}

    Parameters
    ----------
    scores : Tensor of shape (edges, heads)
        Unnormalised scores.
    target : Tensor of int of shape (edges,)
        Target of each edge, in any order.
    n_targets : int
        Number of targets.

    Returns
    -------
    weights : Tensor of shape (edges, heads)
        They sum to one over the edges to each target that has any.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import edge_softmax
    >>> edge_softmax(torch.zeros(3, 1), torch.tensor([0, 0, 2]), 3).squeeze(1)
    tensor([0.5000, 0.5000, 1.0000])
    """
    index = target[:, None].expand_as(scores)
    largest = scores.new_zeros(n_targets, scores.shape[1]).scatter_reduce(
        0, index, scores.detach(), "amax", include_self=False
    )
    weights = (scores - largest[target]).exp()
    sums = torch.zeros_like(largest).index_add(0, target, weights)
    return weights / sums[target]


class GraphPooling(nn.Module):
    r"""Attention over the nodes of each graph.

    .. math:: \alpha_i = \mathrm{softmax}_{i \in G}(v^\top \tanh(W h_i + b)), \quad
              h_G = \sum_{i \in G} \alpha_i h_i

    the read-out of Li et al., "Gated Graph Sequence Neural Networks", ICLR 2016, arXiv
    1511.05493, with a softmax in place of the gate.

    Parameters
    ----------
    width : int
        Width of a node.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import GraphPooling
    >>> GraphPooling(4)(torch.ones(5, 4), torch.tensor([0, 0, 0, 1, 1])).shape
    torch.Size([2, 4])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, h: Tensor, batch: Tensor | None = None) -> Tensor:
        """Pool the nodes of each graph.

        Parameters
        ----------
        h : Tensor of shape (nodes, width)
            Nodes.
        batch : Tensor of int of shape (nodes,), optional
            Number of the graph of each node, ascending, each graph with a node at
            least; None for a single graph.

        Returns
        -------
        pooled : Tensor of shape (graphs, width)
            Graphs.
        """
        if batch is None:
            batch = torch.zeros(len(h), dtype=torch.int64, device=h.device)
        n_graphs = int(batch[-1]) + 1
        scores = self.score(torch.tanh(self.project(h)))  # (nodes, 1)
        weights = edge_softmax(scores, batch, n_graphs)
        if is_recording():
            record(
                weights,
                layer="pooling",
                kind="pooling",
                queries="graph",
                keys="nodes",
                edge_index=torch.stack([torch.arange(len(h)).to(batch), batch]),
            )
        return h.new_zeros(n_graphs, h.shape[1]).index_add(0, batch, weights * h)
