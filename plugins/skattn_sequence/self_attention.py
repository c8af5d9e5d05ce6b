"""Multi-head self-attention over columns, time steps or words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    EncoderBlock,
    LeanDropout,
    ScoreHead,
    Tokens,
    check_sizes,
    sinusoidal_positions,
    step_positions,
)


class SelfAttention(Architecture):
    r"""Multi-head self-attention, read out by an extra token.

    .. math:: H_0 = [c; t_1; \dots; t_n], \quad
              H_l = \mathrm{Block}_l(H_{l-1}), \quad
              s = W\, \mathrm{LN}(H_L)_c + b

    with pre-norm Transformer blocks (`skattn.nn.EncoderBlock`). The tokens
    :math:`t_i` are the columns of a table, as in the FT-Transformer, the steps of a
    series or the tokens of a text, these two with sinusoidal positions; embedded
    tokens of a text are scaled by :math:`\sqrt{d}`, as in the Transformer. The last
    block computes only the token :math:`c`, which alone is read. Where each token of a
    text has scores of its own (tags, or the words under masked tokens) there is no
    :math:`c`, and every token is read.

    Parameters
    ----------
    d_model : int, default=32
        Width of a token; a multiple of `num_heads`.
    num_heads : int, default=4
        Heads of each attention layer.
    num_layers : int, default=2
        Blocks.
    d_ff : int or None, default=None
        Hidden units of the feed-forward nets; None takes twice `d_model`.
    dropout : float, default=0.1
        Probability of dropping a unit of each branch; attention weights are not
        dropped.
    embedding_dropout : float, default=0.3
        Probability of dropping a unit of an embedded token of a text; tables and series
        do without.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762.
    Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021,
    arXiv 2106.11959.

    Examples
    --------
    >>> from skattn import AttentionClassifier
    >>> from skattn.architectures import SelfAttention
    >>> AttentionClassifier(SelfAttention(num_heads=8)).architecture
    SelfAttention(num_heads=8)
    """

    api_version = 1
    name = "self_attention"
    supports = {
        "table": {"classification", "regression"},
        "series": {"classification", "regression", "forecasting"},
        "tokens": {"classification", "regression", "tagging", "token_prediction"},
    }
    consumes = ("observed", "categories", "mask")
    citation = (
        "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin, "
        "Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 4),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 32,
        num_heads: int = 4,
        num_layers: int = 2,
        d_ff: int | None = None,
        dropout: float = 0.1,
        embedding_dropout: float = 0.3,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.embedding_dropout = embedding_dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_heads",
            "num_layers",
            "d_ff",
            probabilities=["dropout", "embedding_dropout"],
        )
        return _OfText(self, data) if data.input == "tokens" else _OfValues(self, data)


class _Encoder(nn.Module):
    """Blocks over tokens; all of them are read, or one that stands in front."""

    def __init__(self, params: SelfAttention, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        self.tokens = Tokens(data, width)
        names: str | tuple[str, ...] = self.tokens.axis
        self.cls = None
        if data.task not in ("tagging", "token_prediction"):
            names = ("cls", self.tokens.axis)
            self.cls = nn.Parameter(torch.empty(width))
            nn.init.normal_(self.cls, std=0.1)
        last = params.num_layers - 1
        self.blocks = nn.ModuleList(
            EncoderBlock(
                width,
                params.num_heads,
                d_ff=2 * width if params.d_ff is None else params.d_ff,
                dropout=params.dropout,
                layer=f"blocks.{number}",
                tokens=names,
                queries="cls" if number == last and self.cls is not None else None,
            )
            for number in range(params.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = ScoreHead(data, width)

    def score(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Transform tokens (batch, tokens, d_model) and read them."""
        if self.cls is None:
            for block in self.blocks:
                h = block(h, mask)
            return self.head(self.norm(h))
        h = torch.cat([self.cls.expand(len(h), 1, -1), h], dim=1)
        if mask is not None:
            mask = functional.pad(mask, (1, 0), value=True)
        for block in self.blocks[:-1]:
            h = block(h, mask)
        h = self.blocks[-1](h, mask, n_queries=1)[:, 0]  # (batch, d_model)
        return self.head(self.norm(h))


class _OfValues(_Encoder):
    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        categories: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h = self.tokens(x, observed, categories, mask)  # (batch, tokens, d_model)
        if self.tokens.axis == "time":
            h = h + sinusoidal_positions(step_positions(h, mask), h.shape[-1])
        return self.score(h, mask)


class _OfText(_Encoder):
    def __init__(self, params: SelfAttention, data: DataSpec) -> None:
        super().__init__(params, data)
        self.dropout = LeanDropout(params.embedding_dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h = self.tokens(tokens, mask=mask)  # (batch, length, d_model)
        h = h * h.shape[-1] ** 0.5
        h = h + sinusoidal_positions(step_positions(h, mask), h.shape[-1])
        return self.score(self.dropout(h), mask)
