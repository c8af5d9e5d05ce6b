"""Importance of heads, and nets without some of them."""

import pickle
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datasets import load_airline
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.split import SingleWindowSplitter
from sktime.transformations.series.boxcox import LogTransformer

from skattn import (
    AttentionClassifier,
    AttentionForecaster,
    AttentionRegressor,
    AttentionTagger,
    AttentionTimeSeriesClassifier,
    AttentionTranslator,
    Graph,
    NodeClassifier,
    _registry,
    get_architecture,
)
from skattn._engine._pruning import prunable, prune
from skattn.architectures import (
    GAT,
    TFT,
    GATv2,
    GraphTransformer,
    PatchTST,
    SelfAttention,
    TemporalAttention,
    Transformer,
)
from skattn.inspection import Head, head_importance, prune_heads
from skattn.inspection._changes import permuted_weights
from skattn.nn import MultiheadAttention, Recorded, recording
from skattn.testing._build import build, run
from skattn.testing._cases import cases_of

OPTIONS = {"max_epochs": 2, "random_state": 0, "num_threads": 1, "lr": 0.01}
SMALL = SelfAttention(d_model=8, num_heads=2, num_layers=2)
METHODS = ("ablate", "gradient", "permute")
each_method = pytest.mark.parametrize("method", METHODS)
BUILT_IN = sorted(
    origin.name for origin in _registry.installed() if origin.distribution == "skattn"
)


