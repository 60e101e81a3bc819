"""The serving store: a snapshot and a log, followed by any number of processes, each event counting once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.backends import ClosableEventLog, ClosableKeyValue, open_key_value, open_log
from nextreel.relevance import Relevance
from nextreel.store import LiveStore, MemoryStore, live, write_snapshot
from nextreel.types import Catalogue, Event, Kind, NextreelError, Profile, UserId, UserState

if TYPE_CHECKING:
    from tests.store.conftest import Columns, Known

END = 1_700_000_000.0  # of the snapshot
PAST = [
    Event("ann", END - 200, Kind.LIKE, "a"),
    Event(7, END - 100, Kind.WATCH, "b", watch_seconds=90.0),
    Event("ann", END, Kind.IMPRESSION, "c", surface="search"),
]
RULES = Relevance()


def event(user_id: UserId, after: float, video: str = "d", kind: Kind = Kind.WATCH) -> Event:
    about_channel = kind in {Kind.SUBSCRIBE, Kind.BLOCK}
    return Event(
        user_id,
        END + after,
        kind,
        None if about_channel else video,
        channel_id="news" if about_channel else None,
        surface=("home", "search", None)[int(after) % 3],
    )


class Home:
    """A snapshot of PAST, a log beside it, and the stores that are open over both."""

    def __init__(self, folder: Path, catalogue: Catalogue, columns: Columns, url: str | None = None) -> None:
        self.catalogue, self.columns = catalogue, columns
        self.replay = MemoryStore(catalogue, RULES, {"cat": Profile(country="NL")})
        self.replay.apply_many(columns(PAST))
        self.state = folder / "state"
        write_snapshot(self.replay, self.state)
        self.log: ClosableEventLog = open_log(url or f"sqlite://{folder / 'log.db'}")
        self.overlay = f"sqlite://{folder / 'shared.db'}"
        self.opened: list[ClosableKeyValue | LiveStore] = []

    def open(self, overlay: str | None = None, state: Path | None = None) -> LiveStore:
        shared = open_key_value(overlay or self.overlay)
        store = LiveStore(state or self.state, self.catalogue, RULES, self.log, shared, "release/")
        self.opened += [store, shared]
        return store

    def replayed(self, events: Sequence[Event]) -> MemoryStore:
        """The store of a replay of PAST and then these."""
        store = MemoryStore(self.catalogue, RULES, {"cat": Profile(country="NL")})
        store.apply_many(self.columns([*PAST, *events]))
        return store

    def close(self) -> None:
        for one in self.opened:
            one.close()
        self.log.close()


@pytest.fixture
def home(tmp_path: Path, catalogue: Catalogue, columns: Columns) -> Iterator[Home]:
    home = Home(tmp_path, catalogue, columns)
    yield home
    home.close()


@pytest.fixture(scope="session")
def agree(known: Callable[[UserState], Known]) -> Callable[[LiveStore, MemoryStore], None]:
    """Fails unless both stores know the same people in the same states, and count the same."""

    def agree(store: LiveStore, replayed: MemoryStore) -> None:
        assert set(store.users()) == set(replayed.states)
        for user_id, state in replayed.states.items():
            assert known(store.user(user_id)) == known(state)
            assert store.user(user_id).profile == state.profile
        for name in ("plays", "impressions", "likes", "rejections", "watches"):
            np.testing.assert_array_equal(getattr(store.counters, name), getattr(replayed.counters, name), name)
        assert set(store.counters.surfaces) == set(replayed.counters.surfaces)
        for name, answers in replayed.counters.surfaces.items():
            for column, values in vars(answers).items():
                np.testing.assert_array_equal(getattr(store.counters.surfaces[name], column), values, column)
        for name in ("1d", "7d", "30d", "trend"):
            np.testing.assert_allclose(store.counters.share(name), replayed.counters.share(name), atol=1e-6)
        assert store.newest_at == replayed.counters.newest_at

    return agree


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    people: list[UserId] = ["ann", 7, "new", "cat"]
    ones = st.tuples(
        st.sampled_from(people),
        st.sampled_from([1.0, 50_000.0]),
        st.sampled_from("abcde"),
        st.sampled_from([Kind.WATCH, Kind.LIKE, Kind.HIDE, Kind.IMPRESSION, Kind.SUBSCRIBE]),
    )
    drawn = draw(st.lists(ones, max_size=20))
    after = np.cumsum([gap for _, gap, _, _ in drawn]).tolist()
    return [event(user, t, video, kind) for t, (user, _, video, kind) in zip(after, drawn, strict=True)]


def test_a_snapshot_opens_as_the_store_it_was_taken_of(home: Home, agree: Callable[..., None]) -> None:
    agree(home.open(), home.replay)


@settings(max_examples=12, deadline=None)
@given(events=streams(), moves=st.lists(st.sampled_from(["append", "first", "second"]), max_size=8))
def test_two_stores_that_follow_one_log_in_any_order_agree_with_a_replay(
    catalogue: Catalogue, columns: Columns, agree: Callable[..., None], events: list[Event], moves: list[str]
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
        first.follow()
        second.follow()
        expected = home.replayed(events)
        agree(first, expected)
        agree(second, expected)
        home.close()


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_following_in_small_reads_changes_nothing(
    home: Home, agree: Callable[..., None], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(live, "_BATCH", batch)
    events = [event("ann", 1, "d"), event("new", 2, "a"), event("ann", 3, "e"), event("ann", 4, "b", Kind.LIKE)]
    home.log.append(events)
    store = home.open()
    assert (store.follow(), store.follow()) == (4, 0)
    agree(store, home.replayed(events))


def test_a_second_process_sees_what_the_first_wrote(home: Home, agree: Callable[..., None]) -> None:
    writer, reader = home.open(), home.open()
    assert reader.user("ann").history.rows.tolist() == [0]  # and is in the reader's cache
    home.log.append([event("ann", 1, "d")])
    writer.follow()
    assert reader.user("ann").history.rows.tolist() == [0, 3]  # the state is shared at once
    assert reader.counters.plays.tolist() == [1, 1, 0, 0, 0]
    reader.follow()  # the counters are each process' own
    agree(reader, home.replayed([event("ann", 1, "d")]))


@pytest.mark.parametrize("kind", ["redis", "dynamodb"])
def test_states_on_a_server_are_shared_and_advanced_once_by_whoever_follows(
    home: Home, agree: Callable[..., None], request: pytest.FixtureRequest, kind: str
) -> None:
    url: str = request.getfixturevalue(f"{kind}_url")
    overlay = f"{url}{'&' if '?' in url else '?'}prefix=live-{os.getpid()}"
    stores = [home.open(overlay), home.open(overlay)]
    events = [event("ann", 1 + i, "abcde"[i % 5], Kind.LIKE) for i in range(20)] + [event("new", 30), event(7, 31)]
    wrong: list[BaseException] = []

    def busy(store: LiveStore, mine: Sequence[Event]) -> None:
        try:
            for one in mine:
                home.log.append([one])
                store.follow()
        except BaseException as error:  # a thread's failure must reach the test
            wrong.append(error)

    threads = [threading.Thread(target=busy, args=(store, events[i:20:2])) for i, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    home.log.append(events[20:])
    for store in stores:
        store.follow()
        assert (len(store.user("ann").history), store.user("ann").version) == (21, 22)
        assert store.counters.likes.tolist() == [5, 4, 4, 4, 4]
    later = home.open(overlay)  # a process that starts after them finds the states, and counts for itself
    assert later.user("new").history.rows.tolist() == [3]
    assert later.user(7).version == 2
    later.follow()
    agree(later, home.replayed([one for _, one in home.log.read(0)]))
    assert not list(home.state.parent.glob("shared.db*"))  # nothing in the home


def test_events_up_to_the_end_of_the_snapshot_are_in_it_already(home: Home, agree: Callable[..., None]) -> None:
    store = home.open()
    home.log.append([*PAST, event("ann", 0.5, "e")])
    assert store.follow() == 1
    agree(store, home.replayed([event("ann", 0.5, "e")]))


def test_a_subscription_can_be_the_newest_event_of_a_snapshot(
    tmp_path: Path, home: Home, catalogue: Catalogue, columns: Columns
) -> None:
    replay = MemoryStore(catalogue, RULES)
    last = event("ann", 100, kind=Kind.SUBSCRIBE)
    replay.apply_many(columns([*PAST, last]))
    write_snapshot(replay, tmp_path / "later")
    home.log.append([last])
    store = home.open(state=tmp_path / "later")
    assert store.newest_at == last.at
    assert store.follow() == 0


def test_an_event_sent_twice_under_one_id_counts_once(home: Home) -> None:
    store = home.open()
    sent = Event("ann", END + 1, Kind.LIKE, "d", event_id="one")
    home.log.append([sent])
    store.follow()
    home.log.append([sent, sent])
    assert store.follow() == 0
    assert store.user("ann").history.rows.tolist() == [0, 3]


def test_a_restart_goes_on_where_the_process_stopped(home: Home, agree: Callable[..., None]) -> None:
    before, after = event("ann", 1, "d"), event("ann", 2, "e")
    home.log.append([before])
    store = home.open()
    store.follow()
    store.close()
    again = home.open()
    assert again.user("ann").history.rows.tolist() == [0, 3]
    home.log.append([after])
    again.follow()
    agree(again, home.replayed([before, after]))


def test_an_append_without_its_state_is_made_up_for_at_the_next_start(home: Home, agree: Callable[..., None]) -> None:
    home.open().close()  # a process that dies after the append, before it follows
    home.log.append([event("new", 1)])
    store = home.open()
    store.follow()
    agree(store, home.replayed([event("new", 1)]))


def test_a_failed_state_write_is_made_up_for_at_the_next_follow(
    home: Home, agree: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = home.open()
    events = [event("ann", 1, "d"), event("new", 2, "a"), event("ann", 3, "e")]
    home.log.append(events)
    write = store._live.put_many

    def full_disk(items: Sequence[tuple[str, bytes, int | None]]) -> None:
        if items[0][0].endswith("new"):  # ann's state is written by then
            raise OSError("no space left on device")
        write(items)

    monkeypatch.setattr(store._live, "put_many", full_disk)
    with pytest.raises(OSError, match="no space"):
        store.follow()
    monkeypatch.setattr(store._live, "put_many", write)
    assert store.follow() == 3
    agree(store, home.replayed(events))


def test_a_state_that_another_process_wrote_first_is_not_written_over(
    home: Home, agree: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = home.open(), home.open()
    events = [event("ann", 1, "d"), event("ann", 2, "e")]
    home.log.append(events)
    write, conflicts = slow._live.put_many, []

    def too_late(items: Sequence[tuple[str, bytes, int | None]]) -> None:
        quick.follow()
        try:
            write(items)
        except Exception as error:
            conflicts.append(error)
            raise

    monkeypatch.setattr(slow._live, "put_many", too_late)
    slow.follow()
    assert len(conflicts) == 1
    agree(slow, home.replayed(events))


def test_stores_and_writers_in_many_threads_count_every_event_once(home: Home, known: Callable[..., Known]) -> None:
    stores = [home.open(), home.open()]
    wrong: list[BaseException] = []

    def busy(number: int) -> None:
        try:
            for i in range(10):
                home.log.append([event("ann", 1 + i, "abcde"[number], Kind.LIKE)])
                stores[number % 2].follow()
        except BaseException as error:  # a thread's failure must reach the test
            wrong.append(error)

    threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for store in stores:
        store.follow()
        assert len(store.user("ann").history) == 41
        assert store.user("ann").version == 42
        assert store.counters.likes.tolist() == [11, 10, 10, 10, 0]
    assert known(stores[0].user("ann")) == known(stores[1].user("ann"))


def test_a_state_that_was_handed_out_does_not_change(home: Home) -> None:
    store = home.open()
    before = store.user("ann")
    home.log.append([event("ann", 1, "d")])
    store.follow()
    assert (before.history.rows.tolist(), before.version) == ([0], 2)
    assert store.user("ann").history.rows.tolist() == [0, 3]


def test_the_cache_is_bounded_and_never_stale(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_CACHED", 2)
    store = home.open()
    people: list[Any] = ["ann", 7, "cat", "ann"]
    assert [store.user(one).version for one in people] == [2, 1, 0, 2]
    assert len(store._cache) == 2
    assert store.user("ann") is store.user("ann")


def test_a_video_of_another_release_leaves_the_person_known_and_nothing_else(home: Home) -> None:
    store = home.open()
    home.log.append([event("new", 1, "not in this catalogue")])
    store.follow()
    assert store.knows("new")
    assert len(store.user("new").history) == 0
    assert store.counters.plays.sum() == 2


@pytest.mark.parametrize("user_id", [None, "nobody", "7"])
def test_a_stranger_has_an_empty_state(home: Home, user_id: str | None) -> None:
    state = home.open().user(user_id)
    assert (state.known, len(state.history), state.version) == (False, 0, 0)


def test_a_folder_without_a_snapshot_is_told_with_what_makes_one(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NextreelError, match=r"state snapshot in .*nothing.* Hint: nextreel train"):
        home.open(state=tmp_path / "nothing")


def test_a_snapshot_is_never_written_over(home: Home) -> None:
    with pytest.raises(FileExistsError):
        write_snapshot(home.replay, home.state)


def test_a_snapshot_does_not_change_whatever_happens(home: Home) -> None:
    before = {path.name: path.read_bytes() for path in home.state.iterdir()}
    store = home.open()
    home.log.append([event("ann", 1, "d"), event("new", 2, "a"), event("cat", 3, "b")])
    store.follow()
    store.close()
    after = {path.name: path.read_bytes() for path in home.state.iterdir() if path.name in before}
    assert after == before
    assert all(path.stat().st_mode & 0o222 == 0 for path in home.state.iterdir() if path.name in before)


@settings(max_examples=12, deadline=None)
@given(events=streams(), stops=st.lists(st.integers(0, 20)))
def test_any_past_moment_can_be_had_again(
    catalogue: Catalogue, columns: Columns, agree: Callable[..., None], events: list[Event], stops: list[int]
) -> None:
    with TemporaryDirectory() as folder:
        home = Home(Path(folder), catalogue, columns, "memory://")
        home.log.append(events)
        home.open().follow()  # a server that knows everything
        past = home.open("memory://")
        for stop in sorted(stops):
            past.follow(until=stop)
            agree(past, home.replayed(events[:stop]))
        home.close()


def test_a_replay_writes_nothing_and_sees_nothing_of_what_others_wrote(home: Home, agree: Callable[..., None]) -> None:
    home.log.append([event("ann", 1, "d"), event("ann", 2, "e")])
    home.open().follow()
    files = {path.name: path.stat().st_size for path in home.state.iterdir()}
    past = home.open("memory://")
    agree(past, home.replay)
    assert (past.follow(until=1), past.counted) == (1, 1)
    agree(past, home.replayed([event("ann", 1, "d")]))
    assert {path.name: path.stat().st_size for path in home.state.iterdir()} == files


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_a_state_ahead_of_the_counters_can_be_had_again(
    home: Home, known: Callable[..., Known], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(live, "_BATCH", batch)
    events = [event("ann", 1, "d"), event(7, 2, "a"), event("ann", 3, "e"), event("ann", 4, "b", Kind.LIKE)]
    home.log.append([*PAST, *events])
    past = home.open("memory://")
    past.follow(until=4)
    for offset, many in [(4, 1), (5, 2), (6, 3), (7, 4), (99, 4)]:
        state = past.user_at("ann", offset)
        assert known(state) == known(home.replayed(events[:many]).user("ann"))
    assert past.user_at("ann", 6).offset == 6
    assert known(past.user("ann")) == known(home.replayed(events[:1]).user("ann"))
    assert (past.counted, past.user_at(None, 99).known) == (4, False)


def test_counters_belong_to_no_offset_while_they_change(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    store = home.open()
    during: list[int | None] = []
    add = store.counters.add

    def watched(*given: Any) -> None:
        during.append(store.counted)
        add(*given)

    monkeypatch.setattr(store.counters, "add", watched)
    home.log.append([event("ann", 1, "d")])
    assert store.counted == 0
    store.follow()
    assert (during, store.counted) == ([None], 1)


def test_an_event_before_the_end_of_the_snapshot_moves_the_offset_and_no_state(home: Home) -> None:
    store = home.open()
    home.log.append(PAST)
    store.follow()
    assert (store.counted, store.user("ann").offset, store.user_at("ann", 3).version) == (3, 0, 2)
