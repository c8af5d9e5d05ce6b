"""GATv2 against its equations in NumPy."""

import numpy as np
import pytest
import torch
from _numpy_graph_layers import (
    CASES,
    GRAPHS,
    N_NODES,
    NODES,
    PLAIN,
    attend,
    build,
    forward,
    inputs_of,
    leaky,
    linear,
    run,
    sparse,
    tensors,
    weights_of,
)

from skattn import NodeClassifier
from skattn.architectures import GATv2

PARAMS = [
    GATv2(hidden_size=3, num_heads=2, num_layers=3),
    GATv2(hidden_size=4, num_heads=3, num_layers=1, output_heads=2, negative_slope=0.1),
]


def layer(state, prefix, x, edges, n_heads, slope):
    """Compute each head; the score of an edge looks at both ends together."""
    h_source = linear(state, f"{prefix}.project_source", x)
    h_target = linear(state, f"{prefix}.project_target", x)
    heads = []
    for head, part in enumerate(np.split(np.arange(h_source.shape[1]), n_heads)):
        scores = []
        for source, target, features in edges:
            z = h_source[source, part] + h_target[target, part]
            if features is not None:
                z = z + state[f"{prefix}.project_edge.weight"][part] @ features
            scores.append(state[f"{prefix}.weight_score"][head] @ leaky(z, slope))
        heads.append(attend(scores, h_source[:, part], edges, len(x)))
    return heads


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("params", PARAMS)
def test_equation(case, params):
    data = CASES[case]
    module, inputs = build(params, data), inputs_of(data)
    expected, weights, index = forward(layer, weights_of(module), data, params, inputs)
    scores, explicit, records = run(module, inputs)
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    np.testing.assert_allclose(explicit, expected, atol=1e-12)
    assert len(records) == params.num_layers + (data.input == "graph")
    for number, alpha in enumerate(weights):
        record = records[number]
        assert (record.layer, record.kind) == (f"layers.{number}", "edge")
        assert (record.queries, record.keys) == ("nodes", "nodes")
        np.testing.assert_array_equal(record.edge_index, index)
        np.testing.assert_allclose(record.weights, alpha, atol=1e-13)
        sums = np.zeros((N_NODES, alpha.shape[1]))
        np.add.at(sums, index[1], record.weights.numpy())
        np.testing.assert_allclose(sums, 1.0, atol=1e-13)


@pytest.mark.parametrize("data", [NODES, PLAIN], ids=["edge features", "plain"])
def test_layers_in_turn_are_the_module(data):
    module, inputs = build(PARAMS[0], data), tensors(inputs_of(data))
    h = inputs.pop("x")
    scores = module(h, **inputs)
    for each in module.layers:
        h = each(h, **inputs)
    assert torch.equal(h, scores)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("n_targets", [1, 3, 6, 7])
def test_layers_compute_the_first_nodes_alone(n_targets, is_sparse):
    module, inputs = build(PARAMS[0], NODES), inputs_of(NODES)
    x = sparse(inputs["x"]) if is_sparse else torch.from_numpy(inputs["x"])
    edge_index = torch.from_numpy(inputs["edge_index"])
    edge_attr = torch.from_numpy(inputs["edge_attr"])
    whole = module.layers[0](x, edge_index, edge_attr)
    within = edge_index[1] < n_targets
    part = module.layers[0](
        x, edge_index[:, within], edge_attr[within], n_targets=n_targets
    )
    torch.testing.assert_close(part, whole[:n_targets], rtol=0, atol=1e-14)


def test_sparse_features_give_the_scores_and_gradients_of_dense_ones():
    module, inputs = build(PARAMS[0], PLAIN), inputs_of(PLAIN)
    edge_index = torch.from_numpy(inputs["edge_index"])
    outcomes = []
    for x in (torch.from_numpy(inputs["x"]), sparse(inputs["x"])):
        scores = module(x, edge_index)
        weights = list(module.parameters())
        outcomes.append([scores, *torch.autograd.grad(scores.square().sum(), weights)])
    for dense, from_sparse in zip(*outcomes, strict=True):
        torch.testing.assert_close(from_sparse, dense, rtol=1e-12, atol=1e-13)


