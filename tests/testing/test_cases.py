"""The synthetic tensors, for every input and task of the contract."""

import pytest
import torch
from torch import nn

from skattn import Architecture, DataSpec
from skattn._architecture import OPTIONAL_TENSORS
from skattn.nn import masked_mean, masked_softmax, record
from skattn.testing import check_architecture
from skattn.testing._cases import cases_of, draw_inputs, expected_shape, offered


def test_right_padding_of_series_and_left_padding_of_windows():
    data = DataSpec("regression", "series", n_channels=2, length=9)
    mask = draw_inputs(data, {"mask"}, n=5, gaps=True, seed=0)["mask"]
    assert mask[0].all()
    assert mask[:, 0].all()
    assert mask[1].tolist() == [True] + [False] * 8
    window = DataSpec(
        "forecasting", "series", n_channels=2, n_targets=1, length=9, horizon=2
    )
    mask = draw_inputs(window, {"mask"}, n=5, gaps=True, seed=0)["mask"]
    assert mask[:, -1].all()
    assert mask[1].tolist() == [False] * 8 + [True]


def test_what_is_missing_is_zero_and_left_out_without_gaps():
    data = DataSpec("regression", "series", n_channels=2, length=9)
    inputs = draw_inputs(data, {"mask", "observed"}, n=5, gaps=True, seed=0)
    assert not inputs["x"][~inputs["observed"]].any()
    assert not inputs["observed"][~inputs["mask"][:, None].expand(-1, 2, -1)].any()
    assert set(draw_inputs(data, {"mask", "observed"}, n=5, gaps=False, seed=0)) == {
        "x"
    }


def test_categories_come_where_the_data_have_some():
    data = DataSpec("regression", "table", n_features=2, category_counts=(3, 5))
    categories = draw_inputs(data, {"categories"}, n=50, gaps=True, seed=0)[
        "categories"
    ]
    assert categories.shape == (50, 2)
    assert categories.amax(dim=0).tolist() == [2, 4]
    plain = DataSpec("regression", "table", n_features=2)
    assert set(draw_inputs(plain, {"categories"}, n=5, gaps=True, seed=0)) == {"x"}


def test_covariates_of_a_forecast():
    class Everything(Architecture):
        supports = {"series": {"forecasting", "regression"}}
        consumes = tuple(OPTIONAL_TENSORS)

        def build(self, data): ...

    regression, forecasting = sorted(cases_of(Everything()), key=lambda c: c.task)[::-1]
    assert regression.consumes == {"mask", "observed"}
    shapes = {name: tuple(t.shape) for name, t in forecasting.inputs(n=4).items()}
    assert shapes == {
        "x": (4, 3, 12),
        "mask": (4, 12),
        "observed": (4, 3, 12),
        "known": (4, 2, 17),
        "known_categories": (4, 1, 17),
        "static": (4, 2),
        "static_categories": (4, 1),
        "series_id": (4,),
        "loc": (4, 3),
        "scale": (4, 3),
    }
    assert expected_shape(forecasting.typical, forecasting.inputs(n=4)) == (4, 2, 5)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", ["graph", "nodes"])
def test_edges_are_sorted_by_target_and_lead_to_later_nodes(kind, gaps):
    data = DataSpec("regression", kind, n_features=3, n_edge_features=2)
    consumes = {"edge_attr", "batch"}
    inputs = draw_inputs(data, consumes, n=6, gaps=gaps, seed=0)
    source, target = inputs["edge_index"]
    n_nodes = len(inputs["x"])
    assert inputs["edge_attr"].shape == (len(source), 2)
    assert (target * n_nodes + source).diff().gt(0).all()
    assert (source <= target).all()
    # With gaps there are self-loops and nodes without any edge, otherwise neither.
    assert (source == target).any() == gaps
    assert (len(inputs["edge_index"].unique()) < n_nodes) == gaps
    assert (target.bincount() > 1).any()


def test_graphs_of_a_batch_have_various_sizes_and_no_edge_in_common():
    data = DataSpec("regression", "graph", n_features=3)
    inputs = draw_inputs(data, {"batch"}, n=6, gaps=True, seed=0)
    batch = inputs["batch"]
    assert batch.bincount().tolist() == [5, 1, 4, 2, 7, 5]
    assert batch.diff().ge(0).all()
    source, target = inputs["edge_index"]
    assert torch.equal(batch[source], batch[target])
    assert (
        1
        not in draw_inputs(data, {"batch"}, n=6, gaps=False, seed=0)["batch"].bincount()
    )


def test_a_node_alone_has_no_edge():
    data = DataSpec("regression", "nodes", n_features=3)
    inputs = draw_inputs(data, set(), n=1, gaps=False, seed=0)
    assert inputs["edge_index"].shape == (2, 0)
    assert inputs["edge_index"].dtype == torch.int64


@pytest.mark.parametrize("name", OPTIONAL_TENSORS)
def test_every_optional_tensor_is_offered_somewhere(name):
    tasks = ("classification", "forecasting", "translation")
    assert any(
        offered([name], kind, task) for kind in OPTIONAL_TENSORS[name] for task in tasks
    )


