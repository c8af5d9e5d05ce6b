"""Batches gathered from whole tensors."""

import numpy as np
import pytest
import torch

from skattn._engine._samples import Batches, TensorSamples, fixed_batches

CPU = torch.device("cpu")


def make(inputs, length, target=None):
    return TensorSamples(
        inputs, length=length, dtype=torch.float32, device=CPU, target=target
    )


def make_table(n=20, **inputs):
    """Number the rows, so that a batch tells where it is from."""
    x = np.arange(n, dtype=np.float64)[:, None] + np.array([0.0, 0.25])
    return make({"x": x, **inputs}, length=2, target=np.arange(n, dtype=np.float64))


def make_panel(lengths, longest, gaps=(), n_channels=2):
    lengths = np.asarray(lengths)
    size = max(lengths.max(), 1)
    mask = np.arange(size) < lengths[:, None]
    x = np.random.default_rng(0).normal(size=(len(lengths), n_channels, size))
    x *= mask[:, None]
    observed = np.broadcast_to(mask[:, None], x.shape).copy()
    for row in gaps:
        observed[row, 0, 0] = False
        x[row, 0, 0] = 0.0
    target = np.arange(len(lengths), dtype=np.float64)
    return make({"x": x, "mask": mask, "observed": observed}, longest, target)


def gather(samples):
    """Collect, for each row, its inputs in inference and the batch's shape."""
    found = {}
    for rows, inputs in samples.inference_batches():
        for at, row in enumerate(rows.tolist()):
            assert row not in found
            own = {name: tensor[at] for name, tensor in inputs.items()}
            found[row] = own, tuple(inputs["x"].shape)
    return found


def test_types():
    samples = make(
        {"x": np.zeros((3, 2)), "categories": np.zeros((3, 1), dtype=np.int64)},
        length=3,
        target=np.array([[0], [1], [0]]),
    )
    assert samples.inputs["x"].dtype == torch.float32
    assert samples.inputs["categories"].dtype == torch.int64
    assert samples.target.dtype == torch.int64


@pytest.mark.parametrize("batch_size", [1, 6, 7, 20, 64])
@pytest.mark.parametrize("seed", [None, 0])
def test_an_epoch_partitions_the_samples(batch_size, seed):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = Batches(make_table(), batch_size, generator, CPU)
    epoch = list(batches)
    assert len(epoch) == len(batches)
    assert [len(target.values) for _, target in epoch[:-1]] == [batch_size] * (
        len(epoch) - 1
    )
    values = torch.cat([target.values for _, target in epoch])
    assert sorted(values.tolist()) == list(range(20))
    for inputs, target in epoch:
        assert torch.equal(inputs["x"][:, 0], target.values)
    assert (values.tolist() == list(range(20))) is (seed is None)


def test_each_epoch_is_shuffled_anew_and_reproducibly():
    def epochs():
        batches = Batches(make_table(), 20, torch.Generator().manual_seed(0), CPU)
        return [next(iter(batches))[1].values.tolist() for _ in range(2)]

    first, second = epochs()
    assert first != second
    assert epochs() == [first, second]


def test_shuffling_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    list(Batches(make_table(), 4, torch.Generator().manual_seed(0), CPU))
    assert torch.equal(torch.get_rng_state(), before)


