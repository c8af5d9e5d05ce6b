"""Forecasting windows against a loop over steps in plain Python."""

import numpy as np
import pytest
import torch

from skattn._engine._windows import SeriesData, SeriesStore
from skattn._inputs._origins import Origins

CPU = torch.device("cpu")
WINDOW, HORIZON = 5, 3

# Each series has a mean and a standard deviation of its own.
MEANS = np.array([[0.5, -3.0], [10.0, 0.0], [-1.0, 4.0]])
STDS = np.array([[2.0, 7.0], [0.5, 1.0], [3.0, 11.0]])


def make_series(lengths=(12, 7, 3), gaps=False):
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(n, 2)).cumsum(axis=0) * [1.0, 10.0] for n in lengths]
    if gaps:
        for values in series:
            values[rng.random(values.shape) < 0.25] = np.nan
    return series


def make_store(series, normalization=None, n_targets=2, offered=(), **params):
    """Lay out arrays, whose columns after the targets are covariates of the past."""
    data = [
        SeriesData(
            values[:, :n_targets],
            mean[:n_targets],
            std[:n_targets],
            past=((values - mean) / std)[:, n_targets:],
        )
        for values, mean, std in zip(series, MEANS, STDS, strict=False)
    ]
    return lay_out(data, normalization, offered, **params)


def lay_out(data, normalization=None, offered=(), **params):
    defaults = {"window_length": WINDOW, "horizon": HORIZON, "dtype": torch.float64}
    return SeriesStore(
        data,
        normalization=normalization,
        offered=offered,
        device=CPU,
        **{**defaults, **params},
    )


def all_origins(series):
    return [Origins(number, 0, len(values)) for number, values in enumerate(series)]


