"""
A backtest: which forecast is best, and how far ahead
=====================================================

One forecast of one week proves little. The example forecasts a day ahead, hour by hour,
from 150 origins of two years of an electric load, by a net, by a ridge regression, and
by two rules that need no fit: the last value, and the value a day ago.
`skattn.backtest` computes all forecasts of a fitted net in one pass; the table is that
of sktime's ``evaluate``, which serves the forecasters that are not skattn's, over the
same folds.

The load is the column HUFL of ETTh1, downloaded at the first run
(`skattn.datasets.fetch_ett`). Where it cannot be had, the example says so and goes on
with a generated one.
"""

# %%
# The load
# --------
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanAbsoluteScaledError
from sktime.split import ExpandingWindowSplitter

from skattn import AttentionForecaster, LinearForecaster, backtest
from skattn.architectures import PatchTST
from skattn.datasets import fetch_ett

# sktime 1.2 warns at each forecaster that it will stop keeping a second copy of the
# data: take that new default now.
BaseForecaster._config["remember_data"] = False

# The tests run this file with SKATTN_FAST=1: few epochs and origins, and no download.
FAST = os.environ.get("SKATTN_FAST") == "1"


def generated_load(n_hours: int = 17_420) -> pd.Series:
    """Generate a load with a daily profile and a drifting level."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2016-07-01", periods=n_hours, freq="h")
    angle = 2 * np.pi * hours.hour / 24
    level = np.zeros(n_hours)
    for at in range(1, n_hours):
        level[at] = 0.97 * level[at - 1] + 0.5 * rng.standard_normal()
    load = 8 + 4 * np.sin(angle - 2) + 2 * np.sin(2 * angle) + level
    return pd.Series(load + rng.standard_normal(n_hours), hours, name="HUFL")


try:
    source = "ETTh1, HUFL"
    y = fetch_ett(download_if_missing=not FAST).frame["HUFL"]
except (OSError, ImportError) as error:
    source = "generated"
    y = generated_load()
    print(f"No ETTh1, a generated load instead ({type(error).__name__}).")
y = y[-2_000:] if FAST else y
print(f"Load ({source}): {len(y)} hours")

# %%
# Folds
# -----
# A bit more than the last 150 days is held out. Origins are 25 hours apart, so that
# each hour of the day is one: with the same hour every day, a forecaster could be good
# at that hour only.
DAY = 24
fh = np.arange(1, DAY + 1)
n_origins = 20 if FAST else 150
cv = ExpandingWindowSplitter(
    fh=fh, initial_window=len(y) - 25 * (n_origins - 1) - DAY, step_length=25
)
scoring = MeanAbsoluteScaledError(sp=DAY)
ours = {
    "PatchTST": AttentionForecaster(
        PatchTST(d_model=16, num_layers=2),
        window_length=7 * DAY,
        windows_per_epoch=500 if FAST else 3000,
        max_epochs=1 if FAST else 10,
        calibration=None,
        random_state=0,
    ),
    "Linear": LinearForecaster(window_length=7 * DAY, calibration=None),
}
rules = {
    "Same hour yesterday": NaiveForecaster(sp=DAY),
    "Last value": NaiveForecaster(),
}
tables = {
    name: backtest(forecaster, y, cv=cv, scoring=scoring, return_data=True)
    for name, forecaster in ours.items()
}
tables |= {
    name: evaluate(
        rule, cv, y, strategy="no-update_params", scoring=scoring, return_data=True
    )
    for name, rule in rules.items()
}

# %%
# Scores
# ------
# The mean absolute error in units of that of "same hour yesterday" on the training
# rows. Neighbouring origins share much of what happens, so the 95 % intervals count
# blocks of ten origins as one observation. Two forecasters err on the same days: what
# tells them apart is the interval of their difference.


def mean_and_margin(origins: np.ndarray) -> tuple[float, float]:
    """Average over origins, with the half-width of a 95 % interval."""
    blocks = origins.reshape(-1, 10).mean(axis=1)
    return blocks.mean(), 1.96 * blocks.std(ddof=1) / np.sqrt(len(blocks))


column = "test_MeanAbsoluteScaledError"
print(f"\nMean absolute scaled error over {n_origins} origins, 1 to {DAY} hours ahead")
for name, table in tables.items():
    mean, margin = mean_and_margin(table[column].to_numpy())
    fit, forecast = table["fit_time"].sum(), 1000 * table["pred_time"].mean()
    print(
        f"  {name:20s} {mean:.3f} ± {margin:.3f}"
        f"   fit {fit:5.1f} s, forecast {forecast:5.1f} ms an origin"
    )

truth = np.stack([part.to_numpy().ravel() for part in tables["PatchTST"]["y_test"]])
forecasts = {
    name: np.stack([part.to_numpy().ravel() for part in table["y_pred"]])
    for name, table in tables.items()
}
errors = {name: np.abs(forecast - truth) for name, forecast in forecasts.items()}
mean, margin = mean_and_margin((errors["PatchTST"] - errors["Linear"]).mean(axis=1))
print(f"PatchTST minus linear: {mean:+.3f} ± {margin:.3f} units of the load")
if abs(mean) <= margin:
    finding = "PatchTST and the linear forecast tie"
elif mean < 0:
    finding = "PatchTST beats the linear forecast"
else:
    finding = "The linear forecast beats PatchTST"
print(f"Finding: {finding}.")

# %%
# By hours ahead, and some forecasts
# ----------------------------------
STYLE = {
    "PatchTST": ("#0072B2", "-"),
    "Linear": ("#D55E00", "--"),
    "Same hour yesterday": ("#009E73", "-."),
    "Last value": ("#666666", ":"),
}
figure, (left, right) = plt.subplots(
    1, 2, figsize=(12, 4.5), layout="constrained", width_ratios=[1, 2]
)
for name, (color, line) in STYLE.items():
    left.plot(fh, errors[name].mean(axis=0), line, color=color, linewidth=2, label=name)
left.set_xlabel("hours ahead")
left.set_xticks([1, 6, 12, 18, 24])
left.set_ylabel("mean absolute error, units of the load")
left.set_ylim(0, None)
left.legend(fontsize="small")
left.set_title(finding)

shown = y[-6 * DAY :]
right.plot(shown.index, shown, color="black", linewidth=1, label="load")
for number, at in enumerate((-5, -3, -1)):
    test = tables["PatchTST"]["y_test"].iloc[at]
    for name in ("PatchTST", "Linear"):
        color, line = STYLE[name]
        right.plot(
            test.index,
            forecasts[name][at],
            line,
            color=color,
            linewidth=2,
            label=None if number else name,
        )
    right.axvline(
        tables["PatchTST"]["cutoff"].iloc[at],
        color="0.5",
        linestyle=":",
        label=None if number else "origin",
    )
low, high = shown.min(), shown.max()
right.set_ylim(low - 0.25 * (high - low), None)  # room for the legend
right.set_ylabel("load (the source names no unit)")
right.tick_params(axis="x", rotation=30)
right.legend(fontsize="small", loc="lower left", ncols=2)
right.set_title(f"A day ahead, from three of {n_origins} origins ({source})")
path = Path(__file__).with_name("plot_backtest.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
