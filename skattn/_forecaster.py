"""The forecaster, as sktime knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Integral, Interval, StrOptions
from sktime.forecasting.base import ForecastingHorizon

from skattn._architecture import Architecture
from skattn._base import (
    DEFAULT_ARCHITECTURE,
    ArchitectureParams,
    check_parameters,
    draw_seed,
    fitted_architecture,
    stops_early,
)
from skattn._inputs._origins import Origins, held_out_steps
from skattn._intervals import ConformalQuantiles
from skattn._pretrained import PretrainedNet
from skattn._window_forecaster import Memory, WindowForecaster

if TYPE_CHECKING:
    from skattn._engine._net import TrainingOptions
    from skattn._engine._windows import SeriesData, SeriesStore

LIKELIHOODS = ("quantile", "normal", "student_t", "negative_binomial")

_CONSTRAINTS = {
    "window_length": [Interval(Integral, 1, None, closed="left"), None],
    "normalization": [StrOptions({"last", "instance"}), None],
    "linear_skip": [StrOptions({"ols", "learned"}), None],
    "likelihood": [StrOptions(set(LIKELIHOODS)), None],
    "quantiles": ["array-like", None],
    "calibration": [StrOptions({"refit", "split"}), None],
    "past_covariates": ["array-like", None],
    "static_covariates": ["array-like", None],
    "pretrained": [object],  # `_find_start` says what it takes
    "fine_tune_epochs": [Interval(Integral, 0, None, closed="left")],
    "windows_per_epoch": [Interval(Integral, 1, None, closed="left"), None],
    "loss": [StrOptions({"squared_error", "absolute_error", "huber"})],
}

# Updates and fine-tuning take small steps: they start from weights that fit.
_SMALL_LR = 0.1


class AttentionForecaster(ArchitectureParams, WindowForecaster):
    """Forecast series by an attention architecture, all steps of the horizon at once.

    The net sees a window of the last `window_length` steps and forecasts every step up
    to the longest horizon given to ``fit``. A panel or hierarchy trains one net for all
    of its series, each standardised by its own mean and standard deviation. Prediction
    intervals come from a likelihood, from the errors on a held-out tail (split
    conformal prediction), or from both.

    Parameters
    ----------
    architecture : str or Architecture, default="self_attention"
        A registered name (see `skattn.list_architectures`) or an instance, whose
        hyper-parameters can be set and searched as ``architecture__x``.
    window_length : int or None, default=None
        Steps to look back. None takes twice the longer of the horizon and the seasonal
        period that the index's frequency suggests, at least 8, in whole periods, and at
        most half of what the series leaves beside one horizon.
    normalization : {"last", "instance"} or None, default="last"
        What is taken out of each window and put back into its forecast: the last
        value; or the mean, and the standard deviation is divided by (reversible
        instance normalisation).
    linear_skip : {"ols", "learned"} or None, default="ols"
        A linear forecast beside the architecture's, whose own head starts at zero:
        ``"ols"`` starts it at the ridge regression of the training windows,
        ``"learned"`` at zero; both are trained on with the rest. Where early stopping
        holds steps out, the ridge strength is chosen on them, and what training learnt
        is kept only if the error on them falls below that of this start.
    likelihood : {"quantile", "normal", "student_t", "negative_binomial"} or None, \
