"""Controls that attention has to pass before it is read as an explanation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial, wraps
from itertools import combinations
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.stats import rankdata
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import check_scoring
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import (
    Bunch,
    _safe_indexing,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils.validation import _num_samples

from skattn.inspection._changes import permuted_weights, uniform_weights

if TYPE_CHECKING:
    from torch import Tensor

    from skattn.nn import Recorded

# Draws of each randomisation test, and so 1 / 200 is the least p-value.
_DRAWS = 199
_HELD_OUT = 0.25

# What it means that a control was passed, and that it failed.
_MEANINGS = {
    "chance": (
        "the model predicts better than chance",
        "the model is not clearly better than chance, so nothing is there to explain",
    ),
    "uniform": (
        "attention is needed: models fitted with uniform weights are worse",
        "attention is not needed: models fitted with uniform weights are not clearly "
        "worse, so the data hardly decide where the weights lie",
    ),
    "permuted": (
        "predictions rest on the weights: with permuted ones they are worse",
        "predictions do not rest on the weights: with permuted ones they are not "
        "clearly worse",
    ),
    "seeds": (
        "models fitted with other seeds are explained alike",
        "models fitted with other seeds are explained differently",
    ),
    "randomised": (
        "the explanation shows what was learned: random nets are explained differently",
        "the explanation does not show what was learned: random nets are explained as "
        "alike as models are among themselves",
    ),
    "shuffled": (
        "the explanation shows how labels depend on inputs: models of shuffled labels "
        "are explained differently",
        "the explanation does not show how labels depend on inputs: models of shuffled "
        "labels are explained as alike as models are among themselves",
    ),
}
_CONTROLS = tuple(_MEANINGS)[1:]
_BY_SCORE = ("uniform", "permuted")

Receiver = Callable[["Recorded"], "Tensor"]


def attention_sanity_check(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    controls: Sequence[str] = _CONTROLS,
    cv: Any = None,
    n_repeats: int = 3,
    scoring: Any = None,
    explain: str | Callable[[Any, Any], Any] = "attention_rollout",
    alpha: float = 0.05,
    random_state: Any = None,
) -> Bunch:
    """Check whether attention may be read as an explanation, on these data.

    Clones of `estimator` are fitted to a part of the samples, with `n_repeats` seeds,
    and compared on the others with what attention is worth there, each control by a
    one-sided test:

    - ``"chance"``, always: the score must be better than for labels shuffled among the
      held-out samples.
    - ``"uniform"``: clones fitted, from the same seeds, with weights that are frozen to
      be equal for all keys that a query may attend to must have a worse score.
      Otherwise the model does not need attention (Wiegreffe & Pinter).
    - ``"permuted"``: the fitted clones must have a worse score when the weights are
      permuted among the keys that a query may attend to (Jain & Wallace).
    - ``"seeds"``: the explanations of the clones must agree; agreement is Spearman's
      rank correlation over the positions of a sample.
    - ``"randomised"``: the explanations of the clones must agree more with one another
      than with those of the same nets with weights as before training (Adebayo et al.).
    - ``"shuffled"``: and more than with those of clones that were fitted to shuffled
      labels (the same authors).

    Parameters
    ----------
    estimator : estimator
        A classifier or regressor of skattn's, of whatever input, or a Pipeline that
        ends in one; of a fitted search, its best estimator is taken. It is cloned and
        left as it is, fitted or not.
    X : array-like, DataFrame or list
        Samples, as for ``fit`` of `estimator`.
    y : array-like
        Labels or numbers.
    controls : sequence of {"uniform", "permuted", "seeds", "randomised", "shuffled"}
        Which controls, beside ``"chance"``. All by default; the first and the last one
        cost `n_repeats` fits each.
    cv : float, splitter or iterable of (train, test), default=None
        Share of the samples to hold out, or what splits them as in scikit-learn, of
        which the first split is taken. None holds out a quarter, of each class alike.
        Where samples come in groups, pass a split that keeps groups whole.
    n_repeats : int, default=3
        Clones that are fitted to each version of the data, 2 or more.
    scoring : str or callable, default=None
        A scorer as in scikit-learn, greater is better. None takes accuracy, or the
        coefficient of determination; ``"neg_log_loss"`` still tells models apart where
        all labels are right. A callable gets an estimator that repeats its predictions
        of the held-out samples.
    explain : str or callable, default="attention_rollout"
        Name of a function of `skattn.inspection` that takes an estimator and samples
        and ranks inputs, or such a function; it may also return the array of shape
        (n, n_positions) alone. What importances lie beyond the last position that any
        model uses counts as padding.
    alpha : float, default=0.05
        Level of each test.
    random_state : int, RandomState or None, default=None
        For the split, the seeds of the clones and the tests.

    Returns
    -------
    result : Bunch
        With ``table``, a DataFrame with a row for each control and the columns

        - ``control``: its name;
        - ``score``, ``score_std``: of the models of the control, and their standard
          deviation (of ``"seeds"``, of the clones themselves);
        - ``score_drop``: by how much that is worse than the score of the clones;
        - ``agreement``: mean rank correlation of their explanations with those of the
          clones;
        - ``prediction_change``: how far their predictions are from those of the
          clones: the mean total variation of the probabilities, or, for numbers, the
          mean distance in standard deviations of the held-out numbers;
        - ``p_value``, ``passed``: of the test;
        - ``meaning``: what that says;

        ``verdict``, which names what failed; ``is_explanation``, whether nothing did;
        ``score`` and ``score_std`` of the clones; ``n_held_out``.

    Raises
    ------
    TypeError
        If `estimator` is no such estimator.
    ValueError
        If an argument is out of range, or nothing can be ranked.

    See Also
    --------
    faithfulness : Whether predictions change as an explanation says they should.

    Notes
    -----
    Scores are compared by randomisation tests over the held-out samples: labels are
    permuted for ``"chance"``; for ``"uniform"`` and ``"permuted"`` the predictions of
    both sides are swapped in a random half of the samples (Noreen 1989), which assumes
    nothing of the scorer. Agreement is tested by random signs of each sample's
    agreement, or of its difference; for ``"randomised"`` and ``"shuffled"``, moreover,
    every single clone must agree more with the other clones than with the control. All
    controls have to be passed, so the level needs no correction for their number. Few
    held-out samples refuse more: what cannot be shown is not claimed.

    A linear model beside the net (``linear_skip``) does not attend; where it does the
    work, attention fails.

    References
    ----------
    Jain and Wallace, "Attention is not Explanation", NAACL 2019, arXiv 1902.10186.
    Wiegreffe and Pinter, "Attention is not not Explanation", EMNLP 2019, arXiv
    1908.04626.
    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv 1810.03292.
    Noreen, "Computer-Intensive Methods for Testing Hypotheses", Wiley, 1989.

    Examples
    --------
    Labels that are drawn by lot leave nothing to explain.

    >>> import numpy as np
    >>> from skattn import AttentionClassifier
    >>> from skattn.inspection import attention_sanity_check
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(60, 3)), rng.integers(2, size=60)
    >>> clf = AttentionClassifier(max_epochs=2, linear_skip=False)
    >>> result = attention_sanity_check(
    ...     clf, X, y, controls=["permuted"], n_repeats=2, random_state=0
    ... )
    >>> result.is_explanation
    False
    >>> print(result.verdict)  # doctest: +ELLIPSIS
    Attention is no explanation here: the model is not clearly better than chance, ...
    """
    template = _template_of(estimator)
    _check_arguments(controls, n_repeats, alpha)
    explain = _explanation_function(explain)
    check_consistent_length(X, y)
    rng = check_random_state(random_state)
    if scoring is None:
        scoring = "accuracy" if is_classifier(template) else "r2"
    scorer = check_scoring(template, scoring=scoring)
    train, held_out = _split(template, X, y, cv, rng)
    seeds = [int(rng.randint(2**31 - 1)) for _ in range(n_repeats)]
    trial = _Trial(
        template,
        (_safe_indexing(X, train), _safe_indexing(y, train)),
        (_safe_indexing(X, held_out), _safe_indexing(y, held_out)),
        scorer,
        seeds,
        rng,
    )
    models = trial.fit()
    rows = [trial.chance(models)]
    chosen = [control for control in _CONTROLS if control in controls]
    others = {control: trial.control(control, models) for control in chosen}
    for control in _BY_SCORE:
        if control in others:
            rows.append(trial.compare_scores(control, models, others.pop(control)))
    if others:
        rows += trial.compare_explanations(models, others, explain)
    return _summary(rows, models, trial, alpha)


@dataclass
class _Row:
    """One control, as the table shows it."""

    control: str
    score: float
    score_std: float
    score_drop: float
    agreement: float
    prediction_change: float
    p_value: float
    # Beside the p-value: whether each single model tells the same.
    is_unanimous: bool = True


class _Model:
    """A fitted estimator that says of the held-out samples what it said before.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    respond : callable
        Computes what a method, given by name, says of the held-out samples.
    """

    def __init__(self, estimator: Any, respond: Callable[[str], Any]) -> None:
        self.estimator = estimator
        self._respond = respond
        self._known: dict[str, Any] = {}

    def says(self, method: str) -> Any:
        """Give what a method says, computed once."""
        if method not in self._known:
            self._known[method] = self._respond(method)
        return self._known[method]

    def mixed(self, other: _Model, swapped: np.ndarray) -> _Model:
        """Take what another model says of some of the samples."""

        def respond(method: str) -> Any:
            mine, others = self.says(method), other.says(method)
            if isinstance(mine, list):  # an array for each target
                pairs = zip(others, mine, strict=True)
                return [_where(swapped, *pair) for pair in pairs]
            return _where(swapped, others, mine)

        return _Model(self.estimator, respond)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.estimator, name)
        if name in ("predict", "predict_proba", "decision_function"):
            return wraps(found)(lambda X: self.says(name))
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _where(swapped: np.ndarray, others: np.ndarray, mine: np.ndarray) -> np.ndarray:
    return np.where(swapped.reshape(-1, *[1] * (mine.ndim - 1)), others, mine)


@dataclass
class _Trial:
    """The two parts of the data, and all that is fitted and compared on them."""

    template: Any
    train: tuple[Any, Any]
    held_out: tuple[Any, Any]
    scorer: Callable[..., float]
    seeds: list[int]
    rng: np.random.RandomState

    @property
    def n_held_out(self) -> int:
        """Count the held-out samples."""
        return _num_samples(self.held_out[0])

    def model(
        self, estimator: Any, receiver: Callable[[], Receiver] | None = None
    ) -> _Model:
        """Let a fitted estimator answer, with weights that a receiver may change."""

        def respond(method: str) -> Any:
            with _receiving(receiver):
                return getattr(estimator, method)(self.held_out[0])

        return _Model(estimator, respond)

    def fit(
        self, receiver: Callable[[], Receiver] | None = None, shuffled: bool = False
    ) -> list[_Model]:
        """Fit a clone for each seed."""
        models = []
        for seed in self.seeds:
            X, y = self.train
            if shuffled:
                y = _safe_indexing(y, self.rng.permutation(_num_samples(y)))
            estimator = _seeded_clone(self.template, seed)
            with _receiving(receiver):
                estimator.fit(X, y)
            models.append(self.model(estimator, receiver))
        return models

    def control(self, name: str, models: list[_Model]) -> list[_Model]:
        """Make the models of a control, one for each of `models`."""
        if name == "seeds":
            return models
        if name == "uniform":
            return self.fit(lambda: uniform_weights)
        if name == "shuffled":
            return self.fit(shuffled=True)
        made = []
        for model, seed in zip(models, self.seeds, strict=True):
            if name == "permuted":
                made.append(self.model(model.estimator, partial(_permuting, seed)))
            else:
                made.append(self.model(self._untrained(model.estimator, seed)))
        return made

    def _untrained(self, estimator: Any, seed: int) -> Any:
        """Copy a fitted estimator, with the weights of a net that is built anew."""
        import torch

        from skattn._engine._runtime import seeded

        estimator = deepcopy(estimator)
        net = _last(estimator).net_
        with seeded(seed, torch.device(net.device)):
            fresh = net.module()
        module = getattr(net.module_, "_orig_mod", net.module_)
        module.load_state_dict(fresh.state_dict())
        return estimator

    def scores(self, models: list[_Model]) -> np.ndarray:
        """Score models on the held-out samples."""
        return np.array([self.scorer(model, *self.held_out) for model in models])

    def chance(self, models: list[_Model]) -> _Row:
        """Compare with labels shuffled among the held-out samples."""
        X, y = self.held_out
        score = self.scores(models).mean()
        drawn = np.empty(_DRAWS)
        for draw in range(_DRAWS):
            other = _safe_indexing(y, self.rng.permutation(self.n_held_out))
            drawn[draw] = np.mean([self.scorer(model, X, other) for model in models])
        mean, std = float(drawn.mean()), float(drawn.std())
        p_value = _p_value(score, drawn)
        return _Row("chance", mean, std, score - mean, np.nan, np.nan, p_value)

    def compare_scores(
        self, control: str, models: list[_Model], others: list[_Model]
    ) -> _Row:
        """Test whether the models of a control are worse."""
        drop = (self.scores(models) - self.scores(others)).mean()
        pairs = list(zip(models, others, strict=True))
        drawn = np.empty(_DRAWS)
        for draw in range(_DRAWS):
            swapped = self.rng.random_sample(self.n_held_out) < 0.5
            ours = self.scores([mine.mixed(its, swapped) for mine, its in pairs])
            theirs = self.scores([its.mixed(mine, swapped) for mine, its in pairs])
            drawn[draw] = (ours - theirs).mean()
        return self._row(control, models, others, np.nan, _p_value(drop, drawn))

    def compare_explanations(
        self,
        models: list[_Model],
        controls: dict[str, list[_Model]],
        explain: Callable[[Any, Any], Any],
    ) -> list[_Row]:
        """Test whether explanations agree, and more than with those of controls."""
        sides = {"seeds": models, **controls}
        ranks = _standard_ranks(
            {
                name: [_importances(explain, each, self.held_out[0]) for each in side]
                for name, side in sides.items()
            }
        )
        mine = ranks["seeds"]
        rows = []
        among = _agreement(mine, mine, apart=True)  # (models, samples)
        for name, others in controls.items():
            agreement, excess = among, among
            if name != "seeds":
                agreement = _agreement(mine, ranks[name])
                excess = among - agreement
            signs = self.rng.choice([-1, 1], size=(_DRAWS, excess.shape[1]))
            mean = excess.mean(axis=0)
            p_value = _p_value(mean.mean(), (signs * mean).mean(axis=1))
            row = self._row(name, models, others, agreement.mean(), p_value)
            row.is_unanimous = bool((excess.mean(axis=1) > 0).all())
            rows.append(row)
        return rows

    def _row(
        self,
        control: str,
        models: list[_Model],
        others: list[_Model],
        agreement: float,
        p_value: float,
    ) -> _Row:
        scores = self.scores(others)
        drop = (self.scores(models) - scores).mean()
        pairs: Any = zip(models, others, strict=True)
        if others is models:
            pairs = combinations(models, 2)
        change = np.mean([self._change(*pair) for pair in pairs])
        return _Row(
            control,
            float(scores.mean()),
            float(scores.std()),
            float(drop),
            float(agreement),
            float(change),
            p_value,
        )

    def _change(self, model: _Model, other: _Model) -> float:
        """Measure how far the predictions of two models are from each other."""
        if is_regressor(self.template):
            spread = np.std(np.asarray(self.held_out[1], dtype=np.float64), axis=0)
            distance = np.abs(model.says("predict") - other.says("predict"))
            return float((distance / np.where(spread > 0, spread, 1)).mean())
        mine, others = model.says("predict_proba"), other.says("predict_proba")
        if not isinstance(mine, list):
            mine, others = [mine], [others]
        variations = []
        for p, q in zip(mine, others, strict=True):
            variation = np.abs(p - q).sum(axis=1) / 2
            # Of yes-or-no labels a column tells half of the probabilities.
            is_labels = not np.allclose(p.sum(axis=1), 1.0, atol=1e-3)
            variations.append(2 * variation / p.shape[1] if is_labels else variation)
        return float(np.mean(variations))


def _permuting(seed: int) -> Receiver:
    """Make a receiver that permutes weights among the keys of each query."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return partial(permuted_weights, generator=generator)


