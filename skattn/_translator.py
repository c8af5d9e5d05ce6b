"""The translator: sentences in, sentences out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import compress
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight

from skattn._architecture import SpecialToken
from skattn._base import DEFAULT_TRANSLATION_ARCHITECTURE
from skattn._inputs._translations import (
    SourceEncoder,
    TranslationTarget,
    check_sentences,
)
from skattn._supervised import SupervisedEstimator

_COUNT = Interval(Integral, 1, None, closed="left")


class AttentionTranslator(SupervisedEstimator):
    """Translate sentences by an encoder-decoder with attention.

    Parameters
    ----------
    architecture : str or Architecture, default="transformer"
        A registered name (see `skattn.list_architectures`) or an instance, whose
        hyper-parameters can be set and searched as ``architecture__x``.
    token_encoder : TokenEncoder or None, default=None
        How sentences become tokens; a copy is fitted. None stands for
        ``TokenEncoder("bpe", vocabulary_size=8000)``.
    target_encoder : TokenEncoder or None, default=None
        The same for the translations, where they need another one; None takes a copy
        of `token_encoder`.
    shared_vocabulary : bool, default=True
        Fit one `token_encoder` to both languages, whose embeddings an architecture can
        then share. It excludes a `target_encoder`.
    max_epochs : int, default=30
        Passes over the training data, at most.
    lr : float, default=0.001
        Highest learning rate.
    batch_size : int or "auto", default="auto"
        Sentences in a training step, of similar lengths; ``"auto"`` makes at least
        eight steps an epoch from 64 sentences, with batches of a power of two between 8
        and 256.
    optimizer : str or type, default="AdamW"
        An optimizer of `torch.optim`, by name or class.
    weight_decay : float, default=0.01
        Weight decay of all weights with two axes or more; vectors, such as those of
        norms, have none.
    lr_schedule : {"one_cycle", "cosine", "inverse_sqrt"} or None, default="one_cycle"
        Course of the learning rate over ``max_epochs``: a linear warm-up over a tenth
        of the steps and then a half cosine to zero, that half cosine alone, the same
        warm-up and then the inverse square root of the steps, or a constant.
    gradient_clip : float or None, default=1.0
        Largest norm of the gradient.
    label_smoothing : float, default=0.1
        Part of the probability that training spreads over all tokens.
    early_stopping : bool or "auto", default="auto"
        Stop when the loss on held-out sentences has not improved for `patience` epochs,
        and restore the best weights. Held out are those of ``fit``'s `X_val`, or
        `validation_fraction` of the sentences. ``"auto"`` does so from 1,000 sentences.
    validation_fraction : float, default=0.1
        Part of the sentences that early stopping holds out.
    patience : int, default=8
        Epochs without improvement before training stops.
    beam_size : int, default=1
        Hypotheses that ``predict`` follows; 1 takes the most probable token each time.
    length_penalty : float, default=0.6
        Of a beam search: the logarithm of a hypothesis' probability is divided by
        ``((5 + length) / 6) ** length_penalty``.
    max_length : int or None, default=None
        Most tokens of a translation. None allows twice as many as the sentence has,
        and ten more. A translation that is cut off there is warned about.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or ``"auto"`` for the best that
        is present. A device that is absent is an error.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Of weights and arithmetic; ``"bfloat16"`` keeps weights in float32 and computes
        under torch's autocast.
    compile : bool, default=False
        Compile the module with `torch.compile`, for training.
    num_threads : int or None, default=None
        Threads that torch uses in ``fit`` and ``predict``; the old number is restored.
        Results are equal to the bit for equal numbers.
    callbacks : list of skorch callbacks or None, default=None
        Or pairs of a name and one, copied for each fit.
    warm_start : bool, default=False
        Let ``fit`` go on training the fitted net, with the vocabulary as it is.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffling, dropout and the validation split. torch's
        global random state is left as it was found.
    verbose : int, default=0
        1 shows a progress bar.
    net_params : dict or None, default=None
        More parameters of `skorch.NeuralNet`, passed as they are.

    Attributes
    ----------
    token_encoder_, target_encoder_ : TokenEncoder
        Fitted; one object where the vocabulary is shared.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    architecture_ : Architecture
        The architecture, with all its hyper-parameters.
    history_ : skorch.history.History
        One record for each epoch: losses, duration.
    n_iter_ : int
        Epochs that were run.

    See Also
    --------
    AttentionTagger : For a tag for each token.
    skattn.text.TokenEncoder : From sentences to tokens.

    Notes
    -----
    A translation does not depend on the sentences that are translated with it, and a
    sentence without any token is translated by the empty string. `record_attention`
    gives the alignment: how much each token that the translator writes attends to each
    token of the sentence.

    References
    ----------
    Sutskever, Vinyals, Le, "Sequence to Sequence Learning with Neural Networks",
    NeurIPS 2014, arXiv 1409.3215 (beam search). Wu et al., "Google's Neural Machine
    Translation System", 2016, arXiv 1609.08144 (length penalty).

    Examples
    --------
    >>> from skattn import AttentionTranslator
    >>> numbers = ["one", "two", "three", "four", "five"]
    >>> X = [f"{a} and {b}" for a in numbers for b in numbers]
    >>> zahlen = dict(zip(numbers, ["eins", "zwei", "drei", "vier", "fünf"]))
    >>> y = [" ".join(zahlen.get(word, "und") for word in x.split()) for x in X]
    >>> translator = AttentionTranslator(max_epochs=40, lr=0.005, random_state=0)
    >>> translator.fit(X, y).predict(["two and five"])
    array(['zwei und fünf'], dtype=object)
    """

    _task = "translation"
    _encoder_defaults: ClassVar[dict[str, Any]] = {
        "model": "bpe",
        "vocabulary_size": 8000,
    }
    _constraints: ClassVar[dict[str, list[Any]]] = {
        "token_encoder": [object],  # `_fit_vocabulary` says what they take
        "target_encoder": [object],
        "shared_vocabulary": ["boolean"],
        "lr_schedule": [StrOptions({"cosine", "one_cycle", "inverse_sqrt"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "beam_size": [_COUNT],
        "length_penalty": [Interval(Real, 0, None, closed="left")],
        "max_length": [_COUNT, None],
    }

    def __init__(
        self,
        architecture: Any = DEFAULT_TRANSLATION_ARCHITECTURE,
        *,
        token_encoder: Any = None,
        target_encoder: Any = None,
        shared_vocabulary: bool = True,
        max_epochs: int = 30,
        lr: float = 1e-3,
        batch_size: int | str = "auto",
        optimizer: str | type = "AdamW",
        weight_decay: float = 1e-2,
        lr_schedule: str | None = "one_cycle",
        gradient_clip: float | None = 1.0,
        label_smoothing: float = 0.1,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        patience: int = 8,
        beam_size: int = 1,
        length_penalty: float = 0.6,
        max_length: int | None = None,
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
        self.target_encoder = target_encoder
        self.shared_vocabulary = shared_vocabulary
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.gradient_clip = gradient_clip
        self.label_smoothing = label_smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.beam_size = beam_size
        self.length_penalty = length_penalty
        self.max_length = max_length
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
        """Fit the translator.

        Parameters
        ----------
        X : list, ndarray or Series of str of shape (n,)
            Sentences.
        y : list, ndarray or Series of str of shape (n,)
            Their translations.
        sample_weight : array-like of shape (n,), optional
            Weights; sentences of weight zero are dropped.
        X_val, y_val : list, ndarray or Series of str of shape (n_val,), optional
            Held out for early stopping, instead of a part of `X`.

        Returns
        -------
        self : AttentionTranslator
            Fitted.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: pass both, or neither.")
        held_out = None
        if X_val is not None:
            held_out = check_sentences("X_val", X_val), check_sentences("y_val", y_val)
        if not (self.warm_start and hasattr(self, "net_")):
            self._fit_vocabulary(X, y, sample_weight)
        return self._fit(X, y, sample_weight, held_out)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, at a constant learning rate.

        The vocabulary is that of the first call (or of ``fit``).

        Parameters
        ----------
        X : list, ndarray or Series of str of shape (n,)
            Sentences.
        y : list, ndarray or Series of str of shape (n,)
            Their translations.
        sample_weight : array-like of shape (n,), optional
            Weights; sentences of weight zero are dropped.

        Returns
        -------
        self : AttentionTranslator
            Fitted.
        """
        if not hasattr(self, "net_"):
            self._fit_vocabulary(X, y, sample_weight)
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Translate.

        Parameters
        ----------
        X : list, ndarray or Series of str of shape (n,)
            Sentences.

        Returns
        -------
        translations : ndarray of objects of shape (n,)
            Strings.
        """
        _, translations = self._translate(X)
        words = np.empty(len(translations), dtype=object)
        words[:] = [np.array(tokens, dtype=np.int64) for tokens in translations]
        return self._target.encoder.inverse_transform(words)

    def score(self, X: Any, y: Any) -> float:
        """Compute the BLEU score of the translations of a corpus.

        Parameters
        ----------
        X : list, ndarray or Series of str of shape (n,)
            Sentences.
        y : list, ndarray or Series of str of shape (n,)
            Their true translations.

        Returns
        -------
        bleu : float
            0 to 100, as sacrebleu computes it by default: 13a tokens, cased; Post, "A
            Call for Clarity in Reporting BLEU Scores", WMT 2018, arXiv 1804.08771.
        """
        try:
            import sacrebleu
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "AttentionTranslator.score needs sacrebleu, which is not installed. "
                "Install it: pip install 'skattn[text]'"
            ) from error
        truth = check_sentences("y", y)
        translations = self.predict(X)
        if len(translations) != len(truth):
            raise ValueError(
                f"X holds {len(translations)} sentences and y {len(truth)} "
                "translations: they must be as many."
            )
        return float(
            sacrebleu.corpus_bleu(translations.tolist(), [truth.tolist()]).score
        )

    def _fit_vocabulary(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Fit the encoders of both sides, before anything is encoded."""
        from skattn.text import TokenEncoder

        for name in ("token_encoder", "target_encoder"):
            given = getattr(self, name)
            if not isinstance(given, TokenEncoder | None):
                raise TypeError(
                    f"{name}={given!r} must be a skattn.text.TokenEncoder or None."
                )
        if y is None:
            raise ValueError(
                "AttentionTranslator requires y to be passed, but the target y is None."
            )
        if self.shared_vocabulary and self.target_encoder is not None:
            raise ValueError(
                "target_encoder excludes shared_vocabulary=True, by which one encoder "
                "serves both languages. Set shared_vocabulary=False, or leave "
                "target_encoder out."
            )
        source, target = check_sentences("X", X), check_sentences("y", y)
        check_consistent_length(source, target)
        pairs: Iterable[tuple[str, str]] = zip(source, target, strict=True)
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, source)
            pairs = compress(pairs, weight > 0)
        # So that to weigh a sentence is to repeat it, equal pairs count once.
        distinct = list(dict.fromkeys(pairs))
        if not distinct:
            raise ValueError("sample_weight is zero for all sentences.")
        sentences, translations = map(list, zip(*distinct, strict=True))
        given = self._encoder_of(self.token_encoder)
        token_encoder = clone(given)
        if self.shared_vocabulary:
            target_encoder = token_encoder.fit(sentences + translations)
        else:
            other = given if self.target_encoder is None else self.target_encoder
            token_encoder.fit(sentences)
            target_encoder = clone(other).fit(translations)
        self.token_encoder_, self.target_encoder_ = token_encoder, target_encoder

    def _input_of(self, X: Any) -> str:
        return "tokens"

    def _starts_linear(self, *_: Any) -> bool:
        return False

    def _make_encoder(self, input: str, architecture: Any) -> SourceEncoder:
        return SourceEncoder(self.token_encoder_, self.target_encoder_)

    def _make_target(self) -> TranslationTarget:
        return TranslationTarget(self.target_encoder_, self.label_smoothing)

    def _translate(self, X: Any) -> tuple[dict[str, np.ndarray], list[list[int]]]:
        """Read sentences and write the tokens of their translations."""
        from skattn._engine._generation import translate
        from skattn._engine._runtime import torch_threads

        samples, content = self._samples(X)

        def most(length: int) -> int:
            """Tell how many tokens may be written; the end is not among them."""
            return 2 * length + 8 if self.max_length is None else self.max_length

        with torch_threads(self.num_threads):
            found = translate(
                self.net_,
                samples,
                beam_size=self.beam_size,
                length_penalty=self.length_penalty,
                limit=lambda length: most(length) + 1,
            )
        # A sentence has at least its end.
        lengths = [len(tokens) for tokens in content["tokens"]]
        is_empty = [length == 1 for length in lengths]
        cut = sum(
            not (each.is_complete or empty)
            for each, empty in zip(found, is_empty, strict=True)
        )
        if cut:
            warnings.warn(
                f"{cut} of {len(found)} translations were cut off before they came to "
                f"an end, at max_length={self.max_length} (None: twice the tokens of "
                "the sentence, and ten more). Raise max_length, or train longer.",
                UserWarning,
                stacklevel=3,
            )
        return content, [
            [] if length == 1 else each.tokens[: most(length)]
            for each, length in zip(found, lengths, strict=True)
        ]

    def _attention_batches(self, X: Any) -> tuple[Any, Any, Any]:
        """Give the recorder the sentences beside their translations."""
        content, translations = self._translate(X)
        written = np.empty(len(translations), dtype=object)
        end = int(SpecialToken.END)
        written[:] = [np.array([*tokens, end]) for tokens in translations]
        samples = self._encoder.samples(content, self.net_, written)
        content = {**content, "target_tokens": written}
        return (
            self.net_,
            samples,
            lambda axis: self._encoder.axis_names(axis, content),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = False
        tags.input_tags.allow_nan = False
        tags.target_tags.required = True
        tags.target_tags.multi_output = False
        return tags
