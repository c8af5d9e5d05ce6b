"""What scikit-learn asks of estimators, asked of those whose X holds ids of nodes.

scikit-learn's own checks draw tables of numbers as X. The estimators of nodes refuse
them, because their features are in a graph. Those of its checks that never look at X
are run as they are; each of the others has a counterpart here, which says what it does
instead, or is left out for a reason.
"""

from __future__ import annotations

import copy
import inspect
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.pipeline import make_pipeline

import skattn
from skattn._architecture import Architecture
from skattn._graph import Graph
from skattn.testing import _estimators
from skattn.testing._ecosystem import sklearn_checks
from skattn.testing._estimators import (
    must,
    must_agree,
    must_refuse,
    predicted,
    weights_of,
)

_FACADES = {"classification": "NodeClassifier", "regression": "NodeRegressor"}

_N_NODES = 48
_EPOCHS = 2

# scikit-learn's, of an order or a subset of rows. Asked in double precision, because
# matrices are as high as the part of the graph that the rows depend on.
_TOLERANCE = 1e-7

AS_THEY_ARE = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_partial_fit_n_features",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_non_transformer_estimators_n_iter",
    "check_parameters_default_constructible",
    "check_requires_y_none",
    "check_set_params",
    "check_valid_tag_types",
}

LEFT_OUT = {
    "check_array_api_input": "ids are taken from NumPy alone, as in all other checks",
    "check_positive_only_tag_during_fit": "ids have no sign, and features any",
}


