"""Relevance of inputs, against the papers' equations written out in NumPy."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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
)
from skattn.architectures import (
    GAT,
    TFT,
    BidirectionalAttention,
    GATv2,
    HierarchicalAttention,
    InteractiveAttention,
    ITransformer,
    LSTMSeq2Seq,
    PatchTST,
    SelfAttention,
    SpatioTemporalGAT,
    TemporalAttention,
    TextEncoder,
    TimeXer,
    Transformer,
)
from skattn.inspection import (
    attention_flow,
    attention_rollout,
    attention_weights,
    gradient_rollout,
    last_attention,
)
from skattn.inspection._paths import _steady
from skattn.inspection._run import subject_of, walk
from skattn.nn import recording

OPTIONS = {"max_epochs": 3, "random_state": 0, "num_threads": 1, "linear_skip": False}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=2)
DEEP = SelfAttention(d_model=8, num_heads=2, num_layers=3)
RNG = np.random.default_rng(0)
X_TABLE = RNG.normal(size=(24, 4))
Y = np.arange(24) % 2
LENGTHS = (10, 6, 10, 3, 8, 10, 7, 5)
SERIES = [RNG.normal(size=(2, length)) for length in LENGTHS]
TEXTS = ["one two", "three", "two two three one", "five", "one", "two three"]
PAIRS = [(text, other) for text, other in zip(TEXTS, TEXTS[::-1], strict=True)]


@cache
def table(name="small"):
    architecture = {
        "small": SMALL,
        "deep": DEEP,
        "temporal": TemporalAttention(d_model=8),
        "bidirectional": BidirectionalAttention(d_model=8),
    }[name]
    return AttentionClassifier(architecture, **OPTIONS).fit(X_TABLE, Y)


def on_series(architecture):
    return AttentionClassifier(architecture, **OPTIONS).fit(SERIES, Y[: len(SERIES)])


def on_texts(architecture, X=TEXTS):
    return AttentionClassifier(architecture, **OPTIONS).fit(X, Y[: len(X)])


def frame(columns, n=40):
    index = pd.period_range("2000-01", periods=n, freq="M")
    values = np.random.default_rng(1).normal(size=(n, len(columns)))
    return pd.DataFrame(values, index=index, columns=columns)


def forecaster(architecture, columns=("a",), known=(), **params):
    params = {"window_length": 12, "calibration": None, "max_epochs": 2, **params}
    fitted = AttentionForecaster(architecture, random_state=0, **params)
    X = frame(list(known), 43) if known else None
    fitted.fit(frame(list(columns)), X=None if X is None else X[:40], fh=[1, 2, 3])
    return (fitted, None if X is None else X[40:])


def means(estimator, X=None):
    """Mean of the heads of each record, in the order of computation."""
    return [
        each.weights.mean(axis=1) for each in attention_weights(estimator, X).records
    ]


def hat(alpha, residual=0.5):
    """Mix square weights with the identity."""
    return residual * np.eye(alpha.shape[-1]) + (1 - residual) * alpha


def rolled(alphas, residual=0.5):
    """Roll out layers of square weights: (n, positions, positions)."""
    total = np.eye(alphas[0].shape[-1])
    for alpha in alphas:
        total = hat(alpha, residual) @ total
    return total


# Roll-out


@pytest.mark.parametrize("residual", [0.5, 0.2])
@pytest.mark.parametrize("name", ["small", "deep"])
def test_a_token_that_reads_the_features(name, residual):
    clf = table(name)
    *inner, last = means(clf, X_TABLE)
    read = (1 - residual) * last[:, 0]
    read[:, 0] += residual
    expected = (read[:, None] @ rolled(inner, residual))[:, 0, 1:]
    found = attention_rollout(clf, X_TABLE, residual=residual)
    assert_allclose(found.importances, expected, atol=1e-6)
    assert_allclose(found.importances_mean, expected.mean(axis=0), atol=1e-6)
    assert (found.axis, found.method) == ("features", "attention_rollout")
    assert found.names == ["x0", "x1", "x2", "x3"]
    assert list(found.by_axis) == ["features"]
    assert found.importances.dtype == np.float64


def test_series_and_texts_of_unequal_lengths():
    for clf, X, extent in (
        (on_series(SMALL), SERIES, LENGTHS),
        (on_texts(SMALL), TEXTS, [len(text.split()) for text in TEXTS]),
    ):
        found = attention_rollout(clf, X)
        first, last = attention_weights(clf, X).records
        assert found.importances.shape == (len(X), max(extent))
        for row, length in enumerate(extent):
            one, two = (each.of(row).weights.mean(axis=1)[0] for each in (first, last))
            real = 1 + length
            read = 0.5 * two[0, :real]
            read[0] += 0.5
            expected = read @ hat(one[:real, :real])
            assert_allclose(found.importances[row, :length], expected[1:], atol=1e-6)
            assert (found.importances[row, length:] == 0).all()
    assert found.names == [text.split() for text in TEXTS]
    assert "importances_mean" not in found


def test_what_is_alone_is_as_in_company():
    clf = on_texts(SMALL)
    together = attention_rollout(clf, TEXTS).importances
    for row, text in enumerate(TEXTS):
        alone = attention_rollout(clf, [text]).importances[0]
        assert_allclose(together[row, : len(alone)], alone, atol=1e-6)


def test_a_mean_over_steps_reads_them_all_alike():
    clf = on_series(Transformer(8, 2, 2))
    found = attention_rollout(clf, SERIES, per_query=True)
    for row, length in enumerate(LENGTHS):
        alphas = [alpha[row, :length, :length] for alpha in means(clf, SERIES)]
        total = rolled(alphas)
        assert_allclose(found.rollout[row, :length, :length], total, atol=1e-6)
        expected = total.mean(axis=0)
        assert_allclose(found.importances[row, :length], expected, atol=1e-6)
        assert (found.rollout[row, length:] == 0).all()
    assert_allclose(found.importances.sum(axis=1), 1.0)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_only_what_the_head_reads_is_read(pooling):
    clf = on_texts(TextEncoder(8, 2, 2, pooling=pooling))
    found = attention_rollout(clf, TEXTS)
    alphas = means(clf, TEXTS)
    for row, text in enumerate(TEXTS):
        real = 1 + len(text.split())
        total = rolled([alpha[row, :real, :real] for alpha in alphas])
        expected = total.mean(axis=0) if pooling == "mean" else total[0]
        assert_allclose(found.importances[row, : real - 1], expected[1:], atol=1e-6)


@pytest.mark.parametrize("name", ["temporal", "bidirectional"])
def test_pooling_passes_on_everything(name):
    clf = table(name)
    (alpha,) = means(clf, X_TABLE)
    found = attention_rollout(clf, X_TABLE, residual=0.9).importances
    assert_allclose(found, alpha[:, 0], atol=1e-6)
    assert_allclose(last_attention(clf, X_TABLE).importances, alpha[:, 0], atol=1e-6)


def test_two_levels_of_pooling():
    clf = on_texts(HierarchicalAttention(8), ["one two\nthree", "four", "a b\nc d\ne"])
    X = ["one two\nthree", "b four"]
    words, sentences = means(clf, X)
    found = attention_rollout(clf, X)
    expected = (sentences @ words)[:, 0]
    assert_allclose(
        found.importances, expected[:, : found.importances.shape[1]], atol=1e-6
    )
    assert_allclose(found.importances.sum(axis=1), 1.0, atol=1e-6)


def test_tokens_of_a_tagger_are_all_read():
    X = [["Ann", "sleeps"], ["Bob"], ["Ann", "and", "Bob"]]
    y = [["B-PER", "O"], ["B-PER"], ["B-PER", "O", "B-PER"]]
    tagger = AttentionTagger(SMALL, max_epochs=1, random_state=0).fit(X, y)
    found = attention_rollout(tagger, X)
    alphas = means(tagger, X)
    for row, words in enumerate(X):
        real = len(words)
        total = rolled([alpha[row, :real, :real] for alpha in alphas])
        assert_allclose(found.importances[row, :real], total.mean(axis=0), atol=1e-6)


def test_sides_of_a_pair_look_at_each_other_at_the_same_time():
    clf = on_texts(InteractiveAttention(8), PAIRS)
    found = attention_rollout(clf, PAIRS, residual=0.3)
    there, back = means(clf, PAIRS)
    for row, (text, other) in enumerate(PAIRS):
        n, m = len(text.split()), len(other.split())
        own, others = np.full(n, 0.5 / n), np.full(m, 0.5 / m)
        expected = 0.3 * own + 0.7 * others @ back[row, :m, :n]
        beyond = 0.3 * others + 0.7 * own @ there[row, :n, :m]
        assert_allclose(found.importances[row, :n], expected, atol=1e-6)
        side = found.by_axis["other_tokens"]
        assert_allclose(side.importances[row, :m], beyond, atol=1e-6)
    assert found.axis == "tokens"
    apart = attention_rollout(clf, PAIRS, residual=0.3, per_query=True)
    n_own = max(len(text.split()) for text, _ in PAIRS)
    for row, (text, other) in enumerate(PAIRS):
        n, m = len(text.split()), len(other.split())
        assert apart.queries[row][:n] == text.split()
        assert apart.queries[row][n_own : n_own + m] == other.split()
        rows = apart.rollout[row, :, :n]
        assert_allclose(rows[:n], 0.3 * np.eye(n), atol=1e-6)
        assert_allclose(rows[n_own : n_own + m], 0.7 * back[row, :m, :n], atol=1e-6)
    other = attention_rollout(clf, PAIRS, residual=0.3, axis="other_tokens")
    assert_array_equal(other.importances, side.importances)


def test_two_sides_along_one_axis():
    # A series attends to itself: both sides are time.
    clf = on_series(InteractiveAttention(8))
    found = attention_rollout(clf, SERIES).importances
    there, back = means(clf, SERIES)
    for row, length in enumerate(LENGTHS):
        even = np.full(length, 0.5 / length)
        both = there[row, :length, :length] + back[row, :length, :length]
        expected = even + 0.5 * even @ both
        assert_allclose(found[row, :length], expected, atol=1e-6)


def test_texts_of_a_pair_behind_each_other():
    # The first text is padded in between.
    clf = on_texts(TextEncoder(8, 2, 1), PAIRS)
    found = attention_rollout(clf, PAIRS)
    other = found.by_axis["other_tokens"].importances
    for row, pair in enumerate(PAIRS):
        n, m = (len(text.split()) for text in pair)
        # In a batch of its own nothing is padded.
        alone = next(iter(walk(subject_of(clf, [pair])))).records[0]
        alpha = alone.weights[0].mean(dim=0).numpy()
        real = alpha.sum(axis=0) > 0
        expected = hat(alpha[real][:, real]).mean(axis=0)
        assert_allclose(found.importances[row, :n], expected[1 : 1 + n], atol=1e-6)
        assert_allclose(other[row, :m], expected[2 + n :], atol=1e-6)


def test_a_decoder_that_looks_at_itself_and_at_the_encoder():
    fitted, _ = forecaster(Transformer(8, 2, 2))
    records = attention_weights(fitted).records
    alphas = {(each.layer, each.kind): each.weights[0].mean(axis=0) for each in records}
    horizon, time = np.full(3, 1 / 3), np.zeros(12)
    for number in (1, 0):
        time = time + 0.5 * horizon @ alphas[f"decoder.{number}", "cross"]
        horizon = 0.5 * horizon @ hat(alphas[f"decoder.{number}", "self"])
    for number in (1, 0):
        time = time @ hat(alphas[f"encoder.{number}", "self"])
    found = attention_rollout(fitted)
    assert found.axis == "time"
    assert found.names == list(map(str, frame(["a"]).index[-12:]))
    assert_allclose(found.importances[0], time, atol=1e-6)
    assert_allclose(found.by_axis["horizon"].importances[0], horizon, atol=1e-6)


def test_a_recurrent_decoder():
    fitted, _ = forecaster(LSTMSeq2Seq(8))
    (alpha,) = means(fitted)
    found = attention_rollout(fitted, per_query=True)
    assert_allclose(found.importances, 0.5 * alpha.mean(axis=1), atol=1e-6)
    assert_allclose(found.rollout, 0.5 * alpha, atol=1e-6)
    assert found.queries == ["2003-05", "2003-06", "2003-07"]


@pytest.mark.filterwarnings("ignore:.*cut off:UserWarning")
def test_a_translator_reads_what_it_has_written():
    translator = AttentionTranslator(
        Transformer(8, 2, 1), max_length=4, max_epochs=1, random_state=0
    ).fit(["one two", "three", "two"], ["eins zwei", "drei", "zwei"])
    X = ["one", "two three"]
    found = attention_rollout(translator, X)
    records = attention_weights(translator, X).records
    alphas = {(each.layer, each.kind): each.weights.mean(axis=1) for each in records}
    lengths = [len(names) for names in found.by_axis["given_tokens"].names]
    for row, (words, written) in enumerate(zip(found.names, lengths, strict=True)):
        n = len(words)
        encoder = alphas["encoder.0", "self"][row, :n, :n]
        cross = alphas["decoder.0", "cross"][row, :written, :n]
        own = alphas["decoder.0", "self"][row, :written, :written]
        expected = 0.5 * cross.mean(axis=0) @ hat(encoder)
        assert_allclose(found.importances[row, :n], expected, atol=1e-6)
        given = found.by_axis["given_tokens"].importances[row, :written]
        assert_allclose(given, 0.5 * hat(own).mean(axis=0), atol=1e-6)


def test_steps_get_the_mean_of_their_patches_over_all_channels():
    architecture = PatchTST(8, 2, 2, patch_length=4, stride=2)
    fitted, _ = forecaster(architecture, columns=("a", "b"))
    records = attention_weights(fitted).records
    assert [each.groups for each in records] == [2, 2]
    channels = [
        each.weights[0].reshape(2, 2, *each.weights.shape[2:]).mean(axis=1)
        for each in records
    ]  # (channels, patches, patches)
    n_patches = channels[0].shape[-1]
    patches = np.zeros(n_patches)
    for channel in range(2):
        total = rolled([alpha[channel] for alpha in channels])
        patches += total.mean(axis=0) / 2
    steps = np.zeros(12)
    for step in range(12):
        covering = [at for at in range(n_patches) if 2 * at <= step < 2 * at + 4]
        steps[step] = patches[covering].mean()
    steps /= steps.sum()
    found = attention_rollout(fitted)
    assert n_patches == 6  # the last one reaches beyond the window
    assert_allclose(found.importances[0], steps, atol=1e-6)
    assert_allclose(found.importances.sum(), 1.0)


def test_patches_of_what_is_padded_cover_real_steps_only():
    architecture = PatchTST(8, 2, 1, patch_length=4, stride=2)
    fitted = AttentionForecaster(
        architecture, window_length=12, calibration=None, max_epochs=1, random_state=0
    ).fit(frame(["a"], 9), fh=[1])
    found = attention_rollout(fitted)
    assert found.names[:3] == ["", "", ""]
    assert (found.importances[0, :3] == 0).all()
    assert (found.importances[0, 3:] > 0).all()
    assert_allclose(found.importances.sum(), 1.0)
    clf = on_series(architecture)
    found = attention_rollout(clf, SERIES)
    for importances, length in zip(found.importances, LENGTHS, strict=True):
        assert (importances[:length] > 0).all()
        assert (importances[length:] == 0).all()
    assert_allclose(found.importances.sum(axis=1), 1.0)


def test_variates_whose_targets_alone_are_read():
    fitted, X = forecaster(ITransformer(8, 2), ("a", "b"), known=("promo", "channels"))
    alphas = means(fitted, X)
    total = rolled([alpha[0] for alpha in alphas])
    expected = total[:2].mean(axis=0)  # two targets; covariates behind them
    found = attention_rollout(fitted, X)
    assert (found.axis, found.names) == ("channels", ["a", "b"])
    assert_allclose(found.importances[0], expected[:2], atol=1e-6)
    beside = found.by_axis["covariates"]
    assert beside.names == ["promo", "channels"]
    assert_allclose(beside.importances[0], expected[2:], atol=1e-6)


def test_tokens_of_groups_look_at_another_stream():
    fitted, X = forecaster(
        TimeXer(8, 2, 1, patch_length=4), ("a", "b"), known=("promo",)
    )
    own, cross = attention_weights(fitted, X).records
    targets = own.weights[0].reshape(2, 2, 4, 4).mean(axis=1)  # (targets, 1 + patches)
    cross = cross.weights[0].mean(axis=0)  # (targets, variates)
    even = 1 / 8  # two targets with a global token and three patches each
    channels = 0.5 * even * cross.sum(axis=0)
    patches = np.zeros(4)
    for target in range(2):
        share = np.array([0.5 * even, even, even, even])
        patches += share @ hat(targets[target])
    found = attention_rollout(fitted, X)
    assert_allclose(found.importances[0], np.repeat(patches[1:] / 4, 4), atol=1e-6)
    assert_allclose(found.by_axis["channels"].importances[0], channels[:2], atol=1e-6)
    assert_allclose(found.by_axis["covariates"].importances[0], channels[2:], atol=1e-6)


def test_chains_that_never_meet_are_ranked_apart():
    fitted, _ = forecaster(SpatioTemporalGAT(8, 2, 1, patch_length=4), ("a", "b"))
    temporal, spatial = attention_weights(fitted).records
    alpha = spatial.weights[0].reshape(3, 2, 2, 2).mean(axis=1)  # (patches, 2, 2)
    found = attention_rollout(fitted)
    channels = hat(alpha).mean(axis=(0, 1))
    assert_allclose(found.by_axis["channels"].importances[0], channels, atol=1e-6)
    alpha = temporal.weights[0].reshape(2, 2, 3, 3).mean(axis=1)
    time = np.repeat(hat(alpha).mean(axis=(0, 1)) / 4, 4)
    assert_allclose(found.importances[0], time, atol=1e-6)


def test_variables_that_a_net_selects():
    fitted, X = forecaster(TFT(8, 2), ("load",), known=("promo", "time"))
    past, future, attention = (
        each.weights[0].mean(axis=0) for each in attention_weights(fitted, X).records
    )
    share = np.full(3, 1 / 3)
    steps = 0.5 * share @ attention
    steps[12:] += 0.5 * share
    found = attention_rollout(fitted, X)
    assert_allclose(found.importances[0], steps[:12], atol=1e-6)
    assert_allclose(found.by_axis["horizon"].importances[0], steps[12:], atol=1e-6)
    columns = found.by_axis["features"]
    shares = dict.fromkeys(["load", "promo", "time"], 0.0)
    for names, alpha, part in (
        (["load", "promo", "time"], past, steps[:12]),
        (["promo", "time"], future, steps[12:]),
    ):
        for name, value in zip(names, part @ alpha, strict=True):
            shares[name] += value
    assert set(columns.names) == set(shares)
    expected = [shares[name] for name in columns.names]
    assert_allclose(columns.importances[0], expected, atol=1e-6)


@pytest.mark.parametrize("fusion", ["max", "min"])
def test_heads_may_be_joined_otherwise(fusion):
    clf = table()
    first, last = attention_weights(clf, X_TABLE, aggregate=fusion).records
    one, two = (
        each.weights[:, 0] / each.weights[:, 0].sum(axis=-1, keepdims=True)
        for each in (first, last)
    )
    read = 0.5 * two[:, 0]
    read[:, 0] += 0.5
    expected = (read[:, None] @ hat(one))[:, 0, 1:]
    found = attention_rollout(clf, X_TABLE, head_fusion=fusion).importances
    assert_allclose(found, expected, atol=1e-6)


def test_the_smallest_weights_may_be_discarded():
    clf = on_texts(TemporalAttention(d_model=8))
    (alpha,) = means(clf, TEXTS)
    found = attention_rollout(clf, TEXTS, discard=0.5).importances
    for row, text in enumerate(TEXTS):
        length = len(text.split())
        kept = alpha[row, 0, :length].copy()
        kept[np.argsort(kept)[: length // 2]] = 0
        assert_allclose(found[row, :length], kept / kept.sum(), atol=1e-6)


# Gradients


def finite_gradients(clf, x, score, step=0.02):
    """Derivatives of a score with respect to each weight of each layer, one by one."""
    records = attention_weights(clf, x).records
    found = []
    for number, record in enumerate(records):
        gradient = np.zeros(record.weights.shape[1:])
        for at in np.ndindex(gradient.shape):
            values = []
            for change in (step, -step):
                seen = []

                def receive(recorded, number=number, at=at, change=change, seen=seen):
                    seen.append(None)
                    if len(seen) - 1 != number:
                        return None
                    weights = recorded.weights.clone()
                    weights[(0, *at)] += change
                    return weights

                with recording(receive):
                    values.append(score(clf, x))
            gradient[at] = (values[0] - values[1]) / (2 * step)
        found.append(gradient)
    return records, found


def logits(clf, x):
    return clf._scores(x)[0].numpy()


@pytest.mark.parametrize("target", [None, 0, 1])
def test_relevance_follows_finite_differences(target):
    clf, x = table(), X_TABLE[:1]
    chosen = int(logits(clf, x).argmax()) if target is None else target
    records, gradients = finite_gradients(
        clf, x, lambda clf, x: logits(clf, x)[chosen], 0.01
    )
    first, last = (
        (gradient * record.weights[0]).clip(min=0).mean(axis=0)
        for record, gradient in zip(records, gradients, strict=True)
    )
    relevance = np.eye(5) + first
    expected = (relevance[0] + last[0] @ relevance - np.eye(5)[0])[1:]
    found = gradient_rollout(clf, x, target=target)
    assert expected.max() > 1e-4
    assert_allclose(found.importances[0], expected, rtol=0.02, atol=expected.max() / 50)
    assert found.method == "gradient_rollout"


def weighted(estimator, X, total, has_sign=True):
    """Gradient times attention, heads averaged, of a single batch."""
    (batch,) = walk(subject_of(estimator, X), with_gradient=True)
    gradients = batch.gradients(total(batch.scores))
    found = []
    for record, gradient in zip(batch.records, gradients, strict=True):
        product = (record.weights * gradient.weights).detach()
        product = product.clamp(min=0) if has_sign else product.abs()
        found.append(product.mean(dim=1).double().numpy())
    return found


def test_relevance_of_a_class_for_each_sample():
    clf = AttentionClassifier(SMALL, **OPTIONS)
    y = np.array(["red", "green", "blue"])[np.arange(24) % 3]
    clf.fit(X_TABLE, y)
    target = np.array(["green", "red", "blue", "red"])
    together = gradient_rollout(clf, X_TABLE[:4], target=target).importances
    for row, label in enumerate(target):
        alone = gradient_rollout(clf, X_TABLE[row : row + 1], target=label).importances
        assert_allclose(together[row], alone[0], rtol=1e-4, atol=1e-9)
    predicted = gradient_rollout(clf, X_TABLE[:4]).importances
    named = gradient_rollout(clf, X_TABLE[:4], target=clf.predict(X_TABLE[:4]))
    assert_array_equal(predicted, named.importances)


def test_relevance_of_numbers_has_no_sign():
    y = np.c_[X_TABLE[:, 0], X_TABLE[:, 1] ** 2]
    reg = AttentionRegressor(TemporalAttention(d_model=8), **OPTIONS).fit(X_TABLE, y)
    for target, total in ((None, lambda s: s.sum()), (1, lambda s: s[:, 1].sum())):
        (expected,) = weighted(reg, X_TABLE, total, has_sign=False)
        found = gradient_rollout(reg, X_TABLE, target=target).importances
        assert_allclose(found, expected[: len(found), 0], rtol=1e-5, atol=1e-12)
        assert found.max() > 0


def test_relevance_through_an_encoder_and_a_decoder():
    fitted, _ = forecaster(Transformer(8, 2, 2), max_epochs=8)
    names = [(each.layer, each.kind) for each in attention_weights(fitted).records]
    alphas = weighted(fitted, None, lambda s: s[:, :, 1].sum(), has_sign=False)
    alphas = {name: alpha[0] for name, alpha in zip(names, alphas, strict=True)}
    time, horizon, cross = np.eye(12), np.eye(3), np.zeros((3, 12))
    for number in range(2):
        time = time + alphas[f"encoder.{number}", "self"] @ time
    for number in range(2):
        own = alphas[f"decoder.{number}", "self"]
        horizon, cross = horizon + own @ horizon, cross + own @ cross
        both = alphas[f"decoder.{number}", "cross"]
        cross = cross + normalised(horizon).T @ both @ normalised(time)
    found = gradient_rollout(fitted, target=1)
    scale = cross.mean(axis=0).max()
    assert scale > 0
    # Only the second step of the horizon depends on the score, and so is read.
    assert_allclose(found.importances[0] / scale, cross[1] / scale, atol=1e-5)
    later = found.by_axis["horizon"].importances[0]
    assert_allclose(later / scale, (horizon - np.eye(3))[1] / scale, atol=1e-5)


def normalised(relevance):
    """The paper's R with rows of R - I that sum to one, plus I."""
    eye = np.eye(len(relevance))
    return (relevance - eye) / (relevance - eye).sum(axis=1, keepdims=True) + eye


