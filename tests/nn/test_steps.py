"""Time steps under a mask, padded on the right, on the left, or not at all."""

import math

import numpy as np
import pytest
import torch

from skattn import DataSpec
from skattn.nn import (
    MaskedLSTM,
    StepTokens,
    last_step,
    masked_max,
    masked_mean,
    sinusoidal_positions,
    step_positions,
    take_steps,
)

LENGTH, WIDTH = 7, 3
LENGTHS = np.array([7, 4, 1])

RIGHT = torch.from_numpy(np.arange(LENGTH) < LENGTHS[:, None])
LEFT = RIGHT.flip(1)

each_side = pytest.mark.parametrize("mask", [RIGHT, LEFT], ids=["right", "left"])


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@each_side
def test_positions_count_real_steps(mask):
    positions = step_positions(draw(3, LENGTH, WIDTH), mask)
    for row, real, length in zip(positions, mask, LENGTHS, strict=True):
        assert row[real].tolist() == list(range(length))
    assert positions.min() == 0


def test_positions_without_padding():
    assert step_positions(draw(3, 4, 1), None).tolist() == [[0, 1, 2, 3]]


def test_positions_start_after_the_padding():
    mask = torch.tensor([[False, False, True, True]])
    assert step_positions(draw(1, 4, 1), mask).tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize("d_model", [1, 2, 6, 7])
def test_sinusoids_equation(d_model):
    positions = np.array([[0, 1, 2, 50], [0, 0, 0, 3]])
    n_sines = math.ceil(d_model / 2)
    expected = np.empty((2, 4, d_model))
    for i, t in np.ndindex(2, 4):
        angles = [positions[i, t] / 10000 ** (2 * k / d_model) for k in range(n_sines)]
        waves = [*map(math.sin, angles), *map(math.cos, angles)]
        expected[i, t] = waves[:d_model]
    encoding = sinusoidal_positions(torch.from_numpy(positions), d_model)
    assert encoding.dtype == torch.float32
    np.testing.assert_allclose(encoding.numpy(), expected, atol=1e-5)


def test_take_steps():
    h, index = draw(2, 4, 3), torch.tensor([[0, 3, 3], [2, 1, 0]])
    taken = take_steps(h, index)
    for b, i in np.ndindex(2, 3):
        assert torch.equal(taken[b, i], h[b, index[b, i]])


@each_side
def test_pooling_sees_real_steps_alone(mask):
    h = draw(3, LENGTH, WIDTH)
    h[~mask] = torch.inf  # whatever stands there
    real = [row[kept] for row, kept in zip(h, mask, strict=True)]
    torch.testing.assert_close(
        masked_mean(h, mask), torch.stack([row.mean(dim=0) for row in real])
    )
    assert torch.equal(masked_max(h, mask), torch.stack([r.amax(dim=0) for r in real]))
    last = torch.stack([row[-1:] for row in real])
    assert torch.equal(last_step(h, mask), last)


@pytest.mark.parametrize("pool", [masked_mean, masked_max, last_step])
def test_pooling_without_a_mask_is_that_of_a_full_one(pool):
    h = draw(3, LENGTH, WIDTH)
    full = torch.ones(3, LENGTH, dtype=torch.bool)
    torch.testing.assert_close(pool(h, None), pool(h, full), atol=1e-15, rtol=0)


def test_mean_without_any_step_is_zero_and_has_a_gradient():
    h = draw(1, LENGTH, WIDTH).requires_grad_()
    mean = masked_mean(h, torch.zeros(1, LENGTH, dtype=torch.bool))
    mean.sum().backward()
    assert not mean.any()
    assert not h.grad.any()


def test_maximum_is_negative_where_all_steps_are():
    h = -draw(3, LENGTH, WIDTH).abs() - 1
    assert (masked_max(h, RIGHT) <= -1).all()
    assert masked_max(h, RIGHT).isfinite().all()


def run_unpadded(module, h, mask):
    """Let torch's LSTMs read each sequence by itself, without its padding."""
    states = []
    for row, real in zip(h, mask, strict=True):
        inside = row[real][None]
        parts = [module.forward_lstm(inside)[0]]
        if module.backward_lstm is not None:
            parts.append(module.backward_lstm(inside.flip(1))[0].flip(1))
        states.append(torch.cat(parts, dim=-1)[0])
    return states


@each_side
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
@torch.no_grad()
def test_lstm_reads_the_real_steps_alone(mask, bidirectional, num_layers):
    module = MaskedLSTM(WIDTH, 4, num_layers, bidirectional).double()
    h = draw(3, LENGTH, WIDTH)
    states = module(h, mask)
    assert states.shape == (3, LENGTH, 8 if bidirectional else 4)
    for row, real, expected in zip(
        states, mask, run_unpadded(module, h, mask), strict=True
    ):
        torch.testing.assert_close(row[real], expected, atol=1e-12, rtol=0)
    other = torch.where(mask[..., None], h, 1e3)
    assert torch.equal(module(other, mask)[mask], states[mask])


