"""Columns of a table, selected by the attention that they get."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.feature_selection import SelectorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch, _safe_indexing, check_random_state
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from skattn._classifier import AttentionClassifier
from skattn._regressor import AttentionRegressor
from skattn.inspection._faithfulness import faithfulness
from skattn.inspection._relevance import (
    attention_rollout,
    gradient_rollout,
    last_attention,
)

_METHODS: dict[str, Callable[..., Bunch]] = {
    "rollout": attention_rollout,
    "gradient": gradient_rollout,
    "raw": last_attention,
}

# Of the default estimator. One layer, in which nothing but the read-out attends, takes
# time in proportion to the columns; width finds columns that matter together.
_ARCHITECTURE = {"d_model": 64, "num_heads": 8, "num_layers": 1, "d_ff": 64}
_TRAINING: dict[str, Any] = {
    "max_epochs": 10,
    "lr": 4e-3,
    "weight_decay": 1.0,
    "early_stopping": False,
}

# Challengers that the best columns meet at a time, and how many these are where
# neither max_features nor threshold say.
_GROUP = 20
_FEW = 10

# How many of the columns stay after a round; the weakest of those that matter take
# several to be told from chance.
_STAY = 2 / 3

# Rounds of all columns, each in new groups, before any leaves.
_N_FIRST = 2

# Nets of the columns that are left in the end.
_N_LAST = 5

_ALPHA = 0.05


class AttentionSelector(MetaEstimatorMixin, SelectorMixin, BaseEstimator):
    """Select the columns of a table by the attention of a net.

    A net is fitted to one part of the rows and explained on the rest; the importance
    of a column is the mean over these rows. Among hundreds of columns a net learns
    chance as well, and overlooks those that matter only beside others. Hence the
    refinement: the best columns so far meet all others, twenty at a time, in small nets
    of their own, where each column is measured against those best ones; and once more,
    in other groups. Then the last third of all columns leaves, the best of the rest
    meet the others in new groups, and so on, until there are twice as many as wanted,
    which meet five times more. The importance of a column is the mean of what it had in
    these nets.

    Parameters
    ----------
    estimator : AttentionClassifier, AttentionRegressor or None, default=None
        What is fitted, with an architecture that attends to columns; clones of it are
        fitted to fewer columns too. Where its ``linear_skip`` is ``"auto"``, they go
        without: attention says nothing of what a linear model beside it uses. None
        takes a classifier or a regressor, as `y` is, of one wide layer.
    method : {"gradient", "rollout", "raw"}, default="gradient"
        How attention is read: `gradient_rollout`, `attention_rollout` or
        `last_attention`; the last two rank alike where there is but one layer.
    max_features : int, callable or None, default=None
        How many columns are selected at most, or a function of `X` that tells. None
        leaves it to `threshold`.
    threshold : str, float or None, default=None
        The least importance of a column that is selected: a number, ``"mean"``,
        ``"median"``, or a multiple, as ``"1.25*mean"``. None takes no threshold where
        there is `max_features`, and otherwise ``"mean"``.
    refine : bool, default=True
        Whether to fit nets of fewer columns too, about one for five columns. False
        takes the importances of the net of all columns, in a fraction of the time.
    prefit : bool, default=False
        Whether `estimator` is fitted already. Then ``fit`` only explains it, on the
        rows that it gets, which had better not be those of its training; there are no
        rounds.
    validation_fraction : float, default=0.2
        Part of the rows that the nets are not fitted to, but explained on.
    check_faithfulness : bool, default=True
        Warn if `faithfulness` of the explanation of ``estimator_`` fails: if hiding
        the columns that it ranks first changes its predictions no more than hiding
        any others.
    random_state : int, RandomState or None, default=None
        Seed of splits and rounds, and of nets that have no seed of their own.

    Attributes
    ----------
    estimator_ : AttentionClassifier or AttentionRegressor
        The net of all columns.
    importances_ : ndarray of shape (n_features_in_,)
        How much each column matters; they sum to one.
    support_ : ndarray of bool of shape (n_features_in_,)
        Which columns are selected.
    threshold_ : float
        The least importance; minus infinity without one.
    max_features_ : int
        How many columns are selected at most; there only with `max_features`.
    faithfulness_ : Bunch
        The result of `faithfulness` on the held-out rows; there only with
        `check_faithfulness`.
    n_features_in_ : int
        Columns of `X`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where `X` was a DataFrame with string names.

    See Also
    --------
    sklearn.feature_selection.SelectFromModel : The same by coefficients or impurity.
    faithfulness : The test of the explanation.
    attention_sanity_check : Controls of what attention is worth.

    Notes
    -----
    The importance of a categorical column, and of one with missing values, is the sum
    over all positions that show it to the net.

    The test asks whether attention says what the net relies on, not whether the net is
    right: compare the score of a Pipeline with that of all columns. A net that learnt
    labels of pure noise by heart is faithful to that noise, so nothing warns of it:
    `attention_sanity_check` does, as its first control compares scores with chance.

    Examples
    --------
    >>> import numpy as np
    >>> from skattn import AttentionSelector
    >>> X = np.random.default_rng(0).normal(size=(200, 6))
    >>> y = X[:, 1] + X[:, 4] > 0
    >>> selector = AttentionSelector(max_features=2, refine=False, random_state=0)
    >>> selector.fit(X, y).get_support(indices=True)
    array([1, 4])
    >>> selector.transform(X).shape
    (200, 2)
    """

    _constraints: dict[str, list[Any]] = {
        "estimator": [object],  # `_template` says what it takes
        "method": [StrOptions(set(_METHODS))],
        "max_features": [Interval(Integral, 1, None, closed="left"), callable, None],
        "threshold": [Interval(Real, None, None, closed="both"), str, None],
        "refine": ["boolean"],
        "prefit": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "check_faithfulness": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "gradient",
        max_features: Any = None,
        threshold: Any = None,
        refine: bool = True,
        prefit: bool = False,
        validation_fraction: float = 0.2,
        check_faithfulness: bool = True,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.max_features = max_features
        self.threshold = threshold
        self.refine = refine
        self.prefit = prefit
        self.validation_fraction = validation_fraction
        self.check_faithfulness = check_faithfulness
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit nets and rank the columns by their attention.

        Parameters
        ----------
        X : array-like of shape (n, n_columns) or DataFrame
            A table.
        y : array-like of shape (n,) or (n, n_targets), optional
            Labels or numbers; only a prefit estimator goes without.

        Returns
        -------
        self : AttentionSelector
            Fitted.

        Raises
        ------
        TypeError
            If `estimator` is none of skattn's for tables.
        ValueError
            If its attention does not look at columns, or a parameter does not fit `X`.

        Warns
        -----
        UserWarning
            If the explanation is not faithful.
        """
        validate_parameter_constraints(
            self._constraints, self.get_params(deep=False), type(self).__name__
        )
        X, y = self._check(X, y)
        random = check_random_state(self.random_state)
        wanted = self._wanted(X)
        if self.prefit:
            if self.estimator is None:
                raise ValueError(
                    "prefit=True needs a fitted estimator, but estimator is None. Pass "
                    "one, or set prefit=False."
                )
            _check_kind(self.estimator)
            check_is_fitted(self.estimator)
            self.estimator_, tested = deepcopy(self.estimator), (X, y)
            explanation, importances = _explained(self.estimator_, X, self.method)
        else:
            trial = _Trial(self, X, y, random)
            self.estimator_, tested, explanation, importances = trial.run()
            if self.refine:
                importances = trial.rounds(importances, wanted or _FEW)
        total = importances.sum()
        self.importances_ = importances / total if total > 0 else importances
        self.threshold_ = self._threshold(wanted)
        self.support_ = self.importances_ >= self.threshold_
        if wanted is not None:
            order = np.argsort(-self.importances_, kind="stable")
            self.support_[order[wanted:]] = False
            self.max_features_ = wanted
        if self.check_faithfulness:
            self._test(explanation, *tested, random)
        return self

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return self.support_

    def _check(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Validate what a net does not, and forget an earlier fit."""
        for name in ("max_features_", "faithfulness_"):
            self.__dict__.pop(name, None)
        if y is None and not self.prefit:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        if hasattr(X, "iloc"):
            validate_data(self, X, skip_check_array=True)
            return X, y
        X = validate_data(self, X, dtype=None, ensure_all_finite="allow-nan")
        return X, y

    def _wanted(self, X: Any) -> int | None:
        wanted: Any = self.max_features
        if callable(wanted):
            wanted = wanted(X)
        if wanted is None:
            return None
        n_columns = self.n_features_in_
        is_count = isinstance(wanted, Integral)
        if not is_count or not 1 <= wanted <= n_columns:
            raise ValueError(
                f"max_features={wanted!r} must be an integer from 1 to {n_columns}, as "
                f"X has {n_columns} columns. Choose a smaller one, or None for those "
                "above a threshold."
            )
        return int(wanted)

    def _threshold(self, wanted: int | None) -> float:
        """Read the threshold as `SelectFromModel` does."""
        threshold = self.threshold
        if threshold is None:
            if wanted is not None:
                return -np.inf
            threshold = "mean"
        if not isinstance(threshold, str):
            return float(threshold)
        factor, _, reference = threshold.rpartition("*")
        try:
            scale = float(factor) if factor else 1.0
            functions = {"mean": np.mean, "median": np.median}
            function: Any = functions[reference.strip()]
        except (KeyError, ValueError):
            raise ValueError(
                f"threshold={threshold!r} must be a number, 'mean', 'median', or a "
                "multiple of these such as '1.25*mean'."
            ) from None
        return scale * float(function(self.importances_))

    def _test(self, explanation: Bunch, X: Any, y: Any, random: Any) -> None:
        """Warn where the order of the columns says nothing about the predictions."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The explanation ranks nothing")
            self.faithfulness_ = faithfulness(
                self.estimator_, X, y, explanation, alpha=_ALPHA, random_state=random
            )
        if not self.faithfulness_.is_faithful:
            warnings.warn(
                f"The explanation by method={self.method!r} is not faithful "
                f"(p = {self.faithfulness_.p_value:.2g} on {len(X)} held-out rows): "
                "hiding the columns that it ranks first changes the predictions no "
                "more than hiding any others, so the selection may be arbitrary. Train "
                "the estimator longer or on more rows, try another method, or set "
                "check_faithfulness=False to select all the same.",
                UserWarning,
                stacklevel=3,
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags


class _Trial:
    """Nets of some columns, fitted to one part of the rows, explained on the other."""

    def __init__(self, selector: AttentionSelector, X: Any, y: Any, random: Any):
        self.X, self.y, self.random = X, y, random
        self.method = selector.method
        self.fraction = selector.validation_fraction
        self.template = _template(selector.estimator, y)
        self.is_categorical: np.ndarray | None = None

    def run(self) -> tuple[Any, tuple[Any, Any], Bunch, np.ndarray]:
        """Fit the net of all columns."""
        net, held_out, explanation, importances = self._net(None)
        if not isinstance(self.template.categorical_features, str):
            self.is_categorical = np.zeros(len(importances), dtype=bool)
            self.is_categorical[net._encoder.categorical_] = True
        return net, held_out, explanation, importances

    def rounds(self, importances: np.ndarray, n_best: int) -> np.ndarray:
        """Let the best columns meet all others, then fewer and fewer of them."""
        if len(importances) <= n_best:
            return importances
        n_left = 2 * n_best
        left = np.argsort(-importances, kind="stable")
        total = np.zeros(len(importances))
        n_rounds = 0
        while True:
            best, others = left[:n_best], self.random.permutation(left[n_best:])
            groups = np.array_split(others, -(-len(others) // _GROUP))
            for group in groups:
                found = self._shares(np.concatenate([best, group]), n_best)
                total[best] += found[:n_best] / len(groups)
                total[group] += found[n_best:]
            n_rounds += 1
            if n_rounds < _N_FIRST:
                continue
            left = left[np.argsort(-total[left], kind="stable")]
            if len(left) <= n_left:
                break
            n_stay = max(n_left, int(_STAY * len(left)))
            total[left[n_stay:]] /= n_rounds  # they keep their mean
            left = left[:n_stay]
        for _ in range(_N_LAST):
            total[left] += self._shares(left, n_best)
        total[left] /= n_rounds + _N_LAST
        return total

    def _shares(self, columns: np.ndarray, n_best: int) -> np.ndarray:
        """Give importances in a net of some columns, in units of the first ones'."""
        order = np.argsort(columns)
        importances = np.empty(len(columns))
        importances[order] = self._net(columns[order])[-1]
        unit = importances[:n_best].mean()
        return importances / unit if unit > 0 else importances

    def _net(
        self, columns: np.ndarray | None
    ) -> tuple[Any, tuple[Any, Any], Bunch, np.ndarray]:
        """Fit and explain a net."""
        net, X = clone(self.template), self.X
        if net.random_state is None:
            net.set_params(random_state=int(self.random.randint(2**31 - 1)))
        if columns is not None:
            X = _safe_indexing(X, columns, axis=1)
            if self.is_categorical is not None:
                chosen = np.flatnonzero(self.is_categorical[columns])
                net.set_params(categorical_features=chosen)
        X_fit, X_held, y_fit, y_held = self._split(X)
        net.fit(X_fit, y_fit)
        return net, (X_held, y_held), *_explained(net, X_held, self.method)

    def _split(self, X: Any) -> list[Any]:
        """Hold rows out, of each class where there are enough."""
        params = {
            "test_size": self.fraction,
            "random_state": int(self.random.randint(2**31 - 1)),
        }
        strata = self.y if isinstance(self.template, AttentionClassifier) else None
        try:
            return train_test_split(X, self.y, stratify=strata, **params)
        except ValueError:  # a class of one row, or several targets
            return train_test_split(X, self.y, **params)


def _template(estimator: Any, y: Any) -> Any:
    """Give the unfitted estimator, or the default one for a target."""
    if estimator is None:
        is_number = type_of_target(y, input_name="y").startswith("continuous")
        facade = AttentionRegressor if is_number else AttentionClassifier
        estimator = facade(linear_skip=False, **_TRAINING)
        return estimator.set_params(
            **{f"architecture__{name}": value for name, value in _ARCHITECTURE.items()}
        )
    _check_kind(estimator)
    if estimator.linear_skip == "auto":
        return clone(estimator).set_params(linear_skip=False)
    return estimator


def _check_kind(estimator: Any) -> None:
    if not isinstance(estimator, (AttentionClassifier, AttentionRegressor)):
        raise TypeError(
            "AttentionSelector reads the attention to columns, and "
            f"{type(estimator).__name__} has none. Pass an AttentionClassifier or an "
            "AttentionRegressor, or None for a default one; put transformers before "
            "the selector, and for other estimators take SelectFromModel."
        )


def _explained(net: Any, X: Any, method: str) -> tuple[Bunch, np.ndarray]:
    """Explain a fitted net: all positions, and the mean for each column."""
    explanation = _METHODS[method](net, X)
    if net._encoder.input != "table" or "features" not in explanation.by_axis:
        seen = ", ".join(map(repr, explanation.by_axis))
        raise ValueError(
            f"The architecture {net.architecture_.name!r} attends to {seen}, not to "
            "the columns of a table, so its attention cannot rank them. Take one that "
            "does, such as the default architecture of AttentionClassifier."
        )
    explanation = explanation.by_axis["features"]
    columns = net._encoder.feature_columns()
    importances = np.bincount(
        columns, weights=explanation.importances_mean, minlength=net.n_features_in_
    )
    return explanation, importances
