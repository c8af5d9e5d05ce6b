"""Time training and forecasts against a hand-written torch loop, and other libraries.

Sizes are those of PatchTST's authors for small sets. ``PEER_PY`` names the interpreter
of an environment with neuralforecast and darts; without it they are left out. See
README.md for what is in and out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _forecast_loop import hand_loop, hand_predict, make_series
from _results import Results, as_text, options, quartiles, use_threads

from skattn import AttentionForecaster, DataSpec, get_architecture

KEY = (
    "subject",
    "against",
    "architecture",
    "length",
    "horizon",
    "channels",
    "rows",
    "batch",
    "device",
    "threads",
    "pair",
)

# fit, epoch, many windows: per 1,000 univariate windows.
PHASES = ("fit", "epoch", "predict_one_window", "predict_many_windows")

SIZES = {
    "patchtst": {
        "d_model": 16,
        "num_heads": 4,
        "num_layers": 3,
        "d_ff": 128,
        "dropout": 0.3,
        "patch_length": 16,
        "stride": 8,
    }
}

LEARNING_RATE = 1e-4

# Of fewer, the forecaster uses those that reach beyond the end too, and the loop not.
LEAST_WINDOWS = 1000

# The same architecture in other libraries, or their nearest, with the windows and the
# number of a peer's steps.
PEERS: dict[str, dict[str, Any]] = {
    "neuralforecast": {"architecture": "patchtst", "batch": None, "steps": 20},
    "neuralforecast-res": {"architecture": "patchtst", "batch": None, "steps": 20},
    "darts": {"architecture": "TransformerModel of darts", "batch": 32, "steps": 5},
}


def seconds(call: Callable[[], Any]) -> np.ndarray:
    """Time a call: wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def median_seconds(call: Callable[[], Any], rounds: int = 9) -> np.ndarray:
    """Time some calls after an uncounted one."""
    call()
    return np.median([seconds(call) for _ in range(rounds)], axis=0)


class Forecaster:
    """skattn's side: an `AttentionForecaster` without what the loop has not."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    def fit(self, y: pd.DataFrame) -> float:
        """Train for one epoch; give the seconds of the epoch alone."""
        args = self.args
        self.forecaster = AttentionForecaster(
            make_architecture(args.architecture),
            window_length=args.length,
            normalization="instance",
            linear_skip=None,
            calibration=None,
            loss="squared_error",
            max_epochs=1,
            lr=LEARNING_RATE,
            batch_size=args.batch,
            optimizer="Adam",
            weight_decay=0.0,
            lr_schedule=None,
            gradient_clip=None,
            early_stopping=False,
            device=args.device,
            random_state=0,
        )
        self.forecaster.fit(y, fh=range(1, args.horizon + 1))
        return sum(self.forecaster.history_[:, "dur"])

    def predict_one(self) -> Any:
        """Forecast from the end of the training series."""
        return self.forecaster.predict()

    def predict_many(self, y: pd.DataFrame, origins: np.ndarray) -> Any:
        """Forecast from many origins, as backtests do."""
        return self.forecaster._forecast_from(y, None, {(): origins})


class HandWritten:
    """The same by hand: standardise, build the module, train."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    def fit(self, y: pd.DataFrame) -> float:
        """Train for one epoch; give the seconds of the epoch alone."""
        args = self.args
        torch.manual_seed(0)
        values = y.to_numpy()
        self.mean, self.std = values.mean(axis=0), values.std(axis=0)
        self.series = self._standardise(values)
        names = tuple(map(str, y.columns))
        data = DataSpec(
            task="forecasting",
            input="series",
            n_channels=len(names),
            channel_names=names,
            n_targets=len(names),
            length=args.length,
            horizon=args.horizon,
        )
        self.module = make_architecture(args.architecture).build(data)
        return hand_loop(
            self.module,
            self.series,
            length=args.length,
            horizon=args.horizon,
            batch_size=args.batch,
            lr=LEARNING_RATE,
            device=args.device,
        ).seconds

    def predict_one(self) -> Any:
        """Forecast from the end of the training series."""
        return self._forecast(self.series[-self.args.length :].T[None])

    def predict_many(self, y: pd.DataFrame, origins: np.ndarray) -> Any:
        """Forecast from many origins."""
        windows = np.lib.stride_tricks.sliding_window_view(
            self._standardise(y.to_numpy()), self.args.length, axis=0
        )  # (positions, channels, length)
        return self._forecast(windows[origins - self.args.length + 1])

    def _standardise(self, values: np.ndarray) -> np.ndarray:
        return ((values - self.mean) / self.std).astype(np.float32)

    def _forecast(self, windows: np.ndarray) -> np.ndarray:
        found = hand_predict(self.module, windows, self.args.device)
        return found * self.std[:, None] + self.mean[:, None]


