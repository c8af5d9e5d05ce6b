"""The linear part of a forecast against scikit-learn's ridge and generated effects."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from skattn import DataSpec
from skattn._engine import _forecast_linear
from skattn._engine._forecast_linear import STRENGTHS, ForecastSum, fit_linear
from skattn._engine._samples import Target, Window
from skattn._engine._windows import SeriesData, SeriesStore
from skattn._inputs._origins import Origins

CPU = torch.device("cpu")
LENGTH, HORIZON = 6, 4
WINDOW = {
    "task": "forecasting",
    "input": "series",
    "length": LENGTH,
    "horizon": HORIZON,
}
FORECAST = DataSpec(**WINDOW, n_channels=3, n_targets=2)


class Kept(nn.Module):
    """An architecture that keeps what it was given; its head alone makes scores."""

    def __init__(self, data):
        super().__init__()
        self.shape = (data.n_targets, data.horizon)
        if data.n_parameters > 1:
            self.shape += (data.n_parameters,)
        self.head = nn.Linear(1, int(np.prod(self.shape)))
        self.body = nn.Linear(1, 1)

    def forward(self, x, **given):
        self.given = {"x": x, **given}
        return self.head(torch.ones_like(x[:, 0, :1])).unflatten(1, self.shape)


def make_net(
    data=FORECAST,
    consumes=(),
    linear_skip=True,
    normalization="last",
    intercept=True,
):
    module = Kept(data)
    return ForecastSum(
        module, data, consumes, linear_skip, normalization, intercept
    ).double()


class Windows:
    """Samples of given tensors."""

    sizes = None

    class store:
        device = CPU

    def __init__(self, x, target, scale=None, **inputs):
        self.inputs = {"x": torch.from_numpy(x), **inputs}
        self.target = torch.from_numpy(target)
        self.scale = scale

    def __len__(self):
        return len(self.target)

    def at_most(self, count):
        assert len(self) < count
        return self

    def take(self, positions):
        window = None
        if self.scale is not None:
            scale = torch.from_numpy(self.scale)[positions]
            window = Window(torch.zeros_like(scale), scale, scale, scale)
        inputs = {name: tensor[positions] for name, tensor in self.inputs.items()}
        return inputs, Target(self.target[positions], None, window)


def make_windows(n=40, noise=0.5, unknown=(), seed=0):
    """Windows of two targets and a covariate, and the rows of their regression."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3, LENGTH)).cumsum(axis=2)
    true = np.random.default_rng(99).normal(size=(LENGTH, HORIZON)) / 3
    target = x[:, :2] @ true + noise * rng.normal(size=(n, 2, HORIZON))
    for row in unknown:
        target[row, row % 2, -1] = np.nan
    design, goal = x[:, :2].reshape(-1, LENGTH), target.reshape(-1, HORIZON)
    known = ~np.isnan(goal).any(axis=1)
    return Windows(x, target), design[known], goal[known]


def unit_of(design, intercept):
    """Give the windows' mean square, in whose units strengths are."""
    centred = design - design.mean(axis=0) if intercept else design
    return np.linalg.eigvalsh(centred.T @ centred).mean()


def ridge(design, goal, strength, intercept=True):
    alpha = strength * unit_of(design, intercept)
    return Ridge(alpha=alpha, fit_intercept=intercept).fit(design, goal)


def assert_ridge(net, design, goal, strength, intercept=True):
    expected = ridge(design, goal, strength, intercept)
    np.testing.assert_allclose(net.linear.weight.detach(), expected.coef_, atol=1e-8)
    if intercept:
        bias = net.linear.bias.detach()
        np.testing.assert_allclose(bias, expected.intercept_, atol=1e-8)
    else:
        assert net.linear.bias is None


# The start


def every_covariate(**more):
    return DataSpec(
        **WINDOW,
        n_channels=2,
        n_targets=2,
        n_known=2,
        known_category_counts=(3, 4),
        n_static=3,
        static_category_counts=(5,),
        n_series=6,
        **more,
    )


