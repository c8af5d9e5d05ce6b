"""Classifier and regressor on texts and on pairs of texts."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skattn import (
    AttentionClassifier,
    AttentionRegressor,
    _supervised,
    record_attention,
)
from skattn.architectures import (
    BidirectionalAttention,
    InteractiveAttention,
    SelfAttention,
)
from skattn.text import TokenEncoder

SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1, dropout=0.0)
PAIRS = InteractiveAttention(d_model=4)
DEFAULTS = {"max_epochs": 2, "random_state": 0, "num_threads": 1}

NAMES = ["film", "story", "cast", "plot", "music", "end"]
GOOD = ["good", "fine", "great"]
BAD = ["bad", "dull", "poor"]


def reviews(n, seed=0):
    """Texts of unequal lengths with one word that decides."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for number in range(n):
        words = rng.choice(NAMES, size=rng.integers(1, 7)).tolist()
        is_good = number % 2 == 0
        words.insert(rng.integers(len(words) + 1), rng.choice(GOOD if is_good else BAD))
        texts.append(" ".join(words))
        labels.append("good" if is_good else "bad")
    return texts, np.array(labels)


TEXTS, LABELS = reviews(24)
NUMBERS = np.array([float(len(text)) for text in TEXTS])
MATCHES = [(one, two) for one, two in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)]


def make(architecture=SMALL, **params):
    return AttentionClassifier(architecture, **{**DEFAULTS, **params})


def make_regressor(architecture=SMALL, **params):
    return AttentionRegressor(architecture, **{**DEFAULTS, **params})


def as_turns(texts):
    return [[f"well , {text}", "I see"] for text in texts]


def as_objects(values):
    found = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        found[number] = value
    return found


IDS = TokenEncoder().fit_transform(TEXTS)
FORMS = {
    "strings": TEXTS,
    "tokens": [text.split() for text in TEXTS],
    "turns": as_turns(TEXTS),
    "ids": IDS,
}
each_form = pytest.mark.parametrize("X", FORMS.values(), ids=FORMS)


# Learning


@pytest.mark.parametrize("linear_skip", [False, True])
def test_words_that_decide_are_learnt(linear_skip):
    texts, labels = reviews(60, seed=1)
    clf = make(max_epochs=30, lr=1e-2, linear_skip=linear_skip, early_stopping=False)
    clf.fit(texts, labels)
    assert clf.score(*reviews(40, seed=2)) > 0.9
    assert clf.classes_.tolist() == ["bad", "good"]
    assert not hasattr(clf, "n_features_in_")


def test_order_is_learnt_where_words_alone_do_not_tell():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation(["a", "b", "c"])) for _ in range(64)]
    labels = [text.index("a") < text.index("b") for text in texts]
    clf = make(max_epochs=40, lr=1e-2, linear_skip=False, early_stopping=False)
    assert clf.fit(texts, labels).score(texts, labels) > 0.95


@each_form
def test_every_form_of_text_is_classified_and_predicted_alone(X):
    clf = make().fit(X, LABELS)
    probabilities = clf.predict_proba(X)
    assert probabilities.shape == (len(X), 2)
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    # A text's scores are the same to the bit, whatever stands beside it.
    scores = clf.decision_function(X)
    for chosen in ([0], [5, 2], range(len(X) - 1, -1, -1)):
        some = (
            X[list(chosen)] if isinstance(X, np.ndarray) else [X[at] for at in chosen]
        )
        assert_array_equal(clf.decision_function(some), scores[list(chosen)])


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "poisson"])
def test_numbers_are_predicted(loss):
    reg = make_regressor(loss=loss, max_epochs=1).fit(TEXTS, NUMBERS)
    assert reg.predict(TEXTS).shape == (len(TEXTS),)
    linear = reg._encoder.linear_.scores([as_objects(TEXTS)])[:, 0]
    assert np.corrcoef(linear, NUMBERS)[0, 1] > 0.5


