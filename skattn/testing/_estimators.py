"""What is asked of estimators whose X is no table, whatever else it is."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skattn.testing._failure import Failure

METHODS = ("predict", "predict_proba", "decision_function")


class Trial(Protocol):
    """An estimator around an architecture, with a little data for it."""

    @property
    def X(self) -> Any:
        """Samples."""

    @property
    def y(self) -> Any:
        """Their targets."""

    def make(self, **params: Any) -> Any:
        """Make an estimator that trains for a moment."""

    def fit(self, estimator: Any = None, **params: Any) -> Any:
        """Fit it, or one that is made, to all or some of the samples."""


def must(holds: bool, message: str) -> None:
    """Fail where something does not hold.

    Parameters
    ----------
    holds : bool
        What should be true.
    message : str
        What is wrong otherwise.
    """
    if not holds:
        raise Failure(message)


def predicted(estimator: Any, X: Any, **params: Any) -> dict[str, np.ndarray]:
    """Collect what an estimator predicts.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : object
        Samples.
    **params : object
        More arguments of its methods.

    Returns
    -------
    outputs : dict of str to ndarray
        By the name of the method; what has another length for each sample is an array
        of objects.
    """
    found = {
        name: getattr(estimator, name)(X, **params)
        for name in METHODS
        if hasattr(estimator, name)
    }
    return {name: _as_array(values) for name, values in found.items()}


def _as_array(values: Any) -> np.ndarray:
    if isinstance(values, list):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    return np.asarray(values)


def must_agree(
    found: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    message: str,
    tolerance: float = 0.0,
) -> None:
    """Compare what is predicted with what should be.

    Parameters
    ----------
    found, expected : dict of str to ndarray
        From `predicted`.
    message : str
        What is wrong where they differ.
    tolerance : float, default=0.0
        Of numbers, relative and absolute.
    """
    for name, values in expected.items():
        must(_agree(found[name], values, tolerance), f"{name}: {message}")


def _agree(found: Any, expected: Any, tolerance: float) -> bool:
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return False
    if expected.dtype == object:
        return all(
            _agree(*pair, tolerance)
            if isinstance(pair[1], (list, np.ndarray))
            else pair[0] == pair[1]
            for pair in zip(found.flat, expected.flat, strict=True)
        )
    if expected.dtype.kind != "f":
        return np.array_equal(found, expected)
    return np.allclose(found, expected, rtol=tolerance, atol=tolerance)


def must_refuse(call: Callable[[], Any], *words: str, what: str) -> None:
    """Expect an error that has one of some words in it.

    Parameters
    ----------
    call : callable
        What should raise it.
    *words : str
        One of which is in its message.
    what : str
        For what there should be an error.
    """
    try:
        call()
    except (ValueError, TypeError) as error:
        if not any(word in str(error) for word in words):
            raise Failure(
                f"The error for {what} should speak of {' or '.join(words)}; it is "
                f"{error}"
            ) from error
        return
    raise Failure(f"There is no error for {what}. Refuse it with a ValueError.")


def weights_of(estimator: Any) -> dict[str, torch.Tensor]:
    """Look up the weights of a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        Around an architecture.

    Returns
    -------
    weights : dict of str to Tensor
        Parameters and buffers of its module.
    """
    return dict(estimator.net_.module_.state_dict())


def check_parameters_are_left_alone(trial: Trial) -> None:
    """Fit and predict, and compare parameters, attributes and weights."""
    estimator = trial.make()
    before = estimator.get_params()
    public = set(vars(estimator))
    must(estimator.fit(trial.X, trial.y) is estimator, "fit must return self.")
    after = estimator.get_params()
    changed = [name for name, value in before.items() if after[name] is not value]
    must(not changed, f"fit replaces the parameters {changed}: it may only read them.")
    added = {name for name in set(vars(estimator)) - public if name.strip("_") == name}
    must(not added, f"fit adds {sorted(added)}: name what is fitted with a last '_'.")
    state = dict(vars(estimator))
    weights = {name: tensor.clone() for name, tensor in weights_of(estimator).items()}
    predicted(estimator, trial.X)
    now = vars(estimator)
    same = state.keys() == now.keys() and all(now[name] is state[name] for name in now)
    must(same, "A prediction changes attributes of the estimator.")
    for name, tensor in weights_of(estimator).items():
        must(
            torch.equal(tensor, weights[name]),
            f"A prediction changes {name!r} of the module. In evaluation mode, a "
            "module may not write to its parameters and buffers.",
        )


def check_fit_check_is_fitted(trial: Trial) -> None:
    """Predict before a fit, with every method that there is."""
    for method in METHODS:
        if hasattr(trial.make(), method):
            try:
                getattr(trial.make(), method)(trial.X)
            except NotFittedError:
                continue
            raise Failure(f"{method} must raise NotFittedError before fit.")


def check_pickle(trial: Trial) -> None:
    """Pickle a fitted estimator, and map its arrays read-only."""
    estimator = trial.fit()
    expected = predicted(estimator, trial.X)
    message = "predictions differ after pickling."
    must_agree(
        predicted(pickle.loads(pickle.dumps(estimator)), trial.X), expected, message
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "estimator")
        joblib.dump(estimator, path)
        mapped = joblib.load(path, mmap_mode="r")
        found = predicted(mapped, trial.X)
        mapped.fit(trial.X, trial.y)
        del mapped
    must_agree(found, expected, message)


def check_fit_idempotent(trial: Trial) -> None:
    """Fit twice, under different global random states, and a clone."""
    estimator = trial.fit()
    expected = predicted(estimator, trial.X)
    torch.manual_seed(7)
    message = (
        "predictions differ after the same fit with the same random_state. Draw from "
        "torch's generator alone, in build and in training."
    )
    must_agree(predicted(trial.fit(estimator=estimator), trial.X), expected, message)
    copied = trial.fit(estimator=clone(estimator))
    must_agree(predicted(copied, trial.X), expected, message)
