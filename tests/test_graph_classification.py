"""Classifier and regressor on lists of graphs.

`check_estimator` feeds tables, so what its checks ask is asked here of graphs: fitting
twice, estimators that are not fitted, wrong numbers of features, inputs that stay as
they were, seeds, and predictions that do not depend on their company.
"""

import pickle

import networkx
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skattn import AttentionClassifier, AttentionRegressor, Graph, record_attention
from skattn._engine import _graph_samples
from skattn.architectures import GAT, GATv2, GraphTransformer

SMALL = GAT(hidden_size=4, num_heads=2, dropout=0.0, attention_dropout=0.0)
WITH_EDGES = GraphTransformer(
    d_model=8, num_heads=2, num_layers=2, dropout=0.0, attention_dropout=0.0
)
ALL = [
    SMALL,
    GATv2(hidden_size=4, num_heads=2, dropout=0.0, attention_dropout=0.0),
    WITH_EDGES,
]
each_architecture = pytest.mark.parametrize(
    "architecture", ALL, ids=lambda architecture: architecture.name
)

NO_EDGES = np.empty((2, 0), dtype=int)
DEFAULTS = {"max_epochs": 3, "random_state": 0, "num_threads": 1}


def make(architecture=SMALL, **params):
    return AttentionClassifier(architecture, **{**DEFAULTS, **params})


def make_regressor(architecture=SMALL, **params):
    return AttentionRegressor(architecture, **{**DEFAULTS, **params})


def random_edges(rng, n):
    """Pairs of nodes, each once, loops among them; many nodes stay alone."""
    return np.unique(rng.integers(0, n, size=(rng.integers(0, n + 1), 2)), axis=0)


def marked(n=40, seed=0):
    """Graphs of 1 to 8 nodes; the sign of one feature of the marked node decides."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    graphs = []
    for label in y:
        size = int(rng.integers(1, 9))
        x = rng.normal(size=(size, 3))
        x[:, 0] = 0
        x[rng.integers(size), :2] = 1, 2 * label - 1
        graphs.append(Graph.from_edges(random_edges(rng, size), x))
    return graphs, y


def by_edges(n=40, seed=0, is_told=True):
    """Paths of nodes that are all alike; the feature of one edge decides."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    graphs = []
    for label in y:
        size = int(rng.integers(2, 7))
        attr = np.zeros((size - 1, 2))
        attr[:, 1] = 0.1 * rng.normal(size=size - 1)
        attr[rng.integers(size - 1), 0] = (2 * label - 1) if is_told else 1
        edges = np.stack([np.arange(size - 1), np.arange(1, size)], axis=1)
        graphs.append(Graph.from_edges(edges, np.ones((size, 1)), attr))
    return graphs, y


def linked(n=40, seed=0):
    """Rings of nodes, two of which are marked: are they neighbours?"""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    graphs = []
    for label in y:
        size = int(rng.integers(6, 10))
        ring = rng.permutation(size)
        x = np.zeros((size, 1))
        x[[ring[0], ring[1 if label else 3]]] = 1
        edges = np.stack([ring, np.roll(ring, -1)], axis=1)
        graphs.append(Graph.from_edges(edges, x))
    return graphs, y


def take(X, index):
    return [X[at] for at in index]


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


# What can be learned


@each_architecture
def test_learns_from_the_features_of_one_node(architecture):
    X, y = marked(80)
    clf = make(architecture, max_epochs=25, lr=1e-2).fit(X, y)
    assert clf.score(*marked(60, seed=1)) > 0.9
    assert clf.n_features_in_ == 3
    assert_array_equal(clf.classes_, [0, 1])
    assert clf.predict_proba(X).shape == (80, 2)
    assert clf.decision_function(X).shape == (80,)


def test_learns_from_the_features_of_one_edge():
    options = {"max_epochs": 25, "lr": 1e-2}
    clf = make(WITH_EDGES, **options).fit(*by_edges(80))
    assert clf.score(*by_edges(60, seed=1)) > 0.9
    untold = make(WITH_EDGES, **options).fit(*by_edges(80, is_told=False))
    assert untold.score(*by_edges(60, seed=1, is_told=False)) < 0.75


def test_learns_who_is_linked_and_cannot_without_the_edges():
    options = {"max_epochs": 50, "lr": 2e-2}
    X, y = linked(80)
    Z, z = linked(60, seed=1)
    clf = make(WITH_EDGES, **options).fit(X, y)
    assert clf.score(Z, z) > 0.9
    X, Z = ([Graph(NO_EDGES, graph.x) for graph in each] for each in (X, Z))
    assert make(WITH_EDGES, **options).fit(X, y).score(Z, z) < 0.75


