"""Patches, variates, blocks and heads of forecasting nets."""

import pytest
import torch
from torch import nn

from skattn import DataSpec
from skattn.nn import (
    HorizonHead,
    MultiheadAttention,
    PatchTokens,
    PostNormBlock,
    TokenBatchNorm,
    VariateTokens,
    grouped_attention,
    recording,
)


def window(length, **fields):
    return DataSpec(
        "forecasting", "series", n_channels=2, n_targets=2, length=length, **fields
    )


def panel(length):
    return DataSpec("regression", "series", n_channels=2, length=length)


def embed_steps(data, patch_length, stride, **options):
    """Embed patches by the values themselves: a token is its patch."""
    embed = PatchTokens(data, patch_length, patch_length, stride, **options)
    with torch.no_grad():
        embed.embed.weight.copy_(torch.eye(patch_length))
        embed.embed.bias.zero_()
    return embed


@pytest.mark.parametrize(("length", "count"), [(336, 42), (512, 64)])
def test_the_paper_counts_its_patches(length, count):
    """PatchTST/42 and PatchTST/64: patches of 16 steps, 8 apart."""
    embed = PatchTokens(window(length), 4, 16, 8, extra_patch=True)
    assert embed.n_patches == count
    tokens, mask = embed(torch.zeros(1, 2, length))
    assert (tokens.shape, mask) == ((1, 2, count, 4), None)


@pytest.mark.parametrize(
    ("length", "used"),
    [
        (32, (16, 8)),
        (31, (16, 8)),
        (24, (12, 6)),
        (7, (4, 2)),
        (2, (1, 1)),
        (1, (1, 1)),
    ],
)
def test_patches_are_at_most_half_of_the_window(length, used):
    embed = PatchTokens(window(length), 4, 16, 8)
    assert (embed.patch_length, embed.stride) == used
    assert embed(torch.zeros(3, 2, length))[0].shape == (3, 2, embed.n_patches, 4)


def test_steps_between_patches_are_not_lost():
    with pytest.raises(ValueError, match=r"stride=5 is above patch_length=4.*at most"):
        PatchTokens(window(32), 4, 4, 5)


@pytest.mark.parametrize(
    ("extra_patch", "patches"),
    [
        (False, [[0, 1, 2], [2, 3, 4], [4, 5, 6]]),
        (True, [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 6, 6]]),
    ],
)
@torch.no_grad()
def test_patches_by_hand(extra_patch, patches):
    embed = embed_steps(window(7), 3, 2, extra_patch=extra_patch)
    tokens, _ = embed(torch.arange(7.0).expand(1, 2, 7))
    assert tokens[0].tolist() == [patches, patches]


@torch.no_grad()
def test_the_last_value_fills_the_last_patch():
    tokens, _ = embed_steps(window(8), 3, 2)(torch.arange(8.0).expand(1, 2, 8))
    assert tokens[0, 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 7]]


@torch.no_grad()
def test_a_window_padded_on_the_left():
    """A patch counts if one of its steps is real."""
    mask = torch.arange(7) >= torch.tensor([0, 2, 3, 6])[:, None]
    x = torch.arange(1.0, 8.0).expand(4, 2, 7)
    tokens, patch_mask = embed_steps(window(7), 3, 2)(x, mask=mask)
    assert tokens[2, 0].tolist() == [[0, 0, 0], [0, 4, 5], [5, 6, 7]]
    assert patch_mask.tolist() == [
        [True, True, True],
        [True, True, True],
        [False, True, True],
        [False, False, True],
    ]


@pytest.mark.parametrize("extra_patch", [False, True])
@pytest.mark.parametrize("missing", [False, True])
@torch.no_grad()
def test_a_series_padded_on_the_right_has_the_patches_that_it_has_alone(
    extra_patch, missing
):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    embed = PatchTokens(panel(12), 4, 3, 2, extra_patch=extra_patch)
    lengths = range(1, 13)
    x = torch.randn(12, 2, 12, generator=generator)
    observed = torch.rand(x.shape, generator=generator) > 0.3 if missing else None
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    tokens, patch_mask = embed(x, observed, mask)
    for row, length in enumerate(lengths):
        own = None if observed is None else observed[row : row + 1, :, :length]
        alone, nothing = embed(x[row : row + 1, :, :length], own)
        assert nothing is None
        count = embed.count(length)
        assert patch_mask[row].tolist() == [
            number < count for number in range(embed.n_patches)
        ]
        torch.testing.assert_close(tokens[row : row + 1, :, :count], alone)


