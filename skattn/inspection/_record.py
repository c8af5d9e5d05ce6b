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
    weights : ndarray of shape (n, heads, queries, keys)
        How much each query attends to each key; zero where padded.
    queries, keys : list of str
        Names of the positions: columns, time steps, channels, steps of the horizon.
    normalised : bool
        Whether the weights over the keys of a query sum to one.
    """

    layer: str
    kind: str
    weights: np.ndarray
    queries: list[str]
    keys: list[str]
    normalised: bool = True

    def __repr__(self) -> str:
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
        from which it forecasts.

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
    return [_assemble(batches, len(samples), name_axis) for batches in layers]


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
    """Collect, for each layer, (rows, record) of each batch."""
    from skattn._engine._runtime import torch_threads
    from skattn.nn import Recorded, recording

    layers: list[list[tuple[Any, Any]]] = []
    received: list[Recorded] = []
    with torch_threads(num_threads), recording(received.append):
        for rows, _ in net.iterate_scores(samples):
            layers.extend([] for _ in range(len(received) - len(layers)))
            for batches, record in zip(layers, received, strict=True):
                batches.append((rows.cpu().numpy(), record))
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
    queries = _names(first.queries, n_queries, name_axis)
    keys = _names(first.keys, n_keys, name_axis)
    return AttentionRecord(
        layer=first.layer,
        kind=first.kind,
        # Inference pads batches beyond the longest series.
        weights=weights[:, :, : len(queries), : len(keys)],
        queries=queries,
        keys=keys,
        normalised=first.normalised,
    )


def _names(
    axis: str | tuple[str, ...],
    length: int,
    name_axis: Callable[[str], list[str] | None],
) -> list[str]:
    """Name positions: known axes by the data, tokens by themselves.

    Where positions are left over, the last part stands for them all, by number.
    """
    from skattn.nn import Name

    names: list[str] = []
    known: list[str] | None = None
    for part in (axis,) if isinstance(axis, str) else axis:
        known = None if isinstance(part, Name) else name_axis(part)
        names += known or [part]
    if known or len(names) >= length:
        return names[:length]
    *names, last = names
    return names + [f"{last} {number}" for number in range(length - len(names))]
