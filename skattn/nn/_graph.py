"""Pieces of graph networks in plain torch: sparse features, edges, pooling."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
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


def _indptr(rows: Tensor, n_rows: int) -> Tensor:
    """Turn ascending row numbers into the bounds of the rows."""
    return functional.pad(torch.bincount(rows, minlength=n_rows).cumsum(0), (1, 0))


def _bounds(target: Tensor, n_targets: int) -> Tensor:
    """Give the bounds of the edges of each target, or say that they are not sorted."""
    if not torch.compiler.is_compiling() and bool((target[1:] < target[:-1]).any()):
        raise ValueError(
            "Edges must be sorted by target: sort edge_index, and what belongs to the "
            "edges, by edge_index[1], as the edges of a skattn.Graph are."
        )
    return _indptr(target, n_targets)


class _SparseProduct(torch.autograd.Function):
    """Products of sparse matrices of one pattern with dense matrices.

    Both ways it multiplies by rows: torch's own derivative multiplies by columns, which
    takes longer by a half and which not every build of torch can do.
    """

    @staticmethod
    def forward(
        ctx: Any, indptr: Tensor, indices: Tensor, values: Tensor, dense: Tensor
    ) -> Tensor:
        """Compute (heads, rows, width) of (heads, stored), (heads, columns, width)."""
        values = _full_precision(values).contiguous()
        dense = _full_precision(dense).contiguous()
        ctx.matrix = _blocks(indptr, indices, values, dense.shape[1])
        ctx.save_for_backward(indptr, indices, dense)
        return _multiply(ctx.matrix, dense)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of values and dense matrices."""
        indptr, indices, dense = ctx.saved_tensors
        values = ctx.matrix.values().view(len(dense), -1)
        grad = grad.contiguous()
        grad_values = grad_dense = None
        if ctx.needs_input_grad[2]:
            with torch.autocast(grad.device.type, enabled=False):
                sampled = torch.sparse.sampled_addmm(
                    ctx.matrix, grad.flatten(0, 1), dense.flatten(0, 1).T, beta=0.0
                )
            grad_values = sampled.values().view_as(values)
        if ctx.needs_input_grad[3]:
            n_rows, n_columns = grad.shape[1], dense.shape[1]
            rows = torch.arange(n_rows, device=indptr.device)
            rows = rows.repeat_interleave(indptr.diff())
            # 32 bits take half the time of 64.
            order = torch.argsort(indices.int(), stable=True)
            transposed = _blocks(
                _indptr(indices, n_columns), rows[order], values[:, order], n_rows
            )
            grad_dense = _multiply(transposed, grad)
        return None, None, grad_values, grad_dense


def _full_precision(values: Tensor) -> Tensor:
    # Sparse products have no kernels for half precision.
    return values if values.dtype == torch.float64 else values.float()


def _multiply(matrix: Tensor, dense: Tensor) -> Tensor:
    with torch.autocast(dense.device.type, enabled=False):
        product = matrix @ dense.flatten(0, 1)
    return product.unflatten(0, (len(dense), -1))


