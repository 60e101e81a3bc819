"""Visits, and what each of them liked, rejected and left, against one event at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.processing.params import ProcessingParams
from nextreel.processing.visits import judged, lot, visits_of
from nextreel.types import UNKNOWN, Events, Kind

if TYPE_CHECKING:
    from nextreel.data import Dataset

# (user, seconds since the last event, the split moves on, request)
STEP = st.tuples(
    st.integers(0, 3), st.sampled_from([0.0, 1.0, 59.0, 60.0, 61.0, 900.0]), st.booleans(), st.integers(-1, 2)
)


def events_of(steps: list[tuple[int, float, bool, int]]) -> tuple[Events, NDArray[np.int8]]:
    """Events by person and time, and their splits, which never go back within a person."""
    steps = sorted(steps, key=lambda one: one[0])
    user = np.array([one[0] for one in steps], np.int32)
    at = np.cumsum([one[1] for one in steps])
    split = np.zeros(len(steps), np.int8)
    for place, (before, one) in enumerate(pairwise(steps), 1):
        split[place] = 0 if one[0] != before[0] else min(2, split[place - 1] + (one[2] and place % 4 == 0))
    nothing = np.full(len(steps), np.nan, np.float32)
    request = np.array([one[3] for one in steps], np.int32)
    kind = np.full(len(steps), Kind.WATCH, np.int8)
    return Events(
        np.arange(4), user, np.zeros(len(steps), np.int32), at, kind, nothing, nothing, request=request
    ), split


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=60), st.integers(1, 6), st.booleans())
def test_visits_cut_the_events_of_each_person_and_part_at_silences_and_between_requests(
    steps: list[tuple[int, float, bool, int]], longest: int, timed: bool
) -> None:
    events, split = events_of(steps)
    visits = visits_of(events, split, timed, ProcessingParams(visit_minutes=1, visit_events=longest))
    assert visits.start[0] == 0
    assert visits.start[-1] == len(events)
    assert np.repeat(np.arange(len(visits)), np.diff(visits.start)).tolist() == visits.of_event.tolist()
    starts = set(visits.start[:-1].tolist())
    for place in range(1, len(events)):
        apart = events.user[place] != events.user[place - 1] or split[place] != split[place - 1]
        apart = apart or (timed and events.at[place] - events.at[place - 1] > 60)
        runs_on = events.request[place] == events.request[place - 1] != UNKNOWN
        assert not apart or place in starts
        assert apart or not runs_on or place not in starts
    for begin, end in pairwise(visits.start.tolist()):
        may = [p for p in range(begin, end) if p == begin or not events.request[p] == events.request[p - 1] != UNKNOWN]
        assert may[-1] - begin < longest  # whatever stands beyond is of one request


@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=60), st.integers(1, 6))
def test_a_visit_has_the_same_number_whoever_else_is_there(
    steps: list[tuple[int, float, bool, int]], longest: int
) -> None:
    events, split = events_of(steps)
    params = ProcessingParams(visit_minutes=1, visit_events=longest)
    visits = visits_of(events, split, True, params)
    assert len(np.unique(visits.number)) == len(visits)
    for user in np.unique(events.user):
        own = events.user == user
        alone = visits_of(events.take(np.flatnonzero(own)), split[own], True, params)
        assert alone.number.tolist() == visits.number[visits.user == user].tolist()
        assert alone.at.tolist() == visits.at[visits.user == user].tolist()


def test_a_long_visit_is_cut_after_so_many_events() -> None:
    events, split = events_of([(0, 1.0, False, UNKNOWN)] * 65)
    assert visits_of(events, split, True, ProcessingParams()).start.tolist() == [0, 30, 60, 65]


def test_a_request_longer_than_a_visit_stays_whole() -> None:
    events, split = events_of([(0, 1.0, False, UNKNOWN)] * 15 + [(0, 1.0, False, 7)] * 30 + [(0, 1.0, False, 8)] * 5)
    assert visits_of(events, split, True, ProcessingParams()).start.tolist() == [0, 45, 50]


def reference(made: Any) -> tuple[set[Any], set[Any], set[Any]]:
    """(visit, row, grade), (visit, row) and (visit, row) of what is liked, rejected and left, one event at a time."""
    own, graded, params = made.own, made.own.graded, made.shared.params
    liked: dict[tuple[int, int], float] = {}
    rejected, left = set(), set()
    n = len(graded)
    for event in range(n):
        user, row = int(own.events.user[event]), int(own.events.video[event])
        pair = (int(own.visits.of_event[event]), row)
        if row < 0:
            continue
        if graded[event] > 0:
            liked[pair] = max(liked.get(pair, 0.0), float(graded[event]))
        elif graded[event] < 0:
            rejected.add(pair)
        elif own.events.kind[event] == Kind.IMPRESSION:
            later = [
                other
                for other in range(event, n)
                if own.events.user[other] == user and own.events.video[other] == row and graded[other] > 0
            ]
            soon = 3600 * params.taken_within_hours if made.shared.timed else np.inf
            if not later or own.events.at[later[0]] - own.events.at[event] > soon:
                left.add(pair)
    best = {(*pair, grade) for pair, grade in liked.items() if pair not in rejected}
    return best, rejected, left - liked.keys() - rejected


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("hours", [0.1, 24.0])
@pytest.mark.parametrize("seed", range(4))
def test_what_a_visit_liked_rejected_and_left_is_what_one_event_at_a_time_gives(
    dirty: Callable[..., Dataset], made: Callable[..., Any], seed: int, hours: float, timed: bool
) -> None:
    world = made(dirty(seed, videos=12, visits=40, timed=timed), taken_within_hours=hours)
    own, shared = world.own, world.shared
    found = judged(own.events, own.graded, own.visits, len(shared.catalogue), shared.timed, shared.params)
    visit = [np.repeat(np.arange(len(own.visits)), np.diff(one.start)).tolist() for one in found]
    liked, rejected, left = reference(world)
    assert liked
    assert rejected
    assert left
    assert set(zip(visit[0], found[0].row.tolist(), found[0].grade.tolist(), strict=True)) == liked
    assert set(zip(visit[1], found[1].row.tolist(), strict=True)) == rejected
    assert set(zip(visit[2], found[2].row.tolist(), strict=True)) == left
    assert [len(one.row) for one in found] == [len(liked), len(rejected), len(left)]


def test_an_impression_is_taken_by_a_later_visit_that_comes_soon_enough(
    made: Callable[..., Any], dirty: Callable[..., Dataset]
) -> None:
    def left(hours: float) -> list[int]:
        dataset = dirty(users=1)
        nothing = np.full(3, np.nan, np.float32)
        kind = np.array([Kind.IMPRESSION, Kind.IMPRESSION, Kind.LIKE], np.int8)
        at = np.array([0.0, 5.0, 2 * 3600.0])
        events = Events(np.arange(1), np.zeros(3, np.int32), np.array([3, 4, 3], np.int32), at, kind, nothing, nothing)
        world = made(
            type(dataset)(dataset.catalogue, events, dataset.profiles, True, dataset.manifest), np.zeros(3, "i1")
        )
        params = ProcessingParams(taken_within_hours=hours)
        unseen: list[int] = judged(events, world.own.graded, world.own.visits, 40, True, params)[2].row.tolist()
        return sorted(unseen)

    assert left(2.0) == [4]
    assert left(1.9) == [3, 4]


def test_lots_do_not_hang_on_the_order_and_hardly_collide() -> None:
    numbers = np.arange(-50_000, 50_000)
    drawn = lot(numbers, 42)
    assert (lot(numbers[::-1], 42)[::-1] == drawn).all()
    assert len(np.unique(drawn)) == len(drawn)
    assert abs(float((drawn % np.uint64(1000)).mean()) - 499.5) < 3
    assert (lot(numbers, 43) != drawn).all()
