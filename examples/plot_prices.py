"""
Stock prices: does a net beat yesterday's price?
================================================

The forecast of a price by an LSTM, drawn over the price itself, looks convincing; so
does yesterday's price. This example measures what the picture hides, in a walk-forward
backtest: the error relative to the naive forecast, and how often the direction of the
next day is right, both with 95 % intervals.

The data are closing prices of six stocks, downloaded at the first run
(`skattn.datasets.fetch_sp500`). Where they cannot be had, the example says so and goes
on with generated random walks, which show the same picture.
"""

# %%
# Prices
# ------
# Logarithms make steps of one per cent equal at all levels. A day is a trading day, so
# the rows are numbered.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sktime.performance_metrics.forecasting import MeanAbsoluteError
from sktime.split import ExpandingWindowSplitter

from skattn import AttentionForecaster, LinearForecaster, backtest
from skattn.architectures import LSTMSeq2Seq
from skattn.datasets import fetch_sp500

# The tests run this file with SKATTN_FAST=1: few epochs and days, and no download.
FAST = os.environ.get("SKATTN_FAST") == "1"
STOCKS = ["AAPL", "GE", "JPM", "KO", "MRK", "XOM"]


def random_walks(n_days: int = 3270) -> pd.DataFrame:
    """Generate prices of which nobody can know the next step."""
    rng = np.random.default_rng(0)
    calm = np.exp(np.sin(np.arange(n_days) / 120) / 2)[:, None]
    market, own = rng.standard_t(4, (n_days, 1)), rng.standard_t(4, (n_days, 6))
    steps = 0.0004 + 0.006 * calm * (market + own)
    days = pd.bdate_range(end="2022-12-28", periods=n_days)
    return pd.DataFrame(50 * np.exp(steps.cumsum(axis=0)), days, STOCKS)


try:
    source = "closing prices, 2010 to 2022"
    prices = fetch_sp500(download_if_missing=not FAST).frame[STOCKS].dropna()
except (OSError, ImportError) as error:
    source = "generated random walks"
    prices = random_walks()
    print(f"No stock prices, generated random walks instead ({type(error).__name__}).")
prices = prices["2018" if FAST else "2010" :]
y = np.log(prices).reset_index(drop=True)
print(f"{', '.join(STOCKS)}: {source}, {len(y)} trading days")

# %%
# Walk forward
# ------------
# Each forecaster is fitted on the days before a year of trading and forecasts each next
# day of that year; then it is fitted again, with that year. The LSTM with attention
# stands alone, without the linear model that `AttentionForecaster` has beside it by
# default, as in the tutorials that this example answers.
YEAR = 252
n_test = 60 if FAST else 4 * YEAR
cv = ExpandingWindowSplitter(fh=[1], initial_window=len(y) - n_test)
forecasters = {
    "LSTM": AttentionForecaster(
        LSTMSeq2Seq(d_model=32),
        window_length=20,
        linear_skip=None,
        calibration=None,
        max_epochs=1 if FAST else 15,
        random_state=0,
    ),
    "Linear": LinearForecaster(window_length=20, calibration=None),
}
today = y.to_numpy()[-n_test - 1 : -1]  # (days, stocks)
truth = y.to_numpy()[-n_test:]
dates = prices.index[-n_test:]
forecasts = {"Naive": today}
for name, forecaster in forecasters.items():
    results = backtest(
        forecaster,
        y,
        cv=cv,
        refit=YEAR,
        scoring=MeanAbsoluteError(),
        return_data=True,
    )
    forecasts[name] = np.concatenate(results["y_pred"])

# %%
# What it comes to
# ----------------
# The six stocks move together, so a day counts as one observation: an interval that
# took each stock and day for a trial of its own would be too narrow. A direction is
# only scored where the price moved. Prices rise in the long run, so the rule to beat is
# not a coin but "up every day".


def mean_and_margin(days: np.ndarray) -> tuple[float, float]:
    """Average over days, with the half-width of a 95 % interval."""
    days = days[~np.isnan(days)]
    return days.mean(), 1.96 * days.std(ddof=1) / np.sqrt(len(days))


moved = truth != today
naive = np.abs(truth - today).mean(axis=1)
errors, directions = {}, {}
for name, forecast in forecasts.items():
    if name != "Naive":
        worse = np.abs(truth - forecast).mean(axis=1) - naive
        errors[name] = mean_and_margin(100 * worse / naive.mean())
    guess = np.ones_like(today) if name == "Naive" else np.sign(forecast - today)
    right = np.where(moved, guess == np.sign(truth - today), np.nan)
    label = "Up every day" if name == "Naive" else name
    directions[label] = mean_and_margin(100 * np.nanmean(right, axis=1))

print(f"\nThe last {n_test} trading days, one day ahead, with 95 % intervals")
print(f"Mean absolute error of the naive forecast: {100 * naive.mean():.2f} %")
for name, (mean, margin) in errors.items():
    print(f"  {name:13s} {mean:+6.2f} % ± {margin:.2f} against it")
print("Direction of the next day right")
for name, (mean, margin) in directions.items():
    print(f"  {name:13s} {mean:6.1f} % ± {margin:.1f}")
up, up_margin = directions["Up every day"]
helps = [name for name, (mean, margin) in errors.items() if mean + margin < 0]
helps += [
    name
    for name in forecasters
    if directions[name][0] - directions[name][1] > up + up_margin
]
if helps:
    verdict = f"{' and '.join(sorted(set(helps)))} did better here: look for the leak"
else:
    verdict = "neither model beats yesterday's price"
print(f"Finding: {verdict}.")

# %%
# The picture, and what is in it
# ------------------------------
# On the left, the forecast follows the price; it does so a day late, as the naive one
# does. On the right is the evidence.
COLORS = {
    "Naive": "#999999",
    "Up every day": "#999999",
    "LSTM": "#0072B2",
    "Linear": "#D55E00",
}
figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(12, 4), layout="constrained", width_ratios=[2, 1, 1]
)
shown = slice(-40, None)
left.plot(
    dates[shown],
    np.exp(truth[shown, 0]),
    "o-",
    color="black",
    markersize=3,
    label="price",
)
left.plot(
    dates[shown],
    np.exp(forecasts["LSTM"][shown, 0]),
    color=COLORS["LSTM"],
    label="LSTM, made the day before",
)
left.plot(
    dates[shown],
    np.exp(today[shown, 0]),
    ":",
    color=COLORS["Naive"],
    linewidth=2.5,
    label="price of the day before",
)
left.set_ylabel(f"{STOCKS[0]}, US dollars")
left.tick_params(axis="x", rotation=30)
left.legend()
left.set_title("It looks like a forecast, and lags by a day")

for axes, table, base in ((middle, errors, 0.0), (right, directions, 50.0)):
    for at, (name, (mean, margin)) in enumerate(table.items()):
        axes.errorbar(
            mean, at, xerr=margin, fmt="o", color=COLORS[name], capsize=4, markersize=7
        )
    axes.set_yticks(range(len(table)), table, rotation=90, va="center")
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.axvline(base, color="black", linewidth=0.8)
middle.set_xlabel("error against the naive forecast, %\n(right of 0: worse)")
middle.set_title("Error")
right.axvspan(up - up_margin, up + up_margin, color=COLORS["Naive"], alpha=0.2)
right.set_xlabel("next day's direction right, %\n(50: a coin)")
right.set_title("Direction")
figure.suptitle(f"{verdict[0].upper()}{verdict[1:]} ({source})", fontweight="bold")
path = Path(__file__).with_name("plot_prices.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
