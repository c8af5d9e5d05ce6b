"""Statistics of attention, each against a plain loop over one sample at a time."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datasets import load_airline

from skattn import (
    AttentionClassifier,
    AttentionForecaster,
    AttentionTranslator,
    Graph,
    NodeClassifier,
)
from skattn.architectures import (
    GAT,
    TFT,
    InteractiveAttention,
    LSTMSeq2Seq,
    PatchTST,
    SelfAttention,
    TemporalAttention,
    TextEncoder,
    Transformer,
)
from skattn.inspection import (
    Layer,
    attention_distance,
    attention_entropy,
    attention_sinks,
    attention_weights,
    head_similarity,
)
from skattn.inspection._run import subject_of, walk
from skattn.text import TokenEncoder

OPTIONS = {"max_epochs": 1, "random_state": 0, "num_threads": 1}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=2)
SENTENCES = ["one two", "three", "one two three two one", "two two one"]
LENGTHS = (10, 6, 10, 3, 8)


def classifier(architecture=SMALL, **params):
    return AttentionClassifier(architecture, **{**OPTIONS, **params})


def series():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, length)) for length in LENGTHS]


@pytest.fixture(scope="module")
def of_series():
    return classifier().fit(series(), [0, 1, 0, 1, 0])


@pytest.fixture(scope="module")
def of_texts():
    small = TextEncoder(d_model=8, num_heads=2, num_layers=1)
    return classifier(small).fit(SENTENCES, [0, 1, 0, 1])


def each_sample(estimator, X):
    """Give for each layer the weights (heads, queries, keys) of each sample alone."""
    for record in attention_weights(estimator, X).records:
        extra = sum(not key.isdigit() for key in record.keys[:1])
        yield [
            record.weights[
                number,
                :,
                : extra + length if len(record.queries) > 1 else 1,
                : extra + length,
            ].astype(np.float64)
            for number, length in enumerate(LENGTHS)
        ]


def flat(arrays):
    """Join (heads, queries) of several samples as (heads, n)."""
    return np.concatenate(arrays, axis=1)


# Entropy


def test_entropy_of_series_of_several_lengths(of_series):
    result = attention_entropy(of_series, series())
    assert result.layers == [Layer("blocks.0", "self"), Layer("blocks.1", "self")]
    assert result.skipped == {}
    assert [each.shape for each in result.entropy] == [(5, 2, 11), (5, 2, 1)]
    for number, samples in enumerate(each_sample(of_series, series())):
        expected = [entropy(w, axis=-1) / np.log(w.shape[-1]) for w in samples]
        for row, each in enumerate(expected):
            found = result.entropy[number][row]
            assert_allclose(found[:, : each.shape[1]], each, atol=1e-6)
            assert np.isnan(found[:, each.shape[1] :]).all()
        assert_allclose(result.mean[number], flat(expected).mean(axis=1), atol=1e-6)
        assert_allclose(result.std[number], flat(expected).std(axis=1), atol=1e-6)


def test_entropy_of_uniform_weights_is_one_and_of_one_key_zero(of_texts):
    network = of_texts.net_.module_
    queries = [
        module for name, module in network.named_modules() if "project_query" in name
    ]
    for query in queries:
        query.weight.data.zero_()
        query.bias.data.zero_()
    result = attention_entropy(of_texts, SENTENCES)
    assert result.entropy[0].shape == (4, 2, 6)
    real = ~np.isnan(result.entropy[0][:, 0])
    assert_array_equal(real.sum(axis=1), [3, 2, 6, 4])
    assert_allclose(result.mean[0], 1, atol=1e-6)
    assert_allclose(result.std[0], 0, atol=1e-6)
    alone = classifier(TemporalAttention(d_model=8)).fit(series(), [0, 1] * 2 + [0])
    single = attention_entropy(alone, [each[:, :1] for each in series()])
    assert_array_equal(single.entropy[0], np.zeros((5, 1, 1)))


@pytest.mark.filterwarnings("ignore:.*cut off:UserWarning")
def test_keys_that_causality_hides_do_not_count():
    X = ["one two", "three", "two", "one one one"]
    y = ["eins zwei", "drei", "zwei", "eins eins eins"]
    small = Transformer(d_model=8, num_heads=2, num_layers=1)
    translator = AttentionTranslator(
        small, token_encoder=TokenEncoder("word"), max_length=4, **OPTIONS
    ).fit(X, y)
    attention = attention_weights(translator, X).records
    result = attention_entropy(translator, X)
    for number, record in enumerate(attention):
        is_causal = record.kind == "self" and record.queries != record.keys
        for row in range(len(X)):
            one = record.of(row)
            for query in range(len(one.queries)):
                n_keys = query + 1 if is_causal else len(one.keys)
                p = one.weights[0, :, query].astype(np.float64)
                expected = entropy(p, axis=-1) / np.log(max(n_keys, 2))
                found = result.entropy[number][row, :, query]
                assert_allclose(found, expected, atol=1e-6)
            rest = result.entropy[number][row, :, len(one.queries) :]
            assert np.isnan(rest).all()


def test_layers_are_chosen(of_series):
    result = attention_entropy(of_series, series(), layers=-1)
    assert result.layers == [("blocks.1", "self")]
    with pytest.raises(ValueError, match="no layer 'x'"):
        attention_entropy(of_series, series(), layers="x")


def test_a_pipeline_is_walked_through():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(20, 3)), columns=list("abc"))
    pipeline = make_pipeline(StandardScaler(), classifier()).fit(X, X["a"] > 0)
    scaled = pipeline[0].transform(X)
    result = attention_entropy(pipeline, X)
    assert_allclose(result.mean[0], attention_entropy(pipeline[1], scaled).mean[0])
    for measure in (attention_sinks, head_similarity):
        assert_allclose(measure(pipeline, X).mean, measure(pipeline[1], scaled).mean)


def test_weights_that_do_not_sum_to_one_are_left_out():
    pairs = [(text, text[::-1]) for text in SENTENCES]
    clf = classifier(InteractiveAttention(d_model=8, normalization="joint")).fit(
        pairs, [0, 1, 0, 1]
    )
    records = attention_weights(clf, pairs).records
    assert not any(record.normalised for record in records)
    for measure in (attention_entropy, attention_sinks, head_similarity):
        with pytest.raises(ValueError, match=r"'interactive_attention': .*sum to one"):
            measure(clf, pairs)


# Distance


def test_distance_between_steps(of_series):
    result = attention_distance(of_series, series())
    # The extra token has no place; the last layer asks for nothing but it.
    assert result.layers == [("blocks.0", "self")]
    assert list(result.skipped) == [("blocks.1", "self")]
    samples = next(each_sample(of_series, series()))
    expected = []
    for row, weights in enumerate(samples):
        own = weights[:, 1:, 1:]
        own = own / own.sum(axis=-1, keepdims=True)
        steps = np.arange(own.shape[1])
        far = (own * np.abs(steps[:, None] - steps)).sum(axis=-1)
        expected.append(far)
        found = result.distance[0][row]
        assert_allclose(found[:, 1 : 1 + far.shape[1]], far, rtol=1e-5)
        assert np.isnan(found[:, 0]).all()
    assert_allclose(result.mean[0], flat(expected).mean(axis=1), rtol=1e-5)


def test_distance_between_patches_is_in_steps():
    y = load_airline()
    sizes = {"patch_length": 4, "stride": 3, "num_heads": 2, "num_layers": 1}
    forecaster = AttentionForecaster(
        PatchTST(8, **sizes), window_length=13, calibration=None, **OPTIONS
    ).fit(pd.DataFrame({"a": y, "b": -y}), fh=[1])
    (record,) = attention_weights(forecaster).records
    result = attention_distance(forecaster)
    places = 3 * np.arange(len(record.keys))
    far = (record.weights * np.abs(places[:, None] - places)).sum(axis=-1)
    assert_allclose(result.distance[0], far, rtol=1e-5)
    # Two channels, the first one's heads first.
    per_head = far.reshape(2, 2, -1).swapaxes(0, 1).reshape(2, -1)
    assert_allclose(result.mean[0], per_head.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("architecture", [TFT(8), LSTMSeq2Seq(8)])
def test_the_horizon_goes_on_where_the_window_ends(architecture):
    y = load_airline()
    forecaster = AttentionForecaster(
        architecture, window_length=6, calibration=None, **OPTIONS
    ).fit(y, fh=[1, 2, 3])
    result = attention_distance(forecaster)
    record = next(
        record
        for record in attention_weights(forecaster).records
        if record.query_axis == "horizon" and record.kind != "selection"
    )
    places = np.arange(record.weights.shape[3])
    far = np.abs(6 + np.arange(3)[:, None] - places)
    expected = (record.weights * far).sum(axis=-1)
    assert [layer.layer for layer in result.layers] == [record.layer]
    assert_allclose(result.distance[0], expected, rtol=1e-5)


def test_words_of_another_text_are_at_no_distance():
    pairs = [("one two", "three"), ("one", "two two three"), ("two", "one")]
    small = TextEncoder(d_model=8, num_heads=2, num_layers=1)
    clf = classifier(small).fit(pairs, [0, 1, 0])
    result = attention_distance(clf, pairs)
    batch = next(walk(subject_of(clf, pairs)))
    (record,) = batch.records
    weights, mask = record.weights.double().numpy(), record.mask.numpy()
    for row, words in enumerate([(2, 1), (1, 3), (1, 1)]):
        real = np.flatnonzero(mask[row, 0, 0])
        first, second = real[1 : 1 + words[0]], real[2 + words[0] :]
        assert len(second) == words[1]
        found = result.distance[0][row]
        for text in (first, second):
            own = weights[row][:, text][:, :, text]
            own = own / own.sum(axis=-1, keepdims=True)
            steps = np.arange(len(text))
            far = (own * np.abs(steps[:, None] - steps)).sum(axis=-1)
            assert_allclose(found[:, text], far, rtol=1e-5, atol=1e-9)
        assert np.isfinite(found[0]).sum() == sum(words)


def test_columns_have_no_distance():
    X = np.random.default_rng(0).normal(size=(20, 3))
    clf = classifier().fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match="one line of steps or tokens"):
        attention_distance(clf, X)


# Sinks


def test_sinks(of_series):
    result = attention_sinks(of_series, series())
    for number, samples in enumerate(each_sample(of_series, series())):
        shares = [weights.mean(axis=1) for weights in samples]  # (heads, keys)
        for row, share in enumerate(shares):
            found = result.received[number][row]
            assert_allclose(found[:, : share.shape[1]], share, atol=1e-6)
            assert np.isnan(found[:, share.shape[1] :]).all()
        largest = np.array([share.max(axis=1) for share in shares])
        assert_allclose(result.mean[number], largest.mean(axis=0), atol=1e-6)
        assert_allclose(result.std[number], largest.std(axis=0), atol=1e-6)
        even = np.mean([1 / share.shape[1] for share in shares])
        assert_allclose(result.uniform[number], even)
        for head in range(2):
            places = [share[head].argmax() for share in shares]
            assert places.count(result.position[number][head]) == max(
                map(places.count, places)
            )


# Similarity


def test_similarity_of_heads(of_series):
    result = head_similarity(of_series, series())
    first, last = each_sample(of_series, series())
    # The last layer's only query is the first one's first.
    of_head = [[w[head] for w in first] for head in range(2)]
    of_head += [[w[head] for w in last] for head in range(2)]
    rows = np.zeros((4, 4))
    for one, other in np.ndindex(4, 4):
        alike = [
            1 - jensenshannon(p[: len(q)], q[: len(p)], base=2, axis=-1)
            for p, q in zip(of_head[one], of_head[other], strict=True)
        ]
        rows[one, other] = np.concatenate(alike).mean()
    assert_allclose(result.similarity, rows, atol=1e-4)
    assert_allclose(result.similarity_std[np.diag_indices(4)], 0, atol=1e-6)
    assert result.heads[2] == ("blocks.1", "self", 0)
    assert_allclose(result.mean[0], rows[[0, 1], [1, 0]], atol=1e-5)
    assert_allclose(result.std[0], 0)


# Graphs


def graphs(n=6):
    rng = np.random.default_rng(0)
    made = []
    for number in range(n):
        nodes = 4 + number % 3
        ring = np.stack([np.arange(nodes), (np.arange(nodes) + 1) % nodes])
        edges = np.concatenate([ring, [[0], [2]]], axis=1)
        made.append(Graph(edges, rng.normal(size=(nodes, 2)), directed=True))
    return made, np.arange(n) % 2


def check_edges(record, result, sinks, similarity, number):
    """Compare with loops over the nodes of each graph."""
    source, target = record.edge_index
    sample = np.zeros_like(source) if record.sample is None else record.sample
    spread, shares, alike = [], [], []
    for graph in np.unique(sample):
        attends = np.unique(target[sample == graph])
        for node in attends:
            p = record.weights[(sample == graph) & (target == node)].astype(float)
            spread.append(entropy(p, axis=0) / np.log(max(len(p), 2)))
            alike.append(1 - jensenshannon(p[:, 0], p[:, 1], base=2))
        for node in np.unique(source[sample == graph]):
            p = record.weights[(sample == graph) & (source == node)]
            shares.append(p.sum(axis=0) / len(attends))
    assert_allclose(result.entropy[number], spread, atol=1e-5)
    assert_allclose(result.mean[number], np.mean(spread, axis=0), atol=1e-5)
    assert_allclose(sinks.received[number], shares, atol=1e-5)
    assert_allclose(similarity.mean[number], np.mean(alike), atol=1e-4)
    return np.array(shares)


def test_edges_of_a_list_of_graphs():
    X, y = graphs()
    clf = classifier(GAT(hidden_size=4, num_heads=2, num_layers=1)).fit(X, y)
    records = attention_weights(clf, X).records
    results = (
        attention_entropy(clf, X),
        attention_sinks(clf, X),
        head_similarity(clf, X),
    )
    for number, record in enumerate(records):
        if record.weights.shape[1] == 2:
            check_edges(record, *results, number)
    with pytest.raises(ValueError, match="one line"):
        attention_distance(clf, X)


def test_edges_of_one_graph():
    (graph,), _ = graphs(1)
    y = np.array([0, 1, 0, 1])
    clf = NodeClassifier(GAT(hidden_size=4, num_heads=2), graph=graph, **OPTIONS)
    clf.fit(np.arange(4)[:, None], y)
    record = attention_weights(clf, layers=0).records[0]
    results = [
        measure(clf, layers=0)
        for measure in (attention_entropy, attention_sinks, head_similarity)
    ]
    shares = check_edges(record, *results, 0)
    assert_allclose(results[1].mean[0], shares.max(axis=0), atol=1e-5)
    assert_array_equal(results[1].position[0], shares.argmax(axis=0))
