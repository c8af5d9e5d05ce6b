"""Data of which a few known positions decide the label, in all kinds of input.

Every sample hides markers of three kinds among positions that say nothing, and the kind
that is there most often is its label. All markers decide; those of the label's own kind
speak for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skattn import Graph

N_KINDS = 3
KEYWORDS = np.array(
    [["superb", "lovely"], ["dull", "awful"], ["strange", "odd"]], dtype=object
)
FILLERS = np.array([f"w{number}" for number in range(40)], dtype=object)
# Steps of a block of a series that is noise or has a shape, in units of its noise.
WIDTH = 8
_STEPS = np.arange(WIDTH)
SHAPES = 2 * np.stack(
    [
        np.sqrt(2) * np.sin(2 * np.pi * _STEPS / WIDTH),
        np.sqrt(3) * (np.abs(_STEPS - 3.5) / 2 - 1),
        1 - 2 * (_STEPS % 2),
    ]
)


class Planted(NamedTuple):
    """Samples, labels, and for each sample the positions that decided its label."""

    X: Any
    y: np.ndarray
    deciding: list[np.ndarray]
    speaking: list[np.ndarray]

    def part(self, rows: slice) -> Planted:
        """Take some of the samples."""
        return Planted(*(each[rows] for each in self))


class _Markers(NamedTuple):
    label: int
    places: np.ndarray
    kinds: np.ndarray

    @property
    def speaking(self) -> np.ndarray:
        return self.places[self.kinds == self.label]


def _draw_markers(rng: np.random.Generator, n_positions: int) -> _Markers:
    counts = rng.permutation([int(rng.integers(2, 4)), 1, int(rng.integers(2))])
    kinds = np.repeat(np.arange(N_KINDS), counts)
    places = rng.choice(n_positions, len(kinds), replace=False)
    return _Markers(int(counts.argmax()), places, kinds)


def table(n: int, n_columns: int = 20, seed: int = 0) -> Planted:
    """Let the first four columns decide: the label is the largest of them."""
    X = np.random.default_rng(seed).normal(size=(n, n_columns))
    deciding = [np.arange(4)] * n
    return Planted(X, X[:, :4].argmax(axis=1), deciding, deciding)


def series(n: int, n_blocks: int = 12, seed: int = 0) -> Planted:
    """Give some blocks of a noisy series a shape; the most frequent shape decides."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 1, n_blocks * WIDTH))
    markers = [_draw_markers(rng, n_blocks) for _ in range(n)]
    for blocks, each in zip(X.reshape(n, n_blocks, WIDTH), markers, strict=True):
        blocks[each.places] = 0.3 * blocks[each.places] + SHAPES[each.kinds]

    def steps(places: np.ndarray) -> np.ndarray:
        return (WIDTH * places[:, None] + _STEPS).ravel()

    return Planted(
        X,
        np.array([each.label for each in markers]),
        [steps(each.places) for each in markers],
        [steps(each.speaking) for each in markers],
    )


def texts(n: int, seed: int = 0) -> Planted:
    """Hide keywords among words that say nothing."""
    rng = np.random.default_rng(seed)
    X, markers = [], []
    for _ in range(n):
        words = rng.choice(FILLERS, rng.integers(10, 20))
        each = _draw_markers(rng, len(words))
        words[each.places] = KEYWORDS[each.kinds, rng.integers(2, size=len(each.kinds))]
        X.append(" ".join(words))
        markers.append(each)
    return _planted(X, markers)


def graphs(n: int, n_nodes: int = 12, seed: int = 0) -> Planted:
    """Draw a graph for each sample; nodes that are no markers have a kind as well."""
    rng = np.random.default_rng(seed)
    X, markers = [], []
    for _ in range(n):
        each = _draw_markers(rng, n_nodes)
        source = (np.arange(n_nodes) + rng.integers(1, n_nodes, (2, n_nodes))) % n_nodes
        target = np.tile(np.arange(n_nodes), 2)
        edges = np.unique(np.stack([source.ravel(), target]), axis=1)
        X.append(Graph(edges, _features(rng, each, n_nodes), directed=True))
        markers.append(each)
    return _planted(X, markers)


def stars(n: int, n_leaves: int = 12, seed: int = 0) -> tuple[Graph, Planted]:
    """Draw one graph of `n` hubs, each of which hears from leaves of its own.

    The samples are hubs, and their positions are edges of the graph.
    """
    rng = np.random.default_rng(seed)
    markers = [_draw_markers(rng, n_leaves) for _ in range(n)]
    leaves = np.vstack([_features(rng, each, n_leaves) for each in markers])
    edges = np.stack([n + np.arange(len(leaves)), np.repeat(np.arange(n), n_leaves)])
    hubs = np.zeros((n, leaves.shape[1]))
    graph = Graph(edges, np.vstack([hubs, leaves]), directed=True)
    found = _planted(np.arange(n), markers)
    first = [n_leaves * hub for hub in range(n)]  # edges lie in the order of hubs
    return graph, Planted(
        found.X,
        found.y,
        [start + each for start, each in zip(first, found.deciding, strict=True)],
        [start + each for start, each in zip(first, found.speaking, strict=True)],
    )


def _features(rng: np.random.Generator, markers: _Markers, n_nodes: int) -> np.ndarray:
    """Give every node a kind, and a feature that tells markers from the others."""
    kinds = rng.integers(N_KINDS, size=n_nodes)
    kinds[markers.places] = markers.kinds
    is_marker = np.isin(np.arange(n_nodes), markers.places)
    return np.column_stack([np.eye(N_KINDS)[kinds], is_marker])


def _planted(X: Any, markers: list[_Markers]) -> Planted:
    return Planted(
        X,
        np.array([each.label for each in markers]),
        [each.places for each in markers],
        [each.speaking for each in markers],
    )


def noise(n: int, n_columns: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a table and labels that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_columns)), rng.integers(2, size=n)


def precision(importances: np.ndarray, positions: list[np.ndarray]) -> float:
    """Average the share of a sample's k most important positions that were planted.

    k is the number of those that were.
    """
    shares = [
        np.isin(np.argsort(-row, kind="stable")[: len(planted)], planted).mean()
        for row, planted in zip(importances, positions, strict=True)
    ]
    return float(np.mean(shares))
