"""The classes of all installed architectures, imported when asked for by name.

Nothing is listed here: a name is forwarded to the registry, which finds the plugin
that offers the class.
"""

from __future__ import annotations

import dis
import sys
from typing import Any

from skattn import _registry


def __getattr__(name: str) -> Any:
    owners = [origin for origin in _registry.installed() if origin.class_name == name]
    if owners:
        return _registry.load(_registry.select(owners, name))
    names = __dir__()
    message = (
        f"No installed distribution offers an architecture class {name!r}."
        f"{_registry.did_you_mean(name, names)} There are: {', '.join(names)}."
    )
    # `from skattn.architectures import X` replaces the message of an AttributeError.
    caller = sys._getframe(1)
    if caller.f_code.co_code[caller.f_lasti] == dis.opmap["IMPORT_FROM"]:
        raise ImportError(message, name=__name__)
    raise AttributeError(message, name=name)


def __dir__() -> list[str]:
    return sorted({origin.class_name for origin in _registry.listed().values()})
