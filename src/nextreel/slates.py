"""Slates that are remembered for a moment, and equal requests under way that are computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock
from time import perf_counter

from cachetools import TTLCache

from nextreel.pipeline import Recommender
from nextreel.telemetry import CacheMeter, count_join
from nextreel.types import Request, Slate, Trace, UserState

VIDEOS_KEPT = 100_000  # in all remembered slates of a process together, about 40 MB


class Slates:
    """Gives equal requests one slate: those under way at the same time, and with `seconds` those within them.

    Requests are equal when all is but their id and time, and the person's state is the same: an event of the person
    changes it. What others do moves popularity alone, which is then at most `seconds` old. Another recommender, as
    another release, value formula or catalogue has, forgets everything. Never shared is what says why (`explain`), what
    chance has chosen, and what a failing part has made worse.

    Without seconds nothing is remembered, and only requests of nobody in particular share an answer under way: to see
    that those of a person are equal takes one more look at their state. Safe between threads.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._remembers = seconds > 0
        self._kept: TTLCache[Hashable, Slate] = TTLCache(
            VIDEOS_KEPT, seconds, getsizeof=lambda slate: 1 + len(slate.video_ids)
        )
        self._flights: dict[Hashable, Future[Slate | None]] = {}  # None: what was computed is for its request alone
        self._of: Recommender | None = None  # whose slates these are
        self._lock = Lock()
        self._meter = CacheMeter("slates")

    def shares(self, request: Request) -> bool:
        """Whether the request may get the slate of another one."""
        return not request.explain and (self._remembers or request.user_id is None)

    def get(
        self, request: Request, user: UserState, recommender: Recommender, compute: Callable[[Request], Slate]
    ) -> Slate:
        """The slate for the request of the user, whose state it is: remembered, of a request under way, or computed."""
        started = perf_counter()
        key = (replace(request, request_id="", at=0.0), user.known, user.version, user.offset)
        kept = self._find(key, request, recommender) if self._remembers else None
        if kept is not None:
            return _again(kept, request, "cache", started)
        mine: Future[Slate | None] = Future()
        with self._lock:
            self._belong_to(recommender)
            flight = self._flights.setdefault(key, mine)
        if flight is mine:
            return self._fly(key, mine, request, compute)
        landed = flight.result()
        if landed is None:
            return compute(request)
        count_join()
        return _again(landed, request, "join", started)

    def _find(self, key: Hashable, request: Request, recommender: Recommender) -> Slate | None:
        """What is remembered, if all of it may still be shown: time passes, and with it the right to show a video."""
        with self._lock:
            self._belong_to(recommender)
            kept = self._kept.get(key)
        if kept is not None and not recommender.keeps(request, kept.rows).all():
            kept = None
        self._meter.count(kept is not None)
        return kept

    def _belong_to(self, recommender: Recommender) -> None:
        if self._of is not recommender:
            self._of = recommender
            self._kept.clear()
            self._flights.clear()

    def _fly(
        self, key: Hashable, mine: Future[Slate | None], request: Request, compute: Callable[[Request], Slate]
    ) -> Slate:
        """The slate computed now, for those who wait for it too."""
        shared: Slate | None = None
        try:
            slate = compute(request)
            shared = slate if _is_for_all(slate) else None
        finally:
            with self._lock:
                if self._flights.get(key) is mine:  # else another recommender answers by now
                    del self._flights[key]
                    if self._remembers and shared is not None:
                        self._kept[key] = shared
                        self._meter.holds(len(self._kept))
            mine.set_result(shared)
        return slate


def _is_for_all(slate: Slate) -> bool:
    """Whether every equal request might as well have got this slate."""
    return not slate.trace.failures and bool((slate.propensities == 1.0).all())


def _again(slate: Slate, request: Request, stage: str, started: float) -> Slate:
    """The slate as the answer of another request; its trace tells how long it took to come by."""
    return replace(slate, request=request, trace=Trace(milliseconds={stage: (perf_counter() - started) * 1000}))
