"""Series as tokens: patches of their steps, or one token for a whole variate.

Forecasting windows are padded on the left, other series on the right.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skattn._architecture import DataSpec
from skattn.nn._attention import MultiheadAttention
from skattn.nn._dropout import LeanDropout
from skattn.nn._recording import (
    Axis,
    Name,
    Patches,
    Recorded,
    rerecording,
)
from skattn.nn._steps import masked_mean


def _present(
    x: Tensor, observed: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Put zeros where there is no value; say where real steps lack one, if known."""
    if mask is not None:
        x = torch.where(mask[:, None], x, 0.0)
    if observed is None:
        return x, None
    missing = ~observed if mask is None else ~observed & mask[:, None]
    return torch.where(observed, x, 0.0), missing.to(x.dtype)


class PatchTokens(nn.Module):
    r"""Cut each channel into patches and map each patch to a token.

    .. math:: t_{ci} = W_p \, x_{c, iS : iS + P} + b

    with the patch length :math:`P` and the stride :math:`S`. The last value is repeated
    to fill the last patch. A window shorter than two patches takes patches of half its
    length, and a stride in proportion. Missing values count as zero; where some are,
    one more map of the patch's missing steps is added.

    Nie et al., "A Time Series is Worth 64 Words", ICLR 2023, arXiv 2211.14730.

    Parameters
    ----------
    data : DataSpec
        Of series.
    d_model : int
        Width of a token.
    patch_length : int
        Steps of a patch, at most.
    stride : int
        Steps from the start of a patch to that of the next, at most.
    extra_patch : bool, default=False
        Let the patches reach beyond the last step in any case, as in the paper: where
        they end with it, one more patch begins a stride later.

    Attributes
    ----------
    patch_length, stride : int
        What is used.
    n_patches : int
        Patches of a series of ``data.length`` steps.
    axis : Patches
        What the tokens are, for `skattn.nn.record`.

    Raises
    ------
    ValueError
        If `stride` is above `patch_length`.

    Examples
    --------
    >>> import torch
    >>> from skattn import DataSpec
    >>> from skattn.nn import PatchTokens
    >>> data = DataSpec("forecasting", "series", n_channels=2, length=96)
    >>> embed = PatchTokens(data, d_model=8, patch_length=16, stride=8)
    >>> tokens, mask = embed(torch.zeros(5, 2, 96))
    >>> tokens.shape
    torch.Size([5, 2, 11, 8])
    """

    def __init__(
        self,
        data: DataSpec,
        d_model: int,
        patch_length: int,
        stride: int,
        extra_patch: bool = False,
    ) -> None:
        super().__init__()
        if stride > patch_length:
            raise ValueError(
                f"stride={stride} is above patch_length={patch_length}, so steps "
                "between the patches would be lost: choose at most patch_length."
            )
        self.left_padded = data.task == "forecasting"
        self.reach = int(extra_patch)  # steps beyond the last that patches must cover
        self.patch_length = min(patch_length, (data.length + 1) // 2)
        self.stride = max(1, stride * self.patch_length // patch_length)
        self.n_patches = self.count(data.length)
        self.axis = Patches("patch", length=self.patch_length, stride=self.stride)
        self.embed = nn.Linear(self.patch_length, d_model)
        self.embed_missing = nn.Linear(self.patch_length, d_model, bias=False)

    def count(self, length: int) -> int:
        """Count the patches of a series.

        Parameters
        ----------
        length : int
            Its steps.

        Returns
        -------
        n_patches : int
            At least 1.
        """
        beyond = max(length - self.patch_length + self.reach, 0)
        return -(-beyond // self.stride) + 1

    def forward(
        self, x: Tensor, observed: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Embed a batch of series.

        Parameters
        ----------
        x : Tensor of shape (batch, n_channels, length)
            Values.
        observed : Tensor of bool of shape (batch, n_channels, length), optional
            False where a value is missing.
        mask : Tensor of bool of shape (batch, length), optional
            True where a step is real.

        Returns
        -------
        tokens : Tensor of shape (batch, n_channels, patches, d_model)
            One for each patch.
        patch_mask : Tensor of bool of shape (batch, patches) or None
            True where a patch has a real step (padding on the left), or where the
            series alone would have this patch (padding on the right).
        """
        x, missing = _present(x, observed, mask)
        tokens = self.embed(self._patches(x, mask))
        if missing is not None:
            tokens = tokens + self.embed_missing(self._patches(missing, mask))
        return tokens, None if mask is None else self._patch_mask(mask)

    def _patches(self, x: Tensor, mask: Tensor | None) -> Tensor:
        length = x.shape[-1]
        if mask is not None and not self.left_padded:
            steps = torch.arange(length, device=x.device)
            last = (mask * steps).argmax(dim=1)[:, None, None]  # (batch, 1, 1)
            x = torch.where(
                mask[:, None], x, x.gather(2, last.expand(-1, x.shape[1], 1))
            )
        span = (self.count(length) - 1) * self.stride + self.patch_length
        x = functional.pad(x, (0, span - length), mode="replicate")
        return x.unfold(2, self.patch_length, self.stride)  # (..., patches, steps)

    def _patch_mask(self, mask: Tensor) -> Tensor:
        one = torch.ones_like(mask[:, :1])
        if self.left_padded:  # the last step of a patch is real
            ends = mask[:, self.patch_length - 1 :: self.stride]
            return torch.cat([ends[:, : self.count(mask.shape[1]) - 1], one], dim=1)
        # The patch before this one does not cover the series.
        ends = mask[:, self.patch_length - self.reach :: self.stride]
        return torch.cat([one, ends], dim=1)


class VariateTokens(nn.Module):
    r"""Map each whole series to one token: channels, and covariates of the future.

    .. math:: t_c = W x_{c, 1:L} + b, \quad
              t_k = W' z_{k, 1:L+H} + b'

    for channels :math:`x_c` of a window and covariates :math:`z_k` known over window
    and horizon. Of a categorical covariate, each code has a learned number. Missing
    values count as zero; where some are, a map of the missing steps is added. A series
    longer than ``data.length`` is embedded in pieces of that length, and their tokens
    are averaged.

    Liu et al., "iTransformer", ICLR 2024, arXiv 2310.06625.

    Parameters
    ----------
    data : DataSpec
        Of series.
    d_model : int
        Width of a token.

    Attributes
    ----------
    axis : str or tuple of str
        What the tokens are, for `skattn.nn.record`.

    Examples
    --------
    >>> import torch
    >>> from skattn import DataSpec
    >>> from skattn.nn import VariateTokens
    >>> data = DataSpec(
    ...     "forecasting", "series", n_channels=2, length=24, horizon=6, n_known=1
    ... )
    >>> embed = VariateTokens(data, d_model=8)
    >>> embed(torch.zeros(5, 2, 24), known=torch.zeros(5, 1, 30)).shape
    torch.Size([5, 3, 8])
    """

    first_codes: Tensor

    def __init__(self, data: DataSpec, d_model: int) -> None:
        super().__init__()
        self.length = data.length
        self.embed = nn.Linear(data.length, d_model)
        self.embed_missing = nn.Linear(data.length, d_model, bias=False)
        counts = data.known_category_counts
        known = [f"known {number}" for number in range(data.n_known)]
        known += [f"known category {number}" for number in range(len(counts))]
        names = map(Name, data.known_names or known)
        self.axis: Axis = ("channels", *names) if known else "channels"
        if known:
            self.embed_known = nn.Linear(data.length + data.horizon, d_model)
        if counts:
            self.codes = nn.Embedding(sum(counts), 1)
            first = torch.tensor((0, *counts[:-1])).cumsum(0)[:, None]
            self.register_buffer("first_codes", first, persistent=False)
            with torch.no_grad():  # what is unknown counts as zero
                self.codes.weight[first[:, 0]] = 0.0

    def forward(
        self,
        x: Tensor,
        observed: Tensor | None = None,
        mask: Tensor | None = None,
        known: Tensor | None = None,
        known_categories: Tensor | None = None,
    ) -> Tensor:
        """Embed a batch of series.

        Parameters
        ----------
        x : Tensor of shape (batch, n_channels, length)
            Values.
        observed : Tensor of bool of shape (batch, n_channels, length), optional
            False where a value is missing.
        mask : Tensor of bool of shape (batch, length), optional
            True where a step is real.
        known : Tensor of shape (batch, n_known, length + horizon), optional
            Numeric covariates known in the future.
        known_categories : Tensor of int, shaped as `known`, optional
            Codes of categorical covariates known in the future.

        Returns
        -------
        tokens : Tensor of shape (batch, variates, d_model)
            Channels first, then `known`, then `known_categories`.
        """
        x, missing = _present(x, observed, mask)
        tokens = self.embed(self._pieces(x))  # (batch, n_channels, pieces, d_model)
        if missing is not None:
            tokens = tokens + self.embed_missing(self._pieces(missing))
        if tokens.shape[2] == 1:
            variates = [tokens[:, :, 0]]
        else:
            pieces = tokens.transpose(1, 2)  # (batch, pieces, n_channels, d_model)
            begun = None if mask is None else mask[:, :: self.length]
            mean = masked_mean(pieces.flatten(2), begun)
            variates = [mean.unflatten(1, pieces.shape[2:])]
        if known is not None:
            variates.append(self.embed_known(known))
        if known_categories is not None:
            numbers = self.codes(known_categories + self.first_codes)[..., 0]
            variates.append(self.embed_known(numbers))
        return torch.cat(variates, dim=1)

    def _pieces(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, -x.shape[2] % self.length))
        return x.unflatten(2, (-1, self.length))  # (batch, n_channels, pieces, length)


def grouped_attention(
    attend: MultiheadAttention, h: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Let tokens attend to those of their own group, such as a channel of a sample.

    The groups are folded into the batch; records hold the heads of all groups, those of
    the first group first.

    Parameters
    ----------
    attend : MultiheadAttention
        Shared by all groups.
    h : Tensor of shape (batch, groups, tokens, d_model)
        Tokens.
    mask : Tensor of bool of shape (batch, tokens), optional
        True where a token is real, in all groups.

    Returns
    -------
    output : Tensor of shape (batch, groups, tokens, d_model)
        What `attend` gives for each group.
    """
    rows = h.flatten(0, 1)  # (batch * groups, tokens, d_model)
    if mask is not None:
        mask = mask.repeat_interleave(h.shape[1], dim=0)

    def together(each: Recorded) -> Recorded:
        parts: dict[str, Any] = {}
        for name in ("weights", "mask", "values"):
            part = getattr(each, name)
            if part is not None:
                part = part.expand(len(rows), attend.num_heads, *part.shape[2:])
                parts[name] = part.unflatten(0, h.shape[:2]).flatten(1, 2)
        return replace(each, **parts, groups=h.shape[1])

    def apart(each: Recorded, weights: Tensor) -> Tensor:
        return weights.reshape(each.weights.shape)

    with rerecording(together, apart):
        return attend(rows, rows, mask).view_as(h)


class TokenBatchNorm(nn.BatchNorm1d):
    """Normalise each unit over all real tokens of a batch.

    Ioffe and Szegedy, "Batch Normalization", ICML 2015, arXiv 1502.03167; over the
    tokens of series: Zerveas et al., KDD 2021, arXiv 2010.02803. A batch of a single
    token is normalised as in evaluation.

    Parameters
    ----------
    num_features : int
        Width of a token.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import TokenBatchNorm
    >>> TokenBatchNorm(8)(torch.zeros(5, 2, 7, 8)).shape
    torch.Size([5, 2, 7, 8])
    """

    momentum: float
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise tokens.

        Parameters
        ----------
        h : Tensor of shape (batch, groups, tokens, num_features)
            Tokens.
        mask : Tensor of bool of shape (batch, tokens), optional
            True where a token is real, in all groups; others do not count.

        Returns
        -------
        h : Tensor, shaped as before
            Normalised tokens.
        """
        rows = h.flatten(0, -2)  # (batch * groups * tokens, num_features)
        if not self.training or len(rows) == 1:
            return functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias
            ).view_as(h)
        if mask is None:
            return super().forward(rows).view_as(h)
        real = mask[:, None, :, None]
        count = mask.sum() * h.shape[1]
        mean = torch.where(real, h, 0.0).sum(dim=(0, 1, 2)) / count
        centred = torch.where(real, h - mean, 0.0)
        variance = centred.square().sum(dim=(0, 1, 2)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1).clamp(1))
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the statistics for evaluation, as torch does."""
        for kept, new in ((self.running_mean, mean), (self.running_var, variance)):
            kept.lerp_(new.to(kept.dtype), self.momentum)


class PostNormBlock(nn.Module):
    r"""Post-norm Transformer encoder block.

    .. math:: h' = \mathrm{Norm}(h + \mathrm{MultiHead}(h)), \quad
              h'' = \mathrm{Norm}(h' + \mathrm{FFN}(h'))

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762, with
    GELU, and with layer or batch normalisation.

    Parameters
    ----------
    d_model : int
        Width of a token.
    num_heads : int
        Number of heads.
    d_ff : int
        Width of the hidden layer of the feed-forward net.
    dropout : float
        Probability of dropping a unit of either branch, or a hidden one.
    layer : str
        Name of the layer in records.
    tokens : str or tuple of str
        What the tokens are; see `skattn.nn.record`.
    batch_norm : bool, default=False
        Normalise each unit over the tokens of the batch (`TokenBatchNorm`), not each
        token over its units.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import PostNormBlock
    >>> block = PostNormBlock(8, 2, d_ff=16, dropout=0.0, layer="0", tokens="patch")
    >>> block(torch.ones(3, 2, 5, 8)).shape
    torch.Size([3, 2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        d_ff: int,
        dropout: float,
        layer: str,
        tokens: Axis,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        norm = TokenBatchNorm if batch_norm else nn.LayerNorm
        self.attention = MultiheadAttention(
            d_model, num_heads, layer=layer, queries=tokens, keys=tokens
        )
        self.norm_attention = norm(d_model)
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, d_ff),
            nn.GELU(),
            LeanDropout(dropout),
            nn.Linear(d_ff, d_model),
        )
        self.norm_feed_forward = norm(d_model)
        self.dropout = LeanDropout(dropout)
        self.batch_norm = batch_norm

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform tokens.

        Parameters
        ----------
        h : Tensor of shape (batch, groups, tokens, d_model)
            Tokens, which see those of their own group.
        mask : Tensor of bool of shape (batch, tokens), optional
            True where a token is real, in all groups.

        Returns
        -------
        h : Tensor of shape (batch, groups, tokens, d_model)
            Transformed tokens.
        """
        masks = (mask,) if self.batch_norm else ()
        attended = grouped_attention(self.attention, h, mask)
        h = self.norm_attention(h + self.dropout(attended), *masks)
        return self.norm_feed_forward(h + self.dropout(self.feed_forward(h)), *masks)


class HorizonHead(nn.Module):
    """Map one vector a target to its forecast, by a map shared by all targets.

    Parameters
    ----------
    data : DataSpec
        Of forecasting.
    in_features : int
        Width of the vector.
    dropout : float, default=0
        Probability of dropping a unit of the vector.

    Examples
    --------
    >>> import torch
    >>> from skattn import DataSpec
    >>> from skattn.nn import HorizonHead
    >>> data = DataSpec("forecasting", "series", n_targets=2, horizon=12)
    >>> HorizonHead(data, 8)(torch.zeros(5, 2, 8)).shape
    torch.Size([5, 2, 12])
    """

    def __init__(self, data: DataSpec, in_features: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_parameters = data.n_parameters
        self.dropout = LeanDropout(dropout)
        self.linear = nn.Linear(in_features, data.horizon * data.n_parameters)

    def forward(self, h: Tensor) -> Tensor:
        """Forecast.

        Parameters
        ----------
        h : Tensor of shape (batch, n_targets, in_features)
            One vector a target.

        Returns
        -------
        scores : Tensor of shape (batch, n_targets, horizon), with a last axis where \
``n_parameters`` is above 1
            Raw scores.
        """
        scores = self.linear(self.dropout(h))
        if self.n_parameters == 1:
            return scores
        return scores.unflatten(-1, (-1, self.n_parameters))
