"""Tables: which columns are what, gaps, categories, scaling, what is refused."""

import re

import numpy as np
import pandas as pd
import pytest

from skattn._inputs import TableEncoder, input_of


class SomeClassifier:
    pass


BOTH = ("observed", "categories")


def make(consumes=BOTH, categorical_features="from_dtype", scaling="standard"):
    return TableEncoder(scaling, consumes, categorical_features, SomeClassifier())


def frame():
    return pd.DataFrame(
        {
            "height": [1.5, np.nan, 2.5, 2.0],
            "island": pd.Categorical(["b", "a", None, "b"], categories=["c", "b", "a"]),
            "count": [1, 2, 3, 4],
            "sex": ["f", "m", "m", None],
            "tall": [True, False, True, True],
        }
    )


def encode(encoder, X):
    content = encoder.learn(encoder.check(X))
    encoder.fit_scaling(content, None)
    return encoder.tensors(content)


def standard(values):
    return (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)


NUMBERS = np.array([[1.5, 1, 1], [np.nan, 2, 0], [2.5, 3, 1], [2.0, 4, 1]])


@pytest.mark.parametrize(
    ("X", "kind"),
    [
        (np.zeros((2, 3)), "table"),
        (np.zeros((2, 3, 4)), "series"),
        (np.zeros(2), "table"),
        (pd.DataFrame({"a": [1]}), "table"),
        ([[1, 2], [3, 4]], "table"),
        ([np.zeros((2, 5)), np.zeros((2, 3))], "series"),
        ((np.zeros((2, 5)),), "series"),
        ([], "table"),
    ],
)
def test_kinds_of_input(X, kind):
    assert input_of(X) == kind


def test_a_frame_whose_architecture_consumes_everything():
    encoder = make()
    tensors = encode(encoder, frame())
    np.testing.assert_allclose(tensors["x"], np.nan_to_num(standard(NUMBERS)))
    np.testing.assert_array_equal(tensors["observed"], ~np.isnan(NUMBERS))
    # Codes are those of the sorted categories that occur; 0 is missing.
    assert tensors["categories"].tolist() == [[2, 1], [1, 2], [0, 2], [2, 0]]
    assert tensors["categories"].dtype == np.int64
    assert encoder.describe() == {
        "input": "table",
        "n_features": 3,
        "category_counts": (3, 3),
    }
    names = ["height", "count", "tall", "island", "sex"]
    assert encoder.axis_names("features") == names
    assert encoder.axis_names("time") is None
    columns = [encoder.names_[at] for at in encoder.feature_columns()]
    assert columns == [re.split("=| is missing", name)[0] for name in names]
    assert encoder.length == 5


def test_a_frame_whose_architecture_consumes_nothing():
    encoder = make(consumes=())
    tensors = encode(encoder, frame())
    assert set(tensors) == {"x"}
    expected = np.column_stack(
        [
            np.nan_to_num(standard(NUMBERS)),
            [0, 1, 0, 0],  # where the height is missing
            [0, 0, 1, 0],  # island
            [0, 1, 0, 0],
            [1, 0, 0, 1],
            [0, 0, 0, 1],  # sex
            [1, 0, 0, 0],
            [0, 1, 1, 0],
        ]
    )
    np.testing.assert_allclose(tensors["x"], expected)
    assert encoder.axis_names("features") == [
        "height",
        "count",
        "tall",
        "height is missing",
        "island=missing",
        "island=a",
        "island=b",
        "sex=missing",
        "sex=f",
        "sex=m",
    ]
    assert encoder.describe()["n_features"] == encoder.length == 10
    assert encoder.describe()["category_counts"] == ()


def test_no_column_says_missing_where_nothing_is():
    encoder = make(consumes=())
    X = frame().dropna()
    encode(encoder, X)
    assert encoder.axis_names("features") == [
        "height",
        "count",
        "tall",
        "island=b",
        "sex=f",
    ]


