"""Backends that live as long as their process: for tests, demos and throw-away runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from heapq import heappop, heappush

from nextreel.types import Conflict, Event


def conflict(key: str, expected: int, found: int) -> Conflict:
    """The error every key-value backend raises when another version is there; 0 means that the key is absent."""

    def words(version: int) -> str:
        return f"version {version}" if version else "no value"

    return Conflict(
        f"Expected {words(expected)} under {key!r}, got {words(found)}. Nothing was written. "
        "Hint: another writer was faster; read the key again and repeat the change."
    )


class MemoryKeyValue:
    """A key-value store in one dictionary, safe for threads."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[bytes, int]] = {}
        self._until: dict[str, float] = {}  # key → when it is no longer there
        self._next: list[tuple[float, str]] = []  # heap of these, and of some that were written again
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[str]) -> list[tuple[bytes, int] | None]:
        """Value and version for each key, None where there is none."""
        with self._lock:
            self._bury()
            return [self._items.get(key) for key in keys]

    def put_many(self, items: Sequence[tuple[str, bytes, int | None]], seconds: float | None = None) -> None:
        """Writes all or none; `Conflict` when a version differs from the expected one."""
        with self._lock:
            self._bury()
            written: dict[str, tuple[bytes, int]] = {}
            for key, value, expected in items:
                found = (written.get(key) or self._items.get(key) or (b"", 0))[1]
                if expected is not None and expected != found:
                    raise conflict(key, expected, found)
                written[key] = (bytes(value), found + 1)
            self._items.update(written)
            for key in written:
                self._until.pop(key, None)
                if seconds is not None:
                    self._until[key] = time.monotonic() + seconds
                    heappush(self._next, (self._until[key], key))

    def delete(self, keys: Sequence[str]) -> int:
        """How many of the keys were there."""
        with self._lock:
            self._bury()
            return sum(self._items.pop(key, None) is not None for key in keys)

    def erase(self, items: Sequence[tuple[str, int | None]]) -> int:
        """How many of the keys were there, at the version where one is given."""
        with self._lock:
            self._bury()
            there = [key for key, version in items if version in (None, self._items.get(key, (b"", 0))[1])]
            return sum(self._items.pop(key, None) is not None for key in there)

    def keys(self, prefix: str) -> list[str]:
        """Every key that starts with the prefix, sorted."""
        with self._lock:
            self._bury()
            return sorted(key for key in self._items if key.startswith(prefix))

    def _bury(self) -> None:
        """Removes what has expired."""
        while self._next and self._next[0][0] <= time.monotonic():
            until, key = heappop(self._next)
            if self._until.get(key) == until:
                del self._until[key]
                self._items.pop(key, None)

    def close(self) -> None:
        """Nothing to let go of; here because every backend can be closed."""


class MemoryEventLog:
    """A log in one list, safe for threads; offsets start at 1."""

    def __init__(self) -> None:
        self._events: list[Event | None] = []  # None where one was erased
        self._offsets: dict[str, int] = {}  # event_id -> offset
        self._lock = threading.Lock()

    def append(self, events: Sequence[Event]) -> list[int]:
        """Offset of each event; the old offset for an event_id that is already there."""
        with self._lock:
            return [self._append(event) for event in events]

    def _append(self, event: Event) -> int:
        offset = len(self._events) + 1
        if event.event_id is not None:
            there = self._offsets.setdefault(event.event_id, offset)
            if there != offset:
                return there
        self._events.append(event)
        return offset

    def read(self, after: int, limit: int = 1000) -> list[tuple[int, Event]]:
        """At most `limit` events above offset `after`, oldest first."""
        found: list[tuple[int, Event]] = []
        with self._lock:
            for offset in range(max(after, 0) + 1, len(self._events) + 1):
                if len(found) >= limit:
                    break
                event = self._events[offset - 1]
                if event is not None:
                    found.append((offset, event))
        return found

    def erase(self, offsets: Sequence[int]) -> int:
        """How many of the offsets held an event; their event ids are free again."""
        erased = 0
        with self._lock:
            for offset in offsets:
                event = self._events[offset - 1] if 0 < offset <= len(self._events) else None
                if event is not None:
                    self._events[offset - 1] = None
                    erased += 1
                    if event.event_id is not None:
                        del self._offsets[event.event_id]
        return erased

    def close(self) -> None:
        """Nothing to let go of; here because every backend can be closed."""
