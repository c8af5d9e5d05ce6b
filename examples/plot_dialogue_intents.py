"""
Intents of dialogues: turns that matter, and words within them
==============================================================

A customer says what he wants; the agent offers something else; "yes" or "no" decides
which of the two it will be. Whoever counts words hears two wishes and an answer, and
not which of them it is an answer to. Hierarchical attention reads the words of each
turn, then the turns, and says at both levels what it looked at.

The dialogues are generated, so that it is known which turn settles the matter.
"""

# %%
# Dialogues
# ---------
# A sample is a list of turns, which are strings. The number of the turn that names what
# it will be is kept apart; no model gets to see it.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skattn import AttentionClassifier, record_attention
from skattn.architectures import HierarchicalAttention
from skattn.inspection import AttentionDisplay

# The tests run this file with SKATTN_FAST=1: few dialogues.
FAST = os.environ.get("SKATTN_FAST") == "1"
WISHES = {
    "cancel": ["cancel the order", "call the order off", "stop the delivery"],
    "refund": ["get my money back", "ask for a refund", "be paid back"],
    "track": ["know where the parcel is", "track the parcel", "find my parcel"],
    "address": ["change the address", "have it sent elsewhere", "correct the street"],
    "invoice": ["see the invoice", "get a bill", "have a receipt"],
}
OPENINGS = ["hello , how can i help ?", "good morning !", "welcome , what is it ?"]
TOPICS = [
    "it is about my order .",
    "i bought a lamp from you .",
    "hi , it is me again .",
]
CHAT = ["the weather is bad today .", "one moment .", "sorry for the wait .", "i see ."]
ENDS = ["thank you , bye .", "that is all .", "great , thanks ."]


def talk(n: int, seed: int) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
    """Generate dialogues, their intents, and the turn that names each of them."""
    rng = np.random.default_rng(seed)
    dialogues, intents, places = [], [], []
    for _ in range(n):
        first, second = (str(wish) for wish in rng.permutation(list(WISHES))[:2])
        turns = [rng.choice(OPENINGS), rng.choice(TOPICS)]
        turns.append(f"i want to {rng.choice(WISHES[first])} .")
        place = len(turns) - 1
        turns += list(rng.choice(CHAT, rng.integers(0, 3), replace=False))
        turns.append(f"do you want to {rng.choice(WISHES[second])} instead ?")
        if rng.random() < 0.5:
            place = len(turns) - 1
            turns.append(rng.choice(["yes , please .", "yes , that will do ."]))
        else:
            turns.append(rng.choice(["no , not at all .", "no , i am sorry ."]))
        intents.append(first if place == 2 else second)
        places.append(place)
        turns += [rng.choice(CHAT), rng.choice(ENDS)]
        dialogues.append([str(turn) for turn in turns])
    return dialogues, np.array(intents), np.array(places)


X, y, _ = talk(200 if FAST else 1000, seed=0)
X_test, y_test, places = talk(100 if FAST else 500, seed=1)
print(f"{len(X)} dialogues to learn from, {len(X_test)} for the test. The first:")
for turn in X[0]:
    print(f"  {turn}")
print(f"Intent: {y[0]}")

# %%
# Intents
# -------
# The bag of words reads a dialogue as one text.
net = AttentionClassifier(
    HierarchicalAttention(d_model=32),
    linear_skip=False,
    max_epochs=2 if FAST else 15,
    lr=5e-3,
    batch_size=32,
    random_state=0,
)
bag = make_pipeline(
    CountVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000)
)
net.fit(X, y)
bag.fit([" ".join(turns) for turns in X], y)
guesses = {
    "hierarchical attention": net.predict(X_test),
    "bag of words and pairs": bag.predict([" ".join(turns) for turns in X_test]),
}
print("\nIntents that are right")
accuracies = {}
for name, guess in guesses.items():
    accuracies[name] = 100 * (guess == y_test).mean()
    print(f"  {name:24s} {accuracies[name]:5.1f} %")

