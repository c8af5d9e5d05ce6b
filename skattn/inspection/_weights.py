"""The recorded weights of one layer and batch as arrays, and what is real of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

NameAxis = Callable[[str], Sequence[Any] | None]

# Axes whose positions have an order, and the line that they lie on.
_LINES = {
    "time": "time",
    "horizon": "time",
    "tokens": "tokens",
    "other_tokens": "other_tokens",
    "target_tokens": "target_tokens",
    "given_tokens": "target_tokens",
}


class Layer(NamedTuple):
    """A layer of attention.

    Parameters
    ----------
    layer : str
        Which layer of the network, as records name it.
    kind : str
        ``"self"``, ``"cross"``, ``"pooling"``, ``"edge"``, ...
    """

    layer: str
    kind: str


@dataclass(frozen=True, eq=False)
class Weights:
    """Attention weights of one layer for one batch, in double precision.

    Parameters
    ----------
    record : Recorded
        Joined, of the rows of the batch alone.
    companions : sequence of Recorded
        All of the batch, whose masks tell what is padded.
    rows : ndarray of int64 of shape (k,)
        Samples of the batch.
    name_axis : callable
        See `Subject`.
    place : tuple of ndarray, optional
        Of edges, see `Batch.place_of`.
    """

    record: Any
    companions: Sequence[Any]
    rows: np.ndarray
    name_axis: NameAxis
    place: Any = None

    @property
    def layer(self) -> Layer:
        """Which layer it is."""
        return Layer(self.record.layer, self.record.kind)

    @property
    def is_edge(self) -> bool:
        """Whether the weights belong to edges."""
        return self.record.edge_index is not None

    @cached_property
    def values(self) -> np.ndarray:
        """The weights: (k, heads, queries, keys) or (edges, heads)."""
        return self.record.weights.detach().cpu().double().numpy()

    @cached_property
    def mask(self) -> np.ndarray:
        """True where a query may attend to a key; broadcastable to `values`."""
        shape = (1,) * self.values.ndim
        if self.record.mask is None:
            return np.ones(shape, dtype=bool)
        return self.record.mask.cpu().numpy()

    @cached_property
    def edges(self) -> np.ndarray:
        """Source and target of each edge, in the batch."""
        return self.record.edge_index.cpu().numpy()

    @cached_property
    def targets(self) -> np.ndarray:
        """Of edges, which of the nodes that attend each one leads to, by number."""
        return np.unique(self.edges[1], return_inverse=True)[1]

    def over_keys(self, numbers: np.ndarray) -> np.ndarray:
        """Sum numbers of all weights over the keys of each query.

        Parameters
        ----------
        numbers : ndarray, shaped as `values`
            One for each weight.

        Returns
        -------
        sums : ndarray of shape (k, heads, queries), or (targets, heads)
            For each query.
        """
        if not self.is_edge:
            return numbers.sum(axis=-1)
        sums = np.zeros((self.targets.max(initial=-1) + 1, numbers.shape[1]))
        np.add.at(sums, self.targets, numbers)
        return sums

    @cached_property
    def n_keys(self) -> np.ndarray:
        """How many keys each query may attend to."""
        seen = np.broadcast_to(self.mask, self.values.shape)
        return self.over_keys(seen.astype(np.float64))

    @cached_property
    def is_real(self) -> np.ndarray:
        """Which queries are not padded and have any key; shaped as `n_keys`."""
        real = self.n_keys > 0
        if self.is_edge:
            return real
        return real & self.real_queries[:, None]

    @cached_property
    def real_queries(self) -> np.ndarray:
        """Which queries are not padded: bool of shape (k, queries)."""
        n_rows, _, n_queries, _ = self.values.shape
        real = np.ones((n_rows, n_queries), dtype=bool)
        axis = _parts(self.record.queries)
        own = self._lengths(axis[0]) if len(axis) == 1 else None
        if own is not None:
            return np.arange(n_queries) < own[:, None]
        # What attends is elsewhere attended to, where a mask tells what is padded.
        for other in self.companions:
            if other.mask is None or other.edge_index is not None:
                continue
            keys, n_keys = _parts(other.keys), other.weights.shape[3]
            is_cross = other.kind == "cross"
            is_same = (keys, n_keys) == (axis, n_queries)
            is_first = keys[: len(axis)] == axis and n_queries < n_keys
            # Of two streams that are named alike, the other one's keys are its own.
            if (is_same and not (is_cross and other is self.record)) or (
                is_first and not is_cross
            ):
                real &= real_keys(other)[:, :n_queries]
        return real

    def positions(
        self, axis: Any, length: int, real: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Place the positions of an axis on lines: time, or the tokens of a text.

        Parameters
        ----------
        axis : str or tuple of str
            Of the record.
        length : int
            Positions along it.
        real : ndarray of bool of shape (k, length), or None
            Which of them are not padded.

        Returns
        -------
        lines : ndarray of int64 of shape (k, length)
            Number of the line, from 1; zero for positions without an order.
        places : ndarray of int64 of shape (k, length)
            Steps from the start of the line.
        """
        from skattn.nn import Name, Patches

        n_rows, parts = len(self.values), _parts(axis)
        lines = np.zeros((n_rows, length + 1), dtype=np.int64)
        places = np.zeros_like(lines)
        known = list(dict.fromkeys(_LINES.values()))
        # Texts behind each other are padded in between.
        order = np.tile(np.arange(length), (n_rows, 1))
        if real is not None and any(
            self._lengths(part) is not None for part in parts[:-1]
        ):
            order = np.argsort(~real, axis=1, kind="stable")
        done = np.zeros(n_rows, dtype=np.int64)
        for number, part in enumerate(parts):
            size = self._size(part)
            if number == len(parts) - 1:
                size = np.maximum(length - done, 0)
            steps = np.arange(size.max(initial=0))
            place = done[:, None] + steps
            inside = (steps < size[:, None]) & (place < length)
            found = np.take_along_axis(order, np.minimum(place, length - 1), axis=1)
            done = done + size
            stride, line = 1, _LINES.get(part)
            if isinstance(part, Patches):
                stride, line = part.stride, "time"
            if line is None or isinstance(part, Name):
                continue
            where = steps * stride
            if part == "horizon":
                where = where + len(self.name_axis("time") or [])
            at = np.where(inside, found, length)  # the last one is thrown away
            np.put_along_axis(lines, at, known.index(line) + 1, axis=1)
            np.put_along_axis(places, at, np.broadcast_to(where, at.shape), axis=1)
        return lines[:, :length], places[:, :length]

    def _size(self, part: str) -> np.ndarray:
        from skattn.nn import Name

        own = self._lengths(part)
        if own is not None:
            return own
        names = None if isinstance(part, Name) else self.name_axis(part)
        return np.full(len(self.values), len(names) if names else 1)

    def _lengths(self, part: str) -> np.ndarray | None:
        """Count the positions of each sample, where each has names of its own."""
        names = self.name_axis(part)
        if not names or not isinstance(names[0], list):
            return None
        return np.array([len(names[row]) for row in self.rows])


