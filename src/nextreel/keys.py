"""API keys: what they open, how a new one is made, and how the setting API_KEYS writes them.

An entry of API_KEYS is either `NAME:SCOPE+SCOPE:sha256-DIGEST`, as `nextreel keys new` prints it, or the key itself.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, TypeAlias, get_args

from nextreel.types import NextreelError

Scope: TypeAlias = Literal["read", "write", "admin"]  # lists · feedback · whatever changes videos, releases or people
SCOPES: tuple[Scope, ...] = get_args(Scope)
PLAIN: frozenset[Scope] = frozenset({"read", "write"})  # of a key that stands in API_KEYS itself: admin is asked for

SHORTEST = 16  # characters; a shorter key can be guessed
RANDOM = 32  # bytes of a new key
PREFIX = "nextreel_"  # so that people, scanners of secrets and our own logs know a key when they see one
LOOKS_LIKE = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{40,}}")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"sha256-([0-9a-f]{64})")


class WrongKey(NextreelError, ValueError):
    """An entry of API_KEYS, or what a new key was asked to be, means nothing; the message repeats no key."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Whom a key belongs to and what it opens; the key itself is not kept.

    One round of SHA-256 is enough for keys of 256 random bits: nobody finds them by trying, however fast the hash is,
    and it runs on every request. Passwords that people choose would need a slow one, so `nextreel keys new` takes none.
    """

    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)

    def entry(self) -> str:
        """The entry of API_KEYS."""
        return f"{self.name}:{'+'.join(one for one in SCOPES if one in self.scopes)}:sha256-{self.digest.hex()}"


def new(name: str, scopes: Sequence[str]) -> tuple[str, ApiKey]:
    """A new random key, to be shown once, and what is kept of it."""
    key = PREFIX + secrets.token_urlsafe(RANDOM)
    return key, ApiKey(_named(name), _scopes(scopes), digest(key))


def digest(key: str) -> bytes:
    """What is kept of a key, and compared."""
    return sha256(key.encode()).digest()


def find(keys: Sequence[ApiKey], given: str) -> ApiKey | None:
    """The key that was given; all are compared, in constant time: no length, position or prefix can be measured."""
    mine = digest(given)
    found = None
    for key in keys:
        if hmac.compare_digest(mine, key.digest):
            found = key
    return found


def parse(text: str) -> tuple[ApiKey, ...]:
    """The keys of a setting, separated by commas; `WrongKey` says which entry is wrong."""
    keys: list[ApiKey] = []
    for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        key = _parse(entry, number)
        for other, earlier in enumerate(keys, 1):
            if earlier.digest == key.digest or earlier.name == key.name:
                what = "key" if earlier.digest == key.digest else "name"
                raise WrongKey(f"keys {other} and {number} have the same {what}. Hint: leave one of them out")
        keys.append(key)
    return tuple(keys)


def _parse(entry: str, number: int) -> ApiKey:
    if ":" not in entry:
        if len(entry) < SHORTEST or not entry.isascii():
            raise WrongKey(f"key {number} must be at least {SHORTEST} ASCII characters, it has {len(entry)}")
        return ApiKey(f"key-{number}", PLAIN, digest(entry))
    # a slip in a digest must not make the entry a key of its own, so no key that stands here itself has a colon
    parts = entry.split(":")
    if len(parts) != 3 or not (hashed := _DIGEST.fullmatch(parts[2])):
        raise WrongKey(
            f"key {number} must be NAME:SCOPE+SCOPE:sha256-DIGEST with 64 hexadecimal digits, or a key without colons. "
            "Hint: nextreel keys new makes both"
        )
    try:
        return ApiKey(_named(parts[0]), _scopes(parts[1].split("+")), bytes.fromhex(hashed[1]))
    except WrongKey as error:
        raise WrongKey(f"key {number}: {error}") from None  # the message is all there is to tell


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise WrongKey("Expected a name of at most 64 letters, digits, dots, dashes and underscores.")
    return name


def _scopes(given: Sequence[str]) -> frozenset[Scope]:
    if not given or not set(given) <= set(SCOPES):
        raise WrongKey(f"Expected one or more of the scopes {', '.join(SCOPES)}.")
    return frozenset(one for one in SCOPES if one in given)
