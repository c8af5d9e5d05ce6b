"""What a forecast adds to an architecture's own: a ridge regression, and covariates.

The architecture's own head starts at zero, so training starts at the linear forecast
and learns what it leaves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from copy import copy, deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn._architecture import DataSpec
from skattn._engine._samples import Batches, Inputs

# Ridge strengths to choose from, in units of the inputs' mean square.
STRENGTHS = tuple(10.0**power for power in range(-4, 4))

# Penalty of the effects of covariates, which have variance one; and how often they and
# the ridge regression are fitted in turn.
_EFFECT_PENALTY = 1.0
_ROUNDS = 3

# A categorical covariate with more codes than this starts without an effect.
_MANY_CODES = 64

_BATCH = 512

# A closed form is known well enough from so many windows.
_MANY_WINDOWS = 100_000


class ZeroLinear(nn.Linear):
    """A linear map that starts at zero; torch warns of one without inputs."""

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class _Effect(nn.Module, ABC):
    """Effect of covariates on each target, alike at all steps."""

    @abstractmethod
    def design(self, covariates: Tensor) -> Tensor:
        """Give the columns of a regression, (batch, n_columns, steps)."""

    @abstractmethod
    def set_coefficients(self, coefficients: Tensor) -> None:
        """Take over coefficients of shape (n_targets, n_columns)."""


class _NumericEffect(_Effect):
    """Effect of numeric covariates on each target, alike at all steps."""

    def __init__(self, n_known: int, n_targets: int) -> None:
        super().__init__()
        self.linear = ZeroLinear(n_known, n_targets, bias=False)

    def forward(self, known: Tensor) -> Tensor:
        """Map (batch, n_known, steps) to (batch, n_targets, steps)."""
        return torch.einsum("tk,bks->bts", self.linear.weight, known)

    def design(self, known: Tensor) -> Tensor:
        """Give the columns of a regression, (batch, n_columns, steps)."""
        return known

    def set_coefficients(self, coefficients: Tensor) -> None:
        """Take over coefficients of shape (n_targets, n_columns)."""
        self.linear.weight.copy_(coefficients)


class _CategoricalEffect(_Effect):
    """Effect of categorical covariates on each target, alike at all steps."""

    def __init__(self, counts: tuple[int, ...], n_targets: int) -> None:
        super().__init__()
        self.counts = counts
        self.tables = nn.ModuleList(nn.Embedding(count, n_targets) for count in counts)
        for parameter in self.tables.parameters():
            nn.init.zeros_(parameter)

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (batch, n_columns, ...) to (batch, n_targets, ...)."""
        found = [table(codes[:, at]) for at, table in enumerate(self.tables)]
        return torch.stack(found).sum(dim=0).movedim(-1, 1)

    def design(self, codes: Tensor) -> Tensor:
        """Give the columns of a regression, (batch, n_columns, steps)."""
        columns = [
            functional.one_hot(codes[:, at], count).movedim(-1, 1)
            for at, count in enumerate(self.counts)
            if count <= _MANY_CODES
        ]
        return torch.cat(columns, dim=1) if columns else codes[:, :0]

    def set_coefficients(self, coefficients: Tensor) -> None:
        """Take over coefficients of shape (n_targets, n_columns)."""
        start = 0
        for table, count in zip(self.tables, self.counts, strict=True):
            if count <= _MANY_CODES:
                weight = table.get_parameter("weight")
                weight.copy_(coefficients[:, start : start + count].T)
                start += count


