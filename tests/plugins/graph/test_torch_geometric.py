"""The layers agree with torch-geometric's, given the same weights."""

import warnings

import pytest
import torch
from torch import nn

from skattn import DataSpec
from skattn.architectures import GAT, GATv2, GraphTransformer

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import GATConv, GATv2Conv, TransformerConv

DATA = DataSpec("classification", "nodes", n_features=5, n_outputs=3, n_edge_features=2)


def draw_graph(seed=0, n_nodes=12, n_edges=30):
    """Draw a directed graph with sorted edges, a self-loop and a lonely node."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(n_nodes - 1, (n_edges,), generator=generator)
    target = torch.randint(n_nodes - 1, (n_edges,), generator=generator)
    pairs = torch.unique(torch.stack([target, source]), dim=1)  # sorted by target
    edge_index = pairs.flip(0)
    assert (edge_index[0] == edge_index[1]).any()
    x = torch.randn(n_nodes, DATA.n_features, generator=generator)
    edge_attr = torch.randn(edge_index.shape[1], 2, generator=generator)
    return x, edge_index, edge_attr


def stirred(module):
    """Fill biases and gates too, which begin at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.eval()


def copy_weights(pairs):
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours.reshape(theirs.shape))


@pytest.mark.parametrize("has_edges", [True, False])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("architecture", "conv"), [(GAT, GATConv), (GATv2, GATv2Conv)])
def test_graph_attention(architecture, conv, number, has_edges):
    x, edge_index, edge_attr = draw_graph()
    data = DATA if has_edges else DataSpec("classification", "nodes", 3, n_features=5)
    module = stirred(
        architecture(num_heads=2, hidden_size=4, output_heads=2).build(data)
    )
    layer = module.layers[number]
    width = 4 if number == 0 else 3
    if number == 1:
        x = torch.randn(len(x), 8)
    theirs = conv(
        x.shape[1],
        width,
        heads=2,
        concat=number == 0,
        edge_dim=2 if has_edges else None,
    ).eval()
    pairs = [(theirs.bias, layer.bias)]
    if conv is GATConv:
        pairs += [
            (theirs.lin.weight, layer.project.weight),
            (theirs.att_src, layer.score_source),
            (theirs.att_dst, layer.score_target),
        ]
        if has_edges:  # theirs project features before they score them
            theirs.lin_edge.weight.data = torch.zeros_like(theirs.lin_edge.weight)
            theirs.lin_edge.weight.data[::width] = layer.score_edge.weight.detach()
            theirs.att_edge.data = torch.zeros_like(theirs.att_edge)
            theirs.att_edge.data[..., 0] = 1.0
    else:
        pairs += [
            (theirs.lin_l.weight, layer.project_source.weight),
            (theirs.lin_l.bias, layer.project_source.bias),
            (theirs.lin_r.weight, layer.project_target.weight),
            (theirs.lin_r.bias, layer.project_target.bias),
            (theirs.att, layer.weight_score),
        ]
        if has_edges:
            pairs.append((theirs.lin_edge.weight, layer.project_edge.weight))
    copy_weights(pairs)
    attr = edge_attr if has_edges else None
    with torch.no_grad():
        expected = theirs(x, edge_index, attr)
        if number == 0:
            expected = nn.functional.elu(expected)
        torch.testing.assert_close(
            layer(x, edge_index, attr), expected, atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("number", [0, 1])
def test_graph_transformer(number):
    x, edge_index, edge_attr = draw_graph()
    module = stirred(GraphTransformer(d_model=8, num_heads=2).build(DATA))
    layer = module.layers[number]
    if number == 1:
        x = torch.randn(len(x), 8)
    width = 4 if number == 0 else 3
    theirs = TransformerConv(
        x.shape[1], width, heads=2, concat=number == 0, beta=True, edge_dim=2
    ).eval()
    joined = 2 * width
    key, value = layer.project_key_value.weight.split(joined)
    key_bias, value_bias = layer.project_key_value.bias.split(joined)
    # Theirs has no bias for edges: keys and values of ours share it with the nodes.
    edge_bias = layer.project_edge.bias
    copy_weights(
        [
            (theirs.lin_query.weight, layer.project_query.weight),
            (theirs.lin_query.bias, layer.project_query.bias),
            (theirs.lin_key.weight, key),
            (theirs.lin_key.bias, key_bias + edge_bias),
            (theirs.lin_value.weight, value),
            (theirs.lin_value.bias, value_bias + edge_bias),
            (theirs.lin_edge.weight, layer.project_edge.weight),
            (theirs.lin_skip.weight, layer.project_residual.weight),
            (theirs.lin_skip.bias, layer.project_residual.bias),
            (theirs.lin_beta.weight, layer.gate.weight),
        ]
    )
    with torch.no_grad():
        expected = theirs(x, edge_index, edge_attr)
        if number == 0:
            expected = torch.relu(layer.norm(expected))
        torch.testing.assert_close(
            layer(x, edge_index, edge_attr), expected, atol=1e-5, rtol=1e-5
        )
