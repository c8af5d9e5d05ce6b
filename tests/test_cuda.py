"""What needs a CUDA device: ``pytest -m cuda``."""

import copy
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.model_selection import GridSearchCV
from sktime.datasets import load_airline

from skattn import (
    AttentionClassifier,
    AttentionForecaster,
    AttentionRegressor,
    AttentionTagger,
    AttentionTimeSeriesClassifier,
    AttentionTranslator,
    Graph,
    NodeClassifier,
    NodeRegressor,
    record_attention,
)
from skattn.architectures import (
    BidirectionalAttention,
    SelfAttention,
    TemporalAttention,
)
from skattn.inspection import (
    attention_entropy,
    attention_rollout,
    gradient_rollout,
    head_importance,
    last_attention,
    prune_heads,
    value_weighted_attention,
    value_zeroing,
)

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no CUDA."),
]

SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1)
each_architecture = pytest.mark.parametrize(
    "architecture",
    [SMALL, TemporalAttention(d_model=8), BidirectionalAttention(d_model=8)],
    ids=lambda architecture: architecture.name,
)
OPTIONS = {"max_epochs": 3, "random_state": 0, "device": "cuda"}


def classifier(architecture=SMALL, **params):
    options = {**OPTIONS, "linear_skip": False, **params}
    return AttentionClassifier(architecture, **options)


def table(n=100):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    X["c"] = rng.choice(["u", "v"], size=n)
    X.loc[3, "a"] = np.nan
    return X, (X["b"] > 0).to_numpy(dtype=int)


def series():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(2, 4 + number % 8)) for number in range(24)]
    return X, np.arange(24) % 2


