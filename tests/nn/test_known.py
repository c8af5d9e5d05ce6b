"""Tokens of known covariates against their equation in NumPy."""

import numpy as np
import pytest
import torch

from skattn import DataSpec
from skattn.nn import KnownTokens

LENGTH, HORIZON, WIDTH = 4, 3, 5
STEPS = LENGTH + HORIZON
COUNTS = (4, 2)

RNG = np.random.default_rng(0)
KNOWN = RNG.normal(size=(6, 2, STEPS))
CODES = np.stack([RNG.integers(count, size=(6, STEPS)) for count in COUNTS], axis=1)


def make(n_known=2, counts=COUNTS):
    data = DataSpec(
        "forecasting",
        "series",
        length=LENGTH,
        horizon=HORIZON,
        n_known=n_known,
        known_category_counts=counts,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return KnownTokens(data, WIDTH).double()


def tokens_of(module, known, codes):
    """One token at a time."""
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    tokens = np.zeros((6, STEPS, WIDTH))
    for i, t in np.ndindex(6, STEPS):
        if known is not None:
            tokens[i, t] += state["numbers.weight"] @ known[i, :, t]
            tokens[i, t] += state["numbers.bias"]
        for column in range(0 if codes is None else codes.shape[1]):
            tokens[i, t] += state[f"tables.{column}.weight"][codes[i, column, t]]
    return tokens


@pytest.mark.parametrize("known", [None, KNOWN])
@pytest.mark.parametrize("codes", [None, CODES])
@torch.no_grad()
def test_equation(known, codes):
    module = make(
        0 if known is None else known.shape[1], () if codes is None else COUNTS
    )
    tokens = module(
        None if known is None else torch.from_numpy(known),
        None if codes is None else torch.from_numpy(codes),
    )
    expected = tokens_of(module, known, codes)
    assert tokens.shape[1:] == (STEPS, WIDTH)
    np.testing.assert_allclose(tokens.expand(6, -1, -1).numpy(), expected, atol=1e-12)


@torch.no_grad()
def test_without_covariates_nothing_is_added():
    module = make(0, ())
    assert not list(module.parameters())
    assert not module.state_dict()
    assert module().dtype == torch.float64
    h = torch.ones(6, STEPS, WIDTH).double()
    assert torch.equal(h + module(), h)


def test_every_parameter_learns():
    module = make()
    tokens = module(torch.from_numpy(KNOWN), torch.from_numpy(CODES))
    tokens.square().sum().backward()
    for parameter in module.parameters():
        assert parameter.grad.abs().sum() > 0


def test_an_unknown_category_starts_with_nothing_of_its_own():
    for table in make().tables:
        assert not table.weight[0].any()
        assert table.weight[1:].all()
