"""Predict characters with Transformer-XL at several lengths of its memory.

Film reviews are joined to long streams of characters. Segments have one length; only
what is remembered of those before differs. See README.md for the protocol.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from _results import Results, as_text, options, spread, use_threads
from torch import Tensor, nn
from torch.nn import functional

from skattn import DataSpec, SpecialToken
from skattn.architectures import TransformerXL
from skattn.datasets import fetch_sst2

KEY = ("model", "segment", "memory", "seed", "threads")

STREAM = 256
SEGMENT = 16
MEMORIES = (0, 16, 64)
ORDERS = (1, 2, 3, 5)

BATCH = 16
EPOCHS = 4
LEARNING_RATE = 3e-3


class Text:
    """Streams of the training part and of the whole test part, as codes."""

    def __init__(self) -> None:
        parts = {
            subset: "\n".join(fetch_sst2(subset, return_X_y=True)[0])
            for subset in ("train", "test")
        }
        characters = sorted(set(parts["train"]))
        codes = {c: n for n, c in enumerate(characters, start=len(SpecialToken))}
        unknown = int(SpecialToken.UNKNOWN)
        self.size = len(characters) + len(SpecialToken)
        self.train, self.test = (
            np.array([codes.get(c, unknown) for c in text]) for text in parts.values()
        )

    @staticmethod
    def streams(codes: np.ndarray) -> Tensor:
        """Cut into streams (n, STREAM), the last one padded."""
        missing = -len(codes) % STREAM
        padded = np.pad(codes, (0, missing), constant_values=SpecialToken.PADDING)
        return torch.from_numpy(padded).view(-1, STREAM)


class Chain:
    """A chain over the characters before, smoothed after Witten and Bell.

    Parameters
    ----------
    codes : ndarray
        The text to count in.
    order : int
        One more than the characters that it looks back.
    size : int
        Of the vocabulary.
    """

    def __init__(self, codes: np.ndarray, order: int, size: int) -> None:
        self.order, self.size = order, size
        self.counts: dict[tuple[int, ...], Counter[int]] = {}
        text = codes.tolist()
        for place, code in enumerate(text):
            for back in range(min(order, place + 1)):
                context = tuple(text[place - back : place])
                self.counts.setdefault(context, Counter())[code] += 1

    def probability(self, context: tuple[int, ...], code: int) -> float:
        """Give the probability of a character after some others."""
        shorter = self.probability(context[1:], code) if context else 1 / self.size
        counts = self.counts.get(context)
        if counts is None:
            return shorter
        return (counts[code] + len(counts) * shorter) / (counts.total() + len(counts))

    def bits(self, codes: np.ndarray) -> float:
        """Average over all characters but the first one of each stream."""
        bits = []
        for start in range(0, len(codes), STREAM):
            stream = codes[start : start + STREAM].tolist()
            for place in range(1, len(stream)):
                context = tuple(stream[max(place - self.order + 1, 0) : place])
                bits.append(-math.log2(self.probability(context, stream[place])))
        return float(np.mean(bits))


def loss_of(module: nn.Module, streams: Tensor, reduction: str) -> Tensor:
    """Cross-entropy of each next character, in nats."""
    scores = module(streams)[:, :-1].flatten(0, 1)
    padding = int(SpecialToken.PADDING)
    return functional.cross_entropy(
        scores, streams[:, 1:].flatten(), ignore_index=padding, reduction=reduction
    )


def run_net(text: Text, memory: int, seed: int, epochs: int) -> dict[str, Any]:
    """Train once, and score the test part."""
    torch.manual_seed(seed)
    data = DataSpec(
        "token_prediction",
        "tokens",
        n_outputs=text.size,
        vocabulary_size=text.size,
        length=STREAM,
    )
    architecture = TransformerXL(
        segment_length=SEGMENT,
        memory_length=memory,
        embedding_dropout=0.0,
        dropout=0.0,
    )
    module = architecture.build(data)
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE)
    streams = text.streams(text.train)
    n_steps = epochs * math.ceil(len(streams) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=n_steps, pct_start=0.1
    )
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        for rows in torch.randperm(len(streams)).split(BATCH):
            optimizer.zero_grad()
            loss_of(module, streams[rows], "mean").backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return {
        "bits": test_bits(module, text),
        "fit_seconds": seconds,
        "fit_cpu_seconds": cpu_seconds,
        "epochs": epochs,
    }


@torch.no_grad()
def test_bits(module: nn.Module, text: Text) -> float:
    """Bits for each character of the test part but the first one of each stream."""
    module.eval()
    streams = text.streams(text.test)
    nats = sum(float(loss_of(module, part, "sum")) for part in streams.split(BATCH))
    count = int((streams[:, 1:] != SpecialToken.PADDING).sum())
    return nats / count / math.log(2)


def models(seeds: list[int], memories: list[int]) -> Iterator[dict[str, Any]]:
    """Give the key of each row."""
    for order in ORDERS:
        yield {"model": f"{order}-gram", "segment": "", "memory": order - 1, "seed": 0}
    for seed in seeds:
        for memory in memories:
            yield {
                "model": "transformer_xl",
                "segment": SEGMENT,
                "memory": memory,
                "seed": seed,
            }


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["model", "segment", "memory", "threads", "seeds", "bits per character"]
    header += ["fit (s)"]
    rows = []
    for labels, found in results.groups(*KEY[:3], "threads").items():
        seconds = np.median([float(row["fit_seconds"]) for row in found])
        bits = spread((float(row["bits"]) for row in found), 3)
        rows.append([*labels, str(len(found)), bits, f"{seconds:.0f}"])
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED"
    )
    parser.add_argument("--memories", type=int, nargs="+", default=list(MEMORIES))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()
    use_threads(args.threads)
    results = Results("transformer_xl", KEY, args.force)
    text = Text()
    for key in models(args.seeds, args.memories):
        key["threads"] = args.threads
        if not results.missing(**key):
            continue
        if key["model"] == "transformer_xl":
            found = run_net(text, key["memory"], key["seed"], args.epochs)
        else:
            start = time.perf_counter()
            chain = Chain(text.train, key["memory"] + 1, text.size)
            found = {"fit_seconds": time.perf_counter() - start}
            found["bits"] = chain.bits(text.test)
        results.add(**key, **found)
        print(*key.values(), f"{found['bits']:.4f}", flush=True)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
