"""How checks are listed, run, and handed to pytest."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from _faulty import AgainstTheDirection, BreaksContract, Sound, SoundGraph

from skattn.testing import (
    CheckResult,
    _ecosystem,
    check_architecture,
    parametrize_with_checks,
    run_checks,
)
from skattn.testing._kit import Check

FORECASTER = "AttentionForecaster(max_epochs=2)"


def names(architecture, **options):
    return [name for name, _ in check_architecture(architecture, **options)]


def test_checks_that_do_not_concern_it_are_not_listed():
    class Plain(Sound):
        api_version = 1
        consumes = ()

    listed = names(Plain(), ecosystem=False)
    assert "series-regression/shapes" in listed
    assert "table-classification/batch" in listed
    for name in ("padding", "lengths", "unobserved", "left_out_tensors", "future"):
        assert not [entry for entry in listed if entry.endswith(name)]
    # Forecasting windows are of one length.
    assert "series-forecasting/padding" in names(Sound(), ecosystem=False)
    assert "series-forecasting/lengths" not in names(Sound(), ecosystem=False)


def test_names_are_unique():
    listed = names(Sound())
    assert len(set(listed)) == len(listed)


def test_a_broken_contract_is_the_only_result():
    results = list(run_checks(BreaksContract(), ecosystem=False))
    assert [(result.name, result.passed) for result in results] == [("contract", False)]
    assert results[0].message.startswith("sound: citation must be a str")


def test_the_ecosystem_is_listed_by_what_is_supported():
    facades = {
        name.partition("/")[0]
        for name, check in check_architecture(Sound())
        if check.ecosystem
    }
    assert facades == {
        "AttentionClassifier",
        "AttentionTimeSeriesRegressor(max_epochs=5)",
        FORECASTER,
    }


@pytest.mark.parametrize(
    ("architecture", "facades"),
    [(SoundGraph(), {"AttentionClassifier"}), (AgainstTheDirection(), set())],
    ids=["with layers", "without layers"],
)
def test_nodes_serve_tables_where_a_module_has_layers(architecture, facades):
    listed = list(check_architecture(architecture))
    served = {name.partition("/")[0] for name, c in listed if c.ecosystem}
    assert served == facades | {"NodeClassifier"}


def test_results_are_timed_and_come_one_by_one():
    results = run_checks("self_attention", ecosystem=False)
    first = next(results)
    assert isinstance(first, CheckResult)
    assert (first.name, first.passed, first.message) == ("contract", True, "")
    assert first.seconds >= 0


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(ValueError, match="Did you mean 'self_attention'"):
        next(run_checks("self_atention"))


def test_one_instance_is_no_list():
    with pytest.raises(TypeError, match=r"takes a list: \[Sound\(\)\]"):
        parametrize_with_checks(Sound())


@parametrize_with_checks([Sound(d_model=8)], ecosystem=False)
def test_as_a_decorator(architecture, check, request):
    assert request.node.callspec.id == f"Sound(d_model=8)-{check.name}"
    if check.name == "table-classification/batch":
        check(architecture)


def test_a_check_leaves_random_states_and_the_architecture_alone():
    architecture = Sound()
    before = random.getstate(), np.random.get_state()[1].sum(), torch.get_rng_state()  # noqa: NPY002
    for name, check in check_architecture(architecture, ecosystem=False):
        if not name.endswith("overfits"):
            check(architecture)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].sum() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    assert vars(architecture) == {"d_model": 16, "dropout": 0.0}


def test_an_error_names_the_check():
    def fails(architecture):
        raise KeyError("lost")

    with pytest.raises(AssertionError, match="sound, here: The check 'a' raised KeyEr"):
        Check("a", "here", fails)(Sound())


def test_importing_the_kit_needs_no_pytest():
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from skattn.testing import run_checks\n"
        "results = list(run_checks('self_attention', ecosystem=False))\n"
        "assert all(result.passed for result in results), results\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_skip_of_scikit_learn_is_a_failure():
    from unittest import SkipTest

    def skips(estimator):
        raise SkipTest("something is not set")

    function = _ecosystem._check_sklearn
    check = Check("b", "F", lambda a: function(a, estimator=None, check=skips))
    with pytest.raises(AssertionError, match=r"Not run: .* \(something is not set\)"):
        check(Sound())


def test_scikit_learn_leaves_no_check_out(monkeypatch):
    monkeypatch.delenv("SCIPY_ARRAY_API", raising=False)
    listed = dict(check_architecture(Sound()))
    array_api = [name for name in listed if "array_api" in name]
    assert array_api == ["AttentionClassifier/check_array_api_input-numpy-False"]


@pytest.fixture
def suite(monkeypatch):
    """Replace sktime's suite by given results."""
    from sktime.utils import estimator_checks

    results = {}
    monkeypatch.setattr(
        estimator_checks, "check_estimator", lambda estimator, **options: results
    )
    return results


def results_of_forecaster(monkeypatch):
    only = {("series", "forecasting"): "AttentionForecaster"}
    monkeypatch.setattr(_ecosystem, "_SKTIME", only)
    monkeypatch.setattr(_ecosystem, "_SKLEARN", {})
    return [
        result for result in run_checks(Sound()) if result.name.startswith("Attention")
    ]


def test_each_failed_check_of_sktime_is_a_result(suite, monkeypatch):
    suite.update(
        {
            "test_a[0]": "PASSED",
            "test_b[0]": ValueError("wrong"),
            "test_c[1]": pytest.skip.Exception("no time"),
        }
    )
    assert [
        (result.name, result.passed, result.message)
        for result in results_of_forecaster(monkeypatch)
    ] == [
        (
            f"{FORECASTER}/check_estimator/test_b[0]",
            False,
            f"sound, {FORECASTER}: ValueError: wrong",
        ),
        (
            f"{FORECASTER}/check_estimator/test_c[1]",
            False,
            f"sound, {FORECASTER}: not run: no time",
        ),
    ]


def test_sktime_sees_estimators_that_train_as_briefly_as_the_title_says(monkeypatch):
    from sktime.utils import estimator_checks

    seen = []

    def suite(estimator, **options):
        seen.append((type(estimator).__name__, estimator.max_epochs))
        return {}

    monkeypatch.setattr(estimator_checks, "check_estimator", suite)
    listed = dict(check_architecture(Sound()))
    listed[f"{FORECASTER}/check_estimator"](Sound())
    listed["AttentionTimeSeriesRegressor(max_epochs=5)/check_estimator"](Sound())
    assert seen == [("AttentionForecaster", 2), ("AttentionTimeSeriesRegressor", 5)]


def test_a_clean_suite_of_sktime_is_one_result(suite, monkeypatch):
    suite["test_a[0]"] = "PASSED"
    (result,) = results_of_forecaster(monkeypatch)
    assert (result.name, result.passed) == (f"{FORECASTER}/check_estimator", True)
