"""Attention weights as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from skattn.inspection._display._view import (
    STEPS,
    TOKENS,
    View,
    axis_name,
    choose_head,
    kinds_of,
    look,
    require_matplotlib,
)
from skattn.inspection._record import (
    AttentionRecord,
    chosen_layers,
    weights_of,
)
from skattn.inspection._run import Subject, is_forecaster, last_step, subject_of

_WEIGHT = "attention weight"
_MOST_PANELS = 8  # in a row
_SHORT = 10  # characters of a label in a small panel


class AttentionDisplay:
    """Attention weights of one sample, drawn.

    It is recommended to use `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    records : AttentionRecord, list of AttentionRecord, or array-like
        As `skattn.inspection.attention_weights` returns them, in the order of
        computation; or numbers of shape (keys,), (queries, keys) or (heads, queries,
        keys), such as the importances of one sample; with `image`, (rows, columns).
    kind : {"heatmap", "heads", "timeline", "text", "patches", "graph", "alignment"}, \
default=None
        What is drawn of the layer:

        - ``"heatmap"``: queries and keys as an image; of a single query, bars;
        - ``"heads"``: a panel for each head, on one scale of colours;
        - ``"timeline"``: the mean over the queries along the time steps, below the
          series; patches as spans;
        - ``"text"``: the tokens on ground that is darker the larger their weights, a
          line for each sentence or turn where the architecture knows them;
        - ``"patches"``: the time steps of each patch above the series, or the patches
          of an image over it;
        - ``"graph"``: nodes and edges, self-loops as colours of nodes;
        - ``"alignment"``: what is written or forecast against what is read.

        None takes what suits the axes of the layer.
    sample : int, default=0
        Which sample is drawn.
    layer : int, str or None, default=-1
        Which record: its position in the order of computation, or its name, which
        takes the last of this name that `kind` can draw. None draws all, with
        ``kind="heads"``.
    head : int, default=None
        Which head; None draws the mean of all. The heads of groups follow one another.
    queries, keys : list of str, default=None
        Names, of an array. By default positions are numbered.
    series : array-like of shape (n_steps,) or (channels, n_steps), default=None
        Values that are drawn above ``"timeline"`` and below ``"patches"``.
    times : list of str, default=None
        Names of the time steps, where the keys do not name them, as patches.
    image : array-like of shape (height, width) or (height, width, 3), default=None
        Below the weights of ``"patches"`` that are an array of shape (rows, columns).
    segments : array-like of int of shape (n_keys,), default=None
        The line that each token is on, with ``"text"``. By default as the record has
        them, or all on one, which is wrapped.
    node : str, default=None
        Name of the node whose neighbourhood of two hops is drawn with ``"graph"``; None
        draws the whole graph.
    max_edges : int, default=100
        How many edges are drawn, the ones nearest to `node` and of largest weights.

    Attributes
    ----------
    kind_ : str
        What was drawn.
    axes_ : ndarray of matplotlib Axes
        All panels.
    ax_ : matplotlib Axes
        The one that shows the weights; the first one of ``"heads"``.
    figure_ : matplotlib Figure
        Theirs.

    See Also
    --------
    AttentionDisplay.from_estimator : Record the weights, and draw them.
    attention_weights : The numbers.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from skattn.inspection import AttentionDisplay
    >>> display = AttentionDisplay(
    ...     [[0.1, 0.7, 0.2]], keys=["a", "good", "film"], kind="text"
    ... ).plot()
    >>> [word.get_text() for word in display.ax_.texts]
    ['a', 'good', 'film']
    >>> matplotlib.pyplot.close(display.figure_)
    """

    def __init__(
        self,
        records: Any,
        *,
        kind: str | None = None,
        sample: int = 0,
        layer: int | str | None = -1,
        head: int | None = None,
        queries: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        series: Any = None,
        times: Sequence[str] | None = None,
        image: Any = None,
        segments: Any = None,
        node: str | None = None,
        max_edges: int = 100,
    ) -> None:
        self.records = records
        self.kind = kind
        self.sample = sample
        self.layer = layer
        self.head = head
        self.queries = queries
        self.keys = keys
        self.series = series
        self.times = times
        self.image = image
        self.segments = segments
        self.node = node
        self.max_edges = max_edges

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        kind: str | None = None,
        sample: int = 0,
        layer: int | str | None = -1,
        head: int | None = None,
        max_edges: int = 100,
        ax: Any = None,
        artist_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Record the attention of one sample, and draw it.

        Parameters
        ----------
        estimator : estimator
            A fitted skattn estimator, or a Pipeline or search that ends in one.
        X : array-like, DataFrame, list or panel, default=None
            Samples, as for ``predict``. A forecaster takes None, or the covariates of
            the steps to forecast; of a node estimator, ids, or None for all nodes.
        kind : str, default=None
            What is drawn; see the class.
        sample : int, default=0
            Which row of `X`; of a forecaster, which series; of a node estimator, which
            of the ids: its neighbourhood is drawn. The class draws whole graphs, of
            ``attention_weights(estimator).records``.
        layer : int, str or None, default=-1
            Which layer; see the class.
        head : int, default=None
            Which head; None draws the mean of all.
        max_edges : int, default=100
            How many edges of a graph are drawn.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; see `plot`.
        artist_kw : dict, default=None
            For the artists; see `plot`.

        Returns
        -------
        display : AttentionDisplay
            With ``ax_``, ``axes_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed, or networkx, which ``"graph"`` needs.
        IndexError
            If there is no such sample.
        TypeError
            If the estimator is none of skattn's with attention.
        NotFittedError
            If it is not fitted.
        ValueError
            If there is no such layer or head, or `kind` cannot draw it.

        Examples
        --------
        >>> import matplotlib
        >>> matplotlib.use("Agg")
        >>> from sklearn.datasets import load_iris
        >>> import skattn
        >>> from skattn.inspection import AttentionDisplay
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> clf = skattn.AttentionClassifier(max_epochs=1, random_state=0).fit(X, y)
        >>> display = AttentionDisplay.from_estimator(clf, X, sample=3)
        >>> display.kind_, len(display.ax_.patches)
        ('heatmap', 5)
        >>> matplotlib.pyplot.close(display.figure_)
        """
        require_matplotlib("AttentionDisplay.from_estimator")
        last, _ = last_step(estimator, None)
        node = None
        if hasattr(last, "graph"):
            ids = last._encoder.graph.nodes.reshape(-1, 1) if X is None else X
            X, sample = _row(ids, sample), 0
            node = str(np.asarray(X).ravel()[0])
        elif X is not None and not is_forecaster(last):
            X, sample = _row(X, sample), 0
        subject = subject_of(estimator, X, "AttentionDisplay.from_estimator")
        display = cls(
            _with_nodes(weights_of(subject), subject),
            kind=kind,
            sample=sample,
            layer=layer,
            head=head,
            series=_series_of(subject, sample),
            times=subject.name_axis("time"),
            node=node,
            max_edges=max_edges,
        )
        display._sizes = _sizes_of(subject, sample)
        return display.plot(ax, artist_kw=artist_kw)

    _sizes: dict[str, int] = {}

    def plot(self, ax: Any = None, *, artist_kw: dict[str, Any] | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw. A single one is divided where there are several panels; an
            array has one for each panel. None makes a figure.
        artist_kw : dict, default=None
            For the artists that show the weights: ``imshow`` of ``"heatmap"``,
            ``"heads"``, ``"alignment"`` and of images; ``bar`` where there is one
            query, and of patches in ``"timeline"``; ``plot`` of ``"timeline"``; the
            texts of ``"text"``; the rectangles of ``"patches"``; networkx's
            ``draw_networkx_edges`` of ``"graph"``.

        Returns
        -------
        display : AttentionDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed, or networkx, which ``"graph"`` needs.
        IndexError
            If there is no such sample.
        TypeError
            If `records` are neither records nor numbers.
        ValueError
            If there is no such layer or head, `kind` cannot draw it, or `ax` does not
            hold as many axes as there are panels.
        """
        require_matplotlib("AttentionDisplay.plot")
        records = self._records()
        kind, chosen = self._choose(records)
        draw: dict[str, Callable[..., np.ndarray]] = {
            "heatmap": self._draw_heatmap,
            "heads": self._draw_heads,
            "timeline": self._draw_timeline,
            "text": self._draw_text,
            "patches": self._draw_patches,
            "graph": self._draw_graph,
            "alignment": self._draw_alignment,
        }
        self._every = records
        self.kind_ = kind
        self.axes_ = draw[kind](chosen, ax, dict(artist_kw or {}))
        main = 1 if kind in ("timeline", "patches") and self.axes_.size > 1 else 0
        self.ax_ = self.axes_.ravel()[0 if kind == "patches" else main]
        self.figure_ = self.ax_.get_figure(root=True)
        return self

    # What is drawn

    def _records(self) -> list[AttentionRecord]:
        if isinstance(self.records, AttentionRecord):
            return [self.records]
        is_list = isinstance(self.records, Sequence) and len(self.records) > 0
        if is_list and isinstance(self.records[0], AttentionRecord):
            return list(self.records)
        if isinstance(self.records, dict):
            found = ", ".join(map(repr, sorted(self.records)))
            raise TypeError(
                "AttentionDisplay draws records or an array; got a "
                f"{type(self.records).__name__} with {found}. Pass its records, or a "
                "row of its importances."
            )
        weights = np.asarray(self.records, dtype=np.float64)
        if not 1 <= weights.ndim <= 3 or not weights.size:
            raise ValueError(
                f"records of shape {weights.shape} are no attention weights. Pass "
                "records, or an array of shape (keys,), (queries, keys) or (heads, "
                "queries, keys) that is not empty."
            )
        weights = weights.reshape((1,) * (4 - weights.ndim) + weights.shape)
        names = []
        for given, count, axis in (
            (self.queries, weights.shape[2], "queries"),
            (self.keys, weights.shape[3], "keys"),
        ):
            names.append(
                [str(number) for number in range(count)]
                if given is None
                else [str(name) for name in given]
            )
            if len(names[-1]) != count:
                raise ValueError(
                    f"{len(names[-1])} {axis} are named, but the weights have {count}."
                )
        return [AttentionRecord("", "", weights, names[0], names[1])]

    def _choose(
        self, records: list[AttentionRecord]
    ) -> tuple[str, list[AttentionRecord]]:
        """Find the kind and the records that are drawn."""
        has_image = self.image is not None
        if self.kind is not None and self.kind not in _KINDS:
            raise ValueError(
                f"kind={self.kind!r} must be None or one of "
                f"{', '.join(map(repr, _KINDS))}."
            )
        if self.layer is None:
            if self.kind not in (None, "heads"):
                raise ValueError(
                    f"layer=None draws all layers, which kind={self.kind!r} cannot: "
                    "choose one, or kind='heads'."
                )
            chosen = [record for record in records if "heads" in kinds_of(record)]
            if not chosen:
                raise ValueError(
                    "kind='heads' draws queries and keys, but all layers attend along "
                    "the edges of a graph: choose kind='graph' and a layer."
                )
            return "heads", chosen
        named = [records[number] for number in chosen_layers(records, self.layer)]
        if self.kind is None:
            return kinds_of(named[-1], has_image)[0], named[-1:]
        able = [record for record in named if self.kind in kinds_of(record, has_image)]
        if not able:
            record = named[-1]
            works = ", ".join(map(repr, kinds_of(record, has_image)))
            message = (
                f"kind={self.kind!r} cannot draw layer {record.layer!r}, {record.kind} "
                f"attention to {axis_name(record.key_axis) or 'unnamed keys'}. "
                f"These kinds can: {works}."
            )
            others = [r.layer for r in records if self.kind in kinds_of(r, has_image)]
            if others:
                found = ", ".join(map(repr, dict.fromkeys(others)))
                message += f" Or choose another layer: {found}."
            raise ValueError(message)
        return self.kind, able[-1:]

    def _view(self, record: AttentionRecord, head: int | None = None) -> View:
        return look(
            record, self.sample, self.head if head is None else head, self._sizes
        )

    # One method for each kind

    def _draw_heatmap(self, chosen: Any, ax: Any, artist_kw: Any) -> np.ndarray:
        from skattn.inspection._display._axes import draw_bars, draw_matrix, make_axes

        view = self._view(chosen[0])
        axes = make_axes(ax, figsize=(6.4, 4.8), caller="kind='heatmap'")
        ax = axes[0, 0]
        matrix = view.matrix
        keys = f"keys ({_or_positions(chosen[0].key_axis)})"
        ax.set_title(view.title, fontsize=10)
        ax.set_xlabel(keys)
        if len(view.queries) == 1:
            heights = matrix.filled(0)[0]
            draw_bars(ax, heights, view.keys, artist_kw)
            ax.set_ylabel(_weight_label(chosen[0]))
            return axes
        image = draw_matrix(ax, matrix, view.queries, view.keys, artist_kw)
        ax.set_ylabel(f"queries ({_or_positions(chosen[0].query_axis)})")
        _color_bar(image, ax, chosen[0], matrix)
        return axes

    def _draw_heads(self, chosen: Any, ax: Any, artist_kw: Any) -> np.ndarray:
        from skattn.inspection._display._axes import (
            beyond,
            brightest,
            draw_bars,
            draw_matrix,
            figure_of,
            make_axes,
            pool,
        )

        rows = [self._heads_of(record) for record in chosen]
        n_columns = _columns([len(row) for row in rows])
        lines = [
            row[start : start + n_columns]
            for row in rows
            for start in range(0, len(row), n_columns)
        ]
        size = (max(1.9 * n_columns + 1.2, 4.2), 2.0 * len(lines) + 1.0)
        axes = make_axes(ax, len(lines), n_columns, figsize=size, caller="kind='heads'")
        every = [view for row in rows for view, _ in row]
        single = [view.matrix for view in every if len(view.queries) == 1]
        several = [pool(view.matrix) for view in every if len(view.queries) > 1]
        highest = max((float(matrix.max()) for matrix in single), default=1.0)
        options = {"vmax": max(map(brightest, several), default=1.0), **artist_kw}
        images, extends = [], set()
        for number, line in enumerate(lines):
            last = number + 1 == len(lines) or lines[number + 1][0][0].record is not (
                line[0][0].record
            )
            for column, panel in enumerate(axes[number]):
                if column >= len(line):
                    panel.set_axis_off()
                    continue
                view, title = line[column]
                panel.set_title(title, fontsize=9)
                if len(view.queries) == 1:
                    heights = view.matrix.filled(0)[0]
                    draw_bars(panel, heights, view.keys, artist_kw, _SHORT)
                    panel.set_ylim(0, 1.05 * highest or 1)
                    label = _weight_label(view.record)
                else:
                    image = draw_matrix(
                        panel, view.matrix, view.queries, view.keys, options, _SHORT
                    )
                    images.append(image)
                    extends.add(beyond(view.matrix, image))
                    label = "queries"
                panel.set_ylabel(label if column == 0 else "")
                panel.tick_params(labelleft=column == 0, labelbottom=last)
                panel.set_xlabel("keys" if last else "")
        record = chosen[0]
        figure = figure_of(axes[0, 0])
        if images:
            figure.colorbar(
                images[0],
                ax=axes.ravel().tolist(),
                label=_weight_label(record),
                extend="max" if "max" in extends else "neither",
            )
        if len(chosen) == 1 and ax is None and record.layer:
            figure.suptitle(f"{record.layer}, {record.kind} attention", fontsize=10)
        return axes

    def _heads_of(self, record: AttentionRecord) -> list[tuple[View, str]]:
        """Give a view and a title of each head."""
        n_heads = record.weights.shape[1]
        cut = record.of(self.sample)
        found = []
        for head in range(n_heads) if self.head is None else [self.head]:
            view = replace(self._view(record, head), record=cut)
            title = view.heads
            if self.layer is None:
                title = f"{record.layer} ({record.kind})\n{title}"
            found.append((view, title))
        return found

    def _draw_timeline(self, chosen: Any, ax: Any, artist_kw: Any) -> np.ndarray:
        from skattn.inspection._display._axes import COLORS, make_axes
        from skattn.inspection._display._lines import (
            beside,
            draw_series,
            draw_spans,
            draw_steps,
            part_label,
            spans_of,
            time_axis,
        )

        view = self._view(chosen[0])
        part = _patches_of(view)
        series = self._values()
        axes = make_axes(
            ax,
            1 if series is None else 2,
            figsize=(7.2, 2.8 if series is None else 4.2),
            caller="kind='timeline'",
            sharex=True,
        )
        below = axes[-1, 0]
        if part is not None:
            times = time_axis(self._steps(view, part))
            draw_spans(below, spans_of(view, part, times), artist_kw)
            shown, past, drawn = np.arange(len(times.x)), times, [part]
        else:
            drawn = [each for each in dict.fromkeys(view.key_parts) if each in STEPS]
            drawn = drawn or list(dict.fromkeys(view.key_parts))
            is_step = np.array([each in drawn for each in view.key_parts])
            names = [key for key, keep in zip(view.keys, is_step, strict=True) if keep]
            numbers = view.key_numbers[is_step]
            if self.times is not None and view.record.key_axis == ():
                names = [self.times[number] for number in numbers]
            times = time_axis(names)
            draw_steps(below, times, view.by_head[:, is_step], artist_kw)
            future = np.array([each == "horizon" for each in view.key_parts])[is_step]
            shown, past = numbers[~future], times._replace(x=times.x[~future])
            if future.any() and not future.all():
                below.axvline(
                    times.x[future][0] - times.step / 2,
                    color=COLORS[-1],
                    linestyle=":",
                    linewidth=1,
                    label="start of the forecast",
                )
                beside(below)
        times.label(below)
        if note := part_label(view.key_parts, view.by_head.mean(axis=0), drawn):
            below.set_xlabel(f"{below.get_xlabel()}  ({note})")
        if series is not None:
            draw_series(axes[0, 0], past, series[:, shown])
        n_queries = len(view.queries)
        over = f", mean of {n_queries} queries" if n_queries > 1 else ""
        axes[0, 0].set_title(view.title + over, fontsize=10)
        return axes

    def _draw_patches(self, chosen: Any, ax: Any, artist_kw: Any) -> np.ndarray:
        from skattn.inspection._display._axes import make_axes
        from skattn.inspection._display._lines import (
            draw_grid,
            draw_lanes,
            draw_series,
            part_label,
            spans_of,
            time_axis,
        )

        if self.image is not None:
            return self._draw_image(chosen[0], ax, artist_kw, make_axes, draw_grid)
        view = self._view(chosen[0])
        part = _patches_of(view)
        times = time_axis(self._steps(view, part))
        spans = spans_of(view, part, times)
        series = self._values()
        several = series is not None
        high = 0.35 + 0.22 * spans.lanes
        axes = make_axes(
            ax,
            2 if several else 1,
            figsize=(7.2, high + (2.8 if several else 1.0)),
            caller="kind='patches'",
            height_ratios=[high, 2.2] if several else None,
            sharex=True,
        )
        drawn = draw_lanes(axes[0, 0], spans, artist_kw)
        if series is not None:
            draw_series(axes[1, 0], times, series)
        times.label(axes[-1, 0])
        note = part_label(view.key_parts, view.by_head.mean(axis=0), [part])
        if note:
            axes[-1, 0].set_xlabel(f"{axes[-1, 0].get_xlabel()}  ({note})")
        n_queries = len(view.queries)
        over = f", mean of {n_queries} queries" if n_queries > 1 else ""
        axes[0, 0].set_title(view.title + over, fontsize=10)
        axes[0, 0].get_figure(root=True).colorbar(
            drawn, ax=axes.ravel().tolist(), label=f"{_WEIGHT} of a patch"
        )
        return axes

    def _draw_image(
        self, record: Any, ax: Any, artist_kw: Any, make_axes: Any, draw_grid: Any
    ) -> np.ndarray:
        image = np.asarray(self.image)
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(
                f"image of shape {image.shape} must be (height, width) or (height, "
                "width, 3)."
            )
        view = self._view(record)
        axes = make_axes(ax, figsize=(5.2, 4.4), caller="kind='patches'")
        drawn = draw_grid(axes[0, 0], image, view.matrix, artist_kw)
        axes[0, 0].get_figure(root=True).colorbar(
            drawn, ax=axes[0, 0], label=f"{_WEIGHT} of a patch", shrink=0.8
        )
        return axes

    def _draw_text(self, chosen: Any, ax: Any, artist_kw: Any) -> np.ndarray:
        from skattn.inspection._display._axes import make_axes
        from skattn.inspection._display._words import Words, draw_words

        record, line_weights = chosen[0], None
        segmented = [
            each
            for each in self._every
            if each.query_axis == "segments" and each.key_axis in TOKENS
        ]
        if record.key_axis == "segments" and segmented:
            over, record = self._view(record), segmented[-1]
            line_weights = over.matrix.filled(0).mean(axis=0)
        view = self._view(record)
        weights = view.matrix.filled(0)
        lines = self._lines(view)
        if record.query_axis == "segments":
            # Each sentence attends to its own tokens.
            lines = np.asarray(view.allowed[0].argmax(axis=0))
            weights = weights.sum(axis=0)
        else:
            weights = weights.mean(axis=0)
        tokens = (*TOKENS, "segments", "")
        words = Words(
            view.keys,
            weights,
            np.array([part not in tokens for part in view.key_parts]),
            lines,
            line_weights,
        )
        axes = make_axes(ax, figsize=(7.2, 2.0), caller="kind='text'")
        n_queries = len(view.queries)
        title = view.title
        if n_queries > 1 and record.query_axis != "segments":
            title += f", mean of {n_queries} queries"
        panel = axes[0, 0]
        panel.set_title(title, fontsize=10)
        left_out = draw_words(panel, words, ax is None, artist_kw)
        if left_out:
            panel.set_title(f"{title}\nlast {left_out} tokens left out", fontsize=10)
        return axes

    def _lines(self, view: View) -> np.ndarray:
        """Tell which line each token is on."""
        if self.segments is not None:
            segments = np.asarray(self.segments)
            if segments.shape != (len(view.keys),):
                raise ValueError(
                    f"segments of shape {segments.shape} must be one number for each "
                    f"of the {len(view.keys)} tokens."
                )
            return segments
        # The second text of a pair begins a line.
        return np.cumsum([part == "separator" for part in view.key_parts])

    def _draw_graph(self, chosen: Any, ax: Any, artist_kw: Any) -> np.ndarray:
        from skattn.inspection._display._axes import make_axes
        from skattn.inspection._display._network import draw_graph, neighbourhood

        record = chosen[0]
        one = record.of(self.sample)
        weights, heads = choose_head(one, one.weights.T, self.head)
        alpha = weights.mean(axis=0)
        is_only = record.sample is None or not record.sample.any()
        n_nodes = len(one.keys) if is_only else int(one.edge_index[0].max()) + 1
        names = one.keys
        node = None
        if self.node is not None:
            if self.node not in names:
                raise ValueError(
                    f"There is no node {self.node!r}: the graph has {len(names)}, such "
                    f"as {names[0]!r}."
                )
            node = names.index(self.node)
        labels = (f"{_WEIGHT} along the edge", f"{_WEIGHT} to itself")
        if one.kind == "edge":
            drawn = neighbourhood(one.edge_index, alpha, n_nodes, node, self.max_edges)
        else:
            edges = [each for each in self._every if each.kind == "edge"]
            place: Any = np.zeros((2, 0), dtype=np.int64)
            if edges:
                place = edges[-1].of(self.sample).edge_index
            share = np.bincount(one.edge_index[0], alpha, minlength=n_nodes)
            drawn = neighbourhood(
                place, np.ones(place.shape[1]), n_nodes, node, self.max_edges
            )
            drawn = drawn._replace(weights=None, node_weights=share[drawn.nodes])
            labels = ("", f"{_WEIGHT} of the node")
        axes = make_axes(ax, figsize=(7.2, 5.4), caller="kind='graph'")
        draw_graph(axes[0, 0], drawn, names, node, labels, artist_kw)
        title = f"{one.layer}, {one.kind} attention" if one.layer else ""
        title = ", ".join(filter(None, (title, heads)))
        if node is not None:
            title = f"node {names[node]}: {title}"
        axes[0, 0].set_title("\n".join(filter(None, (title, drawn.note))), fontsize=10)
        return axes

    def _draw_alignment(self, chosen: Any, ax: Any, artist_kw: Any) -> np.ndarray:
        from skattn.inspection._display._axes import draw_matrix, make_axes

        view = self._view(chosen[0])
        matrix = view.matrix
        n_queries, n_keys = matrix.shape
        size = (
            float(np.clip(0.3 * n_keys + 2.2, 4.0, 9.0)),
            float(np.clip(0.3 * n_queries + 1.6, 3.2, 9.0)),
        )
        axes = make_axes(ax, figsize=size, caller="kind='alignment'")
        panel = axes[0, 0]
        image = draw_matrix(panel, matrix, view.queries, view.keys, artist_kw)
        # Read as a text is: the source above, its translation down the side.
        panel.xaxis.tick_top()
        panel.xaxis.set_label_position("top")
        panel.set_xlabel(_or_positions(chosen[0].key_axis))
        panel.set_ylabel(_or_positions(chosen[0].query_axis))
        if ax is None and view.title:
            panel.get_figure(root=True).suptitle(view.title, fontsize=10)
        _color_bar(image, panel, chosen[0], matrix)
        return axes

    # What is drawn beside the weights

    def _values(self) -> np.ndarray | None:
        if self.series is None:
            return None
        return np.atleast_2d(np.asarray(self.series, dtype=np.float64))

    def _steps(self, view: View, part: Any) -> list[str]:
        """Name the time steps below patches."""
        if self.times is not None:
            return list(self.times)
        series = self._values()
        count = int(view.key_numbers.max()) * part.stride + part.length
        return list(map(str, range(count if series is None else series.shape[1])))


_KINDS = ("heatmap", "heads", "timeline", "text", "patches", "graph", "alignment")


def _columns(counts: list[int]) -> int:
    """Choose how many panels are side by side: few places stay empty."""
    if len(counts) > 1 or counts[0] <= 4:
        return min(max(counts), _MOST_PANELS)
    return min(range(6, 2, -1), key=lambda columns: -counts[0] % columns)


def _patches_of(view: View) -> Any:
    from skattn.nn import Patches

    return next((part for part in view.key_parts if isinstance(part, Patches)), None)


def _or_positions(axis: Any) -> str:
    return axis_name(axis) or "positions"


def _weight_label(record: AttentionRecord) -> str:
    return _WEIGHT if record.normalised else "attention score"


def _color_bar(
    image: Any, ax: Any, record: AttentionRecord, matrix: np.ma.MaskedArray
) -> None:
    from skattn.inspection._display._axes import beyond, figure_of

    label = _weight_label(record)
    if np.ma.getmaskarray(matrix).any():
        label += " (grey: may not attend)"
    figure_of(ax).colorbar(image, ax=ax, label=label, extend=beyond(matrix, image))


def _row(X: Any, sample: int) -> Any:
    """Take one sample, so that only its weights are kept."""
    levels = getattr(getattr(X, "index", None), "nlevels", 1)
    if levels > 1:  # a panel
        instances = X.index.droplevel(-1).unique()
        count = len(instances)
    else:
        count = _num_samples(X)
    if not -count <= sample < count:
        raise IndexError(f"There is no sample {sample}: X has {count}.")
    number = range(count)[sample]
    if levels > 1:
        return X[X.index.droplevel(-1) == instances[number]]
    return _safe_indexing(X, [number])


def _with_nodes(
    records: list[AttentionRecord], subject: Subject
) -> list[AttentionRecord]:
    """Name the nodes of a graph from a list."""
    graph: Any = subject.X[0] if isinstance(subject.X, (list, np.ndarray)) else None
    if not hasattr(graph, "edge_index"):
        return records
    names = list(map(str, graph.nodes))
    return [
        replace(record, keys=names, queries=names if record.kind == "edge" else ["0"])
        if record.edge_index is not None
        else record
        for record in records
    ]


def _series_of(subject: Subject, sample: int) -> np.ndarray | None:
    """Find the values of the sample, where it is a series."""
    estimator = subject.estimator
    if is_forecaster(estimator):
        memories = list(estimator._memories.values())
        if not -len(memories) <= sample < len(memories):
            raise IndexError(
                f"There is no sample {sample}: {len(memories)} series were fitted."
            )
        y = memories[sample].y
        values = y.to_numpy(dtype=np.float64).T
        n_steps = len(subject.name_axis("time") or [])
        before = max(n_steps - values.shape[1], 0)
        values = values[:, max(values.shape[1] - n_steps, 0) :]
        return np.pad(values, ((0, 0), (before, 0)), constant_values=np.nan)
    if subject.name_axis("time") is None:
        return None
    X = subject.X
    if hasattr(X, "to_numpy"):  # a panel, of one series here
        return X.to_numpy(dtype=np.float64).T
    one = X[0]
    return one.to_numpy().T if hasattr(one, "to_numpy") else np.asarray(one)


def _sizes_of(subject: Subject, sample: int) -> dict[str, int]:
    """Count the positions along the long axes."""
    sizes = {}
    for axis in (*TOKENS, *STEPS):
        names = subject.name_axis(axis)
        if names:
            own = names[sample] if isinstance(names[0], list) else names
            sizes[axis] = len(own)
    return sizes
