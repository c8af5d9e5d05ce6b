"""Measure time and memory as a graph grows to a million nodes.

Training samples neighbours, prediction goes layer by layer. Every measurement runs in a
process of its own: one for times, one for memory. See README.md for what is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from _results import Results, as_text, options, quartiles, use_threads
from forecast_memory import MALLOC, peak_bytes, present_bytes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skattn import Graph, NodeClassifier
from skattn._engine._neighbourhoods import NeighbourFinder
from skattn._engine._node_samples import NodeSamples

KEY = ("architecture", "nodes", "neighbours", "steps", "batch", "threads", "run")

CLASSES = 8
FEATURES = 32
EDGES_A_NODE = 5  # each in both directions
TRAINED = 10_000
FEW = 1_000


def make_graph(n_nodes: int, seed: int = 0) -> tuple[Graph, np.ndarray]:
    """Make a graph with hubs, whose labels show in the features of many neighbours.

    A node's features tell its class badly. Four of five edges stay inside a class, so
    the neighbours' features tell it better. Degrees follow a power law.
    """
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(CLASSES, size=n_nodes))
    weight = (rng.permutation(n_nodes) + 10.0) ** -0.6
    total = np.append(0, weight.cumsum())
    block = np.searchsorted(y, np.arange(CLASSES + 1))
    n_edges = EDGES_A_NODE * n_nodes
    first = _draw(total, rng.random(n_edges))
    label = y[first]
    low, high = total[block[label]], total[block[label + 1]]
    is_alike = rng.random(n_edges) < 0.8
    low[~is_alike], high[~is_alike] = 0, total[-1]
    second = _draw(total, (low + (high - low) * rng.random(n_edges)) / total[-1])
    ends = np.sort(np.stack([first, second]), axis=0)
    ends = ends[:, ends[0] != ends[1]]
    pairs = np.unique(ends[0] * n_nodes + ends[1])
    edges = np.stack([pairs // n_nodes, pairs % n_nodes])
    centre = rng.standard_normal((CLASSES, FEATURES), dtype=np.float32)
    x = rng.standard_normal((n_nodes, FEATURES), dtype=np.float32)
    x += 0.25 * centre[y]
    name = rng.permutation(n_nodes)  # positions that say nothing about the class
    place = np.empty(n_nodes, dtype=np.int64)
    place[name] = np.arange(n_nodes)
    edges = place[edges]
    both = np.concatenate([edges, edges[::-1]], axis=1)
    return Graph(both, x[name]), y[name]


def _draw(total: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Draw nodes with a probability proportional to their weights."""
    drawn = np.searchsorted(total, uniform * total[-1], side="right") - 1
    return np.minimum(drawn, len(total) - 2)


def graph_bytes(graph: Graph) -> int:
    """Count the bytes of all arrays of a graph."""
    arrays = (graph.edge_index, graph.x, graph.indptr)
    return sum(array.nbytes for array in arrays)


class Clock:
    """Add up the seconds spent in a method of a class.

    Parameters
    ----------
    owner : type
        The class.
    name : str
        The method.
    """

    def __init__(self, owner: type, name: str) -> None:
        self.seconds = 0.0
        inner = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(owner, name, timed)


