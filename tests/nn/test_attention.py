"""Attention against its equations, on the fused and on the recorded path."""

import math

import numpy as np
import pytest
import torch

from skattn.nn import (
    MultiheadAttention,
    additive_attention,
    attention,
    masked_softmax,
    recording,
)

NAMES = {"layer": "a", "queries": "time", "keys": "time"}

BATCH, HEADS, QUERIES, KEYS, WIDTH = 3, 2, 5, 5, 4


def softmax(scores, mask):
    """Row by row over the keys that are left; a row without any is zero."""
    weights = np.zeros_like(scores)
    for row in np.ndindex(scores.shape[:-1]):
        kept = mask[row]
        if kept.any():
            exponential = np.exp(scores[row][kept] - scores[row][kept].max())
            weights[row][kept] = exponential / exponential.sum()
    return weights


def dot_product(query, key, value, mask):
    """One head of one sample at a time."""
    scores = np.empty((*query.shape[:3], key.shape[2]))
    for b, h in np.ndindex(query.shape[:2]):
        scores[b, h] = query[b, h] @ key[b, h].T / math.sqrt(query.shape[-1])
    weights = softmax(scores, np.broadcast_to(mask, scores.shape))
    return np.einsum("bhqk,bhkd->bhqd", weights, value), weights


def recorded(function, *args, **kwargs):
    """Call under a recorder; return the output and the only weights."""
    received = []
    with recording(received.append):
        output = function(*args, **kwargs)
    (record,) = received
    return output, record.weights


