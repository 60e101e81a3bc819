"""States as the Recommender of a smaller catalogue reads them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nextreel.store import bounded, within
from nextreel.types import UserState


def test_a_state_of_this_catalogue_is_given_as_it_is(person: Callable[..., UserState]) -> None:
    state = person([0, 4])
    state.subscribed = frozenset({0})
    assert bounded(state, 5, 1) is state
    assert bounded(UserState(1), 0, 0).history.rows.tolist() == []


def test_later_videos_and_channels_are_left_out(person: Callable[..., UserState]) -> None:
    state = person([0, 5, 4, 9, 0], at=[1, 2, 3, 4, 5], weights=[1, 2, 3, 4, 5])
    state.subscribed, state.blocked = frozenset({0, 3}), frozenset({1, 2})
    state.shown_rows, state.shown_at = np.array([6, 2], np.int32), np.array([1.0, 2.0])
    state.partly = {7: (1.0, 2.0), 3: (4.0, 5.0)}
    less = bounded(state, 5, 2)
    assert (less.shown_rows.tolist(), less.shown_at.tolist(), less.partly) == ([2], [2.0], {3: (4.0, 5.0)})
    assert less.history.rows.tolist() == [0, 4, 0]
    assert less.history.at.tolist() == [1, 3, 5]
    assert less.history.weights.tolist() == [1, 3, 5]
    assert (less.subscribed, less.blocked) == (frozenset({0}), frozenset({1}))
    assert (less.user_id, less.version, less.known) == (state.user_id, state.version, state.known)
    assert state.history.rows.tolist() == [0, 5, 4, 9, 0]  # the store's own state stays
    assert state.subscribed == {0, 3}


def test_what_lies_within_is_another_history(person: Callable[..., UserState]) -> None:
    history = person([7, 1]).history
    assert within(history, 2).stamp != history.stamp
    assert within(history, 0).rows.tolist() == []
    assert np.array_equal(within(history, 8).kinds, history.kinds)
