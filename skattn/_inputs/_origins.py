"""Which windows are learnt from, which are held out, and how long they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skattn._base import MANY_SAMPLES

# Errors are kept for so many horizons at the end of each series, or half of it.
_TAIL_HORIZONS = 10


@dataclass(frozen=True)
class Origins:
    """Windows of one series, by the positions of their last known steps.

    Parameters
    ----------
    series : int
        Number of the series.
    first, stop : int
        Positions from `first` up to, but without, `stop`.
    """

    series: int
    first: int
    stop: int

    def __len__(self) -> int:
        return max(self.stop - self.first, 0)


def automatic_window_length(lengths: Sequence[int], period: int, horizon: int) -> int:
    """Choose how far windows look back.

    Parameters
    ----------
    lengths : sequence of int
        Steps of each series.
    period : int
        Steps of a season.
    horizon : int
        Steps to forecast.

    Returns
    -------
    window_length : int
        Twice the longer of horizon and period, at least 8, in whole periods, and at
        most half of what a series of median length leaves beside one horizon.
    """
    n_steps = sorted(lengths)[len(lengths) // 2]
    wanted = math.ceil(max(2 * period, 2 * horizon, 8) / period) * period
    room = max((n_steps - horizon) // 2, 2)
    return max(1, min(wanted, room, n_steps - 1))


def training_origins(
    lengths: Sequence[int], window_length: int, horizon: int
) -> list[Origins]:
    """Choose training windows: full ones, but in series that are shorter.

    Parameters
    ----------
    lengths : sequence of int
        Steps of each series.
    window_length, horizon : int
        Of a window.

    Returns
    -------
    origins : list of Origins
        One for each series.
    """
    firsts = [max(min(window_length, length - 1) - 1, 0) for length in lengths]
    return _from_firsts(firsts, lengths, horizon)


def validation_origins(
    lengths: Sequence[int], held_out: Sequence[int], horizon: int
) -> list[Origins]:
    """Choose the windows whose targets lie in the held-out ends.

    Parameters
    ----------
    lengths, held_out : sequence of int
        Steps of each series, and those held out at its end.
    horizon : int
        Of a window.

    Returns
    -------
    origins : list of Origins
        One for each series; empty where nothing is held out.
    """
    firsts = [
        length - count - 1 if count else length
        for length, count in zip(lengths, held_out, strict=True)
    ]
    return _from_firsts(firsts, lengths, horizon)


def _from_firsts(
    firsts: Sequence[int], lengths: Sequence[int], horizon: int
) -> list[Origins]:
    """Let targets reach beyond the end only where there are few other windows."""
    whole = [
        Origins(number, first, length - horizon)
        for number, (first, length) in enumerate(zip(firsts, lengths, strict=True))
    ]
    if sum(map(len, whole)) >= MANY_SAMPLES:
        return whole
    return [
        Origins(number, first, max(length - 1, 1))
        for number, (first, length) in enumerate(zip(firsts, lengths, strict=True))
    ]


def tail_origins(lengths: Sequence[int], tails: Sequence[int]) -> list[Origins]:
    """Choose the windows whose targets begin in the tails.

    Parameters
    ----------
    lengths, tails : sequence of int
        Steps of each series, and of its tail.

    Returns
    -------
    origins : list of Origins
        One for each series; empty where there is no tail.
    """
    return [
        Origins(number, length - tail - 1, length - 1 if tail else 0)
        for number, (length, tail) in enumerate(zip(lengths, tails, strict=True))
    ]


def tail_steps(n_steps: int, horizon: int) -> int:
    """Count the steps at the end of a series whose errors make intervals.

    Parameters
    ----------
    n_steps : int
        Of the series.
    horizon : int
        Steps to forecast.

    Returns
    -------
    count : int
        Ten horizons, or half of the series; zero where too little would be left.
    """
    count = min(_TAIL_HORIZONS * horizon, n_steps // 2)
    return count if n_steps - count >= 2 else 0


def held_out_steps(lengths: Sequence[int], fraction: float) -> list[int]:
    """Count the steps at the end of each series that are held out of training.

    Parameters
    ----------
    lengths : sequence of int
        Steps of each series.
    fraction : float
        The estimator's ``validation_fraction``.

    Returns
    -------
    counts : list of int
        Zero for a series that is too short.

    Raises
    ------
    ValueError
        If all series are.
    """
    counts = [max(round(fraction * length), 1) for length in lengths]
    counts = [
        count if length - count >= 2 else 0
        for length, count in zip(lengths, counts, strict=True)
    ]
    if not any(counts):
        raise ValueError(
            f"validation_fraction={fraction} of {max(lengths)} steps leaves nothing to "
            "train on. Give more data, or set early_stopping=False."
        )
    return counts
