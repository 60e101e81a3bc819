"""Who was forgotten, without saying who: a record of the log holds a salted digest in place of the id."""

from __future__ import annotations

import hashlib

from nextreel.store.codec import key_of
from nextreel.types import Event, Kind, NextreelError, UserId

_START = "erased"


def digest_of(user_id: UserId, salt: str) -> str:
    """The person's digest under the salt: who has the id can make it, who has the digest cannot find the id.

    >>> digest_of(7, "ab") == digest_of("7", "ab")
    False
    """
    return hashlib.blake2b(key_of(user_id).encode(), key=bytes.fromhex(salt), digest_size=24).hexdigest()


def erasure(user_id: UserId, salt: str, at: float) -> Event:
    """The record that tells all who follow the log to forget the person."""
    return Event(f"{_START}:{salt}:{digest_of(user_id, salt)}", at, Kind.ERASE)


class Erasures:
    """The erasures that were followed; knows the newest one of everybody who is asked about."""

    def __init__(self) -> None:
        self._offsets: dict[str, dict[str, int]] = {}  # salt -> digest -> log offset; a home has one salt

    def add(self, record: Event, offset: int) -> None:
        """Takes an ERASE record of the log."""
        parts = str(record.user_id).split(":")
        if len(parts) != 3 or parts[0] != _START:
            raise NextreelError(
                f"Expected an erasure that names a salt and a digest at offset {offset} of the event log, got another "
                "record. Hint: the log was written by a newer nextreel; read it with that one."
            )
        self._offsets.setdefault(parts[1], {})[parts[2]] = offset

    def of(self, user_id: UserId) -> int:
        """Log offset of the person's newest erasure; 0 for one who was never forgotten."""
        return max(
            (digests.get(digest_of(user_id, salt), 0) for salt, digests in self._offsets.items()),
            default=0,
        )
