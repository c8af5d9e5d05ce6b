"""The classifier, and what it shares with the regressor: input, training, pickling."""

import copy
import io
import pickle
import threading

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping

from skattn import AttentionClassifier
from skattn.architectures import (
    BidirectionalAttention,
    SelfAttention,
    TemporalAttention,
)
from skattn.datasets import load_penguins

SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1)
ALL = [
    SMALL,
    TemporalAttention(d_model=8),
    BidirectionalAttention(d_model=8),
]
each_architecture = pytest.mark.parametrize(
    "architecture", ALL, ids=lambda architecture: architecture.name
)


def make(architecture=SMALL, **params):
    # Beside a linear start, attention may not count on so few rows.
    defaults = {"max_epochs": 2, "linear_skip": False}
    defaults |= {"random_state": 0, "num_threads": 1}
    return AttentionClassifier(architecture, **{**defaults, **params})


def table(n=60, n_columns=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_columns))
    return X, (X[:, 0] + 0.5 * rng.normal(size=n) > 0).astype(int)


def mixed(n=60):
    """Numbers with gaps, strings with gaps, categories, booleans."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "text": rng.choice(["red", "green", "blue"], size=n),
            "category": pd.Categorical(rng.choice(["b", "a"], size=n)),
            "flag": rng.integers(0, 2, size=n).astype(bool),
            "count": pd.array(rng.integers(0, 9, size=n), dtype="Int64"),
        }
    )
    y = (X["text"] == "red").to_numpy(copy=True)
    X.loc[3, "number"] = np.nan
    X.loc[5, "text"] = None
    X.loc[7, "count"] = pd.NA
    return X, y


def panel(n=24, n_channels=2, length=10, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = rng.normal(size=(n, n_channels, length))
    X[:, 0] += np.where(y[:, None], 1.0, -1.0)
    return X, y


def unequal(n=24):
    """Series of lengths 4 to 11 with a few gaps inside."""
    X, y = panel(n, length=11)
    series = [row[:, : 4 + number % 8].copy() for number, row in enumerate(X)]
    for row in series[::5]:
        row[1, 2] = np.nan
    return series, y


def weights_of(estimator):
    return {
        name: tensor.clone()
        for name, tensor in estimator.net_.module_.state_dict().items()
    }


def assert_same_weights(first, second):
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


# Tables


def test_learns_penguins_as_they_come():
    X, y = load_penguins(return_X_y=True)
    clf = AttentionClassifier(max_epochs=5, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.97
    assert list(clf.feature_names_in_) == list(X.columns)
    assert clf.n_features_in_ == X.shape[1]


def test_a_frame_of_all_kinds_of_columns():
    X, y = mixed()
    clf = make(max_epochs=15).fit(X, y)
    assert clf.score(X, y) > 0.9
    assert clf.predict(X).dtype == bool


def test_only_categories():
    X, y = mixed()
    clf = make(linear_skip=True).fit(X[["text", "category"]], y)
    assert clf.score(X[["text", "category"]], y) > 0.9


def test_strings_and_categories_are_the_same_thing():
    X, y = mixed()
    as_categories = X.astype({"text": "category"})
    # The order that a dtype gives to its categories, and unused ones, do not count.
    other_order = pd.Categorical(
        X["text"], categories=["red", "unused", "green", "blue"]
    )
    expected = make().fit(X, y).predict_proba(X)
    assert_array_equal(make().fit(as_categories, y).predict_proba(X), expected)
    assert_array_equal(
        make().fit(X.assign(text=other_order), y).predict_proba(as_categories), expected
    )


def test_an_unseen_category_is_a_missing_one():
    X, y = mixed()
    clf = make().fit(X, y)
    unseen = clf.predict_proba(X.assign(text="violet"))
    assert_array_equal(unseen, clf.predict_proba(X.assign(text=None)))
    assert np.isfinite(unseen).all()


def test_missing_values_where_training_had_none():
    X, y = table()
    clf = make().fit(X, y)
    holed = X.copy()
    holed[:, 1] = np.nan
    assert np.isfinite(clf.predict_proba(holed)).all()
    assert np.isfinite(clf.predict_proba(np.full((2, 3), np.nan))).all()


def test_a_column_without_any_value():
    X, y = table()
    X[:, 2] = np.nan
    assert np.isfinite(make().fit(X, y).predict_proba(X)).all()


def test_categorical_features_by_mask_position_and_name():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=60), rng.integers(0, 3, size=60)])
    y = X[:, 1] == 1
    frame = pd.DataFrame(X, columns=["a", "b"])
    expected = make(categorical_features=[1]).fit(X, y).predict_proba(X)
    for chosen in ([False, True], np.array([1])):
        clf = make(categorical_features=chosen).fit(X, y)
        assert_array_equal(clf.predict_proba(X), expected)
    by_name = make(categorical_features=["b"]).fit(frame, y)
    assert_array_equal(by_name.predict_proba(frame), expected)
    assert by_name.net_.module.data.category_counts == (4,)
    numeric = make(categorical_features=None).fit(X, y)
    assert numeric.net_.module.data.category_counts == ()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([True], r"mask of shape \(1,\), but X has 3 columns"),
        ([5], "positions outside the 3 columns"),
        (["nosuch"], r"\['nosuch'\], which X does not have"),
        ([0.5], "must be 'from_dtype', None, or"),
    ],
)
def test_wrong_categorical_features(chosen, message):
    X, y = table()
    with pytest.raises(ValueError, match=message):
        make(categorical_features=chosen).fit(X, y)


def test_no_categorical_features_refuses_strings():
    X, y = mixed()
    with pytest.raises(
        ValueError, match=r"\['text', 'category'\] of X are not numeric"
    ):
        make(categorical_features=None).fit(X, y)


@pytest.mark.parametrize("categorical_features", ["from_dtype", ["text"]])
@pytest.mark.parametrize(
    "values",
    [
        pd.date_range("2020-01-01", periods=60),
        pd.date_range("2020-01-01", periods=60, tz="UTC"),
        pd.timedelta_range("1h", periods=60),
        pd.period_range("2020-01", periods=60, freq="M"),
    ],
    ids=["datetime", "zoned", "timedelta", "period"],
)
def test_times_are_refused(values, categorical_features):
    X, y = mixed()
    clf = make(categorical_features=categorical_features)
    with pytest.raises(ValueError, match="when"):
        clf.fit(X[["text", "number"]].assign(when=values), y)


def test_times_are_refused_in_predict():
    X, y = mixed()
    clf = make().fit(X[["number"]], y)
    dates = pd.DataFrame({"number": pd.date_range("2020-01-01", periods=3)})
    with pytest.raises(ValueError, match="number"):
        clf.predict(dates)


def test_column_order_and_names():
    X, y = mixed()
    clf = make().fit(X, y)
    with pytest.raises(ValueError, match="same order"):
        clf.predict(X[X.columns[::-1]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        clf.predict(X.rename(columns={"number": "figure"}))
    with pytest.raises(ValueError, match="yet now missing"):
        clf.predict(X.drop(columns="flag"))
    assert list(clf.get_metadata_routing().fit.requests) == ["sample_weight"]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_refused(value):
    X, y = table()
    clf = make().fit(X, y)
    X[4, 1] = value
    for estimator, arguments in ((make(), (X, y)), (clf, None)):
        with pytest.raises(ValueError, match="infinity"):
            estimator.fit(*arguments) if arguments else estimator.predict(X)
    with pytest.raises(ValueError, match="infinity"):
        make().fit(pd.DataFrame(X), y)


def test_a_table_of_another_kind_is_refused():
    X, y = mixed()
    warns = pytest.warns(UserWarning, match="feature names")
    clf = make().fit(X[["number", "text"]], y)
    with warns, pytest.raises(ValueError, match="text"):
        clf.predict(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="text"):
        clf.predict(X[["number"]].assign(text=1.0))
    with pytest.raises(ValueError, match="is no number"):
        clf.predict(X[["number", "text"]].assign(number="many"))
    numeric = make(categorical_features=[1]).fit(*_coded())
    with warns, pytest.raises(ValueError, match="x1"):
        numeric.predict(X[["number", "text"]])


def _coded():
    X, y = table()
    X[:, 1] = np.arange(len(X)) % 3
    return X[:, :2], y


def test_wrong_shapes_are_refused():
    X, y = table()
    clf = make().fit(X, y)
    with pytest.raises(ValueError, match="X has 2 features"):
        clf.predict(X[:, :2])
    with pytest.raises(ValueError, match="fitted with table input, but X is series"):
        clf.predict(X[:, :, None])
    with pytest.raises(ValueError, match="Expected 2D array"):
        clf.predict(X[0])
    with pytest.raises(ValueError, match="dim 4"):
        clf.predict(X[:, :, None, None])
    with pytest.raises(ValueError, match="0 sample"):
        clf.predict(X[:0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(X, y[:-1])
    with pytest.raises(ValueError, match="requires y"):
        make().fit(X, None)
    with pytest.raises(NotFittedError):
        make().predict(X)


def test_frames_without_rows_are_refused():
    X, y = mixed()
    for columns in (["number", "text"], ["text"]):
        clf = make().fit(X[columns], y)
        with pytest.raises(ValueError, match="0 sample"):
            clf.predict(X[columns][:0])
        with pytest.raises(ValueError, match="0 sample"):
            make().fit(X[columns][:0], y[:0])


@pytest.mark.parametrize("input_scaling", ["standard", "quantile", None])
def test_scalings(input_scaling):
    X, y = table(100)
    clf = make(input_scaling=input_scaling, max_epochs=5).fit(X, y)
    assert clf.score(X, y) > 0.8


@pytest.mark.parametrize("input_scaling", ["standard", "quantile"])
def test_the_units_of_a_column_do_not_count(input_scaling):
    X, y = table(100)
    # The order of rows goes by content, hence one batch and no dropout.
    architecture = SelfAttention(d_model=8, num_heads=2, dropout=0.0)
    options = {
        "input_scaling": input_scaling,
        "batch_size": 100,
        "early_stopping": False,
    }
    clf = make(architecture, **options).fit(X, y)
    scaled = make(architecture, **options).fit(8e4 * X + 1, y)
    assert_allclose(scaled.predict_proba(8e4 * X + 1), clf.predict_proba(X), atol=1e-4)


# Series


@each_architecture
def test_learns_series(architecture):
    X, y = panel(40)
    clf = make(architecture, max_epochs=10, lr=1e-2).fit(X, y)
    assert clf.score(X, y) > 0.9
    assert clf.n_features_in_ == 2


@each_architecture
def test_series_of_unequal_lengths_with_gaps(architecture):
    X, y = unequal()
    clf = make(architecture).fit(X, y)
    padded = np.full((len(X), 2, 20), np.nan)
    for row, series in zip(padded, X, strict=True):
        row[:, : series.shape[1]] = series
    expected = clf.predict_proba(X)
    # NaN on the right is padding, in one array as in a list.
    assert_array_equal(clf.predict_proba(padded), expected)
    assert_same_weights(make(architecture).fit(padded, y), clf)


@each_architecture
def test_a_series_is_predicted_alike_in_any_company(architecture):
    X, y = unequal()
    clf = make(architecture).fit(X, y)
    expected = clf.predict_proba(X)
    alone = np.concatenate([clf.predict_proba([series]) for series in X])
    assert_array_equal(alone, expected)
    assert_array_equal(clf.predict_proba(X[::-1])[::-1], expected)
    longer = [*X, np.ones((2, 40)), *panel(300)[0]]
    assert_array_equal(clf.predict_proba(longer)[: len(X)], expected)


def test_series_are_scaled_by_channel():
    X, y = panel()
    scaled = X * np.array([1e4, 1e-4])[:, None] + 5
    architecture = SelfAttention(d_model=8, num_heads=2, dropout=0.0)
    clf, other = (
        make(architecture, batch_size=24).fit(each, y) for each in (X, scaled)
    )
    assert_allclose(other.predict_proba(scaled), clf.predict_proba(X), atol=1e-4)


def test_wrong_series_are_refused():
    X, y = panel()
    clf = make().fit(X, y)
    with pytest.raises(ValueError, match=r"1 channels, but .* was fitted with 2"):
        clf.predict(X[:, :1])
    with pytest.raises(ValueError, match="fitted with series input, but X is table"):
        clf.predict(X[:, :, 0])
    with pytest.raises(ValueError, match=r"Series number 1 of X has shape \(3, 10\)"):
        clf.predict([X[0], np.ones((3, 10))])
    with pytest.raises(ValueError, match="Series number 2 of X holds no value"):
        clf.predict(np.where(np.arange(24)[:, None, None] == 2, np.nan, X))
    with pytest.raises(ValueError, match="infinity"):
        clf.predict(np.where(X > 1, np.inf, X))
    with pytest.raises(ValueError, match="real numbers"):
        make().fit(X.astype(str), y)
    with pytest.raises(ValueError, match="holds no series"):
        clf.predict(X[:0])


def test_what_an_architecture_does_not_consume_is_refused():
    class Equal(SelfAttention):
        name = "equal"
        consumes = ()

        def build(self, data):
            module = super().build(data)
            forward = module.forward
            module.forward = lambda x: forward(x)
            return module

    X, y = panel()
    clf = make(Equal(d_model=8, num_heads=2, num_layers=1)).fit(X, y)
    with pytest.raises(
        ValueError, match=r"(?s)6 time steps .* 10.*'equal' takes no mas"
    ):
        clf.predict(X[:, :, :6])
    X[3, 1, 4] = np.nan
    with pytest.raises(ValueError, match=r"Series number 3 .*'equal' does not cons"):
        clf.predict(X)


# Predictions do not depend on companions


@each_architecture
def test_a_row_is_predicted_alike_in_any_company(architecture):
    X, y = mixed(300)
    clf = make(architecture, max_epochs=1).fit(X, y)
    expected = clf.predict_proba(X)
    rows = [0, 3, 5, 7, 299]
    alone = np.concatenate([clf.predict_proba(X[row : row + 1]) for row in rows])
    assert_array_equal(alone, expected[rows])
    assert_array_equal(clf.predict_proba(X[::-1])[::-1], expected)
    assert_array_equal(clf.predict_proba(X[10:20]), expected[10:20])


def test_predictions_come_in_float64_and_leave_the_input_alone():
    X, y = mixed()
    before = X.copy()
    probabilities = make().fit(X, y).predict_proba(X)
    assert probabilities.dtype == np.float64
    assert_allclose(probabilities.sum(axis=1), 1.0)
    pd.testing.assert_frame_equal(X, before)


# Targets


@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"], [False, True], [-1.0, 3.0]])
def test_two_classes(labels):
    X, codes = table()
    y = np.array(labels)[codes]
    clf = make(max_epochs=10).fit(X, y)
    assert_array_equal(clf.classes_, np.unique(y))
    assert clf.predict(X).dtype == y.dtype
    scores = clf.decision_function(X)
    probabilities = clf.predict_proba(X)
    assert scores.shape == (60,)
    assert_allclose(probabilities[:, 1], 1 / (1 + np.exp(-scores)), atol=1e-6)
    assert_array_equal(clf.predict(X), clf.classes_[(scores > 0).astype(int)])


def test_several_classes():
    X, _ = table()
    y = np.digitize(X[:, 0], [-0.5, 0.5])
    clf = make().fit(X, y)
    scores, probabilities = clf.decision_function(X), clf.predict_proba(X)
    assert scores.shape == probabilities.shape == (60, 3)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert_allclose(probabilities, shares, atol=1e-6)
    assert_array_equal(clf.predict(X), clf.classes_[scores.argmax(axis=1)])


def test_many_labels_as_scikit_learn_shapes_them():
    X, _ = table()
    y = (X > 0).astype(int)
    clf = make(linear_skip="auto").fit(X, y)
    peer = MLPClassifier(solver="lbfgs", alpha=1.0, max_iter=5000).fit(X, y)
    assert clf.predict_proba(X).shape == peer.predict_proba(X).shape == (60, 3)
    assert_array_equal(clf.classes_, peer.classes_)
    assert_array_equal(clf.predict(X), (clf.predict_proba(X) > 0.5).astype(int))
    assert_array_equal(clf.predict(X), (clf.decision_function(X) > 0).astype(int))
    assert clf.score(X, y) > 0.8


def test_several_targets_as_scikit_learn_shapes_them():
    X, _ = table()
    y = np.column_stack([np.digitize(X[:, 0], [-0.5, 0.5]), X[:, 1] > 0])
    clf = make(linear_skip="auto").fit(X, y)
    peer = MultiOutputClassifier(LogisticRegression()).fit(X, y)
    for ours, theirs in zip(clf.predict_proba(X), peer.predict_proba(X), strict=True):
        assert ours.shape == theirs.shape
        assert_allclose(ours.sum(axis=1), 1.0)
    for ours, theirs in zip(clf.classes_, peer.classes_, strict=True):
        assert_array_equal(ours, theirs)
    assert [scores.shape for scores in clf.decision_function(X)] == [(60, 3), (60,)]
    assert clf.predict(X).shape == y.shape
    assert (clf.predict(X) == y).mean() > 0.8


def test_several_targets_with_labels_in_words():
    X, codes = table()
    y = np.column_stack([np.array(["a", "b"])[codes], np.array(["no", "yes"])[codes]])
    predicted = make(linear_skip="auto").fit(X, y).predict(X)
    assert set(predicted[:, 0]) == {"a", "b"}
    assert set(predicted[:, 1]) == {"no", "yes"}


def test_wrong_targets_are_refused():
    X, y = table()
    with pytest.raises(ValueError, match=r"one class, .*needs at least two"):
        make().fit(X, np.zeros(60))
    with pytest.raises(ValueError, match="Unknown label type"):
        make().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="NaN"):
        make().fit(X, np.where(y, np.nan, 1.0))
    with pytest.warns(DataConversionWarning):
        make().fit(X, y[:, None])


# Weights


TRAINING = [
    {},
    {"early_stopping": True, "validation_fraction": 0.25, "patience": 2},
    {"class_weight": "balanced", "early_stopping": True},
]


@pytest.mark.parametrize("params", TRAINING, ids=["plain", "stopped", "balanced"])
@pytest.mark.parametrize("kind", ["table", "frame", "series"])
def test_weighting_a_row_is_repeating_it(kind, params):
    X, y = {"table": table, "frame": mixed, "series": unequal}[kind]()
    weight = 1 + np.arange(len(y)) % 3
    index = np.repeat(np.arange(len(y)), weight)
    repeated = _take(X, np.random.default_rng(1).permutation(index))
    labels = y[np.random.default_rng(1).permutation(index)]
    architecture = SMALL.__class__(d_model=8, num_heads=2, dropout=0.3)
    options = {"max_epochs": 5, "batch_size": 8, "lr": 1e-2, **params}
    weighted = make(architecture, **options).fit(X, y, sample_weight=weight)
    longer = make(architecture, **options).fit(repeated, labels)
    assert_same_weights(weighted, longer)
    assert weighted.n_iter_ == longer.n_iter_
    assert_array_equal(weighted.predict_proba(X), longer.predict_proba(X))


def _take(X, index):
    if isinstance(X, list):
        return [X[at] for at in index]
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


def test_rows_of_weight_zero_do_not_exist():
    X, y = mixed()
    weight = np.where(np.arange(60) % 4, 1.5, 0.0)
    # Rows that are dropped may hold a class and a category of their own.
    y = np.where(weight > 0, y, 2)
    X.loc[weight == 0, "text"] = "violet"
    kept = weight > 0
    dropped = make(input_scaling="standard").fit(X, y, sample_weight=weight)
    absent = make(input_scaling="standard").fit(X[kept], y[kept])
    assert_same_weights(dropped, absent)
    assert_array_equal(dropped.classes_, [0, 1])


def test_real_weights():
    X, y = table()
    heavy = make().fit(X, y, sample_weight=np.where(y, 7.5, 0.3))
    light = make().fit(X, y, sample_weight=np.where(y, 0.3, 7.5))
    gap = heavy.predict_proba(X)[:, 1] - light.predict_proba(X)[:, 1]
    assert gap.min() > 0
    assert gap.mean() > 0.3
    # Only ratios count.
    ratios = make().fit(X, y, sample_weight=np.where(y, 75.0, 3.0) / 7)
    assert_allclose(ratios.predict_proba(X), heavy.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(60), "zero"),
        (np.ones(59), "sample_weight.shape"),
        (np.r_[-1.0, np.ones(59)], "[Nn]egative"),
        (np.r_[np.nan, np.ones(59)], "NaN"),
    ],
)
def test_wrong_weights_are_refused(weight, message):
    with pytest.raises(ValueError, match=message):
        make().fit(*table(), sample_weight=weight)


def test_class_weights_are_sample_weights():
    X, y = table()
    y[:40] = 0
    by_class = make(class_weight={0: 1, 1: 3.5}).fit(X, y)
    by_row = make().fit(X, y, sample_weight=np.where(y, 3.5, 1.0))
    assert_same_weights(by_class, by_row)
    counts = np.bincount(y)
    balanced = make(class_weight="balanced").fit(X, y)
    by_hand = make(class_weight=dict(enumerate(60 / (2 * counts)))).fit(X, y)
    assert_array_equal(balanced.predict(X), by_hand.predict(X))
    assert balanced.predict(X).mean() > make().fit(X, y).predict(X).mean()


def test_class_weights_in_partial_fit_may_name_an_absent_class():
    X = np.random.default_rng(0).normal(size=(20, 3))
    clf = make(class_weight={0: 1.0, 1: 5.0})
    clf.partial_fit(X, np.zeros(20, dtype=int), classes=[0, 1])
    assert clf.predict_proba(X).shape == (20, 2)
    with pytest.raises(ValueError, match="partial_fit sees a part"):
        make(class_weight="balanced").partial_fit(X, np.arange(20) % 2)


def test_class_weights_of_several_targets():
    X, y = table()
    y = np.column_stack([y, np.digitize(X[:, 1], [-0.5, 0.5])])
    listed = make(class_weight=[{0: 2.5, 1: 1}, {0: 1, 1: 1, 2: 4.5}]).fit(X, y)
    weight = np.where(y[:, 0], 1.0, 2.5) * np.where(y[:, 1] == 2, 4.5, 1.0)
    by_row = make().fit(X, y, sample_weight=weight)
    assert_allclose(
        listed.predict_proba(X)[1], by_row.predict_proba(X)[1], rtol=0, atol=1e-6
    )
    with pytest.raises(ValueError, match="1 dictionaries for 2 targets"):
        make(class_weight=[{0: 1}]).fit(X, y)


# Seeds


@each_architecture
def test_the_order_of_rows_does_not_matter(architecture):
    X, y = mixed()
    order = np.random.default_rng(3).permutation(len(y))
    options = {"batch_size": 8, "early_stopping": True}
    first = make(architecture, **options).fit(X, y)
    second = make(architecture, **options).fit(X.iloc[order], y[order])
    assert_same_weights(first, second)


def test_one_seed_one_net():
    X, y = table()
    first, second = make().fit(X, y), make().fit(X, y)
    assert_same_weights(first, second)
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert_same_weights(first.fit(X, y), second)
    other = make(random_state=1).fit(X, y)
    assert not np.array_equal(other.predict_proba(X), first.predict_proba(X))


def test_a_random_state_goes_on():
    X, y = table()
    state = np.random.RandomState(0)
    first = make(random_state=state).fit(X, y).predict_proba(X)
    second = make(random_state=state).fit(X, y).predict_proba(X)
    again = make(random_state=np.random.RandomState(0)).fit(X, y).predict_proba(X)
    assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_global_random_states_are_left_as_they_were():
    X, y = table()
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    clf = make().fit(X, y)
    clf.partial_fit(X, y)
    clf.predict(X)
    pickle.loads(pickle.dumps(clf)).predict(X)
    assert torch.equal(torch.get_rng_state(), torch_before)
    for ours, before in zip(np.random.get_state(), numpy_before, strict=True):  # noqa: NPY002
        assert_array_equal(ours, before)


def test_the_global_random_state_does_not_matter():
    X, y = table()
    torch.manual_seed(1)
    first = make().fit(X, y)
    torch.manual_seed(2)
    assert_same_weights(first, make().fit(X, y))


class Spy(Callback):
    """Run a function at each epoch's end; a copy is the same object."""

    def __init__(self, function):
        self.function = function

    def __deepcopy__(self, memo):
        return self

    def on_epoch_end(self, net, **kwargs):
        self.function(net)


