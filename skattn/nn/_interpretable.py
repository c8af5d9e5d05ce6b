"""Attention whose heads agree on the values, so that their weights can be averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn.nn._attention import attention
from skattn.nn._pruning import head_units, keep_outputs
from skattn.nn._recording import Axis, is_recording


class InterpretableAttention(nn.Module):
    r"""Interpretable multi-head attention of the last steps to all up to themselves.

    .. math:: \frac{1}{H} \sum_{h=1}^H
              \mathrm{softmax}\left(\frac{(Q W^Q_h) (K W^K_h)^\top}{\sqrt{d}}\right)
              K W^V W^O

    Lim et al., "Temporal Fusion Transformers for Interpretable Multi-horizon Time
    Series Forecasting", International Journal of Forecasting 2021, arXiv 1912.09363.
    All heads share the values: the mean of their weights says what the output is a
    mean of.

    Parameters
    ----------
    d_model : int
        Width of queries, keys and output; a multiple of `num_heads`.
    num_heads : int
        Number of heads.
    layer : str
        Name of the layer in records.
    queries, keys : str or tuple of str
        For the record; see `skattn.nn.record`.

    Raises
    ------
    ValueError
        If `d_model` is no multiple of `num_heads`.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import InterpretableAttention
    >>> attend = InterpretableAttention(
    ...     8, 2, layer="0", queries="horizon", keys=("time", "horizon")
    ... )
    >>> attend(torch.ones(3, 2, 8), torch.ones(3, 7, 8)).shape
    torch.Size([3, 2, 8])
    """

    def __init__(
        self, d_model: int, num_heads: int, *, layer: str, queries: Axis, keys: Axis
    ) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(
                f"d_model={d_model} cannot be split into num_heads={num_heads} heads "
                "of equal width: choose a d_model that is a multiple of num_heads."
            )
        self.num_heads = num_heads
        self.d_head = d_model // num_heads
        self.layer, self.kind, self.queries, self.keys = layer, "self", queries, keys
        self.project_query = nn.Linear(d_model, d_model)
        self.project_key = nn.Linear(d_model, d_model)
        self.project_value = nn.Linear(d_model, d_model // num_heads)
        self.project_out = nn.Linear(d_model // num_heads, d_model)

    def forward(
        self, query: Tensor, memory: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Let the last steps attend.

        Parameters
        ----------
        query : Tensor of shape (batch, queries, d_model)
            The last steps of `memory`.
        memory : Tensor of shape (batch, keys, d_model)
            All steps.
        mask : Tensor of bool of shape (batch, keys - queries), optional
            True where a step before the queries is real.

        Returns
        -------
        output : Tensor of shape (batch, queries, d_model)
            Mean of the heads, projected.
        """
        if not self.num_heads:
            return self.project_out(query.new_zeros(*query.shape[:2], self.d_head))
        shape = (query.shape[1], memory.shape[1])
        visible = torch.ones(shape, dtype=torch.bool, device=query.device)
        visible = visible.tril(shape[1] - shape[0])[None, None]
        if mask is not None:
            real = functional.pad(mask, (0, shape[0]), value=True)
            visible = visible & real[:, None, None]  # (batch, 1, queries, keys)
        value = self.project_value(memory)[:, None]
        heads = attention(
            self._split(self.project_query(query)),
            self._split(self.project_key(memory)),
            value.expand(-1, self.num_heads, -1, -1),
            mask=visible,
            layer=self.layer,
            kind=self.kind,
            queries=self.queries,
            keys=self.keys,
            output=self._output() if is_recording() else None,
        )  # (batch, heads, queries, d_model / heads)
        return self.project_out(heads.mean(dim=1))

    def prune_heads(self, keep: Sequence[int]) -> None:
        """Take heads out; the mean goes on over as many as there were.

        Parameters
        ----------
        keep : sequence of int
            The heads that stay, ascending; they are numbered anew.
        """
        units = head_units(keep, self.d_head)
        keep_outputs(self.project_query, units)
        keep_outputs(self.project_key, units)
        with torch.no_grad():
            self.project_out.weight *= len(keep) / self.num_heads
        self.num_heads = len(keep)

    def _output(self) -> Tensor:
        """Write the mean and its projection as one map of the joined heads."""
        return self.project_out.weight.repeat(1, self.num_heads) / self.num_heads

    def _split(self, h: Tensor) -> Tensor:
        # (batch, steps, heads * d_head) -> (batch, heads, steps, d_head)
        return h.unflatten(-1, (self.num_heads, self.d_head)).transpose(1, 2)