@dataclass(frozen=True)
class Trial:
    """A facade, an architecture, and a small graph of three communities.

    Parameters
    ----------
    task : str
        Classification or regression.
    architecture : Architecture
        What to put into the estimator.
    graph : Graph
        Its features hint at the communities.
    y : ndarray of shape (n_nodes,)
        Labels, or numbers.
    """

    task: str
    architecture: Architecture
    graph: Graph
    y: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        """Ids of all nodes: (n_nodes, 1)."""
        return self.graph.nodes[:, None]

    X = ids

    def make(self, **params: Any) -> Any:
        """Make an estimator that trains for a moment."""
        params = {
            "max_epochs": _EPOCHS,
            "random_state": 0,
            "graph": self.graph,
        } | params
        facade = getattr(skattn, _FACADES[self.task])
        return facade(clone(self.architecture), **params)

    def fit(self, estimator: Any = None, **params: Any) -> Any:
        """Fit an estimator to two thirds of the nodes."""
        estimator = self.make(**params) if estimator is None else estimator
        part = slice(0, 2 * _N_NODES // 3)
        return estimator.fit(self.ids[part], self.y[part])

    def with_features(self, x: Any) -> Trial:
        """Give the nodes other features."""
        graph = self.graph
        made = Graph(graph.edge_index, x, graph.edge_attr, nodes=graph.nodes)
        return replace(self, graph=made)


Check = Callable[[Trial], None]

_CHECKS: list[tuple[Check, str | None]] = []

# Those of scikit-learn's checks that each counterpart stands for.
MIRRORED: dict[str, tuple[str, ...]] = {}


def _mirrors(*names: str, task: str | None = None) -> Callable[[Check], Check]:
    """Enter a counterpart of some of scikit-learn's checks, perhaps for one task."""

    def enter(check: Check) -> Check:
        _CHECKS.append((check, task))
        MIRRORED[check.__name__] = names
        return check

    return enter


def checks_of(
    architecture: Architecture,
) -> Iterator[tuple[str, Callable[[Architecture], None]]]:
    """List the checks of the estimators of nodes around an architecture.

    Parameters
    ----------
    architecture : Architecture
        What to put into the estimators.

    Yields
    ------
    name : str
        The estimator's class, and the check.
    function : callable
        Takes the architecture.
    """
    for task, facade in _FACADES.items():
        if task not in architecture.supports.get("nodes", ()):
            continue
        estimator = draw(architecture, task).make()
        for name, function in sklearn_checks(facade, estimator):
            if name.partition("/")[2].partition("-")[0] in AS_THEY_ARE:
                yield name, function
        for check, only in _CHECKS:
            if only in {None, task}:
                yield (
                    f"{facade}/{check.__name__}",
                    partial(_run, check=check, task=task),
                )


def _run(architecture: Architecture, check: Check, task: str) -> None:
    check(draw(architecture, task))


def draw(architecture: Architecture, task: str) -> Trial:
    """Draw three communities that features and edges hint at.

    Parameters
    ----------
    architecture : Architecture
        Edges have features where it takes them.
    task : str
        Classification or regression.

    Returns
    -------
    trial : Trial
        The same at each call.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(_N_NODES) % 3
    source = np.repeat(np.arange(_N_NODES), 4)
    target = rng.integers(0, _N_NODES, size=len(source))
    inside = rng.random(len(source)) < 0.9
    target = np.where(inside, target - target % 3 + labels[source], target)
    pairs = np.unique(np.sort(np.stack([source, target]), axis=0), axis=1)
    pairs = pairs[:, pairs[0] != pairs[1]]
    edge_attr = None
    if "edge_attr" in architecture.consumes:
        edge_attr = rng.normal(size=(pairs.shape[1], 2))
    x = 2 * np.eye(3)[labels] + rng.normal(size=(_N_NODES, 3))
    graph = Graph.from_edges(pairs.T, x, edge_attr)
    if task == "classification":
        return Trial(task, architecture, graph, labels)
    noise = 0.2 * rng.normal(size=_N_NODES)
    return Trial(task, architecture, graph, np.array([-1.0, 0.5, 3.0])[labels] + noise)


# The estimator as an object


@_mirrors("check_fit_score_takes_y")
def check_fit_score_takes_y(trial: Trial) -> None:
    """Look at the second parameter; scikit-learn would fit a table for it."""
    for method in ("fit", "score"):
        names = list(inspect.signature(getattr(trial.make(), method)).parameters)
        must(names[:2] == ["X", "y"], f"{method} must take X and y first, not {names}.")


_mirrors(
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_dont_overwrite_parameters",
    "check_dict_unchanged",
)(_estimators.check_parameters_are_left_alone)


@_mirrors("check_n_features_in", "check_n_features_in_after_fitting")
def check_n_features_in(trial: Trial) -> None:
    """Count the columns of X, which is one of ids; more of them are refused."""
    estimator = trial.make()
    must(not hasattr(estimator, "n_features_in_"), "n_features_in_ is there too early.")
    estimator.fit(trial.ids, trial.y)
    must(estimator.n_features_in_ == 1, "n_features_in_ must be 1, the ids.")
    two = np.hstack([trial.ids, trial.ids])
    must_refuse(lambda: estimator.predict(two), "shape", what="two columns of ids")


_mirrors("check_fit_check_is_fitted")(_estimators.check_fit_check_is_fitted)
_mirrors("check_estimators_pickle")(_estimators.check_pickle)


@_mirrors("check_pipeline_consistency")
def check_pipeline(trial: Trial) -> None:
    """Stand behind a step that hands on the ids, which have no scale to be changed."""
    pipeline = make_pipeline("passthrough", trial.make())
    pipeline.fit(trial.ids, trial.y)
    alone = trial.make().fit(trial.ids, trial.y)
    found, expected = predicted(pipeline, trial.ids), predicted(alone, trial.ids)
    must_agree(found, expected, "predictions differ in a pipeline.")
    must(
        pipeline.score(trial.ids, trial.y) == alone.score(trial.ids, trial.y),
        "The score differs in a pipeline.",
    )


@_mirrors()
def check_shared_graph(trial: Trial) -> None:
    """Clone and copy; tables are sliced by cross-validation, a graph must be shared."""
    estimator = trial.fit()
    for copied in (clone(estimator), copy.deepcopy(estimator)):
        must(copied.graph is trial.graph, "A copy must share the graph, not copy it.")


# What X may be


@_mirrors(
    "check_classifier_data_not_an_array",
    "check_regressor_data_not_an_array",
    "check_dtype_object",
    "check_fit1d",
    "check_fit2d_predict1d",
)
def check_forms_of_ids(trial: Trial) -> None:
    """Give ids as lists, objects and small integers, and, since there is one column, \
without it, where scikit-learn expects an error."""
    ids = trial.ids
    expected = predicted(trial.make().fit(ids, trial.y), ids)
    for form in (
        np.ravel,
        np.ndarray.tolist,
        pd.DataFrame,
        partial(np.asarray, dtype=object),
        partial(np.asarray, dtype=np.uint8),
        np.asfortranarray,
    ):
        given = form(ids)
        found = predicted(trial.make().fit(given, trial.y.tolist()), given)
        kind = getattr(given, "dtype", type(given).__name__)
        must_agree(found, expected, f"predictions differ for ids as {kind}.")


@_mirrors("check_readonly_memmap_input")
def check_read_only_ids(trial: Trial) -> None:
    """Fit ids and targets that cannot be written to; the graph's arrays never can."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "given")
        joblib.dump((trial.ids, trial.y), path)
        ids, y = joblib.load(path, mmap_mode="r")
        found = predicted(trial.make().fit(ids, y), ids)
        del ids, y
    expected = predicted(trial.make().fit(trial.ids, trial.y), trial.ids)
    must_agree(found, expected, "predictions differ for arrays mapped from a file.")


@_mirrors()
def check_names_of_nodes(trial: Trial) -> None:
    """Name the nodes by strings, which a table cannot hold in place of numbers."""
    graph = trial.graph
    nodes = [f"node {node}" for node in graph.nodes]
    named = Graph(graph.edge_index, graph.x, graph.edge_attr, nodes=nodes)
    other = replace(trial, graph=named)
    must_agree(
        predicted(other.fit(), other.ids),
        predicted(trial.fit(), trial.ids),
        "predictions depend on the names of the nodes.",
    )


@_mirrors("check_estimators_dtypes", "check_f_contiguous_array_estimator")
def check_types_of_features(trial: Trial) -> None:
    """Vary the type and the layout of the graph's features, in place of the table's."""
    x = np.round(3 * trial.graph.x)
    for given in (
        x,
        x.astype(np.float32),
        x.astype(np.int64),
        x.astype(np.int32),
        np.asfortranarray(x),
        sparse.csr_array(x),
        sparse.coo_array(x),
    ):
        other = trial.with_features(given)
        outputs = predicted(other.fit(), other.ids)
        for name, values in outputs.items():
            kind = f"{type(given).__name__} of {given.dtype}"
            finite = values.dtype.kind != "f" or bool(np.isfinite(values).all())
            must(finite, f"{name} is not finite for features in a {kind}.")
    outputs = predicted(trial.fit(), trial.ids)
    for name, values in outputs.items():
        is_wide = values.dtype.kind != "f" or values.dtype == np.float64
        must(is_wide, f"{name} must give float64, not {values.dtype}.")


@_mirrors("check_fit2d_1feature")
def check_one_feature(trial: Trial) -> None:
    """Leave the nodes one feature; the one column of X is always there."""
    other = trial.with_features(trial.graph.x[:, :1])
    predicted(other.fit(), other.ids)


@_mirrors(
    "check_complex_data",
    "check_estimators_empty_data_messages",
    "check_estimators_nan_inf",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
)
def check_wrong_ids(trial: Trial) -> None:
    """Refuse what is no id; the graph refuses features that are not finite."""
    fitted = trial.fit()
    ids = trial.ids[:4]
    y = trial.y[:4]
    wrong: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
        ("a table of features", trial.graph.x[:4], ("shape",)),
        ("NaN", np.where(ids == 1, np.nan, ids), ("float64",)),
        ("infinity", np.where(ids == 1, np.inf, ids), ("float64",)),
        ("complex numbers", ids + 1j, ("integers",)),
        ("an unknown id", ids + _N_NODES, (str(_N_NODES),)),
        ("a negative id", ids - 2, ("-2",)),
        ("no rows", ids[:0], ("0 sample",)),
        ("a sparse array", sparse.csr_array(ids), ("sparse",)),
    )
    for what, X, words in wrong:
        must_refuse(partial(trial.make().fit, X, y), *words, what=f"{what} in fit")
        must_refuse(partial(fitted.predict, X), *words, what=f"{what} in predict")
    for value in (np.nan, np.inf):
        x = trial.graph.x.copy()
        x[3, 1] = value
        must_refuse(
            partial(trial.with_features, x), "row 3", what=f"a feature of {value}"
        )


