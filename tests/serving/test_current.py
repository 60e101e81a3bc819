"""A release takes the place of another while requests are answered, and none of them fails."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from nextreel.opening import open_system
from nextreel.registry import CorruptRelease, Registry
from nextreel.serving import current
from nextreel.serving.app import create_app
from nextreel.serving.current import Serving
from nextreel.settings import Settings
from nextreel.store import state_folder
from nextreel.system import System

ADMIN = Settings(api_keys=(), admin_on_loopback=True)
RELEASE = "nextreel_release_info{"
SOMEONE = "person-7"


def second_release(home: Path) -> str:
    """A candidate beside the release in production: the same models, published again a second later."""
    registry = Registry(home)
    first = registry.production()
    assert first is not None
    about = registry.show(first)
    folder = home / "again"
    folder.mkdir()
    for file in registry.path(first).rglob("*"):
        if file.is_file() and file.name != "manifest.json":
            target = folder / file.relative_to(registry.path(first))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    second = registry.publish(folder, metrics={}, lineage={}, created_at=about["created_at"] + 1)
    state_folder(home, first).rename(state_folder(home, second))
    state_folder(home, first).symlink_to(state_folder(home, second))  # what training leaves beside each
    return second


def get_text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own server
        return str(answer.read(), "utf-8")


def get(url: str) -> Any:
    return json.loads(get_text(url))


@pytest.fixture
def worker_url(home: Path) -> Iterator[str]:
    """A server of two worker processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from nextreel.cli.app import main; main()", "serve", "--workers=2"]
    environment = {name: value for name, value in os.environ.items() if name != "API_KEYS"}
    server = subprocess.Popen([*command, f"--home={home}", f"--port={port}", "--clock=end"], env=environment, cwd=home)  # noqa: S603  our own code
    url = f"http://127.0.0.1:{port}"

    def two_answer() -> bool:
        assert server.poll() is None
        try:
            return "} 2.0" in next(one for one in get_text(f"{url}/metrics").splitlines() if one.startswith(RELEASE))
        except urllib.error.URLError:
            return False

    try:
        until(two_answer, 60.0)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def opener(home: Path) -> Callable[[str], System]:
    return lambda release: open_system(home, release, clock="end")


@pytest.fixture
def serving(home: Path) -> Iterator[Serving]:
    yielded = Serving(open_system(home, clock="end"), opener(home))
    yield yielded
    yielded.close()


def until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def test_a_promotion_under_load_fails_no_request(home: Path, serving: Serving) -> None:
    first, second = serving().release, second_release(home)
    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    with TestClient(create_app(serving, ADMIN)) as client:

        def ask(number: int) -> None:
            while not stop.is_set():
                answer = client.get(f"/recommendations/person-{number}")
                answers.append((answer.status_code, answer.json()["model_version"]))

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask, number) for number in range(1, 5)]
            until(lambda: len(answers) > 20)
            changed = client.post(f"/models/{second}/promote")
            many = len(answers)
            until(lambda: len(answers) > many + 20)
            stop.set()
        for one in asking:
            one.result()
        assert changed.json() == {"production": second, "serving": second, "problem": None}
        assert client.get("/models").json()["serving"] == second
    assert {status for status, _ in answers} == {200}
    assert {release for _, release in answers} == {first, second}
    assert {release for _, release in answers[-10:]} == {second}


def test_a_rollback_serves_the_release_before_and_not_twice(home: Path, serving: Serving) -> None:
    first, second = serving().release, second_release(home)
    with TestClient(create_app(serving, ADMIN)) as client:
        assert client.post(f"/models/{second}/promote").json()["serving"] == second
        assert client.post(f"/models/{second}/rollback").json() == {
            "production": first,
            "serving": first,
            "problem": None,
        }
        again = client.post(f"/models/{second}/rollback")
        assert again.status_code == 409
        assert f"got {second}. Hint: it has been rolled back already" in again.json()["detail"]
        assert client.post("/models/rollback").status_code == 404  # nothing is before the first
        assert client.post("/models/20200101-000000-abcdef/promote").status_code == 404
        assert client.get("/models").json()["serving"] == first


def test_a_damaged_release_is_not_promoted(home: Path, serving: Serving) -> None:
    first, second = serving().release, second_release(home)
    damaged = Registry(home).path(second) / "config.json"
    damaged.chmod(0o644)
    damaged.write_text(damaged.read_text() + " ")
    with TestClient(create_app(serving, ADMIN)) as client:
        refused = client.post(f"/models/{second}/promote")
        assert refused.status_code == 409
        assert "config.json" in refused.json()["detail"]
        assert client.get("/models").json()["production"] == first


def test_nothing_is_promoted_where_the_home_can_only_be_read(
    home: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = serving().release, second_release(home)
    really = os.access
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK and really(path, mode))
    with TestClient(create_app(serving, ADMIN)) as client:
        for path in (f"/models/{second}/promote", "/models/rollback"):
            refused = client.post(path)
            assert refused.status_code == 409
            assert "Expected a home that can be written" in refused.json()["detail"]
        assert client.get("/models").json()["production"] == first


@pytest.mark.parametrize("path", ["/models/rollback", "/models/x/rollback", "/models/x/promote"])
def test_only_an_administrator_changes_what_is_served(connect: Callable[..., TestClient], path: str) -> None:
    assert connect().post(path).status_code == 403


