"""Videos that come and go over HTTP, with a trained release behind the routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from nextreel.opening import open_system
from nextreel.serving.app import create_app
from nextreel.serving.current import Serving
from nextreel.serving.incoming import MAX_UPLOADS
from nextreel.settings import Settings
from nextreel.system import System
from nextreel.uploads import Upload

WHOLE = {
    "video_id": "new",
    "channel_id": "a new channel",
    "title": "Rye bread",
    "description": "How to bake it",
    "category": "Baking",
    "child_categories": ["Cooking"],
    "language": "pt",
    "duration": 61.5,
    "tags": ["rye", "oven"],
    "published_at": "2025-01-01T01:00:00+01:00",
    "is_available": True,
    "maturity_rating": 12,
    "series": "bakes",
    "episode": 3,
    "regions": ["DE", "FR"],
    "available_from": 0,
    "available_until": "2099-12-31T00:00:00Z",
}


@pytest.fixture
def real(home: Path) -> System:
    return open_system(home, clock="end")


@pytest.fixture
def server(real: System) -> Iterator[TestClient]:
    with TestClient(create_app(Serving(real), Settings(api_keys=(), admin_on_loopback=True))) as client:
        yield client


def shown(server: TestClient) -> dict[str, dict[str, Any]]:
    """Every video that a stranger may be shown, by id."""
    found: dict[str, dict[str, Any]] = {}
    body: dict[str, Any] = {"num_recommendations": 100, "context": {"country": "DE"}}
    answer = server.post("/recommendations", json=body | {"exclude": list(found)}).json()
    while answer["recommendations"]:
        found |= {one["video_id"]: one for one in answer["recommendations"]}
        answer = server.post("/recommendations", json=body | {"exclude": list(found)}).json()
    return found


def test_a_whole_record_is_taken_and_shown(server: TestClient, real: System) -> None:
    answer = server.post("/videos", json=WHOLE)
    assert answer.status_code == 201
    assert answer.json()["videos"] == [{"video_id": "new", "new": True}]
    one = shown(server)["new"]
    assert (one["title"], one["category"]) == ("Rye bread", "Baking")
    catalogue, row = real.catalogue, real.catalogue.row_of["new"]
    assert catalogue.published_at[row] == 1_735_689_600.0
    assert catalogue.channel_ids[catalogue.channel[row]] == "a new channel"
    assert (catalogue.series_ids[catalogue.series[row]], catalogue.episode[row]) == ("bakes", 3)
    elsewhere = {"num_recommendations": 100, "context": {"country": "PT"}}
    assert '"new"' not in server.post("/recommendations", json=elsewhere).text
    assert (catalogue.maturity[row], catalogue.duration[row], catalogue.tags[row]) == (12, 61.5, ["rye", "oven"])


def test_a_record_that_is_sent_again_replaces_the_first(server: TestClient, real: System) -> None:
    assert server.post("/videos", json=WHOLE).status_code == 201
    again = server.post("/videos", json=[WHOLE | {"title": "Wheat bread"}])
    assert (again.status_code, again.json()["videos"]) == (200, [{"video_id": "new", "new": False}])
    assert shown(server)["new"]["title"] == "Wheat bread"
    assert len(real.catalogue) == 121


def test_of_a_list_all_is_taken_or_nothing(server: TestClient, real: System) -> None:
    answer = server.post("/videos", json=[{"video_id": "one"}, {"video_id": "two"}, {"video_id": "v1"}])
    assert answer.status_code == 201
    assert [one["new"] for one in answer.json()["videos"]] == [True, True, False]
    wrong = server.post("/videos", json=[{"video_id": "three"}, {"video_id": "four", "duration": -1}])
    assert wrong.status_code == 422
    twice = server.post("/videos", json=[{"video_id": "three"}, {"video_id": "three"}])
    assert (twice.status_code, "each video once" in twice.json()["detail"]) == (422, True)
    assert not {"three", "four"} & real.catalogue.row_of.keys()
    assert real.catalogue.changes == 1


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("video_id", None, "integer"),
        ("published_at", "yesterday", "2026-01-31T18:00:00Z"),
        ("published_at", "2026-01-01T00:00:00", "with its zone"),
        ("published_at", 1e12, "less than or equal"),
        ("maturity_rating", 99, "21"),
        ("duration", "long", "number"),
        ("tags", "rye", "tuple"),
        ("view_count", 7, "not permitted"),
    ],
)
def test_a_wrong_field_is_named(server: TestClient, field: str, value: object, said: str) -> None:
    answer = server.post("/videos", json=WHOLE | {field: value})
    assert answer.status_code == 422
    assert field in str(answer.json()["errors"])
    assert said in str(answer.json()["errors"])


def test_a_list_may_be_so_long_and_no_longer(server: TestClient, real: System) -> None:
    many = [{"video_id": f"new-{number}"} for number in range(MAX_UPLOADS)]
    assert server.post("/videos", json=[*many, {"video_id": "one more"}]).status_code == 422
    assert server.post("/videos", json=[]).status_code == 422
    assert server.post("/videos", json=many).status_code == 201
    assert len(real.catalogue) == 120 + MAX_UPLOADS


def test_a_deleted_video_is_in_no_list_and_can_come_back(server: TestClient) -> None:
    assert "v1" in shown(server)
    answer = server.delete("/videos/v1")
    assert (answer.status_code, answer.json()["status"], answer.json()["video_id"]) == (200, "withdrawn", "v1")
    assert "v1" not in shown(server)
    assert server.delete("/videos/v1").status_code == 200
    assert server.post("/videos", json={"video_id": "v1"}).status_code == 200
    assert "v1" in shown(server)


def test_an_unknown_video_cannot_be_deleted(server: TestClient) -> None:
    assert server.delete("/videos/nothing").status_code == 404


def test_feedback_on_a_new_video_is_taken(server: TestClient, real: System) -> None:
    server.post("/videos", json=WHOLE | {"regions": []})
    sent = server.post("/feedback", json={"user_id": "person-7", "video_id": "new", "event_type": "like"})
    assert sent.status_code == 202
    assert real.store.counters.likes[-1] == 1
    assert server.get("/similar/new").status_code == 200
    assert server.get("/explain/person-8/new").json()["outcome"] != "removed"


def test_a_key_that_may_only_write_feedback_changes_no_video(real: System) -> None:
    with TestClient(create_app(Serving(real), Settings(api_keys=()))) as client:
        assert client.post("/videos", json=WHOLE).status_code == 403
        assert client.delete("/videos/v1").status_code == 403
    assert real.catalogue.changes == 0


def test_what_another_process_was_told_a_moment_ago_can_be_spoken_of(
    server: TestClient, real: System, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextreel.system.FOLLOW_EVERY", 1e9)  # it has just looked, and takes its time
    real.follow()
    other = open_system(home, clock="end")
    other.upload([Upload(video_id="new-0", channel_id="one")])
    assert "new-0" not in real.catalogue.row_of
    event = {"user_id": "ann", "event_type": "like", "video_id": "new-0"}
    assert server.post("/feedback", json=event).status_code == 202
    assert real.store.user("ann").history.rows.tolist() == [real.catalogue.row_of["new-0"]]
    other.upload([Upload(video_id="new-1", channel_id="another")])
    other.close()
    assert "another" not in real.catalogue.channel_ids
    with_channel = {"user_id": "ann", "event_type": "subscribe", "channel_id": "another"}
    assert server.post("/feedback", json=with_channel).status_code == 202
    assert server.get("/similar/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/similar/{}", "/explain/ann/{}"])
def test_what_another_process_was_told_a_moment_ago_is_found(
    server: TestClient, real: System, home: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("nextreel.system.FOLLOW_EVERY", 1e9)
    real.follow()
    other = open_system(home, clock="end")
    other.upload([Upload(video_id="new")])
    other.close()
    assert "new" not in real.catalogue.row_of
    assert server.get(path.format("new")).status_code == 200
