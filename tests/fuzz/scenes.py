"""What happens in a world: a recommender of random settings whose parts may fail, requests, and events."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from tests.fuzz.worlds import CATEGORIES, COUNTRIES, LANGUAGES, START, World

from nextreel import features
from nextreel.assembly import Config, Quotas, build
from nextreel.pipeline import Recommender
from nextreel.ranking.ranker import OBJECTIVES
from nextreel.types import (
    DAY,
    RECORDS,
    Event,
    FloatArray,
    Kind,
    Matrix,
    Request,
    Retriever,
    RowArray,
    UserId,
    UserState,
    VideoId,
)

FAULTS = ("retrieve", "score", "range")  # of a source: what it cannot do, or a row that the catalogue does not have
DEEDS = tuple(kind for kind in Kind if kind not in RECORDS)
SURFACES, DEVICES = ("home", "search", None), ("phone", "tv", None)


class OnPurpose(Exception):
    """What a part that fails raises."""


@dataclass(frozen=True)
class Flaky:
    """A source that fails for some requests, always the same, or is careless: proposes anything, all of it twice."""

    of: Retriever
    videos: int
    fault: str
    one_in: int = 1

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.of.name

    def fails(self, request: Request) -> bool:
        """Whether it fails for this request."""
        return self.fault in FAULTS and crc32(f"{self.name} {request.request_id}".encode()) % self.one_in == 0

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """What the source proposes, spoilt."""
        if self.fault == "careless":
            rows = np.random.default_rng(n).integers(0, self.videos, n).astype(np.int32)
            return np.tile(rows, 2), np.zeros(2 * n, np.float32)
        if self.fails(request) and self.fault == "retrieve":
            raise OnPurpose(self.name)
        rows, scores = self.of.retrieve(request, user, n)
        if self.fails(request) and self.fault == "range":
            return np.append(rows, np.int32(self.videos)), np.append(scores, np.float32(0))
        return rows, scores

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The source's scores, where it can."""
        if self.fails(request) and self.fault == "score":
            raise OnPurpose(self.name)
        return self.of.score(request, user, rows)


@dataclass(frozen=True)
class Linear:
    """A ranker that adds what it reads, or that fails."""

    objectives: tuple[str, ...]
    weights: FloatArray  # (columns, objectives)
    fault: str = ""  # "raises", "nan", "inf" or "short"

    def score(self, matrix: Matrix) -> FloatArray:
        """(n, objectives)."""
        if self.fault == "raises":
            raise OnPurpose("ranker")
        scores = np.asarray(np.nan_to_num(matrix.values) @ self.weights, np.float32)
        if self.fault in ("nan", "inf"):
            scores[-1] = np.float32(self.fault)
        return scores[:-1] if self.fault == "short" else scores


@dataclass
class Scene:
    """A recommender, the settings it was made of, and what may be expected of it."""

    recommender: Recommender
    process: int  # whose store it reads
    timed: bool  # whether the data are said to have time stamps
    config: Config
    ranker_fault: str


def scene(rng: random.Random, world: World) -> Scene:
    """A recommender of random settings in one of the world's processes."""
    config = Config.model_validate(_settings(rng, world))
    process, timed = rng.randrange(len(world.stores)), rng.random() < 0.9
    store = world.stores[process]
    plain = build(config, world.catalogue, store, world.models, None, timed=timed)
    recommender, ranker_fault = plain, ""
    if rng.random() < 0.75:
        ranker_fault = rng.choice(("raises", "nan", "inf", "short")) if rng.random() < 0.2 else ""
        columns = rng.sample([one.__name__ for one in features.choose(timed)], rng.randint(0, 12))
        width = 2 * len(plain.sources) + len(columns)
        weights = np.array([rng.gauss(0, 10 ** rng.uniform(-3, 3)) for _ in range(width * len(OBJECTIVES))], np.float32)
        ranker = Linear(OBJECTIVES, weights.reshape(width, len(OBJECTIVES)), ranker_fault)
        recommender = build(
            config, world.catalogue, store, world.models, ranker, timed=timed, columns=columns, release="r"
        )
    return Scene(_spoilt(rng, recommender), process, timed, config, ranker_fault)


def _spoilt(rng: random.Random, recommender: Recommender) -> Recommender:
    """The recommender with some of its sources, or all of them, failing."""
    drawn, videos = rng.random(), len(recommender.catalogue)
    if drawn < 0.6:
        return recommender
    faults = [rng.choice((*FAULTS, "careless", "")) for _ in recommender.sources]
    if drawn > 0.95:
        faults = [rng.choice(("retrieve", "range")) for _ in recommender.sources]
    one_in = 1 if drawn > 0.95 else rng.randint(1, 3)
    spoilt = [
        replace(one, retriever=Flaky(one.retriever, videos, fault, one_in))
        for one, fault in zip(recommender.sources, faults, strict=True)
    ]
    return replace(recommender, sources=spoilt)


