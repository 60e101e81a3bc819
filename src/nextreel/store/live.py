"""The store that serves: states in a key-value backend, counters in memory, both moved on by the event log.

State is the snapshot that training left plus the log's events after the snapshot's last one. The snapshot never
changes: a state that an event has moved on lies in an overlay, in the home's shared store, which is asked first. Each
state remembers the log offset of its newest event, so any number of processes may follow the same log: whoever comes
first applies an event to the state, the others see that it is there. Any past moment can be had again, from the
snapshot and the log up to there.

Two kinds of records in the log are about people: after a MERGE the past of a session is its account's, and after an
ERASE nothing is known of a person any more, not even what a process that was late wrote of them again.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextreel.backends import ClosableKeyValue, TooLarge, open_key_value
from nextreel.relevance import Relevance
from nextreel.store.codec import decode, encode, key_of
from nextreel.store.counters import Counters
from nextreel.store.erasures import Erasures
from nextreel.store.memory import advance, relevance_of
from nextreel.store.merging import emptied, merged
from nextreel.store.snapshots import ABOUT, COUNTERS, USERS, newest_at, people_of
from nextreel.telemetry import CacheMeter
from nextreel.types import (
    RECORDS,
    UNKNOWN,
    Catalogue,
    Conflict,
    Event,
    EventLog,
    Events,
    FloatArray,
    KeyValue,
    Kind,
    NextreelError,
    TimeArray,
    UserId,
    UserState,
    VideoId,
    is_session,
    session_person,
)

log = logging.getLogger(__name__)

_ABOUT_CHANNEL = (Kind.SUBSCRIBE, Kind.BLOCK)
_CACHED = 4096  # decoded states kept in memory
_BATCH = 1000  # log events read at once


class LiveStore:
    """Read by requests and moved on by `follow`; safe between threads and between processes.

    `overlay` keeps the live states, each under `prefix` and the person's key, and belongs to whoever opened it. Where
    it is shared, every release needs a prefix of its own: states hold the rows of one catalogue. A replay gives one in
    memory: what it follows is its own, and nothing is written.
    """

    def __init__(
        self, folder: Path, catalogue: Catalogue, rules: Relevance, log: EventLog, overlay: KeyValue, prefix: str = ""
    ) -> None:
        if not (folder / ABOUT).is_file():
            raise NextreelError(f"Expected a state snapshot in {folder}, found none. Hint: nextreel train makes one.")
        self.catalogue = catalogue
        self.rules = rules
        self._channel_of = {channel_id: code for code, channel_id in enumerate(catalogue.channel_ids)}
        self.counters = Counters.load(folder / COUNTERS)
        self.newest_at = newest_at(folder)
        self._since = self.newest_at  # log events up to here are in the snapshot
        self._people: dict[UserId, None] = dict.fromkeys(people_of(folder))
        self._snapshot: ClosableKeyValue = open_key_value(f"sqlite://{folder / USERS}")
        self._live, self._prefix = overlay, prefix
        self._log = log
        self._offset = 0
        self.counted: int | None = 0  # log offset up to which the counters count; None while they are changing
        self.applied: Callable[[TimeArray], None] | None = None  # told when each event came that is applied now
        self._following = threading.Lock()
        self._cache: OrderedDict[UserId, tuple[int, UserState]] = OrderedDict()
        self._cache_lock = threading.Lock()
        self.refresh: Callable[[], None] | None = None  # catches up with what the catalogue's changes are
        self._erasures = Erasures()
        self._meter = CacheMeter("states")

    def grow(self, catalogue: Catalogue, counters: Counters) -> None:
        """Goes on over a catalogue with more rows and over counters of them; called by `refresh` alone."""
        self._channel_of = {channel_id: code for code, channel_id in enumerate(catalogue.channel_ids)}
        self.catalogue, self.counters = catalogue, counters

    def users(self) -> list[UserId]:
        """Everybody ever heard of, and not forgotten or merged into another since."""
        return list(self._people)

    def knows(self, user_id: UserId) -> bool:
        """Whether anything was ever heard of this person."""
        return self.user(user_id).known

    def user(self, user_id: UserId | None) -> UserState:
        """The person's state now; an empty one for a person never heard of. Not to be changed by the caller."""
        return UserState(None) if user_id is None else self._read(user_id)[1]

    def user_at(self, user_id: UserId | None, offset: int) -> UserState:
        """The person's state after the log's events up to the offset, for one not before what is followed."""
        state = self.user(user_id)
        if user_id is None:
            return state
        after = self._offset
        erasures = Erasures()
        while after < offset and (batch := self._read_log(after, offset)):
            for run in _runs([one for one in batch if one[1].at > self._since]):
                state = self._moved_by(run, user_id, state, erasures)
            after = batch[-1][0]
        return state

    def _moved_by(
        self, run: Sequence[tuple[int, Event]], user_id: UserId, state: UserState, erasures: Erasures
    ) -> UserState:
        """The person's state after a run of the log; the states of others are looked up as they were then."""
        last, record = run[-1]
        if record.kind == Kind.ERASE:
            erasures.add(record, last)
            return UserState(user_id, offset=last) if erasures.of(user_id) == last > state.offset else state
        if record.kind == Kind.MERGE:
            session = _session_of(record)
            if last <= state.offset or user_id not in (session, record.user_id):
                return state
            if user_id == session:
                return emptied(state, last) if state.version else state
            past = self.user_at(session, last - 1)
            return merged(state, past, last) if past.version and past.offset < last else state
        mine = [one for one in run if one[1].user_id == user_id]
        return _moved_on(state, *self._judged(mine)) if mine else state

    def _read(self, user_id: UserId) -> tuple[int, UserState]:
        """Version in the overlay (0 for one that is in the snapshot alone, or nowhere) and state."""
        key = key_of(user_id)
        found = self._live.get_many([self._prefix + key])[0]
        version = 0 if found is None else found[1]
        with self._cache_lock:
            cached = self._cache.get(user_id)
            fresh = cached is not None and cached[0] == version
            if fresh:
                self._cache.move_to_end(user_id)
        self._meter.count("hit" if fresh else "miss")
        if cached is not None and fresh:
            return cached
        erased = self._erasures.of(user_id)
        if found is None:
            found = None if erased else self._snapshot.get_many([key])[0]
            if found is None:
                return 0, UserState(user_id, offset=erased)
        state = decode(user_id, found[0])
        if state.offset < erased:  # written by a process that had not heard of the erasure
            return version, UserState(user_id, offset=erased)
        state.known = state.version > 0 or not is_session(user_id)  # a session that was merged is nobody
        with self._cache_lock:
            self._cache[user_id] = (version, state)
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
            self._meter.holds(len(self._cache))
        return version, state

    def follow(self, until: int | None = None) -> int:
        """How many events of the log, up to the offset if one is given, were new to this process; all are applied."""
        count = 0
        with self._following:
            while True:
                batch = self._read_log(self._offset, until)
                if self.refresh is not None:  # after the log was read: an event comes after its video
                    self.refresh()
                if not batch:
                    break
                for run in _runs(batch):
                    fresh = [(offset, event) for offset, event in run if event.at > self._since]
                    if fresh:
                        self._apply(fresh)
                    self._offset = self.counted = run[-1][0]
                    count += len(fresh)
            if until is not None and until > self._offset and self._log.read(until, 1):
                self._offset = self.counted = until  # what was there has been erased
        return count

    def _read_log(self, after: int, until: int | None) -> list[tuple[int, Event]]:
        """The next events after the one offset and not after the other; none when there are no more."""
        batch = self._log.read(after, _BATCH)
        return batch if until is None else [one for one in batch if one[0] <= until]

    def _judged(self, batch: Sequence[tuple[int, Event]]) -> tuple[Events, FloatArray, NDArray[np.int64]]:
        """Logged events as columns, their relevance and their offsets."""
        events = _columns([event for _, event in batch], self.catalogue, self._channel_of)
        return events, relevance_of(events, self.catalogue, self.rules), np.array([offset for offset, _ in batch])

    def _apply(self, batch: Sequence[tuple[int, Event]]) -> None:
        """Applies a run: deeds, or one record about people."""
        offset, record = batch[0]
        if record.kind == Kind.MERGE:
            self._merge(record.user_id, _session_of(record), offset)
            return
        if record.kind == Kind.ERASE:
            self._erase(record, offset)
            return
        events, graded, offsets = self._judged(batch)
        for code, user_id in enumerate(events.user_ids.tolist()):
            self._people.setdefault(user_id)
            which = np.flatnonzero(events.user == code)
            self._advance(user_id, events.take(which), graded[which], offsets[which])
        # Last: counters cannot tell whether they know an event, so they count once nothing can fail any more.
        self.counted = None
        self.counters.add(events, graded)
        self.newest_at = max(self.newest_at, float(events.at.max()))
        if self.applied is not None:
            self.applied(events.at)

    def _advance(self, user_id: UserId, events: Events, graded: FloatArray, offsets: NDArray[np.int64]) -> None:
        """Writes the person's next state; starts again when another process was quicker.

        A state that is too large for the backend stays as it was: one person must not keep all others from moving on.
        """
        while True:
            version, stale = self._read(user_id)
            state = _moved_on(stale, events, graded, offsets)
            if state is stale:
                return
            try:
                self._live.put_many([(self._prefix + key_of(user_id), encode(state), version)])
            except Conflict:
                continue
            except TooLarge:
                log.exception("events of user %r are counted, but do not enter their state", user_id)
            return

    def _merge(self, account: UserId, session: UserId, offset: int) -> None:
        """Writes both next states at once, unless another process has, or the session had done nothing by then.

        An account's state that would be too large for the backend stays as it was; the session is over all the same.
        """
        while True:
            keys = [self._prefix + key_of(account), self._prefix + key_of(session)]
            (version, stale), (session_version, past) = self._read(account), self._read(session)
            if past.version == 0 or max(stale.offset, past.offset) >= offset:
                break
            over = (keys[1], encode(emptied(past, offset)), session_version)
            try:
                try:
                    self._live.put_many([(keys[0], encode(merged(stale, past, offset)), version), over])
                except TooLarge:
                    log.exception("a session of user %r is over, but does not enter their state", account)
                    self._live.put_many([over])
            except Conflict:
                continue
            break
        if session in self._people:
            del self._people[session]
            self._people.setdefault(account)

    def _erase(self, record: Event, offset: int) -> None:
        """Lets go of the person whose digest the record holds; also of what was written of them by late processes."""
        self._erasures.add(record, offset)
        with self._cache_lock:
            known = {**self._people, **dict.fromkeys(self._cache)}
        theirs = [one for one in known if self._erasures.of(one) == offset]
        for user_id in theirs:
            self._people.pop(user_id, None)
            with self._cache_lock:
                self._cache.pop(user_id, None)
        drop_states(self._live, {self._prefix + key_of(user_id): (user_id, offset) for user_id in theirs})

    def close(self) -> None:
        """Lets go of the snapshot; log and overlay belong to whoever opened them."""
        self._snapshot.close()


