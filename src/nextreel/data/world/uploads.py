"""The videos of the synthetic world: what they are about, how good they are, who publishes them, series and titles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.data.schemas import VIDEOS
from nextreel.data.world.people import centroids, ids, stamps
from nextreel.data.world.plan import Plan, Purpose
from nextreel.data.world.truth import FACTORS, Videos, unit
from nextreel.data.world.words import (
    BANK,
    CHANNEL_FIRST,
    CHANNEL_LAST,
    CHILDREN,
    LANGUAGE_SHARES,
    LANGUAGES,
    MAIN_OF,
    SERIES,
)
from nextreel.types import DAY, TimeArray

_NEW = 0.35  # share of the videos that are uploaded within the period: some every day
_IN_SERIES = 0.25  # share of each child category's videos that are episodes of a series
_WORDS = [BANK[main] for main, _ in CHILDREN]


def uploads(plan: Plan) -> tuple[Videos, pl.DataFrame, pl.DataFrame]:
    """All videos, their table, and the table of channels."""
    n, rng = plan.videos, plan.random(Purpose.VIDEOS)
    child = rng.permutation(np.arange(n) % len(CHILDREN)).astype(np.int16)  # every child category has videos
    main = np.array(MAIN_OF, np.int8)[child]
    published = _published(rng, plan)
    duration = np.array([60 * one.minutes for one in _WORDS])[child] * np.exp(0.6 * rng.normal(size=n))
    quality = rng.normal(size=n).astype(np.float32)
    talk = rng.exponential(12 * DAY, n) * (1 + 20 * (rng.random(n) < 0.3))  # from upload to the wave's top
    adult = np.array([one.maturity for one in _WORDS])[child]
    many, channel = _channels(plan, main)
    found = Videos(
        factors=unit(centroids()[child] + 0.55 * unit(rng.normal(size=(n, FACTORS)))),
        quality=quality,
        language=np.where(rng.random(n) < 0.75, 0, rng.choice(len(LANGUAGES), n, p=LANGUAGE_SHARES)).astype(np.int8),
        maturity=np.where(rng.random(n) < 0.3, adult, 0).astype(np.int8),
        child=child,
        main=main,
        channel=channel,
        series=np.full(n, -1, np.int32),
        episode=np.zeros(n, np.int16),
        following=np.full(n, -1, np.int32),
        published=published,
        duration=np.clip(np.round(duration), 20, 3 * 3_600),
        weight=np.exp(0.9 * rng.normal(size=n) + 0.3 * quality).astype(np.float32),
        peak=published + talk,
        width=(3 + rng.exponential(8.0, n)) * DAY,
    )
    found = _with_series(plan, found)
    available = rng.random(n) >= 0.03
    return found, _table(plan, found, available), _channel_table(plan, many)


def _published(rng: np.random.Generator, plan: Plan) -> TimeArray:
    period = plan.end - plan.start
    new = rng.random(plan.videos) < _NEW
    new[0] = False  # so that the smallest of worlds has something to show
    age = np.where(new, rng.random(plan.videos) * period, period + rng.exponential(240 * DAY, plan.videos))
    return np.round(plan.end - age)


def _with_series(plan: Plan, videos: Videos) -> Videos:
    """The videos with some of each child category joined into series of three to ten episodes.

    Episodes share a channel, a language and an age limit, lie near one another, and come out one after the other.
    """
    rng = plan.random(Purpose.SERIES)
    first, place = _episodes(rng, videos.child)
    taken = np.flatnonzero(first >= 0)
    leader, step = first[taken], place[taken]
    length = np.zeros(len(videos), np.int64)
    np.maximum.at(length, leader, step + 1)
    wait = np.minimum((1 + 6 * rng.random(len(videos))) * DAY, (plan.end - videos.published) / (length + 1))
    published, factors = videos.published.copy(), videos.factors.copy()
    published[taken] = np.round(videos.published[leader] + step * wait[leader])
    factors[taken] = unit(videos.factors[leader] + 0.25 * unit(rng.normal(size=(len(taken), FACTORS))))
    series, episode, following = videos.series.copy(), videos.episode.copy(), videos.following.copy()
    series[taken] = np.unique(leader, return_inverse=True)[1]
    episode[taken] = step + 1
    after = taken[np.lexsort((step, leader))]
    same = series[after[1:]] == series[after[:-1]]
    following[after[:-1][same]] = after[1:][same]
    origin = np.arange(len(videos))
    origin[taken] = leader
    return replace(
        videos,
        factors=factors,
        language=videos.language[origin],
        maturity=videos.maturity[origin],
        channel=videos.channel[origin],
        series=series,
        episode=episode,
        following=following,
        published=published,
        peak=videos.peak + published - videos.published,  # talk begins when an episode is out
    )


def _episodes(rng: np.random.Generator, child: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each video the first episode's video and how many episodes lie between; -1 outside a series."""
    first, place = np.full((2, len(child)), -1, np.int64)
    for one in range(len(CHILDREN)):
        rows = np.flatnonzero(child == one)
        rows = rows[: int(_IN_SERIES * len(rows))]
        bounds = np.cumsum(rng.integers(3, 11, len(rows)))
        starts = np.concatenate([[0], bounds[bounds < len(rows)]]).astype(np.int64)
        if len(rows) - starts[-1] < 3:
            rows, starts = rows[: starts[-1]], starts[:-1]  # a rest of one or two is no series
        if len(rows):
            number = np.searchsorted(starts, np.arange(len(rows)), side="right") - 1
            first[rows], place[rows] = rows[starts[number]], np.arange(len(rows)) - starts[number]
    return first, place


