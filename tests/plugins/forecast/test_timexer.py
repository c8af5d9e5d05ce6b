"""TimeXer against its equations in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from _numpy_forecast_layers import (
    COVARIATES,
    WINDOW,
    build,
    feed_forward,
    horizon,
    inputs_of,
    layer_norm,
    multihead,
    patches,
    run,
    samples,
    variates,
    weights_of,
    whole,
)

from skattn.architectures import TimeXer

CASES = {"window": WINDOW, "covariates": COVARIATES}
PARAMS = [
    (TimeXer(d_model=8, num_heads=2, num_layers=3, patch_length=5, dropout=0.5), 5),
    (TimeXer(d_model=6, num_heads=1, num_layers=1, patch_length=6, d_ff=5), 6),
    (TimeXer(d_model=8, num_heads=4), 10),  # shortened to half of the window
]


def positions(count, width):
    """Write the sinusoids of Vaswani et al., sines before cosines."""
    angle = np.arange(count)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.hstack([np.sin(angle), np.cos(angle)])


def block(state, prefix, h, series, num_heads):
    """Transform one target's tokens, the global one first."""
    attended, among = multihead(state, f"{prefix}.attention", h, h, num_heads)
    h = layer_norm(state, f"{prefix}.norm_attention", h + attended)
    crossed, across = multihead(
        state, f"{prefix}.cross_attention", h[:1], series, num_heads
    )
    token = layer_norm(state, f"{prefix}.norm_cross_attention", h[:1] + crossed)
    h = np.vstack([token, h[1:]])
    h = h + feed_forward(state, f"{prefix}.feed_forward", h)
    return layer_norm(state, f"{prefix}.norm_feed_forward", h), among, across


def forward(state, data, params, patch_length, sample, covariates):
    """Compute the scores of one sample, and both kinds of weights, by target."""
    x, missing, mask = sample
    series = variates(state, data, *sample, **covariates)
    starts = np.arange(0, data.length, patch_length)
    vectors, weights = [], []
    for target in range(data.n_targets):
        tokens, real = patches(
            state, x[target], missing[target], mask, starts, patch_length
        )
        tokens = tokens + positions(len(starts), params.d_model)
        real = np.concatenate([[True], real])
        h = np.vstack([state["global_token"][target], tokens])[real]
        for number in range(params.num_layers):
            h, *both = block(state, f"blocks.{number}", h, series, params.num_heads)
            weights.append((number, *both))
        filled = np.zeros((len(real), params.d_model))
        filled[real] = layer_norm(state, "norm", h)
        vectors.append(filled.ravel())
    return horizon(state, data, np.stack(vectors)), weights, real


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize(("params", "patch_length"), PARAMS)
def test_equation(case, gaps, params, patch_length):
    data = CASES[case]
    module, inputs = build(params, data), inputs_of(data)
    inputs = inputs if gaps else whole(inputs)
    fused, explicit, records = run(module, inputs)
    known = ("known 0", "known 1", "known category 0", "known category 1")
    series = ("channels", *known) if case == "covariates" else "channels"
    tokens = ("global", "patch")
    assert [(r.layer, r.kind, r.queries, r.keys) for r in records] == [
        entry
        for number in range(params.num_layers)
        for entry in (
            (f"blocks.{number}", "self", tokens, tokens),
            (f"blocks.{number}", "cross", "channels", series),
        )
    ]
    state = weights_of(module)
    for number, sample in enumerate(samples(inputs)):
        names = ("known", "known_categories")
        covariates = {name: inputs[name][number] for name in names if name in inputs}
        scores, weights, real = forward(
            state, data, params, patch_length, sample, covariates
        )
        # torch computes the sinusoids in single precision.
        np.testing.assert_allclose(fused[number], scores, atol=1e-5)
        np.testing.assert_allclose(explicit[number], fused[number], atol=1e-11)
        kept = np.flatnonzero(real)
        for layer in range(params.num_layers):
            own = [entry[1:] for entry in weights if entry[0] == layer]
            among, across = zip(*own, strict=True)
            got = records[2 * layer].weights[number].numpy()
            assert not np.delete(got, kept, axis=2).any()
            got = got[:, kept][:, :, kept]  # (targets heads, queries, keys)
            np.testing.assert_allclose(got, np.concatenate(among), atol=1e-5)
            got = records[2 * layer + 1].weights[number].numpy()
            np.testing.assert_allclose(got, np.concatenate(across, axis=1), atol=1e-5)


@pytest.mark.parametrize("name", ["known", "known_categories"])
@torch.no_grad()
def test_the_future_of_covariates_counts(name):
    module, inputs = build(TimeXer(), COVARIATES), inputs_of(COVARIATES)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    scores = module(**tensors)
    tensors[name][..., -1] = 1 - tensors[name][..., -1].clamp(max=1)
    assert not torch.isclose(module(**tensors), scores).any()


@torch.no_grad()
def test_other_targets_reach_a_forecast_by_its_global_token_alone():
    module = build(TimeXer(num_layers=1), WINDOW)
    x = torch.from_numpy(inputs_of(WINDOW)["x"])
    changed = x.clone()
    changed[:, 1] += 1
    assert not torch.isclose(module(changed)[:, 0], module(x)[:, 0]).any()
    width = TimeXer().d_model
    module.head.linear.weight[:, :width] = 0.0  # the global token comes first
    torch.testing.assert_close(module(changed)[:, 0], module(x)[:, 0])


def test_one_sample_of_one_step_can_be_trained_on():
    data = replace(WINDOW, n_channels=1, n_targets=1, length=1, horizon=1)
    scores = TimeXer().build(data).train()(torch.ones(1, 1, 1))
    scores.sum().backward()
    assert scores.isfinite().all()


def test_units_are_dropped_while_training():
    module = TimeXer(dropout=0.5).build(WINDOW).train()
    x = torch.randn(2, 2, 20)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_hidden_units_are_twice_the_width_by_default():
    block = TimeXer(d_model=8).build(WINDOW).blocks[0]
    assert block.feed_forward[0].out_features == 16


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        TimeXer(d_model=8, num_heads=3).build(WINDOW)


@pytest.mark.parametrize(
    "name", ["d_model", "num_heads", "num_layers", "d_ff", "patch_length"]
)
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of TimeXer must be a positive integer"
    with pytest.raises(ValueError, match=message):
        TimeXer(**{name: value}).build(WINDOW)


@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(value):
    with pytest.raises(ValueError, match=f"dropout={value} of TimeXer must be"):
        TimeXer(dropout=value).build(WINDOW)
