"""Look at the attention of fitted estimators, measure it, and doubt it."""

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

__all__ = [
    "AttentionRecord",
    "Head",
    "attention_rollout",
    "attention_weights",
    "gradient_rollout",
    "head_importance",
    "last_attention",
    "prune_heads",
    "record_attention",
]
