"""The block of which Transformer encoders are made."""

from __future__ import annotations

from torch import Tensor, nn

from skattn.nn._attention import MultiheadAttention
from skattn.nn._recording import Axis


class EncoderBlock(nn.Module):
    r"""Pre-norm Transformer encoder block.

    .. math:: h' = h + \mathrm{MultiHead}(\mathrm{LN}(h)), \quad
              h'' = h' + \mathrm{FFN}(\mathrm{LN}(h'))

    Vaswani et al., NeurIPS 2017, arXiv 1706.03762; the place of the norm is that of
    Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020,
    arXiv 2002.04745.

    Parameters
    ----------
    d_model : int
        Width of a token.
    num_heads : int
        Number of heads.
    d_ff : int
        Width of the hidden layer of the feed-forward net.
    dropout : float
        Probability of dropping a unit of either branch.
    layer : str
        Name of the layer in records.
    tokens : str or tuple of str
        What the tokens are; see `skattn.nn.record`.
    queries : str or tuple of str, optional
        What the first tokens are, where only these are transformed.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import EncoderBlock
    >>> block = EncoderBlock(8, 2, d_ff=16, dropout=0.0, layer="0", tokens="time")
    >>> block(torch.ones(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        d_ff: int,
        dropout: float,
        layer: str,
        tokens: Axis,
        queries: Axis | None = None,
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(d_model)
        self.attention = MultiheadAttention(
            d_model, num_heads, layer=layer, queries=queries or tokens, keys=tokens
        )
        self.norm_feed_forward = nn.LayerNorm(d_model)
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, d_ff),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(d_ff, d_model),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        h: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        n_queries: int | None = None,
    ) -> Tensor:
        """Transform tokens.

        Parameters
        ----------
        h : Tensor of shape (batch, tokens, d_model)
            Tokens.
        mask : Tensor of bool of shape (batch, tokens), optional
            True where a token is real.
        causal : bool, default=False
            A token sees only itself and those before it.
        n_queries : int, optional
            Transform only so many first tokens; all are attended to.

        Returns
        -------
        h : Tensor of shape (batch, tokens or n_queries, d_model)
            Transformed tokens.
        """
        normed = self.norm_attention(h)
        attended = self.attention(normed[:, :n_queries], normed, mask, causal)
        h = h[:, :n_queries] + self.dropout(attended)
        return h + self.dropout(self.feed_forward(self.norm_feed_forward(h)))
