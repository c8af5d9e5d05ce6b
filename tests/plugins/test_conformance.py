"""Every built-in architecture against the kit, as anybody's is checked.

In the everyday run: the contract for all, and scikit-learn's and sktime's suites for
the default architecture, on nodes for that of graphs, of translations for that of
translators. The suites for all others are slow.
"""

import tomllib
from pathlib import Path

import pytest
from sktime.utils.estimator_checks import check_estimator

import skattn
from skattn import _registry
from skattn._base import (
    DEFAULT_ARCHITECTURE,
    DEFAULT_GRAPH_ARCHITECTURE,
    DEFAULT_TRANSLATION_ARCHITECTURE,
)
from skattn.testing import check_architecture, parametrize_with_checks, run_checks

BUILT_IN = sorted(
    origin.name for origin in _registry.installed() if origin.distribution == "skattn"
)

# Of these the everyday run has the suite of one estimator.
DEFAULTS = {
    "Node": DEFAULT_GRAPH_ARCHITECTURE,
    "AttentionTranslator": DEFAULT_TRANSLATION_ARCHITECTURE,
}

SKTIME = (
    "AttentionForecaster",
    "AttentionTimeSeriesClassifier",
    "AttentionTimeSeriesRegressor",
    "LinearForecaster",
)


def expected_warnings(test):
    """Let through what sktime warns of in its suite, and what it makes us warn of."""
    for message in (
        "Forecasters' predict_proba requires skpro",
        "Sorting by default when concatenating all DatetimeIndex",
        "X lacks the times",
    ):
        test = pytest.mark.filterwarnings(f"ignore:{message}")(test)
    return test


def suites():
    """List the checks of scikit-learn and sktime, as the command runs them."""
    for name in BUILT_IN:
        for title, check in check_architecture(name):
            if not check.ecosystem:
                continue
            # Of sktime's suites the everyday run has those below.
            is_sktime = title.endswith("/check_estimator")
            everyday = name == DEFAULT_ARCHITECTURE and not is_sktime
            everyday |= any(
                name == default and title.startswith(facade)
                for facade, default in DEFAULTS.items()
            )
            marks = () if everyday else (pytest.mark.slow,)
            yield pytest.param(name, check, id=f"{name}-{title}", marks=marks)


def test_everything_that_is_built_in_is_checked():
    root = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert sorted(root["project"]["entry-points"]["skattn.architectures"]) == BUILT_IN
    assert DEFAULT_ARCHITECTURE in BUILT_IN


@parametrize_with_checks(BUILT_IN, ecosystem=False)
def test_contract(architecture, check):
    check(architecture)


@expected_warnings
@pytest.mark.parametrize(("name", "check"), list(suites()))
def test_suites(name, check):
    check(skattn.get_architecture(name)())


@expected_warnings
@pytest.mark.parametrize("facade", SKTIME)
def test_sktime(facade):
    """The whole suite with the class's own test parameters, which train briefly."""
    cls = getattr(skattn, facade)
    results = check_estimator(cls, raise_exceptions=False, verbose=False)
    failed = {name: result for name, result in results.items() if result != "PASSED"}
    assert not failed
    assert len(results) > 50


@pytest.mark.slow
def test_the_command_finds_no_fault():
    results = list(run_checks(DEFAULT_ARCHITECTURE))
    assert [result for result in results if not result.passed] == []
