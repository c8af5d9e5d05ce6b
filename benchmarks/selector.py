"""Select 10 of 200 columns: AttentionSelector beside SelectFromModel(RandomForest).

python benchmarks/selector.py --threads 1
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from _results import Results, as_text, options, spread, use_threads
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skattn import AttentionSelector

KEY = ("data", "selector", "seed", "threads")

N_COLUMNS = 200
N_WANTED = 10
N_TEST = 1000

FOREST = "SelectFromModel(RandomForest)"

# Data, a row of the table each: training rows.
DATA = {"clusters": 2000, "additive": 1000, "breast cancer": 426}


def clusters(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make scikit-learn's own: two Gaussian clusters a class, in ten columns."""
    return make_classification(
        DATA["clusters"] + N_TEST,
        N_COLUMNS,
        n_informative=N_WANTED,
        n_redundant=0,
        shuffle=False,
        random_state=seed,
    )


def additive(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Add up two columns as they are, their squares, sizes, signs and waves."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(DATA["additive"] + N_TEST, N_COLUMNS))
    curves = (np.array, np.square, np.abs, np.sign, lambda x: np.sin(2 * x))
    parts = [curves[at % 5](X[:, at]) for at in range(N_WANTED)]
    total = np.sum([part - part.mean() for part in parts], axis=0)
    total += rng.normal(scale=0.5, size=len(X))
    return X, (total > np.median(total)).astype(int)


def cancer(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Put 170 columns of noise beside the 30 of breast cancer."""
    X, y = load_breast_cancer(return_X_y=True)
    noise = np.random.default_rng(seed).normal(size=(len(X), N_COLUMNS - X.shape[1]))
    return np.hstack([X, noise]), y


MAKERS = {"clusters": clusters, "additive": additive, "breast cancer": cancer}


def make(selector: str, seed: int) -> Any:
    """Make the selector of a row; a name in brackets is a method."""
    if selector == FOREST:
        forest = RandomForestClassifier(random_state=seed)
        return SelectFromModel(forest, max_features=N_WANTED, threshold=-np.inf)
    method = selector.partition("(")[2].rstrip(")")
    return AttentionSelector(
        method=method,
        max_features=N_WANTED,
        check_faithfulness=False,
        random_state=seed,
    )


def measure(data: str, selector: str, seed: int) -> dict[str, Any]:
    """Select on the training rows, and score two classifiers on the others."""
    X, y = MAKERS[data](seed)
    columns = np.random.default_rng(seed).permutation(N_COLUMNS)
    n_true = N_COLUMNS - 170 if data == "breast cancer" else N_WANTED
    X_train, X_test, y_train, y_test = train_test_split(
        X[:, columns], y, train_size=DATA[data], stratify=y, random_state=seed
    )
    model = make(selector, seed)
    start, cpu_start = time.perf_counter(), time.process_time()
    model.fit(X_train, y_train)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    few, few_test = model.transform(X_train), model.transform(X_test)
    forest = RandomForestClassifier(random_state=seed).fit(few, y_train)
    machine = make_pipeline(StandardScaler(), SVC()).fit(few, y_train)
    return {
        "found": int((columns[model.get_support()] < n_true).sum()),
        "forest": forest.score(few_test, y_test),
        "svc": machine.score(few_test, y_test),
        "fit_seconds": seconds,
        "fit_cpu_seconds": cpu,
    }


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["data", "selector", "found", "least", "random forest", "SVC", "CPU time"]
    header += ["ratio", "seeds"]
    groups = results.groups("data", "selector", "threads")
    rows = []
    for (data, selector, threads), found in groups.items():

        def of(name: str, found: list[dict[str, str]] = found) -> list[float]:
            return [float(row[name]) for row in found]

        seconds = np.mean(of("fit_cpu_seconds"))
        peer = groups.get((data, FOREST, threads), [])
        theirs = [float(row["fit_cpu_seconds"]) for row in peer]
        rows.append(
            [
                data,
                selector,
                spread(of("found"), 1),
                f"{min(of('found')):.0f}",
                spread(of("forest"), 3),
                spread(of("svc"), 3),
                f"{seconds:.1f} s",
                f"{seconds / np.mean(theirs):.0f}" if theirs else "",
                str(len(found)),
            ]
        )
    return header, rows


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = options(__doc__, seeds=5)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA)
    parser.add_argument(
        "--methods", nargs="+", default=["gradient", "rollout", "raw"], metavar="METHOD"
    )
    args = parser.parse_args()
    use_threads(args.threads)
    results = Results("selector", KEY, args.force)
    selectors = [FOREST, *(f"AttentionSelector({name})" for name in args.methods)]
    for seed in args.seeds:
        for data in args.data:
            for selector in selectors:
                key = {"data": data, "selector": selector, "seed": seed}
                key["threads"] = args.threads
                if results.missing(**key):
                    found = measure(data, selector, seed)
                    results.add(**key, **found)
                    sys.stderr.write(f"{key} {found}\n")
    sys.stdout.write(as_text(*table(results)) + "\n")


if __name__ == "__main__":
    main()
