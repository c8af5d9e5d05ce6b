"""Texts as their own targets: which tokens are chosen, and what is read instead."""

import numpy as np
import pytest
import torch

from skattn import SpecialToken
from skattn._engine._losses import IGNORED
from skattn._engine._token_prediction import MaskedSamples, NextTokenSamples

FIRST = len(SpecialToken)
VOCABULARY = 206
PLACE = {"dtype": torch.float32, "device": torch.device("cpu")}


def as_objects(rows):
    found = np.empty(len(rows), dtype=object)
    found[:] = [np.asarray(row, dtype=np.int64) for row in rows]
    return found


def texts(n=200, length=100, seed=0):
    rng = np.random.default_rng(seed)
    return as_objects(rng.integers(FIRST, VOCABULARY, size=(n, length)))


def masked(tokens, **options):
    options = {"vocabulary_size": VOCABULARY, "rate": 0.15, **options}
    return MaskedSamples(tokens, **options, **PLACE)


def take(samples, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return samples.take(torch.arange(len(samples)))


def padded(tokens):
    return torch.from_numpy(np.stack(list(tokens)))


def test_three_of_twenty_tokens_are_chosen_and_most_of_them_are_masked():
    tokens = texts()
    inputs, target = take(masked(tokens))
    read, true = inputs["tokens"], padded(tokens)
    chosen = target.values != IGNORED
    n = int(chosen.sum())
    assert chosen.double().mean() == pytest.approx(0.15, abs=0.01)
    assert target.n_tokens == n
    assert torch.equal(target.values[chosen], true[chosen])
    assert torch.equal(read[~chosen], true[~chosen])
    is_masked = read[chosen] == SpecialToken.MASKED
    is_left = read[chosen] == true[chosen]
    assert is_masked.double().mean() == pytest.approx(0.8, abs=0.03)
    # One of the 200 that a token is replaced by is that token itself.
    assert is_left.double().mean() == pytest.approx(0.1, abs=0.03)
    others = read[chosen][~is_masked & ~is_left]
    assert len(others) / n == pytest.approx(0.1, abs=0.03)
    assert others.min() == FIRST
    assert others.max() == VOCABULARY - 1
    assert len(others.unique()) > 100


def test_every_text_has_its_own_choice():
    chosen = take(masked(texts(n=50)))[1].values != IGNORED
    assert len(chosen.unique(dim=0)) == 50


def test_special_tokens_and_padding_are_never_chosen():
    rows = [[*range(1, FIRST)] * 20, [FIRST] * 40, [1]]
    inputs, target = take(masked(as_objects(rows), rate=1.0))
    assert (target.values[0] == IGNORED).all()
    assert (target.values[2] == IGNORED).all()
    assert (target.values[1, :40] == FIRST).all()
    assert (target.values[1, 40:] == IGNORED).all()
    assert inputs["tokens"][0].tolist() == rows[0]
    assert (inputs["tokens"][2, 1:] == SpecialToken.PADDING).all()
    assert inputs["mask"].sum(dim=1).tolist() == [100, 40, 1]
    assert target.n_tokens == 40


def test_nothing_to_guess_counts_for_nothing():
    inputs, target = take(masked(as_objects([[1], [1, 1]]), vocabulary_size=FIRST))
    assert target.size == 0
    assert inputs["tokens"].max() == SpecialToken.UNKNOWN


def test_another_choice_is_made_each_time_but_where_a_seed_is_set():
    samples = masked(texts(n=20))
    index = np.arange(20)
    trained, held_out = samples.at(index, None), samples.at(index, None)
    held_out.seed = 3
    assert trained.seed is None
    with torch.random.fork_rng():
        first, second = (each.take(torch.arange(8)) for each in (trained,) * 2)
        assert not torch.equal(first[1].values, second[1].values)
        state = torch.get_rng_state()
        one, two = (held_out.take(torch.arange(8)) for _ in range(2))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one[1].values, two[1].values)
    assert torch.equal(one[0]["tokens"], two[0]["tokens"])
    other = held_out.take(torch.arange(8, 16))
    assert not torch.equal(other[1].values != IGNORED, one[1].values != IGNORED)


def test_the_choice_follows_the_random_state():
    samples = masked(texts(n=5))
    assert torch.equal(take(samples, 1)[1].values, take(samples, 1)[1].values)
    assert not torch.equal(take(samples, 1)[1].values, take(samples, 2)[1].values)


def test_views_choose_among_their_own_rows():
    samples = masked(as_objects([[6, 6], [7, 7], [8, 8]]), rate=1.0)
    view = samples.at(np.array([2, 0]), np.array([1.5, 0.5]))
    _, target = view.take(torch.arange(2))
    assert target.values.tolist() == [[8, 8], [6, 6]]
    assert target.weight.tolist() == [1.5, 0.5]


def test_next_tokens_begin_behind_the_start_and_end_in_the_end():
    samples = NextTokenSamples(as_objects([[6, 7, 8], [9]]), **PLACE)
    inputs, target = samples.take(torch.arange(2))
    start, end = int(SpecialToken.START), int(SpecialToken.END)
    assert inputs["tokens"].tolist() == [[start, 6, 7, 8], [start, 9, 0, 0]]
    assert target.values.tolist() == [[6, 7, 8, end], [9, end, IGNORED, IGNORED]]
    assert inputs["mask"].tolist() == [[True] * 4, [True, True, False, False]]
    assert target.n_tokens == 6
