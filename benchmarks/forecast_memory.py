"""Measure how much memory a fit takes beside the series itself.

Each fit runs in a process of its own, on a bounded number of windows. See README.md
for what is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _results import Results, as_text, options, quartiles, use_threads

from skattn import AttentionForecaster

KEY = (
    "architecture",
    "index",
    "points",
    "windows",
    "length",
    "horizon",
    "batch",
    "threads",
    "run",
)

# Bytes of a number in a net's input.
FLOAT32 = 4

# Lets glibc give memory back at once: no free space hides what a fit takes.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

INDEXES: dict[str, Callable[[int], pd.Index]] = {
    "range": pd.RangeIndex,
    "hourly": lambda count: pd.period_range("1900-01-01", periods=count, freq="h"),
}


def make_series(points: int, index: str) -> pd.Series:
    """Make a noisy daily course without a temporary array of its size."""
    rng = np.random.default_rng(0)
    values = np.empty(points)
    for part in np.array_split(values, max(points // 10_000, 1)):  # views
        part[:] = np.sin(np.arange(len(part)) * (2 * np.pi / 24))
        part += 0.1 * rng.standard_normal(len(part))
    return pd.Series(values, index=INDEXES[index](points), copy=False)


def peak_bytes() -> int:
    """Give the most memory that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def present_bytes() -> int:
    """Give the memory that this process has now; its peak where nobody knows."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return peak_bytes()
    return int(status.read_text().split()[1]) * resource.getpagesize()


def make_forecaster(args: argparse.Namespace) -> AttentionForecaster:
    """Make a forecaster that trains for one epoch of so many windows."""
    return AttentionForecaster(
        args.architecture,
        window_length=args.length,
        calibration=args.calibration,
        windows_per_epoch=args.windows,
        max_epochs=1,
        batch_size=args.batch,
        random_state=0,
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Fit once, in this process."""
    steps = range(1, args.horizon + 1)
    # Everything is loaded, and torch's buffers are there, before the series is made.
    short = make_series(8 * (args.length + args.horizon), args.index)
    make_forecaster(args).fit(short, fh=steps).predict()
    y = make_series(args.points, args.index)
    own = y.memory_usage(index=True)
    before = present_bytes()
    start = time.perf_counter()
    forecaster = make_forecaster(args).fit(y, fh=steps)
    seconds = time.perf_counter() - start
    fit = peak_bytes() - before
    forecaster.predict()
    return {
        "series_bytes": own,
        "before_bytes": before,
        "fit_bytes": fit,
        "predict_bytes": peak_bytes() - before,
        "fit_seconds": seconds,
    }


def windows_bytes(points: int, length: int, horizon: int) -> int:
    """Count the bytes of all windows of a series, were they laid out in memory."""
    return (points - length - horizon + 1) * (length + horizon) * FLOAT32


def run_child(args: argparse.Namespace, points: int, index: str) -> dict[str, Any]:
    """Fit once, in a new process."""
    given = {
        "architecture": args.architecture,
        "calibration": args.calibration or "none",
        "length": args.length,
        "horizon": args.horizon,
        "batch": args.batch,
        "windows": args.windows,
        "threads": args.threads,
        "points": points,
        "indexes": index,
    }
    command = [sys.executable, __file__, "--child"]
    command += [part for key in given for part in (f"--{key}", str(given[key]))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | MALLOC
    )
    if done.returncode:
        raise RuntimeError(f"{points} points failed:\n{done.stderr}")
    return json.loads(done.stdout)


def run(args: argparse.Namespace) -> Results:
    """Measure all lengths with all kinds of index."""
    name = "forecast_memory"
    if args.fast:  # numbers that nobody keeps
        name = f"{tempfile.mkdtemp()}/{name}"
    results = Results(name, KEY, args.force)
    for index in args.indexes:
        for points in args.points:
            for number in range(args.runs):
                key = {
                    "architecture": args.architecture,
                    "index": index,
                    "points": points,
                    "windows": args.windows,
                    "length": args.length,
                    "horizon": args.horizon,
                    "batch": args.batch,
                    "threads": args.threads,
                    "run": number,
                }
                if not results.missing(**key):
                    continue
                found = run_child(args, points, index)
                materialised = windows_bytes(points, args.length, args.horizon)
                results.add(**key, **found, windows_bytes=materialised)
                print(key | found, flush=True)
    return results


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Compare the peak with the series' own bytes; medians over runs.

    What grows is counted from the shortest series: the rest are buffers of a batch.
    """
    header = ["architecture", "index", "points", "windows", "runs", "series (MB)"]
    header += ["fit (MB)", "fit / series", "growth / series", "all windows / series"]
    header += ["seconds"]
    rows = []
    shortest: dict[tuple[str, ...], tuple[float, float]] = {}
    for key, found in results.groups(*KEY[:-1]).items():

        def median(name: str, found: list[dict[str, str]] = found) -> float:
            return quartiles(float(row[name]) for row in found)[1]

        series, fit = median("series_bytes"), median("fit_bytes")
        others = key[:2] + key[3:]
        first_series, first_fit = shortest.setdefault(others, (series, fit))
        growth = "-"
        if series > first_series:
            growth = f"{(fit - first_fit) / (series - first_series):.2f}"
        rows.append(
            [*key[:4], str(len(found)), f"{series / 1e6:.1f}", f"{fit / 1e6:.1f}"]
            + [f"{fit / series:.2f}", growth]
            + [f"{median('windows_bytes') / series:.0f}"]
            + [f"{median('fit_seconds'):.1f}"]
        )
    return header, rows


def main() -> None:
    """Run the benchmark, or one fit of it."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--architecture", default="patchtst")
    parser.add_argument("--calibration", choices=["refit", "split", "none"])
    parser.add_argument("--indexes", nargs="+", choices=INDEXES, default=list(INDEXES))
    parser.add_argument("--points", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--length", type=int, default=336)
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--windows", type=int, default=1280, help="of an epoch")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--fast", action="store_true", help="see that it runs, and keep nothing"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.calibration == "none":
        args.calibration = None
    use_threads(args.threads)
    if args.child:
        (args.points,), (args.index,) = args.points, args.indexes
        print(json.dumps({name: float(x) for name, x in measure(args).items()}))
        return
    if args.fast:
        args.points, args.windows, args.runs = [10**5, 10**6], 128, 1
    print(as_text(*table(run(args))))


if __name__ == "__main__":
    main()