def inputs_of(data, n=7, seed=0):
    rng = np.random.default_rng(seed)
    steps = data.length + data.horizon

    def codes(counts, *shape):
        drawn = [rng.integers(0, count, size=(n, *shape)) for count in counts]
        return torch.from_numpy(np.stack(drawn, axis=1))

    return {
        "x": torch.from_numpy(rng.normal(size=(n, data.n_channels, data.length))),
        "known": torch.from_numpy(rng.normal(size=(n, data.n_known, steps))),
        "known_categories": codes(data.known_category_counts, steps),
        "static": torch.from_numpy(rng.normal(size=(n, data.n_static))),
        "static_categories": codes(data.static_category_counts),
        "series_id": torch.from_numpy(rng.integers(0, data.n_series, size=n)),
    }


def test_everything_starts_at_zero_but_the_body():
    data = every_covariate()
    net = make_net(data)
    parameters = dict(net.named_parameters())
    body = {name for name, parameter in parameters.items() if parameter.any()}
    assert body == {"module.body.weight", "module.body.bias"}
    assert not net(**inputs_of(data)).any()
    assert all(parameter.requires_grad for parameter in parameters.values())


def test_without_a_linear_forecast_the_head_starts_as_it_is():
    net = make_net(linear_skip=False)
    assert net.module.head.weight.all()
    assert net.linear is None


@pytest.mark.parametrize("linear_skip", [True, False])
def test_what_is_consumed_has_no_shift_and_needs_no_effect(linear_skip):
    known = {"known", "known_categories"}
    consumes = known | {"static", "static_categories", "series_id"}
    net = make_net(every_covariate(), consumes, linear_skip)
    # The linear forecast knows no covariates but by their effects.
    assert set(net.effects) == (known if linear_skip else set())
    assert not len(net.shifts)


def test_shifts_and_effects_get_gradients():
    data = every_covariate()
    net = make_net(data)
    (net(**inputs_of(data)) - 1.0).square().sum().backward()
    without = {name for name, each in net.named_parameters() if each.grad is None}
    assert without == {"module.body.weight", "module.body.bias"}
    for name, parameter in net.named_parameters():
        assert name in without or parameter.grad.any(), name


# Ridge regression


def ridge_at_gcv_optimum(design, goal, intercept):
    """Try all strengths with the influence matrix written out."""
    n = len(design)
    best = (np.inf,)
    unit = unit_of(design, intercept)
    mean = np.full((n, n), 1 / n) if intercept else np.zeros((n, n))
    design = design - mean @ design
    for strength in 10.0 ** np.arange(-4, 4):
        gram = design.T @ design + strength * unit * np.eye(LENGTH)
        influence = design @ np.linalg.solve(gram, design.T) + mean
        residual = goal - influence @ goal
        score = (residual**2).sum() / (1 - np.trace(influence) / n) ** 2
        best = min(best, (score, strength))
    return best[1]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("n", "noise", "unknown", "strength"),
    [
        (40, 0.01, (), 1e-4),
        (40, 3.0, (), 0.1),
        (40, 3.0, (0, 3, 17), 0.1),
        (1100, 3.0, (), 0.01),  # several batches
        (5, 30.0, (0, 3), 1000.0),
    ],
)
def test_ridge_at_the_optimum_of_gcv(n, noise, unknown, strength, intercept):
    windows, design, goal = make_windows(n, noise, unknown)
    net = make_net(intercept=intercept)
    found = fit_linear(net, windows)
    assert found == pytest.approx(ridge_at_gcv_optimum(design, goal, intercept))
    assert found == pytest.approx(strength)
    assert_ridge(net, design, goal, found, intercept)


def best_on(design, goal, held_out, intercept=True):
    """Try all strengths on held-out windows."""
    errors = {}
    for strength in STRENGTHS:
        model = ridge(design, goal, strength, intercept)
        errors[strength] = ((model.predict(held_out[1]) - held_out[2]) ** 2).sum()
    return min(errors, key=errors.get)


@pytest.mark.parametrize("unknown", [(), (1, 2, 5)])
def test_the_strength_is_the_best_one_on_held_out_windows(unknown):
    windows, design, goal = make_windows(12, 2.0, unknown)
    chosen = set()
    for seed, noise in ((1, 0.1), (2, 10.0), (3, 10.0)):
        held_out = make_windows(9, noise, unknown, seed)
        net = make_net()
        found = fit_linear(net, windows, held_out[0])
        assert found == best_on(design, goal, held_out)
        assert_ridge(net, design, goal, found)
        chosen.add(found)
    assert len(chosen) > 1
    assert chosen != {fit_linear(make_net(), windows)}


