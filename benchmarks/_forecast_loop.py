"""The loop that a good engineer would write by hand to train a forecasting module.

It needs torch and NumPy alone, so that the interpreters of peers can run it too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

# From a batch of known steps, and of the steps to forecast for modules that are shown
# them in training, to forecasts in the same units: (batch, channels, horizon).
Forecast = Callable[[nn.Module, Tensor, Tensor], Tensor]

# Windows of a batch in prediction: the fastest on the CPU, and on anything else.
CPU_BATCH, DEVICE_BATCH = 32, 1024

_LEAST_SCALE = 1e-3


class Trained(NamedTuple):
    """What the loop did: univariate windows, seconds of training, the last loss."""

    windows: int
    seconds: float
    loss: float


def make_series(n_steps: int, n_channels: int = 7) -> np.ndarray:
    """Make hourly series with a daily and a weekly course; float32, steps first."""
    rng = np.random.default_rng(0)
    hours = np.arange(n_steps)[:, None]
    daily, weekly = rng.uniform(0, 2 * np.pi, size=(2, n_channels))
    course = np.sin(2 * np.pi * hours / 24 + daily)
    course += 0.5 * np.sin(2 * np.pi * hours / 168 + weekly)
    walk = 0.02 * rng.standard_normal((n_steps, n_channels)).cumsum(axis=0)
    noise = 0.3 * rng.standard_normal((n_steps, n_channels))
    return (course + walk + noise).astype(np.float32)


def by_instance(module: nn.Module, past: Tensor, future: Tensor) -> Tensor:
    """Forecast with each window scaled by its own mean and standard deviation."""
    mean = past.mean(dim=-1, keepdim=True)
    centred = past - mean
    # torch.var_mean takes five times as long on the CPU.
    scale = centred.square().mean(dim=-1, keepdim=True).sqrt().clamp(min=_LEAST_SCALE)
    return module(centred / scale) * scale + mean


def hand_loop(
    module: nn.Module,
    series: np.ndarray,
    *,
    length: int,
    horizon: int,
    batch_size: int,
    lr: float,
    max_steps: int | None = None,
    forecast: Forecast = by_instance,
    device: str = "cpu",
) -> Trained:
    """Train for one shuffled epoch: fused Adam, mean squared error, no copies.

    Parameters
    ----------
    module : torch.nn.Module
        Trained in place.
    series : ndarray of shape (n_steps, n_channels)
        Of which all whole windows are used.
    length, horizon : int
        Known steps of a window, and steps to forecast.
    batch_size : int
        Windows of all channels in a step.
    lr : float
        Learning rate.
    max_steps : int, optional
        Ends the epoch earlier.
    forecast : callable, default=by_instance
        Calls the module.
    device : str, default="cpu"
        Where to train.

    Returns
    -------
    trained : Trained
        Its seconds count neither the copy to the device nor the optimizer's making.
    """
    flat = torch.from_numpy(np.ascontiguousarray(series.T)).to(device)
    # (windows, channels, steps), a view whose last axis lies close together
    windows = flat.unfold(1, length + horizon, 1).transpose(0, 1)
    module.to(device).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=lr, fused=True)
    start = time.perf_counter()
    total = torch.zeros((), dtype=torch.float64, device=device)
    count = 0
    order = torch.randperm(len(windows)).to(device)
    for rows in order.split(batch_size)[:max_steps]:
        batch = windows[rows]
        past, future = batch[..., :length], batch[..., length:]
        optimizer.zero_grad()
        loss = (forecast(module, past, future) - future).square().mean()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(rows)
        count += len(rows)
    mean = total.item() / count  # waits for the device
    return Trained(count * len(flat), time.perf_counter() - start, mean)


def hand_predict(
    module: nn.Module, windows: np.ndarray, device: str = "cpu"
) -> np.ndarray:
    """Forecast from windows, NumPy to NumPy.

    Parameters
    ----------
    module : torch.nn.Module
        Trained by `hand_loop`.
    windows : ndarray of shape (n, n_channels, length)
        May be a view.
    device : str, default="cpu"
        Where the module is.

    Returns
    -------
    forecasts : ndarray of shape (n, n_channels, horizon)
        In the units of the windows.
    """
    module.eval()
    parts = []
    size = CPU_BATCH if device == "cpu" else DEVICE_BATCH
    with torch.no_grad():
        for first in range(0, len(windows), size):
            part = np.ascontiguousarray(windows[first : first + size])
            past = torch.from_numpy(part).to(device)
            parts.append(by_instance(module, past, past).cpu())
    return torch.cat(parts).numpy()
