"""
Translation: a small net, some sentences, and their alignments
==============================================================

Short German descriptions of pictures into English, by a recurrent encoder-decoder with
additive attention, trained in under a minute on a part of the data. It is no good
translator: the point is how one is fitted, what BLEU such a minute buys beside a
baseline that needs no net, and which German word each English word was written from.

The data are Multi30k, downloaded at the first run (`skattn.datasets.fetch_multi30k`).
Where they cannot be had, the example says so and goes on with generated sentences.
"""

# %%
# Short sentences
# ---------------
# Of the 29,000 training pairs, those of few words; and so of the test. BLEU on short
# sentences is not to be compared with published numbers, which are of all of them.
import os
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sacrebleu import corpus_bleu
from sklearn.feature_extraction.text import TfidfVectorizer

from skattn import AttentionTranslator, record_attention
from skattn.architectures import RNNSeq2Seq
from skattn.datasets import fetch_multi30k
from skattn.inspection import AttentionDisplay
from skattn.text import TokenEncoder

# The tests run this file with SKATTN_FAST=1: few sentences, and no download.
FAST = os.environ.get("SKATTN_FAST") == "1"


def generated_pairs(seed: int, n: int) -> tuple[list[str], list[str]]:
    """Generate sentences whose German verb comes last."""
    nouns = {"Mann": "man", "Hund": "dog", "Vogel": "bird", "Koch": "cook"}
    places = {"am Tisch": "at the table", "im Park": "in the park"}
    verbs = {"gesehen": "seen", "gefunden": "found", "gemalt": "painted"}
    pairs = [
        (
            f"Ein {who} hat {where} einen {what} {verb}.",
            f"A {nouns[who]} has {verbs[verb]} a {nouns[what]} {places[where]}.",
        )
        for who, where, what, verb in product(nouns, places, nouns, verbs)
    ]
    chosen = np.random.default_rng(seed).choice(len(pairs), n)
    X, y = zip(*(pairs[at] for at in chosen), strict=True)
    return list(X), list(y)


def keep_short(X: list[str], y: list[str], n: int) -> tuple[list[str], list[str]]:
    """Keep the first pairs with sentences of at most nine words."""
    pairs = [
        pair
        for pair in zip(X, y, strict=True)
        if max(len(text.split()) for text in pair) <= 9
    ][:n]
    return [first for first, _ in pairs], [second for _, second in pairs]


try:
    source = "Multi30k"
    X, y = fetch_multi30k(download_if_missing=not FAST, return_X_y=True)
    X_test, y_test = fetch_multi30k(
        "test", download_if_missing=not FAST, return_X_y=True
    )
except (OSError, ImportError) as error:
    source = "generated sentences"
    (X, y), (X_test, y_test) = generated_pairs(0, 600), generated_pairs(1, 100)
    print(f"No Multi30k, generated sentences instead ({type(error).__name__}).")
X, y = keep_short(X, y, 200 if FAST else 5000)
X_test, y_test = keep_short(X_test, y_test, 50 if FAST else 1000)
print(f"{source}: {len(X)} pairs to learn from, {len(X_test)} for the test")

# %%
# A translator
# ------------
# Words are better to look at than parts of words, so the default encoder is replaced,
# and each language has a vocabulary of its own. What occurs less than three times is
# unknown. The baseline gives the English of the training sentence whose German words
# are most alike.
translator = AttentionTranslator(
    RNNSeq2Seq(d_model=96),
    token_encoder=TokenEncoder("word", lowercase=False, min_frequency=3),
    shared_vocabulary=False,
    early_stopping=False,
    max_epochs=8,
    lr=5e-3,
    batch_size=16 if FAST else 64,
    random_state=0,
)
translator.fit(X, y)

vectorizer = TfidfVectorizer()
likeness = vectorizer.fit_transform(X) @ vectorizer.transform(X_test).T
nearest = [y[at] for at in likeness.argmax(axis=0).A1]
scores = {
    "nearest training sentence": corpus_bleu(nearest, [y_test]).score,
    "greedy": translator.score(X_test, y_test),
    "beam of 4": translator.set_params(beam_size=4).score(X_test, y_test),
}
print(f"\nBLEU on {len(X_test)} test sentences of at most nine words")
for name, score in scores.items():
    print(f"  {name:26s} {score:5.1f}")

# %%
# Does the alignment align?
# -------------------------
# When the translator writes "dog", does it look at "Hund"? Some words whose translation
# is certain are looked up wherever both of them stand in a sentence and in what the
# translator made of it.
CERTAIN = {
    "Mann": "man",
    "Frau": "woman",
    "Hund": "dog",
    "Kind": "child",
    "Junge": "boy",
    "Mädchen": "girl",
    "Wasser": "water",
    "Straße": "street",
    "Vogel": "bird",
    "Koch": "cook",
}
translator.set_params(beam_size=1)
translations = translator.predict(X_test)
alignment = record_attention(translator, X_test)[-1]
print(f"\n{alignment}")
weights = [
    row.mean(axis=0)[: len(written), : len(read)]
    for row, written, read in zip(
        alignment.weights, alignment.queries, alignment.keys, strict=True
    )
]
hits, chances = [], []
for read, written, row in zip(alignment.keys, alignment.queries, weights, strict=True):
    for german, english in CERTAIN.items():
        if read.count(german) == 1 == written.count(english):
            hits.append(row[written.index(english)].argmax() == read.index(german))
            chances.append(1 / len(read))
aligned = f"{sum(hits)} of {len(hits)} certain words"
print(f"{aligned} look most at their source (at random: {sum(chances):.0f})")

# %%
# The picture
# -----------
# Three sentences of the test with their alignments, and what became of some more: the
# first that have six tokens or more, good or bad. The net sees ``[UNK]`` for a word
# that it does not know, and goes on with what is likely.
shown = [at for at, read in enumerate(alignment.keys) if len(read) >= 6]
figure, grid = plt.subplot_mosaic(
    [[0, 1, 2], ["text"] * 3],
    figsize=(13, 7.8),
    layout="constrained",
    height_ratios=[3, 2],
)
for panel, at in enumerate(shown[:3]):
    axes = grid[panel]
    AttentionDisplay(alignment, kind="alignment", sample=at).plot(axes)
    axes.set_xlabel("German, read")
    axes.set_ylabel("English, written")

axes = grid["text"]
axes.axis("off")
for row, at in enumerate(shown[:6]):
    for line, (label, text) in enumerate(
        [("", X_test[at]), ("true", y_test[at]), ("net", translations[at])]
    ):
        axes.text(
            0.5 * (row % 2),
            1 - 0.36 * (row // 2) - 0.1 * line,
            f"{label:5s}{text}",
            family="monospace",
            fontsize=8.5,
            color="#0072B2" if label == "net" else "black",
            va="top",
            transform=axes.transAxes,
        )
figure.suptitle(
    f"BLEU {scores['greedy']:.1f} on short sentences (nearest training sentence: "
    f"{scores['nearest training sentence']:.1f}); {aligned} "
    f"look at their source ({source})",
    fontweight="bold",
)
path = Path(__file__).with_name("plot_translation.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
