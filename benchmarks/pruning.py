"""Time prediction with all heads of attention beside that with some of them.

A wide net is fitted for an epoch, and `skattn.inspection.prune_heads` takes heads out
of all of its layers. Both nets predict the same samples in turn. See README.md.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from _results import Results, as_text, options, quartiles, use_threads

from skattn import AttentionClassifier
from skattn.architectures import SelfAttention
from skattn.inspection import prune_heads

KEY = ("length", "heads", "kept", "device", "threads", "pair")

N_HEADS, N_LAYERS, D_MODEL = 8, 2, 256
N_SAMPLES, N_CHANNELS = 256, 8
LENGTHS, KEPT = (64, 256), (4, 2, 1, 0)


def fitted(length: int, device: str) -> tuple[AttentionClassifier, np.ndarray]:
    """Fit a wide net to noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_SAMPLES, N_CHANNELS, length)).astype(np.float32)
    architecture = SelfAttention(
        d_model=D_MODEL, num_heads=N_HEADS, num_layers=N_LAYERS
    )
    clf = AttentionClassifier(architecture, max_epochs=1, random_state=0, device=device)
    return clf.fit(X[:32], np.arange(32) % 2), X


def seconds(estimator: AttentionClassifier, X: np.ndarray) -> float:
    """Time a prediction."""
    start = time.perf_counter()
    estimator.predict_proba(X)
    return time.perf_counter() - start


def parameters(estimator: AttentionClassifier) -> int:
    """Count the weights of a net."""
    return sum(each.numel() for each in estimator.net_.module_.parameters())


def measure(results: Results, length: int, pairs: int, place: dict[str, Any]) -> None:
    """Time all numbers of heads at one length."""
    clf, X = fitted(length, place["device"])
    for kept in KEPT:
        keys = [
            {"length": length, "heads": N_HEADS, "kept": kept, "pair": pair, **place}
            for pair in range(pairs)
        ]
        if not any(results.missing(**key) for key in keys):
            continue
        heads = list(range(kept))
        keep = {f"blocks.{number}": heads for number in range(N_LAYERS)}
        pruned = prune_heads(clf, keep)
        sides = [clf, pruned]
        for each in sides:
            seconds(each, X)  # not counted
        for number, key in enumerate(keys):
            first = number % 2  # who comes first alternates
            times = {at: seconds(sides[at], X) for at in (first, 1 - first)}
            results.add(
                **key,
                whole_seconds=times[0],
                pruned_seconds=times[1],
                whole_parameters=parameters(clf),
                pruned_parameters=parameters(pruned),
            )


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Summarise the pairs."""
    header = ["steps", "heads", "device", "threads", "parameters", "all heads (s)"]
    header += ["pruned (s)", "ratio of times", "quartiles"]
    rows = []
    columns = ("length", "heads", "kept", "device", "threads")
    for (length, heads, kept, *place), found in results.groups(*columns).items():
        whole, pruned = (
            np.array([float(row[f"{side}_seconds"]) for row in found])
            for side in ("whole", "pruned")
        )
        lower, median, upper = quartiles(pruned / whole)
        size = int(found[0]["pruned_parameters"]) / int(found[0]["whole_parameters"])
        rows.append(
            [length, f"{kept} of {heads}", *place, f"{size:.2f}"]
            + [f"{np.median(whole):.3f}", f"{np.median(pruned):.3f}"]
            + [f"{median:.2f}", f"{lower:.2f}-{upper:.2f}"]
        )
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=9)
    args = parser.parse_args()
    use_threads(args.threads)
    results = Results("pruning", KEY, args.force)
    for length in LENGTHS:
        place = {"device": args.device, "threads": args.threads}
        measure(results, length, args.pairs, place)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
