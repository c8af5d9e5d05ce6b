"""Attention over texts: of words over words, documents, tags, translations."""
