"""A training that can be interrupted and gone on with, to the bit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Set
from functools import partial
from io import BytesIO
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch import Tensor

_FORMAT = 1

# Callbacks of the engine whose parameters decide what training does.
_DECISIVE = ("learning_rate", "gradient_clip", "early_stopping")


class Checkpoint(Callback):
    """Keep a training in a file at the end of each epoch, and go on from it.

    Pass it in the parameter ``callbacks`` of any estimator. A `fit` that finds the
    file goes on after the epoch that it holds, and ends, on the CPU with an equal
    number of threads, with weights equal to the bit to those of a training that was
    never interrupted. If the training in the file had ended, `fit` takes its result
    and trains no more. After Ctrl-C or a crash in the middle of an epoch, the next
    `fit` begins that epoch anew.

    The file holds the weights, the optimizer, the history, the random states, and the
    state of the callbacks: of the user's, what their attributes that end in an
    underscore hold of numbers, text and tensors, or of objects with ``state_dict``.
    A forecaster with ``calibration="refit"`` trains twice, and keeps its first training
    in a file of its own, with ``.calibration`` in its name.

    Parameters
    ----------
    path : str or path-like
        The file; its folder is made if need be. It serves one training: a file of
        another one is refused. Further training (by `partial_fit`, `update` or after
        pretraining) neither reads nor writes it.

    Raises
    ------
    ValueError
        In `fit`, if the file is no checkpoint, or of another training: another
        architecture, other data, parameters or initial weights. Where
        ``random_state=None``, each `fit` is another training.

    Notes
    -----
    The file is replaced in one step, so that an interruption while it is written
    leaves the one of the epoch before. Reading it runs no code from it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skattn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = Path(folder.name) / "iris.pt"
    >>> clf = skattn.AttentionClassifier(
    ...     max_epochs=3, callbacks=[skattn.Checkpoint(file)], random_state=0
    ... )
    >>> clf.fit(X, y).n_iter_
    3
    >>> file.exists()
    True
    >>> again = clf.fit(X, y)  # reads the file and trains no more
    >>> again.n_iter_
    3
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def initialize(self) -> Checkpoint:
        """Forget an earlier training."""
        self.max_epochs_: int | None = None
        self.n_epochs_ = 0
        self.fingerprint_: dict[str, str] = {}
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Go on with the training in the file, if there is one."""
        path = Path(self.path)
        if path.is_dir():
            raise ValueError(
                f"Checkpoint(path={self.path!r}) names a folder. Name a file in it."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.fingerprint_ = _fingerprint(net, X, y)
        self.max_epochs_ = net.max_epochs
        if not path.exists():
            return
        state = _read(path)
        if differences := _differences(state["fingerprint"], self.fingerprint_):
            raise ValueError(
                f"{path} holds another training: {differences}. Delete the file to "
                "start anew, or give Checkpoint another path. With random_state=None "
                "every fit is another training: set a number to go on with one."
            )
        self.n_epochs_ = state["n_epochs"]
        # skorch asks for the number of epochs after this.
        net.max_epochs = 0 if state["finished"] else net.max_epochs - self.n_epochs_
        _restore(net, X, state)

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any
    ) -> None:
        """Write the file."""
        self.n_epochs_ += 1
        self._write(net, dataset_train, finished=False)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Write the result of a training that was not interrupted."""
        if self.max_epochs_ is None:
            return  # it never began
        had = net.max_epochs
        net.max_epochs = self.max_epochs_
        stops = [one for _, one in net.callbacks_ if isinstance(one, EarlyStopping)]
        has_stopped = any(stop.misses_ >= stop.patience for stop in stops)
        if had > 0 and (self.n_epochs_ == self.max_epochs_ or has_stopped):
            self._write(net, X, finished=True)

    def _write(self, net: Any, samples: Any, finished: bool) -> None:
        """Replace the file in one step."""
        path = Path(self.path)
        state = {
            "format": _FORMAT,
            "finished": finished,
            "n_epochs": self.n_epochs_,
            "fingerprint": self.fingerprint_,
            **_collect(net, samples),
        }
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with unfinished.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except KeyboardInterrupt:
            net.interrupted_ = True  # else it passes for early stopping
            raise
        finally:
            unfinished.unlink(missing_ok=True)


