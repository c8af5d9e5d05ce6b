"""Compare with a random field of word shapes on new entities (WNUT-17), in one run.

Every model is fitted to the 3,394 training texts alone; the 1,009 of dev choose its
strength or its epoch. See README.md for the protocol.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from _results import Results, as_text, options, spread, use_threads
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from skattn import AttentionTagger
from skattn._engine._crf import Chain
from skattn.architectures import TENER, SelfAttention
from skattn.datasets import fetch_wnut17
from skattn.text import TokenEncoder

KEY = ("model", "seed", "threads")
SUBSETS = ("train", "dev", "test")
Sentences = list[list[str]]


class Data(NamedTuple):
    """Sentences and tags of the three parts."""

    X: dict[str, Sentences]
    y: dict[str, Sentences]


def load() -> Data:
    """Read all parts."""
    parts = {name: fetch_wnut17(name, return_X_y=True) for name in SUBSETS}
    return Data(
        {name: X for name, (X, _) in parts.items()},
        {name: y for name, (_, y) in parts.items()},
    )


def shape(word: str) -> str:
    """Write capitals as X, other letters as x, digits as d, rows of them as one."""
    for pattern, letter in (("[A-Z]", "X"), ("[a-z]", "x"), ("[0-9]", "d")):
        word = re.sub(pattern, letter, word)
    return re.sub(r"(.)\1+", r"\1", word)


def look(word: str, where: str) -> dict[str, Any]:
    """Describe a word that is at some place beside the one to tag."""
    return {
        f"{where} lower": word.lower(),
        f"{where} shape": shape(word),
        f"{where} title": word.istitle(),
        f"{where} upper": word.isupper(),
        f"{where} digits": word.isdigit(),
    }


def features(sentence: list[str]) -> list[dict[str, Any]]:
    """Describe each word: itself, its neighbours, the ends of the sentence."""
    rows = []
    for position, word in enumerate(sentence):
        row: dict[str, Any] = {"bias": 1.0, **look(word, "0")}
        for size in (2, 3):
            row[f"prefix {size}"], row[f"suffix {size}"] = word[:size], word[-size:]
        for step in (-1, 1):
            if 0 <= position + step < len(sentence):
                row |= look(sentence[position + step], f"{step:+d}")
            else:
                row[f"{step:+d} none"] = True
        rows.append(row)
    return rows


Fitted = tuple[Callable[[Sentences], Any], Any]


def random_field(data: Data, seed: int) -> Fitted:
    """Fit the baseline; dev chooses the strengths of both penalties."""
    import sklearn_crfsuite

    described = {
        name: [features(sentence) for sentence in data.X[name]]
        for name in ("train", "dev")
    }
    fits = {}
    for c1, c2 in product((0.0, 0.1), (0.01, 0.1, 1.0)):
        field = sklearn_crfsuite.CRF(c1=c1, c2=c2, all_possible_transitions=True)
        field.fit(described["train"], data.y["train"])
        fits[scores(data.y["dev"], field.predict(described["dev"]))["f1"]] = field
    best = fits[max(fits)]
    predict = ShiftedField(best, 0.0)
    if predict(data.X["dev"]) != [
        list(tags) for tags in best.predict(described["dev"])
    ]:
        raise RuntimeError("The weights that were read give other tags.")
    return predict, ""


class ShiftedField:
    """A fitted field that takes something off the scores of the tag ``"O"``."""

    def __init__(self, field: Any, shift: float) -> None:
        self.field, self.shift = field, shift
        self.tags = sorted(field.classes_, key=lambda tag: (tag != "O", tag))
        code = {tag: number for number, tag in enumerate(self.tags)}
        self.weights: dict[str, np.ndarray] = {}
        for (name, tag), weight in field.state_features_.items():
            row = self.weights.setdefault(name, np.zeros(len(code)))
            row[code[tag]] = weight
        edges = np.zeros((len(code) + 2, len(code)))
        for pair, weight in field.transition_features_.items():
            edges[code[pair[0]], code[pair[1]]] = weight
        self.edges = torch.from_numpy(edges)

    def __call__(self, X: Sentences) -> Sentences:
        """Find the best tags of each sentence."""
        return [self._tag(sentence) for sentence in X]

    def _tag(self, sentence: list[str]) -> list[str]:
        found = np.zeros((len(sentence), len(self.tags)))
        for total, row in zip(found, features(sentence), strict=True):
            for name, value in row.items():
                if isinstance(value, str):
                    name, value = f"{name}:{value}", 1.0
                if name in self.weights:
                    total += value * self.weights[name]
        chain = Chain.of(torch.from_numpy(found)[None], self.edges).shifted(self.shift)
        (path,) = chain.best_path(torch.ones(1, len(sentence), dtype=torch.bool))
        return [self.tags[tag] for tag in path.tolist()]


def shifted_random_field(data: Data, seed: int) -> Fitted:
    """Let dev choose, too, how readily the baseline tells an entity, as the tagger."""
    field = random_field(data, seed)[0].field
    found = {}
    for shift in np.arange(0, 4.5, 0.5):
        predict = ShiftedField(field, shift)
        f1 = scores(data.y["dev"], predict(data.X["dev"]))["f1"]
        found.setdefault(f1, predict)
    return found[max(found)], ""


def tagger(architecture: Any, **params: Any) -> Any:
    """Say how a tagger is fitted; dev chooses its epoch."""

    def fit(data: Data, seed: int) -> Fitted:
        fitted = AttentionTagger(
            architecture,
            token_encoder=TokenEncoder("word", min_frequency=3),
            random_state=seed,
            num_threads=1,
            early_stopping=True,
            **params,
        )
        dev = {"X_val": data.X["dev"], "y_val": data.y["dev"]}
        fitted.fit(data.X["train"], data.y["train"], **dev)
        return fitted.predict, fitted.n_iter_

    return fit


FIELDS = {
    "CRF of word shapes": random_field,
    "CRF of word shapes, shifted": shifted_random_field,
}
SIZES = TENER(num_layers=1, word_dropout=0.4)
STEPS: dict[str, Any] = {"max_epochs": 12, "batch_size": 32}
MODELS = FIELDS | {
    "tener, crf": tagger(SIZES, **STEPS),
    "tener, crf, not shifted": tagger(SIZES, outside_shift=0.0, **STEPS),
    "tener": tagger(SIZES, crf=False, **STEPS),
    "self_attention, crf": tagger(SelfAttention(d_model=64, num_layers=1), **STEPS),
}


def scores(truth: Sentences, predicted: Any) -> dict[str, float]:
    """Compare entities: they count where their type and both ends are right."""
    predicted = [list(tags) for tags in predicted]
    strict: dict[str, Any] = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    return {
        "f1": f1_score(truth, predicted, **strict),
        "precision": precision_score(truth, predicted, **strict),
        "recall": recall_score(truth, predicted, **strict),
    }


def measure(fit: Any, data: Data, seed: int) -> dict[str, Any]:
    """Fit a model and score it."""
    start, cpu = time.perf_counter(), time.process_time()
    predict, epochs = fit(data, seed)
    fitted, fit_cpu = time.perf_counter(), time.process_time() - cpu
    found = scores(data.y["test"], predict(data.X["test"]))
    done = time.perf_counter()
    return found | {
        "dev_f1": scores(data.y["dev"], predict(data.X["dev"]))["f1"],
        "fit_seconds": fitted - start,
        "fit_cpu_seconds": fit_cpu,
        "predict_seconds": done - fitted,
        "epochs": epochs,
    }


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["model", "threads", "seeds", "test F1", "precision", "recall", "dev F1"]
    header += ["epochs", "fit (CPU s)", "predict (s)"]
    rows = []
    for labels, found in results.groups("model", "threads").items():
        row = [*labels, str(len(found))]
        for column in ("f1", "precision", "recall", "dev_f1"):
            row.append(spread((float(each[column]) for each in found), 4))
        for column, digits in (
            ("epochs", 0),
            ("fit_cpu_seconds", 0),
            ("predict_seconds", 1),
        ):
            values = [float(each[column]) for each in found if each[column]]
            row.append(f"{np.median(values):.{digits}f}" if values else "-")
        rows.append(row)
    return header, rows


def jobs(models: list[str], seeds: list[int]) -> Iterator[tuple[str, int]]:
    """Give the rows, the first seed of all models first."""
    for seed in seeds:
        for model in models:
            if model not in FIELDS:
                yield model, seed
            elif seed == seeds[0]:
                yield model, 0  # without randomness


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED"
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    args = parser.parse_args()
    use_threads(args.threads)
    warnings.simplefilter("error")
    # Of the dev part, a creative work that begins with I.
    warnings.filterwarnings("ignore", "1 of 4403 sentences do not keep to tag_scheme")
    results = Results("wnut17", KEY, args.force)
    data = load()
    for model, seed in jobs(args.models, args.seeds):
        key = {"model": model, "seed": seed, "threads": args.threads}
        if not results.missing(**key):
            continue
        found = measure(MODELS[model], data, seed)
        results.add(**key, **found)
        print(model, seed, f"{found['f1']:.4f}", flush=True)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
