"""Time `skattn.backtest` against sktime's `evaluate` of the same forecaster.

Both fit once, on the first half of the steps, and forecast from each twelfth origin
after it; their scores have to be equal. The seconds are those of all folds without that
fit: updates, forecasts, scores and the table. The sides take turns, and one run of
`backtest` that is not counted goes before. Hourly series: ETTh1 where ``SKATTN_DATA``
names a folder with ``ett/ETTh1.csv``, made ones otherwise. ``quantiles`` with more than
one channel calls sktime's metrics for each fold, on both sides.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from _forecast_loop import make_series
from _results import Results, as_text, options, quartiles, use_threads
from sktime.forecasting.model_evaluation import evaluate
from sktime.performance_metrics.forecasting import (
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanAbsoluteScaledError,
    MeanSquaredError,
)
from sktime.performance_metrics.forecasting.probabilistic import (
    EmpiricalCoverage,
    PinballLoss,
)
from sktime.split import ExpandingWindowSplitter

from skattn import AttentionForecaster, LinearForecaster, backtest
from skattn.datasets import fetch_ett

KEY = (
    "data",
    "model",
    "scoring",
    "channels",
    "rows",
    "folds",
    "length",
    "horizon",
    "threads",
    "pair",
)

PERIOD = 24

SCORINGS: dict[str, list[Any]] = {
    "points": [
        MeanAbsoluteError(),
        MeanSquaredError(square_root=True),
        MeanAbsolutePercentageError(symmetric=True),
        MeanAbsoluteScaledError(sp=PERIOD),
    ],
    "quantiles": [PinballLoss(), EmpiricalCoverage()],
}

MODELS: dict[str, Callable[[int], Any]] = {
    "attention": lambda length: AttentionForecaster(
        window_length=length, max_epochs=1, random_state=0
    ),
    "ridge": lambda length: LinearForecaster(window_length=length),
}


def load(n_steps: int, n_channels: int) -> tuple[str, pd.DataFrame]:
    """Give the name of the data, and the last columns of them."""
    if "SKATTN_DATA" in os.environ:
        return "ETTh1", fetch_ett("ETTh1").frame.iloc[:n_steps, -n_channels:]
    values = 10 + make_series(n_steps, n_channels).astype(np.float64)
    index = pd.date_range("2016-07-01", periods=n_steps, freq="h")
    return "made", pd.DataFrame(values, index=index)


def measure(call: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, float, float]:
    """Run a backtest; give its table, the seconds of its fit, and all the others."""
    start = time.perf_counter()
    table = call()
    total = time.perf_counter() - start
    fit = float(table["fit_time"].iloc[0])
    return table, fit, total - fit


def difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """Find the largest relative difference of scores; refuse more than rounding."""
    names = [name for name in theirs.columns if name.startswith("test_")]
    one, other = (table[names].to_numpy() for table in (ours, theirs))
    np.testing.assert_allclose(one, other, rtol=1e-9)
    size = np.maximum(np.abs(other), np.finfo(np.float64).tiny)
    return float((np.abs(one - other) / size).max())


def run(args: argparse.Namespace) -> Results:
    """Measure both sides in turn; who comes first alternates."""
    name = "backtest"
    if args.fast:  # numbers that nobody keeps
        name = f"{tempfile.mkdtemp()}/{name}"
    results = Results(name, KEY, args.force)
    source, y = load(args.rows, args.channels)
    cv = ExpandingWindowSplitter(
        fh=range(1, args.horizon + 1),
        initial_window=args.rows // 2,
        step_length=args.step,
    )
    key = {
        "data": source,
        "channels": args.channels,
        "rows": len(y),
        "folds": cv.get_n_splits(y),
        "length": args.length,
        "horizon": args.horizon,
        "threads": args.threads,
    }
    for model in args.models:
        for scoring in args.scorings:
            case = key | {"model": model, "scoring": scoring}
            given = {"forecaster": MODELS[model](args.length), "y": y, "cv": cv}
            given["scoring"] = SCORINGS[scoring]
            sides = {
                "skattn": partial(backtest, **given),
                "sktime": partial(
                    evaluate, **given, strategy="no-update_params", error_score="raise"
                ),
            }
            missing = [p for p in range(args.pairs) if results.missing(**case, pair=p)]
            if missing:
                sides["skattn"]()  # loads what either side needs
            for pair in missing:
                order = list(sides) if pair % 2 == 0 else list(sides)[::-1]
                found = {side: measure(sides[side]) for side in order}
                row = {
                    f"{phase}_{side}": seconds
                    for side in sides
                    for phase, seconds in zip(
                        ("fit", "folds"), found[side][1:], strict=True
                    )
                }
                row["difference"] = difference(found["skattn"][0], found["sktime"][0])
                results.add(**case, pair=pair, **row)
                print(case | {"pair": pair} | row, flush=True)
    return results


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Summarise the pairs: medians, and quartiles of their ratios."""
    header = ["data", "model", "scoring", "channels", "folds", "length", "horizon"]
    header += ["threads", "pairs", "skattn (s)", "evaluate (s)", "evaluate / skattn"]
    header += ["quartiles", "largest difference"]
    rows = []
    for key, pairs in results.groups(*KEY[:-1]).items():
        named = dict(zip(KEY, key, strict=False))
        ours, theirs = (
            [float(row[f"folds_{side}"]) for row in pairs]
            for side in ("skattn", "sktime")
        )
        lower, median, upper = quartiles(
            a / b for a, b in zip(theirs, ours, strict=True)
        )
        rows.append(
            [named[name] for name in header[:8]]
            + [str(len(pairs))]
            + [f"{quartiles(side)[1]:.3g}" for side in (ours, theirs)]
            + [f"{median:.1f}", f"{lower:.1f}-{upper:.1f}"]
            + [f"{max(float(row['difference']) for row in pairs):.1g}"]
        )
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--scorings", nargs="+", choices=SCORINGS, default=list(SCORINGS)
    )
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--length", type=int, default=96)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--step", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument(
        "--fast", action="store_true", help="see that it runs, and keep nothing"
    )
    args = parser.parse_args()
    if args.fast:
        args.rows, args.length, args.horizon, args.pairs = 400, 24, 12, 1
    use_threads(args.threads)
    print(as_text(*table(run(args))))


if __name__ == "__main__":
    main()