@_mirrors("check_fit2d_1sample")
def check_one_node(trial: Trial) -> None:
    """Fit one node, which still has its neighbours in the graph."""
    for mode in ("transductive", "inductive"):
        estimator = trial.make(mode=mode)
        fit = partial(estimator.fit, trial.ids[:1], trial.y[:1])
        if trial.task == "classification":
            must_refuse(fit, "class", what="a single node, and so a single class")
        else:
            predicted(fit(), trial.ids)


# Targets and weights


@_mirrors("check_supervised_y_2d", "check_supervised_y_no_nan")
def check_wrong_targets(trial: Trial) -> None:
    """Give targets that are not finite, too short or a column, beside ids."""
    for value in (np.nan, np.inf):
        y = np.where(trial.y == trial.y[1], value, trial.y)
        fit = partial(trial.make().fit, trial.ids, y)
        must_refuse(fit, "NaN", "infinity", what=f"{value} in y")
    fit = partial(trial.make().fit, trial.ids, trial.y[:-1])
    must_refuse(fit, "inconsistent", what="a y of another length")
    expected = predicted(trial.make().fit(trial.ids, trial.y), trial.ids)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        column = trial.make().fit(trial.ids, trial.y[:, None])
    warned = [each for each in caught if each.category is DataConversionWarning]
    must(bool(warned), "A column as y deserves a DataConversionWarning.")
    must_agree(
        predicted(column, trial.ids), expected, "a column as y counts as another."
    )


