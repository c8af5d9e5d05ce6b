"""The private skorch net that every facade trains."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer, GradientNormClipping
from torch import Tensor, nn

from skattn._architecture import Architecture, DataSpec
from skattn._engine._linear import LinearSkip
from skattn._engine._losses import Loss
from skattn._engine._runtime import (
    PRECISIONS,
    autocast,
    resolve_device,
    seeded,
    torch_threads,
)
from skattn._engine._samples import Batches, Inputs, Samples, Target


@dataclass(frozen=True)
class TrainingOptions:
    """The parameters of an estimator that concern training alone."""

    max_epochs: int
    lr: float
    batch_size: int | str
    optimizer: str | type[torch.optim.Optimizer]
    weight_decay: float
    lr_schedule: str | None
    gradient_clip: float | None
    patience: int
    device: str
    precision: str
    compile: bool
    num_threads: int | None
    callbacks: list[Any] | None
    verbose: int
    net_params: Mapping[str, Any] | None

    @classmethod
    def of(cls, estimator: Any) -> TrainingOptions:
        """Read the options off an estimator's parameters.

        Parameters
        ----------
        estimator : object
            With an attribute for each field.

        Returns
        -------
        options : TrainingOptions
            The same values.
        """
        return cls(
            **{field.name: getattr(estimator, field.name) for field in fields(cls)}
        )


@dataclass(frozen=True)
class Blueprint:
    """Everything that decides a module but its weights; called, it builds one.

    Parameters
    ----------
    architecture : Architecture
        What to build.
    data : DataSpec
        For which data.
    precision : str
        The estimator's parameter.
    linear_skip : bool, default=False
        Put a linear model beside the architecture's.
    """

    architecture: Architecture
    data: DataSpec
    precision: str
    linear_skip: bool = False

    def __call__(self) -> nn.Module:
        module = self.architecture.build(self.data)
        if self.linear_skip:
            module = LinearSkip(module, self.data)
        return module.to(PRECISIONS[self.precision])


def automatic_batch_size(n_samples: int) -> int:
    """Choose a batch size: at least eight steps an epoch, of 8 to 256 samples.

    Parameters
    ----------
    n_samples : int
        Training samples.

    Returns
    -------
    batch_size : int
        A power of two.
    """
    return int(2 ** max(3, min(8, math.floor(math.log2(max(n_samples / 8, 1))))))


def optimizer_class(optimizer: str | type) -> type[torch.optim.Optimizer]:
    """Find torch's optimizer of this name.

    Parameters
    ----------
    optimizer : str or type
        ``"AdamW"``, ``"SGD"``, ... or a class.

    Returns
    -------
    optimizer : type
        The class.

    Raises
    ------
    ValueError
        If `torch.optim` has no such optimizer.
    """
    if not isinstance(optimizer, str):
        return optimizer
    known = {
        name: value
        for name, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and value is not torch.optim.Optimizer
    }
    if optimizer not in known:
        folded = {name.lower(): name for name in known}
        close = difflib.get_close_matches(optimizer.lower(), folded, n=1, cutoff=0.5)
        hint = f" Did you mean {folded[close[0]]!r}?" if close else ""
        raise ValueError(
            f"optimizer={optimizer!r} is not in torch.optim.{hint} "
            f"It has {sorted(known)}."
        )
    return known[optimizer]


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _one_cycle(progress: float, warm_up: float = 0.1) -> float:
    if progress < warm_up:
        return (progress + 1e-3) / (warm_up + 1e-3)
    return _cosine((progress - warm_up) / (1 - warm_up))


LR_SCHEDULES = {"cosine": _cosine, "one_cycle": _one_cycle}


class _LearningRate(Callback):
    """Set the learning rate of each step from the part of training that is done."""

    def __init__(self, schedule: str, total_steps: int) -> None:
        self.schedule = schedule
        self.total_steps = total_steps

    def on_train_begin(self, net: Net, X: Any = None, y: Any = None, **_: Any) -> None:
        self.step_ = 0
        self.base_ = [group["lr"] for group in net.optimizer_.param_groups]

    def on_batch_begin(
        self, net: Net, batch: Any = None, training: bool = False, **_: Any
    ) -> None:
        if not training:
            return
        factor = LR_SCHEDULES[self.schedule](min(self.step_ / self.total_steps, 1.0))
        for group, base in zip(net.optimizer_.param_groups, self.base_, strict=True):
            group["lr"] = base * factor
        self.step_ += 1

    def on_train_end(self, net: Net, X: Any = None, y: Any = None, **_: Any) -> None:
        for group, base in zip(net.optimizer_.param_groups, self.base_, strict=True):
            group["lr"] = base


class _BetterThanLinear(EarlyStopping):
    """Early stopping that keeps a linear start unless training clearly improves on it.

    The error on held-out samples (of a classifier, wrong labels) has to fall below that
    of the linear model, and where the samples are independent by more than its standard
    error: the rule of Breiman, Friedman, Olshen and Stone, "Classification and
    Regression Trees", 1984.
    """

    def on_train_begin(self, net: Net, X: Any = None, y: Any = None, **_: Any) -> None:
        super().on_train_begin(net)
        errors = net.errors(y)
        margin = 0.0
        if net.module.data.task != "forecasting":  # whose windows overlap
            margin = float(errors.std()) / math.sqrt(len(errors))
        self.bar_ = float(errors.mean()) - margin
        self.error_ = math.inf
        self.start_ = deepcopy(net.module_.state_dict())

    def on_epoch_end(self, net: Net, dataset_valid: Any = None, **_: Any) -> None:
        if self._is_score_improved(net.history[-1, self.monitor]):
            self.error_ = float(net.errors(dataset_valid).mean())
        super().on_epoch_end(net)

    def on_train_end(self, net: Net, X: Any = None, y: Any = None, **_: Any) -> None:
        super().on_train_end(net)
        # The standard error of one sample is NaN, below which nothing falls.
        if not self.error_ < self.bar_:
            net.module_.load_state_dict(self.start_)


class _Progress(Callback):
    """A progress bar over epochs on the standard error stream."""

    def on_train_begin(self, net: Net, X: Any = None, y: Any = None, **_: Any) -> None:
        from tqdm.auto import tqdm

        self.bar_ = tqdm(total=net.max_epochs, unit="epoch")

    def on_epoch_end(self, net: Net, **_: Any) -> None:
        losses = ("train_loss", "valid_loss")
        epoch = net.history[-1]
        self.bar_.set_postfix({name: epoch[name] for name in losses if name in epoch})
        self.bar_.update()

    def on_train_end(self, net: Net, X: Any = None, y: Any = None, **_: Any) -> None:
        self.bar_.close()


# What a pickle leaves out: it is made anew, or belongs to a training under way.
_REBUILT = (
    "module_",
    "criterion_",
    "optimizer_",
    "callbacks_",
    "generator_",
    "learnable_",
)


class Net(NeuralNet):
    """A skorch net over whole tensors that pickles as blueprint and weights.

    It differs from `skorch.NeuralNet` in what it is fed (`Samples`, of which it
    gathers batches), in its loss (one value a sample, weighted), in the history (one
    record an epoch), and in pickling (no module class, no optimizer unless training is
    to go on).

    Parameters
    ----------
    module : Blueprint
        Builds the module.
    criterion : Loss
        Compares scores with targets.
    precision : str
        The estimator's parameter.
    weight_decay : float
        For all parameters with more than one axis; vectors (biases, norms) have none.
    **params : dict
        See `skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: Blueprint,
        criterion: Loss,
        precision: str = "float32",
        weight_decay: float = 0.0,
        **params: Any,
    ) -> None:
        super().__init__(module, criterion, **params)
        self.device: str
        self.precision = precision
        self.weight_decay = weight_decay

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer())]

    def initialize_optimizer(self, triggered_directly: Any = None) -> Net:
        """Make the optimizer, without weight decay for vectors."""
        named = list(self.get_all_learnable_params())
        args, kwargs = self.get_params_for_optimizer("optimizer", named)
        groups = []
        for group in args[0]:
            rest = {key: value for key, value in group.items() if key != "params"}
            matrices = [p for p in group["params"] if p.dim() > 1]
            vectors = [p for p in group["params"] if p.dim() <= 1]
            decay = rest.pop("weight_decay", self.weight_decay)
            if matrices:
                groups.append({"params": matrices, "weight_decay": decay, **rest})
            if vectors:
                groups.append({"params": vectors, "weight_decay": 0.0, **rest})
        self.optimizer_ = self.optimizer(groups, **kwargs)
        return self

    def get_split_datasets(
        self, X: Samples, y: Samples | None = None, **fit_params: Any
    ) -> tuple[Samples, Samples | None]:
        """Take training samples as `X` and validation samples as `y`."""
        return X, y

    def get_iterator(self, dataset: Samples, training: bool = False) -> Batches:
        """Walk over samples in batches."""
        generator = self.generator_ if training else None
        return Batches(dataset, self.batch_size, generator, torch.device(self.device))

    def infer(self, x: Inputs, **fit_params: Any) -> Tensor:
        """Compute raw scores of a batch."""
        if self.precision != "bfloat16":
            return self.module_(**x)
        with autocast(self.precision, torch.device(self.device)):
            return self.module_(**x).float()

    def get_loss(
        self, y_pred: Tensor, y_true: Target, X: Any = None, training: bool = False
    ) -> Tensor:
        """Average the weighted losses of a batch."""
        losses = self.criterion_(y_pred, y_true.values)
        if y_true.weight is not None:
            losses = losses * y_true.weight
        return losses.mean()

    def _set_training(self, training: bool = True) -> None:
        if self.module_.training != training:
            super()._set_training(training)

    def fit_loop(self, X: Samples, y: Any = None, epochs: Any = None, **_: Any) -> Net:
        """Train; remember whether somebody interrupted an epoch."""
        self.interrupted_ = False
        # skorch walks over all modules for their parameters in each step.
        self.learnable_ = list(self.get_all_learnable_params())
        try:
            return super().fit_loop(X, y, epochs)
        finally:
            del self.learnable_

    def get_all_learnable_params(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Give names and parameters, collected once for a whole training."""
        kept = self.__dict__.get("learnable_")
        return iter(super().get_all_learnable_params() if kept is None else kept)

    def run_single_epoch(
        self,
        iterator: Batches | None,
        training: bool,
        prefix: str,
        step_fn: Any,
        **fit_params: Any,
    ) -> None:
        """Run all batches and record their mean loss once."""
        if iterator is None:
            return
        total = torch.zeros((), dtype=torch.float64 if self.device == "cpu" else None)
        total = total.to(self.device)
        try:
            for batch in iterator:
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch)
                total += step["loss"].detach() * len(batch[1].values)
                self.notify("on_batch_end", batch=batch, training=training, **step)
        except KeyboardInterrupt:
            self.interrupted_ = True
            raise
        loss = total.item() / len(iterator.samples)
        if not math.isfinite(loss):
            raise ValueError(
                f"The {prefix} loss became {loss} in epoch {len(self.history)}: "
                f"training diverged. Lower lr={self.lr}, or set gradient_clip."
            )
        self.history.record(f"{prefix}_loss", loss)

    def errors(self, samples: Samples) -> Tensor:
        """Compute how wrong the present weights are about each sample.

        Parameters
        ----------
        samples : Samples
            With targets.

        Returns
        -------
        errors : Tensor of shape (n,)
            See `Loss.error`; weighted, on the CPU.
        """
        self._set_training(False)
        parts = []
        with torch.no_grad():
            for inputs, target in self.get_iterator(samples):
                errors = self.criterion_.error(self.infer(inputs), target.values)
                weight = 1.0 if target.weight is None else target.weight
                parts.append((errors * weight).cpu())
        return torch.cat(parts)

    def on_epoch_begin(self, net: Net, **kwargs: Any) -> None:
        """Drop the last epoch's batch records: the history keeps epochs."""
        self._forget_batches()
        super().on_epoch_begin(net, **kwargs)

    def on_train_end(self, net: Net, X: Any = None, y: Any = None, **_: Any) -> None:
        """Drop the last epoch's batch records."""
        self._forget_batches()

    def _forget_batches(self) -> None:
        if self.history:
            self.history[-1]["batches"].clear()

    def scores(self, samples: Any) -> Tensor:
        """Compute raw scores of all rows in batches of fixed shapes.

        Parameters
        ----------
        samples : TensorSamples
            Rows to predict; targets are not needed.

        Returns
        -------
        scores : Tensor of shape (n_rows, ...)
            On the CPU.
        """
        collected: list[Tensor] = []
        positions: list[Tensor] = []
        for rows, scores in self.iterate_scores(samples):
            collected.append(scores)
            positions.append(rows)
        joined = torch.cat(collected)
        ordered = torch.empty_like(joined)
        ordered[torch.cat(positions)] = joined
        return ordered.cpu()

    def iterate_scores(self, samples: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rows and their raw scores, batch by batch.

        Parameters
        ----------
        samples : TensorSamples
            Rows to predict.

        Yields
        ------
        rows : Tensor of shape (k,)
            Which rows.
        scores : Tensor of shape (k, ...)
            Their scores, on the net's device.
        """
        self._set_training(False)
        with torch.no_grad():
            for rows, inputs in samples.inference_batches():
                yield rows, self.infer(inputs)[: len(rows)]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in _REBUILT:
            state.pop(name, None)
        state["callbacks"] = None
        module = getattr(self.module_, "_orig_mod", self.module_)
        state["weights"] = {
            name: tensor.cpu() for name, tensor in module.state_dict().items()
        }
        if hasattr(self, "optimizer_"):
            state["optimizer_state"] = _to_cpu(self.optimizer_.state_dict())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state.pop("weights")
        optimizer_state = state.pop("optimizer_state", None)
        self.__dict__.update(state)
        try:
            device = resolve_device(self.device)
        except ValueError:
            warnings.warn(
                f"This net was trained on {self.device!r}, which is absent here; it is "
                "put on the CPU.",
                UserWarning,
                stacklevel=2,
            )
            device = torch.device("cpu")
        self.device = str(device)
        with seeded(0, device):  # building draws initial weights, which are replaced
            self.module_ = self.module().to(device)
        self.module_.load_state_dict(weights)
        self.criterion_ = deepcopy(self.criterion).to(device)
        if optimizer_state is not None:
            self._initialize_optimizer()
            self.optimizer_.load_state_dict(optimizer_state)


def _to_cpu(value: Any) -> Any:
    """Copy a nested optimizer state to the CPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _to_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_cpu(item) for item in value]
    return value


def make_net(
    blueprint: Blueprint,
    loss: Loss,
    options: TrainingOptions,
) -> Net:
    """Make an untrained net with initialised weights; call it inside `seeded`.

    Parameters
    ----------
    blueprint : Blueprint
        Builds the module.
    loss : Loss
        The criterion.
    options : TrainingOptions
        The estimator's parameters.

    Returns
    -------
    net : Net
        Its module has initial weights.
    """
    optimizer = optimizer_class(options.optimizer)
    device = resolve_device(options.device)
    params: dict[str, Any] = {
        "optimizer": optimizer,
        "lr": options.lr,
        "weight_decay": options.weight_decay,
        "max_epochs": options.max_epochs,
        "precision": options.precision,
        "device": str(device),
        "compile": options.compile,
        "verbose": 0,
        "callbacks": "disable",
        "train_split": None,
    }
    if optimizer in {torch.optim.Adam, torch.optim.AdamW} and device.type != "mps":
        params["optimizer__fused"] = True
    net = Net(blueprint, loss, **{**params, **(options.net_params or {})})
    return net.initialize()


def train(
    net: Net,
    samples: Samples,
    valid: Samples | None,
    options: TrainingOptions,
    generator: torch.Generator,
    *,
    epochs: int | None = None,
    keep_optimizer: bool = False,
) -> Net:
    """Train a net, or train it further; call it inside `seeded`.

    Parameters
    ----------
    net : Net
        From `make_net`, perhaps trained before.
    samples, valid : Samples
        What to learn from, and what early stopping looks at (None: no early stopping).
    options : TrainingOptions
        The estimator's parameters.
    generator : torch.Generator
        Shuffles.
    epochs : int, optional
        So many epochs at a constant learning rate, instead of ``max_epochs`` on the
        schedule.
    keep_optimizer : bool, default=False
        Whether training will go on later.

    Returns
    -------
    net : Net
        The same, trained, with the best weights if there was validation.
    """
    if options.batch_size == "auto":
        net.batch_size = automatic_batch_size(len(samples))
    else:
        net.batch_size = options.batch_size
    net.max_epochs = options.max_epochs if epochs is None else epochs
    net.generator_ = generator
    net.callbacks = _callbacks(net, samples, valid, options, scheduled=epochs is None)
    _set_learning_rate(net, {"lr": options.lr, **(options.net_params or {})}["lr"])
    net.initialize_callbacks()
    try:
        net.partial_fit(samples, valid)
    except Exception:
        # skorch ends training for callbacks only where it succeeds.
        net.notify("on_train_end", X=samples, y=valid)
        raise
    finally:
        del net.generator_
        net.callbacks = "disable"
    if net.interrupted_:
        kept = "the best" if valid is not None else "the present"
        warnings.warn(
            f"Training was interrupted in epoch {len(net.history)} of "
            f"{net.max_epochs}; {kept} weights so far are kept.",
            UserWarning,
            stacklevel=2,
        )
    if not keep_optimizer:
        del net.optimizer_
    return net


def _set_learning_rate(net: Net, lr: float) -> None:
    """Make the optimizer, or change its rate where a group has none of its own."""
    before, net.lr = net.lr, lr
    if not hasattr(net, "optimizer_"):
        net._initialize_optimizer()
        return
    for group in net.optimizer_.param_groups:
        if group["lr"] == before:
            group["lr"] = lr


def _callbacks(
    net: Net,
    samples: Samples,
    valid: Samples | None,
    options: TrainingOptions,
    scheduled: bool,
) -> list[Any]:
    callbacks: list[Any] = []
    if scheduled and options.lr_schedule is not None:
        steps = net.max_epochs * -(-len(samples) // net.batch_size)
        callbacks.append(
            ("learning_rate", _LearningRate(options.lr_schedule, steps)),
        )
    if options.gradient_clip is not None:
        clip = GradientNormClipping(options.gradient_clip)
        callbacks.append(("gradient_clip", clip))
    if valid is not None:
        kind = _BetterThanLinear if net.module.linear_skip else EarlyStopping
        stop = kind(
            patience=options.patience, threshold=0.0, load_best=True, sink=_discard
        )
        callbacks.append(("early_stopping", stop))
    if options.verbose:
        callbacks.append(("progress", _Progress()))
    return callbacks + list(_as_iterable(deepcopy(options.callbacks)))


def _discard(*_: Any) -> None:
    """Print nothing."""


def _as_iterable(callbacks: Iterable[Any] | None) -> Iterable[Any]:
    return () if callbacks is None else callbacks


def predict_scores(net: Net, samples: Any, num_threads: int | None) -> Tensor:
    """Compute raw scores with the estimator's number of threads.

    Parameters
    ----------
    net : Net
        Trained.
    samples : TensorSamples
        Rows to predict.
    num_threads : int or None
        The estimator's parameter.

    Returns
    -------
    scores : Tensor of shape (n_rows, ...)
        On the CPU.
    """
    with torch_threads(num_threads):
        return net.scores(samples)
