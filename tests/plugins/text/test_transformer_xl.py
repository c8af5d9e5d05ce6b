"""Transformer-XL against its equations in NumPy, and its recurrence."""

import math

import numpy as np
import pytest
import torch
from _numpy_text import (
    build,
    layer_norm,
    linear,
    relative_scores,
    run,
    sinusoid,
    softmax,
    texts_of,
    weights_of,
)
from torch.nn import functional

from skattn import DataSpec
from skattn.architectures import TransformerXL
from skattn.testing import parametrize_with_checks

WORDS = DataSpec(
    "token_prediction", "tokens", n_outputs=12, length=9, vocabulary_size=12
)
TOPICS = DataSpec("classification", "tokens", n_outputs=3, length=9, vocabulary_size=12)
CASES = {"words": WORDS, "topics": TOPICS}
SIZES = {"d_model": 8, "num_heads": 2, "d_ff": 7}

# torch computes the sinusoids in single precision.
TOLERANCE = 1e-6


@parametrize_with_checks(
    [TransformerXL(**SIZES, segment_length=3, memory_length=2)], ecosystem=False
)
def test_several_segments_keep_the_contract(architecture, check):
    check(architecture)


def block(state, prefix, h, memory, num_heads):
    """Transform one segment of one text; return the weights of the heads too."""
    joined = np.vstack([memory, h])
    query = linear(state, f"{prefix}.attention.project_query", h)
    both = linear(state, f"{prefix}.attention.project_key_value", joined)
    key, value = np.split(both, 2, axis=-1)
    width = h.shape[1]
    future = np.arange(len(joined)) > len(memory) + np.arange(len(h))[:, None]
    weights, heads = [], []
    for number, part in enumerate(np.split(np.arange(width), num_heads)):
        project = state[f"{prefix}.attention.project_distance.weight"][part]
        scores = relative_scores(
            query[:, part],
            key[:, part],
            lambda distance, w=project: w @ sinusoid(distance, width),
            state[f"{prefix}.attention.content_bias"][number],
            state[f"{prefix}.attention.distance_bias"][number],
            offset=len(memory),
        )
        scores[future] = -np.inf
        weights.append(softmax(scores / math.sqrt(len(part))))
        heads.append(weights[-1] @ value[:, part])
    attended = linear(state, f"{prefix}.attention.project_out", np.hstack(heads))
    h = layer_norm(state, f"{prefix}.norm_attention", h + attended)
    hidden = np.maximum(linear(state, f"{prefix}.feed_forward.0", h), 0.0)
    h = h + linear(state, f"{prefix}.feed_forward.3", hidden)
    return layer_norm(state, f"{prefix}.norm_feed_forward", h), np.stack(weights)


def forward(state, data, params, tokens):
    """Compute the scores of one text without padding, and the weights of all layers."""
    inputs = state["tokens.embed.weight"][tokens] * math.sqrt(params.d_model)
    n_tokens = len(tokens)
    layers = []
    for number in range(params.num_layers):
        outputs = np.empty_like(inputs)
        layer = np.zeros((params.num_heads, n_tokens, n_tokens))
        for start in range(0, n_tokens, params.segment_length):
            end = min(start + params.segment_length, n_tokens)
            first = max(start - params.memory_length, 0)
            outputs[start:end], layer[:, start:end, first:end] = block(
                state,
                f"blocks.{number}",
                inputs[start:end],
                inputs[first:start],
                params.num_heads,
            )
        inputs = outputs
        layers.append(layer)
    if data.task == "classification":
        inputs = inputs.mean(axis=0)
    return linear(state, "head.linear", inputs), layers


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("segment_length", [1, 4, 9, 20])
@pytest.mark.parametrize("memory_length", [0, 3, 20])
def test_equation(case, segment_length, memory_length):
    data = CASES[case]
    params = TransformerXL(
        **SIZES, segment_length=segment_length, memory_length=memory_length
    )
    module, inputs = build(params, data), texts_of(data)
    plain, recorded, records = run(module, inputs)
    np.testing.assert_array_equal(plain, recorded)
    assert [record.layer for record in records] == ["blocks.0", "blocks.1"]
    names = {(record.kind, record.queries, record.keys) for record in records}
    assert names == {("self", "tokens", "tokens")}
    state = weights_of(module)
    for number, real in enumerate(inputs["mask"]):
        tokens = inputs["tokens"][number][real]
        scores, layers = forward(state, data, params, tokens)
        got = plain[number][real] if case == "words" else plain[number]
        np.testing.assert_allclose(got, scores, atol=TOLERANCE)
        for record, weights in zip(records, layers, strict=True):
            found = record.weights[number].numpy()[:, real]
            np.testing.assert_allclose(found[..., real], weights, atol=TOLERANCE)
            assert not found[..., ~real].any()


