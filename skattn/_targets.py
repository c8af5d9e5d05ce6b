"""Targets: labels to numbers and scores back to labels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from skattn._engine._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    regression_loss,
)
from skattn._inputs._scaling import weighted_moments


def _one_column(y: np.ndarray) -> np.ndarray:
    """Turn a single column into a vector, with scikit-learn's warning."""
    if y.ndim == 2 and y.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change "
            "the shape of y to (n_samples,), for example using ravel().",
            DataConversionWarning,
            stacklevel=2,
        )
        return y[:, 0]
    return y


def _check_one_type(y: np.ndarray) -> None:
    """Refuse labels of types that have no common order."""
    types = {type(label) for label in y.flat}
    if len(types) > 1:
        try:
            np.unique(y.astype(object))
        except TypeError:
            names = ", ".join(sorted(each.__name__ for each in types))
            raise ValueError(
                f"y holds labels of mixed types ({names}), which have no common order. "
                "Turn all of them into strings, or into numbers."
            ) from None


def _classes_given(all_classes: Any, y: np.ndarray) -> list[np.ndarray]:
    """Sort the labels of each target that a user announced."""
    if y.ndim == 1:
        return [np.unique(all_classes)]
    n_targets = y.shape[1]
    if all(np.ndim(labels) == 1 for labels in all_classes):
        if len(all_classes) == n_targets:
            return [np.unique(labels) for labels in all_classes]
    elif np.array_equal(all_classes, np.arange(n_targets)) and np.isin(y, (0, 1)).all():
        return [np.array([0, 1])] * n_targets  # as `classes_` of many labels
    raise ValueError(
        f"classes={all_classes!r} must be a list of {n_targets} arrays, the labels of "
        f"each target, because y has {n_targets} targets."
    )


