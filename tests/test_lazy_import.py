"""Importing skattn is cheap, and the core knows no architecture by name."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skattn
from skattn import _registry

CORE = Path(skattn.__file__).parent
DEFAULT = (
    "_base.py",
    {
        "DEFAULT_ARCHITECTURE",
        "DEFAULT_GRAPH_ARCHITECTURE",
        "DEFAULT_TRANSLATION_ARCHITECTURE",
    },
)


def modules_after(program, **environment):
    """Return the modules that a new process has loaded after a program."""
    program += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def built_in():
    return [origin for origin in _registry.installed() if origin.package != "skattn"]


def test_importing_skattn_loads_nothing():
    loaded = modules_after("import skattn; dir(skattn); skattn.__all__")
    assert {name for name in loaded if name.startswith("skattn")} == {"skattn"}
    assert not {"torch", "sktime", "sklearn", "skorch", "numpy", "pandas"} & loaded


def test_listing_names_loads_no_plugin():
    program = (
        "import skattn; assert skattn.list_architectures()\n"
        "import skattn.architectures; dir(skattn.architectures)"
    )
    loaded = modules_after(program)
    assert not {"torch", "sktime", "skorch"} & loaded
    assert not {origin.package for origin in built_in()} & loaded


def test_no_plugin_allowed_no_architecture():
    program = "import skattn; assert skattn.list_architectures() == []"
    modules_after(program, SKATTN_PLUGINS="")


def test_the_data_sets_need_no_torch():
    loaded = modules_after("import skattn.datasets; skattn.datasets.load_penguins()")
    assert "torch" not in loaded


@pytest.mark.parametrize(
    "name",
    [
        "Architecture",
        "Choice",
        "DataSpec",
        "Float",
        "Int",
        "architectures",
        "datasets",
        "exceptions",
        "get_architecture",
        "list_architectures",
        "register",
        "search_space",
    ],
)
def test_public_names(name):
    assert name in skattn.__all__
    assert name in dir(skattn)
    assert getattr(skattn, name).__name__.endswith(name)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Architektur'"):
        _ = skattn.Architektur


def test_version():
    assert skattn.__version__ == _registry.installed_version("skattn")


def test_type_checkers_see_the_same_names():
    tree = ast.parse((CORE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {}
    for statement in block.body:
        if isinstance(statement, ast.ImportFrom):
            home = statement.module.removeprefix("skattn").removeprefix(".") or None
            seen |= {alias.asname: home for alias in statement.names}
    assert seen == skattn._PUBLIC


def named_in(path):
    """Return the identifiers and strings of a file, except for docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)
        if isinstance(node, ast.Assign) and path.name == DEFAULT[0]:
            (target, *_) = node.targets
            if isinstance(target, ast.Name) and target.id in DEFAULT[1]:
                skipped.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node not in skipped:
                yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield getattr(node, "module", None) or ""
            yield from (alias.name for alias in node.names)


def test_the_core_names_no_family_and_no_architecture():
    origins = [o for o in _registry.installed() if o.distribution == "skattn"]
    assert len(origins) >= 3
    exact = {o.name for o in origins} | {o.qualified_name for o in origins}
    anywhere = {o.class_name for o in origins} | {o.package for o in origins}
    found = [
        (path.name, text)
        for path in CORE.rglob("*.py")
        for text in named_in(path)
        if text in exact or any(re.search(rf"\b{n}\b", text) for n in anywhere)
    ]
    assert found == []
