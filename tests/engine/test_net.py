"""The private net: what it trains, keeps, pickles and says."""

import copy
import math
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skattn import Architecture, DataSpec
from skattn._engine._callbacks import _BetterThanLinear
from skattn._engine._losses import SquaredError
from skattn._engine._net import (
    Blueprint,
    TrainingOptions,
    automatic_batch_size,
    make_net,
    predict_scores,
    train,
)
from skattn._engine._optimizer import optimizer_class
from skattn._engine._runtime import seeded
from skattn._engine._samples import Target, TensorSamples

CPU = torch.device("cpu")
DATA = DataSpec("regression", "table", n_features=3)


class Tiny(Architecture):
    """Two linear maps with a hyperbolic tangent between them."""

    api_version = 1
    name = "tiny"
    supports = {"table": {"regression"}}
    citation = "Nobody in particular (2026)"

    def __init__(self, width=4):
        self.width = width

    def build(self, data):
        return TinyModule(self.width, data)


class TinyModule(nn.Module):
    def __init__(self, width, data):
        super().__init__()
        self.norm = nn.LayerNorm(data.n_features)
        self.hidden = nn.Linear(data.n_features, width)
        self.head = nn.Linear(width, data.n_outputs)

    def forward(self, x):
        return self.head(torch.tanh(self.hidden(self.norm(x))))


OPTIONS = TrainingOptions(
    max_epochs=4,
    lr=0.01,
    batch_size=8,
    optimizer="AdamW",
    weight_decay=0.0,
    lr_schedule=None,
    gradient_clip=None,
    patience=3,
    device="cpu",
    precision="float32",
    compile=False,
    callbacks=None,
    verbose=0,
    net_params=None,
)


