"""How attention agrees between layers, estimators and epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.utils import Bunch

from skattn.inspection._record import Layers, names_of
from skattn.inspection._run import Subject, subject_of
from skattn.inspection._statistics import (
    PairSums,
    check_found,
    each_batch,
    normalised,
)
from skattn.inspection._weights import Layer, Weights, aligned, rank_correlations


def attention_transfer(
    first: Any, second: Any = None, X: Any = None, *, layers: Layers = None
) -> Bunch:
    r"""Measure how far what one layer attends to is what another one attends to.

    Heads are compared as in `head_similarity`, by the Jensen-Shannon distance of their
    weights, at the queries that both layers have; a layer and another one by the mean
    of the pairs of heads that match best (Kuhn, "The Hungarian Method for the
    Assignment Problem", Naval Research Logistics Quarterly 2, 1955), and by the rank
    correlation of their weights: Spearman's, of the means over heads, within each query
    and averaged over them. Clark, Khandelwal, Levy and Manning, "What Does BERT Look
    At?", BlackboxNLP 2019, arXiv 1906.04341, compare heads in this way.

    Parameters
    ----------
    first : estimator or AttentionHistory
        A fitted estimator, as for `attention_weights`; or what was kept of a training,
        whose epochs are compared.
    second : estimator, optional
        Another one that sees the same positions. By default the layers of `first` are
        compared with each other.
    X : array-like, DataFrame or panel, optional
        Samples, as for ``predict`` of both. Not for epochs.
    layers : str, int, or sequence of them, optional
        Which records of `first`, and of `second`, as for `attention_weights`. Not for
        epochs.

    Returns
    -------
    transfer : Bunch
        With ``similarity`` and ``rank_correlation``, arrays of shape (layers of first,
        layers of second), NaN where they have no positions in common; ``layers`` and
        ``other_layers``, lists of `Layer`; ``head_similarity``, an array of shape
        (heads of first, heads of second); ``heads`` and ``other_heads``, lists of
        named tuples (layer, kind, head); ``matches``, the pairs of heads that match
        best, each a tuple of two heads and their similarity, over all layers;
        ``skipped``, a dict of layers that were left out and why. Of epochs,
        ``similarity``, of shape (n_layers, n_epochs), to the epoch before that was
        looked at; ``layers`` and ``epochs``.

    Raises
    ------
    TypeError
        If an estimator is none of skattn's with attention.
    ValueError
        If there is no such layer, none whose weights sum to one, or both estimators
        attend to other positions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import attention_transfer
    >>> X, y = load_iris(return_X_y=True)
    >>> one, other = (
    ...     skattn.AttentionClassifier(max_epochs=1, random_state=seed).fit(X, y)
    ...     for seed in range(2)
    ... )
    >>> attention_transfer(one, other, X[:20]).similarity.shape
    (2, 2)
    """
    if hasattr(first, "records_") and hasattr(first, "to_frame"):
        return _between_epochs(first, second, X, layers)
    subjects = [subject_of(first, X, "attention_transfer")]
    if second is not None:
        subjects.append(subject_of(second, X, "attention_transfer"))
    sums, ranks = PairSums(), _Ranks()
    skipped: dict[Layer, str] = {}
    own: list[Weights] = []
    for batches in _side_by_side(subjects, layers):
        kept = [normalised(batch, skipped) for batch in batches]
        for each, subject in zip(kept, subjects, strict=True):
            check_found(each, skipped, subject, "attention_transfer")
        own, other = kept[0], kept[-1]
        if second is not None and not sums.first:
            _check_positions(own, other, subjects)
        sums.add(own, other)
        ranks.add(own, other)
    similarity, _ = sums.mean_std()
    if second is None:
        similarity[np.diag_indices(len(similarity))] = 1
    return Bunch(
        similarity=_between_layers(similarity, sums),
        rank_correlation=ranks.mean(),
        layers=[each.layer for each in own],
        other_layers=[each.layer for each in other],
        head_similarity=similarity,
        heads=[head for _, head in sums.first],
        other_heads=[head for _, head in sums.second],
        matches=[
            (sums.first[row][1], sums.second[column][1], float(similarity[row, column]))
            for row, column in _best_pairs(similarity)
        ],
        skipped=skipped,
    )


class _Ranks:
    """Rank correlations of pairs of layers, summed over queries, batch by batch."""

    def __init__(self) -> None:
        self.sums = np.zeros(0)

    def add(self, first: Sequence[Weights], second: Sequence[Weights]) -> None:
        sums = np.zeros((2, len(first), len(second)))
        for row, one in enumerate(first):
            for column, other in enumerate(second):
                pair = aligned(one, other)
                if pair is not None:
                    found = rank_correlations(*pair)
                    sums[:, row, column] = found.sum(), len(found)
        self.sums = self.sums + sums if self.sums.size else sums

    def mean(self) -> np.ndarray:
        total, count = self.sums
        nothing = np.full_like(total, np.nan)
        return np.divide(total, count, out=nothing, where=count > 0)


def _best_pairs(similarity: np.ndarray) -> Iterator[tuple[int, int]]:
    """Match rows with columns, each at most once; not those that were not compared."""
    known = np.where(np.isnan(similarity), -len(similarity) - 1.0, similarity)
    for row, column in zip(*linear_sum_assignment(known, maximize=True), strict=True):
        if not np.isnan(similarity[row, column]):
            yield int(row), int(column)


def _between_layers(similarity: np.ndarray, sums: PairSums) -> np.ndarray:
    """Average over the best pairs of heads of each two layers."""
    rows = np.array([number for number, _ in sums.first])
    columns = np.array([number for number, _ in sums.second])
    joint = np.full((rows.max() + 1, columns.max() + 1), np.nan)
    for place in np.ndindex(joint.shape):
        block = similarity[np.ix_(rows == place[0], columns == place[1])]
        if not np.isnan(block).any():
            joint[place] = np.mean([block[pair] for pair in _best_pairs(block)])
    return joint


@contextmanager
def _state_of_torch_kept() -> Iterator[None]:
    """Leave torch as found, where two walks end in another order than they began."""
    import torch

    n_threads = torch.get_num_threads()
    with torch.set_grad_enabled(torch.is_grad_enabled()):
        try:
            yield
        finally:
            if torch.get_num_threads() != n_threads:
                torch.set_num_threads(n_threads)


def _side_by_side(
    subjects: Sequence[Subject], layers: Layers
) -> Iterator[tuple[list[Weights], ...]]:
    """Walk through the same batches of both estimators."""
    with _state_of_torch_kept():
        try:
            for batches in zip(
                *(each_batch(subject, layers) for subject in subjects), strict=True
            ):
                rows = [batch[0].rows for batch in batches]
                if not np.array_equal(rows[0], rows[-1]):
                    raise _Apart
                yield batches
        except (_Apart, ValueError) as error:
            if isinstance(error, ValueError) and "zip()" not in str(error):
                raise
            lengths = " and ".join(str(len(each.samples)) for each in subjects)
            raise ValueError(
                "attention_transfer compares two estimators that read the samples "
                f"alike; these made {lengths} samples of them, or cut them to other "
                "lengths. Pass estimators that were fitted on the same kind of data."
            ) from None


class _Apart(Exception):
    """Two estimators went through the samples in another order."""


def _check_positions(
    first: Sequence[Weights], second: Sequence[Weights], subjects: Sequence[Subject]
) -> None:
    """Check that some two layers attend to positions of the same names."""
    for one in first:
        for other in second:
            if aligned(one, other) is None:
                continue
            if one.is_edge or _keys_of(one, subjects[0]) == _keys_of(
                other, subjects[1]
            ):
                return
    told = [_described(each[0]) for each in (first, second)]
    raise ValueError(
        "attention_transfer compares weights at the same positions: the first "
        f"estimator attends {told[0]}, the second one {told[1]}, or they name these "
        "otherwise. Pass estimators that see the same columns, steps or tokens."
    )


def _keys_of(weights: Weights, subject: Subject) -> list[Any]:
    record = weights.record
    length, n_samples = record.weights.shape[3], len(subject.samples)
    return names_of(record.keys, length, n_samples, subject.name_axis)


def _described(weights: Weights) -> str:
    record = weights.record
    if weights.is_edge:
        return f"along {record.weights.shape[0]} edges of {record.keys!r}"
    n_queries, n_keys = record.weights.shape[2:]
    queries, keys = record.queries, record.keys
    return f"from {n_queries} {queries!r} to {n_keys} {keys!r}"


def _between_epochs(history: Any, second: Any, X: Any, layers: Layers) -> Bunch:
    """Average over heads what a callback kept."""
    for name, value in (("second", second), ("X", X), ("layers", layers)):
        if value is not None:
            raise ValueError(
                "attention_transfer compares the epochs of an AttentionHistory without "
                f"{name}: it kept summaries, not weights. Leave {name} out."
            )
    frame = history.to_frame()
    table = frame.groupby(["layer", "kind", "epoch"], sort=False)["similarity"].mean()
    table = table.unstack("epoch")
    order = list(dict.fromkeys(zip(frame["layer"], frame["kind"], strict=True)))
    table = table.loc[order].sort_index(axis=1)
    return Bunch(
        similarity=table.to_numpy(),
        layers=[Layer(*names) for names in order],
        epochs=[int(epoch) for epoch in table.columns],
    )
