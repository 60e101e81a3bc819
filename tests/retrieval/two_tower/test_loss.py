from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812  its name everywhere

from nextreel.retrieval.two_tower.model import MASKED, sampled_softmax


def _unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))), dim=-1)


def test_the_sampled_loss_is_on_average_near_the_full_softmax_and_far_without_log_q() -> None:
    rng = np.random.default_rng(0)
    videos, users = _unit(200, 8), _unit(1, 3, 8)
    targets = torch.tensor([[3, 50, 120]])
    chance = rng.dirichlet(np.ones(200) * 2)
    full = F.cross_entropy((users[0] / 0.5) @ videos.T, targets[0], reduction="none").numpy()
    n = 100
    corrected: list[NDArray[np.float32]] = []
    plain: list[NDArray[np.float32]] = []
    for _ in range(200):
        drawn = rng.choice(200, n, p=chance)
        hits = targets[..., None] == torch.from_numpy(drawn)
        log_q = torch.from_numpy(-np.log(n * chance[drawn])).float()[None]
        for losses, bias in ((corrected, log_q), (plain, torch.zeros(1, n))):
            losses.append(sampled_softmax(users, videos[targets], videos[drawn], bias, hits, None, 0.5)[0].numpy())
    assert np.mean(corrected, 0) == pytest.approx(full, abs=0.05)
    assert np.abs(np.mean(plain, 0) - full).min() > 0.2


def test_an_explicit_negative_pushes_the_person_away_from_it() -> None:
    users = _unit(1, 2, 4).requires_grad_()
    disliked = _unit(1, 1, 4)
    bias, hits = torch.zeros(1, 5), torch.zeros(1, 2, 5, dtype=torch.bool)
    given = (disliked, torch.zeros(1, 1))
    loss = sampled_softmax(users, _unit(1, 2, 4), _unit(5, 4), bias, hits, given, 0.1).sum()
    without = sampled_softmax(users, _unit(1, 2, 4), _unit(5, 4), bias, hits, None, 0.1).sum()
    masked = (disliked, torch.full((1, 1), MASKED))
    same = sampled_softmax(users, _unit(1, 2, 4), _unit(5, 4), bias, hits, masked, 0.1).sum()
    assert loss > without
    assert same.item() == pytest.approx(without.item(), abs=1e-5)
    (push,) = torch.autograd.grad(loss - without, users)
    assert ((push * disliked[:, None, 0]).sum(-1) > 0).all()  # a descent step turns away
