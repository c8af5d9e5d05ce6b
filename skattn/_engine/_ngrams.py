"""A linear model of n-grams, which scores of texts start from.

Of its training texts a linear model says more than it will of others, and would leave
attention nothing to learn. So beside the model of all texts there is one for each fold,
fitted to the other folds: it tells of a training text what it would if it had not seen
it. The content of a text alone decides its fold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from skattn._engine._linear import fit_linear
from skattn._engine._losses import CrossEntropy, Loss

_FOLDS = 5
# Most n-grams of one kind; the most frequent ones are kept.
_MAX_FEATURES = 200_000
_LARGEST_SCALE = 4.0
# Of logistic regression, whose loss bends at most a quarter as much as that of ridge
# regression with its penalty of 1.
_C = 3.0

_WORD = re.compile(r"\w+|[^\w\s]+")
_SHORTEST, _LONGEST = 3, 6  # characters of an n-gram
_SHORT = 20  # characters of a word whose n-grams are kept


def _words(text: Any) -> list[str]:
    """Cut a string into words, in lower case; other texts are cut already."""
    if isinstance(text, str):
        return _WORD.findall(text.lower())
    if isinstance(text, np.ndarray):
        return [str(code) for code in text.tolist()]
    # A token of white space alone is a word too.
    return [word for token in text for word in token.lower().split() or [token]]


def _word_ngrams(text: Any) -> list[str]:
    """Give the words, and pairs of words that follow each other."""
    words = _words(text)
    return words + [f"{one} {two}" for one, two in pairwise(words)]


@lru_cache(maxsize=1 << 14)
def _parts_of_short(word: str) -> list[str]:
    return _parts(word)


def _parts(word: str) -> list[str]:
    """Give what three to six characters follow each other, the ends marked."""
    padded = f" {word} "
    longest = min(_LONGEST, len(padded))
    return [
        padded[start : start + size]
        for size in range(_SHORTEST, longest + 1)
        for start in range(len(padded) - size + 1)
    ]


def _character_ngrams(text: Any) -> list[str]:
    # Where nothing parts words, they are long, and each comes once.
    return [
        part
        for word in _words(text)
        for part in (_parts_of_short if len(word) <= _SHORT else _parts)(word)
    ]


@dataclass(frozen=True)
class _Fit:
    """Coefficients of some n-grams of one kind after the other.

    Parameters
    ----------
    kept : list of ndarray of int
        Of each kind, the numbers of its n-grams.
    rarity : list of ndarray
        Of each kind, the inverse document frequency of these.
    coefficients : ndarray of shape (n_outputs, n_kept)
        Of all kinds.
    intercept : ndarray of shape (n_outputs,)
        Of each output.
    """

    kept: list[np.ndarray]
    rarity: list[np.ndarray]
    coefficients: np.ndarray
    intercept: np.ndarray

    def scores(self, counts: Sequence[Any]) -> np.ndarray:
        """Compute scores of rows: (n, n_outputs)."""
        design = _design(counts, self.kept, self.rarity)
        return np.asarray(design @ self.coefficients.T) + self.intercept


def _design(
    counts: Sequence[Any], kept: Sequence[np.ndarray], rarity: Sequence[np.ndarray]
) -> Any:
    """Weigh n-grams, each kind to rows of length one."""
    parts = [
        normalize(block[:, columns] @ sparse.diags_array(weight))
        for block, columns, weight in zip(counts, kept, rarity, strict=True)
    ]
    return sparse.hstack(parts, format="csr")


class NgramModel:
    """Logistic, ridge or Poisson regression on the n-grams of texts, as the loss says.

    Words and pairs of words, and three to six characters of a word, each weighed by
    (1 + log count) times inverse document frequency; of ids, only the former. Of pairs
    of texts, the n-grams of either side are apart. Of two classes, n-grams count by how
    much more frequent they are in one of them: Wang and Manning, "Baselines and
    Bigrams: Simple, Good Sentiment and Topic Classification", ACL 2012.
    """

    def fit(
        self,
        sides: Sequence[np.ndarray],
        folds: np.ndarray,
        target: np.ndarray,
        trained: tuple[np.ndarray, np.ndarray],
        whole: tuple[np.ndarray, np.ndarray],
        loss: Loss,
    ) -> np.ndarray:
        """Fit a model of all texts, and one for each fold of those to train on.

        Parameters
        ----------
        sides : sequence of ndarray of objects of shape (n,)
            Strings, lists of strings or arrays of ids; of pairs, two arrays.
        folds : ndarray of int of shape (n,)
            From `folds_of`.
        target : ndarray of shape (n, n_targets)
            Encoded targets.
        trained, whole : tuple of ndarray
            Rows, perhaps repeated, and their weights: those that the net is trained on,
            and those that the final model is fitted to.
        loss : Loss
            Decides the kind of regression.

        Returns
        -------
        scores : ndarray of shape (n, n_outputs)
            Of each row by the model that has not seen it.
        """
        counts = self._learn(sides)
        self.scale_ = 1.0
        self.final_ = _fit(counts, target, whole, loss)
        rows, weight = trained
        self.by_fold_ = []
        for fold in range(_FOLDS):
            others = folds[rows] != fold
            chosen = rows[others], weight[others]
            self.by_fold_.append(
                _fit(counts, target, chosen, loss) if others.any() else None
            )
        unseen = self._unseen(counts, folds)
        self.scale_ = _best_scale(unseen[rows], target[rows], weight, loss)
        return self.scale_ * unseen

    def unseen_scores(
        self, sides: Sequence[np.ndarray], folds: np.ndarray
    ) -> np.ndarray:
        """Compute scores of texts by models that were not fitted to them.

        Parameters
        ----------
        sides : sequence of ndarray of objects of shape (n,)
            As in `fit`.
        folds : ndarray of int of shape (n,)
            From `folds_of`.

        Returns
        -------
        scores : ndarray of shape (n, n_outputs)
            As `fit` gives.
        """
        return self.scale_ * self._unseen(self._count(sides), folds)

    def scores(self, sides: Sequence[np.ndarray]) -> np.ndarray:
        """Compute scores of texts by the model of all training texts.

        Parameters
        ----------
        sides : sequence of ndarray of objects of shape (n,)
            As in `fit`.

        Returns
        -------
        scores : ndarray of shape (n, n_outputs)
            Each text's depend on it alone.
        """
        return self.scale_ * self.final_.scores(self._count(sides))

    def _learn(self, sides: Sequence[np.ndarray]) -> list[Any]:
        """Learn which n-grams there are, and count those of each text."""
        self.vectorizers_ = []
        for number, texts in enumerate(sides):
            if not any(map(_words, texts)):
                continue
            has_characters = not all(isinstance(text, np.ndarray) for text in texts)
            for analyzer in (_word_ngrams, _character_ngrams)[: 1 + has_characters]:
                vectorizer = CountVectorizer(
                    analyzer=analyzer, max_features=_MAX_FEATURES
                )
                self.vectorizers_.append((number, vectorizer.fit(texts)))
        return self._count(sides)

    def _count(self, sides: Sequence[np.ndarray]) -> list[Any]:
        """Give 1 + log of each n-gram's count in each text, kind by kind."""
        counts = []
        for number, vectorizer in self.vectorizers_:
            block = vectorizer.transform(sides[number]).astype(np.float64)
            block.data = 1 + np.log(block.data)
            counts.append(block)
        return counts

    def _unseen(self, counts: Sequence[Any], folds: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(folds), len(self.final_.intercept)))
        for fold, model in enumerate(self.by_fold_):
            rows = np.flatnonzero(folds == fold)
            if model is not None and len(rows):
                scores[rows] = model.scores([block[rows] for block in counts])
        return scores


