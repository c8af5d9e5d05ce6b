"""The score that a sample's relevance is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skattn.inspection._run import Batch, Subject

if TYPE_CHECKING:
    from torch import Tensor


class Objective:
    """Pick one number for each sample out of a net's raw scores.

    Parameters
    ----------
    subject : Subject
        Whose scores.
    target : object
        What the user asked for; see `skattn.inspection.gradient_rollout`.

    Attributes
    ----------
    has_sign : bool
        Whether more of the number means more of something: the score of a class, and
        not the value of a quantity.
    """

    def __init__(self, subject: Subject, target: Any) -> None:
        self.task = subject.net.module.data.task
        self.has_sign = self.task not in ("regression", "forecasting")
        self.subject = subject
        self.target = target

    def __call__(self, batch: Batch) -> Tensor:
        """Compute the numbers of a batch.

        Parameters
        ----------
        batch : Batch
            With scores.

        Returns
        -------
        numbers : Tensor of shape (k,)
            One for each row.
        """
        return getattr(self, f"_{self.task}")(batch.scores, batch.rows)

    def _regression(self, scores: Tensor, rows: np.ndarray) -> Tensor:
        if scores.dim() == 3:  # parameters of a distribution, the location first
            scores = scores[..., 0]
        if self.target is None:
            return scores.sum(dim=1)
        return scores[:, self._position(self.target, scores.shape[1], "output")]

    def _forecasting(self, scores: Tensor, rows: np.ndarray) -> Tensor:
        if scores.dim() == 4:
            scores = scores[..., 0]  # (k, targets, horizon)
        target = self.target
        if target is None:
            return scores.sum(dim=(1, 2))
        if isinstance(target, tuple) and len(target) == 2:
            series = self._position(target[0], scores.shape[1], "series")
            step = self._position(target[1], scores.shape[2], "step")
            return scores[:, series, step]
        step = self._position(target, scores.shape[2], "step of the horizon")
        return scores[:, :, step].sum(dim=1)

    @staticmethod
    def _position(target: Any, count: int, what: str) -> int:
        is_whole = isinstance(target, (int, np.integer)) and not isinstance(
            target, bool
        )
        if not is_whole or not -count <= target < count:
            raise ValueError(
                f"target={target!r} is no {what} of this estimator: give a number from "
                f"0 to {count - 1}, or None for the sum of all."
            )
        return int(target)

    def _classification(self, scores: Tensor, rows: np.ndarray) -> Tensor:
        import torch

        from skattn._engine._losses import BinaryCrossEntropy

        if isinstance(self.subject.net.criterion_, BinaryCrossEntropy):
            return self._labels(scores)
        classes = self.subject.estimator.classes_
        several = isinstance(classes, list)
        known = classes if several else [classes]
        targets = self._of_each(several)
        counts = [len(labels) for labels in known]
        if scores.shape[1] == 1 and counts == [2]:
            scores = torch.cat([-scores, scores], dim=1)
        total = scores.new_zeros(len(scores))
        for part, labels, target in zip(
            scores.split(counts, dim=1), known, targets, strict=True
        ):
            if target is None:
                chosen = part.argmax(dim=1)
            else:
                chosen = torch.as_tensor(
                    self._numbers(target, np.asarray(labels))[rows], device=part.device
                )
            total = total + part.gather(1, chosen[:, None])[:, 0]
        return total

    def _of_each(self, several: bool) -> list[Any]:
        """Give the target of each of several class targets."""
        if not several:
            return [self.target]
        count = len(self.subject.estimator.classes_)
        if self.target is None:
            return [None] * count
        if not isinstance(self.target, (list, tuple)) or len(self.target) != count:
            raise ValueError(
                f"target={self.target!r} must be a list of {count} classes, one of "
                "each target, or None for the predicted ones."
            )
        return list(self.target)

    def _labels(self, scores: Tensor) -> Tensor:
        """Of many yes-or-no labels, one of them, or the sum of what is predicted."""
        if self.target is None:
            return (scores * scores.detach().sign()).sum(dim=1)
        return scores[:, self._position(self.target, scores.shape[1], "label")]

    def _numbers(self, target: Any, classes: np.ndarray) -> np.ndarray:
        """Number the class that is asked for of each sample."""
        n_samples = len(self.subject.samples)
        wanted = np.asarray(target)
        if wanted.ndim and wanted.shape != (n_samples,):
            raise ValueError(
                f"target has the shape {wanted.shape}, but X has {n_samples} samples: "
                "give one class, one for each sample, or None for the predicted ones."
            )
        wanted = np.broadcast_to(wanted, n_samples)
        matches = wanted[:, None] == classes
        unknown = np.flatnonzero(~matches.any(axis=1))
        if len(unknown):
            wrong = wanted.tolist()[unknown[0]]
            raise ValueError(
                f"target={wrong!r} is no class of this estimator. "
                f"Its classes are {classes.tolist()}."
            )
        return matches.argmax(axis=1)

    def _tagging(self, scores: Tensor, rows: np.ndarray) -> Tensor:
        return self._tokens(scores, rows, "tokens")

    def _translation(self, scores: Tensor, rows: np.ndarray) -> Tensor:
        if self.target is not None:
            raise ValueError(
                "A translator has no target to choose: its relevance is that of the "
                "words it writes. Leave target=None."
            )
        return self._tokens(scores, rows, "target_tokens")

    def _tokens(self, scores: Tensor, rows: np.ndarray, axis: str) -> Tensor:
        """Sum scores over the tokens of each sample: of a tag, or of the best ones."""
        import torch

        if self.target is None:
            best = scores.amax(dim=2)  # (k, length)
        else:
            classes = np.asarray(self.subject.estimator.classes_)
            number = self._numbers(self.target, classes)[rows]
            chosen = torch.as_tensor(number, device=scores.device)[:, None, None]
            best = scores.gather(2, chosen.expand(-1, scores.shape[1], 1))[..., 0]
        names = self.subject.name_axis(axis) or []
        lengths = torch.tensor([len(names[row]) for row in rows], device=scores.device)
        steps = torch.arange(scores.shape[1], device=scores.device)
        return (best * (steps < lengths[:, None])).sum(dim=1)
