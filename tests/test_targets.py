"""Targets: labels and numbers on their way to the loss and back."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from skattn._engine._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Pinball,
    Poisson,
)
from skattn._targets import ClassTarget, NumberTarget

LABELS = np.array(["b", "a", "c", "a"])
TWO = np.array([["x", "q"], ["y", "p"], ["z", "q"], ["x", "q"]])
MANY = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])


def fitted(y, **kwargs):
    target = ClassTarget()
    target.learn(target.check(y), **kwargs)
    return target


def one_hot(codes, counts):
    """Certain probabilities of these classes."""
    return np.hstack(
        [np.eye(count)[column] for count, column in zip(counts, codes.T, strict=True)]
    )


@pytest.mark.parametrize(
    "y",
    [
        LABELS,
        LABELS.astype(object),
        pd.Series(LABELS),
        pd.Series(LABELS, dtype="category"),
        list(LABELS),
    ],
)
def test_labels(y):
    target = fitted(y)
    codes = target.encode(target.check(y))
    assert target.kind == "single"
    assert target.n_outputs == 3
    assert codes.tolist() == [[1], [0], [2], [0]]
    assert codes.dtype == np.int64
    assert target.strata(target.check(y)).tolist() == [1, 0, 2, 0]
    assert isinstance(target.loss(), CrossEntropy)
    assert target.loss().class_counts == (3,)
    decoded = target.decode(one_hot(codes, (3,)))
    assert decoded.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    "labels", [np.array([5, -1, 5]), np.array([True, False, True]), np.array([2.0, 1])]
)
def test_labels_come_back_as_they_were(labels):
    target = fitted(labels)
    decoded = target.decode(one_hot(target.encode(labels), (2,)))
    np.testing.assert_array_equal(decoded, labels)
    assert decoded.dtype == labels.dtype


def test_several_targets():
    target = fitted(TWO)
    codes = target.encode(TWO)
    assert target.kind == "multioutput"
    assert target.n_outputs == 5
    assert codes.tolist() == [[0, 1], [1, 0], [2, 1], [0, 1]]
    assert target.loss().class_counts == (3, 2)
    assert target.strata(TWO) is None
    flat = one_hot(codes, (3, 2))
    first, second = target.probabilities(flat)
    np.testing.assert_array_equal(np.hstack([first, second]), flat)
    assert [first.shape, second.shape] == [(4, 3), (4, 2)]
    np.testing.assert_array_equal(target.decode(flat), TWO)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, pd.DataFrame])
def test_many_labels(kind):
    target = fitted(kind(MANY))
    y = target.check(kind(MANY))
    assert target.kind == "multilabel"
    assert target.n_outputs == 3
    assert isinstance(target.loss(), BinaryCrossEntropy)
    assert target.encode(y).dtype == np.float32
    np.testing.assert_array_equal(target.encode(y), MANY)
    flat = np.where(MANY, 0.6, 0.5)
    assert target.probabilities(flat) is flat
    np.testing.assert_array_equal(target.decode(flat), MANY)


def test_a_label_that_is_always_the_same_is_allowed_among_many():
    target = fitted(np.array([[0, 1], [0, 0]]))
    assert target.n_outputs == 2
    np.testing.assert_array_equal(target.decode(np.array([[0.1, 0.9]])), [[0, 1]])


def test_one_column_is_a_vector_with_a_warning():
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        assert ClassTarget.check(LABELS[:, None]).shape == (4,)
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        assert NumberTarget.check(np.zeros((4, 1))).shape == (4,)


def test_classes_that_may_come_later():
    target = fitted(LABELS, all_classes=["d", "c", "b", "a"])
    assert target.classes[0].tolist() == ["a", "b", "c", "d"]
    assert target.encode(np.array(["d"])).tolist() == [[3]]
    several = fitted(TWO, all_classes=[["x", "y", "z", "w"], ["p", "q"]])
    assert several.n_outputs == 6
    one = fitted(np.array(["a", "a"]), all_classes=["a", "b"])
    assert one.n_outputs == 2


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array(["a", "a"]), "hold one class, .*'a'"),
        (np.array([["a", "p"], ["b", "p"]]), "of target 1 hold one class, .*'p'"),
        (np.array([1.5, 2.5, 0.1]), "continuous"),
        (np.array([1.0, np.nan]), "NaN"),
        ([["a"], ["b", "c"]], "inhomogeneous"),
    ],
)
def test_what_is_no_classification(y, message):
    with pytest.raises(ValueError, match=message):
        fitted(y)


def test_an_unknown_class():
    with pytest.raises(ValueError, match=r"classes \['e'\], .*\['a', 'b', 'c'\]"):
        fitted(LABELS).encode(np.array(["a", "e"]))


def test_another_number_of_targets():
    with pytest.raises(ValueError, match="y has 1 targets, but 2 were fitted"):
        fitted(TWO).encode(LABELS)


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0, "b": 1.0, "c": 0.5}])
def test_class_weights(class_weight):
    classes = np.unique(LABELS)
    expected = compute_class_weight(class_weight, classes=classes, y=LABELS)
    got = fitted(LABELS).class_weights(LABELS, class_weight)
    np.testing.assert_allclose(got, expected[np.searchsorted(classes, LABELS)])


@pytest.mark.parametrize(
    "class_weight", ["balanced", [{"x": 2.0, "y": 1.0, "z": 1.0}, {"p": 5.0, "q": 1.0}]]
)
def test_class_weights_of_several_targets_multiply(class_weight):
    got = fitted(TWO).class_weights(TWO, class_weight)
    np.testing.assert_allclose(got, compute_sample_weight(class_weight, TWO))


def test_too_few_class_weights():
    with pytest.raises(ValueError, match="1 dictionaries for 2 targets"):
        fitted(TWO).class_weights(TWO, [{"x": 1.0}])


def number_target(y, loss="squared_error", quantile=None, weight=None):
    target = NumberTarget(loss, quantile)
    y = target.check(y)
    target.learn(y)
    target.fit_scaling(y, weight)
    return target


@pytest.mark.parametrize("shape", [(20,), (20, 3)])
def test_numbers_are_standardised(shape):
    y = np.random.default_rng(0).normal(loc=50, scale=7, size=shape)
    target = number_target(y)
    encoded = target.encode(y)
    assert encoded.shape == (20, target.n_outputs)
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(encoded.std(axis=0), 1)
    decoded = target.decode(encoded)
    assert decoded.shape == shape
    np.testing.assert_allclose(decoded, y)
    assert target.strata(y) is None


def test_weights_equal_repetitions():
    y, counts = np.array([1.0, 5.0, 2.0]), np.array([1, 3, 2])
    weighted = number_target(y, weight=counts.astype(float))
    repeated = number_target(np.repeat(y, counts))
    np.testing.assert_allclose(weighted.encode(y), repeated.encode(y))


def test_counts_are_only_multiplied():
    y = np.array([0.0, 3.0, 6.0])
    target = number_target(y, "poisson")
    assert target.encode(y)[:, 0].tolist() == [0.0, 1.0, 2.0]
    assert isinstance(target.loss(), Poisson)
    rates = target.loss().predict(torch.log(torch.tensor([[1.0]]))).numpy()
    assert target.decode(rates).tolist() == [3.0]


def test_a_constant_target():
    target = number_target(np.full(5, 7.0))
    assert not target.encode(np.full(5, 7.0)).any()
    assert target.decode(np.zeros((2, 1))).tolist() == [7.0, 7.0]


def test_the_loss_has_the_name_given():
    loss = number_target(np.arange(3.0), "quantile", 0.2).loss()
    assert isinstance(loss, Pinball)
    assert loss.quantile == 0.2


@pytest.mark.parametrize("y", [[1.0, -1.0], [0.0, 0.0]])
def test_what_is_no_count(y):
    with pytest.raises(ValueError, match="loss='poisson' needs y >= 0"):
        number_target(np.array(y), "poisson")


@pytest.mark.parametrize("y", [["a", "b"], [1.0, np.nan], [1.0, np.inf]])
def test_what_is_no_number(y):
    with pytest.raises(ValueError, match=r"could not convert|NaN|infinity"):
        NumberTarget.check(y)


def test_another_number_of_numbers():
    with pytest.raises(ValueError, match="y has 2 targets, but 1 were fitted"):
        number_target(np.arange(3.0)).encode(np.zeros((3, 2)))


def test_integers_are_numbers():
    assert NumberTarget.check([1, 2]).dtype == np.float64


@pytest.mark.parametrize("y", [MANY + 1, 2 * MANY - 1, 3 * MANY, MANY + 1.0])
def test_two_numbers_other_than_zero_and_one_are_classes_of_several_targets(y):
    target = fitted(y)
    assert target.kind == "multioutput"
    codes = target.encode(y)
    np.testing.assert_array_equal(codes, MANY)
    decoded = target.decode(one_hot(codes, (2, 2, 2)))
    np.testing.assert_array_equal(decoded, y)
    assert decoded.dtype == y.dtype


def test_announced_classes_tell_several_targets_from_many_labels():
    target = fitted(MANY, all_classes=[[0, 1, 2], [0, 1], [0, 1]])
    assert (target.kind, target.n_outputs) == ("multioutput", 7)
    for classes in ([[0, 1]] * 3, np.arange(3)):  # `classes_` of many labels
        target = fitted(MANY, all_classes=classes)
        assert (target.kind, target.n_outputs) == ("multilabel", 3)


@pytest.mark.parametrize(
    ("y", "classes"),
    [(TWO, ["x", "y", "z"]), (TWO, [["x", "y"]]), (MANY, [0, 1]), (MANY + 1, [1, 2])],
)
def test_flat_classes_of_several_targets(y, classes):
    with pytest.raises(ValueError, match=rf"list of {y.shape[1]} arrays, the labels"):
        fitted(y, all_classes=classes)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([3, 3]), "hold one class, 3; a classifier needs at least two classe"),
        (np.array(["a", "a"]), "hold one class, 'a'; "),
        (np.array([True, True]), "hold one class, True; "),
    ],
)
def test_the_only_class_is_named_as_the_user_wrote_it(y, message):
    with pytest.raises(ValueError, match=message):
        fitted(y)


@pytest.mark.parametrize("labels", [[1, "v"], ["v", 2.5]])
@pytest.mark.parametrize("kind", [pd.Series, lambda y: np.array(y, dtype=object)])
def test_labels_of_mixed_types(labels, kind):
    with pytest.raises(ValueError, match=r"mixed types \(.*str"):
        fitted(kind(labels * 2))


def test_each_target_of_counts_needs_a_positive_sum():
    y = np.array([[1.0, 0.0], [2.0, 0.0]])
    with pytest.raises(ValueError, match=r"poisson.*; target 1 of y has .* sum 0"):
        number_target(y, "poisson")


@pytest.mark.parametrize("shape", [(20,), (20, 2)])
def test_numbers_too_large_for_a_scale(shape):
    y = np.random.default_rng(0).normal(size=shape)
    y.reshape(20, -1)[:, -1] *= 1e200
    where = "y" if len(shape) == 1 else "target 1 of y"
    with pytest.raises(ValueError, match=rf"^{where} holds .*e\+200, too large"):
        number_target(y)
