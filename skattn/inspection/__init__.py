"""Look at the attention of fitted estimators."""

from skattn.inspection._record import AttentionRecord, record_attention

__all__ = ["AttentionRecord", "record_attention"]
