"""Checks of modules for texts: what a position may see, generation, pretraining."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from skattn._architecture import Architecture
from skattn.nn import Recorded, join_steps, recording
from skattn.testing._build import (
    TOLERANCE,
    ModuleCheck,
    build,
    described,
    distance,
    run,
)
from skattn.testing._cases import TEXTS, Case, Inputs, cases_of, expected_shape
from skattn.testing._failure import Failure

_GENERATION = ("start", "step", "reorder")

# Each of them has to matter where it is there.
_CODES = ("tokens", "other_tokens", "target_tokens", "characters", "segments")


def checks_of(case: Case) -> Iterator[ModuleCheck]:
    """List the checks of texts that apply to an input and a task.

    Parameters
    ----------
    case : Case
        Input and task.

    Yields
    ------
    check : callable
        Takes architecture and case.
    """
    if case.input not in TEXTS:
        return
    yield check_longer_texts
    yield check_codes
    if case.task == "translation":
        yield check_future
        yield check_alignment
        yield check_generation
    if case.task == "token_prediction":
        yield check_future if case.causal else check_both_sides
        yield check_pretraining


def check_longer_texts(architecture: Architecture, case: Case) -> None:
    """Run forward on texts that are longer than those it was built for."""
    module = build(architecture, case.typical)
    longer = replace(case.typical, length=3 * case.typical.length)
    for gaps in (True, False):
        inputs = case.inputs(longer, gaps=gaps)
        advice = (
            f"data.length={case.typical.length} tells of the training texts only, "
            "and longer ones are predicted too. Compute positions "
            "(skattn.nn.sinusoidal_positions) instead of looking them up."
        )
        try:
            scores = run(module, inputs)
        except (RuntimeError, IndexError, ValueError) as error:
            raise Failure(
                f"forward({described(inputs)}) raised {type(error).__name__}: {error}. "
                + advice
            ) from error
        if tuple(scores.shape) != expected_shape(longer, inputs):
            raise Failure(
                f"forward({described(inputs)}) returned scores of shape "
                f"{tuple(scores.shape)}, not {expected_shape(longer, inputs)}: {advice}"
            )
        if not scores.isfinite().all():
            raise Failure(
                f"forward({described(inputs)}) returned scores that are not finite: "
                + advice
            )


def check_codes(architecture: Architecture, case: Case) -> None:
    """Look for a tensor of codes that no score depends on."""
    module = build(architecture, case.typical, stir=True)
    inputs, others = case.inputs(gaps=False), case.inputs(gaps=False, seed=1)
    for name in _CODES:
        if name not in inputs:
            continue
        changed = {**inputs, name: others[name]}
        if distance(run(module, inputs), run(module, changed)) == 0:
            raise Failure(
                f"No score depends on {name}: use it"
                + (", or take it out of consumes." if name in case.consumes else ".")
            )


def check_future(architecture: Architecture, case: Case) -> None:
    """Change all tokens from a position on, and look at the scores before it."""
    name = "target_tokens" if case.task == "translation" else "tokens"
    for position, scores, others in _changed_endings(architecture, case, name):
        largest = distance(scores[:, :position], others[:, :position])
        if largest > TOLERANCE:
            raise Failure(
                f"The scores of a position of {name} change by {largest:.1e} with the "
                "tokens after it: let attention over them be causal."
                + (
                    " Or write causal = False, and it is pretrained to guess masked "
                    "tokens."
                    if case.causal
                    else ""
                )
            )


def check_both_sides(architecture: Architecture, case: Case) -> None:
    """Look whether any score depends on a later token."""
    if not any(
        distance(scores[:, :position], others[:, :position])
        for position, scores, others in _changed_endings(architecture, case, "tokens")
    ):
        raise Failure(
            "No score depends on a token after its position, and a masked token is to "
            "be guessed from both sides. Write causal = True, and it is pretrained to "
            "predict the next token."
        )


def check_alignment(architecture: Architecture, case: Case) -> None:
    """Look for the attention that joins the tokens of a translation to the source."""
    module = build(architecture, case.typical, stir=True)
    records: list[Recorded] = []
    with recording(records.append):
        run(module, case.inputs())
    if not any(
        (record.kind, record.queries, record.keys)
        == ("cross", "target_tokens", "tokens")
        for record in records
    ):
        told = [(record.kind, record.queries, record.keys) for record in records]
        raise Failure(
            "No layer is recorded with kind='cross', queries='target_tokens' and "
            "keys='tokens', which is the alignment of a translation; there are "
            f"{told or 'none'}."
        )


def check_generation(architecture: Architecture, case: Case) -> None:
    """Compare one step after another with all of them at once."""
    module: Any = build(architecture, case.typical, stir=True)
    lacking = [n for n in _GENERATION if not callable(getattr(module, n, None))]
    if lacking:
        raise Failure(
            f"The module lacks {', '.join(lacking)}: a translation is made token by "
            "token. Add start(tokens, mask=None), which returns a state, "
            "step(target_tokens, state), which takes one token (batch,) and returns "
            "scores (batch, target_vocabulary_size) and the next state, and "
            "reorder(state, index), which returns a state of these rows, of which some "
            "may be repeated."
        )
    longer = replace(case.typical, length=2 * case.typical.length)
    target, other = (
        case.inputs(longer, gaps=False, seed=seed)["target_tokens"] for seed in (0, 1)
    )
    for gaps in (True, False):
        drawn = case.inputs(gaps=gaps)
        source = {n: t for n, t in drawn.items() if n in {"tokens", "mask"}}
        with torch.no_grad():
            _check_steps(module, source, target)
            for position in (0, 2):
                _check_reorder(module, source, target, other, position)
                _check_state_is_kept(module, source, target, other, position)


def check_pretraining(architecture: Architecture, case: Case) -> None:
    """Compare the weights of a pretrained net with those of the nets to be fitted."""
    tasks = {"classification", "regression", "tagging"}
    others = [
        other
        for other in cases_of(architecture)
        if other.input == "tokens" and other.task in tasks
    ]
    if not others:
        return
    pretrained = build(architecture, case.typical)
    if not hasattr(pretrained, "head"):
        raise Failure(
            "The module for token_prediction has no head: give this name to its last "
            "learned map, which is all that pretraining does not hand on."
        )
    for other in others:
        state = build(architecture, other.typical).state_dict()
        learned = _without_head(pretrained)
        kept = {
            name
            for name, tensor in learned.items()
            if name in state and state[name].shape == tensor.shape
        }
        lost = sorted(learned.keys() - kept)
        if sum(learned[name].numel() for name in lost) * 2 > sum(
            tensor.numel() for tensor in learned.values()
        ):
            raise Failure(
                f"Most of what is pretrained is lost to {other.task}, whose module has "
                f"no weights of the same names and shapes: {', '.join(lost)}. Build "
                "everything but head alike for both tasks."
            )


def _changed_endings(
    architecture: Architecture, case: Case, name: str
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Change all tokens from a position on; give it, the scores and the others."""
    module = build(architecture, case.typical, stir=True)
    data = case.typical
    count = data.vocabulary_size
    if name == "target_tokens":
        count = data.target_vocabulary_size
    for gaps in (False, True):
        inputs = case.inputs(gaps=gaps)
        scores = run(module, inputs)
        for position in range(1, inputs[name].shape[1]):
            tokens = inputs[name].clone()
            tokens[:, position:] = tokens[:, position:] % (count - 1) + 1
            yield position, scores, run(module, {**inputs, name: tokens})


