"""The regressor for nodes of a graph."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from skattn._base import DEFAULT_GRAPH_ARCHITECTURE
from skattn._nodes import NodeEstimator
from skattn._targets import NumberTarget


class NodeRegressor(RegressorMixin, NodeEstimator):
    """Predict a number for nodes of a graph by graph attention.

    The graph is bound to the estimator, and `X` holds ids of nodes: to split ids is all
    that cross-validation needs, and no label of a held-out node reaches ``fit``.

    Parameters
    ----------
    architecture : str or Architecture, default="gat"
        A registered name (see ``skattn.list_architectures(input="nodes")``) or an
        instance, whose hyper-parameters can be set and searched as
        ``architecture__x``.
    graph : Graph
        Nodes with their features, and edges. Clones of the estimator share it.
    mode : {"transductive", "inductive"}, default="transductive"
        What training sees. ``"transductive"``: the features and the edges of all
        nodes, those that are predicted later included, as in the public split of Cora;
        never their labels. ``"inductive"``: only the training nodes and the edges among
        them; nothing about any other node changes the fit.
    loss : {"squared_error", "absolute_error", "quantile", "poisson", "huber"}, \
default="squared_error"
        What training minimises, by the names of
        `sklearn.ensemble.HistGradientBoostingRegressor`; it predicts the mean, the
        median, a quantile, the mean of counts (with a logarithmic link), and, for
        ``"huber"`` with its corner at one standard deviation of `y`, something between
        mean and median.
    quantile : float or None, default=None
        Which quantile ``loss="quantile"`` predicts.
    max_epochs : int, default=200
        Passes over the training nodes, at most.
    lr : float, default=0.005
        Highest learning rate.
    batch_size : int or "auto", default="auto"
        Nodes in a training step; ``"auto"`` takes all training nodes in each step, or,
        where neighbours are sampled, makes at least eight steps an epoch.
    num_neighbors : int, "auto" or None, default="auto"
        Edges into a node that are sampled in each hop of a training step; None takes
        all of them. ``"auto"`` takes all of a graph of up to 200,000 nodes and edges,
        and samples 10 of a larger one. Validation and prediction take all edges.
    optimizer : str or type, default="Adam"
        An optimizer of `torch.optim`, by name or class.
    weight_decay : float, default=0.0005
        Weight decay of all weights with two axes or more; vectors, such as biases, have
        none.
    lr_schedule : {"one_cycle", "cosine"} or None, default=None
        Course of the learning rate over ``max_epochs``: a linear warm-up over a tenth
        of the steps and then a half cosine to zero, that half cosine alone, or a
        constant.
    gradient_clip : float or None, default=None
        Largest norm of the gradient.
    early_stopping : bool or "auto", default="auto"
        Hold out `validation_fraction` of the training nodes, stop when the loss on them
        has not improved for `patience` epochs, and restore the best weights.
        ``"auto"`` does so from 1,000 training nodes. Nodes that are passed to ``fit``
        as ``X_val`` take the place of those held out.
    validation_fraction : float, default=0.1
        Part of the training nodes that early stopping holds out.
    patience : int, default=100
        Epochs without improvement before training stops.
    input_scaling : {"auto", "standard", "l1"} or None, default="auto"
        Scaling of the node features: zero mean and unit variance, each node divided by
        the sum of its absolute features, or none. ``"auto"`` takes ``"l1"`` for bags of
        words, which are sparse or have more than nine zeros in ten and no negative
        number, and ``"standard"`` for all others, learned from what `mode` lets
        training see. Edge features are standardised unless it is None.
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
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    architecture_ : Architecture
        The architecture, with all its hyper-parameters.
    history_ : skorch.history.History
        One record for each epoch: losses, duration.
    n_iter_ : int
        Epochs that were run.
    n_features_in_ : int
        Columns of `X`: 1.

    See Also
    --------
    NodeClassifier : The same for labels.
    AttentionRegressor : For a list of graphs as `X`, one number a graph.
    Graph : What nodes are the ids of.

    Notes
    -----
    Over a graph that fits, each training step computes exactly the part of it that the
    training nodes depend on. Predictions go layer by layer, a bounded number of edges
    at once.

    Integer sample weights equal repetitions of nodes in `X` (as long as they add up to
    at most 20 times the number of rows); others multiply the loss.

    References
    ----------
    Velickovic, Cucurull, Casanova, Romero, Lio, Bengio, "Graph Attention Networks",
    ICLR 2018, arXiv 1710.10903.

    Examples
    --------
    >>> import numpy as np
    >>> from skattn import Graph, NodeRegressor
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> graph = Graph.from_edges([(i, i + 1) for i in range(59)], x=x)
    >>> ids = graph.nodes.reshape(-1, 1)
    >>> reg = NodeRegressor("gat", graph=graph, max_epochs=20, random_state=0)
    >>> reg.fit(ids[:50], x[:50, 0]).predict(ids[50:]).shape
    (10,)
    """

    _task = "regression"

    def __init__(
        self,
        architecture: Any = DEFAULT_GRAPH_ARCHITECTURE,
        *,
        graph: Any = None,
        mode: str = "transductive",
        loss: str = "squared_error",
        quantile: float | None = None,
        max_epochs: int = 200,
        lr: float = 5e-3,
        batch_size: int | str = "auto",
        num_neighbors: int | str | None = "auto",
        optimizer: str | type = "Adam",
        weight_decay: float = 5e-4,
        lr_schedule: str | None = None,
        gradient_clip: float | None = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        patience: int = 100,
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
        self.graph = graph
        self.mode = mode
        self.loss = loss
        self.quantile = quantile
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.num_neighbors = num_neighbors
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

    def _make_target(self) -> NumberTarget:
        return NumberTarget(self.loss, self.quantile)

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Fit the regressor.

        Parameters
        ----------
        X : array-like of shape (n, 1) or (n,)
            Ids of the training nodes.
        y : array-like of shape (n,) or (n, n_targets)
            Numbers.
        sample_weight : array-like of shape (n,), optional
            Weights; rows of weight zero are dropped.
        X_val : array-like of shape (n_val, 1) or (n_val,), optional
            Ids of the nodes that early stopping looks at, instead of a part of `X`.
        y_val : array-like of shape (n_val,) or (n_val, n_targets), optional
            Their numbers.

        Returns
        -------
        self : NodeRegressor
            Fitted.
        """
        return self._fit_nodes(X, y, sample_weight, X_val, y_val)

    def predict(self, X: Any, graph: Any = None) -> np.ndarray:
        """Predict numbers.

        Parameters
        ----------
        X : array-like of shape (n, 1) or (n,)
            Ids of nodes.
        graph : Graph, optional
            The graph that they are nodes of, where it is not the fitted one: for
            instance what that one has grown to.

        Returns
        -------
        predictions : ndarray of shape (n,) or (n, n_targets)
            In the units of the fitted `y`.
        """
        predictions = self._predict_nodes(X, graph)
        return self._target.decode(predictions)

    def score(
        self, X: Any, y: Any, sample_weight: Any = None, graph: Any = None
    ) -> float:
        """Compute the coefficient of determination of predictions.

        Parameters
        ----------
        X : array-like of shape (n, 1) or (n,)
            Ids of nodes.
        y : array-like of shape (n,) or (n, n_targets)
            Their numbers.
        sample_weight : array-like of shape (n,), optional
            Weights.
        graph : Graph, optional
            As in `predict`.

        Returns
        -------
        score : float
            At most 1; of several targets, their mean.
        """
        predictions = self.predict(X, graph)
        return float(r2_score(y, predictions, sample_weight=sample_weight))