@pytest.mark.parametrize("bidirectional", [False, True])
@torch.no_grad()
def test_lstm_without_padding(bidirectional):
    module = MaskedLSTM(WIDTH, 4, bidirectional=bidirectional).double()
    h = draw(3, LENGTH, WIDTH)
    full = torch.ones(3, LENGTH, dtype=torch.bool)
    expected = torch.stack(run_unpadded(module, h, full))
    torch.testing.assert_close(module(h), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(module(h, full), expected, atol=1e-12, rtol=0)


@torch.no_grad()
def test_one_bidirectional_layer_is_torchs():
    module = MaskedLSTM(WIDTH, 4, bidirectional=True).double()
    reference = torch.nn.LSTM(
        WIDTH, 4, bidirectional=True, batch_first=True, dtype=torch.float64
    )
    for name, parameter in reference.named_parameters():
        side = module.backward_lstm if "reverse" in name else module.forward_lstm
        parameter.copy_(side.get_parameter(name.removesuffix("_reverse")))
    h = draw(3, LENGTH, WIDTH)
    torch.testing.assert_close(module(h), reference(h)[0], atol=1e-12, rtol=0)


def test_lstm_drops_between_layers_only():
    assert MaskedLSTM(WIDTH, 4, 1, dropout=0.5).forward_lstm.dropout == 0
    assert MaskedLSTM(WIDTH, 4, 2, dropout=0.5).forward_lstm.dropout == 0.5


def tokens_of(module, x, observed):
    """Convolve one unpadded series (channels, length) by loops."""
    length = x.shape[1]
    h = np.concatenate([np.where(observed, x, 0.0), ~observed])
    for number, convolution in enumerate(module.convolutions):
        if number:
            h = 0.5 * h * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))  # GELU
        weight = convolution.weight.detach().numpy()
        reach = weight.shape[2] // 2
        out = np.empty((len(weight), length))
        for step in range(length):
            total = convolution.bias.detach().numpy().copy()
            for offset in range(-reach, reach + 1):
                if 0 <= step + offset < length:
                    total += weight[:, :, offset + reach] @ h[:, step + offset]
            out[:, step] = total
        h = out
    return h.T


STEPS = DataSpec("regression", "series", n_channels=2, length=LENGTH)


def make_tokens(kernel_size, depth):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StepTokens(STEPS, 5, kernel_size, depth).double()


@each_side
@pytest.mark.parametrize("has_gaps", [False, True])
@pytest.mark.parametrize(("kernel_size", "depth"), [(3, 1), (5, 2), (1, 3)])
@torch.no_grad()
def test_step_tokens_equation(mask, has_gaps, kernel_size, depth):
    module = make_tokens(kernel_size, depth)
    x = draw(3, 2, LENGTH)
    observed = draw(3, 2, LENGTH, seed=1) > -0.5
    tokens = module(x, observed if has_gaps else None, mask)
    for row, values, known, real in zip(tokens, x, observed, mask, strict=True):
        kept = known[:, real].numpy() if has_gaps else np.ones((2, real.sum()), bool)
        expected = tokens_of(module, values[:, real].numpy(), kept)
        np.testing.assert_allclose(row[real].numpy(), expected, atol=1e-12)


@torch.no_grad()
def test_step_tokens_without_a_mask():
    module = make_tokens(3, 2)
    x = draw(3, 2, LENGTH)
    full = torch.ones(3, LENGTH, dtype=torch.bool)
    torch.testing.assert_close(module(x), module(x, None, full))
    torch.testing.assert_close(module(x), module(x, full[:, None].expand(3, 2, LENGTH)))


@each_side
@pytest.mark.parametrize("filler", [1e3, math.nan, math.inf])
@torch.no_grad()
def test_padding_and_unobserved_values_leak_nothing(mask, filler):
    module = make_tokens(5, 2)
    x = draw(3, 2, LENGTH)
    observed = (draw(3, 2, LENGTH, seed=1) > -0.5) & mask[:, None]
    other = torch.where(observed, x, filler)
    tokens, again = module(x, observed, mask), module(other, observed, mask)
    assert torch.equal(tokens[mask], again[mask])
    # What `observed` says about padding does not matter either.
    again = module(other, observed | ~mask[:, None], mask)
    assert torch.equal(tokens[mask], again[mask])


@torch.no_grad()
def test_a_missing_value_is_told_from_zero():
    module = make_tokens(3, 1)
    x, observed = torch.zeros(1, 2, LENGTH).double(), torch.ones(1, 2, LENGTH).bool()
    observed[0, 0, 3] = False
    assert not torch.equal(module(x, observed), module(x))
