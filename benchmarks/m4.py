"""M4 hourly: 414 series, 48 steps ahead, one net for all of them.

sMAPE and MASE are those of the competition (Makridakis, Spiliotis, Assimakopoulos,
International Journal of Forecasting 2020), averaged over series. The normalisation was
chosen by the error on the held-out ends of the training series. Needs ``m4/`` in
``SKATTN_DATA``, or the network.

    python benchmarks/m4.py
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pandas as pd
from _results import Results, as_text, options, spread, use_threads

from skattn import AttentionForecaster, LinearForecaster
from skattn.datasets import fetch_m4

KEY = ("data", "model", "seed", "threads")

HORIZON, PERIOD = 48, 24

# A week of hours, the seasonal periods of a day within it.
LENGTH = 168

BASELINES = ("seasonal naive", "ridge")


def seasonal_naive(train: pd.DataFrame) -> pd.DataFrame:
    """Repeat the last day of each series."""
    parts = {}
    for name, part in train.groupby(level=0):
        values = part.to_numpy()[-PERIOD:]
        steps = part.index.get_level_values(-1)[-1] + np.arange(1, HORIZON + 1)
        repeated = np.tile(values, (HORIZON // PERIOD, 1))
        parts[name] = pd.DataFrame(repeated, index=steps, columns=part.columns)
    return pd.concat(parts, names=train.index.names)


def forecast(model: str, train: pd.DataFrame, seed: int, threads: int) -> pd.DataFrame:
    """Fit one model to all series and forecast them."""
    if model == "seasonal naive":
        return seasonal_naive(train)
    forecaster: Any
    if model == "ridge":
        forecaster = LinearForecaster(window_length=LENGTH, calibration=None)
    else:
        forecaster = AttentionForecaster(
            model,
            window_length=LENGTH,
            calibration=None,
            normalization="instance",
            batch_size=256,
            max_epochs=8,
            windows_per_epoch=25_000,
            num_threads=threads,
            random_state=seed,
        )
    return forecaster.fit(train, fh=range(1, HORIZON + 1)).predict()


def scores(train: pd.DataFrame, test: pd.DataFrame, found: Any) -> dict[str, float]:
    """Average the competition's errors over series."""
    smape, mase = [], []
    for name, actual in test.groupby(level=0):
        truth, guess = actual.to_numpy(), found.loc[name].to_numpy()
        error = np.abs(truth - guess)
        smape.append(200 * np.mean(error / (np.abs(truth) + np.abs(guess))))
        past = train.loc[name].to_numpy()
        mase.append(error.mean() / np.abs(past[PERIOD:] - past[:-PERIOD]).mean())
    return {"smape": float(np.mean(smape)), "mase": float(np.mean(mase))}


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["model", "sMAPE (%)", "MASE", "fit and predict (s)", "threads", "seeds"]
    rows = []
    for (model, threads), found in results.groups("model", "threads").items():
        cells = [
            spread([float(row[name]) for row in found], digits)
            for name, digits in (("smape", 2), ("mase", 3), ("seconds", 0))
        ]
        rows.append([model, *cells, threads, str(len(found))])
    return header, rows


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = options(__doc__, seeds=1)
    parser.set_defaults(architectures=["patchtst"])
    args = parser.parse_args()
    use_threads(args.threads)
    results = Results("m4", KEY, args.force)
    data = None
    for model in (*BASELINES, *args.architectures):
        for seed in [0] if model in BASELINES else args.seeds:
            key = {"data": "M4 hourly", "model": model, "seed": seed}
            key["threads"] = args.threads
            if not results.missing(**key):
                continue
            data = fetch_m4("hourly") if data is None else data
            start = time.perf_counter()
            found = forecast(model, data.train, seed, args.threads)
            seconds = time.perf_counter() - start
            results.add(**key, seconds=seconds, **scores(data.train, data.test, found))
            sys.stderr.write(f"{results.rows[-1]}\n")
    sys.stdout.write(as_text(*table(results)) + "\n")


if __name__ == "__main__":
    main()
