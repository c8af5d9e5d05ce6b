"""What scikit-learn asks of estimators, asked of those whose X holds texts.

scikit-learn's own checks draw tables of numbers, and strings have neither sign nor
scale. Those of its checks that never look at X are run as they are where no other
suite runs them; the rest is asked here in the words of texts.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import estimator_checks

import skattn
from skattn._architecture import Architecture
from skattn.testing import _estimators
from skattn.testing._estimators import must, must_agree, predicted
from skattn.testing._random import state_of_others

_FACADES = {
    ("tokens", "classification"): "AttentionClassifier",
    ("tokens", "regression"): "AttentionRegressor",
    ("tokens", "tagging"): "AttentionTagger",
    ("tokens", "translation"): "AttentionTranslator",
    ("pair", "classification"): "AttentionClassifier",
    ("pair", "regression"): "AttentionRegressor",
}

# These have no table that scikit-learn could check them with.
_ONLY_TEXTS = {"AttentionTagger", "AttentionTranslator"}

_AS_THEY_ARE = (
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)

_N_TEXTS = 24
_EPOCHS = 2

# For a task that a few epochs are enough for, and what its score has to exceed.
_LEARNING = {
    "classification": (30, 0.8),
    "regression": (40, 0.5),
    "tagging": (30, 0.8),
    "translation": (60, 20.0),
}

_FILLERS = ("the", "film", "was", "a", "rather", "long", ".")
_FRENCH = ("le", "film", "fut", "un", "assez", "long", ".", "bon", "mauvais")


@dataclass(frozen=True)
class Trial:
    """A facade, an architecture, and a few texts that one word decides about.

    Parameters
    ----------
    input, task : str
        Texts or pairs of texts, and what is to be learned.
    architecture : Architecture
        What to put into the estimator.
    X, y : list
        Texts, and labels, numbers, tags or translations.
    """

    input: str
    task: str
    architecture: Architecture
    X: list[Any]
    y: list[Any]

    def make(self, **params: Any) -> Any:
        """Make an estimator that trains for a moment."""
        params = {"max_epochs": _EPOCHS, "random_state": 0} | params
        facade = getattr(skattn, _FACADES[self.input, self.task])
        return facade(clone(self.architecture), **params)

    def fit(self, estimator: Any = None, **params: Any) -> Any:
        """Fit an estimator to all texts."""
        estimator = self.make(**params) if estimator is None else estimator
        return estimator.fit(self.X, self.y)


def checks_of(
    architecture: Architecture,
) -> Iterator[tuple[str, Callable[[Architecture], None]]]:
    """List the checks of estimators of texts around an architecture.

    Parameters
    ----------
    architecture : Architecture
        What to put into the estimators.

    Yields
    ------
    name : str
        The estimator's class, what it is fitted to, and the check.
    function : callable
        Takes the architecture.
    """
    for (input, task), facade in _FACADES.items():
        if task not in architecture.supports.get(input, ()):
            continue
        title = f"{facade} on {'texts' if input == 'tokens' else 'pairs of texts'}"
        if facade in _ONLY_TEXTS:
            for name in _AS_THEY_ARE:
                run = partial(_run_theirs, name=name, input=input, task=task)
                yield f"{title}/{name}", run
        for check in _CHECKS:
            run = partial(_run, check=check, input=input, task=task)
            yield f"{title}/{check.__name__}", run


def _run(
    architecture: Architecture, check: Callable[[Trial], None], input: str, task: str
) -> None:
    with warnings.catch_warnings():
        # As a translator that is hardly trained has to say.
        warnings.filterwarnings("ignore", ".* translations were cut off")
        check(draw(architecture, input, task))


def _run_theirs(architecture: Architecture, name: str, input: str, task: str) -> None:
    """Run a check of scikit-learn that never looks at X."""
    trial = draw(architecture, input, task)
    getattr(estimator_checks, name)(_FACADES[input, task], trial.make())


def draw(architecture: Architecture, input: str, task: str) -> Trial:
    """Draw texts of one to eight words, one of which is "good" or "bad".

    Parameters
    ----------
    architecture : Architecture
        What to put into the estimator.
    input : str
        Of pairs, that word is in the second text.
    task : str
        What is said of it.

    Returns
    -------
    trial : Trial
        The same at each call.
    """
    rng = np.random.default_rng(0)
    words = (*_FILLERS, "good", "bad")
    sentences = []
    for number in range(_N_TEXTS):
        codes = rng.integers(len(_FILLERS), size=number % 8).tolist()
        codes.insert(int(rng.integers(len(codes) + 1)), len(_FILLERS) + number // 3 % 2)
        sentences.append(codes)
    texts = [" ".join(words[code] for code in codes) for codes in sentences]
    is_good = ["good" in text for text in texts]
    X: list[Any] = list(texts)
    y: list[Any] = [good + number / 100 for number, good in enumerate(is_good)]
    if input == "pair":
        X = [(other, text) for other, text in zip(texts[::-1], texts, strict=True)]
    if task == "classification":
        y = ["positive" if good else "negative" for good in is_good]
    if task == "tagging":
        X = [text.split() for text in texts]
        y = [["B-X" if word in {"good", "bad"} else "O" for word in each] for each in X]
    if task == "translation":
        y = [" ".join(_FRENCH[code] for code in codes) for codes in sentences]
    return Trial(input, task, architecture, X, y)


def check_random_states(trial: Trial) -> None:
    """Fit and predict, and look at the global random states."""
    before = (state_of_others(), torch.get_rng_state())
    predicted(trial.fit(), trial.X)
    same = before[0] == state_of_others()
    must(
        same and torch.equal(before[1], torch.get_rng_state()),
        "fit or predict changes a global random state: random_state is all that an "
        "estimator may draw from.",
    )


def check_input_is_left_alone(trial: Trial) -> None:
    """Compare texts and targets with what they were before a fit."""
    X, y = copy.deepcopy((trial.X, trial.y))
    predicted(trial.fit(), trial.X)
    must(trial.X == X and trial.y == y, "fit or predict changes what it is given.")


def check_forms_of_texts(trial: Trial) -> None:
    """Give the same texts as a list, an array and a Series with another index."""
    expected = predicted(trial.fit(), trial.X)
    forms: list[Callable[[Any], Any]] = [_as_objects, _as_series]
    if trial.task in {"classification", "regression"} and trial.input == "tokens":
        forms.append(np.array)
    if trial.input == "pair" and "table" not in trial.architecture.supports:
        forms += [np.array, partial(pd.DataFrame, columns=["first", "second"])]
    for form in forms:
        X = form(trial.X)
        y = trial.y if isinstance(trial.y[0], list) else pd.Series(trial.y)
        found = predicted(trial.make().fit(X, y), X)
        kind = getattr(X, "dtype", type(X).__name__)
        must_agree(found, expected, f"predictions differ for texts as {kind}.")


def _as_objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _as_series(values: list[Any]) -> pd.Series:
    return pd.Series(values, index=range(len(values), 0, -1), dtype=object)


def check_predictions_stand_alone(trial: Trial) -> None:
    """Predict texts in another order, and each of them alone, to the last bit."""
    estimator = trial.fit()
    expected = predicted(estimator, trial.X)
    order = np.random.default_rng(0).permutation(_N_TEXTS)
    found = predicted(estimator, [trial.X[row] for row in order])
    back = {name: values[order.argsort()] for name, values in found.items()}
    must_agree(back, expected, "the order of the texts matters.")
    alone = [predicted(estimator, [text]) for text in trial.X]
    must_agree(
        {name: np.concatenate([each[name] for each in alone]) for name in expected},
        expected,
        "a prediction depends on the texts that come with it.",
    )


def check_weights_are_repetitions(trial: Trial) -> None:
    """Give a text a weight of two, and repeat it instead."""
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 4, size=_N_TEXTS)
    chosen = np.repeat(np.arange(_N_TEXTS), weight)
    weighted = trial.make().fit(trial.X, trial.y, sample_weight=weight)
    repeated = trial.make().fit(
        [trial.X[row] for row in chosen], [trial.y[row] for row in chosen]
    )
    must_agree(
        predicted(weighted, trial.X),
        predicted(repeated, trial.X),
        "a weight of two must equal a repeated text.",
        1e-6,
    )


def check_model_selection(trial: Trial) -> None:
    """Validate across folds of raw texts, and search."""
    options = {"cv": 2, "error_score": "raise"}
    scores = cross_val_score(trial.make(), trial.X, trial.y, **options)
    must(bool(np.isfinite(scores).all()), f"Scores of folds are {scores}.")
    grid = {"max_epochs": [1, 2]}
    search = GridSearchCV(trial.make(), grid, **options).fit(trial.X, trial.y)
    found = predicted(search, trial.X)["predict"]
    must(len(found) == _N_TEXTS, f"A search predicts {len(found)} of {_N_TEXTS} texts.")


def check_odd_texts(trial: Trial) -> None:
    """Predict texts that are empty, unknown or much longer than any before."""
    odd: list[Any] = ["", "zyx wvu", "good " * 60]
    if trial.input == "pair":
        odd = [(text, other) for text in odd for other in odd]
    if trial.task == "tagging":
        odd = [text.split() for text in odd]
    for name, values in predicted(trial.fit(), odd).items():
        must(len(values) == len(odd), f"{name} gives {len(values)} of {len(odd)} rows.")
        for text, value in zip(odd, values, strict=True):
            if name != "predict":
                finite = bool(np.isfinite(np.asarray(value)).all())
                must(finite, f"{name} is not finite for {str(text)[:20]!r}.")
            if trial.task == "tagging":
                must(len(value) == len(text), f"{name} skips tokens of a sentence.")


def check_learns(trial: Trial) -> None:
    """Learn by heart which texts are good, or what each word is in French."""
    epochs, least = _LEARNING[trial.task]
    params: dict[str, Any] = {"max_epochs": epochs, "lr": 1e-2, "batch_size": 8}
    if hasattr(trial.make(), "linear_skip"):
        params["linear_skip"] = False  # which would learn it alone
    score = trial.fit(**params).score(trial.X, trial.y)
    must(
        score > least,
        f"The score on {_N_TEXTS} easy texts is {score:.2f} after {epochs} epochs, and "
        f"should exceed {least}.",
    )


_CHECKS: tuple[Callable[[Any], None], ...] = (
    _estimators.check_parameters_are_left_alone,
    _estimators.check_fit_check_is_fitted,
    _estimators.check_pickle,
    _estimators.check_fit_idempotent,
    check_random_states,
    check_input_is_left_alone,
    check_forms_of_texts,
    check_predictions_stand_alone,
    check_weights_are_repetitions,
    check_model_selection,
    check_odd_texts,
    check_learns,
)
