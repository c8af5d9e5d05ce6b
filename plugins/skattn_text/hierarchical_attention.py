"""Attention over the words of each sentence, then over the sentences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    LeanDropout,
    MaskedLSTM,
    ScoreHead,
    Tokens,
    check_sizes,
    masked_softmax,
    record,
)


class HierarchicalAttention(Architecture):
    r"""Hierarchical attention network: words, then sentences.

    .. math:: h_{it} = \mathrm{BiLSTM}(w_{i1}, \dots, w_{iT})_t, \quad
              \alpha_{it} = \mathrm{softmax}_t(u_w^\top \tanh(W_w h_{it} + b_w)), \quad
              s_i = \sum_t \alpha_{it} h_{it},

    .. math:: h_i = \mathrm{BiLSTM}(s_1, \dots, s_L)_i, \quad
              \alpha_i = \mathrm{softmax}_i(u_s^\top \tanh(W_s h_i + b_s)), \quad
              v = \sum_i \alpha_i h_i

    with context vectors :math:`u_w, u_s` that are learned. The scores are a linear map
    of :math:`v`. Sentences, or the turns of a dialogue, are told by ``segments``;
    without them the text is one sentence.

    Parameters
    ----------
    d_model : int, default=64
        Width of embeddings, and of both directions together; even. The paper has
        embeddings of 200, and 100 for both directions.
    num_layers : int, default=1
        Stacked LSTM layers, of words and of sentences.
    embedding_dropout : float, default=0.3
        Probability of dropping a unit of the embeddings.
    dropout : float, default=0.1
        Probability of dropping a unit of the sentences and of the document.

    References
    ----------
    Yang, Yang, Dyer, He, Smola, Hovy, "Hierarchical Attention Networks for Document
    Classification", NAACL 2016. The paper has GRUs in place of LSTMs.

    Examples
    --------
    >>> from skattn import AttentionClassifier
    >>> from skattn.architectures import HierarchicalAttention
    >>> AttentionClassifier(HierarchicalAttention(d_model=32)).architecture
    HierarchicalAttention(d_model=32)
    """

    api_version = 1
    name = "hierarchical_attention"
    supports = {"tokens": {"classification", "regression"}}
    consumes = ("mask", "segments")
    citation = (
        "Yang, Yang, Dyer, He, Smola, Hovy, Hierarchical Attention Networks for "
        "Document Classification, NAACL 2016"
    )
    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "num_layers": Int(1, 2),
        "embedding_dropout": Float(0.0, 0.6),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_layers: int = 1,
        embedding_dropout: float = 0.3,
        dropout: float = 0.1,
    ) -> None:
        self.d_model = d_model
        self.num_layers = num_layers
        self.embedding_dropout = embedding_dropout
        self.dropout = dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(
            self,
            "d_model",
            "num_layers",
            probabilities=["embedding_dropout", "dropout"],
        )
        if self.d_model % 2:
            raise ValueError(
                f"d_model={self.d_model} cannot be shared by two directions: choose an "
                "even number."
            )
        return _HierarchicalAttention(self, data)


class _HierarchicalAttention(nn.Module):
    def __init__(self, params: HierarchicalAttention, data: DataSpec) -> None:
        super().__init__()
        self.tokens = Tokens(data, params.d_model)
        self.embedding_dropout = LeanDropout(params.embedding_dropout)
        self.words = _Level(params, "words", "segments", "tokens")
        self.dropout = LeanDropout(params.dropout)
        self.sentences = _Level(params, "sentences", "document", "segments")
        self.head = ScoreHead(data, params.d_model)

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        member = _members(real, segments)  # (batch, sentences, length)
        counts = member.sum(dim=-1)  # words of each sentence
        there = counts > 0
        there[:, 0] = True  # a text without words has one sentence without words

        w = self.embedding_dropout(self.tokens(tokens))  # (batch, length, d_model)
        h = self.words.read_each(w, real, counts[there])
        s = self.words.pool(h, member)  # (batch, sentences, d_model)

        h = self.sentences.read(self.dropout(s), there)
        v = self.sentences.pool(h, there[:, None])[:, 0]  # (batch, d_model)
        return self.head(self.dropout(v))


def _members(real: Tensor, segments: Tensor | None) -> Tensor:
    """Tell which tokens are in which sentence: (batch, sentences, length)."""
    if segments is None:
        return real[:, None]
    begins = functional.pad(segments.diff(dim=1) != 0, (1, 0))
    number = torch.where(real, begins.long().cumsum(dim=1), 0)
    sentences = torch.arange(int(number.max()) + 1, device=real.device)
    return (number[:, None] == sentences[:, None]) & real[:, None]


class _Level(nn.Module):
    """Read a sequence in both directions and pool it by a learned context vector."""

    def __init__(
        self, params: HierarchicalAttention, layer: str, queries: str, keys: str
    ) -> None:
        super().__init__()
        width = params.d_model
        self.layer, self.queries, self.keys = layer, queries, keys
        self.read = MaskedLSTM(
            width,
            width // 2,
            params.num_layers,
            bidirectional=True,
            dropout=params.dropout,
        )
        self.project = nn.Linear(width, width)
        self.context = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.context, std=width**-0.5)

    def read_each(self, h: Tensor, real: Tensor, lengths: Tensor) -> Tensor:
        """Read the sequences that lie in `h` (batch, steps, d_model) one by one.

        Their `lengths` add up to the number of real steps.
        """
        steps = torch.arange(int(lengths.max().clamp(min=1)), device=h.device)
        within = steps < lengths[:, None]  # (sequences, longest)
        apart = h.new_zeros(*within.shape, h.shape[-1])
        apart[within] = h[real]
        states = self.read(apart, within)[within]  # (real steps, d_model)
        together = states.new_zeros(h.shape)
        together[real] = states
        return together

    def pool(self, h: Tensor, member: Tensor) -> Tensor:
        """Average over the members (batch, queries, steps) of each query."""
        scores = torch.tanh(self.project(h)) @ self.context  # (batch, steps)
        alpha = masked_softmax(scores[:, None], member)  # (batch, queries, steps)
        alpha = record(
            alpha[:, None],
            layer=self.layer,
            kind="pooling",
            queries=self.queries,
            keys=self.keys,
            mask=member[:, None],
            values=h[:, None],
        )[:, 0]
        return alpha @ h