def test_several_targets_and_many_labels():
    Y = np.column_stack([LABELS, np.array(["x", "y", "z"] * 8)])
    clf = make().fit(TEXTS, Y)
    assert [part.shape for part in clf.predict_proba(TEXTS)] == [(24, 2), (24, 3)]
    assert clf.predict(TEXTS).shape == (24, 2)
    many = (np.arange(24)[:, None] % [2, 3, 5] == 0).astype(int)
    assert make().fit(TEXTS, many).predict_proba(TEXTS).shape == (24, 3)
    two = make_regressor().fit(TEXTS, np.column_stack([NUMBERS, -NUMBERS]))
    assert two.predict(TEXTS).shape == (24, 2)


# The linear model


def weights_of(clf):
    return clf.net_.module_.weights.tolist()


def test_held_out_texts_tell_how_to_weigh_the_linear_model():
    texts, labels = reviews(60, seed=1)
    clf = make(max_epochs=3).fit(texts, labels)
    of_linear, of_ours = weights_of(clf)
    assert of_linear > 0.5
    assert of_ours >= 0
    losses = clf.history_[:, "weighed_loss"]
    assert len(losses) == 3
    # The scores are the sum that was weighed.
    linear = clf._encoder.linear_.scores([as_objects(texts)])
    net = clf.net_.module_
    net.weights.copy_(net.weights.new_tensor([0.0, 1.0]))
    alone = clf.decision_function(texts)
    net.weights.copy_(net.weights.new_tensor([of_linear, of_ours]))
    expected = of_linear * (linear[:, 1] - linear[:, 0]) + of_ours * alone
    assert_allclose(clf.decision_function(texts), expected, rtol=1e-4, atol=1e-5)


def test_without_held_out_texts_both_models_count_alike():
    clf = make(early_stopping=False).fit(TEXTS, LABELS)
    assert weights_of(clf) == [0.5, 0.5]
    assert "weighed_loss" not in clf.history_[-1]
    clf = make(linear_skip=True).partial_fit(TEXTS, LABELS)
    assert weights_of(clf) == [0.5, 0.5]


def test_further_training_weighs_again_or_keeps_the_weights():
    clf = make(warm_start=True, max_epochs=1).fit(TEXTS, LABELS)
    before = weights_of(clf)
    clf.partial_fit(TEXTS, LABELS)
    assert weights_of(clf) == before != [0.5, 0.5]
    clf.set_params(max_epochs=4, lr=1e-2).fit(TEXTS, LABELS)
    assert weights_of(clf) == before  # nothing is held out of few texts
    clf.set_params(early_stopping=True).fit(TEXTS, LABELS)
    assert sum("weighed_loss" in epoch for epoch in clf.history_) == 5


def test_much_text_has_no_linear_model(monkeypatch):
    assert make(max_epochs=1).fit(TEXTS, LABELS)._encoder.linear_ is not None
    monkeypatch.setattr(_supervised, "LITTLE_TEXT", sum(map(len, TEXTS)))
    clf = make(max_epochs=1).fit(TEXTS, LABELS)
    assert clf._encoder.linear_ is None
    assert make(max_epochs=1, linear_skip=True).fit(TEXTS, LABELS)._encoder.linear_


def test_texts_held_out_or_unseen_do_not_reach_scores_of_training_texts():
    clf = make().fit(TEXTS, LABELS)
    linear, content = clf._encoder.linear_, clf._encoder.read(as_objects(TEXTS))
    unseen = clf._encoder.samples(content, clf.net_, np.zeros((24, 1), dtype=int))
    seen = clf._encoder.samples(content, clf.net_)
    right = LABELS == "good"

    def accuracy(samples):
        offset = samples.rows["offset"].numpy()
        return (offset.argmax(axis=1) == right).mean()

    assert accuracy(seen) == 1
    assert accuracy(unseen) < 1
    assert_allclose(
        seen.rows["offset"], linear.scores([as_objects(TEXTS)]), rtol=1e-5, atol=1e-6
    )


# Pairs


