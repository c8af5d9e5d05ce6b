"""Checks of what `build` returns: signature, shapes, seeds, gradients, weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from skattn._architecture import Architecture, DataSpec
from skattn.testing import (
    _attention,
    _graphs,
    _leaks,
    _learning,
    _recording,
    _texts,
)
from skattn.testing._build import (
    TOLERANCE,
    ModuleCheck,
    build,
    described,
    distance,
    run,
)
from skattn.testing._cases import (
    DROPPABLE,
    MAIN_TENSORS,
    Case,
    Inputs,
    expected_shape,
)
from skattn.testing._failure import Failure
from skattn.testing._random import seed_others, state_of_others


def checks_of(case: Case) -> Iterator[tuple[str, Callable[[Architecture], None]]]:
    """List the checks of a module that apply to an input and a task.

    Parameters
    ----------
    case : Case
        Input and task.

    Yields
    ------
    name : str
        What is checked.
    function : callable
        Takes the architecture.
    """
    module_checks = [*_CHECKS]
    if case.consumes & set(DROPPABLE):
        module_checks.append(check_left_out_tensors)
    for module in (_leaks, _graphs, _texts):
        module_checks += module.checks_of(case)
    for check in (*module_checks, *_attention.CHECKS, *_recording.CHECKS):
        name = check.__name__.removeprefix("check_")
        yield name, partial(check, case=case)
    yield "overfits", partial(_learning.check_overfits, case=case)


def check_signature(architecture: Architecture, case: Case) -> None:
    """Compare the arguments of ``forward`` with the contract and with `consumes`."""
    module = build(architecture, case.typical)
    parameters = dict(inspect.signature(module.forward).parameters)
    main = MAIN_TENSORS[case.input]
    if variadic := [p for p in parameters.values() if p.kind in _VARIADIC]:
        raise Failure(
            f"forward takes {variadic[0]}: name every tensor, so that it can be "
            "compared with consumes."
        )
    if tuple(parameters)[: len(main)] != main:
        raise Failure(
            f"forward takes ({', '.join(parameters)}): with {case.input} input it "
            f"begins with {', '.join(main)}."
        )
    optional = set(parameters) - set(main)
    if unknown := sorted(optional - set(architecture.consumes)):
        raise Failure(
            f"forward takes {_listed(unknown)}, which consumes does not name: the "
            "engine will never pass that. Add it to consumes, or drop the argument."
        )
    if missing := sorted(case.consumes - optional):
        raise Failure(
            f"consumes names {_listed(missing)}, which forward does not take. Add the "
            "argument with the default None, or take it out of consumes."
        )
    if case.input == "graph" and "batch" not in case.consumes:
        raise Failure(
            "consumes does not name 'batch', so forward cannot know which node belongs "
            "to which graph: several graphs come at once. Take batch, and pool the "
            "nodes of each graph (skattn.nn.GraphPooling)."
        )
    if required := sorted(n for n in optional if parameters[n].default is not None):
        raise Failure(
            f"forward must give {_listed(required)} the default None: an optional "
            "tensor is left out where it would hold nothing."
        )


def check_shapes(architecture: Architecture, case: Case) -> None:
    """Run forward for several kinds of data and batches."""
    for data in _all_data(case):
        module = build(architecture, data)
        for n, gaps in ((6, True), (6, False), (1, False)):
            inputs = case.inputs(data, n=n, gaps=gaps)
            scores = _scores(module, inputs, data)
            expected = expected_shape(data, inputs)
            if tuple(scores.shape) != expected:
                raise Failure(
                    f"forward({described(inputs)}) returned scores of shape "
                    f"{tuple(scores.shape)}; expected is {expected}, for {_brief(data)}"
                )
            if not scores.is_floating_point() or not scores.isfinite().all():
                raise Failure(
                    f"forward({described(inputs)}) returned scores that are not finite "
                    f"(or no real numbers), for {_brief(data)}. Usual causes: a "
                    "softmax or a mean over nothing, where a sample has no value at "
                    "all (see skattn.nn.masked_softmax)."
                )


def check_left_out_tensors(architecture: Architecture, case: Case) -> None:
    """Compare a tensor that holds nothing with None."""
    module = build(architecture, case.typical, stir=True)
    plain = case.inputs(gaps=False)
    shapes = case.inputs(gaps=True)
    for name in sorted(case.consumes & set(DROPPABLE)):
        without = {key: tensor for key, tensor in plain.items() if key != name}
        # All tokens are in the first segment, and all that has a mask is real.
        fill = torch.zeros_like if name == "segments" else torch.ones_like
        given = {**plain, name: fill(shapes[name])}
        if distance(run(module, without), run(module, given)) > TOLERANCE:
            everywhere = "0" if name == "segments" else "True"
            raise Failure(
                f"The scores with {name}=None differ from those where {name} is all "
                f"{everywhere}. Both mean the same, and the engine passes either."
            )


def check_seeds(architecture: Architecture, case: Case) -> None:
    """Build twice with the same seed and once with another one."""
    states = []
    for seed, other in ((0, 1), (0, 2), (1, 3)):
        seed_others(other)
        before = state_of_others()
        module = build(architecture, case.typical, seed=seed)
        run(module, case.inputs())
        if before != state_of_others():
            raise Failure(
                "build or forward draws from random or numpy.random: draw from torch, "
                "which the estimator seeds with random_state."
            )
        states.append(module.state_dict())
    if not _equal(states[0], states[1]):
        raise Failure(
            "Building twice after torch.manual_seed(0) gives different weights: draw "
            "from torch's default generator only."
        )
    if _equal(states[0], states[2]):
        raise Failure(
            "torch.manual_seed(0) and torch.manual_seed(1) give the same weights: "
            "do not seed inside build, that is the estimator's part; and initialise "
            "weights at random."
        )


def check_build_is_pure(architecture: Architecture, case: Case) -> None:
    """Build twice, and look whether the architecture or the first module changed."""
    used = clone(architecture)
    before = repr(vars(used))
    first, second = used.build(case.typical), used.build(case.typical)
    if repr(vars(used)) != before:
        raise Failure(
            "build changes the architecture: it may only read its hyper-parameters, "
            "and what it computes belongs into the module."
        )
    kept = {tensor.data_ptr() for tensor in first.parameters() if tensor.numel()}
    if any(tensor.data_ptr() in kept for tensor in second.parameters()):
        raise Failure("Two modules share weights: make all of them inside build.")


def check_evaluation_mode(architecture: Architecture, case: Case) -> None:
    """Run forward twice in evaluation mode."""
    module = build(architecture, case.typical, stir=True)
    inputs = case.inputs()
    copies = {name: tensor.clone() for name, tensor in inputs.items()}
    before = torch.get_rng_state()
    first = run(module, inputs)
    if not torch.equal(before, torch.get_rng_state()):
        raise Failure(
            "forward draws random numbers in evaluation mode: do so only where "
            "self.training is True."
        )
    if not torch.equal(first, run(module, inputs)):
        raise Failure(
            "Two calls of forward in evaluation mode differ: a module may change its "
            "buffers only while self.training is True."
        )
    if changed := [n for n, t in inputs.items() if not torch.equal(t, copies[n])]:
        raise Failure(
            f"forward writes into {_listed(changed)}: make a copy, the tensors belong "
            "to the estimator."
        )


def check_gradients(architecture: Architecture, case: Case) -> None:
    """Let a gradient flow from random scores into every parameter."""
    module = build(architecture, case.typical, stir=True).train()
    inputs = case.inputs(n=16)
    scores = module(**inputs)
    (scores * torch.randn_like(scores)).sum().backward()
    unused = [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
        and parameter.numel()
        and (parameter.grad is None or not parameter.grad.count_nonzero())
    ]
    if unused:
        raise Failure(
            f"No gradient reaches {_listed(unused)}, with forward("
            f"{described(inputs)}): use it in forward, or do not make it. A detach, "
            "an argmax or an unused layer are the usual causes."
        )
    broken = [
        name
        for name, parameter in module.named_parameters()
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    ]
    if broken:
        raise Failure(
            f"The gradient of {_listed(broken)} is not finite, with forward("
            f"{described(inputs)}). Usual causes: the square root of zero, and a "
            "softmax over masked keys only (see skattn.nn.masked_softmax)."
        )


def check_channels(architecture: Architecture, case: Case) -> None:
    """Look for a channel of a forecasting window that no score depends on."""
    if case.task != "forecasting":
        return
    module = build(architecture, case.typical, stir=True)
    inputs = case.inputs(gaps=False)
    leaf = inputs["x"].requires_grad_()
    scores = module(**{**inputs, "x": leaf * 1})  # forward may write into a copy
    (scores * torch.randn_like(scores)).sum().backward()
    gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    used = gradient.abs().sum(dim=(0, 2)) > 0
    if not used.all():
        raise Failure(
            f"No score depends on the channels {(~used).nonzero().flatten().tolist()} "
            f"of x, with {case.typical.n_targets} targets. Channels beyond the targets "
            "are covariates of the past: use them, or write past_covariates = False, "
            "and the estimator refuses them."
        )


def check_state_dict(architecture: Architecture, case: Case) -> None:
    """Carry the weights over to a module with another seed."""
    module = build(architecture, case.typical, stir=True)
    other = build(architecture, case.typical, seed=1)
    other.load_state_dict(module.state_dict())
    inputs = case.inputs()
    if distance(run(module, inputs), run(other, inputs)) > TOLERANCE:
        raise Failure(
            "A module that got another one's state_dict gives other scores, so a "
            "pickled estimator would too: register every tensor that forward uses as "
            "a parameter or with register_buffer."
        )


def check_float64(architecture: Architecture, case: Case) -> None:
    """Run forward in double precision."""
    module = build(architecture, case.typical).double()
    inputs = {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in case.inputs().items()
    }
    try:
        scores = run(module, inputs)
    except RuntimeError as error:
        raise Failure(
            f"forward fails in float64: {error}. Make tensors with the dtype and "
            "device of the input (x.new_zeros(...), torch.zeros_like), and register "
            "constants with register_buffer."
        ) from error
    if scores.dtype != torch.float64:
        raise Failure(
            f"forward turns float64 input into {scores.dtype}: do not convert."
        )


def check_head(architecture: Architecture, case: Case) -> None:
    """Look at what the module calls `head`."""
    module = build(architecture, case.typical)
    if not hasattr(module, "head"):
        return
    if not isinstance(module.head, nn.Module) or not list(module.head.parameters()):
        raise Failure(
            f"The module's head is {type(module.head).__name__}: it must be the last "
            "learned map, a torch.nn.Module with parameters, or have another name."
        )


def check_search_space(architecture: Architecture, case: Case) -> None:
    """Build and run with the edges of each range, alone and together."""
    inputs = case.inputs()
    for changes in _candidates(architecture):
        try:
            module = build(clone(architecture).set_params(**changes), case.typical)
            scores = run(module, inputs)
        except Exception as error:
            raise Failure(
                f"With {changes}, inside search_space, it fails with "
                f"{type(error).__name__}: {error}. Narrow the range, or let build "
                "round what does not fit: a random search draws all hyper-parameters "
                "independently."
            ) from error
        if tuple(scores.shape) != expected_shape(case.typical, inputs):
            raise Failure(
                f"With {changes}, inside search_space, the scores have shape "
                f"{tuple(scores.shape)}, not {expected_shape(case.typical, inputs)}."
            )


def check_search_space_matters(architecture: Architecture, case: Case) -> None:
    """Look whether each hyper-parameter of the search space has any effect."""
    inputs = case.inputs()
    for name, space in architecture.search_space.items():
        low, high = space.edges[0], space.edges[-1]
        if low == high:
            continue
        outcomes = []
        for value in (low, high):
            changed = clone(architecture).set_params(**{name: value})
            with suppress(Exception):  # the check before this one tells
                module = build(changed, case.typical).train()
                torch.manual_seed(0)
                outcomes.append((module.state_dict(), run(module, inputs)))
        if len(outcomes) < 2:
            continue
        if (
            _equal(outcomes[0][0], outcomes[1][0])
            and distance(outcomes[0][1], outcomes[1][1]) == 0
        ):
            raise Failure(
                f"{name}={low!r} and {name}={high!r} give the same weights and the "
                f"same scores: let build use {name!r}, or take it out of search_space."
            )


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_CHECKS: tuple[ModuleCheck, ...] = (
    check_signature,
    check_shapes,
    check_seeds,
    check_build_is_pure,
    check_evaluation_mode,
    check_gradients,
    check_channels,
    check_state_dict,
    check_float64,
    check_head,
    check_search_space,
    check_search_space_matters,
)


def _all_data(case: Case) -> Iterator[DataSpec]:
    yield case.typical
    yield from case.extremes
    if case.task == "forecasting":
        yield replace(case.typical, n_parameters=2)
    elif case.task in {"classification", "regression"}:
        yield replace(case.typical, n_outputs=1)


def _candidates(architecture: Architecture) -> Iterator[dict[str, Any]]:
    """Yield edges one by one, all low, all high, and a few random draws."""
    space = architecture.search_space
    for name, values in space.items():
        for edge in values.edges:
            yield {name: edge}
    if len(space) < 2:
        return
    yield {name: values.edges[0] for name, values in space.items()}
    yield {name: values.edges[-1] for name, values in space.items()}
    rng = np.random.RandomState(0)
    for _ in range(3):
        yield {name: values.rvs(rng) for name, values in space.items()}


def _scores(module: nn.Module, inputs: Inputs, data: DataSpec) -> Tensor:
    try:
        return run(module, inputs)
    except Failure:
        raise
    except Exception as error:
        raise Failure(
            f"forward({described(inputs)}) raised {type(error).__name__}: {error}, for "
            f"{_brief(data)}"
        ) from error


def _equal(state: dict[str, Any], other: dict[str, Any]) -> bool:
    return state.keys() == other.keys() and all(
        tensor.shape == other[name].shape and torch.equal(tensor, other[name])
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _brief(data: DataSpec) -> str:
    """Write a DataSpec without the fields that hold their defaults."""
    plain = DataSpec(task=data.task, input=data.input)
    fields = {
        name: value
        for name, value in vars(data).items()
        if value != getattr(plain, name) or name in {"task", "input"}
    }
    inside = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    return f"DataSpec({inside})."
