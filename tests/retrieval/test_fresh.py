"""New uploads, on ages that can be counted by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.retrieval.fresh import Fresh, FreshParams
from nextreel.store import Counters
from nextreel.types import DAY, Catalogue, Events, Kind, Request, UserState

NOW = 1_000 * DAY
ASKED = Request(None, NOW)
ANYBODY = UserState(None)
UNKNOWN_AGE = float("nan")
FreshOf = Callable[..., Fresh]


def plays(rows: Sequence[int], days: Sequence[float]) -> Events:
    n = len(rows)
    return Events(
        user_ids=np.arange(n),
        user=np.arange(n, dtype=np.int32),
        video=np.array(rows, np.int32),
        at=NOW - np.array(days) * DAY,
        kind=np.full(n, Kind.WATCH, np.int8),
        value=np.full(n, np.nan, np.float32),
        watch_seconds=np.full(n, np.nan, np.float32),
    )


@pytest.fixture
def fresh_of(catalogue_of: Callable[..., Catalogue]) -> FreshOf:
    """Makes the source over videos of ages in days, and plays as (row, days ago), oldest first."""

    def fresh_of(ages: Sequence[float], played: Sequence[tuple[int, float]] = (), **params: float) -> Fresh:
        counters = Counters(len(ages))
        if played:
            events = plays(*zip(*played, strict=True))
            counters.add(events, np.ones(len(events), np.float32))
        catalogue = catalogue_of([[0]] * len(ages), published_at=NOW - np.array(ages) * DAY)
        return Fresh(catalogue, counters, FreshParams(**params))

    return fresh_of


def test_the_newest_come_first_and_halve_with_every_half_life(fresh_of: FreshOf) -> None:
    fresh = fresh_of([14.0, 0.0, 40.0, 7.0])
    rows, scores = fresh.retrieve(ASKED, ANYBODY, 9)
    assert fresh.name == "fresh"
    assert rows.tolist() == [1, 3, 0]  # row 2 is older than 30 days
    assert rows.dtype == np.int32
    assert scores.tolist() == pytest.approx([1.0, 0.5, 0.25])
    np.testing.assert_array_equal(fresh.score(ASKED, ANYBODY, rows), scores)
    assert fresh.score(ASKED, ANYBODY, np.array([2], np.int32))[0] == pytest.approx(2 ** (-40 / 7))


def test_early_popularity_makes_a_video_at_most_one_half_life_younger(fresh_of: FreshOf) -> None:
    fresh = fresh_of([1.0, 7.0, 9.0, 500.0], [(3, 8.0)] * 100 + [(1, 1.0)] * 4 + [(2, 1.0)])
    rows, scores = fresh.retrieve(ASKED, ANYBODY, 9)
    assert rows.tolist() == [1, 0, 2]
    assert scores.tolist() == pytest.approx([2 * 0.5, 2 ** (-1 / 7), 1.25 * 2 ** (-9 / 7)])


def test_a_video_of_unknown_age_is_as_old_as_its_first_play(fresh_of: FreshOf) -> None:
    fresh = fresh_of([UNKNOWN_AGE, UNKNOWN_AGE, 3.0], [(0, 7.0), (0, 2.0)])
    rows, scores = fresh.retrieve(ASKED, ANYBODY, 9)
    assert rows.tolist() == [0, 2]
    assert scores[0] == pytest.approx(1.0)
    assert np.isnan(fresh.score(ASKED, ANYBODY, np.array([1], np.int32))).all()  # nobody played it


def test_what_is_published_later_is_neither_proposed_nor_scored(fresh_of: FreshOf) -> None:
    fresh = fresh_of([-1.0, 1.0, UNKNOWN_AGE], [(2, -2.0)])
    assert fresh.retrieve(ASKED, ANYBODY, 9)[0].tolist() == [1]
    assert np.isnan(fresh.score(ASKED, ANYBODY, np.array([0, 2], np.int32))).all()
    later = Request(None, NOW + 3 * DAY)
    assert fresh.retrieve(later, ANYBODY, 9)[0].tolist() == [2, 0, 1]


@given(ages=st.lists(st.floats(-5, 60), min_size=1, max_size=12), n=st.integers(0, 14))
@settings(max_examples=40, deadline=None)
def test_proposals_are_the_best_scored_new_videos(
    catalogue_of: Callable[..., Catalogue], ages: list[float], n: int
) -> None:
    catalogue = catalogue_of([[0]] * len(ages), published_at=NOW - np.array(ages) * DAY)
    fresh = Fresh(catalogue, Counters(len(ages)))
    rows, scores = fresh.retrieve(ASKED, ANYBODY, n)
    everything = fresh.score(ASKED, ANYBODY, np.arange(len(ages), dtype=np.int32))
    age = (NOW - catalogue.published_at) / DAY
    new = (age >= 0) & (age <= fresh.params.days)
    assert len(set(rows.tolist())) == len(rows) == min(n, int(new.sum()))
    np.testing.assert_array_equal(np.sort(everything[new])[::-1][:n], scores)