def table(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def classifier(architecture=SMALL, **params):
    return AttentionClassifier(
        architecture, **{**OPTIONS, "linear_skip": False, **params}
    )


@pytest.fixture(scope="module")
def fitted():
    X, y = table()
    return classifier(max_epochs=20).fit(X, y)


def gated(head, gate):
    """Multiply the weights of a head."""

    def receive(recorded):
        if (recorded.layer, recorded.kind) != (head.layer, head.kind):
            return None
        n_heads = recorded.weights.shape[1] // recorded.groups
        factor = torch.ones(recorded.weights.shape[1], dtype=recorded.weights.dtype)
        factor[head.head :: n_heads] = gate
        weights = recorded.weights
        if weights.dim() == 4:
            factor = factor[:, None, None]
        return weights * factor

    return receive


def without_columns(estimator, head):
    """Copy an estimator and let W^O ignore a head."""
    changed = deepcopy(estimator)
    for module in changed.net_.module_.modules():
        if isinstance(module, MultiheadAttention) and module.layer == head.layer:
            with torch.no_grad():
                columns = module.project_out.weight.view(8, module.num_heads, -1)
                columns[:, head.head] = 0
    return changed


def parameters(estimator):
    return sum(each.numel() for each in estimator.net_.module_.parameters())


# What a score is made of


def test_the_result_is_shaped_as_that_of_permutation_importance(fitted):
    found = head_importance(fitted, *table(), n_repeats=3, random_state=0)
    assert found.importances.shape == (4, 3)
    assert_allclose(found.importances_mean, found.importances.mean(axis=1))
    assert_allclose(found.importances_std, found.importances.std(axis=1))
    names = [(f"blocks.{at}", "self", head) for at in (0, 1) for head in (0, 1)]
    assert found.heads == names
    assert isinstance(found.heads[0], Head)


def test_ablation_is_what_zeros_in_the_last_map_do(fitted):
    X, y = table()
    found = head_importance(fitted, X, y, n_repeats=1, scoring="neg_log_loss")
    before = log_loss(y, fitted.predict_proba(X))
    for head, importance in zip(found.heads, found.importances_mean, strict=True):
        after = log_loss(y, without_columns(fitted, head).predict_proba(X))
        assert importance == pytest.approx(after - before, abs=1e-6)
    assert np.abs(found.importances).max() > 1e-3


def test_ablation_draws_the_same_samples_for_all_heads(fitted):
    X, y = table()
    found = head_importance(fitted, X, y, n_repeats=3, random_state=7)
    random = np.random.RandomState(7)
    for repeat in range(3):
        rows = random.randint(60, size=60)
        before = fitted.score(X[rows], y[rows])
        for number, head in enumerate(found.heads):
            after = without_columns(fitted, head).score(X[rows], y[rows])
            assert found.importances[number, repeat] == pytest.approx(before - after)


@each_method
def test_random_state_decides(fitted, method):
    X, y = table()
    scoring = None if method == "gradient" else "neg_log_loss"
    options = {"method": method, "n_repeats": 2, "scoring": scoring}
    first, again, other = (
        head_importance(fitted, X, y, random_state=seed, **options).importances
        for seed in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert (first != other).any()


@each_method
def test_a_head_that_the_last_map_ignores_has_no_importance(fitted, method):
    head = Head("blocks.0", "self", 1)
    X, y = table()
    planted = without_columns(fitted, head)
    found = head_importance(planted, X, y, method=method, random_state=0)
    assert_allclose(found.importances[found.heads.index(head)], 0, atol=1e-7)
    assert (found.importances_mean[found.heads.index((*head[:2], 0))]) != 0


def test_permuted_weights_stay_among_what_a_query_may_see():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(2, 4, 3, 6)
    mask = torch.rand(2, 1, 3, 6) > 0.3
    weights = weights * mask
    recorded = Recorded(weights, "0", "self", "time", "time", mask=mask, groups=2)
    rows = slice(1, None, 2)
    dealt = permuted_weights(recorded, generator, rows)
    assert dealt.shape == (2, 2, 3, 6)
    assert not dealt[~mask.expand_as(dealt)].any()
    assert_array_equal(dealt.sort(dim=-1).values, weights[:, rows].sort(dim=-1).values)
    assert (dealt != weights[:, rows]).any()


def test_permuted_weights_of_edges_stay_with_their_target():
    generator = torch.Generator().manual_seed(0)
    target = torch.tensor([2, 0, 1, 0, 2, 2, 0, 1])
    weights = torch.arange(8.0)[:, None].repeat(1, 2)
    edge_index = torch.stack([torch.arange(8), target])
    recorded = Recorded(weights, "0", "edge", "nodes", "nodes", edge_index=edge_index)
    dealt = permuted_weights(recorded, generator, slice(0, None, 2))[:, 0]
    assert dealt.tolist() != weights[:, 0].tolist()
    for each in range(3):
        there = target == each
        assert set(dealt[there].tolist()) == set(weights[there, 0].tolist())


def test_permutation_redoes_what_a_query_looks_at(fitted):
    X, y = table()
    found = head_importance(
        fitted, X, y, method="permute", n_repeats=4, scoring="neg_log_loss"
    )
    assert (found.importances_std > 0).all()
    assert (found.importances_mean > 0).any()


def test_permutation_of_the_only_head_along_edges():
    graph, y = small_graph()
    ids = np.arange(24)
    single = GAT(hidden_size=4, num_heads=1, output_heads=1)
    nodes = NodeClassifier(graph=graph, architecture=single, **OPTIONS).fit(ids, y)
    found = head_importance(
        nodes, ids, y, method="permute", scoring="neg_log_loss", random_state=0
    )
    assert (found.importances != 0).all()


# Gradients


def losses_of_classes(estimator, X, y):
    probabilities = np.asarray(estimator.predict_proba(X))
    classes = np.asarray(estimator.classes_)
    return -np.log(probabilities[np.arange(len(y)), np.searchsorted(classes, y)])


def losses_of_numbers(estimator, X, y):
    return 0.5 * ((estimator.predict(X) - y) / y.std()) ** 2


def losses_of_tags(estimator, X, y):
    places = {tag: at for at, tag in enumerate(estimator.classes_)}
    return np.array(
        [
            -sum(np.log(row[places[tag]]) for row, tag in zip(each, tags, strict=True))
            for each, tags in zip(estimator.predict_proba(X), y, strict=True)
        ]
    )


def check_slopes(estimator, X, y, losses):
    """Compare with finite differences of the losses of single samples."""
    found = head_importance(estimator, X, y, method="gradient", n_repeats=1)
    expected = []
    for head in found.heads:
        sides = []
        for gate in (1 + 1e-5, 1 - 1e-5):  # no unit bends in between
            with recording(gated(head, gate)):
                sides.append(losses(estimator, X, y))
        expected.append(np.abs(sides[0] - sides[1]).mean() / 2e-5)
    assert_allclose(found.importances_mean, expected, rtol=1e-4, atol=1e-8)
    assert found.importances_mean.max() > 1e-5
    return found


EXACT = {**OPTIONS, "precision": "float64"}


def test_gradients_of_a_classifier():
    X, y = table()
    check_slopes(classifier(precision="float64").fit(X, y), X, y, losses_of_classes)


def test_gradients_of_a_regressor():
    X, y = table()[0], table()[0].prod(axis=1)
    reg = AttentionRegressor(SMALL, **EXACT, linear_skip=False).fit(X, y)
    check_slopes(reg, X, y, losses_of_numbers)


def test_gradients_of_texts_beside_a_linear_model():
    texts = ["a bad one", "good", "so very good", "bad", "very bad"] * 4
    y = np.array([0, 1, 1, 0, 0] * 4)
    clf = AttentionClassifier(SMALL, **EXACT, linear_skip=True).fit(texts, y)
    check_slopes(clf, texts, y, losses_of_classes)


def test_gradients_of_channels_join_their_heads():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3, 24)), np.arange(20) % 2
    tst = PatchTST(d_model=8, num_heads=2, num_layers=1, patch_length=6, stride=6)
    clf = classifier(tst, precision="float64").fit(X, y)
    found = check_slopes(clf, X, y, losses_of_classes)
    assert len(found.heads) == 2
    assert_allclose(
        head_importance(clf, X, y, n_repeats=1, scoring="neg_log_loss").importances,
        [
            [
                log_loss(y, without_columns(clf, head).predict_proba(X))
                - log_loss(y, clf.predict_proba(X))
            ]
            for head in found.heads
        ],
        atol=1e-10,
    )


