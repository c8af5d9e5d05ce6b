"""The contract of a plugin, checked on its class without building anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import skattn
from skattn._architecture import (
    API_VERSION,
    INPUTS,
    OPTIONAL_TENSORS,
    TASKS,
    Architecture,
)
from skattn._search import Choice, Float, Int

# Tasks that only one input has.
_ONLY_INPUT = {
    "forecasting": "series",
    "tagging": "tokens",
    "translation": "tokens",
    "token_prediction": "tokens",
}

_WHOLE_TEXTS = frozenset({"classification", "regression", "tagging"})

# Tensors of texts that come only with some tasks.
ONLY_TASKS: Mapping[str, frozenset[str]] = {
    "characters": _WHOLE_TEXTS,
    "segments": _WHOLE_TEXTS,
    "target_tokens": frozenset({"translation"}),
    "target_mask": frozenset({"translation"}),
}


def faults_of(cls: Any, name: str | None) -> list[str]:
    """Return everything that keeps a class from being a valid architecture.

    Parameters
    ----------
    cls : type
        The class.
    name : str or None
        The name that it has to have, if there is one.

    Returns
    -------
    faults : list of str
        Empty if the class keeps the contract.
    """
    if not (isinstance(cls, type) and issubclass(cls, Architecture)):
        return [f"{described(cls)} is not a subclass of skattn.Architecture"]
    return [
        *_api_faults(cls),
        *_name_faults(cls, name),
        *_supports_faults(cls),
        *_consumes_faults(cls),
        *_covariates_faults(cls),
        *_texts_faults(cls),
        *_citation_faults(cls),
        *_constructor_faults(cls),
        *_search_space_faults(cls),
        *_build_faults(cls),
    ]


def described(cls: Any) -> str:
    """Return how an error names what was given as a class.

    Parameters
    ----------
    cls : type
        Or anything else, by mistake.
    """
    return cls.__qualname__ if isinstance(cls, type) else repr(cls)


def _is_collection(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, (str, bytes))


def _api_faults(cls: type[Architecture]) -> list[str]:
    # Not inherited: a parent in another distribution may move to another version.
    if "api_version" not in vars(cls):
        return [f"api_version is missing: write api_version = {API_VERSION}"]
    declared = vars(cls)["api_version"]
    if type(declared) is int and declared == API_VERSION:
        return []
    return [
        f"api_version is {declared!r}, but skattn {skattn.__version__} "
        f"serves version {API_VERSION} only"
    ]


def _name_faults(cls: type[Architecture], expected: str | None) -> list[str]:
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name or "/" in name:
        return [f"name must be a str that is not empty and has no '/', not {name!r}"]
    if expected is not None and name != expected:
        return [f"name is {name!r}, but its entry point is named {expected!r}"]
    return []


def _supports_faults(cls: type[Architecture]) -> list[str]:
    supports = getattr(cls, "supports", None)
    if not isinstance(supports, Mapping) or not supports:
        return [
            "supports must map at least one input to its tasks, such as "
            f'{{"table": {{"classification"}}}}, not {supports!r}'
        ]
    faults = []
    for kind, tasks in supports.items():
        if kind not in INPUTS:
            faults.append(
                f"supports has the unknown input {kind!r}; there are: "
                f"{', '.join(INPUTS)}"
            )
        if not _is_collection(tasks) or not tasks:
            faults.append(
                f"supports[{kind!r}] must be a collection of at least one task, such "
                f'as {{"classification"}}, not {tasks!r}'
            )
            continue
        faults += [
            f"supports[{kind!r}] has the unknown task {task!r}; there are: "
            f"{', '.join(TASKS)}"
            for task in tasks
            if task not in TASKS
        ]
        faults += [
            f"supports[{kind!r}] has {task!r}, which comes only with the input "
            f"{_ONLY_INPUT[task]!r}"
            for task in tasks
            if task in TASKS and kind in INPUTS and _ONLY_INPUT.get(task, kind) != kind
        ]
    return faults


def _consumes_faults(cls: type[Architecture]) -> list[str]:
    consumes = cls.consumes
    if not _is_collection(consumes):
        return [
            'consumes must be a collection of tensor names, such as ("mask",), not '
            f"{consumes!r}"
        ]
    supports = getattr(cls, "supports", None)
    # Without inputs there is one fault already: that of `supports`.
    inputs = set(supports if isinstance(supports, Mapping) else ()) or set(INPUTS)
    faults = []
    for tensor in consumes:
        if tensor not in tuple(OPTIONAL_TENSORS):
            faults.append(
                f"consumes has the unknown tensor {tensor!r}; there are: "
                f"{', '.join(OPTIONAL_TENSORS)}"
            )
        elif not OPTIONAL_TENSORS[tensor] & inputs:
            faults.append(
                f"consumes has {tensor!r}, which comes only with the input "
                f"{' or '.join(sorted(OPTIONAL_TENSORS[tensor]))}, and supports has "
                "no such input"
            )
    return faults


def _covariates_faults(cls: type[Architecture]) -> list[str]:
    if isinstance(cls.past_covariates, bool):
        return []
    return [f"past_covariates must be True or False, not {cls.past_covariates!r}"]


def _texts_faults(cls: type[Architecture]) -> list[str]:
    """Compare what is said of tasks on texts with each other."""
    supports = getattr(cls, "supports", None)
    if not (isinstance(supports, Mapping) and _is_collection(cls.consumes)):
        return []  # a fault already
    tasks = supports.get("tokens", ())
    tasks = tasks if _is_collection(tasks) else ()
    consumes = set(map(str, cls.consumes))
    faults = []
    if not isinstance(cls.causal, bool):
        faults.append(f"causal must be True or False, not {cls.causal!r}")
    elif cls.causal and "token_prediction" not in tasks:
        faults.append(
            "causal is True, which says something of the task 'token_prediction' "
            'only, and supports["tokens"] has no such task'
        )
    if "translation" in tasks and "target_tokens" not in consumes:
        faults.append(
            'supports["tokens"] has "translation", but consumes lacks '
            '"target_tokens": the tokens before the one to be predicted'
        )
    if "tokens" in supports:
        faults += [
            f"consumes has {tensor!r}, which comes only with the task "
            f'{" or ".join(sorted(ONLY_TASKS[tensor]))}, and supports["tokens"] has '
            "no such task"
            for tensor in sorted(consumes & ONLY_TASKS.keys())
            if not any(task in tasks for task in ONLY_TASKS[tensor])
        ]
    masks = consumes & {"mask", "other_mask"}
    if "pair" in supports and len(masks) == 1:
        (lacking,) = {"mask", "other_mask"} - masks
        faults.append(
            f'supports has "pair", but consumes lacks "{lacking}": each of the two '
            "texts has a mask of its own"
        )
    return faults


def _citation_faults(cls: type[Architecture]) -> list[str]:
    citation = getattr(cls, "citation", None)
    if isinstance(citation, str) and citation.strip():
        return []
    return [f"citation must be a str that is not empty, not {citation!r}"]


def _hyper_parameters(cls: type[Architecture]) -> list[inspect.Parameter]:
    constructor: Callable[..., None] = cls.__init__
    if constructor is object.__init__:
        return []
    return list(inspect.signature(constructor).parameters.values())[1:]


def _constructor_faults(cls: type[Architecture]) -> list[str]:
    faults = []
    for parameter in _hyper_parameters(cls):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            faults.append(
                f"the constructor takes {parameter}: name every hyper-parameter"
            )
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            faults.append(
                f"the constructor takes {parameter.name!r} by position only: it must "
                "be possible to give it by name"
            )
        elif parameter.default is parameter.empty:
            faults.append(
                f"the constructor's parameter {parameter.name!r} has no default"
            )
    return faults


def _search_space_faults(cls: type[Architecture]) -> list[str]:
    space = cls.search_space
    if not isinstance(space, Mapping):
        return [
            "search_space must map hyper-parameters to ranges, such as "
            f'{{"num_heads": Int(1, 8)}}, not {space!r}'
        ]
    parameters = [parameter.name for parameter in _hyper_parameters(cls)]
    faults = []
    for key, values in space.items():
        if key not in parameters:
            faults.append(
                f"search_space has {key!r}, which is no parameter of the constructor; "
                f"there are: {', '.join(parameters) or 'none'}"
            )
        if not isinstance(values, (Int, Float, Choice)):
            faults.append(
                f"search_space[{key!r}] must be an Int, a Float or a Choice, not "
                f"{values!r}"
            )
    return faults


def _build_faults(cls: type[Architecture]) -> list[str]:
    return [
        f"{method} is abstract: define it"
        for method in sorted(getattr(cls, "__abstractmethods__", ()))
    ]
