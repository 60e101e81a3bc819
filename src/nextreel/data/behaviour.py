"""What the people of the synthetic world do: sessions, what they are shown, what they click, watch and like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.data.tastes import INTERESTS, Tastes, probability
from nextreel.data.wordbank import DEVICE_SHARES, DEVICES
from nextreel.types import DAY, BoolArray, FloatArray, Kind, NextreelError, TimeArray

_SHOWN = 10  # videos of one session's list at most
_STAY = 0.55  # how often the next session keeps the interest of the last
_BUCKETS = 60  # stretches of time within which popularity stands still


@dataclass(frozen=True, slots=True)
class Behaviour:
    """All that decides what people do: tastes of U users and V videos, and when they are there."""

    tastes: Tastes
    interest_child: NDArray[np.intp]  # (U, INTERESTS) child category of each interest
    joined: TimeArray  # (U,)
    child: NDArray[np.intp]  # (V,)
    main: NDArray[np.intp]  # (V,)
    published: TimeArray  # (V,)
    duration: TimeArray  # (V,) seconds
    start: float
    end: float


def interact(rng: np.random.Generator, world: Behaviour, n: int) -> pl.DataFrame:
    """Exactly n interactions, oldest first, as the schema names their columns.

    Raises `NextreelError` where the people have seen nearly every video before n interactions are reached.
    """
    activity = np.exp(1.0 * rng.normal(size=len(world.joined)))  # few do much, many little
    popularity = _Popularity(rng, world)
    sessions = max(8, round(n / 9))
    before = 0
    while True:
        rows = _rows(rng, world, activity, popularity, sessions)
        found = len(rows["at"])
        if found >= n:
            return _table(rng, _exactly(rng, rows, n))
        if found < 1.02 * before:  # twice the sessions bring next to nothing new
            break
        before, sessions = found, 2 * sessions
    raise NextreelError(
        f"Expected enough users and videos for {n:,} interactions, got {len(world.joined):,} users and "
        f"{len(world.child):,} videos, who have seen nearly everything. Hint: ask for more users or videos."
    )


class _Popularity:
    """How likely each video is shown, by stretch of time, and draws from it within a child or main category."""

    def __init__(self, rng: np.random.Generator, world: Behaviour) -> None:
        n = len(world.child)
        self.world = world
        self.buckets = int(np.clip(20_000_000 // n, 4, _BUCKETS))
        self.order = np.lexsort((np.arange(n), world.child))  # children of one main category follow each other
        middle = world.start + (np.arange(self.buckets) + 1.0) * (world.end - world.start) / self.buckets  # its end
        base = np.exp(0.9 * rng.normal(size=n) + 0.3 * world.tastes.quality)
        peak = world.published + rng.exponential(12 * DAY, n) * (1 + 20 * (rng.random(n) < 0.3))
        width = (3 + rng.exponential(8.0, n)) * DAY
        age = middle[:, None] - world.published[None, self.order]
        bump = np.exp(-0.5 * ((middle[:, None] - peak[None, self.order]) / width[self.order]) ** 2)
        weight = base[self.order] * (0.12 + bump + 0.6 * np.exp(-np.maximum(age, 0) / (4 * DAY)))
        weight[age <= 0] = 0.0
        self.total = np.concatenate([[0.0], np.cumsum(weight)])  # over (bucket, video), bucket-major
        self.by_child = np.searchsorted(world.child[self.order], np.arange(world.child.max() + 2))
        self.by_main = np.searchsorted(world.main[self.order], np.arange(world.main.max() + 2))

    def draw(self, rng: np.random.Generator, at: TimeArray, child: NDArray[np.intp], main: NDArray[np.intp],
             width: NDArray[np.intp]) -> NDArray[np.intp]:  # fmt: skip
        """One video for each moment (n,), -1 where there is none.

        Of the child category (width 0), of the main category (1) or of all (2).
        """
        n = len(self.order)
        share = (at - self.world.start) / (self.world.end - self.world.start)
        base = np.clip((share * self.buckets).astype(np.intp), 0, self.buckets - 1) * n
        low = np.select([width == 0, width == 1], [self.by_child[child], self.by_main[main]], 0)
        high = np.select([width == 0, width == 1], [self.by_child[child + 1], self.by_main[main + 1]], n)
        bottom, top = self.total[base + low], self.total[base + high]
        target = bottom + rng.random(len(at)) * (top - bottom)
        found = np.clip(np.searchsorted(self.total, target, side="right") - 1 - base, 0, n - 1)
        video = self.order[found]
        return np.where((top > bottom) & (self.world.published[video] <= at), video, -1)


def _rows(
    rng: np.random.Generator, world: Behaviour, activity: FloatArray, popularity: _Popularity, sessions: int
) -> dict[str, NDArray[np.generic]]:
    """Columns of all interactions of so many sessions, in no order of time."""
    user, at, child, main = _sessions(rng, world, activity, sessions)
    session = np.repeat(np.arange(sessions), _SHOWN)
    position = np.tile(np.arange(_SHOWN), sessions)
    # most of a list is of the session's interest, some of its neighbourhood, some simply popular
    width = rng.choice(3, len(session), p=(0.62, 0.18, 0.20))
    video = popularity.draw(rng, at[session], child[session], main[session], width)
    length = np.minimum(2 + rng.geometric(0.25, sessions), _SHOWN)
    keep = (position < length[session]) & (video >= 0) & _first(session, video)
    session, position, video, who = session[keep], position[keep], video[keep], user[session[keep]]
    logit = world.tastes.logit(who, video)
    likes = probability(logit)
    looks = np.array([0.97, 0.94, 0.9, 0.85, 0.8, 0.74, 0.68, 0.62, 0.56, 0.5])[position]
    clicked = rng.random(len(video)) < looks * (0.06 + 0.86 * likes)
    watched = _watch_seconds(rng, likes, world.duration[video]) * clicked
    # a list is looked at in order: each video waits for those above it; nothing below the last click was surely seen
    before = np.concatenate([[0.0], np.cumsum(2.0 + watched + 4.0 * clicked)])
    first = np.searchsorted(session, np.arange(sessions))
    shown_at = at[session] + (before[:-1] - before[first[session]])
    new = _not_watched(who, video, shown_at, clicked)
    new &= shown_at + watched + 30 < world.end
    return _answers(rng, session[new], position[new], who[new], video[new], shown_at[new], likes[new], clicked[new],
                    watched[new], world.duration[video[new]])  # fmt: skip


def _sessions(
    rng: np.random.Generator, world: Behaviour, activity: FloatArray, n: int
) -> tuple[NDArray[np.intp], TimeArray, NDArray[np.intp], NDArray[np.intp]]:
    """User, start, child category and main category of n sessions, by user and time."""
    begin = np.maximum(world.joined, world.start)
    weight = activity * (world.end - begin)
    user = np.sort(rng.choice(len(weight), n, p=weight / weight.sum()))
    day = begin[user] + rng.random(n) * (world.end - begin[user])
    evening = np.mod(rng.normal(20.0, 3.5, n), 24.0) * 3_600
    late = rng.random(n) < 0.7
    at = np.where(late, np.floor(day / DAY) * DAY + evening, day)
    at = np.where((at < begin[user]) | (at > world.end - 1_800), day, at)
    order = np.lexsort((at, user))
    at = at[order]
    shares = np.exp(world.tastes.log_shares)[user]
    cumulative = np.cumsum(np.where(shares < 1e-3, 0.0, shares), axis=1)
    drawn = (rng.random(n)[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    drawn = np.minimum(drawn, INTERESTS - 1)
    fresh = rng.random(n) >= _STAY
    fresh[np.flatnonzero(np.diff(user, prepend=-1))] = True  # a person's first session draws anew
    interest = drawn[np.maximum.accumulate(np.where(fresh, np.arange(n), 0))]
    child = world.interest_child[user, interest]
    mains = np.zeros(int(max(world.child.max(), child.max())) + 1, np.intp)
    mains[world.child] = world.main
    return user, at, np.minimum(child, world.child.max()), mains[np.minimum(child, world.child.max())]


def _first(group: NDArray[np.intp], member: NDArray[np.intp]) -> BoolArray:
    """Where a member comes first in its group; both (n,)."""
    first = np.unique(group.astype(np.int64) * (member.max(initial=0) + 2) + member, return_index=True)[1]
    mask = np.zeros(len(group), np.bool_)
    mask[first] = True
    return mask


def _not_watched(user: NDArray[np.intp], video: NDArray[np.intp], at: TimeArray, clicked: BoolArray) -> BoolArray:
    """Where the person has not clicked the video before: nobody is shown again what they watched."""
    pair = user.astype(np.int64) * (video.max(initial=0) + 1) + video
    order = np.lexsort((at, pair))
    sorted_pair = pair[order]
    start = np.flatnonzero(np.diff(sorted_pair, prepend=-1))
    clicks = np.cumsum(clicked[order], dtype=np.int64) - clicked[order]  # earlier clicks, over all pairs
    runs = np.diff([*start.tolist(), len(order)])
    mask = np.empty(len(order), np.bool_)
    mask[order] = clicks == np.repeat(clicks[start], runs)
    return mask


def _watch_seconds(rng: np.random.Generator, likes: FloatArray, duration: TimeArray) -> TimeArray:
    """How long each is watched: longer where it is liked, a smaller part of long videos, sometimes left at once."""
    n = len(likes)
    part = probability(
        (3.4 * likes - 1.0 - 0.35 * np.log(duration / 600) + 0.9 * rng.normal(size=n)).astype(np.float32)
    )
    part = np.where(rng.random(n) < 0.5 * likes * part, 1.0, part)  # what is nearly over is often watched to the end
    bounced = rng.random(n) < 0.3 * (1 - likes)
    seconds = np.where(bounced, np.minimum(0.8 + rng.exponential(3.0, n), duration), part * duration)
    return np.round(seconds, 1).astype(np.float64)


def _answers(
    rng: np.random.Generator, session: NDArray[np.intp], position: NDArray[np.intp], user: NDArray[np.intp],
    video: NDArray[np.intp], at: TimeArray, likes: FloatArray, clicked: BoolArray, watched: TimeArray,
    duration: TimeArray,
) -> dict[str, NDArray[np.generic]]:  # fmt: skip
    """Columns of the impressions and of all that follows from them."""
    n = len(at)
    part = watched / duration
    chance = rng.random((6, n))
    well = clicked & (part > 0.4)
    happens = {
        Kind.IMPRESSION: (np.ones(n, np.bool_), at),
        Kind.CLICK: (clicked, at + 1.5),
        Kind.WATCH: (clicked, at + 2.0 + watched),
        Kind.COMPLETE: (clicked & (part > 0.95), at + 2.0 + watched),
        Kind.LIKE: (well & (chance[0] < 0.30 * likes), at + 3.0 + watched),
        Kind.COMMENT: (well & (chance[1] < 0.07 * likes), at + 9.0 + watched),
        Kind.SHARE: (well & (chance[2] < 0.08 * likes), at + 6.0 + watched),
        Kind.DISLIKE: (clicked & (part < 0.4) & (chance[3] < 0.16 * (1 - likes)), at + 3.0 + watched),
        Kind.HIDE: (~clicked & (chance[4] < 0.03 * (1 - likes)), at + 1.0),
    }
    columns: dict[str, list[NDArray[np.generic]]] = {}
    for kind, (where, when) in happens.items():
        seen = where if kind != Kind.IMPRESSION else _looked_at(session, position, clicked, chance[5])
        for name, values in (
            ("kind", np.full(n, int(kind), np.int8)), ("at", when), ("user", user), ("video", video),
            ("session", session), ("position", position),
            ("watched", watched if kind in (Kind.WATCH, Kind.COMPLETE) else np.full(n, np.nan)),
        ):  # fmt: skip
            columns.setdefault(name, []).append(values[seen])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _looked_at(
    session: NDArray[np.intp], position: NDArray[np.intp], clicked: BoolArray, chance: TimeArray
) -> BoolArray:
    """Which were surely on the screen: down to the last click, and a few below it."""
    last = np.full(int(session.max(initial=-1)) + 1, -1)
    np.maximum.at(last, session[clicked], position[clicked])
    return (position <= last[session]) | (chance < 0.15)


def _exactly(rng: np.random.Generator, rows: dict[str, NDArray[np.generic]], n: int) -> dict[str, NDArray[np.generic]]:
    """n rows in order of time: whole sessions drawn at random, the last one cut short."""
    session = rows["session"].astype(np.intp)
    lot = rng.permutation(int(session.max()) + 1)[session]
    chosen = np.lexsort((rows["kind"], rows["at"], lot))[:n]
    chosen = chosen[np.lexsort((rows["kind"][chosen], lot[chosen], rows["at"][chosen]))]
    return {name: values[chosen] for name, values in rows.items()}


def _table(rng: np.random.Generator, rows: dict[str, NDArray[np.generic]]) -> pl.DataFrame:
    session = rows["session"].astype(np.intp)
    device = rng.choice(len(DEVICES), int(session.max()) + 1, p=DEVICE_SHARES)[session]
    names = pl.Series([kind.name.lower() for kind in Kind])
    number = {name: pl.Series(name, rows[name].astype(np.int64)) for name in ("user", "video", "session")}
    return pl.DataFrame(
        {
            "event_id": pl.Series(np.arange(1, len(session) + 1)),
            **number,
            "timestamp": pl.Series(np.round(rows["at"].astype(np.float64) * 1e3).astype(np.int64)),
            "kind": names.gather(rows["kind"].astype(np.int64)),
            "watch_time": pl.Series(rows["watched"].astype(np.float64)).fill_nan(None),
            "device": pl.Series(list(DEVICES)).gather(device),
            "position": pl.Series(rows["position"].astype(np.int64)),
        }
    ).select(
        pl.format("e{}", "event_id").alias("event_id"),
        pl.format("u{}", pl.col("user") + 1).alias("user_id"),
        pl.format("v{}", pl.col("video") + 1).alias("video_id"),
        pl.col("timestamp").cast(pl.Datetime("ms", "UTC")),
        "kind",
        "watch_time",
        "device",
        "position",
        pl.format("r{}", pl.col("session") + 1).alias("request_id"),
    )
