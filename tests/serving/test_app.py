"""Every endpoint over a system whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote

import anyio
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextreel.data.schemas import KIND_NAMES
from nextreel.serving.incoming import EventType
from nextreel.telemetry import configure_logging
from nextreel.types import Kind

if TYPE_CHECKING:
    from tests.serving.conftest import FakeSystem


def problem(response: Any, status: int) -> dict[str, Any]:
    """The problem document of an answer that must be one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail", "instance"} <= document.keys()
    return document


def test_a_slate_has_every_promised_field(client: TestClient) -> None:
    response = client.get("/recommendations/1?n=3", headers={"X-Request-ID": "my-id"})
    body = response.json()
    assert response.status_code == 200
    assert body["recommendations"][1] == {
        "video_id": 101,
        "title": "Film 1 «é»",
        "score": -1.0,
        "category": "Sport",
        "source": "popular",
        "promoted": False,
        "reason": "many people watch it",
    }
    assert body["recommendations"][2]["category"] is None
    assert [item["video_id"] for item in body["recommendations"]] == [100, 101, 102]
    assert body["latency_ms"] == {"retrieve": 0.5, "rank": 0.25}
    assert body["total_latency_ms"] > 0
    del body["recommendations"], body["latency_ms"], body["total_latency_ms"]
    assert body == {
        "user_id": 1,
        "cursor": None,
        "request_id": "my-id",
        "model_version": "release-1",
        "experiment_variant": None,
        "level": "full",
    }


def test_an_unknown_user_gets_a_cold_start_list(client: TestClient) -> None:
    for user_id in ("999", "nobody", "a%2Fb".replace("%2F", ".")):
        body = client.get(f"/recommendations/{user_id}").json()
        assert len(body["recommendations"]) == 10
    assert body["user_id"] == "a.b"


@pytest.mark.parametrize("path", ["/recommendations", "/recommend"])
def test_a_posted_request_reaches_the_system_whole(client: TestClient, system: FakeSystem, path: str) -> None:
    body = {
        "user_id": "1",
        "num_recommendations": 4,
        "session_id": "s",
        "context": {"device": "tv", "country": "NL"},
        "filters": {"categories": ["Drama"], "languages": ["nl"], "max_maturity": 12, "max_age_days": 7},
        "exclude": [100, "101", "elsewhere"],
    }
    answer = client.post(path, json=body).json()
    asked = system.asked[-1]
    assert [item["video_id"] for item in answer["recommendations"]] == [102, 103, 104, 105]
    assert (asked.user_id, asked.k, asked.session_id, asked.device, asked.country) == (1, 4, "s", "tv", "NL")
    assert (asked.categories, asked.languages, asked.max_maturity) == (("Drama",), ("nl",), 12)
    assert asked.max_age_days == 7
    assert (asked.exclude, asked.at, asked.request_id) == ((100, 101, "elsewhere"), 1_000_000.0, answer["request_id"])


@pytest.mark.parametrize("path", ["/recommendations/", "/similar/", "/explain/1/"])
@pytest.mark.parametrize("odd", ["a/b", "a\nb", "a\n", " ", "?", "é"])
def test_an_id_in_a_path_may_be_any_text(client: TestClient, path: str, odd: str) -> None:
    answer = client.get(path + quote(odd, safe=""))
    if path == "/recommendations/":
        assert answer.json()["user_id"] == odd
    else:
        assert problem(answer, 404)["detail"].startswith(f"Video {odd!r} is not in the catalogue")


@pytest.mark.parametrize("path", ["/recommendations/1", "/sessions/s/recommendations", "/similar/100", "/trending"])
def test_a_country_may_be_asked_for_by_get(client: TestClient, system: FakeSystem, path: str) -> None:
    assert client.get(f"{path}?country=DE").status_code == 200
    assert client.get(path).status_code == 200
    assert client.get(f"{path}?country=").status_code == 422
    assert [one.country for one in system.asked] == ["DE", None]


@pytest.mark.parametrize("path", ["/recommendations/1", "/sessions/s/recommendations"])
def test_a_cursor_goes_without_a_country(client: TestClient, path: str) -> None:
    refused = problem(client.get(f"{path}?cursor=list.1&country=DE"), 422)
    assert refused["detail"] == "Expected a cursor without country, which is as it was for the first page."


