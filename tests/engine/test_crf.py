"""The chain of tags against enumeration of all paths."""

import itertools
import math

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score
from seqeval.scheme import IOBES
from torch import nn

from skattn._engine._crf import Chain, Chained, ChainLoss, TagLoss
from skattn._engine._losses import IGNORED, SequenceCrossEntropy
from skattn._tags import TagTarget

N_TAGS, LENGTHS = 3, (4, 1, 2)
MASK = torch.arange(4) < torch.tensor(LENGTHS)[:, None]


def make_scores(seed=0):
    """Scores of tags and, below them, of edges: (3, 4 + 5, 3)."""
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randn(3, 4, N_TAGS, generator=generator, dtype=torch.float64)
    edges = torch.randn(N_TAGS + 2, N_TAGS, generator=generator, dtype=torch.float64)
    return torch.cat([tags, edges.expand(3, -1, -1)], dim=1)


def make_chain(seed=0):
    scores = make_scores(seed)
    return Chain.of(scores[:, :4], scores[0, 4:])


def enumerate_paths(chain, row):
    """Give all paths of a sequence with their probabilities."""
    tags, between, start, end = (np.asarray(part) for part in chain)
    scores = {}
    for path in itertools.product(range(N_TAGS), repeat=LENGTHS[row]):
        steps = sum(tags[row, step, tag] for step, tag in enumerate(path))
        moves = sum(between[pair] for pair in itertools.pairwise(path))
        scores[path] = start[path[0]] + steps + moves + end[path[-1]]
    total = math.log(sum(map(math.exp, scores.values())))
    return {path: math.exp(score - total) for path, score in scores.items()}


def pad(path):
    return [*path, *[0] * (4 - len(path))]


def forbid(*edges):
    allowed = np.ones((N_TAGS + 2, N_TAGS), dtype=bool)
    for edge in edges:
        allowed[edge] = False
    return allowed


def test_log_likelihood_is_that_of_enumeration():
    chain = make_chain()
    expected = [enumerate_paths(chain, row) for row in range(3)]
    paths = [max(each, key=each.get) for each in expected]
    found = chain.log_likelihood(torch.tensor([pad(path) for path in paths]), MASK)
    np.testing.assert_allclose(
        found.exp(),
        [each[path] for each, path in zip(expected, paths, strict=True)],
    )


def test_likelihoods_of_all_paths_add_up_to_one():
    chain = Chain.of(make_chain().tags[:1], make_scores()[0, 4:])
    paths = torch.tensor(list(itertools.product(range(N_TAGS), repeat=4)))
    total = sum(
        chain.log_likelihood(path[None], MASK[:1]).exp().item() for path in paths
    )
    assert total == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_best_path_is_the_most_probable_one(seed):
    chain = make_chain(seed)
    for row, found in enumerate(chain.best_path(MASK).tolist()):
        expected = enumerate_paths(chain, row)
        assert tuple(found[: LENGTHS[row]]) == max(expected, key=expected.get)


def test_marginals_are_sums_over_paths():
    chain = make_chain()
    found = chain.marginals(MASK).numpy()
    for row, length in enumerate(LENGTHS):
        expected = np.zeros((length, N_TAGS))
        for path, probability in enumerate_paths(chain, row).items():
            expected[range(length), path] += probability
        np.testing.assert_allclose(found[row, :length], expected)


def test_joint_marginals_are_sums_over_paths_with_such_pairs():
    chain = make_chain()
    pairs = np.array([[True, False, True], [False, True, False], [False, False, False]])
    found = chain.joint_marginals(MASK, torch.from_numpy(pairs)).numpy()
    for row, length in enumerate(LENGTHS):
        expected = np.zeros((length, N_TAGS))
        for path, probability in enumerate_paths(chain, row).items():
            for step in range(1, length):
                if pairs[path[step - 1], path[step]]:
                    expected[step, path[step]] += probability
        np.testing.assert_allclose(found[row, :length], expected)


def test_padding_changes_nothing():
    chain = make_chain()
    longer = Chain(nn.functional.pad(chain.tags, (0, 0, 0, 3), value=9.0), *chain[1:])
    mask = nn.functional.pad(MASK, (0, 3))
    path = torch.tensor([[0, 2, 1, 0], [1, 0, 0, 0], [2, 2, 0, 0]])
    more = nn.functional.pad(path, (0, 3), value=2)
    np.testing.assert_array_equal(
        chain.log_likelihood(path, MASK), longer.log_likelihood(more, mask)
    )
    np.testing.assert_array_equal(
        chain.marginals(MASK)[MASK], longer.marginals(mask)[mask]
    )
    np.testing.assert_array_equal(
        chain.best_path(MASK)[MASK], longer.best_path(mask)[mask]
    )


def test_loss_is_that_of_each_sentence_in_units_of_tokens():
    target = torch.tensor([[0, 2, 1, 0], [1, 0, 0, 0], [2, 2, 0, 0]])
    target[~MASK] = IGNORED
    losses = ChainLoss(forbid())(make_scores(), target)
    for row, length in enumerate(LENGTHS):
        path = tuple(target[row, :length].tolist())
        expected = -math.log(enumerate_paths(make_chain(), row)[path])
        assert losses[row].item() == pytest.approx(expected * 3 / sum(LENGTHS))


