"""Checks of the attention weights that a module records."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from skattn._architecture import Architecture
from skattn.nn import Recorded, join_steps, recording
from skattn.testing._build import TOLERANCE, ModuleCheck, build, distance, run
from skattn.testing._cases import GRAPHS, Case, Inputs
from skattn.testing._failure import Failure


def check_records(architecture: Architecture, case: Case) -> None:
    """Look whether there are weights, and what shape they have."""
    module = build(architecture, case.typical, stir=True)
    inputs = case.inputs()
    _, records = recorded(module, inputs)
    if not records:
        raise Failure(
            "Nothing is recorded: compute attention with skattn.nn.attention or "
            "skattn.nn.additive_attention, or hand the weights to skattn.nn.record."
        )
    n = len(next(iter(inputs.values())))
    for record in records:
        shape = tuple(record.weights.shape)
        if record.edge_index is not None:
            if len(shape) != 2 or shape[0] != record.edge_index.shape[1]:
                raise Failure(
                    f"Layer {record.layer!r} recorded weights of shape {shape} over "
                    f"{record.edge_index.shape[1]} edges; expected is (edges, heads)."
                )
            if case.input in GRAPHS:
                _check_edges(record, record.edge_index, inputs, case)
        elif len(shape) != 4 or (case.input not in GRAPHS and shape[0] != n):
            raise Failure(
                f"Layer {record.layer!r} recorded weights of shape {shape} for {n} "
                "samples; expected is (batch, heads, queries, keys)."
            )
    names = [(record.layer, record.kind) for record in records]
    if len(set(names)) < len(names):
        raise Failure(
            f"Several records are named {max(names, key=names.count)}: number the "
            "layers, so that one can tell them apart."
        )


def check_weights(architecture: Architecture, case: Case) -> None:
    """Add the weights up, and look at the masked keys."""
    module = build(architecture, case.typical, stir=True)
    for gaps in (False, True):
        inputs = case.inputs(gaps=gaps)
        for record in recorded(module, inputs)[1]:
            _check_sums(record, gaps)
            if gaps and record.weights.dim() == 4:
                _check_masked_keys(record, inputs, case)


def check_recorded_path(architecture: Architecture, case: Case) -> None:
    """Compare scores with and without a recorder, and again without."""
    module = build(architecture, case.typical, stir=True)
    for gaps in (False, True):
        inputs = case.inputs(gaps=gaps)
        scores = run(module, inputs)
        largest = distance(scores, recorded(module, inputs)[0])
        if largest > TOLERANCE:
            raise Failure(
                f"The scores change by {largest:.1e} while attention is recorded: the "
                "fused and the explicit path must compute the same, with the same "
                "mask and scale. skattn.nn.attention holds both."
            )
        if not torch.equal(scores, run(module, inputs)):
            raise Failure(
                "After attention was recorded the scores are no longer what they were: "
                "keep nothing of a recorded run in the module."
            )


CHECKS: tuple[ModuleCheck, ...] = (check_records, check_weights, check_recorded_path)


def recorded(module: nn.Module, inputs: Inputs) -> tuple[Tensor, list[Recorded]]:
    """Run a module and collect what it records, of each layer at once.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode that is wanted.
    inputs : dict of str to Tensor
        Arguments of ``forward``.

    Returns
    -------
    scores : Tensor
        What it returned.
    records : list of Recorded
        In the order of computation.
    """
    steps: list[Recorded] = []
    with recording(steps.append):
        scores = run(module, inputs)
    return scores, join_steps(steps)


def padded_keys(
    record: Recorded, inputs: Inputs, case: Case
) -> Iterator[tuple[str, slice, Tensor]]:
    """Look up which keys are padded, as far as queries are real.

    Parameters
    ----------
    record : Recorded
        With weights (batch, heads, queries, keys).
    inputs : dict of str to Tensor
        What the module was given.
    case : Case
        Input and task.

    Yields
    ------
    name : str
        Of the mask.
    keys : slice
        Which keys it covers.
    padded : Tensor of bool of shape (batch, 1, queries, these keys)
        True where a real query meets a padded key.
    """
    masks = {axis: mask for axis, (_, mask) in _AXES.items() if mask in inputs}
    real = torch.ones_like(record.weights[:, 0, :, 0], dtype=torch.bool)
    queries = inputs.get(masks.get(str(record.queries), ""), real)
    if queries.shape == real.shape:
        real = queries
    for axis, name in masks.items():
        keys = _positions(record, axis, inputs, case)
        if keys is not None:
            yield name, keys, real[:, None, :, None] & ~inputs[name][:, None, None]


def _check_edges(
    record: Recorded, edge_index: Tensor, inputs: Inputs, case: Case
) -> None:
    """Let edges join nodes, and pooling join nodes with all graphs of the batch."""
    n_nodes = len(inputs["x"])
    pools = case.input == "graph" and record.kind == "pooling"
    n_targets = int(inputs["batch"][-1]) + 1 if pools else n_nodes
    known = (edge_index >= 0) & (torch.tensor([n_nodes, n_targets]) > edge_index.T).T
    if not known.all():
        raise Failure(
            f"Layer {record.layer!r} recorded an edge_index that goes up to "
            f"{edge_index.amax(dim=1).tolist()}, with {n_nodes} nodes"
            + f" and {n_targets} graphs"
            * pools
            + ". Its rows are the source and the target of each weight; of pooling, "
            "the node and the number of its graph."
        )
    if pools and len(edge_index[1].unique()) < n_targets:
        raise Failure(
            f"Layer {record.layer!r} recorded pooling over "
            f"{len(edge_index[1].unique())} of {n_targets} graphs: record a weight for "
            "each node."
        )


def _check_sums(record: Recorded, gaps: bool) -> None:
    weights = record.weights
    if not weights.isfinite().all() or (record.normalised and weights.min() < 0):
        raise Failure(f"Layer {record.layer!r} recorded weights below 0 or not finite.")
    if not record.normalised:
        return
    if record.edge_index is None:
        sums = weights.sum(dim=-1)
    else:
        target = record.edge_index[1]
        sums = torch.zeros(int(target.max()) + 1, weights.shape[1], dtype=weights.dtype)
        sums = sums.index_add(0, target, weights)[target.unique()]
    wrong = (sums - 1).abs() > TOLERANCE
    # A query whose keys are all masked gets zeros, and so does a segment that only
    # other texts have.
    if gaps or "segments" in record.queries:
        wrong &= sums != 0
    if wrong.any():
        raise Failure(
            f"The weights of layer {record.layer!r} add up to "
            f"{float(sums[wrong][0]):.4g} over the keys of a query, not to 1. "
            "Normalise them (skattn.nn.masked_softmax), record them before dropout, or "
            "record them with normalised=False."
        )


def _check_masked_keys(record: Recorded, inputs: Inputs, case: Case) -> None:
    """Let real queries give padded keys no weight."""
    for name, keys, padded in padded_keys(record, inputs, case):
        if record.weights[..., keys].masked_select(padded).count_nonzero():
            raise Failure(
                f"Layer {record.layer!r} gives weight to padded keys: hand {name} to "
                "it."
            )


# The tensor that gives an axis its length, and its mask.
_AXES = {
    "time": ("x", "mask"),
    "tokens": ("tokens", "mask"),
    "other_tokens": ("other_tokens", "other_mask"),
    "target_tokens": ("target_tokens", "target_mask"),
    "given_tokens": ("target_tokens", "target_mask"),
}


def _positions(record: Recorded, axis: str, inputs: Inputs, case: Case) -> slice | None:
    """Find the keys of an axis, whose tensor is there."""
    lengths = {
        axis: inputs[tensor].shape[-1]
        for axis, (tensor, _) in _AXES.items()
        if tensor in inputs
    }
    lengths["channels"] = case.typical.n_channels
    lengths["features"] = case.typical.n_features + len(case.typical.category_counts)
    start = 0
    for part in (record.keys,) if isinstance(record.keys, str) else record.keys:
        if part == axis and axis in lengths:
            end = start + lengths[axis]
            return slice(start, end) if end <= record.weights.shape[-1] else None
        start += lengths.get(part, 1)
    return None
