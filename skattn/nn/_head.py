"""The last learned map of an architecture."""

from __future__ import annotations

from torch import Tensor, nn

from skattn._architecture import DataSpec


class ScoreHead(nn.Module):
    """Map one vector a sample to the raw scores that the task asks for.

    Parameters
    ----------
    data : DataSpec
        Decides the shape of the scores.
    in_features : int
        Width of the vector.

    Examples
    --------
    >>> import torch
    >>> from skattn import DataSpec
    >>> from skattn.nn import ScoreHead
    >>> data = DataSpec("forecasting", "series", n_targets=2, horizon=12)
    >>> ScoreHead(data, 8)(torch.zeros(5, 8)).shape
    torch.Size([5, 2, 12])
    """

    def __init__(self, data: DataSpec, in_features: int) -> None:
        super().__init__()
        if data.task == "forecasting":
            shape: tuple[int, ...] = (data.n_targets, data.horizon)
            if data.n_parameters > 1:
                shape += (data.n_parameters,)
        else:
            shape = (data.n_outputs,)
        self.shape = shape
        size = 1
        for count in shape:
            size *= count
        self.linear = nn.Linear(in_features, size)

    def forward(self, h: Tensor) -> Tensor:
        """Compute scores.

        Parameters
        ----------
        h : Tensor of shape (batch, in_features)
            One vector a sample.

        Returns
        -------
        scores : Tensor of shape (batch, n_outputs), or for forecasting (batch, \
n_targets, horizon), with a last axis where ``n_parameters`` is above 1
            Raw scores.
        """
        return self.linear(h).unflatten(-1, self.shape)
