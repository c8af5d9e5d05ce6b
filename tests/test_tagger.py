"""The tagger: composition with scikit-learn, schemes, bad input, attention."""

import pickle

import numpy as np
import pandas as pd
import pytest
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.validation import check_is_fitted

from skattn import AttentionTagger, record_attention
from skattn._tags import find_entities
from skattn.architectures import TENER, SelfAttention
from skattn.text import TokenEncoder

NAMES = ["Ann", "Bob", "Cid", "Dan", "Eve"]
CITIES = ["Rome", "Oslo", "New York", "Lima"]


def make_sentences():
    """Names, and cities of one or two tokens, which other words tell apart."""
    X, y = [], []
    for number, name in enumerate(NAMES * 4):
        city = CITIES[number % len(CITIES)].split()
        X.append([name, "went", "to", *city, "."])
        y.append(["B-PER", "O", "O", "B-LOC", *["I-LOC"] * (len(city) - 1), "O"])
    return X, y


X, Y = make_sentences()


def make_tagger(**params):
    small = {
        "architecture": SelfAttention(d_model=16, num_layers=1),
        "max_epochs": 15,
        "batch_size": 8,
    }
    return AttentionTagger(**{**small, "lr": 0.01, "random_state": 0, **params})


@pytest.fixture(scope="module")
def tagger():
    return make_tagger().fit(X, Y)


@pytest.mark.parametrize("crf", [True, False])
@pytest.mark.parametrize("architecture", ["self_attention", "tener"])
def test_tagger_learns(architecture, crf):
    tagger = make_tagger(architecture=architecture, crf=crf).fit(X, Y)
    assert tagger.score(X, Y) == 1.0
    assert tagger.predict(X) == Y
    assert tagger.tag_scheme_ == "IOB2"
    assert tagger.classes_.tolist() == ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]


def test_predictions_are_lists_of_str(tagger):
    predicted = tagger.predict(X[:2])
    assert isinstance(predicted, list)
    assert {type(tags) for tags in predicted} == {list}
    assert {type(tag) for tags in predicted for tag in tags} == {str}


def test_probabilities_have_a_row_for_each_token(tagger):
    probabilities = tagger.predict_proba(X)
    assert [each.shape for each in probabilities] == [(len(x), 5) for x in X]
    for each, tags in zip(probabilities, Y, strict=True):
        np.testing.assert_allclose(each.sum(axis=1), 1.0)
        assert tagger.classes_[each.argmax(axis=1)].tolist() == tags


def test_score_of_entities_is_that_of_seqeval():
    tagger = make_tagger(max_epochs=3).fit(X, Y)
    expected = f1_score(
        Y, tagger.predict(X), mode="strict", scheme=IOB2, zero_division=0
    )
    assert tagger.score(X, Y) == pytest.approx(expected)


def test_score_without_a_scheme_is_the_accuracy_of_tokens():
    labels = [["NAME" if "PER" in tag else "REST" for tag in tags] for tags in Y]
    tagger = make_tagger().fit(X, labels)
    assert tagger.tag_scheme_ is None
    wrong = [[("REST", "NAME")[tag == "REST"] for tag in labels[0]], *labels[1:]]
    n_tokens = sum(map(len, X))
    assert tagger.score(X, labels) == 1.0
    assert tagger.score(X, wrong) == pytest.approx(1 - len(X[0]) / n_tokens)


def test_integers_are_tags():
    numbers = [[int(tag == "O") for tag in tags] for tags in Y]
    tagger = make_tagger().fit(X, numbers)
    assert tagger.classes_.tolist() == [0, 1]
    assert tagger.predict(X) == numbers
    assert type(tagger.predict(X)[0][0]) is int


@pytest.mark.parametrize("scheme", ["IOB1", "IOBES", "BILOU"])
def test_tags_come_back_in_the_scheme_of_the_user(scheme):
    from skattn._tags import write_entities

    y = [write_entities(find_entities(tags), len(tags), scheme) for tags in Y]
    tagger = make_tagger().fit(X, y)
    assert tagger.tag_scheme_ == scheme
    assert tagger.predict(X) == y
    assert tagger.score(X, y) == 1.0