@pytest.mark.parametrize("intercept", [True, False])
def test_held_out_windows_are_learnt_from_where_that_is_asked(intercept):
    windows, design, goal = make_windows(12, 2.0)
    held_out = make_windows(9, 1.0, seed=1)
    net = make_net(intercept=intercept)
    found = fit_linear(net, windows, held_out[0], refit=True)
    assert found == best_on(design, goal, held_out, intercept)
    design = np.concatenate([design, held_out[1]])
    goal = np.concatenate([goal, held_out[2]])
    assert_ridge(net, design, goal, found, intercept)


def test_held_out_windows_without_a_known_target_are_none():
    windows, design, goal = make_windows(12, 2.0)
    held_out = make_windows(4, 1.0, seed=1)[0]
    held_out.target[..., 0] = torch.nan
    net = make_net()
    found = fit_linear(net, windows, held_out)
    assert found == ridge_at_gcv_optimum(design, goal, True)
    assert_ridge(net, design, goal, found)


@pytest.mark.parametrize("intercept", [True, False])
def test_windows_count_in_units_of_the_series(intercept):
    """A window in units of its own tenfold spread weighs as if it were not scaled."""
    windows, design, goal = make_windows(30, 1.0)
    scale = np.random.default_rng(5).uniform(0.2, 20.0, size=(30, 2, 1))
    windows.scale = scale
    net = make_net(intercept=intercept)
    found = fit_linear(net, windows)
    weight = scale.ravel() ** 2
    mean = np.average(design, axis=0, weights=weight) if intercept else 0.0
    unit = unit_of((design - mean) * scale.reshape(-1, 1), intercept=False)
    expected = Ridge(alpha=found * unit, fit_intercept=intercept)
    expected.fit(design, goal, sample_weight=weight)
    np.testing.assert_allclose(net.linear.weight.detach(), expected.coef_, atol=1e-8)
    if intercept:
        bias = net.linear.bias.detach()
        np.testing.assert_allclose(bias, expected.intercept_, atol=1e-8)


def test_of_very_many_windows_so_many_are_taken(monkeypatch):
    """Each third of 100 windows is 34; held-out ones are thinned as much."""
    monkeypatch.setattr(_forecast_linear, "_MANY_WINDOWS", 40)
    series = make_effects(lengths=(109,), numeric=False, codes=False)
    samples = make_samples(series, "last")
    assert len(samples) == 100
    found, expected = (
        make_net(effects_data(numeric=False, codes=False)) for _ in range(2)
    )
    strength = fit_linear(found, samples, samples)
    monkeypatch.undo()
    thinned = samples.at_most(34)
    assert len(thinned) == 34
    assert fit_linear(expected, thinned, thinned) == strength
    assert torch.equal(found.linear.weight, expected.linear.weight)


def test_targets_are_forecast_alike_and_past_covariates_ignored():
    windows, _, _ = make_windows()
    net = make_net()
    fit_linear(net, windows)
    x = windows.inputs["x"].clone()
    with torch.no_grad():
        scores = net(x)
        assert scores.shape == (40, 2, HORIZON)
        torch.testing.assert_close(net(x[:, [1, 0, 2]]), scores[:, [1, 0]])
        x[:, 2] = 77.0
        assert torch.equal(net(x), scores)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_windows_leave_zeros(rows):
    data = DataSpec(**WINDOW, n_channels=1, n_targets=1)
    net = make_net(data)
    target = np.ones((3, 1, HORIZON))
    target[rows:] = np.nan
    assert fit_linear(net, Windows(np.ones((3, 1, LENGTH)), target)) is None
    assert not any(parameter.any() for parameter in net.linear.parameters())


def test_constant_windows_give_a_constant():
    data = DataSpec(**WINDOW, n_channels=1, n_targets=1)
    net = make_net(data)
    x, target = np.ones((8, 1, LENGTH)), np.full((8, 1, HORIZON), 3.0)
    fit_linear(net, Windows(x, target))
    with torch.no_grad():
        scores = net(torch.from_numpy(x))
    np.testing.assert_allclose(scores, target, rtol=1e-3)


# Effects of covariates

NUMERIC = np.array([[2.0, -1.0], [0.5, 3.0]])  # targets, covariates
CATEGORIES = np.array([[0.0, 0.0], [1.5, -2.0], [-1.0, 4.0]])  # codes, targets


