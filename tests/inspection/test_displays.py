"""Figures of attention: what is drawn, where it has room, and what is refused."""

import sys
from itertools import pairwise

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.dates import num2date
from matplotlib.transforms import Bbox
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import Bunch
from sktime.datasets import load_airline

from skattn import (
    AttentionClassifier,
    AttentionForecaster,
    AttentionTimeSeriesClassifier,
    AttentionTranslator,
    Graph,
    NodeClassifier,
    record_attention,
)
from skattn.architectures import (
    GAT,
    TFT,
    HierarchicalAttention,
    InteractiveAttention,
    LSTMSeq2Seq,
    PatchTST,
    RNNSeq2Seq,
    SelfAttention,
    TextEncoder,
    TimeXer,
)
from skattn.inspection import (
    AttentionDisplay,
    AttentionRecord,
    EntropyDisplay,
    FaithfulnessDisplay,
    Head,
    HeadImportanceDisplay,
    attention_entropy,
    head_importance,
)
from skattn.inspection._display._axes import contrasting, shorten
from skattn.nn import Name, Patches

OPTIONS = {"max_epochs": 1, "random_state": 0, "num_threads": 1}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=2)
draw = AttentionDisplay.from_estimator
each_size = pytest.mark.parametrize("n", [5, 500])


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def shares(*shape):
    """Draw weights that sum to one over the keys."""
    weights = np.exp(2 * np.random.default_rng(0).normal(size=shape))
    return weights / weights.sum(axis=-1, keepdims=True)


def record_of(weights, queries, keys, axes=("tokens", "tokens"), **fields):
    given = {"layer": "blocks.1", "kind": "self", **fields}
    return AttentionRecord(
        weights=weights,
        queries=queries,
        keys=keys,
        query_axis=axes[0],
        key_axis=axes[1],
        **given,
    )


def tokens(n):
    words = [
        "the",
        "quick",
        "extraordinarily",
        "brown",
        "fox",
        "of",
        "antidisestablish",
    ]
    return [words[number % 7] + "s" * (number % 3) for number in range(n)]


def ticks(ax, which, is_drawn=False):
    """Give the labels of the ticks that are seen."""
    if not is_drawn:
        ax.get_figure(root=True).draw_without_rendering()
    axis = getattr(ax, f"{which}axis")
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label2 if tick.label2.get_visible() else tick.label1
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high
        and (tick.label1.get_visible() or tick.label2.get_visible())
        and tick.label1.get_text()
    ]


