"""Tell the sentiment of sentences (SST-2) beside linear models, in one run.

Every model is fitted to the 6,920 training sentences alone. See README.md for the
protocol.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from _results import Results, as_text, options, spread, use_threads
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from skattn import AttentionClassifier
from skattn.architectures import (
    BidirectionalAttention,
    SelfAttention,
    TemporalAttention,
    TextEncoder,
)
from skattn.datasets import fetch_sst2

KEY = ("model", "seed", "threads")

# Chosen on the dev sentences; the same for all architectures.
TRAINING = {"max_epochs": 6, "batch_size": 32, "lr": 2e-3}
DROPOUT = {"dropout": 0.3, "embedding_dropout": 0.5}
ARCHITECTURES = {
    "bidirectional_attention": BidirectionalAttention(**DROPOUT),
    "self_attention": SelfAttention(d_model=64, **DROPOUT),
    "temporal_attention": TemporalAttention(**DROPOUT),
    "text_encoder": TextEncoder(**DROPOUT),
}


def linear_models() -> Iterator[tuple[str, Any]]:
    """Give the baselines."""
    words = TfidfVectorizer(ngram_range=(1, 2))
    yield (
        "TF-IDF + LogisticRegression",
        make_pipeline(words, LogisticRegression(C=10, max_iter=1000)),
    )
    both = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 6), sublinear_tf=True),
    )
    yield "word + character TF-IDF + LinearSVC", make_pipeline(both, LinearSVC(C=0.5))


def models(
    architectures: list[str], seeds: list[int], threads: int, with_alone: bool
) -> Iterator[tuple[str, int, Any]]:
    """Give name, seed and estimator of each row."""
    for name, model in linear_models():
        yield name, 0, model
    for architecture in architectures:
        for seed in seeds:
            clf = classifier(architecture, seed, threads)
            yield architecture, seed, clf
            if with_alone:
                alone = clone(clf).set_params(linear_skip=False)
                yield f"{architecture}, no linear model", seed, alone


def classifier(architecture: str, seed: int, threads: int) -> AttentionClassifier:
    """Make the classifier of a row."""
    return AttentionClassifier(
        ARCHITECTURES[architecture],
        num_threads=threads,
        random_state=seed,
        **TRAINING,
    )


def measure(model: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """Fit and score."""
    start, cpu_start = time.perf_counter(), time.process_time()
    model.fit(*parts["train"])
    fitted, cpu = time.perf_counter(), time.process_time() - cpu_start
    found = {name: model.score(*parts[name]) for name in ("dev", "test")}
    done = time.perf_counter()
    return {
        "dev_accuracy": found["dev"],
        "test_accuracy": found["test"],
        "fit_seconds": fitted - start,
        "fit_cpu_seconds": cpu,
        "predict_seconds": done - fitted,
        "epochs": getattr(model, "n_iter_", ""),
    }


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["model", "threads", "seeds", "dev accuracy", "test accuracy"]
    header += ["fit (s)", "fit CPU (s)"]
    rows = []
    for labels, found in results.groups("model", "threads").items():
        rows.append(
            [
                *labels,
                str(len(found)),
                spread((float(row["dev_accuracy"]) for row in found), 4),
                spread((float(row["test_accuracy"]) for row in found), 4),
                *(
                    f"{np.median([float(row[name]) for row in found]):.1f}"
                    for name in ("fit_seconds", "fit_cpu_seconds")
                ),
            ]
        )
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, seeds=3)
    parser.set_defaults(architectures=list(ARCHITECTURES))
    parser.add_argument(
        "--alone", action="store_true", help="also fit without the linear model"
    )
    args = parser.parse_args()
    use_threads(args.threads)
    warnings.simplefilter("error")
    results = Results("sst2", KEY, args.force)
    parts = {
        name: fetch_sst2(name, return_X_y=True) for name in ("train", "dev", "test")
    }
    chosen = args.architectures, args.seeds, args.threads, args.alone
    for name, seed, model in models(*chosen):
        key = {"model": name, "seed": seed, "threads": args.threads}
        if not results.missing(**key):
            continue
        found = measure(model, parts)
        results.add(**key, **found)
        print(name, seed, f"{found['test_accuracy']:.4f}", flush=True)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