def test_learns_numbers():
    X, _ = marked(120)
    y = np.array([40 + 10 * graph.x[:, 1].mean() for graph in X])
    reg = make_regressor(max_epochs=40, lr=1e-2).fit(X[:80], y[:80])
    assert reg.score(X[80:], y[80:]) > 0.7
    assert reg.predict(X).dtype == np.float64


def test_labels_without_relation_to_the_graphs_are_not_learned():
    X, y = marked(60)
    shuffled = np.random.default_rng(0).permutation(y)
    scores = cross_val_score(make(max_epochs=10, lr=1e-2), X, shuffled, cv=5)
    assert scores.mean() < 0.7


def test_several_targets():
    X, y = marked()
    both = np.column_stack([np.where(y, "b", "a"), np.arange(40) % 3])
    clf = make().fit(X, both)
    assert clf.predict(X).shape == (40, 2)
    assert [part.shape for part in clf.predict_proba(X)] == [(40, 2), (40, 3)]
    flags = np.column_stack([y, 1 - y, y])
    assert make().fit(X, flags).predict_proba(X).shape == (40, 3)
    reg = make_regressor().fit(X, both[:, 1:].astype(float) * [[1.0, 100.0]])
    assert reg.predict(X).shape == (40, 2)


# Which lists


def test_lists_tuples_arrays_and_columns_are_alike():
    X, y = marked()
    array = np.empty(len(X), dtype=object)
    array[:] = X
    expected = make().fit(X, y).predict_proba(X)
    column = pd.Series(X, index=np.arange(len(X))[::-1])
    for same in (tuple(X), array, column):
        assert_array_equal(make().fit(same, y).predict_proba(same), expected)


def test_all_shapes_of_graphs():
    X = [
        Graph(NO_EDGES, [[1.0, 2.0]]),  # one node
        Graph(NO_EDGES, np.arange(6.0).reshape(3, 2)),  # no edge
        Graph([[0], [0]], [[3.0, 4.0]]),  # a loop
        Graph([[0, 1], [1, 0]], np.ones((4, 2))),  # isolated nodes
        Graph([[0, 0], [1, 2]], np.ones((3, 2)), directed=True),
    ] * 4
    y = np.arange(20) % 2
    for architecture in ALL:
        clf = make(architecture).fit(X, y)
        assert np.isfinite(clf.predict_proba(X)).all()
    lonely = take(X, [0, 1] * 10)
    assert np.isfinite(make().fit(lonely, y).predict_proba(X)).all()


def test_graphs_without_edges_beside_edge_features():
    X, y = by_edges()
    X[::5] = [Graph(NO_EDGES, np.ones((2, 1)))] * 8
    clf = make(WITH_EDGES).fit(X, y)
    assert np.isfinite(clf.predict_proba(X[:1])).all()


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (marked(1)[0][0], TypeError, r"X is a single Graph\. Pass \[graph\]"),
        ([*marked(39)[0], "text"], TypeError, "Element 39 of X is of type str"),
        (marked(39)[0], ValueError, "inconsistent numbers of samples"),
        ([*marked(39)[0], by_edges(1)[0][0]], ValueError, "39 of X has 1 node feat"),
        ([Graph(NO_EDGES, n_nodes=2)] * 40, ValueError, "has no node features"),
        ([], ValueError, "Expected 2D array"),
    ],
)
def test_bad_lists_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        make().fit(X, np.arange(40) % 2)


def test_targets_are_checked_as_always():
    X, _ = marked()
    with pytest.raises(ValueError, match="requires y to be passed"):
        make().fit(X, None)
    with pytest.raises(ValueError, match="one class"):
        make().fit(X, np.zeros(40))


def test_an_architecture_that_knows_no_graphs_names_those_that_do():
    with pytest.raises(ValueError, match=r"graph input.*input='graph'"):
        AttentionClassifier().fit(*marked())


def test_edge_features_need_an_architecture_that_takes_them():
    class Plain(GAT):
        consumes = ("batch",)

    X, y = marked()
    plain = make(Plain(hidden_size=4, num_heads=2)).fit(X, y)
    assert plain.score(X, y) >= 0
    with pytest.raises(ValueError, match="edge features, which the architecture 'gat'"):
        make(Plain()).fit(*by_edges())


