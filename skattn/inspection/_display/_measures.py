"""Importance of heads, faithfulness and entropy as figures."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skattn.inspection._display._view import require_matplotlib


class HeadImportanceDisplay:
    """Importance of attention heads, drawn.

    It is recommended to use `from_estimator`.

    Parameters
    ----------
    result : Bunch
        As `skattn.inspection.head_importance` returns it.
    kind : {"bars", "heatmap"}, default=None
        Bars with the standard deviation, or layers against heads in colours. None takes
        bars for up to 40 heads.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    head_importance : The numbers.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from skattn.inspection import Head, HeadImportanceDisplay
    >>> result = Bunch(
    ...     importances_mean=np.array([0.2, 0.05]),
    ...     importances_std=np.array([0.02, 0.01]),
    ...     heads=[Head("blocks.0", "self", 0), Head("blocks.0", "self", 1)],
    ... )
    >>> display = HeadImportanceDisplay(result).plot()
    >>> len(display.ax_.patches)
    2
    >>> matplotlib.pyplot.close(display.figure_)
    """

    def __init__(self, result: Any, *, kind: str | None = None) -> None:
        self.result = result
        self.kind = kind

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        method: str = "ablate",
        n_repeats: int = 5,
        scoring: Any = None,
        random_state: Any = None,
        kind: str | None = None,
        ax: Any = None,
        artist_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Measure the importance of heads, and draw it.

        Parameters
        ----------
        estimator : estimator
            As for `head_importance`, like the next parameters.
        X : array-like, DataFrame, list or panel
            Samples that are scored.
        y : array-like or list
            Their targets.
        method : {"ablate", "gradient", "permute"}, default="ablate"
            How importance is measured.
        n_repeats : int, default=5
            How many draws, permutations or parts.
        scoring : str, callable or None, default=None
            What falls without a head.
        random_state : int, RandomState or None, default=None
            Of the draws.
        kind : {"bars", "heatmap"}, default=None
            See the class.
        ax : matplotlib Axes, default=None
            Where to draw.
        artist_kw : dict, default=None
            For the artists; see `plot`.

        Returns
        -------
        display : HeadImportanceDisplay
            With ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If the estimator is none of skattn's with attention.
        NotFittedError
            If it is not fitted.
        ValueError
            As `head_importance`.
        """
        require_matplotlib("HeadImportanceDisplay.from_estimator")
        from skattn.inspection._heads import head_importance

        result = head_importance(
            estimator,
            X,
            y,
            method=method,
            n_repeats=n_repeats,
            scoring=scoring,
            random_state=random_state,
        )
        return cls(result, kind=kind).plot(ax, artist_kw=artist_kw)

    def plot(self, ax: Any = None, *, artist_kw: dict[str, Any] | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        artist_kw : dict, default=None
            For ``bar`` or ``imshow``.

        Returns
        -------
        display : HeadImportanceDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `result` is another one.
        ValueError
            If there is no such `kind`.
        """
        require_matplotlib("HeadImportanceDisplay.plot")
        _check_kind(self.kind)
        _check_result(self.result, ("heads", "importances_mean"), "head_importance")
        heads = self.result.heads
        rows = [(head.layer, head.kind) for head in heads]
        columns = [head.head for head in heads]
        _plot_heads(
            self,
            rows,
            columns,
            np.asarray(self.result.importances_mean),
            np.asarray(self.result.importances_std),
            "importance",
            None,
            ax,
            artist_kw,
        )
        return self


class EntropyDisplay:
    """Entropy of attention heads, drawn.

    It is recommended to use `from_estimator`.

    Parameters
    ----------
    result : Bunch
        As `skattn.inspection.attention_entropy` returns it.
    kind : {"bars", "heatmap"}, default=None
        Bars with the standard deviation over samples and queries, or layers against
        heads in colours. None takes bars for up to 40 heads.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    attention_entropy : The numbers.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from skattn.inspection import EntropyDisplay
    >>> result = Bunch(
    ...     layers=[("blocks.0", "self")],
    ...     mean=[np.array([0.9, 0.4])],
    ...     std=[np.array([0.1, 0.2])],
    ... )
    >>> display = EntropyDisplay(result).plot()
    >>> display.ax_.get_ylabel()
    'entropy (1: spread evenly)'
    >>> matplotlib.pyplot.close(display.figure_)
    """

    def __init__(self, result: Any, *, kind: str | None = None) -> None:
        self.result = result
        self.kind = kind

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        layers: Any = None,
        kind: str | None = None,
        ax: Any = None,
        artist_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Measure entropy, and draw it.

        Parameters
        ----------
        estimator : estimator
            As for `attention_entropy`, like the next parameters.
        X : array-like, DataFrame, list or panel, default=None
            Samples.
        layers : str, int, or sequence of them, default=None
            Which layers.
        kind : {"bars", "heatmap"}, default=None
            See the class.
        ax : matplotlib Axes, default=None
            Where to draw.
        artist_kw : dict, default=None
            For the artists; see `plot`.

        Returns
        -------
        display : EntropyDisplay
            With ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If the estimator is none of skattn's with attention.
        NotFittedError
            If it is not fitted.
        ValueError
            As `attention_entropy`.
        """
        require_matplotlib("EntropyDisplay.from_estimator")
        from skattn.inspection._statistics import attention_entropy

        result = attention_entropy(estimator, X, layers=layers)
        return cls(result, kind=kind).plot(ax, artist_kw=artist_kw)

    def plot(self, ax: Any = None, *, artist_kw: dict[str, Any] | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        artist_kw : dict, default=None
            For ``bar`` or ``imshow``.

        Returns
        -------
        display : EntropyDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `result` is another one.
        ValueError
            If there is no such `kind`.
        """
        require_matplotlib("EntropyDisplay.plot")
        _check_kind(self.kind)
        _check_result(self.result, ("layers", "mean", "std"), "attention_entropy")
        rows: list[tuple[str, str]] = []
        columns: list[int] = []
        for (layer, kind), mean in zip(
            self.result.layers, self.result.mean, strict=True
        ):
            rows += [(layer, kind)] * len(mean)
            columns += range(len(mean))
        _plot_heads(
            self,
            rows,
            columns,
            np.concatenate(self.result.mean),
            np.concatenate(self.result.std),
            "entropy (1: spread evenly)",
            (0.0, 1.0),
            ax,
            artist_kw,
        )
        return self


class FaithfulnessDisplay:
    """Curves of deletion and insertion, drawn.

    It is recommended to use `from_estimator`.

    Parameters
    ----------
    result : Bunch
        As `skattn.inspection.faithfulness` returns it.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One panel for each curve.
    ax_ : matplotlib Axes
        The first one.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    faithfulness : The numbers.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from skattn.inspection import FaithfulnessDisplay
    >>> result = Bunch(
    ...     fractions=np.array([0.0, 0.5, 1.0]),
    ...     curves={"deletion": {"explanation": np.array([0.9, 0.6, 0.5])}},
    ...     areas={"deletion": {"explanation": 0.65}},
    ...     p_value=0.01,
    ...     axis="tokens",
    ... )
    >>> display = FaithfulnessDisplay(result).plot()
    >>> display.ax_.get_xlabel()
    'fraction of tokens hidden'
    >>> matplotlib.pyplot.close(display.figure_)
    """

    def __init__(self, result: Any) -> None:
        self.result = result

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        explanation: Any,
        *,
        perturb: str = "auto",
        n_steps: int = 10,
        n_random: int | None = None,
        background: Any = None,
        scoring: Any = None,
        axis: str | None = None,
        random_state: Any = None,
        ax: Any = None,
        artist_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Test an explanation, and draw the curves.

        Parameters
        ----------
        estimator : estimator
            As for `faithfulness`, like the next parameters.
        X : object
            Samples.
        y : array-like of shape (n_samples,), or None
            Their targets.
        explanation : Bunch, ndarray, callable or str
            What is tested.
        perturb : str, default="auto"
            What replaces a hidden position.
        n_steps : int, default=10
            Steps of the curves.
        n_random : int, default=None
            Random orders for each sample.
        background : object or None, default=None
            Where replacements are from.
        scoring : str, callable or None, default=None
            Of the permutation ranking.
        axis : str or None, default=None
            Which axis of the explanation.
        random_state : int, RandomState or None, default=None
            Of the draws.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw.
        artist_kw : dict, default=None
            For the lines; see `plot`.

        Returns
        -------
        display : FaithfulnessDisplay
            With ``ax_``, ``axes_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            As `faithfulness`.
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As `faithfulness`.
        """
        require_matplotlib("FaithfulnessDisplay.from_estimator")
        from skattn.inspection._faithfulness import faithfulness

        result = faithfulness(
            estimator,
            X,
            y,
            explanation,
            perturb=perturb,
            n_steps=n_steps,
            n_random=n_random,
            background=background,
            scoring=scoring,
            axis=axis,
            random_state=random_state,
        )
        return cls(result).plot(ax, artist_kw=artist_kw)

    def plot(self, ax: Any = None, *, artist_kw: dict[str, Any] | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw: a single one is divided, or one for each curve. None makes a
            figure.
        artist_kw : dict, default=None
            For ``plot`` of each line.

        Returns
        -------
        display : FaithfulnessDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If `result` is another one.
        ValueError
            If `ax` does not hold as many axes as there are curves.
        """
        require_matplotlib("FaithfulnessDisplay.plot")
        from skattn.inspection._display._axes import COLORS, make_axes

        _check_result(self.result, ("curves", "areas", "p_value"), "faithfulness")
        result = self.result
        count = len(result.curves)
        axes = make_axes(
            ax,
            1,
            count,
            figsize=(4.2 * count, 4.0),
            caller="FaithfulnessDisplay",
            sharey=True,
        )
        for panel, curve in zip(axes[0], result.curves, strict=True):
            for ranking, scores in result.curves[curve].items():
                color, line, marker = _STYLES[ranking]
                options = {
                    "color": COLORS[color],
                    "linestyle": line,
                    "marker": marker,
                    "markersize": 4,
                    "label": f"{ranking}, area {result.areas[curve][ranking]:.3f}",
                }
                panel.plot(result.fractions, scores, **{**options, **(artist_kw or {})})
            done = "hidden" if curve == "deletion" else "shown"
            panel.set_xlabel(f"fraction of {result.axis.replace('_', ' ')} {done}")
            good = "lower" if curve == "deletion" else "higher"
            panel.set_title(f"{curve} ({good} is better)", fontsize=10)
            panel.set_xlim(0, 1)
            # Below the axes, where it hides no curve.
            panel.legend(
                loc="upper center",
                bbox_to_anchor=(0.5, -0.2),
                frameon=False,
                fontsize=8,
                title=_p_value(result.p_value, count),
                title_fontsize=8,
            )
        axes[0, 0].set_ylabel("mean score")
        self.axes_ = axes[0]
        self.ax_ = axes[0, 0]
        self.figure_ = self.ax_.get_figure(root=True)
        return self


# Colour, line and marker: told apart without colours too.
_STYLES = {
    "explanation": (0, "-", "o"),
    "random": (6, ":", None),
    "permutation": (1, "--", "s"),
}
_KINDS = ("bars", "heatmap")
_MOST_BARS = 40


def _p_value(p_value: float, n_curves: int) -> str:
    told = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return told if n_curves == 1 else f"{told}, of both curves together"


def _check_result(result: Any, keys: tuple[str, ...], maker: str) -> None:
    if all(hasattr(result, key) for key in keys):
        return
    held = f" with {', '.join(map(repr, sorted(result)))}" * isinstance(result, dict)
    raise TypeError(
        f"result must be that of {maker}; got a {type(result).__name__}{held}. Pass "
        f"what {maker} returns, or call from_estimator."
    )


def _check_kind(kind: str | None) -> None:
    if kind is not None and kind not in _KINDS:
        raise ValueError(f"kind={kind!r} must be None, 'bars' or 'heatmap'.")


def _plot_heads(
    display: Any,
    rows: list[tuple[str, str]],
    columns: list[int],
    mean: np.ndarray,
    std: np.ndarray,
    label: str,
    limits: tuple[float, float] | None,
    ax: Any,
    artist_kw: dict[str, Any] | None,
) -> None:
    """Draw a number of each head, and remember where."""
    layers = list(dict.fromkeys(rows))
    kinds = {kind for _, kind in layers}
    names = [f"{layer} ({kind})" if len(kinds) > 1 else layer for layer, kind in layers]
    places = np.array([layers.index(row) for row in rows])
    kind = display.kind or ("bars" if len(mean) <= _MOST_BARS else "heatmap")
    draw = _head_bars if kind == "bars" else _head_matrix
    display.ax_ = draw(
        ax, places, np.array(columns), names, mean, std, label, limits, artist_kw or {}
    )
    display.figure_ = display.ax_.get_figure(root=True)


def _head_bars(
    ax: Any,
    rows: np.ndarray,
    columns: np.ndarray,
    names: list[str],
    mean: np.ndarray,
    std: np.ndarray,
    label: str,
    limits: tuple[float, float] | None,
    artist_kw: dict[str, Any],
) -> Any:
    from skattn.inspection._display._axes import (
        COLORS,
        make_axes,
        name_positions,
        shorten,
    )

    width = float(np.clip(0.3 * len(mean) + 1.6, 4.2, 9.0))
    ax = make_axes(ax, figsize=(width, 3.6), caller="kind='bars'")[0, 0]
    places = np.arange(len(mean))
    for row, name in enumerate(names):
        chosen = rows == row
        options = {
            "color": COLORS[row % len(COLORS)],
            "yerr": std[chosen],
            "error_kw": {"ecolor": "0.3", "elinewidth": 1},
            "capsize": 2,
            "label": shorten(name, 30),
        }
        ax.bar(places[chosen], mean[chosen], **{**options, **artist_kw})
    ax.axhline(0, color="0.3", linewidth=0.8)
    name_positions(ax, "x", list(map(str, columns)))
    ax.set_xlabel("head")
    ax.set_ylabel(label)
    ax.set_xlim(-0.6, len(mean) - 0.4)
    if limits is not None:
        ax.set_ylim(limits)
    ax.legend(
        title="layer",
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        fontsize=8,
    )
    return ax


def _head_matrix(
    ax: Any,
    rows: np.ndarray,
    columns: np.ndarray,
    names: list[str],
    mean: np.ndarray,
    std: np.ndarray,
    label: str,
    limits: tuple[float, float] | None,
    artist_kw: dict[str, Any],
) -> Any:
    from skattn.inspection._display._axes import draw_matrix, make_axes

    n_heads = int(columns.max()) + 1
    matrix = np.ma.masked_all((len(names), n_heads))
    spread = np.ma.masked_all((len(names), n_heads))
    matrix[rows, columns], spread[rows, columns] = mean, std
    size = (
        float(np.clip(0.6 * n_heads + 2.4, 4.2, 9.0)),
        float(np.clip(0.45 * len(names) + 1.4, 2.2, 9.0)),
    )
    ax = make_axes(ax, figsize=size, caller="kind='heatmap'")[0, 0]
    low, high = limits or (float(min(mean.min(), 0)), float(mean.max()))
    options: dict[str, Any] = {"vmin": low, "vmax": high}
    if low < 0:  # both signs, white in the middle
        bound = max(-low, high)
        options = {"cmap": "PuOr", "vmin": -bound, "vmax": bound}
    heads = list(map(str, range(n_heads)))
    image = draw_matrix(ax, matrix, names, heads, {**options, **artist_kw})
    _write_cells(ax, image, matrix, spread)
    ax.set_xlabel("head")
    ax.set_ylabel("layer")
    ax.get_figure(root=True).colorbar(image, ax=ax, label=label)
    return ax


def _write_cells(
    ax: Any, image: Any, matrix: np.ma.MaskedArray, spread: np.ma.MaskedArray
) -> None:
    """Write mean and standard deviation into the cells, where they have room."""
    from skattn.inspection._display._axes import contrasting

    box = ax.get_window_extent()
    points = 72 / ax.get_figure(root=True).dpi
    n_rows, n_columns = matrix.shape
    if box.width * points / n_columns < 34 or box.height * points / n_rows < 22:
        return
    for (row, column), value in np.ndenumerate(matrix):
        if not np.ma.is_masked(matrix[row, column]):
            ax.text(
                column,
                row,
                f"{value:.2f}\n±{spread[row, column]:.2f}",
                ha="center",
                va="center",
                fontsize=7,
                color=contrasting(image.cmap(image.norm(value))),
            )
