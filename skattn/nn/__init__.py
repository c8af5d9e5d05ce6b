"""Building blocks of attention architectures: torch modules and functions."""

from skattn.nn._attention import (
    MultiheadAttention,
    additive_attention,
    attention,
    masked_softmax,
)
from skattn.nn._block import EncoderBlock
from skattn.nn._embedding import FeatureTokens
from skattn.nn._recording import Recorded, is_recording, record, recording

__all__ = [
    "EncoderBlock",
    "FeatureTokens",
    "MultiheadAttention",
    "Recorded",
    "additive_attention",
    "attention",
    "is_recording",
    "masked_softmax",
    "record",
    "recording",
]
