"""Cora, the public split: accuracy, and the time of a step beside a plain loop.

140 nodes train, 500 choose the epoch (or, for logistic regression, the strength), 1,000
test. The loop is that of torch-geometric's own example. Needs ``planetoid/Cora/raw`` in
``SKATTN_DATA``, or the network; and torch-geometric.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _results import Results, as_text, options, quartiles, spread, use_threads
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from torch import nn
from torch.nn import functional

from skattn import Graph, NodeClassifier
from skattn.architectures import GAT, GATv2, GraphTransformer

KEY = ("measure", "model", "settings", "seed", "threads")

MODELS = ("gat", "gatv2", "graph_transformer", "logistic regression", "loop")

# Inverse strengths of which the validation nodes choose one.
STRENGTHS = 10.0 ** np.arange(-2, 5)

LOOP_EPOCHS = 200


@dataclass(frozen=True)
class Cora:
    """The graph, labels, and the positions of the three parts."""

    graph: Graph
    data: Any  # of torch-geometric, its features dense and row-normalised
    y: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def load_cora() -> Cora:
    """Read Cora by torch-geometric, in a folder that it may write to."""
    from torch_geometric.datasets import Planetoid
    from torch_geometric.transforms import NormalizeFeatures

    with tempfile.TemporaryDirectory() as root:
        if "SKATTN_DATA" in os.environ:
            raw = Path(os.environ["SKATTN_DATA"]) / "planetoid" / "Cora" / "raw"
            target = Path(root) / "Cora" / "raw"
            target.mkdir(parents=True)
            for file in raw.iterdir():
                shutil.copyfile(file, target / file.name)
        data = Planetoid(root, "Cora")[0]
    x = sparse.csr_array(data.x.numpy())
    graph = Graph(data.edge_index.numpy(), x)
    masks = (data.train_mask, data.val_mask, data.test_mask)
    parts = [np.flatnonzero(mask.numpy()) for mask in masks]
    return Cora(graph, NormalizeFeatures()(data), data.y.numpy(), *parts)


class Loop(nn.Module):
    """The network of torch-geometric's example."""

    def __init__(self, convolution: Any, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = convolution(n_features, 8, heads=8, dropout=0.6)
        self.conv2 = convolution(64, n_classes, heads=1, concat=False, dropout=0.6)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        """Compute scores of all nodes."""
        x = functional.dropout(x, p=0.6, training=self.training)
        x = functional.elu(self.conv1(x, edge_index))
        x = functional.dropout(x, p=0.6, training=self.training)
        return self.conv2(x, edge_index)


class Example:
    """The training of torch-geometric's example.

    Parameters
    ----------
    cora : Cora
        The data.
    convolution : type
        The layer.
    seed : int
        Of weights and dropout.
    """

    def __init__(self, cora: Cora, convolution: Any, seed: int) -> None:
        torch.manual_seed(seed)
        self.data = cora.data
        self.model = Loop(convolution, cora.data.num_features, int(cora.y.max()) + 1)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=0.005, weight_decay=5e-4
        )

    def step(self) -> None:
        """Train once on the training nodes."""
        data = self.data
        self.model.train()
        self.optimizer.zero_grad()
        out = self.model(data.x, data.edge_index)
        mask = data.train_mask
        functional.cross_entropy(out[mask], data.y[mask]).backward()
        self.optimizer.step()

    @torch.no_grad()
    def accuracies(self) -> tuple[float, float]:
        """Accuracy on the validation nodes and on the test nodes."""
        data = self.data
        self.model.eval()
        right = self.model(data.x, data.edge_index).argmax(dim=-1) == data.y
        return tuple(
            right[mask].double().mean().item()
            for mask in (data.val_mask, data.test_mask)
        )

    def run(self) -> dict[str, float]:
        """Train, and keep the test accuracy of the best epoch in validation."""
        best_validation, best_test = 0.0, 0.0
        for _ in range(LOOP_EPOCHS):
            self.step()
            validation, test = self.accuracies()
            if validation > best_validation:
                best_validation, best_test = validation, test
        return {
            "validation": best_validation,
            "accuracy": best_test,
            "epochs": LOOP_EPOCHS,
        }


def convolutions() -> dict[str, Any]:
    """Give torch-geometric's layers by the name of the architecture."""
    from torch_geometric.nn import GATConv, GATv2Conv

    return {"gat": GATConv, "gatv2": GATv2Conv}


