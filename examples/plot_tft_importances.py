"""
What a Temporal Fusion Transformer says it looks at
===================================================

The Temporal Fusion Transformer weighs its variables at each step, and these weights are
often read as importances. The example records them with `skattn.record_attention` on
generated buildings, of which it is known what matters: the heating load follows the
temperature, events and the number of guests; wind and traffic have no effect at all.
Beside the weights stands what a variable is worth to the forecast: how much the error
grows when each building is given that variable of another one.

Weights are not proof. A decoy may get a large one, because the net can multiply it by
nothing afterwards, and the order changes with the seed: try ``random_state=1``. The
error does not have that problem: it says what the forecast would lose.
"""

# %%
# Buildings
# ---------
# Eight steps of three hours a day. Each building has a daily profile of its own, which
# the net can only find in its past load.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Patch
from sktime.performance_metrics.forecasting import MeanAbsoluteError
from sktime.split import ExpandingWindowSplitter

from skattn import AttentionForecaster, backtest, record_attention
from skattn.architectures import TFT

# The tests run this file with SKATTN_FAST=1: fewer buildings, days and epochs.
FAST = os.environ.get("SKATTN_FAST") == "1"
MATTERS = {"load", "temperature", "event", "guests"}


def drift(rng: np.random.Generator, persistence: float, n_steps: int) -> np.ndarray:
    """Generate a series of variance one that returns to zero slowly."""
    steps = np.sqrt(1 - persistence**2) * rng.standard_normal(n_steps)
    for at in range(1, n_steps):
        steps[at] += persistence * steps[at - 1]
    return steps