@torch.no_grad()
def test_missing_steps_have_a_map_of_their_own():
    embed = embed_steps(window(4), 2, 2)
    embed.embed_missing.weight.copy_(10 * torch.eye(2))
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]] * 2])
    observed = torch.tensor([[[True, False, True, True], [True, True, True, True]]])
    tokens, _ = embed(x, observed)
    assert tokens[0].tolist() == [[[1, 10], [3, 4]], [[1, 2], [3, 4]]]
    # What is padded is not missing.
    mask = torch.tensor([[False, False, True, True]])
    tokens, _ = embed(x, observed & mask[:, None], mask)
    assert tokens[0].tolist() == [[[0, 0], [3, 4]], [[0, 0], [3, 4]]]


KNOWN = window(4, horizon=2, n_known=2, known_category_counts=(3, 4))


@torch.no_grad()
def test_variates_by_hand():
    embed = VariateTokens(KNOWN, 1)
    assert embed.axis == (
        "channels",
        "known 0",
        "known 1",
        "known category 0",
        "known category 1",
    )
    embed.embed.weight.copy_(torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
    embed.embed.bias.fill_(0.5)
    embed.embed_missing.weight.fill_(-1.0)
    embed.embed_known.weight.copy_(10.0 ** torch.arange(6.0)[None])
    embed.embed_known.bias.fill_(0.25)
    embed.codes.weight.copy_(torch.arange(7.0)[:, None])
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]])
    mask = torch.tensor([[False, True, True, True]])
    observed = torch.tensor([[[False, True, False, True], [False, True, True, True]]])
    known = torch.tensor([[[1.0] * 6, [2.0] * 6]])
    codes = torch.tensor([[[0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 0, 1]]])
    tokens = embed(x, observed, mask, known, codes)
    assert tokens[0, :, 0].tolist() == [
        4020.5 - 1,
        8760.5,
        111111.25,
        222222.25,
        210210.25,
        436543.25,
    ]


def test_codes_that_are_unknown_start_at_zero():
    numbers = VariateTokens(KNOWN, 1).codes.weight[:, 0]
    assert (numbers == 0).tolist() == [True, False, False, True, False, False, False]


def test_without_known_covariates_there_is_nothing_to_embed_them():
    embed = VariateTokens(window(4, horizon=2), 8)
    assert embed.axis == "channels"
    names = {name.partition(".")[0] for name, _ in embed.named_parameters()}
    assert names == {"embed", "embed_missing"}


@pytest.mark.parametrize("missing", [False, True])
@torch.no_grad()
def test_a_series_longer_than_those_of_training_is_averaged_over_pieces(missing):
    torch.manual_seed(0)
    embed = VariateTokens(panel(4), 3)
    x = torch.randn(3, 2, 10)
    observed = torch.rand(x.shape) > 0.3 if missing else None
    mask = torch.arange(10) < torch.tensor([10, 8, 3])[:, None]
    tokens = embed(x, observed, mask)
    for row, length in enumerate((10, 8, 3)):
        own = None if observed is None else observed[row : row + 1, :, :length]
        alone = x[row : row + 1, :, :length]
        pieces = [
            embed(alone[..., i : i + 4], None if own is None else own[..., i : i + 4])
            for i in range(0, length, 4)
        ]
        expected = torch.stack(pieces).mean(dim=0)
        torch.testing.assert_close(tokens[row : row + 1], expected)
        torch.testing.assert_close(embed(alone, own), expected)


H = torch.randn(3, 2, 5, 8, generator=torch.Generator().manual_seed(0))
MASK = torch.arange(5) < torch.tensor([5, 3, 1])[:, None]


@pytest.mark.parametrize("mask", [None, MASK])
@torch.no_grad()
def test_groups_attend_to_themselves_and_records_tell_them_apart(mask):
    torch.manual_seed(0)
    attend = MultiheadAttention(8, 4, layer="a", queries="patch", keys="patch")
    fused = grouped_attention(attend, H, mask)
    received, single = [], []
    with recording(received.append):
        explicit = grouped_attention(attend, H, mask)
    with recording(single.append):
        expected = [attend(H[:, group], H[:, group], mask) for group in range(2)]
    torch.testing.assert_close(fused, torch.stack(expected, dim=1))
    torch.testing.assert_close(explicit, torch.stack(expected, dim=1))
    (record,) = received
    assert (record.layer, record.kind) == ("a", "self")
    assert (record.queries, record.keys) == ("patch", "patch")
    weights = torch.cat([part.weights for part in single], dim=1)
    torch.testing.assert_close(record.weights, weights)