def make_classifier(
    graph: Graph, args: argparse.Namespace, rows: int
) -> NodeClassifier:
    """Make a classifier that trains for so many steps."""
    whole = args.neighbours == "all"
    steps_an_epoch = 1 if whole else -(-rows // args.batch)
    return NodeClassifier(
        args.architecture,
        graph=graph,
        num_neighbors=None if whole else int(args.neighbours),
        batch_size="auto" if whole else args.batch,
        max_epochs=max(args.steps // steps_an_epoch, 1),
        lr=0.01,
        early_stopping=False,
        num_threads=args.threads,
        random_state=0,
    )


def warm_up(args: argparse.Namespace) -> None:
    """Load everything, and give torch's buffers their size."""
    graph, y = make_graph(2_000)
    rows = np.arange(1_000)
    classifier = make_classifier(graph, args, len(rows)).set_params(max_epochs=2)
    classifier.fit(rows, y[rows]).predict(graph.nodes)


def split(n_nodes: int) -> np.ndarray:
    """Choose the nodes that train."""
    order = np.random.default_rng(1).permutation(n_nodes)
    return order[: min(TRAINED, n_nodes // 2)]


def measure_time(args: argparse.Namespace) -> dict[str, float]:
    """Fit and predict in this process, on the clock."""
    warm_up(args)
    graph, y = joblib.load(args.file)
    rows = split(graph.n_nodes)
    gather = Clock(NodeSamples, "take")
    find = Clock(NeighbourFinder, "find")
    classifier = make_classifier(graph, args, len(rows))
    fit, fit_cpu = seconds(lambda: classifier.fit(rows, y[rows]))
    in_epochs = sum(classifier.history_[:, "dur"])
    steps = classifier.n_iter_ * (
        1 if args.neighbours == "all" else -(-len(rows) // args.batch)
    )
    found = {
        "edges": graph.n_edges,
        "largest_degree": int(np.diff(graph.indptr).max()),
        "fit_seconds": fit,
        "fit_cpu_seconds": fit_cpu,
        "step_seconds": in_epochs / steps,
        "steps_done": steps,
        "find_share": find.seconds / in_epochs,
        "gather_share": gather.seconds / in_epochs,
    }
    is_test = np.ones(graph.n_nodes, dtype=bool)
    is_test[rows] = False
    predicted: list[np.ndarray] = []
    ids = graph.nodes
    found["predict_all_seconds"], found["predict_all_cpu_seconds"] = seconds(
        lambda: predicted.append(classifier.predict(ids))
    )
    few = ids[:: max(len(ids) // FEW, 1)][:FEW]
    found["predict_few_seconds"], _ = seconds(lambda: classifier.predict(few))
    found["accuracy"] = (predicted[0] == y)[is_test].mean()
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        linear.fit(graph.x[rows], y[rows])
    found["linear_accuracy"] = (linear.predict(graph.x) == y)[is_test].mean()
    return found


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Time a call: wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_memory(args: argparse.Namespace) -> dict[str, float]:
    """Fit, or predict all nodes, in this process, and look at its peak."""
    warm_up(args)
    graph, y = joblib.load(args.file)
    rows = split(graph.n_nodes)
    ids = graph.nodes
    before = present_bytes()
    classifier = make_classifier(graph, args, len(rows))
    if args.phase == "fit":
        classifier.fit(rows, y[rows])
    else:  # after a fit that takes next to nothing
        classifier.set_params(max_epochs=1, num_neighbors=1, batch_size=args.batch)
        classifier.fit(rows[:FEW], y[rows[:FEW]]).predict(ids)
    return {
        "graph_bytes": graph_bytes(graph),
        f"{args.phase}_bytes": peak_bytes() - before,
    }


def run_child(
    args: argparse.Namespace, phase: str, key: dict[str, Any], file: Path
) -> dict[str, float]:
    """Measure once, in a new process."""
    given = {
        "architecture": args.architecture,
        "batch": args.batch,
        # Later steps take no more memory than the first ones.
        "steps": args.steps if phase == "time" else min(args.steps, 20),
        "threads": args.threads,
        "nodes": key["nodes"],
        "neighbours": key["neighbours"],
        "file": file,
        "phase": phase,
    }
    command = [sys.executable, __file__]
    command += [part for name in given for part in (f"--{name}", str(given[name]))]
    # glibc gives memory back at once, but for the sake of time only where it matters.
    own = {} if phase == "time" else MALLOC
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | own
    )
    if done.returncode:
        raise RuntimeError(f"{key} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def run(args: argparse.Namespace) -> Results:
    """Measure all sizes, each graph being made in a process that then ends."""
    name = "graph_scale"
    if args.fast:  # numbers that nobody keeps
        name = f"{tempfile.mkdtemp()}/{name}"
    results = Results(name, KEY, args.force)
    for nodes in args.nodes:
        ways = [way for way in args.neighbours if way != "all" or nodes <= args.whole]
        keys = [
            {
                "architecture": args.architecture,
                "nodes": nodes,
                "neighbours": way,
                "steps": args.steps,
                "batch": args.batch,
                "threads": args.threads,
                "run": number,
            }
            for number in range(args.runs)
            for way in ways
        ]
        keys = [key for key in keys if results.missing(**key)]
        if not keys:
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "graph.joblib"
            made = run_child(args, "make", keys[0], file)
            for key in keys:
                found = dict(made)
                for phase in ("time", "fit", "predict"):
                    found |= run_child(args, phase, key, file)
                results.add(**key, **found)
                print(key | found, flush=True)
    return results


def measure_making(args: argparse.Namespace) -> dict[str, float]:
    """Make a graph and keep it in a file."""
    start = time.perf_counter()
    graph, y = make_graph(args.nodes[0])
    made = time.perf_counter() - start
    joblib.dump((graph, y), args.file)
    return {"make_seconds": made}


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Give medians over runs, a row for each size."""
    header = ["architecture", "nodes", "edges", "largest degree", "neighbours", "steps"]
    header += ["runs", "ms a step", "CPU ms", "in sampling", "and gathering"]
    header += ["predict all (s)", "CPU s"]
    header += ["1,000 nodes (s)", "accuracy", "linear", "graph (MB)"]
    header += ["fit (MB)", "predict (MB)"]
    rows = []
    groups = results.groups(*KEY[:-1]).items()
    for key, found in sorted(groups, key=lambda group: int(group[0][1])):

        def median(name: str, found: list[dict[str, str]] = found) -> float:
            return quartiles(float(row[name]) for row in found)[1]

        architecture, nodes, neighbours, steps = key[:4]
        rows.append(
            [architecture, f"{int(nodes):,}", f"{median('edges'):,.0f}"]
            + [f"{median('largest_degree'):,.0f}", neighbours, steps]
            + [str(len(found))]
            + [f"{1e3 * median('step_seconds'):.0f}"]
            + [f"{1e3 * median('fit_cpu_seconds') / median('steps_done'):.0f}"]
            + [f"{100 * median(f'{name}_share'):.0f} %" for name in ("find", "gather")]
            + [f"{median('predict_all_seconds'):.1f}"]
            + [f"{median('predict_all_cpu_seconds'):.1f}"]
            + [f"{median('predict_few_seconds'):.2f}"]
            + [f"{median('accuracy'):.3f}", f"{median('linear_accuracy'):.3f}"]
            + [
                f"{median(f'{name}_bytes') / 1e6:.0f}"
                for name in ("graph", "fit", "predict")
            ]
        )
    return header, rows


PHASES: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "make": measure_making,
    "time": measure_time,
    "fit": measure_memory,
    "predict": measure_memory,
}


def main() -> None:
    """Run the benchmark, or one measurement of it."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--architecture", default="gat")
    parser.add_argument(
        "--nodes", type=int, nargs="+", default=[10_000, 100_000, 300_000, 1_000_000]
    )
    parser.add_argument(
        "--neighbours", nargs="+", default=["10", "all"], help="sampled edges, or all"
    )
    parser.add_argument(
        "--whole", type=int, default=100_000, help="largest graph for all neighbours"
    )
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100, help="of a fit")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--fast", action="store_true", help="see that it runs, and keep nothing"
    )
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    use_threads(args.threads)
    if args.phase is not None:
        (args.neighbours,) = args.neighbours
        found = PHASES[args.phase](args)
        print(json.dumps(found, default=float))
        return
    if args.fast:
        args.nodes, args.steps, args.whole = [3_000, 10_000], 10, 3_000
    helpers = [name for name in ("pyg_lib", "torch_sparse") if find_spec(name)]
    print("torch-geometric's compiled helpers:", ", ".join(helpers) or "none")
    print(as_text(*table(run(args))))


if __name__ == "__main__":
    main()