@_mirrors(
    "check_sample_weights_pandas_series",
    "check_sample_weights_not_an_array",
    "check_sample_weights_list",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_shape",
    "check_all_zero_sample_weights_error",
)
def check_sample_weights(trial: Trial) -> None:
    """Give weights of nodes in all forms, and wrong ones."""
    weight = 0.5 + np.arange(_N_NODES) % 4
    kept = weight.copy()

    def fit(given: Any) -> Any:
        return trial.make().fit(trial.ids, trial.y, sample_weight=given)

    expected = predicted(fit(weight), trial.ids)
    must(np.array_equal(weight, kept), "fit changes sample_weight.")
    for given in (weight.tolist(), pd.Series(weight)):
        message = f"weights differ as a {type(given).__name__}."
        must_agree(predicted(fit(given), trial.ids), expected, message)
    must_refuse(partial(fit, weight[:-1]), "shape", what="too few weights")
    must_refuse(
        partial(fit, np.stack([weight, weight])), "weight", what="weights of two axes"
    )
    must_refuse(partial(fit, 0 * weight), "zero", "class", what="weights of zero")


@_mirrors("check_sample_weight_equivalence_on_dense_data")
def check_weights_are_repetitions(trial: Trial) -> None:
    """Repeat ids; repeated features would be other nodes of another graph."""
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 4, size=_N_NODES)
    order = rng.permutation(_N_NODES)
    chosen = np.repeat(np.arange(_N_NODES), weight)
    for params in ({}, {"mode": "inductive"}, {"batch_size": 16, "num_neighbors": 2}):
        if "num_neighbors" in params and not hasattr(_module(trial), "layers"):
            continue
        weighted, repeated = trial.make(**params), trial.make(**params)
        weighted.fit(trial.ids[order], trial.y[order], sample_weight=weight[order])
        repeated.fit(trial.ids[chosen], trial.y[chosen])
        must_agree(
            predicted(weighted, trial.ids),
            predicted(repeated, trial.ids),
            f"a weight of two must equal a repeated id, with {params or 'defaults'}.",
            _TOLERANCE,
        )


def _module(trial: Trial) -> Any:
    return trial.fit(max_epochs=1).net_.module_.module


# Fitting


_mirrors("check_fit_idempotent")(_estimators.check_fit_idempotent)


@_mirrors("check_methods_sample_order_invariance", "check_methods_subset_invariance")
def check_predictions_stand_alone(trial: Trial) -> None:
    """Ask for nodes in another order and one by one, their neighbours unasked."""
    for mode in ("transductive", "inductive"):
        estimator = trial.fit(precision="float64", mode=mode)
        expected = predicted(estimator, trial.ids)
        order = np.random.default_rng(0).permutation(_N_NODES)
        found = predicted(estimator, trial.ids[order])
        back = {name: values[order.argsort()] for name, values in found.items()}
        must_agree(
            back, expected, "the order of the ids asked for matters.", _TOLERANCE
        )
        alone = [predicted(estimator, trial.ids[[row]]) for row in range(_N_NODES)]
        must_agree(
            {name: np.concatenate([each[name] for each in alone]) for name in expected},
            expected,
            "the score of a node depends on which other ids are asked for. It may "
            "depend on the nodes that its edges lead to, and on nothing else.",
            _TOLERANCE,
        )


