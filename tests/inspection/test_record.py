"""Recorded attention: names, shapes, sums, and what a record leaves alone."""

import weakref

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
    AttentionTagger,
    AttentionTimeSeriesClassifier,
    AttentionTranslator,
    LinearForecaster,
    record_attention,
)
from skattn.architectures import (
    TFT,
    BidirectionalAttention,
    ITransformer,
    LSTMSeq2Seq,
    PatchTST,
    RNNSeq2Seq,
    SelfAttention,
    TemporalAttention,
    TextEncoder,
    TimeXer,
    Transformer,
)
from skattn.inspection import AttentionRecord, attention_weights
from skattn.inspection._run import walk
from skattn.text import TokenEncoder

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


# The window and the horizon

INDICES = {
    "days": (
        pd.date_range("2000-01-01", periods=20, freq="D"),
        [f"2000-01-{day} 00:00:00" for day in range(17, 21)],
        ["2000-01-21 00:00:00", "2000-01-22 00:00:00"],
    ),
    "quarters": (
        pd.period_range("2000Q1", periods=20, freq="Q"),
        ["2004Q1", "2004Q2", "2004Q3", "2004Q4"],
        ["2005Q1", "2005Q2"],
    ),
    "numbers": (pd.RangeIndex(100, 120), ["116", "117", "118", "119"], ["120", "121"]),
}


def forecaster(architecture, **params):
    options = {"window_length": 4, "calibration": None, **OPTIONS}
    return AttentionForecaster(architecture, **{**options, **params})


def frame_of(names, index):
    values = np.random.default_rng(0).normal(size=(len(index), len(names)))
    return pd.DataFrame(values, index=index, columns=names)


@pytest.mark.parametrize(("index", "past", "future"), INDICES.values(), ids=INDICES)
def test_steps_of_window_and_horizon_are_named_by_their_times(index, past, future):
    y = frame_of(["load"], index)
    (record,) = record_attention(forecaster(LSTMSeq2Seq(8)).fit(y, fh=[2]))
    # The net forecasts every step up to the longest.
    assert (record.queries, record.keys) == (future, past)
    assert record.weights.shape == (1, 1, 2, 4)


def test_steps_are_counted_from_the_ends_of_several_series():
    index = pd.period_range("2000-01", periods=20, freq="M")
    y = frame_of(["load"], index)
    panel = pd.concat({"a": y, "b": y[:-3]}, names=["series", "time"])
    fitted = forecaster(TFT(8)).fit(panel, fh=[1, 2])
    records = {record.layer: record for record in record_attention(fitted)}
    window, horizon = ["-3", "-2", "-1", "0"], ["+1", "+2"]
    assert records["past"].queries == window
    assert records["future"].queries == horizon
    assert records["attention"].queries == horizon
    assert records["attention"].keys == window + horizon
    assert records["static"].queries == ["static"]
    assert records["attention"].weights.shape[0] == 2


def test_each_series_of_a_panel_is_a_sample():
    y = load_airline()
    other = y[::-1].set_axis(y.index)
    panel = pd.concat({"a": y, "b": other, "c": y}).to_frame("y")
    fitted = forecaster(SMALL).fit(panel, fh=[1])
    first, second, third = record_attention(fitted)[0].weights
    assert_array_equal(first, third)
    assert np.abs(first - second).max() > 1e-3


def test_times_go_on_from_updates():
    index = pd.period_range("2000-01", periods=20, freq="M")
    y = frame_of(["load"], index)
    fitted = forecaster(LSTMSeq2Seq(8)).fit(y[:-1], fh=[1])
    assert record_attention(fitted)[0].queries == ["2001-08"]
    fitted.update(y[-1:], update_params=False)
    assert record_attention(fitted)[0].queries == ["2001-09"]


# Columns that are called what an axis is called.
AWKWARD = ["time", "channels", "horizon", "features"]


@pytest.mark.parametrize("architecture", [TFT(8), ITransformer(8), TimeXer(8)])
def test_names_that_the_data_gave_are_not_looked_up(architecture):
    index = pd.period_range("2000-01", periods=22, freq="M")
    y, X = frame_of(["time"], index), frame_of([*AWKWARD[1:], "time "], index)
    X["horizon"] = np.where(X["horizon"] > 0, "a", "b")  # categories come last
    fitted = forecaster(architecture).fit(y[:20], X=X[:20], fh=[1, 2])
    records = record_attention(fitted, X[20:])
    record = next(r for r in records if len(r.keys) == 5)
    assert record.keys == ["time", "channels", "features", "time ", "horizon"]
    assert record.weights.shape[-1] == 5


def test_columns_of_a_table_are_not_looked_up():
    X, y = frame()
    X = X.set_axis(["features", "time", "cls"], axis=1)
    record = record_attention(classifier().fit(X, y), X)[0]
    assert record.keys == ["cls", "time", "cls", "features"]


