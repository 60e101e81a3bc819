"""How the server is started, and what starting it does not load."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from nextreel.serving import run
from nextreel.serving.security import UnsafeHost
from nextreel.settings import get_settings
from nextreel.types import NextreelError

if TYPE_CHECKING:
    from tests.serving.conftest import FakeSystem


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(run, "configure_logging", lambda *_: None)
    monkeypatch.delenv("API_KEYS", raising=False)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield monkeypatch
    get_settings.cache_clear()


@pytest.fixture
def started(environment: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the server was started with, instead of starting it."""
    calls: list[dict[str, Any]] = []
    environment.setattr(
        "uvicorn.run", lambda app, **options: calls.append(options | {"app": app, "environ": dict(os.environ)})
    )
    return calls


@pytest.fixture
def assembled(environment: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Puts an opener of systems in the place of the real one."""

    def assembled(opener: Any) -> None:
        module = ModuleType("nextreel.opening")
        module.__dict__["open_system"] = opener
        environment.setitem(sys.modules, "nextreel.opening", module)

    return assembled


def test_no_stranger_is_served_without_keys(started: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(UnsafeHost):
        run.serve(tmp_path, host="0.0.0.0")  # noqa: S104  refused
    assert started == []


def test_one_worker_is_started_with_home_and_clock_in_the_environment(started: list[dict[str, Any]]) -> None:
    run.serve(Path("var"), port=8123, clock="end")
    (options,) = started
    assert options["app"] == "nextreel.serving.run:app_from_environment"
    assert (options["host"], options["port"], options["workers"]) == ("127.0.0.1", 8123, 1)
    assert (options["loop"], options["access_log"]) == ("uvloop", False)
    assert options["http"] == "nextreel.serving.protocol:LimitedHttp"  # by its name: a spawned worker finds it
    assert options["environ"]["NEXTREEL_HOME"] == str(Path("var").resolve())
    assert options["environ"]["NEXTREEL_CLOCK"] == "end"
    assert "PROMETHEUS_MULTIPROC_DIR" not in options["environ"]


def test_several_workers_share_a_folder_of_metrics(
    started: list[dict[str, Any]], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("API_KEYS", "a-key-of-twenty-signs")
    run.serve(Path("var"), host="0.0.0.0", workers=2)  # noqa: S104  with a key
    (options,) = started
    assert options["workers"] == 2
    assert options["environ"]["PROMETHEUS_MULTIPROC_DIR"]
    assert not Path(options["environ"]["PROMETHEUS_MULTIPROC_DIR"]).exists()


def test_the_app_opens_the_system_of_the_environment(
    environment: pytest.MonkeyPatch, assembled: Callable[[Any], None], system: FakeSystem
) -> None:
    opened: list[tuple[Path, dict[str, Any]]] = []

    def open_system(home: Path, release: str | None, **options: Any) -> FakeSystem:
        opened.append((home, options))
        return system

    assembled(open_system)
    environment.setenv("NEXTREEL_HOME", "/srv/home")
    environment.setenv("NEXTREEL_CLOCK", "wall")
    with TestClient(run.app_from_environment()) as client:
        assert client.get("/ping").status_code == 200
    options = {
        "clock": "wall",
        "state_url": None,
        "log_url": None,
        "feature_log": None,
        "feature_log_share": 0.1,
        "slate_cache_seconds": 0.0,
        "cache_url": None,
        "vectors_url": None,
    }
    assert opened == [(Path("/srv/home"), options)]
    assert system.closed


def test_a_feature_log_that_is_asked_for_reaches_the_system_of_every_worker(
    started: list[dict[str, Any]],
    environment: pytest.MonkeyPatch,
    assembled: Callable[[Any], None],
    system: FakeSystem,
) -> None:
    opened: list[dict[str, Any]] = []

    def open_system(home: Path, release: str | None, **options: Any) -> FakeSystem:
        opened.append(options)
        return system

    assembled(open_system)
    environment.setenv("FEATURE_LOG", "/srv/of-the-settings")
    run.serve(Path("var"), feature_log=Path("/srv/features"), feature_log_share=0.5)
    assert started[0]["environ"]["FEATURE_LOG"] == "/srv/features"
    run.app_from_environment()
    options = {
        "clock": "wall",
        "state_url": None,
        "log_url": None,
        "feature_log": Path("/srv/features"),
        "feature_log_share": 0.5,
        "slate_cache_seconds": 0.0,
        "cache_url": None,
        "vectors_url": None,
    }
    assert opened == [options]


def test_a_worker_that_cannot_start_is_not_started_again(
    environment: pytest.MonkeyPatch, assembled: Callable[[Any], None], tmp_path: Path
) -> None:
    def nothing_there(home: Path, release: str | None, **_: Any) -> FakeSystem:
        raise NextreelError("No release in production.")

    assembled(nothing_there)
    environment.setenv("NEXTREEL_HOME", "/srv/home")
    environment.setenv("NEXTREEL_CLOCK", "wall")
    with pytest.raises(NextreelError, match="No release"):
        run.app_from_environment()
    environment.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    environment.setattr("multiprocessing.parent_process", lambda: "the parent")
    with pytest.raises(SystemExit) as stopped:
        run.app_from_environment()
    assert stopped.value.code == 3
    assert (tmp_path / "failure.txt").read_text() == "No release in production."


def test_why_the_workers_could_not_start_is_told(environment: pytest.MonkeyPatch) -> None:
    def fail(app: str, **_: Any) -> None:
        Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], "failure.txt").write_text("No release in production.")

    environment.setattr("uvicorn.run", fail)
    with pytest.raises(run.WorkerFailed, match="No release in production"):
        run.serve(Path("var"), workers=2)
