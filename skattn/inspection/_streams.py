"""How the attention layers of one batch hang together.

The positions that attend or are attended to lie along streams: the features, the steps,
an extra token. A layer lets the streams of its queries look at those of its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Stream(NamedTuple):
    """Positions that belong together.

    Parameters
    ----------
    part : str
        Part of an axis, as `skattn.nn.Recorded` has it; empty of names.
    names : tuple of str
        Positions that the data named.
    is_other : bool
        Whether it is the second of two streams along one axis.
    """

    part: str
    names: tuple[str, ...] = ()
    is_other: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """What one layer does.

    Parameters
    ----------
    number : int
        Which record.
    kind : str
        Of the record.
    queries, keys : list of Stream
        What looks, and at what.
    keeps : bool
        Whether the queries are carried on beside what they find, as in a layer with a
        residual connection. Where nothing of them is among the keys, they are not.
    is_selection : bool
        Whether the keys are what the queries are made of.
    by_group : bool
        Whether the queries are the extra tokens of the groups, one each.
    """

    number: int
    kind: str
    queries: list[Stream]
    keys: list[Stream]
    keeps: bool
    is_selection: bool
    by_group: bool = False


def streams_of(axis: str | tuple[str, ...]) -> list[Stream]:
    """Divide an axis into streams.

    Parameters
    ----------
    axis : str or tuple of str
        Of a record.

    Returns
    -------
    streams : list of Stream
        In the order of the positions; neighbouring names are one.
    """
    from skattn.nn import Name

    streams: list[Stream] = []
    for part in (axis,) if isinstance(axis, str) else axis:
        if not isinstance(part, Name):
            streams.append(Stream(part))
        elif streams and streams[-1].names:
            streams[-1] = Stream("", (*streams[-1].names, str(part)))
        else:
            streams.append(Stream("", (str(part),)))
    return streams


def steps_of(records: Sequence[Any]) -> list[list[Step]]:
    """Say what the layers do, in the order of computation.

    Parameters
    ----------
    records : sequence of Recorded
        Without edges.

    Returns
    -------
    steps : list of list of Step
        Those that work at the same time are together: two streams that look at each
        other.
    """
    together: list[list[Step]] = []
    before: Any = None
    written = _written(records)
    for number, record in enumerate(records):
        queries, keys = streams_of(record.queries), streams_of(record.keys)
        queries = [written.get(stream, stream) for stream in queries]
        is_among = bool(set(queries) & set(keys))
        is_cross = record.kind == "cross"
        answers = (
            is_cross
            and before is not None
            and before.kind == "cross"
            and (before.queries, before.keys) == (record.keys, record.queries)
        )
        extra = None
        if is_cross and is_among:
            # Queries that are named as keys, and are of another stream.
            extra = _extra_of(records, record.weights.shape[2])
            if extra is not None:
                queries = [extra]
            elif answers:
                queries = [stream._replace(is_other=True) for stream in queries]
            else:
                keys = [stream._replace(is_other=True) for stream in keys]
        step = Step(
            number=number,
            kind=record.kind,
            queries=queries,
            keys=keys,
            keeps=is_cross or is_among,
            is_selection=record.kind == "selection" and not is_among,
            by_group=extra is not None,
        )
        if answers:
            together[-1].append(step)
        else:
            together.append([step])
        before = None if answers else record
    return together


def steps_apart(steps: list[list[Step]]) -> tuple[list[list[Step]], list[Step]]:
    """Set selections apart whose queries no layer looks at, unless they are all.

    Parameters
    ----------
    steps : list of list of Step
        From `steps_of`.

    Returns
    -------
    kept : list of list of Step
        The others.
    beside : list of Step
        These selections.
    """
    touched: set[Stream] = set()
    beside: list[Step] = []
    for together in reversed(steps):
        for step in together:
            if step.is_selection and not touched & set(step.queries):
                beside.insert(0, step)
            else:
                touched |= {*step.queries, *step.keys}
    kept = [[step for step in together if step not in beside] for together in steps]
    if not any(kept):
        return steps, []
    return [together for together in kept if together], beside


def _written(records: Sequence[Any]) -> dict[Stream, Stream]:
    """Find the decoder's tokens, as they are written and as they are read."""
    renamed: dict[Stream, Stream] = {}
    for record in records:
        queries, keys = streams_of(record.queries), streams_of(record.keys)
        is_apart = not set(queries) & set(keys) and len(queries) == len(keys)
        if record.kind == "self" and is_apart:
            renamed |= zip(queries, keys, strict=True)
    return renamed


