"""Hierarchical attention against its equations in NumPy."""

import numpy as np
import pytest
import torch
from _numpy_text import (
    both_directions,
    build,
    linear,
    run,
    softmax,
    texts_of,
    weights_of,
)

from skattn import DataSpec
from skattn.architectures import HierarchicalAttention

DATA = DataSpec("classification", "tokens", n_outputs=3, length=9, vocabulary_size=12)

# The sentence of each word; the texts have 9, 5, 2 and 1 words.
SEGMENTS = np.array(
    [
        [0, 0, 0, 1, 2, 2, 2, 2, 3],
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
)


def pool(state, prefix, h):
    """Weigh the steps of one sequence; return their mean and the weights."""
    u = np.tanh(linear(state, f"{prefix}.project", h))
    alpha = softmax(u @ state[f"{prefix}.context"])
    return alpha @ h, alpha


def forward(state, sentences):
    """Compute the scores of one text, and the weights of both levels."""
    pooled, words = [], []
    for tokens in sentences:
        h = both_directions(state, "words.read", state["tokens.embed.weight"][tokens])
        s, alpha = pool(state, "words", h)
        pooled.append(s)
        words.append(alpha)
    h = both_directions(state, "sentences.read", np.stack(pooled))
    v, alpha = pool(state, "sentences", h)
    return linear(state, "head.linear", v), words, alpha


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("segments", [None, SEGMENTS])
def test_equation(num_layers, segments):
    params = HierarchicalAttention(d_model=6, num_layers=num_layers)
    module, inputs = build(params, DATA), texts_of(DATA)
    if segments is not None:
        inputs["segments"] = segments
    plain, recorded, (words, sentences) = run(module, inputs)
    np.testing.assert_array_equal(plain, recorded)
    assert (words.layer, words.kind) == ("words", "pooling")
    assert (words.queries, words.keys) == ("segments", "tokens")
    assert (sentences.layer, sentences.kind) == ("sentences", "pooling")
    assert (sentences.queries, sentences.keys) == ("document", "segments")
    state = weights_of(module)
    for number, real in enumerate(inputs["mask"]):
        tokens = inputs["tokens"][number][real]
        numbers = np.zeros_like(tokens) if segments is None else segments[number][real]
        of_sentence = [numbers == segment for segment in range(numbers.max() + 1)]
        cut = [tokens[members] for members in of_sentence]
        scores, alphas, alpha = forward(state, cut)
        np.testing.assert_allclose(plain[number], scores, atol=1e-12)
        got = sentences.weights[number, 0, 0].numpy()
        np.testing.assert_allclose(got[: len(cut)], alpha, atol=1e-12)
        assert not got[len(cut) :].any()
        expected = np.zeros((len(got), len(real)))
        for row, members, weights in zip(expected, of_sentence, alphas, strict=False):
            row[np.flatnonzero(members)] = weights
        np.testing.assert_allclose(words.weights[number, 0], expected, atol=1e-12)


def test_order_of_sentences_matters_and_their_numbers_do_not():
    module = build(HierarchicalAttention(d_model=6), DATA)
    tokens = torch.tensor([[3, 4, 5, 6]])
    scores = module(tokens, segments=torch.tensor([[0, 0, 1, 1]]))
    skipping = module(tokens, segments=torch.tensor([[1, 1, 4, 4]]))
    torch.testing.assert_close(skipping, scores, rtol=0, atol=0)
    turned = module(tokens[:, [2, 3, 0, 1]], segments=torch.tensor([[0, 0, 1, 1]]))
    assert (turned - scores).abs().max() > 1e-3
    other_cut = module(tokens, segments=torch.tensor([[0, 1, 1, 1]]))
    assert (other_cut - scores).abs().max() > 1e-3


def test_words_of_one_sentence_do_not_reach_the_states_of_another():
    module = build(HierarchicalAttention(d_model=6), DATA)
    segments = torch.tensor([[0, 0, 1, 1]])
    inputs = {"segments": segments.numpy(), "mask": np.ones((1, 4), bool)}
    _, _, (one, _) = run(module, {"tokens": np.array([[3, 4, 5, 6]]), **inputs})
    _, _, (other, _) = run(module, {"tokens": np.array([[3, 4, 7, 8]]), **inputs})
    first, second = (one.weights - other.weights).abs()[0, 0].amax(dim=-1)
    assert first == 0
    assert second > 1e-3


def test_a_text_without_words_has_scores_of_its_own():
    module = build(HierarchicalAttention(d_model=6), DATA)
    tokens, segments = torch.tensor([[0, 0], [3, 4]]), torch.tensor([[0, 0], [0, 1]])
    mask = torch.tensor([[False, False], [True, True]])
    together = module(tokens, mask, segments)
    alone = module(tokens[:1], mask[:1])
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-12)
    assert together.isfinite().all()


def test_a_batch_of_sentences_takes_no_loop_over_samples():
    """Each level runs its LSTM once, over as many sentences as there are."""
    module = build(HierarchicalAttention(d_model=6), DATA)
    inputs = {**texts_of(DATA), "segments": SEGMENTS}
    seen = []
    for level in (module.words, module.sentences):
        level.read.register_forward_pre_hook(
            lambda _, arguments: seen.append(tuple(arguments[0].shape[:2]))
        )
    module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    assert seen == [(8, 5), (4, 4)]


@pytest.mark.parametrize("name", ["d_model", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of HierarchicalAttention must be a positive integer"
    with pytest.raises(ValueError, match=message):
        HierarchicalAttention(**{name: value}).build(DATA)


@pytest.mark.parametrize("name", ["embedding_dropout", "dropout"])
@pytest.mark.parametrize("value", [1.0, -0.1, None])
def test_dropouts_are_probabilities(name, value):
    message = f"{name}={value} of HierarchicalAttention must be a number"
    with pytest.raises(ValueError, match=message):
        HierarchicalAttention(**{name: value}).build(DATA)


def test_width_is_shared_by_two_directions():
    with pytest.raises(ValueError, match="d_model=7 cannot be shared by two"):
        HierarchicalAttention(d_model=7).build(DATA)