@pytest.mark.parametrize("crf", [True, False])
def test_sequences_that_break_the_scheme_are_never_predicted(crf):
    rng = np.random.default_rng(0)
    # Tags without any relation to the words, hardly trained.
    sentences = [[str(word) for word in rng.integers(0, 9, 12)] for _ in range(40)]
    tags = [[*"ABC"] * 4 for _ in sentences]
    letters = {"A": "B-X", "B": "I-X", "C": "B-Y"}
    y = [list(rng.permutation([letters[tag] for tag in row])) for row in tags]
    tagger = make_tagger(crf=crf, tag_scheme="IOB2", max_epochs=2)
    with pytest.warns(UserWarning, match="do not keep to tag_scheme='IOB2'"):
        tagger.fit(sentences, y)
    for tags in tagger.predict(sentences):
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert tag[0] != "I" or before[1:] == tag[1:]
    is_inside = np.char.startswith(tagger.classes_, "I-")
    for each in tagger.predict_proba(sentences):
        assert (each[0, is_inside] == 0).all()


def test_empty_and_one_token_sentences(tagger):
    assert tagger.predict([[], ["Ann"], []]) == [[], ["B-PER"], []]
    assert tagger.predict([[]]) == [[]]
    assert tagger.predict_proba([[]])[0].shape == (0, 5)
    assert tagger.score([[], ["Ann"]], [[], ["B-PER"]]) == 1.0


