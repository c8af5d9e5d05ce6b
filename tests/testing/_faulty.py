"""Sound little architectures, and copies of them with one fault each."""

import math
import os

import numpy as np
import torch
from torch import nn

from skattn import Architecture, Choice, Float
from skattn.nn import (
    NodeLinear,
    Patches,
    ScoreHead,
    Tokens,
    edge_softmax,
    first_nodes,
    is_recording,
    masked_softmax,
    record,
    sinusoidal_positions,
    step_positions,
)


class SoundNet(nn.Module):
    """Tokens, weighed by one learned query, and a head."""

    def __init__(self, hyper, data):
        super().__init__()
        self.tokens = Tokens(data, hyper.d_model)
        self.query = nn.Parameter(torch.randn(hyper.d_model))
        self.dropout = nn.Dropout(hyper.dropout)
        self.head = ScoreHead(data, hyper.d_model)

    def forward(self, x, observed=None, categories=None, mask=None):
        return self.score(self.embed(x, observed, categories, mask), mask)

    def embed(self, x, observed, categories, mask):
        h = self.tokens(x, observed, categories, mask)
        if self.tokens.axis == "time":
            h = h + sinusoidal_positions(step_positions(h, mask), h.shape[-1])
        return torch.tanh(h)

    def score(self, h, mask):
        weights = self.weigh(h, mask)  # (batch, tokens)
        weights = self.tell(weights, h, mask)
        return self.head(self.dropout(torch.einsum("bt,btd->bd", weights, h)))

    def weigh(self, h, mask):
        return masked_softmax(h @ self.query, mask)

    def tell(self, weights, h, mask):
        weights = weights[:, None, None]  # (batch, heads, queries, keys)
        beside = self.beside(h, mask)
        return record(weights, layer="0", kind="pooling", **beside)[:, 0, 0]

    def beside(self, h, mask):
        return {
            "queries": "sample",
            "keys": self.tokens.axis,
            "mask": None if mask is None else mask[:, None, None],
            "values": h[:, None],
        }


class Sound(Architecture):
    """Nothing is wrong with it."""

    api_version = 1
    name = "sound"
    supports = {"table": {"classification"}, "series": {"regression", "forecasting"}}
    consumes = ("observed", "categories", "mask")
    citation = "Nobody in particular (2026)"
    search_space = {"d_model": Choice(8, 16), "dropout": Float(0.0, 0.5)}
    net = SoundNet

    def __init__(self, d_model=16, dropout=0.0):
        self.d_model = d_model
        self.dropout = dropout

    def build(self, data):
        return self.net(self, data)


class SoundLayer(nn.Module):
    """Weighs the edges into a node by what they bring, and adds the node itself."""

    def __init__(self, data, in_features, width, name):
        super().__init__()
        self.name = name
        self.own = NodeLinear(in_features, width)
        self.other = NodeLinear(in_features, width)
        self.score = nn.Linear(width, 1, bias=False)
        if data.n_edge_features:
            self.edge = nn.Linear(data.n_edge_features, width)

    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        own = self.own(first_nodes(x, n_targets))
        source, target = edge_index
        message = self.other(x)[source]
        if edge_attr is not None:
            message = message + self.edge(edge_attr)
        message = torch.tanh(message)
        weights = edge_softmax(self.score(message), target, len(own))
        weights = self.tell(weights, edge_index, message[:, None])
        return own.index_add(0, target, weights * message)

    def tell(self, weights, edge_index, values):
        axes = {"queries": "nodes", "keys": "nodes", "edge_index": edge_index}
        return record(weights, layer=self.name, kind="edge", values=values, **axes)


class SoundPooling(nn.Module):
    """Weighs the nodes of each graph."""

    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, h, batch):
        weights = self.weigh(self.score(h), batch)
        weights = self.tell(weights, batch, h[:, None])
        pooled = h.new_zeros(int(batch[-1]) + 1, h.shape[1])
        return pooled.index_add(0, batch, weights * h)

    def weigh(self, scores, batch):
        return edge_softmax(scores, batch, int(batch[-1]) + 1)

    def tell(self, weights, batch, values, rows=(0, 1)):
        edge_index = torch.stack([torch.arange(len(batch)), batch])[list(rows)]
        axes = {"queries": "graph", "keys": "nodes", "edge_index": edge_index}
        return record(weights, layer="pool", kind="pooling", values=values, **axes)


class SoundGraphNet(nn.Module):
    """Two layers; of whole graphs, pooled and mapped to scores."""

    layer = SoundLayer
    pooling = SoundPooling

    def __init__(self, hyper, data):
        super().__init__()
        width, last = hyper.d_model, data.n_outputs
        if data.input == "graph":
            last = width
            self.pool = self.pooling(width)
            self.head = nn.Linear(width, data.n_outputs)
        self.layers = nn.ModuleList(
            [
                self.layer(data, data.n_features, width, "0"),
                self.layer(data, width, last, "1"),
            ]
        )

    def forward(self, x, edge_index, edge_attr=None, batch=None):
        for layer in self.layers:
            x = layer(x, edge_index, edge_attr)
        return x if batch is None else self.head(self.pool(x, batch))


