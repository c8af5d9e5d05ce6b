"""Nets that have read unlabelled texts, for estimators of texts to start from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np

from skattn._architecture import DataSpec
from skattn._base import (
    check_parameters,
    draw_seed,
    fitted_architecture,
    stops_early,
)

_TASK = "token_prediction"
# Part of the tokens that a net has to guess, as in BERT.
_MASKED = 0.15


class PretrainedTextNet:
    """A net that learned from texts alone, with its vocabulary.

    It is never changed: copies and clones of an estimator that holds one share it, and
    an estimator that starts from it takes a copy of the weights.

    Parameters
    ----------
    net : skorch.NeuralNet
        Trained to predict tokens.
    encoder : object
        That the texts were read with.
    asked : TokenEncoder or None
        The parameter `token_encoder` of the estimator.

    Attributes
    ----------
    architecture : Architecture
        Of the net.
    token_encoder : TokenEncoder or None
        With the vocabulary; None of texts that were given as ids.
    history : skorch.history.History
        One record for each epoch; the losses are natural logarithms, averaged over the
        tokens that were to be predicted.

    See Also
    --------
    AttentionClassifier.pretrain : Trains one.

    Examples
    --------
    >>> from skattn import AttentionClassifier
    >>> texts = ["good film", "bad film", "a good one", "a bad one"]
    >>> base = AttentionClassifier("text_encoder", max_epochs=2, random_state=0)
    >>> start = base.pretrain(texts).pretrained_
    >>> start
    PretrainedTextNet(TextEncoder(), vocabulary_size=11)
    >>> clf = AttentionClassifier("text_encoder", pretrained=start, random_state=0)
    >>> clf.fit(texts[:2], [1, 0]).predict(["good"]).shape
    (1,)
    """

    def __init__(self, net: Any, encoder: Any, asked: Any) -> None:
        self.architecture = net.module.architecture
        self.token_encoder = encoder.token_encoder_
        self.encoder = encoder
        self._asked = asked
        self.history = net.history
        self.data = net.module.data
        self._weights = {
            name: tensor.detach().cpu().clone()
            for name, tensor in _inner(net.module_).state_dict().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Give the weights.

        Returns
        -------
        weights : dict of str to Tensor
            Copies, by their names in the torch module.
        """
        return {name: tensor.clone() for name, tensor in self._weights.items()}

    def check(self, estimator: Any, architecture: Any, encoder: Any) -> None:
        """Make sure that an estimator can start from this net.

        Parameters
        ----------
        estimator : estimator
            That is to start.
        architecture : Architecture
            Its architecture.
        encoder : object
            Its unfitted encoder of texts.

        Raises
        ------
        ValueError
            If it says otherwise about the architecture, the tokens or the input.
        """
        name = type(estimator).__name__
        if repr(architecture) != repr(self.architecture):
            raise ValueError(
                f"The pretrained net is {self.architecture!r}, but architecture of "
                f"{name} is {architecture!r}: they must be equal. Set architecture="
                f"{self.architecture!r}, or pretrain another net."
            )
        if type(encoder) is not type(self.encoder):
            raise ValueError(
                f"The net was pretrained by another kind of estimator, or on other "
                f"input, than {name} has now: a tagger splits no token, a classifier "
                f"its texts. Pretrain by {name}, and pass texts to its fit."
            )
        given, of = estimator.token_encoder, estimator._encoder_of
        if given is not None and repr(of(given)) != repr(of(self._asked)):
            raise ValueError(
                f"token_encoder={given!r} of {name} is not what the net was pretrained "
                f"with, {self._asked!r}. Leave it out, or pretrain with it."
            )

    def hand_on(self, net: Any) -> None:
        """Copy weights into a net, but for those of its last map.

        Parameters
        ----------
        net : Net
            With initial weights.

        Raises
        ------
        ValueError
            If there is none to copy.
        """
        module = _inner(net.module_)
        present = module.state_dict()
        shared = {
            name: tensor
            for name, tensor in self._weights.items()
            if name.partition(".")[0] != "head"
            and name in present
            and present[name].shape == tensor.shape
        }
        if not shared:
            raise ValueError(
                f"The module that {self.architecture!r} builds for "
                f"{net.module.data.task} has no weight of the name and shape of one "
                "that was pretrained."
            )
        module.load_state_dict(shared, strict=False)

    def __repr__(self) -> str:
        size = self.data.vocabulary_size
        return f"PretrainedTextNet({self.architecture}, vocabulary_size={size})"

    def __copy__(self) -> PretrainedTextNet:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PretrainedTextNet:
        return self

    def __sklearn_clone__(self) -> PretrainedTextNet:
        return self


