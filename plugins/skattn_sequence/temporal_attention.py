"""An LSTM whose last state attends to all of its states."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    LeanDropout,
    MaskedLSTM,
    ScoreHead,
    Tokens,
    attention,
    check_sizes,
    last_step,
)


class TemporalAttention(Architecture):
    r"""LSTM, then attention over its time steps.

    .. math:: h_1, \dots, h_T = \mathrm{LSTM}(x_1, \dots, x_T), \quad
              \alpha_t = \mathrm{softmax}_t(q^\top k_t / \sqrt{d}), \quad
              c = \sum_t \alpha_t h_t

    with :math:`q = W_q h_T` and :math:`k_t = W_k h_t`; the scores are a linear map of
    :math:`[c; h_T]`. It is Luong's global attention with a general score, scaled, in
    which the last state asks. On a table the columns are read in their order, on a
    text its tokens.

    Parameters
    ----------
    d_model : int, default=64
        Width of tokens and states.
    num_layers : int, default=1
        Stacked LSTM layers.
    dropout : float, default=0.1
        Probability of dropping a unit of the tokens and of the last representation.
    embedding_dropout : float, default=0.3
        The same for the tokens of a text, in place of `dropout`.

    References
    ----------
    Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine
    Translation", EMNLP 2015, arXiv 1508.04025.

    Examples
    --------
    >>> from skattn import AttentionRegressor
    >>> from skattn.architectures import TemporalAttention
    >>> AttentionRegressor(TemporalAttention(d_model=32)).architecture
    TemporalAttention(d_model=32)
    """

    api_version = 1
    name = "temporal_attention"
    supports = {
        "table": {"classification", "regression"},
        "series": {"classification", "regression", "forecasting"},
        "tokens": {"classification", "regression"},
    }
    consumes = ("observed", "categories", "mask")
    citation = (
        "Luong, Pham, Manning, Effective Approaches to Attention-based Neural Machine "
        "Translation, EMNLP 2015, arXiv 1508.04025"
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
        return _OfText(self, data) if data.input == "tokens" else _OfValues(self, data)


class _Reader(nn.Module):
    def __init__(self, params: TemporalAttention, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        self.tokens = Tokens(data, width)
        self.lstm = MaskedLSTM(width, width, params.num_layers, dropout=params.dropout)
        self.norm = nn.LayerNorm(width)
        self.project_query = nn.Linear(width, width, bias=False)
        self.project_key = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(params.dropout)
        self.head = ScoreHead(data, 2 * width)

    def score(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Read tokens (batch, tokens, d_model) from the first to the last."""
        states = self.norm(self.lstm(tokens, mask))  # (batch, tokens, d_model)
        last = last_step(states, mask)  # (batch, 1, d_model)
        context = attention(
            self.project_query(last)[:, None],
            self.project_key(states)[:, None],
            states[:, None],
            mask=mask,
            layer="attention",
            kind="pooling",
            queries="last state",
            keys=self.tokens.axis,
        )[:, 0]  # (batch, 1, d_model)
        joined = torch.cat([context, last], dim=-1)[:, 0]  # (batch, 2 d_model)
        return self.head(self.dropout(joined))


class _OfValues(_Reader):
    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        categories: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        tokens = self.tokens(x, observed, categories, mask)
        return self.score(self.dropout(tokens), mask)


class _OfText(_Reader):
    def __init__(self, params: TemporalAttention, data: DataSpec) -> None:
        super().__init__(params, data)
        self.embedding_dropout = LeanDropout(params.embedding_dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        return self.score(self.embedding_dropout(self.tokens(tokens, mask=mask)), mask)