def _receiving(
    receiver: Callable[[], Receiver] | None,
) -> AbstractContextManager[None]:
    """Record into a receiver, if there is one."""
    from skattn.nn import recording

    return nullcontext() if receiver is None else recording(receiver())


def _template_of(estimator: Any) -> Any:
    """Find what is cloned, and check that it can be."""
    template = getattr(estimator, "best_estimator_", estimator)
    last = _last(template)
    name = type(last).__name__
    if not hasattr(last, "_attention_batches"):
        raise TypeError(
            "attention_sanity_check looks into skattn's attention estimators; "
            f"{name} is none. Pass one, a Pipeline that ends in one, or a fitted "
            "search over it."
        )
    has_tags = hasattr(last, "__sklearn_tags__")
    if not has_tags or not (is_classifier(last) or is_regressor(last)):
        raise TypeError(
            "attention_sanity_check compares scores of samples, one label or number "
            f"each; {name} is no classifier or regressor. Pass a classifier or "
            "regressor of the same architecture: for a forecaster, one of its windows."
        )
    return template


def _last(estimator: Any) -> Any:
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _check_arguments(controls: Sequence[str], n_repeats: int, alpha: float) -> None:
    unknown = [control for control in controls if control not in _CONTROLS]
    if isinstance(controls, str) or unknown:
        wrong = controls if isinstance(controls, str) else unknown[0]
        raise ValueError(
            f"controls must be a sequence of names among {', '.join(_CONTROLS)}; got "
            f"{wrong!r}."
        )
    if not isinstance(n_repeats, Integral) or n_repeats < 2:
        raise ValueError(
            f"n_repeats={n_repeats!r} must be an integer of 2 or more: one fit cannot "
            "tell how much fits differ."
        )
    if not 1 / (_DRAWS + 1) <= alpha < 1:
        raise ValueError(
            f"alpha={alpha!r} must be below 1, and at least {1 / (_DRAWS + 1)}, the "
            "least p-value that there is."
        )