def scores_of(params, tokens):
    """Predict from random weights, which depend on no length."""
    return build(params, WORDS)(tokens)


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("segment_length", [1, 3, 4, 11])
def test_with_enough_memory_segments_equal_the_whole(num_layers, segment_length):
    tokens = torch.arange(11)[None] % 5 + 1
    sizes = {**SIZES, "num_layers": num_layers}
    whole = TransformerXL(**sizes, segment_length=11, memory_length=0)
    cut = TransformerXL(**sizes, segment_length=segment_length, memory_length=11)
    expected = scores_of(whole, tokens)
    torch.testing.assert_close(scores_of(cut, tokens), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_each_layer_reaches_one_memory_further_back(num_layers):
    params = TransformerXL(
        d_model=8, num_layers=num_layers, segment_length=2, memory_length=2
    )
    tokens = torch.arange(12)[None] % 5 + 1
    scores = scores_of(params, tokens)
    # The last token begins no segment: position 11 of the segment 10, 11.
    for changed in range(12):
        other = tokens.clone()
        other[0, changed] += 5
        reached = (scores_of(params, other) - scores)[0, -1].abs().max() > 1e-9
        assert reached == (changed >= 10 - 2 * num_layers)


def test_the_memory_gets_no_gradient():
    module = build(TransformerXL(**SIZES, segment_length=3, memory_length=6), WORDS)
    received = []
    module.embedding_dropout.register_forward_hook(
        lambda _, __, h: (h.retain_grad(), received.append(h))[1]
    )
    module(torch.arange(1, 10)[None])[:, 6:].square().sum().backward()
    (embedded,) = received
    assert not embedded.grad[:, :6].any()
    assert embedded.grad[:, 6:].all()


def test_a_memory_of_nothing_reads_each_segment_alone():
    params = TransformerXL(**SIZES, segment_length=4, memory_length=0)
    tokens = torch.arange(1, 11)[None]
    scores = scores_of(params, tokens)
    alone = [scores_of(params, part) for part in tokens.split(4, dim=1)]
    torch.testing.assert_close(scores, torch.cat(alone, 1), rtol=0, atol=1e-12)


def test_tokens_see_none_that_come_later():
    module = build(TransformerXL(**SIZES, segment_length=4, memory_length=4), WORDS)
    tokens = torch.arange(1, 11)[None]
    scores = module(tokens)
    for length in range(1, 10):
        torch.testing.assert_close(
            module(tokens[:, :length]), scores[:, :length], rtol=0, atol=1e-12
        )


def copies(generator, n, distance):
    """Texts whose second half repeats the first one, `distance` tokens later."""
    first = torch.randint(6, 12, (n, distance), generator=generator)
    return torch.cat([first, first], dim=1)


def loss_after_training(memory_length):
    """Learn to predict copies in segments of four; score new ones' second half."""
    data = DataSpec(
        "token_prediction", "tokens", n_outputs=12, length=16, vocabulary_size=12
    )
    params = TransformerXL(
        d_model=32,
        num_heads=2,
        num_layers=1,
        segment_length=4,
        memory_length=memory_length,
        embedding_dropout=0.0,
        dropout=0.0,
    )
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = params.build(data)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)

    def loss_of(n):
        tokens = copies(generator, n, distance=8)
        scores = module(tokens)[:, 7:-1]
        return functional.cross_entropy(scores.flatten(0, 1), tokens[:, 8:].flatten())

    for _ in range(150):
        optimizer.zero_grad()
        loss_of(64).backward()
        optimizer.step()
    with torch.no_grad():
        return float(loss_of(500))


def test_longer_memory_gives_lower_loss_at_equal_segment_length():
    """Copied is what came eight tokens ago, and a segment has four tokens."""
    guess = math.log(6)
    none, short, enough = (loss_after_training(length) for length in (0, 4, 8))
    assert none > 0.95 * guess
    assert short < none - 0.1
    assert enough < short - 0.1
    assert enough < 0.1 * guess


@pytest.mark.parametrize(
    "name", ["d_model", "num_heads", "num_layers", "d_ff", "segment_length"]
)
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of TransformerXL must be a positive integer"
    with pytest.raises(ValueError, match=message):
        TransformerXL(**{name: value}).build(WORDS)


@pytest.mark.parametrize("value", [-1, 32.0, True, "8", None])
def test_memory_is_a_number_of_tokens(value):
    message = f"memory_length={value!r} of TransformerXL must be an integer"
    with pytest.raises(ValueError, match=message):
        TransformerXL(memory_length=value).build(WORDS)


@pytest.mark.parametrize("name", ["embedding_dropout", "dropout"])
@pytest.mark.parametrize("value", [1.0, -0.1, None])
def test_dropouts_are_probabilities(name, value):
    message = f"{name}={value} of TransformerXL must be a number"
    with pytest.raises(ValueError, match=message):
        TransformerXL(**{name: value}).build(WORDS)


def test_width_is_a_multiple_of_heads():
    with pytest.raises(ValueError, match="d_model=10 cannot be split into num_heads=4"):
        TransformerXL(d_model=10, num_heads=4).build(WORDS)
