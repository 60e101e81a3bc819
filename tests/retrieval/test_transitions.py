"""What people watch soon after a video, on sequences that can be counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.retrieval import item_item
from nextreel.retrieval._arrays import FitError
from nextreel.retrieval.item_item import ItemItem, Sparse
from nextreel.retrieval.transitions import TransitionParams, fit_transitions
from nextreel.types import FloatArray, Kind, Request, UserState

NOW = Request(None, 0.0)
PLAIN = TransitionParams(window=2, window_decay=0.5, discount=0.0, prior=0.0, half_life=1.0)


def fit(sequences: list[list[int]], videos: int, params: TransitionParams | None = None) -> ItemItem:
    """Fitted on each person's videos, oldest first; the people's events come in turn."""
    longest = max(map(len, sequences))
    turns = [(user, one[place]) for place in range(longest) for user, one in enumerate(sequences) if place < len(one)]
    users, rows = np.array(turns, np.int32).T
    return fit_transitions(users, rows, np.ones(len(rows), np.float32), len(sequences), videos, params)


def dense(model: ItemItem) -> FloatArray:
    return np.stack([model._from(row) for row in range(len(model))])


def person(rows: list[int]) -> UserState:
    state = UserState(1, known=True)
    for at, row in enumerate(rows):
        state.history.append(row, float(at), Kind.WATCH, 1.0)
    return state


def test_weights_count_how_often_and_how_soon_a_video_was_watched_after_another() -> None:
    model = fit([[0, 1, 2], [0, 2], [3, 0, 1, 3]], 4, PLAIN)
    # 0 → 1 twice at once; 0 → 2 once at once and once a step later; 1 → 2, 3 → 0 and 1 → 3 once at once, and a step
    # later 3 → 1 and 0 → 3. What comes three steps later counts no more
    expected = np.array([[0, 2, 1.5, 0.5], [0, 0, 1, 1], [0, 0, 0, 0], [1, 0.5, 0, 0]])
    np.testing.assert_allclose(dense(model), expected)
    assert model.name == "transitions"


def test_pairs_are_divided_by_how_often_the_first_video_was_watched() -> None:
    sequences = [[0, 1], [0, 2], [0, 1], [3, 1]]
    whole = fit(sequences, 4, PLAIN.model_copy(update={"discount": 1.0}))
    np.testing.assert_allclose(dense(whole)[[0, 3]], np.array([[0, 2 / 3, 1 / 3, 0], [0, 1, 0, 0]]), rtol=1e-6)
    wary = fit(sequences, 4, PLAIN.model_copy(update={"discount": 0.5, "prior": 1.0}))
    np.testing.assert_allclose(dense(wary)[[0, 3]], np.array([[0, 1, 1 / 2, 0], [0, 1 / 2**0.5, 0, 0]]), rtol=1e-6)


def test_the_video_itself_is_no_neighbour() -> None:
    assert dense(fit([[0, 0, 1, 0]], 2, PLAIN)).diagonal().tolist() == [0, 0]


def test_the_end_of_one_history_is_not_followed_by_the_start_of_another() -> None:
    model = fit([[0, 1], [2, 3]], 4, PLAIN)
    np.testing.assert_allclose(dense(model)[1], 0)


def test_what_follows_the_newest_video_counts_most() -> None:
    model = fit([[0, 1], [2, 3]], 4, PLAIN)
    state = person([0, 2])
    rows, scores = model.retrieve(NOW, state, 4)
    assert rows.tolist() == [3, 1]
    assert scores.tolist() == pytest.approx([1.0, 0.5])
    np.testing.assert_array_equal(model.score(NOW, state, rows), scores)
    assert model.retrieve(NOW, person([0]), 4)[0].tolist() == [1]


def test_only_the_newest_videos_count() -> None:
    model = fit([[0, 1], [2, 3]], 4, PLAIN.model_copy(update={"max_history": 1}))
    assert model.retrieve(NOW, person([0, 2]), 4)[0].tolist() == [3]


def test_only_the_largest_weights_are_kept_and_of_equals_the_first_rows() -> None:
    model = fit([[0, 3], [0, 3], [0, 1], [0, 2], [1, 0]], 4, PLAIN.model_copy(update={"neighbours": 2}))
    np.testing.assert_allclose(dense(model), [[0, 1, 0, 2], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_events_without_a_positive_weight_are_as_if_they_had_not_been() -> None:
    users, rows = np.zeros(5, np.int32), np.array([0, 9, 1, -1, 2], np.int32)
    weights = np.array([1, 0, 3, 1, 1], np.float32)
    weights[1] = -1
    model = fit_transitions(users, rows, weights, 1, 10, PLAIN)
    np.testing.assert_allclose(dense(model), dense(fit([[0, 1, 2]], 10, PLAIN)))


SEQUENCES = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=12), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sequences=SEQUENCES, data=st.data())
def test_the_order_of_people_changes_nothing(sequences: list[list[int]], data: st.DataObject) -> None:
    other = data.draw(st.permutations(sequences))
    one, two = fit(sequences, 7), fit(other, 7)
    np.testing.assert_allclose(dense(one), dense(two), rtol=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sequences=SEQUENCES, window=st.integers(1, 15), decay=st.sampled_from([0.5, 0.8, 1.0]))
def test_weights_are_those_of_the_formula(sequences: list[list[int]], window: int, decay: float) -> None:
    params = TransitionParams(window=window, window_decay=decay, discount=0.7, prior=2.0)
    expected = np.zeros((7, 7))
    for one in sequences:
        for place, first in enumerate(one):
            for lag, later in enumerate(one[place + 1 : place + 1 + window]):
                expected[first, later] += decay**lag * (first != later)
    counts = np.bincount(np.concatenate(sequences), minlength=7)
    expected /= (counts + params.prior)[:, None] ** params.discount
    np.testing.assert_allclose(dense(fit(sequences, 7, params)), expected, rtol=1e-4, atol=1e-7)


def test_a_saved_model_answers_as_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = fit(rng.integers(0, 30, (20, 12)).tolist(), 30)
    model.save(tmp_path / "transitions")
    again = item_item.load(tmp_path / "transitions")
    assert (again.name, again.params) == (model.name, model.params)
    assert isinstance(again.weights, Sparse)
    for one, other in zip(*(some.retrieve(NOW, person([3, 4, 5]), 10) for some in (model, again)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_event_leads_nowhere() -> None:
    model = fit([[2]], 3)
    assert model.retrieve(NOW, person([2]), 3)[0].tolist() == []
    assert np.isnan(model.score(NOW, person([2]), np.arange(3, dtype=np.int32))).all()


@pytest.mark.parametrize("rows", [[0, 1], [-1, -1], []])
def test_nothing_positive_is_an_error_that_says_so(rows: list[int]) -> None:
    weights: Any = np.full(len(rows), -1.0 if rows != [-1, -1] else 1.0, np.float32)
    with pytest.raises(FitError, match="at least one event about a video with a weight above 0"):
        fit_transitions(np.zeros(len(rows), np.int32), np.array(rows, np.int32), weights, 1, 3)
