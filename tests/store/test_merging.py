"""Sessions that become accounts: what both did is one past, in every process that follows the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.test_live import END, RULES, Home, event

from nextreel.backends import TooLarge
from nextreel.backends.memory import MemoryKeyValue
from nextreel.history import History
from nextreel.store import LiveStore, live
from nextreel.store.codec import decode, encode
from nextreel.store.memory import ENDS, SHOWN
from nextreel.store.merging import emptied, merged
from nextreel.types import Catalogue, Conflict, Event, Kind, Profile, UserId, UserState, is_session, session_person

if TYPE_CHECKING:
    from tests.store.conftest import Columns

SESSION, OTHER = session_person("tab-1"), session_person("tab-2")
ACCOUNTS: list[UserId] = ["ann", 7, "new"]
EXACT = ("profile", "known", "subscribed", "blocked", "told_at", "watches", "impressions", "clicks", "full_watches")


def merge(account: UserId, after: float, session: str = "tab-1") -> Event:
    return Event(account, END + after, Kind.MERGE, session_id=session)


def past_of(state: UserState) -> tuple[list[Any], ...]:
    history = state.history
    return (history.rows.tolist(), history.at.tolist(), history.kinds.tolist(), history.weights.tolist())


def assert_same(state: UserState, expected: UserState) -> None:
    """All but the id, the version and the offset."""
    assert past_of(state) == past_of(expected)
    assert {name: getattr(state, name) for name in EXACT} == {name: getattr(expected, name) for name in EXACT}
    assert state.watch_seconds == pytest.approx(expected.watch_seconds)
    assert (state.shown_rows.tolist(), state.shown_at.tolist()) == (
        expected.shown_rows.tolist(),
        expected.shown_at.tolist(),
    )
    assert [(row, at) for row, (_, at) in state.partly.items()] == [
        (row, at) for row, (_, at) in expected.partly.items()
    ]
    for row, (seconds, _) in expected.partly.items():
        ended = np.isin(
            state.history.kinds[state.history.rows == row], ENDS
        ).any()  # which part is after it is not known
        assert state.partly[row][0] >= seconds if ended else state.partly[row][0] == pytest.approx(seconds)


@pytest.fixture
def home(tmp_path: Path, catalogue: Catalogue, columns: Columns) -> Iterator[Home]:
    home = Home(tmp_path, catalogue, columns)
    yield home
    home.close()


def expected_of(home: Home, log: Sequence[Event]) -> dict[UserId, UserState]:
    """The states of a store in which each event was its owner's from the start: the next merge's, else its own."""
    owned: list[Event] = []
    for number, one in enumerate(log):
        if one.kind == Kind.MERGE:
            continue
        owner = one.user_id
        if is_session(owner):
            into = (
                m.user_id for m in log[number:] if m.kind == Kind.MERGE and session_person(m.session_id or "") == owner
            )
            owner = next(into, owner)
        owned.append(replace(one, user_id=owner))
    with TemporaryDirectory() as folder:
        other = Home(Path(folder), home.catalogue, home.columns, "memory://")
        other.log.append(owned)
        store = other.open("memory://")
        store.follow()
        states = {user_id: store.user(user_id) for user_id in store.users()}
        other.close()
    return states


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """What three accounts and two sessions did, each at a time of its own, with merges in between."""
    kinds = [
        Kind.WATCH,
        Kind.WATCH,
        Kind.LIKE,
        Kind.HIDE,
        Kind.COMPLETE,
        Kind.IMPRESSION,
        Kind.CLICK,
        Kind.SUBSCRIBE,
        Kind.BLOCK,
        Kind.MERGE,
    ]
    one = st.tuples(st.sampled_from(kinds), st.sampled_from([*ACCOUNTS, SESSION, OTHER]), st.sampled_from("abcde"))
    made: list[Event] = []
    for number, (kind, who, video) in enumerate(draw(st.lists(one, max_size=25)), 1):
        if kind == Kind.MERGE:
            account = who if not is_session(who) else "ann"
            made.append(merge(account, number, draw(st.sampled_from(["tab-1", "tab-2"]))))
        else:
            seconds = draw(st.sampled_from([None, 2.0, 80.0])) if kind == Kind.WATCH else None
            made.append(replace(event(who, number, video, kind), watch_seconds=seconds))
    return made


@settings(max_examples=60, deadline=None)
@given(events=streams(), moves=st.lists(st.sampled_from(["append", "first", "second"]), max_size=12))
def test_after_a_merge_everything_is_as_if_the_account_had_done_it(
    catalogue: Catalogue, columns: Columns, events: list[Event], moves: list[str]
) -> None:
    with TemporaryDirectory() as folder:
        home = Home(Path(folder), catalogue, columns, "memory://")
        first, second = home.open(), home.open()
        rest = list(events)
        for move in moves:
            if move == "append":
                home.log.append(rest[:3])
                rest = rest[3:]
            else:
                (first if move == "first" else second).follow()
        home.log.append(rest)
        expected = expected_of(home, events)
        plain = home.replayed([one for one in events if one.kind != Kind.MERGE])
        late = home.open("memory://")  # a replay, which shares no states with the others
        for store in (first, second, late, home.open()):
            store.follow()
            assert set(store.users()) == set(expected)
            for user_id in [*ACCOUNTS, SESSION, OTHER, "cat"]:
                assert_same(store.user(user_id), expected.get(user_id, UserState(user_id)))
            for name in ("plays", "impressions", "likes", "clicks", "rejections"):  # nothing counts twice
                np.testing.assert_array_equal(getattr(store.counters, name), getattr(plain.counters, name), name)
        home.close()


@settings(max_examples=25, deadline=None)
@given(events=streams(), stop=st.integers(0, 25))
def test_a_state_ahead_of_the_counters_knows_of_merges(
    catalogue: Catalogue, columns: Columns, events: list[Event], stop: int
) -> None:
    with TemporaryDirectory() as folder:
        home = Home(Path(folder), catalogue, columns, "memory://")
        home.log.append(events)
        past, whole = home.open("memory://"), home.open("memory://")
        past.follow(until=stop)
        whole.follow()
        for user_id in [*ACCOUNTS, SESSION]:
            ahead, expected = past.user_at(user_id, len(events)), whole.user(user_id)
            assert past_of(ahead) == past_of(expected)
            assert (ahead.offset, ahead.version) == (expected.offset, expected.version)
            assert (ahead.subscribed, ahead.blocked) == (expected.subscribed, expected.blocked)
        home.close()


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_a_session_is_a_person_until_it_is_merged_and_a_new_one_afterwards(
    home: Home, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(live, "_BATCH", batch)
    store = home.open()
    home.log.append([event(SESSION, 1, "d"), event(SESSION, 2, kind=Kind.BLOCK)])
    store.follow()
    assert store.knows(SESSION)
    assert store.user(SESSION).history.rows.tolist() == [3]
    home.log.append([merge("ann", 3), event(SESSION, 4, "e"), event("ann", 5, "b")])
    store.follow()
    assert store.user("ann").history.rows.tolist() == [0, 3, 1]
    assert store.user("ann").blocked == {0}
    assert store.user(SESSION).history.rows.tolist() == [4]
    assert store.user(SESSION).blocked == frozenset()
    home.log.append([merge("ann", 6)])
    store.follow()
    assert store.user("ann").history.rows.tolist() == [0, 3, 4, 1]
    assert not store.knows(SESSION)
    assert SESSION not in store.users()


def test_a_merge_that_came_twice_changes_nothing_more(home: Home) -> None:
    first, second = home.open(), home.open()
    home.log.append([event(SESSION, 1, "d"), merge("ann", 2), merge("ann", 2), merge(7, 3)])
    first.follow()
    second.follow()
    for store in (first, second):
        assert store.user("ann").history.rows.tolist() == [0, 3]
        assert store.user(7).history.rows.tolist() == [1]


def test_two_states_are_written_together_or_not_at_all(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = home.open(), home.open()
    home.log.append([event(SESSION, 1, "d"), merge("ann", 2)])
    write = store._live.put_many
    attempts: list[list[str]] = []

    def late(items: Sequence[tuple[str, bytes, int | None]]) -> None:
        attempts.append([key for key, _, _ in items])
        if len(items) == 2 and len(attempts) == 2:
            other.follow()  # does it first
        write(items)

    monkeypatch.setattr(store._live, "put_many", late)
    store.follow()
    merges = [keys for keys in attempts if len(keys) == 2]
    assert merges == [["release/user/s/ann", "release/user/s/session:tab-1"]]
    with pytest.raises(Conflict):
        write([("release/user/s/ann", b"", 0), ("release/user/s/nobody", b"", 0)])
    for one in (store, other):
        assert one.user("ann").history.rows.tolist() == [0, 3]
        assert not one.knows(SESSION)


def test_an_account_too_large_for_the_backend_keeps_nobody_else_from_moving_on(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    class Small(MemoryKeyValue):
        def put_many(self, items: Sequence[tuple[str, bytes, int | None]], seconds: float | None = None) -> None:
            if any(len(value) > 300 for _, value, _ in items):
                raise TooLarge("Expected at most 300 bytes.")
            super().put_many(items, seconds)

    store = LiveStore(home.state, home.catalogue, RULES, home.log, Small())
    home.opened.append(store)
    deeds = [event(SESSION, n) for n in range(1, 11)]  # fit alone, but not beside those of the account
    deeds += [event("ann", 10 + n) for n in range(1, 11)]
    home.log.append([*deeds, merge("ann", 30), event("bob", 40)])
    assert store.follow() == 22
    assert len(store.user("ann").history) == 11  # as before the merge: one is of the snapshot
    assert not store.knows(SESSION)
    assert len(store.user("bob").history) == 1
    assert "a session of user 'ann' is over, but does not enter their state" in caplog.text
    home.log.append([event("bob", 50)])
    assert store.follow() == 1


def test_every_field_of_a_state_has_a_rule_for_merging() -> None:
    """A field that is added must be merged: here every field of the session says something, and the account nothing."""
    history = History()
    history.append(1, 5.0, Kind.LIKE, 1.0)
    session = UserState(SESSION, Profile(), history, 3, 9, known=True, told_at={0: 1.0, 1: 2.0})
    session.subscribed, session.blocked = frozenset({0}), frozenset({1})
    session.watches, session.watch_seconds, session.impressions, session.clicks, session.full_watches = 1, 2.0, 3, 4, 5
    session.shown_rows, session.shown_at = np.array([2], np.int32), np.array([3.0])
    session.partly = {4: (5.0, 6.0)}
    nothing, whole = UserState("ann"), merged(UserState("ann"), session, 12)
    same = {"user_id", "profile", "history"}  # the account's own; compared below
    untouched = [
        one.name
        for one in fields(UserState)
        if one.name not in same and np.array_equal(getattr(whole, one.name), getattr(nothing, one.name))
    ]
    assert untouched == []
    assert (whole.user_id, whole.offset, past_of(whole)) == ("ann", 12, past_of(session))
    assert encode(decode("ann", encode(whole))) == encode(whole)


def test_what_is_left_of_a_merged_session_is_nothing_but_its_offset() -> None:
    left = emptied(UserState(SESSION, version=4, offset=2, known=True, clicks=3), 8)
    assert left == replace(UserState(SESSION, history=left.history), offset=8)
    assert len(left.history) == 0


def test_of_what_was_shown_the_newest_is_kept() -> None:
    account, session = UserState("ann"), UserState(SESSION, version=1)
    for state, first in ((account, 0), (session, 1)):
        state.shown_rows = np.arange(first, 2 * SHOWN, 2).astype(np.int32)
        state.shown_at = state.shown_rows.astype(np.float64)
    assert merged(account, session, 1).shown_rows.tolist() == list(range(SHOWN, 2 * SHOWN))


def test_what_the_other_ended_later_is_not_watched_in_part() -> None:
    account, session = UserState("ann"), UserState(SESSION, version=1)
    session.partly = {1: (30.0, 5.0), 2: (20.0, 6.0), 3: (9.0, 1.0)}
    account.partly = {3: (1.0, 2.0), 4: (7.0, 3.0)}
    account.history.append(1, 9.0, Kind.COMPLETE, 1.0)
    account.history.append(2, 4.0, Kind.HIDE, -1.0)
    assert list(merged(account, session, 1).partly.items()) == [(3, (10.0, 2.0)), (4, (7.0, 3.0)), (2, (20.0, 6.0))]
