"""The encoder-decoder LSTM against its equations in NumPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from skattn import DataSpec
from skattn.architectures import LSTMSeq2Seq
from skattn.nn import join_steps, recording

SCORES = ["additive", "dot", "general"]

WINDOW = DataSpec(
    "forecasting", "series", n_channels=3, n_targets=2, length=7, horizon=4
)
KNOWN = replace(WINDOW, n_known=2, known_category_counts=(4, 3))
CASES = {
    "plain": WINDOW,
    "known": KNOWN,
    "parameters": replace(KNOWN, n_parameters=3),
    "one step": replace(KNOWN, horizon=1),
}

LENGTHS = np.array([7, 4, 2, 1])


def build(architecture, data):
    """Build a module in double precision with random weights, norms' too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = architecture.build(data).double().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return module


def inputs_of(data):
    """Draw windows with gaps, padded on the left, and what is known."""
    rng = np.random.default_rng(0)
    n, steps = len(LENGTHS), data.length + data.horizon
    mask = np.arange(data.length) >= data.length - LENGTHS[:, None]
    observed = (rng.random((n, data.n_channels, data.length)) > 0.2) & mask[:, None]
    observed[1, 0, -1] = False
    inputs = {
        "x": np.where(observed, rng.normal(size=observed.shape), 0.0),
        "mask": mask,
        "observed": observed,
    }
    if data.n_known:
        inputs["known"] = rng.normal(size=(n, data.n_known, steps))
        columns = [rng.integers(c, size=(n, steps)) for c in data.known_category_counts]
        inputs["known_categories"] = np.stack(columns, axis=1)
    return inputs