def test_gradients_of_sentences_of_unequal_lengths():
    words = ["Ann", "met", "Bob", "in", "Rome"]
    X = [words[: 1 + number % 5] for number in range(70)]
    y = [["N" if word[0].isupper() else "V" for word in sentence] for sentence in X]
    tagger = AttentionTagger(SMALL, **EXACT, crf=False, tag_scheme=None).fit(X, y)
    check_slopes(tagger, X, y, losses_of_tags)


def graphs(n=10):
    rng = np.random.default_rng(0)
    edges = np.array([[0, 1, 2, 3, 0, 2], [1, 0, 1, 2, 3, 3]])
    sizes = [4 + number % 3 for number in range(n)]
    found = [
        Graph(x=rng.normal(size=(size, 2)), edge_index=edges, directed=True)
        for size in sizes
    ]
    return found, np.arange(n) % 2


def small_graph(n=24):
    rng = np.random.default_rng(0)
    target, source = np.nonzero(rng.random((n, n)) < 0.1)
    edges = np.stack([source, target])
    x = rng.normal(size=(n, 3))
    return Graph(x=x, edge_index=edges, directed=True), np.arange(n) % 2


@pytest.mark.parametrize(
    "architecture",
    [GAT(hidden_size=2, num_heads=3), GraphTransformer(d_model=8, num_heads=2)],
)
def test_gradients_of_graphs(architecture):
    X, y = graphs()
    clf = AttentionClassifier(architecture, **EXACT).fit(X, y)
    found = check_slopes(clf, X, y, losses_of_classes)
    assert found.heads[-1] == ("pooling", "pooling", 0)


def test_gradients_of_nodes():
    graph, y = small_graph()
    ids = np.arange(24)
    nodes = NodeClassifier(
        graph=graph, architecture=GAT(hidden_size=2, num_heads=3), **EXACT
    )
    nodes.fit(ids, y)
    check_slopes(nodes, ids[:10], y[:10], losses_of_classes)


def test_a_weight_that_nothing_computes_has_a_gradient():
    X, y = table()
    attend = classifier(TemporalAttention(d_model=8), precision="float64").fit(X, y)
    check_slopes(attend, X, y, losses_of_classes)


def test_gradients_of_rows_among_their_neighbours():
    X, y = table()
    gat = GATv2(hidden_size=4, num_heads=2)
    check_slopes(
        classifier(gat, precision="float64").fit(X, y), X, y, losses_of_classes
    )


# Every kind of estimator


@each_method
def test_nodes(method):
    graph, y = small_graph()
    ids = np.arange(24)
    nodes = NodeClassifier(
        graph=graph, architecture=GAT(hidden_size=2, num_heads=3), **OPTIONS
    )
    nodes.fit(ids, y)
    found = head_importance(nodes, ids, y, method=method, n_repeats=2, random_state=0)
    assert found.importances.shape == (4, 2)


