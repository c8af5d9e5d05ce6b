"""Put the checks in order, run them, and say what went wrong."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from skattn._architecture import Architecture
from skattn._registry import contract_faults, resolve
from skattn.testing._failure import Failure


@dataclass(frozen=True)
class Check:
    """One check of one architecture; called with the architecture, it raises or not.

    Parameters
    ----------
    name : str
        What is checked, perhaps with the input and the task before it.
    subject : str
        The input and the task, or empty.
    function : callable
        Takes the architecture.
    ecosystem : bool, default=False
        Whether it belongs to the suites of scikit-learn and sktime.
    """

    name: str
    subject: str
    function: Callable[[Architecture], None]
    ecosystem: bool = False

    def __call__(self, architecture: Architecture) -> None:
        """Run the check.

        Parameters
        ----------
        architecture : Architecture
            Is not changed: the check works on a clone.

        Raises
        ------
        AssertionError
            If the check fails; it names architecture, input, task and the way out.
        """
        from skattn.testing._random import isolated

        name = getattr(architecture, "name", type(architecture).__name__)
        where = f"{name}, {self.subject}" if self.subject else str(name)
        with isolated():
            try:
                self.function(architecture)
            except Failure as failure:
                raise failure.about(where) from failure.__cause__
            except Exception as error:
                raise Failure(
                    f"The check {self.name!r} raised {type(error).__name__}: {error}"
                ).about(where) from error


@dataclass(frozen=True)
class CheckResult:
    """What came of one check.

    Parameters
    ----------
    name : str
        The check.
    passed : bool
        Whether the architecture keeps it.
    message : str
        What is wrong and what to do, empty where it passed.
    seconds : float
        How long it took.
    """

    name: str
    passed: bool
    message: str
    seconds: float


def check_architecture(
    architecture: str | Architecture, *, ecosystem: bool = True
) -> Iterator[tuple[str, Check]]:
    """List the checks that apply to an architecture.

    Checks that do not concern it are not listed: of an architecture that consumes no
    mask, nobody asks what it does with padding. The class is held to the contract
    first; where it breaks it, that is the only check.

    Parameters
    ----------
    architecture : str or Architecture
        A registered name or an instance.
    ecosystem : bool, default=True
        Whether the suites of scikit-learn and sktime are among them.

    Yields
    ------
    name : str
        For instance ``"series-classification/padding"``.
    check : Check
        Called with the architecture, raises `AssertionError` if it fails.

    Examples
    --------
    >>> import skattn
    >>> from skattn.testing import check_architecture
    >>> SelfAttention = skattn.get_architecture("self_attention")
    >>> architecture = SelfAttention(d_model=16)
    >>> checks = dict(check_architecture(architecture, ecosystem=False))
    >>> checks["table-regression/shapes"](architecture)
    """
    architecture = resolve(architecture)
    yield "contract", Check("contract", "", _keeps_contract)
    if contract_faults(type(architecture)):
        return
    from skattn.testing import _module, _parameters
    from skattn.testing._cases import cases_of

    for function in _parameters.CHECKS:
        name = function.__name__.removeprefix("check_")
        yield name, Check(name, "", function)
    for case in cases_of(architecture):
        for name, function in _module.checks_of(case):
            full_name = f"{case}/{name}"
            yield full_name, Check(full_name, str(case), function)
    if ecosystem:
        yield from _ecosystem_checks(architecture)


def _ecosystem_checks(architecture: Architecture) -> Iterator[tuple[str, Check]]:
    """List scikit-learn's checks, their like for nodes and texts, and sktime's."""
    from skattn.testing import _ecosystem, _node_ecosystem, _text_ecosystem

    for module in (_ecosystem, _node_ecosystem, _text_ecosystem):
        for name, function in module.checks_of(architecture):
            yield name, Check(name, name.partition("/")[0], function, ecosystem=True)


def run_checks(
    architecture: str | Architecture, *, ecosystem: bool = True
) -> Iterator[CheckResult]:
    """Run all checks of an architecture, one after another.

    Parameters
    ----------
    architecture : str or Architecture
        A registered name or an instance.
    ecosystem : bool, default=True
        Whether to run the suites of scikit-learn and sktime, which takes minutes.

    Yields
    ------
    result : CheckResult
        As soon as it is there. A suite of sktime gives one result if all is well, else
        one for each check of it that failed.

    Examples
    --------
    >>> from skattn.testing import run_checks
    >>> results = run_checks("self_attention", ecosystem=False)
    >>> next(results).name
    'contract'
    """
    architecture = resolve(architecture)
    for name, check in check_architecture(architecture, ecosystem=ecosystem):
        start = time.perf_counter()
        failures: dict[str, str] = {}
        try:
            # The suites of scikit-learn and sktime provoke warnings on purpose.
            with warnings.catch_warnings():
                if check.ecosystem:
                    warnings.simplefilter("ignore")
                check(architecture)
        except Failure as failure:
            failures = {
                f"{name}/{part}" if part else name: message
                for part, message in failure.parts.items()
            }
        seconds = time.perf_counter() - start
        if not failures:
            yield CheckResult(name, True, "", seconds)
        for failed, message in failures.items():
            yield CheckResult(failed, False, message, seconds)


def parametrize_with_checks(
    architectures: Iterable[str | Architecture], *, ecosystem: bool = True
) -> Any:
    """Turn a test function into one test for each check of each architecture.

    It is the counterpart of `sklearn.utils.estimator_checks.parametrize_with_checks`.

    Parameters
    ----------
    architectures : iterable of str or Architecture
        Registered names or instances.
    ecosystem : bool, default=True
        Whether the suites of scikit-learn and sktime are among the checks.

    Returns
    -------
    decorator : pytest.MarkDecorator
        For a function of ``architecture`` and ``check``.

    Raises
    ------
    ValueError
        If an architecture is unknown.

    Examples
    --------
    >>> from skattn.testing import parametrize_with_checks
    >>> @parametrize_with_checks(["self_attention"], ecosystem=False)
    ... def test_conformance(architecture, check):
    ...     check(architecture)
    """
    import pytest

    if isinstance(architectures, (str, Architecture)):
        raise TypeError(
            f"parametrize_with_checks takes a list: [{architectures!r}], not "
            f"{architectures!r}."
        )
    cases = [
        pytest.param(architecture, check, id=f"{architecture!r}-{name}")
        for architecture in map(resolve, architectures)
        for name, check in check_architecture(architecture, ecosystem=ecosystem)
    ]
    return pytest.mark.parametrize(("architecture", "check"), cases)


def _keeps_contract(architecture: Architecture) -> None:
    """Check the fields of the class."""
    if faults := contract_faults(type(architecture)):
        raise Failure("".join(f"\n  - {fault}" for fault in faults).lstrip("\n -"))