def test_loss_leaves_out_paths_that_are_not_allowed():
    target = torch.tensor([[0, 2, 1, 0], [1, 0, 0, 0], [2, 2, 0, 0]])
    target[~MASK] = IGNORED
    losses = ChainLoss(forbid((1, 2), (2, 0)))(make_scores(), target)
    paths = enumerate_paths(make_chain(), 2)
    legal = {
        path: probability
        for path, probability in paths.items()
        if path not in {(1, 2), (2, 0)}
    }
    expected = -math.log(legal[2, 2] / sum(legal.values()))
    assert losses[2].item() == pytest.approx(expected * 3 / sum(LENGTHS))


def test_gradient_of_the_loss_is_right():
    target = torch.tensor([[0, 2, 1, 0], [1, 0, 0, 0], [2, 2, 0, 0]])
    target[~MASK] = IGNORED
    loss = ChainLoss(forbid((1, 2), (N_TAGS, 2)))
    scores = make_scores().requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: loss(scores, target), scores)


@pytest.mark.parametrize("loss", [TagLoss, ChainLoss])
def test_what_is_not_allowed_is_never_read(loss):
    allowed = forbid((0, 0), (0, 1), (1, 2), (N_TAGS, 1), (N_TAGS + 1, 2))
    scores = 100 * make_scores()
    chain = loss(allowed).chain(scores if loss is ChainLoss else scores[:, :4])
    probabilities = chain.marginals(MASK)
    assert probabilities.isfinite().all()
    np.testing.assert_allclose(probabilities.sum(dim=2)[MASK], 1.0)
    assert (probabilities[:, 0, 1] == 0).all()
    for row, found in enumerate(chain.best_path(MASK).tolist()):
        path = found[: LENGTHS[row]]
        assert path[0] != 1
        assert path[-1] != 2
        assert not set(itertools.pairwise(path)) & {(0, 0), (0, 1), (1, 2)}


def test_tags_without_edges_have_the_probabilities_of_their_scores():
    scores = make_scores()[:, :4]
    loss = TagLoss(forbid())
    np.testing.assert_allclose(
        loss.chain(scores).marginals(MASK)[MASK], scores.softmax(dim=2)[MASK]
    )
    best = loss.chain(scores).best_path(MASK)
    np.testing.assert_array_equal(best[MASK], scores.argmax(dim=2)[MASK])


def test_tags_without_edges_are_trained_by_cross_entropy():
    target = torch.tensor([[0, 2, 1, 0], [1, 0, 0, 0], [2, 2, 0, 0]])
    scores = make_scores()[:, :4]
    np.testing.assert_array_equal(
        TagLoss(forbid((1, 2)))(scores, target),
        SequenceCrossEntropy()(scores, target),
    )


def test_error_is_the_part_of_wrong_tags_on_the_best_path():
    scores = make_scores()
    loss = ChainLoss(forbid())
    target = loss.chain(scores).best_path(MASK)
    target[0, 1] = (target[0, 1] + 1) % N_TAGS
    target[2, :2] = (target[2, :2] + 1) % N_TAGS
    target[~MASK] = IGNORED
    assert loss.error(scores, target).tolist() == [0.25, 0.0, 1.0]


def test_large_scores_overflow_nowhere():
    scores = (1e4 * make_scores()).float()
    target = torch.zeros(3, 4, dtype=torch.long).masked_fill(~MASK, IGNORED)
    loss = ChainLoss(forbid((1, 2)))
    assert loss(scores, target).isfinite().all()
    assert loss.chain(scores).marginals(MASK).isfinite().all()


def test_chained_module_puts_its_edges_below_the_scores():
    class Scores(nn.Module):
        def forward(self, tokens, mask=None):
            return tokens[..., None] * torch.ones(N_TAGS)

    module = Chained(Scores(), N_TAGS)
    nn.init.constant_(module.edges, 7.0)
    scores = module(torch.tensor([[1, 2], [3, 4]]), mask=None)
    assert scores.shape == (2, 2 + N_TAGS + 2, N_TAGS)
    assert scores[..., 0].tolist() == [[1, 2, 7, 7, 7, 7, 7], [3, 4, 7, 7, 7, 7, 7]]


def test_quality_of_entities_is_the_f1_score_of_seqeval():
    rng = np.random.default_rng(0)
    target = TagTarget("IOBES", crf=True)
    own = ["O", *[f"{each}-{kind}" for kind in ("LOC", "PER") for each in "BIES"]]
    target.learn(target.check([own[3:5] * 2]), own)
    loss = target.loss()
    mask = torch.ones(20, 7, dtype=torch.bool)
    scores = torch.from_numpy(rng.normal(size=(2, 20, 7 + 11, 9)))
    truth, found = (loss.chain(part).best_path(mask).numpy() for part in scores)
    found[:12] = truth[:12]
    expected = f1_score(
        [target.decode(row) for row in truth],
        [target.decode(row) for row in found],
        mode="strict",
        scheme=IOBES,
    )
    assert 0.5 < expected < 1
    assert loss.quality(found.ravel(), truth.ravel()) == pytest.approx(expected)
    nothing = np.zeros(5, dtype=int)
    assert loss.quality(nothing, nothing) == 1.0
    assert loss.quality(truth[0], np.zeros(7, dtype=int)) == 0.0


def test_quality_of_mere_labels_is_their_accuracy():
    loss = TagLoss(forbid())
    assert loss.quality(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.75


@pytest.mark.parametrize("loss", [TagLoss, ChainLoss])
def test_a_chain_is_where_its_scores_are(loss):
    scores = torch.zeros(2, 3 + 4, 2, device="meta")
    chain = loss(np.ones((4, 2), dtype=bool)).chain(scores)
    assert {each.device.type for each in chain} == {"meta"}
