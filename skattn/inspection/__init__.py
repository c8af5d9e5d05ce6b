"""Look at the attention of fitted estimators, measure it, and doubt it."""

from skattn.inspection._record import (
    AttentionRecord,
    attention_weights,
    record_attention,
)

__all__ = ["AttentionRecord", "attention_weights", "record_attention"]
