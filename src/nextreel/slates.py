"""Slates that are remembered for a moment, and equal requests under way that are computed once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from hashlib import blake2b
from threading import Lock
from time import monotonic, perf_counter

import msgspec
from cachetools import TLRUCache

from nextreel.backends import ClosableKeyValue
from nextreel.feature_log import native
from nextreel.paging import Place, places_of, slate_of
from nextreel.pipeline import Recommender
from nextreel.telemetry import CacheMeter, count_join
from nextreel.types import UNKNOWN, Request, Slate, Trace, UserState

VIDEOS_KEPT = 100_000  # in all remembered slates of a process together, about 40 MB
AGAIN_AFTER = 5.0  # seconds for which a shared cache that failed is not asked
PREFIX = "slate/"

log = logging.getLogger(__name__)


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """A slate as it lies in the shared cache."""

    at: float  # time of the request that it was computed for
    level: str
    places: tuple[Place, ...]


_encoder = msgspec.msgpack.Encoder(enc_hook=native)
_decoder = msgspec.msgpack.Decoder(_Record)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, the state of its person, and who answers: the recommender of an edition.

    The edition says what no part of the request does: the release, how many videos there are, and the value formula.
    """

    request: Request
    user: UserState
    recommender: Recommender
    edition: str

    def key(self) -> Hashable:
        """Equal for requests that may get the same slate of one recommender."""
        user = self.user
        return replace(self.request, request_id="", at=0.0), user.known, user.version, user.offset

    def name(self) -> str:
        """The same for every process: a digest of the key and the edition, which tells nobody who asked."""
        return PREFIX + blake2b(_encoder.encode((self.edition, self.key())), digest_size=24).hexdigest()


