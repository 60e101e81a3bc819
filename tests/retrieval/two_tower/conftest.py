"""A small world whose right answers are known, and towers fitted on it once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from nextreel.history import History
from nextreel.retrieval.two_tower import fitting
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTower
from nextreel.store import Counters
from nextreel.types import UNKNOWN, Catalogue, Events, FloatArray, Kind, Profile, Request, UserState

VIDEOS = 40
USERS = 120
DAY = 86_400.0
NOW = 100 * DAY
PARAMS = TwoTowerParams(
    dim=16,
    blocks=2,
    length=12,
    hidden=(32, 32),
    text_dim=8,
    epochs=24,
    warm_epochs=1,
    warm_learning_rate=2e-4,
    batch=256,
    negatives=128,
    dropout=0.0,
    temperature=0.1,
    min_count=1,
    id_dropout=0.2,
    validation_users=20,
    validate_every=10,
    horizon=1,  # each event foretells the very next
    return_weight=1.0,
    half="off",
    threads=1,
)


def catalogue(n: int = VIDEOS) -> Catalogue:
    """Even videos are about sport and odd ones about music; beyond the text, nothing tells videos apart."""
    sport = np.arange(n) % 2 == 0
    texts = [f"sport match {i}" if even else f"music song {i}" for i, even in enumerate(sport)]
    return Catalogue(
        video_ids=np.arange(n),
        titles=texts,
        category=np.where(sport, 0, 1).astype(np.int32),
        categories=np.stack([sport, ~sport], 1).astype(np.float32),
        channel=np.full(n, UNKNOWN, np.int32),
        language=np.zeros(n, np.int32),
        duration=np.full(n, np.nan, np.float32),
        published_at=np.full(n, np.nan),
        maturity=np.zeros(n, np.int8),
        available=np.ones(n, bool),
        texts=texts,
        category_names=("sport", "music"),
        channel_ids=(),
        language_names=("en",),
        row_of={i: i for i in range(n)},
    )


def parity_world() -> tuple[Events, FloatArray]:
    """Even people watch even videos and odd people odd ones, in steps: after row r comes row r + 2."""
    length = 12
    user = np.repeat(np.arange(USERS), length)
    begin = np.random.default_rng(0).integers(0, VIDEOS // 2, USERS) * 2 + np.arange(USERS) % 2
    video = (begin[:, None] + 2 * np.arange(length)) % VIDEOS
    at = NOW - DAY * (length - np.tile(np.arange(length, dtype=np.float64), USERS))
    order = np.argsort(at, kind="stable")
    n = len(user)
    missing = np.full(n, np.nan, np.float32)
    events = Events(
        np.arange(USERS),
        user.astype(np.int32),
        video.ravel().astype(np.int32),
        at,
        np.full(n, int(Kind.WATCH), np.int8),
        missing,
        missing,
    )
    return events.take(order), np.ones(n, np.float32)


@dataclass(frozen=True)
class World:
    """Even people watch even videos, one after another, up to `now`; the next is two further on."""

    events: Events
    weights: FloatArray
    params: TwoTowerParams
    videos: int = VIDEOS
    now: float = NOW

    @property
    def request(self) -> Request:
        """Somebody known asks now."""
        return Request(user_id=7, at=self.now)

    def catalogue(self, n: int = VIDEOS) -> Catalogue:
        """The first n videos."""
        return catalogue(n)

    def person(
        self, rows: list[int], weights: list[float] | None = None, user_id: int | None = 7, now: float = NOW
    ) -> UserState:
        """Somebody who watched the rows, one a day; the last a day ago."""
        history = History()
        for i, row in enumerate(rows):
            history.append(row, now - DAY * (len(rows) - i), int(Kind.WATCH), 1.0 if weights is None else weights[i])
        return UserState(user_id, history=history, version=len(rows), known=bool(rows))

    def played(self, now: float = NOW) -> Counters:
        """Counters after everything, and after a hundred plays of video 5 within the last hour."""
        counters = Counters(VIDEOS)
        counters.add(self.events, self.weights)
        many = np.arange(100)
        just = replace(self.events.take(many), video=np.full(100, 5, np.int32), at=np.full(100, now - 60.0))
        counters.add(just, self.weights[many])
        return counters


@pytest.fixture(scope="session")
def world() -> World:
    """The world."""
    events, weights = parity_world()
    return World(events, weights, PARAMS)


@pytest.fixture(scope="session")
def model(world: World) -> TwoTower:
    """Towers that aim at the very next video, and know where people are from."""
    profiles = [Profile(country="NO" if u % 2 else "SE", gender="f", age=30.0, language="en") for u in range(USERS)]
    return fitting.fit(world.events, world.weights, catalogue(), PARAMS, profiles=profiles)


@pytest.fixture(scope="session")
def further(world: World) -> TwoTower:
    """Towers that aim at any of the next six videos, not at the very next: each person comes back after a day."""
    return fitting.fit(world.events, world.weights, catalogue(), PARAMS.model_copy(update={"horizon": 6}))
