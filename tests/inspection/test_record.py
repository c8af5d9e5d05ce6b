"""Recorded attention: names, shapes, sums, and what a record leaves alone."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sktime.datasets import load_airline
from sktime.exceptions import NotFittedError as SktimeNotFittedError
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.series.boxcox import LogTransformer
from torch import nn

import skattn
from skattn import (
    Architecture,
    AttentionClassifier,
    AttentionForecaster,
    AttentionRegressor,
    AttentionTimeSeriesClassifier,
    record_attention,
)
from skattn.architectures import (
    BidirectionalAttention,
    SelfAttention,
    TemporalAttention,
)
from skattn.inspection import AttentionRecord

OPTIONS = {"max_epochs": 1, "random_state": 0, "num_threads": 1}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=2)
ALL = [SMALL, TemporalAttention(d_model=8), BidirectionalAttention(d_model=8)]
each_architecture = pytest.mark.parametrize(
    "architecture", ALL, ids=lambda architecture: architecture.name
)


def classifier(architecture=SMALL, **params):
    options = {**OPTIONS, "linear_skip": False, **params}
    return AttentionClassifier(architecture, **options)


def frame(n=40):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "colour": rng.choice(["red", "blue"], size=n),
            "width": rng.normal(size=n),
            "height": rng.normal(size=n),
        }
    )
    X.loc[2, "width"] = np.nan
    return X, (X["height"] > 0).to_numpy()


def series(lengths=(10,) * 12):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(2, length)) for length in lengths]
    return X, np.arange(len(X)) % 2


# Names and shapes


def test_names_of_a_table():
    X, y = frame()
    first, last = record_attention(classifier().fit(X, y), X[:7])
    # Numeric columns come first, then categories; an extra token reads them.
    tokens = ["cls", "width", "height", "colour"]
    assert first.keys == last.keys == first.queries == tokens
    assert last.queries == ["cls"]
    assert first.weights.shape == (7, 2, 4, 4)
    assert last.weights.shape == (7, 2, 1, 4)
    assert (first.layer, last.layer) == ("blocks.0", "blocks.1")
    assert first.kind == "self"
    assert first.weights.dtype == np.float32


def test_names_of_an_array():
    X, y = frame()
    X = X[["width", "height"]].to_numpy()
    record = record_attention(classifier().fit(X, y), X)[0]
    assert record.keys == ["cls", "x0", "x1"]


@each_architecture
def test_every_query_shares_out_one(architecture):
    X, y = frame()
    clf = classifier(architecture).fit(X, y)
    for record in record_attention(clf, X):
        assert isinstance(record, AttentionRecord)
        assert record.normalised
        n, _, queries, keys = record.weights.shape
        assert (n, queries, keys) == (40, len(record.queries), len(record.keys))
        assert (record.weights >= 0).all()
        assert_allclose(record.weights.sum(axis=-1), 1.0, atol=1e-5)


@each_architecture
def test_samples_keep_their_order_whatever_their_length(architecture):
    X, y = series((10, 6, 10, 3, 8, 10, 7, 5))
    clf = classifier(architecture).fit(X, y)
    together = record_attention(clf, X)
    for number, single in enumerate(X):
        for joint, alone in zip(together, record_attention(clf, [single]), strict=True):
            width = alone.weights.shape[-1]
            height = alone.weights.shape[-2]
            part = joint.weights[number, :, :height, :width]
            assert_array_equal(part, alone.weights[0])


@each_architecture
def test_padded_steps_get_no_attention(architecture):
    lengths = (10, 6, 10, 3, 8)
    X, y = series(lengths)
    clf = classifier(architecture).fit(X, y)
    for record in record_attention(clf, X):
        extra = len([key for key in record.keys if not key.isdigit()])
        assert record.keys[extra:] == [str(step) for step in range(10)]
        assert record.weights.shape[-1] == extra + 10
        for weights, length in zip(record.weights, lengths, strict=True):
            assert (weights[..., extra + length :] == 0).all()
            assert_allclose(weights[:, 0].sum(axis=-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("lengths", [(5, 3), (12, 9), (29, 27), (40,)])
def test_steps_are_numbered_whatever_the_training_series_were(lengths):
    X, y = series((29, 20, 10, 29))
    clf = classifier().fit(X, y)
    record = record_attention(clf, series(lengths)[0])[0]
    longest = max(lengths)
    assert record.keys == ["cls", *map(str, range(longest))]
    assert record.weights.shape == (len(lengths), 2, longest + 1, longest + 1)


def test_names_of_a_panel():
    X, y = series()
    clf = AttentionTimeSeriesClassifier(SMALL, **OPTIONS).fit(np.array(X), y)
    records = record_attention(clf, np.array(X))
    sibling = classifier().fit(X, y)
    for ours, theirs in zip(records, record_attention(sibling, X), strict=True):
        assert_array_equal(ours.weights, theirs.weights)
        assert ours.keys == theirs.keys
    frames = [pd.DataFrame(each.T) for each in X]
    assert_array_equal(record_attention(clf, frames)[0].weights, records[0].weights)


def test_names_of_a_forecast():
    y = load_airline()
    forecaster = AttentionForecaster(SMALL, window_length=12, **OPTIONS)
    record = record_attention(forecaster.fit(y, fh=[1, 2]))[0]
    assert record.keys == ["cls", *map(str, y.index[-12:])]
    assert record.weights.shape == (1, 2, 13, 13)
    forecaster = forecaster.clone().fit(y[:-5], fh=[1, 2])
    forecaster.update(y[-5:], update_params=False)
    assert record_attention(forecaster)[0].keys == record.keys
    with pytest.raises(ValueError, match="without X"):
        record_attention(forecaster, y)


def test_the_window_of_a_short_series_is_padded_on_the_left():
    y = load_airline()[:6]
    forecaster = AttentionForecaster(SMALL, window_length=10, **OPTIONS)
    record = record_attention(forecaster.fit(y, fh=[1]))[0]
    assert record.keys == ["cls", *[""] * 4, *map(str, y.index)]
    assert (record.weights[..., 1:5] == 0).all()


# Around other estimators


def test_a_pipeline_is_walked_through():
    X, y = frame()
    X = X[["width", "height"]].fillna(0.0)
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"))
    pipeline = make_pipeline(*pipeline, classifier()).fit(X, y)
    record = record_attention(pipeline, X)[0]
    assert record.keys == ["cls", "width", "height"]
    scaled = pipeline[:-1].transform(X)
    assert_array_equal(
        record.weights, record_attention(pipeline[-1], scaled)[0].weights
    )
    alone = make_pipeline(classifier()).fit(X, y)
    assert record_attention(alone, X)[0].keys == record.keys


def test_a_search_is_walked_through():
    X, y = frame()
    search = GridSearchCV(
        make_pipeline(FunctionTransformer(), classifier()),
        {"attentionclassifier__architecture__num_heads": [1, 4]},
        cv=2,
    ).fit(X, y)
    heads = search.best_params_["attentionclassifier__architecture__num_heads"]
    record = record_attention(search, X[:3])[0]
    assert record.weights.shape[:2] == (3, heads)
    nested = make_pipeline(FunctionTransformer(), search).fit(X, y)
    assert_array_equal(record_attention(nested, X[:3])[0].weights, record.weights)


@pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")
def test_searches_and_pipelines_of_sktime_are_walked_through():
    y = load_airline()
    forecaster = AttentionForecaster(
        SMALL, window_length=12, calibration=None, **OPTIONS
    )
    pipeline = TransformedTargetForecaster(
        [("log", LogTransformer()), ("net", forecaster)]
    )
    by_hand = record_attention(forecaster.clone().fit(np.log(y), fh=[1, 2]))[0]
    record = record_attention(pipeline.fit(y, fh=[1, 2]))[0]
    assert record.keys == by_hand.keys
    assert_array_equal(record.weights, by_hand.weights)
    search = ForecastingGridSearchCV(
        pipeline,
        ExpandingWindowSplitter(fh=[1, 2], initial_window=132, step_length=12),
        {"net__architecture__num_heads": [2]},
    ).fit(y, fh=[1, 2])
    assert_array_equal(record_attention(search)[0].weights, by_hand.weights)


def test_a_forecaster_of_several_series_holds_several_nets():
    y = load_airline()
    several = pd.concat({"a": y, "b": y[::-1].set_axis(y.index)}).to_frame("y")
    forecaster = AttentionForecaster(
        SMALL, window_length=12, calibration=None, **OPTIONS
    ).fit(several, fh=[1])
    with pytest.raises(ValueError, match=r"one net each.*forecasters_\.iloc\[0, 0\]"):
        record_attention(forecaster)
    single = record_attention(forecaster.forecasters_.iloc[0, 0])[0]
    assert single.keys == ["cls", *map(str, y.index[-12:])]


def test_torch_runs_with_the_threads_of_the_estimator():
    class Counting(SelfAttention):
        name = "counting"

        def build(self, data):
            module = super().build(data)
            module.register_forward_pre_hook(
                lambda *_: seen.append(torch.get_num_threads())
            )
            return module

    X, y = frame()
    clf = classifier(Counting(d_model=8, num_heads=2), num_threads=2)
    seen = []
    clf.fit(X, y)
    seen.clear()
    before = torch.get_num_threads()
    record_attention(clf, X)
    assert set(seen) == {2}
    assert torch.get_num_threads() == before


# Errors


def test_errors():
    X, y = frame()
    numbers = X[["height"]]
    with pytest.raises(TypeError, match="LogisticRegression is none"):
        record_attention(LogisticRegression().fit(numbers, y), numbers)
    with pytest.raises(NotFittedError):
        record_attention(classifier(), X)
    with pytest.raises(NotFittedError):
        record_attention(make_pipeline(classifier()), X)
    # sktime has an exception of its own.
    with pytest.raises(SktimeNotFittedError):
        record_attention(AttentionTimeSeriesClassifier(SMALL), np.zeros((2, 1, 4)))
    with pytest.raises(SktimeNotFittedError):
        record_attention(AttentionForecaster(SMALL))
    clf = classifier().fit(X, y)
    with pytest.raises(ValueError, match="unseen at fit time"):
        record_attention(clf, X.rename(columns={"width": "girth"}))
    search = GridSearchCV(classifier(), {"lr": [1e-3]}, cv=2, refit=False).fit(X, y)
    with pytest.raises(TypeError, match="search over it"):
        record_attention(search, X)


def test_an_architecture_without_attention():
    class Silent(Architecture):
        api_version = 1
        name = "silent"
        supports = {"table": {"regression"}}
        citation = "Nobody in particular (2026)"

        def __init__(self, width=2):
            self.width = width

        def build(self, data):
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.head = nn.Linear(data.n_features, data.n_outputs)

                def forward(self, x):
                    return self.head(x)

            return Net()

    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 2))
    reg = AttentionRegressor(Silent(), **OPTIONS).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="'silent' recorded no attention"):
        record_attention(reg, X)


# What a record leaves alone


@each_architecture
def test_predictions_stay_the_same(architecture):
    X, y = frame()
    clf = classifier(architecture).fit(X, y)
    expected = clf.predict_proba(X)
    record_attention(clf, X)
    assert_array_equal(clf.predict_proba(X), expected)


@pytest.mark.parametrize("kind", ["table", "series"])
@each_architecture
def test_the_recorded_path_predicts_what_the_fused_one_does(architecture, kind):
    from skattn.nn import recording

    X, y = frame() if kind == "table" else series((10, 6, 10, 3, 8, 10, 7, 5))
    clf = classifier(architecture).fit(X, y)
    with recording(lambda record: None):
        recorded = clf.predict_proba(X)
    assert_allclose(recorded, clf.predict_proba(X), rtol=0, atol=1e-5)


def test_the_input_stays_as_it_is():
    X, y = frame()
    clf = classifier().fit(X, y)
    before = X.copy()
    record_attention(clf, X)
    pd.testing.assert_frame_equal(X, before)


def test_repr_and_public_name():
    X, y = frame()
    record = skattn.record_attention(classifier().fit(X, y), X)[0]
    assert repr(record) == (
        "AttentionRecord(layer='blocks.0', kind='self', samples=40, heads=2, "
        "queries=4, keys=4)"
    )
