"""Exogenous series: roles, scales, gaps, categories, what is refused."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from skattn._inputs._covariates import CovariateEncoder

N = 24

INDEXES = {
    "range": pd.RangeIndex(N),
    "integers": pd.Index(np.arange(N) * 3 + 5),
    "dates": pd.date_range("2020-01-01", periods=N, freq="D"),
    "periods": pd.period_range("2020-01", periods=N, freq="M"),
}

PAST = ["load", "event"]
STATIC = ["area", "region"]


def frame(seed=0, index=INDEXES["periods"]):
    """Draw a series with two columns, numeric and categorical, of each role."""
    rng = np.random.default_rng(seed)
    n = len(index)
    columns = {
        "load": np.where(rng.random(n) < 0.2, np.nan, rng.normal(50, 9, n)),
        "price": np.where(rng.random(n) < 0.2, np.nan, rng.normal(-3, 2, n)),
        "weekday": rng.integers(0, 7, n),
        "holiday": rng.random(n) < 0.3,
        "season": pd.Categorical(rng.choice(["wet", "dry", "hot"], n)),
        "event": pd.Series(rng.choice(["fair", "strike", None], n), dtype=object),
        "area": 10.0 * (seed + 1),
        "region": ["north", "south", "west"][seed % 3],
    }
    columns = {
        name: column.to_numpy() if isinstance(column, pd.Series) else column
        for name, column in columns.items()
    }
    X = pd.DataFrame(columns, index=index)
    names = list(X.columns)
    return X[[names[at] for at in rng.permutation(len(names))]]


def learned(frames, past=PAST, static=STATIC):
    return CovariateEncoder(past, static).learn(frames)


def assert_same(one, other):
    assert one._fields == other._fields
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def standardise(values, over):
    over = np.asarray(over, dtype=float)
    return (np.asarray(values, dtype=float) - np.nanmean(over)) / np.nanstd(over)


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_every_role_agrees_with_pandas(index):
    frames = [frame(seed, index[: 12 + 4 * seed]) for seed in range(3)]
    # The first frame decides the order of columns.
    order = ["holiday", "price", "season", "weekday", "region", "area", "event", "load"]
    frames[0] = frames[0][order]
    encoder = learned(frames)
    assert encoder.past_names == ("load", "event=fair", "event=strike")
    assert encoder.known_names == (
        "holiday",
        "price",
        "weekday",
        "price is missing",
        "season",
    )
    assert encoder.n_known == 4
    assert encoder.known_category_counts == (4,)
    assert encoder.static_names == ("area", "region")
    assert encoder.n_static == 1
    assert encoder.static_category_counts == (4,)
    every = pd.concat(frames)
    np.testing.assert_allclose(encoder.past_mean, [every["load"].mean(), 0, 0])
    np.testing.assert_allclose(encoder.past_scale, [every["load"].std(ddof=0), 1, 1])
    for seed, X in enumerate(frames):
        found = encoder.encode(X)
        event = X["event"]
        one_hot = [(event == name).where(event.notna()) for name in ("fair", "strike")]
        past = np.column_stack(
            [X["load"], *(column.astype(float) for column in one_hot)]
        )
        np.testing.assert_array_equal(found.past, past)
        known = [
            standardise(X["holiday"], every["holiday"]),
            np.nan_to_num(standardise(X["price"], every["price"])),
            standardise(X["weekday"], every["weekday"]),
            X["price"].isna(),
        ]
        np.testing.assert_allclose(found.known, np.column_stack(known), atol=1e-12)
        codes = X["season"].astype(object).map({"dry": 1, "hot": 2, "wet": 3})
        np.testing.assert_array_equal(found.known_categories[:, 0], codes)
        area = standardise(10.0 * (seed + 1), every["area"])
        np.testing.assert_allclose(found.static, [area])
        assert found.static_categories.tolist() == [seed + 1]
        kinds = [array.dtype.kind for array in found]
        assert kinds == ["f", "f", "i", "f", "i"]
        assert [array.dtype.itemsize for array in found] == [8] * 5


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
@pytest.mark.parametrize("seed", range(5))
def test_rows_are_encoded_alike_alone_and_together(index, seed):
    X = frame(seed, index)
    encoder = learned([X, frame(seed + 1, index)])
    together = encoder.encode(X)
    for rows in (slice(0, 7), slice(7, N), slice(3, 4)):
        alone = encoder.encode(X.iloc[rows])
        expected = together._replace(
            past=together.past[rows],
            known=together.known[rows],
            known_categories=together.known_categories[rows],
        )
        assert_same(alone, expected)


@pytest.mark.parametrize("seed", range(5))
def test_names_and_not_positions_decide(seed):
    X, other = frame(seed), frame(seed + 1)
    encoder = learned([X, other])
    shuffled = X[np.random.default_rng(seed).permutation(X.columns)]
    assert_same(encoder.encode(shuffled), encoder.encode(X))
    again = learned([X, other[X.columns[::-1]]])
    assert again.known_names == encoder.known_names
    assert_same(again.encode(X), encoder.encode(X))
    reordered = learned([X[X.columns[::-1]], other])
    names, numbers = encoder.known_names, encoder.encode(X).known
    place = [reordered.known_names.index(name) for name in names[: encoder.n_known]]
    np.testing.assert_array_equal(reordered.encode(X).known[:, place], numbers)


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_rows_ahead_need_only_what_is_known(index):
    X = frame(0, index)
    encoder = learned([X])
    now = encoder.encode(X)
    ahead = encoder.encode(X.drop(columns=PAST + STATIC), future=True)
    assert_same(ahead, encoder.encode(X, future=True))
    np.testing.assert_array_equal(ahead.known, now.known)
    np.testing.assert_array_equal(ahead.known_categories, now.known_categories)
    for name in ("past", "static"):
        assert getattr(ahead, name).shape == getattr(now, name).shape
        assert np.isnan(getattr(ahead, name)).all()
    assert ahead.static_categories.tolist() == [0]


def test_what_is_not_read_ahead_may_hold_anything():
    X = frame()
    encoder = learned([X])
    odd = X.assign(load="many", event=np.inf, area=range(N), region=1.5)
    assert_same(encoder.encode(odd, future=True), encoder.encode(X, future=True))


def test_no_row_at_all():
    X = frame()
    found = learned([X]).encode(X.iloc[:0], future=True)
    assert found.past.shape == (0, 3)
    assert found.known.shape == (0, 4)
    assert found.known_categories.shape == (0, 1)


def test_no_column_at_all():
    X = pd.DataFrame(index=INDEXES["dates"])
    encoder = CovariateEncoder(None, None).learn([X])
    found = encoder.encode(X)
    assert [array.shape for array in found] == [(N, 0)] * 3 + [(0,)] * 2
    assert encoder.n_known == encoder.n_static == 0
    assert encoder.past_names == encoder.known_names == encoder.static_names == ()
    with pytest.raises(
        ValueError, match=r"X has the columns \['a'\], which it did not"
    ):
        encoder.encode(X.assign(a=1.0))


def test_columns_are_in_the_future_unless_named():
    X = frame()
    encoder = CovariateEncoder(None, None).learn([X])
    assert encoder.encode(X).past.shape == (N, 0)
    assert set(encoder.known_names) == {
        *X.columns,
        "load is missing",
        "price is missing",
    }


def test_rows_that_the_index_left_out():
    X = frame().drop(columns=["load", "price"])
    X = X.drop(index=X.index[[3, 4]]).reindex(X.index)
    assert X["holiday"].dtype == object  # of bool, beside NaN
    encoder = learned([X], past=["event"])
    found = encoder.encode(X)
    missing = np.isin(np.arange(N), [3, 4])
    names = encoder.known_names
    for name in ("weekday", "holiday"):
        indicator = found.known[:, names.index(f"{name} is missing")]
        np.testing.assert_array_equal(indicator, missing)
        assert (found.known[missing, names.index(name)] == 0).all()
    np.testing.assert_array_equal(found.known_categories[:, 0] == 0, missing)
    assert np.isnan(found.past[missing]).all()
    # A gap says nothing about what is constant.
    assert found.static.tolist() == [0.0]
    assert found.static_categories.tolist() == [1]
    assert "area is missing" not in encoder.static_names


def test_a_static_number_that_some_series_miss():
    frames = [frame(seed) for seed in range(3)]
    frames[1]["area"] = np.nan
    encoder = learned(frames)
    assert encoder.static_names == ("area", "area is missing", "region")
    assert encoder.n_static == 2
    statics = np.array([encoder.encode(X).static for X in frames])
    np.testing.assert_allclose(statics, [[-1, 0], [0, 1], [1, 0]])


def test_a_static_category_that_some_series_miss():
    frames = [frame(seed) for seed in range(2)]
    frames[1]["region"] = None
    encoder = learned(frames)
    assert [encoder.encode(X).static_categories.tolist() for X in frames] == [[1], [0]]


def test_constant_columns_are_centred_alone():
    X = pd.DataFrame({"a": [0.1] * N, "b": [1e9] * N}, index=INDEXES["range"])
    encoder = CovariateEncoder(["b"], None).learn([X])
    np.testing.assert_allclose(encoder.encode(X).known, 0.0, atol=1e-12)
    np.testing.assert_allclose(encoder.encode(X + 1).known, 1.0)
    np.testing.assert_allclose(encoder.past_scale, [1.0])


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_unseen_and_missing_categories(dtype):
    def column(values):
        return pd.Series(values).astype(dtype)

    X = pd.DataFrame(
        {"known": column(["b", "a", "b"]), "past": column(["u", "v", "u"])}
    )
    encoder = CovariateEncoder(["past"], None).learn([X])
    new = pd.DataFrame(
        {"known": column(["c", "a", None]), "past": column(["w", None, "v"])}
    )
    found = encoder.encode(new)
    assert found.known_categories[:, 0].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(found.past, [[0, 0], [np.nan] * 2, [0, 1]])


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_series_and_rows_decides_no_code(seed):
    frames = [frame(each) for each in range(3)]
    rng = np.random.default_rng(seed)
    columns = frames[0].columns
    shuffled = [
        frames[at].iloc[rng.permutation(N)][columns] for at in rng.permutation(3)
    ]
    one, other = learned(frames), learned(shuffled)
    for X in frames:
        ours, theirs = one.encode(X), other.encode(X)
        np.testing.assert_array_equal(ours.known_categories, theirs.known_categories)
        np.testing.assert_array_equal(ours.static_categories, theirs.static_categories)
        np.testing.assert_allclose(ours.known, theirs.known, atol=1e-12)
        np.testing.assert_allclose(ours.static, theirs.static, atol=1e-12)
        np.testing.assert_array_equal(ours.past, theirs.past)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2, 3], "int8", [1, 2, 3]),
        ([True, False, True], "bool", [1, 0, 1]),
        ([1, pd.NA, 3], "Int64", [1, np.nan, 3]),
        ([True, pd.NA, False], "boolean", [1, np.nan, 0]),
        ([0.5, pd.NA, 1], "Float64", [0.5, np.nan, 1]),
        ([1, None, 2.5], object, [1, np.nan, 2.5]),
        ([True, pd.NA, False], object, [1, np.nan, 0]),
    ],
)
def test_every_dtype_of_numbers(values, dtype, expected):
    X = pd.DataFrame({"a": pd.Series(values, dtype=dtype)})
    past = CovariateEncoder(["a"], None).learn([X]).encode(X).past
    np.testing.assert_array_equal(past[:, 0], expected)
    known = CovariateEncoder(None, None).learn([X]).encode(X).known
    filled = np.nan_to_num(standardise(expected, expected))
    np.testing.assert_allclose(known[:, 0], filled)


def test_numbers_may_be_categories():
    X = pd.DataFrame({"a": pd.Categorical([10, 2, 10])})
    encoder = CovariateEncoder(["a"], None).learn([X])
    assert encoder.past_names == ("a=2", "a=10")
    expected = [[0, 1], [1, 0], [0, 1]]
    np.testing.assert_array_equal(encoder.encode(X).past, expected)
    # Joined frames may hold objects.
    found = encoder.encode(pd.DataFrame({"a": [10, 2, 10, 7]}, dtype=object)).past
    np.testing.assert_array_equal(found, [*expected, [0, 0]])
    with pytest.raises(ValueError, match="'a' of X was categorical in fit"):
        encoder.encode(pd.DataFrame({"a": [10, 2, 10]}))


def test_labels_of_columns_need_not_be_text():
    X = pd.DataFrame({0: np.arange(5.0), 1: np.arange(5.0) ** 2, 2: 3.0})
    encoder = CovariateEncoder([1], [2]).learn([X])
    assert encoder.past_names == ("1",)
    assert encoder.known_names == ("0",)
    assert encoder.static_names == ("2",)


def test_a_part_without_values_may_have_any_dtype():
    X = pd.DataFrame({"a": [1.0, 2.0], "b": ["u", "v"]})
    nothing = pd.DataFrame({"a": [None, None], "b": [np.nan, np.nan]})
    for empty in (
        nothing,
        nothing.astype({"a": "category"}),
        nothing.astype({"a": "str"}),
    ):
        encoder = CovariateEncoder(None, None).learn([empty, X])
        found = encoder.encode(empty)
        assert found.known.tolist() == [[0.0, 1.0]] * 2
        assert found.known_categories.tolist() == [[0]] * 2


def test_it_can_be_copied_and_pickled_and_holds_no_frame():
    X = frame()
    encoder = learned([X])
    for twin in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        assert_same(twin.encode(X), encoder.encode(X))
        assert twin.known_names == encoder.known_names
    many = pd.concat([X] * 500, ignore_index=True)
    grown = len(pickle.dumps(learned([many]))) - len(pickle.dumps(encoder))
    assert grown < 200


def test_the_input_stays_as_it_is():
    X = frame()
    learned([X]).encode(X)
    pd.testing.assert_frame_equal(X, frame())


@pytest.mark.parametrize(
    ("past", "static", "message"),
    [
        (["laod"], None, r"past_covariates names .*'laod'.* Did you mean 'load'\?"),
        (None, ["zzz"], r"static_covariates names the columns \['zzz'\].* It has \["),
        (["load", "area"], ["area"], r"both name the columns \['area'\]"),
        ("load", None, r"past_covariates='load' must be a list.*\['load'\]"),
        (None, "area", "static_covariates='area' must be a list"),
    ],
)
def test_roles_that_do_not_fit(past, static, message):
    with pytest.raises(ValueError, match=message):
        CovariateEncoder(past, static).learn([frame()])


def test_more_than_one_column_of_a_name():
    X = frame()
    double = pd.concat([X, X[["price"]]], axis=1)
    message = r"more than one column of the names \['price'\]"
    with pytest.raises(ValueError, match=message):
        learned([double])
    with pytest.raises(ValueError, match=message):
        learned([X]).encode(double)
    with pytest.raises(ValueError, match=r"of the names \['0'\]"):
        CovariateEncoder(None, None).learn([pd.DataFrame({0: [1.0], "0": [2.0]})])


def test_series_with_different_columns():
    with pytest.raises(ValueError, match="Series number 1 of X has the columns"):
        learned([frame(0), frame(1).drop(columns="price")])


@pytest.mark.parametrize("name", ["price", "load", "area"])
def test_infinity(name):
    X = frame()
    wrong = X.astype({name: float})
    wrong.loc[X.index[5], name] = -np.inf
    message = rf"infinity in the column '{name}', at 2020-06\."
    with pytest.raises(ValueError, match=message):
        learned([wrong])
    with pytest.raises(ValueError, match=message):
        learned([X]).encode(wrong)


@pytest.mark.parametrize("names", [["price"], ["load", "season"], ["area"], ["region"]])
def test_a_column_without_any_value(names):
    X = frame()
    X[names] = np.nan
    found = [name for name in X.columns if name in names]
    message = "no value at all in the columns"
    with pytest.raises(ValueError, match=message) as raised:
        learned([X, X])
    assert str(found) in str(raised.value)
    X[names] = X[names].astype("category")
    with pytest.raises(ValueError, match=message) as raised:
        learned([X, X])
    assert str(found) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [("area", "20.0", "7.0"), ("region", "south", "east")],
)
def test_a_static_column_that_changes(name, one, other):
    frames = [frame(0), frame(1)]
    wrong = frames[1].copy()
    wrong.loc[wrong.index[4], name] = float(other) if name == "area" else other
    with pytest.raises(ValueError, match=rf"'{name}'.*but in series number 1 of X it"):
        learned([frames[0], wrong])
    with pytest.raises(ValueError, match=rf"'{name}'.*static_covariates") as raised:
        learned(frames).encode(wrong)
    assert one in str(raised.value)
    assert other in str(raised.value)


@pytest.mark.parametrize(
    ("index", "time"),
    [
        ("range", "6"),
        ("integers", "23"),
        ("dates", "2020-01-07"),
        ("periods", "2020-07"),
    ],
)
@pytest.mark.parametrize("future", [False, True])
def test_a_gap_in_what_was_complete_in_fit(index, time, future):
    X = frame(0, INDEXES[index]).astype({"weekday": float})
    encoder = learned([X])
    gaps = X.copy()
    gaps.loc[X.index[[6, 9]], "weekday"] = np.nan
    message = rf"no value in the column 'weekday' at {time}.*Impute it"
    with pytest.raises(ValueError, match=message):
        encoder.encode(gaps, future=future)
    gaps = X.copy()
    gaps.loc[X.index[[6, 9]], ["price", "season"]] = np.nan
    found = encoder.encode(gaps, future=future)
    missing = found.known[:, encoder.known_names.index("price is missing")]
    assert (missing[[6, 9]] == 1).all()
    assert (found.known_categories[[6, 9], 0] == 0).all()


def test_a_static_number_that_is_missing_only_later():
    X = frame()
    with pytest.raises(ValueError, match="no value in the column 'area', but in fit"):
        learned([X]).encode(X.assign(area=np.nan))


def test_a_gap_of_the_past_stays_one():
    X = frame().fillna({"load": 1.0})
    found = learned([X]).encode(X.assign(load=np.nan))
    assert np.isnan(found.past[:, 0]).all()


def test_columns_that_are_absent():
    X = frame()
    encoder = learned([X])
    lacking = [name for name in X.columns if name in ("weekday", "season")]
    with pytest.raises(ValueError, match="pass them for every step of fh") as raised:
        encoder.encode(X.drop(columns=lacking), future=True)
    assert f"X at predict lacks the columns {lacking}, which are" in str(raised.value)
    assert f"past_covariates={lacking}" in str(raised.value)
    for name in ("load", "area", "weekday"):
        with pytest.raises(ValueError, match=rf"X lacks the columns \['{name}'\]"):
            encoder.encode(X.drop(columns=name))


@pytest.mark.parametrize("future", [False, True])
def test_columns_that_are_new(future):
    X = frame()
    with pytest.raises(ValueError, match=r"X has the columns \['wind', 'sun'\], which"):
        learned([X]).encode(X.assign(wind=1.0, sun=2.0), future=future)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("price", "1.5", "'price' of X was numeric in fit, but now it has dtype str"),
        ("price", pd.Categorical([1] * N), "'price' of X was numeric.*dtype category"),
        ("load", "many", "'load' of X was numeric in fit"),
        ("area", "large", "'area' of X was numeric in fit"),
        ("season", 1.0, "'season' of X was categorical.*dtype float64"),
        ("event", True, "'event' of X was categorical.*dtype bool"),
        ("region", 3, "'region' of X was categorical in fit.*dtype int64"),
        ("season", np.full(N, 3, dtype=object), "'season' of X holds 3, but its cat"),
        ("price", pd.Timestamp("2020-01-01"), "'price' of X has dtype datetime64"),
    ],
)
def test_columns_that_change_their_kind(name, values, message):
    X = frame()
    encoder = learned([X])
    with pytest.raises(ValueError, match=message):
        encoder.encode(X.assign(**{name: values}))


def test_columns_of_different_kinds_in_different_series():
    message = (
        "'price' of X is not of one kind .* numeric in number 0 but categorical in"
    )
    with pytest.raises(ValueError, match=rf"{message} number 1"):
        learned([frame(0), frame(1).assign(price="high")])


def test_columns_of_no_kind():
    for values in (pd.Timestamp("2020-01-01"), 1j):
        with pytest.raises(ValueError, match=r"'price' of X has dtype .* neither"):
            learned([frame().assign(price=values)])
