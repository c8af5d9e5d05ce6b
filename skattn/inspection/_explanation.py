"""Relevance of inputs, collected batch by batch and named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skattn.inspection._run import Subject, subject_of
from skattn.inspection._streams import Stream, resized

# Where several axes got relevance, the first one of these is what is shown.
_FIRST = ("tokens", "nodes", "time", "channels", "features")


def named_subject(estimator: Any, X: Any, caller: str) -> Subject:
    """Find the estimator that attends, and name each axis once for all batches.

    Parameters
    ----------
    estimator : estimator
        As for `subject_of`.
    X : object
        As for ``predict`` of `estimator`.
    caller : str
        Who asks, for messages.

    Returns
    -------
    subject : Subject
        What `walk` takes.
    """
    subject = subject_of(estimator, X, caller)
    return replace(subject, name_axis=cache(subject.name_axis))


def names_along(
    subject: Subject, streams: list[Stream], sizes: list[int]
) -> list[list[Any]]:
    """Name positions, stream by stream.

    Parameters
    ----------
    subject : Subject
        Who names them.
    streams : list of Stream
        Which positions.
    sizes : list of int
        How many of each there are, at most.

    Returns
    -------
    names : list of list of str or of list of list of str
        For each stream its names; of texts a list for each sample, all as long as the
        longest, empty where padded.
    """
    found: list[list[Any]] = []
    for stream, size in zip(streams, sizes, strict=True):
        names: list[Any] | None = list(stream.names)
        names = names or subject.name_axis(stream.part)
        if not names:
            numbered = [f"{stream.part} {number}" for number in range(size)]
            found.append(numbered if size > 1 else [stream.part])
        elif isinstance(names[0], list):
            longest = max(map(len, names))
            found.append([own + [""] * (longest - len(own)) for own in names])
        else:
            found.append(names[:size])
    return found


class Collected:
    """Relevance of the positions of all samples.

    Parameters
    ----------
    subject : Subject
        Whose attention it comes from.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._parts: dict[tuple[Stream, str], list[tuple[Any, np.ndarray]]] = {}

    def add(
        self, rows: np.ndarray, stream: Stream, relevance: np.ndarray, axis: str = ""
    ) -> None:
        """Keep what a batch gave for some positions.

        Parameters
        ----------
        rows : ndarray of int64 of shape (k,)
            Samples.
        stream : Stream
            Which positions.
        relevance : ndarray of shape (k, ..., positions)
            Theirs.
        axis : str
            What to call the axis of these positions, if not after the stream.
        """
        parts = self._parts.setdefault((stream, axis), [])
        parts.append((rows, relevance))

    def axes(self) -> dict[str, Bunch]:
        """Name what was collected; extra tokens are left out.

        Returns
        -------
        by_axis : dict of str to Bunch
            With ``importances``, ``names`` and ``axis``.
        """
        from skattn.nn import Patches

        found: dict[str, Bunch] = {}
        for (stream, axis), parts in self._parts.items():
            if stream.names:
                self._merge(found, axis, self._shared(parts, list(stream.names)))
                continue
            names = self.subject.name_axis(stream.part)
            if isinstance(stream.part, Patches):
                self._merge(found, "time", self._steps(stream.part, parts))
            elif names and isinstance(names[0], list):
                longest = max(map(len, names))
                self._merge(
                    found, axis or stream.part, self._own(parts, names, longest)
                )
            elif names:
                self._merge(found, axis or stream.part, self._shared(parts, names))
        return found

    @staticmethod
    def _merge(found: dict[str, Bunch], axis: str, new: Bunch) -> None:
        """Add relevance of positions that are already there by their names."""
        new.axis = axis
        known = found.get(axis)
        if known is None:
            found[axis] = new
        elif known.names == new.names:
            known.importances = known.importances + new.importances
        else:
            names = list(dict.fromkeys([*known.names, *new.names]))
            total = np.zeros((*new.importances.shape[:-1], len(names)))
            for each in (known, new):
                places = [names.index(name) for name in each.names]
                total[..., places] += each.importances
            found[axis] = Bunch(importances=total, names=names, axis=axis)

    def _joined(self, parts: list[tuple[Any, np.ndarray]], length: int) -> np.ndarray:
        inner = parts[0][1].shape[1:-1]
        rows_of = max(part.shape[1] for _, part in parts) if inner else 0
        shape = (len(self.subject.samples), *([rows_of] if inner else []), length)
        joined = np.zeros(shape)
        for rows, part in parts:
            part = resized(part, length)
            if inner:
                joined[rows, : part.shape[1]] = part
            else:
                joined[rows] = part
        return joined

    def _shared(self, parts: list[tuple[Any, np.ndarray]], names: list[str]) -> Bunch:
        return Bunch(importances=self._joined(parts, len(names)), names=names)

    def _own(
        self,
        parts: list[tuple[Any, np.ndarray]],
        names: list[list[str]],
        longest: int,
    ) -> Bunch:
        return Bunch(importances=self._joined(parts, longest), names=names)

    def _steps(self, patches: Any, parts: list[tuple[Any, np.ndarray]]) -> Bunch:
        """Give each real step the mean of its patches, so that all add up as before.

        Shares of each patch would favour the middle, which more patches cover, and the
        end, where part of the last patch is padded.
        """
        names = self.subject.name_axis("time") or []
        n_patches = max(part.shape[-1] for _, part in parts)
        relevance = self._joined(parts, n_patches)
        real = _real_steps(self.subject.samples, len(relevance), len(names))
        steps = np.arange(len(names)) - patches.stride * np.arange(n_patches)[:, None]
        within = (steps >= 0) & (steps < patches.length)  # (patches, steps)
        spread = np.zeros((*relevance.shape[:-1], len(names)))
        for number, covered in enumerate(within):
            spread += relevance[..., number, None] * covered
        real = real.reshape(len(real), *[1] * (relevance.ndim - 2), len(names))
        spread *= real / np.maximum(within.sum(axis=0), 1)
        before = relevance.sum(axis=-1, keepdims=True)
        after = spread.sum(axis=-1, keepdims=True)
        spread *= np.divide(before, after, out=np.zeros_like(before), where=after != 0)
        return Bunch(importances=spread, names=list(names))


