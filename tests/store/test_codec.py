"""States as bytes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.history import History
from nextreel.store.codec import decode, encode, key_of
from nextreel.types import Kind, NextreelError, Profile, UserId, UserState

TEXT = st.none() | st.text(max_size=5)
TIME = st.none() | st.floats(0, 4e9)


@st.composite
def states(draw: st.DrawFn) -> UserState:
    history = History(capacity=draw(st.integers(1, 4)))
    for row, at, kind, weight in draw(
        st.lists(
            st.tuples(
                st.integers(0, 2**31 - 1), st.floats(0, 4e9), st.sampled_from(list(Kind)), st.floats(-3, 3, width=32)
            ),
            max_size=20,
        )
    ):
        history.append(row, at, kind, weight)
    profile = Profile(draw(TEXT), draw(TEXT), draw(TIME), draw(TEXT), draw(TIME))
    counts = st.integers(0, 2**62)
    channels = st.frozensets(st.integers(0, 9))
    state = UserState("ann", profile, history, draw(counts), draw(counts), known=True)
    state.subscribed, state.blocked = draw(channels), draw(channels)
    state.watches, state.watch_seconds = draw(counts), draw(st.floats(0, 1e12))
    state.impressions, state.clicks, state.full_watches = draw(counts), draw(counts), draw(counts)
    shown = draw(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.floats(0, 4e9)), max_size=5))
    state.shown_rows = np.array([row for row, _ in shown], np.int32)
    state.shown_at = np.array([at for _, at in shown], np.float64)
    state.partly = draw(st.dictionaries(st.integers(0, 2**31 - 1), st.tuples(st.floats(0, 1e6), st.floats(0, 4e9))))
    state.told_at = draw(st.dictionaries(st.integers(0, 9), st.floats(0, 4e9), max_size=4))
    return state


@settings(max_examples=60, deadline=None)
@given(states())
def test_a_state_comes_back_as_it_was(state: UserState) -> None:
    back = decode("ann", encode(state))
    assert (back.user_id, back.profile, back.version, back.offset, back.known) == (
        "ann",
        state.profile,
        state.version,
        state.offset,
        True,
    )
    assert (back.subscribed, back.blocked, back.watches, back.watch_seconds) == (
        state.subscribed,
        state.blocked,
        state.watches,
        state.watch_seconds,
    )
    assert (back.impressions, back.clicks, back.full_watches) == (state.impressions, state.clicks, state.full_watches)
    assert list(back.partly.items()) == list(state.partly.items())  # the oldest first, as it was
    for name in ("shown_rows", "shown_at"):
        assert getattr(back, name).dtype == getattr(state, name).dtype
        np.testing.assert_array_equal(getattr(back, name), getattr(state, name))
    assert back.told_at == state.told_at
    for name in ("rows", "at", "kinds", "weights"):
        stored, original = getattr(back.history, name), getattr(state.history, name)
        assert stored.dtype == original.dtype
        np.testing.assert_array_equal(stored, original)


@settings(max_examples=20, deadline=None)
@given(states())
def test_a_state_that_came_back_grows_on_without_changing_the_first(state: UserState) -> None:
    before = encode(state)
    back = decode("ann", before)
    for i in range(40):
        back.history.append(i, float(i), Kind.WATCH, 1.0)
    assert len(back.history) == len(state.history) + 40
    assert encode(state) == before


def test_every_person_has_a_key_of_their_own() -> None:
    people: list[UserId] = [7, "7", "i/7", -7, "user/i/7", "ann", "Ann"]
    assert len({key_of(user_id) for user_id in people}) == len(people)


@pytest.mark.parametrize(("body", "got"), [(b"", "nothing"), (b"\x01abc", "01")])
def test_bytes_of_another_version_are_refused_with_a_hint(body: bytes, got: str) -> None:
    with pytest.raises(NextreelError, match=rf"'ann' to start with version byte 04, got {got}.*Hint"):
        decode("ann", body)


def test_a_state_of_the_version_before_is_read_without_what_it_did_not_have() -> None:
    rows, at = np.array([3], np.int32), np.array([5.0])
    parts = [("DE", None, 30.0, None, None), rows.tobytes(), at.tobytes(), b"\x02", np.ones(1, np.float32).tobytes()]
    body = b"\x03" + msgspec.msgpack.encode([*parts, 7, 9, [1], [2], 1, 4.0, 3, 2, 1])
    back = decode("ann", body)
    assert (back.profile.country, back.history.rows.tolist(), back.version, back.offset) == ("DE", [3], 7, 9)
    assert (back.subscribed, back.blocked) == (frozenset({1}), frozenset({2}))
    assert (back.impressions, back.full_watches) == (3, 1)
    assert (back.shown_rows.tolist(), back.shown_at.tolist(), back.partly, back.told_at) == ([], [], {}, {})
    assert decode("ann", encode(back)).profile == back.profile
