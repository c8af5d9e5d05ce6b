"""A sound little architecture, and copies of it with one fault each."""

import math
import os

import numpy as np
import torch
from torch import nn

from skattn import Architecture, Choice, Float
from skattn.nn import (
    ScoreHead,
    Tokens,
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
        self.tell(weights)
        return self.head(self.dropout(torch.einsum("bt,btd->bd", weights, h)))

    def weigh(self, h, mask):
        return masked_softmax(h @ self.query, mask)

    def tell(self, weights):
        axes = {"queries": "sample", "keys": self.tokens.axis}
        record(weights[:, None, None], layer="0", kind="pooling", **axes)


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


# (class, the checks that have to fail, whether others may too, what a message says)
FAULTS = []


def fault(*checks, says, spreads=False):
    """Note which checks have to fail, and whether the fault upsets others too."""

    def note(cls):
        if issubclass(cls, nn.Module):
            name = cls.__name__.removesuffix("Net")
            fields = {"net": cls, "__module__": __name__, "__qualname__": name}
            cls = type(name, (Sound,), fields)
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


@fault("weights", "lengths", says="gives weight to padded keys")
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


@fault("gradients", says="No gradient reaches 'query'")
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
    def tell(self, weights):
        pass


@fault("records", says=r"expected is \(batch, heads, queries, keys\)")
class FlatRecordNet(SoundNet):
    def tell(self, weights):
        record(weights, layer="0", kind="pooling", queries="q", keys="k")


@fault("recorded_path", says="change by .* while attention is recorded")
class TwoPathsNet(SoundNet):
    def weigh(self, h, mask):
        scale = 1.0 if is_recording() else 0.9
        return masked_softmax(scale * (h @ self.query), mask)


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
        weights = self.weigh(h, mask)
        self.tell(weights)
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
