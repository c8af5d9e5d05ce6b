"""Hide parts of samples, as a user hands them to ``predict``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from skattn._graph import Graph
from skattn._inputs import TableEncoder, input_of
from skattn._supervised import SupervisedEstimator

# Written in place of a token; of Unicode's private use, so that no vocabulary knows it.
_UNKNOWN = "\ue000"


class Perturbation(ABC):
    """Hide positions of samples.

    What a hidden position is replaced by is drawn once for each sample, so that all
    orders of hiding see the same.

    Parameters
    ----------
    estimator : estimator
        Fitted; it is asked about what is left.
    X : object
        Samples, as it takes them.
    how : str
        One of `ways`.
    background : object
        Samples that replacements are taken from.
    generator : Generator
        Draws them.

    Attributes
    ----------
    lengths : ndarray of int64 of shape (n,)
        Positions of each sample; of shape (1,) where all lose the same.
    """

    ways: ClassVar[tuple[str, ...]]  # the first one is the default
    # Whether all samples have the same positions.
    is_shared: bool = False
    # Whether all samples lose the same ones at a time, because they are of one graph.
    is_joint: ClassVar[bool] = False
    # Whether positions are in an order, so that blocks of them make sense.
    has_neighbours: ClassVar[bool] = True
    lengths: np.ndarray

    def __init__(
        self,
        estimator: Any,
        X: Any,
        how: str,
        background: Any,
        generator: np.random.Generator,
    ) -> None:
        self.estimator = estimator
        self.how = how
        self._prepare(X, background, generator)

    @abstractmethod
    def _prepare(
        self, X: Any, background: Any, generator: np.random.Generator
    ) -> None: ...

    @abstractmethod
    def hide(self, hidden: np.ndarray) -> Any:
        """Hide positions of all samples.

        Parameters
        ----------
        hidden : ndarray of bool of shape (n or 1, n_positions)
            Which ones, as `inside`; those behind the end of a sample do not count.

        Returns
        -------
        X : object
            New samples; the given ones stay as they are.
        """

    def ask(self, method: str, hidden: np.ndarray) -> Any:
        """Ask the estimator about what is left.

        Parameters
        ----------
        method : str
            ``"predict"`` or ``"predict_proba"``.
        hidden : ndarray of bool of shape (n or 1, n_positions)
            As for `hide`.

        Returns
        -------
        answer : object
            What the method returns.
        """
        return getattr(self.estimator, method)(self.hide(hidden))

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.lengths)

    def inside(self) -> np.ndarray:
        """Tell which positions are before the ends of their samples.

        Returns
        -------
        inside : ndarray of bool of shape (n or 1, n_positions)
            A row for each of `lengths`; of the longest sample, all.
        """
        return np.arange(self.lengths.max()) < self.lengths[:, None]

    def arrange(self, importances: np.ndarray, is_of_input: bool) -> np.ndarray:
        """Bring importances to the positions that can be hidden.

        Parameters
        ----------
        importances : ndarray of shape (n or 1, n_given)
            Of the positions that attention sees, or those of `X`.
        is_of_input : bool
            Whether they are those of `X`.

        Returns
        -------
        importances : ndarray of shape (n or 1, n_positions)
            Theirs.

        Raises
        ------
        ValueError
            If the numbers of positions do not agree.
        """
        self._check_width(importances, int(self.lengths.max()))
        return importances[:, : self.lengths.max()]

    def _check_width(self, importances: np.ndarray, expected: int) -> None:
        given = importances.shape[1]
        if given != expected:
            raise ValueError(
                f"The explanation has {given} positions, but X has {expected}. Explain "
                "the same samples, and give one number for each position."
            )


class _Columns(Perturbation):
    """Columns of a table."""

    ways = ("permute", "mean", "mode", "missing")
    is_shared = True
    has_neighbours = False

    def _prepare(self, X: Any, background: Any, generator: np.random.Generator) -> None:
        encoder = getattr(self.estimator, "_encoder", None)
        self.encoder = encoder if isinstance(encoder, TableEncoder) else None
        self.frame: Any = X if isinstance(X, pd.DataFrame) else None
        own = _frame(X)
        pool = _frame(background)
        if pool.shape[1] != own.shape[1]:
            raise ValueError(
                f"background has {pool.shape[1]} columns, but X has {own.shape[1]}. "
                "Give rows of the same table."
            )
        if self.how == "missing" and not _takes_missing(self.estimator):
            raise ValueError(
                f"perturb='missing' needs an estimator that takes missing values; "
                f"{type(self.estimator).__name__} does not. Use 'permute' or 'mean'."
            )
        donors = _donors(len(own), len(pool), X is background, own.shape[1], generator)
        self.own = [own.iloc[:, at] for at in range(own.shape[1])]
        self.other = [
            self._replacement(at, own.iloc[:, at], pool.iloc[:, at], donors[:, at])
            for at in range(own.shape[1])
        ]
        self.blocks: tuple[np.ndarray, ...] | None = None
        kinds = {str(column.dtype) for column in [*self.own, *self.other]}
        if self.frame is None or kinds in ({"float64"}, {"float32"}, {"int64"}):
            # All columns at once, which is much faster.
            self.blocks = tuple(
                np.column_stack([column.to_numpy() for column in columns])
                for columns in (self.own, self.other)
            )
        self.lengths = np.full(len(own), own.shape[1])

    def _replacement(
        self, at: int, own: pd.Series, pool: pd.Series, donors: np.ndarray
    ) -> pd.Series:
        """Make what stands in a column where it is hidden."""
        if self.how == "permute":
            return pool.take(donors)
        n = len(own)
        if self.how == "missing":
            is_number = pd.api.types.is_numeric_dtype(own.dtype)
            kept = not is_number or own.dtype.kind not in "iub"
            dtype = own.dtype if kept else np.float64
            return pd.Series([None] * n, dtype=dtype)
        if self.how == "mean" and self._is_number(at, pool):
            return pd.Series(np.full(n, pool.astype(np.float64).mean()))
        modes = pool.mode()
        if not len(modes):
            return pool.take(np.zeros(n, dtype=np.int64))  # missing everywhere
        return modes.take(np.zeros(n, dtype=np.int64))

    def _is_number(self, at: int, column: pd.Series) -> bool:
        if self.encoder is not None and at in self.encoder.categorical_:
            return False
        is_number = pd.api.types.is_numeric_dtype(column.dtype)
        return is_number and column.dtype.kind != "b"

    def hide(self, hidden: np.ndarray) -> Any:
        if self.blocks is not None:
            own, other = self.blocks
            values = np.where(hidden, other, own)
            if self.frame is None:
                return values
            return pd.DataFrame(
                values, index=self.frame.index, columns=self.frame.columns
            )
        columns = []
        n = len(hidden)
        for own, other, gone in zip(self.own, self.other, hidden.T, strict=True):
            column = own
            if gone.any():
                both = pd.concat([own, other], ignore_index=True)
                column = both.take(np.arange(n) + n * gone)
            columns.append(column.set_axis(self.frame.index))
        return pd.concat(columns, axis=1).set_axis(self.frame.columns, axis=1)

    def arrange(self, importances: np.ndarray, is_of_input: bool) -> np.ndarray:
        if is_of_input or self.encoder is None:
            return super().arrange(importances, is_of_input)
        places = self.encoder.feature_columns()
        self._check_width(importances, len(places))
        # Several positions may show one column: how large it is, and where missing.
        columns = np.zeros((len(importances), len(self.own)))
        np.add.at(columns.T, places, importances.T)
        return columns


def _frame(X: Any) -> pd.DataFrame:
    if isinstance(X, pd.DataFrame):
        return X
    array = np.asarray(X)
    if array.ndim != 2:
        raise ValueError(
            f"A table has two axes, but X has shape {array.shape}. Give rows and "
            "columns."
        )
    return pd.DataFrame(array)


def _takes_missing(estimator: Any) -> bool:
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).input_tags.allow_nan)


def _donors(
    n: int, n_pool: int, is_same: bool, width: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw for each position of each sample whose value replaces its own."""
    if is_same and n < 2:
        raise ValueError(
            "X has 1 sample, so there is no other one to take values from. Pass more "
            "samples, or a background."
        )
    if is_same:
        step = generator.integers(1, n, size=(n, width))
        return (np.arange(n)[:, None] + step) % n
    return generator.integers(n_pool, size=(n, width))


