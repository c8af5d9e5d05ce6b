"""
A panel of shops: covariates, and shops that opened later
=========================================================

One net is trained on the daily sales of 20 shops and sees, beside them, what a planner
knows: promotions and holidays of the days to come, footfall up to today, and of each
shop its kind and floor area. Then it forecasts four shops that it has never seen, with
ten weeks of sales each. The example compares the error with and without covariates.

The shops are generated, so that it is known what there is to find: a promotion lifts
toys by 60 %, groceries by 10 %; a holiday closes groceries for half a day; and footfall
shows the demand of a neighbourhood with less noise than sales do. How much covariates
help here says nothing of other data.
"""

# %%
# Shops
# -----
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
from sktime.split import ExpandingWindowSplitter

from skattn import AttentionForecaster, LinearForecaster, backtest
from skattn.architectures import TFT

# sktime 1.2 warns at each forecaster that it will stop keeping a second copy of the
# data: take that new default now.
BaseForecaster._config["remember_data"] = False

# The tests run this file with SKATTN_FAST=1: fewer shops, days and epochs.
FAST = os.environ.get("SKATTN_FAST") == "1"
# By kind: log effects of a promotion and of a holiday.
KINDS = {"grocery": (0.10, -0.70), "toys": (0.47, 0.20), "garden": (0.25, 0.0)}
WEEK = {
    "grocery": [0.0, 0.0, 0.0, 0.1, 0.3, 0.4, -0.6],
    "toys": [-0.2, -0.2, -0.1, 0.0, 0.2, 0.6, -0.4],
    "garden": [-0.3, -0.3, -0.2, -0.1, 0.2, 0.5, 0.2],
}


