"""The classifier of nodes, and what it shares with the regressor."""

import copy
import pickle

import joblib
import networkx
import numpy as np
import pandas as pd
import pytest
import torch
from _graphs import changed, draw_graph, have_same_weights, planted, weights_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from skorch.callbacks import Callback

from skattn import Graph, NodeClassifier
from skattn._engine import _node_samples
from skattn.architectures import GAT, GATv2, GraphTransformer

SMALL = GAT(hidden_size=4, num_heads=2, dropout=0.2, attention_dropout=0.2)
ALL = [
    SMALL,
    GATv2(hidden_size=4, num_heads=2, dropout=0.2, attention_dropout=0.2),
    GraphTransformer(d_model=8, num_heads=2, dropout=0.2, attention_dropout=0.3),
]
each_architecture = pytest.mark.parametrize(
    "architecture", ALL, ids=lambda architecture: architecture.name
)
both_modes = pytest.mark.parametrize("mode", ["transductive", "inductive"])

GRAPH, LABELS = planted()
IDS = GRAPH.nodes
TRAIN, TEST = IDS[:60], IDS[60:]


def make(architecture=SMALL, graph=GRAPH, **params):
    defaults = {"max_epochs": 3, "lr": 2e-2, "random_state": 0, "num_threads": 1}
    return NodeClassifier(architecture, graph=graph, **{**defaults, **params})


def fit(*args, **params):
    return make(*args, **params).fit(TRAIN, LABELS[:60])


# Learning


@both_modes
@each_architecture
def test_learns_communities(architecture, mode):
    clf = fit(architecture, mode=mode, max_epochs=30)
    assert clf.score(TEST, LABELS[60:]) > 0.8
    assert_array_equal(clf.classes_, [0, 1, 2])
    assert clf.n_features_in_ == 1
    assert clf.n_iter_ == len(clf.history_) == 30
    assert clf.architecture_.name == architecture.name


@each_architecture
def test_learns_from_sparse_features(architecture):
    graph, labels = planted(is_sparse=True)
    clf = make(architecture, graph, max_epochs=60).fit(TRAIN, labels[:60])
    assert clf.score(TEST, labels[60:]) > 0.8


@each_architecture
def test_learns_from_features_of_edges(architecture):
    # Only the edges with a positive feature say something about their target.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=80)
    x = np.r_[np.zeros(80), np.repeat([-1.0, 1.0], 40)][:, None]
    pairs, attributes = [], []
    for node, label in enumerate(labels):
        for sign in (-1, 1):
            side = 120 if (label == 1) == (sign == 1) else 80
            sources = side + rng.choice(40, size=3, replace=False)
            pairs += [(source, node) for source in sources.tolist()]
            attributes += [sign] * 3
    graph = Graph.from_edges(pairs, x, np.array(attributes) * 1.0, directed=True)
    clf = make(architecture, graph, max_epochs=60).fit(np.arange(60), labels[:60])
    assert clf.score(np.arange(60, 80), labels[60:]) > 0.9


def test_neighbours_matter():
    lonely = changed(GRAPH, edges=np.empty((2, 0), dtype=int))
    with_edges = fit(max_epochs=30).score(TEST, LABELS[60:])
    assert fit(graph=lonely, max_epochs=30).score(TEST, LABELS[60:]) < with_edges - 0.1


@pytest.mark.parametrize("batch_size", ["auto", 16])
def test_sampled_neighbours_train_about_as_well(batch_size):
    graph, labels = planted(300, degree=12, noise=2.0)
    train, test = np.arange(200), np.arange(200, 300)
    scores = [
        make(
            graph=graph,
            num_neighbors=limit,
            batch_size=batch_size,
            max_epochs=epochs,
        )
        .fit(train, labels[train])
        .score(test, labels[test])
        # All nodes in one step, unless neighbours are sampled or batches are asked for.
        for limit, epochs in ((None, 40 if batch_size == "auto" else 10), (5, 10))
    ]
    assert min(scores) > 0.85
    assert abs(scores[1] - scores[0]) < 0.1


