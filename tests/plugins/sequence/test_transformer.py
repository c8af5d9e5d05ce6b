"""The Transformer against its equations in NumPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from _numpy_layers import (
    PANEL,
    build,
    encoder_block,
    inputs_of,
    layer_norm,
    linear,
    run,
    softmax,
    tokens_of,
    unpadded,
    weights_of,
)

from skattn import DataSpec
from skattn.architectures import Transformer
from skattn.testing import check_architecture

# torch computes the sinusoids in single precision.
TOLERANCE = 2e-5

WINDOW = DataSpec(
    "forecasting", "series", n_channels=3, n_targets=2, length=9, horizon=4
)
KNOWN = replace(WINDOW, n_known=2, known_category_counts=(4, 3))
FORECASTS = {
    "plain": WINDOW,
    "known": KNOWN,
    "parameters": replace(KNOWN, n_parameters=3),
    "one step": replace(KNOWN, horizon=1),
}

DIRECT = Transformer(d_model=8, num_heads=2, num_layers=2, dropout=0.5)
STEPWISE = Transformer(
    d_model=6, num_heads=1, num_layers=2, d_ff=5, decoding="autoregressive"
)


def windows_of(data):
    """Draw windows with gaps, padding, and what is known."""
    inputs = inputs_of(data)
    rng = np.random.default_rng(1)
    n, steps = len(inputs["x"]), data.length + data.horizon
    if data.n_known:
        inputs["known"] = rng.normal(size=(n, data.n_known, steps))
        columns = [rng.integers(c, size=(n, steps)) for c in data.known_category_counts]
        inputs["known_categories"] = np.stack(columns, axis=1)
    return inputs


def positions(first, n_steps, width):
    """Write the sinusoids of Vaswani et al., sines before cosines."""
    steps = np.arange(first, first + n_steps)
    angle = steps[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.hstack([np.sin(angle), np.cos(angle)])


def encode(state, params, h):
    """Transform tokens (steps, width); return the weights of each block."""
    h = h + positions(0, len(h), params.d_model)
    weights = []
    for number in range(params.num_layers):
        prefix = f"encoder.blocks.{number}"
        h, attended = encoder_block(state, prefix, h, params.num_heads)
        weights.append(attended)
    return layer_norm(state, "encoder.norm", h), weights


def attend(state, prefix, num_heads, h, memory, allowed):
    """Let `h` look at `memory` with several heads."""
    query = linear(state, f"{prefix}.project_query", h)
    joint = linear(state, f"{prefix}.project_key_value", memory)
    key, value = np.split(joint, 2, axis=-1)
    weights, heads = [], []
    for part in np.split(np.arange(h.shape[1]), num_heads):
        scores = query[:, part] @ key[:, part].T / math.sqrt(len(part))
        weights.append(softmax(np.where(allowed, scores, -np.inf)))
        heads.append(weights[-1] @ value[:, part])
    return linear(state, f"{prefix}.project_out", np.hstack(heads)), np.stack(weights)


def decode(state, params, h, memory, causal):
    """Transform the tokens of future steps; return two sets of weights a block."""
    n_steps, everything = len(h), np.ones((len(h), len(memory)), bool)
    seen = np.tri(n_steps, dtype=bool) if causal else np.ones((n_steps, n_steps), bool)
    weights = []
    for number in range(params.num_layers):
        prefix = f"decoder.blocks.{number}"
        normed = layer_norm(state, f"{prefix}.norm_attention", h)
        attended, own = attend(
            state, f"{prefix}.attention", params.num_heads, normed, normed, seen
        )
        h = h + attended
        normed = layer_norm(state, f"{prefix}.norm_cross", h)
        attended, cross = attend(
            state,
            f"{prefix}.cross_attention",
            params.num_heads,
            normed,
            memory,
            everything,
        )
        h = h + attended
        normed = layer_norm(state, f"{prefix}.norm_feed_forward", h)
        hidden = np.maximum(linear(state, f"{prefix}.feed_forward.0", normed), 0.0)
        h = h + linear(state, f"{prefix}.feed_forward.3", hidden)
        weights += [own, cross]
    return layer_norm(state, "decoder.norm", h), weights


def known_tokens(state, width, known, codes):
    """Embed what is known of each step: (steps, width)."""
    if known is None:
        return np.zeros((1, width))
    tokens = linear(state, "known.numbers", known.T)
    for column, code in enumerate(codes):
        tokens = tokens + state[f"known.tables.{column}.weight"][code]
    return tokens


def forecast(state, data, params, sample, known, codes, target=None):
    """Compute the scores of one unpadded window, and the weights of all layers."""
    x, observed, _, _ = sample
    length, horizon, width = x.shape[1], data.horizon, params.d_model
    covariates = known_tokens(state, width, known, codes)
    covariates = np.broadcast_to(covariates, (length + horizon, width))
    tokens = tokens_of(state, data, x, observed, None) + covariates[:length]
    memory, encoder_weights = encode(state, params, tokens)
    future = covariates[length:] + positions(length, horizon, width)

    def score(h):
        """Map steps to (n_targets, steps, n_parameters)."""
        scores = linear(state, "head.linear", h)
        scores = scores.reshape(len(h), data.n_targets, data.n_parameters)
        return scores.transpose(1, 0, 2)

    if params.decoding == "direct":
        h, weights = decode(state, params, state["queries"] + future, memory, False)
        scores = score(h)
    else:
        first = np.where(observed[:2, -1], x[:2, -1], 0.0)
        fed = [first]
        for step in range(horizon):
            h = linear(state, "feed", np.stack(fed)) + future[: step + 1]
            h, weights = decode(state, params, h, memory, True)
            scores = score(h)
            fed.append(scores[:, -1, 0] if target is None else target[:, step])
    return (scores[..., 0] if data.n_parameters == 1 else scores), (
        encoder_weights + weights
    )


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("case", FORECASTS)
@pytest.mark.parametrize("params", [DIRECT, STEPWISE], ids=lambda p: p.decoding)
def test_equation_of_a_forecast(params, case, forced):
    data = FORECASTS[case]
    module, inputs = build(params, data), windows_of(data)
    samples = list(unpadded(inputs))
    target = None
    if forced:
        shape = (len(samples), data.n_targets, data.horizon)
        target = inputs["target"] = np.random.default_rng(2).normal(size=shape)
    fused, explicit, records = run(module, inputs)
    state = weights_of(module)
    names = [(record.layer, record.kind) for record in records]
    assert names == [("encoder.0", "self"), ("encoder.1", "self")] + [
        (f"decoder.{number}", kind) for number in (0, 1) for kind in ("self", "cross")
    ]
    axes = [(record.queries, record.keys) for record in records]
    assert axes[0] == ("time", "time")
    assert axes[2:4] == [("horizon", "horizon"), ("horizon", "time")]
    for number, sample in enumerate(samples):
        real = sample[3]
        steps = np.concatenate([real, np.ones(data.horizon, bool)])
        known, codes = (
            inputs[name][number][:, steps] if name in inputs else None
            for name in ("known", "known_categories")
        )
        goal = None if target is None else target[number]
        scores, weights = forecast(state, data, params, sample, known, codes, goal)
        np.testing.assert_allclose(fused[number], scores, atol=TOLERANCE)
        np.testing.assert_allclose(explicit[number], scores, atol=TOLERANCE)
        for record, expected in zip(records, weights, strict=True):
            got = record.weights[number].numpy()  # (heads, queries, keys)
            if record.keys == "time":
                assert not got[:, :, ~real].any()
                got = got[:, :, real]
            if record.queries == "time":
                got = got[:, real]
            np.testing.assert_allclose(got, expected, atol=TOLERANCE)


@pytest.mark.parametrize("params", [DIRECT, STEPWISE], ids=lambda p: p.decoding)
def test_equation_of_a_panel(params):
    module, inputs = build(params, PANEL), inputs_of(PANEL)
    fused, explicit, records = run(module, inputs)
    state = weights_of(module)
    assert [record.layer for record in records] == ["encoder.0", "encoder.1"]
    for number, (x, observed, _, real) in enumerate(unpadded(inputs)):
        tokens = tokens_of(state, PANEL, x, observed, None)
        memory, weights = encode(state, params, tokens)
        scores = linear(state, "head.linear", memory.mean(axis=0))
        np.testing.assert_allclose(fused[number], scores, atol=TOLERANCE)
        np.testing.assert_allclose(explicit[number], scores, atol=TOLERANCE)
        for record, expected in zip(records, weights, strict=True):
            got = record.weights[number].numpy()
            assert not got[:, :, ~real].any()
            got = got[:, real][:, :, real]
            np.testing.assert_allclose(got, expected, atol=TOLERANCE)


def tensors_of(data):
    return {name: torch.from_numpy(array) for name, array in windows_of(data).items()}


@pytest.mark.parametrize("case", FORECASTS)
@torch.no_grad()
def test_fed_with_its_own_forecasts_it_makes_them_again(case):
    data = FORECASTS[case]
    module, inputs = build(STEPWISE, data), tensors_of(data)
    scores = module(**inputs)
    location = scores[..., 0] if data.n_parameters > 1 else scores
    again = module(**inputs, target=location)
    torch.testing.assert_close(again, scores, atol=1e-12, rtol=0)


@torch.no_grad()
def test_a_step_sees_the_targets_before_it_and_no_other():
    module, inputs = build(STEPWISE, WINDOW), tensors_of(WINDOW)
    target = torch.zeros(4, 2, 4).double()
    scores = module(**inputs, target=target)
    for step in range(WINDOW.horizon):
        changed = target.clone()
        changed[..., step] += 1.0
        moved = (module(**inputs, target=changed) - scores).abs().amax(dim=(0, 1))
        assert (moved > 1e-6).tolist() == [later > step for later in range(4)]


@torch.no_grad()
def test_in_one_pass_the_target_has_no_say():
    module, inputs = build(DIRECT, WINDOW), tensors_of(WINDOW)
    given = module(**inputs, target=torch.ones(4, 2, 4).double())
    assert torch.equal(given, module(**inputs))


@torch.no_grad()
@pytest.mark.parametrize("params", [DIRECT, STEPWISE], ids=lambda p: p.decoding)
def test_each_step_knows_its_own_covariates(params):
    module, inputs = build(params, KNOWN), tensors_of(KNOWN)
    last = {**inputs, "known": inputs["known"].clone()}
    last["known"][..., -1] += 1.0
    moved = (module(**last) - module(**inputs)).abs().amax(dim=(0, 1))
    assert moved[-1] > 1e-6
    if params is STEPWISE:
        assert not moved[:-1].any()


def forecasting_checks():
    for title, check in check_architecture(STEPWISE, ecosystem=False):
        if title.startswith("series-forecasting"):
            yield pytest.param(check, id=title)


@pytest.mark.parametrize("check", list(forecasting_checks()))
def test_contract_of_stepwise_decoding(check):
    """The built-in's own checks run in test_conformance, at the default decoding."""
    check(Transformer(decoding="autoregressive"))


@pytest.mark.parametrize("value", ["stepwise", "Direct", None, True])
@pytest.mark.parametrize("data", [PANEL, WINDOW], ids=["panel", "window"])
def test_decoding_is_one_of_two(value, data):
    message = f"decoding={value!r} of Transformer must be 'direct' or 'autoregressive'"
    with pytest.raises(ValueError, match=message):
        Transformer(decoding=value).build(data)


def test_hidden_units_are_twice_the_width_by_default():
    module = Transformer(d_model=8).build(WINDOW)
    for block in (module.encoder.blocks[0], module.decoder.blocks[0]):
        assert block.feed_forward[0].out_features == 16


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        Transformer(d_model=8, num_heads=3).build(WINDOW)


@pytest.mark.parametrize("name", ["d_model", "num_heads", "num_layers", "d_ff"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of Transformer must be a positive integer"
    with pytest.raises(ValueError, match=message):
        Transformer(**{name: value}).build(WINDOW)


@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(value):
    with pytest.raises(ValueError, match=f"dropout={value} of Transformer must be"):
        Transformer(dropout=value).build(WINDOW)
