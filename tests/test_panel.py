"""The sktime facades of panels: siblings of the scikit-learn ones."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_backend
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sktime.classification.compose import ClassifierPipeline
from sktime.datasets import load_basic_motions, load_unit_test
from sktime.transformations.series.exponent import ExponentTransformer
from sktime.utils.validation.panel import check_X

from skattn import (
    AttentionClassifier,
    AttentionRegressor,
    AttentionTimeSeriesClassifier,
    AttentionTimeSeriesRegressor,
)
from skattn.architectures import (
    BidirectionalAttention,
    SelfAttention,
    TemporalAttention,
)

SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1)
ALL = [
    SMALL,
    TemporalAttention(d_model=8),
    BidirectionalAttention(d_model=8),
]
SIBLINGS = {
    AttentionTimeSeriesClassifier: AttentionClassifier,
    AttentionTimeSeriesRegressor: AttentionRegressor,
}
OPTIONS = {"max_epochs": 2, "random_state": 0, "num_threads": 1}

each_facade = pytest.mark.parametrize("facade", SIBLINGS)


def make(facade, architecture=SMALL, **params):
    return facade(architecture, **{**OPTIONS, **params})


def panel(n=20, length=12):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    X = rng.normal(size=(n, 2, length))
    X[:, 0] += np.where(y[:, None], 1.0, -1.0)
    return X, y


def unequal(n=20):
    """Series of lengths 5 to 12, the longest first, with a few gaps inside."""
    X, y = panel(n)
    series = [row[:, : 12 - number % 8].copy() for number, row in enumerate(X)]
    for row in series[::5]:
        row[1, 2] = np.nan
    return series, y


def as_frames(series):
    return [pd.DataFrame(each.T, columns=["a", "b"]) for each in series]


def as_hierarchy(series):
    frames = dict(enumerate(as_frames(series)))
    return pd.concat(frames, names=["series", "time"])


def assert_same_weights(first, second):
    ours, theirs = (each.net_.module_.state_dict() for each in (first, second))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


# Equality with the sibling


@pytest.mark.parametrize("architecture", ALL, ids=lambda each: each.name)
@each_facade
def test_it_is_its_sibling(facade, architecture):
    X, y = panel()
    ours = make(facade, architecture).fit(X, y)
    theirs = make(SIBLINGS[facade], architecture).fit(X, y)
    assert_same_weights(ours, theirs)
    assert_array_equal(ours.predict(X), theirs.predict(X))
    if facade is AttentionTimeSeriesClassifier:
        assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
        assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.n_iter_ == len(ours.history_) == 2
    assert repr(ours.architecture_) == repr(architecture)


@pytest.mark.parametrize("form", [as_frames, as_hierarchy], ids=["list", "hierarchy"])
@each_facade
def test_unequal_lengths_with_gaps(facade, form):
    X, y = unequal()
    ours = make(facade).fit(form(X), y)
    theirs = make(SIBLINGS[facade]).fit(X, y)
    assert_same_weights(ours, theirs)
    expected = theirs.predict(X)
    assert_array_equal(ours.predict(form(X)), expected)
    alone = [ours.predict(form([series]))[0] for series in X]
    assert_array_equal(alone, expected)


@each_facade
def test_missing_values_in_an_array(facade):
    X, y = panel()
    X[3, 1, 4] = np.nan
    X[5, :, 9:] = np.nan
    ours = make(facade).fit(X, y)
    assert_array_equal(ours.predict(X), make(SIBLINGS[facade]).fit(X, y).predict(X))


def test_labels_may_be_words():
    X, y = load_unit_test(split="train")
    clf = make(AttentionTimeSeriesClassifier, max_epochs=5).fit(X, y)
    assert set(clf.predict(X)) <= {"1", "2"}


def test_learns_motions():
    X, y = load_basic_motions(split="train")
    clf = make(AttentionTimeSeriesClassifier, max_epochs=30, lr=1e-2).fit(X, y)
    assert clf.score(X, y) > 0.9


def test_losses_and_class_weights_are_passed_on():
    X, y = panel()
    y = np.where(np.arange(20) < 15, 0, 1)
    weighted = make(AttentionTimeSeriesClassifier, class_weight="balanced").fit(X, y)
    sibling = make(AttentionClassifier, class_weight="balanced").fit(X, y)
    assert_array_equal(weighted.predict_proba(X), sibling.predict_proba(X))
    params = {"loss": "quantile", "quantile": 0.9}
    upper = make(AttentionTimeSeriesRegressor, **params).fit(X, y)
    assert_array_equal(
        upper.predict(X), make(AttentionRegressor, **params).fit(X, y).predict(X)
    )


@each_facade
def test_what_differs_from_the_fitted_series_is_refused(facade):
    X, y = panel()
    estimator = make(facade).fit(X, y)
    with pytest.raises(ValueError, match=r"1 channels, but .* was fitted with 2"):
        estimator.predict(X[:, :1])


# Fit, clone, pickle


@each_facade
def test_fit_always_starts_anew(facade):
    X, y = panel()
    first = make(facade).fit(X, y)
    again = make(facade).fit(X[:10], y[:10]).fit(X, y)
    assert_same_weights(first, again)
    assert again.n_iter_ == 2


@each_facade
def test_copies(facade):
    X, y = panel()
    estimator = make(facade).fit(X, y)
    copied = pickle.loads(pickle.dumps(estimator))
    assert_array_equal(copied.predict(X), estimator.predict(X))
    for fresh in (clone(estimator), estimator.clone()):
        assert not fresh.is_fitted
        assert_same_weights(fresh.fit(X, y), estimator)


# Model selection


@each_facade
def test_cross_validation_of_scikit_learn(facade):
    X, y = panel()
    scores = cross_val_score(make(facade), X, y, cv=2)
    sibling = cross_val_score(make(SIBLINGS[facade]), X, y, cv=2)
    assert_array_equal(scores, sibling)


@pytest.mark.parametrize("n_jobs", [None, 2])
@each_facade
def test_a_search_of_scikit_learn(facade, n_jobs):
    X, y = panel()
    grid = [
        {"architecture": ["bidirectional_attention", TemporalAttention(d_model=8)]},
        {"architecture": [SMALL], "architecture__num_heads": [1, 4]},
    ]
    kind = {"scoring": "neg_log_loss"} if hasattr(facade, "predict_proba") else {}
    searches = [
        GridSearchCV(make(each), grid, cv=2, error_score="raise", **kind)
        for each in (facade, SIBLINGS[facade])
    ]
    searches[0].set_params(n_jobs=n_jobs)
    with parallel_backend("threading"):
        for search in searches:
            search.fit(X, y)
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    assert_array_equal(*scores)
    assert len(set(scores[0])) == 4
    assert SMALL.num_heads == 2
    assert_array_equal(searches[0].predict(X), searches[1].predict(X))


def test_a_pipeline_of_scikit_learn():
    X, y = panel()
    pipeline = make_pipeline(
        FunctionTransformer(np.negative), make(AttentionTimeSeriesClassifier)
    )
    by_hand = make(AttentionClassifier).fit(-X, y)
    assert_array_equal(pipeline.fit(X, y).predict_proba(X), by_hand.predict_proba(-X))
    search = GridSearchCV(
        Pipeline([("net", make(AttentionTimeSeriesClassifier))]),
        {"net__architecture__num_heads": [1, 2]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert search.cv_results_["params"] == [
        {"net__architecture__num_heads": heads} for heads in (1, 2)
    ]


def test_a_pipeline_of_sktime():
    X, y = panel()
    pipeline = ClassifierPipeline(
        make(AttentionTimeSeriesClassifier), [ExponentTransformer(power=1)]
    )
    pipeline.set_params(classifier__architecture__num_heads=1)
    fitted = pipeline.fit(X, y)
    assert fitted.predict(X).shape == (20,)
    assert SMALL.num_heads == 2


def test_nested_frames_of_sktime():
    X, y = load_unit_test(split="train", return_type="nested_univ")
    array = check_X(X, coerce_to_numpy=True)
    ours = make(AttentionTimeSeriesClassifier).fit(X, y)
    theirs = make(AttentionClassifier).fit(array, y)
    assert_array_equal(ours.predict_proba(X), theirs.predict_proba(array))


@each_facade
def test_a_reset_keeps_the_context_that_a_search_left(facade):
    """scikit-learn 1.9 leaves ``_parent_callback_ctx`` before it calls ``fit``."""
    estimator = make(facade)
    context = object()
    estimator._parent_callback_ctx = context
    X, y = panel()
    estimator.fit(X, y)
    assert estimator._parent_callback_ctx is context
    assert estimator.reset()._parent_callback_ctx is context
    assert not hasattr(make(facade).reset(), "_parent_callback_ctx")


def test_scikit_learn_still_uses_that_name():
    """Where this fails, `reset` guards an attribute that is no more."""
    import inspect

    import sklearn.base
    import sklearn.model_selection._search
    import sklearn.pipeline
    from sklearn import callback

    modules = [sklearn.base, sklearn.model_selection._search, sklearn.pipeline]
    modules += [
        module for module in vars(callback).values() if inspect.ismodule(module)
    ]
    sources = "".join(inspect.getsource(module) for module in modules)
    assert "_parent_callback_ctx" in sources


@each_facade
def test_tags_are_those_of_the_sibling(facade):
    ours, theirs = (each().__sklearn_tags__() for each in (facade, SIBLINGS[facade]))
    assert ours == theirs


# Names


@pytest.mark.parametrize("form", [as_frames, as_hierarchy], ids=["list", "hierarchy"])
@each_facade
def test_channels_are_found_by_name(facade, form):
    X, y = unequal()
    estimator = make(facade).fit(form(X), y)
    expected = estimator.predict(form(X))
    swapped = form(X)
    if form is as_hierarchy:
        swapped = swapped[["b", "a"]]
    else:
        swapped = [frame[["b", "a"]] for frame in swapped]
    assert_array_equal(estimator.predict(swapped), expected)
    if facade is AttentionTimeSeriesClassifier:
        assert_array_equal(
            estimator.predict_proba(swapped), estimator.predict_proba(form(X))
        )
    nameless = [pd.DataFrame(series[::-1].T) for series in X]
    by_position, inner = [series[::-1] for series in X], estimator.estimator_
    assert_array_equal(estimator.predict(nameless), inner.predict(by_position))
    score = getattr(inner, "predict_proba", inner.predict)
    assert not np.array_equal(score(by_position), score(X))


@each_facade
def test_arrays_have_no_names(facade):
    X, y = panel()
    estimator = make(facade).fit(X, y)
    expected = estimator.predict(X)
    assert_array_equal(estimator.predict(as_hierarchy(X)), expected)
    named = make(facade).fit(as_hierarchy(X), y)
    assert_array_equal(named.predict(X), expected)
    # A new fit forgets the names.
    assert_array_equal(named.fit(X, y).predict(as_hierarchy(X)), expected)


@pytest.mark.parametrize("form", [as_frames, as_hierarchy], ids=["list", "hierarchy"])
@each_facade
def test_channels_of_other_names_are_refused(facade, form):
    X, y = panel()
    estimator = make(facade).fit(form(X), y)
    if form is as_hierarchy:
        other = form(X).rename(columns={"b": "c"})
    else:
        other = [frame.rename(columns={"b": "c"}) for frame in form(X)]
    message = rf"\['a', 'c'\], but {facade.__name__} .*\['b'\] are missing, \['c'\]"
    with pytest.raises(ValueError, match=message):
        estimator.predict(other)


@each_facade
def test_a_wrong_parameter_is_said_to_be_the_facades(facade):
    X, y = panel()
    with pytest.raises(ValueError, match=rf"'lr' parameter of {facade.__name__} must"):
        make(facade, lr=-1).fit(X, y)
