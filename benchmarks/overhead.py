"""Time fit and predict against a hand-written torch loop over the same module.

Both sides start from the same NumPy arrays and end with fitted weights, or with
predictions in the units of ``y``. See README.md for what is in and out.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _results import Results, as_text, options, quartiles, use_threads
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from torch.nn.functional import cross_entropy

from skattn import AttentionClassifier, AttentionRegressor

KEY = (
    "task",
    "architecture",
    "scaling",
    "rows",
    "batch",
    "epochs",
    "device",
    "threads",
    "pair",
)

# Rows of a batch in prediction, on both sides.
PREDICTION_BATCH = 256

PHASES = ("fit", "epochs", "predict", "predict_one_row")


class HandWritten:
    """What a user would write: scale, perhaps a linear model, train, predict.

    Parameters
    ----------
    estimator : AttentionClassifier or AttentionRegressor
        Whose training options are used.
    reference : AttentionClassifier or AttentionRegressor
        The same, fitted to the same rows: it tells which module to build.
    """

    def __init__(self, estimator: Any, reference: Any) -> None:
        self.est = estimator
        self.build = reference.net_.module
        self.is_classifier = isinstance(estimator, AttentionClassifier)

    def fit(self, X: np.ndarray, y: np.ndarray) -> HandWritten:
        """Train by a plain loop."""
        est = self.est
        device = torch.device(est.device)
        torch.manual_seed(est.random_state)
        self.scaler = StandardScaler()
        if est.input_scaling == "quantile":
            self.scaler = QuantileTransformer(output_distribution="normal")
        scaled = self.scaler.fit_transform(X)
        if self.is_classifier:
            self.classes, goal = np.unique(y, return_inverse=True)
        else:
            self.mean, self.std = y.mean(), y.std()
            goal = ((y - self.mean) / self.std).astype(np.float32)
        module = self.build()
        if self.build.linear_skip:
            self._start_linear(module.skip.linear, scaled, goal)
        self.module = module.to(device)
        x = torch.from_numpy(scaled).float().to(device)
        target = torch.from_numpy(goal).to(device)
        start = time.perf_counter()
        self.losses = self._train(x, target)
        self.epoch_seconds = time.perf_counter() - start
        return self

    def _start_linear(self, layer: Any, x: np.ndarray, goal: np.ndarray) -> None:
        if self.is_classifier:
            linear = LogisticRegression(max_iter=1000).fit(x, goal)
            # Two opposite halves of the log-odds.
            weight = np.array([[-0.5], [0.5]]) * linear.coef_
            bias = np.array([-0.5, 0.5]) * linear.intercept_
        else:
            linear = Ridge().fit(x, goal)
            weight, bias = linear.coef_[None], np.array([linear.intercept_])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))

    def _train(self, x: torch.Tensor, target: torch.Tensor) -> list[float]:
        est, module = self.est, self.module
        learned = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for p in learned if p.dim() > 1],
                    "weight_decay": est.weight_decay,
                },
                {"params": [p for p in learned if p.dim() <= 1], "weight_decay": 0.0},
            ],
            lr=est.lr,
            fused=True,
        )
        steps = est.max_epochs * math.ceil(len(x) / est.batch_size)
        step = 0
        losses = []
        module.train()
        for _ in range(est.max_epochs):
            total = torch.zeros((), dtype=torch.float64, device=x.device)
            order = torch.randperm(len(x)).to(x.device)
            for rows in order.split(est.batch_size):
                for group in optimizer.param_groups:
                    group["lr"] = est.lr * one_cycle(step / steps)
                optimizer.zero_grad()
                loss = self._loss(x[rows], target[rows])
                loss.backward()
                torch.nn.utils.clip_grad_norm_(learned, est.gradient_clip)
                optimizer.step()
                total += loss.detach() * len(rows)
                step += 1
            losses.append(total.item() / len(x))
        return losses

    def _loss(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not self.is_classifier:
            return 0.5 * (self.module(x)[:, 0] - target).square().mean()
        return cross_entropy(self.module(x), target)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Predict in batches."""
        device = torch.device(self.est.device)
        x = torch.from_numpy(self.scaler.transform(X)).float().to(device)
        self.module.eval()
        with torch.no_grad():
            scores = [self.module(part) for part in x.split(PREDICTION_BATCH)]
        joined = torch.cat(scores).cpu().numpy()
        if self.is_classifier:
            return self.classes[joined.argmax(axis=1)]
        return joined[:, 0].astype(np.float64) * self.std + self.mean


