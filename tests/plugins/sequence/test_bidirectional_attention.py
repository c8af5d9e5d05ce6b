"""Bidirectional attention against its equations in NumPy."""

import numpy as np
import pytest
import torch
from _numpy_layers import (
    CASES,
    TABLE,
    TAGS,
    TEXT,
    axis_of,
    build,
    head,
    inputs_of,
    layer_norm,
    linear,
    lstm,
    run,
    softmax,
    tokens_of,
    unpadded,
    weights_of,
)

from skattn.architectures import BidirectionalAttention


def stacked(state, tokens):
    """Run both directions; each stacks its own layers."""
    forward = lstm(state, "lstm.forward_lstm", tokens)
    backward = lstm(state, "lstm.backward_lstm", tokens[::-1])[::-1]
    return np.hstack([forward, backward])


def forward(state, data, x, observed, categories):
    """Compute the scores of one unpadded sample and the weights of its steps."""
    tokens = tokens_of(state, data, x, observed, categories)
    states = layer_norm(state, "norm", stacked(state, tokens))
    energy = np.tanh(linear(state, "project_key", states)) @ state["score"]
    alpha = softmax(energy)
    return head(state, data, alpha @ states), alpha


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_equation(case, num_layers):
    data = CASES[case]
    params = BidirectionalAttention(d_model=6, num_layers=num_layers, dropout=0.5)
    module, inputs = build(params, data), inputs_of(data)
    fused, explicit, (record,) = run(module, inputs)
    assert (record.layer, record.kind) == ("attention", "pooling")
    assert record.queries == "pooled"
    assert record.keys == axis_of(data)
    state = weights_of(module)
    for number, (x, observed, categories, real) in enumerate(unpadded(inputs)):
        scores, alpha = forward(state, data, x, observed, categories)
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        got = record.weights[number, 0, 0].numpy()
        np.testing.assert_allclose(got[real], alpha, atol=1e-12)
        assert not got[~real].any()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_each_state_of_a_text_to_tag_asks_all_states(num_layers):
    params = BidirectionalAttention(d_model=6, num_layers=num_layers)
    module, inputs = build(params, TAGS), inputs_of(TAGS)
    fused, explicit, (record,) = run(module, inputs)
    assert (record.layer, record.kind) == ("attention", "self")
    assert (record.queries, record.keys) == ("tokens", "tokens")
    state = weights_of(module)
    for number, (tokens, _, _, real) in enumerate(unpadded(inputs)):
        states = stacked(state, tokens_of(state, TAGS, tokens, None, None))
        states = layer_norm(state, "norm", states)
        query = linear(state, "project_query", states)
        key = linear(state, "project_key", states)
        alpha = softmax(query @ key.T / np.sqrt(6))
        scores = head(state, TAGS, np.hstack([states, alpha @ states]))
        np.testing.assert_allclose(fused[number][real], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number][real], scores, atol=1e-11)
        got = record.weights[number, 0].numpy()[real]
        np.testing.assert_allclose(got[:, real], alpha, atol=1e-12)
        assert not got[:, ~real].any()


@pytest.mark.parametrize("data", [TEXT, TAGS])
def test_tokens_of_texts_have_a_dropout_of_their_own(data):
    tokens = torch.arange(9)[None]
    for noise, is_noisy in (
        ("dropout", True),
        ("embedding_dropout", True),
        ("", False),
    ):
        rates = {"dropout": 0.0, "embedding_dropout": 0.0}
        rates |= {noise: 0.5} if noise else {}
        module = BidirectionalAttention(**rates).build(data)
        assert torch.equal(module(tokens), module(tokens)) != is_noisy


def test_two_directions_need_an_even_width():
    with pytest.raises(ValueError, match=r"d_model=7.*even"):
        BidirectionalAttention(d_model=7).build(TABLE)


@pytest.mark.parametrize("name", ["d_model", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of BidirectionalAttention must be a positive integer"
    with pytest.raises(ValueError, match=message):
        BidirectionalAttention(**{name: value}).build(TABLE)


@pytest.mark.parametrize("name", ["dropout", "embedding_dropout"])
@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(name, value):
    message = f"{name}={value} of BidirectionalAttention must be"
    with pytest.raises(ValueError, match=message):
        BidirectionalAttention(**{name: value}).build(TABLE)
