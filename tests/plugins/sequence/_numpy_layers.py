"""Layers in NumPy, one sample at a time, to hold the architectures against.

A `state` holds the weights of a torch module; `prefix` says where a layer's are.
"""

import math
from dataclasses import replace

import numpy as np
import torch

from skattn import DataSpec
from skattn.nn import join_steps, recording

TABLE = DataSpec(
    "classification", "table", n_outputs=3, n_features=4, category_counts=(3, 5)
)
PANEL = DataSpec("classification", "series", n_outputs=3, n_channels=2, length=9)
WINDOW = DataSpec(
    "forecasting", "series", n_channels=2, n_targets=2, length=9, horizon=3
)
TEXT = DataSpec("classification", "tokens", n_outputs=3, length=9, vocabulary_size=11)
TAGS = replace(TEXT, task="tagging", n_outputs=5)
WORDS = replace(TEXT, task="token_prediction", n_outputs=11)
CASES = {"table": TABLE, "panel": PANEL, "window": WINDOW, "text": TEXT}

LENGTHS = np.array([9, 5, 2, 1])


def axis_of(data):
    """Say what the tokens are."""
    return {"table": "features", "tokens": "tokens"}.get(data.input, "time")


def build(architecture, data):
    """Build a module in double precision with random weights, norms' too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = architecture.build(data).double().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    return module


def inputs_of(data):
    """Draw samples with gaps; panels are padded on the right, windows on the left."""
    rng = np.random.default_rng(0)
    n = len(LENGTHS)
    if data.input == "table":
        observed = rng.random((n, data.n_features)) > 0.3
        counts = data.category_counts
        return {
            "x": np.where(observed, rng.normal(size=observed.shape), 0.0),
            "observed": observed,
            "categories": np.column_stack([rng.integers(c, size=n) for c in counts]),
        }
    mask = np.arange(data.length) < LENGTHS[:, None]
    if data.input == "tokens":
        tokens = rng.integers(1, data.vocabulary_size, size=mask.shape)
        return {"tokens": np.where(mask, tokens, 0), "mask": mask}
    if data.task == "forecasting":
        mask = mask[:, ::-1].copy()
    observed = (rng.random((n, data.n_channels, data.length)) > 0.2) & mask[:, None]
    return {
        "x": np.where(observed, rng.normal(size=observed.shape), 0.0),
        "observed": observed,
        "mask": mask,
    }


def unpadded(inputs):
    """Give the arguments of `tokens_of` for each sample, and where it is real."""
    if "tokens" in inputs:
        for tokens, real in zip(inputs["tokens"], inputs["mask"], strict=True):
            yield tokens[real], None, None, real
        return
    for number, x in enumerate(inputs["x"]):
        observed = inputs["observed"][number]
        if "mask" not in inputs:
            real = np.ones(len(x) + inputs["categories"].shape[1], bool)
            yield x, observed, inputs["categories"][number], real
        else:
            real = inputs["mask"][number]
            yield x[:, real], observed[:, real], None, real


@torch.no_grad()
def run(module, inputs):
    """Compute scores on both paths, and the weights of all layers."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    received = []
    with recording(received.append):
        explicit = module(**tensors).numpy()
    return module(**tensors).numpy(), explicit, join_steps(received)


def weights_of(module):
    """Give the weights as arrays."""
    return {name: value.numpy() for name, value in module.state_dict().items()}


def linear(state, prefix, h):
    """Compute W h + b for each row of `h`."""
    bias = state.get(f"{prefix}.bias", 0.0)
    return h @ state[f"{prefix}.weight"].T + bias


def layer_norm(state, prefix, h):
    """Normalise over the last axis."""
    centred = h - h.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt(variance + 1e-5)
    return normed * state[f"{prefix}.weight"] + state[f"{prefix}.bias"]


def softmax(scores):
    """Normalise over the last axis."""
    exponential = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def sigmoid(z):
    """Compute the logistic function."""
    return 1 / (1 + np.exp(-z))


def tokens_of(state, data, x, observed, categories):
    """Embed one unpadded sample: (tokens, d_model)."""
    if data.input == "table":
        return _column_tokens(state, x, observed, categories)
    if data.input in ("tokens", "pair"):
        return state["tokens.embed.weight"][x]
    h = np.concatenate([np.where(observed, x, 0.0), ~observed])
    number = 0
    while f"tokens.embed.convolutions.{number}.weight" in state:
        if number:
            h = 0.5 * h * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))
        h = _convolve(state, f"tokens.embed.convolutions.{number}", h)
        number += 1
    return h.T


def _column_tokens(state, x, observed, categories):
    edges = state["tokens.embed.edges"]
    tokens = []
    for column, number in enumerate(x):
        if not observed[column]:
            tokens.append(state["tokens.embed.missing"][column])
            continue
        pieces = np.clip((number - edges[:-1]) / np.diff(edges), 0.0, 1.0)
        code = np.concatenate([[number], pieces])
        mapped = code @ state["tokens.embed.weight"][column]
        tokens.append(np.maximum(mapped + state["tokens.embed.bias"][column], 0.0))
    for column, code in enumerate(categories):
        tokens.append(state[f"tokens.embed.tables.{column}.weight"][code])
    return np.stack(tokens)


def _convolve(state, prefix, h):
    weight = state[f"{prefix}.weight"]  # (out, in, kernel)
    reach = weight.shape[2] // 2
    padded = np.pad(h, ((0, 0), (reach, reach)))
    steps = [
        np.einsum("oik,ik->o", weight, padded[:, step : step + weight.shape[2]])
        for step in range(h.shape[1])
    ]
    return np.stack(steps, axis=1) + state[f"{prefix}.bias"][:, None]


def lstm(state, prefix, h):
    """Run all layers of an LSTM over (steps, width); gates are i, f, g, o."""
    layer = 0
    while f"{prefix}.weight_ih_l{layer}" in state:
        w_ih, w_hh, b_ih, b_hh = (
            state[f"{prefix}.{name}_l{layer}"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        hidden = cell = np.zeros(w_hh.shape[1])
        states = []
        for step in h:
            gates = w_ih @ step + b_ih + w_hh @ hidden + b_hh
            enter, forget, candidate, leave = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
            hidden = sigmoid(leave) * np.tanh(cell)
            states.append(hidden)
        h = np.stack(states)
        layer += 1
    return h


def encoder_block(state, prefix, h, num_heads, n_queries=None):
    """Transform (tokens, width) by a pre-norm block; return weights of the heads."""
    normed = layer_norm(state, f"{prefix}.norm_attention", h)
    query = linear(state, f"{prefix}.attention.project_query", normed[:n_queries])
    joint = linear(state, f"{prefix}.attention.project_key_value", normed)
    key, value = np.split(joint, 2, axis=-1)
    weights, heads = [], []
    for part in np.split(np.arange(h.shape[1]), num_heads):
        scores = query[:, part] @ key[:, part].T / math.sqrt(len(part))
        weights.append(softmax(scores))
        heads.append(weights[-1] @ value[:, part])
    attended = linear(state, f"{prefix}.attention.project_out", np.hstack(heads))
    h = h[:n_queries] + attended
    normed = layer_norm(state, f"{prefix}.norm_feed_forward", h)
    hidden = np.maximum(linear(state, f"{prefix}.feed_forward.0", normed), 0.0)
    return h + linear(state, f"{prefix}.feed_forward.3", hidden), np.stack(weights)


def head(state, data, h):
    """Map a vector, or one for each token, to scores."""
    scores = linear(state, "head.linear", h)
    if data.task == "forecasting":
        return scores.reshape(data.n_targets, data.horizon)
    return scores
