"""Public time series, downloaded when they are first used."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skattn.datasets._cache import fetch_file

_ETT_FREQUENCIES = {"ETTh1": "h", "ETTh2": "h", "ETTm1": "15min", "ETTm2": "15min"}

_ETT_DESCRIPTION = """\
Oil temperature of an electricity transformer ({name})
-----------------------------------------------------

Oil temperature and loads, measured in China from July 2016 to June 2018. ETTh1 and
ETTm1 are of one transformer, ETTh2 and ETTm2 of another; ETTh are hourly (17,420 rows),
ETTm every 15 minutes (69,680 rows).

=======  =====================
column
=======  =====================
HUFL     high useful load
HULL     high useless load
MUFL     medium useful load
MULL     medium useless load
LUFL     low useful load
LULL     low useless load
OT       oil temperature
=======  =====================

The target is the oil temperature; many benchmarks forecast all seven columns, which are
in `frame`. They take 12 months of 30 days to train on, the next 4 to validate and the
4 after these to test.

Source: https://github.com/zhouhaoyi/ETDataset, CC BY-ND 4.0.

- Zhou, H., Zhang, S., Peng, J., Zhang, S., Li, J., Xiong, H., Zhang, W. (2021).
  Proceedings of the AAAI Conference on Artificial Intelligence 35(12), 11106-11115.
  arXiv:2012.07436
"""

_CURRENCIES = ["AUD", "GBP", "CAD", "CHF", "CNY", "JPY", "NZD", "SGD"]

_EXCHANGE_DESCRIPTION = """\
Exchange rates
--------------

Daily price in US dollars of the currencies of Australia (AUD), the United Kingdom
(GBP), Canada (CAD), Switzerland (CHF), China (CNY), Japan (JPY), New Zealand (NZD) and
Singapore (SGD), 7,588 days from 1990 on.

The published file has no dates, and its number of rows fits neither the calendar days
nor the working days of the years that the paper names (1990 to 2016). The rows are
numbered therefore; the dates in other copies of these data were added later.

Source: collected by Lai et al.,
https://github.com/laiguokun/multivariate-time-series-data (no licence stated); read
from the copy of https://github.com/unit8co/darts (Apache-2.0).

- Lai, G., Chang, W.-C., Yang, Y., Liu, H. (2018). Modeling Long- and Short-Term
  Temporal Patterns with Deep Neural Networks. SIGIR. arXiv:1703.07015
"""

_SP500_DESCRIPTION = """\
Prices of 20 stocks of the S&P 500
----------------------------------

Daily closing prices in US dollars, adjusted for splits and dividends, of 20 companies
from 1990-01-02 to 2022-12-28: 8,313 trading days. The index has all days from Monday to
Friday, so that its frequency is known; the 294 on which the exchange was closed are
missing values. ``frame.dropna()`` leaves the trading days, ``frame.ffill()`` repeats
the last price.

The companies are such that were large at the end: returns of this choice say nothing of
what an investor of 1990 could have earned.

Source: https://github.com/skfolio/skfolio, BSD-3-Clause; the prices are from Yahoo's
public interface. For tests and examples only.
"""

_M4_HORIZONS = {"daily": 14, "hourly": 48, "weekly": 13}

_M4_DESCRIPTION = """\
M4 competition ({frequency} series)
--------------------------------

=========  =======  ========================  =======
frequency   series  observations to train on  horizon
=========  =======  ========================  =======
hourly         414  700 to 960                     48
daily        4,227  93 to 9,919                    14
weekly         359  80 to 2,597                    13
=========  =======  ========================  =======

Series of the M4 competition, without dates: each is numbered from 0, and its test part
goes on where its train part ends. Other frequencies of the competition are not offered.

Source: https://github.com/Mcompetitions/M4-methods; the organisers call the data open
access, free to use for research, and state no licence.

- Makridakis, S., Spiliotis, E., Assimakopoulos, V. (2020). The M4 Competition: 100,000
  time series and 61 forecasting methods. International Journal of Forecasting 36(1),
  54-74. doi:10.1016/j.ijforecast.2019.04.014