def generate(n_shops: int, n_days: int) -> pd.DataFrame:
    """Generate shops: log sales in the first column, covariates in the others."""
    rng = np.random.default_rng(0)
    days = pd.date_range(end="2024-12-08", periods=n_days)
    holidays = rng.random(n_days) < 0.04
    shops = {}
    for number in range(n_shops):
        kind = list(KINDS)[number % len(KINDS)]
        lift, closing = KINDS[kind]
        area = rng.lognormal(5.5, 0.6)
        promoted = np.repeat(rng.random(n_days // 7 + 1) < 0.25, 7)[:n_days]
        # Demand drifts by a few per cent a day and comes back within weeks.
        demand = np.zeros(n_days)
        for day in range(1, n_days):
            demand[day] = 0.95 * demand[day - 1] + 0.06 * rng.standard_normal()
        log_sales = (
            np.log(area)
            + np.array(WEEK[kind])[days.dayofweek]
            + demand
            + lift * promoted
            + closing * holidays
            + 0.12 * rng.standard_normal(n_days)
        )
        shops[f"{kind} {number:02d}"] = pd.DataFrame(
            {
                "log sales": log_sales,
                "promotion": promoted.astype(float),
                "holiday": np.where(holidays, "holiday", "workday"),
                "weekday": days.day_name(),
                "log footfall": demand + 0.04 * rng.standard_normal(n_days),
                "kind": kind,
                "log area": np.log(area),
            },
            index=days,
        )
    return pd.concat(shops, names=["shop", "day"])


HORIZON, TEST_DAYS, HISTORY = 14, 84, 70
table = generate(9 if FAST else 24, 300 if FAST else 600)
shops = table.index.unique("shop")
days = table.index.unique("day")
last_day = days[-TEST_DAYS - 1]
is_new = table.index.get_level_values("shop").isin(shops[-4:])
time = table.index.get_level_values("day")
seen = table[~is_new]
new = table[is_new & (time >= days[-TEST_DAYS - HISTORY])]
print(f"{len(shops) - 4} shops to train on, {len(days) - TEST_DAYS} days each")
print(f"4 new shops, {HISTORY} days each; {TEST_DAYS} days of all are held out")

# %%
# Training
# --------
# Columns of X are known in the future unless they are named: footfall is known up to
# today, kind and area never change. Text is a category. ``pretrain`` trains on the
# shops seen, up to the last day before the test; what ``fit`` does after it is to take
# other shops in, without any training. To the net, their identity is "unknown"; their
# kind and area are not.
KNOWN = ["promotion", "holiday", "weekday"]
forecaster = AttentionForecaster(
    TFT(d_model=16),
    window_length=28,
    past_covariates=["log footfall"],
    static_covariates=["kind", "log area"],
    windows_per_epoch=500 if FAST else 3000,
    max_epochs=1 if FAST else 8,
    batch_size=128,
    calibration=None,
    random_state=0,
)
without = forecaster.clone().set_params(past_covariates=None, static_covariates=None)
fh = np.arange(1, HORIZON + 1)
past = seen[seen.index.get_level_values("day") <= last_day]
forecaster.pretrain(past[["log sales"]], X=past.drop(columns="log sales"), fh=fh)
without.pretrain(past[["log sales"]], fh=fh)

# %%
# Backtest
# --------
# Every fortnight of the held-out days. The linear forecaster cannot be pretrained: it
# learns from the shops that it forecasts, and takes known covariates only.
NAIVE = "Same day last week"
linear = LinearForecaster(window_length=28, calibration=None)
rivals = {
    "Linear": (linear, []),
    "Linear, promotions and holidays": (linear, KNOWN),
    "TFT": (without, []),
    "TFT, all covariates": (forecaster, list(table.columns[1:])),
}
errors, forecasts = {}, {}
for panel, rows in {"seen": seen, "new": new}.items():
    y = rows[["log sales"]]
    cv = ExpandingWindowSplitter(
        fh=fh,
        initial_window=y.index.unique("day").get_loc(last_day) + 1,
        step_length=HORIZON,
    )
    for name, (one, columns) in rivals.items():
        X = rows[columns] if columns else None
        results = backtest(one, y, X, cv=cv, return_data=True)
        forecasts[name, panel] = pd.concat(list(results["y_pred"]))
    naive = evaluate(NaiveForecaster(sp=7), cv, y, return_data=True)
    forecasts[NAIVE, panel] = pd.concat(list(naive["y_pred"]))
    truth = pd.concat(list(naive["y_test"]))
    for name in [NAIVE, *rivals]:
        error = (forecasts[name, panel] - truth)["log sales"].abs()
        errors[name, panel] = 100 * error.mean()

print(f"\nMean absolute error of log sales x 100 (about %), 1 to {HORIZON} days ahead")
print(f"  {'':32s} seen shops  new shops")
for name in [NAIVE, *rivals]:
    print(f"  {name:32s} {errors[name, 'seen']:10.1f} {errors[name, 'new']:10.1f}")

# %%
# One new shop, and all errors
# ----------------------------
# On the left, four weeks of a new shop, forecast twice. What knows of promotions jumps
# with them; what does not can only follow the sales of the weeks before.
BLUE, ORANGE = "#0072B2", "#D55E00"
shop = next(shop for shop in shops[-4:] if shop.startswith("toys"))
shown = days[-2 * HORIZON :]
figure, (left, right) = plt.subplots(
    1, 2, figsize=(12, 4.5), layout="constrained", width_ratios=[3, 2]
)
part = new.loc[shop].loc[days[-4 * HORIZON] :]
left.plot(part.index, np.exp(part["log sales"]), ".-", color="black", label="sales")
for name, color, marker in [("TFT", ORANGE, "s-"), ("TFT, all covariates", BLUE, "o-")]:
    forecast = np.exp(forecasts[name, "new"].loc[shop].loc[shown, "log sales"])
    for start in (0, HORIZON):
        left.plot(
            forecast.index[start : start + HORIZON],
            forecast[start : start + HORIZON],
            marker,
            color=color,
            markersize=4,
            label=None if start else name,
        )
for column, value, color, label in [
    ("promotion", 1.0, "0.9", "promotion"),
    ("holiday", "holiday", "#F0E442", "holiday"),
]:
    marked = part.index[part[column] == value]
    for number, day in enumerate(marked):
        half = pd.Timedelta(hours=12)
        left.axvspan(
            day - half,
            day + half,
            color=color,
            linewidth=0,
            zorder=0,
            label=None if number else label,
        )
for start in (shown[0], shown[HORIZON]):
    left.axvline(start - pd.Timedelta(hours=12), color="0.4", linestyle=":")
left.set_ylabel("sales, items a day")
left.tick_params(axis="x", rotation=30)
left.set_ylim(0, 1.3 * left.get_ylim()[1])
left.legend(loc="upper right", fontsize="small", ncols=2)
left.set_title(f"A shop never seen ({shop}), forecast at the dotted lines")

names = [NAIVE, *rivals]
for panel, color, marker in [("seen", BLUE, "o"), ("new", ORANGE, "D")]:
    values = [errors[name, panel] for name in names]
    right.plot(
        values, range(len(names)), marker, color=color, label=f"{panel} shops", ms=8
    )
right.set_yticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
right.set_ylim(len(names) - 0.5, -0.5)
right.set_xlim(0, 1.1 * max(errors.values()))
right.grid(axis="x", color="0.9")
right.set_xlabel(f"mean absolute error 1 to {HORIZON} days ahead, about %")
right.legend(loc="lower left")
gain = 100 * (1 - errors["TFT, all covariates", "new"] / errors["TFT", "new"])
right.set_title(f"Covariates: {gain:.0f} % less error in new shops")
path = Path(__file__).with_name("plot_panel_covariates.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
