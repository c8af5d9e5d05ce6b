"""Weights over time, and over the patches of an image. Imports matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from skattn.inspection._display._axes import (
    COLORS,
    ON_WHITE,
    name_positions,
    shorten,
)
from skattn.inspection._display._view import View

_MANY_CHANNELS = len(COLORS)


class TimeAxis(NamedTuple):
    """Where the steps are along the x axis.

    Parameters
    ----------
    x : ndarray of float of shape (n_steps,)
        Numbers, or days as matplotlib counts them.
    is_date : bool
        Whether they are days.
    names : list of str or None
        Of steps that are neither numbers nor times.
    """

    x: np.ndarray
    is_date: bool
    names: list[str] | None

    @property
    def step(self) -> float:
        """From one step to the next."""
        return float(np.median(np.diff(self.x))) if len(self.x) > 1 else 1.0

    def label(self, ax: Axes) -> None:
        """Write times, numbers or names below the axis.

        Parameters
        ----------
        ax : Axes
            Whose x axis.
        """
        if self.is_date:
            locator = mdates.AutoDateLocator(minticks=min(3, len(self.x)))
            ax.xaxis.set_major_locator(locator)
            ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
        elif self.names is not None:
            name_positions(ax, "x", self.names)
        else:
            ax.locator_params(axis="x", integer=True)
        ax.set_xlabel("time" if self.is_date else "time step")


def time_axis(names: Sequence[str]) -> TimeAxis:
    """Read the names of time steps.

    Parameters
    ----------
    names : sequence of str
        Timestamps, periods, numbers, or something else; empty where padded.

    Returns
    -------
    axis : TimeAxis
        One place for each.
    """
    given = [name for name in names if name]
    first = len(names) - len(given)  # forecasting windows are padded on the left
    x, is_date, others = _read(given)
    if others is not None:
        return TimeAxis(np.arange(len(names), dtype=float), False, list(names))
    axis = TimeAxis(x, is_date, None)
    before = x[0] - axis.step * np.arange(first, 0, -1) if given else np.arange(first)
    return axis._replace(x=np.concatenate([before, x]))


def _read(names: list[str]) -> tuple[np.ndarray, bool, list[str] | None]:
    try:
        return np.array([int(name) for name in names], dtype=float), False, None
    except ValueError:
        pass
    try:
        # A week is named by both of its ends.
        times = [pd.Period(name.split("/")[0]).start_time for name in names]
    except ValueError:
        return np.empty(0), False, names
    return np.asarray(mdates.date2num(times), dtype=float), True, None


def draw_series(ax: Axes, times: TimeAxis, series: np.ndarray) -> None:
    """Draw the channels of a series.

    Parameters
    ----------
    ax : Axes
        Where.
    times : TimeAxis
        Of the steps.
    series : ndarray of shape (channels, steps)
        Values.
    """
    if len(series) > _MANY_CHANNELS:
        ax.plot(times.x, series.T, color="0.35", linewidth=0.6, alpha=0.5)
        ax.set_ylabel(f"{len(series)} channels")
        return
    for number, (values, color) in enumerate(zip(series, COLORS, strict=False)):
        ax.plot(times.x, values, color=color, linewidth=1.2, label=f"channel {number}")
    ax.set_ylabel("series")
    if len(series) > 1:
        beside(ax)


def beside(ax: Axes) -> None:
    """Put a legend where it hides nothing.

    Parameters
    ----------
    ax : Axes
        Beside which.
    """
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8)


def draw_steps(
    ax: Axes, times: TimeAxis, by_head: np.ndarray, artist_kw: dict[str, Any]
) -> None:
    """Draw the weights of time steps as a line, and the range over heads as an area.

    Parameters
    ----------
    ax : Axes
        Where.
    times : TimeAxis
        Of these steps.
    by_head : ndarray of shape (heads, steps)
        Weights.
    artist_kw : dict
        For ``plot``.
    """
    mean = by_head.mean(axis=0)
    few = len(times.x) <= 40
    options = {"color": COLORS[0], "marker": "o" if few else None, "markersize": 4}
    label = "mean of heads" if len(by_head) > 1 else None
    ax.plot(times.x, mean, label=label, **{**options, "zorder": 3, **artist_kw})
    if len(by_head) > 1:
        low, high = by_head.min(axis=0), by_head.max(axis=0)
        ax.fill_between(
            times.x, low, high, color=COLORS[4], alpha=0.4, label="range of heads"
        )
        beside(ax)
    else:
        ax.fill_between(times.x, mean, color=COLORS[4], alpha=0.3)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("attention weight")


class Spans(NamedTuple):
    """Where patches begin and end along the x axis.

    Parameters
    ----------
    starts, ends : ndarray of float of shape (patches,)
        Edges.
    weights : ndarray of shape (patches,)
        What each gets.
    lanes : int
        How many rows hold them without overlaps.
    """

    starts: np.ndarray
    ends: np.ndarray
    weights: np.ndarray
    lanes: int


def spans_of(view: View, part: Any, times: TimeAxis) -> Spans:
    """Find the time steps of patches.

    Parameters
    ----------
    view : View
        Whose keys hold patches.
    part : Patches
        Which part of the keys.
    times : TimeAxis
        Of all steps.

    Returns
    -------
    spans : Spans
        From half a step before the first of each to half a step after its last.
    """
    chosen = [each == part for each in view.key_parts]
    last = len(times.x) - 1
    first = np.minimum(view.key_numbers[chosen] * part.stride, last)
    final = np.minimum(first + part.length - 1, last)
    half = times.step / 2
    return Spans(
        times.x[first] - half,
        times.x[final] + half,
        view.by_head.mean(axis=0)[chosen],
        -(-part.length // part.stride),
    )


def draw_spans(ax: Axes, spans: Spans, artist_kw: dict[str, Any]) -> None:
    """Draw patches as bars as wide as their steps and as high as their weights.

    Parameters
    ----------
    ax : Axes
        Where.
    spans : Spans
        Of the patches.
    artist_kw : dict
        For ``bar``.
    """
    options = {"color": COLORS[4], "alpha": 0.45, "edgecolor": COLORS[0]}
    widths = spans.ends - spans.starts
    ax.bar(
        spans.starts,
        spans.weights,
        width=widths,
        align="edge",
        **{**options, **artist_kw},
    )
    ax.set_ylim(bottom=0)
    ax.set_ylabel("attention weight\nof each patch")


def draw_lanes(ax: Axes, spans: Spans, artist_kw: dict[str, Any]) -> Any:
    """Draw patches in rows, coloured by their weights.

    Parameters
    ----------
    ax : Axes
        Where.
    spans : Spans
        Of the patches.
    artist_kw : dict
        For the collection of rectangles.

    Returns
    -------
    collection : PatchCollection
        For the colour bar.
    """
    rectangles = [
        Rectangle((start, -(number % spans.lanes) - 0.9), end - start, 0.8)
        for number, (start, end) in enumerate(
            zip(spans.starts, spans.ends, strict=True)
        )
    ]
    options = {"cmap": ON_WHITE, "edgecolor": "0.4", "linewidth": 0.5, **artist_kw}
    collection = PatchCollection(rectangles, **options)
    collection.set_array(spans.weights)
    collection.set_clim(0, spans.weights.max(initial=0) or 1)
    ax.add_collection(collection)
    ax.set_ylim(-spans.lanes - 0.1, 0.1)
    ax.set_yticks([])
    ax.set_ylabel("patches")
    return collection


def draw_grid(
    ax: Axes, image: np.ndarray, weights: np.ndarray, artist_kw: dict[str, Any]
) -> Any:
    """Draw the weights of a grid of patches over an image.

    Parameters
    ----------
    ax : Axes
        Where.
    image : ndarray of shape (height, width) or (height, width, 3)
        In grey, or in colours.
    weights : ndarray of shape (rows, columns)
        Of the patches.
    artist_kw : dict
        For the ``imshow`` of the weights.

    Returns
    -------
    drawn : AxesImage
        Of the weights.
    """
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(image, cmap="gray", extent=extent)
    options = {"cmap": "viridis", "alpha": 0.55, "vmin": 0, "interpolation": "nearest"}
    drawn = ax.imshow(weights, extent=extent, **{**options, **artist_kw})
    ax.set_xlabel("pixels")
    ax.set_ylabel("pixels")
    return drawn


def part_label(parts: Sequence[str], weights: np.ndarray, drawn: Sequence[str]) -> str:
    """Say what share of the weights is not drawn.

    Parameters
    ----------
    parts : sequence of str
        Of each key.
    weights : ndarray of shape (keys,)
        Their weights.
    drawn : sequence of str
        The parts that are drawn.

    Returns
    -------
    label : str
        Such as ``"not drawn: cls 0.12"``, or nothing.
    """
    others = [part for part in dict.fromkeys(parts) if part not in drawn]
    if not others:
        return ""
    shares = [
        f"{shorten(part)} {weights[[each == part for each in parts]].sum():.2f}"
        for part in others
    ]
    return "not drawn: " + ", ".join(shares)
