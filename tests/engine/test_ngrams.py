"""The linear model that scores of texts start from, against scikit-learn's."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_union

from skattn._engine._linear import OffsetSum, weigh
from skattn._engine._losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from skattn._engine._ngrams import (
    NgramModel,
    _character_ngrams,
    _parts_of_short,
    folds_of,
)

RNG = np.random.default_rng(0)
WORDS = ["good", "bad", "film", "story", "very", "not", "the", "end", "cast"]


def objects(values):
    found = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        found[number] = value
    return found


TEXTS = objects([" ".join(RNG.choice(WORDS, size=6)) for _ in range(60)])
LABELS = np.array([[int(text.count("good") > text.count("bad"))] for text in TEXTS])
FOLDS = np.arange(60) % 5


def samples(rows, weight=None):
    return rows, np.ones(len(rows)) if weight is None else weight


def fit(texts=TEXTS, target=LABELS, rows=None, folds=FOLDS, loss=None):
    model = NgramModel()
    chosen = samples(np.arange(len(target)) if rows is None else rows)
    sides = texts if isinstance(texts, list) else [texts]
    loss = CrossEntropy((2,)) if loss is None else loss
    return model, model.fit(sides, folds, target, chosen, chosen, loss)


def vectorizer():
    params = {"sublinear_tf": True}
    return make_union(
        TfidfVectorizer(ngram_range=(1, 2), **params),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 6), **params),
    )


class NaiveBayesRegression:
    """Logistic regression on features by the logarithms of their ratios, for tests."""

    def fit(self, design, labels):
        dense = np.asarray(design.todense())
        present = (dense > 0).astype(float)
        share = [
            (p := present[labels == code].sum(axis=0) + 1) / p.sum() for code in (0, 1)
        ]
        self.ratio = np.log(share[1] / share[0])
        self.model = LogisticRegression(C=3).fit(dense * self.ratio, labels)
        return self

    def decision_function(self, design):
        return self.model.decision_function(np.asarray(design.todense()) * self.ratio)


def log_odds(scores):
    return scores[:, 1] - scores[:, 0]


def test_scores_are_those_of_naive_bayes_and_logistic_regression_on_tfidf():
    model, _ = fit()
    found = log_odds(model.scores([TEXTS])) / model.scale_
    features = vectorizer()
    expected = NaiveBayesRegression().fit(features.fit_transform(TEXTS), LABELS[:, 0])
    assert_allclose(
        found, expected.decision_function(features.transform(TEXTS)), atol=5e-3
    )


def test_more_than_two_classes_are_told_by_logistic_regression_alone():
    target = np.arange(60)[:, None] % 3
    model, _ = fit(target=target, loss=CrossEntropy((3,)))
    features = vectorizer()
    expected = LogisticRegression(C=3).fit(features.fit_transform(TEXTS), target[:, 0])
    scores = model.scores([TEXTS]) / model.scale_
    truth = expected.decision_function(features.transform(TEXTS))
    assert_allclose(
        scores - scores.mean(axis=1, keepdims=True),
        truth - truth.mean(axis=1, keepdims=True),
        atol=5e-3,
    )


def test_training_scores_are_those_of_models_that_have_not_seen_the_text():
    model, found = fit()
    for fold in range(5):
        inside, outside = fold == FOLDS, fold != FOLDS
        features = vectorizer()
        design = features.fit_transform(TEXTS[outside])
        expected = NaiveBayesRegression().fit(design, LABELS[outside, 0])
        assert_allclose(
            log_odds(found[inside]) / model.scale_,
            expected.decision_function(features.transform(TEXTS[inside])),
            atol=5e-3,
        )
    again = model.unseen_scores([TEXTS], FOLDS)
    assert_array_equal(again, found)


def test_rows_that_are_not_trained_on_reach_the_final_model_alone():
    rows = np.arange(50)
    model, other = NgramModel(), NgramModel()
    changed = LABELS.copy()
    changed[50:] = 1 - changed[50:]
    scores = [
        each.fit(
            [TEXTS],
            FOLDS,
            target,
            samples(rows),
            samples(np.arange(60)),
            CrossEntropy((2,)),
        )
        for each, target in ((model, LABELS), (other, changed))
    ]
    assert_array_equal(*scores)
    assert (model.scores([TEXTS]) != other.scores([TEXTS])).any()


def test_ridge_regression_predicts_numbers():
    target = np.array([[float(text.count("good"))] for text in TEXTS])
    target = (target - target.mean()) / target.std()
    model, _ = fit(target=target, loss=SquaredError())
    features = vectorizer()
    expected = Ridge().fit(features.fit_transform(TEXTS), target[:, 0])
    assert_allclose(
        model.scores([TEXTS])[:, 0] / model.scale_,
        expected.predict(features.transform(TEXTS)),
        atol=5e-3,
    )


def test_labels_and_several_targets_have_their_columns():
    many = np.column_stack([LABELS, 1 - LABELS, LABELS]).astype(float)
    assert fit(target=many, loss=BinaryCrossEntropy())[1].shape == (60, 3)
    two = np.column_stack([LABELS[:, 0], np.arange(60) % 3])
    assert fit(target=two, loss=CrossEntropy((2, 3)))[1].shape == (60, 5)


@pytest.mark.parametrize("form", ["tokens", "ids"])
def test_lists_of_tokens_and_ids_are_read_as_words(form):
    if form == "tokens":
        texts = objects([text.split() for text in TEXTS])
        assert_array_equal(fit(texts)[1], fit()[1])
    else:
        codes = {word: code for code, word in enumerate(WORDS, 6)}
        texts = objects([np.array([codes[w] for w in text.split()]) for text in TEXTS])
        model, _ = fit(texts)
        features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        expected = NaiveBayesRegression().fit(
            features.fit_transform(TEXTS), LABELS[:, 0]
        )
        assert_allclose(
            log_odds(model.scores([texts])) / model.scale_,
            expected.decision_function(features.transform(TEXTS)),
            atol=5e-3,
        )


def test_tokens_of_white_space_are_words():
    texts = objects([[" "], [" ", "\t"]] * 30)
    _, scores = fit(texts, np.tile([[0], [1]], (30, 1)))
    assert (log_odds(scores) > 0).tolist() == [False, True] * 30


def test_long_words_are_read_and_not_kept():
    _parts_of_short.cache_clear()
    assert _character_ngrams("ab " + "x" * 50)[:3] == [" ab", "ab ", " ab "]
    assert len(_character_ngrams("x" * 50)) == 50 + 49 + 48 + 47
    assert _parts_of_short.cache_info().currsize == 1


def test_the_texts_of_pairs_have_their_own_ngrams():
    other = TEXTS[::-1].copy()
    model, _ = fit([TEXTS, other])
    features = [vectorizer(), vectorizer()]
    parts = [
        each.fit_transform(side)
        for each, side in zip(features, (TEXTS, other), strict=True)
    ]
    design = sparse.hstack(parts, format="csr")
    expected = NaiveBayesRegression().fit(design, LABELS[:, 0])
    assert_allclose(
        log_odds(model.scores([TEXTS, other])) / model.scale_,
        expected.decision_function(design),
        atol=5e-3,
    )
    empty = objects([""] * 60)
    assert_array_equal(fit([TEXTS, empty])[1], fit()[1])


def test_scores_of_a_text_depend_on_it_alone():
    model, _ = fit()
    texts = objects([*TEXTS[:5], "", "never seen", "good " * 500])
    everything = model.scores([texts])
    for number in range(len(texts)):
        assert_array_equal(model.scores([texts[[number]]]), everything[[number]])
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.scores([texts]), everything)


def test_few_texts_and_folds_without_texts_will_do():
    for n in (1, 2, 3):
        _, scores = fit(TEXTS[:n], LABELS[:n], folds=np.zeros(n, dtype=int))
        assert np.isfinite(scores).all()
    one_class = np.zeros((60, 1), dtype=int)
    assert (fit(target=one_class)[1] == 0).all()


def test_a_model_that_tells_nothing_is_scaled_to_nothing():
    noise = np.random.default_rng(1).integers(2, size=(60, 1))
    model, scores = fit(target=noise)
    assert model.scale_ < 0.2
    assert np.abs(scores).max() < 0.2
    assert fit()[0].scale_ > 1


def test_equal_texts_are_in_one_fold():
    digests = np.array([[7, 1], [12, 5], [7, 2], [9, 3]], dtype=np.uint32)
    assert folds_of(digests).tolist() == [2, 2, 2, 4]


# The sum


class Doubled(torch.nn.Module):
    def forward(self, tokens):
        return 2 * tokens


def test_the_sum_weighs_both_scores():
    module = OffsetSum(Doubled())
    tokens, offset = torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]])
    assert module(tokens=tokens, offset=offset).tolist() == [[6.0, 12.0]]
    module.weights.copy_(torch.tensor([1.0, 0.25]))
    assert module(tokens=tokens, offset=offset).tolist() == [[10.5, 21.0]]
    assert "weights" in module.state_dict()
    assert not list(module.parameters())


def test_weights_are_those_of_least_squares_for_many_samples():
    rng = np.random.default_rng(0)
    offset, scores = torch.from_numpy(rng.normal(size=(2, 5_000, 1)))
    target = 0.7 * offset + 0.4 * scores
    weights, loss = weigh(offset, scores, target, None, SquaredError())
    assert_allclose(weights, [0.7, 0.4], atol=5e-3)
    assert loss < 1e-5
    weights, _ = weigh(offset, -scores, target, None, SquaredError())
    assert_allclose(weights, [0.7, 0.0], atol=2e-2)


def test_few_samples_leave_the_linear_model_as_it_is():
    rng = np.random.default_rng(0)
    offset, scores = torch.from_numpy(rng.normal(size=(2, 2, 2)))
    weights, _ = weigh(
        offset, scores, torch.tensor([[0], [1]]), None, CrossEntropy((2,))
    )
    assert_allclose(weights, [1, 0], atol=0.5)


def test_samples_count_by_their_weight():
    offset = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    scores, target = torch.zeros_like(offset), torch.tensor([[0.5], [2.0]])
    even, _ = weigh(offset, scores, target, None, SquaredError())
    heavy = torch.tensor([0.1, 1.9])
    uneven, loss = weigh(offset, scores, target, heavy, SquaredError())
    assert uneven[0] > even[0] + 0.1
    residual = (uneven[0] - target[:, 0]).square() / 2
    assert_allclose(loss, float((heavy * residual).mean()))