# %%
# Turns and words
# ---------------
# The layer ``"sentences"`` weighs the turns of a dialogue, the layer ``"words"`` the
# words of each turn. Turns have passed through a recurrent net when they are weighed: a
# turn's state knows its neighbours, and attention to "yes" can stand for the offer
# before it. So the weights are summed for each kind of turn, rather than taken for a
# proof.
records = {record.layer: record for record in record_attention(net, X_test)}
turn_weights = [
    row[0, 0, : len(turns)]
    for row, turns in zip(records["sentences"].weights, X_test, strict=True)
]
KINDS = ["names what it will be", "yes or no", "names the other wish", "all others"]
shares, sizes, hits = np.zeros(4), np.zeros(4), []
for turns, weights, place in zip(X_test, turn_weights, places, strict=True):
    kind = np.full(len(turns), 3)
    kind[["want to" in turn for turn in turns]] = 2
    kind[[turn.startswith(("yes", "no ,")) for turn in turns]] = 1
    kind[place] = 0
    shares += np.bincount(kind, weights, minlength=4) / len(X_test)
    sizes += np.bincount(kind, minlength=4) / len(turns) / len(X_test)
    hits.append(weights.argmax() == place)
print("\nAttention to turns")
for name, share, size in zip(KINDS, shares, sizes, strict=True):
    print(f"  {name:22s} {share:4.0%}   (share of the turns: {size:.0%})")
print(
    f"In {np.mean(hits):.0%} of the dialogues, the turn that names what it will be has "
    "the most"
)

# %%
# The picture
# -----------
# Two dialogues of the test as they come, a turn a line. The square before a turn is its
# weight; within a turn, the darker a word, the larger its part, which comes to nothing
# where the turn has no weight. The triangle points to the turn that names what it will
# be.
BLUE, GREEN, ORANGE = "#0072B2", "#009E73", "#D55E00"
figure, grid = plt.subplot_mosaic(
    [[0, 1, "shares"], [0, 1, "right"]],
    figsize=(13, 5),
    width_ratios=[2, 2, 1.1],
    height_ratios=[1.7, 1],
    layout="constrained",
)
for number in range(2):
    axes = grid[number]
    AttentionDisplay.from_estimator(
        net, X_test, kind="text", sample=number, ax=axes, artist_kw={"fontsize": 11}
    )
    turn = np.cumsum([0, *(text.get_text() == "[SEP]" for text in axes.texts[:-1])])
    place = np.flatnonzero(turn == places[number])[0]
    x, y_line = axes.texts[place].get_position()
    axes.plot(x - 28, y_line, ">", color="black", clip_on=False)
    guess = guesses["hierarchical attention"][number]
    is_right = guess == y_test[number]
    axes.set_title("")
    axes.set_title(
        f"intent: {guess}, {'right' if is_right else f'WRONG ({y_test[number]})'}",
        color=GREEN if is_right else ORANGE,
        loc="left",
    )

axes = grid["shares"]
rows = np.arange(len(KINDS))
axes.barh(rows - 0.2, 100 * shares, 0.38, color=BLUE, label="attention")
axes.barh(rows + 0.2, 100 * sizes, 0.38, color="#BBBBBB", label="turns")
axes.set_yticks(rows, ["what it\nwill be", "yes\nor no", "the other\nwish", "others"])
axes.invert_yaxis()
axes.legend(fontsize="small")
axes.set_title("Share of each kind of turn, %", fontsize=11)
axes = grid["right"]
axes.barh(range(2), list(accuracies.values()), color=[BLUE, "#BBBBBB"])
axes.set_yticks(range(2), ["attention", "bag of\nwords"])
axes.invert_yaxis()
axes.set_xlim(0, 100)
axes.set_title("Intents that are right, %", fontsize=11)
figure.suptitle(
    f"{accuracies['hierarchical attention']:.0f} % of the intents are right; the turn "
    f"that names what it will be gets {100 * shares[0]:.0f} % of the attention",
    fontweight="bold",
)
path = Path(__file__).with_name("plot_dialogue_intents.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
