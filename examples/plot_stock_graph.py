"""
Twenty stocks as a graph: do the neighbours know more?
======================================================

Stocks move together, and papers draw graphs of them to forecast one stock from others.
This example forecasts the next day's return of 20 stocks by a net that attends to the
past of each stock, and to other stocks in one of three ways: not at all, along the
edges of a graph of correlations, or by a graph that it learns. The correlations are
those of the training years alone: a graph of all years would know the future.

To see whether a graph could help at all, the same is done on days in random order, in
which nothing is left to forecast, and into which an effect is planted: each stock
follows another one, its leader, a day later. There each graph is worth a lot, most of
all the learned one, which finds most leaders. On the prices themselves no net is closer
to the returns than the forecast that nothing changes, none finds the direction more
often than "up every day", and what a graph changes, 0.2 % of the error at most, another
random seed changes too.

The data are closing prices, downloaded at the first run
(`skattn.datasets.fetch_sp500`). Where they cannot be had, the example says so and goes
on with generated random walks.
"""

# %%
# Returns
# -------
# Differences of logarithms, in per cent. A day is a trading day, so the rows are
# numbered. Everything is fitted on the years to 2017 and tested on those from 2018.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from sktime.performance_metrics.forecasting import MeanAbsoluteError
from sktime.split import ExpandingWindowSplitter

from skattn import (
    AttentionForecaster,
    Graph,
    PretrainedNet,
    backtest,
    record_attention,
)
from skattn.architectures import SpatioTemporalGAT
from skattn.datasets import fetch_sp500

# The tests run this file with SKATTN_FAST=1: few epochs and days, and no download.
FAST = os.environ.get("SKATTN_FAST") == "1"


def random_walks(n_days: int = 3270) -> pd.DataFrame:
    """Generate prices of four sectors, of which nobody can know the next step."""
    rng = np.random.default_rng(0)
    names = [f"{sector}{number}" for sector in "ABCD" for number in range(1, 6)]
    market, own = rng.standard_t(4, (n_days, 1)), rng.standard_t(4, (n_days, 20))
    sectors = rng.standard_t(4, (n_days, 4)).repeat(5, axis=1)
    steps = 0.0004 + 0.006 * (market + sectors + own)
    days = pd.bdate_range(end="2022-12-28", periods=n_days)
    return pd.DataFrame(50 * np.exp(steps.cumsum(axis=0)), days, names)


try:
    source = "closing prices, 2010 to 2022"
    prices = fetch_sp500(download_if_missing=not FAST).frame.dropna()
except (OSError, ImportError) as error:
    source = "generated random walks"
    prices = random_walks()
    print(f"No stock prices, generated random walks instead ({type(error).__name__}).")
prices = prices["2017-06" if FAST else "2010" : "2018-03" if FAST else "2022"]
returns = 100 * np.log(prices).diff().iloc[1:]
n_train = int((returns.index < "2018").sum())
returns = returns.reset_index(drop=True)
names = list(returns.columns)
print(f"{len(names)} stocks: {source}; {n_train} days to train on, ", end="")
print(f"{len(returns) - n_train} to test on")

# %%
# The graph
# ---------
# Each stock is linked to the four with which its returns correlate most. The
# correlation is a feature of the edge.
correlation = returns[:n_train].corr().to_numpy(copy=True)
np.fill_diagonal(correlation, -1)
linked = np.zeros(correlation.shape, dtype=bool)
np.put_along_axis(linked, correlation.argsort(axis=1)[:, -4:], True, axis=1)
linked |= linked.T
graph = Graph.from_scipy(
    sparse.csr_array(np.where(linked, correlation, 0)), nodes=names
)
print(graph)

# %%
# One forecast for each day
# -------------------------
# A net is trained on the training years; then it forecasts each day of the others from
# the ten days before. The net stands alone, without the linear model that
# `AttentionForecaster` has beside it by default.


def trained(
    y: pd.DataFrame, graph: Graph | str | None, seed: int = 0
) -> AttentionForecaster:
    """Train on the training years."""
    architecture = SpatioTemporalGAT(
        d_model=16, num_heads=2, num_layers=1, patch_length=5, graph=graph
    )
    forecaster = AttentionForecaster(
        architecture,
        window_length=10,
        normalization=None,
        linear_skip=None,
        calibration=None,
        max_epochs=1 if FAST else 10,
        lr=0.01,
        random_state=seed,
    )
    return forecaster.fit(y[:n_train], fh=[1])


