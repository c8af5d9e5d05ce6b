"""Forecasting windows as strided views of whole series, gathered by batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from skattn._engine._samples import Inputs, Target, Window, fixed_batches
from skattn._inputs._origins import Origins

# A window's spread below this part of the series' spread is no scale of its own.
_LEAST_SCALE = 1e-3

# In training, so many codes of categories and series are replaced by "unknown".
_UNKNOWN_RATE = 0.05

# Rows that are standardised, or looked at, at once.
_CHUNK = 1 << 16


def _no_columns() -> np.ndarray:
    return np.zeros((0, 0))


@dataclass
class SeriesData:
    """One series with its covariates.

    Parameters
    ----------
    targets : ndarray of shape (n_steps, n_targets)
        Raw values in time order, NaN where missing.
    mean, std : ndarray of shape (n_targets,)
        What to standardise the targets with.
    past : ndarray of shape (n_steps, n_past)
        Covariates of the past, standardised, NaN where missing.
    known : ndarray of shape (n_steps + n_future, n_known)
        Covariates known in the future; later steps count as unknown.
    known_categories : ndarray of int of shape (n_steps + n_future, n_categorical)
        Codes.
    static : ndarray of shape (n_static,)
        Of the whole series.
    static_categories : ndarray of int of shape (n_categorical,)
        Codes.
    code : int
        Of the series itself; 0 is unknown.
    """

    targets: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    past: np.ndarray = field(default_factory=_no_columns)
    known: np.ndarray = field(default_factory=_no_columns)
    known_categories: np.ndarray = field(default_factory=_no_columns)
    static: np.ndarray = field(default_factory=lambda: np.zeros(0))
    static_categories: np.ndarray = field(default_factory=lambda: np.zeros(0))
    code: int = 0

    def __len__(self) -> int:
        return len(self.targets)

    def until(self, stop: int) -> SeriesData:
        """Drop the values from a step on.

        Parameters
        ----------
        stop : int
            The first step that is dropped.

        Returns
        -------
        data : SeriesData
            Covariates known in the future stay.
        """
        return replace(self, targets=self.targets[:stop], past=self.past[:stop])


class SeriesStore:
    """Standardised series behind each other, with room for padding at both ends.

    Parameters
    ----------
    series : sequence of SeriesData
        With equal columns.
    window_length : int
        Steps that the net looks back.
    horizon : int
        Steps that it forecasts.
    normalization : {"last", "instance"} or None
        What is taken out of each window; see `AttentionForecaster`.
    offered : collection of str
        Optional tensors to hand on, besides ``mask`` and ``observed``.
    dtype : torch.dtype
        Of the tensors.
    device : torch.device
        Where the series go.
    """

    def __init__(
        self,
        series: Sequence[SeriesData],
        *,
        window_length: int,
        horizon: int,
        normalization: str | None,
        offered: Collection[str],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.window_length = window_length
        self.horizon = horizon
        self.n_targets = series[0].targets.shape[1]
        self.normalization = normalization
        self.offered = frozenset(offered)
        self.device = device
        room = window_length + horizon
        lengths = np.array([len(one) for one in series])
        self.starts = np.concatenate([[0], np.cumsum(lengths + room)[:-1]])
        total = int(lengths.sum()) + room * len(series)

        def real(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device=device, dtype=dtype)

        n_channels = self.n_targets + series[0].past.shape[1]
        # Steps lie behind each other, so that a window is one run of memory.
        values = torch.full((n_channels, total), torch.nan, dtype=dtype)
        self.has_gaps = False
        for one, start in zip(series, self.starts + window_length, strict=True):
            for low in range(0, len(one), _CHUNK):
                part = slice(low, min(low + _CHUNK, len(one)))
                rows = (one.targets[part] - one.mean) / one.std
                if one.past.shape[1]:
                    rows = np.concatenate([rows, one.past[part]], axis=1)
                self.has_gaps |= bool(np.isnan(rows).any())
                place = slice(start + part.start, start + part.stop)
                values[:, place] = torch.from_numpy(rows.T)
        self.windows = self._unfold(values)
        self.moments = tuple(  # each (n_series, n_targets, 1)
            np.stack([getattr(one, name) for one in series])[..., None]
            for name in ("mean", "std")
        )
        self.means, self.stds = map(real, self.moments)
        self._steps = {
            name: self._lay_out(
                # Room for the horizon is all that follows a series.
                [getattr(one, name)[: len(one) + horizon] for one in series],
                total,
                dtype,
            )
            for name in ("known", "known_categories")
            if name in self.offered
        }
        statics = {
            "static": real(np.stack([one.static for one in series])),
            "static_categories": torch.from_numpy(
                np.stack([one.static_categories for one in series]).astype(np.int64)
            ).to(device),
            "series_id": torch.tensor([one.code for one in series], device=device),
        }
        self._statics = {name: statics[name] for name in statics if name in offered}

    def _lay_out(
        self, columns: list[np.ndarray], total: int, dtype: torch.dtype
    ) -> Tensor:
        """Put covariates of the future where the values are; zero where unknown."""
        is_code = columns[0].dtype.kind in "iu"
        shape = (columns[0].shape[1], total)
        flat = torch.zeros(shape, dtype=torch.int64 if is_code else dtype)
        for array, start in zip(columns, self.starts + self.window_length, strict=True):
            flat[:, start : start + len(array)] = torch.from_numpy(array.T)
        return self._unfold(flat)

    def _unfold(self, flat: Tensor) -> Tensor:
        """View (columns, steps) as (positions, columns, length + horizon)."""
        room = self.window_length + self.horizon
        return flat.to(self.device).unfold(1, room, 1).transpose(0, 1)

    def samples(
        self, origins: Sequence[Origins], *, training: bool = False
    ) -> WindowSamples:
        """Choose windows by their origins.

        Parameters
        ----------
        origins : sequence of Origins
            Which windows; empty ranges are allowed.
        training : bool, default=False
            Offer ``target``, and now and then replace codes by 0, "unknown".

        Returns
        -------
        samples : WindowSamples
            In the given order.
        """
        return WindowSamples(self, origins, 1, training)

    def gather(self, positions: Tensor, series: Tensor) -> Inputs:
        """Gather the covariates of windows.

        Parameters
        ----------
        positions : Tensor of int of shape (batch,)
            Where the windows start.
        series : Tensor of int of shape (batch,)
            Numbers of their series.

        Returns
        -------
        inputs : dict of str to Tensor
            Those of the offered tensors that do not depend on the window's units.
        """
        steps = {name: table[positions] for name, table in self._steps.items()}
        return steps | {name: rows[series] for name, rows in self._statics.items()}


class WindowSamples:
    """Windows of a `SeriesStore`; inputs and targets are in units of each window.

    Parameters
    ----------
    store : SeriesStore
        Holds the series.
    origins : sequence of Origins
        Which windows.
    step : int
        Take each so many-th origin.
    training : bool
        Whether a net learns from them.
    """

    is_whole = False
    sizes = None

    def __init__(
        self, store: SeriesStore, origins: Sequence[Origins], step: int, training: bool
    ) -> None:
        self.store = store
        self.origins = origins
        self.step = step
        self.training = training
        kept = [one for one in origins if len(one)]
        counts = [len(one) for one in kept]
        self._count = -(-sum(counts) // step)

        def tensor(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=store.device)

        # A range a row, however many windows it holds.
        self._ends = tensor(counts).cumsum(0)
        self._firsts = tensor([one.first for one in kept])
        self._series = tensor([one.series for one in kept])
        self._starts = tensor([int(store.starts[one.series]) for one in kept])
        self._is_padded = any(one.first + 1 < store.window_length for one in kept)

    def __len__(self) -> int:
        return self._count

    def at_most(self, count: int) -> WindowSamples:
        """Choose windows evenly.

        Parameters
        ----------
        count : int
            About so many.

        Returns
        -------
        samples : WindowSamples
            All, where there are no more.
        """
        step = self.step * max(1, -(-len(self) // count))
        return WindowSamples(self.store, self.origins, step, self.training)

    def _locate(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find where windows start, their numbers of real steps, and their series."""
        rows = rows * self.step
        at = torch.searchsorted(self._ends, rows, right=True)
        before = torch.where(at > 0, self._ends[at - 1], 0)
        origin = self._firsts[at] + rows - before
        history = (origin + 1).clamp(max=self.store.window_length)
        return self._starts[at] + origin + 1, history, self._series[at]

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
        store = self.store
        inputs, future, window = self._gather(
            positions, self._is_padded, store.has_gaps
        )
        target = (future[:, : store.n_targets] - window.loc) / window.scale
        if self.training:
            if "target" in store.offered:
                inputs["target"] = target.nan_to_num()
            for name in ("known_categories", "static_categories", "series_id"):
                if name in inputs:
                    inputs[name] = _forget_some(inputs[name])
        return inputs, Target(target, None, window)

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
        groups = torch.zeros(len(self), dtype=torch.long, device=self.store.device)
        if self._is_padded or self.store.has_gaps:
            for rows in torch.arange(len(self), device=self.store.device).split(1024):
                positions, history, _ = self._locate(rows)
                groups[rows] = 2 * (history < length).long()
                if self.store.has_gaps:
                    context = self.store.windows[positions][..., :length]
                    gap = context.isnan() & self._mask(history)[:, None]
                    groups[rows] += gap.flatten(1).any(dim=1).long()
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

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the unit of each window, in the units of its series.

        Returns
        -------
        loc, scale : ndarray of shape (n, n_targets, 1)
            A forecast is ``scores * scale + loc``.
        """
        rows = torch.arange(len(self), device=self.store.device)
        parts = [
            self._gather(part, self._is_padded, False)[2] for part in rows.split(1024)
        ]
        loc, scale = (
            torch.cat([part[at] for part in parts]).cpu().double().numpy()
            for at in (0, 1)
        )
        # The series' own units are not rounded to the net's precision.
        series = self._locate(rows)[2].cpu().numpy()
        mean, std = (moments[series] for moments in self.store.moments)
        return loc * std + mean, scale * std

    def _mask(self, history: Tensor) -> Tensor:
        length = self.store.window_length
        steps = torch.arange(length, device=self.store.device)
        return steps >= length - history[:, None]

    def _gather(
        self, rows: Tensor, is_padded: bool, has_gap: bool
    ) -> tuple[Inputs, Tensor, Window]:
        """Gather inputs, standardised future, and the unit of each window."""
        store = self.store
        positions, history, series = self._locate(rows)
        values = store.windows[positions]
        context = values[..., : store.window_length]
        future = values[..., store.window_length :]
        known = ~context.isnan() if is_padded or has_gap or store.has_gaps else None
        if known is not None:
            context = torch.where(known, context, 0.0)
        loc, scale = self._moments(context, known)
        x = (context - loc) / scale
        inputs = {"x": x if known is None else torch.where(known, x, 0.0)}
        if is_padded:
            inputs["mask"] = self._mask(history)
        if has_gap and known is not None:
            inputs["observed"] = known
        if "loc" in store.offered:
            inputs["loc"] = loc[..., 0]
        if "scale" in store.offered:
            inputs["scale"] = scale[..., 0]
        n_targets = store.n_targets
        window = Window(
            loc[:, :n_targets],
            scale[:, :n_targets],
            store.means[series],
            store.stds[series],
        )
        return inputs | store.gather(positions, series), future, window

    def _moments(self, context: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute the unit of each window and channel: twice (batch, channels, 1)."""
        one = torch.ones_like(context[..., :1])
        if self.store.normalization is None:
            return torch.zeros_like(one), one
        if self.store.normalization == "last":
            if known is None:
                return context[..., -1:], one
            steps = torch.arange(context.shape[-1], device=context.device)
            last = (known * steps).argmax(dim=-1, keepdim=True)
            return context.gather(-1, last), one
        # The same sums with and without gaps elsewhere, so that no bit depends on them.
        count: Tensor | int = context.shape[-1]
        if known is not None:
            count = known.sum(dim=-1, keepdim=True).clamp(min=1)
        mean = context.sum(dim=-1, keepdim=True) / count
        deviation = context - mean
        if known is not None:
            deviation = torch.where(known, deviation, 0.0)
        spread = (deviation.square().sum(dim=-1, keepdim=True) / count).sqrt()
        return mean, torch.where(spread > _LEAST_SCALE, spread, one)


def _forget_some(codes: Tensor) -> Tensor:
    """Replace some codes by 0, alike for all steps of a window."""
    shape = codes.shape[:2]
    drawn = torch.rand(shape, device=codes.device) < _UNKNOWN_RATE
    return codes.masked_fill(drawn if codes.dim() < 3 else drawn[..., None], 0)