def test_the_size_of_a_batch():
    steps = []

    class Count(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            steps.append(len(batch[1].values))

    fit(max_epochs=1, callbacks=[Count()])
    assert steps == [60]
    steps.clear()
    fit(max_epochs=1, callbacks=[Count()], batch_size=25)
    assert steps == [25, 25, 10]
    steps.clear()
    fit(max_epochs=1, callbacks=[Count()], num_neighbors=2)
    assert steps == [8] * 7 + [4]


def test_large_graphs_are_predicted_a_part_at_a_time(monkeypatch):
    clf = fit()
    expected = clf.predict_proba(IDS)
    monkeypatch.setattr(_node_samples, "_EDGES_AT_ONCE", 50)
    assert_allclose(clf.predict_proba(IDS), expected, rtol=0, atol=1e-6)


# What training sees


def other_features(of, seed=1):
    """Replace the features of some nodes."""
    x = GRAPH.x.copy()
    x[of] = 10 + 5 * np.random.default_rng(seed).normal(size=x[of].shape)
    return x


def other_edges():
    """Take out the edges at held-out nodes, and put in others."""
    kept = GRAPH.edge_index[:, (GRAPH.edge_index < 60).all(axis=0)]
    rng = np.random.default_rng(1)
    inner, outer = rng.integers(0, 60, size=70), rng.integers(60, 90, size=70)
    new = np.hstack([np.stack([inner, outer]), np.stack([outer, inner])])
    return np.hstack([kept, np.unique(new, axis=1)])


STOPPING = [
    {},
    {"early_stopping": True, "validation_fraction": 0.3},
    {"num_neighbors": 2, "batch_size": 16},
    {"class_weight": "balanced"},
]


@pytest.mark.parametrize("params", STOPPING, ids=lambda params: "-".join(params))
@each_architecture
def test_inductive_weights_know_nothing_of_held_out_nodes(architecture, params):
    first = fit(architecture, mode="inductive", **params)
    features = changed(GRAPH, x=other_features(TEST))
    edges = changed(GRAPH, edges=other_edges())
    absent = GRAPH.subgraph(TRAIN)
    for graph in (features, edges, absent):
        second = fit(architecture, graph, mode="inductive", **params)
        assert have_same_weights(first, second)
        assert first.history_[:, "train_loss"] == second.history_[:, "train_loss"]
    # What they are trained on does matter.
    moved = changed(GRAPH, x=other_features(TRAIN[:5]))
    assert not have_same_weights(first, fit(architecture, moved, mode="inductive"))


@each_architecture
def test_transductive_weights_know_features_and_edges(architecture):
    first = fit(architecture)
    for graph in (
        changed(GRAPH, x=other_features(TEST)),
        changed(GRAPH, edges=other_edges()),
    ):
        assert not have_same_weights(first, fit(architecture, graph))
    assert have_same_weights(first, fit(architecture))


@both_modes
def test_labels_of_held_out_nodes_never_matter(mode):
    rng = np.random.default_rng(0)
    wrong = np.where(np.arange(90) < 60, LABELS, rng.permutation(LABELS))
    split = [(TRAIN, TEST)]
    found = [
        cross_validate(
            make(mode=mode), IDS[:, None], y, cv=split, return_estimator=True
        )["estimator"][0]
        for y in (LABELS, wrong)
    ]
    assert have_same_weights(*found)


@both_modes
def test_labels_in_a_random_order_are_predicted_by_chance(mode):
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    clf = make(mode=mode, max_epochs=15)
    assert cross_val_score(clf, IDS[:, None], LABELS, cv=cv).mean() > 0.8
    scores = [
        cross_val_score(
            clf, IDS[:, None], np.random.default_rng(seed).permutation(LABELS), cv=cv
        ).mean()
        for seed in range(6)
    ]
    # The mean over 540 predictions has a standard error of .02.
    assert abs(np.mean(scores) - 1 / 3) < 0.06


# Ids


@pytest.mark.parametrize(
    "form",
    [
        lambda ids: ids,
        lambda ids: ids[:, None],
        lambda ids: ids.tolist(),
        lambda ids: pd.DataFrame({"node": ids}, index=ids[::-1]),
        pd.Series,
    ],
    ids=["vector", "column", "list", "frame", "series"],
)
def test_ids_in_any_form(form):
    expected = fit()
    clf = make().fit(form(TRAIN), LABELS[:60])
    assert have_same_weights(clf, expected)
    assert_array_equal(clf.predict(form(TEST)), expected.predict(TEST))
    assert clf.n_features_in_ == 1


@pytest.mark.parametrize(
    "nodes",
    [[f"paper {node}" for node in range(90)], 7 * np.arange(90)[::-1] + 3],
    ids=["words", "numbers"],
)
def test_names_of_nodes(nodes):
    named = Graph(GRAPH.edge_index, GRAPH.x, nodes=nodes)
    names = named.nodes
    clf = make(graph=named).fit(names[:60, None], LABELS[:60])
    expected = fit()
    assert have_same_weights(clf, expected)
    assert_array_equal(clf.predict_proba(names[60:]), expected.predict_proba(TEST))
    with pytest.raises(ValueError, match=r"nosuch|strings"):
        clf.predict(["nosuch"])
    scores = cross_val_score(make(graph=named, max_epochs=15), names, LABELS, cv=3)
    assert scores.mean() > 0.8


def test_the_order_of_ids_does_not_matter():
    order = np.random.default_rng(0).permutation(60)
    options = {"batch_size": 16, "early_stopping": True}
    second = make(**options).fit(TRAIN[order], LABELS[order])
    assert have_same_weights(fit(**options), second)
    clf = fit()
    expected = clf.predict_proba(IDS)
    assert_array_equal(clf.predict_proba(IDS[::-1])[::-1], expected)
    assert_array_equal(clf.predict_proba([5, 7, 5])[[0, 2, 1]], expected[[5, 5, 7]])


@each_architecture
def test_a_node_is_predicted_alike_in_any_company(architecture):
    clf = fit(architecture, precision="float64")
    expected = clf.predict_proba(IDS)
    alone = np.concatenate([clf.predict_proba([node]) for node in IDS])
    assert_allclose(alone, expected, rtol=0, atol=1e-12)


# Other graphs


def grown():
    """Add a node in each community, and an island of three nodes."""
    new = [(90 + label, friend) for label in range(3) for friend in (label, 3 + label)]
    edges = np.hstack([GRAPH.edge_index[:, :], np.array(new).T, np.array(new).T[::-1]])
    island = np.array([[93, 94, 94, 95], [94, 93, 95, 94]])
    x = np.vstack([GRAPH.x, 3 * np.eye(3), 50 * np.ones((3, 3))])
    return Graph(np.hstack([edges, island]), x)


@both_modes
@each_architecture
def test_nodes_of_a_graph_that_has_grown(architecture, mode):
    clf = fit(architecture, mode=mode, max_epochs=80)
    graph = grown()
    assert_array_equal(clf.predict([90, 91, 92], graph=graph), [0, 1, 2])
    shares = clf.predict_proba(np.arange(96)[:, None], graph=graph)
    assert shares.shape == (96, 3)
    assert_allclose(shares.sum(axis=1), 1)
    assert clf.decision_function([95], graph=graph).shape == (1, 3)
    assert clf.graph is GRAPH
    with pytest.raises(ValueError, match="93"):
        clf.predict([93])


def test_growth_far_away_changes_no_prediction():
    clf = fit()
    # Of two layers, each node hears those that are two edges away.
    walk = networkx.Graph(grown().edge_index.T.tolist())
    near = networkx.multi_source_dijkstra_path_length(walk, {90, 91, 92}, cutoff=2)
    far = np.setdiff1d(IDS, list(near))
    assert 20 < len(far) < 70
    before, after = clf.predict_proba(IDS), clf.predict_proba(IDS, graph=grown())
    assert_allclose(after[far], before[far], rtol=0, atol=1e-6)
    neighbours = np.arange(6)
    assert abs(after[neighbours] - before[neighbours]).max() > 1e-3
    only_an_island = grown().subgraph([*range(90), 93, 94, 95])
    apart = clf.predict_proba(IDS, graph=only_an_island)
    assert_array_equal(apart, before)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (draw_graph(90, n_features=4), "n_features=4, but .* n_features=3"),
        (draw_graph(90, n_edge_features=1), "n_edge_features=1, but"),
        (draw_graph(90, is_sparse=True), "is_sparse=True, but"),
        ("grown", "but graph is 'grown'"),
        (Graph.from_edges([(0, 1)], n_nodes=90), "no node features"),
    ],
)
def test_another_kind_of_graph_is_refused(graph, message):
    with pytest.raises(ValueError, match=message):
        fit().predict(TEST, graph=graph)


