"""Bidirectional LSTMs whose states attend to each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    KnownTokens,
    LeanDropout,
    MaskedLSTM,
    ScoreHead,
    Tokens,
    attention,
    check_sizes,
    is_recording,
    last_step,
    masked_mean,
    record,
)


class InteractiveAttention(Architecture):
    r"""Two texts, or targets and covariates of a forecast, attending to each other.

    .. math:: h_i &= \mathrm{BiLSTM}(x)_i, \quad g_j = \mathrm{BiLSTM}(z)_j, \quad
              e_i = \tanh(W_h h_i + b_h) / d^{1/4}, \quad
              e_j = \tanh(W_g g_j + b_g) / d^{1/4} \\
              c_i &= \sum_j \alpha_{ij} g_j, \quad
              u_i = \mathrm{ReLU}(W_u [h_i; c_i; h_i \odot c_i] + b_u) \\
              c_j &= \sum_i \alpha_{ji} h_i, \quad
              v_j = \mathrm{ReLU}(W_v [g_j; c_j; g_j \odot c_j] + b_v)

    The scores are a linear map of :math:`u` and of :math:`v`, of series the mean and
    the last step of each, of texts the mean and the maximum, as in ESIM. The weights
    are normalised in one of two ways:

    - ``"softmax"``: over the side that is attended to,
      :math:`\alpha_{ij} = \exp(e_i^\top e_j) / \sum_{j'} \exp(e_i^\top e_{j'})`, and
      likewise :math:`\alpha_{ji}` over :math:`i`.
    - ``"joint"``: by what both ends of a pair have in common with all states of both
      sides, :math:`\alpha_{ij} = \alpha_{ji} = \exp(e_i^\top e_j) / \sum_k
      \exp(e_i^\top e_k + e_j^\top e_k)`, where :math:`k` runs over :math:`i` and
      :math:`j`. A pair weighs less where either end resembles much else. The weights
      of a query do not sum to one.

    Of a pair of texts :math:`x` is the one and :math:`z` the other; they share the
    embedding and the BiLSTM. In a forecast :math:`x` are the targets and :math:`z` the
    covariates: those of the past, together with those known in advance. The latter go
    on through the steps to forecast; there :math:`v_j` adds a linear map of its own to
    the scores of its step. Without covariates, and in classification and regression of
    series, the series stands on both sides and interacts with itself.

    Parameters
    ----------
    d_model : int, default=64
        Width of tokens, and of both directions together; even.
    num_layers : int, default=1
        Stacked LSTM layers of each side.
    dropout : float, default=0.1
        Probability of dropping a unit of the tokens and of the last representation.
    normalization : {"softmax", "joint"}, default="softmax"
        How the weights are normalised.
    embedding_dropout : float, default=0.3
        Probability of dropping a unit of the tokens of a text, in place of `dropout`.

    References
    ----------
    Ma, Li, Zhang, Wang, "Interactive Attention Networks for Aspect-Level Sentiment
    Classification", IJCAI 2017, arXiv 1709.00893. Attention of every state to every
    state of the other side, and its composition, are after Chen, Zhu, Ling, Wei, Jiang,
    Inkpen, "Enhanced LSTM for Natural Language Inference" (ESIM), ACL 2017, arXiv
    1609.06038.

    Examples
    --------
    >>> from skattn import AttentionForecaster
    >>> from skattn.architectures import InteractiveAttention
    >>> AttentionForecaster(InteractiveAttention(normalization="joint")).architecture
    InteractiveAttention(normalization='joint')
    """

    api_version = 1
    name = "interactive_attention"
    supports = {
        "series": {"classification", "regression", "forecasting"},
        "pair": {"classification", "regression"},
    }
    consumes = ("mask", "other_mask", "observed", "known", "known_categories")
    citation = (
        "Ma, Li, Zhang, Wang, Interactive Attention Networks for Aspect-Level "
        "Sentiment Classification, IJCAI 2017, arXiv 1709.00893"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_layers": Int(1, 3),
        "dropout": Float(0.0, 0.5),
        "normalization": Choice("softmax", "joint"),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_layers: int = 1,
        dropout: float = 0.1,
        normalization: str = "softmax",
        embedding_dropout: float = 0.3,
    ) -> None:
        self.d_model = d_model
        self.num_layers = num_layers
        self.dropout = dropout
        self.normalization = normalization
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
        if self.normalization not in ("softmax", "joint"):
            raise ValueError(
                f"normalization={self.normalization!r} of InteractiveAttention must be "
                "'softmax' or 'joint'."
            )
        return _OfPair(self, data) if data.input == "pair" else _OfSeries(self, data)


class _Reader(nn.Module):
    """Bidirectional states of one side."""

    def __init__(self, params: InteractiveAttention, dropout: float) -> None:
        super().__init__()
        width = params.d_model
        self.dropout = LeanDropout(dropout)
        self.lstm = MaskedLSTM(
            width,
            width // 2,
            params.num_layers,
            bidirectional=True,
            dropout=params.dropout,
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Read tokens (batch, tokens, d_model)."""
        return self.norm(self.lstm(self.dropout(tokens), mask))


