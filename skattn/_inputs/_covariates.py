"""Exogenous series: covariates of the past, covariates known ahead, static ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skattn._inputs._scaling import weighted_moments
from skattn._inputs._table import categories_of, codes_of, kind_of, read_column
from skattn._registry import did_you_mean

_OWNER = "Covariates"

_WORDS = {"number": "numeric", "category": "categorical"}


class Covariates(NamedTuple):
    """Exogenous rows of one series, as arrays.

    Parameters
    ----------
    past : ndarray of shape (n, n_past)
        In units of the data, NaN where missing; categories are one-hot columns.
    known : ndarray of shape (n, n_known)
        Standardised, 0 where missing, and then the indicators of what is missing.
    known_categories : ndarray of shape (n, n_categories)
        Codes of int64; 0 is missing or unknown.
    static : ndarray of shape (n_static,)
        As `known`.
    static_categories : ndarray of shape (n_categories,)
        As `known_categories`.
    """

    past: np.ndarray
    known: np.ndarray
    known_categories: np.ndarray
    static: np.ndarray
    static_categories: np.ndarray


class CovariateEncoder:
    """Turn the exogenous frames of series into arrays.

    Columns of numbers or bool are numeric, those of text or of dtype category are
    categorical. They are found by name; their order is that of the first training
    frame.

    Parameters
    ----------
    past : sequence of str or None
        Columns known up to the present; the estimator's ``past_covariates``.
    static : sequence of str or None
        Columns constant within each series; the estimator's ``static_covariates``.

    Attributes
    ----------
    past_names : tuple of str
        Columns of `Covariates.past`: numbers, then each category of each column.
    n_past_numeric : int
        The first so many of these are numbers.
    past_mean, past_scale : ndarray of shape (n_past,)
        Means and standard deviations of the numbers; 0 and 1 for categories.
    known_names : tuple of str
        Numbers, then indicators of what is missing, then categorical columns.
    n_known : int
        Numbers and indicators.
    known_category_counts : tuple of int
        Codes of each categorical column, code 0 included.
    static_names : tuple of str
        As `known_names`.
    n_static : int
        As `n_known`.
    static_category_counts : tuple of int
        As `known_category_counts`.

    Notes
    -----
    What a missing number means is learned from training rows that miss it, so it is
    refused in a known or static column that was complete in training. Covariates of
    the past keep their gaps: the module is told by ``observed``.
    """

    def __init__(
        self, past: Sequence[str] | None = None, static: Sequence[str] | None = None
    ) -> None:
        self.past = past
        self.static = static

    def learn(self, frames: Sequence[pd.DataFrame]) -> CovariateEncoder:
        """Learn columns, categories and scales.

        Parameters
        ----------
        frames : sequence of DataFrame
            The training rows of each series.

        Returns
        -------
        self : CovariateEncoder
            Fitted.

        Raises
        ------
        ValueError
            If ``past_covariates`` or ``static_covariates`` do not fit the columns, if
            frames differ in their columns, if a static column is not constant, or if a
            column is neither numeric nor categorical, is empty or holds infinity.
        """
        series = [_columns_of(frame) for frame in frames]
        self._names = list(series[0])
        for number, found in enumerate(series):
            if found.keys() != series[0].keys():
                raise ValueError(
                    f"Series number {number} of X has the columns {list(found)}, the "
                    f"first one {self._names}. Give all of them the same ones."
                )
        past = _chosen("past_covariates", self.past, self._names)
        static = _chosen("static_covariates", self.static, self._names)
        if both := [name for name in self._names if name in past & static]:
            raise ValueError(
                f"past_covariates and static_covariates both name the columns {both}. "
                "Name each in one of them."
            )
        known = set(self._names) - past - static
        kinds = {
            name: _common_kind([columns[name] for columns in series])
            for name in self._names
        }
        self._past, self._known, self._static = (
            _Role(chosen, kinds) for chosen in (past, known, static)
        )
        for role in (self._past, self._known):
            role.learn(
                [
                    role.read(columns, frame.index)
                    for columns, frame in zip(series, frames, strict=True)
                ]
            )
        rows = [
            self._static.read_constant(
                columns, frames[number].index, f" in series number {number} of X"
            )
            for number, columns in enumerate(series)
        ]
        # As if each series held its value at each of its times.
        self._static.learn(rows, np.array([len(frame) for frame in frames]))
        roles = (self._past, self._known, self._static)
        if empty := {name for role in roles for name in role.empty()}:
            raise ValueError(
                "X holds no value at all in the columns "
                f"{[name for name in self._names if name in empty]}. Drop them."
            )
        self._describe()
        return self

    def encode(self, frame: pd.DataFrame, *, future: bool = False) -> Covariates:
        """Encode rows of one series.

        Parameters
        ----------
        frame : DataFrame of shape (n, n_columns)
            With the training frames' columns, in any order.
        future : bool, default=False
            Whether the rows lie ahead. Then past and static columns may be absent and
            are not read: `past` and `static` are NaN, `static_categories` 0.

        Returns
        -------
        covariates : Covariates
            Of these rows.

        Raises
        ------
        ValueError
            If columns are absent, new, or of another kind than in training, if one
            holds infinity, if a static column is not constant, or if a known or static
            number is missing in a column that was complete in training.
        """
        columns, index = _columns_of(frame), frame.index
        self._check_names(columns, future)
        numbers, categories = self._known.read(columns, index)
        known = self._known.standardise(numbers, index)
        known_codes = self._known.codes(categories, len(index))
        if future:
            return Covariates(
                np.full((len(index), len(self.past_names)), np.nan),
                known,
                known_codes,
                np.full(self.n_static, np.nan),
                np.zeros(len(self.static_category_counts), dtype=np.int64),
            )
        numbers, categories = self._past.read(columns, index)
        past = np.concatenate([numbers, *self._past.one_hot(categories)], axis=1)
        numbers, categories = self._static.read_constant(columns, index, "")
        static = self._static.standardise(numbers)[0]
        static_codes = self._static.codes(categories, 1)[0]
        return Covariates(past, known, known_codes, static, static_codes)

    def _check_names(self, names: Collection[str], future: bool) -> None:
        if new := [name for name in names if name not in self._names]:
            raise ValueError(
                f"X has the columns {new}, which it did not have in fit; there it had "
                f"{self._names}. Drop them, or fit with them."
            )
        known = {*self._known.numeric, *self._known.categorical}
        needed = [name for name in self._names if name in known or not future]
        lacking = [name for name in needed if name not in names]
        if lacking and future:
            raise ValueError(
                f"X at predict lacks the columns {lacking}, which are known in the "
                "future: pass them for every step of fh, or fit without them "
                f"(AttentionForecaster: or with past_covariates={lacking})."
            )
        if lacking:
            raise ValueError(
                f"X lacks the columns {lacking}; in fit it had {self._names}. Give the "
                "same ones."
            )

    def _describe(self) -> None:
        past, known, static = self._past, self._known, self._static
        labels = [
            f"{name}={category}"
            for name, categories in zip(past.categorical, past.categories, strict=True)
            for category in categories
        ]
        self.past_names = (*past.numeric, *labels)
        self.n_past_numeric = len(past.numeric)
        self.past_mean = np.append(past.mean, np.zeros(len(labels)))
        self.past_scale = np.append(past.scale, np.ones(len(labels)))
        self.known_names = known.names()
        self.n_known = len(known.names()) - len(known.categorical)
        self.known_category_counts = tuple(len(each) + 1 for each in known.categories)
        self.static_names = static.names()
        self.n_static = len(static.names()) - len(static.categorical)
        self.static_category_counts = tuple(len(each) + 1 for each in static.categories)


class _Role:
    """The columns of one role, and what was learned of them."""

    def __init__(self, names: Collection[str], kinds: Mapping[str, str]) -> None:
        chosen = [name for name in kinds if name in names]
        self.numeric = [name for name in chosen if kinds[name] == "number"]
        self.categorical = [name for name in chosen if kinds[name] == "category"]

    def read(
        self, columns: Mapping[str, pd.Series], index: pd.Index
    ) -> tuple[np.ndarray, list[pd.Series]]:
        """Give the numbers (n, n_numeric), NaN where missing, and the categories."""
        categories = [columns[name] for name in self.categorical]
        for column in categories:
            _check_kind(column, "category")
        numbers = np.empty((len(index), len(self.numeric)))
        for at, name in enumerate(self.numeric):
            _check_kind(columns[name], "number")
            numbers[:, at] = read_column(columns[name], _OWNER)
        infinite = np.isinf(numbers)
        if infinite.any():
            row, at = np.argwhere(infinite)[0]
            raise ValueError(
                f"X contains infinity in the column {self.numeric[at]!r}, at "
                f"{index[row]}. Missing values are NaN."
            )
        return numbers, categories

    def read_constant(
        self, columns: Mapping[str, pd.Series], index: pd.Index, where: str
    ) -> tuple[np.ndarray, list[pd.Series]]:
        """Read columns that hold one value each, apart from gaps, into one row."""
        numbers, categories = self.read(columns, index)
        low = np.fmin.reduce(numbers, axis=0, initial=np.nan)  # (n_numeric,)
        high = np.fmax.reduce(numbers, axis=0, initial=np.nan)
        if (differs := low < high).any():
            at = int(differs.argmax())
            raise _not_constant(self.numeric[at], where, low[at], high[at])
        constants = []
        for name, column in zip(self.categorical, categories, strict=True):
            values = list(pd.unique(column.dropna()))
            if len(values) > 1:
                raise _not_constant(name, where, *values[:2])
            constants.append(pd.Series(values or [None], dtype=object, name=name))
        return low[None], constants

    def learn(
        self,
        content: Sequence[tuple[np.ndarray, list[pd.Series]]],
        weight: np.ndarray | None = None,
    ) -> None:
        """Learn scales and categories from what was read."""
        numbers = np.concatenate([numbers for numbers, _ in content])
        self.mean, self.scale = weighted_moments(numbers, weight)
        missing = np.isnan(numbers)
        self.has_missing = missing.any(axis=0)
        self.has_value = ~missing.all(axis=0)
        self.categories = []
        for parts in zip(*(columns for _, columns in content), strict=True):
            values = np.concatenate([part.to_numpy(dtype=object) for part in parts])
            self.categories.append(categories_of(pd.Series(values, dtype=object)))

    def empty(self) -> list[str]:
        """Name the columns without any value."""
        numeric = zip(self.numeric, self.has_value, strict=True)
        categorical = zip(self.categorical, self.categories, strict=True)
        return [name for name, has_value in numeric if not has_value] + [
            name for name, categories in categorical if not len(categories)
        ]

    def names(self) -> tuple[str, ...]:
        """Name numbers, indicators and categorical columns."""
        indicators = [
            f"{name} is missing"
            for name, missing in zip(self.numeric, self.has_missing, strict=True)
            if missing
        ]
        return (*self.numeric, *indicators, *self.categorical)

    def standardise(
        self, numbers: np.ndarray, index: pd.Index | None = None
    ) -> np.ndarray:
        """Scale, fill with the mean, and append the indicators."""
        missing = np.isnan(numbers)
        new = missing & ~self.has_missing
        if new.any():
            at = int(new.any(axis=0).argmax())
            when = "" if index is None else f" at {index[int(new[:, at].argmax())]}"
            raise ValueError(
                f"X holds no value in the column {self.numeric[at]!r}{when}, but in "
                "fit none was missing there, so what a gap means was never learned. "
                "Impute it, for instance with sktime's Imputer, or fit with gaps in it."
            )
        filled = np.where(missing, 0.0, (numbers - self.mean) / self.scale)
        return np.concatenate([filled, missing[:, self.has_missing]], axis=1)

    def codes(self, columns: Sequence[pd.Series], n: int) -> np.ndarray:
        """Give the codes (n, n_categorical)."""
        codes = np.zeros((n, len(columns)), dtype=np.int64)
        for at, (column, known) in enumerate(
            zip(columns, self.categories, strict=True)
        ):
            codes[:, at] = codes_of(column, known, _OWNER)
        return codes

    def one_hot(self, columns: Sequence[pd.Series]) -> list[np.ndarray]:
        """Give an array (n, n_categories) for each column, NaN where missing."""
        arrays = []
        for column, known in zip(columns, self.categories, strict=True):
            codes = codes_of(column, known, _OWNER)
            array = (codes[:, None] == np.arange(1, len(known) + 1)).astype(np.float64)
            array[column.isna().to_numpy()] = np.nan
            arrays.append(array)
        return arrays


def _not_constant(name: str, where: str, one: Any, other: Any) -> ValueError:
    return ValueError(
        f"static_covariates names the column {name!r}, which must be constant within "
        f"each series, but{where} it holds {one} and {other}. Leave it out of "
        "static_covariates, or correct it."
    )


def _columns_of(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Map names to columns."""
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        double = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"X has more than one column of the names {double}. Rename or drop them."
        )
    return dict(zip(names, (column for _, column in frame.items()), strict=True))


