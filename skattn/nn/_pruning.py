"""Take a part of a map, where heads are taken out of attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def head_units(heads: Sequence[int], width: int) -> Tensor:
    """Tell which units of joined heads belong to some of them.

    Parameters
    ----------
    heads : sequence of int
        Numbers of the heads.
    width : int
        Units of a head.

    Returns
    -------
    units : Tensor of int64 of shape (len(heads) * width,)
        Their positions.

    Examples
    --------
    >>> from skattn.nn import head_units
    >>> head_units([0, 2], 3)
    tensor([0, 1, 2, 6, 7, 8])
    """
    first = torch.tensor(list(heads), dtype=torch.int64) * width
    return (first[:, None] + torch.arange(width)).flatten()


def keep_rows(parameter: nn.Parameter, rows: Tensor | Sequence[int]) -> nn.Parameter:
    """Make a parameter of some rows of another one.

    Parameters
    ----------
    parameter : nn.Parameter of shape (n, ...)
        Left as it is.
    rows : Tensor of int64 or sequence of int, of shape (k,)
        Which rows.

    Returns
    -------
    kept : nn.Parameter of shape (k, ...)
        A copy of these.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import keep_rows
    >>> keep_rows(torch.nn.Parameter(torch.eye(3)), [0, 2]).shape
    torch.Size([2, 3])
    """
    places = torch.as_tensor(rows, dtype=torch.int64, device=parameter.device)
    return nn.Parameter(parameter.detach()[places], parameter.requires_grad)


def keep_outputs(linear: Any, units: Tensor) -> None:
    """Take all outputs but some out of a linear map, in place.

    Parameters
    ----------
    linear : nn.Module
        With a ``weight`` of shape (outputs, inputs) and a ``bias``, perhaps None:
        `torch.nn.Linear` or `NodeLinear`.
    units : Tensor of int64 of shape (k,)
        The outputs that stay.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import head_units, keep_outputs
    >>> linear = torch.nn.Linear(4, 6)
    >>> keep_outputs(linear, head_units([1], 3))
    >>> linear
    Linear(in_features=4, out_features=3, bias=True)
    """
    linear.weight = keep_rows(linear.weight, units)
    if linear.bias is not None:
        linear.bias = keep_rows(linear.bias, units)
    if isinstance(linear, nn.Linear):
        linear.out_features = len(units)


def keep_inputs(linear: Any, units: Tensor) -> None:
    """Take all inputs but some out of a linear map, in place.

    Parameters
    ----------
    linear : nn.Module
        As for `keep_outputs`.
    units : Tensor of int64 of shape (k,)
        The inputs that stay.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import head_units, keep_inputs
    >>> linear = torch.nn.Linear(6, 4)
    >>> keep_inputs(linear, head_units([1], 3))
    >>> linear
    Linear(in_features=3, out_features=4, bias=True)
    """
    weight = linear.weight
    kept = weight.detach()[:, units.to(weight.device)].contiguous()
    linear.weight = nn.Parameter(kept, weight.requires_grad)
    if isinstance(linear, nn.Linear):
        linear.in_features = len(units)
