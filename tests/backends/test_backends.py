"""What a URL opens, and what SQLite alone must withstand: restarts, other processes, kills and forks."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from nextreel.backends import (
    NotWritable,
    StillRead,
    UnknownBackend,
    UnreadableRecord,
    open_blobs,
    open_key_value,
    open_log,
    sqlite,
)
from nextreel.types import Conflict, Event, Kind, NextreelError

APPENDS_FOREVER = """
import sys
from nextreel.backends import open_log
from nextreel.types import Event, Kind
log = open_log(sys.argv[1])
for n in range(10**6):
    (offset,) = log.append([Event(sys.argv[2], float(n), Kind.CLICK, n, event_id=f"{sys.argv[2]}-{n}")])
    print(n, flush=True)
"""


@pytest.mark.parametrize("opener", [open_key_value, open_log, open_blobs])
def test_an_unknown_url_is_answered_with_the_known_ones(opener: object) -> None:
    assert callable(opener)
    with pytest.raises(UnknownBackend, match=r"got 'redos://host'. Hint"):
        opener("redos://host")


def test_sqlite_needs_a_path() -> None:
    with pytest.raises(UnknownBackend, match="path after"):
        open_key_value("sqlite://")


def test_two_slashes_are_relative_and_three_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_key_value("sqlite://var/here.db").close()
    open_key_value(f"sqlite://{tmp_path}/there with%20space.db").close()
    assert (tmp_path / "var" / "here.db").is_file()
    assert (tmp_path / "there with space.db").is_file()


def test_values_survive_a_restart_and_conflict_across_connections(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/state.db"
    first, second = open_key_value(url), open_key_value(url)
    first.put_many([("a", b"1", 0)])
    with pytest.raises(Conflict):
        second.put_many([("a", b"2", 0)])
    first.close()
    second.close()
    assert open_key_value(url).get_many(["a"]) == [(b"1", 1)]


def test_a_file_of_a_version_in_which_nothing_expired_is_read_unchanged_and_written_to(tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("CREATE TABLE key_value (key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL)")
        old.execute("INSERT INTO key_value VALUES ('a', x'31', 1)")
    before = path.read_bytes()
    store = open_key_value(f"sqlite://{path}")
    assert store.get_many(["a", "b"]) == [(b"1", 1), None]
    store.close()
    assert path.read_bytes() == before  # it may be a snapshot, which nobody may write to
    assert store.delete(["b"]) == 0
    store.put_many([("a", b"2", 1)])
    store.put_many([("b", b"3", 0)], 1e-3)
    time.sleep(0.01)
    assert store.get_many(["a", "b"]) == [(b"2", 2), None]
    assert open_key_value(f"sqlite://{path}").get_many(["a", "b"]) == [(b"2", 2), None]


def test_a_closed_store_opens_again_when_used(tmp_path: Path) -> None:
    store = open_key_value(f"sqlite://{tmp_path}/state.db")
    store.put_many([("a", b"1", 0)])
    store.close()
    assert store.get_many(["a"]) == [(b"1", 1)]
    store.close()


def test_killed_processes_lose_no_acknowledged_event(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/log.db"
    command = [sys.executable, "-c", APPENDS_FOREVER, url]
    names = ("ada", "bob")
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in names]  # noqa: S603  our own script
    acknowledged = {}
    for name, writer in zip(names, writers, strict=True):
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.communicate()[0].split()
        acknowledged[name] = int(rest[-1]) if rest else 19
    kept = {event.event_id for _, event in open_log(url).read(0, limit=10**6)}
    for name, last in acknowledged.items():
        assert {f"{name}-{n}" for n in range(last + 1)} <= kept


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_takes_its_own_connection(tmp_path: Path) -> None:
    log = open_log(f"sqlite://{tmp_path}/log.db")
    log.append([Event(1, 1.0, Kind.CLICK, 1)])
    child = os.fork()
    if child == 0:
        try:
            log.append([Event(2, 2.0, Kind.CLICK, 2)])
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    log.append([Event(3, 3.0, Kind.CLICK, 3)])
    assert [event.user_id for _, event in log.read(0)] == [1, 2, 3]
    log.close()


@pytest.mark.parametrize("body", [b"", b"\x02future", b"\x01\xffdamaged"])
def test_a_record_of_another_version_is_refused(tmp_path: Path, body: bytes) -> None:
    log = open_log(f"sqlite://{tmp_path}/log.db")
    log.append([Event(1, 1.0, Kind.CLICK, 1)])
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("UPDATE events SET body = ?", (body,))
    connection.close()
    with pytest.raises(UnreadableRecord, match="Hint"):
        log.read(0)
    log.close()


def test_an_event_that_holds_something_else_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    log = open_log(f"sqlite://{tmp_path / 'log.db'}")
    wrong: object = Path("a video")
    with pytest.raises(NextreelError, match=r"Expected texts and numbers in an event, got a PosixPath.*Hint"):
        log.append([Event("ada", 1.0, Kind.LIKE, video_id=7), Event("ada", 2.0, Kind.LIKE, video_id=wrong)])  # type: ignore[arg-type]
    assert log.read(0) == []
    log.close()


def test_what_a_file_erased_is_in_none_of_its_bytes(tmp_path: Path) -> None:
    store, log = open_key_value(f"sqlite://{tmp_path}/kv.db"), open_log(f"sqlite://{tmp_path}/log.db")
    secret = b"the-secret-of-ann"
    for size in (10, 5_000, 50, 20_000):  # grows and shrinks, so that pages are left and taken again
        store.put_many([("user/ann", secret * size, None), ("user/bob", b"bob's", None)])
    log.append([Event("ann-the-person", 1.0, Kind.LIKE, "v"), Event("bob", 1.0, Kind.LIKE, "v")])

    def everything() -> bytes:
        return b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))

    assert secret in everything()
    assert b"ann-the-person" in everything()
    store.delete(["user/ann"])
    assert secret in everything()  # deleting alone leaves bytes behind
    assert (store.erase([("user/ann", None)]), log.erase([1])) == (0, 1)
    assert not any(word in everything() for word in (secret, b"user/ann", b"ann-the-person"))
    assert store.get_many(["user/bob"]) == [(b"bob's", 4)]
    assert [event.user_id for _, event in log.read(0)] == ["bob"]
    store.close()
    log.close()


def test_a_reader_who_does_not_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MILLISECONDS", 200)
    store = open_key_value(f"sqlite://{tmp_path}/kv.db")
    store.put_many([("a", b"1", None)])
    reader = sqlite3.connect(tmp_path / "kv.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM key_value").fetchall()
    with pytest.raises(StillRead, match=r"a reader who does not end.*Hint: end the reader and repeat"):
        store.erase([("a", None)])
    reader.close()
    assert store.erase([("a", None)]) == 0
    store.close()


@pytest.fixture
def only_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a folder one that nobody may write, not even root."""

    def only_read(folder: Path) -> None:
        really = os.access
        refused = lambda path, mode: not (mode & os.W_OK and Path(path) == folder) and really(path, mode)  # noqa: E731  one line
        monkeypatch.setattr("os.access", refused)
        folder.chmod(0o555)

    return only_read


