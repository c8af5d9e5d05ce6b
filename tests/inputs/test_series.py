"""Panels of series: lengths, gaps, scaling, what is refused."""

import re

import numpy as np
import pandas as pd
import pytest

from skattn._inputs import SeriesEncoder, input_of


class Everything:
    name = "everything"
    consumes = ("mask", "observed")


class Nothing:
    name = "nothing"
    consumes = ()


class SomeRegressor:
    pass


def make(scaling="standard", architecture=Everything):
    return SeriesEncoder(scaling, architecture, SomeRegressor())


def panel(lengths=(6, 4, 1), n_channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(n_channels, length)) * [[1.0], [50.0]] for length in lengths
    ]


def padded(series):
    """Write a list as one array with NaN on the right."""
    longest = max(values.shape[1] for values in series)
    return np.stack(
        [
            np.pad(v, ((0, 0), (0, longest - v.shape[1])), constant_values=np.nan)
            for v in series
        ]
    )


def encode(encoder, X):
    content = encoder.learn(X)
    encoder.fit_scaling(content, None)
    return encoder.tensors(content)


def test_series_are_padded_on_the_right():
    encoder = make()
    content = encoder.learn(panel())
    assert content["lengths"].tolist() == [6, 4, 1]
    np.testing.assert_array_equal(content["values"], padded(panel()))
    assert (encoder.length, encoder.n_channels_) == (6, 2)


@pytest.mark.parametrize("kind", [list, tuple, padded])
def test_all_forms_agree(kind):
    one, other = encode(make(), panel()), encode(make(), kind(panel()))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, bool])
def test_all_kinds_of_numbers(dtype):
    X = np.arange(12).reshape(2, 2, 3).astype(dtype)
    content = make().learn(X)
    assert content["values"].dtype == np.float64
    np.testing.assert_array_equal(content["values"], X)


def test_steps_beyond_every_end_are_cut():
    X = np.full((2, 2, 9), np.nan)
    X[:, :, :4] = 1.0
    content = make().learn(X)
    assert content["values"].shape == (2, 2, 4)
    assert content["lengths"].tolist() == [4, 4]


def test_a_gap_is_no_end():
    X = np.ones((1, 2, 5))
    X[0, :, 1] = np.nan  # nothing is known of this step
    X[0, 0, 4] = np.nan  # of the last step, one channel is
    tensors = encode(make(), X)
    assert tensors["mask"].tolist() == [[True] * 5]
    np.testing.assert_array_equal(tensors["observed"], ~np.isnan(X))


def test_channels_are_scaled_over_all_known_values():
    X = padded(panel())
    X[0, 1, 2] = np.nan
    tensors = encode(make(), X)
    mean = np.nanmean(X, axis=(0, 2))[:, None]
    scale = np.nanstd(X, axis=(0, 2))[:, None]
    expected = np.where(np.isnan(X), 0.0, (X - mean) / scale)
    np.testing.assert_allclose(tensors["x"], expected)
    np.testing.assert_array_equal(tensors["mask"], np.arange(6) < [[6], [4], [1]])
    np.testing.assert_array_equal(tensors["observed"], ~np.isnan(X))


def test_weights_of_series_equal_repetitions():
    weighted, repeated = make(), make()
    content = weighted.learn(panel())
    weighted.fit_scaling(content, np.array([1.0, 3.0, 2.0]))
    more = [panel()[at] for at in (0, 1, 1, 1, 2, 2)]
    repeated.fit_scaling(repeated.learn(more), None)
    np.testing.assert_allclose(
        weighted.tensors(content)["x"], repeated.tensors(content)["x"]
    )


def test_quantile_scaling_and_none():
    x = encode(make("quantile"), panel())["x"]
    assert np.abs(x).max() < 3
    np.testing.assert_array_equal(encode(make(None), panel())["x"], padded_zeros())
    assert make("auto").scaler.scaling == "standard"


