"""Which heads of attention matter, and the same net without those that do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch, _safe_indexing, check_random_state

from skattn.inspection._changes import permuted_weights
from skattn.inspection._run import check_attends, is_forecaster, last_step

if TYPE_CHECKING:
    from torch import Tensor

    from skattn.nn import Recorded

_METHODS = ("ablate", "gradient", "permute")

# Samples whose gradients are computed at once.
_BATCH = 64


class Head(NamedTuple):
    """A head of attention.

    Parameters
    ----------
    layer : str
        Which layer of the network, as records name it.
    kind : str
        ``"self"``, ``"cross"``, ``"pooling"``, ``"edge"``, ...
    head : int
        Number of the head in this layer.
    """

    layer: str
    kind: str
    head: int


def head_importance(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    method: str = "ablate",
    n_repeats: int = 5,
    scoring: Any = None,
    random_state: Any = None,
) -> Bunch:
    r"""Measure how much a fitted estimator needs each of its attention heads.

    By ablation, the importance of head :math:`h` is the drop of the score
    :math:`s(\xi) - s(\xi_h = 0)`, where the gate :math:`\xi_h` multiplies all weights
    of the head. By gradients it is the mean over samples of

    .. math:: I_h = \left| \frac{\partial L_i}{\partial \xi_h} \right|
              = \Bigl| \sum_{qk} \alpha^h_{qk}
              \frac{\partial L_i}{\partial \alpha^h_{qk}} \Bigr|

    with the loss :math:`L_i` that the net was trained with; of a sequence, the sum over
    its tokens. By permutation, it is the drop of the score where each query gives its
    weights to other keys, drawn from those that it may attend to: what it costs not to
    know where to look.

    Parameters
    ----------
    estimator : estimator
        A fitted skattn estimator; a Pipeline or a transformed forecaster that ends in
        one, or a search over one.
    X : array-like, DataFrame, list or panel
        Samples that are scored, better others than those of ``fit``. Of a forecaster,
        the covariates of the steps to forecast, or None.
    y : array-like or list
        Their targets; of a forecaster, the values at the steps to forecast.
    method : {"ablate", "gradient", "permute"}, default="ablate"
        How importance is measured. ``"gradient"`` takes one pass over the samples (of
        nodes, one backwards for each), the others ``n_repeats`` for each head.
    n_repeats : int, default=5
        By ablation, so many samples of the same size are drawn with replacement, the
        same ones for all heads; 1 scores `X` as it is. The few series of a forecaster
        are not drawn: its repeats are equal. By permutation, so many permutations of
        all weights. By gradients, so many disjoint parts of the samples.
    scoring : str, callable or None, default=None
        As in `sklearn.inspection.permutation_importance`; None takes the ``score`` of
        `estimator`, whose sign is turned for a forecaster, where it is an error. Not
        used with ``method="gradient"``.
    random_state : int, RandomState or None, default=None
        Draws samples, permutations or parts.

    Returns
    -------
    importance : Bunch
        With ``importances``, an ndarray of shape (n_heads, n_repeats),
        ``importances_mean`` and ``importances_std`` of shape (n_heads,), and ``heads``,
        a list of tuples ``(layer, kind, head)`` in the order of computation: all heads
        of all layers. A head that all channels share counts once.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, or `method`, `n_repeats` or `scoring`
        cannot be used with it.

    See Also
    --------
    prune_heads : The same estimator without some heads.

    References
    ----------
    Michel, Levy, Neubig, "Are Sixteen Heads Really Better than One?", NeurIPS 2019,
    arXiv 1905.10650. Voita, Talbot, Moiseev, Sennrich, Titov, "Analyzing Multi-Head
    Self-Attention: Specialized Heads Do the Heavy Lifting, the Rest Can Be Pruned", ACL
    2019, arXiv 1905.09418.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skattn import AttentionClassifier
    >>> from skattn.inspection import head_importance
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = AttentionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> importance = head_importance(clf, X, y, method="gradient", random_state=0)
    >>> importance.importances.shape
    (8, 5)
    >>> importance.heads[0]
    Head(layer='blocks.0', kind='self', head=0)
    """
    if method not in _METHODS:
        raise ValueError(
            f"method={method!r} must be one of {', '.join(map(repr, _METHODS))}."
        )
    is_count = isinstance(n_repeats, Integral) and not isinstance(n_repeats, bool)
    if not is_count or n_repeats < 1:
        raise ValueError(f"n_repeats={n_repeats!r} must be an integer of at least 1.")
    attending = _attending(estimator, "head_importance")
    random = check_random_state(random_state)
    if method == "gradient":
        if scoring is not None:
            raise ValueError(
                f"scoring={scoring!r} is not used by method='gradient', which follows "
                "the loss that the net was trained with. Leave it out, or choose "
                "method='ablate'."
            )
        heads, importances = _by_gradient(estimator, X, y, n_repeats, random)
    else:
        score = _scorer(estimator, attending, scoring)
        if not is_forecaster(attending):
            X = _separate(attending, X)
        permuted = method == "permute"
        measure = _by_permutation if permuted else _by_ablation
        heads, importances = measure(score, attending, X, y, n_repeats, random)
    return Bunch(
        importances=importances,
        importances_mean=importances.mean(axis=1),
        importances_std=importances.std(axis=1),
        heads=heads,
    )


def prune_heads(estimator: Any, keep: Mapping[Any, Sequence[int]]) -> Any:
    """Copy a fitted estimator and take attention heads out of the copy.

    Their part of all weights goes: the net is smaller and faster, and gives what the
    estimator gives where all attention weights of these heads are zero. What they would
    add for no input, the net without them gives as before.

    Parameters
    ----------
    estimator : estimator
        A fitted skattn estimator; a Pipeline or a transformed forecaster that ends in
        one, or a search over one. It is left as it is.
    keep : dict
        For layers, or pairs of a layer and a kind, the numbers of the heads that stay,
        as in ``heads`` of `head_importance`. Other layers keep all. An empty list takes
        the attention out of a layer, where something else leads through it.

    Returns
    -------
    pruned : estimator
        Fitted. Its heads are numbered anew. It can be pickled, copied and trained
        further, with an optimizer that begins anew; a clone, or another ``fit`` from
        scratch, has all the heads that its parameters and ``architecture_`` tell of.
        What was measured of the whole net, such as the errors behind a forecaster's
        prediction intervals, is kept as it was.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention, or `keep` is no dict.
    NotFittedError
        If it is not fitted.
    ValueError
        If there is no such layer or head, or a layer cannot do without.

    See Also
    --------
    head_importance : Which heads to keep.

    References
    ----------
    Michel, Levy, Neubig, "Are Sixteen Heads Really Better than One?", NeurIPS 2019,
    arXiv 1905.10650.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skattn import AttentionClassifier
    >>> from skattn.inspection import prune_heads
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = AttentionClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> pruned = prune_heads(clf, {"blocks.0": [0, 2], "blocks.1": []})
    >>> pruned.predict(X).shape
    (150,)
    """
    from skattn._engine._pruning import prunable, prune

    if not isinstance(keep, Mapping):
        raise TypeError(
            f"keep={keep!r} must be a dict of layers, or of pairs (layer, kind), and "
            "the numbers of the heads that stay in them."
        )
    name = _attending(estimator, "prune_heads").architecture_.name
    pruned = deepcopy(estimator)
    net = _attending(pruned, "prune_heads").net_
    counts = {at: modules[0].num_heads for at, modules in prunable(net.module_).items()}
    chosen = {}
    for layer, heads in keep.items():
        at = _find_layer(layer, counts, name)
        stay = _check_heads(at, heads, counts[at])
        if len(stay) < counts[at]:
            chosen[at] = stay
    if not chosen:
        return pruned
    prune(net.module_, [(*at, heads) for at, heads in chosen.items()])
    net.module = _remember(net.module, chosen)
    if hasattr(net, "optimizer_"):  # it knows the weights of before
        del net.optimizer_
    return pruned


def _attending(estimator: Any, caller: str) -> Any:
    """Find the fitted estimator that attends."""
    estimator, _ = last_step(estimator, None)
    check_attends(estimator, caller)
    if not hasattr(estimator, "net_"):
        raise NotFittedError(
            f"This {type(estimator).__name__} is not fitted yet. Call fit before "
            f"{caller}."
        )
    return estimator


def _is_panel(estimator: Any) -> bool:
    return hasattr(estimator, "_as_arrays")


def _scorer(estimator: Any, attending: Any, scoring: Any) -> Callable[..., float]:
    """Make what scores samples: the higher, the better."""
    if not is_forecaster(attending):
        scorer = check_scoring(estimator, scoring)
        return lambda X, y: float(scorer(estimator, X, y))
    if scoring is None:
        return lambda X, y: -float(estimator.score(y, X))
    if not callable(scoring):
        raise ValueError(
            f"scoring={scoring!r} names a score of predictions, and "
            f"{type(attending).__name__} forecasts. Leave it None for the forecaster's "
            "own score, or pass a callable (forecaster, X, y) that gives a number, "
            "higher for better forecasts."
        )
    return lambda X, y: float(scoring(estimator, X, y))


def _separate(attending: Any, X: Any) -> Any:
    """Turn the series of one frame with an index of two levels into a list."""
    if _is_panel(attending) and getattr(getattr(X, "index", None), "nlevels", 1) > 1:
        return [X.loc[key] for key in X.index.get_level_values(0).unique()]
    return X


def _scored(
    score: Callable[..., float],
    X: Any,
    y: Any,
    change: Callable[[Recorded], Tensor | None],
) -> float:
    """Score while `change` may replace what the layers recorded."""
    from skattn.nn import recording

    with recording(change):
        return score(X, y)


def _heads_of(
    score: Callable[..., float], attending: Any, X: Any, y: Any
) -> tuple[list[Head], float]:
    """List all heads, and score without any change."""
    counts: dict[tuple[str, str], int] = {}

    def count(recorded: Recorded) -> None:
        _count_heads(counts, recorded)

    whole = _scored(score, X, y, count)
    return _listed(counts, attending), whole


def _count_heads(counts: dict[tuple[str, str], int], recorded: Recorded) -> None:
    at = (recorded.layer, recorded.kind)
    n_heads = recorded.weights.shape[1] // recorded.groups
    counts[at] = max(counts.get(at, 0), n_heads)


def _listed(counts: dict[tuple[str, str], int], attending: Any) -> list[Head]:
    if not counts:
        name = attending.architecture_.name
        raise ValueError(f"The architecture {name!r} recorded no attention.")
    return [
        Head(*at, head) for at, n_heads in counts.items() for head in range(n_heads)
    ]


def _by_ablation(
    score: Callable[..., float],
    attending: Any,
    X: Any,
    y: Any,
    n_repeats: int,
    random: np.random.RandomState,
) -> tuple[list[Head], np.ndarray]:
    heads, whole = _heads_of(score, attending, X, y)
    if n_repeats == 1 or is_forecaster(attending):
        drops = [whole - _scored(score, X, y, _without(head)) for head in heads]
        return heads, np.repeat(np.array(drops)[:, None], n_repeats, axis=1)
    importances = np.empty((len(heads), n_repeats))
    n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
    for repeat in range(n_repeats):
        rows = random.randint(n_samples, size=n_samples)
        some, truth = _safe_indexing(X, rows), _safe_indexing(y, rows)
        # Both scores are of weights that were computed in the same way.
        whole = _scored(score, some, truth, lambda recorded: None)
        for number, head in enumerate(heads):
            left = _scored(score, some, truth, _without(head))
            importances[number, repeat] = whole - left
    return heads, importances


def _by_permutation(
    score: Callable[..., float],
    attending: Any,
    X: Any,
    y: Any,
    n_repeats: int,
    random: np.random.RandomState,
) -> tuple[list[Head], np.ndarray]:
    heads, whole = _heads_of(score, attending, X, y)
    importances = np.empty((len(heads), n_repeats))
    for repeat in range(n_repeats):
        for number, head in enumerate(heads):
            seed = int(random.randint(np.iinfo(np.int32).max))
            left = _scored(score, X, y, _permuted(head, seed))
            importances[number, repeat] = whole - left
    return heads, importances


def _without(head: Head) -> Callable[[Recorded], Tensor | None]:
    """Make a receiver that gives a head weights of zero."""
    return _changed(head, lambda recorded, rows: recorded.weights[:, rows] * 0)


def _permuted(head: Head, seed: int) -> Callable[[Recorded], Tensor | None]:
    """Make a receiver that deals the weights of a head out anew."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return _changed(
        head, lambda recorded, rows: permuted_weights(recorded, generator, rows)
    )