def _parts(axis: Any) -> tuple[str, ...]:
    return (axis,) if isinstance(axis, str) else tuple(axis)


def real_keys(record: Any) -> np.ndarray:
    """Tell which keys some query may attend to.

    Parameters
    ----------
    record : Recorded
        With a mask, without edges.

    Returns
    -------
    real : ndarray of bool of shape (k, keys)
        Of the rows of the batch.
    """
    real = record.mask.any(dim=2).any(dim=1)
    return real.expand(len(record.weights), record.weights.shape[3]).cpu().numpy()


def entropy_of(weights: Weights) -> np.ndarray:
    """Compute the entropy of each query's weights, as a share of the largest.

    Parameters
    ----------
    weights : Weights
        That sum to one.

    Returns
    -------
    entropy : ndarray of shape (k, heads, queries), or (targets, heads)
        NaN where a query is padded; zero where it has a single key.
    """
    # Rounding may leave a certain key, or uniform weights, a bit beyond the bounds.
    entropy = np.clip(-weights.over_keys(_log2(weights.values)), 0, None)
    largest = np.log2(np.maximum(weights.n_keys, 1))
    share = np.divide(entropy, largest, out=np.zeros_like(entropy), where=largest > 0)
    return np.where(weights.is_real, np.minimum(share, 1), np.nan)