# Model selection


def test_a_search_over_architectures_heads_and_modes():
    grid = [
        {
            "architecture": ["gat", "gatv2", "graph_transformer"],
            "mode": ["transductive", "inductive"],
        },
        {"architecture": [SMALL], "architecture__num_heads": [1, 2]},
    ]
    search = GridSearchCV(make(max_epochs=2), grid, cv=2, error_score="raise")
    search.fit(IDS[:, None], LABELS)
    assert len(search.cv_results_["params"]) == 8
    assert SMALL.num_heads == 2
    assert search.best_estimator_.graph is GRAPH
    heads = [
        candidate.get("architecture__num_heads")
        for candidate in search.cv_results_["params"]
    ]
    assert heads[-2:] == [1, 2]


def test_a_search_in_two_processes_equals_one_in_this():
    grid = {"architecture__num_heads": [1, 2], "mode": ["transductive", "inductive"]}
    one, two = (
        GridSearchCV(make(), grid, cv=2, n_jobs=n_jobs, scoring="neg_log_loss").fit(
            IDS[:, None], LABELS
        )
        for n_jobs in (None, 2)
    )
    for name in ("split0_test_score", "split1_test_score", "rank_test_score"):
        assert_array_equal(one.cv_results_[name], two.cv_results_[name])
    assert have_same_weights(one.best_estimator_, two.best_estimator_)