def assert_apart(texts):
    boxes = [text.get_window_extent() for text in texts]
    overlaps = [
        (texts[i].get_text(), texts[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]
    assert overlaps == []


def assert_readable(display):
    """No tick labels, words or titles of a figure overlap each other."""
    display.figure_.draw_without_rendering()
    for ax in display.figure_.axes:
        for which in "xy":
            assert_apart(ticks(ax, which, is_drawn=True))
    assert_apart([ax.title for ax in display.figure_.axes if ax.title.get_text()])


def colour_bars(display):
    drawn = {id(ax) for ax in display.axes_.ravel()}
    return [ax for ax in display.figure_.axes if id(ax) not in drawn]


# Heatmaps and bars


@each_size
def test_a_heatmap_shows_the_mean_of_the_heads(n):
    names = tokens(n)
    record = record_of(shares(1, 4, n, n), [names], [names])
    display = AttentionDisplay(record, kind="heatmap").plot()
    (image,) = display.ax_.images
    mean = record.weights[0].mean(axis=0)
    if n == 5:
        assert_allclose(image.get_array(), mean)
        assert image.get_clim() == (0, mean.max())
        assert [text.get_text() for text in ticks(display.ax_, "x")] == names
    else:
        # The largest of each block of 2 × 2, most of them within the colours.
        blocks = mean.reshape(250, 2, 250, 2).max(axis=(1, 3))
        assert_allclose(image.get_array(), blocks)
        assert image.get_clim()[1] == pytest.approx(np.quantile(blocks, 0.995))
        assert 5 <= len(ticks(display.ax_, "x")) <= 60
        assert 5 <= len(ticks(display.ax_, "y")) <= 60
    assert image.get_extent() == [-0.5, n - 0.5, n - 0.5, -0.5]
    labels = ticks(display.ax_, "y")
    places = [round(text.get_unitless_position()[1]) for text in labels]
    assert [text.get_text() for text in labels] == [
        shorten(names[place]) for place in places
    ]
    assert display.ax_.get_xlabel() == "keys (tokens)"
    assert display.ax_.get_ylabel() == "queries (tokens)"
    assert display.ax_.get_title() == "blocks.1, self attention, mean of 4 heads"
    assert [ax.get_ylabel() for ax in colour_bars(display)] == ["attention weight"]
    assert_readable(display)


def test_blocks_of_an_odd_number_of_positions():
    weights = np.zeros((1, 1, 301, 301))
    weights[..., 300, 300] = weights[..., 10, 21] = 1
    names = list(map(str, range(301)))
    record = record_of(weights, names, names, ("features", "features"))
    image = AttentionDisplay(record, kind="heatmap").plot().ax_.images[0]
    assert image.get_array().shape == (151, 151)
    assert_array_equal(np.argwhere(image.get_array()), [[5, 10], [150, 150]])


def test_a_heatmap_of_one_head():
    record = record_of(shares(2, 4, 3, 3), ["a", "b", "c"], ["a", "b", "c"])
    display = AttentionDisplay(record, kind="heatmap", sample=1, head=2).plot()
    assert_allclose(display.ax_.images[0].get_array(), record.weights[1, 2])
    assert display.ax_.get_title() == "blocks.1, self attention, head 2"
    last = AttentionDisplay(record, kind="heatmap", sample=-1, head=-2).plot()
    assert_allclose(last.ax_.images[0].get_array(), record.weights[1, 2])
    assert last.ax_.get_title() == "blocks.1, self attention, head 2"


def test_what_may_not_be_attended_to_is_grey():
    mask = np.tril(np.ones((1, 1, 4, 4), dtype=bool))
    names = tokens(4)
    record = record_of(shares(1, 2, 4, 4) * mask, [names], [names], mask=mask)
    display = AttentionDisplay(record, kind="heatmap").plot()
    image = display.ax_.images[0]
    assert_array_equal(np.ma.getmaskarray(image.get_array()), ~mask[0, 0])
    assert len({*image.cmap(np.ma.masked_all(1))[0, :3]}) == 1
    (bar,) = colour_bars(display)
    assert bar.get_ylabel() == "attention weight (grey: may not attend)"


@each_size
def test_one_query_is_drawn_as_bars(n):
    names = [f"a rather long column name {number}" for number in range(n)]
    axes = ("cls", "features")
    record = record_of(shares(1, 2, 1, n), ["cls"], names, axes)
    display = AttentionDisplay(record).plot()
    assert display.kind_ == "heatmap"
    heights = [bar.get_height() for bar in display.ax_.patches]
    assert_allclose(heights, record.weights[0].mean(axis=0)[0])
    labels = [text.get_text() for text in ticks(display.ax_, "x")]
    assert all(len(label) <= 18 and "…" in label for label in labels)
    assert len(set(labels)) == len(labels)
    assert display.ax_.get_ylabel() == "attention weight"
    assert_readable(display)


def test_scores_are_not_called_weights():
    record = record_of(
        shares(1, 1, 1, 3), ["q"], list("abc"), ("row", "features"), normalised=False
    )
    assert AttentionDisplay(record).plot().ax_.get_ylabel() == "attention score"


def test_padded_positions_are_not_drawn():
    weights, real = shares(1, 2, 6, 6), np.arange(6) < 4
    mask = np.broadcast_to(real, (1, 1, 1, 6))
    names = list(map(str, range(6)))
    record = record_of(weights * real, names, names, ("time", "time"), mask=mask)
    display = AttentionDisplay(record, kind="heatmap").plot()
    assert display.ax_.images[0].get_array().shape == (4, 4)
    for which in "xy":
        assert [text.get_text() for text in ticks(display.ax_, which)] == names[:4]
    lines = AttentionDisplay(record, series=np.arange(6.0)).plot()
    assert_array_equal(lines.ax_.lines[0].get_xdata(), [0, 1, 2, 3])
    assert_array_equal(lines.axes_[0, 0].lines[0].get_ydata(), [0, 1, 2, 3])
    heads = AttentionDisplay(record, kind="heads").plot()
    assert {ax.images[0].get_array().shape for ax in heads.axes_.ravel()} == {(4, 4)}
    weights = weights[:, :, :1] * real
    single = record_of(weights, ["cls"], names, ("cls", "features"), mask=mask)
    assert len(AttentionDisplay(single).plot().ax_.patches) == 4


def test_padding_on_the_left_is_not_drawn():
    real = np.arange(5) >= 2
    mask = np.broadcast_to(real, (1, 1, 1, 5))
    names = ["", "", "2000-01", "2000-02", "2000-03"]
    record = record_of(
        shares(1, 1, 1, 5) * real, ["cls"], names, ("cls", "time"), mask=mask
    )
    display = AttentionDisplay(record, series=[np.nan, np.nan, 1, 2, 3]).plot()
    assert len(display.ax_.lines[0].get_xdata()) == 3
    assert_array_equal(display.axes_[0, 0].lines[0].get_ydata(), [1, 2, 3])


# Small multiples


@each_size
def test_heads_share_a_scale(n):
    names = tokens(n)
    record = record_of(shares(1, 5, n, n), [names], [names])
    display = AttentionDisplay(record, kind="heads").plot()
    panels = [ax for ax in display.axes_.ravel() if ax.images]
    assert [ax.get_title() for ax in panels] == [f"head {head}" for head in range(5)]
    assert len({ax.images[0].get_clim() for ax in panels}) == 1
    if n == 5:
        assert panels[0].images[0].get_clim() == (0, record.weights.max())
        for panel, weights in zip(panels, record.weights[0], strict=True):
            assert_allclose(panel.images[0].get_array(), weights)
    assert len(colour_bars(display)) == 1
    assert_readable(display)


def test_heads_of_all_layers():
    first = record_of(shares(1, 3, 4, 4), [tokens(4)], [tokens(4)], layer="0")
    last = record_of(shares(1, 2, 1, 4), ["cls"], [tokens(4)], ("cls", "tokens"))
    display = AttentionDisplay([first, last], layer=None).plot()
    assert display.kind_ == "heads"
    assert display.axes_.shape == (2, 3)
    assert [ax.get_title() for ax in display.axes_[0]] == [
        f"0 (self)\nhead {head}" for head in range(3)
    ]
    assert len(display.axes_[1, 0].patches) == 4
    assert not display.axes_[1, 2].axison
    assert_readable(display)


def test_heads_of_groups_are_told_apart():
    names = ["patch 0", "patch 1"]
    record = record_of(shares(1, 4, 2, 2), names, names, groups=2)
    display = AttentionDisplay(record, kind="heads").plot()
    titles = [ax.get_title() for ax in display.axes_.ravel()]
    assert titles == [f"group {g}, head {h}" for g in range(2) for h in range(2)]
    one = AttentionDisplay(record, kind="heads", head=3).plot()
    assert [ax.get_title() for ax in one.axes_.ravel()] == ["group 1, head 1"]


# Time


@each_size
@pytest.mark.parametrize("index", ["days", "months", "numbers"])
def test_a_timeline_is_below_its_series(n, index):
    times = {
        "days": pd.date_range("2020-01-01", periods=n, freq="D"),
        "months": pd.period_range("1960-01", periods=n, freq="M"),
        "numbers": range(100, 100 + n),
    }[index]
    names = list(map(str, times))
    keys, axes = ["cls", *names], ("cls", ("cls", "time"))
    record = record_of(shares(1, 3, 1, n + 1), ["cls"], keys, axes)
    series = np.random.default_rng(0).normal(size=(2, n))
    display = AttentionDisplay(record, series=series).plot()
    assert display.kind_ == "timeline"
    above, below = display.axes_.ravel()
    assert display.ax_ is below
    (line,) = below.lines
    mean = record.weights[0, :, 0].mean(axis=0)
    assert_allclose(line.get_ydata(), mean[1:])
    for drawn, values in zip(above.lines, series, strict=True):
        assert_allclose(drawn.get_ydata(), values)
        assert_allclose(drawn.get_xdata(), line.get_xdata())
    assert above.get_shared_x_axes().joined(above, below)
    if index == "numbers":
        assert_array_equal(line.get_xdata(), times)
        name = "time step"
    else:
        drawn = [num2date(x).date().isoformat() for x in line.get_xdata()[[0, -1]]]
        starts = [pd.Period(names[0]).start_time, pd.Period(names[-1]).start_time]
        assert drawn == [start.date().isoformat() for start in starts]
        name = "time"
    assert below.get_xlabel() == f"{name}  (not drawn: cls {mean[0]:.2f})"
    legend = [text.get_text() for text in below.get_legend().get_texts()]
    assert legend == ["mean of heads", "range of heads"]
    assert_readable(display)


def test_steps_that_are_no_times_are_named():
    record = record_of(
        shares(1, 1, 1, 3), ["q"], ["spring", "summer", "autumn"], ("q", "time")
    )
    display = AttentionDisplay(record).plot()
    labels = [text.get_text() for text in ticks(display.ax_, "x")]
    assert labels == ["spring", "summer", "autumn"]


def test_window_and_horizon_are_told_apart():
    past = [str(time) for time in pd.period_range("2000-01", periods=4, freq="M")]
    future = ["2000-05", "2000-06"]
    axes = ("horizon", ("time", "horizon"))
    record = record_of(shares(1, 1, 2, 6), future, past + future, axes)
    display = AttentionDisplay(record, series=np.arange(4.0)).plot()
    weights, start = display.ax_.lines
    assert len(weights.get_xdata()) == 6
    april, may = weights.get_xdata()[3:5]
    assert april < start.get_xdata()[0] < may
    assert_array_equal(display.axes_[0, 0].lines[0].get_ydata(), np.arange(4))
    assert display.axes_[0, 0].get_title().endswith("mean of 2 queries")


def test_many_channels_need_no_legend():
    record = record_of(shares(1, 1, 1, 9), ["cls"], list("012345678"), ("cls", "time"))
    display = AttentionDisplay(record, series=np.ones((20, 9))).plot()
    above = display.axes_[0, 0]
    assert above.get_legend() is None
    assert above.get_ylabel() == "20 channels"


PATCHES = Patches("patch", length=4, stride=2)


def patches(n_patches=4):
    names = [f"patch {number}" for number in range(n_patches)]
    keys, axis = ["global", *names], ("global", PATCHES)
    weights = shares(1, 2, n_patches + 1, n_patches + 1)
    return record_of(weights, keys, keys, (axis, axis))


@pytest.mark.parametrize("kind", ["patches", "timeline"])
def test_patches_cover_their_steps(kind):
    record = patches()
    display = AttentionDisplay(record, kind=kind, series=np.arange(9.0)).plot()
    weights = record.weights[0].mean(axis=(0, 1))
    starts = [-0.5, 1.5, 3.5, 5.5]
    ends = [3.5, 5.5, 7.5, 8.5]  # the last one is cut at the end of the series
    if kind == "timeline":
        boxes = [bar.get_bbox() for bar in display.ax_.patches]
        assert_allclose([box.height for box in boxes], weights[1:])
    else:
        (collection,) = display.ax_.collections
        boxes = [path.get_extents() for path in collection.get_paths()]
        assert_allclose(collection.get_array(), weights[1:])
        assert_allclose(collection.get_clim(), [0, weights[1:].max()])
        for i in range(4):
            for j in range(i):
                common = Bbox.intersection(boxes[i], boxes[j])  # edges may touch
                assert common is None or common.width == 0
        assert display.axes_[1, 0].lines
    assert_allclose([box.x0 for box in boxes], starts)
    assert_allclose([box.x1 for box in boxes], ends)
    bottom = display.axes_[-1, 0].get_xlabel()
    assert bottom == f"time step  (not drawn: global {weights[0]:.2f})"
    assert_readable(display)


def test_patches_of_many_steps():
    names = [f"patch {number}" for number in range(61)]
    axis = Patches("patch", length=16, stride=8)
    record = record_of(shares(1, 2, 61, 61), names, names, (axis, axis))
    days = [str(day) for day in pd.date_range("2020-01-01", periods=496, freq="D")]
    display = AttentionDisplay(record, times=days).plot()
    assert display.kind_ == "patches"
    assert display.axes_.shape == (1, 1)
    assert len(display.ax_.collections[0].get_paths()) == 61
    assert display.ax_.get_xlabel() == "time"
    assert_readable(display)


def test_patches_of_an_image():
    weights = shares(6).reshape(2, 3)
    image = np.random.default_rng(0).random((20, 30, 3))
    display = AttentionDisplay(weights, image=image).plot()
    assert display.kind_ == "patches"
    below, above = display.ax_.images
    assert_allclose(below.get_array(), image)
    assert_allclose(above.get_array(), weights)
    assert tuple(below.get_extent()) == tuple(above.get_extent())
    assert tuple(above.get_extent()) == (-0.5, 29.5, 19.5, -0.5)
    with pytest.raises(ValueError, match=r"image of shape \(4,\) must be"):
        AttentionDisplay(weights, image=np.ones(4)).plot()


# Texts


@each_size
def test_words_are_wrapped_on_coloured_ground(n):
    words = tokens(n)
    record = record_of(shares(1, 1, 1, n), ["pooled"], [words], ("pooled", "tokens"))
    display = AttentionDisplay(record).plot()
    assert display.kind_ == "text"
    display.figure_.draw_without_rendering()
    texts = display.ax_.texts
    assert [text.get_text() for text in texts] == words
    assert_apart(texts)
    room = display.ax_.get_window_extent()
    grounds = display.ax_.collections[0]
    weights = record.weights[0, 0, 0]
    assert_allclose(grounds.get_array(), weights)
    assert_array_equal(grounds.get_clim(), [0, weights.max()])
    boxes = [path.get_extents(display.ax_.transData) for path in grounds.get_paths()]
    for text, box, weight in zip(texts, boxes, weights, strict=True):
        extent = text.get_window_extent()
        assert box.x0 <= extent.x0
        assert extent.x1 <= box.x1
        assert extent.x1 <= room.x1
        assert room.y0 <= extent.y0
        ground = grounds.cmap(grounds.norm(weight))
        assert contrast(ground[:3], to_rgb(text.get_color())) >= 4.5
    assert {text.get_fontsize() for text in texts} == {10}
    n_lines = len({text.get_position()[1] for text in texts})
    assert n_lines == 1 if n == 5 else n_lines > 20
    (bar,) = colour_bars(display)
    assert bar.get_xlabel() == "attention weight"


def contrast(first, second):
    """Compute WCAG's contrast ratio."""
    lights = []
    for rgb in (first, second):
        rgb = np.asarray(rgb)
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lights.append(linear @ [0.2126, 0.7152, 0.0722])
    low, high = sorted(lights)
    return (high + 0.05) / (low + 0.05)


def test_text_colours_contrast():
    assert contrasting((1, 1, 1)) == "black"
    assert contrasting((0.1, 0.1, 0.4)) == "white"


def test_extra_tokens_are_in_italics():
    axis = ("cls", "tokens")
    record = record_of(shares(1, 1, 3, 3), [["cls", "a", "b"]], [["cls", "a", "b"]])
    record = record_of(record.weights, record.queries, record.keys, (axis, axis))
    texts = AttentionDisplay(record).plot().ax_.texts
    assert [text.get_style() for text in texts] == ["italic", "normal", "normal"]


def test_formulas_and_line_breaks_are_just_tokens():
    words = ["$5", "of$", "\n", "a\tb"]
    record = record_of(shares(1, 1, 1, 4), ["cls"], [words], ("cls", "tokens"))
    texts = AttentionDisplay(record).plot().ax_.texts
    assert [text.get_text() for text in texts] == ["$5", "of$", "·", "a b"]
    bars = AttentionDisplay(record, kind="heatmap").plot()
    labels = [text.get_text() for text in ticks(bars.ax_, "x")]
    assert labels[:2] == [r"\$5", r"of\$"]


def test_pieces_of_words_stay_together():
    words = ["▁un", "believ", "able", "▁film"]
    record = record_of(shares(1, 1, 1, 4), ["cls"], [words], ("cls", "tokens"))
    display = AttentionDisplay(record).plot()
    display.figure_.draw_without_rendering()
    boxes = [text.get_window_extent() for text in display.ax_.texts]
    assert [text.get_text() for text in display.ax_.texts][::3] == ["un", "film"]
    gaps = [right.x0 - left.x1 for left, right in pairwise(boxes)]
    assert max(gaps[:2]) < gaps[2] / 2


def test_each_segment_begins_a_line():
    words = tokens(6)
    display = AttentionDisplay(
        shares(6), keys=words, kind="text", segments=[0, 0, 1, 1, 1, 2]
    ).plot()
    lines = [text.get_position()[1] for text in display.ax_.texts]
    assert lines[0] == lines[1] < lines[2] == lines[3] == lines[4] < lines[5]
    with pytest.raises(ValueError, match="one number for each of the 6 tokens"):
        AttentionDisplay(shares(6), kind="text", segments=[0, 1]).plot()


def test_a_text_that_is_too_long_for_its_axes():
    _, ax = plt.subplots(figsize=(3, 2))
    words = tokens(500)
    display = AttentionDisplay(shares(500), keys=words, kind="text").plot(ax)
    left_out = 500 - len(ax.texts)
    assert 0 < left_out < 500
    assert ax.get_title().endswith(f"last {left_out} tokens left out")
    assert {text.get_fontsize() for text in ax.texts} == {5}
    assert display.ax_ is ax


# Graphs


def ring(n=6, n_heads=2):
    """Make a record of a ring with self-loops."""
    nodes = np.arange(n)
    source = np.concatenate([nodes, nodes, nodes])
    target = np.concatenate([nodes, (nodes + 1) % n, (nodes - 1) % n])
    names = [f"n{node}" for node in nodes]
    return record_of(
        np.random.default_rng(0).random((3 * n, n_heads)),
        names,
        names,
        ("nodes", "nodes"),
        kind="edge",
        edge_index=np.stack([source, target]),
    )


def arrows(ax):
    return [patch for patch in ax.patches if hasattr(patch, "get_arrowstyle")]


def test_a_graph_shows_edges_and_self_loops():
    record = ring()
    display = AttentionDisplay(record, head=1).plot()
    assert display.kind_ == "graph"
    drawn = arrows(display.ax_)
    assert len(drawn) == 12
    widths = sorted(arrow.get_linewidth() for arrow in drawn)
    weights = np.sort(record.weights[6:, 1])
    assert_allclose(widths, 0.4 + 2.2 * weights / weights.max())
    labels = {text.get_text() for text in display.ax_.texts}
    assert labels == set(record.keys)
    bars = {ax.get_ylabel(): ax.get_ylim()[1] for ax in colour_bars(display)}
    assert bars == {
        "attention weight along the edge": pytest.approx(weights.max()),
        "attention weight to itself": pytest.approx(record.weights[:, 1].max()),
    }
    assert display.ax_.get_title() == "blocks.1, edge attention, head 1"
    record.weights[:6] /= 100  # what is small beside the edges is not drawn dark
    pale = AttentionDisplay(record, head=1).plot()
    bars = {ax.get_ylabel(): ax.get_ylim()[1] for ax in colour_bars(pale)}
    assert bars["attention weight to itself"] == pytest.approx(weights.max())


def test_the_neighbourhood_of_a_node():
    record = ring(20)
    display = AttentionDisplay(record, node="n3").plot()
    assert {text.get_text() for text in display.ax_.texts} == {
        "n1",
        "n2",
        "n3",
        "n4",
        "n5",
    }
    # Two lead to the node, and two to each of its neighbours.
    assert len(arrows(display.ax_)) == 6
    title = display.ax_.get_title()
    assert title.startswith("node n3: ")
    assert "6 nearest and strongest of 40 edges, 5 of 20 nodes" in title
    with pytest.raises(ValueError, match="no node 'x': the graph has 20, such as 'n0'"):
        AttentionDisplay(record, node="x").plot()


def test_a_big_graph_stays_readable():
    record = ring(3000)
    display = AttentionDisplay(record, max_edges=30).plot()
    assert len(arrows(display.ax_)) == 30
    assert "30 strongest of 6000 edges" in display.ax_.get_title()
    strongest = np.sort(record.weights[3000:].mean(axis=1))[-30:]
    widths = sorted(arrow.get_linewidth() for arrow in arrows(display.ax_))
    assert_allclose(widths, 0.4 + 2.2 * strongest / strongest.max())
    assert not display.ax_.texts


# Translations


@each_size
def test_an_alignment_reads_like_a_translation(n):
    source, target = tokens(n), tokens(n)[1:]
    record = record_of(
        shares(1, 1, n - 1, n),
        [target],
        [source],
        ("target_tokens", "tokens"),
        kind="cross",
    )
    display = AttentionDisplay(record).plot()
    assert display.kind_ == "alignment"
    assert display.ax_.get_xlabel() == "tokens"
    assert display.ax_.get_ylabel() == "target tokens"
    assert display.ax_.xaxis.get_ticks_position() == "top"
    if n == 5:
        assert_allclose(display.ax_.images[0].get_array(), record.weights[0, 0])
        assert [text.get_text() for text in ticks(display.ax_, "x")] == source
        assert [text.get_text() for text in ticks(display.ax_, "y")] == target
    assert_readable(display)


# Arrays


def test_arrays_need_no_record():
    weights = shares(2, 3, 4)
    display = AttentionDisplay(weights, keys=list("abcd"), queries=list("xyz")).plot()
    assert display.kind_ == "heatmap"
    assert_allclose(display.ax_.images[0].get_array(), weights.mean(axis=0))
    assert [text.get_text() for text in ticks(display.ax_, "x")] == list("abcd")
    assert [text.get_text() for text in ticks(display.ax_, "y")] == list("xyz")
    numbered = AttentionDisplay(weights[0]).plot()
    assert [text.get_text() for text in ticks(numbered.ax_, "x")] == list("0123")
    days = ["2000-01-01", "2000-01-02", "2000-01-03"]
    lines = AttentionDisplay(shares(3), times=days, kind="timeline").plot()
    assert num2date(lines.ax_.lines[0].get_xdata()[1]).day == 2


def test_the_caller_chooses_axes_and_artists():
    _, (left, right) = plt.subplots(1, 2, layout="constrained")
    display = AttentionDisplay(shares(3, 3)).plot(
        left, artist_kw={"cmap": "viridis", "vmax": 0.5}
    )
    assert display.ax_ is left
    assert left.images[0].get_clim() == (0, 0.5)
    assert left.images[0].cmap.name == "viridis"
    names = list("0123")
    record = record_of(shares(1, 2, 1, 4), ["cls"], names, ("cls", "time"))
    divided = AttentionDisplay(record, series=np.ones(4)).plot(
        right, artist_kw={"color": "red"}
    )
    assert divided.figure_ is left.figure
    assert divided.ax_.lines[0].get_color() == "red"
    assert not right.axison
    _, axes = plt.subplots(2)
    given = AttentionDisplay(record, series=np.ones(4)).plot(axes)
    assert_array_equal(given.axes_.ravel(), axes)
    with pytest.raises(ValueError, match="draws 2 panels here, but ax holds 3 axes"):
        AttentionDisplay(record, series=np.ones(4)).plot(plt.subplots(3)[1])
    loose = plt.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="no grid that could be divided"):
        AttentionDisplay(record, series=np.ones(4)).plot(loose)


# Errors


def test_errors_of_what_is_drawn():
    record = record_of(shares(2, 2, 1, 3), ["cls"], list("abc"), ("cls", "features"))
    timed = record_of(
        shares(2, 2, 1, 3), ["cls"], list("012"), ("cls", "time"), layer="steps"
    )
    with pytest.raises(ValueError, match="kind='pie' must be None or one of 'heatmap'"):
        AttentionDisplay(record, kind="pie").plot()
    message = (
        "kind='text' cannot draw layer 'blocks.1', self attention to features. These "
        "kinds can: 'heatmap', 'heads'.$"
    )
    with pytest.raises(ValueError, match=message):
        AttentionDisplay(record, kind="text").plot()
    with pytest.raises(ValueError, match="Or choose another layer: 'steps'"):
        AttentionDisplay([timed, record], kind="timeline").plot()
    with pytest.raises(IndexError, match="no sample 2: 2 were recorded"):
        AttentionDisplay(record, sample=2).plot()
    with pytest.raises(ValueError, match="no head 2: its 2 heads are numbered"):
        AttentionDisplay(record, head=2).plot()
    with pytest.raises(ValueError, match="no layer 'x': the architecture recorded"):
        AttentionDisplay(record, layer="x").plot()
    with pytest.raises(ValueError, match="no layer 4"):
        AttentionDisplay(record, layer=4).plot()
    with pytest.raises(ValueError, match="layer=None draws all layers"):
        AttentionDisplay(record, layer=None, kind="heatmap").plot()
    with pytest.raises(ValueError, match="all layers attend along the edges"):
        AttentionDisplay(ring(), layer=None).plot()
    with pytest.raises(ValueError, match="no head 2"):
        AttentionDisplay(ring(), head=2).plot()
    with pytest.raises(ValueError, match=r"records of shape \(1, 2, 3, 4\) are no"):
        AttentionDisplay(np.ones((1, 2, 3, 4))).plot()
    with pytest.raises(TypeError, match=r"got a Bunch with 'layers', 'records'\. Pass"):
        AttentionDisplay(Bunch(records=[record], layers=["blocks.1"])).plot()
    for display, maker in (
        (HeadImportanceDisplay, "head_importance"),
        (EntropyDisplay, "attention_entropy"),
        (FaithfulnessDisplay, "faithfulness"),
    ):
        with pytest.raises(TypeError, match=f"of {maker}; got a Bunch with 'records'"):
            display(Bunch(records=[record])).plot()
    with pytest.raises(ValueError, match="2 keys are named, but the weights have 3"):
        AttentionDisplay(shares(3), keys=["a", "b"]).plot()


def test_kinds_of_columns_that_are_called_tokens():
    axis = (Name("tokens"), Name("time"))
    record = record_of(shares(1, 1, 2, 2), list("ab"), list("ab"), ("time", axis))
    assert AttentionDisplay(record).plot().kind_ == "heatmap"
    with pytest.raises(ValueError, match="attention to inputs"):
        AttentionDisplay(record, kind="text").plot()


def test_extra_tokens_alone_are_named_from_first_to_last():
    axis = ("row", "neighbour 1", "neighbour 2")
    record = record_of(shares(1, 1, 1, 3), ["row"], list(axis), ("row", axis))
    label = AttentionDisplay(record).plot().ax_.get_xlabel()
    assert label == "keys (row to neighbour 2)"


@pytest.mark.parametrize(
    ("display", "name"),
    [
        (AttentionDisplay([0.5]), "AttentionDisplay"),
        (HeadImportanceDisplay(Bunch()), "HeadImportanceDisplay"),
        (EntropyDisplay(Bunch()), "EntropyDisplay"),
        (FaithfulnessDisplay(Bunch()), "FaithfulnessDisplay"),
    ],
)
def test_without_matplotlib(monkeypatch, display, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=rf"^{name}.plot.*pip install skattn\[plot\]"):
        display.plot()


def test_without_networkx(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match=r"networkx.*pip install skattn\[graph\]"):
        AttentionDisplay(ring()).plot()


# From estimators


def classifier(architecture=SMALL, **params):
    return AttentionClassifier(architecture, **{**OPTIONS, **params})


def test_a_table_is_drawn_row_by_row():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    clf = classifier().fit(X, X["a"] > 0)
    display = draw(clf, X, sample=-2, layer=0)
    expected = record_attention(clf, X)[0].weights[-2].mean(axis=0)
    assert_array_equal(display.ax_.images[0].get_array(), expected)
    assert [text.get_text() for text in ticks(display.ax_, "x")] == ["cls", "a", "b"]
    assert len(draw(clf, X).ax_.patches) == 3
    with pytest.raises(IndexError, match="no sample 30: X has 30"):
        draw(clf, X, sample=30)


def test_series_are_drawn_with_their_values():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(2, length)) for length in (9, 6) * 8]
    clf = classifier().fit(X, np.arange(16) % 2)
    display = draw(clf, X, sample=1)
    assert display.kind_ == "timeline"
    above, below = display.axes_.ravel()
    assert_array_equal(above.lines[1].get_ydata(), X[1][1])
    assert len(below.lines[0].get_xdata()) == 6
    record = record_attention(clf, X)[-1]
    mean = record.weights[1].mean(axis=0)[0, 1:7]
    assert_allclose(below.lines[0].get_ydata(), mean, atol=1e-6)


