"""Nodes of one graph, given by their ids."""

from __future__ import annotations

from copy import copy
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy import sparse

from skattn._graph import Graph
from skattn._inputs._graph_scaling import GraphScaling

# Nodes and edges up to which each training step takes all neighbours.
_SMALL = 200_000
_SAMPLED_NEIGHBOURS = 10


class NodeEncoder:
    """Turn ids of nodes into what their scores depend on.

    Parameters
    ----------
    estimator : NodeClassifier or NodeRegressor
        Its parameters hold the graph and say what training sees of it.
    architecture : Architecture
        What it consumes decides whether features of edges are accepted.
    """

    input = "nodes"
    n_features_in = 1

    def __init__(self, estimator: Any, architecture: Any) -> None:
        self.mode = estimator.mode
        self.num_neighbors = estimator.num_neighbors
        self.batch_size = estimator.batch_size
        self.scaling = GraphScaling(estimator.input_scaling)
        self.takes_edges = "edge_attr" in architecture.consumes
        self.architecture_name = architecture.name
        self.estimator_name = type(estimator).__name__
        self.graph = self._check_graph(estimator.graph)
        if estimator.compile and self.graph.is_sparse:
            raise ValueError(
                "compile=True does not work with sparse node features: torch cannot "
                "compile products with sparse matrices. Set compile=False, or give "
                "dense features."
            )

    def over(self, graph: Graph) -> NodeEncoder:
        """Make an encoder for nodes of another graph, perhaps one that has grown.

        Parameters
        ----------
        graph : Graph
            With as many features of nodes and edges as the fitted one.

        Returns
        -------
        encoder : NodeEncoder
            With the same scales.

        Raises
        ------
        ValueError
            If the features are others.
        """
        other = copy(self)
        other.graph = self._check_graph(graph)
        for what in ("n_features", "n_edge_features", "is_sparse"):
            now, before = getattr(graph, what), getattr(self.graph, what)
            if now != before:
                raise ValueError(
                    f"The graph has {what}={now}, but {self.estimator_name} was fitted "
                    f"with {what}={before}. Give its nodes and edges the features that "
                    "those of the fitted graph have, in the same form."
                )
        return other

    def _check_graph(self, graph: Any) -> Graph:
        if not isinstance(graph, Graph):
            raise ValueError(
                f"{self.estimator_name} needs a graph=skattn.Graph(...), but graph is "
                f"{graph!r}. Graph.from_edges, from_scipy, from_networkx and from_data "
                "make one."
            )
        if graph.x is None or not graph.n_features:
            raise ValueError(
                "The graph has no node features, and attention has nothing to look "
                "at. Pass x to Graph: for instance degrees, or scipy.sparse.eye_array("
                "n_nodes) where no node is ever added."
            )
        if graph.n_edge_features and not self.takes_edges:
            raise ValueError(
                f"The graph has {graph.n_edge_features} edge features, which the "
                f"architecture {self.architecture_name!r} does not take. Choose one "
                "that consumes 'edge_attr', or make a graph without them."
            )
        return graph

    def check(self, X: Any) -> np.ndarray:
        """Find nodes by their ids.

        Parameters
        ----------
        X : array-like of shape (n, 1) or (n,), or DataFrame of one column
            Ids of nodes.

        Returns
        -------
        positions : ndarray of int64 of shape (n,)
            Where they are in the graph.
        """
        if sparse.issparse(X):
            raise ValueError(
                f"{self.estimator_name} takes the ids of nodes as X, but X is sparse. "
                "Sparse features belong into the graph: Graph(edge_index, x=features)."
            )
        ids = np.asarray(X)
        if ids.ndim > 2 or (ids.ndim == 2 and ids.shape[1] != 1) or not ids.ndim:
            raise ValueError(
                f"{self.estimator_name} takes the ids of nodes as X of shape (n, 1), "
                f"but X has shape {ids.shape}. The features of the nodes belong into "
                "the graph: Graph(edge_index, x=features)."
            )
        if not ids.size:
            raise ValueError(
                f"{self.estimator_name}: X has 0 sample(s) (shape={ids.shape}) while a "
                "minimum of 1 is required."
            )
        if ids.dtype.kind == "f":
            raise ValueError(
                f"{self.estimator_name} takes the ids of nodes as X, but X holds "
                f"{ids.dtype} numbers: features (which belong into the graph), or ids "
                "that a step before the estimator has changed, such as a scaler."
            )
        return self.graph.positions(ids)

    def learn(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Give the content of the training rows; see `read`."""
        return self.read(X)

    def read(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Give the content of some rows.

        Parameters
        ----------
        X : ndarray of int64 of shape (n,)
            From `check`.

        Returns
        -------
        content : dict of str to ndarray
            ``nodes`` (n,) of int64.
        """
        return {"nodes": X}

    def identity(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Give numbers by which nodes are ordered and split: ids, or digests of names.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        numbers : dict of str to ndarray
            ``ids`` (n, ...). Positions would change with the nodes before a node.
        """
        ids = self.graph.nodes[content["nodes"]]
        if ids.dtype.kind in "iu":
            return {"ids": ids}
        digests = b"".join(
            blake2b(str(name).encode(), digest_size=8).digest() for name in ids
        )
        return {"ids": np.frombuffer(digests, dtype=np.uint32).reshape(-1, 2)}

    def fit_scaling(
        self, content: dict[str, np.ndarray], weight: np.ndarray | None
    ) -> None:
        """Learn scales of the features from the part of the graph that training sees.

        Parameters
        ----------
        content : dict of str to ndarray
            From `learn`, its rows perhaps repeated.
        weight : ndarray of shape (n,) or None
            Ignored: a node counts once, as it does in the graph.
        """
        self.trained_ = np.unique(content["nodes"])
        seen = self.graph
        if self.mode == "inductive":
            seen = self.graph.subgraph(self.trained_)
        self.scaling.fit(seen.x, seen.edge_attr)

    def samples(
        self,
        content: dict[str, np.ndarray],
        net: Any,
        target: np.ndarray | None = None,
    ) -> Any:
        """Make samples.

        In inductive mode, training nodes exchange messages among themselves, held-out
        ones with all nodes of the content; everything else sees the whole graph.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.
        net : Net
            Its module says over how many hops messages are sent.
        target : ndarray of shape (n, ...), optional
            Encoded targets; without them, samples are for prediction.

        Returns
        -------
        samples : NodeSamples
            One for each row of the content.
        """
        import torch

        from skattn._engine._node_samples import GraphTensors, NodeSamples
        from skattn._engine._runtime import placement

        nodes = content["nodes"]
        module = getattr(net.module_, "_orig_mod", net.module_)
        n_hops = None if module.layers is None else len(module.layers)
        whole = GraphTensors(self.graph, self.scaling, **placement(net))
        if target is None:
            return NodeSamples(whole, nodes, n_hops=n_hops)
        known, trained = self.trained_, whole
        if self.mode == "inductive":
            visible = np.unique(np.concatenate([nodes, known]))
            whole = GraphTensors(
                self.graph.subgraph(visible), self.scaling, **placement(net)
            )
            nodes, known = (np.searchsorted(visible, part) for part in (nodes, known))
            trained = GraphTensors(
                whole.graph.subgraph(known), self.scaling, **placement(net)
            )
        limit = self._limit(trained.graph, n_hops)
        return NodeSamples(
            whole,
            nodes,
            n_hops=n_hops,
            num_neighbors=limit,
            is_whole=limit is None and self.batch_size == "auto",
            seed=torch.initial_seed(),  # that of the fit
            target=target,
            trained=(trained, known),
        )

    def _limit(self, graph: Graph, n_hops: int | None) -> int | None:
        """Decide how many edges into a node are sampled in training on a graph."""
        size = graph.n_nodes + graph.n_edges
        if self.num_neighbors != "auto":
            limit = self.num_neighbors
        else:
            limit = None if size <= _SMALL or n_hops is None else _SAMPLED_NEIGHBOURS
        if limit is not None and n_hops is None:
            raise ValueError(
                f"num_neighbors={limit} samples neighbourhoods, which the architecture "
                f"{self.architecture_name!r} cannot: its module has no 'layers'. Set "
                "num_neighbors=None."
            )
        return limit

    def describe(self) -> dict[str, Any]:
        """Say what the tensors look like.

        Returns
        -------
        fields : dict of str to object
            Fields of `DataSpec`.
        """
        return {
            "input": "nodes",
            "n_features": self.graph.n_features,
            "n_edge_features": self.graph.n_edge_features,
        }

    def axis_names(self, axis: str, content: Any = None) -> list[str] | None:
        """Name the positions along an axis of attention.

        Parameters
        ----------
        axis : str
            ``"nodes"``, or something else.
        content : object
            Ignored.

        Returns
        -------
        names : list of str or None
            Ids of all nodes of the graph; None for another axis.
        """
        return list(map(str, self.graph.nodes)) if axis == "nodes" else None