def test_relevance_of_a_tag_and_of_what_is_written():
    X = [["Ann", "sleeps"], ["Bob"], ["Ann", "and", "Bob"]]
    y = [["B-PER", "O"], ["B-PER"], ["B-PER", "O", "B-PER"]]
    tagger = AttentionTagger(SelfAttention(8, 2, 1), max_epochs=3, random_state=0)
    tagger.fit(X, y)
    number = list(tagger.classes_).index("O")
    found = gradient_rollout(tagger, X, target="O").importances
    for row, words in enumerate(X):
        (alpha,) = weighted(tagger, [words], lambda s: s[0, :, number].sum())
        real = len(words)
        expected = alpha[0, :real, :real].mean(axis=0)
        assert_allclose(found[row, :real], expected, rtol=1e-4, atol=1e-9)
    assert gradient_rollout(tagger, X).importances.max() > 0


def test_relevance_of_several_targets_and_of_labels():
    options = {**OPTIONS, "architecture": TemporalAttention(d_model=8)}
    two = np.c_[Y, np.arange(24) % 3]
    clf = AttentionClassifier(**options).fit(X_TABLE, two)
    (expected,) = weighted(clf, X_TABLE, lambda s: (s[:, 1] + s[:, 2]).sum())
    found = gradient_rollout(clf, X_TABLE, target=[1, 0]).importances
    assert_allclose(found, expected[: len(found), 0], rtol=1e-4, atol=1e-9)
    assert gradient_rollout(clf, X_TABLE).importances.shape == (24, 4)
    labels = np.c_[Y, 1 - Y, np.arange(24) % 3 > 0].astype(int)
    clf = AttentionClassifier(**options).fit(X_TABLE, labels)
    (expected,) = weighted(clf, X_TABLE, lambda s: s[:, -1].sum())
    found = gradient_rollout(clf, X_TABLE, target=-1).importances
    assert_allclose(found, expected[: len(found), 0], rtol=1e-4, atol=1e-9)
    (expected,) = weighted(clf, X_TABLE, lambda s: s.abs().sum())
    found = gradient_rollout(clf, X_TABLE).importances
    assert_allclose(found, expected[: len(found), 0], rtol=1e-4, atol=1e-9)


