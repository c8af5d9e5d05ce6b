"""The conformance kit: hold an architecture to the contract, by building and training.

An author's whole test module::

    from skattn.testing import parametrize_with_checks

    from my_package import MyAttention

    @parametrize_with_checks([MyAttention()])
    def test_conformance(architecture, check):
        check(architecture)
"""

from skattn.testing._kit import (
    Check,
    CheckResult,
    check_architecture,
    parametrize_with_checks,
    run_checks,
)

__all__ = [
    "Check",
    "CheckResult",
    "check_architecture",
    "parametrize_with_checks",
    "run_checks",
]
