"""The regressor of nodes, where it differs from the classifier."""

import pickle

import numpy as np
import pytest
from _graphs import changed, have_same_weights, planted
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

from skattn import Graph, NodeRegressor
from skattn.architectures import GAT, GATv2, GraphTransformer

SMALL = GAT(hidden_size=8, num_heads=2, dropout=0.0, attention_dropout=0.0)
ALL = [
    SMALL,
    GATv2(hidden_size=8, num_heads=2, dropout=0.0, attention_dropout=0.0),
    GraphTransformer(d_model=16, num_heads=2, dropout=0.0),
]
each_architecture = pytest.mark.parametrize(
    "architecture", ALL, ids=lambda architecture: architecture.name
)
both_modes = pytest.mark.parametrize("mode", ["transductive", "inductive"])

GRAPH, _ = planted(150)
IDS = GRAPH.nodes
TRAIN, TEST = IDS[:110], IDS[110:]
# The mean of the first feature over each node and its neighbours, in other units.
_TOTAL = np.bincount(GRAPH.edge_index[1], weights=GRAPH.x[GRAPH.edge_index[0], 0])
NUMBERS = 50 + 20 * (_TOTAL + GRAPH.x[:, 0]) / (1 + np.diff(GRAPH.indptr))


def make(architecture=SMALL, graph=GRAPH, **params):
    defaults = {"max_epochs": 3, "lr": 2e-2, "random_state": 0, "num_threads": 1}
    return NodeRegressor(architecture, graph=graph, **{**defaults, **params})


def fit(*args, **params):
    return make(*args, **params).fit(TRAIN, NUMBERS[:110])


@both_modes
@each_architecture
def test_learns_the_mean_of_neighbours(architecture, mode):
    reg = fit(architecture, mode=mode, max_epochs=60)
    assert reg.score(TEST, NUMBERS[110:]) > 0.7
    found = reg.predict(TEST[:, None])
    assert found.shape == (40,)
    assert found.dtype == np.float64
    assert reg.n_features_in_ == 1


def test_the_units_of_y_do_not_count():
    reg = fit()
    other = make().fit(TRAIN, 1e3 * NUMBERS[:110] - 7e5)
    assert_allclose(other.predict(TEST), 1e3 * reg.predict(TEST) - 7e5, rtol=1e-4)


@both_modes
@each_architecture
def test_inductive_weights_know_nothing_of_held_out_nodes(architecture, mode):
    x = GRAPH.x.copy()
    x[TEST] = 100 * np.random.default_rng(1).normal(size=(40, 3))
    is_same = have_same_weights(
        fit(architecture, mode=mode),
        fit(architecture, changed(GRAPH, x=x), mode=mode),
    )
    assert is_same is (mode == "inductive")


@both_modes
def test_weighting_a_node_is_repeating_it(mode):
    weight = 1 + np.arange(110) % 3
    repeated = np.random.default_rng(1).permutation(np.repeat(TRAIN, weight))
    weighted = make(mode=mode).fit(TRAIN, NUMBERS[:110], sample_weight=weight)
    longer = make(mode=mode).fit(repeated, NUMBERS[repeated])
    assert have_same_weights(weighted, longer)
    assert_array_equal(weighted.predict(TEST), longer.predict(TEST))
    assert not have_same_weights(weighted, fit(mode=mode))


@both_modes
def test_numbers_in_a_random_order_are_not_predicted(mode):
    reg = make(mode=mode, max_epochs=30)
    assert cross_val_score(reg, IDS, NUMBERS, cv=3).mean() > 0.5
    correlations = []
    for seed in range(4):
        y = np.random.default_rng(seed).permutation(NUMBERS)
        found = cross_val_predict(reg, IDS, y, cv=3)
        correlations.append(np.corrcoef(found, y)[0, 1])
    # Of 150 rows, a correlation has a standard error of .08; of the mean, .04.
    assert abs(np.mean(correlations)) < 0.15


def test_several_targets():
    y = np.column_stack([NUMBERS, -2 * NUMBERS, GRAPH.x[:, 1]])
    reg = make(max_epochs=60).fit(TRAIN, y[:110])
    found = reg.predict(TEST)
    assert found.shape == (40, 3)
    assert reg.score(TEST, y[110:]) > 0.6
    given = {"X_val": TEST, "y_val": y[110:]}
    assert make().fit(TRAIN, y[:110], **given).predict(TEST).shape == (40, 3)


