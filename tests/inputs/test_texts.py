"""Texts as an encoder reads them."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from skattn import SpecialToken
from skattn._inputs import input_of, make_encoder
from skattn._inputs._texts import TextsEncoder, holds_texts, resolve_token_encoder
from skattn.text import TokenEncoder

TEXTS = ["A good film. I like it!", "bad", "", "not so bad , not good"]
TOKENS = [["a", "good", "film", "."], ["bad"], [], ["not", "bad"]]
TURNS = [["how are you ?", "fine"], ["who ?"], ["nobody at all"]]
UNKNOWN = int(SpecialToken.UNKNOWN)


class Estimator:
    """Named in error messages."""


def objects(values):
    found = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        found[number] = value
    return found


IDS = objects([np.array([6, 9, 7]), np.array([8], dtype=np.int32), np.array([7, 4, 6])])


def make(input="tokens", token_encoder=None, consumes=("mask", "other_mask")):
    architecture = SimpleNamespace(name="some", consumes=consumes)
    return TextsEncoder(input, token_encoder, architecture, Estimator())


def learn(X, *args, **kwargs):
    encoder = make(*args, **kwargs)
    return encoder, encoder.learn(encoder.check(X))


def digest(text, input="tokens"):
    encoder = make(input)
    encoder, content = learn([text, text], input)
    first, second = encoder.identity(content)["digests"].tolist()
    assert first == second
    return tuple(first)


# What is a text


@pytest.mark.parametrize(
    ("X", "kind"),
    [
        (TEXTS, "tokens"),
        (tuple(TEXTS), "tokens"),
        (np.array(TEXTS), "tokens"),
        (np.array(TEXTS, dtype=object), "tokens"),
        (np.array(TEXTS, dtype=np.dtypes.StringDType()), "tokens"),
        (pd.Series(TEXTS, index=[3, 1, 2, 0]), "tokens"),
        (pd.Series(TEXTS).array, "tokens"),
        (pd.Series(TEXTS, dtype="category"), "tokens"),
        ("a single text", "tokens"),
        (["a", None], "tokens"),
        ([float("nan"), "a"], "tokens"),
        (["a", 3], "tokens"),
        ([b"a"], "tokens"),
        (TOKENS, "tokens"),
        ([np.array(["a", "b"]), np.array(["b"])], "tokens"),
        (objects(TOKENS), "tokens"),
        (TURNS, "tokens"),
        ([[], []], "tokens"),
        (IDS, "tokens"),
        (pd.Series(IDS), "tokens"),
        ([("a b", "c"), ("d", "e")], "pair"),
        ([(["a"], ["b", "c"])], "pair"),
        ([("a", None)], "pair"),
        (objects([(IDS[0], IDS[1])]), "pair"),
        ([], "table"),
        ([1.5, 2.5], "table"),
        (np.array([1.5, None], dtype=object), "table"),
        (pd.Series([1, 2]), "table"),
        ([[1, 2], [3, 4]], "table"),
        ([np.array([1, 2]), np.array([3, 4])], "table"),
        ([(1, 2), (3, 4)], "table"),
        (np.array([["a", "b"]]), "table"),
        (pd.DataFrame({"text": TEXTS}), "table"),
        (pd.DataFrame({"one": TEXTS, "two": TEXTS}), "table"),
    ],
    ids=str,
)
def test_kinds_of_input(X, kind):
    assert input_of(X) == kind


@pytest.mark.parametrize(
    ("supported", "kind"),
    [
        (("pair",), "pair"),
        (("pair", "table"), "table"),
        (("tokens",), "table"),
        (("table",), "table"),
    ],
)
def test_a_table_of_two_text_columns_is_pairs_where_tables_are_not_served(
    supported, kind
):
    architecture = SimpleNamespace(supports=dict.fromkeys(supported, ()))
    for X in (
        np.array([["a", "b"], ["c", "d"]]),
        np.array([["a", "b"], ["c", None]], dtype=object),
        pd.DataFrame({"question": ["a", "c"], "answer": ["b", "d"]}),
    ):
        assert input_of(X, lambda: architecture) == kind


@pytest.mark.parametrize(
    "X",
    [
        np.array([["a", "b", "c"]]),
        np.array([["a"], ["b"]]),
        pd.DataFrame({"text": ["a", "b"], "number": [1, 2]}),
        np.zeros((3, 2)),
    ],
    ids=["three", "one", "number", "numbers"],
)
def test_other_tables_are_no_pairs(X):
    architecture = SimpleNamespace(supports={"pair": ()})
    assert input_of(X, lambda: architecture) == "table"


def test_the_encoder_of_texts_gets_the_estimators_token_encoder():
    estimator = SimpleNamespace(
        input_scaling="auto", token_encoder=TokenEncoder("character")
    )
    architecture = SimpleNamespace(name="some", consumes=("mask",))
    for kind in ("tokens", "pair"):
        encoder = make_encoder(estimator, kind, architecture)
        assert encoder.input == kind
        assert encoder.token_encoder is estimator.token_encoder


# Single texts


def test_the_same_texts_in_any_container_are_read_alike():
    _, expected = learn(TEXTS)
    for X in (
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS, dtype=np.dtypes.StringDType()),
        pd.Series(TEXTS, index=list("dcba")),
        pd.Series(TEXTS).array,
    ):
        _, content = learn(X)
        assert content["texts"].tolist() == TEXTS
        for found, codes in zip(content["tokens"], expected["tokens"], strict=True):
            assert_array_equal(found, codes)


def test_a_clone_of_the_token_encoder_learns_from_the_training_texts():
    given = TokenEncoder(vocabulary_size=10)
    encoder, content = learn(TEXTS, token_encoder=given)
    assert not hasattr(given, "vocabulary_")
    fitted = encoder.token_encoder_
    assert fitted.vocabulary_size == 10
    expected = TokenEncoder(vocabulary_size=10).fit(TEXTS)
    assert fitted.vocabulary_ == expected.vocabulary_
    for codes, found in zip(expected.transform(TEXTS), content["tokens"], strict=True):
        assert_array_equal(found, codes if len(codes) else [UNKNOWN])


def test_the_description_counts_tokens_and_codes():
    encoder, _ = learn(TEXTS)
    vocabulary_size = encoder.token_encoder_.vocabulary_size_
    assert encoder.describe() == {
        "input": "tokens",
        "vocabulary_size": vocabulary_size,
        "length": 8,
    }
    assert encoder.length == 8
    assert encoder.n_features_in is None


def test_a_text_without_a_token_is_one_unknown_token():
    for X in (["", "a b", "  \n"], [[], ["a", "b"], []]):
        encoder, content = learn(X, consumes=("mask", "segments", "characters"))
        for row in (0, 2):
            assert content["tokens"][row].tolist() == [UNKNOWN]
            assert content["segments"][row].tolist() == [0]
            assert content["characters"][row].shape[0] == 1
        assert encoder.axis_names("tokens", content) == [
            ["[UNK]"],
            ["a", "b"],
            ["[UNK]"],
        ]
        again = encoder.read(encoder.check(X))
        assert again["tokens"][0].dtype == np.int64


def test_unknown_words_are_unknown_tokens():
    encoder, _ = learn(["a b", "b c"])
    content = encoder.read(encoder.check(["x y", "a x"]))
    assert content["tokens"][0].tolist() == [UNKNOWN, UNKNOWN]
    assert content["tokens"][1][1] == UNKNOWN
    assert encoder.axis_names("tokens", content)[0] == ["x", "y"]


def test_lists_are_tokens_or_turns_as_the_training_texts_tell():
    encoder, content = learn(TOKENS)
    assert encoder.token_encoder_.kind_ == "tokens"
    assert encoder.axis_names("tokens", content)[0] == TOKENS[0]
    encoder, content = learn(TURNS, consumes=("mask", "segments"))
    assert encoder.token_encoder_.kind_ == "turns"
    assert encoder.axis_names("tokens", content)[0][-2:] == ["fine", "[SEP]"]
    assert content["segments"][0].tolist() == [0, 0, 0, 0, 0, 1, 1]
    encoder, _ = learn(TOKENS, token_encoder=TokenEncoder(kind="turns"))
    assert encoder.token_encoder_.kind_ == "turns"


def test_segments_and_characters_come_only_where_consumed():
    _, content = learn(TEXTS)
    assert set(content) == {"texts", "tokens"}
    encoder, content = learn(TEXTS, consumes=("mask", "segments", "characters"))
    assert content["segments"][0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    for codes, characters in zip(content["tokens"], content["characters"], strict=True):
        assert characters.shape == (len(codes), 4)  # of "good"
    found = encoder.describe()["character_vocabulary_size"]
    assert found == encoder.characters_.n_codes_ > 2


def test_all_tensors_reach_the_samples():
    encoder, content = learn(TEXTS, consumes=("mask", "segments", "characters"))
    net = SimpleNamespace(device="cpu", precision="float32")
    samples = encoder.samples(content, net, np.zeros((4, 1)))
    inputs, _ = samples.take(torch.tensor([0, 1]))
    assert {name: tuple(each.shape) for name, each in inputs.items()} == {
        "tokens": (2, 8),
        "mask": (2, 8),
        "segments": (2, 8),
        "characters": (2, 8, 4),
    }


def test_unequal_lengths_need_a_mask():
    with pytest.raises(ValueError, match=r"1 to 8 tokens.*'some' does not consume"):
        learn(TEXTS, consumes=())
    encoder, _ = learn(["a b", "c d"], consumes=())
    encoder.read(encoder.check(["d"]))  # as long as each other
    with pytest.raises(ValueError, match="'other_mask'"):
        learn([("a", "b"), ("a", "b c")], "pair", consumes=("mask",))


# Ids


def test_a_list_of_ids_of_unequal_lengths_is_told_from_a_table():
    with pytest.raises(ValueError, match=r"would be a table.*array of objects"):
        holds_texts([np.array([6, 7]), np.array([8])])
    assert holds_texts([np.array([6, 7]), np.array([8, 9])]) is None


def test_ids_and_token_lists_are_not_mixed():
    X = np.empty(2, dtype=object)
    X[:] = [np.array([6, 7]), np.array(["a"])]
    with pytest.raises(ValueError, match=r"Element 1 of X must hold token ids.*'a'"):
        learn(X)


def test_samples_have_the_masks_that_are_consumed():
    encoder, content = learn(["a b", "c d"], consumes=())
    net = SimpleNamespace(device="cpu", precision="float32")
    for _, inputs in encoder.samples(content, net).inference_batches():
        assert set(inputs) == {"tokens"}
        assert inputs["tokens"].shape[1] == 2


def test_ids_bring_their_vocabulary_along():
    encoder, content = learn(IDS, consumes=("mask", "segments", "characters"))
    assert encoder.token_encoder_ is None
    assert encoder.describe() == {
        "input": "tokens",
        "vocabulary_size": 10,
        "length": 3,
    }
    assert [ids.tolist() for ids in content["tokens"]] == [[6, 9, 7], [8], [7, 4, 6]]
    assert all(ids.dtype == np.int64 for ids in content["tokens"])
    assert [each.tolist() for each in content["segments"]] == [
        [0, 0, 0],
        [0],
        [0, 0, 1],
    ]
    assert "characters" not in content
    assert encoder.axis_names("tokens", content)[0] == ["6", "9", "7"]
    assert learn(objects([np.array([1])]))[0].vocabulary_size_ == len(SpecialToken)


def test_ids_beyond_the_training_ids_are_unknown():
    encoder, _ = learn(IDS)
    content = encoder.read(encoder.check(objects([np.array([9, 10, 99])])))
    assert content["tokens"][0].tolist() == [9, UNKNOWN, UNKNOWN]
    none = objects([np.zeros(0, dtype=int), np.array([6])])
    assert encoder.read(encoder.check(none))["tokens"][0].tolist() == [UNKNOWN]


def test_ids_from_a_list_are_taken_after_fit():
    encoder, _ = learn(IDS)
    found = encoder.read(encoder.check([np.array([6]), np.array([7])]))
    assert [ids.tolist() for ids in found["tokens"]] == [[6], [7]]


# Pairs


def test_pairs_in_any_container_are_read_alike():
    pairs = [("a b", "c"), ("d", "a d e")]
    encoder, expected = learn(pairs, "pair")
    assert encoder.describe()["length"] == 3
    assert encoder.describe()["input"] == "pair"
    assert encoder.axis_names("tokens", expected) == [["a", "b"], ["d"]]
    assert encoder.axis_names("other_tokens", expected) == [["c"], ["a", "d", "e"]]
    assert encoder.axis_names("time", expected) is None
    for X in (
        objects(pairs),
        pd.Series(pairs),
        np.array(pairs),
        np.array(pairs, dtype=object),
        pd.DataFrame(pairs, columns=["question", "answer"]),
    ):
        _, content = learn(X, "pair")
        for name, each in expected.items():
            for found, wanted in zip(content[name], each, strict=True):
                assert_array_equal(found, wanted)


def test_both_texts_of_pairs_share_one_vocabulary():
    encoder, content = learn([("a b", "b a"), ("c", "b")], "pair")
    assert content["tokens"][0].tolist() == content["other_tokens"][0].tolist()[::-1]
    names = set(encoder.token_encoder_.vocabulary_)
    assert {"a", "b", "c"} < names


def test_pairs_of_token_lists_and_of_ids():
    encoder, content = learn([(["a", "b"], ["c"]), (["a"], [])], "pair")
    assert encoder.token_encoder_.kind_ == "tokens"
    assert content["other_tokens"][1].tolist() == [UNKNOWN]
    encoder, content = learn([(IDS[0], IDS[1]), (IDS[2], IDS[0])], "pair")
    assert encoder.vocabulary_size_ == 10
    assert content["other_tokens"][1].tolist() == [6, 9, 7]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([("a", "b"), ("a", "b", "c")], "Element 1 of X is a tuple of 3.*tuple of two"),
        ([("a", "b"), "a"], "Element 1 of X is of type str"),
        ([("a", "b"), None], "Element 1 of X is of type NoneType"),
        ([("a", "b"), ("a", None)], "Element 1 of X is None"),
    ],
)
def test_what_is_no_pair_is_refused(X, message):
    with pytest.raises(TypeError, match=message):
        learn(X, "pair")


# What is no text


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a text", TypeError, r"single string\. Pass \[text\]"),
        (b"a text", TypeError, "single bytes object"),
        ([], ValueError, "0 texts"),
        (["a", None], TypeError, "Element 1 of X is None"),
        (["a", float("nan")], TypeError, "Element 1 of X is nan"),
        (pd.Series(["a", pd.NA], dtype="string"), TypeError, "Element 1 of X is <NA>"),
        (["a", 3], TypeError, "Element 1 of X is of type int"),
        (["a", b"b"], TypeError, "Element 1 of X is a bytes object"),
        ([["a", 1]], TypeError, "Item 1 of element 0 of X is of type int"),
        (["a", ["b"]], ValueError, "X mixes strings and lists"),
        (["a", IDS[0]], TypeError, "Element 0 of X is of type str, but others are arr"),
        (objects([IDS[0], [1, 2]]), TypeError, "Element 1 of X is of type list"),
        (
            objects([IDS[0], np.array([6, 0])]),
            ValueError,
            r"Element 1 of X must hold token ids.*holds 0 of int64.*Leave padding",
        ),
        (objects([IDS[0], np.array([-1])]), ValueError, "holds -1 of int64"),
        (objects([IDS[0], np.array([1.5])]), ValueError, "holds 1.5 of float64"),
        (pd.DataFrame({"a": TEXTS}), TypeError, r"DataFrame of shape \(4, 1\)"),
        (np.array([["a"], ["b"]]), TypeError, r"ndarray of shape \(2, 1\)"),
        (np.zeros((3, 2)), TypeError, r"ndarray of shape \(3, 2\)"),
        ({"a": 1}, TypeError, "X is a dict"),
        (["", "  "], ValueError, "token"),
        ([[], []], ValueError, "no training text holds a token"),
    ],
)
def test_what_is_no_text_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        learn(X)


@pytest.mark.parametrize(
    ("fitted", "other", "message"),
    [
        (TEXTS, TOKENS, "Element 0 of X is of the form of lists of strings, but Esti"),
        (TEXTS, [[]], "Element 0 of X is of the form of lists of strings"),
        (TEXTS, IDS, "arrays of token ids, but Estimator was fitted with strings"),
        (TOKENS, TEXTS, "strings, but Estimator was fitted with lists of strings"),
        (IDS, TEXTS, "strings, but Estimator was fitted with arrays of token ids"),
    ],
)
def test_texts_of_another_form_than_in_fit_are_refused(fitted, other, message):
    encoder, _ = learn(fitted)
    with pytest.raises(ValueError, match=message):
        encoder.read(encoder.check(other))


def test_what_is_cut_is_said():
    with pytest.warns(UserWarning, match=r"1 of 2 texts are longer than max_length=2"):
        encoder, content = learn(
            ["a b c", "d"],
            token_encoder=TokenEncoder(max_length=2),
            consumes=("mask", "segments", "characters"),
        )
    assert encoder.length == 2
    for name in ("tokens", "segments", "characters"):
        assert [len(each) for each in content[name]] == [2, 1]
    assert encoder.axis_names("tokens", content) == [["a", "b"], ["d"]]


def test_very_long_texts_are_kept():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder, content = learn(["a b " * 5_000, "c"])
    assert encoder.length == len(content["tokens"][0]) == 10_000


# Identity


def test_equal_texts_have_equal_digests_and_others_do_not():
    assert digest("a b") == digest("a b")
    assert digest(["a", "b"]) == digest(np.array(["a", "b"]))
    found = [digest(each) for each in ("a b", "a  b", "A b", ["a", "b"], ["ab"])]
    found += [digest(["a", "b", ""]), digest(["", "a", "b"])]
    found += [digest(each, "pair") for each in (("a", "b"), ("b", "a"), ("ab", "c"))]
    found += [digest(("a", "bc"), "pair")]
    assert len(set(found)) == len(found)


def test_digests_do_not_depend_on_other_texts():
    encoder, content = learn(TEXTS)
    everything = encoder.identity(content)["digests"]
    for number, text in enumerate(TEXTS):
        alone = encoder.read(encoder.check([text]))
        assert_array_equal(encoder.identity(alone)["digests"], everything[[number]])


# The token encoder


def test_none_is_the_default_token_encoder():
    assert resolve_token_encoder(None).get_params() == TokenEncoder().get_params()
    assert resolve_token_encoder(None, model="bpe").model == "bpe"
    given = TokenEncoder()
    assert resolve_token_encoder(given, model="bpe") is given
    with pytest.raises(TypeError, match=r"or None, not 'word'.*array of objects"):
        resolve_token_encoder("word")
