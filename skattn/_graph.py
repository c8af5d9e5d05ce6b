"""Graphs: nodes, edges and their features, shared and never changed."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Self

import numpy as np
import pandas as pd
from scipy import sparse

# So many culprits does an error message name.
_NAMED = 5

_KINDS = {"i": "integers", "U": "strings", "O": "strings"}


class Graph:
    """Nodes, the edges between them, and the features of both.

    A graph never changes. Estimators take it as a parameter, and all of their clones
    share it.

    Parameters
    ----------
    edge_index : array-like of shape (2, n_edges)
        Where each edge starts, and where it ends, as positions of nodes from 0. A
        message travels from the first row to the second.
    x : array-like or scipy sparse array of shape (n_nodes, n_features), default=None
        Features of the nodes, in the order of `nodes`. A sparse array stays sparse.
        float64 stays what it is, other numbers become float32.
    edge_attr : array-like of shape (n_edges,) or (n_edges, n_edge_features), \
default=None
        Features of the edges, in the order of `edge_index`.
    nodes : array-like of shape (n_nodes,), default=None
        Name of each node: all integers or all strings, each once. None takes the index
        of `x` where that is a DataFrame with one, and else counts from 0.
    n_nodes : int, default=None
        Needed where neither `x` nor `nodes` tells.
    directed : bool, default=False
        Whether an edge may lack its reverse. Of an undirected graph `edge_index` holds
        both directions of each edge, and a self-loop once. `from_edges` adds reverses.

    Attributes
    ----------
    edge_index : ndarray of shape (2, n_edges)
        Of int64, sorted by target, then by source, each edge once.
    x : ndarray or csr_array of shape (n_nodes, n_features), or None
        Features of the nodes.
    edge_attr : ndarray of shape (n_edges, n_edge_features), or None
        Features of the edges, in the order of the attribute `edge_index`.
    nodes : ndarray of shape (n_nodes,)
        Names of the nodes.
    indptr : ndarray of shape (n_nodes + 1,)
        The edges that end in node `i` are ``indptr[i]`` to ``indptr[i + 1] - 1``.
    n_nodes, n_edges, n_features, n_edge_features : int
        Sizes. An edge of an undirected graph counts in both directions.
    is_directed : bool
        The parameter `directed`.
    is_sparse : bool
        Whether `x` is a sparse array.

    Raises
    ------
    ValueError
        If an edge names a node that does not exist, or lacks its reverse; if a shape is
        wrong, or a feature is not finite; if a name is there twice; if an edge with
        features is there twice; if there is no node.
    TypeError
        If `n_nodes` is no integer.

    Warns
    -----
    UserWarning
        If an edge without features is there twice; it is kept once.

    See Also
    --------
    Graph.from_edges : From pairs of names.
    Graph.from_scipy : From an adjacency matrix.
    Graph.from_networkx : From a networkx graph.
    Graph.from_data : From a torch-geometric ``Data``.

    Notes
    -----
    Arrays that already have the right type and order are not copied: the graph looks at
    the caller's arrays, which must not be changed afterwards. All arrays of a graph are
    read-only.

    `sklearn.base.clone`, `copy.copy` and `copy.deepcopy` return the graph itself, so
    that clones in a search take no memory. A pickle holds the arrays, and joblib maps
    large ones into its worker processes instead of copying them.

    The two directions of an edge may have different features.

    Examples
    --------
    >>> import numpy as np
    >>> from skattn import Graph
    >>> edges = [("ann", "bob"), ("bob", "cem")]
    >>> graph = Graph.from_edges(edges, x=np.eye(3), nodes=["ann", "bob", "cem"])
    >>> graph
    Graph(nodes=3, edges=4, features=3, edge_features=0, directed=False)
    >>> graph.edge_index
    array([[1, 0, 2, 1],
           [0, 1, 1, 2]])
    >>> graph.positions(["cem", "ann"])
    array([2, 0])
    >>> graph.subgraph([0, 1]).nodes
    array(['ann', 'bob'], dtype='<U3')
    """

    edge_index: np.ndarray
    x: Any
    edge_attr: np.ndarray | None
    indptr: np.ndarray
    is_directed: bool
    _names: _Names

    def __init__(
        self,
        edge_index: Any,
        x: Any = None,
        edge_attr: Any = None,
        *,
        nodes: Any = None,
        n_nodes: int | None = None,
        directed: bool = False,
    ) -> None:
        x, names = _read_nodes(x, nodes, n_nodes)
        edges = _read_edge_index(edge_index, len(names))
        edge_attr = _read_edge_attr(edge_attr, edges.shape[1])
        edges, indptr, edge_attr = _sorted(edges, edge_attr, names)
        if not directed:
            _check_reverses(edges, indptr, names)
        self._assign(edges, indptr, x, edge_attr, names, directed)

    def _assign(
        self,
        edge_index: np.ndarray,
        indptr: np.ndarray,
        x: Any,
        edge_attr: np.ndarray | None,
        names: _Names,
        directed: bool,
    ) -> Self:
        fields = {
            "edge_index": edge_index,
            "indptr": indptr,
            "x": x,
            "edge_attr": edge_attr,
            "is_directed": bool(directed),
            "_names": names,
        }
        self.__setstate__(fields)
        return self

    @classmethod
    def from_edges(
        cls,
        edges: Any,
        x: Any = None,
        edge_attr: Any = None,
        *,
        nodes: Any = None,
        n_nodes: int | None = None,
        directed: bool = False,
    ) -> Self:
        """Make a graph of pairs of names.

        Parameters
        ----------
        edges : array-like or DataFrame of shape (n_edges, 2)
            Names of the nodes where each edge starts and ends: those in `nodes`, or
            positions where that is None.
        x : array-like or scipy sparse array of shape (n_nodes, n_features), \
