"""Attention functions: fused when nobody looks, explicit while recording."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn.nn._pruning import head_units, keep_inputs, keep_outputs
from skattn.nn._recording import Axis, is_recording, record


def _full_mask(
    mask: Tensor | None, causal: bool, query: Tensor, key: Tensor
) -> Tensor | None:
    """Combine a key mask (batch, keys) or a full mask with causality."""
    if mask is not None and mask.dim() == 2:
        mask = mask[:, None, None, :]  # (batch, heads, queries, keys)
    if not causal:
        return mask
    shape = (query.shape[-2], key.shape[-2])
    lower = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    return lower if mask is None else mask & lower


def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    dropout: float = 0.0,
    causal: bool = False,
) -> Tensor:
    """Compute attention by torch's fused kernel, on the CPU never in bfloat16.

    There the kernel's backward pass in bfloat16 takes twenty times as long as in
    float32, more than the products around it gain.

    Parameters
    ----------
    query : Tensor of shape (batch, heads, queries, d)
        Queries.
    key, value : Tensor of shape (batch, heads, keys, d)
        Keys and values.
    mask : Tensor of bool, broadcastable to (batch, heads, queries, keys), optional
        True where a key may be attended to.
    dropout : float, default=0
        Probability of dropping a weight.
    causal : bool, default=False
        Query i sees only the keys up to i; excludes a mask.

    Returns
    -------
    output : Tensor of shape (batch, heads, queries, d)
        Weighted values, of the type of the queries.
    """
    attend = functional.scaled_dot_product_attention
    if query.dtype is not torch.bfloat16 or query.device.type != "cpu":
        return attend(query, key, value, mask, dropout, causal)
    with torch.autocast("cpu", enabled=False):
        full = (query.float(), key.float(), value.float())
        return attend(*full, mask, dropout, causal).to(query.dtype)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the last axis that gives zeros where everything is masked.

    Parameters
    ----------
    scores : Tensor of shape (..., keys)
        Unnormalised scores.
    mask : Tensor of bool, broadcastable to `scores`, or None
        True where a key may be attended to.

    Returns
    -------
    weights : Tensor of shape (..., keys)
        Each row sums to one, or to zero where no key is left.
    """
    if mask is None:
        return scores.softmax(dim=-1)
    # A finite floor keeps gradients free of NaN in rows without any key.
    floor = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(~mask, floor).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    layer: str,
    kind: str = "self",
    queries: Axis,
    keys: Axis,
    output: Tensor | None = None,
    first_query: int = 0,
) -> Tensor:
    r"""Scaled dot-product attention.

    .. math:: \mathrm{softmax}(Q K^\top / \sqrt{d}) V

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762. It
    runs as torch's fused kernel; only while attention is recorded are the weights
    computed explicitly.

    Parameters
    ----------
    query : Tensor of shape (batch, heads, queries, d)
        Queries.
    key, value : Tensor of shape (batch, heads, keys, d)
        Keys and values.
    mask : Tensor of bool of shape (batch, keys) or (batch, heads, queries, keys)
        True where a key may be attended to. A query without any key gives zeros.
    causal : bool, default=False
        Query i sees only the keys up to i.
    dropout : float, default=0
        Probability of dropping a weight; above 0 torch's fused kernel is not used.
        Pass 0 outside training.
    layer, kind, queries, keys : str
        For the record; see `skattn.nn.record`.
    output : Tensor of shape (width, heads * d), optional
        The map of the joined heads that follows, for the record.
    first_query : int, default=0
        Which query of the layer the first one is, for the record.

    Returns
    -------
    output : Tensor of shape (batch, heads, queries, d)
        Weighted values.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import attention
    >>> q = k = v = torch.ones(1, 2, 3, 4)
    >>> attention(q, k, v, layer="0", queries="time", keys="time").shape
    torch.Size([1, 2, 3, 4])
    """
    if not is_recording():
        # Causality without another mask has a kernel of its own.
        alone = causal and mask is None
        return fused_attention(
            query,
            key,
            value,
            None if alone else _full_mask(mask, causal, query, key),
            dropout=dropout,
            causal=alone,
        )
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    mask = _full_mask(mask, causal, query, key)
    weights = record(
        masked_softmax(scores, mask),
        layer=layer,
        kind=kind,
        queries=queries,
        keys=keys,
        mask=mask,
        values=value,
        output=output,
        first_query=first_query,
    )
    return functional.dropout(weights, dropout) @ value


