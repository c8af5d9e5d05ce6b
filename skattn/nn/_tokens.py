"""Tokens of whatever input an architecture is built for."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from skattn._architecture import DataSpec, SpecialToken
from skattn.nn._embedding import FeatureTokens
from skattn.nn._steps import StepTokens

_AXES = {"table": "features", "tokens": "tokens", "pair": "tokens"}


class Tokens(nn.Module):
    """Embed a table by its columns, series by their time steps, texts by their tokens.

    Panels of series go through two convolutions over five steps, forecasting windows,
    which are fewer and overlap, through one over three. Texts, and both texts of a
    pair, share one table, ``embed.weight``, of standard deviation ``d_model ** -0.5``;
    its row of `SpecialToken.UNKNOWN` starts at zero.

    Parameters
    ----------
    data : DataSpec
        Of a table, of series, of texts or of pairs of them.
    d_model : int
        Width of a token.

    Attributes
    ----------
    axis : str
        What the tokens are, for `skattn.nn.record`: ``"features"``, ``"time"`` or
        ``"tokens"``.

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
        self.axis = _AXES.get(data.input, "time")
        if self.axis == "tokens":
            table = nn.Embedding(data.vocabulary_size, d_model)
            nn.init.normal_(table.weight, std=d_model**-0.5)
            nn.init.zeros_(table.weight[SpecialToken.UNKNOWN])
            self.embed: Any = table
        elif self.axis == "features":
            self.embed = FeatureTokens(data, d_model)
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
        x : Tensor of shape (batch, n_features), (batch, n_channels, length) or \
(batch, length)
            Numbers; of texts, codes.
        observed : Tensor of bool, shaped as `x`, optional
            False where a number is missing.
        categories : Tensor of int of shape (batch, n_categorical), optional
            Codes, of a table.
        mask : Tensor of bool of shape (batch, length), optional
            True where a time step or a token of a text is real.

        Returns
        -------
        tokens : Tensor of shape (batch, tokens, d_model)
            One for each column, time step or token of a text; padded ones of texts
            are zero.
        """
        if self.axis == "tokens":
            tokens = self.embed(x)
            return tokens if mask is None else tokens.where(mask[..., None], 0.0)
        if self.axis == "features":
            return self.embed(x, observed, categories)
        return self.embed(x, observed, mask)