class _Interaction(nn.Module):
    """Attention of two sides to each other."""

    def __init__(
        self, width: int, is_joint: bool, own: str, other: str | tuple[str, ...]
    ) -> None:
        super().__init__()
        self.is_joint = is_joint
        cross: dict[str, Any] = {"kind": "cross"}
        self.there = {**cross, "layer": "to_other", "queries": own, "keys": other}
        self.back = {**cross, "layer": "from_other", "queries": other, "keys": own}
        self.project_own = nn.Linear(width, width)
        self.project_other = nn.Linear(width, width)

    def forward(
        self, h: Tensor, g: Tensor, mask: Tensor | None, other_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Give each state the context it finds on the other side."""
        own, other = self.project_own(h).tanh(), self.project_other(g).tanh()
        if self.is_joint:
            weights = _joint_weights(own, other, mask, other_mask)
            mirrored = weights.transpose(1, 2)
            if is_recording():
                pairs = _pairs(mask, other_mask)  # (batch, own, other) or None
                there = {"normalised": False, "values": g[:, None], **self.there}
                back = {"normalised": False, "values": h[:, None], **self.back}
                if pairs is not None:
                    there["mask"] = pairs[:, None]
                    back["mask"] = pairs.transpose(1, 2)[:, None]
                weights = record(weights[:, None], **there)[:, 0]
                mirrored = record(mirrored[:, None], **back)[:, 0]
            return weights @ g, mirrored @ h
        own, other, h, g = own[:, None], other[:, None], h[:, None], g[:, None]
        seen = attention(own, other, g, mask=other_mask, **self.there)
        shown = attention(other, own, h, mask=mask, **self.back)
        return seen[:, 0], shown[:, 0]


def _joint_weights(
    own: Tensor, other: Tensor, mask: Tensor | None, other_mask: Tensor | None
) -> Tensor:
    """Weigh all pairs (batch, own, other) in logarithms.

    The sum over k is a matrix product, after the largest term of each factor is taken
    out. What is left cannot vanish: tanh bounds the scores by the root of the width.
    """
    n_own, width = own.shape[1:]
    states = torch.cat([own, other], dim=1) / width**0.25
    scores = states @ states.transpose(1, 2)  # (batch, own + other, own + other)
    largest = scores.amax(dim=-1, keepdim=True)
    terms = (scores - largest).exp()
    if mask is not None and other_mask is not None:
        real = torch.cat([mask, other_mask], dim=1)
        terms = terms.masked_fill(~real[:, None], 0.0)
    total = terms[:, :n_own] @ terms[:, n_own:].transpose(1, 2)  # (batch, own, other)
    total = total.clamp(min=torch.finfo(total.dtype).tiny)
    taken_out = largest[:, :n_own] + largest[:, n_own:].transpose(1, 2)
    logarithm = scores[:, :n_own, n_own:] - taken_out - total.log()
    pairs = _pairs(mask, other_mask)
    if pairs is not None:
        logarithm = logarithm.masked_fill(~pairs, -torch.inf)
    return logarithm.exp()


def _pairs(mask: Tensor | None, other_mask: Tensor | None) -> Tensor | None:
    """Tell which pairs (batch, own, other) are of two real tokens."""
    if mask is None or other_mask is None:
        return None
    return mask[:, :, None] & other_mask[:, None]


class _Head(nn.Module):
    """Scores from both sides as a whole, and from the future where it is known."""

    def __init__(self, data: DataSpec, width: int, has_future: bool) -> None:
        super().__init__()
        self.whole = ScoreHead(data, 4 * width)
        self.steps = ScoreHead(replace(data, horizon=1), width) if has_future else None

    def forward(self, pooled: Tensor, v: Tensor) -> Tensor:
        """Map (batch, 4 d_model) and steps (batch, steps, d_model) to scores."""
        scores = self.whole(pooled)
        if self.steps is None:
            return scores
        future = v[:, -scores.shape[2] :]  # (batch, horizon, d_model)
        return scores + self.steps(future).squeeze(3).movedim(1, 2)


class _Sides(nn.Module):
    """What two sides that were read find in each other."""

    def make_interaction(
        self, params: InteractiveAttention, own: str, other: str | tuple[str, ...]
    ) -> None:
        """Make the layers behind the readers."""
        width = params.d_model
        is_joint = params.normalization == "joint"
        self.interact = _Interaction(width, is_joint, own=own, other=other)
        self.compose = nn.Linear(3 * width, width)
        self.compose_other = nn.Linear(3 * width, width)
        self.dropout = LeanDropout(params.dropout)

    def join(
        self, h: Tensor, g: Tensor, mask: Tensor | None, other_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compose the states of both sides with what they attend to."""
        c, c_other = self.interact(h, g, mask, other_mask)
        u = self.compose(torch.cat([h, c, h * c], dim=-1)).relu()
        v = self.compose_other(torch.cat([g, c_other, g * c_other], dim=-1)).relu()
        return u, v


class _OfPair(_Sides):
    def __init__(self, params: InteractiveAttention, data: DataSpec) -> None:
        super().__init__()
        self.tokens = Tokens(data, params.d_model)
        self.read = _Reader(params, params.embedding_dropout)
        self.make_interaction(params, own="tokens", other="other_tokens")
        self.head = ScoreHead(data, 4 * params.d_model)

    def forward(
        self,
        tokens: Tensor,
        other_tokens: Tensor,
        mask: Tensor | None = None,
        other_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        if mask is None and other_mask is not None:
            mask = torch.ones_like(tokens, dtype=torch.bool)
        elif mask is not None and other_mask is None:
            other_mask = torch.ones_like(other_tokens, dtype=torch.bool)
        h = self.read(self.tokens(tokens, mask=mask), mask)
        g = self.read(self.tokens(other_tokens, mask=other_mask), other_mask)
        u, v = self.join(h, g, mask, other_mask)
        pooled = torch.cat([*_mean_and_max(u, mask), *_mean_and_max(v, other_mask)], 1)
        return self.head(self.dropout(pooled))  # from (batch, 4 d_model)


def _mean_and_max(u: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pool states that are never negative: zeros where there is no token."""
    if mask is not None:
        u = u.where(mask[..., None], 0.0)
    return masked_mean(u, mask), u.amax(dim=1)


class _OfSeries(_Sides):
    def __init__(self, params: InteractiveAttention, data: DataSpec) -> None:
        super().__init__()
        width = params.d_model
        is_forecast = data.task == "forecasting"
        self.n_own = data.n_targets if is_forecast else data.n_channels
        n_other = data.n_channels - self.n_own
        has_future = bool(data.n_known or data.known_category_counts)
        self.horizon = data.horizon if has_future else 0
        self.first_other = self.n_own if n_other else 0
        self.tokens = Tokens(replace(data, n_channels=self.n_own), width)
        self.other_tokens = None
        if n_other or not has_future:
            channels = n_other or self.n_own
            self.other_tokens = Tokens(replace(data, n_channels=channels), width)
        self.known = KnownTokens(data, width) if has_future else None
        self.read = _Reader(params, params.dropout)
        self.read_other = _Reader(params, params.dropout)
        other = ("time", "horizon") if has_future else "time"
        self.make_interaction(params, own="time", other=other)
        self.head = _Head(data, width, has_future)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        known: Tensor | None = None,
        known_categories: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        if observed is None:
            observed = torch.ones_like(x, dtype=torch.bool)
        n_own = self.n_own
        tokens = self.tokens(x[:, :n_own], observed[:, :n_own], mask=mask)
        other_mask = None
        if mask is not None:
            other_mask = functional.pad(mask, (0, self.horizon), value=True)
        other = self.covariates(x, observed, other_mask, known, known_categories)
        h, g = self.read(tokens, mask), self.read_other(other, other_mask)
        u, v = self.join(h, g, mask, other_mask)
        pooled = [
            masked_mean(u, mask),
            last_step(u, mask)[:, 0],
            masked_mean(v, other_mask),
            last_step(v, other_mask)[:, 0],
        ]
        return self.head(
            self.dropout(torch.cat(pooled, dim=-1)),  # (batch, 4 d_model)
            self.dropout(v),
        )

    def covariates(
        self,
        x: Tensor,
        observed: Tensor,
        mask: Tensor | None,
        known: Tensor | None,
        known_categories: Tensor | None,
    ) -> Tensor:
        """Embed the other side; covariates of the past are missing in the future."""
        parts = []
        if self.other_tokens is not None:
            ahead = (0, self.horizon)
            past = functional.pad(x[:, self.first_other :], ahead)
            measured = functional.pad(observed[:, self.first_other :], ahead)
            parts.append(self.other_tokens(past, measured, mask=mask))
        if self.known is not None:
            parts.append(self.known(known, known_categories).expand(x.shape[0], -1, -1))
        return torch.stack(parts).sum(dim=0)  # (batch, length + horizon, d_model)
