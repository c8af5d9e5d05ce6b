"""
Entities: names that were never seen before
===========================================

Which words of a message name a person, a place, a product? The texts of WNUT-17 are
from Twitter, YouTube and other forums, and hardly any name of the test stands in the
training part: whoever remembers names finds next to nothing. The tagger (TENER with a
conditional random field) has to read a name off its letters and its neighbours. Scores
are F1 of whole entities: kind and both ends right.

The data are downloaded at the first run (`skattn.datasets.fetch_wnut17`). Where they
cannot be had, the example says so and goes on with generated sentences.
"""

# %%
# Tokens and tags
# ---------------
# A sample is a list of tokens; its target is a list of tags: ``B-person`` begins the
# name of a person, ``I-person`` goes on with it, ``O`` is no name.
import os
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from skattn import AttentionTagger
from skattn.architectures import TENER
from skattn.datasets import fetch_wnut17

# The tests run this file with SKATTN_FAST=1: few sentences, and no download.
FAST = os.environ.get("SKATTN_FAST") == "1"
Sentences = list[list[str]]


def generated_sentences(n: int, seed: int) -> tuple[Sentences, Sentences]:
    """Generate sentences with invented names of people and places."""
    rng = np.random.default_rng(seed)

    def name(ending: str) -> str:
        return "".join(rng.choice(list("bdklmnrst"), 3)).capitalize() + ending

    X, y = [], []
    for _ in range(n):
        verb = rng.choice(["saw", "met", "called"])
        X.append([name("a"), name("son"), verb, name("a"), "in", name("burg"), "."])
        y.append(["B-person", "I-person", "O", "B-person", "O", "B-location", "O"])
    return X, y


try:
    source = "WNUT-17"
    X, y = fetch_wnut17(download_if_missing=not FAST, return_X_y=True)
    X_test, y_test = fetch_wnut17("test", download_if_missing=not FAST, return_X_y=True)
except (OSError, ImportError) as error:
    source = "generated sentences"
    (X, y), (X_test, y_test) = generated_sentences(500, 0), generated_sentences(100, 1)
    print(f"No WNUT-17, generated sentences instead ({type(error).__name__}).")
if FAST:
    X, y, X_test, y_test = X[:200], y[:200], X_test[:100], y_test[:100]
print(f"{source}: {len(X)} sentences to learn from, {len(X_test)} for the test")

# %%
# A tagger, and a memory
# ----------------------
# The tagger sees words that are rare as unknown ones, and the letters of all. It is
# small, and trained for less than a minute: it misses most names, and
# ``benchmarks/wnut17.py`` goes further. The memory marks what was a name in the
# training part, the longest one first, as the kind that it was most often.
tagger = AttentionTagger(
    TENER(
        d_model=64,
        num_heads=4,
        num_layers=1,
        d_word=32,
        d_character=16,
        character_filters=48,
        word_dropout=0.4,
    ),
    early_stopping=False,
    max_epochs=1 if FAST else 10,
    lr=4e-3,
    batch_size=32,
    random_state=0,
)
tagger.fit(X, y)


