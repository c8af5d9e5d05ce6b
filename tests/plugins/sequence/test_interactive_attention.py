"""Interactive attention against its equations in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from _numpy_layers import (
    LENGTHS,
    PANEL,
    build,
    inputs_of,
    layer_norm,
    linear,
    lstm,
    run,
    softmax,
    tokens_of,
    unpadded,
    weights_of,
)

from skattn import DataSpec
from skattn.architectures import InteractiveAttention
from skattn.nn import recording
from skattn.testing import check_architecture

ALONE = DataSpec(
    "forecasting", "series", n_channels=1, n_targets=1, length=9, horizon=3
)
PAST = replace(ALONE, n_channels=3, n_targets=2)
KNOWN = replace(ALONE, n_known=2, known_category_counts=(4, 3))
BOTH = replace(KNOWN, n_channels=3, n_targets=2)
CASES = {
    "panel": PANEL,
    "panel of one channel": replace(PANEL, n_channels=1),
    "alone": ALONE,
    "past": PAST,
    "known": KNOWN,
    "both": BOTH,
    "parameters": replace(BOTH, n_parameters=2),
}

PAIR = DataSpec("classification", "pair", n_outputs=3, length=9, vocabulary_size=11)
OTHER_LENGTHS = np.array([2, 6, 7, 1])

NORMALIZATIONS = ["softmax", "joint"]


def arrays_of(data):
    """Draw samples with gaps, padding, and what is known."""
    inputs = inputs_of(data)
    rng = np.random.default_rng(1)
    n, steps = len(inputs["x"]), data.length + data.horizon
    if data.n_known:
        inputs["known"] = rng.normal(size=(n, data.n_known, steps))
        columns = [rng.integers(c, size=(n, steps)) for c in data.known_category_counts]
        inputs["known_categories"] = np.stack(columns, axis=1)
    return inputs


def tensors_of(data):
    return {name: torch.from_numpy(array) for name, array in arrays_of(data).items()}


def embed(state, prefix, data, x, observed):
    own = {f"tokens{n.removeprefix(prefix)}": w for n, w in state.items()}
    return tokens_of(own, data, x, observed, None)


def read(state, prefix, tokens):
    """Read from both ends."""
    there = lstm(state, f"{prefix}.lstm.forward_lstm", tokens)
    back = lstm(state, f"{prefix}.lstm.backward_lstm", tokens[::-1])[::-1]
    return layer_norm(state, f"{prefix}.norm", np.hstack([there, back]))


def joint_weights(e, f):
    """Weigh one pair after the other, as the formula is written."""
    both = np.vstack([e, f])
    weights = np.empty((len(e), len(f)))
    for i, j in np.ndindex(weights.shape):
        total = sum(np.exp(e[i] @ e_k + f[j] @ e_k) for e_k in both)
        weights[i, j] = np.exp(e[i] @ f[j]) / total
    return weights


def interact(state, params, h, g):
    """Let the states of both sides attend to each other, and compose."""
    e = np.tanh(linear(state, "interact.project_own", h)) / params.d_model**0.25
    f = np.tanh(linear(state, "interact.project_other", g)) / params.d_model**0.25
    if params.normalization == "softmax":
        there, back = softmax(e @ f.T), softmax(f @ e.T)
    else:
        there = joint_weights(e, f)
        back = there.T
    c, c_other = there @ g, back @ h
    u = np.maximum(linear(state, "compose", np.hstack([h, c, h * c])), 0.0)
    v = linear(state, "compose_other", np.hstack([g, c_other, g * c_other]))
    v = np.maximum(v, 0.0)
    return u, v, (there, back)


def forward(state, data, params, x, observed, known, codes):
    """Compute the scores of one unpadded sample, and the weights both ways."""
    n_own = data.n_targets or data.n_channels
    ahead = data.horizon if known is not None else 0
    h = read(state, "read", embed(state, "tokens", data, x[:n_own], observed[:n_own]))
    tokens = 0.0
    if data.n_channels > n_own or known is None:
        first = n_own if data.n_channels > n_own else 0
        past = np.pad(x[first:], ((0, 0), (0, ahead)))
        measured = np.pad(observed[first:], ((0, 0), (0, ahead)))
        tokens = embed(state, "other_tokens", data, past, measured)
    if known is not None:
        tokens = tokens + linear(state, "known.numbers", known.T)
        for column, code in enumerate(codes):
            tokens = tokens + state[f"known.tables.{column}.weight"][code]
    g = read(state, "read_other", tokens)
    u, v, weights = interact(state, params, h, g)
    pooled = np.concatenate([u.mean(axis=0), u[-1], v.mean(axis=0), v[-1]])
    scores = linear(state, "head.whole.linear", pooled)
    if data.task == "forecasting":
        scores = scores.reshape(data.n_targets, data.horizon, data.n_parameters)
        if known is not None:
            steps = linear(state, "head.steps.linear", v[-data.horizon :])
            steps = steps.reshape(data.horizon, data.n_targets, data.n_parameters)
            scores = scores + steps.transpose(1, 0, 2)
        scores = scores[..., 0] if data.n_parameters == 1 else scores
    return scores, weights


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_equation(case, normalization, num_layers):
    data = CASES[case]
    params = InteractiveAttention(
        d_model=6, num_layers=num_layers, dropout=0.5, normalization=normalization
    )
    module, inputs = build(params, data), arrays_of(data)
    fused, explicit, records = run(module, inputs)
    other = ("time", "horizon") if data.n_known else "time"
    assert [(r.layer, r.kind, r.queries, r.keys) for r in records] == [
        ("to_other", "cross", "time", other),
        ("from_other", "cross", other, "time"),
    ]
    assert {r.normalised for r in records} == {normalization == "softmax"}
    state = weights_of(module)
    for number, (x, observed, _, real) in enumerate(unpadded(inputs)):
        ahead = data.horizon if data.n_known else 0
        steps = np.concatenate([real, np.ones(ahead, bool)])
        known, codes = (
            inputs[name][number][:, steps] if data.n_known else None
            for name in ("known", "known_categories")
        )
        scores, weights = forward(state, data, params, x, observed, known, codes)
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        queries, keys = [real, steps], [steps, real]
        for way, record in enumerate(records):
            got = record.weights[number, 0].numpy()
            assert not got[:, ~keys[way]].any()
            got = got[queries[way]][:, keys[way]]
            np.testing.assert_allclose(got, weights[way], atol=1e-12)


def pairs(sides=("mask", "other_mask")):
    """Draw pairs; a side without a mask is as long in all of them."""
    rng = np.random.default_rng(0)
    inputs = {}
    for mask, tokens, lengths in (
        ("mask", "tokens", LENGTHS),
        ("other_mask", "other_tokens", OTHER_LENGTHS),
    ):
        lengths = lengths if mask in sides else np.full(len(LENGTHS), lengths.max())
        real = np.arange(lengths.max()) < lengths[:, None]
        codes = rng.integers(1, PAIR.vocabulary_size, size=real.shape)
        inputs[tokens] = np.where(real, codes, 0)
        if mask in sides:
            inputs[mask] = real
    return inputs


def forward_pair(state, params, tokens, other_tokens):
    """Compute the scores of one unpadded pair, and the weights both ways."""
    h, g = (
        read(state, "read", embed(state, "tokens", PAIR, codes, None))
        for codes in (tokens, other_tokens)
    )
    u, v, weights = interact(state, params, h, g)
    pooled = [u.mean(axis=0), u.max(axis=0), v.mean(axis=0), v.max(axis=0)]
    return linear(state, "head.linear", np.concatenate(pooled)), weights


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(
    "sides", [("mask", "other_mask"), ("mask",), ("other_mask",), ()]
)
def test_equation_of_pairs(normalization, sides):
    params = InteractiveAttention(
        d_model=6, num_layers=2, dropout=0.5, normalization=normalization
    )
    module, inputs = build(params, PAIR), pairs(sides)
    fused, explicit, records = run(module, inputs)
    assert [(r.layer, r.kind, r.queries, r.keys) for r in records] == [
        ("to_other", "cross", "tokens", "other_tokens"),
        ("from_other", "cross", "other_tokens", "tokens"),
    ]
    assert {r.normalised for r in records} == {normalization == "softmax"}
    state = weights_of(module)
    for number in range(len(LENGTHS)):
        texts, real = [], []
        for tokens, mask in (("tokens", "mask"), ("other_tokens", "other_mask")):
            everywhere = np.ones(inputs[tokens].shape, bool)
            real.append(inputs.get(mask, everywhere)[number])
            texts.append(inputs[tokens][number][real[-1]])
        scores, weights = forward_pair(state, params, *texts)
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        for way, record in enumerate(records):
            queries, keys = real[way], real[1 - way]
            got = record.weights[number, 0].numpy()
            assert not got[:, ~keys].any()
            np.testing.assert_allclose(got[queries][:, keys], weights[way], atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_an_empty_text_says_the_same_however_far_it_is_padded(normalization):
    module = build(InteractiveAttention(d_model=6, normalization=normalization), PAIR)
    text = torch.tensor([[7, 8, 9]])
    for side in ("mask", "other_mask"):
        scores = []
        for length in (1, 4, 7):
            nothing = torch.randint(11, (1, length))
            texts = (nothing, text) if side == "mask" else (text, nothing)
            masks = {side: torch.zeros(1, length, dtype=torch.bool)}
            scores.append(module(*texts, **masks))
        assert scores[0].isfinite().all()
        for other in scores[1:]:
            torch.testing.assert_close(other, scores[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_batch_of_one_pair_of_words_can_be_learned_from(normalization):
    module = InteractiveAttention(normalization=normalization).build(PAIR).train()
    module(torch.tensor([[7]]), torch.tensor([[8]])).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())
    assert module.tokens.embed.weight.grad[[7, 8]].any(dim=1).all()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_joint_weights_are_right_where_states_are_extreme(dtype):
    """Equal and opposite states: the scores reach the root of the width, 22.6."""
    params = InteractiveAttention(d_model=512, normalization="joint")
    interact = build(params, ALONE).interact.to(dtype)
    for project in (interact.project_own, interact.project_other):
        torch.nn.init.eye_(project.weight).mul_(100.0)
        project.bias.zero_()
    h = np.sign(np.random.default_rng(0).normal(size=(4, 512)))
    g = np.vstack([h[:2], -h[:3]])
    received = []
    with recording(received.append):
        interact(
            *(torch.from_numpy(side)[None].to(dtype) for side in (h, g)), None, None
        )
    e, f = h / 512**0.25, g / 512**0.25
    assert np.abs(e @ f.T).max() > 22
    np.testing.assert_allclose(
        received[0].weights[0, 0].numpy(),
        joint_weights(e, f),
        rtol=1e-4 if dtype == torch.float32 else 1e-11,
    )


def test_joint_weights_have_gradients_where_states_are_extreme():
    module = build(InteractiveAttention(d_model=64, normalization="joint"), PAST)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(100.0)
    module(**tensors_of(PAST)).sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@torch.no_grad()
def test_joint_weights_by_hand():
    """All states zero: each of 9 + 9 terms is one, so each pair weighs 1 / 18."""
    module = build(InteractiveAttention(d_model=4, normalization="joint"), ALONE)
    for project in (module.interact.project_own, module.interact.project_other):
        project.weight.zero_()
        project.bias.zero_()
    _, _, records = run(module, {"x": np.zeros((1, 1, 9))})
    for record in records:
        np.testing.assert_allclose(record.weights.numpy(), 1 / 18, rtol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_side_that_is_padded_altogether_is_not_attended_to(normalization):
    params = InteractiveAttention(d_model=6, normalization=normalization)
    interact = build(params, ALONE).interact
    h, g = torch.linspace(-1.0, 1.0, 36).double().view(2, 1, 3, 6)
    real, padded = torch.ones(1, 3, dtype=bool), torch.zeros(1, 3, dtype=bool)
    for mask in (real, padded):
        context, back = interact(h, g, mask, padded)
        assert not context.any()
        assert back.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_each_step_knows_its_own_covariates(normalization):
    params = InteractiveAttention(d_model=6, normalization=normalization)
    module, inputs = build(params, BOTH), tensors_of(BOTH)
    with_window_only = {**inputs, "known": inputs["known"].clone()}
    with_window_only["known"][..., BOTH.length :] = 0.0
    scores = module(**inputs) - module(**with_window_only)
    assert (scores.abs().amax(dim=(0, 1)) > 1e-9).all()


def forecasting_checks():
    architecture = InteractiveAttention(normalization="joint")
    for title, check in check_architecture(architecture, ecosystem=False):
        if title.startswith(("series-forecasting", "pair-classification")):
            yield pytest.param(check, id=title)


@pytest.mark.parametrize("check", list(forecasting_checks()))
def test_contract_of_the_joint_normalization(check):
    """The built-in's own checks run in test_conformance, with the softmax."""
    check(InteractiveAttention(normalization="joint"))


@pytest.mark.parametrize("value", ["Softmax", "none", None, True])
def test_normalization_is_one_of_two(value):
    message = (
        f"normalization={value!r} of InteractiveAttention must be 'softmax' or 'joint'"
    )
    with pytest.raises(ValueError, match=message):
        InteractiveAttention(normalization=value).build(ALONE)


def test_two_directions_share_the_width():
    with pytest.raises(ValueError, match=r"d_model=7 .* choose an even number"):
        InteractiveAttention(d_model=7).build(ALONE)


@pytest.mark.parametrize("name", ["d_model", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of InteractiveAttention must be a positive integer"
    with pytest.raises(ValueError, match=message):
        InteractiveAttention(**{name: value}).build(ALONE)


@pytest.mark.parametrize("name", ["dropout", "embedding_dropout"])
@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(name, value):
    message = f"{name}={value} of InteractiveAttention must be"
    with pytest.raises(ValueError, match=message):
        InteractiveAttention(**{name: value}).build(ALONE)