default=None
            Features of the nodes, in the order of `nodes`.
        edge_attr : array-like of shape (n_edges,) or (n_edges, n_edge_features), \
default=None
            Features of the edges, in the order of `edges`.
        nodes : array-like of shape (n_nodes,), default=None
            Name of each node: all integers or all strings, each once. None takes the
            index of `x` where that is a DataFrame with one, and else counts from 0.
        n_nodes : int, default=None
            Needed where neither `x` nor `nodes` tells.
        directed : bool, default=False
            Whether to keep the edges as they are. An undirected graph gets the missing
            reverse of each edge, with the edge's features.

        Returns
        -------
        graph : Graph
            With the edges sorted.

        Raises
        ------
        ValueError
            If an edge names an unknown node, and as the class does.
        """
        x, names = _read_nodes(x, nodes, n_nodes)
        pairs = _read_ids(edges, "edges")
        if not pairs.size:
            pairs = np.empty((0, 2), dtype=np.int64)
        elif pairs.ndim != 2 or pairs.shape[1] != 2:
            raise ValueError(
                f"Graph: edges has the shape {pairs.shape}, but must have one row for "
                "each edge and two columns. Features of edges go into edge_attr; for "
                "two rows use Graph(edge_index)."
            )
        found = names.find(pairs.ravel(), "edges").reshape(-1, 2).T
        found = np.ascontiguousarray(found)
        edge_attr = _read_edge_attr(edge_attr, found.shape[1])
        found, indptr, edge_attr = _sorted(found, edge_attr, names)
        if not directed:
            found, indptr, origin = _with_reverses(found, indptr)
            edge_attr = None if edge_attr is None else edge_attr[origin]
        self = cls.__new__(cls)
        return self._assign(found, indptr, x, edge_attr, names, directed)

    @classmethod
    def from_scipy(
        cls, adjacency: Any, x: Any = None, *, nodes: Any = None, directed: bool = False
    ) -> Self:
        """Make a graph of an adjacency matrix.

        Parameters
        ----------
        adjacency : scipy sparse array of shape (n_nodes, n_nodes)
            Each stored value at ``[i, j]`` is an edge from `i` to `j`, zeros included.
            Values stored twice are added up, as scipy does. The values are the edges'
            only feature, unless all of them are 1.
        x : array-like or scipy sparse array of shape (n_nodes, n_features), \
