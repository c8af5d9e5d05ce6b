"""Time steps under a mask: tokens, positions, recurrence, pooling.

Series are padded on the right, forecasting windows on the left. All functions here
take either, told by a mask that is True where a step is real, or None where all are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn._architecture import DataSpec


def step_positions(h: Tensor, mask: Tensor | None) -> Tensor:
    """Number the real steps of each sample from 0.

    Parameters
    ----------
    h : Tensor of shape (batch, length, ...)
        Only its shape and device matter.
    mask : Tensor of bool of shape (batch, length) or None
        True where a step is real.

    Returns
    -------
    positions : Tensor of int of shape (batch or 1, length)
        0 in front of the first real step too.
    """
    if mask is None:
        return torch.arange(h.shape[1], device=h.device)[None]
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def sinusoidal_positions(positions: Tensor, d_model: int) -> Tensor:
    r"""Encode positions by sines and cosines.

    .. math:: PE_{t, 2i} = \sin(t / 10000^{2i/d}), \quad
              PE_{t, 2i+1} = \cos(t / 10000^{2i/d})

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762; here
    all sines stand before all cosines.

    Parameters
    ----------
    positions : Tensor of int of shape (batch, length)
        Positions.
    d_model : int
        Width of the encoding.

    Returns
    -------
    encoding : Tensor of shape (batch, length, d_model)
        Float32.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import sinusoidal_positions
    >>> sinusoidal_positions(torch.tensor([[0, 1]]), 4)[0, 0]
    tensor([0., 0., 1., 1.])
    """
    even = torch.arange(0, d_model, 2, device=positions.device)
    frequency = torch.exp(-math.log(10000.0) * even / d_model)
    angle = positions[..., None] * frequency  # (batch, length, d_model / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[..., :d_model]


class StepTokens(nn.Module):
    """One token for each time step: short convolutions over all channels.

    Missing values count as zero, beside a channel that says where they are.

    Parameters
    ----------
    data : DataSpec
        Of series.
    d_model : int
        Width of a token.
    kernel_size : int, default=3
        Steps that a convolution sees, centred on its own; odd.
    depth : int, default=1
        Convolutions behind each other, with GELU between them.

    Examples
    --------
    >>> import torch
    >>> from skattn import DataSpec
    >>> from skattn.nn import StepTokens
    >>> tokens = StepTokens(DataSpec("regression", "series", n_channels=2), d_model=8)
    >>> tokens(torch.zeros(5, 2, 7)).shape
    torch.Size([5, 7, 8])
    """

    def __init__(
        self, data: DataSpec, d_model: int, kernel_size: int = 3, depth: int = 1
    ) -> None:
        super().__init__()
        widths = [2 * data.n_channels] + depth * [d_model]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, d_model, kernel_size, padding=kernel_size // 2)
            for width in widths[:-1]
        )

    def forward(
        self, x: Tensor, observed: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Embed a batch of series.

        Parameters
        ----------
        x : Tensor of shape (batch, n_channels, length)
            Values.
        observed : Tensor of bool of shape (batch, n_channels, length), optional
            False where a value is missing.
        mask : Tensor of bool of shape (batch, length), optional
            True where a step is real.

        Returns
        -------
        tokens : Tensor of shape (batch, length, d_model)
            One for each step.
        """
        known = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
        if mask is not None:
            known = known & mask[:, None]
        missing = (~known).to(x.dtype)
        if mask is not None:
            missing = missing * mask[:, None]
        h = torch.cat([torch.where(known, x, 0.0), missing], dim=1)
        for number, convolution in enumerate(self.convolutions):
            if number:
                h = functional.gelu(h)
                if mask is not None:  # what lies beyond the ends stays zero
                    h = torch.where(mask[:, None], h, 0.0)
            h = convolution(h)
        return h.transpose(1, 2)  # (batch, length, d_model)


