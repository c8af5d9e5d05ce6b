"""Texts to codes and back."""

import copy
import json
import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from skattn import SpecialToken
from skattn.text import TokenEncoder
from skattn.text._reading import Form, split_sentences

MODELS = ["word", "bpe", "wordpiece", "character"]

TEXTS = [
    "A good film.",
    "Bad! Really bad (and long).",
    "It isn't good, but short.",
    'She said: "never again" - and left.',
]


def some_texts(n_texts=200, seed=0):
    rng = random.Random(seed)
    letters = "abcdefghäé一xyz"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 6))) for _ in range(300)]
    return [" ".join(rng.choices(words, k=8)) for _ in range(n_texts)]


def rows(codes):
    return [row.tolist() for row in codes]


# Vocabulary


@pytest.mark.parametrize("model", MODELS)
def test_vocabulary_begins_with_the_special_tokens(model):
    encoder = TokenEncoder(model).fit(TEXTS)
    special = ["[PAD]", "[UNK]", "[START]", "[END]", "[SEP]", "[MASK]"]
    assert list(encoder.tokens_[: len(SpecialToken)]) == special
    assert encoder.vocabulary_["[MASK]"] == SpecialToken.MASKED
    assert encoder.vocabulary_size_ == len(encoder.tokens_) == len(encoder.vocabulary_)
    for token, code in encoder.vocabulary_.items():
        assert encoder.tokens_[code] == token


def test_words_are_numbered_by_frequency_and_then_by_the_alphabet():
    encoder = TokenEncoder().fit(["b a", "c a", "b a d"])
    assert list(encoder.tokens_[6:]) == ["a", "b", "c", "d"]


def test_vocabulary_size_keeps_the_most_frequent_words():
    encoder = TokenEncoder(vocabulary_size=8).fit(["b a", "c a", "b a d"])
    assert list(encoder.tokens_[6:]) == ["a", "b"]
    assert rows(encoder.transform(["a d b c"])) == [[6, 1, 7, 1]]


def test_min_frequency_leaves_rare_words_out():
    encoder = TokenEncoder(min_frequency=2).fit(["b a", "c a", "b a d"])
    assert list(encoder.tokens_[6:]) == ["a", "b"]


def test_bpe_merges_the_most_frequent_pair_first():
    encoder = TokenEncoder("bpe", vocabulary_size=11).fit(["hug pug hug", "pug hug"])
    assert list(encoder.tokens_[6:]) == ["g", "h", "p", "u", "▁"]
    encoder = TokenEncoder("bpe", vocabulary_size=13).fit(["hug pug hug", "pug hug"])
    # u and g follow each other 5 times; h and ug, as ▁ and h, 3 times.
    assert list(encoder.tokens_[11:]) == ["ug", "hug"]


def test_wordpiece_marks_what_is_inside_a_word():
    encoder = TokenEncoder("wordpiece", vocabulary_size=14)
    encoder.fit(["hug hut hug", "hut hug"])
    assert list(encoder.tokens_[6:13]) == ["##g", "##t", "##u", "g", "h", "t", "u"]
    assert encoder.tokens_[13] == "hu"
    assert encoder.tokenize(["hug huu"]) == [["hu", "##g", "hu", "##u"]]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("vocabulary_size", [60, 30_000])
def test_order_of_the_training_texts_does_not_matter(model, vocabulary_size):
    texts = some_texts()
    encoder = TokenEncoder(model, vocabulary_size=vocabulary_size).fit(texts)
    other = clone(encoder).fit(random.Random(1).sample(texts, len(texts)))
    assert list(other.tokens_) == list(encoder.tokens_)
    assert rows(other.transform(texts)) == rows(encoder.transform(texts))


def test_another_process_learns_the_same_vocabularies():
    code = f"""
import json, sys
from skattn.text import TokenEncoder
texts = json.load(sys.stdin)
for model in {MODELS}:
    print(*TokenEncoder(model, vocabulary_size=300).fit(texts).tokens_)
"""
    output = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(some_texts()),
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
        encoding="utf-8",
    ).stdout
    for model, line in zip(MODELS, output.splitlines(), strict=True):
        encoder = TokenEncoder(model, vocabulary_size=300).fit(some_texts())
        assert line.split(" ") == list(encoder.tokens_)