default=None
            Features of the nodes, in the order of `nodes`.
        nodes : array-like of shape (n_nodes,), default=None
            Name of each node: all integers or all strings, each once. None takes the
            index of `x` where that is a DataFrame with one, and else counts from 0.
        directed : bool, default=False
            Whether `adjacency` may differ from its transpose.

        Returns
        -------
        graph : Graph
            With the edges sorted.

        Raises
        ------
        ValueError
            If `adjacency` is not sparse, not square, not finite, or not symmetric where
            the graph is undirected, and as the class does.
        """
        if not sparse.issparse(adjacency):
            raise ValueError(
                f"Graph: adjacency is of type {type(adjacency).__name__}, but must be "
                "a scipy sparse array. Wrap it: scipy.sparse.csr_array(adjacency)."
            )
        if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
            raise ValueError(
                f"Graph: adjacency has the shape {adjacency.shape}, but must be square."
            )
        columns = sparse.csc_array(adjacency)  # sorted by target
        if not columns.has_canonical_format:
            columns = columns.copy()
            columns.sum_duplicates()
        x, names = _read_nodes(x, nodes, columns.shape[0], "adjacency")
        edges = _edges_of(columns)
        indptr = columns.indptr.astype(np.int64)
        edge_attr = None
        if not (columns.data == 1).all():
            edge_attr = _read_edge_attr(columns.data, edges.shape[1], "adjacency")
        if not directed:
            _check_reverses(edges, indptr, names)
            if edge_attr is not None:
                _check_symmetry(edges, indptr, edge_attr[:, 0], names)
        self = cls.__new__(cls)
        return self._assign(edges, indptr, x, edge_attr, names, directed)

    @classmethod
    def from_networkx(
        cls,
        graph: Any,
        node_features: str | Sequence[str] | None = None,
        edge_features: str | Sequence[str] | None = None,
    ) -> Self:
        """Make a graph of a networkx graph.

        Parameters
        ----------
        graph : networkx.Graph or networkx.DiGraph
            Its nodes are all integers or all strings, and keep their names and order.
        node_features : str or sequence of str, default=None
            Attributes of the nodes that become `x`, side by side: numbers, or vectors
            of one length.
        edge_features : str or sequence of str, default=None
            Attributes of the edges that become `edge_attr`.

        Returns
        -------
        graph : Graph
            Directed if the networkx graph is.

        Raises
        ------
        TypeError
            If `graph` is no networkx graph.
        ValueError
            If there may be several edges from one node to another, if a node is
            something else than an integer or a string, if an attribute is missing, and
            as the class does.
        """
        if not hasattr(graph, "is_multigraph"):
            raise TypeError(
                f"Graph: graph is of type {type(graph).__name__}, but must be a "
                "networkx Graph or DiGraph."
            )
        if graph.is_multigraph():
            simple = "DiGraph" if graph.is_directed() else "Graph"
            raise ValueError(
                f"Graph: graph is a {type(graph).__name__}, which may hold several "
                "edges from one node to another. Turn it into a simple one: "
                f"networkx.{simple}(graph) keeps the last edge of each pair."
            )
        for node in graph.nodes:
            if not isinstance(node, numbers.Integral | str):
                raise ValueError(
                    f"Graph: the node {node!r} is of type {type(node).__name__}, but "
                    "nodes are named either by integers or by strings. Rename them: "
                    "networkx.convert_node_labels_to_integers(graph)."
                )
        x = edge_attr = None
        if node_features:
            names, found = _split(graph.nodes(data=True), 1)
            x = _gather(found, node_features, lambda at: f"node {names[at][0]!r}")
        if edge_features:
            ends, found = _split(graph.edges(data=True), 2)
            edge_attr = _gather(
                found, edge_features, lambda at: "edge {!r} -> {!r}".format(*ends[at])
            )
        return cls.from_edges(
            list(graph.edges),
            x,
            edge_attr,
            nodes=list(graph.nodes),
            directed=graph.is_directed(),
        )

    @classmethod
    def from_data(cls, data: Any) -> Self:
        """Make a graph of a torch-geometric ``Data``.

        Parameters
        ----------
        data : torch_geometric.data.Data
            Its ``x``, dense or sparse, ``edge_index`` and ``edge_attr`` are taken;
            labels, masks and everything else are no part of a graph. Nothing is copied
            where the types fit.

        Returns
        -------
        graph : Graph
            Undirected if ``data.is_undirected()``: all edges have reverses with equal
            features.

        Raises
        ------
        TypeError
            If `data` is no ``Data``.
        ValueError
            If `data` has no ``edge_index``, and as the class does.
        """
        if hasattr(data, "node_types"):
            raise TypeError(
                f"Graph: data is of type {type(data).__name__}, with nodes of several "
                "types, but a graph has one type. Call data.to_homogeneous() first."
            )
        if not hasattr(data, "is_undirected"):
            raise TypeError(
                f"Graph: data is of type {type(data).__name__}, but must be a "
                "torch_geometric.data.Data."
            )
        if data.edge_index is None:
            raise ValueError(
                "Graph: data has no edge_index. Set it; torch.empty((2, 0)) means no "
                "edges."
            )
        return cls(
            _array_of(data.edge_index),
            _array_of(data.x),
            _array_of(data.edge_attr),
            n_nodes=data.num_nodes,
            directed=not data.is_undirected(),
        )

    @property
    def nodes(self) -> np.ndarray:
        """Names of the nodes."""
        return self._names.array

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self._names)

    @property
    def n_edges(self) -> int:
        """Number of edges, each direction by itself."""
        return self.edge_index.shape[1]

    @property
    def n_features(self) -> int:
        """Number of features of a node."""
        return 0 if self.x is None else self.x.shape[1]

    @property
    def n_edge_features(self) -> int:
        """Number of features of an edge."""
        return 0 if self.edge_attr is None else self.edge_attr.shape[1]

    @property
    def is_sparse(self) -> bool:
        """Whether `x` is a sparse array."""
        return sparse.issparse(self.x)

    def positions(self, ids: Any) -> np.ndarray:
        """Find nodes by their names.

        Parameters
        ----------
        ids : array-like of shape (n,) or (n, 1)
            Names of nodes, in any order, any number of times.

        Returns
        -------
        positions : ndarray of shape (n,)
            Of int64, between 0 and ``n_nodes - 1``.

        Raises
        ------
        ValueError
            If a name is unknown, or the shape is another one.
        """
        read = _read_ids(ids, "ids")
        if read.ndim == 2 and read.shape[1] == 1:
            read = read[:, 0]
        if read.ndim != 1:
            raise ValueError(
                f"Graph: ids has the shape {read.shape}, but must have one column, or "
                "one dimension."
            )
        return self._names.find(read, "ids")

    def subgraph(self, positions: Any) -> Self:
        """Take some nodes and all edges between them.

        Parameters
        ----------
        positions : array-like of shape (n,)
            Positions of the nodes, each once, in the order of the new graph.

        Returns
        -------
        graph : Graph
            With the names, features and direction of this one.

        Raises
        ------
        ValueError
            If a position does not exist or is there twice, or if there is none.
        """
        kept = np.asarray(positions)
        if kept.ndim != 1 or (kept.size and kept.dtype.kind not in "iu"):
            raise ValueError(
                f"Graph: positions has the dtype {kept.dtype} and the shape "
                f"{kept.shape}, but must hold integers in one dimension. Use "
                "numpy.flatnonzero(mask) for a mask, Graph.positions(ids) for names."
            )
        if not kept.size:
            raise ValueError(
                "Graph: positions is empty, but a subgraph has a node at least."
            )
        kept = kept.astype(np.int64)
        wrong = (kept < 0) | (kept >= self.n_nodes)
        if wrong.any():
            raise ValueError(
                f"Graph: positions holds {kept[wrong.argmax()]}, but the graph has "
                f"{self.n_nodes} nodes."
            )
        place = np.full(self.n_nodes, -1)
        place[kept] = np.arange(len(kept))
        twice = np.flatnonzero(place[kept] != np.arange(len(kept)))
        if twice.size:
            raise ValueError(f"Graph: positions holds {kept[twice[0]]} twice.")
        starts = self.indptr[kept]
        counts = self.indptr[kept + 1] - starts
        ends = np.cumsum(counts)
        chosen = np.arange(ends[-1]) + np.repeat(starts - ends + counts, counts)
        sources = place[self.edge_index[0, chosen]]
        inside = sources >= 0
        targets = np.repeat(np.arange(len(kept)), counts)
        edges = np.stack([sources[inside], targets[inside]])
        edge_attr = None
        if self.edge_attr is not None:
            edge_attr = self.edge_attr[chosen[inside]]
        names = _Names(self.nodes[kept])
        edges, indptr, edge_attr = _sorted(edges, edge_attr, names)
        x = None if self.x is None else self.x[kept]
        made = type(self).__new__(type(self))
        return made._assign(edges, indptr, x, edge_attr, names, self.is_directed)

    def __repr__(self) -> str:
        kind = " (sparse)" if self.is_sparse else ""
        return (
            f"{type(self).__name__}(nodes={self.n_nodes}, edges={self.n_edges}, "
            f"features={self.n_features}{kind}, edge_features={self.n_edge_features}, "
            f"directed={self.is_directed})"
        )

    def __sklearn_clone__(self) -> Self:
        return self

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # Unpickled arrays are writeable, except where joblib has mapped them.
        vars(self).update({name: _frozen(value) for name, value in state.items()})

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(
            f"A graph never changes: {name!r} cannot be set. Make a new Graph."
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"A graph never changes: {name!r} cannot be deleted. Make a new Graph."
        )


class _Names:
    """Names of nodes, each once, and where they are.

    Parameters
    ----------
    array : ndarray of shape (n_nodes,)
        Of integers or strings.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = _frozen(array)
        is_number = array.dtype.kind == "i"
        # The usual names are where they say, and need no table.
        self.counts = is_number and np.array_equal(array, np.arange(len(array)))
        self._index: pd.Index | None = None

    def __len__(self) -> int:
        return len(self.array)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_index": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self.array = _frozen(self.array)

    @property
    def index(self) -> pd.Index:
        if self._index is None:
            if self.counts:
                self._index = pd.RangeIndex(len(self.array))
            else:
                self._index = _index_of(self.array)
        return self._index

    def find(self, ids: np.ndarray, what: str) -> np.ndarray:
        """Give the positions of names: (n,) of int64."""
        if not ids.size:
            return np.empty(0, dtype=np.int64)
        ours, theirs = (_KINDS[each.dtype.kind] for each in (self.array, ids))
        if ours != theirs:
            raise ValueError(
                f"Graph: {what} holds {theirs}, but the nodes are named by {ours}. "
                "Name them in the same way (the parameter nodes gives their names)."
            )
        found = self.index.get_indexer(_index_of(ids)).astype(np.int64, copy=False)
        if (found < 0).any():
            unknown = pd.unique(ids[found < 0])
            some = ", ".join(map(repr, unknown[:_NAMED].tolist()))
            more = ", ..." if len(unknown) > _NAMED else ""
            known = (
                f"the nodes are 0 to {len(self) - 1}"
                if self.counts
                else "the attribute nodes lists all names"
            )
            raise ValueError(
                f"Graph: {what} names {len(unknown)} node(s) that the graph does not "
                f"have: {some}{more}; {known}."
            )
        return found

    def edge(self, source: int, target: int) -> str:
        """Write an edge."""
        return f"{self.array[source].item()!r} -> {self.array[target].item()!r}"