def test_a_panel_is_drawn_series_by_series():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 1, 8))
    clf = AttentionTimeSeriesClassifier(SMALL, **OPTIONS).fit(X, np.arange(12) % 2)
    index = pd.MultiIndex.from_product([range(12), range(8)])
    frame = pd.DataFrame({"value": X.ravel()}, index=index)
    for panel in (X, frame):
        display = draw(clf, panel, sample=5)
        assert_allclose(display.axes_[0, 0].lines[0].get_ydata(), X[5, 0])


def forecaster(architecture, **params):
    options = {"window_length": 12, "calibration": None, **OPTIONS, **params}
    return AttentionForecaster(architecture, **options)


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        (LSTMSeq2Seq(8), "timeline"),
        (TFT(8), "timeline"),
        (PatchTST(8, num_heads=2, num_layers=1, patch_length=4, stride=2), "patches"),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_a_forecaster_is_drawn_with_its_window(architecture, kind):
    y = load_airline()
    display = draw(forecaster(architecture).fit(y, fh=[1, 2]))
    assert display.kind_ == kind
    series = display.axes_[1 if kind == "patches" else 0, 0].lines[0]
    assert_array_equal(series.get_ydata(), y[-12:])
    assert num2date(series.get_xdata()[0]).strftime("%Y-%m") == "1960-01"
    assert "time" in display.axes_[-1, 0].get_xlabel()
    assert_readable(display)


