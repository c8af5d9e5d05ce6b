"""Graph attention in NumPy, one node and one head at a time; a graph to try it on.

A `state` holds the weights of a torch module; `prefix` says where a layer's are.
"""

import numpy as np
import torch

from skattn import DataSpec
from skattn.nn import recording, sparse_rows

NODES = DataSpec(
    "classification", "nodes", n_outputs=3, n_features=4, n_edge_features=2
)
PLAIN = DataSpec("regression", "nodes", n_features=4)
GRAPHS = DataSpec(
    "classification", "graph", n_outputs=3, n_features=4, n_edge_features=2
)
CASES = {"nodes": NODES, "plain": PLAIN, "graphs": GRAPHS}

# Sorted by target. Node 3 has a self-loop, node 5 no edge, node 0 no in-edge.
EDGES = np.array([[0, 2, 4, 1, 1, 3, 6, 0, 3, 4], [1, 1, 1, 2, 3, 3, 3, 4, 4, 6]])
N_NODES = 7
# A graph of four nodes, one of two and one of one; edges between them are left out.
BATCH = np.array([0, 0, 0, 0, 1, 1, 2])


def build(params, data):
    """Build a module in double precision with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = params.build(data).double().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return module


def inputs_of(data):
    """Draw features of the nodes and of the edges; a third of the former are zero."""
    rng = np.random.default_rng(0)
    edges = EDGES
    if data.input == "graph":
        edges = edges[:, BATCH[edges[0]] == BATCH[edges[1]]]
    x = rng.normal(size=(N_NODES, data.n_features))
    inputs = {"x": np.where(abs(x) < 0.4, 0.0, x), "edge_index": edges}
    if data.n_edge_features:
        inputs["edge_attr"] = rng.normal(size=(edges.shape[1], data.n_edge_features))
    return inputs | ({"batch": BATCH} if data.input == "graph" else {})


def tensors(inputs):
    """Give the arrays as tensors."""
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def sparse(x):
    """Give features as a sparse tensor."""
    indptr = np.concatenate([[0], np.cumsum((x != 0).sum(axis=1))])
    rows = map(torch.from_numpy, (indptr, np.nonzero(x)[1], x[x != 0]))
    return sparse_rows(*rows, x.shape)


@torch.no_grad()
def run(module, inputs):
    """Compute scores on both paths, and the weights of all layers."""
    received = []
    with recording(received.append):
        explicit = module(**tensors(inputs)).numpy()
    return module(**tensors(inputs)).numpy(), explicit, received


def weights_of(module):
    """Give the weights as arrays."""
    return {name: value.numpy() for name, value in module.state_dict().items()}


def linear(state, prefix, h):
    """Compute W h + b for each row of `h`."""
    return h @ state[f"{prefix}.weight"].T + state.get(f"{prefix}.bias", 0.0)


def leaky(z, slope):
    """Compute LeakyReLU."""
    return np.where(z > 0, z, slope * z)


def softmax(scores):
    """Normalise a vector."""
    exponential = np.exp(scores - scores.max())
    return exponential / exponential.sum()


def with_loops(edges, edge_attr, n_nodes):
    """List (source, target, features) by target, its self-loop last."""
    listed = []
    for node in range(n_nodes):
        arriving = [
            (source, None if edge_attr is None else edge_attr[number])
            for number, (source, target) in enumerate(edges.T)
            if target == node != source
        ]
        mean = None
        if edge_attr is not None:
            mean = np.zeros(edge_attr.shape[1])
            if arriving:
                mean = np.mean([features for _, features in arriving], axis=0)
        listed += [(source, node, features) for source, features in arriving]
        listed.append((node, node, mean))
    return listed


def attend(scores, value, edges, n_nodes):
    """Let each node attend by the scores of the edges of one head."""
    scores, alpha = np.array(scores), np.zeros(len(edges))
    h = np.zeros((n_nodes, value.shape[1]))
    for node in range(n_nodes):
        mine = [number for number, edge in enumerate(edges) if edge[1] == node]
        alpha[mine] = softmax(scores[mine])
        for number in mine:
            h[node] += alpha[number] * value[edges[number][0]]
    return h, alpha


def forward(layer, state, data, params, inputs):
    """Compute the scores, the weights of each layer and the edges they belong to.

    ``layer(state, prefix, x, edges, n_heads, slope)`` lists for each head what
    `attend` gives.
    """
    h, weights = inputs["x"], []
    edges = with_loops(inputs["edge_index"], inputs.get("edge_attr"), N_NODES)
    for number in range(params.num_layers):
        is_last = data.input == "nodes" and number == params.num_layers - 1
        n_heads = params.output_heads if is_last else params.num_heads
        prefix = f"layers.{number}"
        heads = layer(state, prefix, h, edges, n_heads, params.negative_slope)
        weights.append(np.stack([alpha for _, alpha in heads], axis=1))
        joined = [attended for attended, _ in heads]
        bias = state[f"{prefix}.bias"]
        if is_last:
            h = np.mean(joined, axis=0) + bias
        else:
            h = np.hstack(joined) + bias
            h = np.where(h > 0, h, np.expm1(h))
    index = np.array([edge[:2] for edge in edges]).T
    if data.input == "nodes":
        return h, weights, index
    scores = linear(
        state, "pooling.score", np.tanh(linear(state, "pooling.project", h))
    )
    pooled = []
    for graph in range(BATCH.max() + 1):
        nodes = graph == BATCH
        pooled.append(softmax(scores[nodes, 0]) @ h[nodes])
    return linear(state, "head", np.stack(pooled)), weights, index