def _index_of(ids: np.ndarray) -> pd.Index:
    if ids.dtype.kind != "i":  # as objects, strings are found twice as fast
        ids = ids.astype(object, copy=False)
    return pd.Index(ids, dtype=ids.dtype)


def _frozen(value: Any) -> Any:
    """Look at an array read-only; other values stay."""
    if sparse.issparse(value):
        for part in ("data", "indices", "indptr"):
            setattr(value, part, _frozen(getattr(value, part)))
    elif isinstance(value, np.ndarray) and value.flags.writeable:
        value = value.view()
        value.flags.writeable = False
    return value


def _read_nodes(
    x: Any, nodes: Any, n_nodes: int | None, teller: str = "n_nodes"
) -> tuple[Any, _Names]:
    """Read the features and the names of the nodes; `teller` told `n_nodes`."""
    if n_nodes is not None and (
        not isinstance(n_nodes, numbers.Integral) or isinstance(n_nodes, bool)
    ):
        raise TypeError(f"Graph: n_nodes={n_nodes!r} must be an integer, or None.")
    if nodes is None and isinstance(x, pd.DataFrame):
        # A frame that names its rows names the nodes.
        nodes = None if x.index.equals(pd.RangeIndex(len(x))) else x.index
    names = None if nodes is None else _read_names(nodes)
    if x is not None:
        x = _read_floats(x, "x")
        if x.ndim != 2:
            raise ValueError(
                f"Graph: x has the shape {x.shape}, but must have one row for each "
                "node. Use x.reshape(-1, 1) for a single feature."
            )
    told = {
        teller: None if n_nodes is None else int(n_nodes),
        "nodes": None if names is None else len(names),
        "x": None if x is None else x.shape[0],
    }
    counts = {name: count for name, count in told.items() if count is not None}
    if not counts:
        raise ValueError(
            "Graph: the number of nodes is unknown, because an edge list tells nothing "
            "about nodes without edges. Give x, nodes or n_nodes."
        )
    if len(set(counts.values())) > 1:
        differing = " and ".join(f"{count} ({name})" for name, count in counts.items())
        raise ValueError(f"Graph: the numbers of nodes differ: {differing}.")
    count = next(iter(counts.values()))
    if count < 1:
        raise ValueError(f"Graph: a graph has a node at least, not {count}.")
    if names is None:
        names = _Names(np.arange(count))
    if x is not None and (at := _not_finite(x)) is not None:
        row, column = at
        raise ValueError(
            f"Graph: x holds {x[row, column]} in row {row} (node "
            f"{names.array[row].item()!r}), column {column}. Fill it first, for "
            "example by sklearn.impute.SimpleImputer."
        )
    return x, names


