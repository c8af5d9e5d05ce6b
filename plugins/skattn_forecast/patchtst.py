"""PatchTST: attention over patches of each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    HorizonHead,
    LeanDropout,
    PatchTokens,
    PostNormBlock,
    ScoreHead,
    check_sizes,
    masked_mean,
)


class PatchTST(Architecture):
    r"""Patch time series Transformer, with weights shared by all channels.

    Each channel :math:`x_c` is a sample of its own. Patches of :math:`P` steps, a
    stride :math:`S` apart, become tokens,

    .. math:: H_{c,0} = \left[W_p \, x_{c, iS : iS + P} + b + e_i\right]_{i=1}^N, \quad
              N = \left\lfloor (L - P) / S \right\rfloor + 2

    with learned positions :math:`e_i`; the last value is repeated to fill the last
    patch. Blocks are post-norm with batch normalisation over all tokens, and one linear
    map of all tokens of a channel forecasts that channel:

    .. math:: H' = \mathrm{BN}(H + \mathrm{MultiHead}(H)), \quad
              H_l = \mathrm{BN}(H' + \mathrm{FFN}(H')), \quad
              \hat{y}_c = W_o \, \mathrm{vec}(H_{c,n}) + b_o

    Classes and numbers are scored from the mean token of each channel. The paper's code
    also adds the attention scores of the block before to those of a block; that is left
    out here.

    Parameters
    ----------
    d_model : int, default=32
        Width of a token; a multiple of `num_heads`. The paper takes 128, and 16 for
        small data sets such as ETTh.
    num_heads : int, default=4
        Heads of each attention layer. The paper takes 16, and 4 for ETTh.
    num_layers : int, default=3
        Blocks, 3 in the paper.
    d_ff : int or None, default=None
        Hidden units of the feed-forward nets; None takes twice `d_model`. The paper
        takes 256, and 128 for ETTh.
    dropout : float, default=0.1
        Probability of dropping a unit of the tokens, of each branch or of the
        feed-forward nets; 0.2 in the paper, 0.3 for ETTh. Attention weights are not
        dropped.
    head_dropout : float, default=0.0
        Probability of dropping a unit before the last map.
    patch_length : int, default=16
        Steps of a patch, at most half of the window.
    stride : int, default=8
        Steps from one patch to the next, at most `patch_length`; shortened in
        proportion where the patches are.

    References
    ----------
    Nie, Nguyen, Sinthong, Kalagnanam, "A Time Series is Worth 64 Words: Long-term
    Forecasting with Transformers", ICLR 2023, arXiv 2211.14730.

    Examples
    --------
    >>> from skattn import AttentionForecaster
    >>> from skattn.architectures import PatchTST
    >>> AttentionForecaster(PatchTST(num_layers=2), window_length=96).architecture
    PatchTST(num_layers=2)
    """

    api_version = 1
    name = "patchtst"
    supports = {"series": {"classification", "regression", "forecasting"}}
    consumes = ("observed", "mask")
    past_covariates = False
    citation = (
        "Nie, Nguyen, Sinthong, Kalagnanam, A Time Series is Worth 64 Words: Long-term "
        "Forecasting with Transformers, ICLR 2023, arXiv 2211.14730"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 4),
        "dropout": Float(0.0, 0.5),
        "patch_length": Choice(8, 16, 32),
        "stride": Choice(4, 8),
    }

    def __init__(
        self,
        d_model: int = 32,
        num_heads: int = 4,
        num_layers: int = 3,
        d_ff: int | None = None,
        dropout: float = 0.1,
        head_dropout: float = 0.0,
        patch_length: int = 16,
        stride: int = 8,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.head_dropout = head_dropout
        self.patch_length = patch_length
        self.stride = stride

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_heads",
            "num_layers",
            "d_ff",
            "patch_length",
            "stride",
            probabilities=["dropout", "head_dropout"],
        )
        return _PatchTST(self, data)


class _PatchTST(nn.Module):
    def __init__(self, params: PatchTST, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        self.patches = PatchTokens(
            data, width, params.patch_length, params.stride, extra_patch=True
        )
        self.positions = nn.Parameter(torch.empty(self.patches.n_patches, width))
        nn.init.uniform_(self.positions, -0.02, 0.02)
        self.dropout = LeanDropout(params.dropout)
        self.blocks = nn.ModuleList(
            PostNormBlock(
                width,
                params.num_heads,
                d_ff=2 * width if params.d_ff is None else params.d_ff,
                dropout=params.dropout,
                layer=f"blocks.{number}",
                tokens=self.patches.axis,
                batch_norm=True,
            )
            for number in range(params.num_layers)
        )
        self.is_forecast = data.task == "forecasting"
        self.head: nn.Module
        if self.is_forecast:
            features = self.patches.n_patches * width
            self.head = HorizonHead(data, features, params.head_dropout)
        else:
            linear = ScoreHead(data, data.n_channels * width)
            self.head = nn.Sequential(LeanDropout(params.head_dropout), linear)

    def forward(
        self, x: Tensor, observed: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h, mask = self.patches(x, observed, mask)  # (batch, channels, patches, d_model)
        h = self.dropout(h + self.first_positions(h.shape[2]))
        for block in self.blocks:
            h = block(h, mask)
        if not self.is_forecast:
            tokens = h.transpose(1, 2).flatten(2)  # (batch, patches, channels d_model)
            return self.head(masked_mean(tokens, mask))
        if mask is not None:
            h = torch.where(mask[:, None, :, None], h, 0.0)
        return self.head(h.flatten(2))

    def first_positions(self, count: int) -> Tensor:
        """Take so many positions; the last one serves all beyond it."""
        index = torch.arange(count, device=self.positions.device)
        return self.positions[index.clamp(max=len(self.positions) - 1)]
