"""The kit must be able to fail: each fault is caught by the right check."""

import re

import pytest
from _faulty import (
    FAULTS,
    Sound,
    SoundCausal,
    SoundGraph,
    SoundGraphNet,
    SoundLayer,
    SoundPair,
    SoundText,
    SoundTranslation,
)

from skattn.nn import node_dropout
from skattn.testing import check_architecture, run_checks


def failures(architecture, *, learning=False):
    """Run the checks and return the messages of those that fail."""
    told = {}
    for name, check in check_architecture(architecture, ecosystem=False):
        if name.endswith("overfits") and not learning:
            continue
        try:
            check(architecture)
        except AssertionError as error:
            told[name] = str(error)
    return told


def test_a_sound_architecture_passes():
    results = list(run_checks(Sound(), ecosystem=False))
    assert [result for result in results if not result.passed] == []
    assert {result.name.rpartition("/")[0] for result in results} == {
        "",
        "table-classification",
        "series-regression",
        "series-forecasting",
    }


def test_a_sound_architecture_for_graphs_passes():
    results = list(run_checks(SoundGraph(), ecosystem=False))
    assert [result for result in results if not result.passed] == []
    names = {result.name for result in results}
    for check in ("permutation", "edge_features"):
        assert {f"nodes-classification/{check}", f"graph-regression/{check}"} <= names
    for check in ("direction", "sparse", "layers"):
        assert f"nodes-classification/{check}" in names
        assert f"graph-regression/{check}" not in names


@pytest.mark.parametrize(
    "cls", [SoundText, SoundCausal, SoundPair, SoundTranslation], ids=lambda c: c.name
)
def test_a_sound_architecture_for_texts_passes(cls):
    results = list(run_checks(cls(), ecosystem=False))
    assert [result for result in results if not result.passed] == []
    names = {result.name for result in results}
    generates, predicts = (
        task in cls.supports.get("tokens", ())
        for task in ("translation", "token_prediction")
    )
    for case in {name.partition("/")[0] for name in names if "/" in name}:
        assert f"{case}/longer_texts" in names
    for check in ("generation", "alignment"):
        assert (f"tokens-translation/{check}" in names) == generates
    prediction = "tokens-token_prediction"
    assert (f"{prediction}/pretraining" in names) == predicts
    assert (f"{prediction}/both_sides" in names) == (predicts and not cls.causal)
    assert (f"{prediction}/future" in names) == cls.causal


class DroppingLayer(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        x = node_dropout(x, 0.8, self.training)
        return super().forward(x, edge_index, edge_attr, n_targets)


class DroppingNet(SoundGraphNet):
    layer = DroppingLayer


class Dropping(SoundGraph):
    api_version = 1
    net = DroppingNet


def test_graph_networks_may_drop_most_features_by_default():
    assert failures(Dropping(), learning=True) == {}


@pytest.mark.parametrize(
    ("cls", "expected", "spreads", "says"),
    [pytest.param(*given, id=given[0].__name__) for given in FAULTS],
)
def test_each_fault_is_caught(cls, expected, spreads, says):
    told = failures(cls(), learning="overfits" in expected)
    caught = {name.rpartition("/")[2] for name in told}
    assert expected <= caught if spreads else expected == caught

    assert any(re.search(says, message, re.DOTALL) for message in told.values()), told
    for name, message in told.items():
        subject = name.rpartition("/")[0]
        where = f"{cls.name}, {subject}: " if subject else f"{cls.name}: "
        assert message.startswith(where)
        assert len(message) > len(where) + 20
