"""Gated residual networks, and the selection of variables that is made of them.

Several networks of one shape run side by side as groups: their inputs lie along the
first axis, and each of their linear maps is one batched matrix product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn.nn._dropout import LeanDropout
from skattn.nn._recording import Axis, Name, is_recording, record


class GroupedLinear(nn.Module):
    """Linear maps side by side, each with weights of its own.

    Parameters
    ----------
    groups : int
        Number of maps.
    in_features, out_features : int
        Widths of each.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import GroupedLinear
    >>> GroupedLinear(3, 4, 2)(torch.zeros(3, 5, 7, 4)).shape
    torch.Size([3, 5, 7, 2])
    """

    def __init__(self, groups: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(groups, 1, out_features))
        bound = in_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, h: Tensor) -> Tensor:
        """Map each group.

        Parameters
        ----------
        h : Tensor of shape (groups, ..., in_features)
            At least one axis between.

        Returns
        -------
        h : Tensor of shape (groups, ..., out_features)
            Mapped.
        """
        mapped = torch.baddbmm(self.bias, h.flatten(1, -2), self.weight)
        return mapped.unflatten(1, h.shape[1:-1])


class _GroupedNorm(nn.Module):
    """Layer norms side by side: (groups, ..., width)."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, width))
        self.bias = nn.Parameter(torch.zeros(groups, width))

    def forward(self, h: Tensor) -> Tensor:
        shape = (len(h), *(1,) * (h.dim() - 2), -1)
        normed = functional.layer_norm(h, h.shape[-1:])
        return torch.addcmul(self.bias.view(shape), normed, self.weight.view(shape))


def _linear(in_features: int, out_features: int, groups: int | None) -> nn.Module:
    if groups is None:
        return nn.Linear(in_features, out_features)
    return GroupedLinear(groups, in_features, out_features)


class GatedAddNorm(nn.Module):
    r"""Add what a gate lets through to a skip connection, and normalise.

    .. math:: \mathrm{LN}(a + \mathrm{GLU}(\gamma)), \quad
              \mathrm{GLU}(\gamma) =
              \sigma(W_4 \gamma + b_4) \odot (W_5 \gamma + b_5)

    Lim et al., "Temporal Fusion Transformers for Interpretable Multi-horizon Time
    Series Forecasting", International Journal of Forecasting 2021, arXiv 1912.09363;
    the gated linear unit is that of Dauphin et al., ICML 2017, arXiv 1612.08083.

    Parameters
    ----------
    in_features : int
        Width of :math:`\gamma`.
    out_features : int
        Width of :math:`a`.
    dropout : float, default=0
        Probability of dropping a unit of :math:`\gamma`.
    groups : int, optional
        Number of such nets side by side.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import GatedAddNorm
    >>> GatedAddNorm(8, 4)(torch.ones(3, 8), torch.ones(3, 4)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        dropout: float = 0.0,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        self.dropout = LeanDropout(dropout)
        # W_5 and W_4 in one product.
        self.gate = _linear(in_features, 2 * out_features, groups)
        self.norm = (
            nn.LayerNorm(out_features)
            if groups is None
            else _GroupedNorm(groups, out_features)
        )

    def forward(self, h: Tensor, skip: Tensor) -> Tensor:
        r"""Add and normalise.

        Parameters
        ----------
        h : Tensor of shape (..., in_features)
            :math:`\gamma`; groups, if any, along the first axis.
        skip : Tensor of shape (..., out_features)
            :math:`a`.

        Returns
        -------
        h : Tensor of shape (..., out_features)
            Normalised sum.
        """
        return self.norm(skip + functional.glu(self.gate(self.dropout(h)), dim=-1))


class GatedResidual(nn.Module):
    r"""Gated residual network: as much of a feed-forward net as its gate lets through.

    .. math:: \mathrm{GRN}(a, c) = \mathrm{LN}(a + \mathrm{GLU}(\eta_1)), \quad
              \eta_1 = W_1 \eta_2 + b_1, \quad
              \eta_2 = \mathrm{ELU}(W_2 a + W_3 c + b_2)

    Lim et al., "Temporal Fusion Transformers for Interpretable Multi-horizon Time
    Series Forecasting", International Journal of Forecasting 2021, arXiv 1912.09363.
    Where input and output differ in width, :math:`a` is mapped linearly before it is
    added.

    Parameters
    ----------
    in_features : int
        Width of :math:`a`.
    out_features : int
        Width of the output.
    d_hidden : int, optional
        Width of :math:`\eta_1` and :math:`\eta_2`; that of the output by default.
    context_features : int, default=0
        Width of the context :math:`c`; 0 for none.
    dropout : float, default=0
        Probability of dropping a unit of :math:`\eta_1`.
    groups : int, optional
        Number of such nets side by side.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import GatedResidual
    >>> net = GatedResidual(8, 4, d_hidden=16, context_features=3)
    >>> net(torch.ones(5, 7, 8), torch.ones(5, 1, 3)).shape
    torch.Size([5, 7, 4])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        d_hidden: int | None = None,
        context_features: int = 0,
        dropout: float = 0.0,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        d_hidden = out_features if d_hidden is None else d_hidden
        # W_2, and the map of the skip connection where there is one, in one product.
        self.widths = [d_hidden]
        if in_features != out_features:
            self.widths.append(out_features)
        self.enter = _linear(in_features, sum(self.widths), groups)
        self.context = (
            nn.Linear(context_features, d_hidden, bias=False)
            if context_features
            else None
        )
        self.hidden = _linear(d_hidden, d_hidden, groups)
        self.leave = GatedAddNorm(
            d_hidden, out_features, dropout=dropout, groups=groups
        )

    def forward(self, h: Tensor, context: Tensor | None = None) -> Tensor:
        """Transform, given a context.

        Parameters
        ----------
        h : Tensor of shape (..., in_features)
            :math:`a`; groups, if any, along the first axis.
        context : Tensor of shape (..., context_features), optional
            :math:`c`, broadcastable to `h`; given where the net was made for one.

        Returns
        -------
        h : Tensor of shape (..., out_features)
            Transformed.
        """
        hidden, *skip = self.enter(h).split(self.widths, dim=-1)
        if self.context is not None:
            hidden = hidden + self.context(context)
        hidden = self.hidden(functional.elu(hidden))
        return self.leave(hidden, skip[0] if skip else h)


