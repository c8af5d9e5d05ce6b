"""
Influenza: a season ahead of its peak, with intervals
=====================================================

Each week of a season, the share of visits to doctors for influenza-like illness is
forecast for the eight weeks to come, as quantiles that are calibrated on held-out
errors. The season is held out; so are, one after the other, the five before it, because
one winter is one observation of a winter. The figure shows what the bands say before,
at and after the peak, and how often the truth fell into them.

The data are those of the Centers for Disease Control and Prevention, downloaded at the
first run (`skattn.datasets.fetch_ili`). Where they cannot be had, the example says so
and goes on with generated winters.
"""

# %%
# Weeks
# -----
# From autumn 2002 on, when reports began to come in all year, until autumn 2019, before
# the pandemic changed who visits a doctor. The three weeks that are missing repeat the
# week before, because sktime's metrics of quantiles take no gaps; they are not scored.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sktime.performance_metrics.forecasting.probabilistic import PinballLoss
from sktime.split import ExpandingWindowSplitter

from skattn import AttentionForecaster, LinearForecaster, backtest
from skattn.architectures import PatchTST
from skattn.datasets import fetch_ili

# The tests run this file with SKATTN_FAST=1: few epochs and seasons, and no download.
FAST = os.environ.get("SKATTN_FAST") == "1"


def generated_winters() -> pd.Series:
    """Generate winters that differ in their peak's height and week."""
    rng = np.random.default_rng(0)
    weeks = pd.date_range("2002-10-05", "2019-09-28", freq="W-SAT")
    share = np.ones(len(weeks))
    for year in range(2002, 2019):
        peak = pd.Timestamp(year + 1, 1, 25) + pd.Timedelta(weeks=rng.normal(0, 3.5))
        distance = (weeks - peak).days / 7
        share += rng.uniform(1.2, 6) * np.exp(-((distance / rng.uniform(5, 8)) ** 2))
    noise = np.exp(0.05 * rng.standard_normal(len(weeks)))
    return pd.Series(share * noise, weeks, name="% WEIGHTED ILI")


try:
    source = "CDC, United States"
    share = fetch_ili(download_if_missing=not FAST).target["2002-10-05":"2019-09-28"]
except (OSError, ImportError) as error:
    source = "generated winters"
    share = generated_winters()
    print(f"No influenza data, generated winters instead ({type(error).__name__}).")
print(f"Influenza-like illness ({source}): {len(share)} weeks")

# %%
# Backtest, season by season
# --------------------------
# A net is fitted on all weeks before October and forecasts from each week of the
# season; then it is fitted again. On the logarithm, errors are relative to the level,
# and the quantiles of the logarithm are the logarithms of the quantiles. The shares are
# the final ones: in the week itself, reports still came in, and forecasts were harder.
FH = np.arange(1, 9)
LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]
y = np.log(share).ffill()
n_seasons = 1 if FAST else 6
first = share.index.searchsorted(pd.Timestamp(2019 - n_seasons, 10, 1))
forecaster = AttentionForecaster(
    PatchTST(d_model=16, num_layers=2, patch_length=8, stride=4),
    window_length=104,
    likelihood="quantile",
    max_epochs=1 if FAST else 15,
    random_state=0,
)
cv = ExpandingWindowSplitter(fh=FH, initial_window=first)
results = backtest(
    forecaster,
    y,
    cv=cv,
    refit=52,
    scoring=PinballLoss(alpha=LEVELS),
    return_data=True,
)
column = next(name for name in results if name.startswith("y_pred_quantiles"))
# (origins, weeks ahead, levels)
quantiles = np.exp(np.stack([frame.to_numpy() for frame in results[column]]))
truth = np.stack([share[part.index] for part in results["y_test"]])