# Predictions


@each_architecture
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-6), ("float64", 1e-13)]
)
def test_a_graph_is_predicted_alike_in_any_company(
    architecture, precision, tolerance, monkeypatch
):
    X, y = marked()
    clf = make(architecture, precision=precision).fit(X, y)
    close = {"rtol": tolerance, "atol": tolerance}
    for method in (clf.predict_proba, clf.decision_function):
        expected = method(X)
        alone = np.concatenate([method([graph]) for graph in X])
        assert_allclose(alone, expected, **close)
        assert_allclose(method(X[::-1])[::-1], expected, **close)
        assert_allclose(method(X[5:8]), expected[5:8], **close)
        with monkeypatch.context() as patch:
            patch.setattr(_graph_samples, "_SIZE_PER_BATCH", 40)
            assert_allclose(method(X), expected, **close)


def test_predicting_twice_gives_the_same():
    X, y = marked()
    clf = make(max_epochs=1).fit(X, y)
    assert_array_equal(clf.predict_proba(X), clf.predict_proba(X))


def test_the_numbering_of_the_nodes_does_not_matter_to_a_prediction():
    X, y = by_edges()
    clf = make(WITH_EDGES).fit(X, y)
    rng = np.random.default_rng(0)
    renumbered = [graph.subgraph(rng.permutation(graph.n_nodes)) for graph in X]
    assert_allclose(
        clf.predict_proba(renumbered), clf.predict_proba(X), rtol=1e-5, atol=1e-6
    )


def test_an_estimator_that_is_not_fitted_says_so():
    X, _ = marked()
    with pytest.raises(NotFittedError):
        make().predict(X)
    with pytest.raises(NotFittedError):
        make_regressor().predict(X)


def test_other_inputs_than_the_fitted_ones_are_refused():
    X, y = marked()
    clf = make().fit(X, y)
    with pytest.raises(ValueError, match=r"1 node features, but .* expecting 3 node"):
        clf.predict([Graph(NO_EDGES, np.ones((2, 1)))])
    with pytest.raises(ValueError, match=r"1 edge features, but .* expecting 0 edge"):
        clf.predict([Graph([[0], [0]], np.ones((1, 3)), edge_attr=[1.0])])
    with pytest.raises(ValueError, match="fitted with graph input, but X is table"):
        clf.predict(np.ones((4, 3)))
    with pytest.raises(TypeError, match="a single Graph"):
        clf.predict(X[0])


def test_far_values_are_named_by_their_graph():
    X, y = marked()
    clf = make().fit(X, y)
    X[7] = Graph(NO_EDGES, np.full((2, 3), 1e300))
    with pytest.raises(ValueError, match="Row 7 of X gives scores that are not finite"):
        clf.predict(X)


def test_fit_and_predict_leave_all_as_it_was():
    X, y = marked()
    before, labels = pickle.dumps(X), y.copy()
    same = list(X)
    clf = make()
    params = dict(clf.get_params())
    clf.fit(X, y).predict(X)
    assert pickle.dumps(X) == before
    assert all(ours is theirs for ours, theirs in zip(X, same, strict=True))
    assert_array_equal(y, labels)
    assert clf.get_params() == params
    added = set(vars(clf)) - set(vars(make()))
    assert all(name.startswith("_") or name.endswith("_") for name in added)


# Seeds, order and weights


def test_fitting_twice_is_fitting_once():
    X, y = marked()
    clf = make().fit(X, y)
    expected = clf.predict_proba(X)
    assert_array_equal(clf.fit(X, y).predict_proba(X), expected)
    clf.fit(*by_edges())
    assert clf.n_features_in_ == 1
    assert_array_equal(clf.fit(X, y).predict_proba(X), expected)


def test_one_seed_one_net():
    X, y = marked()
    architecture = GAT(hidden_size=4, num_heads=2)  # with dropout
    first, second = (make(architecture).fit(X, y) for _ in range(2))
    assert_same_weights(first, second)
    other = make(architecture, random_state=1).fit(X, y)
    assert not np.array_equal(other.predict_proba(X), first.predict_proba(X))


def test_global_random_states_neither_change_nor_matter():
    X, y = marked()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make().fit(X, y)
    first.predict(X)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert_same_weights(first, make().fit(X, y))


