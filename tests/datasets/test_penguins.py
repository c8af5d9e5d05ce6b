"""The penguins are those of the publication."""

import pytest

from skattn.datasets import load_penguins

NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def test_counts():
    X, y = load_penguins(return_X_y=True)
    assert X.shape == (344, 7)
    assert y.value_counts().to_dict() == {"Adelie": 152, "Gentoo": 124, "Chinstrap": 68}
    assert X.isna().sum().to_dict() == {
        "island": 0,
        "bill_length_mm": 2,
        "bill_depth_mm": 2,
        "flipper_length_mm": 2,
        "body_mass_g": 2,
        "sex": 11,
        "year": 0,
    }
    assert X["year"].value_counts().to_dict() == {2007: 110, 2008: 114, 2009: 120}


def test_published_moments():
    X, _ = load_penguins(return_X_y=True)
    means = [43.92193, 17.15117, 200.91520, 4201.75439]
    deviations = [5.45958, 1.97479, 14.06171, 801.95454]
    assert X[NUMBERS].mean().tolist() == pytest.approx(means, abs=1e-5)
    assert X[NUMBERS].std().tolist() == pytest.approx(deviations, abs=1e-5)


def test_types():
    penguins = load_penguins()
    assert penguins.data["island"].cat.categories.tolist() == [
        "Biscoe",
        "Dream",
        "Torgersen",
    ]
    assert penguins.data["sex"].cat.categories.tolist() == ["female", "male"]
    numbers = penguins.data.drop(columns=["island", "sex"])
    assert (numbers.dtypes == "float64").all()


def test_bunch():
    penguins = load_penguins()
    X, y = load_penguins(return_X_y=True)
    assert penguins.data.equals(X)
    assert penguins.target.equals(y)
    assert penguins.feature_names == list(X.columns)
    assert penguins.target_names == sorted(set(y))
    assert list(penguins.frame.columns) == ["species", *penguins.feature_names]
    assert "CC0" in penguins.DESCR


def test_each_call_returns_its_own_copy():
    X, _ = load_penguins(return_X_y=True)
    X["body_mass_g"] = 0.0
    assert load_penguins().data["body_mass_g"].max() == 6300