@pytest.mark.parametrize(
    "container",
    [
        np.array,
        lambda texts: np.array(texts, dtype=object),
        pd.Series,
        lambda texts: pd.Series(texts, dtype=object, index=list("wxyz")),
        lambda texts: pd.Series(texts, dtype="category"),
        tuple,
    ],
)
def test_containers_of_texts_are_equal(container):
    encoder = TokenEncoder().fit(container(TEXTS))
    assert list(encoder.tokens_) == list(TokenEncoder().fit(TEXTS).tokens_)
    assert rows(encoder.transform(container(TEXTS))) == rows(encoder.transform(TEXTS))


def test_token_lists_may_be_arrays():
    lists = [["a", "b"], ["c"]]
    arrays = np.empty(2, dtype=object)
    arrays[:] = [np.array(each) for each in lists]
    encoder = TokenEncoder().fit(arrays)
    assert encoder.kind_ == "tokens"
    assert rows(encoder.transform(lists)) == rows(encoder.transform(arrays))


@pytest.mark.parametrize("model", ["bpe", "wordpiece"])
def test_vocabulary_too_small_for_the_characters_is_an_error(model):
    with pytest.raises(ValueError, match="vocabulary_size=20 is too small") as error:
        TokenEncoder(model, vocabulary_size=20).fit(TEXTS)
    needed = int(str(error.value).split("more than ")[1].split(",")[0])
    assert TokenEncoder(model, vocabulary_size=needed).fit(TEXTS)
    with pytest.raises(ValueError, match="is too small"):
        TokenEncoder(model, vocabulary_size=needed - 1).fit(TEXTS)


@pytest.mark.parametrize("model", ["bpe", "character", "wordpiece"])
def test_rare_characters_become_unknown(model):
    texts = ["ab ab ab ☃ a☃", "ab ba"]
    encoder = TokenEncoder(model, min_frequency=3).fit(texts)
    assert "☃" not in "".join(encoder.tokens_)
    assert SpecialToken.UNKNOWN in encoder.transform(["ab☃"])[0]


def test_no_frequent_token_is_an_error():
    for model in MODELS:
        with pytest.raises(ValueError, match="min_frequency=9"):
            TokenEncoder(model, min_frequency=9).fit(["a b", "c"])


# Tokens


def test_words_numbers_and_marks():
    text = "Don't pay 3,000.50 (or 7) for the 3rd   well-known film... it's naïve!?"
    assert TokenEncoder().fit([text]).tokenize([text]) == [
        ["don't", "pay", "3,000.50", "(", "or", "7", ")", "for", "the", "3rd"]
        + ["well", "-", "known", "film", "...", "it's", "naïve", "!", "?"]
    ]


def test_marks_above_letters_stay_in_their_word():
    assert TokenEncoder().fit_transform(["नमस्ते दुनिया"])[0].shape == (2,)


def test_equal_texts_in_other_code_points_are_equal():
    encoder = TokenEncoder("bpe").fit(["Käse é"])
    decomposed = "Ka\N{COMBINING DIAERESIS}se e\N{COMBINING ACUTE ACCENT}"
    assert rows(encoder.transform([decomposed])) == rows(encoder.transform(["Käse é"]))


@pytest.mark.parametrize(
    ("model", "lowercase", "ignores_case"),
    [
        ("word", "auto", True),
        ("wordpiece", "auto", True),
        ("bpe", "auto", False),
        ("character", "auto", False),
        ("word", False, False),
        ("bpe", True, True),
    ],
)
def test_case(model, lowercase, ignores_case):
    encoder = TokenEncoder(model, lowercase=lowercase).fit(["Film film", "FILM"])
    first, second = rows(encoder.transform(["Film", "fILM"]))
    assert (first == second) == ignores_case


