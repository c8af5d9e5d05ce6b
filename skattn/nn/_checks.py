"""Checks of the hyper-parameters of an architecture."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from skattn._architecture import Architecture


def check_sizes(
    architecture: Architecture, *names: str, probabilities: Sequence[str] = ()
) -> None:
    """Refuse hyper-parameters of which no module can be built; for use in ``build``.

    Parameters
    ----------
    architecture : Architecture
        Its attributes are checked.
    *names : str
        Hyper-parameters that are positive integers; None passes where it is the
        default.
    probabilities : sequence of str, default=()
        Hyper-parameters that are at least 0 and below 1; None as above.

    Raises
    ------
    ValueError
        With the parameter, its value, the architecture and what is accepted.

    Examples
    --------
    >>> from skattn.architectures import SelfAttention
    >>> from skattn.nn import check_sizes
    >>> check_sizes(SelfAttention(), "d_model", "d_ff", probabilities=["dropout"])
    >>> check_sizes(SelfAttention(num_layers=0), "num_layers")
    Traceback (most recent call last):
    ...
    ValueError: num_layers=0 of SelfAttention must be a positive integer.
    """
    defaults = inspect.signature(type(architecture)).parameters
    for name in names:
        value = getattr(architecture, name)
        or_none = name in defaults and defaults[name].default is None
        if not (_is_count(value) or (or_none and value is None)):
            accepted = "a positive integer" + " or None" * or_none
            raise _refusal(architecture, name, value, accepted)
    for name in probabilities:
        value = getattr(architecture, name)
        or_none = name in defaults and defaults[name].default is None
        if not (_is_probability(value) or (or_none and value is None)):
            accepted = "a number from 0 to 1, and not 1 itself" + ", or None" * or_none
            raise _refusal(architecture, name, value, accepted)


def _is_count(value: Any) -> bool:
    return (
        isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
    )


def _is_probability(value: Any) -> bool:
    return isinstance(value, Real) and 0 <= float(value) < 1


def _refusal(
    architecture: Architecture, name: str, value: Any, accepted: str
) -> ValueError:
    return ValueError(
        f"{name}={value!r} of {type(architecture).__name__} must be {accepted}."
    )