class ForecastSum(nn.Module):
    r"""Add a linear forecast and effects of covariates to an architecture's forecast.

    .. math:: \hat y = W x' + b + A (k_{T+h} - \bar k) + s + f(x''),
              \quad x'_t = x_t - A (k_t - \bar k)

    where :math:`A` is the effect of covariates known in the future and :math:`s` that
    of static ones and of the series itself; :math:`\bar k` is what the window's
    normalisation has taken out: the covariates at the last known step, their mean, or
    nothing. The architecture :math:`f` sees its window :math:`x''` without the effects
    of those covariates that it does not consume.

    Parameters
    ----------
    module : nn.Module or None
        Of the architecture, if there is one; its ``head``, if it has one, starts at
        zero where there is a linear forecast.
    data : DataSpec
        What the architecture was built for.
    consumes : collection of str
        Tensors that the module takes itself.
    linear_skip : bool
        Whether there is a linear forecast.
    normalization : {"last", "instance"} or None
        What has been taken out of each window.
    intercept : bool, default=True
        Whether the linear forecast has an intercept.
    """

    def __init__(
        self,
        module: nn.Module | None,
        data: DataSpec,
        consumes: Collection[str],
        linear_skip: bool,
        normalization: str | None,
        intercept: bool = True,
    ) -> None:
        super().__init__()
        self.module = module
        self.normalization = normalization
        self.consumes = frozenset(consumes)
        self.n_targets = data.n_targets
        self.length = data.length
        self.linear = (
            ZeroLinear(data.length, data.horizon, bias=intercept)
            if linear_skip
            else None
        )
        effects: dict[str, nn.Module] = {}
        if data.n_known and (linear_skip or "known" not in consumes):
            effects["known"] = _NumericEffect(data.n_known, data.n_targets)
        counts = data.known_category_counts
        if counts and (linear_skip or "known_categories" not in consumes):
            effects["known_categories"] = _CategoricalEffect(counts, data.n_targets)
        self.effects = nn.ModuleDict(effects)
        size = data.n_targets * data.horizon
        shifts: dict[str, nn.Module] = {}
        if data.n_static and "static" not in consumes:
            shifts["static"] = ZeroLinear(data.n_static, size, bias=False)
        if data.static_category_counts and "static_categories" not in consumes:
            counts = data.static_category_counts
            shifts["static_categories"] = _CategoricalEffect(counts, size)
        if data.n_series and "series_id" not in consumes:
            shifts["series_id"] = _CategoricalEffect((data.n_series,), size)
        self.shifts = nn.ModuleDict(shifts)
        head = getattr(module, "head", None)
        if linear_skip and isinstance(head, nn.Module):
            for parameter in head.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, **given: Tensor) -> Tensor:
        """Compute scores.

        Parameters
        ----------
        x : Tensor of shape (batch, n_channels, length)
            The window.
        **given : Tensor
            What the architecture consumes, and the covariates.

        Returns
        -------
        scores : Tensor of shape (batch, n_targets, horizon) or (..., n_parameters)
            The sum; of several parameters, the first one is the location.
        """
        linear, without = self.linear_forecast(x, given)
        if self.module is None:
            return linear
        consumes = self.consumes | {"mask", "observed"}
        passed = {name: given[name] for name in given if name in consumes}
        if "target" in passed:  # what is left for the architecture
            passed["target"] = passed["target"] - linear.detach()
        scores = self.module(without, **passed)
        if scores.dim() == linear.dim():
            return scores + linear
        return torch.cat([scores[..., :1] + linear[..., None], scores[..., 1:]], dim=-1)

    def linear_forecast(self, x: Tensor, given: Inputs) -> tuple[Tensor, Tensor]:
        """Compute what is added, and the window that the architecture sees.

        Parameters
        ----------
        x : Tensor of shape (batch, n_channels, length)
            The window.
        given : dict of str to Tensor
            Everything else.

        Returns
        -------
        linear : Tensor of shape (batch, n_targets, horizon)
            What is added to the architecture's forecast.
        x : Tensor of shape (batch, n_channels, length)
            The window without the effects of what the architecture does not consume.
        """
        length = x.shape[-1]
        added, hidden = [], []
        for name, effect in self.effects.items():
            moved = self.relative(effect(given[name]), given)
            added.append(moved)
            if name not in self.consumes:
                hidden.append(moved)
        linear = x.new_zeros((len(x), self.n_targets, 1))
        for name, shift in self.shifts.items():
            codes = given[name][:, None] if name == "series_id" else given[name]
            linear = linear + shift(codes).unflatten(1, (self.n_targets, -1))
        for moved in added:
            linear = linear + moved[..., length:]
        if self.linear is not None:
            plain = self._without(x, added, given)
            linear = linear + self.linear(plain[:, : self.n_targets])
        return linear, self._without(x, hidden, given)

    def relative(self, effect: Tensor, given: Inputs) -> Tensor:
        """Give effects in units of the window, relative to what was taken out of it.

        Parameters
        ----------
        effect : Tensor of shape (batch, n_targets, length + horizon)
            In units of the series.
        given : dict of str to Tensor
            What tells the real and measured steps, and ``scale`` where windows have a
            scale of their own.

        Returns
        -------
        effect : Tensor of shape (batch, n_targets, length + horizon)
            Its level, as that of the window, is zero.
        """
        effect = effect - self.level(effect, self.seen(given))
        if "scale" not in given:
            return effect
        return effect / given["scale"][:, : effect.shape[1], None]

    def seen(self, given: Inputs) -> Tensor | None:
        """Tell which targets of the window are real and measured.

        Parameters
        ----------
        given : dict of str to Tensor
            Perhaps with ``observed`` or ``mask``.

        Returns
        -------
        seen : Tensor of bool of shape (batch, n_targets or 1, length), or None
            None where all are.
        """
        if "observed" in given:
            return given["observed"][:, : self.n_targets]
        return given["mask"][:, None] if "mask" in given else None

    def level(self, effect: Tensor, seen: Tensor | None) -> Tensor:
        """Compute what the normalisation takes out of effects.

        Parameters
        ----------
        effect : Tensor of shape (batch, n_rows, length + horizon)
            In units of the series.
        seen : Tensor of bool of shape (batch, n_rows or 1, length), or None
            Steps of the window that count; None where all do.

        Returns
        -------
        level : Tensor of shape (batch, n_rows, 1)
            Of each row.
        """
        window = effect[..., : self.length]
        if self.normalization is None:
            return torch.zeros_like(window[..., :1])
        if self.normalization == "last":
            if seen is None:
                return window[..., -1:]
            steps = torch.arange(self.length, device=seen.device)
            last = (seen * steps).argmax(dim=-1, keepdim=True)
            return window.gather(-1, last.expand(*window.shape[:-1], 1))
        if seen is None:
            return window.mean(dim=-1, keepdim=True)
        count = seen.sum(dim=-1, keepdim=True).clamp(min=1)
        return (window * seen).sum(dim=-1, keepdim=True) / count

    def _without(self, x: Tensor, effects: list[Tensor], given: Inputs) -> Tensor:
        """Take effects out of the targets, where these are real and measured."""
        if not effects:
            return x
        length = x.shape[-1]
        moved = torch.stack([effect[..., :length] for effect in effects]).sum(dim=0)
        seen = self.seen(given)
        moved = moved if seen is None else moved * seen
        targets = x[:, : self.n_targets] - moved
        return torch.cat([targets, x[:, self.n_targets :]], dim=1)


