"""Small data sets that ship with skattn."""

from skattn.datasets._penguins import load_penguins

__all__ = ["load_penguins"]
