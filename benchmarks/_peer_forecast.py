"""Train another library's forecaster for some steps; print one line of JSON.

Run by the interpreter of an environment that has the library, which need not have
skattn. `forecast_speed.py` calls it.

- ``neuralforecast``: PatchTST. Channels are separate series, and a step trains on
  ``batch * n_channels`` univariate windows.
- ``darts``: TransformerModel, the attention model of darts nearest in size. It decodes
  step by step, so its speed is not to be held against another architecture's.

Both are also trained by `hand_loop` over their very own module, on batches of the same
size. The ratio of the two speeds is what the library's engine costs, whatever the
architecture.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import torch
from _forecast_loop import Forecast, hand_loop
from torch import Tensor, nn

# Of PatchTST's authors for small sets.
LAYERS, HEADS, D_MODEL, D_FF, DROPOUT = 3, 4, 16, 128, 0.3
PATCH_LENGTH, STRIDE = 16, 8

# Steps before the clock starts: first calls are slow.
WARM_UP = 3


class Peer(NamedTuple):
    """A fitted forecaster: what predicts, its module, and how to call the module."""

    predict: Callable[[], Any]
    module: nn.Module
    forecast: Forecast


def make_clock() -> Any:
    """Make a callback of Lightning that keeps the time at each step's end."""
    from pytorch_lightning import Callback

    class Clock(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def __deepcopy__(self, memo: dict[int, Any]) -> Clock:
            return self  # libraries copy their callbacks

        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            self.times.append(time.perf_counter())

    return Clock()


def quiet(clock: Any) -> dict[str, Any]:
    """Give the options of Lightning's trainer that leave nothing but training."""
    return {
        "callbacks": [clock],
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


def fit_neuralforecast(
    series: np.ndarray, args: argparse.Namespace, clock: Any
) -> Peer:
    """Fit PatchTST of neuralforecast."""
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MSE
    from neuralforecast.models import PatchTST

    n_steps, n_channels = series.shape
    model = PatchTST(
        h=args.horizon,
        input_size=args.length,
        encoder_layers=LAYERS,
        n_heads=HEADS,
        hidden_size=D_MODEL,
        linear_hidden_size=D_FF,
        dropout=DROPOUT,
        fc_dropout=DROPOUT,
        patch_len=PATCH_LENGTH,
        stride=STRIDE,
        res_attention=args.library == "neuralforecast-res",
        revin_subtract_last=False,
        loss=MSE(),
        learning_rate=args.lr,
        max_steps=WARM_UP + args.steps,
        batch_size=n_channels,
        windows_batch_size=args.batch * n_channels,
        **quiet(clock),
    )
    hours = pd.date_range("2016-07-01", periods=n_steps, freq="h")
    frame = pd.concat(
        pd.DataFrame({"unique_id": f"channel {number}", "ds": hours, "y": values})
        for number, values in enumerate(series.T)
    )
    forecaster = NeuralForecast([model], freq="h")
    forecaster.fit(frame)

    def forecast(module: nn.Module, past: Tensor, future: Tensor) -> Tensor:
        apart = past.flatten(0, 1)[:, None]  # (batch * channels, 1, length)
        return module(apart).reshape(future.shape)

    return Peer(forecaster.predict, forecaster.models[0].model, forecast)


def fit_darts(series: np.ndarray, args: argparse.Namespace, clock: Any) -> Peer:
    """Fit TransformerModel of darts."""
    from darts import TimeSeries
    from darts.models import TransformerModel
    from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput

    model = TransformerModel(
        input_chunk_length=args.length,
        output_chunk_length=args.horizon,
        d_model=D_MODEL,
        nhead=HEADS,
        num_encoder_layers=LAYERS,
        num_decoder_layers=LAYERS,
        dim_feedforward=D_FF,
        dropout=DROPOUT,
        batch_size=args.batch,
        n_epochs=1,
        optimizer_kwargs={"lr": args.lr},
        use_reversible_instance_norm=True,
        pl_trainer_kwargs=quiet(clock) | {"max_steps": WARM_UP + args.steps},
    )
    model.fit(TimeSeries.from_values(series))

    def forecast(module: nn.Module, past: Tensor, future: Tensor) -> Tensor:
        batch = PLModuleInput(
            past_target=past.transpose(1, 2),
            future_target=future.transpose(1, 2),
            stage=ModuleStage.TRAIN,
        )
        return module(batch).prediction[..., 0].transpose(1, 2)

    def predict() -> Any:
        return model.predict(args.horizon, verbose=False)

    return Peer(predict, model.model, forecast)


PEERS = {
    "neuralforecast": fit_neuralforecast,
    "neuralforecast-res": fit_neuralforecast,
    "darts": fit_darts,
}


def silence() -> None:
    """Keep warnings and the log of Lightning off the output."""
    warnings.simplefilter("ignore")
    for name in ("pytorch_lightning", "lightning_fabric", "darts"):
        logging.getLogger(name).setLevel(logging.ERROR)
        logging.getLogger(f"{name}.utilities.rank_zero").setLevel(logging.ERROR)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time training, prediction, and the hand-written loop over the same module."""
    series = np.load(args.series)
    clock = make_clock()
    peer = PEERS[args.library](series, args, clock)
    seconds = clock.times[-1] - clock.times[WARM_UP - 1]
    windows = (len(clock.times) - WARM_UP) * args.batch * series.shape[1]
    peer.predict()
    latencies = []
    for _ in range(args.predictions):
        start = time.perf_counter()
        peer.predict()
        latencies.append(time.perf_counter() - start)
    # The first call counts nowhere.
    for max_steps in (WARM_UP, args.steps):
        loop = hand_loop(
            peer.module,
            series,
            length=args.length,
            horizon=args.horizon,
            batch_size=args.batch,
            lr=args.lr,
            max_steps=max_steps,
            forecast=peer.forecast,
        )
    return {
        "library": args.library,
        "version": version(args.library.partition("-")[0]),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "steps": len(clock.times) - WARM_UP,
        "windows": windows,
        "seconds": seconds,
        "windows_per_second": windows / seconds,
        "loop_windows_per_second": loop.windows / loop.seconds,
        "predict_ms": 1000 * statistics.median(latencies),
    }


def main() -> None:
    """Run one library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=sorted(PEERS), required=True)
    parser.add_argument("--series", required=True, help=".npy, (n_steps, n_channels)")
    parser.add_argument("--steps", type=int, default=20, help="of the optimizer")
    parser.add_argument("--length", type=int, default=336)
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument(
        "--batch", type=int, default=128, help="windows of all channels in a step"
    )
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--predictions", type=int, default=9)
    args = parser.parse_args()
    silence()
    torch.set_num_threads(args.threads)
    found = measure(args)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
