"""Forecasting windows as strided views of whole series, gathered by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from skattn._engine._samples import Inputs, Target, fixed_batches

# A window's spread below this part of the series' spread is no scale of its own.
_LEAST_SCALE = 1e-3


class SeriesStore:
    """Standardised series behind each other, with room for padding at both ends.

    Parameters
    ----------
    series : sequence of ndarray of shape (n_steps, n_channels)
        Values in time order, NaN where missing.
    window_length : int
        Steps that the net looks back.
    horizon : int
        Steps that it forecasts.
    n_targets : int
        The first so many channels are forecast.
    mean, scale : ndarray of shape (n_channels,)
        What to standardise with.
    normalization : {"last", "instance"} or None
        What is taken out of each window; see `AttentionForecaster`.
    dtype : torch.dtype
        Of the tensors.
    device : torch.device
        Where the series go.
    """

    def __init__(
        self,
        series: Sequence[np.ndarray],
        *,
        window_length: int,
        horizon: int,
        n_targets: int,
        mean: np.ndarray,
        scale: np.ndarray,
        normalization: str | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.window_length = window_length
        self.horizon = horizon
        self.n_targets = n_targets
        self.mean = mean[:n_targets]
        self.scale = scale[:n_targets]
        self.normalization = normalization
        self.device = device
        self.lengths = [len(values) for values in series]
        padded = window_length + horizon
        total = sum(self.lengths) + padded * len(series)
        flat = torch.full((total, len(mean)), torch.nan, dtype=dtype)
        self.starts = []
        end = 0
        for values in series:
            self.starts.append(end)
            first = end + window_length
            standard = (values - mean) / scale
            flat[first : first + len(values)] = torch.from_numpy(standard)
            end = first + len(values) + horizon
        # (positions, n_channels, window_length + horizon), without a copy
        self.windows = flat.to(device).unfold(0, padded, 1)
        self.has_gaps = any(bool(np.isnan(values).any()) for values in series)

    def samples(self, origins: Sequence[tuple[int, np.ndarray]]) -> WindowSamples:
        """Choose windows by their origins.

        Parameters
        ----------
        origins : sequence of (int, ndarray of int)
            Number of a series, and the positions of the last steps that are known.

        Returns
        -------
        samples : WindowSamples
            In the given order.
        """
        positions = [self.starts[at] + steps + 1 for at, steps in origins]
        history = [np.minimum(steps + 1, self.window_length) for _, steps in origins]
        return WindowSamples(self, np.concatenate(positions), np.concatenate(history))


class WindowSamples:
    """Windows of a `SeriesStore`; inputs and targets are in units of each window.

    Parameters
    ----------
    store : SeriesStore
        Holds the series.
    positions : ndarray of int of shape (n,)
        Where the windows start in the store.
    history : ndarray of int of shape (n,)
        Real steps of each window.
    """

    def __init__(
        self, store: SeriesStore, positions: np.ndarray, history: np.ndarray
    ) -> None:
        self.store = store
        self.positions = torch.from_numpy(positions).to(store.device)
        self.history = torch.from_numpy(history).to(store.device)
        self._is_padded = bool((self.history < store.window_length).any())

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, positions: Tensor) -> tuple[Inputs, Target]:
        """Gather a training batch.

        Parameters
        ----------
        positions : Tensor of shape (batch,)
            Which windows.

        Returns
        -------
        inputs : dict of str to Tensor
            The arguments of the module's ``forward``.
        target : Target
            (batch, n_targets, horizon), NaN where unknown.
        """
        inputs, future, loc, scale = self._gather(
            positions, self._is_padded, self.store.has_gaps
        )
        n_targets = self.store.n_targets
        target = (future[:, :n_targets] - loc[:, :n_targets]) / scale[:, :n_targets]
        return inputs, Target(target, None)

    def inference_batches(self) -> Iterator[tuple[Tensor, Inputs]]:
        """Walk over all windows in batches of one fixed shape.

        Yields
        ------
        rows : Tensor of shape (k,)
            Which windows.
        inputs : dict of str to Tensor
            Their tensors, filled up to the batch's fixed size.
        """
        length = self.store.window_length
        is_padded = (self.history < length).long()
        has_gap = torch.zeros_like(is_padded)
        if self.store.has_gaps:
            for rows in torch.arange(len(self), device=self.store.device).split(1024):
                known = ~self._context(rows).isnan()
                inside = self._mask(rows)[:, None]
                has_gap[rows] = (~known & inside).flatten(1).any(dim=1).long()
        groups = 2 * is_padded + has_gap
        for group in torch.unique(groups).tolist():
            rows = torch.nonzero(groups == group).flatten()
            for chunk, filled in fixed_batches(rows, length):
                yield chunk, self._gather(filled, group >= 2, group % 2 == 1)[0]

    def targets(self) -> Tensor:
        """Give all targets in units of their windows.

        Returns
        -------
        target : Tensor of shape (n, n_targets, horizon)
            NaN where unknown.
        """
        rows = torch.arange(len(self), device=self.store.device)
        return torch.cat([self.take(part)[1].values for part in rows.split(1024)])

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the unit of each window, in the units of the series.

        Returns
        -------
        loc, scale : ndarray of shape (n, n_targets, 1)
            A forecast is ``scores * scale + loc``.
        """
        rows = torch.arange(len(self), device=self.store.device)
        parts = [self._gather(part, False, False)[2:] for part in rows.split(1024)]
        loc, scale = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        n_targets = self.store.n_targets
        store_scale = self.store.scale[:, None]
        loc_array = loc[:, :n_targets].cpu().double().numpy() * store_scale
        return (
            loc_array + self.store.mean[:, None],
            scale[:, :n_targets].cpu().double().numpy() * store_scale,
        )

    def _context(self, rows: Tensor) -> Tensor:
        return self.store.windows[self.positions[rows], :, : self.store.window_length]

    def _mask(self, rows: Tensor) -> Tensor:
        length = self.store.window_length
        steps = torch.arange(length, device=self.store.device)
        return steps >= length - self.history[rows, None]

    def _gather(
        self, rows: Tensor, is_padded: bool, has_gap: bool
    ) -> tuple[Inputs, Tensor, Tensor, Tensor]:
        """Gather inputs, raw future, and the unit of each window."""
        window = self.store.windows[self.positions[rows]]
        context = window[..., : self.store.window_length]
        future = window[..., self.store.window_length :]
        known = ~context.isnan()
        context = torch.where(known, context, 0.0)
        loc, scale = self._moments(context, known)
        inputs = {"x": torch.where(known, (context - loc) / scale, 0.0)}
        if is_padded:
            inputs["mask"] = self._mask(rows)
        if has_gap:
            inputs["observed"] = known
        return inputs, future, loc, scale

    def _moments(self, context: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the unit of each window and channel: twice (batch, channels, 1)."""
        one = torch.ones_like(context[..., :1])
        if self.store.normalization is None:
            return torch.zeros_like(one), one
        count = known.sum(dim=-1, keepdim=True).clamp(min=1)
        mean = context.sum(dim=-1, keepdim=True) / count
        deviation = torch.where(known, context - mean, 0.0)
        spread = (deviation.square().sum(dim=-1, keepdim=True) / count).sqrt()
        scale = torch.where(spread > _LEAST_SCALE, spread, one)
        if self.store.normalization == "instance":
            return mean, scale
        steps = torch.arange(context.shape[-1], device=context.device)
        last = (known * steps).argmax(dim=-1, keepdim=True)
        return context.gather(-1, last), scale
