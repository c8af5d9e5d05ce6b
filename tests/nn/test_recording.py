"""Who receives attention weights, and who does not."""

import pickle
import threading
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from skattn.nn import (
    Patches,
    is_recording,
    join_steps,
    record,
    recording,
    rerecording,
)

FIELDS = {"layer": "a", "kind": "self", "queries": "time", "keys": ("cls", "time")}


def test_nothing_happens_without_a_recorder():
    assert not is_recording()
    weights = torch.ones(1, 1, 1, 1)
    assert record(weights, **FIELDS) is weights


def test_a_recorder_receives_all_fields():
    received = []
    edges = torch.tensor([[0, 1], [1, 0]])
    weights = torch.ones(2, 3, requires_grad=True)
    with recording(received.append):
        assert is_recording()
        record(weights * 2, **FIELDS, edge_index=edges, normalised=False)
    assert not is_recording()
    (got,) = received
    assert (got.layer, got.kind, got.queries, got.keys) == tuple(FIELDS.values())
    assert got.edge_index is edges
    assert got.normalised is False
    assert (got.weights == 2).all()
    with pytest.raises(FrozenInstanceError):
        got.layer = "b"


def test_weights_stay_in_the_graph_for_gradients():
    received = []
    with recording(received.append):
        weights = record(torch.ones(1, requires_grad=True) * 2, **FIELDS)
    (gradient,) = torch.autograd.grad((3 * weights).sum(), received[0].weights)
    assert gradient.item() == 3


def test_a_recorder_may_replace_weights():
    with recording(lambda recorded: recorded.weights + 1):
        assert record(torch.zeros(1), **FIELDS).item() == 1


def test_records_are_rewritten_on_their_way_out_and_back():
    received = []

    def receive(recorded):
        received.append(recorded.weights)
        return recorded.weights + 1

    transposed = rerecording(
        lambda recorded: replace(recorded, weights=recorded.weights.T),
        lambda recorded, weights: weights.T,
    )
    weights = torch.arange(6.0).reshape(2, 3)
    with recording(receive), transposed:
        assert torch.equal(record(weights, **FIELDS), weights + 1)
    assert torch.equal(received[0], weights.T)


def test_steps_are_joined_with_zeros_for_keys_to_come():
    received = []
    with recording(received.append):
        record(torch.ones(1, 2, 1, 1), **FIELDS)
        record(torch.ones(1, 1, 1, 3), **{**FIELDS, "kind": "cross"})
        record(torch.full((1, 2, 1, 2), 0.5), **FIELDS, first_query=1)
    joined, cross = join_steps(received)
    assert joined.weights[0, 1].tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert joined.mask[0, 0].tolist() == [[True, False], [True, True]]
    assert cross.weights.shape == (1, 1, 1, 3)


def test_layers_of_one_name_are_not_joined():
    received = []
    with recording(received.append):
        record(torch.ones(1, 1, 1, 1), **FIELDS)
        record(torch.ones(1, 1, 1, 1), **FIELDS)
    assert len(join_steps(received)) == 2


def test_patches_keep_their_steps_when_copied():
    patches = pickle.loads(pickle.dumps(Patches("patch", length=16, stride=8)))
    assert (patches, patches.length, patches.stride) == ("patch", 16, 8)


def test_the_inner_recorder_receives_alone():
    outer, inner = [], []
    with recording(outer.append):
        record(torch.zeros(1), **FIELDS)
        with recording(inner.append):
            record(torch.ones(1), **FIELDS)
        record(torch.zeros(1), **FIELDS)
    assert [len(outer), len(inner)] == [2, 1]


def test_an_error_ends_the_recording():
    with pytest.raises(RuntimeError, match="inside"), recording([].append):
        raise RuntimeError("inside")
    assert not is_recording()


def test_another_thread_is_not_recorded():
    received, seen = [], []

    def work():
        seen.append(is_recording())
        record(torch.ones(1), **FIELDS)

    with recording(received.append):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == [False]
    assert received == []
