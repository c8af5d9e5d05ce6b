"""The classifier for tables, panels of series, lists of graphs and texts."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin

from skattn._base import DEFAULT_ARCHITECTURE
from skattn._pretrained_text import PretrainedTextNet, TextPretraining
from skattn._supervised import SupervisedEstimator
from skattn._targets import ClassTarget


class AttentionClassifier(ClassifierMixin, TextPretraining, SupervisedEstimator):
    """Classify rows of a table, series, graphs or texts by attention.

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
    class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes in the loss, as in scikit-learn.
    early_stopping : bool or "auto", default="auto"
        Hold out `validation_fraction` of the samples, stop when the loss on them has
        not improved for `patience` epochs, and restore the best weights. ``"auto"``
        does so from 1,000 samples, and wherever a linear model comes first.
    validation_fraction : float, default=0.1
        Part of the samples, for a classifier of each class, that early stopping
        holds out.
    patience : int, default=16
        Epochs without improvement before training stops.
    linear_skip : bool or "auto", default="auto"
        Put a linear model beside the architecture: logistic, Poisson or ridge
        regression by scikit-learn, fitted before training. On a table, the architecture
        learns what it leaves; where early stopping holds samples out, what attention
        learnt is kept only if the error on them falls by more than one standard error;
        then the linear model is fitted once more, to all samples. On texts, the linear
        model is one of n-grams of words and characters; the architecture learns by
        itself, and scores are a weighted sum of both, with the weights that have the
        least loss on the held-out samples (a half each, where there are none).
        ``"auto"`` does all this below 2,000 rows, or 20 million characters divided by
        the number of outputs, and not in ``partial_fit``, whose first rows tell too
        little. Series and graphs have none.
    input_scaling : {"auto", "standard", "quantile"} or None, default="auto"
        Scaling of the numeric columns, channels, or features of nodes and edges,
        learned from the training part: zero mean and unit variance, a normal
        distribution by ranks, or none. ``"auto"`` takes ranks for tables from 1,000
        rows in the training part.
    categorical_features : "from_dtype", None or array-like of bool, int or str, \