def test_the_number_of_threads_is_put_back():
    X, y = table()
    before = torch.get_num_threads()
    seen = []
    callbacks = [Spy(lambda net: seen.append(torch.get_num_threads()))]
    make(num_threads=before + 1, callbacks=callbacks).fit(X, y).predict(X)
    assert seen == [before + 1] * 2
    assert torch.get_num_threads() == before

    def fail(net):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        make(num_threads=before + 1, callbacks=[Spy(fail)]).fit(X, y)
    assert torch.get_num_threads() == before


def test_fits_in_threads_give_what_they_give_alone():
    X, y = table(200)
    seeds = range(4)
    expected = [make(random_state=seed).fit(X, y) for seed in seeds]
    found = [make(random_state=seed) for seed in seeds]
    threads = [threading.Thread(target=clf.fit, args=(X, y)) for clf in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for first, second in zip(found, expected, strict=True):
        assert_same_weights(first, second)


# Training further


def test_partial_fit_trains_one_epoch_at_a_time():
    X, y = table()
    clf = make()
    for call in (1, 2, 3):
        assert clf.partial_fit(X, y) is clf
        assert clf.n_iter_ == len(clf.history_) == call
    assert_array_equal(clf.classes_, [0, 1])


def test_partial_fit_freezes_scales_categories_and_classes():
    X, y = mixed()
    clf = make().partial_fit(X, y, classes=[False, True])
    before = clf.net_.module.data
    mean = clf._encoder.scaler.mean_.copy()
    later = X.assign(number=X["number"] * 100 + 7, text="violet")
    clf.partial_fit(later, np.ones(60, dtype=bool))
    assert clf.net_.module.data is before
    assert_array_equal(clf._encoder.scaler.mean_, mean)
    unseen = clf.predict_proba(X.assign(text="violet"))
    assert_array_equal(unseen, clf.predict_proba(X.assign(text=None)))


def test_partial_fit_with_classes_that_come_later():
    X, _ = table()
    y = np.digitize(X[:, 0], [-0.5, 0.5])
    clf = make().partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    assert clf.predict_proba(X).shape == (60, 3)
    clf.partial_fit(X, y)
    one_class = make().partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
    assert one_class.predict_proba(X).shape == (60, 2)
    with pytest.raises(ValueError, match=r"classes \[2\], which are not among"):
        one_class.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"\[1\], which are not among"):
        make().partial_fit(X[y != 1], y[y != 1], classes=[0, 2]).partial_fit(X, y)


