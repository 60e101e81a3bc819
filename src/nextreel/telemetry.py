"""Logs and Prometheus metrics: what the system says of itself.

Metrics live in the process. With several worker processes the environment variable PROMETHEUS_MULTIPROC_DIR, set
before this module is imported, names a folder in which they are added up.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeAlias

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from structlog.typing import EventDict, Processor, WrappedLogger

from nextreel import keys
from nextreel.types import Event, Slate, TimeArray

Found: TypeAlias = Literal["hit", "miss", "failed"]  # what came of a look into a cache

WORKERS = "PROMETHEUS_MULTIPROC_DIR"  # a folder in which worker processes leave their metrics

SECRETS = frozenset({"api_key", "api_keys", "x-api-key", "x_api_key", "authorization", "cookie", "password", "token"})

# Without the values of local variables: they take seconds to render and may be secrets.
TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

# Seconds. Stages take from tens of microseconds, whole requests up to seconds when something is wrong.
STAGE_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
REQUEST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

# An event reaches the process that took it in milliseconds, and the others within a second.
LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
OPEN_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

# docs/metrics.md tells what each is good for; a test compares. Gauges add up over the workers that are alive.
_requests = Histogram(
    "nextreel_request_seconds",
    "Time to answer an HTTP request.",
    ("method", "route", "status"),
    buckets=REQUEST_BUCKETS,
)
_in_flight = Gauge("nextreel_requests_in_flight", "HTTP requests being answered now.", multiprocess_mode="livesum")
_stages = Histogram("nextreel_stage_seconds", "Time in one stage of an answer.", ("stage",), buckets=STAGE_BUCKETS)
_slates = Counter("nextreel_slates", "Slates by the rung of the fallback ladder that made them.", ("level",))
_empty = Counter("nextreel_empty_slates", "Slates without any video.")
_short = Counter("nextreel_short_slates", "Slates with fewer videos than asked for, but some.")
_failures = Counter(
    "nextreel_part_failures", "Failures of a retriever, filter or ranker that a slate survived.", ("part",)
)
_proposed = Counter(
    "nextreel_source_proposals", "Eligible videos within its quota that a source proposed.", ("source",)
)
_removed = Counter("nextreel_filter_removed", "Proposed videos that a filter removed.", ("filter",))
_events = Counter("nextreel_events", "Events accepted, after the log had them.", ("kind",))
_lag = Histogram(
    "nextreel_event_lag_seconds",
    "Time from when an event came until a process had applied it.",
    buckets=LAG_BUCKETS,
)
_newest = Gauge(
    "nextreel_newest_event_timestamp_seconds",
    "Time of the newest event that any process has applied.",
    multiprocess_mode="livemax",
)
_cache = Counter("nextreel_cache_requests", "Look-ups of a cache by what came of them.", ("cache", "outcome"))
_entries = Gauge("nextreel_cache_entries", "What a cache holds now.", ("cache",), multiprocess_mode="livesum")
_joins = Counter("nextreel_single_flight_joins", "Requests that were given the answer of an equal one under way.")
_release = Gauge(
    "nextreel_release_info", "Processes that serve the release.", ("release",), multiprocess_mode="livesum"
)
_opened = Histogram(
    "nextreel_release_open_seconds",
    "Time to open and warm a release that was to serve.",
    ("outcome",),
    buckets=OPEN_BUCKETS,
)

# To find a child by its labels takes longer than to count, so that those of few labels are found once.
_stage_of = cache(_stages.labels)
_level_of = cache(_slates.labels)
_proposed_by = cache(_proposed.labels)
_removed_by = cache(_removed.labels)
_served = cache(_requests.labels)


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Records one answered request; `route` is the template, never the path, so that labels stay few."""
    _served(method, route, str(status)).observe(seconds)


def request_came() -> None:
    """Counts a request among those being answered, until `request_left`."""
    _in_flight.inc()


