"""Look at the attention of fitted estimators, measure it, and doubt it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skattn.inspection._display import (
    AttentionDisplay,
    EntropyDisplay,
    FaithfulnessDisplay,
    HeadImportanceDisplay,
)
from skattn.inspection._faithfulness import faithfulness
from skattn.inspection._flow import attention_flow
from skattn.inspection._heads import Head, head_importance, prune_heads
from skattn.inspection._record import (
    AttentionRecord,
    attention_weights,
    record_attention,
)
from skattn.inspection._relevance import (
    attention_rollout,
    gradient_rollout,
    last_attention,
)
from skattn.inspection._sanity import attention_sanity_check
from skattn.inspection._selector import AttentionSelector
from skattn.inspection._statistics import (
    attention_distance,
    attention_entropy,
    attention_sinks,
    head_similarity,
)
from skattn.inspection._transfer import attention_transfer
from skattn.inspection._values import value_weighted_attention, value_zeroing
from skattn.inspection._weights import Layer

if TYPE_CHECKING:
    from skattn.inspection._history import AttentionHistory

__all__ = [
    "AttentionDisplay",
    "AttentionHistory",
    "AttentionRecord",
    "AttentionSelector",
    "EntropyDisplay",
    "FaithfulnessDisplay",
    "Head",
    "HeadImportanceDisplay",
    "Layer",
    "attention_distance",
    "attention_entropy",
    "attention_flow",
    "attention_rollout",
    "attention_sanity_check",
    "attention_sinks",
    "attention_transfer",
    "attention_weights",
    "faithfulness",
    "gradient_rollout",
    "head_importance",
    "head_similarity",
    "last_attention",
    "prune_heads",
    "record_attention",
    "value_weighted_attention",
    "value_zeroing",
]


def __getattr__(name: str) -> Any:
    if name != "AttentionHistory":  # a callback of skorch, which takes long to import
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from skattn.inspection._history import AttentionHistory

    globals()[name] = AttentionHistory
    return AttentionHistory
