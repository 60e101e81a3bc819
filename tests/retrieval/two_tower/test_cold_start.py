"""Cold start: new videos from their content alone, new people from nothing, and lists that follow what is watched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextreel.assembly import Config, Models, Quotas, build
from nextreel.data import Dataset, World
from nextreel.opening import open_system
from nextreel.pipeline import Recommender
from nextreel.retrieval.als import AlsParams
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.store import MemoryStore
from nextreel.store.memory import relevance_of
from nextreel.system import System
from nextreel.training.fit import fit_models
from nextreel.types import DAY, Catalogue, Event, Events, Kind, Request, RowArray, UserId
from nextreel.uploads import taken

K = 10
PARAMS = TwoTowerParams(
    dim=32,
    hidden=(64, 64),
    text_dim=128,
    length=12,
    epochs=6,
    batch=128,
    negatives=128,
    id_dropout=0.5,
    validation_users=0,
    half="off",
    threads=1,
)


QUOTAS = Quotas(
    two_tower=30, als=20, ease=20, item_item=20, transitions=20, popular_all=0, popular_7d=20, popular_1d=0, trending=10
)


@dataclass(frozen=True)
class Cut:
    """A world before and after a day: models that know nothing later, and the new videos that people like then."""

    models: Models
    recommender: Recommender  # of the old videos, without a ranker
    store: MemoryStore  # just before the cut
    catalogue: Catalogue  # of all videos, the old ones first
    truth: dict[UserId, RowArray]
    at: float


@pytest.fixture(scope="module")
def cut() -> Cut:
    """800 videos, of which 121 are published after the models were fitted."""
    data: Dataset = World.make(400, 800, 80_000, seed=5).dataset()
    config = Config(two_tower=PARAMS, als=AlsParams(factors=8, iterations=3, threads=1), quotas=QUOTAS)
    at = float(data.events.at[-1]) - 20 * DAY
    late = data.catalogue.published_at >= at
    order = np.argsort(late, kind="stable").astype(np.int32)
    place = np.argsort(order).astype(np.int32)
    catalogue, before = taken(data.catalogue, order), int(np.searchsorted(data.events.at, at))
    old = taken(catalogue, np.arange(int((~late).sum()), dtype=np.int32))
    events = replace(data.events, video=np.where(data.events.video < 0, -1, place[data.events.video]).astype(np.int32))
    graded = relevance_of(events, catalogue, config.relevance)
    known = events.take(slice(before))
    assert known.video.max() < len(old)
    models = fit_models(known, graded[:before], old, config, data.profiles)
    store = MemoryStore(old, config.relevance)
    store.apply_many(known)
    liked = np.flatnonzero((np.arange(len(events)) >= before) & (graded > 0) & (events.video >= len(old)))
    truth = {
        events.user_ids[user]: np.unique(events.video[liked[events.user[liked] == user]])
        for user in np.unique(events.user[liked]).tolist()
        if len(store.user(events.user_ids[user]).history)
    }
    return Cut(models, build(config, old, store, models, None, timed=True), store, catalogue, truth, at)


def test_new_videos_reach_the_people_who_watch_them_by_their_content_alone(cut: Cut) -> None:
    """Recall@10 of the new videos that people like in the 20 days after the fit, among all that are new."""
    assert cut.models.two_tower is not None
    towers = cut.models.two_tower.extended(cut.catalogue)
    new = np.arange(len(cut.recommender.catalogue), len(cut.catalogue), dtype=np.int32)
    own: list[float] = []
    others: list[float] = []
    people = list(cut.truth)
    for number, (user_id, truth) in enumerate(cut.truth.items()):
        for found, asked in ((own, user_id), (others, people[number - 1])):
            scores = towers.score(Request(asked, cut.at), cut.store.user(asked), new)
            found.append(float(np.isin(truth, new[np.argsort(-scores)[:K]]).mean()))
    chance = K / len(new)
    assert (len(new), len(own)) == (121, 326)
    assert np.mean(own) > 5 * chance
    assert np.mean(others) < 3 * chance  # what suits one person is not what suits all


@pytest.mark.parametrize(("source", "gain"), [("all", 0.2), ("two_tower", 0.5)])
def test_watching_five_videos_of_a_category_raises_its_share_among_the_candidates(
    source: str, gain: float, cut: Cut
) -> None:
    recommender = cut.recommender if source == "all" else cut.recommender.alone(source)
    catalogue, gains = cut.recommender.catalogue, []
    for category in np.unique(catalogue.category).tolist():
        name = f"fan of {category}"
        rows = np.flatnonzero((catalogue.category == category) & catalogue.available)[:5].astype(np.int32)
        shares = []
        for watched in (rows[:0], rows):
            cut.store.apply_many(seen(name, watched, cut.at))
            chosen = recommender.gather(Request(name, cut.at + 600.0, 10)).rows
            shares.append((catalogue.category[chosen] == category).mean())
        gains.append(shares[1] - shares[0])
        cut.store.states.pop(name)
    assert np.mean(gains) > gain
    assert np.mean(np.array(gains) > 0) >= 0.8


def seen(user_id: UserId, rows: RowArray, at: float) -> Events:
    """The person watches the videos to their end, a minute apart."""
    n = len(rows)
    missing, times = np.full(n, np.nan, np.float32), at + 60.0 * np.arange(n, dtype=np.float64)
    kinds = np.full(n, int(Kind.COMPLETE), np.int8)
    return Events(np.array([user_id], object), np.zeros(n, np.int32), rows, times, kinds, missing, missing)


@pytest.fixture
def system(home: Path) -> Iterator[System]:
    system = open_system(home, clock="end")
    yield system
    system.close()


def share(system: System, video_ids: list[Any], category: int) -> float:
    """The part of the videos whose main category it is."""
    return float((system.catalogue.category[system.catalogue.rows(video_ids)] == category).mean())


def watch(system: System, user_id: UserId, category: int, many: int, at: float) -> None:
    """The person watches some videos of the category to their end, a minute apart, and likes them."""
    rows = np.flatnonzero((system.catalogue.category == category) & system.catalogue.available)[:many]
    for number, row in enumerate(rows.tolist()):
        video_id = system.catalogue.video_ids[row]
        begun = at + 60.0 * number
        system.feedback(
            [Event(user_id, begun + step, kind, video_id) for step, kind in ((0.0, Kind.COMPLETE), (1.0, Kind.LIKE))]
        )


def large_categories(system: System) -> list[int]:
    """Main categories with so many videos that five watched ones leave something to recommend."""
    counts = np.bincount(system.catalogue.category[system.catalogue.category >= 0])
    largest: list[int] = np.argsort(-counts, kind="stable")[:4].tolist()
    return largest


def test_a_person_nobody_knows_is_given_several_categories(system: System) -> None:
    for user_id in (None, "somebody new"):
        slate = system.recommend(Request(user_id, system.data_end, 10))
        assert slate.level == "full"
        assert len(set(slate.video_ids)) == 10
        categories = system.catalogue.category[slate.rows]
        print("CATS", categories)
        assert len(np.unique(categories)) >= 4
        assert np.unique(categories, return_counts=True)[1].max() <= 5


def test_after_three_events_of_one_category_a_new_persons_list_turns_to_it(system: System) -> None:
    gains, changed = [], []
    for category in large_categories(system):
        at, user_id = system.data_end, f"newcomer {category}"
        before = system.recommend(Request(user_id, at, 10)).video_ids
        watch(system, user_id, category, 3, at)
        after = system.recommend(Request(user_id, system.data_end, 10)).video_ids
        gains.append(share(system, after, category) - share(system, before, category))
        changed.append(after != before)
    assert all(changed)
    print("GAINS", gains)
    assert np.mean(gains) > 0
