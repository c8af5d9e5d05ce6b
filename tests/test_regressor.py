"""The regressor: targets, losses, and what differs from the classifier."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import LinearRegression

from skattn import AttentionRegressor
from skattn.architectures import (
    BidirectionalAttention,
    SelfAttention,
    TemporalAttention,
)

SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=1)
ALL = [
    SMALL,
    TemporalAttention(d_model=8),
    BidirectionalAttention(d_model=8),
]
each_architecture = pytest.mark.parametrize(
    "architecture", ALL, ids=lambda architecture: architecture.name
)


def make(architecture=SMALL, **params):
    # Beside a linear start, attention may not count on so few rows.
    defaults = {"max_epochs": 3, "linear_skip": False}
    defaults |= {"random_state": 0, "num_threads": 1}
    return AttentionRegressor(architecture, **{**defaults, **params})


def table(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, 40 + 10 * X[:, 0] - 5 * X[:, 1] + rng.normal(size=n)


def panel(n=24):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2, 10))
    return X, 5 * X[:, 0].mean(axis=1)


def unequal():
    X, y = panel()
    series = [row[:, : 4 + number % 6].copy() for number, row in enumerate(X)]
    for row in series[::5]:
        row[1, 2] = np.nan
    return series, y


def weights_of(estimator):
    return {
        name: tensor.clone()
        for name, tensor in estimator.net_.module_.state_dict().items()
    }


def assert_same_weights(first, second):
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@each_architecture
def test_learns_a_table(architecture):
    X, y = table()
    reg = make(architecture, linear_skip="auto").fit(X, y)
    assert reg.score(X, y) > 0.95
    assert reg.predict(X).dtype == np.float64
    assert reg.predict(X).shape == (80,)


@each_architecture
def test_learns_without_a_linear_start(architecture):
    X, y = table()
    options = {"linear_skip": False, "max_epochs": 60, "lr": 1e-2}
    assert make(architecture, **options).fit(X, y).score(X, y) > 0.8


@each_architecture
def test_learns_series_of_unequal_lengths(architecture):
    X, y = unequal()
    reg = make(architecture, max_epochs=30, lr=1e-2).fit(X, y)
    assert reg.score(X, y) > 0.3
    alone = np.concatenate([reg.predict([series]) for series in X])
    assert_array_equal(alone, reg.predict(X))


def test_is_no_worse_than_a_line_on_diabetes():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    train, test = slice(0, 300), slice(300, None)
    reg = make(linear_skip="auto").fit(X[train], y[train])
    line = LinearRegression().fit(X[train], y[train])
    assert reg.score(X[test], y[test]) > line.score(X[test], y[test]) - 0.03


def test_a_row_is_predicted_alike_in_any_company():
    X, y = table(300)
    reg = make().fit(X, y)
    expected = reg.predict(X)
    alone = np.concatenate([reg.predict(X[row : row + 1]) for row in (0, 5, 299)])
    assert_array_equal(alone, expected[[0, 5, 299]])
    assert_array_equal(reg.predict(X[::-1])[::-1], expected)


def test_several_targets():
    X, y = table()
    both = np.column_stack([y, 1e-3 * X[:, 2]])
    reg = make(linear_skip=True).fit(X, both)
    assert reg.predict(X).shape == (80, 2)
    # Targets of different size count alike.
    assert reg.score(X, both) > 0.9
    with pytest.raises(ValueError, match="1 targets, but 2 were fitted"):
        reg.partial_fit(X, y)


def test_a_column_of_targets_is_a_vector():
    X, y = table()
    with pytest.warns(DataConversionWarning):
        reg = make().fit(X, y[:, None])
    assert_array_equal(reg.predict(X), make().fit(X, y).predict(X))


def test_the_units_of_the_target_do_not_count():
    X, y = table()
    # The order of rows goes by content, hence one batch and no dropout.
    architecture = SelfAttention(d_model=8, num_heads=2, dropout=0.0)
    reg = make(architecture, batch_size=80).fit(X, y)
    scaled = make(architecture, batch_size=80).fit(X, 1e6 * y - 3)
    assert_allclose((scaled.predict(X) + 3) / 1e6, reg.predict(X), rtol=1e-3)


def test_a_constant_target():
    X, _ = table()
    reg = make(linear_skip="auto").fit(X, np.full(80, 7.0))
    assert_allclose(reg.predict(X), 7.0, atol=1e-2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_must_be_finite(bad):
    X, y = table()
    y[3] = bad
    with pytest.raises(ValueError, match="Input y contains"):
        make().fit(X, y)


# Losses


def skewed(n=400):
    """Targets with a long upper tail: mean 1, median log 2, nine tenths below 2.3."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 2)), rng.exponential(size=n)


