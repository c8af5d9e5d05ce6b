from __future__ import annotations

from torch import nn

from skattn import Architecture, Choice
from skattn.nn import EncoderBlock, FeatureTokens


class SelfAttention(Architecture):
    api_version = 1
    name = "self_attention"
    supports = {"table": {"classification", "regression"}}
    consumes = ("observed", "categories")
    citation = "x"
    search_space = {"num_heads": Choice(1, 2, 4, 8)}

    def __init__(self, d_model=32, num_heads=4, num_layers=2, dropout=0.0):
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.dropout = dropout

    def build(self, data):
        return M(self, data)


class M(nn.Module):
    def __init__(self, a, data):
        super().__init__()
        self.tokens = FeatureTokens(data, a.d_model)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                a.d_model,
                a.num_heads,
                d_ff=2 * a.d_model,
                dropout=a.dropout,
                layer=str(i),
                tokens="features",
            )
            for i in range(a.num_layers)
        )
        self.norm = nn.LayerNorm(a.d_model)
        self.head = nn.Linear(a.d_model, data.n_outputs)

    def forward(self, x, observed=None, categories=None):
        h = self.tokens(x, observed, categories)
        for b in self.blocks:
            h = b(h)
        return self.head(self.norm(h).mean(1))
