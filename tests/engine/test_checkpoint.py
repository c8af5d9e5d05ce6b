"""A training that is interrupted and gone on with ends as if it never had been."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from skattn import (
    Architecture,
    AttentionClassifier,
    AttentionForecaster,
    AttentionTagger,
    AttentionTranslator,
    Checkpoint,
)
from skattn._engine import _checkpoint


class Wide(Architecture):
    """A hidden layer, with dropout so that training draws random numbers."""

    api_version = 1
    name = "wide"
    supports = {"table": {"classification"}, "series": {"forecasting"}}
    citation = "Nobody in particular (2026)"
    past_covariates = False

    def __init__(self, width=8):
        self.width = width

    def build(self, data):
        n_in, n_out = data.n_features, data.n_outputs
        if data.task == "forecasting":
            n_in, n_out = data.length, data.horizon
        return WideModule(n_in, self.width, n_out)


class WideModule(nn.Module):
    def __init__(self, n_in, width, n_out):
        super().__init__()
        self.hidden = nn.Linear(n_in, width)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(width, n_out)

    def forward(self, x):
        return self.head(self.dropout(torch.tanh(self.hidden(x))))


class Stop(Callback):
    """Raise in the middle, or at the end, of an epoch."""

    def __init__(self, epoch, error=RuntimeError, at="batch"):
        self.epoch = epoch
        self.error = error
        self.at = at

    def on_batch_end(self, net, training=False, **kwargs):
        if training and self.at == "batch" and len(net.history) == self.epoch:
            raise self.error("the power failed")

    def on_epoch_end(self, net, **kwargs):
        if self.at == "epoch" and len(net.history) == self.epoch:
            raise self.error("the power failed")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "training.pt"


def data(seed=0, n=60):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    return X, (X[:, 0] + rng.normal(size=n) > 0).astype(int)


def make(callbacks=(), **params):
    params = {
        "max_epochs": 6,
        "batch_size": 16,
        "early_stopping": False,
        "linear_skip": False,
        "random_state": 0,
        **params,
    }
    return AttentionClassifier(Wide(), callbacks=list(callbacks), **params)


def weights_of(estimator):
    return dict(estimator.net_.module_.state_dict())


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def assert_same_training(one, other):
    assert_equal_weights(weights_of(one), weights_of(other))
    for name in ("epoch", "train_loss"):
        assert one.history_[:, name] == other.history_[:, name]
    assert one.n_iter_ == other.n_iter_


def interrupt(file, epoch, at="batch", **params):
    """Crash in an epoch."""
    X, y = data()
    with pytest.raises(RuntimeError, match="the power failed"):
        make([Checkpoint(file), Stop(epoch, at=at)], **params).fit(X, y)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"lr_schedule": None, "weight_decay": 0.1, "optimizer": "SGD"},
        {"lr_schedule": "one_cycle", "gradient_clip": 0.1},
        {"lr_schedule": "cosine", "precision": "bfloat16"},
        {"early_stopping": True},
        {"linear_skip": True},
        {"linear_skip": True, "early_stopping": True},
        {"sample_weight": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("epoch", [2, 5])
def test_after_a_crash_the_next_fit_ends_the_same_to_the_bit(file, params, epoch):
    X, y = data()
    params = dict(params)
    weighs = params.pop("sample_weight", False)
    fit_params = {"sample_weight": np.arange(1, 61)} if weighs else {}
    expected = make(**params).fit(X, y, **fit_params)
    with pytest.raises(RuntimeError, match="the power failed"):
        make([Checkpoint(file), Stop(epoch)], **params).fit(X, y, **fit_params)
    torch.manual_seed(epoch)  # the process's own random state is another one
    resumed = make([Checkpoint(file)], **params).fit(X, y, **fit_params)
    assert_same_training(resumed, expected)
    assert np.array_equal(resumed.predict_proba(X), expected.predict_proba(X))


def test_only_the_epochs_that_are_missing_are_run(file):
    X, y = data()
    interrupt(file, epoch=5)
    seen = []

    class Count(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seen.append(len(net.history))

    make([Checkpoint(file), Count()]).fit(X, y)
    assert seen == [5, 6]


def test_an_epoch_whose_callbacks_failed_is_run_again(file):
    X, y = data()
    interrupt(file, epoch=6, at="epoch")  # the last one
    assert torch.load(file)["n_epochs"] == 5
    assert_same_training(make([Checkpoint(file)]).fit(X, y), make().fit(X, y))


def test_a_training_can_be_interrupted_again_and_again(file):
    X, y = data()
    for epoch in (1, 2, 4, 6):
        interrupt(file, epoch)
    assert_same_training(make([Checkpoint(file)]).fit(X, y), make().fit(X, y))


def test_early_stopping_counts_across_an_interruption(file):
    X, y = data()
    params = {"max_epochs": 200, "early_stopping": True, "patience": 4, "lr": 0.05}
    expected = make(**params).fit(X, y)
    best = int(np.argmin(expected.history_[:, "valid_loss"])) + 1
    assert expected.n_iter_ == best + 4 < 200
    for epoch in (best, best + 3):  # what is best so far, and its rivals
        interrupt(file, epoch, **params)
    resumed = make([Checkpoint(file)], **params).fit(X, y)
    assert_same_training(resumed, expected)
    assert resumed.history_[:, "valid_loss"] == expected.history_[:, "valid_loss"]


def test_ctrl_c_keeps_the_last_whole_epoch(file):
    X, y = data()
    told = "interrupted in epoch 3 of 6"
    with pytest.warns(UserWarning, match=told):
        make([Checkpoint(file), Stop(3, KeyboardInterrupt)]).fit(X, y)
    with pytest.warns(UserWarning, match="interrupted in epoch 5 of 6"):
        make([Checkpoint(file), Stop(5, KeyboardInterrupt)]).fit(X, y)
    resumed = make([Checkpoint(file)]).fit(X, y)
    assert_same_training(resumed, make().fit(X, y))
    assert resumed.net_.max_epochs == 6


def test_ctrl_c_while_the_file_is_written_leaves_the_one_before(file, monkeypatch):
    X, y = data()
    save, written = torch.save, []

    def fail(state, stream):
        save(state, stream)
        written.append(state["n_epochs"])
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(_checkpoint.torch, "save", fail)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 6"):
        make([Checkpoint(file)]).fit(X, y)
    assert list(file.parent.iterdir()) == [file]
    assert torch.load(file)["n_epochs"] == 2
    assert_same_training(make([Checkpoint(file)]).fit(X, y), make().fit(X, y))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_finished_training_is_read_and_not_run(file, early_stopping):
    X, y = data()
    params = {"early_stopping": early_stopping, "patience": 2, "lr": 0.05}
    params["max_epochs"] = 100 if early_stopping else 3
    first = make([Checkpoint(file)], **params).fit(X, y)
    assert (first.n_iter_ < params["max_epochs"]) == early_stopping
    contents = file.read_bytes()
    again = make([Checkpoint(file), Stop(first.n_iter_)], **params).fit(X, y)
    assert_same_training(again, first)
    assert file.read_bytes() == contents
    assert again.history_[:, "dur"] == first.history_[:, "dur"]


def test_a_training_that_ended_but_did_not_say_so(file, monkeypatch):
    X, y = data()
    monkeypatch.setattr(Checkpoint, "on_train_end", Callback.on_train_end)
    expected = make([Checkpoint(file)]).fit(X, y)
    monkeypatch.undo()
    assert not torch.load(file)["finished"]
    assert_same_training(make([Checkpoint(file), Stop(6)]).fit(X, y), expected)


def test_one_estimator_can_be_fitted_again_after_a_crash(file):
    X, y = data()
    clf = make([Checkpoint(file), Stop(3)])
    with pytest.raises(RuntimeError, match="the power failed"):
        clf.fit(X, y)
    clf.callbacks = clf.callbacks[:1]
    assert_same_training(clf.fit(X, y), make().fit(X, y))


def test_without_interruptions_nothing_changes(file):
    X, y = data()
    assert_same_training(make([Checkpoint(file)]).fit(X, y), make().fit(X, y))


def test_the_folder_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "file.pt"
    make([("keep", Checkpoint(str(path)))], max_epochs=1).fit(*data())
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="names a folder"):
        make([Checkpoint(tmp_path)]).fit(*data())


def other_weights(net):
    with torch.no_grad():
        net.module_.head.bias += 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"X": data(seed=1)[0]}, r"training samples 60 \(\w+\) in the file, 60 \("),
        ({"y": 1 - data()[1]}, r"training samples 60 \(\w+\) in the file, 60 \("),
        ({"n": 50}, r"training samples 60 \(\w+\) in the file, 50 \("),
        ({"lr": 0.5}, "lr 0.002 in the file, 0.5 now"),
        ({"max_epochs": 7}, "max_epochs 6 in the file, 7 now"),
        ({"batch_size": 20}, "batch_size 16 in the file, 20 now"),
        ({"lr_schedule": None}, "schedule='one_cycle', .* in the file, none now"),
        ({"gradient_clip": 0.5}, "gradient_clip_value=0.5"),
        ({"weight_decay": 0.5}, "weight_decay"),
        ({"precision": "float64"}, "precision 'float32' in the file, 'float64' now"),
        ({"optimizer": "SGD"}, "optimizer"),
        ({"net_params": {"optimizer__betas": (0.5, 0.5)}}, "optimizer"),
        ({"random_state": 1}, r"random_state \d+ in the file, \d+ now"),
        ({"architecture": Wide(9)}, r"architecture Wide \(\w+\) in the file, Wide \("),
        ({"early_stopping": True}, r"validation samples 0 \(\w+\) in the file, \d"),
        ({"class_weight": {0: 2.0, 1: 1.0}}, "training samples"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_the_file_of_another_training_is_refused(file, change, told):
    interrupt(file, epoch=2)
    contents = file.read_bytes()
    change = dict(change)
    X, y = data(n=change.pop("n", 60))
    X, y = change.pop("X", X), change.pop("y", y)
    clf = make([Checkpoint(file)]).set_params(**change)
    with pytest.raises(ValueError, match=f"holds another training: .*{told}") as caught:
        clf.fit(X, y)
    assert "Delete the file to start anew" in str(caught.value)
    assert file.read_bytes() == contents


def test_without_a_seed_there_is_no_going_on(file):
    make([Checkpoint(file)], random_state=None).fit(*data())
    with pytest.raises(ValueError, match="random_state=None every fit is another"):
        make([Checkpoint(file)], random_state=None).fit(*data())


def test_other_initial_weights_are_another_training(file):
    X, y = data()
    clf = make([Checkpoint(file)], warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="initial weights"):
        clf.fit(X, y)


@pytest.mark.parametrize("contents", [b"", b"no checkpoint", "cut", "foreign"])
def test_a_broken_file_says_so(file, contents):
    interrupt(file, epoch=2)
    whole = file.read_bytes()
    if contents == "foreign":
        torch.save({"weights": {}}, file)
    else:
        file.write_bytes(whole[: len(whole) // 2] if contents == "cut" else contents)
    with pytest.raises(ValueError, match=f"{file.name} is no checkpoint of.*damaged"):
        make([Checkpoint(file)]).fit(*data())


def test_reading_a_file_runs_no_code(file, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "caught",)

    torch.save({"format": 1, "fingerprint": Trap()}, file)
    with pytest.raises(ValueError, match="is no checkpoint"):
        make([Checkpoint(file)]).fit(*data())
    assert not (tmp_path / "caught").exists()


def test_a_file_that_may_not_be_read(file, monkeypatch):
    interrupt(file, epoch=2)

    def refuse(path):
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PermissionError, match="not yours"):
        make([Checkpoint(file)]).fit(*data())


def test_callbacks_of_the_user_go_on_too(file):
    X, y = data()

    def callbacks(*more):
        stop = EarlyStopping("train_loss", patience=2, threshold=1e-1, sink=str)
        rate = LRScheduler("ExponentialLR", gamma=0.5)
        return [Checkpoint(file), rate, stop, *more]

    params = {"max_epochs": 50, "lr_schedule": None, "lr": 0.05}
    expected = make(callbacks()[1:], **params).fit(X, y)
    assert 4 < expected.n_iter_ < 50
    with pytest.raises(RuntimeError, match="the power failed"):
        make(callbacks(Stop(4)), **params).fit(X, y)
    assert_same_training(make(callbacks(), **params).fit(X, y), expected)


def test_what_no_file_can_hold_is_left_out(file):
    X, y = data()

    class Odd(Callback):
        def initialize(self):
            self.count_ = 0
            self.thread_ = object()
            return self

        def on_epoch_end(self, net, **kwargs):
            self.count_ += 1
            net.history.record("count", np.float64(self.count_))
            net.history.record("odd", self.thread_)

    with pytest.raises(RuntimeError, match="the power failed"):
        make([Checkpoint(file), Odd(), Stop(4)]).fit(X, y)
    clf = make([Checkpoint(file), Odd()]).fit(X, y)
    assert clf.history_[:, "count"] == [1, 2, 3, 4, 5, 6]
    assert ["odd" in epoch for epoch in clf.history_] == [False] * 3 + [True] * 3


def test_the_progress_bar_starts_where_training_goes_on(file, capsys):
    interrupt(file, epoch=4, verbose=1)
    capsys.readouterr()
    make([Checkpoint(file)], verbose=1).fit(*data())
    last = capsys.readouterr().err.split("\r")[-1]
    assert "6/6" in last


def test_partial_fit_neither_reads_nor_writes(file):
    X, y = data()
    make([Checkpoint(file)]).partial_fit(X, y).partial_fit(X[:30], y[:30])
    assert not file.exists()


def test_forecasts_of_drawn_windows(file, series):
    def forecaster(*callbacks):
        return AttentionForecaster(
            Wide(),
            window_length=8,
            windows_per_epoch=20,
            max_epochs=4,
            early_stopping=True,
            random_state=3,
            callbacks=list(callbacks),
        )

    expected = forecaster().fit(series, fh=[1, 2])
    with pytest.raises(RuntimeError, match="the power failed"):
        forecaster(Checkpoint(file), Stop(3)).fit(series, fh=[1, 2])
    resumed = forecaster(Checkpoint(file)).fit(series, fh=[1, 2])
    assert_equal_weights(weights_of(resumed), weights_of(expected))
    assert len(list(file.parent.iterdir())) == 2  # one to calibrate, one to keep
    resumed.update(series)  # is no part of the training in the file
    changed = forecaster(Checkpoint(file))
    with pytest.raises(ValueError, match="training samples"):
        changed.fit(series * 2, fh=[1, 2])


def texts():
    rng = np.random.default_rng(0)
    words = np.array(["a", "bird", "sings", "cat", "sleeps", "today"])
    lengths = rng.integers(1, 7, size=40)
    return [rng.choice(words, size=length).tolist() for length in lengths]


def translation(**params):
    X = [" ".join(text) for text in texts()]
    return AttentionTranslator(**params), X, [each.upper() for each in X]


def tagging(**params):
    y = [["B-x" if word == "cat" else "O" for word in text] for text in texts()]
    return AttentionTagger("tener", **params), texts(), y


def sentiment(**params):
    X = [" ".join(text) for text in texts()]
    return AttentionClassifier(**params), X, ["cat" in text for text in X]


@pytest.mark.parametrize("task", [translation, tagging, sentiment])
def test_texts(file, task):
    def fit(*callbacks):
        params = {"max_epochs": 4, "batch_size": 8, "random_state": 0}
        estimator, X, y = task(**params, callbacks=list(callbacks))
        return estimator.fit(X, y)

    expected = fit()
    with pytest.raises(RuntimeError, match="the power failed"):
        fit(Checkpoint(file), Stop(3))
    assert_same_training(fit(Checkpoint(file)), expected)


@pytest.fixture
def series():
    import pandas as pd

    index = pd.period_range("2000-01", periods=60, freq="M")
    rng = np.random.default_rng(0)
    return pd.Series(np.sin(np.arange(60) / 3) + 0.1 * rng.normal(size=60), index)


def test_sampled_neighbours_are_drawn_on(file):
    from skattn import Graph, NodeClassifier

    rng = np.random.default_rng(0)
    edges = np.unique(rng.integers(0, 40, size=(2, 300)), axis=1)
    graph = Graph(edges, x=rng.normal(size=(40, 3)), directed=True)
    y = rng.integers(0, 2, size=40)

    def classifier(*callbacks):
        return NodeClassifier(
            graph=graph,
            num_neighbors=2,
            batch_size=8,
            max_epochs=4,
            random_state=0,
            callbacks=list(callbacks),
        )

    nodes = np.arange(40)[:, None]
    expected = classifier().fit(nodes, y)
    with pytest.raises(RuntimeError, match="the power failed"):
        classifier(Checkpoint(file), Stop(3)).fit(nodes, y)
    resumed = classifier(Checkpoint(file)).fit(nodes, y)
    assert_equal_weights(weights_of(resumed), weights_of(expected))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda held: held["table"].__setitem__((0, 0), 5.0),
        lambda held: held["names"].append("c"),
        lambda held: held.update(more=None),
        lambda held: held["windows"].untyped_storage().__setitem__(0, 1),
        lambda held: held["sparse"].values().add_(1),
        lambda held: held["object"].__setitem__(1, np.array([1, 2, 4])),
        lambda held: held["set"].add("c"),
        lambda held: held.update(kind=np.float64),
    ],
)
def test_every_change_of_the_contents_changes_the_hash(change):
    def contents():
        return {
            "table": np.arange(6.0).reshape(2, 3)[:, ::2],
            "empty": np.zeros((3, 0)),
            "names": ["a", "b"],
            "windows": torch.arange(10.0).unfold(0, 4, 1),
            "sparse": torch.eye(3).to_sparse_csr(),
            "object": np.array([np.array([1]), np.array([1, 2, 3])], dtype=object),
            "set": {"a", "b"},
            "kind": np.float32,
        }

    held = contents()
    held["self"] = held
    before = _checkpoint._digest(held)
    again = contents()
    again["self"] = again
    assert _checkpoint._digest(again) == before
    change(held)
    assert _checkpoint._digest(held) != before


def test_the_hash_is_the_same_in_another_process():
    import subprocess
    import sys

    program = (
        "from skattn._engine._checkpoint import _digest; import numpy, torch\n"
        "print(_digest([{'b', 'a', 'c'}, torch.ones(2), numpy.arange(3), 'x', max]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
