"""Videos of followed channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextreel.retrieval.subscribed import Subscribed
from nextreel.store import Counters
from nextreel.types import DAY, UNKNOWN, Catalogue, Request, UserState

NOW = 1_000 * DAY
ASKED = Request(1, NOW)


@pytest.fixture
def subscribed(catalogue_of: Callable[..., Catalogue]) -> Subscribed:
    """Channel 0: rows 0 (three days old), 3 (one day), 5 (not yet published). 1: 1 (today), 4 (unknown). None: 2."""
    ages = np.array([3.0, 0.0, 0.0, 1.0, np.nan, -1.0])
    channel = np.array([0, 1, UNKNOWN, 0, 1, 0], np.int32)
    return Subscribed(catalogue_of([[0]] * 6, channel=channel, published_at=NOW - ages * DAY), Counters(6, 2))


@pytest.mark.parametrize(
    ("followed", "rows", "scores"),
    [
        ({0}, [3, 0], [0.5, 0.25]),
        ({1}, [1, 4], [1.0, 0.0]),
        ({0, 1}, [1, 3, 0, 4], [1.0, 0.5, 0.25, 0.0]),
    ],
)
def test_the_newest_of_the_followed_channels_come_first(
    followed: set[int], rows: list[int], scores: list[float], subscribed: Subscribed
) -> None:
    user = UserState(1, subscribed=frozenset(followed))
    found, values = subscribed.retrieve(ASKED, user, 9)
    assert subscribed.name == "subscribed"
    assert found.tolist() == rows
    assert found.dtype == np.int32
    assert values.tolist() == pytest.approx(scores)
    np.testing.assert_array_equal(subscribed.score(ASKED, user, found), values)
    assert subscribed.retrieve(ASKED, user, 1)[0].tolist() == rows[:1]


def test_who_follows_nothing_gets_nothing_and_no_score(subscribed: Subscribed) -> None:
    rows, scores = subscribed.retrieve(ASKED, UserState(1), 9)
    assert len(rows) == len(scores) == 0
    assert np.isnan(subscribed.score(ASKED, UserState(1), np.arange(6, dtype=np.int32))).all()


def test_other_channels_and_later_videos_have_no_score(subscribed: Subscribed) -> None:
    user = UserState(1, subscribed=frozenset({0}))
    scores = subscribed.score(ASKED, user, np.arange(6, dtype=np.int32))
    assert np.isnan(scores).tolist() == [False, True, True, False, True, True]
