"""Which tokens an input gets."""

import pytest
import torch
from torch import nn

from skattn import DataSpec, SpecialToken
from skattn.nn import FeatureTokens, StepTokens, Tokens

TABLE = DataSpec("regression", "table", n_features=3, category_counts=(4,))
PANEL = DataSpec("classification", "series", n_outputs=2, n_channels=2, length=7)
WINDOW = DataSpec(
    "forecasting", "series", n_channels=2, n_targets=1, length=7, horizon=2
)
TEXT = DataSpec("classification", "tokens", n_outputs=2, length=7, vocabulary_size=500)
PAIR = DataSpec("regression", "pair", length=7, vocabulary_size=500)


@pytest.mark.parametrize(
    ("data", "axis", "kind"),
    [
        (TABLE, "features", FeatureTokens),
        (PANEL, "time", StepTokens),
        (WINDOW, "time", StepTokens),
        (TEXT, "tokens", nn.Embedding),
        (PAIR, "tokens", nn.Embedding),
    ],
)
def test_the_input_decides(data, axis, kind):
    tokens = Tokens(data, 8)
    assert tokens.axis == axis
    assert isinstance(tokens.embed, kind)


def test_panels_go_through_two_convolutions_and_windows_through_one():
    def kernels(data):
        return [layer.kernel_size for layer in Tokens(data, 8).embed.convolutions]

    assert kernels(PANEL) == [(5,), (5,)]
    assert kernels(WINDOW) == [(3,)]


@torch.no_grad()
def test_a_table_is_embedded_with_gaps_and_categories():
    tokens = Tokens(TABLE, 8)
    x = torch.ones(2, 3)
    observed = torch.tensor([[True, False, True], [True, True, True]])
    codes = torch.tensor([[1], [3]])
    expected = tokens.embed(x, observed, codes)
    assert torch.equal(tokens(x, observed, codes), expected)
    assert torch.equal(expected[0, 1], tokens.embed.missing[1])
    assert expected.shape == (2, 4, 8)


@torch.no_grad()
@pytest.mark.parametrize("data", [PANEL, WINDOW])
def test_series_are_embedded_with_gaps_and_padding(data):
    tokens = Tokens(data, 8)
    x = torch.ones(2, 2, 7)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    observed = mask[:, None].expand(2, 2, 7).clone()
    observed[0, 1, 3] = False
    got = tokens(x, observed=observed, mask=mask)
    assert torch.equal(got, tokens.embed(x, observed, mask))
    assert not torch.equal(got, tokens.embed(x, None, mask))
    assert not torch.equal(got, tokens.embed(x, observed, None))
    assert got.shape == (2, 7, 8)


@torch.no_grad()
@pytest.mark.parametrize("data", [TEXT, PAIR])
def test_texts_are_embedded_word_by_word_and_padding_is_zero(data):
    tokens = Tokens(data, 8)
    codes = torch.tensor([[7, 499, 7], [6, 0, 9]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    expected = tokens.embed.weight[codes]
    assert torch.equal(tokens(codes), expected)
    assert torch.equal(tokens(codes, mask=mask), expected * mask[..., None])
    assert expected[1, 1:].any(dim=1).all()


@torch.no_grad()
def test_units_of_a_word_have_the_variance_of_one_over_the_width():
    torch.manual_seed(0)
    weight = Tokens(TEXT, 64).embed.weight
    others = torch.arange(500) != SpecialToken.UNKNOWN
    assert float(weight[others].std()) == pytest.approx(1 / 8, rel=0.02)
    assert not weight[SpecialToken.UNKNOWN].any()