# Graphs


def graphs(n=6):
    rng = np.random.default_rng(0)
    made = []
    for number in range(n):
        size = 4 + number % 3
        edges = [(i, i + 1) for i in range(size - 1)] + [(0, size - 1)]
        made.append(Graph.from_edges(edges, x=rng.normal(size=(size, 3))))
    return made


GRAPHS = graphs()


@cache
def on_graphs(architecture=GAT):
    return AttentionClassifier(architecture(4, 2, 2), **OPTIONS).fit(GRAPHS, Y[:6])


def dense(alpha, edges, n_nodes):
    matrix = np.zeros((n_nodes, n_nodes))
    matrix[edges[1], edges[0]] = alpha
    return matrix


@pytest.mark.parametrize("architecture", [GAT, GATv2])
def test_nodes_and_edges_of_graphs(architecture):
    clf = on_graphs(architecture)
    found = attention_rollout(clf, GRAPHS)
    edges = found.by_axis["edges"]
    records = attention_weights(clf, GRAPHS).records
    for row, graph in enumerate(GRAPHS):
        first, second, pooling = (each.of(row) for each in records)
        share = np.zeros(graph.n_nodes)
        share[pooling.edge_index[0]] = pooling.weights.mean(axis=1)
        flow = np.zeros((graph.n_nodes, graph.n_nodes))
        for record in (second, first):
            alpha = dense(record.weights.mean(axis=1), record.edge_index, graph.n_nodes)
            flow += 0.5 * share[:, None] * alpha
            share = share @ hat(alpha)
        assert_allclose(found.importances[row, : graph.n_nodes], share, atol=1e-6)
        source, target = graph.edge_index
        expected = flow[target, source]
        assert_allclose(edges.importances[row, : graph.n_edges], expected, atol=1e-6)
        assert (edges.importances[row, graph.n_edges :] == 0).all()
    assert found.axis == "nodes"
    assert found.names[0] == ["0", "1", "2", "3"]
    assert edges.names[0][:2] == ["1 -> 0", "3 -> 0"]
    assert_allclose(found.importances.sum(axis=1), 1.0)
    by_edge = attention_rollout(clf, GRAPHS, axis="edges")
    assert_array_equal(by_edge.importances, edges.importances)


