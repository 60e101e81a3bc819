"""Who answers now: routes ask for the system of each request, so that another release can take its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from nextreel.telemetry import get_logger, observe_open, release_serves
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from nextreel.system import System

LOOK_EVERY = 1.0  # seconds between looks at what is in production
AGAIN_AFTER = 60.0  # seconds until a release that could not be opened is tried again

log = get_logger(__name__)

Opener: TypeAlias = "Callable[[str], System]"  # the system of a release, warm enough to answer at once


@dataclass(eq=False, slots=True)
class _Place:
    """A system and how many requests it answers now."""

    system: System
    requests: int = 0


_held: ContextVar[tuple[Serving, System] | None] = ContextVar("held", default=None)


class Serving:
    """The system that answers now; safe between threads.

    With an `opener` it follows the registry: once another release is in production it is opened beside the one that
    serves, takes its place whole, and the old one is closed when its last request is done. One that cannot be opened
    changes nothing but `problem`.
    """

    def __init__(self, system: System, opener: Opener | None = None) -> None:
        self.problem: str | None = None  # why the release in production does not serve
        self._now = _Place(system)
        self._opener = opener
        self._counting = threading.Lock()
        self._looking = threading.Lock()
        self._leaving: list[_Place] = []
        self._failed: tuple[str | None, float] = (None, 0.0)  # the release that could not be opened, and when
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None
        release_serves(system.release)

    def __call__(self) -> System:
        """The system of the request that asks, the same for as long as the request takes."""
        held = _held.get()
        return held[1] if held is not None and held[0] is self else self._now.system

    @property
    def newest(self) -> System:
        """The system that the next request will get."""
        return self._now.system

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the system of now for what is done inside: it is the answer of every call, and stays open."""
        with self._counting:
            place = self._now
            place.requests += 1
        token = _held.set((self, place.system))
        try:
            yield
        finally:
            _held.reset(token)
            with self._counting:
                place.requests -= 1

    def start(self) -> None:
        """Looks at the registry and the log every second from now on, in a thread."""
        if self._opener is not None and self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="release-watcher", daemon=True)
            self._watcher.start()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            try:
                self.look()
                with self.held():
                    self().follow()  # what others wrote while nobody asked here
            except Exception:  # a watcher that ended would follow nothing any more, and nobody would know
                log.exception("looking at the release in production failed")

    def look(self, again: bool = False) -> None:
        """Puts the release in production in the place of the one that serves, where it is another.

        `again` also tries one that could not be opened a moment ago.
        """
        if self._opener is None:
            return
        with self._looking:
            self._close_unused()
            wanted = self._wanted()
            if wanted is None or (not again and self._failed[0] == wanted and monotonic() < self._failed[1]):
                return
            self._swap(wanted, self._opener)

    def _wanted(self) -> str | None:
        """The release that should take the place of the one that serves, None where none should."""
        system = self._now.system
        try:
            production = system.registry.production()
        except NextreelError as error:
            self._cannot("the registry cannot be read", str(error), None)
            return None
        if production in (None, system.release):
            self.problem = None
            return None
        return production

    def _swap(self, release: str, opener: Opener) -> None:
        started = perf_counter()
        try:
            system = opener(release)
        except Exception as error:  # whatever is wrong with it, the one that serves goes on
            observe_open("failed", perf_counter() - started)
            self._failed = (release, monotonic() + AGAIN_AFTER)
            self._cannot("the release in production cannot be opened", f"{type(error).__name__}: {error}", release)
            return
        observe_open("opened", perf_counter() - started)
        with self._counting:
            old, self._now = self._now, _Place(system)
        release_serves(system.release, instead_of=old.system.release)
        self.problem = None
        self._leaving.append(old)
        self._close_unused()
        log.info("release swapped", release=release, before=old.system.release)

    def _cannot(self, what: str, why: str, release: str | None) -> None:
        problem = f"{what}: {why}"
        if problem != self.problem:  # once, not every second
            log.error(what, release=release, serving=self._now.system.release, error=why)
        self.problem = problem

    def _close_unused(self) -> None:
        with self._counting:
            unused = [place for place in self._leaving if place.requests == 0]
        for place in unused:
            self._leaving.remove(place)
            place.system.close()

    def close(self) -> None:
        """Stops looking, and closes what is open."""
        self._stopped.set()
        if self._watcher is not None:
            self._watcher.join()
        for place in (*self._leaving, self._now):
            place.system.close()
        self._leaving.clear()


class Holding:
    """The layer of the app that lets each request have one system from its start to its end, as plain ASGI."""

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self._app = app
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":  # the life of the app is as long as that of no system
            await self._app(scope, receive, send)
            return
        with self._serving.held():
            await self._app(scope, receive, send)
