"""The controls that attention has to pass before it is read as an explanation."""

import numpy as np
import pandas as pd
import pytest
import torch
from _planted import graphs, noise, stars
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skattn import (
    AttentionClassifier,
    AttentionForecaster,
    AttentionRegressor,
    AttentionTagger,
    AttentionTimeSeriesClassifier,
    NodeClassifier,
)
from skattn.architectures import GATv2, SelfAttention
from skattn.inspection import attention_sanity_check, last_attention
from skattn.inspection._changes import uniform_weights
from skattn.inspection._sanity import (
    _agreement,
    _p_value,
    _permuting,
    _standard_ranks,
)
from skattn.nn import Recorded, recording

CONTROLS = ["chance", "uniform", "permuted", "seeds", "randomised", "shuffled"]
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1)
OPTIONS = {"max_epochs": 2, "num_threads": 1}


def classifier(**params):
    return AttentionClassifier(SMALL, **{"linear_skip": False, **OPTIONS, **params})


def check(estimator, X, y, **params):
    options = {"n_repeats": 2, "random_state": 0, "controls": [], **params}
    return attention_sanity_check(estimator, X, y, **options)


def by_control(result):
    return result.table.set_index("control")


def recorded(weights, **fields):
    options = {"layer": "0", "kind": "self", "queries": "time", "keys": "time"}
    return Recorded(torch.as_tensor(weights), **{**options, **fields})


def attend(seed=0, shape=(2, 3, 4, 5)):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator).softmax(dim=-1)


# What it says


def test_a_model_of_noise_is_refused():
    X, y = noise(120)
    result = check(classifier(max_epochs=5), X, y, controls=CONTROLS[1:])
    assert not result.is_explanation
    assert "the model is not clearly better than chance" in result.verdict
    assert list(result.table["control"]) == CONTROLS
    chance = by_control(result).loc["chance"]
    assert not chance["passed"]
    assert chance["p_value"] > 0.05
    assert chance["score"] == pytest.approx(0.5, abs=0.1)


def test_a_model_of_noise_is_refused_that_knows_its_training_rows():
    X, y = noise(100, n_columns=12)
    clf = classifier(max_epochs=25, lr=3e-2)
    assert clf.set_params(random_state=0).fit(X, y).score(X, y) > 0.9
    result = check(clf, X, y, controls=["permuted"])
    assert not result.is_explanation
    assert result.verdict.startswith(
        "Attention is no explanation here: the model is not clearly better than chance"
    )


def test_a_model_of_planted_truth_is_accepted():
    data = graphs(400)
    net = GATv2(num_heads=4, num_layers=1)
    clf = AttentionClassifier(net, lr=2e-2, **{**OPTIONS, "max_epochs": 10})
    result = check(clf, data.X, data.y, controls=CONTROLS[1:], scoring="neg_log_loss")
    assert result.is_explanation, result.verdict
    assert result.verdict.startswith("Attention may be read as an explanation here: ")
    assert result.score > -0.2
    assert result.n_held_out == 100
    rows = by_control(result)
    assert rows["passed"].all()
    assert rows.loc["seeds", "agreement"] > rows.loc["shuffled", "agreement"] + 0.2
    assert rows.loc["permuted", "prediction_change"] > 0.1
    assert rows.loc["uniform", "score_drop"] == pytest.approx(
        result.score - rows.loc["uniform", "score"]
    )


def test_attention_that_is_not_needed_is_refused():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 3))
    y = (X.sum(axis=1) > 0).astype(int)
    result = check(
        classifier(max_epochs=20, lr=1e-2, linear_skip=True), X, y, controls=["uniform"]
    )
    rows = by_control(result)
    assert rows.loc["chance", "passed"]
    assert not rows.loc["uniform", "passed"]
    assert not result.is_explanation
    assert "attention is not needed" in result.verdict
    assert "(uniform)" in result.verdict
    assert "linear_skip=False" in result.verdict


def test_the_table_has_a_row_for_each_control_asked_for():
    X, y = noise(60)
    result = check(classifier(), X, y, controls=["seeds", "uniform"])
    assert list(result.table["control"]) == ["chance", "uniform", "seeds"]
    assert list(result.table.columns) == [
        "control",
        "score",
        "score_std",
        "score_drop",
        "agreement",
        "prediction_change",
        "p_value",
        "passed",
        "meaning",
    ]
    assert result.table["passed"].dtype == bool
    assert result.table["agreement"].notna().tolist() == [False, False, True]


def test_one_seed_one_result():
    X, y = noise(40)
    controls = ["permuted", "randomised", "shuffled"]
    first, again, other = (
        check(classifier(), X, y, controls=controls, random_state=seed)
        for seed in (0, 0, 1)
    )
    assert_frame_equal(first.table, again.table)
    assert not first.table.equals(other.table)


