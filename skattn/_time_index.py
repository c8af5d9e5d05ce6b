"""What the index of a series tells: its frequency, its gaps, its labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

# Steps of one season, by the first letters of a frequency: a year of months, quarters
# or weeks, a week of days, a day of hours, an hour of minutes, a minute of seconds.
_PERIODS = {
    "M": 12,
    "ME": 12,
    "MS": 12,
    "Q": 4,
    "QE": 4,
    "QS": 4,
    "W": 52,
    "D": 7,
    "B": 5,
    "h": 24,
    "H": 24,
    "min": 60,
    "s": 60,
}


def _frequency(index: pd.Index) -> str | None:
    """Find the name of an index's frequency, such as ``"M"`` or ``"W-SUN"``."""
    found = getattr(index, "freqstr", None)
    if found is None and isinstance(index, pd.DatetimeIndex) and len(index) > 2:
        found = pd.infer_freq(index)
    return found


def shared_frequency(indices: Sequence[pd.Index]) -> str | None:
    """Find the frequency of several series, of which some may be too short to tell.

    Parameters
    ----------
    indices : sequence of pandas.Index
        Of the series.

    Returns
    -------
    frequency : str or None
        The first one that is found among DatetimeIndexes.
    """
    for index in indices:
        if isinstance(index, pd.DatetimeIndex) and (found := _frequency(index)):
            return found
    return None


def seasonal_period(index: pd.Index) -> int:
    """Guess the steps of one season from the frequency of an index.

    Parameters
    ----------
    index : pandas.Index
        Of a series.

    Returns
    -------
    period : int
        12 for months, 24 for hours, ...; 1 where nothing is known, and for multiples
        such as two hours.
    """
    frequency = _frequency(index)
    return 1 if frequency is None else _PERIODS.get(frequency.split("-")[0], 1)


def regular(frame: pd.DataFrame, frequency: str | None = None) -> pd.DataFrame:
    """Add the rows that an index leaves out, with missing values.

    Parameters
    ----------
    frame : DataFrame
        One row for each time that was seen, in order.
    frequency : str, optional
        Of a DatetimeIndex; by default its own, or what `pandas.infer_freq` finds.

    Returns
    -------
    frame : DataFrame
        One row for each time between the first and the last.

    Raises
    ------
    ValueError
        If there is no row, if a time occurs twice, or if nothing tells which times are
        left out.
    """
    index = frame.index
    if not len(index):
        raise ValueError("y has no rows. Give at least one.")
    if isinstance(index, pd.RangeIndex):
        return frame
    if not index.is_unique:
        double = index[index.duplicated()][0]
        raise ValueError(
            f"The index of y holds {double} more than once. Aggregate or drop the "
            "duplicates."
        )
    if isinstance(index, pd.PeriodIndex):
        full: pd.Index = pd.period_range(index[0], index[-1], freq=index.freq)
    elif isinstance(index, pd.DatetimeIndex):
        frequency = frequency or _frequency(index)
        if frequency is None and len(index) < 3:
            return frame
        if frequency is not None:
            full = pd.date_range(index[0], index[-1], freq=frequency)
        if frequency is None or not index.isin(full).all():
            raise ValueError(
                f"The DatetimeIndex of y does not keep to a frequency ({frequency} was "
                "looked for), so times that it leaves out cannot be told. Call "
                "y.asfreq(...) or y.resample(...) first, or use a PeriodIndex."
            )
    elif pd.api.types.is_integer_dtype(index.dtype) and len(index) > 1:
        step = int(np.gcd.reduce(np.diff(index)))
        full = pd.RangeIndex(index[0], index[-1] + step, step)
    else:
        return frame
    if index.equals(full):
        return frame.set_axis(full)
    return frame.reindex(full)


def check_later(index: pd.Index, known: pd.Index) -> None:
    """Refuse new times of a series that do not go on from those that are known.

    Parameters
    ----------
    index : pandas.Index
        New times.
    known : pandas.Index
        Of the series so far.

    Raises
    ------
    ValueError
        If they are of another kind or frequency, or end earlier.
    """
    if (ours := _kind(index)) != (theirs := _kind(known)):
        raise ValueError(
            f"The index of y holds {ours}, but that of the fitted series {theirs}. "
            "Convert it."
        )
    if index[-1] < known[-1]:
        raise ValueError(
            f"y ends at {index[-1]}, before the end {known[-1]} of what is known of "
            "its series. Update in order of time."
        )


def _kind(index: pd.Index) -> str:
    """Say what an index holds."""
    if isinstance(index, pd.PeriodIndex):
        return f"periods of frequency {index.freqstr}"
    if isinstance(index, pd.DatetimeIndex):
        return "times" if index.tz is None else f"times of the zone {index.tz}"
    is_whole = pd.api.types.is_integer_dtype(index.dtype)
    return "whole numbers" if is_whole else f"{index.dtype}"


def time_labels(index: pd.Index) -> list[str]:
    """Name times.

    Parameters
    ----------
    index : pandas.Index
        Of a series.

    Returns
    -------
    labels : list of str
        One for each time.
    """
    return [str(time) for time in index]
