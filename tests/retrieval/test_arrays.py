"""The best of a column, and what is remembered of a history."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from nextreel.history import History, liked
from nextreel.retrieval._arrays import Cache, best
from nextreel.types import FloatArray, RowArray

SCORES = st.lists(st.sampled_from([0.0, 1.0, -2.5, 7.0, float("-inf"), 0.5]), max_size=30)


@given(scores=SCORES, n=st.integers(0, 35))
def test_the_best_are_those_of_a_whole_sort(scores: list[float], n: int) -> None:
    expected = [row for row in sorted(range(len(scores)), key=lambda row: (-scores[row], row)) if scores[row] > -np.inf]
    assert best(np.array(scores, np.float32), n).tolist() == expected[:n]


def test_a_column_without_a_number_has_no_best() -> None:
    for n in (1, 3, 5):
        assert len(best(np.full(4, np.nan, np.float32), n)) == 0


def _first_row(rows: RowArray, weights: FloatArray) -> int:
    return int(rows[0])


def _never(rows: RowArray, weights: FloatArray) -> int:
    raise AssertionError("computed again")


def test_what_is_remembered_is_bounded_and_the_longest_unused_leaves_first() -> None:
    cache: Cache[int] = Cache(2, "test-bounded")
    people = [History(), History(), History()]
    for number, history in enumerate(people):
        history.append(number, 0.0, 2, 1.0)
    first, second, third = people
    for history in (first, second, first, third):  # second is now the longest unused
        cache.get(history, _first_row)
    assert len(cache) == 2
    assert cache.get(first, _never) == 0
    assert cache.get(third, _never) == 2
    assert cache.get(second, lambda rows, _: 9) == 9  # computed again


def test_an_event_makes_what_was_remembered_void() -> None:
    cache: Cache[int] = Cache(5, "test-void")
    history = History()
    history.append(3, 0.0, 2, 1.0)
    assert cache.get(history, lambda rows, _: len(rows)) == 1
    history.append(4, 1.0, 2, 1.0)
    assert cache.get(history, lambda rows, _: len(rows)) == 2


def test_look_ups_are_counted_once_for_each_request() -> None:
    cache: Cache[int] = Cache(5, "test-counted")
    history = History()
    history.append(3, 0.0, 2, 1.0)
    for counted in (True, False, True, False, True, False):  # to retrieve, and then to score
        cache.get(history, _first_row, counted=counted)

    def counts(outcome: str) -> float | None:
        labels = {"cache": "test-counted", "outcome": outcome}
        return REGISTRY.get_sample_value("nextreel_cache_requests_total", labels)

    assert (counts("hit"), counts("miss")) == (2, 1)
    assert REGISTRY.get_sample_value("nextreel_cache_entries", {"cache": "test-counted"}) == 1


@given(
    events=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-1.0, 0.0, 0.5, 1.0])), max_size=20),
    split=st.integers(0, 20),
)
def test_liked_rows_stand_once_by_their_last_event_with_their_largest_weight(
    events: list[tuple[int, float]], split: int
) -> None:
    history = History()
    for row, weight in events[:split]:
        history.append(row, 0.0, 2, weight)
    history.liked  # noqa: B018  asked for before the rest comes
    for row, weight in events[split:]:
        history.append(row, 0.0, 2, weight)
    good = [(row, weight) for row, weight in events if weight > 0]
    order = list(dict.fromkeys(row for row, _ in reversed(good)))[::-1]
    rows, weights = history.liked
    assert rows.tolist() == order
    assert weights.tolist() == [max(w for r, w in good if r == row) for row in order]
    assert [part.tolist() for part in liked(history.rows, history.weights)] == [rows.tolist(), weights.tolist()]