def test_the_estimator_is_left_as_it_is():
    X, y = noise(60)
    clf = classifier(random_state=3)
    check(clf, X, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(clf)
    assert clf.random_state == 3
    before = clf.fit(X, y).predict_proba(X)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    check(clf, X, y, controls=CONTROLS[1:])
    assert_array_equal(clf.predict_proba(X), before)
    assert torch.equal(torch.get_rng_state(), state)


# What it takes


def test_a_regressor_and_a_data_frame():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc"))
    reg = AttentionRegressor(SMALL, lr=2e-2, **{**OPTIONS, "max_epochs": 10})
    result = check(reg, X, 3 * X["a"], controls=["permuted", "seeds"])
    rows = by_control(result)
    assert rows.loc["chance", "passed"]
    assert 0.5 < result.score <= 1
    assert rows.loc["permuted", "prediction_change"] >= 0


def test_a_pipeline_and_a_search():
    X, y = noise(60)
    pipeline = make_pipeline(StandardScaler(), classifier())
    result = check(pipeline, X, y, controls=["randomised", "permuted"])
    grid = {"attentionclassifier__lr": [1e-3]}
    search = GridSearchCV(pipeline, grid, cv=2)
    with pytest.raises(TypeError, match="GridSearchCV is none"):
        check(search, X, y)
    searched = check(search.fit(X, y), X, y)
    assert searched.n_held_out == result.n_held_out == 15


def test_nodes_of_a_graph():
    graph, data = stars(60)
    clf = NodeClassifier(GATv2(num_heads=2, num_layers=1), graph=graph, **OPTIONS)
    result = check(clf, data.X, data.y, controls=CONTROLS[1:])
    agreement = by_control(result)["agreement"]
    assert agreement[["seeds", "randomised", "shuffled"]].between(-1, 1).all()


def test_several_targets_and_many_labels():
    X, y = noise(80)
    labels = np.stack([y, 1 - y], axis=1)
    result = check(classifier(), X, labels, controls=["permuted"])
    assert 0 <= by_control(result).loc["permuted", "prediction_change"] <= 1
    names = np.array([["a", "b", "c"], ["d", "e", "f"]])
    rng = np.random.default_rng(0)
    targets = np.stack([row[rng.integers(3, size=80)] for row in names], axis=1)

    def first_target(estimator, X, y):
        return accuracy_score(y[:, 0], estimator.predict(X)[:, 0])

    result = check(
        classifier(), X, targets, controls=["permuted"], scoring=first_target
    )
    assert 0 <= by_control(result).loc["permuted", "prediction_change"] <= 1


def test_series_of_sktime():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 1, 8)), np.arange(40) % 2
    clf = AttentionTimeSeriesClassifier(SMALL, **OPTIONS)
    result = check(clf, X, y, controls=["randomised", "uniform"])
    assert list(result.table["control"]) == ["chance", "uniform", "randomised"]


def test_scorers():
    X, y = noise(60)
    accuracy = check(classifier(), X, y, controls=["permuted"])
    scorer = make_scorer(accuracy_score)
    same = check(classifier(), X, y, controls=["permuted"], scoring=scorer)
    assert_frame_equal(accuracy.table, same.table)
    loss = check(classifier(), X, y, controls=["permuted"], scoring="neg_log_loss")
    assert loss.score < 0


def test_splits():
    X, y = noise(60)
    assert check(classifier(), X, y, cv=0.5).n_held_out == 30
    assert check(classifier(), X, y, cv=KFold(3)).n_held_out == 20
    split = [(np.arange(50), np.arange(50, 60))]
    assert check(classifier(), X, y, cv=split).n_held_out == 10
    assert check(classifier(), X, [*y[:-1], 2]).n_held_out == 15


def test_explanations():
    X, y = noise(60)
    named = check(classifier(), X, y, controls=["seeds"], explain="last_attention")
    passed = check(
        classifier(),
        X,
        y,
        controls=["seeds"],
        explain=lambda *given: last_attention(*given).importances,
    )
    assert_frame_equal(named.table, passed.table)


# Weights that controls change


def test_uniform_weights():
    weights = attend()
    assert_allclose(uniform_weights(recorded(weights)), 1 / 5, rtol=1e-6)
    mask = torch.tensor([True, True, False, True, False])[None, None, None]
    weights = weights * mask / (weights * mask).sum(dim=-1, keepdim=True)
    expected = np.broadcast_to([1 / 3, 1 / 3, 0, 1 / 3, 0], weights.shape)
    assert_allclose(uniform_weights(recorded(weights, mask=mask)), expected, rtol=1e-6)


def test_uniform_weights_of_edges():
    edge_index = torch.tensor([[1, 2, 3, 0], [0, 0, 0, 2]])
    weights = torch.tensor([[0.5], [0.3], [0.2], [1.0]])
    found = uniform_weights(recorded(weights, edge_index=edge_index))
    assert_allclose(found[:, 0], [1 / 3, 1 / 3, 1 / 3, 1], rtol=1e-6)


def test_permuted_weights_stay_among_the_keys_of_a_query():
    mask = torch.tensor([True, True, False, True, True])[None, None, None]
    weights = attend(shape=(20, 3, 4, 5)) * mask
    permute = _permuting(0)
    found = permute(recorded(weights, mask=mask))
    assert_array_equal(found[..., 2], 0)
    assert_array_equal(found.sort(dim=-1).values, weights.sort(dim=-1).values)
    moved = (found != weights)[..., [0, 1, 3, 4]].float().mean(dim=(0, 1, 2))
    assert_allclose(moved, 3 / 4, atol=0.1)
    assert not torch.equal(permute(recorded(weights, mask=mask)), found)
    assert torch.equal(_permuting(0)(recorded(weights, mask=mask)), found)