@each_method
def test_panels_in_any_form(method):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 2, 10)), np.array(["a", "b"] * 6)
    clf = AttentionTimeSeriesClassifier(SMALL, **OPTIONS).fit(X, y)
    index = pd.MultiIndex.from_product([range(12), range(10)], names=["case", "time"])
    long = pd.DataFrame(X.transpose(0, 2, 1).reshape(120, 2), index=index)
    options = {"method": method, "n_repeats": 2, "random_state": 0}
    found = head_importance(clf, X, y, **options)
    assert found.importances.shape == (4, 2)
    again = head_importance(clf, long, y, **options)
    assert_allclose(again.importances, found.importances, atol=1e-6)
    pruned = prune_heads(clf, {"blocks.0": [1], "blocks.1": []})
    assert parameters(pruned) < parameters(clf)
    with recording(gated(Head("blocks.0", "self", 0), 0.0)):
        with_one = clf.predict_proba(X)
    assert_allclose(
        prune_heads(clf, {"blocks.0": [1]}).predict_proba(X), with_one, atol=1e-6
    )


def test_taggers():
    X = [["Ann", "met", "Bob"], ["Bob"], ["Cid", "met", "Ann", "."]] * 6
    y = [["P", "O", "P"], ["P"], ["P", "O", "P", "O"]] * 6
    tagger = AttentionTagger(SMALL, **{**OPTIONS, "max_epochs": 10}).fit(X, y)
    for method in METHODS:
        found = head_importance(tagger, X, y, method=method, n_repeats=2)
        assert found.importances.shape == (4, 2)
        assert np.isfinite(found.importances).all()
    pruned = prune_heads(tagger, {"blocks.0": [0]})
    again = pickle.loads(pickle.dumps(pruned))
    assert_array_equal(
        np.concatenate(pruned.predict_proba(X)), np.concatenate(again.predict_proba(X))
    )


@pytest.fixture(scope="module")
def translator():
    numbers = ["one", "two", "three"]
    X = [f"{a} and {b}" for a in numbers for b in numbers]
    zahlen = dict(zip(numbers, ["eins", "zwei", "drei"], strict=True))
    y = [" ".join(zahlen.get(word, "und") for word in x.split()) for x in X]
    small = Transformer(d_model=16, num_heads=2, num_layers=1)
    model = AttentionTranslator(small, random_state=0, max_epochs=60, lr=0.02)
    return model.fit(X, y), X, y


def right_words(estimator, X, y):
    return np.mean(
        [
            found == word
            for text, true in zip(estimator.predict(X), y, strict=True)
            for found, word in zip(text.split(), true.split(), strict=False)
        ]
    )


def test_translators_step_by_step(translator):
    model, X, y = translator
    kinds = [("encoder.0", "self"), ("decoder.0", "self"), ("decoder.0", "cross")]
    for method in METHODS:
        scoring = None if method == "gradient" else right_words
        found = head_importance(
            model, X, y, method=method, n_repeats=1, scoring=scoring, random_state=0
        )
        assert found.heads == [Head(*kind, at) for kind in kinds for at in (0, 1)]
        assert np.abs(found.importances).max() > 0


@pytest.mark.filterwarnings("ignore:.* translations were cut off")
def test_a_pruned_translator_writes_what_the_ablated_one_does(translator):
    model, X, _ = translator
    head = Head("decoder.0", "cross", 1)
    for keep in ([0], []):
        pruned = prune_heads(model, {head[:2]: keep})

        def ablate(recorded, keep=keep):
            if (recorded.layer, recorded.kind) != head[:2]:
                return None
            return (
                recorded.weights * torch.tensor([float(bool(keep)), 0])[:, None, None]
            )

        with recording(ablate):
            expected = model.predict(X).tolist()
        assert pruned.predict(X).tolist() == expected
    for beams in (1, 2):
        without = prune_heads(model, {("decoder.0", "self"): []})
        without.set_params(beam_size=beams)
        assert len(without.predict(X)) == len(X)