def test_an_anonymous_person_is_answered(client: TestClient) -> None:
    body = client.post("/recommend", json={}).json()
    assert body["user_id"] is None
    assert len(body["recommendations"]) == 10


@pytest.mark.parametrize("name", ["video_id", "item_id"])
def test_feedback_is_logged_and_the_next_answer_reflects_it(client: TestClient, system: FakeSystem, name: str) -> None:
    body = {"user_id": 1, name: "100", "event_type": "watch", "watch_seconds": 30, "value": 4.5, "position": 0}
    answer = client.post("/feedback", json=body)
    ((_, event),) = system.log.read(0)
    assert answer.status_code == 202
    assert answer.json()["status"] == "accepted"
    assert answer.json()["event_id"] == event.event_id
    assert (event.user_id, event.video_id, event.kind, event.at) == (1, 100, Kind.WATCH, 1_000_000.0)
    assert (event.watch_seconds, event.value, event.position) == (30.0, 4.5, 0)
    assert client.get("/recommendations/1?n=1").json()["recommendations"][0]["video_id"] == 101


def test_a_list_of_feedback_is_logged_as_one(client: TestClient, system: FakeSystem) -> None:
    body = [
        {"user_id": 1, "video_id": 100, "event_type": "click", "event_id": "a"},
        {"user_id": 2, "item_id": "101", "event_type": "like"},
        {"user_id": 1, "channel_id": "news", "event_type": "subscribe"},
    ]
    answer = client.post("/feedback", json=body)
    logged = [event for _, event in system.log.read(0)]
    assert answer.status_code == 202
    assert answer.json()["event_ids"] == [event.event_id for event in logged]
    assert [(event.user_id, event.kind) for event in logged] == [(1, Kind.CLICK), (2, Kind.LIKE), (1, Kind.SUBSCRIBE)]
    assert logged[0].event_id == "a"


@pytest.mark.parametrize(
    ("last", "status"), [({"video_id": 999}, 404), ({"video_id": 100, "channel_id": "news"}, 422), ({}, 422)]
)
def test_of_a_list_with_something_wrong_nothing_is_taken(
    client: TestClient, system: FakeSystem, last: dict[str, object], status: int
) -> None:
    body = [
        {"user_id": 1, "video_id": 100, "event_type": "click"},
        {"user_id": 1, "event_type": "like"} | last,
    ]
    problem(client.post("/feedback", json=body), status)
    assert system.log.read(0) == []


def test_what_is_wrong_with_feedback_is_told_by_field(client: TestClient) -> None:
    right = {"user_id": 1, "video_id": 100, "event_type": "click"}
    wrong = right | {"event_type": "sigh"}
    alone = problem(client.post("/feedback", json=wrong), 422)["errors"]
    among = problem(client.post("/feedback", json=[right, wrong]), 422)["errors"]
    assert [one["field"] for one in alone] == ["body.event.event_type"]
    assert [one["field"] for one in among] == ["body.events.1.event_type"]


def test_a_list_of_feedback_has_a_length(client: TestClient) -> None:
    one = {"user_id": 1, "video_id": 100, "event_type": "click"}
    problem(client.post("/feedback", json=[]), 422)
    problem(client.post("/feedback", json=[one] * 501), 422)
    assert len(client.post("/feedback", json=[one] * 500).json()["event_ids"]) == 500


def test_a_new_user_becomes_known_by_feedback(client: TestClient) -> None:
    assert client.post("/invocations", json={"user_id": "new"}).status_code == 404
    client.post("/feedback", json={"user_id": "new", "video_id": 100, "event_type": "like"})
    assert client.post("/invocations", json={"user_id": "new"}).json()["recommendations"][0]["videoId"] == 101


def test_a_repeated_event_id_is_logged_once(client: TestClient, system: FakeSystem) -> None:
    body = {"user_id": 1, "video_id": 100, "event_type": "click", "event_id": "mine"}
    answers = [client.post("/feedback", json=body).json()["event_id"] for _ in range(2)]
    assert answers == ["mine", "mine"]
    assert len(system.log.read(0)) == 1


