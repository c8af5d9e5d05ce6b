"""The recurrent translator against its equations in NumPy."""

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from _numpy_text import (
    both_directions,
    build,
    linear,
    run,
    sigmoid,
    softmax,
    weights_of,
)

from skattn import DataSpec, SpecialToken
from skattn.architectures import RNNSeq2Seq
from skattn.nn import join_steps, recording

APART = DataSpec(
    "translation", "tokens", length=9, vocabulary_size=12, target_vocabulary_size=14
)
SHARED = replace(APART, target_vocabulary_size=12, shared_vocabulary=True)
ADDITIVE = RNNSeq2Seq(d_model=4, dropout=0.5)
MULTIPLICATIVE = RNNSeq2Seq(d_model=3, score="multiplicative", tie_embeddings=False)
CASES = [
    pytest.param(params, data, id=f"{params.score}-{params.num_layers}-{name}")
    for params, data, name in (
        (ADDITIVE, APART, "apart"),
        (ADDITIVE, SHARED, "shared"),
        (RNNSeq2Seq(d_model=4, num_layers=3), APART, "apart"),
        (MULTIPLICATIVE, SHARED, "shared"),
        (RNNSeq2Seq(d_model=4, num_layers=2, score="multiplicative"), APART, "apart"),
    )
]
each_score = pytest.mark.parametrize(
    "params", [ADDITIVE, MULTIPLICATIVE], ids=lambda params: params.score
)

LENGTHS, TARGET_LENGTHS = np.array([9, 5, 1, 0]), np.array([3, 7, 1, 2])


def sentences_of(data):
    """Draw sentences, one of them empty, and the beginnings of their translations."""
    rng = np.random.default_rng(0)
    mask = np.arange(9) < LENGTHS[:, None]
    tokens = rng.integers(6, data.vocabulary_size, size=(4, 9))
    target = rng.integers(6, data.target_vocabulary_size, size=(4, 7))
    target[:, 0] = SpecialToken.START
    real = np.arange(7) < TARGET_LENGTHS[:, None]
    return {
        "tokens": np.where(mask, tokens, 0),
        "mask": mask,
        "target_tokens": np.where(real, target, 0),
    }


def cell_of(gates, cell):
    """Compute the next hidden and cell state."""
    enter, keep, new, leave = np.split(gates, 4)
    cell = sigmoid(keep) * cell + sigmoid(enter) * np.tanh(new)
    return sigmoid(leave) * np.tanh(cell), cell


def translate(state, params, tokens, target_tokens):
    """Compute the scores of one sentence, and the weights (targets, tokens)."""
    root = math.sqrt(params.d_model)
    memory = both_directions(
        state, "encoder", root * state["source.weight"][tokens]
    )  # (length, 2 d_model)
    backward = memory[0, params.d_model :]
    parts = np.tanh(linear(state, "bridge", backward)).reshape(-1, 2, params.d_model)
    layers, output = [tuple(pair) for pair in parts], np.zeros(params.d_model)

    def look(s):
        if params.score == "additive":
            joint = linear(state, "attention.project_query", s)
            joint = joint + linear(state, "attention.project_key", memory)
            scores = np.tanh(joint) @ state["attention.vector"]
        else:
            scores = memory @ state["attention.project_key.weight"].T @ s
        return softmax(scores) @ memory, softmax(scores)

    def recur(y, fed):
        joined = np.concatenate([fed, layers[0][0]])
        gates = linear(state, "cell.ahead", y)
        gates = gates + state["cell.recurrent.weight"] @ joined
        found = [cell_of(gates, layers[0][1])]
        for number, (hidden, cell) in enumerate(layers[1:]):
            prefix = f"upper_cells.{number}"
            gates = state[f"{prefix}.weight_ih"] @ found[-1][0]
            gates = gates + state[f"{prefix}.bias_ih"] + state[f"{prefix}.bias_hh"]
            gates = gates + state[f"{prefix}.weight_hh"] @ hidden
            found.append(cell_of(gates, cell))
        return found

    scores, weights = [], []
    for token in target_tokens:
        y = root * state["target.weight"][token]
        if params.score == "additive":
            context, alpha = look(layers[-1][0])
            layers = recur(y, context)
            joined = np.concatenate([layers[-1][0], context, y])
        else:
            layers = recur(y, output)
            context, alpha = look(layers[-1][0])
            joined = np.concatenate([layers[-1][0], context])
        output = np.tanh(linear(state, "combine", joined))
        scores.append(linear(state, "head", output))
        weights.append(alpha)
    return np.stack(scores), np.stack(weights)


