"""The translator: what it learns, writes and refuses, and what it composes with."""

import pickle
import warnings
from copy import copy

import numpy as np
import pandas as pd
import pytest
import sacrebleu
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from skattn import AttentionTranslator, record_attention
from skattn._engine import _callbacks
from skattn._engine._generation import translate
from skattn.architectures import RNNSeq2Seq, Transformer
from skattn.text import TokenEncoder

SMALL = Transformer(d_model=32, num_heads=2, num_layers=1, dropout=0.0)
TINY = Transformer(d_model=8, num_heads=2, num_layers=1, dropout=0.0)
RECURRENT = RNNSeq2Seq(d_model=16, dropout=0.0)
WORDS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier"}
X = [f"{a} {b}" for a in WORDS for b in WORDS]
X += list(WORDS) + [f"{a} {b} {b} {a}" for a in WORDS for b in WORDS]
Y = [" ".join(WORDS[word] for word in x.split()) for x in X]


def make(architecture=TINY, **params):
    options = {
        "token_encoder": TokenEncoder("word"),
        "max_epochs": 1,
        "max_length": 6,
        "random_state": 0,
        "num_threads": 1,
    }
    return AttentionTranslator(architecture, **{**options, **params})


def weights_of(translator):
    return translator.net_.module_.state_dict()


def assert_same_weights(one, two):
    first, second = weights_of(one), weights_of(two)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.fixture(scope="module", params=[SMALL, RECURRENT], ids=lambda one: one.name)
def learnt(request):
    options = {"max_epochs": 60, "lr": 0.01, "batch_size": 8, "max_length": None}
    return make(request.param, **options).fit(X, Y)


@pytest.fixture(scope="module")
def fitted():
    return make().fit(X, Y)