def test_accents_are_stripped_if_asked():
    encoder = TokenEncoder(strip_accents=True).fit(["Ein schöner Café"])
    assert list(encoder.tokens_[6:]) == ["cafe", "ein", "schoner"]
    assert TokenEncoder().fit(["Café"]).tokens_[6] == "café"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_spelt_special_tokens_do_not_get_their_codes(model, lowercase):
    spelt = "[PAD] [UNK] [START] [END] [SEP] [MASK]"
    texts = [f"a {spelt} b"] * 9
    encoder = TokenEncoder(model, lowercase=lowercase).fit(texts)
    codes = encoder.transform([spelt])[0]
    assert len(codes) >= 6
    assert codes.min() >= len(SpecialToken)
    expected = spelt.lower() if lowercase else spelt
    if model in ("bpe", "character"):
        assert encoder.inverse_transform([codes])[0] == expected


@pytest.mark.parametrize("model", MODELS)
def test_tokens_spelt_like_special_ones_do_not_get_their_codes(model):
    tokens = ["[PAD]", "[END]", "[MASK]", "film"]
    encoder = TokenEncoder(model, lowercase=False).fit([tokens] * 9)
    assert encoder.vocabulary_["[MASK]"] == SpecialToken.MASKED
    codes = encoder.transform([tokens])[0]
    allowed = {SpecialToken.UNKNOWN} if model == "word" else set()
    assert {code for code in codes if code < len(SpecialToken)} == allowed


def test_unknown_words_become_unknown():
    encoder = TokenEncoder().fit(["a good film"])
    assert rows(encoder.transform(["a great film", "quite terrible"])) == [
        [encoder.vocabulary_["a"], 1, encoder.vocabulary_["film"]],
        [1, 1],
    ]


def test_unknown_tokens_are_shown_as_the_text_spells_them():
    expected = {
        "word": ["a", "猫b", "!"],
        "bpe": ["▁a", "▁", "猫", "b", "!"],
        "wordpiece": ["a", "猫b", "!"],
        "character": ["▁", "a", "▁", "猫", "b", "!"],
    }
    for model, tokens in expected.items():
        encoder = TokenEncoder(model).fit(["a b ab!"])
        assert encoder.tokenize(["a 猫b!"]) == [tokens]
        assert (encoder.transform(["a 猫b!"])[0] == 1).sum() == 1


@pytest.mark.parametrize("model", MODELS)
def test_tokens_and_codes_agree(model):
    encoder = TokenEncoder(model, vocabulary_size=200).fit(some_texts())
    texts = some_texts(seed=1)
    for tokens, codes in zip(
        encoder.tokenize(texts), encoder.transform(texts), strict=True
    ):
        assert len(tokens) == len(codes)
        for token, code in zip(tokens, codes, strict=True):
            assert code == encoder.vocabulary_.get(token, SpecialToken.UNKNOWN)


# Arrays


@pytest.mark.parametrize("texts", [["a b", "c d"], ["a"], ["a b", "c", ""]])
def test_codes_are_an_array_of_arrays(texts):
    codes = TokenEncoder().fit_transform(texts)
    assert codes.shape == (len(texts),)
    assert codes.dtype == object
    for row, text in zip(codes, texts, strict=True):
        assert row.shape == (len(text.split()),)
        assert row.dtype == np.int64


@pytest.mark.parametrize("empty", ["", "   ", "\n"])
@pytest.mark.parametrize("model", MODELS)
def test_empty_texts_have_no_codes(model, empty):
    encoder = TokenEncoder(model).fit([*TEXTS, empty])
    assert encoder.transform([empty])[0].shape == (0,)
    assert encoder.segments([empty])[0].shape == (0,)
    assert encoder.tokenize([empty]) == [[]]
    assert list(encoder.inverse_transform(encoder.transform([empty]))) == [""]


def test_no_texts_have_no_codes():
    encoder = TokenEncoder().fit(TEXTS)
    assert encoder.transform([]).shape == (0,)
    assert encoder.inverse_transform([]).shape == (0,)


# Kinds


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["a b", "c"], "text"),
        ([["a", "b"], ["c"]], "tokens"),
        ([["a", "b"], []], "tokens"),
        ([["a"], ["how are you"]], "turns"),
        ([["a ", " b"]], "tokens"),
    ],
)
def test_kind_is_decided_by_the_training_texts(texts, kind):
    assert TokenEncoder().fit(texts).kind_ == kind


