"""How a check says that it failed."""

from __future__ import annotations

from collections.abc import Mapping


class Failure(AssertionError):
    """One or several faults of an architecture.

    Parameters
    ----------
    message : str
        What is wrong and what to do.
    parts : mapping of str to str, optional
        Messages of several faults by their names; by default one without a name.
    """

    def __init__(self, message: str, parts: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.parts = {"": message} if parts is None else dict(parts)

    def about(self, subject: str) -> Failure:
        """Return the same failure with its subject before each message.

        Parameters
        ----------
        subject : str
            Architecture, input and task.
        """
        parts = {name: f"{subject}: {text}" for name, text in self.parts.items()}
        return Failure(f"{subject}: {self.message}", parts)
