"""The protocols as data: what models may be fitted on, whom to ask, when, what is known then, and what was right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextreel.data.splits import last_out, part_of
from nextreel.metrics import Truth
from nextreel.types import UNKNOWN, BoolArray, Events, FloatArray, Kind, NextreelError, TimeArray, joined

Protocol: TypeAlias = Literal["frozen", "live", "leave-last-out"]
Grade: TypeAlias = Callable[[Events], FloatArray]

FRACTIONS = (0.8, 0.1, 0.1)  # train, validation, test
_SILENT = (Kind.IMPRESSION, Kind.SUBSCRIBE, Kind.BLOCK)  # kinds after which a video is still one to recommend


class EvaluationError(NextreelError):
    """A data set that a protocol cannot be run on, or lists that break its rules."""


@dataclass(frozen=True)
class Trial:
    """One protocol on one data set: m requests, in the order in which they are asked.

    Models are fitted on `history` alone. Before request i, the first `after[i]` events of the `stream` have happened;
    no later one is known, to no part of the system.
    """

    protocol: Protocol
    history: Events  # train and validation: what models are fitted on
    train: BoolArray  # (history,) of the training part
    watched: BoolArray  # (history,) the event says that the person liked or watched the video
    stream: Events
    seen: BoolArray  # (stream,) the video is no longer one to recommend to the person
    user: NDArray[np.int32]  # (m,) code of who asks
    at: TimeArray  # (m,) seconds
    after: NDArray[np.int64]  # (m,) ascending
    truth: Truth  # of the m requests
    videos: BoolArray  # (catalogue,) has at least one event in the data: what coverage is a share of

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Met:
    """Pairs of a person and a video, ascending, and the number of the event at which they met first."""

    pairs: NDArray[np.int64]
    first: NDArray[np.int64]
    n_videos: int

    @classmethod
    def of(cls, events: Events, seen: BoolArray, n_videos: int) -> Met:
        """What people have met by the events (n,) that are `seen` (n,)."""
        where = np.flatnonzero(seen)
        pairs, first = np.unique(_pairs(events.take(where), n_videos), return_index=True)
        return cls(pairs, where[first], n_videos)

    def before(self, user: NDArray[np.int32], rows: NDArray[np.int32], after: NDArray[np.int64]) -> BoolArray:
        """Whether user (m,) met each of the rows (m, k) among the first `after` (m,) events; no for -1."""
        if len(self.pairs) == 0:
            return np.zeros(rows.shape, np.bool_)
        asked = user.astype(np.int64)[:, None] * self.n_videos + rows
        place = np.minimum(np.searchsorted(self.pairs, asked), len(self.pairs) - 1)
        found: BoolArray = (rows != UNKNOWN) & (self.pairs[place] == asked) & (self.first[place] < after[:, None])
        return found


def frozen(
    events: Events,
    grade: Grade,
    n_videos: int,
    *,
    timed: bool = True,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> Trial:
    """Protocol 1, frozen global time: one list for each person, which must last for the whole test part.

    `events` are oldest first and cut by rows into train, validation and test; where not `timed`, each user's rows are
    cut so and their order is all that is known. `grade` tells the relevance (n,) of events; a video is right when it
    has a test event above 0 and the person has not met it before. Those are asked who have history and something
    right, just after the last known event. Raises EvaluationError when there are none.
    """
    part = part_of(events, fractions, timed=timed)
    history = joined([events.take(part == 0), events.take(part == 1)])
    if not timed:
        history = replace(history, at=np.arange(len(history), dtype=np.float64))
    test = events.take(part == 2)
    seen = _hides(history)
    right = (grade(test) > 0) & (test.video != UNKNOWN)
    right &= ~np.isin(_pairs(test, n_videos), _pairs(history, n_videos)[seen])
    users = np.intersect1d(history.user[seen], test.user[right]).astype(np.int32)
    right &= np.isin(test.user, users)
    _some(len(users), "people who are in the first part and watch something new in the last")
    return Trial(
        protocol="frozen",
        history=history,
        train=np.arange(len(history)) < np.count_nonzero(part == 0),
        watched=_watched(history, grade),
        stream=history,
        seen=seen,
        user=users,
        at=np.full(len(users), np.nextafter(history.at[-1], np.inf)),
        after=np.full(len(users), len(history), np.int64),
        truth=Truth.of(np.searchsorted(users, test.user[right]), test.video[right], len(users)),
        videos=_with_events(events, n_videos),
    )


def live(
    events: Events,
    grade: Grade,
    n_videos: int,
    *,
    every: int = 1,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> Trial:
    """Protocol 2, live global time: each test row is one request at its own time, answered from all earlier rows.

    Models are those of the split; the state moves on with every row. The one right video is that of the row; rows of
    relevance 0 or less, and of videos that the person has met before, are no requests. With `every` = n only the n-th,
    2n-th, 3n-th … row of the test part may be one. Raises EvaluationError when nothing is left to ask.
    """
    part = part_of(events, fractions, timed=True)
    first = int(np.count_nonzero(part < 2))
    history, seen = events.take(slice(0, first)), _hides(events)
    row = np.arange(first + every - 1, len(events), every)
    row = row[_new(events, seen, n_videos)[row]]
    row = row[grade(events.take(row)) > 0]
    _some(len(row), "videos in the last part that are new to those who watch them")
    return Trial(
        protocol="live",
        history=history,
        train=part[:first] == 0,
        watched=_watched(history, grade),
        stream=events,
        seen=seen,
        user=events.user[row],
        at=events.at[row],
        after=row.astype(np.int64),
        truth=Truth.of(np.arange(len(row)), events.video[row], len(row)),
        videos=_with_events(events, n_videos),
    )


def leave_last_out(events: Events, grade: Grade, n_videos: int, *, timed: bool = True) -> Trial:
    """Protocol 3, leave-last-out: each person's last new video is test, the one before validation, the rest train.

    A new video is a row of relevance above 0 about a video that the person has not met before: in a data set of ratings
    each row. People with fewer than three of them are not asked. Nothing that a person does from their test row on is
    known. As in the papers, models learn from rows that happened after a request: those of other people. The state does
    not: each request is answered at the time of its row, from the known rows before it. Raises EvaluationError when
    nobody is left.
    """
    n = len(events)
    if not timed:
        events = replace(events, at=np.arange(n, dtype=np.float64))
    seen = _hides(events)
    new = np.flatnonzero(_new(events, seen, n_videos) & (grade(events) > 0))
    part = last_out(events.take(new))
    row = new[part == 2]
    _some(len(row), "people who watch three videos or more that are new to them")
    test, valid = np.full((2, len(events.user_ids)), n)
    test[events.user[row]], valid[events.user[new[part == 1]]] = row, new[part == 1]
    known = np.arange(n) < test[events.user]
    history = events.take(known)
    return Trial(
        protocol="leave-last-out",
        history=history,
        train=(np.arange(n) < valid[events.user])[known],
        watched=_watched(history, grade),
        stream=history,
        seen=seen[known],
        user=events.user[row],
        at=events.at[row],
        after=np.cumsum(known, dtype=np.int64)[row],
        truth=Truth.of(np.arange(len(row)), events.video[row], len(row)),
        videos=_with_events(events, n_videos),
    )


def _hides(events: Events) -> BoolArray:
    """(n,) events after which their video is no longer one to recommend."""
    hides: BoolArray = (events.video != UNKNOWN) & ~np.isin(events.kind, _SILENT)
    return hides


def _watched(events: Events, grade: Grade) -> BoolArray:
    watched: BoolArray = (grade(events) > 0) & (events.video != UNKNOWN)
    return watched


def _new(events: Events, seen: BoolArray, n_videos: int) -> BoolArray:
    """(n,) the event is about a video that the person has not met in an earlier one."""
    met = Met.of(events, seen, n_videos).before(events.user, events.video[:, None], np.arange(len(events)))
    new: BoolArray = (events.video != UNKNOWN) & ~met[:, 0]
    return new


def _pairs(events: Events, n_videos: int) -> NDArray[np.int64]:
    """One number (n,) for each user and video."""
    return events.user.astype(np.int64) * n_videos + events.video


def _with_events(events: Events, n_videos: int) -> BoolArray:
    some: BoolArray = np.bincount(events.video[events.video != UNKNOWN], minlength=n_videos) > 0
    return some


def _some(many: int, what: str) -> None:
    if many == 0:
        raise EvaluationError(f"Expected {what}; got none. Hint: the data need a longer time span or more people.")