class _Panel(Perturbation):
    """Series of equal or unequal lengths."""

    def _prepare(self, X: Any, background: Any, generator: np.random.Generator) -> None:
        self.is_array = isinstance(X, np.ndarray)
        self.given = X
        self.values = _padded(X)
        pool = _padded(background)
        if pool.shape[1] != self.values.shape[1]:
            raise ValueError(
                f"background has {pool.shape[1]} channels, but X has "
                f"{self.values.shape[1]}. Give series of the same kind."
            )
        present = ~np.isnan(self.values).all(axis=1)  # (n, length)
        self.steps = (present * np.arange(1, present.shape[1] + 1)).max(axis=1)
        known = ~np.isnan(pool)
        total = np.where(known, pool, 0.0).sum(axis=(0, 2))
        mean = total / np.maximum(known.sum(axis=(0, 2)), 1)  # (channels,)
        self.mean = np.broadcast_to(mean[None, :, None], self.values.shape)
        self.other = self.mean
        if self.how == "permute":
            self.other = self._drawn(pool, X is background, generator)

    @abstractmethod
    def _drawn(
        self, pool: np.ndarray, is_same: bool, generator: np.random.Generator
    ) -> np.ndarray: ...

    @abstractmethod
    def _cells(self, hidden: np.ndarray) -> np.ndarray:
        """Say which values are hidden: broadcastable to (n, channels, length)."""

    def hide(self, hidden: np.ndarray) -> Any:
        real = np.arange(self.values.shape[2]) < self.steps[:, None, None]
        cells = self._cells(hidden) & real
        other = self._between(cells) if self.how == "linear" else self.other
        values = np.where(cells, other, self.values)
        if self.is_array:
            return values
        return [
            series[:, : np.shape(given)[1]]
            for series, given in zip(values, self.given, strict=True)
        ]

    def _between(self, cells: np.ndarray) -> np.ndarray:
        """Draw lines between what is left; where nothing is, take the mean."""
        other = np.array(self.mean)
        places = np.arange(other.shape[2])
        for sample, series in enumerate(self.values):
            gone = cells[sample, 0]
            if not gone.any():
                continue
            for channel, row in enumerate(series):
                left = ~gone & ~np.isnan(row)
                if left.any():
                    line = np.interp(places, places[left], row[left])
                    other[sample, channel] = line
        return other


