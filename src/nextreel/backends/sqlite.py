"""Backends in one SQLite file: durable, no server, several processes at once.

Both run in WAL mode, where readers never wait for the writer. A write takes the lock at its start (BEGIN IMMEDIATE),
so writers queue up to `BUSY_MILLISECONDS` instead of failing half-way when a read is upgraded to a write.

A file in a folder that this process may not write (an image, a mount of a container platform) is read as it is, without
locks, which would need files beside it: nobody can change it meanwhile. To write there is an error.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from nextreel.backends.codec import decode_event, encode_event
from nextreel.backends.errors import NotWritable, StillRead
from nextreel.backends.memory import conflict
from nextreel.types import Event

BUSY_MILLISECONDS = 30_000
KEYS_PER_QUERY = 500  # SQLite bounds the variables of one statement

_KEY_VALUE = """
    CREATE TABLE IF NOT EXISTS key_value (key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL)
"""
# Made by the first write, never when a file is opened: a snapshot of an older version has none, and may not be changed.
_EXPIRING = (
    "CREATE TABLE IF NOT EXISTS expiring (key TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS expiring_until ON expiring (until)",
)
_ALIVE = "AND NOT EXISTS (SELECT 1 FROM expiring WHERE expiring.key = key_value.key AND until <= ?)"
_BURY = "DELETE FROM key_value WHERE key IN (SELECT key FROM expiring WHERE until <= ?)"


class _Connection(sqlite3.Connection):
    """sqlite3's own class cannot be referenced weakly, a subclass can."""


