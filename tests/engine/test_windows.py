"""Forecasting windows against a loop over steps in plain Python."""

import numpy as np
import pytest
import torch

from skattn._engine._windows import SeriesStore

CPU = torch.device("cpu")
WINDOW, HORIZON = 5, 3


def make_series(lengths=(12, 7, 3), n_channels=2, gaps=False):
    rng = np.random.default_rng(0)
    series = [
        rng.normal(size=(n, n_channels)).cumsum(axis=0) * [1.0, 10.0] for n in lengths
    ]
    if gaps:
        for values in series:
            values[rng.random(values.shape) < 0.25] = np.nan
    return series


MEAN, SCALE = np.array([0.5, -3.0]), np.array([2.0, 7.0])


def make_store(series, normalization=None, n_targets=2, dtype=torch.float64):
    return SeriesStore(
        series,
        window_length=WINDOW,
        horizon=HORIZON,
        n_targets=n_targets,
        mean=MEAN,
        scale=SCALE,
        normalization=normalization,
        dtype=dtype,
        device=CPU,
    )


def all_origins(series):
    return [(number, np.arange(len(values))) for number, values in enumerate(series)]


def window_of(values, origin, normalization, n_targets):
    """Cut out one window, step by step and channel by channel."""
    n_channels = values.shape[1]
    x = np.zeros((n_channels, WINDOW))
    observed = np.zeros((n_channels, WINDOW), dtype=bool)
    mask = np.zeros(WINDOW, dtype=bool)
    target = np.full((n_targets, HORIZON), np.nan)
    moments = []
    for channel in range(n_channels):
        seen = []
        for place in range(WINDOW):
            step = origin - WINDOW + 1 + place
            if step < 0:
                continue
            mask[place] = True
            value = (values[step, channel] - MEAN[channel]) / SCALE[channel]
            if not np.isnan(value):
                observed[channel, place] = True
                x[channel, place] = value
                seen.append(value)
        loc, scale = 0.0, 1.0
        if normalization is not None and seen:
            spread = float(np.std(seen))
            scale = spread if spread > 1e-3 else 1.0
            loc = seen[-1] if normalization == "last" else float(np.mean(seen))
        x[channel] = np.where(observed[channel], (x[channel] - loc) / scale, 0.0)
        if channel < n_targets:
            for ahead in range(HORIZON):
                step = origin + 1 + ahead
                if step < len(values):
                    value = (values[step, channel] - MEAN[channel]) / SCALE[channel]
                    target[channel, ahead] = (value - loc) / scale
            moments.append(
                (loc * SCALE[channel] + MEAN[channel], scale * SCALE[channel])
            )
    return x, observed, mask, target, np.array(moments)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("normalization", [None, "last", "instance"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_windows_equal_those_of_a_loop(gaps, normalization, n_targets):
    series = make_series(gaps=gaps)
    origins = all_origins(series)
    samples = make_store(series, normalization, n_targets).samples(origins)
    expected = [
        window_of(series[number], origin, normalization, n_targets)
        for number, steps in origins
        for origin in steps
    ]
    assert len(samples) == len(expected) == 22
    inputs, target = samples.take(torch.arange(22))
    assert set(inputs) == {"x", "mask"} | ({"observed"} if gaps else set())
    loc, scale = samples.moments()
    assert loc.shape == scale.shape == (22, n_targets, 1)
    assert target.weight is None
    for row, (x, observed, mask, future, moments) in enumerate(expected):
        np.testing.assert_allclose(inputs["x"][row].numpy(), x, atol=1e-12)
        np.testing.assert_array_equal(inputs["mask"][row].numpy(), mask)
        if gaps:
            np.testing.assert_array_equal(inputs["observed"][row].numpy(), observed)
        np.testing.assert_allclose(target.values[row].numpy(), future, atol=1e-12)
        np.testing.assert_allclose(loc[row, :, 0], moments[:, 0], atol=1e-12)
        np.testing.assert_allclose(scale[row, :, 0], moments[:, 1], atol=1e-12)
    np.testing.assert_array_equal(samples.targets(), target.values)


def test_by_hand():
    """Steps 1, 3, 5 in units of their last value and deviation; 9 comes next."""
    store = SeriesStore(
        [np.array([[1.0], [3.0], [5.0], [9.0]])],
        window_length=3,
        horizon=2,
        n_targets=1,
        mean=np.zeros(1),
        scale=np.ones(1),
        normalization="last",
        dtype=torch.float64,
        device=CPU,
    )
    samples = store.samples([(0, np.array([2]))])
    inputs, target = samples.take(torch.tensor([0]))
    deviation = np.sqrt(8 / 3)
    np.testing.assert_allclose(inputs["x"], [[[-4 / deviation, -2 / deviation, 0]]])
    np.testing.assert_allclose(target.values, [[[4 / deviation, np.nan]]])
    loc, scale = samples.moments()
    assert loc.item() == 5.0
    assert scale.item() == pytest.approx(deviation)


@pytest.mark.parametrize("normalization", [None, "last", "instance"])
def test_moments_undo_the_units(normalization):
    series = make_series(gaps=True)
    samples = make_store(series, normalization, n_targets=1).samples(
        [(0, np.arange(4, 9))]
    )
    loc, scale = samples.moments()
    future = samples.targets().numpy() * scale + loc
    for row, origin in enumerate(range(4, 9)):
        raw = series[0][origin + 1 : origin + 1 + HORIZON, 0]
        np.testing.assert_allclose(future[row, 0], raw, atol=1e-12)


def test_a_window_does_not_see_its_neighbours_or_its_future():
    series = make_series()
    changed = [values.copy() for values in series]
    changed[0][:] = 1e6
    changed[2][:] = -1e6
    changed[1][5:] = 1e6  # what comes after the fifth step
    origins = [(1, np.arange(5))]
    rows = torch.arange(5)
    for normalization in (None, "last", "instance"):
        one = make_store(series, normalization).samples(origins).take(rows)[0]
        other = make_store(changed, normalization).samples(origins).take(rows)[0]
        for name in one:
            assert torch.equal(one[name], other[name])


@pytest.mark.parametrize("normalization", ["last", "instance"])
@pytest.mark.parametrize("value", [0.0, 1e4])
def test_a_constant_window_has_scale_one(normalization, value):
    series = [np.full((9, 2), value)]
    samples = make_store(series, normalization).samples([(0, np.array([5]))])
    inputs, target = samples.take(torch.tensor([0]))
    assert not inputs["x"].any()
    assert not target.values.any()
    loc, scale = samples.moments()
    np.testing.assert_allclose(loc[0, :, 0], value)
    np.testing.assert_allclose(scale[0, :, 0], SCALE)


@pytest.mark.parametrize("normalization", [None, "last", "instance"])
def test_a_window_without_any_value_is_zero(normalization):
    series = [np.full((9, 2), np.nan)]
    series[0][7:] = 1.0
    samples = make_store(series, normalization).samples([(0, np.array([5]))])
    inputs, _ = samples.take(torch.tensor([0]))
    assert not inputs["x"].any()
    assert not inputs["observed"].any()
    loc, scale = samples.moments()
    np.testing.assert_allclose(loc[0, :, 0], MEAN)
    np.testing.assert_allclose(scale[0, :, 0], SCALE)


def test_optional_tensors_only_where_they_say_something():
    origins = [(0, np.arange(4, 9))]
    whole = make_store(make_series()).samples(origins)
    assert set(whole.take(torch.tensor([0]))[0]) == {"x"}
    padded = make_store(make_series()).samples([(0, np.arange(3, 9))])
    assert set(padded.take(torch.tensor([3]))[0]) == {"x", "mask"}
    gappy = make_store(make_series(gaps=True)).samples(origins)
    assert set(gappy.take(torch.tensor([0]))[0]) == {"x", "observed"}


def gather(samples):
    found = {}
    for rows, inputs in samples.inference_batches():
        for at, row in enumerate(rows.tolist()):
            assert row not in found
            own = {name: tensor[at] for name, tensor in inputs.items()}
            found[row] = own, tuple(inputs["x"].shape)
    return found


@pytest.mark.parametrize("gaps", [False, True])
def test_inference_has_one_shape_and_knows_no_companions(gaps):
    series = make_series(lengths=(300, 7), gaps=gaps)
    origins = all_origins(series)
    store = make_store(series, "last")
    together = gather(store.samples(origins))
    assert sorted(together) == list(range(307))
    assert {shape for _, shape in together.values()} == {(256, 2, WINDOW)}
    row = 0
    for number, steps in origins:
        for origin in steps:
            own, _ = together[row]
            x, observed, mask, _, _ = window_of(series[number], origin, "last", 2)
            np.testing.assert_allclose(own["x"].numpy(), x, atol=1e-12)
            assert ("mask" in own) is (not mask.all())
            assert ("observed" in own) is bool((~observed & mask).any())
            if row % 50 == 0 or not mask.all():
                alone = store.samples([(number, np.array([origin]))])
                ((other, _),) = gather(alone).values()
                assert own.keys() == other.keys()
                assert all(torch.equal(own[name], other[name]) for name in own)
            row += 1


def test_windows_are_a_view():
    """A thousand steps are kept once, though each is in as many windows as fit."""
    series = make_series(lengths=(1000, 500))
    store = SeriesStore(
        series,
        window_length=100,
        horizon=50,
        n_targets=2,
        mean=MEAN,
        scale=SCALE,
        normalization="last",
        dtype=torch.float32,
        device=CPU,
    )
    n_steps = 1500 + 2 * 150  # with room for padding at both ends
    assert store.windows.untyped_storage().nbytes() == n_steps * 2 * 4
    assert store.windows.shape == (n_steps - 149, 2, 150)
    assert store.windows.numel() > 100 * n_steps
    samples = store.samples(all_origins(series))
    pointer = store.windows.untyped_storage().data_ptr()
    assert samples.store.windows.untyped_storage().data_ptr() == pointer
    batch, _ = samples.take(torch.arange(4))
    assert batch["x"].untyped_storage().nbytes() == 4 * 2 * 100 * 4


def test_types():
    samples = make_store(make_series(), dtype=torch.float32).samples(
        [(0, np.array([6]))]
    )
    inputs, target = samples.take(torch.tensor([0]))
    assert inputs["x"].dtype == target.values.dtype == torch.float32
    loc, scale = samples.moments()
    assert loc.dtype == scale.dtype == np.float64
