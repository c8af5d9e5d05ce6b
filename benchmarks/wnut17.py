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
from _results import Results, as_text, options, spread, use_threads
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from skattn import AttentionTagger
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


def random_field(data: Data, seed: int) -> tuple[Callable[[Sentences], Any], Any]:
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
    return lambda X: best.predict([features(sentence) for sentence in X]), ""


def tagger(architecture: Any, **params: Any) -> Any:
    """Say how a tagger is fitted; dev chooses its epoch."""

    def fit(data: Data, seed: int) -> tuple[Callable[[Sentences], Any], Any]:
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


MODELS = {
    "CRF of word shapes": random_field,
    "tener, crf": tagger(TENER(num_layers=1, word_dropout=0.4), max_epochs=15),
    "tener": tagger(TENER(num_layers=1, word_dropout=0.4), max_epochs=15, crf=False),
    "self_attention, crf": tagger(SelfAttention(d_model=64, num_layers=1)),
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
            if seed == seeds[0] or model != "CRF of word shapes":  # has no randomness
                yield model, seed


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