def test_forecasters():
    y = load_airline()
    past, future = y[:-6], y[-6:]
    forecaster = AttentionForecaster(
        TFT(d_model=8, num_heads=2), window_length=12, **OPTIONS
    )
    forecaster.fit(past, fh=range(1, 7))
    found = head_importance(forecaster, None, future, n_repeats=2)
    assert found.heads[-2:] == [("attention", "self", head) for head in (0, 1)]
    assert_array_equal(found.importances[:, 0], found.importances[:, 1])
    for head in (0, 1):
        pruned = prune_heads(forecaster, {"attention": [1 - head]})
        drop = pruned.score(future) - forecaster.score(future)
        assert found.importances[head - 2, 0] == pytest.approx(drop, abs=1e-6)
        again = pickle.loads(pickle.dumps(pruned)).predict()
        assert_allclose(again, pruned.predict())
    pruned.update(future)
    assert np.isfinite(pruned.predict()).all()

    def bias(estimator, X, y):
        return -abs(float((estimator.predict(X=X) - y).mean()))

    found = head_importance(forecaster, None, future, method="permute", scoring=bias)
    assert found.importances.shape == (len(found.heads), 5)
    with pytest.raises(ValueError, match="pass a callable"):
        head_importance(forecaster, None, future, scoring="r2")
    with pytest.raises(ValueError, match="units of the net's windows"):
        head_importance(forecaster, None, future, method="gradient")


@pytest.mark.filterwarnings("ignore:The default of config:FutureWarning")
def test_forecasters_inside_others():
    y = load_airline()
    past, future = y[:-6], y[-6:]
    forecaster = AttentionForecaster(SMALL, window_length=12, **OPTIONS)
    composed = TransformedTargetForecaster([LogTransformer(), forecaster])
    splits = SingleWindowSplitter(fh=range(1, 7), window_length=60)
    search = ForecastingGridSearchCV(forecaster, splits, {"lr": [0.01]}, backend="None")
    for each in (composed, search):
        each.fit(past, fh=range(1, 7))
        before = each.predict()
        found = head_importance(each, None, future, n_repeats=1)
        pruned = prune_heads(each, {"blocks.0": [1]})
        drop = pruned.score(future) - each.score(future)
        assert found.importances[0, 0] == pytest.approx(drop, abs=1e-6)
        assert (pruned.predict() != before).any()
        assert_array_equal(each.predict(), before)


def test_pipelines_and_searches():
    X, y = table()
    pipeline = make_pipeline(StandardScaler(), classifier())
    pipeline.fit(X, y)
    scaled = pipeline[0].transform(X)
    for method in METHODS:
        options = {"method": method, "n_repeats": 2, "random_state": 0}
        assert_array_equal(
            head_importance(pipeline, X, y, **options).importances,
            head_importance(pipeline[-1], scaled, y, **options).importances,
        )
    pruned = prune_heads(pipeline, {"blocks.0": [1]})
    assert parameters(pruned[-1]) < parameters(pipeline[-1])
    expected = prune_heads(pipeline[-1], {"blocks.0": [1]}).predict_proba(scaled)
    assert_array_equal(pruned.predict_proba(X), expected)
    search = GridSearchCV(classifier(), {"lr": [0.01]}, cv=2).fit(X, y)
    assert head_importance(search, X, y, n_repeats=1).importances.shape == (4, 1)
    pruned = prune_heads(search, {"blocks.0": [1]})
    assert_array_equal(
        pruned.predict_proba(X),
        prune_heads(search.best_estimator_, {"blocks.0": [1]}).predict_proba(X),
    )


def test_frames_and_scorers(fitted):
    X, y = table()
    named = pd.DataFrame(X, columns=list("abcd"))
    clf = classifier().fit(named, y)
    options = {"n_repeats": 2, "random_state": 0}
    by_name = head_importance(clf, named, pd.Series(y), scoring="accuracy", **options)
    own = head_importance(clf, named, y, **options)
    called = head_importance(
        clf,
        named,
        y,
        scoring=lambda estimator, X, y: accuracy_score(y, estimator.predict(X)),
        **options,
    )
    assert_array_equal(by_name.importances, own.importances)
    assert_array_equal(called.importances, own.importances)


