"""Pretraining: whose weights a forecaster starts from, and that nothing changes them.

Each test compares weights, not only forecasts.
"""

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from _forecasting import (
    SMALL,
    equal_weights,
    make,
    make_panel,
    memory_of,
    months,
    same_weights,
    waves,
    weights_of,
)
from numpy.testing import assert_array_equal
from sklearn.base import clone
from skorch.callbacks import Callback
from sktime.exceptions import NotFittedError
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.performance_metrics.forecasting import MeanAbsolutePercentageError
from sktime.split import ExpandingWindowSplitter

from skattn import LinearForecaster, PretrainedNet
from skattn.architectures import SelfAttention

FH = [1, 2, 3]
PANEL = make_panel()
SERIES = waves(50, months(50), seed=7)

# sktime's own splitters and searches announce a change of sktime 1.3.
announced = pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")


def pretrain(y=PANEL, **params):
    return make(window_length=8, **params).pretrain(y, fh=FH)


@pytest.fixture(scope="module")
def pretrained():
    return pretrain()


def starts_from(forecaster, net):
    """Tell whether a fitted forecaster has the weights of a pretrained net."""
    return equal_weights(weights_of(forecaster), net.state_dict())


def reload_joblib(estimator):
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


COPIES = {
    "itself": copy.copy,
    "sktime": lambda forecaster: forecaster.clone(),
    "scikit-learn": clone,
    "twice": lambda forecaster: clone(clone(forecaster).clone()),
    "pickle": lambda forecaster: pickle.loads(pickle.dumps(forecaster)),
    "joblib": reload_joblib,
    "deepcopy": copy.deepcopy,
    "fitted": lambda forecaster: copy.deepcopy(forecaster).fit(SERIES, fh=FH),
    "clone of fitted": lambda forecaster: clone(
        copy.deepcopy(forecaster).fit(SERIES, fh=FH)
    ),
    "set_params": lambda forecaster: copy.deepcopy(forecaster).set_params(patience=3),
    "set_params of all": lambda forecaster: copy.deepcopy(forecaster).set_params(
        **forecaster.get_params()
    ),
}


# Whose weights


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_pretrained_forecaster_starts_from_its_net(how, pretrained):
    copied = COPIES[how](pretrained)
    assert copied.state == ("fitted" if how == "fitted" else "pretrained")
    copied.fit(SERIES, fh=FH)
    assert copied.state == "fitted"
    assert starts_from(copied, pretrained.pretrained_)
    assert copied.n_iter_ == 2
    assert np.isfinite(copied.predict()).all()


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_keeps_the_net_that_it_was_given(how, pretrained):
    net = pretrained.pretrained_
    given = make(window_length=8, pretrained=net)
    copied = COPIES[how](given)
    if how not in {"pickle", "joblib"}:
        assert copied.pretrained is net
    copied.fit(SERIES, fh=FH)
    assert starts_from(copied, net)
    assert not hasattr(copied, "pretrained_")


def test_a_pretrained_net_differs_from_a_new_one(pretrained):
    new = make(window_length=8, random_state=1).fit(PANEL, fh=FH)
    assert not starts_from(new, pretrained.pretrained_)


def test_fitting_forecasts_the_series_that_is_fitted(pretrained):
    forecaster = clone(pretrained).fit(SERIES, fh=[1, 3])
    assert forecaster.horizon_ == 3
    predicted = forecaster.predict()
    assert list(predicted.index) == list(months(53)[[50, 52]])
    assert memory_of(forecaster).code == 0
    higher = clone(pretrained).fit(1e4 * SERIES + 3e5, fh=[1, 3])
    assert starts_from(higher, pretrained.pretrained_)
    np.testing.assert_allclose((higher.predict() - 3e5) / 1e4, predicted, rtol=1e-4)


def test_known_series_keep_their_identity(pretrained):
    y = make_panel((40, 40, 40, 40)).loc[["c", "d", "a"]]
    forecaster = clone(pretrained).fit(y, fh=FH)
    codes = {key: memory.code for key, memory in forecaster._memories.items()}
    assert codes == {("c",): 3, ("d",): 0, ("a",): 1}
    again = make(window_length=8).fit(PANEL, fh=FH)
    assert starts_from(again, pretrained.pretrained_)  # the same data and seed
    assert_array_equal(forecaster.predict().loc["c"], again.predict().loc["c"])