def make_architecture(name: str) -> Any:
    """Make an architecture of the benchmark's size, or of its default size."""
    return get_architecture(name)(**SIZES.get(name, {}))


def make_frame(n_steps: int, n_channels: int) -> pd.DataFrame:
    """Make hourly series as sktime users have them."""
    index = pd.period_range("2016-07-01", periods=n_steps, freq="h")
    names = [f"channel {number}" for number in range(n_channels)]
    values = make_series(n_steps, n_channels).astype(np.float64)
    return pd.DataFrame(values, index=index, columns=names)


def measure(side: Any, y: pd.DataFrame, args: argparse.Namespace) -> dict[str, float]:
    """Time one side in all phases."""
    n_windows = len(y) - args.length - args.horizon + 1
    epochs: list[float] = []
    fit = seconds(lambda: epochs.append(side.fit(y)))
    origins = np.arange(args.length - 1, len(y), 8)
    many = median_seconds(lambda: side.predict_many(y, origins), 3)
    found = {
        "fit": 1000 * fit / (n_windows * y.shape[1]),
        "predict_one_window": median_seconds(side.predict_one),
        "predict_many_windows": 1000 * many / (len(origins) * y.shape[1]),
    }
    wall_and_cpu = {
        f"{phase}{kind}": value
        for phase, both in found.items()
        for kind, value in zip(("", "_cpu"), both.tolist(), strict=True)
    }
    return {"epoch": 1000 * epochs[0] / (n_windows * y.shape[1]), **wall_and_cpu}


def run_peer(name: str, y: pd.DataFrame, args: argparse.Namespace) -> dict[str, Any]:
    """Train another library's forecaster in its own interpreter."""
    script = Path(__file__).with_name("_peer_forecast.py")
    sizes = {
        "library": name,
        "steps": args.peer_steps or PEERS[name]["steps"],
        "length": args.length,
        "horizon": args.horizon,
        "batch": PEERS[name]["batch"] or args.batch,
        "lr": LEARNING_RATE,
        "threads": args.threads,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "series.npy")
        np.save(path, y.to_numpy(dtype=np.float32))
        command = [os.environ["PEER_PY"], str(script), "--series", str(path)]
        command += [part for key in sizes for part in (f"--{key}", str(sizes[key]))]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": str(args.threads)},
        )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def pair_of(
    subject: dict[str, float], against: dict[str, float]
) -> dict[str, float | str]:
    """Put the phases that both sides have beside each other."""
    return {
        f"{name}_{role}": side[name]
        for name in subject
        if name in against
        for role, side in (("subject", subject), ("against", against))
    }


def run_pairs(
    results: Results, y: pd.DataFrame, shape: dict[str, Any], args: argparse.Namespace
) -> None:
    """Measure skattn and the loop in turn; who comes first alternates."""
    key = {"subject": "skattn", "against": "loop", **shape}
    missing = [p for p in range(args.pairs) if results.missing(**key, pair=p)]
    if not missing:
        return
    sides = {"skattn": Forecaster, "loop": HandWritten}
    for make in sides.values():  # the first run of either side counts nowhere
        measure(make(args), y.iloc[-2 * (args.length + args.horizon) :], args)
    for pair in missing:
        order = list(sides) if pair % 2 == 0 else list(sides)[::-1]
        found = {name: measure(sides[name](args), y, args) for name in order}
        results.add(**key, pair=pair, **pair_of(found["skattn"], found["loop"]))
        print(key | {"pair": pair}, flush=True)