def window_of(values, number, origin, normalization, n_targets):
    """Cut out one window, step by step and channel by channel."""
    n_channels = values.shape[1]
    x = np.zeros((n_channels, WINDOW))
    observed = np.zeros((n_channels, WINDOW), dtype=bool)
    mask = np.zeros(WINDOW, dtype=bool)
    target = np.full((n_targets, HORIZON), np.nan)
    units = []
    for channel in range(n_channels):
        mean, std = MEANS[number, channel], STDS[number, channel]
        seen = []
        for place in range(WINDOW):
            step = origin - WINDOW + 1 + place
            if step < 0:
                continue
            mask[place] = True
            value = (values[step, channel] - mean) / std
            if not np.isnan(value):
                observed[channel, place] = True
                x[channel, place] = value
                seen.append(value)
        loc, scale = 0.0, 1.0
        if normalization == "last" and seen:
            loc = seen[-1]
        elif normalization == "instance" and seen:
            spread = float(np.std(seen))
            loc, scale = float(np.mean(seen)), spread if spread > 1e-3 else 1.0
        x[channel] = np.where(observed[channel], (x[channel] - loc) / scale, 0.0)
        if channel < n_targets:
            for ahead in range(HORIZON):
                step = origin + 1 + ahead
                if step < len(values):
                    value = (values[step, channel] - mean) / std
                    target[channel, ahead] = (value - loc) / scale
            units.append((loc, scale, mean, std))
    return x, observed, mask, target, np.array(units)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("normalization", [None, "last", "instance"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_windows_equal_those_of_a_loop(gaps, normalization, n_targets):
    series = make_series(gaps=gaps)
    store = make_store(series, normalization, n_targets, {"loc", "scale"})
    samples = store.samples(all_origins(series))
    expected = [
        window_of(values, number, origin, normalization, n_targets)
        for number, values in enumerate(series)
        for origin in range(len(values))
    ]
    assert len(samples) == len(expected) == 22
    inputs, target = samples.take(torch.arange(22))
    optional = {"observed"} if gaps else set()
    assert set(inputs) == {"x", "mask", "loc", "scale"} | optional
    loc, scale = samples.units()
    assert loc.shape == scale.shape == (22, n_targets, 1)
    assert target.weight is None
    for row, (x, observed, mask, future, units) in enumerate(expected):
        np.testing.assert_allclose(inputs["x"][row].numpy(), x, atol=1e-12)
        np.testing.assert_array_equal(inputs["mask"][row].numpy(), mask)
        if gaps:
            np.testing.assert_array_equal(inputs["observed"][row].numpy(), observed)
        np.testing.assert_allclose(target.values[row].numpy(), future, atol=1e-12)
        window = np.stack([part[row, :, 0].numpy() for part in target.window], axis=1)
        np.testing.assert_allclose(window, units, atol=1e-12)
        for at, name in enumerate(("loc", "scale")):
            assert inputs[name].shape == (22, 2)  # of past covariates too
            own = inputs[name][row, :n_targets].numpy()
            np.testing.assert_allclose(own, units[:, at], atol=1e-12)
        own_loc, own_scale, mean, std = units.T
        np.testing.assert_allclose(loc[row, :, 0], own_loc * std + mean, atol=1e-12)
        np.testing.assert_allclose(scale[row, :, 0], own_scale * std, atol=1e-12)
    np.testing.assert_array_equal(samples.targets(), target.values)


def one_series(values, normalization, offered=(), **params):
    values = np.asarray(values, dtype=float).reshape(len(values), -1)
    width = values.shape[1]
    data = SeriesData(
        values, np.zeros(width), np.ones(width), past=np.zeros((len(values), 0))
    )
    return lay_out([data], normalization, offered, **params)


@pytest.mark.parametrize(
    ("normalization", "window", "future", "loc", "scale"),
    [
        (None, [1, 3, 5], 9, 0, 1),
        ("last", [-4, -2, 0], 4, 5, 1),
        ("instance", [-2, 0, 2], 6, 3, np.sqrt(8 / 3)),
    ],
)
def test_by_hand(normalization, window, future, loc, scale):
    """Steps 1, 3, 5; then comes 9, and nothing after that."""
    store = one_series([1, 3, 5, 9], normalization, window_length=3, horizon=2)
    samples = store.samples([Origins(0, 2, 3)])
    inputs, target = samples.take(torch.tensor([0]))
    np.testing.assert_allclose(inputs["x"], [[np.array(window) / scale]])
    np.testing.assert_allclose(target.values, [[[future / scale, np.nan]]])
    found = samples.units()
    assert found[0].item() == pytest.approx(loc)
    assert found[1].item() == pytest.approx(scale)


@pytest.mark.parametrize("normalization", [None, "last", "instance"])
def test_units_lead_back_to_the_series(normalization):
    series = make_series(gaps=True)
    samples = make_store(series, normalization, n_targets=1).samples([Origins(0, 4, 9)])
    loc, scale = samples.units()
    future = samples.targets().numpy() * scale + loc
    for row, origin in enumerate(range(4, 9)):
        raw = series[0][origin + 1 : origin + 1 + HORIZON, 0]
        np.testing.assert_allclose(future[row, 0], raw, atol=1e-12)


def test_units_are_not_rounded_to_the_precision_of_the_net():
    mean = 1e9 + 0.123
    data = SeriesData(
        mean + np.arange(9.0)[:, None],
        np.array([mean]),
        np.ones(1),
        past=np.zeros((9, 0)),
    )
    samples = lay_out([data], "last", dtype=torch.float32).samples([Origins(0, 5, 6)])
    assert samples.units()[0].item() == mean + 5


def test_a_window_does_not_see_its_neighbours_or_its_future():
    series = make_series()
    changed = [values.copy() for values in series]
    changed[0][:] = 1e6
    changed[2][:] = -1e6
    changed[1][5:] = 1e6  # what comes after the fifth step
    origins = [Origins(1, 0, 5)]
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
    samples = make_store(series, normalization).samples([Origins(0, 5, 6)])
    inputs, target = samples.take(torch.tensor([0]))
    assert not inputs["x"].any()
    assert not target.values.any()
    loc, scale = samples.units()
    np.testing.assert_allclose(loc[0, :, 0], value)
    np.testing.assert_allclose(scale[0, :, 0], STDS[0])


@pytest.mark.parametrize("normalization", [None, "last", "instance"])
def test_a_window_without_any_value_is_zero(normalization):
    series = [np.full((9, 2), np.nan)]
    series[0][7:] = 1.0
    samples = make_store(series, normalization).samples([Origins(0, 5, 6)])
    inputs, _ = samples.take(torch.tensor([0]))
    assert not inputs["x"].any()
    assert not inputs["observed"].any()
    loc, scale = samples.units()
    np.testing.assert_allclose(loc[0, :, 0], MEANS[0])
    np.testing.assert_allclose(scale[0, :, 0], STDS[0])


def test_optional_tensors_only_where_they_say_something():
    origins = [Origins(0, 4, 9)]
    whole = make_store(make_series()).samples(origins)
    assert set(whole.take(torch.tensor([0]))[0]) == {"x"}
    padded = make_store(make_series()).samples([Origins(0, 3, 9)])
    assert set(padded.take(torch.tensor([3]))[0]) == {"x", "mask"}
    gappy = make_store(make_series(gaps=True)).samples(origins)
    assert set(gappy.take(torch.tensor([0]))[0]) == {"x", "observed"}


# Ranges of origins


def ends_of(samples):
    """The last values of all windows, which tell where they end."""
    inputs, _ = samples.take(torch.arange(len(samples)))
    return inputs["x"][:, 0, -1].tolist()


def test_ranges_follow_each_other_in_the_given_order():
    series = [np.arange(9.0), 100 + np.arange(20.0)]
    data = [
        SeriesData(
            values[:, None], np.zeros(1), np.ones(1), past=np.zeros((len(values), 0))
        )
        for values in series
    ]
    store = lay_out(data)
    origins = [
        Origins(1, 6, 9),
        Origins(0, 4, 4),  # empty
        Origins(0, 7, 9),
        Origins(1, 19, 20),
        Origins(0, 3, 1),  # empty too
    ]
    samples = store.samples(origins)
    assert ends_of(samples) == [106, 107, 108, 7, 8, 119]
    inputs, _ = samples.take(torch.tensor([5, 3, 3, 0]))
    assert inputs["x"][:, 0, -1].tolist() == [119, 7, 7, 106]
    assert len(store.samples(origins[1:2])) == 0
    assert list(store.samples(origins[1:2]).inference_batches()) == []


@pytest.mark.parametrize("count", [20, 5, 3, 2, 1])
def test_series_of_few_windows_are_thinned_together(count):
    store = one_series(np.arange(30), None)
    origins = [Origins(0, row, row + 1) for row in range(5, 25)]
    samples = store.samples(origins).at_most(count)
    step = -(-20 // count)
    assert ends_of(samples) == list(range(5, 25, step))


@pytest.mark.parametrize(
    ("count", "step"), [(100, 1), (16, 1), (15, 2), (8, 2), (7, 3), (4, 4), (1, 16)]
)
def test_so_many_windows_are_spread_evenly(count, step):
    store = one_series(np.arange(40), None)
    samples = store.samples([Origins(0, 5, 15), Origins(0, 30, 36)], training=True)
    fewer = samples.at_most(count)
    assert ends_of(fewer) == [*range(5, 15), *range(30, 36)][::step]
    assert fewer.training
    assert ends_of(fewer.at_most(1000)) == ends_of(fewer)
    assert len(samples) == 16


# Covariates


def make_covariates(lengths=(12, 7), ahead=HORIZON):
    """Two series with everything that can come beside the targets."""
    rng = np.random.default_rng(1)
    return [
        SeriesData(
            rng.normal(size=(n, 1)),
            np.zeros(1),
            np.ones(1),
            past=rng.normal(size=(n, 2)),
            known=rng.normal(size=(n + ahead, 3)),
            known_categories=rng.integers(1, 9, size=(n + ahead, 2)),
            static=rng.normal(size=4),
            static_categories=rng.integers(1, 9, size=2),
            code=number + 1,
        )
        for number, n in enumerate(lengths)
    ]


COVARIATES = {
    "known",
    "known_categories",
    "static",
    "static_categories",
    "series_id",
}


@pytest.mark.parametrize("ahead", [0, HORIZON, 8])
def test_covariates_equal_those_of_a_loop(ahead):
    data = make_covariates(ahead=ahead)
    samples = lay_out(data, offered=COVARIATES).samples(all_origins(data))
    inputs, _ = samples.take(torch.arange(len(samples)))
    assert set(inputs) == COVARIATES | {"x", "mask"}
    assert inputs["x"].shape == (19, 3, WINDOW)
    row = 0
    for one in data:
        for origin in range(len(one)):
            for name in ("known", "known_categories"):
                given = getattr(one, name)
                expected = np.zeros((given.shape[1], WINDOW + HORIZON))
                for place in range(WINDOW + HORIZON):
                    step = origin - WINDOW + 1 + place
                    if 0 <= step < min(len(given), len(one) + HORIZON):
                        expected[:, place] = given[step]
                np.testing.assert_array_equal(inputs[name][row].numpy(), expected)
            for name in ("static", "static_categories"):
                np.testing.assert_array_equal(
                    inputs[name][row].numpy(), getattr(one, name)
                )
            assert inputs["series_id"][row] == one.code
            np.testing.assert_array_equal(
                inputs["x"][row, 1:, -1].numpy(), one.past[origin]
            )
            row += 1
    for name in ("known_categories", "static_categories", "series_id"):
        assert inputs[name].dtype == torch.int64
    for name in ("known", "static"):
        assert inputs[name].dtype == torch.float64


def test_only_what_is_offered_is_handed_on():
    data = make_covariates()
    origins = [Origins(0, 4, 9)]
    for name in sorted(COVARIATES):
        samples = lay_out(data, offered={name}).samples(origins)
        assert set(samples.take(torch.tensor([0]))[0]) == {"x", name}
        ((_, inputs),) = samples.inference_batches()
        assert set(inputs) == {"x", name}


def test_what_is_dropped_from_a_step_on_is_unknown_but_for_known_covariates():
    data = make_covariates()
    cut = [one.until(6) for one in data]
    assert [len(one) for one in cut] == [6, 6]
    samples = lay_out(cut, offered=COVARIATES).samples([Origins(0, 5, 6)])
    inputs, target = samples.take(torch.tensor([0]))
    assert target.values.isnan().all()
    np.testing.assert_array_equal(inputs["known"][0].T.numpy(), data[0].known[1:9])
    np.testing.assert_array_equal(inputs["x"][0, 1:].T.numpy(), data[0].past[1:6])


def test_codes_are_unknown_now_and_then_in_training_alone():
    data = make_covariates(lengths=(2000, 1000))
    store = lay_out(data, offered=COVARIATES)
    origins = [Origins(0, 4, 2000), Origins(1, 4, 1000)]
    rows = torch.arange(2992)
    plain = store.samples(origins).take(rows)[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trained = store.samples(origins, training=True).take(rows)[0]
    for name in ("known_categories", "static_categories", "series_id"):
        # Beyond the end of a series, nothing is known anyway.
        assert plain[name][:1996].all()
        forgotten = (trained[name] == 0) & (plain[name] != 0)
        assert 0.03 < forgotten[:1996].double().mean() < 0.07
        kept = torch.where(forgotten, plain[name], trained[name])
        assert torch.equal(kept, plain[name])
    hidden = (trained["known_categories"] == 0)[:1996]
    assert torch.equal(hidden.all(dim=-1), hidden.any(dim=-1))  # whole windows
    assert not torch.equal(hidden[:, 0], hidden[:, 1])  # each column for itself
    for name in ("x", "known", "static"):
        assert torch.equal(trained[name], plain[name])


def test_the_target_is_offered_in_training_alone():
    series = make_series(gaps=True)
    store = make_store(series, "last", offered={"target"})
    origins = all_origins(series)
    inputs, target = store.samples(origins, training=True).take(torch.arange(22))
    assert target.values.isnan().any()
    assert torch.equal(inputs["target"], target.values.nan_to_num())
    plain = store.samples(origins)
    assert "target" not in plain.take(torch.arange(22))[0]
    assert all("target" not in inputs for _, inputs in plain.inference_batches())
    without = make_store(series, "last").samples(origins, training=True)
    assert "target" not in without.take(torch.arange(22))[0]


# Inference


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
    store = make_store(series, "last")
    together = gather(store.samples(all_origins(series)))
    assert sorted(together) == list(range(307))
    assert {shape for _, shape in together.values()} == {(256, 2, WINDOW)}
    row = 0
    for number, values in enumerate(series):
        for origin in range(len(values)):
            own, _ = together[row]
            x, observed, mask, _, _ = window_of(values, number, origin, "last", 2)
            np.testing.assert_allclose(own["x"].numpy(), x, atol=1e-12)
            assert ("mask" in own) is (not mask.all())
            assert ("observed" in own) is bool((~observed & mask).any())
            if row % 50 == 0 or not mask.all():
                alone = store.samples([Origins(number, origin, origin + 1)])
                ((other, _),) = gather(alone).values()
                assert own.keys() == other.keys()
                assert all(torch.equal(own[name], other[name]) for name in own)
            row += 1


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("normalization", [None, "last", "instance"])
def test_no_bit_depends_on_gaps_and_padding_of_other_windows(normalization, gaps):
    whole, short = make_series(lengths=(40, 3))
    if gaps:
        short[1] = np.nan
    found = []
    for series in ([whole], [whole, short]):
        store = make_store(series, normalization, dtype=torch.float32)
        origins = [Origins(n, len(one) - 3, len(one)) for n, one in enumerate(series)]
        samples = store.samples(origins)
        inputs = gather(samples)
        units = np.concatenate(samples.units(), axis=1)[:3]
        found.append((units, [inputs[row][0]["x"] for row in range(3)]))
    (units, rows), (same_units, same_rows) = found
    np.testing.assert_array_equal(units, same_units)
    assert all(map(torch.equal, rows, same_rows))


# Memory


def storage_of(tensor):
    return tensor.untyped_storage()


def test_windows_are_a_view():
    """A thousand steps are kept once, though each is in as many windows as fit."""
    series = make_series(lengths=(1000, 500))
    store = make_store(series, "last", window_length=100, horizon=50)
    n_steps = 1500 + 2 * 150  # with room for padding at both ends
    assert storage_of(store.windows).nbytes() == n_steps * 2 * 8
    assert store.windows.shape == (n_steps - 149, 2, 150)
    assert store.windows.numel() > 100 * n_steps
    samples = store.samples(all_origins(series))
    pointer = storage_of(store.windows).data_ptr()
    assert storage_of(samples.store.windows).data_ptr() == pointer
    batch, _ = samples.take(torch.arange(4))
    assert storage_of(batch["x"]).nbytes() == 4 * 2 * 100 * 8


def test_covariates_of_the_future_are_a_view_too():
    data = make_covariates(lengths=(1000, 500))
    store = lay_out(data, offered=COVARIATES, window_length=100, horizon=50)
    for name, width in (("known", 3), ("known_categories", 2)):
        table = store._steps[name]
        assert storage_of(table).nbytes() == (1500 + 2 * 150) * width * 8
        assert table.shape[0] == len(store.windows)
    assert store._statics["static"].shape == (2, 4)  # not of each window


def test_windows_take_no_memory_of_their_own():
    """However many windows a range holds, it is one row of numbers."""
    series = make_series(lengths=(100, 3000))
    store = make_store(series)
    sizes = []
    for stop in (10, 3000):
        samples = store.samples([Origins(1, 4, stop), Origins(0, 4, 5)], training=True)
        assert len(samples) == stop - 4 + 1
        own = [part for part in vars(samples).values() if torch.is_tensor(part)]
        sizes.append([storage_of(tensor).nbytes() for tensor in own])
    assert sizes[0] == sizes[1]
    assert sum(sizes[0]) == 4 * 2 * 8


def test_types():
    store = make_store(make_series(), dtype=torch.float32)
    samples = store.samples([Origins(0, 6, 7)])
    inputs, target = samples.take(torch.tensor([0]))
    assert inputs["x"].dtype == target.values.dtype == torch.float32
    assert {part.dtype for part in target.window} == {torch.float32}
    loc, scale = samples.units()
    assert loc.dtype == scale.dtype == np.float64


def test_float32_is_rounded_once():
    """Values far from zero are standardised in double precision first."""
    values = 1e9 + np.arange(50.0)
    mean, std = values.mean(), values.std()
    data = SeriesData(
        values[:, None], np.array([mean]), np.array([std]), past=np.zeros((50, 0))
    )
    samples = lay_out([data], dtype=torch.float32).samples([Origins(0, 20, 40)])
    inputs, _ = samples.take(torch.arange(20))
    expected = ((values - mean) / std).astype(np.float32)[20:40]
    np.testing.assert_array_equal(inputs["x"][:, 0, -1].numpy(), expected)
