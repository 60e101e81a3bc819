"""Forgetting a person: out of every place, for good, while others go on; and a receipt that can be checked."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.conftest import catalogue, columns
from tests.store.test_live import END, event

from nextreel import catalogue as catalogue_file
from nextreel import feature_log, forgetting
from nextreel.backends import open_key_value, open_log
from nextreel.feature_log import MAGIC, SUFFIX, Heading, Served, frame
from nextreel.forgetting import CURSORS, PLACES, Left, Places, Receipt, forget, left, receipt_of
from nextreel.paging import PREFIX
from nextreel.relevance import Relevance
from nextreel.store import LiveStore, MemoryStore, snapshots, state_folder, write_snapshot
from nextreel.store.codec import encode, key_of
from nextreel.types import Catalogue, Event, Kind, NextreelError, Request, UserId, UserState, session_person

if TYPE_CHECKING:
    from tests.store.conftest import Columns

__all__ = ["catalogue", "columns"]  # fixtures

RELEASES = ("20260101-000000-aaaaaa", "20260201-000000-bbbbbb")
ANN = "ann.of-the_woods"  # no word that anything else would hold
RULES = Relevance()
SESSION = session_person("tab-of-ann")


class World:
    """A home of two releases, the stores that follow its log, and what people left everywhere."""

    def __init__(self, home: Path, catalogue: Catalogue, columns: Columns, log: str | None = None) -> None:
        self.home, self.catalogue = home, catalogue
        for number, release in enumerate(RELEASES):
            replay = MemoryStore(catalogue, RULES)
            replay.apply_many(columns([Event(one, END - 9 + number, Kind.LIKE, "a") for one in (ANN, "bob", 7)]))
            (home / "state").mkdir(exist_ok=True)
            write_snapshot(replay, state_folder(home, release))
        (home / "features").mkdir()
        self.log = open_log(log or f"sqlite://{home / 'log.db'}")
        self.shared = open_key_value(f"sqlite://{home / 'shared.db'}" if log is None else log)
        self.places = Places(home, self.log, self.shared, home / "features")
        self.opened: list[LiveStore] = []

    def open(self, release: str = RELEASES[0]) -> LiveStore:
        folder = state_folder(self.home, release)
        self.opened.append(LiveStore(folder, self.catalogue, RULES, self.log, self.shared, f"{release}/"))
        return self.opened[-1]

    def live(self) -> None:
        """Ann, one of her sessions and others do something everywhere."""
        merge = Event(ANN, END + 3, Kind.MERGE, session_id="tab-of-ann")
        self.log.append([event(SESSION, 1, "b"), event("bob", 1.5, "c"), event(ANN, 2, "d"), merge, event(7, 4, "e")])
        for release in RELEASES:
            self.open(release).follow()
        self.put_cursor(ANN)
        self.put_cursor("bob")
        self.serve(ANN, SESSION, "bob", None)

    def put_cursor(self, user_id: UserId | None, at: float = END) -> None:
        record = b"\x01" + msgspec.msgpack.encode([Request(user_id, at), ["a"], [], [], False, "full", RELEASES[0]])
        self.shared.put_many([(f"{PREFIX}{uuid.uuid4().hex}.2", record, 0)], seconds=900)

    def serve(self, *people: UserId | None, counted: int = 1) -> None:
        """One file of the feature log with an answer for each."""
        head = Heading(RELEASES[0], ("plays",), ("click",), "f", "w")
        answers = [
            Served(Request(one, END, request_id="r"), 0, 1, counted, 0, ("a",), b"", np.zeros(1, np.float32).tobytes())
            for one in people
        ]
        path = self.home / "features" / f"{len(list((self.home / 'features').iterdir()))}{SUFFIX}"
        path.write_bytes(MAGIC + frame(head) + b"".join(map(frame, answers)))

    def left(self, user_id: UserId = ANN) -> dict[str, int]:
        """Place -> what is left there, where there is any."""
        receipt = receipt_of(self.places, user_id)
        assert receipt is not None
        return {one.place: one.found for one in left(self.places, user_id, receipt) if one.found}

    def close(self) -> None:
        for one in self.opened:
            one.close()
        self.shared.close()
        self.log.close()


@pytest.fixture(autouse=True)
def _nobody_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "SETTLE", 0.0)


@pytest.fixture
def world(tmp_path: Path, catalogue: Catalogue, columns: Columns) -> Iterator[World]:
    world = World(tmp_path, catalogue, columns)
    world.live()
    yield world
    world.close()


def holding(home: Path, word: str) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.is_file() and word.encode() in path.read_bytes())


def test_who_was_forgotten_is_in_no_place_and_in_no_byte_of_the_home(world: World) -> None:
    before = holding(world.home, ANN)
    assert {"log.db", "people.json", "shared.db", "users.db", f"0{SUFFIX}"} <= {
        name.removesuffix("-wal") for name in before
    }
    receipt = forget(world.places, ANN, END + 10)
    assert dict(receipt.counts) == {
        "live states": 4,  # in both releases, hers and what was left of her session
        "snapshots": 2,
        "lists of people": 2,
        "cursors": 1,
        "feature log": 2,
        "event log": 3,  # her own, that of her session, and the merge
    }
    assert receipt.releases == RELEASES
    assert world.left() == {}
    assert (holding(world.home, ANN), holding(world.home, "tab-of-ann")) == ([], [])


def test_others_keep_what_they_have(world: World) -> None:
    stores = [world.opened[0], world.opened[1]]
    known = [[encode(store.user(one)) for one in ("bob", 7)] for store in stores]
    plays = stores[0].counters.plays.tolist()
    forget(world.places, ANN, END + 10)
    for store, before in zip([*stores, world.open()], [*known, known[0]], strict=True):
        store.follow()
        assert [encode(store.user(one)) for one in ("bob", 7)] == before
        assert sorted(store.users(), key=str) == [7, "bob"]
    assert stores[0].counters.plays.tolist() == plays  # sums over people stay where they were counted
    assert [event.user_id for _, event in world.log.read(0) if event.kind != Kind.ERASE] == ["bob", 7]
    answers = [file.read(at) for file in world.places.answers() for _, at in file.answers]
    assert [served.request.user_id for served in answers] == ["bob", None]
    assert len(world.shared.keys(PREFIX)) == 1
    assert all(path.stat().st_mode & 0o222 == 0 for path in (world.home / "state").glob("*/*.json"))
    assert all(path.stat().st_mode & 0o222 == 0 for path in (world.home / "state").glob("*/users.db"))


def test_whoever_comes_back_is_a_newcomer(world: World) -> None:
    stores = [world.open(), world.open(RELEASES[1])]
    for store in stores:
        store.follow()
        assert len(store.user(ANN).history) == 3
    forget(world.places, ANN, END + 10)
    for store in stores:
        store.follow()
        assert (store.knows(ANN), store.user(ANN).version, ANN in store.users()) == (False, 0, False)
    world.log.append([event(ANN, 20, "e")])
    for store in (*stores, world.open()):
        store.follow()
        assert store.user(ANN).history.rows.tolist() == [4]
    receipt = receipt_of(world.places, ANN)
    assert receipt is not None
    since = {one.place: one.since for one in left(world.places, ANN, receipt) if one.since}
    assert (world.left(), since) == ({}, {"live states": 2, "event log": 1})


def test_forgetting_again_finds_nothing_and_forgets_what_came_since(world: World) -> None:
    first = forget(world.places, ANN, END + 10)
    again = forget(world.places, ANN, END + 11)
    assert dict(again.counts) == dict.fromkeys(PLACES, 0)
    assert (again.digest, again.salt) == (first.digest, first.salt)
    world.log.append([event(ANN, 20, "e")])
    world.opened[0].follow()
    third = forget(world.places, ANN, END + 30)
    assert {place: n for place, n in third.counts.items() if n} == {"live states": 1, "event log": 1}
    assert receipt_of(world.places, ANN) == third
    assert dict(forget(world.places, "nobody", END + 40).counts) == dict.fromkeys(PLACES, 0)


def test_a_receipt_does_not_say_who_it_was(world: World) -> None:
    receipt = forget(world.places, ANN, END + 10)
    kept = json.loads((world.home / "forgotten" / f"{receipt.receipt_id}.json").read_text())
    assert receipt_of(world.places, ANN) == receipt
    assert receipt_of(world.places, "ann") is None
    assert msgspec.convert(kept, Receipt) == receipt


def put_back(world: World, place: str) -> None:
    key = key_of(ANN)
    folder = state_folder(world.home, RELEASES[1])
    match place:
        case "live states":
            state = UserState(ANN, version=1, offset=2, known=True)
            world.shared.put_many([(f"{RELEASES[1]}/{key}", encode(state), 0)])
        case "snapshots":
            (folder / snapshots.USERS).chmod(0o644)
            with closing(open_key_value(f"sqlite://{folder / snapshots.USERS}")) as states:
                states.put_many([(key, encode(UserState(ANN)), 0)])
        case "lists of people":
            (folder / snapshots.PEOPLE).chmod(0o644)
            (folder / snapshots.PEOPLE).write_text(json.dumps([ANN, "bob", 7]))
        case "cursors":
            world.put_cursor(ANN)
        case "feature log":
            world.serve("bob", ANN)
        case "event log":  # as a copy that somebody restored would have it
            body = b"\x01" + msgspec.msgpack.encode(Event(ANN, END, Kind.LIKE, "a"))
            with closing(sqlite3.connect(world.home / "log.db")) as database, database:
                database.execute("INSERT INTO events (offset, body) VALUES (3, ?)", (body,))
        case _:
            (world.home / "notes.txt").write_text(f"seen by {ANN}, yesterday")


@pytest.mark.parametrize("place", [*PLACES, "bytes of files"])
def test_one_record_that_is_back_is_found_and_named(world: World, place: str) -> None:
    forget(world.places, ANN, END + 10)
    assert world.left() == {}
    put_back(world, place)
    found = world.left()
    assert found.pop("bytes of files", 0) > 0  # an id that is text is in the bytes too
    assert found == ({} if place == "bytes of files" else {place: 1})
    forget(world.places, ANN, END + 11)
    assert world.left() == ({"bytes of files": 1} if place == "bytes of files" else {})


def test_a_list_that_was_opened_since_is_a_newcomers(world: World) -> None:
    receipt = forget(world.places, ANN, END + 10)
    world.put_cursor(ANN, at=END + 11)
    assert world.left() == {}
    assert Left(CURSORS, 0, 1) in left(world.places, ANN, receipt)
    world.put_cursor(ANN)  # of a page that was being made while she was forgotten
    assert world.left() == {CURSORS: 1}


def test_a_person_with_a_number_is_found_by_records_and_not_by_bytes(world: World) -> None:
    world.serve(7)
    world.put_cursor(7)
    receipt = forget(world.places, 7, END + 10)
    assert {place for place, n in receipt.counts.items() if n} == set(PLACES)
    assert world.left(7) == {}
    assert "bytes of files" not in [one.place for one in left(world.places, 7, receipt)]
    world.serve(7)
    assert world.left(7) == {"feature log": 1}


def test_an_id_inside_a_longer_one_is_another_person(world: World) -> None:
    other = ANN + ".too"
    world.log.append([event(other, 8, "e")])
    world.opened[0].follow()
    forget(world.places, ANN, END + 10)
    assert world.left() == {}
    assert world.opened[0].knows(other)


STEPS: list[tuple[Any, str]] = [
    (forgetting, "drop_states"),
    (snapshots, "erase_people"),
    (snapshots, "whole"),
    (forgetting, "_cursors"),
    (feature_log, "erase"),
    (forgetting._Deeds, "before"),
    (forgetting, "write_whole"),
]


@pytest.mark.parametrize(("module", "step"), STEPS)
def test_a_run_that_was_killed_at_any_step_can_be_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    forget(world.places, "nobody", END + 9)  # makes the salt, which is written like the receipt

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            forget(world.places, ANN, END + 10)
    assert receipt_of(world.places, ANN) is None
    world.opened[0].follow()
    assert not world.opened[0].knows(ANN)  # the log has said it
    forget(world.places, ANN, END + 11)
    assert world.left() == {}
    assert (holding(world.home, ANN), holding(world.home, "tab-of-ann")) == ([], [])


def test_what_a_late_process_writes_again_is_dropped_when_it_hears_of_the_erasure(world: World) -> None:
    early = world.open()
    late = world.open()
    world.log.append([event(ANN, 6, "c")])
    batch = world.log.read(0)  # what the late process holds in its hands when the person is forgotten
    forget(world.places, ANN, END + 10)
    early.follow()
    late._apply([one for one in batch if one[1].kind != Kind.MERGE])
    assert world.left()["live states"] == 1
    assert not early.knows(ANN)  # it is there, and nobody who has heard reads it
    world.log.append([event(ANN, 20, "e")])
    early.follow()
    assert early.user(ANN).history.rows.tolist() == [4]
    late._offset = batch[-1][0]
    late.follow()
    assert late.user(ANN).history.rows.tolist() == [4]
    assert world.left() == {}


def test_what_a_process_wrote_that_died_before_it_heard_counts_for_nobody(world: World) -> None:
    receipt = forget(world.places, ANN, END + 10)
    put_back(world, "live states")
    world.log.append([event(ANN, 20, "e")])
    store = world.open(RELEASES[1])
    store.follow()
    assert store.user(ANN).history.rows.tolist() == [4]
    assert (world.left(), receipt.offset < store.user(ANN).offset) == ({}, True)


def test_sessions_of_others_and_what_was_theirs_before_stay(world: World) -> None:
    shared = session_person("living-room")
    world.log.append(
        [
            event(shared, 5, "a"),
            Event("bob", END + 6, Kind.MERGE, session_id="living-room"),
            event(shared, 7, "b"),
            Event(ANN, END + 8, Kind.MERGE, session_id="living-room"),
            event(session_person("elsewhere"), 9, "c"),
        ]
    )
    forget(world.places, ANN, END + 10)
    replay = world.open(RELEASES[0])
    replay._live, replay._cache = open_key_value("memory://"), type(replay._cache)()
    replay.follow()
    assert replay.user("bob").history.rows.tolist() == [0, 2, 0]
    assert (replay.knows(shared), replay.knows(session_person("elsewhere"))) == (False, True)


def test_a_replay_stops_at_an_offset_whose_event_was_erased(world: World) -> None:
    world.log.append([event("bob", 5, "a"), event(ANN, 6, "c")])
    erased = world.log.read(0)[-1][0]
    forget(world.places, ANN, END + 10)
    past = world.open()
    past._live = open_key_value("memory://")
    assert (past.follow(until=erased), past.counted) == (3, erased)
    assert past.follow(until=erased) == 0
    assert past.user_at(ANN, erased + 1).offset == erased + 1  # the erasure itself
    assert past.user_at("bob", erased + 1).history.rows.tolist() == past.user("bob").history.rows.tolist()
    assert (past.follow(until=10_000), past.counted) == (2, world.log.read(0)[-1][0])


def test_a_session_is_merged_before_it_can_be_forgotten(world: World) -> None:
    with pytest.raises(NextreelError, match=r"Expected the id of an account.*Hint: merge"):
        forget(world.places, SESSION, END + 10)


MOVES = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "tab", "merge", "forget", "first", "second"]), st.sampled_from("abcde")),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(moves=MOVES)
def test_two_processes_that_follow_while_people_act_and_are_forgotten_agree_with_what_is_left(
    catalogue: Catalogue, columns: Columns, moves: list[tuple[str, str]]
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), catalogue, columns, "memory://")
        first, second = world.open(), world.open()
        act: dict[str, Callable[[float, str], object]] = {
            "ann": lambda at, video: world.log.append([event(ANN, at, video, Kind.LIKE)]),
            "bob": lambda at, video: world.log.append([event("bob", at, video)]),
            "tab": lambda at, video: world.log.append([event(SESSION, at, video)]),
            "merge": lambda at, _: world.log.append([Event(ANN, END + at, Kind.MERGE, session_id="tab-of-ann")]),
            "forget": lambda at, _: forget(world.places, ANN, END + at),
            "first": lambda *_: first.follow(),
            "second": lambda *_: second.follow(),
        }
        for number, (move, video) in enumerate(moves, 1):
            act[move](float(number), video)
        newest = max([0, *(number for number, (move, _) in enumerate(moves) if move == "forget")])
        mine = ["abcde".index(video) for move, video in moves[newest:] if move == "ann"]
        alone = world.open()  # reads a log out of which the person has been erased
        alone._live = open_key_value("memory://")
        for store in (first, second, alone):
            store.follow()
        forgotten = any(move == "forget" for move, _ in moves)
        for store in (first, second):
            assert encode(store.user(ANN)) == encode(alone.user(ANN))
            assert encode(store.user("bob")) == encode(alone.user("bob"))
            assert encode(store.user(SESSION)) == encode(alone.user(SESSION))
            history = store.user(ANN).history
            likes = history.rows[history.kinds == Kind.LIKE].tolist()
            assert likes == ([] if forgotten else [0]) + mine
        if forgotten:
            assert world.left() == {}
        world.close()


@pytest.mark.parametrize(
    ("text", "there"),
    [
        (f"seen by {ANN}.", True),
        (f'["{ANN}"]', True),
        (f"user/s/{ANN}\x04", True),
        (f"{ANN}.too", False),
        (f"{ANN}2", False),
        (f"not-{ANN}", False),
    ],
)
def test_bytes_hold_an_id_where_it_is_a_word(world: World, text: str, there: bool) -> None:
    forget(world.places, ANN, END + 10)
    (world.home / "notes.txt").write_text(text)
    assert world.left() == ({"bytes of files": 1} if there else {})


@pytest.mark.parametrize("length", [3, 31, 32, 70, 255, 256, 1000])
def test_an_id_of_any_length_is_found_in_the_bytes_of_a_record(world: World, length: int) -> None:
    user_id = ("x7" * length)[:length]
    forget(world.places, user_id, END + 10)
    record = msgspec.msgpack.encode([user_id + "tail", user_id, 7])
    (world.home / "old.copy").write_bytes(record.replace(b"tail", b"") + b"y")
    assert world.left(user_id) == {"bytes of files": 1}
    (world.home / "old.copy").write_bytes(msgspec.msgpack.encode([user_id + "tail"]))
    assert world.left(user_id) == {}


FOLLOWS = """
import sys, time
from pathlib import Path
import numpy as np
from nextreel import catalogue as catalogue_file
from nextreel.backends import open_key_value, open_log
from nextreel.relevance import Relevance
from nextreel.store import LiveStore, state_folder
home, release = Path(sys.argv[1]), sys.argv[2]
log, shared = open_log(f"sqlite://{home / 'log.db'}"), open_key_value(f"sqlite://{home / 'shared.db'}")
catalogue = catalogue_file.load(home / "catalogue.arrow")
store = LiveStore(state_folder(home, release), catalogue, Relevance(), log, shared, f"{release}/")
print("ready", flush=True)
while not (home / "stop").exists():
    store.follow()
    time.sleep(0.01)
