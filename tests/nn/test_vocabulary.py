"""Embeddings of tokens, and the head that may share their weights."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from skattn import DataSpec, SpecialToken
from skattn.nn import TokenEmbedding, VocabularyHead, translation_maps


@pytest.fixture
def embedding():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TokenEmbedding(500, 16)


@torch.no_grad()
def test_units_of_a_token_have_variance_one(embedding):
    tokens = torch.arange(6, 500)[None]
    h = embedding(tokens)
    assert h.shape == (1, 494, 16)
    np.testing.assert_array_equal(h[0], embedding.weight[6:] * 4.0)
    assert h.mean().abs() < 0.05
    assert 0.95 < h.std() < 1.05


@torch.no_grad()
def test_an_unknown_token_says_nothing_at_first(embedding):
    rows = embedding.weight.abs().sum(dim=1)
    silent = (rows == 0).nonzero().flatten().tolist()
    assert silent == [SpecialToken.UNKNOWN]


@torch.no_grad()
def test_scores_are_products_with_the_embeddings(embedding):
    head = VocabularyHead(16, 500, embedding)
    h = torch.linspace(-1, 1, 48).reshape(3, 16)
    torch.testing.assert_close(head(h), h @ embedding.weight.T)  # no bias yet
    head.bias.add_(1.0)
    torch.testing.assert_close(head(h), h @ embedding.weight.T + 1.0)


def test_gradients_of_both_uses_are_added(embedding):
    head = VocabularyHead(16, 500, embedding)
    tokens = torch.tensor([[7, 8, 7]])
    weight = embedding.weight.detach().clone().requires_grad_()
    head(embedding(tokens)).square().sum().backward()
    scores = functional.linear(functional.embedding(tokens, weight) * 4.0, weight)
    scores.square().sum().backward()
    torch.testing.assert_close(embedding.weight.grad, weight.grad)


def test_an_own_head_shares_nothing(embedding):
    head = VocabularyHead(16, 500)
    assert head.weight is not embedding.weight
    assert head.weight.shape == embedding.weight.shape
    assert not head.bias.any()


def data_of(source, target, shared):
    return DataSpec(
        "translation",
        "tokens",
        vocabulary_size=source,
        target_vocabulary_size=target,
        shared_vocabulary=shared,
    )


@pytest.mark.parametrize(
    ("data", "tied", "one_embedding", "tied_head"),
    [
        (data_of(20, 20, True), True, True, True),
        (data_of(20, 20, True), False, False, False),
        (data_of(20, 20, False), True, False, True),
        (data_of(20, 30, False), True, False, True),
        (data_of(20, 30, False), False, False, False),
    ],
)
def test_what_is_shared(data, tied, one_embedding, tied_head):
    made = translation_maps(data, 8, tied)
    for source, target, head in (made, copy.deepcopy(made), _pickled(made)):
        assert (source is target) == one_embedding
        assert (head.weight is target.weight) == tied_head
        assert source.weight.shape == (data.vocabulary_size, 8)
        assert target.weight.shape == (data.target_vocabulary_size, 8)
        assert head.out_features == data.target_vocabulary_size


def _pickled(modules):
    return pickle.loads(pickle.dumps(modules))
