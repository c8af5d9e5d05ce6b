"""An LSTM that reads, an LSTM that forecasts, and attention from one to the other."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Real

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    KnownTokens,
    LeanDropout,
    MaskedLSTM,
    ScoreHead,
    Tokens,
    check_sizes,
    last_step,
    masked_softmax,
    record,
)

_SCORES = ("additive", "dot", "general")


class LSTMSeq2Seq(Architecture):
    r"""Encoder-decoder LSTM with attention, fed with its own forecasts.

    .. math:: h_1, \dots, h_L &= \mathrm{LSTM}_e(x_1, \dots, x_L) \\
              s_j &= \mathrm{LSTM}_d(s_{j-1}, W_f \hat y_{j-1} + k_{L+j}), \quad
              s_0 = \tanh(W_0 h_L) \\
              \alpha_{ji} &= \mathrm{softmax}_i(\mathrm{score}(s_j, h_i)), \quad
              c_j = \sum_i \alpha_{ji} h_i \\
              \hat y_j &= W \tanh(W_c [c_j; s_j]) + b

    where :math:`\hat y_0` is the last value of the window, :math:`k` embeds what is
    known in advance of a step, and the score is one of

    - ``"additive"``: :math:`v^\top \tanh(W_s s_j + W_h h_i)` (Bahdanau et al.),
    - ``"dot"``: :math:`s_j^\top h_i / \sqrt d` (Luong et al., scaled),
    - ``"general"``: :math:`s_j^\top W_h h_i / \sqrt d` (Luong et al., scaled).

    As in Luong et al. the new state asks, not the one before it, so that with teacher
    forcing all steps run at once. Of a distribution the location is fed back.

    Parameters
    ----------
    d_model : int, default=64
        Width of tokens and states; 1000 in both papers.
    num_layers : int, default=1
        Stacked LSTM layers, of the encoder and of the decoder.
    score : {"additive", "dot", "general"}, default="additive"
        How a state of the decoder and one of the encoder are compared.
    teacher_forcing : float, default=0.5
        Probability that a training batch is fed with the true values instead of the
        forecasts, from 0 to 1. The papers force always; the net then never meets its
        own errors.
    dropout : float, default=0.1
        Probability of dropping a unit of the tokens and of the last representation.

    References
    ----------
    Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate", ICLR 2015, arXiv 1409.0473.
    Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine
    Translation", EMNLP 2015, arXiv 1508.04025.
    Bengio, Vinyals, Jaitly, Shazeer, "Scheduled Sampling for Sequence Prediction with
    Recurrent Neural Networks", NeurIPS 2015, arXiv 1506.03099.

    Examples
    --------
    >>> from skattn import AttentionForecaster
    >>> from skattn.architectures import LSTMSeq2Seq
    >>> AttentionForecaster(LSTMSeq2Seq(score="dot")).architecture
    LSTMSeq2Seq(score='dot')
    """

    api_version = 1
    name = "lstm_seq2seq"
    supports = {"series": {"forecasting"}}
    consumes = ("mask", "observed", "known", "known_categories", "target")
    citation = (
        "Bahdanau, Cho, Bengio, Neural Machine Translation by Jointly Learning to "
        "Align and Translate, ICLR 2015, arXiv 1409.0473"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_layers": Int(1, 3),
        "score": Choice(*_SCORES),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_layers: int = 1,
        score: str = "additive",
        teacher_forcing: float = 0.5,
        dropout: float = 0.1,
    ) -> None:
        self.d_model = d_model
        self.num_layers = num_layers
        self.score = score
        self.teacher_forcing = teacher_forcing
        self.dropout = dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(self, "d_model", "num_layers", probabilities=["dropout"])
        if self.score not in _SCORES:
            raise ValueError(
                f"score={self.score!r} of LSTMSeq2Seq must be one of "
                f"{', '.join(map(repr, _SCORES))}."
            )
        forcing = self.teacher_forcing
        if not (isinstance(forcing, Real) and 0 <= float(forcing) <= 1):
            raise ValueError(
                f"teacher_forcing={forcing!r} of LSTMSeq2Seq must be a number from 0 "
                "to 1."
            )
        return _LSTMSeq2Seq(self, data)


class _Attention(nn.Module):
    """Attention of the decoder's states to the encoder's."""

    def __init__(self, score: str, width: int) -> None:
        super().__init__()
        self.is_additive = score == "additive"
        self.project_key = (
            nn.Identity() if score == "dot" else nn.Linear(width, width, bias=False)
        )
        if self.is_additive:
            self.project_query = nn.Linear(width, width, bias=False)
            self.vector = nn.Parameter(torch.empty(width))
            nn.init.normal_(self.vector, std=width**-0.5)

    def forward(self, states: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        """Weigh each projected key for each state: (batch, states, keys)."""
        if self.is_additive:
            joint = self.project_query(states)[:, :, None] + key[:, None]
            scores = joint.tanh() @ self.vector
        else:
            scores = states @ key.transpose(1, 2) / math.sqrt(key.shape[-1])
        return masked_softmax(scores, None if mask is None else mask[:, None])


class _LSTMSeq2Seq(nn.Module):
    def __init__(self, params: LSTMSeq2Seq, data: DataSpec) -> None:
        super().__init__()
        width, depth = params.d_model, params.num_layers
        between = params.dropout if depth > 1 else 0.0
        self.data = data
        self.teacher_forcing = params.teacher_forcing
        self.tokens = Tokens(data, width)
        self.known = KnownTokens(data, width)
        self.encoder = MaskedLSTM(width, width, depth, dropout=params.dropout)
        self.norm = nn.LayerNorm(width)
        self.bridge = nn.Linear(width, 2 * depth * width)
        self.feed = nn.Linear(data.n_targets, width)
        self.decoder = nn.LSTM(width, width, depth, batch_first=True, dropout=between)
        self.attention = _Attention(params.score, width)
        self.combine = nn.Linear(2 * width, width)
        self.dropout = LeanDropout(params.dropout)
        self.head = ScoreHead(replace(data, horizon=1), width)  # alike for all steps

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        known: Tensor | None = None,
        known_categories: Tensor | None = None,
        target: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        data = self.data
        covariates = self.known(known, known_categories).expand(x.shape[0], -1, -1)
        past, future = covariates.split([data.length, data.horizon], dim=1)
        tokens = self.dropout(self.tokens(x, observed, mask=mask) + past)
        memory = self.norm(self.encoder(tokens, mask))  # (batch, length, d_model)
        key = self.attention.project_key(memory)
        state = self.start(last_step(memory, mask))
        fed = x[:, : data.n_targets, -1:]  # (batch, n_targets, 1)
        if observed is not None:
            fed = torch.where(observed[:, : data.n_targets, -1:], fed, 0.0)
        if target is not None and self.training and self.is_forced():
            fed, steps = torch.cat([fed, target[..., :-1]], dim=-1), [future]
        else:
            steps = list(future.split(1, dim=1))
        scores: list[Tensor] = []
        for ahead in steps:
            states, state = self.decoder(self.feed(fed.transpose(1, 2)) + ahead, state)
            weights = record(
                self.attention(states, key, mask)[:, None],
                layer="decoder",
                kind="cross",
                queries="horizon",
                keys="time",
                mask=None if mask is None else mask[:, None, None],
                values=memory[:, None],
                first_query=len(scores),
            )[:, 0]
            joined = torch.cat([weights @ memory, states], dim=-1)
            h = self.dropout(self.combine(joined).tanh())  # (batch, k, d_model)
            scores.append(self.head(h).squeeze(3).movedim(1, 2))
            fed = scores[-1][..., 0] if data.n_parameters > 1 else scores[-1]
        return torch.cat(scores, dim=2)  # (batch, n_targets, horizon, ...)

    def start(self, last: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the last state (batch, 1, d_model) into the decoder's first ones."""
        both = self.bridge(last).tanh().unflatten(-1, (2, -1, last.shape[-1]))
        hidden, cell = both[:, 0].permute(1, 2, 0, 3)  # (2, layers, batch, d_model)
        return hidden.contiguous(), cell.contiguous()

    def is_forced(self) -> bool:
        """Toss a coin for the batch."""
        return bool(torch.rand(()) < self.teacher_forcing)
