"""The one door for architectures: the entry-point group ``skattn.architectures``."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from typing import Any, TypeVar

from skattn._architecture import INPUTS, TASKS, Architecture, serves
from skattn._contract import described, faults_of
from skattn.exceptions import PluginError, PluginWarning

GROUP = "skattn.architectures"
ALLOW_LIST = "SKATTN_PLUGINS"

C = TypeVar("C", bound=type[Architecture])

# Kept outside `functools.cache`: failures must stay retryable, and two keys are needed.
_classes: dict[Origin, type[Architecture]] = {}
_origins: dict[type, Origin] = {}

_registered: dict[str, type[Architecture]] = {}


@dataclass(frozen=True)
class Origin:
    """Where an installed architecture comes from: one entry point, not yet imported.

    Parameters
    ----------
    name : str
        The entry point's name.
    distribution, version : str
        The installed package that declares it.
    value : str
        What it points at, ``"module:Class"``.
    """

    name: str
    distribution: str
    version: str
    value: str

    @property
    def qualified_name(self) -> str:
        """``"distribution/name"``, which no other distribution can claim."""
        return f"{self.distribution}/{self.name}"

    @property
    def class_name(self) -> str:
        """The class that the value names, without its module."""
        return self.value.rpartition(":")[2].rpartition(".")[2]

    @property
    def package(self) -> str:
        """The top-level package of the value's module."""
        return re.split("[.:]", self.value, maxsplit=1)[0]

    def __str__(self) -> str:
        return (
            f"{self.name!r} of the distribution {self.distribution!r} {self.version} "
            f"({self.value})"
        )


def list_architectures(task: str | None = None, input: str | None = None) -> list[str]:
    """Return the names of the architectures that are installed or registered.

    Without a filter nothing is imported. A filter imports each plugin, and passes over
    a broken one with a `PluginWarning`.

    Parameters
    ----------
    task : str, optional
        Only those that serve this task, for instance ``"forecasting"``.
    input : str, optional
        Only those that take this input, for instance ``"table"``. With `task`: only
        those that serve the task on this input.

    Returns
    -------
    names : list of str
        Sorted. A name that two distributions offer appears once for each of them, as
        ``"distribution/name"``.

    Raises
    ------
    ValueError
        If the task or the input does not exist.

    Warns
    -----
    PluginWarning
        Once for each broken plugin, if a filter is given.

    See Also
    --------
    get_architecture : The class behind a name.

    Examples
    --------
    >>> import skattn
    >>> "self_attention" in skattn.list_architectures(task="classification")
    True
    """
    _check_option("task", task, TASKS)
    _check_option("input", input, INPUTS)
    found: dict[str, Origin | type[Architecture]] = {**listed(), **_registered}
    if task is None and input is None:
        return sorted(found)
    names = []
    for name, source in found.items():
        try:
            cls = load(source) if isinstance(source, Origin) else source
        except PluginError as error:
            warnings.warn(f"Passed over: {error}", PluginWarning, stacklevel=2)
            continue
        inputs = INPUTS if input is None else (input,)
        tasks = TASKS if task is None else (task,)
        if any(serves(cls, each, kind) for kind in inputs for each in tasks):
            names.append(name)
    return sorted(names)


def get_architecture(name: str) -> type[Architecture]:
    """Return the class of an architecture, importing its plugin.

    Parameters
    ----------
    name : str
        A name of `list_architectures`, or ``"distribution/name"``.

    Returns
    -------
    cls : type
        A subclass of `Architecture`.

    Raises
    ------
    ValueError
        If there is no such name, if several distributions offer it, or if the
        environment variable ``SKATTN_PLUGINS`` does not allow its distribution.
    PluginError
        If its plugin cannot be imported or breaks the contract.

    See Also
    --------
    list_architectures : The names.

    Examples
    --------
    >>> import skattn
    >>> skattn.get_architecture("self_attention")()
    SelfAttention()
    """
    if not isinstance(name, str):
        raise ValueError(f"The name of an architecture is a str, not {name!r}.")
    if name in _registered:
        return _registered[name]
    distribution, _, short = name.rpartition("/")
    owners = [
        origin
        for origin in installed()
        if origin.name == short
        and (not distribution or _same(origin.distribution, distribution))
    ]
    if not owners:
        raise ValueError(_unknown(name))
    return load(select(owners, name))