def run_peers(
    results: Results, y: pd.DataFrame, shape: dict[str, Any], args: argparse.Namespace
) -> None:
    """Measure the other libraries beside a loop of theirs, and skattn in turn."""
    for name in args.peers:
        theirs = PEERS[name]["architecture"]
        beside = {
            "subject": name,
            "against": "loop over its module",
            **shape,
            "architecture": theirs,
            "batch": PEERS[name]["batch"] or args.batch,
        }
        ours = {"subject": "skattn", "against": name, **shape}
        for pair in range(args.peer_pairs):
            if not results.missing(**beside, pair=pair):
                continue
            found = run_peer(name, y, args)
            peer = {
                "epoch": 1000 / found["windows_per_second"],
                "predict_one_window": found["predict_ms"] / 1000,
            }
            loop = {"epoch": 1000 / found["loop_windows_per_second"]}
            if args.architecture == theirs:
                row = pair_of(measure(Forecaster(args), y, args), peer)
                results.add(**ours, pair=pair, **row, version=found["version"])
            row = pair_of(peer, loop)
            results.add(**beside, pair=pair, **row, version=found["version"])
            print(beside | {"pair": pair}, flush=True)


def run(args: argparse.Namespace) -> Results:
    """Measure the loop, then the other libraries."""
    name = "forecast_speed"
    if args.fast:  # numbers that nobody keeps
        name = f"{tempfile.mkdtemp()}/{name}"
    results = Results(name, KEY, args.force)
    y = make_frame(args.rows, args.channels)
    shape = {
        name: getattr(args, name)
        for name in KEY
        if name not in {"subject", "against", "pair"}
    }
    run_pairs(results, y, shape, args)
    if "PEER_PY" in os.environ and args.device == "cpu":
        run_peers(results, y, shape, args)
    return results


def sides_of(pairs: list[dict[str, str]], phase: str) -> list[list[float]]:
    """Give the seconds of both sides in a phase; nothing where none were measured."""
    names = (f"{phase}_subject", f"{phase}_against")
    if not all(pairs[0].get(name) for name in names):
        return []
    return [[float(row[name]) for row in pairs] for name in names]


def ratios(sides: list[list[float]]) -> tuple[float, float, float]:
    """Quartiles of the ratio of the two sides."""
    return quartiles(a / b for a, b in zip(*sides, strict=True))


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Summarise the pairs: medians, and quartiles of the ratios of their times."""
    header = ["of", "against", "architecture", "channels", "batch", "device", "threads"]
    header += ["phase", "pairs", "of (ms)", "against (ms)", "ratio", "quartiles"]
    header += ["CPU-time ratio"]
    rows = []
    for key, pairs in results.groups(*KEY[:-1]).items():
        named = dict(zip(KEY, key, strict=False))
        against = " ".join(filter(None, (named["against"], pairs[-1].get("version"))))
        if named["subject"] != "skattn":
            against = named["against"]
        first = [named["subject"], against, named["architecture"], named["channels"]]
        first += [named["batch"], named["device"], named["threads"]]
        for phase in PHASES:
            if not (wall := sides_of(pairs, phase)):
                continue
            lower, median, upper = ratios(wall)
            cpu = sides_of(pairs, f"{phase}_cpu")
            rows.append(
                [*first, phase.replace("_", " "), str(len(pairs))]
                + [f"{1000 * quartiles(side)[1]:.4g}" for side in wall]
                + [f"{median:.3f}", f"{lower:.3f}-{upper:.3f}"]
                + [f"{ratios(cpu)[1]:.3f}" if cpu else "-"]
            )
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--architecture", default="patchtst")
    parser.add_argument("--length", type=int, default=336)
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--channels", type=int, default=7)
    parser.add_argument("--rows", type=int, default=8640)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--peer-pairs", type=int, default=3)
    parser.add_argument("--peer-steps", type=int)
    parser.add_argument(
        "--fast", action="store_true", help="see that it runs, and keep nothing"
    )
    args = parser.parse_args()
    if args.fast:
        args.rows, args.channels, args.length, args.horizon = 1200, 2, 96, 24
        args.pairs = args.peer_pairs = args.peer_steps = 1
    if args.rows - args.length - args.horizon + 1 < LEAST_WINDOWS:
        parser.error(f"--rows leaves fewer than {LEAST_WINDOWS} windows to compare")
    use_threads(args.threads)
    print(as_text(*table(run(args))))


if __name__ == "__main__":
    main()
