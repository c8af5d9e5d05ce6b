"""iTransformer against its equations in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from _numpy_forecast_layers import (
    COVARIATES,
    PANEL,
    WINDOW,
    build,
    horizon,
    inputs_of,
    layer_norm,
    linear,
    post_norm_block,
    run,
    samples,
    variates,
    weights_of,
    whole,
)

from skattn.architectures import ITransformer

CASES = {"window": WINDOW, "covariates": COVARIATES, "panel": PANEL}


def covariates_of(inputs, number):
    """Give what is known in the future of one sample."""
    names = ("known", "known_categories")
    return {name: inputs[name][number] for name in names if name in inputs}


def forward(state, data, params, sample, covariates):
    """Compute the scores of one sample and the weights of each block."""
    h = variates(state, data, *sample, **covariates)
    weights = []
    for number in range(params.num_layers):
        h, attended = post_norm_block(
            state, f"blocks.{number}", h, params.num_heads, layer_norm
        )
        weights.append(attended)
    h = layer_norm(state, "norm", h)
    if data.task == "forecasting":
        return horizon(state, data, h[: data.n_targets]), weights
    return linear(state, "head.linear", h.ravel()), weights


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize(
    "params",
    [
        ITransformer(d_model=8, num_heads=2, num_layers=3, dropout=0.5),
        ITransformer(d_model=6, num_heads=1, num_layers=1, d_ff=5),
    ],
)
def test_equation(case, gaps, params):
    data = CASES[case]
    module, inputs = build(params, data), inputs_of(data)
    inputs = inputs if gaps else whole(inputs)
    fused, explicit, records = run(module, inputs)
    names = [f"blocks.{number}" for number in range(params.num_layers)]
    assert [record.layer for record in records] == names
    state = weights_of(module)
    for number, sample in enumerate(samples(inputs)):
        scores, weights = forward(
            state, data, params, sample, covariates_of(inputs, number)
        )
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        for record, expected in zip(records, weights, strict=True):
            got = record.weights[number].numpy()
            np.testing.assert_allclose(got, expected, atol=1e-12)


def test_a_series_longer_than_those_of_training():
    params = ITransformer(d_model=8, num_heads=2)
    module, inputs = build(params, PANEL), inputs_of(PANEL, length=33)
    fused, _, _ = run(module, inputs)
    state = weights_of(module)
    for scores, sample in zip(fused, samples(inputs), strict=True):
        expected, _ = forward(state, PANEL, params, sample, {})
        np.testing.assert_allclose(scores, expected, atol=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_names_of_the_axes(case):
    module, inputs = build(ITransformer(), CASES[case]), inputs_of(CASES[case])
    known = ("known 0", "known 1", "known category 0", "known category 1")
    expected = ("channels", *known) if case == "covariates" else "channels"
    for record in run(module, inputs)[2]:
        assert (record.kind, record.queries, record.keys) == (
            "self",
            expected,
            expected,
        )


@torch.no_grad()
def test_targets_may_change_places():
    """The weights are shared by all variates, which have no position."""
    module = build(ITransformer(), WINDOW)
    x = torch.from_numpy(inputs_of(WINDOW)["x"])
    torch.testing.assert_close(module(x.flip(1)), module(x).flip(1))


@pytest.mark.parametrize("name", ["known", "known_categories"])
@torch.no_grad()
def test_the_future_of_covariates_counts(name):
    module, inputs = build(ITransformer(), COVARIATES), inputs_of(COVARIATES)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    scores = module(**tensors)
    tensors[name][..., -1] = 1 - tensors[name][..., -1].clamp(max=1)
    assert not torch.isclose(module(**tensors), scores).any()


def test_one_sample_of_one_step_can_be_trained_on():
    data = replace(WINDOW, n_channels=1, n_targets=1, length=1, horizon=1)
    scores = ITransformer().build(data).train()(torch.ones(1, 1, 1))
    scores.sum().backward()
    assert scores.isfinite().all()


def test_units_are_dropped_while_training():
    module = ITransformer(dropout=0.5).build(WINDOW).train()
    x = torch.randn(2, 2, 20)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_hidden_units_are_twice_the_width_by_default():
    block = ITransformer(d_model=8).build(WINDOW).blocks[0]
    assert block.feed_forward[0].out_features == 16


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        ITransformer(d_model=8, num_heads=3).build(WINDOW)


@pytest.mark.parametrize("name", ["d_model", "num_heads", "num_layers", "d_ff"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of ITransformer must be a positive integer"
    with pytest.raises(ValueError, match=message):
        ITransformer(**{name: value}).build(WINDOW)


@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(value):
    with pytest.raises(ValueError, match=f"dropout={value} of ITransformer must be"):
        ITransformer(dropout=value).build(WINDOW)
