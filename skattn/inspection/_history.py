"""A callback that looks at attention while it is learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch.callbacks import Callback

from skattn._engine._checkpoint import _generators
from skattn.inspection._run import last_step
from skattn.inspection._weights import (
    Weights,
    by_head,
    distance_of,
    distances_to,
    entropy_of,
    mean_std,
    n_heads_of,
)
from skattn.nn import Recorded, join_steps, recording

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("epoch", "layer", "kind", "head", "entropy", "distance", "similarity")


class AttentionHistory(Callback):
    """Keep what attention looks like at the end of each epoch.

    Pass it in the parameter ``callbacks`` of any estimator, and read what it kept by
    ``AttentionHistory.of(estimator)``: the estimator works on a copy of it, and keeps
    the summaries in its history, also in a pickle. It looks at the same samples after
    each epoch: held-out ones, where there are any, else training samples, evenly spaced
    among them. It leaves the random states alone: training ends with the same weights
    with and without it.

    Parameters
    ----------
    n_samples : int, default=32
        How many samples it looks at.
    every : int, default=1
        Look after the first epoch and each `every` epochs from there. An epoch that
        early stopping ends training with is not looked at.

    Attributes
    ----------
    records_ : list of dict
        For each epoch, layer and head, averages over samples and queries: ``entropy``
        (see `attention_entropy`), ``distance`` (see `attention_distance`) and
        ``similarity`` to the last epoch that was looked at (see `head_similarity`);
        NaN where there is none.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import AttentionHistory
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = skattn.AttentionClassifier(
    ...     max_epochs=2, callbacks=[AttentionHistory()], random_state=0
    ... ).fit(X, y)
    >>> history = AttentionHistory.of(clf).to_frame()
    >>> history.groupby("epoch").size().tolist()
    [8, 8]
    """

    def __init__(self, n_samples: int = 32, every: int = 1) -> None:
        self.n_samples = n_samples
        self.every = every

    @classmethod
    def of(cls, estimator: Any) -> AttentionHistory:
        """Read what a fitted estimator kept.

        Parameters
        ----------
        estimator : estimator
            Fitted with this callback; a Pipeline or a search that ends in one will do.

        Returns
        -------
        history : AttentionHistory
            With ``records_``.

        Raises
        ------
        ValueError
            If it was fitted without, or is not fitted.
        """
        estimator, _ = last_step(estimator, None)
        history = cls()
        history.records_ = [
            {"epoch": epoch["epoch"], **row}
            for epoch in getattr(estimator, "history_", [])
            for row in epoch.get("attention", [])
        ]
        if not history.records_:
            raise ValueError(
                f"{type(estimator).__name__} kept no history of attention: pass "
                "callbacks=[AttentionHistory()] to it and fit it."
            )
        return history

    def to_frame(self) -> pd.DataFrame:
        """Give the records as a table.

        Returns
        -------
        frame : DataFrame
            A row for each epoch, layer and head.
        """
        import pandas as pd

        return pd.DataFrame(self.records_, columns=list(_COLUMNS))

    def initialize(self) -> AttentionHistory:
        """Forget an earlier training."""
        self.records_: list[dict[str, Any]] = []
        self.before_: list[torch.Tensor] = []
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Check the parameters."""
        for name in ("n_samples", "every"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"{name}={value!r} of AttentionHistory must be an integer of at "
                    "least 1."
                )

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any
    ) -> None:
        """Look at attention, and keep averages."""
        epoch = net.history[-1, "epoch"]
        if (epoch - 1) % self.every:
            return
        samples = dataset_train if dataset_valid is None else dataset_valid
        layers = _look(net, samples, self.n_samples)
        rows = [row for at, each in enumerate(layers) for row in self._rows(at, each)]
        self.before_ = [torch.from_numpy(each.values) for each in layers]
        net.history.record("attention", rows)
        self.records_ += [{"epoch": epoch, **row} for row in rows]

    def _rows(self, at: int, weights: Weights) -> Iterator[dict[str, Any]]:
        """Average over samples and queries of one layer."""
        n_heads = n_heads_of(weights)
        groups = weights.record.groups
        entropy, distance, similarity = np.full((3, n_heads), np.nan)
        if weights.record.normalised:
            entropy, _ = mean_std(by_head(entropy_of(weights), groups))
            far = distance_of(weights)
            if far is not None:
                distance, _ = mean_std(by_head(far, groups))
            before = self._before(at, weights)
            if before is not None:
                apart = np.array(
                    [distances_to(before, h, weights)[h] for h in range(n_heads)]
                )
                similarity = 1 - mean_std(apart)[0]
        for head in range(n_heads):
            yield {
                "layer": weights.record.layer,
                "kind": weights.record.kind,
                "head": head,
                "entropy": float(entropy[head]),
                "distance": float(distance[head]),
                "similarity": float(similarity[head]),
            }

    def _before(self, at: int, weights: Weights) -> Weights | None:
        """Give the weights of the last epoch, where they were of the same places."""
        if at >= len(self.before_) or self.before_[at].shape != weights.values.shape:
            return None
        return replace(
            weights, record=replace(weights.record, weights=self.before_[at])
        )


