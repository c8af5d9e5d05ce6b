"""Lists of graphs: each of them a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from skattn._graph import Graph
from skattn._inputs._scaling import Scaler


class GraphListEncoder:
    """Turn graphs into the features and edges of all their nodes.

    Features of nodes are scaled over the nodes of all training graphs, those of edges
    over all their edges.

    Parameters
    ----------
    scaling : {"auto", "standard", "quantile"} or None
        The estimator's ``input_scaling``; ``"auto"`` is ``"standard"``.
    architecture : Architecture
        What it consumes decides whether features of edges are accepted.
    estimator : object
        Named in error messages.
    """

    input = "graph"

    def __init__(self, scaling: str | None, architecture: Any, estimator: Any) -> None:
        kind = "standard" if scaling == "auto" else scaling
        self.node_scaler, self.edge_scaler = Scaler(kind), Scaler(kind)
        self.takes_edges = "edge_attr" in architecture.consumes
        self.architecture_name = architecture.name
        self.estimator_name = type(estimator).__name__

    def check(self, X: Any) -> np.ndarray:
        """Validate graphs, as far as those of the training do not matter.

        Parameters
        ----------
        X : list or ndarray of Graph of shape (n,)
            What the user passed.

        Returns
        -------
        graphs : ndarray of objects of shape (n,)
            The same graphs.
        """
        if isinstance(X, Graph):
            raise TypeError(
                f"{self.estimator_name} takes a list of graphs as X, each of them a "
                "sample, but X is a single Graph. Pass [graph], or use NodeClassifier "
                "or NodeRegressor, whose samples are the nodes of one graph."
            )
        if isinstance(X, np.ndarray) and X.ndim != 1:
            raise ValueError(
                f"{self.estimator_name} takes graphs as X of shape (n,), but X has "
                f"shape {X.shape}. Use X.ravel()."
            )
        for number, graph in enumerate(X):
            self._check_graph(number, graph)
        graphs = np.empty(len(X), dtype=object)
        graphs[:] = X
        self._check_equal("node", [graph.n_features for graph in graphs])
        self._check_equal("edge", _edge_widths(graphs))
        return graphs

    def _check_graph(self, number: int, graph: Any) -> None:
        if not isinstance(graph, Graph):
            raise TypeError(
                f"Element {number} of X is of type {type(graph).__name__}, but to "
                f"{self.estimator_name} all graphs must be skattn.Graph: see "
                "Graph.from_networkx and Graph.from_data."
            )
        if not graph.n_features:
            raise ValueError(
                f"Graph number {number} of X has no node features, and attention has "
                "nothing to look at. Pass x to Graph: for instance degrees, or a "
                "column of ones."
            )
        if graph.is_sparse:
            raise ValueError(
                f"Graph number {number} of X has sparse node features, which "
                f"{self.estimator_name} does not take. Make the graph with "
                "x.toarray()."
            )
        if graph.n_edge_features and not self.takes_edges:
            raise ValueError(
                f"Graph number {number} of X has {graph.n_edge_features} edge "
                f"features, which the architecture {self.architecture_name!r} does "
                "not take. Choose one that consumes 'edge_attr', or make graphs "
                "without them."
            )

    def _check_equal(self, what: str, widths: Sequence[int | None]) -> None:
        known = [width for width in widths if width is not None]
        for number, width in enumerate(widths):
            if width is not None and width != known[0]:
                raise ValueError(
                    f"Graph number {number} of X has {width} {what} features, but "
                    f"number {widths.index(known[0])} has {known[0]}. Give all graphs "
                    "the same ones."
                )

    def learn(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Learn the number of features, and read the graphs.

        Parameters
        ----------
        X : ndarray of objects of shape (n,)
            From `check`.

        Returns
        -------
        content : dict of str to ndarray
            As `read`.
        """
        self.n_features_ = X[0].n_features
        self.n_edge_features_ = _first(_edge_widths(X)) or 0
        return self.read(X)

    def read(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Read graphs without scaling their features.

        Parameters
        ----------
        X : ndarray of objects of shape (n,)
            From `check`, with as many features as the training graphs.

        Returns
        -------
        content : dict of str to ndarray
            ``graphs`` (n,).
        """
        for what, now, before in (
            ("node", X[0].n_features, self.n_features_),
            ("edge", _first(_edge_widths(X)), self.n_edge_features_),
        ):
            if now is not None and now != before:
                raise ValueError(
                    f"X has {now} {what} features, but {self.estimator_name} is "
                    f"expecting {before} {what} features as input."
                )
        return {"graphs": X}

    def identity(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Give numbers by which graphs are ordered and split.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        numbers : dict of str to ndarray
            ``digests`` (n, 2) of uint32, which are equal for graphs of equal content.
        """
        digests = b"".join(map(_digest, content["graphs"]))
        return {"digests": np.frombuffer(digests, dtype=np.uint32).reshape(-1, 2)}

    def fit_scaling(
        self, content: dict[str, np.ndarray], weight: np.ndarray | None
    ) -> None:
        """Learn the scale of each feature from the training graphs.

        Parameters
        ----------
        content : dict of str to ndarray
            From `learn`, its rows perhaps repeated.
        weight : ndarray of shape (n,) or None
            Weights of the graphs, each of which is the weight of all its nodes and
            edges.
        """
        x, edge_attr, _ = self._join(content["graphs"])
        nodes, edges = (
            None if weight is None else np.repeat(weight, counts)
            for counts in _sizes(content["graphs"])
        )
        self.node_scaler.fit(x, nodes)
        if self.n_edge_features_:
            self.edge_scaler.fit(edge_attr, edges)

    def tensors(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make the arrays of all graphs, one after another.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        arrays : dict of str to ndarray
            ``x`` and, with edge features, ``edge_attr`` of float64; ``edge_index`` of
            positions within each graph.
        """
        x, edge_attr, edge_index = self._join(content["graphs"])
        arrays = {"x": self.node_scaler.transform(x), "edge_index": edge_index}
        if self.n_edge_features_:
            arrays["edge_attr"] = self.edge_scaler.transform(edge_attr)
        return arrays

    def _join(self, graphs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Put (x, edge_attr, edge_index) of all graphs one after another."""
        none = np.empty((0, self.n_edge_features_))
        x = [graph.x for graph in graphs]
        edge_attr = [
            none if graph.edge_attr is None else graph.edge_attr for graph in graphs
        ]
        edges = [graph.edge_index for graph in graphs]
        return (
            np.concatenate(x, dtype=np.float64),
            np.concatenate(edge_attr, dtype=np.float64),
            np.concatenate(edges, axis=1),
        )

    def samples(
        self,
        content: dict[str, np.ndarray],
        net: Any,
        target: np.ndarray | None = None,
    ) -> Any:
        """Put graphs into tensors.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.
        net : Net
            Where the tensors go, and in which precision.
        target : ndarray of shape (n, ...), optional
            Encoded targets.

        Returns
        -------
        samples : GraphSamples
            One for each row of the content.
        """
        from skattn._engine._graph_samples import GraphSamples
        from skattn._engine._runtime import placement

        arrays: dict[str, Any] = self.tensors(content)
        n_nodes, n_edges = _sizes(content["graphs"])
        return GraphSamples(
            **arrays,
            n_nodes=n_nodes,
            n_edges=n_edges,
            target=target,
            **placement(net),
        )

    def describe(self) -> dict[str, Any]:
        """Say what the tensors look like.

        Returns
        -------
        fields : dict of str to object
            Fields of `DataSpec`.
        """
        return {
            "input": "graph",
            "n_features": self.n_features_,
            "n_edge_features": self.n_edge_features_,
        }

    @property
    def n_features_in(self) -> int:
        """Features of a node."""
        return self.n_features_

    def axis_names(self, axis: str, content: Any = None) -> None:
        """Leave the positions along all axes of attention without names.

        Parameters
        ----------
        axis : str
            Ignored: graphs have nodes of their own.
        content : object
            Ignored.
        """


def _sizes(graphs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count nodes and edges of each graph."""
    sizes = [(graph.n_nodes, graph.n_edges) for graph in graphs]
    n_nodes, n_edges = np.array(sizes, dtype=np.int64).T
    return n_nodes, n_edges


def _edge_widths(graphs: np.ndarray) -> list[int | None]:
    """Give the edge features of each graph; None where it has no edge to tell."""
    return [
        graph.n_edge_features if graph.n_edges or graph.n_edge_features else None
        for graph in graphs
    ]


def _first(widths: Sequence[int | None]) -> int | None:
    return next((width for width in widths if width is not None), None)


def _digest(graph: Graph) -> bytes:
    """Summarise a graph: 64 bits that do not depend on the types of its numbers."""
    state = hashlib.blake2b(digest_size=8)
    state.update(np.array([graph.n_nodes, graph.n_edges]).tobytes())
    state.update(graph.edge_index.tobytes())
    for features in (graph.x, graph.edge_attr):
        if features is not None:
            # Adding zero makes both zeros equal.
            state.update((features.astype(np.float64) + 0.0).tobytes())
    return state.digest()
