"""What is true of videos and people, written down plainly: what the referee knows, and nothing of nextreel's own."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nextreel.types import BoolArray, Event, Kind, Profile, TimeArray, VideoId

WATCHING, SHOWN = 64, 256  # videos begun, and impressions, that are remembered of a person: the newest
_LIKED = (Kind.CLICK, Kind.LIKE, Kind.COMMENT, Kind.SHARE, Kind.COMPLETE)
_ENDED = (Kind.COMPLETE, Kind.DISLIKE, Kind.HIDE)
Right = tuple[str | None, float, float]  # region (None = all), from, until (NaN = open)


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
    rights: dict[int, list[Right]]  # row -> where and when it may be shown; everywhere and always where it has none
    series: dict[str, dict[int, int]]  # series -> row -> number of the episode

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Person:
    """What is true of one person; the referee's own record, moved on by what they are seen to do."""

    profile: Profile
    blocked: set[VideoId] = field(default_factory=set)  # channels
    answered: dict[int, float] = field(default_factory=dict)  # row -> last time they did anything about it
    hidden: set[int] = field(default_factory=set)
    shown: list[tuple[int, float]] = field(default_factory=list)  # row and time of each impression
    watching: dict[int, tuple[float, float]] = field(default_factory=dict)  # row -> seconds in all, last time
    completed: list[tuple[int, float]] = field(default_factory=list)


def hear(person: Person, event: Event, videos: Videos, first_liked: TimeArray) -> None:
    """Moves the record on by one event of this person."""
    if event.kind == Kind.BLOCK and event.channel_id is not None:
        person.blocked.add(event.channel_id)
    elif event.kind == Kind.SUBSCRIBE and event.channel_id is not None:
        person.blocked.discard(event.channel_id)
    row = None if event.video_id is None else videos.row.get(event.video_id)
    if row is None:
        return
    if event.kind == Kind.IMPRESSION:
        person.shown = [*person.shown, (row, event.at)][-SHOWN:]
        return
    person.answered[row] = max(event.at, person.answered.get(row, event.at))
    if event.kind == Kind.HIDE:
        person.hidden.add(row)
    if event.kind == Kind.COMPLETE:
        person.completed.append((row, event.at))
    if event.kind in _ENDED:
        person.watching.pop(row, None)
    elif event.kind == Kind.WATCH and event.watch_seconds is not None:
        seconds = person.watching.pop(row, (0.0, 0.0))[0] + event.watch_seconds
        person.watching[row] = seconds, event.at
        if len(person.watching) > WATCHING:
            del person.watching[next(iter(person.watching))]
    if _likes(event, float(videos.duration[row])):
        first_liked[row] = min(first_liked[row], event.at)


def _likes(event: Event, duration: float) -> bool:
    """Whether the event says that somebody liked the video."""
    if event.kind != Kind.WATCH or event.watch_seconds is None:
        return event.kind in (*_LIKED, Kind.WATCH)
    return event.watch_seconds >= 3 and not event.watch_seconds <= 0.4 * duration
