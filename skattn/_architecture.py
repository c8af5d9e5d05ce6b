"""The contract of a plugin: what an architecture declares and what it builds."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.base import BaseEstimator

from skattn._search import Choice, Float, Int
from skattn.exceptions import PluginError, PluginWarning

if TYPE_CHECKING:
    from torch import nn

API_VERSION = 1

INPUTS = ("table", "series", "tokens", "pair", "image", "graph", "nodes")

TASKS = (
    "classification",
    "regression",
    "forecasting",
    "tagging",
    "translation",
    "token_prediction",
)

# Optional tensors of `forward`, and the inputs for which the engine offers them.
OPTIONAL_TENSORS: Mapping[str, frozenset[str]] = {
    "observed": frozenset({"table", "series"}),
    "categories": frozenset({"table"}),
    "mask": frozenset({"series", "tokens", "pair"}),
    "known": frozenset({"series"}),
    "known_categories": frozenset({"series"}),
    "static": frozenset({"series"}),
    "static_categories": frozenset({"series"}),
    "series_id": frozenset({"series"}),
    "loc": frozenset({"series"}),
    "scale": frozenset({"series"}),
    "target": frozenset({"series"}),
    "other_mask": frozenset({"pair"}),
    "characters": frozenset({"tokens"}),
    "segments": frozenset({"tokens"}),
    "target_tokens": frozenset({"tokens"}),
    "target_mask": frozenset({"tokens"}),
    "edge_attr": frozenset({"graph", "nodes"}),
    "batch": frozenset({"graph"}),
}


class SpecialToken(IntEnum):
    """Codes that mean the same in every vocabulary.

    Attributes
    ----------
    PADDING : int
        0, behind the end of a text.
    UNKNOWN : int
        1, for what the vocabulary lacks.
    START, END : int
        2 and 3, around a translation.
    SEPARATOR : int
        4, at the end of each turn of a dialogue.
    MASKED : int
        5, in place of a token that a net has to guess in pretraining.

    Examples
    --------
    >>> from skattn import SpecialToken
    >>> int(SpecialToken.UNKNOWN)
    1
    """

    PADDING = 0
    UNKNOWN = 1
    START = 2
    END = 3
    SEPARATOR = 4
    MASKED = 5


@dataclass(frozen=True)
class DataSpec:
    """What the data look like, as far as an architecture needs to know.

    The engine fills it in from the training data, from `Architecture.supports` and
    from `Architecture.consumes`, and hands it to `Architecture.build`.

    Parameters
    ----------
    task : str
        ``"classification"``, ``"regression"``, ``"forecasting"``, ``"tagging"``,
        ``"translation"`` or ``"token_prediction"``.
    input : str
        ``"table"``, ``"series"``, ``"tokens"``, ``"pair"``, ``"image"``,
        ``"graph"`` or ``"nodes"``.
    n_outputs : int
        Scores for each sample; of a forecast, for each step and parameter (1).
    n_parameters : int
        Parameters of the predicted distribution, or quantiles, for each target. Where
        it is above 1, a forecast has one more axis.
    n_features : int
        Numeric columns of a table, or features of a node.
    category_counts : tuple of int
        For each categorical column of a table, the number of codes, code 0 (missing
        or unknown) included.
    n_channels : int
        Channels of a series or of an image. When forecasting: targets, then past
        covariates.
    channel_names : tuple of str
        Their names.
    n_targets : int
        The first so many channels are forecast.
    length : int
        Time steps of the longest training series, or of a forecasting window; tokens
        of the longest training text.
    horizon : int
        Time steps to forecast.
    vocabulary_size, target_vocabulary_size : int
        Numbers of different tokens, those of `SpecialToken` included.
    shared_vocabulary : bool
        Whether source and target of a translation are of one vocabulary.
    character_vocabulary_size : int
        Codes of characters: 0 where a word has ended, 1 for an unknown one.
    n_known : int
        Numeric covariates known in the future.
    known_category_counts : tuple of int
        Codes of each categorical covariate known in the future.
    known_names : tuple of str
        Names of both, the numeric ones first; perhaps empty.
    n_static : int
        Numeric covariates that are constant over a series.
    static_category_counts : tuple of int
        Codes of each categorical static covariate.
    static_names : tuple of str
        Names of both, the numeric ones first; perhaps empty.
    n_series : int
        Codes of the series' identifiers, code 0 (unknown) included.
    image_size : tuple of int
        Height and width in pixels.
    n_edge_features : int
        Features of an edge.
    """

    task: str
    input: str
    n_outputs: int = 1
    n_parameters: int = 1
    n_features: int = 0
    category_counts: tuple[int, ...] = ()
    n_channels: int = 0
    channel_names: tuple[str, ...] = ()
    n_targets: int = 0
    length: int = 0
    horizon: int = 0
    vocabulary_size: int = 0
    target_vocabulary_size: int = 0
    shared_vocabulary: bool = False
    character_vocabulary_size: int = 0
    n_known: int = 0
    known_category_counts: tuple[int, ...] = ()
    known_names: tuple[str, ...] = ()
    n_static: int = 0
    static_category_counts: tuple[int, ...] = ()
    static_names: tuple[str, ...] = ()
    n_series: int = 0
    image_size: tuple[int, ...] = ()
    n_edge_features: int = 0


class Architecture(BaseEstimator, ABC):
    """Base class of every attention architecture: a parameter object that builds nets.

    A subclass names its hyper-parameters in its constructor, each with a default, and
    builds an untrained `torch.nn.Module` for given data. It owns neither loss nor
    scaling, seeding, device, batching or early stopping: these are the estimator's.

    Attributes
    ----------
    api_version : int
        The version of this contract that the class was written for: 1.
    name : str
        The name it is registered under, equal to its entry point's name.
    supports : mapping of str to collection of str
        From kind of input to the tasks that it serves there, for instance
        ``{"table": {"classification"}, "series": {"forecasting"}}``.
    consumes : collection of str
        Optional tensors that the module's ``forward`` takes beyond the main one.
    causal : bool
        Whether, in ``token_prediction``, the scores of a position depend only on the
        tokens up to it. Such an architecture is pretrained to predict the next token,
        another to guess masked ones.
    past_covariates : bool
        Whether a forecast uses channels of ``x`` beyond the targets; where it is
        False, the estimator refuses covariates of the past.
    citation : str
        Authors, title, venue, year, arXiv id.
    search_space : mapping of str to Int, Float or Choice
        Hyper-parameters worth searching, with their ranges.

    Notes
    -----
    The module's ``forward`` takes these tensors, by name:

    ================== ============================================ =================
    input              main                                         optional
    ================== ============================================ =================
    table              ``x`` (batch, n_features)                    observed,
                                                                    categories
    series             ``x`` (batch, n_channels, length)            mask, observed
    series, forecast   ``x``: targets first, then past covariates   mask, observed,
                                                                    known, static, ...
    tokens             ``tokens`` (batch, length)                   mask, characters,
                                                                    segments
    tokens, translate  ``tokens``                                   mask,
                                                                    target_tokens,
                                                                    target_mask
    pair               ``tokens``, ``other_tokens``                 mask, other_mask
    nodes              ``x`` (nodes, n_features), dense or sparse,  edge_attr
                       ``edge_index`` (2, edges)
    graph              as nodes, of all graphs of a batch           edge_attr, batch
    ================== ============================================ =================

    and returns raw scores (batch, n_outputs); when forecasting, (batch, n_targets,
    horizon), with a last axis of length ``n_parameters`` where that is above 1; the
    first of these parameters is the location of the forecast, in the units of ``x``.
    Nodes have scores (nodes, n_outputs), tags and predicted tokens (batch, length,
    n_outputs), translations (batch, target length, target_vocabulary_size): at each
    position, of the token after it. Texts are padded on the right with
    ``SpecialToken.PADDING``; ``characters`` (batch, length, word length) holds the
    characters of each word, ``segments`` (batch, length) the number of the sentence or
    turn that a token is in, and ``target_tokens`` (batch, target length) begins with
    ``SpecialToken.START``.

    A module may expose its last learned map as ``head``. One for nodes may expose
    ``layers``, each of them called as ``layer(x, edge_index, edge_attr, n_targets)``,
    whose outcome one after another is ``forward``; only then can it be trained on
    sampled neighbourhoods, and on tables. One for translation has ``start(tokens,
    mask=None)``, which returns a state, ``step(target_tokens, state)``, which takes one
    token (batch,) and returns scores (batch, target_vocabulary_size) and the next
    state, and ``reorder(state, index)``, which keeps these rows of a state, perhaps
    some of them repeatedly; one step after another they give what ``forward`` gives.

    Examples
    --------
    >>> import skattn
    >>> SelfAttention = skattn.get_architecture("self_attention")
    >>> SelfAttention(num_heads=2)
    SelfAttention(num_heads=2)
    """

    api_version: ClassVar[int]
    name: ClassVar[str]
    supports: ClassVar[Mapping[str, Collection[str]]]
    consumes: ClassVar[Collection[str]] = ()
    causal: ClassVar[bool] = False
    past_covariates: ClassVar[bool] = True
    citation: ClassVar[str]
    search_space: ClassVar[Mapping[str, Int | Float | Choice]] = {}

    @abstractmethod
    def build(self, data: DataSpec) -> nn.Module:
        """Build an untrained module for data of this shape.

        Parameters
        ----------
        data : DataSpec
            What the data look like.

        Returns
        -------
        module : torch.nn.Module
            Its ``forward`` returns raw scores, never probabilities.
        """

    def __reduce_ex__(self, protocol: Any) -> Any:
        from skattn._registry import origin_of

        origin = origin_of(type(self))
        if origin is None:
            return super().__reduce_ex__(protocol)
        origin_arguments = (origin.distribution, origin.version, origin.value)
        return _restore, origin_arguments, self.__getstate__()


def serves(
    architecture: Architecture | type[Architecture], task: str, input: str
) -> bool:
    """Tell whether an architecture can do a task on a kind of input.

    Parameters
    ----------
    architecture : Architecture or type
        Whose class keeps the contract.
    task, input : str
        See `Architecture.supports`.

    Returns
    -------
    serves : bool
        Beyond what `Architecture.supports` says, an architecture for nodes serves
        tables: the engine joins each row to its nearest training rows.
    """
    if task in architecture.supports.get(input, ()):
        return True
    return input == "table" and task in architecture.supports.get("nodes", ())


def served_tasks(
    architecture: Architecture | type[Architecture],
) -> dict[str, list[str]]:
    """List what an architecture serves.

    Parameters
    ----------
    architecture : Architecture or type
        Whose class keeps the contract.

    Returns
    -------
    tasks : dict of str to list of str
        From each kind of input to its tasks; see `serves`.
    """
    found = {
        kind: sorted(task for task in TASKS if serves(architecture, task, kind))
        for kind in INPUTS
    }
    return {kind: tasks for kind, tasks in found.items() if tasks}


def _restore(distribution: str, version: str, value: str) -> Architecture:
    """Make an empty instance of a pickled architecture, or say which plugin it needs.

    Parameters
    ----------
    distribution, version : str
        The installed package that offered the class when it was pickled.
    value : str
        The entry point's value, ``"module:Class"``.
    """
    from skattn._registry import import_value, installed_version

    try:
        found = import_value(value)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"This pickle holds the architecture {value!r} of the distribution "
            f"{distribution!r} {version}, which cannot be loaded here "
            f"({type(error).__name__}: {error}). "
            f"Install it, for instance with: pip install '{distribution}=={version}'"
        ) from error
    present = installed_version(distribution)
    if present not in (None, version):
        warnings.warn(
            f"The architecture {value!r} was pickled with {distribution} {version} "
            f"and is loaded with {present}: its weights may not fit any more.",
            PluginWarning,
            stacklevel=2,
        )
    return found.__new__(found)
