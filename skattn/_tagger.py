"""The tagger: token lists in, a tag for each token out."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skattn._architecture import DataSpec
from skattn._base import DEFAULT_ARCHITECTURE
from skattn._inputs._words import WordEncoder
from skattn._pretrained_text import PretrainedTextNet, TextPretraining
from skattn._supervised import SupervisedEstimator
from skattn._tags import SCHEMES, TagTarget


class AttentionTagger(TextPretraining, SupervisedEstimator):
    """Tag the tokens of sentences by attention: entities, chunks, parts of speech.

    Parameters
    ----------
    architecture : str or Architecture, default="self_attention"
        A registered name (see `skattn.list_architectures`) or an instance, whose
        hyper-parameters can be set and searched as ``architecture__x``.
        ``"tener"`` sees characters too.
    token_encoder : TokenEncoder or None, default=None
        How tokens become codes, one each: its ``model`` is ``"word"``, and its
        ``max_length`` is not used. A copy is fitted to the different sentences of `X`.
        None stands for ``TokenEncoder("word", min_frequency=2)``, so that tokens which
        occur once show how unknown ones are to be read; where none occurs twice, all
        are known.
    pretrained : PretrainedTextNet or None, default=None
        A net to start from, as ``pretrain`` leaves it in ``pretrained_``; its
        vocabulary is kept. Clones keep this parameter.
    crf : bool, default=True
        Learn which tags follow each other, by a linear-chain conditional random field
        on the scores of the architecture. If False, each tag has a loss of its own.
    tag_scheme : {"auto", "IOB1", "IOB2", "IOBES", "BILOU"} or None, default="auto"
        How tags mark where entities begin and end. ``"auto"`` finds it in the training
        tags, or none where they do not look like ``"B-PER"``; None takes tags as mere
        labels. With a scheme, no sequence is predicted that breaks it.
    outside_shift : float or "auto", default="auto"
        With a scheme, what ``predict`` takes off the score of the tag ``"O"`` of each
        token, in natural logarithms: more than 0 finds more entities, and more wrong
        ones. ``"auto"`` chooses the highest `score` of the sentences that early
        stopping holds out; 0 where there are none.
    max_epochs : int, default=30
        Passes over the training data, at most.
    lr : float, default=0.002
        Highest learning rate.
    batch_size : int or "auto", default=16
        Sentences in a training step, of similar lengths; ``"auto"`` makes at least
        eight steps an epoch from 64 sentences, with batches of a power of two between 8
        and 256.
    optimizer : str or type, default="AdamW"
        An optimizer of `torch.optim`, by name or class.
    weight_decay : float, default=0.01
        Weight decay of all weights with two axes or more; vectors, such as those of
        norms, have none.
    lr_schedule : {"one_cycle", "cosine"} or None, default="one_cycle"
        Course of the learning rate over ``max_epochs``: a linear warm-up over a tenth
        of the steps and then a half cosine to zero, that half cosine alone, or a
        constant.
    gradient_clip : float or None, default=1.0
        Largest norm of the gradient.
    early_stopping : bool or "auto", default="auto"
        Stop when the score of held-out sentences (see `score`) has not improved for
        `patience` epochs, and restore the best weights. Held out are those of ``fit``'s
        `X_val`, or `validation_fraction` of the sentences. ``"auto"`` does so from
        1,000 sentences.
    validation_fraction : float, default=0.1
        Part of the sentences that early stopping holds out.
    patience : int, default=10
        Epochs without improvement before training stops.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"auto"`` for the best that
        is present. A device that is absent is an error.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Of weights and arithmetic; ``"bfloat16"`` keeps weights in float32 and computes
        under torch's autocast.
    compile : bool, default=False
        Compile the module with `torch.compile`.
    num_threads : int or None, default=None
        Threads that torch uses in ``fit`` and ``predict``; the old number is restored.
        Results are equal to the bit for equal numbers.
    callbacks : list of skorch callbacks or None, default=None
        Or pairs of a name and one, copied for each fit.
    warm_start : bool, default=False
        Let ``fit`` go on training the fitted net, with vocabulary and tags as they are.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffling, dropout and the validation split. torch's
        global random state is left as it was found.
    verbose : int, default=0
        1 shows a progress bar.
    net_params : dict or None, default=None
        More parameters of `skorch.NeuralNet`, passed as they are.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The tags, sorted; with a scheme, all that it has for the types in `y`.
    tag_scheme_ : str or None
        The scheme of the tags.
    outside_shift_ : float
        The `outside_shift` that ``predict`` uses.
    token_encoder_ : TokenEncoder
        Fitted.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    architecture_ : Architecture
        The architecture, with all its hyper-parameters.
    history_ : skorch.history.History
        One record for each epoch: losses, duration.
    pretrained_ : PretrainedTextNet
        The net of ``pretrain``; there only after it.
    n_iter_ : int
        Epochs that were run.

    See Also
    --------
    AttentionClassifier : One label for each text.
    skattn.text.TokenEncoder : From tokens to codes.

    Notes
    -----
    Sentences without tokens are left out of training and have no tags. The tags of a
    sentence do not depend on the others that are predicted with it. With a scheme, the
    net's own tags tell for each token whether it begins an entity, is inside it, ends
    it, or is one by itself; tags in between are written in the scheme of `y`. Integer
    sample weights equal repetitions of sentences (as long as they add up to at most 20
    times the number of sentences); others multiply the loss.

    References
    ----------
    Lafferty, McCallum, Pereira, "Conditional Random Fields: Probabilistic Models for
    Segmenting and Labeling Sequence Data", ICML 2001. Papay, Klinger, Pado,
    "Constraining Linear-chain CRFs to Regular Languages", ICLR 2022, arXiv 2106.07306.

    Examples
    --------
    >>> from skattn import AttentionTagger
    >>> names = ["Ann", "Bob", "Cid", "Dan", "Eve"]
    >>> X = [[a, "met", b, "."] for a in names for b in names]
    >>> y = [["B-PER", "O", "B-PER", "O"]] * len(X)
    >>> tagger = AttentionTagger(random_state=0).fit(X, y)
    >>> tagger.predict([["Eve", "met", "Ann", "."], ["."]])
    [['B-PER', 'O', 'B-PER', 'O'], ['O']]
    """

    _task = "tagging"
    _encoder_defaults: ClassVar[dict[str, Any]] = {"model": "word", "min_frequency": 2}
    _constraints: ClassVar[dict[str, list[Any]]] = {
        "token_encoder": [object],  # `WordEncoder` says what it takes
        "crf": ["boolean"],
        "tag_scheme": [StrOptions({"auto", *SCHEMES}), None],
        "outside_shift": [
            Interval(Real, None, None, closed="neither"),
            StrOptions({"auto"}),
        ],
    }

    def __init__(
        self,
        architecture: Any = DEFAULT_ARCHITECTURE,
        *,
        token_encoder: Any = None,
        pretrained: PretrainedTextNet | None = None,
        crf: bool = True,
        tag_scheme: str | None = "auto",
        outside_shift: float | str = "auto",
        max_epochs: int = 30,
        lr: float = 2e-3,
        batch_size: int | str = 16,
        optimizer: str | type = "AdamW",
        weight_decay: float = 1e-2,
        lr_schedule: str | None = "one_cycle",
        gradient_clip: float | None = 1.0,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        patience: int = 10,
        device: str = "cpu",
        precision: str = "float32",
        compile: bool = False,
        num_threads: int | None = None,
        callbacks: list[Any] | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.architecture = architecture
        self.token_encoder = token_encoder
        self.pretrained = pretrained
        self.crf = crf
        self.tag_scheme = tag_scheme
        self.outside_shift = outside_shift
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.gradient_clip = gradient_clip
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.precision = precision
        self.compile = compile
        self.num_threads = num_threads
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Fit the tagger.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            A list of tokens, which are strings, for each sentence.
        y : list, ndarray or Series of shape (n,)
            A list of tags, strings or integers, for each sentence: one for each token.
        sample_weight : array-like of shape (n,), optional
            Weights; sentences of weight zero are dropped.
        X_val, y_val : list, ndarray or Series of shape (n_val,), optional
            Held out for early stopping, instead of a part of `X`.

        Returns
        -------
        self : AttentionTagger
            Fitted.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: pass both, or neither.")
        held_out = None if X_val is None else (X_val, y_val)
        self._fit(X, y, sample_weight, held_out)
        return self._publish()

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Train for one epoch, at a constant learning rate.

        Vocabulary and tags are those of the first call (or of ``fit``).

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            A list of tokens for each sentence.
        y : list, ndarray or Series of shape (n,)
            A list of tags for each sentence.
        classes : array-like of shape (n_classes,), optional
            All tags that will ever come; read in the first call.
        sample_weight : array-like of shape (n,), optional
            Weights; sentences of weight zero are dropped.

        Returns
        -------
        self : AttentionTagger
            Trained a little further.
        """
        self._partial_fit(X, y, sample_weight, classes)
        return self._publish()

    def predict(self, X: Any) -> list[list[Any]]:
        """Find the most probable tags of each sentence as a whole, entities preferred.

        How much they are is `outside_shift`.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            A list of tokens for each sentence.

        Returns
        -------
        tags : list of list of str or of int
            One for each token; no sequence that the scheme does not have.
        """
        check_is_fitted(self, "net_")

        def find(chain: Any, mask: Any) -> list[list[int]]:
            return chain.shifted(self.outside_shift_).best_path(mask).tolist()

        return self._read(X, find, self._target.decode)

    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """Predict probabilities of the tags of each token.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            A list of tokens for each sentence.

        Returns
        -------
        probabilities : list of ndarray of shape (n_tokens, n_classes)
            In the order of ``classes_``, summing to one for each token: marginals of
            all sequences that the scheme has, without `outside_shift`.
        """
        check_is_fitted(self, "net_")
        return self._read(X, self._target.probabilities, np.array)

    def score(self, X: Any, y: Any) -> float:
        """Compute the F1 score of entities, or the accuracy of mere labels.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            A list of tokens for each sentence.
        y : list, ndarray or Series of shape (n,)
            The true tags.

        Returns
        -------
        score : float
            With a scheme, the micro-averaged F1 score of whole entities by seqeval in
            its strict mode, 0 where there are none; without one, the part of the tokens
            whose tag is right.
        """
        predicted = self.predict(X)
        truth = self._target.check(y).tolist()
        check_consistent_length(predicted, truth)
        _check_lengths(predicted, truth)
        if self.tag_scheme_ is None:
            right = [
                tag == true
                for tags, true_tags in zip(predicted, truth, strict=True)
                for tag, true in zip(tags, true_tags, strict=True)
            ]
            if not right:
                raise ValueError("X and y hold no token that could be scored.")
            return float(np.mean(right))
        try:
            from seqeval import scheme
            from seqeval.metrics import f1_score
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "AttentionTagger.score of entities needs seqeval, which is not "
                "installed. Install it: pip install 'skattn[text]'"
            ) from error
        return float(
            f1_score(
                truth,
                predicted,
                mode="strict",
                scheme=getattr(scheme, self.tag_scheme_),
                zero_division=0,
            )
        )

    def _input_of(self, X: Any) -> str:
        return "tokens"

    def _make_target(self) -> TagTarget:
        return TagTarget(self.tag_scheme, self.crf, self.outside_shift)

    def _make_encoder(self, input: str, architecture: Any) -> WordEncoder:
        return WordEncoder(self.token_encoder, architecture)

    def _make_blueprint(self, architecture: Any, data: DataSpec, has_skip: bool) -> Any:
        from skattn._engine._crf import ChainBlueprint

        if not self.crf:
            return super()._make_blueprint(architecture, data, has_skip)
        return ChainBlueprint(architecture, data, self.precision, has_skip)

    def _starts_linear(self, *_: Any) -> bool:
        return False

    def _check_rows(
        self, X: Any, y: Any, sample_weight: Any, encoder: Any, target: Any
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        """Validate the arguments of ``fit`` and leave out sentences without tokens."""
        X, y, weight = super()._check_rows(X, y, sample_weight, encoder, target)
        _check_lengths(X, y)
        filled = np.array([len(sentence) > 0 for sentence in X])
        if not filled.any():
            raise ValueError(
                "No sentence of X has a token. Pass at least one with tokens and tags."
            )
        return X[filled], y[filled], weight[filled]

    def _publish(self) -> Self:
        """Set what can be read off a fitted tagger."""
        self.classes_ = self._target.classes
        self.tag_scheme_ = self._target.scheme
        self.outside_shift_ = self.net_.criterion_.shift
        self.token_encoder_ = self._encoder.token_encoder_
        return self

    def _read(
        self,
        X: Any,
        read: Callable[[Any, Any], Any],
        finish: Callable[[Any], Any],
    ) -> list[Any]:
        """Read the scores of all sentences as chains, batch by batch."""
        import torch

        from skattn._engine._runtime import torch_threads

        samples, content = self._samples(X)
        lengths = torch.tensor([len(words) for words in content["words"]])
        found: list[Any] = [None] * len(lengths)
        with torch_threads(self.num_threads):
            for rows, scores in self.net_.iterate_scores(samples):
                rows, scores = rows.cpu(), scores.double().cpu()
                if not scores.isfinite().all():
                    raise ValueError(
                        "Some sentences of X give scores that are not finite: training "
                        f"diverged, or precision={self.net_.precision!r} is too low."
                    )
                chain = self.net_.criterion_.chain(scores)
                steps = torch.arange(chain.tags.shape[1])
                mask = steps < lengths[rows][:, None]
                for row, each in zip(rows.tolist(), read(chain, mask), strict=True):
                    found[row] = finish(each[: int(lengths[row])])
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = False
        tags.input_tags.allow_nan = False
        tags.target_tags.required = True
        tags.target_tags.multi_output = False
        return tags


def _check_lengths(sentences: Any, tags: Any) -> None:
    """Make sure that each token has a tag."""
    for number, (tokens, labels) in enumerate(zip(sentences, tags, strict=True)):
        if len(tokens) != len(labels):
            raise ValueError(
                f"Sentence {number} has {len(tokens)} tokens and {len(labels)} tags; "
                "each token needs one tag. Correct this sentence, or leave it out."
            )
