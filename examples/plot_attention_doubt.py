"""
A doubt, followed up: may this attention be read as an explanation?
===================================================================

A drawing of attention always shows something, also where there is nothing to show. The
example takes recordings of an arm that draws a gun, or only points, and asks three
questions, each of a model of the true labels and of one of labels drawn by lot: where
does it attend, do its answers depend on that, and would another model tell the same
story? The last question goes to a second architecture too, which is nearly as good on
these data; but its attention is another one with each seed.
"""

# %%
# Two movements
# -------------
# GunPoint, which comes with sktime: the height of a hand over five seconds, every
# second of 150 measurements. A quarter is held out.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sktime.datasets import load_gunpoint

from skattn import AttentionClassifier
from skattn.inspection import (
    FaithfulnessDisplay,
    attention_rollout,
    attention_sanity_check,
    faithfulness,
)

# The tests run this file with SKATTN_FAST=1: few epochs.
FAST = os.environ.get("SKATTN_FAST") == "1"
X, y = load_gunpoint(return_type="numpy3D")
X = X[:, :, :: 6 if FAST else 2]
names = np.array(["gun", "point"])[y.astype(int) - 1]
labels = {
    "true labels": names,
    "labels by lot": np.random.default_rng(0).permutation(names),
}
clf = AttentionClassifier(
    "temporal_attention",
    linear_skip=False,
    early_stopping=False,
    max_epochs=2 if FAST else 20,
    lr=5e-3,
    batch_size=32,
    random_state=0,
)

# %%
# Where it attends, and whether its answers depend on it
# ------------------------------------------------------
# Roll-out gives each measurement a share. Faithfulness hides the measurements with the
# largest shares first, behind a line between those that are left, and follows the
# probability of the answer. Both work for a model of nothing as well: what it has made
# up can be faithful to itself.
shares, curves = {}, {}
for case, target in labels.items():
    X_train, X_test, y_train, y_test = train_test_split(
        X, target, test_size=0.25, stratify=target, random_state=0
    )
    model = clone(clf).fit(X_train, y_train)
    explanation = attention_rollout(model, X_test)
    shares[case] = explanation.importances_mean
    curves[case] = faithfulness(
        model, X_test, y_test, explanation, perturb="linear", random_state=0
    )
    print(f"{case}: accuracy {model.score(X_test, y_test):.2f} on held-out movements")
    print(f"  p-value of the roll-out against random orders {curves[case].p_value:.4f}")

# %%
# Would another model tell the same story?
# ----------------------------------------
# The check fits clones with other seeds, with weights frozen to be uniform, and to
# shuffled labels. It may be read as an explanation only if attention is needed, if the
# predictions rest on it, and if it comes out alike with each seed, and alike for no
# other reason than what was learned.
checks = {
    f"{architecture},\n{case}": attention_sanity_check(
        clone(clf).set_params(architecture=architecture),
        X,
        labels[case],
        n_repeats=2,
        random_state=0,
    )
    for architecture, case in (
        ("temporal_attention", "true labels"),
        ("temporal_attention", "labels by lot"),
        ("self_attention", "true labels"),
    )
}
for name, check in checks.items():
    print(f"\n{name.replace(chr(10), ' ')}")
    columns = ["control", "score", "agreement", "p_value", "passed"]
    print(check.table[columns].to_string(index=False, float_format="{:.3f}".format))
    print(check.verdict)

# %%
# The picture
# -----------
GREEN, PINK, SKY = "#009E73", "#CC79A7", "#56B4E9"
figure, grid = plt.subplot_mosaic(
    [["series"] * 2 + ["curves"] * 4, ["score"] * 3 + ["agreement"] * 3],
    figsize=(13, 8.5),
    layout="constrained",
)
steps = np.arange(X.shape[2])
axes = grid["series"]
for name, style in (("gun", "-"), ("point", "--")):
    mean = X[names == name, 0].mean(axis=0)
    axes.plot(steps, mean, style, color="black", label=name)
axes.set_xlabel("measurement")
axes.set_ylabel("height of the hand")
axes.set_ylim(None, 3)
axes.legend(loc="upper left", fontsize="small", title="mean height of the hand")
twin = axes.twinx()
for (case, share), color in zip(shares.items(), (GREEN, PINK), strict=True):
    twin.fill_between(steps, 100 * share, color=color, alpha=0.5, label=case)
twin.set_ylim(0, 400 * max(share.max() for share in shares.values()))
twin.set_ylabel("mean share by roll-out, %")
twin.legend(loc="upper right", fontsize="small", title="attention")
axes.set_title("Attention always shows something")

display = FaithfulnessDisplay(curves["true labels"]).plot(grid["curves"])
for axes, curve in zip(display.axes_.ravel(), ("deletion", "insertion"), strict=True):
    axes.set_title(f"True labels, {curve}")

CONTROLS = {
    "chance": "labels shuffled",
    "uniform": "fitted with\nuniform weights",
    "permuted": "weights permuted",
    "seeds": "the models\nthemselves",
}
places = np.arange(len(CONTROLS))
for at, ((name, check), color) in enumerate(
    zip(checks.items(), (GREEN, PINK, SKY), strict=True)
):
    table = check.table.set_index("control")
    rows = places + 0.25 * (at - 1)
    scores = table.loc[list(CONTROLS), ["score", "score_std"]].to_numpy()
    grid["score"].errorbar(
        scores[:, 0], rows, xerr=scores[:, 1], fmt="o", color=color, capsize=3
    )
    kinds = ["seeds", "randomised", "shuffled"]
    agreement = table.loc[kinds, "agreement"]
    verdict = "may be read" if check.is_explanation else "may not be read"
    grid["agreement"].barh(
        np.arange(3) + 0.25 * (at - 1),
        agreement,
        0.22,
        color=color,
        label=f"{name}: {verdict}",
    )
grid["score"].set_yticks(places, CONTROLS.values())
grid["score"].set_ylim(len(places) - 0.5, -0.5)
grid["score"].set_xlim(None, 1.02)
grid["score"].set_xlabel("accuracy on held-out movements")
grid["score"].set_title("Is attention needed?")
axes = grid["agreement"]
axes.set_yticks(range(3), ["other\nseeds", "random\nnets", "shuffled\nlabels"])
axes.set_ylim(2.5, -0.5)
axes.axvline(0, color="black", linewidth=0.8)
axes.set_xlabel("agreement of roll-outs with them (rank correlation)")
axes.set_title("Do other models tell the same story?")
readable = sum(check.is_explanation for check in checks.values())
faithful = sum(curve.is_faithful for curve in curves.values())
figure.suptitle(
    f"{faithful} of {len(curves)} explanations are faithful to their model, and "
    f"{readable} of {len(checks)} models may be read by their attention",
    fontweight="bold",
)
figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
path = Path(__file__).with_name("plot_attention_doubt.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
