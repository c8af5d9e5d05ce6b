"""Tags of tokens: the schemes that mark where entities begin and end."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence, Set
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skattn._engine._crf import (
    BEGINNING,
    ENDING,
    INSIDE,
    SINGLE,
    ChainLoss,
    TagLoss,
    is_start,
)
from skattn._inputs._translations import digests

OUTSIDE = "O"

# Of a token that begins an entity of several, is inside it, ends it, or is an entity
# of its own: its prefix in each scheme.
SCHEMES = {"IOB2": "BIIB", "IOB1": "IIII", "IOBES": "BIES", "BILOU": "BILU"}

# Where it directly follows another entity of its type, in IOB1.
_AGAIN = "B"


class Entity(NamedTuple):
    """Tokens from `start` up to, but not including, `stop`."""

    kind: str
    start: int
    stop: int


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Read entities, leniently: an unexpected continuation is a beginning.

    Parameters
    ----------
    tags : sequence of str
        Of one sentence, in any of the schemes.

    Returns
    -------
    entities : list of Entity
        In their order.

    Examples
    --------
    >>> from skattn._tags import find_entities
    >>> find_entities(["B-PER", "I-PER", "O", "I-LOC"])
    [Entity(kind='PER', start=0, stop=2), Entity(kind='LOC', start=3, stop=4)]
    """
    entities: list[Entity] = []
    start, before = 0, OUTSIDE
    for position, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = tag[0], tag[2:]
        is_outside = tag == OUTSIDE
        continues = (
            not is_outside
            and before != OUTSIDE
            and before[2:] == kind
            and prefix in "IEL"
            and before[0] in "BI"
        )
        if before != OUTSIDE and not continues:
            entities.append(Entity(before[2:], start, position))
        if not continues:
            start = position
        before = tag
    return entities


def write_entities(entities: Iterable[Entity], length: int, scheme: str) -> list[str]:
    """Write entities as tags.

    Parameters
    ----------
    entities : iterable of Entity
        In their order, without overlap.
    length : int
        Tokens of the sentence.
    scheme : str
        A key of `SCHEMES`.

    Returns
    -------
    tags : list of str
        One for each token.

    Examples
    --------
    >>> from skattn._tags import Entity, write_entities
    >>> write_entities([Entity("PER", 0, 2), Entity("LOC", 3, 4)], 4, "IOBES")
    ['B-PER', 'E-PER', 'O', 'S-LOC']
    """
    beginning, inside, ending, single = list(SCHEMES[scheme])
    tags = [OUTSIDE] * length
    before = Entity("", -1, -1)
    for entity in entities:
        n_tokens = entity.stop - entity.start
        prefixes = [beginning, *inside * (n_tokens - 2), ending]
        if n_tokens == 1:
            prefixes = [single]
        if scheme == "IOB1" and before.stop == entity.start:
            prefixes[0] = _AGAIN if before.kind == entity.kind else prefixes[0]
        tags[entity.start : entity.stop] = [
            f"{each}-{entity.kind}" for each in prefixes
        ]
        before = entity
    return tags


def find_scheme(y: Iterable[Sequence[Any]]) -> str | None:
    """Find the scheme that tags are written in.

    Parameters
    ----------
    y : iterable of sequence of str or int
        Tags of each sentence.

    Returns
    -------
    scheme : str or None
        A key of `SCHEMES`, or None where the tags are no prefixes with types.

    Raises
    ------
    ValueError
        If the tags look like those of a scheme and keep to none.
    """
    y = list(y)
    labels = {tag for tags in y for tag in tags}
    if (likely := _scheme_of_prefixes(labels)) is None:
        return None
    for scheme in (likely, "IOB1"):
        if _first_fault(y, scheme) is None:
            return scheme
    raise ValueError(
        f"y has tags with prefixes, as {max(labels, key=len)!r}, but keeps to none of "
        f"the schemes {', '.join(SCHEMES)}. {_first_fault(y, likely)} Name the scheme "
        "in tag_scheme, by which such a tag is read as the beginning of an entity, or "
        "set tag_scheme=None to take all tags as mere labels."
    )