def test_clones_and_folds_share_the_graph():
    x = np.ascontiguousarray(GRAPH.x)
    graph = Graph(GRAPH.edge_index, x)
    clf = make(graph=graph)
    assert np.shares_memory(graph.x, x)
    results = cross_validate(clf, IDS, LABELS, cv=3, return_estimator=True)
    for each in (clone(clf), copy.deepcopy(clf), clf, *results["estimator"]):
        assert each.graph is graph
        assert np.shares_memory(each.graph.x, x)
    for fitted in results["estimator"]:
        assert fitted._encoder.graph is graph
        assert copy.deepcopy(fitted)._encoder.graph is graph
        assert clone(fitted).graph is graph


def test_predictions_of_a_cross_validation():
    shares = cross_val_predict(
        make(max_epochs=15), IDS, LABELS, cv=3, method="predict_proba"
    )
    assert (shares.argmax(axis=1) == LABELS).mean() > 0.8


# Weights


@both_modes
@pytest.mark.parametrize("params", STOPPING, ids=lambda params: "-".join(params))
def test_weighting_a_node_is_repeating_it(params, mode):
    weight = 1 + np.arange(60) % 3
    repeated = np.random.default_rng(1).permutation(np.repeat(TRAIN, weight))
    weighted = make(mode=mode, **params).fit(TRAIN, LABELS[:60], sample_weight=weight)
    longer = make(mode=mode, **params).fit(repeated[:, None], LABELS[repeated])
    assert have_same_weights(weighted, longer)
    assert_array_equal(weighted.predict_proba(IDS), longer.predict_proba(IDS))
    assert not have_same_weights(weighted, fit(mode=mode, **params))


@both_modes
def test_nodes_of_weight_zero_are_not_trained_on(mode):
    weight = np.where(np.arange(60) % 4, 1.5, 0.0)
    labels = np.where(weight > 0, LABELS[:60], 9)
    dropped = make(mode=mode).fit(TRAIN, labels, sample_weight=weight)
    kept = TRAIN[weight > 0]
    absent = make(mode=mode).fit(kept, LABELS[kept])
    assert have_same_weights(dropped, absent)
    assert_array_equal(dropped.classes_, [0, 1, 2])


def test_class_weights_are_sample_weights():
    by_class = fit(class_weight={0: 1, 1: 3.5, 2: 1})
    by_row = make().fit(
        TRAIN, LABELS[:60], sample_weight=np.where(LABELS[:60] == 1, 3.5, 1.0)
    )
    assert have_same_weights(by_class, by_row)


def test_balanced_classes():
    few = np.concatenate([TRAIN[LABELS[:60] != 2], TRAIN[LABELS[:60] == 2][:3]])
    labels = LABELS[few]
    weight = len(few) / 3 / np.bincount(labels)[labels]
    balanced = make(class_weight="balanced").fit(few, labels)
    assert have_same_weights(balanced, make().fit(few, labels, sample_weight=weight))
    plain = make().fit(few, labels).predict_proba(TEST)[:, 2].mean()
    assert balanced.predict_proba(TEST)[:, 2].mean() > plain + 0.05


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
        make().fit(TRAIN, LABELS[:60], sample_weight=weight)


# Early stopping


