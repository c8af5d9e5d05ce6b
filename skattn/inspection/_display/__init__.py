"""Displays of attention and of what was measured of it, drawn with matplotlib."""

from skattn.inspection._display._attention import AttentionDisplay
from skattn.inspection._display._measures import (
    EntropyDisplay,
    FaithfulnessDisplay,
    HeadImportanceDisplay,
)

__all__ = [
    "AttentionDisplay",
    "EntropyDisplay",
    "FaithfulnessDisplay",
    "HeadImportanceDisplay",
]
