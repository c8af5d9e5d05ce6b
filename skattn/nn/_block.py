"""The blocks of which Transformers are made."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skattn.nn._attention import MultiheadAttention, attention
from skattn.nn._dropout import LeanDropout
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
            LeanDropout(dropout),
            nn.Linear(d_ff, d_model),
        )
        self.dropout = LeanDropout(dropout)

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


class DecoderBlock(nn.Module):
    r"""Pre-norm Transformer decoder block.

    .. math:: a = h + \mathrm{MultiHead}(\mathrm{LN}(h), \mathrm{LN}(h)), \quad
              c = a + \mathrm{MultiHead}(\mathrm{LN}(a), m), \quad
              h' = c + \mathrm{FFN}(\mathrm{LN}(c))

    with the encoder's output :math:`m`. Vaswani et al., NeurIPS 2017, arXiv 1706.03762;
    the place of the norms is that of Xiong et al., ICML 2020, arXiv 2002.04745.
    `forward` transforms all tokens at once; `start` and `step` do it token by token,
    with the keys and values of earlier tokens kept, and give the same where tokens see
    only those before them.

    Parameters
    ----------
    d_model : int
        Width of a token.
    num_heads : int
        Number of heads.
    d_ff : int
        Width of the hidden layer of the feed-forward net.
    dropout : float
        Probability of dropping a unit of any branch.
    layer : str
        Name of the layer in records.
    tokens, memory : str or tuple of str
        What the tokens of the decoder and of the encoder are; see `skattn.nn.record`.
    given : str or tuple of str, optional
        What the decoder's tokens are as keys, where `tokens` names what comes of them.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import DecoderBlock
    >>> block = DecoderBlock(
    ...     8, 2, d_ff=16, dropout=0.0, layer="0", tokens="horizon", memory="time"
    ... )
    >>> h, memory = torch.ones(3, 4, 8), torch.ones(3, 5, 8)
    >>> block(h, memory).shape
    torch.Size([3, 4, 8])
    >>> first, state = block.step(h[:, :1], block.start(memory))
    >>> torch.allclose(first, block(h, memory)[:, :1], atol=1e-6)
    True
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
        memory: Axis,
        given: Axis | None = None,
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(d_model)
        self.attention = _SteppedAttention(
            d_model, num_heads, layer=layer, queries=tokens, keys=given or tokens
        )
        self.norm_cross = nn.LayerNorm(d_model)
        self.cross_attention = _SteppedAttention(
            d_model, num_heads, layer=layer, kind="cross", queries=tokens, keys=memory
        )
        self.norm_feed_forward = nn.LayerNorm(d_model)
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, d_ff),
            nn.ReLU(),
            LeanDropout(dropout),
            nn.Linear(d_ff, d_model),
        )
        self.dropout = LeanDropout(dropout)

    def forward(
        self,
        h: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        causal: bool = True,
    ) -> Tensor:
        """Transform tokens.

        Parameters
        ----------
        h : Tensor of shape (batch, tokens, d_model)
            Tokens.
        memory : Tensor of shape (batch, keys, d_model)
            What the encoder made of its tokens.
        memory_mask : Tensor of bool of shape (batch, keys), optional
            True where a token of the encoder is real.
        causal : bool, default=True
            A token sees only itself and those before it.

        Returns
        -------
        h : Tensor of shape (batch, tokens, d_model)
            Transformed tokens.
        """
        normed = self.norm_attention(h)
        h = h + self.dropout(self.attention(normed, normed, causal=causal))
        attended = self.cross_attention(self.norm_cross(h), memory, memory_mask)
        return self._feed(h + self.dropout(attended))

    def start(self, memory: Tensor) -> tuple[Tensor, ...]:
        """Begin to transform token by token.

        Parameters
        ----------
        memory : Tensor of shape (batch, keys, d_model)
            What the encoder made of its tokens.

        Returns
        -------
        state : tuple of Tensor
            Keys and values of the tokens so far, then of `memory`, each (batch, heads,
            tokens or keys, d_head).
        """
        return (
            *self.attention.project(memory[:, :0]),
            *self.cross_attention.project(memory),
        )

    def step(
        self, h: Tensor, state: tuple[Tensor, ...], memory_mask: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Transform the next token.

        Parameters
        ----------
        h : Tensor of shape (batch, 1, d_model)
            The token.
        state : tuple of Tensor
            As `start` or the last call gave it.
        memory_mask : Tensor of bool of shape (batch, keys), optional
            True where a token of the encoder is real.

        Returns
        -------
        h : Tensor of shape (batch, 1, d_model)
            The transformed token.
        state : tuple of Tensor
            For the next call.
        """
        keys, values, memory_keys, memory_values = state
        normed = self.norm_attention(h)
        key, value = self.attention.project(normed)
        keys, values = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        number = keys.shape[2] - 1
        h = h + self.dropout(self.attention.look_up(normed, keys, values, number))
        attended = self.cross_attention.look_up(
            self.norm_cross(h), memory_keys, memory_values, number, memory_mask
        )
        h = self._feed(h + self.dropout(attended))
        return h, (keys, values, memory_keys, memory_values)

    def _feed(self, h: Tensor) -> Tensor:
        return h + self.dropout(self.feed_forward(self.norm_feed_forward(h)))


class _SteppedAttention(MultiheadAttention):
    """Multi-head attention whose keys and values can be computed once and kept."""

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Compute keys and values, both (batch, heads, keys, d_head)."""
        key, value = self.project_key_value(memory).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def look_up(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        first_query: int,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Let `query` (batch, queries, d_model) attend to projected keys."""
        if not self.num_heads:
            return self.project_out(query[..., :0])
        heads = attention(
            self._split(self.project_query(query)),
            key,
            value,
            mask=mask,
            layer=self.layer,
            kind=self.kind,
            queries=self.queries,
            keys=self.keys,
            output=self.project_out.weight,
            first_query=first_query,
        )  # (batch, heads, queries, d_head)
        return self.project_out(heads.transpose(1, 2).flatten(2))