def test_relevance_of_nodes_and_edges_of_graphs():
    clf = on_graphs()
    found = gradient_rollout(clf, GRAPHS, target=1)
    edges = found.by_axis["edges"].importances
    scale = found.importances.max()
    assert scale > 1e-4
    for row, graph in enumerate(GRAPHS):
        (batch,) = walk(subject_of(clf, [graph]), with_gradient=True)
        flow = np.zeros((graph.n_nodes, graph.n_nodes))
        gradients = batch.gradients(batch.scores[0, 1])
        pairs = list(zip(batch.records, gradients, strict=True))
        for record, gradient in reversed(pairs):
            product = (record.weights * gradient.weights).detach().clamp(min=0)
            product = product.mean(dim=1).double().numpy()
            if record.kind == "pooling":
                shares = product
                continue
            alpha = dense(product, record.edge_index.numpy(), graph.n_nodes)
            flow += shares[:, None] * alpha
            shares = shares + shares @ alpha
        result = found.importances[row, : graph.n_nodes]
        assert_allclose(result / scale, shares / scale, atol=1e-4)
        source, target = graph.edge_index
        result = edges[row, : graph.n_edges]
        assert_allclose(result / scale, flow[target, source] / scale, atol=1e-4)


def one_graph():
    rng = np.random.default_rng(0)
    edges = [(i, (3 * i + 1) % 12) for i in range(12) if i != (3 * i + 1) % 12]
    edges.append((4, 4))
    return Graph.from_edges(
        sorted({tuple(sorted(edge)) for edge in edges}), x=rng.normal(size=(12, 3))
    )


