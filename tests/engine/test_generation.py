"""Greedy decoding and beam search, against all sentences that can be written."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from skattn import SpecialToken
from skattn._engine._generation import translate
from skattn._engine._token_samples import TokenSamples

END, WORDS = int(SpecialToken.END), (6, 7)
VOCABULARY = 8


class Chain(nn.Module):
    """Scores of the next token by the last two tokens and the first of the source."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        shape = (VOCABULARY, VOCABULARY, VOCABULARY, VOCABULARY)
        self.table = nn.Parameter(torch.randn(shape, generator=generator))

    def start(self, tokens, mask=None):
        return tokens[:, 0], torch.zeros(len(tokens), dtype=torch.long)

    def step(self, token, state):
        source, before = state
        return self.table[source, before, token].clone(), (source, token)

    def reorder(self, state, index):
        return tuple(part[index] for part in state)


class WholeChain(nn.Module):
    """The same without a state."""

    def __init__(self, chain):
        super().__init__()
        self.table = chain.table

    def forward(self, tokens, mask=None, target_tokens=None):
        before = torch.nn.functional.pad(target_tokens[:, :-1], (1, 0))
        source = tokens[:, :1].expand_as(before)
        return self.table[source, before, target_tokens]


class FakeNet:
    precision, device = "float32", "cpu"

    def __init__(self, module):
        self.module_ = module

    def _set_training(self, training):
        self.module_.train(training)


def sentences(*firsts, lengths=None):
    found = np.empty(len(firsts), dtype=object)
    for row, first in enumerate(firsts):
        length = 1 if lengths is None else lengths[row]
        found[row] = np.full(length, first)
    return TokenSamples(
        {"tokens": found}, dtype=torch.float32, device=torch.device("cpu")
    )


def run(module, samples, limit=4, **options):
    options = {"beam_size": 1, "length_penalty": 0.0, **options}
    return translate(FakeNet(module), samples, limit=lambda length: limit, **options)


def log_probability(module, source, words):
    """Sum of the logarithms along a sentence that ends."""
    total, before, token = 0.0, 0, int(SpecialToken.START)
    for word in [*words, END]:
        row = module.table[source, before, token].detach().double()
        allowed = row[[END, *WORDS]]
        total += float(row[word] - allowed.logsumexp(0))
        before, token = token, word
    return total


def likes_to_end(seed):
    """A chain whose sentences are short."""
    module = Chain(seed)
    with torch.no_grad():
        module.table[..., END] += 1.5
    return module


def every_sentence(limit):
    """All that can be written with the end among the first `limit` tokens."""
    return [w for length in range(limit) for w in product(WORDS, repeat=length)]


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_most_probable_sentence(seed):
    module = likes_to_end(seed)
    [found] = run(module, sentences(6), beam_size=600, limit=9)
    best = max(every_sentence(9), key=lambda w: log_probability(module, 6, w))
    assert tuple(found.tokens) == best
    assert found.score == pytest.approx(log_probability(module, 6, best), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_takes_the_most_probable_token_each_time(seed):
    module = Chain(seed)
    [found] = run(module, sentences(7), limit=5)
    words, before, token = [], 0, int(SpecialToken.START)
    while len(words) < 5:
        row = module.table[7, before, token].detach()
        best = max([END, *WORDS], key=lambda word: float(row[word]))
        if best == END:
            break
        words.append(best)
        before, token = token, best
    assert found.tokens == words
    assert found.is_complete == (len(words) < 5)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_the_length_penalty_divides_the_logarithm(penalty):
    module = likes_to_end(3)
    [found] = run(module, sentences(6), beam_size=600, length_penalty=penalty, limit=9)

    def score(words):
        length = len(words) + 1
        return log_probability(module, 6, words) / ((5 + length) / 6) ** penalty

    best = max(every_sentence(9), key=score)
    assert tuple(found.tokens) == best
    assert found.score == pytest.approx(score(best), abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_cached_and_whole_prefixes_write_the_same(beam_size):
    module = Chain(1)
    samples = sentences(6, 7, 6, 2, lengths=[1, 3, 9, 2])
    cached = run(module, samples, beam_size=beam_size, limit=9)
    whole = run(WholeChain(module), samples, beam_size=beam_size, limit=9)
    assert cached == whole


@pytest.mark.parametrize("beam_size", [1, 3])
def test_each_sentence_alone_is_written_as_in_company(beam_size):
    module = Chain(2)
    firsts, lengths = [6, 7, 3, 6, 5], [1, 3, 9, 2, 3]
    together = run(
        module, sentences(*firsts, lengths=lengths), beam_size=beam_size, limit=7
    )
    for first, length, expected in zip(firsts, lengths, together, strict=True):
        alone = sentences(first, lengths=[length])
        assert run(module, alone, beam_size=beam_size, limit=7) == [expected]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_only_words_and_the_end_are_written(beam_size):
    module = Chain(0)
    with torch.no_grad():
        module.table[..., :END] += 100.0
        module.table[..., END] -= 100.0
    found = run(module, sentences(6, 7), beam_size=beam_size, limit=6)
    assert all(set(each.tokens) <= set(WORDS) for each in found)
    assert all(len(each.tokens) == 6 and not each.is_complete for each in found)


def test_the_limit_is_each_sentences_own():
    module = Chain(0)
    with torch.no_grad():
        module.table[..., END] -= 100.0
    samples = sentences(6, 6, lengths=[2, 5])
    found = translate(
        FakeNet(module), samples, beam_size=1, length_penalty=0.0, limit=lambda n: n
    )
    assert [len(each.tokens) for each in found] == [2, 5]


def test_a_beam_of_hypotheses_that_have_ended_closes():
    module = Chain(0)
    steps = SimpleNamespace(count=0)
    step = module.step

    def counted(token, state):
        steps.count += 1
        return step(token, state)

    module.step = counted
    with torch.no_grad():
        module.table[..., END] += 100.0
    [found] = run(module, sentences(6), beam_size=1, limit=50)
    assert found.tokens == []
    assert steps.count == 1


class Keeping(Chain):
    """A module that hands out scores that it keeps."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kept = torch.randn(1024, VOCABULARY, generator=generator)

    def step(self, token, state):
        return self.kept[: len(token)], state


@pytest.mark.parametrize("beam_size", [1, 2])
def test_scores_of_the_module_are_left_as_they_are(beam_size):
    module = Keeping()
    before = module.kept.clone()
    run(module, sentences(6), beam_size=beam_size)
    assert torch.equal(module.kept, before)
