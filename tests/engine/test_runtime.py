"""Devices, seeds and threads, and the global state left as found."""

import re
import threading
import time

import pytest
import torch

from skattn._engine._runtime import (
    PRECISIONS,
    autocast,
    resolve_device,
    seeded,
    torch_threads,
)

CPU = torch.device("cpu")


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_the_processor_is_always_there():
    assert resolve_device("cpu") == CPU


@pytest.mark.usefixtures("no_accelerator")
def test_auto_takes_the_processor_where_nothing_else_is():
    assert resolve_device("auto") == CPU


@pytest.mark.usefixtures("two_cards")
def test_cards_that_are_there():
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"'cuda:2'.* 2 CUDA device"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_an_absent_device_is_an_error_and_never_the_processor(device):
    message = rf"device='{device}' was asked for.*device='cpu'.*device='auto'"
    with pytest.raises(ValueError, match=message):
        resolve_device(device)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "meta", "xpu"])
def test_no_device(device):
    with pytest.raises(ValueError, match=re.escape(f"device={device!r} is n")):
        resolve_device(device)


def test_precisions():
    x = torch.ones(4, 4)
    with autocast("bfloat16", CPU):
        assert (x @ x).dtype == torch.bfloat16
    for precision in ("float32", "float64"):
        with autocast(precision, CPU):
            assert (x @ x).dtype == torch.float32
    assert PRECISIONS["bfloat16"] == torch.float32


def test_a_seed_decides_everything_inside():
    def draw(seed):
        with seeded(seed, CPU) as generator:
            return torch.rand(3), torch.randperm(9, generator=generator)

    first, again, other = draw(1), draw(1), draw(2)
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


def test_shuffling_does_not_shift_dropout():
    with seeded(1, CPU):
        expected = torch.rand(3)
    with seeded(1, CPU) as generator:
        torch.randperm(9, generator=generator)
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("fails", [False, True])
def test_global_state_is_left_as_found(fails):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    try:
        with seeded(5, CPU, num_threads=threads + 1):
            assert torch.get_num_threads() == threads + 1
            torch.rand(100)
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_threads_are_set_and_put_back():
    threads = torch.get_num_threads()
    with torch_threads(threads + 2):
        assert torch.get_num_threads() == threads + 2
        with torch_threads(None):
            assert torch.get_num_threads() == threads + 2
    assert torch.get_num_threads() == threads
    with pytest.raises(RuntimeError, match="inside"), torch_threads(threads + 1):
        raise RuntimeError("inside")
    assert torch.get_num_threads() == threads


def test_fits_in_threads_run_one_after_another():
    with seeded(7, CPU):
        alone = torch.rand(5)
    state = torch.get_rng_state()
    inside, most, drawn = [], [], []

    def fit():
        with seeded(7, CPU):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)  # lets the others in, if they can get in
            drawn.append(torch.rand(5))
            inside.pop()

    threads = [threading.Thread(target=fit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4
    assert all(torch.equal(values, alone) for values in drawn)
    assert torch.equal(torch.get_rng_state(), state)


def test_fits_may_be_nested():
    with seeded(1, CPU):
        expected = torch.rand(2)
    with seeded(1, CPU):
        with seeded(2, CPU):
            torch.rand(9)
        assert torch.equal(torch.rand(2), expected)
