"""How the attention layers of one batch hang together.

The positions that attend or are attended to lie along streams: the features, the steps,
an extra token. A layer lets the streams of its queries look at those of its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skattn.inspection._run import Batch, Subject

Shares = dict["Stream", np.ndarray]  # (k, groups, rows, positions)


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


def _apart(steps: list[list[Step]]) -> tuple[list[list[Step]], list[Step]]:
    """Set selections apart whose queries no layer looks at, unless they are all."""
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
            part = fit(np.broadcast_to(part, (*shape, part.shape[-1])), index.shape[1])
            at = index.reshape(len(index), *[1] * (len(shape) - 1), index.shape[1])
            np.put_along_axis(joint, np.broadcast_to(at, part.shape), part, axis=-1)
        return joint[..., :-1]


def _own_lengths(known: list[Any] | None, rows: np.ndarray) -> np.ndarray | None:
    """Count the positions of each sample, where each has its own."""
    if not known or not isinstance(known[0], list):
        return None
    return np.array([len(known[row]) for row in rows], dtype=np.int64)


def fit(array: np.ndarray, length: int) -> np.ndarray:
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


class Paths:
    """Ways that lead from what a net's head reads back to its input, for one batch.

    Shares of the read-out are arrays of shape (k, groups, rows, positions), one for
    each stream: `rows` are parts of the read-out that are followed apart.

    Parameters
    ----------
    batch : Batch
        Without edges.
    subject : Subject
        What it is a batch of.

    Attributes
    ----------
    steps : list of list of Step
        See `steps_of`.
    beside : list of Step
        Selections of inputs that no layer attends to, which are not among `steps`.
    """

    def __init__(self, batch: Batch, subject: Subject) -> None:
        self.records = batch.records
        self.steps, self.beside = _apart(steps_of(self.records))
        self.n_rows = len(batch.rows)
        self.layouts: dict[int, tuple[Layout, Layout]] = {}
        self.real: dict[Stream, np.ndarray] = {}
        for step in self.each():
            record = self.records[step.number]
            self.layouts[step.number] = self._lay_out(step, record, batch.rows, subject)

    def each(self) -> Iterator[Step]:
        """Walk over the steps.

        Returns
        -------
        steps : iterator of Step
            In the order of computation, then those beside.
        """
        yield from (step for together in self.steps for step in together)
        yield from self.beside

    def _lay_out(
        self, step: Step, record: Any, rows: np.ndarray, subject: Subject
    ) -> tuple[Layout, Layout]:
        n_queries, n_keys = record.weights.shape[2:]
        real_queries, real_keys = _real(record)
        if record.queries == record.keys:
            real_queries = real_keys
        layouts = []
        for axis, length, real, streams in (
            (record.queries, n_queries, real_queries, step.queries),
            (record.keys, n_keys, real_keys, step.keys),
        ):
            layout = Layout(axis, length, rows, real, subject.name_axis)
            layout.streams = streams
            if step.by_group and streams is step.queries:
                layout.index, layout.own = [np.zeros((1, 1), dtype=np.int64)], [None]
                layout.length = 1
            elif real is not None:
                for stream, part in layout.split(real).items():
                    self._restrict(stream, part)
            for stream, own in zip(streams, layout.own, strict=True):
                if own is not None:
                    steps = np.arange(max(own.max(), length))
                    self._restrict(stream, steps < own[:, None])
            layouts.append(layout)
        return layouts[0], layouts[1]

    def _restrict(self, stream: Stream, real: np.ndarray) -> None:
        known = self.real.get(stream)
        if known is not None:
            length = max(known.shape[1], real.shape[1])
            real = fit(known, length) & fit(real, length)
        self.real[stream] = real

    def gather(self, step: Step, shares: Shares, groups: int) -> np.ndarray:
        """Join the shares of a layer's queries.

        Parameters
        ----------
        step : Step
            Which layer.
        shares : dict of Stream to ndarray
            Of the read-out.
        groups : int
            Of the layer's heads.

        Returns
        -------
        joint : ndarray of shape (k, groups, rows, queries)
            Of more groups, where the layer has but one and the shares have more.
        """
        layout = self.layouts[step.number][0]
        parts = [self._share(shares, stream) for stream in step.queries]
        if step.by_group:
            n_queries = self.records[step.number].weights.shape[2]
            return in_groups(parts[0][..., :1], n_queries).swapaxes(1, 3)
        if groups == 1:
            groups = max(part.shape[1] for part in parts)
        return layout.join([in_groups(part, groups) for part in parts])

    def keep(self, step: Step, shares: Shares, joint: np.ndarray) -> None:
        """Set the shares of a layer's queries.

        Parameters
        ----------
        step : Step
            Which layer.
        shares : dict of Stream to ndarray
            Is changed.
        joint : ndarray, shaped as `gather` gave it
            What the queries shall hold.
        """
        if step.by_group:
            shares[step.queries[0]] = joint.swapaxes(1, 3)
            return
        shares.update(self.layouts[step.number][0].split(joint))

    def give(self, step: Step, shares: Shares, flow: np.ndarray) -> None:
        """Add to the shares of a layer's keys.

        Parameters
        ----------
        step : Step
            Which layer.
        shares : dict of Stream to ndarray
            Is changed.
        flow : ndarray of shape (k, groups, rows, keys)
            What the keys get.
        """
        for stream, part in self.layouts[step.number][1].split(flow).items():
            shares[stream] = add(shares.get(stream), part)

    def _share(self, shares: Shares, stream: Stream) -> np.ndarray:
        if stream in shares:
            return shares[stream]
        n_queries = next(iter(shares.values())).shape[2]
        return np.zeros((self.n_rows, 1, n_queries, 1))

    def read_out(self, gradients: Sequence[Any]) -> list[ReadOut]:
        """Find what the head reads: queries that no later layer looks at or changes.

        Parameters
        ----------
        gradients : sequence of Recorded
            Derivatives of any mixture of the scores with respect to the weights. They
            tell which of the queries the scores depend on.

        Returns
        -------
        sides : list of ReadOut
            Positions that are read.
        """
        touched: set[Stream] = set()
        sides: list[ReadOut] = []
        for together in reversed(self.steps):
            untouched = [set(step.queries) - touched for step in together]
            for step, streams in zip(together, untouched, strict=True):
                found = self._read_of(step, streams, gradients[step.number])
                if found is not None:
                    mates = [
                        side for side in sides if set(step.queries) & set(side.read)
                    ]
                    if mates:
                        mates[0].read.update(found.read)
                    else:
                        sides.append(found)
            for step in together:
                touched |= {*step.queries, *step.keys}
        return sides

    def _read_of(
        self, step: Step, streams: set[Stream], gradient: Any
    ) -> ReadOut | None:
        if not streams:
            return None
        groups = gradient.groups
        depends = gradient.weights.ne(0).any(dim=-1)  # (k, heads, queries)
        depends = depends.unflatten(1, (groups, -1)).any(dim=2).cpu().numpy()
        if step.by_group:  # (k, 1, groups) -> (k, groups, 1)
            depends = depends.swapaxes(1, 2)
        read = {}
        parts = self.layouts[step.number][0].split(depends)
        for stream in step.queries:
            if stream in streams:
                part = parts[stream]
                real = self.real_of(stream, part.shape[-1])[:, None]
                read[stream] = _steady(part & real) & real
        nothing = ~np.any([part.any(axis=(1, 2)) for part in read.values()], axis=0)
        for stream, part in read.items():
            real = self.real_of(stream, part.shape[-1])[:, None]
            part |= nothing[:, None, None] & real
        return ReadOut(step, read)

    def real_of(self, stream: Stream, length: int) -> np.ndarray:
        """Tell which positions of a stream are not padded.

        Parameters
        ----------
        stream : Stream
            Which one.
        length : int
            How many positions.

        Returns
        -------
        real : ndarray of bool of shape (k, length)
            True where not padded.
        """
        if stream not in self.real:
            return np.ones((self.n_rows, length), dtype=bool)
        return np.broadcast_to(fit(self.real[stream], length), (self.n_rows, length))

    def real_queries(self, step: Step) -> np.ndarray:
        """Tell which queries of a layer are not padded.

        Parameters
        ----------
        step : Step
            Which layer.

        Returns
        -------
        real : ndarray of bool of shape (k, queries)
            True where not padded.
        """
        n_queries = self.records[step.number].weights.shape[2]
        if step.by_group:
            return np.ones((self.n_rows, n_queries), dtype=bool)
        layout = self.layouts[step.number][0]
        sizes = [index.shape[1] for index in layout.index]
        parts = [self.real_of(*each) for each in zip(step.queries, sizes, strict=True)]
        return layout.join(parts) > 0

    def start(self, sides: list[ReadOut], apart: bool = False) -> Start:
        """Share out one among the positions that are read.

        Sides that layers link get equal parts of it; what is never linked is a whole of
        its own.

        Parameters
        ----------
        sides : list of ReadOut
            From `read_out`.
        apart : bool, default=False
            Follow each position on its own.

        Returns
        -------
        start : Start
            Where to begin.
        """
        wholes = self._linked()
        weight: Shares = {}
        for side in sides:
            whole = wholes[next(iter(side.read))]
            n_sides = sum(wholes[next(iter(other.read))] is whole for other in sides)
            total = sum(part.sum(axis=(1, 2)) for part in side.read.values())
            total = np.maximum(total, 1)[:, None, None] * n_sides
            for stream, part in side.read.items():
                weight[stream] = part / total  # (k, groups, positions)
        if not apart:
            shares = {stream: part[:, :, None] for stream, part in weight.items()}
            return Start(shares, np.ones((self.n_rows, 1)), list(weight), [1])
        sizes = [part.shape[2] for part in weight.values()]
        ends = np.cumsum(sizes)
        rows = np.concatenate([part.sum(axis=1) for part in weight.values()], axis=1)
        shares = {}
        for (stream, part), end in zip(weight.items(), ends, strict=True):
            size = part.shape[2]
            of_group = part / np.maximum(part.sum(axis=1, keepdims=True), 1e-300)
            share = np.zeros((*part.shape[:2], ends[-1], size))
            at = np.arange(size)
            share[:, :, end - size + at, at] = of_group
            shares[stream] = share
        return Start(shares, rows, list(weight), sizes)

    def _linked(self) -> dict[Stream, set[Stream]]:
        """Group streams by layers that link them, directly or not."""
        wholes: dict[Stream, set[Stream]] = {}
        for step in self.each():
            whole = {*step.queries, *step.keys}
            for stream in list(whole):
                whole |= wholes.get(stream, set())
            wholes.update(dict.fromkeys(whole, whole))
        return wholes


@dataclass(frozen=True, eq=False)
class ReadOut:
    """Positions that the head of a net reads.

    Parameters
    ----------
    step : Step
        The layer that computes them.
    read : dict of Stream to ndarray of bool of shape (k, groups, positions)
        Which positions.
    """

    step: Step
    read: dict[Stream, np.ndarray]


class Start(NamedTuple):
    """Shares of the read-out to begin with.

    Parameters
    ----------
    shares : dict of Stream to ndarray of shape (k, groups, rows, positions)
        Each row sums to one, or to nothing where it is padded.
    weights : ndarray of shape (k, rows)
        What part of the read-out each row is.
    streams : list of Stream
        What the rows are, if they are followed apart.
    sizes : list of int
        Rows of each stream.
    """

    shares: Shares
    weights: np.ndarray
    streams: list[Stream]
    sizes: list[int]


def in_groups(part: np.ndarray, groups: int) -> np.ndarray:
    """Divide shares among groups, unless they are.

    Parameters
    ----------
    part : ndarray of shape (k, any, rows, positions)
        Shares.
    groups : int
        How many groups are wanted.

    Returns
    -------
    part : ndarray of shape (k, groups, rows, positions)
        Of the same sum over the groups.
    """
    if part.shape[1] == groups:
        return part
    return np.repeat(part.sum(axis=1, keepdims=True) / groups, groups, axis=1)


def add(known: np.ndarray | None, part: np.ndarray) -> np.ndarray:
    """Add shares of a stream, whose groups and positions may differ in number.

    Parameters
    ----------
    known : ndarray of shape (k, groups, rows, positions), or None
        What is there.
    part : ndarray of shape (k, groups, rows, positions)
        What comes.

    Returns
    -------
    total : ndarray of shape (k, groups, rows, positions)
        The sum.
    """
    if known is None:
        return part
    groups = max(known.shape[1], part.shape[1])
    length = max(known.shape[3], part.shape[3])
    return fit(in_groups(known, groups), length) + fit(in_groups(part, groups), length)


def _real(record: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Tell which queries and keys are not padded, where a mask does: (k, positions)."""
    if record.mask is None:
        return None, None
    k, _, n_queries, n_keys = record.weights.shape
    mask = record.mask.any(dim=1).cpu().numpy()  # (k or 1, queries or 1, keys or 1)
    queries, keys = mask.any(axis=2), mask.any(axis=1)
    return (
        np.broadcast_to(queries, (k, n_queries)) if queries.shape[1] > 1 else None,
        np.broadcast_to(keys, (k, n_keys)) if keys.shape[1] > 1 else None,
    )


def _steady(read: np.ndarray) -> np.ndarray:
    """Ignore that a position of a sample has no influence where it has in others.

    Unless each sample has one position that is read, such as its last step.
    """
    if (read.sum(axis=(1, 2)) == 1).all():
        return read
    return read | read.any(axis=0)
