"""Maps between the tokens of a vocabulary and vectors."""

from __future__ import annotations

import math

from torch import Tensor, nn

from skattn._architecture import DataSpec, SpecialToken


class TokenEmbedding(nn.Embedding):
    r"""Embedding of tokens, scaled so that its weights can also be a head's.

    .. math:: t_i = \sqrt{d}\, E_{w_i}, \quad E \sim \mathcal{N}(0, 1 / d)

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762,
    section 3.4. The row of `SpecialToken.UNKNOWN` starts at zero: without training
    examples it says nothing.

    Parameters
    ----------
    vocabulary_size : int
        Number of different tokens, those of `SpecialToken` included.
    d_model : int
        Width of a token.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import TokenEmbedding
    >>> TokenEmbedding(100, 8)(torch.tensor([[7, 99, 0]])).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, vocabulary_size: int, d_model: int) -> None:
        super().__init__(vocabulary_size, d_model)

    def reset_parameters(self) -> None:
        """Draw weights of variance 1 / d_model."""
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)
        nn.init.zeros_(self.weight[SpecialToken.UNKNOWN])

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed tokens.

        Parameters
        ----------
        tokens : Tensor of int of shape (batch, length)
            Codes.

        Returns
        -------
        h : Tensor of shape (batch, length, d_model)
            Vectors whose units have variance 1 at first.
        """
        return super().forward(tokens) * math.sqrt(self.embedding_dim)


class VocabularyHead(nn.Linear):
    """Linear map to one score for each token of a vocabulary.

    Press and Wolf, "Using the Output Embedding to Improve Language Models", EACL 2017,
    arXiv 1608.05859, take the weights of an embedding for it.

    Parameters
    ----------
    d_model : int
        Width of a vector.
    vocabulary_size : int
        Number of different tokens.
    embedding : torch.nn.Embedding, optional
        Whose weights, (vocabulary_size, d_model), are this map's too.

    Examples
    --------
    >>> import torch
    >>> from skattn.nn import TokenEmbedding, VocabularyHead
    >>> embedding = TokenEmbedding(100, 8)
    >>> head = VocabularyHead(8, 100, embedding)
    >>> head.weight is embedding.weight
    True
    >>> head(torch.ones(2, 5, 8)).shape
    torch.Size([2, 5, 100])
    """

    def __init__(
        self, d_model: int, vocabulary_size: int, embedding: nn.Embedding | None = None
    ) -> None:
        super().__init__(d_model, vocabulary_size)
        nn.init.zeros_(self.bias)
        if embedding is not None:
            self.weight = embedding.weight


def translation_maps(
    data: DataSpec, d_model: int, tied: bool
) -> tuple[TokenEmbedding, TokenEmbedding, VocabularyHead]:
    """Make the embeddings of a translation's two languages, and its head.

    Parameters
    ----------
    data : DataSpec
        Of a translation.
    d_model : int
        Width of a token.
    tied : bool
        Whether the head has the weights of the target's embedding, and the source's
        embedding too, where `data` says that the vocabulary is shared.

    Returns
    -------
    source, target : TokenEmbedding
        Perhaps the same one.
    head : VocabularyHead
        Scores of the target's tokens.

    Examples
    --------
    >>> from skattn import DataSpec
    >>> from skattn.nn import translation_maps
    >>> data = DataSpec(
    ...     "translation",
    ...     "tokens",
    ...     vocabulary_size=100,
    ...     target_vocabulary_size=100,
    ...     shared_vocabulary=True,
    ... )
    >>> source, target, head = translation_maps(data, 8, tied=True)
    >>> source is target
    True
    """
    size = data.target_vocabulary_size
    target = TokenEmbedding(size, d_model)
    shared = tied and data.shared_vocabulary
    source = target if shared else TokenEmbedding(data.vocabulary_size, d_model)
    return source, target, VocabularyHead(d_model, size, target if tied else None)