@pytest.mark.parametrize("architecture", [GAT, GATv2])
def test_each_node_that_is_asked_about_is_a_row(architecture):
    graph = one_graph()
    clf = NodeClassifier(
        architecture(4, 2, 2), graph=graph, max_epochs=3, random_state=0
    )
    clf.fit(np.arange(8)[:, None], Y[:8])
    asked = np.array([[5], [2], [5]])
    found = attention_rollout(clf, asked, residual=0.4)
    assert sparse.issparse(found.importances)
    first, second = attention_weights(clf, asked).records
    rolls, flows = [], []
    for node in asked[:, 0]:
        share, flow = np.eye(12)[node], np.zeros((12, 12))
        for record in (second, first):
            alpha = dense(record.weights.mean(axis=1), record.edge_index, 12)
            looks = alpha.any(axis=1)
            flow += 0.6 * share[:, None] * alpha
            share = np.where(looks, 0.4, 1.0) * share + 0.6 * share @ alpha
        rolls.append(share)
        flows.append(flow[graph.edge_index[1], graph.edge_index[0]])
    assert_allclose(found.importances.toarray(), rolls, atol=1e-6)
    edges = found.by_axis["edges"]
    assert_allclose(edges.importances.toarray(), flows, atol=1e-6)
    assert_allclose(found.importances_mean, np.mean(rolls, axis=0), atol=1e-6)
    assert edges.names[:2] == ["1 -> 0", "4 -> 1"] or len(edges.names) == graph.n_edges
    loop = graph.edge_index[0] == graph.edge_index[1]
    assert loop.sum() == 1  # it was given, and so counts as an edge
    everywhere = attention_rollout(clf).importances
    assert everywhere.shape == (12, 12)
    assert_allclose(everywhere.sum(axis=1), 1.0)


