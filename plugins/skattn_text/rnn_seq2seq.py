"""An LSTM that reads, an LSTM that writes, and attention from one to the other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from skattn import Architecture, Choice, DataSpec, Float, Int, SpecialToken
from skattn.nn import (
    LeanDropout,
    MaskedLSTM,
    check_sizes,
    masked_softmax,
    record,
    translation_maps,
)

_SCORES = ("additive", "multiplicative")


class RNNSeq2Seq(Architecture):
    r"""Bidirectional LSTM encoder and LSTM decoder with attention, for translation.

    With embedded tokens :math:`x` of the source and :math:`y` of the target,

    .. math:: h_j = [\overrightarrow{h}_j; \overleftarrow{h}_j] =
              \mathrm{BiLSTM}(x_1, \dots, x_L)_j, \quad
              s_0 = \tanh(W_0 \overleftarrow{h}_1)

    and the attention :math:`c(s) = \sum_j \mathrm{softmax}_j(\mathrm{score}(s, h_j))
    h_j`, a decoder is one of two.

    ``"additive"``, after Bahdanau et al.: the state so far looks at the source, and
    what it sees enters the next state,

    .. math:: \mathrm{score}(s, h) = v^\top \tanh(W_a s + U_a h), \quad
              c_i = c(s_{i-1}), \quad
              s_i = \mathrm{LSTM}(s_{i-1}, [y_{i-1}; c_i]), \quad
              o_i = \tanh(W_o [s_i; c_i; y_{i-1}] + b_o)

    ``"multiplicative"``, after Luong et al.: the new state looks at the source, and
    the outcome is fed to the next one,

    .. math:: \mathrm{score}(s, h) = s^\top U_a h, \quad
              s_i = \mathrm{LSTM}(s_{i-1}, [y_{i-1}; o_{i-1}]), \quad
              c_i = c(s_i), \quad
              o_i = \tanh(W_o [s_i; c_i] + b_o), \quad o_0 = 0

    The scores of the token :math:`y_i` are :math:`E_t o_i + b`. Bahdanau et al. have
    gated recurrent units in place of LSTMs, and in place of tanh in :math:`o` the
    larger one of two units; Luong et al. read the source in one direction.

    Parameters
    ----------
    d_model : int, default=64
        Width of tokens, of :math:`s` and of one direction of :math:`h`; 1000 in both
        papers.
    num_layers : int, default=1
        Stacked LSTM layers, of the encoder and of the decoder, whose last one takes
        part in attention; 1 and 4 in the papers.
    score : {"additive", "multiplicative"}, default="additive"
        Which decoder.
    dropout : float, default=0.2
        Probability of dropping a unit of :math:`x`, :math:`y`, :math:`h` and
        :math:`o`, and between stacked layers.
    tie_embeddings : bool, default=True
        Let :math:`E_t` be the embedding of the target's tokens; and where both
        languages have one vocabulary, let them have one embedding.

    References
    ----------
    Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate", ICLR 2015, arXiv 1409.0473.
    Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine
    Translation", EMNLP 2015, arXiv 1508.04025.
    Press and Wolf, "Using the Output Embedding to Improve Language Models", EACL 2017,
    arXiv 1608.05859.

    Examples
    --------
    >>> from skattn import AttentionTranslator
    >>> from skattn.architectures import RNNSeq2Seq
    >>> AttentionTranslator(RNNSeq2Seq(score="multiplicative")).architecture
    RNNSeq2Seq(score='multiplicative')
    """

    api_version = 1
    name = "rnn_seq2seq"
    supports = {"tokens": {"translation"}}
    consumes = ("mask", "target_tokens")
    citation = (
        "Bahdanau, Cho, Bengio, Neural Machine Translation by Jointly Learning to "
        "Align and Translate, ICLR 2015, arXiv 1409.0473"
    )
    search_space = {
        "d_model": Choice(32, 64, 128, 256),
        "num_layers": Int(1, 2),
        "score": Choice(*_SCORES),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        d_model: int = 64,
        num_layers: int = 1,
        score: str = "additive",
        dropout: float = 0.2,
        tie_embeddings: bool = True,
    ) -> None:
        self.d_model = d_model
        self.num_layers = num_layers
        self.score = score
        self.dropout = dropout
        self.tie_embeddings = tie_embeddings

    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module; see `Architecture.build`."""
        check_sizes(self, "d_model", "num_layers", probabilities=["dropout"])
        if self.score not in _SCORES:
            raise ValueError(
                f"score={self.score!r} of RNNSeq2Seq must be 'additive' or "
                "'multiplicative'."
            )
        if not isinstance(self.tie_embeddings, bool):
            raise ValueError(
                f"tie_embeddings={self.tie_embeddings!r} of RNNSeq2Seq must be True "
                "or False."
            )
        return _RNNSeq2Seq(self, data)


class _Memory(NamedTuple):
    values: Tensor  # (batch, length, 2 d_model): h
    keys: Tensor  # (batch, length, d_model): U_a h
    mask: Tensor | None


class _Attention(nn.Module):
    """Attention of a state of the decoder to those of the encoder."""

    def __init__(self, score: str, width: int) -> None:
        super().__init__()
        self.project_key = nn.Linear(2 * width, width, bias=False)
        self.is_additive = score == "additive"
        if self.is_additive:
            self.project_query = nn.Linear(width, width, bias=False)
            self.vector = nn.Parameter(torch.empty(width))
            nn.init.normal_(self.vector, std=width**-0.5)

    def forward(self, state: Tensor, memory: _Memory, number: int) -> Tensor:
        """Compute the context (batch, 2 d_model) of token `number`."""
        if self.is_additive:
            query = self.project_query(state)[:, None]
            scores = (query + memory.keys).tanh() @ self.vector
        else:
            scores = (memory.keys @ state[..., None])[..., 0]
        mask = memory.mask
        weights = record(
            masked_softmax(scores, mask)[:, None, None],  # (batch, 1, 1, length)
            layer="decoder",
            kind="cross",
            queries="target_tokens",
            keys="tokens",
            mask=None if mask is None else mask[:, None, None],
            values=memory.values[:, None],
            first_query=number,
        )[:, 0]
        return (weights @ memory.values)[:, 0]