def tensors_of(inputs):
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def linear(state, prefix, h):
    return h @ state[f"{prefix}.weight"].T + state.get(f"{prefix}.bias", 0.0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_step(state, prefix, h, hidden, cell):
    """Feed one step to all layers; gates are i, f, g, o."""
    hidden, cell = hidden.copy(), cell.copy()
    for layer in range(len(hidden)):
        gates = state[f"{prefix}.weight_ih_l{layer}"] @ h
        gates += state[f"{prefix}.weight_hh_l{layer}"] @ hidden[layer]
        gates += state[f"{prefix}.bias_ih_l{layer}"]
        gates += state[f"{prefix}.bias_hh_l{layer}"]
        enter, forget, candidate, leave = np.split(gates, 4)
        cell[layer] = sigmoid(forget) * cell[layer]
        cell[layer] += sigmoid(enter) * np.tanh(candidate)
        h = hidden[layer] = sigmoid(leave) * np.tanh(cell[layer])
    return h, hidden, cell


def tokens_of(state, x, observed):
    """Convolve values and gaps over three steps."""
    h = np.pad(np.concatenate([x, ~observed]), ((0, 0), (1, 1)))
    weight = state["tokens.embed.convolutions.0.weight"]
    steps = [np.einsum("oik,ik->o", weight, h[:, t : t + 3]) for t in range(x.shape[1])]
    return np.stack(steps) + state["tokens.embed.convolutions.0.bias"]


def known_tokens(state, known, codes):
    tokens = linear(state, "known.numbers", known.T)
    for column, code in enumerate(codes):
        tokens = tokens + state[f"known.tables.{column}.weight"][code]
    return tokens


def compare(state, params, s, h):
    """Score one state of the decoder and one of the encoder."""
    if params.score == "additive":
        joint = state["attention.project_query.weight"] @ s
        joint = joint + state["attention.project_key.weight"] @ h
        return state["attention.vector"] @ np.tanh(joint)
    if params.score == "general":
        h = state["attention.project_key.weight"] @ h
    return s @ h / math.sqrt(len(s))


def forward(state, data, params, x, observed, known, codes, target=None):
    """Forecast one unpadded window; return the scores and the weights."""
    length, width = x.shape[1], params.d_model
    covariates = np.zeros((length + data.horizon, width))
    if known is not None:
        covariates = known_tokens(state, known, codes)
    tokens = tokens_of(state, x, observed) + covariates[:length]
    hidden = cell = np.zeros((params.num_layers, width))
    memory = []
    for token in tokens:
        h, hidden, cell = lstm_step(state, "encoder.forward_lstm", token, hidden, cell)
        h = (h - h.mean()) / np.sqrt(h.var() + 1e-5)
        memory.append(h * state["norm.weight"] + state["norm.bias"])
    first = np.tanh(linear(state, "bridge", memory[-1]))
    hidden, cell = first.reshape(2, params.num_layers, width)
    fed = np.where(observed[:2, -1], x[:2, -1], 0.0)
    scores, weights = [], []
    for step in range(data.horizon):
        token = linear(state, "feed", fed) + covariates[length + step]
        s, hidden, cell = lstm_step(state, "decoder", token, hidden, cell)
        energy = np.array([compare(state, params, s, h) for h in memory])
        alpha = np.exp(energy) / np.exp(energy).sum()
        joined = np.concatenate([alpha @ np.stack(memory), s])
        out = linear(state, "head.linear", np.tanh(linear(state, "combine", joined)))
        scores.append(out.reshape(data.n_targets, data.n_parameters))
        weights.append(alpha)
        fed = scores[-1][:, 0] if target is None else target[:, step]
    scores = np.stack(scores, axis=1)  # (n_targets, horizon, n_parameters)
    return scores[..., 0] if data.n_parameters == 1 else scores, np.stack(weights)


def expected_of(module, data, params, inputs, target=None):
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    for number, real in enumerate(inputs["mask"]):
        steps = np.concatenate([real, np.ones(data.horizon, bool)])
        yield forward(
            state,
            data,
            params,
            inputs["x"][number][:, real],
            inputs["observed"][number][:, real],
            inputs["known"][number][:, steps] if data.n_known else None,
            inputs["known_categories"][number][:, steps] if data.n_known else None,
            None if target is None else target[number],
        )


def check(module, data, params, inputs, target=None):
    """Compare scores and recorded weights with NumPy."""
    tensors = tensors_of(inputs)
    if target is not None:
        tensors["target"] = torch.from_numpy(target)
    received = []
    with torch.no_grad(), recording(received.append):
        explicit = module(**tensors).numpy()
    with torch.no_grad():
        scores = module(**tensors).numpy()
    (record,) = join_steps(received)
    assert (record.layer, record.kind) == ("decoder", "cross")
    assert (record.queries, record.keys) == ("horizon", "time")
    expected = expected_of(module, data, params, inputs, target)
    for number, (sample, weights) in enumerate(expected):
        np.testing.assert_allclose(scores[number], sample, atol=1e-11)
        np.testing.assert_allclose(explicit[number], sample, atol=1e-11)
        got = record.weights[number, 0].numpy()  # (horizon, time)
        real = inputs["mask"][number]
        np.testing.assert_allclose(got[:, real], weights, atol=1e-12)
        assert not got[:, ~real].any()


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("case", CASES)
def test_equation(case, score, num_layers):
    params = LSTMSeq2Seq(6, num_layers=num_layers, score=score, dropout=0.5)
    data = CASES[case]
    check(build(params, data), data, params, inputs_of(data))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("case", CASES)
def test_equation_with_teacher_forcing(case, score):
    params = LSTMSeq2Seq(6, score=score, teacher_forcing=1.0, dropout=0.0)
    data = CASES[case]
    module = build(params, data).train()
    target = np.random.default_rng(1).normal(size=(4, data.n_targets, data.horizon))
    check(module, data, params, inputs_of(data), target)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_fed_with_its_own_forecasts_it_makes_them_again(case):
    data = CASES[case]
    module = build(LSTMSeq2Seq(6, teacher_forcing=1, dropout=0.0), data).train()
    inputs = tensors_of(inputs_of(data))
    scores = module(**inputs)
    location = scores[..., 0] if data.n_parameters > 1 else scores
    again = module(**inputs, target=location)
    torch.testing.assert_close(again, scores, atol=1e-12, rtol=0)


@torch.no_grad()
def test_teacher_forcing_is_a_probability_while_training():
    params = LSTMSeq2Seq(6, teacher_forcing=0.3, dropout=0.0)
    module, inputs = build(params, WINDOW).train(), tensors_of(inputs_of(WINDOW))
    target = torch.ones(4, 2, 4).double()
    free = module(**inputs)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        runs = [module(**inputs, target=target) for _ in range(200)]
        forced = [not torch.equal(scores, free) for scores in runs]
        assert 0.2 < np.mean(forced) < 0.4
        module.teacher_forcing = 0
        assert torch.equal(module(**inputs, target=target), free)
        module.teacher_forcing = 1
        assert torch.equal(module.eval()(**inputs, target=target), free)


@torch.no_grad()
def test_a_step_knows_its_own_covariates_and_those_before_it():
    module, inputs = build(LSTMSeq2Seq(6), KNOWN), tensors_of(inputs_of(KNOWN))
    scores = module(**inputs)
    for step in range(KNOWN.horizon):
        changed = {**inputs, "known": inputs["known"].clone()}
        changed["known"][..., KNOWN.length + step] += 1.0
        moved = (module(**changed) - scores).abs().amax(dim=(0, 1))
        assert (moved > 1e-9).tolist() == [later >= step for later in range(4)]


@pytest.mark.parametrize("value", ["Dot", "concat", None, True])
def test_score_is_one_of_three(value):
    message = f"score={value!r} of LSTMSeq2Seq must be one of 'additive', 'dot', 'gen"
    with pytest.raises(ValueError, match=message):
        LSTMSeq2Seq(score=value).build(WINDOW)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), None, "1"])
def test_teacher_forcing_lies_between_0_and_1(value):
    message = f"teacher_forcing={value!r} of LSTMSeq2Seq must be a number from 0 to 1"
    with pytest.raises(ValueError, match=message):
        LSTMSeq2Seq(teacher_forcing=value).build(WINDOW)


@pytest.mark.parametrize("name", ["d_model", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of LSTMSeq2Seq must be a positive integer"
    with pytest.raises(ValueError, match=message):
        LSTMSeq2Seq(**{name: value}).build(WINDOW)


@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(value):
    with pytest.raises(ValueError, match=f"dropout={value} of LSTMSeq2Seq must be"):
        LSTMSeq2Seq(dropout=value).build(WINDOW)