class _Steps(_Panel):
    """Time steps of series."""

    ways = ("mean", "linear", "permute")

    def _prepare(self, X: Any, background: Any, generator: np.random.Generator) -> None:
        super()._prepare(X, background, generator)
        self.lengths = self.steps
        self.is_shared = bool((self.steps == self.steps[0]).all())

    def _drawn(
        self, pool: np.ndarray, is_same: bool, generator: np.random.Generator
    ) -> np.ndarray:
        n, _, length = self.values.shape
        donors = _donors(n, len(pool), is_same, length, generator)
        there = min(length, pool.shape[2])
        other = np.array(self.mean)
        drawn = pool[donors[:, :there], :, np.arange(there)]  # (n, there, channels)
        drawn = drawn.transpose(0, 2, 1)
        other[:, :, :there] = np.where(np.isnan(drawn), other[:, :, :there], drawn)
        return other

    def _cells(self, hidden: np.ndarray) -> np.ndarray:
        return hidden[:, None, :]


class _Channels(_Panel):
    """Channels of series."""

    ways = ("mean", "permute")
    is_shared = True
    has_neighbours = False

    def _prepare(self, X: Any, background: Any, generator: np.random.Generator) -> None:
        super()._prepare(X, background, generator)
        n, n_channels, _ = self.values.shape
        self.lengths = np.full(n, n_channels)

    def _drawn(
        self, pool: np.ndarray, is_same: bool, generator: np.random.Generator
    ) -> np.ndarray:
        n, n_channels, length = self.values.shape
        donors = _donors(n, len(pool), is_same, n_channels, generator)
        there = min(length, pool.shape[2])
        other = np.array(self.mean)
        drawn = pool[donors, np.arange(n_channels), :there]  # (n, channels, there)
        other[:, :, :there] = np.where(np.isnan(drawn), other[:, :, :there], drawn)
        return other

    def _cells(self, hidden: np.ndarray) -> np.ndarray:
        return hidden[:, :, None]


def _padded(X: Any) -> np.ndarray:
    """Stack series of shape (channels, time), with NaN on the right."""
    if isinstance(X, np.ndarray):
        return X.astype(np.float64)
    arrays = [np.asarray(series, dtype=np.float64) for series in X]
    shape = len(arrays), len(arrays[0]), max(each.shape[1] for each in arrays)
    values = np.full(shape, np.nan)
    for row, series in zip(values, arrays, strict=True):
        row[:, : series.shape[1]] = series
    return values