def drop_states(states: KeyValue, of: Mapping[str, tuple[UserId, int]]) -> int:
    """How many of the keys held a state of their person from before their log offset; none does any more."""
    dropped = 0
    while old := _old_states(states, of):
        dropped += states.erase(old)  # what somebody has written meanwhile is looked at again
    return dropped


def _old_states(states: KeyValue, of: Mapping[str, tuple[UserId, int]]) -> list[tuple[str, int | None]]:
    found = zip(of.items(), states.get_many(list(of)), strict=True)
    return [
        (key, there[1])
        for (key, (user_id, before)), there in found
        if there is not None and decode(user_id, there[0]).offset < before
    ]


def _runs(batch: Sequence[tuple[int, Event]]) -> Iterator[list[tuple[int, Event]]]:
    """The batch in parts: each record about people by itself, and the deeds between them together."""
    for is_record, part in groupby(batch, key=lambda one: one[1].kind in RECORDS):
        if is_record:
            yield from ([one] for one in part)
        else:
            yield list(part)


def _session_of(record: Event) -> UserId:
    if record.session_id is None:
        raise NextreelError(f"Expected a merge that names a session, got one of {record.user_id!r} without.")
    return session_person(record.session_id)


def _moved_on(state: UserState, events: Events, graded: FloatArray, offsets: NDArray[np.int64]) -> UserState:
    """A copy of the state with those of the person's own events that it does not know; itself without any."""
    new = offsets > state.offset
    if state.user_id is None or not new.any():
        return state
    moved = decode(state.user_id, encode(state))  # readers keep the state that they were given
    advance(moved, events.take(new), graded[new])
    moved.offset = int(offsets[-1])
    return moved


def _columns(events: Sequence[Event], catalogue: Catalogue, channel_of: Mapping[VideoId, int]) -> Events:
    """Live events as columns, in the order in which they came; what no state or counter reads is left out."""
    codes: dict[UserId, int] = {}
    users = [codes.setdefault(event.user_id, len(codes)) for event in events]
    ids = np.empty(len(codes), object)
    ids[:] = list(codes)
    words: dict[str, int] = {}
    surfaces = [UNKNOWN if one.surface is None else words.setdefault(one.surface, len(words)) for one in events]
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
        surface=np.array(surfaces, np.int32),
        surfaces=tuple(words),
    )
