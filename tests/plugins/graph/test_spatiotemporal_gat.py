"""The spatio-temporal GAT against its equations in NumPy, and what it may see."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from _numpy_series_graph import scores_and_weights
from sklearn.base import clone

from skattn import AttentionForecaster, DataSpec, Graph, record_attention
from skattn.architectures import SpatioTemporalGAT
from skattn.nn import recording

NAMES = ("a", "b", "c", "d")
# a -> b -> c -> d, and d -> a.
PATH = Graph.from_edges(
    [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")], nodes=NAMES, directed=True
)
# In another order, with a node too many, with features and with a self-loop.
RICH = Graph.from_edges(
    [("d", "a"), ("z", "a"), ("b", "a"), ("b", "c"), ("c", "c"), ("a", "d")],
    edge_attr=[[0.5, -1], [9, 9], [2, 1], [-1, 0.3], [7, 7], [0.1, 0.2]],
    nodes=["c", "z", "a", "d", "b"],
    directed=True,
)
EMPTY = Graph.from_edges([], nodes=NAMES)

WINDOW = DataSpec(
    "forecasting",
    "series",
    n_channels=4,
    channel_names=NAMES,
    n_targets=4,
    length=20,
    horizon=3,
)
COVARIATES = replace(WINDOW, n_targets=2, n_parameters=2)
PANEL = DataSpec(
    "classification",
    "series",
    n_outputs=3,
    n_channels=4,
    channel_names=NAMES,
    length=20,
)
DATA = {"window": WINDOW, "covariates": COVARIATES, "panel": PANEL}
# What each series attends to, in the order of the channels.
NEIGHBOURS = {
    "learned": [[0, 1, 2, 3]] * 4,
    "path": [[0, 3], [0, 1], [1, 2], [2, 3]],
    "rich": [[0, 1, 3], [1], [1, 2], [0, 3]],
    "none": None,
}
GRAPHS = {"learned": "learned", "path": PATH, "rich": RICH, "none": None}
# So many of the channels may be covariates where it is not half of them.
COVARIATES_OF = {"rich": 1, "none": 0}
# Of the edges of `RICH`; a series has the mean of its edges for itself.
FEATURES = np.zeros((4, 4, 2))
FEATURES[0, 3], FEATURES[0, 1], FEATURES[0, 0] = [0.5, -1], [2, 1], [1.25, 0]
FEATURES[2, 1] = FEATURES[2, 2] = [-1, 0.3]
FEATURES[3, 0] = FEATURES[3, 3] = [0.1, 0.2]
SIZES = {"d_model": 8, "num_heads": 2, "num_layers": 2, "patch_length": 3}


def build(params, data):
    """Build a module in double precision with random weights."""
    generator = torch.Generator().manual_seed(0)
    module = params.build(data).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return module


def inputs_of(data):
    """Draw samples with gaps; panels are padded on the right, windows on the left."""
    rng = np.random.default_rng(0)
    mask = np.arange(data.length) < np.array([20, 13, 4, 1])[:, None]
    mask = mask[:, ::-1].copy() if data.task == "forecasting" else mask
    x = rng.normal(size=(4, data.n_channels, data.length))
    observed = rng.random(x.shape) > 0.2
    return {"x": x, "observed": observed, "mask": mask}


def samples(inputs):
    """Give each sample's values, zero where there is none, missing steps, and mask."""
    for x, observed, mask in zip(*inputs.values(), strict=True):
        yield np.where(mask & observed, x, 0.0), 1.0 * (mask & ~observed), mask


