"""How much each input matters, as attention tells through all layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skattn.inspection._edges import Network, follow, share_out
from skattn.inspection._explanation import Collected, explanation
from skattn.inspection._objective import Objective
from skattn.inspection._run import Batch, Subject, subject_of, walk
from skattn.inspection._streams import Paths, Shares, Step, Stream, add, fit

_FUSIONS: dict[str, Callable[[Any], Any]] = {
    "mean": lambda heads: heads.mean(dim=2),
    "max": lambda heads: heads.amax(dim=2),
    "min": lambda heads: heads.amin(dim=2),
}


def attention_rollout(
    estimator: Any,
    X: Any = None,
    *,
    head_fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    axis: str | None = None,
    per_query: bool = False,
) -> Bunch:
    r"""Rank inputs by what of the read-out attention leads back to them.

    .. math:: \hat A_l = \rho I + (1 - \rho) A_l, \quad
              \tilde A = \hat A_L \cdots \hat A_1

    with the attention :math:`A_l` of layer :math:`l`, its heads joined, and the part
    :math:`\rho` that the residual connection carries past it. The relevance of an input
    is the mean of its column over the rows of :math:`\tilde A` that the head reads.

    What attention along one axis cannot tell of another is lost: where it works within
    groups, such as PatchTST's within a channel, the groups are followed apart and
    added up. Two kinds of layers that never meet, such as those along time and those
    between the channels of a spatio-temporal net, rank their axes apart.

    Parameters
    ----------
    estimator : estimator
        As for `skattn.inspection.attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    head_fusion : {"mean", "max", "min"}, default="mean"
        How heads are joined.
    residual : float, default=0.5
        The :math:`\rho`, in layers whose queries are among their keys or go on beside
        what they find. Pooling and the selection of variables pass on everything.
    discard : float, default=0.0
        So large a part of the keys of each query are left out, those of the smallest
        weights.
    axis : str, optional
        Which axis of ``by_axis`` the result shows: by default the tokens, nodes, steps,
        channels or features, the first of these that there are.
    per_query : bool, default=False
        Also give ``rollout``, the rows of :math:`\tilde A`; not along edges.

    Returns
    -------
    explanation : Bunch
        With

        - ``importances`` (n_samples, n_positions), shares of the read-out, which sum to
          one where nothing stays with extra tokens; zero where padded. Of a node
          estimator, a scipy.sparse csr_array with a row for each node asked about;
        - ``importances_mean`` (n_positions,), the mean over the samples, where all
          share the names;
        - ``names`` of the positions; of texts and lists of graphs, a list for each
          sample;
        - ``axis``, what the positions are, such as ``"features"`` or ``"time"``;
        - ``by_axis``, a dict of such results for all axes of the input, ``"edges"`` of
          graphs in the order of ``Graph.edge_index``;
        - ``method``, the name of this function.

        With `per_query` also ``rollout`` (n_samples, n_queries, n_positions), the
        positions that are read one by one.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, there is no such axis, or a
        parameter is out of range.

    References
    ----------
    Abnar, Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, arXiv
    2005.00928.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import attention_rollout
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> rollout = attention_rollout(clf, X[:10])
    >>> rollout.axis, rollout.importances.shape, rollout.names[0]
    ('features', (10, 4), 'sepal length (cm)')
    """
    subject = subject_of(estimator, X, "attention_rollout")
    _check_rollout(head_fusion, residual, discard)
    name = subject.estimator.architecture_.name
    if _is_graph(subject):
        if per_query:
            raise ValueError(
                "per_query=True needs queries and keys of few positions, and the "
                f"architecture {name!r} attends along the edges of graphs. Of a node "
                "estimator, each row of importances is a query already."
            )
        by_axis = _along_edges(subject, head_fusion, discard, residual)
        return explanation(by_axis, axis, "attention_rollout", name)
    collected, apart = Collected(subject), Collected(subject)
    for batch in walk(subject, with_gradient=True):
        paths = Paths(batch, subject)
        fused = [_fused(each, head_fusion, discard) for each in batch.records]
        sides, contexts = paths.read_out(batch.gradients(_mixture(batch.scores)))
        start = paths.start(sides, apart=per_query)
        shares = _roll(paths, start.shares, fused, residual)
        _collect(collected, paths, batch, shares, start.weights)
        for context in contexts:
            beside = paths.start([context])
            _collect_context(
                collected, paths, batch, context.step, beside.shares, fused
            )
        if per_query:
            _collect(apart, paths, batch, shares, None)
    result = explanation(collected.axes(), axis, "attention_rollout", name)
    if per_query:
        result.rollout = apart.axes()[result.axis].importances
    return result


def _check_rollout(head_fusion: str, residual: float, discard: float) -> None:
    if head_fusion not in _FUSIONS:
        raise ValueError(f"head_fusion={head_fusion!r} must be 'mean', 'max' or 'min'.")
    for name, value in (("residual", residual), ("discard", discard)):
        if not isinstance(value, Real) or not 0 <= value < 1:
            raise ValueError(
                f"{name}={value!r} must be a number of at least 0 and below 1."
            )


def _mixture(scores: Any) -> Any:
    """Mix scores so that none cancels another."""
    import torch

    n_outputs = scores[0].numel()
    factors = 1 + torch.arange(n_outputs, device=scores.device) / n_outputs
    return (scores.flatten(1) * factors).sum()


def _roll(
    paths: Paths, shares: Shares, fused: Sequence[np.ndarray], residual: float
) -> Shares:
    """Follow shares of the read-out back through all layers."""
    shares = dict(shares)
    for together in reversed(paths.steps):
        gathered = [
            paths.gather(step, shares, fused[step.number].shape[1]) for step in together
        ]
        for step, share in zip(together, gathered, strict=True):
            if step.is_selection:
                continue
            # A query without any key keeps what it has.
            looks = np.any(fused[step.number], axis=-1)[:, :, None]
            kept = residual if step.keeps else 0.0
            paths.keep(step, shares, share * np.where(looks, kept, 1.0))
        for step, share in zip(together, gathered, strict=True):
            gone = 1 - residual if step.keeps else 1.0
            paths.give(step, shares, gone * share @ fused[step.number])
    return shares


def _fused(record: Any, head_fusion: str, discard: float) -> np.ndarray:
    """Join heads: rows that sum to one, (k, groups, queries, keys)."""
    heads = record.weights.detach().unflatten(1, (record.groups, -1))
    fused = _FUSIONS[head_fusion](heads).double().cpu().numpy()
    if discard:
        fused = np.where(_is_small(fused, record.mask, discard), 0.0, fused)
    total = fused.sum(axis=-1, keepdims=True)
    return np.divide(fused, total, out=np.zeros_like(fused), where=total > 0)


def _is_small(fused: np.ndarray, mask: Any, discard: float) -> np.ndarray:
    """Find so large a part of the keys of each query, those of the smallest weights."""
    real = np.ones_like(fused[:, :1], dtype=bool)
    if mask is not None:
        real = real & mask.any(dim=1, keepdim=True).cpu().numpy()
    order = np.where(real, fused, np.inf).argsort(axis=-1, kind="stable")
    rank = np.empty_like(order)
    places = np.broadcast_to(np.arange(fused.shape[-1]), fused.shape)
    np.put_along_axis(rank, order, places, axis=-1)
    return rank < np.floor(discard * real.sum(axis=-1, keepdims=True))


def _collect(
    collected: Collected,
    paths: Paths,
    batch: Batch,
    shares: Shares,
    weights: np.ndarray | None,
) -> None:
    """Keep what came to the streams, over all groups."""
    selected = {
        stream
        for together in paths.steps
        for step in together
        if step.is_selection
        for stream in step.keys
    }
    star = _star(paths)
    for stream, part in shares.items():
        real = paths.real_of(stream, part.shape[-1])[:, None]
        total = part.sum(axis=1) * real  # (k, rows, positions)
        if weights is not None:
            total = np.einsum("kr,krp->kp", weights, total)
        if stream in star:
            collected.add(batch.rows, star[stream], total, "nodes")
            continue
        axis = ""
        if stream.names:
            axis = "features" if stream in selected else "covariates"
        collected.add(batch.rows, stream, total, axis)


def _star(paths: Paths) -> dict[Stream, Stream]:
    """Name the rows of a table that a layer along edges looks at."""
    return {
        stream: Stream("", (stream.part,))
        for together in paths.steps
        for step in together
        if step.kind == "edge"
        for stream in step.keys
    }


def _collect_context(
    collected: Collected,
    paths: Paths,
    batch: Batch,
    step: Step,
    shares: Shares,
    weights: Sequence[np.ndarray],
) -> None:
    """Keep a selection that comes beside, under the name of its query."""
    share = paths.gather(step, shares, weights[step.number].shape[1])
    found: Shares = {}
    paths.give(step, found, share @ weights[step.number])
    for stream, part in found.items():
        total = part.sum(axis=(1, 2))
        collected.add(batch.rows, stream, total, step.queries[0].part)


def gradient_rollout(
    estimator: Any, X: Any = None, target: Any = None, *, axis: str | None = None
) -> Bunch:
    r"""Rank inputs by attention through which they change a score.

    .. math:: \bar A = \mathbb{E}_h (\nabla A \odot A)^+, \quad
              R \leftarrow R + \bar A R

    layer by layer from :math:`R = I`, with the gradient :math:`\nabla A` of the score
    with respect to the weights of a head. Where the queries are of another stream than
    the keys, what the keys mean to each other, and the queries, enters normalised, as
    in the paper. The relevance of an input is the mean of its column of :math:`R - I`
    over the rows that the head reads: only what attention brought counts.

    Of numbers, which a regressor or a forecaster predicts, an increase means no more
    than a decrease: there :math:`|\nabla A \odot A|` takes the place of the positive
    part.

    Parameters
    ----------
    estimator : estimator
        As for `skattn.inspection.attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    target : object, optional
        Whose score: of a classifier a class, or one for each sample; by default the
        predicted ones. Of several class targets, a list of these; of yes-or-no labels,
        the number of one. Of a regressor, the number of an output. Of a forecaster, the
        number of a step of the horizon, or a tuple of those of a series and a step. Of
        a tagger, a tag. By default all outputs are added up.
    axis : str, optional
        Which axis of ``by_axis`` the result shows: by default the tokens, nodes, steps,
        channels or features, the first of these that there are.

    Returns
    -------
    explanation : Bunch
        With

        - ``importances`` (n_samples, n_positions), in units of the score; zero where
          padded. Of a node estimator, a scipy.sparse csr_array with a row for each
          node asked about;
        - ``importances_mean`` (n_positions,), the mean over the samples, where all
          share the names;
        - ``names`` of the positions; of texts and lists of graphs, a list for each
          sample;
        - ``axis``, what the positions are, such as ``"features"`` or ``"time"``;
        - ``by_axis``, a dict of such results for all axes of the input, ``"edges"`` of
          graphs in the order of ``Graph.edge_index``;
        - ``method``, the name of this function.

        Of a node estimator, this takes a backward pass for each node.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, there is no such axis, or no
        such target.

    References
    ----------
    Chefer, Gur, Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal
    and Encoder-Decoder Transformers", ICCV 2021, arXiv 2103.15679.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import gradient_rollout
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> relevance = gradient_rollout(clf, X[:10], target=2)
    >>> relevance.importances.shape, bool((relevance.importances >= 0).all())
    ((10, 4), True)
    """
    subject = subject_of(estimator, X, "gradient_rollout")
    name = subject.estimator.architecture_.name
    objective = Objective(subject, target)
    if _is_graph(subject):
        by_axis = _gradients_along_edges(subject, objective)
        return explanation(by_axis, axis, "gradient_rollout", name)
    collected = Collected(subject)
    for batch in walk(subject, with_gradient=True):
        paths = Paths(batch, subject)
        gradients = batch.gradients(objective(batch).sum())
        weighted = [
            _weighted(*both, objective.has_sign)
            for both in zip(batch.records, gradients, strict=True)
        ]
        sides, contexts = paths.read_out(batch.gradients(_mixture(batch.scores)))
        start = paths.start(sides)
        shares = _relevance(paths, start.shares, weighted)
        _collect(collected, paths, batch, shares, start.weights)
        for context in contexts:
            beside = paths.start([context])
            _collect_context(
                collected, paths, batch, context.step, beside.shares, weighted
            )
    return explanation(collected.axes(), axis, "gradient_rollout", name)


def _weighted(record: Any, gradient: Any, has_sign: bool) -> np.ndarray:
    """Weigh attention by what the score owes to it: (k, groups, queries, keys)."""
    product = record.weights.detach() * gradient.weights
    product = product.clamp(min=0) if has_sign else product.abs()
    heads = product.unflatten(1, (record.groups, -1))
    return heads.mean(dim=2).double().cpu().numpy()


def _relevance(paths: Paths, start: Shares, weighted: Sequence[np.ndarray]) -> Shares:
    """Follow the read-out back through products of I + A, without the identity."""
    shares, found = dict(start), {stream: -part for stream, part in start.items()}
    for number in reversed(range(len(paths.steps))):
        before = [step for together in paths.steps[:number] for step in together]
        flows: list[tuple[Step, np.ndarray]] = []
        for step in paths.steps[number]:
            alpha = weighted[step.number]
            share = paths.gather(step, shares, alpha.shape[1])
            if step.kind == "cross":
                share = _mixed(paths, step, share, shares, before, weighted)
            flows.append((step, share @ alpha))
        for step, flow in flows:
            if step.kind == "cross":
                flow = _through(paths, step, flow, found, before, weighted)
            paths.give(step, shares, flow)
    for stream, part in shares.items():
        found[stream] = add(found.get(stream), part)
    return found


def _mixed(
    paths: Paths,
    step: Step,
    share: np.ndarray,
    shares: Shares,
    before: list[Step],
    weighted: Sequence[np.ndarray],
) -> np.ndarray:
    """Multiply by the queries' relevance to each other, of rows that sum to one.

    That matrix without its identity is normalised, and never made: it is only
    multiplied by vectors, here and by ones.
    """
    inner = _among(before, step.queries)
    if not inner:
        return share
    groups = weighted[step.number].shape[1]
    mixed = paths.gather(step, _look(paths, shares, inner, weighted), groups) - share
    ones = _ones(paths, inner)
    looked = _look(paths, ones, inner, weighted)
    total = sum(
        sign * paths.gather(step, each, groups)
        for sign, each in ((1, looked), (-1, ones))
    )
    total = np.broadcast_to(total, mixed.shape)
    return share + np.divide(mixed, total, out=np.zeros_like(mixed), where=total > 0)


def _through(
    paths: Paths,
    step: Step,
    flow: np.ndarray,
    found: Shares,
    before: list[Step],
    weighted: Sequence[np.ndarray],
) -> np.ndarray:
    """Prepare what comes to keys for their relevance to each other, normalised.

    What it does not change is added to `found`.
    """
    inner = _among(before, step.keys)
    ones = _ones(paths, inner)
    looked = _look(paths, ones, inner, weighted)
    parts: Shares = {}
    paths.give(step, parts, flow)
    passed = []
    for stream in step.keys:
        part = parts[stream]
        through = np.zeros_like(part)
        if stream in looked:
            total = looked[stream] - fit(ones[stream], looked[stream].shape[-1])
            total = np.broadcast_to(fit(total, part.shape[-1]), part.shape)
            through = np.divide(part, total, out=through, where=total > 0)
        found[stream] = add(found.get(stream), part - through)
        passed.append(through)
    return paths.layouts[step.number][1].join(passed)


def _among(before: list[Step], streams: Sequence[Stream]) -> list[Step]:
    """Find the layers in which some streams look at themselves."""
    linked = set(streams)
    inner: list[Step] = []
    for step in reversed(before):
        if step.kind != "cross" and linked & set(step.queries):
            linked |= {*step.queries, *step.keys}
            inner.insert(0, step)
    return inner


def _ones(paths: Paths, inner: list[Step]) -> Shares:
    """Put a one at each position of the streams of some layers."""
    ones: Shares = {}
    for step in inner:
        for streams, layout in zip(
            (step.queries, step.keys), paths.layouts[step.number], strict=True
        ):
            for stream, index in zip(streams, layout.index, strict=True):
                ones[stream] = np.ones((paths.n_rows, 1, 1, index.shape[1]))
    return ones


def _look(
    paths: Paths, vectors: Shares, inner: list[Step], weighted: Sequence[np.ndarray]
) -> Shares:
    """Multiply vectors by the products of I + A of some layers."""
    vectors = dict(vectors)
    for step in inner:
        alpha = weighted[step.number]
        queries, keys = paths.layouts[step.number]
        shape = next(iter(vectors.values())).shape
        nothing = np.zeros((shape[0], 1, shape[2], 1))
        joint = keys.join([vectors.get(stream, nothing) for stream in step.keys])
        for stream, part in queries.split(joint @ alpha.swapaxes(-1, -2)).items():
            known = vectors.get(stream, np.zeros_like(part[:, :1]))
            vectors[stream] = fit(known, part.shape[-1]) + part
    return vectors


def last_attention(estimator: Any, X: Any = None, *, axis: str | None = None) -> Bunch:
    """Rank inputs by the weights of the last layer that looks at them.

    The mean over heads and queries: what is plotted most, and a baseline to what
    follows attention through all layers.

    Parameters
    ----------
    estimator : estimator
        As for `skattn.inspection.attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    axis : str, optional
        Which axis of ``by_axis`` the result shows: by default the tokens, nodes, steps,
        channels or features, the first of these that there are.

    Returns
    -------
    explanation : Bunch
        With

        - ``importances`` (n_samples, n_positions), mean weights; zero where padded. Of
          a node estimator, a scipy.sparse csr_array with a row for each node asked
          about;
        - ``importances_mean`` (n_positions,), the mean over the samples, where all
          share the names;
        - ``names`` of the positions; of texts and lists of graphs, a list for each
          sample;
        - ``axis``, what the positions are, such as ``"features"`` or ``"time"``;
        - ``by_axis``, a dict of such results for all axes of the input, ``"edges"`` of
          graphs in the order of ``Graph.edge_index``;
        - ``method``, the name of this function.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, there is no such axis, or its
        attention looks at no input.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import last_attention
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> last_attention(clf, X[:10]).importances.shape
    (10, 4)
    """
    subject = subject_of(estimator, X, "last_attention")
    name = subject.estimator.architecture_.name
    if _is_graph(subject):
        by_axis = _last_along_edges(subject)
        return explanation(by_axis, axis, "last_attention", name)
    collected = Collected(subject)
    for batch in walk(subject):
        paths = Paths(batch, subject)
        found: Shares = {}
        for together in reversed(paths.steps):
            for step in together:
                new = [stream for stream in step.keys if stream not in found]
                fused = _fused(batch.records[step.number], "mean", 0.0)
                looks = np.any(fused, axis=(1, 3))[:, None, :, None]
                real = paths.real_queries(step)[:, None, :, None] & looks
                mean = fused.mean(axis=1, keepdims=True) * real
                mean = mean.sum(axis=2, keepdims=True)
                mean = mean / np.maximum(real.sum(axis=2, keepdims=True), 1)
                given: Shares = {}
                paths.give(step, given, mean)
                found.update({stream: given[stream] for stream in new})
        _collect(collected, paths, batch, found, np.ones((len(batch.rows), 1)))
    return explanation(collected.axes(), axis, "last_attention", name)


def _is_graph(subject: Subject) -> bool:
    """Tell whether layers attend along edges of graphs that the user gave."""
    return hasattr(subject.samples, "locate")


def _along_edges(
    subject: Subject, head_fusion: str, discard: float, residual: float
) -> dict[str, Bunch]:
    network = Network(subject)
    nodes: list[Any] = []
    edges: list[Any] = []
    rows: list[np.ndarray] = []
    for batch in walk(subject):
        alphas = []
        for record in batch.records:
            heads = record.weights.detach()[:, None]  # (edges, 1, heads)
            alpha = _FUSIONS[head_fusion](heads)[:, 0].double().cpu().numpy()
            links = network.links(batch, record)
            alphas.append(share_out(links, alpha, discard))
        for part in network.rows_of(batch):
            found = follow(network, batch, part, alphas, residual)
            for parts, each in zip((nodes, edges, rows), (*found, part), strict=True):
                parts.append(each)
    return network.by_axis(nodes, edges, rows)


def _gradients_along_edges(subject: Subject, objective: Objective) -> dict[str, Bunch]:
    network = Network(subject)
    nodes: list[Any] = []
    edges: list[Any] = []
    rows: list[np.ndarray] = []
    for batch in walk(subject, with_gradient=True):
        numbers = objective(batch)
        # Graphs do not see each other; nodes of one graph do.
        wholes = [slice(None)]
        if not network.is_list:
            wholes = [slice(number, number + 1) for number in range(len(batch.rows))]
        for whole in wholes:
            part = batch.rows[whole]
            gradients = batch.gradients(numbers[whole].sum())
            alphas = [
                _weighted_edges(*both, objective.has_sign)
                for both in zip(batch.records, gradients, strict=True)
            ]
            found = follow(network, batch, part, alphas, None)
            for parts, each in zip((nodes, edges, rows), (*found, part), strict=True):
                parts.append(each)
    return network.by_axis(nodes, edges, rows)


def _weighted_edges(record: Any, gradient: Any, has_sign: bool) -> np.ndarray:
    product = record.weights.detach() * gradient.weights
    product = product.clamp(min=0) if has_sign else product.abs()
    return product.mean(dim=1).double().cpu().numpy()


def _last_along_edges(subject: Subject) -> dict[str, Bunch]:
    network = Network(subject)
    nodes: list[Any] = []
    edges: list[Any] = []
    rows: list[np.ndarray] = []
    for batch in walk(subject):
        along = [each for each in batch.records if each.kind != "pooling"]
        pools = [each for each in batch.records if each.kind == "pooling"]
        alpha = along[-1].weights.detach().mean(dim=1).double().cpu().numpy()
        links = network.links(batch, along[-1])
        for part in network.rows_of(batch):
            start = network.start(part)
            if pools:
                pool = pools[-1].weights.detach().mean(dim=1).double().cpu().numpy()
                pooled = network.links(batch, pools[-1])
                nodes.append(network.pooled(pooled, pool, part))
            else:
                nodes.append((start @ network.to_nodes(links, alpha)).tocsr())
            start.data[:] = 1.0
            edges.append((start @ network.to_edges(links, alpha)).tocsr())
            rows.append(part)
    return network.by_axis(nodes, edges, rows)