def _changed(
    head: Head, change: Callable[[Recorded, slice], Tensor]
) -> Callable[[Recorded], Tensor | None]:
    """Make a receiver that changes one head, in all groups."""

    def receive(recorded: Recorded) -> Tensor | None:
        n_heads = recorded.weights.shape[1] // recorded.groups
        is_meant = (recorded.layer, recorded.kind) == (head.layer, head.kind)
        if not is_meant or head.head >= n_heads:
            return None
        rows = slice(head.head, None, n_heads)
        weights = recorded.weights.clone()
        weights[:, rows] = change(recorded, rows)
        return weights

    return receive


def _by_gradient(
    estimator: Any, X: Any, y: Any, n_repeats: int, random: np.random.RandomState
) -> tuple[list[Head], np.ndarray]:
    attending, X = last_step(estimator, X)
    if is_forecaster(attending):
        raise ValueError(
            "method='gradient' needs targets in the units of the net's windows, which "
            f"{type(attending).__name__} has in training only. Choose method='ablate' "
            "or method='permute'."
        )
    if _is_panel(attending):
        X = attending._as_arrays(attending._check_convert_X_for_predict(X))
        attending = attending.estimator_
    net, samples = _with_targets(attending, X, y)
    n_samples = len(samples)
    if n_samples < n_repeats:
        raise ValueError(
            f"n_repeats={n_repeats} parts cannot be made of {n_samples} samples. Lower "
            "n_repeats, or pass more samples."
        )
    counts, slopes = _slopes(net, samples, attending.num_threads)
    heads = _listed(counts, attending)
    sizes = np.column_stack(
        [np.abs(slopes[head.layer, head.kind][:, head.head]) for head in heads]
    )
    parts = np.array_split(random.permutation(n_samples), n_repeats)
    return heads, np.column_stack([sizes[part].mean(axis=0) for part in parts])