def waves(n, rng):
    """Two series that a linear forecast continues."""
    steps = np.arange(n)[:, None] + rng.uniform(0, 20, size=2)
    return np.sin(steps / [1.7, 2.9]) * [1.0, 4.0]


def make_effects(lengths=(90, 60), gaps=0.0, noise=0.0, numeric=True, codes=True):
    """Series y = s + A k, with covariates for the horizon too."""
    rng = np.random.default_rng(0)
    series = []
    for number, n in enumerate(lengths):
        known = rng.normal(size=(n + HORIZON, 2))
        categories = rng.integers(1, 3, size=(n + HORIZON, 1))
        y = waves(n, rng) + noise * rng.normal(size=(n, 2))
        if numeric:
            y = y + known[:n] @ NUMERIC.T
        if codes:
            y = y + CATEGORIES[categories[:n, 0]]
        y[rng.random(y.shape) < gaps] = np.nan
        series.append(
            SeriesData(
                y,
                np.zeros(2),
                np.ones(2),
                past=np.zeros((n, 0)),
                known=known if numeric else np.zeros((n + HORIZON, 0)),
                known_categories=(
                    categories if codes else np.zeros((n + HORIZON, 0), dtype=int)
                ),
                code=number + 1,
            )
        )
    return series


def make_samples(series, normalization, first=LENGTH - 1):
    offered = {"known": series[0].known, "known_categories": series[0].known_categories}
    store = SeriesStore(
        series,
        window_length=LENGTH,
        horizon=HORIZON,
        normalization=normalization,
        offered={name for name in offered if offered[name].shape[1]} | {"scale"},
        dtype=torch.float64,
        device=CPU,
    )
    return store.samples(
        [
            Origins(number, first, len(one) - HORIZON)
            for number, one in enumerate(series)
        ]
    )


def effects_data(numeric=True, codes=True):
    return DataSpec(
        **WINDOW,
        n_channels=2,
        n_targets=2,
        n_known=2 if numeric else 0,
        known_category_counts=(3,) if codes else (),
    )


@pytest.mark.parametrize("consumes", [(), ("known", "known_categories")])
@pytest.mark.parametrize("normalization", ["last", "instance", None])
def test_effects_of_known_covariates_are_recovered(normalization, consumes):
    samples = make_samples(make_effects(), normalization)
    net = make_net(effects_data(), consumes, normalization=normalization)
    fit_linear(net, samples)
    numeric = net.effects["known"].linear.weight.detach().numpy()
    np.testing.assert_allclose(numeric, NUMERIC, atol=0.05)
    table = net.effects["known_categories"].tables[0].weight.detach().numpy()
    # Only differences between categories can be told.
    np.testing.assert_allclose(
        table[2] - table[1], CATEGORIES[2] - CATEGORIES[1], atol=0.05
    )
    plain = make_net(effects_data(numeric=False, codes=False))
    fit_linear(plain, samples)
    inputs, target = samples.take(torch.arange(len(samples)))
    with torch.no_grad():
        errors = [
            ((model(**inputs) - target.values) * target.window.scale).square().mean()
            for model in (net, plain)
        ]
    assert errors[0] < 0.05 * errors[1]


def test_an_effect_by_hand():
    """Numbers of one window, whose linear forecast is its first step."""
    data = DataSpec(**WINDOW, n_channels=1, n_targets=1, n_known=1)
    net = make_net(data)
    with torch.no_grad():
        net.effects["known"].linear.weight.fill_(10.0)
        net.linear.weight[:, 0] = 1.0
    steps = LENGTH + HORIZON
    inputs = {
        "x": torch.arange(6.0).double().reshape(1, 1, 6) + 1,
        "known": torch.arange(steps).double().reshape(1, 1, steps),
    }
    scores = net(**inputs)
    # The first of six steps is 1, less 10 * (0 - 5); then come 10 * (6 - 5), ...
    assert scores.flatten().tolist() == [51 + 10, 51 + 20, 51 + 30, 51 + 40]
    seen = net.module.given["x"].flatten().tolist()
    assert seen == [51, 42, 33, 24, 15, 6]
    # In a window in units of two, effects are half as large.
    scores = net(**inputs, scale=torch.full((1, 1), 2.0))
    assert scores.flatten().tolist() == [26 + 5, 26 + 10, 26 + 15, 26 + 20]


