"""The command line: list, show and check architectures."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from skattn import _registry
from skattn._architecture import INPUTS, TASKS, Architecture, served_tasks
from skattn.exceptions import PluginError, PluginWarning


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; by default those of the process.

    Returns
    -------
    code : int
        0 if all went well, 1 if a check failed, 2 for a wrong argument or a broken
        plugin, which is explained on the standard error stream.

    Raises
    ------
    SystemExit
        After printing the help, or how the arguments are to be written.

    Examples
    --------
    >>> from skattn.cli import main
    >>> main(["show", "no_such_thing"])
    2
    """
    options = _parser().parse_args(argv)
    if "name" in options:
        try:
            options.cls = _registry.get_architecture(options.name)
        except (PluginError, ValueError) as error:
            print(f"skattn: {error}", file=sys.stderr)
            return 2
    return options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skattn", description="Attention architectures, built in or installed."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="list the installed architectures")
    command.add_argument("--task", choices=TASKS, help="only those that serve it")
    command.add_argument("--input", choices=INPUTS, help="only those that take it")
    command.set_defaults(run=_list)
    _add_json(command)

    command = commands.add_parser("show", help="describe one architecture")
    _add_name(command)
    command.set_defaults(run=_show)
    _add_json(command)

    command = commands.add_parser(
        "check", help="hold one architecture to the contract, by building and training"
    )
    _add_name(command)
    command.add_argument(
        "--contract-only",
        action="store_true",
        help="leave out the suites of scikit-learn and sktime",
    )
    command.set_defaults(run=_check)
    _add_json(command)
    return parser


def _add_name(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "name", metavar="NAME", help='a listed name, or "distribution/name"'
    )


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")


def _list(options: argparse.Namespace) -> int:
    filtered = options.task is not None or options.input is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginWarning)
        names = _registry.list_architectures(options.task, options.input)
    for warning in caught:
        print(f"skattn: {warning.message}", file=sys.stderr)
    origins = _registry.listed()
    rows = []
    for name in names:
        row: dict[str, Any] = {"name": name, **_source(origins.get(name))}
        if filtered:
            row["supports"] = _supports(_registry.get_architecture(name))
        rows.append(row)
    if options.json:
        _print_json(rows)
        return 0
    if not rows:
        print("No architecture fits." if filtered else "No architecture is installed.")
        return 0
    cells = [["name", "distribution", "version", *(["supports"] if filtered else [])]]
    cells += [[_plain(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(padded).rstrip())
    return 0


def _show(options: argparse.Namespace) -> int:
    cls: type[Architecture] = options.cls
    doc = (cls.__doc__ or "").strip()
    defaults = cls().get_params(deep=False)
    facts: dict[str, Any] = {
        "name": cls.name,
        **_source(_registry.origin_of(cls)),
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "summary": doc.splitlines()[0] if doc else "",
        "citation": " ".join(cls.citation.split()),
        "supports": _supports(cls),
        "consumes": sorted(cls.consumes),
    }
    if "token_prediction" in facts["supports"].get("tokens", ()):
        # How it is pretrained on texts.
        facts["causal"] = cls.causal
    if options.json:
        parameters = {
            name: {"default": default, "search": _range(cls, name)}
            for name, default in defaults.items()
        }
        _print_json({**facts, "parameters": parameters})
        return 0
    width = max(map(len, facts))
    for key, value in facts.items():
        print(f"{key.ljust(width)}  {_plain(value)}")
    print("parameters")
    for name, default in defaults.items():
        searched = cls.search_space.get(name)
        note = "" if searched is None else f"  (search: {searched!r})"
        print(f"  {name} = {default!r}{note}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from skattn.testing import run_checks

    results = []
    for result in run_checks(options.name, ecosystem=not options.contract_only):
        results.append(result)
        if not options.json:
            verdict = "passed" if result.passed else "FAILED"
            print(f"{verdict}  {result.name}  ({result.seconds:.2f} s)", flush=True)
            if not result.passed:
                print("        " + result.message.replace("\n", "\n        "))
    failed = sum(not result.passed for result in results)
    if options.json:
        fields = ("name", "passed", "message", "seconds")
        checks = [{name: getattr(r, name) for name in fields} for r in results]
        _print_json({"architecture": options.name, "failed": failed, "checks": checks})
    else:
        print(f"{options.name}: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _source(origin: _registry.Origin | None) -> dict[str, str | None]:
    if origin is None:
        return {"distribution": None, "version": None}
    return {"distribution": origin.distribution, "version": origin.version}


def _supports(cls: type[Architecture]) -> dict[str, list[str]]:
    return served_tasks(cls)


def _range(cls: type[Architecture], name: str) -> dict[str, Any] | None:
    searched = cls.search_space.get(name)
    if searched is None:
        return None
    return {"kind": type(searched).__name__, **asdict(searched)}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value in (None, "") else str(value)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=repr))