def test_series_of_a_panel_of_forecasts():
    y = load_airline()
    panel = pd.concat({"a": y, "b": -y}, names=["series", "time"]).to_frame("y")
    fitted = forecaster(LSTMSeq2Seq(8)).fit(panel, fh=[1])
    display = draw(fitted, sample=1)
    assert_array_equal(display.axes_[0, 0].lines[0].get_ydata(), -y[-12:])
    assert_array_equal(display.ax_.lines[0].get_xdata(), np.arange(-11, 1))
    for sample in (2, -3):
        with pytest.raises(IndexError, match=f"no sample {sample}: 2 series"):
            draw(fitted, sample=sample)


def test_patches_beside_a_global_token():
    fitted = forecaster(TimeXer(8, 2, 1, patch_length=4)).fit(load_airline(), fh=[1])
    display = draw(fitted, layer="blocks.0", kind="patches")
    assert len(display.ax_.collections[0].get_paths()) == 3
    assert "not drawn: global" in display.axes_[1, 0].get_xlabel()
    with pytest.raises(ValueError, match=r"another layer: 'blocks\.0'"):
        draw(fitted, kind="patches")


TEXTS = ["one two. Three four? Five", "a b c", "good day sir. bye now"] * 6
LABELS = np.arange(18) % 2


