"""Learning from unlabelled texts first: objectives, weights that are kept, refusals."""

import pickle
from copy import copy, deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skattn
from skattn import (
    AttentionClassifier,
    AttentionRegressor,
    AttentionTagger,
    Checkpoint,
    SpecialToken,
)
from skattn._pretrained_text import PretrainedTextNet
from skattn.architectures import SelfAttention, TextEncoder, TransformerXL
from skattn.text import TokenEncoder

CALM = {"dropout": 0.0, "embedding_dropout": 0.0}
SMALL = TextEncoder(d_model=8, num_heads=2, num_layers=1, word_dropout=0.0, **CALM)
CAUSAL = TransformerXL(d_model=8, num_heads=2, num_layers=1, **CALM)
BOTH = pytest.mark.parametrize(
    "architecture", [SMALL, CAUSAL], ids=lambda each: each.name
)
TEXTS = [
    f"{who} {what} the {thing} ."
    for who in ("Ann", "Bob")
    for what in ("sees", "likes", "takes")
    for thing in ("film", "book", "city")
]
X, Y = TEXTS[::3], ["a", "b"] * 3


def options(architecture=SMALL, **params):
    given = {"max_epochs": 1, "random_state": 0, "num_threads": 1}
    return {"architecture": architecture, **given, **params}


def make(architecture=SMALL, **params):
    given = {"linear_skip": False, **params}
    return AttentionClassifier(**options(architecture, **given))


def inner(estimator):
    module = estimator.net_.module_
    while hasattr(module, "module"):
        module = module.module
    return module.state_dict()


def assert_starts_from(estimator, start):
    """Hardly trained, its weights are those of the pretrained net, but for the head."""
    weights = start.state_dict()
    shared = 0
    for name, tensor in inner(estimator).items():
        if name.startswith("head.") or name not in weights:
            continue
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-6)
        shared += 1
    return shared


@pytest.fixture(scope="module")
def start():
    return make(max_epochs=3, lr=0.01).pretrain(TEXTS).pretrained_


# What is handed on


@BOTH
def test_fit_starts_from_the_very_weights_and_keeps_the_vocabulary(architecture):
    clf = make(architecture, max_epochs=3, lr=0.01).pretrain(TEXTS)
    start = clf.pretrained_
    clf.set_params(max_epochs=1, lr=1e-9, weight_decay=0.0).fit(X, Y)
    n_shared = assert_starts_from(clf, start)
    fresh = clone(clf).fit(TEXTS, Y * 3)
    assert n_shared > 8
    with pytest.raises(AssertionError):
        assert_starts_from(fresh, start)
    assert clf.token_encoder_ is start.token_encoder
    assert set(" ".join(TEXTS).lower().split()) <= set(clf.token_encoder_.tokens_)
    assert start.data.task == "token_prediction"
    assert start.data.n_outputs == start.token_encoder.vocabulary_size_


def test_a_regressor_and_a_classifier_of_pairs_start_from_it(start):
    slow = options(pretrained=start, lr=1e-9, weight_decay=0.0, linear_skip=False)
    reg = AttentionRegressor(**slow).fit(X, np.arange(6.0))
    assert assert_starts_from(reg, start) > 8
    pairs = list(zip(X, X[::-1], strict=True))
    clf = AttentionClassifier(**slow).fit(pairs, Y)
    assert assert_starts_from(clf, start) > 8
    assert clf.predict(pairs).shape == (6,)


def test_it_stands_beside_a_linear_model(start):
    slow = {"pretrained": start, "lr": 1e-9, "weight_decay": 0.0}
    clf = make(linear_skip=True, early_stopping=False, **slow).fit(X, Y)
    assert hasattr(clf.net_.module_, "weights")
    assert assert_starts_from(clf, start) > 8


