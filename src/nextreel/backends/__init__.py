"""Where state, events and files are kept; a URL picks the backend.

`memory://` lives with its object, `sqlite://var/state.db` is relative to the working folder and
`sqlite:///srv/state.db` absolute; `file://` follows the same rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from nextreel.backends.disk import DiskBlobs
from nextreel.backends.errors import BlobNotFound, InvalidKey, UnknownBackend, UnreadableRecord
from nextreel.backends.memory import MemoryEventLog, MemoryKeyValue
from nextreel.backends.sqlite import SqliteEventLog, SqliteKeyValue
from nextreel.types import Blobs, EventLog, KeyValue

__all__ = [
    "BlobNotFound",
    "ClosableBlobs",
    "ClosableEventLog",
    "ClosableKeyValue",
    "InvalidKey",
    "UnknownBackend",
    "UnreadableRecord",
    "open_blobs",
    "open_key_value",
    "open_log",
]


class _Closable(Protocol):
    def close(self) -> None: ...


class ClosableKeyValue(KeyValue, _Closable, Protocol):
    """A key-value store whose opener closes it."""


class ClosableEventLog(EventLog, _Closable, Protocol):
    """An event log whose opener closes it."""


class ClosableBlobs(Blobs, _Closable, Protocol):
    """A blob store whose opener closes it."""


def open_key_value(url: str) -> ClosableKeyValue:
    """The key-value store of the URL: `memory://` or `sqlite://path`.

    >>> store = open_key_value("memory://")
    >>> store.put_many([("greeting", b"hello", 0)])
    >>> store.get_many(["greeting", "other"])
    [(b'hello', 1), None]
    """
    scheme, path = _parts(url)
    match scheme:
        case "memory":
            return MemoryKeyValue()
        case "sqlite":
            return SqliteKeyValue(_file(url, path))
    raise _unknown(url, "key-value store", "memory://, sqlite://path")


def open_log(url: str) -> ClosableEventLog:
    """The event log of the URL: `memory://` or `sqlite://path`."""
    scheme, path = _parts(url)
    match scheme:
        case "memory":
            return MemoryEventLog()
        case "sqlite":
            return SqliteEventLog(_file(url, path))
    raise _unknown(url, "event log", "memory://, sqlite://path")


def open_blobs(url: str) -> ClosableBlobs:
    """The blob store of the URL: `file://folder`."""
    scheme, path = _parts(url)
    match scheme:
        case "file":
            return DiskBlobs(_file(url, path))
    raise _unknown(url, "blob store", "file://folder")


def _parts(url: str) -> tuple[str, str]:
    scheme, _, path = url.partition("://")
    return scheme.lower(), unquote(path)


def _file(url: str, path: str) -> Path:
    if not path:
        raise UnknownBackend(f"Expected a path after '://', got {url!r}. Hint: write it like '{url}var/data'.")
    return Path(path)


def _unknown(url: str, what: str, known: str) -> UnknownBackend:
    return UnknownBackend(f"Expected a URL of a {what} ({known}), got {url!r}. Hint: check the part before '://'.")
