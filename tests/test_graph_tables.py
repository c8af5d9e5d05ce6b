"""Architectures for nodes on ordinary tables, joined by nearest rows."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skattn
from skattn import Architecture, AttentionClassifier, AttentionRegressor
from skattn.architectures import GAT
from skattn.cli import main
from skattn.datasets import load_penguins


class Unlayered(Architecture):
    """Scores nodes, but not layer by layer."""

    api_version = 1
    name = "unlayered"
    supports = {"nodes": {"classification"}}
    citation = "Nobody in particular (2026)"

    def build(self, data):
        return UnlayeredModule(data)


class UnlayeredModule(nn.Module):
    def __init__(self, data):
        super().__init__()
        self.head = nn.Linear(data.n_features, data.n_outputs)

    def forward(self, x, edge_index):
        return self.head(x)


class Broken(Unlayered):
    """Fails in its first step."""

    name = "broken"
    supports = {"table": {"classification"}}

    def build(self, data):
        return BrokenModule(data)


class BrokenModule(UnlayeredModule):
    def forward(self, x):
        raise RuntimeError("the first step fails")


def moons_in_noise(n=240, seed=0):
    """Draw labels that are smooth in two columns of four."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def test_tables_are_listed_for_architectures_of_nodes():
    assert {"gat", "self_attention"} <= set(skattn.list_architectures(input="table"))
    assert "gat" not in skattn.list_architectures(input="series")


def test_a_graph_architecture_stands_in_a_grid_beside_self_attention():
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), AttentionClassifier(max_epochs=3)),
        [
            {"attentionclassifier__architecture": ["self_attention"]},
            {
                "attentionclassifier__architecture": ["gat", "graph_transformer"],
                "attentionclassifier__n_neighbors": [3, 8],
            },
        ],
        cv=3,
        error_score="raise",
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 5
    assert search.best_score_ > 0.9


def test_strings_categories_and_missing_values():
    X, y = load_penguins(return_X_y=True)
    clf = AttentionClassifier("gat", max_epochs=3, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.9


def test_attention_over_neighbours_learns_what_no_linear_model_can():
    X, y = moons_in_noise(600)
    quick = {"linear_skip": False, "early_stopping": False, "random_state": 0}
    gat = GAT(dropout=0.0, attention_dropout=0.0)
    fitted = AttentionClassifier(gat, max_epochs=40, lr=0.01, **quick).fit(
        X[:400], y[:400]
    )
    assert fitted.score(X[400:], y[400:]) > 0.8


def test_the_number_of_neighbours_matters():
    X, y = moons_in_noise()
    few, many = (
        AttentionClassifier(
            "gat", n_neighbors=k, linear_skip=False, max_epochs=2, random_state=0
        ).fit(X, y)
        for k in (1, 20)
    )
    assert np.abs(few.predict_proba(X) - many.predict_proba(X)).max() > 1e-3
    assert skattn.record_attention(few, X)[0].weights.shape[-1] == 2
    assert skattn.record_attention(many, X)[0].weights.shape[-1] == 21


@pytest.mark.parametrize("architecture", ["gat", "gatv2", "graph_transformer"])
def test_beside_a_linear_model_all_weights_learn(architecture):
    X, y = moons_in_noise()
    clf = AttentionClassifier(
        architecture,
        linear_skip=True,
        early_stopping=False,
        max_epochs=3,
        random_state=0,
    ).fit(X, y)
    for name, weight in clf.net_.module_.module.named_parameters():
        if weight.dim() > 1:
            assert (weight != 0).any(dim=1).all(), name


@pytest.mark.parametrize("architecture", ["gat", "graph_transformer"])
def test_attention_over_the_row_and_its_neighbours(architecture):
    X, y = moons_in_noise()
    clf = AttentionClassifier(
        architecture, n_neighbors=4, linear_skip=False, max_epochs=2, random_state=0
    ).fit(X, y)
    plain = clf.predict_proba(X[:9])
    records = skattn.record_attention(clf, X[:9])
    assert [record.kind for record in records] == ["edge", "edge"]
    for record in records:
        assert record.queries == ["row"]
        assert record.keys == ["row", *(f"neighbour {k}" for k in range(1, 5))]
        assert record.edge_index is None
        np.testing.assert_allclose(record.weights.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(clf.predict_proba(X[:9]), plain)


def test_a_prediction_does_not_depend_on_the_rows_beside_it():
    X, y = load_iris(return_X_y=True)  # many rows are equally far
    clf = AttentionClassifier("gat", linear_skip=False, max_epochs=3, random_state=0)
    whole = clf.fit(X, y).predict_proba(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(clf.predict_proba(X[order]), whole[order])
    np.testing.assert_array_equal(clf.predict_proba(X[3:5]), whole[3:5])


def test_one_row_of_training_data_has_no_neighbour():
    X = np.ones((6, 2))  # one distinct row
    reg = AttentionRegressor("gat", max_epochs=1, random_state=0).fit(X, np.arange(6))
    assert np.isfinite(reg.predict(np.zeros((2, 2)))).all()


def test_an_architecture_without_layers_is_refused():
    X, y = moons_in_noise(40)
    with pytest.raises(ValueError, match=r"'unlayered' cannot take a table.*'layers'"):
        AttentionClassifier(Unlayered()).fit(X, y)


@pytest.mark.parametrize(
    ("early_stopping", "linear_skip"), [(False, False), (True, False), (True, True)]
)
def test_an_error_in_the_first_step_is_the_one_that_is_told(
    early_stopping, linear_skip
):
    X, y = moons_in_noise(40)
    clf = AttentionClassifier(
        Broken(), early_stopping=early_stopping, linear_skip=linear_skip
    )
    with pytest.raises(RuntimeError, match="the first step fails"):
        clf.fit(X, y)


def test_clones_and_parameters():
    clf = AttentionClassifier("gat", n_neighbors=7)
    assert clone(clf).n_neighbors == 7
    X, y = moons_in_noise(40)
    with pytest.raises(ValueError, match="n_neighbors"):
        AttentionClassifier("gat", n_neighbors=0).fit(X, y)


def test_what_an_architecture_serves_is_told_with_its_tables(capsys):
    assert main(["show", "gat", "--json"]) == 0
    assert '"table"' in capsys.readouterr().out
    with pytest.raises(ValueError, match="table: classification, regression; graph"):
        AttentionClassifier("gat").fit(np.zeros((4, 1, 6)), [0, 1, 0, 1])


def test_two_lengths_are_told_once():
    X, y = moons_in_noise(40)
    with pytest.raises(ValueError, match=r"\[40, 30\]"):
        AttentionClassifier("gat").fit(X, y[:30])


def test_records_of_tables_have_no_loops():
    X, y = moons_in_noise(40)
    clf = AttentionClassifier("gat", max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="the first key is the row itself"):
        _ = skattn.record_attention(clf, X)[0].self_loops
