"""An LSTM with a first and a last state, padded on either side or not at all."""

import pytest
import torch
from torch import nn

from skattn.nn import StatefulLSTM

LENGTH, INPUT, HIDDEN = 7, 3, 4
LENGTHS = torch.tensor([7, 4, 1])
RIGHT = torch.arange(LENGTH) < LENGTHS[:, None]
MASKS = {"right": RIGHT, "left": RIGHT.flip(1)}


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def build(num_layers, dropout=0.0):
    lstm = StatefulLSTM(INPUT, HIDDEN, num_layers, dropout).double().eval()
    for number, parameter in enumerate(lstm.parameters()):
        parameter.data = draw(*parameter.shape, seed=number)
    return lstm


def start_of(num_layers, n=3):
    return [
        (draw(n, HIDDEN, seed=10 + layer), draw(n, HIDDEN, seed=20 + layer))
        for layer in range(num_layers)
    ]


def rows(state, number):
    """Choose one sample of all layers' states."""
    return [tuple(part[number : number + 1] for part in pair) for pair in state]


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("with_start", [False, True])
def test_torch_s_lstm_without_padding(num_layers, with_start):
    lstm = build(num_layers)
    expected = nn.LSTM(INPUT, HIDDEN, num_layers, batch_first=True).double()
    for theirs, ours in zip(expected.parameters(), lstm.parameters(), strict=True):
        theirs.data = ours.data
    h = draw(3, LENGTH, INPUT)
    start = start_of(num_layers) if with_start else None
    states, end = lstm(h, start)
    stacked = start and tuple(map(torch.stack, zip(*start, strict=True)))
    their_states, their_end = expected(h, stacked)
    torch.testing.assert_close(states, their_states)
    for ours, theirs in zip(zip(*end, strict=True), their_end, strict=True):
        torch.testing.assert_close(torch.stack(ours), theirs)


@pytest.mark.parametrize("side", MASKS)
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("with_start", [False, True])
def test_padding_changes_nothing(side, num_layers, with_start):
    lstm, mask = build(num_layers), MASKS[side]
    h = draw(3, LENGTH, INPUT)
    start = start_of(num_layers) if with_start else None
    states, end = lstm(h, start, mask)
    for number, real in enumerate(mask):
        own_start = rows(start, number) if with_start else None
        own, own_end = lstm(h[number, real][None], own_start)
        torch.testing.assert_close(states[number, real], own[0])
        for layer in range(num_layers):
            for got, expected in zip(
                rows(end, number)[layer], own_end[layer], strict=True
            ):
                torch.testing.assert_close(got, expected)


def test_padding_changes_no_gradient():
    """The last cell state is computed in another way under a mask."""
    h, start, gradients = draw(1, LENGTH, INPUT), start_of(1, n=1), []
    for mask in (None, torch.ones(1, LENGTH, dtype=torch.bool)):
        lstm = build(1)
        leaves = [part.clone().requires_grad_() for part in (h, *start[0])]
        _, ((hidden, cell),) = lstm(leaves[0], [tuple(leaves[1:])], mask)
        (hidden * draw(1, HIDDEN) + cell * draw(1, HIDDEN, seed=1)).sum().backward()
        gradients.append([leaf.grad for leaf in (*leaves, *lstm.parameters())])
    torch.testing.assert_close(*gradients)


def test_saturated_gates_lose_no_precision():
    """Float32 over many steps, with forget gates near 0 and near 1."""
    lstm = StatefulLSTM(INPUT, HIDDEN)
    for parameter in lstm.parameters():
        parameter.data = 4 * draw(*parameter.shape).float()
    h = 3 * draw(8, 300, INPUT).float()
    everything = torch.ones(8, 300, dtype=torch.bool)
    _, ((_, cell),) = lstm(h)
    _, ((_, under_mask),) = lstm(h, None, everything)
    torch.testing.assert_close(under_mask, cell, rtol=1e-4, atol=1e-4)


def test_padding_is_never_read():
    lstm, mask = build(2), MASKS["left"]
    h = draw(3, LENGTH, INPUT)
    other = torch.where(mask[..., None], h, 100.0)
    torch.testing.assert_close(lstm(h, None, mask)[1], lstm(other, None, mask)[1])


def test_dropout_acts_between_layers_only():
    h = draw(3, LENGTH, INPUT)
    one, two = build(1, dropout=0.5), build(2, dropout=0.5)
    expected = two(h)[0]
    assert torch.equal(one.train()(h)[0], one.eval()(h)[0])
    assert not torch.allclose(two.train()(h)[0], expected)