def take_steps(h: Tensor, index: Tensor) -> Tensor:
    """Gather steps of each sample.

    Parameters
    ----------
    h : Tensor of shape (batch, length, width)
        Steps.
    index : Tensor of int of shape (batch, k)
        Which steps.

    Returns
    -------
    taken : Tensor of shape (batch, k, width)
        ``taken[b, i] = h[b, index[b, i]]``.
    """
    return h.gather(1, index[..., None].expand(-1, -1, h.shape[-1]))


def last_step(h: Tensor, mask: Tensor | None) -> Tensor:
    """Take the last real step of each sample.

    Parameters
    ----------
    h : Tensor of shape (batch, length, width)
        Steps.
    mask : Tensor of bool of shape (batch, length) or None
        True where a step is real.

    Returns
    -------
    last : Tensor of shape (batch, 1, width)
        One step.
    """
    if mask is None:
        return h[:, -1:]
    steps = torch.arange(h.shape[1], device=h.device)
    return take_steps(h, (mask * steps).argmax(dim=1, keepdim=True))


def masked_mean(h: Tensor, mask: Tensor | None) -> Tensor:
    """Average over the real steps of each sample.

    Parameters
    ----------
    h : Tensor of shape (batch, length, width)
        Steps.
    mask : Tensor of bool of shape (batch, length) or None
        True where a step is real.

    Returns
    -------
    mean : Tensor of shape (batch, width)
        Zero where no step is real.
    """
    if mask is None:
        return h.mean(dim=1)
    total = torch.where(mask[..., None], h, 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(h: Tensor, mask: Tensor | None) -> Tensor:
    """Take the maximum over the real steps of each sample.

    Parameters
    ----------
    h : Tensor of shape (batch, length, width)
        Steps.
    mask : Tensor of bool of shape (batch, length) or None
        True where a step is real.

    Returns
    -------
    maximum : Tensor of shape (batch, width)
        Of each unit.
    """
    if mask is None:
        return h.amax(dim=1)
    return h.masked_fill(~mask[..., None], torch.finfo(h.dtype).min).amax(dim=1)


class MaskedLSTM(nn.Module):
    """LSTM that starts at the first real step and ends at the last one.

    Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997. Each
    sample is moved to the front, the backward direction reads it reversed within its
    length, and the states are moved back; no packing, so the net can be exported.

    Parameters
    ----------
    input_size : int
        Width of a step.
    hidden_size : int
        Width of the state of one direction.
    num_layers : int, default=1
        Stacked layers.
    bidirectional : bool, default=False
        Read in both directions; the states are joined, forward first.
    dropout : float, default=0
        Between stacked layers.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import MaskedLSTM
    >>> MaskedLSTM(3, 4, bidirectional=True)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        options = {
            "num_layers": num_layers,
            "batch_first": True,
            "dropout": dropout if num_layers > 1 else 0.0,
        }
        self.forward_lstm = nn.LSTM(input_size, hidden_size, **options)
        self.backward_lstm = (
            nn.LSTM(input_size, hidden_size, **options) if bidirectional else None
        )

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the states of all steps.

        Parameters
        ----------
        h : Tensor of shape (batch, length, input_size)
            Steps.
        mask : Tensor of bool of shape (batch, length), optional
            True where a step is real.

        Returns
        -------
        states : Tensor of shape (batch, length, directions * hidden_size)
            At padded steps, whatever.
        """
        if mask is None:
            states = [self.forward_lstm(h)[0]]
            if self.backward_lstm is not None:
                states.append(self.backward_lstm(h.flip(1))[0].flip(1))
            return torch.cat(states, dim=-1)
        length = h.shape[1]
        steps = torch.arange(length, device=h.device)
        first = mask.long().argmax(dim=1, keepdim=True)
        to_front = (steps + first) % length
        back = (steps - first) % length
        h = take_steps(h, to_front)
        states = [self.forward_lstm(h)[0]]
        if self.backward_lstm is not None:
            # Reversing within the length undoes itself.
            reverse = (mask.sum(dim=1, keepdim=True) - 1 - steps) % length
            states.append(
                take_steps(self.backward_lstm(take_steps(h, reverse))[0], reverse)
            )
        return take_steps(torch.cat(states, dim=-1), back)
