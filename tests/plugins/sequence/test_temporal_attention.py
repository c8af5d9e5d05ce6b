"""Temporal attention against its equations in NumPy."""

import math

import numpy as np
import pytest
import torch
from _numpy_layers import (
    CASES,
    TABLE,
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

from skattn.architectures import TemporalAttention


def forward(state, data, x, observed, categories):
    """Compute the scores of one unpadded sample, and what the last state sees."""
    tokens = tokens_of(state, data, x, observed, categories)
    states = layer_norm(state, "norm", lstm(state, "lstm.forward_lstm", tokens))
    query = linear(state, "project_query", states[-1])
    key = linear(state, "project_key", states)
    alpha = softmax(key @ query / math.sqrt(len(query)))
    return head(state, data, np.concatenate([alpha @ states, states[-1]])), alpha


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_equation(case, num_layers):
    data = CASES[case]
    params = TemporalAttention(d_model=6, num_layers=num_layers, dropout=0.5)
    module, inputs = build(params, data), inputs_of(data)
    fused, explicit, (record,) = run(module, inputs)
    assert (record.layer, record.kind) == ("attention", "pooling")
    assert record.queries == "last state"
    assert record.keys == axis_of(data)
    state = weights_of(module)
    for number, (x, observed, categories, real) in enumerate(unpadded(inputs)):
        scores, alpha = forward(state, data, x, observed, categories)
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        got = record.weights[number, 0, 0].numpy()
        np.testing.assert_allclose(got[real], alpha, atol=1e-12)
        assert not got[~real].any()


def test_tokens_of_a_text_have_a_dropout_of_their_own():
    tokens = torch.arange(9)[None]
    for noise, is_noisy in (
        ("dropout", True),
        ("embedding_dropout", True),
        ("", False),
    ):
        rates = {"dropout": 0.0, "embedding_dropout": 0.0}
        rates |= {noise: 0.5} if noise else {}
        module = TemporalAttention(**rates).build(TEXT)
        assert torch.equal(module(tokens), module(tokens)) != is_noisy


@torch.no_grad()
def test_an_empty_text_says_the_same_however_far_it_is_padded():
    module = build(TemporalAttention(d_model=6), TEXT)
    scores = [
        module(torch.randint(11, (1, length)), torch.zeros(1, length, dtype=bool))
        for length in (1, 4, 7)
    ]
    assert scores[0].isfinite().all()
    for other in scores[1:]:
        torch.testing.assert_close(other, scores[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["d_model", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of TemporalAttention must be a positive integer"
    with pytest.raises(ValueError, match=message):
        TemporalAttention(**{name: value}).build(TABLE)


@pytest.mark.parametrize("name", ["dropout", "embedding_dropout"])
@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(name, value):
    message = f"{name}={value} of TemporalAttention must be"
    with pytest.raises(ValueError, match=message):
        TemporalAttention(**{name: value}).build(TABLE)
