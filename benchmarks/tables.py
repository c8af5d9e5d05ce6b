"""Compare with gradient boosting and linear models on tables, in one run.

Every estimator has its default parameters (gradient boosting on housing 500
iterations). See README.md for the protocols.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _results import Results, as_text, options, spread, use_threads
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import (
    fetch_california_housing,
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skattn import AttentionClassifier, AttentionRegressor

KEY = ("dataset", "model", "seed", "threads")

CLASSIFICATION = {
    "breast cancer": load_breast_cancer,
    "wine": load_wine,
    "digits": load_digits,
}
DATASETS = ("housing", *CLASSIFICATION, "diabetes")


def load_housing() -> tuple[str, pd.DataFrame, pd.Series]:
    """Load California housing, targets in units of 100,000 dollars."""
    folder = os.environ.get("SKATTN_DATA")
    if folder is None:
        print(
            "SKATTN_DATA is not set: taking scikit-learn's California housing, which "
            "has neither a category nor missing values and is another problem."
        )
        X, y = fetch_california_housing(return_X_y=True, as_frame=True)
        return "housing (scikit-learn)", X, y
    frame = pd.read_csv(Path(folder) / "tabular" / "housing.csv")
    frame["ocean_proximity"] = frame["ocean_proximity"].astype("category")
    y = frame.pop("median_house_value") / 1e5
    return "housing", frame, y


def ridge() -> Any:
    """Make the linear row of a table with gaps and categories."""
    is_number = make_column_selector(dtype_include="number")
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
    )
    return make_pipeline(
        make_column_transformer(
            (numbers, is_number),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector("ocean")),
        ),
        Ridge(),
    )


def models(
    dataset: str, architectures: list[str], seeds: list[int], threads: int
) -> Iterator[tuple[str, int, Any]]:
    """Give name, seed and estimator of each row."""
    if dataset == "housing":
        yield "Ridge", 0, ridge()
        for seed in seeds:
            yield (
                "HistGradientBoosting (500 iterations)",
                seed,
                HistGradientBoostingRegressor(
                    max_iter=500, categorical_features="from_dtype", random_state=seed
                ),
            )
        ours: Any = AttentionRegressor
    elif dataset == "diabetes":
        yield "Ridge", 0, make_pipeline(StandardScaler(), Ridge())
        for seed in seeds:
            boosting: Any = HistGradientBoostingRegressor(random_state=seed)
            yield "HistGradientBoosting", seed, boosting
        ours = AttentionRegressor
    else:
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        yield "LogisticRegression", 0, linear
        for seed in seeds:
            boosting = HistGradientBoostingClassifier(random_state=seed)
            yield "HistGradientBoosting", seed, boosting
        ours = AttentionClassifier
    for architecture in architectures:
        for seed in seeds:
            estimator = ours(architecture, num_threads=threads, random_state=seed)
            yield architecture, seed, estimator


def hold_out(estimator: Any, X: Any, y: Any) -> dict[str, Any]:
    """Score on a fifth of the rows."""
    parts = train_test_split(X, y, test_size=0.2, random_state=0)
    X_train, X_test, y_train, y_test = parts
    start, cpu_start = time.perf_counter(), time.process_time()
    estimator.fit(X_train, y_train)
    fitted, cpu = time.perf_counter(), time.process_time() - cpu_start
    predicted = estimator.predict(X_test)
    done = time.perf_counter()
    return {
        "metric": "RMSE",
        "value": root_mean_squared_error(y_test, predicted),
        "fit_seconds": fitted - start,
        "fit_cpu_seconds": cpu,
        "predict_seconds": done - fitted,
        "epochs": getattr(estimator, "n_iter_", ""),
    }


def five_folds(estimator: Any, X: Any, y: Any, metric: str) -> dict[str, Any]:
    """Score by five folds, as `cross_val_score` does with ``cv=5``."""
    scores = cross_validate(estimator, X, y, cv=5, error_score="raise")
    return {
        "metric": metric,
        "value": scores["test_score"].mean(),
        "fold_deviation": scores["test_score"].std(ddof=1),
        "fit_seconds": scores["fit_time"].mean(),
        "predict_seconds": scores["score_time"].mean(),
    }


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["dataset", "metric", "model", "threads", "seeds", "value"]
    header += ["fit (s)", "predict (s)"]
    rows = []
    columns = ("dataset", "metric", "model", "threads")
    for labels, found in results.groups(*columns).items():
        fit = np.median([float(row["fit_seconds"]) for row in found])
        predict = np.median([float(row["predict_seconds"]) for row in found])
        values = (float(row["value"]) for row in found)
        rows.append(
            [*labels, str(len(found)), spread(values, 4)]
            + [f"{fit:.2f}", f"{predict:.3f}"]
        )
    order = [row[0] for row in rows]
    return header, sorted(rows, key=lambda row: order.index(row[0]))


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, seeds=3)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    args = parser.parse_args()
    use_threads(args.threads)
    warnings.simplefilter("error")
    results = Results("tables", KEY, args.force)
    for dataset in args.datasets:
        name = dataset
        if dataset == "housing":
            name, X, y = load_housing()
        else:
            load = {**CLASSIFICATION, "diabetes": load_diabetes}[dataset]
            X, y = load(return_X_y=True)
        for model, seed, estimator in models(
            dataset, args.architectures, args.seeds, args.threads
        ):
            key = {
                "dataset": name,
                "model": model,
                "seed": seed,
                "threads": args.threads,
            }
            if not results.missing(**key):
                continue
            if dataset == "housing":
                found = hold_out(estimator, X, y)
            else:
                metric = "R2" if dataset == "diabetes" else "accuracy"
                found = five_folds(estimator, X, y, metric)
            results.add(**key, **found)
            print(name, model, seed, f"{found['value']:.4f}", flush=True)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
