"""Selecting columns by attention: truth, scikit-learn's contract, warnings, errors."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skattn import AttentionClassifier, AttentionRegressor, AttentionSelector
from skattn.architectures import SelfAttention
from skattn.inspection import attention_rollout, gradient_rollout, last_attention


def small(**params):
    """Make a net that is quick to fit."""
    params = {"max_epochs": 15, "lr": 1e-2, "weight_decay": 1.0} | params
    clf = AttentionClassifier(**{"linear_skip": False} | params)
    return clf.set_params(
        architecture__d_model=16, architecture__num_heads=2, architecture__num_layers=1
    )


def quick(estimator=None, **params):
    estimator = small() if estimator is None else estimator
    params = {"refine": False, "check_faithfulness": False, "random_state": 0} | params
    return AttentionSelector(estimator, **params)


@pytest.fixture(scope="module")
def planted():
    X = np.random.default_rng(0).normal(size=(240, 8))
    return X, np.where(X[:, 2] + X[:, 5] > 0, "yes", "no")


@parametrize_with_checks(
    [
        AttentionSelector(
            AttentionClassifier(max_epochs=1).set_params(architecture__d_model=4),
            check_faithfulness=False,
        )
    ]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("method", ["gradient", "rollout", "raw"])
def test_finds_what_decides(planted, method):
    X, y = planted
    selector = quick(method=method, max_features=2).fit(X, y)
    assert_array_equal(selector.get_support(indices=True), [2, 5])
    assert_array_equal(selector.transform(X), X[:, [2, 5]])
    restored = selector.inverse_transform(X[:, [2, 5]])
    assert_array_equal(restored[:, [2, 5]], X[:, [2, 5]])
    assert not restored[:, [0, 1, 3, 4, 6, 7]].any()


def test_finds_few_of_many_among_which_each_is_seen_in_small_nets():
    X = np.random.default_rng(1).normal(size=(300, 24))
    y = np.abs(X[:, 7]) + X[:, 20] > 0.7
    selector = AttentionSelector(small(), max_features=2, random_state=0).fit(X, y)
    assert_array_equal(selector.get_support(indices=True), [7, 20])
    assert selector.faithfulness_.is_faithful
    assert_allclose(selector.importances_.sum(), 1)
    assert (selector.importances_ >= 0).all()


def test_default_estimators_follow_y(planted):
    X, y = planted
    number = X[:, 1] - X[:, 6]
    params = {"max_features": 2, "refine": False, "check_faithfulness": False}
    selector = AttentionSelector(**params, random_state=0).fit(X, number)
    assert isinstance(selector.estimator_, AttentionRegressor)
    assert_array_equal(selector.get_support(indices=True), [1, 6])
    selector = AttentionSelector(**params, random_state=0).fit(X, y)
    assert isinstance(selector.estimator_, AttentionClassifier)
    assert_array_equal(selector.get_support(indices=True), [2, 5])


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("gradient", gradient_rollout),
        ("rollout", attention_rollout),
        ("raw", last_attention),
    ],
)
def test_prefit_explains_the_given_rows(planted, method, function):
    X, y = planted
    clf = small(random_state=0).fit(X, y)
    selector = quick(clf, method=method, prefit=True).fit(X[:50])
    mean = function(clf, X[:50]).importances.mean(axis=0)
    assert_allclose(selector.importances_, mean / mean.sum(), atol=1e-12)
    assert selector.estimator_ is not clf
    assert_array_equal(selector.estimator_.predict(X), clf.predict(X))


def test_positions_of_a_column_are_added_up(planted):
    numbers = planted[0].copy()
    numbers[::7, 3] = np.nan
    X = pd.DataFrame(numbers, columns=list("abcdefgh"))
    X["kind"] = np.where(X["b"] > 0, "x", "y")
    y = np.where(X["b"] > 0, X["f"], -X["f"]) > 0
    architecture = _OneHot()
    clf = AttentionClassifier(architecture, max_epochs=2, linear_skip=False)
    selector = quick(clf).fit(X, y)
    names = selector.estimator_._encoder.axis_names("features")
    assert names[8:] == ["d is missing", "kind=x", "kind=y"]
    assert selector.importances_.shape == (9,)
    prefit = quick(selector.estimator_, prefit=True).fit(X)
    mean = gradient_rollout(selector.estimator_, X).importances.mean(axis=0)
    expected = np.array([*mean[:3], mean[3] + mean[8], *mean[4:8], mean[9:].sum()])
    assert_allclose(prefit.importances_, expected / expected.sum(), atol=1e-12)


class _OneHot(SelfAttention):
    """Attention that leaves gaps and categories to the encoder."""

    consumes = ()


def test_a_mixed_frame_stays_a_frame():
    rng = np.random.default_rng(2)
    X = pd.DataFrame({f"n{at}": rng.normal(size=200) for at in range(12)})
    X.insert(3, "colour", rng.choice(["red", "green", "blue"], size=200))
    X.loc[::9, "n4"] = np.nan
    y = (X["colour"] == "red") ^ (rng.random(200) < 0.02)
    selector = quick(max_features=1).set_output(transform="pandas")
    out = selector.fit(X, y).transform(X)
    assert list(out) == ["colour"]
    assert out["colour"].dtype == X["colour"].dtype
    assert_array_equal(selector.feature_names_in_, X.columns)
    assert_array_equal(selector.get_feature_names_out(), ["colour"])


def test_columns_that_are_said_to_be_categories_stay_so_in_small_nets():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(160, 24))
    X[:, 4] = rng.integers(0, 6, size=160)
    y = np.isin(X[:, 4], [0, 3, 4])
    estimator = small(categorical_features=[4])
    selector = quick(estimator, max_features=1, refine=True).fit(X, y)
    assert_array_equal(selector.get_support(indices=True), [4])


def test_pipeline_search_clone_and_pickle(planted):
    X, y = planted
    pipe = make_pipeline(quick(), LogisticRegression())
    grid = {
        "attentionselector__max_features": [1, 2],
        "attentionselector__estimator__architecture__num_heads": [2, 4],
    }
    search = GridSearchCV(pipe, grid, cv=2).fit(X, y)
    assert search.best_params_["attentionselector__max_features"] == 2
    assert search.score(X, y) > 0.9
    best = search.best_estimator_[0]
    heads = search.best_params_["attentionselector__estimator__architecture__num_heads"]
    assert best.estimator_.architecture_.num_heads == heads
    copy = pickle.loads(pickle.dumps(best))
    assert_array_equal(copy.transform(X), best.transform(X))
    again = clone(best).fit(X, y)
    assert_array_equal(again.importances_, best.importances_)
    with pytest.raises(NotFittedError):
        clone(best).transform(X)


def test_a_linear_model_beside_the_net_is_left_out_unless_asked_for(planted):
    X, y = planted
    selector = quick(small(linear_skip="auto")).fit(X, y)
    assert selector.estimator_.linear_skip is False
    assert selector.estimator.linear_skip == "auto"
    beside = quick(small(linear_skip=True, max_epochs=1))
    with pytest.warns(UserWarning, match="do not depend on attention"):
        kept = beside.fit(X, y)
    assert kept.estimator_.linear_skip is True


def test_warns_of_an_explanation_that_is_not_faithful():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 12)), rng.integers(0, 2, size=120)
    estimator = small(max_epochs=1, lr=1e-6)
    with pytest.warns(UserWarning, match=r"not faithful \(p = .*on 24 held-out rows"):
        selector = quick(estimator, method="raw", check_faithfulness=True).fit(X, y)
    assert not selector.faithfulness_.is_faithful
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(estimator, method="raw").fit(X, y)


def test_threshold_reads_as_in_select_from_model(planted):
    X, y = planted
    selector = quick(threshold="1.5*median").fit(X, y)
    importances = selector.importances_
    assert_allclose(selector.threshold_, 1.5 * np.median(importances))
    assert_array_equal(selector.support_, importances >= selector.threshold_)
    assert_allclose(quick().fit(X, y).threshold_, importances.mean())
    both = quick(threshold="mean", max_features=1).fit(X, y)
    assert_array_equal(both.get_support(indices=True), [importances.argmax()])
    half = quick(max_features=lambda X: X.shape[1] // 2).fit(X, y)
    assert half.max_features_ == 4
    assert half.threshold_ == -np.inf
    assert not hasattr(half.set_params(max_features=None).fit(X, y), "max_features_")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_features": 9}, "max_features=9 must be an integer from 1 to 8"),
        ({"max_features": 0}, "'max_features' parameter"),
        ({"max_features": lambda X: 2.5}, "max_features=2.5 must be"),
        ({"threshold": "most"}, "threshold='most' must be a number"),
        ({"threshold": "x*mean"}, r"threshold='x\*mean' must be"),
        ({"method": "flow"}, "'method' parameter"),
        ({"prefit": True, "estimator": None}, "prefit=True needs a fitted"),
        ({"estimator": AttentionClassifier("gat", max_epochs=1)}, "'gat' attends to"),
    ],
)
def test_refuses(planted, params, message):
    with pytest.raises(ValueError, match=message):
        quick(small(max_epochs=1)).set_params(**params).fit(*planted)


def test_refuses_estimators_without_attention(planted):
    with pytest.raises(TypeError, match="LogisticRegression has none"):
        quick(LogisticRegression()).fit(*planted)
    with pytest.raises(NotFittedError):
        quick(small(), prefit=True).fit(*planted)