def _channels(plan: Plan, main: NDArray[np.int8]) -> tuple[int, NDArray[np.int32]]:
    """How many channels there are, and the channel of each video: every channel keeps to one main category."""
    per_main = max(1, round(plan.videos / 10 / len(BANK)))
    draw = plan.random(Purpose.CHANNELS).random(plan.videos) ** 2 * per_main
    return per_main * len(BANK), (main.astype(np.int64) * per_main + np.floor(draw)).astype(np.int32)


def _channel_table(plan: Plan, n: int) -> pl.DataFrame:
    first, last = np.arange(n) % len(CHANNEL_FIRST), np.arange(n) // len(CHANNEL_FIRST) % len(CHANNEL_LAST)
    again = np.arange(n) // (len(CHANNEL_FIRST) * len(CHANNEL_LAST))
    names = [
        f"{CHANNEL_FIRST[a]} {CHANNEL_LAST[(a + b) % len(CHANNEL_LAST)]}" + (f" {c + 1}" if c else "")
        for a, b, c in zip(first, last, again, strict=True)
    ]
    size = np.exp(plan.random(Purpose.SUBSCRIBERS).normal(8.0, 1.5, n))
    return pl.DataFrame(
        {"channel_id": ids("c", np.arange(n)), "name": names, "subscriber_count": np.round(size).astype(np.int64)}
    )


def _table(plan: Plan, videos: Videos, available: NDArray[np.bool_]) -> pl.DataFrame:
    """The columns that the schema of videos knows."""
    titles, tags, blurbs = _writing(plan, videos)
    n, child = len(videos), videos.child.astype(np.int64)
    in_series = pl.Series(videos.series >= 0)
    table = pl.DataFrame(
        {
            "video_id": ids("v", np.arange(n)),
            "title": titles,
            "description": blurbs,
            "category": pl.Series([main for main, _ in CHILDREN]).gather(child),
            "child_categories": pl.Series([[name] for _, name in CHILDREN]).gather(child),
            "language": pl.Series(LANGUAGES).gather(videos.language.astype(np.int64)),
            "duration": videos.duration,
            "tags": tags,
            "published_at": stamps(videos.published),
            "is_available": available,
            "maturity_rating": videos.maturity.astype(np.int64),
            "channel_id": pl.select(
                pl.format("c{}", pl.lit(pl.Series(videos.channel.astype(np.int64) + 1)))
            ).to_series(),
            "series": pl.Series([f"s{one + 1}" for one in videos.series.tolist()]).set(~in_series, None),
            "episode": pl.Series(videos.episode.astype(np.int64)).set(~in_series, None),
        }
    )
    return table.select([name for name in table.columns if name in {column.name for column in VIDEOS.columns}])


def _writing(plan: Plan, videos: Videos) -> tuple[list[str], list[list[str]], list[str]]:
    """Titles without a repeat, tags and descriptions."""
    rng = plan.random(Purpose.TITLES)
    n = len(videos)
    titles, tags, blurbs = [""] * n, [[""]] * n, [""] * n
    for one, (main, name) in enumerate(CHILDREN):
        topics, patterns = list(BANK[main].topics[name]), BANK[main].patterns
        bare = {topic: topic.removeprefix("the ").removeprefix("a ").removeprefix("an ").removeprefix("The ")
                for topic in topics}  # fmt: skip
        rows = np.flatnonzero(videos.child == one)
        names = _names(rng, topics, patterns, rows[videos.series[rows] < 0], "{} (Part {})")
        series = np.unique(videos.series[rows[videos.series[rows] >= 0]])
        shows = _names(rng, [bare[topic] for topic in topics], SERIES, series, "{}, Season {}")
        for row in rows.tolist():
            of_series = videos.series[row] >= 0
            title, number = shows[int(videos.series[row])] if of_series else names[row]
            topic = topics[number]
            titles[row] = f"{title}, Episode {videos.episode[row]}" if of_series else title
            tags[row] = [name.lower(), bare[topic].lower(), main.lower()]
            blurbs[row] = f"A video about {topic}, for everybody who likes {name.lower()}."
    return titles, tags, blurbs


def _names(
    rng: np.random.Generator, topics: list[str], patterns: tuple[str, ...], keys: NDArray[np.integer], again: str
) -> dict[int, tuple[str, int]]:
    """Of each key a name no other has, and the number of its topic: cards of a shuffled deck, dealt again when out."""
    deck = rng.permutation(len(topics) * len(patterns))
    found: dict[int, tuple[str, int]] = {}
    for place, key in enumerate(keys.tolist()):
        round_, card = divmod(place, len(deck))
        topic = int(deck[card]) % len(topics)
        name = patterns[int(deck[card]) // len(topics)].format(topics[topic])
        name = name[0].upper() + name[1:]
        found[key] = (again.format(name, round_ + 1) if round_ else name, topic)
    return found