def test_a_store_in_a_folder_that_can_only_be_read_answers_and_leaves_no_trace(
    tmp_path: Path, only_read: Callable[[Path], None]
) -> None:
    (folder := tmp_path / "is it ?100% read").mkdir()
    store = open_key_value(f"sqlite://{quote(str(folder))}/state.db")
    store.put_many([("a", b"1", 0)])
    store.close()
    before = [(path, path.stat().st_mtime_ns) for path in folder.iterdir()]
    only_read(folder)
    store = open_key_value(f"sqlite://{quote(str(folder))}/state.db")
    assert store.get_many(["a", "b"]) == [(b"1", 1), None]
    for write in (lambda: store.put_many([("a", b"2", 1)]), lambda: store.delete(["a"])):
        with pytest.raises(NotWritable, match=r"state\.db.*Hint: name another place by LOG_URL .* STATE_URL"):
            write()
    assert store.get_many(["a"]) == [(b"1", 1)]
    store.close()
    assert [(path, path.stat().st_mtime_ns) for path in folder.iterdir()] == before


def test_a_file_that_is_not_there_cannot_be_made_where_one_may_only_read(
    tmp_path: Path, only_read: Callable[[Path], None]
) -> None:
    only_read(tmp_path)
    for path in (tmp_path / "log.db", tmp_path / "deep" / "er" / "log.db"):
        with pytest.raises(NotWritable, match=r"log\.db, to make it in"):
            open_log(f"sqlite://{path}")


def test_writes_that_were_never_put_in_place_are_not_passed_over(
    tmp_path: Path, only_read: Callable[[Path], None]
) -> None:
    log = open_log(f"sqlite://{tmp_path}/log.db")
    log.append([Event(1, 1.0, Kind.CLICK, 1)])  # still open: as a killed process leaves it
    only_read(tmp_path)
    with pytest.raises(NotWritable, match=r"got log\.db-wal beside it.*Hint: open and close it once"):
        open_log(f"sqlite://{tmp_path}/log.db")
    log.close()
    assert len(open_log(f"sqlite://{tmp_path}/log.db").read(0)) == 1