@pytest.mark.parametrize(("sent", "kept"), [("news", "news"), ("7", 7), (7, 7)])
def test_channels_can_be_subscribed_to(
    client: TestClient, system: FakeSystem, sent: int | str, kept: int | str
) -> None:
    answer = client.post("/feedback", json={"user_id": 1, "channel_id": sent, "event_type": "subscribe"})
    ((_, event),) = system.log.read(0)
    assert answer.status_code == 202
    assert (event.kind, event.channel_id, event.video_id) == (Kind.SUBSCRIBE, kept, None)


def test_feedback_about_nothing_known_is_refused_and_not_logged(client: TestClient, system: FakeSystem) -> None:
    answer = client.post("/feedback", json={"user_id": 1, "video_id": 5, "event_type": "like"})
    assert problem(answer, 404)["detail"] == "Video '5' is not in the catalogue of release release-1."
    answer = client.post("/feedback", json={"user_id": 1, "channel_id": "x", "event_type": "block"})
    assert "Channel 'x'" in problem(answer, 404)["detail"]
    assert system.log.read(0) == []


def test_every_kind_of_event_has_a_name_here() -> None:
    assert list(get_args(EventType)) == list(KIND_NAMES)


def test_similar_videos_and_trending_ones(client: TestClient) -> None:
    body = client.get("/similar/100?n=2").json()
    assert body["videos"] == [
        {"video_id": 101, "title": "Film 1 «é»", "score": 0.5, "category": "Sport"},
        {"video_id": 102, "title": "Film 2 «é»", "score": 0.5, "category": None},
    ]
    assert body["model_version"] == "release-1"
    assert "Video '7'" in problem(client.get("/similar/7"), 404)["detail"]
    assert [video["video_id"] for video in client.get("/trending?n=3").json()["videos"]] == [100, 101, 102]


def test_sagemaker_contract(client: TestClient, system: FakeSystem) -> None:
    assert client.get("/ping").json() == {"status": "ok"}
    body = client.post("/invocations", json={"user_id": 1, "k": 2}).json()
    assert body == {"userId": 1, "recommendations": [{"videoId": 100, "score": 0.0}, {"videoId": 101, "score": -1.0}]}
    assert len(client.post("/invocations", json={"user_id": 1}).json()["recommendations"]) == 5
    unknown = client.post("/invocations", json={"user_id": "u999"})
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "User 'u999' not found"})
    system.seen[1] = set(system.catalogue.row_of)
    assert client.post("/invocations", json={"user_id": 1}).status_code == 404


def test_health_is_that_of_the_worst_part(client: TestClient, system: FakeSystem) -> None:
    def statuses() -> list[Any]:
        return [client.get(path).status_code for path in ("/health", "/health/live", "/health/ready", "/ping")]

    body = client.get("/health").json()
    assert body["status"] == "healthy"
    assert body["checks"] == [
        {"name": "release", "status": "healthy", "latency_ms": 0.0},
        {"name": "state", "status": "healthy", "latency_ms": 0.1},
    ]
    assert body["version"]
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    assert statuses() == [200, 200, 200, 200]
    system.checks.append(("log", "degraded", 2.0))
    assert client.get("/health").json()["status"] == "degraded"
    assert statuses() == [200, 200, 200, 200]
    system.checks.append(("store", "unhealthy", 2.0))
    assert statuses() == [503, 200, 503, 200]


def test_metrics_are_histograms_by_route_template(client: TestClient) -> None:
    client.get("/recommendations/1")
    client.get("/recommendations/2")
    client.get("/nowhere/3")
    text = client.get("/metrics").text
    assert (
        'nextreel_request_seconds_bucket{le="0.5",method="GET",route="/recommendations/{user_id}",status="200"}' in text
    )
    assert 'route="unmatched",status="404"' in text
    assert 'nextreel_stage_seconds_count{stage="retrieve"}' in text
    assert 'nextreel_slates_total{level="full"}' in text
    assert "/recommendations/1" not in text
    assert "/nowhere" not in text


def test_models_are_the_registry(client: TestClient, system: FakeSystem, tmp_path: Path) -> None:
    assert client.get("/models").json() == {"serving": "release-1", "production": None, "models": []}
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "a").write_text("a")
    release = system.registry.publish(tmp_path / "built", metrics={"auc": 0.5}, lineage={}, created_at=1_795_262_400.0)
    system.registry.promote(release)
    assert client.get("/models").json() == {
        "serving": "release-1",
        "production": release,
        "models": [
            {
                "version": release,
                "created_at": "2026-11-21T12:00:00.000Z",
                "stage": "production",
                "metrics": {"auc": 0.5},
            }
        ],
    }