@pytest.mark.parametrize(("params", "data"), CASES)
def test_equation(params, data):
    module, inputs = build(params, data), sentences_of(data)
    plain, recorded, records = run(module, inputs)
    np.testing.assert_array_equal(plain, recorded)
    state = weights_of(module)
    (record,) = records
    assert (record.layer, record.kind) == ("decoder", "cross")
    assert (record.queries, record.keys) == ("target_tokens", "tokens")
    alignment = record.weights.numpy()
    assert alignment.shape == (4, 1, 7, 9)
    for number in range(3):  # not the empty one
        length, steps = LENGTHS[number], TARGET_LENGTHS[number]
        scores, weights = translate(
            state,
            params,
            inputs["tokens"][number, :length],
            inputs["target_tokens"][number, :steps],
        )
        np.testing.assert_allclose(plain[number, :steps], scores, atol=1e-12)
        got = alignment[number, 0, :steps]
        np.testing.assert_allclose(got[:, :length], weights, atol=1e-12)
        np.testing.assert_allclose(got.sum(axis=1), 1.0)
        assert not got[:, length:].any()
    assert not alignment[3].any()
    assert np.isfinite(plain).all()


def tensors_of(data):
    return {name: torch.from_numpy(a) for name, a in sentences_of(data).items()}


def write(module, state, target_tokens):
    """Give the scores of one step after another."""
    scores = []
    for token in target_tokens.unbind(dim=1):
        found, state = module.step(token, state)
        scores.append(found)
    return torch.stack(scores, dim=1), state


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("params", "data"), CASES)
@torch.no_grad()
def test_token_by_token_it_scores_the_same(params, data, masked):
    module, inputs = build(params, data), tensors_of(data)
    if not masked:
        del inputs["mask"]
    target = inputs.pop("target_tokens")
    scores, _ = write(module, module.start(**inputs), target)
    torch.testing.assert_close(scores, module(**inputs, target_tokens=target))


@pytest.mark.parametrize(
    "index",
    [[0, 1, 2, 3], [1, 1, 3], [3, 2, 1, 0], [2], [0, 0, 0, 1, 2, 2]],
    ids=str,
)
@pytest.mark.parametrize("masked", [True, False])
@each_score
@torch.no_grad()
def test_rows_are_kept_repeated_and_dropped(params, masked, index):
    params = copy.deepcopy(params).set_params(num_layers=2)
    module, inputs = build(params, APART), tensors_of(APART)
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


@each_score
@torch.no_grad()
def test_hypotheses_of_a_sentence_share_what_was_read(params):
    module, inputs = build(params, APART), tensors_of(APART)
    target = inputs.pop("target_tokens")
    state = module.reorder(module.start(**inputs), torch.tensor([0, 0, 1, 1]))
    _, state = write(module, state, target)
    swapped = module.reorder(state, torch.tensor([1, 0, 3, 3]))
    assert swapped.memory is state.memory
    assert torch.equal(swapped.output, state.output[[1, 0, 3, 3]])


@each_score
@torch.no_grad()
def test_steps_are_recorded_as_all_at_once(params):
    module, inputs = build(params, APART), tensors_of(APART)
    target = inputs.pop("target_tokens")
    received = []
    with recording(received.append):
        write(module, module.start(**inputs), target)
    steps, received = join_steps(received), []
    with recording(received.append):
        module(**inputs, target_tokens=target)
    whole = join_steps(received)
    assert [(step.layer, step.kind) for step in steps] == [
        (each.layer, each.kind) for each in whole
    ]
    for step, each in zip(steps, whole, strict=True):
        torch.testing.assert_close(step.weights, each.weights)