@pytest.fixture
def cuts():
    """Let translations be cut off in silence."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*cut off", category=UserWarning)
        yield


# Translations


def test_a_language_is_learnt(learnt, cuts):
    assert np.mean(learnt.predict(X) == np.array(Y, dtype=object)) > 0.9
    assert learnt.score(X, Y) > 90


@pytest.mark.parametrize(
    "container",
    [list, np.array, lambda x: np.array(x, dtype=object), pd.Series],
    ids=["list", "array", "objects", "Series"],
)
def test_containers_of_sentences_are_translated_alike(learnt, container, cuts):
    found = learnt.predict(container(X[:4]))
    assert found.dtype == object
    assert {type(each) for each in found} == {str}
    assert found.tolist() == learnt.predict(X)[:4].tolist()


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_sentence_alone_is_translated_as_among_others(learnt, beam_size, cuts):
    translator = copy(learnt).set_params(beam_size=beam_size)
    sentences = [*X[::4], "", "two " * 20, "unseen", "one unseen " * 3]
    together = translator.predict(sentences).tolist()
    assert len(set(together)) > 5
    assert [translator.predict([each])[0] for each in sentences] == together
    assert translator.predict(sentences[::-1]).tolist() == together[::-1]


class Stateless(torch.nn.Module):
    """A module of which only the whole is seen."""

    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, **inputs):
        return self.inner(**inputs)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_decoding_with_a_cache_gives_the_tokens_of_whole_prefixes(learnt, beam_size):
    net = copy(learnt.net_)
    samples, _ = learnt._samples([*X, "two " * 12, "unseen two"])

    def run():
        return translate(
            net,
            samples,
            beam_size=beam_size,
            length_penalty=0.6,
            limit=lambda length: 8,
        )

    cached = run()
    net.module_ = Stateless(net.module_)
    whole = run()
    assert [each.tokens for each in cached] == [each.tokens for each in whole]
    assert len({tuple(each.tokens) for each in cached}) > 5
    assert_allclose(
        [each.score for each in cached], [each.score for each in whole], rtol=1e-4
    )


def test_sentences_without_tokens_are_translated_by_nothing(learnt, cuts):
    found = learnt.predict(["", "   ", X[0], "\n"])
    assert found.tolist() == ["", "", learnt.predict(X[:1])[0], ""]
    learnt_alone = learnt.predict([""])
    assert learnt_alone.tolist() == [""]


def test_unknown_tokens_and_long_sentences_are_translated(learnt, cuts):
    found = learnt.predict(["seven eight nine", "seven", "one " * 60])
    assert {type(each) for each in found} == {str}
    assert "[" not in "".join(found)


def test_empty_sentences_may_be_among_those_of_the_training(cuts):
    translator = make().fit([*X, "", "one"], [*Y, "", ""])
    assert translator.predict([""]).tolist() == [""]


def test_a_single_pair_is_enough(cuts):
    assert make().fit(["one"], ["eins"]).predict(["one"]).shape == (1,)


def find_right(translator, n_words):
    """Find sentences of so many words that are translated rightly."""
    chosen = [x for x in X if len(x.split()) == n_words]
    found = translator.predict(chosen)
    return [x for x, y in zip(chosen, found, strict=True) if Y[X.index(x)] == y]


def test_what_is_cut_off_is_counted(learnt, cuts):
    long, short = find_right(learnt, 4)[:5], find_right(learnt, 2)[0]
    shorter = copy(learnt).set_params(max_length=2)
    with pytest.warns(UserWarning, match=r"5 of 7 translations.*max_length=2"):
        found = shorter.predict([*long, short, ""])
    assert [len(each.split()) for each in found] == [2, 2, 2, 2, 2, 2, 0]
    assert found[0] == " ".join(Y[X.index(long[0])].split()[:2])


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_translation_of_just_the_greatest_length_is_whole(learnt, beam_size, cuts):
    two = find_right(learnt, 2)[:3]
    exact = copy(learnt).set_params(max_length=2, beam_size=beam_size)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = exact.predict(two)
    assert found.tolist() == [Y[X.index(x)] for x in two]


def test_score_is_the_bleu_of_sacrebleu(learnt, cuts):
    truth = [f"{y} eins" for y in Y]
    expected = sacrebleu.corpus_bleu(learnt.predict(X).tolist(), [truth]).score
    assert learnt.score(X, truth) == expected
    assert 0 < expected < 100
    assert learnt.score(pd.Series(X), np.array(truth)) == expected


# Training


def test_weights_are_repetitions(cuts):
    encoder = TokenEncoder("bpe", vocabulary_size=40)
    weight = np.arange(len(X)) % 3
    repeated = np.repeat(np.arange(len(X)), weight)
    weighted = make(token_encoder=encoder).fit(X, Y, sample_weight=weight)
    again = make(token_encoder=encoder)
    again.fit([X[row] for row in repeated], [Y[row] for row in repeated])
    vocabulary = weighted.token_encoder_.tokens_.tolist()
    assert vocabulary == again.token_encoder_.tokens_.tolist()
    assert_same_weights(weighted, again)


def test_sentences_of_weight_zero_leave_no_token():
    weight = np.ones(len(X) + 1)
    weight[-1] = 0
    translator = make().fit([*X, "five"], [*Y, "fünf"], sample_weight=weight)
    assert not {"five", "fünf"} & set(translator.token_encoder_.tokens_)


def test_equal_seeds_give_equal_weights_and_leave_the_global_state_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    dropping = Transformer(d_model=8, num_heads=2, num_layers=1)
    one, two = make(dropping).fit(X, Y), make(dropping).fit(X, Y)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_weights(one, two)
    other = weights_of(make(dropping, random_state=1).fit(X, Y))
    names = list(other)
    assert any(not torch.equal(other[name], weights_of(one)[name]) for name in names)


def test_partial_fit_keeps_the_vocabulary_and_trains_one_epoch_a_call():
    translator = make().partial_fit(X, Y)
    tokens = translator.token_encoder_.tokens_
    before = translator.net_.module_.head.weight.clone()
    translator.partial_fit(["five six"], ["fünf sechs"])
    assert translator.token_encoder_.tokens_ is tokens
    assert translator.n_iter_ == 2
    assert not torch.equal(before, translator.net_.module_.head.weight)


def test_warm_start_goes_on_with_the_vocabulary():
    translator = make(warm_start=True).fit(X, Y)
    encoder = translator.token_encoder_
    translator.fit(X, Y)
    assert translator.token_encoder_ is encoder
    assert translator.n_iter_ == 2
    with pytest.raises(ValueError, match=r"label_smoothing=0\.1"):
        translator.set_params(label_smoothing=0.2).fit(X, Y)


def test_further_training_looks_at_what_is_held_out_too():
    translator = make(warm_start=True).fit(X, Y)
    translator.fit(X, Y, X_val=X[:4], y_val=Y[:4])
    assert "valid_loss" not in translator.history_[0]
    assert "valid_loss" in translator.history_[1]


def test_a_fit_that_fails_leaves_the_translations_as_they_were(cuts):
    translator = make().fit(X, Y)
    expected = translator.predict(X).tolist()
    with pytest.raises(ValueError, match="max_epochs"):
        translator.set_params(max_epochs=0).fit(["six seven"], ["sechs sieben"])
    assert translator.predict(X).tolist() == expected


def test_held_out_sentences_stop_training():
    translator = make(max_epochs=20, lr=0.05, patience=1)
    # What is held out contradicts what is learnt.
    translator.fit(X, Y, X_val=X[:4], y_val=["vier vier vier"] * 4)
    losses = translator.history_[:, "valid_loss"]
    assert translator.n_iter_ < 20
    assert losses[-1] >= min(losses)
    samples = translator._encoder.samples(
        translator._encoder.read(np.array(X[:4], dtype=object)),
        translator.net_,
        translator._target.encode(np.array(["vier vier vier"] * 4, dtype=object)),
    )
    inputs, target = samples.take(torch.arange(4))
    with torch.no_grad():
        scores = translator.net_.module_.eval()(**inputs)
        loss = translator.net_.criterion_(scores, target.values).mean()
    assert loss.item() == pytest.approx(min(losses), rel=1e-5)


def test_early_stopping_holds_out_a_part():
    translator = make(early_stopping=True, validation_fraction=0.2).fit(X, Y)
    assert "valid_loss" in translator.history_[-1]
    assert "valid_loss" not in make().fit(X, Y).history_[-1]


def test_held_out_sentences_need_not_be_of_the_vocabulary():
    translator = make().fit(X, Y, X_val=["five"], y_val=["fünf"])
    assert not {"five", "fünf"} & set(translator.token_encoder_.tokens_)


def test_smoothing_of_labels_makes_translations_less_certain():
    def certainty(label_smoothing):
        translator = make(label_smoothing=label_smoothing, max_epochs=15, lr=0.02)
        samples, _ = translator.fit(X, Y)._samples(X)
        options = {"beam_size": 1, "length_penalty": 0.0, "limit": lambda length: 6}
        found = translate(translator.net_, samples, **options)
        return np.mean([each.score / (len(each.tokens) + 1) for each in found])

    assert certainty(0.5) < certainty(0.0) - 0.1


def test_the_learning_rate_falls_as_an_inverse_square_root():
    schedule = _callbacks.LR_SCHEDULES["inverse_sqrt"]
    progress = np.linspace(0, 1, 101)
    rates = np.array([schedule(part) for part in progress])
    assert rates.argmax() == 10
    assert rates.max() == pytest.approx(1)
    assert rates[0] < 0.02
    assert_allclose(rates[10:], np.sqrt(0.1 / progress[10:]))
    assert make(lr_schedule="inverse_sqrt").fit(X, Y).n_iter_ == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_other_precisions_translate(precision, cuts):
    translator = make(precision=precision, beam_size=2).fit(X, Y)
    assert translator.predict(X[:2]).shape == (2,)


# Vocabularies


def test_one_vocabulary_serves_both_languages(fitted):
    assert fitted.token_encoder_ is fitted.target_encoder_
    assert {"one", "eins"} <= set(fitted.token_encoder_.tokens_)
    module = fitted.net_.module_
    assert module.source.weight is module.target.weight


def test_each_language_may_have_a_vocabulary_of_its_own(cuts):
    translator = make(shared_vocabulary=False).fit(X, Y)
    source, target = translator.token_encoder_, translator.target_encoder_
    assert set(source.tokens_[6:]) == set(WORDS)
    assert set(target.tokens_[6:]) == set(WORDS.values())
    written = " ".join(translator.predict(X)).split()
    assert set(written) <= set(WORDS.values())


def test_the_target_may_have_another_encoder(cuts):
    other = TokenEncoder("character")
    translator = make(shared_vocabulary=False, target_encoder=other).fit(X, Y)
    assert max(map(len, translator.target_encoder_.tokens_[6:])) == 1
    assert not hasattr(other, "tokens_")
    assert translator.predict(X[:1]).shape == (1,)


def test_the_encoder_that_none_stands_for_is_searched():
    translator = AttentionTranslator().set_params(token_encoder__vocabulary_size=50)
    encoder = translator.token_encoder
    assert (encoder.model, encoder.vocabulary_size) == ("bpe", 50)
    default = AttentionTranslator(max_epochs=1).fit(X, Y).token_encoder_
    assert (default.model, default.vocabulary_size) == ("bpe", 8000)


# Refusals


@pytest.mark.parametrize(
    ("x", "y", "error", "words"),
    [
        ("one", Y, TypeError, ["X is a single string"]),
        (X, "eins", TypeError, ["y is a single string"]),
        (None, Y, TypeError, ["X", "NoneType"]),
        (X, None, ValueError, ["requires y to be passed"]),
        ([], [], ValueError, ["X holds no sentence"]),
        ([*X[:-1], None], Y, TypeError, [f"Element {len(X) - 1} of X is None"]),
        (X, [*Y[:-1], 3], TypeError, [f"Element {len(X) - 1} of y is 3"]),
        (X, Y[:-1], ValueError, [str(len(X)), str(len(X) - 1)]),
        ([["one"]] * 2, ["a", "b"], TypeError, ["Element 0 of X"]),
        (["", ""], ["", ""], ValueError, ["token"]),
    ],
)
def test_bad_sentences_are_named(x, y, error, words):
    with pytest.raises(error) as caught:
        make().fit(x, y)
    for word in words:
        assert word in str(caught.value)


def test_y_cannot_be_left_out():
    with pytest.raises(TypeError, match="y"):
        make().fit(X)


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"target_encoder": TokenEncoder()}, ValueError, ["shared_vocabulary=False"]),
        ({"token_encoder": "word"}, TypeError, ["token_encoder='word'"]),
        ({"beam_size": 0}, ValueError, ["beam_size"]),
        ({"max_length": 0}, ValueError, ["max_length"]),
        ({"label_smoothing": 1.0}, ValueError, ["label_smoothing"]),
        ({"length_penalty": -1}, ValueError, ["length_penalty"]),
        ({"lr_schedule": "linear"}, ValueError, ["lr_schedule"]),
        ({"architecture": "tener"}, ValueError, ["tener", "translation"]),
    ],
)
def test_bad_parameters_are_named(params, error, words):
    with pytest.raises(error) as caught:
        make(**params).fit(X, Y)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("held_out", "error", "words"),
    [
        ({"X_val": X}, ValueError, ["X_val and y_val belong together"]),
        ({"y_val": Y}, ValueError, ["X_val and y_val belong together"]),
        ({"X_val": [*X[:2], None], "y_val": Y[:3]}, TypeError, ["2 of X_val is None"]),
        ({"X_val": X[:3], "y_val": "abc"}, TypeError, ["y_val is a single string"]),
        ({"X_val": X[:3], "y_val": Y[:2]}, ValueError, ["[3, 2]"]),
    ],
)
def test_bad_held_out_sentences_are_named(held_out, error, words):
    with pytest.raises(error) as caught:
        make().fit(X, Y, **held_out)
    for word in words:
        assert word in str(caught.value)


def test_translations_to_score_are_as_many_as_the_sentences(fitted, cuts):
    with pytest.raises(ValueError, match=r"3 sentences and y 2"):
        fitted.score(X[:3], Y[:2])
    with pytest.raises(TypeError, match="Element 1 of y"):
        fitted.score(X[:2], ["eins", None])


def test_nothing_is_translated_before_fit():
    for call in (lambda one: one.predict(X), lambda one: one.score(X, Y)):
        with pytest.raises(NotFittedError):
            call(make())
    with pytest.raises(NotFittedError):
        record_attention(make(), X)


# Composition


def test_clones_are_not_fitted_and_keep_parameters(fitted):
    copied = clone(fitted)
    assert not hasattr(copied, "net_")
    assert repr(copied) == repr(fitted)
    assert copied.get_params().keys() == fitted.get_params().keys()


def test_pickles_translate_alike(learnt, cuts):
    loaded = pickle.loads(pickle.dumps(learnt))
    assert loaded.predict(X).tolist() == learnt.predict(X).tolist()
    assert loaded.token_encoder_ is loaded.target_encoder_


def test_hyper_parameters_of_architecture_and_encoder_are_searched():
    grid = {
        "architecture__d_model": [4, 8],
        "token_encoder__vocabulary_size": [30, 40],
    }
    translator = make("rnn_seq2seq", token_encoder=None, max_length=None)
    translator.set_params(architecture__dropout=0.0)
    search = GridSearchCV(translator, grid, cv=2, n_jobs=2, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        search.fit(X[:12], Y[:12])
    found = search.best_estimator_
    assert search.best_params_["architecture__d_model"] == found.architecture.d_model
    size = search.best_params_["token_encoder__vocabulary_size"]
    assert found.token_encoder_.vocabulary_size_ <= size
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_lists_of_strings_are_cross_validated(cuts):
    scores = cross_val_score(make(), X, Y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    assert ((scores >= 0) & (scores <= 100)).all()
