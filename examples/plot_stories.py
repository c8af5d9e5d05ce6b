"""
Questions about stories: does attention find the fact?
======================================================

People walk from place to place; the question is where one of them is. The answer is in
one sentence of the story, the last one that names the person of the question. A bag of
words cannot know which sentence that is; two texts that attend to each other can. The
stories are generated, so that it is known where attention ought to point, and the
example counts how often it does.

The stories are like the first of the twenty tasks of Weston et al., "Towards
AI-Complete Question Answering", 2015, arXiv 1502.05698.
"""

# %%
# Stories
# -------
# A sample is a tuple of a story and a question. Beside it stands the number of the
# sentence that has the answer, which no model gets to see.
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
from skattn.architectures import InteractiveAttention
from skattn.inspection import AttentionDisplay

# The tests run this file with SKATTN_FAST=1: few stories.
FAST = os.environ.get("SKATTN_FAST") == "1"
PEOPLE = ["Ann", "Bob", "Cid", "Dora"]
PLACES = ["kitchen", "garden", "office", "cellar", "attic", "hall"]
VERBS = ["went to", "walked to", "moved to", "ran to"]


def tell(n: int, seed: int) -> tuple[list[tuple[str, str]], list[str], np.ndarray]:
    """Generate pairs of story and question, answers, and where the answers stand."""
    rng = np.random.default_rng(seed)
    pairs, answers, facts = [], [], []
    for _ in range(n):
        sentences, known = [], {}
        for number in range(rng.integers(3, 7)):
            person, place = str(rng.choice(PEOPLE)), str(rng.choice(PLACES))
            sentences.append(f"{person} {rng.choice(VERBS)} the {place}.")
            known[person] = place, number
        person = rng.choice(list(known))
        pairs.append((" ".join(sentences), f"Where is {person}?"))
        answers.append(known[person][0])
        facts.append(known[person][1])
    return pairs, answers, np.array(facts)


X, y, _ = tell(200 if FAST else 3000, seed=0)
X_test, y_test, facts = tell(100 if FAST else 500, seed=1)
print(f"{len(X)} stories to learn from, {len(X_test)} for the test. The first:")
print(f"  {X[0][0]} {X[0][1]} {y[0]}")

# %%
# Answers
# -------
# The bag of words reads story and question as one text. The guess by the last place
# does not read the question.
net = AttentionClassifier(
    InteractiveAttention(embedding_dropout=0.1),
    linear_skip=False,
    max_epochs=2 if FAST else 15,
    lr=4e-3,
    batch_size=64,
    random_state=0,
)
bag = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
net.fit(X, y)
bag.fit([" ".join(pair) for pair in X], y)
guesses = {
    "interactive attention": net.predict(X_test),
    "bag of words": bag.predict([" ".join(pair) for pair in X_test]),
    "last place of the story": np.array(
        [story.rstrip(".").split()[-1] for story, _ in X_test]
    ),
}
print("\nAnswers that are right")
accuracies = {}
for name, guess in guesses.items():
    accuracies[name] = 100 * (guess == np.array(y_test)).mean()
    print(f"  {name:24s} {accuracies[name]:5.1f} %")

# %%
# Where the question looks
# ------------------------
# In the layer ``"from_other"``, each word of the question attends to all words of the
# story. Summed over the words of a sentence and averaged over those of the question,
# the weights say how much the question looks at each sentence: at the fact that has the
# answer, at older facts about the same person, and at the other people. Beside them
# stands the share of the words, which is what attention without any aim would give.
records = {record.layer: record for record in record_attention(net, X_test)}
looks = records["from_other"]
ROLES = ["the fact", "older facts about the person", "facts about others"]
shares, sizes, hits = np.zeros(3), np.zeros(3), []
story_weights = []
for at, (words, question) in enumerate(zip(looks.keys, looks.queries, strict=True)):
    weights = looks.weights[at, 0, : len(question), : len(words)].mean(axis=0)
    story_weights.append(weights)
    sentence = np.cumsum([0, *(word == "." for word in words[:-1])])
    person = words[np.flatnonzero(sentence == facts[at])[0]]
    names = np.array(words)[np.unique(sentence, return_index=True)[1]]
    role = np.where(names == person, 1, 2)
    role[facts[at]] = 0
    shares += np.bincount(role[sentence], weights, minlength=3) / len(X_test)
    sizes += np.bincount(role[sentence], minlength=3) / len(words) / len(X_test)
    hits.append(np.bincount(sentence, weights).argmax() == facts[at])
print("\nAttention of the question to the words of the story")
for name, share, size in zip(ROLES, shares, sizes, strict=True):
    print(f"  {name:30s} {share:4.0%}   (share of the words: {size:.0%})")
print(f"The fact is the sentence most looked at in {np.mean(hits):.0%} of the stories")

# %%
# The picture
# -----------
# Four stories of the test as they come, a sentence a line. The darker a word, the more
# the question attends to it; the triangle points to the sentence that has the answer.
GREEN, ORANGE = "#009E73", "#D55E00"
figure, grid = plt.subplot_mosaic(
    [[0, 1, "shares"], [2, 3, "right"]],
    figsize=(13, 6.5),
    width_ratios=[2, 2, 1.5],
    layout="constrained",
)
for at in range(4):
    axes, words = grid[at], looks.keys[at]
    sentence = np.cumsum([0, *(word == "." for word in words[:-1])])
    AttentionDisplay(
        story_weights[at], keys=words, kind="text", segments=sentence
    ).plot(axes, artist_kw={"fontsize": 13})
    x, y_line = axes.texts[np.flatnonzero(sentence == facts[at])[0]].get_position()
    axes.plot(x - 8, y_line, ">", color="black", clip_on=False)
    guess = guesses["interactive attention"][at]
    is_right = guess == y_test[at]
    axes.set_title(
        f"{X_test[at][1]} {guess}, {'right' if is_right else 'WRONG'}",
        color=GREEN if is_right else ORANGE,
        loc="left",
    )

axes = grid["shares"]
places = np.arange(3)
axes.barh(places - 0.2, 100 * shares, 0.38, color="#0072B2", label="attention")
axes.barh(places + 0.2, 100 * sizes, 0.38, color="#BBBBBB", label="words")
axes.set_yticks(places, ["the\nfact", "older,\nsame\nperson", "other\npeople"])
axes.set_ylim(2.6, -0.6)
axes.legend(fontsize="small")
axes.set_title("Share of each kind of sentence, %", fontsize=11)
axes = grid["right"]
axes.barh(range(3), list(accuracies.values()), color=["#0072B2", "#BBBBBB", "#BBBBBB"])
axes.set_yticks(range(3), ["attention", "bag of\nwords", "last\nplace"])
axes.invert_yaxis()
axes.set_xlim(0, 100)
axes.set_title("Answers that are right, %", fontsize=11)
figure.suptitle(
    f"The question looks most at the fact that answers it in {100 * np.mean(hits):.0f} "
    f"% of the stories; {accuracies['interactive attention']:.0f} % of the answers are "
    "right",
    fontweight="bold",
)
path = Path(__file__).with_name("plot_stories.png")
figure.savefig(path, dpi=150)
print(f"\nFigure saved to {path.name}")
