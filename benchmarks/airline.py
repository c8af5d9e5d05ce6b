"""Backtest twelve-step forecasts of the last 36 months of the airline series.

Every forecaster has its default parameters. See README.md for the protocols.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from _results import Results, as_text, options, spread, use_threads
from sklearn.linear_model import Ridge
from sktime.datasets import load_airline
from sktime.forecasting.compose import make_reduction
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import (
    MeanAbsolutePercentageError,
    MeanAbsoluteScaledError,
)
from sktime.split import ExpandingWindowSplitter

from skattn import AttentionForecaster, LinearForecaster

KEY = ("protocol", "model", "seed", "threads")

HORIZON = list(range(1, 13))
HELD_OUT = 36
COVERAGE = 0.9

# Step between origins, and sktime's name for what happens at each.
PROTOCOLS = {
    "3 origins, refitted": (12, "refit"),
    "25 origins, fitted once": (1, "no-update_params"),
}

POINT_METRICS = {
    "sMAPE": MeanAbsolutePercentageError(symmetric=True),
    "MASE": MeanAbsoluteScaledError(sp=12),
}


def models(
    architectures: list[str], seeds: list[int], threads: int
) -> Iterator[tuple[str, int, Any]]:
    """Give name, seed and forecaster of each row."""
    # sktime warns that this default will change.
    remember = {"remember_data": True}
    naive = NaiveForecaster(strategy="last", sp=12).set_config(**remember)
    yield "seasonal naive", 0, naive
    if find_spec("statsmodels") is not None:
        from sktime.forecasting.ets import AutoETS

        ets = AutoETS(auto=True, sp=12, additive_only=False).set_config(**remember)
        yield "AutoETS", 0, ets
    else:
        drift = NaiveForecaster(strategy="drift").set_config(**remember)
        yield "drift", 0, drift
    linear = make_reduction(Ridge(), window_length=24, strategy="direct")
    yield "Ridge on 24 lags", 0, linear.set_config(**remember)
    yield "LinearForecaster", 0, LinearForecaster()
    for architecture in architectures:
        for seed in seeds:
            forecaster = AttentionForecaster(
                architecture, num_threads=threads, random_state=seed
            )
            yield architecture, seed, forecaster


def measure(forecaster: Any, step: int, strategy: str) -> dict[str, Any]:
    """Backtest by sktime's `evaluate`; average over origins."""
    from sktime.performance_metrics.forecasting.probabilistic import EmpiricalCoverage

    y = load_airline()
    splitter = ExpandingWindowSplitter(
        HORIZON, initial_window=len(y) - HELD_OUT, step_length=step
    )
    scoring = list(POINT_METRICS.values())
    if forecaster.get_tag("capability:pred_int"):
        scoring.append(EmpiricalCoverage(coverage=COVERAGE))
    rows = evaluate(
        forecaster,
        splitter,
        y,
        strategy=strategy,
        scoring=scoring,
        return_data=True,
        error_score="raise",
    )
    found = {
        "origins": len(rows),
        "fit_seconds": rows["fit_time"].sum(),
        "predict_seconds": rows["pred_time"].mean(),
    }
    for name, metric in POINT_METRICS.items():
        found[name] = rows[f"test_{metric.name}"].mean()
    if "y_pred_interval" in rows:
        widths = []
        for interval in rows["y_pred_interval"]:
            lower, upper = interval.to_numpy().T
            widths.append((upper - lower).mean())
        found["coverage"] = rows["test_EmpiricalCoverage"].mean()
        found["width"] = np.mean(widths)
    return found


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["protocol", "model", "seeds", "sMAPE (%)", "MASE"]
    header += ["coverage of 90 %", "mean width", "fits (s)"]
    rows = []
    for (protocol, model), found in results.groups("protocol", "model").items():

        def over_seeds(
            name: str,
            digits: int,
            factor: float = 1.0,
            found: list[dict[str, str]] = found,
        ) -> str:
            values = [factor * float(row[name]) for row in found if row.get(name)]
            return spread(values, digits) if values else "-"

        rows.append(
            [protocol, model, str(len(found)), over_seeds("sMAPE", 2, 100.0)]
            + [over_seeds("MASE", 3), over_seeds("coverage", 1, 100.0)]
            + [over_seeds("width", 1), over_seeds("fit_seconds", 2)]
        )
    order = list(PROTOCOLS)
    return header, sorted(rows, key=lambda row: order.index(row[0]))


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, seeds=3)
    args = parser.parse_args()
    use_threads(args.threads)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The default of config ``remember_data``")
    results = Results("airline", KEY, args.force)
    for protocol, (step, strategy) in PROTOCOLS.items():
        for model, seed, forecaster in models(
            args.architectures, args.seeds, args.threads
        ):
            key = {
                "protocol": protocol,
                "model": model,
                "seed": seed,
                "threads": args.threads,
            }
            if not results.missing(**key):
                continue
            found = measure(forecaster, step, strategy)
            results.add(**key, **found)
            print(protocol, model, seed, f"sMAPE {found['sMAPE']:.4f}", flush=True)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