@torch.no_grad()
def run(module, inputs):
    """Compute scores without and with a recorder, and the weights."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    received = []
    with recording(received.append):
        explicit = module(**tensors).numpy()
    return module(**tensors).numpy(), explicit, received


def constant_scores(state, kind, num_heads):
    """Compute b of the equations: (heads, series, series)."""
    if kind == "learned":
        e, e_source = state["neighbours.targets"], state["neighbours.sources"]
        b = np.maximum(np.einsum("ic,jc->ij", e, e_source), 0.0)
        return np.broadcast_to(b, (num_heads, 4, 4))
    if kind == "rich":
        return np.einsum("ijf,fk->kij", FEATURES, state["neighbours.u"])
    return np.zeros((num_heads, 4, 4))


@pytest.mark.parametrize("case", DATA)
@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize(
    ("sizes", "length"),
    [
        (SIZES, 3),
        ({"d_model": 6, "num_heads": 1, "num_layers": 3, "patch_length": 1}, 1),
        ({**SIZES, "num_heads": 4, "patch_length": 64}, 10),  # half of the window
    ],
)
def test_equation(case, kind, sizes, length):
    data = DATA[case]
    if case == "covariates" and kind in COVARIATES_OF:
        data = replace(data, n_targets=4 - COVARIATES_OF[kind])
    params = SpatioTemporalGAT(graph=GRAPHS[kind], dropout=0.5, **sizes)
    module, inputs = build(params, data), inputs_of(data)
    fused, explicit, records = run(module, inputs)
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    b = constant_scores(state, kind, params.num_heads)
    for number, sample in enumerate(samples(inputs)):
        scores, weights, real = scores_and_weights(
            state, data, params, sample, length, NEIGHBOURS[kind], b
        )
        np.testing.assert_allclose(fused[number], scores, atol=1e-11)
        np.testing.assert_allclose(explicit[number], scores, atol=1e-11)
        kept = np.flatnonzero(real)
        for record, expected in zip(records, weights, strict=True):
            got = record.weights[number].numpy()
            got = got.reshape(-1, params.num_heads, *got.shape[1:])
            if record.queries == "patch":
                assert not np.delete(got, kept, axis=3).any()
                got = got[:, :, kept][:, :, :, kept]
            else:
                assert not np.delete(got, kept, axis=0).any()
                got = got[kept]
            np.testing.assert_allclose(got, expected, atol=1e-12)


def test_names_of_layers_and_axes():
    module = build(SpatioTemporalGAT(**SIZES), WINDOW)
    records = run(module, inputs_of(WINDOW))[2]
    assert [(r.layer, r.kind, r.queries, r.keys) for r in records] == [
        ("temporal.0", "self", "patch", "patch"),
        ("spatial.0", "self", "channels", "channels"),
        ("temporal.1", "self", "patch", "patch"),
        ("spatial.1", "self", "channels", "channels"),
    ]


def seen_by_targets(params, data=WINDOW):
    """Tell which channel (column) changes the scores of which target (row)."""
    module = build(params, data)
    x = torch.from_numpy(inputs_of(data)["x"])
    seen = np.zeros((data.n_targets, data.n_channels), bool)
    with torch.no_grad():
        scores = module(x)
        for channel in range(data.n_channels):
            other = x.clone()
            other[:, channel] += 1 + x[:, channel].sin()
            changed = module(other) != scores  # (batch, n_targets, horizon)
            seen[:, channel] = changed.flatten(2).any(dim=2).any(dim=0).numpy()
    return seen


def test_without_a_graph_series_are_independent():
    params = SpatioTemporalGAT(graph=None, **SIZES)
    np.testing.assert_array_equal(seen_by_targets(params), np.eye(4))
    assert not [name for name in build(params, WINDOW).state_dict() if "spati" in name]


def test_without_an_edge_series_are_independent():
    params = SpatioTemporalGAT(graph=EMPTY, **SIZES)
    np.testing.assert_array_equal(seen_by_targets(params), np.eye(4))
    spatial = [
        r.weights.numpy()
        for r in run(build(params, WINDOW), inputs_of(WINDOW))[2]
        if r.queries == "channels"
    ]
    assert len(spatial) == 2
    for weights in spatial:
        assert set(np.unique(weights[0])) == {0.0, 1.0}
        assert not weights[..., ~np.eye(4, dtype=bool)].any()


@pytest.mark.parametrize(
    ("num_layers", "expected"),
    [
        (1, [[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]),
        (2, [[1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0], [0, 1, 1, 1]]),
        (3, np.ones((4, 4))),
    ],
)
def test_values_travel_an_edge_a_layer(num_layers, expected):
    params = SpatioTemporalGAT(graph=PATH, **{**SIZES, "num_layers": num_layers})
    np.testing.assert_array_equal(seen_by_targets(params), expected)


def test_a_learned_graph_links_all_series():
    params = SpatioTemporalGAT(**{**SIZES, "num_layers": 1})
    np.testing.assert_array_equal(seen_by_targets(params), np.ones((4, 4)))


def test_an_edge_leads_from_its_source_to_its_target():
    one_way = Graph.from_edges([("a", "b")], nodes=NAMES, directed=True)
    seen = seen_by_targets(SpatioTemporalGAT(graph=one_way, **SIZES))
    assert seen[1, 0]
    assert seen.sum() == 5


def test_names_of_nodes_say_which_series_they_are():
    """A graph in another order is the same one; numbers go by the order of columns."""
    order = [2, 0, 3, 1]
    turned = PATH.subgraph(np.array(order))
    assert tuple(turned.nodes) == ("c", "a", "d", "b")
    numbered = Graph(PATH.edge_index, n_nodes=4, directed=True)
    x = inputs_of(WINDOW)
    scores = [
        run(build(SpatioTemporalGAT(graph=graph, **SIZES), WINDOW), x)[0]
        for graph in (PATH, turned, numbered)
    ]
    np.testing.assert_array_equal(scores[1], scores[0])
    np.testing.assert_array_equal(scores[2], scores[0])


def test_numbers_that_are_names_of_series_go_by_the_name():
    data = replace(WINDOW, channel_names=("3", "2", "1", "0"))
    one_way = Graph.from_edges([(0, 1)], n_nodes=4, directed=True)
    seen = seen_by_targets(SpatioTemporalGAT(graph=one_way, **SIZES), data)
    assert seen[2, 3]
    assert seen.sum() == 5


def test_series_without_names_have_numbers():
    data = replace(WINDOW, channel_names=())
    one_way = Graph.from_edges([(0, 1)], n_nodes=4, directed=True)
    seen = seen_by_targets(SpatioTemporalGAT(graph=one_way, **SIZES), data)
    assert seen[1, 0]
    assert seen.sum() == 5


@pytest.mark.parametrize(
    "graph",
    [
        Graph.from_edges([("a", "b")], nodes=["a", "b", "x"]),
        Graph.from_edges([(0, 1)], n_nodes=3),
        Graph.from_edges([(0, 1)], n_nodes=5),
        Graph.from_edges([(1, 2)], nodes=[1, 2, 3, 4]),
    ],
)
def test_a_graph_must_have_all_series(graph):
    missing = "c', 'd'" if "x" in graph.nodes else "a', 'b', 'c'"
    message = rf"of SpatioTemporalGAT has no node for \['{missing}\], . of 4 series"
    with pytest.raises(ValueError, match=message):
        SpatioTemporalGAT(graph=graph).build(WINDOW)


def test_covariates_of_the_past_must_be_in_the_graph():
    targets = Graph.from_edges([("a", "b")], nodes=["a", "b"])
    with pytest.raises(ValueError, match=r"no node for \['c', 'd'\], 2 of 4 series"):
        SpatioTemporalGAT(graph=targets).build(COVARIATES)


def test_covariates_of_the_past_must_reach_a_target():
    """c -> d -> a: with one layer, nothing of c would come to a target."""
    params = SpatioTemporalGAT(graph=PATH, **{**SIZES, "num_layers": 1})
    message = r"covariates of the past \['c'\] \(1 in all\) reach no target over num_la"
    with pytest.raises(ValueError, match=message):
        params.build(COVARIATES)
    seen = seen_by_targets(SpatioTemporalGAT(graph=PATH, **SIZES), COVARIATES)
    np.testing.assert_array_equal(seen, [[1, 0, 1, 1], [1, 1, 0, 1]])


def test_covariates_of_the_past_need_a_graph():
    message = r"With graph=None .* covariates of the past \['c', 'd'\] \(2 in all\)"
    with pytest.raises(ValueError, match=message):
        SpatioTemporalGAT(graph=None).build(COVARIATES)


def test_classes_are_scored_from_all_series_without_a_graph():
    module = SpatioTemporalGAT(graph=None).build(PANEL)
    assert module(torch.ones(2, 4, 20)).shape == (2, 3)


@pytest.mark.parametrize("graph", ["correlation", np.eye(4), 3])
def test_a_graph_is_learned_or_given_or_none(graph):
    with pytest.raises(ValueError, match=r"must be 'learned', a skattn.Graph or None"):
        SpatioTemporalGAT(graph=graph).build(WINDOW)


def test_copies_share_the_graph():
    params = SpatioTemporalGAT(graph=PATH)
    assert clone(params).graph is PATH
    assert copy.deepcopy(params).graph is PATH
    forecaster = AttentionForecaster(params)
    assert forecaster.clone().architecture.graph is PATH
    assert clone(forecaster).get_params()["architecture__graph"] is PATH
    forecaster.set_params(architecture__graph=RICH)
    assert (forecaster.architecture.graph, params.graph) == (RICH, PATH)


def test_a_graph_shows_in_the_repr_and_survives_a_pickle():
    params = SpatioTemporalGAT(num_heads=2, graph=PATH)
    text = " ".join(repr(params).split())
    assert text == f"SpatioTemporalGAT(graph={PATH!r}, num_heads=2)"
    restored = pickle.loads(pickle.dumps(params)).graph
    np.testing.assert_array_equal(restored.edge_index, PATH.edge_index)
    np.testing.assert_array_equal(restored.nodes, PATH.nodes)


def test_a_forecaster_takes_names_from_columns_and_records_the_edges():
    """The series b is that of a, a step later: attention must go there."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=121)
    y = pd.DataFrame({"b": a[:-1], "lone": rng.normal(size=120), "a": a[1:]})
    graph = Graph.from_edges([("a", "b")], nodes=["a", "b", "lone"], directed=True)
    losses = []
    for one in (None, graph):
        forecaster = AttentionForecaster(
            SpatioTemporalGAT(graph=one, d_model=16, patch_length=1, dropout=0.0),
            window_length=4,
            normalization=None,
            linear_skip=None,
            calibration=None,
            max_epochs=30,
            lr=1e-2,
            random_state=0,
        ).fit(y, fh=[1])
        losses.append(forecaster.history_[-1, "train_loss"])
    assert losses[1] < 0.85 * losses[0]  # b is a third of the loss
    names = ["b", "lone", "a"]
    spatial = [r for r in record_attention(forecaster) if r.layer.startswith("spatial")]
    assert [(r.queries, r.keys) for r in spatial] == [(names, names)] * 2
    for record in spatial:
        weights = record.weights.mean(axis=(0, 1))
        np.testing.assert_array_equal(weights > 0, [[1, 0, 1], [0, 1, 0], [0, 0, 1]])


