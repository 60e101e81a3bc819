"""The handler answers events for real: the runtime client of Lambda in a process, against a small Runtime API."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime import KEY, RuntimeApi, function, http_api, rest_api
from nextreel.backends import open_log
from nextreel.serving import lambda_handler
from nextreel.serving.security import UnsafeHost
from nextreel.settings import get_settings

EVENTS = [http_api, rest_api]


@contextmanager
def running(
    home: Path, folder: Path, *around: str, **settings: str
) -> Iterator[tuple[RuntimeApi, subprocess.Popen[bytes]]]:
    """A process that serves the home, whose state and log are in the folder."""
    elsewhere = {"STATE_URL": f"sqlite://{folder}/shared.db", "LOG_URL": f"sqlite://{folder}/log.db"}
    environment = {"NEXTREEL_HOME": str(home), "API_KEYS": KEY} | elsewhere | settings
    with RuntimeApi() as api, (folder / "stderr").open("wb") as stderr:
        process = function(api, environment, around, cwd=folder, stdout=stderr, stderr=stderr)
        try:
            yield api, process
        finally:
            process.kill()
            process.wait(10)


@pytest.fixture(scope="module")
def home(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("function") / "home"))


@pytest.fixture(scope="module")
def api(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeApi]:
    """The Runtime API of one process that all tests of answers share."""
    with running(home, tmp_path_factory.mktemp("running")) as (api, _):
        yield api


def document(answer: Any) -> Any:
    return json.loads(answer["body"])


def like(api: RuntimeApi) -> Any:
    """The event of somebody who likes a video of their list."""
    listed = document(api.invoke(http_api("GET", "/recommendations/person-1", "n=1")))["recommendations"]
    sent = {"user_id": "person-1", "video_id": listed[0]["video_id"], "event_type": "like"}
    return http_api("POST", "/feedback", body=json.dumps(sent))


@pytest.mark.parametrize("event", EVENTS)
def test_recommendations_come_in_the_shape_of_the_payload(api: RuntimeApi, event: Callable[..., Any]) -> None:
    query: Any = "n=3" if event is http_api else {"n": ["3"]}
    answer = api.invoke(event("GET", "/recommendations/person-1", query))
    assert answer["statusCode"] == 200
    assert len(document(answer)["recommendations"]) == 3
    assert document(answer)["level"] == "full"
    of_payload_1 = {"multiValueHeaders"} if event is rest_api else set()
    assert set(answer) == {"statusCode", "headers", "body", "isBase64Encoded"} | of_payload_1
    assert answer["isBase64Encoded"] is False
    assert answer["headers"]["content-type"] == "application/json"
    assert answer["headers"]["x-request-id"]


@pytest.mark.parametrize("event", EVENTS)
def test_a_user_id_with_slashes_and_percent_signs_arrives_whole(api: RuntimeApi, event: Callable[..., Any]) -> None:
    path = "/recommendations/a/b%25 c" if event is http_api else "/recommendations/a%2Fb%2525%20c"
    assert document(api.invoke(event("GET", path)))["user_id"] == "a/b%25 c"


@pytest.mark.parametrize("event", EVENTS)
def test_feedback_in_base64_counts_in_the_next_list(api: RuntimeApi, event: Callable[..., Any]) -> None:
    person = f"newcomer-{event.__name__}"
    before = document(api.invoke(event("GET", f"/recommendations/{person}")))["recommendations"]
    seen = before[0]["video_id"]
    sent = json.dumps({"user_id": person, "video_id": seen, "event_type": "watch"}).encode()
    body = base64.b64encode(sent).decode()
    assert api.invoke(event("POST", "/feedback", body=body, isBase64Encoded=True))["statusCode"] == 202
    after = document(api.invoke(event("GET", f"/recommendations/{person}")))["recommendations"]
    assert seen not in {one["video_id"] for one in after}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("PUT", "/trending", None, 405),
        ("GET", "/similar/no-such-video", None, 404),
        ("POST", "/recommend", '{"user_id": []}', 422),
        ("POST", "/recommend", '{"user_id": 1', 422),
        ("POST", "/recommend", " " * 1_000_001, 413),
    ],
)
def test_what_cannot_be_answered_is_a_problem_document(
    api: RuntimeApi, event: Callable[..., Any], method: str, path: str, body: str | None, status: int
) -> None:
    answer = api.invoke(event(method, path, body=body))
    assert (answer["statusCode"], document(answer)["status"]) == (status, status)
    assert answer["headers"]["content-type"] == "application/problem+json"


@pytest.mark.parametrize("event", EVENTS)
def test_nobody_without_a_key_is_answered(api: RuntimeApi, event: Callable[..., Any]) -> None:
    stranger = event("GET", "/trending", headers={}, multiValueHeaders={})
    assert api.invoke(stranger)["statusCode"] == 401
    assert api.invoke(event("GET", "/ping", headers={}, multiValueHeaders={}))["statusCode"] == 200


@pytest.mark.parametrize("event", [{}, [], None, 7, {"source": "aws.events"}, {"version": "2.0", "requestContext": {}}])
def test_an_event_that_is_no_request_is_told_so(api: RuntimeApi, event: Any) -> None:
    answer = api.invoke(event)
    assert answer["statusCode"] == 400
    assert "Expected an event of API Gateway" in document(answer)["detail"]


def test_a_home_that_can_only_be_read_serves_and_takes_feedback(
    trained: Path, tmp_path: Path, can_only_read: Callable[[Path], tuple[str, ...]]
) -> None:
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    around = can_only_read(home)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    with running(home, elsewhere, *around) as (api, _):
        assert document(api.invoke(http_api("GET", "/recommendations/person-1")))["level"] == "full"
        assert api.invoke(like(api))["statusCode"] == 202
        assert api.invoke(http_api("GET", "/health"))["statusCode"] == 200


def test_without_another_place_for_the_log_the_problem_is_told_in_the_record(
    trained: Path, tmp_path: Path, can_only_read: Callable[[Path], tuple[str, ...]]
) -> None:
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    (home / "log.db").unlink(missing_ok=True)
    around = can_only_read(home)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    with running(home, elsewhere, *around, LOG_URL="") as (api, _):
        answer = api.invoke(rest_api("GET", "/ping"))
    assert (answer["statusCode"], document(answer)["title"]) == (500, "Internal Server Error")
    assert "name another place by LOG_URL" in (elsewhere / "stderr").read_text()


@pytest.mark.parametrize("event", EVENTS)
def test_a_release_that_is_not_there_yet_is_opened_by_a_later_event(
    trained: Path, tmp_path: Path, event: Callable[..., Any]
) -> None:
    with running(tmp_path / "home", tmp_path) as (api, process):
        answer = api.invoke(event("GET", "/ping"))
        assert (answer["statusCode"], document(answer)["status"]) == (500, 500)
        assert "request-1" in document(answer)["detail"]
        shutil.copytree(trained, tmp_path / "home")
        assert api.invoke(event("GET", "/ping"))["statusCode"] == 200
        assert process.poll() is None
    assert "No release in production" in (tmp_path / "stderr").read_text()


def test_a_failure_of_the_system_is_a_problem_document_and_the_process_lives_on(
    trained: Path, tmp_path: Path, can_only_read: Callable[[Path], tuple[str, ...]]
) -> None:
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    open_log(f"sqlite://{home}/log.db").close()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    with running(home, elsewhere, *can_only_read(home), LOG_URL="") as (api, process):
        answer = api.invoke(like(api))
        assert (answer["statusCode"], document(answer)["status"]) == (500, 500)
        assert answer["headers"]["content-type"] == "application/problem+json"
        assert api.invoke(http_api("GET", "/trending"))["statusCode"] == 200
        assert process.poll() is None
    assert "to write in" in (elsewhere / "stderr").read_text()


def test_wrong_settings_are_named_and_no_key_of_a_caller_is(home: Path, tmp_path: Path) -> None:
    with running(home, tmp_path, LOG_LEVEL="LOUD") as (api, _):
        assert api.invoke(rest_api("GET", "/trending"))["statusCode"] == 500
        assert api.invoke(http_api("GET", "/trending"))["statusCode"] == 500
    said = (tmp_path / "stderr").read_text()
    assert "LOG_LEVEL: input should be" in said
    assert KEY not in said


@pytest.mark.parametrize("polling", ["AWS_Lambda_python3.11", "AWS_Lambda_python3.12"])  # by the main thread or not
def test_sigterm_closes_the_app_and_ends_the_process(home: Path, tmp_path: Path, polling: str) -> None:
    with running(home, tmp_path, AWS_EXECUTION_ENV=polling) as (api, process):
        assert api.invoke(like(api))["statusCode"] == 202
        assert (tmp_path / "log.db-wal").exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not (tmp_path / "log.db-wal").exists()  # the last connection has put all of it into the file


@pytest.mark.parametrize("settings", [{}, {"API_KEYS": KEY, "ADMIN_ON_LOOPBACK": "true"}])
def test_no_function_answers_strangers(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("API_KEYS", "ADMIN_ON_LOOPBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NEXTREEL_HOME", str(home))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    try:
        with pytest.raises(UnsafeHost, match="GATEWAY_AUTHENTICATES"):
            lambda_handler.require_keys(get_settings())
    finally:
        get_settings.cache_clear()


def test_behind_a_gateway_that_knows_who_calls_no_key_is_needed(home: Path, tmp_path: Path) -> None:
    with running(home, tmp_path, API_KEYS="", GATEWAY_AUTHENTICATES="true") as (api, _):
        assert api.invoke(http_api("GET", "/trending", headers={}))["statusCode"] == 200