@pytest.mark.parametrize("consumes", [("observed",), ("categories",)])
def test_each_optional_tensor_by_itself(consumes):
    encoder = make(consumes=consumes)
    tensors = encode(encoder, frame())
    assert set(tensors) == {"x", *consumes}
    assert tensors["x"].shape[1] == encoder.describe()["n_features"]
    if "observed" in consumes:
        assert tensors["observed"].shape == (4, 3)  # numbers, not one-hot columns
    else:
        assert tensors["x"].shape[1] == 4


def test_new_rows():
    encoder = make()
    tensors = encode(encoder, frame())
    again = encoder.tensors(encoder.read(frame().iloc[[2]]))
    for name in tensors:
        np.testing.assert_array_equal(again[name], tensors[name][[2]])


def test_an_unseen_category_is_unknown():
    encoder = make()
    encode(encoder, frame())
    new = frame().assign(sex=["x", "f", "y", "m"])
    assert encoder.read(new)["codes"][:, 1].tolist() == [0, 1, 0, 2]
    one_hot = make(consumes=())
    encode(one_hot, frame().dropna())
    tensors = one_hot.tensors(one_hot.read(new))
    assert tensors["x"][:, -1].tolist() == [0, 1, 0, 0]  # all zeros where unknown


def test_gaps_that_come_only_later_are_filled_with_the_mean():
    encoder = make(consumes=())
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    encode(encoder, X)
    new = encoder.tensors(encoder.read(np.array([[np.nan, 4.0]])))
    np.testing.assert_allclose(new["x"], [[0.0, 1.0]])


def test_the_order_of_rows_decides_no_code():
    encoder, other = make(), make()
    tensors = encode(encoder, frame())
    shuffled = encode(other, frame().iloc[::-1])
    np.testing.assert_array_equal(shuffled["categories"][::-1], tensors["categories"])


def test_categories_of_mixed_types():
    X = pd.DataFrame({"a": pd.Categorical([1, "b", 2.5, None, "a", 1])})
    encoder = make()
    content = encoder.learn(X)
    assert encoder.categories_[0].tolist() == [2.5, 1, "a", "b"]
    assert content["codes"][:, 0].tolist() == [2, 4, 1, 0, 3, 2]


def test_extension_types():
    X = pd.DataFrame(
        {
            "a": pd.array([1, None, 3], dtype="Int64"),
            "b": pd.array([True, None, False], dtype="boolean"),
            "c": pd.array(["x", None, "y"], dtype="string"),
            "d": pd.array([1.5, None, 2.5], dtype="Float64"),
        }
    )
    content = make().learn(X)
    np.testing.assert_array_equal(
        content["numbers"], [[1, 1, 1.5], [np.nan] * 3, [3, 0, 2.5]]
    )
    assert content["codes"][:, 0].tolist() == [1, 0, 2]


def test_objects_that_hold_numbers_are_numbers():
    X = pd.DataFrame({"a": np.array([1, 2.5, None], dtype=object)})
    np.testing.assert_array_equal(make().learn(X)["numbers"], [[1], [2.5], [np.nan]])


@pytest.mark.parametrize(
    "chosen", [[1], np.array([1]), [False, True, False], np.array([0, 1, 0], bool)]
)
def test_categorical_columns_of_an_array(chosen):
    X = np.array([[0.5, 7, 1], [1.5, np.nan, 2], [2.5, 3, 3]])
    encoder = make(categorical_features=chosen)
    tensors = encode(encoder, X)
    assert tensors["x"].shape == (3, 2)
    assert tensors["categories"][:, 0].tolist() == [2, 0, 1]
    assert encoder.axis_names("features") == ["x0", "x2", "x1"]
    assert encoder.read(X + 0.0)["codes"][:, 0].tolist() == [2, 0, 1]