def test_empty_sentences_are_left_out_of_training(tagger):
    more = make_tagger().fit([[], *X, []], [[], *Y, []])
    for ours, theirs in zip(
        more.predict_proba(X), tagger.predict_proba(X), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_unknown_words_and_long_sentences_have_tags(tagger):
    long = ["Ann", "went", "to", "Quito", "."] * 100
    assert len(tagger.predict([long])[0]) == 500


def test_a_limit_of_tokens_loses_no_tag():
    encoder = TokenEncoder("word", max_length=2)
    tagger = make_tagger(token_encoder=encoder).fit(X, Y)
    assert tagger.predict(X) == Y


def test_tokens_that_occur_once_are_known_if_all_do():
    tagger = make_tagger(max_epochs=1).fit([["Ann", "went"]], [["B-PER", "O"]])
    assert tagger.token_encoder_.vocabulary_size_ == 8
    assert make_tagger(max_epochs=1).fit(X, Y).token_encoder_.min_frequency == 2


def test_tokens_with_white_space_are_tokens():
    spaced = [["Ann Lee", "went", "to", "", "\t", "."]] * 4
    tags = [["B-PER", "O", "O", "O", "O", "O"]] * 4
    assert make_tagger().fit(spaced, tags).predict(spaced) == tags


def test_arrays_series_and_tuples_are_sentences(tagger):
    expected = tagger.predict(X[:3])
    array = np.empty(3, dtype=object)
    array[:] = [np.array(sentence) for sentence in X[:3]]
    assert tagger.predict(array) == expected
    assert tagger.predict(pd.Series(X[:3], index=[5, 6, 7])) == expected
    assert tagger.predict([tuple(sentence) for sentence in X[:3]]) == expected


def test_tags_do_not_depend_on_the_companions_of_a_sentence(tagger):
    together = tagger.predict_proba(X)
    for number in (0, 7):
        (alone,) = tagger.predict_proba([X[number]])
        np.testing.assert_array_equal(alone, together[number])


def test_seed_decides_everything(tagger):
    again = make_tagger().fit(X, Y)
    for ours, theirs in zip(
        tagger.predict_proba(X), again.predict_proba(X), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_equal_repetition():
    weight = np.arange(len(X)) % 3
    weighted = make_tagger().fit(X, Y, weight)
    rows = np.repeat(np.arange(len(X)), weight)
    repeated = make_tagger().fit([X[row] for row in rows], [Y[row] for row in rows])
    for ours, theirs in zip(
        weighted.predict_proba(X), repeated.predict_proba(X), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_clone_keeps_parameters_and_pickle_keeps_predictions(tagger):
    assert clone(tagger).get_params()["lr"] == 0.01
    with pytest.raises(NotFittedError):
        check_is_fitted(clone(tagger))
    restored = pickle.loads(pickle.dumps(tagger))
    for ours, theirs in zip(
        restored.predict_proba(X), tagger.predict_proba(X), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert restored.score(X, Y) == tagger.score(X, Y)


def test_edges_are_learned_and_restored(tagger):
    edges = tagger.net_.module_.edges
    assert (edges != 0).any()
    restored = pickle.loads(pickle.dumps(tagger)).net_.module_.edges
    assert restored.equal(edges)


def test_grid_search_over_an_architecture_in_two_processes():
    search = GridSearchCV(
        make_tagger(max_epochs=4),
        {"architecture__d_model": [8, 16], "crf": [True]},
        cv=2,
        n_jobs=2,
    )
    search.fit(X, Y)
    assert search.best_params_["architecture__d_model"] in (8, 16)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.predict(X[:1])[0]) == len(X[0])


def test_cross_validation_takes_lists():
    scores = cross_val_score(make_tagger(), X, Y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    assert scores.min() > 0.8


def test_early_stopping_holds_out_what_it_is_given():
    tagger = make_tagger(early_stopping=True, patience=2, max_epochs=40)
    tagger.fit(X, Y, X_val=X[:4], y_val=Y[:4])
    assert "valid_loss" in tagger.history_[-1]
    part = make_tagger(early_stopping=True, validation_fraction=0.3).fit(X, Y)
    assert "valid_loss" in part.history_[-1]


def test_early_stopping_restores_the_epoch_of_the_best_score():
    wrong = [["O"] * len(x) for x in X[:8]] + Y[8:]
    tagger = make_tagger(early_stopping=True, patience=40, max_epochs=40)
    tagger.fit(X, wrong, X_val=X[:8], y_val=Y[:8])
    qualities = tagger.history_[:, "valid_quality"]
    best = int(np.argmax(qualities))
    loss = tagger.history_[best, "valid_loss"]
    expected = tagger.score(X[:8], Y[:8]) - 1e-6 * loss
    assert qualities[best] == pytest.approx(expected)
    assert tagger.outside_shift_ == tagger.history_[best, "valid_shift"]
    assert qualities[best] > qualities[-1]


def test_shift_is_what_held_out_entities_want():
    # Too few epochs to be sure of an entity.
    tagger = make_tagger(early_stopping=True, max_epochs=3, lr=0.003)
    tagger.fit(X, Y, X_val=X[:12], y_val=Y[:12])
    best = int(np.argmax(tagger.history_[:, "valid_quality"]))
    assert tagger.outside_shift_ == tagger.history_[best, "valid_shift"] > 0
    restored = pickle.loads(pickle.dumps(tagger))
    assert restored.predict(X) == tagger.predict(X)
    scores = {}
    for shift in (0.0, tagger.outside_shift_):
        tagger.outside_shift_ = shift
        scores[shift] = tagger.score(X[:12], Y[:12])
    assert scores.pop(0.0) < max(scores.values())


def test_shift_of_the_user_changes_predictions_and_no_probabilities(tagger):
    assert tagger.outside_shift_ == 0.0  # nothing was held out
    eager, shy = (
        make_tagger(outside_shift=shift, max_epochs=2).fit(X, Y) for shift in (9, -9)
    )
    assert not any("O" in tags for tags in eager.predict(X))
    assert all({*tags} == {"O"} for tags in shy.predict(X))
    for ours, theirs in zip(eager.predict_proba(X), shy.predict_proba(X), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_early_stopping_begins_with_many_sentences():
    tagger = make_tagger(max_epochs=1).fit(X * 50, Y * 50)
    assert "valid_loss" in tagger.history_[-1]


def test_partial_fit_goes_on_with_announced_tags():
    tagger = make_tagger()
    tagger.partial_fit(X, [["O"] * len(x) for x in X], ["O", "B-PER", "B-LOC"])
    assert tagger.classes_.tolist() == ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
    for _ in range(40):
        tagger.partial_fit(X, Y)
    assert tagger.score(X, Y) == 1.0
    with pytest.raises(ValueError, match=r"\['B-ORG'\], which are not among"):
        tagger.partial_fit([["Acme"]], [["B-ORG"]])


def test_warm_start_goes_on_and_refuses_another_chain():
    tagger = make_tagger(max_epochs=2, warm_start=True).fit(X, Y)
    tagger.fit(X, Y)
    assert tagger.n_iter_ == 4
    with pytest.raises(ValueError, match="made with crf=True, but crf is now False"):
        tagger.set_params(crf=False).fit(X, Y)


def test_parameters_of_the_token_encoder_are_searched():
    tagger = make_tagger(token_encoder=TokenEncoder("word"))
    tagger.set_params(token_encoder__min_frequency=15)
    tagger.fit(X, Y)
    assert tagger.token_encoder_.tokens_[6:].tolist() == [".", "to", "went"]
    assert not hasattr(tagger.token_encoder, "vocabulary_")


def test_records_name_the_tokens(tagger):
    (record,) = record_attention(tagger, X[:3])
    assert record.kind == "self"
    assert record.queries == X[:3]
    assert record.keys == X[:3]
    for weights, sentence in zip(record.weights, X[:3], strict=True):
        used = weights[:, : len(sentence), : len(sentence)]
        np.testing.assert_allclose(used.sum(axis=-1), 1.0, atol=1e-5)


def test_bfloat16_and_float64_are_taken():
    for precision in ("bfloat16", "float64"):
        tagger = make_tagger(precision=precision).fit(X, Y)
        assert tagger.score(X, Y) == 1.0
        assert tagger.net_.module_.edges.dtype.itemsize == (
            8 if precision == "float64" else 4
        )


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        ("Ann went", [["O"]], TypeError, "X must be a list"),
        (["Ann went"], [["O", "O"]], TypeError, "Element 0 of X is the string 'Ann"),
        ([["Ann"], 3], [["O"], ["O"]], TypeError, "Element 1 of X is 3"),
        ([["Ann", None]], [["O", "O"]], TypeError, "Token 1 of element 0 of X is None"),
        ([["Ann", 3]], [["O", "O"]], TypeError, "Token 1 of element 0 of X is 3"),
        ([], [], ValueError, "X holds no sentence"),
        ([[]], [[]], ValueError, "No sentence of X has a token"),
        ([["Ann", "went"]], [["O"]], ValueError, "has 2 tokens and 1 tags"),
        ([["Ann"]], [["O"], ["O"]], ValueError, "inconsistent numbers of samples"),
        ([["Ann"]], None, ValueError, "requires y to be passed"),
        ([["Ann"]], [["O"]], ValueError, "one tag, 'O'"),
        ([["Ann"]], ["O"], TypeError, "Element 0 of y is 'O'"),
    ],
)
def test_bad_input_is_refused(X, y, error, message):
    with pytest.raises(error, match=message):
        make_tagger().fit(X, y)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"tag_scheme": "IOB"}, ValueError, "'tag_scheme' parameter"),
        ({"outside_shift": "high"}, ValueError, "'outside_shift' parameter"),
        (
            {"outside_shift": 1.0, "tag_scheme": None},
            ValueError,
            "the tags of y are mere labels",
        ),
        ({"crf": "yes"}, ValueError, "'crf' parameter"),
        ({"token_encoder": "word"}, TypeError, "token_encoder='word' must be"),
        ({"token_encoder": TokenEncoder("bpe")}, ValueError, "does not give one code"),
        (
            {"token_encoder": TokenEncoder(kind="text")},
            ValueError,
            "does not give one code",
        ),
        ({"architecture": "gat"}, ValueError, "does not support tagging"),
    ],
)
def test_bad_parameters_are_refused(params, error, message):
    with pytest.raises(error, match=message):
        make_tagger(**params).fit(X, Y)


