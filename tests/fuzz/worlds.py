"""Small random worlds: videos and people as plain facts, and the system that is built on them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.fuzz.records import Person, Right, Videos, hear

from nextreel.assembly import Config, Models
from nextreel.backends import open_key_value
from nextreel.backends.memory import MemoryEventLog
from nextreel.listed import Rights
from nextreel.relevance import Relevance
from nextreel.store import LiveStore, MemoryStore, write_snapshot
from nextreel.store.memory import relevance_of
from nextreel.training.fit import fit_models
from nextreel.types import (
    DAY,
    UNKNOWN,
    BoolArray,
    Catalogue,
    Event,
    Events,
    KeyValue,
    Kind,
    Profile,
    TimeArray,
    UserId,
    VideoId,
)

START = 1_760_000_000.0  # when the histories end, and the first request may come
CATEGORIES = ("news", "sport", "music", "film", "cooking", "science", "games")
LANGUAGES = ("de", "en", "es")
COUNTRIES = ("DE", "FR", "US", None)
AGES = (0, 6, 12, 16, 18, 21)


@dataclass(frozen=True)
class World:
    """Facts, and the parts of a system that knows them: one catalogue, fitted sources, two processes' stores."""

    videos: Videos
    people: dict[UserId, Person]
    catalogue: Catalogue
    models: Models
    log: MemoryEventLog
    shared: KeyValue  # what is live: states and pages
    stores: tuple[LiveStore, ...]  # of processes that follow one log
    first_liked: TimeArray  # (videos,) when somebody first liked it, infinite where nobody did; the referee's record


@contextmanager
def world(rng: random.Random, folder: Path) -> Iterator[World]:
    """A world whose size and facts are drawn; its stores lie in the folder while it is open."""
    videos = _videos(rng, round(50 * 40 ** rng.random()))
    people = _people(rng, rng.randint(4, 40))
    catalogue = _catalogue(videos)
    told = _history(rng, videos, people)
    events = _columns(told, videos, people)
    first_liked = np.full(len(videos), np.inf)
    for one in told:
        hear(people[one.user_id], one, videos, first_liked)
    rules = Relevance()
    past = MemoryStore(catalogue, rules, {user_id: one.profile for user_id, one in people.items()})
    past.apply_many(events)
    write_snapshot(past, folder / "state")
    log, shared = MemoryEventLog(), open_key_value("memory://")
    stores = tuple(LiveStore(folder / "state", catalogue, rules, log, shared) for _ in range(2))
    try:
        models = _models(events, catalogue, rules, people)
        yield World(videos, people, catalogue, models, log, shared, stores, first_liked)
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
        published=np.array([rng.choice((np.nan, START - rng.uniform(-5, 90) * DAY)) for _ in range(n)]),
        duration=np.array([rng.choice((np.nan, rng.uniform(10, 5000))) for _ in range(n)]),
        rights={row: _rights(rng) for row in range(n) if rng.random() < 0.3 * few},
        series=_series(rng, n) if rng.random() < 0.7 else {},
    )


def _rights(rng: random.Random) -> list[Right]:
    """One or two regions where, or everywhere, and windows in which a video may be shown."""

    def bound() -> float:
        return START + rng.uniform(-30, 30) * DAY if rng.random() < 0.3 else float("nan")

    return [(rng.choice(COUNTRIES), bound(), bound()) for _ in range(rng.randint(1, 2))]


def _series(rng: random.Random, n: int) -> dict[str, dict[int, int]]:
    """Some series, whose episodes have gaps in their numbers, and now and then one number twice."""
    rows = rng.sample(range(n), rng.randint(2, n // 2))
    found: dict[str, dict[int, int]] = {}
    while rows:
        episodes, rows = rows[:12], rows[12:]
        found[f"s{len(found)}"] = {row: rng.randint(0, 15) for row in episodes}
    return found


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
    episode = np.full(n, UNKNOWN, np.int32)
    for rows in videos.series.values():
        episode[list(rows)] = list(rows.values())
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
        series=_codes(of_series) if (of_series := _members(videos)) else np.full(n, UNKNOWN, np.int32),
        episode=episode,
        series_ids=tuple(videos.series),
        rights=_listed(videos) if videos.rights else None,
    )


def _members(videos: Videos) -> dict[str, BoolArray]:
    """For each series, which videos are of it."""
    found = {name: np.zeros(len(videos), np.bool_) for name in videos.series}
    for name, rows in videos.series.items():
        found[name][list(rows)] = True
    return found


def _listed(videos: Videos) -> Rights:
    flat = [(row, *one) for row, of_video in videos.rights.items() for one in of_video]
    rows, regions, since, until = zip(*flat, strict=True)
    return Rights.of(np.array(rows), regions, np.array(since, np.float64), np.array(until, np.float64), len(videos))


def _codes(of: Mapping[Any, BoolArray]) -> NDArray[np.int32]:
    """(n,) number of the first name that is each video's, UNKNOWN where none is."""
    each = np.array(list(of.values()))
    return np.where(each.any(axis=0), each.argmax(axis=0), UNKNOWN).astype(np.int32)


def _history(rng: random.Random, videos: Videos, people: dict[UserId, Person]) -> list[Event]:
    """Watches of some people, oldest first; a few have watched nearly all there is."""
    n = len(videos)
    events = []
    for number, user_id in enumerate(people):
        many = rng.choice((0, 1, 5, 20, n // 2, n - 5 if rng.random() < 0.3 else 30))
        rows = rng.sample(range(n), min(many, n)) or ([0] if number == 0 else [])
        events += [Event(user_id, START - rng.uniform(0, 80) * DAY, Kind.WATCH, videos.ids[row]) for row in rows]
    return sorted(events, key=lambda one: one.at)


def _columns(events: list[Event], videos: Videos, people: dict[UserId, Person]) -> Events:
    """The watches as columns."""
    ids = np.empty(len(people), object)
    ids[:] = list(people)
    code_of = {user_id: code for code, user_id in enumerate(people)}
    return Events(
        user_ids=ids,
        user=np.array([code_of[one.user_id] for one in events], np.int32),
        video=np.array([-1 if one.video_id is None else videos.row[one.video_id] for one in events], np.int32),
        at=np.array([one.at for one in events], np.float64),
        kind=np.full(len(events), Kind.WATCH, np.int8),
        value=np.full(len(events), np.nan, np.float32),
        watch_seconds=np.full(len(events), np.nan, np.float32),
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
