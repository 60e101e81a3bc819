"""Forgetting a person: out of every place that a home has, with a receipt that does not say who it was.

First the log says so, by a record that holds a salted digest: from there on whoever follows the log knows nothing of
the person, and what a process that was late writes of them again is dropped when it comes to the record. Then the
places are cleaned, the log's own events last, since they tell which sessions were the person's. A run that was killed
can be repeated, and so can one that was not: what the person did since the last one is forgotten then.
"""

from __future__ import annotations

import json
import mmap
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nextreel import feature_log, paging
from nextreel.feature_log import SUFFIX, Served
from nextreel.folders import alone, write_whole
from nextreel.store import snapshots, state_folder
from nextreel.store.codec import decode, key_of
from nextreel.store.erasures import digest_of, erasure
from nextreel.store.live import drop_states
from nextreel.types import Event, EventLog, KeyValue, Kind, NextreelError, Request, UserId, is_session, session_person

LIVE, SNAPSHOTS, NAMES = "live states", "snapshots", "lists of people"
CURSORS, FEATURES, EVENTS, BYTES = "cursors", "feature log", "event log", "bytes of files"
PLACES = (LIVE, SNAPSHOTS, NAMES, CURSORS, FEATURES, EVENTS)
_FOLDER, _SALT = "forgotten", "salt"
_BATCH = 1000
SETTLE = 0.5  # seconds in which servers write what they answered before they heard: their writers look every 0.05