def run_estimator(cora: Cora, estimator: NodeClassifier, stops: bool) -> dict[str, Any]:
    """Fit once; the validation nodes choose the epoch, or are not looked at."""
    held_out: dict[str, Any] = {}
    if stops:
        held_out = {"X_val": cora.validation, "y_val": cora.y[cora.validation]}
    estimator.fit(cora.train, cora.y[cora.train], **held_out)
    return {
        "validation": estimator.score(cora.validation, cora.y[cora.validation]),
        "accuracy": estimator.score(cora.test, cora.y[cora.test]),
        "epochs": estimator.n_iter_,
    }


def run_logistic(cora: Cora, x: Any) -> dict[str, Any]:
    """Fit logistic regressions; the validation nodes choose the strength."""
    fitted = [
        LogisticRegression(C=strength, max_iter=5000).fit(
            x[cora.train], cora.y[cora.train]
        )
        for strength in STRENGTHS
    ]
    scores = [
        model.score(x[cora.validation], cora.y[cora.validation]) for model in fitted
    ]
    best = int(np.argmax(scores))
    return {
        "validation": scores[best],
        "accuracy": fitted[best].score(x[cora.test], cora.y[cora.test]),
    }


def smoothed(graph: Graph, hops: int) -> Any:
    """Average features along edges, as simplified graph convolution does."""
    ones = np.ones(graph.n_edges)
    n = graph.n_nodes
    adjacency = sparse.csr_array((ones, tuple(graph.edge_index)), shape=(n, n))
    adjacency = adjacency + sparse.eye_array(n)
    scale = sparse.diags_array(adjacency.sum(axis=1) ** -0.5)
    step = (scale @ adjacency @ scale).tocsr()
    x = sparse.csr_array(normalize(graph.x, norm="l1"))
    for _ in range(hops):
        x = step @ x
    return sparse.csr_array(x)


Job = tuple[str, str, int, Callable[[], dict[str, Any]]]


def jobs(cora: Cora, args: argparse.Namespace) -> Iterator[Job]:
    """Give model, settings, seed and measurement of all accuracies."""
    if "logistic regression" in args.models:
        for settings, x in (
            ("features alone", sparse.csr_array(normalize(cora.graph.x, norm="l1"))),
            ("averaged over 2 hops", smoothed(cora.graph, 2)),
        ):
            yield (
                "logistic regression",
                settings,
                0,
                lambda x=x: run_logistic(cora, x),
            )
    for seed in args.seeds:
        for name, architecture in (
            ("gat", GAT()),
            ("gatv2", GATv2()),
            ("graph_transformer", GraphTransformer()),
        ):
            for settings, recipe, stops in (
                ("recipe", getattr(architecture, "recipe", GAT.recipe), True),
                ("defaults, no validation", {}, False),
            ):
                estimator = NodeClassifier(
                    clone(architecture),
                    graph=cora.graph,
                    random_state=seed,
                    num_threads=args.threads,
                    **recipe,
                )
                if name in args.models:
                    yield (
                        name,
                        settings,
                        seed,
                        lambda est=estimator, stops=stops: run_estimator(
                            cora, est, stops
                        ),
                    )
        if "loop" in args.models:
            for name, layer in convolutions().items():
                yield (
                    f"torch-geometric {name}",
                    "example",
                    seed,
                    lambda layer=layer, seed=seed: Example(cora, layer, seed).run(),
                )


def seconds_a_step(
    cora: Cora, name: str, side: str, seed: int, steps: int, args: argparse.Namespace
) -> dict[str, float]:
    """Time so many steps; ours with all that `fit` does before and after them."""
    if side == "loop":
        example = Example(cora, convolutions()[name], seed)
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            example.step()
    else:
        architecture = {"gat": GAT, "gatv2": GATv2}[name]
        options = {**architecture.recipe, "early_stopping": False, "max_epochs": steps}
        estimator = NodeClassifier(
            architecture(),
            graph=cora.graph,
            random_state=seed,
            num_threads=args.threads,
            **options,
        )
        y = cora.y[cora.train]
        start, cpu = time.perf_counter(), time.process_time()
        estimator.fit(cora.train, y)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"step_seconds": wall / steps, "step_cpu_seconds": cpu / steps}


