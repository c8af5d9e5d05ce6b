"""Building blocks of attention architectures: torch modules and functions."""

from skattn.nn._attention import (
    MultiheadAttention,
    additive_attention,
    attention,
    masked_softmax,
)
from skattn.nn._block import DecoderBlock, EncoderBlock
from skattn.nn._checks import check_sizes
from skattn.nn._dropout import LeanDropout
from skattn.nn._embedding import FeatureTokens, WordDropout
from skattn.nn._gates import (
    GatedAddNorm,
    GatedResidual,
    GroupedLinear,
    VariableSelection,
    VariableTokens,
)
from skattn.nn._graph import (
    GraphPooling,
    NodeLinear,
    edge_softmax,
    edge_sum,
    first_nodes,
    node_dropout,
    sparse_rows,
    with_self_loops,
)
from skattn.nn._head import ScoreHead
from skattn.nn._interpretable import InterpretableAttention
from skattn.nn._known import KnownTokens
from skattn.nn._patches import (
    HorizonHead,
    PatchTokens,
    PostNormBlock,
    TokenBatchNorm,
    VariateTokens,
    grouped_attention,
)
from skattn.nn._pruning import head_units, keep_inputs, keep_outputs, keep_rows
from skattn.nn._recording import (
    Axis,
    Name,
    Patches,
    Recorded,
    is_recording,
    join_steps,
    record,
    recording,
    rerecording,
)
from skattn.nn._recurrence import StatefulLSTM
from skattn.nn._relative import relative_positions, relative_shift, relative_weights
from skattn.nn._steps import (
    MaskedLSTM,
    StepTokens,
    last_step,
    masked_max,
    masked_mean,
    sinusoidal_positions,
    step_positions,
    take_steps,
)
from skattn.nn._tokens import Tokens
from skattn.nn._vocabulary import (
    TokenEmbedding,
    VocabularyHead,
    translation_maps,
)

__all__ = [
    "Axis",
    "DecoderBlock",
    "EncoderBlock",
    "FeatureTokens",
    "GatedAddNorm",
    "GatedResidual",
    "GraphPooling",
    "GroupedLinear",
    "HorizonHead",
    "InterpretableAttention",
    "KnownTokens",
    "LeanDropout",
    "MaskedLSTM",
    "MultiheadAttention",
    "Name",
    "NodeLinear",
    "PatchTokens",
    "Patches",
    "PostNormBlock",
    "Recorded",
    "ScoreHead",
    "StatefulLSTM",
    "StepTokens",
    "TokenBatchNorm",
    "TokenEmbedding",
    "Tokens",
    "VariableSelection",
    "VariableTokens",
    "VariateTokens",
    "VocabularyHead",
    "WordDropout",
    "additive_attention",
    "attention",
    "check_sizes",
    "edge_softmax",
    "edge_sum",
    "first_nodes",
    "grouped_attention",
    "head_units",
    "is_recording",
    "join_steps",
    "keep_inputs",
    "keep_outputs",
    "keep_rows",
    "last_step",
    "masked_max",
    "masked_mean",
    "masked_softmax",
    "node_dropout",
    "record",
    "recording",
    "relative_positions",
    "relative_shift",
    "relative_weights",
    "rerecording",
    "sinusoidal_positions",
    "sparse_rows",
    "step_positions",
    "take_steps",
    "translation_maps",
    "with_self_loops",
]
