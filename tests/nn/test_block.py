"""The pre-norm encoder block against its equations in NumPy."""

import math

import numpy as np
import pytest
import torch

from skattn.nn import EncoderBlock, recording

WIDTH, HEADS, HIDDEN = 8, 2, 12


def layer_norm(h, scale, shift):
    centred = h - h.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * scale + shift


def block_of(state, h, allowed):
    """Transform one sample (tokens, width); `allowed` is (queries, keys)."""
    n_queries = len(allowed)
    normed = layer_norm(h, state["norm_attention.weight"], state["norm_attention.bias"])
    query = normed[:n_queries] @ state["attention.project_query.weight"].T
    query += state["attention.project_query.bias"]
    joint = normed @ state["attention.project_key_value.weight"].T
    joint += state["attention.project_key_value.bias"]
    key, value = joint[:, :WIDTH], joint[:, WIDTH:]
    heads, all_weights = [], []
    for part in np.split(np.arange(WIDTH), HEADS):
        scores = query[:, part] @ key[:, part].T / math.sqrt(len(part))
        weights = np.where(allowed, np.exp(scores - scores.max()), 0.0)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
        all_weights.append(weights)
        heads.append(weights @ value[:, part])
    attended = np.hstack(heads) @ state["attention.project_out.weight"].T
    h = h[:n_queries] + attended + state["attention.project_out.bias"]
    normed = layer_norm(
        h, state["norm_feed_forward.weight"], state["norm_feed_forward.bias"]
    )
    hidden = normed @ state["feed_forward.0.weight"].T + state["feed_forward.0.bias"]
    out = np.maximum(hidden, 0) @ state["feed_forward.3.weight"].T
    return h + out + state["feed_forward.3.bias"], np.stack(all_weights)


@pytest.fixture
def block():
    made = EncoderBlock(
        WIDTH, HEADS, d_ff=HIDDEN, dropout=0.5, layer="b", tokens="time", queries=None
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():  # norms of their own, too
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return made.double().eval()


H = np.random.default_rng(0).normal(size=(3, 6, WIDTH))
MASK = np.arange(6) < np.array([6, 4, 1])[:, None]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("n_queries", [None, 1, 3])
@torch.no_grad()
def test_equation(block, masked, causal, n_queries):
    if causal and n_queries is not None:
        n_queries = 6  # the first query is the first key
    state = {name: value.numpy() for name, value in block.state_dict().items()}
    allowed = np.ones((3, 6, 6), bool)
    if masked:
        allowed &= MASK[:, None]
    if causal:
        allowed &= np.tril(np.ones((6, 6), bool))
    expected = [
        block_of(state, h, keys[:n_queries]) for h, keys in zip(H, allowed, strict=True)
    ]
    args = (torch.from_numpy(H), torch.from_numpy(MASK) if masked else None)
    received = []
    with recording(received.append):
        explicit = block(*args, causal=causal, n_queries=n_queries)
    fused = block(*args, causal=causal, n_queries=n_queries)
    output = np.stack([out for out, _ in expected])
    weights = np.stack([weights for _, weights in expected])
    np.testing.assert_allclose(fused.numpy(), output, atol=1e-11)
    np.testing.assert_allclose(explicit.numpy(), output, atol=1e-11)
    np.testing.assert_allclose(received[0].weights.numpy(), weights, atol=1e-12)


@torch.no_grad()
def test_without_weights_the_block_does_nothing(block):
    """Both branches end in a linear map: at zero only the residual is left."""
    for layer in (block.attention.project_out, block.feed_forward[3]):
        layer.weight.zero_()
        layer.bias.zero_()
    h = torch.from_numpy(H)
    assert torch.equal(block(h), h)
    assert torch.equal(block(h, n_queries=2), h[:, :2])


@torch.no_grad()
def test_the_first_queries_of_all(block):
    h, mask = torch.from_numpy(H), torch.from_numpy(MASK)
    torch.testing.assert_close(block(h, mask, n_queries=2), block(h, mask)[:, :2])


@torch.no_grad()
def test_dropout_only_while_training(block):
    h = torch.from_numpy(H)
    assert torch.equal(block(h), block(h))
    block.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(block(h), block(h))


@pytest.mark.parametrize(
    ("queries", "expected"), [(None, ("cls", "time")), ("cls", "cls")]
)
def test_names_of_the_axes(queries, expected):
    block = EncoderBlock(
        WIDTH,
        HEADS,
        d_ff=HIDDEN,
        dropout=0.0,
        layer="blocks.0",
        tokens=("cls", "time"),
        queries=queries,
    )
    received = []
    with recording(received.append):
        block(torch.ones(1, 3, WIDTH))
    (record,) = received
    assert (record.layer, record.kind) == ("blocks.0", "self")
    assert (record.queries, record.keys) == (expected, ("cls", "time"))
