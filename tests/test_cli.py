"""The command line, in this process and as a program."""

import json
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
from _distributions import build_wheel, importable, install, plugin_wheel

from skattn import Architecture, _registry
from skattn.cli import main


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    wheels = tmp_path_factory.mktemp("wheels")
    return install(
        tmp_path_factory.mktemp("site"),
        plugin_wheel(wheels, "skattn-good", "good", "Good", version="1.2"),
        build_wheel(
            wheels,
            "skattn-broken",
            {"broken": "skattn_broken:Broken"},
            {"skattn_broken.py": "1 / 0"},
        ),
    )


@pytest.fixture(autouse=True)
def _plugins(site, monkeypatch):
    monkeypatch.setenv("SKATTN_PLUGINS", "skattn-good,skattn-broken")
    monkeypatch.setattr(_registry, "_registered", {})
    with importable(site):
        yield


@pytest.fixture
def calls(monkeypatch):
    """Replace the checks, and record how they were called."""
    calls = []
    verdicts = [("clones", True, ""), ("overfits", False, "loss 3.1\nafter 9 epochs")]

    def run_checks(architecture, *, ecosystem):
        calls.append((architecture, ecosystem))
        for name, passed, message in verdicts[: None if ecosystem else 1]:
            yield SimpleNamespace(
                name=name, passed=passed, message=message, seconds=0.25
            )

    fake = ModuleType("skattn.testing")
    fake.run_checks = run_checks
    monkeypatch.setitem(sys.modules, "skattn.testing", fake)
    return calls


def test_list_imports_no_plugin(capsys):
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "name    distribution   version",
        "broken  skattn-broken  1.0",
        "good    skattn-good    1.2",
    ]
    assert "skattn_good" not in sys.modules


def test_list_with_a_filter_passes_over_a_broken_plugin(capsys):
    assert main(["list", "--task", "regression"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "name  distribution  version  supports",
        "good  skattn-good   1.2      table: classification, regression",
    ]
    assert "'skattn-broken' 1.0 (skattn_broken:Broken)" in err
    assert len(err.splitlines()) == 1


def test_list_as_json(capsys):
    assert main(["list", "--input", "table", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "good",
            "distribution": "skattn-good",
            "version": "1.2",
            "supports": {"table": ["classification", "regression"]},
        }
    ]


def test_list_without_a_row(capsys, monkeypatch):
    assert main(["list", "--input", "image"]) == 0
    assert capsys.readouterr().out == "No architecture fits.\n"
    monkeypatch.setenv("SKATTN_PLUGINS", "")
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "No architecture is installed.\n"
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_show(capsys):
    assert main(["show", "skattn-good/good"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "name          good",
        "distribution  skattn-good",
        "version       1.2",
        "class         skattn_good:Good",
        "summary       An architecture that is thrown away.",
        "citation      Nobody in particular (2026)",
        "supports      table: classification, regression",
        "consumes      -",
        "parameters",
        "  d_model = 4  (search: Int(low=1, high=8, log=False))",
    ]


@pytest.mark.parametrize("is_causal", [True, False])
def test_show_tells_how_it_is_pretrained_on_texts(is_causal, capsys):
    @_registry.register
    class Next(Architecture):
        api_version = 1
        name = "next"
        supports = {"tokens": {"token_prediction"}}
        causal = is_causal
        citation = "Nobody in particular (2026)"

        def build(self, data):
            raise AssertionError("no test builds it")

    assert main(["show", "next"]) == 0
    assert f"causal        {is_causal}" in capsys.readouterr().out.splitlines()


def test_show_as_json(capsys):
    assert main(["show", "good", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["consumes"] == []
    assert shown["parameters"] == {
        "d_model": {
            "default": 4,
            "search": {"kind": "Int", "low": 1, "high": 8, "log": False},
        }
    }


def test_check_tells_each_result(calls, capsys):
    assert main(["check", "good"]) == 1
    assert calls == [("good", True)]
    assert capsys.readouterr().out.splitlines() == [
        "passed  clones  (0.25 s)",
        "FAILED  overfits  (0.25 s)",
        "        loss 3.1",
        "        after 9 epochs",
        "good: 1 passed, 1 failed",
    ]


def test_check_of_the_contract_only(calls, capsys):
    assert main(["check", "good", "--contract-only"]) == 0
    assert calls == [("good", False)]
    assert capsys.readouterr().out.endswith("good: 1 passed, 0 failed\n")


@pytest.mark.usefixtures("calls")
def test_check_as_json(capsys):
    assert main(["check", "good", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["architecture"], told["failed"]) == ("good", 1)
    assert told["checks"][0] == {
        "name": "clones",
        "passed": True,
        "message": "",
        "seconds": 0.25,
    }


@pytest.mark.parametrize("command", ["show", "check"])
@pytest.mark.parametrize(
    ("name", "message"),
    [("godo", "Did you mean 'good'?"), ("broken", "ZeroDivisionError")],
)
def test_a_wrong_name_or_a_broken_plugin(calls, capsys, command, name, message):
    assert main([command, name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert not calls


@pytest.mark.parametrize("arguments", [[], ["list", "--task", "guessing"], ["show"]])
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: skattn" in capsys.readouterr().err


def test_as_a_program(site):
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-m", "skattn", "show", "broken"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("skattn: The architecture 'broken'")
    assert "Traceback" not in done.stderr