class SoundGraph(Sound):
    """Nothing is wrong with it either."""

    api_version = 1
    name = "sound_graph"
    supports = {"nodes": {"classification"}, "graph": {"regression"}}
    consumes = ("edge_attr", "batch")
    search_space = {"d_model": Choice(8, 16)}
    net = SoundGraphNet

    def __init__(self, d_model=16):
        self.d_model = d_model


class SoundTextNet(nn.Module):
    """Tokens that are given a mean of all tokens, and a head."""

    is_causal = False

    def __init__(self, hyper, data):
        super().__init__()
        width = hyper.d_model
        self.per_token = data.task in {"tagging", "token_prediction"}
        self.words = nn.Embedding(data.vocabulary_size, width)
        if data.character_vocabulary_size:
            self.letters = nn.Embedding(data.character_vocabulary_size, width)
        self.query = nn.Linear(width, 1, bias=False)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, data.n_outputs)

    def forward(self, tokens, mask=None, characters=None, segments=None):
        h = self.embed(tokens, mask, characters, segments)
        weights = self.weigh(self.query(h)[..., 0], mask)  # (batch, queries, tokens)
        weights = self.tell(weights, h, mask)
        pooled = weights @ h
        h = h + pooled if self.per_token else pooled[:, 0]
        return self.score(torch.tanh(self.mix(h)))

    def embed(self, tokens, mask, characters, segments):
        h = self.words(tokens)
        h = h + self.positions(h, mask)
        if characters is not None:
            h = h + self.mean_letter(characters)
        return torch.tanh(h + self.segment(tokens, segments))

    def positions(self, h, mask):
        return sinusoidal_positions(step_positions(h, mask), h.shape[-1])

    def mean_letter(self, characters):
        real = (characters != 0)[..., None]
        total = (self.letters(characters) * real).sum(dim=2)
        return total / real.sum(dim=2).clamp(min=1)

    def segment(self, tokens, segments):
        segments = torch.zeros_like(tokens) if segments is None else segments
        return sinusoidal_positions(segments, self.words.embedding_dim)

    def weigh(self, scores, mask):
        seen = self.seen(scores, mask)
        return masked_softmax(scores[:, None].expand_as(seen), seen)

    def seen(self, h, mask):
        n, length = h.shape[:2]
        seen = torch.ones(length, length, dtype=torch.bool)
        if self.is_causal and self.per_token:
            seen = seen.tril()
        seen = seen if self.per_token else seen[:1]
        seen = seen.expand(n, -1, -1)
        return seen if mask is None else seen & mask[:, None]

    def tell(self, weights, h, mask):
        axes = {"queries": "tokens" if self.per_token else "sample", "keys": "tokens"}
        beside = {"mask": self.seen(h, mask)[:, None], "values": h[:, None]}
        return record(weights[:, None], layer="0", kind="self", **axes, **beside)[:, 0]

    def score(self, h):
        return self.head(h)


class SoundText(Sound):
    """Nothing is wrong with it on texts."""

    api_version = 1
    name = "sound_text"
    supports = {"tokens": {"classification", "tagging", "token_prediction"}}
    consumes = ("mask", "characters", "segments")
    search_space = {"d_model": Choice(8, 16)}
    net = SoundTextNet

    def __init__(self, d_model=32):
        self.d_model = d_model


class SoundCausalNet(SoundTextNet):
    is_causal = True

    def forward(self, tokens, mask=None):
        return super().forward(tokens, mask)


class SoundCausal(SoundText):
    """Nothing is wrong with it where the next token is to be predicted."""

    api_version = 1
    name = "sound_causal"
    supports = {"tokens": {"token_prediction"}}
    consumes = ("mask",)
    causal = True
    net = SoundCausalNet


class SoundPairNet(nn.Module):
    """Two texts, each of them weighed by one learned query."""

    def __init__(self, hyper, data):
        super().__init__()
        width = hyper.d_model
        self.words = nn.Embedding(data.vocabulary_size, width)
        self.query = nn.Linear(width, 1, bias=False)
        self.mix = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, data.n_outputs)

    def forward(self, tokens, other_tokens, mask=None, other_mask=None):
        both = [
            self.pool(tokens, mask, "tokens"),
            self.pool(other_tokens, other_mask, "other_tokens"),
        ]
        return self.head(torch.tanh(self.mix(torch.cat(both, dim=1))))

    def pool(self, tokens, mask, axis):
        h = torch.tanh(self.words(tokens))
        weights = masked_softmax(self.query(h)[..., 0], mask)
        axes = {"queries": "sample", "keys": axis}
        beside = {"mask": None if mask is None else mask[:, None, None]}
        weights = weights[:, None, None]  # (batch, heads, queries, keys)
        weights = record(weights, layer=axis, kind="pooling", **axes, **beside)[:, 0, 0]
        return torch.einsum("bt,btd->bd", weights, h)


class SoundPair(SoundText):
    """Nothing is wrong with it on pairs of texts."""

    api_version = 1
    name = "sound_pair"
    supports = {"pair": {"regression"}}
    consumes = ("mask", "other_mask")
    net = SoundPairNet