def forecasts_of(forecaster: AttentionForecaster, y: pd.DataFrame) -> np.ndarray:
    """Forecast each day after the training years, with the weights as they are."""
    start = forecaster.clone().set_params(
        pretrained=PretrainedNet.from_forecaster(forecaster)
    )
    cv = ExpandingWindowSplitter(fh=[1], initial_window=n_train)
    scoring = MeanAbsoluteError()
    results = backtest(start, y, cv=cv, scoring=scoring, return_data=True)
    return np.concatenate(results["y_pred"])  # (days, stocks)


GRAPHS = {"No graph": None, "Correlations": graph, "Learned graph": "learned"}
SEEDS = range(1 if FAST else 2)
nets = {
    name: [trained(returns, one, seed) for seed in SEEDS]
    for name, one in GRAPHS.items()
}
forecasts = {
    name: np.stack([forecasts_of(net, returns) for net in alike])
    for name, alike in nets.items()
}  # (seeds, days, stocks)

# %%
# A world with leaders
# --------------------
# The same days in random order, so that no day tells of the next; then each stock gets
# half of what its leader did the day before. The leader is one of its neighbours in the
# graph of correlations, drawn at random.
rng = np.random.default_rng(0)
leaders = np.array([rng.choice(np.flatnonzero(row)) for row in linked])
shuffled = rng.permutation(returns.to_numpy())
planted = shuffled.copy()
planted[1:] += 0.5 * shuffled[:-1, leaders]
planted = pd.DataFrame(planted, columns=names)
planted_nets = {name: trained(planted, one) for name, one in GRAPHS.items()}
planted_forecasts = {
    name: forecasts_of(net, planted)[None] for name, net in planted_nets.items()
}

# %%
# What it comes to
# ----------------
# The stocks move together, so a day counts as one observation: an interval that took
# each stock and day for a trial of its own would be too narrow. Errors are averaged
# over nets of two seeds. The naive forecast is that nothing changes. A direction is
# only scored where the price moved, and the rule to beat is not a coin but "up every
# day".


def mean_and_margin(days: np.ndarray) -> tuple[float, float]:
    """Average over days, with the half-width of a 95 % interval."""
    days = days[~np.isnan(days)]
    return days.mean(), 1.96 * days.std(ddof=1) / np.sqrt(len(days))


def errors_of(forecast: np.ndarray, y: pd.DataFrame) -> np.ndarray:
    """Compute the mean error of each day, in per cent of that of the naive forecast."""
    truth = y.to_numpy()[n_train:]
    return 100 * np.abs(truth - forecast).mean(axis=(0, 2)) / np.abs(truth).mean()


def against_naive(
    forecasts: dict[str, np.ndarray], y: pd.DataFrame
) -> dict[str, tuple[float, float]]:
    """Compare errors with those of the naive forecast, that no price changes."""
    naive = errors_of(np.zeros((1, 1, 1)), y)
    return {
        name: mean_and_margin(errors_of(forecast, y) - naive)
        for name, forecast in forecasts.items()
    }


def weights_of(net: AttentionForecaster) -> np.ndarray:
    """Average the weights of stocks on stocks, at the end of the training years."""
    (record,) = [one for one in record_attention(net) if one.keys == names]
    return record.weights.mean(axis=(0, 1))


truth = returns.to_numpy()[n_train:]
moved = truth != 0
directions = {}
for name, forecast in {"Up every day": np.ones((1, 1, 1)), **forecasts}.items():
    right = np.where(moved, (forecast > 0) == (truth > 0), np.nan)
    directions[name] = mean_and_margin(100 * np.nanmean(right, axis=(0, 2)))
errors = against_naive(forecasts, returns)
planted_errors = against_naive(planted_forecasts, planted)
gains = {}
for name in ("Correlations", "Learned graph"):
    pairs = zip(forecasts[name], forecasts["No graph"], strict=True)
    gains[name] = [
        (errors_of(one[None], returns) - errors_of(alone[None], returns)).mean()
        for one, alone in pairs
    ]
