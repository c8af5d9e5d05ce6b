"""Attention over sequences: features of a row, steps of a series, tokens of a text."""
