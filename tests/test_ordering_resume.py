"""The first places of a list: what the person is in the middle of, and that all other promises hold around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.ordering import (
    CONTINUE,
    NEXT,
    Arranged,
    ExploreParams,
    OrderParams,
    Promotion,
    Resume,
    Resumed,
    arrange,
    orderers,
)
from nextreel.resuming import ResumeParams
from nextreel.types import DAY, UNKNOWN, Catalogue, FloatArray, Kind, Moment, Order, Orderer, Request, Trace, UserState

NOW = 1_000 * DAY
VALUE: FloatArray = np.arange(10, 0, -1, dtype=np.float32)


@pytest.fixture(scope="module")
def ten(catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]) -> Moment:
    """Ten candidates of two kinds, best first."""
    return moment_of(catalogue_of([[0], [1]] * 5))


def listed(
    moment: Moment,
    *rows: int,
    k: int = 5,
    chain: tuple[Orderer, ...] = (),
    proposed: int = 10,
    promoted: Promotion | None = None,
    trace: Trace | None = None,
) -> Arranged:
    resumed = Resumed(np.array(rows, np.int32), (CONTINUE, NEXT, CONTINUE)[: len(rows)])
    asked = replace(moment, request=Request(1, 0.0, k))
    return arrange(asked, VALUE[: len(moment)], chain, trace or Trace(), promoted, proposed, resumed)


def test_a_list_begins_with_what_was_begun_and_goes_on_by_value(ten: Moment) -> None:
    trace = Trace()
    found = listed(ten, 7, 1, trace=trace)
    assert found.positions.tolist() == [7, 1, 0, 2, 3]
    assert found.resumed == {0: CONTINUE, 1: NEXT}
    assert not found.promoted.any()
    assert found.propensities.tolist() == [1.0] * 5
    assert found.steps["value"].tolist() == [0, *range(2, 7), 8, 9]
    assert found.steps["resume"].tolist() == [7, 1, 0, 2, 3]
    assert trace.resumed == {"shown": 2}


def test_who_was_added_to_be_gone_on_with_makes_the_list_longer_by_itself_alone(ten: Moment) -> None:
    three = ten.take(np.array([0, 1, 9]))  # two were proposed
    found = listed(three, 9, proposed=2)
    assert found.positions.tolist() == [2, 0, 1]


def test_promoted_places_are_given_first(ten: Moment) -> None:
    promoted = Promotion(np.array([8, 7], np.int32), (0, 3))
    found = listed(ten, 7, 9, promoted=promoted)
    assert found.positions.tolist() == [8, 7, 9, 0, 1]  # what was begun is there to go on with, not for being promoted
    assert found.promoted.tolist() == [True, False, False, False, False]
    assert found.resumed == {1: CONTINUE, 2: NEXT}
    assert found.steps["promotion"].tolist() == [8, 7, 9, 0, 1]
    assert listed(ten, 9, k=1, promoted=promoted).positions.tolist() == [7]


def test_a_list_that_is_begun_alone_asks_no_orderer(ten: Moment) -> None:
    def never(moment: Moment, value: FloatArray, k: int) -> Order:
        raise AssertionError

    assert listed(ten, 4, 6, k=2, chain=(never,)).positions.tolist() == [4, 6]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.integers(0, 9), unique=True, max_size=3),
    k=st.integers(4, 12),
    slots=st.integers(0, 2),
    diversity=st.sampled_from([0.0, 0.5]),
)
def test_the_rest_is_a_list_of_its_own(rows: list[int], k: int, slots: int, diversity: float, ten: Moment) -> None:
    chain = orderers(OrderParams(diversity=diversity, explore=ExploreParams(slots=slots)))
    found = listed(ten, *rows, k=k, chain=chain)
    others = np.array([row for row in range(10) if row not in rows], np.intp)
    rest = replace(ten.take(others), request=Request(1, 0.0, min(k, 10) - len(rows)))
    alone = arrange(rest, VALUE[others], chain, Trace())
    assert found.positions.tolist() == [*rows, *others[alone.positions]]
    assert found.propensities.tolist() == [*[1.0] * len(rows), *alone.propensities]


@pytest.fixture(scope="module")
def serials(catalogue_of: Callable[..., Catalogue]) -> Catalogue:
    """Rows 0 to 2: episodes 1 to 3 of series 0; 3, 4: both of them episode 2 of series 1; 5, 6: of no series."""
    return catalogue_of(
        [[0]] * 7,
        series=np.array([0, 0, 0, 1, 1, UNKNOWN, UNKNOWN], np.int32),
        episode=np.array([1, 2, 3, 2, 2, UNKNOWN, UNKNOWN], np.int32),
        series_ids=("a", "b"),
        duration=np.full(7, 100, np.float32),
    )


def begun_by(partly: dict[int, tuple[float, float]], *completed: tuple[int, float]) -> UserState:
    user = UserState(1, partly=partly)
    for row in partly:
        user.history.append(row, partly[row][1], Kind.WATCH, 1.0)
    for row, at in completed:
        user.history.append(row, at, Kind.COMPLETE, 1.0)
    return user


@pytest.mark.parametrize(
    ("partly", "completed", "rows", "unfinished"),
    [
        ({}, [], [], []),
        ({5: (50.0, NOW - 2), 6: (50.0, NOW - 1)}, [], [6, 5], [True, True]),
        ({6: (95.0, NOW - 1)}, [], [], []),
        ({}, [(0, NOW - 1)], [1, 2], [False, False]),
        ({0: (95.0, NOW - 1)}, [], [1, 2], [False, False]),
        ({5: (50.0, NOW - 5)}, [(0, NOW - 9)], [5, 1, 2], [True, False, False]),
        ({5: (50.0, NOW - 9)}, [(0, NOW - 5)], [1, 2, 5], [False, False, True]),
        ({1: (50.0, NOW - 1)}, [(0, NOW - 5)], [1, 2], [True, False]),  # the next one was begun
        ({}, [(0, NOW - 31 * DAY)], [], []),
        ({}, [(6, NOW - 1)], [], []),
    ],
)
def test_what_was_begun_comes_with_the_newest_first(
    partly: dict[int, tuple[float, float]],
    completed: list[tuple[int, float]],
    rows: list[int],
    unfinished: list[bool],
    serials: Catalogue,
    moment_of: Callable[..., Moment],
) -> None:
    moment = moment_of(serials, request=Request(1, NOW), user=begun_by(partly, *completed))
    found = Resume(ResumeParams()).begun(moment)
    assert found.rows.tolist() == rows
    assert found.unfinished.tolist() == unfinished


def test_one_episode_of_a_series_is_chosen_and_as_many_videos_as_there_are_places(
    serials: Catalogue, moment_of: Callable[..., Moment]
) -> None:
    user = begun_by({5: (50.0, NOW - 2), 6: (50.0, NOW - 9)}, (3, NOW - 1))
    moment = moment_of(serials, request=Request(1, NOW), user=user)

    def chosen(places: int, eligible: list[int], **asked: Any) -> tuple[list[int], tuple[str, ...]]:
        resume = Resume(ResumeParams(places=places))
        request = Request(1, NOW, **asked)
        found = resume.chosen(resume.begun(moment), np.array(eligible, np.int32), replace(moment, request=request))
        return found.rows.tolist(), found.sources

    everything = list(range(7))
    assert chosen(9, everything) == ([4, 5, 6], (NEXT, CONTINUE, CONTINUE))
    assert chosen(2, everything) == ([4, 5], (NEXT, CONTINUE))
    assert chosen(2, everything, k=1) == ([4], (NEXT,))
    assert chosen(2, [6]) == ([6], (CONTINUE,))
    assert chosen(2, []) == ([], ())