def test_a_second_fit_starts_from_the_pretrained_net_again(pretrained):
    forecaster = clone(pretrained).set_params(fine_tune_epochs=2)
    forecaster.fit(SERIES, fh=FH)
    first = weights_of(forecaster)
    assert not starts_from(forecaster, pretrained.pretrained_)
    forecaster.fit(SERIES, fh=FH)
    assert equal_weights(weights_of(forecaster), first)
    forecaster.set_params(fine_tune_epochs=0).fit(SERIES, fh=FH)
    assert starts_from(forecaster, pretrained.pretrained_)


@pytest.mark.parametrize("calibration", ["refit", "split", None])
def test_intervals_are_calibrated_on_the_series_that_is_fitted(calibration):
    forecaster = pretrain(calibration=calibration)
    net = forecaster.pretrained_
    forecaster.fit(SERIES, fh=FH)
    assert starts_from(forecaster, net)
    if calibration is None:
        with pytest.raises(ValueError, match="no held-out errors"):
            forecaster.predict_interval()
        return
    assert np.isfinite(forecaster.predict_interval()).to_numpy().all()
    assert forecaster._calibration.sorted.shape == (25, 1, 3)


# Fine-tuning


class Rates(Callback):
    """Keep the learning rates; a copy is the same object."""

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def on_batch_begin(self, net, training=False, **kwargs):
        self.seen.append(net.optimizer_.param_groups[0]["lr"])


@pytest.mark.parametrize("early_stopping", [False, True, "auto"])
def test_fine_tuning_takes_small_steps_for_its_epochs(early_stopping, pretrained):
    rates = Rates()
    forecaster = clone(pretrained).set_params(
        fine_tune_epochs=3, callbacks=[rates], early_stopping=early_stopping
    )
    forecaster.fit(SERIES, fh=FH)
    assert not starts_from(forecaster, pretrained.pretrained_)
    assert forecaster.n_iter_ == 2 + 3
    np.testing.assert_allclose(rates.seen, 0.1 * forecaster.lr)
    other = clone(pretrained).set_params(fine_tune_epochs=3)
    assert same_weights(other.fit(SERIES, fh=FH), forecaster)


@pytest.mark.parametrize("update_params", [False, True])
def test_neither_fits_nor_updates_change_the_pretrained_net(update_params, pretrained):
    forecaster = clone(pretrained).set_params(fine_tune_epochs=1)
    net = forecaster.pretrained_
    before = net.state_dict()
    forecaster.fit(SERIES[:40], fh=FH)
    fitted = weights_of(forecaster)
    forecaster.update(SERIES[40:], update_params=update_params)
    assert equal_weights(weights_of(forecaster), fitted) is (not update_params)
    assert forecaster.pretrained_ is net
    assert equal_weights(net.state_dict(), before)
    net.state_dict()["linear.weight"].fill_(7.0)  # a copy
    assert equal_weights(net.state_dict(), before)


def test_the_net_of_a_fitted_forecaster_is_a_start_too():
    fitted = make(window_length=8).fit(PANEL, fh=FH)
    net = PretrainedNet.from_forecaster(fitted)
    assert starts_from(fitted, net)
    fitted.update(PANEL, update_params=True)
    assert not starts_from(fitted, net)
    forecaster = make(window_length=8, pretrained=net).fit(SERIES, fh=FH)
    assert starts_from(forecaster, net)
    assert "window_length=8, horizon=3" in repr(net)


def test_two_pretrainings_of_one_seed_are_equal(pretrained):
    again = pretrain()
    assert equal_weights(
        again.pretrained_.state_dict(), pretrained.pretrained_.state_dict()
    )


@pytest.mark.parametrize("fh", [None, FH, [2]])
def test_pretraining_twice_goes_on(fh, pretrained):
    forecaster = clone(pretrained)
    first = forecaster.pretrained_
    more = make_panel((30, 30), n_columns=1)
    forecaster.pretrain(more, fh=fh)
    second = forecaster.pretrained_
    assert second is not first
    assert second.horizon == 3
    assert equal_weights(first.state_dict(), pretrained.pretrained_.state_dict())
    assert not equal_weights(second.state_dict(), first.state_dict())
    forecaster.fit(SERIES, fh=FH)
    assert starts_from(forecaster, second)
    assert forecaster.n_iter_ == 4
    # It is the first net that was trained on, not a new one.
    new = pretrain(more)
    assert not equal_weights(second.state_dict(), new.pretrained_.state_dict())
    gentle = clone(pretrained).set_params(lr=1e-12, weight_decay=0.0).pretrain(more)
    weights = gentle.pretrained_.state_dict()
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(weights[name], weight)


