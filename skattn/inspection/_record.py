"""Attention weights of a fitted estimator, with names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Bunch

from skattn.inspection._run import Subject, subject_of, walk

Layers = str | int | Sequence[str | int] | None

# How heads (samples, groups, heads, ...) are joined, those of each group apart.
FUSIONS: dict[str, Callable[[Any], Any]] = {
    "mean": lambda heads: heads.mean(dim=2),
    "max": lambda heads: heads.amax(dim=2),
    "min": lambda heads: heads.amin(dim=2),
}


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """Attention weights of one layer for all samples.

    Parameters
    ----------
    layer : str
        Which layer of the network.
    kind : str
        ``"self"``, ``"cross"``, ``"pooling"``, ...
    weights : ndarray of shape (n, heads, queries, keys), or (n_edges, heads)
        How much each query attends to each key; zero where padded. Of a graph, how
        much the target of each edge attends to its source.
    queries, keys : list of str or list of list of str
        Names of the positions: columns, time steps, channels, steps of the horizon,
        nodes (all of the graph, integers too as strings). Of texts, a list for each
        sample, as long as its text: the tokens.
    normalised : bool
        Whether the weights over the keys of a query sum to one.
    edge_index : ndarray of int64 of shape (2, n_edges), optional
        Of a graph, the positions of source and target of each edge: among the keys and
        among the queries.
    sample : ndarray of int64 of shape (n_edges,), optional
        Of a list of graphs, which of them each edge belongs to.
    mask : ndarray of bool, broadcastable to `weights`, optional
        True where a query may attend to a key; None where it may to all.
    groups : int, default=1
        How many groups the heads belong to, those of the first group first: of
        architectures that attend within each channel, the channels.
    query_axis, key_axis : str or tuple of str
        What the positions are, as `skattn.nn.record` was told: ``"features"``,
        ``"time"``, ``"tokens"``, `skattn.nn.Patches`, ...

    Attributes
    ----------
    self_loops : ndarray of bool of shape (n_edges,)
        Of attention along edges, which of them join a node with itself.
    """

    layer: str
    kind: str
    weights: np.ndarray
    queries: list[Any]
    keys: list[Any]
    normalised: bool = True
    edge_index: np.ndarray | None = None
    sample: np.ndarray | None = None
    mask: np.ndarray | None = None
    groups: int = 1
    query_axis: str | tuple[str, ...] = ()
    key_axis: str | tuple[str, ...] = ()

    def of(self, sample: int) -> AttentionRecord:
        """Cut out one sample, with as many positions as it has names.

        Texts lose what is padded. Series share the names of their steps: the mask tells
        which of them are padded.

        Parameters
        ----------
        sample : int
            Which one; of a list of graphs, which graph.

        Returns
        -------
        record : AttentionRecord
            Of a single sample, with its own names as lists of str.

        Raises
        ------
        IndexError
            If there is no such sample.
        """
        if self.edge_index is not None:
            if self.sample is None:
                return self
            edges = self.sample == sample
            if not edges.any():
                raise IndexError(
                    f"Layer {self.layer!r} has no edges of graph {sample}."
                )
            return replace(
                self,
                weights=self.weights[edges],
                edge_index=self.edge_index[:, edges],
                sample=np.zeros(edges.sum(), dtype=np.int64),
            )
        if not -len(self.weights) <= sample < len(self.weights):
            raise IndexError(
                f"There is no sample {sample}: {len(self.weights)} were recorded."
            )
        queries, keys = _of(self.queries, sample), _of(self.keys, sample)
        row = range(len(self.weights))[sample]
        part = slice(row, row + 1), slice(None), slice(len(queries)), slice(len(keys))
        return replace(
            self,
            weights=self.weights[part],
            queries=queries,
            keys=keys,
            mask=None if self.mask is None else self.mask[part],
        )

    @property
    def self_loops(self) -> np.ndarray:
        """Which edges join a node with itself: bool of shape (n_edges,)."""
        if self.edge_index is None or self.kind != "edge":
            raise ValueError(
                f"The layer {self.layer!r} has no edges between nodes of one graph: "
                "only attention along the edges of a graph has loops. Of a row of a "
                "table, the first key is the row itself."
            )
        return self.edge_index[0] == self.edge_index[1]

    def __repr__(self) -> str:
        if self.edge_index is not None:
            n_edges, heads = self.weights.shape
            return (
                f"AttentionRecord(layer={self.layer!r}, kind={self.kind!r}, "
                f"edges={n_edges}, heads={heads})"
            )
        n, heads, queries, keys = self.weights.shape
        return (
            f"AttentionRecord(layer={self.layer!r}, kind={self.kind!r}, samples={n}, "
            f"heads={heads}, queries={queries}, keys={keys})"
        )


def attention_weights(
    estimator: Any,
    X: Any = None,
    layers: Layers = None,
    heads: int | Sequence[int] | None = None,
    aggregate: str | None = None,
) -> Bunch:
    """Compute predictions once more and keep attention weights.

    Batch by batch, so that beyond what is returned only one batch is held.

    Parameters
    ----------
    estimator : estimator
        A fitted skattn estimator; a scikit-learn Pipeline or an sktime
        TransformedTargetForecaster that ends in one, or a search over one, will do.
    X : array-like, DataFrame or panel, optional
        Samples, as for ``predict``. A forecaster takes None and looks at the window
        from which it forecasts. Of a node estimator, ids, or None for all nodes: each
        layer gives the edges that the scores of these nodes depend on.
    layers : str, int, or sequence of them, optional
        Which records: names of layers, as in ``layers`` of the result, or positions in
        the order of computation, the last one -1. All by default.
    heads : int or sequence of int, optional
        Which heads, where they belong to groups of each group. All by default.
    aggregate : {"mean", "max", "min"}, optional
        How the heads that are kept are joined into one, or into one of each group. By
        default they are not.

    Returns
    -------
    attention : Bunch
        With ``records``, a list of `AttentionRecord`, and ``layers``, their names.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, or a layer or a head does not exist.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import attention_weights
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> attention = attention_weights(clf, X[:10], layers=-1, aggregate="mean")
    >>> attention.records
    [AttentionRecord(layer='blocks.1', kind='self', samples=10, heads=1, queries=1, \
keys=5)]
    """
    if aggregate is not None and aggregate not in FUSIONS:
        raise ValueError(
            f"aggregate={aggregate!r} must be None, 'mean', 'max' or 'min'."
        )
    subject = subject_of(estimator, X, "attention_weights")
    records = weights_of(subject, layers, heads, aggregate)
    return Bunch(records=records, layers=[record.layer for record in records])


def weights_of(
    subject: Subject, layers: Any = None, heads: Any = None, aggregate: Any = None
) -> list[AttentionRecord]:
    """Record weights; see `attention_weights`.

    Parameters
    ----------
    subject : Subject
        Net and samples.
    layers, heads, aggregate : object
        As there.

    Returns
    -------
    records : list of AttentionRecord
        In the order of computation.
    """
    chosen: list[int] = []
    collected: list[list[Part]] = []
    for batch in walk(subject):
        if not collected:
            chosen = chosen_layers(batch.records, layers)
            collected = [[] for _ in chosen]
        for parts, number in zip(collected, chosen, strict=True):
            record = batch.records[number]
            weights, mask = _chosen_heads(record, heads)
            if aggregate is not None:
                weights = FUSIONS[aggregate](_apart(weights, record.groups))
                mask = joined_mask(mask, record.groups)
            mask = None if mask is None else mask.cpu().numpy()
            place = None
            if record.edge_index is not None:
                place = batch.place_of(record)
            part = weights.detach().float().cpu().numpy()
            # A record holds the tensors of its batch; one is enough to tell of all.
            told = None if parts else record
            parts.append(Part(batch.rows, part, mask, place, told))
    return [assemble(parts, subject) for parts in collected]


def record_attention(estimator: Any, X: Any = None) -> list[AttentionRecord]:
    """Compute predictions once more and keep the attention weights.

    Parameters
    ----------
    estimator : estimator
        As for `skattn.inspection.attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.

    Returns
    -------
    records : list of AttentionRecord
        One for each attention layer, in the order of computation.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> record = skattn.record_attention(clf, X[:10])[0]
    >>> record.keys[:2]
    ['cls', 'sepal length (cm)']
    """
    return attention_weights(estimator, X).records


def chosen_layers(records: list[Any], layers: Any) -> list[int]:
    """Turn names and positions of layers into positions.

    Parameters
    ----------
    records : list of Recorded
        Of all layers.
    layers : str, int, sequence of them, or None
        See `attention_weights`.

    Returns
    -------
    chosen : list of int
        Ascending.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    if layers is None:
        return list(range(len(records)))
    wanted = [layers] if isinstance(layers, (str, Real)) else list(layers)
    chosen: list[int] = []
    for layer in wanted:
        if isinstance(layer, str):
            found = [at for at, record in enumerate(records) if record.layer == layer]
        else:
            at = int(layer) if isinstance(layer, Integral) else len(records)
            found = list(range(len(records)))[at : at + 1 or None]
        if not found:
            names = ", ".join(dict.fromkeys(repr(record.layer) for record in records))
            raise ValueError(
                f"There is no layer {layer!r}: the architecture recorded {names}. Name "
                "one of these, or give a position among them."
            )
        chosen += found
    return sorted(set(chosen))


def _chosen_heads(record: Any, heads: Any) -> tuple[Any, Any]:
    """Give the weights of some heads of each group, and their mask."""
    if heads is None:
        return record.weights, record.mask
    wanted = [heads] if isinstance(heads, (str, Real)) else list(heads)
    n_heads = record.weights.shape[1] // record.groups
    wrong = [
        head
        for head in wanted
        if not isinstance(head, Integral) or not -n_heads <= head < n_heads
    ]
    if wrong:
        raise ValueError(
            f"Layer {record.layer!r} has no head {wrong[0]!r}: its {n_heads} heads are "
            f"numbered from 0 to {n_heads - 1}."
        )
    if not wanted:
        raise ValueError(
            "heads is empty: name some of the heads, or leave heads=None for all."
        )
    at = [
        group * n_heads + head % n_heads
        for group in range(record.groups)
        for head in wanted
    ]
    mask = record.mask
    if mask is not None and mask.shape[1] > 1:
        mask = mask[:, at]
    return record.weights[:, at], mask


def _apart(heads: Any, groups: int) -> Any:
    """Part (samples, groups * heads, ...) into (samples, groups, heads, ...)."""
    return heads.unflatten(1, (groups, -1))


def joined_mask(mask: Any, groups: int) -> Any:
    """Tell which keys a query may attend to in any head of a group.

    Parameters
    ----------
    mask : Tensor of bool of shape (batch, groups * heads or 1, ...), or None
        Of a record.
    groups : int
        Of its heads.

    Returns
    -------
    mask : Tensor of bool of shape (batch, groups or 1, ...), or None
        With the heads of each group joined.
    """
    if mask is None or mask.shape[1] == 1:
        return mask
    return _apart(mask, groups).any(dim=2)


class Part(NamedTuple):
    """What one batch gave of one layer.

    Parameters
    ----------
    rows : ndarray of int64 of shape (k,)
        Which samples.
    weights : ndarray of shape (k, heads, queries, keys) or (edges, heads)
        Theirs.
    mask : ndarray of bool or None
        As of a record.
    place : tuple of ndarray, or None
        Of edges, see `Batch.place_of`.
    record : Recorded or None
        Tells of all parts; only of the first one is it needed.
    """

    rows: np.ndarray
    weights: np.ndarray
    mask: np.ndarray | None
    place: tuple[np.ndarray, np.ndarray | None] | None
    record: Any


def assemble(parts: list[Part], subject: Subject) -> AttentionRecord:
    """Join what all batches gave of one layer.

    Parameters
    ----------
    parts : list of Part
        One for each batch. The list may be emptied, so that few are held at once.
    subject : Subject
        Who names the positions.

    Returns
    -------
    record : AttentionRecord
        Of all samples.
    """
    first = parts[0].record
    fields = {
        "layer": first.layer,
        "kind": first.kind,
        "normalised": first.normalised,
        "groups": first.groups,
        "query_axis": first.queries,
        "key_axis": first.keys,
    }
    if first.edge_index is None:
        return _assemble_rows(parts, len(subject.samples), subject.name_axis, fields)
    return _assemble_edges(parts, subject.name_axis, fields)


def _assemble_rows(
    parts: list[Part],
    n_samples: int,
    name_axis: Callable[[str], list[Any] | None],
    fields: dict[str, Any],
) -> AttentionRecord:
    """Join batches of perhaps different lengths into one array."""
    if _texts_along(fields["key_axis"], name_axis) > 1:
        is_square = fields["query_axis"] == fields["key_axis"]
        parts = [_packed(part, is_square) for part in parts]
    shapes = [part.weights.shape[1:] for part in parts]
    heads, n_queries, n_keys = np.max(shapes, axis=0)
    weights = np.zeros((n_samples, heads, n_queries, n_keys), dtype=np.float32)
    mask = None
    if any(part.mask is not None for part in parts):
        sizes = [np.shape(part.mask)[1:3] for part in parts if part.mask is not None]
        mask_heads, mask_queries = np.max(sizes, axis=0)
        mask_queries = n_queries if mask_queries > 1 else 1
        mask = np.zeros((n_samples, mask_heads, mask_queries, n_keys), dtype=bool)
    while parts:
        part = parts.pop()
        n, k = part.weights.shape[2:]
        weights[part.rows, :, :n, :k] = part.weights
        if mask is not None:
            seen = True if part.mask is None else part.mask
            mask[part.rows, :, : min(n, mask.shape[2]), :k] = seen
    queries = names_of(fields["query_axis"], n_queries, n_samples, name_axis)
    keys = names_of(fields["key_axis"], n_keys, n_samples, name_axis)
    # Inference pads batches beyond the longest series or text.
    n, k = _extent(queries), _extent(keys)
    return AttentionRecord(
        weights=weights[:, :, :n, :k],
        queries=queries,
        keys=keys,
        mask=None if mask is None else mask[:, :, :n, :k],
        **fields,
    )


def _texts_along(
    axis: str | tuple[str, ...], name_axis: Callable[[str], list[Any] | None]
) -> int:
    """Count the texts that lie behind each other along an axis."""
    from skattn.nn import Name

    known = [
        None if isinstance(part, Name) else name_axis(part)
        for part in ((axis,) if isinstance(axis, str) else axis)
    ]
    return sum(isinstance(names[0], list) for names in known if names)


def _packed(part: Part, is_square: bool) -> Part:
    """Put positions that are padded in between behind those that are not."""
    if part.mask is None:
        return part
    order = np.argsort(~part.mask.any(axis=(1, 2)), axis=1, kind="stable")
    across = order[:, None, None]  # (n, 1, 1, keys)
    weights = np.take_along_axis(part.weights, across, axis=3)
    mask = np.take_along_axis(part.mask, across, axis=3)
    if is_square:
        down = order[:, None, :, None]
        weights = np.take_along_axis(weights, down, axis=2)
        if mask.shape[2] > 1:
            mask = np.take_along_axis(mask, down, axis=2)
    return part._replace(weights=weights, mask=mask)


def _assemble_edges(
    parts: list[Part],
    name_axis: Callable[[str], list[Any] | None],
    fields: dict[str, Any],
) -> AttentionRecord:
    """Join the edges of all batches."""
    places = [part.place for part in parts if part.place is not None]
    edge_index = np.concatenate([edges for edges, _ in places], axis=1)
    samples = [sample for _, sample in places if sample is not None]
    n_keys, n_queries = edge_index.max(axis=1, initial=-1) + 1
    return AttentionRecord(
        weights=np.concatenate([part.weights for part in parts]),
        queries=_node_names(fields["query_axis"], n_queries, name_axis),
        keys=_node_names(fields["key_axis"], n_keys, name_axis),
        edge_index=edge_index,
        sample=np.concatenate(samples) if samples else None,
        **fields,
    )


def _node_names(
    axis: Any, count: int, name_axis: Callable[[str], list[str] | None]
) -> list[str]:
    """Name all nodes of a graph, or number those of a list of graphs."""
    return name_axis(axis) or [f"{axis} {number}" for number in range(count)]


def _extent(names: list[Any]) -> int:
    """Count positions, of the longest sample where each has names of its own."""
    if names and isinstance(names[0], list):
        return max(map(len, names))
    return len(names)


def names_of(
    axis: str | tuple[str, ...],
    length: int,
    n_samples: int,
    name_axis: Callable[[str], list[Any] | None],
) -> list[Any]:
    """Name positions: known axes by the data, tokens by themselves.

    Where positions are left over, the last part stands for them all, by number. Where
    a part has other names in each sample, so has the whole.

    Parameters
    ----------
    axis : str or tuple of str
        Of a record.
    length : int
        Positions along it.
    n_samples : int
        Samples.
    name_axis : callable
        See `Subject`.

    Returns
    -------
    names : list of str or list of list of str
        Of all samples, or of each.
    """
    from skattn.nn import Name

    parts: list[tuple[str, list[Any] | None]] = [
        (part, None if isinstance(part, Name) else name_axis(part))
        for part in ((axis,) if isinstance(axis, str) else axis)
    ]
    if any(known and isinstance(known[0], list) for _, known in parts):
        return [
            [name for part, known in parts for name in _own(part, known, sample)]
            for sample in range(n_samples)
        ]
    names = [name for part, known in parts for name in known or [part]]
    if parts[-1][1] or len(names) >= length:
        return names[:length]
    *names, last = names
    return names + [f"{last} {number}" for number in range(length - len(names))]


def _own(part: str, known: list[Any] | None, sample: int) -> list[str]:
    """Name the positions of one sample."""
    if known is None:
        return [part]
    return known[sample] if isinstance(known[0], list) else known


def _of(names: list[Any], sample: int) -> list[str]:
    """Give the names of one sample, which may have its own."""
    return names[sample] if names and isinstance(names[0], list) else names