def register(architecture: C) -> C:
    """Register an architecture under its `name`, in this process only.

    It suits a notebook: a cell that is run again replaces what it registered before.
    Worker processes of a parallel search do not know the name: give them an instance.
    A package declares an entry point instead.

    Parameters
    ----------
    architecture : type
        A subclass of `Architecture` that keeps the contract.

    Returns
    -------
    architecture : type
        The same class, so that `register` works as a decorator.

    Raises
    ------
    ValueError
        If the class breaks the contract, with all its faults, or if its name belongs
        to an installed distribution.

    Examples
    --------
    >>> import skattn
    >>> @skattn.register
    ... class Mean(skattn.Architecture):
    ...     api_version = 1
    ...     name = "mean"
    ...     supports = {"table": {"regression"}}
    ...     citation = "Nobody in particular"
    ...
    ...     def __init__(self, d_model=32):
    ...         self.d_model = d_model
    ...
    ...     def build(self, data):
    ...         from torch import nn
    ...
    ...         return nn.Linear(data.n_features, data.n_outputs)
    >>> skattn.get_architecture("mean")(d_model=8)
    Mean(d_model=8)
    """
    if faults := contract_faults(architecture):
        raise ValueError(
            f"{described(architecture)} cannot be registered:{_bullets(faults)}\n"
            "Correct these, and register it again."
        )
    name = architecture.name
    if owners := [origin for origin in installed() if origin.name == name]:
        raise ValueError(
            f"{described(architecture)} cannot be registered: the name {owners[0]} is "
            "taken. Choose another name."
        )
    _registered[architecture.name] = architecture
    return architecture


def resolve(architecture: object) -> Architecture:
    """Return an instance for what a user gave as ``architecture=``.

    Parameters
    ----------
    architecture : str or Architecture
        A name gives an instance with default hyper-parameters; an instance is returned
        as it is.

    Returns
    -------
    architecture : Architecture
        The instance.

    Raises
    ------
    ValueError
        If it is neither, or if the name is unknown.
    PluginError
        If the plugin behind the name is broken.
    """
    if isinstance(architecture, Architecture):
        return architecture
    if isinstance(architecture, str):
        return get_architecture(architecture)()
    if isinstance(architecture, type) and issubclass(architecture, Architecture):
        raise ValueError(
            f"architecture={architecture.__name__} is a class. Give an instance: "
            f"architecture={architecture.__name__}()."
        )
    raise ValueError(
        "architecture= takes a name of skattn.list_architectures() or an instance of "
        f"skattn.Architecture, not {architecture!r}."
    )


def origin_of(cls: type) -> Origin | None:
    """Return the entry point that offers exactly this class, importing nothing.

    Parameters
    ----------
    cls : type
        A subclass of an offered class has an origin only if it is offered itself.

    Returns
    -------
    origin : Origin or None
        None for a class that no installed distribution offers.
    """
    # A value may name the place that a class is exported from, not where it is defined.
    return _origins.get(cls) or _by_value().get(f"{cls.__module__}:{cls.__qualname__}")


def contract_faults(cls: Any, name: str | None = None) -> list[str]:
    """Return everything that keeps a class from being a valid architecture.

    Parameters
    ----------
    cls : type
        The class that an entry point offers, or that is to be registered.
    name : str, optional
        The entry point's name; by default that of `origin_of`, if the class has one.

    Returns
    -------
    faults : list of str
        Empty if the class keeps the contract.
    """
    if name is None and isinstance(cls, type) and (origin := origin_of(cls)):
        name = origin.name
    return faults_of(cls, name)


@cache
def installed() -> tuple[Origin, ...]:
    """Read the metadata of all entry points in the group, once."""
    origins: dict[tuple[str, str], Origin] = {}
    for point in metadata.entry_points(group=GROUP):
        assert point.dist is not None
        # An entry point may carry extras and blanks: "module : Class [extra]".
        value = re.sub(r"\[.*|\s", "", point.value)
        origin = Origin(point.name, point.dist.name, point.dist.version, value)
        # An interrupted installation leaves a second copy of a distribution behind.
        origins.setdefault((_normalise(origin.distribution), origin.name), origin)
    return tuple(sorted(origins.values(), key=lambda origin: origin.qualified_name))