default=None
        What the net forecasts: a point (None), `quantiles`, or the parameters of a
        distribution; the negative binomial one is for counts.
    quantiles : sequence of float or None, default=None
        Levels that ``likelihood="quantile"`` learns, and no other one takes; levels
        between them are interpolated. None takes nine from 0.025 to 0.975.
    calibration : {"refit", "split"} or None, default="refit"
        How prediction intervals are calibrated. A net is trained without the tail of
        each series, ten horizons or half of it, and its errors there are kept: those of
        points give the intervals, those of a likelihood's quantiles correct these.
        ``"refit"`` then trains the net that forecasts on the whole series; ``"split"``
        forecasts with the first net, for half the time. None trains once on the whole
        series; intervals are then the likelihood's own, as ``predict_var`` and
        ``predict_proba`` always are.
    past_covariates : sequence of str or None, default=None
        Columns of `X` that are known up to the present only; ``predict`` does not need
        them. All others have to be known for all steps of the horizon.
    static_covariates : sequence of str or None, default=None
        Columns of `X` that are constant over each series.
    pretrained : PretrainedNet or None, default=None
        Trained weights to start from, instead of random ones; copies of the forecaster
        keep them. A net of ``pretrain`` is used in the same way. Intervals of a series
        that such a net was trained on are too narrow: the net has seen its tail.
    fine_tune_epochs : int, default=0
        Epochs that ``fit`` trains a pretrained net for, at a tenth of `lr`; 0 forecasts
        with its weights as they are. Nothing is held out for early stopping then.
    windows_per_epoch : int or None, default=50000
        Where there are more training windows than this, so many are drawn anew for each
        epoch.
    loss : {"squared_error", "absolute_error", "huber"}, default="huber"
        What training minimises where there is no `likelihood`, in units of the
        standardised series.
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
    pretrained_ : PretrainedNet
        The net of ``pretrain``; there only after it.
    architecture_ : Architecture
        The architecture, with all its hyper-parameters.
    history_ : skorch.history.History
        One record for each epoch: losses, duration.
    n_iter_ : int
        Epochs that were run, with those of updates.

    Notes
    -----
    Columns of `X` of type object, string or category are categorical. A category or a
    series that training did not see is "unknown"; training hides some categories, and
    the identity of some windows' series, so that this is learnt too.

    A covariate that the architecture does not consume enters by a linear effect, which
    is taken out of the window and put into the forecast.

    Series of a panel may differ in length and end at different times: a relative
    horizon counts from the end of each.

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
        "capability:pretrain": True,
        "pretrain:fitted_params": ["pretrained_"],
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }

    def __init__(
        self,
        architecture: Any = DEFAULT_ARCHITECTURE,
        *,
        window_length: int | None = None,
        normalization: str | None = "last",
        linear_skip: str | None = "ols",
        likelihood: str | None = None,
        quantiles: Sequence[float] | None = None,
        calibration: str | None = "refit",
        past_covariates: Sequence[Any] | None = None,
        static_covariates: Sequence[Any] | None = None,
        pretrained: PretrainedNet | None = None,
        fine_tune_epochs: int = 0,
        windows_per_epoch: int | None = 50_000,
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
        self.likelihood = likelihood
        self.quantiles = quantiles
        self.calibration = calibration
        self.past_covariates = past_covariates
        self.static_covariates = static_covariates
        self.pretrained = pretrained
        self.fine_tune_epochs = fine_tune_epochs
        self.windows_per_epoch = windows_per_epoch
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
        check_parameters(self, **_CONSTRAINTS)
        self._pretraining = False
        self._start = self._find_start()
        self.architecture_ = self._resolve()
        memories = self._read(y, X, fh)
        net = self._fit_windows(memories)
        self.net_ = net
        self.history_ = net.history
        self.n_iter_ = len(net.history)
        self._remember(memories)
        return self

    def _pretrain(self, y: pd.DataFrame, X: Any = None, fh: Any = None) -> Self:
        check_parameters(self, **_CONSTRAINTS)
        self._pretraining = True
        self._start = self._find_start()
        if fh is None and self._start is not None:
            fh = ForecastingHorizon(np.arange(1, self._start.horizon + 1))
        self.architecture_ = self._resolve()
        memories = self._read(y, X, fh)
        net = self._fit_windows(memories)
        pretrained = PretrainedNet(net, self)
        # Everything else is learnt from the series that are forecast.
        self._reset_at("new")
        self._keep_pretrained(pretrained)
        return self

    def _keep_pretrained(self, pretrained: PretrainedNet) -> None:
        """Note a net in a way that sktime's clones know of."""
        self.pretrained_ = pretrained
        self._pretrained_attrs = ["pretrained_"]
        self._state = "pretrained"

    def set_params(self, **params: Any) -> Self:
        """Set parameters; the net of `pretrain` stays, unless another is given.

        Parameters
        ----------
        **params : dict
            ``architecture__x`` sets the hyper-parameter ``x`` of a copy of the
            architecture, which is looked up first where it is a name.

        Returns
        -------
        self : AttentionForecaster
            The same object, not fitted any more.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        pretrained = getattr(self, "pretrained_", None)
        is_another = params.get("pretrained", self.pretrained) is not self.pretrained
        super().set_params(**params)
        if pretrained is not None and not is_another:
            self._keep_pretrained(pretrained)
        return self

    def __sklearn_clone__(self) -> Self:
        return self.clone()

    def _find_start(self) -> PretrainedNet | None:
        """Give the net to start from: that of `pretrain`, or the parameter's."""
        if not isinstance(self.pretrained, PretrainedNet | None):
            raise ValueError(
                f"pretrained={self.pretrained!r} is no PretrainedNet. Give "
                "PretrainedNet.from_forecaster(...) of a fitted forecaster."
            )
        return getattr(self, "pretrained_", self.pretrained)

    def _resolve(self) -> Architecture:
        """Look the architecture up, and see whether a net to start from fits it."""
        self._seed = draw_seed(self.random_state)
        architecture = fitted_architecture(self.architecture, "forecasting", "series")
        if self._start is None:
            return architecture
        if conflicts := self._start.conflicts(self, architecture):
            raise ValueError(
                f"The pretrained net does not fit {type(self).__name__}'s parameters: "
                f"{'; '.join(conflicts)}. Set these parameters as they were when it "
                "was trained, or pretrain another net."
            )
        return self._start.architecture

    def _read(self, y: pd.DataFrame, X: Any, fh: Any) -> dict[Any, Memory]:
        memories = super()._read(y, X, fh)
        start = self._start
        if start is None:
            self._check_covariates()
            return memories
        if self.horizon_ > start.horizon:
            raise ValueError(
                f"fh asks for {self.horizon_} steps, but the pretrained net forecasts "
                f"{start.horizon}: pretrain with a longer fh."
            )
        if len(self._columns) != start.n_targets:
            raise ValueError(
                f"y has {len(self._columns)} columns, but the pretrained net forecasts "
                f"{start.n_targets}."
            )
        if (self._encoder is None) != (start.encoder is None):
            has, needs = ("no X", "one") if self._encoder is None else ("X", "none")
            raise ValueError(
                f"fit got {has}, but the net was pretrained with {needs}. Covariates "
                "have to be the same in both."
            )
        self.horizon_, self.window_length_ = start.horizon, start.window_length
        self._encoder, self._codes = start.encoder, start.codes
        return {
            key: replace(memory, code=start.codes.get(key, 0))
            for key, memory in memories.items()
        }

    def _encode(self, memory: Memory, future: pd.DataFrame | None = None) -> Any:
        data = super()._encode(memory, future)
        likelihood = self._likelihood()
        if hasattr(likelihood, "check"):  # counts
            likelihood.check(data.targets)
        return data

    @property
    def _is_given(self) -> bool:
        return self._start is not None

    def _roles(self) -> tuple[Any, Any]:
        return self.past_covariates, self.static_covariates

    def _check_covariates(self) -> None:
        """Refuse covariates that the architecture cannot use."""
        architecture = self.architecture_
        past = () if self._encoder is None else self._encoder.past_names
        if len(past) and not architecture.past_covariates:
            raise ValueError(
                f"The architecture {architecture.name!r} forecasts each series from "
                f"its own past and has no use for the past covariates {list(past)}. "
                "Choose another, drop them from X, or take them out of "
                "past_covariates where they are known in the future."
            )

    def _count_tail(self, n_steps: int) -> int:
        return 0 if self._pretraining else super()._count_tail(n_steps)

    def _learn(self, series: Sequence[SeriesData]) -> Any:
        from skattn._engine._checkpoint import in_part
        from skattn._engine._net import train
        from skattn._engine._runtime import seeded

        options = self._options()
        if self._part is not None:
            options = replace(options, callbacks=in_part(self.callbacks, self._part))
        start = self._start
        epochs = None
        if start is not None and not self._pretraining:
            epochs = self.fine_tune_epochs
            options = replace(options, lr=_SMALL_LR * self.lr)
        n_valid = self._count_validation(series)
        known = [
            one.until(len(one) - n) for one, n in zip(series, n_valid, strict=True)
        ]
        samples = self._store(known, training=epochs != 0).samples(
            self._training_origins(known), training=True
        )
        valid = self._validation(series, n_valid)
        with seeded(self._seed, samples.store.device, self.num_threads) as generator:
            if start is None:
                net = self._make_net(options, samples, valid)
            else:
                net = start.copy_net(samples.store.device)
                if epochs == 0:
                    return net
            return train(net, samples, valid, options, generator, epochs=epochs)

    def _options(self) -> TrainingOptions:
        from skattn._engine._net import TrainingOptions

        return TrainingOptions.of(self)

    def _make_net(self, options: TrainingOptions, samples: Any, valid: Any) -> Any:
        from skattn._engine._forecast_linear import fit_linear
        from skattn._engine._losses import regression_loss
        from skattn._engine._net import Blueprint, make_net

        likelihood = self._likelihood()
        n_parameters = 1 if likelihood is None else likelihood.n_parameters
        data = self._describe(n_parameters)
        blueprint = Blueprint(
            self.architecture_,
            data,
            self.precision,
            self.linear_skip is not None,
            self.normalization,
        )
        net = make_net(blueprint, likelihood or regression_loss(self.loss), options)
        if self.linear_skip == "ols":
            fit_linear(net.module_, samples, valid)
        return net

    def _count_validation(self, series: Sequence[SeriesData]) -> list[int]:
        none = [0] * len(series)
        if self._start is not None and not self._pretraining:
            return none  # fine-tuning runs a given number of epochs
        n_windows = sum(map(len, self._training_origins(series)))
        if not stops_early(self.early_stopping, n_windows):
            return none
        return held_out_steps(list(map(len, series)), self.validation_fraction)

    def _likelihood(self) -> Any:
        from skattn._engine._likelihoods import make_likelihood

        if self.likelihood is None:
            if self.quantiles is not None:
                raise ValueError(
                    f"quantiles={list(self.quantiles)} are learnt by "
                    "likelihood='quantile' alone, and likelihood=None forecasts "
                    "points. Set likelihood='quantile', or leave quantiles=None."
                )
            return None
        return make_likelihood(self.likelihood, self.quantiles)

    def _store(
        self, series: Sequence[SeriesData], training: bool = False
    ) -> SeriesStore:
        from skattn._engine._runtime import PRECISIONS, resolve_device

        fitted = getattr(self, "net_", None)
        device = resolve_device(self.device if fitted is None else fitted.device)
        store = self._lay_out(series, PRECISIONS[self.precision], device)
        architecture = self.architecture_
        if store.has_gaps and "observed" not in architecture.consumes:
            raise ValueError(
                "y or its past covariates have missing values, but the architecture "
                f"{architecture.name!r} does not consume 'observed'. Choose one that "
                "does, or impute, for instance with sktime's Imputer."
            )
        shortest = min(map(len, series))
        needed = self.window_length_ + training  # a target follows each window
        if shortest < needed and "mask" not in architecture.consumes:
            seen = ", as far as it is not held out," if training else ""
            raise ValueError(
                f"A series{seen} has {shortest} steps, but the architecture "
                f"{architecture.name!r} needs {needed}: it does not consume 'mask', "
                "so windows must be full. Set a window_length shorter than "
                f"{self.window_length_}, or choose an architecture that does."
            )
        return store

    def _offered(self) -> set[str]:
        consumed = set(self.architecture_.consumes) & {"loc", "scale", "target"}
        return super()._offered() | consumed

    def _model(self) -> Any:
        return self.net_

    def _scores(self, model: Any, samples: Any) -> np.ndarray:
        from skattn._engine._net import predict_scores

        scores = predict_scores(model, samples, self.num_threads).double().numpy()
        if not np.isfinite(scores).all():
            raise ValueError(
                "The net's forecasts are not finite: its weights diverged, or y holds "
                f"values that overflow precision={self.precision!r}. Fit again with a "
                f"lower lr than {self.lr}, or rescale y."
            )
        return scores

    def _points(self, scores: np.ndarray, loc: Any, scale: Any) -> np.ndarray:
        likelihood = self._likelihood()
        if likelihood is None:
            return super()._points(scores, loc, scale)
        return likelihood.point(scores, loc, scale)

    def _calibrate(
        self, scores: np.ndarray, targets: np.ndarray, loc: Any, scale: Any
    ) -> Any:
        likelihood = self._likelihood()
        if likelihood is None:
            return super()._calibrate(scores, targets, loc, scale)
        return ConformalQuantiles(likelihood, scores, targets, loc, scale)

    def _quantiles(
        self, scores: np.ndarray, levels: Sequence[float], loc: Any, scale: Any
    ) -> np.ndarray:
        likelihood = self._likelihood()
        if likelihood is None or self._calibration is not None:
            return super()._quantiles(scores, levels, loc, scale)
        return likelihood.quantiles(scores, levels, loc, scale)

    def _variances(self, scores: np.ndarray, loc: Any, scale: Any) -> np.ndarray:
        likelihood = self._likelihood()
        if likelihood is None:
            return super()._variances(scores, loc, scale)
        return likelihood.variance(scores, loc, scale)

    def _predict_proba(self, fh: Any, X: Any = None, marginal: bool = True) -> Any:
        likelihood = self._likelihood()
        if likelihood is None or not marginal:
            return super()._predict_proba(fh=fh, X=X, marginal=marginal)
        samples = self._present_windows(X, fh)
        scores = self._scores(self.net_, samples)
        rows = [
            score[:, self._asked(fh, key, memory)]
            for score, (key, memory) in zip(scores, self._memories.items(), strict=True)
        ]
        index = self._frame(self._points(scores, *samples.units()), fh).index
        return likelihood.distribution(
            np.stack(rows), *samples.units(), index, self._columns
        )

    def _train_on(self, memories: dict[Any, Memory], new: dict[Any, int]) -> None:
        """Train for one epoch on the windows whose targets hold new steps."""
        from skattn._engine._net import train
        from skattn._engine._runtime import resolve_device, seeded

        keys = list(new)
        series = [self._encode(memories[key]) for key in keys]
        origins = []
        for number, (key, one) in enumerate(zip(keys, series, strict=True)):
            full = max(min(self.window_length_, len(one) - 1) - 1, 0)
            first = max(full, new[key] - self.horizon_)
            origins.append(Origins(number, first, len(one) - 1))
        samples = self._store(series, training=True).samples(origins, training=True)
        if not len(samples):
            return
        options = replace(self._options(), lr=_SMALL_LR * self.lr)
        seed = self._seed + len(self.net_.history)
        device = resolve_device(self.net_.device)
        with seeded(seed, device, self.num_threads) as generator:
            train(self.net_, samples, None, options, generator, epochs=1)
        self.n_iter_ = len(self.net_.history)

    def _attention_batches(self, X: Any) -> tuple[Any, Any, Any]:
        """Give the recorder what it runs over and the way to name axes."""
        self.check_is_fitted()
        if X is not None and self._encoder is None:
            raise ValueError(
                "A forecaster's attention is recorded for the window from which it "
                "forecasts: call record_attention(forecaster) without X, or with the "
                "covariates of the steps to forecast where it was fitted with any."
            )
        channels = list(self.net_.module.data.channel_names)
        names = {**self._step_names(), "channels": channels}
        return self.net_, self._present_windows(X, self.fh), names.get

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
            {"max_epochs": 1, "likelihood": "quantile", "calibration": None},
        ]
