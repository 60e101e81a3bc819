"""The container of a SageMaker endpoint, as a process: what the contract asks for and nothing else."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nextreel.registry import CorruptRelease, NoSuchRelease, Registry
from nextreel.serving import sagemaker
from nextreel.settings import Settings
from nextreel.types import NextreelError

SERVE = [sys.executable, "-c", "import sys; from nextreel.serving.sagemaker import main; sys.exit(main())", "serve"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and document of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, content, {"Content-Type": "application/json"} | headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


@contextmanager
def container(
    model: Path, folder: Path, *around: str, **environment: str
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Port and process of a container that is up."""
    port = free_port()
    settings = {"SM_MODEL_DIR": str(model), "SAGEMAKER_BIND_TO_PORT": str(port)} | environment
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603  our own
            [*around, *SERVE], env=os.environ | settings, cwd=folder, stderr=stderr
        )
        try:
            until = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until:
                try:
                    ask(port, "GET", "/ping")
                    break
                except OSError:
                    time.sleep(0.05)
            yield port, process
        finally:
            process.kill()
            process.wait(10)


@pytest.fixture(scope="module")
def packed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the platform has unpacked the trained release."""
    folder = tmp_path_factory.mktemp("packed")
    home = Path(shutil.copytree(trained, folder / "home"))
    sagemaker.archive(home, folder / "model.tar.gz")
    with tarfile.open(folder / "model.tar.gz") as archive:
        archive.extractall(folder / "model", filter="data")
    return folder / "model"


@pytest.fixture(scope="module")
def port(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a container that all tests of answers share; keys are configured, and mean nothing to it."""
    folder = tmp_path_factory.mktemp("container")
    model = Path(shutil.copytree(packed, folder / "model"))
    with container(model, folder, API_KEYS="a-key-of-another-door") as (port, _):  # pragma: allowlist secret
        yield port


def test_a_container_that_is_up_answers_ping(port: int) -> None:
    assert ask(port, "GET", "/ping") == (200, {"status": "ok"})


def test_invocations_answer_without_a_key_within_the_contract(port: int) -> None:
    status, answer = ask(port, "POST", "/invocations", {"user_id": "person-1", "k": 7})
    assert (status, answer["userId"], len(answer["recommendations"])) == (200, "person-1", 7)
    assert set(answer["recommendations"][0]) == {"videoId", "score"}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"user_id": "nobody"}, 404, "User 'nobody' not found"),
        ({"k": 5}, 422, "user_id"),
        ({"user_id": "person-1", "k": 0}, 422, "k"),
        (b"no json", 422, "JSON"),
        (b" " * 1_000_001, 413, "1000000 bytes"),
    ],
)
def test_what_cannot_be_answered_says_why(port: int, body: Any, status: int, said: str) -> None:
    got, answer = ask(port, "POST", "/invocations", body)
    assert got == status
    assert said in answer["detail"]


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/metrics", "/docs", "/redoc", "/openapi.json", "/recommendations/1", "/models", "/feedback"],
)
def test_nothing_but_the_contract_is_there(port: int, path: str) -> None:
    assert ask(port, "GET", path)[0] == 404
    assert ask(port, "POST", path, {})[0] == 404


def test_sigterm_lets_a_container_end(packed: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(packed, tmp_path / "model"))
    with container(model, tmp_path) as (port, process):
        assert ask(port, "GET", "/ping")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) in (0, -signal.SIGTERM)  # the server ends, then lets the signal have its way
    assert "Finished server process" in (tmp_path / "stderr").read_text()


def test_a_models_folder_that_can_only_be_read_is_enough(
    packed: Path, tmp_path: Path, can_only_read: Callable[[Path], tuple[str, ...]]
) -> None:
    model = Path(shutil.copytree(packed, tmp_path / "model"))
    with container(model, tmp_path, *can_only_read(model)) as (port, _):
        assert ask(port, "POST", "/invocations", {"user_id": "person-1"})[0] == 200


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SM_MODEL_DIR": "/nowhere"}, "No release in production in /nowhere"),
        ({"SAGEMAKER_BIND_TO_PORT": "http"}, "Expected a number in SAGEMAKER_BIND_TO_PORT, got 'http'"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
    ],
)
def test_a_container_that_cannot_start_says_why_and_ends(
    packed: Path, tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    given = os.environ | {"SM_MODEL_DIR": str(packed)} | environment
    done = subprocess.run(SERVE, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  our own
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_archive_holds_one_release_in_production_with_its_state(packed: Path, trained: Path) -> None:
    release = Registry(trained).production()
    assert release is not None
    assert Registry(packed).production() == release
    Registry(packed).verify(release)
    files = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    named = {f"releases/{release}/{name}" for name in Registry(trained).show(release)["files"]}
    state = {f"state/{release}/{name}" for name in ("counters.npz", "people.json", "state.json", "users.db")}
    assert files == {"stages.json", f"releases/{release}/manifest.json"} | named | state


def test_the_same_release_makes_the_same_archive(home: Path, tmp_path: Path) -> None:
    release = Registry(home).production()
    assert sagemaker.archive(home, tmp_path / "one.tar.gz") == release
    assert sagemaker.archive(home, tmp_path / "two.tar.gz", release) == release
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_a_release_that_is_damaged_or_not_there_is_not_packed(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NoSuchRelease):
        sagemaker.archive(home, tmp_path / "model.tar.gz", "20200101-000000-abcdef")
    release = Registry(home).open()
    (release / "config.json").chmod(0o644)
    (release / "config.json").write_text("{}")
    with pytest.raises(CorruptRelease):
        sagemaker.archive(home, tmp_path / "model.tar.gz")
    assert not (tmp_path / "model.tar.gz").exists()


def test_a_state_that_somebody_writes_is_not_packed(home: Path, tmp_path: Path) -> None:
    release = Registry(home).production()
    (home / "state" / str(release) / "users.db-wal").write_bytes(b"half a page")
    with pytest.raises(NextreelError, match=r"got .*users\.db-wal\. Hint: stop the servers"):
        sagemaker.archive(home, tmp_path / "model.tar.gz")


def test_a_container_keeps_states_and_log_where_they_are_named() -> None:
    key = "a-key-of-another-door"
    shared = sagemaker.container_settings(Settings(use_redis=True, log_url="sqlite:///tmp/log.db", api_keys=key))
    assert (shared.shared_url, shared.api_keys) == ("redis://localhost:6379/0", ())
    assert shared.log_url is not None
    assert shared.log_url.get_secret_value() == "sqlite:///tmp/log.db"
    assert sagemaker.container_settings(Settings()).shared_url == "memory://"
