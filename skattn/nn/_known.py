"""Covariates that are known in advance, as tokens of time steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skattn._architecture import DataSpec


class KnownTokens(nn.Module):
    """One token for each step of a window and of its future, from what is known there.

    A linear map of the numeric covariates, plus an embedding of each categorical one.
    Row 0 of each table, which stands for an unknown category, starts at zero.

    Parameters
    ----------
    data : DataSpec
        Of a forecast, with or without known covariates.
    d_model : int
        Width of a token.

    Examples
    --------
    >>> import torch
    >>> from skattn import DataSpec
    >>> from skattn.nn import KnownTokens
    >>> data = DataSpec("forecasting", "series", length=7, horizon=3, n_known=2)
    >>> tokens = KnownTokens(data, d_model=8)(torch.zeros(5, 2, 10))
    >>> window, future = tokens[:, :7], tokens[:, 7:]
    >>> future.shape
    torch.Size([5, 3, 8])
    """

    nothing: Tensor

    def __init__(self, data: DataSpec, d_model: int) -> None:
        super().__init__()
        self.numbers = nn.Linear(data.n_known, d_model) if data.n_known else None
        self.tables = nn.ModuleList()
        for count in data.known_category_counts:
            table = nn.Embedding(count, d_model)
            nn.init.normal_(table.weight, std=0.3)
            nn.init.zeros_(table.weight[0])
            self.tables.append(table)
        nothing = torch.zeros(1, data.length + data.horizon, d_model)
        self.register_buffer("nothing", nothing, persistent=False)

    def forward(
        self, known: Tensor | None = None, known_categories: Tensor | None = None
    ) -> Tensor:
        """Embed what is known of a batch of windows.

        Parameters
        ----------
        known : Tensor of shape (batch, n_known, length + horizon), optional
            Numbers.
        known_categories : Tensor of int of shape (batch, k, length + horizon), optional
            Codes.

        Returns
        -------
        tokens : Tensor of shape (batch, length + horizon, d_model)
            Without any covariate zeros, of batch size 1.
        """
        tokens = self.nothing
        if self.numbers is not None and known is not None:
            tokens = tokens + self.numbers(known.transpose(1, 2))
        if known_categories is not None:
            for column, table in enumerate(self.tables):
                tokens = tokens + table(known_categories[:, column])
        return tokens
