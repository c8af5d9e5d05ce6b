"""Training samples as whole tensors, from which batches are gathered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

Inputs = dict[str, Tensor]

# Rows of one inference batch: a constant for samples of one length, so that the
# prediction for a sample depends on neither the number nor the lengths of the others.
_TOKENS_PER_BATCH = 8192
_MAX_ROWS = 256
_LENGTH_STEP = 8

# Batches among whose samples those of similar length are put together.
_BATCHES_SORTED = 50


class Window(NamedTuple):
    """Way from scores to raw numbers: ``(score * scale + loc) * std + mean``.

    Each is (batch, n_targets, 1): `loc` and `scale` of the window in units of the
    standardised series, `mean` and `std` of the series.
    """

    loc: Tensor
    scale: Tensor
    mean: Tensor
    std: Tensor


class Target(NamedTuple):
    """What the loss compares scores with; forecasts also with the window's units."""

    values: Tensor
    weight: Tensor | None
    window: Window | None = None
    n_tokens: int | None = None  # of sequences, how many are known

    @property
    def size(self) -> int:
        """What a mean loss of this batch counts for in that of an epoch."""
        return len(self.values) if self.n_tokens is None else self.n_tokens

    @property
    def compared(self) -> tuple[Tensor] | tuple[Tensor, Window]:
        """What a loss takes after the scores."""
        return (self.values,) if self.window is None else (self.values, self.window)


class Samples(Protocol):
    """Anything that batches can be gathered from.

    Attributes
    ----------
    is_whole : bool
        Whether one batch holds them all, whatever the size of a batch.
    sizes : Tensor of int of shape (n,) or None
        Lengths, where samples of similar length are to share a batch.
    """

    is_whole: bool

    @property
    def sizes(self) -> Tensor | None: ...

    def __len__(self) -> int: ...

    def take(self, positions: Tensor) -> tuple[Inputs, Target]:
        """Gather a training batch."""
        ...


class Batches:
    """An epoch of batches, shuffled where a generator is given.

    Samples of unequal lengths are sorted by length within groups of 50 batches, and
    these batches shuffled; without a generator all are sorted.

    Parameters
    ----------
    samples : Samples
        Where batches are gathered.
    batch_size : int
        Samples in a batch; the last one may be smaller.
    generator : torch.Generator, optional
        Shuffles anew in each epoch.
    device : torch.device
        Where the samples are.
    limit : int, optional
        Where a generator is given and there are more samples, draw so many of them,
        each independently of the others.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        generator: torch.Generator | None,
        device: torch.device,
        limit: int | None = None,
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.generator = generator
        self.device = device
        self.count = len(samples)
        self.is_drawn = False
        if generator is not None and limit is not None and limit < self.count:
            self.is_drawn, self.count = True, limit

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Inputs, Target]]:
        if self.generator is None:
            order = torch.arange(self.count)
        elif self.is_drawn:
            among = len(self.samples)
            order = torch.randint(among, (self.count,), generator=self.generator)
        else:
            order = torch.randperm(self.count, generator=self.generator)
        for positions in self._cut(order.to(self.device)):
            yield self.samples.take(positions)

    def _cut(self, order: Tensor) -> Iterator[Tensor]:
        sizes = self.samples.sizes
        if sizes is None:
            yield from order.split(self.batch_size)
        elif self.generator is None:
            yield from order[sizes[order].argsort(stable=True)].split(self.batch_size)
        else:
            for pool in order.split(_BATCHES_SORTED * self.batch_size):
                pool = pool[sizes[pool].argsort(stable=True)]
                batches = pool.split(self.batch_size)
                for number in torch.randperm(len(batches), generator=self.generator):
                    yield batches[number]


def _rows_for(length: int) -> int:
    """Rows of an inference batch whose samples have this padded length."""
    return min(max(_TOKENS_PER_BATCH // max(length, 1), 1), _MAX_ROWS)


def fixed_batches(
    positions: Tensor, length: int, most: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut positions into batches of one fixed size.

    Parameters
    ----------
    positions : Tensor of shape (n,)
        Samples of one padded length.
    length : int
        That length, in tokens.
    most : int, optional
        Rows of a batch, at most.

    Yields
    ------
    chunk : Tensor of shape (k,)
        The positions of this batch, ``k`` at most its size.
    padded : Tensor of shape (size,)
        The same, filled up with the last one.
    """
    size = _rows_for(length)
    if most is not None:
        size = min(size, most)
    for chunk in positions.split(size):
        missing = size - len(chunk)
        if missing:
            yield chunk, torch.cat([chunk, chunk[-1:].expand(missing)])
        else:
            yield chunk, chunk


