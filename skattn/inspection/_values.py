"""Attention beside what it multiplies: norms of values, and layers without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sklearn.utils import Bunch

from skattn.inspection._record import Layers, Part, assemble, chosen_layers, joined_mask
from skattn.inspection._run import Batch, subject_of, walk
from skattn.inspection._weights import Layer

if TYPE_CHECKING:
    from torch import Tensor

    from skattn.nn import Recorded

_NO_VALUES = "it records no values that its weights multiply"


def value_weighted_attention(
    estimator: Any, X: Any = None, *, layers: Layers = None
) -> Bunch:
    r"""Measure what each query gets of each key, in place of how much it looks.

    .. math:: \|\alpha_{ij} f(x_j)\|, \quad f(x) = (x W^V + b^V) W^O

    for each head with its own part of :math:`W^O`, and :math:`\|\sum_h \alpha^h_{ij}
    f^h(x_j)\|` for all heads together. A key that is much looked at gives nothing if
    its value is near zero. Kobayashi, Kuribayashi, Yokoi and Inui, "Attention is Not
    Only a Weight: Analyzing Transformers with Vector Norms", EMNLP 2020, arXiv
    2004.10102. In a layer without :math:`W^O` the heads stand side by side.

    Parameters
    ----------
    estimator : estimator
        As for `attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    layers : str, int, or sequence of them, optional
        Which records, as there. By default all that record values.

    Returns
    -------
    result : Bunch
        With ``records``, a list of `AttentionRecord` with a norm in place of each
        weight, which sum to nothing; ``joint``, the same with the heads together: one
        for each group of heads; ``layers``, a list of `Layer`; ``skipped``, a dict of
        layers that were left out and why.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    ValueError
        If there is no such layer, or it records no values.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import value_weighted_attention
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> norms = value_weighted_attention(clf, X[:10], layers=0)
    >>> norms.records[0].weights.shape, norms.joint[0].weights.shape
    ((10, 4, 5, 5), (10, 1, 5, 5))
    """
    subject = subject_of(estimator, X, "value_weighted_attention")
    apart: dict[int, list[Part]] = {}
    joint: dict[int, list[Part]] = {}
    skipped: dict[Layer, str] = {}
    for batch in walk(subject):
        for number in chosen_layers(batch.records, layers):
            record = batch.records[number]
            if record.values is None:
                _leave_out(record, layers, skipped, "value_weighted_attention")
                continue
            record = replace(record, normalised=False)
            together = replace(record, mask=joined_mask(record.mask, record.groups))
            for parts, each, norms in zip(
                (apart, joint), (record, together), _norms(record), strict=True
            ):
                parts.setdefault(number, []).append(_part(batch, each, norms))
    _check_left(apart, skipped, subject.estimator, "value_weighted_attention")
    records = [assemble(parts, subject) for parts in apart.values()]
    return Bunch(
        records=records,
        joint=[assemble(parts, subject) for parts in joint.values()],
        layers=[Layer(record.layer, record.kind) for record in records],
        skipped=skipped,
    )


def value_zeroing(estimator: Any, X: Any = None, *, layers: Layers = None) -> Bunch:
    r"""Measure how much of each query's next vector comes from each key.

    .. math:: c_{ij} = \cos\mathrm{dist}(\tilde x_i, \tilde x_i^{\neg j})

    between what the block gives for query :math:`i`, and what it gives once the value
    of key :math:`j` is zero in all heads; rows are scaled to sum to one. Unlike weights
    it takes in the residual connection, the norms and the feed-forward net. Mohebbi,
    Zuidema, Chrupała and Alishahi, "Quantifying Context Mixing in Transformers", EACL
    2023, arXiv 2301.12971.

    Parameters
    ----------
    estimator : estimator
        As for `attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    layers : str, int, or sequence of them, optional
        Which records, as there. By default all that can be measured.

    Returns
    -------
    result : Bunch
        With ``records``, a list of `AttentionRecord` whose weights are :math:`c_{ij}`,
        of one head for each group of heads; ``layers``, a list of `Layer`; ``blocks``,
        the name of the module that was run for each of them, or None; ``skipped``, a
        dict of layers that were left out and why.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    ValueError
        If there is no such layer, or it cannot be measured.

    Notes
    -----
    The block is found while the net runs. Of the modules around the attention whose
    output is a vector for each query, each of which changes with this query's weights
    alone, and as wide as the innermost one's, it is the innermost that holds a
    normalisation layer among its children; else the innermost of all. Only the block
    is run again, with the inputs it had: as often as there are keys, for each layer
    and batch.

    Where no module gives a vector for each query, as in attention that pools, and along
    the edges of graphs, the attention's own output :math:`\sum_j \alpha_{ij} f(x_j)` is
    compared, for which nothing is run.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import value_zeroing
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = skattn.AttentionClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> mixing = value_zeroing(clf, X[:10])
    >>> mixing.records[0].weights.shape
    (10, 1, 5, 5)
    """
    from skattn.nn import join_steps
    from skattn.nn._recording import steps_by_layer

    subject = subject_of(estimator, X, "value_zeroing")
    found: dict[int, list[Part]] = {}
    blocks: dict[int, str | None] = {}
    skipped: dict[Layer, str] = {}
    with _watching(subject.net) as watch:
        for batch in walk(subject, watch.note):
            calls, watch.calls = watch.calls, []
            joined = steps_by_layer(batch.steps)
            for number in chosen_layers(batch.records, layers):
                record = batch.records[number]
                mixed = []
                for at in joined[number]:
                    step = batch.steps[at]
                    call = watch.block_of(number, step, calls[at])
                    blocks[number] = None if call is None else watch.name_of(call)
                    if call is not None:
                        mixed.append(_mixing(step, call, watch))
                    elif step.values is not None:
                        mixed.append(_own_mixing(step))
                if not mixed:
                    _leave_out(record, layers, skipped, "value_zeroing")
                    continue
                (whole,) = join_steps(mixed)
                part = _part(batch, whole, whole.weights, record)
                found.setdefault(number, []).append(part)
    _check_left(found, skipped, subject.estimator, "value_zeroing")
    records = [assemble(parts, subject) for parts in found.values()]
    return Bunch(
        records=records,
        layers=[Layer(record.layer, record.kind) for record in records],
        blocks=[blocks[number] for number in found],
        skipped=skipped,
    )


def _leave_out(
    record: Recorded, layers: Layers, skipped: dict[Layer, str], caller: str
) -> None:
    """Skip a layer without values, unless the user asked for it."""
    if layers is not None:
        raise ValueError(
            f"{caller} cannot measure the layer {record.layer!r}: {_NO_VALUES}. Choose "
            "other layers, or leave layers=None for all that it can measure."
        )
    skipped[Layer(record.layer, record.kind)] = _NO_VALUES


def _check_left(
    found: dict[int, Any], skipped: dict[Layer, str], estimator: Any, caller: str
) -> None:
    if not found:
        names = ", ".join(repr(layer.layer) for layer in skipped)
        raise ValueError(
            f"{caller} finds nothing to measure in the architecture "
            f"{estimator.architecture_.name!r}: the layers {names} record no values "
            "that their weights multiply. Choose another architecture."
        )


def _part(
    batch: Batch, record: Recorded, numbers: Tensor, original: Any = None
) -> Part:
    """Give what one batch has of one layer, cut to its rows."""
    place = None
    if record.edge_index is not None:
        place = batch.place_of(record if original is None else original)
    mask = None if record.mask is None else record.mask.cpu().numpy()
    kept = numbers.float().cpu().numpy()
    if record.edge_index is None:
        kept = kept[: len(batch.rows)]
        mask = None if mask is None else mask[: len(batch.rows)]
    return Part(batch.rows, kept, mask, place, record)


def _mapped_values(record: Recorded) -> Tensor:
    """Compute f(x): (k, groups, heads, keys, width) or (edges, groups, heads, width).

    Without a map of the joined heads, each has dimensions of its own.
    """
    import torch

    n_heads = record.weights.shape[1]
    values = record.values
    assert values is not None
    values = values.double().expand(-1, n_heads, *values.shape[2:])
    values = values.unflatten(1, (record.groups, -1))
    heads, d = values.shape[2], values.shape[-1]
    output = record.output
    if output is None:
        output = torch.eye(heads * d, device=values.device)
    maps = output.double().unflatten(1, (heads, d))  # (width, heads, d)
    if record.edge_index is not None:
        return torch.einsum("eghd,whd->eghw", values, maps)
    return torch.einsum("bghkd,whd->bghkw", values, maps)


def _grams(mapped: Tensor) -> Tensor:
    """Multiply the values of each two heads: (k, groups, keys, heads, heads)."""
    import torch

    return torch.einsum("bghkw,bgikw->bgkhi", mapped, mapped)


def _squares(alpha: Tensor, grams: Tensor) -> Tensor:
    """Compute the squared norms of what all heads together give."""
    import torch

    total = torch.zeros_like(alpha[:, :, 0])
    for head in range(alpha.shape[2]):  # a head at a time: (k, groups, queries, keys)
        beside = torch.einsum("bgki,bgiqk->bgqk", grams[:, :, :, head], alpha)
        total += alpha[:, :, head] * beside
    return total.clamp(min=0)


def _norms(record: Recorded) -> tuple[Tensor, Tensor]:
    """Compute norms for each head, and for the heads of each group together."""
    mapped = _mapped_values(record)
    alpha = record.weights.detach().double().unflatten(1, (record.groups, -1))
    if record.edge_index is not None:
        given = alpha[..., None] * mapped  # (edges, groups, heads, width)
        return given.norm(dim=-1).flatten(1), given.sum(dim=2).norm(dim=-1)
    apart = alpha.abs() * mapped.norm(dim=-1)[..., None, :]
    return apart.flatten(1, 2), _squares(alpha, _grams(mapped)).sqrt()


def _cosine_distance(squared: Tensor, with_part: Tensor, part: Tensor) -> Tensor:
    """Compute how far o - c is from o, given their products |o|2, oc and |c|2."""
    rest = (squared - 2 * with_part + part).clamp(min=0)
    norms = (squared * rest).sqrt()
    # Nothing has no direction: where all is gone, all has changed.
    alike = (squared - with_part) / norms.clamp(min=1e-300)
    alike = alike.where(norms > 0, (part == 0).double())
    return (1 - alike).clamp(min=0)


def _own_mixing(step: Recorded) -> Recorded:
    """Compare the attention's own output with and without each value."""
    import torch

    mapped = _mapped_values(step)
    alpha = step.weights.detach().double().unflatten(1, (step.groups, -1))
    if step.edge_index is not None:
        target = step.edge_index[1]
        given = (alpha[..., None] * mapped).sum(dim=2)  # (edges, groups, width)
        whole = given.new_zeros(int(target.max()) + 1, *given.shape[1:])
        whole = whole.index_add(0, target, given)[target]
        products = (whole * whole, whole * given, given * given)
        mixing = _cosine_distance(*(product.sum(dim=-1) for product in products))
        mixing = mixing.where(alpha.abs().sum(dim=2) > 0, 0)
        total = mixing.new_zeros(int(target.max()) + 1, mixing.shape[1])
        total = total.index_add(0, target, mixing)[target]
        return _mixed(step, mixing / total.where(total > 0, 1))
    whole = torch.einsum("bghqk,bghkw->bgqw", alpha, mapped)
    with_part = torch.zeros_like(alpha[:, :, 0])
    for head in range(alpha.shape[2]):
        beside = torch.einsum("bgqw,bgkw->bgqk", whole, mapped[:, :, head])
        with_part += alpha[:, :, head] * beside
    squared = whole.square().sum(dim=-1)[..., None]
    mixing = _cosine_distance(squared, with_part, _squares(alpha, _grams(mapped)))
    return _mixed(step, _shared_out(mixing, alpha))


