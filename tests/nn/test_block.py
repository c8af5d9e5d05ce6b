"""The pre-norm blocks against their equations in NumPy."""

import math

import numpy as np
import pytest
import torch

from skattn.nn import DecoderBlock, EncoderBlock, recording

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


TOKENS = np.random.default_rng(1).normal(size=(3, 5, WIDTH))


def decode_of(state, h, memory, seen, real):
    """Transform one sample; `seen` (tokens, tokens), `real` (keys,)."""

    def part(prefix):
        start = len(prefix)
        return {n[start:]: w for n, w in state.items() if n.startswith(prefix)}

    def attend(prefix, query, keys, allowed):
        own = part(f"{prefix}.")
        query = query @ own["project_query.weight"].T + own["project_query.bias"]
        joint = keys @ own["project_key_value.weight"].T + own["project_key_value.bias"]
        key, value = joint[:, :WIDTH], joint[:, WIDTH:]
        heads, all_weights = [], []
        for columns in np.split(np.arange(WIDTH), HEADS):
            scores = query[:, columns] @ key[:, columns].T / math.sqrt(len(columns))
            weights = np.where(allowed, np.exp(scores - scores.max()), 0.0)
            weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
            all_weights.append(weights)
            heads.append(weights @ value[:, columns])
        out = np.hstack(heads) @ own["project_out.weight"].T + own["project_out.bias"]
        return out, np.stack(all_weights)

    def normed(name, h):
        return layer_norm(h, state[f"{name}.weight"], state[f"{name}.bias"])

    tokens = normed("norm_attention", h)
    attended, self_weights = attend("attention", tokens, tokens, seen)
    h = h + attended
    allowed = np.broadcast_to(real, (len(h), len(memory)))
    attended, cross_weights = attend(
        "cross_attention", normed("norm_cross", h), memory, allowed
    )
    h = h + attended
    own = part("feed_forward.")
    hidden = normed("norm_feed_forward", h) @ own["0.weight"].T + own["0.bias"]
    out = np.maximum(hidden, 0) @ own["3.weight"].T + own["3.bias"]
    return h + out, self_weights, cross_weights


@pytest.fixture
def decoder():
    made = DecoderBlock(
        WIDTH,
        HEADS,
        d_ff=HIDDEN,
        dropout=0.5,
        layer="b",
        tokens="horizon",
        memory="time",
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return made.double().eval()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_equation_of_the_decoder(decoder, masked, causal):
    state = {name: value.numpy() for name, value in decoder.state_dict().items()}
    seen = np.tril(np.ones((5, 5), bool)) if causal else np.ones((5, 5), bool)
    real = MASK if masked else np.ones_like(MASK)
    expected = [
        decode_of(state, h, memory, seen, keys)
        for h, memory, keys in zip(TOKENS, H, real, strict=True)
    ]
    args = [torch.from_numpy(array) for array in (TOKENS, H)]
    args.append(torch.from_numpy(MASK) if masked else None)
    received = []
    with recording(received.append):
        explicit = decoder(*args, causal=causal)
    fused = decoder(*args, causal=causal)
    output, own, cross = (np.stack(arrays) for arrays in zip(*expected, strict=True))
    np.testing.assert_allclose(fused.numpy(), output, atol=1e-11)
    np.testing.assert_allclose(explicit.numpy(), output, atol=1e-11)
    assert [(r.layer, r.kind, r.queries, r.keys) for r in received] == [
        ("b", "self", "horizon", "horizon"),
        ("b", "cross", "horizon", "time"),
    ]
    for record, weights in zip(received, (own, cross), strict=True):
        np.testing.assert_allclose(record.weights.numpy(), weights, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_the_decoder_gives_the_same_token_by_token(decoder, masked):
    tokens, memory = torch.from_numpy(TOKENS), torch.from_numpy(H)
    mask = torch.from_numpy(MASK) if masked else None
    state = decoder.start(memory)
    steps = []
    for number in range(tokens.shape[1]):
        h, state = decoder.step(tokens[:, number : number + 1], state, mask)
        steps.append(h)
    torch.testing.assert_close(torch.cat(steps, dim=1), decoder(tokens, memory, mask))


@torch.no_grad()
def test_a_decoder_that_sees_no_memory_survives(decoder):
    tokens, memory = torch.from_numpy(TOKENS), torch.from_numpy(H)
    nothing = torch.zeros(3, 6, dtype=torch.bool)
    h, _ = decoder.step(tokens[:, :1], decoder.start(memory), nothing)
    torch.testing.assert_close(h, decoder(tokens, memory, nothing)[:, :1])
    assert h.isfinite().all()