def test_tokens_that_only_the_architecture_knows_are_numbered():
    index = pd.RangeIndex(40)
    y = frame_of(["a", "b"], index)
    sizes = {"patch_length": 4, "stride": 4, "num_heads": 2, "num_layers": 1}
    fitted = forecaster(PatchTST(8, **sizes), window_length=12).fit(y, fh=[1])
    (record,) = record_attention(fitted)
    patches = [f"patch {number}" for number in range(4)]
    assert record.queries == record.keys == patches
    assert record.weights.shape == (1, 2 * 2, 4, 4)  # the heads of both channels
    timexer = TimeXer(8, 2, 1, patch_length=4)
    fitted = forecaster(timexer, window_length=12).fit(y, fh=[1])
    record = record_attention(fitted)[0]
    assert record.keys == ["global", "patch 0", "patch 1", "patch 2"]


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
    with pytest.raises(TypeError, match="attention estimators; LinearForecaster is"):
        record_attention(LinearForecaster())
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
    with pytest.raises(TypeError, match="AttentionClassifier is a class"):
        record_attention(AttentionClassifier, X)
    for attending in (clf, make_pipeline(FunctionTransformer(), clf)):
        with pytest.raises(ValueError, match="got no samples: X is None"):
            record_attention(attending)
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


# Texts, whose tokens are names of their own in each sample

SENTENCES = ["one two", "three", "", "two two three one", "five"]
LABELS = [0, 1, 0, 1, 0]


def check_named_weights(record, names_of_queries, names_of_keys):
    """Rows sum to one over real keys; what is padded is zero."""
    assert record.queries == names_of_queries
    assert record.keys == names_of_keys
    n, _, n_queries, n_keys = record.weights.shape
    assert n == len(names_of_queries)
    assert n_queries == max(map(len, names_of_queries))
    assert n_keys == max(map(len, names_of_keys))
    for weights, queries, keys in zip(
        record.weights, names_of_queries, names_of_keys, strict=True
    ):
        real = weights[:, : len(queries)]
        assert (real[..., len(keys) :] == 0).all()
        assert_allclose(real.sum(axis=-1), 1.0, atol=1e-5)


def test_texts_are_named_by_their_tokens_behind_extra_ones():
    small = TextEncoder(d_model=8, num_heads=2, num_layers=1)
    clf = classifier(small).fit(SENTENCES[:4], LABELS[:4])
    [record] = record_attention(clf, SENTENCES)
    words = [text.split() or ["[UNK]"] for text in SENTENCES]
    named = [["cls", *each] for each in words]
    check_named_weights(record, named, named)
    [alone] = record_attention(clf, SENTENCES[1:2])
    assert alone.keys == [["cls", "three"]]
    assert_array_equal(alone.weights[0], record.weights[1, :, :2, :2])


def test_pairs_are_named_on_both_sides():
    pairs = [(text, text[:3] or "one") for text in SENTENCES[:4]]
    small = TextEncoder(d_model=8, num_heads=2, num_layers=1)
    clf = classifier(small).fit(pairs, LABELS[:4])
    [record] = record_attention(clf, pairs[:2])
    named = [
        ["cls", "one", "two", "separator", "one"],
        ["cls", "three", "separator", "thr"],
    ]
    assert record.keys == record.queries == named
    check_named_weights(record, named, named)
    # What lies padded in between in company does not alone.
    longer = [("one two", "two"), ("one one one two two three three three five", "two")]
    [record] = record_attention(clf, longer)
    for sample, pair in enumerate(longer):
        [alone] = record_attention(clf, [pair])
        assert record.of(sample).keys == alone.of(0).keys
        assert_array_equal(record.of(sample).weights, alone.of(0).weights)


def test_sentences_of_a_tagger_are_named_by_their_tokens():
    X = [["Ann", "sleeps"], ["Bob"], ["Ann", "and", "Bob"]]
    y = [["B-PER", "O"], ["B-PER"], ["B-PER", "O", "B-PER"]]
    tagger = AttentionTagger(SMALL, **OPTIONS).fit(X, y)
    for record in record_attention(tagger, X):
        assert [
            names[-len(each) :] for names, each in zip(record.keys, X, strict=True)
        ] == X
        assert_allclose(record.weights[0, :, 0].sum(axis=-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 2])
@pytest.mark.parametrize(
    "architecture",
    [Transformer(d_model=8, num_heads=2, num_layers=1), RNNSeq2Seq(d_model=8)],
    ids=lambda architecture: architecture.name,
)
@pytest.mark.filterwarnings("ignore:.*cut off:UserWarning")
def test_alignments_are_between_the_words_of_both_languages(architecture, beam_size):
    X = ["one two", "three", "two", "one one one"]
    y = ["eins zwei", "drei", "zwei", "eins eins eins"]
    translator = AttentionTranslator(
        architecture,
        token_encoder=TokenEncoder("word"),
        shared_vocabulary=False,
        beam_size=beam_size,
        max_length=5,
        **OPTIONS,
    ).fit(X, y)
    sentences = ["one", "", "three two one", "five"]
    source = [[*text.split(), "[END]"] for text in sentences]
    source[3] = ["[UNK]", "[END]"]
    found = translator.predict(sentences)
    written = [[*text.split(), "[END]"] for text in found]
    assert written[1] == ["[END]"]
    records = {
        record.kind: record for record in record_attention(translator, sentences)
    }
    cross = records["cross"]
    check_named_weights(cross, written, source)
    if architecture.name == "transformer":
        given = [["[START]", *names[:-1]] for names in written]
        own = next(
            record
            for record in record_attention(translator, sentences)
            if record.kind == "self" and record.queries == written
        )
        check_named_weights(own, written, given)
        # What is written next is not seen.
        length = own.weights.shape[-1]
        later = np.triu_indices(length, 1)
        assert (own.weights[..., later[0], later[1]] == 0).all()


