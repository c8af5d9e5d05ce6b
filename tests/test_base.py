"""Parameters of all facades: architectures are replaced, values checked in fit."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.transformations.series.detrend import Detrender

from skattn import (
    AttentionClassifier,
    AttentionForecaster,
    AttentionRegressor,
    AttentionTimeSeriesClassifier,
    AttentionTimeSeriesRegressor,
)
from skattn._base import draw_seed, stops_early
from skattn.architectures import SelfAttention, TemporalAttention

FACADES = [
    AttentionClassifier,
    AttentionForecaster,
    AttentionRegressor,
    AttentionTimeSeriesClassifier,
    AttentionTimeSeriesRegressor,
]

every_facade = pytest.mark.parametrize("facade", FACADES)


@every_facade
def test_a_name_is_looked_up_before_its_parameters_are_set(facade):
    estimator = facade("self_attention").set_params(architecture__num_heads=8)
    assert estimator.architecture.get_params() == {
        **SelfAttention().get_params(),
        "num_heads": 8,
    }


@every_facade
def test_set_params_never_changes_an_object_that_the_user_gave(facade):
    given = SelfAttention(num_heads=2)
    estimator = facade(given)
    assert estimator.set_params(architecture__num_heads=4) is estimator
    assert given.num_heads == 2
    assert estimator.architecture is not given
    assert estimator.architecture.num_heads == 4


@every_facade
def test_architecture_and_its_parameters_are_set_in_one_call(facade):
    given = TemporalAttention(d_model=16)
    estimator = facade().set_params(
        architecture__dropout=0.3, architecture=given, max_epochs=7
    )
    assert repr(estimator.architecture) == repr(
        TemporalAttention(d_model=16, dropout=0.3)
    )
    assert estimator.max_epochs == 7
    assert given.dropout != 0.3
    estimator.set_params(architecture="self_attention", architecture__num_layers=1)
    assert repr(estimator.architecture) == repr(SelfAttention(num_layers=1))


@every_facade
def test_setting_what_get_params_gave_keeps_the_very_object(facade):
    given = SelfAttention(num_heads=2)
    estimator = facade(given)
    estimator.set_params(**estimator.get_params())
    assert estimator.architecture is given


@every_facade
def test_hyper_parameters_of_an_instance_are_listed(facade):
    assert facade(SelfAttention(d_ff=9)).get_params()["architecture__d_ff"] == 9
    assert "architecture__d_ff" not in facade(SelfAttention()).get_params(deep=False)


@every_facade
def test_unknown_parameters_are_refused(facade):
    with pytest.raises(ValueError, match=r"(?s)num_hats.*num_heads"):
        facade().set_params(architecture__num_hats=2)
    with pytest.raises(ValueError, match="nosuch"):
        facade().set_params(nosuch=2)
    with pytest.raises(ValueError, match="There is no architecture 'nosuch'"):
        facade("nosuch").set_params(architecture__num_heads=2)


def test_a_refused_parameter_leaves_the_architecture_as_it_was():
    given = SelfAttention()
    estimator = AttentionClassifier(given)
    with pytest.raises(ValueError, match="num_hats"):
        estimator.set_params(architecture__num_hats=2)
    assert estimator.architecture is given


def test_nested_in_a_pipeline():
    given = SelfAttention(num_heads=2)
    pipeline = Pipeline([("scale", StandardScaler()), ("net", AttentionRegressor())])
    pipeline.set_params(net__architecture__num_heads=8)
    assert pipeline["net"].architecture.num_heads == 8
    pipeline.set_params(net__architecture=given, net__architecture__d_model=8)
    assert pipeline["net"].architecture.d_model == 8
    assert given.d_model == 32


# sktime's own forecasters announce a change of sktime 1.3.
@pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")
def test_nested_in_a_forecasting_pipeline():
    given = SelfAttention(num_heads=2)
    pipeline = TransformedTargetForecaster(
        [("trend", Detrender()), ("net", AttentionForecaster(given))]
    )
    pipeline.set_params(net__architecture__num_heads=8)
    assert given.num_heads == 2
    assert dict(pipeline.steps)["net"].architecture.num_heads == 8
    pipeline.set_params(net__architecture="temporal_attention")
    pipeline.set_params(net__architecture__d_model=16)
    assert repr(dict(pipeline.steps)["net"].architecture) == repr(
        TemporalAttention(d_model=16)
    )


def test_candidates_that_share_an_architecture_do_not_disturb_each_other():
    shared = SelfAttention()
    first, second = (AttentionForecaster(shared) for _ in range(2))
    first.set_params(architecture__num_heads=1)
    second.set_params(architecture__num_heads=2)
    assert (first.architecture.num_heads, second.architecture.num_heads) == (1, 2)
    assert shared.num_heads == SelfAttention().num_heads


@every_facade
def test_clones_have_architectures_of_their_own(facade):
    estimator = facade(SelfAttention(num_heads=2))
    copy = clone(estimator)
    assert copy.architecture is not estimator.architecture
    assert repr(copy.architecture) == repr(estimator.architecture)


WRONG = [
    ("max_epochs", 0),
    ("lr", -1.0),
    ("batch_size", "big"),
    ("batch_size", 0),
    ("optimizer", 3),
    ("weight_decay", -0.1),
    ("lr_schedule", "step"),
    ("gradient_clip", 0.0),
    ("early_stopping", "yes"),
    ("validation_fraction", 1.0),
    ("patience", 0),
    ("precision", "float16"),
    ("compile", "yes"),
    ("num_threads", 0),
    ("callbacks", "all"),
    ("random_state", "seed"),
    ("verbose", -1),
    ("net_params", [1]),
]


def data_of(facade):
    rng = np.random.default_rng(0)
    if facade is AttentionForecaster:
        return pd.Series(rng.normal(size=20)), {"fh": [1, 2]}
    shape = (
        (12, 3) if facade in (AttentionClassifier, AttentionRegressor) else (12, 2, 5)
    )
    return rng.normal(size=shape), {"y": np.arange(12) % 2}


@pytest.mark.parametrize(("name", "value"), WRONG)
@every_facade
def test_values_are_checked_in_fit_and_not_before(facade, name, value):
    estimator = facade(**{name: value})
    estimator = clone(estimator.set_params(**{name: value}))
    X, arguments = data_of(facade)
    with pytest.raises(ValueError, match=f"'{name}' parameter of"):
        estimator.fit(X, **arguments)


@pytest.mark.parametrize(
    ("facade", "name", "value"),
    [
        (AttentionClassifier, "class_weight", "even"),
        (AttentionClassifier, "input_scaling", "minmax"),
        (AttentionClassifier, "linear_skip", "ols"),
        (AttentionClassifier, "warm_start", "yes"),
        (AttentionRegressor, "loss", "log_loss"),
        (AttentionRegressor, "quantile", 1.5),
        (AttentionTimeSeriesRegressor, "loss", "log_loss"),
        (AttentionForecaster, "loss", "poisson"),
        (AttentionForecaster, "window_length", 0),
        (AttentionForecaster, "normalization", "revin"),
        (AttentionForecaster, "linear_skip", True),
        (AttentionForecaster, "calibration", "full"),
    ],
)
def test_parameters_of_single_facades_are_checked_in_fit(facade, name, value):
    X, arguments = data_of(facade)
    with pytest.raises(ValueError, match=f"'{name}' parameter of"):
        facade(**{name: value}).fit(X, **arguments)


@every_facade
def test_what_is_no_architecture_is_refused_in_fit(facade):
    X, arguments = data_of(facade)
    with pytest.raises(ValueError, match=r"an instance of skattn\.Architecture, not 3"):
        facade(3).fit(X, **arguments)
    with pytest.raises(
        ValueError, match=r"self_atention.*Did you mean 'self_attention"
    ):
        facade("self_atention").fit(X, **arguments)


def test_a_class_instead_of_an_instance_gets_the_way_out():
    with pytest.raises(ValueError, match=r"architecture=SelfAttention\(\)"):
        AttentionClassifier(SelfAttention).set_params(architecture__d_model=8)


def test_an_architecture_that_serves_another_task_is_refused():
    class SeriesOnly(SelfAttention):
        name = "series_only"
        supports = {"series": {"regression"}}

    X, arguments = data_of(AttentionClassifier)
    with pytest.raises(ValueError, match=r"'series_only' does not support classif"):
        AttentionClassifier(SeriesOnly()).fit(X, **arguments)
    y, arguments = data_of(AttentionForecaster)
    with pytest.raises(ValueError, match="It supports series: regression"):
        AttentionForecaster(SeriesOnly()).fit(y, **arguments)


def test_seeds():
    assert draw_seed(3) == draw_seed(3) != draw_seed(4)
    state = np.random.RandomState(3)
    assert draw_seed(state) != draw_seed(state)
    assert {type(draw_seed(None)), type(draw_seed(0))} == {int}


def test_automatic_early_stopping_begins_at_a_thousand_samples():
    assert not stops_early("auto", 999)
    assert stops_early("auto", 1000)
    assert stops_early(True, 2)
    assert not stops_early(False, 10_000)


def test_fitting_leaves_parameters_alone():
    pipeline = make_pipeline(StandardScaler(), AttentionClassifier(max_epochs=1))
    before = repr(pipeline)
    X, arguments = data_of(AttentionClassifier)
    pipeline.fit(X, **arguments)
    assert repr(pipeline) == before
    assert pipeline[-1].architecture == "self_attention"


@every_facade
def test_a_class_instead_of_an_instance_gets_the_way_out_in_fit(facade):
    X, arguments = data_of(facade)
    with pytest.raises(ValueError, match=r"architecture=SelfAttention\(\)"):
        facade(SelfAttention).fit(X, **arguments)
