"""The private skorch net that every facade trains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from torch import Tensor, nn

from skattn._architecture import Architecture, DataSpec
from skattn._engine._callbacks import make_callbacks
from skattn._engine._forecast_linear import ForecastSum
from skattn._engine._linear import LinearSkip, OffsetSum, weigh
from skattn._engine._losses import Loss
from skattn._engine._node_scores import NodeScores, StarScores
from skattn._engine._optimizer import optimizer_class, set_learning_rate
from skattn._engine._pruning import KeptHeads, prune
from skattn._engine._runtime import (
    PRECISIONS,
    autocast,
    resolve_device,
    seeded,
    torch_threads,
)
from skattn._engine._samples import Batches, Inputs, Samples, Target
from skattn.nn import is_recording


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
    callbacks: list[Any] | None
    verbose: int
    net_params: Mapping[str, Any] | None
    windows_per_epoch: int | None = None

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
        names = [field.name for field in fields(cls) if hasattr(estimator, field.name)]
        return cls(**{name: getattr(estimator, name) for name in names})


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
    normalization : {"last", "instance"} or None, default=None
        What is taken out of each forecasting window.
    kept_heads : tuple of (str, str, tuple of int), default=()
        Layer, kind and heads of attention that others were taken out of.
    """

    architecture: Architecture
    data: DataSpec
    precision: str
    linear_skip: bool = False
    normalization: str | None = None
    kept_heads: KeptHeads = ()

    def __call__(self) -> nn.Module:
        consumes = self.architecture.consumes
        data = _consumed(self.data, consumes)
        supports = self.architecture.supports
        by_neighbours = data.input == "table" and "table" not in supports
        if by_neighbours:  # a table, for a module that knows nodes
            data = replace(data, input="nodes")
        module = self.architecture.build(data)
        if by_neighbours:
            if not hasattr(module, "layers"):
                raise ValueError(
                    f"The architecture {self.architecture.name!r} cannot take a table: "
                    "it knows nodes of graphs, and its module has no 'layers' that the "
                    "nearest rows could be sent through. Choose another one, of "
                    "skattn.list_architectures(input='table')."
                )
            module = StarScores(module)
        elif data.input == "nodes":
            module = NodeScores(module)
        if self.data.task == "forecasting":
            module = ForecastSum(
                module, self.data, consumes, self.linear_skip, self.normalization
            )
        elif self.linear_skip and self.data.input in ("tokens", "pair"):
            module = OffsetSum(module)
        elif self.linear_skip:
            module = LinearSkip(module, self.data)
        prune(module, self.kept_heads)
        return module.to(PRECISIONS[self.precision])


def _consumed(data: DataSpec, consumes: Collection[str]) -> DataSpec:
    """Leave out of a description the covariates that an architecture does not take."""
    changes: dict[str, Any] = {}
    for kind in ("known", "static"):
        count, names = getattr(data, f"n_{kind}"), getattr(data, f"{kind}_names")
        if kind not in consumes:
            changes[f"n_{kind}"], names = 0, names[count:]
            count = 0
        if f"{kind}_categories" not in consumes:
            changes[f"{kind}_category_counts"], names = (), names[:count]
        changes[f"{kind}_names"] = names
    if "series_id" not in consumes:
        changes["n_series"] = 0
    return replace(data, **changes)


