"""Starts the server as the environment says."""

from __future__ import annotations

import multiprocessing
import os
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from nextreel.serving.app import create_app
from nextreel.serving.current import Serving
from nextreel.serving.security import require_safe_host
from nextreel.settings import Settings, get_settings
from nextreel.telemetry import WORKERS, configure_logging, get_logger
from nextreel.types import NextreelError, Request

if TYPE_CHECKING:
    from nextreel.system import System

HOME, CLOCK = "NEXTREEL_HOME", "NEXTREEL_CLOCK"
FEATURE_LOG, FEATURE_LOG_SHARE = "FEATURE_LOG", "FEATURE_LOG_SHARE"  # as the settings read them
FAILURE = "failure.txt"  # in the folder of the workers' metrics: why one could not start
STARTUP_FAILURE = 3  # uvicorn's exit status of a worker that is not to be started again
FACTORY = f"{__name__}:app_from_environment"  # by its name, for workers of their own
PROTOCOL = "nextreel.serving.protocol:LimitedHttp"  # httptools, with a limit
GRACE = 10  # seconds that requests under way have when the server is told to stop

# Requests run side by side; a library's own threads would only take the cores from each other.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

log = get_logger(__name__)


class WorkerFailed(NextreelError):
    """A worker process could not start, for the reason in the message."""


def serve(
    home: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    clock: str = "wall",
    feature_log: Path | None = None,
    feature_log_share: float | None = None,
) -> None:
    """Serves the release in production until told to stop.

    `clock` is `wall`, or `end` for time that goes on from the last event of the data. A feature log given here goes
    before the one of the settings. Without API keys only a loopback host is accepted, `UnsafeHost` otherwise. Several
    workers are separate, spawned processes; `WorkerFailed` when they cannot start.
    """
    for name, given in ((FEATURE_LOG, feature_log), (FEATURE_LOG_SHARE, feature_log_share)):
        if given is not None:  # by the environment, from which workers of their own read their settings
            os.environ[name] = str(given)
    settings = get_settings()
    require_safe_host(host, settings)
    configure_logging(settings.log_level, settings.log_format)
    os.environ.update({HOME: str(home.resolve()), CLOCK: clock})
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    if not settings.api_keys:
        log.warning("no API keys are configured (API_KEYS): answering on this machine only", host=host)
    if workers == 1:
        serve_app(FACTORY, host, port, settings)
        return
    with TemporaryDirectory(prefix="nextreel-workers-") as folder:
        os.environ[WORKERS] = folder
        serve_app(FACTORY, host, port, settings, workers)
        failure = Path(folder) / FAILURE
        if failure.is_file():
            raise WorkerFailed(failure.read_text())


def serve_app(app: FastAPI | str, host: str, port: int, settings: Settings, workers: int = 1) -> None:
    """Serves the app, or the one that a factory of the name makes in each worker, until told to stop."""
    uvicorn.run(
        app,
        factory=app is FACTORY,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=PROTOCOL,
        ws="none",
        access_log=False,
        log_config=None,
        log_level=settings.log_level.lower(),
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )


def app_from_environment() -> FastAPI:
    """The app of the home and clock that `serve` wrote into the environment; one system per process."""
    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)
    try:
        serving = opened(settings, Path(os.environ[HOME]), os.environ[CLOCK])
    except NextreelError as error:
        if multiprocessing.parent_process() is None:
            raise
        (Path(os.environ[WORKERS]) / FAILURE).write_text(str(error))
        sys.exit(STARTUP_FAILURE)
    return create_app(serving, settings)


def opened(settings: Settings, home: Path, clock: str = "wall") -> Serving:
    """Who serves the home's release in production as the settings say, ready to answer at once."""
    opener = partial(_open, settings, home, clock)
    system = opener(None)
    log.info("serving", release=system.release, home=str(home), clock=clock)
    return Serving(system, opener)


def _open(settings: Settings, home: Path, clock: str, release: str | None) -> System:
    """The system of the release, or of the one in production, that has answered once."""
    from nextreel.opening import open_system  # noqa: PLC0415  the parent of several workers needs no model library

    system = open_system(
        home,
        release,
        clock="end" if clock == "end" else "wall",
        state_url=settings.shared_url,
        log_url=settings.event_log_url,
        feature_log=settings.feature_log,
        feature_log_share=settings.feature_log_share,
        slate_cache_seconds=settings.slate_cache_seconds,
        cache_url=None if settings.cache_url is None else settings.cache_url.get_secret_value(),
        vectors_url=settings.milvus_url,
    )
    try:
        system.recommend(Request(None, system.now(), k=1))  # loads what is loaded on first use, before anybody waits
    except BaseException:
        system.close()
        raise
    return system
