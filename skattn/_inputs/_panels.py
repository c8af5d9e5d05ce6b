"""Panels and hierarchies of series as single series, and back."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

Key = tuple[Hashable, ...]


def split_series(frame: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Split a panel or hierarchy into its series.

    Parameters
    ----------
    frame : DataFrame
        Of one series, or with the time in the last level of its index.

    Returns
    -------
    series : dict of tuple to DataFrame
        Indexed by time alone; the key of a frame that is no panel is empty.
    """
    if not isinstance(frame.index, pd.MultiIndex):
        return {(): frame}
    levels = list(range(frame.index.nlevels - 1))
    parts = {}
    for key, part in frame.groupby(level=levels, sort=False, observed=True):
        key = key if isinstance(key, tuple) else (key,)
        parts[key] = part.set_axis(part.index.get_level_values(-1))
    return parts


def join_series(
    parts: dict[Key, pd.DataFrame], names: Sequence[Hashable] | None
) -> pd.DataFrame:
    """Put series together as they were before `split_series`.

    Parameters
    ----------
    parts : dict of tuple to DataFrame
        Indexed by time.
    names : sequence or None
        Names of the index's levels; None for a frame that is no panel.

    Returns
    -------
    frame : DataFrame
        Of one series, or with the keys before the time in its index.
    """
    if names is None:
        return parts[()]
    index = pd.MultiIndex.from_tuples(
        [(*key, time) for key, part in parts.items() for time in part.index],
        names=names,
    )
    columns = next(iter(parts.values())).columns
    values = np.concatenate([part.to_numpy() for part in parts.values()])
    return pd.DataFrame(values, index=index, columns=columns)


def align_rows(given: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    """Bring covariates to the times of a series.

    Parameters
    ----------
    given : DataFrame
        Covariates of one series.
    index : Index
        Times of the series.

    Returns
    -------
    frame : DataFrame
        One row for each time, of missing values where none was given.

    Raises
    ------
    ValueError
        If a time occurs twice.
    """
    if not given.index.is_unique:
        double = given.index[given.index.duplicated()][0]
        raise ValueError(
            f"The index of X holds {double} more than once. Aggregate or drop the "
            "duplicates."
        )
    return given.reindex(index)


def append_rows(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Put newer rows behind older ones; where a time occurs twice, the newer row stays.

    Parameters
    ----------
    old, new : DataFrame
        With equal columns, of one series.

    Returns
    -------
    frame : DataFrame
        In order of time.
    """
    kept, new = old[~old.index.isin(new.index)], new[old.columns]
    both = {}
    for name, *kinds in zip(old.columns, old.dtypes, new.dtypes, strict=True):
        if all(isinstance(kind, pd.CategoricalDtype) for kind in kinds):
            # Joining different categories would make numbers of numbers.
            labels = kinds[0].categories.union(kinds[1].categories, sort=False)
            both[name] = pd.CategoricalDtype(labels)
    if both:  # copying is slow
        kept, new = kept.astype(both), new.astype(both)
    return pd.concat([kept, new]).sort_index()


def same_columns(
    given: pd.DataFrame, fitted: pd.Index, what: str, owner: str
) -> pd.DataFrame:
    """Bring the columns of new rows into the order of the fitted ones.

    Parameters
    ----------
    given : DataFrame
        New rows.
    fitted : Index
        Columns in fit.
    what : str
        ``"y"`` or ``"X"``.
    owner : str
        Class that was fitted.

    Returns
    -------
    frame : DataFrame
        With the fitted columns.

    Raises
    ------
    ValueError
        If columns are missing or new.
    """
    columns: Any = given.columns
    if (
        what == "y"
        and len(fitted) == len(columns) == 1
        and 0
        in (
            fitted[0],
            columns[0],
        )
    ):
        return given.set_axis(fitted, axis=1)  # sktime calls a nameless series 0
    missing = [name for name in fitted if name not in columns]
    new = [name for name in columns if name not in fitted]
    if missing or new or len(fitted) != len(columns):
        raise ValueError(
            f"{what} has the columns {list(columns)}, but {owner} was fitted with "
            f"{list(fitted)}: {missing} are missing, {new} are new."
        )
    return given[fitted]
