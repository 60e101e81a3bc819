"""A person's state as bytes: one version byte, then MessagePack of the profile and the history's columns."""

from __future__ import annotations

import msgspec
import numpy as np

from nextreel.history import History
from nextreel.types import NextreelError, Profile, UserId, UserState

_VERSION, _BEFORE = b"\x04", b"\x03"  # the last one lacks only what has a default below


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
    told_at: dict[int, float] = {}


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
            state.told_at,
        )
    )


def decode(user_id: UserId, body: bytes) -> UserState:
    """The state that `encode` wrote. Raises `NextreelError` for bytes of another version."""
    if body[:1] not in (_VERSION, _BEFORE):
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
        told_at=stored.told_at,
    )
