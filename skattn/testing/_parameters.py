"""Checks of the architecture as a parameter object, without building anything."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

from sklearn import config_context
from sklearn.base import clone

from skattn._architecture import Architecture
from skattn.testing._failure import Failure


def check_constructor_only_assigns(architecture: Architecture) -> None:
    """Give the constructor objects that are good for nothing but being stored."""
    cls = type(architecture)
    given = {name: object() for name in architecture.get_params(deep=False)}
    try:
        made = cls(**given)
    except Exception as error:
        raise Failure(
            f"The constructor does more than assign: given objects of no use, it "
            f"raised {type(error).__name__}: {error}. Move checks and conversions to "
            "build."
        ) from error
    for name, value in given.items():
        if getattr(made, name, None) is not value:
            raise Failure(
                f"The constructor must store {name!r} as it is: write "
                f"self.{name} = {name}, and convert in build."
            )
    if more := sorted(set(vars(made)) - set(given)):
        raise Failure(
            f"The constructor sets {more}, which are none of its parameters. Compute "
            "them in build."
        )


def check_params(architecture: Architecture) -> None:
    """Set each hyper-parameter and read it back."""
    for name, value in _changes(architecture):
        changed = clone(architecture).set_params(**{name: value})
        before = architecture.get_params(deep=False)
        expected = {**before, name: value}
        if not _same(changed.get_params(deep=False), expected):
            raise Failure(
                f"set_params({name}={value!r}) gives {changed!r}: get_params must "
                "return what was set, and nothing else may change."
            )


def check_clone(architecture: Architecture) -> None:
    """Clone, and compare the parameters."""
    for variant in _variants(architecture):
        try:
            copied = clone(variant)
        except RuntimeError as error:
            raise Failure(f"{error}. Let the constructor only assign.") from error
        if copied is variant or not _same(copied.get_params(), variant.get_params()):
            raise Failure(
                f"sklearn.base.clone of {variant!r} gives {copied!r}. Let the "
                "constructor only assign, and define no __new__, __sklearn_clone__ "
                "or get_params."
            )


def check_pickle(architecture: Architecture) -> None:
    """Pickle, and compare the parameters."""
    for variant in _variants(architecture):
        try:
            copied = pickle.loads(pickle.dumps(variant))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise Failure(
                f"{variant!r} cannot be pickled ({error}). Define the class at the top "
                "of a module, and give it parameters that can be pickled."
            ) from error
        if type(copied) is not type(variant) or not _same(
            copied.get_params(), variant.get_params()
        ):
            raise Failure(f"Pickling turns {variant!r} into {copied!r}.")


def check_repr(architecture: Architecture) -> None:
    """Evaluate what is printed."""
    cls = type(architecture)
    for variant in _variants(architecture):
        with config_context(print_changed_only=True):
            text = repr(variant)
        try:
            made = eval(text, {cls.__name__: cls})
        except Exception as error:
            raise Failure(
                f"repr gives {text}, which is no expression that makes it again "
                f"({type(error).__name__}: {error}). Leave __repr__ to the base class, "
                "and take numbers, strings, booleans and tuples as parameters."
            ) from error
        if not _same(made.get_params(), variant.get_params()):
            raise Failure(f"repr gives {text}, which makes {made!r}.")


CHECKS: tuple[Callable[[Architecture], None], ...] = (
    check_constructor_only_assigns,
    check_params,
    check_clone,
    check_pickle,
    check_repr,
)


def _changes(architecture: Architecture) -> Iterator[tuple[str, Any]]:
    """Yield a value for each hyper-parameter, other than its own where known."""
    for name, value in architecture.get_params(deep=False).items():
        edges = getattr(architecture.search_space.get(name), "edges", ())
        others = [edge for edge in edges if edge != value]
        yield name, others[0] if others else value


def _variants(architecture: Architecture) -> Iterator[Architecture]:
    """Yield the architecture itself, and one with other hyper-parameters."""
    yield architecture
    yield clone(architecture).set_params(**dict(_changes(architecture)))


def _same(params: dict[str, Any], others: dict[str, Any]) -> bool:
    return params.keys() == others.keys() and all(
        value is others[name] or repr(value) == repr(others[name])
        for name, value in params.items()
    )
