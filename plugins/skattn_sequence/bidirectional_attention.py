"""A bidirectional LSTM with additive attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    LeanDropout,
    MaskedLSTM,
    ScoreHead,
    Tokens,
    additive_attention,
    attention,
    check_sizes,
)


class BidirectionalAttention(Architecture):
    r"""Bidirectional LSTM, pooled by additive attention.

    .. math:: h_t = [\overrightarrow{h}_t; \overleftarrow{h}_t], \quad
              \alpha_t = \mathrm{softmax}_t(v^\top \tanh(W h_t + b)), \quad
              c = \sum_t \alpha_t h_t

    The scores are a linear map of :math:`c`. On a table the columns are read in their
    order, from both ends. Tags have scores of their own for each token :math:`t` of a
    text: there every state asks all states, by a product that long texts can afford,

    .. math:: \alpha_{ts} = \mathrm{softmax}_s((W_q h_t)^\top (W_k h_s) / \sqrt{d}),
              \quad c_t = \sum_s \alpha_{ts} h_s,

    and the scores are a linear map of :math:`[h_t; c_t]`.

    Parameters
    ----------
    d_model : int, default=64
        Width of tokens, and of both directions together; even.
    num_layers : int, default=1
        Stacked LSTM layers.
    dropout : float, default=0.1
        Probability of dropping a unit of the tokens and of the last representation.
    embedding_dropout : float, default=0.3
        The same for the tokens of a text, in place of `dropout`.

    References
    ----------
    Zhou, Shi, Tian, Qi, Li, Hao, Xu, "Attention-Based Bidirectional Long Short-Term
    Memory Networks for Relation Classification", ACL 2016; the score is that of
    Bahdanau, Cho, Bengio, ICLR 2015, arXiv 1409.0473.

    Examples
    --------
    >>> from skattn import AttentionClassifier
    >>> from skattn.architectures import BidirectionalAttention
    >>> AttentionClassifier(BidirectionalAttention(dropout=0.2)).architecture
    BidirectionalAttention(dropout=0.2)
    """

    api_version = 1
    name = "bidirectional_attention"
    supports = {
        "table": {"classification", "regression"},
        "series": {"classification", "regression", "forecasting"},
        "tokens": {"classification", "regression", "tagging"},
    }
    consumes = ("observed", "categories", "mask")
    citation = (
        "Zhou, Shi, Tian, Qi, Li, Hao, Xu, Attention-Based Bidirectional Long "
        "Short-Term Memory Networks for Relation Classification, ACL 2016"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_layers": Int(1, 3),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_layers: int = 1,
        dropout: float = 0.1,
        embedding_dropout: float = 0.3,
    ) -> None:
        self.d_model = d_model
        self.num_layers = num_layers
        self.dropout = dropout
        self.embedding_dropout = embedding_dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_layers",
            probabilities=["dropout", "embedding_dropout"],
        )
        if self.d_model % 2:
            raise ValueError(
                f"d_model={self.d_model} cannot be shared by two directions: choose an "
                "even number."
            )
        if data.task == "tagging":
            return _Tagger(self, data)
        return _OfText(self, data) if data.input == "tokens" else _OfValues(self, data)


class _States(nn.Module):
    """Bidirectional states of tokens."""

    def __init__(self, params: BidirectionalAttention, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        self.tokens = Tokens(data, width)
        self.lstm = MaskedLSTM(
            width,
            width // 2,
            params.num_layers,
            bidirectional=True,
            dropout=params.dropout,
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(params.dropout)

    def read(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Compute the states of tokens (batch, tokens, d_model)."""
        return self.norm(self.lstm(tokens, mask))


class _Pooled(_States):
    """Scores of a whole, where nothing asks: a query of zeros."""

    def __init__(self, params: BidirectionalAttention, data: DataSpec) -> None:
        super().__init__(params, data)
        width = params.d_model
        self.project_key = nn.Linear(width, width)
        self.score = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.score, std=width**-0.5)
        self.head = ScoreHead(data, width)

    def pool(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Compute scores of tokens (batch, tokens, d_model)."""
        states = self.read(tokens, mask)  # (batch, tokens, d_model)
        key = self.project_key(states)
        context = additive_attention(
            torch.zeros_like(key[:, :1]),
            key,
            states,
            self.score,
            mask=mask,
            layer="attention",
            queries="pooled",
            keys=self.tokens.axis,
        )[:, 0]  # (batch, d_model)
        return self.head(self.dropout(context))


class _OfValues(_Pooled):
    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        categories: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        return self.pool(self.dropout(self.tokens(x, observed, categories, mask)), mask)


class _OfText(_Pooled):
    def __init__(self, params: BidirectionalAttention, data: DataSpec) -> None:
        super().__init__(params, data)
        self.embedding_dropout = LeanDropout(params.embedding_dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        return self.pool(self.embedding_dropout(self.tokens(tokens, mask=mask)), mask)


class _Tagger(_States):
    """Scores of each token, whose state asks all states."""

    def __init__(self, params: BidirectionalAttention, data: DataSpec) -> None:
        super().__init__(params, data)
        width = params.d_model
        self.embedding_dropout = LeanDropout(params.embedding_dropout)
        self.project_query = nn.Linear(width, width, bias=False)
        self.project_key = nn.Linear(width, width, bias=False)
        self.head = ScoreHead(data, 2 * width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        states = self.read(self.embedding_dropout(self.tokens(tokens, mask=mask)), mask)
        context = attention(
            self.project_query(states)[:, None],
            self.project_key(states)[:, None],
            states[:, None],
            mask=mask,
            layer="attention",
            queries="tokens",
            keys="tokens",
        )[:, 0]  # (batch, tokens, d_model)
        return self.head(self.dropout(torch.cat([states, context], dim=-1)))
