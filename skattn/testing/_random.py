"""The random states that a check may touch, and must put back."""

# ruff: noqa: NPY002 - plugins may draw from numpy's global state, which is looked for

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def isolated() -> Iterator[None]:
    """Seed torch for a check, and put all random states back after it."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def seed_others(seed: int) -> None:
    """Seed the states that no architecture may draw from.

    Parameters
    ----------
    seed : int
        Of `random` and `numpy.random`.
    """
    random.seed(seed)
    np.random.seed(seed)


def state_of_others() -> tuple[object, ...]:
    """Return the states that no architecture may draw from.

    Returns
    -------
    state : tuple
        To be compared.
    """
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    return random.getstate(), state["state"]["key"].tobytes(), state["state"]["pos"]
