"""Run a fitted net over samples, batch by batch, and look at its attention.

Everything in `skattn.inspection` that needs weights, gradients or values takes them
from `walk`: nothing is kept longer than its batch, unless the caller keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from torch import Tensor

    from skattn.nn import Recorded


@dataclass(frozen=True)
class Subject:
    """A fitted estimator of skattn's and the samples that it looks at.

    Parameters
    ----------
    estimator : estimator
        The last step of what was passed.
    X : object
        As this last step takes it.
    net : Net
        The fitted net.
    samples : object
        Encoded samples, as `Net.iterate_scores` takes them.
    name_axis : callable
        Gives the names of the positions along an axis, or None.
    """

    estimator: Any
    X: Any
    net: Any
    samples: Any
    name_axis: Callable[[str], list[Any] | None]


@dataclass(frozen=True)
class Batch:
    """What one batch gave.

    Parameters
    ----------
    rows : ndarray of int64 of shape (k,)
        Which samples.
    scores : Tensor of shape (k, ...)
        Their raw scores.
    steps : list of Recorded
        What the layers recorded, step by step, of perhaps more rows than `k`.
    places : list of tuple of ndarray, or None
        For each of `steps` with edges, what ``samples.locate`` says of them.
    """

    rows: np.ndarray
    scores: Tensor
    steps: list[Recorded]
    places: list[tuple[np.ndarray, np.ndarray | None] | None]

    @cached_property
    def records(self) -> list[Recorded]:
        """One record for each layer, of the rows alone."""
        return self._join(self.steps)

    def place_of(self, record: Recorded) -> tuple[np.ndarray, np.ndarray | None]:
        """Tell where the edges of a record are among the samples.

        Parameters
        ----------
        record : Recorded
            One of `records`, with edges.

        Returns
        -------
        edge_index : ndarray of int64 of shape (2, n_edges)
            Positions in their graph; in pooling, a node and 0.
        sample : ndarray of int64 of shape (n_edges,) or None
            Which sample each edge belongs to; None where all share one graph.
        """
        for step, place in zip(self.steps, self.places, strict=True):
            if step.edge_index is record.edge_index and place is not None:
                return place
        raise ValueError(f"Layer {record.layer!r} has no edges.")

    def gradients(self, total: Tensor) -> list[Recorded]:
        """Differentiate a number with respect to the weights of all layers.

        Parameters
        ----------
        total : Tensor of shape ()
            Made of `scores`, of a walk with gradients.

        Returns
        -------
        records : list of Recorded
            As `records`, with derivatives in place of weights.
        """
        import torch

        weights = [step.weights for step in self.steps]
        found = torch.autograd.grad(
            total, weights, retain_graph=True, allow_unused=True
        )
        steps = []
        for step, gradient in zip(self.steps, found, strict=True):
            if gradient is None:
                gradient = torch.zeros_like(step.weights)
            steps.append(replace(step, weights=gradient))
        return self._join(steps)

    def _join(self, steps: list[Recorded]) -> list[Recorded]:
        from skattn.nn import join_steps

        return [_cut(each, len(self.rows)) for each in join_steps(steps)]


def subject_of(estimator: Any, X: Any = None, caller: str = "") -> Subject:
    """Find the estimator that attends, and encode the samples.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator of skattn's; a Pipeline, a transformed forecaster or a search
        that ends in one, will do.
    X : object
        As for ``predict`` of `estimator`.
    caller : str
        Who asks, for messages.

    Returns
    -------
    subject : Subject
        What `walk` takes.

    Raises
    ------
    TypeError
        If the estimator has no attention to look at.
    ValueError
        If it needs samples, and there are none.
    """
    token_encoder = _token_encoder_before(estimator)
    estimator, X = last_step(estimator, X)
    check_attends(estimator, caller)
    needs_samples = not is_forecaster(estimator) and not hasattr(estimator, "graph")
    if X is None and needs_samples:
        raise ValueError(
            f"{caller} got no samples: X is None, which only forecasters and node "
            f"estimators take, not {type(estimator).__name__}. Pass X, as for predict."
        )
    net, samples, name_axis = estimator._attention_batches(X)
    if token_encoder is not None:
        name_axis = _decoded(name_axis, token_encoder)
    return Subject(estimator, X, net, samples, name_axis)


def check_attends(estimator: Any, caller: str) -> None:
    """Refuse what has no attention to look at.

    Parameters
    ----------
    estimator : estimator
        From `last_step`.
    caller : str
        Who asks, for messages.

    Raises
    ------
    TypeError
        If it is none of skattn's, or a class.
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"{caller} needs a fitted estimator; {estimator.__name__} is a class. "
            "Create an estimator and fit it."
        )
    if not hasattr(estimator, "_attention_batches"):
        raise TypeError(
            f"{caller} looks into skattn's attention estimators; "
            f"{type(estimator).__name__} is none. Pass the fitted estimator itself, a "
            "Pipeline that ends in it, or a search over it."
        )


