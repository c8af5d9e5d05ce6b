"""The Transformer against its equations in NumPy."""

import copy
import io
import math
import pickle
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

from skattn import DataSpec, SpecialToken
from skattn.architectures import Transformer
from skattn.nn import join_steps, recording
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


# Texts

TOPICS = DataSpec("classification", "tokens", n_outputs=3, length=9, vocabulary_size=12)
APART = DataSpec(
    "translation", "tokens", length=9, vocabulary_size=12, target_vocabulary_size=14
)
SHARED = replace(APART, target_vocabulary_size=12, shared_vocabulary=True)
TIED = Transformer(d_model=8, num_heads=2, num_layers=2, dropout=0.5)
UNTIED = Transformer(d_model=6, num_heads=1, d_ff=5, tie_embeddings=False)
TRANSLATIONS = [
    pytest.param(params, data, id=f"{one}-{other}")
    for one, params in (("tied", TIED), ("untied", UNTIED))
    for other, data in (("apart", APART), ("shared", SHARED))
]
LENGTHS, TARGET_LENGTHS = np.array([9, 5, 1, 0]), np.array([3, 7, 1, 2])


def sentences_of(data):
    """Draw sentences, one of them empty, and the beginnings of their translations."""
    rng = np.random.default_rng(0)
    mask = np.arange(9) < LENGTHS[:, None]
    tokens = rng.integers(6, data.vocabulary_size, size=(4, 9))
    inputs = {"tokens": np.where(mask, tokens, 0), "mask": mask}
    if data.task == "translation":
        target = rng.integers(6, data.target_vocabulary_size, size=(4, 7))
        target[:, 0] = SpecialToken.START
        real = np.arange(7) < TARGET_LENGTHS[:, None]
        inputs["target_tokens"] = np.where(real, target, 0)
    return inputs


def embed(state, name, codes):
    """Look up vectors, scaled."""
    table = state[f"{name}.weight"]
    return table[codes] * math.sqrt(table.shape[1])


@pytest.mark.parametrize(("params", "data"), TRANSLATIONS)
def test_equation_of_a_translation(params, data):
    module, inputs = build(params, data), sentences_of(data)
    fused, explicit, records = run(module, inputs)
    np.testing.assert_allclose(fused, explicit, atol=TOLERANCE)
    state = weights_of(module)
    names = [(r.layer, r.kind, r.queries, r.keys) for r in records]
    assert names == [
        ("encoder.0", "self", "tokens", "tokens"),
        ("encoder.1", "self", "tokens", "tokens"),
        ("decoder.0", "self", "target_tokens", "given_tokens"),
        ("decoder.0", "cross", "target_tokens", "tokens"),
        ("decoder.1", "self", "target_tokens", "given_tokens"),
        ("decoder.1", "cross", "target_tokens", "tokens"),
    ]
    lengths = {"tokens": LENGTHS, "target_tokens": TARGET_LENGTHS}
    lengths["given_tokens"] = TARGET_LENGTHS
    for number in range(3):  # not the empty one
        length, steps = LENGTHS[number], TARGET_LENGTHS[number]
        source = embed(state, "source", inputs["tokens"][number, :length])
        memory, weights = encode(state, params, source)
        target = embed(state, "target", inputs["target_tokens"][number, :steps])
        target = target + positions(0, steps, params.d_model)
        h, decoder_weights = decode(state, params, target, memory, causal=True)
        scores = linear(state, "head", h)
        np.testing.assert_allclose(fused[number, :steps], scores, atol=TOLERANCE)
        for record, expected in zip(records, weights + decoder_weights, strict=True):
            got = record.weights[number, :, : lengths[record.queries][number]].numpy()
            real = lengths[record.keys][number]
            np.testing.assert_allclose(got[:, :, :real], expected, atol=TOLERANCE)
            assert not got[:, :, real:].any()


def test_equation_of_a_text():
    module, inputs = build(TIED, TOPICS), sentences_of(TOPICS)
    fused, explicit, records = run(module, inputs)
    np.testing.assert_allclose(fused, explicit, atol=TOLERANCE)
    state = weights_of(module)
    assert [(r.layer, r.keys) for r in records] == [
        ("encoder.0", "tokens"),
        ("encoder.1", "tokens"),
    ]
    np.testing.assert_allclose(fused[3], state["head.linear.bias"])  # of no token
    for number, length in enumerate(LENGTHS[:3]):
        source = embed(state, "source", inputs["tokens"][number, :length])
        memory, weights = encode(state, TIED, source)
        scores = linear(state, "head.linear", memory.mean(axis=0))
        np.testing.assert_allclose(fused[number], scores, atol=TOLERANCE)
        for record, expected in zip(records, weights, strict=True):
            got = record.weights[number, :, :length, :length].numpy()
            np.testing.assert_allclose(got, expected, atol=TOLERANCE)


def sentence_tensors_of(data):
    return {name: torch.from_numpy(a) for name, a in sentences_of(data).items()}


def write(module, state, target_tokens):
    """Give the scores of one step after another."""
    scores = []
    for token in target_tokens.unbind(dim=1):
        found, state = module.step(token, state)
        scores.append(found)
    return torch.stack(scores, dim=1), state


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("params", "data"), TRANSLATIONS)
@torch.no_grad()
def test_token_by_token_it_scores_the_same(params, data, masked):
    module, inputs = build(params, data), sentence_tensors_of(data)
    if not masked:
        del inputs["mask"]
    target = inputs.pop("target_tokens")
    scores, _ = write(module, module.start(**inputs), target)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores, module(**inputs, target_tokens=target))