def norms(width=8):
    """Make ours and torch's with the same weights."""
    generator = torch.Generator().manual_seed(1)
    ours, theirs = TokenBatchNorm(width), nn.BatchNorm1d(width)
    for norm in (ours, theirs):
        norm.weight.data = torch.randn(width, generator=generator.manual_seed(1))
        norm.bias.data = torch.randn(width, generator=generator)
    return ours, theirs


def test_batch_norm_counts_real_tokens_only():
    ours, theirs = norms()
    real = MASK[:, None].expand(3, 2, 5)
    leaf, other = H.clone().requires_grad_(), H.clone().requires_grad_()
    for _ in range(2):
        out, expected = ours(leaf, MASK)[real], theirs(other[real])
        torch.testing.assert_close(out, expected)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    goal = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (out * goal).sum().backward()
    (expected * goal).sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad)


def test_batch_norm_of_whole_samples_is_that_of_torch():
    ours, theirs = norms()
    expected = theirs(H.flatten(0, 2)).view_as(H)
    torch.testing.assert_close(ours(H), expected)
    everything = torch.ones_like(MASK)
    torch.testing.assert_close(ours(H, everything), expected)
    assert ours.num_batches_tracked == 1


@pytest.mark.parametrize("mask", [None, MASK])
def test_batch_norm_in_evaluation_uses_what_it_has_seen(mask):
    ours, theirs = norms()
    ours.running_mean.copy_(torch.arange(8.0))
    ours.running_var.copy_(torch.arange(1.0, 9.0))
    theirs.load_state_dict(ours.state_dict())
    expected = theirs.eval()(H.flatten(0, 2)).view_as(H)
    torch.testing.assert_close(ours.eval()(H, mask), expected)


@pytest.mark.parametrize("mask", [None, torch.ones(1, 1, dtype=torch.bool)])
def test_batch_norm_survives_a_single_token(mask):
    ours, _ = norms()
    h = H[:1, :1, :1]
    torch.testing.assert_close(ours(h, mask), ours.eval()(h))
    assert not ours.running_mean.any()


def test_batch_norm_survives_a_single_real_token():
    ours, _ = norms()
    out = ours(H[:1, :1], MASK[2:])
    torch.testing.assert_close(out[0, 0, 0], ours.bias)
    assert ours.running_var.isfinite().all()


@pytest.mark.parametrize("batch_norm", [False, True])
@torch.no_grad()
def test_post_norm_block(batch_norm):
    torch.manual_seed(0)
    block = PostNormBlock(
        8, 2, d_ff=6, dropout=0.5, layer="b", tokens="patch", batch_norm=batch_norm
    ).eval()
    for parameter in block.parameters():
        parameter.copy_(torch.randn(parameter.shape))

    def normed(norm, h):
        if batch_norm:
            h = (h - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5)
        else:
            variance = h.var(dim=-1, correction=0, keepdim=True)
            h = (h - h.mean(dim=-1, keepdim=True)) / torch.sqrt(variance + 1e-5)
        return h * norm.weight + norm.bias

    h = H + grouped_attention(block.attention, H, MASK)
    h = normed(block.norm_attention, h)
    first, _, _, last = block.feed_forward
    hidden = h @ first.weight.T + first.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    h = normed(block.norm_feed_forward, h + hidden @ last.weight.T + last.bias)
    torch.testing.assert_close(block(H, MASK), h, rtol=1e-4, atol=1e-5)


def test_a_block_drops_units_only_while_training():
    torch.manual_seed(0)
    block = PostNormBlock(8, 2, d_ff=6, dropout=0.5, layer="b", tokens="patch")
    assert not torch.equal(block(H), block(H))
    block.eval()
    assert torch.equal(block(H), block(H))


@pytest.mark.parametrize("n_parameters", [1, 3])
@torch.no_grad()
def test_all_targets_share_the_map_to_the_horizon(n_parameters):
    data = window(8, horizon=4, n_parameters=n_parameters)
    head = HorizonHead(data, 2)
    size = 4 * n_parameters
    head.linear.weight.copy_(torch.arange(2.0 * size).reshape(size, 2))
    head.linear.bias.zero_()
    scores = head(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    shape = (4,) if n_parameters == 1 else (4, n_parameters)
    assert scores.shape == (1, 2, *shape)
    assert torch.equal(scores[0, 0], torch.arange(0.0, 2 * size, 2).reshape(shape))
    assert torch.equal(scores[0, 1], torch.arange(1.0, 2 * size, 2).reshape(shape))


def test_the_head_drops_units_of_its_input():
    torch.manual_seed(0)
    head = HorizonHead(window(8, horizon=4), 400, dropout=0.5)
    h = torch.ones(1, 2, 400)
    assert not torch.equal(head(h), head(h))
    assert torch.equal(head.eval()(h), head(h))
