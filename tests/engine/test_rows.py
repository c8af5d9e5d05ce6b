"""Rows by content: hash, order, repetition, inner split."""

import numpy as np
import pytest

from skattn._engine import _rows
from skattn._engine._rows import (
    MAX_REPETITION,
    canonical_order,
    repeat_by_weight,
    row_hashes,
    validation_split,
)


def table(n=200, n_columns=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_columns))


def test_equal_rows_hash_equally_wherever_they_stand():
    x = table()
    doubled = np.concatenate([x, x[::-1]])
    hashes = row_hashes([doubled], seed=0)
    np.testing.assert_array_equal(hashes[:200], hashes[200:][::-1])
    assert len(np.unique(hashes)) == 200
    np.testing.assert_array_equal(row_hashes([x[17:18]], seed=0), hashes[17:18])


def test_every_column_and_its_place_count():
    x = table(1, 3)
    changed = np.repeat(x, 3, axis=0) + np.diag([1e-12] * 3)
    swapped = x[:, [1, 0, 2]]
    hashes = row_hashes([np.concatenate([x, changed, swapped])], seed=0)
    assert len(np.unique(hashes)) == 5


def test_missing_values_are_equal_whatever_their_bits():
    quiet = np.array([[np.nan, 1.0]])
    payload = quiet.copy()
    payload.view(np.uint64)[0, 0] |= np.uint64(1234)
    negative = np.copysign(quiet, [[-1.0, 1.0]])
    bits = [np.uint64(array.view(np.uint64)[0, 0]) for array in (payload, negative)]
    assert len({*bits, quiet.view(np.uint64)[0, 0]}) == 3
    hashes = row_hashes([np.concatenate([quiet, payload, negative])], seed=0)
    assert len(np.unique(hashes)) == 1
    assert row_hashes([np.array([[0.0, 1.0]])], seed=0) != hashes[0]


def test_both_zeros_are_equal():
    hashes = row_hashes([np.array([[0.0], [-0.0], [1.0]])], seed=0)
    assert hashes[0] == hashes[1] != hashes[2]


def test_all_arrays_count_and_any_number_of_axes():
    x, codes = table(10).reshape(5, 3, 2), np.arange(5)
    hashes = row_hashes([x, codes], seed=0)
    other = row_hashes([x, codes[::-1]], seed=0)
    assert (hashes != other).sum() == 4  # the one in the middle is the same
    np.testing.assert_array_equal(
        hashes, row_hashes([x.reshape(5, 6), codes.astype(float)], seed=0)
    )


def test_the_input_is_not_changed():
    x = np.array([[-0.0, np.nan]])
    before = x.tobytes()
    row_hashes([x], seed=0)
    assert x.tobytes() == before


def test_another_seed_hashes_otherwise():
    x = table()
    assert not np.any(row_hashes([x], seed=0) == row_hashes([x], seed=1))


def test_parts_of_a_long_table_hash_as_the_whole(monkeypatch):
    x = table()
    expected = row_hashes([x], seed=0)
    monkeypatch.setattr(_rows, "_ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(row_hashes([x], seed=0), expected)


def test_hashes_are_spread_evenly():
    """Neighbouring integers fall into 16 bins like any random numbers."""
    hashes = row_hashes([np.arange(4096.0)[:, None]], seed=0)
    counts = np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16)
    chi_square = ((counts - 256) ** 2 / 256).sum()
    assert chi_square < 37.7  # the 99.9 % quantile with 15 degrees of freedom


def test_nothing_to_hash():
    with pytest.raises(ValueError, match="no array"):
        row_hashes([], seed=0)


def test_canonical_order_does_not_depend_on_the_order_of_input():
    rng = np.random.default_rng(0)
    content = {"numbers": rng.integers(0, 3, (60, 2)).astype(float)}
    target, weight = rng.integers(0, 2, 60), rng.integers(1, 3, 60).astype(float)
    order, hashes = canonical_order(content, target, weight, seed=0)

    def sorted_rows(permutation, order):
        rows = np.column_stack([content["numbers"], target, weight])
        return rows[permutation][order]

    expected = sorted_rows(np.arange(60), order)
    assert (hashes[:-1] <= hashes[1:]).all()
    np.testing.assert_array_equal(np.sort(order), np.arange(60))
    for _ in range(5):
        shuffled = rng.permutation(60)
        again, same = canonical_order(
            {"numbers": content["numbers"][shuffled]},
            target[shuffled],
            weight[shuffled],
            seed=0,
        )
        np.testing.assert_array_equal(sorted_rows(shuffled, again), expected)
        np.testing.assert_array_equal(same, hashes)