class SharedSlates:
    """Slates in a key-value store that several processes use, each kept for some seconds.

    A store that fails is done without, and asked again a little later: no answer depends on it.
    """

    def __init__(self, store: ClosableKeyValue, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._meter = CacheMeter("shared_slates")
        self._down_until = 0.0

    def find(self, asked: Asked) -> Slate | None:
        """The slate for an equal request, whose time is that of the request it was computed for."""
        if monotonic() < self._down_until:
            return None
        try:
            found = self._store.get_many([asked.name()])[0]
            record = None if found is None else _decoder.decode(found[0])
        except Exception as error:  # whatever is wrong with a cache, the slate can be computed
            self._failed(error)
            return None
        slate = None if record is None else _slate(record, asked)
        self._meter.count("miss" if slate is None else "hit")
        return slate

    def keep(self, asked: Asked, slate: Slate) -> None:
        """Keeps the slate for equal requests of other processes."""
        if monotonic() < self._down_until:
            return
        record = _Record(slate.request.at, slate.level, tuple(places_of(slate)))
        try:
            self._store.put_many([(asked.name(), _encoder.encode(record), None)], self._seconds)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._meter.count("failed")
        self._down_until = monotonic() + AGAIN_AFTER
        log.warning("the shared cache of slates failed and is done without for %s seconds: %s", AGAIN_AFTER, error)

    def close(self) -> None:
        """Lets go of the store."""
        self._store.close()


def _slate(record: _Record, asked: Asked) -> Slate | None:
    """The slate that was kept, None where the catalogue has lost a video of it."""
    request = replace(asked.request, at=record.at)
    slate = slate_of(
        record.places, request, asked.recommender.catalogue, Trace(), asked.recommender.release, record.level
    )
    return None if (slate.rows == UNKNOWN).any() else slate


@dataclass(frozen=True, slots=True)
class _Kept:
    """A slate and the time, of `monotonic`, until which it may be shown."""

    slate: Slate
    until: float


class Slates:
    """Gives equal requests one slate: those under way at the same time, and with `seconds` those within them.

    Requests are equal when all is but their id and time, and the person's state is the same: an event of the person
    changes it. What others do moves popularity alone, which is then at most `seconds` old. Another recommender, as
    another release, value formula or catalogue has, forgets everything. Never shared is what says why (`explain`), what
    chance has chosen, and what a failing part has made worse.

    Without seconds nothing is remembered, and only requests of nobody in particular share an answer under way: to see
    that those of a person are equal takes one more look at their state. Safe between threads. With `shared`, processes
    remember together.
    """

    def __init__(self, seconds: float = 0.0, shared: SharedSlates | None = None) -> None:
        self._seconds = seconds
        self._kept: TLRUCache[Hashable, _Kept] = TLRUCache(
            VIDEOS_KEPT, lambda _, kept, __: kept.until, monotonic, lambda kept: 1 + len(kept.slate.video_ids)
        )
        self._shared = shared
        self._flights: dict[Hashable, Future[Slate | None]] = {}  # None: what was computed is for its request alone
        self._of: Recommender | None = None  # whose slates these are
        self._lock = Lock()
        self._meter = CacheMeter("slates")

    def shares(self, request: Request) -> bool:
        """Whether the request may get the slate of another one."""
        return not request.explain and (self._seconds > 0 or request.user_id is None)

    def get(self, asked: Asked, compute: Callable[[Request], Slate]) -> Slate:
        """The slate for the request: remembered, that of an equal request under way, or computed."""
        started, key = perf_counter(), asked.key()
        kept = self._find(key, asked) if self._seconds else None
        if kept is not None:
            return _again(kept, asked.request, "cache", started)
        mine: Future[Slate | None] = Future()
        with self._lock:
            self._belong_to(asked.recommender)
            flight = self._flights.setdefault(key, mine)
        if flight is mine:
            return self._fly(key, mine, asked, compute, started)
        landed = flight.result()
        if landed is None:
            return compute(asked.request)
        count_join()
        return _again(landed, asked.request, "join", started)

    def _find(self, key: Hashable, asked: Asked) -> Slate | None:
        """What is remembered, if all of it may still be shown."""
        with self._lock:
            self._belong_to(asked.recommender)
            kept = self._kept.get(key)
        found = None if kept is None or not _may_be_shown(kept.slate, asked) else kept.slate
        self._meter.count("miss" if found is None else "hit")
        return found

    def _belong_to(self, recommender: Recommender) -> None:
        if self._of is not recommender:
            self._of = recommender
            self._kept.clear()
            self._flights.clear()

    def _fly(
        self,
        key: Hashable,
        mine: Future[Slate | None],
        asked: Asked,
        compute: Callable[[Request], Slate],
        started: float,
    ) -> Slate:
        """The slate that another process remembers or that is computed now, for those who wait for it too."""
        landed: Slate | None = None
        try:
            landed = self._from_others(asked)
            if landed is not None:
                return _again(landed, asked.request, "cache", started)
            slate = compute(asked.request)
            landed = slate if _is_for_all(slate) else None
            if landed is not None and self._shared is not None:
                self._shared.keep(asked, landed)
            return slate
        finally:
            with self._lock:
                if self._flights.get(key) is mine:  # else another recommender answers by now
                    del self._flights[key]
                    if self._seconds and landed is not None:
                        # what another process has kept is already that old; clocks may differ by a little
                        age = min(max(0.0, asked.request.at - landed.request.at), self._seconds)
                        self._kept[key] = _Kept(landed, monotonic() + self._seconds - age)
                        self._meter.holds(len(self._kept))
            mine.set_result(landed)

    def _from_others(self, asked: Asked) -> Slate | None:
        found = None if self._shared is None else self._shared.find(asked)
        return None if found is None or not _may_be_shown(found, asked) else found

    def close(self) -> None:
        """Lets go of the shared cache."""
        if self._shared is not None:
            self._shared.close()


def _may_be_shown(slate: Slate, asked: Asked) -> bool:
    """Whether every filter keeps all of the slate now: time passes, and with it the right to show a video."""
    try:
        return bool(asked.recommender.keeps(asked.request, slate.rows).all())
    except Exception:  # how to answer without one of the filters is known where slates are computed
        log.exception("a filter failed on a remembered slate", extra={"request_id": asked.request.request_id})
        return False


def _is_for_all(slate: Slate) -> bool:
    """Whether every equal request might as well have got this slate."""
    return not slate.trace.failures and bool((slate.propensities == 1.0).all())


def _again(slate: Slate, request: Request, stage: str, started: float) -> Slate:
    """The slate as the answer of another request; its trace tells how long it took to come by."""
    return replace(slate, request=request, trace=Trace(milliseconds={stage: (perf_counter() - started) * 1000}))
