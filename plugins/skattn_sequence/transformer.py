"""The encoder-decoder Transformer."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int, SpecialToken
from skattn.nn import (
    KnownTokens,
    LeanDropout,
    ScoreHead,
    TokenEmbedding,
    Tokens,
    check_sizes,
    masked_mean,
    sinusoidal_positions,
    step_positions,
    translation_maps,
)
from skattn_sequence._encoder_decoder import Decoder, Encoder, States, placed


class Transformer(Architecture):
    r"""Encoder over a text or the past, decoder over its translation or the future.

    .. math:: M = \mathrm{LN}(\mathrm{Encoder}(t_1, \dots, t_L)), \quad
              s_1, \dots, s_H = W\, \mathrm{LN}(\mathrm{Decoder}(
              q_1, \dots, q_H;\, M)) + b

    with pre-norm blocks (`skattn.nn.EncoderBlock`, `skattn.nn.DecoderBlock`) and
    sinusoidal positions added to all tokens. In translation :math:`t = \sqrt d\, E_s`
    embeds the source, :math:`q = \sqrt d\, E_t` the target up to a position, of which
    the scores :math:`s` are those of the token after it, and with tied embeddings
    :math:`W = E_t`. A translation is written token by token; keys and values of the
    tokens before are kept.

    In forecasting the positions run on from the window into the future. Covariates that
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
    :math:`M` over time, or over the tokens of a text; there is no decoder.

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
        Probability of dropping a unit of each branch, and of embedded texts; attention
        weights are not dropped.
    decoding : {"direct", "autoregressive"}, default="direct"
        How the steps of a forecast are made.
    tie_embeddings : bool, default=True
        Let the scores of a translation be products with the embeddings of the target's
        tokens, as in the paper; and where both languages have one vocabulary, let them
        have one embedding.

    Notes
    -----
    The defaults are for small data. For some ten thousand pairs of short sentences
    ``Transformer(d_model=256, num_heads=8, num_layers=3, d_ff=512, dropout=0.3)`` and
    the defaults of `skattn.AttentionTranslator` are a good start.

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
    supports = {
        "series": {"classification", "regression", "forecasting"},
        "tokens": {"classification", "regression", "translation"},
    }
    consumes = (
        "mask",
        "observed",
        "known",
        "known_categories",
        "target",
        "target_tokens",
    )
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
        tie_embeddings: bool = True,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.decoding = decoding
        self.tie_embeddings = tie_embeddings

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
        if not isinstance(self.tie_embeddings, bool):
            raise ValueError(
                f"tie_embeddings={self.tie_embeddings!r} of Transformer must be True "
                "or False."
            )
        if data.task == "translation":
            return _Translator(self, data)
        if data.task == "forecasting":
            return _Forecaster(self, data)
        return (_Texts if data.input == "tokens" else _Series)(self, data)


class _Series(nn.Module):
    def __init__(self, params: Transformer, data: DataSpec) -> None:
        super().__init__()
        self.tokens = Tokens(data, params.d_model)
        self.encoder = Encoder(params, "time")
        self.head = ScoreHead(data, params.d_model)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h = placed(self.tokens(x, observed, mask=mask), mask)
        memory = self.encoder(h, mask)  # (batch, length, d_model)
        return self.head(masked_mean(memory, mask))


class _Forecaster(nn.Module):
    def __init__(self, params: Transformer, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        self.data = data
        self.tokens = Tokens(data, width)
        self.known = KnownTokens(data, width)
        self.encoder = Encoder(params, "time")
        self.decoder = Decoder(params, "horizon", "time")
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
        memory = self.encoder(placed(h, mask), mask)  # (batch, length, d_model)
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
            return self.generate(first, future, memory, mask)
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


class _Texts(nn.Module):
    def __init__(self, params: Transformer, data: DataSpec) -> None:
        super().__init__()
        self.source = TokenEmbedding(data.vocabulary_size, params.d_model)
        self.dropout = LeanDropout(params.dropout)
        self.encoder = Encoder(params, "tokens")
        self.head = ScoreHead(data, params.d_model)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h = self.dropout(placed(self.source(tokens)))
        return self.head(masked_mean(self.encoder(h, mask), mask))


class _State(NamedTuple):
    position: int
    sentences: Tensor  # (batch,): which row of the memory each row goes on from
    mask: Tensor | None
    blocks: States


class _Translator(nn.Module):
    def __init__(self, params: Transformer, data: DataSpec) -> None:
        super().__init__()
        maps = translation_maps(data, params.d_model, params.tie_embeddings)
        self.source, self.target, self.head = maps
        self.dropout = LeanDropout(params.dropout)
        self.encoder = Encoder(params, "tokens")
        self.decoder = Decoder(params, "target_tokens", "tokens", given="given_tokens")

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        target_tokens: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        if target_tokens is None:  # the scores of the first token
            target_tokens = tokens.new_full((len(tokens), 1), SpecialToken.START)
        memory = self.encode(tokens, mask)
        h = self.dropout(placed(self.target(target_tokens)))
        return self.head(self.decoder(h, memory, mask, causal=True))

    def encode(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Transform the source: (batch, length, d_model)."""
        return self.encoder(self.dropout(placed(self.source(tokens))), mask)

    def start(self, tokens: Tensor, mask: Tensor | None = None) -> _State:
        """Begin to translate; see `Architecture`."""
        sentences = torch.arange(len(tokens), device=tokens.device)
        blocks = self.decoder.start(self.encode(tokens, mask))
        return _State(0, sentences, mask, blocks)

    def step(self, target_tokens: Tensor, state: _State) -> tuple[Tensor, _State]:
        """Score what follows one more token; see `Architecture`."""
        h = self.target(target_tokens[:, None])  # (batch, 1, d_model)
        position = torch.full_like(target_tokens[:1, None], state.position)
        h = h + sinusoidal_positions(position, h.shape[-1])
        h, blocks = self.decoder.step(h, state.blocks, state.mask)
        following = state._replace(position=state.position + 1, blocks=blocks)
        return self.head(h[:, 0]), following

    def reorder(self, state: _State, index: Tensor) -> _State:
        """Keep these rows; see `Architecture`."""
        sentences = state.sentences[index]
        if torch.equal(sentences, state.sentences):  # the memory stays as it is
            blocks = [
                (keys[index], values[index], *memory)
                for keys, values, *memory in state.blocks
            ]
            return state._replace(blocks=blocks)
        blocks = [tuple(part[index] for part in block) for block in state.blocks]
        mask = None if state.mask is None else state.mask[index]
        return _State(state.position, sentences, mask, blocks)
