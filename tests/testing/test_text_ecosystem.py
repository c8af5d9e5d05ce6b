"""The checks of estimators of texts pass what is sound, and can fail."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from _faulty import (
    Sound,
    SoundCausal,
    SoundPair,
    SoundText,
    SoundTextNet,
    SoundTranslation,
    SoundTranslationNet,
)

import skattn
from skattn import AttentionClassifier
from skattn.testing import check_architecture
from skattn.testing._text_ecosystem import checks_of, draw

ALL = (SoundText(), SoundPair(), SoundTranslation())


def run(name, architecture):
    """Run a check by its name; give what it says."""
    for title, check in check_architecture(architecture):
        if title == name:
            try:
                check(architecture)
            except AssertionError as error:
                return str(error)
            return None
    raise KeyError(name)


def test_checks_are_listed_for_the_tasks_on_texts():
    for architecture in (Sound(), SoundCausal()):
        assert list(checks_of(architecture)) == []
    titles = [name for architecture in ALL for name, _ in checks_of(architecture)]
    assert len(set(titles)) == len(titles)
    assert {title.partition("/")[0] for title in titles} == {
        "AttentionClassifier on texts",
        "AttentionTagger on texts",
        "AttentionRegressor on pairs of texts",
        "AttentionTranslator on texts",
    }
    listed = dict(check_architecture(SoundText()))
    assert all(listed[name].ecosystem for name, _ in checks_of(SoundText()))
    theirs = {
        title.partition("/")[0]
        for title in titles
        if title.endswith("check_set_params")
    }
    # Tables are enough for those of classifiers and regressors that need no X.
    assert theirs == {"AttentionTagger on texts", "AttentionTranslator on texts"}


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        pytest.param(architecture, name, id=f"{architecture.name}-{name}")
        for architecture in ALL
        for name, _ in checks_of(architecture)
    ],
)
def test_a_sound_architecture_passes(architecture, name):
    assert run(name, architecture) is None


def test_texts_are_drawn_with_the_word_that_decides():
    trial = draw(SoundText(), "tokens", "classification")
    assert [("good" in text) for text in trial.X] == [y == "positive" for y in trial.y]
    assert sorted({len(text.split()) for text in trial.X}) == list(range(1, 9))
    tagging = draw(SoundText(), "tokens", "tagging")
    assert [row.count("B-X") for row in tagging.y] == [1] * len(trial.X)
    translation = draw(SoundText(), "tokens", "translation")
    assert translation.X == trial.X
    assert all("bon" in y.split() or "mauvais" in y.split() for y in translation.y)
    pairs = draw(SoundText(), "pair", "regression")
    assert [y >= 1 for y in pairs.y] == ["good" in other for _, other in pairs.X]


# Faults of architectures


class CentringNet(SoundTextNet):
    def score(self, h):
        scores = super().score(h)
        return scores - scores.mean(dim=0)


class CountingNet(SoundTextNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.register_buffer("calls", torch.zeros(1))

    def score(self, h):
        self.calls += 1
        return super().score(h)


class UnseededNet(SoundTextNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        noise = np.random.default_rng().normal(size=self.words.weight.shape)
        self.words.weight.data += torch.tensor(noise, dtype=torch.float32)


class NumPyNet(SoundTextNet):
    def score(self, h):
        return super().score(h) + 0 * np.random.standard_normal()  # noqa: NPY002


class DeafNet(SoundTextNet):
    def score(self, h):
        return super().score(0 * h)


class DeafTranslationNet(SoundTranslationNet):
    def score(self, h):
        return super().score(0 * h)


def around(net_class, parent=SoundText):
    class Around(parent):
        api_version = 1
        net = net_class

    return Around()


@pytest.mark.parametrize(
    ("net", "check", "says"),
    [
        (CentringNet, "check_predictions_stand_alone", "order of the texts matters"),
        (CountingNet, "check_parameters_are_left_alone", r"'module\S*\.calls'"),
        (UnseededNet, "check_fit_idempotent", "the same random_state"),
        (NumPyNet, "check_random_states", "changes a global random state"),
        (DeafNet, "check_learns", "The score on 24 easy texts is"),
    ],
)
@pytest.mark.parametrize("facade", ["AttentionClassifier", "AttentionTagger"])
def test_faults_of_an_architecture_are_caught(facade, net, check, says):
    told = run(f"{facade} on texts/{check}", around(net))
    assert told is not None
    assert re.search(says, told), told


def test_a_translator_that_learns_nothing_is_caught():
    architecture = around(DeafTranslationNet, SoundTranslation)
    told = run("AttentionTranslator on texts/check_learns", architecture)
    assert "should exceed 20" in told


# Faults of estimators


class GivesNothingBack(AttentionClassifier):
    def fit(self, *args, **kwargs):
        super().fit(*args, **kwargs)


class RemembersPredictions(AttentionClassifier):
    def predict(self, X):
        self.last_ = super().predict(X)
        return self.last_


class SortsTexts(AttentionClassifier):
    def predict_proba(self, X):
        return super().predict_proba(sorted(X))


class IgnoresWeights(AttentionClassifier):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y)


class WritesToTexts(AttentionClassifier):
    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        X[0] = X[0].upper()
        return self


class ReadsSeriesByIndex(AttentionClassifier):
    def fit(self, X, y, sample_weight=None):
        X = X.sort_index() if isinstance(X, pd.Series) else X
        return super().fit(X, y, sample_weight)


class NeedsWords(AttentionClassifier):
    def decision_function(self, X):
        scores = super().decision_function(X)
        return np.where([not text for text in X], np.nan, scores)


class ForgetsItsWeights(AttentionClassifier):
    def __setstate__(self, state):
        super().__setstate__(state)
        for tensor in self.net_.module_.parameters():
            tensor.data.zero_()


class PredictsUnfitted(AttentionClassifier):
    def predict(self, X):
        return super().predict(X) if hasattr(self, "net_") else np.zeros(len(X))


class PredictsNothing(AttentionClassifier):
    def score(self, X, y, sample_weight=None):
        return np.nan


@pytest.mark.parametrize(
    ("cls", "check", "says"),
    [
        (GivesNothingBack, "check_parameters_are_left_alone", "must return self"),
        (RemembersPredictions, "check_parameters_are_left_alone", "changes attributes"),
        (SortsTexts, "check_predictions_stand_alone", "predict_proba: the order"),
        (IgnoresWeights, "check_weights_are_repetitions", "equal a repeated text"),
        (WritesToTexts, "check_input_is_left_alone", "changes what it is given"),
        (ReadsSeriesByIndex, "check_forms_of_texts", "differ for texts as object"),
        (NeedsWords, "check_odd_texts", "decision_function is not finite for ''"),
        (ForgetsItsWeights, "check_pickle", "differ after pickling"),
        (PredictsUnfitted, "check_fit_check_is_fitted", "predict must raise NotFitted"),
        (PredictsNothing, "check_model_selection", r"Scores of folds are \[nan nan\]"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_faults_of_an_estimator_are_caught(monkeypatch, cls, check, says):
    monkeypatch.setattr(skattn, "AttentionClassifier", cls)
    told = run(f"AttentionClassifier on texts/{check}", SoundText())
    assert told is not None
    assert re.search(says, told), told
