"""Optimizers by name, and their learning rate."""

from __future__ import annotations

import torch
from skorch import NeuralNet

from skattn._registry import did_you_mean

# They want parameters of another form, or a closure that evaluates the loss again.
_UNFIT = {"LBFGS", "Muon", "Optimizer", "SparseAdam"}


def optimizer_class(optimizer: str | type) -> type[torch.optim.Optimizer]:
    """Find torch's optimizer of this name.

    Parameters
    ----------
    optimizer : str or type
        ``"AdamW"``, ``"SGD"``, ... or a class.

    Returns
    -------
    optimizer : type
        The class.

    Raises
    ------
    ValueError
        If there is no such optimizer, or if it cannot serve here.
    """
    if not isinstance(optimizer, str):
        if not issubclass(optimizer, torch.optim.Optimizer):
            raise ValueError(
                f"optimizer={optimizer!r} is no subclass of torch.optim.Optimizer."
            )
        return optimizer
    known = {
        name: value
        for name, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and name not in _UNFIT
    }
    if optimizer not in known:
        raise ValueError(
            f"optimizer={optimizer!r} cannot be used.{did_you_mean(optimizer, known)} "
            f"torch.optim has these: {sorted(known)}."
        )
    return known[optimizer]


def set_learning_rate(net: NeuralNet, lr: float) -> None:
    """Make the optimizer, or change its rate where a group has none of its own.

    Parameters
    ----------
    net : Net
        To be trained, perhaps again.
    lr : float
        The new rate.
    """
    before, net.lr = net.lr, lr
    if not hasattr(net, "optimizer_"):
        net._initialize_optimizer()
        return
    for group in net.optimizer_.param_groups:
        if group["lr"] == before:
            group["lr"] = lr
