"""What attention weights look like: spread, reach, sinks, and heads that agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skattn.inspection._heads import Head
from skattn.inspection._record import Layers, chosen_layers
from skattn.inspection._run import Subject, subject_of, walk
from skattn.inspection._weights import (
    Layer,
    Weights,
    aligned,
    by_head,
    distance_of,
    distances_to,
    entropy_of,
    mean_std,
    n_heads_of,
)

_SCORES = "its weights are scores that do not sum to one"
_NO_LINE = "its queries and keys do not lie along one line of steps or tokens"


def attention_entropy(estimator: Any, X: Any = None, *, layers: Layers = None) -> Bunch:
    r"""Measure how evenly each query spreads its attention.

    .. math:: H_i = -\frac{1}{\log n_i} \sum_j \alpha_{ij} \log \alpha_{ij}

    with the :math:`n_i` keys that query :math:`i` may attend to: 1 where it attends to
    all of them alike, 0 where it attends to one; 0 also where it has but one. The
    entropy of heads is that of Clark, Khandelwal, Levy and Manning, "What Does BERT
    Look At?", BlackboxNLP 2019, arXiv 1906.04341; divided by its largest value it
    compares texts of different lengths.

    Parameters
    ----------
    estimator : estimator
        As for `attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    layers : str, int, or sequence of them, optional
        Which records, as there.

    Returns
    -------
    result : Bunch
        With ``layers``, a list of `Layer`; for each of them in ``entropy`` an array of
        shape (n, heads, queries), NaN where padded, or (nodes that attend, heads) along
        the edges of graphs, in the order of graphs and nodes; in ``mean`` and ``std``
        arrays of shape (heads,) over samples and queries; and ``skipped``, a dict of
        layers that were left out and why.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    ValueError
        If there is no such layer, or none that can be measured.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import attention_entropy
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> entropy = attention_entropy(clf, X[:20])
    >>> [(layer.layer, mean.shape) for layer, mean in zip(entropy.layers, entropy.mean)]
    [('blocks.0', (4,)), ('blocks.1', (4,))]
    """
    return _of_queries(estimator, X, layers, "entropy", entropy_of)


def attention_distance(
    estimator: Any, X: Any = None, *, layers: Layers = None
) -> Bunch:
    r"""Measure how far each query looks.

    .. math:: d_i = \sum_j \alpha_{ij} \, |i - j|

    in time steps (from the start of a patch to the start of the other) or tokens. Only
    layers whose queries and keys lie along one line are measured: columns, channels
    and nodes have no order. Attention to extra tokens, such as ``"cls"``, is left out,
    and the rest scaled to sum to one. Mean attention distance is that of Vig and
    Belinkov, "Analyzing the Structure of Attention in a Transformer Language Model",
    BlackboxNLP 2019, arXiv 1906.04284.

    Parameters
    ----------
    estimator : estimator
        As for `attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    layers : str, int, or sequence of them, optional
        Which records, as there.

    Returns
    -------
    result : Bunch
        As of `attention_entropy`, with ``distance`` in place of ``entropy``; NaN too
        for queries that are no step or token, or look at none.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    ValueError
        If there is no such layer, or none that can be measured.

    Examples
    --------
    >>> import numpy as np
    >>> import skattn
    >>> from skattn.inspection import attention_distance
    >>> X = np.random.default_rng(0).normal(size=(20, 1, 8))
    >>> y = X[:, 0, 0] > 0
    >>> clf = skattn.AttentionClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> attention_distance(clf, X).mean[0].shape
    (4,)
    """
    return _of_queries(estimator, X, layers, "distance", distance_of)


def attention_sinks(estimator: Any, X: Any = None, *, layers: Layers = None) -> Bunch:
    r"""Measure how much of a head's attention gathers on one key.

    .. math:: r_j = \frac{1}{m} \sum_i \alpha_{ij}

    is the share that key :math:`j` gets of :math:`m` queries; a sink is a key that gets
    much of it whatever it holds, most often the first. Xiao, Tian, Chen, Han and Lewis,
    "Efficient Streaming Language Models with Attention Sinks", ICLR 2024, arXiv
    2309.17453. Compare with ``uniform``: keys that come first in causal attention get
    much anyway.

    Parameters
    ----------
    estimator : estimator
        As for `attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    layers : str, int, or sequence of them, optional
        Which records, as there.

    Returns
    -------
    result : Bunch
        With ``layers``, a list of `Layer`, and for each of them: in ``received`` the
        shares, an array of shape (n, heads, keys), NaN where padded, or (nodes that
        are attended to, heads) along the edges of graphs; in ``mean`` and ``std``
        arrays of shape (heads,) of the largest share of each sample; in ``position``
        the key that has it most often; in ``uniform`` what the same key would get of
        uniform weights. Along edges a graph is a sample, a key a node. And
        ``skipped``, a dict of layers that were left out and why.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    ValueError
        If there is no such layer, or none that can be measured.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import attention_sinks
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> sinks = attention_sinks(clf, X[:20], layers=-1)
    >>> sinks.received[0].shape, sinks.mean[0].shape, sinks.position[0].shape
    ((20, 4, 5), (4,), (4,))
    """
    subject = subject_of(estimator, X, "attention_sinks")
    summaries: dict[int, _Summary] = {}
    tops: dict[int, list[np.ndarray]] = {}
    skipped: dict[Layer, str] = {}
    for number, weights in each_layer(subject, layers, skipped):
        received, top = (_edge_sinks if weights.is_edge else _sinks)(weights)
        summaries.setdefault(number, _Summary(weights)).add(weights, received)
        tops.setdefault(number, []).append(top)
    check_found(summaries, skipped, subject, "attention_sinks")
    joint = [np.concatenate(each, axis=2) for each in tops.values()]
    return Bunch(
        layers=[summary.layer for summary in summaries.values()],
        received=[s.joined(len(subject.samples)) for s in summaries.values()],
        mean=[shares.mean(axis=1) for shares, _, _ in joint],
        std=[shares.std(axis=1) for shares, _, _ in joint],
        position=[_most_frequent(places) for _, _, places in joint],
        uniform=[even.mean(axis=1) for _, even, _ in joint],
        skipped=skipped,
    )


def _sinks(weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Find the share of each key, and of each head (share, even share, key)."""
    real = weights.is_real[..., None]  # (k, heads, queries, 1)
    n_queries = np.maximum(real.sum(axis=2), 1)
    even = np.broadcast_to(weights.mask, weights.values.shape)
    even = even / np.maximum(weights.n_keys, 1)[..., None]
    received = (weights.values * real).sum(axis=2) / n_queries  # (k, heads, keys)
    even = (even * real).sum(axis=2) / n_queries
    top = received.argmax(axis=2)[..., None]
    found = [np.take_along_axis(each, top, axis=2) for each in (received, even)]
    groups = weights.record.groups
    seen = np.broadcast_to(weights.mask & real, weights.values.shape).any(axis=2)
    return (
        np.where(seen, received, np.nan),
        np.stack([by_head(each, groups) for each in (*found, top)]),
    )


def _edge_sinks(weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Find the share of each node, and of each graph and head the largest."""
    (sources, _), sample = weights.place
    graphs = np.zeros_like(sources) if sample is None else sample
    nodes, of_edge = np.unique(np.stack([graphs, sources]), axis=1, return_inverse=True)
    of_edge = of_edge.reshape(-1)
    each_graph, of_node = np.unique(nodes[0], return_inverse=True)
    # As many nodes attend in a graph as there are targets of its edges.
    attends = np.full(len(weights.n_keys), -1)
    attends[weights.targets] = np.searchsorted(each_graph, graphs)
    n_queries = np.bincount(attends, minlength=len(each_graph))[of_node, None]
    sums = np.zeros((2, nodes.shape[1], weights.values.shape[1]))
    np.add.at(sums[0], of_edge, weights.values)
    even = weights.mask / weights.n_keys[weights.targets]
    np.add.at(sums[1], of_edge, even)
    sums /= n_queries
    tops = []
    for number in range(len(each_graph)):
        received, even = sums[:, of_node == number]
        top = received.argmax(axis=0)[None]
        found = [np.take_along_axis(each, top, axis=0) for each in (received, even)]
        place = nodes[1][of_node == number][top]
        tops.append(
            np.stack([by_head(e, weights.record.groups) for e in (*found, place)])
        )
    return sums[0], np.concatenate(tops, axis=2)


def _most_frequent(places: np.ndarray) -> np.ndarray:
    """Find the most frequent number of each row."""
    return np.array([np.bincount(row.astype(np.int64)).argmax() for row in places])


def head_similarity(estimator: Any, X: Any = None, *, layers: Layers = None) -> Bunch:
    r"""Measure how alike heads attend.

    .. math:: s_{ab} = 1 - \frac{1}{m} \sum_i \sqrt{\mathrm{JS}(\alpha^a_i, \alpha^b_i)}

    over all queries, with the Jensen-Shannon divergence to the base 2: 1 for heads that
    attend alike, 0 for heads that never share a key. Clark, Khandelwal, Levy and
    Manning, "What Does BERT Look At?", BlackboxNLP 2019, arXiv 1906.04341, compare
    heads by this divergence, which is made for distributions; unlike cosine and CKA it
    sees a small weight that becomes large. Its root is a metric (Endres and Schindelin,
    IEEE Transactions on Information Theory 49, 2003).

    Parameters
    ----------
    estimator : estimator
        As for `attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    layers : str, int, or sequence of them, optional
        Which records, as there.

    Returns
    -------
    result : Bunch
        With ``similarity``, an array of shape (n_heads, n_heads) of the means over
        samples and the queries that both have, NaN between heads of layers with other
        positions, and ``similarity_std``; ``heads``, a list of named tuples (layer,
        kind, head); ``layers``, a list of `Layer`, and for each of them in ``mean`` and
        ``std`` arrays of shape (heads,) over the other heads of the same layer (1 and 0
        where there is none); ``skipped``, a dict of layers that were left out and why.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    ValueError
        If there is no such layer, or none that can be measured.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import head_similarity
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> head_similarity(clf, X[:20], layers=0).similarity.shape
    (4, 4)
    """
    subject = subject_of(estimator, X, "head_similarity")
    skipped: dict[Layer, str] = {}
    sums = PairSums()
    for batch in each_batch(subject, layers):
        kept = normalised(batch, skipped)
        check_found(kept, skipped, subject, "head_similarity")
        sums.add(kept, kept)
    own = sums.first
    similarity, spread = sums.mean_std()
    similarity[np.diag_indices(len(own))] = 1
    found = list(dict.fromkeys((number, head[:2]) for number, head in own))
    mean, std = [], []
    for number, _ in found:
        at = [place for place, (other, _) in enumerate(own) if other == number]
        block = similarity[np.ix_(at, at)]
        others = [np.delete(row, place) for place, row in enumerate(block)]
        mean.append(np.array([row.mean() if row.size else 1.0 for row in others]))
        std.append(np.array([row.std() if row.size else 0.0 for row in others]))
    return Bunch(
        similarity=similarity,
        similarity_std=spread,
        heads=[head for _, head in own],
        layers=[Layer(*layer) for _, layer in found],
        mean=mean,
        std=std,
        skipped=skipped,
    )


class PairSums:
    """Similarity of pairs of heads, summed over queries, batch by batch.

    Attributes
    ----------
    first, second : list of tuple of int and Head
        The rows and columns: which layer, and which of its heads.
    """

    def __init__(self) -> None:
        self.first: list[tuple[int, Head]] = []
        self.second: list[tuple[int, Head]] = []
        self.sums = np.zeros(0)

    def add(self, first: Sequence[Weights], second: Sequence[Weights]) -> None:
        """Compare all heads of a batch.

        Parameters
        ----------
        first, second : sequence of Weights
            Layers, the same in each batch; where both are one sequence, each pair is
            compared but once.
        """
        rows, columns = _heads_of(first), _heads_of(second)
        sums = np.zeros((3, len(rows), len(columns)))
        for one, start in _starts(first):
            for other, begin in _starts(second):
                is_done = first is second and begin < start
                pair = None if is_done else aligned(one, other)
                if pair is None:
                    continue
                for head in range(n_heads_of(one)):
                    alike = 1 - distances_to(pair[0], head, pair[1])
                    there = ~np.isnan(alike)
                    alike = np.where(there, alike, 0)
                    found = np.stack([alike, alike**2, there]).sum(axis=2)
                    end = begin + len(alike)
                    sums[:, start + head, begin:end] = found
                    if first is second:
                        sums[:, begin:end, start + head] = found
        self.sums = self.sums + sums if self.first else sums
        self.first, self.second = rows, columns

    def mean_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Average over all queries.

        Returns
        -------
        mean, std : ndarray of shape (n_first, n_second)
            NaN for heads that were not compared.
        """
        total, squares, count = self.sums
        nothing = np.full_like(total, np.nan)
        mean = np.divide(total, count, out=nothing.copy(), where=count > 0)
        square = np.divide(squares, count, out=nothing, where=count > 0)
        return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _heads_of(layers: Sequence[Weights]) -> list[tuple[int, Head]]:
    return [
        (number, Head(*weights.layer, head))
        for number, weights in enumerate(layers)
        for head in range(n_heads_of(weights))
    ]