@dataclass(frozen=True, slots=True)
class Places:
    """Where a home keeps what people did; log and store belong to whoever opened them."""

    home: Path
    log: EventLog
    shared: KeyValue
    features: Path | None = None  # folder of the feature log

    def states(self) -> dict[str, Path]:
        """Release -> folder of its snapshot, for all of which there is one."""
        parent = state_folder(self.home, "")
        names = sorted(path.name for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []
        return {name: parent / name for name in names if (parent / name / snapshots.ABOUT).is_file()}

    def answers(self) -> list[feature_log.LogFile]:
        """The files of the feature log, without any where nothing was kept."""
        found = [] if self.features is None else sorted(self.features.glob(f"*{SUFFIX}"))
        return [feature_log.scan(path) for path in found]

    def events(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """The event log above the offset, oldest first."""
        while batch := self.log.read(after, _BATCH):
            yield from batch
            after = batch[-1][0]


class Receipt(msgspec.Struct, frozen=True):
    """That somebody was forgotten; without their id it cannot be told who."""

    receipt_id: str
    erased_at: str  # UTC
    salt: str
    digest: str
    at: float  # of the erasure, by the clock of the events
    offset: int  # of the erasure in the event log
    counts: Mapping[str, int]  # place -> records of the person that were there
    releases: tuple[str, ...]  # whose states were searched


def forget(places: Places, user_id: UserId, at: float) -> Receipt:
    """Removes everything that is known of the person, and of the sessions that were merged into them, up to now.

    What they do from now on is a newcomer's. Sums over people, such as how often a video was watched, stay.
    """
    if is_session(user_id):
        raise NextreelError(
            f"Expected the id of an account, got the session {user_id!r}. Hint: merge it into one first."
        )
    folder = places.home / _FOLDER
    with alone(folder, wait=True):
        salt = _salt(folder)
        states = places.states()
        at = max([at, *(snapshots.newest_at(one) + 1e-3 for one in states.values())])  # or they would pass over it
        (offset,) = places.log.append([erasure(user_id, salt, at)])
        deeds = _Deeds(places, user_id)
        erasures = places.log.append([erasure(session, salt, at) for session in deeds.sessions])
        marks = {user_id: offset, **dict(zip(deeds.sessions, erasures, strict=True))}
        counts = dict.fromkeys(PLACES, 0)
        counts[LIVE] = drop_states(places.shared, {key: (one, marks[one]) for key, one in _states(places, marks)})
        for snapshot in states.values():
            held, named = snapshots.erase_people(snapshot, marks)
            counts[SNAPSHOTS] += held
            counts[NAMES] += named
        cursors = [(key, None) for key, request in _cursors(places) if request.user_id in marks]
        counts[CURSORS] = places.shared.erase(cursors)  # also without any: the file is rewritten without the states
        if places.features is not None:
            time.sleep(SETTLE)
        counts[FEATURES] = sum(feature_log.erase(file, _served_to(marks)) for file in places.answers())
        deeds.read()
        counts[EVENTS] = places.log.erase(deeds.before(marks))
        receipt = Receipt(
            receipt_id=uuid.uuid4().hex,
            erased_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            salt=salt,
            digest=digest_of(user_id, salt),
            at=at,
            offset=offset,
            counts=counts,
            releases=tuple(states),
        )
        write_whole(folder / f"{receipt.receipt_id}.json", json.dumps(msgspec.to_builtins(receipt), indent=2))
    return receipt


def receipt_of(places: Places, user_id: UserId) -> Receipt | None:
    """The person's newest receipt, None where they were never forgotten."""
    receipts = [msgspec.json.decode(path.read_bytes(), type=Receipt) for path in (places.home / _FOLDER).glob("*.json")]
    theirs = [one for one in receipts if one.digest == digest_of(user_id, one.salt)]
    return max(theirs, key=lambda one: one.offset, default=None)


def _salt(folder: Path) -> str:
    """The salt of the home, made when it is first needed: digests of one person are the same for good."""
    file = folder / _SALT
    if not file.is_file():
        write_whole(file, secrets.token_hex(32))
    return file.read_text(encoding="utf-8")


class _Deeds:
    """What a person did, as the event log tells it: by themselves, and in sessions before another account got them."""

    def __init__(self, places: Places, user_id: UserId) -> None:
        self._places = places
        self._user_id = user_id
        self._after = 0
        self._owned: list[tuple[int, int]] = []  # offset, and the one from which on it is the person's
        self._waiting: dict[UserId, list[int]] = {}  # session -> what it did since it was merged last
        self.sessions: list[UserId] = []  # that were merged into the person
        self.read()

    def read(self) -> None:
        """Reads on to the end of the log."""
        for offset, event in self._places.events(self._after):
            self._after = offset
            if event.kind == Kind.MERGE and event.session_id is not None:
                session = session_person(event.session_id)
                of_session = self._waiting.pop(session, [])
                if event.user_id == self._user_id:
                    self._owned += [(one, offset) for one in [*of_session, offset]]
                    if session not in self.sessions:
                        self.sessions.append(session)
            elif event.user_id == self._user_id:
                self._owned.append((offset, offset))
            elif is_session(event.user_id):
                self._waiting.setdefault(event.user_id, []).append(offset)

    def before(self, marks: Mapping[UserId, int]) -> list[int]:
        """Offsets of all of it that is from before the person, or their session, was forgotten."""
        mine = [offset for offset, since in self._owned if since < marks[self._user_id]]
        return mine + [o for session, mark in marks.items() for o in self._waiting.get(session, ()) if o < mark]


def _states(places: Places, user_ids: Iterable[UserId]) -> list[tuple[str, UserId]]:
    """Key and person of each live state of theirs, whatever the release; also of one that is no longer there."""
    keys = {key_of(user_id): user_id for user_id in user_ids}
    found = (key.partition("/") for key in places.shared.keys(""))
    return [(f"{release}/{rest}", keys[rest]) for release, _, rest in found if rest in keys]


def _cursors(places: Places) -> Iterator[tuple[str, Request]]:
    """Key and request of every open list."""
    keys = places.shared.keys(paging.PREFIX)
    for key, found in zip(keys, places.shared.get_many(keys), strict=True):
        if found is not None:  # it may have expired meanwhile
            yield key, paging.asked_for(key, found[0])


def _served_to(marks: Mapping[UserId, int]) -> Callable[[Served], bool]:
    """Whether an answer was one of these people's, from before they were forgotten."""

    def theirs(served: Served) -> bool:
        mark = marks.get(served.request.user_id, 0) if served.request.user_id is not None else 0
        return max(served.counted, served.user_offset) < mark

    return theirs


@dataclass(frozen=True, slots=True)
class Left:
    """What one place holds of a person."""

    place: str
    found: int  # records from before they were forgotten
    since: int = 0  # records of a newcomer with the same id


def left(places: Places, user_id: UserId, receipt: Receipt) -> list[Left]:
    """What each place still holds of a person who was forgotten; all zeros in `found` when nothing is left.

    Bytes are searched for ids that are texts, and only while nobody has come back under the id.
    """
    before = receipt.offset
    states, held, named, cursors, answers, events = ([0, 0] for _ in range(6))  # before and since
    for body, _ in filter(None, places.shared.get_many([key for key, _ in _states(places, [user_id])])):
        states[decode(user_id, body).offset >= before] += 1
    for snapshot in places.states().values():
        later = snapshots.newest_at(snapshot) > receipt.at  # trained on what came after
        for count, there in zip((held, named), snapshots.holds(snapshot, user_id), strict=True):
            count[later] += there
    for _, request in _cursors(places):
        if request.user_id == user_id:
            cursors[request.at > receipt.at] += 1
    theirs = _served_to({user_id: before})
    for file in places.answers():
        for _, position in file.answers:
            served = file.read(position)
            if served.request.user_id == user_id:
                answers[not theirs(served)] += 1
    for offset, event in places.events():
        if event.user_id == user_id:
            events[offset > before] += 1
    back = max(states[1], held[1], cursors[1], answers[1], events[1])
    return [
        Left(LIVE, *states),
        Left(SNAPSHOTS, *held),
        Left(NAMES, *named),
        Left(CURSORS, *cursors),
        Left(FEATURES, *answers),
        Left(EVENTS, *events),
        *([] if back or not isinstance(user_id, str) else [Left(BYTES, _in_bytes(places, user_id))]),
    ]


def _in_bytes(places: Places, user_id: str) -> int:
    """How many files of the home, but those of releases, and of the feature log hold the id as a word."""
    word, length = user_id.encode(), len(user_id.encode())
    head = bytes([0xA0 | length]) if length < 32 else length.to_bytes(1 if length < 256 else 2, "big")  # MessagePack
    record = re.compile(rb"%b(?=%b)" % (re.escape(head), re.escape(word)))
    alone = re.compile(rb"(?<![\w.@:-])%b(?![\w@:-]|\.\w)" % re.escape(word))

    def held_by(content: mmap.mmap) -> bool:
        at = content.find(word)  # a hundred times as fast as a search for the whole pattern
        while at >= 0:
            if alone.match(content, at) or record.match(content, at - len(head)):
                return True
            at = content.find(word, at + 1)
        return False

    files = {path for path in places.home.rglob("*") if path.relative_to(places.home).parts[0] != "releases"}
    files |= set() if places.features is None else set(places.features.iterdir())
    count = 0
    for path in files:
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
                count += held_by(content)
    return count