def test_sentences_and_turns_are_lines():
    clf = classifier(HierarchicalAttention(d_model=8)).fit(TEXTS, LABELS)
    display = draw(clf, TEXTS)
    assert display.kind_ == "text"
    texts = display.ax_.texts
    words = ["one", "two", ".", "three", "four", "?", "five"]
    assert [text.get_text() for text in texts] == words
    heights = [text.get_position()[1] for text in texts]
    assert np.unique(heights, return_inverse=True)[1].tolist() == [0, 0, 0, 1, 1, 1, 2]
    ground, squares = (
        each for each in display.ax_.collections if isinstance(each, PatchCollection)
    )
    within, between = record_attention(clf, TEXTS[:1])
    assert_allclose(ground.get_array(), within.weights[0, 0].sum(axis=0))
    assert_allclose(squares.get_array(), between.weights[0, 0, 0])
    labels = {ax.get_xlabel() for ax in colour_bars(display)}
    assert labels == {"attention weight", "weight of the line"}
    assert_apart(texts)
    words_alone = draw(clf, TEXTS, layer="words")
    assert len(colour_bars(words_alone)) == 1


def test_the_second_text_of_a_pair_begins_a_line():
    pairs = list(zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True))
    encoder = TextEncoder(d_model=8, num_heads=2, num_layers=1)
    texts = draw(classifier(encoder).fit(pairs, LABELS), pairs, sample=1).ax_.texts
    assert [text.get_text() for text in texts][:6] == [
        "cls",
        "a",
        "b",
        "c",
        "separator",
        "good",
    ]
    assert [text.get_style() for text in texts][3:6] == ["normal", "italic", "normal"]
    heights = [text.get_position()[1] for text in texts]
    assert heights[3] < heights[4] == heights[5]
    aligned = draw(classifier(InteractiveAttention(8)).fit(pairs, LABELS), pairs)
    assert aligned.kind_ == "alignment"
    assert {aligned.ax_.get_xlabel(), aligned.ax_.get_ylabel()} == {
        "tokens",
        "other tokens",
    }