class Spy(Callback):
    """Keep the sum of all weights of each epoch in the history."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("total", total(net))


def total(net):
    with torch.no_grad():
        return float(sum(tensor.double().sum() for tensor in net.module_.parameters()))


def assert_stopped_at_the_best(clf, patience):
    losses = clf.history_[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == clf.n_iter_ == best + 1 + patience
    assert total(clf.net_) == clf.history_[best]["total"]
    assert total(clf.net_) != clf.history_[best + 1]["total"]


STOPS = {"patience": 3, "max_epochs": 200, "lr": 0.1, "callbacks": [Spy()]}


@both_modes
def test_early_stopping_on_a_part_of_the_training_nodes(mode):
    clf = fit(mode=mode, early_stopping=True, validation_fraction=0.3, **STOPS)
    assert_stopped_at_the_best(clf, 3)
    n_trained = len(clf._encoder.trained_)
    assert n_trained == 42
    assert set(clf._encoder.trained_) < set(TRAIN)


@both_modes
def test_early_stopping_on_nodes_that_are_given(mode):
    given = {"X_val": IDS[60:75, None], "y_val": LABELS[60:75]}
    clf = make(mode=mode, **STOPS).fit(TRAIN, LABELS[:60], **given)
    assert_stopped_at_the_best(clf, 3)
    assert_array_equal(clf._encoder.trained_, TRAIN)
    # Up to the best epoch, training is what it is without them.
    best = int(np.argmin(clf.history_[:, "valid_loss"])) + 1
    plain = fit(mode=mode, lr=0.1, max_epochs=best)
    assert have_same_weights(clf, plain)


def test_the_loss_on_given_nodes_is_that_of_predictions():
    clf = make(max_epochs=1).fit(TRAIN, LABELS[:60], X_val=TEST, y_val=LABELS[60:])
    shares = clf.predict_proba(TEST)[np.arange(30), LABELS[60:]]
    assert clf.history_[0]["valid_loss"] == pytest.approx(-np.log(shares).mean(), 1e-5)


def test_an_inductive_held_out_node_sees_what_fit_was_given():
    given = IDS[60:75]
    clf = make(mode="inductive", max_epochs=1).fit(
        TRAIN, LABELS[:60], X_val=given, y_val=LABELS[given]
    )
    shares = clf.predict_proba(given, graph=GRAPH.subgraph(IDS[:75]))
    loss = -np.log(shares[np.arange(15), LABELS[given]]).mean()
    assert clf.history_[0]["valid_loss"] == pytest.approx(loss, 1e-5)


def test_labels_that_are_held_out_weigh_nothing_in_training():
    labels = LABELS[60:]
    given = {"X_val": TEST, "y_val": labels}
    skewed = {"X_val": TEST[labels == 0], "y_val": labels[labels == 0]}
    for params in ({"class_weight": "balanced"}, {"class_weight": {0: 1.0, 1: 3.0}}):
        first, second = (
            make(**params, max_epochs=1).fit(TRAIN[1:], LABELS[1:60], **each)
            for each in (given, skewed)
        )
        assert have_same_weights(first, second)
    # Only ratios of weights count.
    half = make(max_epochs=1).fit(
        TRAIN, LABELS[:60], sample_weight=np.full(60, 0.5), **given
    )
    assert have_same_weights(half, fit(max_epochs=1))


def test_early_stopping_is_automatic_from_a_thousand_nodes():
    graph, labels = planted(1002, degree=2)
    clf = make(graph=graph, max_epochs=1)
    assert "valid_loss" in clf.fit(np.arange(1000), labels[:1000]).history_[0]
    assert "valid_loss" not in clf.fit(np.arange(999), labels[:999]).history_[0]


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [
        ({}, {"X_val": TEST}, "both X_val and y_val"),
        ({}, {"y_val": LABELS[60:]}, "both X_val and y_val"),
        (
            {"early_stopping": False},
            {"X_val": TEST, "y_val": LABELS[60:]},
            "early_stopping=False. Set",
        ),
        (
            {},
            {"X_val": IDS[58:], "y_val": LABELS[58:]},
            r"X and X_val share 2 nodes, 58 among them",
        ),
        ({}, {"X_val": TEST, "y_val": LABELS[61:]}, "inconsistent numbers of samples"),
        ({}, {"X_val": TEST, "y_val": LABELS[60:] + 5}, "not among the fitted classes"),
        ({}, {"X_val": [99], "y_val": [0]}, "99"),
        ({}, {"X_val": np.zeros((3, 2)), "y_val": [0, 1, 2]}, r"shape \(3, 2\)"),
        ({}, {"X_val": [], "y_val": []}, "X_val holds no node"),
    ],
)
def test_wrong_nodes_to_stop_by_are_refused(params, given, message):
    with pytest.raises(ValueError, match=message):
        make(**params).fit(TRAIN, LABELS[:60], **given)


def test_early_stopping_that_holds_out_nothing_is_refused():
    with pytest.raises(ValueError, match="which is none"):
        fit(early_stopping=True, validation_fraction=0.01)


class Interrupt(Callback):
    """Press Ctrl-C in a batch of an epoch."""

    def __init__(self, epoch, at):
        self.epoch, self.at = epoch, at

    def on_batch_end(self, net, training=False, **kwargs):
        at = "train" if training else "valid"
        if (at, len(net.history)) == (self.at, self.epoch):
            raise KeyboardInterrupt


def test_an_interrupted_fit_keeps_its_weights_and_says_so():
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 20; the present"):
        clf = fit(max_epochs=20, callbacks=[Interrupt(3, "train")])
    assert clf.n_iter_ == 3
    assert np.isfinite(clf.predict_proba(TEST)).all()


@pytest.mark.parametrize("at", ["train", "valid"])
def test_an_interrupted_fit_restores_the_best_weights(at):
    clf = make(max_epochs=40, callbacks=[Spy(), Interrupt(4, at)])
    with pytest.warns(UserWarning, match="interrupted in epoch 4 of 40; the best"):
        clf.fit(TRAIN, LABELS[:60], X_val=TEST, y_val=LABELS[60:])
    best = min(clf.history_[:3], key=lambda epoch: epoch["valid_loss"])
    assert total(clf.net_) == best["total"]


# Targets


def test_two_classes_in_words():
    labels = np.array(["no", "yes"])[(LABELS == 1).astype(int)]
    clf = make(max_epochs=40).fit(TRAIN, labels[:60])
    assert_array_equal(clf.classes_, ["no", "yes"])
    scores, shares = clf.decision_function(TEST), clf.predict_proba(TEST)
    assert scores.shape == (30,)
    assert shares.dtype == np.float64
    assert_allclose(shares[:, 1], 1 / (1 + np.exp(-scores)), atol=1e-6)
    assert_array_equal(clf.predict(TEST), clf.classes_[(scores > 0).astype(int)])
    assert clf.score(TEST, labels[60:]) > 0.8


def test_many_labels():
    y = np.eye(3, dtype=int)[LABELS]
    clf = make(max_epochs=30).fit(TRAIN, y[:60])
    assert clf.predict_proba(TEST).shape == (30, 3)
    assert_array_equal(clf.predict(TEST), (clf.predict_proba(TEST) > 0.5).astype(int))
    assert_array_equal(clf.predict(TEST), (clf.decision_function(TEST) > 0).astype(int))
    assert clf.score(TEST, y[60:]) > 0.6


def test_several_targets():
    y = np.column_stack([LABELS, LABELS == 1])
    clf = make(max_epochs=30).fit(TRAIN, y[:60])
    assert [len(labels) for labels in clf.classes_] == [3, 2]
    assert [shares.shape for shares in clf.predict_proba(TEST)] == [(30, 3), (30, 2)]
    assert [scores.shape for scores in clf.decision_function(TEST)] == [(30, 3), (30,)]
    assert (clf.predict(TEST) == y[60:]).mean() > 0.8


def test_wrong_targets_are_refused():
    with pytest.raises(ValueError, match=r"one class, .*needs at least two"):
        make().fit(TRAIN, np.zeros(60))
    with pytest.raises(ValueError, match=r"one class, .*needs at least two"):
        make().fit(TRAIN, LABELS[:60], sample_weight=(LABELS[:60] == 1).astype(int))
    with pytest.raises(ValueError, match="Unknown label type"):
        make().fit(TRAIN, GRAPH.x[:60, 0])
    with pytest.raises(ValueError, match="NaN"):
        make().fit(TRAIN, np.where(LABELS[:60], np.nan, 1.0))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(TRAIN, LABELS[:59])
    with pytest.raises(ValueError, match="requires y"):
        make().fit(TRAIN, None)
    with pytest.warns(DataConversionWarning):
        make(max_epochs=1).fit(TRAIN, LABELS[:60, None])


# Bad input


@pytest.mark.parametrize(
    ("edges", "x", "params", "message"),
    [
        ([[0, 5], [5, 0]], np.zeros((3, 1)), {}, r"0 -> 5.*does not exist"),
        ([[0, -1], [-1, 0]], np.zeros((3, 1)), {}, "does not exist"),
        ([[0, 1], [1, 0]], [[0.0], [np.nan], [1.0]], {}, "x holds nan in row 1"),
        ([[0, 1], [1, 0]], [[0.0], [np.inf], [1.0]], {}, "x holds inf in row 1"),
        ([[0, 1], [1, 0]], np.zeros(3), {}, r"reshape\(-1, 1\)"),
        ([[0, 1], [1, 0], [2, 0]], np.zeros((3, 1)), {}, "two rows"),
        ([[0, 1], [1, 2]], np.zeros((3, 1)), {}, "directed=True"),
        ([[0, 1], [1, 0]], np.zeros((3, 1)), {"n_nodes": 4}, "differ"),
        ([[0.0, 1.0], [1.0, 0.0]], np.zeros((3, 1)), {}, "integers"),
    ],
    ids=[
        "dangling",
        "negative",
        "nan",
        "inf",
        "one axis",
        "three rows",
        "directed",
        "sizes",
        "floats",
    ],
)
def test_bad_graphs_never_reach_an_estimator(edges, x, params, message):
    with pytest.raises(ValueError, match=message):
        Graph(edges, x, **params)


@both_modes
@each_architecture
def test_isolated_nodes_are_trained_on_and_predicted(architecture, mode):
    edges = GRAPH.edge_index[:, (GRAPH.edge_index % 10).all(axis=0)]
    clf = fit(architecture, changed(GRAPH, edges=edges), mode=mode, max_epochs=20)
    lonely = np.arange(0, 90, 10)
    assert clf.predict_proba(lonely).shape == (9, 3)
    none = changed(GRAPH, edges=np.empty((2, 0), dtype=int))
    clf = fit(architecture, none, mode=mode, max_epochs=20)
    assert clf.score(TEST, LABELS[60:]) > 0.4


@both_modes
def test_a_single_node_of_each_class(mode):
    clf = make(mode=mode).fit(IDS[:3], LABELS[:3])
    assert set(clf.predict(IDS)) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (GRAPH.x, r"X has shape \(90, 3\)\. The features"),
        ([3, 90], "90"),
        ([-1], "-1"),
        ([0.0, 1.0], "holds float64 numbers"),
        (["0"], "strings"),
        ([], "0 sample"),
    ],
)
def test_wrong_ids_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        make().fit(ids, np.arange(len(ids)) % 2)
    with pytest.raises(ValueError, match=message):
        fit().predict(ids)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"graph": None}, r"needs a graph=skattn\.Graph.*graph is None"),
        ({"graph": GRAPH.x}, "needs a graph"),
        ({"graph": Graph.from_edges([(0, 1)], n_nodes=90)}, "no node features"),
        ({"architecture": "self_attention"}, "does not support classification of nod"),
        ({"architecture": "gta"}, "Did you mean 'gat'"),
        ({"mode": "both"}, "'mode' parameter"),
        ({"num_neighbors": 0}, "'num_neighbors' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"input_scaling": "quantile"}, "'input_scaling' parameter.*'l1'"),
        ({"early_stopping": "never"}, "'early_stopping' parameter"),
        ({"class_weight": "even"}, "'class_weight' parameter"),
        ({"net_params": {"lr": 1}}, "net_params holds"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        fit(**params)


def test_sparse_features_cannot_be_standardised():
    graph, _ = planted(is_sparse=True)
    with pytest.raises(ValueError, match="would make sparse node features dense"):
        fit(graph=graph, input_scaling="standard")


@pytest.mark.parametrize("input_scaling", ["auto", "standard", "l1", None])
def test_scalings_of_features(input_scaling):
    x = np.abs(GRAPH.x) * [1.0, 100.0, 1.0]
    clf = fit(graph=changed(GRAPH, x=x), input_scaling=input_scaling)
    kept = clf._encoder.scaling.nodes(x)
    expected = {
        "l1": x / x.sum(axis=1, keepdims=True),
        None: x,
    }.get(input_scaling, (x - x.mean(axis=0)) / x.std(axis=0))
    assert_allclose(kept, expected, atol=1e-9)


def test_without_a_fit_nothing_is_predicted():
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(make(), method)(TEST)


# Pickling, seeds and precision


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
@each_architecture
def test_a_pickle_predicts_alike(architecture, mode, tmp_path):
    clf = fit(architecture, mode=mode)
    joblib.dump(clf, tmp_path / "clf")
    for copied in (pickle.loads(pickle.dumps(clf)), joblib.load(tmp_path / "clf")):
        assert_array_equal(copied.predict_proba(IDS), clf.predict_proba(IDS))
        assert copied.graph is copied._encoder.graph
        grown_shares = copied.predict_proba([90], graph=grown())
        assert_array_equal(grown_shares, clf.predict_proba([90], graph=grown()))
        assert have_same_weights(copied.fit(TRAIN, LABELS[:60]), clf)


@pytest.mark.parametrize("params", STOPPING, ids=lambda params: "-".join(params))
def test_one_seed_one_net(params):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fit(**params)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert have_same_weights(first, fit(**params))
    assert have_same_weights(clone(first).fit(TRAIN, LABELS[:60]), first)
    assert not have_same_weights(first, fit(**params, random_state=1))


@each_architecture
@pytest.mark.parametrize("is_sparse", [False, True])
def test_precisions(architecture, is_sparse):
    graph, labels = planted(is_sparse=is_sparse)
    expected = make(architecture, graph).fit(TRAIN, labels[:60]).predict_proba(TEST)
    for precision, dtype, tolerance in (
        ("float64", torch.float64, 1e-3),
        ("bfloat16", torch.float32, 5e-2),
    ):
        clf = make(architecture, graph, precision=precision).fit(TRAIN, labels[:60])
        assert {tensor.dtype for tensor in weights_of(clf).values()} == {dtype}
        found = clf.predict_proba(TEST)
        assert found.dtype == np.float64
        assert_allclose(found, expected, rtol=0, atol=tolerance)
        assert not np.array_equal(found, expected)


def test_the_graph_is_left_alone():
    graph = Graph(GRAPH.edge_index.copy(), sparse.csr_array(GRAPH.x))
    before = graph.x.toarray(), graph.edge_index.copy()
    ids = TRAIN.copy()
    ids.flags.writeable = False
    make(graph=graph, mode="inductive").fit(ids, LABELS[:60]).predict(TEST)
    assert_array_equal(graph.x.toarray(), before[0])
    assert_array_equal(graph.edge_index, before[1])


def test_nodes_before_the_training_nodes_do_not_change_an_inductive_fit():
    """Neither which nodes are held out nor their order goes by positions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    edges = np.array([(i, i + 1) for i in range(79)])
    ids = np.arange(100, 180)
    alone = Graph.from_edges(edges + 100, x, nodes=ids)
    before = rng.normal(size=(7, 3)).astype(np.float32)
    grown = Graph.from_edges(
        np.vstack([edges + 100, [(3, 100), (5, 140)]]),
        np.vstack([before, x]),
        nodes=np.append(np.arange(7), ids),
    )
    first, second = (
        NodeClassifier(
            graph=graph,
            mode="inductive",
            early_stopping=True,
            batch_size=16,
            max_epochs=3,
            random_state=0,
        ).fit(ids, y)
        for graph in (alone, grown)
    )
    for name, weights in first.net_.module_.state_dict().items():
        assert torch.equal(weights, second.net_.module_.state_dict()[name]), name


