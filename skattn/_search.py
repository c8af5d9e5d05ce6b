"""Ranges of hyper-parameters, and the search spaces made of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state


def _check_bounds(low: float, high: float, log: bool) -> None:
    if not low < high:
        raise ValueError(f"low={low} must be below high={high}.")
    if log and low <= 0:
        raise ValueError(f"A logarithmic range starts above 0, not at low={low}.")


@dataclass(frozen=True)
class Int:
    """An integer hyper-parameter between two bounds, both included.

    Parameters
    ----------
    low, high : int
        The bounds.
    log : bool, default=False
        Draw uniformly on a logarithmic scale.

    Examples
    --------
    >>> from skattn import Int
    >>> Int(1, 4).rvs(random_state=0)
    1
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)

    @property
    def edges(self) -> tuple[int, int]:
        """The extreme values, which every architecture must build with."""
        return self.low, self.high

    def rvs(self, random_state: Any = None) -> int:
        """Draw one value.

        Parameters
        ----------
        random_state : int, RandomState or None
            Seed or generator.

        Returns
        -------
        value : int
            Between `low` and `high`.
        """
        rng = check_random_state(random_state)
        if not self.log:
            return int(rng.randint(self.low, self.high + 1))
        # Each integer owns the interval of half a unit on both sides.
        drawn = math.exp(
            rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5))
        )
        return int(np.clip(round(drawn), self.low, self.high))


@dataclass(frozen=True)
class Float:
    """A real hyper-parameter between two bounds.

    Parameters
    ----------
    low, high : float
        The bounds.
    log : bool, default=False
        Draw uniformly on a logarithmic scale.

    Examples
    --------
    >>> from skattn import Float
    >>> 1e-4 <= Float(1e-4, 1e-2, log=True).rvs(random_state=0) <= 1e-2
    True
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)

    @property
    def edges(self) -> tuple[float, float]:
        """The extreme values, which every architecture must build with."""
        return self.low, self.high

    def rvs(self, random_state: Any = None) -> float:
        """Draw one value.

        Parameters
        ----------
        random_state : int, RandomState or None
            Seed or generator.

        Returns
        -------
        value : float
            Between `low` and `high`.
        """
        rng = check_random_state(random_state)
        if not self.log:
            return float(rng.uniform(self.low, self.high))
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return float(np.clip(drawn, self.low, self.high))


@dataclass(frozen=True, init=False)
class Choice:
    """A hyper-parameter with a few possible values.

    Parameters
    ----------
    *options : object
        The values, at least one.

    Examples
    --------
    >>> from skattn import Choice
    >>> Choice("relu", "gelu").rvs(random_state=0)
    'relu'
    """

    options: tuple[Any, ...]

    def __init__(self, *options: Any) -> None:
        if not options:
            raise ValueError("Choice needs at least one option.")
        object.__setattr__(self, "options", options)

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    @property
    def edges(self) -> tuple[Any, ...]:
        """All values, which every architecture must build with."""
        return self.options

    def rvs(self, random_state: Any = None) -> Any:
        """Draw one value.

        Parameters
        ----------
        random_state : int, RandomState or None
            Seed or generator.

        Returns
        -------
        value : object
            One of the options.
        """
        rng = check_random_state(random_state)
        return self.options[int(rng.randint(len(self.options)))]


def search_space(
    architecture: Any, *, prefix: str = "", include: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return distributions over an architecture's hyper-parameters.

    Parameters
    ----------
    architecture : str or Architecture
        A registered name, or an instance whose other hyper-parameters are kept.
    prefix : str, default=""
        Put before each key, for instance ``"clf__"`` for a step of a Pipeline.
    include : iterable of str, optional
        Only these hyper-parameters.

    Returns
    -------
    space : dict of str to list or distribution
        Ready for `sklearn.model_selection.RandomizedSearchCV` and for sktime's
        ``ForecastingRandomizedSearchCV``.

    Raises
    ------
    ValueError
        If `include` names a hyper-parameter without a range, or is a str itself.

    Examples
    --------
    >>> import skattn
    >>> sorted(skattn.search_space("self_attention", include=["num_heads"]))
    ['architecture', 'architecture__num_heads']
    """
    from skattn._registry import resolve

    template = resolve(architecture)
    if isinstance(include, str):
        raise ValueError(
            f"include={include!r} is one str; give a list: include=[{include!r}]."
        )
    names = list(template.search_space) if include is None else list(include)
    if missing := sorted(set(names) - set(template.search_space)):
        raise ValueError(
            f"{type(template).__name__} declares no range for {missing}; it has "
            f"ranges for {sorted(template.search_space)}."
        )
    key = f"{prefix}architecture"
    ranges = {f"{key}__{name}": template.search_space[name] for name in names}
    return {key: [architecture], **ranges}
