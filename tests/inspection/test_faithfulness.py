"""Faithfulness: areas that a person can compute, and what is better than chance."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch
from sktime.datasets import load_airline, load_unit_test

from skattn import (
    AttentionClassifier,
    AttentionForecaster,
    AttentionRegressor,
    AttentionTagger,
    AttentionTimeSeriesClassifier,
    Graph,
    NodeClassifier,
)
from skattn.architectures import GAT, SelfAttention, TextEncoder
from skattn.inspection import attention_rollout, faithfulness
from skattn.inspection._faithfulness import _p_value
from skattn.text import TokenEncoder

OPTIONS = {"max_epochs": 1, "random_state": 0, "num_threads": 1, "linear_skip": False}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1)
TRUTH = np.array([0.5, 0.3, 0.1])


class Sum(ClassifierMixin, BaseEstimator):
    """Knows that the class is 1 with probability 0.1 + 0.5 a + 0.3 b + 0.1 c."""

    classes_ = np.array(["no", "yes"])
    n_calls = 0

    def predict_proba(self, X):
        self.n_calls += 1
        p = 0.1 + np.stack([np.asarray(x, dtype=float).ravel()[:3] @ TRUTH for x in X])
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Weighted(RegressorMixin, BaseEstimator):
    """Knows numbers, of one target or of several."""

    def __init__(self, weights):
        self.weights = weights

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.asarray(X) @ self.weights


class OfMeans(Weighted):
    """Looks at the mean of each channel of series."""

    def predict(self, X):
        return super().predict(X.mean(axis=2))


def ones(n=20, **params):
    """Samples of ones, of which a hidden position is zero."""
    X = np.ones((n, 3))
    return X, {"perturb": "mean", "background": np.zeros((2, 3)), **params}


def test_areas_by_hand():
    X, params = ones(n_steps=3, random_state=0)
    result = faithfulness(Sum(), X, None, TRUTH, **params)
    assert_allclose(result.fractions, [0, 1 / 3, 2 / 3, 1])
    deletion, insertion = result.curves["deletion"], result.curves["insertion"]
    assert_allclose(deletion["explanation"], [1.0, 0.5, 0.2, 0.1])
    assert_allclose(insertion["explanation"], [0.1, 0.6, 0.9, 1.0])
    areas = result.areas
    assert_allclose(areas["deletion"]["explanation"], (0.75 + 0.35 + 0.15) / 3)
    assert_allclose(areas["insertion"]["explanation"], (0.35 + 0.75 + 0.95) / 3)
    assert_allclose(result.comprehensiveness["explanation"], 1 - (0.5 + 0.2) / 2)
    assert_allclose(result.sufficiency["explanation"], 1 - (0.6 + 0.9) / 2)
    # Hiding each column by itself finds the same order.
    assert_allclose(deletion["permutation"], deletion["explanation"])
    # A position is hidden by a third of all random orders at each step.
    assert_allclose(deletion["random"], [1.0, 0.7, 0.4, 0.1], atol=0.05)
    assert_allclose(insertion["random"], [0.1, 0.4, 0.7, 1.0], atol=0.05)
    assert_allclose(result.sample_areas["deletion"]["explanation"], [1.25 / 3] * 20)
    assert_allclose(
        result.sample_areas["deletion"]["random"].mean(), areas["deletion"]["random"]
    )
    assert (result.axis, result.perturb) == ("features", "mean")


def test_a_true_ranking_is_faithful_and_its_reverse_is_not():
    X, params = ones(random_state=0)
    result = faithfulness(Sum(), X, None, TRUTH, **params)
    assert result.p_value < 0.001
    assert result.is_faithful
    assert 1 / 11 <= result.chance < 0.5
    reverse = faithfulness(Sum(), X, None, -TRUTH, **params)
    assert reverse.p_value > 0.999
    assert not reverse.is_faithful
    assert reverse.chance > 0.5
    for curve, sign in [("deletion", 1), ("insertion", -1)]:
        area, worse = result.areas[curve], reverse.areas[curve]
        assert sign * area["explanation"] < sign * area["random"]
        assert sign * worse["explanation"] > sign * worse["random"]


class First(Sum):
    """Looks at the first of many columns, and a little at the second."""

    def predict_proba(self, X):
        p = 0.1 + 0.5 * X[:, 0] + 0.1 * X[:, 1]
        return np.column_stack([1 - p, p])


def test_a_shared_order_must_not_be_better_by_luck_alone():
    # To hide the column second is better than most random orders of all samples, which
    # no number of samples makes significant.
    X = np.ones((30, 6))
    params = {"perturb": "mean", "background": np.zeros((2, 6)), "random_state": 0}
    lucky = faithfulness(First(), X, None, np.array([2, 0, 3, 0, 0, 0]), **params)
    assert lucky.p_value < 0.001
    assert lucky.chance > 1 / 11
    assert not lucky.is_faithful
    best = faithfulness(First(), X, None, np.array([3, 2, 0, 0, 0, 0]), **params)
    assert best.chance == 1 / 11
    assert best.is_faithful


def test_alpha_decides():
    X, params = ones(n=4, random_state=0)
    p_value = faithfulness(Sum(), X, None, TRUTH, **params).p_value
    assert 0 < p_value < 0.05
    strict = faithfulness(Sum(), X, None, TRUTH, alpha=p_value, **params)
    assert strict.p_value == p_value
    assert not strict.is_faithful


def test_p_values_of_random_importances_are_uniform():
    rng = np.random.default_rng(0)
    X, params = ones(n=15, n_random=8, n_steps=3)
    p_values = np.array(
        [
            faithfulness(
                Sum(), X, None, rng.random((15, 3)), random_state=seed, **params
            ).p_value
            for seed in range(60)
        ]
    )
    assert 0.4 < p_values.mean() < 0.6
    assert (p_values < 0.1).mean() < 0.25
    assert (p_values > 0.9).mean() < 0.25


def test_p_value_counts_exchanged_orders():
    generator = np.random.default_rng(0)
    gain = np.array([1.0, 1.0])
    # One of the four ways to take an order for each sample is as good.
    assert_allclose(_p_value(gain, np.zeros((1, 2)), generator), 0.25, atol=0.02)
    assert_allclose(_p_value(gain, np.ones((3, 2)), generator), 1.0)
    assert_allclose(_p_value(gain, np.array([[0.0, 2.0]]), generator), 3 / 4, atol=0.02)


def test_one_curve():
    X, params = ones(random_state=0)
    result = faithfulness(Sum(), X, None, TRUTH, curves=["insertion"], **params)
    assert list(result.curves) == list(result.areas) == ["insertion"]
    assert result.comprehensiveness == {}
    assert set(result.sufficiency) == {"explanation", "random", "permutation"}
    assert result.is_faithful


def test_more_steps_than_positions_ask_nothing_twice():
    X, params = ones(n_random=1, random_state=0)
    few, many = Sum(), Sum()
    curves = [
        faithfulness(each, X, None, TRUTH, n_steps=steps, **params).curves
        for each, steps in [(few, 3), (many, 30)]
    ]
    assert few.n_calls == many.n_calls
    assert_allclose(
        curves[0]["deletion"]["explanation"],
        curves[1]["deletion"]["explanation"][::10],
    )


def test_numbers_and_several_targets():
    X, params = ones(n_steps=3, random_state=0)
    result = faithfulness(
        Weighted(np.array([3.0, -2.0, 0.0])), X, None, [3, 2, 0], **params
    )
    curve = result.curves["deletion"]["explanation"]
    assert_allclose(curve, [0, -3, -1, -1])
    both = Weighted(np.array([[3.0, 1.0], [-2.0, 0.0], [0.0, 0.0]]))
    result = faithfulness(both, X, np.tile([1.0, 1.0], (20, 1)), [3, 2, 0], **params)
    assert_allclose(result.curves["deletion"]["explanation"], [0, -2, -1, -1])


def test_several_labels():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    estimator = AttentionClassifier(SMALL, **{**OPTIONS, "linear_skip": True}).fit(X, y)
    result = faithfulness(estimator, X, y, [1, 1, 0], random_state=0)
    assert result.is_faithful
    labels = np.where(y, "yes", "no").astype(object)
    estimator.fit(X, labels)
    result = faithfulness(estimator, X, labels, [1, 1, 0], random_state=0)
    assert result.is_faithful


def test_the_permutation_ranking_is_of_y():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    estimator = Weighted(np.array([1.0, 2.0]))
    # The model relies on the second column, but y on the first alone.
    params = {"random_state": 0, "n_steps": 2}
    by_model = faithfulness(estimator, X, None, [1, 0], **params)
    by_truth = faithfulness(estimator, X, 3 * X[:, 0] + X[:, 1], [1, 0], **params)
    scored = faithfulness(
        estimator, X, 3 * X[:, 0] + X[:, 1], [1, 0], scoring="r2", **params
    )
    curves = by_truth.curves["deletion"]
    assert_allclose(curves["permutation"], curves["explanation"])
    assert_allclose(scored.curves["deletion"]["permutation"], curves["permutation"])
    curves = by_model.curves["deletion"]
    assert curves["permutation"][1] < curves["explanation"][1]


def test_equal_importances_are_ordered_at_random():
    X, params = ones(n=200, n_steps=3, random_state=0)
    result = faithfulness(Sum(), X, None, [1, 1, 0], **params)
    assert_allclose(
        result.curves["deletion"]["explanation"], [1, 0.6, 0.2, 0.1], atol=0.03
    )


def test_an_explanation_that_ranks_nothing():
    X, params = ones(random_state=0)
    with pytest.warns(UserWarning, match="ranks nothing"):
        result = faithfulness(Sum(), X, None, np.ones((20, 3)), **params)
    assert result.p_value == 1
    assert not result.is_faithful


def test_reproducible_and_without_traces():
    rng = np.random.default_rng(0)
    X = rng.random(size=(20, 3))
    kept = X.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    results = [
        faithfulness(Sum(), X, None, TRUTH, random_state=seed) for seed in (3, 3, 4)
    ]
    assert_array_equal(X, kept)
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    random = [result.curves["deletion"]["random"] for result in results]
    assert_array_equal(random[0], random[1])
    assert (random[0] != random[2]).any()
    assert results[0].p_value == results[1].p_value


# Axes


def test_samples_of_unequal_lengths():
    X = [np.ones((1, length)) for length in (3, 5, 4) * 5]
    params = {"perturb": "mean", "background": [np.zeros((1, 5))] * 2, "axis": "time"}
    given = np.zeros((15, 5))
    given[:, :3] = TRUTH
    given[:, 3:] = 0.01
    result = faithfulness(Sum(), X, None, given, random_state=0, **params)
    assert result.chance is None
    assert result.is_faithful
    # Each step hides a share of the length of each series: 1/5 is nothing of two.
    sample = result.sample_areas["deletion"]["explanation"]
    assert_array_equal(np.unique(sample.round(9)), np.unique(sample[:3].round(9)))
    assert_allclose(
        result.curves["deletion"]["permutation"],
        result.curves["deletion"]["explanation"],
    )


def test_many_positions_are_hidden_in_blocks():
    X = np.ones((3, 1, 300))
    estimator = Sum()
    given = np.r_[TRUTH, np.zeros(297)]
    result = faithfulness(
        estimator,
        X,
        None,
        given,
        axis="time",
        background=np.zeros((2, 1, 300)),
        n_random=1,
        n_steps=2,
        curves=["deletion"],
        random_state=0,
    )
    # Labels, whole and hidden ones, 128 blocks, and half a sample by each ranking.
    assert estimator.n_calls == 4 + 128 + 4
    assert_allclose(result.curves["deletion"]["permutation"], [1, 0.1, 0.1])


def planted_table(n=40):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    X.insert(1, "colour", rng.choice(["red", "blue", "green"], size=n))
    y = np.where(X["colour"] == "red", "yes", "no")
    return X, y


def test_columns_of_a_frame():
    X, y = planted_table()
    estimator = AttentionClassifier(SMALL, **{**OPTIONS, "linear_skip": True}).fit(X, y)
    params = {"n_random": 5, "random_state": 0}
    result = faithfulness(estimator, X, y, [0, 1, 0, 0, 0, 0], **params)
    assert result.is_faithful
    # Attention sees the categories behind the numbers.
    places = Bunch(importances=np.tile([0.0] * 5 + [1], (40, 1)), axis="features")
    same = faithfulness(estimator, X, y, places, **params)
    assert_allclose(
        same.areas["deletion"]["explanation"], result.areas["deletion"]["explanation"]
    )


@pytest.mark.parametrize("given", ["attention_rollout", attention_rollout])
def test_explanations_by_name(given):
    X, y = planted_table()
    estimator = AttentionClassifier(SMALL, **OPTIONS).fit(X, y)
    result = faithfulness(estimator, X, y, given, n_random=2, random_state=0)
    same = faithfulness(
        estimator, X, y, attention_rollout(estimator, X), n_random=2, random_state=0
    )
    assert_allclose(
        result.areas["deletion"]["explanation"], same.areas["deletion"]["explanation"]
    )


def test_a_pipeline_is_tested_at_its_last_step_or_as_a_whole():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) * [1, 10, 100]
    y = X[:, 2] > 0
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    assert faithfulness(pipeline, X, y, [0, 0, 1], random_state=0).is_faithful
    inner = Bunch(importances=np.tile([0, 0, 1], (40, 1)), axis="features")
    result = faithfulness(
        pipeline, X, y, inner, background=X[:5], random_state=0, perturb="mean"
    )
    assert result.is_faithful


def planted_texts(n=30):
    rng = np.random.default_rng(0)
    X, y = [], []
    for number in range(n):
        words = list(rng.choice(["the", "film", "has", "scenes", "of"], size=5))
        words.insert(rng.integers(6), ["bad", "good"][number % 2])
        X.append(" ".join(words))
        y.append(number % 2)
    return X, y


def test_texts():
    X, y = planted_texts()
    params = {**OPTIONS, "max_epochs": 15}
    params["linear_skip"] = True  # it is perturbed as well
    estimator = AttentionClassifier(TextEncoder(d_model=8), **params).fit(X, y)
    tokens = estimator.token_encoder_.tokenize(X)
    given = np.array([[token in ("bad", "good") for token in each] for each in tokens])
    explanation = Bunch(importances=given, axis="tokens", names=tokens)
    result = faithfulness(
        estimator, X, y, explanation, n_random=4, n_steps=6, random_state=0
    )
    assert (result.axis, result.perturb, result.chance) == ("tokens", "delete", None)
    assert result.is_faithful
    same = faithfulness(estimator, X, y, given, n_random=4, n_steps=6, random_state=0)
    assert same.p_value == result.p_value


def test_texts_before_a_token_encoder():
    X, y = planted_texts(20)
    params = {**OPTIONS, "max_epochs": 15}
    pipeline = make_pipeline(
        TokenEncoder(), AttentionClassifier(TextEncoder(d_model=8), **params)
    ).fit(X, y)
    given = np.array([[w in ("bad", "good") for w in text.split()] for text in X])
    explanation = Bunch(importances=given, axis="tokens")
    result = faithfulness(
        pipeline, X, y, explanation, n_random=4, n_steps=6, random_state=0
    )
    assert result.is_faithful


def test_panels_of_sktime():
    X, y = load_unit_test(split="train", return_type="nested_univ")
    options = {name: OPTIONS[name] for name in ("max_epochs", "random_state")}
    estimator = AttentionTimeSeriesClassifier(SMALL, **options).fit(X, y)
    result = faithfulness(
        estimator, X, y, "attention_rollout", n_random=2, n_steps=4, random_state=0
    )
    assert result.axis == "time"
    arrays = np.stack([[series.to_numpy() for series in row] for row in X.to_numpy()])
    same = faithfulness(
        estimator.estimator_,
        arrays,
        y,
        "attention_rollout",
        n_random=2,
        n_steps=4,
        random_state=0,
    )
    assert_allclose(
        same.areas["deletion"]["random"], result.areas["deletion"]["random"]
    )


def test_graphs():
    rng = np.random.default_rng(0)
    X = [
        Graph.from_edges([(0, 1), (1, 2), (2, 3)][: n - 1], rng.normal(size=(n, 2)))
        for n in (3, 4, 2, 4) * 3
    ]
    estimator = AttentionRegressor(GAT(), max_epochs=1, random_state=0)
    estimator.fit(X, [graph.x[0, 0] for graph in X])
    widths = {"edges": 6, "nodes": 4}
    for axis, width in widths.items():
        given = np.arange(12 * width).reshape(12, width)
        result = faithfulness(
            estimator, X, None, given, axis=axis, n_random=2, random_state=0
        )
        assert result.axis == axis
        assert result.curves["deletion"]["explanation"][-1] < 0


def test_nodes_of_one_graph():
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    edges = [(i, i + 1) for i in range(23)]
    x = np.zeros((24, 2))
    x[:, 0] = y
    graph = Graph.from_edges(edges, x + 0.1 * rng.normal(size=(24, 2)))
    estimator = NodeClassifier(GAT(), graph=graph, max_epochs=30, random_state=0)
    estimator.fit(graph.nodes, y)
    ids = graph.nodes[:5]
    given = np.zeros((5, 24))
    given[:, :7] = 1  # what the first nodes look at
    params = {"axis": "nodes", "n_random": 20, "n_steps": 4, "random_state": 0}
    result = faithfulness(estimator, ids, y[:5], given, **params)
    assert result.is_faithful
    assert result.p_value == result.chance == 1 / 21
    same = faithfulness(estimator, ids, y[:5], csr_array(given), **params)
    assert_allclose(
        same.curves["deletion"]["explanation"], result.curves["deletion"]["explanation"]
    )
    del params["n_random"]
    assert faithfulness(estimator, ids, y[:5], given, **params).p_value == 1 / 21
    with pytest.raises(ValueError, match=r"Pass n_random=20 or more\."):
        faithfulness(estimator, ids, y[:5], given, axis="nodes", n_random=10)


# Errors


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"curves": []}, "curves=.* must be a list with 'deletion'"),
        ({"curves": "deletion"}, "must be a list"),
        ({"curves": ["removal"]}, "must be a list"),
        ({"n_steps": 1}, "n_steps=1 must be an integer from 2 on"),
        ({"n_random": 0}, "n_random=0 must be an integer from 1 on"),
        ({"alpha": 1}, "alpha=1 must be a number between 0 and 1"),
        ({"perturb": "delete"}, "Use one of 'auto', 'permute'"),
        ({"axis": "tokens"}, "those along 'features' can"),
    ],
)
def test_wrong_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        faithfulness(Sum(), np.ones((4, 3)), None, TRUTH, **params)


@pytest.mark.parametrize(
    ("explanation", "error", "message"),
    [
        (np.ones((3, 3)), ValueError, "of 3 samples, but X has 4"),
        (np.ones((4, 2)), ValueError, "has 2 positions, but X has 3"),
        (np.ones((4, 3, 2)), ValueError, "Of several classes, pass those"),
        (np.full(3, np.nan), ValueError, "NaN, which has no rank"),
        (["a", "b", "c"], TypeError, "must be a Bunch, an array of numbers"),
        (Bunch(records=[]), TypeError, r"this Bunch has \['records'\]"),
        ("rollout", ValueError, "must be one of 'attention_flow'"),
    ],
)
def test_wrong_explanations(explanation, error, message):
    with pytest.raises(error, match=message):
        faithfulness(Sum(), np.ones((4, 3)), None, explanation)


def test_an_axis_beside_the_first_one():
    X = np.ones((6, 3, 2))
    time = Bunch(importances=np.ones((6, 2)), axis="time")
    channels = Bunch(importances=np.tile(TRUTH, (6, 1)), axis="channels")
    given = Bunch(by_axis={"time": time, "channels": channels}, **time)
    estimator = OfMeans(TRUTH)
    result = faithfulness(
        estimator, X, None, given, axis="channels", background=0 * X, random_state=0
    )
    assert result.axis == "channels"
    curve = faithfulness(
        estimator, X, None, TRUTH, axis="channels", background=0 * X, random_state=0
    ).curves["deletion"]["explanation"]
    assert_allclose(result.curves["deletion"]["explanation"], curve)
    assert_allclose(curve[[0, 5, 10]], [0, -0.8, -0.9])


def test_an_axis_that_the_explanation_has_not():
    given = Bunch(importances=np.ones((4, 3)), axis="time")
    given.by_axis = {"time": given}
    with pytest.raises(ValueError, match="no axis 'channels', but 'time'"):
        faithfulness(Sum(), np.ones((4, 1, 3)), None, given, axis="channels")


def test_an_array_of_an_unknown_axis():
    with pytest.raises(ValueError, match=r"the axes 'time', 'channels'\. Pass axis="):
        faithfulness(Sum(), np.ones((4, 1, 3)), None, TRUTH)


def test_one_sample():
    with pytest.raises(ValueError, match="X has 1 sample"):
        faithfulness(Sum(), np.ones((1, 3)), None, TRUTH, background=np.zeros((2, 3)))


def test_labels_that_the_estimator_does_not_know():
    X, params = ones(n=3)
    with pytest.raises(ValueError, match="y holds 'maybe', which is none"):
        faithfulness(Sum(), X, ["yes", "maybe", "no"], TRUTH, **params)
    with pytest.raises(ValueError, match=r"y has shape \(2,\), but X has 3 samples"):
        faithfulness(Sum(), X, ["yes", "no"], TRUTH, **params)


def test_scoring_needs_shared_positions_and_y():
    X, params = ones(n=4)
    with pytest.raises(ValueError, match="needs y, and samples that share"):
        faithfulness(Sum(), X, None, TRUTH, scoring="accuracy", **params)


def test_estimators_without_one_answer_for_a_sample():
    y = load_airline()
    forecaster = AttentionForecaster(max_epochs=1).fit(y, fh=[1])
    with pytest.raises(TypeError, match=r"AttentionForecaster is neither.*head_imp"):
        faithfulness(forecaster, None, None, [1, 2])
    texts = [["a", "b"], ["c", "a"]] * 4
    tagger = AttentionTagger(max_epochs=1).fit(texts, texts)
    with pytest.raises(TypeError, match=r"AttentionTagger is neither.*head_imp"):
        faithfulness(tagger, texts, None, [1, 2])


def test_unfitted_estimators():
    with pytest.raises(NotFittedError):
        faithfulness(AttentionClassifier(), np.ones((4, 3)), None, TRUTH)
    with pytest.raises(NotFittedError):
        faithfulness(LinearRegression(), np.ones((4, 3)), None, TRUTH)
