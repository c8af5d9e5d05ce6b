"""Checks that nothing reaches the scores that must not: padding, gaps, other rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from skattn._architecture import Architecture
from skattn.testing._build import TOLERANCE, ModuleCheck, build, distance, run
from skattn.testing._cases import COVERED, GRAPHS, Case, Inputs
from skattn.testing._failure import Failure

_EXTRA_STEPS = 5
_EXTRA_LETTERS = 2

# Of what is padded nothing is asked of these: there, `x` is not measured, and a token
# is in no other sentence than the first one.
_NOT_OVERWRITTEN = {"observed", "segments"}


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
    if case.consumes & COVERED.keys():
        yield check_padding
        if not case.left_padded:
            yield check_lengths
    if "observed" in case.consumes:
        yield check_unobserved
    if case.input not in GRAPHS or "batch" in case.consumes:
        yield check_batch


def check_padding(architecture: Architecture, case: Case) -> None:
    """Change what is padded."""
    module = build(architecture, case.typical, stir=True)
    for inputs in _padded_inputs(case):
        changed = dict(inputs)
        for mask, name in _padded_tensors(inputs):
            if name not in _NOT_OVERWRITTEN:
                changed[name] = _overwritten(inputs[name], inputs[mask])
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
        padded = _padded(inputs)
        scores = _real(run(module, inputs), inputs, case)
        _expect_same(
            scores,
            _real(run(module, padded), padded, case),
            f"The scores change when {_EXTRA_STEPS} more positions are padded at the "
            "end. The engine pads to various lengths: let nothing depend on the "
            "tensor's length, only on mask.",
        )
        for row in range(len(next(iter(inputs.values())))):
            alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
            lengths = {
                name: int(alone[name].sum()) for name in COVERED if name in alone
            }
            if not all(lengths.values()):
                continue  # an empty text is never cut down to nothing
            own = _cut(alone, lengths)
            unmasked = {name: own[name] for name in own if name not in COVERED}
            told = " and ".join(map(str, lengths.values()))
            _expect_same(
                _real(run(module, alone), alone, case),
                _real(run(module, unmasked), own, case),
                f"A sample of length {told} alone, without mask, gets other scores "
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


def check_batch(architecture: Architecture, case: Case) -> None:
    """Exchange all samples of a batch but the first, and run each of them alone."""
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
    scores = run(module, inputs)
    _expect_same(
        _real(scores[:1], inputs, case),
        _real(run(module, mixed)[:1], inputs, case),
        message,
    )
    for row in range(len(scores)):
        alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        expected = _real(scores[row : row + 1], alone, case)
        _expect_same(expected, _real(run(module, alone), alone, case), message)


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
    """Draw padded batches with and without gaps, and with one of two texts padded."""
    inputs = case.inputs()
    yield inputs
    if "observed" in inputs:
        yield {name: tensor for name, tensor in inputs.items() if name != "observed"}
    if len(COVERED.keys() & inputs.keys()) > 1:
        whole = case.inputs(gaps=False)
        for mask in sorted(COVERED.keys() & inputs.keys()):
            padded = {mask, *COVERED[mask]}
            yield {
                name: (inputs if name in padded else whole)[name]
                for name in inputs
                if name in padded or name in whole
            }


def _padded_tensors(inputs: Inputs) -> Iterator[tuple[str, str]]:
    """List the masks of a batch, each with every tensor that it covers."""
    for mask, covered in COVERED.items():
        if mask in inputs:
            yield from ((mask, name) for name in covered if name in inputs)


def _overwritten(tensor: Tensor, present: Tensor) -> Tensor:
    """Put other values where something is not there."""
    if present.dim() < tensor.dim():
        present = present[:, None] if tensor.is_floating_point() else present[..., None]
    if not tensor.is_floating_point():
        return torch.where(present, tensor, (tensor + 1) % (int(tensor.max()) + 1))
    return torch.where(present, tensor, 100 * torch.randn_like(tensor))


def _axis(name: str) -> int:
    """Tell along which axis of a tensor its positions are."""
    return 1 if name == "characters" else -1


def _padded(inputs: Inputs) -> Inputs:
    """Pad what has a mask, and words that have characters."""
    padded = dict(inputs)
    for mask, name in _padded_tensors(inputs):
        letters = (0, _EXTRA_LETTERS) if name == "characters" else ()
        padded[mask] = functional.pad(inputs[mask], (0, _EXTRA_STEPS))
        padded[name] = functional.pad(inputs[name], (*letters, 0, _EXTRA_STEPS))
    return padded


def _cut(inputs: Inputs, lengths: dict[str, int]) -> Inputs:
    """Leave so many positions, and as many letters as the longest word has."""
    own = dict(inputs)
    for mask, name in _padded_tensors(inputs):
        own[mask] = inputs[mask][:, : lengths[mask]]
        own[name] = inputs[name].narrow(_axis(name), 0, lengths[mask])
        if name == "characters":
            own[name] = own[name][..., own[name].amax(dim=(0, 1)) > 0]
    return own


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