def additive_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score: Tensor,
    *,
    mask: Tensor | None = None,
    layer: str,
    kind: str = "pooling",
    queries: Axis,
    keys: Axis,
) -> Tensor:
    r"""Additive attention.

    .. math:: e_{ij} = v^\top \tanh(q_i + k_j), \quad
              \alpha_{ij} = \mathrm{softmax}_j(e_{ij}), \quad
              c_i = \sum_j \alpha_{ij} v_j

    Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align
    and Translate", ICLR 2015, arXiv 1409.0473.

    Parameters
    ----------
    query : Tensor of shape (batch, queries, d)
        Projected queries, :math:`W_q s_i`.
    key : Tensor of shape (batch, keys, d)
        Projected keys, :math:`W_k h_j`.
    value : Tensor of shape (batch, keys, d_value)
        Values.
    score : Tensor of shape (d,)
        The vector :math:`v` that turns a joint state into a score.
    mask : Tensor of bool of shape (batch, keys), optional
        True where a key may be attended to. A query without any key gives zeros.
    layer, kind, queries, keys : str
        For the record; see `skattn.nn.record`.

    Returns
    -------
    output : Tensor of shape (batch, queries, d_value)
        Weighted values.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import additive_attention
    >>> query, key = torch.ones(2, 1, 4), torch.ones(2, 3, 4)
    >>> additive_attention(
    ...     query, key, key, torch.ones(4), layer="0", queries="state", keys="time"
    ... ).shape
    torch.Size([2, 1, 4])
    """
    joint = torch.tanh(query[:, :, None] + key[:, None])  # (batch, queries, keys, d)
    scores = joint @ score  # (batch, queries, keys)
    weights = masked_softmax(scores, None if mask is None else mask[:, None])
    weights = record(
        weights[:, None],
        layer=layer,
        kind=kind,
        queries=queries,
        keys=keys,
        mask=None if mask is None else mask[:, None, None],
        values=value[:, None],
    )[:, 0]
    return weights @ value


class MultiheadAttention(nn.Module):
    r"""Multi-head attention with its four projections.

    .. math:: \mathrm{Concat}(\mathrm{head}_1, \dots, \mathrm{head}_h) W^O, \quad
              \mathrm{head}_i = \mathrm{Attention}(Q W^Q_i, K W^K_i, V W^V_i)

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762.

    Parameters
    ----------
    d_model : int
        Width of queries, keys, values and output; a multiple of `num_heads`.
    num_heads : int
        Number of heads.
    layer : str
        Name of the layer in records.
    kind, queries, keys : str
        For the record; see `skattn.nn.record`.
    dropout : float, default=0
        Probability of dropping an attention weight while training.

    Raises
    ------
    ValueError
        If `d_model` is no multiple of `num_heads`.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import MultiheadAttention
    >>> attend = MultiheadAttention(8, 2, layer="0", queries="time", keys="time")
    >>> h = torch.ones(3, 5, 8)
    >>> attend(h, h).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        layer: str,
        kind: str = "self",
        queries: Axis,
        keys: Axis,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(
                f"d_model={d_model} cannot be split into num_heads={num_heads} heads "
                "of equal width: choose a d_model that is a multiple of num_heads."
            )
        self.num_heads = num_heads
        self.d_head = d_model // num_heads
        self.dropout = dropout
        self.layer, self.kind, self.queries, self.keys = layer, kind, queries, keys
        self.project_query = nn.Linear(d_model, d_model)
        self.project_key_value = nn.Linear(d_model, 2 * d_model)
        self.project_out = nn.Linear(d_model, d_model)

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Let `query` attend to `memory`.

        Parameters
        ----------
        query : Tensor of shape (batch, queries, d_model)
            What asks.
        memory : Tensor of shape (batch, keys, d_model)
            What is looked at; `query` itself for self-attention.
        mask : Tensor of bool of shape (batch, keys), optional
            True where a key may be attended to.
        causal : bool, default=False
            Query i sees only the keys up to i.

        Returns
        -------
        output : Tensor of shape (batch, queries, d_model)
            The heads, joined and projected.
        """
        if not self.num_heads:
            return self.project_out(query[..., :0])
        key, value = self.project_key_value(memory).chunk(2, dim=-1)
        heads = attention(
            self._split(self.project_query(query)),
            self._split(key),
            self._split(value),
            mask=mask,
            causal=causal,
            dropout=self.dropout if self.training else 0.0,
            layer=self.layer,
            kind=self.kind,
            queries=self.queries,
            keys=self.keys,
            output=self.project_out.weight,
        )  # (batch, heads, queries, d_head)
        return self.project_out(heads.transpose(1, 2).flatten(2))

    def prune_heads(self, keep: Sequence[int]) -> None:
        """Take heads out, with their part of all four projections.

        The output stays what it is where the weights of these heads are zero. Without
        any head it is the bias of the last projection.

        Parameters
        ----------
        keep : sequence of int
            The heads that stay, ascending; they are numbered anew.
        """
        units = head_units(keep, self.d_head)
        width = self.num_heads * self.d_head
        keep_outputs(self.project_query, units)
        keep_outputs(self.project_key_value, torch.cat([units, width + units]))
        keep_inputs(self.project_out, units)
        self.num_heads = len(keep)

    def _split(self, h: Tensor) -> Tensor:
        # (batch, tokens, heads * d_head) -> (batch, heads, tokens, d_head)
        return h.unflatten(-1, (self.num_heads, self.d_head)).transpose(1, 2)
