"""The graph Transformer against its equations in NumPy."""

import numpy as np
import pytest
import torch

from skattn import DataSpec
from skattn.architectures import GraphTransformer
from skattn.nn import recording, sparse_rows

NODES = DataSpec(
    "classification", "nodes", n_outputs=3, n_features=4, n_edge_features=2
)
PLAIN = DataSpec("regression", "nodes", n_features=4)
GRAPHS = DataSpec(
    "classification", "graph", n_outputs=3, n_features=4, n_edge_features=2
)

# Sorted by target. Node 3 has a self-loop, node 5 no edge, node 0 no in-edge.
EDGES = np.array([[0, 2, 4, 1, 1, 3, 6, 0, 3, 4], [1, 1, 1, 2, 3, 3, 3, 4, 4, 6]])
N_NODES = 7
# A graph of four nodes, one of two and one of one; edges between them are left out.
BATCH = np.array([0, 0, 0, 0, 1, 1, 2])


def build(params, data):
    """Build a module in double precision with random weights, norms' too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = params.build(data).double().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return module


def inputs_of(data):
    """Draw features of the nodes and of the edges."""
    rng = np.random.default_rng(0)
    edges = EDGES
    if data.input == "graph":
        edges = edges[:, BATCH[edges[0]] == BATCH[edges[1]]]
    inputs = {"x": rng.normal(size=(N_NODES, data.n_features)), "edge_index": edges}
    if data.n_edge_features:
        inputs["edge_attr"] = rng.normal(size=(edges.shape[1], data.n_edge_features))
    return inputs | ({"batch": BATCH} if data.input == "graph" else {})


def tensors(inputs):
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


@torch.no_grad()
def run(module, inputs):
    """Compute scores, and the weights of all layers."""
    received = []
    with recording(received.append):
        scores = module(**tensors(inputs))
    return scores.numpy(), received


def linear(state, prefix, h):
    return h @ state[f"{prefix}.weight"].T + state.get(f"{prefix}.bias", 0.0)


def softmax(scores):
    exponential = np.exp(scores - scores.max())
    return exponential / exponential.sum()


def layer(state, prefix, x, edges, edge_attr, n_heads, is_last):
    """Compute one node and one head after the other; return weights too."""
    key, value = np.split(linear(state, f"{prefix}.project_key_value", x), 2, axis=1)
    query = linear(state, f"{prefix}.project_query", x)
    r = linear(state, f"{prefix}.project_residual", x)
    edge = np.zeros((edges.shape[1], query.shape[1]))
    if edge_attr is not None:
        edge = linear(state, f"{prefix}.project_edge", edge_attr)
    parts = np.split(np.arange(query.shape[1]), n_heads)
    alpha = np.zeros((edges.shape[1], n_heads))
    attended = np.zeros((len(x), n_heads, len(parts[0])))
    for node in range(len(x)):
        arriving = np.flatnonzero(edges[1] == node)
        for head, part in enumerate(parts):
            if not len(arriving):
                continue
            keys = [key[edges[0, e], part] + edge[e, part] for e in arriving]
            values = [value[edges[0, e], part] + edge[e, part] for e in arriving]
            scores = np.stack(keys) @ query[node, part] / np.sqrt(len(part))
            alpha[arriving, head] = softmax(scores)
            attended[node, head] = alpha[arriving, head] @ np.stack(values)
    m = attended.mean(axis=1) if is_last else attended.reshape(len(x), -1)
    gate = linear(state, f"{prefix}.gate", np.hstack([m, r, m - r]))
    beta = 1 / (1 + np.exp(-gate))
    h = (1 - beta) * m + beta * r
    if not is_last:
        centred = h - h.mean(axis=1, keepdims=True)
        h = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        norm = f"{prefix}.norm"
        h = np.maximum(h * state[f"{norm}.weight"] + state[f"{norm}.bias"], 0.0)
    return h, alpha


def forward(state, data, params, inputs):
    """Compute the scores, and the weights of each layer."""
    h, weights = inputs["x"], []
    for number in range(params.num_layers):
        is_last = data.input == "nodes" and number == params.num_layers - 1
        attr = inputs.get("edge_attr")
        edges = inputs["edge_index"]
        name = f"layers.{number}"
        h, alpha = layer(state, name, h, edges, attr, params.num_heads, is_last)
        weights.append(alpha)
    if data.input == "nodes":
        return h, weights
    hidden = np.tanh(linear(state, "pooling.project", h))
    scores = linear(state, "pooling.score", hidden)[:, 0]
    pooled = []
    for graph in range(BATCH.max() + 1):
        nodes = graph == BATCH
        pooled.append(softmax(scores[nodes]) @ h[nodes])
    return linear(state, "head", np.stack(pooled)), weights


@pytest.mark.parametrize(
    "data", [NODES, PLAIN, GRAPHS], ids=["nodes", "plain", "graph"]
)
@pytest.mark.parametrize(
    "params",
    [
        GraphTransformer(d_model=8, num_heads=2, num_layers=3),
        GraphTransformer(d_model=6, num_heads=3, num_layers=1, attention_dropout=0.5),
    ],
)
def test_equation(data, params):
    module, inputs = build(params, data), inputs_of(data)
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    expected, weights = forward(state, data, params, inputs)
    scores, records = run(module, inputs)
    np.testing.assert_allclose(scores, expected, atol=1e-11)
    np.testing.assert_allclose(
        module(**tensors(inputs)).detach().numpy(), expected, atol=1e-11
    )
    edge_records = records[: params.num_layers]
    assert [(record.layer, record.kind) for record in edge_records] == [
        (f"layers.{number}", "edge") for number in range(params.num_layers)
    ]
    for record, alpha in zip(edge_records, weights, strict=True):
        np.testing.assert_allclose(record.weights.numpy(), alpha, atol=1e-12)
        # No self-loops are added, and none is taken away.
        np.testing.assert_array_equal(record.edge_index.numpy(), inputs["edge_index"])
    assert len(records) == params.num_layers + (data.input == "graph")


def test_sparse_features_give_the_scores_of_dense_ones():
    module = build(GraphTransformer(d_model=8, num_heads=2), PLAIN)
    inputs = tensors(inputs_of(PLAIN))
    x = inputs["x"] * (inputs["x"] > 0)
    rows = x.numpy()
    indptr = np.concatenate([[0], np.cumsum((rows > 0).sum(axis=1))])
    sparse = sparse_rows(
        torch.from_numpy(indptr),
        torch.from_numpy(np.nonzero(rows)[1]),
        x[x > 0],
        tuple(x.shape),
    )
    edge_index = inputs["edge_index"]
    torch.testing.assert_close(module(sparse, edge_index), module(x, edge_index))
    module.train()
    assert module(sparse, edge_index).isfinite().all()


def test_layers_compute_the_first_nodes_alone():
    module = build(GraphTransformer(d_model=8, num_heads=2), NODES)
    inputs = tensors(inputs_of(NODES))
    x, edge_index, edge_attr = inputs.values()
    whole = module.layers[0](x, edge_index, edge_attr)
    within = edge_index[1] < 3
    part = module.layers[0](x, edge_index[:, within], edge_attr[within], n_targets=3)
    torch.testing.assert_close(part, whole[:3])


def test_a_node_without_edges_keeps_what_it_is():
    params = GraphTransformer(d_model=8, num_heads=2, num_layers=1)
    module, inputs = build(params, PLAIN), inputs_of(PLAIN)
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    name = "layers.0"
    r = linear(state, f"{name}.project_residual", inputs["x"][5])
    gate = linear(state, f"{name}.gate", np.concatenate([0 * r, r, -r]))
    expected = r / (1 + np.exp(-gate))
    np.testing.assert_allclose(run(module, inputs)[0][5], expected, atol=1e-12)


def test_the_head_is_the_last_learned_map():
    nodes = build(GraphTransformer(d_model=8, num_layers=2), NODES)
    for parameter in nodes.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert not run(nodes, inputs_of(NODES))[0].any()
    assert GraphTransformer().build(GRAPHS).head.out_features == 3


def test_dropout_is_for_training():
    for name in ("dropout", "attention_dropout"):
        params = GraphTransformer(d_model=8, num_heads=2, dropout=0.0)
        module = build(params.set_params(**{name: 0.5}), NODES)
        inputs = inputs_of(NODES)
        quiet = run(module, inputs)[0]
        torch.manual_seed(0)
        assert np.abs(run(module.train(), inputs)[0] - quiet).max() > 1e-3


def test_recorded_weights_are_those_before_dropout():
    params = GraphTransformer(d_model=8, num_heads=2, attention_dropout=0.5)
    inputs = inputs_of(NODES)
    _, records = run(build(params, NODES).train(), inputs)
    sums = np.zeros((N_NODES, 2))
    np.add.at(sums, inputs["edge_index"][1], records[0].weights.numpy())
    has_edges = np.isin(np.arange(N_NODES), inputs["edge_index"][1])
    np.testing.assert_allclose(sums, has_edges[:, None] * np.ones(2), atol=1e-12)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3 of GraphTransformer must divide"):
        GraphTransformer(d_model=8, num_heads=3).build(NODES)


@pytest.mark.parametrize("name", ["d_model", "num_heads", "num_layers"])
@pytest.mark.parametrize("value", [0, 2.0, True, None])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of GraphTransformer must be a positive integer"
    with pytest.raises(ValueError, match=message):
        GraphTransformer(**{name: value}).build(NODES)


@pytest.mark.parametrize("name", ["dropout", "attention_dropout"])
@pytest.mark.parametrize("value", [1.0, -0.1, float("nan")])
def test_dropout_is_a_probability(name, value):
    message = f"{name}={value} of GraphTransformer must be"
    with pytest.raises(ValueError, match=message):
        GraphTransformer(**{name: value}).build(NODES)
