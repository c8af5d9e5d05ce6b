"""Pieces of graph networks against loops over edges in NumPy."""

import numpy as np
import pytest
import torch

from skattn.nn import (
    GraphPooling,
    NodeLinear,
    edge_softmax,
    edge_sum,
    first_nodes,
    node_dropout,
    recording,
    sparse_rows,
    with_self_loops,
)

# Node 2 has no edge to it, node 1 has a loop, and nodes 3 and 4 are only sources.
EDGES = torch.tensor([[1, 3, 4, 0, 1, 4], [0, 0, 0, 1, 1, 3]])
N_TARGETS, N_SOURCES, HEADS, WIDTH = 4, 5, 3, 2


def draw(seed, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def features(dtype=torch.float64):
    """Give the same features dense and sparse; the second row is empty."""
    x = draw(0, 6, 5, dtype=dtype).clamp(min=0)
    x[1] = 0
    kept = x != 0
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), kept.sum(dim=1).cumsum(0)])
    return x, sparse_rows(indptr, kept.nonzero()[:, 1], x[kept], x.shape)


def test_sparse_rows_is_the_matrix():
    x, sparse = features()
    assert sparse.layout == torch.sparse_csr
    assert torch.equal(sparse.to_dense(), x)


@pytest.mark.parametrize("n_nodes", [None, 1, 2, 4, 6])
def test_first_nodes_of_both_layouts(n_nodes):
    x, sparse = features()
    taken = first_nodes(sparse, n_nodes)
    assert taken.layout == torch.sparse_csr
    assert torch.equal(taken.to_dense(), x[:n_nodes])
    assert torch.equal(first_nodes(x, n_nodes), x[:n_nodes])


def test_dropout_leaves_features_alone_outside_training():
    for x in features():
        assert node_dropout(x, 0.6, False) is x
        assert node_dropout(x, 0.0, True) is x


@pytest.mark.parametrize("is_sparse", [False, True])
def test_dropout_drops_single_features_and_scales_the_others(is_sparse):
    torch.manual_seed(0)
    x = torch.full((100, 50), 2.0)
    if is_sparse:
        indptr = torch.arange(0, 5001, 50)
        x = sparse_rows(indptr, torch.arange(50).repeat(100), x.flatten(), x.shape)
    dropped = node_dropout(x, 0.75, True)
    assert dropped.layout == x.layout
    values = dropped.values() if is_sparse else dropped
    assert values.unique().tolist() == [0.0, 8.0]
    assert float((values == 0).float().mean()) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("bias", [False, True])
def test_linear_map_and_its_gradients_agree_between_layouts(bias):
    linear = NodeLinear(5, 3, bias=bias).double()
    if bias:
        torch.nn.init.normal_(linear.bias)
    x, sparse = features()
    expected = x.numpy() @ linear.weight.detach().numpy().T
    if bias:
        expected += linear.bias.detach().numpy()
    grad = draw(1, 6, 3)
    gradients = []
    for layout in (x, sparse):
        h = linear(layout)
        np.testing.assert_allclose(h.detach().numpy(), expected, atol=1e-14)
        gradients.append(torch.autograd.grad(h, list(linear.parameters()), grad))
    for dense, from_sparse in zip(*gradients, strict=True):
        torch.testing.assert_close(from_sparse, dense, rtol=0, atol=1e-14)
    np.testing.assert_allclose(gradients[1][0], grad.T @ x, atol=1e-14)


def test_gradients_flow_into_stored_values():
    linear = NodeLinear(5, 3).double()
    _, sparse = features()

    def product(values):
        indptr, indices = sparse.crow_indices(), sparse.col_indices()
        return linear(sparse_rows(indptr, indices, values, sparse.shape))

    assert torch.autograd.gradcheck(product, sparse.values().clone().requires_grad_())


def test_weights_start_after_glorot_and_biases_at_zero():
    torch.manual_seed(0)
    linear = NodeLinear(300, 60)
    bound = (6 / 360) ** 0.5
    assert 0.99 * bound < float(linear.weight.detach().abs().max()) <= bound
    assert not linear.bias.detach().any()


