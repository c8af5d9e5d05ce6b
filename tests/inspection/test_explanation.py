"""What an explanation holds, whatever it was collected from."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.utils import Bunch
from torch import nn

from skattn import Architecture, AttentionForecaster, AttentionRegressor
from skattn.architectures import TFT
from skattn.inspection import (
    attention_flow,
    attention_rollout,
    attention_weights,
    gradient_rollout,
    last_attention,
)
from skattn.inspection._explanation import Collected, explanation
from skattn.inspection._run import Subject
from skattn.inspection._streams import Layout, Stream, streams_of
from skattn.nn import Name, Patches, attention

EXPLAIN = [attention_rollout, attention_flow, gradient_rollout, last_attention]
WORDS = [["a", "b", "c"], ["d"], ["e", "f"]]
NAMES = {"tokens": WORDS, "other_tokens": [["x"], ["y", "z"], ["v"]]}
STEPS = ["0", "1", "2", "3", "4"]


def subject(names, n_samples=3):
    return Subject(None, None, None, range(n_samples), names.get)


def test_batches_of_unequal_lengths_are_joined():
    collected = Collected(subject(NAMES))
    # The second batch is padded beyond the longest text.
    collected.add(np.array([1, 2]), Stream("tokens"), np.array([[1.0, 0], [2, 3]]))
    collected.add(np.array([0]), Stream("tokens"), np.array([[4.0, 5, 6, 0]]))
    collected.add(np.array([0, 1, 2]), Stream("cls"), np.ones((3, 1)))
    by_axis = collected.axes()
    assert list(by_axis) == ["tokens"]  # extra tokens are left out
    assert by_axis["tokens"].names == WORDS
    assert_array_equal(by_axis["tokens"].importances, [[4, 5, 6], [1, 0, 0], [2, 3, 0]])


def test_columns_of_several_selections_are_joined_by_name():
    collected = Collected(subject({}, 1))
    rows = np.array([0])
    first, second = Stream("", ("load", "time")), Stream("", ("time", "promo"))
    collected.add(rows, first, np.array([[1.0, 2.0]]), "features")
    collected.add(rows, second, np.array([[10.0, 20.0]]), "features")
    found = collected.axes()["features"]
    assert found.names == ["load", "time", "promo"]
    assert_array_equal(found.importances, [[1, 12, 20]])


def test_two_streams_of_one_axis_are_added():
    collected = Collected(subject({"time": STEPS}, 1))
    rows = np.array([0])
    collected.add(rows, Stream("time"), np.arange(5.0)[None])
    collected.add(rows, Stream("time", is_other=True), np.ones((1, 5)))
    assert_array_equal(collected.axes()["time"].importances, [[1, 2, 3, 4, 5]])


def test_a_step_gets_the_mean_of_its_patches():
    class Samples:
        def __len__(self):
            return 1

        def inference_batches(self):
            import torch

            mask = torch.tensor([[False, True, True, True, True]])
            yield torch.tensor([0]), {"x": torch.zeros(1, 1, 5), "mask": mask}

    patches = Patches("patch", length=3, stride=2)
    collected = Collected(Subject(None, None, None, Samples(), {"time": STEPS}.get))
    collected.add(np.array([0]), Stream(patches), np.array([[8.0, 6.0, 1.0]]))
    found = collected.axes()["time"]
    # Steps 0 to 2, of which 0 is padded; 2 to 4; 4 and what is beyond the series.
    means = np.array([[0, 8, (8 + 6) / 2, 6, (6 + 1) / 2]])
    assert_allclose(found.importances, means * 15 / means.sum())
    assert found.names == STEPS


def of(importances, names, axis):
    return Bunch(importances=importances, names=names, axis=axis)


def test_the_axis_that_is_shown():
    by_axis = {
        "horizon": of(np.ones((2, 1)), ["+1"], "horizon"),
        "time": of(np.array([[1.0, 3.0], [3.0, 5.0]]), ["0", "1"], "time"),
    }
    found = explanation(by_axis, None, "method", "net")
    assert (found.axis, found.names, found.method) == ("time", ["0", "1"], "method")
    assert_array_equal(found.importances_mean, [2, 4])
    assert found.by_axis is by_axis
    assert explanation(by_axis, "horizon", "method", "net").axis == "horizon"
    with pytest.raises(
        ValueError, match=r"no axis 'nodes'.* 'net' looks at 'horizon', 't"
    ):
        explanation(by_axis, "nodes", "method", "net")
    with pytest.raises(ValueError, match=r"found no inputs: the attention of .* 'net'"):
        explanation({}, None, "method", "net")


def test_means_of_sparse_importances_are_dense():
    importances = sparse.csr_array(np.array([[0.0, 2.0], [4.0, 0.0]]))
    found = explanation(
        {"nodes": of(importances, ["a", "b"], "nodes")}, None, "method", "net"
    )
    assert_array_equal(found.importances_mean, [2, 1])
    texts = explanation(
        {"tokens": of(np.ones((3, 3)), WORDS, "tokens")}, None, "m", "n"
    )
    assert "importances_mean" not in texts


# Streams


def test_axes_are_divided_where_names_begin():
    axis = ("channels", Name("time"), Name("promo"), "cls")
    assert streams_of(axis) == [
        Stream("channels"),
        Stream("", ("time", "promo")),
        Stream("cls"),
    ]
    assert streams_of("time") == [Stream("time")] != streams_of(Name("time"))


def test_what_is_padded_in_between_is_found():
    axis = ("cls", "tokens", "separator", "other_tokens")
    rows = np.array([2, 1])
    real = np.array([[1, 1, 1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1, 1, 0]], dtype=bool)
    layout = Layout(axis, 8, rows, real, NAMES.get)
    parts = layout.split(np.arange(1.0, 17).reshape(2, 8))
    assert_array_equal(parts[Stream("cls")], [[1], [9]])
    assert_array_equal(parts[Stream("tokens")], [[2, 3], [10, 0]])
    assert_array_equal(parts[Stream("separator")], [[5], [13]])
    assert_array_equal(parts[Stream("other_tokens")], [[6, 0], [14, 15]])
    joint = layout.join(list(parts.values()))
    assert_array_equal(joint, np.arange(1.0, 17).reshape(2, 8) * real)


def test_the_last_part_stands_for_all_that_is_left():
    axis = ("time", "horizon")
    names = {"time": STEPS, "horizon": ["+1", "+2"]}
    layout = Layout(axis, 7, np.array([0]), None, names.get)
    parts = layout.split(np.arange(7.0)[None])
    assert_array_equal(parts[Stream("horizon")], [[5, 6]])
    patches = ("global", Patches("patch", length=4, stride=2))
    layout = Layout(patches, 4, np.array([0]), None, names.get)
    parts = layout.split(np.arange(4.0)[None])
    assert_array_equal(parts[Stream("patch")], [[1, 2, 3]])


# Through estimators


def test_what_is_selected_beside_has_an_axis_of_its_own():
    index = pd.period_range("2000-01", periods=20, freq="M")
    y = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 1)), index, ["load"])
    panel = pd.concat({"a": y, "b": y[:-3]}, names=["series", "time"])
    fitted = AttentionForecaster(
        TFT(8), window_length=4, calibration=None, max_epochs=1, random_state=0
    ).fit(panel, fh=[1, 2])
    (record,) = attention_weights(fitted, layers="static").records
    found = attention_rollout(fitted).by_axis["static"]
    assert found.names == record.keys == ["series"]
    assert_allclose(found.importances, record.weights[:, 0, 0])
    for explain in EXPLAIN:
        by_axis = explain(fitted).by_axis
        assert by_axis["static"].importances.shape == (2, 1)
        assert by_axis["features"].names == ["relative time", "load"]
        assert by_axis["time"].importances.shape == (2, 4)


class Blind(Architecture):
    """Attends to two learned tokens, and to nothing of the data."""

    api_version = 1
    name = "blind"
    supports = {"table": {"regression"}}
    citation = "Nobody in particular (2026)"

    def __init__(self, width=2):
        self.width = width

    def build(self, data):
        import torch

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.tokens = nn.Parameter(torch.randn(1, 1, 2, 3))
                self.head = nn.Linear(data.n_features + 3, data.n_outputs)

            def forward(self, x):
                tokens = self.tokens.expand(len(x), -1, -1, -1)
                found = attention(
                    tokens[:, :, :1],
                    tokens,
                    tokens,
                    layer="0",
                    kind="pooling",
                    queries="reader",
                    keys=("first", "second"),
                )
                return self.head(torch.cat([x, found[:, 0, 0]], dim=1))

        return Net()


def test_attention_to_nothing_of_the_data():
    X = np.random.default_rng(0).normal(size=(12, 2))
    reg = AttentionRegressor(Blind(), max_epochs=1, random_state=0, linear_skip=False)
    reg.fit(X, X[:, 0])
    for explain in EXPLAIN:
        with pytest.raises(ValueError, match=f"{explain.__name__} found no inputs"):
            explain(reg, X)