def test_kind_stays_as_it_was_decided():
    encoder = TokenEncoder().fit([["new", "york"], ["in"]])
    assert rows(encoder.transform([["in", "new york", "in"]])) == [[6, 1, 6]]
    encoder = TokenEncoder().fit([["how are you"], ["fine"]])
    assert encoder.tokenize([["are", "fine"]]) == [["are", "[SEP]", "fine", "[SEP]"]]


def test_kind_can_be_set():
    names = [["New York", "in"]]
    assert TokenEncoder(kind="tokens").fit(names).tokenize(names) == [
        ["new york", "in"]
    ]
    turns = [["hello", "yes"]]
    assert TokenEncoder(kind="turns").fit(turns).tokenize(turns) == [
        ["hello", "[SEP]", "yes", "[SEP]"]
    ]


def test_each_turn_ends_in_a_separator():
    encoder = TokenEncoder().fit([["how are you?", "fine"], []])
    codes = encoder.transform([["fine you", "", "how"], []])
    words = encoder.vocabulary_
    assert rows(codes) == [[words["fine"], words["you"], 4, 4, words["how"], 4], []]
    assert rows(encoder.segments([["fine you", "", "how"], []])) == [
        [0, 0, 0, 1, 2, 2],
        [],
    ]


def test_words_take_tokens_as_they_are():
    tokens = ["U.S.", "isn't", "-LRB-", "", "@user"]
    encoder = TokenEncoder(lowercase=False).fit([tokens])
    assert encoder.tokenize([tokens]) == [tokens]
    assert encoder.inverse_transform(encoder.transform([tokens[:3]]))[0] == (
        "U.S. isn't -LRB-"
    )
    assert TokenEncoder().fit([tokens]).tokenize([["U.S."]]) == [["u.s."]]


@pytest.mark.parametrize("model", ["bpe", "wordpiece", "character"])
def test_other_models_split_tokens_further(model):
    encoder = TokenEncoder(model).fit([["unknown", "films", "."]])
    codes = encoder.transform([["skin", "mow", "."]])
    assert len(codes[0]) > 3
    assert list(encoder.inverse_transform(codes)) == ["skin mow ."]


@pytest.mark.parametrize("model", ["bpe", "character"])
def test_token_lists_and_texts_with_blanks_give_the_same_parts(model):
    text = "a good film ."
    of_text = TokenEncoder(model).fit([text])
    of_tokens = TokenEncoder(model).fit([text.split()])
    assert of_text.tokenize([text]) == of_tokens.tokenize([text.split()])


@pytest.mark.parametrize(
    ("training", "given", "message"),
    [
        (["a b"], [["a", "b"]], "takes strings, because of the training texts"),
        ([["a", "b"]], ["a b"], "takes token lists.* element 0 of X is a string"),
        ([["a b"]], ["a b"], "takes lists of turns"),
    ],
)
def test_texts_of_another_kind_are_an_error(training, given, message):
    encoder = TokenEncoder().fit(training)
    for method in (encoder.transform, encoder.tokenize, encoder.segments):
        with pytest.raises(ValueError, match=message):
            method(given)


def test_training_texts_must_be_of_the_kind_that_is_set():
    with pytest.raises(ValueError, match="takes strings, because of kind='text'"):
        TokenEncoder(kind="text").fit([["a"]])
    with pytest.raises(ValueError, match="takes token lists, because of kind='tokens'"):
        TokenEncoder(kind="tokens").fit(["a"])


# Segments


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ("One 3.5 two", ["One 3.5 two"]),
        ("What?! No...  Yes", ["What?! ", "No...  ", "Yes"]),
        ('He said "go." Then left.', ['He said "go." ', "Then left."]),
        ("One\ntwo\n\nthree.\nfour", ["One\n", "two\n\n", "three.\n", "four"]),
        ("Wait . . . what ?", ["Wait . . . ", "what ?"]),
    ],
)
def test_sentences_end_after_marks_and_lines(text, sentences):
    assert split_sentences(text) == sentences


