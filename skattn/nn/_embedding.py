"""From the tensors of the contract to tokens of width d_model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skattn._architecture import DataSpec


class FeatureTokens(nn.Module):
    r"""One token for each column of a table.

    A number :math:`x_j` becomes :math:`b_j + x_j w_j`, a category its row of a table,
    as in Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS
    2021, arXiv 2106.11959. A missing number becomes a learned token of its column.

    Parameters
    ----------
    data : DataSpec
        Of a table.
    d_model : int
        Width of a token.

    Examples
    --------
    >>> import torch
    >>> from skattn import DataSpec
    >>> from skattn.nn import FeatureTokens
    >>> data = DataSpec(
    ...     "regression", "table", n_features=2, category_counts=(4,)
    ... )
    >>> tokens = FeatureTokens(data, d_model=8)
    >>> tokens(torch.zeros(5, 2), categories=torch.zeros(5, 1, dtype=int)).shape
    torch.Size([5, 3, 8])
    """

    def __init__(self, data: DataSpec, d_model: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_model)
        self.weight = nn.Parameter(torch.empty(data.n_features, d_model))
        self.bias = nn.Parameter(torch.empty(data.n_features, d_model))
        self.missing = nn.Parameter(torch.zeros(data.n_features, d_model))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        self.tables = nn.ModuleList(
            nn.Embedding(count, d_model) for count in data.category_counts
        )
        for table in self.tables:
            nn.init.uniform_(table.weight, -bound, bound)
            nn.init.zeros_(table.weight[0])  # missing or unknown

    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        categories: Tensor | None = None,
    ) -> Tensor:
        """Embed a batch of rows.

        Parameters
        ----------
        x : Tensor of shape (batch, n_features)
            Numbers, 0 where missing.
        observed : Tensor of bool of shape (batch, n_features), optional
            False where missing.
        categories : Tensor of int of shape (batch, n_categorical), optional
            Codes.

        Returns
        -------
        tokens : Tensor of shape (batch, n_features + n_categorical, d_model)
            Numeric columns first.
        """
        tokens = self.bias + x[..., None] * self.weight
        if observed is not None:
            tokens = torch.where(observed[..., None], tokens, self.missing)
        if categories is None:
            return tokens
        embedded = [
            table(categories[:, number]) for number, table in enumerate(self.tables)
        ]
        return torch.cat([tokens, torch.stack(embedded, dim=1)], dim=1)
