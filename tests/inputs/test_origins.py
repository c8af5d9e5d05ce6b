"""Which windows are learnt from, held out, or kept for errors."""

import pytest

from skattn._inputs._origins import (
    Origins,
    automatic_window_length,
    held_out_steps,
    tail_origins,
    tail_steps,
    training_origins,
    validation_origins,
)


@pytest.mark.parametrize(
    ("lengths", "period", "horizon", "expected"),
    [
        ([144], 12, 12, 24),  # two seasons
        ([144], 12, 30, 57),  # half of what is left beside a horizon
        ([1000], 24, 30, 72),  # whole seasons
        ([1000], 1, 3, 8),  # at least
        ([50, 400, 1000], 7, 20, 42),  # the median decides
        ([3], 1, 5, 2),
        ([1], 1, 1, 1),
    ],
)
def test_automatic_window_lengths(lengths, period, horizon, expected):
    assert automatic_window_length(lengths, period, horizon) == expected


def test_few_windows_reach_beyond_the_end():
    # The last origin leaves one step to forecast.
    assert training_origins([20], 6, 4) == [Origins(0, 5, 19)]


def test_many_windows_keep_within_the_series():
    assert training_origins([2000, 900], 6, 4) == [
        Origins(0, 5, 1996),
        Origins(1, 5, 896),
    ]


def test_a_series_shorter_than_a_window_has_one():
    assert training_origins([3, 1], 6, 4) == [Origins(0, 1, 2), Origins(1, 0, 1)]


def test_no_training_window_sees_its_target_and_none_held_out():
    """Origins are last known steps: what follows them is forecast."""
    (training,) = training_origins([90], 6, 4)
    (held_out,) = validation_origins([100], [10], 4)
    assert training.stop - 1 + 1 <= 90 - 1  # forecasts end within the training steps
    assert held_out.first + 1 == 90  # the first held-out target is the first step
    assert held_out.stop - 1 + 1 <= 100 - 1


def test_series_without_held_out_steps_have_no_validation_windows():
    first, second = validation_origins([100, 3], [10, 0], 4)
    assert (len(first), len(second)) == (10, 0)


def test_tails():
    first, second = tail_origins([100, 3], [40, 0])
    assert (first.first + 1, first.stop, len(second)) == (60, 99, 0)


@pytest.mark.parametrize(
    ("n_steps", "horizon", "expected"),
    [(1000, 12, 120), (100, 12, 50), (4, 1, 2), (3, 1, 1), (2, 1, 0)],
)
def test_tail_lengths(n_steps, horizon, expected):
    assert tail_steps(n_steps, horizon) == expected


def test_held_out_parts():
    assert held_out_steps([100, 15, 2], 0.1) == [10, 2, 0]


def test_nothing_left_to_train_on_is_an_error():
    with pytest.raises(ValueError, match=r"validation_fraction=0.9 of 5 steps leaves"):
        held_out_steps([5, 2], 0.9)