def _log2(p: np.ndarray) -> np.ndarray:
    """Compute p log2 p, zero at zero."""
    return p * np.log2(np.where(p > 0, p, 1))


def distance_of(weights: Weights) -> np.ndarray | None:
    """Compute how far each query looks on average.

    Parameters
    ----------
    weights : Weights
        That sum to one.

    Returns
    -------
    distance : ndarray of shape (k, heads, queries), or None
        In steps; NaN where a query is padded or looks at nothing on its line. None
        where queries and keys share no line.
    """
    record = weights.record
    is_apart = record.kind == "cross" and record.queries == record.keys
    if weights.is_edge or is_apart:
        return None
    real = None if record.mask is None else real_keys(record)
    n_queries, n_keys = weights.values.shape[2:]
    lines, places = weights.positions(record.queries, n_queries, weights.real_queries)
    key_lines, key_places = weights.positions(record.keys, n_keys, real)
    same = (lines[:, :, None] == key_lines[:, None]) & (lines[:, :, None] > 0)
    if not same.any():
        return None
    steps = np.abs(places[:, :, None] - key_places[:, None]) * same
    far = (weights.values * steps[:, None]).sum(axis=-1)
    total = (weights.values * same[:, None]).sum(axis=-1)
    there = (total > 0) & weights.is_real
    return np.divide(far, total, out=np.full_like(far, np.nan), where=there)


def by_head(numbers: np.ndarray, groups: int) -> np.ndarray:
    """Bring numbers of queries into one row for each true head.

    Parameters
    ----------
    numbers : ndarray of shape (k, groups * heads, ...)
        Of each sample and head.
    groups : int
        Of the heads; those of the first group come first.

    Returns
    -------
    rows : ndarray of shape (heads, -1)
        Of all samples, groups and queries.
    """
    split = _grouped(numbers, groups)
    return np.moveaxis(split, 2, 0).reshape(split.shape[2], -1)


def are_comparable(first: Weights, second: Weights) -> bool:
    """Tell whether two layers attend from and to the same positions.

    Parameters
    ----------
    first, second : Weights
        Of the same samples.

    Returns
    -------
    comparable : bool
        Whether weights at the same place speak of the same.
    """
    one, other = first.record, second.record
    if first.is_edge != second.is_edge or one.groups != other.groups:
        return False
    if first.is_edge:
        return np.array_equal(first.edges, second.edges)
    axes = [(_parts(each.queries), _parts(each.keys)) for each in (one, other)]
    shapes = [each.weights.shape[::2] + each.weights.shape[3:] for each in (one, other)]
    return axes[0] == axes[1] and shapes[0] == shapes[1]


def aligned(first: Weights, second: Weights) -> tuple[Weights, Weights] | None:
    """Cut two layers to the queries that both have.

    Parameters
    ----------
    first, second : Weights
        Of the same samples.

    Returns
    -------
    pair : tuple of Weights, or None
        Comparable; the first queries of the one, where the other has only these, such
        as an extra token. None where there are no such queries.
    """
    if are_comparable(first, second):
        return first, second
    if first.is_edge or second.is_edge:
        return None
    counts = [each.record.weights.shape[2] for each in (first, second)]
    axes = [_parts(each.record.queries) for each in (first, second)]
    if axes[1] == axes[0][: len(axes[1])] and counts[1] < counts[0]:
        first = _with_queries(first, second.record)
    elif axes[0] == axes[1][: len(axes[0])] and counts[0] < counts[1]:
        second = _with_queries(second, first.record)
    return (first, second) if are_comparable(first, second) else None


def _with_queries(weights: Weights, like: Any) -> Weights:
    """Keep as many queries as another record has."""
    record, count = weights.record, like.weights.shape[2]
    mask = record.mask
    if mask is not None and mask.shape[2] > 1:
        mask = mask[:, :, :count]
    cut = replace(
        record, weights=record.weights[:, :, :count], mask=mask, queries=like.queries
    )
    return replace(weights, record=cut)


