"""What a team says it values moves the lists of a trained release that way, and what a person rejects leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nextreel.assembly import Config, merged
from nextreel.data import World
from nextreel.opening import open_system
from nextreel.pipeline import Recommender
from nextreel.ranking.ranker import FittedRanker
from nextreel.ranking.value import formula
from nextreel.system import System
from nextreel.training import train
from nextreel.types import Event, FloatArray, Kind, Request


@pytest.fixture
def system(trained: Path, tmp_path: Path) -> Iterator[System]:
    system = open_system(Path(shutil.copytree(trained, tmp_path / "home")), clock="end")
    yield system
    system.close()


def ranker_of(system: System) -> FittedRanker:
    ranker = system.recommender.ranker
    assert isinstance(ranker, FittedRanker)
    return ranker


def valued(system: System, text: str) -> Recommender:
    """The same release, its lists ordered by the formula alone."""
    return replace(system.recommender, value=formula(text, ranker_of(system).objectives), orderers=())


def predicted(system: System, text: str, objective: str) -> FloatArray:
    """(people,) mean of what is predicted of the objective over each person's list."""
    place = ranker_of(system).objectives.index(objective)
    recommender = valued(system, text)
    requests = [Request(user_id, system.data_end, 10) for user_id in system.store.users()[:40]]
    return np.array([recommender.recommend(request).objectives[:, place].mean() for request in requests])


@pytest.mark.parametrize(("objective", "other"), [("click", "long_view"), ("long_view", "click")])
def test_raising_the_weight_of_an_objective_raises_what_is_predicted_of_it(
    system: System, objective: str, other: str
) -> None:
    assert {objective, other} < set(ranker_of(system).objectives)
    means = [predicted(system, f"{other} + {weight} * {objective}", objective) for weight in (0, 1, 10)]
    assert (means[1] >= means[0] - 1e-6).all()
    assert (means[2] >= means[1] - 1e-6).all()
    assert means[2].mean() > means[0].mean()


@pytest.fixture(scope="module")
def liking(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A release of a world with likes enough to learn them, without the towers."""
    dataset = World.make(120, 100, 9_000, seed=5).dataset()
    changes = {"quotas": {"two_tower": 0}, "exposures": {"least": 40}}
    home = tmp_path_factory.mktemp("liking")
    train(dataset, Config.model_validate(merged(tiny_config.model_dump(), changes)), home)
    system = open_system(home, clock="end")
    yield system
    system.close()


def test_raising_the_weight_of_likes_raises_predicted_likes(liking: System) -> None:
    means = [predicted(liking, f"relevance + {weight} * like", "like") for weight in (0, 1, 10, 1000)]
    for less, more in pairwise(means):
        assert (more >= less - 1e-6).all()
    assert means[-1].mean() > means[0].mean()


def test_probabilities_are_shown_beside_the_relevance(system: System) -> None:
    objectives = ranker_of(system).objectives
    slate = system.recommend(Request(system.store.users()[0], system.data_end, 10))
    assert slate.objectives.shape == (10, len(objectives))
    assert objectives[0] == "relevance"
    np.testing.assert_array_equal(slate.value.argsort(kind="stable"), slate.objectives[:, 0].argsort(kind="stable"))
    assert ((slate.objectives[:, 1:] > 0) & (slate.objectives[:, 1:] < 1)).all()


def test_hiding_what_is_shown_of_a_category_lowers_its_share_of_the_next_list(system: System) -> None:
    category = system.catalogue.category
    before, after = [], []
    for user_id in system.store.users()[:25]:
        slate = system.recommend(Request(user_id, system.data_end, 20))
        most = int(np.bincount(category[slate.rows] + 1).argmax()) - 1
        before.append((category[slate.rows] == most).mean())
        hidden = [row for row in slate.rows.tolist() if category[row] == most][:5]
        ids, at = system.catalogue.video_ids.tolist(), system.data_end
        system.feedback([Event(user_id, at, Kind.HIDE, video_id=ids[row]) for row in hidden])
        again = system.recommend(Request(user_id, system.data_end, 20))
        assert not set(again.rows.tolist()) & set(hidden)
        after.append((category[again.rows] == most).mean())
    assert np.mean(after) < np.mean(before)
