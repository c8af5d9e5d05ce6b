"""Attention by distance against loops over queries and keys."""

import numpy as np
import pytest
import torch

from skattn.nn import relative_positions, relative_shift, relative_weights

SIZES = [(1, 1), (1, 4), (3, 3), (3, 5), (4, 9)]


def draw(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("n_queries", "n_keys"), SIZES)
@pytest.mark.parametrize("causal", [False, True])
def test_shift_gives_each_pair_the_score_of_its_distance(n_queries, n_keys, causal):
    stop = -1 if causal else -n_queries
    distances = torch.arange(n_keys - 1, stop, -1)
    scores = torch.stack([100 * query + distances for query in range(n_queries)])
    shifted = relative_shift(scores.expand(2, 1, -1, -1), n_keys)
    assert shifted.shape == (2, 1, n_queries, n_keys)
    for i in range(n_queries):
        for j in range(n_keys):
            distance = n_keys - n_queries + i - j
            if distance >= 0 or not causal:
                assert shifted[1, 0, i, j] == 100 * i + distance


@pytest.mark.parametrize("width", [1, 4, 5])
def test_positions_are_sinusoids_of_signed_distances(width):
    like = torch.zeros(1, dtype=torch.float64)
    got = relative_positions(2, 3, width, like=like)
    assert got.dtype == torch.float64
    frequency = 10000.0 ** (-np.arange(0, width, 2) / width)
    angle = np.array([2, 1, 0, -1])[:, None] * frequency
    expected = np.hstack([np.sin(angle), np.cos(angle)])[:, :width]
    # torch computes the sinusoids in single precision.
    np.testing.assert_allclose(got, expected, atol=1e-6)
    past = relative_positions(2, 3, width, causal=True, like=like)
    torch.testing.assert_close(past, got[:3], rtol=0, atol=0)


@pytest.mark.parametrize(("n_queries", "n_keys"), SIZES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("of_each_head", [False, True])
def test_weights(n_queries, n_keys, causal, of_each_head):
    heads, width, scale = 2, 3, 0.7
    n_distances = n_keys if causal else n_keys + n_queries - 1
    query = draw(0, 2, heads, n_queries, width)
    key = draw(1, 2, heads, n_keys, width)
    shape = (heads, n_distances, width) if of_each_head else (n_distances, width)
    r = draw(2, *shape)
    u, v = draw(3, heads, width), draw(4, heads, width)
    mask = torch.ones(2, n_keys, dtype=torch.bool)
    mask[1, n_keys // 2 :] = False
    got = relative_weights(
        query,
        key,
        r,
        content_bias=u,
        distance_bias=v,
        scale=scale,
        mask=mask,
        causal=causal,
    )
    for b, h, i in np.ndindex(2, heads, n_queries):
        place = n_keys - n_queries + i
        seen = [j for j in range(n_keys) if mask[b, j] and (j <= place or not causal)]
        expected = np.zeros(n_keys)
        if seen:
            table = r[h] if of_each_head else r
            scores = [
                scale
                * float(
                    (query[b, h, i] + u[h]) @ key[b, h, j]
                    + (query[b, h, i] + v[h]) @ table[n_keys - 1 - (place - j)]
                )
                for j in seen
            ]
            exponential = np.exp(np.array(scores) - max(scores))
            expected[seen] = exponential / exponential.sum()
        np.testing.assert_allclose(got[b, h, i], expected, atol=1e-12)


def test_no_mask_is_a_mask_that_is_true():
    query, u = draw(0, 2, 1, 4, 3), draw(1, 1, 3)
    r = relative_positions(4, 4, 3, like=query)
    arguments = {"content_bias": u, "distance_bias": u}
    plain = relative_weights(query, query, r, **arguments)
    mask = torch.ones(2, 4, dtype=torch.bool)
    masked = relative_weights(query, query, r, mask=mask, **arguments)
    torch.testing.assert_close(masked, plain, rtol=0, atol=1e-15)
