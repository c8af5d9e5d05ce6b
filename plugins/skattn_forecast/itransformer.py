"""iTransformer: attention over whole series, one token each."""

from __future__ import annotations

from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    HorizonHead,
    LeanDropout,
    PostNormBlock,
    ScoreHead,
    VariateTokens,
    check_sizes,
)


class ITransformer(Architecture):
    r"""Inverted Transformer: each token is a whole series, and attention is among them.

    .. math:: h_{v,0} = W_e \, x_{v,1:L} + b_e, \quad
              H' = \mathrm{LN}(H + \mathrm{MultiHead}(H)), \quad
              H_l = \mathrm{LN}(H' + \mathrm{FFN}(H'))

    .. math:: \hat{y}_v = W_o \, \mathrm{LN}(h_{v,n}) + b_o

    The variates :math:`v` are the targets, then covariates of the past. Covariates that
    are known in the future have tokens of their own, as the time stamps have in the
    paper's code; here they are embedded over window and horizon. Only the tokens of the
    targets are read. Classes and numbers are scored from the tokens of all channels.

    Parameters
    ----------
    d_model : int, default=64
        Width of a token; a multiple of `num_heads`. The paper takes 256 and 512.
    num_heads : int, default=4
        Heads of each attention layer, 8 in the paper.
    num_layers : int, default=2
        Blocks, 2 to 4 in the paper.
    d_ff : int or None, default=None
        Hidden units of the feed-forward nets; None takes twice `d_model`. The paper
        takes `d_model`.
    dropout : float, default=0.1
        Probability of dropping a unit of the tokens, of each branch or of the
        feed-forward nets. Attention weights are not dropped.

    References
    ----------
    Liu, Hu, Zhang, Wu, Wang, Ma, Long, "iTransformer: Inverted Transformers Are
    Effective for Time Series Forecasting", ICLR 2024, arXiv 2310.06625.

    Examples
    --------
    >>> from skattn import AttentionForecaster
    >>> from skattn.architectures import ITransformer
    >>> AttentionForecaster(ITransformer(d_model=128), window_length=96).architecture
    ITransformer(d_model=128)
    """

    api_version = 1
    name = "itransformer"
    supports = {"series": {"classification", "regression", "forecasting"}}
    consumes = ("observed", "mask", "known", "known_categories")
    citation = (
        "Liu, Hu, Zhang, Wu, Wang, Ma, Long, iTransformer: Inverted Transformers Are "
        "Effective for Time Series Forecasting, ICLR 2024, arXiv 2310.06625"
    )
    search_space = {
        "d_model": Choice(32, 64, 128, 256),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 4),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_heads: int = 4,
        num_layers: int = 2,
        d_ff: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.dropout = dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_heads",
            "num_layers",
            "d_ff",
            probabilities=["dropout"],
        )
        return _ITransformer(self, data)


class _ITransformer(nn.Module):
    def __init__(self, params: ITransformer, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        self.variates = VariateTokens(data, width)
        self.dropout = LeanDropout(params.dropout)
        self.blocks = nn.ModuleList(
            PostNormBlock(
                width,
                params.num_heads,
                d_ff=2 * width if params.d_ff is None else params.d_ff,
                dropout=params.dropout,
                layer=f"blocks.{number}",
                tokens=self.variates.axis,
            )
            for number in range(params.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.n_targets = data.n_targets
        self.is_forecast = data.task == "forecasting"
        self.head: nn.Module
        if self.is_forecast:
            self.head = HorizonHead(data, width)
        else:
            self.head = ScoreHead(data, data.n_channels * width)

    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        mask: Tensor | None = None,
        known: Tensor | None = None,
        known_categories: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h = self.variates(x, observed, mask, known, known_categories)
        h = self.dropout(h)[:, None]  # (batch, 1, variates, d_model)
        for block in self.blocks:
            h = block(h)
        h = self.norm(h[:, 0])
        if self.is_forecast:
            return self.head(h[:, : self.n_targets])
        return self.head(h.flatten(1))
