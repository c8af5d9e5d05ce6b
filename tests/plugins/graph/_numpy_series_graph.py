"""The spatio-temporal GAT in NumPy, one sample at a time, by loops over its sums.

A `state` holds the weights of a torch module; `prefix` says where a layer's are.
"""

import math

import numpy as np
import torch

from skattn.nn import sinusoidal_positions


def linear(state, prefix, h):
    """Compute W h + b for each row of `h`."""
    return h @ state[f"{prefix}.weight"].T + state.get(f"{prefix}.bias", 0.0)


def layer_norm(state, prefix, h):
    """Normalise over the last axis."""
    centred = h - h.mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return normed * state[f"{prefix}.weight"] + state[f"{prefix}.bias"]


def softmax(scores):
    """Normalise exponentials over the last axis."""
    exponential = np.exp(scores)
    return exponential / exponential.sum(axis=-1, keepdims=True)


def patches(state, x, missing, mask, length):
    """Embed the patches of one series; the last step stands for those after it."""
    starts = np.arange(-(-max(len(x) - length, 0) // length) + 1) * length
    steps = np.minimum(starts[:, None] + np.arange(length), len(x) - 1)
    tokens = linear(state, "patches.embed", x[steps])
    tokens += linear(state, "patches.embed_missing", missing[steps])
    return tokens, mask[steps].any(axis=1)


def temporal_block(state, prefix, h, num_heads):
    """Let (patches, width) attend to themselves; return weights of the heads too."""
    q = linear(state, f"{prefix}.attention.project_query", h)
    memory = linear(state, f"{prefix}.attention.project_key_value", h)
    k, v = np.split(memory, 2, axis=-1)
    weights, heads = [], []
    for part in np.split(np.arange(h.shape[1]), num_heads):
        weights.append(softmax(q[:, part] @ k[:, part].T / math.sqrt(len(part))))
        heads.append(weights[-1] @ v[:, part])
    joined = linear(state, f"{prefix}.attention.project_out", np.hstack(heads))
    h = layer_norm(state, f"{prefix}.norm_attention", h + joined)
    hidden = linear(state, f"{prefix}.feed_forward.0", h)
    hidden = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    h = h + linear(state, f"{prefix}.feed_forward.3", hidden)
    return layer_norm(state, f"{prefix}.norm_feed_forward", h), np.stack(weights)


def graph_attention(state, prefix, h, neighbours, b):
    """Let (series, width) attend to lists of series; return weights of heads too.

    `b` has the shape (heads, series, series).
    """
    n_series, width = h.shape
    a, a_source = state[f"{prefix}.a_target"], state[f"{prefix}.a_source"]
    wh = linear(state, f"{prefix}.project", h).reshape(n_series, len(a), -1)
    alpha = np.zeros((len(a), n_series, n_series))
    out = np.zeros_like(wh)
    for k in range(len(a)):
        for i in range(n_series):
            scores = []
            for j in neighbours[i]:
                e = a[k, :, 0] @ wh[i, k] + a_source[k, :, 0] @ wh[j, k]
                scores.append((e if e > 0 else 0.2 * e) + b[k, i, j])
            alpha[k, i, neighbours[i]] = softmax(np.array(scores))
            out[i, k] = sum(alpha[k, i, j] * wh[j, k] for j in neighbours[i])
    out = out.reshape(n_series, width)
    out = np.where(out > 0, out, np.expm1(out))
    return layer_norm(state, f"{prefix}.norm", h + out), alpha


def scores_and_weights(state, data, params, sample, length, neighbours, b):
    """Compute the scores of one sample, and the weights of each layer.

    Those of temporal layers have the shape (series, heads, patches, patches), those of
    spatial ones (patches, heads, series, series), all of the real patches alone.
    """
    x, missing, mask = sample
    is_forecast = data.task == "forecasting"
    if not is_forecast:
        x, missing, mask = x[:, mask], missing[:, mask], mask[mask]
    steps = torch.arange(len(mask))[None]
    positions = sinusoidal_positions(steps, params.d_model)[0].numpy()
    tokens = []
    for series, gaps in zip(x, missing, strict=True):
        found, real = patches(state, series, gaps, mask, length)
        tokens.append((found + positions[: len(found)])[real])
    h, weights = np.stack(tokens), []  # (series, real patches, width)
    for number in range(params.num_layers):
        one_by_one = [
            temporal_block(state, f"temporal.{number}", own, params.num_heads)
            for own in h
        ]
        h = np.stack([own for own, _ in one_by_one])
        weights.append(np.stack([alpha for _, alpha in one_by_one]))
        if neighbours is not None:
            one_by_one = [
                graph_attention(state, f"spatial.{number}", h[:, p], neighbours, b)
                for p in range(h.shape[1])
            ]
            h = np.stack([now for now, _ in one_by_one], axis=1)
            weights.append(np.stack([alpha for _, alpha in one_by_one]))
    if not is_forecast:
        return linear(state, "head.linear", h.mean(axis=1).ravel()), weights, real
    filled = np.zeros((data.n_targets, len(real), params.d_model))
    filled[:, real] = h[: data.n_targets]
    scores = linear(state, "head.linear", filled.reshape(data.n_targets, -1))
    if data.n_parameters > 1:
        scores = scores.reshape(data.n_targets, data.horizon, -1)
    return scores, weights, real