class _Basis(NamedTuple):
    """Eigenvalues and eigenvectors of a ridge regression, its targets, and means."""

    values: Tensor
    vectors: Tensor
    rotated: Tensor
    mean_x: Tensor
    mean_y: Tensor

    def ridge(self, strength: float) -> tuple[Tensor, Tensor, float]:
        """Give coefficients, intercepts and degrees of freedom."""
        unit = max(float(self.values.mean()), torch.finfo(torch.float64).tiny)
        damped = self.values + strength * unit
        weight = self.vectors @ (self.rotated / damped[:, None])
        bias = self.mean_y - self.mean_x @ weight
        return weight, bias, float((self.values / damped).sum())


class _Moments:
    """Sums from which a ridge regression follows, in units of the series."""

    def __init__(self, width: int, horizon: int) -> None:
        # The last column is that of the intercept: the scales of windows.
        self.gram = torch.zeros(width + 1, width + 1, dtype=torch.float64)
        self.cross = torch.zeros(width + 1, horizon, dtype=torch.float64)
        self.square = 0.0
        self.count = 0

    def add(self, design: Tensor, goal: Tensor) -> None:
        """Count in windows (n, width + 1) and what followed (n, horizon)."""
        self.gram += design.T @ design
        self.cross += design.T @ goal
        self.square += float(goal.square().sum())
        self.count += len(design)

    def join(self, other: _Moments) -> None:
        """Count in the windows of both."""
        self.gram += other.gram
        self.cross += other.cross
        self.square += other.square
        self.count += other.count

    def basis(self, intercept: bool) -> _Basis:
        """Decompose the windows' moments, around their means with an intercept."""
        weight = self.gram[-1, -1]
        share = 1 / weight if intercept else 0.0
        mean_x, mean_y = share * self.gram[-1, :-1], share * self.cross[-1]
        gram = self.gram[:-1, :-1] - weight * torch.outer(mean_x, mean_x)
        cross = self.cross[:-1] - weight * torch.outer(mean_x, mean_y)
        values, vectors = torch.linalg.eigh(gram)
        return _Basis(values.clamp(min=0.0), vectors, vectors.T @ cross, mean_x, mean_y)

    def error(self, weight: Tensor, bias: Tensor) -> float:
        """Sum the squared errors of a linear forecast."""
        full = torch.cat([weight, bias[None]])  # (width + 1, horizon)
        explained = 2 * (full * self.cross).sum() - (full * (self.gram @ full)).sum()
        return self.square - float(explained)