def test_sparse_features_pass_under_autocast():
    linear = NodeLinear(5, 3)
    x, sparse = features(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        h = linear(sparse)
        h.sum().backward()
    torch.testing.assert_close(h, x @ linear.weight.T)
    torch.testing.assert_close(linear.weight.grad, x.sum(dim=0).expand(3, 5))


def test_each_target_gets_one_loop_after_its_other_edges():
    edge_index, none = with_self_loops(EDGES, None, N_TARGETS)
    assert none is None
    assert edge_index.tolist() == [
        [1, 3, 4, 0, 0, 1, 2, 4, 3],
        [0, 0, 0, 0, 1, 1, 2, 3, 3],
    ]


def test_features_of_a_loop_are_the_mean_over_the_other_edges():
    edge_attr = torch.tensor([[1.0], [2.0], [6.0], [5.0], [99.0], [7.0]])
    _, attr = with_self_loops(EDGES, edge_attr, N_TARGETS)
    assert attr.flatten().tolist() == [1.0, 2.0, 6.0, 3.0, 5.0, 5.0, 0.0, 7.0, 7.0]


def test_graph_without_edges_gets_loops():
    empty = torch.zeros(2, 0, dtype=torch.int64)
    edge_index, attr = with_self_loops(empty, torch.zeros(0, 2), 2)
    assert edge_index.tolist() == [[0, 1], [0, 1]]
    assert attr.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def softmax_by_loops(scores, target):
    weights = np.zeros_like(scores)
    for node in set(target.tolist()):
        mine = target == node
        exponential = np.exp(scores[mine] - scores[mine].max(axis=0))
        weights[mine] = exponential / exponential.sum(axis=0)
    return weights


def test_softmax_over_the_edges_of_each_target():
    scores = draw(2, 6, HEADS)
    weights = edge_softmax(scores, EDGES[1], N_TARGETS)
    expected = softmax_by_loops(scores.numpy(), EDGES[1].numpy())
    np.testing.assert_allclose(weights, expected, atol=1e-15)


def test_softmax_of_huge_scores_is_finite():
    scores = torch.tensor([[1e4], [1e4], [-1e4], [-1e4]])
    weights = edge_softmax(scores, torch.tensor([0, 0, 0, 1]), 2)
    assert weights.flatten().tolist() == [0.5, 0.5, 0.0, 1.0]


def test_softmax_where_autocast_takes_exponentials_in_full_precision(monkeypatch):
    exp = torch.Tensor.exp  # as on CUDA
    monkeypatch.setattr(torch.Tensor, "exp", lambda scores: exp(scores.float()))
    scores = torch.tensor([[1.0], [2.0], [3.0]]).bfloat16()
    weights = edge_softmax(scores, torch.tensor([0, 0, 1]), 2)
    expected = softmax_by_loops(scores.float().numpy(), np.array([0, 0, 1]))
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_gradients_of_softmax():
    def weights(scores):
        return edge_softmax(scores, EDGES[1], N_TARGETS)

    assert torch.autograd.gradcheck(weights, draw(3, 6, HEADS).requires_grad_())


def test_sum_over_the_edges_of_each_target():
    weights, values = draw(4, 6, HEADS), draw(5, N_SOURCES, HEADS, WIDTH)
    expected = np.zeros((N_TARGETS, HEADS, WIDTH))
    for number, (source, target) in enumerate(EDGES.T.tolist()):
        expected[target] += weights[number, :, None].numpy() * values[source].numpy()
    sums = edge_sum(weights, values, EDGES, N_TARGETS)
    np.testing.assert_allclose(sums, expected, atol=1e-14)


def test_gradients_of_the_sum():
    def sums(weights, values):
        return edge_sum(weights, values, EDGES, N_TARGETS)

    weights = draw(4, 6, HEADS).requires_grad_()
    values = draw(5, N_SOURCES, HEADS, WIDTH).requires_grad_()
    assert torch.autograd.gradcheck(sums, (weights, values))


def test_nothing_comes_over_no_edges():
    empty = torch.zeros(2, 0, dtype=torch.int64)
    weights = edge_softmax(torch.zeros(0, HEADS), empty[1], 2).requires_grad_()
    values = torch.ones(2, HEADS, WIDTH, requires_grad=True)
    sums = edge_sum(weights, values, empty, 2)
    sums.sum().backward()
    assert sums.tolist() == [[[0.0] * WIDTH] * HEADS] * 2
    assert weights.grad.shape == (0, HEADS)
    assert not values.grad.any()


def test_sums_and_gradients_repeat_to_the_bit():
    n, n_edges = 300, 4000
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(n, (2, n_edges), generator=generator)
    edge_index = edge_index[:, edge_index[1].argsort(stable=True)]
    scores = draw(6, n_edges, HEADS, dtype=torch.float32).requires_grad_()
    values = draw(7, n, HEADS, WIDTH, dtype=torch.float32).requires_grad_()

    def once():
        sums = edge_sum(edge_softmax(scores, edge_index[1], n), values, edge_index, n)
        return sums, *torch.autograd.grad(sums.square().sum(), (scores, values))

    for first, second in zip(once(), once(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    "function",
    [
        lambda edges: with_self_loops(edges, None, 3),
        lambda edges: edge_softmax(torch.zeros(3, 1), edges[1], 3),
        lambda edges: edge_sum(torch.zeros(3, 1), torch.zeros(3, 1, 2), edges, 3),
    ],
    ids=["loops", "softmax", "sum"],
)
def test_unsorted_edges_are_refused(function):
    with pytest.raises(ValueError, match="Edges must be sorted by target"):
        function(torch.tensor([[1, 0, 0], [0, 2, 1]]))


BATCH = torch.tensor([0, 0, 0, 1, 2, 2])


@torch.no_grad()
def test_pooling_attends_within_each_graph():
    pooling = GraphPooling(4).double()
    h = draw(8, 6, 4)
    received = []
    with recording(received.append):
        explicit = pooling(h, BATCH)
    (record,) = received
    assert (record.layer, record.kind) == ("pooling", "pooling")
    assert (record.queries, record.keys) == ("graph", "nodes")
    assert record.edge_index.tolist() == [[0, 1, 2, 3, 4, 5], BATCH.tolist()]
    state = {name: value.numpy() for name, value in pooling.state_dict().items()}
    hidden = np.tanh(h.numpy() @ state["project.weight"].T + state["project.bias"])
    weights = softmax_by_loops(hidden @ state["score.weight"].T, BATCH.numpy())
    np.testing.assert_allclose(record.weights, weights, atol=1e-15)
    expected = [(weights * h.numpy())[graph == BATCH].sum(axis=0) for graph in range(3)]
    np.testing.assert_allclose(explicit, expected, atol=1e-14)
    assert torch.equal(pooling(h, BATCH), explicit)


@torch.no_grad()
def test_pooling_of_one_graph_needs_no_batch():
    pooling = GraphPooling(4).double()
    h = draw(8, 6, 4)
    zeros = torch.zeros(6, dtype=torch.int64)
    assert torch.equal(pooling(h), pooling(h, zeros))


@torch.no_grad()
def test_pooling_of_one_node_is_the_node():
    pooling = GraphPooling(4).double()
    h = draw(8, 6, 4)
    torch.testing.assert_close(pooling(h, BATCH)[1], h[3], rtol=0, atol=1e-15)