@pytest.mark.parametrize("crf", [True, False])
def test_a_tagger_starts_from_token_lists(crf):
    sentences = [text.split() for text in TEXTS]
    tags = [["B-PER", *["O"] * (len(each) - 1)] for each in sentences]
    tagger = AttentionTagger(**options(crf=crf, lr=0.01)).pretrain(sentences)
    start = tagger.pretrained_
    tagger.set_params(lr=1e-9, weight_decay=0.0).fit(sentences[:6], tags[:6])
    assert assert_starts_from(tagger, start) > 8
    assert tagger.token_encoder_ is start.token_encoder


@pytest.mark.parametrize("form", ["tokens", "ids", "turns"])
def test_other_forms_of_texts_are_pretrained_on(form):
    encoder = TokenEncoder().fit(TEXTS)
    texts = {
        "tokens": [text.split() for text in TEXTS],
        "ids": encoder.transform(TEXTS),
        "turns": [["well then", text] for text in TEXTS],
    }[form]
    clf = make().pretrain(texts)
    start = clf.pretrained_
    assert (start.token_encoder is None) == (form == "ids")
    clf.set_params(lr=1e-9, weight_decay=0.0).fit(texts[:6], Y)
    assert assert_starts_from(clf, start) > 8
    assert clf.predict(texts).shape == (18,)


def test_the_second_fit_starts_anew_to_the_bit(start):
    clf = make(pretrained=start)
    first = deepcopy(inner(clf.fit(X, Y)))
    second = inner(clf.fit(X, Y))
    other = inner(clone(clf).fit(X, Y))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(first[name], other[name]) for name in first)


def test_fit_leaves_the_pretrained_net_alone(start):
    before = start.state_dict()
    make(pretrained=start, lr=0.1).fit(X, Y)
    after = start.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    after["cls"].zero_()
    assert not torch.equal(start.state_dict()["cls"], after["cls"])


def test_words_that_only_the_texts_had_are_known_to_the_classifier():
    def synonyms(n, seed):
        rng = np.random.default_rng(seed)
        good, bad = ["fine", "great", "nice"], ["poor", "dull", "weak"]
        frames = ["what a {} film", "so {} a cast", "the {} one"]
        texts, labels = [], []
        for number in range(n):
            words = (good, bad)[number % 2]
            chosen = rng.choice(words, size=3)
            frame = frames[rng.integers(3)]
            texts.append(" ".join(frame.format(word) for word in chosen))
            labels.append(number % 2)
        return texts, np.array(labels)

    unlabelled, _ = synonyms(160, seed=0)
    test, truth = synonyms(60, seed=1)
    kept = [at for at, text in enumerate(test) if "fine" not in text + "poor"]
    test, truth = [test[at] for at in kept], truth[kept]
    # One word of each kind has a label.
    texts, labels = ["fine", "poor"] * 8, [0, 1] * 8
    architecture = TextEncoder(
        d_model=16, num_heads=2, num_layers=1, word_dropout=0.0, **CALM
    )
    base = make(architecture, max_epochs=40, lr=0.01, batch_size=16)
    start = base.pretrain(unlabelled).pretrained_
    last = start.history[-1]["train_loss"]
    assert last < 0.7 * start.history[0]["train_loss"]
    with_it = make(architecture, max_epochs=10, lr=0.003, pretrained=start)
    without = make(architecture, max_epochs=10, lr=0.003)
    gained = with_it.fit(texts, labels).score(test, truth)
    assert gained > 0.75
    assert gained > without.fit(texts, labels).score(test, truth) + 0.1


# Copies


def test_clones_keep_the_parameter_and_lose_what_pretrain_left(start):
    clf = make().pretrain(TEXTS)
    assert not hasattr(clone(clf), "pretrained_")
    held = make(pretrained=start)
    assert clone(held).pretrained is start
    assert copy(start) is deepcopy(start) is clone(start) is start


def test_setting_other_parameters_keeps_the_net_and_another_net_replaces_it(start):
    clf = make().pretrain(TEXTS)
    own = clf.pretrained_
    assert clf.set_params(max_epochs=2, pretrained=None).pretrained_ is own
    slow = {"lr": 1e-9, "weight_decay": 0.0, "max_epochs": 1}
    clf.set_params(pretrained=start, **slow).fit(X, Y)
    assert assert_starts_from(clf, start) > 8
    assert not hasattr(clf, "pretrained_")


