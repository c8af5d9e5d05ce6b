"""The synthetic tensors, for every input and task of the contract."""

import pytest
import torch
from torch import nn

from skattn import Architecture, DataSpec, SpecialToken
from skattn._architecture import OPTIONAL_TENSORS
from skattn.nn import masked_softmax, record
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


def texts(task, consumes, input="tokens", **given):
    """Draw a batch of texts of eleven tokens."""
    data = DataSpec(
        task,
        input,
        length=9,
        vocabulary_size=11,
        target_vocabulary_size=8,
        character_vocabulary_size=6,
    )
    options = {"n": 20, "gaps": True, "seed": 0, **given}
    return draw_inputs(data, consumes, **options)


def test_texts_are_padded_on_the_right_with_zeros_and_one_is_empty():
    inputs = texts("tagging", {"mask", "characters", "segments"})
    mask = inputs["mask"]
    assert mask[:3].sum(dim=1).tolist() == [9, 1, 0]
    assert (mask.int().diff(dim=1) <= 0).all()
    assert torch.equal(inputs["tokens"] != SpecialToken.PADDING, mask)
    assert torch.equal((inputs["characters"] != 0).any(dim=2), mask)
    assert not inputs["segments"][~mask].any()
    assert inputs["tokens"].unique().tolist() == list(range(11))
    assert inputs["characters"].unique().tolist() == list(range(6))


def test_letters_of_a_word_come_before_its_end():
    letters = texts("tagging", {"characters"})["characters"] != 0
    assert (letters.int().diff(dim=2) <= 0).all()
    assert letters.sum(dim=2).unique().tolist() == [1, 2, 3, 4]


def test_segments_are_numbered_from_zero_without_a_gap():
    segments = texts("tagging", {"segments"})["segments"]
    assert not segments[:, 0].any()
    assert set(segments.diff(dim=1).unique().tolist()) == {0, 1}
    assert (segments[:-1].amax(dim=1) > 0).all()
    assert not segments[-1].any()


def test_targets_of_a_translation_begin_with_the_start_and_are_never_empty():
    inputs = texts("translation", {"mask", "target_tokens", "target_mask"})
    target, mask = inputs["target_tokens"], inputs["target_mask"]
    assert (target[:, 0] == SpecialToken.START).all()
    assert mask[:3].sum(dim=1).tolist()[:2] == [10, 1]
    assert mask[:, 0].all()
    assert not target[~mask].any()
    assert target.max() == 7
    assert set(texts("translation", {"target_tokens"}, gaps=False)) == {
        "tokens",
        "target_tokens",
    }


def test_texts_of_a_pair_have_masks_of_their_own():
    inputs = texts("regression", {"mask", "other_mask"}, "pair")
    assert inputs["tokens"].shape == (20, 9)
    assert inputs["other_tokens"].shape == (20, 10)
    assert torch.equal(inputs["other_tokens"] != 0, inputs["other_mask"])
    lengths = [inputs[name].sum(dim=1) for name in ("mask", "other_mask")]
    assert not torch.equal(*lengths)


def test_what_comes_with_each_task_on_texts():
    class Everything(Architecture):
        supports = {"tokens": {"tagging", "translation", "token_prediction"}}
        consumes = tuple(OPTIONAL_TENSORS)
        causal = True

        def build(self, data): ...

    tagging, translation, prediction = cases_of(Everything())
    assert tagging.consumes == {"mask", "characters", "segments"}
    assert translation.consumes == {"mask", "target_tokens", "target_mask"}
    assert prediction.consumes == {"mask"}
    assert [case.causal for case in (tagging, translation, prediction)] == [
        False,
        False,
        True,
    ]
    # There are data without characters, and with one vocabulary for both languages.
    (plain,) = tagging.extremes
    assert set(tagging.inputs(plain)) == {"tokens", "mask", "segments"}
    assert tagging.typical.character_vocabulary_size > 0
    assert [data.shared_vocabulary for data in translation.extremes] == [True]
    for case in (tagging, prediction):
        inputs = case.inputs(n=4)
        n_outputs = case.typical.n_outputs
        assert expected_shape(case.typical, inputs) == (4, 7, n_outputs)
    assert prediction.typical.n_outputs == prediction.typical.vocabulary_size
    inputs = translation.inputs(n=4)
    assert expected_shape(translation.typical, inputs) == (4, 8, 9)


@pytest.mark.parametrize("name", OPTIONAL_TENSORS)
def test_every_optional_tensor_is_offered_somewhere(name):
    tasks = ("classification", "forecasting", "translation")
    assert any(
        offered([name], kind, task) for kind in OPTIONAL_TENSORS[name] for task in tasks
    )


class MeanNet(nn.Module):
    """Embed what comes, and pool it by attention."""

    def __init__(self, data, d_model):
        super().__init__()
        if data.input == "image":
            self.embed = nn.Conv2d(data.n_channels, d_model, 4, stride=4)
        else:
            self.embed = nn.Linear(data.n_features, d_model)
        if data.n_edge_features:
            self.edge = nn.Linear(data.n_edge_features, d_model)
        self.query = nn.Linear(d_model, 1, bias=False)
        self.head = nn.Linear(d_model, data.n_outputs)

    def pool(self, h):
        weights = masked_softmax(self.query(h)[..., 0], None)  # (batch, tokens)
        weights = record(
            weights[:, None, None],
            layer="0",
            kind="pooling",
            queries="sample",
            keys="pixel",
        )[:, 0]  # (batch, queries, tokens)
        return (weights @ h)[:, 0]


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
        alpha = record(
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
    supports = {"image": {"classification"}}

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