def request_left() -> None:
    """Counts a request no longer among those being answered."""
    _in_flight.dec()


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Records how long the block takes as a stage, also where it fails."""
    started = perf_counter()
    try:
        yield
    finally:
        _stage_of(stage).observe(perf_counter() - started)


def observe_slate(slate: Slate) -> None:
    """Records a slate's stages, what its sources and filters did, its rung, and whether it is empty or short."""
    trace = slate.trace
    for stage, milliseconds in trace.milliseconds.items():
        _stage_of(stage).observe(milliseconds / 1000)
    for part in trace.failures:
        _failures.labels(part).inc()
    for source, videos in trace.proposed.items():
        _proposed_by(source).inc(videos)
    for name, videos in trace.removed.items():
        if videos:
            _removed_by(name).inc(videos)
    _level_of(slate.level).inc()
    if not slate.video_ids:
        _empty.inc()
    elif len(slate.video_ids) < slate.request.k:
        _short.inc()


def count_event(event: Event) -> None:
    """Counts one accepted event."""
    _events.labels(event.kind.name.lower()).inc()


def observe_applied(at: TimeArray, now: float) -> None:
    """Records that events of these times (n,), at least one, are applied now."""
    for lag in (now - at).tolist():
        _lag.observe(max(lag, 0.0))
    _newest.set(float(at.max()))


class CacheMeter:
    """Counts the look-ups of one cache, and what it holds."""

    def __init__(self, name: str) -> None:
        outcomes: tuple[Found, ...] = ("hit", "miss", "failed")
        self._counts = {outcome: _cache.labels(name, outcome) for outcome in outcomes}
        self._size = _entries.labels(name)

    def count(self, found: Found) -> None:
        """Counts one look-up."""
        self._counts[found].inc()

    def holds(self, entries: int) -> None:
        """Says how many entries there are now."""
        self._size.set(entries)


def count_join() -> None:
    """Counts a request that waited for an equal one and was given its answer."""
    _joins.inc()


def release_serves(release: str, instead_of: str | None = None) -> None:
    """Says which release answers in this process, and which one does no longer."""
    if instead_of is not None:
        _release.labels(instead_of).set(0)
    _release.labels(release).set(1)


def observe_open(outcome: Literal["opened", "failed"], seconds: float) -> None:
    """Records how long it took to open a release, or until that failed."""
    _opened.labels(outcome).observe(seconds)


def render_metrics() -> tuple[bytes, str]:
    """All metrics in Prometheus' text format and its content type, summed over the worker processes."""
    if WORKERS not in os.environ:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    _forget_dead_workers(Path(os.environ[WORKERS]))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it bare
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _forget_dead_workers(folder: Path) -> None:
    """Drops the gauges of workers that were killed; what they counted stays counted."""
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]  # prometheus_client leaves it bare


def configure_logging(level: str, log_format: str) -> None:
    """Sends structlog's and the standard library's records to standard error, as JSON or as text.

    Standard output belongs to the commands' results. Context variables (the request id) are in every record.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    render: list[Processor] = (
        [structlog.processors.ExceptionRenderer(TRACEBACK), structlog.processors.JSONRenderer(default=str)]
        if log_format == "json"
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, hide_keys],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def hide_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The record with the values of secret-bearing keys replaced.

    >>> hide_secrets(None, "info", {"event": "started", "API_KEY": "hunter2"})  # pragma: allowlist secret
    {'event': 'started', 'API_KEY': '***'}
    """
    return {key: "***" if key.lower() in SECRETS else value for key, value in event.items()}


def hide_keys(logger: WrappedLogger, method: str, record: Any) -> str:
    """The rendered record without any API key of our making, wherever it came from: a message, a traceback.

    Stands after the renderer, so the record is text, which structlog's type of a processor does not foresee.

    >>> hide_keys(None, "info", "got nextreel_0123456789012345678901234567890123456789012.")
    'got ***.'
    """
    return keys.LOOKS_LIKE.sub("***", record)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A structured logger: `log.info("what happened", key=value)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
