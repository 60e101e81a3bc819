"""A person's state as bytes: one version byte, then MessagePack of the profile and the history's columns."""

from __future__ import annotations

import msgspec
import numpy as np

from nextreel.history import History
from nextreel.types import NextreelError, Profile, UserId, UserState

_VERSION = b"\x04"
_READ = (b"\x03", _VERSION)  # 3 is without what was shown or watched in part, and when channels were spoken of


class _Stored(msgspec.Struct, array_like=True):
    profile: tuple[str | None, str | None, float | None, str | None, float | None]
    rows: bytes  # int32
    at: bytes  # float64
    kinds: bytes  # int8
    weights: bytes  # float32
    version: int
    offset: int
    subscribed: list[int]
    blocked: list[int]
    watches: int
    watch_seconds: float
    impressions: int
    clicks: int
    full_watches: int
    shown_rows: bytes = b""  # int32
    shown_at: bytes = b""  # float64
    partly: list[tuple[int, float, float]] = msgspec.field(default_factory=list)  # row, seconds, time; oldest first
    told_at: dict[int, float] = msgspec.field(default_factory=dict)  # channel -> time


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def key_of(user_id: UserId) -> str:
    """The key of a person's state; 7 and "7" are two people."""
    return f"user/{'i' if isinstance(user_id, int) else 's'}/{user_id}"


def encode(state: UserState) -> bytes:
    """The state's bytes, without the id, which is the key."""
    history, profile = state.history, state.profile
    return _VERSION + _encoder.encode(
        _Stored(
            (profile.country, profile.language, profile.age, profile.gender, profile.created_at),
            history.rows.tobytes(),
            history.at.tobytes(),
            history.kinds.tobytes(),
            history.weights.tobytes(),
            state.version,
            state.offset,
            sorted(state.subscribed),
            sorted(state.blocked),
            state.watches,
            state.watch_seconds,
            state.impressions,
            state.clicks,
            state.full_watches,
            state.shown_rows.tobytes(),
            state.shown_at.tobytes(),
            [(row, seconds, at) for row, (seconds, at) in state.partly.items()],
            state.told_at,
        )
    )


def decode(user_id: UserId, body: bytes) -> UserState:
    """The state that `encode` wrote, now or a version ago. Raises `NextreelError` for bytes of another version."""
    if body[:1] not in _READ:
        raise NextreelError(
            f"Expected the state of user {user_id!r} to start with version byte {_VERSION.hex()}, got "
            f"{body[:1].hex() or 'nothing'}. Hint: train a release with this version of nextreel."
        )
    stored = _decoder.decode(body[1:])
    history = History(capacity=max(8, len(stored.rows) // 4 + 8))  # room for a few live events
    history.extend(
        np.frombuffer(stored.rows, np.int32),
        np.frombuffer(stored.at, np.float64),
        np.frombuffer(stored.kinds, np.int8),
        np.frombuffer(stored.weights, np.float32),
    )
    return UserState(
        user_id,
        Profile(*stored.profile),
        history,
        stored.version,
        stored.offset,
        known=True,
        subscribed=frozenset(stored.subscribed),
        blocked=frozenset(stored.blocked),
        watches=stored.watches,
        watch_seconds=stored.watch_seconds,
        impressions=stored.impressions,
        clicks=stored.clicks,
        full_watches=stored.full_watches,
        shown_rows=np.frombuffer(stored.shown_rows, np.int32),
        shown_at=np.frombuffer(stored.shown_at, np.float64),
        partly={row: (seconds, at) for row, seconds, at in stored.partly},
        told_at=stored.told_at,
    )
