"""What each kind of event says."""

from __future__ import annotations

import numpy as np
import pytest

from nextreel.relevance import Relevance, weights
from nextreel.types import Kind

UNTOLD = float("nan")


@pytest.mark.parametrize(
    ("kind", "seconds", "duration", "expected"),
    [
        (Kind.IMPRESSION, UNTOLD, 100.0, 0.0),
        (Kind.CLICK, UNTOLD, 100.0, 1.0),
        (Kind.LIKE, UNTOLD, 100.0, 2.0),
        (Kind.DISLIKE, UNTOLD, 100.0, -1.0),
        (Kind.COMMENT, UNTOLD, 100.0, 2.0),
        (Kind.SHARE, UNTOLD, 100.0, 3.0),
        (Kind.COMPLETE, 100.0, 100.0, 3.0),
        (Kind.HIDE, UNTOLD, 100.0, -1.0),
        (Kind.SUBSCRIBE, UNTOLD, UNTOLD, 0.0),
        (Kind.BLOCK, UNTOLD, UNTOLD, 0.0),
        (Kind.WATCH, UNTOLD, UNTOLD, 1.0),  # nobody knows how long: a watch is a watch
        (Kind.WATCH, UNTOLD, 100.0, 1.0),
        (Kind.WATCH, 30.0, UNTOLD, 1.0),
        (Kind.WATCH, 40.1, 100.0, 1.0),  # above 0.4 of the duration
        (Kind.WATCH, 40.0, 100.0, 0.0),  # not above
        (Kind.WATCH, 3.0, 100.0, 0.0),
        (Kind.WATCH, 2.9, 100.0, -0.5),  # under three seconds is a skip
        (Kind.WATCH, 2.9, UNTOLD, -0.5),
        (Kind.CLICK, 1.0, 100.0, 1.0),  # watch time judges watches only
    ],
)
def test_an_event_says_what_the_rules_tell(kind: Kind, seconds: float, duration: float, expected: float) -> None:
    columns = (np.array([one], np.float32) for one in (seconds, duration, UNTOLD))
    watch, long, value = columns
    graded = weights(np.array([kind], np.int8), watch, long, value, Relevance())
    assert graded.dtype == np.float32
    assert graded.tolist() == [expected]


def test_the_rules_can_be_chosen() -> None:
    rules = Relevance(watch=5.0, watched_share=0.9, skip_seconds=50.0, skip=-7.0)
    kinds = np.full(3, Kind.WATCH, np.int8)
    seconds, duration = np.array([95, 60, 49], np.float32), np.full(3, 100, np.float32)
    assert weights(kinds, seconds, duration, np.full(3, np.nan, np.float32), rules).tolist() == [5.0, 0.0, -7.0]


def test_a_rating_below_the_least_value_is_no_positive_and_no_negative() -> None:
    kinds = np.array([Kind.WATCH, Kind.WATCH, Kind.WATCH, Kind.DISLIKE], np.int8)
    none, value = np.full(4, np.nan, np.float32), np.array([3.5, 4.0, np.nan, 1.0], np.float32)
    assert weights(kinds, none, none, value, Relevance(least_value=4.0)).tolist() == [0.0, 1.0, 1.0, -1.0]
    assert weights(kinds, none, none, value, Relevance()).tolist() == [1.0, 1.0, 1.0, -1.0]


def test_no_events_say_nothing() -> None:
    none = np.empty(0, np.float32)
    assert len(weights(np.empty(0, np.int8), none, none, none, Relevance())) == 0