@each_architecture
def test_the_order_of_graphs_does_not_matter(architecture):
    X, y = marked()
    order = np.random.default_rng(3).permutation(40)
    options = {"batch_size": 8, "early_stopping": True}
    first = make(architecture, **options).fit(X, y)
    second = make(architecture, **options).fit(take(X, order), y[order])
    assert_same_weights(first, second)


TRAINING = [
    {},
    {"early_stopping": True, "validation_fraction": 0.25, "patience": 2},
    {"class_weight": "balanced", "early_stopping": True},
]


@pytest.mark.parametrize("params", TRAINING, ids=["plain", "stopped", "balanced"])
def test_weighting_a_graph_is_repeating_it(params):
    X, y = marked()
    weight = 1 + np.arange(40) % 3
    index = np.random.default_rng(1).permutation(np.repeat(np.arange(40), weight))
    architecture = GAT(hidden_size=4, num_heads=2, dropout=0.3, attention_dropout=0.1)
    options = {"batch_size": 8, "lr": 1e-2, **params}
    weighted = make(architecture, **options).fit(X, y, sample_weight=weight)
    # A copy is as good as the same object.
    copies = pickle.loads(pickle.dumps(take(X, index)))
    longer = make(architecture, **options).fit(copies, y[index])
    assert_same_weights(weighted, longer)
    assert_array_equal(weighted.predict_proba(X), longer.predict_proba(X))


def test_graphs_of_weight_zero_do_not_exist():
    X, y = marked()
    weight = np.where(np.arange(40) % 4, 1.5, 0.0)
    kept = np.flatnonzero(weight)
    dropped = make().fit(X, np.where(weight > 0, y, 2), sample_weight=weight)
    assert_same_weights(dropped, make().fit(take(X, kept), y[kept]))


def test_real_weights_and_class_weights_count():
    X, y = marked()
    by_class = make(class_weight={0: 1, 1: 3.5}).fit(X, y)
    by_graph = make().fit(X, y, sample_weight=np.where(y, 3.5, 1.0))
    assert_same_weights(by_class, by_graph)
    light = make().fit(X, y, sample_weight=np.where(y, 0.3, 7.5)).predict_proba(X)
    assert (light[:, 1] < by_graph.predict_proba(X)[:, 1]).mean() > 0.9


# Training further, early stopping


def test_partial_fit_goes_on_with_the_scales_of_the_first_call():
    X, y = marked()
    clf = make().partial_fit(X[:20], y[:20], classes=[0, 1])
    mean = clf._encoder.node_scaler.mean_.copy()
    before = weights_of(clf)
    far = [Graph(graph.edge_index, 100 + graph.x) for graph in X[20:]]
    clf.partial_fit(far, y[20:])
    assert clf.n_iter_ == 2
    assert_array_equal(clf._encoder.node_scaler.mean_, mean)
    assert not torch.equal(weights_of(clf)["head.weight"], before["head.weight"])
    with pytest.raises(ValueError, match="1 node features"):
        clf.partial_fit(*by_edges())


def test_warm_start_goes_on():
    X, y = marked()
    clf = make(warm_start=True, lr=1e-2).fit(X, y).fit(X, y)
    assert clf.n_iter_ == len(clf.history_) == 6
    losses = clf.history_[:, "train_loss"]
    assert losses[5] < losses[0]
    with pytest.raises(ValueError, match="1 edge features"):
        clf.fit([Graph([[0], [0]], np.ones((1, 3)), edge_attr=[1.0])] * 40, y)
    with pytest.raises(ValueError, match="fitted with graph input, but X is table"):
        clf.fit(np.ones((40, 3)), y)


def test_early_stopping_waits_for_a_better_loss():
    X, y = marked(80)
    clf = make(
        early_stopping=True,
        validation_fraction=0.3,
        patience=2,
        max_epochs=40,
        lr=5e-2,
        lr_schedule=None,
    ).fit(X, y)
    losses = clf.history_[:, "valid_loss"]
    assert clf.n_iter_ == len(losses) == int(np.argmin(losses)) + 1 + 2 < 40


