"""Attention of one batch, followed back from what the head of a net reads."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from skattn.inspection._explanation import Collected
from skattn.inspection._paths import Paths, Shares, add
from skattn.inspection._record import FUSIONS
from skattn.inspection._run import Batch
from skattn.inspection._streams import Step, Stream, resized


def check_rollout(head_fusion: str, residual: float, discard: float) -> None:
    """Refuse parameters of a roll-out that are out of range.

    Parameters
    ----------
    head_fusion, residual, discard : str or float
        See `skattn.inspection.attention_rollout`.

    Raises
    ------
    ValueError
        If one of them is.
    """
    if head_fusion not in FUSIONS:
        raise ValueError(f"head_fusion={head_fusion!r} must be 'mean', 'max' or 'min'.")
    for name, value in (("residual", residual), ("discard", discard)):
        if not isinstance(value, Real) or not 0 <= value < 1:
            raise ValueError(
                f"{name}={value!r} must be a number of at least 0 and below 1."
            )


def mixture(scores: Any) -> Any:
    """Mix scores so that none cancels another.

    Parameters
    ----------
    scores : Tensor of shape (k, ...)
        Raw scores.

    Returns
    -------
    total : Tensor of shape ()
        A weighted sum.
    """
    import torch

    n_outputs = scores[0].numel()
    factors = 1 + torch.arange(n_outputs, device=scores.device) / n_outputs
    return (scores.flatten(1) * factors).sum()


def fused_heads(record: Any, head_fusion: str, discard: float) -> np.ndarray:
    """Join heads, those of each group apart.

    Parameters
    ----------
    record : Recorded
        Without edges.
    head_fusion, discard : str or float
        See `skattn.inspection.attention_rollout`.

    Returns
    -------
    fused : ndarray of shape (k, groups, queries, keys)
        Rows that sum to one, or to zero where a query has no key.
    """
    heads = record.weights.detach().unflatten(1, (record.groups, -1))
    fused = FUSIONS[head_fusion](heads).cpu().double().numpy()
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


def roll(
    paths: Paths, shares: Shares, fused: Sequence[np.ndarray], residual: float
) -> Shares:
    """Follow shares of the read-out back through all layers.

    Parameters
    ----------
    paths : Paths
        Of the batch.
    shares : dict of Stream to ndarray of shape (k, groups, rows, positions)
        Of the read-out.
    fused : sequence of ndarray of shape (k, groups, queries, keys)
        Weights of each layer.
    residual : float
        What part of a query goes past a layer.

    Returns
    -------
    shares : dict of Stream to ndarray of shape (k, groups, rows, positions)
        Of the input.
    """
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


def owed_to(record: Any, gradient: Any, has_sign: bool) -> Any:
    """Weigh attention by what a score owes to it.

    Parameters
    ----------
    record, gradient : Recorded
        Weights, and the derivatives of the score with respect to them.
    has_sign : bool
        Whether what lowers the score counts nothing, and not as much.

    Returns
    -------
    weighted : Tensor, shaped as the weights
        Never negative.
    """
    product = record.weights.detach() * gradient.weights
    return product.clamp(min=0) if has_sign else product.abs()


def weighted_heads(record: Any, gradient: Any, has_sign: bool) -> np.ndarray:
    """Average over heads what a score owes to them, those of each group apart.

    Parameters
    ----------
    record, gradient, has_sign : Recorded or bool
        See `owed_to`.

    Returns
    -------
    weighted : ndarray of shape (k, groups, queries, keys)
        Never negative.
    """
    heads = owed_to(record, gradient, has_sign).unflatten(1, (record.groups, -1))
    return heads.mean(dim=2).cpu().double().numpy()


def relevance_of(paths: Paths, start: Shares, weighted: Sequence[np.ndarray]) -> Shares:
    """Follow the read-out back through products of I + A, without the identity.

    Parameters
    ----------
    paths : Paths
        Of the batch.
    start : dict of Stream to ndarray of shape (k, groups, rows, positions)
        Shares of the read-out.
    weighted : sequence of ndarray of shape (k, groups, queries, keys)
        The A of each layer.

    Returns
    -------
    found : dict of Stream to ndarray of shape (k, groups, rows, positions)
        Relevance of the input.
    """
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
            total = looked[stream] - resized(ones[stream], looked[stream].shape[-1])
            total = np.broadcast_to(resized(total, part.shape[-1]), part.shape)
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
            vectors[stream] = resized(known, part.shape[-1]) + part
    return vectors


def collect(
    collected: Collected,
    paths: Paths,
    batch: Batch,
    shares: Shares,
    weights: np.ndarray | None,
) -> None:
    """Keep what came to the streams, over all groups.

    Parameters
    ----------
    collected : Collected
        Where.
    paths : Paths
        Of the batch.
    batch : Batch
        Whose rows.
    shares : dict of Stream to ndarray of shape (k, groups, rows, positions)
        What came.
    weights : ndarray of shape (k, rows), or None
        What part of the read-out each row is; None keeps them apart.
    """
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


def collect_beside(
    collected: Collected, paths: Paths, batch: Batch, weights: Sequence[np.ndarray]
) -> None:
    """Keep selections that come beside, under the names of their queries.

    Parameters
    ----------
    collected : Collected
        Where.
    paths : Paths
        Of the batch.
    batch : Batch
        Whose rows.
    weights : sequence of ndarray of shape (k, groups, queries, keys)
        Of each layer.
    """
    for step in paths.beside:
        parts: Shares = {}
        paths.give(step, parts, mean_of_queries(paths, step, weights[step.number]))
        for stream, part in parts.items():
            total = part.sum(axis=(1, 2))
            collected.add(batch.rows, stream, total, step.queries[0].part)


def mean_of_queries(paths: Paths, step: Step, weights: np.ndarray) -> np.ndarray:
    """Average over the queries of a layer that are not padded, and over its groups.

    Parameters
    ----------
    paths : Paths
        Of the batch.
    step : Step
        The layer.
    weights : ndarray of shape (k, groups, queries, keys)
        Its weights.

    Returns
    -------
    mean : ndarray of shape (k, 1, 1, keys)
        Over the queries that have keys.
    """
    looks = np.any(weights, axis=(1, 3))
    real = (paths.real_queries(step) & looks)[:, None, :, None]
    total = (weights.mean(axis=1, keepdims=True) * real).sum(axis=2, keepdims=True)
    return total / np.maximum(real.sum(axis=2, keepdims=True), 1)
