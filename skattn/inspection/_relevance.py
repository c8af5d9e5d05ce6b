"""How much each input matters, as attention tells through all layers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skattn.inspection._edges import (
    gradients_along_edges,
    is_of_graphs,
    last_along_edges,
    roll_along_edges,
)
from skattn.inspection._explanation import (
    Collected,
    explanation,
    named_subject,
    names_along,
)
from skattn.inspection._follow import (
    check_rollout,
    collect,
    collect_beside,
    fused_heads,
    mean_of_queries,
    mixture,
    relevance_of,
    roll,
    weighted_heads,
)
from skattn.inspection._objective import Objective
from skattn.inspection._paths import Paths, Shares
from skattn.inspection._run import Subject, walk
from skattn.inspection._streams import Stream


def attention_rollout(
    estimator: Any,
    X: Any = None,
    *,
    head_fusion: str = "mean",
    residual: float = 0.5,
    discard: float = 0.0,
    axis: str | None = None,
    per_query: bool = False,
) -> Bunch:
    r"""Rank inputs by what of the read-out attention leads back to them.

    .. math:: \hat A_l = \rho I + (1 - \rho) A_l, \quad
              \tilde A = \hat A_L \cdots \hat A_1

    with the attention :math:`A_l` of layer :math:`l`, its heads joined, and the part
    :math:`\rho` that the residual connection carries past it. The relevance of an input
    is the mean of its column over the rows of :math:`\tilde A` that the head reads.

    What attention along one axis cannot tell of another is lost: where it works within
    groups, such as PatchTST's within a channel, the groups are followed apart and
    added up. Two kinds of layers that never meet, such as those along time and those
    between the channels of a spatio-temporal net, rank their axes apart.

    Parameters
    ----------
    estimator : estimator
        As for `skattn.inspection.attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    head_fusion : {"mean", "max", "min"}, default="mean"
        How heads are joined.
    residual : float, default=0.5
        The :math:`\rho`, in layers whose queries are among their keys or go on beside
        what they find. Pooling and the selection of variables pass on everything.
    discard : float, default=0.0
        So large a part of the keys of each query are left out, those of the smallest
        weights.
    axis : str, optional
        Which axis of ``by_axis`` the result shows: by default the tokens, nodes, steps,
        channels or features, the first of these that there are.
    per_query : bool, default=False
        Also give ``rollout``, the rows of :math:`\tilde A`; not along edges.

    Returns
    -------
    explanation : Bunch
        With

        - ``importances`` (n_samples, n_positions), shares of the read-out, which sum to
          one where nothing stays with extra tokens; zero where padded. Of a node
          estimator, a scipy.sparse csr_array with a row for each node asked about;
        - ``importances_mean`` (n_positions,), the mean over the samples, where all
          share the names;
        - ``names`` of the positions; of texts and lists of graphs, a list for each
          sample;
        - ``axis``, what the positions are, such as ``"features"`` or ``"time"``;
        - ``by_axis``, a dict of such results for all axes of the input: ``"edges"`` of
          graphs in the order of ``Graph.edge_index``, ``"covariates"`` beside channels,
          the ``"features"`` that a net selects from;
        - ``method``, the name of this function.

        A step gets the mean of the patches that cover it, in proportion, so that the
        shares add up as before, and extra tokens are left out. With
        `per_query` also ``rollout`` (n_samples, n_queries, n_positions), the positions
        that are read one by one, and ``queries``, their names: of texts, a list for
        each sample, empty where padded.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, there is no such axis, or a
        parameter is out of range.

    References
    ----------
    Abnar, Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, arXiv
    2005.00928.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import attention_rollout
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(linear_skip=False, max_epochs=2).fit(X, y)
    >>> rollout = attention_rollout(clf, X[:10])
    >>> rollout.axis, rollout.importances.shape, rollout.names[0]
    ('features', (10, 4), 'sepal length (cm)')
    """
    subject = named_subject(estimator, X, "attention_rollout")
    check_rollout(head_fusion, residual, discard)
    name = subject.estimator.architecture_.name
    if is_of_graphs(subject):
        if per_query:
            raise ValueError(
                "per_query=True needs queries and keys of few positions, and the "
                f"architecture {name!r} attends along the edges of graphs. Of a node "
                "estimator, each row of importances is a query already."
            )
        by_axis = roll_along_edges(subject, head_fusion, discard, residual)
        return explanation(by_axis, axis, "attention_rollout", name)
    collected = Collected(subject)
    apart: dict[Stream, Collected] = {}
    is_idle = True
    for batch in walk(subject, with_gradient=True):
        paths = Paths(batch, subject)
        fused = [fused_heads(each, head_fusion, discard) for each in batch.records]
        gradients = batch.gradients(mixture(batch.scores))
        is_idle = is_idle and not any(bool(each.weights.any()) for each in gradients)
        sides = paths.read_out(gradients)
        start = paths.start(sides, apart=per_query)
        shares = roll(paths, start.shares, fused, residual)
        collect(collected, paths, batch, shares, start.weights)
        collect_beside(collected, paths, batch, fused)
        if per_query:
            ends = np.cumsum(start.sizes)
            for stream, end, size in zip(start.streams, ends, start.sizes, strict=True):
                rows = slice(end - size, end)
                part = {key: share[:, :, rows] for key, share in shares.items()}
                of_stream = apart.setdefault(stream, Collected(subject))
                collect(of_stream, paths, batch, part, None)
    if is_idle:
        _warn_of_idle(subject, "attention_rollout ranks what does not matter", 3)
    result = explanation(collected.axes(), axis, "attention_rollout", name)
    if per_query:
        parts = [each.axes()[result.axis].importances for each in apart.values()]
        names = names_along(subject, list(apart), [part.shape[1] for part in parts])
        result.rollout, result.queries = _side_by_side(parts, names)
    return result


def gradient_rollout(
    estimator: Any, X: Any = None, target: Any = None, *, axis: str | None = None
) -> Bunch:
    r"""Rank inputs by attention through which they change a score.

    .. math:: \bar A = \mathbb{E}_h (\nabla A \odot A)^+, \quad
              R \leftarrow R + \bar A R

    layer by layer from :math:`R = I`, with the gradient :math:`\nabla A` of the score
    with respect to the weights of a head. Where the queries are of another stream than
    the keys, what the keys mean to each other, and the queries, enters normalised, as
    in the paper. The relevance of an input is the mean of its column of :math:`R - I`
    over the rows that the score depends on: only what attention brought counts.

    Of numbers, which a regressor or a forecaster predicts, an increase means no more
    than a decrease: there :math:`|\nabla A \odot A|` takes the place of the positive
    part.

    Parameters
    ----------
    estimator : estimator
        As for `skattn.inspection.attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    target : object, optional
        Whose score: of a classifier a class, or one for each sample; by default the
        predicted ones. Of several class targets, a list of these; of yes-or-no labels,
        the number of one. Of a regressor, the number of an output. Of a forecaster, the
        number of a step of the horizon, or a tuple of those of a series and a step. Of
        a tagger, a tag. By default all outputs are added up.
    axis : str, optional
        Which axis of ``by_axis`` the result shows: by default the tokens, nodes, steps,
        channels or features, the first of these that there are.

    Returns
    -------
    explanation : Bunch
        As `attention_rollout` gives it, with ``importances`` in units of the score.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, there is no such axis, or no
        such target.

    Warns
    -----
    UserWarning
        If the scores do not depend on attention, as where the linear model that stands
        beside a net (``linear_skip``) does all the work.

    Notes
    -----
    Nodes of one graph share its layers: of a node estimator, each node that is asked
    about takes a backward pass.

    References
    ----------
    Chefer, Gur, Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal
    and Encoder-Decoder Transformers", ICCV 2021, arXiv 2103.15679.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import gradient_rollout
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(linear_skip=False, max_epochs=2).fit(X, y)
    >>> relevance = gradient_rollout(clf, X[:10], target=2)
    >>> relevance.importances.shape, bool((relevance.importances >= 0).all())
    ((10, 4), True)
    """
    subject = named_subject(estimator, X, "gradient_rollout")
    name = subject.estimator.architecture_.name
    objective = Objective(subject, target)
    if is_of_graphs(subject):
        by_axis = gradients_along_edges(subject, objective)
        return _of_scores(explanation(by_axis, axis, "gradient_rollout", name), subject)
    collected = Collected(subject)
    for batch in walk(subject, with_gradient=True):
        paths = Paths(batch, subject)
        gradients = batch.gradients(objective(batch).sum())
        weighted = [
            weighted_heads(*both, objective.has_sign)
            for both in zip(batch.records, gradients, strict=True)
        ]
        sides = paths.read_out(gradients)
        start = paths.start(sides)
        shares = relevance_of(paths, start.shares, weighted)
        collect(collected, paths, batch, shares, start.weights)
        collect_beside(collected, paths, batch, weighted)
    result = explanation(collected.axes(), axis, "gradient_rollout", name)
    return _of_scores(result, subject)


def _of_scores(result: Bunch, subject: Subject) -> Bunch:
    """Warn where no score depends on attention."""
    if not any(abs(each.importances).max() > 0 for each in result.by_axis.values()):
        _warn_of_idle(subject, "gradient_rollout gives no input any relevance", 4)
    return result


def _warn_of_idle(subject: Subject, effect: str, stacklevel: int) -> None:
    way_out = "Train it for longer, or choose another target."
    if subject.net.module.linear_skip:
        way_out = (
            "A linear model stands beside the net and does all the work: fit with "
            "linear_skip=False to let the net do it."
        )
    warnings.warn(
        f"{effect}: the scores of this {type(subject.estimator).__name__} do not "
        f"depend on attention. {way_out}",
        UserWarning,
        stacklevel=stacklevel,
    )


def last_attention(estimator: Any, X: Any = None, *, axis: str | None = None) -> Bunch:
    """Rank inputs by the weights of the last layer that looks at them.

    The mean over heads and queries: what is plotted most, and a baseline to what
    follows attention through all layers.

    Parameters
    ----------
    estimator : estimator
        As for `skattn.inspection.attention_weights`.
    X : array-like, DataFrame or panel, optional
        Samples, as there.
    axis : str, optional
        Which axis of ``by_axis`` the result shows: by default the tokens, nodes, steps,
        channels or features, the first of these that there are.

    Returns
    -------
    explanation : Bunch
        As `attention_rollout` gives it, with mean weights as ``importances``.

    Raises
    ------
    TypeError
        If the estimator is none of skattn's with attention.
    NotFittedError
        If it is not fitted.
    ValueError
        If its architecture records no attention, there is no such axis, or its
        attention looks at no input.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import skattn
    >>> from skattn.inspection import last_attention
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = skattn.AttentionClassifier(linear_skip=False, max_epochs=2).fit(X, y)
    >>> last_attention(clf, X[:10]).importances.shape
    (10, 4)
    """
    subject = named_subject(estimator, X, "last_attention")
    name = subject.estimator.architecture_.name
    if is_of_graphs(subject):
        by_axis = last_along_edges(subject)
        return explanation(by_axis, axis, "last_attention", name)
    collected = Collected(subject)
    for batch in walk(subject):
        paths = Paths(batch, subject)
        fused = [fused_heads(each, "mean", 0.0) for each in batch.records]
        found: Shares = {}
        for together in reversed(paths.steps):
            for step in together:
                new = [stream for stream in step.keys if stream not in found]
                given: Shares = {}
                mean = mean_of_queries(paths, step, fused[step.number])
                paths.give(step, given, mean)
                found.update({stream: given[stream] for stream in new})
        collect(collected, paths, batch, found, np.ones((len(batch.rows), 1)))
        collect_beside(collected, paths, batch, fused)
    return explanation(collected.axes(), axis, "last_attention", name)


def _side_by_side(
    parts: list[np.ndarray], names: list[list[Any]]
) -> tuple[np.ndarray, list[Any]]:
    """Join the rows of several streams, without what is padded in all samples."""
    lengths = [
        len(each[0]) if isinstance(each[0], list) else len(each) for each in names
    ]
    rows = [part[:, :length] for part, length in zip(parts, lengths, strict=True)]
    joined = np.concatenate(rows, axis=1)
    if not any(isinstance(each[0], list) for each in names):
        return joined, [name for each in names for name in each]
    owned = [
        each if isinstance(each[0], list) else [each] * len(joined) for each in names
    ]
    return joined, [
        [name for own in of_sample for name in own]
        for of_sample in zip(*owned, strict=True)
    ]