def test_partial_fit_refuses_other_targets():
    X, y = table()
    labels = np.column_stack([y, 1 - y])
    clf = make().fit(X, labels)
    with pytest.raises(ValueError, match="1 targets, but 2 were fitted"):
        clf.partial_fit(X, y)
    with pytest.raises(ValueError, match="2"):
        clf.partial_fit(X, labels + 1)


def test_partial_fit_learns_a_stream_whose_first_batch_is_unlike_the_rest():
    X, y = table(400)
    batches = [slice(start, start + 40) for start in range(0, 400, 40)]
    clf = make(lr=1e-2)
    for _ in range(8):
        for number, batch in enumerate(batches):
            wrong = number == 0
            clf.partial_fit(X[batch], 1 - y[batch] if wrong else y[batch])
    assert clf.score(X[40:], y[40:]) > 0.8


def test_warm_start_goes_on():
    X, y = table()
    clf = make(warm_start=True, max_epochs=5, lr=1e-2, linear_skip=False).fit(X, y)
    before = weights_of(clf)
    assert clf.n_iter_ == 5
    clf.fit(X, y)
    assert clf.n_iter_ == len(clf.history_) == 10
    assert not torch.equal(weights_of(clf)["cls"], before["cls"])
    losses = clf.history_[:, "train_loss"]
    assert losses[5] < losses[0]
    cold = make().fit(X, y)
    assert_same_weights(cold.fit(X, y), make().fit(X, y))
    assert cold.n_iter_ == 2


