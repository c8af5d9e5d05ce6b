"""Interpretable attention against its equation, and what it lets a step see."""

import math

import numpy as np
import pytest
import torch

from skattn.nn import InterpretableAttention, recording

BATCH, QUERIES, KEYS, WIDTH = 3, 3, 8, 6
LENGTHS = np.array([5, 2, 0])
MASK = torch.from_numpy(np.arange(KEYS - QUERIES) >= 5 - LENGTHS[:, None])


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def build(num_heads):
    layer = InterpretableAttention(
        WIDTH, num_heads, layer="a", queries="horizon", keys=("time", "horizon")
    ).double()
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = draw(*parameter.shape, seed=number)
    return layer


def linear(layer, h):
    return h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


@pytest.mark.parametrize("num_heads", [1, 2, 3])
@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
def test_equation(num_heads, mask):
    attend, memory = build(num_heads), draw(BATCH, KEYS, WIDTH)
    query = memory[:, -QUERIES:]
    received = []
    with recording(received.append):
        explicit = attend(query, memory, mask).detach().numpy()
    fused = attend(query, memory, mask).detach().numpy()
    (record,) = received
    assert (record.layer, record.kind, record.queries, record.keys) == (
        "a",
        "self",
        "horizon",
        ("time", "horizon"),
    )
    for b in range(BATCH):
        q = linear(attend.project_query, query[b].numpy())
        k = linear(attend.project_key, memory[b].numpy())
        weights = np.zeros((num_heads, QUERIES, KEYS))
        for head, part in enumerate(np.split(np.arange(WIDTH), num_heads)):
            for step in range(QUERIES):
                first = 0 if mask is None else 5 - LENGTHS[b]
                seen = slice(first, KEYS - QUERIES + step + 1)
                scores = k[seen, part] @ q[step, part] / math.sqrt(len(part))
                weights[head, step, seen] = np.exp(scores) / np.exp(scores).sum()
        mean = weights.mean(axis=0) @ linear(attend.project_value, memory[b].numpy())
        expected = linear(attend.project_out, mean)
        np.testing.assert_allclose(record.weights.detach()[b], weights, atol=1e-12)
        np.testing.assert_allclose(explicit[b], expected, atol=1e-11)
        np.testing.assert_allclose(fused[b], expected, atol=1e-11)


def test_heads_are_of_equal_width():
    with pytest.raises(ValueError, match=r"d_model=6 cannot be split into num_heads=4"):
        build(4)