def level(loss, quantile=None, **params):
    """What a loss predicts where columns tell nothing."""
    X, y = skewed()
    options = {"max_epochs": 30, "lr": 1e-2, "weight_decay": 0.3, **params}
    reg = make(loss=loss, quantile=quantile, linear_skip=False, **options).fit(X, y)
    return reg.predict(X), y


def test_each_loss_has_its_own_optimum():
    means = {
        loss: level(loss)[0].mean()
        for loss in ("squared_error", "absolute_error", "huber", "poisson")
    }
    _, y = skewed()
    assert means["squared_error"] == pytest.approx(y.mean(), abs=0.15)
    assert means["poisson"] == pytest.approx(y.mean(), abs=0.15)
    assert means["absolute_error"] == pytest.approx(np.median(y), abs=0.15)
    assert means["absolute_error"] < means["huber"] < means["squared_error"]


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_a_quantile_covers_its_part(quantile):
    predicted, y = level("quantile", quantile)
    assert (y <= predicted).mean() == pytest.approx(quantile, abs=0.08)


def test_the_median_is_the_absolute_error():
    X, y = table()
    median = make(loss="quantile", quantile=0.5, lr=1e-3).fit(X, y)
    absolute = make(loss="absolute_error", lr=1e-3).fit(X, y)
    assert_allclose(median.predict(X), absolute.predict(X), rtol=0.01)


def test_poisson_learns_counts_and_stays_positive():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = rng.poisson(np.exp(0.5 + X[:, 0])).astype(float)
    reg = make(loss="poisson", linear_skip=True).fit(X, y)
    far = np.linspace(-50, 3, 20)[:, None] * [1, 0]
    assert (reg.predict(far) >= 0).all()
    assert (reg.predict(X) > 0).all()
    assert np.corrcoef(reg.predict(X), np.exp(0.5 + X[:, 0]))[0, 1] > 0.9


def test_wrong_losses_are_refused():
    X, y = table()
    with pytest.raises(ValueError, match="needs the parameter quantile"):
        make(loss="quantile").fit(X, y)
    with pytest.raises(ValueError, match=r"needs y >= 0 .* minimum -"):
        make(loss="poisson").fit(X, y - 100)
    with pytest.raises(ValueError, match="positive sum"):
        make(loss="poisson").fit(X, np.zeros(80))
    with pytest.raises(ValueError, match="'loss' parameter of AttentionRegressor"):
        make(loss="mae").fit(X, y)


def test_poisson_refuses_negative_counts_in_later_calls():
    X, y = table()
    reg = make(loss="poisson").partial_fit(X, y)
    with pytest.raises(ValueError, match="y >= 0"):
        reg.partial_fit(X, y - 100)


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "quantile", "poisson", "huber"]
)
def test_losses_in_all_precisions(loss, precision):
    X, y = table()
    quantile = 0.5 if loss == "quantile" else None
    params = {"loss": loss, "quantile": quantile}
    expected = make(**params).fit(X, y).predict(X)
    found = make(precision=precision, **params).fit(X, y).predict(X)
    assert_allclose(found, expected, rtol=0.1)
    assert found.dtype == np.float64


