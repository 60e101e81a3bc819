"""Visits: stretches of one person's events that are answered from the state just before the first of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.encoding.hashing import mixed
from nextreel.processing.params import ProcessingParams
from nextreel.types import UNKNOWN, BoolArray, Events, FloatArray, Kind, TimeArray

Split = NDArray[np.int8]  # numbers into SPLITS
SPLITS = ("train", "val", "test")
_VISIT_BITS = 24  # 16 million visits of one person, 2 ** 39 people


@dataclass(frozen=True, slots=True)
class Visits:
    """V visits as columns; visit v holds the events from `start[v]` up to `start[v + 1]`, all of one person."""

    start: NDArray[np.int64]  # (V + 1,)
    user: NDArray[np.int32]  # (V,)
    at: TimeArray  # (V,) time of the first event
    split: Split  # (V,)
    number: NDArray[np.int64]  # (V,) names the visit among all visits of everybody, whoever else is in these columns
    of_event: NDArray[np.int64]  # (n,) the visit of each event

    def __len__(self) -> int:
        return len(self.user)


def visits_of(events: Events, split: Split, timed: bool, params: ProcessingParams) -> Visits:
    """The visits of events that stand by person (codes ascending) and time.

    One ends where the person, the part of the data or (after a silence) the visit changes, and after
    `visit_events` events, though never between events of one request.
    """
    n = len(events)
    begins = np.diff(events.user, prepend=UNKNOWN - 1) != 0
    begins |= np.diff(split, prepend=split[:1]) != 0
    if timed:
        begins |= np.diff(events.at, prepend=events.at[:1]) > 60 * params.visit_minutes
    first = np.flatnonzero(begins)
    place = np.arange(n) - np.repeat(first, np.diff(np.append(first, n)))
    whole = np.diff(events.request, prepend=UNKNOWN - 1) != 0  # a cut may stand here: no request runs on
    may = np.flatnonzero(whole | (events.request == UNKNOWN) | begins)
    begins[may] |= np.diff(place[may] // params.visit_events, prepend=0) > 0
    start = np.flatnonzero(begins)
    user = events.user[start]
    own = np.arange(len(start)) - np.searchsorted(user, user)  # counted from the person's first
    number = (user.astype(np.int64) << _VISIT_BITS) + own
    return Visits(np.append(start, n), user, events.at[start], split[start], number, np.cumsum(begins) - 1)


@dataclass(frozen=True, slots=True)
class Pairs:
    """(visit, video) pairs in the order of the visits; those of visit v from `start[v]` up to `start[v + 1]`."""

    row: NDArray[np.int32]  # (p,)
    grade: FloatArray  # (p,)
    start: NDArray[np.int64]  # (V + 1,)

    def of(self, visit: int) -> NDArray[np.int32]:
        """The rows of a visit."""
        return self.row[self.start[visit] : self.start[visit + 1]]


def judged(
    events: Events, graded: FloatArray, visits: Visits, videos: int, timed: bool, params: ProcessingParams
) -> tuple[Pairs, Pairs, Pairs]:
    """What each visit liked (with the best grade), rejected, and was shown and did not take.

    A video that was both liked and rejected in a visit is rejected. An impression was taken when the person plays the
    video within `taken_within_hours`, in this visit or a later one.
    """
    about = events.video >= 0
    key = visits.of_event * np.int64(videos) + events.video
    bad = np.unique(key[about & (graded < 0)])
    good = np.flatnonzero(about & (graded > 0))
    liked, place = np.unique(key[good], return_inverse=True)
    best = np.zeros(len(liked), np.float32)
    np.maximum.at(best, place, graded[good])
    kept = ~np.isin(liked, bad)
    shown = about & (events.kind == Kind.IMPRESSION) & (graded <= 0) & ~_taken(events, graded, videos, timed, params)
    unseen = np.unique(key[shown])
    unseen = unseen[~np.isin(unseen, liked) & ~np.isin(unseen, bad)]
    visit, row = np.divmod(unseen, videos)
    unseen = unseen[np.lexsort((lot(visits.number[visit] * videos + row, params.seed), visit))]  # in any order
    none = np.zeros(len(bad), np.float32)
    return (
        _pairs(liked[kept], best[kept], videos, len(visits)),
        _pairs(bad, none, videos, len(visits)),
        _pairs(unseen, np.zeros(len(unseen), np.float32), videos, len(visits)),
    )


def _pairs(key: NDArray[np.int64], grade: FloatArray, videos: int, visits: int) -> Pairs:
    start = np.searchsorted(key // videos, np.arange(visits + 1))
    return Pairs((key % videos).astype(np.int32), grade, start)


def _taken(events: Events, graded: FloatArray, videos: int, timed: bool, params: ProcessingParams) -> BoolArray:
    """Where (n,) the person has a positive event with the same video from then on and soon enough."""
    pair = events.user.astype(np.int64) * videos + events.video
    order = np.lexsort((np.arange(len(events)), pair))
    sorted_pair, at = pair[order], events.at[order]
    place = np.arange(len(order))
    positive = np.where(graded[order] > 0, place, len(order))
    following = np.minimum.accumulate(positive[::-1])[::-1]  # place of the next positive, of whatever pair
    there = np.minimum(following, len(order) - 1)
    soon = (following < len(order)) & (sorted_pair[there] == sorted_pair)
    if timed:
        soon &= at[there] - at <= 3600 * params.taken_within_hours
    taken = np.empty(len(order), np.bool_)
    taken[order] = soon
    return taken


def lot(numbers: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """A number for each number and seed, as if drawn: whoever else draws, and in whatever order."""
    return mixed(numbers.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64))
