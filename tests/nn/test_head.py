"""The map from one vector a sample to the scores of a task."""

import pytest
import torch

from skattn import DataSpec
from skattn.nn import ScoreHead

WINDOWS = {"task": "forecasting", "input": "series", "n_targets": 2, "horizon": 3}


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (DataSpec("regression", "table"), (1,)),
        (DataSpec("classification", "series", n_outputs=7), (7,)),
        (DataSpec(**WINDOWS), (2, 3)),
        (DataSpec(**WINDOWS, n_parameters=5), (2, 3, 5)),
    ],
)
def test_shapes(data, shape):
    assert ScoreHead(data, 8)(torch.zeros(4, 8)).shape == (4, *shape)
    assert ScoreHead(data, 8)(torch.zeros(0, 8)).shape == (0, *shape)


@torch.no_grad()
def test_scores_are_linear_in_the_vector():
    head = ScoreHead(DataSpec(**WINDOWS), 4)
    h = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    scores = h @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(h), scores.reshape(5, 2, 3))


@torch.no_grad()
def test_by_hand():
    """The steps of the first target come before those of the second."""
    head = ScoreHead(DataSpec(**WINDOWS), 2)
    head.linear.weight.copy_(torch.arange(12.0).reshape(6, 2))
    head.linear.bias.zero_()
    scores = head(torch.tensor([[1.0, 10.0]]))
    assert scores.tolist() == [[[10, 32, 54], [76, 98, 120]]]
