"""How much attention can flow from the read-out to each input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import maximum_flow
from sklearn.utils import Bunch

from skattn.inspection._edges import is_of_graphs
from skattn.inspection._explanation import Collected, explanation, named_subject
from skattn.inspection._follow import (
    check_rollout,
    collect,
    collect_beside,
    fused_heads,
    mixture,
)
from skattn.inspection._paths import Paths, Shares
from skattn.inspection._run import walk
from skattn.inspection._streams import Layout, Step, Stream

# Capacities are whole numbers: a share of one is so many, and what nothing limits more.
_ONE = 1 << 24
_UNLIMITED = 1 << 30


def attention_flow(
    estimator: Any,
    X: Any = None,
    *,
    head_fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    axis: str | None = None,
) -> Bunch:
    r"""Rank inputs by how much attention can flow to them.

    The weights :math:`\hat A_l = \rho I + (1 - \rho) A_l` are the capacities of a
    network whose nodes are the positions of each layer. The relevance of an input is
    the maximum flow to this input alone from a position that the head reads, averaged
    over these.

    A maximum flow is computed for each input and each position that is read, through
    all weights of all layers: with `n` inputs that takes at least :math:`n^3` steps a
    sample where a single token is read, and :math:`n^4` where all are. On a
    core, two layers over 100 features take 0.1 seconds a sample; over 50 steps of a
    series, all of which are read, 1.2 seconds. Prefer `attention_rollout` for more.

    Parameters
    ----------
    estimator : estimator
        As for `skattn.inspection.attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    head_fusion, residual, discard : str or float
        As for `skattn.inspection.attention_rollout`.
    axis : str, optional
        As there.

    Returns
    -------
    explanation : Bunch
        As `skattn.inspection.attention_rollout` gives it, with flows as
        ``importances``: between 0 and 1, and of no constant sum.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, attends along the edges of graphs, or
        mixes attention within groups with attention between them; if there is no such
        axis, or a parameter is out of range.

    References
    ----------
    Abnar, Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, arXiv
    2005.00928.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import attention_flow
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> attention_flow(clf, X[:10]).importances.shape
    (10, 4)
    """
    check_rollout(head_fusion, residual, discard)
    subject = named_subject(estimator, X, "attention_flow")
    name = subject.estimator.architecture_.name
    if is_of_graphs(subject):
        raise ValueError(
            f"The architecture {name!r} attends along the edges of graphs, through "
            "which attention_flow does not go. Use attention_rollout, which does."
        )
    collected = Collected(subject)
    for batch in walk(subject, with_gradient=True):
        paths = Paths(batch, subject)
        fused = [fused_heads(each, head_fusion, discard) for each in batch.records]
        _check_groups(paths, fused, name)
        sides = paths.read_out(batch.gradients(mixture(batch.scores)))
        start = paths.start(sides).shares
        flows: dict[Stream, np.ndarray] = {}
        for row in range(len(batch.rows)):
            network = _Network(paths, row)
            network.open(start)
            for together in reversed(paths.steps):
                network.pass_layer(together, fused, residual)
            for stream, flow in network.flows().items():
                shape = (len(batch.rows), 1, 1, len(flow))
                flows.setdefault(stream, np.zeros(shape))[row, 0, 0] = flow
        collect(collected, paths, batch, flows, np.ones((len(batch.rows), 1)))
        collect_beside(collected, paths, batch, fused)
    return explanation(collected.axes(), axis, "attention_flow", name)


def _check_groups(paths: Paths, fused: Sequence[np.ndarray], name: str) -> None:
    groups: dict[Stream, int] = {}
    for step in paths.each():
        count = fused[step.number].shape[1]
        for stream in (*step.queries, *step.keys):
            if step.by_group or groups.setdefault(stream, count) != count:
                raise ValueError(
                    f"The architecture {name!r} mixes attention within groups, such as "
                    "channels, with attention between them, through which "
                    "attention_flow does not go. Use attention_rollout, which does."
                )


class _Network:
    """Positions of all layers as nodes, for one sample.

    Parameters
    ----------
    paths : Paths
        Of the batch.
    row : int
        Which sample of the batch.
    """

    def __init__(self, paths: Paths, row: int) -> None:
        self.paths, self.row = paths, row
        self.count = 0
        self.arcs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.now: dict[Stream, np.ndarray] = {}  # nodes (groups, positions)
        self.sources: dict[int, float] = {}  # nodes that are read, and how much

    def _nodes(self, shape: tuple[int, ...]) -> np.ndarray:
        first, self.count = self.count, self.count + int(np.prod(shape))
        return np.arange(first, self.count).reshape(shape)

    def _join(self, tails: Any, heads: Any, capacities: Any) -> None:
        """Add arcs; a node below zero is none."""
        tails, heads, capacities = np.broadcast_arrays(tails, heads, capacities)
        there = (tails >= 0) & (heads >= 0) & (capacities > 0)
        self.arcs.append((tails[there], heads[there], capacities[there]))

    def open(self, start: Shares) -> None:
        """Begin with what is read."""
        for stream, part in start.items():
            share = part[self.row, :, 0]  # (groups, positions)
            nodes = self.now[stream] = self._nodes(share.shape)
            read = share > 0
            self.sources |= zip(nodes[read].tolist(), share[read], strict=True)

    def pass_layer(
        self, together: list[Step], fused: Sequence[np.ndarray], residual: float
    ) -> None:
        """Add what layers do that work at the same time."""
        before, after = self.now, dict(self.now)
        looking = {stream for step in together for stream in step.queries}
        for step in together:
            layouts = self.paths.layouts[step.number]
            groups = fused[step.number].shape[1]
            for streams, layout in zip((step.queries, step.keys), layouts, strict=True):
                for stream, index in zip(streams, layout.index, strict=True):
                    old = before.get(stream)
                    if after.get(stream) is not old:
                        continue
                    size = index.shape[1] if old is None else old.shape[1]
                    after[stream] = self._nodes((groups, max(size, index.shape[1])))
                    if old is not None and stream not in looking:
                        self._join(old, after[stream][:, : old.shape[1]], np.inf)
        for step in together:
            queries, keys = self.paths.layouts[step.number]
            alpha = fused[step.number][self.row]  # (groups, queries, keys)
            asked = self._along(queries, step.queries, before, len(alpha))
            kept = self._along(queries, step.queries, after, len(alpha))
            found = self._along(keys, step.keys, after, len(alpha))
            looks = alpha.any(axis=-1)
            stays = np.where(looks, residual if step.keeps else 0.0, 1.0)
            self._join(asked, kept, np.inf if step.is_selection else stays)
            gone = 1 - residual if step.keeps else 1.0
            self._join(asked[:, :, None], found[:, None], gone * alpha)
        self.now = after

    def _along(
        self,
        layout: Layout,
        streams: list[Stream],
        nodes: dict[Stream, np.ndarray],
        groups: int,
    ) -> np.ndarray:
        """Lay nodes along an axis: (groups, positions), -1 where there is none."""
        joint = np.full((groups, layout.length + 1), -1)
        for stream, index in zip(streams, layout.index, strict=True):
            if stream in nodes:
                at = index[min(self.row, len(index) - 1)]
                joint[:, at] = nodes[stream][:, : len(at)]
        return joint[:, :-1]

    def flows(self) -> dict[Stream, np.ndarray]:
        """Compute the maximum flows to each real position, all of its groups."""
        sinks = {
            stream: self._nodes(nodes.shape[1:]) for stream, nodes in self.now.items()
        }
        for stream, nodes in self.now.items():
            self._join(nodes, sinks[stream], np.inf)
        tails, heads, capacities = (
            np.concatenate([arc[at] for arc in self.arcs]) for at in range(3)
        )
        whole = np.where(
            np.isinf(capacities), _UNLIMITED, np.round(_ONE * np.minimum(capacities, 1))
        )
        graph = sparse.csr_array(
            (whole.astype(np.int32), (tails, heads)), shape=(self.count, self.count)
        )
        flows = {}
        for stream, ends in sinks.items():
            real = self.paths.real_of(stream, len(ends))[self.row]
            flows[stream] = np.zeros(len(ends))
            for at in np.flatnonzero(real):
                for source, share in self.sources.items():
                    found = maximum_flow(graph, source, int(ends[at]))
                    flows[stream][at] += share * found.flow_value / _ONE
        return flows
