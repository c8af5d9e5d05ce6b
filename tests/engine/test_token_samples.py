"""Batches of texts: padding, masks, lengths."""

import numpy as np
import pytest
import torch

from skattn._engine._losses import IGNORED, SequenceCrossEntropy
from skattn._engine._samples import Batches
from skattn._engine._token_samples import TokenSamples

CPU = {"dtype": torch.float32, "device": torch.device("cpu")}


def ragged(*lengths, first=6):
    """Sequences of these lengths, each of other numbers."""
    sequences = np.empty(len(lengths), dtype=object)
    for row, length in enumerate(lengths):
        sequences[row] = np.arange(first + 10 * row, first + 10 * row + length)
    return sequences


def positions(*numbers):
    return torch.tensor(numbers)


def test_a_batch_is_padded_to_its_longest_text():
    samples = TokenSamples({"tokens": ragged(2, 5, 1)}, target=np.zeros(3), **CPU)
    inputs, _ = samples.take(positions(0, 2))
    assert inputs["tokens"].tolist() == [[6, 7], [26, 0]]
    assert inputs["mask"].tolist() == [[True, True], [True, False]]


def test_no_mask_where_nothing_is_padded():
    samples = TokenSamples({"tokens": ragged(3, 3, 1)}, target=np.zeros(3), **CPU)
    assert set(samples.take(positions(0, 1))[0]) == {"tokens"}
    assert "mask" in samples.take(positions(0, 2))[0]


def test_a_mask_that_nobody_consumes_is_never_made():
    samples = TokenSamples(
        {"tokens": ragged(3, 3)}, target=np.zeros(2), consumes=(), **CPU
    )
    assert set(samples.take(positions(0, 1))[0]) == {"tokens"}
    assert all(set(inputs) == {"tokens"} for _, inputs in samples.inference_batches())


def test_nothing_is_padded_without_a_mask():
    samples = TokenSamples({"tokens": ragged(3, 3)}, consumes=(), **CPU)
    for _, inputs in samples.inference_batches():
        assert inputs["tokens"].shape[1] == 3
    with pytest.raises(ValueError, match=r"1 to 3 tokens.*does not consume 'mask'"):
        TokenSamples({"tokens": ragged(3, 1)}, consumes=(), **CPU)
    pair = {"tokens": ragged(3, 1), "other_tokens": ragged(1, 2)}
    with pytest.raises(ValueError, match="'other_mask'"):
        TokenSamples(pair, consumes=("mask",), **CPU)
    pair["other_tokens"] = ragged(2, 2)
    samples = TokenSamples(pair, consumes=("mask",), **CPU)
    for _, inputs in samples.inference_batches():
        assert inputs["tokens"].shape[1] == 8
        assert inputs["other_tokens"].shape[1] == 2


def test_an_empty_text_is_all_padding():
    samples = TokenSamples({"tokens": ragged(0, 0)}, target=np.zeros(2), **CPU)
    inputs, _ = samples.take(positions(0, 1))
    assert inputs["tokens"].tolist() == [[0], [0]]
    assert not inputs["mask"].any()


def test_characters_and_segments_are_as_long_as_the_tokens():
    characters = np.empty(2, dtype=object)
    characters[:] = [np.ones((3, 4), dtype=np.int64), np.ones((1, 4), dtype=np.int64)]
    segments = np.empty(2, dtype=object)
    segments[:] = [np.array([0, 0, 1]), np.array([0])]
    samples = TokenSamples(
        {"tokens": ragged(3, 1), "characters": characters, "segments": segments},
        target=np.zeros(2),
        **CPU,
    )
    inputs, _ = samples.take(positions(0, 1))
    assert inputs["characters"].shape == (2, 3, 4)
    assert inputs["characters"][1].sum() == 4
    assert inputs["segments"].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_both_texts_of_a_pair_have_lengths_of_their_own():
    samples = TokenSamples(
        {"tokens": ragged(2, 1), "other_tokens": ragged(4, 4, first=50)},
        target=np.zeros(2),
        **CPU,
    )
    inputs, _ = samples.take(positions(0, 1))
    assert inputs["tokens"].shape == (2, 2)
    assert inputs["other_tokens"].shape == (2, 4)
    assert "mask" in inputs
    assert "other_mask" not in inputs
    assert samples.sizes.tolist() == [6, 5]


def test_targets_of_tokens_are_padded_with_what_does_not_count():
    samples = TokenSamples(
        {"tokens": ragged(3, 1)}, target=ragged(3, 1, first=0), **CPU
    )
    _, target = samples.take(positions(0, 1))
    assert target.values.tolist() == [[0, 1, 2], [10, IGNORED, IGNORED]]
    assert target.size == 4