# Weights


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "absolute_error"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", ["table", "series"])
def test_weighting_a_row_is_repeating_it(kind, early_stopping, loss):
    X, y = {"table": table, "series": unequal}[kind]()
    y = abs(y)
    weight = np.arange(len(y)) % 4  # rows of weight zero among them
    index = np.random.default_rng(1).permutation(np.repeat(np.arange(len(y)), weight))
    repeated = X[index] if isinstance(X, np.ndarray) else [X[at] for at in index]
    architecture = SelfAttention(d_model=8, num_heads=2, dropout=0.3)
    options = {
        "loss": loss,
        "batch_size": 8,
        "early_stopping": early_stopping,
        "validation_fraction": 0.25,
        "patience": 2,
    }
    weighted = make(architecture, **options).fit(X, y, sample_weight=weight)
    longer = make(architecture, **options).fit(repeated, y[index])
    assert_same_weights(weighted, longer)
    assert weighted.n_iter_ == longer.n_iter_
    assert_array_equal(weighted.predict(X), longer.predict(X))


def test_many_repetitions_fall_back_to_a_weighted_mean():
    X, y = table()
    weight = np.where(X[:, 0] > 0, 100, 1)
    reg = make(linear_skip=True).fit(X, y, sample_weight=weight)
    assert reg.net_.batch_size == make().fit(X, y).net_.batch_size
    line = LinearRegression().fit(X, y, sample_weight=weight)
    assert_allclose(reg.predict(X).mean(), line.predict(X).mean(), rtol=0.05)


def test_real_weights_move_the_mean():
    X, _ = table()
    y = np.where(np.arange(80) % 2, 1.0, 0.0)
    flat = np.zeros_like(X)
    up = make(max_epochs=20, lr=1e-2).fit(flat, y, sample_weight=0.1 + 0.8 * y)
    assert_allclose(up.predict(flat), 0.9, atol=0.05)


# Training


def test_one_seed_one_net_whatever_the_order_of_rows():
    X, y = table()
    order = np.random.default_rng(2).permutation(80)
    first = make(early_stopping=True).fit(X, y)
    assert_same_weights(first, make(early_stopping=True).fit(X[order], y[order]))
    assert_same_weights(clone(first).fit(X, y), first)


def test_partial_fit_keeps_the_scales_of_the_first_call():
    X, y = table()
    reg = make().partial_fit(X, y)
    mean, scale = reg._target.mean.copy(), reg._target.scale.copy()
    reg.partial_fit(X, 1000 * y)
    assert_array_equal(reg._target.mean, mean)
    assert_array_equal(reg._target.scale, scale)
    assert reg.n_iter_ == 2


def test_partial_fit_learns_a_stream():
    X, y = table(400)
    reg = make(lr=1e-2)
    for _ in range(10):
        for start in range(0, 400, 40):
            reg.partial_fit(X[start : start + 40], y[start : start + 40])
    assert reg.score(X, y) > 0.8


def test_warm_start_goes_on():
    X, y = table()
    reg = make(warm_start=True).fit(X, y)
    assert reg.fit(X, y).n_iter_ == 6
    reg.set_params(loss="absolute_error")
    with pytest.raises(ValueError, match="loss"):
        reg.fit(X, y)


def test_a_pickle_predicts_and_trains_on_alike():
    X, y = table()
    frame = pd.DataFrame(X, columns=list("abc")).assign(d=np.arange(80) % 3 == 0)
    reg = make().partial_fit(frame, y)
    copied = pickle.loads(pickle.dumps(reg))
    assert_array_equal(copied.predict(frame), reg.predict(frame))
    assert_same_weights(copied.partial_fit(frame, y), reg.partial_fit(frame, y))


def test_the_linear_start_is_no_worse_than_ridge_before_training():
    X, y = table()
    reg = make(linear_skip=True, max_epochs=1, lr=1e-12).fit(X, y)
    line = LinearRegression().fit(X, y)
    assert_allclose(reg.predict(X), line.predict(X), rtol=0.05, atol=0.5)