@pytest.mark.parametrize("model", MODELS)
def test_segments_number_the_sentences_of_each_token(model):
    text = " It works. Does it? \n\n Yes\nno "
    encoder = TokenEncoder(model).fit([text])
    segments = encoder.segments([text])[0]
    assert segments.dtype == np.int64
    codes = encoder.transform([text])[0]
    assert len(segments) == len(codes)
    sentences = [
        encoder.inverse_transform([codes[segments == number]])[0].lower()
        for number in range(segments[-1] + 1)
    ]
    assert sentences == ["it works.", "does it?", "yes", "no"]


def test_segments_of_token_lists_end_after_marks():
    tokens = ["a", ".", "b", "?", "!", "c", "U.S.", "d"]
    encoder = TokenEncoder().fit([tokens])
    assert rows(encoder.segments([tokens])) == [[0, 0, 1, 1, 1, 2, 2, 2]]
    encoder = TokenEncoder("character").fit([tokens])
    assert rows(encoder.segments([["ab", ".", "b"]])) == [[0, 0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize("model", MODELS)
def test_sentences_alone_get_the_codes_that_they_have_in_the_text(model):
    texts = [" ".join(TEXTS), "ΟΔΟΣ. δ\nÉté! 一"]
    encoder = TokenEncoder(model).fit(texts)
    for text in texts:
        whole = encoder._model.encode(encoder._form.normalise(text))
        assert encoder.transform([text])[0].tolist() == whole


# Length


def test_cutting_texts_warns_of_what_is_lost():
    encoder = TokenEncoder(max_length=3).fit(TEXTS)
    with pytest.warns(UserWarning, match="2 of 3 texts.* 3 of 11 tokens") as record:
        codes = encoder.transform(["a good", "bad film. long", "a b c d e"])
    assert record[0].filename == __file__
    assert [len(row) for row in codes] == [2, 3, 3]
    assert encoder.tokenize(["a b c d e"]) == [["a", "b", "c"]]
    assert [len(row) for row in encoder.segments(["a. b. c d e"])] == [3]


def test_texts_of_exactly_the_greatest_length_are_not_cut():
    encoder = TokenEncoder(max_length=4).fit(TEXTS)
    assert [len(row) for row in encoder.transform(["A good film."])] == [4]


def test_very_long_texts_and_words_are_not_cut():
    for model in MODELS:
        encoder = TokenEncoder(model).fit(TEXTS)
        assert len(encoder.transform(["bad " * 20_000])[0]) >= 20_000
        assert len(encoder.transform(["b" * 20_000])[0]) >= 1


# Back


@pytest.mark.parametrize("model", MODELS)
def test_training_texts_come_back(model):
    encoder = TokenEncoder(model, lowercase=False)
    back = encoder.inverse_transform(encoder.fit_transform(TEXTS))
    if model in ("word", "wordpiece"):
        # A dash loses the blanks around it.
        assert list(back) == [text.replace(" - ", "-") for text in TEXTS]
    else:
        assert list(back) == TEXTS


@pytest.mark.parametrize("vocabulary_size", [80, 30_000])
@pytest.mark.parametrize("model", ["bpe", "character"])
def test_bpe_gives_unseen_texts_back_but_for_white_space(model, vocabulary_size):
    letters = "abcXYZäß 0123.,!?'\"-()[]#@/ \t\n"
    encoder = TokenEncoder(model, vocabulary_size=vocabulary_size)
    encoder.fit([letters, *TEXTS])
    rng = random.Random(0)
    texts = ["".join(rng.choices(letters, k=40)) for _ in range(200)]
    back = encoder.inverse_transform(encoder.transform(texts))
    assert list(back) == [" ".join(text.split()) for text in texts]


def test_bpe_gives_all_but_unseen_characters_back():
    encoder = TokenEncoder("bpe").fit(TEXTS)
    codes = encoder.transform(["A good 猫 film"])
    assert list(encoder.inverse_transform(codes)) == ["A good [UNK] film"]


def test_words_are_joined_with_marks_attached():
    text = 'a [b] (c), "d e" f\'s: $5.50; 7% of tests - n/a...'
    encoder = TokenEncoder().fit([text])
    assert list(encoder.inverse_transform(encoder.transform([text]))) == [
        'a [b] (c), "d e" f\'s: $5.50; 7% of tests-n/a...'
    ]


def test_special_tokens_and_what_is_behind_the_end_are_left_out():
    encoder = TokenEncoder().fit(["a b"])
    matrix = np.array([[2, 6, 7, 3, 6], [6, 4, 5, 0, 0], [1, 6, 0, 0, 0]])
    assert list(encoder.inverse_transform(matrix)) == ["a b", "a", "[UNK] a"]
    assert list(encoder.inverse_transform([[], np.array([6], dtype=np.int32)])) == [
        "",
        "a",
    ]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[6, 99]], "Element 0 of X has codes from 6 to 99, .* from 0 to 7"),
        ([[6], [-1]], "Element 1 of X has codes from -1"),
        ([6, 7], "Element 0 of X is not a sequence of integers"),
        ([[6.0]], "Element 0 of X is not a sequence of integers"),
        ([["a"]], "Element 0 of X is not a sequence of integers"),
    ],
)
def test_codes_of_no_token_are_an_error(codes, message):
    encoder = TokenEncoder().fit(["a b"])
    with pytest.raises(ValueError, match=message):
        encoder.inverse_transform(codes)