def _with_targets(estimator: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """Encode samples as prediction does, with targets as training does."""
    import torch

    estimator._check_input(X)
    net, encoder, target = estimator.net_, estimator._encoder, estimator._target
    X, y, _ = estimator._check_rows(X, y, None, encoder, target)
    content, encoded = encoder.read(X), target.encode(y)
    if encoded.dtype == object:  # a sequence, which a decoder is given, too
        return net, encoder.samples(content, net, encoded)
    samples = encoder.samples(content, net)
    values = torch.from_numpy(np.ascontiguousarray(encoded))
    dtype = next(net.module_.parameters()).dtype if values.is_floating_point() else None
    samples.target = values.to(net.device, dtype)
    return net, samples


def _slopes(
    net: Any, samples: Any, num_threads: int | None
) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], np.ndarray]]:
    """Differentiate the loss of each sample with respect to the gate of each head.

    Returns
    -------
    counts : dict of (str, str) to int
        How many heads there are, for each layer and kind.
    slopes : dict of (str, str) to ndarray of shape (n_samples, heads)
        The derivatives.
    """
    import torch

    from skattn._engine._runtime import torch_threads
    from skattn.nn import recording

    counts: dict[tuple[str, str], int] = {}
    slopes: dict[tuple[str, str], np.ndarray] = {}
    steps: list[Recorded] = []

    def receive(recorded: Recorded) -> Tensor | None:
        _count_heads(counts, recorded)
        constant = None
        if not recorded.weights.requires_grad:
            constant = recorded.weights.detach().clone().requires_grad_()
            recorded = replace(recorded, weights=constant)
        steps.append(recorded)
        return constant

    order = torch.arange(len(samples))
    if samples.sizes is not None:
        order = samples.sizes.cpu().argsort(stable=True)
    net._set_training(False)
    # CUDA's recurrent kernels have no gradient outside training.
    kernels = torch.backends.cudnn.flags(enabled=False)
    with torch_threads(num_threads), kernels, torch.enable_grad():
        for rows in order.split(_BATCH):
            steps.clear()
            inputs, target = samples.take(rows.to(net.device))
            with recording(receive):
                scores = net.infer(inputs)
            losses = net.criterion_(scores, *target.compared)
            losses = losses * (target.size / len(target.values))  # not a mean of tokens
            for at, part in _gates(net, losses, steps, inputs):
                found = slopes.setdefault(at, np.zeros((len(samples), counts[at])))
                found[rows.numpy(), : part.shape[1]] += part
    return counts, slopes