def _settings(rng: random.Random, world: World) -> dict[str, Any]:
    quotas = {name: rng.choice((0, 0, 1, 5, 20, 60)) for name in Quotas.model_fields} | {"popular_all": 1}
    places = tuple(rng.sample(range(12), rng.randint(1, 4)))
    slots = rng.choice((0, 0, 1, 3))
    drawn = tuple(rng.sample(range(15), slots)) if rng.random() < 0.5 else ()
    promoted = rng.sample(world.videos.ids, rng.randint(1, 6)) if rng.random() < 0.3 else []
    share = rng.choice((0.0, 0.1, 0.5, 1.0))
    return {
        "quotas": quotas,
        "weights": {name: rng.choice((0.0, 1.0, 2.5)) for name in quotas} | {"popular_all": 1.0},
        "per_place": rng.choice((0.0, 3.0, 12.0)),
        "ranked": rng.choice((1, 10, 50, 400)),
        "ranker": {
            "value": rng.choice(
                ("relevance", "relevance + 2 * like", "-click", "1e9 * relevance / (1 + abs(relevance))")
            )
        },
        "filters": {"tired_impressions": rng.choice((0, 1, 2, 5)), "tired_days": rng.choice((0.01, 7.0))},
        "order": {
            "resume": {
                "places": rng.choice((0, 1, 2, 5)),
                "least": rng.choice((0.0, 0.05)),
                "days": rng.choice((0.1, 30)),
            },
            "diversity": rng.choice((0.0, 0.0, 0.3, 1.0)),
            "diversifier": rng.choice(("mmr", "dpp")),
            "depth": rng.randint(1, 4),
            "freshness": rng.choice((0.0, 0.0, 1.0)),
            "caps": {
                "per_channel": rng.choice((None, None, 1, 2)),
                "per_category": rng.choice((None, None, 1, 3)),
                "window": rng.choice((None, 5)),
            },
            "explore": {
                "slots": slots,
                "places": drawn,
                "temperature": rng.choice((0.01, 1.0, 100.0)),
                "novelty": rng.choice((0.0, 1.0)),
            },
            "promote": {
                "videos": promoted,
                "places": () if share else places,
                "share": share,
                "most": rng.choice((None, 1, 3)),
            },
        },
    }


def request(rng: random.Random, world: World, now: float, number: int) -> Request:
    """One request of somebody in the world, or of nobody it knows."""
    user_id: UserId | None = rng.choice(list(world.people))
    if rng.random() < 0.15:
        user_id = rng.choice((None, f"nobody {number}"))
    asked: dict[str, Any] = {}
    if rng.random() < 0.3:
        some: Sequence[VideoId] = rng.sample(world.videos.ids, rng.randint(1, min(len(world.videos), 60)))
        asked["exclude"] = (*some, "no such video", 10**9)
    if rng.random() < 0.02:
        asked["exclude"] = tuple(world.videos.ids[rng.randint(0, 4) :])  # all but a few
    if rng.random() < 0.2:
        asked["categories"] = tuple(rng.sample((*CATEGORIES, "opera"), rng.randint(1, 3)))
    if rng.random() < 0.2:
        asked["languages"] = tuple(rng.sample((*LANGUAGES, "fr"), rng.randint(1, 2)))
    if rng.random() < 0.1:
        asked["max_age_days"] = rng.choice((0.0, 1.0, 30.0, 365.0))
    return Request(
        user_id,
        now if rng.random() < 0.95 else now + rng.uniform(-60, 60) * DAY,
        rng.choice((1, 2, 5, 10, 10, 10, 20, rng.randint(1, 100))),
        request_id=f"request {number}",
        session_id=rng.choice((None, f"session {number % 7}")),
        device=rng.choice(DEVICES),
        country=rng.choice(COUNTRIES),
        max_maturity=rng.choice((None, None, None, 0, 6, 12, 16, 18, 99)),
        seed=rng.randrange(3),
        anytime=rng.random() < 0.1,
        surface=rng.choice(SURFACES),
        explain=rng.random() < 0.05,
        **asked,
    )


def event(rng: random.Random, world: World, at: float, number: int) -> Event:
    """Something that somebody in the world, or a newcomer, does."""
    videos = world.videos
    user_id = rng.choice(list(world.people)) if rng.random() < 0.97 else f"newcomer {number}"
    kind = rng.choice((*DEEDS, Kind.WATCH, Kind.WATCH, Kind.COMPLETE))
    if kind in (Kind.SUBSCRIBE, Kind.BLOCK):
        if kind == Kind.BLOCK and rng.random() < 0.7:  # else soon nothing is left to show
            kind = Kind.SUBSCRIBE
        return Event(user_id, at, kind, channel_id=rng.choice([*videos.channel, "no such channel"]))
    row = rng.randrange(len(videos))
    if videos.series and rng.random() < 0.3:
        row = rng.choice(list(rng.choice(list(videos.series.values()))))
    length = float(videos.duration[row])
    return Event(
        user_id,
        at,
        kind,
        videos.ids[row] if rng.random() < 0.97 else "no such video",
        watch_seconds=None if rng.random() < 0.3 else rng.uniform(0, 1.2) * (300 if np.isnan(length) else length),
        value=rng.choice((None, rng.uniform(0, 5))),
        surface=rng.choice(SURFACES),
    )


def first_moment(rng: random.Random) -> float:
    """When a world's first request comes."""
    return START + rng.uniform(1.0, DAY)
