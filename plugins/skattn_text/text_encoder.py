"""A bidirectional Transformer encoder of texts and of pairs of texts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int, SpecialToken
from skattn.nn import (
    EncoderBlock,
    LeanDropout,
    ScoreHead,
    Tokens,
    VocabularyHead,
    WordDropout,
    check_sizes,
    masked_mean,
    sinusoidal_positions,
    step_positions,
)


class TextEncoder(Architecture):
    r"""Bidirectional Transformer encoder, as BERT.

    .. math:: H_0 = [c; E_{w_1}; \dots; E_{w_n}] + P / \sqrt{d} + S, \quad
              H_l = \mathrm{Block}_l(H_{l-1})

    with the embedding :math:`E` of standard deviation :math:`1 / \sqrt{d}`, an extra
    token :math:`c` in front, positions :math:`P`, and segments :math:`S` of a pair. Of
    a pair one sequence is made,

    .. math:: c,\ a_1, \dots, a_n,\ \mathrm{separator},\ b_1, \dots, b_m,

    in which all tokens up to the separator are of the first segment. What is read:

    - classification and regression: a linear map of :math:`\tanh(W\,
      \mathrm{LN}(\bar h) + b)`, where :math:`\bar h` is the mean of :math:`H_L` over
      all tokens, or its row of :math:`c`; see `pooling`.
    - tags: a linear map of each token's :math:`\mathrm{LN}(h_t)`.
    - masked tokens: :math:`E\, \mathrm{LN}(\mathrm{GELU}(W\, \mathrm{LN}(h_t) + b)) +
      b'`, with the embedding as the last map.

    Positions are sinusoids, so that texts may be longer than those of the training;
    BERT's are learned. The blocks are pre-norm with ReLU (`skattn.nn.EncoderBlock`),
    BERT's post-norm with GELU. Embedded tokens are not normalised: a word that is rare
    in a few training texts stays as small as it began, and does not drown the others.
    Pretraining predicts masked tokens; there is no prediction of the next sentence.

    Parameters
    ----------
    d_model : int, default=64
        Width of a token, a multiple of `num_heads`; 768 in the paper.
    num_heads : int, default=4
        Heads of each attention layer; 12 in the paper.
    num_layers : int, default=2
        Blocks; 12 in the paper.
    d_ff : int or None, default=None
        Hidden units of the feed-forward nets; None takes twice `d_model`, the paper
        four times.
    dropout : float, default=0.3
        Probability of dropping a unit of each branch, and of what is read; attention
        weights are not dropped. 0.1 in the paper.
    embedding_dropout : float, default=0.5
        Probability of dropping a unit of :math:`H_0`. The defaults are for a few
        thousand texts without pretraining; more texts need less.
    word_dropout : float, default=0.2
        Probability of replacing a token by the unknown one while training.
    pooling : {"mean", "cls"}, default="mean"
        What a whole text is read from: all tokens, or the extra one, as in the paper.

    References
    ----------
    Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional
    Transformers for Language Understanding", NAACL 2019, arXiv 1810.04805.

    Examples
    --------
    >>> from skattn import AttentionClassifier
    >>> from skattn.architectures import TextEncoder
    >>> AttentionClassifier(TextEncoder(num_layers=4)).architecture
    TextEncoder(num_layers=4)
    """

    api_version = 1
    name = "text_encoder"
    supports = {
        "tokens": {"classification", "regression", "tagging", "token_prediction"},
        "pair": {"classification", "regression"},
    }
    consumes = ("mask", "other_mask")
    citation = (
        "Devlin, Chang, Lee, Toutanova, BERT: Pre-training of Deep Bidirectional "
        "Transformers for Language Understanding, NAACL 2019, arXiv 1810.04805"
    )
    search_space = {
        "d_model": Choice(32, 64, 128, 256),
        "num_heads": Choice(1, 2, 4, 8),
        "num_layers": Int(1, 4),
        "dropout": Float(0.0, 0.5),
        "embedding_dropout": Float(0.0, 0.7),
        "word_dropout": Float(0.0, 0.4),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_heads: int = 4,
        num_layers: int = 2,
        d_ff: int | None = None,
        dropout: float = 0.3,
        embedding_dropout: float = 0.5,
        word_dropout: float = 0.2,
        pooling: str = "mean",
    ) -> None:
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.embedding_dropout = embedding_dropout
        self.word_dropout = word_dropout
        self.pooling = pooling

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_heads",
            "num_layers",
            "d_ff",
            probabilities=["dropout", "embedding_dropout", "word_dropout"],
        )
        if self.pooling not in ("mean", "cls"):
            raise ValueError(
                f"pooling={self.pooling!r} of TextEncoder must be 'mean' or 'cls'."
            )
        if data.input == "pair":
            return _OfPair(self, data)
        if data.task in ("tagging", "token_prediction"):
            return _OfTokens(self, data)
        return _OfText(self, data)


class _Encoder(nn.Module):
    """Blocks over an extra token and the tokens behind it."""

    def __init__(
        self, params: TextEncoder, data: DataSpec, axes: tuple[str, ...]
    ) -> None:
        super().__init__()
        width = params.d_model
        self.tokens = Tokens(data, width)
        self.drop_words = WordDropout(params.word_dropout)
        self.cls = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.cls, std=width**-0.5)
        self.embedding_dropout = LeanDropout(params.embedding_dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                width,
                params.num_heads,
                d_ff=2 * width if params.d_ff is None else params.d_ff,
                dropout=params.dropout,
                layer=f"blocks.{number}",
                tokens=("cls", *axes),
            )
            for number in range(params.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = LeanDropout(params.dropout)

    def embed(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Embed codes (batch, length), behind the extra token."""
        h = self.tokens(self.drop_words(tokens), mask=mask)
        return torch.cat([self.cls.expand(len(h), 1, -1), h], dim=1)

    def encode(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Transform tokens (batch, 1 + length, d_model)."""
        width = h.shape[-1]
        positions = sinusoidal_positions(step_positions(h, mask), width)
        h = self.embedding_dropout(h + positions * width**-0.5)
        for block in self.blocks:
            h = block(h, mask)
        return h


class _Pooled(_Encoder):
    """An encoder that is read as a whole."""

    def __init__(
        self, params: TextEncoder, data: DataSpec, axes: tuple[str, ...]
    ) -> None:
        super().__init__(params, data, axes)
        width = params.d_model
        self.reads_all = params.pooling == "mean"
        self.pool = nn.Linear(width, width)
        self.head = ScoreHead(data, width)

    def score(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Transform tokens (batch, 1 + length, d_model) and read them."""
        h = self.encode(h, mask)
        pooled = masked_mean(h, mask) if self.reads_all else h[:, 0]
        return self.head(self.dropout(self.pool(self.norm(pooled)).tanh()))


class _OfText(_Pooled):
    def __init__(self, params: TextEncoder, data: DataSpec) -> None:
        super().__init__(params, data, ("tokens",))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        return self.score(self.embed(tokens, mask), _behind_cls(mask))


class _OfPair(_Pooled):
    def __init__(self, params: TextEncoder, data: DataSpec) -> None:
        super().__init__(params, data, ("tokens", "separator", "other_tokens"))
        self.segments = nn.Parameter(torch.empty(2, params.d_model))
        nn.init.normal_(self.segments, std=params.d_model**-0.5)

    def forward(
        self,
        tokens: Tensor,
        other_tokens: Tensor,
        mask: Tensor | None = None,
        other_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        separator = torch.full_like(tokens[:, :1], SpecialToken.SEPARATOR)
        joined = torch.cat([tokens, separator, other_tokens], dim=1)
        if mask is not None or other_mask is not None:
            sides = [(tokens, mask), (separator, None), (other_tokens, other_mask)]
            mask = torch.cat([_full(*side) for side in sides], dim=1)
        first, second = self.segments.split(1)
        first = first.expand(tokens.shape[1] + 2, -1)  # cls, tokens and separator
        second = second.expand(other_tokens.shape[1], -1)
        h = self.embed(joined, mask) + torch.cat([first, second])
        return self.score(h, _behind_cls(mask))


class _OfTokens(_Encoder):
    """Scores of each token; those of the vocabulary come from the embedding."""

    def __init__(self, params: TextEncoder, data: DataSpec) -> None:
        super().__init__(params, data, ("tokens",))
        width = params.d_model
        self.head: nn.Module = ScoreHead(data, width)
        self.transform = None
        if data.task == "token_prediction":
            self.head = VocabularyHead(width, data.n_outputs, self.tokens.embed)
            self.transform = nn.Sequential(
                nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width)
            )

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        h = self.encode(self.embed(tokens, mask), _behind_cls(mask))
        h = self.norm(h[:, 1:])  # (batch, length, d_model)
        if self.transform is not None:
            return self.head(self.transform(h))
        return self.head(self.dropout(h))


def _behind_cls(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else functional.pad(mask, (1, 0), value=True)


def _full(tokens: Tensor, mask: Tensor | None) -> Tensor:
    return torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
