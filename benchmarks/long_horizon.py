"""ETTh1 by the long-horizon protocol: every test window, all channels, standardised.

Train on the rows [0, 8640), validate on [8640, 11520), test on [11520, 14400), each
with the window before it; means and standard deviations of the training rows; every
window at stride 1. A model is chosen by its validation error alone. Published rows
stand beside the measured ones. Needs ``ett/ETTh1.csv`` in ``SKATTN_DATA``, or the
network.

    python benchmarks/long_horizon.py
    python benchmarks/long_horizon.py --models patchtst --horizons 96 --seeds 0 1 2
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from _results import Results, as_text, options, spread, use_threads

from skattn import AttentionForecaster, LinearForecaster, get_architecture
from skattn.datasets import fetch_ett

KEY = ("data", "model", "length", "horizon", "seed")

TRAIN, VALID, TEST = 8640, 11520, 14400
HORIZONS = (96, 192, 336, 720)
PERIOD = 24

# Figures from the papers, at 96, 192, 336 and 720 steps.
PUBLISHED = {
    "PatchTST/64, L=512 (arXiv 2211.14730)": (0.370, 0.413, 0.422, 0.447),
    "PatchTST/42, L=336 (arXiv 2211.14730)": (0.375, 0.414, 0.431, 0.449),
    "iTransformer, L=96 (arXiv 2310.06625)": (0.386, 0.441, 0.487, 0.503),
    "TimeXer, L=96 (arXiv 2402.19072)": (0.382, 0.429, 0.468, 0.469),
    "DLinear, L=336 (arXiv 2205.13504)": (0.375, 0.405, 0.439, 0.472),
}

Forecast = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Of all nets: the papers' losses and normalisation, the protocol's validation rows.
_COMMON: dict[str, Any] = {
    "calibration": None,
    "loss": "squared_error",
    "early_stopping": True,
    "validation_fraction": (VALID - TRAIN) / VALID,
    "windows_per_epoch": None,
    "optimizer": "Adam",
    "weight_decay": 0.0,
    "gradient_clip": None,
}

# Without a linear start, as in the papers.
_ALONE = {**_COMMON, "normalization": "instance", "linear_skip": None}

# With the ridge regression to start from; what attention learns has to be worth it.
_SKIP = {**_COMMON, "normalization": "last", "linear_skip": "ols"}

_PATCHTST = {
    "d_model": 16,
    "num_heads": 4,
    "num_layers": 3,
    "d_ff": 128,
    "dropout": 0.3,
    "head_dropout": 0.0,
    "patch_length": 16,
    "stride": 8,
}

# Name: architecture, its parameters, window, the forecaster's parameters.
MODELS: dict[str, tuple[str, dict[str, Any], int, dict[str, Any]]] = {
    "patchtst": (
        "patchtst",
        _PATCHTST,
        336,
        {
            **_ALONE,
            "max_epochs": 20,
            "patience": 6,
            "lr": 1e-3,
            "batch_size": 128,
            "lr_schedule": "one_cycle",
        },
    ),
    "patchtst + skip": (
        "patchtst",
        _PATCHTST,
        512,
        {
            **_SKIP,
            "max_epochs": 15,
            "patience": 4,
            "lr": 1e-4,
            "batch_size": 128,
            "lr_schedule": None,
        },
    ),
    "itransformer": (
        "itransformer",
        {"d_model": 256, "num_heads": 8, "num_layers": 2, "d_ff": 256, "dropout": 0.1},
        96,
        {
            **_ALONE,
            "max_epochs": 10,
            "patience": 3,
            "lr": 1e-4,
            "batch_size": 32,
            "lr_schedule": "cosine",
        },
    ),
    "itransformer + skip": (
        "itransformer",
        {"d_model": 128, "num_heads": 8, "num_layers": 2, "d_ff": 128, "dropout": 0.1},
        512,
        {
            **_SKIP,
            "max_epochs": 15,
            "patience": 4,
            "lr": 1e-4,
            "batch_size": 64,
            "lr_schedule": None,
        },
    ),
    "timexer": (
        "timexer",
        {"d_model": 256, "num_heads": 8, "num_layers": 1, "dropout": 0.1},
        96,
        {
            **_ALONE,
            "max_epochs": 10,
            "patience": 3,
            "lr": 1e-4,
            "batch_size": 32,
            "lr_schedule": "cosine",
        },
    ),
    "tft": (
        "tft",
        {"d_model": 32, "num_heads": 4, "dropout": 0.2},
        96,
        {
            **_ALONE,
            "max_epochs": 10,
            "patience": 3,
            "lr": 1e-3,
            "batch_size": 64,
            "lr_schedule": "one_cycle",
        },
    ),
    "transformer": (
        "transformer",
        {"d_model": 32, "num_heads": 4, "num_layers": 2, "dropout": 0.2},
        96,
        {
            **_ALONE,
            "max_epochs": 10,
            "patience": 3,
            "lr": 1e-3,
            "batch_size": 64,
            "lr_schedule": "one_cycle",
        },
    ),
    "lstm_seq2seq": (
        "lstm_seq2seq",
        {"d_model": 32, "dropout": 0.2},
        96,
        {
            **_ALONE,
            "max_epochs": 5,
            "patience": 2,
            "lr": 1e-3,
            "batch_size": 64,
            "lr_schedule": "one_cycle",
        },
    ),
}

BASELINES = ("naive", "seasonal naive", "ridge", "ridge + intercept")
RIDGE_LENGTH = 512


def read() -> pd.DataFrame:
    """Give the rows of the protocol, standardised by the training rows."""
    frame = fetch_ett("ETTh1").frame.iloc[:TEST]
    seen = frame.iloc[:TRAIN]
    return (frame - seen.mean()) / seen.std(ddof=0)


def windows(frame: pd.DataFrame, horizon: int, start: int, stop: int) -> np.ndarray:
    """Give the targets of all windows whose forecasts lie in [start, stop)."""
    values = frame.to_numpy()[start:stop]
    # (n, channels, horizon)
    return np.lib.stride_tricks.sliding_window_view(values, horizon, axis=0)


def errors(frame: pd.DataFrame, horizon: int, forecast: Forecast) -> dict[str, float]:
    """Compute errors on the validation and the test windows."""
    found = {}
    for part, start, stop in (("valid", TRAIN, VALID), ("test", VALID, TEST)):
        targets = windows(frame, horizon, start, stop)
        origins = np.arange(start - 1, stop - horizon)
        difference = forecast(origins, targets) - targets
        found[f"{part}_mse"] = float(np.square(difference).mean())
        found[f"{part}_mae"] = float(np.abs(difference).mean())
    return found


def naive(frame: pd.DataFrame, horizon: int, period: int) -> Forecast:
    """Repeat the last period."""
    values = frame.to_numpy()
    back = np.arange(horizon) % period - period + 1

    def forecast(origins: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return values[origins[:, None] + back].transpose(0, 2, 1)

    return forecast


def fitted(forecaster: Any, frame: pd.DataFrame, horizon: int) -> Forecast:
    """Fit on training and validation rows, and forecast from many origins."""
    forecaster.fit(frame.iloc[:VALID], fh=range(1, horizon + 1))

    def forecast(origins: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return forecaster._forecast_from(frame, None, {(): origins})[()]

    return forecast


def make(model: str, horizon: int, seed: int, args: Any) -> Any:
    """Make the forecaster of a row."""
    if model.startswith("ridge"):
        return LinearForecaster(
            window_length=RIDGE_LENGTH,
            fit_intercept=model != "ridge",
            calibration=None,
            validation_fraction=_COMMON["validation_fraction"],
            refit=False,
        )
    name, params, length, training = MODELS[model]
    return AttentionForecaster(
        get_architecture(name)(**params),
        window_length=length,
        device=args.device,
        num_threads=args.threads,
        random_state=seed,
        verbose=args.verbose,
        **training,
    )


def measure(model: str, horizon: int, seed: int, args: Any) -> dict[str, Any]:
    """Fit one model and compute its errors."""
    frame = read()
    start = time.perf_counter()
    found: dict[str, Any] = {"fit_seconds": 0.0, "epochs": 0}
    if model in {"naive", "seasonal naive"}:
        period = 1 if model == "naive" else PERIOD
        forecast = naive(frame, horizon, period)
    else:
        forecaster = make(model, horizon, seed, args)
        forecast = fitted(forecaster, frame, horizon)
        found["fit_seconds"] = time.perf_counter() - start
        found["epochs"] = getattr(forecaster, "n_iter_", 0)
    found["device"] = args.device if model in MODELS else "cpu"
    found["windows"] = TEST - VALID - horizon + 1
    return found | errors(frame, horizon, forecast)


def length_of(model: str) -> int:
    """Steps that a model looks back."""
    if model in MODELS:
        return MODELS[model][2]
    return {"naive": 1, "seasonal naive": PERIOD}.get(model, RIDGE_LENGTH)


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Give test errors, averaged over seeds, with the device of each cell."""
    header = ["model", "L", *(f"MSE {h}" for h in HORIZONS), "MAE 96", "seeds", "on"]
    rows = []
    for (model, length), found in results.groups("model", "length").items():
        cells = []
        for horizon in HORIZONS:
            values = [
                float(row["test_mse"])
                for row in found
                if row["horizon"] == str(horizon)
            ]
            cells.append(spread(values, 3) if values else "-")
        maes = [float(row["test_mae"]) for row in found if row["horizon"] == "96"]
        seeds = {row["seed"] for row in found}
        devices = ", ".join(sorted({row["device"] for row in found}))
        mae = spread(maes, 3) if maes else "-"
        rows.append([model, length, *cells, mae, str(len(seeds)), devices])
    for name, figures in PUBLISHED.items():
        model, _, rest = name.partition(", L=")
        length, _, source = rest.partition(" ")
        cells = [f"{figure:.3f}" for figure in figures]
        rows.append([f"{model}, published {source}", length, *cells, "", "", ""])
    return header, rows


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = options(__doc__, seeds=1)
    parser.add_argument("--models", nargs="+", default=[*BASELINES], metavar="NAME")
    parser.add_argument("--horizons", nargs="+", type=int, default=list(HORIZONS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--verbose", type=int, default=0)
    args = parser.parse_args()
    if unknown := set(args.models) - {*BASELINES, *MODELS}:
        parser.error(f"unknown models {unknown}; there are {[*BASELINES, *MODELS]}")
    use_threads(args.threads)
    results = Results("long_horizon", KEY, args.force)
    for model in args.models:
        for horizon in args.horizons:
            for seed in args.seeds if model in MODELS else [0]:
                key = {
                    "data": "ETTh1",
                    "model": model,
                    "length": length_of(model),
                    "horizon": horizon,
                    "seed": seed,
                }
                if results.missing(**key):
                    found = measure(model, horizon, seed, args)
                    results.add(**key, threads=args.threads, **found)
                    sys.stderr.write(f"{key} {found}\n")
    sys.stdout.write(as_text(*table(results)) + "\n")


if __name__ == "__main__":
    main()