class ClassTarget:
    """Labels of one target, of several targets, or of many yes-or-no labels.

    Attributes
    ----------
    classes : list of ndarray
        The sorted labels of each target.
    kind : {"single", "multioutput", "multilabel"}
        What `y` was at the first `learn`.
    """

    @staticmethod
    def check(y: Any) -> np.ndarray:
        """Validate `y`.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_targets)
            Labels.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_targets)
            Labels.
        """
        y = check_array(
            y, ensure_2d=False, dtype=None, accept_sparse="csr", input_name="y"
        )
        if hasattr(y, "toarray"):
            y = y.toarray()
        if y.dtype == object:
            _check_one_type(y)
        check_classification_targets(y)
        return _one_column(y)

    def learn(self, y: np.ndarray, all_classes: Any = None) -> None:
        """Learn the labels.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_targets)
            Checked labels.
        all_classes : array-like, optional
            Labels that may come later, for ``partial_fit``.
        """
        columns = y[:, None] if y.ndim == 1 else y
        self.classes = [np.unique(column) for column in columns.T]
        if all_classes is not None:
            self.classes = _classes_given(all_classes, y)
        self.kind = "single" if y.ndim == 1 else "multioutput"
        # To scikit-learn any two numbers make an indicator, as 1 and 2, or -1 and 1.
        if type_of_target(y) == "multilabel-indicator" and all(
            np.isin(labels, (0, 1)).all() for labels in self.classes
        ):
            self.kind = "multilabel"
        for number, labels in enumerate(self.classes):
            if len(labels) < 2 and self.kind != "multilabel":
                where = "" if self.kind == "single" else f" of target {number}"
                raise ValueError(
                    f"The labels{where} hold one class, {labels.tolist()[0]!r}; a "
                    "classifier needs at least two classes."
                )

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Number the labels.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_targets)
            Checked labels.

        Returns
        -------
        codes : ndarray of shape (n, n_targets)
            Class numbers as int64; of many labels, zeros and ones as float32.
        """
        columns = y[:, None] if y.ndim == 1 else y
        if columns.shape[1] != len(self.classes):
            raise ValueError(
                f"y has {columns.shape[1]} targets, but {len(self.classes)} were "
                "fitted."
            )
        if self.kind == "multilabel":
            if not np.isin(columns, (0, 1)).all():
                raise ValueError(
                    "y of many yes-or-no labels was fitted, which are 0 or 1; now it "
                    f"holds {np.setdiff1d(columns, (0, 1)).tolist()}."
                )
            return columns.astype(np.float32)
        codes = np.empty(columns.shape, dtype=np.int64)
        for number, (column, labels) in enumerate(
            zip(columns.T, self.classes, strict=True)
        ):
            if len(unknown := np.setdiff1d(column, labels)):
                raise ValueError(
                    f"y holds the classes {unknown.tolist()}, which are not among the "
                    f"fitted classes {labels.tolist()}. Fit anew with all of them "
                    "(name them in the first call of partial_fit), or leave out these "
                    "rows."
                )
            codes[:, number] = np.searchsorted(labels, column)
        return codes

    def numbers(self, y: np.ndarray) -> np.ndarray:
        """Give the target as numbers that other rows do not decide, for hashing."""
        return self.encode(y)

    def strata(self, y: np.ndarray) -> np.ndarray | None:
        """Give the classes by which a split is stratified, if there is one target."""
        return self.encode(y)[:, 0] if self.kind == "single" else None

    def fit_scaling(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        """Do nothing: classes have no scale."""

    def class_weights(self, y: np.ndarray, class_weight: Any) -> np.ndarray:
        """Weigh rows by their classes; several targets multiply.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_targets)
            Labels, repeated rows included.
        class_weight : dict, list of dict, "balanced" or None
            As in scikit-learn.

        Returns
        -------
        weight : ndarray of shape (n,)
            Positive.
        """
        columns = y[:, None] if y.ndim == 1 else y
        each = (
            class_weight
            if isinstance(class_weight, list)
            else [class_weight] * len(self.classes)
        )
        if len(each) != len(self.classes):
            raise ValueError(
                f"class_weight has {len(each)} dictionaries for {len(self.classes)} "
                "targets."
            )
        total = np.ones(len(y))
        for column, weights, known in zip(columns.T, each, self.classes, strict=True):
            # A dictionary may name classes that these rows lack, in partial_fit.
            labels = known if isinstance(weights, dict) else np.unique(column)
            by_label = compute_class_weight(weights, classes=labels, y=column)
            total *= by_label[np.searchsorted(labels, column)]
        return total

    @property
    def n_outputs(self) -> int:
        """Number of raw scores."""
        if self.kind == "multilabel":
            return len(self.classes)
        return sum(map(len, self.classes))

    def loss(self) -> Loss:
        """Make the loss.

        Returns
        -------
        loss : Loss
            Cross-entropy.
        """
        if self.kind == "multilabel":
            return BinaryCrossEntropy()
        return CrossEntropy(tuple(map(len, self.classes)))

    def probabilities(self, flat: np.ndarray) -> Any:
        """Shape predicted probabilities as scikit-learn does.

        Parameters
        ----------
        flat : ndarray of shape (n, n_outputs)
            What the loss's ``predict`` returned.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes) or (n, n_labels), or list
            A list of such arrays for several targets.
        """
        return self.split(flat) if self.kind == "multioutput" else flat

    def split(self, flat: np.ndarray) -> list[np.ndarray]:
        """Separate the columns of several targets.

        Parameters
        ----------
        flat : ndarray of shape (n, n_outputs)
            Scores or probabilities.

        Returns
        -------
        parts : list of ndarray of shape (n, n_classes)
            One for each target.
        """
        ends = np.cumsum([len(labels) for labels in self.classes])
        return np.split(flat, ends[:-1], axis=1)

    @property
    def labels(self) -> Any:
        """What ``classes_`` holds; of many yes-or-no labels, their numbers."""
        if self.kind == "multilabel":
            return np.arange(self.n_outputs)
        return self.classes[0] if self.kind == "single" else self.classes

    def decision(self, scores: np.ndarray) -> Any:
        """Shape raw scores as scikit-learn's ``decision_function`` does.

        Parameters
        ----------
        scores : ndarray of shape (n, n_outputs)
            What the net returned.

        Returns
        -------
        scores : ndarray of shape (n,), (n, n_classes) or (n, n_labels), or list
            Log-odds; of two classes, of the second one.
        """
        if self.kind == "multilabel":
            return scores
        parts = [
            part[:, 1] - part[:, 0] if part.shape[1] == 2 else part
            for part in self.split(scores)
        ]
        return parts[0] if self.kind == "single" else parts

    def decode(self, flat: np.ndarray) -> np.ndarray:
        """Turn probabilities into labels.

        Parameters
        ----------
        flat : ndarray of shape (n, n_outputs)
            What the loss's ``predict`` returned.

        Returns
        -------
        labels : ndarray of shape (n,) or (n, n_targets)
            Of the labels' type.
        """
        if self.kind == "multilabel":
            return (flat > 0.5).astype(int)
        if self.kind == "single":
            return self.classes[0][flat.argmax(axis=1)]
        columns = [
            labels[part.argmax(axis=1)]
            for labels, part in zip(self.classes, self.probabilities(flat), strict=True)
        ]
        return np.column_stack(columns)


class NumberTarget:
    """One or several numbers, standardised for training.

    Parameters
    ----------
    loss : str
        A regressor's ``loss``.
    quantile : float or None
        A regressor's ``quantile``.
    """

    def __init__(self, loss: str, quantile: float | None) -> None:
        self.loss_name = loss
        self.quantile = quantile

    @staticmethod
    def check(y: Any) -> np.ndarray:
        """Validate `y`.

        Parameters
        ----------
        y : array-like of shape (n,) or (n, n_targets)
            Numbers.

        Returns
        -------
        y : ndarray of float64 of shape (n,) or (n, n_targets)
            Numbers.
        """
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return _one_column(y)

    def learn(self, y: np.ndarray) -> None:
        """Learn the number of targets.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_targets)
            Checked numbers.
        """
        self.n_axes = y.ndim
        self.n_outputs = 1 if y.ndim == 1 else y.shape[1]
        if self.loss_name != "poisson":
            return
        for number, column in enumerate(y.reshape(len(y), -1).T):
            if column.min() < 0 or column.sum() <= 0:
                where = "y" if y.ndim == 1 else f"target {number} of y"
                raise ValueError(
                    f"loss='poisson' needs y >= 0 with a positive sum; {where} has "
                    f"minimum {column.min()} and sum {column.sum()}."
                )

    def numbers(self, y: np.ndarray) -> np.ndarray:
        """Give the target as numbers that other rows do not decide, for hashing."""
        return y

    def strata(self, y: np.ndarray) -> None:
        """Give no strata."""

    def fit_scaling(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        """Learn the scale of each target.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_targets)
            Of the training rows, perhaps repeated.
        weight : ndarray of shape (n,) or None
            Weights of the rows.
        """
        columns = y[:, None] if y.ndim == 1 else y
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = weighted_moments(columns, weight)
        finite = np.isfinite(mean) & np.isfinite(scale)
        if not finite.all():
            number = int(np.argmin(finite))
            where = "y" if y.ndim == 1 else f"target {number} of y"
            raise ValueError(
                f"{where} holds numbers up to {np.abs(columns[:, number]).max():g}, "
                "too large to compute their standard deviation in float64. Divide y "
                "by a constant."
            )
        if self.loss_name == "poisson":  # a multiple keeps counts non-negative
            mean, scale = np.zeros_like(mean), np.where(mean > 0, mean, 1.0)
        self.mean, self.scale = mean, scale

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Standardise.

        Parameters
        ----------
        y : ndarray of shape (n,) or (n, n_targets)
            Checked numbers.

        Returns
        -------
        encoded : ndarray of float64 of shape (n, n_targets)
            What the loss compares with.
        """
        columns = y[:, None] if y.ndim == 1 else y
        if columns.shape[1] != self.n_outputs:
            raise ValueError(
                f"y has {columns.shape[1]} targets, but {self.n_outputs} were fitted."
            )
        if self.loss_name == "poisson" and columns.min() < 0:
            raise ValueError(
                f"loss='poisson' needs y >= 0, but y has minimum {columns.min()}."
            )
        return (columns - self.mean) / self.scale

    def loss(self) -> Loss:
        """Make the loss.

        Returns
        -------
        loss : Loss
            Of the name given.
        """
        return regression_loss(self.loss_name, self.quantile)

    def decode(self, flat: np.ndarray) -> np.ndarray:
        """Put predictions back on the scale of `y`.

        Parameters
        ----------
        flat : ndarray of shape (n, n_targets)
            What the loss's ``predict`` returned.

        Returns
        -------
        predictions : ndarray of shape (n,) or (n, n_targets)
            As many axes as the fitted `y`.
        """
        columns = flat * self.scale + self.mean
        return columns[:, 0] if self.n_axes == 1 else columns
