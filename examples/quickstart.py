"""
Quickstart: a table, a series, and the plugins that serve them
==============================================================

The main job of skattn from end to end: penguins with categories and missing values
through a Pipeline and a grid search, airline passengers through an sktime pipeline with
prediction intervals and a backtest, and a figure of both.
"""

# %%
# What is installed
# -----------------
# Every architecture comes through an entry point, ours like anybody's.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sktime.datasets import load_airline
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanAbsolutePercentageError
from sktime.performance_metrics.forecasting.probabilistic import EmpiricalCoverage
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.series.boxcox import LogTransformer

import skattn
from skattn.architectures import SelfAttention
from skattn.datasets import load_penguins

# sktime 1.2 warns at each forecaster that it will stop keeping a second copy of the
# data: take that new default now.
BaseForecaster._config["remember_data"] = False

# The tests run this file with SKATTN_FAST=1: fewer epochs and candidates.
FAST = os.environ.get("SKATTN_FAST") == "1"

print("Installed architectures:", ", ".join(skattn.list_architectures()))

# %%
# A table
# -------
# Strings and categories are embedded, missing values have a meaning of their own: the
# frame goes in as it is. The search runs over architectures and inside one.
X, y = load_penguins(return_X_y=True)
print(f"\nPenguins: {X.shape[0]} rows, {int(X.isna().sum().sum())} values missing")
X_train, X_test, y_train, y_test = train_test_split(
    X, y, stratify=y, test_size=0.3, random_state=0
)
pipeline = make_pipeline(
    make_column_transformer(
        ("drop", ["year"]), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas"),
    # Without a linear model beside it, so that the search compares attention alone.
    skattn.AttentionClassifier(
        linear_skip=False, max_epochs=5 if FAST else 30, random_state=0
    ),
)
name = "attentionclassifier__architecture"
search = GridSearchCV(
    pipeline,
    [
        {name: ["self_attention", "temporal_attention", "bidirectional_attention"]},
        {name: [SelfAttention()], f"{name}__num_heads": [1] if FAST else [1, 2, 8]},
    ],
    scoring="neg_log_loss",
    cv=2 if FAST else 3,
)
search.fit(X_train, y_train)
for params, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    chosen = ", ".join(f"{k.rpartition('__')[2]}={v}" for k, v in params.items())
    print(f"  log loss {-score:.4f}: {chosen}")
accuracy = accuracy_score(y_test, search.predict(X_test))
print(f"Test accuracy of the best: {accuracy:.3f}")

records = skattn.record_attention(search, X_test)
print("Attention recorded:", *records, sep="\n  ")

# %%
# A series
# --------
# The forecaster is sktime's: it takes transformers before it, gives intervals, and is
# backtested like any other. The last 36 months are held out.
series = load_airline()
fh = np.arange(1, 13)
forecaster = TransformedTargetForecaster(
    [
        ("log", LogTransformer()),
        (
            "forecaster",
            skattn.AttentionForecaster(
                "temporal_attention", max_epochs=2 if FAST else 20, random_state=0
            ),
        ),
    ]
)
forecaster.fit(series[:-36], fh=fh)
forecast = forecaster.predict()
interval = forecaster.predict_interval(coverage=0.9).droplevel([0, 1], axis=1)

smape = MeanAbsolutePercentageError(symmetric=True)
splitter = ExpandingWindowSplitter(fh, initial_window=len(series) - 36, step_length=12)
ours = evaluate(
    forecaster,
    splitter,
    series,
    scoring=[smape, EmpiricalCoverage(coverage=0.9)],
    error_score="raise",
)
naive = evaluate(NaiveForecaster(sp=12), splitter, series, scoring=smape)
column = f"test_{type(smape).__name__}"
print("\nAirline passengers, three years ahead in steps of twelve months")
print(f"  sMAPE, seasonal naive: {naive[column].mean():.4f}")
print(f"  sMAPE, skattn:         {ours[column].mean():.4f}")
print(f"  90 % intervals cover:  {ours['test_EmpiricalCoverage'].mean():.0%}")

# %%
# One figure
# ----------
# Left, where the token that is read out looks, for each species; right, the forecast.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
readout = records[-1]
weights = readout.weights.mean(axis=1)[:, 0]  # (penguins, keys)
table = pd.DataFrame(weights, columns=readout.keys).groupby(y_test.to_numpy()).mean()
image = left.imshow(table, cmap="cividis", aspect="auto", vmin=0)
left.set_xticks(range(table.shape[1]), table.columns, rotation=40, ha="right")
left.set_yticks(range(len(table)), table.index)
left.set_title(f"Mean attention, {search.best_estimator_[-1].architecture_.name}")
figure.colorbar(image, ax=left, label="weight")

shown = series[-72:]
right.plot(shown.index.to_timestamp(), shown, color="0.3", label="passengers")
times = forecast.index.to_timestamp()
right.plot(times, forecast, color="#0072B2", label="forecast")
right.fill_between(
    times,
    interval["lower"],
    interval["upper"],
    color="#0072B2",
    alpha=0.2,
    label="90 % interval",
)
right.set_ylabel("thousand passengers a month")
right.legend(loc="upper left")
right.set_title("Airline, twelve months ahead")
path = Path(__file__).with_name("quickstart.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
