"""Recurrence that starts from a given state and hands its last one on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn.nn._dropout import LeanDropout
from skattn.nn._steps import last_step, take_steps

State = tuple[Tensor, Tensor]


class StatefulLSTM(nn.Module):
    """LSTM from a given state, which ends at the last real step of each sample.

    Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997. An
    encoder hands its last state to a decoder. Padding is treated as by `MaskedLSTM`,
    without packing.

    Parameters
    ----------
    input_size : int
        Width of a step.
    hidden_size : int
        Width of the state.
    num_layers : int, default=1
        Stacked layers.
    dropout : float, default=0
        Between stacked layers.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import StatefulLSTM
    >>> encoder, decoder = StatefulLSTM(3, 4), StatefulLSTM(2, 4)
    >>> _, state = encoder(torch.zeros(5, 7, 3))
    >>> decoder(torch.zeros(5, 6, 2), state)[0].shape
    torch.Size([5, 6, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = LeanDropout(dropout)
        widths = [input_size] + (num_layers - 1) * [hidden_size]
        self.layers = nn.ModuleList(
            nn.LSTM(width, hidden_size, batch_first=True) for width in widths
        )
        self.hidden_size = hidden_size

    def forward(
        self,
        h: Tensor,
        start: Sequence[State] | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, list[State]]:
        """Compute the states of all steps, and the last ones.

        Parameters
        ----------
        h : Tensor of shape (batch, length, input_size)
            Steps.
        start : sequence of (Tensor, Tensor) of shape (batch, hidden_size), optional
            Hidden and cell state of each layer; zeros by default.
        mask : Tensor of bool of shape (batch, length), optional
            True where a step is real; the real ones follow each other.

        Returns
        -------
        states : Tensor of shape (batch, length, hidden_size)
            Hidden states of the last layer; at padded steps, whatever.
        end : list of (Tensor, Tensor) of shape (batch, hidden_size)
            Hidden and cell state of each layer after the last real step.
        """
        if start is None:
            zeros = h.new_zeros(len(h), self.hidden_size)
            start = [(zeros, zeros)] * len(self.layers)
        if mask is not None:
            length = h.shape[1]
            steps = torch.arange(length, device=h.device)
            first = mask.long().argmax(dim=1, keepdim=True)
            real = steps < mask.sum(dim=1, keepdim=True)
            h = take_steps(h, (steps + first) % length)
        end = []
        for number, (layer, (hidden, cell)) in enumerate(
            zip(self.layers, start, strict=True)
        ):
            inputs = self.dropout(h) if number else h
            h, (last_hidden, last_cell) = layer(inputs, (hidden[None], cell[None]))
            if mask is None:
                end.append((last_hidden[0], last_cell[0]))
            else:
                before = torch.cat([hidden[:, None], h[:, :-1]], dim=1)
                cell = _last_cell(layer, inputs, before, cell, real)
                end.append((last_step(h, real)[:, 0], cell))
        if mask is not None:
            h = take_steps(h, (steps - first) % length)
        return h, end


def _last_cell(
    layer: nn.Module, inputs: Tensor, before: Tensor, cell: Tensor, real: Tensor
) -> Tensor:
    r"""Compute the cell state after the last real step, which `nn.LSTM` keeps.

    All gates follow from the inputs and from the hidden states `before` each step:
    :math:`c_T = c_0 \prod_t f_t + \sum_t i_t g_t \prod_{s > t} f_s`.
    """
    weight_inputs, weight_before, bias_inputs, bias_before = layer.parameters()
    gates = functional.linear(inputs, weight_inputs, bias_inputs)
    gates = gates + functional.linear(before, weight_before, bias_before)
    enter, keep, new, _ = gates.chunk(4, dim=-1)  # (batch, length, hidden_size)
    padded = ~real[..., None]
    added = (enter.sigmoid() * new.tanh()).masked_fill(padded, 0.0)
    log_keep = functional.logsigmoid(keep).masked_fill(padded, 0.0)
    log_kept = log_keep.flip(1).cumsum(dim=1).flip(1)  # from each step to the end
    kept = (log_kept - log_keep).exp() * added
    return log_kept[:, 0].exp() * cell + kept.sum(dim=1)