def test_equal_graphs_are_held_out_together_and_do_not_touch_the_scales():
    X, y = marked(60)
    options = {"validation_fraction": 0.3, "max_epochs": 1}

    def mean(graphs, labels, early_stopping):
        clf = make(early_stopping=early_stopping, **options).fit(graphs, labels)
        return clf._encoder.node_scaler.mean_

    of_all = np.concatenate([graph.x for graph in X]).mean(axis=0)
    assert_allclose(mean(X, y, early_stopping=False), of_all)
    of_some = mean(X, y, early_stopping=True)
    assert not np.allclose(of_some, of_all, rtol=1e-3)
    twice = mean(pickle.loads(pickle.dumps(X)) + X, np.tile(y, 2), early_stopping=True)
    assert_allclose(twice, of_some)


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
@pytest.mark.parametrize("input_scaling", ["standard", "quantile", None])
def test_precisions_and_scalings(precision, input_scaling):
    X, y = by_edges()
    clf = make(WITH_EDGES, precision=precision, input_scaling=input_scaling)
    assert np.isfinite(clf.fit(X, y).predict_proba(X)).all()


# scikit-learn's tools


def test_pickles_hold_no_graphs_and_clones_no_fit():
    X, y = marked()
    clf = make().fit(X, y)
    blob = pickle.dumps(clf)
    assert b"edge_index" not in blob
    assert_array_equal(pickle.loads(blob).predict_proba(X), clf.predict_proba(X))
    fresh = clone(clf)
    assert not hasattr(fresh, "net_")
    assert_same_weights(fresh.fit(X, y), clf)


def test_cross_validation_slices_lists():
    X, y = marked()
    clf = make(max_epochs=20, lr=5e-2)
    assert cross_val_score(clf, X, y, cv=3).mean() > 0.8
    assert cross_val_predict(clf, X, y, cv=2, method="predict_proba").shape == (40, 2)
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    assert clf.fit(train, y_train).predict(test).shape == y_test.shape


def test_a_search_in_two_processes():
    X, y = marked()
    array = np.empty(len(X), dtype=object)
    array[:] = X
    grid = {"architecture__num_heads": [1, 2], "architecture__hidden_size": [2, 4]}
    found = []
    for graphs, n_jobs in ((X, 2), (array, None)):
        search = GridSearchCV(make(), grid, cv=2, n_jobs=n_jobs)
        search.fit(graphs, y, sample_weight=np.ones(40))
        assert len(search.cv_results_["params"]) == 4
        found.append((search.cv_results_["mean_test_score"], search.best_params_))
    assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def drop_last_feature(graphs):
    return [Graph(graph.edge_index, graph.x[:, :2]) for graph in graphs]


def test_a_pipeline_changes_graphs_first():
    X, y = marked()
    pipeline = make_pipeline(FunctionTransformer(drop_last_feature), make())
    expected = make().fit(drop_last_feature(X), y)
    pipeline.fit(X, y)
    assert pipeline[-1].n_features_in_ == 2
    assert_array_equal(
        pipeline.predict_proba(X), expected.predict_proba(drop_last_feature(X))
    )
    assert record_attention(pipeline, X[:3])[0].sample.max() == 2
    assert cross_val_score(pipeline, X, y, cv=2).shape == (2,)


# Attention


@each_architecture
def test_attention_is_recorded_along_the_edges_of_each_graph(architecture, monkeypatch):
    X, y = linked(12)
    X[3] = Graph(NO_EDGES, np.ones((2, 1)))
    clf = make(architecture).fit(X, y)
    records = record_attention(clf, X)
    assert [record.kind for record in records] == ["edge", "edge", "pooling"]
    monkeypatch.setattr(_graph_samples, "_SIZE_PER_BATCH", 30)
    for record, again in zip(records, record_attention(clf, X), strict=True):
        assert_allclose(again.weights, record.weights, rtol=1e-5, atol=1e-6)
        assert_array_equal(again.edge_index, record.edge_index)
        assert_array_equal(again.sample, record.sample)
    for number, graph in enumerate(X):
        own = records[0].sample == number
        looks = ~records[0].self_loops
        assert_array_equal(records[0].edge_index[:, own & looks], graph.edge_index)
        pooled = records[2].sample == number
        assert_array_equal(records[2].edge_index[0, pooled], np.arange(graph.n_nodes))
        assert_allclose(records[2].weights[pooled].sum(axis=0), 1.0, rtol=1e-5)
        alone = record_attention(clf, [graph])
        for record, single in zip(records, alone, strict=True):
            part = record.weights[record.sample == number]
            assert_allclose(part, single.weights, rtol=1e-5, atol=1e-6)


def test_graphs_of_networkx_are_sent_to_their_way_in():
    graphs = [networkx.path_graph(3), networkx.cycle_graph(3)]
    with pytest.raises(TypeError, match=r"must be skattn\.Graph: see Graph\.from_netw"):
        AttentionClassifier("gat").fit(graphs, [0, 1])