def test_another_order_of_the_nodes_is_another_order_of_the_scores():
    module, inputs = build(PARAMS[0], NODES), inputs_of(NODES)
    order = np.array([4, 0, 6, 2, 5, 3, 1])
    place = np.argsort(order)
    edge_index = place[inputs["edge_index"]]
    by_target = np.argsort(edge_index[1])
    other = {
        "x": inputs["x"][order],
        "edge_index": edge_index[:, by_target],
        "edge_attr": inputs["edge_attr"][by_target],
    }
    np.testing.assert_allclose(
        run(module, other)[0], run(module, inputs)[0][order], atol=1e-13
    )


def test_a_self_loop_in_the_data_counts_once():
    module, inputs = build(PARAMS[0], PLAIN), inputs_of(PLAIN)
    source, target = inputs["edge_index"]
    without = {**inputs, "edge_index": inputs["edge_index"][:, source != target]}
    np.testing.assert_array_equal(run(module, without)[0], run(module, inputs)[0])


def test_each_node_ranks_its_neighbours_for_itself():
    """What GAT cannot do."""
    module, inputs = build(GATv2(), PLAIN), inputs_of(PLAIN)
    n = N_NODES
    grid = np.indices((n, n)).reshape(2, -1)[::-1].copy()  # all pairs, by target
    _, _, (record, _) = run(module, {**inputs, "edge_index": grid})
    source, target = record.edge_index.numpy()
    alpha = np.zeros((n, n))
    alpha[target, source] = record.weights[:, 0].numpy()
    assert len({tuple(row) for row in alpha.argsort(axis=1).tolist()}) > 1


def test_training_repeats_to_the_bit_for_a_seed():
    def once():
        torch.manual_seed(1)
        module, inputs = GATv2().build(NODES), tensors(inputs_of(NODES))
        inputs = {"edge_index": inputs.pop("edge_index")} | {
            name: tensor.float() for name, tensor in inputs.items()
        }
        scores = module.train()(**inputs)
        return torch.autograd.grad(scores.square().sum(), list(module.parameters()))

    for first, second in zip(once(), once(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["dropout", "attention_dropout"])
def test_dropout_is_for_training(name):
    params = GATv2(**{"dropout": 0.0, "attention_dropout": 0.0, name: 0.5})
    module, inputs = build(params, NODES), tensors(inputs_of(NODES))
    torch.manual_seed(0)
    assert torch.equal(module(**inputs), module(**inputs))
    module.train()
    assert not torch.equal(module(**inputs), module(**inputs))


def test_the_head_is_the_last_learned_map():
    nodes = build(GATv2(), NODES)
    for parameter in nodes.head.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.zeros_(nodes.layers[1].bias)  # as it starts
    assert not run(nodes, inputs_of(NODES))[0].any()
    assert GATv2().build(GRAPHS).head.out_features == 3


def test_the_recipe_is_made_of_parameters_of_the_estimator():
    clf = NodeClassifier(GATv2(), **GATv2.recipe)
    params = clf.get_params(deep=False)
    assert {name: params[name] for name in GATv2.recipe} == GATv2.recipe


@pytest.mark.parametrize(
    "name", ["hidden_size", "num_heads", "num_layers", "output_heads"]
)
@pytest.mark.parametrize("value", [0, -1, 8.0, True, "8"])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of GATv2 must be a positive integer"
    with pytest.raises(ValueError, match=message):
        GATv2(**{name: value}).build(NODES)


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "negative_slope"])
@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan")])
def test_probabilities_and_the_slope_are_below_one(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} of GATv2 must be"):
        GATv2(**{name: value}).build(NODES)
