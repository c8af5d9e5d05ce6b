"""The encoder-decoder Transformer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    DecoderBlock,
    EncoderBlock,
    KnownTokens,
    ScoreHead,
    Tokens,
    check_sizes,
    is_recording,
    masked_mean,
    sinusoidal_positions,
    step_positions,
)


class Transformer(Architecture):
    r"""Encoder over the past, decoder over the steps to forecast.

    .. math:: M = \mathrm{LN}(\mathrm{Encoder}(t_1, \dots, t_L)), \quad
              s_{L+1}, \dots, s_{L+H} = W\, \mathrm{LN}(\mathrm{Decoder}(
              q_1, \dots, q_H;\, M)) + b

    with pre-norm blocks (`skattn.nn.EncoderBlock`, `skattn.nn.DecoderBlock`) and
    sinusoidal positions that run on from the window into the future. Covariates that
    are known in advance are added to the tokens of their steps, :math:`t` and
    :math:`q`. What a step of the decoder is given is a matter of `decoding`:

    - ``"direct"``: :math:`q_j` is learned. All steps are forecast in one pass, and
      each sees all others.
    - ``"autoregressive"``: :math:`q_j = W_f\, \hat y_{j-1}`, the forecast before it,
      beginning with the last value of the window, and a step sees only those before
      it. While training, the true values stand in for the forecasts; the net never
      meets its own errors, which may grow over a long horizon. Of a distribution the
      location is fed back.

    In classification and regression the scores are a linear map of the mean of
    :math:`M` over time; there is no decoder.

    Parameters
    ----------
    d_model : int, default=32
        Width of a token, a multiple of `num_heads`; 512 in the paper.
    num_heads : int, default=4
        Heads of each attention layer; 8 in the paper.
    num_layers : int, default=2
        Blocks of the encoder, and of the decoder; 6 in the paper.
    d_ff : int or None, default=None
        Hidden units of the feed-forward nets; None takes twice `d_model`, the paper
        four times.
    dropout : float, default=0.1
        Probability of dropping a unit of each branch; attention weights are not
        dropped.
    decoding : {"direct", "autoregressive"}, default="direct"
        How the steps of a forecast are made.

    References
    ----------
    Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin, "Attention Is
    All You Need", NeurIPS 2017, arXiv 1706.03762. Forecasting all steps in one pass is
    after Zhou et al., "Informer: Beyond Efficient Transformer for Long Sequence
    Time-Series Forecasting", AAAI 2021, arXiv 2012.07436.

    Examples
    --------
    >>> from skattn import AttentionForecaster
    >>> from skattn.architectures import Transformer
    >>> AttentionForecaster(Transformer(decoding="autoregressive")).architecture
    Transformer(decoding='autoregressive')
    """

    api_version = 1
    name = "transformer"
    supports = {"series": {"classification", "regression", "forecasting"}}
    consumes = ("mask", "observed", "known", "known_categories", "target")
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
        decoding: str = "direct",
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.decoding = decoding

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
        if self.decoding not in ("direct", "autoregressive"):
            raise ValueError(
                f"decoding={self.decoding!r} of Transformer must be 'direct' or "
                "'autoregressive'."
            )
        if data.task == "forecasting":
            return _Forecaster(self, data)
        return _Pooled(self, data)


class _Encoder(nn.Module):
    """Blocks of self-attention over tokens that know their positions."""

    def __init__(self, params: Transformer) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            EncoderBlock(
                params.d_model,
                params.num_heads,
                d_ff=2 * params.d_model if params.d_ff is None else params.d_ff,
                dropout=params.dropout,
                layer=f"encoder.{number}",
                tokens="time",
            )
            for number in range(params.num_layers)
        )
        self.norm = nn.LayerNorm(params.d_model)

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Transform tokens (batch, tokens, d_model)."""
        h = h + sinusoidal_positions(step_positions(h, mask), h.shape[-1])
        for block in self.blocks:
            h = block(h, mask)
        return self.norm(h)


