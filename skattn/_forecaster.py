"""The forecaster, as sktime knows it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Integral, Interval, StrOptions
from sktime.forecasting.base import BaseForecaster

from skattn._architecture import Architecture, DataSpec
from skattn._base import (
    DEFAULT_ARCHITECTURE,
    ArchitectureParams,
    check_parameters,
    draw_seed,
    fitted_architecture,
    stops_early,
)
from skattn._inputs._scaling import weighted_moments
from skattn._intervals import ConformalResiduals
from skattn._time_index import regular, seasonal_period, time_labels

_CONSTRAINTS = {
    "window_length": [Interval(Integral, 1, None, closed="left"), None],
    "normalization": [StrOptions({"last", "instance"}), None],
    "linear_skip": [StrOptions({"ols", "learned"}), None],
    "calibration": [StrOptions({"refit", "split"}), None],
    "loss": [StrOptions({"squared_error", "absolute_error", "huber"})],
}

# Errors are kept for so many horizons at the end of the series, or half of it.
_TAIL_HORIZONS = 10

# An update takes small steps: it starts from weights that fit.
_UPDATE_LR = 0.1


class AttentionForecaster(ArchitectureParams, BaseForecaster):
    """Forecast series by an attention architecture, all steps of the horizon at once.

    The net sees a window of the last `window_length` steps of all series and forecasts
    every step up to the longest horizon given to ``fit``. Prediction intervals come
    from the errors on a held-out tail (split conformal prediction).

    Parameters
    ----------
    architecture : str or Architecture, default="self_attention"
        A registered name (see `skattn.list_architectures`) or an instance, whose
        hyper-parameters can be set and searched as ``architecture__x``.
    window_length : int or None, default=None
        Steps that the net looks back. None takes twice the longer of the horizon and
        the seasonal period that the index's frequency suggests, at least 8, in whole
        periods, and at most half of what the series leaves beside one horizon.
    normalization : {"last", "instance"} or None, default="last"
        What is taken out of each window and put back into its forecast: the last
        value, or the mean (reversible instance normalisation); both divide by the
        window's standard deviation.
    linear_skip : {"ols", "learned"} or None, default="ols"
        A linear forecast beside the architecture's, whose own head starts at zero:
        ``"ols"`` starts it at the ridge regression of the training windows,
        ``"learned"`` at zero; both are trained on with the rest. Where early stopping
        holds steps out, what training learnt is kept only if the error on them falls
        below that of this start.
    calibration : {"refit", "split"} or None, default="refit"
        How prediction intervals come about. A net is trained without the tail of the
        series, ten horizons or half of it, and its errors there are kept. ``"refit"``
        then trains the net that forecasts on the whole series; ``"split"`` forecasts
        with the first net, for half the time. None trains once on the whole series,
        and there are no intervals.
    loss : {"squared_error", "absolute_error", "huber"}, default="huber"
        What training minimises, in units of each window.
    max_epochs : int, default=20
        Passes over the training data, at most.
    lr : float, default=0.003
        Highest learning rate.
    batch_size : int or "auto", default=64
        Samples in a training step; ``"auto"`` makes at least eight steps an epoch
        from 64 samples, with batches of a power of two between 8 and 256.
    optimizer : str or type, default="AdamW"
        An optimizer of `torch.optim`, by name or class.
    weight_decay : float, default=0.01
        Weight decay of all weights with two axes or more; vectors, such as those of
        norms, have none.
    lr_schedule : {"one_cycle", "cosine"} or None, default="one_cycle"
        Course of the learning rate over ``max_epochs``: a linear warm-up over a tenth
        of the steps and then a half cosine to zero, that half cosine alone, or a
        constant.
    gradient_clip : float or None, default=1.0
        Largest norm of the gradient.
    early_stopping : bool or "auto", default="auto"
        Hold out `validation_fraction` of the samples, stop when the loss on them has
        not improved for `patience` epochs, and restore the best weights; with a
        `linear_skip`, those of the linear start unless the held-out error fell below
        its own, by however little. ``"auto"`` does so from 1,000 samples.
    validation_fraction : float, default=0.1
        Part of the time steps, at the end, that is held out of training.
    patience : int, default=16
        Epochs without improvement before training stops.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"auto"`` for the best that
        is present. A device that is absent is an error.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Of weights and arithmetic; ``"bfloat16"`` keeps weights in float32 and computes
        under torch's autocast.
    compile : bool, default=False
        Compile the module with `torch.compile`.
    num_threads : int or None, default=None
        Threads that torch uses in ``fit`` and ``predict``; the old number is restored.
        Results are equal to the bit for equal numbers.
    callbacks : list of skorch callbacks or None, default=None
        Or pairs of a name and one, copied for each fit. They see the losses of each
        epoch in ``net.history``; callbacks that predict by the net (``EpochScoring``)
        do not work.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffling, dropout and the validation split. torch's
        global random state is left as it was found.
    verbose : int, default=0
        1 shows a progress bar.
    net_params : dict or None, default=None
        More parameters of `skorch.NeuralNet`, passed as they are, for instance
        ``{"optimizer__betas": (0.9, 0.95)}``; those that the estimator has itself
        are refused.

    Attributes
    ----------
    window_length_ : int
        Steps that the net looks back.
    horizon_ : int
        Steps that the net forecasts.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    architecture_ : Architecture
        The architecture, with all its hyper-parameters.
    history_ : skorch.history.History
        One record for each epoch: losses, duration.
    n_iter_ : int
        Epochs that were run, with those of updates.

    Notes
    -----
    Exogenous series are not used: `X` is accepted, as sktime asks, and left out without
    a warning, for sktime never hands it over (``capability:exogenous`` is False).

    If the first of two trainings is interrupted (``calibration="refit"``), the second
    does not begin: the interrupted net forecasts.

    References
    ----------
    Window normalisation: Kim et al., "Reversible Instance Normalization", ICLR 2022;
    the last value: Zeng et al., "Are Transformers Effective for Time Series
    Forecasting?", AAAI 2023, arXiv 2205.13504. Intervals: Lei et al.,
    "Distribution-Free Predictive Inference for Regression", JASA 2018, arXiv
    1604.04173; on series they are approximate.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from skattn import AttentionForecaster
    >>> y = load_airline()
    >>> forecaster = AttentionForecaster(max_epochs=5, random_state=0)
    >>> forecaster.fit(y, fh=[1, 2, 3]).predict().shape
    (3,)
    >>> forecaster.predict_interval(coverage=0.9).shape
    (3, 2)
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": "skattn developers",
        "maintainers": "skattn developers",
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": False,
        "capability:categorical_in_X": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:update": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "requires-fh-in-fit": True,
    }

    # The forecaster keeps the steps that it looks back at itself.
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}
    _y = None
    _X = None

    def __init__(
        self,
        architecture: Any = DEFAULT_ARCHITECTURE,
        *,
        window_length: int | None = None,
        normalization: str | None = "last",
        linear_skip: str | None = "ols",
        calibration: str | None = "refit",
        loss: str = "huber",
        max_epochs: int = 20,
        lr: float = 3e-3,
        batch_size: int | str = 64,
        optimizer: str | type = "AdamW",
        weight_decay: float = 1e-2,
        lr_schedule: str | None = "one_cycle",
        gradient_clip: float | None = 1.0,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        patience: int = 16,
        device: str = "cpu",
        precision: str = "float32",
        compile: bool = False,
        num_threads: int | None = None,
        callbacks: list[Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.architecture = architecture
        self.window_length = window_length
        self.normalization = normalization
        self.linear_skip = linear_skip
        self.calibration = calibration
        self.loss = loss
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.gradient_clip = gradient_clip
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.precision = precision
        self.compile = compile
        self.num_threads = num_threads
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params
        super().__init__()

    def _fit(self, y: pd.DataFrame, X: Any, fh: Any) -> Self:
        from skattn._engine._net import TrainingOptions

        check_parameters(self, **_CONSTRAINTS)
        y = regular(y)
        values = _numbers(y)
        if (empty := np.isnan(values).all(axis=0)).any():
            raise ValueError(
                f"y holds no value at all in the columns {list(y.columns[empty])}."
            )
        self.horizon_ = int(max(fh.to_relative(self.cutoff)))
        if self.horizon_ < 1:
            raise ValueError("fh holds no step in the future of the training series.")
        architecture = fitted_architecture(self.architecture, "forecasting", "series")
        self._check_gaps(architecture, values)
        self.window_length_ = self._choose_window_length(len(values), y.index)
        self._seed = draw_seed(self.random_state)
        options = TrainingOptions.of(self)

        n_tail = self._count_tail(len(values))
        past = values[: len(values) - n_tail]
        n_valid = self._count_validation(len(past))
        self._mean, self._scale = weighted_moments(past[: len(past) - n_valid])
        net = None
        self._residuals = None
        if n_tail:
            net = self._train_net(past, architecture, y.columns, options)
            last_steps = np.arange(len(past) - 1, len(values) - 1)
            tail = self._windows(values).samples([(0, last_steps)])
            scores = self._scores(net, tail)
            residuals = ConformalResiduals(scores, tail.targets().cpu().numpy())
            if residuals.counts.any(axis=1).all():
                self._residuals = residuals
        # An interruption asks for an end, and not for the second training.
        if net is None or (self.calibration == "refit" and not net.interrupted_):
            net = self._train_net(values, architecture, y.columns, options)
        self.net_ = net
        self.architecture_ = architecture
        self.history_ = net.history
        self.n_iter_ = len(net.history)
        self._remember(y)
        return self

    def _train_net(
        self,
        values: np.ndarray,
        architecture: Architecture,
        names: pd.Index,
        options: Any,
    ) -> Any:
        """Train a new net on a series, with its own tail for early stopping."""
        from skattn._engine._net import train
        from skattn._engine._runtime import resolve_device, seeded

        device = resolve_device(self.device)
        n_valid = self._count_validation(len(values))
        past = values[: len(values) - n_valid]
        samples = self._windows(past).samples([(0, self._origins(len(past)))])
        valid = None
        if n_valid:
            last_steps = np.arange(len(past) - 1, len(values) - 1)
            valid = self._windows(values).samples([(0, last_steps)])
        with seeded(self._seed, device, self.num_threads) as generator:
            net = self._make_net(architecture, names, options, samples)
            return train(net, samples, valid, options, generator)

    def _predict(self, fh: Any, X: Any) -> pd.DataFrame:
        samples = self._present_window()
        loc, scale = samples.moments()
        return self._frame(self._scores(self.net_, samples) * scale + loc, fh)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> pd.DataFrame:
        if self._residuals is None:
            raise ValueError(
                "This forecaster has no held-out errors to make intervals from: "
                f"calibration={self.calibration!r}. Fit it with "
                "calibration='refit' or 'split' on a series of at least 3 steps that "
                "has values in its last half."
            )
        samples = self._present_window()
        loc, scale = samples.moments()
        scores = self._scores(self.net_, samples)
        frames = [
            self._frame((scores + self._residuals.quantile(level)) * scale + loc, fh)
            for level in alpha
        ]
        names = self._get_varnames()
        columns = pd.MultiIndex.from_product([names, alpha])
        by_level = np.stack([frame.to_numpy() for frame in frames], axis=-1)
        flat = by_level.reshape(len(by_level), -1)  # (steps, targets * levels)
        return pd.DataFrame(flat, index=frames[0].index, columns=columns)

    def _update(
        self, y: pd.DataFrame, X: Any = None, update_params: bool = True
    ) -> Self:
        y = self._in_fitted_order(y)
        n_before = len(self._recent)
        frequency = getattr(self._recent.index, "freqstr", None)
        # combine_first sorts the columns.
        joined = y.combine_first(self._recent)[self._recent.columns]
        joined = regular(joined, frequency)
        values = _numbers(joined)
        if update_params:
            self._train_on(values, n_before)
        self._remember(joined)
        return self

    def _in_fitted_order(self, y: pd.DataFrame) -> pd.DataFrame:
        """Bring the columns of new steps into the order of the training series."""
        fitted = self._recent.columns
        if len(fitted) == len(y.columns) == 1 and 0 in (fitted[0], y.columns[0]):
            return y.set_axis(fitted, axis=1)  # sktime calls a nameless series 0
        missing = [name for name in fitted if name not in y.columns]
        new = [name for name in y.columns if name not in fitted]
        if missing or new or len(fitted) != len(y.columns):
            raise ValueError(
                f"y has the columns {list(y.columns)}, but {type(self).__name__} was "
                f"fitted with {list(fitted)}: {missing} are missing, {new} are new."
            )
        return y[fitted]

    def _train_on(self, values: np.ndarray, n_before: int) -> None:
        """Train for one epoch on the windows whose targets hold new steps."""
        from skattn._engine._net import TrainingOptions, train
        from skattn._engine._runtime import resolve_device, seeded

        self._check_gaps(self.architecture_, values)
        first = max(n_before - self.horizon_, 0)
        origins = self._origins(len(values))
        samples = self._windows(values).samples([(0, origins[origins >= first])])
        if not len(samples):
            return
        options = replace(TrainingOptions.of(self), lr=_UPDATE_LR * self.lr)
        device = resolve_device(self.net_.device)
        seed = self._seed + len(self.net_.history)
        with seeded(seed, device, self.num_threads) as generator:
            train(self.net_, samples, None, options, generator, epochs=1)
        self.n_iter_ = len(self.net_.history)

    def _remember(self, y: pd.DataFrame) -> None:
        """Keep the steps that predictions and updates look back at."""
        self._recent = y.iloc[-(self.window_length_ + self.horizon_) :]

    def _choose_window_length(self, n_steps: int, index: pd.Index) -> int:
        if self.window_length is not None:
            return self.window_length
        period = seasonal_period(index)
        wanted = max(2 * period, 2 * self.horizon_, 8)
        wanted = math.ceil(wanted / period) * period
        room = max((n_steps - self.horizon_) // 2, 2)
        return max(1, min(wanted, room, n_steps - 1))

    def _count_tail(self, n_steps: int) -> int:
        """Count the steps at the end whose errors make the intervals."""
        if self.calibration is None:
            return 0
        count = min(_TAIL_HORIZONS * self.horizon_, n_steps // 2)
        return count if n_steps - count >= 2 else 0

    def _count_validation(self, n_steps: int) -> int:
        """Count the steps at the end of a training series that early stopping takes."""
        if not stops_early(self.early_stopping, len(self._origins(n_steps))):
            return 0
        count = max(round(self.validation_fraction * n_steps), 1)
        if n_steps - count < 2:
            raise ValueError(
                f"early_stopping holds out {count} of {n_steps} steps, which leaves "
                "nothing to train on. Set early_stopping=False."
            )
        return count

    def _check_gaps(self, architecture: Architecture, values: np.ndarray) -> None:
        if np.isnan(values).any() and "observed" not in architecture.consumes:
            raise ValueError(
                "y has missing values, but the architecture "
                f"{architecture.name!r} does not consume 'observed'. Choose one that "
                "does, or impute, for instance with sktime's Imputer."
            )

    def _origins(self, n_steps: int) -> np.ndarray:
        """Choose the last known steps of the training windows."""
        first = min(self.window_length_, n_steps - 1) - 1
        return np.arange(max(first, 0), max(n_steps - 1, 1))

    def _windows(self, values: np.ndarray) -> Any:
        from skattn._engine._runtime import PRECISIONS, resolve_device
        from skattn._engine._windows import SeriesStore

        fitted = getattr(self, "net_", None)
        return SeriesStore(
            [values],
            window_length=self.window_length_,
            horizon=self.horizon_,
            n_targets=values.shape[1],
            mean=self._mean,
            scale=self._scale,
            normalization=self.normalization,
            dtype=PRECISIONS[self.precision],
            device=resolve_device(self.device if fitted is None else fitted.device),
        )

    def _make_net(
        self, architecture: Architecture, names: pd.Index, options: Any, samples: Any
    ) -> Any:
        from skattn._engine._linear import fit_step_map
        from skattn._engine._losses import regression_loss
        from skattn._engine._net import Blueprint, make_net
        from skattn._engine._samples import Batches

        data = DataSpec(
            task="forecasting",
            input="series",
            n_channels=len(names),
            channel_names=tuple(map(str, names)),
            n_targets=len(names),
            length=self.window_length_,
            horizon=self.horizon_,
        )
        has_skip = self.linear_skip is not None
        blueprint = Blueprint(architecture, data, self.precision, has_skip)
        net = make_net(blueprint, regression_loss(self.loss), options)
        if self.linear_skip == "ols":
            batches = Batches(samples, 1024, None, samples.store.device)
            fit_step_map(net.module_.skip, iter(batches))
        return net

    def _scores(self, net: Any, samples: Any) -> np.ndarray:
        from skattn._engine._net import predict_scores

        scores = predict_scores(net, samples, self.num_threads).double().numpy()
        if not np.isfinite(scores).all():
            raise ValueError(
                "The net's forecasts are not finite: its weights diverged, or y holds "
                f"values that overflow precision={self.precision!r}. Fit again with a "
                f"lower lr than {self.lr}, or rescale y."
            )
        return scores

    def _present_window(self) -> Any:
        values = self._recent.to_numpy(dtype=np.float64)
        return self._windows(values).samples([(0, np.array([len(values) - 1]))])

    def _frame(self, forecast: np.ndarray, fh: Any) -> pd.DataFrame:
        """Select the steps of `fh` from a forecast (1, n_targets, horizon)."""
        steps = np.asarray(fh.to_relative(self.cutoff)) - 1
        return pd.DataFrame(
            forecast[0].T[steps],
            index=fh.to_absolute_index(self.cutoff),
            columns=self._recent.columns,
        )

    def _attention_batches(self, X: Any) -> tuple[Any, Any, Any]:
        """Give the recorder what it runs over and the way to name axes."""
        self.check_is_fitted()
        if self._is_vectorized:
            raise ValueError(
                "This forecaster was fitted to several series of a panel or hierarchy, "
                "with one net each: pass one of them to record_attention, for instance "
                "forecaster.forecasters_.iloc[0, 0]."
            )
        if X is not None:
            raise ValueError(
                "A forecaster's attention is recorded for the window from which it "
                "forecasts: call record_attention(forecaster) without X."
            )
        labels = time_labels(self._recent.index[-self.window_length_ :])
        padding = [""] * (self.window_length_ - len(labels))

        def name_axis(axis: str) -> list[str] | None:
            if axis == "time":
                return padding + labels
            if axis == "channels":
                return [str(name) for name in self._recent.columns]
            return None

        return self.net_, self._present_window(), name_axis

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's checks.

        Parameters
        ----------
        parameter_set : str, default="default"
            There is one set of parameter sets.

        Returns
        -------
        params : list of dict
            Arguments of the constructor.
        """
        return [
            {"max_epochs": 2},
            {"max_epochs": 1, "window_length": 4, "normalization": "instance"},
        ]


def _numbers(y: pd.DataFrame) -> np.ndarray:
    """Give the values of a series, which may be missing but not infinite."""
    values = y.to_numpy(dtype=np.float64)
    if np.isinf(values).any():
        raise ValueError("y contains infinity. Missing values are NaN.")
    return values
