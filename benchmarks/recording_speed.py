"""Time fit and predict beside the same code with recording cut out of it.

Every function that asks `is_recording` or calls `record` takes turns with a copy from
which both are gone. See README.md for what is in and out.
"""

from __future__ import annotations

import ast
import gc
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from _results import Results, as_text, options, quartiles, use_threads
from sklearn.datasets import make_classification

from skattn import AttentionClassifier, Graph, NodeClassifier
from skattn.nn import is_recording, record

KEY = ("architecture", "data", "rows", "epochs", "threads", "pair")

PHASES = ("fit", "predict")

Codes = list[tuple[FunctionType, CodeType, CodeType]]


class CutOut(ast.NodeTransformer):
    """Take every look at the recorder, and what only a record needs, out of code."""

    def __init__(self, asks: set[str], records: set[str]) -> None:
        self.asks = asks
        self.records = records

    def visit_If(self, node: ast.If) -> Any:
        """Leave the branch that runs when nobody records."""
        self.generic_visit(node)
        if self._asks(node.test):
            return node.orelse
        return node.body if self._asks_not(node.test) else node

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """Leave the value of when nobody records."""
        self.generic_visit(node)
        return node.orelse if self._asks(node.test) else node

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        """Put ``record(weights[:, None], ...)[:, 0]`` back to ``weights``."""
        if self._records(node.value) and ast.unparse(node.slice) == "(:, 0)":
            given = node.value.args[0]  # type: ignore[attr-defined]
            if (
                isinstance(given, ast.Subscript)
                and ast.unparse(given.slice) == "(:, None)"
            ):
                return self.visit(given.value)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> Any:
        """Put ``record(weights, ...)`` back to ``weights``."""
        self.generic_visit(node)
        return node.args[0] if self._records(node) else node

    def _asks(self, node: ast.AST) -> bool:
        return self._calls(node, self.asks)

    def _asks_not(self, node: ast.AST) -> bool:
        is_not = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        return is_not and self._asks(node.operand)  # type: ignore[attr-defined]

    def _records(self, node: ast.AST) -> bool:
        return self._calls(node, self.records)

    @staticmethod
    def _calls(node: ast.AST, names: set[str]) -> bool:
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        return is_call and node.func.id in names  # type: ignore[attr-defined]


def functions(module: Any) -> Iterator[FunctionType]:
    """Give the functions and methods that a module defines."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        for inner in vars(value).values() if inspect.isclass(value) else (value,):
            function = getattr(inner, "__wrapped__", inner)
            if isinstance(function, FunctionType):
                yield function


def code_objects(code: CodeType) -> Iterator[CodeType]:
    """Give the code of a module's functions, those inside others included."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from code_objects(constant)


def both_codes() -> Codes:
    """List the functions that know of recording, with their code and what is left.

    All architectures that are to be timed have to be loaded.
    """
    found: Codes = []
    for module in list(sys.modules.values()):
        names = {
            wanted: {name for name, value in vars(module).items() if value is wanted}
            for wanted in (is_recording, record)
        }
        if not any(names.values()) or module.__name__ == record.__module__:
            continue
        tree = ast.parse(inspect.getsource(module))
        CutOut(names[is_recording], names[record]).visit(tree)
        ast.fix_missing_locations(tree)
        left = compile(tree, str(module.__file__), "exec", dont_inherit=True)
        # Dataclasses and postponed annotations do not change the code of functions.
        by_name = {code.co_qualname: code for code in code_objects(left)}
        for function in functions(module):
            own = function.__code__
            code = by_name.get(own.co_qualname, own)
            if code.co_code != own.co_code and code.co_freevars == own.co_freevars:
                found.append((function, own, code))
    return found


def use(codes: Codes, side: str) -> None:
    """Let the functions record, or not know of it."""
    for function, own, left in codes:
        function.__code__ = own if side == "with" else left


def make_table(rows: int) -> tuple[Any, Any, Any]:
    """Give columns, labels and nothing else."""
    return (*make_classification(rows, 20, n_informative=10, random_state=0), None)