def test_relevance_of_a_node_is_its_own():
    graph = one_graph()
    reg = NodeRegressor(GAT(4, 2, 2), graph=graph, max_epochs=3, random_state=0)
    reg.fit(np.arange(12)[:, None], np.arange(12.0))
    asked = np.array([[5], [2]])
    found = gradient_rollout(reg, asked)
    for row in range(2):
        subject = subject_of(reg, asked[row : row + 1])
        (batch,) = walk(subject, with_gradient=True)
        total = np.eye(12)
        for record, gradient in zip(
            batch.records, batch.gradients(batch.scores.sum()), strict=True
        ):
            product = (record.weights * gradient.weights).detach().abs().mean(dim=1)
            places, _ = batch.place_of(record)
            total = total + dense(product.double().numpy(), places, 12) @ total
        expected = (total - np.eye(12))[asked[row, 0]]
        assert_allclose(
            found.importances.toarray()[row], expected, rtol=1e-3, atol=1e-7
        )
    assert found.by_axis["edges"].importances.shape == (2, graph.n_edges)


def test_rows_of_a_table_look_at_their_neighbours():
    clf = AttentionClassifier(GAT(4, 2, 2), n_neighbors=3, **OPTIONS).fit(X_TABLE, Y)
    first, second = means(clf, X_TABLE)
    found = attention_rollout(clf, X_TABLE)
    share = 0.5 * second[:, 0]
    share[:, 0] += 0.5
    expected = share.copy()
    expected[:, 0] *= 0.5
    expected += 0.5 * share[:, :1] * first[:, 0]
    assert found.names == ["row", "neighbour 1", "neighbour 2", "neighbour 3"]
    assert_allclose(found.importances, expected, atol=1e-6)
    last = last_attention(clf, X_TABLE)
    assert last.names == found.names
    assert_allclose(last.importances, second[:, 0], atol=1e-6)