def _check_steps(module: Any, source: Inputs, target: Tensor) -> None:
    """Feed a whole target, token by token, and look at the same attention."""
    state = module.start(**source)
    records: list[Recorded] = []
    with recording(records.append):
        scores, _ = _walked(module, state, target, source)
    _expect_same(module, source, target, scores, 0, "One step after another gives")
    steps = {(step.layer, step.kind): step for step in join_steps(records)}
    records.clear()
    with recording(records.append):
        run(module, {**source, "target_tokens": target})
    for whole in join_steps(records):
        if whole.queries == "target_tokens":
            _expect_steps(steps.get((whole.layer, whole.kind)), whole)


def _expect_steps(steps: Recorded | None, whole: Recorded) -> None:
    """Compare what was recorded token by token and at once."""
    if steps is None:
        raise Failure(
            f"step records no attention of the layer {whole.layer!r}, which forward "
            "records: hand the weights to skattn.nn.record there too, with "
            "first_query=the number of tokens before, so that heads can be looked at, "
            "and left out, while the module writes."
        )
    if (
        steps.weights.shape != whole.weights.shape
        or distance(steps.weights, whole.weights) > TOLERANCE
        or not torch.equal(_seen(steps), _seen(whole))
    ):
        raise Failure(
            f"The layer {whole.layer!r} recorded step by step is not what forward "
            f"records: weights of shape {tuple(steps.weights.shape)} for "
            f"{tuple(whole.weights.shape)}, other numbers, or other masks. first_query "
            "is the number of tokens before."
        )


