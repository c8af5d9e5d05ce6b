"""Gates, residual networks and variable selection against their equations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skattn.nn import (
    GatedAddNorm,
    GatedResidual,
    GroupedLinear,
    VariableSelection,
    VariableTokens,
    recording,
)

GROUPS, BATCH, STEPS, WIDTH = 3, 4, 5, 6

sides = pytest.mark.parametrize("groups", [None, GROUPS])


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def random(module):
    """Draw all weights, those of the norms too."""
    module = module.double().eval()
    for number, parameter in enumerate(module.parameters()):
        parameter.data = 0.5 * draw(*parameter.shape, seed=number)
    return module


def group(layer, number):
    """Give the weights (out, in) or (width,) and the bias of a layer or of a group."""
    weight, bias = (part.detach().numpy() for part in (layer.weight, layer.bias))
    if number is None:
        return weight, bias
    return weight[number].T, bias[number].ravel()


def linear(layer, h, number=None):
    weight, bias = group(layer, number)
    return h @ weight.T + bias


def gated_add_norm(net, h, skip, number=None):
    value, gate = np.split(linear(net.gate, h, number), 2, axis=-1)
    h = skip + value / (1 + np.exp(-gate))
    centred = h - h.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    weight, bias = group(net.norm, number)
    return centred / spread * weight + bias


def gated_residual(net, h, context=None, number=None):
    entered, skip = linear(net.enter, h, number), h
    width = net.leave.gate.weight.shape[-1 if number is None else -2]
    if entered.shape[-1] > width:
        entered, skip = entered[..., :width], entered[..., width:]
    if context is not None:
        entered = entered + context @ net.context.weight.detach().numpy().T
    hidden = np.where(entered > 0, entered, np.expm1(entered))
    hidden = linear(net.hidden, hidden, number)
    return gated_add_norm(net.leave, hidden, skip, number)


def check_groups(expected, got, groups):
    """Compare with `expected(number)` of each group."""
    got = got.detach().numpy()
    if groups is None:
        np.testing.assert_allclose(got, expected(None), atol=1e-12)
        return
    assert len(got) == groups
    for number in range(groups):
        np.testing.assert_allclose(got[number], expected(number), atol=1e-12)


@pytest.mark.parametrize("between", [(7,), (4, 7)])
def test_grouped_linear_equation(between):
    layer = random(GroupedLinear(GROUPS, WIDTH, 2))
    h = draw(GROUPS, *between, WIDTH)
    check_groups(lambda n: linear(layer, h[n].numpy(), n), layer(h), GROUPS)


def test_grouped_linear_starts_as_torch_s_linear_does():
    layer = GroupedLinear(50, 16, 20)
    for parameter in (layer.weight.detach(), layer.bias.detach()):
        assert parameter.abs().max() <= 0.25
        assert float(parameter.std()) == pytest.approx(0.25 / np.sqrt(3), rel=0.1)


@sides
def test_gated_add_norm_equation(groups):
    net = random(GatedAddNorm(WIDTH, 2, dropout=0.5, groups=groups))
    front = (groups or BATCH, BATCH, STEPS)
    h, skip = draw(*front, WIDTH), draw(*front, 2, seed=1)

    def expected(number):
        at = slice(None) if number is None else number
        return gated_add_norm(net, h[at].numpy(), skip[at].numpy(), number)

    check_groups(expected, net(h, skip), groups)


@sides
@pytest.mark.parametrize("out", [WIDTH, 4])
@pytest.mark.parametrize("d_hidden", [None, 3])
def test_gated_residual_equation(groups, out, d_hidden):
    net = GatedResidual(WIDTH, out, d_hidden=d_hidden, dropout=0.5, groups=groups)
    net, h = random(net), draw(groups or BATCH, BATCH, STEPS, WIDTH)

    def expected(number):
        at = slice(None) if number is None else number
        return gated_residual(net, h[at].numpy(), number=number)

    check_groups(expected, net(h), groups)


def test_gated_residual_adds_a_context():
    net = random(GatedResidual(WIDTH, WIDTH, context_features=2))
    h, context = draw(BATCH, STEPS, WIDTH), draw(BATCH, 1, 2, seed=1)
    expected = gated_residual(net, h.numpy(), context.numpy())
    np.testing.assert_allclose(net(h, context).detach(), expected, atol=1e-12)


def test_dropout_acts_in_front_of_the_gate():
    net = GatedResidual(WIDTH, WIDTH, dropout=0.5)
    h = draw(BATCH, STEPS, WIDTH).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = net(h), net(h)
    assert not torch.equal(first, second)
    assert torch.equal(net.eval()(h), net(h))


def test_tokens_of_numbers_and_codes():
    tokens = random(VariableTokens(2, (4, 3), WIDTH, missing=True))
    numbers = draw(BATCH, 2, STEPS)
    observed = draw(BATCH, 2, STEPS, seed=1) > 0
    codes = torch.tensor([[[0, 1, 2, 3, 1], [2, 1, 0, 0, 2]]]).expand(BATCH, -1, -1)
    got = tokens(numbers, codes, observed).detach()
    assert got.shape == (4, BATCH, STEPS, WIDTH)
    line = tokens.numbers
    for variable in range(2):
        expected = numbers[:, variable, :, None] * line.weight[variable, 0]
        expected = expected + line.bias[variable, 0]
        missing = tokens.missing[variable, 0, 0]
        expected = torch.where(observed[:, variable, :, None], expected, missing)
        torch.testing.assert_close(got[variable], expected)
    first, second = tokens.table.weight.split([4, 3])
    assert torch.equal(got[2], first[codes[:, 0]])
    assert torch.equal(got[3], second[codes[:, 1]])


def test_unknown_codes_start_at_zero():
    table = VariableTokens(0, (4, 1, 3), WIDTH).table.weight
    is_zero = (table == 0).all(dim=1).tolist()
    assert is_zero == [True, False, False, False, True, True, False, False]


def test_no_token_without_need():
    tokens = VariableTokens(1, (), WIDTH)
    assert [name for name, _ in tokens.named_parameters()] == [
        "numbers.weight",
        "numbers.bias",
    ]
    tokens = VariableTokens(0, (3,), WIDTH)
    assert [name for name, _ in tokens.named_parameters()] == ["table.weight"]


def selection(names, **options):
    return random(
        VariableSelection(names, WIDTH, layer="past", steps="time", **options)
    )


def recorded(select, *args):
    received = []
    with recording(received.append):
        selected = select(*args).detach()
    (record,) = received
    return selected, replace(record, weights=record.weights.detach())


@pytest.mark.parametrize("with_context", [False, True])
def test_selection_equation(with_context):
    names = ("load", "price", "hour")
    select = selection(names, context=with_context, dropout=0.5)
    variables = draw(3, BATCH, STEPS, WIDTH)
    context = draw(BATCH, 1, WIDTH, seed=1) if with_context else None
    selected, record = recorded(select, variables, context)
    assert (record.layer, record.kind, record.queries) == ("past", "selection", "time")
    assert record.keys == names
    for b in range(BATCH):
        joined = np.hstack([variable[b] for variable in variables])
        given = context[b].numpy() if with_context else None
        scores = np.exp(gated_residual(select.select, joined, given))
        weights = scores / scores.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(record.weights[b, 0], weights, atol=1e-12)
        expected = sum(
            weights[:, [j]]
            * gated_residual(select.transform, variables[j, b].numpy(), number=j)
            for j in range(3)
        )
        np.testing.assert_allclose(selected[b], expected, atol=1e-12)


def test_a_single_variable_has_the_weight_one():
    select = selection(("load",), context=True)
    variables = draw(1, BATCH, STEPS, WIDTH)
    selected, record = recorded(select, variables, draw(BATCH, 1, WIDTH))
    assert torch.equal(record.weights, torch.ones_like(record.weights))
    assert record.weights.shape == (BATCH, 1, STEPS, 1)
    expected = gated_residual(select.transform, variables[0].numpy(), number=0)
    np.testing.assert_allclose(selected, expected, atol=1e-12)
    assert not any(name.startswith("select.") for name in select.state_dict())


def test_padded_steps_are_recorded_as_zeros():
    select = selection(("load", "price", "hour"))
    mask = torch.arange(STEPS) >= torch.tensor([[0], [2], [3], [4]])
    variables = draw(3, BATCH, STEPS, WIDTH)
    selected, record = recorded(select, variables, None, mask)
    torch.testing.assert_close(record.weights.sum(dim=-1)[:, 0], mask.double())
    assert torch.equal(selected, select(variables).detach())