def fit_linear(
    net: Any, samples: Any, valid: Any = None, *, refit: bool = False
) -> float | None:
    """Set the linear forecast of a net, and its covariates' effects, in closed form.

    The normal equations are accumulated batch by batch. The ridge strength minimises
    the squared error on held-out windows, or else generalised cross-validation (Golub,
    Heath, Wahba, Technometrics 1979). With covariates, ridge regression and effects are
    fitted in turn. Windows whose targets are not all known are left out; without any,
    everything stays zero. Of more than 100,000 windows, so many are taken, evenly.

    Parameters
    ----------
    net : nn.Module
        A `ForecastSum` with a linear forecast.
    samples, valid : WindowSamples
        Training and held-out windows.
    refit : bool, default=False
        Fit to the held-out windows too, once the strength is chosen.

    Returns
    -------
    strength : float or None
        The chosen ridge strength, in units of the windows' mean square; None without
        any window.
    """
    samples = samples.at_most(_MANY_WINDOWS)
    valid = None if valid is None else valid.at_most(_MANY_WINDOWS)
    strength = None
    for number in range(_ROUNDS if len(net.effects) else 1):
        if number:
            _fit_effects(net, samples)
        train = _collect(net, samples)
        held_out = None if valid is None else _collect(net, valid)
        strength = _fit_ridge(net.linear, train, held_out, refit)
        if strength is None:
            break
    return strength


def _batches(samples: Any) -> Iterator[tuple[Inputs, Tensor, Tensor]]:
    """Walk over inputs, targets and scales in double precision on the CPU."""

    def double(tensor: Tensor) -> Tensor:
        tensor = tensor.cpu()
        return tensor.double() if tensor.is_floating_point() else tensor

    for inputs, target in Batches(samples, _BATCH, None, samples.store.device):
        scale = torch.ones(()) if target.window is None else target.window.scale
        inputs = {name: double(tensor) for name, tensor in inputs.items()}
        yield inputs, double(target.values), double(scale)


