"""Throw-away distributions: wheels that pip really installs, to test the registry."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from skattn import _registry

_SOURCE = '''
from skattn import Architecture, Choice, Float, Int


class {class_name}(Architecture):
    """An architecture that is thrown away.

    Nobody needs more.
    """

{fields}

    def __init__(self, {parameters}):
        self.d_model = d_model

    def build(self, data):
        from torch import nn

        return nn.Linear(data.n_features, data.n_outputs)
'''


def source(class_name: str, name: str, parameters: str = "d_model=4", **fields) -> str:
    """Write a module with one architecture; a field of None is left out.

    Parameters
    ----------
    class_name, name : str
        Of the class, and in the registry.
    parameters : str
        The constructor's, as code.
    **fields : object
        Class attributes, as code if they are str.
    """
    fields = {
        "api_version": 1,
        "name": repr(name),
        "supports": '{"table": {"classification", "regression"}}',
        "citation": '"Nobody in particular (2026)"',
        "search_space": '{"d_model": Int(1, 8)}',
        **fields,
    }
    lines = [f"    {key} = {code}" for key, code in fields.items() if code is not None]
    return _SOURCE.format(
        class_name=class_name, fields="\n".join(lines), parameters=parameters
    )


def build_wheel(
    folder: Path,
    name: str,
    entry_points: Mapping[str, str],
    modules: Mapping[str, str],
    version: str = "1.0",
    requires: Iterable[str] = (),
) -> Path:
    """Build a wheel by hand.

    Parameters
    ----------
    folder : Path
        Where to put it.
    name, version : str
        Of the distribution.
    entry_points : mapping of str to str
        Names and values of the group.
    modules : mapping of str to str
        Paths inside the wheel, and the code there.
    requires : iterable of str
        Requirements.
    """
    stem = f"{re.sub('[-_.]+', '_', name).lower()}-{version}"
    points = "\n".join(f"{key} = {value}" for key, value in entry_points.items())
    extras = {match[1] for line in requires if (match := re.search("'(.+)'", line))}
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Provides-Extra: {extra}" for extra in sorted(extras)),
        *(f"Requires-Dist: {line}" for line in requires),
    ]
    files = {
        **modules,
        f"{stem}.dist-info/METADATA": "\n".join(metadata) + "\n",
        f"{stem}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n"
        ),
        f"{stem}.dist-info/entry_points.txt": f"[{_registry.GROUP}]\n{points}\n",
    }
    record = f"{stem}.dist-info/RECORD"
    rows = [
        f"{path},sha256={_digest(text)},{len(text)}" for path, text in files.items()
    ]
    files[record] = "\n".join([*rows, f"{record},,", ""])
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def plugin_wheel(
    folder: Path, name: str, architecture: str, class_name: str, version: str = "1.0"
) -> Path:
    """Build a wheel with one faultless architecture, in a module named like it.

    Parameters
    ----------
    folder : Path
        Where to put it.
    name, version : str
        Of the distribution.
    architecture, class_name : str
        The architecture's name in the registry, and its class.
    """
    module = re.sub("[-_.]+", "_", name).lower()
    return build_wheel(
        folder,
        name,
        {architecture: f"{module}:{class_name}"},
        {f"{module}.py": source(class_name, architecture)},
        version,
    )


def install(target: Path, *wheels: Path) -> Path:
    """Install wheels into a folder with pip.

    Parameters
    ----------
    target : Path
        The folder.
    *wheels : Path
        What to install.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-index", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([*command, "--target", target, *wheels], check=True)
    return target


@contextmanager
def importable(target: Path) -> Iterator[None]:
    """Let this process see what is installed in a folder.

    Parameters
    ----------
    target : Path
        The folder.
    """
    sys.path.insert(0, str(target))
    _registry.clear_cache()
    try:
        yield
    finally:
        sys.path.remove(str(target))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(str(target)):
                del sys.modules[name]
        _registry.clear_cache()


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
