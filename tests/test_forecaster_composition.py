"""The forecaster inside sktime's pipelines, searches, ensembles and hierarchies."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from _forecasting import SMALL, make, months, same_weights, waves
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal, assert_series_equal
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sktime.forecasting.compose import (
    BaggingForecaster,
    ColumnEnsembleForecaster,
    EnsembleForecaster,
    FhPlexForecaster,
    ForecastingPipeline,
    ForecastX,
    MultiplexForecaster,
    Permute,
    TransformedTargetForecaster,
    make_reduction,
)
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import (
    ForecastingGridSearchCV,
    ForecastingRandomizedSearchCV,
)
from sktime.forecasting.naive import NaiveForecaster
from sktime.forecasting.reconcile import ReconcilerForecaster
from sktime.performance_metrics.forecasting import (
    MeanAbsoluteError,
    mean_absolute_error,
)
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.bootstrap import MovingBlockBootstrapTransformer
from sktime.transformations.hierarchical.aggregate import Aggregator
from sktime.transformations.series.adapt import TabularToSeriesAdaptor
from sktime.transformations.series.boxcox import LogTransformer
from sktime.transformations.series.detrend import Detrender
from sktime.transformations.series.difference import Differencer
from sktime.transformations.series.exponent import ExponentTransformer

from skattn import (
    AttentionRegressor,
    AttentionTimeSeriesRegressor,
    search_space,
)
from skattn.architectures import TFT, PatchTST, SelfAttention

# sktime's own forecasters and pipelines announce a change of sktime 1.3.
pytestmark = pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")

FH = [1, 2, 3]
Y = waves(48, months(48))
CV = ExpandingWindowSplitter(fh=FH, initial_window=36, step_length=9)
SMALL_PATCHES = PatchTST(8, 2, 1, patch_length=4, stride=4)


def covariates(n=51):
    rng = np.random.default_rng(3)
    values = {"load": rng.normal(5, 2, size=n), "price": rng.normal(size=n)}
    return pd.DataFrame(values, index=months(n))


def log_pipeline(**params):
    return TransformedTargetForecaster(
        [("log", LogTransformer()), ("net", make(**params))]
    )


def by_hand(params, y=Y):
    """Score a forecaster on both folds."""
    errors = []
    for past, future in CV.split_series(y):
        predicted = make().set_params(**params).fit(past, fh=FH).predict()
        errors.append(mean_absolute_error(future, predicted))
    return np.mean(errors)


# Searches


def search_over(forecaster, grid):
    # Without workers of its own, which would each import torch.
    return ForecastingGridSearchCV(
        forecaster,
        CV,
        grid,
        scoring=MeanAbsoluteError(),
        error_score="raise",
        backend=None,
    ).fit(Y, fh=FH)


def test_a_search_over_architectures_and_inside_them():
    grid = [
        {"architecture": [SMALL, SMALL_PATCHES], "normalization": ["last", "instance"]},
        {"architecture": ["temporal_attention"], "architecture__d_model": [4, 8]},
    ]
    search = search_over(make(), grid)
    results = search.cv_results_
    assert len(results) == 6
    assert results["mean_test_MeanAbsoluteError"].nunique() == 6
    scores = results["mean_test_MeanAbsoluteError"]
    for row in (0, 3, 5):
        assert_allclose(scores[row], by_hand(results["params"][row]))
    assert_allclose(search.best_score_, scores.min())
    alone = make().set_params(**search.best_params_).fit(Y, fh=FH)
    assert_series_equal(search.predict(), alone.predict())
    sizes = [one["architecture__d_model"] for one in results["params"][4:]]
    assert sizes == [4, 8]


def test_a_search_leaves_its_templates_as_they_are():
    given = SelfAttention(8, 2, 1)
    forecaster = make(given)
    search = search_over(forecaster, {"architecture__num_heads": [4]})
    assert search.best_forecaster_.architecture_.num_heads == 4
    assert forecaster.architecture is given
    assert given.num_heads == 2


def test_a_random_search_draws_from_the_declared_ranges():
    space = {
        **search_space(SelfAttention(8, 2, 1), include=["num_heads", "dropout"]),
        "lr": loguniform(1e-4, 1e-2),
    }

    def run():
        return ForecastingRandomizedSearchCV(
            make(),
            CV,
            space,
            n_iter=3,
            random_state=0,
            error_score="raise",
            backend=None,
        ).fit(Y, fh=FH)

    search = run()
    rows = list(search.cv_results_["params"])
    assert len({row["lr"] for row in rows}) == 3
    for row in rows:
        assert 1e-4 <= row["lr"] <= 1e-2
        assert row["architecture__num_heads"] in (1, 2, 4, 8)
    assert search.best_forecaster_.architecture_.d_model == 8
    assert_series_equal(search.predict(), run().predict())


def test_a_search_inside_a_pipeline():
    grid = {"net__architecture__num_heads": [1, 4], "log__offset": [0, 1]}
    search = search_over(log_pipeline(), grid)
    best = search.best_params_
    alone = log_pipeline().set_params(**best).fit(Y, fh=FH)
    assert_series_equal(search.predict(), alone.predict())
    heads = search.best_forecaster_.forecaster_.architecture_.num_heads
    assert heads == best["net__architecture__num_heads"]


def test_a_choice_among_forecasters():
    multiplex = MultiplexForecaster([("net", make()), ("naive", NaiveForecaster())])
    search = search_over(
        multiplex,
        [
            {"selected_forecaster": ["naive"]},
            {"selected_forecaster": ["net"], "net__architecture": [SMALL]},
        ],
    )
    scores = search.cv_results_["mean_test_MeanAbsoluteError"]
    assert_allclose(scores[1], by_hand({"architecture": SMALL}))
    assert search.best_params_["selected_forecaster"] == "net"
    assert_series_equal(search.predict(), make().fit(Y, fh=FH).predict())


# Pipelines

TRANSFORMERS = {
    "trend": Detrender,
    "differences": Differencer,
    "root": partial(ExponentTransformer, 0.5),
    "log": LogTransformer,
}


@pytest.mark.parametrize("make_one", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_a_transformed_target_is_forecast_as_by_hand(make_one):
    transformer = make_one()
    pipeline = TransformedTargetForecaster([("by", transformer), ("net", make())])
    predicted = pipeline.fit(Y, fh=FH).predict()
    transformer = transformer.clone()
    alone = make().fit(transformer.fit_transform(Y), fh=FH)
    assert_series_equal(predicted, transformer.inverse_transform(alone.predict()))


def test_operators_make_pipelines():
    net, root, log = make(), ExponentTransformer(0.5), LogTransformer()
    before = (root * log * net).fit(Y, fh=FH).predict()
    steps = [("root", root), ("log", log), ("net", net)]
    same = TransformedTargetForecaster(steps).fit(Y, fh=FH).predict()
    assert_series_equal(before, same)
    after = (net * ExponentTransformer(2)).fit(Y, fh=FH).predict()
    assert_allclose(after, net.clone().fit(Y, fh=FH).predict() ** 2)
    X = covariates()
    scaled = TabularToSeriesAdaptor(StandardScaler()) ** net
    assert isinstance(scaled, ForecastingPipeline)
    assert len(scaled.fit(Y, X=X[:48], fh=FH).predict(X=X[48:])) == 3


def test_intervals_are_carried_back():
    pipeline = log_pipeline(calibration="split").fit(Y, fh=FH)
    alone = make(calibration="split").fit(np.log(Y), fh=FH)
    given = alone.predict_interval(coverage=[0.5, 0.9])
    assert_allclose(pipeline.predict_interval(coverage=[0.5, 0.9]), np.exp(given))
    quantiles = alone.predict_quantiles(alpha=[0.1, 0.5])
    assert_allclose(pipeline.predict_quantiles(alpha=[0.1, 0.5]), np.exp(quantiles))


@pytest.mark.parametrize("consumed", [False, True])
def test_transformed_covariates(consumed):
    net = make(TFT(8) if consumed else SMALL_PATCHES, max_epochs=1)
    X = covariates()
    scaler = TabularToSeriesAdaptor(StandardScaler())
    pipeline = ForecastingPipeline([("scale", scaler), ("net", net)])
    predicted = pipeline.fit(Y, X=X[:48], fh=FH).predict(X=X[48:])
    past = (X[:48] - X[:48].mean()) / X[:48].std(ddof=0)
    future = (X[48:] - X[:48].mean()) / X[:48].std(ddof=0)
    alone = net.clone().fit(Y, X=past, fh=FH)
    assert_allclose(predicted, alone.predict(X=future))
    swapped = alone.predict(X=future[::-1].set_axis(future.index))
    assert np.abs(predicted - swapped).max() > 1e-6


def test_the_order_of_steps_is_a_parameter():
    log, trend, net = LogTransformer(offset=100), Detrender(), make()
    first = TransformedTargetForecaster([("log", log), ("trend", trend), ("net", net)])
    other = TransformedTargetForecaster([("trend", trend), ("log", log), ("net", net)])
    permuted = Permute(first, permutation=["trend", "log", "net"])
    predicted = permuted.fit(Y, fh=FH).predict()
    assert_series_equal(predicted, other.fit(Y, fh=FH).predict())
    assert np.abs(predicted - first.fit(Y, fh=FH).predict()).max() > 1e-6


def test_parameters_of_a_pipeline_reach_the_architecture():
    pipeline = log_pipeline(architecture=SelfAttention(8, 2, 1))
    params = pipeline.get_params()
    assert params["net__architecture__num_heads"] == 2
    copy = pipeline.clone().set_params(net__architecture__num_heads=4, net__lr=0.1)
    assert copy.get_params()["net__architecture__num_heads"] == 4
    assert copy.get_params()["net__lr"] == 0.1
    assert pipeline.get_params()["net__architecture__num_heads"] == 2
    named = log_pipeline().set_params(net__architecture="temporal_attention")
    named.set_params(net__architecture__d_model=4)


@pytest.mark.parametrize("update_params", [False, True])
def test_a_pickled_pipeline_goes_on_alike(update_params):
    pipeline = log_pipeline().fit(Y[:-3], fh=FH)
    copy = pickle.loads(pickle.dumps(pipeline))
    assert_series_equal(copy.predict(), pipeline.predict())
    for one in (copy, pipeline):
        one.update(Y[-3:], update_params=update_params)
    assert_series_equal(copy.predict(), pipeline.predict())
    assert copy.predict().index[0] == Y.index[-1] + 1
    assert same_weights(copy.forecaster_, pipeline.forecaster_)
    moved = not same_weights(pipeline.forecaster_, make().fit(np.log(Y[:-3]), fh=FH))
    assert moved is update_params


# Backtests


@pytest.mark.parametrize("strategy", ["refit", "update", "no-update_params"])
def test_a_backtest_of_a_pipeline_is_a_loop(strategy):
    results = evaluate(
        log_pipeline(),
        CV,
        Y,
        strategy=strategy,
        scoring=MeanAbsoluteError(),
        return_data=True,
        error_score="raise",
    )
    net, predicted = make(), []
    for past, _ in CV.split_series(np.log(Y)):
        if strategy == "refit" or not predicted:
            net.fit(past, fh=FH)
        else:
            new = past[past.index > net.cutoff[0]]
            net.update(new, update_params=strategy == "update")
        predicted.append(np.exp(net.predict()))
    for ours, theirs in zip(results["y_pred"], predicted, strict=True):
        assert_series_equal(ours, theirs, check_names=False)
    errors = [mean_absolute_error(Y[each.index], each) for each in predicted]
    assert_allclose(results["test_MeanAbsoluteError"], errors)


# Hierarchies

TOTALS = "ignore:Found elements in the index of X named '__total'"


@pytest.fixture(scope="module")
def hierarchy():
    """Two shops of two departments, and all their sums."""
    parts = {}
    for number, key in enumerate((a, b) for a in "ab" for b in "xy"):
        one = 10 ** (number / 2) * waves(30, months(30), seed=number)
        parts[key] = one.to_frame("sales")
    y = pd.concat(parts, names=["shop", "department", "time"])
    return Aggregator().fit_transform(y)


@pytest.mark.filterwarnings(TOTALS)
@pytest.mark.parametrize("method", ["bu", "ols", "wls_str", "td_fcst"])
def test_reconciled_forecasts_add_up(hierarchy, method):
    forecaster = make(window_length=6)
    reconciled = ReconcilerForecaster(forecaster, method=method)
    predicted = reconciled.fit(hierarchy, fh=FH).predict()
    base = forecaster.clone().fit(hierarchy, fh=FH).predict()
    assert predicted.index.equals(base.index)
    assert not _adds_up(base)
    assert _adds_up(predicted)


@pytest.mark.filterwarnings(TOTALS)
def test_reconciling_from_the_bottom_keeps_the_bottom(hierarchy):
    forecaster = make(window_length=6)
    reconciled = ReconcilerForecaster(forecaster, method="bu")
    predicted = reconciled.fit(hierarchy, fh=FH).predict()
    departments = hierarchy.index.get_level_values("department")
    base = forecaster.clone().fit(hierarchy[departments != "__total"], fh=FH).predict()
    assert_frame_equal(predicted.loc[base.index], base)


def _adds_up(predicted):
    sales = predicted["sales"]
    departments = [sales.loc[shop, part] for shop in "ab" for part in "xy"]
    shops = [sales.loc[shop, "__total"] for shop in "ab"]
    total = sales.loc["__total", "__total"]
    return (
        np.allclose(sum(departments), total)
        and np.allclose(sum(shops), total)
        and np.allclose(departments[0] + departments[1], shops[0])
    )


# Ensembles and reductions


def test_an_ensemble_is_the_mean():
    members = [("a", make()), ("b", make(SMALL_PATCHES)), ("c", NaiveForecaster())]
    predicted = EnsembleForecaster(members).fit(Y, fh=FH).predict()
    each = [one.clone().fit(Y, fh=FH).predict() for _, one in members]
    assert_allclose(predicted, np.mean(each, axis=0))


def test_columns_may_have_forecasters_of_their_own():
    y = pd.DataFrame({"a": Y, "b": Y[::-1].to_numpy()})
    nets = [("first", make(), "a"), ("second", make(SMALL_PATCHES), "b")]
    predicted = ColumnEnsembleForecaster(nets).fit(y, fh=FH).predict()
    for _, net, column in nets:
        alone = net.clone().fit(y[[column]], fh=FH).predict()
        assert_frame_equal(predicted[[column]], alone)


def test_each_step_may_have_a_net_of_its_own():
    predicted = FhPlexForecaster(make(window_length=6)).fit(Y, fh=FH).predict()
    for step in FH:
        alone = make(window_length=6).fit(Y, fh=[step]).predict()
        assert_allclose(predicted.iloc[[step - 1]], alone)


def test_covariates_may_be_forecast():
    X = covariates(48)
    forecaster = ForecastX(make(max_epochs=1), NaiveForecaster())
    predicted = forecaster.fit(Y, X=X, fh=FH).predict()
    future = pd.concat([X[-1:]] * 3).set_axis(months(51)[48:])
    alone = make(max_epochs=1).fit(Y, X=X, fh=FH)
    assert_series_equal(predicted, alone.predict(X=future))
    both = ForecastX(make(max_epochs=1), make(max_epochs=1))
    guessed = make(max_epochs=1).fit(X, fh=FH).predict()
    predicted = both.fit(Y, X=X, fh=FH).predict()
    assert_allclose(predicted, alone.predict(X=guessed))


def test_bagging_trains_one_net_on_all_bootstraps():
    bootstrap = MovingBlockBootstrapTransformer(
        n_series=4, block_length=6, random_state=0, return_actual=False
    )
    net = make(window_length=6, max_epochs=1)
    bagging = BaggingForecaster(bootstrap, net, random_state=0).fit(Y, fh=FH)
    samples = bootstrap.clone().fit_transform(Y)
    each = net.clone().fit(samples, fh=FH).predict().unstack(0)
    assert each.shape == (3, 4)
    assert_allclose(bagging.predict(), each.mean(axis=1))
    quantiles = bagging.predict_quantiles(alpha=[0.1, 0.9])
    expected = np.quantile(each, [0.1, 0.9], axis=1, method="inverted_cdf")
    assert_allclose(quantiles, expected.T)


SHORT = {"max_epochs": 2, "random_state": 0, "num_threads": 1}
REDUCED = {
    "tabular-regressor": AttentionRegressor,
    "time-series-regressor": AttentionTimeSeriesRegressor,
}


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
@pytest.mark.parametrize("scitype", REDUCED)
def test_regressors_forecast_by_reduction(scitype, strategy):
    regressor, length = REDUCED[scitype](SMALL, **SHORT), 6
    is_tabular = scitype == "tabular-regressor"
    forecaster = make_reduction(
        clone(regressor), strategy=strategy, window_length=length, scitype=scitype
    )
    predicted = forecaster.fit(Y, fh=FH).predict()

    values = Y.to_numpy()
    n = len(values) - length - (2 if strategy == "direct" else 0)
    windows = np.stack([values[start : start + length] for start in range(n)])
    last = values[-length:]

    def forecast(targets, window):
        shape = (-1, length) if is_tabular else (-1, 1, length)
        fitted = clone(regressor).fit(windows.reshape(shape), targets)
        return fitted.predict(window.reshape(shape))[0]

    if strategy == "direct":
        expected = [
            forecast(values[length + step : length + step + n], last)
            for step in range(3)
        ]
    else:
        expected = []
        for _ in FH:
            seen = np.append(last, expected)[-length:]
            expected.append(forecast(values[length:], seen))
    assert_allclose(predicted, expected)
    assert predicted.index.equals(months(51)[48:])