def in_part(callbacks: list[Any] | None, part: str) -> list[Any] | None:
    """Let checkpoints of one of several trainings of a `fit` have a file of their own.

    Parameters
    ----------
    callbacks : list or None
        The parameter of an estimator.
    part : str
        What goes into the names of the files.

    Returns
    -------
    callbacks : list or None
        The same, but for the checkpoints.
    """
    if callbacks is None:
        return None
    changed = []
    for given in callbacks:
        callback = given[1] if isinstance(given, tuple) else given
        if isinstance(callback, Checkpoint):
            path = Path(callback.path)
            own = Checkpoint(path.with_name(f"{path.stem}.{part}{path.suffix}"))
            given = (given[0], own) if isinstance(given, tuple) else own
        changed.append(given)
    return changed


def _read(path: Path) -> dict[str, Any]:
    """Read a checkpoint; refuse anything else."""
    contents = path.read_bytes()
    try:
        state = torch.load(BytesIO(contents), map_location="cpu", weights_only=True)
        if state["format"] != _FORMAT:
            raise ValueError(f"its format is {state['format']!r}")
    except Exception as error:  # torch raises a dozen kinds for damaged files
        raise ValueError(
            f"{path} is no checkpoint of this version of skattn, or damaged. Delete it "
            "to start anew, or give Checkpoint another path."
        ) from error
    return state


