"""Likelihoods against scipy's and torch's distributions, and against simulated data."""

import math
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.metrics import mean_pinball_loss

from skattn._engine._likelihoods import (
    DEFAULT_LEVELS,
    NegativeBinomial,
    Normal,
    QuantileLikelihood,
    StudentT,
    make_likelihood,
    piecewise_moments,
)
from skattn._engine._samples import Window

LEVELS = (0.05, 0.2, 0.5, 0.6, 0.95)
NAMES = ("quantile", "normal", "student_t", "negative_binomial")
GRID = np.linspace(0.05, 0.95, 91)

# Of two targets: the window in units of the series, and the series in raw numbers.
WINDOW = Window(
    loc=torch.tensor([[[0.3], [-1.0]]], dtype=torch.float64),
    scale=torch.tensor([[[0.5], [2.0]]], dtype=torch.float64),
    mean=torch.tensor([[[30.0], [8.0]]], dtype=torch.float64),
    std=torch.tensor([[[10.0], [3.0]]], dtype=torch.float64),
)
LOC, SCALE = (
    (WINDOW.loc * WINDOW.std + WINDOW.mean).numpy(),
    (WINDOW.scale * WINDOW.std).numpy(),
)


def make(name):
    return make_likelihood(name, LEVELS if name == "quantile" else None)


