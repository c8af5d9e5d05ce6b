"""The checks of estimators of nodes cover scikit-learn's, and can fail."""

import inspect
import re
from itertools import chain

import numpy as np
import pytest
import torch
from _faulty import AgainstTheDirection, Sound, SoundGraph, SoundGraphNet, SoundLayer

import skattn
from skattn import NodeClassifier, NodeRegressor
from skattn.testing import _node_ecosystem, check_architecture
from skattn.testing._ecosystem import sklearn_checks
from skattn.testing._node_ecosystem import (
    AS_THEY_ARE,
    LEFT_OUT,
    MIRRORED,
    checks_of,
    draw,
)

TASKS = {"classification": NodeClassifier, "regression": NodeRegressor}


class SoundOnNodes(SoundGraph):
    api_version = 1
    supports = {"nodes": {"classification", "regression"}}
    consumes = ("edge_attr",)


def functions(task=None):
    return [check for check, only in _node_ecosystem._CHECKS if only in {None, task}]


def run(name, architecture=None):
    """Run a check by its name; give what it says."""
    architecture = SoundOnNodes() if architecture is None else architecture
    for title, check in check_architecture(architecture):
        if title == name:
            try:
                check(architecture)
            except AssertionError as error:
                return str(error)
            return None
    raise KeyError(name)


# Coverage


def test_every_check_of_scikit_learn_has_one_place():
    places = [*AS_THEY_ARE, *LEFT_OUT, *chain.from_iterable(MIRRORED.values())]
    assert len(set(places)) == len(places)
    seen = set()
    for task, cls in TASKS.items():
        estimator = cls(SoundOnNodes(), graph=draw(SoundOnNodes(), task).graph)
        theirs = {
            title.partition("/")[2].partition("-")[0]
            for title, _ in sklearn_checks(cls.__name__, estimator)
        }
        assert len(theirs) > 40
        ours = {name for check in functions(task) for name in MIRRORED[check.__name__]}
        assert theirs <= AS_THEY_ARE | LEFT_OUT.keys() | ours
        seen |= theirs
    assert seen == set(places)


def test_every_counterpart_says_what_it_does_instead():
    for check in functions("classification") + functions("regression"):
        assert len(inspect.getdoc(check)) > 20
    assert all(len(reason) > 20 for reason in LEFT_OUT.values())


def test_checks_are_listed_for_the_tasks_on_nodes():
    assert list(checks_of(Sound())) == []
    both = [name for name, _ in checks_of(SoundOnNodes())]
    assert len(set(both)) == len(both)
    assert {name.partition("/")[0] for name in both} == {
        "NodeClassifier",
        "NodeRegressor",
    }
    one = {name for name, _ in checks_of(SoundGraph())}
    assert one == {name for name in both if name.startswith("NodeClassifier")}
    listed = dict(check_architecture(SoundGraph()))
    assert all(listed[name].ecosystem for name in one)


@pytest.mark.parametrize("name", [name for name, _ in checks_of(SoundOnNodes())])
def test_a_sound_architecture_passes(name):
    assert run(name) is None


def test_an_architecture_without_layers_passes():
    for name, check in checks_of(AgainstTheDirection()):
        if "check_weights" in name or "stand_alone" in name:
            check(AgainstTheDirection())


# Faults of architectures


class Centring(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        out = super().forward(x, edge_index, edge_attr, n_targets)
        return out - out.mean(dim=0)


class AlwaysDropping(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        x = torch.nn.functional.dropout(x, 0.5, training=True)
        return super().forward(x, edge_index, edge_attr, n_targets)


class Counting(SoundLayer):
    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        self.calls += 1
        return super().forward(x, edge_index, edge_attr, n_targets)


class Deaf(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        return super().forward(0 * x, edge_index, edge_attr, n_targets)


class Unseeded(SoundLayer):
    def __init__(self, *args):
        super().__init__(*args)
        noise = np.random.default_rng().normal(size=self.own.weight.shape)
        self.own.weight.data += torch.tensor(noise, dtype=torch.float32)


def around(layer_class):
    class Net(SoundGraphNet):
        layer = layer_class

    class Around(SoundOnNodes):
        api_version = 1
        net = Net

    return Around()


@pytest.mark.parametrize(
    ("layer", "check", "says"),
    [
        (Centring, "check_predictions_stand_alone", "which other ids are asked for"),
        (AlwaysDropping, "check_predictions_stand_alone", "order of the ids"),
        (Counting, "check_parameters_are_left_alone", "'module.layers.0.calls'"),
        (Unseeded, "check_fit_idempotent", "the same random_state"),
    ],
)
@pytest.mark.parametrize("facade", ["NodeClassifier", "NodeRegressor"])
def test_faults_of_an_architecture_are_caught(facade, layer, check, says):
    told = run(f"{facade}/{check}", around(layer))
    assert told is not None
    assert re.search(says, told), told


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NodeClassifier/check_classifiers_train", "Accuracy on trained nodes"),
        ("NodeRegressor/check_regressors_train", "R2 on trained nodes"),
    ],
)
def test_an_architecture_that_learns_nothing_is_caught(name, says):
    assert says in run(name, around(Deaf))


# Faults of estimators


class OverwritesParameters(NodeClassifier):
    def fit(self, *args, **kwargs):
        self.max_epochs = 1
        return super().fit(*args, **kwargs)


class GivesNothingBack(NodeClassifier):
    def fit(self, *args, **kwargs):
        super().fit(*args, **kwargs)


class RemembersPredictions(NodeClassifier):
    def predict(self, X, graph=None):
        self.last_ = super().predict(X, graph)
        return self.last_


class SortsIds(NodeClassifier):
    def predict_proba(self, X, graph=None):
        return super().predict_proba(np.sort(np.ravel(X)), graph)


class IgnoresWeights(NodeClassifier):
    def fit(self, X, y, sample_weight=None, **kwargs):
        return super().fit(X, y, **kwargs)


class MultipliesWeights(NodeClassifier):
    def fit(self, X, y, sample_weight=None, **kwargs):
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight) * 1.5
        return super().fit(X, y, sample_weight, **kwargs)