def find_entities(tags: list[str]) -> list[tuple[int, int, str]]:
    """List start, end and kind of the entities of a sentence."""
    found: list[tuple[int, int, str]] = []
    for at, tag in enumerate(tags):
        if tag.startswith("B-"):
            found.append((at, at + 1, tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = (found[-1][0], at + 1, tag[2:])
    return found


def spell(words: list[str], start: int, end: int) -> tuple[str, ...]:
    """Bring a name into the form in which it is remembered."""
    return tuple(word.lower() for word in words[start:end])


kinds: dict[tuple[str, ...], Counter[str]] = {}
for words, tags in zip(X, y, strict=True):
    for start, end, kind in find_entities(tags):
        kinds.setdefault(spell(words, start, end), Counter())[kind] += 1
longest = max(map(len, kinds))


def remember(words: list[str]) -> list[str]:
    """Tag the names of the training part."""
    tags, at = ["O"] * len(words), 0
    while at < len(words):
        for end in range(min(at + longest, len(words)), at, -1):
            if (known := kinds.get(spell(words, at, end))) is not None:
                kind = known.most_common(1)[0][0]
                tags[at:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - at - 1)
                at = end - 1
                break
        at += 1
    return tags


# %%
# F1, and names that are new
# --------------------------
predictions = {
    "tagger": tagger.predict(X_test),
    "memory": [remember(words) for words in X_test],
}
reports = {
    name: classification_report(
        y_test,
        predicted,
        mode="strict",
        scheme=IOB2,
        output_dict=True,
        zero_division=0,
    )
    for name, predicted in predictions.items()
}
print("\nEntities of the test")
for name, report in reports.items():
    total = report["micro avg"]
    print(
        f"  {name}: F1 {total['f1-score']:.3f}, precision {total['precision']:.3f}, "
        f"recall {total['recall']:.3f}"
    )
hits = []
for words, tags, predicted in zip(X_test, y_test, predictions["tagger"], strict=True):
    found = find_entities(predicted)
    for entity in find_entities(tags):
        if spell(words, *entity[:2]) not in kinds:
            hits.append(entity in found)
n_entities = sum(len(find_entities(tags)) for tags in y_test)
n_new = len(hits)
new_recall = 100 * np.mean(hits)
print(
    f"{n_new} of {n_entities} names are not in the training part; of these the tagger "
    f"finds {new_recall:.0f} %, the memory none"
)

# %%
# Tags
# ----
# The first sentences of the test that have a name or in which the tagger sees one. The
# colour of a word is the kind that the tagger says, that of the line below it the
# truth: a colour without its line is a name that is none, a line without its colour one
# that was missed.
COLORS = {
    "person": "#56B4E9",
    "location": "#E69F00",
    "product": "#009E73",
    "creative-work": "#CC79A7",
    "corporation": "#F0E442",
    "group": "#D55E00",
}
N_COLUMNS, N_LINES = 82, 12  # characters across the panel, sentences
figure = plt.figure(figsize=(13, 5.8))
panel = figure.add_axes((0.02, 0.12, 0.65, 0.76))
panel.set(xlim=(0, N_COLUMNS), ylim=(N_LINES - 0.4, -0.6))
panel.axis("off")
fontsize = 72 * 13 * 0.65 / N_COLUMNS / 0.602  # a monospaced letter is 0.602 em wide
shown = [
    at
    for at, words in enumerate(X_test)
    if len(" ".join(words)) < N_COLUMNS
    and len(words) >= 5
    and " ".join(words).isascii()
    and {*y_test[at], *predictions["tagger"][at]} > {"O"}
]
for line, at in enumerate(shown[:N_LINES]):
    starts = np.cumsum([0.5, *(len(word) + 1 for word in X_test[at])])
    for start, end, kind in find_entities(predictions["tagger"][at]):
        panel.add_patch(
            plt.Rectangle(
                (starts[start] - 0.4, line - 0.38),
                starts[end] - starts[start] - 0.2,
                0.66,
                color=COLORS[kind],
                alpha=0.6,
                linewidth=0,
            )
        )
    for start, end, kind in find_entities(y_test[at]):
        panel.plot(
            [starts[start] - 0.2, starts[end] - 0.8],
            [line + 0.38] * 2,
            color=COLORS[kind],
            linewidth=3.5,
            solid_capstyle="butt",
        )
    for word, column in zip(X_test[at], starts, strict=False):
        panel.text(
            column, line, word, family="monospace", fontsize=fontsize, va="center"
        )
patches = [plt.Rectangle((0, 0), 1, 1, color=color) for color in COLORS.values()]
figure.legend(patches, COLORS, loc="lower left", bbox_to_anchor=(0.02, 0.02), ncols=6)
panel.set_title("Filled: what the tagger says. Line below: the truth", loc="left")

axes = figure.add_axes((0.78, 0.12, 0.21, 0.76))
rows = ["all", *(kind for kind in COLORS if kind in reports["tagger"])]
for offset, name, color in ((-0.2, "tagger", "#0072B2"), (0.2, "memory", "#BBBBBB")):
    axes.barh(
        np.arange(len(rows)) + offset,
        [
            100 * reports[name]["micro avg" if row == "all" else row]["f1-score"]
            for row in rows
        ],
        0.38,
        color=color,
        label=name,
    )
axes.set_yticks(
    range(len(rows)),
    [
        f"{row}\n({reports['tagger']['micro avg' if row == 'all' else row]['support']})"
        for row in rows
    ],
)
axes.invert_yaxis()
axes.legend(loc="lower right", fontsize="small")
axes.set_title("F1 of whole entities, %")
figure.suptitle(
    f"{n_new} of {n_entities} names are new: the tagger finds {new_recall:.0f} % of "
    f"them, a memory none ({source})",
    fontweight="bold",
)
path = Path(__file__).with_name("plot_entities.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
