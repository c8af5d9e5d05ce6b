"""The suites of scikit-learn and sktime, on estimators around an architecture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from unittest import SkipTest

from sklearn.base import clone

import skattn
from skattn._architecture import Architecture, serves
from skattn.testing._build import build
from skattn.testing._cases import cases_of
from skattn.testing._failure import Failure

_SKLEARN = {
    ("table", "classification"): "AttentionClassifier",
    ("table", "regression"): "AttentionRegressor",
}

_SKTIME = {
    ("series", "classification"): "AttentionTimeSeriesClassifier",
    ("series", "regression"): "AttentionTimeSeriesRegressor",
    ("series", "forecasting"): "AttentionForecaster",
}

# sktime's suites fit hundreds of times, and ask how an estimator behaves, not what it
# learns: epochs are as few as in the estimators' own test parameters.
_EPOCHS = {
    "AttentionTimeSeriesClassifier": 5,
    "AttentionTimeSeriesRegressor": 5,
    "AttentionForecaster": 2,
}

# Without it scikit-learn leaves a check out.
_ARRAY_API = "SCIPY_ARRAY_API"


def checks_of(
    architecture: Architecture,
) -> Iterator[tuple[str, Callable[[Architecture], None]]]:
    """List scikit-learn's checks one by one, and sktime's suites.

    A title says where an estimator has other parameters than its defaults.

    Parameters
    ----------
    architecture : Architecture
        What to put into the estimators.

    Yields
    ------
    name : str
        The estimator's class, and the check.
    function : callable
        Takes the architecture.
    """
    for facade in _served(architecture, _SKLEARN):
        yield from sklearn_checks(facade, getattr(skattn, facade)(clone(architecture)))
    for facade in _served(architecture, _SKTIME):
        title = f"{facade}(max_epochs={_EPOCHS[facade]})"
        yield f"{title}/check_estimator", partial(_check_sktime, facade=facade)


def _served(
    architecture: Architecture, facades: dict[tuple[str, str], str]
) -> Iterator[str]:
    for (kind, task), facade in facades.items():
        if task in architecture.supports.get(kind, ()) or (
            serves(architecture, task, kind) and _has_layers(architecture, task)
        ):
            yield facade


def _has_layers(architecture: Architecture, task: str) -> bool:
    """Tell whether a module for nodes runs on parts of a graph, and so on tables."""
    for case in cases_of(architecture):
        if (case.input, case.task) == ("nodes", task):
            with suppress(Exception):  # what build does wrong, other checks tell
                return hasattr(build(architecture, case.typical), "layers")
    return False


def sklearn_checks(
    facade: str, estimator: Any
) -> Iterator[tuple[str, Callable[[Architecture], None]]]:
    """List scikit-learn's checks of one estimator.

    Parameters
    ----------
    facade : str
        Name of its class.
    estimator : estimator
        Of scikit-learn's kind.

    Yields
    ------
    name : str
        The class, and the check.
    function : callable
        Takes an architecture, which is already in the estimator.
    """
    from sklearn.utils.estimator_checks import estimator_checks_generator

    for instance, check in estimator_checks_generator(estimator):
        wrapped: Any = check
        while hasattr(wrapped, "__wrapped__"):
            wrapped = wrapped.__wrapped__
        name = getattr(wrapped, "func", wrapped).__name__
        options = "-".join(map(str, getattr(wrapped, "keywords", {}).values()))
        title = f"{facade}/{name}" + (f"-{options}" if options else "")
        yield title, partial(_check_sklearn, estimator=instance, check=check)


def _check_sklearn(
    architecture: Architecture, estimator: Any, check: Callable[[Any], None]
) -> None:
    """Run one check of scikit-learn; a skip is a failure."""
    with _environment(_ARRAY_API, "1"):
        try:
            check(estimator)
        except SkipTest as skipped:
            raise Failure(f"Not run: scikit-learn skipped it ({skipped}).") from skipped


def _check_sktime(architecture: Architecture, facade: str) -> None:
    """Run sktime's whole suite, and collect what failed."""
    try:
        import pytest  # noqa: F401
    except ModuleNotFoundError as error:
        raise Failure(
            "Not run: sktime's checks need pytest. Install it: pip install pytest"
        ) from error
    from sktime.utils.estimator_checks import check_estimator

    cls = getattr(skattn, facade)
    estimator = cls(clone(architecture), max_epochs=_EPOCHS[facade])
    results = check_estimator(estimator, raise_exceptions=False, verbose=False)
    failed = {
        name: _explained(result)
        for name, result in results.items()
        if not (isinstance(result, str) and result == "PASSED")
    }
    if failed:
        raise Failure(
            f"{len(failed)} of {len(results)} checks of sktime failed:"
            + "".join(f"\n  - {name}: {text}" for name, text in failed.items()),
            failed,
        )


def _explained(result: Any) -> str:
    kind = type(result).__name__
    if kind in {"Skipped", "SkipTest"}:
        return f"not run: {result}"
    return f"{kind}: {result}" if isinstance(result, BaseException) else str(result)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