def one_cycle(progress: float) -> float:
    """Warm up over a tenth of the steps, then half a cosine."""
    if progress < 0.1:
        return (progress + 1e-3) / (0.1 + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """Run a call; return its result, wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def measure(model: Any, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Time one side: fit, its epochs, the prediction of all rows and of one."""
    fitted, fit, fit_cpu = timed(lambda: model.fit(X, y))
    is_ours = hasattr(fitted, "history_")
    seconds = {"fit": fit, "fit_cpu": fit_cpu}
    if is_ours:
        seconds["epochs"] = sum(fitted.history_[:, "dur"])
        seconds["loss"] = fitted.history_[-1, "train_loss"]
    else:
        seconds["epochs"] = fitted.epoch_seconds
        seconds["loss"] = fitted.losses[-1]
    fitted.predict(X[:512])
    _, wall, cpu = timed(lambda: fitted.predict(X))
    seconds |= {"predict": wall, "predict_cpu": cpu}
    rounds = 20
    _, wall, _ = timed(lambda: [fitted.predict(X[:1]) for _ in range(rounds)])
    return seconds | {"predict_one_row": wall / rounds}


def make_data(task: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a table of 20 numeric columns."""
    if task == "classification":
        return make_classification(rows, 20, n_informative=10, random_state=0)
    X, y = make_regression(rows, 20, n_informative=10, noise=10.0, random_state=0)
    return X, y + 50 * np.sin(3 * X[:, 0]) * X[:, 1]


def make_estimator(task: str, batch: int, args: argparse.Namespace) -> Any:
    """Make the estimator with default options, but for the length of training."""
    kind = AttentionClassifier if task == "classification" else AttentionRegressor
    return kind(
        args.architecture,
        max_epochs=args.epochs,
        batch_size=batch,
        input_scaling=args.scaling,
        early_stopping=False,
        device=args.device,
        random_state=0,
    )


def run(args: argparse.Namespace) -> Results:
    """Measure interleaved pairs; who comes first alternates."""
    results = Results("overhead", KEY, args.force)
    for batch in args.batches:
        for task in args.tasks:
            X, y = make_data(task, args.rows)
            key = {
                "task": task,
                "architecture": args.architecture,
                "scaling": args.scaling,
                "rows": args.rows,
                "batch": batch,
                "epochs": args.epochs,
                "device": args.device,
                "threads": args.threads,
            }
            missing = [p for p in range(args.pairs) if results.missing(**key, pair=p)]
            if not missing:
                continue
            estimator = make_estimator(task, batch, args)
            reference = clone(estimator).set_params(max_epochs=1).fit(X, y)
            sides = {
                "ours": lambda est=estimator: clone(est),
                "loop": lambda est=estimator, ref=reference: HandWritten(est, ref),
            }
            for make in sides.values():  # the first run of either side counts nowhere
                measure(make(), X[:2000], y[:2000])
            for pair in missing:
                order = list(sides) if pair % 2 == 0 else list(sides)[::-1]
                found = {side: measure(sides[side](), X, y) for side in order}
                row = {
                    f"{name}_{side}": value
                    for side in sides
                    for name, value in found[side].items()
                }
                results.add(**key, pair=pair, **row)
                print(key | {"pair": pair}, flush=True)
    return results


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Summarise the pairs: medians, and quartiles of their ratios."""
    header = [
        "task",
        "architecture",
        "scaling",
        "batch",
        "device",
        "threads",
        "phase",
        "pairs",
    ]
    header += ["skattn (s)", "loop (s)", "ratio", "quartiles", "CPU-time ratio"]
    rows = []
    for key, pairs in results.groups(*KEY[:-1]).items():
        task, architecture, scaling, _, batch, _, device, threads = key
        for phase in PHASES:
            ours = [float(row[f"{phase}_ours"]) for row in pairs]
            loop = [float(row[f"{phase}_loop"]) for row in pairs]
            ratio = quartiles(a / b for a, b in zip(ours, loop, strict=True))
            cpu = "-"
            if f"{phase}_cpu_ours" in pairs[0]:
                cpu_ratios = (
                    float(row[f"{phase}_cpu_ours"]) / float(row[f"{phase}_cpu_loop"])
                    for row in pairs
                )
                cpu = f"{quartiles(cpu_ratios)[1]:.3f}"
            medians = (f"{quartiles(side)[1]:.4g}" for side in (ours, loop))
            rows.append(
                [task, architecture, scaling, batch, device, threads]
                + [phase.replace("_", " "), str(len(pairs)), *medians]
                + [f"{ratio[1]:.3f}", f"{ratio[0]:.3f}-{ratio[2]:.3f}", cpu]
            )
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--architecture", default="self_attention")
    parser.add_argument(
        "--scaling", choices=["standard", "quantile"], default="standard"
    )
    parser.add_argument("--tasks", nargs="+", default=["regression", "classification"])
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 32])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    use_threads(args.threads)
    print(as_text(*table(run(args))))


if __name__ == "__main__":
    main()
