"""Check that a module can learn: eight samples by heart."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn._architecture import Architecture, SpecialToken
from skattn.testing._build import build, run
from skattn.testing._cases import GRAPHS, Case, Inputs
from skattn.testing._failure import Failure

_SAMPLES = 8
_STEPS = 300
_LEARNING_RATES = (3e-3, 1e-2, 1e-3)

# Part of the first loss that may be left.
_LOSS_LEFT = 0.1

_IGNORED = -100


def check_overfits(architecture: Architecture, case: Case) -> None:
    """Train on eight samples until their targets are known by heart."""
    inputs = case.inputs(n=_SAMPLES, gaps=False)
    if case.task == "token_prediction":
        # No two texts begin alike, so that all that follows can be known.
        inputs["tokens"][:, 0] = torch.arange(_SAMPLES) + 1
    fresh = build(architecture, case.typical)
    target = _targets(run(fresh, inputs), inputs, case)
    if case.task == "token_prediction" and not case.causal:
        inputs["tokens"][target != _IGNORED] = SpecialToken.MASKED
    outcomes = []
    for lr in _LEARNING_RATES:
        module = copy.deepcopy(fresh)
        if _learns(module, inputs, target, lr, case):
            return
        outcomes.append(_describe(run(module, inputs), target))
    raise Failure(
        f"It cannot learn {_SAMPLES} samples by heart in {_STEPS} steps of Adam, at "
        f"learning rates of {', '.join(map(str, _LEARNING_RATES))}: from "
        f"{_describe(run(fresh, inputs), target)} it came to {'; '.join(outcomes)}. "
        "Usual causes: an output layer that sees too little of the input, a softmax or "
        "a ReLU on the scores, dropout by default."
    )


def _targets(scores: Tensor, inputs: Inputs, case: Case) -> Tensor:
    """Make a target for each sample: numbers, or class numbers.

    Neighbours among nodes have similar ones, since attention averages neighbours.
    """
    generator = torch.Generator().manual_seed(0)
    if case.task in {"regression", "forecasting"}:
        numbers = torch.randn(scores.shape, generator=generator)
        return numbers.sort(dim=0).values if case.input == "nodes" else numbers
    if case.task == "tagging":
        return (inputs["tokens"] + 1) % scores.shape[-1]
    if case.task == "translation":
        return _next_tokens(inputs["target_tokens"])
    if case.task == "token_prediction":
        tokens = inputs["tokens"]
        if case.causal:
            return _next_tokens(tokens)
        # One token of each text is to be guessed, never the first one.
        masked = torch.arange(len(tokens)) % (tokens.shape[1] - 1) + 1
        one = functional.one_hot(masked, tokens.shape[1]).bool()
        return torch.where(one, tokens, _IGNORED)
    if case.input == "nodes":
        return torch.arange(len(scores)) * scores.shape[-1] // len(scores)
    return torch.arange(len(scores)) % scores.shape[-1]


def _next_tokens(tokens: Tensor) -> Tensor:
    """Shift tokens (batch, length) to the left, and end them."""
    end = tokens.new_full((len(tokens), 1), SpecialToken.END)
    return torch.cat([tokens[:, 1:], end], dim=1)


def _learns(
    module: nn.Module, inputs: Inputs, target: Tensor, lr: float, case: Case
) -> bool:
    first = float(_loss(run(module, inputs), target))
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    for step in range(1, _STEPS + 1):
        # Graph networks drop most of a large graph by default, too much of a small one.
        module.train(case.input not in GRAPHS)
        optimizer.zero_grad()
        _loss(module(**inputs), target).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            scores = run(module.eval(), inputs)
            if float(_loss(scores, target)) < _LOSS_LEFT * first and _is_right(
                scores, target
            ):
                return True
    module.eval()
    return False


def _loss(scores: Tensor, target: Tensor) -> Tensor:
    if target.is_floating_point():
        return functional.mse_loss(scores, target)
    scores, target = scores.flatten(0, -2), target.flatten()
    return functional.cross_entropy(scores, target, ignore_index=_IGNORED)


def _is_right(scores: Tensor, target: Tensor) -> bool:
    if target.is_floating_point():
        return True
    return bool((scores.argmax(dim=-1) == target)[target != _IGNORED].all())


def _describe(scores: Tensor, target: Tensor) -> str:
    loss = f"loss {float(_loss(scores, target)):.3g}"
    if target.is_floating_point():
        return loss
    right = (scores.argmax(dim=-1) == target)[target != _IGNORED]
    accuracy = float(right.float().mean())
    return f"{loss} and accuracy {accuracy:.2g}"
