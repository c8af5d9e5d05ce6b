"""Panels of series: several channels, unequal lengths, gaps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from skattn._inputs._scaling import Scaler


class SeriesEncoder:
    """Turn a panel of series into ``x``, ``mask`` and ``observed``.

    Series are padded on the right. Each channel is scaled over all known values.

    Parameters
    ----------
    scaling : {"standard", "quantile"} or None
        The estimator's ``input_scaling``.
    architecture : Architecture
        What it consumes decides whether unequal lengths and gaps are accepted.
    estimator : object
        Named in error messages.
    """

    input = "series"

    def __init__(self, scaling: str | None, architecture: Any, estimator: Any) -> None:
        self.scaler = Scaler("standard" if scaling == "auto" else scaling)
        self.consumes: Collection[str] = architecture.consumes
        self.architecture_name = architecture.name
        self.estimator_name = type(estimator).__name__

    def check(self, X: Any) -> Any:
        """Validate a panel, as far as other panels do not matter: `read` does it.

        Parameters
        ----------
        X : ndarray of shape (n, n_channels, length) or list of ndarray
            What the user passed.

        Returns
        -------
        X : ndarray or list of ndarray
            The same.
        """
        return X

    def learn(self, X: Any) -> dict[str, np.ndarray]:
        """Learn the number of channels and the length, and read the series.

        Parameters
        ----------
        X : ndarray of shape (n, n_channels, length) or list of ndarray
            The training series; each array of a list has shape (n_channels, length).

        Returns
        -------
        content : dict of str to ndarray
            As `read`.
        """
        values, lengths = self._pad(X)
        self.n_channels_ = values.shape[1]
        self.length_ = int(lengths.max())
        return self._check(values, lengths)

    def read(self, X: Any) -> dict[str, np.ndarray]:
        """Read a panel without scaling it.

        Parameters
        ----------
        X : ndarray of shape (n, n_channels, length) or list of ndarray
            With the training series' channels.

        Returns
        -------
        content : dict of str to ndarray
            ``values`` (n, n_channels, length) of float64 with NaN where padded or
            missing, and ``lengths`` (n,).
        """
        values, lengths = self._pad(X)
        if values.shape[1] != self.n_channels_:
            raise ValueError(
                f"X has {values.shape[1]} channels, but {self.estimator_name} was "
                f"fitted with {self.n_channels_}. Series are (n, channels, time)."
            )
        return self._check(values, lengths)

    def identity(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Give the numbers by which rows are ordered and split: all of them."""
        return content

    def fit_scaling(
        self, content: dict[str, np.ndarray], weight: np.ndarray | None
    ) -> None:
        """Learn the scale of each channel from the training series.

        Parameters
        ----------
        content : dict of str to ndarray
            From `learn`, its rows perhaps repeated.
        weight : ndarray of shape (n,) or None
            Weights of the series.
        """
        values = content["values"]
        steps = None if weight is None else np.repeat(weight, values.shape[2])
        self.scaler.fit(_steps(values), steps)

    def tensors(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make the arrays of the contract.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        arrays : dict of str to ndarray
            ``x`` of float64, and ``mask`` and ``observed`` where consumed.
        """
        values, lengths = content["values"], content["lengths"]
        n, n_channels, length = values.shape
        scaled = self.scaler.transform(_steps(values))
        scaled = scaled.reshape(n, length, n_channels).transpose(0, 2, 1)
        missing = np.isnan(values)
        arrays = {"x": np.where(missing, 0.0, scaled)}
        if "mask" in self.consumes:
            arrays["mask"] = np.arange(length) < lengths[:, None]
        if "observed" in self.consumes:
            arrays["observed"] = ~missing
        return arrays

    def samples(
        self,
        content: dict[str, np.ndarray],
        net: Any,
        target: np.ndarray | None = None,
    ) -> Any:
        """Put encoded series into tensors.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.
        net : Net
            Where the tensors go, and in which precision.
        target : ndarray of shape (n, ...), optional
            Encoded targets.

        Returns
        -------
        samples : TensorSamples
            One for each row of the content.
        """
        from skattn._engine._runtime import placement
        from skattn._engine._samples import TensorSamples

        arrays = self.tensors(content)
        return TensorSamples(
            arrays, length=self.length, target=target, **placement(net)
        )

    def describe(self) -> dict[str, Any]:
        """Say what the tensors look like.

        Returns
        -------
        fields : dict of str to object
            Fields of `DataSpec`.
        """
        return {
            "input": "series",
            "n_channels": self.n_channels_,
            "channel_names": tuple(map(str, range(self.n_channels_))),
            "length": self.length_,
        }

    @property
    def n_features_in(self) -> int:
        """Channels."""
        return self.n_channels_

    @property
    def length(self) -> int:
        """Time steps of the longest training series."""
        return self.length_

    def axis_names(self, axis: str, content: Any = None) -> list[str] | None:
        """Name the positions along an axis of attention.

        Parameters
        ----------
        axis : str
            ``"time"``, ``"channels"``, or something else.
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        names : list of str or None
            Numbers of the steps or channels; None for another axis.
        """
        if axis == "time":
            return [str(step) for step in range(content["values"].shape[2])]
        if axis == "channels":
            return [str(channel) for channel in range(self.n_channels_)]
        return None

    def _pad(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Stack series with NaN on the right, and find where each ends."""
        if isinstance(X, np.ndarray):
            if X.dtype.kind not in "fiub":
                raise ValueError(f"Series must be real numbers, not {X.dtype}.")
            values = X.astype(np.float64)
            if not values.size:
                raise ValueError(f"X of shape {values.shape} holds no series.")
        else:
            values = self._stack(X)
        if np.isinf(values).any():
            raise ValueError(
                f"{self.estimator_name}: X contains infinity. Missing values are NaN."
            )
        present = ~np.isnan(values).all(axis=1)  # (n, length)
        steps = np.arange(1, values.shape[2] + 1)
        lengths = (present * steps).max(axis=1, initial=0)
        if not lengths.all():
            empty = int(np.flatnonzero(lengths == 0)[0])
            raise ValueError(f"Series number {empty} of X holds no value at all.")
        return values[:, :, : lengths.max()], lengths

    def _stack(self, X: Sequence[Any]) -> np.ndarray:
        if any(hasattr(series, "columns") for series in X):
            raise TypeError(
                f"{self.estimator_name} takes series as arrays of shape (channels, "
                "time), and DataFrames hold time in their rows. Pass "
                "frame.to_numpy().T, or use AttentionTimeSeriesClassifier or "
                "AttentionTimeSeriesRegressor, which take lists of DataFrames."
            )
        arrays = [np.asarray(series, dtype=np.float64) for series in X]
        n_channels = arrays[0].shape[0]
        for number, series in enumerate(arrays):
            if series.ndim != 2 or series.shape[0] != n_channels:
                raise ValueError(
                    f"Series number {number} of X has shape {series.shape}, the first "
                    f"one {arrays[0].shape}: all must be (channels, time) with the "
                    "same number of channels."
                )
        length = max(series.shape[1] for series in arrays)
        values = np.full((len(arrays), n_channels, length), np.nan)
        for row, series in zip(values, arrays, strict=True):
            row[:, : series.shape[1]] = series
        return values

    def _check(self, values: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
        other = lengths != self.length_
        if other.any() and "mask" not in self.consumes:
            raise ValueError(
                f"X holds a series of {lengths[other][0]} time steps beside the "
                f"length {self.length_}, but the architecture "
                f"{self.architecture_name!r} takes no mask. Choose one that "
                "consumes 'mask', or bring all series to one length."
            )
        inside = np.arange(values.shape[2]) < lengths[:, None]
        gaps = (np.isnan(values) & inside[:, None]).any(axis=(1, 2))
        if gaps.any() and "observed" not in self.consumes:
            raise ValueError(
                f"Series number {int(np.flatnonzero(gaps)[0])} of X has missing "
                f"values, but the architecture {self.architecture_name!r} does not "
                "consume 'observed'. Choose one that does, or fill the gaps."
            )
        return {"values": values, "lengths": lengths}


def _steps(values: np.ndarray) -> np.ndarray:
    """Put all time steps of all series below each other: (n * length, n_channels)."""
    return values.transpose(0, 2, 1).reshape(-1, values.shape[1])
