"""What everybody watches, on counts that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nextreel.retrieval.popular import Popular
from nextreel.store import Counters
from nextreel.types import DAY, Events, Kind, Request, UserState

NOW = 1_000 * DAY
ANYBODY = UserState(None)


@pytest.fixture
def counters() -> Counters:
    """Row 0: four plays long ago. 1: three plays five days ago. 2: two today. 3: one today. 4: never."""
    rows = [0] * 4 + [1] * 3 + [2] * 2 + [3]
    days = [100.0] * 4 + [5.0] * 3 + [0.1] * 2 + [0.0]
    n = len(rows)
    events = Events(
        user_ids=np.arange(n),
        user=np.arange(n, dtype=np.int32),
        video=np.array(rows, np.int32),
        at=NOW - np.array(days) * DAY,
        kind=np.full(n, Kind.WATCH, np.int8),
        value=np.full(n, np.nan, np.float32),
        watch_seconds=np.full(n, np.nan, np.float32),
    )
    counters = Counters(5)
    counters.add(events, np.ones(n, np.float32))
    return counters


@pytest.mark.parametrize(
    ("window", "name", "rows", "shares"),
    [
        ("all", "popular_all", [0, 1, 2, 3, 4], [0.4, 0.3, 0.2, 0.1, 0.0]),
        ("7d", "popular_7d", [1, 2, 3, 0, 4], [1 / 2, 1 / 3, 1 / 6, 0.0, 0.0]),
        ("1d", "popular_1d", [2, 3, 0, 1, 4], [2 / 3, 1 / 3, 0.0, 0.0, 0.0]),  # ties by row
    ],
)
def test_the_most_played_come_first(
    window: str, name: str, rows: list[int], shares: list[float], counters: Counters
) -> None:
    popular = Popular(counters, window)
    assert popular.name == name
    best, scores = popular.retrieve(Request(None, NOW), ANYBODY, 5)
    assert best.dtype == np.int32
    assert best.tolist() == rows
    assert scores.tolist() == pytest.approx(shares)
    np.testing.assert_array_equal(popular.score(Request(None, NOW), ANYBODY, best), scores)


def test_what_is_trending_halves_every_three_days(counters: Counters) -> None:
    trending = Popular(counters, "trend")
    assert trending.name == "trending"
    rows, scores = trending.retrieve(Request(None, NOW), ANYBODY, 5)
    assert rows.tolist() == [2, 3, 1, 0, 4]
    weights = np.array([2 * 2 ** (-0.1 / 3), 1.0, 3 * 2 ** (-5 / 3), 4 * 2 ** (-100 / 3), 0.0])
    assert scores.tolist() == pytest.approx((weights / weights.sum()).tolist(), rel=1e-5)


@pytest.mark.parametrize(("n", "expected"), [(0, []), (2, [0, 1]), (9, [0, 1, 2, 3, 4])])
def test_no_more_are_proposed_than_asked_for(n: int, expected: list[int], counters: Counters) -> None:
    assert Popular(counters, "all").retrieve(Request(None, NOW), ANYBODY, n)[0].tolist() == expected


def test_an_event_counts_at_once(counters: Counters) -> None:
    popular = Popular(counters, "1d")
    assert popular.retrieve(Request(None, NOW), ANYBODY, 1)[0].tolist() == [2]
    event = Events(
        user_ids=np.arange(1),
        user=np.zeros(5, np.int32),
        video=np.full(5, 4, np.int32),
        at=np.full(5, NOW),
        kind=np.full(5, Kind.WATCH, np.int8),
        value=np.full(5, np.nan, np.float32),
        watch_seconds=np.full(5, np.nan, np.float32),
    )
    counters.add(event, np.ones(5, np.float32))
    assert popular.retrieve(Request(None, NOW), ANYBODY, 1)[0].tolist() == [4]


def test_before_any_play_everything_is_equal() -> None:
    rows, scores = Popular(Counters(3), "trend").retrieve(Request(None, 0.0), ANYBODY, 3)
    assert rows.tolist() == [0, 1, 2]
    assert scores.tolist() == [0.0, 0.0, 0.0]