def _chosen(
    parameter: str, given: Sequence[str] | None, names: Sequence[str]
) -> set[str]:
    if isinstance(given, str):
        raise ValueError(
            f"{parameter}={given!r} must be a list of names, such as [{given!r}]."
        )
    chosen = {str(name) for name in (() if given is None else given)}
    if unknown := sorted(chosen - set(names)):
        raise ValueError(
            f"{parameter} names the columns {unknown}, which X does not have."
            f"{did_you_mean(unknown[0], names)} It has {list(names)}."
        )
    return chosen


def _common_kind(columns: Sequence[pd.Series]) -> str:
    """Find the kind of a column from its parts in all series."""
    numbers: dict[str, int] = {}
    for number, column in enumerate(columns):
        numbers.setdefault(kind_of(column, _OWNER), number)
    if len(numbers) > 1:  # a part without any value may be of any kind
        numbers = {}
        for number, column in enumerate(columns):
            if column.notna().any():
                numbers.setdefault(kind_of(column, _OWNER), number)
    if len(numbers) > 1:
        places = [f"{_WORDS[kind]} in number {at}" for kind, at in numbers.items()]
        raise ValueError(
            f"The column {columns[0].name!r} of X is not of one kind in all series: it "
            f"is {' but '.join(places)}. Give it the same dtype in all."
        )
    return next(iter(numbers), "number")


def _check_kind(column: pd.Series, kind: str) -> None:
    """Refuse a column that was of another kind in fit, unless it holds nothing."""
    if kind == "category" and pd.api.types.is_object_dtype(column.dtype):
        return  # its values decide
    if kind_of(column, _OWNER) != kind and column.notna().any():
        raise ValueError(
            f"The column {column.name!r} of X was {_WORDS[kind]} in fit, but now it "
            f"has dtype {column.dtype}. Give it the same dtype as there."
        )
