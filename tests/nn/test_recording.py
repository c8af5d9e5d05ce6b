"""Who receives attention weights, and who does not."""

import threading
from dataclasses import FrozenInstanceError

import pytest
import torch

from skattn.nn import is_recording, record, recording

FIELDS = {"layer": "a", "kind": "self", "queries": "time", "keys": ("cls", "time")}


def test_nothing_happens_without_a_recorder():
    assert not is_recording()
    record(torch.ones(1, 1, 1, 1), **FIELDS)


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


def test_weights_are_cut_off_the_graph():
    received = []
    with recording(received.append):
        record(torch.ones(1, requires_grad=True) * 2, **FIELDS)
    assert not received[0].weights.requires_grad


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