def _read_ids(values: Any, what: str) -> np.ndarray:
    """Read names in any shape: integers (int64) or strings (perhaps objects)."""
    array = values.to_numpy() if hasattr(values, "to_numpy") else None
    if array is None:
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise ValueError(f"Graph: {what} is no array: {error}.") from error
    if not array.size:
        return np.empty(array.shape, dtype=np.int64)
    if array.dtype.kind == "U" and not isinstance(values, np.ndarray):
        array = np.asarray(values, dtype=object)  # were they strings before?
    kind = array.dtype.kind
    if kind in "OT":
        array = array.astype(object, copy=False)
        kind = pd.api.types.infer_dtype(array.ravel(), skipna=False)
    if kind in ("U", "string"):
        return array
    if kind in ("i", "u", "integer"):
        limits = np.iinfo(np.int64)
        if array.min() < limits.min or array.max() > limits.max:
            raise ValueError(f"Graph: {what} holds integers beyond those of int64.")
        return array.astype(np.int64, copy=False)
    dtype = array.dtype if array.dtype.kind != "O" else f"{kind} objects"
    raise ValueError(
        f"Graph: {what} has the dtype {dtype}, but nodes are named either by integers "
        "or by strings. Convert all of them to one, with astype(int) or astype(str)."
    )


