"""Schemes of tags, and tags as classes of tokens."""

import itertools

import numpy as np
import pytest
import torch
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from skattn._engine._crf import Chain
from skattn._tags import (
    SCHEMES,
    Entity,
    TagTarget,
    find_entities,
    find_scheme,
    write_entities,
)

SEQEVAL = {"IOB1": IOB1, "IOB2": IOB2, "IOBES": IOBES, "BILOU": BILOU}
A, B = "LOC", "PER"


def all_sentences(length):
    """Every way to cover so many tokens with entities of two types."""
    if length == 0:
        yield []
        return
    for rest in all_sentences(length - 1):
        yield rest
    for size, kind in itertools.product(range(1, length + 1), (A, B)):
        for rest in all_sentences(length - size):
            yield [*rest, Entity(kind, length - size, length)]


def target_of(scheme, y=None):
    if y is None:
        y = [write_entities(entities, 3, scheme) for entities in all_sentences(3)]
    target = TagTarget(scheme, crf=True)
    target.learn(target.check(y))
    return target


@pytest.mark.parametrize("scheme", SCHEMES)
def test_entities_come_back_from_their_tags(scheme):
    for entities in all_sentences(4):
        assert find_entities(write_entities(entities, 4, scheme)) == entities


@pytest.mark.parametrize("scheme", SCHEMES)
def test_seqeval_reads_the_same_entities(scheme):
    for entities in all_sentences(4):
        tags = write_entities(entities, 4, scheme)
        (found,) = Entities([tags], SEQEVAL[scheme]).entities
        assert [each.to_tuple()[1:] for each in found] == [
            (kind, start, stop) for kind, start, stop in entities
        ]


def test_reading_is_as_lenient_as_that_of_conlleval():
    tags = ["O", "I-PER", "I-PER", "B-PER", "I-LOC", "O", "B-LOC", "I-LOC", "I-PER"]
    assert find_entities(tags) == [
        Entity(kind, start, stop + 1) for kind, start, stop in get_entities(tags)
    ]


def test_tags_of_each_scheme():
    entities = [Entity(B, 0, 3), Entity(B, 3, 4), Entity(A, 4, 6)]
    written = {
        scheme: [tag[0] for tag in write_entities(entities, 7, scheme)]
        for scheme in SCHEMES
    }
    assert written == {
        "IOB1": [*"IIIBIIO"],
        "IOB2": [*"BIIBBIO"],
        "IOBES": [*"BIESBEO"],
        "BILOU": [*"BILUBLO"],
    }


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scheme_is_found(scheme):
    y = [write_entities(entities, 4, scheme) for entities in all_sentences(4)]
    assert find_scheme(y) == scheme


def test_scheme_of_prefixes_that_two_share_is_told_by_their_order():
    assert find_scheme([["O", "B-PER"]]) == "IOB2"
    assert find_scheme([["O", "I-PER", "I-PER"]]) == "IOB1"


@pytest.mark.parametrize(
    "tags", [["NOUN", "VERB"], ["PER", "O"], [1, 2], ["O", "O"], ["B-PER", "MISC"]]
)
def test_mere_labels_have_no_scheme(tags):
    assert find_scheme([tags]) is None


def test_tags_of_no_scheme_are_refused_with_the_first_fault():
    y = [["O", "B-PER", "I-PER"], ["O", "I-PER", "O"]]
    with pytest.raises(ValueError, match="sentence 1, token 1 has the tag 'I-PER' wh"):
        find_scheme(y)
    with pytest.raises(ValueError, match="tag_scheme=None to take all tags as mere"):
        find_scheme(y)


def test_named_scheme_reads_stray_tags_as_beginnings_and_says_so():
    y = [["O", "B-PER", "I-PER"], ["O", "I-PER", "O"]]
    target = target_of("IOB2", y)
    with pytest.warns(UserWarning, match="1 of 2 sentences do not keep to tag_scheme"):
        target.numbers(target.check(y))
    codes = target.encode(target.check(y))
    assert [target.decode(each) for each in codes] == [y[0], ["O", "B-PER", "O"]]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tags_come_back_from_their_codes(scheme):
    y = [write_entities(entities, 4, scheme) for entities in all_sentences(4)]
    target = target_of(scheme)
    codes = target.encode(target.check(y))
    assert {each.dtype for each in codes} == {np.dtype(np.int64)}
    assert max(each.max() for each in codes) == target.n_outputs - 1 == 8
    assert [target.decode(each) for each in codes] == y


