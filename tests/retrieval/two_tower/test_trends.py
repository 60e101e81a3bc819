"""What the towers know of popularity: counters as they stand now, and as they stood before each event."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.retrieval.two_tower import trends
from nextreel.retrieval.two_tower.trends import Columns, Snapshots, columns, snapshots
from nextreel.store import Counters
from nextreel.types import DAY, Events, FloatArray, Kind

VIDEOS = 6
WINDOWS = ("1d", "all")


def events_at(at: list[float], seed: int = 0) -> tuple[Events, FloatArray]:
    """Plays of random videos at these times."""
    n = len(at)
    missing = np.full(n, np.nan, np.float32)
    rows = np.random.default_rng(seed).integers(0, VIDEOS, n).astype(np.int32)
    kind = np.full(n, int(Kind.WATCH), np.int8)
    events = Events(np.arange(1), np.zeros(n, np.int32), rows, np.array(at), kind, missing, missing)
    return events, np.ones(n, np.float32)


def test_an_average_video_has_the_logarithm_of_two_and_one_without_plays_has_zero() -> None:
    shares = [np.array([0.25, 0.25, 0.5, 0.0], np.float32)]
    assert columns(shares)[:, 0] == pytest.approx(np.log([2.0, 2.0, 3.0, 1.0]))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(2, 20))
def test_no_snapshot_counts_an_event_at_or_after_the_time_it_is_read_for(hours: list[int], many: int) -> None:
    events, weights = events_at([3_600.0 * hour for hour in sorted(hours)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trends, "MOST_SNAPSHOTS", many)
        found = snapshots(Counters(VIDEOS), events, weights, WINDOWS, VIDEOS)
    assert (np.diff(found.at) >= 0).all()
    asked = np.concatenate([events.at, events.at - 1.0, events.at + 1.0])
    for at, number in zip(asked, found.before(asked), strict=True):
        assert found.at[number] < at
        seen = np.bincount(events.video[events.at < at], minlength=VIDEOS)
        assert not found.values[number, seen == 0].any()


def test_a_snapshot_holds_the_columns_of_the_events_up_to_its_time() -> None:
    events, weights = events_at([float(hour) * 3_600 for hour in range(100)])
    found = snapshots(Counters(VIDEOS), events, weights, WINDOWS, VIDEOS)
    assert found.values.shape[1:] == (VIDEOS, len(WINDOWS))
    assert not found.values[0].any()
    for number, at in enumerate(found.at[1:].tolist(), start=1):
        counters, seen = Counters(VIDEOS), int((events.at <= at).sum())
        counters.add(events.take(slice(seen)), weights[:seen])
        expected = columns([counters.share(name) for name in WINDOWS])
        assert found.values[number] == pytest.approx(expected, abs=2e-3)  # half precision


def test_equal_times_at_a_cut_are_not_counted_for_those_who_ask_at_that_time() -> None:
    found = Snapshots(np.array([-np.inf, 10.0, 10.0, 20.0]), np.zeros((4, 1, 1), np.float16))
    assert found.before(np.array([5.0, 10.0, 15.0, 20.0, 25.0])).tolist() == [0, 0, 2, 2, 3]


def test_without_windows_there_is_one_empty_snapshot_for_all_times() -> None:
    events, weights = events_at([1.0, 2.0])
    found = snapshots(Counters(VIDEOS), events, weights, (), VIDEOS)
    assert found.values.shape == (1, VIDEOS, 0)
    assert found.before(np.array([-1e9, 0.0, 1e12])).tolist() == [0, 0, 0]


def test_many_videos_get_fewer_snapshots() -> None:
    events, weights = events_at([float(i) for i in range(300)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trends, "CELLS", VIDEOS * len(WINDOWS) * 10)
        found = snapshots(Counters(VIDEOS), events, weights, WINDOWS, VIDEOS)
    assert len(found.at) == 10


def test_the_columns_of_now_are_made_again_only_when_the_counters_moved() -> None:
    events, weights = events_at([DAY, 2 * DAY, 3 * DAY])
    counters = Counters(VIDEOS)
    known = Columns(counters, WINDOWS, Snapshots.none(VIDEOS, len(WINDOWS)))
    counters.add(events.take(slice(2)), weights[:2])
    first = known(4 * DAY)
    assert known(4 * DAY) is first
    counters.add(events.take(slice(2, 3)), weights[2:])
    second = known(4 * DAY)
    assert second is not first
    assert second == pytest.approx(columns([counters.share(name) for name in WINDOWS]))
    assert known(4 * DAY) is second


def test_a_request_of_a_time_gone_by_is_answered_from_the_popularity_of_then() -> None:
    events, weights = events_at([float(i) * DAY for i in range(1, 40)])
    past = snapshots(Counters(VIDEOS), events, weights, WINDOWS, VIDEOS)
    counters = Counters(VIDEOS)
    known = Columns(counters, WINDOWS, past)
    first = slice(12)
    counters.add(events.take(first), weights[first])
    then = known(12.5 * DAY)  # nothing newer is counted yet: these are the counters themselves
    rest = slice(12, None)
    counters.add(events.take(rest), weights[rest])
    assert known(12.5 * DAY) == pytest.approx(then, rel=2e-3)  # kept in half precision
    assert known(50 * DAY) != pytest.approx(then, rel=0.1)
    assert known(38.9 * DAY) == pytest.approx(past.of(38.9 * DAY))


def test_a_request_a_moment_before_the_newest_live_event_is_answered_from_the_counters_of_now() -> None:
    events, weights = events_at([DAY, 2 * DAY, 3 * DAY])
    learnt = slice(2)
    past = snapshots(Counters(VIDEOS), events.take(learnt), weights[learnt], WINDOWS, VIDEOS)
    counters = Counters(VIDEOS)
    counters.add(events, weights)
    expected = columns([counters.share(name) for name in WINDOWS])
    assert Columns(counters, WINDOWS, past)(3 * DAY - 0.1) == pytest.approx(expected)