@pytest.mark.parametrize("chosen", [["count"], [2], [False, False, True, False, False]])
def test_categorical_columns_of_a_frame(chosen):
    X = frame().drop(columns=["island", "sex"]).assign(a=1.0, b=2.0)
    X = X[["height", "tall", "count", "a", "b"]]
    encoder = make(categorical_features=chosen)
    tensors = encode(encoder, X)
    assert tensors["categories"][:, 0].tolist() == [1, 2, 3, 4]
    assert encoder.axis_names("features")[-1] == "count"


def test_no_categorical_columns():
    X = np.array([[0.0, 1.0], [2.0, 3.0]])
    for chosen in (None, "from_dtype", []):
        assert "categories" not in encode(make(categorical_features=chosen), X)


def test_only_categorical_columns():
    encoder = make()
    tensors = encode(encoder, frame()[["island", "sex"]])
    assert tensors["x"].shape == tensors["observed"].shape == (4, 0)
    assert encoder.describe()["n_features"] == 0
    assert encoder.axis_names("features") == ["island", "sex"]
    assert encode(make(consumes=()), frame()[["island"]])["x"].shape == (4, 3)


def test_scaling_and_weights():
    X = np.array([[1.0], [2.0], [9.0]])
    encoder = make()
    content = encoder.learn(X)
    encoder.fit_scaling(content, np.array([1.0, 2.0, 1.0]))
    repeated = X[[0, 1, 1, 2]]
    expected = (X - repeated.mean()) / repeated.std()
    np.testing.assert_allclose(encoder.tensors(content)["x"], expected)
    np.testing.assert_array_equal(encode(make(scaling=None), X)["x"], X)
    assert np.abs(encode(make(scaling="quantile"), X)["x"]).max() < 1


def test_the_input_stays_as_it_is():
    X = frame()
    encode(make(), X)
    pd.testing.assert_frame_equal(X, frame())


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["width"], r"columns \['width'\].*it has \['height', 'island'"),
        ([True, False], "mask of shape .* has 5 columns"),
        ([5], "positions outside the 5 columns"),
        ([-1], "positions outside the 5 columns"),
        ([1.5], "must be 'from_dtype', None, or columns"),
        (None, r"columns \['island', 'sex'\] of X are not numeric"),
    ],
)
def test_wrong_categorical_features(chosen, message):
    with pytest.raises(ValueError, match=message):
        make(categorical_features=chosen).learn(frame())


@pytest.mark.parametrize(
    "column",
    [
        pd.to_datetime(["2020-01-01", "2020-01-02"]),
        pd.to_timedelta([1, 2], unit="D"),
        np.array([1j, 2.0]),
        pd.Series([{"a": 1}, "b"], dtype=object),
    ],
)
def test_columns_that_are_neither(column):
    X = pd.DataFrame({"odd": column})
    with pytest.raises(ValueError, match="SomeClassifier: column 'odd' of X has dtype"):
        make().learn(X)


def test_a_numeric_column_that_holds_text_later():
    encoder = make()
    encoder.learn(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(ValueError, match=r"SomeClassifier: the numeric column 'a'"):
        encoder.read(pd.DataFrame({"a": ["many"]}))


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame])
def test_infinity(kind):
    X = kind(np.array([[1.0], [np.inf]]))
    with pytest.raises(ValueError, match="infinity"):
        encode(make(), X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(3), "1D array"),
        (np.zeros((2, 0)), "0 feature"),
        (np.zeros((0, 2)), "0 sample"),
        ([["a", "b"]], "could not convert string"),
        (np.array([[1j]]), "[Cc]omplex"),
    ],
)
def test_what_is_no_table(X, message):
    with pytest.raises(ValueError, match=message):
        make().check(X)


