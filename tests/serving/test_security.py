"""Without keys nobody outside is answered; with keys nobody without one that has the scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from nextreel import keys
from nextreel.keys import Scope
from nextreel.serving import security
from nextreel.serving.security import OPEN, UndeclaredRoute, UnsafeHost, declared, guarded, require_safe_host
from nextreel.settings import Settings

PLAIN = "first-key-of-twenty,second-key-of-twenty"
MADE = {scope: keys.new(scope, [scope]) for scope in keys.SCOPES}
ENTRIES = ",".join(kept.entry() for _, kept in MADE.values())


@pytest.fixture
def guarded_client(connect: Callable[..., TestClient]) -> TestClient:
    """A client of an app with a key of each scope, and a route for each of them."""
    client = connect(api_keys=f"{PLAIN},{ENTRIES}")
    add_probes(app_of(client))
    return client


def app_of(client: TestClient) -> FastAPI:
    assert isinstance(client.app, FastAPI)
    return client.app


def add_probes(app: FastAPI) -> None:
    for scope in keys.SCOPES:
        routes = guarded(scope, "probe")
        routes.add_api_route(f"/probe/{scope}", lambda: "in", name=f"probe_{scope}", description="Lets in.")
        app.include_router(routes)


def probed(client: TestClient, key: str | None) -> dict[Scope, int]:
    """The status of a route of each scope."""
    headers = {} if key is None else {"X-API-Key": key}
    return {scope: client.get(f"/probe/{scope}", headers=headers).status_code for scope in keys.SCOPES}


def test_every_route_is_open_or_says_its_scope(guarded_client: TestClient) -> None:
    app = app_of(guarded_client)
    found = declared(app)
    documented = guarded_client.get("/openapi.json").json()["paths"]
    assert {path.replace(":any", "") for path, _ in found} == set(documented) | {
        *("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
    }
    for path, needs in found:
        assert (needs in get_args(Scope)) != (path in OPEN), path
    scopes = dict(found)
    assert {scopes[path] for path in ("/recommend", "/trending", "/models", "/invocations")} == {"read"}
    assert scopes["/feedback"] == "write"


def test_every_route_but_the_open_ones_needs_a_key(guarded_client: TestClient) -> None:
    paths = guarded_client.get("/openapi.json").json()["paths"]
    asked = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(asked) >= 13
    for method, path in asked:
        for content in (b"", b"{", b'{"user_id": 1}'):  # before anything of the body is read
            answer = guarded_client.request(method, path, content=content, headers={"content-type": "application/json"})
            assert (answer.status_code == 401) == (path not in OPEN), path


def test_an_app_with_a_route_that_says_no_scope_does_not_start() -> None:
    app = FastAPI()
    routes = APIRouter()
    routes.add_api_route("/forgotten", lambda: "in")
    app.include_router(routes)
    with pytest.raises(UndeclaredRoute, match=r"got none from /forgotten\. Hint"):
        security.install(app, Settings.model_validate({}))


@pytest.mark.parametrize("key", PLAIN.split(","))
def test_a_key_that_stands_in_the_setting_reads_and_writes(guarded_client: TestClient, key: str) -> None:
    assert probed(guarded_client, key) == {"read": 200, "write": 200, "admin": 403}


@pytest.mark.parametrize("scope", keys.SCOPES)
def test_a_key_opens_what_its_scope_says_and_nothing_else(guarded_client: TestClient, scope: Scope) -> None:
    key, _ = MADE[scope]
    assert probed(guarded_client, key) == {one: 200 if one == scope else 403 for one in keys.SCOPES}
    refused = guarded_client.get("/probe/read" if scope != "read" else "/probe/write", headers={"X-API-Key": key})
    assert refused.headers["content-type"] == "application/problem+json"
    assert f"got one with {scope}." in refused.json()["detail"]


@pytest.mark.parametrize(
    "key",
    [
        *("", "first-key-of-twent", "first-key-of-twenty ,", PLAIN, "FIRST-KEY-OF-TWENTY", "é" * 20),
        *(MADE["read"][1].entry(), MADE["read"][1].digest.hex(), "read"),
    ],
    ids=["none", "shorter", "longer", "plain", "capitals", "not ASCII", "entry", "digest", "name"],  # some are random
)
def test_nothing_else_opens_and_no_key_is_repeated(guarded_client: TestClient, key: str) -> None:
    answer = guarded_client.get("/trending", headers={b"X-API-Key": key.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "ApiKey"
    assert "key-of-twent" not in answer.text.lower()
    assert "sha256" not in answer.text


def test_without_keys_this_machine_reads_and_writes_and_changes_things_only_where_it_was_told_so(
    connect: Callable[..., TestClient],
) -> None:
    for settings, admin in ({}, 403), ({"admin_on_loopback": True}, 200):
        client = connect(**settings)
        add_probes(app_of(client))
        assert probed(client, None) == {"read": 200, "write": 200, "admin": admin}


def test_with_keys_nobody_is_let_in_for_being_on_this_machine(connect: Callable[..., TestClient]) -> None:
    client = connect(api_keys=ENTRIES, admin_on_loopback=True)
    add_probes(app_of(client))
    assert set(probed(client, None).values()) == {401}


def test_the_documentation_tells_the_key_the_scope_and_both_refusals(guarded_client: TestClient) -> None:
    document: dict[str, Any] = guarded_client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "X-API-Key"
    feedback = document["paths"]["/feedback"]["post"]
    assert feedback["security"] == [{"APIKeyHeader": ["write"]}]
    for status in ("401", "403", "429"):
        (content,) = feedback["responses"][status]["content"].values()
        assert content["schema"] == {"$ref": "#/components/schemas/ProblemOut"}
    assert "security" not in document["paths"]["/health"]["get"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    require_safe_host(host, Settings.model_validate({}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "127.0.0.1.example.org"])  # noqa: S104  refused
def test_any_other_host_needs_one(host: str) -> None:
    with pytest.raises(UnsafeHost, match=r"no API keys are configured.*Hint: set API_KEYS"):
        require_safe_host(host, Settings.model_validate({}))
    require_safe_host(host, Settings.model_validate({"api_keys": PLAIN}))