@pytest.mark.filterwarnings("ignore:.*translations were cut off:UserWarning")
def test_a_translation_is_aligned():
    fitted = AttentionTranslator(RNNSeq2Seq(8), **OPTIONS).fit(TEXTS, TEXTS)
    display = draw(fitted, TEXTS, sample=1)
    assert display.kind_ == "alignment"
    record = record_attention(fitted, TEXTS[1:2])[-1]
    labels = [text.get_text() for text in ticks(display.ax_, "x")]
    assert labels == record.keys[0]


def graphs():
    rng = np.random.default_rng(0)
    return [
        Graph.from_edges(
            [(f"a{node}", f"a{(node + 1) % n}") for node in range(n)],
            x=rng.normal(size=(n, 2)),
            nodes=[f"a{node}" for node in range(n)],
        )
        for n in (5, 7) * 6
    ]


def test_graphs_of_a_list():
    X = graphs()
    clf = classifier(GAT(8, num_heads=2)).fit(X, np.arange(12) % 2)
    pooled = draw(clf, X, sample=1)
    names = {f"a{node}" for node in range(7)}
    assert {text.get_text() for text in pooled.ax_.texts} == names
    assert len(arrows(pooled.ax_)) == 14
    labels = [ax.get_ylabel() for ax in colour_bars(pooled)]
    assert labels == ["attention weight of the node"]
    along = draw(clf, X, sample=0, layer=0)
    assert len(arrows(along.ax_)) == 10
    # The same from a record of all graphs.
    records = record_attention(clf, X)
    again = AttentionDisplay(records, sample=0, layer=0).plot()
    widths = [arrow.get_linewidth() for arrow in arrows(along.ax_)]
    expected = [arrow.get_linewidth() for arrow in arrows(again.ax_)]
    assert_allclose(widths, expected, rtol=1e-4)


