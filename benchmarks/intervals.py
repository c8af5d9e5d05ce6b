"""Prediction intervals on ETTh1: coverage, width, pinball loss over all test windows.

Fitted on the rows [0, 11520) of the long-horizon protocol, with the calibration that
the forecaster itself holds out at their end; tested on [11520, 14400). Needs
``ett/ETTh1.csv`` in ``SKATTN_DATA``, or the network.

    python benchmarks/intervals.py
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from _results import Results, as_text, options, spread, use_threads
from long_horizon import TEST, VALID, read, windows

from skattn import AttentionForecaster, LinearForecaster

KEY = ("data", "model", "horizon", "seed")

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
COVERAGE = 0.9
LENGTH = 336

_TRAINING: dict[str, Any] = {
    "window_length": LENGTH,
    "calibration": "split",
    "max_epochs": 10,
    "patience": 3,
    "lr": 1e-3,
    "batch_size": 128,
}

# Name: architecture and the forecaster's parameters.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "itransformer": ("itransformer", {}),
    "itransformer, quantile": ("itransformer", {"likelihood": "quantile"}),
    "itransformer, student_t": ("itransformer", {"likelihood": "student_t"}),
}

BASELINES = ("ridge",)


def make(model: str, seed: int, threads: int) -> Any:
    """Make the forecaster of a row."""
    if model == "ridge":
        return LinearForecaster(window_length=LENGTH, calibration="split")
    architecture, params = MODELS[model]
    return AttentionForecaster(
        architecture, random_state=seed, num_threads=threads, **_TRAINING, **params
    )


def measure(model: str, horizon: int, seed: int, threads: int) -> dict[str, Any]:
    """Fit one model and score its quantiles."""
    frame = read()
    forecaster = make(model, seed, threads)
    start = time.perf_counter()
    forecaster.fit(frame.iloc[:VALID], fh=range(1, horizon + 1))
    seconds = time.perf_counter() - start
    targets = windows(frame, horizon, VALID, TEST)
    losses, inside, width = [], [], []
    for part in np.array_split(np.arange(len(targets)), 8):
        samples = forecaster._windows_from(frame, None, {(): VALID - 1 + part})
        scores = forecaster._scores(forecaster._model(), samples)
        # (n, channels, horizon, levels)
        quantiles = forecaster._quantiles(scores, LEVELS, *samples.units())
        excess = targets[part][..., None] - quantiles
        levels = np.array(LEVELS)
        losses.append(np.maximum(levels * excess, (levels - 1) * excess).mean(axis=-1))
        inside.append((excess[..., 0] >= 0) & (excess[..., -1] <= 0))
        width.append(quantiles[..., -1] - quantiles[..., 0])
    return {
        "coverage": float(np.concatenate(inside).mean()),
        "width": float(np.concatenate(width).mean()),
        "pinball": float(np.concatenate(losses).mean()),
        "fit_seconds": seconds,
        "windows": len(targets),
    }


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["model", "horizon", "coverage of 90 %", "width", "pinball", "seeds"]
    rows = []
    for (model, horizon), found in results.groups("model", "horizon").items():
        cells = [
            spread([float(row[name]) for row in found], digits)
            for name, digits in (("coverage", 3), ("width", 2), ("pinball", 4))
        ]
        rows.append([model, horizon, *cells, str(len(found))])
    return header, rows


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = options(__doc__, seeds=1)
    parser.add_argument("--models", nargs="+", default=[*BASELINES, *MODELS])
    parser.add_argument("--horizons", nargs="+", type=int, default=[96])
    args = parser.parse_args()
    if unknown := set(args.models) - {*BASELINES, *MODELS}:
        parser.error(f"unknown models {unknown}; there are {[*BASELINES, *MODELS]}")
    use_threads(args.threads)
    results = Results("intervals", KEY, args.force)
    for model in args.models:
        for horizon in args.horizons:
            for seed in args.seeds if model in MODELS else [0]:
                key = {"data": "ETTh1", "model": model, "horizon": horizon}
                key["seed"] = seed
                if results.missing(**key):
                    found = measure(model, horizon, seed, args.threads)
                    results.add(**key, threads=args.threads, **found)
                    sys.stderr.write(f"{key} {found}\n")
    sys.stdout.write(as_text(*table(results)) + "\n")


if __name__ == "__main__":
    main()