def test_the_documentation_is_served(client: TestClient) -> None:
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/recommendations/{user_id}", "/recommend", "/feedback", "/similar/{video_id}", "/invocations"} <= set(
        paths
    )
    answer = paths["/recommendations/{user_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/RecommendationsOut"}


WRONG: dict[str, tuple[str, Any, str]] = {
    "too many": ("/recommend", {"num_recommendations": 101}, "num_recommendations"),
    "none": ("/recommend", {"num_recommendations": 0}, "num_recommendations"),
    "an unknown field": ("/recommend", {"cursr": "x"}, "cursr"),
    "a truth for an id": ("/recommend", {"user_id": True}, "user_id"),
    "a number past 64 bits": ("/recommend", {"user_id": 2**63}, "user_id"),
    "a text past 64 bits": ("/recommend", {"user_id": str(2**63)}, "64 bits"),
    "a long id": ("/recommend", {"user_id": "x" * 257}, "user_id"),
    "an empty id": ("/recommend", {"user_id": ""}, "user_id"),
    "many excluded": ("/recommend", {"exclude": [1] * 1001}, "exclude"),
    "a list for a body": ("/recommend", [], "body"),
    "no event type": ("/feedback", {"user_id": 1, "video_id": 100}, "event_type"),
    "an odd event type": ("/feedback", {"user_id": 1, "video_id": 100, "event_type": "stare"}, "event_type"),
    "no subject": ("/feedback", {"user_id": 1, "event_type": "like"}, "one of video_id and item_id"),
    "two subjects": (
        "/feedback",
        {"user_id": 1, "event_type": "like", "video_id": 100, "item_id": 100},
        "one of video_id and item_id",
    ),
    "a video subscribed to": ("/feedback", {"user_id": 1, "event_type": "block", "video_id": 100}, "needs channel_id"),
    "negative time": (
        "/feedback",
        {"user_id": 1, "event_type": "watch", "video_id": 100, "watch_seconds": -1},
        "watch_seconds",
    ),
    "endless time": (
        "/feedback",
        {"user_id": 1, "event_type": "watch", "video_id": 100, "watch_seconds": 1e300},
        "watch_seconds",
    ),
    "a value past all bounds": (
        "/feedback",
        {"user_id": 1, "event_type": "watch", "video_id": 100, "value": -1e39},
        "value",
    ),
    "a place past 64 bits": (
        "/feedback",
        {"user_id": 1, "event_type": "click", "video_id": 100, "position": 10**30},
        "position",
    ),
    "a truth for a number": ("/recommend", {"filters": {"max_maturity": True}}, "max_maturity"),
    "a text for a number": ("/recommend", {"num_recommendations": "3"}, "num_recommendations"),
    "a place past all lists": (
        "/feedback",
        {"user_id": 1, "event_type": "click", "video_id": 100, "position": 1_000_001},
        "position",
    ),
    "no user": ("/invocations", {"k": 5}, "user_id"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_field_is_named(client: TestClient, case: str) -> None:
    path, body, named = WRONG[case]
    assert named in problem(client.post(path, json=body), 422)["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"user_id": 1, "video_id": 100, "event_type": "like", "value": NaN}',
        b'{"user_id": "\\ud800", "video_id": 100, "event_type": "like"}',
        b"{",
        b"",
        b"\xff\xfe",
        b"[" * 20_000,
    ],
)
def test_what_is_not_honest_json_is_refused(client: TestClient, system: FakeSystem, body: bytes) -> None:
    answer = client.post("/feedback", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    problem(answer, answer.status_code)
    assert system.log.read(0) == []


@pytest.mark.parametrize("n", ["0", "101", "-1", "ten", "1.5", "", "9" * 30])
def test_n_is_between_1_and_100(client: TestClient, n: str) -> None:
    for path in ("/recommendations/1", "/similar/100", "/trending"):
        assert "query.n" in problem(client.get(f"{path}?n={n}"), 422)["detail"]


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    assert problem(client.get("/nowhere"), 404)["title"] == "Not Found"
    assert problem(client.delete("/recommend"), 405)["instance"] == "/recommend"


def test_a_body_is_limited_by_the_bytes_that_come(client: TestClient, system: FakeSystem) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(1001):
            yield b" " * 1000

    headers = {"content-type": "application/json"}
    for content in (b" " * 1_000_001, chunks()):
        answer = client.post("/feedback", content=content, headers=headers)
        assert "1000000" in problem(answer, 413)["detail"]
    assert system.log.read(0) == []
    body = b'{"user_id": 1, "video_id": 100, "event_type": "like"}'
    assert client.post("/feedback", content=body.ljust(1_000_000), headers=headers).status_code == 202


@pytest.mark.parametrize(
    ("said", "read"), [(b"2001", 0), (b"18", 2001), (b"-1", 2001), (b"9" * 25, 2001), (b"x", 2001), (None, 2001)]
)
def test_no_more_of_a_long_body_is_read_than_shows_that_it_is_long(
    connect: Callable[..., TestClient], said: bytes | None, read: int
) -> None:
    app = connect(max_body_bytes=2000).app
    sent: list[Any] = []
    pieces = 0

    async def receive() -> dict[str, Any]:
        nonlocal pieces
        pieces += 1
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")] + ([] if said is None else [(b"content-length", said)])
    scope = {"type": "http", "method": "POST", "path": "/feedback", "query_string": b"", "headers": headers}
    anyio.run(app, scope, receive, send)
    assert sent[0]["status"] == 413
    assert pieces == read


def test_a_request_id_is_kept_when_it_is_harmless_and_made_otherwise(client: TestClient) -> None:
    assert client.get("/ping", headers={"X-Request-ID": "abc-1.2:3_4"}).headers["x-request-id"] == "abc-1.2:3_4"
    made = {client.get("/ping", headers=h).headers["x-request-id"] for h in ({}, {"X-Request-ID": 'x" y'}, {})}
    assert len(made) == 3
    assert all(len(number) == 32 for number in made)
    assert len(client.get("/ping", headers={"X-Request-ID": "x" * 129}).headers["x-request-id"]) == 32


@pytest.mark.usefixtures("logging_restored")
def test_an_error_inside_is_answered_without_its_details_and_logged_with_them(
    client: TestClient, system: FakeSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO", "json")
    system.error = RuntimeError("the disk is on fire")
    answer = client.get("/recommendations/1")
    document = problem(answer, 500)
    assert "fire" not in answer.text
    assert document["request_id"] in document["detail"]
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (record,) = [record for record in records if record["level"] == "error"]
    assert (record["event"], record["request_id"]) == ("request failed", document["request_id"])
    assert record["exception"][0]["exc_value"] == "the disk is on fire"
    assert 'route="/recommendations/{user_id}",status="500"' in client.get("/metrics").text


def test_no_other_origin_is_allowed(client: TestClient) -> None:
    answer = client.get("/recommendations/1", headers={"Origin": "https://example.org"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_system_is_closed_with_the_app(connect: Callable[..., TestClient], system: FakeSystem) -> None:
    client = connect()
    assert not system.closed
    client.__exit__(None, None, None)
    client.__enter__()
    assert system.closed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from([
    *("user_id", "video_id", "item_id", "channel_id", "event_type", "value", "watch_seconds", "position", "event_id"),
    *("num_recommendations", "context", "filters", "exclude", "k"),
])  # fmt: skip
bodies = st.dictionaries(fields, json_values | st.sampled_from([1, 100, "like", "watch"]), max_size=6) | json_values


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, path=st.sampled_from(["/recommend", "/feedback", "/invocations"]))
def test_no_body_brings_the_server_down(client: TestClient, body: Any, path: str) -> None:
    answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code in {200, 202, 404, 422}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user_id=st.text(min_size=1, max_size=20))
def test_no_path_brings_the_server_down(client: TestClient, user_id: str) -> None:
    try:
        quoted = "".join(f"%{byte:02X}" for byte in user_id.encode())
    except UnicodeEncodeError:
        return
    assert client.get(f"/recommendations/{quoted}").status_code in {200, 404, 422}


def test_an_id_with_slashes_is_answered(client: TestClient) -> None:
    for user_id in ("%2F", "a%2Fb", "a/b"):
        answer = client.get(f"/recommendations/{user_id}")
        assert answer.status_code == 200
        assert len(answer.json()["recommendations"]) == 10
