"""Texts as samples: sequences of unequal lengths, padded batch by batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import copy

import numpy as np
import torch
from torch import Tensor

from skattn._engine._losses import IGNORED
from skattn._engine._samples import Inputs, Target, fixed_batches

# The sequence whose length a mask tells; others are as long as the first one.
MASKS = {
    "tokens": "mask",
    "other_tokens": "other_mask",
    "target_tokens": "target_mask",
}

_LENGTH_STEP = 8


class Ragged:
    """Sequences of unequal lengths behind each other.

    Parameters
    ----------
    sequences : ndarray of objects of shape (n,)
        Arrays of int64 of shape (length,) or (length, k), the same k for all.
    device : torch.device
        Where they go.
    """

    def __init__(self, sequences: np.ndarray, device: torch.device) -> None:
        lengths = np.array([len(each) for each in sequences], dtype=np.int64)
        filled = [each for each in sequences if len(each)]
        shape = np.shape(filled[0] if filled else sequences[0])[1:]
        nothing = np.zeros((0, *shape), dtype=np.int64)
        flat = np.concatenate(filled) if filled else nothing
        # One more, for positions of padding to point at.
        flat = np.concatenate([flat, np.zeros((1, *shape), dtype=np.int64)])
        self.flat = torch.from_numpy(flat.astype(np.int64)).to(device)
        self.lengths = torch.from_numpy(lengths).to(device)
        self.starts = self.lengths.cumsum(0) - self.lengths

    def pad(self, rows: Tensor, length: int, filling: int) -> Tensor:
        """Gather sequences and fill them up on the right.

        Parameters
        ----------
        rows : Tensor of int of shape (batch,)
            Which sequences.
        length : int
            At least that of the longest of them.
        filling : int
            What is put behind the end.

        Returns
        -------
        padded : Tensor of int64 of shape (batch, length) or (batch, length, k)
            The sequences.
        """
        steps = torch.arange(length, device=rows.device)
        real = steps < self.lengths[rows][:, None]
        last = len(self.flat) - 1
        positions = torch.where(real, self.starts[rows][:, None] + steps, last)
        padded = self.flat[positions]
        if filling:
            padded[~real] = filling
        return padded


class TokenSamples:
    """Texts, or pairs of texts, with their targets.

    Training batches are of similar lengths (see `Batches`) and padded to the longest
    text in them; a mask comes only where something is padded.

    Parameters
    ----------
    sequences : mapping of str to ndarray of objects of shape (n_rows,)
        The tensors of the contract, not padded: arrays of int64 of shape (length,);
        of ``characters``, (length, k).
    dtype : torch.dtype
        Of the real numbers.
    device : torch.device
        Where the tensors go.
    target : ndarray of shape (n_rows, ...), optional
        Encoded targets: integers are classes, objects are arrays of int64 with a class
        for each token, everything else becomes `dtype`.
    rows : mapping of str to ndarray of shape (n_rows, ...), optional
        More arguments of the module, which have no length.
    consumes : collection of str, optional
        Which masks the module takes; by default all. Without that of its texts, nothing
        may be padded.
    """

    is_whole = False

    def __init__(
        self,
        sequences: Mapping[str, np.ndarray],
        *,
        dtype: torch.dtype,
        device: torch.device,
        target: np.ndarray | None = None,
        rows: Mapping[str, np.ndarray] | None = None,
        consumes: Collection[str] = tuple(MASKS.values()),
    ) -> None:
        def to_tensor(array: np.ndarray) -> Tensor:
            tensor = torch.from_numpy(np.ascontiguousarray(array))
            return tensor.to(device, dtype if array.dtype.kind == "f" else None)

        self.sequences = {
            name: Ragged(array, device) for name, array in sequences.items()
        }
        self.rows = {name: to_tensor(array) for name, array in (rows or {}).items()}
        self.consumes = frozenset(consumes)
        self.dtype = dtype
        self.device = device
        self.target: Tensor | Ragged | None = None
        if target is not None and target.dtype == object:
            self.target = Ragged(target, device)
        elif target is not None:
            self.target = to_tensor(target)
        self.index: Tensor | None = None
        self.weight: Tensor | None = None
        # Of each sequence, the one whose length it has.
        self._timed_by = {
            name: name if name in MASKS else next(iter(sequences))
            for name in self.sequences
        }
        self._count = len(next(iter(sequences.values())))
        for name in self._unmasked:
            shortest, longest = self.sequences[name].lengths.aminmax()
            if shortest < longest:
                raise ValueError(
                    f"The texts are of {int(shortest)} to {int(longest)} tokens, but "
                    f"the architecture does not consume {MASKS[name]!r}, by which it "
                    "would know what is padding. Choose one that does, or bring all "
                    "texts to one length."
                )

    @property
    def _unmasked(self) -> list[str]:
        """Texts whose padding the module would not know from tokens.

        That of a target is behind all that its scores depend on.
        """
        return [
            name
            for name in self.sequences
            if name in ("tokens", "other_tokens") and MASKS[name] not in self.consumes
        ]

    def __len__(self) -> int:
        return self._count

    @property
    def sizes(self) -> Tensor:
        """Length of each sample, of all sequences together."""
        sizes = torch.stack(
            [ragged.lengths for name, ragged in self.sequences.items() if name in MASKS]
        ).sum(dim=0)
        return sizes if self.index is None else sizes[self.index]

    def at(self, index: np.ndarray, weight: np.ndarray | None) -> TokenSamples:
        """Make samples of some rows that share these tensors.

        Parameters
        ----------
        index : ndarray of shape (n_samples,)
            The row of each sample; rows may be repeated.
        weight : ndarray of shape (n_samples,) or None
            Weights in the loss, of mean one.

        Returns
        -------
        samples : TokenSamples
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
        inputs = self._pad(rows, spare_masks=True)
        weight = None if self.weight is None else self.weight[positions]
        if not isinstance(self.target, Ragged):
            return inputs, Target(self.target[rows], weight)
        known = self.target.lengths[rows]
        values = self.target.pad(rows, max(int(known.max()), 1), IGNORED)
        return inputs, Target(values, weight, n_tokens=int(known.sum()))

    def inference_batches(
        self, most: int | None = None
    ) -> Iterator[tuple[Tensor, Inputs]]:
        """Walk over all rows in batches whose shape depends on the rows alone.

        Parameters
        ----------
        most : int, optional
            Rows of a batch, at most.

        Yields
        ------
        rows : Tensor of shape (k,)
            The rows of this batch.
        inputs : dict of str to Tensor
            Their tensors, filled up to the batch's fixed size.
        """
        timed = [name for name in self.sequences if name in MASKS]
        steps = torch.stack([self.sequences[name].lengths for name in timed], dim=1)
        padded = ((steps + _LENGTH_STEP - 1) // _LENGTH_STEP).clamp(min=1)
        padded = padded * _LENGTH_STEP
        for name in self._unmasked:
            padded[:, timed.index(name)] = steps[:, timed.index(name)]
        shapes, group = torch.unique(padded, dim=0, return_inverse=True)
        for number, shape in enumerate(shapes.tolist()):
            lengths = dict(zip(timed, shape, strict=True))
            rows = torch.nonzero(group == number).flatten()
            for chunk, filled in fixed_batches(rows, sum(shape), most):
                yield chunk, self._gather(filled, lengths, spare_masks=False)

    def _pad(self, rows: Tensor, spare_masks: bool) -> Inputs:
        """Gather rows, padded to the longest of them."""
        lengths = {
            name: max(int(ragged.lengths[rows].max()), 1)
            for name, ragged in self.sequences.items()
            if name in MASKS
        }
        return self._gather(rows, lengths, spare_masks)

    def _gather(
        self, rows: Tensor, lengths: Mapping[str, int], spare_masks: bool
    ) -> Inputs:
        batch = {name: values[rows] for name, values in self.rows.items()}
        for name, ragged in self.sequences.items():
            length = lengths[self._timed_by[name]]
            batch[name] = ragged.pad(rows, length, 0)
            if name in MASKS and MASKS[name] in self.consumes:
                real = ragged.lengths[rows]
                if not (spare_masks and bool((real == length).all())):
                    steps = torch.arange(length, device=rows.device)
                    batch[MASKS[name]] = steps < real[:, None]
        return batch
