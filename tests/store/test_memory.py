"""The replay's store: whatever the batches, the same states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.history import History
from nextreel.relevance import Relevance
from nextreel.store import MemoryStore
from nextreel.store.memory import PARTLY, SHOWN
from nextreel.types import RECORDS, UNKNOWN, Catalogue, Event, Events, Kind, Profile, UserId, UserState

if TYPE_CHECKING:
    from tests.store.conftest import Columns, Known

START = 1_700_000_000.0
ABOUT_CHANNELS = (Kind.SUBSCRIBE, Kind.BLOCK)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Events of three people, one of whom has a number for an id, oldest first."""
    people: list[UserId] = ["ann", "bob", 7]
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from(people),
                st.sampled_from([0.0, 1.0, 90_000.0]),
                st.sampled_from([kind for kind in Kind if kind not in RECORDS]),
                st.sampled_from("abcde"),
                st.sampled_from([None, 1.0, 30.0, 90.0]),
            ),
            max_size=30,
        )
    )
    at = START + np.cumsum([gap for _, gap, _, _, _ in drawn])
    return [
        Event(
            user,
            float(when),
            kind,
            video_id=None if kind in ABOUT_CHANNELS else video,
            channel_id="news" if kind in ABOUT_CHANNELS else None,
            watch_seconds=watched if kind == Kind.WATCH else None,
        )
        for (user, _, kind, video, watched), when in zip(drawn, at, strict=True)
    ]


@settings(max_examples=50, deadline=None)
@given(events=streams(), size=st.integers(2, 7))
def test_one_batch_many_batches_and_single_events_leave_the_same_states(
    catalogue: Catalogue, columns: Columns, known: Callable[[UserState], Known], events: list[Event], size: int
) -> None:
    def store_of(batches: Sequence[Sequence[Event]]) -> dict[object, Known]:
        store = MemoryStore(catalogue, Relevance())
        for batch in batches:
            store.apply_many(columns(batch))
        return {user_id: known(state) for user_id, state in store.states.items()}

    whole = store_of([events])
    assert whole == store_of([events[i : i + size] for i in range(0, len(events), size)])
    assert whole == store_of([[event] for event in events])
    assert whole.keys() == {event.user_id for event in events}


@settings(max_examples=50, deadline=None)
@given(events=streams())
def test_the_history_is_what_people_did_with_videos_beyond_seeing_them(
    catalogue: Catalogue, columns: Columns, events: list[Event]
) -> None:
    store = MemoryStore(catalogue, Relevance())
    store.apply_many(columns(events))
    for user_id, state in store.states.items():
        mine = [event for event in events if event.user_id == user_id]
        did = [event for event in mine if event.kind not in {Kind.IMPRESSION, *ABOUT_CHANNELS}]
        assert [catalogue.video_ids[row] for row in state.history.rows] == [event.video_id for event in did]
        assert state.history.at.tolist() == [event.at for event in did]
        assert state.history.kinds.tolist() == [event.kind for event in did]
        assert state.version == len(mine)


@pytest.mark.parametrize("kind", [Kind.IMPRESSION, Kind.SUBSCRIBE, Kind.BLOCK])
def test_a_silent_event_makes_a_person_known_without_a_history(
    catalogue: Catalogue, columns: Columns, kind: Kind
) -> None:
    store = MemoryStore(catalogue, Relevance())
    store.apply_many(columns([Event("ann", START, kind, video_id="a")]))
    assert store.knows("ann")
    assert store.user("ann").known
    assert len(store.user("ann").history) == 0
    assert np.isnan(store.user("ann").last_at)


def test_a_skip_counts_against_a_video_and_a_long_watch_for_it(catalogue: Catalogue, columns: Columns) -> None:
    store = MemoryStore(catalogue, Relevance())
    watches = [("a", 1.0), ("b", 30.0), ("c", 90.0), ("d", None)]
    store.apply_many(columns([Event("ann", START, Kind.WATCH, v, watch_seconds=s) for v, s in watches]))
    assert store.user("ann").history.weights.tolist() == [-0.5, 0.0, 1.0, 1.0]
    assert store.counters.plays.tolist() == [0, 0, 1, 1, 0]
    assert store.counters.rejections.tolist() == [1, 0, 0, 0, 0]
    assert store.counters.full_watches.tolist() == [0, 0, 1, 1, 0]
    assert store.user("ann").full_watches == 2


def test_what_a_person_was_shown_and_clicked_is_counted(catalogue: Catalogue, columns: Columns) -> None:
    store = MemoryStore(catalogue, Relevance())
    kinds = [Kind.IMPRESSION, Kind.CLICK, Kind.IMPRESSION, Kind.LIKE, Kind.IMPRESSION]
    store.apply_many(columns([Event("ann", START + i, kind, "a") for i, kind in enumerate(kinds)]))
    assert (store.user("ann").impressions, store.user("ann").clicks, store.user("ann").full_watches) == (3, 1, 0)


def test_profiles_make_people_known_before_they_do_anything(catalogue: Catalogue) -> None:
    store = MemoryStore(catalogue, Relevance(), {"ann": Profile(country="NL", age=30.0)})
    assert store.knows("ann")
    assert store.user("ann").profile.country == "NL"
    assert store.user("ann").version == 0


@pytest.mark.parametrize("user_id", [None, "nobody", 7])
def test_asking_for_a_stranger_leaves_no_trace(catalogue: Catalogue, user_id: str | None) -> None:
    store = MemoryStore(catalogue, Relevance())
    assert not store.user(user_id).known
    assert store.states == {}


