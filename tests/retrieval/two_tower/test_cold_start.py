"""Cold start: new videos from their content alone, new people from nothing, and lists that follow what is watched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextreel.data import Dataset, World
from nextreel.relevance import Relevance
from nextreel.retrieval.two_tower import fitting
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTower
from nextreel.store import MemoryStore
from nextreel.store.memory import relevance_of
from nextreel.system import System, open_system
from nextreel.types import DAY, Catalogue, Event, Kind, Request, RowArray, UserId

K = 20
PARAMS = TwoTowerParams(
    dim=32,
    hidden=(64, 64),
    text_dim=32,
    length=20,
    epochs=8,
    batch=256,
    negatives=128,
    learning_rate=4e-3,
    id_dropout=0.5,
    validation_users=0,
    half="off",
    threads=1,
)


@dataclass(frozen=True)
class Cut:
    """A world before and after a day: towers that know nothing later, and what people liked of the new videos then."""

    towers: TwoTower  # over all videos, of which they saw the old ones alone
    catalogue: Catalogue  # of all videos, the old ones first
    old: int
    store: MemoryStore
    truth: dict[UserId, RowArray]
    at: float


def part(catalogue: Catalogue, rows: RowArray) -> Catalogue:
    """The catalogue of the rows alone."""
    arrays = ("category", "categories", "channel", "language", "duration", "published_at", "maturity", "available")
    columns: dict[str, Any] = {name: getattr(catalogue, name)[rows] for name in ("video_ids", *arrays)}
    for name in ("titles", "texts", "tags"):
        columns[name] = [getattr(catalogue, name)[row] for row in rows.tolist()]
    row_of = {video_id: row for row, video_id in enumerate(columns["video_ids"].tolist())}
    return replace(catalogue, **columns, row_of=row_of)


@pytest.fixture(scope="module")
def cut() -> Cut:
    """600 videos of which some 120 are published after the towers were fitted."""
    data: Dataset = World.make(400, 600, 40_000, seed=5).dataset()
    at = float(data.events.at[-1]) - 30 * DAY
    late = data.catalogue.published_at >= at
    order = np.argsort(late, kind="stable").astype(np.int32)
    place = np.argsort(order).astype(np.int32)
    catalogue, old = part(data.catalogue, order), int((~late).sum())
    events = replace(data.events, video=np.where(data.events.video < 0, -1, place[data.events.video]).astype(np.int32))
    graded = relevance_of(events, catalogue, Relevance())
    before = int(np.searchsorted(events.at, at))
    known = events.take(slice(before))
    assert known.video.max() < old
    towers = fitting.fit(known, graded[:before], part(catalogue, np.arange(old, dtype=np.int32)), PARAMS)
    store = MemoryStore(catalogue, Relevance())
    store.apply_many(known)
    liked = np.flatnonzero((np.arange(len(events)) >= before) & (graded > 0) & (events.video >= old))
    truth = {
        events.user_ids[user]: np.unique(events.video[liked[events.user[liked] == user]])
        for user in np.unique(events.user[liked]).tolist()
        if len(store.user(events.user_ids[user]).history)
    }
    return Cut(towers.extended(catalogue), catalogue, old, store, truth, at)


def test_new_videos_reach_the_people_who_watch_them_by_their_content_alone(cut: Cut) -> None:
    """Recall@20 of the new videos that people like in the month after the fit, among all that are new."""
    new = np.arange(cut.old, len(cut.catalogue), dtype=np.int32)
    recalls = []
    for user_id, truth in cut.truth.items():
        scores = cut.towers.score(Request(user_id, cut.at), cut.store.user(user_id), new)
        recalls.append(np.isin(truth, new[np.argsort(-scores)[:K]]).mean())
    assert len(new) > 80
    assert len(recalls) > 100
    assert np.mean(recalls) > 2 * K / len(new)


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
    return np.argsort(-counts, kind="stable")[:4].tolist()


@pytest.mark.parametrize("source", ["two_tower", None])
def test_watching_five_videos_of_a_category_raises_its_share_among_the_candidates(
    system: System, source: str | None
) -> None:
    """On average over the large categories; what was watched itself is no candidate."""
    recommender = system.recommender if source is None else system.recommender.alone(source)
    gains = []
    for category in large_categories(system):
        at, user_id = system.data_end, f"fan of {category}"

        def candidates(at: float, user_id: str = user_id) -> list[Any]:
            rows = recommender.gather(Request(user_id, at, 20)).rows
            if source is not None:  # alone it proposes more than it would among others: the best of them
                return recommender.recommend(Request(user_id, at, 20)).video_ids
            return system.catalogue.video_ids[rows].tolist()

        before = share(system, candidates(at), category)
        watch(system, user_id, category, 5, at)
        gains.append(share(system, candidates(system.data_end), category) - before)
    print("GAINS", gains); assert np.mean(gains) > 0


def test_a_person_nobody_knows_is_given_several_categories(system: System) -> None:
    for user_id in (None, "somebody new"):
        slate = system.recommend(Request(user_id, system.data_end, 10))
        assert slate.level == "full"
        assert len(set(slate.video_ids)) == 10
        categories = system.catalogue.category[slate.rows]; print("CATS", categories)
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
    print("GAINS", gains); assert np.mean(gains) > 0
