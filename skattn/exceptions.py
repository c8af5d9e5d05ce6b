"""Errors and warnings that skattn raises besides Python's and scikit-learn's."""

__all__ = ["PluginError", "PluginWarning"]


class PluginError(RuntimeError):
    """An installed plugin is broken, missing, or breaks the contract.

    A wrong argument is a `ValueError`; this error is about the installation: its
    message names the distribution, its version and the entry point's value.
    """


class PluginWarning(UserWarning):
    """A plugin was passed over, or its version differs from the one in a pickle."""