def _look(net: Any, samples: Any, n_samples: int) -> list[Weights]:
    """Record the attention to some samples, and leave the random states alone."""
    count = len(samples)
    chosen = np.unique(np.linspace(0, count - 1, min(n_samples, count)).round())
    received: list[Recorded] = []

    def receive(recorded: Recorded) -> None:
        received.append(replace(recorded, weights=recorded.weights.detach()))

    was_training = net.module_.training
    net._set_training(False)
    try:
        with _random_states_kept(net, samples), torch.no_grad(), recording(receive):
            positions = torch.as_tensor(chosen, dtype=torch.long, device=net.device)
            inputs, _ = samples.take(positions)
            net.infer(inputs)
    finally:
        net._set_training(was_training)
    if not received:
        name = net.module.architecture.name
        raise ValueError(
            f"AttentionHistory has nothing to look at: the architecture {name!r} "
            "recorded no attention. Leave it out of callbacks."
        )
    records = join_steps(received)
    names = _positions(net.module.data, inputs)
    return [
        Weights(each, records, np.arange(len(chosen)), names.get) for each in records
    ]


@contextmanager
def _random_states_kept(net: Any, samples: Any) -> Iterator[None]:
    """Draw the same numbers each time, and put all random states back."""
    device = torch.device(net.device)
    generators = _generators(samples).values()
    states = [each.bit_generator.state for each in generators]
    mps_state = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(0)
        for each in generators:
            each.bit_generator.state = np.random.default_rng(0).bit_generator.state
        try:
            yield
        finally:
            for each, state in zip(generators, states, strict=True):
                each.bit_generator.state = state
            if mps_state is not None:
                torch.mps.set_rng_state(mps_state)


def _positions(data: Any, inputs: Mapping[str, torch.Tensor]) -> dict[str, list[Any]]:
    """Number the steps of a batch, and the tokens of each of its texts."""
    found: dict[str, list[Any]] = {}
    if data.input == "series":
        found["time"] = list(range(inputs["x"].shape[-1]))
        found["horizon"] = list(range(data.horizon or 0))
    for name, mask in (
        ("tokens", "mask"),
        ("other_tokens", "other_mask"),
        ("target_tokens", "target_mask"),
    ):
        if name not in inputs:
            continue
        n_rows, length = inputs[name].shape
        lengths = [length] * n_rows
        if mask in inputs:
            lengths = inputs[mask].sum(dim=1).tolist()
        found[name] = [list(range(each)) for each in lengths]
    if "target_tokens" in found:
        found["given_tokens"] = found["target_tokens"]
    return found