def test_pretraining_goes_on_from_the_net_that_was_given(pretrained):
    given = make(window_length=8, pretrained=pretrained.pretrained_)
    given.pretrain(PANEL)
    expected = clone(pretrained).pretrain(PANEL)
    assert equal_weights(
        given.pretrained_.state_dict(), expected.pretrained_.state_dict()
    )
    assert starts_from(given.fit(SERIES, fh=FH), given.pretrained_)


def test_another_net_may_be_given_instead(pretrained):
    other = PretrainedNet.from_forecaster(
        make(window_length=8, random_state=5).fit(PANEL, fh=FH)
    )
    forecaster = clone(pretrained).set_params(pretrained=other)
    assert starts_from(forecaster.fit(SERIES, fh=FH), other)


# In sktime's company


@announced
def test_a_search_over_the_epochs_of_fine_tuning(pretrained):
    search = ForecastingGridSearchCV(
        clone(pretrained),
        ExpandingWindowSplitter(fh=FH, initial_window=40, step_length=5),
        {"fine_tune_epochs": [0, 1, 3]},
        scoring=MeanAbsolutePercentageError(),
        backend="None",
        error_score="raise",
    ).fit(SERIES, fh=FH)
    scores = search.cv_results_["mean_test_MeanAbsolutePercentageError"]
    assert scores.nunique() == 3
    best = search.best_params_["fine_tune_epochs"]
    expected = clone(pretrained).set_params(fine_tune_epochs=best).fit(SERIES, fh=FH)
    assert same_weights(search.best_forecaster_, expected)
    assert starts_from(search.best_forecaster_, pretrained.pretrained_) is (best == 0)


@announced
def test_a_search_without_fine_tuning_keeps_the_weights(pretrained):
    given = make(window_length=8, pretrained=pretrained.pretrained_)
    for template in (clone(pretrained), given):
        search = ForecastingGridSearchCV(
            template,
            ExpandingWindowSplitter(fh=FH, initial_window=45, step_length=5),
            {"fine_tune_epochs": [0]},
            backend="None",
            error_score="raise",
        ).fit(SERIES, fh=FH)
        assert starts_from(search.best_forecaster_, pretrained.pretrained_)
        assert_array_equal(
            search.predict(), clone(pretrained).fit(SERIES, fh=FH).predict()
        )


@announced
@pytest.mark.parametrize("strategy", ["refit", "no-update_params"])
def test_a_backtest_starts_each_fit_from_the_pretrained_net(strategy, pretrained):
    results = evaluate(
        clone(pretrained),
        ExpandingWindowSplitter(fh=FH, initial_window=40, step_length=4),
        SERIES,
        strategy=strategy,
        scoring=MeanAbsolutePercentageError(),
        return_data=True,
        return_model=True,
        error_score="raise",
    )
    assert len(results) > 1
    for forecaster, predicted in zip(
        results["fitted_forecaster"], results["y_pred"], strict=True
    ):
        assert starts_from(forecaster, pretrained.pretrained_)
        start = predicted.index[0]
        past = SERIES[SERIES.index < start]
        alone = clone(pretrained)
        if strategy == "refit":
            alone.fit(past, fh=FH)
        else:
            alone.fit(SERIES[:40], fh=FH)
            if len(past) > 40:
                alone.update(past[40:], update_params=False)
        np.testing.assert_allclose(alone.predict(), predicted, rtol=1e-6)


# Conflicts


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"architecture": "temporal_attention"}, r"architecture="),
        ({"architecture__d_model": 16}, r"architecture=.*d_model=16"),
        ({"window_length": 9}, r"window_length=9 \(the net has 8\)"),
        ({"normalization": None}, r"normalization=None \(the net has 'last'\)"),
        ({"linear_skip": "learned"}, r"linear_skip='learned' \(the net has 'ols'\)"),
        ({"likelihood": "normal"}, r"likelihood='normal' \(the net has None\)"),
        ({"precision": "float64"}, r"precision='float64' \(the net has 'float32'\)"),
        ({"past_covariates": ["x"]}, r"past_covariates=\['x'\]"),
        ({"static_covariates": ["x"]}, r"static_covariates=\['x'\]"),
    ],
)
def test_parameters_that_contradict_the_net_are_named(params, message, pretrained):
    given = make(window_length=8, pretrained=pretrained.pretrained_)
    for forecaster in (clone(pretrained), given):
        with pytest.raises(ValueError, match=message):
            forecaster.set_params(**params).fit(SERIES, fh=FH)
    with pytest.raises(ValueError, match=message):
        clone(pretrained).set_params(**params).pretrain(PANEL)


