"""Logs and Prometheus metrics: what the system says of itself.

Metrics live in the process. With several worker processes the environment variable PROMETHEUS_MULTIPROC_DIR, set
before this module is imported, names a folder in which they are added up.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from structlog.typing import EventDict, Processor, WrappedLogger

from nextreel import keys
from nextreel.types import Event, Slate

SECRETS = frozenset({"api_key", "api_keys", "x-api-key", "x_api_key", "authorization", "cookie", "password", "token"})

# Without the values of local variables: they take seconds to render and may be secrets.
TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

# Seconds. Stages take from tens of microseconds, whole requests up to seconds when something is wrong.
STAGE_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
REQUEST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_requests = Histogram(
    "nextreel_request_seconds",
    "Time to answer an HTTP request.",
    ("method", "route", "status"),
    buckets=REQUEST_BUCKETS,
)
_stages = Histogram("nextreel_stage_seconds", "Time in a stage of one slate.", ("stage",), buckets=STAGE_BUCKETS)
_slates = Counter("nextreel_slates", "Slates by the rung of the fallback ladder that made them.", ("level",))
_empty = Counter("nextreel_empty_slates", "Slates without any video.")
_short = Counter("nextreel_short_slates", "Slates with fewer videos than asked for, but some.")
_failures = Counter(
    "nextreel_part_failures", "Failures of a retriever, filter or ranker that a slate survived.", ("part",)
)
_events = Counter("nextreel_events", "Events accepted, after the log had them.", ("kind",))


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Records one answered request; `route` is the template, never the path, so that labels stay few."""
    _requests.labels(method, route, str(status)).observe(seconds)


def observe_slate(slate: Slate) -> None:
    """Records a slate's stages, its rung, and whether it is empty or short."""
    for stage, milliseconds in slate.trace.milliseconds.items():
        _stages.labels(stage).observe(milliseconds / 1000)
    for part in slate.trace.failures:
        _failures.labels(part).inc()
    _slates.labels(slate.level).inc()
    if not slate.video_ids:
        _empty.inc()
    elif len(slate.video_ids) < slate.request.k:
        _short.inc()


def count_event(event: Event) -> None:
    """Counts one accepted event."""
    _events.labels(event.kind.name.lower()).inc()


def render_metrics() -> tuple[bytes, str]:
    """All metrics in Prometheus' text format and its content type, summed over the worker processes."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it bare
    return generate_latest(registry), CONTENT_TYPE_LATEST


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

    >>> hide_secrets(None, "info", {"event": "started", "API_KEY": "hunter2"})
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
