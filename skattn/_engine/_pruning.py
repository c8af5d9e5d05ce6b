"""Heads that modules can do without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

# Layer, kind and, as first numbered, the heads that stay.
KeptHeads = tuple[tuple[str, str, tuple[int, ...]], ...]


def prunable(module: nn.Module) -> dict[tuple[str, str], list[Any]]:
    """Find the attention that offers to give up heads, by what records call it.

    Parameters
    ----------
    module : nn.Module
        Of an architecture, or around one.

    Returns
    -------
    found : dict of (str, str) to list of nn.Module
        For each layer and kind, the modules of this name: mostly one.
    """
    found: dict[tuple[str, str], list[Any]] = {}
    each: Any
    for each in module.modules():
        if hasattr(each, "prune_heads"):
            found.setdefault((each.layer, each.kind), []).append(each)
    return found


def prune(module: nn.Module, kept_heads: Iterable[tuple[str, str, Any]]) -> None:
    """Take heads out of a module, in place.

    Parameters
    ----------
    module : nn.Module
        Of an architecture, or around one.
    kept_heads : iterable of (str, str, sequence of int)
        Layer, kind and the heads that stay; others keep all.
    """
    found = prunable(module)
    for layer, kind, heads in kept_heads:
        for each in found[layer, kind]:
            each.prune_heads(list(heads))
