"""Parts of maps."""

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skattn.nn import (
    MultiheadAttention,
    NodeLinear,
    head_units,
    keep_inputs,
    keep_outputs,
    keep_rows,
)


@pytest.mark.parametrize("kind", [nn.Linear, NodeLinear])
@pytest.mark.parametrize("bias", [True, False])
def test_a_map_keeps_some_outputs(kind, bias):
    torch.manual_seed(0)
    linear, x = kind(4, 6, bias=bias), torch.randn(5, 4)
    expected = linear(x)[:, [1, 2, 5]]
    keep_outputs(linear, torch.tensor([1, 2, 5]))
    assert_allclose(linear(x).detach(), expected.detach(), atol=1e-6)
    assert linear.weight.shape == (3, 4)
    assert linear.weight.is_leaf


@pytest.mark.parametrize("kind", [nn.Linear, NodeLinear])
def test_a_map_keeps_some_inputs(kind):
    torch.manual_seed(0)
    linear, x = kind(6, 4), torch.randn(5, 6)
    x[:, [0, 3, 4]] = 0
    expected = linear(x)
    keep_inputs(linear, torch.tensor([1, 2, 5]))
    assert_allclose(linear(x[:, [1, 2, 5]]).detach(), expected.detach(), atol=1e-6)


def test_a_parameter_that_does_not_learn_goes_on_not_to():
    frozen = nn.Parameter(torch.eye(3), requires_grad=False)
    kept = keep_rows(frozen, [2, 0])
    assert not kept.requires_grad
    assert_array_equal(kept, [[0, 0, 1], [1, 0, 0]])
    kept[:] = 5
    assert frozen.max() == 1


def test_units_of_no_head():
    assert head_units([], 3).tolist() == []


def test_heads_that_stay_learn():
    torch.manual_seed(0)
    attend = MultiheadAttention(8, 4, layer="0", queries="time", keys="time")
    attend.prune_heads([1, 3])
    h = torch.randn(2, 5, 8)
    attend(h, h).square().sum().backward()
    assert all(each.grad is not None for each in attend.parameters())
    assert attend.project_query.weight.shape == (4, 8)
    assert attend.project_key_value.weight.shape == (8, 8)
    assert attend.project_out.weight.shape == (8, 4)
