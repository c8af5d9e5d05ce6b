"""Weights that stand in for what a layer recorded, to see what that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from skattn.nn import Recorded


def uniform_weights(recorded: Recorded) -> Tensor:
    """Give each key that a query may attend to the mean of its weights.

    Parameters
    ----------
    recorded : Recorded
        Of a layer.

    Returns
    -------
    weights : Tensor, shaped as the recorded ones
        Of the same sum for each query.
    """
    import torch

    weights = recorded.weights
    if recorded.edge_index is None:
        if recorded.mask is None:
            return weights.mean(dim=-1, keepdim=True).expand_as(weights)
        mask = recorded.mask.expand_as(weights)
        n_keys = mask.sum(dim=-1, keepdim=True).clamp(min=1)
        return weights.sum(dim=-1, keepdim=True) / n_keys * mask
    target = recorded.edge_index[1]
    n_keys = torch.bincount(target).clamp(min=1)[:, None]  # (targets, 1)
    totals = weights.new_zeros(len(n_keys), weights.shape[1])
    return (totals.index_add(0, target, weights) / n_keys)[target]


def permuted_weights(
    recorded: Recorded, generator: Generator, heads: slice = slice(None)
) -> Tensor:
    """Permute the weights of each query among the keys that it may attend to.

    Parameters
    ----------
    recorded : Recorded
        Of a layer.
    generator : Generator
        Draws the permutations, on the CPU.
    heads : slice
        Which heads.

    Returns
    -------
    weights : Tensor of shape (batch, k, queries, keys) or (edges, k)
        Of these heads.
    """
    import torch

    weights = recorded.weights[:, heads]
    # On the CPU, since not every device has double precision.
    drawn = torch.rand(weights.shape, generator=generator, dtype=torch.float64)
    if recorded.edge_index is not None:
        axis, group = 0, recorded.edge_index[1][:, None].expand_as(weights).cpu()
    elif recorded.mask is None:
        axis, group = -1, torch.zeros(weights.shape, dtype=torch.int64)
    else:
        hidden = ~recorded.mask.expand_as(recorded.weights)[:, heads]
        axis, group = -1, hidden.long().cpu()
    # Groups stay in their order, and within them places are drawn.
    order = (group + drawn).argsort(dim=axis).to(weights.device)
    places = group.argsort(dim=axis, stable=True).to(weights.device)
    return torch.empty_like(weights).scatter(axis, places, weights.gather(axis, order))