def draw(seed, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def draw_heads(dtype=torch.float64):
    query = draw(0, BATCH, HEADS, QUERIES, WIDTH, dtype=dtype)
    key = draw(1, BATCH, HEADS, KEYS, WIDTH, dtype=dtype)
    value = draw(2, BATCH, HEADS, KEYS, WIDTH, dtype=dtype)
    return query, key, value


# The first sample is whole, the second padded on the left, the third all padding.
KEY_MASK = torch.tensor(
    [[True] * 5, [False, False, True, True, True], [False] * 5], dtype=torch.bool
)
FULL_MASK = draw(3, BATCH, HEADS, QUERIES, KEYS) > 0
FULL_MASK[1, 0, 2] = False
LOWER = torch.ones(QUERIES, KEYS, dtype=torch.bool).tril()

MASKS = {
    "none": ({}, torch.ones(1, 1, 1, 1, dtype=torch.bool)),
    "keys": ({"mask": KEY_MASK}, KEY_MASK[:, None, None]),
    "full": ({"mask": FULL_MASK}, FULL_MASK),
    "causal": ({"causal": True}, LOWER),
    "causal keys": (
        {"mask": KEY_MASK, "causal": True},
        KEY_MASK[:, None, None] & LOWER,
    ),
    "causal full": ({"mask": FULL_MASK, "causal": True}, FULL_MASK & LOWER),
}

each_mask = pytest.mark.parametrize(("options", "mask"), MASKS.values(), ids=MASKS)


def test_softmax_leaves_out_what_is_masked():
    scores = torch.tensor([[0.0, math.log(3.0), 50.0]])
    mask = torch.tensor([[True, True, False]])
    expected = torch.tensor([[0.25, 0.75, 0.0]])
    torch.testing.assert_close(masked_softmax(scores, mask), expected)


def test_softmax_without_a_mask_is_torchs():
    scores = draw(0, 2, 3, 4)
    torch.testing.assert_close(masked_softmax(scores, None), scores.softmax(-1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_softmax_of_extreme_scores(dtype):
    scores = torch.tensor([[-1e30, -1e30, 1e30], [-1e30, -2e30, 1e30]], dtype=dtype)
    mask = torch.tensor([True, True, False])
    expected = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(masked_softmax(scores, mask), expected)


def test_softmax_without_any_key():
    scores = draw(0, 2, 3).requires_grad_()
    weights = masked_softmax(scores, torch.tensor([[True] * 3, [False] * 3]))
    weights.square().sum().backward()
    assert not weights[1].any()
    assert scores.grad.isfinite().all()
    assert not scores.grad[1].any()


@each_mask
def test_dot_product_equation(options, mask):
    query, key, value = draw_heads()
    output, weights = dot_product(
        query.numpy(), key.numpy(), value.numpy(), mask.numpy()
    )
    fused = attention(query, key, value, **options, **NAMES)
    explicit, kept = recorded(attention, query, key, value, **options, **NAMES)
    np.testing.assert_allclose(fused.numpy(), output, atol=1e-12)
    np.testing.assert_allclose(explicit.numpy(), output, atol=1e-12)
    np.testing.assert_allclose(kept.numpy(), weights, atol=1e-12)


@each_mask
def test_both_paths_agree_in_float32(options, mask):
    heads = draw_heads(torch.float32)
    explicit, _ = recorded(attention, *heads, **options, **NAMES)
    fused = attention(*heads, **options, **NAMES)
    torch.testing.assert_close(fused, explicit, atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_recorded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_mask
def test_queries_without_a_key_give_zeros_and_gradients(
    options, mask, dtype, is_recorded
):
    heads = [tensor.requires_grad_() for tensor in draw_heads(dtype)]
    if is_recorded:
        output, _ = recorded(attention, *heads, **options, **NAMES)
    else:
        output = attention(*heads, **options, **NAMES)
    has_key = mask.expand(BATCH, HEADS, QUERIES, KEYS).any(dim=-1)
    assert not output[~has_key].any()
    output.square().sum().backward()
    query, key, value = heads
    for tensor in heads:
        assert tensor.grad.isfinite().all()
    assert not query.grad[~has_key].any()
    is_seen = mask.expand(BATCH, HEADS, QUERIES, KEYS).any(dim=-2)
    assert not key.grad[~is_seen].any()
    assert not value.grad[~is_seen].any()


def test_gradients_of_both_paths_agree():
    gradients = []
    for is_recorded in (False, True):
        heads = [tensor.requires_grad_() for tensor in draw_heads()]
        options = {"mask": KEY_MASK, "causal": True, **NAMES}
        if is_recorded:
            output, _ = recorded(attention, *heads, **options)
        else:
            output = attention(*heads, **options)
        output.sin().sum().backward()
        gradients.append(torch.stack([tensor.grad for tensor in heads]))
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=0)


def test_dot_product_by_hand():
    """Scores 0, log 2, log 4 after the division by sqrt(4): weights 1/7, 2/7, 4/7."""
    query = torch.tensor([2 * math.log(2.0), 0, 0, 0]).reshape(1, 1, 1, 4)
    key = torch.zeros(1, 1, 3, 4)
    key[0, 0, :, 0] = torch.arange(3)
    value = torch.tensor([7.0, 14.0, 21.0]).reshape(1, 1, 3, 1)
    output, weights = recorded(attention, query, key, value, **NAMES)
    assert weights.flatten().tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert output.item() == pytest.approx(1 + 4 + 12, rel=1e-6)
    fused = attention(query, key, value, **NAMES)
    assert fused.item() == pytest.approx(17, rel=1e-6)


def test_other_numbers_of_keys_than_queries():
    query, key, value = draw(0, 2, 2, 1, 4), draw(1, 2, 2, 6, 4), draw(2, 2, 2, 6, 4)
    output, weights = recorded(attention, query, key, value, **NAMES)
    expected, _ = dot_product(
        query.numpy(), key.numpy(), value.numpy(), np.ones((1, 1, 1, 1), bool)
    )
    assert weights.shape == (2, 2, 1, 6)
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-12)


def test_the_record_says_what_it_is():
    heads = draw_heads()
    received = []
    with recording(received.append):
        attention(
            *heads, layer="blocks.1", kind="cross", queries="cls", keys=("cls", "time")
        )
    (record,) = received
    assert (record.layer, record.kind, record.normalised) == ("blocks.1", "cross", True)
    assert (record.queries, record.keys) == ("cls", ("cls", "time"))
    assert not record.weights.requires_grad


@pytest.mark.parametrize("is_recorded", [False, True])
def test_dropout_drops_weights_and_keeps_the_mean(is_recorded):
    query, key = torch.zeros(1, 1, 2000, 1), torch.zeros(1, 1, 4, 1)
    value = torch.ones(1, 1, 4, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if is_recorded:
            output, weights = recorded(
                attention, query, key, value, dropout=0.5, **NAMES
            )
            assert (weights == 0.25).all()  # what is recorded is not dropped
        else:
            output = attention(query, key, value, dropout=0.5, **NAMES)
    # Each of four weights of 1/4 is 0 or 1/2.
    assert sorted(set(output.flatten().tolist())) == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert output.mean().item() == pytest.approx(1.0, abs=0.05)


def test_additive_equation():
    query, key, value = draw(0, 3, 2, 4), draw(1, 3, 5, 4), draw(2, 3, 5, 6)
    score = draw(3, 4)
    scores = np.empty((3, 2, 5))
    for b, i, j in np.ndindex(scores.shape):
        joint = np.tanh(query[b, i].numpy() + key[b, j].numpy())
        scores[b, i, j] = score.numpy() @ joint
    for mask in (None, KEY_MASK):
        allowed = np.ones((3, 1, 5), bool) if mask is None else mask.numpy()[:, None]
        expected = softmax(scores, np.broadcast_to(allowed, scores.shape))
        kwargs = {"mask": mask, "layer": "a", "queries": "state", "keys": "time"}
        output, weights = recorded(
            additive_attention, query, key, value, score, **kwargs
        )
        assert weights.shape == (3, 1, 2, 5)
        np.testing.assert_allclose(weights[:, 0].numpy(), expected, atol=1e-12)
        np.testing.assert_allclose(output.numpy(), expected @ value.numpy(), atol=1e-12)
        unseen = additive_attention(query, key, value, score, **kwargs)
        assert torch.equal(unseen, output)


def test_additive_by_hand():
    """Scores 2 log 3 · (0, 1/2) = (0, log 3): weights 1/4 and 3/4."""
    query = torch.full((1, 1, 1), math.atanh(0.25))
    key = torch.tensor([-math.atanh(0.25), math.atanh(0.5) - math.atanh(0.25)])
    value = torch.tensor([4.0, 8.0]).reshape(1, 2, 1)
    output = additive_attention(
        query,
        key.reshape(1, 2, 1),
        value,
        torch.tensor([2 * math.log(3.0)]),
        layer="a",
        queries="state",
        keys="time",
    )
    assert output.item() == pytest.approx(4 / 4 + 3 * 8 / 4, rel=1e-6)


def test_additive_without_any_key_gives_zeros_and_gradients():
    tensors = [draw(0, 3, 2, 4), draw(1, 3, 5, 4), draw(2, 3, 5, 6), draw(3, 4)]
    for tensor in tensors:
        tensor.requires_grad_()
    output = additive_attention(
        *tensors, mask=KEY_MASK, layer="a", queries="state", keys="time"
    )
    output.square().sum().backward()
    assert not output[2].any()
    for tensor in tensors:
        assert tensor.grad.isfinite().all()
    for tensor in tensors[:3]:
        assert not tensor.grad[2].any()


def head_weights(module, head, width):
    """Slice the projections of one head out of the joint matrices."""
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    d_model = module.num_heads * width
    at = slice(head * width, (head + 1) * width)
    key_at = at
    value_at = slice(d_model + at.start, d_model + at.stop)
    joint, joint_bias = (
        state["project_key_value.weight"],
        state["project_key_value.bias"],
    )
    return (
        (state["project_query.weight"][at], state["project_query.bias"][at]),
        (joint[key_at], joint_bias[key_at]),
        (joint[value_at], joint_bias[value_at]),
    )


@pytest.mark.parametrize("num_heads", [1, 2, 4])
@pytest.mark.parametrize(
    ("mask", "causal"), [(None, False), (KEY_MASK, False), (KEY_MASK, True)]
)
def test_multihead_equation(num_heads, mask, causal):
    module = MultiheadAttention(8, num_heads, **NAMES).double()
    memory = draw(0, BATCH, KEYS, 8)
    query = memory if causal else draw(1, BATCH, 2, 8)
    allowed = np.ones((BATCH, query.shape[1], KEYS), bool)
    if mask is not None:
        allowed &= mask.numpy()[:, None]
    if causal:
        allowed &= np.tril(np.ones((KEYS, KEYS), bool))
    heads, expected = [], []
    for head in range(num_heads):
        (w_q, b_q), (w_k, b_k), (w_v, b_v) = head_weights(module, head, 8 // num_heads)
        q = query.numpy() @ w_q.T + b_q
        k = memory.numpy() @ w_k.T + b_k
        v = memory.numpy() @ w_v.T + b_v
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(8 // num_heads)
        expected.append(softmax(scores, allowed))
        heads.append(expected[-1] @ v)
    joined = np.concatenate(heads, axis=-1)
    output = joined @ module.project_out.weight.detach().numpy().T
    output += module.project_out.bias.detach().numpy()
    with torch.no_grad():
        fused = module(query, memory, mask, causal)
        explicit, weights = recorded(module, query, memory, mask, causal)
    np.testing.assert_allclose(fused.numpy(), output, atol=1e-12)
    np.testing.assert_allclose(explicit.numpy(), output, atol=1e-12)
    np.testing.assert_allclose(weights.numpy(), np.stack(expected, 1), atol=1e-12)


def test_multihead_drops_weights_only_in_training():
    module = MultiheadAttention(4, 2, dropout=0.5, **NAMES)
    h = torch.ones(2, 6, 4)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        assert not torch.equal(module(h, h), module(h, h))
        module.eval()
        assert torch.equal(module(h, h), module(h, h))


def test_multihead_needs_heads_of_equal_width():
    with pytest.raises(ValueError, match=r"d_model=6.*num_heads=4.*multiple"):
        MultiheadAttention(6, 4, **NAMES)