def test_warm_start_refuses_what_cannot_go_on():
    X, y = table()
    clf = make(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="X has 2 features"):
        clf.fit(X[:, :2], y)
    with pytest.raises(ValueError, match="not among the fitted classes"):
        clf.fit(X, y + 1)
    with pytest.raises(ValueError, match="fitted with table input"):
        clf.fit(X[:, :, None], y)
    clf.set_params(architecture__num_heads=4)
    with pytest.raises(ValueError, match="training can only go on with the same one"):
        clf.fit(X, y)
    clf.set_params(warm_start=False).fit(X, y)
    frame = pd.DataFrame(X, columns=list("abc"))
    clf = make(warm_start=True).fit(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        clf.fit(frame.rename(columns={"a": "z"}), y)


def test_warm_start_takes_a_new_learning_rate():
    X, y = table()
    still = make(warm_start=True, lr_schedule=None).fit(X, y)
    before = weights_of(still)
    still.set_params(lr=1e-12).fit(X, y)
    for name, tensor in weights_of(still).items():
        assert_allclose(tensor, before[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "changed",
    [
        {"precision": "float64"},
        {"optimizer": "SGD"},
        {"linear_skip": True},
        {"net_params": {"optimizer__eps": 1.0}},
        {"device": "mps"},
    ],
)
def test_warm_start_refuses_parameters_that_would_be_ignored(changed):
    X, y = table()
    clf = make(warm_start=True).fit(X, y).set_params(**changed)
    with pytest.raises(ValueError, match=next(iter(changed))):
        clf.fit(X, y)


def test_parameters_set_after_fit_do_not_concern_predictions():
    X, y = table()
    clf = make().fit(X, y)
    expected = clf.predict_proba(X)
    clf.set_params(precision="float64", architecture="temporal_attention")
    clf.set_params(device="cuda:7", input_scaling=None, linear_skip=False)
    assert_array_equal(clf.predict_proba(X), expected)


# Early stopping and interruption


def total(net):
    with torch.no_grad():
        return float(sum(tensor.double().sum() for tensor in net.module_.parameters()))


@pytest.mark.parametrize("seed", [0, 1])
def test_early_stopping_restores_the_best_weights(seed):
    X, y = table(120)
    probe = Spy(lambda net: net.history.record("total", total(net)))
    clf = make(
        early_stopping=True,
        validation_fraction=0.3,
        patience=3,
        max_epochs=40,
        lr=5e-2,
        lr_schedule=None,
        linear_skip=False,
        callbacks=[probe],
        random_state=seed,
    ).fit(X, y)
    losses = clf.history_[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert len(losses) < 40
    assert len(losses) == clf.n_iter_ == best + 1 + 3
    assert total(clf.net_) == clf.history_[best]["total"]
    assert total(clf.net_) != clf.history_[best + 1]["total"]


def test_early_stopping_is_automatic_from_a_thousand_rows():
    X, y = table(1000)
    plain = {"max_epochs": 1, "linear_skip": False}
    assert "valid_loss" in make(**plain).fit(X, y).history_[0]
    assert "valid_loss" not in make(**plain).fit(X[:999], y[:999]).history_[0]
    never = make(early_stopping=False, **plain).fit(X, y)
    assert "valid_loss" not in never.history_[0]
    # Attention has to do better than a linear start on rows that it did not see.
    few = make(max_epochs=1, linear_skip="auto").fit(X[:100], y[:100])
    assert "valid_loss" in few.history_[0]


def test_early_stopping_that_holds_out_nothing_is_refused():
    X, y = table(8)
    with pytest.raises(ValueError, match="which is none"):
        make(early_stopping=True, validation_fraction=0.01).fit(X, y)


def test_held_out_rows_touch_neither_scales_nor_weights():
    X, y = table(200)
    clf = make(early_stopping=True, input_scaling="standard", max_epochs=1)
    before = clf.fit(X, y)
    mean, trained = before._encoder.scaler.mean_, weights_of(before)
    # Rows are held out by their content: the scales are those of the other rows.
    n_train = 200 - 2 * 10
    assert not np.allclose(mean, X.mean(axis=0), rtol=0, atol=1e-12)
    assert before.net_.batch_size == 16
    assert abs(mean - X.mean(axis=0)).max() < 20 / n_train * abs(X).max()
    del trained


class Interrupt(Callback):
    """Press Ctrl-C in a batch of an epoch."""

    def __init__(self, epoch, at):
        self.epoch = epoch
        self.at = at

    def _press(self, net, at):
        if at == self.at and len(net.history) == self.epoch:
            raise KeyboardInterrupt

    def on_batch_end(self, net, training=False, **kwargs):
        self._press(net, "train" if training else "valid")


def test_an_interrupted_fit_keeps_its_weights_and_says_so():
    X, y = table()
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 20; the present"):
        clf = make(
            max_epochs=20, early_stopping=False, callbacks=[Interrupt(3, "train")]
        ).fit(X, y)
    assert clf.n_iter_ == 3
    assert clf.predict_proba(X).shape == (60, 2)
    pickle.loads(pickle.dumps(clf)).predict(X)


@pytest.mark.parametrize("at", ["train", "valid"])
def test_an_interrupted_fit_restores_the_best_weights(at):
    X, y = table(120)
    probe = Spy(lambda net: net.history.record("total", total(net)))
    clf = make(
        max_epochs=40,
        early_stopping=True,
        linear_skip=False,
        lr_schedule=None,
        callbacks=[probe, Interrupt(4, at)],
    )
    with pytest.warns(UserWarning, match="interrupted in epoch 4 of 40; the best"):
        clf.fit(X, y)
    best = min(clf.history_[:3], key=lambda epoch: epoch["valid_loss"])
    assert total(clf.net_) == best["total"]


def test_an_interrupted_first_epoch_leaves_a_usable_estimator():
    X, y = table()
    with pytest.warns(UserWarning, match="interrupted in epoch 1"):
        clf = make(early_stopping=True, callbacks=[Interrupt(1, "train")]).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_a_stopping_callback_of_the_user_is_no_interruption():
    X, y = table()
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, sink=len)
    clf = make(max_epochs=20, callbacks=[stop]).fit(X, y)
    assert clf.n_iter_ == 2


def test_training_that_diverges_is_an_error():
    X, y = table()
    clf = make(lr=1e30, optimizer="SGD", gradient_clip=None, lr_schedule=None)
    with pytest.raises(ValueError, match=r"training diverged\. Lower lr=1e\+30"):
        clf.set_params(max_epochs=20).fit(X, y)


# What is handed to skorch


class Counting(Callback):
    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1
        net.history.record("counted", self.epochs)


def test_callbacks_are_copied():
    X, y = table()
    given = Counting()
    clf = make(callbacks=[given])
    for _ in range(2):
        clf.fit(X, y)
        assert clf.history_[:, "counted"] == [1, 2]
    assert given.epochs == 0
    assert clf.callbacks == [given]


def test_net_params_reach_skorch():
    X, y = table()
    given = {"optimizer__betas": (0.5, 0.9)}
    clf = make(net_params=given).partial_fit(X, y)
    assert {group["betas"] for group in clf.net_.optimizer_.param_groups} == {
        (0.5, 0.9)
    }
    assert given == {"optimizer__betas": (0.5, 0.9)}
    with pytest.raises(Exception, match="nosuch"):
        make(net_params={"nosuch": 1}).fit(X, y)


def test_optimizers_by_name_and_class():
    X, y = table()
    by_name = make(optimizer="SGD").fit(X, y)
    by_class = make(optimizer=torch.optim.SGD).fit(X, y)
    assert_same_weights(by_name, by_class)
    with pytest.raises(ValueError, match=r"'AdamV'.*Did you mean 'Adam"):
        make(optimizer="AdamV").fit(X, y)


def test_vectors_do_not_decay():
    clf = make(weight_decay=0.25, lr=1e-2).partial_fit(*table())
    matrices, vectors = clf.net_.optimizer_.param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.25, 0.0)
    assert {tensor.dim() for tensor in vectors["params"]} == {1}
    assert matrices["lr"] == vectors["lr"] == 1e-2


def rates(**params):
    X, y = table()
    seen = []
    spy = Spy(lambda net: seen.append(net.optimizer_.param_groups[0]["lr"]))
    make(max_epochs=10, lr=1e-2, callbacks=[spy], **params).fit(X, y)
    return np.array(seen) / 1e-2


def test_learning_rates():
    assert_array_equal(rates(lr_schedule=None), np.ones(10))
    cosine = rates(lr_schedule="cosine", batch_size=60)
    assert_allclose(cosine, 0.5 * (1 + np.cos(np.pi * np.arange(10) / 10)))
    one_cycle = rates(lr_schedule="one_cycle", batch_size=60)
    assert one_cycle[0] < 0.02
    assert one_cycle[1] == pytest.approx(1.0)
    assert (np.diff(one_cycle[1:]) < 0).all()


def test_a_progress_bar_goes_to_standard_error(capsys):
    X, y = table()
    make(verbose=1).fit(X, y)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2/2" in captured.err
    assert "train_loss" in captured.err
    make(verbose=0, early_stopping=True, max_epochs=3).fit(X, y)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", r"device='cuda' was asked for, but .* 0 CUDA device"),
        ("cuda:1", "Use device='cpu', or device='auto'"),
        ("mps", "sees no Metal device"),
        ("tpu", "is no device"),
        ("meta", "is not supported"),
    ],
)
def test_an_absent_device_is_an_error(monkeypatch, device, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        make(device=device).fit(*table())


def test_device_auto_takes_the_cpu_where_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert make(device="auto").fit(*table()).net_.device == "cpu"


@pytest.mark.parametrize("kind", ["frame", "series"])
@each_architecture
def test_precisions(architecture, kind):
    X, y = {"frame": mixed, "series": unequal}[kind]()
    expected = make(architecture).fit(X, y).predict_proba(X)
    for precision, dtype, tolerance in (
        ("float64", torch.float64, 1e-3),
        ("bfloat16", torch.float32, 5e-2),
    ):
        clf = make(architecture, precision=precision).fit(X, y)
        assert {tensor.dtype for tensor in clf.net_.module_.parameters()} == {dtype}
        found = clf.predict_proba(X)
        assert found.dtype == np.float64
        assert_allclose(found, expected, rtol=0, atol=tolerance)
        assert not np.array_equal(found, expected)
        alone = np.concatenate([clf.predict_proba(X[at : at + 1]) for at in (0, 7)])
        assert_allclose(alone, found[[0, 7]], rtol=0, atol=1e-6)


def test_batch_sizes():
    X, y = table(100)
    assert make(batch_size=7).fit(X, y).net_.batch_size == 7
    assert make().fit(X, y).net_.batch_size == 8
    assert make(max_epochs=1).fit(*table(2100)).net_.batch_size == 128


# Pickling


def dump_joblib(estimator):
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


COPIES = {
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),
    "joblib": dump_joblib,
    "cloudpickle": lambda estimator: pickle.loads(cloudpickle.dumps(estimator)),
    "deepcopy": copy.deepcopy,
}
every_copy = pytest.mark.parametrize("way", COPIES)