def test_quantiles():
    y = np.random.default_rng(0).exponential(size=150)
    low, high = (
        make(loss="quantile", quantile=quantile, max_epochs=60, weight_decay=0.0)
        .fit(IDS, y)
        .predict(IDS)
        for quantile in (0.1, 0.9)
    )
    assert 0.7 < (y < high).mean() <= 1.0
    assert 0.0 <= (y < low).mean() < 0.3
    assert (low < high).mean() > 0.95


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "poisson"])
def test_losses(loss):
    reg = fit(loss=loss, max_epochs=60)
    assert reg.score(TEST, NUMBERS[110:]) > 0.5


@pytest.mark.parametrize("validation", ["held out", "given"])
def test_early_stopping(validation):
    params = {"max_epochs": 100, "patience": 3, "lr": 0.1}
    if validation == "given":
        reg = make(**params).fit(TRAIN, NUMBERS[:110], X_val=TEST, y_val=NUMBERS[110:])
        assert_array_equal(reg._encoder.trained_, TRAIN)
    else:
        reg = fit(early_stopping=True, **params)
        assert len(reg._encoder.trained_) == 99
    losses = reg.history_[:, "valid_loss"]
    assert reg.n_iter_ == len(losses) == int(np.argmin(losses)) + 1 + 3


def test_y_is_scaled_by_what_is_trained_on():
    wild = np.r_[NUMBERS[110:149], 1e9]
    reg = make(max_epochs=1)
    # One epoch: there is nothing to choose by the loss on held-out nodes.
    first = reg.fit(TRAIN, NUMBERS[:110], X_val=TEST, y_val=wild).predict(TEST)
    assert_array_equal(first, fit(max_epochs=1).predict(TEST))


def test_nodes_of_a_graph_that_has_grown():
    reg = fit(max_epochs=30)
    edges = np.hstack([GRAPH.edge_index, [[150, 0], [0, 150]]])
    grown = Graph(edges, np.vstack([GRAPH.x, GRAPH.x[:1]]))
    assert np.isfinite(reg.predict([150], graph=grown)).all()
    before, after = reg.predict([0]), reg.predict([0], graph=grown)
    assert abs(after - before) > 1e-6
    with pytest.raises(ValueError, match="n_features=1, but"):
        reg.predict([0], graph=Graph(GRAPH.edge_index, GRAPH.x[:, :1]))


def test_a_search():
    grid = [
        {"architecture": ["gat", "gatv2", "graph_transformer"]},
        {"architecture": [SMALL], "architecture__num_heads": [1, 2], "loss": ["huber"]},
    ]
    search = GridSearchCV(make(max_epochs=1), grid, cv=2, error_score="raise")
    search.fit(IDS, NUMBERS)
    assert len(search.cv_results_["params"]) == 5
    assert search.best_estimator_.graph is GRAPH


def test_a_pickle_predicts_alike():
    reg = fit()
    copied = pickle.loads(pickle.dumps(reg))
    assert_array_equal(copied.predict(IDS), reg.predict(IDS))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y"),
        (np.where(TRAIN == 3, np.nan, 1.0), "NaN"),
        (np.where(TRAIN == 3, np.inf, 1.0), "infinity"),
        (NUMBERS[:109], "inconsistent numbers of samples"),
        (["many"] * 110, "many"),
    ],
)
def test_wrong_targets_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        make().fit(TRAIN, y)


def test_what_else_is_refused():
    with pytest.warns(DataConversionWarning):
        make(max_epochs=1).fit(TRAIN, NUMBERS[:110, None])
    with pytest.raises(NotFittedError):
        make().predict(TEST)
    with pytest.raises(ValueError, match=r"NodeRegressor needs a graph=skattn\.Graph"):
        fit(graph=None)
    with pytest.raises(ValueError, match="does not support regression of nodes"):
        fit("self_attention")
    with pytest.raises(ValueError, match="'loss' parameter"):
        fit(loss="cubic")
    with pytest.raises(ValueError, match="quantile"):
        fit(loss="quantile")


def test_a_constant_is_predicted():
    assert_allclose(make().fit(TRAIN, np.full(110, 7.0)).predict(TEST), 7.0, atol=0.7)
