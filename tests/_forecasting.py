"""What the tests of forecasters share: tiny nets, series, and a look inside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from skattn import AttentionForecaster
from skattn.architectures import SelfAttention

SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1)


def make(architecture=SMALL, **params):
    """Make a forecaster that trains briefly, once, and reproducibly."""
    defaults = {
        "max_epochs": 2,
        "calibration": None,
        "random_state": 0,
        "num_threads": 1,
    }
    return AttentionForecaster(architecture, **{**defaults, **params})


def waves(n=60, index=None, seed=0, name="waves"):
    """Give a noisy sine around ten."""
    rng = np.random.default_rng(seed)
    values = 10 + np.sin(np.arange(n) / 2) + 0.1 * rng.normal(size=n)
    return pd.Series(values, index=index, name=name)


def months(n, start="2000-01"):
    return pd.period_range(start, periods=n, freq="M")


def make_panel(lengths=(40, 40, 40), ends=None, n_columns=1, name="series"):
    """Give series of waves with names ``a``, ``b``, ...; `ends` counts months."""
    parts = {}
    for number, n in enumerate(lengths):
        end = max(lengths) if ends is None else ends[number]
        index = months(n, str(pd.Period("2000-01", "M") + end - n))
        columns = {
            f"y{at}": (10.0**number) * waves(n, index, seed=10 * number + at)
            for at in range(n_columns)
        }
        parts["abcdefgh"[number]] = pd.DataFrame(columns)
    return pd.concat(parts, names=[name, "time"])


def weights_of(forecaster):
    """Copy all weights of a forecaster's net."""
    return {
        name: tensor.clone()
        for name, tensor in forecaster.net_.module_.state_dict().items()
    }


def equal_weights(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def same_weights(first, second):
    return equal_weights(weights_of(first), weights_of(second))


def memory_of(forecaster):
    """Give what is kept of the one series."""
    (memory,) = forecaster._memories.values()
    return memory
