"""The classifier and the regressor for panels of series, as sktime knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sktime.classification.base import BaseClassifier
from sktime.regression.base import BaseRegressor

from skattn._base import DEFAULT_ARCHITECTURE, ArchitectureParams, check_parameters
from skattn._classifier import AttentionClassifier
from skattn._regressor import AttentionRegressor

_TAGS = {
    "authors": "skattn developers",
    "maintainers": "skattn developers",
    "X_inner_mtype": ["df-list", "numpy3D"],
    "y_inner_mtype": "numpy1D",
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:missing_values": True,
    "capability:categorical_in_X": False,
    "capability:random_state": True,
    "property:randomness": "derandomized",
}


class _PanelEstimator(ArchitectureParams):
    """What both panel estimators share: they hand series to their siblings."""

    _sibling: ClassVar[type]
    get_params: Callable[..., dict[str, Any]]
    check_is_fitted: Callable[[], None]
    _check_convert_X_for_predict: Callable[[Any], Any]
    _channels: list[Any] | None

    def _fit(self, X: Any, y: np.ndarray) -> Self:
        check_parameters(self)  # the sibling's errors would name the sibling
        estimator = self._sibling(**self.get_params(deep=False))
        self._channels = None if isinstance(X, np.ndarray) else list(X[0].columns)
        self.estimator_ = estimator.fit(self._as_arrays(X), y)
        self.net_ = self.estimator_.net_
        self.architecture_ = self.estimator_.architecture_
        self.history_ = self.estimator_.history_
        self.n_iter_ = self.estimator_.n_iter_
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return self.estimator_.predict(self._as_arrays(X))

    def _as_arrays(self, X: Any) -> Any:
        """Turn DataFrames (time, channels) into arrays of the fitted channels."""
        if isinstance(X, np.ndarray):
            return X
        return [
            self._in_fitted_order(number, frame).to_numpy(dtype=np.float64).T
            for number, frame in enumerate(X)
        ]

    def _in_fitted_order(self, number: int, frame: pd.DataFrame) -> pd.DataFrame:
        """Find channels by name, and by position where either side has no names."""
        fitted, found = self._channels, list(frame.columns)
        if fitted is None or found == fitted or len(found) != len(fitted):
            return frame  # the sibling compares the numbers of channels
        new = [name for name in found if name not in fitted]
        if not new:
            return frame[fitted]
        nameless = list(range(len(found)))
        if nameless in (found, fitted):
            return frame
        missing = [name for name in fitted if name not in found]
        raise ValueError(
            f"Series number {number} of X has the channels {found}, but "
            f"{type(self).__name__} was fitted with {fitted}: {missing} are missing, "
            f"{new} are new."
        )

    def _attention_batches(self, X: Any) -> tuple[Any, Any, Any]:
        """Give the recorder what it runs over and the way to name axes."""
        self.check_is_fitted()
        return self.estimator_._attention_batches(
            self._as_arrays(self._check_convert_X_for_predict(X))
        )

    def reset(self) -> Self:
        """Forget the fit, but not the search that this estimator is part of.

        Returns
        -------
        self : estimator
            As after construction.
        """
        # scikit-learn's searches leave their callback context on the estimator, and
        # sktime's fit begins with a reset.
        context = getattr(self, "_parent_callback_ctx", None)
        super().reset()  # type: ignore[misc]
        if context is not None:
            self._parent_callback_ctx = context
        return self

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's checks.

        Parameters
        ----------
        parameter_set : str, default="default"
            There is one set of parameter sets.

        Returns
        -------
        params : list of dict
            Arguments of the constructor.
        """
        return [{"max_epochs": 5}, {"max_epochs": 2, "batch_size": 4, "lr": 1e-2}]


