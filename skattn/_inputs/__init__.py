"""From what users hold to the tensors of the contract, one encoder for each input."""

from __future__ import annotations

from typing import Any

import numpy as np

from skattn._inputs._series import SeriesEncoder
from skattn._inputs._table import TableEncoder

__all__ = ["SeriesEncoder", "TableEncoder", "input_of"]


def input_of(X: Any) -> str:
    """Tell which kind of input `X` is.

    Parameters
    ----------
    X : array-like, DataFrame or list of arrays
        What the user passed to ``fit`` or ``predict``.

    Returns
    -------
    input : {"table", "series"}
        ``"series"`` for an array with three axes or a list of arrays with two; all
        else is treated, and if need be refused, as a table.
    """
    if isinstance(X, np.ndarray):
        return "series" if X.ndim == 3 else "table"
    if isinstance(X, (list, tuple)) and len(X):
        return "series" if np.ndim(X[0]) == 2 else "table"
    return "table"
