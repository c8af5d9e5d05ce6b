"""TimeXer: patches of the targets, and attention to whole covariates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    Axis,
    HorizonHead,
    LeanDropout,
    MultiheadAttention,
    Patches,
    PatchTokens,
    VariateTokens,
    check_sizes,
    grouped_attention,
    sinusoidal_positions,
)


class TimeXer(Architecture):
    r"""Patches of each target, joined to the covariates by a global token.

    Each target :math:`c` has tokens :math:`P_c` of its patches, which do not overlap,
    with sinusoidal positions, and a learned global token :math:`g_c`. All other series
    enter as one token each: :math:`V = [W_v x_v + b_v]_v`. In each block

    .. math:: [g'_c; P'_c] = \mathrm{LN}([g_c; P_c] +
              \mathrm{MultiHead}([g_c; P_c])), \quad
              g''_c = \mathrm{LN}(g'_c + \mathrm{MultiHead}(g'_c, V))

    .. math:: [g_c; P_c] \leftarrow \mathrm{LN}([g''_c; P'_c] +
              \mathrm{FFN}([g''_c; P'_c]))

    and a linear map of all of a target's tokens, after a last norm, forecasts it. The
    series in :math:`V` are all targets, as in the multivariate mode of the paper's
    code, covariates of the past, and covariates that are known in the future, over
    window and horizon.

    Parameters
    ----------
    d_model : int, default=32
        Width of a token; a multiple of `num_heads`. The paper takes 128 to 512.
    num_heads : int, default=4
        Heads of each attention layer, 8 in the paper.
    num_layers : int, default=2
        Blocks, 1 to 3 in the paper.
    d_ff : int or None, default=None
        Hidden units of the feed-forward nets; None takes twice `d_model`.
    dropout : float, default=0.1
        Probability of dropping a unit of the tokens, of each branch, of the
        feed-forward nets or of what is forecast from. Attention weights are not
        dropped.
    patch_length : int, default=16
        Steps of a patch, at most half of the window.

    References
    ----------
    Wang, Wu, Dong, Qin, Zhang, Liu, Qiu, Wang, Long, "TimeXer: Empowering Transformers
    for Time Series Forecasting with Exogenous Variables", NeurIPS 2024, arXiv
    2402.19072.

    Examples
    --------
    >>> from skattn import AttentionForecaster
    >>> from skattn.architectures import TimeXer
    >>> AttentionForecaster(TimeXer(patch_length=24), window_length=168).architecture
    TimeXer(patch_length=24)
    """

    api_version = 1
    name = "timexer"
    supports = {"series": {"forecasting"}}
    consumes = ("observed", "mask", "known", "known_categories")
    citation = (
        "Wang, Wu, Dong, Qin, Zhang, Liu, Qiu, Wang, Long, TimeXer: Empowering "
        "Transformers for Time Series Forecasting with Exogenous Variables, NeurIPS "
        "2024, arXiv 2402.19072"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 3),
        "dropout": Float(0.0, 0.5),
        "patch_length": Choice(4, 8, 16, 24),
    }

    def __init__(
        self,
        d_model: int = 32,
        num_heads: int = 4,
        num_layers: int = 2,
        d_ff: int | None = None,
        dropout: float = 0.1,
        patch_length: int = 16,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.patch_length = patch_length

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_heads",
            "num_layers",
            "d_ff",
            "patch_length",
            probabilities=["dropout"],
        )
        return _TimeXer(self, data)


class _TimeXer(nn.Module):
    def __init__(self, params: TimeXer, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        self.n_targets = data.n_targets
        self.patches = PatchTokens(
            data, width, params.patch_length, params.patch_length
        )
        self.variates = VariateTokens(data, width)
        self.global_token = nn.Parameter(torch.randn(data.n_targets, 1, width))
        self.dropout = LeanDropout(params.dropout)
        self.blocks = nn.ModuleList(
            _Block(params, f"blocks.{number}", self.patches.axis, self.variates.axis)
            for number in range(params.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        features = (self.patches.n_patches + 1) * width
        self.head = HorizonHead(data, features, params.dropout)

    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        mask: Tensor | None = None,
        known: Tensor | None = None,
        known_categories: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        variates = self.variates(x, observed, mask, known, known_categories)
        variates = self.dropout(variates)  # (batch, variates, d_model)
        own = None if observed is None else observed[:, : self.n_targets]
        h, mask = self.patches(x[:, : self.n_targets], own, mask)
        steps = torch.arange(h.shape[2], device=h.device)[None]
        h = h + sinusoidal_positions(steps, h.shape[3]).to(h.dtype)
        token = self.global_token.expand(len(h), -1, -1, -1)
        h = self.dropout(torch.cat([token, h], dim=2))
        if mask is not None:
            mask = functional.pad(mask, (1, 0), value=True)
        for block in self.blocks:
            h = block(h, variates, mask)  # (batch, n_targets, 1 + patches, d_model)
        h = self.norm(h)
        if mask is not None:
            h = torch.where(mask[:, None, :, None], h, 0.0)
        return self.head(h.flatten(2))


class _Block(nn.Module):
    def __init__(
        self, params: TimeXer, layer: str, patches: Patches, variates: Axis
    ) -> None:
        super().__init__()
        width = params.d_model
        names = ("global", patches)
        self.attention = MultiheadAttention(
            width, params.num_heads, layer=layer, queries=names, keys=names
        )
        self.norm_attention = nn.LayerNorm(width)
        self.cross_attention = MultiheadAttention(
            width,
            params.num_heads,
            layer=layer,
            kind="cross",
            queries="channels",
            keys=variates,
        )
        self.norm_cross_attention = nn.LayerNorm(width)
        d_ff = 2 * width if params.d_ff is None else params.d_ff
        self.feed_forward = nn.Sequential(
            nn.Linear(width, d_ff),
            nn.GELU(),
            LeanDropout(params.dropout),
            nn.Linear(d_ff, width),
        )
        self.norm_feed_forward = nn.LayerNorm(width)
        self.dropout = LeanDropout(params.dropout)

    def forward(self, h: Tensor, variates: Tensor, mask: Tensor | None) -> Tensor:
        """Transform the tokens of all targets."""
        attended = grouped_attention(self.attention, h, mask)
        h = self.norm_attention(h + self.dropout(attended))
        token = h[:, :, 0]  # (batch, n_targets, d_model)
        crossed = self.dropout(self.cross_attention(token, variates))
        token = self.norm_cross_attention(token + crossed)
        h = torch.cat([token[:, :, None], h[:, :, 1:]], dim=2)
        return self.norm_feed_forward(h + self.dropout(self.feed_forward(h)))