@pytest.mark.parametrize("names", [str, int])
def test_the_order_of_nodes_goes_by_their_ids(names):
    ids = np.array([names(number) for number in range(40)])
    x = np.random.default_rng(0).normal(size=(40, 2))
    graph = Graph.from_edges([(ids[i], ids[i + 1]) for i in range(39)], x, nodes=ids)
    order = np.random.default_rng(1).permutation(40)
    first, second = (
        NodeClassifier(graph=graph, max_epochs=2, batch_size=8, random_state=0).fit(
            ids[rows], (x[:, 0] > 0)[rows]
        )
        for rows in (np.arange(40), order)
    )
    np.testing.assert_array_equal(first.predict_proba(ids), second.predict_proba(ids))


def test_scores_of_a_graph_that_has_grown():
    graph, y = planted()
    ids = graph.nodes
    clf = NodeClassifier(graph=graph, max_epochs=5, random_state=0).fit(ids, y)
    other = Graph(graph.edge_index, -graph.x, graph.edge_attr, nodes=ids)
    expected = (clf.predict(ids, graph=other) == y).mean()
    assert clf.score(ids, y, graph=other) == expected
    assert clf.score(ids, y) > expected


def test_features_instead_of_ids_are_told_apart():
    graph, y = planted()
    with pytest.raises(ValueError, match=r"holds float64 numbers: features .* scaler"):
        NodeClassifier(graph=graph).fit(np.linspace(0, 1, len(y)), y)
