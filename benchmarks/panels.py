"""Classify the series of UCR and UEA sets that sktime ships, on their default splits.

Every estimator has its default parameters. See README.md for the protocols.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import sktime.datasets
from _results import Results, as_text, options, spread, use_threads
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skattn import AttentionTimeSeriesClassifier

KEY = ("dataset", "model", "seed", "threads")

DATASETS = {
    "JapaneseVowels": sktime.datasets.load_japanese_vowels,
    "ArrowHead": sktime.datasets.load_arrow_head,
    "GunPoint": sktime.datasets.load_gunpoint,
    "ItalyPowerDemand": sktime.datasets.load_italy_power_demand,
    "BasicMotions": sktime.datasets.load_basic_motions,
}


def flatten(panel: pd.DataFrame, length: int) -> np.ndarray:
    """Put the channels behind each other, all cut or padded with 0 to a length."""
    flat = np.zeros((len(panel), panel.shape[1], length))
    for row in range(len(panel)):
        for channel in range(panel.shape[1]):
            values = np.asarray(panel.iat[row, channel])[:length]
            flat[row, channel, : len(values)] = values
    return flat.reshape(len(panel), -1)


def models(
    length: int, architectures: list[str], seeds: list[int], threads: int
) -> Iterator[tuple[str, int, Any]]:
    """Give name, seed and estimator of each row."""
    flat = FunctionTransformer(flatten, kw_args={"length": length})
    yield "1-NN, Euclidean", 0, make_pipeline(flat, KNeighborsClassifier(1))
    linear = LogisticRegression(max_iter=5000)
    yield (
        "LogisticRegression",
        0,
        make_pipeline(flat, StandardScaler(), linear),
    )
    if find_spec("numba") is not None:
        from sktime.classification.kernel_based import RocketClassifier

        for seed in seeds:
            yield "ROCKET", seed, RocketClassifier(random_state=seed)
    for architecture in architectures:
        for seed in seeds:
            yield (
                architecture,
                seed,
                AttentionTimeSeriesClassifier(
                    architecture, num_threads=threads, random_state=seed
                ),
            )


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["dataset", "model", "seeds", "accuracy", "fit (s)", "predict (s)"]
    rows = []
    for (dataset, model), found in results.groups("dataset", "model").items():
        fit = np.median([float(row["fit_seconds"]) for row in found])
        predict = np.median([float(row["predict_seconds"]) for row in found])
        accuracy = spread((float(row["accuracy"]) for row in found), 4)
        rows.append(
            [dataset, model, str(len(found)), accuracy]
            + [f"{fit:.2f}", f"{predict:.3f}"]
        )
    order = list(DATASETS)
    return header, sorted(rows, key=lambda row: order.index(row[0]))


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, seeds=3)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    args = parser.parse_args()
    use_threads(args.threads)
    warnings.simplefilter("error")
    results = Results("panels", KEY, args.force)
    for dataset in args.datasets:
        X_train, y_train = DATASETS[dataset](split="train")
        X_test, y_test = DATASETS[dataset](split="test")
        longest = int(X_train.map(len).to_numpy().max())
        for model, seed, estimator in models(
            longest, args.architectures, args.seeds, args.threads
        ):
            key = {
                "dataset": dataset,
                "model": model,
                "seed": seed,
                "threads": args.threads,
            }
            if not results.missing(**key):
                continue
            start = time.perf_counter()
            estimator.fit(X_train, y_train)
            fitted = time.perf_counter()
            predicted = estimator.predict(X_test)
            done = time.perf_counter()
            accuracy = accuracy_score(y_test, predicted)
            results.add(
                **key,
                accuracy=accuracy,
                fit_seconds=fitted - start,
                predict_seconds=done - fitted,
                epochs=getattr(estimator, "n_iter_", ""),
            )
            print(dataset, model, seed, f"{accuracy:.4f}", flush=True)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