# The last layer


def test_the_last_layer_that_looks_at_an_input():
    clf = table()
    *_, last = means(clf, X_TABLE)
    found = last_attention(clf, X_TABLE)
    assert_allclose(found.importances, last[:, 0, 1:], atol=1e-6)
    assert found.method == "last_attention"
    clf = on_series(Transformer(8, 2, 2))
    *_, last = means(clf, SERIES)
    found = last_attention(clf, SERIES).importances
    for row, length in enumerate(LENGTHS):
        expected = last[row, :length, :length].mean(axis=0)
        assert_allclose(found[row, :length], expected, atol=1e-6)
        assert (found[row, length:] == 0).all()
    fitted, X = forecaster(TFT(8, 2), ("load",), known=("promo",))
    past, _, attention = means(fitted, X)
    found = last_attention(fitted, X)
    assert_allclose(found.importances[0], attention[0].mean(axis=0)[:12], atol=1e-6)
    assert_allclose(
        found.by_axis["features"].importances[
            0, found.by_axis["features"].names.index("load")
        ],
        past[0, :, 0].mean(),
        atol=1e-6,
    )


def test_the_last_layer_along_edges():
    clf = on_graphs()
    found = last_attention(clf, GRAPHS)
    edges = found.by_axis["edges"].importances
    _, second, pooling = attention_weights(clf, GRAPHS).records
    for row, graph in enumerate(GRAPHS):
        weights = pooling.of(row).weights[:, 0]
        assert_allclose(found.importances[row, : graph.n_nodes], weights, atol=1e-6)
        record = second.of(row)
        alpha = dense(record.weights.mean(axis=1), record.edge_index, graph.n_nodes)
        expected = alpha[graph.edge_index[1], graph.edge_index[0]]
        assert_allclose(edges[row, : graph.n_edges], expected, atol=1e-6)
    graph = one_graph()
    clf = NodeClassifier(GAT(4, 2, 2), graph=graph, max_epochs=1, random_state=0)
    clf.fit(np.arange(8)[:, None], Y[:8])
    last = last_attention(clf, [[3], [7]])
    record = attention_weights(clf, [[3], [7]], layers=-1).records[0]
    alpha = dense(record.weights.mean(axis=1), record.edge_index, 12)
    assert_allclose(last.importances.toarray(), alpha[[3, 7]], atol=1e-6)


# Flow


def flow_by_networkx(alphas, source, n_inputs, residual=0.5):
    """Maximum flow from a position of the last layer to each input."""
    network = nx.DiGraph()
    for level, alpha in enumerate(alphas):
        for (query, key), capacity in np.ndenumerate(hat(alpha, residual)):
            network.add_edge((level + 1, query), (level, key), capacity=capacity)
    top = (len(alphas), source)
    return [nx.maximum_flow_value(network, top, (0, key)) for key in range(n_inputs)]


@pytest.mark.parametrize("name", ["small", "deep"])
def test_flow_from_a_token(name):
    clf, X = table(name), X_TABLE[:3]
    alphas = means(clf, X)
    last = np.tile(np.eye(5), (len(X), 1, 1))
    last[:, 0] = alphas[-1][:, 0]
    found = attention_flow(clf, X)
    for row in range(len(X)):
        layers = [alpha[row].astype(np.float64) for alpha in (*alphas[:-1], last)]
        expected = flow_by_networkx(layers, 0, 5)
        assert_allclose(found.importances[row], expected[1:], atol=1e-5)
    assert found.method == "attention_flow"


def test_flow_from_a_mean():
    clf = on_series(Transformer(8, 2, 2))
    X = SERIES[1:4:2]
    found = attention_flow(clf, X)
    alphas = means(clf, X)
    for row, series in enumerate(X):
        length = series.shape[1]
        layers = [alpha[row, :length, :length].astype(np.float64) for alpha in alphas]
        flows = [flow_by_networkx(layers, top, length) for top in range(length)]
        expected = np.mean(flows, axis=0)
        assert_allclose(found.importances[row, :length], expected, atol=1e-5)


def test_flow_through_pooling_and_groups():
    (alpha,) = means(table("temporal"), X_TABLE)
    found = attention_flow(table("temporal"), X_TABLE).importances
    assert_allclose(found, alpha[:, 0], atol=1e-5)
    architecture = PatchTST(8, 2, 1, patch_length=4, stride=4)
    fitted, _ = forecaster(architecture, columns=("a", "b"))
    # Through a single layer nothing else can flow than what is rolled out.
    rollout = attention_rollout(fitted).importances
    assert_allclose(attention_flow(fitted).importances, rollout, atol=1e-5)


def test_flow_to_variables_that_are_selected():
    fitted, X = forecaster(TFT(8, 2), ("load",), known=("promo",))
    found, rollout = attention_flow(fitted, X), attention_rollout(fitted, X)
    assert_allclose(found.importances, rollout.importances, atol=1e-5)
    assert set(found.by_axis) == set(rollout.by_axis)


# Errors


def test_errors_of_estimators():
    for explain in (
        attention_rollout,
        attention_flow,
        gradient_rollout,
        last_attention,
    ):
        with pytest.raises(TypeError, match=f"{explain.__name__} looks into"):
            explain(LogisticRegression().fit(X_TABLE, Y), X_TABLE)
        with pytest.raises(NotFittedError):
            explain(AttentionClassifier(SMALL), X_TABLE)
        with pytest.raises(ValueError, match="3 features, but AttentionClassifier"):
            explain(table(), X_TABLE[:, :3])
        with pytest.raises(ValueError, match=r"no axis 'time'.* looks at 'features'"):
            explain(table(), X_TABLE, axis="time")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"head_fusion": "median"}, "head_fusion='median' must be"),
        ({"residual": 1.0}, "residual=1.0 must be a number"),
        ({"residual": "half"}, "residual='half' must be a number"),
        ({"discard": -0.1}, "discard=-0.1 must be a number"),
    ],
)
def test_errors_of_parameters(params, message):
    for explain in (attention_rollout, attention_flow):
        with pytest.raises(ValueError, match=message):
            explain(table(), X_TABLE, **params)