"""

_ILI_TARGET = "% WEIGHTED ILI"

# The first weeks of years that follow one of 53 weeks: the file has dropped them.
_ILI_LOST = ["1998-01-10", "2004-01-10", "2009-01-10", "2015-01-10", "2021-01-09"]

_ILI_DESCRIPTION = """\
Influenza-like illness in the United States
-------------------------------------------

Visits to outpatient health care providers for influenza-like illness (ILI), reported
every week to the Centers for Disease Control and Prevention (CDC): 1,306 weeks from
1997-10-04 to 2022-10-08.

==================  ========================================================
column
==================  ========================================================
% WEIGHTED ILI      share of visits that were for ILI, weighted by the
                    population of the states
%UNWEIGHTED ILI     the same without weights
AGE 0-4 to AGE 65   visits for ILI by age in years, the last from 65; the
                    groups from 25 to 64 years changed in 2009
ILITOTAL            all visits for ILI
NUM. OF PROVIDERS   providers that reported
TOTAL PATIENTS      visits for any reason
==================  ========================================================

The target is the weighted share. A week is labelled by the Saturday on which it ends,
as CDC counts them. The dates in the published file are not used: they come from another
way to number weeks, which leaves out four weeks of which the file has data, and made
five weeks fall on the date of another one, so that they were dropped (the first weeks
of 1998, 2004, 2009, 2015 and 2021). These five are missing values here. So are the 95
weeks of the summers from 1998 to 2002, in which nobody reported and the file has zeros.