def test_events_that_came_before_the_swap_count_after_it(home: Path, serving: Serving) -> None:
    second = second_release(home)
    with TestClient(create_app(serving, ADMIN)) as client:
        shown = [one["video_id"] for one in client.get(f"/recommendations/{SOMEONE}").json()["recommendations"]]
        for video_id in shown[:3]:
            client.post("/feedback", json={"user_id": SOMEONE, "video_id": video_id, "event_type": "like"})
        assert client.post(f"/models/{second}/promote").json()["serving"] == second
        after = [one["video_id"] for one in client.get(f"/recommendations/{SOMEONE}").json()["recommendations"]]
        assert not set(after) & set(shown[:3])


class Releases:
    """Systems that tell whether they were closed, and a registry that says which of them is in production."""

    def __init__(self, tmp_path: Path) -> None:
        self.wanted = "one"
        self.broken: str | None = None
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.followed: list[str] = []

    def production(self) -> str:
        return self.wanted

    def open(self, release: str) -> System:
        self.opened.append(release)
        if release == self.broken:
            raise OSError("the disk is full")
        return cast("System", OneOf(release, self))


class OneOf:
    def __init__(self, release: str, registry: Releases) -> None:
        self.release, self.registry = release, registry

    def follow(self) -> None:
        assert self.release not in self.registry.closed
        self.registry.followed.append(self.release)

    def health(self) -> list[tuple[str, str, float]]:
        return []

    def close(self) -> None:
        self.registry.closed.append(self.release)


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path)


@pytest.fixture
def several(releases: Releases) -> Serving:
    return Serving(releases.open("one"), releases.open)


def test_a_request_keeps_its_system_and_the_system_stays_open_for_it(releases: Releases, several: Serving) -> None:
    with several.held():
        mine = several()
        releases.wanted = "two"
        several.look()
        assert several() is mine
        assert several.newest.release == "two"
        with several.held():  # another request, that comes now
            assert several().release == "two"
        several.look()
        assert releases.closed == []
    assert several().release == "two"
    several.look()
    assert releases.closed == ["one"]
    several.close()
    assert releases.closed == ["one", "two"]


def test_the_release_and_the_log_are_followed_while_nobody_asks(
    releases: Releases, several: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "LOOK_EVERY", 0.01)
    several.start()
    until(lambda: releases.followed[:2] == ["one", "one"])
    releases.wanted = "two"
    until(lambda: releases.followed[-2:] == ["two", "two"])
    several.close()
    assert releases.closed == ["one", "two"]
    many = len(releases.followed)
    time.sleep(0.05)
    assert len(releases.followed) == many  # nobody looks any more


def test_a_release_that_cannot_be_opened_leaves_the_old_one_in_its_place(
    releases: Releases, several: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = ("nextreel_release_open_seconds_count", {"outcome": "failed"})
    before = REGISTRY.get_sample_value(*failed) or 0.0
    releases.wanted = releases.broken = "two"
    client = TestClient(create_app(several, ADMIN))
    assert client.get("/health").json()["status"] == "healthy"
    for _ in range(3):
        several.look()
    assert releases.opened == ["one", "two"]  # not every second
    assert REGISTRY.get_sample_value(*failed) == before + 1
    assert several().release == "one"
    assert several.problem == "the release in production cannot be opened: OSError: the disk is full"
    checks = client.get("/health").json()
    assert (checks["status"], checks["checks"][0]["status"]) == ("degraded", "degraded")
    monkeypatch.setattr(current, "monotonic", lambda: time.monotonic() + current.AGAIN_AFTER)
    several.look()
    assert releases.opened == ["one", "two", "two"]
    releases.broken = None
    several.look(again=True)
    assert (several().release, releases.closed) == ("two", ["one"])
    assert client.get("/health").json()["status"] == "healthy"


def test_a_registry_that_cannot_be_read_leaves_the_release_in_its_place(
    releases: Releases, several: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> str:
        raise CorruptRelease("Expected JSON, got something else.")

    with monkeypatch.context() as patch:
        patch.setattr(releases, "production", unreadable)
        several.look()
    assert several.problem == "the registry cannot be read: Expected JSON, got something else."
    assert several().release == "one"
    several.look()
    assert several.problem is None


def test_a_promotion_taken_back_ends_the_problem(releases: Releases, several: Serving) -> None:
    releases.wanted = releases.broken = "two"
    several.look()
    assert several.problem
    releases.wanted = "one"
    several.look()
    assert several.problem is None


def test_the_metrics_tell_which_release_serves(releases: Releases, several: Serving) -> None:
    releases.wanted = "three"
    several.look()
    assert REGISTRY.get_sample_value("nextreel_release_info", {"release": "one"}) == 0
    assert REGISTRY.get_sample_value("nextreel_release_info", {"release": "three"}) == 1


def test_every_worker_process_follows_a_promotion_made_elsewhere(home: Path, worker_url: str) -> None:
    registry = Registry(home)
    second = second_release(home)
    registry.promote(second)

    def serving_now() -> set[str]:
        return {get(f"{worker_url}/models")["serving"] for _ in range(20)}  # a new connection each: any worker

    promoted = time.monotonic()
    until(lambda: serving_now() == {second}, 20.0)
    assert time.monotonic() - promoted < 5  # about one second, and that of opening it
    text = get_text(f"{worker_url}/metrics")
    assert f'nextreel_release_info{{release="{second}"}} 2.0' in text