def test_tokens_have_names_behind_an_encoder_of_its_own():
    X = ["one two", "two three three", "one", "three one two"]
    pipeline = make_pipeline(TokenEncoder("word"), classifier()).fit(X, [0, 1, 0, 1])
    record = record_attention(pipeline, X)[0]
    assert record.keys[1] == ["cls", "two", "three", "three"]
    search = GridSearchCV(pipeline, {"attentionclassifier__lr": [1e-3]}, cv=2)
    assert record_attention(search.fit(X, [0, 1, 0, 1]), X)[0].keys == record.keys


def test_layers_and_heads_are_chosen_and_joined():
    X, y = frame()
    clf = classifier().fit(X, y)
    first, last = record_attention(clf, X)
    chosen = attention_weights(clf, X, layers=[-1], heads=[1, 0])
    assert chosen.layers == ["blocks.1"]
    assert_array_equal(chosen.records[0].weights, last.weights[:, [1, 0]])
    named = attention_weights(clf, X, layers="blocks.0", aggregate="max").records[0]
    assert_array_equal(named.weights[:, 0], first.weights.max(axis=1))


@pytest.mark.parametrize("lengths", [[12] * 6, [12, 9, 7, 12, 5, 8]])
def test_heads_of_groups_are_chosen_and_joined_in_each_group(lengths):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(2, length)) for length in lengths]
    net = PatchTST(8, num_heads=2, num_layers=1, patch_length=4, stride=4)
    clf = classifier(net).fit(X, [0, 1] * 3)
    (whole,) = record_attention(clf, X)
    assert (whole.groups, whole.weights.shape[1]) == (2, 4)
    (chosen,) = attention_weights(clf, X, heads=1).records
    assert_array_equal(chosen.weights, whole.weights[:, [1, 3]])
    (joined,) = attention_weights(clf, X, aggregate="max").records
    by_group = np.stack([whole.weights[:, :2], whole.weights[:, 2:]], axis=1)
    assert_array_equal(joined.weights, by_group.max(axis=2))
    for record in (chosen, joined):
        assert record.groups == record.weights.shape[1] == 2
        if record.mask is not None:
            np.broadcast_to(record.mask, record.weights.shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": []}, "heads is empty: name some of the heads"),
        ({"layers": "blocks.7"}, "no layer 'blocks.7': .* recorded 'blocks.0', 'bl"),
        ({"layers": 5}, "There is no layer 5"),
        ({"layers": 0.5}, "There is no layer 0.5"),
        ({"heads": "0"}, "has no head '0': its 2 heads"),
        ({"heads": [0.0]}, "has no head 0.0: its 2 heads"),
        ({"heads": 9}, "has no head 9: its 2 heads are numbered from 0 to 1"),
        ({"aggregate": "sum"}, "aggregate='sum' must be None, 'mean', 'max' or 'min'"),
    ],
)
def test_what_is_not_there_is_named(options, message):
    X, y = frame()
    with pytest.raises(ValueError, match=message):
        attention_weights(classifier().fit(X, y), X, **options)


def test_of_all_batches_but_one_only_what_is_returned_is_held(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1200, 3)).astype(np.float32)
    clf = classifier().fit(X[:50], np.arange(50) % 2)
    held, most = [], []

    def watched(subject):
        for batch in walk(subject):
            held.append(weakref.ref(batch.records[0].values))
            yield batch
            del batch
            most.append(sum(values() is not None for values in held))

    monkeypatch.setattr("skattn.inspection._record.walk", watched)
    attention_weights(clf, X, aggregate="mean")
    assert len(most) == 5
    assert max(most) <= 2


def test_a_mask_tells_padding_and_one_sample_has_none():
    X = ["one two", "two three three", "one", "three one two"]
    clf = classifier(token_encoder=TokenEncoder("word"))
    record = record_attention(clf.fit(X, [0, 1, 0, 1]), X)[0]
    assert record.mask[0, 0, 0].tolist() == [True, True, True, False]
    one = record.of(0)
    assert (one.keys, one.weights.shape) == (["cls", "one", "two"], (1, 2, 3, 3))
    with pytest.raises(IndexError, match="no sample 4: 4 were recorded"):
        record.of(4)