class VariableTokens(nn.Module):
    """Embed each variable at each step: numbers on a line, categories by a table.

    Row 0 of each table, which stands for an unknown category, starts at zero, as in
    `FeatureTokens`.

    Parameters
    ----------
    n_numbers : int
        Numeric variables.
    category_counts : tuple of int
        Codes of each categorical variable.
    d_model : int
        Width of a token.
    missing : bool, default=False
        Whether numbers may be missing: each has a token for that.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import VariableTokens
    >>> tokens = VariableTokens(2, (4,), d_model=8)
    >>> tokens(torch.zeros(5, 2, 7), torch.zeros(5, 1, 7, dtype=int)).shape
    torch.Size([3, 5, 7, 8])
    """

    first_code: Tensor

    def __init__(
        self,
        n_numbers: int,
        category_counts: tuple[int, ...],
        d_model: int,
        *,
        missing: bool = False,
    ) -> None:
        super().__init__()
        self.numbers = GroupedLinear(n_numbers, 1, d_model) if n_numbers else None
        self.missing = (
            nn.Parameter(0.1 * torch.randn(n_numbers, 1, 1, d_model))
            if missing
            else None
        )
        # All tables behind each other, for one look-up.
        ends = torch.tensor((0, *category_counts)).cumsum(dim=0)
        self.register_buffer("first_code", ends[:-1])
        self.table = None
        if category_counts:
            self.table = nn.Embedding(int(ends[-1]), d_model)
            nn.init.normal_(self.table.weight, std=0.3)
            with torch.no_grad():
                self.table.weight[self.first_code] = 0.0

    def forward(
        self,
        numbers: Tensor | None = None,
        codes: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Embed a batch.

        Parameters
        ----------
        numbers : Tensor of shape (batch, n_numbers, steps), optional
            Given where there are any.
        codes : Tensor of int of shape (batch, n_categorical, steps), optional
            Given where there are any.
        observed : Tensor of bool, shaped as `numbers`, optional
            False where a number is missing.

        Returns
        -------
        tokens : Tensor of shape (variables, batch, steps, d_model)
            Numeric variables first.
        """
        tokens = []
        if self.numbers is not None and numbers is not None:
            tokens.append(self.numbers(numbers.transpose(0, 1)[..., None]))
            if self.missing is not None and observed is not None:
                seen = observed.transpose(0, 1)[..., None]
                tokens[0] = torch.where(seen, tokens[0], self.missing)
        if self.table is not None and codes is not None:
            tokens.append(
                self.table((codes + self.first_code[:, None]).transpose(0, 1))
            )
        return torch.cat(tokens) if len(tokens) > 1 else tokens[0]


class VariableSelection(nn.Module):
    r"""Variable selection network: at each step a mean of variables, by weights.

    .. math:: v_t = \mathrm{softmax}(\mathrm{GRN}([\xi_t^{(1)}; \dots;
              \xi_t^{(m)}], c)), \quad
              \tilde\xi_t = \sum_j v_t^{(j)} \mathrm{GRN}_j(\xi_t^{(j)})

    Lim et al., "Temporal Fusion Transformers for Interpretable Multi-horizon Time
    Series Forecasting", International Journal of Forecasting 2021, arXiv 1912.09363.
    The nets :math:`\mathrm{GRN}_j` of all variables run side by side. The weights are
    recorded as of the kind ``"selection"``. A single variable has the weight one.

    Parameters
    ----------
    variables : tuple of str
        Their names, for the record.
    d_model : int
        Width of an embedded variable, of the hidden layers and of the output.
    context : bool, default=False
        Whether the weights depend on a context of that width, too.
    dropout : float, default=0
        Of the nets; see `GatedResidual`.
    layer : str
        Name of the layer in records.
    steps : str or tuple of str
        What the steps are; see `skattn.nn.record`.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import VariableSelection
    >>> select = VariableSelection(
    ...     ("load", "price", "hour"), 8, layer="past", steps="time"
    ... )
    >>> select(torch.ones(3, 5, 24, 8)).shape
    torch.Size([5, 24, 8])
    """

    def __init__(
        self,
        variables: tuple[str, ...],
        d_model: int,
        *,
        context: bool = False,
        dropout: float = 0.0,
        layer: str,
        steps: Axis,
    ) -> None:
        super().__init__()
        count = len(variables)
        self.names = tuple(map(Name, variables))
        self.layer, self.steps = layer, steps
        self.transform = GatedResidual(d_model, d_model, dropout=dropout, groups=count)
        self.select = (
            GatedResidual(
                count * d_model,
                count,
                d_hidden=d_model,
                context_features=d_model if context else 0,
                dropout=dropout,
            )
            if count > 1
            else None
        )

    def forward(
        self,
        variables: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Weigh the variables at each step.

        Parameters
        ----------
        variables : Tensor of shape (variables, batch, steps, d_model)
            Embedded variables.
        context : Tensor of shape (batch, 1, d_model), optional
            Given where the net was made for one.
        mask : Tensor of bool of shape (batch, steps), optional
            True where a step is real; the record holds zeros elsewhere.

        Returns
        -------
        selected : Tensor of shape (batch, steps, d_model)
            Weighted means of the transformed variables.
        """
        transformed = self.transform(variables)
        if self.select is None:
            weights = variables.new_ones(*variables.shape[1:3], 1)
        else:
            joined = variables.permute(1, 2, 0, 3).flatten(2)
            weights = self.select(joined, context).softmax(dim=-1)
        if is_recording():
            weights = self._record(weights, mask)
        return (weights.permute(2, 0, 1)[..., None] * transformed).sum(dim=0)

    def _record(self, weights: Tensor, mask: Tensor | None) -> Tensor:
        """Record the weights (batch, steps, variables) of real steps."""
        real = None if mask is None else mask[..., None]  # (batch, steps, 1)
        replaced = record(
            (weights if real is None else weights * real)[:, None],
            layer=self.layer,
            kind="selection",
            queries=self.steps,
            keys=self.names,
            mask=None if real is None else real[:, None],
        )[:, 0]
        return replaced if real is None else torch.where(real, replaced, weights)
