"""
Attention over a table: columns, heads, and what they are worth
===============================================================

A net that attends over the columns of a table says for each row how much it took from
each column. The example draws these weights for the penguins of the Palmer
Archipelago, and then asks what they are worth: which heads the predictions need, and
whether hiding the columns that the net attends to changes its answers faster than
hiding any others. Each kind of drawing is a figure of its own.
"""

# %%
# Penguins
# --------
# Measurements, an island and a sex, some of them missing; the species is to be told. By
# default a linear model stands beside the net and does much of the work; here it is
# left out, so that everything passes through attention.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split

from skattn import AttentionClassifier
from skattn.datasets import load_penguins
from skattn.inspection import (
    AttentionDisplay,
    FaithfulnessDisplay,
    HeadImportanceDisplay,
    attention_rollout,
)

# The tests run this file with SKATTN_FAST=1: few epochs.
FAST = os.environ.get("SKATTN_FAST") == "1"


def save(figure: plt.Figure, name: str) -> None:
    """Keep a figure beside this file."""
    path = Path(__file__).with_name(f"plot_attention_table_{name}.png")
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(f"Figure saved to {path.name}")


X, y = load_penguins(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
clf = AttentionClassifier(
    "self_attention",
    linear_skip=False,
    max_epochs=3 if FAST else 30,
    lr=3e-3,
    batch_size=32,
    random_state=0,
)
clf.fit(X_train, y_train)
print(f"Accuracy on {len(X_test)} held-out penguins: {clf.score(X_test, y_test):.3f}")

# %%
# A layer, and its heads
# ----------------------
# The weights of one penguin. Queries are down the side, keys along the bottom: a row of
# the picture says what the token of one column takes from all others. ``cls`` is the
# token that is scored at the end. The mean over the heads hides that each of them looks
# at something else.
display = AttentionDisplay.from_estimator(clf, X_test, kind="heatmap", layer=0)
save(display.figure_, "heatmap")
display = AttentionDisplay.from_estimator(clf, X_test, kind="heads", layer=0)
save(display.figure_, "heads")

# %%
# Which heads matter
# ------------------
# How much worse the logarithmic loss gets when one head is left out at a time.
display = HeadImportanceDisplay.from_estimator(
    clf, X_test, y_test, scoring="neg_log_loss", random_state=0
)
save(display.figure_, "head_importance")
importance = display.result
order = importance.importances_mean.argsort()[::-1]
print("\nGrowth of the loss without a head")
for number in order[:3]:
    head = importance.heads[number]
    growth = importance.importances_mean[number]
    print(f"  {head.layer}, head {head.head}: {growth:.3f}")

# %%
# Does attention say what the answers rest on?
# --------------------------------------------
# Roll-out multiplies the weights of all layers. Columns are hidden in its order, in
# random orders, and in that of permutation importance; an explanation is worth
# something only if the probability falls faster than at random. It takes two more
# questions to trust it: see ``plot_attention_doubt.py``.
rollout = attention_rollout(clf, X_test)
print("\nShares by roll-out")
for column in rollout.importances_mean.argsort()[::-1]:
    print(f"  {rollout.names[column]:18s} {rollout.importances_mean[column]:.3f}")
display = FaithfulnessDisplay.from_estimator(
    clf, X_test, y_test, rollout, n_steps=7, background=X_train, random_state=0
)
save(display.figure_, "faithfulness")
print("\nArea under the curve of deletion (smaller is better)")
for ranking, area in display.result.areas["deletion"].items():
    print(f"  {ranking:12s} {area:.3f}")
print(f"p-value against random orders of each penguin: {display.result.p_value:.4f}")