def test_quantiles_that_contradict_the_net_are_named():
    quantiles = np.array([0.1, 0.5, 0.9])
    forecaster = pretrain(likelihood="quantile", quantiles=quantiles)
    for same in (quantiles.copy(), (0.1, 0.5, 0.9), [0.1, 0.5, 0.9]):
        fitted = clone(forecaster).set_params(quantiles=same).fit(SERIES, fh=FH)
        assert starts_from(fitted, forecaster.pretrained_)
    for other in ([0.1, 0.5, 0.95], None, [0.5, 0.9]):
        with pytest.raises(ValueError, match="quantiles="):
            clone(forecaster).set_params(quantiles=other).fit(SERIES, fh=FH)


def test_parameters_of_training_may_change(pretrained):
    forecaster = clone(pretrained).set_params(
        lr=0.1, max_epochs=7, batch_size=3, random_state=99, calibration="split"
    )
    assert starts_from(forecaster.fit(SERIES, fh=FH), pretrained.pretrained_)


def test_a_longer_horizon_is_refused(pretrained):
    for fh in ([4], [1, 2, 3, 10]):
        with pytest.raises(ValueError, match=rf"{fh[-1]} steps, .* forecasts 3"):
            clone(pretrained).fit(SERIES, fh=fh)


def test_another_number_of_columns_is_refused(pretrained):
    frame = pd.DataFrame({"a": SERIES, "b": SERIES})
    with pytest.raises(ValueError, match=r"2 columns, but .* forecasts 1"):
        clone(pretrained).fit(frame, fh=FH)


def test_covariates_are_the_same_in_both(pretrained):
    X = pd.DataFrame({"x": np.arange(50.0)}, index=SERIES.index)
    with pytest.raises(ValueError, match=r"fit got X, but .* with none"):
        clone(pretrained).fit(SERIES, X=X, fh=FH)
    exogenous = pd.DataFrame({"x": np.tile(np.arange(40.0), 3)}, index=PANEL.index)
    forecaster = make(window_length=8).pretrain(PANEL, X=exogenous, fh=FH)
    with pytest.raises(ValueError, match=r"fit got no X, but .* with one"):
        clone(forecaster).fit(SERIES, fh=FH)
    with pytest.raises(ValueError, match=r"\['other'\]"):
        clone(forecaster).fit(SERIES, X=X.rename(columns={"x": "other"}), fh=FH)
    fitted = clone(forecaster).fit(SERIES, X=X, fh=FH)
    assert starts_from(fitted, forecaster.pretrained_)
    later = pd.DataFrame({"x": np.arange(50.0, 53)}, index=months(53)[50:])
    assert np.isfinite(fitted.predict(X=later)).all()


def test_a_shorter_series_than_the_window(pretrained):
    forecaster = clone(pretrained).fit(SERIES[:3], fh=FH)
    assert forecaster.window_length_ == 8
    assert starts_from(forecaster, pretrained.pretrained_)
    assert np.isfinite(forecaster.predict()).all()


def test_the_first_pretraining_needs_a_horizon():
    with pytest.raises(ValueError, match="pass fh"):
        make(window_length=8).pretrain(PANEL)


@pytest.mark.parametrize("other", ["weights.pt", make(), PretrainedNet])
def test_something_else_is_no_pretrained_net(other):
    with pytest.raises(ValueError, match=r"(?s)pretrained=.*from_forecaster"):
        make(SMALL, pretrained=other).fit(SERIES, fh=FH)


def test_the_net_of_a_pretrained_forecaster_is_its_own(pretrained):
    assert PretrainedNet.from_forecaster(pretrained) is pretrained.pretrained_


def test_only_a_trained_attention_forecaster_has_a_net():
    with pytest.raises(NotFittedError):
        PretrainedNet.from_forecaster(make())
    with pytest.raises(TypeError, match="LinearForecaster is none"):
        PretrainedNet.from_forecaster(LinearForecaster().fit(SERIES, fh=FH))


def test_an_architecture_given_by_name_is_the_same(pretrained):
    named = make("self_attention", window_length=8)
    named.set_params(architecture__d_model=8, architecture__num_heads=2)
    named.set_params(architecture__num_layers=1)
    forecaster = named.set_params(pretrained=pretrained.pretrained_)
    assert starts_from(forecaster.fit(SERIES, fh=FH), pretrained.pretrained_)
    assert isinstance(forecaster.architecture_, SelfAttention)
