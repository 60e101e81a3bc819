"""The store that serves: states in a key-value backend, counters in memory, both moved on by the event log.

State is the snapshot that training left plus the log's events after the snapshot's last one. Each state remembers
the log offset of its newest event, so any number of processes may follow the same log: whoever comes first applies
an event to the state, the others see that it is there.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextreel.backends import ClosableEventLog, ClosableKeyValue, open_key_value
from nextreel.relevance import Relevance
from nextreel.store.codec import decode, encode, key_of
from nextreel.store.counters import Counters
from nextreel.store.memory import MemoryStore, advance, relevance_of
from nextreel.types import (
    UNKNOWN,
    Catalogue,
    Conflict,
    Event,
    Events,
    FloatArray,
    Kind,
    NextreelError,
    UserId,
    UserState,
    VideoId,
)

_ABOUT_CHANNEL = (Kind.SUBSCRIBE, Kind.BLOCK)
_CACHED = 4096  # decoded states kept in memory
_BATCH = 1000  # log events read at once
_COUNTERS, _USERS, _ABOUT, _PEOPLE = "counters.npz", "users.db", "state.json", "people.json"


def write_snapshot(store: MemoryStore, folder: Path) -> None:
    """Leaves the store's states and counters in the folder, for `LiveStore` to go on from."""
    folder.mkdir(parents=True, exist_ok=False)
    store.counters.save(folder / _COUNTERS)
    backend = open_key_value(f"sqlite://{folder / _USERS}")
    try:
        backend.put_many([(key_of(user_id), encode(state), 0) for user_id, state in store.states.items()])
    finally:
        backend.close()
    (folder / _PEOPLE).write_text(json.dumps(list(store.states)), encoding="utf-8")
    (folder / _ABOUT).write_text(json.dumps({"newest_at": store.counters.newest_at}), encoding="utf-8")


class LiveStore:
    """Read by requests and moved on by `follow`; safe between threads and between processes."""

    def __init__(self, folder: Path, catalogue: Catalogue, rules: Relevance, log: ClosableEventLog) -> None:
        if not (folder / _ABOUT).is_file():
            raise NextreelError(f"Expected a state snapshot in {folder}, found none. Hint: nextreel train makes one.")
        self.catalogue = catalogue
        self.rules = rules
        self._channel_of = {channel_id: code for code, channel_id in enumerate(catalogue.channel_ids)}
        self.counters = Counters.load(folder / _COUNTERS)
        self.newest_at: float = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))["newest_at"]
        self._since = self.newest_at  # log events up to here are in the snapshot
        self._people: dict[UserId, None] = dict.fromkeys(json.loads((folder / _PEOPLE).read_text(encoding="utf-8")))
        self._states: ClosableKeyValue = open_key_value(f"sqlite://{folder / _USERS}")
        self._log = log
        self._offset = 0
        self._following = threading.Lock()
        self._cache: OrderedDict[UserId, tuple[int, UserState]] = OrderedDict()
        self._cache_lock = threading.Lock()

    def users(self) -> list[UserId]:
        """Everybody ever heard of."""
        return list(self._people)

    def knows(self, user_id: UserId) -> bool:
        """Whether anything was ever heard of this person."""
        return self.user(user_id).known

    def user(self, user_id: UserId | None) -> UserState:
        """The person's state now; an empty one for a person never heard of. Not to be changed by the caller."""
        return UserState(None) if user_id is None else self._read(user_id)[1]

    def _read(self, user_id: UserId) -> tuple[int, UserState]:
        """Backend version (0 without one) and state."""
        found = self._states.get_many([key_of(user_id)])[0]
        if found is None:
            return 0, UserState(user_id)
        body, version = found
        with self._cache_lock:
            cached = self._cache.get(user_id)
            if cached is not None and cached[0] == version:
                self._cache.move_to_end(user_id)
                return cached
        state = decode(user_id, body)
        with self._cache_lock:
            self._cache[user_id] = (version, state)
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return version, state

    def follow(self) -> int:
        """How many events of the log were new to this process; all of them are applied when it returns."""
        count = 0
        with self._following:
            while batch := self._log.read(self._offset, _BATCH):
                fresh = [(offset, event) for offset, event in batch if event.at > self._since]
                if fresh:
                    self._apply(fresh)
                self._offset = batch[-1][0]
                count += len(fresh)
        return count

    def _apply(self, batch: Sequence[tuple[int, Event]]) -> None:
        events = _columns([event for _, event in batch], self.catalogue, self._channel_of)
        graded = relevance_of(events, self.catalogue, self.rules)
        offsets = np.array([offset for offset, _ in batch])
        for code, user_id in enumerate(events.user_ids.tolist()):
            self._people.setdefault(user_id)
            which = np.flatnonzero(events.user == code)
            self._advance(user_id, events.take(which), graded[which], offsets[which])
        # Last: counters cannot tell whether they know an event, so they count once nothing can fail any more.
        self.counters.add(events, graded)
        self.newest_at = max(self.newest_at, float(events.at.max()))

    def _advance(self, user_id: UserId, events: Events, graded: FloatArray, offsets: NDArray[np.int64]) -> None:
        """Writes the person's next state; starts again when another process was quicker."""
        while True:
            version, stale = self._read(user_id)
            new = offsets > stale.offset
            if not new.any():
                return
            state = decode(user_id, encode(stale))  # a copy: readers keep the state that they were given
            advance(state, events.take(new), graded[new])
            state.offset = int(offsets[-1])
            try:
                self._states.put_many([(key_of(user_id), encode(state), version)])
            except Conflict:
                continue
            return

    def close(self) -> None:
        """Lets go of the backend; the log belongs to whoever opened it."""
        self._states.close()


def _columns(events: Sequence[Event], catalogue: Catalogue, channel_of: Mapping[VideoId, int]) -> Events:
    """Live events as columns, in the order in which they came; what no state or counter reads is left out."""
    codes: dict[UserId, int] = {}
    users = [codes.setdefault(event.user_id, len(codes)) for event in events]
    ids = np.empty(len(codes), object)
    ids[:] = list(codes)
    rows = [UNKNOWN if event.video_id is None else catalogue.row_of.get(event.video_id, UNKNOWN) for event in events]
    return Events(
        user_ids=ids,
        user=np.array(users, np.int32),
        video=np.array(rows, np.int32),
        at=np.array([event.at for event in events], np.float64),
        kind=np.array([event.kind for event in events], np.int8),
        value=np.array([np.nan if event.value is None else event.value for event in events], np.float32),
        watch_seconds=np.array(
            [np.nan if event.watch_seconds is None else event.watch_seconds for event in events], np.float32
        ),
        channel=np.array(
            [
                channel_of.get(event.channel_id, UNKNOWN)
                if event.kind in _ABOUT_CHANNEL and event.channel_id is not None
                else UNKNOWN
                for event in events
            ],
            np.int32,
        ),
    )