class SoundTranslationNet(nn.Module):
    """The sum of the tokens so far looks for its place in the source."""

    def __init__(self, hyper, data):
        super().__init__()
        self.width = hyper.d_model
        self.words = nn.Embedding(data.vocabulary_size, self.width)
        self.targets = nn.Embedding(data.target_vocabulary_size, self.width)
        self.query = nn.Linear(self.width, self.width)
        self.mix = nn.Linear(2 * self.width, self.width)
        self.head = nn.Linear(self.width, data.target_vocabulary_size)

    def forward(self, tokens, mask=None, target_tokens=None):
        state = self.start(tokens, mask)
        places = torch.arange(target_tokens.shape[1])
        total = self.add_up(self.embed(target_tokens, places))
        return self.look(total, state)

    def start(self, tokens, mask=None):
        h = self.words(tokens)
        h = torch.tanh(h + sinusoidal_positions(step_positions(h, mask), self.width))
        total = torch.zeros_like(h[:, 0])
        return {"memory": h, "mask": mask, "total": total, "count": torch.tensor([0])}

    def step(self, target_tokens, state):
        h = self.embed(target_tokens[:, None], state["count"])[:, 0]
        number = int(state["count"])
        state = {**state, "total": state["total"] + h, "count": state["count"] + 1}
        return self.look(state["total"][:, None], state, number)[:, 0], state

    def reorder(self, state, index):
        mask = None if state["mask"] is None else state["mask"][index]
        rows = {name: state[name][index] for name in ("memory", "total")}
        return {**state, **rows, "mask": mask}

    def embed(self, target_tokens, places):
        h = self.targets(target_tokens)
        return h * (1 + sinusoidal_positions(places, self.width))

    def add_up(self, h):
        return h.cumsum(dim=1)

    def look(self, total, state, number=0):
        q = torch.tanh(self.query(total))
        weights = masked_softmax(q @ state["memory"].mT, self.seen(state))
        weights = self.tell(weights, self.seen(state), number)
        h = torch.cat([q, weights @ state["memory"]], dim=-1)
        return self.score(torch.tanh(self.mix(h)))

    def seen(self, state):
        return None if state["mask"] is None else state["mask"][:, None]

    def tell(self, weights, seen, number, kind="cross"):
        axes = {"queries": "target_tokens", "keys": "tokens", "first_query": number}
        beside = {"mask": None if seen is None else seen[:, None]}
        return record(weights[:, None], layer="0", kind=kind, **axes, **beside)[:, 0]

    def score(self, h):
        return self.head(h)


class SoundTranslation(SoundText):
    """Nothing is wrong with its translations."""

    api_version = 1
    name = "sound_translation"
    supports = {"tokens": {"translation"}}
    consumes = ("mask", "target_tokens")
    net = SoundTranslationNet


ALL_SOUND = (
    Sound,
    SoundGraph,
    SoundText,
    SoundCausal,
    SoundPair,
    SoundTranslation,
)

# (class, the checks that have to fail, whether others may too, what a message says)
FAULTS = []


def fault(*checks, says, spreads=False):
    """Note which checks have to fail, and whether the fault upsets others too."""

    def note(cls):
        if issubclass(cls, nn.Module):
            name = cls.__name__.removesuffix("Net")
            # Those that are derived from another's net come behind it.
            parents = [sound for sound in ALL_SOUND if issubclass(cls, sound.net)]
            parent = parents[-1] if parents else SoundGraph
            for part, sound in (("layer", SoundLayer), ("pooling", SoundPooling)):
                if issubclass(cls, sound):
                    cls = type(f"{name}Net", (SoundGraphNet,), {part: cls})
            fields = {"net": cls, "__module__": __name__, "__qualname__": name}
            cls = type(name, (parent,), fields)
            globals()[name] = cls  # for pickle
        cls.api_version = 1
        FAULTS.append((cls, set(checks), spreads, says))
        return cls

    return note


@fault("padding", "lengths", says=r"values of padded positions.*Hand mask to every")
class LeaksPaddingNet(SoundNet):
    def embed(self, x, observed, categories, mask):
        return super().embed(x, observed, categories, mask=None)


@fault("lengths", says="Usual causes: a mean over all positions|more positions are pad")
class CountsPaddingNet(SoundNet):
    def score(self, h, mask):
        return super().score(h, mask) / h.shape[1]


@fault("weights", "recorded_masks", "lengths", says="gives weight to padded keys")
class AttendsToPaddingNet(SoundNet):
    def weigh(self, h, mask):
        return super().weigh(h, None)


@fault("unobserved", says=r"not measured.*torch\.where")
class LeaksMissingNet(SoundNet):
    def forward(self, x, observed=None, categories=None, mask=None):
        if observed is not None:
            x = torch.where(observed, x, 0.01 * x)
            observed = observed | (x != 0)
        return super().forward(x, observed, categories, mask)


@fault("left_out_tensors", says="scores with observed=None differ")
class CountsObservedNet(SoundNet):
    def forward(self, x, observed=None, categories=None, mask=None):
        scores = super().forward(x, observed, categories, mask)
        return scores if observed is None else scores + 1


