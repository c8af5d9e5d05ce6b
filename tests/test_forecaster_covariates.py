"""Exogenous series: their roles, what is missing or new, and that they count."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from _forecasting import make, make_panel, memory_of, months, same_weights, waves
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sktime.forecasting.model_evaluation import evaluate
from sktime.split import ExpandingWindowSplitter

from skattn.architectures import (
    TFT,
    ITransformer,
    PatchTST,
    SelfAttention,
    TemporalAttention,
    Transformer,
)

FH = [1, 2, 3]
N = 60
SERIES = waves(N, months(N))
PAST, STATIC = ["weather"], ["size", "kind"]


def exogenous(n=N + 3, seed=0, index=None):
    """Give columns of all roles; those of the past and static ones are named."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "price": rng.normal(size=n),
            "holiday": rng.random(n) < 0.3,
            "campaign": rng.choice(["none", "tv", "web"], size=n),
            "weather": rng.normal(size=n),
            "size": 3.5,
            "kind": "shop",
        },
        index=months(n) if index is None else index,
    )


X = exogenous()
FUTURE = X[N:][["price", "holiday", "campaign"]]
ROLES = {"past_covariates": PAST, "static_covariates": STATIC, "window_length": 8}
NETS = [
    SelfAttention(d_model=8, num_heads=2, num_layers=1),
    TemporalAttention(d_model=8),
    TFT(d_model=8, num_heads=2),
    Transformer(d_model=8, num_heads=2, num_layers=1),
    ITransformer(d_model=8, num_heads=2, num_layers=1),
]
each_net = pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)


def panel(keys="abc", n=40, seed=0):
    """Give series and covariates of a panel, those of the horizon apart."""
    y = make_panel((n,) * len(keys))
    parts = {}
    for number, key in enumerate(keys):
        part = exogenous(n + 3, seed + number)
        part["size"], part["kind"] = float(number), ["shop", "mall"][number % 2]
        parts[key] = part
    whole = pd.concat(parts, names=y.index.names)
    times = whole.index.get_level_values(-1)
    return y, whole[times < months(n + 1)[n]], whole[times >= months(n + 1)[n]]


# Roles


@each_net
def test_all_roles_at_once(net):
    forecaster = make(net, calibration="split", **ROLES)
    forecaster.fit(SERIES, X=X[:N], fh=FH)
    data = forecaster.net_.module.data
    assert data.channel_names == ("waves", "weather")
    assert data.known_names == ("price", "holiday", "campaign")
    assert (data.n_known, data.known_category_counts) == (2, (4,))
    assert data.static_names == ("size", "kind")
    assert (data.n_static, data.static_category_counts) == (1, (2,))
    predicted = forecaster.predict(X=FUTURE)
    assert np.isfinite(predicted).all()
    intervals = forecaster.predict_interval(X=FUTURE, coverage=0.9)
    assert (intervals.iloc[:, 0] < predicted).all()
    forecaster.update(SERIES[-3:], X=X[N - 3 : N])
    assert np.isfinite(forecaster.predict(X=FUTURE)).all()


@pytest.mark.parametrize("columns", [["price"], ["campaign"], PAST, STATIC])
def test_each_role_alone(columns):
    params = {
        "past_covariates": [name for name in columns if name in PAST] or None,
        "static_covariates": [name for name in columns if name in STATIC] or None,
        "window_length": 8,
    }
    forecaster = make(**params).fit(SERIES, X=X[:N][columns], fh=FH)
    needs_future = columns not in (PAST, STATIC)
    future = FUTURE[columns] if needs_future else None
    assert np.isfinite(forecaster.predict(X=future)).all()
    alone = make(window_length=8).fit(SERIES, fh=FH)
    assert not np.array_equal(forecaster.predict(X=future), alone.predict())


def test_columns_that_are_not_needed_may_be_passed_or_not():
    forecaster = make(**ROLES).fit(SERIES, X=X[:N], fh=FH)
    expected = forecaster.predict(X=FUTURE)
    changed = X.assign(weather=1e6)
    for given in (X[N:], X, changed[N:], X[N:].drop(columns="weather"), X[::-1]):
        assert_array_equal(forecaster.predict(X=given.sort_index()), expected)
    assert_array_equal(forecaster.predict(X=FUTURE[FUTURE.columns[::-1]]), expected)