def draw_scores(likelihood, *shape, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return spread * rng.normal(size=(*shape, likelihood.n_parameters))


def losses_of(likelihood, scores, target, window=WINDOW):
    """Loss of each target, (n, n_targets, horizon), by batches of one number."""
    tensors = torch.from_numpy(scores), torch.from_numpy(target)
    window = Window(*(part.expand(len(scores), -1, -1) for part in window))
    return likelihood.element(*tensors, window).numpy()


def softplus(values):
    return np.log1p(np.exp(values))


def test_the_loss_is_averaged_over_known_targets():
    for name in NAMES:
        likelihood = make(name)
        scores = draw_scores(likelihood, 3, 2, 4)
        target = np.random.default_rng(1).normal(size=(3, 2, 4))
        element = losses_of(likelihood, scores, target)
        target[0, 1, 2:] = np.nan
        target[2] = np.nan
        parameters = torch.from_numpy(scores).requires_grad_()
        losses = likelihood(parameters, torch.from_numpy(target), WINDOW)
        known = np.r_[element[0, 0], element[0, 1, :2]]
        expected = [known.mean(), element[1].mean(), 0.0]
        np.testing.assert_allclose(losses.detach().numpy(), expected)
        losses.sum().backward()
        assert parameters.grad.isfinite().all()
        assert (parameters.grad[2] == 0).all()
        assert (parameters.grad[0, 1, 2:] == 0).all()
        assert (parameters.grad[1] != 0).any(dim=-1).all()


def test_normal_is_the_density_of_the_standardised_series():
    likelihood = Normal()
    scores, target = draw_scores(likelihood, 5, 2, 3), np.ones((5, 2, 3))
    loc, scale = WINDOW.loc.numpy(), WINDOW.scale.numpy()
    sigma = (1e-3 + softplus(scores[..., 1])) * scale
    mu = scores[..., 0] * scale + loc
    expected = -stats.norm.logpdf(target * scale + loc, mu, sigma)
    np.testing.assert_allclose(losses_of(likelihood, scores, target), expected)
    ours = torch.distributions.Normal(torch.from_numpy(mu), torch.from_numpy(sigma))
    expected = -ours.log_prob(torch.from_numpy(target * scale + loc)).numpy()
    np.testing.assert_allclose(losses_of(likelihood, scores, target), expected)


def test_student_t_is_the_density_of_the_standardised_series():
    likelihood = StudentT()
    scores, target = draw_scores(likelihood, 5, 2, 3), np.ones((5, 2, 3))
    loc, scale = WINDOW.loc.numpy(), WINDOW.scale.numpy()
    sigma = (1e-3 + softplus(scores[..., 1])) * scale
    mu = scores[..., 0] * scale + loc
    df = 2.1 + 6 * softplus(scores[..., 2])
    expected = -stats.t.logpdf(target * scale + loc, df, mu, sigma)
    np.testing.assert_allclose(losses_of(likelihood, scores, target), expected)
    ours = torch.distributions.StudentT(*map(torch.from_numpy, (df, mu, sigma)))
    expected = -ours.log_prob(torch.from_numpy(target * scale + loc)).numpy()
    np.testing.assert_allclose(losses_of(likelihood, scores, target), expected)


def counts_and_targets(*shape):
    counts = np.random.default_rng(2).poisson(20, size=shape).astype(float)
    return counts, (counts - LOC) / SCALE


def nbinom_of(scores):
    """Parameters of scipy's and of torch's distribution."""
    mean = SCALE / 4 * softplus(4 * (scores[..., 0] * SCALE + LOC) / SCALE)
    alpha = softplus(scores[..., 1]) * SCALE**2 / (SCALE**2 + mean**2) + 1e-8
    return mean, alpha


def test_negative_binomial_is_the_probability_of_the_raw_count():
    likelihood = NegativeBinomial()
    scores = draw_scores(likelihood, 5, 2, 3, spread=2.0)
    counts, target = counts_and_targets(5, 2, 3)
    mean, alpha = nbinom_of(scores)
    size = 1 / alpha
    expected = -stats.nbinom.logpmf(counts, size, size / (size + mean))
    losses = losses_of(likelihood, scores, target)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    ours = torch.distributions.NegativeBinomial(
        torch.from_numpy(size), torch.from_numpy(mean / (size + mean))
    )
    expected = -ours.log_prob(torch.from_numpy(counts)).numpy()
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_counts_near_the_limit_of_poisson_keep_their_precision():
    """In float32 the loss of a count of a million is right to five digits."""
    window = Window(*(torch.tensor([[[v]]]) for v in (0.0, 1.0, 1e6, 1e3)))
    scores = torch.tensor([[[[0.5, -30.0]]]])
    likelihood = NegativeBinomial()
    loss = likelihood(scores, torch.tensor([[[0.25]]]), window).item()
    # Dispersion is at its floor, 1e-8.
    mean, size = 1_000_500.0, 1e8
    expected = -stats.nbinom.logpmf(1_000_250, size, size / (size + mean))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_linear_forecast_of_large_counts_carries_over():
    """The mean is the location from one scale above zero, within half a percent."""
    loc, scale = np.zeros((1, 1, 1)), np.full((1, 1, 1), 50.0)
    raw = np.array([50.0, 100.0, 400.0])
    scores = np.stack([raw / 50, np.zeros(3)], axis=-1)[None, None]
    mean = NegativeBinomial().point(scores, loc, scale)[0, 0]
    np.testing.assert_allclose(mean, raw, rtol=5e-3)
    below = NegativeBinomial().point(-scores, loc, scale)[0, 0]
    assert ((below > 0) & (below < 0.3)).all()


def test_counts_are_checked():
    NegativeBinomial.check(np.array([0.0, 3.0, math.nan, 1e6]))
    for wrong in (-1.0, 2.5):
        with pytest.raises(ValueError, match=rf"y holds {wrong:g}\. Choose 'normal'"):
            NegativeBinomial.check(np.array([1.0, wrong, math.nan]))


def test_pinball_losses_are_those_of_scikit_learn():
    likelihood = QuantileLikelihood(LEVELS)
    scores = draw_scores(likelihood, 6, 2, 3)
    target = np.random.default_rng(1).normal(size=(6, 2, 3))
    quantiles = likelihood.quantiles(
        scores, LEVELS, WINDOW.loc.numpy(), WINDOW.scale.numpy()
    )
    raw = target * WINDOW.scale.numpy() + WINDOW.loc.numpy()
    expected = [
        mean_pinball_loss(raw.ravel(), quantiles[..., at].ravel(), alpha=level)
        for at, level in enumerate(LEVELS)
    ]
    losses = losses_of(likelihood, scores, target)
    assert losses.mean() == pytest.approx(np.mean(expected))


def test_scores_of_zero_stand_for_a_normal_distribution():
    scale = math.log(2)
    for levels in (DEFAULT_LEVELS, LEVELS, (0.4, 0.9)):
        likelihood = QuantileLikelihood(levels)
        zeros = np.zeros((1, 1, 1, len(levels)))
        one = np.ones((1, 1, 1))
        got = likelihood.quantiles(zeros, levels, 0 * one, one).ravel()
        nearest = min(levels, key=lambda level: abs(level - 0.5))
        expected = scale * (stats.norm.ppf(levels) - stats.norm.ppf(nearest))
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_learnt_quantiles_by_hand():
    """Steps count from the middle: 0.5 first, then 0.25, 0.1 down and 0.75 up."""
    likelihood = QuantileLikelihood((0.75, 0.1, 0.5, 0.25))
    scores = np.array([3.0, 1.0, 2.0, -1.0]).reshape(1, 1, 1, 4)
    z = stats.norm.ppf([0.1, 0.25, 0.5, 0.75])
    q25 = 3 - softplus(1.0) * (z[2] - z[1])
    q10 = q25 - softplus(2.0) * (z[1] - z[0])
    q75 = 3 + softplus(-1.0) * (z[3] - z[2])
    loc, scale = np.full((1, 1, 1), 100.0), np.full((1, 1, 1), 10.0)
    got = likelihood.quantiles(scores, (0.1, 0.25, 0.5, 0.75), loc, scale).ravel()
    np.testing.assert_allclose(got, 100 + 10 * np.array([q10, q25, 3, q75]))
    assert likelihood.point(scores, loc, scale).item() == 130
    half = likelihood.quantiles(scores, [0.175, 0.6], loc, scale).ravel()
    between = [(got[0] + got[1]) / 2, got[2] + 0.4 * (got[3] - got[2])]
    np.testing.assert_allclose(half, between)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_quantiles_never_cross(name, spread):
    likelihood = make(name)
    scores = draw_scores(likelihood, 20, 2, 5, spread=spread)
    quantiles = likelihood.quantiles(scores, GRID, LOC, SCALE)
    assert quantiles.shape == (20, 2, 5, len(GRID))
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    order = np.random.default_rng(0).permutation(len(GRID))
    shuffled = likelihood.quantiles(scores, GRID[order], LOC, SCALE)
    np.testing.assert_array_equal(shuffled, quantiles[..., order])


def test_learnt_quantiles_meet_their_neighbours_without_crossing():
    likelihood = QuantileLikelihood(LEVELS)
    scores = draw_scores(likelihood, 2000, 2, 1, spread=5.0)
    near = [level + 1e-16 * k for level in LEVELS for k in (-1, 0, 1, 2)]
    quantiles = likelihood.quantiles(scores, np.sort(near), LOC, SCALE)
    assert (np.diff(quantiles, axis=-1) >= 0).all()


def test_quantiles_are_those_of_scipy():
    scores = draw_scores(Normal(), 4, 2, 3)
    sigma = (1e-3 + softplus(scores[..., 1])) * SCALE
    mu = scores[..., 0] * SCALE + LOC
    got = Normal().quantiles(scores, [0.1, 0.9], LOC, SCALE)
    expected = stats.norm.ppf([0.1, 0.9], mu[..., None], sigma[..., None])
    np.testing.assert_allclose(got, expected)
    np.testing.assert_allclose(Normal().variance(scores, LOC, SCALE), sigma**2)
    np.testing.assert_allclose(Normal().point(scores, LOC, SCALE), mu)

    scores = draw_scores(StudentT(), 4, 2, 3)
    sigma = (1e-3 + softplus(scores[..., 1])) * SCALE
    mu = scores[..., 0] * SCALE + LOC
    t = stats.t(2.1 + 6 * softplus(scores[..., 2]), mu, sigma)
    got = StudentT().quantiles(scores, [0.1, 0.9], LOC, SCALE)
    np.testing.assert_allclose(got, np.stack([t.ppf(0.1), t.ppf(0.9)], axis=-1))
    np.testing.assert_allclose(StudentT().variance(scores, LOC, SCALE), t.var())
    np.testing.assert_allclose(StudentT().point(scores, LOC, SCALE), t.mean())

    scores = draw_scores(NegativeBinomial(), 4, 2, 3)
    mean, alpha = nbinom_of(scores)
    counts = stats.nbinom(1 / alpha, 1 / (1 + alpha * mean))
    got = NegativeBinomial().quantiles(scores, [0.1, 0.9], LOC, SCALE)
    expected = np.stack([counts.ppf(0.1), counts.ppf(0.9)], axis=-1)
    np.testing.assert_array_equal(got, expected)
    assert (got == got.round()).all()
    variance = NegativeBinomial().variance(scores, LOC, SCALE)
    np.testing.assert_allclose(variance, counts.var())
    np.testing.assert_allclose(NegativeBinomial().point(scores, LOC, SCALE), mean)


def test_levels_beyond_the_learnt_ones_are_refused():
    likelihood = QuantileLikelihood((0.1, 0.5, 0.9))
    scores = np.zeros((1, 1, 1, 3))
    with pytest.raises(ValueError, match=r"\[0\.1, 0\.5, 0\.9\] were .*level 0\.05"):
        likelihood.quantiles(scores, [0.5, 0.05], LOC[:, :1], SCALE[:, :1])
    # 0.5 - 0.5 * 0.8 is a little less than 0.1.
    almost = [0.1 - 1e-17, 0.5 - 0.5 * 0.8 - 1e-16, 0.9 + 1e-15]
    got = likelihood.quantiles(scores, almost, LOC[:, :1], SCALE[:, :1])
    exact = likelihood.quantiles(scores, [0.1, 0.1, 0.9], LOC[:, :1], SCALE[:, :1])
    np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize(
    "levels", [(), (0.5,), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0), (0.1, 0.4), (0.6, 0.9)]
)
def test_levels_that_cannot_be_learnt_are_refused(levels):
    with pytest.raises(ValueError, match="cannot be learnt: give at least two"):
        QuantileLikelihood(levels)