@torch.no_grad()
def _collect(net: Any, samples: Any) -> _Moments:
    """Accumulate the normal equations of the windows without their covariates."""
    moments = _Moments(net.linear.in_features, net.linear.out_features)
    net = _double_effects(net)
    for inputs, goal, scale in _batches(samples):
        x, added = inputs["x"], []
        length = x.shape[-1]
        for name, effect in net.effects.items():
            added.append(net.relative(effect(inputs[name]), inputs))
        for moved in added:
            goal = goal - moved[..., length:]
        x = net._without(x, added, inputs)[:, : net.n_targets]
        design = (functional.pad(x, (0, 1), value=1.0) * scale).flatten(0, 1)
        goal = (goal * scale).flatten(0, 1)
        known = ~goal.isnan().any(dim=1)
        moments.add(design[known], goal[known])
    return moments


def _double_effects(net: Any) -> Any:
    """Copy a net without its architecture, in double precision on the CPU."""
    plain = copy(net)
    plain._modules = dict(net._modules, module=None)
    return deepcopy(plain).cpu().double()


def _fit_ridge(
    linear: nn.Linear, train: _Moments, held_out: _Moments | None, refit: bool
) -> float | None:
    """Choose a strength and set a linear map by it."""
    if train.count < 2:
        return None
    if held_out is not None and not held_out.count:
        held_out = None
    intercept = linear.bias is not None
    basis = train.basis(intercept)
    best = (float("inf"), STRENGTHS[-1])
    for strength in STRENGTHS:
        weight, bias, freedom = basis.ridge(strength)
        rest = 1 - (freedom + intercept) / train.count
        if held_out is not None:
            best = min(best, (held_out.error(weight, bias), strength))
        elif rest > 0:
            error = max(train.error(weight, bias), 0.0) / rest**2
            best = min(best, (error, strength))
    if refit and held_out is not None:
        train.join(held_out)
        basis = train.basis(intercept)
    weight, bias, _ = basis.ridge(best[1])
    with torch.no_grad():
        linear.weight.copy_(weight.T)
        if intercept:
            linear.bias.copy_(bias)
    return best[1]


@torch.no_grad()
def _fit_effects(net: Any, samples: Any) -> None:
    """Set the effects of covariates to a ridge regression of what is left."""
    plain = _double_effects(net)
    weight = plain.linear.weight  # (horizon, length)
    names = list(plain.effects)
    n_targets, length = net.n_targets, net.length
    widths: list[int] = []
    gram = cross = torch.zeros(())
    for inputs, target, scale in _batches(samples):
        x = inputs["x"][:, :n_targets]
        parts = [plain.effects[name].design(inputs[name]).double() for name in names]
        columns, seen = torch.cat(parts, dim=1), plain.seen(inputs)
        if not widths:
            widths = [part.shape[1] for part in parts]
            gram = columns.new_zeros(n_targets, sum(widths), sum(widths))
            cross = columns.new_zeros(n_targets, sum(widths))
        rest = (target - plain.linear(x)) * scale
        known = (~rest.isnan().any(dim=-1)).double()  # (batch, n_targets)
        rest = rest.nan_to_num() * known[..., None]
        has_own_gaps = seen is not None and seen.shape[1] > 1
        # Targets have one design, unless they have gaps of their own.
        every = [slice(at, at + 1) for at in range(n_targets)]
        for at in every if has_own_gaps else [slice(None)]:
            own = None if seen is None else seen[:, at]
            moved = columns - plain.level(columns, own)
            window = moved[..., :length]
            # A covariate moves the window too, and with it the linear forecast.
            window = window if own is None else window * own
            design = moved[..., length:] - window @ weight.T
            squares = torch.einsum("bkh,bjh->bkj", design, design)
            gram[at] += torch.einsum("bt,bkj->tkj", known[:, at], squares)
            cross[at] += torch.einsum("bth,bkh->tk", rest[:, at], design)
    penalty = _EFFECT_PENALTY * torch.eye(sum(widths), dtype=torch.float64)
    coefficients = torch.linalg.solve(gram + penalty, cross)  # (n_targets, n_columns)
    for name, part in zip(names, coefficients.split(widths, dim=1), strict=True):
        net.effects[name].set_coefficients(part)