Source: CDC, https://www.cdc.gov/fluview; read from the copy of
https://github.com/unit8co/darts (Apache-2.0).
"""


def _one_of(parameter: str, value: object, known: Collection[str]) -> None:
    """Refuse a value that is not known."""
    if value not in tuple(known):
        choices = ", ".join(repr(name) for name in known)
        raise ValueError(f"{parameter}={value!r} is unknown: give one of {choices}.")


def fetch_ett(
    name: str = "ETTh1",
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch:
    """Fetch an electricity transformer's oil temperature and loads.

    Two years, hourly or every 15 minutes. Source: https://github.com/zhouhaoyi/ETDataset,
    CC BY-ND 4.0.

    Parameters
    ----------
    name : {"ETTh1", "ETTh2", "ETTm1", "ETTm2"}, default="ETTh1"
        The transformer, 1 or 2, and the frequency: ``h`` hourly, ``m`` 15 minutes.
    data_home : str or path-like, optional
        The folder of the files, as in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the file if it is not there.

    Returns
    -------
    ett : Bunch
        With these attributes, all series with a ``DatetimeIndex`` of known frequency:

        data : DataFrame of shape (n, 6)
            The loads.
        target : Series of shape (n,)
            The oil temperature, ``"OT"``.
        frame : DataFrame of shape (n, 7)
            Both together.
        feature_names, target_names : list of str
            The columns of `data` and the name of `target`.
        DESCR : str
            Where the data come from, and what they mean.

    Raises
    ------
    ValueError
        If `name` is none of the four.
    OSError
        If the file is missing and is not to be or cannot be downloaded, or if it has
        other contents than those that were published.
    ImportError
        If the file is missing and pooch is not installed.

    References
    ----------
    Zhou, H. et al. (2021). Informer: Beyond Efficient Transformer for Long Sequence
    Time-Series Forecasting. AAAI. arXiv:2012.07436

    Examples
    --------
    >>> from skattn.datasets import fetch_ett
    >>> fetch_ett("ETTh1").frame.shape  # doctest: +SKIP
    (17420, 7)
    """
    _one_of("name", name, _ETT_FREQUENCIES)
    path = fetch_file(f"ett/{name}.csv", data_home, download_if_missing)
    frame = pd.read_csv(path, index_col="date", parse_dates=["date"])
    frame.index = pd.DatetimeIndex(frame.index, freq=_ETT_FREQUENCIES[name])
    data = frame.drop(columns="OT")
    return Bunch(
        data=data,
        target=frame["OT"],
        frame=frame,
        feature_names=list(data.columns),
        target_names=["OT"],
        DESCR=_ETT_DESCRIPTION.format(name=name),
    )


def fetch_exchange_rate(
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch:
    """Fetch the daily exchange rates of eight currencies against the US dollar.

    The rows are numbered, for the published file has no dates. Source: Lai et al. (no
    licence stated), from the copy of https://github.com/unit8co/darts (Apache-2.0).

    Parameters
    ----------
    data_home : str or path-like, optional
        The folder of the files, as in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the file if it is not there.

    Returns
    -------
    rates : Bunch
        With these attributes:

        target : DataFrame of shape (7588, 8)
            US dollars for one unit of each currency, with a ``RangeIndex``.
        frame : DataFrame of shape (7588, 8)
            The same.
        target_names : list of str
            The codes of the currencies.
        DESCR : str
            Where the data come from, and what they mean.

    Raises
    ------
    OSError
        If the file is missing and is not to be or cannot be downloaded, or if it has
        other contents than those that were published.
    ImportError
        If the file is missing and pooch is not installed.

    References
    ----------
    Lai, G., Chang, W.-C., Yang, Y., Liu, H. (2018). Modeling Long- and Short-Term
    Temporal Patterns with Deep Neural Networks. SIGIR. arXiv:1703.07015

    Examples
    --------
    >>> from skattn.datasets import fetch_exchange_rate
    >>> fetch_exchange_rate().target_names[:2]  # doctest: +SKIP
    ['AUD', 'GBP']
    """
    name = "exchange_rate/exchange_rate.csv"
    path = fetch_file(name, data_home, download_if_missing)
    frame = pd.read_csv(path, header=0, names=_CURRENCIES, index_col=False)
    frame.index.name = "day"
    return Bunch(
        target=frame.copy(),
        frame=frame,
        target_names=list(_CURRENCIES),
        DESCR=_EXCHANGE_DESCRIPTION,
    )


def fetch_sp500(
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch:
    """Fetch the daily prices of 20 stocks of the S&P 500, from 1990 to 2022.

    Source: https://github.com/skfolio/skfolio, BSD-3-Clause.

    Parameters
    ----------
    data_home : str or path-like, optional
        The folder of the files, as in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the file if it is not there.

    Returns
    -------
    stocks : Bunch
        With these attributes:

        target : DataFrame of shape (8607, 20)
            The adjusted closing prices, with a ``DatetimeIndex`` of frequency ``"B"``;
            days on which the exchange was closed are missing values.
        frame : DataFrame of shape (8607, 20)
            The same.
        target_names : list of str
            The symbols of the stocks.
        DESCR : str
            Where the data come from, and what they mean.

    Raises
    ------
    OSError
        If the file is missing and is not to be or cannot be downloaded, or if it has
        other contents than those that were published.
    ImportError
        If the file is missing and pooch is not installed.

    Examples
    --------
    >>> from skattn.datasets import fetch_sp500
    >>> fetch_sp500().frame.dropna().shape  # doctest: +SKIP
    (8313, 20)
    """
    path = fetch_file("stocks/sp500_dataset.csv.gz", data_home, download_if_missing)
    frame = pd.read_csv(path, index_col="Date", parse_dates=["Date"]).asfreq("B")
    return Bunch(
        target=frame.copy(),
        frame=frame,
        target_names=list(frame.columns),
        DESCR=_SP500_DESCRIPTION,
    )


def fetch_m4(
    frequency: str = "hourly",
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch:
    """Fetch the hourly, daily or weekly series of the M4 competition.

    Source: https://github.com/Mcompetitions/M4-methods, open access without a stated
    licence.

    Parameters
    ----------
    frequency : {"hourly", "daily", "weekly"}, default="hourly"
        Which of the series.
    data_home : str or path-like, optional
        The folder of the files, as in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download a file if it is not there.

    Returns
    -------
    m4 : Bunch
        With these attributes, all panels in sktime's ``pd-multiindex`` form, with the
        levels ``series`` and ``time``, of which the second counts from 0:

        train : DataFrame with one column, ``value``
            What the competitors were given.
        test : DataFrame with one column, ``value``
            The values that were to be forecast.
        frame : DataFrame with one column, ``value``
            Both together.
        target_names : list of str
            ``["value"]``.
        horizon : int
            The number of values of each series in `test`.
        DESCR : str
            Where the data come from, and what they mean.

    Raises
    ------
    ValueError
        If `frequency` is none of the three.
    OSError
        If a file is missing and is not to be or cannot be downloaded, or if it has
        other contents than those that were published.
    ImportError
        If a file is missing and pooch is not installed.

    References
    ----------
    Makridakis, S., Spiliotis, E., Assimakopoulos, V. (2020). The M4 Competition:
    100,000 time series and 61 forecasting methods. International Journal of Forecasting
    36(1), 54-74. doi:10.1016/j.ijforecast.2019.04.014

    Examples
    --------
    >>> from skattn.datasets import fetch_m4
    >>> m4 = fetch_m4("hourly")  # doctest: +SKIP
    >>> m4.test.loc["H1"].index[[0, -1]].tolist()  # doctest: +SKIP
    [700, 747]
    """
    _one_of("frequency", frequency, _M4_HORIZONS)
    train, test = (
        _read_wide(
            fetch_file(
                f"m4/{frequency.capitalize()}-{part}.csv",
                data_home,
                download_if_missing,
            )
        )
        for part in ("train", "test")
    )
    lengths = {name: len(values) for name, values in train.items()}
    both = {name: np.concatenate([train[name], test[name]]) for name in train}
    return Bunch(
        train=_panel(train),
        test=_panel(test, lengths),
        frame=_panel(both),
        target_names=["value"],
        horizon=_M4_HORIZONS[frequency],
        DESCR=_M4_DESCRIPTION.format(frequency=frequency),
    )


def _read_wide(path: Path) -> dict[str, np.ndarray]:
    """Read series of unequal lengths: one on each line, after its name."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        next(lines)
        return {
            name: np.array([value for value in values if value], dtype="float64")
            for name, *values in lines
        }


