"""What is drawn of one layer: names, weights, and what may be drawn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skattn.inspection._record import AttentionRecord

TOKENS = ("tokens", "other_tokens", "target_tokens", "given_tokens")
STEPS = ("time", "horizon")
# Parts of an axis that stand for many positions; others stand for one.
_LONG = (*TOKENS, *STEPS, "features", "channels", "nodes", "segments")


def require_matplotlib(caller: str) -> None:
    """Refuse to draw without matplotlib.

    Parameters
    ----------
    caller : str
        Who draws.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} draws with matplotlib, which is not installed: "
            "pip install skattn[plot]"
        ) from error


@dataclass(frozen=True)
class View:
    """Weights of one layer for one sample, without what is padded.

    Parameters
    ----------
    record : AttentionRecord
        Where they are from.
    weights : ndarray of shape (heads, queries, keys)
        Of the heads that are drawn.
    allowed : ndarray of bool of shape (heads, queries, keys)
        Whether a query may attend to a key.
    queries, keys : list of str
        Names.
    key_parts : list of str
        The part of the axis that each key is of.
    key_numbers : ndarray of int64 of shape (keys,)
        Which one of this part each key is.
    heads : str
        Which heads these are, in words.
    """

    record: AttentionRecord
    weights: np.ndarray
    allowed: np.ndarray
    queries: list[str]
    keys: list[str]
    key_parts: list[str]
    key_numbers: np.ndarray
    heads: str

    @property
    def matrix(self) -> np.ma.MaskedArray:
        """Mean over the heads, of shape (queries, keys), masked where not allowed."""
        hidden = ~self.allowed.any(axis=0)
        return np.ma.array(self.weights.mean(axis=0), mask=hidden)

    @property
    def by_head(self) -> np.ndarray:
        """Mean over the queries, of shape (heads, keys)."""
        return self.weights.mean(axis=1)

    @property
    def title(self) -> str:
        """Layer, kind and heads."""
        record = self.record
        named = f"{record.layer}, {record.kind} attention" if record.layer else ""
        return ", ".join(filter(None, (named, self.heads)))


def parts_of(axis: Any, count: int, sizes: dict[str, int]) -> list[str]:
    """Tell which part of an axis each position is of.

    Parameters
    ----------
    axis : str or tuple of str
        As `skattn.nn.record` was told.
    count : int
        Positions.
    sizes : dict of str to int
        Positions of the parts, as far as known. It matters where there are two long
        ones.

    Returns
    -------
    parts : list of str
        As long as the axis; the empty string where it cannot be told.
    """
    from skattn.nn import Name, Patches

    parts = (axis,) if isinstance(axis, str) else tuple(axis)
    if not parts:
        return [""] * count

    def is_long(part: str) -> bool:
        named = isinstance(part, Name)
        return isinstance(part, Patches) or (part in _LONG and not named)

    long = [part for part in parts if is_long(part)]
    lengths = {part: sizes[part] for part in long if part in sizes}
    unknown = [part for part in long if part not in sizes]
    if len(unknown) > 1:
        return [""] * count
    for part in unknown:
        taken = sum(lengths.values()) + len(parts) - len(long)
        lengths[part] = max(count - taken, 0)
    found = [part for part in parts for _ in range(lengths.get(part, 1))]
    return (found + [parts[-1]] * (count - len(found)))[:count]


def look(
    record: AttentionRecord, sample: int, head: int | None, sizes: dict[str, int]
) -> View:
    """Cut out what is to be drawn.

    Parameters
    ----------
    record : AttentionRecord
        Without edges.
    sample : int
        Which sample.
    head : int or None
        Which head; None for all.
    sizes : dict of str to int
        As for `parts_of`.

    Returns
    -------
    view : View
        Of the real positions.

    Raises
    ------
    IndexError
        If there is no such sample.
    ValueError
        If there is no such head.
    """
    one = record.of(sample)
    weights, heads = choose_head(one, one.weights[0], head)
    shape = one.weights.shape[1:]
    allowed = np.ones(shape, dtype=bool)
    if one.mask is not None:
        allowed = np.broadcast_to(one.mask[0], shape)
    if head is not None:
        allowed = allowed[[head]]
    real_keys: np.ndarray = np.asarray(allowed.any(axis=1).any(axis=0))
    is_same = one.query_axis == one.key_axis and one.kind != "cross"
    if is_same and len(one.queries) == len(one.keys) and one.query_axis != ():
        real_queries = real_keys
    else:
        real_queries = np.asarray(allowed.any(axis=2).any(axis=0))
    if isinstance(one.query_axis, str) and one.query_axis:
        sizes = {one.query_axis: len(one.queries), **sizes}
    parts = parts_of(one.key_axis, len(one.keys), sizes)
    numbers = np.array(
        [parts[:place].count(part) for place, part in enumerate(parts)], dtype=np.int64
    )
    kept = np.ix_(np.arange(len(weights)), real_queries, real_keys)
    return View(
        record=one,
        weights=weights[kept],
        allowed=allowed[kept],
        queries=_kept(one.queries, real_queries),
        keys=_kept(one.keys, real_keys),
        key_parts=_kept(parts, real_keys),
        key_numbers=numbers[real_keys],
        heads=heads,
    )