class AttentionTimeSeriesClassifier(_PanelEstimator, BaseClassifier):
    """Classify series by an attention architecture, as an sktime classifier.

    Parameters
    ----------
    architecture : str or Architecture, default="self_attention"
        A registered name (see `skattn.list_architectures`) or an instance, whose
        hyper-parameters can be set and searched as ``architecture__x``.
    max_epochs : int, default=50
        Passes over the training data, at most.
    lr : float, default=0.002
        Highest learning rate.
    batch_size : int or "auto", default="auto"
        Samples in a training step; ``"auto"`` makes at least eight steps an epoch
        from 64 samples, with batches of a power of two between 8 and 256.
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
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, as in scikit-learn.
    early_stopping : bool or "auto", default="auto"
        Hold out `validation_fraction` of the samples, stop when the loss on them has
        not improved for `patience` epochs, and restore the best weights. ``"auto"``
        does so from 1,000 samples.
    validation_fraction : float, default=0.1
        Part of the samples, of each class, that early stopping holds out.
    patience : int, default=16
        Epochs without improvement before training stops.
    input_scaling : {"auto", "standard", "quantile"} or None, default="auto"
        Scaling of the channels, learned from the training part: zero mean and unit
        variance, a normal distribution by ranks, or none. ``"auto"`` is
        ``"standard"``.
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
        Or pairs of a name and one, copied for each fit. They see the losses of each
        epoch in ``net.history``; callbacks that predict by the net (``EpochScoring``)
        do not work.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffling, dropout and the validation split. torch's
        global random state is left as it was found.
    verbose : int, default=0
        1 shows a progress bar.
    net_params : dict or None, default=None
        More parameters of `skorch.NeuralNet`, passed as they are, for instance
        ``{"optimizer__betas": (0.9, 0.95)}``; those that the estimator has itself
        are refused.

    Attributes
    ----------
    estimator_ : AttentionClassifier
        The fitted sibling, which does the work.
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
    AttentionClassifier : The same as a scikit-learn estimator.

    Examples
    --------
    >>> from sktime.datasets import load_unit_test
    >>> from skattn import AttentionTimeSeriesClassifier
    >>> X, y = load_unit_test(split="train")
    >>> clf = AttentionTimeSeriesClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> clf.predict_proba(X).shape
    (20, 2)
    """

    _sibling = AttentionClassifier
    _tags: ClassVar[dict[str, Any]] = {
        **_TAGS,
        "capability:predict_proba": True,
        "capability:class_weight": True,
    }

    def __init__(
        self,
        architecture: Any = DEFAULT_ARCHITECTURE,
        *,
        max_epochs: int = 50,
        lr: float = 2e-3,
        batch_size: int | str = "auto",
        optimizer: str | type = "AdamW",
        weight_decay: float = 1e-2,
        lr_schedule: str | None = "one_cycle",
        gradient_clip: float | None = 1.0,
        class_weight: Any = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        patience: int = 16,
        input_scaling: str | None = "auto",
        device: str = "cpu",
        precision: str = "float32",
        compile: bool = False,
        num_threads: int | None = None,
        callbacks: list[Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.architecture = architecture
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.gradient_clip = gradient_clip
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.input_scaling = input_scaling
        self.device = device
        self.precision = precision
        self.compile = compile
        self.num_threads = num_threads
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params
        super().__init__()

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self.estimator_.predict_proba(self._as_arrays(X))

    def __sklearn_tags__(self) -> Any:
        """Answer scikit-learn's model selection, as the sibling would.

        Returns
        -------
        tags : sklearn.utils.Tags
            Those of the sibling.
        """
        return self._sibling().__sklearn_tags__()


class AttentionTimeSeriesRegressor(_PanelEstimator, BaseRegressor):
    """Predict a number for each series by attention, as an sktime regressor.

    Parameters
    ----------
    architecture : str or Architecture, default="self_attention"
        A registered name (see `skattn.list_architectures`) or an instance, whose
        hyper-parameters can be set and searched as ``architecture__x``.
    loss : {"squared_error", "absolute_error", "quantile", "poisson", "huber"}, \
default="squared_error"
        What training minimises; see `AttentionRegressor`.
    quantile : float or None, default=None
        Which quantile ``loss="quantile"`` predicts.
    max_epochs : int, default=50
        Passes over the training data, at most.
    lr : float, default=0.002
        Highest learning rate.
    batch_size : int or "auto", default="auto"
        Samples in a training step; ``"auto"`` makes at least eight steps an epoch
        from 64 samples, with batches of a power of two between 8 and 256.
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
        Hold out `validation_fraction` of the samples, stop when the loss on them has
        not improved for `patience` epochs, and restore the best weights. ``"auto"``
        does so from 1,000 samples.
    validation_fraction : float, default=0.1
        Part of the samples that early stopping holds out.
    patience : int, default=16
        Epochs without improvement before training stops.
    input_scaling : {"auto", "standard", "quantile"} or None, default="auto"
        Scaling of the channels, learned from the training part: zero mean and unit
        variance, a normal distribution by ranks, or none. ``"auto"`` is
        ``"standard"``.
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
        Or pairs of a name and one, copied for each fit. They see the losses of each
        epoch in ``net.history``; callbacks that predict by the net (``EpochScoring``)
        do not work.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffling, dropout and the validation split. torch's
        global random state is left as it was found.
    verbose : int, default=0
        1 shows a progress bar.
    net_params : dict or None, default=None
        More parameters of `skorch.NeuralNet`, passed as they are, for instance
        ``{"optimizer__betas": (0.9, 0.95)}``; those that the estimator has itself
        are refused.

    Attributes
    ----------
    estimator_ : AttentionRegressor
        The fitted sibling, which does the work.
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
    AttentionRegressor : The same as a scikit-learn estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from sktime.datasets import load_unit_test
    >>> from skattn import AttentionTimeSeriesRegressor
    >>> X, y = load_unit_test(split="train")
    >>> reg = AttentionTimeSeriesRegressor(max_epochs=20, random_state=0)
    >>> reg.fit(X, y.astype(float)).predict(X).shape
    (20,)
    """

    _sibling = AttentionRegressor
    _tags: ClassVar[dict[str, Any]] = {**_TAGS}

    def __init__(
        self,
        architecture: Any = DEFAULT_ARCHITECTURE,
        *,
        loss: str = "squared_error",
        quantile: float | None = None,
        max_epochs: int = 50,
        lr: float = 2e-3,
        batch_size: int | str = "auto",
        optimizer: str | type = "AdamW",
        weight_decay: float = 1e-2,
        lr_schedule: str | None = "one_cycle",
        gradient_clip: float | None = 1.0,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        patience: int = 16,
        input_scaling: str | None = "auto",
        device: str = "cpu",
        precision: str = "float32",
        compile: bool = False,
        num_threads: int | None = None,
        callbacks: list[Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.architecture = architecture
        self.loss = loss
        self.quantile = quantile
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
        self.input_scaling = input_scaling
        self.device = device
        self.precision = precision
        self.compile = compile
        self.num_threads = num_threads
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params
        super().__init__()

    def __sklearn_tags__(self) -> Any:
        """Answer scikit-learn's model selection, as the sibling would.

        Returns
        -------
        tags : sklearn.utils.Tags
            Those of the sibling.
        """
        return self._sibling().__sklearn_tags__()