def test_the_nodes_of_one_graph():
    club = nx.karate_club_graph()
    graph = Graph.from_edges(np.array(club.edges), x=np.eye(34))
    nodes = graph.nodes.reshape(-1, 1)
    clf = NodeClassifier(GAT(8, num_heads=2), graph=graph, **OPTIONS)
    clf.fit(nodes, np.arange(34) % 2)
    display = draw(clf, [[5], [11]], sample=1)
    assert display.ax_.get_title().startswith("node 11: ")
    assert {text.get_text() for text in display.ax_.texts} == {"0", "11"}
    assert draw(clf, sample=3).ax_.get_title().startswith("node 3: ")


# Importance, entropy, faithfulness


def heads_of(*counts):
    return [Head(f"b{i}", "self", h) for i, n in enumerate(counts) for h in range(n)]


@pytest.mark.parametrize("n_heads", [2, 250])
def test_importance_as_bars(n_heads):
    mean = np.random.default_rng(0).normal(size=2 * n_heads)
    result = Bunch(
        importances_mean=mean,
        importances_std=np.full(2 * n_heads, 0.1),
        heads=heads_of(n_heads, n_heads),
    )
    display = HeadImportanceDisplay(result, kind="bars").plot()
    assert_allclose([bar.get_height() for bar in display.ax_.patches], mean)
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["b0", "b1"]
    assert display.ax_.get_ylabel() == "importance"
    assert_apart(ticks(display.ax_, "x"))