def test_pickles_hold_weights_and_vocabulary(start):
    loaded = pickle.loads(pickle.dumps(start))
    assert repr(loaded) == repr(start)
    expected = start.state_dict()
    assert all(torch.equal(expected[n], w) for n, w in loaded.state_dict().items())
    clf = make(pretrained=loaded).fit(X, Y)
    again = pickle.loads(pickle.dumps(clf))
    assert again.predict_proba(X).tolist() == clf.predict_proba(X).tolist()
    assert isinstance(again.pretrained, PretrainedTextNet)
    of_start = make(pretrained=start).fit(X, Y)
    assert of_start.predict_proba(X).tolist() == clf.predict_proba(X).tolist()


def test_searches_share_the_net(start):
    grid = {"lr": [1e-3, 1e-2], "pretrained": [start, None]}
    search = GridSearchCV(make(), grid, cv=2, error_score="raise").fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.pretrained is search.best_params_["pretrained"]


def test_a_search_runs_in_other_processes(start):
    search = GridSearchCV(
        make(pretrained=start),
        {"lr": [1e-3, 1e-2]},
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Training


@BOTH
def test_equal_seeds_give_equal_weights_in_any_order_of_texts(architecture):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = make(architecture).pretrain(TEXTS).pretrained_.state_dict()
    two = make(architecture).pretrain(TEXTS[::-1]).pretrained_.state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = make(architecture, random_state=1).pretrain(TEXTS).pretrained_.state_dict()
    assert any(not torch.equal(one[name], other[name]) for name in one)


def seen_by(monkeypatch, architecture, **params):
    """Pretrain, and keep all batches that the module is given."""
    given = []
    name = type(architecture.build(DATA)).__name__
    module = __import__(type(architecture).__module__, fromlist=[name])
    kind = getattr(module, name)
    forward = kind.forward

    def spy(self, *args, **inputs):
        given.append((self.training, inputs["tokens"].clone()))
        return forward(self, *args, **inputs)

    monkeypatch.setattr(kind, "forward", spy)
    clf = make(architecture, max_epochs=3, **params).pretrain(TEXTS)
    return given, clf.pretrained_


DATA = skattn.DataSpec(
    input="tokens", task="token_prediction", n_outputs=30, vocabulary_size=30, length=9
)


def test_masks_of_held_out_texts_stay_and_others_change(monkeypatch):
    given, start = seen_by(
        monkeypatch, SMALL, early_stopping=True, validation_fraction=0.3, batch_size=64
    )
    trained = [tokens for training, tokens in given if training]
    held_out = [tokens for training, tokens in given if not training]
    assert len(trained) == len(held_out) == 3
    assert torch.equal(held_out[0], held_out[1])
    assert torch.equal(held_out[0], held_out[2])
    assert not torch.equal(trained[0].sort(dim=0)[0], trained[1].sort(dim=0)[0])
    assert any((tokens == SpecialToken.MASKED).any() for tokens in trained)
    assert "valid_loss" in start.history[-1]


def test_a_causal_net_reads_texts_from_the_start_and_sees_no_mask(monkeypatch):
    given, start = seen_by(monkeypatch, CAUSAL, batch_size=64)
    for _, tokens in given:
        assert (tokens[:, 0] == SpecialToken.START).all()
        assert not (tokens == SpecialToken.MASKED).any()
        assert not (tokens == SpecialToken.END).any()
    assert start.data.n_outputs == start.token_encoder.vocabulary_size_


def test_early_stopping_restores_the_best_weights():
    stopping = make(
        max_epochs=60, lr=0.2, early_stopping=True, validation_fraction=0.3, patience=1
    )
    history = stopping.pretrain(TEXTS).pretrained_.history
    assert len(history) < 60
    assert "valid_loss" not in make().pretrain(TEXTS).pretrained_.history[-1]


def test_a_checkpoint_of_pretraining_has_a_file_of_its_own(tmp_path):
    clf = make(callbacks=[Checkpoint(tmp_path / "net.pt")]).pretrain(TEXTS)
    again = clone(clf).pretrain(TEXTS)
    clf.fit(X, Y)
    assert {file.name for file in tmp_path.iterdir()} == {
        "net.pt",
        "net.pretraining.pt",
    }
    one, two = clf.pretrained_.state_dict(), again.pretrained_.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_empty_texts_and_texts_of_one_token_are_pretrained_on():
    start = make(max_epochs=2).pretrain([*TEXTS, "", "film"]).pretrained_
    assert np.isfinite(start.history[-1]["train_loss"])
    assert make(pretrained=start).fit(["", *X], ["a", *Y]).predict([""]).shape == (1,)


# Refusals


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"architecture": SMALL.__class__(d_model=16)}, ["d_model=16", "architecture"]),
        ({"architecture": SelfAttention()}, ["SelfAttention", "TextEncoder"]),
        ({"token_encoder": TokenEncoder("bpe")}, ["token_encoder", "bpe"]),
    ],
)
def test_an_estimator_that_says_otherwise_is_refused(start, params, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        make(pretrained=start, **params).fit(X, Y)
    for word in words:
        assert word in str(caught.value)


def test_the_encoder_that_none_stands_for_may_be_given(start):
    clf = make(pretrained=start, token_encoder=TokenEncoder()).fit(X, Y)
    assert clf.token_encoder_ is start.token_encoder
    own = TokenEncoder(vocabulary_size=20)
    other = make(token_encoder=own).pretrain(TEXTS).pretrained_
    assert make(pretrained=other).fit(X, Y).token_encoder_.vocabulary_size == 20
    with pytest.raises(ValueError, match="is not what the net was pretrained with"):
        make(pretrained=other, token_encoder=TokenEncoder()).fit(X, Y)


@pytest.mark.parametrize("X", [np.eye(6), [text.split() for text in TEXTS[:6]]])
def test_other_input_is_refused(start, X):
    # An architecture that takes tables is another one; this one takes only texts.
    with pytest.raises(ValueError, match=r"TextEncoder|text_encoder|strings"):
        make(pretrained=start).fit(X, Y)


def test_a_net_of_another_kind_of_estimator_is_refused(start):
    sentences = [text.split() for text in X]
    tags = [["O"] * len(each) for each in sentences]
    with pytest.raises(ValueError, match="another kind of estimator"):
        AttentionTagger(**options(pretrained=start)).fit(sentences, tags)


@pytest.mark.parametrize("pretrained", ["net", SMALL])
def test_what_is_no_pretrained_net_is_refused(pretrained):
    with pytest.raises(TypeError, match="is no PretrainedTextNet"):
        make(pretrained=pretrained).fit(X, Y)


def test_an_architecture_that_predicts_no_tokens_is_refused():
    with pytest.raises(
        ValueError, match="'bidirectional_attention' does not support token_pred"
    ):
        make("bidirectional_attention").pretrain(TEXTS)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (list(zip(TEXTS, TEXTS, strict=True)), ["single texts", "pair"]),
        (np.eye(4), ["single texts", "table"]),
    ],
)
def test_only_single_texts_are_pretrained_on(X, words):
    with pytest.raises(ValueError, match=words[0]) as caught:
        make().pretrain(X)
    assert words[1] in str(caught.value)


def test_bad_texts_and_parameters_are_named():
    with pytest.raises(TypeError, match="single string"):
        make().pretrain("one two")
    with pytest.raises(TypeError, match="Element 1"):
        make().pretrain(["one", None])
    with pytest.raises(ValueError, match="max_epochs"):
        make(max_epochs=0).pretrain(TEXTS)
    with pytest.raises(ValueError, match="found no token"):
        make().pretrain(["", ""])
