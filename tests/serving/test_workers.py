"""Two real servers over one home: what one of them is told, the other knows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from nextreel.assembly import Config
from nextreel.data import World
from nextreel.opening import open_system
from nextreel.training import train
from nextreel.types import Request

VIDEOS = 1_300  # some are withdrawn, or later episodes of a series
SMALL = {
    "quotas": {"two_tower": 0, "als": 0},
    "moments": {"active": 30, "idle": 30},
    "ranker": {"catboost": {"iterations": 5, "threads": 1}},
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of more than a thousand videos that may be shown."""
    home = tmp_path_factory.mktemp("workers") / "home"
    train(World.make(40, VIDEOS, 2_000, seed=5).dataset(), Config.model_validate(SMALL), home)
    return home


class Server:
    """A process of its own that serves a home."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        options = ["--home", str(home), "--clock", "end", "--port", str(self._port)]
        self._command = [sys.executable, "-c", "from nextreel.cli.app import main; main()", "serve", *options]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=30)
        self.start()

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in {"API_KEYS", "STATE_URL"}}
        self._process = subprocess.Popen(self._command, env=environment)  # noqa: S603  our own command

    def wait(self) -> None:
        """Returns when it answers."""
        until = time.monotonic() + 60
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if self.client.get("/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(30) in {0, -signal.SIGTERM}

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def shown(self, **parameters: Any) -> list[str]:
        return [one["video_id"] for one in self.get("/recommendations/somebody", **parameters)["recommendations"]]


@pytest.fixture
def servers(large: Path) -> Iterator[list[Server]]:
    servers = [Server(large), Server(large)]
    for server in servers:
        server.wait()
    yield servers
    for server in servers:
        server.client.close()
        server.stop()


def test_pages_over_a_thousand_videos_by_two_servers_and_a_restart_hold_each_video_once(
    large: Path, servers: list[Server]
) -> None:
    system = open_system(large, clock="end")
    everything = np.arange(VIDEOS, dtype=np.int32)
    eligible = everything[system.recommender.keeps(Request("somebody", system.now()), everything)]
    expected = sorted(system.catalogue.video_ids[eligible].tolist())
    system.close()
    assert len(expected) > 1_000
    page = servers[0].get("/recommendations/somebody", n=37, paged=True)
    pages = [page]
    while page["cursor"] is not None:
        if len(pages) == 11:
            for server in servers:
                server.stop()
                server.start()
            for server in servers:
                server.wait()
        page = servers[len(pages) % 2].get("/recommendations/somebody", n=37, cursor=page["cursor"])
        pages.append(page)
    shown = [one["video_id"] for page in pages for one in page["recommendations"]]
    assert sorted(shown) == expected
    assert [len(page["recommendations"]) for page in pages[:-1]] == [37] * (len(pages) - 1)


def test_what_one_server_is_told_the_other_knows_within_a_fifth_of_a_second(servers: list[Server]) -> None:
    first, second = servers
    slowest = 0.0
    for _ in range(5):
        (best,) = second.shown(n=1)
        sent = time.monotonic()
        event = {"user_id": "somebody", "video_id": best, "event_type": "hide"}
        assert first.client.post("/feedback", json=event).status_code == 202
        while best in second.shown(n=1):
            assert time.monotonic() - sent < 5
        slowest = max(slowest, time.monotonic() - sent)
    assert slowest < 0.2
