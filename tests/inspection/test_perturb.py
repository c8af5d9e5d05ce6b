"""Hiding parts of samples: what is replaced by what, and what stays."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from skattn import (
    AttentionClassifier,
    Graph,
    NodeClassifier,
    SpecialToken,
)
from skattn.architectures import GAT, SelfAttention, TextEncoder
from skattn.inspection._perturb import axes_of, make_perturbation
from skattn.text import TokenEncoder

OPTIONS = {"max_epochs": 1, "random_state": 0, "num_threads": 1, "linear_skip": False}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1)


class AnyArray:
    """Stands for an estimator of arrays."""

    def predict(self, X):
        return np.zeros(len(X))


def make(X, axis, how="auto", background=None, estimator=None, seed=0):
    generator = np.random.default_rng(seed)
    estimator = AnyArray() if estimator is None else estimator
    return make_perturbation(estimator, X, axis, how, background, generator)


def nothing(perturbation):
    return np.zeros_like(perturbation.inside())


# Tables


def test_columns_take_the_value_of_another_row():
    X = np.arange(20.0).reshape(5, 4)
    kept = X.copy()
    hidden = np.zeros((5, 4), dtype=bool)
    hidden[:, 1] = hidden[0, 2] = True
    found = make(X, "features").hide(hidden)
    assert_array_equal(X, kept)
    assert_array_equal(found[~hidden], X[~hidden])
    assert (found[hidden] != X[hidden]).all()
    assert np.isin(found[:, 1], X[:, 1]).all()
    assert found[0, 2] in X[:, 2]


def test_equal_draws_for_whatever_is_hidden():
    X = np.random.default_rng(0).normal(size=(6, 3))
    perturbation = make(X, "features")
    one, two = nothing(perturbation), nothing(perturbation)
    one[:, 0] = True
    two[:, :2] = True
    assert_array_equal(perturbation.hide(one)[:, 0], perturbation.hide(two)[:, 0])


def test_columns_take_values_of_the_background():
    X, background = np.zeros((4, 2)), np.array([[1.0, 3.0], [1.0, 3.0], [1.0, 6.0]])
    for how, expected in [("permute", [1, 3]), ("mean", [1, 4]), ("mode", [1, 3])]:
        perturbation = make(
            X, "features", how, background[: 2 if how == "permute" else 3]
        )
        assert_array_equal(perturbation.hide(perturbation.inside()), [expected] * 4)


def test_missing_columns():
    X = np.arange(6).reshape(3, 2)
    estimator = DecisionTreeClassifier().fit(X, [0, 1, 1])
    hidden = np.array([[True, False], [False, False], [False, True]])
    found = make(X, "features", "missing", estimator=estimator).hide(hidden)
    assert_array_equal(found, [[np.nan, 1], [2, 3], [4, np.nan]])


def test_missing_columns_need_an_estimator_that_takes_them():
    X = np.arange(6.0).reshape(3, 2)
    estimator = LinearRegression().fit(X, [0, 1, 1])
    with pytest.raises(ValueError, match=r"LinearRegression does not\. Use 'permute'"):
        make(X, "features", "missing", estimator=estimator)


def frame():
    rng = np.random.default_rng(0)
    n = 12
    return pd.DataFrame(
        {
            "colour": pd.Categorical(["red", "blue", "red"] * 4),
            "name": np.array(["a", "b", "b"] * 4, dtype=object),
            "count": np.arange(n),
            "size": rng.normal(size=n).astype(np.float32),
            "is_new": [True, False, False] * 4,
        },
        index=np.arange(n) + 100,
    )


@pytest.mark.parametrize("how", ["permute", "mode"])
def test_columns_of_a_frame_keep_their_types(how):
    X = frame()
    kept = X.copy(deep=True)
    perturbation = make(X, "features", how)
    hidden = np.random.default_rng(1).random(perturbation.inside().shape) < 0.5
    found = perturbation.hide(hidden)
    pd.testing.assert_frame_equal(X, kept)
    pd.testing.assert_series_equal(found.dtypes, X.dtypes)
    pd.testing.assert_index_equal(found.index, X.index)
    assert (found.to_numpy()[~hidden] == X.to_numpy()[~hidden]).all()
    for name in X:
        assert found[name].isin(X[name]).all()


def test_mean_of_numbers_and_mode_of_all_else():
    X = frame()
    perturbation = make(X, "features", "mean")
    found = perturbation.hide(perturbation.inside())
    assert found["colour"].unique().tolist() == ["red"]
    assert found["colour"].dtype == X["colour"].dtype
    assert found["name"].unique().tolist() == ["b"]
    assert found["count"].unique().tolist() == [5.5]
    assert_allclose(found["size"], X["size"].astype(float).mean())
    assert found["is_new"].unique().tolist() == [False]


def test_missing_columns_of_a_frame():
    X = frame()
    estimator = AttentionClassifier(SMALL, **OPTIONS).fit(X, X["is_new"])
    perturbation = make(X, "features", "missing", estimator=estimator)
    found = perturbation.hide(perturbation.inside())
    assert found.isna().all(axis=None)
    assert found["colour"].dtype == X["colour"].dtype
    assert estimator.predict(found).shape == (12,)


def test_frames_of_equal_columns_stay_frames():
    X = pd.DataFrame(
        np.arange(8.0).reshape(4, 2), index=list("abcd"), columns=["u", "v"]
    )
    hidden = np.zeros((4, 2), dtype=bool)
    hidden[1, 0] = True
    found = make(X, "features", "mean").hide(hidden)
    expected = X.copy()
    expected.loc["b", "u"] = 3.0
    pd.testing.assert_frame_equal(found, expected)


def test_positions_of_attention_are_put_to_their_columns():
    X = frame()[["colour", "size"]].astype({"size": float})
    X.loc[100, "size"] = np.nan
    # To it, categories are one-hot, beside indicators of what is missing.
    estimator = AttentionClassifier(GAT(), **OPTIONS).fit(X, np.arange(12) % 2)
    places = estimator._encoder.feature_columns()
    assert len(places) > 2
    perturbation = make(X, "features", estimator=estimator)
    given = np.arange(1.0, len(places) + 1)[None]
    expected = [given[0, places == 0].sum(), given[0, places == 1].sum()]
    assert_allclose(perturbation.arrange(given, is_of_input=False), [expected])
    assert_allclose(perturbation.arrange(np.ones((1, 2)), is_of_input=True), [[1, 1]])
    with pytest.raises(ValueError, match="has 2 positions, but X has"):
        perturbation.arrange(np.ones((1, 2)), is_of_input=False)


def test_a_background_of_other_columns():
    with pytest.raises(ValueError, match="background has 3 columns, but X has 2"):
        make(np.zeros((4, 2)), "features", background=np.zeros((4, 3)))


def test_one_sample_has_no_other_to_take_values_from():
    with pytest.raises(ValueError, match="Pass more samples, or a background"):
        make(np.zeros((1, 2)), "features")


# Series


def test_time_steps_take_the_mean_of_their_channel():
    X = np.arange(24.0).reshape(2, 3, 4)
    kept = X.copy()
    hidden = np.array([[True, False, False, True], [False] * 4])
    perturbation = make(X, "time")
    found = perturbation.hide(hidden)
    assert_array_equal(X, kept)
    assert_array_equal(found[1], X[1])
    assert_array_equal(found[0, :, 1:3], X[0, :, 1:3])
    assert_array_equal(
        found[0][:, [0, 3]], np.repeat(X.mean(axis=(0, 2))[:, None], 2, 1)
    )
    assert perturbation.is_shared


def test_time_steps_on_a_line():
    X = np.array([[[0.0, 9.0, 9.0, 3.0, 9.0]], [[1.0, 2.0, 3.0, 4.0, 5.0]]])
    hidden = np.array([[False, True, True, False, True], [True] * 5])
    found = make(X, "time", "linear").hide(hidden)
    assert_allclose(found[0, 0], [0, 1, 2, 3, 3])
    assert_allclose(found[1, 0], X.mean())  # nothing is left


def test_time_steps_of_another_series():
    X = 10.0 * np.arange(3)[:, None, None] + np.arange(8.0).reshape(2, 4)
    found = make(X, "time", "permute").hide(np.ones((3, 4), dtype=bool))
    assert (found != X).all()
    assert_array_equal(found % 10, X % 10)  # the same step and channel
    # All channels of a step come from the same series.
    assert_array_equal(found[:, 0] // 10, found[:, 1] // 10)


def test_channels():
    X = 10.0 * np.arange(3)[:, None, None] + np.arange(8.0).reshape(2, 4)
    hidden = np.array([[True, False], [False, True], [False, False]])
    found = make(X, "channels", "permute").hide(hidden)
    assert (found[0, 0] != X[0, 0]).all()
    assert len(np.unique(found[0, 0] // 10)) == 1
    assert_array_equal(found[0, 1], X[0, 1])
    assert_array_equal(found[2], X[2])
    found = make(X, "channels").hide(hidden)
    assert_allclose(found[1, 1], X[:, 1].mean())


@pytest.mark.parametrize("how", ["mean", "linear", "permute"])
def test_series_of_unequal_lengths_keep_them(how):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(2, length)) for length in (3, 6, 5)]
    perturbation = make(X, "time", how)
    assert_array_equal(perturbation.lengths, [3, 6, 5])
    assert not perturbation.is_shared
    found = perturbation.hide(np.ones((3, 6), dtype=bool))
    assert [each.shape for each in found] == [each.shape for each in X]
    for new, old in zip(found, X, strict=True):
        assert np.isfinite(new).all()
        assert (new != old).all()


def test_padding_stays():
    X = np.ones((2, 1, 4))
    X[0, 0, 2:] = np.nan
    found = make(X, "time").hide(np.ones((2, 4), dtype=bool))
    assert_array_equal(np.isnan(found), np.isnan(X))


# Texts


def spelled(texts, how, model="word", hidden=None, kind="auto", **params):
    encoder = TokenEncoder(model, kind=kind, **params)
    estimator = AttentionClassifier(TextEncoder(d_model=8), token_encoder=encoder)
    estimator.set_params(**OPTIONS).fit(texts * 4, [0, 1] * (2 * len(texts)))
    perturbation = make(texts, "tokens", how, estimator=estimator)
    mask = nothing(perturbation)
    for number, at in hidden:
        mask[number, at] = True
    found = perturbation.hide(mask)
    assert estimator.predict(found).shape == (len(texts),)
    return found, estimator.token_encoder_.tokenize(found), perturbation


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("strip_accents", [False, True])
@pytest.mark.parametrize("model", ["word", "wordpiece", "character", "bpe"])
def test_spans_are_what_tokens_were_written_for(model, strip_accents, lowercase):
    texts = [
        "A good film. Bad! cafe\u0301 Straße's  3.5 ... \u0130stanbul e\u0301e\u0301!",
        "  Mr.Smith\tun­believable\nanother line? yes \u2581x",
        "",
    ]
    encoder = TokenEncoder(
        model,
        vocabulary_size=120,
        lowercase=lowercase,
        strip_accents=strip_accents,
    ).fit(texts)
    for text, tokens, spans in zip(
        texts, encoder.tokenize(texts), encoder._spans(texts), strict=True
    ):
        assert len(tokens) == len(spans)
        last = 0
        for token, (item, start, end) in zip(tokens, spans, strict=True):
            assert item == 0
            assert last <= end <= len(text)
            last = end
            if "\u0130" in text[max(start - 1, 0) : end]:
                continue  # one letter that becomes two when written small
            written = encoder._form.normalise(text[start:end]).strip()
            token = token.replace("\u2581", "").replace("##", "")
            assert written.replace("\u2581", "") == token


def test_deleted_words():
    texts = ["A good film, good!", "Bad."]
    found, tokens, perturbation = spelled(
        texts, "delete", hidden=[(0, 1), (0, 4), (1, 0), (1, 3)]
    )
    assert tokens == [["a", "film", ",", "!"], ["."]]
    assert found[0].split() == ["A", "film,", "!"]
    assert texts == ["A good film, good!", "Bad."]
    assert_array_equal(perturbation.lengths, [6, 2])


def test_words_beside_a_deleted_mark_stay_two():
    _, tokens, _ = spelled(["one/two", "x"], "delete", hidden=[(0, 1)])
    assert tokens[0] == ["one", "two"]


@pytest.mark.parametrize("model", ["word", "wordpiece", "character", "bpe"])
def test_masked_tokens_are_unknown(model):
    texts = ["Straße e\u0301t\u00e9 good", "a film"]
    found, _, perturbation = spelled(
        texts, "mask", model, [(0, 2), (1, 1)], vocabulary_size=90
    )
    encoder = perturbation.estimator.token_encoder_
    before, after = encoder.transform(texts), encoder.transform(found)
    for old, new, at in zip(before, after, (2, 1), strict=True):
        assert new[at] == SpecialToken.UNKNOWN
        assert_array_equal(new[:at], old[:at])


@pytest.mark.parametrize("model", ["wordpiece", "character", "bpe"])
def test_deleted_parts_of_words(model):
    texts = ["caf\u0301es bars", "a good film"]
    found, tokens, perturbation = spelled(
        texts, "delete", model, [(0, 1), (1, 1)], vocabulary_size=90
    )
    spans = perturbation.spans
    for old, new, (_, start, end) in zip(
        texts, found, (spans[0][1], spans[1][1]), strict=True
    ):
        assert new == old[:start] + old[end:]
    assert tokens[1] != perturbation.estimator.token_encoder_.tokenize(texts)[1]


def test_tokens_of_lists():
    texts = [["New York", "is", "big"], ["so"]]
    found, _, _ = spelled(texts, "delete", hidden=[(0, 0), (1, 0)], kind="tokens")
    assert found == [["is", "big"], []]
    found, _, _ = spelled(texts, "mask", hidden=[(0, 1)], kind="tokens")
    assert found[0][0] == "New York"
    assert found[0][1] not in ("is", "")
    assert texts == [["New York", "is", "big"], ["so"]]


def test_tokens_of_turns():
    texts = [["Hello you", "Good bye"], ["Yes ."]]
    # The separators, at 2 and 5, are no part of the text.
    found, tokens, _ = spelled(
        texts, "delete", hidden=[(0, 0), (0, 1), (0, 2), (0, 4), (1, 1)]
    )
    assert [turn.split() for turn in found[0]] == [[], ["Good"]]
    assert tokens[1] == ["yes", "[SEP]"]


def test_token_ids():
    X = np.empty(2, dtype=object)
    X[:] = [np.array([7, 8, 9]), np.array([6])]
    estimator = AttentionClassifier(TextEncoder(d_model=8), **OPTIONS).fit(X, [0, 1])
    hidden = np.array([[True, False, True], [True, True, True]])
    found = make(X, "tokens", estimator=estimator).hide(hidden)
    assert [each.tolist() for each in found] == [[8], []]
    assert estimator.predict(found).shape == (2,)
    found = make(X, "tokens", "mask", estimator=estimator).hide(hidden)
    assert [each.tolist() for each in found] == [[1, 8, 1], [1]]
    assert X[0].tolist() == [7, 8, 9]


def test_pairs_of_texts():
    X = [("a b", "c d"), ("e", "f g")] * 2
    estimator = AttentionClassifier("text_encoder", **OPTIONS).fit(X, [0, 1] * 2)
    hidden = np.zeros((4, 2), dtype=bool)
    hidden[0, 0] = True
    found = make(X, "other_tokens", "delete", estimator=estimator).hide(hidden)
    assert found[0][0] == "a b"
    assert found[0][1].split() == ["d"]
    found = make(X, "tokens", "delete", estimator=estimator).hide(hidden)
    assert found[0][0].split() == ["b"]
    assert found[0][1] == "c d"


# Graphs


def graphs():
    rng = np.random.default_rng(0)
    return [
        Graph.from_edges([(0, 1), (1, 2)][: n - 1], rng.normal(size=(n, 2)))
        for n in (3, 2, 3, 2)
    ]


def test_removed_edges():
    X = graphs()
    perturbation = make(X, "edges")
    assert_array_equal(perturbation.lengths, [4, 2, 4, 2])
    hidden = nothing(perturbation)
    hidden[0, 1] = True
    hidden[1] = True
    found = perturbation.hide(hidden)
    assert_array_equal(found[0].edge_index, X[0].edge_index[:, [0, 2, 3]])
    assert found[1].n_edges == 0
    assert_array_equal(found[2].edge_index, X[2].edge_index)
    assert X[0].n_edges == 4
    estimator = AttentionClassifier(GAT(), **OPTIONS).fit(X, [0, 1, 0, 1])
    assert estimator.predict(found).shape == (4,)


@pytest.mark.parametrize("how", ["mean", "permute"])
def test_replaced_features_of_nodes(how):
    X = graphs()
    hidden = np.zeros((4, 3), dtype=bool)
    hidden[0, 1] = True
    found = make(X, "nodes", how).hide(hidden)
    pool = np.concatenate([graph.x for graph in X])
    if how == "mean":
        assert_allclose(found[0].x[1], pool.mean(axis=0))
    else:
        assert (found[0].x[1] == pool).all(axis=1).any()
    assert_array_equal(found[0].x[[0, 2]], X[0].x[[0, 2]])
    assert_array_equal(found[3].x, X[3].x)


def test_one_graph_loses_the_same_for_all_its_nodes():
    rng = np.random.default_rng(0)
    edges = [(i, i + 1) for i in range(9)]
    graph = Graph.from_edges(edges, rng.normal(size=(10, 2)))
    options = {name: OPTIONS[name] for name in ("max_epochs", "random_state")}
    estimator = NodeClassifier(GAT(), graph=graph, **options)
    estimator.fit(graph.nodes, graph.nodes % 2)
    ids = graph.nodes[:4]
    perturbation = make(ids, "edges", estimator=estimator)
    hidden = nothing(perturbation)
    assert hidden.shape == (1, 18)
    assert perturbation.n_samples == 4
    hidden[:, 0] = True
    assert perturbation.hide(hidden).n_edges == 17
    whole = perturbation.ask("predict_proba", nothing(perturbation))
    assert_allclose(whole, estimator.predict_proba(ids), atol=1e-6)
    assert (perturbation.ask("predict_proba", hidden) != whole).any()
    nodes = make(ids, "nodes", estimator=estimator)
    assert nodes.hide(nodes.inside()).n_edges == 18
    assert_allclose(
        nodes.hide(nodes.inside()).x, np.tile(graph.x.mean(axis=0), (10, 1))
    )


# What goes with what


def test_axes():
    assert axes_of(AnyArray(), np.zeros((2, 3))) == ["features"]
    assert axes_of(AnyArray(), np.zeros((2, 3, 4))) == ["time", "channels"]
    assert axes_of(AnyArray(), graphs()) == ["edges", "nodes"]


def test_a_way_that_does_not_go_with_the_axis():
    with pytest.raises(ValueError, match=r"'auto', 'mean', 'linear', 'permute'\."):
        make(np.zeros((2, 3, 4)), "time", "delete")
    with pytest.raises(ValueError, match=r"one of 'auto', 'remove'\."):
        make(graphs(), "edges", "mean")


def test_an_axis_that_the_data_have_not():
    with pytest.raises(
        ValueError, match=r"of table input cannot be hidden.*'features'"
    ):
        make(np.zeros((2, 3)), "time")


def test_texts_of_another_library():
    with pytest.raises(TypeError, match="AnyArray does not tell them"):
        make(["a b", "c"], "tokens")


def test_texts_of_one_length_are_masked():
    texts = ["a b", "c d"]
    estimator = AttentionClassifier("text_encoder", **OPTIONS).fit(texts, [0, 1])
    assert make(texts, "tokens", estimator=estimator).how == "delete"
    estimator._encoder.consumes = frozenset()  # as of an architecture without a mask
    assert make(texts, "tokens", estimator=estimator).how == "mask"