# %%
# Coverage
# --------
# How many weeks fell into the 90 % interval: over the season shown, and over each of
# the others. Neighbouring weeks err together, so seasons scatter far more than their
# number of weeks suggests.
known = np.isfinite(truth)
inside = (quantiles[..., 0] <= truth) & (truth <= quantiles[..., -1])
origins = pd.DatetimeIndex(results["cutoff"])
season = (origins - pd.Timedelta(weeks=38)).year  # in which it begins
print(f"\n90 % intervals, 1 to {len(FH)} weeks ahead: weeks that fell into them")
by_season = {}
for year in season.unique():
    chosen = season == year
    by_season[year] = inside[chosen][known[chosen]].mean()
    print(f"  season {year}/{(year + 1) % 100}: {by_season[year]:.0%}")
covered = inside[known].mean()
print(f"  together:       {covered:.0%}")

linear = backtest(
    LinearForecaster(window_length=104, calibration=None),
    y,
    cv=cv,
    refit=52,
    return_data=True,
)
linear = np.exp(np.stack([part.to_numpy() for part in linear["y_pred"]]))
filled = share.ffill().to_numpy()
rows = share.index.searchsorted(origins)[:, None]
print("\nMean absolute error, percentage points")
errors = {
    "PatchTST, median": np.abs(truth - quantiles[..., LEVELS.index(0.5)]),
    "linear": np.abs(truth - linear),
    "last week's share": np.abs(truth - filled[rows]),
    "same week last year": np.abs(truth - filled[rows + FH - 52]),
}
for name, table in errors.items():
    print(f"  {name:20s} {np.nanmean(table):.3f}")

# %%
# The season
# ----------
# Bands of 50, 80 and 90 % from three weeks of the last season, and the coverage for
# each number of weeks ahead: over all seasons, and of each alone.
BLUES = ["#CFE3F1", "#8FBFDF", "#4F93C4"]
figure, (left, right) = plt.subplots(
    1, 2, figsize=(12, 4.5), layout="constrained", width_ratios=[2, 1]
)
winter = share[pd.Timestamp(2018, 10, 1) : pd.Timestamp(2019, 7, 15)]
left.plot(
    winter.index,
    winter,
    "o-",
    color="black",
    markersize=3,
    label="reported",
    zorder=3,
)
widths = []
for number, start in enumerate(["2018-11-17", "2019-01-19", "2019-03-16"]):
    at = origins.get_loc(pd.Timestamp(start))
    times = origins[at] + pd.to_timedelta(7 * FH, unit="D")
    bands = quantiles[at]
    widths.append(f"{bands[-1, -1] - bands[-1, 0]:.1f}")
    for low, coverage in enumerate([90, 80, 50]):
        left.fill_between(
            times,
            bands[:, low],
            bands[:, -1 - low],
            color=BLUES[low],
            linewidth=0,
            label=None if number else f"{coverage} % interval",
        )
    left.plot(
        times, bands[:, 3], color="#D55E00", label=None if number else "median forecast"
    )
    left.axvline(
        origins[at],
        color="0.5",
        linestyle=":",
        label=None if number else "last week known",
    )
left.set_ylabel("visits for influenza-like illness, %")
left.set_ylim(0, None)
left.legend(loc="upper right", fontsize="small")
left.set_title(
    f"Season 2018/19 ({source}), forecast three times:\n90 % intervals eight weeks "
    f"ahead are {', '.join(widths[:2])} and {widths[2]} points wide"
)

for year in season.unique():
    chosen = season == year
    right.plot(
        FH,
        100 * np.nanmean(np.where(known, inside, np.nan)[chosen], axis=0),
        color="0.75",
        label="each season" if year == season[0] else None,
    )
by_step = 100 * np.nanmean(np.where(known, inside, np.nan), axis=0)
right.plot(FH, by_step, "o-", color="#0072B2", label="all seasons")
right.axhline(90, color="black", linestyle="--", label="aim")
right.set_xlabel("weeks ahead")
right.set_ylabel("weeks inside the 90 % interval, %")
right.set_ylim(None, 101)
right.legend(loc="lower left", fontsize="small")
low, high = 100 * min(by_season.values()), 100 * max(by_season.values())
right.set_title(
    f"The 90 % intervals held {100 * covered:.0f} %:\n{low:.0f} to {high:.0f} % "
    "in single seasons"
)
path = Path(__file__).with_name("plot_influenza.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
