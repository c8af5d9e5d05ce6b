"""
Sentiment: a grid search on raw strings, and what attention looks at
====================================================================

Is a sentence of a film review positive? A search over strings chooses how often a word
must occur to be known, and how strongly to regularise; the classifier fits a vocabulary
in each fold, to the training texts alone. The same search runs over a pipeline of
TF-IDF and a linear model. Then the attention is drawn over the words of some sentences,
and put to a test: a word that matters is one whose absence changes the answer.

The data are the Stanford Sentiment Treebank, downloaded at the first run
(`skattn.datasets.fetch_sst2`). Where they cannot be had, the example says so and goes
on with generated reviews.
"""

# %%
# Sentences
# ---------
# Of the 6,920 training sentences a part is enough here.
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skattn import AttentionClassifier, record_attention
from skattn.architectures import BidirectionalAttention
from skattn.datasets import fetch_sst2
from skattn.inspection import AttentionDisplay

# The tests run this file with SKATTN_FAST=1: few sentences, and no download.
FAST = os.environ.get("SKATTN_FAST") == "1"


def generated_reviews(n: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Generate short reviews whose adjectives tell the sentiment."""
    rng = np.random.default_rng(seed)
    words = {1: ["moving", "funny", "lovely", "clever"], 0: ["dull", "flat", "loud"]}
    nouns = ["film", "story", "script", "cast", "comedy", "drama"]
    y = rng.integers(0, 2, n)
    X = [
        f"the {rng.choice(nouns)} is {rng.choice(['a', 'one more', 'quite a'])} "
        f"{rng.choice(words[label])} {rng.choice(nouns)} ."
        for label in y
    ]
    return X, y


try:
    source = "Stanford Sentiment Treebank"
    X, y = fetch_sst2(download_if_missing=not FAST, return_X_y=True)
    X_test, y_test = fetch_sst2("test", download_if_missing=not FAST, return_X_y=True)
except (OSError, ImportError) as error:
    source = "generated reviews"
    (X, y), (X_test, y_test) = generated_reviews(600, 0), generated_reviews(200, 1)
    print(f"No treebank, generated reviews instead ({type(error).__name__}).")
chosen = np.random.default_rng(0).permutation(len(X))[: 200 if FAST else 2400]
X, y = [X[at] for at in chosen], y[chosen]
if FAST:
    X_test, y_test = X_test[:200], y_test[:200]
print(f"{source}: {len(X)} sentences to learn from, {len(X_test)} for the test")

# %%
# Two searches
# ------------
# The parameters of the encoder of tokens are searched like any others, although none
# was passed. By default, the classifier puts a linear model of n-grams beside the net;
# in the search it is left out, so that whatever is right comes from attention. The
# third model is the best one of the search with the linear model beside it.
searches = {
    "attention": GridSearchCV(
        AttentionClassifier(
            BidirectionalAttention(dropout=0.3),
            linear_skip=False,
            max_epochs=2 if FAST else 5,
            batch_size=32,
            random_state=0,
        ),
        {
            "token_encoder__min_frequency": [1, 2],
            "architecture__embedding_dropout": [0.3] if FAST else [0.3, 0.5],
        },
        cv=2,
    ),
    "TF-IDF + linear": GridSearchCV(
        Pipeline(
            [
                ("tfidf", TfidfVectorizer()),
                ("classifier", LogisticRegression(max_iter=1000)),
            ]
        ),
        {"tfidf__ngram_range": [(1, 1), (1, 2)], "classifier__C": [1, 10]},
        cv=2,
    ),
}
models = {}
for name, search in searches.items():
    models[name] = search.fit(X, y).best_estimator_
    print(f"{name}: {search.best_params_}")
models["both"] = clone(models["attention"]).set_params(linear_skip=True).fit(X, y)

print("\nAccuracy on the test sentences, with 95 % intervals")
accuracies = {}
for name, model in models.items():
    right = model.predict(X_test) == y_test
    accuracies[name] = 100 * right.mean(), 196 * right.std() / np.sqrt(len(right))
    print("  {:16s} {:.1f} % ± {:.1f}".format(name, *accuracies[name]))

# %%
# Does attention show what matters?
# ---------------------------------
# From each of some sentences, one word is taken out: the one attended to most, or one
# at random. If the first moves the probability no further than the second, a drawing of
# the attention is a decoration.
net = models["attention"]
sentences = X_test[:400]
tokens = net.token_encoder_.tokenize(sentences)
record = record_attention(net, sentences)[0]
weights = [
    row[0, 0, : len(words)] for row, words in zip(record.weights, tokens, strict=True)
]
before = net.predict_proba(sentences)[:, 1]
rng = np.random.default_rng(0)
cuts = {
    "the word attended to most": [row.argmax() for row in weights],
    "a word at random": [rng.integers(len(row)) for row in weights],
}
moves = {}
print("\nHow far the probability moves without")
for name, places in cuts.items():
    without = [
        " ".join(words[:place] + words[place + 1 :])
        for words, place in zip(tokens, places, strict=True)
    ]
    moves[name] = 100 * np.abs(net.predict_proba(without)[:, 1] - before).mean()
    print(f"  {name:26s} {moves[name]:.1f} points")
most, at_random = moves.values()
verdict = (
    f"Without the word attended to most, the probability moves by {most:.0f} points, "
    f"without a random one by {at_random:.0f}"
)

# %%
# Words and their weights
# -----------------------
# The first short sentences of the test, right or wrong, as they come. The darker a
# word, the more of the attention it has; a sentence's weights sum to one. A recurrent
# net has read the sentence in both directions before: what is attended to is a word in
# its context, often the one beside that which a reader would mark.
GREEN, ORANGE = "#009E73", "#D55E00"
figure, (bars, panel) = plt.subplots(
    1, 2, figsize=(13, 4.6), width_ratios=[1, 3.4], layout="constrained"
)
short = [
    at
    for at, words in enumerate(tokens)
    if len(words) >= 4 and len(" ".join(words)) < 70
][:10]
words, shares, lines, marks = [], [], [], {}
for line, at in enumerate(short):
    guess = int(before[at] > 0.5)
    is_right = guess == y_test[at]
    marks[len(words)] = GREEN if is_right else ORANGE
    words.append(
        f"{'positive' if guess else 'negative'} {max(before[at], 1 - before[at]):.2f}, "
        f"{'right' if is_right else 'WRONG'}:"
    )
    words += tokens[at]
    shares += [0.0, *weights[at]]
    lines += [line] * (1 + len(tokens[at]))

for at, (mean, margin) in enumerate(accuracies.values()):
    bars.errorbar(
        mean, at, xerr=margin, fmt="o", color="#0072B2", capsize=4, markersize=7
    )
bars.set_yticks(range(len(accuracies)), accuracies)
bars.set_ylim(len(accuracies) - 0.5, -0.5)
bars.set_xlabel("test accuracy, %")
bars.set_title("Sentiment")
figure.suptitle(f"{verdict} ({source})", fontweight="bold", fontsize=11)

# Words are placed where there is room, so they come last.
display = AttentionDisplay(shares, keys=words, kind="text", segments=lines)
display.plot(panel, artist_kw={"fontsize": 12})
for place, color in marks.items():
    panel.texts[place].set_color(color)
panel.set_title("Prediction, and attention over the words", loc="left")
path = Path(__file__).with_name("plot_sentiment.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