def _extra_of(records: Sequence[Any], groups: int) -> Stream | None:
    """Find the extra token that each of so many groups has."""
    for record in records:
        streams = streams_of(record.queries)
        if len(streams) > 1 and record.groups == groups:
            return streams[0]
    return None


class Layout:
    """Where streams are along an axis of a batch.

    Parameters
    ----------
    axis : str or tuple of str
        Of a record.
    length : int
        Positions along the axis.
    rows : ndarray of int64 of shape (k,)
        Samples of the batch.
    real : ndarray of bool of shape (k, length), or None
        Which positions are not padded, as far as a mask tells.
    name_axis : callable
        See `Subject`.
    """

    def __init__(
        self,
        axis: str | tuple[str, ...],
        length: int,
        rows: np.ndarray,
        real: np.ndarray | None,
        name_axis: Callable[[str], list[Any] | None],
    ) -> None:
        self.length = length
        self.streams = streams_of(axis)
        names = [
            list(stream.names) or name_axis(stream.part) for stream in self.streams
        ]
        self.own = [_own_lengths(known, rows) for known in names]
        if sum(own is not None for own in self.own[:-1]):
            self.index = self._ragged(rows, real)
            return
        sizes = [len(known) if known else 1 for known in names]
        ends = np.minimum(np.cumsum(sizes), length)
        ends[-1] = length  # the last part stands for all that is left
        starts = [0, *ends[:-1]]
        self.index = [np.arange(*each)[None] for each in zip(starts, ends, strict=True)]

    def _ragged(self, rows: np.ndarray, real: np.ndarray | None) -> list[np.ndarray]:
        """Find texts behind each other that are padded in between."""
        if real is None:
            real = np.ones((len(rows), self.length), dtype=bool)
        order = np.argsort(~real, axis=1, kind="stable")  # real positions come first
        done = np.zeros(len(rows), dtype=np.int64)
        index = []
        for own in self.own:
            sizes = np.ones_like(done) if own is None else own
            steps = np.arange(sizes.max())
            place = np.minimum(done[:, None] + steps, self.length - 1)
            found = np.take_along_axis(order, place, axis=1)
            index.append(np.where(steps < sizes[:, None], found, self.length))
            done += sizes
        return index

    def split(self, joint: np.ndarray) -> dict[Stream, np.ndarray]:
        """Take streams out of an axis.

        Parameters
        ----------
        joint : ndarray of shape (k, ..., length)
            Numbers of all positions.

        Returns
        -------
        parts : dict of Stream to ndarray of shape (k, ..., positions)
            Zeros where a stream is padded.
        """
        padded = np.concatenate([joint, np.zeros_like(joint[..., :1])], axis=-1)
        parts = {}
        for stream, index in zip(self.streams, self.index, strict=True):
            shape = (len(index), *[1] * (joint.ndim - 2), index.shape[1])
            at = np.broadcast_to(
                index.reshape(shape), (*joint.shape[:-1], index.shape[1])
            )
            parts[stream] = np.take_along_axis(padded, at, axis=-1)
        return parts

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Put streams side by side.

        Parameters
        ----------
        parts : sequence of ndarray of shape (k, ..., positions)
            One for each stream.

        Returns
        -------
        joint : ndarray of shape (k, ..., length)
            Zeros where the axis is padded.
        """
        shape = np.broadcast_shapes(*[part.shape[:-1] for part in parts])
        joint = np.zeros((*shape, self.length + 1))
        for part, index in zip(parts, self.index, strict=True):
            part = resized(
                np.broadcast_to(part, (*shape, part.shape[-1])), index.shape[1]
            )
            at = index.reshape(len(index), *[1] * (len(shape) - 1), index.shape[1])
            np.put_along_axis(joint, np.broadcast_to(at, part.shape), part, axis=-1)
        return joint[..., :-1]


def _own_lengths(known: list[Any] | None, rows: np.ndarray) -> np.ndarray | None:
    """Count the positions of each sample, where each has its own."""
    if not known or not isinstance(known[0], list):
        return None
    return np.array([len(known[row]) for row in rows], dtype=np.int64)


def resized(array: np.ndarray, length: int) -> np.ndarray:
    """Cut or pad the last axis to a length.

    Parameters
    ----------
    array : ndarray of shape (..., positions)
        Any numbers.
    length : int
        Positions that are wanted.

    Returns
    -------
    fitted : ndarray of shape (..., length)
        Zeros where there was nothing.
    """
    missing = length - array.shape[-1]
    if missing <= 0:
        return array[..., :length]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])