def test_errors_of_targets():
    clf = table()
    with pytest.raises(ValueError, match=r"target=7 is no class.* classes are"):
        gradient_rollout(clf, X_TABLE, target=7)
    with pytest.raises(ValueError, match=r"shape \(3,\), but X has 24 samples"):
        gradient_rollout(clf, X_TABLE, target=[0, 1, 0])
    reg = AttentionRegressor(SMALL, **OPTIONS).fit(X_TABLE, X_TABLE[:, 0])
    with pytest.raises(ValueError, match="target=1 is no output of this"):
        gradient_rollout(reg, X_TABLE, target=1)
    fitted, _ = forecaster(LSTMSeq2Seq(8))
    with pytest.raises(ValueError, match="target=5 is no step of the horizon"):
        gradient_rollout(fitted, target=5)
    with pytest.raises(ValueError, match="target=1 is no series"):
        gradient_rollout(fitted, target=(1, 0))
    assert gradient_rollout(fitted, target=(0, 2)).importances.shape == (1, 12)


def test_errors_of_graphs():
    clf = on_graphs()
    with pytest.raises(ValueError, match="'gat' attends along the edges"):
        attention_flow(clf, GRAPHS)
    with pytest.raises(ValueError, match=r"per_query=True .* 'gat' attends along"):
        attention_rollout(clf, GRAPHS, per_query=True)
    fitted, _ = forecaster(TimeXer(8, 2, 1, patch_length=4))
    with pytest.raises(ValueError, match="'timexer' mixes attention within groups"):
        attention_flow(fitted)


def test_pipelines_are_walked_through():
    X = pd.DataFrame(X_TABLE, columns=list("abcd"))
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        AttentionClassifier(SMALL, **OPTIONS),
    ).fit(X, Y)
    found = attention_rollout(pipeline, X)
    assert found.names == list("abcd")
    alone = attention_rollout(pipeline[-1], pipeline[:-1].transform(X))
    assert_array_equal(found.importances, alone.importances)


def test_panels_are_explained_too():
    X = np.random.default_rng(0).normal(size=(12, 2, 9))
    y = np.array(["red", "blue"] * 6)
    clf = AttentionTimeSeriesClassifier(SMALL, max_epochs=1, random_state=0).fit(X, y)
    alone = clf.estimator_
    for explain in (attention_rollout, attention_flow, last_attention):
        found = explain(clf, X[:3])
        assert (found.axis, found.importances.shape) == ("time", (3, 9))
    found = gradient_rollout(clf, X[:3], target="red").importances
    assert_array_equal(found, gradient_rollout(alone, X[:3], target="red").importances)


def test_nothing_is_left_behind():
    clf = table()
    before = clf.predict_proba(X_TABLE)
    weights = clf.net_.module_.parameters()
    gradients = [(each, each.grad) for each in weights]
    gradient_rollout(clf, X_TABLE)
    assert_array_equal(clf.predict_proba(X_TABLE), before)
    assert all(each.grad is known for each, known in gradients)
    assert torch.is_grad_enabled()


def test_a_sample_without_influence_leaves_the_last_steps_of_others_alone():
    ends = np.array([[2], [0], [1]])
    read = (np.arange(4) == ends)[:, None]
    read[1] = False  # nothing of it changes the score
    assert_array_equal(_steady(read), read)
    token = np.ones((3, 1, 1), dtype=bool)
    token[1] = False
    assert _steady(token).all()


def test_a_label_among_objects_that_is_no_class_is_named():
    target = np.array([*Y[:-1], "none"], dtype=object)
    with pytest.raises(ValueError, match="target='none' is no class"):
        gradient_rollout(table(), X_TABLE, target)


def test_scores_without_attention_are_told():
    aside = AttentionClassifier(SMALL, **OPTIONS).fit(X_TABLE, Y)
    for parameter in aside.net_.module_.parameters():
        parameter.data.zero_()
    with pytest.warns(UserWarning, match="do not depend on attention. Train it"):
        found = gradient_rollout(aside, X_TABLE)
    assert not found.importances.any()
    aside.net_.module = replace(aside.net_.module, linear_skip=True)
    with pytest.warns(UserWarning, match="with linear_skip=False to let the net"):
        gradient_rollout(aside, X_TABLE)


@pytest.mark.parametrize("name", ["temporal", "deep"])
def test_attention_of_frozen_parameters_is_followed(name):
    ways = (attention_rollout, gradient_rollout)
    frozen = deepcopy(table(name))
    explained = [explain(frozen, X_TABLE) for explain in ways]
    for parameter in frozen.net_.module_.parameters():
        parameter.requires_grad_(False)
    for explain, before in zip(ways, explained, strict=True):
        found = explain(frozen, X_TABLE)
        assert_allclose(found.importances, before.importances, atol=1e-6)


def test_an_idle_net_is_told():
    # The linear model knows all, and the net's head stays where it starts: at zero.
    X = np.random.default_rng(0).normal(size=(40, 3))
    clf = AttentionClassifier(max_epochs=1, lr=1e-12, random_state=0)
    clf.fit(X, X[:, 0] > 0)
    with torch.no_grad():
        for parameter in clf.net_.module_.module.head.parameters():
            parameter.zero_()
    for explain in (attention_rollout, gradient_rollout):
        told = "A linear model stands beside the net and does all the work"
        with pytest.warns(UserWarning, match=told):
            explain(clf, X)