def _gates(
    net: Any, losses: Tensor, steps: list[Recorded], inputs: dict[str, Tensor]
) -> list[tuple[tuple[str, str], np.ndarray]]:
    """Give the derivatives of a batch: for each step, (samples, heads)."""
    import torch

    def follow(total: Tensor) -> list[Tensor]:
        weights = [step.weights for step in steps]
        slopes = torch.autograd.grad(
            total, weights, retain_graph=True, allow_unused=True
        )
        return [
            torch.zeros_like(alpha) if slope is None else alpha.detach() * slope
            for alpha, slope in zip(weights, slopes, strict=True)
        ]

    if net.module.data.input == "nodes":  # which share all edges
        each = [[part.sum(dim=0) for part in follow(loss)] for loss in losses]
        joined = [torch.stack(parts) for parts in zip(*each, strict=True)]
    else:
        joined = [
            _by_sample(part, step, inputs.get("batch"), len(losses))
            for part, step in zip(follow(losses.sum()), steps, strict=True)
        ]
    return [
        ((step.layer, step.kind), part.cpu().double().numpy())
        for step, part in zip(steps, joined, strict=True)
    ]


def _by_sample(
    part: Tensor, step: Recorded, graphs: Tensor | None, n_samples: int
) -> Tensor:
    """Sum over all weights of a head in a sample: (samples, heads)."""
    if step.edge_index is None:
        by_group = part.sum(dim=(2, 3)).unflatten(1, (step.groups, -1))
        return by_group.sum(dim=1)
    owner = step.edge_index[1]
    if step.kind != "pooling" and graphs is not None:
        owner = graphs[owner]
    return part.new_zeros(n_samples, part.shape[1]).index_add(0, owner, part)