default="from_dtype"
        Which columns of a table are categorical, as in
        `sklearn.ensemble.HistGradientBoostingClassifier`. ``"from_dtype"`` takes the
        columns of a DataFrame that hold categories or strings.
    n_neighbors : int, default=10
        Of a graph architecture on a table, how many of the nearest training rows each
        row attends to; others ignore it.
    token_encoder : TokenEncoder or None, default=None
        Of texts, a `skattn.text.TokenEncoder` of which a clone is fitted to the
        training texts; None takes the default one. Its parameters can be searched as
        ``token_encoder__x``, None or not.
    pretrained : PretrainedTextNet or None, default=None
        Of texts, a net to start from, as ``pretrain`` leaves it in ``pretrained_``; its
        vocabulary is kept. Clones keep this parameter.
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
    warm_start : bool, default=False
        Let ``fit`` go on training the fitted net, with scales, categories and classes
        as they are.
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
    classes_ : ndarray of shape (n_classes,) or list of ndarray
        The labels; of several targets, a list.
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
    token_encoder_ : TokenEncoder or None
        Of texts, the fitted encoder; None where `X` held ids.
    n_features_in_ : int
        Columns of the table, channels of the series, or features of a node; texts have
        none.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, where `X` was a DataFrame with string names.

    See Also
    --------
    AttentionRegressor : The same for numbers.
    NodeClassifier : For nodes of one graph.
    AttentionTimeSeriesClassifier : The same as an sktime classifier.

    Notes
    -----
    `X` is a table, a panel of series, a list of graphs, or texts. A table is an array
    or a DataFrame of shape (n, n_columns); columns of categories or strings are
    embedded, missing values are allowed everywhere. A panel is an array of shape (n,
    n_channels, length), NaN where a value is missing, or a list of arrays of shape
    (n_channels, length) with lengths of their own; NaN at the end of a series counts as
    padding.

    Graphs are a list, an array of objects or a Series of `Graph` with equal numbers of
    dense features of nodes, and of edges where the architecture takes them. It pools
    the nodes of each graph by attention. Equal graphs are those with equal arrays: to
    number nodes in another way makes another sample. Scores of a graph do not depend on
    the others that are predicted with it, apart from rounding (1e-6 of their size in
    single precision), and so those of a text by ``"hierarchical_attention"``; those of
    rows, series and other texts are equal to the bit.

    Texts are a list, an array or a Series, in one of these forms: strings; lists of
    strings, which are the tokens of a text, or, if one of the training strings has
    white space inside, the turns of a dialogue; arrays of token ids, as an array of
    objects, which `skattn.text.TokenEncoder` makes in a Pipeline (the vocabulary ends
    at the largest training id, and what is beyond counts as unknown). A list of tuples
    of two is pairs of texts; so is an array or a DataFrame of two columns of strings,
    for an architecture that serves pairs and no tables. A text without any token counts
    as a single unknown one. The vocabulary is that of all texts in ``fit``, those held
    out for early stopping included; equal texts count once. The linear model tells of
    a training text what one that was not fitted to it would.

    Integer sample weights equal repetitions of rows (as long as they add up to at most
    20 times the number of rows); others multiply the loss.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skattn import AttentionClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = AttentionClassifier(random_state=0).fit(X, y)
    >>> clf.predict(X[:3])
    array([0, 0, 0])
    >>> clf.set_params(architecture__num_heads=2).architecture
    SelfAttention(num_heads=2)

    Is a graph a ring or a path? Its nodes know how many neighbours they have.

    >>> import numpy as np
    >>> from skattn import Graph
    >>> def make(n, is_ring):
    ...     edges = [(i, (i + 1) % n) for i in range(n if is_ring else n - 1)]
    ...     return Graph.from_edges(edges, np.bincount(np.ravel(edges))[:, None])
    >>> graphs = [make(n, is_ring) for n in range(3, 13) for is_ring in (False, True)]
    >>> clf = AttentionClassifier("graph_transformer", random_state=0)
    >>> clf.fit(graphs, ["path", "ring"] * 10).predict([make(20, True)])
    array(['ring'], dtype='<U4')

    Texts are strings.

    >>> texts = ["a good film", "bad film , very bad", "good good", "bad"] * 10
    >>> clf = AttentionClassifier(max_epochs=5, random_state=0)
    >>> clf.fit(texts, ["+", "-", "+", "-"] * 10).predict(["very good", "a bad one"])
    array(['+', '-'], dtype='<U1')
    """

    _task = "classification"

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
        linear_skip: bool | str = "auto",
        input_scaling: str | None = "auto",
        categorical_features: Any = "from_dtype",
        n_neighbors: int = 10,
        token_encoder: Any = None,
        pretrained: PretrainedTextNet | None = None,
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
        self.linear_skip = linear_skip
        self.input_scaling = input_scaling
        self.categorical_features = categorical_features
        self.n_neighbors = n_neighbors
        self.token_encoder = token_encoder
        self.pretrained = pretrained
        self.device = device
        self.precision = precision
        self.compile = compile
        self.num_threads = num_threads
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def _make_target(self) -> ClassTarget:
        return ClassTarget()

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the classifier.

        Parameters
        ----------
        X : array-like of shape (n, n_columns), DataFrame, array of shape \
(n, n_channels, length), list of ndarray of shape (n_channels, length), list of Graph, \
list of str, list of list of str or list of tuple
            A table, a panel of series, graphs, texts, or pairs of texts.
        y : array-like of shape (n,) or (n, n_targets)
            Labels; several columns are several targets, or many yes-or-no labels
            where they hold zeros and ones.
        sample_weight : array-like of shape (n,), optional
            Weights; rows of weight zero are dropped.

        Returns
        -------
        self : AttentionClassifier
            Fitted.
        """
        self._fit(X, y, sample_weight)
        self.classes_ = self._target.labels
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Train for one epoch, at a constant learning rate.

        Scales, categories and classes are those of the first call (or of ``fit``).

        Parameters
        ----------
        X : array-like, DataFrame or list of ndarray, Graph or texts
            As in `fit`.
        y : array-like of shape (n,) or (n, n_targets)
            Labels.
        classes : array-like of shape (n_classes,) or list of array-like, optional
            All labels that will ever come; read in the first call.
        sample_weight : array-like of shape (n,), optional
            Weights; rows of weight zero are dropped.

        Returns
        -------
        self : AttentionClassifier
            Trained a little further.
        """
        self._partial_fit(X, y, sample_weight, classes)
        self.classes_ = self._target.labels
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like, DataFrame or list of ndarray, Graph or texts
            As in `fit`.

        Returns
        -------
        labels : ndarray of shape (n,) or (n, n_targets)
            The most probable label of each target.
        """
        probabilities = self._predict(X)
        return self._target.decode(probabilities)

    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities.

        Parameters
        ----------
        X : array-like, DataFrame or list of ndarray, Graph or texts
            As in `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes), or list of such arrays
            In the order of ``classes_``; of several targets, a list; of many yes-or-no
            labels, one column for each label.
        """
        probabilities = self._predict(X)
        return self._target.probabilities(probabilities)

    def decision_function(self, X: Any) -> Any:
        """Compute raw scores.

        Parameters
        ----------
        X : array-like, DataFrame or list of ndarray, Graph or texts
            As in `fit`.

        Returns
        -------
        scores : ndarray of shape (n,) or (n, n_classes), or list of such arrays
            Log-odds: of two classes, of the second one; of many yes-or-no labels, one
            column for each label; of several targets, a list.
        """
        scores = self._scores(X).numpy()
        return self._target.decision(scores)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
