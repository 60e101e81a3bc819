"""No key that anybody sends, rightly or wrongly, gets into logs, metrics or answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from nextreel import keys
from nextreel.telemetry import configure_logging, get_logger

if TYPE_CHECKING:
    from tests.serving.conftest import FakeSystem

VALID, KEPT = keys.new("web", ["read", "write"])
PLAIN = "plain-Zq7-key-of-the-setting"
# Recognisable wherever one of them turns up: wrong keys, of our look and not.
WRONG, OTHER = keys.new("nobody", ["admin"])[0], "Xy9-some-other-secret-of-somebody"
SECRETS = (VALID, KEPT.digest.hex(), PLAIN, WRONG, OTHER)
JSON = {"content-type": "application/json"}
LIKE = {"user_id": 1, "video_id": 100, "event_type": "like"}


def attempts(secret: str) -> list[tuple[str, str, dict[str, str], bytes]]:
    """Requests with the secret wherever people put one: method, path, headers, body."""
    inside = json.dumps(LIKE | {"value": secret}).encode()
    header = {"X-API-Key": secret}
    return [
        ("GET", "/trending", header, b""),
        ("GET", "/nowhere", header, b""),
        ("PUT", "/trending", header, b""),
        ("GET", "/trending", {"Authorization": f"Bearer {secret}"}, b""),
        ("GET", "/trending", {"Cookie": f"key={secret}"}, b""),
        ("GET", f"/trending?api_key={secret}", {}, b""),
        ("GET", f"/trending?n={secret}", {"X-API-Key": VALID}, b""),
        ("GET", f"/nowhere?api_key={secret}", {}, b""),
        *(
            ("POST", "/feedback", JSON | key, body)
            for key in ({}, {"X-API-Key": VALID}, header)
            for body in (inside, inside[:-1], b'{"api_key": "' + secret.encode(), f'"{secret}"'.encode())
        ),
        ("POST", "/feedback", {"X-API-Key": VALID, "content-type": f"text/{secret}"}, inside),
        ("POST", "/feedback", JSON | {"X-API-Key": VALID}, json.dumps(LIKE | {"event_type": secret}).encode()),
        ("POST", "/recommend", JSON | {"X-API-Key": VALID}, json.dumps({"user_id": [secret]}).encode()),
        ("POST", "/recommend", JSON | {"X-API-Key": VALID}, json.dumps({"exclude": [{"id": secret}]}).encode()),
        ("POST", "/invocations", JSON | {"X-API-Key": VALID}, json.dumps({"user_id": 1, "k": secret}).encode()),
    ]


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("broken", [False, True])
def test_no_secret_that_is_sent_gets_out(
    connect: Callable[..., TestClient],
    system: FakeSystem,
    capsys: pytest.CaptureFixture[str],
    log_format: str,
    broken: bool,
) -> None:
    client = connect(api_keys=f"{PLAIN},{KEPT.entry()}")
    configure_logging("DEBUG", log_format)
    if broken:
        system.error = RuntimeError("the disk is on fire")
    seen = []
    for secret in (WRONG, OTHER, PLAIN, VALID):
        for method, path, headers, body in attempts(secret):
            answer = client.request(method, path, headers=headers, content=body)
            seen.append((answer.status_code, answer.text + repr(answer.headers)))
        seen.append(((ok := client.get("/recommendations/1", headers={"X-API-Key": VALID})).status_code, ok.text))
    get_logger("test").info("the end")
    captured = capsys.readouterr()
    ours = "\n".join(line for line in captured.err.splitlines() if "HTTP Request" not in line)  # the client's own
    assert {status for status, _ in seen} >= {401, 404, 405, 422, 500 if broken else 200}
    assert "the end" in ours
    assert ("the disk is on fire" in ours) == broken
    texts = {"logs": ours, "answers": "\n".join(text for _, text in seen), "metrics": client.get("/metrics").text}
    assert "nextreel_request_seconds_count" in texts["metrics"]
    found = {(where, secret) for where, text in texts.items() for secret in SECRETS if secret in text}
    assert not found


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_key_of_our_making_is_blotted_out_of_what_an_error_says(
    connect: Callable[..., TestClient], system: FakeSystem, capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    client = connect(api_keys=KEPT.entry())
    configure_logging("INFO", log_format)
    system.error = RuntimeError(f"no user {VALID} in the table")
    answer = client.get("/recommendations/1", headers={"X-API-Key": VALID})
    assert answer.status_code == 500
    assert VALID not in answer.text
    logged = capsys.readouterr().err
    assert "no user *** in the table" in logged
    assert VALID not in logged
    assert "web" in logged  # whose request it was


def test_no_setting_shows_a_key_or_its_digest(connect: Callable[..., TestClient]) -> None:
    client = connect(api_keys=f"{PLAIN},{KEPT.entry()}")
    assert KEPT.digest.hex() not in client.get("/openapi.json").text
    assert not any(secret in repr(keys.parse(f"{PLAIN},{KEPT.entry()}")) for secret in SECRETS)