def folds_of(digests: np.ndarray) -> np.ndarray:
    """Tell which fold each text is in.

    Parameters
    ----------
    digests : ndarray of uint32 of shape (n, 2)
        Equal for equal texts.

    Returns
    -------
    folds : ndarray of int64 of shape (n,)
        Equal for equal texts.
    """
    return digests[:, 0].astype(np.int64) % _FOLDS


def _fit(
    counts: Sequence[Any],
    target: np.ndarray,
    samples: tuple[np.ndarray, np.ndarray],
    loss: Loss,
) -> _Fit:
    """Weigh the n-grams of some rows and fit the model that suits the loss."""
    rows, weight = samples
    chosen = [block[rows] for block in counts]
    kept, rarity = [], []
    for block in chosen:
        frequency = np.bincount(block.indices, minlength=block.shape[1])
        columns = np.flatnonzero(frequency)
        kept.append(columns)
        rarity.append(np.log((1 + len(rows)) / (1 + frequency[columns])) + 1)
    design = _design(chosen, kept, rarity)
    if isinstance(loss, CrossEntropy) and loss.class_counts == (2,):
        ratio = _log_ratio(design, target[rows, 0], weight)
    else:
        ratio = np.ones(design.shape[1])
    coefficients, intercept = fit_linear(
        design @ sparse.diags_array(ratio), target[rows], weight, loss, _C
    )
    return _Fit(kept, rarity, coefficients * ratio, intercept)


def _log_ratio(design: Any, codes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Tell how much more frequent each n-gram is in texts of the second of two classes.

    Each is taken to be in one more text of either class.
    """
    present = (design > 0).astype(np.float64)
    shares = []
    for code in (0, 1):
        counts = present.T @ (weight * (codes == code)) + 1
        shares.append(counts / counts.sum())
    return np.log(shares[1] / shares[0])


def _best_scale(
    scores: np.ndarray, target: np.ndarray, weight: np.ndarray, loss: Loss
) -> float:
    """Find the multiple of scores that has the least loss."""
    compared, weights = torch.from_numpy(target), torch.from_numpy(weight)
    raw = torch.from_numpy(scores)

    def mean_loss(scale: float) -> float:
        return float((loss(scale * raw, compared) * weights).mean())

    bounds = (0.0, _LARGEST_SCALE)
    return float(minimize_scalar(mean_loss, bounds=bounds, method="bounded").x)