def _find_layer(
    layer: Any, counts: dict[tuple[str, str], int], name: str
) -> tuple[str, str]:
    """Find the layer and the kind that a key of `keep` means."""
    if not counts:
        raise ValueError(
            f"The attention of the architecture {name!r} has no heads that could be "
            "taken out of it."
        )
    found = [at for at in counts if layer in (at, at[0])]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"The layer {layer!r} attends in several ways: name one of "
            f"{', '.join(map(repr, found))}."
        )
    there = ", ".join(f"{at!r} with {count}" for at, count in counts.items())
    raise ValueError(
        f"There is no layer {layer!r} whose heads could be taken out of the "
        f"architecture {name!r}. These can give up heads: {there}. Attention of "
        "another kind, such as pooling, has one head that the net needs."
    )


def _check_heads(at: tuple[str, str], heads: Any, n_heads: int) -> tuple[int, ...]:
    """Validate the numbers of heads and sort them."""
    if isinstance(heads, (str, Integral)):
        raise ValueError(
            f"keep[{at[0]!r}]={heads!r} must list the heads of this layer that stay, "
            "by their numbers: [0] keeps the first one."
        )
    there = f"its {n_heads} heads are numbered from 0 to {n_heads - 1}"
    for head in heads:
        is_number = isinstance(head, Integral) and not isinstance(head, bool)
        if not is_number or not 0 <= head < n_heads:
            raise ValueError(
                f"Layer {at[0]!r} of kind {at[1]!r} has no head {head!r}: "
                f"{there if n_heads else 'all have been taken out'}."
            )
    return tuple(sorted({int(head) for head in heads}))


def _remember(blueprint: Any, chosen: dict[tuple[str, str], tuple[int, ...]]) -> Any:
    """Write down which heads are left, by their numbers in the whole net."""
    kept = {(layer, kind): heads for layer, kind, heads in blueprint.kept_heads}
    for at, heads in chosen.items():
        before = kept.get(at)
        kept[at] = heads if before is None else tuple(before[head] for head in heads)
    return replace(
        blueprint, kept_heads=tuple((*at, heads) for at, heads in kept.items())
    )