@pytest.mark.parametrize("categorical_features", ["from_dtype", None])
@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2, pd.NA], object, [1, 2, np.nan]),
        ([True, pd.NA, False], object, [1, np.nan, 0]),
        ([pd.NA, 2.5, None], object, [np.nan, 2.5, np.nan]),
        ([1, pd.NA], "Int64", [1, np.nan]),
        ([1, pd.NA], "UInt8", [1, np.nan]),
        ([True, pd.NA], "boolean", [1, np.nan]),
        ([0.5, pd.NA], "Float64", [0.5, np.nan]),
    ],
)
def test_every_kind_of_missing_number(values, dtype, expected, categorical_features):
    X = pd.DataFrame({"a": pd.Series(values, dtype=dtype), "b": 1.0})
    content = make(categorical_features=categorical_features).learn(X)
    np.testing.assert_array_equal(content["numbers"][:, 0], expected)


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_every_kind_of_missing_category(dtype):
    X = pd.DataFrame({"a": pd.Series(["v", pd.NA, "u"], dtype=dtype)})
    assert make().learn(X)["codes"][:, 0].tolist() == [2, 0, 1]


def test_the_column_that_holds_no_number_is_named():
    encoder = make()
    encoder.learn(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}))
    new = pd.DataFrame({"a": [1.0], "b": ["many"]})
    with pytest.raises(ValueError, match=r"numeric column 'b' of X holds .*'many'"):
        encoder.read(new)


def test_a_column_of_mixed_types():
    X = pd.DataFrame({"a": pd.Series([1, "v"], dtype=object)})
    with pytest.raises(ValueError, match=r"column 'a' .* mixed types \(int, str\)"):
        make().learn(X)


def test_text_is_read_from_a_frame_alone():
    encoder = make()
    encode(encoder, frame())
    with pytest.raises(ValueError, match=r"X was a DataFrame in fit.*'island', 'sex'"):
        encoder.check(frame().to_numpy())
    numbers = make()
    encode(numbers, frame()[["height", "count"]])
    X = frame()[["height", "count"]].to_numpy()
    assert numbers.read(numbers.check(X))["numbers"].shape == (4, 2)


@pytest.mark.parametrize("names", [[7, 3], [(0, "a"), (0, "b")], ["a", "b"]])
def test_columns_in_another_order(names):
    X = pd.DataFrame([[1.0, 10.0], [2.0, 20.0]], columns=names)
    encoder = make()
    encode(encoder, X)
    with pytest.raises(ValueError, match=r"columns of X are .* but in fit they were"):
        encoder.read(X[X.columns[::-1]])
    encoder.read(X.to_numpy())  # columns of an array have no names


def test_what_no_training_row_misses_counts_as_the_mean():
    encoder = make()
    encode(encoder, np.array([[1.0, 2.0], [3.0, np.nan]]))
    new = encoder.tensors(encoder.read(np.array([[np.nan, np.nan]])))
    assert new["observed"].tolist() == [[True, False]]
    assert new["x"].tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("consumes", [BOTH, ()])
def test_a_category_of_held_out_rows_alone_is_unknown(consumes):
    X = pd.DataFrame({"a": ["u", "v", "w", "u"]})
    encoder = make(consumes=consumes)
    content = encoder.learn(X)
    rows = np.array([0, 2, 3])
    encoder.fit_scaling({name: array[rows] for name, array in content.items()}, None)
    held_out = encoder.tensors(encoder.read(X))
    unseen = encoder.tensors(encoder.read(X.replace("v", "x")))
    for name in held_out:
        np.testing.assert_array_equal(held_out[name], unseen[name])
    if consumes:
        assert held_out["categories"][:, 0].tolist() == [1, 0, 3, 1]
    else:
        assert encoder.axis_names("features") == ["a=u", "a=w"]
        assert held_out["x"].tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
    assert content["codes"][:, 0].tolist() == [1, 2, 3, 1]  # as they were read


def test_a_column_that_looks_like_texts_is_warned_about():
    texts = pd.DataFrame({"text": [f"number {n} of many" for n in range(30)]})
    with pytest.warns(UserWarning, match=r"'text' holds 30 different strings in 30"):
        make().learn(texts)
    make().learn(pd.DataFrame({"name": ["New York", "Los Angeles"] * 15}))