def test_pairs_in_every_container_give_equal_predictions():
    y = np.median(NUMBERS) < NUMBERS
    frame = pd.DataFrame(MATCHES, columns=["question", "answer"])
    expected = make(PAIRS).fit(MATCHES, y).predict_proba(MATCHES)
    for X in (as_objects(MATCHES), np.array(MATCHES), frame):
        clf = make(PAIRS).fit(X, y)
        assert_array_equal(clf.predict_proba(X), expected)
        assert_array_equal(clf.predict_proba(MATCHES[:1]), expected[:1])
    tokens = [(one.split(), two.split()) for one, two in MATCHES]
    assert make(PAIRS).fit(tokens, y).predict(tokens).shape == (24,)


def test_the_two_texts_of_a_pair_are_not_one():
    clf = make(PAIRS).fit(MATCHES, LABELS)
    swapped = [(two, one) for one, two in MATCHES]
    assert (clf.predict_proba(swapped) != clf.predict_proba(MATCHES)).any()
    linear = clf._encoder.linear_
    first, second = (as_objects(side) for side in zip(*MATCHES, strict=True))
    assert (linear.scores([first, second]) != linear.scores([second, first])).any()


def test_texts_need_an_architecture_for_texts():
    with pytest.raises(ValueError, match="does not support classification of tokens"):
        make("gat").fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="does not support classification of pair"):
        make("gat").fit(MATCHES, LABELS)
    with pytest.raises(ValueError, match="does not support classification of tokens"):
        make(PAIRS).fit(TEXTS, LABELS)


# Bad texts


def test_texts_like_none_in_training_get_predictions():
    clf = make().fit([*TEXTS, ""], [*LABELS, "bad"])
    odd = ["", "   ", "xyzzy", "good", "good film " * 300, "xyzzy plugh"]
    scores = clf.decision_function(odd)
    assert np.isfinite(scores).all()
    for number, text in enumerate(odd):
        assert_array_equal(clf.decision_function([text]), scores[[number]])
    assert scores[0] == scores[1]


def test_one_text_or_one_word_is_enough():
    clf = make().fit(["good", "bad"], ["yes", "no"])
    assert clf.predict(["good", ""]).shape == (2,)
    reg = make_regressor().fit(["good film"], [3.0])
    assert np.isfinite(reg.predict(["bad", ""])).all()


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a text", TypeError, r"Pass \[text\]"),
        ([None, *TEXTS[1:]], TypeError, "Element 0 of X is None"),
        ([*TEXTS[1:], 3], TypeError, "Element 23 of X is of type int"),
        ([*TEXTS[1:], ["a"]], ValueError, "mixes strings and lists"),
        ([""] * 24, ValueError, "token"),
    ],
)
def test_what_is_no_list_of_texts_is_refused_in_fit(X, error, message):
    with pytest.raises(error, match=message):
        make().fit(X, LABELS)


def test_what_is_no_list_of_texts_is_refused_in_predict():
    clf = make().fit(TEXTS, LABELS)
    for X, error, message in (
        ([], ValueError, "0 texts"),
        (TEXTS[0], TypeError, r"Pass \[text\]"),
        (np.zeros((3, 2)), TypeError, r"ndarray of shape \(3, 2\)"),
        (pd.DataFrame({"a": TEXTS}), TypeError, r"as frame\['text'\]"),
        (FORMS["tokens"], ValueError, "was fitted with strings"),
        (IDS, ValueError, "was fitted with strings"),
        ([("a", "b")], TypeError, "Element 0 of X is"),
    ):
        with pytest.raises(error, match=message):
            clf.predict(X)
    with pytest.raises(NotFittedError):
        make().predict(TEXTS)
    with pytest.raises(ValueError, match="fitted with table input, but X is tokens"):
        make().fit(np.eye(4), [0, 1, 0, 1]).predict(TEXTS)


def test_numbers_of_texts_and_labels_agree():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(TEXTS, LABELS[1:])


# The token encoder


