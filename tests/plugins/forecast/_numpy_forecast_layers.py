"""Layers of forecasting nets in NumPy, one sample at a time, and data for them.

A `state` holds the weights of a torch module; `prefix` says where a layer's are.
"""

import math
from dataclasses import replace

import numpy as np
import torch

from skattn import DataSpec
from skattn.nn import join_steps, recording

LENGTHS = np.array([20, 13, 4, 1])

WINDOW = DataSpec(
    "forecasting", "series", n_channels=2, n_targets=2, length=20, horizon=3
)
COVARIATES = replace(
    WINDOW, n_channels=3, n_known=2, known_category_counts=(4, 3), n_parameters=2
)
PANEL = DataSpec("classification", "series", n_outputs=3, n_channels=2, length=20)


def build(architecture, data):
    """Build a module in double precision with random weights and statistics."""
    generator = torch.Generator().manual_seed(0)
    module = architecture.build(data).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0, generator=generator)
    return module


def inputs_of(data, length=None):
    """Draw samples with gaps; panels are padded on the right, windows on the left."""
    rng = np.random.default_rng(0)
    n, length = len(LENGTHS), data.length if length is None else length
    mask = np.arange(length) < LENGTHS[:, None]
    mask[0] = True
    if data.task == "forecasting":
        mask = mask[:, ::-1].copy()
    observed = rng.random((n, data.n_channels, length)) > 0.2
    inputs = {
        # What is padded or missing holds anything.
        "x": rng.normal(size=observed.shape),
        "observed": observed,
        "mask": mask,
    }
    steps = length + data.horizon
    if data.n_known:
        inputs["known"] = rng.normal(size=(n, data.n_known, steps))
    if counts := data.known_category_counts:
        codes = [rng.integers(count, size=(n, steps)) for count in counts]
        inputs["known_categories"] = np.stack(codes, axis=1)
    return inputs


def whole(inputs):
    """Leave out `mask` and `observed`: everything is there."""
    return {n: value for n, value in inputs.items() if n not in {"mask", "observed"}}


def samples(inputs):
    """Give each sample's values, zero where there is none, missing steps, and mask."""
    for number, x in enumerate(inputs["x"]):
        mask = inputs["mask"][number] if "mask" in inputs else np.ones(x.shape[1], bool)
        seen = inputs["observed"][number] if "observed" in inputs else True
        present = mask & seen & np.ones(x.shape, bool)
        yield np.where(present, x, 0.0), 1.0 * (mask & ~present), mask


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
    return h @ state[f"{prefix}.weight"].T + state.get(f"{prefix}.bias", 0.0)


def layer_norm(state, prefix, h):
    """Normalise over the last axis."""
    centred = h - h.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt(variance + 1e-5)
    return normed * state[f"{prefix}.weight"] + state[f"{prefix}.bias"]


def batch_norm(state, prefix, h):
    """Normalise by the statistics of training."""
    centred = h - state[f"{prefix}.running_mean"]
    normed = centred / np.sqrt(state[f"{prefix}.running_var"] + 1e-5)
    return normed * state[f"{prefix}.weight"] + state[f"{prefix}.bias"]


def multihead(state, prefix, query, memory, num_heads):
    """Let (queries, width) attend to (keys, width); return weights of the heads too."""
    q = linear(state, f"{prefix}.project_query", query)
    key_value = linear(state, f"{prefix}.project_key_value", memory)
    k, v = np.split(key_value, 2, axis=-1)
    weights, heads = [], []
    for part in np.split(np.arange(query.shape[1]), num_heads):
        exponential = np.exp(q[:, part] @ k[:, part].T / math.sqrt(len(part)))
        weights.append(exponential / exponential.sum(axis=1, keepdims=True))
        heads.append(weights[-1] @ v[:, part])
    return linear(state, f"{prefix}.project_out", np.hstack(heads)), np.stack(weights)


def feed_forward(state, prefix, h):
    """Compute a hidden layer of GELUs and a linear one."""
    hidden = linear(state, f"{prefix}.0", h)
    hidden = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return linear(state, f"{prefix}.3", hidden)


def post_norm_block(state, prefix, h, num_heads, norm):
    """Transform (tokens, width); return weights of the heads too."""
    attended, weights = multihead(state, f"{prefix}.attention", h, h, num_heads)
    h = norm(state, f"{prefix}.norm_attention", h + attended)
    h = h + feed_forward(state, f"{prefix}.feed_forward", h)
    return norm(state, f"{prefix}.norm_feed_forward", h), weights


def variates(state, data, x, missing, mask, known=(), known_categories=()):
    """Embed channels, numbers and codes: (variates, d_model)."""
    if data.task != "forecasting":  # pieces of the length of training, or one
        x, missing = x[:, mask], missing[:, mask]
    pieces = []
    for start in range(0, x.shape[1], data.length):
        piece = x[:, start : start + data.length]
        gaps = missing[:, start : start + data.length]
        width = ((0, 0), (0, data.length - piece.shape[1]))
        token = linear(state, "variates.embed", np.pad(piece, width))
        token += linear(state, "variates.embed_missing", np.pad(gaps, width))
        pieces.append(token)
    tokens = [np.mean(pieces, axis=0)]
    for series in known:
        tokens.append(linear(state, "variates.embed_known", series[None]))
    tables = np.split(
        state.get("variates.codes.weight", np.zeros((0, 1)))[:, 0],
        np.cumsum(data.known_category_counts)[:-1],
    )
    for codes, table in zip(known_categories, tables, strict=False):
        tokens.append(linear(state, "variates.embed_known", table[codes][None]))
    return np.vstack(tokens)


def patches(state, x, missing, mask, starts, patch_length):
    """Embed the patches of one channel; the last step stands for those after it."""
    steps = np.minimum(starts[:, None] + np.arange(patch_length), len(x) - 1)
    tokens = linear(state, "patches.embed", x[steps])
    tokens += linear(state, "patches.embed_missing", missing[steps])
    return tokens, mask[steps].any(axis=1)


def horizon(state, data, h):
    """Forecast each target from its vector."""
    scores = linear(state, "head.linear", h)
    if data.n_parameters == 1:
        return scores
    return scores.reshape(len(h), data.horizon, data.n_parameters)
