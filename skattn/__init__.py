"""Attention models as scikit-learn and sktime estimators.

Importing this package is cheap: a public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skattn import architectures as architectures
    from skattn import datasets as datasets
    from skattn import exceptions as exceptions
    from skattn import inspection as inspection
    from skattn import nn as nn
    from skattn import testing as testing
    from skattn import text as text
    from skattn._architecture import Architecture as Architecture
    from skattn._architecture import DataSpec as DataSpec
    from skattn._architecture import SpecialToken as SpecialToken
    from skattn._backtest import backtest as backtest
    from skattn._classifier import AttentionClassifier as AttentionClassifier
    from skattn._engine._checkpoint import Checkpoint as Checkpoint
    from skattn._forecaster import AttentionForecaster as AttentionForecaster
    from skattn._graph import Graph as Graph
    from skattn._linear_forecaster import LinearForecaster as LinearForecaster
    from skattn._node_classifier import NodeClassifier as NodeClassifier
    from skattn._node_regressor import NodeRegressor as NodeRegressor
    from skattn._panel import (
        AttentionTimeSeriesClassifier as AttentionTimeSeriesClassifier,
    )
    from skattn._panel import (
        AttentionTimeSeriesRegressor as AttentionTimeSeriesRegressor,
    )
    from skattn._pretrained import PretrainedNet as PretrainedNet
    from skattn._pretrained_text import PretrainedTextNet as PretrainedTextNet
    from skattn._registry import get_architecture as get_architecture
    from skattn._registry import list_architectures as list_architectures
    from skattn._registry import register as register
    from skattn._regressor import AttentionRegressor as AttentionRegressor
    from skattn._search import Choice as Choice
    from skattn._search import Float as Float
    from skattn._search import Int as Int
    from skattn._search import search_space as search_space
    from skattn._tagger import AttentionTagger as AttentionTagger
    from skattn._translator import AttentionTranslator as AttentionTranslator
    from skattn.inspection import AttentionSelector as AttentionSelector
    from skattn.inspection import record_attention as record_attention

    __version__: str

# From a public name to the module that defines it; None for a module of its own.
_PUBLIC = {
    "Architecture": "_architecture",
    "AttentionClassifier": "_classifier",
    "AttentionForecaster": "_forecaster",
    "AttentionRegressor": "_regressor",
    "AttentionSelector": "inspection",
    "AttentionTagger": "_tagger",
    "AttentionTimeSeriesClassifier": "_panel",
    "AttentionTimeSeriesRegressor": "_panel",
    "AttentionTranslator": "_translator",
    "Checkpoint": "_engine._checkpoint",
    "Choice": "_search",
    "DataSpec": "_architecture",
    "Float": "_search",
    "Graph": "_graph",
    "Int": "_search",
    "LinearForecaster": "_linear_forecaster",
    "NodeClassifier": "_node_classifier",
    "NodeRegressor": "_node_regressor",
    "PretrainedNet": "_pretrained",
    "PretrainedTextNet": "_pretrained_text",
    "SpecialToken": "_architecture",
    "architectures": None,
    "backtest": "_backtest",
    "datasets": None,
    "exceptions": None,
    "get_architecture": "_registry",
    "inspection": None,
    "list_architectures": "_registry",
    "nn": None,
    "record_attention": "inspection",
    "register": "_registry",
    "search_space": "_search",
    "testing": None,
    "text": None,
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("skattn")
    elif name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    elif (home := _PUBLIC[name]) is None:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC, "__version__"})
