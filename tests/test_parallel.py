"""Searches give the same numbers in one process, in several, and in threads."""

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_backend
from numpy.testing import assert_array_equal
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sktime.datasets import load_airline
from sktime.forecasting.model_selection import (
    ForecastingGridSearchCV,
    ForecastingRandomizedSearchCV,
)
from sktime.performance_metrics.forecasting import MeanAbsolutePercentageError
from sktime.split import ExpandingWindowSplitter

import skattn
from skattn import (
    Architecture,
    AttentionClassifier,
    AttentionForecaster,
    AttentionRegressor,
    _registry,
)
from skattn.architectures import SelfAttention, TemporalAttention

BACKENDS = ["loky", "threading"]
SHARED = SelfAttention(d_model=8, num_heads=2, num_layers=1)

# Over architectures, by name and by instance, and inside one.
GRID = [
    {
        "net__architecture": [
            "bidirectional_attention",
            TemporalAttention(d_model=8, dropout=0.2),
        ]
    },
    {
        "net__architecture": [SHARED],
        "net__architecture__num_heads": [1, 4],
        "net__max_epochs": [1, 2],
    },
]

# sktime's own forecasters and searches announce a change of sktime 1.3.
announced = pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")


def frame(n=60):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"number": rng.normal(size=n), "other": rng.normal(size=n)})
    X["text"] = rng.choice(["a", "b", "c"], size=n)
    y = (X["number"] + 0.5 * rng.normal(size=n) > 0).to_numpy(dtype=int)
    X.loc[3, "number"] = np.nan
    return X, y


def pipeline(**params):
    # Beside a linear start, attention may not count on so few rows.
    defaults = {"linear_skip": False, "random_state": 0, "num_threads": 1}
    defaults["max_epochs"] = 1
    net = AttentionClassifier(SHARED, **{**defaults, **params})
    return Pipeline([("same", FunctionTransformer()), ("net", net)])


def scores_of(search):
    return {
        name: values
        for name, values in search.cv_results_.items()
        if name.startswith(("split", "mean_test", "std_test", "rank"))
    }


def assert_same_search(found, expected):
    ours, theirs = scores_of(found), scores_of(expected)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert_array_equal(values, theirs[name], err_msg=name)
    assert repr(found.best_params_) == repr(expected.best_params_)


