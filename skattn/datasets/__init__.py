"""Data sets: one that ships with skattn, and public ones to download."""

from skattn.datasets._cache import clear_data_home, get_data_home
from skattn.datasets._penguins import load_penguins
from skattn.datasets._texts import fetch_multi30k, fetch_sst2, fetch_wnut17
from skattn.datasets._time_series import (
    fetch_ett,
    fetch_exchange_rate,
    fetch_ili,
    fetch_m4,
    fetch_sp500,
)

__all__ = [
    "clear_data_home",
    "fetch_ett",
    "fetch_exchange_rate",
    "fetch_ili",
    "fetch_m4",
    "fetch_multi30k",
    "fetch_sp500",
    "fetch_sst2",
    "fetch_wnut17",
    "get_data_home",
    "load_penguins",
]
