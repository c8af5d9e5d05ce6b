"""Weights along the edges of a graph. Imports matplotlib and networkx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from skattn.inspection._display._axes import (
    COLORS,
    ON_WHITE,
    contrasting,
    figure_of,
    shorten,
)

_NAMED = 45  # more nodes than these get no names
_PLAIN = "#dddddd"


class Drawn(NamedTuple):
    """The part of a graph that is drawn.

    Parameters
    ----------
    source, target : ndarray of int64 of shape (edges,)
        Nodes.
    weights : ndarray of shape (edges,) or None
        Of the edges, where they have any.
    nodes : ndarray of int64 of shape (nodes,)
        Which nodes are drawn.
    node_weights : ndarray of shape (nodes,) or None
        Of these nodes: what the pooling gives them, or they themselves.
    note : str
        What is left out.
    """

    source: np.ndarray
    target: np.ndarray
    weights: np.ndarray | None
    nodes: np.ndarray
    node_weights: np.ndarray | None
    note: str


def neighbourhood(
    edge_index: np.ndarray,
    weights: np.ndarray,
    n_nodes: int,
    node: int | None,
    max_edges: int,
) -> Drawn:
    """Choose the edges that are drawn.

    Parameters
    ----------
    edge_index : ndarray of int64 of shape (2, edges)
        Source and target.
    weights : ndarray of shape (edges,)
        Of the edges; self-loops become weights of their nodes.
    n_nodes : int
        Nodes of the graph.
    node : int or None
        Whose neighbourhood of two hops is drawn, the nearer ones first; None draws
        all.
    max_edges : int
        How many edges are drawn, the ones of largest weight.

    Returns
    -------
    drawn : Drawn
        What to draw.
    """
    loops = edge_index[0] == edge_index[1]
    own = None
    if loops.any():
        own = np.bincount(edge_index[0, loops], weights[loops], minlength=n_nodes)
    source, target = edge_index[:, ~loops]
    weights = weights[~loops]
    n_edges = len(source)
    hop = np.ones(n_edges, dtype=np.int64)
    if node is not None:
        first = target == node
        second = np.isin(target, source[first]) & ~first
        hop = np.where(first, 1, np.where(second, 2, 3))
    order = np.lexsort((-weights, hop))
    order = order[hop[order] <= 2][:max_edges]
    source, target, weights = source[order], target[order], weights[order]
    if node is None and n_nodes <= 2 * max_edges:
        nodes = np.arange(n_nodes)
    else:
        nodes = np.unique(
            np.concatenate([source, target, [] if node is None else [node]])
        )
    nodes = nodes.astype(np.int64)
    note = ""
    if len(order) < n_edges:
        near = "" if node is None else "nearest and "
        note = f"{len(order)} {near}strongest of {n_edges} edges"
        if len(nodes) < n_nodes:
            note += f", {len(nodes)} of {n_nodes} nodes"
    return Drawn(
        source, target, weights, nodes, None if own is None else own[nodes], note
    )


def draw_graph(
    ax: Axes,
    drawn: Drawn,
    names: Sequence[str],
    node: int | None,
    labels: tuple[str, str],
    artist_kw: dict[str, Any],
) -> None:
    """Draw nodes and edges, wider and darker the larger their weights.

    Parameters
    ----------
    ax : Axes
        Where.
    drawn : Drawn
        What.
    names : sequence of str
        Of all nodes.
    node : int or None
        The node with a rim.
    labels : tuple of str
        What the weights of edges and of nodes are.
    artist_kw : dict
        For networkx's ``draw_networkx_edges``.

    Raises
    ------
    ImportError
        If networkx is not installed.
    """
    try:
        import networkx as nx
    except ImportError as error:
        raise ImportError(
            "AttentionDisplay lays out graphs with networkx, which is not installed: "
            "pip install skattn[graph]"
        ) from error

    figure = figure_of(ax)
    graph = nx.DiGraph()
    graph.add_nodes_from(drawn.nodes.tolist())
    pairs = list(zip(drawn.source.tolist(), drawn.target.tolist(), strict=True))
    graph.add_edges_from(pairs)
    n_nodes = len(drawn.nodes)
    places = nx.spring_layout(
        graph.to_undirected(), k=2.2 / np.sqrt(max(n_nodes, 1)), seed=0
    )
    size = float(np.clip(9000 / max(n_nodes, 1), 25, 420))
    # The lightest tenth of the map would be lost on white.
    shades = LinearSegmentedColormap.from_list(
        "attention", plt.get_cmap(ON_WHITE)(np.linspace(0.15, 1, 256))
    )

    if pairs:
        options: dict[str, Any] = {
            "node_size": size,
            "arrowsize": 4 + 6 * (size / 420),
            "edge_color": "0.75",
            "width": 0.8,
            # Both directions of an edge are seen.
            "connectionstyle": "arc3,rad=0.08",
        }
        if drawn.weights is not None:
            top = float(drawn.weights.max()) or 1.0
            share = drawn.weights / top
            colors = ScalarMappable(Normalize(0, top), shades)
            options |= {
                "edge_color": colors.to_rgba(drawn.weights),
                "width": 0.4 + 2.2 * share,
                "alpha": 0.35 + 0.65 * share,
            }
            figure.colorbar(colors, ax=ax, label=labels[0], shrink=0.75)
        nx.draw_networkx_edges(
            graph, places, edgelist=pairs, ax=ax, **{**options, **artist_kw}
        )

    fill: Any = [_PLAIN] * n_nodes
    if drawn.node_weights is not None:
        # Beside edges, a small weight is not drawn dark because the others are smaller.
        top = float(drawn.node_weights.max(initial=0))
        if drawn.weights is not None:
            top = max(top, float(drawn.weights.max(initial=0)))
        top = top or 1.0
        node_colors = ScalarMappable(Normalize(0, top), "Oranges")
        fill = node_colors.to_rgba(drawn.node_weights)
        figure.colorbar(node_colors, ax=ax, label=labels[1], shrink=0.75)
    rims = [COLORS[1] if each == node else "0.4" for each in drawn.nodes]
    nx.draw_networkx_nodes(
        graph,
        places,
        nodelist=drawn.nodes.tolist(),
        node_color=fill,
        edgecolors=rims,
        linewidths=[2.5 if each == node else 0.6 for each in drawn.nodes],
        node_size=size,
        ax=ax,
    )
    named = drawn.nodes if n_nodes <= _NAMED else drawn.nodes[drawn.nodes == node]
    for each in named.tolist():
        at = int(np.flatnonzero(drawn.nodes == each)[0])
        color = "black" if drawn.node_weights is None else contrasting(fill[at])
        x, y = places[each]
        ax.text(
            x,
            y,
            shorten(names[each], 8),
            ha="center",
            va="center",
            fontsize=7,
            color=color,
            zorder=5,
        )
    ax.set_axis_off()
