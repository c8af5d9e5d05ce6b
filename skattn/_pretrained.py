"""A trained net that forecasters can start from."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

# Parameters of a forecaster that its net depends on.
NET_PARAMS = (
    "normalization",
    "linear_skip",
    "likelihood",
    "quantiles",
    "precision",
    "past_covariates",
    "static_covariates",
)


class PretrainedNet:
    """A trained net with everything that its weights depend on.

    It is never changed: copies and clones of an estimator that holds one share it, and
    a forecaster that starts from it takes a copy of the weights.

    Parameters
    ----------
    net : skorch.NeuralNet
        Trained.
    forecaster : AttentionForecaster
        That trained it.

    See Also
    --------
    AttentionForecaster.pretrain : Trains one on a panel.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from skattn import AttentionForecaster, PretrainedNet
    >>> y = load_airline()
    >>> trained = AttentionForecaster(max_epochs=2, random_state=0).fit(y, fh=[1, 2])
    >>> start = PretrainedNet.from_forecaster(trained)
    >>> start
    PretrainedNet(SelfAttention(), window_length=24, horizon=2)
    >>> AttentionForecaster(pretrained=start).fit(y[:60], fh=[1, 2]).predict().shape
    (2,)
    """

    def __init__(self, net: Any, forecaster: Any) -> None:
        self._net = deepcopy(net)
        self.architecture = net.module.architecture
        self.window_length = forecaster.window_length_
        self.horizon = forecaster.horizon_
        self.n_targets = len(forecaster._columns)
        self.codes = dict(forecaster._codes)
        self.encoder = forecaster._encoder
        self.params = {name: getattr(forecaster, name) for name in NET_PARAMS}

    @classmethod
    def from_forecaster(cls, forecaster: Any) -> PretrainedNet:
        """Take the net of a fitted forecaster.

        Parameters
        ----------
        forecaster : AttentionForecaster
            Fitted, or pretrained.

        Returns
        -------
        pretrained : PretrainedNet
            Later updates of the forecaster do not reach it.

        Raises
        ------
        TypeError
            If it is no AttentionForecaster.
        NotFittedError
            If it is neither fitted nor pretrained.
        """
        from skattn._forecaster import AttentionForecaster

        if not isinstance(forecaster, AttentionForecaster):
            raise TypeError(
                f"from_forecaster takes the net of an AttentionForecaster, and "
                f"{type(forecaster).__name__} is none."
            )
        if not forecaster.is_fitted and hasattr(forecaster, "pretrained_"):
            return forecaster.pretrained_
        forecaster.check_is_fitted()
        return cls(forecaster.net_, forecaster)

    def copy_net(self, device: Any) -> Any:
        """Copy the net.

        Parameters
        ----------
        device : torch.device
            Where the copy is put.

        Returns
        -------
        net : skorch.NeuralNet
            With equal weights.
        """
        net = deepcopy(self._net)
        net.device = str(device)
        net.module_.to(device)
        net.criterion_.to(device)
        return net

    def state_dict(self) -> dict[str, Any]:
        """Give the weights.

        Returns
        -------
        weights : dict of str to Tensor
            Copies, by their names in the torch module.
        """
        weights = self._net.module_.state_dict()
        return {name: tensor.clone() for name, tensor in weights.items()}

    def conflicts(self, forecaster: Any, architecture: Any) -> list[str]:
        """List the parameters of a forecaster that contradict the net.

        Parameters
        ----------
        forecaster : AttentionForecaster
            That is to start from this net.
        architecture : Architecture
            What its parameter stands for.

        Returns
        -------
        conflicts : list of str
            ``"NAME=VALUE (the net has VALUE)"``.
        """
        found = []
        same = type(architecture) is type(self.architecture)
        if not same or architecture.get_params() != self.architecture.get_params():
            found.append(f"architecture={architecture} (the net has {self})")
        for name, value in self.params.items():
            given = getattr(forecaster, name)
            if _plain(given) != _plain(value):
                found.append(f"{name}={given!r} (the net has {value!r})")
        if forecaster.window_length not in (None, self.window_length):
            given = forecaster.window_length
            found.append(f"window_length={given} (the net has {self.window_length})")
        return found

    def __repr__(self) -> str:
        sizes = f"window_length={self.window_length}, horizon={self.horizon}"
        return f"PretrainedNet({self.architecture}, {sizes})"

    def __copy__(self) -> PretrainedNet:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PretrainedNet:
        return self

    def __sklearn_clone__(self) -> PretrainedNet:
        return self


def _plain(value: Any) -> Any:
    """Bring arrays and other sequences into a form that compares as a whole."""
    is_sequence = isinstance(value, Iterable) and not isinstance(value, str)
    return list(value) if is_sequence else value
