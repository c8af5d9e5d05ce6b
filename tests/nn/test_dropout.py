"""Dropout by random bits does what torch's dropout does."""

import numpy as np
import pytest
import torch

from skattn.nn import LeanDropout


def dropped(p, shape=(50, 401), seed=0, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        h = torch.ones(shape, dtype=dtype, requires_grad=True)
        return h, LeanDropout(p)(h)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_so_many_units_are_dropped_and_the_others_scaled_up(p):
    _, out = dropped(p)
    rate = float((out == 0).float().mean())
    deviation = np.sqrt(p * (1 - p) / out.numel())
    assert abs(rate - p) < 4 * deviation
    kept = out[out != 0]
    torch.testing.assert_close(
        kept, torch.full_like(kept, 1 / (1 - p)), rtol=2e-4, atol=0
    )


def test_units_are_dropped_independently():
    """Neighbours share a random word of 64 bits."""
    _, out = dropped(0.5, (100_000,))
    zero = (out == 0).double()
    for lag in (1, 2, 3, 4, 8):
        both = float((zero[lag:] * zero[:-lag]).mean())
        assert abs(both - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(zero))


def test_the_gradient_is_that_of_the_same_units():
    h, out = dropped(0.4)
    out.sum().backward()
    assert torch.equal(h.grad, out.detach())


def test_the_seed_decides():
    assert torch.equal(dropped(0.5)[1], dropped(0.5)[1])
    assert not torch.equal(dropped(0.5)[1], dropped(0.5, seed=1)[1])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_any_shape_and_dtype(shape, dtype):
    _, out = dropped(0.5, shape, dtype=dtype)
    assert (out.shape, out.dtype) == (torch.Size(shape), dtype)


def test_strided_input():
    h = torch.arange(1.0, 13.0).view(3, 4).t()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = LeanDropout(0.5)(h)
    assert torch.equal(out[out != 0], 2 * h[out != 0])


def test_almost_everything_may_be_dropped():
    _, out = dropped(1 - 1e-9)
    assert out.isfinite().all()


@pytest.mark.parametrize("p", [0.0, 0.7])
def test_nothing_happens_in_evaluation_or_without_a_probability(p):
    h = torch.ones(5)
    layer = LeanDropout(p).train(p == 0)
    before = torch.get_rng_state()
    assert layer(h) is h
    assert torch.equal(before, torch.get_rng_state())


def test_a_compiled_layer_is_one_graph():
    compiled = torch.compile(LeanDropout(0.5), backend="eager", fullgraph=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = compiled(torch.ones(1000))
    assert set(out.tolist()) == {0.0, 2.0}
