"""Where and how torch computes: device, threads, seeds, one fit at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

# torch's default generator belongs to the process. Whoever seeds it holds this lock
# until the state is put back, so fits in threads run one after another.
_LOCK = threading.RLock()

PRECISIONS = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.float32,  # weights and loss; autocast computes in bfloat16
}


def resolve_device(device: str, precision: str = "float32") -> torch.device:
    """Turn the estimator's `device` into a device that is really there.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        What it has to compute in.

    Returns
    -------
    device : torch.device
        Never the CPU where another device was asked for.

    Raises
    ------
    ValueError
        If the device is unknown, absent or without this precision.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        has_mps = torch.backends.mps.is_available() and precision != "float64"
        return torch.device("mps" if has_mps else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is no device: use 'auto', 'cpu', 'cuda', 'cuda:1' "
            "or 'mps'."
        ) from error
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise ValueError(
                f"device={device!r} was asked for, but torch {torch.__version__} sees "
                f"{count} CUDA device(s) here. Use device='cpu', or device='auto' to "
                "take CUDA only where it is present."
            )
    elif found.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(
            "device='mps' was asked for, but torch sees no Metal device here. Use "
            "device='cpu' or device='auto'."
        )
    elif found.type == "mps" and precision == "float64":
        raise ValueError(
            "device='mps' does not know precision='float64'. Use 'float32', or "
            "device='cpu'."
        )
    elif found.type not in {"cpu", "mps"}:
        raise ValueError(
            f"device={device!r} is not supported: use 'auto', 'cpu', 'cuda', 'cuda:1' "
            "or 'mps'."
        )
    return found


def placement(net: Any) -> dict[str, Any]:
    """Say where and in which type a net takes its numbers.

    Parameters
    ----------
    net : Net
        Made already.

    Returns
    -------
    arguments : dict
        ``device`` and ``dtype``.
    """
    device = resolve_device(net.device, net.precision)
    return {"device": device, "dtype": PRECISIONS[net.precision]}


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Compute in bfloat16 where `precision` says so.

    Parameters
    ----------
    precision : {"float32", "float64", "bfloat16"}
        The estimator's parameter.
    device : torch.device
        Where the net lives.

    Returns
    -------
    context : context manager
        Torch's autocast, or nothing.
    """
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@contextmanager
def torch_threads(num_threads: int | None) -> Iterator[None]:
    """Run with this number of torch threads and put the old number back.

    Parameters
    ----------
    num_threads : int or None
        None leaves the number alone.
    """
    if num_threads is None:
        yield
        return
    with _LOCK:
        before = torch.get_num_threads()
        torch.set_num_threads(num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def seeded(
    seed: int, device: torch.device, num_threads: int | None = None
) -> Iterator[torch.Generator]:
    """Seed torch for a whole fit and leave the global random state as found.

    Parameters
    ----------
    seed : int
        The seed of initial weights, dropout and shuffling.
    device : torch.device
        Where the net lives; its random state is kept too.
    num_threads : int or None
        See `torch_threads`.

    Yields
    ------
    generator : torch.Generator
        A generator of its own for shuffling, on the CPU.
    """
    cuda = [device] if device.type == "cuda" else []
    with _LOCK, torch_threads(num_threads), torch.random.fork_rng(devices=cuda):
        # torch.manual_seed would seed every accelerator, used or not.
        torch.default_generator.manual_seed(seed)
        mps_state = None
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            mps_state = torch.mps.get_rng_state()
            torch.mps.manual_seed(seed)
        try:
            yield torch.Generator().manual_seed(seed)
        finally:
            if mps_state is not None:
                torch.mps.set_rng_state(mps_state)