@each_score
@torch.no_grad()
def test_a_token_changes_the_scores_of_its_position_and_of_later_ones(params):
    module, inputs = build(params, APART), tensors_of(APART)
    scores = module(**inputs)
    for position in range(7):
        changed = inputs["target_tokens"].clone()
        changed[:, position] = (changed[:, position] + 1) % 14
        moved = module(**{**inputs, "target_tokens": changed}) - scores
        moved = moved.abs().amax(dim=(0, 2)) > 0
        assert moved.tolist() == [later >= position for later in range(7)]


@each_score
@torch.no_grad()
def test_padding_of_the_source_has_no_say(params):
    module, inputs = build(params, APART), tensors_of(APART)
    changed = torch.where(inputs["mask"], inputs["tokens"], 7)
    assert torch.equal(module(**{**inputs, "tokens": changed}), module(**inputs))


@torch.no_grad()
def test_what_a_multiplicative_decoder_wrote_is_fed_to_its_next_step():
    """And the additive one has nothing of the kind: its state and context suffice."""
    moved = {}
    for params in (ADDITIVE, MULTIPLICATIVE):
        module, inputs = build(params, APART), tensors_of(APART)
        target = inputs.pop("target_tokens")
        state = module.start(**inputs)
        scores, _ = module.step(target[:, 0], state)
        fed = state._replace(output=state.output + 1.0)
        moved[params.score] = not torch.equal(module.step(target[:, 0], fed)[0], scores)
    assert moved == {"additive": False, "multiplicative": True}


@torch.no_grad()
def test_without_a_translation_the_first_token_is_scored():
    module, inputs = build(ADDITIVE, APART), tensors_of(APART)
    started = inputs["target_tokens"][:, :1]
    first = module(inputs["tokens"], inputs["mask"])
    assert torch.equal(first, module(inputs["tokens"], inputs["mask"], started))


@pytest.mark.parametrize(
    ("tied", "data", "one_embedding"),
    [(True, SHARED, True), (True, APART, False), (False, SHARED, False)],
    ids=["all", "target", "none"],
)
def test_tied_weights_stay_tied(tied, data, one_embedding):
    params = RNNSeq2Seq(d_model=4, tie_embeddings=tied)
    module, inputs = build(params, data), tensors_of(data)
    loaded = params.build(data).double().eval()
    loaded.load_state_dict(module.state_dict())
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
        assert (other.head.weight is other.target.weight) == tied
        assert (other.source.weight is other.target.weight) == one_embedding
        with torch.no_grad():
            assert torch.equal(other(**inputs), module(**inputs))


@each_score
@torch.no_grad()
def test_units_are_dropped_while_training(params):
    module = build(copy.deepcopy(params).set_params(dropout=0.5), APART).train()
    inputs = tensors_of(APART)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(module(**inputs), module(**inputs))
    module.eval()
    assert torch.equal(module(**inputs), module(**inputs))


@pytest.mark.parametrize("name", ["d_model", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, None, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of RNNSeq2Seq must be a positive integer"
    with pytest.raises(ValueError, match=message):
        RNNSeq2Seq(**{name: value}).build(APART)


@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(value):
    with pytest.raises(ValueError, match=f"dropout={value} of RNNSeq2Seq must be"):
        RNNSeq2Seq(dropout=value).build(APART)


@pytest.mark.parametrize("value", ["dot", "Additive", None, True])
def test_score_is_one_of_two(value):
    message = f"score={value!r} of RNNSeq2Seq must be 'additive' or 'multiplicative'"
    with pytest.raises(ValueError, match=message):
        RNNSeq2Seq(score=value).build(APART)


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_embeddings_are_tied_or_not(value):
    message = f"tie_embeddings={value!r} of RNNSeq2Seq must be True or False"
    with pytest.raises(ValueError, match=message):
        RNNSeq2Seq(tie_embeddings=value).build(APART)
