"""Public docstrings are complete, and their examples run."""

import doctest
import importlib
import inspect
import pkgutil
import warnings
from enum import Enum

import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate

import skattn
import skattn_forecast
import skattn_sequence

FAMILIES = (skattn_forecast, skattn_sequence)

MODULES = sorted(
    module.name
    for package in (skattn, *FAMILIES)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith("__main__")
)

# What every public docstring must have: a summary in one line, all parameters and
# returns, in the order of the signature, with types and descriptions.
CODES = {
    "GL01",
    "GL03",
    "GL05",
    "GL06",
    "GL07",
    "GL08",
    "SS02",
    "SS03",
    "SS04",
    "PR01",
    "PR02",
    "PR03",
    "PR04",
    "PR07",
    "RT03",
    "YD01",
}


def public_objects():
    for name in skattn.__all__:
        value = getattr(skattn, name)
        if inspect.ismodule(value):
            if value.__name__ == "skattn.architectures":
                continue
            for inner in value.__all__:
                yield f"{value.__name__}.{inner}"
        else:
            yield f"skattn.{name}"
    for module in MODULES:
        if module.startswith(tuple(f"{family.__name__}." for family in FAMILIES)):
            found = importlib.import_module(module)
            for name, value in vars(found).items():
                is_own = inspect.isclass(value) and value.__module__ == module
                if is_own and not name.startswith("_"):
                    yield f"{module}.{name}"


@pytest.mark.parametrize("name", sorted(set(public_objects())))
def test_docstring_is_complete(name):
    with warnings.catch_warnings():
        # numpydoc reads attributes that estimators set in fit only.
        warnings.simplefilter("ignore", UserWarning)
        faults = validate(name)["errors"]
    checked = CODES - {"PR01"} if is_enum(name) else CODES
    assert [fault for fault in faults if fault[0] in checked] == []


def is_enum(name):
    """Tell an enumeration, whose parameters are those of Python's own class."""
    module, _, attribute = name.rpartition(".")
    value = getattr(importlib.import_module(module), attribute, None)
    return inspect.isclass(value) and issubclass(value, Enum)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # sktime's own
        failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


ESTIMATORS = (
    skattn.AttentionClassifier,
    skattn.AttentionRegressor,
    skattn.AttentionTimeSeriesClassifier,
    skattn.AttentionTimeSeriesRegressor,
    skattn.AttentionForecaster,
    skattn.LinearForecaster,
)

# What differs on purpose: tables beside series, classes beside numbers, forecasts.
OWN = {
    "calibration",
    "early_stopping",
    "input_scaling",
    "linear_skip",
    "loss",
    "pretrained",
    "validation_fraction",
}


def test_estimators_say_the_same_of_the_parameters_they_share():
    described = {}
    for estimator in ESTIMATORS:
        for name, _, text in ClassDoc(estimator)["Parameters"]:
            described.setdefault(name, set()).add(" ".join(text))
    assert {name for name, texts in described.items() if len(texts) > 1} == OWN
