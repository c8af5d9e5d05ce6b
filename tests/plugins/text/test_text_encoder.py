"""The encoder of texts against its equations in NumPy."""

from dataclasses import replace
from math import erf, sqrt

import numpy as np
import pytest
import torch
from _numpy_text import (
    LENGTHS,
    build,
    layer_norm,
    linear,
    run,
    sinusoid,
    softmax,
    texts_of,
    weights_of,
)

from skattn import DataSpec, SpecialToken
from skattn.architectures import TextEncoder

TOPICS = DataSpec("classification", "tokens", n_outputs=3, length=9, vocabulary_size=11)
TAGS = replace(TOPICS, task="tagging", n_outputs=5)
WORDS = replace(TOPICS, task="token_prediction", n_outputs=11)
PAIR = replace(TOPICS, input="pair")
CASES = {"topics": TOPICS, "tags": TAGS, "words": WORDS, "pair": PAIR}
OTHER_LENGTHS = np.array([2, 6, 7, 1])

# The module computes sinusoids in single precision.
TOLERANCE = 2e-6


def block(state, prefix, h, num_heads):
    """Transform (tokens, width); return the weights of the heads too."""
    normed = layer_norm(state, f"{prefix}.norm_attention", h)
    query = linear(state, f"{prefix}.attention.project_query", normed)
    joint = linear(state, f"{prefix}.attention.project_key_value", normed)
    key, value = np.split(joint, 2, axis=1)
    weights, heads = [], []
    for part in np.split(np.arange(h.shape[1]), num_heads):
        scores = query[:, part] @ key[:, part].T / sqrt(len(part))
        weights.append(softmax(scores))
        heads.append(weights[-1] @ value[:, part])
    h = h + linear(state, f"{prefix}.attention.project_out", np.hstack(heads))
    normed = layer_norm(state, f"{prefix}.norm_feed_forward", h)
    hidden = np.maximum(linear(state, f"{prefix}.feed_forward.0", normed), 0.0)
    return h + linear(state, f"{prefix}.feed_forward.3", hidden), np.stack(weights)


def forward(state, data, params, tokens, other_tokens=None):
    """Compute the scores of one unpadded sample, and the weights of each block."""
    width = params.d_model
    segments = [0] * (1 + len(tokens))
    if other_tokens is not None:
        segments += [0] + [1] * len(other_tokens)
        tokens = [*tokens, int(SpecialToken.SEPARATOR), *other_tokens]
    embedding = state["tokens.embed.weight"]
    h = np.vstack([state["cls"], *(embedding[code] for code in tokens)])
    h = h + np.stack([sinusoid(t, width) for t in range(len(h))]) / sqrt(width)
    if other_tokens is not None:
        h = h + state["segments"][segments]
    weights = []
    for number in range(params.num_layers):
        h, attended = block(state, f"blocks.{number}", h, params.num_heads)
        weights.append(attended)
    if data.task in ("classification", "regression"):
        read = h.mean(axis=0) if params.pooling == "mean" else h[0]
        pooled = np.tanh(linear(state, "pool", layer_norm(state, "norm", read)))
        return linear(state, "head.linear", pooled), weights
    normed = layer_norm(state, "norm", h[1:])
    if data.task == "tagging":
        return linear(state, "head.linear", normed), weights
    mapped = linear(state, "transform.0", normed)
    mapped = mapped * (1 + np.vectorize(erf)(mapped / sqrt(2))) / 2
    mapped = layer_norm(state, "transform.2", mapped)
    return mapped @ embedding.T + state["head.bias"], weights


def inputs_of(data, sides=("mask", "other_mask")):
    """Draw texts; a side without a mask is as long in all samples."""
    lengths = LENGTHS if "mask" in sides else np.full_like(LENGTHS, 9)
    inputs = texts_of(data, lengths)
    if data.input == "pair":
        lengths = OTHER_LENGTHS
        lengths = lengths if "other_mask" in sides else np.full_like(lengths, 7)
        other = texts_of(data, lengths)
        others = 1 + other["tokens"] % 10  # the same draw, with other words
        inputs["other_tokens"] = np.where(other["mask"], others, 0)
        inputs["other_mask"] = other["mask"]
    return inputs