def _inner(module: Any) -> Any:
    """Find the architecture's module in what the engine puts around it."""
    module = getattr(module, "_orig_mod", module)
    while hasattr(module, "module"):
        module = module.module
    return module


class TextPretraining:
    """Let an estimator of texts learn from texts without labels."""

    architecture: Any
    pretrained: Any
    random_state: Any
    precision: str
    device: str
    num_threads: int | None

    def pretrain(self, X: Any) -> Self:
        """Learn the vocabulary and the weights from texts alone.

        A net guesses masked tokens (15 % of them; BERT), or, where the architecture is
        causal, predicts each next one. It trains as ``fit`` does, with the same
        parameters. Then ``fit`` starts from its weights and keeps its vocabulary.

        Parameters
        ----------
        X : list, ndarray or Series of shape (n,)
            Texts, of the form that ``fit`` takes, but no pairs.

        Returns
        -------
        self : estimator
            With ``pretrained_``, which is lost in clones: pass it as the parameter
            `pretrained` to keep it in a search or in cross-validation.

        Raises
        ------
        ValueError
            If the architecture does not predict tokens.
        """
        from skattn._engine._checkpoint import in_part
        from skattn._engine._losses import SequenceCrossEntropy
        from skattn._engine._net import Blueprint, TrainingOptions, make_net, train
        from skattn._engine._rows import canonical_order
        from skattn._engine._runtime import resolve_device, seeded

        estimator: Any = self
        check_parameters(self, **estimator._constraints)
        seed = draw_seed(self.random_state)
        if estimator._input_of(X) != "tokens":
            raise ValueError(
                f"{type(self).__name__}.pretrain takes single texts, but X is "
                f"{estimator._input_of(X)} input. Pass a list of texts; both texts of "
                "pairs go below each other."
            )
        architecture = fitted_architecture(self.architecture, _TASK, "tokens")
        encoder = estimator._make_encoder("tokens", architecture)
        content = encoder.learn(encoder.check(X))
        n = len(content["tokens"])
        none = np.zeros(n)
        identity = encoder.identity(content)
        order, hashes = canonical_order(identity, none, none + 1, seed)
        tokens = content["tokens"][order]
        trained, held_out = np.arange(n), np.arange(0)
        if stops_early(estimator.early_stopping, n):
            trained, held_out = estimator._hold_out(hashes, None, False)
        size = encoder.describe()["vocabulary_size"]
        data = DataSpec(task=_TASK, n_outputs=size, **encoder.describe())
        options = TrainingOptions.of(self)
        # A checkpoint of `fit` is of another training.
        callbacks = in_part(options.callbacks, "pretraining")
        options = replace(options, callbacks=callbacks)
        with seeded(seed, resolve_device(self.device), self.num_threads) as generator:
            blueprint = Blueprint(architecture, data, self.precision)
            net = make_net(blueprint, SequenceCrossEntropy(), options)
            samples = _samples(architecture, tokens, net, size)
            valid = samples.at(held_out, None)
            valid.seed = seed
            train(
                net,
                samples.at(trained, None),
                valid if len(held_out) else None,
                options,
                generator,
            )
        self.pretrained_ = PretrainedTextNet(net, encoder, estimator.token_encoder)
        return self

    def set_params(self, **params: Any) -> Self:
        """Set parameters; the net of `pretrain` stays, unless another is given.

        Parameters
        ----------
        **params : dict
            ``architecture__x`` sets the hyper-parameter ``x`` of a copy of the
            architecture, which is looked up first where it is a name; with
            ``token_encoder__x`` it is the same.

        Returns
        -------
        self : estimator
            The same object.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        is_another = params.get("pretrained", self.pretrained) is not self.pretrained
        super().set_params(**params)  # type: ignore[misc]
        if is_another:
            self.__dict__.pop("pretrained_", None)
        return self

    def _start(self) -> PretrainedTextNet | None:
        """Give the net to start from: that of `pretrain`, or the parameter's."""
        if not isinstance(self.pretrained, PretrainedTextNet | None):
            raise TypeError(
                f"pretrained={self.pretrained!r} is no PretrainedTextNet. Give what "
                "pretrain leaves in pretrained_, or None."
            )
        return getattr(self, "pretrained_", self.pretrained)


def _samples(architecture: Any, tokens: np.ndarray, net: Any, size: int) -> Any:
    """Make samples of the objective that the architecture has."""
    from skattn._engine._runtime import placement
    from skattn._engine._token_prediction import MaskedSamples, NextTokenSamples

    options = {"consumes": architecture.consumes, **placement(net)}
    if architecture.causal:
        return NextTokenSamples(tokens, **options)
    return MaskedSamples(tokens, vocabulary_size=size, rate=_MASKED, **options)