class _Decoder(nn.Module):
    """Blocks of self-attention and attention to the encoder's output."""

    def __init__(self, params: Transformer) -> None:
        super().__init__()
        self.blocks: Any = nn.ModuleList(
            DecoderBlock(
                params.d_model,
                params.num_heads,
                d_ff=2 * params.d_model if params.d_ff is None else params.d_ff,
                dropout=params.dropout,
                layer=f"decoder.{number}",
                tokens="horizon",
                memory="time",
            )
            for number in range(params.num_layers)
        )
        self.norm = nn.LayerNorm(params.d_model)

    def forward(
        self, h: Tensor, memory: Tensor, mask: Tensor | None, causal: bool
    ) -> Tensor:
        """Transform all tokens (batch, tokens, d_model) at once."""
        for block in self.blocks:
            h = block(h, memory, mask, causal)
        return self.norm(h)

    def start(self, memory: Tensor) -> list[tuple[Tensor, ...]]:
        """Begin to transform token by token."""
        return [block.start(memory) for block in self.blocks]

    def step(
        self, h: Tensor, states: list[tuple[Tensor, ...]], mask: Tensor | None
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Transform the next token (batch, 1, d_model)."""
        following = []
        for block, state in zip(self.blocks, states, strict=True):
            h, state = block.step(h, state, mask)
            following.append(state)
        return self.norm(h), following


class _Pooled(nn.Module):
    def __init__(self, params: Transformer, data: DataSpec) -> None:
        super().__init__()
        self.tokens = Tokens(data, params.d_model)
        self.encoder = _Encoder(params)
        self.head = ScoreHead(data, params.d_model)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        memory = self.encoder(self.tokens(x, observed, mask=mask), mask)
        return self.head(masked_mean(memory, mask))


class _Forecaster(nn.Module):
    def __init__(self, params: Transformer, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        self.data = data
        self.tokens = Tokens(data, width)
        self.known = KnownTokens(data, width)
        self.encoder = _Encoder(params)
        self.decoder = _Decoder(params)
        self.is_direct = params.decoding == "direct"
        if self.is_direct:
            self.queries = nn.Parameter(torch.empty(data.horizon, width))
            nn.init.normal_(self.queries, std=0.1)
        else:
            self.feed = nn.Linear(data.n_targets, width)
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
        length, horizon = self.data.length, self.data.horizon
        covariates = self.known(known, known_categories)
        h = self.tokens(x, observed, mask=mask) + covariates[:, :length]
        memory = self.encoder(h, mask)  # (batch, length, d_model)
        positions = step_positions(h, mask)[:, -1:] + 1
        positions = positions + torch.arange(horizon, device=x.device)
        future = covariates[:, length:] + sinusoidal_positions(positions, h.shape[-1])
        if self.is_direct:
            queries = (self.queries + future).expand(x.shape[0], -1, -1)
            return self.score(self.decoder(queries, memory, mask, causal=False))
        first = x[:, : self.data.n_targets, -1:]  # (batch, n_targets, 1)
        if observed is not None:
            first = torch.where(observed[:, : self.data.n_targets, -1:], first, 0.0)
        if target is None:
            scores = self.generate(first, future, memory, mask)
            if not is_recording():
                return scores
            target = self.location(scores)  # once more, all steps at once
        fed = torch.cat([first, target[..., :-1]], dim=-1).transpose(1, 2)
        return self.score(self.decoder(self.feed(fed) + future, memory, mask, True))

    def generate(
        self, fed: Tensor, future: Tensor, memory: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Forecast step by step, each from the forecast before it."""
        states, scores = self.decoder.start(memory), []
        for step in range(self.data.horizon):
            h = self.feed(fed.transpose(1, 2)) + future[:, step : step + 1]
            h, states = self.decoder.step(h, states, mask)
            scores.append(self.score(h))
            fed = self.location(scores[-1])
        return torch.cat(scores, dim=2)

    def score(self, h: Tensor) -> Tensor:
        """Map steps (batch, k, d_model) to scores (batch, n_targets, k, ...)."""
        return self.head(h).squeeze(3).movedim(1, 2)

    def location(self, scores: Tensor) -> Tensor:
        """Take what is fed back: (batch, n_targets, k)."""
        return scores[..., 0] if self.data.n_parameters > 1 else scores
