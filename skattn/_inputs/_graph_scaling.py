"""Scaling of the features of nodes and edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from skattn._inputs._scaling import Scaler, series_moments


class GraphScaling:
    """Bring features of nodes and edges to a common scale.

    Parameters
    ----------
    scaling : {"auto", "standard", "l1"} or None
        Zero mean and unit variance of each feature; features of each node divided by
        the sum of their absolute values; or nothing. ``"auto"`` takes ``"l1"`` for bags
        of words: sparse features, or dense ones without negative numbers and with more
        than nine zeros in ten; ``"standard"`` for all others. Features of edges are
        standardised, unless it is None.
    """

    def __init__(self, scaling: str | None) -> None:
        self.scaling = scaling

    def fit(self, x: Any, edge_attr: np.ndarray | None) -> GraphScaling:
        """Learn the scales.

        Parameters
        ----------
        x : ndarray or sparse array of shape (n_nodes, n_features)
            Features of nodes.
        edge_attr : ndarray of shape (n_edges, n_edge_features) or None
            Features of edges.

        Returns
        -------
        self : GraphScaling
            Fitted.
        """
        is_sparse = sparse.issparse(x)
        self.scaling_ = self.scaling
        if self.scaling == "auto":
            self.scaling_ = "l1" if is_sparse or _is_bag(x) else "standard"
        if self.scaling_ == "standard":
            if is_sparse:
                raise ValueError(
                    "input_scaling='standard' would make sparse node features dense. "
                    "Use input_scaling='l1' or None, or give dense features."
                )
            self.mean_, self.scale_ = series_moments(x)
        self.edge_scaler_ = None
        if edge_attr is not None and len(edge_attr):
            kind = None if self.scaling is None else "standard"
            self.edge_scaler_ = Scaler(kind).fit(edge_attr)
        return self

    def nodes(self, x: Any) -> Any:
        """Scale features of some nodes.

        Parameters
        ----------
        x : ndarray or sparse array of shape (n, n_features)
            As in `fit`.

        Returns
        -------
        scaled : ndarray or sparse array of shape (n, n_features)
            Perhaps the same.
        """
        if self.scaling_ == "standard":
            return (x - self.mean_) / self.scale_
        return normalize(x, norm="l1") if self.scaling_ == "l1" else x

    def edges(self, edge_attr: np.ndarray) -> np.ndarray:
        """Scale features of some edges.

        Parameters
        ----------
        edge_attr : ndarray of shape (n, n_edge_features)
            As in `fit`.

        Returns
        -------
        scaled : ndarray of shape (n, n_edge_features)
            Perhaps the same.
        """
        if self.edge_scaler_ is None:
            return edge_attr
        return self.edge_scaler_.transform(edge_attr)


def _is_bag(x: np.ndarray) -> bool:
    """Tell whether features count things of which most nodes have none."""
    return bool(np.count_nonzero(x) < 0.1 * x.size and x.min() >= 0)