weights = weights_of(nets["Learned graph"][0])
planted_weights = weights_of(planted_nets["Learned graph"])
found = (planted_weights.argmax(axis=1) == leaders).sum()

print(f"\nMean absolute error of the naive forecast: {np.abs(truth).mean():.2f} %")
print("Errors against it, with 95 % intervals")
for name, (mean, margin) in errors.items():
    print(f"  {name:13s} {mean:+6.2f} % ± {margin:.2f}")
print("Against the net without a graph, for each seed")
for name, by_seed in gains.items():
    print(f"  {name:13s} {', '.join(f'{gain:+.2f} %' for gain in by_seed)}")
print("Direction of the next day right")
for name, (mean, margin) in directions.items():
    print(f"  {name:13s} {mean:6.1f} % ± {margin:.1f}")
print("With planted leaders, errors against the naive forecast")
for name, (mean, margin) in planted_errors.items():
    print(f"  {name:13s} {mean:+6.2f} % ± {margin:.2f}")
print(f"The learned graph finds the leaders of {found} of {len(names)} stocks.")

up, up_margin = directions["Up every day"]
better = [name for name, (mean, margin) in errors.items() if mean + margin < 0]
better += [
    name
    for name in forecasts
    if directions[name][0] - directions[name][1] > up + up_margin
]
if better:
    verdict = f"{' and '.join(sorted(set(better)))} did better here: look for the leak"
else:
    verdict = "no net beats the naive forecast, with a graph or without"
print(f"Finding: {verdict}.")

# %%
# The picture
# -----------
# On the left is what each stock attends to in the learned graphs. The colours are the
# same in both: on the prices the weights are spread, for want of anything to find.
distances = squareform(1 - np.where(np.eye(len(names)), 1, correlation), checks=False)
order = leaves_list(linkage(distances, "average", optimal_ordering=True))
rank = order.argsort()

COLORS = {
    "Up every day": "#999999",
    "No graph": "#000000",
    "Correlations": "#0072B2",
    "Learned graph": "#D55E00",
}
figure, grid = plt.subplot_mosaic(
    [["real", "leaders", name] for name in ("error", "direction", "planted")],
    figsize=(14.5, 5.6),
    layout="constrained",
    width_ratios=[1, 1, 0.9],
    height_ratios=[3, 4, 3],
)
maps = {"real": weights, "leaders": planted_weights}
for panel, matrix in maps.items():
    axes = grid[panel]
    image = axes.imshow(
        matrix[np.ix_(order, order)],
        cmap="Blues",
        vmin=0,
        vmax=max(weights.max(), planted_weights.max()),
    )
    ticks, labels = range(len(names)), [names[at] for at in order]
    axes.set_xticks(ticks, labels, rotation=90, fontsize=8)
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.set_xlabel("stock attended to")
grid["real"].set_ylabel("forecast stock")
grid["real"].set_title("Learned graph of the prices")
grid["leaders"].scatter(
    rank[leaders], rank, s=60, facecolors="none", edgecolors="#D55E00", linewidths=1.5
)
grid["leaders"].set_title("... and of days with planted leaders (circles)")
figure.colorbar(
    image,
    ax=[grid["real"], grid["leaders"]],
    location="bottom",
    shrink=0.5,
    aspect=40,
    label="attention",
)

panels = {"error": errors, "direction": directions, "planted": planted_errors}
for panel, table in panels.items():
    axes = grid[panel]
    for at, (name, (mean, margin)) in enumerate(table.items()):
        axes.errorbar(
            mean, at, xerr=margin, fmt="o", color=COLORS[name], capsize=4, markersize=7
        )
    axes.set_yticks(range(len(table)), table)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)
    axes.axvline(50 if panel == "direction" else 0, color="black", linewidth=0.8)
grid["error"].set_title("Error against the naive forecast, %")
grid["direction"].set_title("Next day's direction right, % (50: a coin)")
grid["direction"].axvspan(
    up - up_margin, up + up_margin, color=COLORS["Up every day"], alpha=0.2
)
grid["planted"].set_title("Error with planted leaders, %")
figure.suptitle(f"{verdict[0].upper()}{verdict[1:]} ({source})", fontweight="bold")
path = Path(__file__).with_name("plot_stock_graph.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