class _Database:
    """One connection per thread to one file; a thread that ends lets its connection go."""

    def __init__(self, path: Path, schema: str, synchronous: Literal["NORMAL", "FULL"]) -> None:
        self._path = path
        self._synchronous = synchronous
        self._inherited: list[_Connection] = []
        self._fixed = _fixed(path)
        self._begin()
        if not self._fixed:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection().execute(schema)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._local = threading.local()

    def _leave_parent(self) -> None:
        """After a fork: closing the parent's connections here would delete its write-ahead log, so they are kept."""
        if self._pid != os.getpid():
            self._inherited += self._open
            self._begin()

    def connection(self) -> _Connection:
        """This thread's connection."""
        self._leave_parent()
        mine: _Connection | None = getattr(self._local, "connection", None)
        return self._connect() if mine is None else mine

    def _connect(self) -> _Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro&immutable=1" if self._fixed else self._path,
            uri=self._fixed,
            timeout=BUSY_MILLISECONDS / 1000,
            isolation_level=None,
            check_same_thread=False,  # so that close() may close the connections of other threads
            factory=_Connection,
        )
        if not self._fixed:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        with self._lock:
            self._open.add(connection)
        self._local.connection = connection
        return connection

    @contextmanager
    def transaction(self, begin: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[_Connection]:
        """A connection inside one transaction, committed at the end, rolled back by any error."""
        if self._fixed and begin == "IMMEDIATE":
            raise _not_writable(self._path, "to write in")
        connection = self.connection()
        connection.execute(f"BEGIN {begin}")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def scrub(self) -> None:
        """Rewrites the file, so that what was deleted is in none of its bytes, nor in those of its write-ahead log.

        Writers wait meanwhile. Raises `StillRead` while a reader holds the file as it was.
        """
        connection = self.connection()
        connection.execute("VACUUM")  # deleted rows, and what pages kept of rows that moved on
        deadline = time.monotonic() + BUSY_MILLISECONDS / 1000
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() < deadline:  # another checkpoint is under way, which SQLite does not wait for
                time.sleep(0.01)
                continue
            raise StillRead(
                f"Expected {self._path} to be read by nobody for a moment in {BUSY_MILLISECONDS // 1000} seconds, got "
                "a reader who does not end. What was deleted is gone from the rows, not yet from all bytes. "
                "Hint: end the reader and repeat."
            )

    def close(self) -> None:
        """Closes every thread's connection; a thread that goes on gets a new one."""
        self._leave_parent()
        with self._lock:
            for connection in list(self._open):
                connection.close()
        self._begin()


def _fixed(path: Path) -> bool:
    """Whether the file can only be read. Raises `NotWritable` where that is not enough."""
    folder = next(one for one in path.absolute().parents if one.exists())
    if os.access(folder, os.W_OK):
        return False
    if not path.is_file():
        raise _not_writable(path, "to make it in")
    rest = path.with_name(f"{path.name}-wal")
    if rest.is_file() and rest.stat().st_size:  # writes of a process that was killed; nobody may put them in place here
        raise NotWritable(
            f"Expected {path} closed by its last writer, got {rest.name} beside it in a folder that cannot be written. "
            "Hint: open and close it once where it can be, as every command of nextreel does."
        )
    return True


def _not_writable(path: Path, purpose: str) -> NotWritable:
    return NotWritable(
        f"Expected a folder that can be written for {path}, {purpose}, got one that cannot. "
        "Hint: name another place by LOG_URL for events and STATE_URL for states, such as sqlite:///tmp/log.db."
    )


class SqliteKeyValue:
    """A key-value store in one table.

    synchronous = NORMAL: a killed process loses nothing, a power cut may lose the last writes but leaves an earlier
    consistent whole. State and its log offset are written together, so what was lost is replayed from the log.
    """

    def __init__(self, path: Path) -> None:
        self._database = _Database(path, _KEY_VALUE, "NORMAL")
        self._expiring = False  # whether the tables of what expires were seen

    def _expires(self, connection: _Connection) -> bool:
        """Whether something may expire: there are tables for it."""
        if not self._expiring:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'expiring_until'").fetchone()
            self._expiring = found is not None
        return self._expiring

    def get_many(self, keys: Sequence[str]) -> list[tuple[bytes, int] | None]:
        """Value and version for each key, None where there is none; one snapshot for all of them."""
        found: dict[str, tuple[bytes, int]] = {}
        if len(keys) <= KEYS_PER_QUERY:
            found = self._find(self._database.connection(), keys)
        else:
            with self._database.transaction("DEFERRED") as connection:
                for start in range(0, len(keys), KEYS_PER_QUERY):
                    found |= self._find(connection, keys[start : start + KEYS_PER_QUERY])
        return [found.get(key) for key in keys]

    def _find(self, connection: _Connection, keys: Sequence[str]) -> dict[str, tuple[bytes, int]]:
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, value, version FROM key_value WHERE key IN ({marks}) "  # noqa: S608  only question marks
        given: tuple[str | float, ...] = tuple(keys)
        if self._expires(connection):
            query, given = query + _ALIVE, (*given, time.time())
        return {key: (value, version) for key, value, version in connection.execute(query, given)}

    def _bury(self, connection: _Connection) -> None:
        """Deletes what has expired."""
        if self._expires(connection):
            now = time.time()
            connection.execute(_BURY, (now,))
            connection.execute("DELETE FROM expiring WHERE until <= ?", (now,))

    def put_many(self, items: Sequence[tuple[str, bytes, int | None]], seconds: float | None = None) -> None:
        """Writes all or none; `Conflict` when a version differs from the expected one."""
        if items:
            now = time.time()
            if not self._expires(self._database.connection()):
                with self._database.transaction("IMMEDIATE") as connection:  # its own: what follows may be rolled back
                    for statement in _EXPIRING:
                        connection.execute(statement)
            with self._database.transaction("IMMEDIATE") as connection:
                self._bury(connection)
                for key, value, expected in items:
                    self._put(connection, key, value, expected)
                    connection.execute("DELETE FROM expiring WHERE key = ?", (key,))
                    if seconds is not None:
                        connection.execute("INSERT INTO expiring VALUES (?, ?)", (key, now + seconds))

    @staticmethod
    def _put(connection: _Connection, key: str, value: bytes, expected: int | None) -> None:
        if expected is None:
            connection.execute(
                "INSERT INTO key_value VALUES (?, ?, 1) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = version + 1",
                (key, value),
            )
            return
        if expected == 0:
            done = connection.execute("INSERT INTO key_value VALUES (?, ?, 1) ON CONFLICT DO NOTHING", (key, value))
        else:
            done = connection.execute(
                "UPDATE key_value SET value = ?, version = version + 1 WHERE key = ? AND version = ?",
                (value, key, expected),
            )
        if done.rowcount == 0:
            there = connection.execute("SELECT version FROM key_value WHERE key = ?", (key,)).fetchone()
            raise conflict(key, expected, there[0] if there else 0)

    def delete(self, keys: Sequence[str]) -> int:
        """How many of the keys were there."""
        if not keys:
            return 0
        with self._database.transaction("IMMEDIATE") as connection:
            self._bury(connection)
            return sum(connection.execute("DELETE FROM key_value WHERE key = ?", (key,)).rowcount for key in keys)

    def erase(self, items: Sequence[tuple[str, int | None]]) -> int:
        """How many of the keys were there, at the version where one is given; the file is rewritten without them."""
        query = "DELETE FROM key_value WHERE key = ?1 AND (?2 IS NULL OR version = ?2)"
        with self._database.transaction("IMMEDIATE") as connection:
            self._bury(connection)
            erased = sum(connection.execute(query, item).rowcount for item in items)
            if self._expires(connection):
                connection.execute("DELETE FROM expiring WHERE key NOT IN (SELECT key FROM key_value)")
        self._database.scrub()
        return erased

    def keys(self, prefix: str) -> list[str]:
        """Every key that starts with the prefix, sorted."""
        connection = self._database.connection()
        query, given = "SELECT key FROM key_value WHERE substr(key, 1, ?) = ? ", (len(prefix), prefix)
        if self._expires(connection):
            found = connection.execute(query + _ALIVE, (*given, time.time()))
        else:
            found = connection.execute(query, given)
        return sorted(key for (key,) in found)

    def close(self) -> None:
        """Closes the file in every thread."""
        self._database.close()


class SqliteEventLog:
    """A log in one table; offsets start at 1, never repeat, and become visible in their order.

    synchronous = FULL: `append` returns after the disk has the events, so that not even a power cut loses one.
    """

    def __init__(self, path: Path) -> None:
        schema = """CREATE TABLE IF NOT EXISTS events
            (offset INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE, body BLOB NOT NULL)"""
        self._database = _Database(path, schema, "FULL")

    def append(self, events: Sequence[Event]) -> list[int]:
        """Offset of each event, all in one transaction; the old offset for an event_id that is already there."""
        if not events:
            return []
        rows = [(event.event_id, encode_event(event)) for event in events]  # before the lock is taken
        with self._database.transaction("IMMEDIATE") as connection:
            return [self._append(connection, event_id, body) for event_id, body in rows]

    @staticmethod
    def _append(connection: _Connection, event_id: str | None, body: bytes) -> int:
        insert = "INSERT INTO events (event_id, body) VALUES (?, ?) ON CONFLICT (event_id) DO NOTHING RETURNING offset"
        row = connection.execute(insert, (event_id, body)).fetchone()
        if row is None:
            row = connection.execute("SELECT offset FROM events WHERE event_id = ?", (event_id,)).fetchone()
        return int(row[0])

    def read(self, after: int, limit: int = 1000) -> list[tuple[int, Event]]:
        """At most `limit` events above offset `after`, oldest first."""
        query = "SELECT offset, body FROM events WHERE offset > ? ORDER BY offset LIMIT ?"
        rows = self._database.connection().execute(query, (after, max(limit, 0))).fetchall()
        return [(offset, decode_event(body)) for offset, body in rows]

    def erase(self, offsets: Sequence[int]) -> int:
        """How many of the offsets held an event; the file is rewritten without them, and their ids are free again."""
        with self._database.transaction("IMMEDIATE") as connection:
            erased = sum(
                connection.execute("DELETE FROM events WHERE offset = ?", (offset,)).rowcount for offset in offsets
            )
        self._database.scrub()
        return erased

    def close(self) -> None:
        """Closes the file in every thread."""
        self._database.close()