def test_a_view_has_its_own_rows_weights_and_sizes():
    samples = TokenSamples({"tokens": ragged(2, 5, 1)}, target=np.arange(3), **CPU)
    view = samples.at(np.array([2, 1, 1]), np.array([0.5, 1.5, 1.0]))
    assert len(view) == 3
    assert view.sizes.tolist() == [1, 5, 5]
    _, target = view.take(positions(0, 2))
    assert target.values.tolist() == [2, 1]
    assert target.weight.tolist() == [0.5, 1.0]
    assert len(samples) == 3


def test_fixed_rows_are_handed_on():
    rows = {"offset": np.array([[1.0, 2.0], [3.0, 4.0]])}
    samples = TokenSamples(
        {"tokens": ragged(2, 1)}, rows=rows, target=np.zeros(2), **CPU
    )
    inputs, _ = samples.take(positions(1))
    assert inputs["offset"].tolist() == [[3.0, 4.0]]


def test_training_batches_hold_texts_of_similar_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, size=400)
    samples = TokenSamples({"tokens": ragged(*lengths)}, target=np.zeros(400), **CPU)
    generator = torch.Generator().manual_seed(0)
    batches = list(Batches(samples, 8, generator, torch.device("cpu")))
    spread = [np.ptp(inputs["tokens"].ne(0).sum(1).numpy()) for inputs, _ in batches]
    assert np.mean(spread) < 3
    assert sum(len(inputs["tokens"]) for inputs, _ in batches) == 400
    shapes = [inputs["tokens"].shape[1] for inputs, _ in batches]
    assert shapes != sorted(shapes)


def test_an_epoch_takes_each_text_once_and_another_one_in_other_company():
    samples = TokenSamples(
        {"tokens": ragged(*range(1, 41))}, target=np.arange(40), **CPU
    )
    generator = torch.Generator().manual_seed(0)
    batches = Batches(samples, 8, generator, torch.device("cpu"))
    first, second = (
        [target.values.tolist() for _, target in batches] for _ in range(2)
    )
    assert sorted(row for batch in first for row in batch) == list(range(40))
    assert first != second


def test_without_a_generator_texts_come_by_length():
    samples = TokenSamples({"tokens": ragged(5, 2, 9, 1)}, target=np.arange(4), **CPU)
    batches = list(Batches(samples, 2, None, torch.device("cpu")))
    assert [target.values.tolist() for _, target in batches] == [[3, 1], [0, 2]]


def test_the_shape_of_an_inference_batch_depends_on_its_texts_alone():
    alone = TokenSamples({"tokens": ragged(5)}, **CPU)
    [(_, expected)] = alone.inference_batches()
    together = TokenSamples({"tokens": ragged(30, 5, 2)}, **CPU)
    seen = {}
    for rows, inputs in together.inference_batches():
        for place, row in enumerate(rows.tolist()):
            seen[row] = inputs["tokens"].shape, inputs["mask"][place].sum().item()
    assert seen[1] == (expected["tokens"].shape, 5)
    assert seen[2][0] == expected["tokens"].shape
    assert seen[0] == ((256, 32), 30)
    assert sorted(seen) == [0, 1, 2]


@pytest.mark.parametrize("most", [1, 4])
def test_inference_batches_can_be_smaller(most):
    samples = TokenSamples({"tokens": ragged(5, 5, 5, 5, 5)}, **CPU)
    batches = list(samples.inference_batches(most))
    assert all(len(inputs["tokens"]) == most for _, inputs in batches)
    assert sum(len(rows) for rows, _ in batches) == 5


def test_samples_without_targets_cannot_be_trained_on():
    samples = TokenSamples({"tokens": ragged(2)}, **CPU)
    with pytest.raises(ValueError, match="only be predicted"):
        samples.take(positions(0))


def test_the_loss_of_sequences_is_the_mean_over_known_tokens():
    scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, 3, 1], [2, IGNORED, IGNORED]])
    log = scores.double().numpy()
    log = log - np.log(np.exp(log).sum(axis=2, keepdims=True))
    known = [log[0, 0, 0], log[0, 1, 3], log[0, 2, 1], log[1, 0, 2]]
    loss = SequenceCrossEntropy()(scores, target)
    assert loss.shape == (2,)
    assert loss.mean().item() == pytest.approx(-np.mean(known), rel=1e-5)
    smooth = SequenceCrossEntropy(0.2)(scores, target).mean().item()
    rows = [log[0, 0], log[0, 1], log[0, 2], log[1, 0]]
    spread = np.mean([row.mean() for row in rows])
    assert smooth == pytest.approx(-0.8 * np.mean(known) - 0.2 * spread, rel=1e-5)


def test_the_error_of_sequences_is_the_share_of_wrong_tokens():
    target = torch.tensor([[0, 1, 1], [1, IGNORED, IGNORED]])
    scores = torch.tensor([[[1.0, 0.0]] * 3, [[1.0, 0.0]] * 3])
    error = SequenceCrossEntropy().error(scores, target)
    assert error.tolist() == pytest.approx([2 / 3, 1.0])