@pytest.mark.parametrize("scheme", SCHEMES)
def test_allowed_sequences_are_those_of_entities(scheme):
    target = target_of(scheme)
    allowed, n_tags = target.allowed(), target.n_outputs
    legal = {
        path
        for path in itertools.product(range(n_tags), repeat=3)
        if allowed[n_tags, path[0]]
        and allowed[n_tags + 1, path[-1]]
        and all(allowed[pair] for pair in itertools.pairwise(path))
    }
    y = [write_entities(entities, 3, scheme) for entities in all_sentences(3)]
    assert legal == {tuple(each.tolist()) for each in target.encode(target.check(y))}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_probabilities_are_sums_over_all_sequences_of_tags(scheme):
    target = target_of(scheme)
    n_tags = target.n_outputs
    scores = torch.randn(
        1, 3 + n_tags + 2, n_tags, generator=torch.Generator().manual_seed(0)
    ).double()
    chain = target.loss().chain(scores)
    y = [write_entities(entities, 3, scheme) for entities in all_sentences(3)]
    mask = torch.ones(1, 3, dtype=torch.bool)
    expected = np.zeros((3, len(target.classes)))
    for tags, codes in zip(y, target.encode(target.check(y)), strict=True):
        path = torch.from_numpy(codes)[None]
        columns = np.searchsorted(target.classes, tags)
        probability = chain.log_likelihood(path, mask).exp().item()
        expected[range(3), columns] += probability
    found = target.probabilities(chain, mask)[0]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_mere_labels_are_classes_of_their_own_type():
    target = TagTarget("auto", crf=False)
    y = target.check([[3, 1], np.array([2])])
    target.learn(y)
    assert target.scheme is None
    assert target.classes.tolist() == [1, 2, 3]
    assert target.n_outputs == 3
    assert target.allowed().all()
    assert [target.decode(each) for each in target.encode(y)] == [[3, 1], [2]]
    chain = Chain.of(torch.zeros(1, 2, 3).double(), torch.zeros(5, 3).double())
    found = target.probabilities(chain, torch.ones(1, 2, dtype=torch.bool))
    np.testing.assert_allclose(found, 1 / 3)


def test_classes_hold_all_tags_that_the_scheme_has_for_the_types():
    assert target_of("IOBES", [["S-PER"]]).classes.tolist() == [
        "B-PER",
        "E-PER",
        "I-PER",
        "O",
        "S-PER",
    ]


def test_announced_classes_are_known():
    target = TagTarget("auto", crf=True)
    target.learn(target.check([["O", "B-PER"]]), ["O", "B-PER", "B-LOC"])
    assert target.kinds == ["LOC", "PER"]
    with pytest.raises(ValueError, match=r"\['B-ORG'\], which are not among"):
        target.encode(target.check([["B-ORG"]]))


def test_announced_classes_tell_the_scheme_of_sentences_without_entities():
    for tags, scheme in [(["B-X"], "IOB2"), (["S-X"], "IOBES"), (["X"], None)]:
        target = TagTarget("auto", crf=True)
        target.learn(target.check([["O", "O"]]), ["O", *tags])
        assert target.scheme == scheme


def test_single_tag_is_refused():
    target = TagTarget("auto", crf=True)
    with pytest.raises(ValueError, match="one tag, 'O'; a tagger needs at least two"):
        target.learn(target.check([["O", "O"], ["O"]]))


def test_scheme_refuses_prefixes_of_another_one():
    with pytest.raises(ValueError, match="'S-PER', which is none of IOB2"):
        target_of("IOB2", [["O", "S-PER"]])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ("O", "y must be a list"),
        (["O O"], "Element 0 of y is 'O O'"),
        ([["O"], None], "Element 1 of y is None"),
        ([["O", None]], "Tag 1 of element 0 of y is None"),
        ([["O", 1.5]], "Tag 1 of element 0 of y is 1.5"),
        ([["O", ""]], "Tag 1 of element 0 of y is ''"),
        ([["O", True]], "Tag 1 of element 0 of y is True"),
        ([["O"], [1]], "strings and integers"),
    ],
)
def test_strange_tags_are_refused(y, message):
    with pytest.raises(TypeError, match=message):
        TagTarget.check(y)


def test_tags_of_numpy_and_pandas_are_taken():
    import pandas as pd

    y = pd.Series([np.array(["O", "B-PER"]), ("O",)], index=[3, 7])
    checked = TagTarget.check(y)
    assert checked.tolist() == [["O", "B-PER"], ["O"]]
    assert {type(tag) for tags in checked for tag in tags} == {str}


def test_numbers_for_hashing_do_not_depend_on_other_sentences():
    target = target_of("IOB2")
    y = target.check([["O", "B-PER"], ["O"], ["O", "B-PER"]])
    numbers = target.numbers(y)
    np.testing.assert_array_equal(numbers[0], numbers[2])
    np.testing.assert_array_equal(numbers[1:2], target.numbers(y[1:2]))
    assert (numbers[0] != numbers[1]).any()
