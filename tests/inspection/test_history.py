"""Summaries of attention after each epoch, which leave training as it is."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from sktime.datasets import load_airline

from skattn import (
    Architecture,
    AttentionClassifier,
    AttentionForecaster,
    AttentionTranslator,
    Checkpoint,
    Graph,
    NodeClassifier,
)
from skattn.architectures import GAT, TFT, SelfAttention, TextEncoder, Transformer
from skattn.inspection import (
    AttentionHistory,
    attention_distance,
    attention_entropy,
    attention_weights,
)
from skattn.text import TokenEncoder

OPTIONS = {"max_epochs": 3, "random_state": 0, "num_threads": 1}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=2, dropout=0.3)
LENGTHS = (10, 6, 10, 3, 8, 7)


def classifier(architecture=SMALL, callbacks=None, **params):
    options = {**OPTIONS, "linear_skip": False, **params}
    return AttentionClassifier(architecture, callbacks=callbacks, **options)


def series():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, length)) for length in LENGTHS], [0, 1] * 3


def graph(n=30):
    rng = np.random.default_rng(0)
    edges = rng.integers(n, size=(2, 90))
    edges = np.unique(edges[:, edges[0] != edges[1]], axis=1)
    return Graph(edges, rng.normal(size=(n, 3)), directed=True)


def table():
    X = np.random.default_rng(0).normal(size=(60, 4))
    return X, X[:, 0] * X[:, 1] > 0


def graphs():
    rng = np.random.default_rng(0)
    edges = np.array([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])
    X = [Graph(edges, rng.normal(size=(4, 2)), directed=True) for _ in range(8)]
    return X, [0, 1] * 4


def weights_of(estimator):
    return estimator.net_.module_.state_dict()


def same(first, second):
    one, other = weights_of(first), weights_of(second)
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_keeps_what_the_functions_measure():
    X, y = series()
    clf = classifier(callbacks=[AttentionHistory(100)], early_stopping=False).fit(X, y)
    frame = AttentionHistory.of(clf).to_frame()
    assert list(frame) == [
        "epoch", "layer", "kind", "head", "entropy", "distance", "similarity"
    ]  # fmt: skip
    assert len(frame) == 3 * 2 * 2
    last = frame[frame.epoch == 3]
    entropy = np.concatenate(attention_entropy(clf, X).mean)
    assert_allclose(last.entropy, entropy, rtol=1e-5)
    distance = attention_distance(clf, X).mean[0]
    assert_allclose(last.distance[:2], distance, rtol=1e-5)
    assert last.distance[2:].isna().all()
    assert frame.similarity[frame.epoch == 1].isna().all()
    later = frame.similarity[frame.epoch > 1]
    assert ((later > 0.5) & (later < 1)).all()


def test_similarity_is_to_the_epoch_before():
    from scipy.spatial.distance import jensenshannon

    X, y = table()
    options = {"lr_schedule": None, "early_stopping": False}
    both = [classifier(max_epochs=n, **options).fit(X, y) for n in (1, 2)]
    clf = classifier(callbacks=[AttentionHistory(60)], max_epochs=2, **options)
    frame = AttentionHistory.of(clf.fit(X, y)).to_frame()
    before, after = (attention_weights(each, X).records for each in both)
    expected = [
        1 - jensenshannon(p.weights[:, h], q.weights[:, h], base=2, axis=-1).mean()
        for p, q in zip(before, after, strict=True)
        for h in range(2)
    ]
    assert_allclose(frame.similarity[frame.epoch == 2], expected, atol=1e-4)


CASES = {
    "series": (classifier, series),
    "table with held-out rows": (
        lambda **params: classifier(early_stopping=True, **params),
        table,
    ),
    "graphs": (
        lambda **params: classifier(GAT(hidden_size=3, num_heads=2), **params),
        graphs,
    ),
    "texts": (
        lambda **params: classifier(
            TextEncoder(d_model=8, num_heads=2, num_layers=1, dropout=0.3), **params
        ),
        lambda: (["one two", "three", "one two three", "two"] * 3, [0, 1] * 6),
    ),
    "nodes": (
        lambda **params: NodeClassifier(
            GAT(hidden_size=3, num_heads=2), graph=graph(), **OPTIONS, **params
        ),
        lambda: (np.arange(30)[:, None], np.arange(30) % 2),
    ),
    "sampled neighbours": (
        lambda **params: NodeClassifier(
            GAT(hidden_size=3, num_heads=2),
            graph=graph(),
            batch_size=8,
            **OPTIONS,
            **params,
        ),
        lambda: (np.arange(30)[:, None], np.arange(30) % 2),
    ),
}


@pytest.mark.parametrize(("make", "data"), CASES.values(), ids=CASES)
def test_training_ends_with_the_same_weights(make, data):
    X, y = data()
    alone = make().fit(X, y)
    watched = make(callbacks=[AttentionHistory(5)]).fit(X, y)
    assert same(alone, watched)
    assert_array_equal(
        alone.history_[:, "train_loss"], watched.history_[:, "train_loss"]
    )
    rows = AttentionHistory.of(watched).records_
    assert all(0 <= row["entropy"] <= 1 for row in rows)


def test_a_forecaster():
    y = load_airline()

    def make(callbacks=None):
        return AttentionForecaster(
            TFT(8), window_length=6, calibration=None, callbacks=callbacks, **OPTIONS
        ).fit(y, fh=[1, 2])

    alone, watched = make(), make([AttentionHistory(5, every=2)])
    assert same(alone, watched)
    frame = AttentionHistory.of(watched).to_frame()
    assert list(frame.epoch.unique()) == [1, 3]
    # Steps of the horizon look back: at least a step on average.
    far = frame.distance[frame.layer == "attention"]
    assert ((far > 0) & (far < 7)).all()


@pytest.mark.filterwarnings("ignore:.*cut off:UserWarning")
def test_a_translator():
    X = ["one two", "three", "two", "one one one"]
    translator = AttentionTranslator(
        Transformer(d_model=8, num_heads=2, num_layers=1),
        token_encoder=TokenEncoder("word"),
        callbacks=[AttentionHistory()],
        **OPTIONS,
    ).fit(X, ["eins zwei", "drei", "zwei", "eins eins eins"])
    frame = AttentionHistory.of(translator).to_frame()
    assert set(frame.kind) == {"self", "cross"}
    assert frame.distance[frame.kind == "cross"].isna().all()
    assert frame.distance[frame.kind == "self"].notna().all()


def test_it_goes_into_a_pickle_a_clone_a_pipeline_and_a_search():
    X, y = table()
    clf = classifier(callbacks=[("look", AttentionHistory(5))])
    pipeline = make_pipeline(StandardScaler(), clf)
    search = GridSearchCV(pipeline, {"attentionclassifier__lr": [1e-3]}, cv=2)
    search.fit(X, y)
    kept = AttentionHistory.of(search).to_frame()
    again = AttentionHistory.of(pickle.loads(pickle.dumps(search))).to_frame()
    pd.testing.assert_frame_equal(kept, again)
    assert clone(clf).callbacks[0][1].get_params() == {"every": 1, "n_samples": 5}
    assert not hasattr(clf.callbacks[0][1], "records_")


class Interrupt(Callback):
    """End training in its third epoch."""

    def on_batch_begin(self, net, **_):
        if len(net.history) == 3:
            raise KeyboardInterrupt


def test_it_goes_on_from_a_checkpoint(tmp_path):
    X, y = table()

    def make(n_epochs):
        callbacks = [AttentionHistory(5), Checkpoint(tmp_path / f"{n_epochs}.pt")]
        return classifier(callbacks=callbacks, early_stopping=False, lr_schedule=None)

    whole = AttentionHistory.of(make(0).fit(X, y)).to_frame()

    cut = make(1)
    cut.callbacks = [*cut.callbacks, Interrupt()]
    with pytest.warns(UserWarning, match="interrupted"):
        cut.fit(X, y)
    again = AttentionHistory.of(make(1).fit(X, y)).to_frame()
    pd.testing.assert_frame_equal(whole, again)


@pytest.mark.parametrize("params", [{"n_samples": 0}, {"every": 1.5}, {"every": True}])
def test_parameters_are_checked(params):
    (name,) = params
    with pytest.raises(ValueError, match=f"{name}=.* at least 1"):
        classifier(callbacks=[AttentionHistory(**params)]).fit(*table())


def test_without_history():
    clf = classifier().fit(*table())
    with pytest.raises(ValueError, match="AttentionClassifier kept no history"):
        AttentionHistory.of(clf)


class Plain(Architecture):
    """A linear map."""

    api_version = 1
    name = "plain"
    supports = {"table": {"classification"}}
    citation = "none"

    def build(self, data):
        return _Linear(data)


class _Linear(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        self.head = torch.nn.Linear(data.n_features, data.n_outputs)

    def forward(self, x):
        return self.head(x)


def test_an_architecture_without_attention():
    with pytest.raises(ValueError, match="'plain' recorded no attention"):
        classifier(Plain(), callbacks=[AttentionHistory()]).fit(*table())
