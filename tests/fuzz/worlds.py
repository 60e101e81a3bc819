"""Small random worlds: videos and people as plain facts, and the system that is built on them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.assembly import Config, Models
from nextreel.backends import open_key_value
from nextreel.backends.memory import MemoryEventLog
from nextreel.relevance import Relevance
from nextreel.store import LiveStore, MemoryStore
from nextreel.store.live import write_snapshot
from nextreel.store.memory import relevance_of
from nextreel.training.fit import fit_models
from nextreel.types import DAY, UNKNOWN, BoolArray, Catalogue, Events, Kind, Profile, TimeArray, UserId, VideoId

START = 1_760_000_000.0  # when the histories end, and the first request may come
CATEGORIES = ("news", "sport", "music", "film", "cooking", "science", "games")
LANGUAGES = ("de", "en", "es")
COUNTRIES = ("DE", "FR", "US", None)
AGES = (0, 6, 12, 16, 18, 21)


@dataclass(frozen=True)
class Videos:
    """What is true of n videos, told plainly: the referee reads this and never the catalogue."""

    ids: list[VideoId]
    row: dict[VideoId, int]
    category: dict[str, BoolArray]  # name -> (n,) who is of that category
    channel: dict[VideoId, BoolArray]
    language: dict[str, BoolArray]
    maturity: NDArray[np.int64]
    available: BoolArray
    published: TimeArray  # NaN where unknown
    duration: TimeArray  # seconds, NaN where unknown

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Person:
    """What is true of one person; the referee's own record, moved on by what they are seen to do."""

    profile: Profile
    seen: set[int] = field(default_factory=set)
    blocked: set[VideoId] = field(default_factory=set)  # channels


@dataclass(frozen=True)
class World:
    """Facts, and the parts of a system that knows them: one catalogue, fitted sources, two processes' stores."""

    videos: Videos
    people: dict[UserId, Person]
    catalogue: Catalogue
    models: Models
    log: MemoryEventLog
    stores: tuple[LiveStore, ...]  # of processes that follow one log and share what is live


@contextmanager
def world(rng: random.Random, folder: Path) -> Iterator[World]:
    """A world whose size and facts are drawn; its stores lie in the folder while it is open."""
    videos = _videos(rng, round(50 * 40 ** rng.random()))
    people = _people(rng, rng.randint(4, 40))
    catalogue = _catalogue(videos)
    events = _history(rng, videos, people)
    for user, row in zip(events.user.tolist(), events.video.tolist(), strict=True):
        people[events.user_ids[user]].seen.add(row)
    rules = Relevance()
    past = MemoryStore(catalogue, rules, {user_id: one.profile for user_id, one in people.items()})
    past.apply_many(events)
    write_snapshot(past, folder / "state")
    log, shared = MemoryEventLog(), open_key_value("memory://")
    stores = tuple(LiveStore(folder / "state", catalogue, rules, log, shared) for _ in range(2))
    try:
        yield World(videos, people, catalogue, _models(events, catalogue, rules, people), log, stores)
    finally:
        for store in stores:
            store.close()


def _videos(rng: random.Random, n: int) -> Videos:
    ids: list[VideoId] = rng.sample(range(10 * n), n) if rng.random() < 0.5 else [f"v{row}" for row in range(n)]
    channels = [f"c{code}" for code in range(rng.randint(1, 12))]
    few = rng.random()  # how many videos are withdrawn, and how many are for everyone
    of = [rng.sample(CATEGORIES, rng.randint(0, 3)) for _ in range(n)]
    channel, language = rng.choices([None, *channels], k=n), rng.choices([None, *LANGUAGES], k=n)
    return Videos(
        ids=ids,
        row={video_id: row for row, video_id in enumerate(ids)},
        category={name: np.array([name in one for one in of]) for name in CATEGORIES},
        channel={name: np.array([name == one for one in channel]) for name in channels},
        language={name: np.array([name == one for one in language]) for name in LANGUAGES},
        maturity=np.array([0 if rng.random() < few else rng.choice(AGES) for _ in range(n)]),
        available=np.array([rng.random() > 0.3 * few for _ in range(n)]),
        published=np.array([rng.choice((np.nan, START - rng.uniform(0, 90) * DAY)) for _ in range(n)]),
        duration=np.array([rng.choice((np.nan, rng.uniform(10, 5000))) for _ in range(n)]),
    )


def _people(rng: random.Random, n: int) -> dict[UserId, Person]:
    ids: list[UserId] = [number if rng.random() < 0.5 else str(number) for number in range(n)]
    ids += [7, "7"]  # two people
    return {
        user_id: Person(
            Profile(
                country=rng.choice(COUNTRIES),
                language=rng.choice((*LANGUAGES, None)),
                age=rng.choice((None, None, 5.0, 13.5, 40.0)),
                created_at=START - 100 * DAY,
            )
        )
        for user_id in ids
    }


def _catalogue(videos: Videos) -> Catalogue:
    n = len(videos)
    return Catalogue(
        video_ids=np.array(videos.ids, object if isinstance(videos.ids[0], str) else np.int64),
        titles=[f"Video {row}" for row in range(n)],
        category=_codes(videos.category),
        categories=np.array([videos.category[name] for name in CATEGORIES], np.float32).T,
        channel=_codes(videos.channel),
        language=_codes(videos.language),
        duration=videos.duration.astype(np.float32),
        published_at=videos.published.copy(),
        maturity=videos.maturity.astype(np.int8),
        available=videos.available.copy(),
        texts=[f"video {row}" for row in range(n)],
        category_names=CATEGORIES,
        channel_ids=tuple(videos.channel),
        language_names=LANGUAGES,
        row_of=dict(videos.row),
    )


def _codes(of: Mapping[Any, BoolArray]) -> NDArray[np.int32]:
    """(n,) number of the first name that is each video's, UNKNOWN where none is."""
    each = np.array(list(of.values()))
    return np.where(each.any(axis=0), each.argmax(axis=0), UNKNOWN).astype(np.int32)


def _history(rng: random.Random, videos: Videos, people: dict[UserId, Person]) -> Events:
    """Watches of some people, oldest first; a few have watched nearly all there is."""
    n, user, row = len(videos), [], []
    for code in range(len(people)):
        many = rng.choice((0, 1, 5, 20, n // 2, n - 5 if rng.random() < 0.3 else 30))
        rows = rng.sample(range(n), min(many, n)) or ([0] if code == 0 else [])
        user += [code] * len(rows)
        row += rows
    at = np.sort(np.array([START - rng.uniform(0, 80) * DAY for _ in row]))
    order = np.array(rng.sample(range(len(row)), len(row)))
    ids = np.empty(len(people), object)
    ids[:] = list(people)
    return Events(
        user_ids=ids,
        user=np.array(user, np.int32)[order],
        video=np.array(row, np.int32)[order],
        at=at,
        kind=np.full(len(row), Kind.WATCH, np.int8),
        value=np.full(len(row), np.nan, np.float32),
        watch_seconds=np.full(len(row), np.nan, np.float32),
    )


def _models(events: Events, catalogue: Catalogue, rules: Relevance, people: dict[UserId, Person]) -> Models:
    """Every source that is fitted but the towers, which take longer than a world lasts."""
    fitted: dict[str, Any] = {
        "quotas": {"two_tower": 0, "als": 1, "ease": 1, "item_item": 1, "transitions": 1},
        "als": {"factors": 6, "iterations": 2, "threads": 1},
    }
    graded = relevance_of(events, catalogue, rules)
    profiles = [one.profile for one in people.values()]
    return fit_models(events, graded, catalogue, Config.model_validate(fitted), profiles)
