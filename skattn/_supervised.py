"""The part that the classifier and the regressor have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from skattn._architecture import DataSpec
from skattn._base import (
    FEW_SAMPLES,
    LITTLE_TEXT,
    ArchitectureParams,
    check_parameters,
    draw_seed,
    fitted_architecture,
    stops_early,
)
from skattn._inputs import input_of, make_encoder
from skattn._registry import resolve

# Parameters that a net is made with: training goes on with the same ones only.
_BUILT_WITH = (
    "loss",
    "quantile",
    "label_smoothing",
    "target_encoder",
    "shared_vocabulary",
    "optimizer",
    "weight_decay",
    "linear_skip",
    "token_encoder",
    "input_scaling",
    "categorical_features",
    "n_neighbors",
    "tag_scheme",
    "crf",
    "outside_shift",
    "precision",
    "compile",
    "net_params",
)


class SupervisedEstimator(ArchitectureParams, BaseEstimator):
    """Fit and score an architecture on tables, series, lists of graphs or texts."""

    _task: ClassVar[str]
    # Of parameters that are not what they are in the other facades.
    _constraints: ClassVar[dict[str, list[Any]]] = {}
    net_: Any

    @abstractmethod
    def _make_target(self) -> Any:
        """Make the unfitted encoder of ``y``."""

    def _input_of(self, X: Any) -> str:
        """Tell which kind of input `X` is."""
        return input_of(X, lambda: resolve(self.architecture))

    def _make_encoder(self, input: str, architecture: Any) -> Any:
        """Make the unfitted encoder of ``X``."""
        return make_encoder(self, input, architecture)

    def _start(self) -> Any:
        """Give the pretrained net to start from, if there is one."""
        return None

    def _make_blueprint(self, architecture: Any, data: DataSpec, has_skip: bool) -> Any:
        """Say what the module is made of."""
        from skattn._engine._net import Blueprint

        return Blueprint(architecture, data, self.precision, has_skip)

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Any = None) -> Self:
        """Fit from scratch, or go on where ``warm_start`` says so."""
        check_parameters(self, **self._constraints)
        if self.warm_start and hasattr(self, "net_"):
            return self._train_further(X, y, sample_weight, None, validation)
        return self._train_anew(X, y, sample_weight, None, None, validation)

    def _partial_fit(
        self, X: Any, y: Any, sample_weight: Any, classes: Any = None
    ) -> Self:
        """Train for one epoch."""
        check_parameters(self, **self._constraints)
        weight = getattr(self, "class_weight", None)
        if isinstance(weight, str):
            raise ValueError(
                f"class_weight={weight!r} needs all rows at once, and partial_fit sees "
                "a part. Pass the weights as a dictionary."
            )
        if hasattr(self, "net_"):
            return self._train_further(X, y, sample_weight, epochs=1)
        return self._train_anew(X, y, sample_weight, classes, epochs=1)

    def _train_anew(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        classes: Any,
        epochs: int | None,
        validation: Any = None,
    ) -> Self:
        from skattn._engine._net import make_net

        seed = draw_seed(self.random_state)
        input = self._input_of(X)
        architecture = fitted_architecture(self.architecture, self._task, input)
        encoder = self._make_encoder(input, architecture)
        target = self._make_target()
        X, y, weight = self._check_rows(X, y, sample_weight, encoder, target)
        start = self._start()
        if start is None:
            content = encoder.learn(X)
        else:
            start.check(self, architecture, encoder)
            content = encoder.adopt(start.encoder, X)
        if input not in ("tokens", "pair"):
            self.__dict__.pop("token_encoder_", None)  # of an earlier fit
        if input != "table":
            for name in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(name, None)
            if encoder.n_features_in is not None:
                self.n_features_in_ = encoder.n_features_in
            if hasattr(encoder, "token_encoder_"):
                self.token_encoder_ = encoder.token_encoder_
        if classes is None:
            target.learn(y)
        else:
            target.learn(y, classes)

        def build(options: Any, has_skip: bool) -> Any:
            data = DataSpec(
                task=self._task, n_outputs=target.n_outputs, **encoder.describe()
            )
            blueprint = self._make_blueprint(architecture, data, has_skip)
            net = make_net(blueprint, target.loss(), options)
            if start is not None:
                start.hand_on(net)
            return net

        content, y, weight, given = self._add_validation(
            content, y, weight, encoder, target, validation
        )
        self._train(content, y, weight, epochs, encoder, target, seed, build, given)
        self._encoder, self._target, self._seed = encoder, target, seed
        self._built_with = self._present_params()
        return self

    def _starts_linear(
        self,
        encoder: Any,
        content: dict[str, np.ndarray],
        n_samples: int,
        n_outputs: int,
        epochs: int | None,
    ) -> bool:
        """Tell whether a linear model is fitted first and stands beside the net."""
        if not hasattr(self, "linear_skip"):
            return False
        if encoder.input in ("tokens", "pair"):
            is_small = encoder.size(content) * n_outputs < LITTLE_TEXT
        elif encoder.input == "table":
            is_small = n_samples < FEW_SAMPLES
        else:
            return False
        if self.linear_skip == "auto":
            return epochs is None and is_small
        return bool(self.linear_skip)

    def _present_params(self) -> dict[str, str]:
        params = self.get_params(deep=False)
        return {name: repr(params[name]) for name in _BUILT_WITH if name in params}

    def _add_validation(
        self,
        content: dict[str, np.ndarray],
        y: np.ndarray,
        weight: np.ndarray,
        encoder: Any,
        target: Any,
        validation: Any,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray | None]:
        """Put rows that the user holds out below the others, and mark them."""
        if validation is None:
            return content, y, weight, None
        X, y_val = validation
        X, held_out, more = self._check_rows(X, y_val, None, encoder, target)
        other = encoder.read(X)
        is_held_out = np.repeat([False, True], [len(y), len(held_out)])
        joined = {
            name: np.concatenate([array, other[name]])
            for name, array in content.items()
        }
        y, weight = np.concatenate([y, held_out]), np.concatenate([weight, more])
        return joined, y, weight, is_held_out

    def _train_further(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        epochs: int | None,
        validation: Any = None,
    ) -> Self:
        from skattn._engine._runtime import resolve_device

        asked = fitted_architecture(self.architecture, self._task, self._encoder.input)
        if repr(asked) != repr(self.architecture_):
            raise ValueError(
                f"The fitted net is {self.architecture_!r}, but architecture is now "
                f"{asked!r}: training can only go on with the same one. Set "
                "warm_start=False, or clone the estimator, to start anew."
            )
        for name, value in self._present_params().items():
            if value != self._built_with[name]:
                raise ValueError(
                    f"The fitted net was made with {name}={self._built_with[name]}, "
                    f"but {name} is now {value}: training can only go on with the same "
                    "one. Set warm_start=False, or clone the estimator, to start anew."
                )
        now, before = resolve_device(self.device), resolve_device(self.net_.device)
        if (now.type, now.index or 0) != (before.type, before.index or 0):
            raise ValueError(
                f"The fitted net is on {self.net_.device!r}, but device is now "
                f"{self.device!r}: training can only go on where the net is. Set "
                "device back, or clone the estimator, to start anew."
            )
        self._check_input(X)
        X, y, weight = self._check_rows(
            X, y, sample_weight, self._encoder, self._target
        )
        encoder, target = self._encoder, self._target
        content, y, weight, given = self._add_validation(
            encoder.read(X), y, weight, encoder, target, validation
        )
        return self._train(
            content, y, weight, epochs, encoder, target, self._seed, given=given
        )

    def _train(
        self,
        content: dict[str, np.ndarray],
        y: np.ndarray,
        weight: np.ndarray,
        epochs: int | None,
        encoder: Any,
        target: Any,
        seed: int,
        build: Any = None,
        given: np.ndarray | None = None,
    ) -> Self:
        """Order, weigh and split the rows, scale what is new, and train the net."""
        from skattn._engine._linear import fit_column_map
        from skattn._engine._net import TrainingOptions, train
        from skattn._engine._rows import canonical_order
        from skattn._engine._runtime import resolve_device, seeded

        identity = encoder.identity(content)
        order, hashes = canonical_order(identity, target.numbers(y), weight, seed)
        content = {name: array[order] for name, array in content.items()}
        y, weight = y[order], weight[order]
        given = np.zeros(len(y), dtype=bool) if given is None else given[order]
        index, weights = self._weigh(target, y, weight, ~given)
        whole = np.arange(len(index))
        trained, held_out = whole, whole[:0]
        starts_linear = build is not None and self._starts_linear(
            encoder, content, len(index), target.n_outputs, epochs
        )
        if given.any():  # what is held out weighs nothing in training
            other, more = self._weigh(target, y, weight, given)
            held_out = len(index) + np.arange(len(other))
            index, weights = np.append(index, other), np.append(weights, more)
        elif epochs is None:
            strata = target.strata(y[index])
            trained, held_out = self._hold_out(hashes[index], strata, starts_linear)
        if build is not None:
            rows = index[trained]
            encoder.fit_scaling(
                {name: array[rows] for name, array in content.items()},
                weights[trained],
            )
            target.fit_scaling(y[rows], weights[trained])
        is_even = np.ptp(weights) == 0

        options = TrainingOptions.of(self)
        device = resolve_device(self.device)
        n_before = 0 if build is not None else len(self.net_.history)
        with seeded(seed + n_before, device, self.num_threads) as generator:
            net = self.net_ if build is None else build(options, starts_linear)
            encoded = target.encode(y)
            if starts_linear and encoder.input != "table":
                content["offset"] = encoder.start_linear(
                    content,
                    encoded,
                    (index[trained], weights[trained]),
                    (index[whole], weights[whole]),
                    net.criterion_,
                )
            samples = encoder.samples(content, net, encoded)

            def part(positions: np.ndarray) -> Any:
                kept = None if is_even else weights[positions]
                return samples.at(index[positions], kept)

            has_map = starts_linear and encoder.input == "table"
            if has_map:
                fit_column_map(net.module_.skip, part(trained), net.criterion_)
            train(
                net,
                part(trained),
                part(held_out) if len(held_out) else None,
                options,
                generator,
                epochs=epochs,
                keep_optimizer=self.warm_start or epochs is not None,
            )
            if has_map and len(held_out) and not net.interrupted_:
                # What was held out from the net need not be from the linear model.
                fit_column_map(net.module_.skip, part(whole), net.criterion_)
        self.net_ = net
        self.architecture_ = net.module.architecture
        self.history_ = net.history
        self.n_iter_ = len(net.history)
        return self

    def _weigh(
        self, target: Any, y: np.ndarray, weight: np.ndarray, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Give the row of each sample, of some rows, and weights of mean one."""
        from skattn._engine._rows import repeat_by_weight

        rows = np.flatnonzero(chosen)
        index, remaining = repeat_by_weight(weight[rows])
        index = rows[index]
        class_weight = getattr(self, "class_weight", None)
        if class_weight is not None:
            remaining = remaining * target.class_weights(y[index], class_weight)
        if np.ptp(remaining) == 0:
            return index, np.ones(len(index))
        return index, remaining / remaining.mean()

    def _hold_out(
        self, hashes: np.ndarray, strata: np.ndarray | None, starts_linear: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Split samples into those to train on and those for early stopping."""
        from skattn._engine._rows import validation_split

        whole = np.arange(len(hashes))
        is_auto = self.early_stopping == "auto"
        stops = stops_early(self.early_stopping, len(hashes))
        if not stops and not (is_auto and starts_linear):
            return whole, whole[:0]
        trained, held_out = validation_split(hashes, self.validation_fraction, strata)
        if not len(held_out) and not is_auto:
            raise ValueError(
                f"early_stopping holds out validation_fraction="
                f"{self.validation_fraction} of {len(hashes)} samples, which is "
                "none. Raise validation_fraction or set early_stopping=False."
            )
        return trained, held_out

    def _check_rows(
        self, X: Any, y: Any, sample_weight: Any, encoder: Any, target: Any
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        """Validate the arguments of ``fit`` and drop rows of zero weight."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        checked = encoder.check(X)
        if encoder.input == "table":
            is_new = encoder is not getattr(self, "_encoder", None)
            validate_data(self, X, skip_check_array=True, reset=is_new)
        X = checked
        y = target.check(y)
        check_consistent_length(X, y)
        if sample_weight is not None:
            weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        else:
            weight = np.ones(len(y))
        check_consistent_length(X, y, weight)
        kept = weight > 0
        if kept.all():
            return X, y, weight
        if not kept.any():
            raise ValueError("sample_weight is zero for all samples, of every class.")
        return _rows_of(X, kept), y[kept], weight[kept]

    def _check_input(self, X: Any) -> None:
        """Refuse an input of another kind than the fitted one."""
        check_is_fitted(self, "net_")
        if self._encoder.input in ("tokens", "pair"):
            return  # whose encoder says more about what is no text
        input = self._input_of(X)
        if input != self._encoder.input:
            raise ValueError(
                f"{type(self).__name__} was fitted with {self._encoder.input} input, "
                f"but X is {input} input."
            )

    def _samples(self, X: Any) -> tuple[Any, dict[str, np.ndarray]]:
        """Validate and read the argument of ``predict``: samples and their content."""
        self._check_input(X)
        checked = self._encoder.check(X)
        if self._encoder.input == "table":
            validate_data(self, X, skip_check_array=True, reset=False)
        content = self._encoder.read(checked)
        return self._encoder.samples(content, self.net_), content

    def _scores(self, X: Any) -> Any:
        """Compute raw scores: a float64 tensor of shape (n, n_outputs)."""
        return self._finite_scores(self._samples(X)[0])

    def _finite_scores(self, samples: Any) -> Any:
        from skattn._engine._net import predict_scores

        scores = predict_scores(self.net_, samples, self.num_threads).double()
        finite = scores.isfinite().all(dim=1)
        if not finite.all():
            raise ValueError(
                f"Row {int((~finite).long().argmax())} of X gives scores that are not "
                "finite: its values are too far from those that the net was fitted "
                f"with for precision={self.net_.precision!r}."
            )
        return scores

    def _predict(self, X: Any) -> np.ndarray:
        """Compute what the loss makes of the scores: (n, n_outputs)."""
        scores = self._scores(X)
        return self.net_.criterion_.predict(scores).numpy()

    def _attention_batches(self, X: Any) -> tuple[Any, Any, Any]:
        """Give the recorder what it runs over and the way to name axes."""
        samples, content = self._samples(X)
        return (
            self.net_,
            samples,
            lambda axis: self._encoder.axis_names(axis, content),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.target_tags.multi_output = True
        return tags


def _rows_of(X: Any, kept: np.ndarray) -> Any:
    """Select rows of a frame, an array or a list."""
    if hasattr(X, "iloc"):
        return X.iloc[kept]
    if isinstance(X, (list, tuple)):
        return [row for row, keep in zip(X, kept, strict=True) if keep]
    return X[kept]