def make_series(rows: int) -> tuple[Any, Any, Any]:
    """Give three channels of 48 steps, of which one says the label."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 3, 48))
    return X, (X[:, 1].mean(axis=1) > 0).astype(int), None


def make_nodes(rows: int) -> tuple[Any, Any, Any]:
    """Give ids and labels of nodes, and their graph."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((rows, 32)).astype(np.float32)
    edges = np.unique(rng.integers(rows, size=(10 * rows, 2)), axis=0)
    graph = Graph.from_edges(edges, features)
    return np.arange(rows)[:, None], (features[:, 0] > 0).astype(int), graph


# What is fitted: the maker of its data, rows, epochs, predictions of all rows.
SUBJECTS: dict[tuple[str, str], tuple[Callable[[int], Any], int, int, int]] = {
    ("self_attention", "table"): (make_table, 4000, 2, 4),
    ("temporal_attention", "table"): (make_table, 4000, 2, 4),
    ("transformer", "series"): (make_series, 1000, 2, 4),
    ("gat", "nodes"): (make_nodes, 2000, 20, 30),
}


def make_estimator(architecture: str, epochs: int, graph: Any) -> Any:
    """Make the estimator with default options, but for the length of training."""
    given: dict[str, Any] = {"max_epochs": epochs, "early_stopping": False}
    if graph is None:
        return AttentionClassifier(architecture, random_state=0, **given)
    return NodeClassifier(architecture, graph=graph, random_state=0, **given)


def measure(estimator: Any, X: Any, y: Any, predictions: int) -> dict[str, Any]:
    """Time one fit and some predictions, in seconds of this process."""
    gc.collect()
    start = time.process_time()
    estimator.fit(X, y)
    fit = time.process_time() - start
    gc.collect()
    start = time.process_time()
    for _ in range(predictions):
        scores = estimator.predict_proba(X)
    return {"fit": fit, "predict": time.process_time() - start, "scores": scores}


def run(args: Any) -> Results:
    """Measure interleaved pairs; who comes first alternates."""
    results = Results("recording_speed", KEY, args.force)
    for (architecture, data), subject in SUBJECTS.items():
        make, rows, epochs, predictions = subject
        key = {
            "architecture": architecture,
            "data": data,
            "rows": rows,
            "epochs": epochs,
            "threads": args.threads,
        }
        missing = [p for p in range(args.pairs) if results.missing(**key, pair=p)]
        if not missing:
            continue
        X, y, graph = make(rows)
        make_estimator(architecture, 1, graph).fit(X, y)  # loads what it needs
        codes = both_codes()
        for side in ("with", "without"):  # the first run of either side counts nowhere
            use(codes, side)
            measure(make_estimator(architecture, epochs, graph), X, y, predictions)
        for pair in missing:
            order = ["with", "without"][:: 1 if pair % 2 == 0 else -1]
            found = {}
            for side in order:
                use(codes, side)
                estimator = make_estimator(architecture, epochs, graph)
                found[side] = measure(estimator, X, y, predictions)
            use(codes, "with")
            if not np.array_equal(*(found[side].pop("scores") for side in order)):
                raise RuntimeError(
                    f"{architecture}: the two sides compute other scores."
                )
            row = {
                f"{phase}_{side}": found[side][phase]
                for phase in PHASES
                for side in ("with", "without")
            }
            results.add(**key, pair=pair, functions=len(codes), **row)
        print(key, flush=True)
    return results


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Summarise the pairs: medians, and quartiles of their ratios."""
    header = ["architecture", "data", "rows", "phase", "pairs"]
    header += ["as it is (CPU s)", "cut out (CPU s)", "ratio", "quartiles"]
    rows = []
    for key, pairs in results.groups(*KEY[:-1]).items():
        for phase in PHASES:
            own = [float(row[f"{phase}_with"]) for row in pairs]
            left = [float(row[f"{phase}_without"]) for row in pairs]
            ratio = quartiles(a / b for a, b in zip(own, left, strict=True))
            medians = (f"{quartiles(side)[1]:.3g}" for side in (own, left))
            rows.append(
                [*key[:3], phase, str(len(pairs)), *medians]
                + [f"{ratio[1]:.3f}", f"{ratio[0]:.3f}-{ratio[2]:.3f}"]
            )
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--pairs", type=int, default=40)
    args = parser.parse_args()
    use_threads(args.threads)
    print(as_text(*table(run(args))))


if __name__ == "__main__":
    main()
