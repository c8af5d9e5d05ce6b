"""The part that the classifier and the regressor of nodes have in common."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skattn._inputs import NodeEncoder
from skattn._supervised import SupervisedEstimator


class NodeEstimator(SupervisedEstimator):
    """Fit and score an architecture on the nodes of one graph, given by their ids."""

    _constraints = {"input_scaling": [StrOptions({"auto", "standard", "l1"}), None]}
    graph: Any
    warm_start = False

    def _input_of(self, X: Any) -> str:
        return "nodes"

    def _make_encoder(self, input: str, architecture: Any) -> NodeEncoder:
        return NodeEncoder(self, architecture)

    def _fit_nodes(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any
    ) -> Self:
        """Fit, stopping early on nodes that the user holds out, if there are any."""
        if (X_val is None) != (y_val is None):
            raise ValueError("Pass both X_val and y_val, or none of them.")
        if X_val is None:
            return self._fit(X, y, sample_weight)
        if not np.size(X_val):
            raise ValueError("X_val holds no node. Leave it out, or give some.")
        if self.early_stopping is False:
            raise ValueError(
                "X_val is what early stopping looks at, but early_stopping=False. Set "
                "early_stopping to True or 'auto', or leave X_val out."
            )
        return self._fit(X, y, sample_weight, (X_val, y_val))

    def _add_validation(self, content: Any, *rest: Any) -> Any:
        joined, y, weight, given = super()._add_validation(content, *rest)
        if given is not None:
            both = np.intersect1d(joined["nodes"][given], content["nodes"])
            if len(both):
                raise ValueError(
                    f"X and X_val share {len(both)} nodes, "
                    f"{self.graph.nodes[both[0]].item()!r} among them: what is trained "
                    "on cannot tell when to stop."
                )
        return joined, y, weight, given

    def _node_scores(self, X: Any, graph: Any) -> Any:
        """Compute raw scores of nodes, of the fitted graph or of another one."""
        check_is_fitted(self, "net_")
        encoder = self._encoder if graph is None else self._encoder.over(graph)
        content = encoder.read(encoder.check(X))
        return self._finite_scores(encoder.samples(content, self.net_))

    def _predict_nodes(self, X: Any, graph: Any) -> np.ndarray:
        """Compute what the loss makes of the scores: (n, n_outputs)."""
        scores = self._node_scores(X, graph)
        return self.net_.criterion_.predict(scores).numpy()

    def _attention_batches(self, X: Any) -> tuple[Any, Any, Any]:
        """Give the recorder all nodes that the scores of some depend on."""
        check_is_fitted(self, "net_")
        nodes = self._encoder.graph.nodes if X is None else X
        samples, content = self._samples(nodes)
        return (
            self.net_,
            samples.at_once(),
            lambda axis: self._encoder.axis_names(axis, content),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        tags.input_tags.three_d_array = False
        tags.input_tags.string = True
        return tags
