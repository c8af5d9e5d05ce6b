"""Whether what an explanation ranks first is what the model relies on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from skattn._supervised import SupervisedEstimator
from skattn.inspection._perturb import Perturbation, axes_of, make_perturbation
from skattn.inspection._run import last_step

_CURVES = ("deletion", "insertion")

# Functions of skattn.inspection that rank inputs.
_RANKERS = (
    "attention_flow",
    "attention_rollout",
    "gradient_rollout",
    "last_attention",
)

# Neighbours of longer samples are hidden together for the permutation ranking.
_MOST_BLOCKS = 128

_N_DRAWS = 9_999


# Below, too few orders to tell luck from merit.
_FEWEST_POSITIONS = 5


def faithfulness(
    estimator: Any,
    X: Any,
    y: Any,
    explanation: Any,
    *,
    perturb: str = "auto",
    curves: Sequence[str] = _CURVES,
    n_steps: int = 10,
    n_random: int | None = None,
    background: Any = None,
    scoring: Any = None,
    alpha: float = 0.05,
    axis: str | None = None,
    random_state: Any = None,
) -> Bunch:
    """Test whether an explanation names what the predictions rely on.

    Positions (columns, time steps, tokens, edges, ...) are hidden from the model in the
    order of their importance, and the score of each sample is followed: of a
    classifier, the probability of the class that it predicts for the whole sample; of
    a regressor, minus the absolute change of its prediction. Deletion hides the most
    important ones first, and a faithful explanation makes the score fall fast;
    insertion starts with all hidden, and shows the most important ones first [1]_.
    Beside the explanation stand random orders, and a ranking by permutation importance.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier or regressor; a Pipeline that ends in one, or a search over
        it, will do. Of what is not skattn's, tables alone.
    X : object
        At least two samples, as for ``predict``; of a node estimator, ids. Those of a
        test set, unless the training is what you ask about.
    y : array-like of shape (n_samples,), or None
        What the permutation ranking is to predict, and nothing else uses; None takes
        the predictions.
    explanation : Bunch, ndarray, callable or str
        As the functions of `skattn.inspection` return, the name of one of them
        (``"attention_rollout"``, ``"gradient_rollout"``, ...), or what returns one
        for `estimator` and `X`. Or numbers of shape (n_samples, n_positions), or
        (n_positions,) for all samples: of a table, one for each column of `X`, and
        otherwise of what the last step of a Pipeline gets. The largest number is the
        most important: of values with a sign, pass those for the predicted class.
    perturb : str, default="auto"
        What replaces a hidden position. Columns: ``"permute"``, the value of another
        row of `background`; ``"mean"``, of numbers, and of all else the most frequent
        value; ``"mode"``; or ``"missing"``. Time steps and channels: ``"mean"``, that
        of the channel, or ``"permute"``, the same step or channel of another series;
        time steps also ``"linear"``, a line between the steps that are left. Tokens:
        ``"delete"``, or ``"mask"``, an unknown one. Edges: ``"remove"``. Features of
        nodes: ``"mean"`` or ``"permute"``. ``"auto"`` takes the first of these that
        the estimator can read.
    curves : sequence of {"deletion", "insertion"}, default=("deletion", "insertion")
        Which to compute.
    n_steps : int, default=10
        Into how many equal steps the way from a whole to a hidden sample is divided.
    n_random : int, default=None
        Random orders for each sample. None draws 10; of nodes, which all share the
        orders of one graph, as many as `alpha` needs.
    background : object or None, default=None
        Samples like `X` that replacements are taken from, such as the training data;
        None takes `X`. Tokens, edges and nodes of a single graph need none.
    scoring : str, callable or None, default=None
        What the permutation ranking looks at, as in scikit-learn, where all samples
        have the same positions. None takes the mean probability of the right class,
        or minus the mean squared error.
    alpha : float, default=0.05
        Below which p-value an explanation counts as faithful.
    axis : str or None, default=None
        Which axis of an explanation with several, or of an array: ``"features"``,
        ``"time"``, ``"channels"``, ``"tokens"``, ``"other_tokens"``, ``"nodes"`` or
        ``"edges"``.
    random_state : int, RandomState or None, default=None
        Draws replacements, random orders, and orders of equal importances.

    Returns
    -------
    result : Bunch
        ``fractions`` of shape (n_steps + 1,) : ndarray
            How much is hidden (deletion) or shown (insertion).
        ``curves`` : dict of str to dict of str to ndarray of shape (n_steps + 1,)
            For each curve and each of the rankings ``"explanation"``, ``"random"`` and
            ``"permutation"``, the mean score.
        ``areas`` : dict of str to dict of str to float
            Areas under the curves, by trapezoids.
        ``sample_areas`` : dict of str to dict of str to ndarray of shape (n_samples,)
            The same for each sample.
        ``comprehensiveness``, ``sufficiency`` : dict of str to float
            For each ranking, how much the score falls when its first positions are
            hidden (large is good), or kept alone (small is good) [2]_: means over the
            fractions between 0 and 1. Empty without the curve of deletion, or of
            insertion.
        ``p_value`` : float
            One-sided: how often orders picked at random for each sample, among its own
            and its random ones, would be as good on average over the samples.
        ``is_faithful`` : bool
            Whether ``p_value < alpha`` and, where samples share at least five
            positions, no random order for all of them was as good.
        ``chance`` : float or None
            How often one random order for all samples is as good; None where samples
            have positions of their own.
        ``axis``, ``perturb`` : str
            What was hidden, and how.

    Raises
    ------
    TypeError
        If the estimator is neither a classifier nor a regressor, or the explanation is
        none.
    ValueError
        If the explanation is of other samples or positions, or cannot be tested on
        these data in this way.
    NotFittedError
        If the estimator is not fitted.

    Warns
    -----
    UserWarning
        If all positions are equally important; the p-value is then 1.

    See Also
    --------
    attention_sanity_check : Whether attention can be an explanation at all.
    FaithfulnessDisplay : Draws the curves.

    Notes
    -----
    The model may never have seen samples with hidden parts. Random orders see the same
    replacements, hence the comparison.

    An order that all samples share, such as one by the mean attention to columns, is
    lucky or unlucky for all of them at once: far more than 5 % of arbitrary orders have
    a ``p_value`` below 0.05. ``chance`` tells how easily luck does as well; it is found
    by `n_random` orders, and so at least 1 / (`n_random` + 1). Hence ``is_faithful``
    asks for both. Of fewer than five positions there are too few orders to tell luck
    from merit: there ``p_value`` decides alone, and many arbitrary orders pass.

    The model predicts `X` with something hidden up to :math:`2 (n_{steps} - 1) (2 + 2
    n_{random})` times, and once for each position of the permutation ranking; lower
    `n_steps`, `n_random` or the number of samples where that takes long.

    The permutation ranking is by the drop of `scoring` when a position is hidden in all
    samples. Where samples have positions of their own (texts, series of unequal
    lengths, lists of graphs), it is by the drop of each sample's own score when that
    position alone is hidden, or one of 128 blocks of neighbours where there are more.

    All samples of a node estimator lose the same edges or nodes at a time, in the
    order of their mean importance; ``p_value`` then compares with `n_random` orders of
    the graph.

    References
    ----------
    .. [1] V. Petsiuk, A. Das and K. Saenko, "RISE: Randomized Input Sampling for
       Explanation of Black-box Models", BMVC 2018, arXiv:1806.07421.
    .. [2] J. DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models",
       ACL 2020, arXiv:1911.03429.

    Examples
    --------
    >>> import numpy as np
    >>> from skattn import AttentionClassifier
    >>> from skattn.inspection import faithfulness
    >>> X = np.random.default_rng(0).normal(size=(100, 6))
    >>> y = X[:, 0] + X[:, 3] > 0
    >>> clf = AttentionClassifier(max_epochs=5, random_state=0).fit(X, y)
    >>> result = faithfulness(clf, X, y, np.array([1, 0, 0, 1, 0, 0]), random_state=0)
    >>> result.is_faithful
    True
    >>> areas = result.areas["deletion"]
    >>> areas["explanation"] < areas["random"]
    True
    """
    _check_params(curves, n_steps, n_random, alpha)
    generator = np.random.default_rng(check_random_state(random_state).randint(2**31))
    importances, axis, is_of_input = _read(estimator, X, explanation, axis)
    inner = _innermost(estimator, X, background)
    axis = axis or _only_axis(inner[0], inner[1])
    # An array about columns is about those that the user has.
    if is_of_input and axis == "features":
        asked = estimator, X, background
        _check_task(estimator)
    else:
        asked = inner
    perturbation = make_perturbation(
        asked[0], asked[1], axis, perturb, asked[2], generator
    )
    if n_random is None:
        n_random = max(int(1 / alpha), 10) if perturbation.is_joint else 10
    _check_numbers(perturbation, importances.shape[0], n_random, alpha)
    judge = _Judge(perturbation)
    importances = _arranged(importances, perturbation, is_of_input)
    course = _Course(judge, n_steps)
    ranking = Bunch(
        explanation=importances,
        permutation=_permutation_importance(judge, y, scoring),
    )
    found = {
        name: course.follow(values, curves, generator)
        for name, values in ranking.items()
    }
    draws = [course.follow(None, curves, generator) for _ in range(n_random)]
    found["random"] = {
        curve: np.mean([draw[curve] for draw in draws], axis=0) for curve in curves
    }
    gain = _gain(found["explanation"])
    gains = np.stack([_gain(draw) for draw in draws])  # (n_random, n)
    chance = None
    if perturbation.is_joint:
        p_value = chance = _share_as_good(gain.mean(), gains.mean(axis=1))
    else:
        p_value = _p_value(gain, gains, generator)
        if perturbation.is_shared:
            shared = [
                _gain(course.follow(None, curves, generator, is_shared=True)).mean()
                for _ in range(n_random)
            ]
            chance = _share_as_good(gain.mean(), np.array(shared))
    is_luck = (
        chance is not None
        and importances.shape[1] >= _FEWEST_POSITIONS
        and chance > max(alpha, 1 / (n_random + 1))
    )
    if _ranks_nothing(importances, perturbation.inside()):
        p_value = 1.0
        warnings.warn(
            "The explanation ranks nothing: in each sample, all positions are equally "
            "important, or there is but one. Its orders are random, and it is not "
            "faithful.",
            UserWarning,
            stacklevel=2,
        )
    return Bunch(
        fractions=course.fractions,
        axis=axis,
        perturb=perturbation.how,
        p_value=p_value,
        is_faithful=bool(p_value < alpha) and not is_luck,
        chance=chance,
        **_summary(found, curves, n_steps),
    )


def _check_params(curves: Any, n_steps: Any, n_random: Any, alpha: Any) -> None:
    if isinstance(curves, str) or not curves or not set(curves) <= set(_CURVES):
        raise ValueError(
            f"curves={curves!r} must be a list with 'deletion', 'insertion' or both."
        )
    n_random = 1 if n_random is None else n_random
    for name, value, least in (("n_steps", n_steps, 2), ("n_random", n_random, 1)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name}={value!r} must be an integer from {least} on.")
    if not isinstance(alpha, Real) or not 0 < float(alpha) < 1:
        raise ValueError(f"alpha={alpha!r} must be a number between 0 and 1.")


def _read(
    estimator: Any, X: Any, explanation: Any, axis: str | None
) -> tuple[Any, str | None, bool]:
    """Give importances, their axis, and whether they are of what the user holds."""
    if isinstance(explanation, str):
        explanation = _ranker(explanation)
    if callable(explanation):
        explanation = explanation(estimator, X)
    if isinstance(explanation, Bunch):
        if not {"importances", "axis"} <= set(explanation):
            raise TypeError(
                "An explanation has 'importances' and 'axis', but this Bunch has "
                f"{sorted(explanation)}. Pass what attention_rollout or "
                "gradient_rollout return, or an array of importances."
            )
        if axis is not None and axis != explanation.axis:
            by_axis = explanation.get("by_axis", {explanation.axis: explanation})
            if axis not in by_axis:
                raise ValueError(
                    f"The explanation has no axis {axis!r}, but "
                    f"{', '.join(map(repr, by_axis))}. Name one of these, or none."
                )
            explanation = by_axis[axis]
        return _numbers(explanation.importances), explanation.axis, False
    return _numbers(explanation), axis, True


def _ranker(name: str) -> Callable[..., Any]:
    from skattn import inspection

    if name not in _RANKERS:
        known = ", ".join(map(repr, _RANKERS))
        raise ValueError(
            f"explanation={name!r} must be one of {known}; or pass importances."
        )
    return getattr(inspection, name)


def _numbers(importances: Any) -> Any:
    """Read importances: of shape (n or 1, n_positions), sparse where they are."""
    if sparse.issparse(importances):
        return importances
    try:
        values = np.asarray(importances, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            "The explanation must be a Bunch, an array of numbers, a callable or a "
            f"name, but it is of type {type(importances).__name__}: {error}."
        ) from error
    if values.ndim not in (1, 2):
        raise ValueError(
            f"The importances have shape {values.shape}, but must be of shape "
            "(n_samples, n_positions) or (n_positions,). Of several classes, pass "
            "those of the predicted one."
        )
    if np.isnan(values).any():
        raise ValueError(
            "The importances hold NaN, which has no rank. Put 0 where a position is "
            "padded."
        )
    return np.atleast_2d(values)


def _innermost(estimator: Any, X: Any, background: Any) -> tuple[Any, Any, Any]:
    """Give the last estimator, with samples and background as it takes them."""
    inner, samples = last_step(estimator, X)
    _check_task(inner)
    pool = None if background is None else last_step(estimator, background)[1]
    if not hasattr(inner, "_as_arrays"):
        return inner, samples, pool
    inner.check_is_fitted()  # sktime's panel estimators hand arrays to a sibling
    samples, pool = (
        None
        if each is None
        else inner._as_arrays(inner._check_convert_X_for_predict(each))
        for each in (samples, pool)
    )
    return inner.estimator_, samples, pool


def _check_task(estimator: Any) -> None:
    """Refuse what gives neither one label nor numbers for each sample."""
    name = type(estimator).__name__
    is_ours = hasattr(estimator, "_attention_batches")
    task = getattr(estimator, "_task", None)
    if is_ours and isinstance(estimator, SupervisedEstimator):
        check_is_fitted(estimator, "net_")
        fits = task in ("classification", "regression")
    elif is_ours:
        fits = hasattr(estimator, "_as_arrays")
    else:
        fits = hasattr(estimator, "predict_proba") or hasattr(estimator, "predict")
    if not fits:
        raise TypeError(
            "faithfulness follows the predicted class or number of each sample, and "
            f"takes classifiers and regressors; {name} is neither. For forecasters, "
            "taggers and translators, head_importance tells how far their score rests "
            "on attention."
        )


def _only_axis(estimator: Any, X: Any) -> str:
    axes = axes_of(estimator, X)
    if len(axes) > 1:
        raise ValueError(
            f"An array of importances may be of the axes {', '.join(map(repr, axes))}. "
            "Pass axis= one of these."
        )
    return axes[0]


def _check_numbers(
    perturbation: Perturbation, n_given: int, n_random: int, alpha: float
) -> None:
    n = perturbation.n_samples
    if n < 2:
        raise ValueError(
            f"X has {n} sample, but whether an explanation is better than chance shows "
            "over samples. Pass at least two."
        )
    if n_given not in (1, n):
        raise ValueError(
            f"The explanation is of {n_given} samples, but X has {n}. Explain the same "
            "samples, or give one ranking of shape (n_positions,) for all."
        )
    if perturbation.is_joint and (n_random + 1) * alpha <= 1:
        raise ValueError(
            f"All nodes lose the same parts of their graph, and beside n_random="
            f"{n_random} orders no p-value is below alpha={alpha}. Pass "
            f"n_random={int(1 / alpha)} or more."
        )


def _arranged(
    importances: Any, perturbation: Perturbation, is_of_input: bool
) -> np.ndarray:
    """Bring importances to the positions of all samples."""
    if perturbation.is_joint:
        importances = np.asarray(importances.mean(axis=0)).reshape(1, -1)
    elif sparse.issparse(importances):
        importances = importances.toarray()
    arranged = perturbation.arrange(importances, is_of_input)
    return np.broadcast_to(arranged, perturbation.inside().shape)


def _ranks_nothing(importances: np.ndarray, inside: np.ndarray) -> bool:
    least = np.where(inside, importances, np.inf).min(axis=1)
    most = np.where(inside, importances, -np.inf).max(axis=1)
    return not (most > least).any()


class _Judge:
    """Scores of samples parts of which are hidden."""

    def __init__(self, perturbation: Perturbation) -> None:
        self.perturbation = perturbation
        self.inside = perturbation.inside()
        estimator = perturbation.estimator
        nothing = np.zeros_like(self.inside)
        self.is_classifier = hasattr(estimator, "predict_proba")
        self.is_yes_or_no = False
        self.classes: list[Any] = []
        if self.is_classifier:
            # Of many labels, each column is the probability of one of them.
            has_many = np.ndim(perturbation.ask("predict", nothing)) == 2
            found = perturbation.ask("predict_proba", nothing)
            self.is_yes_or_no = has_many and not isinstance(found, list)
            known = estimator.classes_
            self.classes = known if isinstance(known, list) else [known]
            if self.is_yes_or_no:
                self.classes = [np.arange(2)] * found.shape[1]
        self.whole = self.answer(nothing)
        self.predicted = self.whole
        if self.is_classifier:
            self.predicted = [part.argmax(axis=1) for part in self.whole]

    def answer(self, hidden: np.ndarray) -> list[np.ndarray]:
        """Ask about what is left: for each target probabilities (n, k) or numbers."""
        if not self.is_classifier:
            predicted = np.asarray(self.perturbation.ask("predict", hidden))
            return list(predicted.reshape(self.perturbation.n_samples, -1).T)
        found = self.perturbation.ask("predict_proba", hidden)
        if isinstance(found, list):
            return [np.asarray(part) for part in found]
        found = np.asarray(found)
        if self.is_yes_or_no:
            return [np.column_stack([1 - yes, yes]) for yes in found.T]
        return [found]

    def score(self, answer: list[np.ndarray]) -> np.ndarray:
        """Compare with the predictions for whole samples: (n,)."""
        return self._compare(answer, self.predicted, np.abs)

    def quality(self, answer: list[np.ndarray], truth: list[np.ndarray]) -> np.ndarray:
        """Compare with what is true: (n,)."""
        return self._compare(answer, truth, np.square)

    def _compare(
        self, answer: list[np.ndarray], truth: list[np.ndarray], loss: Any
    ) -> np.ndarray:
        parts = [
            np.take_along_axis(part, right[:, None], axis=1)[:, 0]
            if self.is_classifier
            else -loss(part - right)
            for part, right in zip(answer, truth, strict=True)
        ]
        return np.stack(parts).mean(axis=0, dtype=np.float64)

    def truth(self, y: Any) -> list[np.ndarray]:
        """Read labels as numbers of classes, or numbers."""
        if y is None:
            return self.predicted
        given = np.asarray(y)
        n = self.perturbation.n_samples
        if len(given) != n or given.size != n * len(self.predicted):
            raise ValueError(
                f"y has shape {given.shape}, but X has {n} samples and the estimator "
                f"{len(self.predicted)} target(s). Give one row for each sample."
            )
        targets = list(given.reshape(n, -1).T)
        if not self.is_classifier:
            return [target.astype(np.float64) for target in targets]
        found = []
        for target, classes in zip(targets, self.classes, strict=True):
            codes = {label: code for code, label in enumerate(classes.tolist())}
            unknown = sorted(set(target.tolist()) - set(codes), key=str)
            if unknown:
                raise ValueError(
                    f"y holds {unknown[0]!r}, which is none of the classes "
                    f"{list(codes)} of the estimator. Leave such samples out, or pass "
                    "y=None."
                )
            found.append(np.array([codes[label] for label in target.tolist()]))
        return found


class _Course:
    """How scores change while more and more is hidden."""

    def __init__(self, judge: _Judge, n_steps: int) -> None:
        self.judge = judge
        self.fractions = np.linspace(0, 1, n_steps + 1)
        lengths = judge.perturbation.lengths
        shares = np.arange(n_steps + 1) / n_steps
        self.counts = np.floor(shares[:, None] * lengths + 0.5).astype(np.int64)
        self.first = judge.score(judge.whole)
        self.last = judge.score(judge.answer(judge.inside))

    def follow(
        self,
        importances: np.ndarray | None,
        curves: Sequence[str],
        generator: np.random.Generator,
        is_shared: bool = False,
    ) -> dict[str, np.ndarray]:
        """Follow one ranking, or a random one: for each curve (n, n_steps + 1).

        Equal importances are ordered at random, for all samples alike or for each.
        """
        inside = self.judge.inside
        is_one = is_shared or self.judge.perturbation.is_joint
        ties = generator.random((1 if is_one else len(inside), inside.shape[1]))
        ties = np.broadcast_to(ties, inside.shape)
        first = np.zeros(inside.shape) if importances is None else importances
        found = {}
        if "deletion" in curves:
            found["deletion"] = self._scores(-first, ties)
        if "insertion" in curves:  # what is shown last is hidden first
            found["insertion"] = self._scores(first, -ties)[:, ::-1]
        return found

    def _scores(self, keys: np.ndarray, ties: np.ndarray) -> np.ndarray:
        """Hide positions by increasing keys."""
        keys = np.where(self.judge.inside, keys, np.inf)
        ranks = np.lexsort((ties, keys), axis=-1).argsort(axis=-1)
        scores = [self.first]
        for before, count in zip(self.counts[:-2], self.counts[1:-1], strict=True):
            if np.array_equal(before, count):
                scores.append(scores[-1])
            elif np.array_equal(count, self.counts[-1]):
                scores.append(self.last)
            else:
                hidden = ranks < count[:, None]
                scores.append(self.judge.score(self.judge.answer(hidden)))
        return np.stack([*scores, self.last], axis=1)


def _permutation_importance(judge: _Judge, y: Any, scoring: Any) -> np.ndarray:
    """Hide each position, or block of neighbours, by itself: (n, n_positions)."""
    perturbation, inside = judge.perturbation, judge.inside
    scorer = None
    if scoring is not None:
        if perturbation.is_joint or not perturbation.is_shared or y is None:
            raise ValueError(
                "scoring compares y with predictions for samples that all miss the "
                "same position, so it needs y, and samples that share their positions. "
                "Leave scoring=None."
            )
        scorer = check_scoring(perturbation.estimator, scoring=scoring)
    truth = judge.truth(y)
    n, width = inside.shape
    n_blocks = width
    if perturbation.has_neighbours:
        n_blocks = min(width, _MOST_BLOCKS)
    importances = np.zeros((n, width))
    for block in np.array_split(np.arange(width), n_blocks):
        hidden = np.zeros_like(inside)
        hidden[:, block] = inside[:, block]
        if scorer is None:
            score = judge.quality(judge.answer(hidden), truth)
            if perturbation.is_joint:
                score = score.mean()
        else:
            score = scorer(perturbation.estimator, perturbation.hide(hidden), y)
        importances[:, block] = -np.reshape(score, (-1, 1))
    if perturbation.is_shared:
        importances[:] = importances.mean(axis=0)
    return importances


def _area(scores: np.ndarray) -> np.ndarray:
    """Area under each curve over 0 to 1, by trapezoids."""
    between = (scores[..., 1:] + scores[..., :-1]) / 2
    return between.mean(axis=-1)


def _gain(scores: dict[str, np.ndarray]) -> np.ndarray:
    """Say how good a ranking is for each sample, by all curves."""
    signs = {"deletion": -1, "insertion": 1}
    return np.sum(
        [signs[curve] * _area(each) for curve, each in scores.items()], axis=0
    )


def _share_as_good(gain: float, gains: np.ndarray) -> float:
    """Share of random orders that are as good, the one in question among them."""
    return float((1 + (gains >= gain).sum()) / (1 + len(gains)))


def _p_value(
    gain: np.ndarray, gains: np.ndarray, generator: np.random.Generator
) -> float:
    """Test whether the orders of all samples are better than exchanged ones.

    If the order of a sample were a random one too, each of its orders could as well be
    the one in question.
    """
    every = np.vstack([gain, gains])  # (1 + n_random, n)
    n_orders, n = every.shape
    observed = gain.mean() - 1e-12 * np.abs(every).max()
    n_as_good = 0
    chunk = max(1, 1_000_000 // n)
    for start in range(0, _N_DRAWS, chunk):
        n_draws = min(chunk, _N_DRAWS - start)
        drawn = every[generator.integers(n_orders, size=(n_draws, n)), np.arange(n)]
        n_as_good += int((drawn.mean(axis=1) >= observed).sum())
    return (1 + n_as_good) / (1 + _N_DRAWS)


def _summary(
    found: dict[str, dict[str, np.ndarray]], curves: Sequence[str], n_steps: int
) -> dict[str, Any]:
    """Bring scores of samples into the form of the result."""
    names = ("explanation", "random", "permutation")
    mean = {
        curve: {name: found[name][curve].mean(axis=0) for name in names}
        for curve in curves
    }
    each = {
        curve: {name: _area(found[name][curve]) for name in names} for curve in curves
    }
    lost = {
        curve: {
            name: float(
                values[0 if curve == "deletion" else n_steps] - values[1:-1].mean()
            )
            for name, values in of.items()
        }
        for curve, of in mean.items()
    }
    return {
        "curves": mean,
        "areas": {
            curve: {name: float(values.mean()) for name, values in of.items()}
            for curve, of in each.items()
        },
        "sample_areas": each,
        "comprehensiveness": lost.get("deletion", {}),
        "sufficiency": lost.get("insertion", {}),
    }
