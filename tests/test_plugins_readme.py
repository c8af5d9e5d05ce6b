"""The page for plugin authors: what it says to copy is installed, checked and used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "plugins" / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Install the page's plugin as pip does, but without a network."""
    folder = tmp_path_factory.mktemp("mine")
    (pyproject,) = blocks("toml")
    module, _, nodes, _ = blocks("python")
    (folder / "pyproject.toml").write_text(pyproject)
    (folder / "skattn_mine.py").write_text(module)
    target = tmp_path_factory.mktemp("site")
    (target / "skattn_mine_nodes.py").write_text(nodes)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*command, "--target", target, folder], check=True)
    return target


def run(site, *arguments, **options):
    # skorch imports torch-geometric where it is installed, which still calls that.
    warnings = "error,ignore:`torch.jit.script` is deprecated:DeprecationWarning"
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONWARNINGS": warnings}
    environment.pop("SKATTN_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_keeps_the_contract(site):
    told = run(site, "-m", "skattn", "check", "mine", "--contract-only")
    assert re.search(r"^mine: \d{2,} passed, 0 failed$", told, re.M)
    assert "mine" in run(site, "-m", "skattn", "list")


@pytest.mark.slow
def test_the_plugin_passes_the_suites(site):
    told = run(site, "-m", "skattn", "check", "mine")
    assert re.search(r"^mine: \d{3} passed, 0 failed$", told, re.M)


def test_the_plugin_is_used_as_the_page_says(site):
    usage = blocks("python")[1]
    told = run(site, "-c", usage)
    assert "'sepal length (cm)'" in told
    assert float(told.split()[2]) > 0.9


def test_the_test_module_of_the_page(site, tmp_path):
    (tmp_path / "test_mine.py").write_text(blocks("python")[3])
    told = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert " passed" in told


def test_the_architecture_for_nodes_keeps_the_contract_and_serves_tables(site):
    code = """
from sklearn.datasets import load_iris
from skattn import AttentionClassifier
from skattn.testing import run_checks
from skattn_mine_nodes import MineNodes

results = list(run_checks(MineNodes(), ecosystem=False))
print([result for result in results if not result.passed])
print({result.name for result in results} >= {"nodes-regression/layers"})
X, y = load_iris(return_X_y=True)
clf = AttentionClassifier(MineNodes(), max_epochs=30, random_state=0)
print(clf.fit(X, y).score(X, y))
"""
    failed, has_layers, score = run(site, "-c", code).splitlines()
    assert failed == "[]"
    assert has_layers == "True"
    assert float(score) > 0.9


def test_the_page_names_every_tensor_and_block():
    from skattn import nn
    from skattn._architecture import INPUTS, OPTIONAL_TENSORS, TASKS

    text = PAGE.read_text()
    for name in {*INPUTS, *OPTIONAL_TENSORS}:
        assert name in text
    for name in TASKS:
        assert name in text
    assert len(blocks("python")[0].splitlines()) < 100
    named = set(re.findall(r"`(\w+)`", text.partition("## 5.")[2].partition("## 6")[0]))
    assert {name for name in named if name[0].isupper()} <= set(nn.__all__)