def _read_names(nodes: Any) -> _Names:
    array = _read_ids(nodes, "nodes")
    if array.ndim != 1:
        raise ValueError(
            f"Graph: nodes has the shape {array.shape}, but must have one dimension."
        )
    names = _Names(array if array.dtype.kind == "i" else array.astype(str))
    if not names.index.is_unique:
        again = int(names.index.duplicated().argmax())
        first = int((names.array == names.array[again]).argmax())
        raise ValueError(
            f"Graph: nodes holds {names.array[again].item()!r} twice, at {first} and "
            f"{again}. Each node needs a name of its own."
        )
    return names


def _read_floats(values: Any, what: str) -> Any:
    """Read numbers: float64 where they are, else float32; sparse stays sparse."""
    if sparse.issparse(values):
        array = sparse.csr_array(values)
        if not array.has_canonical_format:
            array = array.copy()
            array.sum_duplicates()
        dtype = _float_of(array.dtype, what)
        return array.astype(dtype, copy=False)
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"Graph: {what} holds something that is no number: {error}."
        ) from error
    return np.ascontiguousarray(array, dtype=_float_of(array.dtype, what))


def _float_of(dtype: np.dtype, what: str) -> type:
    if dtype.kind not in "buif":
        raise ValueError(
            f"Graph: {what} has the dtype {dtype}, but must hold real numbers. Encode "
            "it first, for example by sklearn.preprocessing.OneHotEncoder."
        )
    return np.float64 if dtype.kind == "f" and dtype.itemsize >= 8 else np.float32


def _not_finite(array: Any) -> tuple[int, int] | None:
    """Find the first number that is NaN or infinite: (row, column)."""
    values = array.data if sparse.issparse(array) else array
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # no array of its size in the usual case
            return None
    finite = np.isfinite(values)
    if finite.all():
        return None
    at = int(finite.argmin())
    if not sparse.issparse(array):
        return at // array.shape[1], at % array.shape[1]
    row = int(np.searchsorted(array.indptr, at, side="right")) - 1
    return row, int(array.indices[at])


