"""Where state, events and files are kept; a URL picks the backend.

`memory://` lives with its object, `sqlite://var/state.db` is relative to the working folder and
`sqlite:///srv/state.db` absolute; `file://` follows the same rule. `redis://host:6379/0` (`rediss://` with TLS) and
`dynamodb://table` are servers, and their libraries extras; docs/backends.md tells what else their URLs can say.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from nextreel.backends.disk import DiskBlobs
from nextreel.backends.errors import (
    BlobNotFound,
    InvalidKey,
    InvalidUrl,
    NotWritable,
    StillRead,
    TooLarge,
    UnknownBackend,
    Unreachable,
    UnreadableRecord,
)
from nextreel.backends.memory import MemoryEventLog, MemoryKeyValue
from nextreel.backends.sqlite import SqliteEventLog, SqliteKeyValue
from nextreel.backends.urls import shown
from nextreel.types import Blobs, EventLog, KeyValue

__all__ = [
    "BlobNotFound",
    "ClosableBlobs",
    "ClosableEventLog",
    "ClosableKeyValue",
    "InvalidKey",
    "InvalidUrl",
    "NotWritable",
    "StillRead",
    "TooLarge",
    "UnknownBackend",
    "Unreachable",
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
    """The key-value store of the URL: `memory://`, `sqlite://path`, `redis://host:port/number` or `dynamodb://table`.

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
        case "redis" | "rediss":
            with _needs("redis"):
                from nextreel.backends.redis import RedisKeyValue  # noqa: PLC0415  an extra
            return RedisKeyValue(url)
        case "dynamodb":
            with _needs("aws"):
                from nextreel.backends.dynamodb import DynamoKeyValue  # noqa: PLC0415  an extra
            return DynamoKeyValue(url)
    raise _unknown(url, "key-value store", "memory://, sqlite://path, redis://host:port/number, dynamodb://table")


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


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UnknownBackend(
            f"Expected the libraries of the extra {extra!r}, got no {error.name}. "
            f"Hint: pip install 'nextreel[{extra}]'."
        ) from error


def _parts(url: str) -> tuple[str, str]:
    scheme, _, path = url.partition("://")
    return scheme.lower(), unquote(path)


def _file(url: str, path: str) -> Path:
    if not path:
        raise UnknownBackend(f"Expected a path after '://', got {url!r}. Hint: write it like '{url}var/data'.")
    return Path(path)


def _unknown(url: str, what: str, known: str) -> UnknownBackend:
    return UnknownBackend(
        f"Expected a URL of a {what} ({known}), got {shown(url)!r}. Hint: check the part before '://'."
    )