def test_held_out_sentences_come_with_their_tags():
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        make_tagger().fit(X, Y, X_val=X)


def test_tags_to_score_need_the_length_of_their_sentence(tagger):
    with pytest.raises(ValueError, match="Sentence 0 has 6 tokens and 1 tags"):
        tagger.score(X[2:3], [["O"]])


def test_scoring_without_tokens_is_refused():
    tagger = make_tagger().fit(X, [["A"] + ["B"] * (len(x) - 1) for x in X])
    with pytest.raises(ValueError, match="no token that could be scored"):
        tagger.score([[]], [[]])


def test_tagger_sees_characters_of_unknown_words():
    names = [f"{letter}{ending}" for letter in "ABCDEF" for ending in ("obby", "ella")]
    sentences = [[name, "came"] for name in names]
    tags = [["B-M" if "y" in name else "B-F", "O"] for name in names]
    encoder = TokenEncoder("word", min_frequency=2)
    tagger = make_tagger(
        architecture=TENER(word_dropout=0.0), token_encoder=encoder, max_epochs=30
    )
    tagger.fit(sentences, tags)
    assert tagger.token_encoder_.vocabulary_size_ == 7
    assert tagger.predict([["Hobby", "came"], ["Hella", "came"]]) == [
        ["B-M", "O"],
        ["B-F", "O"],
    ]


def test_sentences_that_are_all_empty_have_no_tags():
    tagger = make_tagger(architecture="tener", max_epochs=1).fit(X, Y)
    assert tagger.predict([[], []]) == [[], []]