def _read_edge_index(edge_index: Any, n_nodes: int) -> np.ndarray:
    try:
        edges = np.asarray(edge_index)
    except ValueError as error:
        raise ValueError(f"Graph: edge_index is no array: {error}.") from error
    if not edges.size:
        return np.empty((2, 0), dtype=np.int64)
    if edges.ndim != 2 or edges.shape[0] != 2:
        hint = ""
        if edges.ndim == 2 and edges.shape[1] == 2:
            hint = " Transpose it, or use Graph.from_edges."
        raise ValueError(
            f"Graph: edge_index has the shape {edges.shape}, but must have two rows, "
            f"sources and targets.{hint}"
        )
    if edges.dtype.kind not in "iu":
        raise ValueError(
            f"Graph: edge_index has the dtype {edges.dtype}, but must hold positions "
            "of nodes, which are integers. Use Graph.from_edges for names."
        )
    edges = np.ascontiguousarray(edges, dtype=np.int64)
    if edges.min() < 0 or edges.max() >= n_nodes:
        wrong = (edges < 0) | (edges >= n_nodes)
        at = int(wrong.any(axis=0).argmax())
        raise ValueError(
            f"Graph: the edge {edges[0, at]} -> {edges[1, at]}, at {at} in edge_index, "
            f"leads to a node that does not exist; there are {n_nodes}, counted from 0."
        )
    return edges


def _read_edge_attr(
    edge_attr: Any, n_edges: int, what: str = "edge_attr"
) -> np.ndarray | None:
    if edge_attr is None:
        return None
    read = _read_floats(edge_attr, what)
    if sparse.issparse(read):
        read = read.toarray()
    if read.ndim == 1:
        read = read[:, None]
    if read.ndim != 2 or len(read) != n_edges:
        raise ValueError(
            f"Graph: edge_attr has the shape {read.shape}, but must have one row for "
            f"each of the {n_edges} edges."
        )
    if (at := _not_finite(read)) is not None:
        raise ValueError(
            f"Graph: {what} holds {read[at]} at the edge number {at[0]}. Fill it, or "
            "leave the edge out."
        )
    return read if read.shape[1] else None


