"""A system whose answers are known: video n is the n-th best for everybody, until it is watched."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import structlog

from nextreel.backends import ClosableEventLog, open_log
from nextreel.registry import Registry
from nextreel.serving.app import create_app
from nextreel.serving.current import Serving
from nextreel.settings import Settings
from nextreel.types import UNKNOWN, Catalogue, Event, Request, Slate, Trace, UserId, VideoId

with warnings.catch_warnings():  # Starlette's client would rather have the successor of httpx
    warnings.filterwarnings("ignore", message="Using `httpx`")
    from fastapi.testclient import TestClient

VIDEOS = 30
NOW = 1_000_000.0


def catalogue() -> Catalogue:
    ids = np.arange(100, 100 + VIDEOS)
    nothing = np.full(VIDEOS, UNKNOWN, np.int32)
    return Catalogue(
        video_ids=ids,
        titles=[f"Film {n} «é»" for n in range(VIDEOS)],
        category=np.where(np.arange(VIDEOS) == 2, UNKNOWN, np.arange(VIDEOS) % 2).astype(np.int32),
        categories=np.zeros((VIDEOS, 2), np.float32),
        channel=np.zeros(VIDEOS, np.int32),
        language=nothing,
        duration=np.full(VIDEOS, np.nan, np.float32),
        published_at=np.full(VIDEOS, np.nan),
        maturity=np.zeros(VIDEOS, np.int8),
        available=np.ones(VIDEOS, np.bool_),
        texts=[""] * VIDEOS,
        category_names=("Drama", "Sport"),
        channel_ids=("news", 7),
        language_names=(),
        row_of={int(video_id): row for row, video_id in enumerate(ids)},
    )


class FakeSystem:
    """Has all that the app asks of a system; it is its own store."""

    def __init__(self, log: ClosableEventLog, registry: Registry) -> None:
        self.catalogue = catalogue()
        self.log = log
        self.registry = registry
        self.release = "release-1"
        self.release_metrics = {"ndcg@10": 0.3}
        self.seen: dict[UserId, set[VideoId]] = {1: set()}
        self.asked: list[Request] = []
        self.checks = [("state", "healthy", 0.1)]
        self.error: Exception | None = None
        self.closed = False

    @property
    def store(self) -> FakeSystem:
        return self

    def knows(self, user_id: UserId) -> bool:
        return user_id in self.seen

    def recommend(self, request: Request) -> Slate:
        if self.error is not None:
            raise self.error
        self.asked.append(request)
        hidden = self.seen.get(request.user_id, set()) if request.user_id is not None else set()
        rows = [row for v, row in self.catalogue.row_of.items() if v not in hidden | set(request.exclude)][: request.k]
        n = len(rows)
        return Slate(
            request=request,
            rows=np.array(rows, np.int32),
            video_ids=[int(self.catalogue.video_ids[row]) for row in rows],
            value=-np.array(rows, np.float32),
            objectives=np.zeros((n, 1), np.float32),
            sources=["popular"] * n,
            reasons=["many people watch it"] * n,
            propensities=np.ones(n, np.float32),
            promoted=np.zeros(n, np.bool_),
            trace=Trace(milliseconds={"retrieve": 0.5, "rank": 0.25}),
            release=self.release,
            level="full",
        )

    def feedback(self, events: Sequence[Event]) -> list[int]:
        offsets = self.log.append(events)
        for event in events:
            if event.video_id is not None:
                self.seen.setdefault(event.user_id, set()).add(event.video_id)
        return offsets

    def newest_catalogue(self) -> Catalogue:
        return self.catalogue

    def similar(self, video_id: VideoId, request: Request) -> list[tuple[VideoId, float]]:
        self.asked.append(request)
        return [(v, 0.5) for v in self.catalogue.row_of if v != video_id][: request.k]

    def trending(self, request: Request) -> list[tuple[VideoId, float]]:
        self.asked.append(request)
        return [(v, 0.25) for v in self.catalogue.row_of][: request.k]

    def resolve_user(self, text: str) -> UserId:
        return int(text) if re.fullmatch("-?[0-9]+", text) else text

    def resolve_video(self, text: str) -> VideoId:
        return int(text) if re.fullmatch("-?[0-9]+", text) else text

    def now(self) -> float:
        return NOW

    def follow(self) -> None:
        pass

    def health(self) -> list[tuple[str, str, float]]:
        return self.checks

    def close(self) -> None:
        self.log.close()
        self.closed = True


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    return FakeSystem(open_log(f"sqlite://{tmp_path}/log.db"), Registry(tmp_path / "registry"))


@pytest.fixture
def connect(system: FakeSystem) -> Iterator[Callable[..., TestClient]]:
    """Opens a client of the fake system's app under given settings."""
    clients: list[TestClient] = []

    def connect(**settings: Any) -> TestClient:
        app = create_app(Serving(cast("Any", system)), Settings.model_validate(settings))
        clients.append(TestClient(app).__enter__())  # runs the app's start
        return clients[-1]

    yield connect
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(connect: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.delenv("API_KEYS", raising=False)
    return connect()


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Lets a test configure logging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def can_only_read() -> Callable[[Path], tuple[str, ...]]:
    """Makes a command before another one, which then can only read the folder, whoever runs it.

    Skips the test where a process may not have mounts of its own.
    """
    command = ("unshare", "--map-root-user", "--mount")
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'

    def can_only_read(folder: Path) -> tuple[str, ...]:
        if shutil.which("unshare") is None or subprocess.run([*command, "true"], check=False).returncode:  # noqa: S603  fixed
            pytest.skip("needs to mount a folder read-only: user namespaces are not allowed here")
        return (*command, "sh", "-c", script, str(folder))

    return can_only_read