def test_known_covariates_of_the_future_count_and_past_ones_of_the_window():
    forecaster = make(**ROLES).fit(SERIES, X=X[:N], fh=FH)
    expected = forecaster.predict(X=FUTURE)
    for name, value in (("price", 9.0), ("campaign", "tv"), ("holiday", True)):
        other = forecaster.predict(X=FUTURE.assign(**{name: value}))
        assert not np.array_equal(other, expected), name
    other = copy.deepcopy(forecaster)
    memory_of(other).X["weather"] *= -2.0
    assert not np.array_equal(other.predict(X=FUTURE), expected)


def test_two_fits_of_one_seed_are_equal():
    y, past, future = panel()
    params = {"calibration": "refit", **ROLES}
    first = make(**params).fit(y, X=past, fh=FH)
    torch.manual_seed(99)
    second = make(**params).fit(y, X=past, fh=FH)
    assert same_weights(first, second)
    assert_array_equal(first.predict(X=future), second.predict(X=future))
    copied = pickle.loads(pickle.dumps(first))
    assert_array_equal(copied.predict(X=future), first.predict(X=future))
    assert same_weights(clone(first).fit(y, X=past, fh=FH), first)


def test_an_architecture_without_a_use_for_past_covariates_refuses_them():
    net = PatchTST(d_model=8, num_heads=2, num_layers=1)
    with pytest.raises(ValueError, match=r"'patchtst' .* \['weather'\]"):
        make(net, **ROLES).fit(SERIES, X=X[:N], fh=FH)
    forecaster = make(net, window_length=8, static_covariates=STATIC)
    forecaster.fit(SERIES, X=X[:N].drop(columns="weather"), fh=FH)
    assert np.isfinite(forecaster.predict(X=FUTURE)).all()


def test_roles_name_columns_of_X():
    for params, message in (
        ({"past_covariates": ["rain"]}, r"past_covariates .*\['rain'\]"),
        ({"static_covariates": ["sizes"]}, r"static_covariates .*Did you mean 'size'"),
        ({"static_covariates": ["price"]}, r"'price', .*constant"),
        ({"past_covariates": "price"}, r"\['price'\]|past_covariates"),
    ):
        with pytest.raises(ValueError, match=message):
            make(window_length=8, **params).fit(SERIES, X=X[:N], fh=FH)
    for names in (PAST, tuple(PAST), np.array(PAST), pd.Index(PAST)):
        with pytest.raises(ValueError, match=r"\['weather'\] are named, .* no X"):
            make(past_covariates=names).fit(SERIES, fh=FH)
    make(past_covariates=[], max_epochs=1).fit(SERIES, fh=FH)


# A planted effect