def test_the_token_encoder_is_cloned_and_can_be_set_where_it_is_none():
    given = TokenEncoder("bpe", vocabulary_size=60)
    clf = make(token_encoder=given).fit(TEXTS, LABELS)
    assert clf.token_encoder is given
    assert not hasattr(given, "vocabulary_")
    assert clf.token_encoder_.vocabulary_size_ <= 60
    assert clf.get_params()["token_encoder__vocabulary_size"] == 60
    other = make().set_params(token_encoder__vocabulary_size=9)
    assert other.token_encoder.vocabulary_size == 9
    assert other.fit(TEXTS, LABELS).token_encoder_.vocabulary_size_ == 9
    assert given.vocabulary_size == 60
    clf.set_params(token_encoder__vocabulary_size=50)
    assert given.vocabulary_size == 60
    assert clf.token_encoder.vocabulary_size == 50
    same = clf.token_encoder
    assert clf.set_params(**clf.get_params()).token_encoder is same
    with pytest.raises(ValueError, match="Invalid parameter 'size'"):
        make().set_params(token_encoder__size=3)


def test_what_is_no_token_encoder_is_refused():
    with pytest.raises(
        TypeError, match=r"must be a skattn\.text\.TokenEncoder or None"
    ):
        make(token_encoder="bpe").fit(TEXTS, LABELS)
    with pytest.raises(
        TypeError, match=r"must be a skattn\.text\.TokenEncoder or None"
    ):
        make(token_encoder="bpe").set_params(token_encoder__vocabulary_size=3)


def test_truncation_is_said():
    clf = make(token_encoder=TokenEncoder(max_length=3))
    with pytest.warns(UserWarning, match="longer than max_length=3"):
        clf.fit(TEXTS, LABELS)
    with pytest.warns(UserWarning, match="1 of 1 texts are longer"):
        clf.predict(["a b c d"])


def test_a_token_encoder_outside_in_a_pipeline():
    pipe = make_pipeline(TokenEncoder(), make())
    pipe.fit(TEXTS, LABELS)
    assert pipe.score(TEXTS, LABELS) >= 0.5
    assert pipe[-1].token_encoder_ is None
    assert pipe.predict(["a word that is unknown"]).shape == (1,)
    search = GridSearchCV(pipe, {"tokenencoder__vocabulary_size": [10, 20]}, cv=2)
    assert search.fit(TEXTS, LABELS).best_score_ >= 0


def test_ids_that_are_new_are_unknown_tokens():
    clf = make().fit(IDS, LABELS)
    new, unknown = as_objects([np.array([6, 999])]), as_objects([np.array([6, 1])])
    beside = clf.set_params(linear_skip=False).fit(IDS, LABELS)
    assert_array_equal(beside.predict_proba(new), beside.predict_proba(unknown))


# Weights, further training


def test_integer_weights_are_repetitions():
    weight = np.array([1, 2, 3] * 8)
    order = np.random.default_rng(0).permutation(weight.sum())
    rows = np.repeat(np.arange(24), weight)[order]
    X = [TEXTS[row] for row in rows]
    for linear_skip in (False, True):
        one = make(linear_skip=linear_skip).fit(TEXTS, LABELS, sample_weight=weight)
        two = make(linear_skip=linear_skip).fit(X, LABELS[rows])
        assert_array_equal(one.predict_proba(TEXTS), two.predict_proba(TEXTS))


def test_texts_of_weight_zero_do_not_count():
    weight = np.repeat([1.0, 0.0], [20, 4])
    one = make().fit(TEXTS, LABELS, sample_weight=weight)
    two = make().fit(TEXTS[:20], LABELS[:20])
    assert_array_equal(one.predict_proba(TEXTS), two.predict_proba(TEXTS))


def test_class_weights_reach_the_linear_model_and_the_net():
    plain = make().fit(TEXTS, LABELS)
    heavy = make(class_weight={"good": 20.0, "bad": 1.0}).fit(TEXTS, LABELS)
    raised = heavy.predict_proba(TEXTS) - plain.predict_proba(TEXTS)
    assert (raised[LABELS == "bad", 1] > 0.1).all()


