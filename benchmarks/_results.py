"""What the benchmarks share: options, the machine, and rows kept as CSV."""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

ARCHITECTURES = ("self_attention", "temporal_attention", "bidirectional_attention")


class Results:
    """Rows of one benchmark, written to ``results/NAME.csv`` after each measurement.

    Parameters
    ----------
    name : str
        Of the file, without its ending.
    key : sequence of str
        The columns that identify a row: a second row of the same key replaces the
        first.
    force : bool, default=False
        Measure rows again that are already there.
    """

    def __init__(self, name: str, key: Sequence[str], force: bool = False) -> None:
        self.path = RESULTS / f"{name}.csv"
        self.key = tuple(key)
        self.force = force
        self.rows = self._read()
        self._measured: set[tuple[str, ...]] = set()

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _key_of(self, row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(str(row.get(name, "")) for name in self.key)

    def missing(self, **key: Any) -> bool:
        """Tell whether a row has to be measured."""
        wanted = self._key_of(key)
        if self.force:
            return wanted not in self._measured
        return all(self._key_of(row) != wanted for row in self.rows)

    def add(self, **row: Any) -> None:
        """Keep a row, with the date, the machine and the versions."""
        new = {name: _text(value) for name, value in (row | environment()).items()}
        place = self._key_of(new)
        self._measured.add(place)
        # Anew, for another process may have added to them.
        self.rows = [old for old in self._read() if self._key_of(old) != place] + [new]
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        RESULTS.mkdir(exist_ok=True)
        unfinished = self.path.with_suffix(".tmp")
        with unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        unfinished.replace(self.path)

    def groups(self, *columns: str) -> dict[tuple[str, ...], list[dict[str, str]]]:
        """Group the rows by some columns, in the order in which they first appear."""
        found: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in self.rows:
            found.setdefault(tuple(row.get(name, "") for name in columns), []).append(
                row
            )
        return found


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def environment() -> dict[str, str]:
    """Describe the date, the machine and the versions."""
    import torch

    described = {
        "date": datetime.now().isoformat(timespec="minutes"),
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "python": platform.python_version(),
    }
    for package in ("torch", "scikit-learn", "sktime", "skattn"):
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            described[package] = ""
    described["commit"] = _commit()
    return described


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(
        command, cwd=RESULTS.parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def options(description: str, seeds: int | None = None) -> argparse.ArgumentParser:
    """Make a parser with the options that all benchmarks have.

    Parameters
    ----------
    description : str
        The module's docstring, of which the first line is shown.
    seeds : int, optional
        How many seeds are run unless told; None leaves the option out.

    Returns
    -------
    parser : ArgumentParser
        To be extended.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--force", action="store_true", help="measure again what is already there"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    if seeds is not None:
        parser.add_argument(
            "--seeds", type=int, nargs="+", default=list(range(seeds)), metavar="SEED"
        )
        parser.add_argument(
            "--architectures", nargs="*", default=list(ARCHITECTURES), metavar="NAME"
        )
    return parser


def use_threads(count: int) -> None:
    """Let torch, BLAS and scikit-learn's OpenMP code use so many threads."""
    import sklearn.ensemble  # noqa: F401  (loads the OpenMP runtime to limit)
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
    torch.set_num_threads(count)


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile."""
    values = list(values)
    if len(values) < 2:
        return (values[0],) * 3
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper


def spread(values: Iterable[float], digits: int) -> str:
    """Write mean ± standard deviation, or the only value."""
    values = list(values)
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) < 2 or max(values) == min(values):
        return mean
    return f"{mean} ± {statistics.stdev(values):.{digits}f}"


def as_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align a table in columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
