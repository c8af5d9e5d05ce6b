"""Rows by content: order, repetition and the inner validation split.

Weighting a row must equal repeating it. So rows are put in an order that only their
content decides, integer weights become repeated indices, and the split between
training and validation goes by a hash of the content, which keeps equal rows together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

# Integer weights become repeated indices up to this multiple of the number of rows.
MAX_REPETITION = 20

_ROWS_AT_ONCE = 65_536


def _mix(bits: np.ndarray) -> np.ndarray:
    """Scramble 64-bit words, in place (the finaliser of splitmix64)."""
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits


def row_hashes(arrays: Iterable[np.ndarray], seed: int) -> np.ndarray:
    """Hash each row of some arrays by its content.

    Parameters
    ----------
    arrays : iterable of ndarray of shape (n, ...)
        Numbers; all missing values count as equal, and so do both zeros.
    seed : int
        Another seed gives another order.

    Returns
    -------
    hashes : ndarray of uint64 of shape (n,)
        Equal for equal rows, whatever the other rows are.
    """
    rng = np.random.default_rng(seed)
    total: np.ndarray | None = None
    for array in arrays:
        flat = array.reshape(len(array), -1)
        salts = rng.integers(0, 2**63, size=flat.shape[1], dtype=np.uint64)
        hashes = np.empty(len(flat), dtype=np.uint64)
        for start in range(0, len(flat), _ROWS_AT_ONCE):
            part = flat[start : start + _ROWS_AT_ONCE].astype(np.float64) + 0.0
            part[np.isnan(part)] = np.nan
            bits = _mix(part.view(np.uint64) + salts)
            hashes[start : start + len(part)] = bits.sum(axis=1, dtype=np.uint64)
        total = hashes if total is None else total + hashes
    if total is None:
        raise ValueError("There is no array to hash.")
    return _mix(total)


def canonical_order(
    content: Mapping[str, np.ndarray],
    target: np.ndarray,
    weight: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Order rows by their content alone.

    Parameters
    ----------
    content : mapping of str to ndarray of shape (n, ...)
        Numbers that the input is made of, or that stand for it.
    target : ndarray of shape (n,) or (n, n_targets)
        Encoded targets.
    weight : ndarray of shape (n,)
        Sample weights.
    seed : int
        Another seed gives another order.

    Returns
    -------
    order : ndarray of shape (n,)
        Positions of the rows.
    hashes : ndarray of shape (n,)
        Hashes of the input of the ordered rows, ascending.
    """
    hashes = row_hashes(content.values(), seed)
    order = np.lexsort((weight, row_hashes([target], seed), hashes))
    return order, hashes[order]


def repeat_by_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split sample weights into repetitions and remaining weights.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Positive weights.

    Returns
    -------
    index : ndarray of shape (n_repeated,)
        Rows, each as often as its weight says where all weights are integers of a
        sensible size; otherwise each once.
    remaining : ndarray of shape (n_repeated,)
        The weights that are left to the loss.
    """
    rows = np.arange(len(weight))
    whole = np.all(weight == np.round(weight))
    if whole and weight.sum() <= MAX_REPETITION * len(weight):
        index = np.repeat(rows, weight.astype(np.intp))
        return index, np.ones(len(index))
    return rows, weight.astype(np.float64)


def validation_split(
    hashes: np.ndarray, fraction: float, strata: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split ordered rows by their hash.

    Parameters
    ----------
    hashes : ndarray of shape (n,)
        Ascending.
    fraction : float
        At most this part of the rows, or of each stratum, is held out.
    strata : ndarray of shape (n,), optional
        Classes.

    Returns
    -------
    train, valid : ndarray of int
        Positions; rows of equal hash (and stratum) are on the same side.
    """
    held_out = np.zeros(len(hashes), dtype=bool)
    groups = (
        [np.arange(len(hashes))]
        if strata is None
        else [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    )
    for rows in groups:
        count = int(fraction * len(rows))
        # Do not cut through rows of equal content.
        count = int(np.searchsorted(hashes[rows], hashes[rows[count]]))
        held_out[rows[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