def planted(n=400, seed=0):
    """A wave, plus three where there is a promotion, less two on a Sunday."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(
        {
            "promotion": (rng.random(n) < 0.3).astype(float),
            "day": rng.choice(["weekday", "sunday"], p=[0.8, 0.2], size=n),
        }
    )
    effect = 3.0 * x["promotion"] - 2.0 * (x["day"] == "sunday")
    y = np.sin(np.arange(n) / 3) + effect + 0.05 * rng.normal(size=n)
    return y.rename("y"), x


def effects_in(forecaster, n_steps):
    """Change one covariate of the future at a time, at the second step."""
    index = pd.RangeIndex(n_steps, n_steps + 4)
    plain = pd.DataFrame({"promotion": 0.0, "day": "weekday"}, index=index)
    promotion, sunday = plain.copy(), plain.copy()
    promotion.iloc[1, 0] = 1.0
    sunday.iloc[1, 1] = "sunday"
    expected = forecaster.predict(X=plain)
    return np.stack(
        [forecaster.predict(X=each) - expected for each in (promotion, sunday)]
    )


@pytest.mark.parametrize("normalization", ["last", "instance", None])
@pytest.mark.parametrize("net", NETS[:4], ids=lambda net: net.name)
def test_a_planted_effect_is_forecast(net, normalization):
    y, x = planted()
    forecaster = make(
        net, window_length=8, normalization=normalization, early_stopping=False
    ).fit(y, X=x, fh=[1, 2, 3, 4])
    found = effects_in(forecaster, len(y))
    assert_allclose(found[:, 1], [3.0, -2.0], atol=0.5)
    assert abs(found[:, [0, 2, 3]]).max() < 0.5


def test_a_planted_effect_is_learnt_by_an_architecture_that_consumes_it():
    y, x = planted()
    net = Transformer(d_model=16, num_heads=2, num_layers=1, dropout=0.0)
    forecaster = make(
        net,
        window_length=8,
        linear_skip=None,
        max_epochs=12,
        lr=0.01,
        early_stopping=False,
    ).fit(y, X=x, fh=[1, 2, 3, 4])
    assert not len(forecaster.net_.module_.effects)
    found = effects_in(forecaster, len(y))
    assert_allclose(found[:, 1], [3.0, -2.0], atol=0.7)


def test_a_planted_effect_of_the_past_is_forecast():
    """The covariate of the last step says what comes next."""
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], size=500)
    y = pd.Series(3 * np.roll(sign, 1) + 0.1 * rng.normal(size=500), name="y")
    x = pd.DataFrame({"sign": sign})
    forecaster = make(
        window_length=4,
        max_epochs=15,
        lr=0.02,
        early_stopping=False,
        normalization=None,
        past_covariates=["sign"],
    )
    forecaster.fit(y[:480], X=x[:480], fh=[1])
    hits = []
    for end in range(480, 500):
        hits.append(np.sign(forecaster.predict().iloc[0]) == np.sign(y[end]))
        forecaster.update(y[[end]], X=x.loc[[end]], update_params=False)
    assert np.mean(hits) > 0.9


def test_a_planted_effect_of_static_covariates_is_forecast():
    """Large shops grow, small ones shrink; a new series is told by its size alone."""
    rng = np.random.default_rng(0)
    ys, xs = {}, {}
    for number in range(12):
        size = [-1.0, 1.0][number % 2]
        steps = size * np.arange(40) / 10 + 0.02 * rng.normal(size=40)
        # Each window looks alike: a saw tooth that rises at its end or falls.
        ys[number] = pd.DataFrame({"y": np.where(np.arange(40) % 4 < 3, 0.0, steps)})
        xs[number] = pd.DataFrame({"size": np.full(40, size)})
    y = pd.concat(ys, names=["shop", "time"])
    x = pd.concat(xs, names=["shop", "time"])
    forecaster = make(
        window_length=3,
        max_epochs=15,
        lr=0.02,
        early_stopping=False,
        normalization=None,
        static_covariates=["size"],
    )
    shown = y.index.get_level_values("time") < 39
    forecaster.fit(y[shown], X=x[shown], fh=[1])
    predicted = forecaster.predict().to_numpy()[:, 0]
    assert (predicted[1::2] > predicted[::2] + 0.5).all()


# Categories, and what is new


def test_an_unseen_category_is_unknown():
    forecaster = make(**ROLES).fit(SERIES, X=X[:N], fh=FH)
    new, other = (
        forecaster.predict(X=FUTURE.assign(campaign=value)) for value in ("x", "y")
    )
    assert_array_equal(new, other)
    absent = forecaster.predict(X=FUTURE.assign(campaign=None))
    assert_array_equal(absent, new)
    table = forecaster.net_.module_.effects["known_categories"].tables[0].weight
    assert table[0].all()  # training hides some categories
    known = forecaster.predict(X=FUTURE.assign(campaign="tv"))
    assert not np.array_equal(known, new)


@pytest.mark.parametrize("dtype", ["category", "string", object])
def test_the_dtype_of_categories_does_not_count(dtype):
    expected = make(**ROLES).fit(SERIES, X=X[:N], fh=FH)
    given = X.astype({"campaign": dtype, "kind": dtype})
    found = make(**ROLES).fit(SERIES, X=given[:N], fh=FH)
    assert same_weights(found, expected)
    future = given[N:]
    assert_array_equal(found.predict(X=future), expected.predict(X=FUTURE))
    for forecaster, part in ((found, given), (expected, X)):
        y = waves(N + 2, months(N + 2))[N:]
        forecaster.update(y, X=part[N : N + 2], update_params=False)
    later = exogenous(N + 5)[N + 2 :]
    assert_array_equal(found.predict(X=later), expected.predict(X=later))


def test_an_update_brings_unseen_categories_and_series():
    y, past, future = panel()
    forecaster = make(**ROLES).fit(y, X=past, fh=FH)
    expected = forecaster.predict(X=future)
    new_y, new_past, new_future = panel("abcde", seed=50)
    new = ["d", "e"]
    new_past = new_past.loc[new].assign(campaign="cinema", kind="kiosk")
    forecaster.update(new_y.loc[new], X=new_past, update_params=False)
    both = pd.concat([future, new_future.loc[new]])
    predicted = forecaster.predict(X=both)
    assert_array_equal(predicted.loc[list("abc")], expected)
    assert np.isfinite(predicted).to_numpy().all()
    forecaster.update(new_y.loc[new], X=new_past, update_params=True)
    assert np.isfinite(forecaster.predict(X=both)).to_numpy().all()


# What is missing


def test_known_covariates_are_needed_to_predict():
    forecaster = make(calibration="split", **ROLES).fit(SERIES, X=X[:N], fh=FH)
    for predict in (forecaster.predict, forecaster.predict_interval):
        with pytest.raises(ValueError, match=r"'price', 'holiday', 'campaign'"):
            predict()
    with pytest.raises(ValueError, match=r"lacks the columns \['holiday'\]"):
        forecaster.predict(X=FUTURE.drop(columns="holiday"))
    with pytest.raises(ValueError, match=r"columns \['extra'\]"):
        forecaster.predict(X=FUTURE.assign(extra=1.0))
    with pytest.raises(ValueError, match=r"lacks the times \['2005-02'\]"):
        forecaster.predict(X=FUTURE.drop(FUTURE.index[1]))


def test_steps_that_nobody_asks_for_may_be_absent():
    forecaster = make(**ROLES).fit(SERIES, X=X[:N], fh=[1, 3])
    with pytest.warns(UserWarning, match=r"lacks the times \['2005-02'\]"):
        found = forecaster.predict(X=FUTURE.iloc[[0, 2]])
    stand_in = FUTURE.iloc[[0, 0, 2]].set_axis(FUTURE.index)
    assert_array_equal(found, forecaster.predict(X=stand_in))
    for lacking, absent in ((0, "2005-01"), (2, "2005-03")):
        with pytest.raises(ValueError, match=absent):
            forecaster.predict(X=FUTURE.drop(FUTURE.index[lacking]))


def test_a_forecaster_without_covariates_takes_none():
    forecaster = make(window_length=8).fit(SERIES, fh=FH)
    with pytest.raises(ValueError, match="fitted without X"):
        forecaster.predict(X=FUTURE)


def test_series_of_a_panel_that_X_lacks_are_named():
    y, past, future = panel()
    with pytest.raises(ValueError, match=r"lacks the series .*'b'"):
        make(**ROLES).fit(y, X=past.loc[["a", "c"]], fh=FH)
    forecaster = make(**ROLES).fit(y, X=past, fh=FH)
    with pytest.raises(ValueError, match=r"lacks the series .*'c'"):
        forecaster.predict(X=future.loc[["a", "b"]])


def test_an_update_needs_covariates_with_the_columns_of_fit():
    later = waves(N + 2, months(N + 2))[N:]
    rows = X[N : N + 2]
    fitted = make(**ROLES).fit(SERIES, X=X[:N], fh=FH)
    for given, message in (
        (None, "needs X"),
        (rows.drop(columns="price"), r"\['price'\] are missing"),
        (rows.assign(extra=1.0), r"\['extra'\] are new"),
        (rows.assign(price=np.nan), "'price'"),
        (rows.assign(size=4.0), r"'size', .*constant"),
        (rows.assign(price="much"), "'price'"),
        (rows.assign(weather=np.inf), "infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            copy.deepcopy(fitted).update(later, X=given, update_params=False)
    found, expected = copy.deepcopy(fitted), copy.deepcopy(fitted)
    found.update(later, X=rows[rows.columns[::-1]], update_params=True)
    expected.update(later, X=rows, update_params=True)
    assert same_weights(found, expected)


def test_rows_that_X_lacks_in_fit_are_refused():
    lacking = X[:N].drop(X.index[[10, 30]])
    with pytest.raises(ValueError, match=r"not contained .*'2000-11', '2002-07'"):
        make(**ROLES).fit(SERIES, X=lacking, fh=FH)


def test_gaps_of_known_covariates_are_told_where_training_had_some():
    holed = X.copy()
    holed.loc[X.index[[5, 20, 40]], "price"] = np.nan
    forecaster = make(**ROLES).fit(SERIES, X=holed[:N], fh=FH)
    expected = forecaster.predict(X=FUTURE)
    gap = FUTURE.assign(price=[0.0, np.nan, 0.0])
    assert np.isfinite(forecaster.predict(X=gap)).all()
    assert not np.array_equal(forecaster.predict(X=gap), expected)
    complete = make(**ROLES).fit(SERIES, X=X[:N], fh=FH)
    with pytest.raises(ValueError, match=r"no value in the column 'price' at 2005-02"):
        complete.predict(X=gap)


def test_gaps_of_past_covariates_are_told_to_the_net():
    holed = X.copy()
    holed.loc[X.index[[5, 20, N - 1]], "weather"] = np.nan
    forecaster = make(**ROLES).fit(SERIES, X=holed[:N], fh=FH)
    assert np.isfinite(forecaster.predict(X=FUTURE)).all()

    class Blind(SelfAttention):
        name = "blind"
        consumes = ("mask",)

    with pytest.raises(ValueError, match=r"past covariates .*'blind'"):
        make(Blind(d_model=8, num_heads=2), **ROLES).fit(SERIES, X=holed[:N], fh=FH)


@pytest.mark.parametrize("update_params", [False, True])
def test_gaps_in_the_index_of_both_are_missing_values(update_params):
    """A column of bool stays one, though rows without a value are added."""
    keep = np.delete(np.arange(N), [10, 11, 30])
    forecaster = make(**ROLES).fit(SERIES.iloc[keep], X=X.iloc[keep], fh=FH)
    assert "holiday is missing" in forecaster.net_.module.data.known_names
    assert np.isfinite(forecaster.predict(X=FUTURE)).all()
    y = waves(N + 6, months(N + 6))
    later = exogenous(N + 9)
    rows = [N, N + 2, N + 5]
    forecaster.update(y.iloc[rows], X=later.iloc[rows], update_params=update_params)
    predicted = forecaster.predict(X=later[N + 6 :])
    assert np.isfinite(predicted).all()
    assert list(predicted.index) == list(months(N + 9)[N + 6 :])


def test_missing_values_everywhere_at_once():
    y, past, future = panel()
    rng = np.random.default_rng(0)
    y = y.mask(rng.random(y.shape) < 0.1)
    past = past.copy()
    for name in ("price", "weather", "campaign"):
        past.loc[rng.random(len(past)) < 0.1, name] = None
    forecaster = make(calibration="refit", **ROLES).fit(y, X=past, fh=FH)
    assert np.isfinite(forecaster.predict(X=future)).to_numpy().all()
    assert np.isfinite(forecaster.predict_interval(X=future)).to_numpy().all()


def test_times_of_X_that_occur_twice_are_refused():
    double = pd.concat([X[:N], X[5:6]]).sort_index()
    with pytest.raises(ValueError, match=r"index of X .* more than once"):
        make(**ROLES).fit(SERIES, X=double, fh=FH)
    forecaster = make(**ROLES).fit(SERIES, X=X[:N], fh=FH)
    double = pd.concat([FUTURE, FUTURE[:1]]).sort_index()
    with pytest.raises(ValueError, match=r"index of X .* more than once"):
        forecaster.predict(X=double)


# Indices

INDICES = {
    "period": pd.period_range("2000-01", periods=N + 9, freq="M"),
    "quarters": pd.period_range("2000Q1", periods=N + 9, freq="Q"),
    "days": pd.date_range("2000-01-01", periods=N + 9, freq="D"),
    "month ends": pd.date_range("2000-01-31", periods=N + 9, freq="ME"),
    "no frequency": pd.DatetimeIndex(
        pd.date_range("2000-01-01", periods=N + 9, freq="2h").to_numpy()
    ),
    "range": pd.RangeIndex(N + 9),
    "offset": pd.RangeIndex(7, N + 16),
    "integer": pd.Index(np.arange(N + 9)),
}


@pytest.mark.parametrize("kind", INDICES)
def test_the_kind_of_index_does_not_count(kind):
    found = []
    for index in (INDICES["period"], INDICES[kind]):
        y, given = waves(N + 6, index[: N + 6]), exogenous(N + 9, index=index)
        forecaster = make(**ROLES).fit(y[:N], X=given[:N], fh=[1, 3])
        found.append(forecaster.predict(X=given[N : N + 3]))
        assert list(found[-1].index) == list(index[[N, N + 2]])
        # With a gap of two steps, whose covariates are known.
        forecaster.update(y[N + 2 :], X=given[N : N + 6], update_params=False)
        found.append(forecaster.predict(X=given[N + 6 :]))
        assert list(found[-1].index) == list(index[[N + 6, N + 8]])
    assert_array_equal(found[0], found[2])
    assert_array_equal(found[1], found[3])


@pytest.mark.parametrize("kind", ["days", "no frequency", "quarters", "integer"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_short_series_with_covariates(kind, n):
    index = INDICES[kind]
    if kind == "no frequency" and n < 3:
        index = INDICES["days"]
    y, given = waves(n, index[:n]), exogenous(n + 3, index=index[: n + 3])
    forecaster = make(calibration="refit", **ROLES).fit(y, X=given[:n], fh=FH)
    predicted = forecaster.predict(X=given[n:])
    assert np.isfinite(predicted).all()
    assert list(predicted.index) == list(index[n : n + 3])


# Updates and backtests


def test_an_update_moves_the_covariates_too():
    longer, y = exogenous(N + 8), waves(N + 5, months(N + 5))
    fitted = make(**ROLES).fit(SERIES, X=longer[:N], fh=FH)
    at_once, in_steps = copy.deepcopy(fitted), copy.deepcopy(fitted)
    at_once.update(y[N:], X=longer[N : N + 5], update_params=False)
    for at in range(N, N + 5):
        in_steps.update(y[at : at + 1], X=longer[at : at + 1], update_params=False)
    future = longer[N + 5 :]
    expected = at_once.predict(X=future)
    assert_array_equal(in_steps.predict(X=future), expected)
    changed = copy.deepcopy(fitted)
    other = longer[N : N + 5].assign(price=5.0)
    changed.update(y[N:], X=other, update_params=False)
    assert not np.array_equal(changed.predict(X=future), expected)
    with pytest.raises(ValueError, match="lacks the times"):
        at_once.predict(X=FUTURE)


@pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")
@pytest.mark.parametrize("strategy", ["refit", "update", "no-update_params"])
def test_a_backtest_with_covariates(strategy):
    results = evaluate(
        make(max_epochs=1, **ROLES),
        ExpandingWindowSplitter(fh=FH, initial_window=50, step_length=4),
        SERIES,
        X=X[:N],
        strategy=strategy,
        return_data=True,
        error_score="raise",
    )
    assert len(results) == 2
    first = make(max_epochs=1, **ROLES).fit(SERIES[:50], X=X[:50], fh=FH)
    assert_array_equal(results["y_pred"].iloc[0], first.predict(X=X[50:53]))