def measure_steps(cora: Cora, results: Results, args: argparse.Namespace) -> None:
    """Time both sides in turn; who comes first alternates."""
    settings = f"{args.steps} steps"
    for name in ("gat", "gatv2"):
        if name not in args.models or "loop" not in args.models:
            continue
        key = {"measure": "time", "settings": settings, "threads": args.threads}
        models = {"ours": name, "loop": f"torch-geometric {name}"}
        missing = [
            number
            for number in range(args.rounds)
            if any(
                results.missing(**key, model=model, seed=number)
                for model in models.values()
            )
        ]
        if not missing:
            continue
        for side in models:  # the first run of either side counts nowhere
            seconds_a_step(cora, name, side, 0, 20, args)
        for number in missing:
            order = list(models) if number % 2 == 0 else list(models)[::-1]
            for side in order:
                found = seconds_a_step(cora, name, side, number, args.steps, args)
                results.add(
                    **key,
                    model=models[side],
                    seed=number,
                    **found,
                    **{"torch-geometric": version("torch-geometric")},
                )
                print(models[side], number, found, flush=True)


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average accuracies over seeds; medians of times, quartiles of their ratios."""
    header = ["model", "settings", "threads", "runs", "validation", "test"]
    header += ["epochs", "fit (s)", "ms a step", "of the loop's", "quartiles"]
    header += ["CPU-time ratio"]
    rows = []
    groups = results.groups("measure", "model", "settings", "threads")
    for (measure, model, settings, threads), found in groups.items():
        start = [model, settings, threads, str(len(found))]
        if measure == "time":
            pair = ("time", f"torch-geometric {model}", settings, threads)
            rows.append(start + ["-"] * 4 + _times(found, groups.get(pair)))
            continue
        epochs = "-"
        if found[0].get("epochs"):
            epochs = f"{np.median([float(row['epochs']) for row in found]):.0f}"
        rows.append(
            [
                *start,
                spread((100 * float(row["validation"]) for row in found), 2),
                spread((100 * float(row["accuracy"]) for row in found), 2),
                epochs,
                f"{np.median([float(row['fit_seconds']) for row in found]):.1f}",
            ]
            + ["-"] * 4
        )
    return header, rows


def _times(ours: list[dict[str, str]], loop: list[dict[str, str]] | None) -> list[str]:
    """Write the median time of a step, and its ratio to that of the loop."""
    lower, median, upper = quartiles(1e3 * float(row["step_seconds"]) for row in ours)
    if loop is None:
        return [f"{median:.2f} ({lower:.2f}-{upper:.2f})", "-", "-", "-"]
    ratios = {}
    for name in ("step_seconds", "step_cpu_seconds"):
        beside = {row["seed"]: float(row[name]) for row in loop}
        ratios[name] = quartiles(
            float(row[name]) / beside[row["seed"]]
            for row in ours
            if row["seed"] in beside
        )
    low, ratio, high = ratios["step_seconds"]
    return [
        f"{median:.2f} ({lower:.2f}-{upper:.2f})",
        f"{ratio:.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{ratios['step_cpu_seconds'][1]:.3f}",
    ]


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=list(range(20)), metavar="SEED"
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--rounds", type=int, default=11, help="of timed steps")
    parser.add_argument("--steps", type=int, default=100, help="of a timed round")
    parser.add_argument(
        "--measure",
        nargs="*",
        choices=["accuracy", "time"],
        default=["time", "accuracy"],
    )
    args = parser.parse_args()
    use_threads(args.threads)
    results = Results("cora", KEY, args.force)
    cora = load_cora()
    warnings.simplefilter("error")  # later than torch-geometric's own
    if "time" in args.measure:
        measure_steps(cora, results, args)
    if "accuracy" in args.measure:
        for model, settings, seed, measure in jobs(cora, args):
            key = {
                "measure": "accuracy",
                "model": model,
                "settings": settings,
                "seed": seed,
                "threads": args.threads,
            }
            if not results.missing(**key):
                continue
            start, cpu = time.perf_counter(), time.process_time()
            found = measure()
            found["fit_seconds"] = time.perf_counter() - start
            found["fit_cpu_seconds"] = time.process_time() - cpu
            results.add(
                **key, **found, **{"torch-geometric": version("torch-geometric")}
            )
            print(model, settings, seed, f"{found['accuracy']:.4f}", flush=True)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
