"""Axes, ticks that do not overlap, colours. Imports matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpecFromSubplotSpec
from matplotlib.ticker import FuncFormatter, Locator

# Okabe and Ito's colours, the yellow left out, which is hard to see on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
SEQUENTIAL, ON_WHITE, SECOND = "cividis", "Blues", "Oranges"
_NOT_ALLOWED = "0.82"
_LONGEST = 18
# Cells along an axis; from so many cells on, which part of them is within the colours.
_CELLS, _MANY, _BRIGHT = 256, 4096, 0.995


def shorten(name: str, longest: int = _LONGEST) -> str:
    """Shorten a name with an ellipsis, and let it be no formula.

    Parameters
    ----------
    name : str
        Of a position.
    longest : int
        Characters that are kept.

    Returns
    -------
    label : str
        For matplotlib.
    """
    name = " ".join(str(name).split())
    if len(name) > longest:
        end = (longest - 1) // 2  # where long names differ, as of dummy variables
        name = f"{name[: longest - 1 - end].rstrip()}…{name[-end:].lstrip()}"
    return name.replace("$", r"\$")


def figure_of(ax: Axes) -> Any:
    """Give the whole figure that axes belong to.

    Parameters
    ----------
    ax : Axes
        Of a figure or a subfigure.

    Returns
    -------
    figure : Figure
        The outermost one.
    """
    return ax.get_figure(root=True)


class Thinned(Locator):
    """As many positions as have room for their labels.

    Parameters
    ----------
    count : int
        Positions, from 0.
    room : float
        What one label takes along the axis, in points.
    """

    def __init__(self, count: int, room: float) -> None:
        self.count, self.room = count, room

    def __call__(self) -> Any:
        """Give the positions that are labelled."""
        axis: Any = self.axis
        ax = axis.axes
        box = ax.get_window_extent()
        length = box.width if axis.axis_name == "x" else box.height
        low, high = sorted(axis.get_view_interval())
        slots = length * 72 / figure_of(ax).dpi / self.room
        needed = (high - low) / max(slots, 1)
        return self.tick_values(low, high, _round_up(needed))

    def tick_values(self, vmin: float, vmax: float, step: int = 1) -> Any:
        """Give every so many positions within bounds."""
        places = np.arange(0, self.count, step)
        return places[(places >= vmin) & (places <= vmax)]


def _round_up(needed: float) -> int:
    """Give the next of 1, 2, 5, 10, 20, ..."""
    scale = 1
    while True:
        for digit in (1, 2, 5):
            if digit * scale >= needed:
                return digit * scale
        scale *= 10


def name_positions(
    ax: Axes, which: str, names: Sequence[str], longest: int = _LONGEST
) -> None:
    """Label the positions along an axis, as many as fit.

    Parameters
    ----------
    ax : Axes
        Whose axis.
    which : {"x", "y"}
        Which axis.
    names : sequence of str
        Of the positions 0, 1, ...
    longest : int
        Characters of a label.
    """
    labels = [shorten(name, longest) for name in names]
    axis = ax.xaxis if which == "x" else ax.yaxis
    size = 9.0 if len(labels) <= 30 else 8.0
    room = 1.35 * size
    axis.set_tick_params(labelsize=size)
    if which == "x":
        widest = 0.66 * size * max(map(len, labels), default=1) + 4
        width = ax.get_window_extent().width * 72 / figure_of(ax).dpi
        numbered = all(label.lstrip("+-").isdigit() for label in labels)
        if numbered or widest * len(labels) <= 0.6 * width:
            room = widest * 1.15
        else:
            axis.set_tick_params(rotation=90)
    axis.set_major_locator(Thinned(len(labels), room))
    axis.set_major_formatter(
        FuncFormatter(
            lambda place, _: (
                labels[round(place)] if 0 <= round(place) < len(labels) else ""
            )
        )
    )


def make_axes(
    ax: Any,
    n_rows: int = 1,
    n_columns: int = 1,
    *,
    figsize: tuple[float, float],
    caller: str,
    height_ratios: Sequence[float] | None = None,
    sharex: bool = False,
    sharey: bool = False,
) -> np.ndarray:
    """Make the axes of a display, or take or divide those that were given.

    Parameters
    ----------
    ax : Axes, array-like of Axes, or None
        What the caller gave.
    n_rows, n_columns : int
        Panels.
    figsize : tuple of float
        Of a new figure, in inches.
    caller : str
        Who draws, for messages.
    height_ratios : sequence of float, optional
        Of the rows.
    sharex, sharey : bool
        As for ``plt.subplots``.

    Returns
    -------
    axes : ndarray of Axes of shape (n_rows, n_columns)
        Where to draw.

    Raises
    ------
    ValueError
        If `ax` cannot hold the panels.
    """
    count = n_rows * n_columns
    shares: dict[str, Any] = {"sharex": sharex, "sharey": sharey, "squeeze": False}
    if ax is None:
        _, axes = plt.subplots(
            n_rows,
            n_columns,
            figsize=figsize,
            height_ratios=height_ratios,
            layout="constrained",
            **shares,
        )
        return axes
    if not isinstance(ax, Axes):
        given = np.asarray(ax, dtype=object).ravel()
        if len(given) != count:
            raise ValueError(
                f"{caller} draws {count} panels here, but ax holds {len(given)} axes. "
                f"Pass {count} of them, a single one, which is divided, or None."
            )
        return given.reshape(n_rows, n_columns)
    if count == 1:
        return np.array([[ax]], dtype=object)
    spec = ax.get_subplotspec()
    if spec is None:
        raise ValueError(
            f"{caller} draws {count} panels here, and ax is on no grid that could be "
            f"divided. Make it with plt.subplots, pass {count} axes, or None."
        )
    ax.set_axis_off()
    grid = GridSpecFromSubplotSpec(
        n_rows, n_columns, subplot_spec=spec, height_ratios=height_ratios
    )
    return grid.subplots(**shares)


def draw_matrix(
    ax: Axes,
    matrix: np.ma.MaskedArray,
    queries: Sequence[str],
    keys: Sequence[str],
    artist_kw: dict[str, Any],
    longest: int = _LONGEST,
) -> Any:
    """Draw weights of queries and keys as an image.

    Of more cells than can be seen, the largest of each block is drawn.

    Parameters
    ----------
    ax : Axes
        Where.
    matrix : masked array of shape (queries, keys)
        Masked where a query may not attend.
    queries, keys : sequence of str
        Names.
    artist_kw : dict
        For ``imshow``.
    longest : int
        Characters of a label.

    Returns
    -------
    image : AxesImage
        For the colour bar.
    """
    n_queries, n_keys = matrix.shape
    pooled = pool(matrix)
    options = {
        "cmap": SEQUENTIAL,
        "vmin": 0,
        "vmax": brightest(pooled),
        "aspect": "auto",
        "extent": (-0.5, n_keys - 0.5, n_queries - 0.5, -0.5),
        **artist_kw,
    }
    options["cmap"] = plt.get_cmap(options["cmap"]).with_extremes(bad=_NOT_ALLOWED)
    image = ax.imshow(pooled, **options)
    name_positions(ax, "y", queries, longest)
    name_positions(ax, "x", keys, longest)
    return image


def pool(matrix: np.ma.MaskedArray) -> np.ma.MaskedArray:
    """Take the largest number of each block, where there are more than can be seen.

    Parameters
    ----------
    matrix : masked array of shape (queries, keys)
        Weights.

    Returns
    -------
    pooled : masked array of shape (rows, columns)
        At most `_CELLS` of each; blocks that are masked as a whole stay masked.
    """
    for axis in range(2):
        block = -(-matrix.shape[axis] // _CELLS)
        if block > 1 and matrix.shape[axis] % block:
            shape = list(matrix.shape)
            shape[axis] = -matrix.shape[axis] % block
            matrix = np.ma.concatenate([matrix, np.ma.masked_all(shape)], axis=axis)
        shape = list(matrix.shape)
        shape[axis : axis + 1] = [shape[axis] // block, block]
        matrix = matrix.reshape(shape).max(axis=axis + 1)
    return matrix


def brightest(matrix: np.ma.MaskedArray) -> float:
    """Find the weight that gets the brightest colour.

    Parameters
    ----------
    matrix : masked array
        Weights.

    Returns
    -------
    limit : float
        The largest; of many, one that a few sinks are above of.
    """
    values = matrix.compressed()
    if not values.size:
        return 1.0
    limit = values.max() if values.size < _MANY else np.quantile(values, _BRIGHT)
    return float(limit) or float(values.max()) or 1.0


def beyond(matrix: np.ma.MaskedArray, image: Any) -> str:
    """Tell whether a colour bar needs a tip for larger weights.

    Parameters
    ----------
    matrix : masked array
        Weights.
    image : AxesImage
        Drawn of them.

    Returns
    -------
    extend : str
        For ``colorbar``.
    """
    return "max" if float(matrix.max()) > image.norm.vmax * (1 + 1e-9) else "neither"


def draw_bars(
    ax: Axes,
    heights: np.ndarray,
    names: Sequence[str],
    artist_kw: dict[str, Any],
    longest: int = _LONGEST,
) -> Any:
    """Draw the weights of a single query.

    Parameters
    ----------
    ax : Axes
        Where.
    heights : ndarray of shape (keys,)
        Weights.
    names : sequence of str
        Of the keys.
    artist_kw : dict
        For ``bar``.
    longest : int
        Characters of a label.

    Returns
    -------
    bars : BarContainer
        The bars.
    """
    bars = ax.bar(np.arange(len(heights)), heights, **{"color": COLORS[0], **artist_kw})
    ax.set_xlim(-0.6, len(heights) - 0.4)
    name_positions(ax, "x", names, longest)
    return bars


def contrasting(color: Any) -> str:
    """Choose black or white, whichever is easier to read on a colour.

    Parameters
    ----------
    color : array-like of float
        Red, green and blue, from 0 to 1.

    Returns
    -------
    color : str
        Of a text.
    """
    rgb = np.asarray(color[:3], dtype=float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    # Both have the same contrast on this luminance, by the formula of WCAG 2.
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"
