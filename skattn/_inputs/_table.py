"""Tables: numeric and categorical columns with missing values."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from skattn._inputs._scaling import Scaler

# From so many rows, strings that hardly repeat are no categories.
_MANY_ROWS = 20


class TableEncoder:
    """Turn a table into ``x``, ``observed`` and ``categories``.

    Numeric columns are scaled. Categorical ones become codes; code 0 stands for a
    missing value and for a category that was not in the training rows. Where the
    architecture does not consume ``observed`` or ``categories``, missing numbers are
    filled with the mean beside an indicator column, and categories are one-hot encoded.
    A number that is missing in a column in which no training row missed one counts as
    the mean, and as observed.

    Parameters
    ----------
    scaling : {"standard", "quantile"} or None
        The estimator's ``input_scaling``.
    consumes : collection of str
        The architecture's optional tensors.
    categorical_features : "from_dtype", None or array-like of bool, int or str
        Which columns are categorical, as in
        `sklearn.ensemble.HistGradientBoostingClassifier`; ``"from_dtype"`` takes
        those of a DataFrame that hold categories or strings.
    estimator : object
        Named in error messages.

    Notes
    -----
    What a missing number means is learned from rows that miss it; where there are
    none, the architecture would answer with weights that were never trained. Hence the
    mean. In the same way a category of held-out rows alone is unknown to all rows.
    """

    input = "table"

    def __init__(
        self,
        scaling: str | None,
        consumes: Collection[str],
        categorical_features: Any,
        estimator: Any,
    ) -> None:
        self.scaler = Scaler(scaling)
        self.consumes = frozenset(consumes)
        self.categorical_features = categorical_features
        self.estimator_name = type(estimator).__name__

    def check(self, X: Any) -> Any:
        """Validate a table, as far as other tables do not matter.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            What the user passed.

        Returns
        -------
        X : DataFrame or ndarray of shape (n, n_columns)
            An array holds float64.
        """
        if not isinstance(X, pd.DataFrame):
            self._check_kind(X)
            return self._check_numbers(X)
        if not X.size:
            raise ValueError(
                f"{self.estimator_name}: X has 0 sample(s) or 0 feature(s) "
                f"(shape={X.shape}), at least one of each is required."
            )
        return X

    def learn(self, X: Any) -> dict[str, np.ndarray]:
        """Learn which columns are what, and read the table.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, n_columns)
            The training table, from `check`.

        Returns
        -------
        content : dict of str to ndarray
            As `read`.
        """
        self.is_frame_ = isinstance(X, pd.DataFrame)
        names = _names(X) if self.is_frame_ else [f"x{at}" for at in range(X.shape[1])]
        is_category = self._find_categories(X, names)
        self.numeric_ = np.flatnonzero(~is_category)
        self.categorical_ = np.flatnonzero(is_category)
        self.names_ = names
        self.categories_ = [categories_of(_column(X, at)) for at in self.categorical_]
        for at, known in zip(self.categorical_, self.categories_, strict=True):
            self._warn_of_texts(names[at], known, len(X))
        return self.read(X)

    @staticmethod
    def _warn_of_texts(name: str, known: Sequence[Any], n: int) -> None:
        """Warn of a column that looks like texts, of which categories tell nothing."""
        with_space = sum(
            isinstance(text, str) and " " in text.strip() for text in known
        )
        if n >= _MANY_ROWS and len(known) > n / 2 and with_space > len(known) / 2:
            warnings.warn(
                f"The column {name!r} holds {len(known)} different strings in {n} "
                "rows, and is taken as a category. If these are texts, pass them "
                f"alone, as frame[{name!r}], to have them read word by word.",
                UserWarning,
                stacklevel=2,
            )

    def read(self, X: Any) -> dict[str, np.ndarray]:
        """Read a table without scaling it.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n, n_columns)
            With the training table's columns, from `check`.

        Returns
        -------
        content : dict of str to ndarray
            ``numbers`` (n, n_numeric) of float64 with NaN, and ``codes`` (n,
            n_categorical) of int64.
        """
        if self.is_frame_ and isinstance(X, pd.DataFrame) and _names(X) != self.names_:
            raise ValueError(
                f"{self.estimator_name}: the columns of X are {_names(X)}, but in fit "
                f"they were {self.names_}. Give the same ones in the same order."
            )
        codes = np.zeros((len(X), len(self.categorical_)), dtype=np.int64)
        for number, at in enumerate(self.categorical_):
            known = self.categories_[number]
            column = _column(X, at).rename(self.names_[at])
            codes[:, number] = codes_of(column, known, self.estimator_name)
        return {"numbers": self._read_numbers(X), "codes": codes}

    def identity(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Give the numbers by which rows are ordered and split: all of them."""
        return content

    def fit_scaling(
        self, content: dict[str, np.ndarray], weight: np.ndarray | None
    ) -> None:
        """Learn scales and fillings from the training rows.

        Parameters
        ----------
        content : dict of str to ndarray
            From `learn`, its rows perhaps repeated.
        weight : ndarray of shape (n,) or None
            Weights of the rows.
        """
        numbers, codes = content["numbers"], content["codes"]
        self.scaler.fit(numbers, weight)
        self.has_missing_ = np.isnan(numbers).any(axis=0)
        self.has_code_ = [
            np.isin(np.arange(len(known) + 1), column)
            for known, column in zip(self.categories_, codes.T, strict=True)
        ]

    def tensors(self, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make the arrays of the contract.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.

        Returns
        -------
        arrays : dict of str to ndarray
            ``x`` of float64, and ``observed`` and ``categories`` where consumed.
        """
        numbers, codes = content["numbers"], content["codes"].copy()
        for number, known in enumerate(self.has_code_):
            codes[~known[codes[:, number]], number] = 0
        missing = np.isnan(numbers)
        parts = [np.where(missing, 0.0, self.scaler.transform(numbers))]
        arrays = {}
        if "observed" in self.consumes:
            arrays["observed"] = ~(missing & self.has_missing_)
        else:
            parts.append(missing[:, self.has_missing_])
        if "categories" in self.consumes:
            if codes.shape[1]:
                arrays["categories"] = codes
        else:
            parts += [
                codes[:, [number]] == self._kept_codes(number)
                for number in range(codes.shape[1])
            ]
        return {"x": np.concatenate(parts, axis=1, dtype=np.float64), **arrays}

    def samples(
        self,
        content: dict[str, np.ndarray],
        net: Any,
        target: np.ndarray | None = None,
    ) -> Any:
        """Put encoded rows into tensors.

        Parameters
        ----------
        content : dict of str to ndarray
            From `read`.
        net : Net
            Where the tensors go, and in which precision.
        target : ndarray of shape (n, ...), optional
            Encoded targets.

        Returns
        -------
        samples : TensorSamples
            One for each row of the content.
        """
        from skattn._engine._runtime import placement
        from skattn._engine._samples import TensorSamples

        arrays = self.tensors(content)
        return TensorSamples(
            arrays, length=self.length, target=target, **placement(net)
        )

    def describe(self) -> dict[str, Any]:
        """Say what the tensors look like.

        Returns
        -------
        fields : dict of str to object
            Fields of `DataSpec`.
        """
        n_categorical = len(self.categorical_) if "categories" in self.consumes else 0
        counts = tuple(len(known) + 1 for known in self.categories_)[:n_categorical]
        return {
            "input": "table",
            "n_features": self.length - n_categorical,
            "category_counts": counts,
        }

    @property
    def length(self) -> int:
        """Columns that the module sees."""
        return len(self._feature_names())

    def axis_names(self, axis: str, content: Any = None) -> list[str] | None:
        """Name the positions along an axis of attention.

        Parameters
        ----------
        axis : str
            ``"features"``, or something else.
        content : object
            Ignored.

        Returns
        -------
        names : list of str or None
            Numeric columns, then indicators, then categories; None for another axis.
        """
        return self._feature_names() if axis == "features" else None

    def feature_columns(self) -> np.ndarray:
        """Tell which column of the table each position along ``"features"`` is from.

        Returns
        -------
        columns : ndarray of int64 of shape (length,)
            Several positions may show one column: its values, and where it is missing.
        """
        columns = list(self.numeric_)
        if "observed" not in self.consumes:
            columns += [
                at
                for at, missing in zip(self.numeric_, self.has_missing_, strict=True)
                if missing
            ]
        for number, at in enumerate(self.categorical_):
            is_one = "categories" in self.consumes
            columns += [at] * (1 if is_one else len(self._kept_codes(number)))
        return np.array(columns, dtype=np.int64)

    def _feature_names(self) -> list[str]:
        names = [self.names_[at] for at in self.numeric_]
        if "observed" not in self.consumes:
            names += [
                f"{name} is missing"
                for name, missing in zip(names, self.has_missing_, strict=True)
                if missing
            ]
        categorical = [self.names_[at] for at in self.categorical_]
        if "categories" in self.consumes:
            return names + categorical
        for number, name in enumerate(categorical):
            labels = ["missing", *self.categories_[number]]
            names += [f"{name}={labels[code]}" for code in self._kept_codes(number)]
        return names

    def _kept_codes(self, number: int) -> np.ndarray:
        """Codes of a categorical column that get a one-hot column."""
        return np.flatnonzero(self.has_code_[number])

    def _check_kind(self, X: Any) -> None:
        """Refuse an array that holds text where a frame with text was fitted."""
        if not getattr(self, "is_frame_", False):
            return
        array = np.asarray(X)
        if not array.ndim or array.dtype.kind not in "OUS":
            return
        text = [
            self.names_[at]
            for at, known in zip(self.categorical_, self.categories_, strict=True)
            if any(isinstance(value, str) for value in known)
        ]
        if text:
            raise ValueError(
                f"{self.estimator_name}: X was a DataFrame in fit, with text in the "
                f"columns {text}, and now it is none. Give a DataFrame again."
            )

    def _check_numbers(self, X: Any) -> np.ndarray:
        return check_array(
            X,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            estimator=self.estimator_name,
            input_name="X",
        )

    def _read_numbers(self, X: Any) -> np.ndarray:
        if not isinstance(X, pd.DataFrame):
            return X[:, self.numeric_]
        if not len(self.numeric_):
            return np.zeros((len(X), 0))
        frame = X.iloc[:, self.numeric_]
        for name, dtype in frame.dtypes.items():
            if dtype.kind in "mM":  # pandas would count nanoseconds
                raise _no_kind(name, dtype, self.estimator_name)
        try:
            numbers = frame.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError):  # objects among which is pd.NA, or no number
            columns = [
                read_column(_column(X, at), self.estimator_name) for at in self.numeric_
            ]
            numbers = np.column_stack(columns)
        return self._check_numbers(numbers)

    def _find_categories(self, X: Any, names: Sequence[str]) -> np.ndarray:
        chosen = self.categorical_features
        n_columns = len(names)
        if chosen is None or (isinstance(chosen, str) and chosen == "from_dtype"):
            if not isinstance(X, pd.DataFrame):
                return np.zeros(n_columns, dtype=bool)
            kinds = [
                kind_of(X.iloc[:, at], self.estimator_name) for at in range(n_columns)
            ]
            found = np.array([kind == "category" for kind in kinds], dtype=bool)
            if chosen is None and found.any():
                wrong = [name for name, flag in zip(names, found, strict=True) if flag]
                raise ValueError(
                    f"categorical_features=None, but the columns {wrong} of X are not "
                    "numeric. Use categorical_features='from_dtype', or encode them."
                )
            return found
        array = np.asarray(chosen)
        if not array.size:
            return np.zeros(n_columns, dtype=bool)
        if array.dtype.kind in "UO":
            if unknown := sorted(set(map(str, array)) - set(names)):
                raise ValueError(
                    f"categorical_features names the columns {unknown}, which X does "
                    f"not have; it has {list(names)}."
                )
            return np.isin(np.asarray(names, dtype=object), array)
        if array.dtype == bool:
            if array.shape != (n_columns,):
                raise ValueError(
                    f"categorical_features is a mask of shape {array.shape}, but X has "
                    f"{n_columns} columns."
                )
            return array
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise ValueError(
                f"categorical_features={chosen!r} must be 'from_dtype', None, or "
                "columns given as booleans, positions or names."
            )
        if array.min() < 0 or array.max() >= n_columns:
            raise ValueError(
                f"categorical_features={chosen!r} holds positions outside the "
                f"{n_columns} columns of X."
            )
        return np.isin(np.arange(n_columns), array)


def _names(X: pd.DataFrame) -> list[str]:
    return [str(name) for name in X.columns]


def _column(X: Any, at: Any) -> pd.Series:
    return X.iloc[:, at] if isinstance(X, pd.DataFrame) else pd.Series(X[:, at])


def kind_of(column: pd.Series, owner: str) -> str:
    """Tell numbers from categories.

    Parameters
    ----------
    column : Series
        Of any dtype.
    owner : str
        Named in error messages.

    Returns
    -------
    kind : {"number", "category"}
        Objects that are all text, or all missing, are categories.

    Raises
    ------
    ValueError
        If the column is neither.
    """
    dtype = column.dtype
    if pd.api.types.is_bool_dtype(dtype) or (
        pd.api.types.is_numeric_dtype(dtype)
        and not pd.api.types.is_complex_dtype(dtype)
    ):
        return "number"
    is_object = pd.api.types.is_object_dtype(dtype)
    # To pandas, every column of objects is one of strings.
    is_string = pd.api.types.is_string_dtype(dtype) and not is_object
    if isinstance(dtype, pd.CategoricalDtype) or is_string:
        return "category"
    if is_object:
        values = column.dropna()
        if all(isinstance(value, str) for value in values):
            return "category"
        try:
            values.to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            pass
        else:
            return "number"
        types = sorted({type(value).__name__ for value in values})
        if len(types) > 1:
            raise ValueError(
                f"{owner}: column {column.name!r} of X has dtype object and holds "
                f"values of mixed types ({', '.join(types)}). Turn all of them into "
                "numbers, or into text."
            )
    raise _no_kind(column.name, dtype, owner)


def _no_kind(name: Any, dtype: Any, owner: str) -> ValueError:
    return ValueError(
        f"{owner}: column {name!r} of X has dtype {dtype}, which is neither numeric "
        "nor categorical. Turn it into numbers, or into categories with "
        ".astype('category')."
    )


def read_column(column: pd.Series, owner: str) -> np.ndarray:
    """Read a numeric column.

    Parameters
    ----------
    column : Series of shape (n,)
        Of any dtype but those of times.
    owner : str
        Named in error messages.

    Returns
    -------
    numbers : ndarray of shape (n,)
        Of float64, NaN where missing.

    Raises
    ------
    ValueError
        If something is no number.
    """
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):  # pd.NA among objects, or no number
        known = column.notna().to_numpy()
    numbers = np.full(len(column), np.nan)
    try:
        numbers[known] = column[known].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{owner}: the numeric column {column.name!r} of X holds something that "
            f"is no number: {error}."
        ) from error
    return numbers


def categories_of(column: pd.Series) -> pd.Index:
    """List the categories of a column in an order that its rows do not decide.

    Parameters
    ----------
    column : Series
        Of hashable values; missing ones do not count.

    Returns
    -------
    known : Index
        Of objects, each once.
    """
    found = pd.unique(column.astype(object).dropna())
    try:
        return pd.Index(sorted(found), dtype=object)
    except TypeError:  # mixed types
        return pd.Index(
            sorted(found, key=lambda value: (type(value).__name__, str(value))),
            dtype=object,
        )


def codes_of(column: pd.Series, known: pd.Index, owner: str) -> np.ndarray:
    """Encode a categorical column.

    Parameters
    ----------
    column : Series of shape (n,)
        May hold missing and unknown values.
    known : Index
        From `categories_of`.
    owner : str
        Named in error messages.

    Returns
    -------
    codes : ndarray of shape (n,)
        Places in `known`, from 1; 0 where missing or unknown.

    Raises
    ------
    ValueError
        If the column holds text for categories that are none, or the reverse.
    """
    values = column.astype(object)
    found = known.get_indexer(values)
    if (found < 0).all():
        _check_alike(values.dropna(), known, owner)
    return found + 1


def _check_alike(values: pd.Series, known: pd.Index, owner: str) -> None:
    kinds = [{isinstance(value, str) for value in each} for each in (known, values)]
    if all(kinds) and kinds[0].isdisjoint(kinds[1]):
        raise ValueError(
            f"{owner}: the categorical column {values.name!r} of X holds "
            f"{values.iloc[0]!r}, but its categories were {known[0]!r} and alike in "
            "training. Encode both in the same way."
        )