@_mirrors()
def check_held_out_nodes_are_unknown(trial: Trial) -> None:
    """Change held-out features; a table's never get near fit, a graph's might."""
    trained = np.arange(2 * _N_NODES // 3)
    x = trial.graph.x.copy()
    x[len(trained) :] = 100.0
    first, second = (
        weights_of(each.fit(mode="inductive"))
        for each in (trial, trial.with_features(x))
    )
    same = all(torch.equal(first[name], second[name]) for name in first)
    must(same, "Inductive training must not know the features of held-out nodes.")


@_mirrors()
def check_grown_graph(trial: Trial) -> None:
    """Add an island to the fitted graph; tables have no rows that are not asked for."""
    graph = trial.graph
    island = np.array([[1, 0], [0, 1]]) + graph.n_nodes
    edge_attr = graph.edge_attr
    if edge_attr is not None:
        edge_attr = np.vstack([edge_attr, np.ones((2, edge_attr.shape[1]))])
    grown = Graph(
        np.hstack([graph.edge_index, island]),
        np.vstack([graph.x, 9 * np.ones((2, graph.n_features))]),
        edge_attr,
    )
    estimator = trial.fit(precision="float64")
    must_agree(
        predicted(estimator, trial.ids, graph=grown),
        predicted(estimator, trial.ids),
        "nodes that no edge connects change a prediction.",
        _TOLERANCE,
    )
    for name, values in predicted(estimator, grown.nodes[-2:], graph=grown).items():
        must(len(values) == 2, f"{name} must give a row for each new node.")


@_mirrors("check_classifiers_train", task="classification")
def check_classifiers_train(trial: Trial) -> None:
    """Learn two and three communities, with default parameters."""
    for y in (trial.y, (trial.y == 1).astype(int)):
        estimator = trial.make(max_epochs=_default_epochs(trial)).fit(trial.ids, y)
        outputs = predicted(estimator, trial.ids)
        accuracy = float((outputs["predict"] == y).mean())
        must(accuracy > 0.83, f"Accuracy on trained nodes is {accuracy:.2f}.")
        shares, scores = outputs["predict_proba"], outputs["decision_function"]
        n_classes = len(np.unique(y))
        must(shares.shape == (_N_NODES, n_classes), "predict_proba has a wrong shape.")
        must(np.allclose(shares.sum(axis=1), 1), "Probabilities must add up to one.")
        best = (scores > 0).astype(int) if n_classes == 2 else scores.argmax(axis=1)
        agree = (best == outputs["predict"]) & (best == shares.argmax(axis=1))
        must(bool(agree.all()), "predict, predict_proba and scores must agree.")


@_mirrors("check_regressors_train", task="regression")
def check_regressors_train(trial: Trial) -> None:
    """Learn the numbers of three communities, with default parameters."""
    estimator = trial.make(max_epochs=_default_epochs(trial)).fit(trial.ids, trial.y)
    score = estimator.score(trial.ids, trial.y)
    must(score > 0.5, f"R2 on trained nodes is {score:.2f}, below .5.")


def _default_epochs(trial: Trial) -> int:
    return type(trial.make())().max_epochs


# Classes


@_mirrors("check_classifiers_classes", task="classification")
def check_classifiers_classes(trial: Trial) -> None:
    """Name the classes by words, numbers and truth values, beside ids."""
    names: tuple[np.ndarray, ...] = (
        np.array(["ab", "c", "b"]),
        np.array(["ab", "c", "b"], dtype=object),
        np.array([7, -1, 3]),
        np.array([True, False, True]),
    )
    for classes in names:
        y = classes[trial.y]
        estimator = trial.make().fit(trial.ids, y)
        expected = np.unique(y)
        same = np.array_equal(estimator.classes_, expected)
        must(same, f"classes_ is {estimator.classes_}, but must be {expected}.")
        labels = estimator.predict(trial.ids)
        known = bool(np.isin(labels, expected).all())
        must(known and labels.dtype == y.dtype, "predict must give labels of y.")


@_mirrors(
    "check_classifiers_one_label",
    "check_classifiers_one_label_sample_weights",
    task="classification",
)
def check_one_class(trial: Trial) -> None:
    """Leave one class, by labels or by weights of nodes."""
    estimator = trial.make()
    one = np.zeros(_N_NODES, dtype=int)
    must_refuse(partial(estimator.fit, trial.ids, one), "class", what="one class")
    fit = partial(
        estimator.fit, trial.ids, trial.y, sample_weight=(trial.y == 1).astype(float)
    )
    must_refuse(fit, "class", what="weights that leave one class")


@_mirrors("check_classifiers_regression_target", task="classification")
def check_regression_target(trial: Trial) -> None:
    """Give numbers as labels of nodes."""
    fit = partial(trial.make().fit, trial.ids, trial.graph.x[:, 0])
    must_refuse(fit, "Unknown label type", what="numbers as labels")


@_mirrors("check_class_weight_classifiers", task="classification")
def check_class_weight(trial: Trial) -> None:
    """Weigh one class above all others, where features and edges say nothing."""
    noise = np.random.default_rng(0).normal(size=trial.graph.x.shape)
    other = trial.with_features(0.1 * noise)
    y = np.random.default_rng(1).permutation(trial.y)
    for classes in (y, np.minimum(y, 1)):
        weight = {0: 1000.0} | dict.fromkeys(range(1, classes.max() + 1), 1e-4)
        estimator = other.make(class_weight=weight, max_epochs=_default_epochs(trial))
        share = float(
            (estimator.fit(other.ids, classes).predict(other.ids) == 0).mean()
        )
        must(share > 0.87, f"With weights of {weight}, {share:.2f} of nodes are 0.")


@_mirrors("check_decision_proba_consistency", task="classification")
def check_decision_and_probabilities(trial: Trial) -> None:
    """Compare the order of scores and probabilities of nodes."""
    outputs = predicted(
        trial.make().fit(trial.ids, (trial.y == 1).astype(int)), trial.ids
    )
    shares = outputs["predict_proba"][:, 1][outputs["decision_function"].argsort()]
    falls = bool((np.diff(shares) < -1e-9).any())
    must(not falls, "Probabilities must rise with scores.")


@_mirrors(
    "check_classifier_multioutput",
    "check_classifiers_multilabel_representation_invariance",
    "check_classifiers_multilabel_output_format_predict",
    "check_classifiers_multilabel_output_format_predict_proba",
    "check_classifiers_multilabel_output_format_decision_function",
    task="classification",
)
def check_many_labels(trial: Trial) -> None:
    """Give each node several labels, as arrays and lists."""
    y = np.eye(3, dtype=int)[trial.y]
    expected = predicted(trial.make().fit(trial.ids, y), trial.ids)
    for name, values in expected.items():
        must(values.shape == y.shape, f"{name} has the shape {values.shape}.")
    must(
        np.array_equal(expected["predict"], (expected["predict_proba"] > 0.5) * 1),
        "predict must tell which labels are more probable than not.",
    )
    for form in (y.tolist(), list(y), y.astype(np.int8), y.astype(float)):
        found = predicted(trial.make().fit(trial.ids, form), trial.ids)
        must_agree(found, expected, "predictions depend on the form of y.")


# Numbers


@_mirrors("check_regressor_multioutput", task="regression")
def check_several_numbers(trial: Trial) -> None:
    """Give each node several numbers."""
    y = np.column_stack([trial.y, -trial.y])
    found = trial.make().fit(trial.ids, y).predict(trial.ids)
    must(found.shape == y.shape, f"predict has the shape {found.shape}.")
    must(found.dtype == np.float64, f"predict gives {found.dtype}, not float64.")


@_mirrors("check_regressors_int", task="regression")
def check_integers(trial: Trial) -> None:
    """Give nodes integers, which are the same as numbers."""
    y = np.round(trial.y).astype(int)
    must_agree(
        predicted(trial.make().fit(trial.ids, y), trial.ids),
        predicted(trial.make().fit(trial.ids, y.astype(float)), trial.ids),
        "integers are predicted in another way than numbers.",
    )


@_mirrors("check_regressors_no_decision_function", task="regression")
def check_no_decision_function(trial: Trial) -> None:
    """Look for methods of a classifier, without a table."""
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        must(not hasattr(trial.make(), name), f"A regressor must not have {name}.")