def ring(n=60, is_sparse=False, n_edge_features=0, seed=0):
    """Join nodes to the next but one, whose class they share."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) + (np.arange(n) % 2)[:, None]
    edges = [(node, (node + 2) % n) for node in range(n)]
    attr = rng.normal(size=(n, n_edge_features)) if n_edge_features else None
    return Graph.from_edges(edges, sparse.csr_array(x) if is_sparse else x, attr)


def devices_of(estimator):
    return {tensor.device.type for tensor in estimator.net_.module_.parameters()}


@pytest.mark.parametrize("data", [table, series])
@each_architecture
def test_fit_and_predict(architecture, data):
    X, y = data()
    clf = classifier(architecture).fit(X, y)
    assert devices_of(clf) == {"cuda"}
    probabilities = clf.predict_proba(X)
    assert isinstance(probabilities, np.ndarray)
    assert probabilities.dtype == np.float64
    assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    on_cpu = classifier(architecture, device="cpu").fit(X, y)
    assert_allclose(probabilities, on_cpu.predict_proba(X), rtol=0, atol=0.1)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "auto"])
def test_names_of_the_device(device):
    clf = classifier(device=device).fit(*table())
    assert clf.net_.device.startswith("cuda")
    assert devices_of(clf) == {"cuda"}


def test_a_device_that_is_not_there():
    count = torch.cuda.device_count()
    with pytest.raises(ValueError, match=f"sees {count} CUDA device"):
        classifier(device=f"cuda:{count}").fit(*table())


@pytest.mark.parametrize("data", [table, series])
@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
@each_architecture
def test_precisions(architecture, precision, data):
    X, y = data()
    clf = classifier(architecture, precision=precision).fit(X, y)
    dtype = torch.float64 if precision == "float64" else torch.float32
    assert {tensor.dtype for tensor in clf.net_.module_.parameters()} == {dtype}
    expected = classifier(architecture).fit(X, y).predict_proba(X)
    assert_allclose(clf.predict_proba(X), expected, rtol=0, atol=0.1)


@pytest.mark.parametrize("loss", ["squared_error", "quantile", "poisson"])
@pytest.mark.parametrize("linear_skip", [True, False])
def test_regression(loss, linear_skip):
    X, _ = table()
    quantile = 0.5 if loss == "quantile" else None
    reg = AttentionRegressor(
        SMALL, loss=loss, quantile=quantile, linear_skip=linear_skip, **OPTIONS
    )
    y = np.exp(X["b"].to_numpy())
    weight = np.linspace(0.5, 2, 100)
    assert np.isfinite(reg.fit(X, y, sample_weight=weight).predict(X)).all()


def test_early_stopping_and_partial_fit():
    X, y = table()
    clf = classifier(early_stopping=True, max_epochs=5).fit(X, y)
    assert "valid_loss" in clf.history_[-1]
    n_before = clf.n_iter_
    assert clf.partial_fit(X, y).n_iter_ == n_before + 1
    assert devices_of(clf) == {"cuda"}


def test_a_row_is_predicted_alike_in_any_company():
    X, y = table(300)
    clf = classifier().fit(X, y)
    expected = clf.predict_proba(X)
    alone = np.concatenate([clf.predict_proba(X[row : row + 1]) for row in (0, 3, 299)])
    assert_allclose(alone, expected[[0, 3, 299]], rtol=0, atol=1e-6)


def test_one_seed_one_prediction_and_the_random_state_is_left_alone():
    X, y = table()
    state = torch.cuda.get_rng_state()
    first, second = classifier().fit(X, y), classifier().fit(X, y)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert_allclose(first.predict_proba(X), second.predict_proba(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("calibration", ["refit", "split", None])
@each_architecture
def test_forecasts(architecture, calibration):
    y = load_airline()
    forecaster = AttentionForecaster(architecture, calibration=calibration, **OPTIONS)
    forecaster.fit(y[:120], fh=[1, 2, 3])
    assert devices_of(forecaster) == {"cuda"}
    assert np.isfinite(forecaster.predict()).all()
    if calibration is not None:
        assert np.isfinite(forecaster.predict_interval().to_numpy()).all()
    forecaster.update(y[120:130])
    assert forecaster.predict().index[0] == y.index[130]


def test_panels_and_searches():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2, 8)), np.arange(20) % 2
    search = GridSearchCV(
        AttentionTimeSeriesClassifier(SMALL, **OPTIONS),
        {"architecture__num_heads": [1, 2]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert search.predict(X).shape == (20,)


def test_attention_is_recorded_on_the_cpu():
    X, y = table()
    record = record_attention(classifier().fit(X, y), X)[0]
    assert isinstance(record.weights, np.ndarray)
    assert_allclose(record.weights.sum(axis=-1), 1.0, atol=1e-5)


@each_architecture
def test_attention_is_followed_and_doubted_as_on_the_cpu(architecture):
    X, y = table()
    clf = classifier(architecture).fit(X, y)
    there = copy.deepcopy(clf)
    there.net_.module_.to("cpu")
    there.net_.device = "cpu"
    for explain in (attention_rollout, gradient_rollout, last_attention):
        on_cuda, on_cpu = explain(clf, X), explain(there, X)
        assert_allclose(on_cuda.importances, on_cpu.importances, atol=1e-4)
    norms = value_weighted_attention(clf, X).records[-1].weights
    assert_allclose(
        norms, value_weighted_attention(there, X).records[-1].weights, atol=1e-4
    )
    changed = value_zeroing(clf, X).records[-1].weights
    assert_allclose(changed, value_zeroing(there, X).records[-1].weights, atol=1e-4)
    entropy = attention_entropy(clf, X).mean[0]
    assert_allclose(entropy, attention_entropy(there, X).mean[0], atol=1e-4)
    for method in ("ablate", "gradient", "permute"):
        importance = head_importance(clf, X, y, method=method, random_state=0)
        assert np.isfinite(importance.importances).all()


def test_heads_are_taken_out():
    X, y = table()
    clf = classifier().fit(X, y)
    pruned = prune_heads(clf, {"blocks.0": [1]})
    assert next(pruned.net_.module_.parameters()).device.type == "cuda"
    again = pickle.loads(pickle.dumps(pruned))
    assert_allclose(again.predict_proba(X), pruned.predict_proba(X), atol=1e-6)


def test_pickles_stay_on_their_device_and_train_on():
    X, y = table()
    clf = classifier().partial_fit(X, y)
    copied = pickle.loads(pickle.dumps(clf))
    assert devices_of(copied) == {"cuda"}
    assert_array_equal(copied.predict_proba(X), clf.predict_proba(X))
    assert devices_of(copied.partial_fit(X, y)) == {"cuda"}


def without_cuda(code, *arguments):
    """Run Python where no CUDA device is to be seen; return what it printed."""
    import os

    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", textwrap.dedent(code)]
        + [str(argument) for argument in arguments],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_pickle_predicts_where_there_is_no_cuda(tmp_path, precision):
    X, y = table()
    clf = classifier(precision=precision).fit(X, y)
    (tmp_path / "fitted.pickle").write_bytes(pickle.dumps((clf, X)))
    without_cuda(
        """
        import pickle, sys, warnings
        import numpy as np
        import torch

        assert not torch.cuda.is_available()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with open(sys.argv[1], "rb") as file:
                clf, X = pickle.load(file)
        told = [str(warning.message) for warning in caught]
        assert any("it is put on the CPU" in message for message in told), told
        np.save(sys.argv[2], clf.predict_proba(X))
        assert clf.net_.device == "cpu"
        """,
        tmp_path / "fitted.pickle",
        tmp_path / "probabilities.npy",
    )
    found = np.load(tmp_path / "probabilities.npy")
    tolerance = 1e-5 if precision == "float32" else 5e-2
    assert_allclose(found, clf.predict_proba(X), rtol=0, atol=tolerance)


def test_training_goes_on_where_there_is_no_cuda_once_told_so(tmp_path):
    X, y = table()
    clf = classifier().partial_fit(X, y)
    (tmp_path / "fitted.pickle").write_bytes(pickle.dumps((clf, X, y)))
    printed = without_cuda(
        """
        import pickle, sys, warnings

        warnings.simplefilter("ignore")
        with open(sys.argv[1], "rb") as file:
            clf, X, y = pickle.load(file)
        try:
            clf.partial_fit(X, y)
        except ValueError as error:
            assert "device='cpu'" in str(error)
        else:
            raise AssertionError("It asked for CUDA, and there is none.")
        print(clf.set_params(device="cpu").partial_fit(X, y).n_iter_)
        """,
        tmp_path / "fitted.pickle",
    )
    assert printed.strip() == "2"


each_graph_architecture = pytest.mark.parametrize(
    "architecture", ["gat", "gatv2", "graph_transformer"]
)


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
@pytest.mark.parametrize("is_sparse", [True, False])
@each_graph_architecture
def test_nodes(architecture, is_sparse, mode):
    graph = ring(is_sparse=is_sparse, n_edge_features=2)
    ids, y = graph.nodes, np.arange(60) % 2
    clf, on_cpu = (
        NodeClassifier(
            architecture, graph=graph, mode=mode, **{**OPTIONS, "device": device}
        ).fit(ids[:40], y[:40], X_val=ids[40:50], y_val=y[40:50])
        for device in ("cuda", "cpu")
    )
    assert devices_of(clf) == {"cuda"}
    expected = on_cpu.predict_proba(ids)
    assert_allclose(clf.predict_proba(ids), expected, rtol=0, atol=0.2)
    for record in record_attention(clf):
        assert isinstance(record.weights, np.ndarray)
        assert record.weights.shape[0] == record.edge_index.shape[1]
    again = pickle.loads(pickle.dumps(clf))
    assert_allclose(again.predict_proba(ids), clf.predict_proba(ids), atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
@each_graph_architecture
def test_sampled_neighbourhoods(architecture, precision):
    graph = ring(200)
    reg = NodeRegressor(
        architecture,
        graph=graph,
        num_neighbors=2,
        batch_size=32,
        precision=precision,
        early_stopping=True,
        **OPTIONS,
    )
    reg.fit(graph.nodes, graph.x[:, 0], sample_weight=np.linspace(0.5, 2, 200))
    assert np.isfinite(reg.predict(graph.nodes)).all()


@each_graph_architecture
def test_tables_by_their_nearest_rows(architecture):
    X, y = table()
    assert np.isfinite(classifier(architecture).fit(X, y).predict_proba(X)).all()


@each_graph_architecture
def test_lists_of_graphs(architecture):
    graphs = [ring(5 + number % 7, seed=number) for number in range(40)]
    y = np.arange(40) % 2
    clf = classifier(architecture).fit(graphs, y)
    assert devices_of(clf) == {"cuda"}
    assert np.isfinite(clf.predict_proba(graphs)).all()
    assert record_attention(clf, graphs)[-1].kind == "pooling"


NUMBERS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier"}


def texts(n=48):
    """Write texts of two to seven words; "good" or "bad" is one of them."""
    rng = np.random.default_rng(0)
    words = list(NUMBERS)
    X = []
    for number in range(n):
        text = rng.choice(words, size=1 + number % 6).tolist()
        X.append(" ".join([*text, ("good", "bad")[number % 2]]))
    return X, np.arange(n) % 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "architecture",
    [
        *("self_attention", "bidirectional_attention", "text_encoder"),
        *("hierarchical_attention", "tener", "transformer_xl", "transformer"),
    ],
)
def test_texts(architecture, precision):
    X, y = texts()
    clf, on_cpu = (
        classifier(architecture, device=device, precision=precision).fit(X, y)
        for device in ("cuda", "cpu")
    )
    assert devices_of(clf) == {"cuda"}
    expected = on_cpu.predict_proba(X)
    assert_allclose(clf.predict_proba(X), expected, rtol=0, atol=0.2)
    assert isinstance(record_attention(clf, X[:3])[0].weights, np.ndarray)
    again = pickle.loads(pickle.dumps(clf))
    assert_allclose(again.predict_proba(X), clf.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("architecture", ["interactive_attention", "text_encoder"])
def test_pairs_of_texts(architecture):
    X, y = texts()
    pairs = list(zip(X[::-1], X, strict=True))
    clf = classifier(architecture).fit(pairs, y)
    assert devices_of(clf) == {"cuda"}
    assert np.isfinite(clf.predict_proba(pairs)).all()


@pytest.mark.parametrize("crf", [True, False])
@pytest.mark.parametrize("architecture", ["self_attention", "tener"])
def test_tagger(architecture, crf):
    X = [text.split() for text in texts()[0]]
    y = [["B-X" if word in {"good", "bad"} else "O" for word in row] for row in X]
    options = {**OPTIONS, "crf": crf, "max_epochs": 20, "lr": 0.01}
    tagger = AttentionTagger(architecture, **options).fit(X, y)
    assert devices_of(tagger) == {"cuda"}
    assert tagger.score(X, y) > 0.9
    for shares, row in zip(tagger.predict_proba(X), X, strict=True):
        assert shares.shape == (len(row), len(tagger.classes_))
        assert_allclose(shares.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("architecture", ["transformer", "rnn_seq2seq"])
def test_translator(architecture, beam_size):
    X = [f"{a} {b} {c} {b}" for a in NUMBERS for b in NUMBERS for c in NUMBERS]
    y = [" ".join(NUMBERS[word] for word in text.split()) for text in X]
    options = {**OPTIONS, "max_epochs": 40, "lr": 0.005, "batch_size": 8}
    translator = AttentionTranslator(architecture, beam_size=beam_size, **options)
    translator.fit(X, y)
    assert devices_of(translator) == {"cuda"}
    assert translator.score(X, y) > 50
    alone = [translator.predict([text])[0] for text in X[:4]]
    assert alone == translator.predict(X)[:4].tolist()
    assert isinstance(record_attention(translator, X[:2])[-1].weights, np.ndarray)


@pytest.mark.parametrize("architecture", ["text_encoder", "transformer_xl"])
def test_pretraining_on_texts(architecture):
    X, y = texts()
    clf = classifier(architecture).pretrain(X)
    assert devices_of(clf.fit(X, y)) == {"cuda"}
    assert np.isfinite(clf.predict_proba(X)).all()
