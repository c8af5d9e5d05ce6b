"""The Temporal Fusion Transformer: selected variables, an LSTM, then attention."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    GatedAddNorm,
    GatedResidual,
    InterpretableAttention,
    StatefulLSTM,
    VariableSelection,
    VariableTokens,
    check_sizes,
)


class TFT(Architecture):
    r"""Temporal Fusion Transformer.

    .. math::
        \tilde\xi_t &= \mathrm{Select}(\xi_t^{(1)}, \dots, \xi_t^{(m)}; c_s) \\
        \phi_t &= \mathrm{LN}(\tilde\xi_t + \mathrm{GLU}(\mathrm{LSTM}(
                  \tilde\xi; c_h, c_c)_t)) \\
        \theta_t &= \mathrm{GRN}(\phi_t, c_e) \\
        \delta_t &= \mathrm{LN}(\theta_t + \mathrm{GLU}(
                    \mathrm{InterpretableMultiHead}(\theta)_t)) \\
        \psi_t &= \mathrm{LN}(\phi_t + \mathrm{GLU}(\mathrm{GRN}(\delta_t)))

    and each step :math:`\psi_t` of the horizon is mapped linearly to its scores. The
    variables of the past are targets, past covariates and known covariates, those of
    the horizon the known covariates; one LSTM reads the past, another goes on from its
    state through the horizon. The contexts :math:`c_s, c_e, c_h, c_c` are gated
    residual networks of the selected static covariates, among them the identity of the
    series.

    .. math:: \mathrm{InterpretableMultiHead}(\theta) = \frac{1}{H} \sum_{h=1}^H
              \mathrm{softmax}\left(\frac{Q_h K_h^\top}{\sqrt{d}}\right) V W^O

    All heads share the values :math:`V`, so that the mean of their weights tells how
    much each step counts; a step of the horizon sees the past and the horizon up to
    itself.

    Recorded are this attention and, as of the kind ``"selection"``, the weights of the
    variables in the layers ``"static"``, ``"past"`` and ``"future"``.

    Without static covariates there are no contexts, and the LSTM starts at zero.
    Without known covariates the steps' position relative to the forecast's origin
    stands in for them. A missing value is embedded as a learned vector of its channel.

    Parameters
    ----------
    d_model : int, default=32
        Width of every layer; a multiple of `num_heads`. In the paper 160 to 320 for
        most data.
    num_heads : int, default=4
        Heads of the attention.
    num_layers : int, default=1
        Stacked layers of either LSTM.
    dropout : float, default=0.1
        Probability of dropping a unit in front of each gate and between LSTM layers;
        attention weights are not dropped.

    References
    ----------
    Lim, Arik, Loeff, Pfister, "Temporal Fusion Transformers for Interpretable
    Multi-horizon Time Series Forecasting", International Journal of Forecasting 2021,
    arXiv 1912.09363.

    Examples
    --------
    >>> from skattn import AttentionForecaster
    >>> from skattn.architectures import TFT
    >>> AttentionForecaster(TFT(d_model=16)).architecture
    TFT(d_model=16)
    """

    api_version = 1
    name = "tft"
    supports = {"series": {"forecasting"}}
    consumes = (
        "mask",
        "observed",
        "known",
        "known_categories",
        "static",
        "static_categories",
        "series_id",
    )
    citation = (
        "Lim, Arik, Loeff, Pfister, Temporal Fusion Transformers for Interpretable "
        "Multi-horizon Time Series Forecasting, International Journal of Forecasting "
        "2021, arXiv 1912.09363"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 2),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 32,
        num_heads: int = 4,
        num_layers: int = 1,
        dropout: float = 0.1,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.dropout = dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self, "d_model", "num_heads", "num_layers", probabilities=["dropout"]
        )
        return _TFT(self, data)


class _TFT(nn.Module):
    def __init__(self, params: TFT, data: DataSpec) -> None:
        super().__init__()
        width, dropout = params.d_model, params.dropout
        n_known, counts = data.n_known, data.known_category_counts
        known = _names(data.known_names, n_known + len(counts), "known")
        self.has_known = bool(known)
        if not known:
            n_known, known = 1, ("relative time",)
        channels = _names(data.channel_names, data.n_channels, "channel")
        self.embed_channels = VariableTokens(len(channels), (), width, missing=True)
        self.embed_known = VariableTokens(n_known, counts, width)

        statics = data.n_static + len(data.static_category_counts) + data.n_series
        self.contexts = _Contexts(data, width, dropout) if statics else None
        select = partial(
            VariableSelection, d_model=width, context=statics > 0, dropout=dropout
        )
        self.select_past = select(channels + known, layer="past", steps="time")
        self.select_future = select(known, layer="future", steps="horizon")
        self.encoder = StatefulLSTM(width, width, params.num_layers, dropout)
        self.decoder = StatefulLSTM(width, width, params.num_layers, dropout)
        self.gate_local = GatedAddNorm(width, width, dropout=dropout)
        self.enrich = GatedResidual(
            width, width, context_features=width if statics else 0, dropout=dropout
        )
        self.attention = InterpretableAttention(
            width,
            params.num_heads,
            layer="attention",
            queries="horizon",
            keys=("time", "horizon"),
        )
        self.gate_attention = GatedAddNorm(width, width, dropout=dropout)
        self.feed_forward = GatedResidual(width, width, dropout=dropout)
        self.gate_output = GatedAddNorm(width, width, dropout=dropout)
        self.head = nn.Linear(width, data.n_targets * data.n_parameters)
        self.horizon, self.n_parameters = data.horizon, data.n_parameters

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        known: Tensor | None = None,
        known_categories: Tensor | None = None,
        static: Tensor | None = None,
        static_categories: Tensor | None = None,
        series_id: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        length = x.shape[-1]
        if not self.has_known:
            known = _relative_time(x, self.horizon)
        channels = self.embed_channels(x, observed=observed)
        known = self.embed_known(known, known_categories)
        past = torch.cat([channels, known[:, :, :length]])
        future = known[:, :, length:]  # (known, batch, horizon, d_model)

        select = enrich = start = None
        if self.contexts is not None:
            select, enrich, hidden, cell = self.contexts(
                static, static_categories, series_id
            )  # each (batch, 1, d_model)
            start = [(hidden[:, 0], cell[:, 0])] * len(self.encoder.layers)
        past = self.select_past(past, select, mask)  # (batch, length, d_model)
        future = self.select_future(future, select)  # (batch, horizon, d_model)

        encoded, state = self.encoder(past, start, mask)
        decoded, _ = self.decoder(future, state)
        local = self.gate_local(
            torch.cat([encoded, decoded], dim=1), torch.cat([past, future], dim=1)
        )
        enriched = self.enrich(local, enrich)  # (batch, length + horizon, d_model)
        h = enriched[:, length:]
        h = self.gate_attention(self.attention(h, enriched, mask), h)
        h = self.gate_output(self.feed_forward(h), local[:, length:])

        scores = self.head(h).unflatten(-1, (-1, self.n_parameters)).transpose(1, 2)
        return scores if self.n_parameters > 1 else scores[..., 0]


class _Contexts(nn.Module):
    """Contexts for selection, enrichment, first hidden and cell state."""

    def __init__(self, data: DataSpec, width: int, dropout: float) -> None:
        super().__init__()
        counts = data.static_category_counts
        names = _names(data.static_names, data.n_static + len(counts), "static")
        if data.n_series:
            counts, names = counts + (data.n_series,), names + ("series",)
        self.embed = VariableTokens(data.n_static, counts, width)
        self.select = VariableSelection(
            names, width, dropout=dropout, layer="static", steps="static"
        )
        self.encode = GatedResidual(width, width, dropout=dropout, groups=4)

    def forward(
        self,
        static: Tensor | None,
        static_categories: Tensor | None,
        series_id: Tensor | None,
    ) -> Tensor:
        """Encode a batch: (4, batch, 1, d_model)."""
        numbers = None if static is None else static[..., None]
        codes = [] if static_categories is None else [static_categories]
        if series_id is not None:
            codes.append(series_id[:, None])
        joined = torch.cat(codes, dim=1)[..., None] if codes else None
        tokens = self.embed(numbers, joined)  # (variables, batch, 1, d_model)
        return self.encode(self.select(tokens).expand(4, -1, -1, -1))


def _relative_time(x: Tensor, horizon: int) -> Tensor:
    """Count steps from the forecast's origin, in units of the longer side."""
    length = x.shape[-1]
    steps = torch.arange(1 - length, horizon + 1, device=x.device)
    return (steps.to(x.dtype) / max(length, horizon)).expand(len(x), 1, -1)


def _names(given: tuple[str, ...], count: int, kind: str) -> tuple[str, ...]:
    return given or tuple(f"{kind} {number}" for number in range(count))