@every_copy
@each_architecture
def test_copies_predict_alike(architecture, way):
    X, y = mixed()
    clf = make(architecture, verbose=0, callbacks=[Counting()]).fit(X, y)
    copied = COPIES[way](clf)
    assert_array_equal(copied.predict_proba(X), clf.predict_proba(X))
    assert copied.n_iter_ == clf.n_iter_
    assert repr(copied.architecture_) == repr(clf.architecture_)
    assert copied.net_.module_ is not clf.net_.module_


@every_copy
def test_copies_train_on_alike(way):
    X, y = mixed()
    clf = make().partial_fit(X, y)
    copied = COPIES[way](clf)
    for estimator in (clf, copied):
        for _ in range(3):
            estimator.partial_fit(X, y)
    assert_same_weights(copied, clf)
    assert copied.n_iter_ == 4


def test_a_copy_goes_on_with_warm_start():
    X, y = table()
    clf = make(warm_start=True, early_stopping=True).fit(X, y)
    copied = pickle.loads(pickle.dumps(clf))
    assert_same_weights(copied.fit(X, y), clf.fit(X, y))


def test_a_copy_has_a_life_of_its_own():
    X, y = table()
    clf = make().fit(X, y)
    expected = clf.predict_proba(X)
    copy.deepcopy(clf).partial_fit(X, y)
    copy.copy(clf.net_)
    assert_array_equal(clf.predict_proba(X), expected)