@pytest.fixture(scope="module")
def serial():
    X, y = frame()
    search = GridSearchCV(
        pipeline(), GRID, cv=3, scoring="neg_log_loss", error_score="raise"
    )
    return search.fit(X, y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_search_over_and_inside_architectures(serial, backend):
    X, y = frame()
    search = GridSearchCV(
        pipeline(), GRID, cv=3, scoring="neg_log_loss", error_score="raise", n_jobs=2
    )
    with parallel_backend(backend):
        search.fit(X, y)
    assert_same_search(search, serial)
    assert_array_equal(search.predict_proba(X), serial.predict_proba(X))


def test_each_row_of_a_search_has_its_own_parameters(serial):
    rows = serial.cv_results_["params"]
    heads = [row.get("net__architecture__num_heads") for row in rows]
    assert heads == [None, None, 1, 1, 4, 4]
    assert rows[0] == {"net__architecture": "bidirectional_attention"}
    assert SHARED.num_heads == 2
    assert GRID[1]["net__architecture"] == [SHARED]
    assert repr(rows[1]["net__architecture"]) == repr(GRID[0]["net__architecture"][1])
    # Different candidates were really fitted.
    assert len(set(serial.cv_results_["mean_test_score"])) == 6
    best = serial.best_params_
    if "net__architecture__num_heads" in best:
        fitted = serial.best_estimator_["net"].architecture_
        assert fitted.num_heads == best["net__architecture__num_heads"]


def test_a_single_candidate_is_what_fitting_it_gives(serial):
    X, y = frame()
    candidate = pipeline().set_params(**serial.cv_results_["params"][4])
    scores = cross_val_score(candidate, X, y, cv=3, scoring="neg_log_loss")
    expected = [serial.cv_results_[f"split{fold}_test_score"][4] for fold in range(3)]
    assert_array_equal(scores, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cross_validation(backend):
    X, _ = frame()
    reg = AttentionRegressor(SHARED, max_epochs=2, random_state=0, num_threads=1)
    reg.set_params(linear_skip=False)
    target = X["other"].to_numpy() * 3
    expected = cross_val_score(reg, X, target, cv=3)
    predicted = cross_val_predict(reg, X, target, cv=3)
    with parallel_backend(backend):
        assert_array_equal(cross_val_score(reg, X, target, cv=3, n_jobs=2), expected)
        assert_array_equal(cross_val_predict(reg, X, target, cv=3, n_jobs=2), predicted)
    assert not hasattr(reg, "net_")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_random_search_over_a_declared_space(backend):
    X, y = frame()
    space = skattn.search_space(
        "self_attention", prefix="net__", include=["d_model", "dropout"]
    )
    searches = [
        RandomizedSearchCV(
            pipeline(),
            space,
            n_iter=3,
            cv=2,
            scoring="neg_log_loss",
            random_state=0,
            error_score="raise",
            n_jobs=n_jobs,
        )
        for n_jobs in (None, 2)
    ]
    searches[0].fit(X, y)
    with parallel_backend(backend):
        searches[1].fit(X, y)
    assert_same_search(searches[1], searches[0])
    drawn = [
        row["net__architecture__dropout"] for row in searches[0].cv_results_["params"]
    ]
    assert len(set(drawn)) == 3


def test_threads_leave_torch_as_it_was():
    X, y = frame()
    before, state = torch.get_num_threads(), torch.get_rng_state()
    search = GridSearchCV(
        pipeline(num_threads=before + 1), {"net__lr": [1e-3, 1e-2]}, cv=2, n_jobs=2
    )
    with parallel_backend("threading"):
        search.fit(X, y)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_the_sample_weights_of_a_search():
    X, y = frame()
    weight = 1 + np.arange(60) % 2
    searches = [
        GridSearchCV(pipeline(), {"net__lr": [1e-3, 1e-2]}, cv=2, n_jobs=n_jobs)
        for n_jobs in (None, 2)
    ]
    for search in searches:
        search.fit(X, y, net__sample_weight=weight)
    assert_same_search(searches[1], searches[0])


# Architectures that live in one process


@pytest.fixture
def local(monkeypatch):
    monkeypatch.setattr(_registry, "_registered", {})

    @skattn.register
    class Local(Architecture):
        api_version = 1
        name = "local"
        supports = {"table": {"classification"}}
        citation = "Nobody in particular (2026)"

        def __init__(self, width=4):
            self.width = width

        def build(self, data):
            from torch import nn

            class Net(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.hidden = nn.Linear(data.n_features, width)
                    self.head = nn.Linear(width, data.n_outputs)

                def forward(self, x):
                    return self.head(self.hidden(x).relu())

            return Net(self.width)

    return Local


def search_of(architecture, **params):
    net = AttentionClassifier(
        architecture, linear_skip=False, max_epochs=1, random_state=0, num_threads=1
    )
    grid = {"lr": [1e-3, 1e-2]}
    return GridSearchCV(net, grid, cv=2, scoring="neg_log_loss", **params)


def test_a_registered_name_needs_an_instance_in_other_processes(local):
    X, y = frame()
    X = X[["number", "other"]]
    by_name = search_of("local", error_score="raise").fit(X, y)
    with (
        parallel_backend("loky"),
        pytest.raises(ValueError, match="give a parallel search an instance instead"),
    ):
        search_of("local", error_score="raise", n_jobs=2).fit(X, y)
    with parallel_backend("loky"):
        by_instance = search_of(local(), error_score="raise", n_jobs=2).fit(X, y)
    assert_same_search(by_instance, by_name)
    with parallel_backend("threading"):
        in_threads = search_of("local", error_score="raise", n_jobs=2).fit(X, y)
    assert_same_search(in_threads, by_name)


# Forecasts


def forecasting_search(backend=None, grid=None, kind=ForecastingGridSearchCV, **params):
    forecaster = AttentionForecaster(
        SHARED, calibration=None, max_epochs=1, random_state=0, num_threads=1
    )
    splitter = ExpandingWindowSplitter(fh=[1, 2], initial_window=132, step_length=6)
    parallel = {} if backend is None else {"backend_params": {"n_jobs": 2}}
    return kind(
        forecaster,
        splitter,
        grid or FORECASTING_GRID,
        scoring=MeanAbsolutePercentageError(),
        error_score="raise",
        backend=backend,
        **parallel,
        **params,
    )


FORECASTING_GRID = [
    {"architecture": ["bidirectional_attention", TemporalAttention(d_model=8)]},
    {"architecture": [SHARED], "architecture__num_heads": [1, 4]},
]


@pytest.fixture(scope="module")
def forecasts():
    with pytest.warns(FutureWarning, match="remember_data"):
        return forecasting_search().fit(load_airline(), fh=[1, 2])


@announced
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forecasting_search(forecasts, backend):
    search = forecasting_search(backend).fit(load_airline(), fh=[1, 2])
    score = "mean_test_MeanAbsolutePercentageError"
    assert_array_equal(search.cv_results_[score], forecasts.cv_results_[score])
    assert repr(list(search.cv_results_["params"])) == repr(
        list(forecasts.cv_results_["params"])
    )
    assert_array_equal(search.predict(), forecasts.predict())


@announced
def test_each_row_of_a_forecasting_search_has_its_own_parameters(forecasts):
    rows = list(forecasts.cv_results_["params"])
    assert [row.get("architecture__num_heads") for row in rows] == [None, None, 1, 4]
    assert forecasts.cv_results_["mean_test_MeanAbsolutePercentageError"].nunique() == 4
    assert SHARED.num_heads == 2
    best = forecasts.best_forecaster_.architecture_
    expected = AttentionForecaster(SHARED).set_params(**forecasts.best_params_)
    resolved = expected.set_params(architecture__dropout=best.dropout).architecture
    assert repr(best) == repr(resolved)
    # The score of a row is that of its own candidate.
    alone = forecasting_search(grid={"architecture__num_heads": [4]})
    alone.fit(load_airline(), fh=[1, 2])
    score = "mean_test_MeanAbsolutePercentageError"
    assert alone.cv_results_[score].iloc[0] == forecasts.cv_results_[score].iloc[3]


@announced
def test_a_random_forecasting_search():
    search = forecasting_search(
        kind=ForecastingRandomizedSearchCV,
        grid=skattn.search_space(SHARED, include=["num_heads", "dropout"]),
        n_iter=2,
        random_state=0,
    ).fit(load_airline(), fh=[1, 2])
    drawn = [row["architecture__dropout"] for row in search.cv_results_["params"]]
    assert len(set(drawn)) == 2
    assert SHARED.dropout == SelfAttention().dropout