def make_samples(n=30, seed=0, dtype=torch.float32, noise=0.1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = np.tanh(x[:, :1]) + noise * rng.normal(size=(n, 1))
    samples = TensorSamples({"x": x}, length=3, dtype=dtype, device=CPU, target=y)
    return samples.at(np.arange(n), None)


def fit(samples=None, valid=None, seed=0, net=None, linear_skip=False, **options):
    """Make and train a net; a net that is given is trained further."""
    epochs = options.pop("epochs", None)
    keep_optimizer = options.pop("keep_optimizer", False)
    options = replace(OPTIONS, **options)
    with seeded(seed, CPU) as generator:
        if net is None:
            blueprint = Blueprint(Tiny(), DATA, options.precision, linear_skip)
            net = make_net(blueprint, SquaredError(), options)
        return train(
            net,
            make_samples() if samples is None else samples,
            valid,
            options,
            generator,
            epochs=epochs,
            keep_optimizer=keep_optimizer,
        )


def weights_of(net):
    return {name: value.clone() for name, value in net.module_.state_dict().items()}


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class Log(Callback):
    """Remember learning rates and weights, step by step."""

    seen = []  # of the class, so that the copies write here too

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        if training:
            weights = copy.deepcopy(weights_of(net))
            self.seen.append((net.optimizer_.param_groups[0]["lr"], weights))


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(Log, "seen", [])
    return Log


@pytest.mark.parametrize(
    ("n_samples", "size"),
    [
        (1, 8),
        (64, 8),
        (127, 8),
        (128, 16),
        (1000, 64),
        (2047, 128),
        (2048, 256),
        (10**6, 256),
    ],
)
def test_automatic_batch_size(n_samples, size):
    assert automatic_batch_size(n_samples) == size


COVARIATES = DataSpec(
    "forecasting",
    "series",
    n_channels=1,
    n_targets=1,
    length=6,
    horizon=2,
    n_known=2,
    known_category_counts=(3,),
    known_names=("a", "b", "c"),
    n_static=1,
    static_category_counts=(4,),
    static_names=("d", "e"),
    n_series=5,
)


@pytest.mark.parametrize(
    ("consumes", "left"),
    [
        ((), {}),
        (("known",), {"n_known": 2, "known_names": ("a", "b")}),
        (
            ("known_categories", "series_id"),
            {"known_category_counts": (3,), "known_names": ("c",), "n_series": 5},
        ),
        (
            ("static", "static_categories"),
            {
                "n_static": 1,
                "static_category_counts": (4,),
                "static_names": ("d", "e"),
            },
        ),
    ],
)
def test_architectures_are_told_of_the_covariates_that_they_take(consumes, left):
    told = []

    class Curious(Tiny):
        def build(self, data):
            told.append(data)
            return nn.Linear(data.length, data.horizon)

    architecture = Curious()
    architecture.consumes = consumes
    blueprint = Blueprint(architecture, COVARIATES, "float32")
    blueprint()
    shape = {"n_channels": 1, "n_targets": 1, "length": 6, "horizon": 2}
    assert told == [DataSpec("forecasting", "series", **shape, **left)]
    assert blueprint.data is COVARIATES


def test_automatic_batches_make_at_least_eight_steps(log):
    fit(make_samples(300), batch_size="auto", max_epochs=1, callbacks=[log()])
    assert len(log.seen) == math.ceil(300 / 32)


def test_optimizers_by_name_and_class():
    assert optimizer_class("SGD") is torch.optim.SGD
    assert optimizer_class(torch.optim.Adam) is torch.optim.Adam
    assert type(fit(optimizer="SGD", keep_optimizer=True).optimizer_) is torch.optim.SGD


@pytest.mark.parametrize(
    ("name", "meant"), [("adamw", "AdamW"), ("Adaam", "Adam"), ("sgd", "SGD")]
)
def test_a_misspelt_optimizer(name, meant):
    with pytest.raises(ValueError, match=f"optimizer='{name}'.*mean '{meant}'"):
        optimizer_class(name)


@pytest.mark.parametrize("name", ["Optimizer", "zzz", "lr_scheduler"])
def test_no_optimizer(name):
    with pytest.raises(ValueError, match=r"torch.optim has these: .*'AdamW'"):
        optimizer_class(name)


@pytest.mark.parametrize("name", ["LBFGS", "Muon", "SparseAdam"])
def test_optimizers_that_want_something_else_are_refused(name):
    with pytest.raises(ValueError, match=f"optimizer='{name}' cannot be used"):
        optimizer_class(name)


def test_a_class_that_is_no_optimizer():
    with pytest.raises(ValueError, match=r"no subclass of torch\.optim\.Optimizer"):
        optimizer_class(dict)


def test_equal_seeds_give_equal_weights():
    one, again, other = fit(seed=1), fit(seed=1), fit(seed=2)
    assert_equal_weights(weights_of(one), weights_of(again))
    assert not torch.equal(one.module_.head.weight, other.module_.head.weight)


def test_training_is_that_of_a_plain_loop():
    samples = make_samples()
    net = fit(samples, seed=3, max_epochs=3, batch_size=8, optimizer="SGD")
    with seeded(3, CPU) as generator:
        module = Tiny().build(DATA)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        means = []
        for _ in range(3):
            total = 0.0
            for rows in torch.randperm(30, generator=generator).split(8):
                errors = module(samples.inputs["x"][rows]) - samples.target[rows]
                loss = (errors.square() / 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            means.append(total / 30)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(net.module_.state_dict()[name], value)
    assert net.history[:, "train_loss"] == pytest.approx(means, rel=1e-6)


def test_history_holds_epochs_and_no_batches():
    net = fit(valid=make_samples(10, seed=1), max_epochs=3)
    assert net.history[:, "epoch"] == [1, 2, 3]
    for epoch in net.history:
        assert set(epoch) >= {"train_loss", "valid_loss", "dur"}
        assert epoch["batches"] == []


def test_valid_loss_is_the_mean_over_samples():
    valid = make_samples(10, seed=1)
    net = fit(valid=valid, max_epochs=1, batch_size=7)
    errors = net.scores(valid) - valid.target
    expected = (errors.square() / 2).mean().item()
    assert net.history[0, "valid_loss"] == pytest.approx(expected, rel=1e-5)


def test_losses_are_weighed():
    net = fit(max_epochs=1)
    scores, values = torch.zeros(2, 1), torch.tensor([[2.0], [4.0]])
    weight = torch.tensor([1.5, 0.5])
    assert net.get_loss(scores, Target(values, None)) == (2 + 8) / 2
    assert net.get_loss(scores, Target(values, weight)) == (3 + 4) / 2


def test_vectors_do_not_decay():
    net = fit(weight_decay=0.5, keep_optimizer=True)
    for group in net.optimizer_.param_groups:
        dims = {parameter.dim() for parameter in group["params"]}
        assert dims == ({2} if group["weight_decay"] == 0.5 else {1})
    sizes = [len(group["params"]) for group in net.optimizer_.param_groups]
    assert sizes == [2, 4]


def test_parameter_groups_of_net_params_stay():
    groups = [("head*", {"lr": 0.5, "weight_decay": 0.25})]
    net = fit(
        keep_optimizer=True,
        weight_decay=0.5,
        net_params={"optimizer__param_groups": groups},
    )
    settings = [
        (group["lr"], group["weight_decay"], len(group["params"]))
        for group in net.optimizer_.param_groups
    ]
    assert settings == [(0.5, 0.25, 1), (0.5, 0.0, 1), (0.01, 0.5, 1), (0.01, 0.0, 3)]


def test_net_params_go_to_skorch():
    net = fit(keep_optimizer=True, net_params={"optimizer__betas": (0.5, 0.75)})
    assert net.optimizer_.param_groups[0]["betas"] == (0.5, 0.75)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_gradients_are_clipped(log, clip):
    options = {"optimizer": "SGD", "lr": 1.0, "batch_size": 30, "gradient_clip": clip}
    fit(max_epochs=2, callbacks=[log()], **options)
    (_, first), (_, second) = log.seen
    change = torch.cat([(second[name] - first[name]).flatten() for name in first])
    if clip is None:
        assert change.norm() > 0.02
    else:
        assert change.norm().item() == pytest.approx(clip, rel=1e-3)


def rates(schedule, n_steps):
    """Learning rates of Loshchilov and Hutter's half cosine, perhaps warmed up."""
    found = []
    for step in range(n_steps):
        progress, factor = step / n_steps, 1.0
        if schedule == "one_cycle" and progress < 0.1:
            factor = (progress + 1e-3) / 0.101
        elif schedule is not None:
            warm_up = 0.1 if schedule == "one_cycle" else 0.0
            angle = math.pi * (progress - warm_up) / (1 - warm_up)
            factor = (1 + math.cos(angle)) / 2
        found.append(0.01 * factor)
    return found


@pytest.mark.parametrize("schedule", [None, "cosine", "one_cycle"])
def test_course_of_the_learning_rate(log, schedule):
    net = fit(
        max_epochs=10, lr_schedule=schedule, callbacks=[log()], keep_optimizer=True
    )
    got = [lr for lr, _ in log.seen]
    assert got == pytest.approx(rates(schedule, 40), rel=1e-9)
    assert [group["lr"] for group in net.optimizer_.param_groups] == [0.01, 0.01]


def test_single_epochs_have_a_constant_learning_rate(log):
    fit(epochs=1, lr_schedule="one_cycle", callbacks=[log()])
    assert [lr for lr, _ in log.seen] == [0.01] * 4


def test_training_goes_on_at_the_learning_rate_that_is_asked_for(log):
    net = fit(epochs=1)
    fit(net=net, epochs=1, lr=0.25, callbacks=[log()])
    assert {lr for lr, _ in log.seen} == {0.25}


def test_a_kept_optimizer_takes_the_learning_rate_that_is_asked_for(log):
    net = fit(epochs=1, keep_optimizer=True)
    fit(net=net, epochs=1, lr=0.25, callbacks=[log()])
    assert {lr for lr, _ in log.seen} == {0.25}


def test_groups_with_a_learning_rate_of_their_own_keep_it():
    groups = {"optimizer__param_groups": [("head*", {"lr": 0.5})]}
    net = fit(epochs=1, keep_optimizer=True, net_params=groups)
    fit(net=net, epochs=1, lr=0.25, keep_optimizer=True, net_params=groups)
    assert {group["lr"] for group in net.optimizer_.param_groups} == {0.5, 0.25}


def test_early_stopping_restores_the_best_weights(log):
    valid = make_samples(10, seed=1)
    net = fit(
        make_samples(8),
        valid,
        max_epochs=100,
        lr=0.05,
        patience=3,
        callbacks=[log()],
    )
    losses = net.history[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert best > 0
    assert len(losses) == best + 1 + 3 < 100
    assert_equal_weights(weights_of(net), log.seen[best][1])


def linear_start(seed=0):
    """Weights of a net with a linear skip before it is trained."""
    with seeded(seed, CPU):
        blueprint = Blueprint(Tiny(), DATA, "float32", linear_skip=True)
        return weights_of(make_net(blueprint, SquaredError(), OPTIONS))


def test_a_linear_start_stays_where_training_makes_it_worse():
    valid = make_samples(10, seed=1)
    valid.target.neg_()  # what is learnt is the opposite
    net = fit(valid=valid, max_epochs=5, patience=2, linear_skip=True)
    assert len(net.history) == 3
    assert_equal_weights(weights_of(net), linear_start())


@pytest.mark.parametrize(("spread", "is_kept"), [(0.3, True), (0.01, False)])
def test_a_linear_start_is_left_for_what_beats_it_by_a_standard_error(
    log, spread, is_kept
):
    """The errors of zero scores are 0.5 ± spread / 2, those of training a bit less."""
    samples, valid = make_samples(), make_samples(30)
    noise = np.random.default_rng(1).normal(scale=spread, size=(30, 1))
    valid.target = torch.from_numpy(np.sqrt(1 + noise.clip(-0.9))).float()
    samples.target = torch.ones_like(samples.target)
    net = fit(
        samples, valid, max_epochs=1, lr=0.001, callbacks=[log()], linear_skip=True
    )
    errors = valid.target.double().square() / 2
    margin = errors.std() / math.sqrt(30)
    gain = errors.mean() - net.history[0, "valid_loss"]
    assert gain > 0
    assert bool(gain < margin) is is_kept
    expected = linear_start() if is_kept else log.seen[-1][1]
    assert_equal_weights(weights_of(net), expected)


def test_of_all_epochs_that_beat_the_linear_start_the_best_stays(log):
    valid = make_samples(30, seed=1)
    net = fit(
        make_samples(8),
        valid,
        batch_size=8,
        max_epochs=60,
        patience=5,
        lr=0.05,
        callbacks=[log()],
        linear_skip=True,
    )
    losses = net.history[:, "valid_loss"]
    assert 0 < np.argmin(losses) < 54
    assert len(losses) == np.argmin(losses) + 1 + 5
    assert_equal_weights(weights_of(net), log.seen[int(np.argmin(losses))][1])


@pytest.mark.parametrize("n_samples", [3, 7, 14, 45, 101])
def test_one_wrong_label_proves_nothing(n_samples):
    """Its standard error is its mean, 1 / n, so that no error at all is not below."""

    class OneWrong:
        module = Blueprint(Tiny(), DATA, "float32", linear_skip=True)
        module_ = nn.Linear(1, 1)

        def errors(self, samples):
            return torch.eye(n_samples)[0]

    stop = _BetterThanLinear(sink=print)
    stop.on_train_begin(OneWrong())
    assert stop.bar_ <= 0


def test_one_held_out_sample_does_not_beat_a_linear_start():
    net = fit(make_samples(8), make_samples(1), lr=0.05, linear_skip=True)
    assert_equal_weights(weights_of(net), linear_start())


def test_without_validation_the_last_weights_stay(log):
    net = fit(make_samples(8), max_epochs=7, lr=0.5, callbacks=[log()])
    assert len(net.history) == 7
    assert_equal_weights(weights_of(net), log.seen[-1][1])


def test_training_that_diverges_is_an_error():
    with pytest.raises(ValueError, match=r"train loss became .* Lower lr=1e\+20"):
        fit(optimizer="SGD", lr=1e20, max_epochs=20)


def test_callbacks_hear_the_end_of_a_training_that_diverges(capsys):
    with pytest.raises(ValueError, match="diverged"):
        fit(optimizer="SGD", lr=1e20, max_epochs=20, verbose=1)
    assert capsys.readouterr().err.endswith("\n")  # the bar was closed


class Interrupt(Callback):
    """Press Ctrl-C at one moment of one epoch."""

    def __init__(self, moment, epoch=3):
        self.moment = moment
        self.epoch = epoch

    def notify(self, method_name, net, **kwargs):
        if method_name == self.moment and len(net.history) == self.epoch:
            raise KeyboardInterrupt

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda net, *args, **kwargs: self.notify(name, net)
        return super().__getattribute__(name)


MOMENTS = ["on_batch_begin", "on_grad_computed", "on_batch_end"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupted_training_keeps_its_weights_and_says_so(log, moment):
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 9; the present"):
        net = fit(max_epochs=9, callbacks=[log(), Interrupt(moment)])
    assert not hasattr(net, "optimizer_")
    assert len(net.history) == 3
    assert_equal_weights(weights_of(net), log.seen[-1][1])
    assert predict_scores(net, make_samples(), None).isfinite().all()


def test_an_interrupted_training_keeps_the_best_weights(log):
    valid = make_samples(10, seed=1)
    options = {"max_epochs": 30, "lr": 0.5, "patience": 20}
    whole = fit(make_samples(8), valid, **options).history[:, "valid_loss"]
    best = int(np.argmin(whole[:6]))
    assert best < 5
    with pytest.warns(UserWarning, match="the best weights so far are kept"):
        net = fit(
            make_samples(8),
            valid,
            callbacks=[log(), Interrupt("on_batch_begin", epoch=7)],
            **options,
        )
    assert_equal_weights(weights_of(net), log.seen[best][1])


def test_a_callback_may_end_training_after_an_epoch():
    """This is how skorch's own callbacks stop; nobody pressed anything."""
    net = fit(max_epochs=9, callbacks=[Interrupt("on_epoch_end")])
    assert len(net.history) == 3


def test_early_stopping_is_no_interrupt():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = fit(
            make_samples(8),
            make_samples(10, seed=1),
            max_epochs=100,
            lr=0.5,
            patience=1,
        )
    assert len(net.history) < 100


class Counting(Callback):
    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1
        net.last_count = self.epochs


def test_callbacks_are_copied():
    callback = Counting()
    callbacks = [callback, ("again", callback)]
    net = fit(callbacks=callbacks)
    assert net.last_count == 4  # of one copy
    assert callback.epochs == 0
    assert callbacks == [callback, ("again", callback)]
    assert not callback.__dict__.keys() - {"epochs"}


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match="callbacks holds 'x', which is no skorch"):
        fit(callbacks=["x"])


@pytest.mark.parametrize("name", ["batch_size", "callbacks", "device", "max_epochs"])
def test_net_params_cannot_hold_what_the_estimator_sets(name):
    with pytest.raises(ValueError, match=rf"net_params holds \['{name}'\]"):
        fit(net_params={name: 1})


def test_a_pickle_is_blueprint_and_weights():
    samples = make_samples()
    net = fit(callbacks=[Counting()])
    state = net.__getstate__()
    kept = [value for value in state.values() if isinstance(value, nn.Module)]
    assert kept == [net.criterion]
    assert "optimizer_state" not in state
    pickled = pickle.dumps(net)
    for word in (b"TinyModule", b"Counting", b"torch.nn.modules", b"AdamW "):
        assert word not in pickled
    again = pickle.loads(pickled)
    assert_equal_weights(weights_of(again), weights_of(net))
    assert torch.equal(again.scores(samples), net.scores(samples))
    assert again.history == net.history
    assert again.module == net.module or repr(again.module) == repr(net.module)


def test_unpickling_leaves_the_random_state_alone():
    pickled = pickle.dumps(fit())
    before = torch.get_rng_state()
    pickle.loads(pickled)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_optimizer_is_kept_only_when_asked():
    assert not hasattr(fit(), "optimizer_")
    lean, full = fit(), fit(keep_optimizer=True)
    assert hasattr(full, "optimizer_")
    assert len(pickle.dumps(lean)) < len(pickle.dumps(full))


def test_training_goes_on_after_a_pickle_as_without():
    net = fit(epochs=2, keep_optimizer=True)
    again = pickle.loads(pickle.dumps(net))
    copied = copy.deepcopy(net)
    for each in (net, again, copied):
        fit(net=each, epochs=2, seed=1, keep_optimizer=True)
    assert_equal_weights(weights_of(again), weights_of(net))
    assert_equal_weights(weights_of(copied), weights_of(net))
    assert len(again.history) == 4


def test_a_copy_is_independent():
    net = fit()
    before = weights_of(net)
    fit(net=copy.deepcopy(net), epochs=1)
    assert_equal_weights(weights_of(net), before)


def test_a_pickle_from_an_absent_device():
    net = fit()
    state = pickle.loads(pickle.dumps(net.__getstate__()))
    state["device"] = "cuda:99"
    again = object.__new__(type(net))
    with pytest.warns(UserWarning, match="trained on 'cuda:99', which is absent"):
        again.__setstate__(state)
    assert torch.equal(again.scores(make_samples()), net.scores(make_samples()))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("float32", torch.float32),
        ("float64", torch.float64),
        ("bfloat16", torch.float32),
    ],
)
def test_precision(precision, dtype):
    samples = make_samples(dtype=dtype)
    net = fit(samples, precision=precision)
    assert {p.dtype for p in net.module_.parameters()} == {dtype}
    assert net.scores(samples).dtype == dtype


def test_scores_come_in_the_order_of_the_rows():
    samples = make_samples(600)
    net = fit(samples, max_epochs=1)
    with torch.no_grad():
        expected = net.module_(samples.inputs["x"])
    torch.testing.assert_close(net.scores(samples), expected)
    assert not net.module_.training


def test_dropout_is_off_in_prediction_and_on_in_further_training():
    net = fit()
    predict_scores(net, make_samples(), None)
    assert not net.module_.training
    fit(net=net, epochs=1)
    assert net.module_.training


def test_threads_of_a_prediction():
    threads = torch.get_num_threads()
    net = fit()
    seen = []
    net.module_.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    predict_scores(net, make_samples(), threads + 1)
    predict_scores(net, make_samples(), None)
    assert seen == [threads + 1, threads]
    assert torch.get_num_threads() == threads


def test_progress_is_shown_on_the_error_stream(capsys):
    fit(verbose=1, valid=make_samples(10, seed=1), max_epochs=2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2/2" in captured.err
    assert "valid_loss" in captured.err


def test_nothing_is_printed(capsys):
    fit(make_samples(8), make_samples(10, seed=1), max_epochs=50, lr=0.5, patience=1)
    assert capsys.readouterr() == ("", "")


def test_a_linear_skip_starts_with_a_head_of_zeros():
    module = Blueprint(Tiny(), DATA, "float32", linear_skip=True)()
    assert not module.module.head.weight.any()
    assert not module.module.head.bias.any()
    assert not module(torch.ones(2, 3)).any()


class Counted:
    """Samples that count how often each is taken."""

    is_whole = False
    sizes = None

    def __init__(self, samples):
        self.samples = samples
        self.counts = np.zeros(len(samples), dtype=int)

    def __len__(self):
        return len(self.samples)

    def take(self, positions):
        np.add.at(self.counts, positions.numpy(), 1)
        return self.samples.take(positions)


def test_an_epoch_of_drawn_samples():
    """Validation sees all of its own, however few are drawn."""
    training, valid = Counted(make_samples(200)), Counted(make_samples(40, seed=1))
    net = fit(training, valid, windows_per_epoch=16, max_epochs=3)
    assert training.counts.sum() == 3 * 16
    assert np.count_nonzero(training.counts) > 30
    assert (valid.counts == valid.counts[0]).all()
    assert valid.counts[0] >= 3
    assert np.isfinite(net.history[:, "train_loss"]).all()
    whole = Counted(make_samples(30))
    fit(whole, windows_per_epoch=30, max_epochs=2)
    assert (whole.counts == 2).all()


def test_the_automatic_batch_size_counts_what_an_epoch_draws():
    assert fit(make_samples(500), batch_size="auto").batch_size == 32
    drawn = fit(make_samples(500), batch_size="auto", windows_per_epoch=130)
    assert drawn.batch_size == 16
