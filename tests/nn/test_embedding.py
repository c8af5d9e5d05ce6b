"""Tokens of the columns of a table against their equation; words that are dropped."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import norm

from skattn import DataSpec, SpecialToken
from skattn.nn import FeatureTokens, WordDropout

DATA = DataSpec("regression", "table", n_features=3, category_counts=(4, 2))

X = np.array([[0.0, -9.0, 9.0], [0.3, 0.0, -1.2], [2.5, 0.0, 1e-3], [0.0, 0.7, -0.4]])
OBSERVED = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], bool)
CODES = np.array([[0, 0], [3, 1], [1, 1], [2, 0]])


def make(n_bins=6, data=DATA):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FeatureTokens(data, 5, n_bins=n_bins).double()


def tokens_of(module, x, observed, codes):
    """One token at a time."""
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    edges = state["edges"]
    n_rows, n_features = x.shape
    n_categorical = 0 if codes is None else codes.shape[1]
    tokens = np.empty((n_rows, n_features + n_categorical, state["bias"].shape[1]))
    for i, j in np.ndindex(n_rows, n_features):
        if observed is not None and not observed[i, j]:
            tokens[i, j] = state["missing"][j]
            continue
        code = [x[i, j]]
        for lower, upper in pairwise(edges):
            code.append(min(max((x[i, j] - lower) / (upper - lower), 0.0), 1.0))
        tokens[i, j] = np.maximum(
            state["bias"][j] + np.array(code) @ state["weight"][j], 0.0
        )
    for i, j in np.ndindex(n_rows, n_categorical):
        tokens[i, n_features + j] = state[f"tables.{j}.weight"][codes[i, j]]
    return tokens


@pytest.mark.parametrize("n_bins", [1, 2, 6, 32])
@pytest.mark.parametrize("observed", [None, OBSERVED])
@pytest.mark.parametrize("codes", [None, CODES])
@torch.no_grad()
def test_equation(n_bins, observed, codes):
    module = make(n_bins)
    tokens = module(
        torch.from_numpy(X),
        None if observed is None else torch.from_numpy(observed),
        None if codes is None else torch.from_numpy(codes),
    )
    expected = tokens_of(module, X, observed, codes)
    np.testing.assert_allclose(tokens.numpy(), expected, atol=1e-12)


def test_edges_are_quantiles_of_the_normal_distribution():
    expected = norm.ppf([1 / 8, 3 / 8, 5 / 8, 7 / 8])
    np.testing.assert_allclose(make(4).edges.numpy(), expected, atol=1e-6)


@torch.no_grad()
def test_code_by_hand():
    """Weights of one and one bin between -a and a: 0 is coded as [0, 1/2]."""
    module = make(2, DataSpec("regression", "table", n_features=1))
    module.weight.fill_(1.0)
    module.bias.fill_(0.25)
    edge = norm.ppf(0.75)
    tokens = module(torch.tensor([[0.0], [edge], [5.0], [-1.0]]).double())[:, 0, 0]
    expected = [0.75, edge + 1.25, 6.25, 0.0]  # the last one is below zero
    assert tokens.tolist() == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_what_stands_where_a_number_is_missing_does_not_matter():
    module = make()
    other = np.where(OBSERVED, X, 77.0)
    observed, codes = torch.from_numpy(OBSERVED), torch.from_numpy(CODES)
    tokens = module(torch.from_numpy(X), observed, codes)
    assert torch.equal(module(torch.from_numpy(other), observed, codes), tokens)


@torch.no_grad()
def test_only_categories():
    module = make(data=DataSpec("regression", "table", category_counts=(4, 2)))
    tokens = module(torch.zeros(4, 0).double(), categories=torch.from_numpy(CODES))
    expected = tokens_of(module, np.zeros((4, 0)), None, CODES)
    np.testing.assert_array_equal(tokens.numpy(), expected)


def test_every_parameter_learns():
    module = make()
    x, observed = torch.from_numpy(X), torch.from_numpy(OBSERVED)
    module(x, observed, torch.from_numpy(CODES)).square().sum().backward()
    for parameter in module.parameters():
        assert parameter.grad.abs().sum() > 0
    assert not module.missing.grad[2].any()  # nothing is missing in this column


def test_an_unknown_category_starts_with_nothing_of_its_own():
    for table in make().tables:
        assert not table.weight[0].any()
        assert table.weight[1:].all()


def test_dropped_words_become_the_unknown_one():
    torch.manual_seed(0)
    tokens = torch.arange(6, 10_006).view(100, 100)
    dropped = WordDropout(0.3)(tokens)
    is_unknown = dropped == SpecialToken.UNKNOWN
    assert torch.equal(dropped[~is_unknown], tokens[~is_unknown])
    assert float(is_unknown.double().mean()) == pytest.approx(0.3, abs=0.02)


def test_words_are_dropped_only_while_training():
    tokens = torch.arange(6, 106)[None]
    assert WordDropout(0.9).eval()(tokens) is tokens
    assert WordDropout(0.0)(tokens) is tokens


def test_special_tokens_are_not_dropped():
    tokens = torch.arange(len(SpecialToken) + 1)[None]
    dropped = WordDropout(1.0)(tokens)
    assert dropped.tolist() == [[0, 1, 2, 3, 4, 5, int(SpecialToken.UNKNOWN)]]
