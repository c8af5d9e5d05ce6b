"""From what users hold to the tensors of the contract, one encoder for each input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from skattn._graph import Graph
from skattn._inputs._graphs import GraphListEncoder
from skattn._inputs._neighbours import NeighbourEncoder
from skattn._inputs._nodes import NodeEncoder
from skattn._inputs._series import SeriesEncoder
from skattn._inputs._table import TableEncoder
from skattn._inputs._texts import TextsEncoder, holds_texts, holds_two_texts

__all__ = [
    "GraphListEncoder",
    "NodeEncoder",
    "SeriesEncoder",
    "TableEncoder",
    "TextsEncoder",
    "input_of",
    "make_encoder",
]


def input_of(X: Any, find_architecture: Callable[[], Any] | None = None) -> str:
    """Tell which kind of input `X` is.

    Parameters
    ----------
    X : array-like, DataFrame or list of arrays, graphs or texts
        What the user passed to ``fit`` or ``predict``.
    find_architecture : callable, optional
        Gives the architecture; called where what it serves decides.

    Returns
    -------
    input : {"table", "series", "graph", "tokens", "pair"}
        ``"series"`` for an array with three axes or a list of arrays with two,
        ``"graph"`` for a list, an array or a Series with a `Graph` in it, or with one
        of another library, which is then refused; ``"tokens"`` and ``"pair"`` for such
        lists of texts and of tuples of texts, and ``"pair"`` for a table of two columns
        of strings if the architecture serves pairs but no tables; all else is treated,
        and if need be refused, as a table.
    """
    if isinstance(X, Graph) or _holds_graph(X):
        return "graph"
    if (texts := holds_texts(X)) is not None:
        return texts
    if find_architecture is not None and holds_two_texts(X):
        supported = find_architecture().supports
        return "pair" if "pair" in supported and "table" not in supported else "table"
    if isinstance(X, np.ndarray):
        return "series" if X.ndim == 3 else "table"
    if isinstance(X, (list, tuple)) and len(X):
        return "series" if np.ndim(X[0]) == 2 else "table"
    return "table"


def _holds_graph(X: Any) -> bool:
    if isinstance(X, pd.Series):
        X = X.to_numpy()
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim:
        X = list(X.flat[: len(X)])
    return isinstance(X, (list, tuple)) and any(map(_is_graph, X))


def _is_graph(value: Any) -> bool:
    """Tell a graph of ours, of networkx or of torch-geometric from anything else."""
    return isinstance(value, Graph) or any(
        hasattr(type(value), name) for name in ("is_directed", "has_self_loops")
    )


def make_encoder(estimator: Any, input: str, architecture: Any) -> Any:
    """Make the encoder of a kind of input.

    Parameters
    ----------
    estimator : AttentionClassifier or AttentionRegressor
        Its parameters decide how columns are read and scaled, and texts encoded.
    input : str
        From `input_of`.
    architecture : Architecture
        It serves this input.

    Returns
    -------
    encoder : GraphListEncoder, SeriesEncoder, TableEncoder or TextsEncoder
        Unfitted.
    """
    scaling = estimator.input_scaling
    if input == "series":
        return SeriesEncoder(scaling, architecture, estimator)
    if input == "graph":
        return GraphListEncoder(scaling, architecture, estimator)
    if input in ("tokens", "pair"):
        return TextsEncoder(input, estimator.token_encoder, architecture, estimator)
    categorical = estimator.categorical_features
    if "table" in architecture.supports:
        return TableEncoder(scaling, architecture.consumes, categorical, estimator)
    return NeighbourEncoder(scaling, categorical, estimator.n_neighbors, estimator)
