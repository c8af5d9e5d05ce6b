"""Ways that lead from what the head of a net reads back to its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from skattn.inspection._run import Batch, Subject
from skattn.inspection._streams import (
    Layout,
    Step,
    Stream,
    resized,
    steps_apart,
    steps_of,
)

Read = dict[Stream, np.ndarray]  # bool (k, groups, positions)
Shares = dict[Stream, np.ndarray]  # (k, groups, rows, positions)


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
        self.steps, self.beside = steps_apart(steps_of(self.records))
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
            real = resized(known, length) & resized(real, length)
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

    def read_out(self, gradients: Sequence[Any]) -> list[Read]:
        """Find what the head reads: queries that no later layer looks at or changes.

        Parameters
        ----------
        gradients : sequence of Recorded
            Derivatives of any mixture of the scores with respect to the weights. They
            tell which of the queries the scores depend on.

        Returns
        -------
        sides : list of dict of Stream to ndarray of bool
            Which positions are read, (k, groups, positions), those of streams that one
            layer computes together.
        """
        touched: set[Stream] = set()
        sides: list[Read] = []
        for together in reversed(self.steps):
            untouched = [set(step.queries) - touched for step in together]
            for step, streams in zip(together, untouched, strict=True):
                found = self._read_of(step, streams, gradients[step.number])
                mates = [side for side in sides if set(step.queries) & set(side)]
                if mates:
                    mates[0].update(found)
                elif found:
                    sides.append(found)
            for step in together:
                touched |= {*step.queries, *step.keys}
        return sides

    def _read_of(self, step: Step, streams: set[Stream], gradient: Any) -> Read:
        if not streams:
            return {}
        groups = gradient.groups
        depends = gradient.weights.ne(0).any(dim=-1)  # (k, heads, queries)
        depends = depends.unflatten(1, (groups, -1)).any(dim=2).cpu().numpy()
        if step.by_group:  # (k, 1, groups) -> (k, groups, 1)
            depends = depends.swapaxes(1, 2)
        read: Read = {}
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
        return read

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
        return np.broadcast_to(
            resized(self.real[stream], length), (self.n_rows, length)
        )

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

    def start(self, sides: list[Read], apart: bool = False) -> Start:
        """Share out one among the positions that are read.

        Sides that layers link get equal parts of it; what is never linked is a whole of
        its own.

        Parameters
        ----------
        sides : list of dict of Stream to ndarray
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
            whole = wholes[next(iter(side))]
            n_sides = sum(wholes[next(iter(other))] is whole for other in sides)
            total = sum(part.sum(axis=(1, 2)) for part in side.values())
            total = np.maximum(total, 1)[:, None, None] * n_sides
            for stream, part in side.items():
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
    return resized(in_groups(known, groups), length) + resized(
        in_groups(part, groups), length
    )


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

    Unless no sample has more than one that is read, such as its last step, and these
    are not all at one place.
    """
    found = read.any(axis=0)
    if (read.sum(axis=(1, 2)) <= 1).all() and found.sum() > 1:
        return read
    return read | found