def _collect(net: Any, samples: Any) -> dict[str, Any]:
    """Gather all that training needs to go on."""
    device = torch.device(net.device)
    rng = {"cpu": torch.get_rng_state(), "shuffle": net.generator_.get_state()}
    if device.type == "cuda":
        rng["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        rng["mps"] = torch.mps.get_rng_state()
    generators = _generators(samples)
    return {
        "weights": net.module_.state_dict(),
        "optimizer": net.optimizer_.state_dict(),
        "history": [_plain_items({**epoch, "batches": []}) for epoch in net.history],
        "rng": rng,
        "samples": {
            name: json.dumps(one.bit_generator.state)
            for name, one in generators.items()
        },
        "callbacks": {
            name: _plain_items(dict(_state_of(callback)))
            for name, callback in net.callbacks_
            if not isinstance(callback, Checkpoint)
        },
    }


def _restore(net: Any, samples: Any, state: dict[str, Any]) -> None:
    """Put a net, its callbacks and all random states where they were."""
    net.module_.load_state_dict(state["weights"])
    net.optimizer_.load_state_dict(state["optimizer"])
    net.history[:] = state["history"]
    rng = state["rng"]
    torch.set_rng_state(rng["cpu"])
    net.generator_.set_state(rng["shuffle"])
    if "cuda" in rng:
        torch.cuda.set_rng_state(rng["cuda"], torch.device(net.device))
    if "mps" in rng:
        torch.mps.set_rng_state(rng["mps"])
    for name, one in _generators(samples).items():
        one.bit_generator.state = json.loads(state["samples"][name])
    for name, callback in net.callbacks_:
        for attribute, value in state["callbacks"].get(name, {}).items():
            present: Any = getattr(callback, attribute, None)
            if hasattr(present, "load_state_dict"):
                present.load_state_dict(value)
            else:
                setattr(callback, attribute, value)


def _generators(samples: Any) -> dict[str, np.random.Generator]:
    """Find the generators that samples themselves draw from."""
    return {
        name: value
        for name, value in vars(samples).items()
        if isinstance(value, np.random.Generator)
    }


def _state_of(callback: Any) -> Iterator[tuple[str, Any]]:
    """Give what a callback has learnt: attributes that end in an underscore."""
    for name, value in vars(callback).items():
        if name.endswith("_") and not name.startswith("_"):
            is_object = hasattr(value, "state_dict") and not isinstance(value, type)
            yield name, value.state_dict() if is_object else value


def _are_weights(value: Any) -> bool:
    """Tell a module's weights, which know versions of modules besides."""
    return isinstance(value, OrderedDict) and all(
        isinstance(item, Tensor) for item in value.values()
    )


class _NotPlain(TypeError):
    """Something that is neither number, text nor tensor, nor made of these."""


def _plain(value: Any) -> Any:
    """Make of a value what a file can hold that runs no code."""
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if isinstance(value, Tensor) or _are_weights(value):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    raise _NotPlain(type(value).__name__)


def _plain_items(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the items whose values are plain."""
    kept = {}
    for name, value in values.items():
        with contextlib.suppress(_NotPlain):
            kept[name] = _plain(value)
    return kept


def _fingerprint(net: Any, samples: Any, valid: Any) -> dict[str, str]:
    """Describe a training by text, part for part."""
    blueprint = {**vars(net.module)}
    architecture = blueprint.pop("architecture")
    if not net.module.kept_heads:  # none were taken out, as before there was a way
        blueprint.pop("kept_heads", None)
    parts = {
        "architecture": f"{type(architecture).__name__} ({_digest(architecture)})",
        "description of the data": _digest(blueprint),
        "loss": _digest(net.criterion),
        "optimizer": _digest(
            [net.optimizer, {key: vars(net)[key] for key in vars(net) if "__" in key}]
        ),
        "device": torch.device(net.device).type,
        "random_state": str(net.generator_.initial_seed()),
    }
    names = ("lr", "weight_decay", "batch_size", "max_epochs", "epoch_size")
    for name in (*names, "precision", "compile"):
        parts[name] = repr(getattr(net, name))
    callbacks = dict(net.callbacks_)
    for name in _DECISIVE:
        found = callbacks.get(name)
        params = {} if found is None else found.get_params(deep=False)
        told = [f"{key}={params[key]!r}" for key in params if key != "sink"]
        parts[name] = ", ".join(told) or "none"
    for name, part in (("training samples", samples), ("validation samples", valid)):
        count = 0 if part is None else len(part)
        parts[name] = f"{count} ({_digest(part)})"
    parts["initial weights"] = _digest(net.module_.state_dict())
    return parts


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say in what two fingerprints differ."""
    return "; ".join(
        f"{name} {before.get(name)} in the file, {now[name]} now"
        for name in now
        if before.get(name) != now[name]
    )


def _digest(value: Any) -> str:
    """Hash the contents of nested objects, the same in each process."""
    hasher = hashlib.blake2b(digest_size=8)
    _feed(hasher.update, value, ())
    return hasher.hexdigest()


def _feed(update: Callable[[Any], None], value: Any, within: tuple[int, ...]) -> None:
    """Hash one value; `within` are the objects that it is in."""
    if id(value) in within:
        return
    feed = partial(_feed, update, within=(*within, id(value)))
    update(f"{type(value).__qualname__};".encode())
    if isinstance(value, Tensor):
        _feed_tensor(update, value.detach())
    elif isinstance(value, np.ndarray) and value.dtype != object:
        update(f"{value.shape} {value.dtype};".encode())
        update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    elif hasattr(value, "to_numpy"):
        feed(value.to_numpy())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            feed(key)
            feed(item)
    elif isinstance(value, (list, tuple, np.ndarray)):
        update(f"{len(value)};".encode())
        for item in value:
            feed(item)
    elif isinstance(value, Set):
        update(repr(sorted(map(repr, value))).encode())
    elif isinstance(value, np.random.Generator):
        update(repr(value.bit_generator.state).encode())
    elif isinstance(value, torch.Generator):
        feed(value.get_state())
    elif hasattr(value, "__qualname__"):
        update(f"{value.__module__}.{value.__qualname__}".encode())
    elif hasattr(value, "__dict__"):
        feed(vars(value))
    elif value is None or isinstance(
        value, (str, bytes, Number, np.generic, torch.dtype, torch.device, slice, range)
    ):
        update(repr(value).encode())
    update(b".")


def _feed_tensor(update: Callable[[Any], None], tensor: Tensor) -> None:
    """Hash a tensor; of one that overlaps itself, as strided windows do, the memory."""
    update(f"{tuple(tensor.shape)} {tensor.dtype} {tensor.layout};".encode())
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()
        _feed_tensor(update, tensor.indices())
        tensor = tensor.values()
    elif tensor.layout is not torch.strided:
        _feed_tensor(update, tensor.crow_indices())
        _feed_tensor(update, tensor.col_indices())
        tensor = tensor.values()
    storage = tensor.untyped_storage()
    if tensor.numel() * tensor.element_size() <= storage.nbytes():
        storage = tensor.contiguous().clone().untyped_storage()
    else:
        update(f"{tensor.stride()} {tensor.storage_offset()};".encode())
    held = torch.empty(0, dtype=torch.uint8).set_(storage.cpu())
    update(held.numpy().data)