class TensorSamples:
    """Samples of a table or of series, held as whole tensors.

    Parameters
    ----------
    inputs : mapping of str to ndarray of shape (n_rows, ...)
        The tensors of the contract. ``observed`` and ``mask`` are handed on only where
        something is missing or padded.
    length : int
        Tokens of a sample of the training data: time steps, or columns of a table.
    dtype : torch.dtype
        Of the real numbers.
    device : torch.device
        Where the tensors go.
    target : ndarray of shape (n_rows, ...), optional
        Encoded targets: integers are classes, everything else becomes `dtype`.
    rows : ndarray of shape (n_others, n_features), optional
        Rows that the input ``neighbours`` holds the positions of.
    """

    is_whole = False
    sizes = None

    def __init__(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        length: int,
        dtype: torch.dtype,
        device: torch.device,
        target: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        def to_tensor(array: np.ndarray) -> Tensor:
            tensor = torch.from_numpy(np.ascontiguousarray(array))
            if array.dtype.kind == "f":
                return tensor.to(device=device, dtype=dtype)
            return tensor.to(device)

        self.inputs = {name: to_tensor(array) for name, array in inputs.items()}
        self.length = length
        self.dtype = dtype
        self.device = device
        self.target = None if target is None else to_tensor(target)
        self.rows = None if rows is None else to_tensor(rows)
        self.index: Tensor | None = None
        self.weight: Tensor | None = None
        self._count = len(next(iter(self.inputs.values())))
        mask = self.inputs.get("mask")
        self._row_lengths = None if mask is None else mask.sum(dim=1)
        self._is_padded = mask is not None and not bool(mask.all())
        observed = self.inputs.get("observed")
        self._has_gap = (
            None if observed is None else ~self._all_observed(observed, mask)
        )
        self._any_gap = self._has_gap is not None and bool(self._has_gap.any())

    @staticmethod
    def _all_observed(observed: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            observed = observed | ~mask[:, None]  # padding is no gap
        return observed.flatten(1).all(dim=1)

    def __len__(self) -> int:
        return self._count

    def at(self, index: np.ndarray, weight: np.ndarray | None) -> TensorSamples:
        """Make samples of some rows that share these tensors.

        Parameters
        ----------
        index : ndarray of shape (n_samples,)
            The row of each sample; rows may be repeated.
        weight : ndarray of shape (n_samples,) or None
            Weights in the loss, of mean one.

        Returns
        -------
        samples : TensorSamples
            A view.
        """
        view = copy(self)
        view.index = torch.from_numpy(index).to(self.device)
        view.weight = None
        if weight is not None:
            view.weight = torch.from_numpy(weight).to(self.device, self.dtype)
        view._count = len(index)
        return view

    def take(self, positions: Tensor) -> tuple[Inputs, Target]:
        """Gather a training batch.

        Parameters
        ----------
        positions : Tensor of shape (batch,)
            Samples.

        Returns
        -------
        inputs : dict of str to Tensor
            The arguments of the module's ``forward``.
        target : Target
            What to compare its scores with.
        """
        if self.target is None:
            raise ValueError("Samples without targets can only be predicted.")
        rows = positions if self.index is None else self.index[positions]
        length = None
        if self._is_padded and self._row_lengths is not None:
            length = int(self._row_lengths[rows].max())
        inputs = self._gather(rows, length, self._is_padded, self._any_gap)
        weight = None if self.weight is None else self.weight[positions]
        return inputs, Target(self.target[rows], weight)

    def inference_batches(self) -> Iterator[tuple[Tensor, Inputs]]:
        """Walk over all rows in batches whose shape depends on the rows alone.

        Yields
        ------
        rows : Tensor of shape (k,)
            The rows of this batch.
        inputs : dict of str to Tensor
            Their tensors, filled up to the batch's fixed size.
        """
        n_rows = len(next(iter(self.inputs.values())))
        none = torch.zeros(n_rows, dtype=torch.long, device=self.device)
        padded, is_masked = none + self.length, none
        if self._row_lengths is not None:
            # A sample of the usual length needs no mask; another is padded to a step.
            is_masked = (self._row_lengths != self.length).long()
            steps = (self._row_lengths + _LENGTH_STEP - 1) // _LENGTH_STEP
            padded = torch.where(
                is_masked.bool(), (steps * _LENGTH_STEP).clamp(min=1), padded
            )
        gaps = none if self._has_gap is None else self._has_gap.long()
        # One number for each row: finding distinct triples is 80 times slower.
        keys = 4 * padded + 2 * is_masked + gaps
        for key in torch.unique(keys).tolist():
            length, masked, has_gap = key // 4, key // 2 % 2, key % 2
            rows = torch.nonzero(keys == key).flatten()
            trimmed = length if self._row_lengths is not None else None
            for chunk, filled in fixed_batches(rows, length):
                yield chunk, self._gather(filled, trimmed, bool(masked), bool(has_gap))

    def _gather(
        self, rows: Tensor, length: int | None, is_padded: bool, has_gap: bool
    ) -> Inputs:
        batch = {}
        for name, tensor in self.inputs.items():
            if (name == "mask" and not is_padded) or (
                name == "observed" and not has_gap
            ):
                continue
            gathered = tensor[rows]
            if name == "neighbours" and self.rows is not None:
                gathered = self.rows[gathered]  # (batch, n_neighbors, n_features)
            if length is not None and name in {"x", "observed", "mask"}:
                gathered = _fit_length(gathered, length)
            batch[name] = gathered
        return batch


def _fit_length(tensor: Tensor, length: int) -> Tensor:
    """Cut or pad the last axis to a length, on the right."""
    missing = length - tensor.shape[-1]
    if missing > 0:
        return torch.nn.functional.pad(tensor, (0, missing))
    return tensor[..., :length]
