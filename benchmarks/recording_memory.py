"""Measure how much memory looking at attention takes as samples are added.

Each call runs in a process of its own. See README.md for what is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
from _results import Results, as_text, options, quartiles, use_threads
from forecast_memory import MALLOC, peak_bytes, present_bytes

from skattn import AttentionClassifier, inspection

KEY = ("architecture", "function", "length", "samples", "threads", "run")

# What is called, with which options.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention_weights": ("attention_weights", {}),
    "attention_weights, mean": ("attention_weights", {"aggregate": "mean"}),
    "attention_entropy": ("attention_entropy", {}),
    "attention_rollout": ("attention_rollout", {}),
    "gradient_rollout": ("gradient_rollout", {}),
}


def make_series(samples: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Make noise of two channels, and labels that one of them tells."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((samples, 2, length), dtype=np.float32)
    return X, (X[:, 0].mean(axis=1) > 0).astype(int)


def size_of(result: Any) -> int:
    """Count the bytes of all arrays inside a result."""
    if isinstance(result, np.ndarray):
        return result.nbytes
    if isinstance(result, dict):
        return sum(map(size_of, result.values()))
    if isinstance(result, (list, tuple)):
        return sum(map(size_of, result))
    return size_of(vars(result)) if hasattr(result, "__dict__") else 0


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Call one function once, in this process."""
    name, given = CALLS[args.function]
    function = getattr(inspection, name)
    # Everything is loaded, and torch's buffers are there, before the samples are made.
    X, y = make_series(600, args.length)
    clf = AttentionClassifier(args.architecture, max_epochs=1, random_state=0).fit(X, y)
    records = inspection.attention_weights(clf, X[:2]).records
    weights = sum(record.weights[0].nbytes for record in records)
    function(clf, X, **given)
    X, _ = make_series(args.samples, args.length)
    before = present_bytes()
    start = time.process_time()
    result = function(clf, X, **given)
    seconds = time.process_time() - start
    return {
        "x_bytes": X.nbytes,
        "weights_bytes": weights * args.samples,
        "result_bytes": size_of(result),
        "before_bytes": before,
        "peak_bytes": peak_bytes() - before,
        "cpu_seconds": seconds,
    }


def run_child(key: dict[str, Any]) -> dict[str, Any]:
    """Call one function once, in a new process."""
    command = [sys.executable, __file__, "--child"]
    command += [part for name in key for part in (f"--{name}", str(key[name]))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | MALLOC
    )
    if done.returncode:
        raise RuntimeError(f"{key} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def run(args: argparse.Namespace) -> Results:
    """Measure all functions with more and more samples."""
    results = Results("recording_memory", KEY, args.force)
    for function in CALLS:
        for samples in args.samples:
            for number in range(args.runs):
                key = {
                    "architecture": args.architecture,
                    "function": function,
                    "length": args.length,
                    "samples": samples,
                    "threads": args.threads,
                    "run": number,
                }
                if results.missing(**key):
                    found = run_child(key)
                    results.add(**key, **found)
                    print(key | found, flush=True)
    return results


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Compare the peak with what is returned; medians over runs.

    What grows is counted from the fewest samples: the rest are buffers of a batch.
    """
    header = ["architecture", "function", "steps", "samples", "runs"]
    header += ["all weights (MB)", "result (MB)", "peak (MB)", "beyond result (MB)"]
    header += ["growth beyond result (bytes a sample)", "X (bytes a sample)"]
    header += ["CPU seconds"]
    rows = []
    fewest: dict[tuple[str, ...], tuple[float, float]] = {}
    for key, found in results.groups(*KEY[:-1]).items():
        architecture, function, length, samples, _ = key

        def median(name: str, found: list[dict[str, str]] = found) -> float:
            return quartiles(float(row[name]) for row in found)[1]

        result, peak, n = median("result_bytes"), median("peak_bytes"), float(samples)
        beyond = peak - result
        first_n, first = fewest.setdefault(key[:3], (n, beyond))
        growth = "-" if n == first_n else f"{(beyond - first) / (n - first_n):.0f}"
        rows.append(
            [architecture, function, length, samples, str(len(found))]
            + [f"{median('weights_bytes') / 1e6:.1f}"]
            + [f"{each / 1e6:.1f}" for each in (result, peak, beyond)]
            + [growth, f"{median('x_bytes') / n:.0f}", f"{median('cpu_seconds'):.1f}"]
        )
    return header, rows


def main() -> None:
    """Run the benchmark, or one call of it."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--architecture", default="transformer")
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 4000, 16000])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--function", choices=CALLS, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    use_threads(args.threads)
    if args.child:
        (args.samples,) = args.samples
        print(json.dumps(measure(args)))
        return
    print(as_text(*table(run(args))))


if __name__ == "__main__":
    main()