def choose_head(
    record: AttentionRecord, weights: np.ndarray, head: int | None
) -> tuple[np.ndarray, str]:
    """Take one head, or all.

    Parameters
    ----------
    record : AttentionRecord
        Whose heads they are, for names.
    weights : ndarray of shape (heads, ...)
        Of all.
    head : int or None
        Which one.

    Returns
    -------
    weights : ndarray of shape (1 or heads, ...)
        Of those that were asked for.
    heads : str
        Which ones these are.

    Raises
    ------
    ValueError
        If there is no such head.
    """
    n_heads = len(weights)
    if head is None:
        return weights, f"mean of {n_heads} heads" if n_heads > 1 else ""
    if not -n_heads <= head < n_heads:
        raise ValueError(
            f"Layer {record.layer!r} has no head {head}: its {n_heads} heads are "
            f"numbered from 0 to {n_heads - 1}."
        )
    return weights[[head]], head_name(record, head % n_heads, n_heads)


def head_name(record: AttentionRecord, head: int, n_heads: int) -> str:
    """Name a head.

    Parameters
    ----------
    record : AttentionRecord
        Its heads may belong to groups.
    head, n_heads : int
        Which one of how many.

    Returns
    -------
    name : str
        Such as ``"head 1"``.
    """
    if record.groups == 1:
        return f"head {head}"
    each = n_heads // record.groups
    return f"group {head // each}, head {head % each}"


def kinds_of(record: AttentionRecord, has_image: bool = False) -> list[str]:
    """List what can be drawn of a record, the best one first.

    Parameters
    ----------
    record : AttentionRecord
        Of an array without axes, everything but a graph.
    has_image : bool, default=False
        Whether the weights belong to a grid over an image.

    Returns
    -------
    kinds : list of str
        Values of `AttentionDisplay`'s `kind`.
    """
    from skattn.nn import Name, Patches

    if has_image:
        return ["patches"]
    if record.edge_index is not None:
        return ["graph"]
    one, several = ["heatmap", "heads"], record.weights.shape[2] > 1
    if record.key_axis == ():
        return [*one, "timeline", "text", *(["alignment"] if several else [])]

    def parts(axis: Any) -> list[str]:
        every = (axis,) if isinstance(axis, str) else axis
        return [part for part in every if not isinstance(part, Name)]

    keys, queries = parts(record.key_axis), parts(record.query_axis)
    kinds = []
    if any(part in (*TOKENS, "segments") for part in keys):
        kinds.append("text")
    if any(isinstance(part, Patches) for part in keys):
        kinds += ["patches", "timeline"]
    elif any(part in STEPS for part in keys):
        kinds.append("timeline")
    lines = (*TOKENS, *STEPS, "segments")
    is_line = any(part in lines for part in queries) and kinds
    differ = record.query_axis != record.key_axis or record.kind == "cross"
    if several and is_line and differ:
        between_texts = record.kind == "cross" and kinds[0] == "text"
        kinds.insert(0 if between_texts else len(kinds), "alignment")
    return kinds + one


def axis_name(axis: Any) -> str:
    """Say in words what the positions along an axis are.

    Parameters
    ----------
    axis : str or tuple of str
        As `skattn.nn.record` was told.

    Returns
    -------
    name : str
        Such as ``"other tokens"``; empty for data without axes.
    """
    from skattn.nn import Name

    parts = (axis,) if isinstance(axis, str) else tuple(axis)
    long = [part for part in parts if part in _LONG and not isinstance(part, Name)]
    if parts and all(isinstance(part, Name) for part in parts):
        return "inputs"
    if not long and len(parts) > 2:
        return f"{parts[0]} to {parts[-1]}"
    return " and ".join(long or parts[-1:]).replace("_", " ")


def _kept(names: list[str], kept: np.ndarray) -> list[str]:
    return [name for name, keep in zip(names, kept, strict=True) if keep]