def test_a_number_and_its_text_are_two_people(catalogue: Catalogue, columns: Columns) -> None:
    store = MemoryStore(catalogue, Relevance())
    store.apply_many(columns([Event(7, START, Kind.LIKE, "a"), Event("7", START, Kind.LIKE, "b")]))
    assert store.user(7).history.rows.tolist() == [0]
    assert store.user("7").history.rows.tolist() == [1]


def test_views_of_a_history_stay_as_they_were_while_it_grows() -> None:
    history = History(capacity=2)
    history.append(3, START, Kind.LIKE, 2.0)
    before = (history.rows, history.at, history.kinds, history.weights)
    for i in range(100):
        history.append(i, START + i, Kind.WATCH, 1.0)
    history.extend(np.arange(50, dtype=np.int32), np.arange(50.0), np.ones(50, np.int8), np.full(50, -1, np.float32))
    assert [view.tolist() for view in before] == [[3], [START], [Kind.LIKE], [2.0]]
    assert len(history) == len(history.rows) == 151
    assert history.rows[-1] == 49


def test_the_last_word_on_a_channel_counts(catalogue: Catalogue) -> None:
    kinds = [Kind.SUBSCRIBE, Kind.SUBSCRIBE, Kind.BLOCK, Kind.BLOCK, Kind.SUBSCRIBE]
    n = len(kinds)
    events = Events(
        np.array(["ann", "bob"], object),
        np.array([0, 1, 1, 0, 0], np.int32),
        np.full(n, UNKNOWN, np.int32),
        np.arange(n, dtype=np.float64),
        np.array(kinds, np.int8),
        np.full(n, np.nan, np.float32),
        np.full(n, np.nan, np.float32),
        channel=np.zeros(n, np.int32),
    )
    store = MemoryStore(catalogue, Relevance())
    store.apply_many(events.take(slice(0, 4)))
    ann, bob = store.user("ann"), store.user("bob")
    assert (ann.subscribed, ann.blocked) == (frozenset(), frozenset({0}))
    assert (bob.subscribed, bob.blocked) == (frozenset(), frozenset({0}))
    store.apply_many(events.take(slice(4, 5)))
    assert (ann.subscribed, ann.blocked) == (frozenset({0}), frozenset())
    assert store.counters.subscribers.tolist() == [3]


def test_a_person_s_watch_time_adds_up(catalogue: Catalogue, columns: Columns) -> None:
    store = MemoryStore(catalogue, Relevance())
    watched = [Event("ann", float(i), Kind.WATCH, "a", watch_seconds=seconds) for i, seconds in enumerate([10.0, 2.5])]
    store.apply_many(columns([*watched, Event("ann", 9.0, Kind.LIKE, "a")]))
    assert (store.user("ann").watches, store.user("ann").watch_seconds) == (2, 12.5)


def test_of_what_was_shown_the_newest_are_remembered(catalogue: Catalogue, columns: Columns) -> None:
    store = MemoryStore(catalogue, Relevance())
    shown = [Event("ann", START + i, Kind.IMPRESSION, "abcde"[i % 5]) for i in range(SHOWN + 3)]
    for start in range(0, len(shown), 100):
        store.apply_many(columns([*shown[start : start + 100], Event("ann", START + start, Kind.LIKE, "a")]))
    ann = store.user("ann")
    assert ann.impressions == SHOWN + 3
    assert ann.shown_at.tolist() == [START + i for i in range(3, SHOWN + 3)]
    assert ann.shown_rows.tolist() == [i % 5 for i in range(3, SHOWN + 3)]


def test_watches_of_a_video_add_up_until_it_ends(catalogue: Catalogue, columns: Columns) -> None:
    store = MemoryStore(catalogue, Relevance())

    def does(at: float, kind: Kind, video: str, seconds: float | None = None) -> dict[int, tuple[float, float]]:
        store.apply_many(columns([Event("ann", at, kind, video, watch_seconds=seconds)]))
        return store.user("ann").partly

    assert does(1, Kind.WATCH, "a", 10.0) == {0: (10.0, 1.0)}
    assert does(2, Kind.WATCH, "b", 5.0) == {0: (10.0, 1.0), 1: (5.0, 2.0)}
    assert list(does(3, Kind.WATCH, "a", 2.5).items()) == [(1, (5.0, 2.0)), (0, (12.5, 3.0))]
    assert list(does(4, Kind.WATCH, "a")) == [1, 0]  # nobody knows how long
    assert list(does(5, Kind.LIKE, "b")) == [1, 0]
    assert does(6, Kind.COMPLETE, "a") == {1: (5.0, 2.0)}
    assert does(7, Kind.WATCH, "a", 3.0)[0] == (3.0, 7.0)  # once more from the beginning
    assert list(does(8, Kind.HIDE, "b")) == [0]
    assert does(9, Kind.DISLIKE, "a") == {}


def test_of_videos_watched_in_part_the_newest_are_remembered(catalogue_of: Callable[..., Catalogue]) -> None:
    n = PARTLY + 2
    store = MemoryStore(catalogue_of([[0]] * n), Relevance())
    seconds, rows = np.full(n, 3, np.float32), np.arange(n, dtype=np.int32)
    kinds, nothing = np.full(n, Kind.WATCH, np.int8), np.full(n, np.nan, np.float32)
    store.apply_many(
        Events(np.array([7]), np.zeros(n, np.int32), rows, np.arange(n, dtype=np.float64), kinds, nothing, seconds)
    )
    assert list(store.user(7).partly) == list(range(2, n))
