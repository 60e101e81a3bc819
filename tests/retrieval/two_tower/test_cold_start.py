"""Cold start: new videos from their content alone, new people from nothing, and lists that follow what is watched."""

from __future__ import annotations

import shutil
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
    towers = fitting.fit(known, graded[:before], part(catalogue, order[:old] * 0 + np.arange(old)), PARAMS)
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
    print(len(new), len(recalls), np.mean(recalls), np.mean(recalls) * len(new) / K, cut.towers.metrics); assert 0
    assert len(new) > 80
    assert len(recalls) > 100
    assert np.mean(recalls) > 2 * K / len(new)
