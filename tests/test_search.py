"""Ranges, and the search spaces that they make."""

import numpy as np
import pytest
from sklearn.model_selection import ParameterSampler

from skattn import Architecture, Choice, Float, Int, _registry, register, search_space


@pytest.fixture
def searched(monkeypatch):
    monkeypatch.setattr(_registry, "_registered", {})

    @register
    class Searched(Architecture):
        api_version = 1
        name = "searched"
        supports = {"table": {"regression"}}
        citation = "Nobody in particular (2026)"
        search_space = {
            "d_model": Int(8, 64, log=True),
            "dropout": Float(0.0, 0.5),
            "activation": Choice("relu", "gelu"),
        }

        def __init__(self, d_model=32, dropout=0.1, activation="relu"):
            self.d_model = d_model
            self.dropout = dropout
            self.activation = activation

        def build(self, data):
            raise AssertionError("no test builds it")

    return Searched


def draws(distribution, n=2000):
    rng = np.random.RandomState(0)
    return [distribution.rvs(random_state=rng) for _ in range(n)]


def test_int_draws_both_bounds():
    drawn = draws(Int(2, 4))
    assert set(drawn) == {2, 3, 4}
    assert {type(value) for value in drawn} == {int}


def test_int_on_a_logarithmic_scale():
    # P(1) = log(1.5 / 0.5) / log(4.5 / 0.5) = 1/2
    drawn = draws(Int(1, 4, log=True))
    assert set(drawn) == {1, 2, 3, 4}
    assert np.mean(np.equal(drawn, 1)) == pytest.approx(0.5, abs=0.03)


def test_float_draws_within_its_bounds():
    drawn = draws(Float(-1.0, 3.0))
    assert min(drawn) >= -1
    assert max(drawn) <= 3
    assert np.mean(drawn) == pytest.approx(1.0, abs=0.1)
    assert {type(value) for value in drawn} == {float}


def test_float_on_a_logarithmic_scale():
    drawn = draws(Float(1e-4, 1e-2, log=True))
    assert min(drawn) >= 1e-4
    assert max(drawn) <= 1e-2
    assert np.median(drawn) == pytest.approx(1e-3, rel=0.15)


def test_choice_keeps_the_objects():
    options = ([1, 2], None, "gelu")
    drawn = draws(Choice(*options), n=100)
    assert {id(value) for value in drawn} == {id(option) for option in options}


@pytest.mark.parametrize(
    "distribution",
    [Int(1, 100), Int(1, 100, log=True), Float(0, 1), Choice(*range(99))],
)
def test_a_seed_repeats_the_draw(distribution):
    assert distribution.rvs(random_state=3) == distribution.rvs(random_state=3)
    assert len(set(draws(distribution, n=20))) > 1


@pytest.mark.parametrize(
    ("distribution", "edges"),
    [
        (Int(1, 8), (1, 8)),
        (Float(0.1, 0.5), (0.1, 0.5)),
        (Choice("a", "b", "c"), ("a", "b", "c")),
    ],
)
def test_edges(distribution, edges):
    assert distribution.edges == edges


@pytest.mark.parametrize("kind", [Int, Float])
@pytest.mark.parametrize("bounds", [(2, 2), (3, 2), (float("nan"), 1)])
def test_bounds_in_order(kind, bounds):
    with pytest.raises(ValueError, match=r"must be below high="):
        kind(*bounds)


@pytest.mark.parametrize("kind", [Int, Float])
def test_a_logarithmic_range_is_positive(kind):
    with pytest.raises(ValueError, match="starts above 0, not at low=0"):
        kind(0, 2, log=True)


def test_choice_needs_an_option():
    with pytest.raises(ValueError, match="at least one option"):
        Choice()


@pytest.mark.parametrize(
    "distribution", [Int(1, 8, log=True), Float(0.5, 1.0), Choice("a", None)]
)
def test_repr_rebuilds(distribution):
    names = {"Int": Int, "Float": Float, "Choice": Choice}
    assert eval(repr(distribution), names) == distribution


@pytest.mark.usefixtures("searched")
def test_a_space_from_a_name():
    assert search_space("searched", prefix="clf__", include=["dropout"]) == {
        "clf__architecture": ["searched"],
        "clf__architecture__dropout": Float(0.0, 0.5),
    }


def test_a_space_from_an_instance_keeps_it(searched):
    template = searched(d_model=8)
    space = search_space(template)
    assert space["architecture"] == [template]
    assert set(space) == {
        "architecture",
        "architecture__d_model",
        "architecture__dropout",
        "architecture__activation",
    }


@pytest.mark.usefixtures("searched")
def test_scikit_learn_samples_a_space():
    space = search_space("searched")
    drawn = list(ParameterSampler(space, n_iter=5, random_state=0))
    assert drawn == list(ParameterSampler(space, n_iter=5, random_state=0))
    assert all(8 <= values["architecture__d_model"] <= 64 for values in drawn)


@pytest.mark.usefixtures("searched")
def test_unknown_hyper_parameter():
    with pytest.raises(ValueError, match=r"no range for \['width'\]; .*'d_model'"):
        search_space("searched", include=["width"])


@pytest.mark.usefixtures("searched")
def test_include_is_a_collection():
    with pytest.raises(ValueError, match=r"include=\['dropout'\]"):
        search_space("searched", include="dropout")