store.follow()
print(store.user(sys.argv[3]).history.rows.tolist(), sys.argv[3] in store.users(), flush=True)
"""


def test_servers_that_follow_and_people_who_act_do_not_keep_anybody_who_is_forgotten(world: World) -> None:
    catalogue_file.save(world.catalogue, world.home / "catalogue.arrow")
    asked = [[sys.executable, "-c", FOLLOWS, str(world.home), release, ANN] for release in (RELEASES[0], *RELEASES)]
    servers = [subprocess.Popen(one, stdout=subprocess.PIPE, text=True) for one in asked]  # noqa: S603  our own
    acted, stop = threading.Semaphore(0), threading.Event()

    def act() -> None:
        for number in itertools.count(10):
            if stop.is_set():
                return
            merge = Event(ANN, END + number, Kind.MERGE, session_id="tab-of-ann")
            world.log.append([event(SESSION, number, "b"), event(ANN, number, "c"), merge, event("bob", number)])
            acted.release()

    acting = threading.Thread(target=act)
    try:
        assert [server.stdout.readline() for server in servers if server.stdout is not None] == ["ready\n"] * 3
        acting.start()
        for _ in range(2):
            for _ in range(4):  # something to forget each time
                assert acted.acquire(timeout=60)
            forget(world.places, ANN, END + 5)
        stop.set()
        acting.join()
        forget(world.places, ANN, END + 5)
        world.log.append([event(ANN, 9_999, "e")])
        (world.home / "stop").touch()
        told = [server.communicate(timeout=60)[0] for server in servers]
    finally:
        stop.set()
        for server in servers:
            server.kill()
            server.communicate()
        if acting.is_alive():
            acting.join()
    assert told == ["[4] True\n"] * len(servers)
    assert world.left() == {}
    forget(world.places, ANN, END + 10_000)
    assert (holding(world.home, ANN), holding(world.home, "tab-of-ann")) == ([], [])