@fault("channels", says=r"depends on the channels \[2\].*past_covariates = False")
class DropsCovariatesNet(SoundNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.n_targets = data.n_targets or data.n_channels

    def forward(self, x, observed=None, categories=None, mask=None):
        if self.n_targets:  # not of a table
            x = torch.cat([x[:, : self.n_targets], 0 * x[:, self.n_targets :]], dim=1)
        return super().forward(x, observed, categories, mask)


@fault("batch", says="other samples of its batch")
class LeaksBatchNet(SoundNet):
    def score(self, h, mask):
        scores = super().score(h, mask)
        return scores - scores.mean(dim=0)


@fault(
    "shapes",
    "search_space",
    says=r"scores of shape \(6, 3, 1\); expected is \(6, 3\).*n_features=4",
)
class WrongShapeNet(SoundNet):
    def forward(self, x, observed=None, categories=None, mask=None):
        return super().forward(x, observed, categories, mask)[..., None]


@fault("shapes", says="not finite.*masked_softmax", spreads=True)
class NotFiniteNet(SoundNet):
    def embed(self, x, observed, categories, mask):
        h = super().embed(x, observed, categories, mask)
        known = torch.ones_like(x) if observed is None else observed.to(x.dtype)
        known = known.flatten(1).sum(dim=1)
        return torch.where(known > 0, h.T, torch.nan).T if known.min() < 1 else h


@fault("gradients", says="No gradient reaches 'spare.weight', 'spare.bias'")
class UnusedParameterNet(SoundNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.spare = nn.Linear(2, 2)


@fault("gradients", "recorded_gradients", says="No gradient reaches 'query'")
class DetachedNet(SoundNet):
    def weigh(self, h, mask):
        return super().weigh(h, mask).detach()


@fault("signature", says=r"forward takes 'mask', which consumes does not name")
class HidesConsumption(Sound):
    consumes = ("observed", "categories")


@fault(
    "signature",
    says=r"consumes names 'mask', which forward does not take",
    spreads=True,
)
class ConsumesTooMuchNet(SoundNet):
    def forward(self, x, observed=None, categories=None):
        return super().forward(x, observed, categories)


@fault("signature", says=r"forward takes \*\*rest: name every tensor")
class TakesAnythingNet(SoundNet):
    def forward(self, x, **rest):
        return super().forward(x, **rest)


@fault("signature", says="it begins with x", spreads=True)
class RenamesMainNet(SoundNet):
    def forward(self, values, observed=None, categories=None, mask=None):
        return super().forward(values, observed, categories, mask)


@fault("signature", says="the default None", spreads=True)
class RequiresTensorsNet(SoundNet):
    def forward(self, x, observed, categories, mask):
        return super().forward(x, observed, categories, mask)


@fault("weights", says=r"add up to .* not to 1.*record them before dropout")
class NotNormalisedNet(SoundNet):
    def weigh(self, h, mask):
        weights = torch.sigmoid(h @ self.query)
        return weights if mask is None else weights * mask


@fault("records", says="Nothing is recorded")
class SilentNet(SoundNet):
    def tell(self, weights, h, mask):
        return weights


@fault("records", says=r"expected is \(batch, heads, queries, keys\)")
class FlatRecordNet(SoundNet):
    def tell(self, weights, h, mask):
        return record(weights, layer="0", kind="pooling", queries="q", keys="k")


@fault("recorded_path", says="change by .* while attention is recorded")
class TwoPathsNet(SoundNet):
    def weigh(self, h, mask):
        scale = 1.0 if is_recording() else 0.9
        return masked_softmax(scale * (h @ self.query), mask)


@fault("recorded_path", says="After attention was recorded the scores are no longer")
class RemembersRecordsNet(SoundNet):
    looks = 0

    def weigh(self, h, mask):
        scores = (h @ self.query) * (1 + self.looks)
        self.looks += 1e-7 * is_recording()
        return masked_softmax(scores, mask)


@fault("recorded_masks", says=r"mask of shape \(1, 1, 6, 12\)")
class RecordsKeyMaskNet(SoundNet):
    def beside(self, h, mask):
        return {**super().beside(h, mask), "mask": mask}


@fault("recorded_masks", says="type torch.float32 .* it must be bool")
class RecordsFloatMaskNet(SoundNet):
    def beside(self, h, mask):
        beside = super().beside(h, mask)
        return {**beside, "mask": None if mask is None else beside["mask"].float()}


@fault("recorded_masks", says="other than zero where its mask is False")
class RecordsPaddingMaskNet(SoundNet):
    def beside(self, h, mask):
        beside = super().beside(h, mask)
        return {**beside, "mask": None if mask is None else ~beside["mask"]}


@fault("recorded_masks", says=r"pass mask=mask\[:, None, None\] to record")
class RecordsNoMaskNet(SoundNet):
    def beside(self, h, mask):
        return {**super().beside(h, mask), "mask": None}


@fault("recorded_values", says=r"values of shape .* expected is \(6, 1, 6, d\)")
class RecordsFlatValuesNet(SoundNet):
    def beside(self, h, mask):
        return {**super().beside(h, mask), "values": h}


@fault("recorded_values", says=r"shape \(6, 1, 4\) for .* \(\d+, 1, d\), or a single")
class RecordsNodesForValues(SoundLayer):
    def tell(self, weights, edge_index, values):
        return super().tell(weights, edge_index, values.new_zeros(6, 1, 4))


@fault("recorded_values", says="output of shape .* expected is .* 1 heads of width 16")
class RecordsInputMapNet(SoundNet):
    def beside(self, h, mask):
        return {**super().beside(h, mask), "output": h.new_zeros(16, 8)}


@fault("recorded_values", says="recorded output, but not the values")
class RecordsOutputAloneNet(SoundNet):
    def beside(self, h, mask):
        output = h.new_zeros(16, 16)
        return {**super().beside(h, mask), "values": None, "output": output}


@fault("recorded_values", says="groups=2 for 1 heads")
class RecordsGroupsNet(SoundNet):
    def tell(self, weights, h, mask):
        weights = weights[:, None, None]
        beside = self.beside(h, mask)
        told = record(weights, layer="0", kind="pooling", groups=2, **beside)
        return told[:, 0, 0]


@fault("recorded_names", says=r"'features'\), which names 7 positions for 6")
class NamesOneTooManyNet(SoundNet):
    def beside(self, h, mask):
        keys = ("cls", self.tokens.axis)
        return {**super().beside(h, mask), "keys": keys}


@fault("recorded_names", says="no axis 'channels' in table data for classification")
class NamesAnotherAxisNet(SoundNet):
    def beside(self, h, mask):
        return {**super().beside(h, mask), "queries": "channels"}


@fault("recorded_names", says="give a word, or a tuple of words")
class NamesNothingNet(SoundNet):
    def beside(self, h, mask):
        return {**super().beside(h, mask), "queries": ()}


@fault("recorded_names", says=r"12 patches of length=4 at stride=4.* cover the 12")
class NamesPatchesNet(SoundNet):
    def beside(self, h, mask):
        beside = super().beside(h, mask)
        if self.tokens.axis != "time":
            return beside
        return {**beside, "keys": Patches("patch", length=4, stride=4)}


@fault("recorded_names", says="edges lead from 'nodes' to 'nodes'")
class NamesEdges(SoundLayer):
    def tell(self, weights, edge_index, values):
        axes = {"queries": "targets", "keys": "sources", "edge_index": edge_index}
        return record(weights, layer=self.name, kind="edge", values=values, **axes)


@fault(
    "replaced_weights",
    "recorded_gradients",
    says=r"head 0 of layer '0' \(pooling\) is given other weights.*go on with what",
)
class GoesOnAloneNet(SoundNet):
    def tell(self, weights, h, mask):
        super().tell(weights, h, mask)
        return weights


@fault("replaced_weights", says="head 0 of layer '0' .edge. is")
class EdgesGoOnAlone(SoundLayer):
    def tell(self, weights, edge_index, values):
        super().tell(weights, edge_index, values)
        return weights


@fault("replaced_weights", says="head 1 of layer '0' .pooling. is given other weights")
class ReplacesOneHeadNet(SoundNet):
    def tell(self, weights, h, mask):
        both = weights[:, None, None].expand(-1, 2, -1, -1)
        told = record(both, layer="0", kind="pooling", **self.beside(h, mask))
        return (told[:, 0, 0] + weights) / 2


@fault("replaced_weights", says="not finite where head 0 .* do not normalise it again")
class NormalisesAgainNet(SoundNet):
    def tell(self, weights, h, mask):
        told = super().tell(weights, h, mask)
        total = told.sum(dim=-1, keepdim=True)
        empty = weights.sum(dim=-1, keepdim=True) == 0
        return told / torch.where(empty, 1.0, total)


@fault("recorded_gradients", says="that no gradient flows through.*neither detached")
class RecordsDetachedNet(SoundNet):
    def tell(self, weights, h, mask):
        if not is_recording():
            return weights
        return super().tell(weights.detach(), h, mask)


@fault(
    "recorded_gradients", says=r"no gradient .* layer '0' \(pooling\) recorded: go on"
)
class GoesOnDetachedNet(SoundNet):
    def tell(self, weights, h, mask):
        told = super().tell(weights, h, mask)
        return told.detach() if is_recording() else told


@fault("recorded_gradients", says="weights of layer '0' that are not finite")
class HasNoSlopeNet(SoundNet):
    def tell(self, weights, h, mask):
        told = super().tell(weights, h, mask)
        return told.sqrt().square() if is_recording() else told


@fault("seeds", says="draws from random or numpy.random")
class DrawsFromNumpyNet(SoundNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        drawn = np.random.standard_normal(hyper.d_model)  # noqa: NPY002
        self.query.data = torch.tensor(drawn, dtype=torch.float32)


@fault("seeds", says="gives different weights")
class DrawsFromSystemNet(SoundNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        seed = int.from_bytes(os.urandom(4))
        generator = torch.Generator().manual_seed(seed)
        self.query.data = torch.randn(hyper.d_model, generator=generator)


@fault("seeds", says="do not seed inside build")
class SeedsItselfNet(SoundNet):
    def __init__(self, hyper, data):
        torch.manual_seed(42)
        super().__init__(hyper, data)


@fault("state_dict", "float64", says="register every tensor|register constants")
class UnregisteredNet(SoundNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.projection = torch.randn(hyper.d_model, hyper.d_model)

    def embed(self, x, observed, categories, mask):
        return super().embed(x, observed, categories, mask) @ self.projection


@fault("float64", says="turns float64 input into torch.float32")
class ConvertsDtypeNet(SoundNet):
    def score(self, h, mask):
        return super().score(h, mask).float()


@fault("evaluation_mode", says="random numbers in evaluation mode", spreads=True)
class AlwaysRandomNet(SoundNet):
    def score(self, h, mask):
        return super().score(h, mask) + torch.rand(())


@fault("evaluation_mode", says="forward writes into 'x'")
class WritesInputNet(SoundNet):
    def forward(self, x, observed=None, categories=None, mask=None):
        if x.numel() and x.dtype == torch.float32:
            x.clamp_(-1, 1)
        return super().forward(x, observed, categories, mask)


@fault("head", says="head is str: it must be the last learned map")
class NamesHeadNet(SoundNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.last = self.head
        del self.head
        self.head = "last"

    def score(self, h, mask):
        weights = self.tell(self.weigh(h, mask), h, mask)
        return self.last(self.dropout(torch.einsum("bt,btd->bd", weights, h)))


@fault("build_is_pure", says="build changes the architecture")
class ChangesItself(Sound):
    def build(self, data):
        self.width_ = 2 * self.d_model
        return super().build(data)


SHARED = {}


@fault("build_is_pure", says="share weights", spreads=True)
class SharesWeights(Sound):
    def build(self, data):
        net = super().build(data)
        net.query = SHARED.setdefault(self.d_model, net.query)
        return net


@fault("search_space", says=r"\{'d_model': 15\}.*ValueError: odd.*Narrow the range")
class NarrowRange(Sound):
    search_space = {"d_model": Choice(8, 15)}

    def build(self, data):
        if self.d_model % 2:
            raise ValueError("odd")
        return super().build(data)


@fault("search_space_matters", says="dropout=0.0 and dropout=0.5 give the same")
class IgnoresDropoutNet(SoundNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.dropout = nn.Identity()


@fault("overfits", says=r"by heart.*loss .* and accuracy|by heart")
class CannotLearnNet(SoundNet):
    def score(self, h, mask):
        return 0.01 * torch.tanh(super().score(h, mask))


@fault("constructor_only_assigns", says="more than assign.*Move checks and conv")
class Validates(Sound):
    def __init__(self, d_model=16, dropout=0.0):
        if d_model < 1:
            raise ValueError("too small")
        self.d_model = d_model
        self.dropout = dropout


@fault("constructor_only_assigns", says=r"sets \['d_ff'\]")
class ComputesEarly(Sound):
    def __init__(self, d_model=16, dropout=0.0):
        self.d_model = d_model
        self.dropout = dropout
        self.d_ff = math.nan


@fault(
    "constructor_only_assigns",
    "clone",
    "repr",
    says="must store 'dropout'",
    spreads=True,
)
class Converts(Sound):
    def __init__(self, d_model=16, dropout=0.0):
        self.d_model = d_model
        self.dropout = str(dropout)


@fault("repr", says="no expression that makes it again")
class PrintsNicely(Sound):
    def __repr__(self):
        return f"<PrintsNicely of width {self.d_model}>"


@fault("pickle", says="cannot be pickled.*top of a module")
class Unpicklable(Sound):
    def __reduce_ex__(self, protocol):
        raise TypeError("no")


@fault("contract", says=r"citation must be a str.*\n  - search_space has 'width'")
class BreaksContract(Sound):
    citation = ""
    search_space = {"width": Choice(1, 2)}


@fault("permutation", says="same nodes are numbered in another way", spreads=True)
class NumbersNodes(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        h = super().forward(x, edge_index, edge_attr, n_targets)
        return h + 0.1 * torch.arange(len(h)).to(h)[:, None]


@fault("edge_features", says=r"depends on the columns \[1\] of edge_attr")
class DropsEdgeFeature(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        if edge_attr is not None:
            edge_attr = torch.cat([edge_attr[:, :1], 0 * edge_attr[:, 1:] + 1], dim=1)
        return super().forward(x, edge_index, edge_attr, n_targets)


@fault(
    "direction", says=r"no path leads to it.*from edge_index\[0\] to edge_index\[1\]"
)
class AgainstTheDirectionNet(SoundGraphNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.blocks = self.layers
        del self.layers

    def forward(self, x, edge_index, edge_attr=None, batch=None):
        order = edge_index[0].argsort(stable=True)
        edge_index = edge_index.flip(0)[:, order]
        edge_attr = None if edge_attr is None else edge_attr[order]
        for block in self.blocks:
            x = block(x, edge_index, edge_attr)
        return x if batch is None else self.head(self.pool(x, batch))


@fault("direction", "layers", says="no path of at most 2 edges")
class LooksFurtherNet(SoundGraphNet):
    def forward(self, x, edge_index, edge_attr=None, batch=None):
        scores = super().forward(x, edge_index, edge_attr, batch)
        if batch is not None:
            return scores
        return scores.index_add(0, edge_index[1], 0.1 * scores[edge_index[0]])


@fault("direction", "layers", "batch", says="let no norm, mean or global attention")
class MixesNodes(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        h = super().forward(x, edge_index, edge_attr, n_targets)
        return h - h.mean(dim=0)


@fault("layers", says="one after another gives .* put dropout, activations")
class ActivatesBetweenNet(SoundGraphNet):
    def forward(self, x, edge_index, edge_attr=None, batch=None):
        for layer in self.layers:
            x = torch.tanh(layer(x, edge_index, edge_attr))
        return x if batch is None else self.head(self.pool(x, batch))


@fault("layers", says="scores that differ by .* count in-edges, not edges out")
class CountsEdgesOut(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        h = super().forward(x, edge_index, edge_attr, n_targets)
        counts = torch.bincount(edge_index[0], minlength=x.shape[0])[: len(h)]
        return h / (1 + counts[:, None])


@fault(
    "layers", says=r"for 3 targets: it returns \(n_targets, width\)|shape .* targets"
)
class IgnoresTargets(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        return super().forward(x, edge_index, edge_attr)


@fault("layers", says="TypeError: .*n_targets.* Layers are called as layer")
class TakesNoTargets(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None):
        return super().forward(x, edge_index, edge_attr)


@fault("layers", says="layers are int: make them a torch.nn.ModuleList")
class CountsLayersNet(SoundGraphNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.blocks = self.layers
        del self.layers
        self.layers = 2

    def forward(self, x, edge_index, edge_attr=None, batch=None):
        for block in self.blocks:
            x = block(x, edge_index, edge_attr)
        return x if batch is None else self.head(self.pool(x, batch))


@fault("sparse", says=r"sparse x .* raises .* skattn\.nn\.NodeLinear first")
class NeedsDenseFeatures(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        x = x[torch.arange(x.shape[0])]
        return super().forward(x, edge_index, edge_attr, n_targets)


@fault("sparse", says="same features as a dense tensor")
class ScalesDenseFeatures(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        if x.layout == torch.strided:
            x = x / x.abs().sum(dim=1, keepdim=True).clamp(min=1)
        return super().forward(x, edge_index, edge_attr, n_targets)


@fault("sparse", says=r"sparse x .* raises .* skattn\.nn\.first_nodes")
class CutsDenseFeatures(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        h = super().forward(x, edge_index, edge_attr, n_targets)
        return h if n_targets is None else h + 0 * x[:n_targets].sum()


@fault("shapes", says="not finite.*a mean over nothing", spreads=True)
class AveragesNothing(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        h = super().forward(x, edge_index, edge_attr, n_targets)
        return h / torch.bincount(edge_index[1], minlength=len(h))[:, None]


@fault("shapes", says=r"edge_index \(2, 0\).*\) raised", spreads=True)
class NeedsEdges(SoundLayer):
    def forward(self, x, edge_index, edge_attr=None, n_targets=None):
        h = super().forward(x, edge_index, edge_attr, n_targets)
        return h + 0 * edge_index.max()


@fault("records", says=r"edge_index that goes up to \[5, 6\], with 6 nodes\. Its rows")
class RecordsOtherEdges(SoundLayer):
    def tell(self, weights, edge_index, values):
        shift = torch.tensor([[0], [1]])
        return super().tell(weights, edge_index + shift, values)


@fault("weights", "batch", says="layer 'pool' add up to|other samples of its batch")
class PoolsTheBatch(SoundPooling):
    def weigh(self, scores, batch):
        return scores.softmax(dim=0)


@fault("records", "weights", says="nodes and 6 graphs.*of pooling, the node and")
class RecordsGraphsFirst(SoundPooling):
    def tell(self, weights, batch, values):
        return super().tell(weights, batch, values, rows=(1, 0))


@fault("records", says="recorded pooling over 1 of 6 graphs")
class RecordsOneGraph(SoundPooling):
    def tell(self, weights, batch, values):
        first = batch == 0
        told = super().tell(weights[first], batch[first], values[first])
        return torch.cat([told, weights[~first]])


class WithoutBatchNet(SoundGraphNet):
    def forward(self, x, edge_index, edge_attr=None):
        batch = torch.zeros(x.shape[0], dtype=torch.int64)
        return super().forward(x, edge_index, edge_attr, batch)


@fault("signature", says="consumes does not name 'batch'.*GraphPooling", spreads=True)
class ForgetsBatch(SoundGraph):
    supports = {"graph": {"regression"}}
    consumes = ("edge_attr",)
    net = WithoutBatchNet


@fault("padding", "lengths", "weights", "recorded_masks", says="hand mask to it")
class LeaksWordsNet(SoundTextNet):
    def weigh(self, scores, mask):
        return super().weigh(scores, None)


@fault("lengths", says="more positions are padded")
class CountsNoLettersNet(SoundTextNet):
    def mean_letter(self, characters):
        return self.letters(characters).mean(dim=2)


@fault("batch", says="other samples of its batch")
class ScalesSegmentsNet(SoundTextNet):
    def segment(self, tokens, segments):
        if segments is not None:
            segments = segments / segments.max().clamp(min=1)
        return super().segment(tokens, segments)


@fault("codes", says="No score depends on segments: use it, or take it out of consumes")
class IgnoresSegmentsNet(SoundTextNet):
    def segment(self, tokens, segments):
        return super().segment(tokens, None)


@fault("left_out_tensors", says="segments=None differ from those where .* all 0")
class WithoutSegmentsNet(SoundTextNet):
    def segment(self, tokens, segments):
        return super().segment(tokens, segments) if segments is not None else 0


@fault("longer_texts", says=r"raised .* data\.length=7 tells of", spreads=True)
class LooksUpPositionsNet(SoundTextNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.places = nn.Embedding(data.length, hyper.d_model)

    def positions(self, h, mask):
        return self.places(torch.arange(h.shape[1]))


@fault("longer_texts", says=r"of shape \(6, 7, 3\), not \(6, 21, 3\)", spreads=True)
class CutsTextsNet(SoundTextNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.length = data.length

    def forward(self, tokens, mask=None, characters=None, segments=None):
        given = [tokens, mask, characters, segments]
        cut = [each if each is None else each[:, : self.length] for each in given]
        return super().forward(*cut)


@fault("shapes", says="not finite.*masked_softmax", spreads=True)
class NeedsWordsNet(SoundTextNet):
    def weigh(self, scores, mask):
        weights = super().weigh(scores, mask)
        return weights / weights.sum(dim=-1, keepdim=True)


@fault("both_sides", says="from both sides. Write causal = True")
class LooksBackNet(SoundTextNet):
    is_causal = True


@fault("pretraining", says="has no head: give this name to its last learned map")
class NamesHeadOtherwiseNet(SoundTextNet):
    def __init__(self, hyper, data):
        super().__init__(hyper, data)
        self.last = self.head
        del self.head

    def score(self, h):
        return self.last(h)


@fault("pretraining", says="is lost to classification.*names and shapes: mix.bias")
class WiderInPretrainingNet(SoundTextNet):
    def __init__(self, hyper, data):
        if data.task == "token_prediction":
            hyper = type(hyper)(2 * hyper.d_model)
        super().__init__(hyper, data)


@fault("overfits", says="by heart")
class CannotTagNet(SoundTextNet):
    def score(self, h):
        return 0.01 * super().score(h)


@fault("future", says="positions? of tokens change.*Or write causal = False")
class PeeksAheadNet(SoundCausalNet):
    is_causal = False


@fault("padding", "lengths", "weights", "recorded_masks", says="hand other_mask to it")
class LeaksOtherNet(SoundPairNet):
    def pool(self, tokens, mask, axis):
        return super().pool(tokens, mask if axis == "tokens" else None, axis)


@fault("padding", "lengths", says="with the values of padded positions")
class NeedsBothMasksNet(SoundPairNet):
    def forward(self, tokens, other_tokens, mask=None, other_mask=None):
        if mask is None or other_mask is None:
            mask = other_mask = None
        return super().forward(tokens, other_tokens, mask, other_mask)


@fault("future", "generation", says="of target_tokens change .* be causal")
class SeesTheWholeTargetNet(SoundTranslationNet):
    def add_up(self, h):
        return h.cumsum(dim=1) + 0.1 * h.sum(dim=1, keepdim=True)


@fault("alignment", says="which is the alignment of a translation; there are .*self")
class NamesAlignmentOtherwiseNet(SoundTranslationNet):
    def tell(self, weights, seen, number):
        return super().tell(weights, seen, number, kind="self")


@fault("generation", says=r"lacks step, reorder: .* Add start\(tokens, mask=None\)")
class TakesNoStepsNet(SoundTranslationNet):
    step = None
    reorder = None


@fault("generation", says="One step after another gives .* positions that begin anew")
class BeginsAnewNet(SoundTranslationNet):
    def step(self, target_tokens, state):
        return super().step(target_tokens, {**state, "count": 0 * state["count"]})


@fault("generation", says="padded source tokens that the state forgets to mask")
class ForgetsTheMaskNet(SoundTranslationNet):
    def step(self, target_tokens, state):
        return super().step(target_tokens, {**state, "mask": None})


@fault("generation", says=r"After 2 steps, reorder\(state, \[5, 0, 0, 2\]\) and")
class ReordersHalfNet(SoundTranslationNet):
    def reorder(self, state, index):
        new = super().reorder(state, index)
        if len(index) <= len(state["total"]):
            new["total"] = state["total"][: len(index)]
        return new


@fault("generation", says="A state that is used twice .* must return a new state")
class WritesToTheStateNet(SoundTranslationNet):
    def step(self, target_tokens, state):
        scores, new = super().step(target_tokens, state)
        state["total"].copy_(new["total"])
        return scores, {**new, "total": new["total"].clone()}


@fault("generation", says="step records no attention of the layer '0'")
class SilentStepsNet(SoundTranslationNet):
    def tell(self, weights, seen, number):
        if weights.shape[1] > 1:
            return super().tell(weights, seen, number)
        return weights


@fault("generation", says="layer '0' recorded step by step .* first_query")
class ForgetsWhichStepNet(SoundTranslationNet):
    def tell(self, weights, seen, number):
        return super().tell(weights, seen, 0)


@fault("generation", says="layer '0' recorded step by step .* other masks")
class ForgetsMasksOfStepsNet(SoundTranslationNet):
    def tell(self, weights, seen, number):
        return super().tell(weights, None if number else seen, number)


@fault("generation", says=r"step returned .*\(6, 1, 9\) for tokens of shape \(6,\)")
class KeepsTheStepNet(SoundTranslationNet):
    def step(self, target_tokens, state):
        scores, state = super().step(target_tokens, state)
        return scores[:, None], state


@fault("overfits", says="by heart")
class CannotTranslateNet(SoundTranslationNet):
    def score(self, h):
        return 0.01 * super().score(h)
