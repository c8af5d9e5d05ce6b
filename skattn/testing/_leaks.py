"""Checks that nothing reaches the scores that must not: padding, gaps, other rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from skattn._architecture import Architecture
from skattn.testing._build import TOLERANCE, ModuleCheck, build, distance, run
from skattn.testing._cases import GRAPHS, Case, Inputs
from skattn.testing._failure import Failure

# Which tensors a mask covers.
_COVERED = {"mask": ("x", "tokens"), "other_mask": ("other_tokens",)}
_COVERED["target_mask"] = ("target_tokens",)
_EXTRA_STEPS = 5


def checks_of(case: Case) -> Iterator[ModuleCheck]:
    """List the checks for leaks that apply to an input and a task.

    Parameters
    ----------
    case : Case
        Input and task.

    Yields
    ------
    check : callable
        Takes architecture and case.
    """
    if "mask" in case.consumes:
        yield check_padding
        if not case.left_padded:
            yield check_lengths
    if "observed" in case.consumes:
        yield check_unobserved
    if case.task == "translation":
        yield check_future
    if case.input not in GRAPHS or "batch" in case.consumes:
        yield check_batch


def check_padding(architecture: Architecture, case: Case) -> None:
    """Change what is padded."""
    module = build(architecture, case.typical, stir=True)
    for inputs in _padded_inputs(case):
        changed = dict(inputs)
        for name in sorted(set(_COVERED) & set(inputs)):
            for covered in set(_COVERED[name]) & set(inputs):
                changed[covered] = _overwritten(inputs[covered], inputs[name])
        _expect_same(
            _real(run(module, inputs), inputs, case),
            _real(run(module, changed), inputs, case),
            "The scores change with the values of padded positions (where mask is "
            "False). Hand mask to every layer that mixes positions, and to the "
            "pooling: attention, recurrences, convolutions, norms and means.",
        )


def check_lengths(architecture: Architecture, case: Case) -> None:
    """Pad further, and run each sample alone without padding."""
    module = build(architecture, case.typical, stir=True)
    for inputs in _padded_inputs(case):
        padded = {name: _padded(name, tensor) for name, tensor in inputs.items()}
        scores = _real(run(module, inputs), inputs, case)
        _expect_same(
            scores,
            _real(run(module, padded), padded, case),
            f"The scores change when {_EXTRA_STEPS} more positions are padded at the "
            "end. The engine pads to various lengths: let nothing depend on the "
            "tensor's length, only on mask.",
        )
        for row, length in enumerate(inputs["mask"].sum(dim=1).tolist()):
            alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
            own = {name: _cut(name, tensor, length) for name, tensor in alone.items()}
            real = {**own, "mask": own.pop("mask")}
            _expect_same(
                _real(run(module, alone), alone, case),
                _real(run(module, own), real, case),
                f"A sample of length {length} alone, without mask, gets other scores "
                "than the same sample padded and masked. Usual causes: a mean over all "
                "positions instead of the real ones, or a last state that is read at "
                "the end of the padding.",
            )


def check_unobserved(architecture: Architecture, case: Case) -> None:
    """Change what is missing."""
    module = build(architecture, case.typical, stir=True)
    inputs = case.inputs()
    changed = {**inputs, "x": _overwritten(inputs["x"], inputs["observed"])}
    _expect_same(
        run(module, inputs),
        run(module, changed),
        "The scores change with values of x that were not measured (where observed is "
        "False). Replace them first: x = torch.where(observed, x, 0), or use "
        "skattn.nn.FeatureTokens.",
    )


def check_future(architecture: Architecture, case: Case) -> None:
    """Change the last target token, and look at the scores before it."""
    module = build(architecture, case.typical, stir=True)
    inputs = case.inputs(gaps=False)
    tokens = inputs["target_tokens"].clone()
    tokens[:, -1] = (tokens[:, -1] + 1) % case.typical.target_vocabulary_size
    _expect_same(
        run(module, inputs)[:, :-1],
        run(module, {**inputs, "target_tokens": tokens})[:, :-1],
        "The scores of a target position change with the tokens after it: let the "
        "decoder's attention over target_tokens be causal.",
    )


def check_batch(architecture: Architecture, case: Case) -> None:
    """Exchange all samples of a batch but the first, and run the first alone."""
    module = build(architecture, case.typical, stir=True)
    inputs, others = case.inputs(), case.inputs(seed=1)
    message = (
        "The scores of a sample change with the other samples of its batch: in "
        "evaluation mode let nothing mix along the first axis (means over the batch, "
        "a reshape that swaps axes, attention over samples)."
    )
    if case.input == "graph":
        ours = inputs["batch"] == 0
        mixed = {**inputs, "x": torch.where(ours[:, None], inputs["x"], others["x"])}
        scores = run(module, inputs)
        _expect_same(scores[:1], run(module, mixed)[:1], message)
        for graph in range(len(scores)):
            alone = _only_graph(inputs, graph)
            _expect_same(scores[graph : graph + 1], run(module, alone), message)
        return
    mixed = {
        name: torch.cat([tensor[:1], others[name][1:]])
        for name, tensor in inputs.items()
    }
    scores = _real(run(module, inputs)[:1], inputs, case)
    _expect_same(scores, _real(run(module, mixed)[:1], inputs, case), message)
    alone = {name: tensor[:1] for name, tensor in inputs.items()}
    _expect_same(scores, _real(run(module, alone), alone, case), message)


def _only_graph(inputs: Inputs, graph: int) -> Inputs:
    """Take one graph out of a batch."""
    nodes = (inputs["batch"] == graph).nonzero()[:, 0]
    edges = torch.isin(inputs["edge_index"][1], nodes)
    alone = {
        "x": inputs["x"][nodes],
        "edge_index": inputs["edge_index"][:, edges] - nodes[0],
        "batch": torch.zeros_like(nodes),
    }
    if "edge_attr" in inputs:
        alone["edge_attr"] = inputs["edge_attr"][edges]
    return alone


def _padded_inputs(case: Case) -> Iterator[Inputs]:
    """Draw padded batches with and without gaps: the engine passes both."""
    inputs = case.inputs()
    yield inputs
    if "observed" in inputs:
        yield {name: tensor for name, tensor in inputs.items() if name != "observed"}


def _overwritten(tensor: Tensor, present: Tensor) -> Tensor:
    """Put other values where something is not there."""
    if present.dim() < tensor.dim():
        present = present[:, None]
    if not tensor.is_floating_point():
        return torch.where(present, tensor, (tensor + 1) % (int(tensor.max()) + 1))
    return torch.where(present, tensor, 100 * torch.randn_like(tensor))


def _padded(name: str, tensor: Tensor) -> Tensor:
    """Pad a tensor with positions; those of the target stay as they are."""
    if name in {"x", "tokens", "mask", "observed"}:
        return functional.pad(tensor, (0, _EXTRA_STEPS))
    return tensor


def _cut(name: str, tensor: Tensor, length: int) -> Tensor:
    if name in {"x", "tokens", "mask", "observed"}:
        return tensor[..., :length]
    return tensor


def _real(scores: Tensor, inputs: Inputs, case: Case) -> Tensor:
    """Drop the scores of padded positions, where positions have scores."""
    axis = {"tagging": "mask", "token_prediction": "mask"}.get(case.task)
    axis = "target_mask" if case.task == "translation" else axis
    if axis is None or axis not in inputs:
        return scores
    mask = inputs[axis][: len(scores)]
    return scores[:, : mask.shape[1]][mask]


def _expect_same(scores: Tensor, others: Tensor, message: str) -> None:
    if (largest := distance(scores, others)) > TOLERANCE:
        raise Failure(f"{message} (They change by {largest:.1e}.)")
