"""Tables for graph architectures: each row beside its nearest training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from skattn._inputs._table import TableEncoder

# Queries are searched in batches of one size, so that rounding, and with it the order
# of neighbours that are equally far, does not depend on what else is asked.
_QUERIES_AT_ONCE = 256


class NeighbourEncoder(TableEncoder):
    """Turn a table into rows and, for each, its nearest training rows.

    Distances are Euclidean, between encoded rows. Training rows of equal content count
    once, and none is its own neighbour, neither in training nor later.

    Parameters
    ----------
    scaling : {"auto", "standard", "quantile"} or None
        The estimator's ``input_scaling``.
    categorical_features : "from_dtype", None or array-like of bool, int or str
        See `TableEncoder`.
    n_neighbors : int
        Neighbours of each row, as far as there are so many.
    estimator : object
        Named in error messages.
    """

    def __init__(
        self,
        scaling: str | None,
        categorical_features: Any,
        n_neighbors: int,
        estimator: Any,
    ) -> None:
        super().__init__(scaling, (), categorical_features, estimator)
        self.n_neighbors = n_neighbors

    def fit_scaling(
        self, content: dict[str, np.ndarray], weight: np.ndarray | None
    ) -> None:
        """Learn scales, and index the training rows; see `TableEncoder`."""
        super().fit_scaling(content, weight)
        rows = self.tensors(content)["x"]
        _, first = np.unique(rows, axis=0, return_index=True)
        self.rows_ = rows[np.sort(first)]
        self.n_neighbors_ = min(self.n_neighbors, len(self.rows_) - 1)
        self.index_ = NearestNeighbors(n_neighbors=self.n_neighbors_ + 1)
        self.index_.fit(self.rows_)

    def neighbours(self, rows: np.ndarray) -> np.ndarray:
        """Find the nearest training rows.

        Parameters
        ----------
        rows : ndarray of shape (n, n_features)
            Encoded rows.

        Returns
        -------
        found : ndarray of int64 of shape (n, n_neighbors_)
            Positions among the distinct training rows, the nearest first.
        """
        nearest = np.empty((len(rows), self.n_neighbors_), dtype=np.int64)
        for start in range(0, len(rows), _QUERIES_AT_ONCE):
            part = rows[start : start + _QUERIES_AT_ONCE]
            filled = np.resize(part, (_QUERIES_AT_ONCE, rows.shape[1]))
            found = self.index_.kneighbors(filled, return_distance=False)[: len(part)]
            is_itself = (self.rows_[found] == part[:, None]).all(axis=2)
            # One too many was asked for: leave out the row itself, or the farthest.
            is_itself[~is_itself.any(axis=1), -1] = True
            nearest[start : start + len(part)] = found[~is_itself].reshape(
                len(part), -1
            )
        return nearest

    def samples(
        self,
        content: dict[str, np.ndarray],
        net: Any,
        target: np.ndarray | None = None,
    ) -> Any:
        """Make samples; see `TableEncoder.samples`."""
        from skattn._engine._runtime import placement
        from skattn._engine._samples import TensorSamples

        x = self.tensors(content)["x"]
        return TensorSamples(
            {"x": x, "neighbours": self.neighbours(x)},
            length=self.n_neighbors_ + 1,
            target=target,
            rows=self.rows_,
            **placement(net),
        )