def test_permuted_weights_of_edges_stay_at_their_node():
    target = torch.tensor([2, 0, 0, 2, 0, 1, 0, 2])
    weights = torch.arange(16.0).reshape(8, 2)
    edge_index = torch.stack([torch.arange(8), target])
    permute = _permuting(0)
    seen = set()
    for _ in range(20):
        found = permute(recorded(weights, edge_index=edge_index))
        for node in range(3):
            for head in range(2):
                assert sorted(found[target == node, head].tolist()) == (
                    weights[target == node, head].tolist()
                )
        seen.add(tuple(found[:, 0].tolist()))
    assert len(seen) > 10


@pytest.mark.parametrize("change", [uniform_weights, _permuting(0)])
def test_changed_weights_change_predictions(change):
    X, y = noise(60)
    clf = classifier(max_epochs=20, lr=1e-2, random_state=0).fit(X, y)
    plain = clf.predict_proba(X)
    with recording(change):
        changed = clf.predict_proba(X)
    assert np.abs(plain - changed).max() > 1e-3


# Statistics


def test_agreement_is_spearmans():
    rng = np.random.default_rng(0)
    first, second, third = rng.integers(4, size=(3, 6, 5)).astype(float)
    ranks = _standard_ranks({"a": [first, second], "b": [third]})
    each = _agreement(ranks["a"], ranks["b"])
    expected = [spearmanr(*rows).statistic for rows in zip(first, third, strict=True)]
    assert_allclose(each[0], expected, atol=1e-12)
    among = _agreement(ranks["a"], ranks["a"], apart=True)
    expected = [spearmanr(*rows).statistic for rows in zip(first, second, strict=True)]
    assert_allclose(among, [expected, expected], atol=1e-12)


def test_padding_ranks_nothing():
    first = np.array([[3.0, 1, 2, 0, 0], [1, 2, 3, 4, 5], [1, 0, 0, 0, 0]])
    second = np.array([[1.0, 2, 3, 0, 0], [1, 2, 3, 4, 5], [1, 0, 0, 0, 0]])
    ranks = _standard_ranks({"a": [first], "b": [second]})
    assert ranks["a"].shape == (1, 2, 5)  # the last sample has one position
    assert_allclose(_agreement(ranks["a"], ranks["b"]), [[-0.5, 1]], atol=1e-12)


def test_sparse_importances_rank_the_nodes_that_matter():
    first = sparse.csr_array([[0, 3.0, 0, 1, 2], [1, 0, 2, 0, 0]])
    second = sparse.csr_array([[0, 1.0, 0, 2, 3], [1, 0, 2, 0, 0]])
    ranks = _standard_ranks({"a": [first], "b": [second]})
    assert_allclose(_agreement(ranks["a"], ranks["b"]), [[-0.5, 1]], atol=1e-12)


def test_p_values_count_what_was_found_too():
    assert _p_value(1.0, np.array([0.0, 1, 2])) == pytest.approx(3 / 4)
    assert _p_value(3.0, np.array([0.0, 1, 2])) == pytest.approx(1 / 4)


# Errors


@pytest.mark.parametrize(
    "estimator",
    [AttentionForecaster(), AttentionTagger()],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_predicts_more_than_labels_is_refused(estimator):
    name = type(estimator).__name__
    with pytest.raises(TypeError, match=f"{name} is no classifier or regressor"):
        attention_sanity_check(estimator, [[0.0]], [0])


def test_what_does_not_attend_is_refused():
    with pytest.raises(TypeError, match="LogisticRegression is none"):
        attention_sanity_check(LogisticRegression(), [[0.0]], [0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"controls": ["uniformly"]}, "controls must be .* got 'uniformly'"),
        ({"controls": "uniform"}, "controls must be a sequence"),
        ({"n_repeats": 1}, "n_repeats=1 must be"),
        ({"alpha": 0.001}, "alpha=0.001 must be"),
        ({"cv": 1.5}, "cv=1.5, the share"),
        ({"explain": "rollout"}, "explain='rollout' is no function"),
    ],
)
def test_arguments_out_of_range(params, message):
    X, y = noise(20)
    with pytest.raises(ValueError, match=message):
        attention_sanity_check(classifier(), X, y, **params)


@pytest.mark.parametrize(
    ("explain", "message"),
    [
        (lambda clf, X: np.ones(3), "explain gave an array of shape"),
        ("attention_entropy", "explain gave a Bunch without importances"),
        (lambda clf, X: np.zeros((len(X), 3)), "explain ranks nothing"),
    ],
)
def test_explanations_that_rank_nothing(explain, message):
    X, y = noise(40)
    with pytest.raises(ValueError, match=message):
        check(classifier(), X, y, controls=["seeds"], explain=explain)