def _blocks(indptr: Tensor, indices: Tensor, values: Tensor, n_columns: int) -> Tensor:
    """Put the matrices of all heads on the diagonal of one."""
    n_heads, stored = values.shape
    heads = torch.arange(n_heads, device=indptr.device)[:, None]
    bounds = (indptr[1:] + heads * stored).flatten()
    columns = (indices + heads * n_columns).flatten()
    shape = (n_heads * (len(indptr) - 1), n_heads * n_columns)
    return sparse_rows(functional.pad(bounds, (1, 0)), columns, values.flatten(), shape)


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
        if x.layout != torch.sparse_csr:
            return functional.linear(x, self.weight, self.bias)
        values = x.values()[None]  # (1, stored)
        weight = self.weight.T[None]  # (1, in_features, out_features)
        (h,) = _SparseProduct.apply(x.crow_indices(), x.col_indices(), values, weight)
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
        Source and target of each edge, sorted by target; the targets are the first
        sources.
    edge_attr : Tensor of shape (edges, n_edge_features) or None
        Features of the edges.
    n_targets : int
        Number of targets.

    Returns
    -------
    edge_index : Tensor of int of shape (2, edges without self-loops + n_targets)
        Edges sorted by target, the self-loop of each last.
    edge_attr : Tensor or None
        Their features.

    Raises
    ------
    ValueError
        If the edges are not sorted by target.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import with_self_loops
    >>> edge_index = torch.tensor([[1, 1, 0], [0, 1, 1]])
    >>> with_self_loops(edge_index, None, 2)[0]
    tensor([[1, 0, 0, 1],
            [0, 0, 1, 1]])
    """
    kept = edge_index[0] != edge_index[1]
    edge_index = edge_index[:, kept]
    target = edge_index[1]
    bounds = _bounds(target, n_targets)
    nodes = torch.arange(n_targets, device=target.device)
    edges = torch.arange(len(target), device=target.device)
    joined = torch.cat([edge_index, nodes.expand(2, -1)], dim=1)
    order = torch.empty_like(joined[0])
    order[edges + target] = edges  # after the loops of the targets before
    order[bounds[1:] + nodes] = len(edges) + nodes
    joined = joined[:, order]
    if edge_attr is None:
        return joined, None
    edge_attr = edge_attr[kept]
    sums = edge_attr.new_zeros(n_targets, edge_attr.shape[1])
    sums = sums.index_add(0, target, edge_attr)
    means = sums / bounds.diff().clamp(min=1)[:, None]
    return joined, torch.cat([edge_attr, means])[order]


def edge_softmax(scores: Tensor, target: Tensor, n_targets: int) -> Tensor:
    r"""Softmax over the edges to each target.

    .. math:: \alpha_{ij} = \frac{\exp e_{ij}}{\sum_{k \to i} \exp e_{ik}}

    Parameters
    ----------
    scores : Tensor of shape (edges, heads)
        Unnormalised scores.
    target : Tensor of int of shape (edges,)
        Target of each edge, ascending.
    n_targets : int
        Number of targets.

    Returns
    -------
    weights : Tensor of shape (edges, heads)
        They sum to one over the edges to each target that has any.

    Raises
    ------
    ValueError
        If the edges are not sorted by target.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import edge_softmax
    >>> edge_softmax(torch.zeros(3, 1), torch.tensor([0, 0, 2]), 3).squeeze(1)
    tensor([0.5000, 0.5000, 1.0000])
    """
    offsets = _bounds(target, n_targets)
    largest = torch.segment_reduce(
        scores.detach(), "max", offsets=offsets, axis=0, unsafe=True
    )
    weights = (scores - largest.index_select(0, target)).exp()
    # On CUDA, autocast takes exponentials in full precision.
    sums = weights.new_zeros(largest.shape).index_add(0, target, weights)
    return weights / sums.index_select(0, target)


def edge_sum(
    weights: Tensor, values: Tensor, edge_index: Tensor, n_targets: int
) -> Tensor:
    r"""Sum of the values of the sources of each target, weighted edge by edge.

    .. math:: h_i = \sum_{j \to i} \alpha_{ij} v_j

    A product with a sparse matrix for each head: nothing of the size of edges times
    width is made.

    Parameters
    ----------
    weights : Tensor of shape (edges, heads)
        Weight of each edge.
    values : Tensor of shape (sources, heads, width)
        Values of the sources.
    edge_index : Tensor of int of shape (2, edges)
        Source and target of each edge, sorted by target.
    n_targets : int
        Number of targets.

    Returns
    -------
    sums : Tensor of shape (n_targets, heads, width)
        Zeros for targets without edges.

    Raises
    ------
    ValueError
        If the edges are not sorted by target.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import edge_sum
    >>> edge_index = torch.tensor([[0, 1, 1], [0, 0, 1]])
    >>> values = torch.tensor([10.0, 20.0]).reshape(2, 1, 1)
    >>> edge_sum(torch.tensor([[0.5], [0.5], [1.0]]), values, edge_index, 2).flatten()
    tensor([15., 20.])
    """
    source, target = edge_index
    values = values.transpose(0, 1)  # (heads, sources, width)
    sums = _SparseProduct.apply(_bounds(target, n_targets), source, weights.T, values)
    return sums.transpose(0, 1)  # (n_targets, heads, width)


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
            weights = record(
                weights,
                layer="pooling",
                kind="pooling",
                queries="graph",
                keys="nodes",
                edge_index=torch.stack([torch.arange(len(h)).to(batch), batch]),
                values=h[:, None],
            )
        return h.new_zeros(n_graphs, h.shape[1]).index_add(0, batch, weights * h)