def generate(n_buildings: int, n_days: int) -> pd.DataFrame:
    """Generate the load of buildings, and covariates with and without an effect."""
    rng = np.random.default_rng(0)
    n_steps = 8 * n_days
    times = pd.date_range("2025-01-06", periods=n_steps, freq="3h")
    buildings = {}
    for number in range(n_buildings):
        profile = np.tile(rng.standard_normal(8), n_days)
        temperature, wind = (drift(rng, 0.9, n_steps) for _ in range(2))
        guests, traffic = (drift(rng, 0.97, n_steps) for _ in range(2))
        event = np.repeat(rng.random(n_steps // 4) < 0.15, 4)
        noise = 0.3 * rng.standard_normal(n_steps)
        buildings[f"building {number:02d}"] = pd.DataFrame(
            {
                "load": 1.2 * profile - temperature + guests + 1.5 * event + noise,
                "temperature": temperature,
                "wind": wind,
                "event": np.where(event, "event", "none"),
                "guests": guests,
                "traffic": traffic,
            },
            index=times,
        )
    return pd.concat(buildings, names=["building", "time"])


table = generate(8 if FAST else 20, 40 if FAST else 150)
y, X = table[["load"]], table.drop(columns="load")
times = table.index.unique("time")
n_test = 80 if FAST else 160
is_past = table.index.get_level_values("time") < times[-n_test]
print(f"{len(table.index.unique('building'))} buildings, {len(times)} steps each")
print(f"Held out: the last {n_test} steps")

# %%
# Training
# --------
# Without the linear model that `AttentionForecaster` has beside the net by default: it
# would take over most of the effects, and the weights would tell of the rest. Guests
# and traffic are known up to the present only; temperature, wind and events are planned
# or forecast.
LENGTH, HORIZON = 32, 8
fh = np.arange(1, HORIZON + 1)
forecaster = AttentionForecaster(
    TFT(d_model=16),
    window_length=LENGTH,
    linear_skip=None,
    past_covariates=["guests", "traffic"],
    windows_per_epoch=300 if FAST else 2000,
    max_epochs=1 if FAST else 15,
    lr=0.01,
    calibration=None,
    random_state=0,
)
forecaster.pretrain(y[is_past], X=X[is_past], fh=fh)

# %%
# Weights
# -------
# One window for each building: the last one before the steps that are held out.
# ``fit`` after ``pretrain`` only takes the series in. The layers "past" and "future"
# select variables; the layer "attention" weighs steps.
forecaster.fit(y[is_past], X=X[is_past], fh=fh)
records = record_attention(forecaster, X[~is_past])
weights = {
    record.layer: pd.DataFrame(
        record.weights.mean(axis=(1, 2)), columns=record.keys
    )  # (buildings, variables)
    for record in records
    if record.kind == "selection"
}
for layer in ("past", "future"):
    print(f"\nMean selection weights, {layer} variables")
    for name, weight in weights[layer].mean().sort_values(ascending=False).items():
        remark = "" if name in MATTERS else "  (has no effect)"
        print(f"  {name:12s} {weight:.2f}{remark}")

attention = records[-1].weights.mean(axis=(0, 1))  # (horizon, window + horizon)
lag = LENGTH + np.arange(HORIZON)[:, None] - np.arange(LENGTH + HORIZON)
lags = np.arange(LENGTH + 1)
by_lag = np.array([attention[lag == one].mean() for one in lags])
last_day = attention[lag <= 8].sum() / HORIZON
print(f"\nAttention to the day before the step that is forecast: {last_day:.0%}")

# %%
# Worth
# -----
# Each building with one variable of the next building: as likely a series as its own,
# but of somebody else. The net is not trained again.
cv = ExpandingWindowSplitter(fh=fh, initial_window=len(times) - n_test, step_length=5)


def error(X: pd.DataFrame) -> float:
    """Give the mean absolute error on the steps held out."""
    results = backtest(forecaster, y, X, cv=cv, scoring=MeanAbsoluteError())
    return results["test_MeanAbsoluteError"].mean()


best = error(X)
worth = {}
for name in X:
    swapped = X.assign(**{name: np.roll(X[name].to_numpy(), len(times))})
    worth[name] = 100 * (error(swapped) / best - 1)
print(f"\nMean absolute error {best:.3f}; with the variable of another building")
for name, growth in sorted(worth.items(), key=lambda item: -item[1]):
    remark = "" if name in MATTERS else "  (has no effect)"
    print(f"  {name:12s} {growth:+6.1f} %{remark}")

# %%
# Side by side
# ------------
# Blue has an effect, orange has none.
BLUE, ORANGE = "#0072B2", "#D55E00"


def bars(axes: plt.Axes, values: pd.Series) -> None:
    """Draw sorted bars, coloured by what is known to matter."""
    values = values.sort_values()
    colors = [BLUE if name in MATTERS else ORANGE for name in values.index]
    hatches = ["" if name in MATTERS else "///" for name in values.index]
    axes.barh(values.index, values, color=colors, hatch=hatches, edgecolor="white")


figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), layout="constrained")
for side, layer in zip(axes[0], ("past", "future"), strict=True):
    bars(side, weights[layer].mean())
    side.set_xlabel("mean selection weight")
    side.set_xlim(0, 1)
    decoys = weights[layer].mean().drop(list(MATTERS), errors="ignore")
    side.set_title(
        f"{layer.title()}: {100 * decoys.sum():.0f} % of the weight on decoys"
    )
bars(axes[1, 0], pd.Series(worth))
axes[1, 0].set_xlabel("growth of the error with another building's variable, %")
least = max(abs(worth[name]) for name in worth if name not in MATTERS)
axes[1, 0].set_title(f"Worth to the forecast: decoys within {least:.1f} %")
axes[0, 1].legend(
    handles=[
        Patch(color=BLUE, label="has an effect"),
        Patch(facecolor=ORANGE, edgecolor="white", hatch="///", label="decoy"),
    ],
    loc="lower right",
)
even = 1 / (LENGTH + HORIZON / 2)
axes[1, 1].plot(lags / 8, by_lag, "o-", color=BLUE, markersize=4, label="attention")
axes[1, 1].axhline(even, color="0.5", linestyle="--", label="all steps alike")
axes[1, 1].set_ylim(0, None)
axes[1, 1].set_xlabel("days before the step that is forecast")
axes[1, 1].set_ylabel("mean weight")
axes[1, 1].legend()
axes[1, 1].set_title(f"{100 * last_day:.0f} % of the attention within one day")
figure.suptitle(
    "Selection weights are a hint; the error tells what a variable is worth",
    fontweight="bold",
)
path = Path(__file__).with_name("plot_tft_importances.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
