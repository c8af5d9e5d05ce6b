"""Self-attention against its equations in NumPy."""

import numpy as np
import pytest
import torch
from _numpy_layers import (
    CASES,
    TABLE,
    TAGS,
    TEXT,
    WORDS,
    axis_of,
    build,
    encoder_block,
    head,
    inputs_of,
    layer_norm,
    run,
    tokens_of,
    unpadded,
    weights_of,
)

from skattn.architectures import SelfAttention


def positions(n_steps, width):
    """Write the sinusoids of Vaswani et al., sines before cosines."""
    angle = np.arange(n_steps)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.hstack([np.sin(angle), np.cos(angle)])


def embed(state, data, params, x, observed=None, categories=None):
    """Embed one unpadded sample, with positions where it has an order."""
    h = tokens_of(state, data, x, observed, categories)
    if data.input == "tokens":
        h = h * np.sqrt(params.d_model)
    if data.input != "table":
        h = h + positions(len(h), params.d_model)
    return h


def forward(state, data, params, x, observed, categories):
    """Compute the scores of one unpadded sample and the weights of each block."""
    h = embed(state, data, params, x, observed, categories)
    h = np.vstack([state["cls"], h])
    weights = []
    for number in range(params.num_layers):
        is_last = number == params.num_layers - 1
        h, attended = encoder_block(
            state, f"blocks.{number}", h, params.num_heads, 1 if is_last else None
        )
        weights.append(attended)
    return head(state, data, layer_norm(state, "norm", h)[0]), weights


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "params",
    [
        SelfAttention(d_model=8, num_heads=2, num_layers=3, dropout=0.5),
        SelfAttention(d_model=6, num_heads=1, num_layers=1, d_ff=5),
    ],
)
def test_equation(case, params):
    data = CASES[case]
    module, inputs = build(params, data), inputs_of(data)
    fused, explicit, records = run(module, inputs)
    names = ("cls", axis_of(data))
    assert [record.layer for record in records] == [
        f"blocks.{number}" for number in range(params.num_layers)
    ]
    assert [record.queries for record in records] == [names] * (
        params.num_layers - 1
    ) + ["cls"]
    assert {record.keys for record in records} == {names}
    # torch computes the sinusoids in single precision.
    tolerance = 1e-11 if data.input == "table" else 2e-5
    state = weights_of(module)
    for number, (x, observed, categories, real) in enumerate(unpadded(inputs)):
        scores, weights = forward(state, data, params, x, observed, categories)
        np.testing.assert_allclose(fused[number], scores, atol=tolerance)
        np.testing.assert_allclose(explicit[number], scores, atol=tolerance)
        kept = np.flatnonzero(np.concatenate([[True], real]))
        for record, expected in zip(records, weights, strict=True):
            got = record.weights[number].numpy()  # (heads, queries, keys)
            assert not np.delete(got, kept, axis=2).any()
            got = got[:, kept] if got.shape[1] > 1 else got
            np.testing.assert_allclose(got[:, :, kept], expected, atol=tolerance)


@pytest.mark.parametrize("data", [TAGS, WORDS])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_each_token_is_read_where_it_has_scores_of_its_own(data, num_layers):
    params = SelfAttention(d_model=8, num_heads=2, num_layers=num_layers)
    module, inputs = build(params, data), inputs_of(data)
    fused, explicit, records = run(module, inputs)
    assert {(record.queries, record.keys) for record in records} == {
        ("tokens", "tokens")
    }
    state = weights_of(module)
    assert "cls" not in state
    for number, (tokens, _, _, real) in enumerate(unpadded(inputs)):
        h = embed(state, data, params, tokens)
        for layer, record in enumerate(records):
            h, weights = encoder_block(state, f"blocks.{layer}", h, 2)
            got = record.weights[number].numpy()[:, real]
            np.testing.assert_allclose(got[:, :, real], weights, atol=2e-5)
            assert not got[:, :, ~real].any()
        scores = head(state, data, layer_norm(state, "norm", h))
        np.testing.assert_allclose(fused[number][real], scores, atol=2e-5)
        np.testing.assert_allclose(explicit[number][real], scores, atol=2e-5)


def test_pretraining_leaves_all_but_the_extra_token_and_the_head():
    shapes = [
        {
            (name, weight.shape)
            for name, weight in SelfAttention().build(data).state_dict().items()
            if not name.startswith("head.")
        }
        for data in (WORDS, TEXT)
    ]
    assert shapes[1] - shapes[0] == {("cls", (32,))}


def test_words_are_dropped_before_the_blocks_and_only_while_training():
    module = SelfAttention(dropout=0.0, embedding_dropout=0.5).build(TEXT)
    tokens = torch.arange(9)[None]
    assert not torch.equal(module(tokens), module(tokens))
    module.eval()
    assert torch.equal(module(tokens), module(tokens))
    module = SelfAttention(dropout=0.0, embedding_dropout=0.0).build(TEXT)
    assert torch.equal(module(tokens), module(tokens))


def test_hidden_units_are_twice_the_width_by_default():
    block = SelfAttention(d_model=8).build(TABLE).blocks[0]
    assert block.feed_forward[0].out_features == 16


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        SelfAttention(d_model=8, num_heads=3).build(TABLE)


@pytest.mark.parametrize("name", ["d_model", "num_heads", "num_layers", "d_ff"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of SelfAttention must be a positive integer"
    with pytest.raises(ValueError, match=message):
        SelfAttention(**{name: value}).build(TABLE)


@pytest.mark.parametrize("name", ["dropout", "embedding_dropout"])
@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} of SelfAttention must be"):
        SelfAttention(**{name: value}).build(TABLE)