def _starts(layers: Sequence[Weights]) -> Iterator[tuple[Weights, int]]:
    """Give each layer with the number of its first head."""
    start = 0
    for weights in layers:
        yield weights, start
        start += n_heads_of(weights)


class _Summary:
    """A number for each query, or key, of one layer, batch by batch."""

    def __init__(self, weights: Weights) -> None:
        self.layer, self.is_edge = weights.layer, weights.is_edge
        self.groups = weights.record.groups
        self.parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, weights: Weights, numbers: np.ndarray) -> None:
        self.parts.append((weights.rows, numbers))

    def joined(self, n_samples: int) -> np.ndarray:
        """Join batches of perhaps different lengths."""
        if self.is_edge:
            return np.concatenate([part for _, part in self.parts])
        length = max(part.shape[2] for _, part in self.parts)
        heads = self.parts[0][1].shape[1]
        joint = np.full((n_samples, heads, length), np.nan)
        for rows, part in self.parts:
            joint[rows, :, : part.shape[2]] = part
        # Inference pads batches beyond the longest series or text.
        filled = np.flatnonzero(~np.isnan(joint).all(axis=(0, 1)))
        return joint[:, :, : filled.max(initial=-1) + 1]


def _of_queries(
    estimator: Any,
    X: Any,
    layers: Layers,
    name: str,
    measure: Callable[[Weights], np.ndarray | None],
) -> Bunch:
    """Measure each query of each layer."""
    caller = f"attention_{name}"
    subject = subject_of(estimator, X, caller)
    summaries: dict[int, _Summary] = {}
    skipped: dict[Layer, str] = {}
    for number, weights in each_layer(subject, layers, skipped):
        numbers = measure(weights)
        if numbers is None:
            skipped[weights.layer] = _NO_LINE
        else:
            summaries.setdefault(number, _Summary(weights)).add(weights, numbers)
    check_found(summaries, skipped, subject, caller)
    joined = [summary.joined(len(subject.samples)) for summary in summaries.values()]
    spread = [
        mean_std(by_head(each, summary.groups))
        for each, summary in zip(joined, summaries.values(), strict=True)
    ]
    return Bunch(
        layers=[summary.layer for summary in summaries.values()],
        **{name: joined},
        mean=[mean for mean, _ in spread],
        std=[std for _, std in spread],
        skipped=skipped,
    )


