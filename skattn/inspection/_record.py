"""Attention weights of a fitted estimator, with names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline


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


def record_attention(estimator: Any, X: Any = None) -> list[AttentionRecord]:
    """Compute predictions once more and keep the attention weights.

    Parameters
    ----------
    estimator : estimator
        A fitted skattn estimator; a scikit-learn Pipeline or an sktime
        TransformedTargetForecaster that ends in one, or a search over one, will do.
    X : array-like, DataFrame or panel, optional
        Samples, as for ``predict``. A forecaster takes None and looks at the window
        from which it forecasts. Of a node estimator, ids, or None for all nodes: each
        layer gives the edges that the scores of these nodes depend on.

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
    estimator, X = _last_step(estimator, X)
    if not hasattr(estimator, "_attention_batches"):
        raise TypeError(
            f"record_attention looks into skattn's attention estimators; "
            f"{type(estimator).__name__} is none. Pass the fitted estimator itself, a "
            "Pipeline that ends in it, or a search over it."
        )
    net, samples, name_axis = estimator._attention_batches(X)
    layers = _run(net, samples, estimator.num_threads)
    if not layers:
        raise ValueError(
            f"The architecture {estimator.architecture_.name!r} recorded no attention."
        )
    return [
        _assemble(batches, len(samples), name_axis)
        if batches[0][1].edge_index is None
        else _assemble_edges(batches, name_axis)
        for batches in layers
    ]


def _last_step(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Walk through fitted searches and pipelines to the estimator and its X."""
    if hasattr(estimator, "best_estimator_"):
        return _last_step(estimator.best_estimator_, X)
    for name in ("best_forecaster_", "forecaster_"):  # sktime's searches and pipelines
        if hasattr(estimator, name):
            return _last_step(getattr(estimator, name), X)
    if isinstance(estimator, Pipeline):
        before = estimator[:-1]
        return _last_step(estimator[-1], before.transform(X) if len(before) else X)
    return estimator, X


def _run(
    net: Any, samples: Any, num_threads: int | None
) -> list[list[tuple[Any, Any]]]:
    """Collect (rows, record) of each batch, layer by layer; of edges, their place."""
    from skattn._engine._runtime import torch_threads
    from skattn.nn import Recorded, recording

    layers: list[list[tuple[Any, Any]]] = []
    received: list[Recorded] = []
    with torch_threads(num_threads), recording(received.append):
        for rows, _ in net.iterate_scores(samples):
            layers.extend([] for _ in range(len(received) - len(layers)))
            for batches, record in zip(layers, received, strict=True):
                place: Any = rows.cpu().numpy()
                if record.edge_index is not None:
                    edge_index = record.edge_index.cpu().numpy()
                    place = samples.locate(edge_index, record.kind)
                batches.append((place, record))
            received.clear()
    return layers


def _assemble(
    batches: list[tuple[Any, Any]],
    n_samples: int,
    name_axis: Callable[[str], list[str] | None],
) -> AttentionRecord:
    """Join batches of perhaps different lengths into one array."""
    first = batches[0][1]
    shapes = [record.weights.shape[1:] for _, record in batches]
    heads, n_queries, n_keys = np.max(shapes, axis=0)
    weights = np.zeros((n_samples, heads, n_queries, n_keys), dtype=np.float32)
    for rows, record in batches:
        part = record.weights[: len(rows)].float().cpu().numpy()
        weights[rows, :, : part.shape[2], : part.shape[3]] = part
    queries = _names(first.queries, n_queries, n_samples, name_axis)
    keys = _names(first.keys, n_keys, n_samples, name_axis)
    return AttentionRecord(
        layer=first.layer,
        kind=first.kind,
        # Inference pads batches beyond the longest series or text.
        weights=weights[:, :, : _extent(queries), : _extent(keys)],
        queries=queries,
        keys=keys,
        normalised=first.normalised,
    )


def _assemble_edges(
    batches: list[tuple[Any, Any]], name_axis: Callable[[str], list[str] | None]
) -> AttentionRecord:
    """Join the edges of all batches."""
    first = batches[0][1]
    weights = np.concatenate(
        [each.weights.float().cpu().numpy() for _, each in batches]
    )
    edge_index = np.concatenate([edges for (edges, _), _ in batches], axis=1)
    samples = [sample for (_, sample), _ in batches if sample is not None]
    n_keys, n_queries = edge_index.max(axis=1, initial=-1) + 1
    return AttentionRecord(
        layer=first.layer,
        kind=first.kind,
        weights=weights,
        queries=_node_names(first.queries, n_queries, name_axis),
        keys=_node_names(first.keys, n_keys, name_axis),
        normalised=first.normalised,
        edge_index=edge_index,
        sample=np.concatenate(samples) if samples else None,
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


def _names(
    axis: str | tuple[str, ...],
    length: int,
    n_samples: int,
    name_axis: Callable[[str], list[Any] | None],
) -> list[Any]:
    """Name positions: known axes by the data, tokens by themselves.

    Where positions are left over, the last part stands for them all, by number. Where
    a part has other names in each sample, so has the whole.
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