# Errors


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "segments"])
def test_an_encoder_must_be_fitted(method):
    with pytest.raises(NotFittedError):
        getattr(TokenEncoder(), method)(["a"])
    with pytest.raises(NotFittedError):
        TokenEncoder().tokenize(["a"])


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a b", TypeError, r"single string. Pass \[text\]"),
        (b"a b", TypeError, "single bytes object"),
        (["a", 3], TypeError, "Element 1 of X is of type int"),
        (["a", None], TypeError, "Element 1 of X is None.* Fill in ''"),
        ([float("nan"), "a"], TypeError, "Element 0 of X is nan.* Fill in ''"),
        (pd.Series(["a", None]), TypeError, "Element 1 of X is nan"),
        (pd.Series(["a", pd.NA], dtype=object), TypeError, "Element 1 of X is <NA>"),
        (["a", b"b"], TypeError, "Element 1 of X is a bytes object.* Decode"),
        ([["a"], ["b", 3]], TypeError, "Item 1 of element 1 of X is of type int"),
        ([["a"], ["b", None]], TypeError, "Item 1 of element 1 of X is None"),
        ([["a"], [["b"]]], TypeError, "Item 0 of element 1 of X is of type list"),
        ([["a"], ["b", b"c"]], TypeError, "Item 1 of element 1 of X is a bytes"),
        ([("a", "b")], TypeError, "Element 0 of X is a tuple.* pair of texts"),
        ([{"a": 1}], TypeError, "Element 0 of X is of type dict"),
        (["a", ["b"]], ValueError, "element 0 is a string, but element 1 is a list"),
        ([["b"], "a"], ValueError, "element 0 is a list, but element 1 is a string"),
        ({"a": 1}, TypeError, r"X is of type dict. Pass list\(X\)"),
        ((text for text in "ab"), TypeError, r"type generator. Pass list\(X\)"),
        (5, TypeError, "X is of type int"),
        (np.array(["a"] * 4).reshape(2, 2), ValueError, r"X has shape \(2, 2\)"),
        (pd.DataFrame({"text": ["a"]}), ValueError, r"one column, as in X\['text'\]"),
        (np.array("a"), ValueError, r"X has shape \(\)"),
        (["a", "b\ud800"], ValueError, "Element 1 of X .* surrogate .* position 1"),
        ([], ValueError, "X is empty"),
        (["", " "], ValueError, "found no token in the training texts"),
        ([[], []], ValueError, "found no token in the training texts"),
    ],
)
def test_what_is_no_list_of_texts_is_an_error(X, error, message):
    with pytest.raises(error, match=message):
        TokenEncoder().fit(X)


@pytest.mark.parametrize(
    "params",
    [
        {"model": "unigram"},
        {"vocabulary_size": 6},
        {"vocabulary_size": 100.0},
        {"min_frequency": 0},
        {"lowercase": "yes"},
        {"strip_accents": "ascii"},
        {"max_length": 0},
        {"kind": "pairs"},
    ],
)
def test_parameters_are_validated(params):
    (name,) = params
    with pytest.raises(ValueError, match=f"'{name}' parameter of TokenEncoder"):
        TokenEncoder(**params).fit(TEXTS)


