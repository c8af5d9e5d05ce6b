"""Columns of a table as tokens, and noise for the tokens of texts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn._architecture import DataSpec, SpecialToken


class FeatureTokens(nn.Module):
    r"""One token for each column of a table.

    A number is written in a piecewise linear code of :math:`B` bins and mapped by
    weights of its own column,

    .. math:: t_j = \mathrm{ReLU}\bigl(b_j + W_j [x_j;\, e_1(x_j); \dots;
              e_{B-1}(x_j)]\bigr), \quad
              e_k(x) = \mathrm{clip}\left(\frac{x - a_k}{a_{k+1} - a_k}, 0, 1\right),

    with bin edges :math:`a_k` at quantiles of the standard normal distribution, to
    which the estimator scales the columns. Gorishniy, Rubachev, Babenko, "On Embeddings
    for Numerical Features in Tabular Deep Learning", NeurIPS 2022, arXiv 2203.05556;
    there the edges are quantiles of the data. A category becomes a row of a table of
    its column, a missing number a token of its column. Row 0 of each table, which
    stands for an unknown or missing category, starts at zero: without training examples
    it adds nothing of its own.

    Parameters
    ----------
    data : DataSpec
        Of a table.
    d_model : int
        Width of a token.
    n_bins : int, default=32
        Bins of the code.

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

    edges: Tensor

    def __init__(self, data: DataSpec, d_model: int, n_bins: int = 32) -> None:
        super().__init__()
        levels = torch.linspace(0.5 / n_bins, 1 - 0.5 / n_bins, n_bins)
        normal = torch.distributions.Normal(0.0, 1.0)
        self.register_buffer("edges", normal.icdf(levels))
        n_features = data.n_features
        self.weight = nn.Parameter(torch.empty(n_features, n_bins, d_model))
        self.bias = nn.Parameter(torch.empty(n_features, d_model))
        self.missing = nn.Parameter(torch.empty(n_features, d_model))
        nn.init.normal_(self.weight, std=n_bins**-0.5)
        nn.init.normal_(self.bias, std=0.1)
        nn.init.normal_(self.missing, std=0.1)
        self.tables = nn.ModuleList()
        for count in data.category_counts:
            table = nn.Embedding(count, d_model)
            nn.init.normal_(table.weight, std=0.3)
            nn.init.zeros_(table.weight[0])
            self.tables.append(table)

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
        number = x[..., None]  # (batch, features, 1)
        pieces = (number - self.edges[:-1]) / (self.edges[1:] - self.edges[:-1])
        code = torch.cat([number, pieces.clamp(0.0, 1.0)], dim=-1)
        # One matrix product for each column: (features, batch, d_model).
        mapped = torch.bmm(code.transpose(0, 1), self.weight)
        tokens = functional.relu(mapped.transpose(0, 1) + self.bias)
        if observed is not None:
            tokens = torch.where(observed[..., None], tokens, self.missing)
        if categories is None:
            return tokens
        embedded = [
            table(categories[:, column]) for column, table in enumerate(self.tables)
        ]
        return torch.cat([tokens, torch.stack(embedded, dim=1)], dim=1)


class WordDropout(nn.Module):
    """Replace tokens of a text by the unknown one while training.

    No single word can then decide alone, and `SpecialToken.UNKNOWN` learns what to say
    of words that the training texts lack. Codes of `SpecialToken` stay: a separator, or
    a word that is to be guessed.

    Parameters
    ----------
    p : float
        Probability of replacing a token.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import WordDropout
    >>> WordDropout(0.5).eval()(torch.tensor([[7, 8, 9]]))
    tensor([[7, 8, 9]])
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, tokens: Tensor) -> Tensor:
        """Replace tokens.

        Parameters
        ----------
        tokens : Tensor of int of shape (batch, length)
            Codes.

        Returns
        -------
        tokens : Tensor of int of shape (batch, length)
            The same tensor in evaluation mode.
        """
        if not self.training or self.p == 0:
            return tokens
        dropped = torch.rand(tokens.shape, device=tokens.device) < self.p
        dropped = dropped & (tokens >= len(SpecialToken))
        return tokens.masked_fill(dropped, int(SpecialToken.UNKNOWN))