def automatic_batch_size(n_samples: int) -> int:
    """Choose a batch size of 8 to 256 samples: from 64 samples, 8 steps an epoch.

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


# Parameters of a skorch net that are not the user's to pass in `net_params`.
_OWNED = {
    "batch_size",
    "callbacks",
    "compile",
    "criterion",
    "device",
    "epoch_size",
    "lr",
    "max_epochs",
    "module",
    "optimizer",
    "precision",
    "train_split",
    "verbose",
    "weight_decay",
}

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
    epoch_size : int or None, default=None
        Draw so many samples in an epoch where there are more.
    **params : dict
        See `skorch.NeuralNet`.
    """

    def __init__(
        self,
        module: Blueprint,
        criterion: Loss,
        precision: str = "float32",
        weight_decay: float = 0.0,
        epoch_size: int | None = None,
        **params: Any,
    ) -> None:
        super().__init__(module, criterion, **params)
        self.device: str
        self.epoch_size = epoch_size
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
        device = torch.device(self.device)
        size = len(dataset) if dataset.is_whole else self.batch_size
        return Batches(dataset, size, generator, device, self.epoch_size)

    def infer(self, x: Inputs, **fit_params: Any) -> Tensor:
        """Compute raw scores of a batch."""
        module = self.module_
        if is_recording():  # which a compiled module cannot do
            module = getattr(module, "_orig_mod", module)
        if self.precision != "bfloat16":
            return module(**x)
        with autocast(self.precision, torch.device(self.device)):
            return module(**x).float()

    def get_loss(
        self, y_pred: Tensor, y_true: Target, X: Any = None, training: bool = False
    ) -> Tensor:
        """Average the weighted losses of a batch."""
        losses = self.criterion_(y_pred, *y_true.compared)
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
        count = 0
        try:
            for batch in iterator:
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch)
                total += step["loss"].detach() * batch[1].size
                count += batch[1].size
                self.notify("on_batch_end", batch=batch, training=training, **step)
        except KeyboardInterrupt:
            self.interrupted_ = True
            raise
        loss = total.item() / max(count, 1)
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
                errors = self.criterion_.error(self.infer(inputs), *target.compared)
                weight = 1.0 if target.weight is None else target.weight
                parts.append((errors * weight).cpu())
        return torch.cat(parts)

    def weigh(self, samples: Samples) -> tuple[tuple[float, float], float]:
        """Find out how to weigh scores of an `OffsetSum`, whose module stands alone.

        Parameters
        ----------
        samples : Samples
            Held out, with targets.

        Returns
        -------
        weights : tuple of float
            Of the model that was fitted before, and of the module.
        loss : float
            Mean loss with them.
        """
        self._set_training(False)
        parts: list[tuple[Tensor, ...]] = []
        with torch.no_grad():
            for inputs, target in self.get_iterator(samples):
                weight = target.weight
                given = (target.values,) if weight is None else (target.values, weight)
                parts.append((inputs["offset"], self.infer(inputs), *given))
        offset, scores, values, *weights = map(torch.cat, zip(*parts, strict=True))
        weight = weights[0] if weights else None
        return weigh(offset, scores, values, weight, self.criterion_)

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

    def iterate_scores(
        self, samples: Any, with_gradient: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rows and their raw scores, batch by batch.

        Parameters
        ----------
        samples : TensorSamples
            Rows to predict.
        with_gradient : bool, default=False
            Keep the graph that leads to the scores of a batch.

        Yields
        ------
        rows : Tensor of shape (k,)
            Which rows.
        scores : Tensor of shape (k, ...)
            Their scores, on the net's device.
        """
        self._set_training(False)
        with torch.set_grad_enabled(with_gradient):
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
    device = resolve_device(options.device, options.precision)
    more = dict(options.net_params or {})
    if owned := sorted(_OWNED & set(more)):
        raise ValueError(
            f"net_params holds {owned}, which the estimator sets itself. Use its own "
            "parameters of these names."
        )
    params: dict[str, Any] = {
        "optimizer": optimizer,
        "lr": options.lr,
        "weight_decay": options.weight_decay,
        "max_epochs": options.max_epochs,
        "epoch_size": options.windows_per_epoch,
        "precision": options.precision,
        "device": str(device),
        "compile": options.compile,
        "verbose": 0,
        "callbacks": "disable",
        "train_split": None,
    }
    if optimizer in {torch.optim.Adam, torch.optim.AdamW} and device.type != "mps":
        more.setdefault("optimizer__fused", True)
    net = Net(blueprint, loss, **params, **more)
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
        drawn = len(samples) if net.epoch_size is None else net.epoch_size
        net.batch_size = automatic_batch_size(min(len(samples), drawn))
    else:
        net.batch_size = options.batch_size
    net.max_epochs = options.max_epochs if epochs is None else epochs
    n_before = len(net.history)
    net.generator_ = generator
    net.callbacks = make_callbacks(
        net,
        options,
        n_steps=net.max_epochs * len(net.get_iterator(samples, training=True)),
        is_scheduled=epochs is None,
        is_validated=valid is not None,
    )
    set_learning_rate(net, options.lr)
    net.initialize_callbacks()
    try:
        net.partial_fit(samples, valid)
    except Exception:
        # skorch ends training for callbacks only where it succeeds. Those that restore
        # an epoch look for the last one.
        if len(net.history):
            net.notify("on_train_end", X=samples, y=valid)
        raise
    finally:
        del net.generator_
        net.callbacks = "disable"
    if net.interrupted_:
        kept = "the best" if valid is not None else "the present"
        warnings.warn(
            f"Training was interrupted in epoch {len(net.history) - n_before} of "
            f"{net.max_epochs}; {kept} weights so far are kept.",
            UserWarning,
            stacklevel=2,
        )
    if not keep_optimizer:
        del net.optimizer_
    return net


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
