"""Norms of values, and blocks without one of them, against plain NumPy."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datasets import load_airline

from skattn import AttentionClassifier, AttentionForecaster, AttentionTranslator, Graph
from skattn.architectures import (
    GAT,
    TFT,
    GATv2,
    PatchTST,
    RNNSeq2Seq,
    SelfAttention,
    TemporalAttention,
    TextEncoder,
)
from skattn.inspection import (
    attention_weights,
    value_weighted_attention,
    value_zeroing,
)
from skattn.inspection._run import subject_of, walk
from skattn.text import TokenEncoder

OPTIONS = {"max_epochs": 1, "random_state": 0, "num_threads": 1}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=2)
SENTENCES = ["one two", "three", "one two three two one", "two two one"]


def classifier(architecture=SMALL, **params):
    return AttentionClassifier(architecture, **{**OPTIONS, **params})


@pytest.fixture(scope="module")
def of_texts():
    small = TextEncoder(d_model=8, num_heads=2, num_layers=2, dropout=0.5)
    return classifier(small).fit(SENTENCES, [0, 1, 0, 1])


def numbers(tensor):
    return tensor.detach().double().cpu().numpy()


def both_norms(record):
    """Compute norms of each head and of all, of a record without groups."""
    alpha, values = numbers(record.weights), numbers(record.values)
    n_rows, n_heads, n_queries, n_keys = alpha.shape
    d = values.shape[-1]
    output = None if record.output is None else numbers(record.output)
    apart, joint = np.zeros(alpha.shape), np.zeros((n_rows, n_queries, n_keys))
    for place in np.ndindex(n_rows, n_queries, n_keys):
        row, query, key = place
        given = np.zeros((n_heads, n_heads * d if output is None else len(output)))
        for head in range(n_heads):
            part = slice(head * d, head * d + d)
            value = alpha[row, head, query, key] * values[row, head, key]
            if output is None:
                given[head, part] = value
            else:
                given[head] = output[:, part] @ value
        apart[row, :, query, key] = np.linalg.norm(given, axis=1)
        joint[place] = np.linalg.norm(given.sum(axis=0))
    return apart, joint


# Norms


def check_norms(estimator, X):
    result = value_weighted_attention(estimator, X)
    batch = next(walk(subject_of(estimator, X)))
    order = np.argsort(batch.rows)
    records = [record for record in batch.records if record.values is not None]
    assert [layer.layer for layer in result.layers] == [r.layer for r in records]
    for record, found, together in zip(
        records, result.records, result.joint, strict=True
    ):
        n, _, n_queries, n_keys = found.weights.shape
        apart, joint = both_norms(record)
        assert_allclose(
            found.weights, apart[:, :, :n_queries, :n_keys][order], rtol=1e-6
        )
        joint = joint[:, :n_queries, :n_keys][order]
        assert_allclose(together.weights[:, 0], joint, atol=1e-7)
        assert together.weights.shape == (n, 1, n_queries, n_keys)
        assert not found.normalised
    return result


@pytest.mark.filterwarnings("error")
def test_norms_of_texts(of_texts):
    result = check_norms(of_texts, SENTENCES)
    assert result.skipped == {}
    attention = attention_weights(of_texts, SENTENCES).records
    for found, record in zip(result.records, attention, strict=True):
        assert found.keys == record.keys
        assert (found.weights[record.weights == 0] == 0).all()


def test_norms_of_attention_that_pools():
    X = np.random.default_rng(0).normal(size=(9, 2, 5))
    clf = classifier(TemporalAttention(d_model=8)).fit(X, np.arange(9) % 2)
    check_norms(clf, X)


def test_norms_of_heads_of_several_channels():
    y = load_airline()
    sizes = {"patch_length": 4, "stride": 4, "num_heads": 2, "num_layers": 1}
    forecaster = AttentionForecaster(
        PatchTST(8, **sizes), window_length=12, calibration=None, **OPTIONS
    ).fit(pd.DataFrame({"a": y, "b": -y}), fh=[1])
    result = value_weighted_attention(forecaster)
    (record,) = next(walk(subject_of(forecaster))).records
    values, output = numbers(record.values), numbers(record.output)
    parts = np.stack([output[:, :4], output[:, 4:]] * 2)  # (2 groups x 2 heads, 8, 4)
    mapped = np.einsum("bhkd,hwd->bhkw", values, parts)
    given = numbers(record.weights)[..., None] * mapped[:, :, None]
    expected = np.linalg.norm(given, axis=-1)
    assert_allclose(result.records[0].weights, expected, rtol=1e-5)
    together = np.linalg.norm(given.reshape(1, 2, 2, *given.shape[2:]).sum(2), axis=-1)
    assert_allclose(result.joint[0].weights, together, rtol=1e-5)


def test_a_mask_of_heads_goes_with_the_norms_of_all():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(2, length)) for length in (12, 9, 7, 12)]
    net = PatchTST(8, num_heads=2, num_layers=1, patch_length=4, stride=4)
    clf = classifier(net).fit(X, [0, 1, 0, 1])
    result = value_weighted_attention(clf, X)
    for record in (*result.records, *result.joint):
        np.broadcast_to(record.mask, record.weights.shape)


def graphs(n=4):
    rng = np.random.default_rng(0)
    edges = np.array([[0, 1, 2, 3, 0, 2], [1, 2, 3, 0, 2, 1]])
    return [Graph(edges, rng.normal(size=(4, 2)), directed=True) for _ in range(n)]


@pytest.fixture(scope="module")
def of_graphs():
    return classifier(GAT(hidden_size=3, num_heads=2)).fit(graphs(), [0, 1, 0, 1])


def test_norms_along_edges(of_graphs):
    result = value_weighted_attention(of_graphs, graphs())
    batch = next(walk(subject_of(of_graphs, graphs())))
    for record, found, joint in zip(
        batch.records, result.records, result.joint, strict=True
    ):
        apart = np.linalg.norm(numbers(record.values), axis=2)
        expected = numbers(record.weights) * apart
        assert_allclose(found.weights, expected, rtol=1e-5)
        # Heads that stand side by side.
        assert_allclose(
            joint.weights[:, 0], np.sqrt((expected**2).sum(axis=1)), rtol=1e-5
        )
        assert found.edge_index.shape == (2, len(found.weights))


def test_norms_of_rows_and_their_neighbours():
    X = np.random.default_rng(0).normal(size=(30, 3))
    net = GATv2(hidden_size=4, num_heads=2, output_heads=2)
    clf = classifier(net, linear_skip=False).fit(X, np.arange(30) % 2)
    batch = next(walk(subject_of(clf, X[:5])))
    record = batch.records[-1]
    given = (record.weights @ record.values)[:, :, 0].mean(dim=1)
    bias = numbers(batch.scores - given)  # that of the last layer, in all rows
    assert_allclose(bias, np.broadcast_to(bias[0], bias.shape), atol=1e-5)
    expected = numbers(record.weights * record.values.norm(dim=-1)[:, :, None])
    norms = value_weighted_attention(clf, X[:5]).records[-1]
    assert_allclose(norms.weights, expected, rtol=1e-5)
    zeroed = value_zeroing(clf, X[:5]).records[-1]
    assert_allclose(zeroed.weights.sum(axis=-1), 1, rtol=1e-5)


# Blocks


def normed(x, norm):
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + norm.eps)
    return centred / scale * numbers(norm.weight) + numbers(norm.bias)


def mapped(x, linear):
    return x @ numbers(linear.weight).T + numbers(linear.bias)


def encoder_block(block, h, real, without=None):
    """Compute an `EncoderBlock` of one sample (tokens, d_model), by the book."""
    attend = block.attention
    x = normed(h, block.norm_attention)
    query = mapped(x, attend.project_query)
    key, value = np.split(mapped(x, attend.project_key_value), 2, axis=1)
    if without is not None:
        value[without] = 0
    heads = []
    for head in range(attend.num_heads):
        part = slice(head * attend.d_head, (head + 1) * attend.d_head)
        scores = query[:, part] @ key[:, part].T / np.sqrt(attend.d_head)
        scores = np.where(real, np.exp(scores), 0)
        heads.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, part])
    h = h + mapped(np.concatenate(heads, axis=1), attend.project_out)
    first, *_, last = block.feed_forward
    hidden = mapped(normed(h, block.norm_feed_forward), first)
    return h + mapped(np.maximum(hidden, 0), last)


def cosine_distance(a, b):
    return 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def inputs_of(estimator, X, names):
    """Catch what modules are called with, in the first batch."""
    caught = {}
    modules = dict(estimator.net_.module_.named_modules())
    hooks = [
        modules[name].register_forward_pre_hook(
            lambda module, args, name=name: caught.setdefault(name, args)
        )
        for name in names
    ]
    batch = next(walk(subject_of(estimator, X)))
    for hook in hooks:
        hook.remove()
    return batch, caught, modules


def test_zeroed_values_of_a_text(of_texts):
    result = value_zeroing(of_texts, SENTENCES)
    batch, caught, modules = inputs_of(of_texts, SENTENCES, result.blocks)
    assert len(result.blocks) == 2
    assert all(name.endswith(("blocks.0", "blocks.1")) for name in result.blocks)
    for found, name in zip(result.records, result.blocks, strict=True):
        h = numbers(caught[name][0])
        for place, row in enumerate(batch.rows):
            length = 1 + len(SENTENCES[row].split())
            real = np.arange(h.shape[1]) < length
            whole = encoder_block(modules[name], h[place], real)
            expected = np.stack(
                [
                    cosine_distance(
                        whole, encoder_block(modules[name], h[place], real, key)
                    )
                    for key in range(length)
                ],
                axis=1,
            )[:length]
            expected /= expected.sum(axis=1, keepdims=True)
            one = found.of(row)
            assert one.keys == ["cls", *SENTENCES[row].split()]
            n_queries = len(one.queries)
            assert_allclose(
                one.weights[0, 0], expected[:n_queries], rtol=0.01, atol=1e-5
            )
            assert found.normalised


def test_the_net_is_left_as_it_was(of_texts):
    before = of_texts.predict_proba(SENTENCES)
    value_zeroing(of_texts, SENTENCES)
    assert (of_texts.predict_proba(SENTENCES) == before).all()
    for module in of_texts.net_.module_.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch.is_grad_enabled()


def own_mixing(record):
    """Compare outputs of attention itself, of a record of one head."""
    alpha, values = numbers(record.weights)[:, 0], numbers(record.values)[:, 0]
    whole = alpha @ values  # (rows, queries, d)
    expected = np.zeros(alpha.shape)
    for key in range(alpha.shape[2]):
        rest = whole - alpha[:, :, key, None] * values[:, None, key]
        expected[:, :, key] = cosine_distance(whole, rest)
    return expected / expected.sum(axis=-1, keepdims=True)


def test_attention_that_pools_has_no_block():
    X = np.random.default_rng(0).normal(size=(9, 2, 5))
    clf = classifier(TemporalAttention(d_model=8)).fit(X, np.arange(9) % 2)
    result = value_zeroing(clf, X)
    assert result.blocks == [None]
    (record,) = next(walk(subject_of(clf, X))).records
    expected = own_mixing(record)[:, :, :5]
    assert_allclose(result.records[0].weights[:, 0], expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.*cut off:UserWarning")
def test_steps_of_a_decoder_are_joined():
    X, y = ["one two", "three one", "two"], ["eins zwei", "drei", "zwei"]
    translator = AttentionTranslator(
        RNNSeq2Seq(d_model=8),
        token_encoder=TokenEncoder("word"),
        shared_vocabulary=False,
        max_length=4,
        **OPTIONS,
    ).fit(X, y)
    result = value_zeroing(translator, X)
    batch = next(walk(subject_of(translator, X)))
    (record,) = batch.records
    expected = own_mixing(record)
    for row, place in enumerate(np.argsort(batch.rows)):
        one = result.records[0].of(row)
        part = expected[place, : len(one.queries), : len(one.keys)]
        assert_allclose(one.weights[0, 0], part, rtol=1e-4, atol=1e-6)


def test_channels_have_rows_of_their_own():
    y = load_airline()
    sizes = {"patch_length": 4, "stride": 4, "num_heads": 2, "num_layers": 1}
    forecaster = AttentionForecaster(
        PatchTST(8, **sizes), window_length=12, calibration=None, **OPTIONS
    ).fit(pd.DataFrame({"a": y, "b": -y}), fh=[1])
    result = value_zeroing(forecaster)
    (record,) = result.records
    n_patches = len(record.keys)
    assert record.groups == 2
    assert record.weights.shape == (1, 2, n_patches, n_patches)
    assert_allclose(record.weights.sum(axis=-1), 1, rtol=1e-5)
    (name,) = result.blocks
    _, caught, modules = inputs_of(forecaster, None, [name])
    block = modules[name]

    def run(change):
        hook = block.attention.project_key_value.register_forward_hook(change)
        with torch.no_grad():
            output = numbers(block(*caught[name]))
        hook.remove()
        return output

    whole = run(lambda module, args, output: output)
    columns = []
    for key in range(n_patches):

        def silence(module, args, output, key=key):
            output = output.clone()
            output[..., key, 8:] = 0
            return output

        columns.append(cosine_distance(whole, run(silence))[:1])
    expected = np.stack(columns, axis=-1)
    expected /= expected.sum(axis=-1, keepdims=True)
    assert_allclose(record.weights, expected, rtol=0.01, atol=1e-4)


def test_zeroed_values_along_edges(of_graphs):
    result = value_zeroing(of_graphs, graphs())
    batch = next(walk(subject_of(of_graphs, graphs())))
    assert result.blocks == [None] * len(batch.records)
    for record, found in zip(batch.records, result.records, strict=True):
        source, target = record.edge_index.numpy()
        given = numbers(record.weights)[..., None] * numbers(record.values)
        given = given.reshape(len(source), -1)  # heads side by side
        for node in np.unique(target):
            edges = target == node
            whole = given[edges].sum(axis=0)
            expected = cosine_distance(whole, whole - given[edges])
            expected /= max(expected.sum(), 1e-300)
            if edges.sum() > 1:
                part = found.weights[edges, 0]
                assert_allclose(part, expected, rtol=1e-3, atol=1e-6)


# What is left out


def test_layers_without_values_are_left_out_unless_asked_for():
    y = load_airline()
    forecaster = AttentionForecaster(
        TFT(8), window_length=6, calibration=None, **OPTIONS
    ).fit(y, fh=[1, 2])
    records = next(walk(subject_of(forecaster))).records
    has = {record.layer: record.values is not None for record in records}
    names = [layer for layer, found in has.items() if not found]
    result = value_weighted_attention(forecaster)
    assert [layer.layer for layer in result.layers] == [
        name for name in has if has[name]
    ]
    assert [layer.layer for layer in result.skipped] == names
    with pytest.raises(ValueError, match=f"layer '{names[0]}': it records no values"):
        value_weighted_attention(forecaster, layers=[names[0], "attention"])
    # Of these a block is run, where there is one for each step.
    assert value_zeroing(forecaster, layers="past").blocks != [None]


def test_a_pipeline_is_walked_through():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    pipeline = make_pipeline(StandardScaler(), classifier()).fit(X, X[:, 0] > 0)
    scaled = pipeline[0].transform(X)
    for measure in (value_weighted_attention, value_zeroing):
        (record,) = measure(pipeline, X, layers=-1).records
        (same,) = measure(pipeline[1], scaled, layers="blocks.1").records
        assert_allclose(record.weights, same.weights)
        assert record.queries == ["cls"]