class _FedCell(nn.Module):
    """LSTM cell that gets part of its input beforehand, for all steps at once."""

    def __init__(self, width: int, fed_width: int) -> None:
        super().__init__()
        self.ahead = nn.Linear(width, 4 * width)
        self.recurrent = nn.Linear(fed_width + width, 4 * width, bias=False)

    def forward(
        self, ahead: Tensor, fed: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the next hidden and cell state (batch, d_model)."""
        gates = ahead + self.recurrent(torch.cat([fed, hidden], dim=-1))
        enter, keep, new, leave = gates.chunk(4, dim=-1)
        cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * cell.tanh(), cell


class _State(NamedTuple):
    sentences: Tensor  # (batch,): which row of the memory each row goes on from
    memory: _Memory
    layers: list[tuple[Tensor, Tensor]]  # hidden and cell state
    output: Tensor  # (batch, d_model): o
    number: int = 0  # of tokens so far


class _RNNSeq2Seq(nn.Module):
    def __init__(self, params: RNNSeq2Seq, data: DataSpec) -> None:
        super().__init__()
        width, depth = params.d_model, params.num_layers
        self.is_additive = params.score == "additive"
        maps = translation_maps(data, width, params.tie_embeddings)
        self.source, self.target, self.head = maps
        self.encoder = MaskedLSTM(
            width, width, depth, bidirectional=True, dropout=params.dropout
        )
        self.bridge = nn.Linear(width, 2 * depth * width)
        self.attention = _Attention(params.score, width)
        self.cell = _FedCell(width, 2 * width if self.is_additive else width)
        self.upper_cells = nn.ModuleList(
            nn.LSTMCell(width, width) for _ in range(depth - 1)
        )
        self.combine = nn.Linear((4 if self.is_additive else 3) * width, width)
        self.dropout = LeanDropout(params.dropout)

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        target_tokens: Tensor | None = None,
    ) -> Tensor:
        """Compute raw scores; see `Architecture`."""
        if target_tokens is None:  # the scores of the first token
            target_tokens = tokens.new_full((len(tokens), 1), SpecialToken.START)
        y = self.dropout(self.target(target_tokens))  # (batch, steps, d_model)
        state, outputs = self.start(tokens, mask), []
        ahead = self.cell.ahead(y).unbind(dim=1)
        for step, embedded in zip(ahead, y.unbind(dim=1), strict=True):
            state = self.advance(step, embedded, state)
            outputs.append(state.output)
        return self.head(torch.stack(outputs, dim=1))

    def start(self, tokens: Tensor, mask: Tensor | None = None) -> _State:
        """Begin to translate; see `Architecture`."""
        values = self.encoder(self.dropout(self.source(tokens)), mask)
        if mask is not None:
            values = torch.where(mask[..., None], values, 0.0)
        backward = values[:, 0].chunk(2, dim=-1)[1]  # it has read the whole sentence
        parts = self.bridge(backward).tanh().chunk(2 + 2 * len(self.upper_cells), -1)
        values = self.dropout(values)
        memory = _Memory(values, self.attention.project_key(values), mask)
        sentences = torch.arange(len(tokens), device=tokens.device)
        layers = list(zip(parts[::2], parts[1::2], strict=True))
        return _State(sentences, memory, layers, torch.zeros_like(backward))

    def advance(self, ahead: Tensor, embedded: Tensor, state: _State) -> _State:
        """Take one token (batch, d_model)."""
        memory, number = state.memory, state.number
        if self.is_additive:
            context = self.attention(state.layers[-1][0], memory, number)
            layers = self.recur(ahead, context, state.layers)
            joined = [layers[-1][0], context, embedded]
        else:
            layers = self.recur(ahead, state.output, state.layers)
            context = self.attention(layers[-1][0], memory, number)
            joined = [layers[-1][0], context]
        output = self.dropout(self.combine(torch.cat(joined, dim=-1)).tanh())
        return state._replace(layers=layers, output=output, number=number + 1)

    def recur(
        self, ahead: Tensor, fed: Tensor, layers: list[tuple[Tensor, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Compute the next hidden and cell state of all layers."""
        following = [self.cell(ahead, fed, *layers[0])]
        for cell, layer in zip(self.upper_cells, layers[1:], strict=True):
            following.append(cell(self.dropout(following[-1][0]), layer))
        return following

    def step(self, target_tokens: Tensor, state: _State) -> tuple[Tensor, _State]:
        """Score what follows one more token; see `Architecture`."""
        embedded = self.target(target_tokens)
        state = self.advance(self.cell.ahead(embedded), embedded, state)
        return self.head(state.output), state

    def reorder(self, state: _State, index: Tensor) -> _State:
        """Keep these rows; see `Architecture`."""
        sentences, memory = state.sentences[index], state.memory
        if not torch.equal(sentences, state.sentences):
            mask = None if memory.mask is None else memory.mask[index]
            memory = _Memory(memory.values[index], memory.keys[index], mask)
        layers = [(hidden[index], cell[index]) for hidden, cell in state.layers]
        return _State(sentences, memory, layers, state.output[index], state.number)
