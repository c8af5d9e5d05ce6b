"""The Temporal Fusion Transformer against its equations in NumPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from _numpy_forecast_layers import (
    COVARIATES,
    LENGTHS,
    WINDOW,
    build,
    inputs_of,
    linear,
    run,
    weights_of,
    whole,
)

from skattn import DataSpec
from skattn.architectures import TFT
from skattn.nn import recording

NAMED = replace(
    COVARIATES,
    channel_names=("load", "price", "wind"),
    known_names=("sun", "rain", "weekday", "month"),
    n_static=2,
    static_category_counts=(3,),
    static_names=("area", "height", "country"),
    n_series=5,
)
CASES = {
    "window": WINDOW,
    "covariates": COVARIATES,
    "everything": NAMED,
    "series": replace(WINDOW, n_channels=1, n_targets=1, horizon=1, n_series=5),
    "codes": replace(WINDOW, known_category_counts=(4,), static_category_counts=(3,)),
}
SHAPES = [
    TFT(d_model=6, num_heads=2, num_layers=2, dropout=0.5),
    TFT(d_model=5, num_heads=1, dropout=0.5),
]


def drawn(data):
    """Draw inputs with gaps; the static covariates are added here."""
    inputs, rng = inputs_of(data), np.random.default_rng(1)
    n = len(LENGTHS)
    if data.n_static:
        inputs["static"] = rng.normal(size=(n, data.n_static))
    if counts := data.static_category_counts:
        codes = [rng.integers(count, size=n) for count in counts]
        inputs["static_categories"] = np.stack(codes, axis=1)
    if data.n_series:
        inputs["series_id"] = rng.integers(data.n_series, size=n)
    return inputs


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def side_by_side(state, prefix, h, group):
    """Compute W h + b, of one of several maps if there are groups."""
    if group is None:
        return linear(state, prefix, h)
    return h @ state[f"{prefix}.weight"][group] + state[f"{prefix}.bias"][group, 0]


def gated_add_norm(state, prefix, h, skip, group=None):
    value, gate = np.split(side_by_side(state, f"{prefix}.gate", h, group), 2, axis=-1)
    h = skip + value * sigmoid(gate)
    centred = h - h.mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    at = ... if group is None else group
    return (
        normed * state[f"{prefix}.norm.weight"][at] + state[f"{prefix}.norm.bias"][at]
    )


def gated_residual(state, prefix, h, context=None, group=None):
    width = state[f"{prefix}.hidden.weight"].shape[-1]
    entered = side_by_side(state, f"{prefix}.enter", h, group)
    skip = entered[..., width:] if entered.shape[-1] > width else h
    entered = entered[..., :width]
    if context is not None:
        entered = entered + linear(state, f"{prefix}.context", context)
    hidden = np.where(entered > 0, entered, np.expm1(entered))
    hidden = side_by_side(state, f"{prefix}.hidden", hidden, group)
    return gated_add_norm(state, f"{prefix}.leave", hidden, skip, group)


def selected(state, prefix, variables, context=None):
    """Weigh a list of (steps, width); return the weights too."""
    weights = np.ones((len(variables[0]), 1))
    if len(variables) > 1:
        joined = np.hstack(variables)
        scores = gated_residual(state, f"{prefix}.select", joined, context)
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    transformed = [
        gated_residual(state, f"{prefix}.transform", variable, group=number)
        for number, variable in enumerate(variables)
    ]
    pairs = zip(weights.T, transformed, strict=True)
    return sum(weight[:, None] * variable for weight, variable in pairs), weights


def tokens(state, prefix, numbers, codes, counts, missing=None):
    """Embed each variable: a list of (steps, width)."""
    embedded = []
    for j, series in enumerate(numbers):
        token = series[:, None] * state[f"{prefix}.numbers.weight"][j]
        token = token + state[f"{prefix}.numbers.bias"][j]
        if missing is not None:
            token[missing[j]] = state[f"{prefix}.missing"][j, 0]
        embedded.append(token)
    for j, series in enumerate(codes):
        first = sum(counts[:j])
        embedded.append(state[f"{prefix}.table.weight"][first + series])
    return embedded


def lstm(state, prefix, h, start):
    """Run all layers from their states, and return their last ones."""
    end = []
    for layer, (hidden, cell) in enumerate(start):
        w_ih, w_hh, b_ih, b_hh = (
            state[f"{prefix}.layers.{layer}.{name}_l0"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        states = []
        for step in h:
            gates = w_ih @ step + b_ih + w_hh @ hidden + b_hh
            enter, forget, candidate, leave = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
            hidden = sigmoid(leave) * np.tanh(cell)
            states.append(hidden)
        end.append((hidden, cell))
        h = np.stack(states)
    return h, end


def interpretable(state, prefix, query, memory, num_heads):
    """Average the heads; return their weights too."""
    q, k, v = (
        linear(state, f"{prefix}.project_{name}", h)
        for name, h in (("query", query), ("key", memory), ("value", memory))
    )
    hidden = ~np.tri(len(q), len(k), len(k) - len(q), dtype=bool)
    weights = []
    for part in np.split(np.arange(q.shape[1]), num_heads):
        scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(len(part)))
        scores[hidden] = 0.0
        weights.append(scores / scores.sum(axis=1, keepdims=True))
    mean = np.mean(weights, axis=0) @ v
    return linear(state, f"{prefix}.project_out", mean), np.stack(weights)


def forward(state, data, params, sample):
    """Compute the scores of one sample, and what is recorded of its real steps."""
    mask = sample.get("mask", np.ones(data.length, bool))
    observed = sample.get("observed", np.ones(sample["x"].shape, bool))
    x, missing, length = sample["x"][:, mask], ~observed[:, mask], mask.sum()
    channels = tokens(state, "embed_channels", x, (), (), missing)

    steps = np.append(mask, np.ones(data.horizon, bool))
    numbers = sample.get("known", np.zeros((0, len(steps))))[:, steps]
    codes = sample.get("known_categories", np.zeros((0, len(steps)), int))[:, steps]
    if not len(numbers) + len(codes):
        relative = np.arange(1 - length, data.horizon + 1)
        numbers = relative[None] / max(data.length, data.horizon)
    known = tokens(state, "embed_known", numbers, codes, data.known_category_counts)
    past = channels + [token[:length] for token in known]
    future = [token[length:] for token in known]

    recorded, select, enrich = {}, None, None
    start = [(np.zeros(params.d_model),) * 2] * params.num_layers
    if data.n_static or data.static_category_counts or data.n_series:
        codes = [*sample.get("static_categories", ())]
        codes += [sample["series_id"]] if data.n_series else []
        counts = data.static_category_counts + (data.n_series,)
        statics = tokens(
            state,
            "contexts.embed",
            np.reshape(sample.get("static", ()), (-1, 1)),
            np.reshape(codes, (-1, 1)).astype(int),
            counts,
        )
        zeta, recorded["static"] = selected(state, "contexts.select", statics)
        select, enrich, hidden, cell = (
            gated_residual(state, "contexts.encode", zeta[0], group=number)
            for number in range(4)
        )
        start = [(hidden, cell)] * params.num_layers

    past, recorded["past"] = selected(state, "select_past", past, select)
    future, recorded["future"] = selected(state, "select_future", future, select)
    encoded, end = lstm(state, "encoder", past, start)
    decoded, _ = lstm(state, "decoder", future, end)
    local = gated_add_norm(
        state, "gate_local", np.vstack([encoded, decoded]), np.vstack([past, future])
    )
    theta = gated_residual(state, "enrich", local, enrich)
    h = theta[length:]
    attended, recorded["attention"] = interpretable(
        state, "attention", h, theta, params.num_heads
    )
    h = gated_add_norm(state, "gate_attention", attended, h)
    h = gated_add_norm(
        state, "gate_output", gated_residual(state, "feed_forward", h), local[length:]
    )
    scores = linear(state, "head", h)  # (horizon, targets and their parameters)
    scores = scores.reshape(data.horizon, data.n_targets, data.n_parameters)
    scores = scores.transpose(1, 0, 2)
    return scores if data.n_parameters > 1 else scores[..., 0], recorded


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("params", SHAPES, ids=repr)
@pytest.mark.parametrize("gaps", [True, False])
def test_equation(case, params, gaps):
    data = CASES[case]
    module = build(params, data)
    inputs = drawn(data) if gaps else whole(drawn(data))
    fused, explicit, records = run(module, inputs)
    state = weights_of(module)
    by_layer = {record.layer: record.weights.numpy() for record in records}
    assert len(by_layer) == len(records)
    for number in range(len(LENGTHS)):
        sample = {name: array[number] for name, array in inputs.items()}
        scores, recorded = forward(state, data, params, sample)
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        assert recorded.keys() == by_layer.keys()
        mask = sample.get("mask", np.ones(data.length, bool))
        steps = np.append(mask, np.ones(data.horizon, bool))
        got = {layer: weights[number] for layer, weights in by_layer.items()}
        np.testing.assert_allclose(
            got["attention"][..., steps], recorded.pop("attention"), atol=1e-12
        )
        assert not got["attention"][..., ~steps].any()
        assert not got["past"][0, ~mask].any()
        got["past"] = got["past"][:, mask]
        for layer, weights in recorded.items():
            np.testing.assert_allclose(got[layer][0], weights, atol=1e-12)


def test_records_name_variables_and_steps():
    module = build(TFT(), NAMED)
    records = {record.layer: record for record in run(module, drawn(NAMED))[2]}
    assert {layer: record.kind for layer, record in records.items()} == {
        "static": "selection",
        "past": "selection",
        "future": "selection",
        "attention": "self",
    }
    known = ("sun", "rain", "weekday", "month")
    assert records["static"].keys == ("area", "height", "country", "series")
    assert records["past"].keys == ("load", "price", "wind", *known)
    assert records["future"].keys == known
    assert records["attention"].keys == ("time", "horizon")
    queries = {layer: record.queries for layer, record in records.items()}
    assert queries == {
        "static": "static",
        "past": "time",
        "future": "horizon",
        "attention": "horizon",
    }


def test_variables_without_names_are_numbered():
    data = replace(COVARIATES, n_static=1, static_category_counts=(3,))
    records = {r.layer: r for r in run(build(TFT(), data), drawn(data))[2]}
    assert records["static"].keys == ("static 0", "static 1")
    known = tuple(f"known {number}" for number in range(4))
    assert records["past"].keys == ("channel 0", "channel 1", "channel 2", *known)


def test_relative_time_stands_in_for_known_covariates():
    records = {r.layer: r for r in run(build(TFT(), WINDOW), drawn(WINDOW))[2]}
    assert records["past"].keys == ("channel 0", "channel 1", "relative time")
    assert records["future"].keys == ("relative time",)
    assert (records["future"].weights == 1).all()


def test_selection_weights_sum_to_one():
    for record in run(build(TFT(), NAMED), whole(drawn(NAMED)))[2]:
        assert record.normalised
        sums = record.weights.sum(dim=-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_the_future_of_a_step_is_not_read():
    module, inputs = build(TFT(), NAMED), drawn(NAMED)
    changed = {**inputs, "known": inputs["known"].copy()}
    changed["known"][..., -1] += 1
    before, after = run(module, inputs)[0], run(module, changed)[0]
    np.testing.assert_allclose(after[:, :, :-1], before[:, :, :-1], atol=1e-12)
    assert (np.abs(after[:, :, -1] - before[:, :, -1]) > 1e-6).all()


def test_the_variable_that_matters_gets_the_weight():
    data = DataSpec(
        "forecasting", "series", n_channels=1, n_targets=1, length=6, horizon=4
    )
    data = replace(data, n_known=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = TFT(d_model=16).build(data)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        for _ in range(80):
            x, known = torch.randn(64, 1, 6), torch.randn(64, 4, 10)
            error = module(x, known=known) - 2 * known[:, [2], 6:]
            optimizer.zero_grad()
            error.square().mean().backward()
            optimizer.step()
        received = []
        with recording(received.append), torch.no_grad():
            module.eval()(torch.randn(64, 1, 6), known=torch.randn(64, 4, 10))
    (future,) = (record for record in received if record.layer == "future")
    importance = future.weights.mean(dim=(0, 1, 2))
    assert importance.argmax() == 2


@pytest.mark.parametrize("name", ["d_model", "num_heads", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of TFT must be a positive integer"
    with pytest.raises(ValueError, match=message):
        TFT(**{name: value}).build(WINDOW)


@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(value):
    with pytest.raises(ValueError, match=f"dropout={value} of TFT must be"):
        TFT(dropout=value).build(WINDOW)


def test_heads_are_of_equal_width():
    with pytest.raises(ValueError, match=r"d_model=6 cannot be split into num_heads=4"):
        TFT(d_model=6).build(WINDOW)