def test_a_fit_that_fails_leaves_the_encoder_as_it_was():
    encoder = TokenEncoder().fit(TEXTS)
    before = rows(encoder.transform(TEXTS))
    with pytest.raises(ValueError, match="no token"):
        encoder.fit([""])
    assert rows(encoder.transform(TEXTS)) == before


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'skattn\[text\]'"):
        TokenEncoder("bpe").fit(TEXTS)


def test_the_library_is_imported_when_it_is_needed():
    code = """
import sys
from skattn.text import TokenEncoder
TokenEncoder("character")
assert "tokenizers" not in sys.modules
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# scikit-learn


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies_encode_alike(model, duplicate):
    encoder = TokenEncoder(model, vocabulary_size=100).fit(TEXTS)
    again = duplicate(encoder)
    texts = ["a new bad film!", "§"]
    assert rows(again.transform(texts)) == rows(encoder.transform(texts))
    assert again.vocabulary_ == encoder.vocabulary_
    codes = encoder.transform(texts)
    assert list(again.inverse_transform(codes)) == list(
        encoder.inverse_transform(codes)
    )


def test_a_clone_is_not_fitted():
    encoder = TokenEncoder("bpe", vocabulary_size=99, max_length=7).fit(TEXTS)
    copied = clone(encoder)
    assert copied.get_params() == encoder.get_params()
    with pytest.raises(NotFittedError):
        copied.transform(TEXTS)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
        estimator_checks.check_valid_tag_types,
    ],
)
def test_checks_of_scikit_learn_that_need_no_table(check):
    check("TokenEncoder", TokenEncoder())


def test_tags_tell_that_texts_are_taken():
    tags = TokenEncoder().__sklearn_tags__()
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.requires_fit


def count(codes):
    return np.array([np.bincount(row, minlength=60)[:60] for row in codes])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_vocabulary_size_is_searched_in_a_pipeline(n_jobs):
    texts = ["good film", "fine film", "bad film", "poor film"] * 3
    pipeline = make_pipeline(
        TokenEncoder(), FunctionTransformer(count), LogisticRegression()
    )
    grid = {
        "tokenencoder__vocabulary_size": [7, 60],
        "tokenencoder__model": ["word", "character"],
    }
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
    search.fit(texts, [1, 1, 0, 0] * 3)
    assert search.best_params_ == {
        "tokenencoder__vocabulary_size": 60,
        "tokenencoder__model": "word",
    }
    assert list(search.predict(["bad film", "fine film"])) == [0, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_encoders_work_in_forked_processes_without_a_word():
    code = """
import os
from skattn.text import TokenEncoder
texts = [f"some words {i}" for i in range(300)]
encoder = TokenEncoder("bpe").fit(texts)
expected = [row.tolist() for row in encoder.transform(texts)]
assert "TOKENIZERS_PARALLELISM" not in os.environ
if os.path.isdir("/proc/self/task"):
    assert len(os.listdir("/proc/self/task")) == 1
child = os.fork()
if child == 0:
    found = [row.tolist() for row in encoder.transform(texts)]
    again = TokenEncoder("bpe").fit(texts)
    os._exit(found != expected or list(again.tokens_) != list(encoder.tokens_))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("TOKENIZERS_PARALLELISM", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_users_choice_of_threads_is_left_as_it_was(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    TokenEncoder("bpe").fit(TEXTS)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_normalising_twice_changes_nothing():
    form = Form(lowercase=True, strip_accents=True)
    once = form.normalise("Ångström İstanbul ΟΔΟΣ e\N{COMBINING ACUTE ACCENT}")
    assert once == "angstrom istanbul οδος e"
    assert form.normalise(once) == once


def test_a_single_token_with_white_space_is_warned_about():
    texts = [["a", "film"]] * 10 + [["New York", "film"]]
    with pytest.warns(UserWarning, match="Of 22 strings in lists, 1 hold white space"):
        encoder = TokenEncoder().fit(texts)
    assert encoder.kind_ == "turns"
    assert TokenEncoder(kind="tokens").fit(texts).kind_ == "tokens"