def test_an_architecture_sees_the_effects_of_what_it_consumes():
    data = every_covariate()
    inputs = inputs_of(data)
    for consumes in ((), ("known",), ("known", "known_categories")):
        net = make_net(data, consumes)
        with torch.no_grad():
            for parameter in net.effects.parameters():
                parameter.normal_()
        net(**inputs)
        given = net.module.given
        assert set(given) == {"x", *consumes}
        is_as_it_was = torch.equal(given["x"], inputs["x"])
        assert is_as_it_was is (len(consumes) == 2)
        for name in consumes:
            assert given[name] is inputs[name]


@pytest.mark.parametrize("linear_skip", [True, False])
def test_gaps_and_padding_stay_zero(linear_skip):
    data = effects_data()
    samples = make_samples(make_effects(gaps=0.2), "last", first=1)
    net = make_net(data, (), linear_skip)
    with torch.no_grad():
        for parameter in net.effects.parameters():
            parameter.normal_()
    inputs, _ = samples.take(torch.arange(len(samples)))
    net(**inputs)
    seen = net.module.given
    assert {"mask", "observed"} <= set(seen)
    assert not seen["mask"].all()
    assert not seen["observed"][seen["mask"][:, None].expand(-1, 2, -1)].all()
    assert not seen["x"][~seen["observed"]].any()
    assert not seen["x"].movedim(1, 2)[~seen["mask"]].any()
    assert not torch.equal(seen["x"], inputs["x"])


def test_effects_are_found_beside_gaps_and_padding():
    samples = make_samples(make_effects(lengths=(400, 200), gaps=0.05), "last", first=2)
    net = make_net(effects_data())
    fit_linear(net, samples)
    numeric = net.effects["known"].linear.weight.detach().numpy()
    np.testing.assert_allclose(numeric, NUMERIC, atol=0.05)


def test_covariates_of_each_kind_alone():
    for numeric, codes in ((True, False), (False, True)):
        series = make_effects(numeric=numeric, codes=codes)
        net = make_net(effects_data(numeric, codes))
        fit_linear(net, make_samples(series, "last"))
        (effect,) = net.effects.values()
        assert all(parameter.any() for parameter in effect.parameters())


def test_a_column_of_very_many_categories_starts_without_an_effect():
    series = make_effects()
    data = DataSpec(
        **WINDOW, n_channels=2, n_targets=2, n_known=2, known_category_counts=(65,)
    )
    net = make_net(data)
    fit_linear(net, make_samples(series, "last"))
    assert not net.effects["known_categories"].tables[0].weight.any()
    assert net.effects["known"].linear.weight.all()


# Training on


def test_the_target_that_is_passed_on_is_what_is_left():
    windows, _, _ = make_windows()
    net = make_net(consumes=("target",))
    fit_linear(net, windows)
    inputs, target = windows.take(torch.arange(40))
    net(**inputs, target=target.values)
    with torch.no_grad():
        linear, _ = net.linear_forecast(inputs["x"], {})
    left = net.module.given["target"]
    torch.testing.assert_close(left, target.values - linear)
    assert not left.requires_grad
    assert left.square().mean() < 0.5 * target.values.square().mean()


def test_only_the_location_of_several_parameters_moves():
    data = DataSpec(**WINDOW, n_channels=3, n_targets=2, n_parameters=3)
    windows, _, _ = make_windows()
    net = make_net(data)
    fit_linear(net, windows)
    with torch.no_grad():
        net.module.head.bias.fill_(0.25)
        x = windows.inputs["x"]
        scores = net(x)
        linear, _ = net.linear_forecast(x, {})
    assert scores.shape == (40, 2, HORIZON, 3)
    torch.testing.assert_close(scores[..., 0], linear + 0.25)
    assert (scores[..., 1:] == 0.25).all()
    assert linear.all()


def test_a_linear_forecast_needs_no_architecture():
    windows, _, _ = make_windows()
    alone = ForecastSum(None, FORECAST, (), True, "last").double()
    beside = make_net()
    for net in (alone, beside):
        fit_linear(net, windows)
    x = windows.inputs["x"]
    assert torch.equal(alone(x), beside(x))
