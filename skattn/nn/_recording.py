"""The one place where attention weights leave a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

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


class Patches(str):
    """Axis of patches, each of several time steps.

    Parameters
    ----------
    value : str
        What the patches are called.
    length : int
        Steps of a patch.
    stride : int
        Steps from the start of a patch to the start of the next.

    Examples
    --------
    >>> from skattn.nn import Patches
    >>> patches = Patches("patch", length=16, stride=8)
    >>> patches, patches.length, patches.stride
    ('patch', 16, 8)
    """

    length: int
    stride: int

    def __new__(cls, value: str, *, length: int, stride: int) -> Patches:
        """Make a string that knows its steps."""
        self = super().__new__(cls, value)
        self.length, self.stride = length, stride
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, int]]:
        """Give what a copy is made from."""
        return (str(self),), {"length": self.length, "stride": self.stride}


@dataclass(frozen=True)
class Recorded:
    """Attention weights of one layer for one batch, as `record` received them.

    Parameters
    ----------
    weights : Tensor of shape (batch, heads, queries, keys) or (edges, heads)
        The attention weights, part of the graph that gradients flow through.
    layer : str
        Which layer of the network.
    kind : str
        ``"self"``, ``"cross"``, ``"pooling"``, ``"edge"``, ...
    queries, keys : str or tuple of str
        What the two axes are: ``"features"``, ``"time"``, ``"horizon"``,
        ``"channels"``, ``"tokens"``, ``"other_tokens"``, ``"target_tokens"`` (named
        after the token that is written there) or ``"given_tokens"`` (after the one
        before it), whose positions the estimator names; another word for an extra
        token, such as ``"cls"``, or for tokens that are numbered, such as ``"row"``;
        `Patches`; a `Name` that the data gave; a tuple where such parts are joined.
    edge_index : Tensor of shape (2, edges) or None
        Source and target of each edge.
    normalised : bool
        Whether the weights over the keys of each query sum to one.
    mask : Tensor of bool, broadcastable to `weights` and of as many axes, or None
        True where a query may attend to a key; None where it may to all.
    values : Tensor of shape (batch, heads, keys, d) or (edges, heads, d), or None
        What the weights multiply; of a single head where all share it.
    output : Tensor of shape (width, heads * d), or None
        The map of the joined heads to the layer's output, where one follows.
    first_query : int
        Which query of the layer the first one is, where a layer attends step by step.
    groups : int
        How many groups the heads belong to, those of the first group first, where a
        layer attends within each channel.
    """

    weights: Tensor
    layer: str
    kind: str
    queries: Axis
    keys: Axis
    edge_index: Tensor | None = None
    normalised: bool = True
    mask: Tensor | None = None
    values: Tensor | None = None
    output: Tensor | None = None
    first_query: int = 0
    groups: int = 1


Receiver = Callable[[Recorded], Tensor | None]

_RECEIVER: ContextVar[Receiver | None] = ContextVar(
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
    mask: Tensor | None = None,
    values: Tensor | None = None,
    output: Tensor | None = None,
    first_query: int = 0,
    groups: int = 1,
) -> Tensor:
    """Hand attention weights to the active recorder, and go on with what it returns.

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
    mask : Tensor of bool, broadcastable to `weights`, optional
        True where a query may attend to a key.
    values : Tensor of shape (batch, heads, keys, d) or (edges, heads, d), optional
        What the weights multiply.
    output : Tensor of shape (width, heads * d), optional
        The map of the joined heads to the layer's output.
    first_query : int, default=0
        Which query of the layer the first one is; see `Recorded`.
    groups : int, default=1
        How many groups the heads belong to; see `Recorded`.

    Returns
    -------
    weights : Tensor, shaped as `weights`
        The same without a recorder; otherwise what the layer is to go on with, where
        the recorder replaced them.
    """
    if torch.compiler.is_compiling():
        return weights
    receive = _RECEIVER.get()
    if receive is None:
        return weights
    if mask is not None:  # (queries, keys) stands for all samples and heads
        mask = mask[(None,) * (weights.dim() - mask.dim())]
    replaced = receive(
        Recorded(
            weights,
            layer,
            kind,
            queries,
            keys,
            edge_index,
            normalised,
            mask,
            values,
            output,
            first_query,
            groups,
        )
    )
    return weights if replaced is None else replaced


@contextmanager
def recording(receive: Receiver) -> Iterator[None]:
    """Send all attention weights that are computed inside the block to `receive`.

    Parameters
    ----------
    receive : callable
        Called with a `Recorded` for each layer and batch, and for each step of a layer
        that attends step by step. If it returns a tensor, the layer goes on with this
        one in place of its weights.

    Yields
    ------
    None
        The block runs while recording.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import additive_attention, recording
    >>> states = torch.arange(3.0)[None, :, None]
    >>> def attend():
    ...     return additive_attention(
    ...         torch.zeros(1, 1, 1), torch.zeros(1, 3, 1), states, torch.ones(1),
    ...         layer="0", queries="state", keys="time",
    ...     ).item()
    >>> attend()
    1.0
    >>> with recording(lambda recorded: recorded.weights * 2):
    ...     attend()
    2.0
    """
    token = _RECEIVER.set(receive)
    try:
        yield
    finally:
        _RECEIVER.reset(token)


@contextmanager
def rerecording(
    there: Callable[[Recorded], Recorded], back: Callable[[Recorded, Tensor], Tensor]
) -> Iterator[None]:
    """Rewrite what is recorded inside the block on its way to the recorder outside.

    Parameters
    ----------
    there : callable
        Turns what a layer recorded into what the recorder shall receive.
    back : callable
        Given what the layer recorded and the weights that the recorder wants, shaped
        as `there` made them, gives those with which the layer goes on.

    Yields
    ------
    None
        The block runs; without a recorder outside, as it would anyway.
    """
    outer = _RECEIVER.get()
    if outer is None:
        yield
        return

    def receive(recorded: Recorded) -> Tensor:
        sent = there(recorded)
        replaced = outer(sent)
        return back(recorded, sent.weights if replaced is None else replaced)

    with recording(receive):
        yield


def join_steps(received: Iterable[Recorded]) -> list[Recorded]:
    """Join what layers recorded step by step, one record for each layer and kind.

    Parameters
    ----------
    received : iterable of Recorded
        Of one batch, in the order of computation.

    Returns
    -------
    joined : list of Recorded
        In the order of the first steps. Queries that look back at more and more keys
        get weights of zero, and a mask, for those that came later.
    """
    steps = list(received)
    joined = []
    for places in steps_by_layer(steps):
        parts = [steps[place] for place in places]
        joined.append(_join(parts) if len(parts) > 1 else parts[0])
    return joined


def steps_by_layer(steps: Iterable[Recorded]) -> list[list[int]]:
    """Tell which steps `join_steps` makes one record of.

    Parameters
    ----------
    steps : iterable of Recorded
        Of one batch, in the order of computation.

    Returns
    -------
    places : list of list of int
        For each record that they make, positions among the steps.
    """
    layers: list[list[int]] = []
    begun: dict[tuple[str, str, Axis, Axis], list[int]] = {}
    for place, each in enumerate(steps):
        name = (each.layer, each.kind, each.queries, each.keys)
        if each.first_query == 0 or name not in begun:
            begun[name] = []
            layers.append(begun[name])
        begun[name].append(place)
    return layers


def _join(parts: list[Recorded]) -> Recorded:
    last = max(parts, key=lambda part: part.weights.shape[-1])
    n_keys = last.weights.shape[-1]
    weights, masks = [], []
    for part in parts:
        beyond = (0, n_keys - part.weights.shape[-1])
        weights.append(functional.pad(part.weights, beyond))
        mask = torch.ones_like(part.weights[:, :1], dtype=torch.bool)
        if part.mask is not None:
            mask = mask & part.mask
        masks.append(functional.pad(mask, beyond, value=False))
    return replace(
        last,
        weights=torch.cat(weights, dim=2),
        mask=torch.cat(masks, dim=2),
        first_query=0,
    )
