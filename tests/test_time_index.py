"""What an index tells: seasons, gaps, labels."""

import numpy as np
import pandas as pd
import pytest

from skattn._time_index import check_later, regular, seasonal_period, time_labels


@pytest.mark.parametrize(
    ("frequency", "period"),
    [
        ("M", 12),
        ("Q", 4),
        ("Q-NOV", 4),
        ("W", 52),
        ("W-WED", 52),
        ("D", 7),
        ("B", 5),
        ("h", 24),
        ("min", 60),
        ("s", 60),
        ("Y", 1),
        ("2h", 1),
        ("ms", 1),
    ],
)
@pytest.mark.filterwarnings("ignore:Period with BDay freq:FutureWarning")
@pytest.mark.filterwarnings("ignore:PeriodDtype:FutureWarning")
def test_season_of_periods(frequency, period):
    index = pd.period_range("2000-01-01", periods=6, freq=frequency)
    assert seasonal_period(index) == period


@pytest.mark.parametrize(
    ("frequency", "period"),
    [
        ("ME", 12),
        ("MS", 12),
        ("QE-DEC", 4),
        ("QS-JAN", 4),
        ("W-SUN", 52),
        ("D", 7),
        ("B", 5),
        ("h", 24),
        ("min", 60),
        ("15min", 1),
        ("YE", 1),
    ],
)
def test_season_of_times_with_and_without_a_name(frequency, period):
    index = pd.date_range("2000-01-03", periods=30, freq=frequency)
    assert seasonal_period(index) == period
    unnamed = pd.DatetimeIndex(index.to_numpy())
    assert unnamed.freq is None
    assert seasonal_period(unnamed) == period


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(9),
        pd.Index([0, 1, 5]),
        pd.to_datetime(["2000-01-01", "2000-01-02"]),
        pd.to_datetime(["2000-01-01", "2000-01-02", "2000-03-07"]),
    ],
)
def test_no_season_where_nothing_is_known(index):
    assert seasonal_period(index) == 1


INDICES = {
    "periods": pd.period_range("2000-01", periods=9, freq="M"),
    "month ends": pd.date_range("2000-01-31", periods=9, freq="ME"),
    "month starts": pd.date_range("2000-01-01", periods=9, freq="MS"),
    "weeks": pd.date_range("2000-01-02", periods=9, freq="W"),
    "days": pd.date_range("2000-01-01", periods=9, freq="D"),
    "hours": pd.date_range("2000-01-01", periods=9, freq="h"),
    "quarters of an hour": pd.date_range("2000-01-01", periods=9, freq="15min"),
    "a range": pd.RangeIndex(9),
    "integers": pd.Index(np.arange(9) * 3 + 7),
}


def frame_of(index):
    return pd.DataFrame({"a": np.arange(9.0), "b": np.arange(9.0) ** 2}, index=index)


each_index = pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)


def assert_equal(got, expected):
    """Compare frames but for how an index of the same times is stored."""
    pd.testing.assert_frame_equal(
        got, expected, check_freq=False, check_index_type=False
    )


@each_index
def test_a_regular_index_stays(index):
    assert_equal(regular(frame_of(index)), frame_of(index))


@each_index
@pytest.mark.parametrize("missing", [[4], [1, 2, 6]])
def test_rows_that_are_left_out_come_back_empty(index, missing):
    frame = frame_of(index)
    kept = [at for at in range(9) if at not in missing]
    frequency = getattr(index, "freqstr", None)
    full = regular(frame.iloc[kept], frequency)
    assert list(full.index) == list(index)
    assert_equal(full.iloc[kept], frame.iloc[kept])
    assert full.iloc[missing].isna().all(axis=None)


@pytest.mark.parametrize("name", ["month ends", "month starts", "days", "hours"])
def test_times_do_not_tell_their_frequency_where_some_are_left_out(name):
    frame = frame_of(INDICES[name]).drop(INDICES[name][4])
    with pytest.raises(ValueError, match="does not keep to a frequency"):
        regular(frame)


def test_times_that_do_not_keep_to_the_frequency():
    frame = frame_of(INDICES["hours"])
    with pytest.raises(ValueError, match=r"\(2h was looked for\).*asfreq"):
        regular(frame, "2h")


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([0.0, 1.0, 2.5]),
        pd.Index([5]),
        pd.to_datetime(["2000-01-01"]),
        pd.to_datetime(["2000-01-01", "2000-01-05"]),
    ],
)
def test_an_index_without_a_step_is_left_alone(index):
    frame = pd.DataFrame({"a": np.arange(len(index), dtype=float)}, index=index)
    assert regular(frame) is frame


@pytest.mark.parametrize(
    "index", [pd.RangeIndex(0), pd.PeriodIndex([], freq="M"), pd.DatetimeIndex([])]
)
def test_a_series_without_rows_is_refused(index):
    with pytest.raises(ValueError, match="y has no rows"):
        regular(pd.DataFrame({"a": np.zeros(0)}, index=index))


def test_the_step_of_integers_is_the_largest_that_meets_all():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=[10, 14, 20])
    full = regular(frame)
    assert list(full.index) == [10, 12, 14, 16, 18, 20]
    np.testing.assert_array_equal(full["a"], [1, np.nan, 2, np.nan, np.nan, 3])


def test_values_that_were_missing_stay_so():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0]}, index=[0, 1, 3])
    np.testing.assert_array_equal(regular(frame)["a"], [1, np.nan, np.nan, 3])


@pytest.mark.parametrize(
    "index",
    [
        pd.Index([0, 1, 1, 2]),
        pd.PeriodIndex(["2000-01", "2000-02", "2000-02", "2000-03"], freq="M"),
        pd.to_datetime(["2000-01-01", "2000-01-02", "2000-01-02", "2000-01-03"]),
    ],
)
def test_a_time_that_occurs_twice(index):
    frame = pd.DataFrame({"a": np.arange(4.0)}, index=index)
    message = f"holds {index[1]} more than once"
    with pytest.raises(ValueError, match=message):
        regular(frame)


MONTHS = pd.period_range("2000-01", periods=6, freq="M")
DAYS = pd.date_range("2000-01-01", periods=6, freq="D")


@pytest.mark.parametrize("index", [MONTHS, DAYS, pd.RangeIndex(6), pd.Index(range(6))])
def test_new_times_end_where_the_known_ones_do_or_later(index):
    check_later(index[4:], index[:3])
    check_later(index[1:4], index[:4])
    with pytest.raises(ValueError, match=rf"ends at {index[2]}, before .* {index[3]}"):
        check_later(index[:3], index[:4])


def test_new_times_are_of_the_same_kind():
    whole = pd.RangeIndex(6)
    check_later(pd.Index([7], dtype="int32"), whole)
    quarters = pd.period_range("2001Q1", periods=2, freq="Q")
    for index, known, message in (
        (DAYS, MONTHS, "holds times, but that of .* periods of frequency M"),
        (quarters, MONTHS, "frequency Q-DEC, but .* frequency M"),
        (whole, DAYS, "holds whole numbers, but .* times"),
        (DAYS.tz_localize("UTC"), DAYS, "holds times of the zone UTC, but .* times"),
    ):
        with pytest.raises(ValueError, match=message):
            check_later(index, known)


def test_labels():
    assert time_labels(pd.period_range("2000-01", periods=2, freq="M")) == [
        "2000-01",
        "2000-02",
    ]
    assert time_labels(pd.RangeIndex(2)) == ["0", "1"]
    assert time_labels(pd.to_datetime(["2000-01-01"])) == ["2000-01-01 00:00:00"]
