"""Tokens of whatever input an architecture is built for."""

from __future__ import annotations

from torch import Tensor, nn

from skattn._architecture import DataSpec
from skattn.nn._embedding import FeatureTokens
from skattn.nn._steps import StepTokens


class Tokens(nn.Module):
    """Embed a table by its columns and series by their time steps.

    Panels of series go through two convolutions over five steps, forecasting windows,
    which are fewer and overlap, through one over three.

    Parameters
    ----------
    data : DataSpec
        Of a table or of series.
    d_model : int
        Width of a token.

    Attributes
    ----------
    axis : str
        What the tokens are, for `skattn.nn.record`: ``"features"`` or ``"time"``.

    Examples
    --------
    >>> import torch
    >>> from skattn import DataSpec
    >>> from skattn.nn import Tokens
    >>> data = DataSpec("regression", "table", n_features=3)
    >>> Tokens(data, d_model=8)(torch.zeros(5, 3)).shape
    torch.Size([5, 3, 8])
    """

    def __init__(self, data: DataSpec, d_model: int) -> None:
        super().__init__()
        self.is_table = data.input == "table"
        self.axis = "features" if self.is_table else "time"
        if self.is_table:
            self.embed: nn.Module = FeatureTokens(data, d_model)
        elif data.task == "forecasting":
            self.embed = StepTokens(data, d_model, kernel_size=3, depth=1)
        else:
            self.embed = StepTokens(data, d_model, kernel_size=5, depth=2)

    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        categories: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Embed a batch.

        Parameters
        ----------
        x : Tensor of shape (batch, n_features) or (batch, n_channels, length)
            Numbers.
        observed : Tensor of bool, shaped as `x`, optional
            False where a number is missing.
        categories : Tensor of int of shape (batch, n_categorical), optional
            Codes, of a table.
        mask : Tensor of bool of shape (batch, length), optional
            True where a time step is real, of series.

        Returns
        -------
        tokens : Tensor of shape (batch, tokens, d_model)
            One for each column or time step.
        """
        if self.is_table:
            return self.embed(x, observed, categories)
        return self.embed(x, observed, mask)
