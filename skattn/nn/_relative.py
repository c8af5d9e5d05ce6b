"""Attention weights that depend on the distance between query and key."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from skattn.nn._attention import masked_softmax
from skattn.nn._steps import sinusoidal_positions


def relative_positions(
    n_queries: int, n_keys: int, width: int, *, causal: bool = False, like: Tensor
) -> Tensor:
    """Encode all distances between queries and keys by sines and cosines.

    The queries are the last ones among the keys, so that a query and a key are from
    ``n_keys - 1`` down to ``1 - n_queries`` positions apart; negative where the key
    comes later.

    Parameters
    ----------
    n_queries, n_keys : int
        Numbers of positions; at least as many keys.
    width : int
        Width of the encoding.
    causal : bool, default=False
        Leave negative distances out.
    like : Tensor
        Of the device and dtype that the encoding gets.

    Returns
    -------
    encoding : Tensor of shape (n_keys + n_queries - 1 or n_keys, width)
        The largest distance first; see `skattn.nn.sinusoidal_positions`.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import relative_positions
    >>> relative_positions(2, 2, 2, like=torch.zeros(1)).round(decimals=2)
    tensor([[ 0.8400,  0.5400],
            [ 0.0000,  1.0000],
            [-0.8400,  0.5400]])
    """
    stop = -1 if causal else -n_queries
    distances = torch.arange(n_keys - 1, stop, -1, device=like.device)
    return sinusoidal_positions(distances, width).to(like.dtype)


def relative_shift(scores: Tensor, n_keys: int) -> Tensor:
    """Turn scores of distances into scores of keys.

    Parameters
    ----------
    scores : Tensor of shape (..., n_queries, n_distances)
        A column for each distance, ordered as `relative_positions` does.
    n_keys : int
        Number of keys.

    Returns
    -------
    scores : Tensor of shape (..., n_queries, n_keys)
        Query i and key j have the score of the distance ``n_keys - n_queries + i - j``;
        without negative distances, what belongs to later keys is arbitrary.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import relative_shift
    >>> relative_shift(torch.tensor([[1, 0, -1], [1, 0, -1]]), 2)
    tensor([[ 0, -1],
            [ 1,  0]])
    """
    n_queries, n_distances = scores.shape[-2:]
    # One more column moves each row by one place against the row before it.
    flat = functional.pad(scores, (1, 0)).flatten(-2)[..., n_queries:]
    return flat.unflatten(-1, (n_queries, n_distances))[..., :n_keys]


def relative_weights(
    query: Tensor,
    key: Tensor,
    distance: Tensor,
    *,
    content_bias: Tensor,
    distance_bias: Tensor,
    scale: float = 1.0,
    mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    r"""Attention weights over keys and their distances.

    .. math:: A_{ij} = \mathrm{softmax}_j\bigl(\gamma\, [q_i^\top k_j
              + q_i^\top r_{i-j} + u^\top k_j + v^\top r_{i-j}]\bigr)

    Dai et al., "Transformer-XL: Attentive Language Models beyond a Fixed-Length
    Context", ACL 2019, arXiv 1901.02860. The queries are the last ones among the keys:
    what comes before them is memory.

    Parameters
    ----------
    query : Tensor of shape (batch, heads, n_queries, d)
        Queries :math:`q`.
    key : Tensor of shape (batch, heads, n_keys, d)
        Keys :math:`k`.
    distance : Tensor of shape (n_distances, d) or (heads, n_distances, d)
        Encoded distances :math:`r`, ordered as by `relative_positions`, of the same
        `causal`.
    content_bias, distance_bias : Tensor of shape (heads, d)
        The biases :math:`u` and :math:`v`.
    scale : float, default=1
        The factor :math:`\gamma`.
    mask : Tensor of bool of shape (batch, n_keys), optional
        True where a key may be attended to.
    causal : bool, default=False
        A query sees only itself and the keys before it.

    Returns
    -------
    weights : Tensor of shape (batch, heads, n_queries, n_keys)
        Each row sums to one, or to zero where no key is left.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import relative_positions, relative_weights
    >>> h, bias = torch.ones(2, 1, 3, 4), torch.zeros(1, 4)
    >>> r = relative_positions(3, 3, 4, like=h)
    >>> relative_weights(h, h, r, content_bias=bias, distance_bias=bias).shape
    torch.Size([2, 1, 3, 3])
    """
    n_queries, n_keys = query.shape[-2], key.shape[-2]
    query = query * scale
    content = query + scale * content_bias[:, None]  # (batch, heads, queries, d)
    place = query + scale * distance_bias[:, None]
    by_distance = relative_shift(place @ distance.transpose(-2, -1), n_keys)
    scores = content @ key.transpose(-2, -1) + by_distance
    if mask is not None:
        mask = mask[:, None, None]  # (batch, heads, queries, keys)
    if causal:
        shape = (n_queries, n_keys)
        seen = torch.ones(shape, dtype=torch.bool, device=query.device)
        seen = seen.tril(n_keys - n_queries)
        mask = seen if mask is None else mask & seen
    return masked_softmax(scores, mask)
