"""Texts to codes and back."""

import numpy as np
import pytest

from skattn.text import TokenEncoder

TEXTS = ["A good film.", "Bad! Really bad (and long).", "It isn't good, but short."]


@pytest.mark.parametrize("model", ["word", "bpe", "wordpiece", "character"])
def test_texts_come_back(model):
    encoder = TokenEncoder(model, lowercase=False)
    assert list(encoder.inverse_transform(encoder.fit_transform(TEXTS))) == TEXTS


def test_equal_lengths_still_give_an_array_of_arrays():
    codes = TokenEncoder().fit_transform(["a b", "c d"])
    assert codes.shape == (2,)
    assert [row.dtype for row in codes] == [np.int64, np.int64]
