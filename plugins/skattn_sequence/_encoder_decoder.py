"""The two halves of a Transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from skattn.nn import DecoderBlock, EncoderBlock, sinusoidal_positions, step_positions

if TYPE_CHECKING:
    from skattn_sequence.transformer import Transformer

# Keys and values of the tokens so far, then of the encoder's, for each block.
States = list[tuple[Tensor, ...]]


def placed(h: Tensor, mask: Tensor | None = None) -> Tensor:
    """Add sinusoidal positions to tokens (batch, tokens, d_model)."""
    return h + sinusoidal_positions(step_positions(h, mask), h.shape[-1])


class Encoder(nn.Module):
    """Blocks of self-attention.

    Parameters
    ----------
    params : Transformer
        Sizes.
    tokens : str
        What the tokens are; see `skattn.nn.record`.
    """

    def __init__(self, params: Transformer, tokens: str) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            EncoderBlock(
                params.d_model,
                params.num_heads,
                d_ff=2 * params.d_model if params.d_ff is None else params.d_ff,
                dropout=params.dropout,
                layer=f"encoder.{number}",
                tokens=tokens,
            )
            for number in range(params.num_layers)
        )
        self.norm = nn.LayerNorm(params.d_model)

    def forward(self, h: Tensor, mask: Tensor | None) -> Tensor:
        """Transform tokens (batch, tokens, d_model)."""
        for block in self.blocks:
            h = block(h, mask)
        return self.norm(h)


class Decoder(nn.Module):
    """Blocks of self-attention and attention to the encoder's output.

    Parameters
    ----------
    params : Transformer
        Sizes.
    tokens, memory : str
        What the tokens of the decoder and of the encoder are.
    given : str, optional
        What the decoder's tokens are as keys; see `skattn.nn.DecoderBlock`.
    """

    def __init__(
        self, params: Transformer, tokens: str, memory: str, given: str | None = None
    ) -> None:
        super().__init__()
        self.blocks: Any = nn.ModuleList(
            DecoderBlock(
                params.d_model,
                params.num_heads,
                d_ff=2 * params.d_model if params.d_ff is None else params.d_ff,
                dropout=params.dropout,
                layer=f"decoder.{number}",
                tokens=tokens,
                memory=memory,
                given=given,
            )
            for number in range(params.num_layers)
        )
        self.norm = nn.LayerNorm(params.d_model)

    def forward(
        self, h: Tensor, memory: Tensor, mask: Tensor | None, causal: bool
    ) -> Tensor:
        """Transform all tokens (batch, tokens, d_model) at once."""
        for block in self.blocks:
            h = block(h, memory, mask, causal)
        return self.norm(h)

    def start(self, memory: Tensor) -> States:
        """Begin to transform token by token."""
        return [block.start(memory) for block in self.blocks]

    def step(
        self, h: Tensor, states: States, mask: Tensor | None
    ) -> tuple[Tensor, States]:
        """Transform the next token (batch, 1, d_model)."""
        following = []
        for block, state in zip(self.blocks, states, strict=True):
            h, state = block.step(h, state, mask)
            following.append(state)
        return self.norm(h), following
