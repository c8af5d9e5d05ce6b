"""What all facades share: the default architecture, parameters and their checks."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

from skattn._architecture import Architecture, served_tasks, serves
from skattn._registry import resolve

DEFAULT_ARCHITECTURE = "self_attention"
DEFAULT_GRAPH_ARCHITECTURE = "gat"
DEFAULT_TRANSLATION_ARCHITECTURE = "transformer"

_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")

# Every parameter that more than one facade has, with the values that it accepts.
COMMON_CONSTRAINTS: dict[str, list[Any]] = {
    "architecture": [object],  # `resolve` says what it takes
    "max_epochs": [_COUNT],
    "lr": [_POSITIVE],
    "batch_size": [_COUNT, StrOptions({"auto"})],
    "optimizer": [str, type],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "lr_schedule": [StrOptions({"cosine", "one_cycle"}), None],
    "gradient_clip": [_POSITIVE, None],
    "early_stopping": ["boolean", StrOptions({"auto"})],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "patience": [_COUNT],
    "linear_skip": ["boolean", StrOptions({"auto"})],
    "input_scaling": [StrOptions({"standard", "quantile", "auto"}), None],
    "device": [str],
    "precision": [StrOptions({"float32", "float64", "bfloat16"})],
    "compile": ["boolean"],
    "num_threads": [_COUNT, None],
    "callbacks": [list, None],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "net_params": [dict, None],
    "class_weight": [dict, list, StrOptions({"balanced"}), None],
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "loss": [
        StrOptions({"squared_error", "absolute_error", "quantile", "poisson", "huber"})
    ],
    "quantile": [Interval(Real, 0, 1, closed="neither"), None],
    "n_neighbors": [_COUNT],
    "token_encoder": [object],  # `resolve_token_encoder` says what it takes
    "pretrained": [object],  # `TextPretraining` says what it takes
    "graph": [object],  # `NodeEncoder` says what it takes
    "mode": [StrOptions({"transductive", "inductive"})],
    "num_neighbors": [_COUNT, StrOptions({"auto"}), None],
}

# What "auto" means depends on the number of samples. From the first number, a part can
# be spared for early stopping, and ranks of a column are known well. Below the second,
# a linear model of a table, which few samples determine, comes first, and attention
# has to do better on a held-out part.
MANY_SAMPLES = 1000
FEW_SAMPLES = 2000
# Characters of all training texts times outputs, below which a linear model of their
# n-grams is fitted too: for the .7 million of SST-2 and two classes it takes 4 seconds.
LITTLE_TEXT = 20_000_000


class ArchitectureParams:
    """Let ``architecture__x`` be set whether the architecture is a name or an object.

    In the same way ``token_encoder__x`` can be set where that is None, and so stands
    for the default one. The object is replaced by a changed clone: one that the user
    passed, or that candidates of a search share, is never modified.
    """

    architecture: str | Architecture
    # Of the token encoder that None stands for.
    _encoder_defaults: ClassVar[dict[str, Any]] = {}

    def set_params(self, **params: Any) -> Any:
        """Set parameters of this estimator, its architecture and its token encoder.

        Parameters
        ----------
        **params : dict
            ``architecture__x`` sets the hyper-parameter ``x`` of a copy of the
            architecture, which is looked up first where it is a name; with
            ``token_encoder__x`` it is the same.

        Returns
        -------
        self : estimator
            The same object.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        for name in ("architecture", "token_encoder", "target_encoder"):
            prefix = f"{name}__"
            nested = {
                key.removeprefix(prefix): value
                for key, value in params.items()
                if key.startswith(prefix)
            }
            if nested and hasattr(self, name):
                params = {
                    key: value
                    for key, value in params.items()
                    if not key.startswith(prefix)
                }
                given = params.get(name, getattr(self, name))
                template = (
                    resolve(given)
                    if name == "architecture"
                    else self._encoder_of(given)
                )
                params[name] = _changed(template, nested)
        return super().set_params(**params)  # type: ignore[misc]

    def _encoder_of(self, token_encoder: Any) -> Any:
        """Give an encoder of texts, the default one for None."""
        from skattn._inputs._texts import resolve_token_encoder

        return resolve_token_encoder(token_encoder, **self._encoder_defaults)


def _changed(template: Any, params: dict[str, Any]) -> Any:
    """Copy an object with other parameters, unless it has these very ones."""
    present = template.get_params()
    changed = {
        name: value
        for name, value in params.items()
        if name not in present or present[name] is not value
    }
    # Setting what `get_params` gave must leave the very same object.
    return clone(template).set_params(**changed) if changed else template


def check_parameters(estimator: Any, **constraints: list[Any]) -> None:
    """Validate an estimator's parameters; done in ``fit``, never earlier.

    Parameters
    ----------
    estimator : object
        With `get_params`.
    **constraints : list
        For the parameters that only this facade has.

    Raises
    ------
    InvalidParameterError
        A `ValueError` that names the parameter, the value and what is accepted.
    """
    params = estimator.get_params(deep=False)
    known = {**COMMON_CONSTRAINTS, **constraints}
    validate_parameter_constraints(
        {name: known[name] for name in params},
        params,
        caller_name=type(estimator).__name__,
    )


def fitted_architecture(architecture: Any, task: str, input: str) -> Architecture:
    """Resolve an architecture and make sure that it serves a task.

    Parameters
    ----------
    architecture : str or Architecture
        The estimator's parameter.
    task, input : str
        See `Architecture.supports`.

    Returns
    -------
    architecture : Architecture
        A clone.

    Raises
    ------
    ValueError
        If the architecture does not serve this task on this input.
    """
    found = clone(resolve(architecture))
    if not serves(found, task, input):
        served = "; ".join(
            f"{kind}: {', '.join(tasks)}" for kind, tasks in served_tasks(found).items()
        )
        raise ValueError(
            f"The architecture {found.name!r} does not support {task} of {input} "
            f"input. It supports {served}. skattn.list_architectures(task={task!r}, "
            f"input={input!r}) lists those that do.{_hint(found, task, input)}"
        )
    return found


def _hint(architecture: Architecture, task: str, input: str) -> str:
    """Say how to pass what the user may have meant."""
    if input in ("table", "series") and serves(architecture, task, "tokens"):
        return (
            " Texts are a list, an array or a Series of strings, as frame['text']; "
            "dialogues are lists of lists of strings."
        )
    if input != "pair" and serves(architecture, task, "pair"):
        return " Pairs of texts are a list of tuples: (first, second)."
    return ""


def draw_seed(random_state: Any) -> int:
    """Draw the one seed of a fit.

    Parameters
    ----------
    random_state : int, RandomState or None
        The estimator's parameter.

    Returns
    -------
    seed : int
        Below 2**31.
    """
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def stops_early(early_stopping: bool | str, n_samples: int) -> bool:
    """Tell whether part of the samples is held out for early stopping.

    Parameters
    ----------
    early_stopping : bool or "auto"
        The estimator's parameter.
    n_samples : int
        Training samples, repetitions included.

    Returns
    -------
    stops : bool
        ``"auto"`` is on from 1,000 samples.
    """
    if early_stopping == "auto":
        return n_samples >= MANY_SAMPLES
    return bool(early_stopping)