def _has_prefix(tag: Any) -> bool:
    return isinstance(tag, str) and (
        tag == OUTSIDE or (len(tag) > 2 and tag[0] in "BIESLU" and tag[1] == "-")
    )


def _scheme_of_prefixes(labels: Set[Any]) -> str | None:
    """Find the first scheme that has the prefixes of some tags."""
    if labels <= {OUTSIDE} or not all(map(_has_prefix, labels)):
        return None
    letters = {tag[0] for tag in labels} - {OUTSIDE}
    fitting = (name for name, each in SCHEMES.items() if letters <= {*each, _AGAIN})
    return next(fitting, None)


def _first_fault(y: Iterable[Sequence[str]], scheme: str) -> str | None:
    """Describe the first tag that breaks a scheme."""
    for number, tags in enumerate(y):
        kept = write_entities(find_entities(tags), len(tags), scheme)
        for position, (tag, right) in enumerate(zip(tags, kept, strict=True)):
            if tag != right:
                return (
                    f"In sentence {number}, token {position} has the tag {tag!r} where "
                    f"{scheme} has {right!r}."
                )
    return None


class TagTarget:
    """Tags of the tokens of each sentence.

    Where they are written in a scheme, a net is trained on whether each token begins
    an entity, is inside it, ends it, or is one by itself.

    Parameters
    ----------
    tag_scheme : str or None
        A tagger's parameter.
    crf : bool
        A tagger's parameter.
    outside_shift : float or "auto", default=0
        A tagger's parameter.

    Attributes
    ----------
    scheme : str or None
        A key of `SCHEMES`, or None where the tags are mere labels.
    classes : ndarray of shape (n_classes,)
        The tags of users, sorted: with a scheme, all that it has for the types found.
    """

    def __init__(
        self, tag_scheme: str | None, crf: bool, outside_shift: float | str = 0.0
    ) -> None:
        self.tag_scheme = tag_scheme
        self.crf = crf
        self.outside_shift = outside_shift

    @staticmethod
    def check(y: Any) -> np.ndarray:
        """Validate tags.

        Parameters
        ----------
        y : list, ndarray or Series of shape (n,)
            A list of tags, strings or integers, for each sentence.

        Returns
        -------
        y : ndarray of objects of shape (n,)
            Lists of str, or of int.
        """
        if isinstance(y, pd.Series):
            y = y.to_numpy(dtype=object)
        if isinstance(y, str) or not isinstance(y, (list, tuple, np.ndarray)):
            raise TypeError(
                "y must be a list with a list of tags for each sentence, but it is "
                f"{y!r:.60} of type {type(y).__name__}."
            )
        checked = np.empty(len(y), dtype=object)
        types = set()
        for number, tags in enumerate(y):
            if isinstance(tags, str) or not isinstance(tags, (list, tuple, np.ndarray)):
                raise TypeError(
                    f"Element {number} of y is {tags!r:.60} of type "
                    f"{type(tags).__name__}, but must be the list of the tags of a "
                    "sentence, one for each token."
                )
            checked[number] = [
                _check_tag(tag, f"Tag {position} of element {number} of y")
                for position, tag in enumerate(tags)
            ]
            types |= set(map(type, checked[number]))
        if len(types) > 1:
            raise TypeError(
                "y holds strings and integers, which have no common order. Turn all "
                "tags into strings."
            )
        return checked

    def learn(self, y: np.ndarray, all_classes: Any = None) -> None:
        """Learn tags and scheme.

        Parameters
        ----------
        y : ndarray of objects of shape (n,)
            Checked tags.
        all_classes : array-like, optional
            Tags that may come later, for ``partial_fit``.
        """
        labels = {tag for tags in y for tag in tags}
        if all_classes is not None:
            labels |= set(self.check([all_classes])[0])
        self.scheme = self.tag_scheme
        if self.tag_scheme == "auto":
            self.scheme = find_scheme(y) or _scheme_of_prefixes(labels)
        if self.scheme is not None:
            self._check_prefixes(labels)
            self.kinds = sorted({tag[2:] for tag in labels} - {""})
            prefixes = sorted({*SCHEMES[self.scheme]} | {*_AGAIN})
            labels = {f"{each}-{kind}" for each in prefixes for kind in self.kinds}
            labels.add(OUTSIDE)
        elif self.outside_shift not in ("auto", 0):
            raise ValueError(
                f"outside_shift={self.outside_shift!r} concerns the tag {OUTSIDE!r} of "
                "a scheme, but the tags of y are mere labels. Set it to 'auto', or "
                "name the scheme in tag_scheme."
            )
        self.classes = np.array(sorted(labels))
        if len(self.classes) < 2:
            raise ValueError(
                f"y holds one tag, {self.classes.tolist()[0]!r}; a tagger needs at "
                "least two."
            )
        self._codes = {tag: code for code, tag in enumerate(self.classes.tolist())}

    def _check_prefixes(self, labels: Iterable[Any]) -> None:
        known = {*SCHEMES[str(self.scheme)], _AGAIN}
        for tag in sorted(labels, key=str):
            if not _has_prefix(tag) or not (tag == OUTSIDE or tag[0] in known):
                raise ValueError(
                    f"y holds the tag {tag!r}, which is none of {self.scheme}: it has "
                    f"{OUTSIDE!r} and, before a hyphen and a type, "
                    f"{', '.join(sorted(known))}. Set tag_scheme='auto', or None to "
                    "take all tags as mere labels."
                )

    @property
    def n_outputs(self) -> int:
        """Number of the net's own tags."""
        if self.scheme is None:
            return len(self.classes)
        return 1 + 4 * len(self.kinds)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Number the tags.

        Parameters
        ----------
        y : ndarray of objects of shape (n,)
            Checked tags.

        Returns
        -------
        codes : ndarray of objects of shape (n,)
            Arrays of int64: the net's own tags.
        """
        unknown = {tag for tags in y for tag in tags} - set(self._codes)
        if unknown:
            raise ValueError(
                f"y holds the tags {sorted(unknown)}, which are not among the fitted "
                f"tags {self.classes.tolist()}. Fit anew with all of them (name them "
                "in the first call of partial_fit), or leave out these sentences."
            )
        encoded = np.empty(len(y), dtype=object)
        for number, tags in enumerate(y):
            if self.scheme is None:
                codes = [self._codes[tag] for tag in tags]
            else:
                codes = self._number(find_entities(tags), len(tags))
            encoded[number] = np.array(codes, dtype=np.int64)
        return encoded

    def _number(self, entities: Iterable[Entity], length: int) -> list[int]:
        codes = [0] * length
        for kind, start, stop in entities:
            first = 1 + 4 * self.kinds.index(kind)
            codes[start:stop] = [first + INSIDE] * (stop - start)
            codes[stop - 1] = first + ENDING
            codes[start] = first + (SINGLE if stop - start == 1 else BEGINNING)
        return codes

    def numbers(self, y: np.ndarray) -> np.ndarray:
        """Give the target as numbers that other rows do not decide, for hashing.

        Training asks for them once: tags that break the scheme are told here.
        """
        if self.scheme is not None:
            faults = sum(_first_fault([tags], self.scheme) is not None for tags in y)
            if faults:
                warnings.warn(
                    f"{faults} of {len(y)} sentences do not keep to tag_scheme="
                    f"{self.scheme!r}. {_first_fault(y, self.scheme)} All such tags "
                    "are read as beginnings of entities.",
                    UserWarning,
                    stacklevel=2,
                )
        return digests(self.encode(y))

    @staticmethod
    def strata(y: np.ndarray) -> None:
        """Give nothing by which a split could be stratified."""

    def fit_scaling(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        """Do nothing: tags have no scale."""

    def loss(self) -> TagLoss:
        """Make the loss.

        Returns
        -------
        loss : TagLoss
            Which knows what tags may follow each other.
        """
        kind = ChainLoss if self.crf else TagLoss
        given = self.outside_shift
        shift = None if isinstance(given, str) else given
        return kind(self.allowed(), self.scheme is not None, shift)

    def allowed(self) -> np.ndarray:
        """Tell which of the net's own tags may follow each other.

        Returns
        -------
        allowed : ndarray of bool of shape (n_outputs + 2, n_outputs)
            See `TagLoss`.
        """
        n_tags = self.n_outputs
        allowed = np.ones((n_tags + 2, n_tags), dtype=bool)
        if self.scheme is None:
            return allowed
        codes = np.arange(n_tags)
        kind, role = (codes - 1) // 4, (codes - 1) % 4
        is_entity = codes > 0
        opens = is_entity & np.isin(role, (BEGINNING, INSIDE))  # more tokens follow
        goes_on = is_entity & np.isin(role, (INSIDE, ENDING))
        allowed[:n_tags] = opens[:, None] == goes_on
        allowed[:n_tags] &= ~opens[:, None] | (kind[:, None] == kind)
        allowed[n_tags], allowed[n_tags + 1] = ~goes_on, ~opens
        return allowed

    def decode(self, codes: Sequence[int]) -> list[Any]:
        """Turn the net's own tags of a sentence into those of users.

        Parameters
        ----------
        codes : sequence of int
            A sequence that is allowed.

        Returns
        -------
        tags : list of str or of int
            Written in the scheme.
        """
        if self.scheme is None:
            return self.classes[list(codes)].tolist()
        own = [OUTSIDE] + [f"{each}-{kind}" for kind in self.kinds for each in "BIES"]
        entities = find_entities([own[code] for code in codes])
        return write_entities(entities, len(codes), self.scheme)

    def probabilities(self, chain: Any, mask: Any) -> np.ndarray:
        """Compute probabilities of the tags of users.

        Parameters
        ----------
        chain : Chain
            Of the net's own tags.
        mask : Tensor of bool of shape (batch, length)
            True for the tokens of each sequence.

        Returns
        -------
        probabilities : ndarray of shape (batch, length, n_classes)
            In the order of the classes, summing to one for each token.
        """
        own = chain.marginals(mask).numpy()
        if self.scheme is None:
            return own
        found = np.zeros((*own.shape[:2], len(self.classes)))
        found[..., self._codes[OUTSIDE]] = own[..., 0]
        for number, kind in enumerate(self.kinds):
            for role, prefix in enumerate(SCHEMES[self.scheme]):
                column = self._codes[f"{prefix}-{kind}"]
                found[..., column] += own[..., 1 + 4 * number + role]
        if self.scheme == "IOB1":
            self._move_repeated(found, chain, mask)
        return found

    def _move_repeated(self, found: np.ndarray, chain: Any, mask: Any) -> None:
        """Give beginnings directly behind an entity of the same type their own tag."""
        codes = np.arange(self.n_outputs)
        ends = (codes > 0) & np.isin((codes - 1) % 4, (ENDING, SINGLE))
        pairs = ends[:, None] & is_start(codes)
        pairs &= (codes[:, None] - 1) // 4 == (codes - 1) // 4
        again = chain.joint_marginals(mask, chain.tags.new_tensor(pairs).bool()).numpy()
        for number, kind in enumerate(self.kinds):
            moved = again[..., 1 + 4 * number : 5 + 4 * number].sum(axis=-1)
            found[..., self._codes[f"I-{kind}"]] -= moved
            found[..., self._codes[f"{_AGAIN}-{kind}"]] += moved


def _check_tag(tag: Any, name: str) -> str | int:
    if isinstance(tag, str) and tag:
        return str(tag)
    if isinstance(tag, Integral) and not isinstance(tag, bool):
        return int(tag)
    raise TypeError(
        f"{name} is {tag!r} of type {type(tag).__name__}, but tags are strings that "
        "are not empty, or integers. Turn it into one, for instance 'O'."
    )