def _token_encoder_before(estimator: Any) -> Any:
    """Find the step that turned texts into the codes that the last step sees."""
    from skattn.text import TokenEncoder

    pipeline = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(pipeline, Pipeline) or len(pipeline) < 2:
        return None
    return pipeline[-2] if isinstance(pipeline[-2], TokenEncoder) else None


def _decoded(
    name_axis: Callable[[str], list[Any] | None], token_encoder: Any
) -> Callable[[str], list[Any] | None]:
    """Name tokens by what their codes stand for."""

    def decode(axis: str) -> list[Any] | None:
        names = name_axis(axis)
        if names is None or axis not in ("tokens", "other_tokens"):
            return names
        tokens = token_encoder.tokens_
        return [[str(tokens[int(code)]) for code in codes] for codes in names]

    return decode


def last_step(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Walk through fitted searches and pipelines to the last estimator and its X.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : object
        As for its ``predict``; None stays None.

    Returns
    -------
    estimator : estimator
        The last step.
    X : object
        As the steps before it transform it.
    """
    if hasattr(estimator, "best_estimator_"):
        return last_step(estimator.best_estimator_, X)
    for name in ("best_forecaster_", "forecaster_"):  # sktime's searches and pipelines
        if hasattr(estimator, name):
            return last_step(getattr(estimator, name), X)
    if isinstance(estimator, Pipeline):
        before = estimator[:-1]
        if len(before) and X is not None:
            X = before.transform(X)
        return last_step(estimator[-1], X)
    return estimator, X


def is_forecaster(estimator: Any) -> bool:
    """Tell forecasters from what takes samples.

    Parameters
    ----------
    estimator : estimator
        Any.

    Returns
    -------
    is_forecaster : bool
        True of forecasters.
    """
    return hasattr(type(estimator), "cutoff")


def walk(
    subject: Subject,
    change: Callable[[Recorded], Tensor | None] | None = None,
    with_gradient: bool = False,
) -> Iterator[Batch]:
    """Run the net over all samples and yield what each batch gave.

    Parameters
    ----------
    subject : Subject
        Net and samples.
    change : callable, optional
        Gets a `Recorded` and may return weights for the layer to go on with.
    with_gradient : bool, default=False
        Keep the graph, for `Batch.gradients`.

    Yields
    ------
    batch : Batch
        On the net's device; take what you keep of it to the CPU.

    Raises
    ------
    ValueError
        If the architecture records no attention.
    """
    import torch

    from skattn._engine._runtime import torch_threads
    from skattn.nn import recording

    steps: list[Recorded] = []

    def receive(recorded: Recorded) -> Tensor | None:
        replaced = None if change is None else change(recorded)
        alpha = recorded.weights if replaced is None else replaced
        if with_gradient and not alpha.requires_grad:  # of frozen parameters
            replaced = alpha.detach().clone().requires_grad_()
        if replaced is not None:
            recorded = replace(recorded, weights=replaced)
        steps.append(recorded)
        return replaced

    batches = subject.net.iterate_scores(subject.samples, with_gradient)
    kernels: AbstractContextManager[None] = nullcontext()
    if with_gradient:  # CUDA's recurrent kernels have none outside training
        kernels = torch.backends.cudnn.flags(enabled=False)
    with torch_threads(subject.estimator.num_threads), kernels:
        while True:
            with recording(receive):
                batch = next(batches, None)
            if batch is None:
                return
            if not steps:
                name = subject.estimator.architecture_.name
                raise ValueError(f"The architecture {name!r} recorded no attention.")
            rows, scores = batch
            places = [
                None
                if step.edge_index is None
                else subject.samples.locate(step.edge_index.cpu().numpy(), step.kind)
                for step in steps
            ]
            yield Batch(rows.cpu().numpy(), scores, list(steps), places)
            steps.clear()


def _cut(record: Recorded, n_rows: int) -> Recorded:
    """Drop the rows that only fill up a batch of fixed size."""
    if record.edge_index is not None or len(record.weights) == n_rows:
        return record
    parts = {
        name: part[:n_rows]
        for name in ("weights", "mask", "values")
        if (part := getattr(record, name)) is not None
    }
    return replace(record, **parts)