def drawn(limit, batch_size=4, n=20, epochs=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    batches = Batches(make_table(n), batch_size, generator, CPU, limit)
    rows = []
    for _ in range(epochs):
        epoch = list(batches)
        assert len(epoch) == len(batches)
        rows.append([int(row) for _, target in epoch for row in target.values])
    return rows


def test_an_epoch_may_draw_a_part_of_the_samples():
    first, second = drawn(limit=9, epochs=2)
    assert len(first) == len(second) == 9
    assert first != second
    assert drawn(limit=9, epochs=2) == [first, second]
    # Draws are independent of each other, so that some rows come twice.
    (many,) = drawn(limit=5000, n=5001)
    assert len(set(many)) < 4000
    assert np.mean(many) == pytest.approx(2500, rel=0.05)


@pytest.mark.parametrize("limit", [20, 21, None])
def test_a_limit_that_is_no_limit_changes_nothing(limit):
    assert drawn(limit) == drawn(None)
    assert sorted(drawn(limit)[0]) == list(range(20))


def test_a_limit_concerns_training_alone():
    batches = Batches(make_table(), 6, None, CPU, limit=3)
    assert batches.count == 20
    values = torch.cat([target.values for _, target in batches])
    assert values.tolist() == list(range(20))


def test_rows_may_be_repeated_and_weighed():
    weight = np.array([0.5, 1.0, 1.5])
    samples = make_table().at(np.array([3, 3, 7]), weight)
    assert len(samples) == 3
    inputs, target = samples.take(torch.tensor([2, 0]))
    assert inputs["x"][:, 0].tolist() == [7.0, 3.0]
    assert target.values.tolist() == [7.0, 3.0]
    assert target.weight.tolist() == [1.5, 0.5]
    assert target.weight.dtype == torch.float32


def test_a_view_shares_the_tensors_and_leaves_the_whole_alone():
    whole = make_table()
    view = whole.at(np.array([1]), None)
    assert view.inputs["x"] is whole.inputs["x"]
    assert (len(whole), whole.index, whole.weight) == (20, None, None)
    assert view.take(torch.tensor([0]))[1].weight is None


def test_samples_without_targets_cannot_be_trained_on():
    samples = make({"x": np.zeros((3, 2))}, length=2)
    with pytest.raises(ValueError, match="only be predicted"):
        samples.take(torch.tensor([0]))


@pytest.mark.parametrize(
    ("length", "n_rows"), [(1, 256), (32, 256), (33, 248), (512, 16), (9000, 1)]
)
def test_rows_of_an_inference_batch(length, n_rows):
    positions = torch.arange(2 * n_rows + 2)
    batches = list(fixed_batches(positions, length))
    assert {len(padded) for _, padded in batches} == {n_rows}
    assert torch.equal(torch.cat([chunk for chunk, _ in batches]), positions)
    for chunk, padded in batches:
        assert torch.equal(padded[: len(chunk)], chunk)
        assert (padded[len(chunk) :] == chunk[-1]).all()


@pytest.mark.parametrize("n", [1, 255, 256, 300])
def test_inference_of_a_table_has_one_shape(n):
    found = gather(make_table(n))
    assert sorted(found) == list(range(n))
    assert {shape for _, shape in found.values()} == {(256, 2)}
    for row, (own, _) in found.items():
        assert own["x"].tolist() == [row, row + 0.25]


def test_inference_walks_over_all_rows_even_of_a_view():
    samples = make_table(5).at(np.array([1, 1]), None)
    assert sorted(gather(samples)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("gaps", [(), (2, 5)])
def test_inference_of_a_row_does_not_depend_on_its_companions(gaps):
    """Alone, in any order, with longer series: the same tensors in the same shape."""
    lengths = [12, 12, 12, 5, 8, 7, 1, 16, 21]
    together = gather(make_panel(lengths, longest=12, gaps=gaps))
    whole = make_panel(lengths, longest=12, gaps=gaps)
    for row, (own, shape) in together.items():
        length = lengths[row]
        alone = make(
            {
                name: tensor[[row], ..., :length].numpy()
                for name, tensor in whole.inputs.items()
            },
            length=12,
        )
        ((other, same_shape),) = gather(alone).values()
        assert same_shape == shape
        assert other.keys() == own.keys()
        for name in own:
            assert torch.equal(other[name], own[name])


def test_inference_pads_to_a_multiple_of_eight_unless_the_length_is_usual():
    lengths = [12, 5, 8, 9, 13]
    found = gather(make_panel(lengths, longest=12))
    assert [found[row][1][2] for row in range(5)] == [12, 8, 8, 16, 16]
    assert [found[row][1][0] for row in range(5)] == [256] * 5
    for row, length in enumerate(lengths):
        own = found[row][0]
        assert ("mask" in own) is (length != 12)
        if length != 12:
            assert own["mask"].sum() == length
            assert own["mask"][:length].all()
        assert not own["x"][:, length:].any()


def test_long_series_come_in_fewer_rows():
    found = gather(make_panel([512, 1000], longest=512))
    assert found[0][1] == (16, 2, 512)
    assert found[1][1] == (8, 2, 1000)


def test_optional_tensors_are_left_out_only_where_they_say_nothing():
    plain = make_panel([6, 6], longest=6)
    assert set(plain.take(torch.tensor([0, 1]))[0]) == {"x"}
    padded = make_panel([6, 4], longest=6)
    assert set(padded.take(torch.tensor([0, 1]))[0]) == {"x", "mask"}
    gappy = make_panel([6, 6], longest=6, gaps=[1])
    assert set(gappy.take(torch.tensor([0, 1]))[0]) == {"x", "observed"}
    both = make_panel([6, 4], longest=6, gaps=[1])
    inputs, _ = both.take(torch.tensor([0, 1]))
    assert set(inputs) == {"x", "mask", "observed"}
    assert not inputs["observed"][1, 0, 0]


def test_inference_offers_what_the_row_itself_needs():
    found = gather(make_panel([6, 4, 6, 4], longest=6, gaps=[2, 3]))
    assert [set(found[row][0]) - {"x"} for row in range(4)] == [
        set(),
        {"mask"},
        {"observed"},
        {"mask", "observed"},
    ]


def test_gaps_of_a_table():
    observed = np.ones((20, 2), dtype=bool)
    assert set(make_table(observed=observed).take(torch.arange(3))[0]) == {"x"}
    observed[7, 1] = False
    samples = make_table(observed=observed)
    assert "observed" in samples.take(torch.arange(3))[0]
    found = gather(samples)
    assert {row for row, (own, _) in found.items() if "observed" in own} == {7}


def test_categories_are_always_handed_on():
    codes = np.zeros((20, 1), dtype=np.int64)
    samples = make_table(categories=codes)
    assert "categories" in samples.take(torch.arange(3))[0]
    assert all("categories" in own for own, _ in gather(samples).values())


def test_training_batches_are_trimmed_to_their_longest_series():
    samples = make_panel([12, 3, 5], longest=12)
    inputs, _ = samples.take(torch.tensor([1, 2]))
    assert inputs["x"].shape == (2, 2, 5)
    assert inputs["mask"].tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert torch.equal(inputs["x"], samples.inputs["x"][1:, :, :5])
    inputs, _ = samples.take(torch.tensor([0, 1]))
    assert inputs["x"].shape == (2, 2, 12)


def test_series_without_a_mask_keep_their_length():
    x = np.random.default_rng(0).normal(size=(3, 2, 11))
    samples = make({"x": x}, length=11, target=np.zeros(3))
    assert samples.take(torch.tensor([0]))[0]["x"].shape == (1, 2, 11)
    ((_, inputs),) = samples.inference_batches()
    assert inputs["x"].shape == (256, 2, 11)
