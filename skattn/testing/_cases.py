"""What the checks feed to modules: synthetic tensors after the contract's table."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skattn._architecture import (
    INPUTS,
    OPTIONAL_TENSORS,
    TASKS,
    DataSpec,
    SpecialToken,
)
from skattn._contract import ONLY_TASKS

Inputs = dict[str, Tensor]

# Each mask, and what it covers: the positions of a text or a series.
COVERED = {
    "mask": ("x", "observed", "tokens", "characters", "segments"),
    "other_mask": ("other_tokens",),
    "target_mask": ("target_tokens",),
}

# The engine leaves these out where they would hold nothing.
DROPPABLE = ("mask", "observed", "other_mask", "target_mask", "segments")

MAIN_TENSORS = {
    "table": ("x",),
    "series": ("x",),
    "tokens": ("tokens",),
    "pair": ("tokens", "other_tokens"),
    "image": ("x",),
    "graph": ("x", "edge_index"),
    "nodes": ("x", "edge_index"),
}

_ONLY_FORECASTING = {
    "known",
    "known_categories",
    "static",
    "static_categories",
    "series_id",
    "loc",
    "scale",
    "target",
}

GRAPHS = ("graph", "nodes")
TEXTS = ("tokens", "pair")

_WORD_LENGTH = 4

# Nodes of the graphs of a batch, over and over. With gaps the second has one node.
_SIZES = (5, 3, 4, 2, 7)


@dataclass(frozen=True)
class Case:
    """One input and one task of an architecture, with data to try it on.

    Parameters
    ----------
    input, task : str
        As in `Architecture.supports`.
    consumes : frozenset of str
        Those of the architecture's optional tensors that come with this input and task.
    typical : DataSpec
        Several channels or columns, several outputs, all that is consumed present.
    extremes : tuple of DataSpec
        Small, narrow and plain data.
    causal : bool
        Whether a position of a text may see only those before it and itself.
    """

    input: str
    task: str
    consumes: frozenset[str]
    typical: DataSpec
    extremes: tuple[DataSpec, ...]
    causal: bool = False

    def __str__(self) -> str:
        return f"{self.input}-{self.task}"

    @property
    def left_padded(self) -> bool:
        """Whether padding comes first, as in forecasting windows."""
        return self.task == "forecasting"

    def inputs(
        self,
        data: DataSpec | None = None,
        *,
        n: int = 6,
        gaps: bool = True,
        seed: int = 0,
    ) -> Inputs:
        """Draw a batch.

        Parameters
        ----------
        data : DataSpec, optional
            Of which shape; by default `typical`.
        n : int, default=6
            Samples; graphs, or nodes of one graph.
        gaps : bool, default=True
            With padding and missing values, where consumed. Without, ``mask`` and
            ``observed`` are left out, as the engine does. In graphs: with self-loops,
            a node without edges, and a graph of one node. In texts: one of them empty.
        seed : int, default=0
            Of the values.

        Returns
        -------
        inputs : dict of str to Tensor
            Arguments of ``forward``.
        """
        data = self.typical if data is None else data
        return draw_inputs(data, self.consumes, n=n, gaps=gaps, seed=seed)


def cases_of(architecture: Any) -> Iterator[Case]:
    """List what an architecture supports, in the contract's order.

    Parameters
    ----------
    architecture : Architecture
        Whose class keeps the contract.

    Yields
    ------
    case : Case
        One for each input and task.
    """
    for kind in INPUTS:
        for task in TASKS:
            if task in architecture.supports.get(kind, ()):
                consumes = offered(architecture.consumes, kind, task)
                specs = _specs(kind, task, consumes, architecture.past_covariates)
                typical, *extremes = specs
                causal = task == "token_prediction" and architecture.causal
                yield Case(kind, task, consumes, typical, tuple(extremes), causal)


def offered(consumes: Collection[str], kind: str, task: str) -> frozenset[str]:
    """Select the optional tensors that come with an input and a task.

    Parameters
    ----------
    consumes : collection of str
        All optional tensors of an architecture.
    kind, task : str
        Input and task.

    Returns
    -------
    names : frozenset of str
        A part of `consumes`.
    """
    names = {name for name in consumes if kind in OPTIONAL_TENSORS[name]}
    if task != "forecasting":
        names -= _ONLY_FORECASTING
    return frozenset(name for name in names if task in ONLY_TASKS.get(name, {task}))


def _specs(
    kind: str, task: str, consumes: frozenset[str], past_covariates: bool
) -> list[DataSpec]:
    """Describe typical data first, then extreme ones."""

    def spec(**fields: Any) -> DataSpec:
        return DataSpec(task=task, input=kind, **fields)

    if kind == "table":
        if "categories" not in consumes:
            return [spec(n_features=4, n_outputs=3), spec(n_features=1)]
        return [
            spec(n_features=4, category_counts=(4, 3), n_outputs=3),
            spec(n_features=1),
            spec(category_counts=(3,), n_outputs=3),
        ]
    if kind == "series" and task == "forecasting":
        channels = _channels(3 if past_covariates else 2)
        return [
            spec(**channels, n_targets=2, length=12, horizon=5, **_extra(consumes)),
            spec(**_channels(1), n_targets=1, length=6, horizon=1, n_parameters=3),
            spec(**_channels(2), n_targets=2, length=1, horizon=3),
        ]
    if kind == "series":
        return [
            spec(**_channels(3), length=12, n_outputs=3),
            spec(**_channels(1), length=5),
            spec(**_channels(2), length=1, n_outputs=2),
        ]
    if kind == "image":
        return [
            spec(n_channels=3, image_size=(16, 16), n_outputs=3),
            spec(n_channels=1, image_size=(8, 8)),
        ]
    if kind in {"graph", "nodes"}:
        edges = 2 if "edge_attr" in consumes else 0
        return [
            spec(n_features=4, n_edge_features=edges, n_outputs=3),
            spec(n_features=1),
        ]
    words: dict[str, Any] = {"vocabulary_size": 11}
    letters = {"character_vocabulary_size": 6} if "characters" in consumes else {}
    if task == "translation":
        both = {**words, "target_vocabulary_size": 11, "shared_vocabulary": True}
        return [
            spec(length=7, n_outputs=9, target_vocabulary_size=9, **words),
            spec(length=1, n_outputs=11, **both),
        ]
    n_outputs = 11 if task == "token_prediction" else 0
    return [
        spec(length=7, n_outputs=n_outputs or 3, **words, **letters),
        spec(length=1, n_outputs=n_outputs or 1, **words),
    ]


def _channels(count: int) -> dict[str, Any]:
    return {
        "n_channels": count,
        "channel_names": tuple(f"channel {number}" for number in range(count)),
    }


def _extra(consumes: frozenset[str]) -> dict[str, Any]:
    """Covariates of a forecast, as far as they are consumed."""
    fields: dict[str, tuple[str, Any]] = {
        "known": ("n_known", 2),
        "known_categories": ("known_category_counts", (4,)),
        "static": ("n_static", 2),
        "static_categories": ("static_category_counts", (3,)),
        "series_id": ("n_series", 5),
    }
    return {field: value for name, (field, value) in fields.items() if name in consumes}


def draw_inputs(
    data: DataSpec, consumes: Collection[str], *, n: int, gaps: bool, seed: int
) -> Inputs:
    """Draw the tensors of a batch.

    Parameters
    ----------
    data : DataSpec
        Of which shape.
    consumes : collection of str
        Optional tensors to draw.
    n : int
        Samples; graphs, or nodes of one graph.
    gaps : bool
        With padding and missing values, or with what is rare in graphs.
    seed : int
        Of the values.

    Returns
    -------
    inputs : dict of str to Tensor
        Arguments of ``forward``; ``target`` is never among them.
    """
    holes = frozenset(consumes if gaps else ())
    drawn = _Draw(torch.Generator().manual_seed(seed), data, n, gaps, holes)
    tensors = getattr(drawn, data.input)()
    main = MAIN_TENSORS[data.input]
    return {
        name: tensor
        for name, tensor in tensors.items()
        if tensor is not None and (name in main or name in consumes)
    }


class _Draw:
    """Draws the tensors of one input; each method is named after it."""

    def __init__(
        self,
        generator: torch.Generator,
        data: DataSpec,
        n: int,
        gaps: bool,
        holes: frozenset[str],
    ) -> None:
        self.generator = generator
        self.data = data
        self.n = n
        self.gaps = gaps
        self.holes = holes  # which of `DROPPABLE` hold something

    def table(self) -> dict[str, Tensor | None]:
        x = self._numbers(self.n, self.data.n_features)
        observed = self._observed(x)
        return {
            "x": x if observed is None else x * observed,
            "observed": observed,
            "categories": self._codes(self.data.category_counts),
        }

    def series(self) -> dict[str, Tensor | None]:
        data = self.data
        x = self._numbers(self.n, data.n_channels, data.length)
        mask = self._mask("mask", data.length)
        observed = self._observed(x)
        if observed is not None and mask is not None:
            observed = observed & mask[:, None]
        for present in (observed, None if mask is None else mask[:, None]):
            if present is not None:
                x = x * present
        steps = data.length + data.horizon
        return {
            "x": x,
            "mask": mask,
            "observed": observed,
            "known": self._numbers(self.n, data.n_known, steps)
            if data.n_known
            else None,
            "known_categories": self._codes(data.known_category_counts, steps),
            "static": self._numbers(self.n, data.n_static) if data.n_static else None,
            "static_categories": self._codes(data.static_category_counts),
            "series_id": self._integers(data.n_series, self.n)
            if data.n_series
            else None,
            "loc": self._numbers(self.n, data.n_channels),
            "scale": self._numbers(self.n, data.n_channels).exp(),
        }

    def tokens(self) -> dict[str, Tensor | None]:
        data = self.data
        mask = self._mask("mask", data.length)
        tokens: dict[str, Tensor | None] = {
            "tokens": self._words(data.vocabulary_size, mask, data.length),
            "mask": mask,
            "characters": self._characters(mask),
            "segments": self._segments(mask),
        }
        if data.task == "translation":
            length = data.length + 1
            mask = self._mask("target_mask", length)
            target = self._words(data.target_vocabulary_size, mask, length)
            target[:, 0] = SpecialToken.START
            tokens |= {"target_tokens": target, "target_mask": mask}
        return tokens

    def pair(self) -> dict[str, Tensor | None]:
        length, n_words = self.data.length, self.data.vocabulary_size
        mask = self._mask("mask", length)
        other = self._mask("other_mask", length + 1)
        return {
            "tokens": self._words(n_words, mask, length),
            "mask": mask,
            "other_tokens": self._words(n_words, other, length + 1),
            "other_mask": other,
        }

    def image(self) -> dict[str, Tensor | None]:
        return {"x": self._numbers(self.n, self.data.n_channels, *self.data.image_size)}

    def graph(self) -> dict[str, Tensor | None]:
        sizes = [_SIZES[number % len(_SIZES)] for number in range(self.n)]
        if self.gaps:
            sizes[1:2] = [1]
        batch = torch.arange(self.n).repeat_interleave(torch.tensor(sizes))
        firsts = [sum(sizes[:number]) for number in range(self.n)]
        edges = [first + self._edges(n) for first, n in zip(firsts, sizes, strict=True)]
        return {**self._features(torch.cat(edges, dim=1), len(batch)), "batch": batch}

    def nodes(self) -> dict[str, Tensor | None]:
        return self._features(self._edges(self.n), self.n)

    def _edges(self, n_nodes: int) -> Tensor:
        """Join each node to the two before it, so that no path leads back.

        With gaps the nodes in the middle and at the end are joined to themselves, and
        the one before the last to nobody.
        """
        lonely = n_nodes - 2 if self.gaps and n_nodes > 3 else -1
        looped = {n_nodes // 2, n_nodes - 1} if self.gaps and n_nodes > 1 else set()
        pairs = [
            (source, target)
            for target in range(n_nodes)
            for source in range(max(target - 2, 0), target + 1)
            if (source != target or target in looped) and lonely not in (source, target)
        ]
        return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T.contiguous()

    def _features(self, edge_index: Tensor, n_nodes: int) -> dict[str, Tensor | None]:
        n_features = self.data.n_edge_features
        return {
            "x": self._numbers(n_nodes, self.data.n_features),
            "edge_index": edge_index,
            "edge_attr": self._numbers(edge_index.shape[1], n_features)
            if n_features
            else None,
        }

    def _numbers(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def _integers(self, count: int, *shape: int) -> Tensor:
        return torch.randint(count, shape, generator=self.generator)

    def _words(self, count: int, mask: Tensor | None, length: int) -> Tensor:
        """Draw tokens, of all codes but that of padding, which follows them."""
        words = self._integers(count - 1, self.n, length) + 1
        return words if mask is None else words * mask

    def _characters(self, mask: Tensor | None) -> Tensor | None:
        """Draw the letters of each word (n, length, word length), one or several."""
        count = self.data.character_vocabulary_size
        if not count:
            return None
        shape = (self.n, self.data.length, _WORD_LENGTH)
        ends = self._integers(_WORD_LENGTH, *shape[:2], 1) + 1
        letters = self._integers(count - 1, *shape) + 1
        letters = letters * (torch.arange(_WORD_LENGTH) < ends)
        return letters if mask is None else letters * mask[..., None]

    def _segments(self, mask: Tensor | None) -> Tensor:
        """Begin a sentence at some tokens; only the last sample has a single one."""
        begins = self._integers(3, self.n, self.data.length) == 0
        begins[:, self.data.length // 2] = True
        begins[1:][-1:] = False
        begins[:, 0] = False
        numbers = begins.cumsum(dim=1)
        return numbers if mask is None else numbers * mask

    def _codes(self, counts: tuple[int, ...], *steps: int) -> Tensor | None:
        if not counts:
            return None
        columns = [self._integers(count, self.n, *steps) for count in counts]
        return torch.stack(columns, dim=1)

    def _mask(self, name: str, length: int) -> Tensor | None:
        """Mask (n, length); the first sample is whole, the second has one step.

        The third of texts has none, but to be translated into.
        """
        if name not in self.holes:
            return None
        lengths = self._integers(length, self.n) + 1
        lengths[0] = length
        lengths[1:2] = 1
        if self.data.input in TEXTS and name != "target_mask":
            lengths[2:3] = 0
        mask = torch.arange(length) < lengths[:, None]
        return mask.flip(1) if self.data.task == "forecasting" else mask

    def _observed(self, x: Tensor) -> Tensor | None:
        """Tell what is there; of the first sample everything, of the third nothing."""
        if "observed" not in self.holes:
            return None
        observed = torch.rand(x.shape, generator=self.generator) > 0.3
        observed[0] = True
        observed[2:3] = False
        return observed


def expected_shape(data: DataSpec, inputs: Inputs) -> tuple[int, ...]:
    """Return the shape that the contract asks of the scores.

    Parameters
    ----------
    data : DataSpec
        What the module was built for.
    inputs : dict of str to Tensor
        What it was given.

    Returns
    -------
    shape : tuple of int
        Of the scores.
    """
    main = inputs[MAIN_TENSORS[data.input][0]]
    n = main.shape[0]
    if data.input == "graph":
        n = int(inputs["batch"][-1]) + 1 if "batch" in inputs else 1
    if data.task == "forecasting":
        steps = (n, data.n_targets, data.horizon)
        return steps if data.n_parameters == 1 else (*steps, data.n_parameters)
    if data.task == "translation":
        return (*inputs["target_tokens"].shape, data.target_vocabulary_size)
    if data.task in {"tagging", "token_prediction"}:
        return (*main.shape[:2], data.n_outputs)
    return (n, data.n_outputs)
