"""Without keys nobody outside is answered; with keys nobody without one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from nextreel.serving.security import OPEN, UnsafeHost, require_safe_host
from nextreel.settings import Settings

KEYS = "first-key-of-twenty,second-key-of-twenty"


@pytest.fixture
def guarded(connect: Callable[..., TestClient]) -> TestClient:
    return connect(api_keys=KEYS)


def test_every_route_but_the_open_ones_needs_a_key(guarded: TestClient) -> None:
    paths = guarded.get("/openapi.json").json()["paths"]
    asked = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(asked) >= 13
    for method, path in asked:
        answer = guarded.request(method, path)
        assert (answer.status_code == 401) == (path not in OPEN), path


@pytest.mark.parametrize("key", KEYS.split(","))
def test_any_of_the_keys_opens(guarded: TestClient, key: str) -> None:
    assert guarded.get("/recommendations/1", headers={"X-API-Key": key}).status_code == 200


@pytest.mark.parametrize(
    "key", ["", "first-key-of-twent", "first-key-of-twenty ,", KEYS, "FIRST-KEY-OF-TWENTY", "é" * 20]
)
def test_nothing_else_opens_and_no_key_is_repeated(guarded: TestClient, key: str) -> None:
    answer = guarded.get("/trending", headers={b"X-API-Key": key.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "ApiKey"
    assert "key-of-twent" not in answer.text.lower()


def test_the_key_is_part_of_the_documentation(guarded: TestClient) -> None:
    schemes = guarded.get("/openapi.json").json()["components"]["securitySchemes"]
    assert schemes["APIKeyHeader"]["name"] == "X-API-Key"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    require_safe_host(host, Settings.model_validate({}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "127.0.0.1.example.org"])  # noqa: S104  refused
def test_any_other_host_needs_one(host: str) -> None:
    with pytest.raises(UnsafeHost, match=r"no API keys are configured.*Hint: set API_KEYS"):
        require_safe_host(host, Settings.model_validate({}))
    require_safe_host(host, Settings.model_validate({"api_keys": KEYS}))