def _seen(record: Recorded) -> Tensor:
    """Tell which keys each query may attend to."""
    seen = torch.ones_like(record.weights, dtype=torch.bool)
    return seen if record.mask is None else seen & record.mask


def _check_reorder(
    module: Any, source: Inputs, target: Tensor, other: Tensor, position: int
) -> None:
    """Repeat and drop rows after some steps, and go on with other tokens."""
    n = len(target)
    for index in (
        torch.tensor([n - 1, 0, 0, 2]),
        torch.arange(n).repeat_interleave(2),
    ):
        _, state = _walked(module, module.start(**source), target[:, :position], source)
        state = module.reorder(state, index)
        chosen = {name: tensor[index] for name, tensor in source.items()}
        ending = torch.cat([other, other.flip(1)])[: len(index)]
        ending[:, 0] = other[0, 0]
        whole = torch.cat([target[index, :position], ending[:, position:]], dim=1)
        scores, _ = _walked(module, state, whole[:, position:], chosen)
        _expect_same(
            module,
            chosen,
            whole,
            scores,
            position,
            f"After {position} steps, reorder(state, {index.tolist()}) and further "
            "steps, it gives",
        )


def _check_state_is_kept(
    module: Any, source: Inputs, target: Tensor, other: Tensor, position: int
) -> None:
    """Use a state twice, with other tokens and another order in between."""
    _, state = _walked(module, module.start(**source), target[:, :position], source)
    expected, _ = module.step(target[:, position], state)
    module.step(other[:, -1], state)
    module.reorder(state, torch.zeros(2, dtype=torch.int64))
    found, _ = module.step(target[:, position], state)
    if (largest := distance(expected, found)) > TOLERANCE:
        raise Failure(
            f"A state that is used twice gives scores that differ by {largest:.1e}: "
            "step and reorder must return a new state and leave the old one as it is, "
            "lists and tensors inside it included."
        )


def _walked(
    module: Any, state: Any, target: Tensor, source: Inputs
) -> tuple[Tensor, Any]:
    """Feed tokens (batch, k) one by one; return scores (batch, k, words), a state."""
    collected = []
    for tokens in target.unbind(dim=1):
        scores, state = module.step(tokens, state)
        if scores.dim() != 2 or len(scores) != len(tokens):
            raise Failure(
                f"step returned scores of shape {tuple(scores.shape)} for tokens of "
                f"shape {tuple(tokens.shape)}; expected is "
                "(batch, target_vocabulary_size)."
            )
        collected.append(scores)
    none = source["tokens"].new_zeros(len(target), 0, 0)
    return (torch.stack(collected, dim=1) if collected else none), state


def _expect_same(
    module: nn.Module,
    source: Inputs,
    target: Tensor,
    scores: Tensor,
    position: int,
    told: str,
) -> None:
    expected = run(module, {**source, "target_tokens": target})[:, position:]
    if (largest := distance(scores, expected)) > TOLERANCE:
        raise Failure(
            f"{told} scores that differ by {largest:.1e} from those of forward, with "
            f"({described(source)}). Usual causes: positions that begin anew at each "
            "step, padded source tokens that the state forgets to mask, and a part of "
            "the state that reorder leaves as it is."
        )


def _without_head(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if name.partition(".")[0] != "head"
    }
