"""Callbacks of training: learning rate, early stopping, progress."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping

from skattn._engine._checkpoint import Checkpoint


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _one_cycle(progress: float, warm_up: float = 0.1) -> float:
    if progress < warm_up:
        return (progress + 1e-3) / (warm_up + 1e-3)
    return _cosine((progress - warm_up) / (1 - warm_up))


def _inverse_sqrt(progress: float, warm_up: float = 0.1) -> float:
    if progress < warm_up:
        return (progress + 1e-3) / (warm_up + 1e-3)
    return math.sqrt(warm_up / progress)


LR_SCHEDULES = {
    "cosine": _cosine,
    "inverse_sqrt": _inverse_sqrt,
    "one_cycle": _one_cycle,
}


class _LearningRate(Callback):
    """Set the learning rate of each step from the part of training that is done."""

    def __init__(self, schedule: str, total_steps: int) -> None:
        self.schedule = schedule
        self.total_steps = total_steps

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        self.step_ = 0
        self.base_ = [group["lr"] for group in net.optimizer_.param_groups]

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool = False, **_: Any
    ) -> None:
        if not training:
            return
        factor = LR_SCHEDULES[self.schedule](min(self.step_ / self.total_steps, 1.0))
        for group, base in zip(net.optimizer_.param_groups, self.base_, strict=True):
            group["lr"] = base * factor
        self.step_ += 1

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        for group, base in zip(net.optimizer_.param_groups, self.base_, strict=True):
            group["lr"] = base


class _BetterThanLinear(EarlyStopping):
    """Early stopping that keeps a linear start unless training clearly improves on it.

    The error on held-out samples (of a classifier, wrong labels) has to fall below that
    of the linear model, and where the samples are independent by more than its standard
    error: the rule of Breiman, Friedman, Olshen and Stone, "Classification and
    Regression Trees", 1984.
    """

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        super().on_train_begin(net)
        errors = net.errors(y).double()
        margin = 0.0
        if net.module.data.task != "forecasting":  # whose windows overlap
            has_spread = len(errors) > 1  # one sample alone proves nothing
            margin = float(errors.std()) if has_spread else math.inf
            margin /= math.sqrt(len(errors))
        # One wrong sample alone has its own size as standard error: rounding must not
        # leave a bar above the zero that this makes.
        self.bar_ = (1 - 1e-9) * float(errors.mean()) - margin
        self.error_ = math.inf
        self.start_ = deepcopy(net.module_.state_dict())

    def on_epoch_end(self, net: Any, dataset_valid: Any = None, **_: Any) -> None:
        if self._is_score_improved(net.history[-1, self.monitor]):
            self.error_ = float(net.errors(dataset_valid).mean())
        super().on_epoch_end(net)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        super().on_train_end(net)
        if self.error_ >= self.bar_:
            net.module_.load_state_dict(self.start_)


class _WeighedWithLinear(EarlyStopping):
    """Early stopping by the loss of a weighted sum with a linear model.

    Both weights are found anew after each epoch, from the held-out samples. Where there
    are none, weights stay as they were.
    """

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        super().on_train_begin(net)
        self.weights_ = net.module_.weights.tolist()
        _set_weights(net, [0.0, 1.0])

    def on_epoch_end(self, net: Any, dataset_valid: Any = None, **_: Any) -> None:
        if dataset_valid is None:
            return
        weights, loss = net.weigh(dataset_valid)
        net.history.record(self.monitor, loss)
        if self._is_score_improved(loss):
            self.weights_ = weights
        super().on_epoch_end(net)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        if y is not None:
            super().on_train_end(net)
        _set_weights(net, self.weights_)


def _set_weights(net: Any, weights: Any) -> None:
    current = net.module_.weights
    current.copy_(current.new_tensor(weights))


class _Progress(Callback):
    """A progress bar over epochs on the standard error stream."""

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        from tqdm.auto import tqdm

        self.n_before_ = len(net.history)
        self.bar_ = tqdm(total=net.max_epochs, unit="epoch")

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        losses = ("train_loss", "valid_loss")
        epoch = net.history[-1]
        self.bar_.set_postfix({name: epoch[name] for name in losses if name in epoch})
        # A training that is gone on with has epochs that this bar did not see.
        self.bar_.update(len(net.history) - self.n_before_ - self.bar_.n)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        self.bar_.close()


def _discard(*_: Any) -> None:
    """Print nothing."""


def make_callbacks(
    net: Any,
    options: Any,
    n_steps: int,
    *,
    is_scheduled: bool,
    is_validated: bool,
) -> list[Any]:
    """Make the callbacks of one training.

    Parameters
    ----------
    net : Net
        To be trained.
    options : TrainingOptions
        The estimator's parameters.
    n_steps : int
        Steps of the whole training.
    is_scheduled : bool
        Whether the learning rate takes its course.
    is_validated : bool
        Whether there are held-out samples.

    Returns
    -------
    callbacks : list
        Ours, then copies of the user's, a `Checkpoint` last: it keeps the state of the
        others. Training of a given number of epochs does without it.

    Raises
    ------
    TypeError
        If one of the user's is no skorch callback.
    """
    callbacks: list[Any] = []
    if is_scheduled and options.lr_schedule is not None:
        rate = _LearningRate(options.lr_schedule, n_steps)
        callbacks.append(("learning_rate", rate))
    if options.gradient_clip is not None:
        clip = GradientNormClipping(options.gradient_clip)
        callbacks.append(("gradient_clip", clip))
    is_linear = net.module.linear_skip
    is_weighed = is_linear and net.module.data.input in ("tokens", "pair")
    if is_validated or is_weighed:
        kind = net.criterion.early_stopping
        if is_linear:
            kind = _WeighedWithLinear if is_weighed else _BetterThanLinear
        stop = kind(
            "weighed_loss" if is_weighed else net.criterion.monitor,
            patience=options.patience,
            threshold=0.0,
            load_best=True,
            sink=_discard,
        )
        callbacks.append(("early_stopping", stop))
    if options.verbose:
        callbacks.append(("progress", _Progress()))
    for given in options.callbacks or []:
        callback = given[1] if isinstance(given, tuple) and len(given) == 2 else given
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks holds {given!r}, which is no skorch callback. Pass "
                "instances of skorch.callbacks.Callback, or pairs of a name and one."
            )
        if is_scheduled or not isinstance(callback, Checkpoint):
            callbacks.append(deepcopy(given))
    return sorted(callbacks, key=_is_checkpoint)


def _is_checkpoint(given: Any) -> bool:
    """Tell whether a callback, or a pair of a name and one, is a checkpoint."""
    callback = given[1] if isinstance(given, tuple) else given
    return isinstance(callback, Checkpoint)