@cache
def installed_version(distribution: str) -> str | None:
    """Return a distribution's version, None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def clear_cache() -> None:
    """Forget the metadata and the loaded classes, but not what was registered."""
    importlib.invalidate_caches()
    for cached in (installed, installed_version, _by_value):
        cached.cache_clear()
    _classes.clear()
    _origins.clear()


def listed() -> dict[str, Origin]:
    """Return the allowed entry points by the names that reach them unambiguously."""
    allowed = [origin for origin in installed() if _is_allowed(origin)]
    owners = Counter(origin.name for origin in allowed)
    return {
        origin.name if owners[origin.name] == 1 else origin.qualified_name: origin
        for origin in allowed
    }


def select(owners: Collection[Origin], asked: str) -> Origin:
    """Return the one allowed owner of what was asked for, or say why there is none.

    Parameters
    ----------
    owners : collection of Origin
        At least one.
    asked : str
        What the user wrote.
    """
    allowed = [origin for origin in owners if _is_allowed(origin)]
    if len(allowed) == 1:
        return allowed[0]
    if allowed:
        names = [origin.qualified_name for origin in allowed]
        raise ValueError(
            f"{asked!r} is offered by {len(allowed)} distributions:"
            f"{_bullets(allowed)}\nSay which one you mean: "
            f"{_alternatives(f'get_architecture({name!r})' for name in names)}."
        )
    names = [origin.distribution for origin in owners]
    raise ValueError(
        f"{asked!r} is installed, by {_alternatives(map(repr, names))}, but the "
        f"environment variable {ALLOW_LIST}={os.environ[ALLOW_LIST]!r} does not allow "
        f"it. Add {_alternatives(map(repr, names))} to its comma-separated list, or "
        "unset it."
    )


def load(origin: Origin) -> type[Architecture]:
    """Import an entry point's class and hold it to the contract.

    Parameters
    ----------
    origin : Origin
        The entry point.

    Returns
    -------
    cls : type
        A class without fault.

    Raises
    ------
    PluginError
        If it cannot be imported or breaks the contract.
    """
    if origin in _classes:
        return _classes[origin]
    try:
        cls = import_value(origin.value)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"The architecture {origin} cannot be imported: {_cause(error, origin)}"
        ) from error
    if faults := contract_faults(cls, origin.name):
        raise PluginError(
            f"The architecture {origin} breaks the contract:{_bullets(faults)}\n"
            f"Update or uninstall {origin.distribution!r}, or tell its authors."
        )
    _classes[origin] = cls
    _origins[cls] = origin
    return _classes[origin]


def import_value(value: str) -> Any:
    """Import what an entry point's value names.

    Parameters
    ----------
    value : str
        ``"module:Class"``.
    """
    module_name, _, qualified_name = value.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in filter(None, qualified_name.split(".")):
        found = getattr(found, part)
    return found


def did_you_mean(asked: str, names: Iterable[str]) -> str:
    """Return a sentence with the names nearest to a misspelt one, or nothing."""
    spelt = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(asked.casefold(), spelt)
    if not near:
        return ""
    return f" Did you mean {_alternatives(repr(spelt[name]) for name in near)}?"


@cache
def _by_value() -> dict[str, Origin]:
    return {origin.value: origin for origin in reversed(installed())}


def _normalise(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _same(distribution: str, other: str) -> bool:
    return _normalise(distribution) == _normalise(other)


def _is_allowed(origin: Origin) -> bool:
    allowed = os.environ.get(ALLOW_LIST)
    if allowed is None:
        return True
    return any(_same(origin.distribution, name.strip()) for name in allowed.split(","))


def _check_option(argument: str, given: str | None, options: Collection[str]) -> None:
    if given is not None and given not in options:
        raise ValueError(
            f"{argument}={given!r} does not exist."
            f"{did_you_mean(str(given), options)} There are: {', '.join(options)}."
        )


def _unknown(name: str) -> str:
    known = [*listed(), *_registered]
    candidates = known
    if "/" in name:
        candidates = [origin.qualified_name for origin in listed().values()]
    message = f"There is no architecture {name!r}.{did_you_mean(name, candidates)}"
    if known:
        message += f" There are: {', '.join(sorted(known))}."
    elif ALLOW_LIST in os.environ:
        message += (
            f" {ALLOW_LIST}={os.environ[ALLOW_LIST]!r} allows no installed "
            "distribution: add its name to that comma-separated list, or unset it."
        )
    else:
        message += " No installed distribution offers any: install skattn by pip."
    return message + (
        " A name given to skattn.register exists only in the process that registered "
        "it: give a parallel search an instance instead."
    )


def _cause(error: BaseException, origin: Origin) -> str:
    missing = getattr(error, "name", None) or ""
    package = missing.partition(".")[0]
    if (
        not isinstance(error, ModuleNotFoundError)
        or package in ("", origin.package)
        or util.find_spec(package) is not None
    ):
        return (
            f"{type(error).__name__}: {error}. Update or uninstall "
            f"{origin.distribution!r}, or tell its authors."
        )
    extra = _extra_with(package, origin.distribution)
    wanted = f"'{origin.distribution}[{extra}]'" if extra else package
    return (
        f"it needs the package {package!r}, which is not installed. Install it, for "
        f"instance with: pip install {wanted}"
    )


def _extra_with(package: str, distribution: str) -> str | None:
    """Return the smallest extra of a distribution that brings a package in."""
    sizes: Counter[str] = Counter()
    matching = []
    for requirement in metadata.requires(distribution) or ():
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", requirement)
        required = re.match(r"[\w.-]+", requirement)
        if extra and required:
            sizes[extra[1]] += 1
            if _same(required[0], package):
                matching.append(extra[1])
    return min(matching, key=sizes.__getitem__, default=None)


def _bullets(lines: Iterable[object]) -> str:
    return "".join(f"\n  - {line}" for line in lines)


def _alternatives(options: Iterable[str]) -> str:
    return " or ".join(options)