def _real_steps(samples: Any, n_samples: int, n_steps: int) -> np.ndarray:
    """Tell which steps of which series are not padded."""
    real = np.zeros((n_samples, n_steps), dtype=bool)
    for rows, inputs in samples.inference_batches():
        length = inputs["x"].shape[-1]
        rows = rows.cpu().numpy()
        mask = inputs.get("mask")
        there = np.ones((len(rows), length), dtype=bool)
        if mask is not None:
            there = mask[: len(rows)].cpu().numpy()
        real[rows] = resized(there, n_steps)
    return real


def explanation(
    by_axis: dict[str, Bunch], axis: str | None, method: str, architecture: str
) -> Bunch:
    """Make the result of what ranks inputs.

    Parameters
    ----------
    by_axis : dict of str to Bunch
        For each axis that got relevance, with ``importances``, ``names`` and ``axis``.
    axis : str or None
        Which one the user asked for.
    method : str
        Name of the function that ranks.
    architecture : str
        Whose attention it is, for messages.

    Returns
    -------
    explanation : Bunch
        With ``importances``, their mean over the samples where these share names,
        ``names``, ``axis``, ``by_axis`` and ``method``.

    Raises
    ------
    ValueError
        If there is no such axis, or none at all.
    """
    if not by_axis:
        raise ValueError(
            f"{method} found no inputs: the attention of the architecture "
            f"{architecture!r} looks at nothing but tokens of its own, so it says "
            "nothing about the data. Choose an architecture that attends to its input."
        )
    if axis is None:
        axis = next((name for name in _FIRST if name in by_axis), next(iter(by_axis)))
    if axis not in by_axis:
        known = ", ".join(map(repr, by_axis))
        raise ValueError(
            f"{method} has no axis {axis!r}: the attention of the architecture "
            f"{architecture!r} looks at {known}. Name one of these, or leave axis=None."
        )
    for each in by_axis.values():
        if not each.names or not isinstance(each.names[0], list):
            each.importances_mean = mean_of(each.importances)
    return Bunch(**by_axis[axis], by_axis=by_axis, method=method)


def mean_of(importances: Any) -> np.ndarray:
    """Average over samples.

    Parameters
    ----------
    importances : ndarray or csr_array of shape (n, n_positions)
        Of all samples.

    Returns
    -------
    mean : ndarray of shape (n_positions,)
        Dense.
    """
    return np.asarray(importances.mean(axis=0)).ravel()