def test_training_goes_on():
    clf = make().partial_fit(TEXTS[:12], LABELS[:12], classes=["bad", "good", "so-so"])
    assert clf._encoder.linear_ is None
    vocabulary = clf.token_encoder_.vocabulary_
    clf.partial_fit([*TEXTS[12:], "words never seen"], [*LABELS[12:], "so-so"])
    assert clf.token_encoder_.vocabulary_ is vocabulary
    assert clf.n_iter_ == 2
    for linear_skip in (False, True):
        warm = make(warm_start=True, linear_skip=linear_skip).fit(TEXTS, LABELS)
        before = warm.predict_proba(TEXTS)
        assert warm.fit(TEXTS, LABELS).n_iter_ > 2
        assert (warm.predict_proba(TEXTS) != before).any()
    with pytest.raises(ValueError, match="made with token_encoder=None, but"):
        warm.set_params(token_encoder=TokenEncoder("character")).fit(TEXTS, LABELS)


def test_a_refit_on_a_table_forgets_the_texts():
    clf = make().fit(TEXTS, LABELS)
    clf.fit(np.eye(4), [0, 1, 0, 1])
    assert clf.n_features_in_ == 4
    assert clf.fit(TEXTS, LABELS).predict(TEXTS).shape == (24,)
    assert not hasattr(clf, "n_features_in_")


# scikit-learn


def test_clones_and_pickles():
    clf = make(token_encoder=TokenEncoder(min_frequency=2)).fit(TEXTS, LABELS)
    expected = clf.predict_proba(TEXTS)
    assert_array_equal(clone(clf).fit(TEXTS, LABELS).predict_proba(TEXTS), expected)
    loaded = pickle.loads(pickle.dumps(clf))
    assert_array_equal(loaded.predict_proba(TEXTS), expected)


def test_a_search_over_architecture_and_vocabulary_in_processes():
    grid = {
        "architecture__num_heads": [1],
        "token_encoder__vocabulary_size": [8, 30],
    }
    searches = [
        GridSearchCV(make(max_epochs=1), grid, cv=2, n_jobs=n_jobs) for n_jobs in (1, 2)
    ]
    one, two = (search.fit(TEXTS, LABELS).cv_results_ for search in searches)
    assert_array_equal(one["mean_test_score"], two["mean_test_score"])
    sizes = [params["token_encoder__vocabulary_size"] for params in one["params"]]
    assert sizes == [8, 30]


def test_cross_validation_slices_lists():
    for X in (TEXTS, FORMS["tokens"], pd.Series(TEXTS, index=range(100, 124))):
        scores = cross_val_score(make(), X, LABELS, cv=3, error_score="raise")
        assert scores.shape == (3,)
    pairs = cross_val_score(make(PAIRS), MATCHES, LABELS, cv=2, error_score="raise")
    assert pairs.shape == (2,)


def test_the_order_of_texts_does_not_matter():
    order = np.random.default_rng(1).permutation(24)
    one = make().fit(TEXTS, LABELS)
    two = make().fit([TEXTS[at] for at in order], LABELS[order])
    assert_array_equal(one.predict_proba(TEXTS), two.predict_proba(TEXTS))


# Attention


def test_attention_is_named_by_the_tokens_of_each_text():
    clf = make(BidirectionalAttention(d_model=4)).fit(TEXTS, LABELS)
    records = record_attention(clf, ["a good film", "bad"])
    record = records[-1]
    assert record.weights.shape[0] == 2
    assert_allclose(record.weights.sum(axis=-1), 1, rtol=1e-5)
    assert record.keys[0][:3] == ["a", "good", "film"]
    assert record.keys[1][:1] == ["bad"]


@pytest.mark.parametrize(
    ("architecture", "X", "hint"),
    [
        ("text_encoder", pd.DataFrame({"text": TEXTS}), r"frame\['text'\]"),
        ("text_encoder", [[("a", text)] for text in TEXTS], "lists of lists"),
        ("interactive_attention", [["a", text] for text in TEXTS], "list of tuples"),
    ],
)
def test_texts_in_other_clothes_are_told_how_to_come(architecture, X, hint):
    with pytest.raises(ValueError, match=hint):
        AttentionClassifier(architecture).fit(X, LABELS)