def test_importance_as_a_heatmap():
    mean = np.array([0.3, -0.1, 0.2])
    result = Bunch(
        importances_mean=mean, importances_std=mean / 10, heads=heads_of(2, 1)
    )
    display = HeadImportanceDisplay(result, kind="heatmap").plot()
    (image,) = display.ax_.images
    assert_allclose(image.get_array().filled(9), [[0.3, -0.1], [0.2, 9]])
    assert image.get_clim() == (-0.3, 0.3)
    assert {text.get_text() for text in display.ax_.texts} >= {"0.30\n±0.03"}
    many = Bunch(
        importances_mean=np.ones(48),
        importances_std=np.ones(48),
        heads=heads_of(24, 24),
    )
    assert HeadImportanceDisplay(many).plot().ax_.images
    with pytest.raises(ValueError, match="kind='pie' must be None, 'bars' or"):
        HeadImportanceDisplay(result, kind="pie").plot()
    with pytest.raises(ValueError, match="kind='pie' must be None, 'bars' or"):
        EntropyDisplay(result, kind="pie").plot()


def test_entropy_of_layers_of_different_kinds():
    result = Bunch(
        layers=[("d", "self"), ("d", "cross")],
        mean=[np.array([0.5, 1.0]), np.array([0.2])],
        std=[np.array([0.1, 0.0]), np.array([0.1])],
    )
    display = EntropyDisplay(result, kind="heatmap").plot()
    (image,) = display.ax_.images
    assert image.get_clim() == (0, 1)
    assert_allclose(image.get_array().filled(9), [[0.5, 1.0], [0.2, 9]])
    labels = [text.get_text() for text in ticks(display.ax_, "y")]
    assert labels == ["d (self)", "d (cross)"]
    bars = EntropyDisplay(result).plot()
    assert_allclose([bar.get_height() for bar in bars.ax_.patches], [0.5, 1.0, 0.2])
    assert bars.ax_.get_ylim() == (0, 1)


def test_heads_of_an_estimator():
    X = np.random.default_rng(0).normal(size=(30, 3))
    y = (X[:, 0] > 0).astype(int)
    clf = classifier().fit(X, y)
    display = HeadImportanceDisplay.from_estimator(
        clf, X, y, n_repeats=2, random_state=0
    )
    expected = head_importance(clf, X, y, n_repeats=2, random_state=0)
    assert_array_equal(display.result.importances, expected.importances)
    heights = [bar.get_height() for bar in display.ax_.patches]
    assert_allclose(heights, expected.importances_mean)
    entropy = EntropyDisplay.from_estimator(clf, X, layers=[-1])
    expected = attention_entropy(clf, X, layers=[-1])
    heights = [bar.get_height() for bar in entropy.ax_.patches]
    assert_allclose(heights, expected.mean[0])


def faithful(*curves):
    rankings = ("explanation", "random", "permutation")
    return Bunch(
        fractions=np.linspace(0, 1, 5),
        curves={
            curve: {
                name: np.linspace(1, at / 10, 5) for at, name in enumerate(rankings)
            }
            for curve in curves
        },
        areas={
            curve: {name: at / 8 for at, name in enumerate(rankings)}
            for curve in curves
        },
        p_value=0.004,
        axis="features",
    )


def test_curves_stand_beside_their_baselines():
    result = faithful("deletion", "insertion")
    display = FaithfulnessDisplay(result).plot()
    assert display.axes_.shape == (2,)
    for ax, (curve, done) in zip(
        display.axes_, [("deletion", "hidden"), ("insertion", "shown")], strict=True
    ):
        for line, scores in zip(ax.lines, result.curves[curve].values(), strict=True):
            assert_array_equal(line.get_ydata(), scores)
        # Told apart without colours too.
        assert len({line.get_linestyle() for line in ax.lines}) == 3
        assert ax.get_xlabel() == f"fraction of features {done}"
        legend = ax.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == [
            "explanation, area 0.000",
            "random, area 0.125",
            "permutation, area 0.250",
        ]
        told = "p = 0.004, of both curves together"
        assert legend.get_title().get_text() == told
    assert display.ax_.get_ylabel() == "mean score"
    display.figure_.draw_without_rendering()
    for ax in display.axes_:
        legend = ax.get_legend().get_window_extent()
        assert not legend.overlaps(ax.get_window_extent())
        assert not legend.overlaps(ax.xaxis.label.get_window_extent())


def test_one_curve_on_given_axes():
    result = faithful("insertion")
    result.p_value = 0.0001
    _, ax = plt.subplots()
    display = FaithfulnessDisplay(result).plot(ax, artist_kw={"linewidth": 3})
    assert display.ax_ is ax
    assert {line.get_linewidth() for line in ax.lines} == {3}
    assert ax.get_legend().get_title().get_text() == "p < 0.001"


def test_faithfulness_of_an_estimator():
    X = np.random.default_rng(0).normal(size=(30, 3))
    y = (X[:, 0] > 0).astype(int)
    clf = classifier().fit(X, y)
    display = FaithfulnessDisplay.from_estimator(
        clf, X, y, X, n_steps=3, n_random=3, random_state=0
    )
    assert_array_equal(
        display.axes_[0].lines[0].get_ydata(),
        display.result.curves["deletion"]["explanation"],
    )