def test_only_the_quantile_likelihood_takes_levels():
    assert make_likelihood("quantile").levels == DEFAULT_LEVELS
    assert make_likelihood("quantile", [0.9, 0.1]).levels == (0.1, 0.9)
    assert isinstance(make_likelihood("student_t"), StudentT)
    with pytest.raises(ValueError, match="learnt by likelihood='quantile' alone"):
        make_likelihood("normal", [0.1, 0.9])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0.0, 1.0, 1e2, 1e4])
def test_gradients_are_finite_at_extremes(name, size):
    likelihood = make(name)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * likelihood.n_parameters)
    scores = (size * signs).reshape(-1, 1, 1, likelihood.n_parameters).requires_grad_()
    for raw in (0.0, 1.0, 1e6):
        for scale in (1e-3, 1.0, 30.0):
            window = Window(*(torch.tensor([[[v]]]) for v in (0.5, scale, 3.0, 7.0)))
            target = torch.full((len(signs), 1, 1), ((raw - 3) / 7 - 0.5) / scale)
            losses = likelihood(scores, target, window)
            assert losses.dtype == torch.float32
            assert losses.isfinite().all()
            (gradient,) = torch.autograd.grad(losses.sum(), scores)
            assert gradient.isfinite().all()


def test_a_mean_count_far_below_zero_still_learns():
    """Where a count comes, the gradient does not vanish with the mean."""
    window = Window(*(torch.tensor([[[v]]]) for v in (0.0, 1.0, 5.0, 5.0)))
    scores = torch.tensor([[[[-200.0, 0.0]]]], requires_grad=True)
    NegativeBinomial()(scores, torch.tensor([[[0.0]]]), window).sum().backward()
    # Five counts, of which each pulls the logarithm of the mean, four a window's scale.
    assert scores.grad[0, 0, 0, 0].item() == pytest.approx(-20.0, rel=1e-4)


