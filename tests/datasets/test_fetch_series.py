"""Fetched series have the values of their files and an index that sktime can use."""

import gzip
import hashlib

import numpy as np
import pandas as pd
import pytest
from sktime.datatypes import check_is_mtype

from skattn.datasets import (
    _cache,
    fetch_ett,
    fetch_exchange_rate,
    fetch_ili,
    fetch_m4,
    fetch_sp500,
)

LOADS = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL"]


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Put a file where a fetcher looks for it, and register its contents."""
    monkeypatch.setenv("SKATTN_DATA", str(tmp_path))

    def put(name, *lines):
        text = "".join(f"{line}\n" for line in lines).encode()
        contents = gzip.compress(text) if name.endswith(".gz") else text
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents)
        checksum = f"sha256:{hashlib.sha256(contents).hexdigest()}"
        remote = _cache.FILES[name]._replace(checksum=checksum)
        monkeypatch.setitem(_cache.FILES, name, remote)

    return put


@pytest.mark.parametrize(
    ("name", "step", "frequency"),
    [
        ("ETTh1", "1h", "h"),
        ("ETTh2", "1h", "h"),
        ("ETTm1", "15min", "15min"),
        ("ETTm2", "15min", "15min"),
    ],
)
def test_transformers(put, name, step, frequency):
    times = pd.date_range("2016-07-01", periods=3, freq=step)
    put(
        f"ett/{name}.csv",
        f"date,{','.join(LOADS)},OT",
        f"{times[0]},1,2,3,4,5,6,30.5",
        f"{times[1]},1.5,2.5,3.5,4.5,5.5,6.5,27.75",
        f"{times[2]},1,2,3,4,5,6,28",
    )
    ett = fetch_ett(name)
    assert ett.target.tolist() == [30.5, 27.75, 28.0]
    assert ett.data.iloc[1].to_dict() == dict(
        zip(LOADS, [1.5, 2.5, 3.5, 4.5, 5.5, 6.5], strict=True)
    )
    for values in (ett.data, ett.target, ett.frame):
        assert values.index.equals(times)
        assert values.index.freqstr == frequency
    assert (ett.frame.dtypes == "float64").all()
    assert list(ett.frame) == [*ett.feature_names, *ett.target_names] == [*LOADS, "OT"]
    assert name in ett.DESCR.splitlines()[0]
    assert "CC BY-ND 4.0" in ett.DESCR


def test_exchange_rates_are_numbered(put):
    put(
        "exchange_rate/exchange_rate.csv",
        "0,1,2,3,4,5,6,7",
        "0.7855,1.611,0.861698,0.634196,0.211242,0.006838,0.593,0.525486",
        "0.7818,1.61,0.861104,0.633513,0.211242,0.006863,0.594,0.523972",
    )
    rates = fetch_exchange_rate()
    assert rates.target_names == list(rates.target)
    assert rates.target["GBP"].tolist() == [1.611, 1.61]
    assert rates.target["JPY"].tolist() == [0.006838, 0.006863]
    assert rates.target["SGD"].tolist() == [0.525486, 0.523972]
    assert isinstance(rates.target.index, pd.RangeIndex)
    assert rates.frame.equals(rates.target)
    assert "no licence stated" in rates.DESCR


def test_stocks_have_missing_values_on_holidays(put):
    put(
        "stocks/sp500_dataset.csv.gz",
        "Date,AAPL,XOM",
        "2022-12-22,131.1,105.2",
        "2022-12-23,130.7,107.9",
        "2022-12-27,128.9,109.4",
    )
    stocks = fetch_sp500()
    assert stocks.target.index.freqstr == "B"
    assert stocks.target["XOM"].dropna().tolist() == [105.2, 107.9, 109.4]
    (holiday,) = stocks.target.index[stocks.target["AAPL"].isna()]
    assert holiday == pd.Timestamp("2022-12-26")
    assert stocks.target_names == ["AAPL", "XOM"]
    assert stocks.frame.equals(stocks.target)
    assert "BSD-3-Clause" in stocks.DESCR


@pytest.mark.parametrize(
    ("frequency", "horizon"), [("hourly", 48), ("daily", 14), ("weekly", 13)]
)
def test_m4_is_a_panel_in_two_parts(put, frequency, horizon):
    stem = f"m4/{frequency.capitalize()}"
    put(
        f"{stem}-train.csv",
        '"V1","V2","V3","V4"',
        '"S2","605","586","559.5"',
        '"S10","3124",,',
    )
    put(f"{stem}-test.csv", '"V1","V2","V3"', '"S2","1","2"', '"S10","3","4"')
    m4 = fetch_m4(frequency)
    assert m4.train["value"].to_dict() == {
        ("S10", 0): 3124.0,
        ("S2", 0): 605.0,
        ("S2", 1): 586.0,
        ("S2", 2): 559.5,
    }
    assert m4.test["value"].to_dict() == {
        ("S10", 1): 3.0,
        ("S10", 2): 4.0,
        ("S2", 3): 1.0,
        ("S2", 4): 2.0,
    }
    assert m4.frame.equals(pd.concat([m4.train, m4.test]).sort_index())
    assert list(m4.frame) == m4.target_names
    assert m4.horizon == horizon
    for panel in (m4.train, m4.test, m4.frame):
        assert panel.index.names == ["series", "time"]
        assert panel.index.is_monotonic_increasing
        assert check_is_mtype(panel, "pd-multiindex", msg_return_dict="list")
    assert frequency in m4.DESCR.splitlines()[0]
    assert "open\naccess" in m4.DESCR


def test_illness_is_dated_by_the_ends_of_weeks(put):
    weeks = 17
    columns = ["% WEIGHTED ILI", "AGE 25-49", "TOTAL PATIENTS"]
    put(
        "ili/ILINet.csv",
        ",".join(["DATE", *columns]),
        *[f"1900-01-01,{week + 0.5},,{1000 + week}" for week in range(weeks - 1)],
        "1900-01-01,0,0,0",
    )
    ili = fetch_ili()
    # The file has week 53 of 1997, but no week 1 of 1998.
    assert ili.target.index.equals(
        pd.date_range("1997-10-04", periods=weeks + 1, freq="W-SAT")
    )
    assert ili.target.index.freqstr == "W-SAT"
    assert ili.target["1998-01-03"] == 13.5
    assert np.isnan(ili.target["1998-01-10"])
    assert ili.target["1998-01-17"] == 14.5
    assert ili.frame.loc["1998-01-31"].isna().all()
    assert ili.target.isna().sum() == 2
    assert ili.data["TOTAL PATIENTS"]["1997-10-11"] == 1001.0
    assert (ili.frame.dtypes == "float64").all()
    assert ili.feature_names == list(ili.data) == columns[1:]
    assert [ili.target.name] == ili.target_names == columns[:1]
    assert list(ili.frame) == columns
    assert "Apache-2.0" in ili.DESCR


def test_an_unknown_transformer():
    choices = "name='ETTh3' is unknown: give one of 'ETTh1', 'ETTh2', 'ETTm1', 'ETTm2'"
    with pytest.raises(ValueError, match=choices):
        fetch_ett("ETTh3")


def test_an_unknown_frequency():
    choices = "frequency='yearly' is unknown: give one of 'daily', 'hourly', 'weekly'"
    with pytest.raises(ValueError, match=choices):
        fetch_m4("yearly")


@pytest.mark.parametrize(
    "fetch", [fetch_ett, fetch_exchange_rate, fetch_ili, fetch_m4, fetch_sp500]
)
def test_every_fetcher_looks_in_data_home_and_obeys(fetch, tmp_path, monkeypatch):
    monkeypatch.setenv("SKATTN_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(OSError, match="download_if_missing=False") as caught:
        fetch(data_home=tmp_path / "own", download_if_missing=False)
    assert str(caught.value).startswith(str(tmp_path / "own"))
    assert list(tmp_path.iterdir()) == []