def test_weights_do_not_hold_the_graph():
    """It comes with the architecture: another one may be set on the same weights."""
    module = SpatioTemporalGAT(graph=PATH).build(WINDOW)
    assert not [name for name in module.state_dict() if "linked" in name]
    SpatioTemporalGAT(graph=EMPTY).build(WINDOW).load_state_dict(module.state_dict())


def test_one_sample_of_one_step_can_be_trained_on():
    data = replace(WINDOW, n_channels=1, n_targets=1, length=1, horizon=1)
    data = replace(data, channel_names=("a",))
    scores = SpatioTemporalGAT().build(data).train()(torch.ones(1, 1, 1))
    scores.sum().backward()
    assert scores.isfinite().all()


def test_units_are_dropped_while_training():
    module = SpatioTemporalGAT(dropout=0.5).build(WINDOW).train()
    x = torch.randn(2, 4, 20)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads=3"):
        SpatioTemporalGAT(d_model=8, num_heads=3).build(WINDOW)


@pytest.mark.parametrize("name", ["d_model", "num_heads", "num_layers", "patch_length"])
@pytest.mark.parametrize("value", [0, -1, 32.0, True, None])
def test_sizes_are_positive_integers(name, value):
    message = f"{name}={value!r} of SpatioTemporalGAT must be a positive integer"
    with pytest.raises(ValueError, match=message):
        SpatioTemporalGAT(**{name: value}).build(WINDOW)


@pytest.mark.parametrize("value", [2, 1.0, -0.1, float("nan"), None])
def test_dropout_is_a_probability(value):
    with pytest.raises(ValueError, match=f"dropout={value} of SpatioTemporalGAT must"):
        SpatioTemporalGAT(dropout=value).build(WINDOW)
