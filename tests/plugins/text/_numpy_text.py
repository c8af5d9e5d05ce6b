"""Layers for texts in NumPy, one text at a time, to hold the architectures against.

A `state` holds the weights of a torch module; `prefix` says where a layer's are.
"""

import numpy as np
import torch

from skattn.nn import join_steps, recording

LENGTHS = np.array([9, 5, 2, 1])


def build(architecture, data):
    """Build a module in double precision with random weights, norms' too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = architecture.build(data).double().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    return module


def texts_of(data, lengths=LENGTHS):
    """Draw tokens and their mask, padded on the right."""
    rng = np.random.default_rng(0)
    mask = np.arange(max(lengths)) < lengths[:, None]
    tokens = rng.integers(1, data.vocabulary_size, size=mask.shape)
    return {"tokens": np.where(mask, tokens, 0), "mask": mask}


@torch.no_grad()
def run(module, inputs):
    """Compute scores without and with a recorder, and the weights of all layers."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    received = []
    with recording(received.append):
        recorded = module(**tensors).numpy()
    return module(**tensors).numpy(), recorded, join_steps(received)


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
    """Normalise over the last axis; minus infinity gets no weight."""
    exponential = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def sigmoid(z):
    """Compute the logistic function."""
    return 1 / (1 + np.exp(-z))


def sinusoid(distance, width):
    """Encode one signed distance: all sines, then all cosines."""
    frequency = 10000.0 ** (-2 * np.arange((width + 1) // 2) / width)
    angle = distance * frequency
    return np.concatenate([np.sin(angle), np.cos(angle)])[:width]


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


def both_directions(state, prefix, h):
    """Read forwards and backwards; the states are joined."""
    backward = lstm(state, f"{prefix}.backward_lstm", h[::-1])[::-1]
    return np.hstack([lstm(state, f"{prefix}.forward_lstm", h), backward])


def relative_scores(query, key, encode, u, v, offset=0):
    """Score each pair of positions of one head, one after another.

    `encode` turns a distance into a vector; `offset` is the position of the first
    query among the keys.
    """
    scores = np.empty((len(query), len(key)))
    for i, q in enumerate(query):
        for j, k in enumerate(key):
            r = encode(offset + i - j)
            scores[i, j] = q @ k + q @ r + u @ k + v @ r
    return scores
