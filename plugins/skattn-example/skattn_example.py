"""Prototype attention: learned points that look for the tokens nearest to them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn import Architecture, Choice, DataSpec, Float, Int
from skattn.nn import (
    ScoreHead,
    Tokens,
    attention,
    sinusoidal_positions,
    step_positions,
)


class PrototypeAttention(Architecture):
    r"""Prototypes in the space of tokens attend to what is near them.

    Each sample is a set of tokens :math:`h_t`, one for each column of a table or each
    step of a series. Each of :math:`K` learned prototypes :math:`p_k` looks at the
    tokens near it, within a learned radius :math:`\rho_k`:

    .. math:: \alpha_{kt} = \mathrm{softmax}_t
              \left(-\frac{\lVert p_k - h_t \rVert^2}{\rho_k^2}\right), \quad
              z_k = \sum_t \alpha_{kt} \, \mathrm{GELU}(V h_t), \quad
              s = W [z_1, \dots, z_K] + b

    So :math:`\alpha_{kt}` tells where in the sample the pattern :math:`p_k` was found.
    It is dot-product attention with one more coordinate, because

    .. math:: -\lVert p - h \rVert^2 = [2p, -1]^\top [h, \lVert h \rVert^2]
              - \lVert p \rVert^2

    and the softmax does not see the last term.

    Parameters
    ----------
    d_model : int, default=32
        Width of a token and of a prototype.
    num_prototypes : int, default=8
        Number of prototypes, :math:`K`.
    dropout : float, default=0.0
        Probability of dropping a unit of :math:`z_k` while training.

    References
    ----------
    Made for skattn, as an example of a plugin; it is not published elsewhere. Learned
    vectors that attend to a set are known from Lee et al., "Set Transformer", ICML
    2019, arXiv 1810.00825, which compares by dot products.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skattn import AttentionClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = AttentionClassifier("prototype_attention", random_state=0).fit(X, y)
    >>> clf.predict(X[:3])
    array([0, 0, 0])
    """

    api_version = 1
    name = "prototype_attention"
    supports = {
        "table": {"classification", "regression"},
        "series": {"classification", "regression", "forecasting"},
    }
    consumes = ("observed", "categories", "mask")
    citation = "The skattn authors, an example of a plugin, skattn-example 0.1 (2026)"
    search_space = {
        "d_model": Choice(16, 32, 64),
        "num_prototypes": Int(2, 32, log=True),
        "dropout": Float(0.0, 0.5),
    }

    def __init__(
        self, d_model: int = 32, num_prototypes: int = 8, dropout: float = 0.0
    ) -> None:
        self.d_model = d_model
        self.num_prototypes = num_prototypes
        self.dropout = dropout

    def build(self, data: DataSpec) -> nn.Module:
        """Build the net for a table or for series.

        Parameters
        ----------
        data : DataSpec
            What the data look like.

        Returns
        -------
        module : torch.nn.Module
            Untrained.
        """
        return _PrototypeAttention(self, data)


class _PrototypeAttention(nn.Module):
    def __init__(self, hyper: PrototypeAttention, data: DataSpec) -> None:
        super().__init__()
        d_model, count = hyper.d_model, hyper.num_prototypes
        self.tokens = Tokens(data, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.prototypes = nn.Parameter(torch.randn(count, d_model))
        # rho^2 = 2 sqrt(d_model): the scores of normed tokens differ by about one.
        self.log_radius = nn.Parameter(torch.full((count,), math.log(4 * d_model) / 4))
        self.value = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(hyper.dropout)
        self.head = ScoreHead(data, count * d_model)

    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        categories: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        h = self.tokens(x, observed, categories, mask)  # (batch, tokens, d_model)
        if self.tokens.axis == "time":
            h = h + sinusoidal_positions(step_positions(h, mask), h.shape[-1])
        h = self.norm(h)
        found = attention(
            self.queries().expand(len(h), 1, -1, -1),
            torch.cat([h, h.square().sum(dim=-1, keepdim=True)], dim=-1)[:, None],
            functional.gelu(self.value(h))[:, None],
            mask=mask,
            layer="prototypes",
            kind="pooling",
            queries="prototype",
            keys=self.tokens.axis,
        )  # (batch, 1, prototypes, d_model)
        return self.head(self.dropout(found.flatten(1)))

    def queries(self) -> Tensor:
        """Write prototypes as queries [2p, -1] / rho^2: (prototypes, d_model + 1)."""
        last = -torch.ones_like(self.log_radius)[:, None]
        queries = torch.cat([2 * self.prototypes, last], dim=1)
        # `attention` divides by the root of the width, which no distance asks for.
        return (
            queries * torch.exp(-2 * self.log_radius)[:, None] * queries.shape[1] ** 0.5
        )
