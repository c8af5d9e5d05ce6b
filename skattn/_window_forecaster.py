"""What forecasters by windows share: data, intervals, updates, and sktime's rules."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster

from skattn._architecture import DataSpec
from skattn._inputs._covariates import CovariateEncoder
from skattn._inputs._origins import (
    Origins,
    automatic_window_length,
    tail_origins,
    tail_steps,
    training_origins,
    validation_origins,
)
from skattn._inputs._panels import (
    Key,
    align_rows,
    append_rows,
    join_series,
    same_columns,
    split_series,
)
from skattn._inputs._scaling import series_moments
from skattn._intervals import ConformalResiduals
from skattn._time_index import (
    check_later,
    regular,
    seasonal_period,
    shared_frequency,
    time_labels,
)

# Errors are kept for so many windows of all series.
_TAIL_WINDOWS = 2000


# Optional tensors, and the fields of the DataSpec that tell of them.
_FIELDS = {
    "known": "n_known",
    "known_categories": "known_category_counts",
    "static": "n_static",
    "static_categories": "static_category_counts",
    "series_id": "n_series",
}


@dataclass
class Memory:
    """The end of one series, from which forecasts and updates go on."""

    y: pd.DataFrame
    X: Any  # DataFrame, or None without covariates
    mean: np.ndarray
    std: np.ndarray
    code: int


class WindowForecaster(BaseForecaster):
    """Base of forecasters that see a window and forecast the whole horizon from it.

    Subclasses learn (`_learn`) and compute scores (`_scores`).
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": "skattn developers",
        "maintainers": "skattn developers",
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:categorical_in_X": True,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:update": True,
        "requires-fh-in-fit": True,
    }

    # The forecaster keeps the steps that it looks back at itself.
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}
    _y = None
    _X = None

    window_length: int | None
    normalization: str | None
    calibration: str | None
    validation_fraction: float

    @abstractmethod
    def _learn(self, series: Sequence[Any]) -> Any:
        """Train a model on series, and return it."""

    @abstractmethod
    def _model(self) -> Any:
        """Give the trained model that forecasts."""

    @abstractmethod
    def _scores(self, model: Any, samples: Any) -> np.ndarray:
        """Compute scores of windows, (n, n_targets, horizon) or (..., n_parameters)."""

    @abstractmethod
    def _store(self, series: Sequence[Any]) -> Any:
        """Lay out series for windows."""

    def _roles(self) -> tuple[Sequence[Any] | None, Sequence[Any] | None]:
        """Name the columns of X known in the past only, and the static ones."""
        return None, None

    @abstractmethod
    def _count_validation(self, series: Sequence[Any]) -> list[int]:
        """Count the steps at the end of each training series that are held out."""

    def _points(self, scores: np.ndarray, loc: Any, scale: Any) -> np.ndarray:
        """Turn scores into point forecasts in the units of the series."""
        return scores * scale + loc

    def _calibrate(
        self, scores: np.ndarray, targets: np.ndarray, loc: Any, scale: Any
    ) -> Any:
        """Keep what held-out forecasts tell of their errors."""
        return ConformalResiduals(scores, targets)

    @property
    def _is_given(self) -> bool:
        """Tell whether the encoding of covariates was learnt elsewhere."""
        return False

    # Data

    def _read(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> dict[Key, Any]:
        """Learn columns, series and horizon, and give the training series."""
        self._columns = y.columns
        is_panel = isinstance(y.index, pd.MultiIndex)
        self._levels = list(y.index.names) if is_panel else None
        frames = _regular_series(y)
        self._check_steps(frames)
        covariates = self._read_covariates(frames, X)
        if fh is None:
            raise ValueError(
                f"{type(self).__name__} needs the forecasting horizon to build its "
                "net: pass fh, for instance fh=[1, 2, 3]."
            )
        self.horizon_ = max(int(max(self._steps(fh, one))) for one in frames.values())
        if self.horizon_ < 1:
            raise ValueError("fh holds no step in the future of the training series.")
        self.window_length_ = self.window_length or automatic_window_length(
            [len(frame) for frame in frames.values()],
            seasonal_period(next(iter(frames.values())).index),
            self.horizon_,
        )
        self._codes = {key: number for number, key in enumerate(frames, start=1)}
        return {
            key: (
                Memory(
                    frame,
                    covariates.get(key),
                    np.zeros(len(self._columns)),
                    np.ones(len(self._columns)),
                    self._codes[key],
                )
            )
            for key, frame in frames.items()
        }

    @staticmethod
    def _check_steps(frames: dict[Key, pd.DataFrame]) -> None:
        """Refuse integer times that are not numbered one by one."""
        for frame in frames.values():
            index = frame.index
            is_integer = pd.api.types.is_integer_dtype(index.dtype)
            if is_integer and len(index) > 1 and index[1] - index[0] != 1:
                raise ValueError(
                    f"The integer index of y goes in steps of {index[1] - index[0]}, "
                    "but sktime counts horizons in steps of 1. Number the steps with "
                    "pd.RangeIndex(len(y)), or use a PeriodIndex or DatetimeIndex."
                )

    def _read_covariates(
        self, frames: dict[Key, pd.DataFrame], X: pd.DataFrame | None
    ) -> dict[Key, pd.DataFrame]:
        """Learn the covariates; give those of each training series."""
        past, static = self._roles()
        self._encoder: Any = None
        if X is None:
            given = [names for names in (past, static) if names is not None]
            if named := [str(name) for names in given for name in names]:
                raise ValueError(
                    f"The covariates {named} are named, but fit got no X. Pass X with "
                    "these columns, or drop the names."
                )
            return {}
        parts = {
            key: align_rows(part, frames[key].index)
            for key, part in split_series(X).items()
            if key in frames
        }
        if missing := [key for key in frames if key not in parts]:
            raise ValueError(
                f"X lacks the series {missing[:3]} of y ({len(missing)} in all)."
            )
        self._encoder = CovariateEncoder(past, static)
        self._encoder.learn([parts[key] for key in frames])
        return parts

    def _encode(self, memory: Memory, future: pd.DataFrame | None = None) -> Any:
        """Turn the end of a series, and covariates after it, into arrays."""
        from skattn._engine._windows import SeriesData

        data = SeriesData(_numbers(memory.y), memory.mean, memory.std, code=memory.code)
        if self._encoder is None:
            empty = np.zeros((len(data), 0))
            return replace(data, past=empty, known=empty, known_categories=empty)
        covariates = self._encoder.encode(memory.X)
        known = [covariates.known]
        known_categories = [covariates.known_categories]
        if future is not None:
            later = self._encoder.encode(future, future=True)
            known.append(later.known)
            known_categories.append(later.known_categories)
        return replace(
            data,
            past=(covariates.past - self._encoder.past_mean) / self._encoder.past_scale,
            known=np.concatenate(known),
            known_categories=np.concatenate(known_categories),
            static=covariates.static,
            static_categories=covariates.static_categories,
        )

    def _steps(self, fh: Any, frame: pd.DataFrame) -> np.ndarray:
        """Count the steps of `fh` from the end of a series."""
        if fh.is_relative:
            return np.asarray(fh)
        cutoff = self.cutoff if self._levels is None else frame.index[-1:]
        return np.asarray(fh.to_relative(cutoff))

    # Training

    def _fit_windows(self, memories: dict[Key, Memory]) -> Any:
        """Train a model on all series; keep the errors on their tails."""
        series = [self._encode(memory) for memory in memories.values()]
        self._check_values(series, list(memories))
        tails = [self._count_tail(len(one)) for one in series]
        pasts = [one.until(len(one) - n) for one, n in zip(series, tails, strict=True)]
        held_out = self._count_validation(pasts)
        for one, past, n_valid, memory in zip(
            series, pasts, held_out, memories.values(), strict=True
        ):
            seen = past.targets[: max(len(past) - n_valid, 1)]
            if np.isnan(seen).all(axis=0).any():
                seen = one.targets
            memory.mean, memory.std = series_moments(seen)
        for group in (series, pasts):
            for one, memory in zip(group, memories.values(), strict=True):
                one.mean, one.std = memory.mean, memory.std
        self._rescale_past(series, pasts, held_out)
        model, self._calibration = None, None
        if any(tails):
            self._part = "calibration" if self.calibration == "refit" else None
            model = self._learn(pasts)
            self._measure_errors(model, series, tails)
        if model is None or (
            self.calibration == "refit" and not getattr(model, "interrupted_", False)
        ):
            # An interruption asks for an end, and not for the second training.
            self._part = None
            model = self._learn(series)
        return model

    def _rescale_past(
        self, series: Sequence[Any], pasts: Sequence[Any], held_out: Sequence[int]
    ) -> None:
        """Standardise covariates of the past by the training rows alone."""
        if self._encoder is None or not self._encoder.past_names or self._is_given:
            return
        rows = [
            past.past[: max(len(past) - n_valid, 1)]
            for past, n_valid in zip(pasts, held_out, strict=True)
        ]
        mean, scale = series_moments(np.concatenate(rows))
        is_code = np.arange(len(mean)) >= self._encoder.n_past_numeric
        mean, scale = np.where(is_code, 0.0, mean), np.where(is_code, 1.0, scale)
        self._encoder.past_mean = self._encoder.past_mean + mean * (
            self._encoder.past_scale
        )
        self._encoder.past_scale = self._encoder.past_scale * scale
        for group in (series, pasts):
            for one in group:
                one.past = (one.past - mean) / scale

    def _measure_errors(
        self, model: Any, series: Sequence[Any], tails: Sequence[int]
    ) -> None:
        """Keep the errors on the held-out tails of all series, if there are any."""
        origins = tail_origins(list(map(len, series)), tails)
        samples = self._store(series).samples(origins).at_most(_TAIL_WINDOWS)
        scores = self._scores(model, samples)
        targets = samples.targets().cpu().numpy()
        # Each target has errors, and of its first step where it has any.
        if (~np.isnan(targets)).any(axis=(0, 2)).all():
            self._calibration = self._calibrate(scores, targets, *samples.units())

    def _count_tail(self, n_steps: int) -> int:
        """Count the steps at the end whose errors make the intervals."""
        return 0 if self.calibration is None else tail_steps(n_steps, self.horizon_)

    def _training_origins(self, series: Sequence[Any]) -> list[Origins]:
        """Choose training windows."""
        lengths = list(map(len, series))
        return training_origins(lengths, self.window_length_, self.horizon_)

    def _validation(self, series: Sequence[Any], held_out: Sequence[int]) -> Any:
        """Give the windows whose targets lie in the held-out steps, if any do."""
        if not any(held_out):
            return None
        origins = validation_origins(list(map(len, series)), held_out, self.horizon_)
        samples = self._store(series).samples(origins)
        limit = getattr(self, "windows_per_epoch", None)
        return samples if limit is None else samples.at_most(limit)

    @property
    def _n_series(self) -> int:
        """Number of codes of series; a single series has none."""
        return len(self._codes) + 1 if len(self._codes) > 1 else 0

    def _describe(self, n_parameters: int = 1) -> DataSpec:
        """Describe the windows to an architecture."""
        names = tuple(map(str, self._columns))
        encoder = self._encoder
        covariates: dict[str, Any] = {}
        if encoder is not None:
            names += tuple(encoder.past_names)
            covariates = {
                "n_known": encoder.n_known,
                "known_category_counts": encoder.known_category_counts,
                "known_names": encoder.known_names,
                "n_static": encoder.n_static,
                "static_category_counts": encoder.static_category_counts,
                "static_names": encoder.static_names,
            }
        return DataSpec(
            task="forecasting",
            input="series",
            n_parameters=n_parameters,
            n_channels=len(names),
            channel_names=names,
            n_targets=len(self._columns),
            length=self.window_length_,
            horizon=self.horizon_,
            n_series=self._n_series,
            **covariates,
        )

    def _offered(self) -> set[str]:
        """Name the optional tensors that windows come with."""
        data = self._describe()
        offered = {name for name, field in _FIELDS.items() if getattr(data, field)}
        has_effects = offered & {"known", "known_categories"}
        if has_effects and self.normalization == "instance":
            offered.add("scale")
        return offered

    def _lay_out(self, series: Sequence[Any], dtype: Any, device: Any) -> Any:
        """Lay out series for windows."""
        from skattn._engine._windows import SeriesStore

        return SeriesStore(
            series,
            window_length=self.window_length_,
            horizon=self.horizon_,
            normalization=self.normalization,
            offered=self._offered(),
            dtype=dtype,
            device=device,
        )

    def _check_values(self, series: Sequence[Any], keys: Sequence[Key]) -> None:
        """Refuse series without any value."""
        for one, key in zip(series, keys, strict=True):
            if (empty := np.isnan(one.targets).all(axis=0)).any():
                where = f" of the series {key}" if key else ""
                raise ValueError(
                    "y holds no value at all in the columns "
                    f"{list(self._columns[empty])}{where}."
                )

    def _remember(self, memories: dict[Key, Memory]) -> None:
        """Keep the steps that predictions and updates look back at."""
        length = self.window_length_ + self.horizon_
        self._memories = {
            key: replace(
                memory,
                y=memory.y.iloc[-length:].copy(),
                X=None if memory.X is None else memory.X.iloc[-length:].copy(),
            )
            for key, memory in memories.items()
        }

    # Forecasting

    def _present_windows(self, X: pd.DataFrame | None, fh: Any) -> Any:
        """Give the last window of each series, with known covariates after it."""
        futures = self._futures(X, fh)
        series = [
            self._encode(memory, futures.get(key))
            for key, memory in self._memories.items()
        ]
        origins = [
            Origins(number, len(one) - 1, len(one)) for number, one in enumerate(series)
        ]
        return self._store(series).samples(origins)

    def _futures(self, X: pd.DataFrame | None, fh: Any) -> dict[Key, pd.DataFrame]:
        """Give the covariates of the steps after each series."""
        owner = type(self).__name__
        if self._encoder is None:
            if X is not None:
                raise ValueError(
                    f"{owner} was fitted without X and cannot use X to predict. Fit it "
                    "with X, or leave it out."
                )
            return {}
        if not self._encoder.known_names:
            return {}
        if X is None:
            raise ValueError(
                f"{owner} was fitted with the covariates "
                f"{list(self._encoder.known_names)}, which are known in the future: "
                f"pass X for the {self.horizon_} steps after the series to predict"
                f"{self._or_past()}."
            )
        parts = split_series(X)
        if missing := [key for key in self._memories if key not in parts]:
            raise ValueError(
                f"X lacks the series {missing[:3]} ({len(missing)} in all): pass the "
                "covariates of every series that was fitted."
            )
        futures, gaps = {}, {}
        for key, memory in self._memories.items():
            asked = self._asked(fh, key, memory)
            futures[key], absent = self._future(memory, parts[key], asked)
            if absent:
                gaps[key] = absent
        if gaps:
            key, absent = next(iter(gaps.items()))
            where = f" of the series {key} and {len(gaps) - 1} others" if key else ""
            warnings.warn(
                f"X lacks the times {absent[:3]} ({len(absent)} in all){where}, among "
                f"the {self.horizon_} steps to come. fh does not ask for them, but the "
                f"{'net' if hasattr(self, 'net_') else 'regression'} sees the "
                "covariates of all: those of the step before stand in.",
                UserWarning,
                stacklevel=2,
            )
        return futures

    def _or_past(self) -> str:
        """Give another way out than to know covariates in the future."""
        has_roles = hasattr(self, "past_covariates")
        return ", or name them in past_covariates" if has_roles else ""

    def _future(
        self, memory: Memory, given: pd.DataFrame, asked: np.ndarray
    ) -> tuple[pd.DataFrame, list[str]]:
        """Give the covariates of each step of the horizon, and the times not given."""
        times = _following(memory.y.index, self.horizon_)
        given = align_rows(given, given.index)
        present = times.isin(given.index)
        if not present[asked].all():
            absent = [str(time) for time in times[asked][~present[asked]]]
            raise ValueError(
                f"X lacks the times {absent[:3]} ({len(absent)} in all) of the "
                f"covariates {list(self._encoder.known_names)}, which are known in the "
                "future: pass X for every step of fh."
            )
        if present.all():
            return given.loc[times], []
        rows = pd.concat([memory.X.iloc[-1:][given.columns], given.loc[times[present]]])
        absent = [str(time) for time in times[~present]]
        return rows.iloc[np.cumsum(present)].set_axis(times), absent

    def _predict(self, fh: Any, X: Any) -> pd.DataFrame:
        samples = self._present_windows(X, fh)
        scores = self._scores(self._model(), samples)
        return self._frame(self._points(scores, *samples.units()), fh)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> pd.DataFrame:
        samples = self._present_windows(X, fh)
        scores = self._scores(self._model(), samples)
        quantiles = self._quantiles(scores, alpha, *samples.units())
        names = self._get_varnames()
        columns = pd.MultiIndex.from_product([names, alpha])
        # (n_series, n_targets, horizon, n_levels)
        by_target = np.moveaxis(quantiles, 2, 3)
        flat = by_target.reshape(len(quantiles), -1, quantiles.shape[2])
        return self._frame(flat, fh, columns)

    def _quantiles(
        self, scores: np.ndarray, levels: Sequence[float], loc: Any, scale: Any
    ) -> np.ndarray:
        """Compute quantiles in the units of the series."""
        return self._calibrated().quantiles(scores, levels, loc, scale)

    def _predict_var(self, fh: Any, X: Any = None, cov: bool = False) -> pd.DataFrame:
        if cov:
            raise NotImplementedError(
                f"{type(self).__name__} forecasts the variance of each step, and no "
                "covariances between steps: call predict_var(cov=False)."
            )
        samples = self._present_windows(X, fh)
        scores = self._scores(self._model(), samples)
        return self._frame(self._variances(scores, *samples.units()), fh)

    def _predict_proba(self, fh: Any, X: Any = None, marginal: bool = True) -> Any:
        if not marginal:
            raise NotImplementedError(
                f"{type(self).__name__} forecasts the distribution of each step, and "
                "no joint one: call predict_proba(marginal=True)."
            )
        return super()._predict_proba(fh=fh, X=X, marginal=True)

    def _variances(self, scores: np.ndarray, loc: Any, scale: Any) -> np.ndarray:
        """Compute variances in the units of the series, (n, n_targets, horizon)."""
        return self._calibrated().variance(scale)

    def _calibrated(self) -> Any:
        """Give what is known of held-out errors, or say that nothing is."""
        if self._calibration is None:
            raise ValueError(
                "This forecaster has no held-out errors to make intervals from: "
                f"calibration={self.calibration!r}. Fit it with "
                "calibration='refit' or 'split' on a series of at least 3 steps that "
                "has values in its last half."
            )
        return self._calibration

    def _frame(
        self, forecasts: np.ndarray, fh: Any, columns: pd.Index | None = None
    ) -> pd.DataFrame:
        """Select the steps of `fh` from forecasts (n_series, n_columns, horizon)."""
        parts, indices = {}, {}
        for (key, memory), forecast in zip(
            self._memories.items(), forecasts, strict=True
        ):
            steps = self._asked(fh, key, memory)
            end = memory.y.index[-1]
            if end not in indices:
                cutoff = self.cutoff if key == () else memory.y.index[-1:]
                indices[end] = fh.to_absolute_index(cutoff)
            parts[key] = pd.DataFrame(
                forecast.T[steps],
                index=indices[end],
                columns=self._columns if columns is None else columns,
            )
        return join_series(parts, self._levels)

    def _asked(self, fh: Any, key: Key, memory: Memory) -> np.ndarray:
        """Give the positions in the horizon that `fh` asks for."""
        steps = self._steps(fh, memory.y)
        if steps.min() < 1 or steps.max() > self.horizon_:
            raise ValueError(
                f"fh asks for the steps {steps.min()} to {steps.max()} after the end "
                f"of the series {key or ''}, but {type(self).__name__} was fitted for "
                f"steps 1 to {self.horizon_}. Fit it with a longer fh."
            )
        return steps - 1

    # Updates

    def _update(
        self, y: pd.DataFrame, X: Any = None, update_params: bool = True
    ) -> Self:
        owner = type(self).__name__
        fitted = 1 if self._levels is None else len(self._levels)
        if y.index.nlevels != fitted:
            raise ValueError(
                f"The index of y has {y.index.nlevels} levels, but {owner} was fitted "
                f"to one of {fitted}: update a series by a series, a panel by a panel."
            )
        if X is not None and self._encoder is None:
            raise ValueError(
                f"{owner} was fitted without X and cannot use X in update. Fit it with "
                "X, or leave it out."
            )
        y = same_columns(y, self._columns, "y", owner)
        covariates = self._new_covariates(X)
        memories, new = dict(self._memories), {}
        for key, part in split_series(y).items():
            old = memories.get(key)
            rows = covariates.get(key)
            if self._encoder is not None and rows is None:
                raise ValueError(
                    f"{owner} was fitted with covariates: update needs X for the new "
                    "steps, with the columns of fit."
                )
            if old is None:
                frame = regular(part)
                mean, std = series_moments(_numbers(frame))
                start, code = 0, 0
            else:
                check_later(part.index, old.y.index)
                frequency = getattr(old.y.index, "freqstr", None)
                frame = regular(append_rows(old.y, part), frequency)
                mean, std, code = old.mean, old.std, old.code
                start = int(frame.index.get_loc(old.y.index[-1])) + 1
            if rows is not None:
                if old is not None and old.X is not None:
                    rows = same_columns(rows, old.X.columns, "X", owner)
                    rows = append_rows(old.X, rows)
                rows = align_rows(rows, frame.index)
            memories[key] = Memory(frame, rows, mean, std, code)
            new[key] = start
        series = {key: self._encode(memories[key]) for key in new}
        unknown = [key for key in new if key not in self._memories]
        self._check_values([series[key] for key in unknown], unknown)
        if update_params:
            self._train_on(memories, new)
        self._remember(memories)
        return self

    def _new_covariates(self, X: pd.DataFrame | None) -> dict[Key, pd.DataFrame]:
        """Split the covariates of new steps; those of a forecaster without any go."""
        return {} if X is None or self._encoder is None else split_series(X)

    def _train_on(self, memories: dict[Key, Memory], new: dict[Key, int]) -> None:
        """Learn from series whose steps are new from some position on."""

    # Inspection and backtests

    def _forecast_from(
        self, y: pd.DataFrame, X: pd.DataFrame | None, origins: dict[Key, np.ndarray]
    ) -> dict[Key, np.ndarray]:
        """Forecast from many origins of series that hold more than the fitted ones.

        Parameters
        ----------
        y, X : DataFrame
            Whole series, regular.
        origins : dict of tuple to ndarray of int
            For each series, the positions of the last known steps, ascending.

        Returns
        -------
        forecasts : dict of tuple to ndarray of shape (n_origins, n_targets, horizon)
            Point forecasts.
        """
        samples = self._windows_from(y, X, origins)
        scores = self._scores(self._model(), samples)
        points = self._points(scores, *samples.units())
        ends = np.cumsum([len(rows) for rows in origins.values()])[:-1]
        return dict(zip(origins, np.split(points, ends), strict=True))

    def _windows_from(
        self, y: pd.DataFrame, X: pd.DataFrame | None, origins: dict[Key, np.ndarray]
    ) -> Any:
        """Give the windows of `_forecast_from`."""
        frames = _regular_series(y)
        covariates = self._new_covariates(X)
        series, chosen = [], []
        for number, (key, rows) in enumerate(origins.items()):
            memory = self._memories[key]
            known = covariates.get(key)
            if known is not None:
                known = known.reindex(frames[key].index)
            series.append(self._encode(replace(memory, y=frames[key], X=known)))
            chosen += [Origins(number, int(row), int(row) + 1) for row in rows]
        return self._store(series).samples(chosen)

    def _step_names(self) -> dict[str, list[str]]:
        """Name the steps of the window and of the horizon.

        By their times, or for several series as counted from the end of each.
        """
        length, horizon = self.window_length_, self.horizon_
        memories = list(self._memories.values())
        if len(memories) > 1:
            return {
                "time": [str(step) for step in range(1 - length, 1)],
                "horizon": [f"+{step}" for step in range(1, horizon + 1)],
            }
        index = memories[0].y.index
        labels = time_labels(index[-length:])
        return {
            "time": [""] * (length - len(labels)) + labels,
            "horizon": time_labels(_following(index, horizon)),
        }


def _regular_series(y: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Split a panel into series without times left out, of one frequency."""
    parts = split_series(y)
    frequency = shared_frequency([part.index for part in parts.values()])
    frames = {}
    for key, part in parts.items():
        try:
            frames[key] = regular(part, frequency)
        except ValueError as error:
            where = f"In the series {key}: " if key else ""
            raise ValueError(f"{where}{error}") from error
    return frames


def _following(index: pd.Index, count: int) -> pd.Index:
    """Give the times after the end of a regular index."""
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[-1] + 1, periods=count, freq=index.freq)
    if isinstance(index, pd.DatetimeIndex):
        frequency = shared_frequency([index])
        if frequency is None:
            raise ValueError(
                f"The frequency of y cannot be told from {len(index)} dates: call "
                "y.asfreq(...) first, or use a PeriodIndex."
            )
        return pd.date_range(index[-1], periods=count + 1, freq=frequency)[1:]
    step = index[-1] - index[-2] if len(index) > 1 else 1
    return pd.RangeIndex(index[-1] + step, index[-1] + step * (count + 1), step)


def _numbers(y: pd.DataFrame) -> np.ndarray:
    """Give the values of a series, which may be missing but not infinite."""
    values = y.to_numpy(dtype=np.float64)
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise ValueError(
            f"y contains infinity, in the column {y.columns[column]!r} at "
            f"{y.index[row]}. Missing values are NaN."
        )
    return values