def test_the_order_is_that_of_the_input_first():
    """Rows of equal input stand together, whatever their targets are."""
    x = np.repeat(table(5), 4, axis=0)
    order, hashes = canonical_order(
        {"x": x}, np.tile([0.0, 1.0], 10), np.ones(20), seed=0
    )
    assert len(np.unique(hashes)) == 5
    np.testing.assert_array_equal(hashes, row_hashes([x], 0)[order])
    assert (np.diff(hashes.reshape(5, 4), axis=1) == 0).all()


def test_whole_weights_become_repetitions():
    index, remaining = repeat_by_weight(np.array([2.0, 1.0, 3.0]))
    assert index.tolist() == [0, 0, 1, 2, 2, 2]
    assert remaining.tolist() == [1.0] * 6


@pytest.mark.parametrize(
    "weight", [[0.5, 1.0, 2.0], [1.0, 1.0, 3 * MAX_REPETITION - 1.0]]
)
def test_other_weights_are_left_to_the_loss(weight):
    index, remaining = repeat_by_weight(np.array(weight))
    assert index.tolist() == [0, 1, 2]
    assert remaining.tolist() == weight


def test_the_largest_repetition():
    weight = np.array([1.0, 1.0, 3 * MAX_REPETITION - 2.0])
    index, remaining = repeat_by_weight(weight)
    assert len(index) == len(remaining) == 3 * MAX_REPETITION


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.99])
def test_split_holds_out_a_fraction(fraction):
    hashes = np.sort(row_hashes([table(1000)], seed=0))
    train, valid = validation_split(hashes, fraction)
    assert len(valid) == int(fraction * 1000)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([train, valid])), np.arange(1000)
    )


def test_split_is_stratified():
    hashes = np.sort(row_hashes([table(1000)], seed=0))
    strata = np.random.default_rng(0).choice(3, size=1000, p=[0.7, 0.25, 0.05])
    train, valid = validation_split(hashes, 0.2, strata)
    assert np.bincount(strata[valid]).tolist() == [
        int(0.2 * count) for count in np.bincount(strata)
    ]
    assert len(train) + len(valid) == 1000


def test_split_keeps_equal_rows_together():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, size=(300, 2)).astype(float)
    strata = rng.integers(0, 2, size=300)
    order, hashes = canonical_order({"x": x}, strata, np.ones(300), seed=0)
    for labels in (None, strata[order]):
        train, valid = validation_split(hashes, 0.3, labels)
        assert 0 < len(valid) <= 90
        key = hashes if labels is None else hashes ^ labels.astype(np.uint64)
        assert not set(key[train]) & set(key[valid])


def test_split_goes_by_content():
    """The same rows are held out whatever their order and their companions' order."""
    x = table(400)
    held_out = []
    for permutation in (np.arange(400), np.random.default_rng(1).permutation(400)):
        rows = x[permutation]
        order, hashes = canonical_order({"x": rows}, rows[:, 0], np.ones(400), seed=0)
        _, valid = validation_split(hashes, 0.1)
        held_out.append({tuple(row) for row in rows[order][valid]})
    assert held_out[0] == held_out[1]
    assert len(held_out[0]) == 40


def test_split_of_repeated_rows_is_that_of_single_ones():
    hashes = np.sort(row_hashes([table(100)], seed=0))
    _, valid = validation_split(hashes, 0.2)
    _, doubled = validation_split(np.repeat(hashes, 2), 0.2)
    np.testing.assert_array_equal(np.unique(doubled // 2), valid)


def test_a_small_stratum_stays_in_training():
    train, valid = validation_split(
        np.arange(12, dtype=np.uint64), 0.3, np.array([0] * 10 + [1] * 2)
    )
    assert valid.tolist() == [0, 1, 2]
    assert train.tolist() == [3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_rows_that_are_all_equal_are_not_split():
    _, valid = validation_split(np.zeros(50, dtype=np.uint64), 0.3)
    assert len(valid) == 0
