"""Which tokens an input gets."""

import pytest
import torch

from skattn import DataSpec
from skattn.nn import FeatureTokens, StepTokens, Tokens

TABLE = DataSpec("regression", "table", n_features=3, category_counts=(4,))
PANEL = DataSpec("classification", "series", n_outputs=2, n_channels=2, length=7)
WINDOW = DataSpec(
    "forecasting", "series", n_channels=2, n_targets=1, length=7, horizon=2
)


@pytest.mark.parametrize(
    ("data", "axis", "kind"),
    [
        (TABLE, "features", FeatureTokens),
        (PANEL, "time", StepTokens),
        (WINDOW, "time", StepTokens),
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
