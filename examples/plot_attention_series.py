"""
Attention over time: hours of a day, patches of years
=====================================================

What a net looks at along a series is drawn below the series itself: steps where it
attends to single ones, spans where its tokens are patches of several steps. Beside it
stands how sharp the heads are, because a drawing of one sample shows where weight is,
and not whether there is any choice in it. Each kind of drawing is a figure of its own.
"""

# %%
# Days
# ----
# The electricity that Italy used in the 24 hours of a day: is it a day of the half-year
# from October to March, or from April to September? The data come with sktime.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sktime.datasets import load_airline, load_italy_power_demand

from skattn import AttentionForecaster, AttentionTimeSeriesClassifier
from skattn.architectures import PatchTST
from skattn.inspection import AttentionDisplay, EntropyDisplay, attention_rollout

# The tests run this file with SKATTN_FAST=1: few epochs.
FAST = os.environ.get("SKATTN_FAST") == "1"


def save(figure: plt.Figure, name: str) -> None:
    """Keep a figure beside this file."""
    path = Path(__file__).with_name(f"plot_attention_series_{name}.png")
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"Figure saved to {path.name}")


X, y = load_italy_power_demand("train", return_type="numpy3D")
X_test, y_test = load_italy_power_demand("test", return_type="numpy3D")
if FAST:
    X_test, y_test = X_test[:100], y_test[:100]
clf = AttentionTimeSeriesClassifier(
    "self_attention",
    max_epochs=3 if FAST else 60,
    batch_size=16,
    random_state=0,
)
clf.fit(X, y)
accuracy = (clf.predict(X_test) == y_test).mean()
print(f"Accuracy on {len(X_test)} days: {accuracy:.3f}")

# %%
# A day, hour by hour
# -------------------
# The last layer attends from one token, which is scored, to all hours.
display = AttentionDisplay.from_estimator(clf, X_test, kind="timeline")
save(display.figure_, "timeline")
rollout = attention_rollout(clf, X_test)
hours = rollout.importances_mean.argsort()[::-1][:5]
print(f"Hours with the largest shares over all days: {sorted(hours.tolist())}")

# %%
# How sharp the heads are
# -----------------------
# Entropy is 1 where all hours get the same weight and 0 where one has it all.
display = EntropyDisplay.from_estimator(clf, X_test)
save(display.figure_, "entropy")
for layer, mean in zip(display.result.layers, display.result.mean, strict=True):
    print(f"  {layer.layer}: {', '.join(f'{entropy:.2f}' for entropy in mean)}")

# %%
# Patches
# -------
# PatchTST cuts the past into patches; half a year each here, of which the next begins
# in the middle. The last three years of monthly airline passengers, and where the
# patches looked before the next year was forecast.
passengers = load_airline()
forecaster = AttentionForecaster(
    PatchTST(d_model=16, patch_length=6, stride=3, num_layers=2),
    window_length=36,
    calibration=None,
    max_epochs=2 if FAST else 40,
    random_state=0,
)
forecaster.fit(passengers, fh=range(1, 13))
display = AttentionDisplay.from_estimator(forecaster, kind="patches")
save(display.figure_, "patches")