def _explanation_function(explain: Any) -> Callable[[Any, Any], Any]:
    if callable(explain):
        return explain
    import skattn.inspection

    if explain not in skattn.inspection.__all__:
        raise ValueError(
            f"explain={explain!r} is no function of skattn.inspection. Name one that "
            "ranks inputs, such as 'attention_rollout', or pass a callable."
        )
    return getattr(skattn.inspection, explain)


def _split(
    template: Any, X: Any, y: Any, cv: Any, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Give the rows that are fitted, and those that are held out."""
    if cv is None or isinstance(cv, float):
        share = _HELD_OUT if cv is None else cv
        if not 0 < share < 1:
            raise ValueError(f"cv={cv!r}, the share to hold out, must be in (0, 1).")
        is_labels = is_classifier(template) and np.ndim(y) == 1
        has_several = is_labels and np.unique(y, return_counts=True)[1].min() > 1
        splitter = StratifiedShuffleSplit if has_several else ShuffleSplit
        cv = splitter(1, test_size=share, random_state=rng)
    folds = check_cv(cv, y, classifier=is_classifier(template))
    train, held_out = next(folds.split(np.arange(_num_samples(X)), y))
    return train, held_out


def _seeded_clone(template: Any, seed: int) -> Any:
    """Clone an estimator, and seed all that is drawn in it."""
    estimator = clone(template)
    seeds = {
        name: seed
        for name in estimator.get_params()
        if name == "random_state" or name.endswith("__random_state")
    }
    return estimator.set_params(**seeds)


def _importances(explain: Callable[[Any, Any], Any], model: _Model, X: Any) -> Any:
    """Explain the held-out samples: (n, n_positions), sparse for nodes."""
    found = explain(model.estimator, X)
    if isinstance(found, dict) and "importances" not in found:
        raise ValueError(
            f"explain gave a {type(found).__name__} without importances. Name a "
            "function that ranks inputs, such as 'attention_rollout'."
        )
    found = getattr(found, "importances", found)
    if not sparse.issparse(found):
        found = np.asarray(found, dtype=np.float64)
    if found.ndim != 2 or found.shape[0] != _num_samples(X):
        raise ValueError(
            "attention_sanity_check needs a row of importances for each of "
            f"{_num_samples(X)} samples; explain gave an array of shape {found.shape}."
        )
    return found


def _standard_ranks(explained: dict[str, list[Any]]) -> dict[str, np.ndarray]:
    """Rank the positions of each sample: (models, samples, positions).

    Ranks have mean zero and norm one, so that products are Spearman's correlations, and
    are zero for an explanation that ranks nothing. What lies beyond the last position
    that any explanation gives something is padding, as are nodes to which none gives
    anything; samples with less than two positions are left out.
    """
    given = sum(abs(array) for arrays in explained.values() for array in arrays)
    if sparse.issparse(given):
        rows = sparse.csr_array(given)
        places = np.split(rows.indices, rows.indptr[1:-1])
    else:
        ends = np.where(given > 0, np.arange(1, given.shape[1] + 1), 0).max(axis=1)
        places = [np.arange(end) for end in ends]
    kept = [sample for sample, own in enumerate(places) if len(own) > 1]
    if not kept:
        raise ValueError(
            "explain ranks nothing: no sample has two positions of which one matters. "
            "Choose another explanation, or leave out the controls that compare them."
        )
    longest = max(len(places[sample]) for sample in kept)
    ranks = {}
    for name, arrays in explained.items():
        ranks[name] = np.zeros((len(arrays), len(kept), longest))
        for target, array in zip(ranks[name], arrays, strict=True):
            for row, sample in zip(target, kept, strict=True):
                values = array[[sample]]
                if sparse.issparse(values):
                    values = values.toarray()
                ranked = rankdata(values[0, places[sample]])
                centred = ranked - ranked.mean()
                norm = np.linalg.norm(centred)
                row[: len(ranked)] = centred / (norm if norm > 0 else 1)
    return ranks


def _agreement(mine: np.ndarray, others: np.ndarray, apart: bool = False) -> np.ndarray:
    """Average rank correlations of each model with others: (models, samples).

    With `apart` these are the same models, and none is compared with itself.
    """
    products = np.einsum("aip,bip->abi", mine, others)
    if apart:
        own = np.arange(len(mine))
        products[own, own] = 0
    return products.sum(axis=1) / (len(others) - apart)


def _p_value(found: float, drawn: np.ndarray) -> float:
    """Tell how often chance gives as much."""
    return (1 + np.count_nonzero(drawn >= found - 1e-9)) / (1 + len(drawn))


def _summary(
    rows: list[_Row], models: list[_Model], trial: _Trial, alpha: float
) -> Bunch:
    import pandas as pd

    table = pd.DataFrame(map(asdict, rows))
    table["passed"] = (table["p_value"] < alpha) & table.pop("is_unanimous")
    table["meaning"] = [
        _MEANINGS[control][0 if passed else 1]
        for control, passed in zip(table["control"], table["passed"], strict=True)
    ]
    failed = table.loc[~table["passed"], "control"].tolist()
    is_explanation = not failed
    told = table
    if is_explanation:
        verdict = "Attention may be read as an explanation here: "
    else:
        verdict = "Attention is no explanation here: "
        told = table[~table["passed"]][: 1 if "chance" in failed else None]
    verdict += "; ".join(told["meaning"] + " (" + told["control"] + ")") + "."
    if len(told) < len(failed):  # of what does not predict, the rest means little
        verdict += f" Failed too: {', '.join(failed[1:])}."
    if not is_explanation and _last(models[0].estimator).net_.module.linear_skip:
        verdict += (
            " A linear model stands beside the net and does not attend: with "
            "linear_skip=False the net would have to do its work."
        )
    scores = trial.scores(models)
    return Bunch(
        table=table,
        verdict=verdict,
        is_explanation=is_explanation,
        score=float(scores.mean()),
        score_std=float(scores.std()),
        n_held_out=trial.n_held_out,
    )