# Pruning


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_pruned_module_gives_what_the_ablated_one_does(name):
    architecture = get_architecture(name)()
    for case in cases_of(architecture):
        module = build(architecture, case.typical, stir=True)
        inputs = case.inputs()
        counts = {at: each[0].num_heads for at, each in prunable(module).items()}
        seen = {}
        with recording(
            lambda each, seen=seen: seen.update(
                {(each.layer, each.kind): each.weights.shape[1] // each.groups}
            )
        ):
            run(module, inputs)
        assert counts == {at: n for at, n in seen.items() if at in counts}
        assert counts or set(seen.values()) == {1}
        for at, n_heads in counts.items():
            if n_heads == 1:
                continue
            keep = list(range(1, n_heads, 2))
            pruned = deepcopy(module)
            prune(pruned, [(*at, keep)])
            gone = [Head(*at, head) for head in range(n_heads) if head not in keep]

            def ablate(recorded, at=at, gone=gone):
                if (recorded.layer, recorded.kind) != at:
                    return None
                weights = recorded.weights.clone()
                for head in gone:
                    weights[:, head.head :: weights.shape[1] // recorded.groups] = 0
                return weights

            with recording(ablate):
                expected = run(module, inputs)
            assert_allclose(run(pruned, inputs), expected, atol=5e-6, err_msg=str(at))
            again = deepcopy(pruned)  # of those that are left, the last one
            prune(again, [(*at, [len(keep) - 1])])
            gone[:] = [Head(*at, head) for head in range(n_heads) if head != keep[-1]]
            with recording(ablate):
                expected = run(module, inputs)
            assert_allclose(run(again, inputs), expected, atol=5e-6, err_msg=str(at))


@pytest.mark.parametrize("name", ["self_attention", "tener", "transformer_xl", "tft"])
def test_a_layer_without_heads_gives_what_it_would_add_for_nothing(name):
    architecture = get_architecture(name)()
    for case in cases_of(architecture):
        module = build(architecture, case.typical, stir=True)
        inputs = case.inputs()
        for at in prunable(module):
            pruned = deepcopy(module)
            prune(pruned, [(*at, [])])

            def ablate(recorded, at=at):
                is_meant = (recorded.layer, recorded.kind) == at
                return recorded.weights * 0 if is_meant else None

            with recording(ablate):
                expected = run(module, inputs)
            assert_allclose(run(pruned, inputs), expected, atol=5e-6, err_msg=str(at))
            recorded = []
            with recording(
                lambda each, kept=recorded: kept.append((each.layer, each.kind))
            ):
                run(pruned, inputs)
            assert at not in recorded


def test_pruning_makes_the_net_smaller_and_leaves_the_estimator_as_it_is(fitted):
    X, _ = table()
    before = fitted.predict_proba(X)
    pruned = prune_heads(fitted, {"blocks.0": [1]})
    with recording(gated(Head("blocks.0", "self", 0), 0.0)):
        ablated = fitted.predict_proba(X)
    assert_allclose(pruned.predict_proba(X), ablated, atol=1e-6)
    assert np.abs(before - ablated).max() > 1e-4
    # of 8 units half of the queries, keys and values, and half of what W^O sees
    assert parameters(fitted) - parameters(pruned) == 3 * (4 * 8 + 4) + 8 * 4
    assert_array_equal(fitted.predict_proba(X), before)
    assert len(head_importance(pruned, *table(), n_repeats=1).heads) == 3


def test_heads_that_are_not_needed_leave_the_output_as_it_is(fitted):
    X, _ = table()
    head = Head("blocks.1", "self", 0)
    planted = without_columns(fitted, head)
    pruned = prune_heads(planted, {("blocks.1", "self"): [1]})
    assert_allclose(pruned.predict_proba(X), planted.predict_proba(X), atol=1e-7)


def test_what_was_pruned_is_remembered(fitted):
    X, y = table()
    many = classifier(SelfAttention(d_model=8, num_heads=4, num_layers=1)).fit(X, y)
    once = prune_heads(many, {"blocks.0": [1, 2, 3]})
    twice = prune_heads(once, {"blocks.0": [0, 2]})
    straight = prune_heads(many, {"blocks.0": [3, 1]})
    assert twice.net_.module.kept_heads == (("blocks.0", "self", (1, 3)),)
    assert_array_equal(twice.predict_proba(X), straight.predict_proba(X))
    for each in (deepcopy(twice), pickle.loads(pickle.dumps(twice))):
        assert parameters(each) == parameters(twice)
        assert_array_equal(each.predict_proba(X), twice.predict_proba(X))
    empty = prune_heads(fitted, {"blocks.0": [], "blocks.1": [0]})
    again = pickle.loads(pickle.dumps(empty))
    assert_array_equal(again.predict_proba(X), empty.predict_proba(X))


def test_training_goes_on_with_the_heads_that_are_left():
    X, y = table()
    clf = classifier(warm_start=True).fit(X, y)
    pruned = prune_heads(clf, {"blocks.0": [0]})
    before, size = pruned.predict_proba(X), parameters(pruned)
    pruned.partial_fit(X, y)
    assert np.abs(pruned.predict_proba(X) - before).max() > 1e-4
    assert np.abs(pickle.loads(pickle.dumps(pruned)).fit(X, y).predict_proba(X)).all()
    assert parameters(pruned.fit(X, y)) == size
    whole = clone(pruned).fit(X, y)
    assert parameters(whole) == parameters(clf)
    assert not whole.net_.module.kept_heads
    assert parameters(pruned.set_params(warm_start=False).fit(X, y)) == parameters(clf)


def test_all_heads_kept_is_a_copy(fitted):
    X, _ = table()
    for keep in ({}, {"blocks.0": [1, 0]}, {("blocks.1", "self"): np.arange(2)}):
        copy = prune_heads(fitted, keep)
        assert copy is not fitted
        assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("layer", ["layers.0", "layers.1"])
def test_rows_of_a_table_among_their_neighbours(layer):
    X, y = table()
    gat = GATv2(hidden_size=4, num_heads=2, output_heads=2)
    clf = classifier(gat).fit(X, y)
    pruned = prune_heads(clf, {layer: [1]})
    with recording(gated(Head(layer, "edge", 0), 0.0)):
        expected = clf.predict_proba(X)
    assert_allclose(pruned.predict_proba(X), expected, atol=1e-6)
    assert np.abs(clf.predict_proba(X) - expected).max() > 1e-4


# Messages


def test_wrong_arguments(fitted):
    X, y = table()
    with pytest.raises(ValueError, match=r"method='zero' must be one of 'ablate', 'gr"):
        head_importance(fitted, X, y, method="zero")
    for count in (0, 1.5, True):
        with pytest.raises(ValueError, match="an integer of at least 1"):
            head_importance(fitted, X, y, n_repeats=count)
    with pytest.raises(ValueError, match="is not used by method='gradient'"):
        head_importance(fitted, X, y, method="gradient", scoring="accuracy")
    with pytest.raises(ValueError, match="61 parts cannot be made of 60 samples"):
        head_importance(fitted, X, y, method="gradient", n_repeats=61)
    for call in (
        lambda each: head_importance(each, X, y),
        lambda e: prune_heads(e, {}),
    ):
        with pytest.raises(TypeError, match="LogisticRegression is none"):
            call(LogisticRegression().fit(X, y))
        with pytest.raises(NotFittedError, match="not fitted yet"):
            call(classifier())
        with pytest.raises(NotFittedError, match="AttentionForecaster is not fitted"):
            call(AttentionForecaster())


def test_wrong_heads(fitted):
    with pytest.raises(TypeError, match="must be a dict"):
        prune_heads(fitted, [0, 1])
    with pytest.raises(
        ValueError, match=r"no layer 'blocks.2'.*'blocks.0', 'self'\) w"
    ):
        prune_heads(fitted, {"blocks.2": [0]})
    for head in (2, -1, 0.5, True):
        with pytest.raises(ValueError, match="2 heads are numbered from 0 to 1"):
            prune_heads(fitted, {"blocks.0": [head]})
    with pytest.raises(ValueError, match=r"=1 must list the heads .* that stay"):
        prune_heads(fitted, {"blocks.0": 1})
    empty = prune_heads(fitted, {"blocks.0": []})
    with pytest.raises(ValueError, match="no head 0: all have been taken out"):
        prune_heads(empty, {"blocks.0": [0]})
    X, y = table()
    single = classifier(TemporalAttention(d_model=8)).fit(X, y)
    with pytest.raises(ValueError, match="'temporal_attention' has no heads that"):
        prune_heads(single, {"attention": []})
    with pytest.raises(ValueError, match=r"head of layer 'layers.0' must stay"):
        prune_heads(classifier(GAT()).fit(X, y), {"layers.0": []})


def test_a_layer_that_attends_in_several_ways_is_named_in_full(translator):
    with pytest.raises(
        ValueError, match=r"several ways: name one of \('decoder.0', 's"
    ):
        prune_heads(translator[0], {"decoder.0": [0]})
