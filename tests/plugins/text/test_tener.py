"""TENER against its equations in NumPy."""

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

from skattn import DataSpec, SpecialToken
from skattn.architectures import TENER

TAGS = DataSpec(
    "tagging",
    "tokens",
    n_outputs=3,
    length=9,
    vocabulary_size=12,
    character_vocabulary_size=7,
)
WORDS_ONLY = DataSpec("tagging", "tokens", n_outputs=3, length=9, vocabulary_size=12)
TOPICS = DataSpec(
    "classification",
    "tokens",
    n_outputs=4,
    length=9,
    vocabulary_size=12,
    character_vocabulary_size=7,
)
CASES = {"tags": TAGS, "words only": WORDS_ONLY, "topics": TOPICS}
SIZES = {"d_model": 8, "num_heads": 2, "d_word": 5, "d_character": 3}

# torch computes the sinusoids in single precision.
TOLERANCE = 1e-6

PARAMS = TENER(**SIZES, character_filters=4, num_layers=2, d_ff=7)


def inputs_of(data):
    """Draw texts, and words of 0 to 6 characters."""
    inputs = texts_of(data)
    if data.character_vocabulary_size:
        rng = np.random.default_rng(1)
        shape = inputs["tokens"].shape
        codes = rng.integers(1, data.character_vocabulary_size, size=(*shape, 6))
        ends = rng.integers(0, 7, size=(*shape, 1)) * inputs["mask"][..., None]
        inputs["characters"] = np.where(np.arange(6) < ends, codes, 0)
    return inputs


def character_part(state, codes):
    """Convolve one word and take the maximum over its characters."""
    codes = codes[codes > 0]
    weight = state["characters.convolution.weight"]  # (filters, width, 3)
    bias = state["characters.convolution.bias"]
    if not len(codes):
        return np.zeros(len(bias))
    embedded = np.pad(state["characters.embed.weight"][codes], ((1, 1), (0, 0)))
    found = [
        np.einsum("fwk,kw->f", weight, embedded[start : start + 3]) + bias
        for start in range(len(codes))
    ]
    return np.maximum(found, 0.0).max(axis=0)


def block(state, prefix, h, num_heads):
    """Transform one text; return the weights of the heads too."""
    joint = linear(state, f"{prefix}.attention.project_query_value", h)
    query, value = np.split(joint, 2, axis=-1)
    width = h.shape[1] // num_heads
    weights, heads = [], []
    for number, part in enumerate(np.split(np.arange(h.shape[1]), num_heads)):
        scores = relative_scores(
            query[:, part],
            h[:, part],
            lambda distance: sinusoid(distance, width),
            state[f"{prefix}.attention.content_bias"][number],
            state[f"{prefix}.attention.distance_bias"][number],
        )
        weights.append(softmax(scores))
        heads.append(weights[-1] @ value[:, part])
    attended = linear(state, f"{prefix}.attention.project_out", np.hstack(heads))
    h = layer_norm(state, f"{prefix}.norm_attention", h + attended)
    hidden = np.maximum(linear(state, f"{prefix}.feed_forward.0", h), 0.0)
    h = h + linear(state, f"{prefix}.feed_forward.3", hidden)
    return layer_norm(state, f"{prefix}.norm_feed_forward", h), np.stack(weights)


def forward(state, data, tokens, characters):
    """Compute the scores of one text without padding, and the weights of all layers."""
    h = state["tokens.embed.weight"][tokens]
    if characters is not None:
        parts = [character_part(state, word) for word in characters]
        h = np.concatenate([h, np.stack(parts)], axis=-1)
    h = linear(state, "project", h)
    layers = []
    for number in range(PARAMS.num_layers):
        h, weights = block(state, f"blocks.{number}", h, PARAMS.num_heads)
        layers.append(weights)
    if data.task != "tagging":
        h = h.mean(axis=0)
    return linear(state, "head.linear", h), layers


@pytest.mark.parametrize("case", CASES)
def test_equation(case):
    data = CASES[case]
    module, inputs = build(PARAMS, data), inputs_of(data)
    plain, recorded, records = run(module, inputs)
    np.testing.assert_array_equal(plain, recorded)
    assert [record.layer for record in records] == ["blocks.0", "blocks.1"]
    names = {(record.kind, record.queries, record.keys) for record in records}
    assert names == {("self", "tokens", "tokens")}
    state = weights_of(module)
    for number, real in enumerate(inputs["mask"]):
        tokens = inputs["tokens"][number][real]
        words = inputs.get("characters")
        characters = None if words is None else words[number][real]
        scores, layers = forward(state, data, tokens, characters)
        got = plain[number][real] if data.task == "tagging" else plain[number]
        np.testing.assert_allclose(got, scores, atol=TOLERANCE)
        for record, weights in zip(records, layers, strict=True):
            found = record.weights[number].numpy()
            kept = found[:, real][..., real]
            np.testing.assert_allclose(kept, weights, atol=TOLERANCE)
            assert not found[..., ~real].any()


def test_direction_matters():
    module = build(PARAMS, WORDS_ONLY)
    tokens = torch.tensor([[3, 4, 5, 6, 7]])
    reversed_scores = module(tokens.flip(1)).flip(1)
    assert (module(tokens) - reversed_scores).abs().max() > 1e-2


def test_only_distances_count():
    params = TENER(**SIZES, num_layers=1)
    module = build(params, WORDS_ONLY)
    short = module(torch.tensor([[3, 4, 5]]))
    mask = torch.tensor([[False, False, True, True, True]])
    shifted = module(torch.tensor([[8, 9, 3, 4, 5]]), mask)[:, 2:]
    torch.testing.assert_close(shifted, short, rtol=0, atol=1e-12)


def test_words_longer_than_all_others_do_not_change_these():
    module, inputs = build(PARAMS, TAGS), inputs_of(TAGS)
    wider = dict(
        inputs, characters=np.pad(inputs["characters"], ((0, 0),) * 2 + ((0, 9),))
    )
    np.testing.assert_allclose(
        run(module, wider)[0], run(module, inputs)[0], rtol=0, atol=1e-13
    )


def test_dropped_words_are_unknown_ones_while_training():
    module = build(
        TENER(**SIZES, word_dropout=0.999999, embedding_dropout=0.0, dropout=0.0), TAGS
    )
    inputs = inputs_of(TAGS)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    is_word = tensors["tokens"] >= len(SpecialToken)
    tokens = tensors["tokens"].masked_fill(is_word, SpecialToken.UNKNOWN)
    unknown = dict(tensors, tokens=tokens)
    expected = module(**unknown)
    assert (module(**tensors) - expected).abs().max() > 1e-2
    torch.testing.assert_close(module.train()(**tensors), expected)


@pytest.mark.parametrize(
    "name",
    [
        "d_model",
        "num_heads",
        "num_layers",
        "d_ff",
        "d_word",
        "d_character",
        "character_filters",
    ],
)
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of TENER must be a positive integer"
    with pytest.raises(ValueError, match=message):
        TENER(**{name: value}).build(TAGS)


@pytest.mark.parametrize("name", ["word_dropout", "embedding_dropout", "dropout"])
@pytest.mark.parametrize("value", [1.0, -0.1, None])
def test_dropouts_are_probabilities(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} of TENER must be a number"):
        TENER(**{name: value}).build(TAGS)


def test_width_is_a_multiple_of_heads():
    with pytest.raises(ValueError, match="d_model=10 cannot be split into num_heads=4"):
        TENER(d_model=10, num_heads=4).build(TAGS)