def keep(inputs, sides):
    """Leave the other masks out."""
    return {
        name: array
        for name, array in inputs.items()
        if name in sides or not name.endswith("mask")
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "params",
    [
        TextEncoder(d_model=8, num_heads=2, num_layers=2, dropout=0.5),
        TextEncoder(d_model=7, num_heads=1, num_layers=1, d_ff=5, pooling="cls"),
    ],
)
@pytest.mark.parametrize(
    "sides", [("mask", "other_mask"), ("mask",), ("other_mask",), ()]
)
def test_equation(case, params, sides):
    data = CASES[case]
    module, inputs = build(params, data), inputs_of(data, sides)
    fused, explicit, records = run(module, keep(inputs, sides))
    axes = ("cls", "tokens")
    if data.input == "pair":
        axes += ("separator", "other_tokens")
    assert [(r.layer, r.kind, r.queries, r.keys) for r in records] == [
        (f"blocks.{number}", "self", axes, axes) for number in range(params.num_layers)
    ]
    state = weights_of(module)
    for number in range(len(LENGTHS)):
        mask = inputs["mask"][number]
        texts, real = [inputs["tokens"][number][mask]], [[True], mask]
        if data.input == "pair":
            other_mask = inputs["other_mask"][number]
            texts.append(inputs["other_tokens"][number][other_mask])
            real += [[True], other_mask]
        real = np.concatenate(real)
        scores, weights = forward(state, data, params, *texts)
        for got in (fused[number], explicit[number]):
            got = got if got.ndim == 1 else got[mask]
            np.testing.assert_allclose(got, scores, atol=TOLERANCE)
        for record, expected in zip(records, weights, strict=True):
            got = record.weights[number].numpy()[:, real]  # (heads, queries, keys)
            np.testing.assert_allclose(got[:, :, real], expected, atol=TOLERANCE)
            assert not got[:, :, ~real].any()


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_texts_may_be_longer_than_those_of_the_training(case):
    data = replace(CASES[case], length=1)
    module, inputs = build(TextEncoder(d_model=8), data), inputs_of(data)
    scores, _, _ = run(module, inputs)
    again, _, _ = run(build(TextEncoder(d_model=8), CASES[case]), inputs)
    np.testing.assert_array_equal(scores, again)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_empty_texts_say_the_same_however_far_they_are_padded(pooling):
    for data in (TOPICS, PAIR):
        module, scores = build(TextEncoder(d_model=8, pooling=pooling), data), []
        for length in (1, 4):
            inputs = texts_of(data, np.full(2, length))
            inputs["mask"][:] = False
            if data.input == "pair":
                inputs["other_tokens"] = inputs["tokens"]
                inputs["other_mask"] = inputs["mask"]
            scores.append(run(module, inputs)[0])
        assert np.isfinite(scores[0]).all()
        np.testing.assert_allclose(scores[0], scores[1], atol=TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_a_batch_of_one_word_can_be_learned_from(case):
    data = CASES[case]
    module = TextEncoder().build(data).train()
    given = {"other_tokens": torch.tensor([[8]])} if data.input == "pair" else {}
    module(tokens=torch.tensor([[7]]), **given).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_the_order_of_a_pair_matters():
    module = build(TextEncoder(d_model=8), PAIR)
    one, other = torch.tensor([[7, 8]]), torch.tensor([[9, 6]])
    assert not torch.allclose(module(one, other), module(other, one))


def test_masked_words_are_predicted_by_the_embedding():
    module = TextEncoder().build(WORDS)
    assert module.head.weight is module.tokens.embed.weight


@pytest.mark.parametrize("data", [TOPICS, TAGS])
def test_pretraining_leaves_all_that_words_share_with_other_tasks(data):
    shapes = [
        {
            (name, weight.shape)
            for name, weight in TextEncoder().build(given).state_dict().items()
            if not name.startswith("head.")
        }
        for given in (replace(WORDS, length=99), data)
    ]
    new = {name for name, _ in shapes[1] - shapes[0]}
    assert new == (set() if data is TAGS else {"pool.weight", "pool.bias"})


@pytest.mark.parametrize("name", ["dropout", "embedding_dropout", "word_dropout"])
@pytest.mark.parametrize("case", CASES)
def test_each_dropout_has_an_effect(case, name):
    rates = {"dropout": 0.0, "embedding_dropout": 0.0, "word_dropout": 0.0}
    tensors = {
        name: torch.from_numpy(array.copy())
        for name, array in inputs_of(CASES[case]).items()
    }
    quiet = TextEncoder(**rates).build(CASES[case])
    assert torch.equal(quiet(**tensors), quiet(**tensors))
    noisy = TextEncoder(**rates | {name: 0.5}).build(CASES[case])
    assert not torch.equal(noisy(**tensors), noisy(**tensors))
    noisy.eval()
    assert torch.equal(noisy(**tensors), noisy(**tensors))


@pytest.mark.parametrize("name", ["d_model", "num_heads", "num_layers", "d_ff"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of TextEncoder must be a positive integer"
    with pytest.raises(ValueError, match=message):
        TextEncoder(**{name: value}).build(TOPICS)


@pytest.mark.parametrize("name", ["dropout", "embedding_dropout", "word_dropout"])
@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} of TextEncoder must be"):
        TextEncoder(**{name: value}).build(TOPICS)


@pytest.mark.parametrize("value", ["max", "Mean", None])
def test_pooling_is_one_of_two(value):
    message = f"pooling={value!r} of TextEncoder must be 'mean' or 'cls'"
    with pytest.raises(ValueError, match=message):
        TextEncoder(pooling=value).build(TOPICS)