def test_unknown_counts_do_no_harm_where_the_location_is_negative():
    window = Window(*(torch.tensor([[[v]]]) for v in (-2.0, 1.0, 5.0, 4.0)))
    scores = torch.zeros(1, 1, 1, 2)
    unknown = torch.zeros(1, 1, 1)  # what stands for NaN: a count of -3
    assert NegativeBinomial().element(scores, unknown, window).isfinite().all()


def fitted(likelihood, target, window, steps=300):
    """Fit one set of free parameters to all targets."""
    scores = torch.zeros(likelihood.n_parameters, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        expanded = scores.expand(1, 1, target.shape[-1], -1)
        likelihood(expanded, target, window).sum().backward()
        optimizer.step()
        schedule.step()
    return scores.detach().double().numpy().reshape(1, 1, 1, -1)


def simulated(raw, mean, std):
    """Targets and window of raw numbers, and their units for the methods in NumPy."""
    window = Window(*(torch.tensor([[[v]]]) for v in (0.5, 2.0, mean, std)))
    target = torch.tensor(((raw - mean) / std - 0.5) / 2, dtype=torch.float32)
    loc, scale = np.full((1, 1, 1), 0.5 * std + mean), np.full((1, 1, 1), 2 * std)
    return target.reshape(1, 1, -1), window, loc, scale


def test_normal_recovers_mean_and_variance():
    raw = np.random.default_rng(0).normal(40, 3, size=4000)
    target, window, loc, scale = simulated(raw, 30.0, 5.0)
    scores = fitted(Normal(), target, window)
    assert Normal().point(scores, loc, scale).item() == pytest.approx(raw.mean(), 1e-3)
    variance = Normal().variance(scores, loc, scale).item()
    assert variance == pytest.approx(raw.var(), rel=0.01)


def test_student_t_recovers_the_maximum_likelihood():
    raw = stats.t.rvs(4, 40, 3, size=4000, random_state=0)
    target, window, loc, scale = simulated(raw, 30.0, 5.0)
    scores = fitted(StudentT(), target, window)
    df, mu, sigma = stats.t.fit(raw)
    got = StudentT().quantiles(scores, [0.05, 0.5, 0.95], loc, scale).ravel()
    expected = stats.t.ppf([0.05, 0.5, 0.95], df, mu, sigma)
    np.testing.assert_allclose(got, expected, atol=0.05)
    variance = StudentT().variance(scores, loc, scale).item()
    assert variance == pytest.approx(stats.t.var(df, mu, sigma), rel=0.05)


@pytest.mark.parametrize(
    ("size", "mean"), [(2.0, 0.3), (5.0, 3.0), (20.0, 300.0)], ids=str
)
def test_negative_binomial_recovers_mean_and_variance(size, mean):
    rng = np.random.default_rng(0)
    raw = rng.negative_binomial(size, size / (size + mean), 4000).astype(float)
    target, window, loc, scale = simulated(raw, raw.mean(), raw.std())
    scores = fitted(NegativeBinomial(), target, window)
    likelihood = NegativeBinomial()
    got = likelihood.point(scores, loc, scale).item()
    assert got == pytest.approx(raw.mean(), rel=0.01)
    # Moments are not the maximum likelihood's, which is the better estimate.
    variance = likelihood.variance(scores, loc, scale).item()
    assert variance == pytest.approx(mean + mean**2 / size, rel=0.1)


def test_quantiles_recover_those_of_the_sample():
    raw = np.random.default_rng(0).gamma(2, 3, size=4000)
    target, window, loc, scale = simulated(raw, 5.0, 4.0)
    likelihood = QuantileLikelihood(LEVELS)
    scores = fitted(likelihood, target, window)
    got = likelihood.quantiles(scores, LEVELS, loc, scale).ravel()
    np.testing.assert_allclose(got, np.quantile(raw, LEVELS), rtol=0.02, atol=0.02)


def test_moments_between_quantiles_are_those_of_a_uniform_distribution():
    """Straight lines through 0.2 and 0.7 belong to one uniform distribution."""
    mean, variance = piecewise_moments(np.array([3.0, 5.5]) + 1e9, (0.2, 0.7))
    assert mean - 1e9 == pytest.approx(4.5, abs=1e-6)  # from 2 to 7
    assert variance == pytest.approx(25 / 12)


def test_moments_approach_those_of_the_distribution():
    levels = np.linspace(0.0005, 0.9995, 1000)
    mean, variance = piecewise_moments(stats.gamma.ppf(levels, 3.0), levels)
    assert mean == pytest.approx(3.0, rel=1e-3)
    assert variance == pytest.approx(3.0, rel=5e-3)


def table_of(values):
    """Rows: all steps of the first window, then of the next; columns: targets."""
    return np.concatenate([window.T for window in values])


@pytest.mark.parametrize("name", NAMES)
def test_distributions_agree_with_the_likelihood(name):
    likelihood = make(name)
    scores = draw_scores(likelihood, 2, 2, 3)
    steps = pd.period_range("2020-01", periods=3, freq="M")
    index = pd.MultiIndex.from_product([["a", "b"], steps])
    columns = pd.Index(["x", "y"])
    found = likelihood.distribution(scores, LOC, SCALE, index, columns)
    assert found.index.equals(index)
    assert found.columns.equals(columns)
    variance = table_of(likelihood.variance(scores, LOC, SCALE))
    rtol = 1e-6 if name == "student_t" else 1e-10  # skpro computes it in float32
    np.testing.assert_allclose(found.var().to_numpy(), variance, rtol=rtol)
    if name != "quantile":
        point = table_of(likelihood.point(scores, LOC, SCALE))
        np.testing.assert_allclose(found.mean().to_numpy(), point)
    quantiles = likelihood.quantiles(scores, [0.1, 0.8], LOC, SCALE)
    for at, level in enumerate([0.1, 0.8]):
        expected = table_of(quantiles[..., at])
        np.testing.assert_allclose(found.ppf(level).to_numpy(), expected, rtol=1e-9)
    part = found.iloc[[4], [1]]
    assert part.index.equals(index[[4]])
    assert part.ppf(0.8).to_numpy().item() == pytest.approx(quantiles[1, 1, 1, 1])


def make_piecewise(n=4, scale=1.0):
    likelihood = QuantileLikelihood(LEVELS)
    scores = draw_scores(likelihood, 1, 2, n)
    index, columns = pd.RangeIndex(n), pd.Index(["x", "y"])
    return likelihood.distribution(scores, LOC, SCALE * scale, index, columns)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_piecewise_distribution_inverts_its_quantiles(scale):
    found = make_piecewise(scale=scale)
    for level in (0.01, 0.05, 0.3, 0.5, 0.97):
        chance = found.cdf(found.ppf(level)).to_numpy()
        np.testing.assert_allclose(chance, level, rtol=1e-6)
    np.testing.assert_array_equal(found.cdf(-1e12).to_numpy(), 0.0)
    np.testing.assert_array_equal(found.cdf(1e12).to_numpy(), 1.0)
    assert found.ppf(1.5).isna().to_numpy().all()


def test_the_piecewise_density_is_the_slope_of_its_cdf():
    found = make_piecewise()
    for level in (0.02, 0.1, 0.55, 0.9, 0.99):
        at = found.ppf(level)
        slope = (found.cdf(at + 1e-5) - found.cdf(at - 1e-5)) / 2e-5
        density = found.pdf(at).to_numpy()
        np.testing.assert_allclose(density, slope.to_numpy(), rtol=1e-5)
        np.testing.assert_allclose(found.log_pdf(at).to_numpy(), np.log(density))
    assert (found.pdf(1e6).to_numpy() == 0).all()
    assert (found.log_pdf(1e6).to_numpy() == -np.inf).all()


def test_the_piecewise_distribution_is_sampled_by_its_quantiles():
    found = make_piecewise(n=2)
    sample = found.sample(2000)  # drawn from NumPy's global generator
    mean = sample.groupby(level=-1).mean()
    error = 6 * np.sqrt(found.var().to_numpy() / 2000)
    assert (np.abs(mean.to_numpy() - found.mean().to_numpy()) < error).all()


def test_one_number_of_a_piecewise_distribution_can_be_taken_out():
    found = make_piecewise()
    one = found.iat[1, 0]
    assert one.shape == ()
    assert one.ppf(0.3) == pytest.approx(found.ppf(0.3).iloc[1, 0])
    assert one.mean() == pytest.approx(found.mean().iloc[1, 0])
    rest = found.iloc[[3, 1]]
    np.testing.assert_array_equal(rest.ppf(0.3), found.ppf(0.3).iloc[[3, 1]])


def test_equal_quantiles_leave_a_step():
    from skattn._engine._likelihoods import quantile_distribution

    quantiles = np.array([[[[1.0, 2.0, 2.0]]]])
    found = quantile_distribution(quantiles, (0.2, 0.5, 0.8), pd.RangeIndex(1), ["x"])
    chances = [found.cdf(x).to_numpy().item() for x in (1.5, 2.0, 2.5)]
    assert chances == pytest.approx([0.35, 1.0, 1.0])
    assert found.pdf(2.5).to_numpy().item() == 0


def test_counts_are_rounded_down_to_whole_numbers_from_zero():
    values = np.array([-0.5, 0.9, 2.9999999, 3.0000001, 7.0])
    rounded = NegativeBinomial().supported(values)
    assert rounded.tolist() == [0, 0, 3, 3, 7]
    assert Normal().supported(values) is values


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_skpro_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "skpro", None)
    likelihood = make(name)
    scores = draw_scores(likelihood, 1, 2, 1)
    with pytest.raises(ImportError, match=r"pip install 'skattn\[proba\]'"):
        likelihood.distribution(scores, LOC, SCALE, pd.RangeIndex(1), ["x", "y"])