def _shared_out(mixing: Tensor, alpha: Tensor) -> Tensor:
    """Scale rows to sum to one; keys that nobody looks at change nothing."""
    mixing = mixing.where(alpha.abs().sum(dim=2) > 0, 0)
    total = mixing.sum(dim=-1, keepdim=True)
    return mixing / total.where(total > 0, 1)


def _mixed(step: Recorded, mixing: Tensor) -> Recorded:
    """Write a step with one head for each group of its heads."""
    return replace(
        step,
        weights=mixing,
        mask=joined_mask(step.mask, step.groups),
        values=None,
        output=None,
        normalised=True,
    )


@dataclass(eq=False)
class _Call:
    """A module that runs, and what it was called with."""

    module: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    n_recorded: int = 0
    output: Any = None


Around = list[tuple[_Call, int]]  # from the innermost; which record of the call it is


@dataclass(eq=False)
class _Watch:
    """Which modules run around each attention that is recorded."""

    net: Any
    names: dict[Any, str]
    calls: list[Around] = field(default_factory=list)
    running: list[_Call] = field(default_factory=list)
    depths: dict[int, int | None] = field(default_factory=dict)
    is_on: bool = True

    def begin(self, module: Any, args: Any, kwargs: Any) -> None:
        if self.is_on:
            self.running.append(_Call(module, args, kwargs))

    def end(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if self.is_on:
            self.running.pop().output = output

    def note(self, recorded: Recorded) -> None:
        self.calls.append([(call, call.n_recorded) for call in reversed(self.running)])
        for call in self.running:
            call.n_recorded += 1

    def name_of(self, call: tuple[_Call, int]) -> str:
        return self.names[call[0].module]

    def run(
        self, call: tuple[_Call, int], change: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Run a module again, with other weights in one attention of it."""
        import torch

        from skattn._engine._runtime import autocast
        from skattn.nn import recording

        around, number = call
        count = -1

        def receive(recorded: Recorded) -> Tensor | None:
            nonlocal count
            count += 1
            return change(recorded.weights.clone()) if count == number else None

        device = torch.device(self.net.device)
        self.is_on = False
        try:
            with torch.no_grad(), recording(receive):
                if self.net.precision != "bfloat16":
                    return around.module(*around.args, **around.kwargs)
                with autocast(self.net.precision, device):
                    return around.module(*around.args, **around.kwargs)
        finally:
            self.is_on = True

    def block_of(
        self, number: int, step: Recorded, calls: Around
    ) -> tuple[_Call, int] | None:
        """Find the block around a layer; once for all batches."""
        if step.edge_index is not None:
            return None
        if number not in self.depths:
            self.depths[number] = self._depth_of(step, calls)
        depth = self.depths[number]
        return None if depth is None else calls[depth]

    def _depth_of(self, step: Recorded, calls: Around) -> int | None:
        n_rows, n_queries = len(step.weights) * step.groups, step.weights.shape[2]
        innermost, width = None, None
        for depth, call in enumerate(calls):
            output = call[0].output
            if not _is_of_queries(output, n_rows, n_queries, width):
                continue
            again = self.run(call, _without_first_query)
            if not again[..., 1:, :].allclose(output[..., 1:, :], rtol=0, atol=1e-6):
                break
            if any(map(_is_norm, call[0].module.children())):
                return depth
            if innermost is None:
                innermost, width = depth, output.shape[-1]
        return innermost


def _is_of_queries(output: Any, n_rows: int, n_queries: int, width: int | None) -> bool:
    """Tell whether an output is a vector for each query."""
    import torch

    return (
        isinstance(output, torch.Tensor)
        and output.dim() >= 3
        and output.shape[-2] == n_queries
        and output.shape[:-2].numel() == n_rows
        and width in (None, output.shape[-1])
    )


def _is_norm(module: Any) -> bool:
    return "norm" in type(module).__name__.lower()


def _without_first_query(weights: Tensor) -> Tensor:
    weights[..., 0, :] = 0
    return weights


def _without_key(weights: Tensor, key: int) -> Tensor:
    weights[..., key] = 0
    return weights


def _mixing(step: Recorded, call: tuple[_Call, int], watch: _Watch) -> Recorded:
    """Run a block once more for each key, whose value is zero."""
    import torch

    alpha = step.weights.detach().unflatten(1, (step.groups, -1))
    shape = (len(alpha), step.groups, alpha.shape[3], -1)
    whole = call[0].output.double().reshape(shape)  # (k, groups, queries, width)
    mixing = torch.zeros_like(alpha[:, :, 0], dtype=torch.float64)
    for key in range(alpha.shape[-1]):
        if not alpha[..., key].any():
            continue
        without = (
            watch.run(call, partial(_without_key, key=key)).double().reshape(shape)
        )
        alike = torch.cosine_similarity(whole, without, dim=-1)
        mixing[..., key] = (1 - alike).clamp(min=0)
    return _mixed(step, _shared_out(mixing, alpha))


@contextmanager
def _watching(net: Any) -> Iterator[_Watch]:
    """Follow which modules of a net run."""
    module = getattr(net.module_, "_orig_mod", net.module_)
    watch = _Watch(net, {part: name for name, part in module.named_modules()})
    hooks = []
    for part in watch.names:
        hooks.append(part.register_forward_pre_hook(watch.begin, with_kwargs=True))
        hooks.append(part.register_forward_hook(watch.end, with_kwargs=True))
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()
