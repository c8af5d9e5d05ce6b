"""Bidirectional attention against its equations in NumPy."""

import numpy as np
import pytest
from _numpy_layers import (
    CASES,
    TABLE,
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
    assert record.keys == ("features" if data.input == "table" else "time")
    state = weights_of(module)
    for number, (x, observed, categories, real) in enumerate(unpadded(inputs)):
        scores, alpha = forward(state, data, x, observed, categories)
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        got = record.weights[number, 0, 0].numpy()
        np.testing.assert_allclose(got[real], alpha, atol=1e-12)
        assert not got[~real].any()


def test_two_directions_need_an_even_width():
    with pytest.raises(ValueError, match=r"d_model=7.*even"):
        BidirectionalAttention(d_model=7).build(TABLE)


@pytest.mark.parametrize("name", ["d_model", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of BidirectionalAttention must be a positive integer"
    with pytest.raises(ValueError, match=message):
        BidirectionalAttention(**{name: value}).build(TABLE)


@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(value):
    with pytest.raises(
        ValueError, match=f"dropout={value} of BidirectionalAttention must be"
    ):
        BidirectionalAttention(dropout=value).build(TABLE)
