"""Attention over graphs: of nodes over neighbours, of series over related series."""
