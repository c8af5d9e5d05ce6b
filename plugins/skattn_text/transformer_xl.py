"""A Transformer that reads segment after segment and remembers those before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    LeanDropout,
    ScoreHead,
    Tokens,
    check_sizes,
    head_units,
    is_recording,
    keep_inputs,
    keep_outputs,
    keep_rows,
    masked_mean,
    record,
    relative_positions,
    relative_weights,
)


class TransformerXL(Architecture):
    r"""Transformer with segment recurrence and relative positions.

    A text is cut into segments of `segment_length` tokens, read one after another. In
    segment :math:`\tau`, layer :math:`n` attends to its input
    :math:`h_\tau^{n-1}` and to a memory :math:`m_\tau^{n-1}`, the last `memory_length`
    inputs that the same layer had before, through which no gradient flows
    (:math:`\mathrm{SG}`):

    .. math:: \tilde h = [\mathrm{SG}(m_\tau^{n-1}); h_\tau^{n-1}], \quad
              q = h_\tau^{n-1} W_q, \quad k = \tilde h W_{k,E}, \quad
              v = \tilde h W_v,

    .. math:: A_{ij} = \mathrm{softmax}_{j \le i}\left(\frac{
              q_i^\top k_j + q_i^\top W_{k,R} R_{i-j} + u^\top k_j
              + v^\top W_{k,R} R_{i-j}}{\sqrt d}\right),

    .. math:: o = \mathrm{LN}(h_\tau^{n-1} + A v W_o), \quad
              h_\tau^n = \mathrm{LN}(o + \mathrm{FFN}(o))

    with sinusoids :math:`R` of the distance and two learned biases :math:`u, v` for
    each head. A token depends on :math:`n` times `memory_length` tokens before its
    segment. Next tokens are predicted from each state, classification and regression
    read the mean of all states. Attention is recorded as one matrix for each layer over
    all tokens of the text, zero for those that were forgotten.

    Parameters
    ----------
    d_model : int, default=64
        Width of a state; a multiple of `num_heads`. The paper has 410 (WikiText-103)
        and 512 (enwik8).
    num_heads : int, default=4
        Heads of each attention layer. The paper has 10 and 8.
    num_layers : int, default=2
        Layers. The paper has 16 and 12.
    d_ff : int or None, default=None
        Hidden units of the feed-forward nets; None takes twice `d_model`. The paper has
        2100 and 2048.
    segment_length : int, default=64
        Tokens read at once. The paper has 150 and 512.
    memory_length : int, default=64
        Tokens before the segment that are remembered; 0 reads each segment alone. The
        paper has 150 and 512, and more when predicting.
    embedding_dropout : float, default=0.1
        Probability of dropping a unit of the embeddings.
    dropout : float, default=0.1
        Probability of dropping a unit of each branch, and of the states that are read.

    References
    ----------
    Dai, Yang, Yang, Carbonell, Le, Salakhutdinov, "Transformer-XL: Attentive Language
    Models beyond a Fixed-Length Context", ACL 2019, arXiv 1901.02860.

    Examples
    --------
    >>> from skattn import AttentionClassifier
    >>> from skattn.architectures import TransformerXL
    >>> AttentionClassifier(TransformerXL(memory_length=128)).architecture
    TransformerXL(memory_length=128)
    """

    api_version = 1
    name = "transformer_xl"
    supports = {"tokens": {"token_prediction", "classification", "regression"}}
    consumes = ("mask",)
    causal = True
    citation = (
        "Dai, Yang, Yang, Carbonell, Le, Salakhutdinov, Transformer-XL: Attentive "
        "Language Models beyond a Fixed-Length Context, ACL 2019, arXiv 1901.02860"
    )
    search_space = {
        "d_model": Choice(32, 64, 128),
        "num_heads": Choice(2, 4, 8),
        "num_layers": Int(1, 4),
        "embedding_dropout": Float(0.0, 0.5),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_heads: int = 4,
        num_layers: int = 2,
        d_ff: int | None = None,
        segment_length: int = 64,
        memory_length: int = 64,
        embedding_dropout: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.segment_length = segment_length
        self.memory_length = memory_length
        self.embedding_dropout = embedding_dropout
        self.dropout = dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_heads",
            "num_layers",
            "d_ff",
            "segment_length",
            probabilities=["embedding_dropout", "dropout"],
        )
        length = self.memory_length
        if isinstance(length, bool) or not isinstance(length, Integral) or length < 0:
            raise ValueError(
                f"memory_length={length!r} of TransformerXL must be an integer of at "
                "least 0."
            )
        if self.d_model % self.num_heads:
            raise ValueError(
                f"d_model={self.d_model} cannot be split into num_heads="
                f"{self.num_heads} heads of equal width: choose a d_model that is a "
                "multiple of num_heads."
            )
        return _TransformerXL(self, data)


class _TransformerXL(nn.Module):
    def __init__(self, params: TransformerXL, data: DataSpec) -> None:
        super().__init__()
        self.predicts_tokens = data.task == "token_prediction"
        self.segment_length = params.segment_length
        self.memory_length = params.memory_length
        self.tokens = Tokens(data, params.d_model)
        self.embedding_dropout = LeanDropout(params.embedding_dropout)
        self.blocks = nn.ModuleList(
            _Block(params, f"blocks.{number}") for number in range(params.num_layers)
        )
        self.dropout = LeanDropout(params.dropout)
        self.head = ScoreHead(data, params.d_model)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h = self.tokens(tokens)  # (batch, length, d_model)
        h = self.embedding_dropout(h * math.sqrt(h.shape[-1]))
        memories = [h[:, :0] for _ in self.blocks]
        states: list[Tensor] = []
        for segment in h.split(self.segment_length, dim=1):
            start = sum(state.shape[1] for state in states)
            first = start - memories[0].shape[1]
            seen = None if mask is None else mask[:, first : start + segment.shape[1]]
            kept = []
            for block, memory in zip(self.blocks, memories, strict=True):
                joined = torch.cat([memory.detach(), segment], dim=1)
                kept.append(joined[:, max(joined.shape[1] - self.memory_length, 0) :])
                segment = block(segment, joined, seen, first)
            memories = kept
            states.append(segment)
        h = torch.cat(states, dim=1)
        if not self.predicts_tokens:
            h = masked_mean(h, mask)  # (batch, d_model)
        return self.head(self.dropout(h))


class _Block(nn.Module):
    def __init__(self, params: TransformerXL, layer: str) -> None:
        super().__init__()
        width = params.d_model
        d_ff = 2 * width if params.d_ff is None else params.d_ff
        self.attention = _MemoryAttention(width, params.num_heads, layer)
        self.norm_attention = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, d_ff),
            nn.ReLU(),
            LeanDropout(params.dropout),
            nn.Linear(d_ff, width),
        )
        self.norm_feed_forward = nn.LayerNorm(width)
        self.dropout = LeanDropout(params.dropout)

    def forward(
        self, h: Tensor, joined: Tensor, mask: Tensor | None, first: int
    ) -> Tensor:
        attended = self.attention(h, joined, mask, first)
        h = self.norm_attention(h + self.dropout(attended))
        return self.norm_feed_forward(h + self.dropout(self.feed_forward(h)))


class _MemoryAttention(nn.Module):
    def __init__(self, d_model: int, num_heads: int, layer: str) -> None:
        super().__init__()
        self.num_heads, self.d_head = num_heads, d_model // num_heads
        self.layer, self.kind = layer, "self"
        self.project_query = nn.Linear(d_model, d_model, bias=False)
        self.project_key_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.project_distance = nn.Linear(d_model, d_model, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(num_heads, self.d_head))
        self.distance_bias = nn.Parameter(torch.zeros(num_heads, self.d_head))
        self.project_out = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self, h: Tensor, joined: Tensor, mask: Tensor | None, first: int
    ) -> Tensor:
        """Let a segment attend to itself and to memory from step `first` on."""
        if not self.num_heads:
            return self.project_out(h[..., :0])
        n_queries, n_keys, width = h.shape[1], joined.shape[1], h.shape[2]
        r = relative_positions(n_queries, n_keys, width, causal=True, like=h)
        query, key, value, distance = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)
            for part in (
                self.project_query(h),
                *self.project_key_value(joined).chunk(2, dim=-1),
                self.project_distance(r),
            )
        )  # (batch, heads, queries or keys, d_head); (heads, distances, d_head)
        weights = relative_weights(
            query,
            key,
            distance,
            content_bias=self.content_bias,
            distance_bias=self.distance_bias,
            scale=query.shape[-1] ** -0.5,
            mask=mask,
            causal=True,
        )  # (batch, heads, queries, keys)
        if is_recording():
            weights = self._record(weights, value, mask, first)
        return self.project_out((weights @ value).transpose(1, 2).flatten(2))

    def prune_heads(self, keep: Sequence[int]) -> None:
        """Take out all heads but some; see `MultiheadAttention.prune_heads`."""
        units = head_units(keep, self.d_head)
        width = self.num_heads * self.d_head
        keep_outputs(self.project_query, units)
        keep_outputs(self.project_key_value, torch.cat([units, width + units]))
        keep_outputs(self.project_distance, units)
        self.content_bias = keep_rows(self.content_bias, keep)
        self.distance_bias = keep_rows(self.distance_bias, keep)
        keep_inputs(self.project_out, units)
        self.num_heads = len(keep)

    def _record(
        self, weights: Tensor, value: Tensor, mask: Tensor | None, first: int
    ) -> Tensor:
        """Record the weights over all keys of the text up to the last one."""
        n_queries, n_keys = weights.shape[-2:]
        seen = weights.new_ones((n_queries, n_keys), dtype=torch.bool)
        seen = seen.tril(n_keys - n_queries)
        if mask is not None:
            seen = seen & mask[:, None, None]  # (batch, 1, queries, keys)
        placed = record(
            functional.pad(weights, (first, 0)),
            layer=self.layer,
            kind=self.kind,
            queries="tokens",
            keys="tokens",
            mask=functional.pad(seen, (first, 0), value=False),
            values=functional.pad(value, (0, 0, first, 0)),
            output=self.project_out.weight,
            first_query=first + n_keys - n_queries,
        )
        return placed[..., first:]
