"""Words on coloured ground, wrapped over lines. Imports matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from skattn.inspection._display._axes import ON_WHITE, SECOND, contrasting, figure_of

_SIZE, _SMALLEST = 10.0, 5.0  # points
_LINE = 1.75  # line height, in font sizes
_TALLEST = 14.0  # inches of a figure of our own
_LONGEST = 40
_WORD_START = "▁"  # how sub-word tokens begin a word


class Words(NamedTuple):
    """What is written.

    Parameters
    ----------
    tokens : list of str
        In their order.
    weights : ndarray of shape (tokens,)
        Of each.
    is_extra : ndarray of bool of shape (tokens,)
        Which tokens are not in the text, such as ``cls``.
    lines : ndarray of int64 of shape (tokens,)
        In which sentence, turn or text each is: each begins a line.
    line_weights : ndarray of shape (lines,) or None
        Of sentences or turns.
    """

    tokens: list[str]
    weights: np.ndarray
    is_extra: np.ndarray
    lines: np.ndarray
    line_weights: np.ndarray | None = None


class _Box(NamedTuple):
    """Where a word is, in points from the upper left corner."""

    token: int
    x: float
    y: float
    width: float


def draw_words(
    ax: Axes, words: Words, may_grow: bool, artist_kw: dict[str, Any]
) -> int:
    """Write words on ground that is darker the larger their weights.

    Parameters
    ----------
    ax : Axes
        Where; its axis lines are taken off.
    words : Words
        What to write.
    may_grow : bool
        Whether the figure may be made higher.
    artist_kw : dict
        For the texts; ``"fontsize"`` is where shrinking begins.

    Returns
    -------
    n_left_out : int
        Tokens that found no room.
    """
    ax.set_axis_off()
    size = float(artist_kw.get("fontsize", _SIZE))
    shown = [_shown(token) for token in words.tokens]
    joined = _are_joined(words)
    widths = _widths(ax, shown, size, artist_kw)  # points, at this size
    margin = 0.0 if words.line_weights is None else 1.6 * size

    def fit(scale: float) -> tuple[list[_Box], float]:
        return _wrap(words.lines, scale * widths, joined, scale * size, room[0], margin)

    # Title and colour bars have room in any case.
    lowest = 1.4 if words.line_weights is None else 2.0
    room = _room(ax)
    boxes, height = fit(1.0)
    if may_grow:
        _grow(ax, height - room[1], lowest)
    colors = ScalarMappable(Normalize(0, words.weights.max() or 1), ON_WHITE)
    _color_bar(ax, colors, "attention weight")
    marks = None
    if words.line_weights is not None:
        marks = ScalarMappable(Normalize(0, words.line_weights.max() or 1), SECOND)
        _color_bar(ax, marks, "weight of the line")
    room = _room(ax)
    boxes, height = fit(1.0)
    for _ in range(3 if may_grow else 0):  # the space around grows a bit with it
        _grow(ax, height - room[1], lowest)
        room = _room(ax)
    scale = 1.0
    while height > room[1] + 1 and scale * size > _SMALLEST:
        scale = max(scale * 0.93, _SMALLEST / size)
        boxes, height = fit(scale)
    size = scale * size
    kept = [box for box in boxes if box.y + 0.75 * size <= room[1] + 1]

    ax.set_xlim(0, room[0])
    ax.set_ylim(room[1], 0)
    _paint(ax, kept, words.weights, colors, size)
    for box in kept:
        options = {
            "color": contrasting(colors.to_rgba(words.weights[box.token])),
            "style": "italic" if words.is_extra[box.token] else "normal",
            "va": "center",
            "parse_math": False,
            **artist_kw,
            "fontsize": size,
        }
        ax.text(box.x, box.y, shown[box.token], **options)
    if marks is not None and words.line_weights is not None:
        first: dict[int, _Box] = {}
        for box in kept:
            first.setdefault(int(words.lines[box.token]), box)
        squares = [
            _Box(line, 0.2 * size, box.y, 0.8 * size) for line, box in first.items()
        ]
        _paint(ax, squares, words.line_weights, marks, size)
    return len(boxes) - len(kept)


def _grow(ax: Axes, points: float, lowest: float) -> None:
    """Make the figure higher, or lower."""
    figure = figure_of(ax)
    inches = figure.get_figheight() + points / 72
    figure.set_figheight(float(np.clip(inches, lowest, _TALLEST)))


def _color_bar(ax: Axes, colors: Any, label: str) -> None:
    figure = figure_of(ax)
    figure.colorbar(
        colors,
        ax=ax,
        label=label,
        location="bottom",
        shrink=0.5,
        aspect=30,
        pad=0.02,
        fraction=min(0.15, 0.2 / figure.get_figheight()),
    )


def _shown(token: str) -> str:
    token = " ".join(token.lstrip(_WORD_START).split()) or "·"
    return token if len(token) <= _LONGEST else token[: _LONGEST - 1] + "…"


def _are_joined(words: Words) -> list[bool]:
    """Tell which tokens go on with the word before them."""
    if not any(token.startswith(_WORD_START) for token in words.tokens):
        return [False] * len(words.tokens)
    return [
        not (token.startswith(_WORD_START) or token.startswith("[") or is_extra)
        for token, is_extra in zip(words.tokens, words.is_extra, strict=True)
    ]


def _widths(
    ax: Axes, shown: Sequence[str], size: float, artist_kw: dict[str, Any]
) -> np.ndarray:
    """Measure words in points."""
    probe = ax.text(0, 0, "", parse_math=False, **{**artist_kw, "fontsize": size})
    found: dict[str, float] = {}
    for word in shown:
        if word not in found:
            probe.set_text(word)
            found[word] = probe.get_window_extent().width
    probe.remove()
    dpi = figure_of(ax).dpi
    return np.array([found[word] for word in shown]) * 72 / dpi


def _room(ax: Axes) -> tuple[float, float]:
    """Measure axes in points, after everything else found its place."""
    figure = figure_of(ax)
    figure.draw_without_rendering()
    box = ax.get_window_extent()
    return box.width * 72 / figure.dpi, box.height * 72 / figure.dpi


def _wrap(
    lines: np.ndarray,
    widths: np.ndarray,
    joined: Sequence[bool],
    size: float,
    room: float,
    margin: float,
) -> tuple[list[_Box], float]:
    """Place words one after another, and find what height they need."""
    gap, pad = 0.55 * size, 0.2 * size
    x, y = margin + pad, 0.5 * _LINE * size
    indent = margin + pad + (2 * size if lines.max(initial=0) > 0 else 0.0)
    boxes: list[_Box] = []
    for token, width in enumerate(widths):
        begins = token > 0 and lines[token] != lines[token - 1]
        if begins:
            x, y = margin + pad, y + _LINE * size
        elif joined[token] and boxes:
            x -= gap - 0.02 * size
        if x > indent and x + width + pad > room:
            x, y = indent, y + _LINE * size
        boxes.append(_Box(token, x, y, width))
        x += width + gap
    return boxes, y + 0.5 * _LINE * size


def _paint(
    ax: Axes, boxes: Sequence[_Box], weights: np.ndarray, colors: Any, size: float
) -> None:
    """Lay coloured ground below words."""
    pad = 0.2 * size
    ground = PatchCollection(
        [
            Rectangle(
                (box.x - pad, box.y - 0.75 * size), box.width + 2 * pad, 1.5 * size
            )
            for box in boxes
        ],
        cmap=colors.cmap,
        norm=colors.norm,
        linewidth=0,
    )
    ground.set_array(weights[[box.token for box in boxes]])
    ax.add_collection(ground, autolim=False)
