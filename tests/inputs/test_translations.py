"""Sentences of two languages: what is accepted, and what becomes of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from skattn import SpecialToken
from skattn._inputs._translations import (
    SourceEncoder,
    TranslationTarget,
    check_sentences,
    digests,
)
from skattn.text import TokenEncoder

START, END = int(SpecialToken.START), int(SpecialToken.END)
SENTENCES = ["one two", "", "three three three four"]
WRITTEN = ["eins zwei", "drei", ""]


def encoders(shared=False):
    source = TokenEncoder().fit(SENTENCES)
    target = source if shared else TokenEncoder().fit(WRITTEN)
    return source, target


def learnt(shared=False):
    encoder = SourceEncoder(*encoders(shared))
    return encoder, encoder.learn(check_sentences("X", SENTENCES))


def net_of(*consumes):
    architecture = SimpleNamespace(consumes=consumes)
    module = SimpleNamespace(architecture=architecture)
    return SimpleNamespace(module=module, precision="float32", device="cpu")


# What is accepted


@pytest.mark.parametrize(
    "sentences",
    [
        SENTENCES,
        tuple(SENTENCES),
        np.array(SENTENCES),
        np.array(SENTENCES, dtype=object),
        pd.Series(SENTENCES, index=[7, 5, 3]),
        pd.Series(SENTENCES, dtype="string"),
    ],
    ids=["list", "tuple", "array", "objects", "Series", "strings"],
)
def test_every_container_of_strings_gives_the_same_objects(sentences):
    checked = check_sentences("X", sentences)
    assert checked.dtype == object
    assert checked.shape == (3,)
    assert checked.tolist() == SENTENCES
    assert {type(sentence) for sentence in checked} == {str}


@pytest.mark.parametrize(
    ("sentences", "error", "words"),
    [
        ("one two", TypeError, ["y is a single string", "['one two']"]),
        (None, TypeError, ["y", "NoneType"]),
        (5, TypeError, ["y", "int"]),
        (pd.DataFrame({"a": ["x"]}), TypeError, ["y", "DataFrame"]),
        (np.array([["a", "b"]]), ValueError, ["y", "(1, 2)", "(n,)"]),
        (np.array("a"), ValueError, ["y", "()"]),
        ([], ValueError, ["y holds no sentence"]),
        (["a", None], TypeError, ["Element 1 of y is None", "strings"]),
        (["a", b"b"], TypeError, ["Element 1 of y", "bytes"]),
        (pd.Series(["a", np.nan]), TypeError, ["Element 1 of y is nan", "float"]),
        ([["a", "b"]], TypeError, ["Element 0 of y", "list"]),
        (np.arange(3), TypeError, ["Element 0 of y", "int"]),
    ],
)
def test_what_holds_no_sentences_is_refused(sentences, error, words):
    with pytest.raises(error) as caught:
        check_sentences("y", sentences)
    for word in words:
        assert word in str(caught.value)


def test_a_long_element_does_not_fill_the_screen():
    with pytest.raises(TypeError) as caught:
        check_sentences("X", [list(range(10_000))])
    assert len(str(caught.value)) < 300


# Tokens


def test_every_sentence_ends_and_every_translation_begins_one_step_later():
    encoder, content = learnt()
    tokens = encoder.token_encoder.vocabulary_
    assert content["tokens"][0].tolist() == [tokens["one"], tokens["two"], END]
    assert content["tokens"][1].tolist() == [END]
    target = TranslationTarget(encoder.target_encoder, 0.0)
    encoded = target.encode(check_sentences("y", WRITTEN))
    words = encoder.target_encoder.vocabulary_
    assert encoded[0].tolist() == [words["eins"], words["zwei"], END]
    assert encoded[2].tolist() == [END]
    samples = encoder.samples(content, net_of("mask", "target_mask"), encoded)
    inputs, expected = samples.take(torch.arange(3))
    given = inputs["target_tokens"]
    assert given[:, 0].tolist() == [START] * 3
    assert expected.n_tokens == sum(map(len, encoded))
    for row, sequence in enumerate(encoded):
        n = len(sequence)
        assert given[row, 1:n].tolist() == sequence[:-1].tolist()
        assert given[row, n:].tolist() == [0] * (given.shape[1] - n)
        assert expected.values[row, :n].tolist() == sequence.tolist()
    lengths = [len(sequence) for sequence in encoded]
    assert inputs["target_mask"].sum(dim=1).tolist() == lengths
    assert inputs["mask"].sum(dim=1).tolist() == [3, 1, 5]


def test_only_masks_that_are_consumed_are_made():
    encoder, content = learnt()
    encoded = TranslationTarget(encoder.target_encoder, 0.0).encode(
        check_sentences("y", WRITTEN)
    )
    samples = encoder.samples(content, net_of("mask"), encoded)
    inputs, _ = samples.take(torch.arange(3))
    assert set(inputs) == {"tokens", "mask", "target_tokens"}


@pytest.mark.parametrize("shared", [True, False])
def test_the_module_is_told_both_vocabularies(shared):
    encoder, _ = learnt(shared)
    described = encoder.describe()
    assert described["length"] == 5
    assert described["shared_vocabulary"] is shared
    assert described["vocabulary_size"] == encoder.token_encoder.vocabulary_size_
    other = encoder.target_encoder.vocabulary_size_
    assert described["target_vocabulary_size"] == other
    assert TranslationTarget(encoder.target_encoder, 0.0).n_outputs == other


# Names


def test_tokens_of_both_sides_have_names_of_their_own():
    encoder, content = learnt()
    target = TranslationTarget(encoder.target_encoder, 0.0)
    content["target_tokens"] = target.encode(check_sentences("y", WRITTEN))
    first = [names[0] for names in map(encoder.axis_names, NAMES, [content] * 3)]
    assert first == [
        ["one", "two", "[END]"],
        ["eins", "zwei", "[END]"],
        ["[START]", "eins", "zwei"],
    ]
    assert encoder.axis_names("tokens", content)[1] == ["[END]"]
    assert encoder.axis_names("channels", content) is None


NAMES = ("tokens", "target_tokens", "given_tokens")


# Numbers for hashing


def test_equal_sentences_have_equal_digests_and_others_have_not():
    found = digests(["a", "b", "a", "", "ab"])
    assert found.shape == (5, 2)
    assert found.dtype == np.uint32
    assert (found[0] == found[2]).all()
    assert len(np.unique(found, axis=0)) == 4
    arrays = [np.array([1, 2]), np.array([1]), np.array([1, 2])]
    assert len(np.unique(digests(arrays), axis=0)) == 2


def test_characters_that_are_half_of_a_pair_have_digests_too():
    halves = digests(["\ud800", "\udfff"])
    assert len(np.unique(halves, axis=0)) == 2