class MeanNet(nn.Module):
    """Embed what comes, and pool it by attention where the task asks for it."""

    def __init__(self, data, d_model):
        super().__init__()
        n_outputs = data.n_outputs
        if data.task == "translation":
            n_outputs = data.target_vocabulary_size
            self.target = nn.Embedding(n_outputs, d_model)
        if data.input in {"tokens", "pair"}:
            self.embed = nn.Embedding(data.vocabulary_size, d_model)
        elif data.input == "image":
            self.embed = nn.Conv2d(data.n_channels, d_model, 4, stride=4)
        else:
            self.embed = nn.Linear(data.n_features, d_model)
        if data.n_edge_features:
            self.edge = nn.Linear(data.n_edge_features, d_model)
        self.query = nn.Linear(d_model, 1, bias=False)
        self.head = nn.Linear(d_model, n_outputs)

    def pool(self, h, mask=None):
        weights = masked_softmax(self.query(h)[..., 0], mask)  # (batch, tokens)
        record(
            weights[:, None, None],
            layer="0",
            kind="pooling",
            queries="sample",
            keys="tokens",
        )
        return (weights[:, None] @ h)[:, 0]


class TokensNet(MeanNet):
    def __init__(self, data, d_model):
        super().__init__(data, d_model)
        self.per_token = data.task in {"tagging", "token_prediction"}

    def forward(self, tokens, mask=None):
        h = self.embed(tokens)
        pooled = self.pool(h, mask)
        return self.head(h + 0.1 * pooled[:, None] if self.per_token else pooled)


class TranslationNet(MeanNet):
    causal = True

    def forward(self, tokens, mask=None, target_tokens=None, target_mask=None):
        h = self.target(target_tokens)
        if target_mask is not None:
            h = h * target_mask[..., None]
        h = h.cumsum(dim=1) if self.causal else h + h.sum(dim=1, keepdim=True)
        return self.head(0.1 * h + self.pool(self.embed(tokens), mask)[:, None])


class PeekingNet(TranslationNet):
    causal = False


class PairNet(MeanNet):
    def forward(self, tokens, other_tokens, mask=None, other_mask=None):
        other = masked_mean(self.embed(other_tokens), other_mask)
        return self.head(self.pool(self.embed(tokens), mask) + other)


class ImageNet(MeanNet):
    def forward(self, x):
        return self.head(self.pool(self.embed(x).flatten(2).transpose(1, 2)))


class NodesNet(MeanNet):
    def forward(self, x, edge_index, edge_attr=None):
        return self.head(self.attend(x, edge_index, edge_attr))

    def attend(self, x, edge_index, edge_attr):
        source, target = edge_index
        h = torch.tanh(self.embed(x))
        message = h[source]
        if edge_attr is not None:
            message = message + self.edge(edge_attr)
        alpha = self.query(message).exp()
        total = torch.zeros_like(h[:, :1]).index_add(0, target, alpha)
        alpha = alpha / total[target]
        record(
            alpha,
            layer="0",
            kind="edge",
            queries="nodes",
            keys="nodes",
            edge_index=edge_index,
        )
        return h.index_add(0, target, alpha * message)


class GraphNet(NodesNet):
    def forward(self, x, edge_index, edge_attr=None, batch=None):
        h = self.attend(x, edge_index, edge_attr)
        count = int(batch.max()) + 1
        return self.head(h.new_zeros(count, h.shape[1]).index_add(0, batch, h))


class Other(Architecture):
    """A little net for each input that no estimator serves yet."""

    api_version = 1
    name = "other"
    citation = "Nobody in particular (2026)"
    supports = {"tokens": {"tagging"}}

    def __init__(self, d_model=16):
        self.d_model = d_model

    def build(self, data):
        return self.nets[data.input, data.task](data, self.d_model)


def other(net, consumes, kind, *tasks):
    fields = {
        "api_version": 1,
        "supports": {kind: set(tasks)},
        "consumes": consumes,
        "nets": {(kind, task): net for task in tasks},
        "__module__": __name__,
    }
    name = f"{net.__name__}Architecture"
    globals()[name] = type(name, (Other,), fields)  # for pickle
    return globals()[name]()


OTHERS = [
    other(
        TokensNet,
        ("mask",),
        "tokens",
        *("classification", "regression", "tagging", "token_prediction"),
    ),
    other(
        TranslationNet,
        ("mask", "target_tokens", "target_mask"),
        "tokens",
        "translation",
    ),
    other(PairNet, ("mask", "other_mask"), "pair", "classification", "regression"),
    other(ImageNet, (), "image", "classification"),
    other(NodesNet, ("edge_attr",), "nodes", "classification", "regression"),
    other(GraphNet, ("edge_attr", "batch"), "graph", "classification", "regression"),
]


@pytest.mark.parametrize("architecture", OTHERS, ids=lambda a: type(a).__name__)
def test_inputs_that_no_suite_of_scikit_learn_or_sktime_knows(architecture):
    names = []
    for name, check in check_architecture(architecture):
        if check.ecosystem:
            names.append(name)
        else:
            check(architecture)
    # Ids of nodes have a suite of their own.
    assert all(name.startswith("Node") for name in names)
    assert bool(names) == ("nodes" in architecture.supports)


def test_a_decoder_that_sees_the_future_is_caught():
    architecture = other(PeekingNet, OTHERS[1].consumes, "tokens", "translation")
    checks = dict(check_architecture(architecture))
    with pytest.raises(AssertionError, match="tokens after it: let the decoder"):
        checks["tokens-translation/future"](architecture)
