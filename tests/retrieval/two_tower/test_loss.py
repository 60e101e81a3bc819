from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812  its name everywhere

from nextreel.retrieval.two_tower.model import MASKED, Trend, softmax_loss


def _unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))), dim=-1)


def test_the_sampled_loss_is_on_average_near_the_full_softmax_and_far_without_log_q() -> None:
    rng = np.random.default_rng(0)
    videos, users = _unit(200, 8), _unit(3, 8) / 0.5
    targets = torch.tensor([3, 50, 120])
    chance = rng.dirichlet(np.ones(200) * 2)
    full = F.cross_entropy(users @ videos.T, targets, reduction="none").numpy()
    positive = (users * videos[targets]).sum(-1)
    n = 100
    corrected: list[NDArray[np.float32]] = []
    plain: list[NDArray[np.float32]] = []
    for _ in range(200):
        drawn = rng.choice(200, n, p=chance)
        scores = users @ videos[drawn].T
        hits = targets[:, None] == torch.from_numpy(drawn)
        log_q = torch.from_numpy(-np.log(n * chance[drawn])).float()
        for losses, bias in ((corrected, log_q), (plain, torch.zeros(n))):
            losses.append(softmax_loss(positive, [(scores + bias).masked_fill(hits, MASKED)]).numpy())
    assert np.mean(corrected, 0) == pytest.approx(full, abs=0.05)
    assert np.abs(np.mean(plain, 0) - full).min() > 0.2


def test_groups_of_negatives_count_as_one() -> None:
    positive, negatives = torch.randn(5), torch.randn(5, 9)
    together = softmax_loss(positive, [negatives])
    apart = softmax_loss(positive, [negatives[:, :4], negatives[:, 4:]])
    dense = F.cross_entropy(torch.cat([positive[:, None], negatives], 1), torch.zeros(5).long(), reduction="none")
    assert torch.allclose(together, apart, atol=1e-6)
    assert torch.allclose(together, dense, atol=1e-6)


def test_an_explicit_negative_pushes_the_person_away_from_it() -> None:
    users, disliked, others = _unit(2, 4).requires_grad_(), _unit(1, 4), _unit(5, 4)
    positive, scores = (users * _unit(2, 4)).sum(-1), users @ others.T
    own = users @ disliked.T
    loss, without = softmax_loss(positive, [scores, own]).sum(), softmax_loss(positive, [scores]).sum()
    masked = softmax_loss(positive, [scores, own + MASKED]).sum()
    assert loss > without
    assert masked.item() == pytest.approx(without.item(), abs=1e-5)
    (push,) = torch.autograd.grad(loss - without, users)
    assert ((push * disliked).sum(-1) > 0).all()  # a descent step turns away


def _dense(weights: torch.Tensor, columns: torch.Tensor, cuts: list[int]) -> torch.Tensor:
    """What popularity adds, with the columns copied for every position."""
    sizes = torch.tensor([end - start for start, end in pairwise(cuts)])
    each = columns.repeat_interleave(sizes, 0)  # (p, n, w)
    return torch.einsum("pw,pnw->pn", weights, each)


@pytest.mark.parametrize("cuts", [[0, 2, 2, 7], [0, 7], [0, 1, 2, 3, 4, 5, 6, 7]])
def test_what_popularity_adds_and_its_gradient_are_those_of_the_dense_formula(cuts: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(7, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    columns = torch.randn(len(cuts) - 1, 11, 4, dtype=torch.float64, generator=generator)
    found, expected = Trend.apply(weights, columns, cuts), _dense(weights, columns, cuts)  # type: ignore[no-untyped-call]
    assert torch.allclose(found, expected)
    assert torch.autograd.gradcheck(lambda one: Trend.apply(one, columns, cuts), (weights,))  # type: ignore[no-untyped-call]
    upstream = torch.randn(7, 11, dtype=torch.float64, generator=generator)
    mine, theirs = (torch.autograd.grad(one, weights, upstream)[0] for one in (found, expected))
    assert torch.allclose(mine, theirs)


def test_small_products_leave_the_number_of_threads_as_it_was() -> None:
    many = torch.get_num_threads()
    Trend.apply(torch.ones(2, 1), torch.ones(1, 3, 1), [0, 2])  # type: ignore[no-untyped-call]
    assert torch.get_num_threads() == many
