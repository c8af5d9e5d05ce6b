"""A Transformer encoder for tagging, whose attention knows distance and direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int, SpecialToken
from skattn.nn import (
    LeanDropout,
    ScoreHead,
    Tokens,
    WordDropout,
    check_sizes,
    head_units,
    keep_inputs,
    keep_outputs,
    keep_rows,
    masked_mean,
    record,
    relative_positions,
    relative_weights,
)


class TENER(Architecture):
    r"""Transformer encoder with relative positions and unscaled attention.

    .. math:: A_{ij} = \mathrm{softmax}_j\bigl(q_i^\top k_j + q_i^\top R_{i-j}
              + u^\top k_j + v^\top R_{i-j}\bigr), \quad
              R_t = [\sin(t c_m); \cos(t c_m)]_m

    with :math:`c_m = 10000^{-2m/d}`, the signed distance :math:`i-j`, which tells left
    from right, and keys :math:`k_j` that are the states themselves, cut into heads.
    Scores are not divided by :math:`\sqrt d`: tags depend on few words, and the weights
    shall be sharp. A word is

    .. math:: h = W\, [e_{\mathrm{word}};\,
              \max_c \mathrm{ReLU}(\mathrm{Conv}(e_{\mathrm{characters}}))_c] + b,

    without the second part where the data have no characters; of a word of more than 20
    the first and the last ten are read. Post-norm blocks follow.
    Tagging scores each state, classification and regression their mean.

    Parameters
    ----------
    d_model : int, default=96
        Width of a state; a multiple of `num_heads`. The paper has 128 to 960.
    num_heads : int, default=6
        Heads of each attention layer. The paper has 6 to 14.
    num_layers : int, default=2
        Blocks. The paper has 2.
    d_ff : int or None, default=None
        Hidden units of the feed-forward nets; None takes twice `d_model`, as the paper.
    d_word : int, default=64
        Width of the embedding of a word. The paper's is given: 100 to 300.
    d_character : int, default=32
        Width of the embedding of a character. The paper has 30.
    character_filters : int, default=64
        Filters over three characters each. The paper has 30.
    word_dropout : float, default=0.2
        Probability that, while training, a word is taken for an unknown one and only
        its characters are seen; needed where embeddings are not pretrained.
    embedding_dropout : float, default=0.4
        Probability of dropping a unit of the words' representation. The paper has 0.3
        to 0.4 on the output and 0.15 to 0.4 elsewhere.
    dropout : float, default=0.2
        Probability of dropping a unit of each branch of the blocks, and of the states
        that are read.

    References
    ----------
    Yan, Deng, Li, Qiu, "TENER: Adapting Transformer Encoder for Named Entity
    Recognition", 2019, arXiv 1911.04474. The paper encodes characters by a Transformer
    and compares it with the convolution used here.

    Examples
    --------
    >>> from skattn import AttentionClassifier
    >>> from skattn.architectures import TENER
    >>> AttentionClassifier(TENER(num_layers=1)).architecture
    TENER(num_layers=1)
    """

    api_version = 1
    name = "tener"
    supports = {"tokens": {"tagging", "classification", "regression"}}
    consumes = ("mask", "characters")
    citation = (
        "Yan, Deng, Li, Qiu, TENER: Adapting Transformer Encoder for Named Entity "
        "Recognition, 2019, arXiv 1911.04474"
    )
    search_space = {
        "d_model": Choice(48, 96, 192),
        "num_heads": Choice(2, 4, 6, 8),
        "num_layers": Int(1, 4),
        "d_word": Choice(32, 64, 128),
        "character_filters": Choice(32, 64, 128),
        "word_dropout": Float(0.0, 0.5),
        "embedding_dropout": Float(0.0, 0.6),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 96,
        num_heads: int = 6,
        num_layers: int = 2,
        d_ff: int | None = None,
        d_word: int = 64,
        d_character: int = 32,
        character_filters: int = 64,
        word_dropout: float = 0.2,
        embedding_dropout: float = 0.4,
        dropout: float = 0.2,
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.d_word = d_word
        self.d_character = d_character
        self.character_filters = character_filters
        self.word_dropout = word_dropout
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
            "d_word",
            "d_character",
            "character_filters",
            probabilities=["word_dropout", "embedding_dropout", "dropout"],
        )
        if self.d_model % self.num_heads:
            raise ValueError(
                f"d_model={self.d_model} cannot be split into num_heads="
                f"{self.num_heads} heads of equal width: choose a d_model that is a "
                "multiple of num_heads."
            )
        return _TENER(self, data)


class _TENER(nn.Module):
    def __init__(self, params: TENER, data: DataSpec) -> None:
        super().__init__()
        self.tags = data.task == "tagging"
        self.drop_words = WordDropout(params.word_dropout)
        self.tokens = Tokens(data, params.d_word)
        width = params.d_word
        self.characters = None
        if data.character_vocabulary_size:
            self.characters = _CharacterConvolution(
                data.character_vocabulary_size,
                params.d_character,
                params.character_filters,
            )
            width += params.character_filters
        self.embedding_dropout = LeanDropout(params.embedding_dropout)
        self.project = nn.Linear(width, params.d_model)
        self.blocks = nn.ModuleList(
            _Block(params, layer=f"blocks.{number}")
            for number in range(params.num_layers)
        )
        self.dropout = LeanDropout(params.dropout)
        self.head = ScoreHead(data, params.d_model)

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        characters: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h = self.tokens(self.drop_words(tokens))  # (batch, length, d_word)
        if self.characters is not None:
            h = torch.cat([h, self.characters(characters)], dim=-1)
        h = self.project(self.embedding_dropout(h))  # (batch, length, d_model)
        for block in self.blocks:
            h = block(h, mask)
        if not self.tags:
            h = masked_mean(h, mask)  # (batch, d_model)
        return self.head(self.dropout(h))


class _CharacterConvolution(nn.Module):
    """One vector a word: the maximum of a convolution over its characters."""

    def __init__(self, vocabulary_size: int, width: int, filters: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary_size, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.convolution = nn.Conv1d(width, filters, kernel_size=3, padding=1)

    def forward(self, characters: Tensor) -> Tensor:
        codes = characters.flatten(0, 1)  # (words, characters)
        beyond = codes == SpecialToken.PADDING
        h = self.embed(codes).masked_fill(beyond[..., None], 0.0)
        h = self.convolution(h.transpose(1, 2))  # (words, filters, characters)
        # The maximum of what ReLU leaves is what ReLU leaves of the maximum.
        h = functional.relu(h.masked_fill(beyond[:, None], 0.0).amax(dim=-1))
        return h.unflatten(0, characters.shape[:2])


class _Block(nn.Module):
    def __init__(self, params: TENER, layer: str) -> None:
        super().__init__()
        width = params.d_model
        d_ff = 2 * width if params.d_ff is None else params.d_ff
        self.attention = _DirectedAttention(width, params.num_heads, layer)
        self.norm_attention = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, d_ff),
            nn.ReLU(),
            LeanDropout(params.dropout),
            nn.Linear(d_ff, width),
        )
        self.norm_feed_forward = nn.LayerNorm(width)
        self.dropout = LeanDropout(params.dropout)

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        h = self.norm_attention(h + self.dropout(self.attention(h, mask)))
        return self.norm_feed_forward(h + self.dropout(self.feed_forward(h)))


class _DirectedAttention(nn.Module):
    def __init__(self, d_model: int, num_heads: int, layer: str) -> None:
        super().__init__()
        self.num_heads, self.d_head = num_heads, d_model // num_heads
        self.layer, self.kind = layer, "self"
        self.kept: list[int] | None = None
        self.project_query_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.content_bias = nn.Parameter(torch.empty(num_heads, d_model // num_heads))
        self.distance_bias = nn.Parameter(torch.empty(num_heads, d_model // num_heads))
        # Heads that begin with different places to look at.
        nn.init.xavier_normal_(self.content_bias)
        nn.init.xavier_normal_(self.distance_bias)
        self.project_out = nn.Linear(d_model, d_model)

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        if not self.num_heads:
            return self.project_out(h[..., :0])
        length = h.shape[1]
        query, value, key = (
            part.unflatten(-1, (-1, self.d_head)).transpose(1, 2)
            for part in (*self.project_query_value(h).chunk(2, dim=-1), h)
        )  # (batch, heads, length, d_head)
        if self.kept is not None:
            key = key[:, self.kept]
        weights = relative_weights(
            query,
            key,
            relative_positions(length, length, key.shape[-1], like=h),
            content_bias=self.content_bias,
            distance_bias=self.distance_bias,
            mask=mask,
        )  # (batch, heads, length, length)
        weights = record(
            weights,
            layer=self.layer,
            kind=self.kind,
            queries="tokens",
            keys="tokens",
            mask=None if mask is None else mask[:, None, None],
            values=value,
            output=self.project_out.weight,
        )
        return self.project_out((weights @ value).transpose(1, 2).flatten(2))

    def prune_heads(self, keep: Sequence[int]) -> None:
        """Take out all heads but some; see `MultiheadAttention.prune_heads`."""
        units = head_units(keep, self.d_head)
        width = self.num_heads * self.d_head
        keep_outputs(self.project_query_value, torch.cat([units, width + units]))
        self.content_bias = keep_rows(self.content_bias, keep)
        self.distance_bias = keep_rows(self.distance_bias, keep)
        keep_inputs(self.project_out, units)
        present = range(self.num_heads) if self.kept is None else self.kept
        self.kept = [present[head] for head in keep]
        self.num_heads = len(keep)
