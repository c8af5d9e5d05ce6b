"""Prototype attention: the contract, the equation, and the life of an estimator."""

import doctest
import math

import numpy as np
import pytest
import skattn_example
import torch
from skattn_example import PrototypeAttention
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skattn
from skattn import AttentionClassifier, AttentionRegressor, DataSpec
from skattn.testing import check_architecture, parametrize_with_checks


@parametrize_with_checks(
    [PrototypeAttention(), PrototypeAttention(d_model=16, num_prototypes=3)],
    ecosystem=False,
)
def test_contract(architecture, check):
    check(architecture)


ECOSYSTEM = [
    pytest.param(check, id=name)
    for name, check in check_architecture(PrototypeAttention())
    if check.ecosystem
]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("check", ECOSYSTEM)
def test_ecosystem(check):
    check(PrototypeAttention())


def test_the_example_of_the_docstring():
    assert doctest.testmod(skattn_example).failed == 0


def test_is_offered_by_its_name():
    assert skattn.get_architecture("prototype_attention") is PrototypeAttention
    assert "prototype_attention" in skattn.list_architectures(
        task="forecasting", input="series"
    )


def scores_by_numpy(net, tokens):
    """Compute scores from tokens as the docstring writes them, sample by sample."""
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    scores, attended = [], []
    for sample in tokens:
        centred = sample - sample.mean(axis=1, keepdims=True)
        h = centred / np.sqrt(sample.var(axis=1, keepdims=True) + 1e-5)
        v = h @ weights["value.weight"].T + weights["value.bias"]
        v = v * 0.5 * (1 + np.vectorize(math.erf)(v / math.sqrt(2)))  # GELU
        z = []
        for p, log_rho in zip(
            weights["prototypes"], weights["log_radius"], strict=True
        ):
            near = np.exp(-np.square(p - h).sum(axis=1) / np.exp(log_rho) ** 2)
            alpha = near / near.sum()
            attended.append(alpha)
            z.append(alpha @ v)
        head = weights["head.linear.weight"] @ np.concatenate(z)
        scores.append(head + weights["head.linear.bias"])
    return np.array(scores), np.array(attended).reshape(len(tokens), 1, len(z), -1)


def test_the_equation():
    torch.manual_seed(0)
    data = DataSpec("classification", "table", n_features=4, n_outputs=3)
    net = PrototypeAttention(d_model=8, num_prototypes=5).build(data).double().eval()
    x = torch.randn(6, 4, dtype=torch.float64)
    records = []
    with torch.no_grad(), skattn.nn.recording(records.append):
        scores, tokens = net(x), net.tokens(x)
    expected_scores, expected_weights = scores_by_numpy(net, tokens.numpy())
    np.testing.assert_allclose(scores.numpy(), expected_scores, rtol=1e-10)
    np.testing.assert_allclose(records[0].weights.numpy(), expected_weights, rtol=1e-9)


def test_a_prototype_finds_its_token():
    """A prototype with a small radius attends to the one token it sits on."""
    torch.manual_seed(0)
    data = DataSpec("regression", "table", n_features=5)
    net = PrototypeAttention(d_model=16, num_prototypes=1).build(data).eval()
    x = torch.randn(1, 5)
    with torch.no_grad():
        net.prototypes.copy_(net.norm(net.tokens(x))[0, 3:4])
        net.log_radius.fill_(math.log(0.1))
    records = []
    with torch.no_grad(), skattn.nn.recording(records.append):
        net(x)
    assert records[0].weights[0, 0, 0].argmax() == 3
    assert records[0].weights[0, 0, 0, 3] > 0.99


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_search_in_a_pipeline(n_jobs):
    X, y = load_iris(return_X_y=True)
    pipe = make_pipeline(
        StandardScaler(),
        AttentionClassifier(
            PrototypeAttention(), max_epochs=20, random_state=0, num_threads=1
        ),
    )
    search = GridSearchCV(
        pipe,
        {"attentionclassifier__architecture__num_prototypes": [2, 8]},
        cv=3,
        n_jobs=n_jobs,
    ).fit(X, y)
    assert search.best_score_ > 0.9
    best = search.best_estimator_[-1].architecture_
    assert best.num_prototypes in {2, 8}
    assert skattn.record_attention(search, X[:5])[0].weights.shape == (
        5,
        1,
        best.num_prototypes,
        4,
    )


def test_series_of_unequal_length():
    """The frequency of a wave is told from waves of 20 to 40 steps."""
    rng = np.random.default_rng(0)
    frequencies = rng.uniform(0.3, 1.2, size=120)
    lengths = rng.integers(20, 41, size=120)
    X = [
        np.sin(frequency * np.arange(length) + rng.uniform(0, 6))[None]
        for frequency, length in zip(frequencies, lengths, strict=True)
    ]
    reg = AttentionRegressor("prototype_attention", random_state=0, max_epochs=60)
    assert reg.fit(X[:90], frequencies[:90]).score(X[90:], frequencies[90:]) > 0.8