def _sorted(
    edges: np.ndarray, edge_attr: np.ndarray | None, names: _Names
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Sort edges by target, then source, each once: (edges, indptr, edge_attr)."""
    source, target = edges
    n_nodes, n_edges = len(names), edges.shape[1]
    ascending = (target[1:] > target[:-1]) | (
        (target[1:] == target[:-1]) & (source[1:] > source[:-1])
    )
    if ascending.all():
        counts = np.bincount(target, minlength=n_nodes)
        return edges, np.concatenate([[0], np.cumsum(counts)]), edge_attr
    order = _numbers(n_edges)
    # Four times as fast as numpy.lexsort, in less memory; equal edges become one.
    rows = sparse.coo_array((order, (target, source)), (n_nodes, n_nodes)).tocsr()
    if rows.nnz < n_edges:
        if edge_attr is not None:
            raise _twice(edges, names)
        warnings.warn(
            f"Graph: {n_edges - rows.nnz} of {n_edges} edges repeat others; each edge "
            "is kept once.",
            UserWarning,
            stacklevel=3,
        )
    edge_attr = None if edge_attr is None else edge_attr[rows.data]
    return _edges_of(rows), rows.indptr.astype(np.int64), edge_attr


def _edges_of(rows: Any) -> np.ndarray:
    """Sources and targets of a matrix whose major axis is the target."""
    edges = np.empty((2, rows.nnz), dtype=np.int64)
    edges[0] = rows.indices
    edges[1] = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
    return edges


def _twice(edges: np.ndarray, names: _Names) -> ValueError:
    keys = pd.Series(edges[1] * len(names) + edges[0])
    again = int(keys.duplicated().argmax())
    first = int((keys == keys[again]).argmax())
    return ValueError(
        f"Graph: the edge {names.edge(*edges[:, again])} is there twice, at {first} "
        f"and {again}, and only one of them could keep its features. Leave one out, or "
        "merge their features."
    )


def _numbers(count: int) -> np.ndarray:
    """Count from 0, in few bytes."""
    return np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)


def _rows(data: np.ndarray, edges: np.ndarray, indptr: np.ndarray) -> Any:
    """Put values at sorted edges into a matrix (target, source)."""
    n_nodes = len(indptr) - 1
    return sparse.csr_array((data, edges[0], indptr), shape=(n_nodes, n_nodes))


def _reverses(edges: np.ndarray, indptr: np.ndarray) -> Any:
    """Turn sorted edges round: a matrix (source, target) of their numbers."""
    return _rows(_numbers(edges.shape[1]), edges, indptr).T.tocsr()


def _with_reverses(
    edges: np.ndarray, indptr: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add the missing reverses of sorted edges.

    Returns (edges, indptr, origin), where `origin` numbers the edge that each one was,
    or whose reverse it is.
    """
    reverse = _reverses(edges, indptr)
    reversed_ = reverse.data
    reverse.data = np.full(len(reversed_), 2, dtype=np.int8)
    both = reverse + _rows(np.ones(len(reversed_), dtype=np.int8), edges, indptr)
    origin = np.empty(both.nnz, dtype=np.int64)
    origin[both.data >= 2] = reversed_
    origin[both.data != 2] = np.arange(len(reversed_))  # an edge's own comes first
    return _edges_of(both), both.indptr.astype(np.int64), origin


def _check_reverses(edges: np.ndarray, indptr: np.ndarray, names: _Names) -> None:
    reverse = _reverses(edges, indptr)
    if np.array_equal(reverse.indptr, indptr) and np.array_equal(
        reverse.indices, edges[0]
    ):
        return
    union, _, origin = _with_reverses(edges, indptr)
    added = np.flatnonzero((union != edges[:, origin]).any(axis=0))
    lonely = names.edge(*edges[:, origin[added[0]]])
    raise ValueError(
        f"Graph: {len(added)} of {edges.shape[1]} edges lack their reverse, such as "
        f"{lonely}, but directed=False. Use directed=True, or Graph.from_edges, which "
        "adds reverses (for a matrix, adjacency.maximum(adjacency.T))."
    )


def _check_symmetry(
    edges: np.ndarray, indptr: np.ndarray, values: np.ndarray, names: _Names
) -> None:
    others = values[_reverses(edges, indptr).data]
    if not np.array_equal(values, others):
        at = int((values != others).argmax())
        raise ValueError(
            f"Graph: adjacency is not symmetric: the edge {names.edge(*edges[:, at])} "
            f"has the value {values[at]}, its reverse {others[at]}, but "
            "directed=False. Use directed=True, or (adjacency + adjacency.T) / 2."
        )


def _split(items: Any, length: int) -> tuple[list[Any], list[Any]]:
    """Part what networkx iterates over: names, and dictionaries of attributes."""
    listed = list(items)
    return [item[:length] for item in listed], [item[length] for item in listed]


def _gather(
    found: Sequence[Mapping[str, Any]],
    features: str | Sequence[str],
    owner: Callable[[int], str],
) -> np.ndarray:
    """Put attributes of nodes or edges side by side: (n, n_features)."""
    columns = []
    for feature in [features] if isinstance(features, str) else features:
        for at, attributes in enumerate(found):
            if feature not in attributes:
                raise ValueError(
                    f"Graph: the {owner(at)} has no attribute {feature!r}; it has "
                    f"{list(attributes)}. Set it on all of them."
                )
        try:
            column = np.array([attributes[feature] for attributes in found])
        except ValueError as error:
            raise ValueError(
                f"Graph: the attribute {feature!r} holds vectors of several lengths."
            ) from error
        columns.append(column)
    return np.column_stack(columns)


def _array_of(tensor: Any) -> Any:
    """Look at a tensor through NumPy or SciPy; None stays."""
    if tensor is None:
        return None
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy does not know
        tensor = tensor.float()
    layout = str(tensor.layout)
    if layout == "torch.sparse_coo":
        tensor = tensor.coalesce()
        entries = (tensor.values().numpy(), tuple(tensor.indices().numpy()))
        return sparse.coo_array(entries, shape=tuple(tensor.shape))
    if layout == "torch.sparse_csr":
        parts = (tensor.values(), tensor.col_indices(), tensor.crow_indices())
        arrays = tuple(part.numpy() for part in parts)
        return sparse.csr_array(arrays, shape=tuple(tensor.shape))
    return tensor.numpy()
