"""The one place where attention weights leave a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

Axis = str | tuple[str, ...]


class Name(str):
    """Name of one position that the data gave: of a column, a channel, a covariate.

    Records take every other string of theirs for an axis, whose positions the estimator
    can name: a column called ``time`` would become the steps of the window.

    Examples
    --------
    >>> from skattn.nn import Name
    >>> keys = ("channels", *map(Name, ("time", "holiday")))
    >>> keys
    ('channels', 'time', 'holiday')
    """


@dataclass(frozen=True)
class Recorded:
    """Attention weights of one layer for one batch, as `record` received them.

    Parameters
    ----------
    weights : Tensor of shape (batch, heads, queries, keys) or (edges, heads)
        The attention weights.
    layer : str
        Which layer of the network.
    kind : str
        ``"self"``, ``"cross"``, ``"pooling"``, ``"edge"``, ...
    queries, keys : str or tuple of str
        What the two axes are: ``"features"``, ``"time"``, ``"horizon"``,
        ``"channels"``, ``"tokens"``, ``"other_tokens"``, ``"target_tokens"`` (named
        after the token that is written there) or ``"given_tokens"`` (after the one
        before it), whose positions the estimator names; another word for an extra
        token, such as ``"cls"``, or for tokens that are numbered, such as ``"patch"``;
        a `Name` that the data gave; a tuple where such parts are joined.
    edge_index : Tensor of shape (2, edges) or None
        Source and target of each edge.
    normalised : bool
        Whether the weights over the keys of each query sum to one.
    """

    weights: Tensor
    layer: str
    kind: str
    queries: Axis
    keys: Axis
    edge_index: Tensor | None = None
    normalised: bool = True


_RECEIVER: ContextVar[Callable[[Recorded], None] | None] = ContextVar(
    "skattn_attention_receiver", default=None
)


def is_recording() -> bool:
    """Tell whether somebody asked for attention weights.

    Returns
    -------
    recording : bool
        True inside `recording`.
    """
    # A compiled module takes the fused kernel; it cannot look at a context variable.
    return not torch.compiler.is_compiling() and _RECEIVER.get() is not None


def record(
    weights: Tensor,
    *,
    layer: str,
    kind: str,
    queries: Axis,
    keys: Axis,
    edge_index: Tensor | None = None,
    normalised: bool = True,
) -> None:
    """Hand attention weights to the active recorder; do nothing without one.

    Parameters
    ----------
    weights : Tensor of shape (batch, heads, queries, keys) or (edges, heads)
        The attention weights.
    layer : str
        Which layer of the network.
    kind : str
        ``"self"``, ``"cross"``, ``"pooling"``, ``"edge"``, ...
    queries, keys : str or tuple of str
        What the two axes are; see `Recorded`.
    edge_index : Tensor of shape (2, edges), optional
        Source and target of each edge, for attention over a graph.
    normalised : bool, default=True
        Whether the weights over the keys of each query sum to one.
    """
    if torch.compiler.is_compiling():
        return
    receive = _RECEIVER.get()
    if receive is not None:
        receive(
            Recorded(
                weights.detach(), layer, kind, queries, keys, edge_index, normalised
            )
        )


@contextmanager
def recording(receive: Callable[[Recorded], None]) -> Iterator[None]:
    """Send all attention weights that are computed inside the block to `receive`.

    Parameters
    ----------
    receive : callable
        Called with a `Recorded` for each layer and batch.

    Yields
    ------
    None
        The block runs while recording.
    """
    token = _RECEIVER.set(receive)
    try:
        yield
    finally:
        _RECEIVER.reset(token)
