"""Build modules and run them, the way every check of a module begins."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from sklearn.base import clone
from torch import Tensor, nn

from skattn._architecture import Architecture, DataSpec
from skattn.testing._cases import Case, Inputs
from skattn.testing._failure import Failure

# Of float32, relative to the largest score where that is above one.
TOLERANCE = 1e-5

# Of what is added to the weights, so that no initial zero hides a fault.
_STIRRING = 0.05


class ModuleCheck(Protocol):
    """A function that builds modules for one input and task, and looks at them."""

    __name__: str

    def __call__(self, architecture: Architecture, case: Case) -> None: ...


def build(
    architecture: Architecture, data: DataSpec, *, seed: int = 0, stir: bool = False
) -> nn.Module:
    """Build a module in evaluation mode.

    Parameters
    ----------
    architecture : Architecture
        Is cloned first.
    data : DataSpec
        For which data.
    seed : int, default=0
        torch's, put right before.
    stir : bool, default=False
        Add a little noise to all weights: layers that begin as zero hide faults.

    Returns
    -------
    module : torch.nn.Module
        Untrained.
    """
    torch.manual_seed(seed)
    module = clone(architecture).build(data)
    if not isinstance(module, nn.Module):
        raise Failure(
            f"build returned {type(module).__name__}: it must return a torch.nn.Module."
        )
    if stir:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=_STIRRING)
    return module.eval()


def run(module: nn.Module, inputs: Inputs) -> Tensor:
    """Compute scores without gradients.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode that is wanted.
    inputs : dict of str to Tensor
        Arguments of ``forward``.

    Returns
    -------
    scores : Tensor
        Finite or not.
    """
    with torch.no_grad():
        scores: Any = module(**inputs)
    if not isinstance(scores, Tensor):
        raise Failure(
            f"forward returned {type(scores).__name__}: it must return one tensor of "
            "raw scores. Attention weights leave a module through skattn.nn.record."
        )
    return scores


def distance(scores: Tensor, others: Tensor) -> float:
    """Return the largest difference, relative to scores above one.

    Parameters
    ----------
    scores, others : Tensor
        Of one shape.

    Returns
    -------
    distance : float
        Infinite where one of them is not finite or where shapes differ.
    """
    if scores.shape != others.shape:
        return float("inf")
    if not scores.numel():
        return 0.0
    largest = float((scores - others).abs().max() / scores.abs().max().clamp(min=1))
    return largest if largest == largest else float("inf")


def described(inputs: Inputs) -> str:
    """Write what ``forward`` was given.

    Parameters
    ----------
    inputs : dict of str to Tensor
        Arguments.

    Returns
    -------
    text : str
        Names and shapes.
    """
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