def _panel(
    series: Mapping[str, np.ndarray], starts: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Stack series, sorted by their names, of which each starts at 0 or its start."""
    names = sorted(series)
    times = [
        np.arange(len(series[name])) + (0 if starts is None else starts[name])
        for name in names
    ]
    time = np.concatenate(times)
    index = pd.MultiIndex(
        levels=[names, np.arange(time.max() + 1)],
        codes=[np.repeat(np.arange(len(names)), [len(each) for each in times]), time],
        names=["series", "time"],
    )
    values = np.concatenate([series[name] for name in names])
    return pd.DataFrame({"value": values}, index=index.remove_unused_levels())


def fetch_ili(
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch:
    """Fetch the weekly visits for influenza-like illness in the United States.

    From 1997 to 2022. Source: Centers for Disease Control and Prevention, from the copy
    of https://github.com/unit8co/darts (Apache-2.0), with the dates put right.

    Parameters
    ----------
    data_home : str or path-like, optional
        The folder of the files, as in `get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the file if it is not there.

    Returns
    -------
    ili : Bunch
        With these attributes, all series with a ``DatetimeIndex`` of frequency
        ``"W-SAT"``; weeks without reports are missing values:

        data : DataFrame of shape (1306, 10)
            Counts of visits and providers.
        target : Series of shape (1306,)
            The weighted share of visits in percent, ``"% WEIGHTED ILI"``.
        frame : DataFrame of shape (1306, 11)
            Both together.
        feature_names, target_names : list of str
            The columns of `data` and the name of `target`.
        DESCR : str
            Where the data come from, what they mean, and what became of the dates.

    Raises
    ------
    OSError
        If the file is missing and is not to be or cannot be downloaded, or if it has
        other contents than those that were published.
    ImportError
        If the file is missing and pooch is not installed.

    Examples
    --------
    >>> from skattn.datasets import fetch_ili
    >>> fetch_ili().target["2009-10-24"]  # doctest: +SKIP
    7.7151
    """
    path = fetch_file("ili/ILINet.csv", data_home, download_if_missing)
    frame = pd.read_csv(path).drop(columns="DATE").astype("float64")
    weeks = pd.date_range("1997-10-04", "2022-10-08", freq="W-SAT", name="week")
    frame.index = weeks.drop(pd.DatetimeIndex(_ILI_LOST))[: len(frame)]
    frame = frame.where(frame["TOTAL PATIENTS"] > 0).asfreq("W-SAT")
    data = frame.drop(columns=_ILI_TARGET)
    return Bunch(
        data=data,
        target=frame[_ILI_TARGET],
        frame=frame,
        feature_names=list(data.columns),
        target_names=[_ILI_TARGET],
        DESCR=_ILI_DESCRIPTION,
    )