class WritesToWeights(NodeClassifier):
    def fit(self, X, y, sample_weight=None, **kwargs):
        super().fit(X, y, sample_weight, **kwargs)
        if isinstance(sample_weight, np.ndarray):
            sample_weight /= sample_weight.sum()
        return self


class RoundsIds(NodeClassifier):
    def fit(self, X, y, sample_weight=None, **kwargs):
        X = np.asarray(X)
        if X.dtype.kind == "f":
            X = np.nan_to_num(X, posinf=0).astype(int)
        return super().fit(X, y, sample_weight, **kwargs)


class ForgetsItsWeights(NodeClassifier):
    def __setstate__(self, state):
        super().__setstate__(state)
        self.net_.module_.module.layers[0].own.weight.data.zero_()


class CopiesTheGraph(NodeClassifier):
    def __deepcopy__(self, memo):
        made = NodeClassifier(**self.get_params(deep=False))
        made.graph = self.graph.subgraph(np.arange(self.graph.n_nodes))
        return made


class ListsClassesAsTheyCome(NodeClassifier):
    def fit(self, X, y, sample_weight=None, **kwargs):
        super().fit(X, y, sample_weight, **kwargs)
        if isinstance(self.classes_, np.ndarray):
            self.classes_ = self.classes_[::-1]
        return self


class DoublesProbabilities(NodeClassifier):
    def predict_proba(self, X, graph=None):
        return 2 * super().predict_proba(X, graph)


class TakesOneClass(NodeClassifier):
    def fit(self, X, y, sample_weight=None, **kwargs):
        y = np.array(y)
        if y.ndim == 1 and len(np.unique(y)) == 1:
            self.classes_ = np.unique(y)
            return self
        return super().fit(X, y, sample_weight, **kwargs)


class LooksAtEverything(NodeClassifier):
    """Scales by all nodes in inductive mode too."""

    def _make_encoder(self, input, architecture):
        encoder = super()._make_encoder(input, architecture)
        fit_scaling = encoder.fit_scaling

        def peek(content, weight):
            fit_scaling(content, weight)
            encoder.scaling.fit(self.graph.x, self.graph.edge_attr)

        encoder.fit_scaling = peek
        return encoder


class PredictsUnfitted(NodeClassifier):
    def predict(self, X, graph=None):
        if not hasattr(self, "net_"):
            return np.zeros(len(X))
        return super().predict(X, graph)


class TakesColumns(NodeClassifier):
    def predict(self, X, graph=None):
        return super().predict(np.asarray(X).reshape(len(X), -1)[:, 0], graph)


class IgnoresClassWeights(NodeClassifier):
    def _weigh(self, target, y, weight, chosen):
        kept, self.class_weight = self.class_weight, None
        try:
            return super()._weigh(target, y, weight, chosen)
        finally:
            self.class_weight = kept


@pytest.mark.parametrize(
    ("cls", "check", "says"),
    [
        (OverwritesParameters, "check_parameters_are_left_alone", r"\['max_epochs'\]"),
        (GivesNothingBack, "check_parameters_are_left_alone", "must return self"),
        (RemembersPredictions, "check_parameters_are_left_alone", "changes attributes"),
        (SortsIds, "check_predictions_stand_alone", "predict_proba: the order"),
        (IgnoresWeights, "check_weights_are_repetitions", "equal a repeated id"),
        (MultipliesWeights, "check_weights_are_repetitions", "equal a repeated id"),
        (WritesToWeights, "check_sample_weights", "changes sample_weight"),
        (RoundsIds, "check_wrong_ids", "no error for NaN in fit"),
        (ForgetsItsWeights, "check_pickle", "differ after pickling"),
        (CopiesTheGraph, "check_shared_graph", "must share the graph"),
        (ListsClassesAsTheyCome, "check_classifiers_classes", "but must be"),
        (DoublesProbabilities, "check_classifiers_train", "add up to one"),
        (TakesOneClass, "check_one_class", "no error for one class"),
        (LooksAtEverything, "check_held_out_nodes_are_unknown", "must not know"),
        (PredictsUnfitted, "check_fit_check_is_fitted", "NotFittedError"),
        (TakesColumns, "check_n_features_in", "two columns of ids"),
        (IgnoresClassWeights, "check_class_weight", "of nodes are 0"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_faults_of_an_estimator_are_caught(monkeypatch, cls, check, says):
    monkeypatch.setattr(skattn, "NodeClassifier", cls)
    told = run(f"NodeClassifier/{check}")
    assert told is not None
    assert re.search(says, told), told
