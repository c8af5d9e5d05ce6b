"""PatchTST against its equations in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from _numpy_forecast_layers import (
    PANEL,
    WINDOW,
    batch_norm,
    build,
    horizon,
    inputs_of,
    linear,
    patches,
    post_norm_block,
    run,
    samples,
    weights_of,
    whole,
)

from skattn.architectures import PatchTST

CASES = {
    "window": WINDOW,
    "quantiles": replace(WINDOW, n_parameters=2),
    "panel": PANEL,
}
PARAMS = [
    (PatchTST(d_model=8, num_heads=2, patch_length=6, stride=4, dropout=0.5), 6, 4),
    (PatchTST(d_model=6, num_heads=1, patch_length=5, stride=5, num_layers=1), 5, 5),
    # Shortened to half of the window.
    (PatchTST(d_model=8, num_heads=4, d_ff=5, num_layers=2, head_dropout=0.5), 10, 5),
]


def forward(state, data, params, patch_length, stride, x, missing, mask):
    """Compute the scores of one sample, and its weights (layer, channel, head)."""
    is_forecast = data.task == "forecasting"
    if not is_forecast:
        x, missing, mask = x[:, mask], missing[:, mask], mask[mask]
    # As the paper counts: the last value is repeated for one stride.
    count = max(1, (x.shape[1] - patch_length) // stride + 2)
    starts = np.arange(count) * stride
    positions = state["positions"]
    outputs, weights = [], []
    for channel, gaps in zip(x, missing, strict=True):
        tokens, real = patches(state, channel, gaps, mask, starts, patch_length)
        places = np.minimum(np.flatnonzero(real), len(positions) - 1)
        h = tokens[real] + positions[places]
        for number in range(params.num_layers):
            h, attended = post_norm_block(
                state, f"blocks.{number}", h, params.num_heads, batch_norm
            )
            weights.append(attended)
        filled = np.zeros((count, params.d_model))
        filled[real] = h
        outputs.append(filled.ravel() if is_forecast else h.mean(axis=0))
    weights = [weights[n :: params.num_layers] for n in range(params.num_layers)]
    if is_forecast:
        return horizon(state, data, np.stack(outputs)), weights, real
    return linear(state, "head.1.linear", np.concatenate(outputs)), weights, real


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize(("params", "patch_length", "stride"), PARAMS)
def test_equation(case, gaps, params, patch_length, stride):
    data = CASES[case]
    module, inputs = build(params, data), inputs_of(data)
    inputs = inputs if gaps else whole(inputs)
    fused, explicit, records = run(module, inputs)
    names = [f"blocks.{number}" for number in range(params.num_layers)]
    assert [record.layer for record in records] == names
    assert {(r.kind, r.queries, r.keys) for r in records} == {
        ("self", "patch", "patch")
    }
    state = weights_of(module)
    for number, sample in enumerate(samples(inputs)):
        scores, weights, real = forward(
            state, data, params, patch_length, stride, *sample
        )
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        kept = np.flatnonzero(real)
        for record, expected in zip(records, weights, strict=True):
            got = record.weights[number].numpy()  # (channels heads, queries, keys)
            assert not np.delete(got, kept, axis=2).any()
            got = got[:, kept][:, :, kept]
            np.testing.assert_allclose(got, np.concatenate(expected), atol=1e-12)


def test_a_series_longer_than_those_of_training_keeps_the_last_position():
    params, patch_length, stride = PARAMS[0]
    module, inputs = build(params, PANEL), inputs_of(PANEL, length=33)
    fused, _, _ = run(module, inputs)
    state = weights_of(module)
    for scores, sample in zip(fused, samples(inputs), strict=True):
        expected, _, _ = forward(state, PANEL, params, patch_length, stride, *sample)
        np.testing.assert_allclose(scores, expected, atol=1e-11)


@torch.no_grad()
def test_channels_are_independent():
    module = build(PatchTST(patch_length=6, stride=3), WINDOW)
    x = torch.from_numpy(inputs_of(WINDOW)["x"])
    scores = module(x)
    torch.testing.assert_close(module(x.flip(1)), scores.flip(1))
    changed = x.clone()
    changed[:, 1] += 1
    torch.testing.assert_close(module(changed)[:, 0], scores[:, 0])
    assert not torch.isclose(module(changed)[:, 1], scores[:, 1]).any()


def test_past_covariates_are_refused():
    assert not PatchTST.past_covariates


def test_the_recipe_of_the_paper_for_small_data():
    """The sizes that the paper gives for ETTh; 42 patches of 336 steps."""
    params = PatchTST(d_model=16, num_heads=4, d_ff=128, dropout=0.3)
    data = replace(WINDOW, n_channels=7, n_targets=7, length=336, horizon=96)
    module = params.build(data)
    assert module.positions.shape == (42, 16)
    assert module.head.linear.weight.shape == (96, 42 * 16)
    assert len(module.blocks) == 3
    assert module.blocks[0].feed_forward[0].out_features == 128


@pytest.mark.parametrize("data", [replace(WINDOW, length=1), replace(PANEL, length=1)])
def test_one_sample_of_one_step_can_be_trained_on(data):
    module = PatchTST().build(replace(data, n_channels=1, n_targets=1)).train()
    scores = module(torch.ones(1, 1, 1), mask=torch.ones(1, 1, dtype=torch.bool))
    scores.sum().backward()
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", ["dropout", "head_dropout"])
def test_units_are_dropped_while_training(name):
    params = PatchTST(**{"dropout": 0.0, "head_dropout": 0.0, name: 0.5})
    module = params.build(WINDOW).train()
    x = torch.randn(2, 2, 20)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_hidden_units_are_twice_the_width_by_default():
    block = PatchTST(d_model=8).build(WINDOW).blocks[0]
    assert block.feed_forward[0].out_features == 16


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        PatchTST(d_model=8, num_heads=3).build(WINDOW)


def test_the_stride_must_not_pass_over_steps():
    with pytest.raises(ValueError, match=r"stride=9.*patch_length=8"):
        PatchTST(patch_length=8, stride=9).build(WINDOW)


@pytest.mark.parametrize(
    "name", ["d_model", "num_heads", "num_layers", "d_ff", "patch_length", "stride"]
)
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of PatchTST must be a positive integer"
    with pytest.raises(ValueError, match=message):
        PatchTST(**{name: value}).build(WINDOW)


@pytest.mark.parametrize("name", ["dropout", "head_dropout"])
@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} of PatchTST must be"):
        PatchTST(**{name: value}).build(WINDOW)