def padded_zeros():
    return np.nan_to_num(padded(panel()))


def test_only_what_is_consumed():
    class Mask(Everything):
        consumes = ("mask",)

    assert set(encode(make(architecture=Mask), panel())) == {"x", "mask"}
    whole = np.ones((2, 1, 3))
    assert set(encode(make(architecture=Nothing), whole)) == {"x"}


def test_new_series_are_scaled_as_those_of_training():
    encoder = make()
    tensors = encode(encoder, panel())
    again = encoder.tensors(encoder.read([panel()[1]]))
    np.testing.assert_array_equal(again["x"][0], tensors["x"][1, :, :4])
    longer = encoder.read(panel(lengths=(9,)))
    assert longer["values"].shape == (1, 2, 9)
    assert encoder.length == 6


def test_description():
    encoder = make()
    encoder.learn(panel())
    assert encoder.describe() == {
        "input": "series",
        "n_channels": 2,
        "channel_names": ("0", "1"),
        "length": 6,
    }


def test_names_of_axes():
    encoder = make()
    content = encoder.learn(panel())
    assert encoder.axis_names("time", content) == ["0", "1", "2", "3", "4", "5"]
    assert encoder.axis_names("channels", content) == ["0", "1"]
    assert encoder.axis_names("features", content) is None


def test_the_input_stays_as_it_is():
    X = padded(panel())
    before = X.copy()
    encode(make(), X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((2, 1, 3), "a"), "must be real numbers, not <U1"),
        (np.ones((2, 1, 3), dtype=complex), "must be real numbers"),
        (np.ones((2, 1, 0)), r"shape \(2, 1, 0\) holds no series"),
        (np.ones((0, 1, 4)), "holds no series"),
        ([np.ones((2, 0)), np.ones((2, 0))], "number 0 of X holds no value"),
        (np.full((2, 1, 3), np.inf), "SomeRegressor: X contains infinity"),
        ([np.ones((2, 3)), np.full((2, 3), np.nan)], "number 1 of X holds no value"),
        ([np.ones((2, 3)), np.ones((2, 0))], "number 1 of X holds no value"),
        ([np.ones((2, 3)), np.ones((3, 3))], r"number 1 .*\(3, 3\).*\(2, 3\)"),
        ([np.ones((2, 3)), np.ones(3)], r"number 1 .*\(3,\)"),
    ],
)
def test_what_is_no_panel(X, message):
    with pytest.raises(ValueError, match=message):
        make().learn(X)


def test_another_number_of_channels():
    encoder = make()
    encoder.learn(panel())
    message = "has 3 channels, but SomeRegressor was fitted with 2"
    with pytest.raises(ValueError, match=message):
        encoder.read(np.ones((1, 3, 6)))


def test_unequal_lengths_need_a_mask():
    encoder = make(architecture=Nothing)
    message = "4 time steps beside the length 6, but the architecture 'nothing'"
    with pytest.raises(ValueError, match=message):
        encoder.learn(panel())
    encoder.learn(panel(lengths=(6, 6)))
    with pytest.raises(ValueError, match="8 time steps"):
        encoder.read(panel(lengths=(8, 8)))


def test_gaps_need_observed():
    X = np.ones((3, 2, 4))
    X[1, 0, 2] = np.nan
    message = re.escape("Series number 1 of X has missing values, but the architecture")
    with pytest.raises(ValueError, match=message):
        make(architecture=Nothing).learn(X)


def test_data_frames_are_refused_for_their_rows_are_time():
    frames = [pd.DataFrame(series.T) for series in panel()]
    assert input_of(frames) == "series"
    message = r"SomeRegressor .*\(channels, time\).*AttentionTimeSeriesClassifier or"
    encoder = make()
    with pytest.raises(TypeError, match=message):
        encoder.learn(frames)
    encoder.learn(panel())
    with pytest.raises(TypeError, match=message):
        encoder.read(frames)