class _Tokens(Perturbation):
    """Tokens of texts, or of the first text of pairs."""

    ways = ("delete", "mask")
    side = 0

    def _prepare(self, X: Any, background: Any, generator: np.random.Generator) -> None:
        encoder = self.estimator._encoder
        self.is_pair = encoder.input == "pair"
        self.samples = encoder.check(X)
        texts = [pair[self.side] for pair in self.samples]
        self.texts = texts if self.is_pair else list(self.samples)
        self.is_ids = encoder.form_ == "ids"
        self.blank = ""
        if self.is_ids:
            self.lengths = np.array([len(text) for text in self.texts])
            return
        tokens = encoder.token_encoder_
        self.spans = tokens._spans(self.texts)
        self.lengths = np.array([len(spans) for spans in self.spans])
        self.drops_items = tokens.kind_ == "tokens"
        if tokens.model == "word" and not self.drops_items:
            self.blank = " "  # so that the words beside it stay two

    def hide(self, hidden: np.ndarray) -> Any:
        left = [self._left(number, gone) for number, gone in enumerate(hidden)]
        if self.is_pair:
            pairs = [list(pair) for pair in self.samples]
            for pair, text in zip(pairs, left, strict=True):
                pair[self.side] = text
            left = [tuple(pair) for pair in pairs]
        if not self.is_ids or self.is_pair:
            return left
        texts = np.empty(len(left), dtype=object)
        texts[:] = left
        return texts

    def _left(self, number: int, hidden: np.ndarray) -> Any:
        """Give what is left of a text."""
        text = self.texts[number]
        gone = np.flatnonzero(hidden[: self.lengths[number]])
        if self.is_ids:
            return self._left_ids(text, gone)
        items = [text] if isinstance(text, str) else list(text)
        spans = self.spans[number]
        for at in gone[::-1]:
            item, start, end = spans[at]
            if start < end:
                mark = self._mark(items[item], start)
                items[item] = items[item][:start] + mark + items[item][end:]
        if isinstance(text, str):
            return items[0]
        if self.drops_items:  # one by one, since some may have been empty before
            touched = {spans[at][0] for at in gone}
            items = [each for at, each in enumerate(items) if each or at not in touched]
        return items

    def _mark(self, text: str, start: int) -> str:
        if self.how == "delete":
            return self.blank
        return f"{self.blank}{_UNKNOWN}{self.blank}"

    def _left_ids(self, text: np.ndarray, gone: np.ndarray) -> np.ndarray:
        from skattn import SpecialToken

        if self.how == "delete":
            return np.delete(text, gone)
        text = text.copy()
        text[gone] = int(SpecialToken.UNKNOWN)
        return text


class _OtherTokens(_Tokens):
    """Tokens of the second text of pairs."""

    side = 1


class _GraphEdges(Perturbation):
    """Edges of graphs, each direction by itself."""

    ways = ("remove",)

    def _prepare(self, X: Any, background: Any, generator: np.random.Generator) -> None:
        self.graphs = list(X)
        self.lengths = np.array([graph.n_edges for graph in self.graphs])

    def hide(self, hidden: np.ndarray) -> list[Graph]:
        return [
            _without_edges(graph, gone[: graph.n_edges])
            for graph, gone in zip(self.graphs, hidden, strict=True)
        ]


class _GraphNodes(Perturbation):
    """Features of the nodes of graphs."""

    ways = ("mean", "permute")

    def _prepare(self, X: Any, background: Any, generator: np.random.Generator) -> None:
        self.graphs = list(X)
        self.lengths = np.array([graph.n_nodes for graph in self.graphs])
        pool = np.concatenate([graph.x for graph in background])
        self.other = [
            _other_features(graph, pool, self.how, generator) for graph in self.graphs
        ]

    def hide(self, hidden: np.ndarray) -> list[Graph]:
        return [
            _with_features(graph, gone[: graph.n_nodes], other)
            for graph, gone, other in zip(self.graphs, hidden, self.other, strict=True)
        ]


class _OneGraph(Perturbation):
    """One graph, whose nodes are the samples: all of them lose the same."""

    is_shared = True
    is_joint = True

    def _prepare(self, X: Any, background: Any, generator: np.random.Generator) -> None:
        self.ids = np.asarray(X)
        self.graph = self.estimator._encoder.graph
        self.lengths = np.array([self._size(generator)])

    @property
    def n_samples(self) -> int:
        return len(self.ids)

    @abstractmethod
    def _size(self, generator: np.random.Generator) -> int: ...

    def ask(self, method: str, hidden: np.ndarray) -> Any:
        return getattr(self.estimator, method)(self.ids, graph=self.hide(hidden))


class _OneGraphEdges(_OneGraph):
    """Edges of the graph of a node estimator."""

    ways = ("remove",)

    def _size(self, generator: np.random.Generator) -> int:
        return self.graph.n_edges

    def hide(self, hidden: np.ndarray) -> Graph:
        return _without_edges(self.graph, hidden[0])


