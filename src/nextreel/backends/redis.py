"""A key-value store on a Redis or Valkey server, shared by processes of many machines.

Under each key lies one string: the version in 16 digits, 16 bytes that name the write, then the value. So one MGET
reads any number of keys at one moment, and one script, which the server runs alone, writes all or none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast
from urllib.parse import unquote

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from nextreel.backends import urls
from nextreel.backends.errors import InvalidUrl, TooLarge, Unreachable, UnreadableRecord
from nextreel.backends.memory import conflict
from nextreel.backends.urls import PREFIX, TIMEOUTS, shown, split

MOST_KEYS = 100_000  # of one write: the server does nothing else meanwhile
RETRIES = 2
CONNECTIONS = 512  # at once: more than a server has threads
_DIGITS, _NAME = 16, 16
_HEAD = _DIGITS + _NAME

# ARGV: the name of the write, the milliseconds until its keys expire ('' for never), then for each key the version that
# is expected ('' for any) and the value.
# A write whose answer was lost is sent again: it finds its own name under its last key, and is done.
# A key may come twice, so versions are counted in `now` before anything is written.
_WRITE = f"""
local last = KEYS[#KEYS]
if redis.call('GETRANGE', last, {_DIGITS}, {_HEAD - 1}) == ARGV[1] then return false end
local now, writes = {{}}, {{}}
for i, key in ipairs(KEYS) do
  local found = now[key] or tonumber(redis.call('GETRANGE', key, 0, {_DIGITS - 1})) or 0
  local expected = ARGV[2 * i + 1]
  if expected ~= '' and tonumber(expected) ~= found then return {{i, found}} end
  now[key] = found + 1
  writes[key] = string.format('%0{_DIGITS}d', found + 1) .. ARGV[1] .. ARGV[2 * i + 2]
end
for key, record in pairs(writes) do
  if ARGV[2] == '' then redis.call('SET', key, record) else redis.call('SET', key, record, 'PX', ARGV[2]) end
end
return false
"""

# ARGV: for each key the version that is expected ('' for any).
_ERASE = f"""
local erased = 0
for i, key in ipairs(KEYS) do
  local found = tonumber(redis.call('GETRANGE', key, 0, {_DIGITS - 1}))
  if found and (ARGV[i] == '' or tonumber(ARGV[i]) == found) then erased = erased + redis.call('DEL', key) end
end
return erased
"""


class RedisKeyValue:
    """A key-value store of one server; safe between threads, connects when it is first used."""

    def __init__(self, url: str) -> None:
        parts, options = split(url, ("prefix", *TIMEOUTS))
        connect, read = urls.seconds(options)
        database = parts.path.strip("/") or "0"
        if not parts.hostname or not (database.isascii() and database.isdigit()):
            raise InvalidUrl(
                f"Expected redis://host:port/number, got {shown(url)!r}. Hint: write it like 'redis://localhost:6379/0'."
            )
        self._shown = shown(url)
        self._prefix = options.get("prefix", PREFIX) + ":"
        self._client = Redis(
            host=parts.hostname,
            port=parts.port or 6379,
            db=int(database),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            ssl=parts.scheme.lower() == "rediss",
            socket_connect_timeout=connect,
            socket_timeout=read,
            max_connections=CONNECTIONS,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.2, base=0.02), RETRIES),
        )
        self._write = self._client.register_script(_WRITE)
        self._erase = self._client.register_script(_ERASE)

    def __repr__(self) -> str:
        return f"RedisKeyValue({self._shown!r})"

    def get_many(self, keys: Sequence[str]) -> list[tuple[bytes, int] | None]:
        """Value and version for each key, None where there is none; all of one moment."""
        if not keys:
            return []
        with self._reached():
            found = cast("list[bytes | None]", self._client.mget([self._key(key) for key in keys]))
        return [None if record is None else self._read(key, record) for key, record in zip(keys, found, strict=True)]

    @staticmethod
    def _read(key: str, record: bytes) -> tuple[bytes, int]:
        if len(record) < _HEAD or not record[:_DIGITS].isdigit():
            raise UnreadableRecord(
                f"Expected a version of {_DIGITS} digits under {key!r}, got {record[:_DIGITS]!r}. "
                "Hint: something else writes there; give this store a prefix of its own, '?prefix=name'."
            )
        return record[_HEAD:], int(record[:_DIGITS])

    def put_many(self, items: Sequence[tuple[str, bytes, int | None]], seconds: float | None = None) -> None:
        """Writes all or none; `Conflict` when a version differs from the expected one."""
        if not items:
            return
        if len(items) > MOST_KEYS:
            raise TooLarge(
                f"Expected at most {MOST_KEYS:,} keys in one write, got {len(items):,}. Nothing was written. "
                "Hint: write them in parts, each of which is all or none."
            )
        expire = "" if seconds is None else str(max(1, int(seconds * 1000)))
        arguments: list[bytes | str] = [uuid.uuid4().bytes, expire]
        for _, value, expected in items:
            arguments += ["" if expected is None else str(expected), bytes(value)]
        with self._reached():
            found = self._write(keys=[self._key(key) for key, _, _ in items], args=arguments)
        if found is not None:
            which, there = found
            key, _, expected = items[int(which) - 1]
            raise conflict(key, expected or 0, int(there))

    def delete(self, keys: Sequence[str]) -> int:
        """How many of the keys were there."""
        if not keys:
            return 0
        with self._reached():
            return self._client.delete(*(self._key(key) for key in keys))

    def erase(self, items: Sequence[tuple[str, int | None]]) -> int:
        """How many of the keys were there, at the version where one is given; the server's own files follow later."""
        if not items:
            return 0
        versions = ["" if version is None else str(version) for _, version in items]
        with self._reached():
            return int(self._erase(keys=[self._key(key) for key, _ in items], args=versions))

    def keys(self, prefix: str) -> list[str]:
        """Every key that starts with the prefix, sorted."""
        start = self._key(prefix).decode()
        pattern = "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in start) + "*"
        with self._reached():
            found = {key.decode() for key in self._client.scan_iter(match=pattern.encode(), count=1000)}
        return sorted(key.removeprefix(self._prefix) for key in found)

    def close(self) -> None:
        """Closes all connections; a store that is used again opens new ones."""
        self._client.close()

    def _key(self, key: str) -> bytes:
        return (self._prefix + key).encode()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            raise Unreachable(
                f"Expected an answer of {self._shown}, got {type(error).__name__}: {error}. "
                "Hint: check the URL's host, port and password, and whether the server is up; "
                "a slow one needs more seconds, '?read_timeout=2'."
            ) from error