@pytest.mark.parametrize(
    "index",
    [[0, 1, 2, 3], [1, 1, 3], [3, 2, 1, 0], [2], [0, 0, 0, 1, 2, 2]],
    ids=str,
)
@pytest.mark.parametrize("masked", [True, False])
@torch.no_grad()
def test_rows_are_kept_repeated_and_dropped(masked, index):
    module, inputs = build(TIED, APART), sentence_tensors_of(APART)
    if not masked:
        del inputs["mask"]
    target, index = inputs.pop("target_tokens"), torch.tensor(index)
    _, state = write(module, module.start(**inputs), target[:, :3])
    scores, state = write(module, module.reorder(state, index), target[index, 3:5])
    again = torch.arange(len(index)).flip(0)  # and once more, from what is left
    last, _ = write(module, module.reorder(state, again), target[index][again, 5:])
    inputs = {name: tensor[index] for name, tensor in inputs.items()}
    expected = module(**inputs, target_tokens=target[index])
    torch.testing.assert_close(scores, expected[:, 3:5])
    torch.testing.assert_close(last, expected[again, 5:])


@torch.no_grad()
def test_hypotheses_of_a_sentence_share_what_was_read():
    module, inputs = build(TIED, APART), sentence_tensors_of(APART)
    target = inputs.pop("target_tokens")
    twice = torch.tensor([0, 0, 1, 1])
    state = module.reorder(module.start(**inputs), twice)
    _, state = write(module, state, target)
    swapped = module.reorder(state, torch.tensor([1, 0, 3, 3]))
    before, after = (s.blocks[0] for s in (state, swapped))
    assert after[2] is before[2]
    assert after[3] is before[3]
    assert torch.equal(after[0], before[0][[1, 0, 3, 3]])


@torch.no_grad()
def test_steps_are_recorded_as_all_at_once():
    module, inputs = build(TIED, APART), sentence_tensors_of(APART)
    target = inputs.pop("target_tokens")
    state, received = module.start(**inputs), []
    with recording(received.append):
        write(module, state, target)
    steps, received = join_steps(received), []
    with recording(received.append):
        module(**inputs, target_tokens=target)
    whole = [each for each in join_steps(received) if "encoder" not in each.layer]
    assert [(step.layer, step.kind) for step in steps] == [
        (each.layer, each.kind) for each in whole
    ]
    for step, each in zip(steps, whole, strict=True):
        torch.testing.assert_close(step.weights, each.weights)


@torch.no_grad()
def test_a_token_changes_the_scores_of_its_position_and_of_later_ones():
    module, inputs = build(TIED, APART), sentence_tensors_of(APART)
    scores = module(**inputs)
    for position in range(7):
        changed = inputs["target_tokens"].clone()
        changed[:, position] = (changed[:, position] + 1) % 14
        moved = module(**{**inputs, "target_tokens": changed}) - scores
        moved = moved.abs().amax(dim=(0, 2)) > 1e-6
        assert moved.tolist() == [later >= position for later in range(7)]


@torch.no_grad()
def test_padding_of_the_source_has_no_say():
    module, inputs = build(TIED, APART), sentence_tensors_of(APART)
    changed = torch.where(inputs["mask"], inputs["tokens"], 7)
    assert torch.equal(module(**{**inputs, "tokens": changed}), module(**inputs))


@torch.no_grad()
def test_without_a_translation_the_first_token_is_scored():
    module, inputs = build(TIED, APART), sentence_tensors_of(APART)
    started = inputs["target_tokens"][:, :1]
    first = module(inputs["tokens"], inputs["mask"])
    assert torch.equal(first, module(inputs["tokens"], inputs["mask"], started))


def tied_weights(module):
    """Tell whether head, target and source have the weights of each other."""
    return (
        module.head.weight is module.target.weight,
        module.source.weight is module.target.weight,
    )


@pytest.mark.parametrize(
    ("params", "data", "expected"),
    [
        (TIED, SHARED, (True, True)),
        (TIED, APART, (True, False)),
        (UNTIED, SHARED, (False, False)),
    ],
    ids=["all", "target", "none"],
)
def test_tied_weights_stay_tied(params, data, expected):
    module = build(params, data)
    assert tied_weights(module) == expected
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    loaded = params.build(data).double().eval()
    loaded.load_state_dict(torch.load(io.BytesIO(file.getvalue())))
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded]
    inputs = sentence_tensors_of(data)
    for other in copies:
        assert tied_weights(other) == expected
        with torch.no_grad():
            assert torch.equal(other(**inputs), module(**inputs))
            other.target.weight.add_(1.0)
        assert torch.equal(other.head.weight, other.target.weight) == expected[0]
        assert torch.equal(other.source.weight, other.target.weight) == expected[1]


def test_embedded_tokens_are_dropped_while_training():
    module = Transformer(dropout=0.9).build(TOPICS)
    tokens = torch.full((1, 9), 7)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seen = []
        handle = module.encoder.register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0])
        )
        module.train()(tokens)
        module.eval()(tokens)
        handle.remove()
    assert (seen[0] == 0).float().mean() > 0.7
    assert not (seen[1] == 0).any()


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_embeddings_are_tied_or_not(value):
    message = f"tie_embeddings={value!r} of Transformer must be True or False"
    with pytest.raises(ValueError, match=message):
        Transformer(tie_embeddings=value).build(APART)


# Hyper-parameters


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