class _OneGraphNodes(_OneGraph):
    """Features of the nodes of the graph of a node estimator."""

    ways = ("mean", "permute")

    def _size(self, generator: np.random.Generator) -> int:
        if self.graph.is_sparse:
            raise ValueError(
                "The graph has sparse features, which the axis 'nodes' cannot replace. "
                "Use axis='edges', or a graph made with x.toarray()."
            )
        self.other = _other_features(self.graph, self.graph.x, self.how, generator)
        return self.graph.n_nodes

    def hide(self, hidden: np.ndarray) -> Graph:
        return _with_features(self.graph, hidden[0], self.other)


def _without_edges(graph: Graph, gone: np.ndarray) -> Graph:
    """Leave out edges; with one direction gone, the graph is directed."""
    edge_attr = None if graph.edge_attr is None else graph.edge_attr[~gone]
    return Graph(
        graph.edge_index[:, ~gone],
        graph.x,
        edge_attr,
        nodes=graph.nodes,
        directed=True,
    )


def _other_features(
    graph: Graph, pool: np.ndarray, how: str, generator: np.random.Generator
) -> np.ndarray:
    if how == "mean":
        return np.broadcast_to(pool.mean(axis=0), graph.x.shape)
    return pool[generator.integers(len(pool), size=graph.n_nodes)]


def _with_features(graph: Graph, gone: np.ndarray, other: np.ndarray) -> Graph:
    return Graph(
        graph.edge_index,
        np.where(gone[:, None], other, graph.x).astype(graph.x.dtype),
        graph.edge_attr,
        nodes=graph.nodes,
        directed=graph.is_directed,
    )


_AXES: dict[str, dict[str, type[Perturbation]]] = {
    "table": {"features": _Columns},
    "series": {"time": _Steps, "channels": _Channels},
    "tokens": {"tokens": _Tokens},
    "pair": {"tokens": _Tokens, "other_tokens": _OtherTokens},
    "graph": {"edges": _GraphEdges, "nodes": _GraphNodes},
    "nodes": {"edges": _OneGraphEdges, "nodes": _OneGraphNodes},
}


def axes_of(estimator: Any, X: Any) -> list[str]:
    """Tell which axes some data have.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : object
        Samples, as it takes them.

    Returns
    -------
    axes : list of str
        Along which positions can be hidden.
    """
    return list(_AXES[_input(estimator, X)])


def _input(estimator: Any, X: Any) -> str:
    if isinstance(estimator, SupervisedEstimator):
        return estimator._encoder.input
    input = input_of(X)
    if input in ("tokens", "pair"):
        raise TypeError(
            "To hide tokens, their places in the texts must be known; "
            f"{type(estimator).__name__} does not tell them. Pass an estimator of "
            "skattn's for texts."
        )
    return input


def make_perturbation(
    estimator: Any,
    X: Any,
    axis: str,
    how: str,
    background: Any,
    generator: np.random.Generator,
) -> Perturbation:
    """Find out how positions along an axis of some data are hidden.

    Parameters
    ----------
    estimator : estimator
        Fitted, a classifier or a regressor.
    X : object
        Samples, as it takes them.
    axis : str
        Along which the positions are.
    how : str
        ``"auto"``, or one of the ways that the axis knows.
    background : object or None
        Samples that replacements are taken from; None takes `X`.
    generator : Generator
        Draws them.

    Returns
    -------
    perturbation : Perturbation
        For these samples.

    Raises
    ------
    TypeError
        If texts come without a token encoder of skattn's.
    ValueError
        If the data have no such axis, if it cannot be hidden in this way, or if there
        is no other sample to take values from.
    """
    input = _input(estimator, X)
    axes = _AXES[input]
    if axis not in axes:
        known = ", ".join(map(repr, axes))
        raise ValueError(
            f"Positions along the axis {axis!r} of {input} input cannot be hidden, but "
            f"those along {known} can. Pass axis= one of these."
        )
    kind = axes[axis]
    if how == "auto":
        how = kind.ways[0]
        consumes = getattr(getattr(estimator, "_encoder", None), "consumes", ())
        needs = "other_mask" if axis == "other_tokens" else "mask"
        if how == "delete" and needs not in consumes:
            how = "mask"  # the architecture takes texts of one length
    elif how not in kind.ways:
        ways = ", ".join(map(repr, ("auto", *kind.ways)))
        raise ValueError(
            f"perturb={how!r} does not go with the axis {axis!r} of {input} input. Use "
            f"one of {ways}."
        )
    return kind(estimator, X, how, X if background is None else background, generator)