def each_batch(subject: Subject, layers: Layers = None) -> Iterator[list[Weights]]:
    """Give the chosen layers of each batch.

    Parameters
    ----------
    subject : Subject
        Net and samples.
    layers : str, int, sequence of them, optional
        Which records.

    Yields
    ------
    weights : list of Weights
        Of one batch.
    """
    chosen: list[int] | None = None
    for batch in walk(subject):
        if chosen is None:
            chosen = chosen_layers(batch.records, layers)
        records = [batch.records[number] for number in chosen]
        yield [
            Weights(
                record,
                batch.records,
                batch.rows,
                subject.name_axis,
                None if record.edge_index is None else batch.place_of(record),
            )
            for record in records
        ]


def each_layer(
    subject: Subject, layers: Layers, skipped: dict[Layer, str]
) -> Iterator[tuple[int, Weights]]:
    """Give the chosen layers whose weights sum to one, of each batch.

    Parameters
    ----------
    subject : Subject
        Net and samples.
    layers : str, int, sequence of them, or None
        Which records.
    skipped : dict of Layer to str
        Is told which were left out, and why.

    Yields
    ------
    number : int
        Which of the layers.
    weights : Weights
        Of one batch.
    """
    for batch in each_batch(subject, layers):
        yield from enumerate(normalised(batch, skipped))


def normalised(batch: Sequence[Weights], skipped: dict[Layer, str]) -> list[Weights]:
    """Leave out layers whose weights do not sum to one.

    Parameters
    ----------
    batch : sequence of Weights
        All layers.
    skipped : dict of Layer to str
        Is told which were left out, and why.

    Returns
    -------
    kept : list of Weights
        The others.
    """
    for each in batch:
        if not each.record.normalised:
            skipped[each.layer] = _SCORES
    return [each for each in batch if each.record.normalised]


def check_found(
    found: Sized, skipped: dict[Layer, str], subject: Subject, caller: str
) -> None:
    """Check that some layer is left.

    Parameters
    ----------
    found : sized
        What is left.
    skipped : dict of Layer to str
        What was left out, and why.
    subject : Subject
        Whose layers they are.
    caller : str
        Who asks, for the message.

    Raises
    ------
    ValueError
        If nothing is left.
    """
    if len(found):
        return
    why = "; ".join(f"of {layer.layer!r} {reason}" for layer, reason in skipped.items())
    name = subject.estimator.architecture_.name
    raise ValueError(
        f"{caller} finds nothing to measure in the architecture {name!r}: {why}. "
        "Choose other layers, or another architecture."
    )