def test_a_clone_is_unfitted_and_fits_alike():
    X, y = table()
    clf = make().fit(X, y)
    fresh = clone(clf)
    assert not [name for name in vars(fresh) if name.endswith("_")]
    assert_same_weights(fresh.fit(X, y), clf)


def test_a_fitted_pickle_is_lean():
    X, y = table()
    clf = make(max_epochs=1).fit(X, y)
    n_bytes = sum(4 * tensor.numel() for tensor in clf.net_.module_.parameters())
    small = len(pickle.dumps(clf))
    assert small < n_bytes + 20_000
    # Neither the optimizer nor batch records add to it with every epoch.
    assert len(pickle.dumps(make(max_epochs=20).fit(X, y))) < small + 20 * 500


def test_in_a_pipeline():
    X, y = table()
    pipeline = make_pipeline(StandardScaler(), make(linear_skip=True)).fit(X, y)
    assert pipeline.score(X, y) > 0.7
    weight = np.arange(60) % 2
    pipeline.fit(X, y, attentionclassifier__sample_weight=weight)
    kept = make_pipeline(StandardScaler().fit(X), make(linear_skip=True))
    assert_array_equal(
        pipeline[-1].predict(X),
        make(linear_skip=True)
        .fit(kept[0].transform(X)[weight == 1], y[weight == 1])
        .predict(X),
    )
