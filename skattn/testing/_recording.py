"""Checks of what is recorded beside the weights, and of weights that are replaced."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skattn._architecture import Architecture
from skattn.nn import Name, Patches, Recorded, join_steps, recording
from skattn.testing._attention import padded_keys, recorded
from skattn.testing._build import ModuleCheck, build, distance, run
from skattn.testing._cases import GRAPHS, TEXTS, Case, Inputs
from skattn.testing._failure import Failure

# Axes that an estimator can name. Every other word is a token of its own.
_AXES = (
    "features",
    "time",
    "channels",
    "horizon",
    "tokens",
    "other_tokens",
    "target_tokens",
    "given_tokens",
    "segments",
    "nodes",
    "graph",
)


def check_recorded_masks(architecture: Architecture, case: Case) -> None:
    """Compare masks with the weights, and look for padded keys in them."""
    module = build(architecture, case.typical, stir=True)
    for gaps in (False, True):
        inputs = case.inputs(gaps=gaps)
        steps = _steps(module, inputs)
        for step in steps:
            _check_mask(step)
        for record in join_steps(steps):
            if record.weights.dim() == 4:
                _check_padding(record, inputs, case)


def check_recorded_values(architecture: Architecture, case: Case) -> None:
    """Compare values, the map of the heads and groups with the weights."""
    module = build(architecture, case.typical, stir=True)
    for gaps in (False, True):
        for step in _steps(module, case.inputs(gaps=gaps)):
            _check_values(step)


def check_recorded_names(architecture: Architecture, case: Case) -> None:
    """Count what queries and keys are called."""
    module = build(architecture, case.typical, stir=True)
    for gaps in (False, True):
        inputs = case.inputs(gaps=gaps)
        for record in join_steps(_steps(module, inputs)):
            if record.edge_index is not None:
                _check_edge_names(record)
                continue
            n_queries, n_keys = record.weights.shape[2:]
            _check_axis(record, "queries", n_queries, inputs, case)
            _check_axis(record, "keys", n_keys, inputs, case)


def check_replaced_weights(architecture: Architecture, case: Case) -> None:
    """Leave out one head after the other, and look at the scores."""
    module = build(architecture, case.typical, stir=True)
    for gaps in (False, True):
        inputs = case.inputs(gaps=gaps)
        scores, records = recorded(module, inputs)
        for record in records:
            for head in range(record.weights.shape[1]):
                others = _run_without(module, inputs, record, head)
                told = f"head {head} of layer {record.layer!r} ({record.kind})"
                if not others.isfinite().all():
                    raise Failure(
                        f"The scores are not finite where {told} is given weights of "
                        "zero: go on with what record returns as it is, and do not "
                        "normalise it again."
                    )
                if distance(scores, others) == 0:
                    raise Failure(
                        f"The scores stay the same where {told} is given other "
                        "weights: go on with what record returns, weights = "
                        "record(weights, ...), so that heads can be left out and "
                        "weights be permuted."
                    )


def check_recorded_gradients(architecture: Architecture, case: Case) -> None:
    """Differentiate the scores with respect to the recorded weights."""
    module = build(architecture, case.typical, stir=True)
    for gaps in (False, True):
        steps: list[Recorded] = []
        with recording(steps.append):
            scores = module(**case.inputs(gaps=gaps))
        for step in steps:
            if not step.weights.requires_grad:
                raise Failure(
                    f"Layer {step.layer!r} recorded weights that no gradient flows "
                    "through: record the weights themselves, neither detached nor "
                    "computed again without gradients."
                )
        if not steps:
            continue  # which is another check's
        signs = torch.arange(scores.numel()).cos().to(scores).view_as(scores)
        weights = [step.weights for step in steps]
        total = (signs * scores).sum()
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
        _check_gradients(steps, gradients)


CHECKS: tuple[ModuleCheck, ...] = (
    check_recorded_masks,
    check_recorded_values,
    check_recorded_names,
    check_replaced_weights,
    check_recorded_gradients,
)


def _steps(module: nn.Module, inputs: Inputs) -> list[Recorded]:
    """Run a module and collect what it records, step by step.

    Weights of another shape than the contract's are another check's.
    """
    steps: list[Recorded] = []
    with recording(steps.append):
        run(module, inputs)
    return [
        step
        for step in steps
        if step.weights.dim() == (4 if step.edge_index is None else 2)
    ]


def _check_mask(step: Recorded) -> None:
    mask, shape = step.mask, tuple(step.weights.shape)
    if mask is None:
        return
    fits = len(mask.shape) == len(shape) and all(
        length in (1, wanted) for length, wanted in zip(mask.shape, shape, strict=True)
    )
    if not fits or mask.dtype != torch.bool:
        raise Failure(
            f"Layer {step.layer!r} recorded a mask of shape {tuple(mask.shape)} and "
            f"type {mask.dtype} for weights of shape {shape}: it must be bool and have "
            "the axes of the weights, each of their length or of 1, as "
            "mask[:, None, None] of a mask of keys (batch, keys)."
        )
    if step.weights.masked_select(~mask).count_nonzero():
        raise Failure(
            f"Layer {step.layer!r} recorded weights other than zero where its mask is "
            "False: mask is True where a query may attend to a key, and what it leaves "
            "out gets no weight (skattn.nn.masked_softmax)."
        )


def _check_padding(record: Recorded, inputs: Inputs, case: Case) -> None:
    """Look for padded keys that the mask lets through."""
    for name, keys, padded in padded_keys(record, inputs, case):
        seen = torch.ones_like(record.weights, dtype=torch.bool)
        if record.mask is not None:
            seen = seen & record.mask
        if seen[..., keys].masked_select(padded).any():
            raise Failure(
                f"Layer {record.layer!r} does not record that its queries may not "
                f"attend to padded keys: pass mask={name}[:, None, None] to record, or "
                "keys that are padded count among those over which weights are spread."
            )


def _check_values(step: Recorded) -> None:
    heads, groups = step.weights.shape[1], step.groups
    if groups < 1 or heads % groups:
        raise Failure(
            f"Layer {step.layer!r} recorded groups={groups} for {heads} heads: groups "
            "is how often the heads of the layer are there, those of the first group "
            "first."
        )
    values, output = step.values, step.output
    if values is not None:
        n, *keys = step.weights.shape[0], *step.weights.shape[3:]
        found = tuple(values.shape)
        if not any(found[:-1] == (n, count, *keys) for count in (heads, 1)):
            told = ", ".join(map(str, (n, heads, *keys)))
            raise Failure(
                f"Layer {step.layer!r} recorded values of shape {found} for weights of "
                f"shape {tuple(step.weights.shape)}; expected is ({told}, d), or a "
                "single head where all share the values: what the weights multiply, "
                "of edges the values of each edge's source."
            )
    if output is None:
        return
    if values is None:
        raise Failure(
            f"Layer {step.layer!r} recorded output, but not the values that it maps: "
            "pass values too."
        )
    joined = heads // groups * values.shape[-1]
    if output.dim() != 2 or output.shape[1] != joined:
        raise Failure(
            f"Layer {step.layer!r} recorded output of shape {tuple(output.shape)}; "
            f"expected is (width, {joined}): the weight of the linear layer that "
            f"follows {heads // groups} heads of width {values.shape[-1]}."
        )


def _check_edge_names(record: Recorded) -> None:
    if record.keys != "nodes" or record.queries not in ("nodes", "graph"):
        raise Failure(
            f"Layer {record.layer!r} recorded weights on edges from "
            f"keys={record.keys!r} to queries={record.queries!r}: edges lead from "
            "'nodes' to 'nodes', or, of pooling, to 'graph'."
        )


def _check_axis(
    record: Recorded, side: str, count: int, inputs: Inputs, case: Case
) -> None:
    """Compare the number of positions with that of names."""
    axis = getattr(record, side)
    parts = (axis,) if isinstance(axis, str) else axis
    told = f"Layer {record.layer!r} recorded {side}={axis!r}"
    if not parts or not all(isinstance(part, str) and part for part in parts):
        raise Failure(
            f"{told}: give a word, or a tuple of words where several parts are joined."
        )
    totals, is_open = {0}, False
    for part in parts:
        lengths = _lengths(part, inputs, case)
        if part in _AXES and not isinstance(part, Name) and lengths is None:
            raise Failure(
                f"{told}, but there is no axis {part!r} in {case.input} data for "
                f"{case.task}. Take an axis that is there, another word for a token of "
                "your own, or skattn.nn.Name for a name that came with the data."
            )
        is_open |= not lengths
        totals = {total + length for total in totals for length in lengths or (1,)}
    # The last part stands for all positions that are left over.
    is_open |= parts[-1] not in _AXES and not isinstance(parts[-1], Name)
    if not (count in totals or (is_open and count > min(totals))):
        raise Failure(
            f"{told}, which names {' or '.join(map(str, sorted(totals)))} positions "
            f"for {count} in its weights. Name every position: 'cls', say, or "
            "skattn.nn.Patches where tokens are no longer those of the data."
        )
    if isinstance(parts[-1], Patches):
        _check_patches(parts[-1], count - max(totals) + 1, inputs, told)


def _lengths(part: str, inputs: Inputs, case: Case) -> set[int] | None:
    """Count the positions of a part: what is possible; empty where nobody knows.

    None of an axis that the data do not have.
    """
    data = case.typical
    if isinstance(part, Name) or part not in _AXES:
        return {1}
    if case.input in GRAPHS and part in ("nodes", "graph"):
        return set()
    if part == "segments" and case.input in TEXTS:
        return set()
    if part in ("tokens", "other_tokens") and part in inputs:
        return {inputs[part].shape[1]}
    if part in ("target_tokens", "given_tokens") and "target_tokens" in inputs:
        return {inputs["target_tokens"].shape[1]}
    if case.input == "table" and part == "features":
        return {data.n_features + len(data.category_counts)}
    if case.input == "series" and part == "time":
        return {inputs["x"].shape[-1]}
    if case.input == "series" and part == "channels":
        return {data.n_channels, data.n_targets or data.n_channels}
    if case.task == "forecasting" and part == "horizon":
        return {data.horizon}
    return None


def _check_patches(patches: Patches, count: int, inputs: Inputs, told: str) -> None:
    """Let patches reach from the first step to the last."""
    length = inputs["x"].shape[-1]
    last = (count - 1) * patches.stride
    if last > length or last + patches.length < length:
        raise Failure(
            f"{told}: {count} patches of length={patches.length} at "
            f"stride={patches.stride}, which do not cover the {length} steps of the "
            "series. Say how long the patches are, and how far apart they begin, in "
            "steps."
        )


def _run_without(
    module: nn.Module, inputs: Inputs, record: Recorded, head: int
) -> Tensor:
    """Give a head of one layer weights of zero."""

    def leave_out(step: Recorded) -> Tensor | None:
        if (step.layer, step.kind) != (record.layer, record.kind):
            return None
        weights = step.weights.clone()
        weights[:, head] = 0.0
        return weights

    with recording(leave_out):
        return run(module, inputs)


def _check_gradients(
    steps: list[Recorded], gradients: tuple[Tensor | None, ...]
) -> None:
    """Let the gradients of a layer be finite, and some of them not zero."""
    reached: dict[tuple[str, str], bool] = {}
    for step, gradient in zip(steps, gradients, strict=True):
        if gradient is not None and not gradient.isfinite().all():
            raise Failure(
                f"The scores have gradients with respect to the weights of layer "
                f"{step.layer!r} that are not finite. Usual cause: a division by, or a "
                "root of, something that is zero where all keys are masked."
            )
        key = (step.layer, step.kind)
        found = gradient is not None and bool(gradient.count_nonzero())
        reached[key] = reached.get(key, False) or found
    for layer, kind in (key for key, found in reached.items() if not found):
        raise Failure(
            f"The scores have no gradient with respect to the weights that layer "
            f"{layer!r} ({kind}) recorded: go on with what record returns, weights = "
            "record(weights, ...), not with a copy from before."
        )