def rank_correlations(first: Weights, second: Weights) -> np.ndarray:
    """Compute Spearman's correlation of two layers' weights, means over heads.

    Parameters
    ----------
    first, second : Weights
        Comparable.

    Returns
    -------
    correlations : ndarray of shape (n,)
        Of queries with at least two keys and weights that differ.
    """
    groups = first.record.groups
    means = [_grouped(each.values, groups).mean(axis=2) for each in (first, second)]
    both = np.broadcast_to(first.mask & second.mask, first.values.shape)
    seen = np.asarray(_grouped(both, groups).any(axis=2))
    if first.is_edge:
        query = np.broadcast_to(first.targets[:, None], seen.shape)
        query = query * groups + np.arange(groups)
    else:
        both = first.is_real & second.is_real
        real = np.asarray(_grouped(both, groups).any(axis=2))
        seen &= real[..., None]
        query = np.arange(real.size).reshape(real.shape)[..., None]
        query = np.broadcast_to(query, seen.shape)
    query = np.unique(query[seen], return_inverse=True)[1]
    one, other = (_centred(_ranks(query, each[seen]), query) for each in means)
    products = [np.bincount(query, p) for p in (one * other, one**2, other**2)]
    spread = np.sqrt(products[1] * products[2])
    return products[0][spread > 0] / spread[spread > 0]


def _ranks(query: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Rank the numbers of each query; equal ones share their mean rank."""
    order = np.lexsort((numbers, query))
    ranks = np.empty(len(order))
    ranks[order] = np.arange(len(order))
    # The ranks of all queries go on from each other, which centring takes out.
    pairs = np.stack([query, numbers])
    tied = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
    return (np.bincount(tied, ranks) / np.bincount(tied))[tied]


def _centred(ranks: np.ndarray, query: np.ndarray) -> np.ndarray:
    count = np.maximum(np.bincount(query), 1)
    return ranks - (np.bincount(query, ranks) / count)[query]


def distances_to(first: Weights, head: int, second: Weights) -> np.ndarray:
    """Compute how far a head's weights are from those of all heads of a layer.

    Parameters
    ----------
    first : Weights
        That sum to one.
    head : int
        Which one.
    second : Weights
        That sum to one, at the same places.

    Returns
    -------
    distances : ndarray of shape (heads, -1)
        Of all samples, groups and queries: the root of the Jensen-Shannon divergence
        to the base 2, from 0 to 1; NaN where a query is padded.
    """
    groups = first.record.groups
    one = _grouped(first.values, groups)[:, :, head : head + 1]
    one = np.broadcast_to(one, _grouped(second.values, groups).shape)
    one = one.reshape(second.values.shape)
    middle = _log2((one + second.values) / 2)
    apart = second.over_keys((_log2(one) + _log2(second.values)) / 2 - middle)
    distances = by_head(np.sqrt(np.clip(apart, 0, 1)), groups)
    own = by_head(first.is_real, groups)
    return np.where(by_head(second.is_real, groups) & own[head], distances, np.nan)


def _grouped(numbers: np.ndarray, groups: int) -> np.ndarray:
    """Part (k, groups * heads, ...) into (k, groups, heads, ...)."""
    return numbers.reshape(len(numbers), groups, -1, *numbers.shape[2:])


def n_heads_of(weights: Weights) -> int:
    """Count the true heads of a layer.

    Parameters
    ----------
    weights : Weights
        Of the layer.

    Returns
    -------
    n_heads : int
        Of one group.
    """
    return int(weights.record.weights.shape[1]) // int(weights.record.groups)


def mean_std(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of each row, without what is NaN.

    Parameters
    ----------
    rows : ndarray of shape (heads, n)
        Any numbers.

    Returns
    -------
    mean, std : ndarray of shape (heads,)
        NaN where there is no number.
    """
    there = ~np.isnan(rows)
    count = there.sum(axis=1)
    nothing = np.full(len(rows), np.nan)
    total = np.where(there, rows, 0).sum(axis=1)
    mean = np.divide(total, count, out=nothing.copy(), where=count > 0)
    apart = (np.where(there, rows - mean[:, None], 0) ** 2).sum(axis=1)
    return mean, np.sqrt(np.divide(apart, count, out=nothing, where=count > 0))
