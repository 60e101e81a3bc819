"""Every endpoint over a trained release: what the routes promise holds with real models behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from nextreel.opening import open_system
from nextreel.ordering import Promotion
from nextreel.serving.app import create_app
from nextreel.serving.current import Serving
from nextreel.serving.incoming import MAX_POSITION, MAX_VALUE
from nextreel.serving.outgoing import ExperimentsOut, FeaturesOut, WhyOut
from nextreel.settings import Settings
from nextreel.system import System

SOMEONE = "person-7"


@pytest.fixture
def real(home: Path) -> System:
    return open_system(home, clock="end")


@pytest.fixture
def server(real: System) -> Iterator[TestClient]:
    with TestClient(create_app(Serving(real), Settings(api_keys=()))) as client:
        yield client


def ids(answer: Any, status: int = 200) -> list[str]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    return [one["video_id"] for one in body.get("recommendations", body.get("videos"))]


def test_a_slate_says_where_everything_in_it_comes_from(server: TestClient, real: System) -> None:
    body = server.get(f"/recommendations/{SOMEONE}?n=7").json()
    assert (body["user_id"], body["level"], body["model_version"]) == (SOMEONE, "full", real.release)
    assert len(body["recommendations"]) == 7
    for one in body["recommendations"]:
        row = real.catalogue.row_of[one["video_id"]]
        assert one["title"] == real.catalogue.titles[row]
        assert one["category"] == real.catalogue.category_names[real.catalogue.category[row]]
        assert one["reason"]
        assert one["source"] in {source.retriever.name for source in real.recommender.sources}


@pytest.mark.parametrize("path", ["/recommendations", "/recommend"])
def test_a_posted_request_gets_the_same_slate_with_its_filters(server: TestClient, real: System, path: str) -> None:
    plain = ids(server.get(f"/recommendations/{SOMEONE}"))
    assert ids(server.post(path, json={"user_id": SOMEONE})) == plain
    without = ids(server.post(path, json={"user_id": SOMEONE, "exclude": plain[:3], "num_recommendations": 5}))
    assert len(without) == 5
    assert not set(without) & set(plain[:3])
    category = real.catalogue.category_names[0]
    filtered = server.post(path, json={"user_id": SOMEONE, "filters": {"categories": [category]}}).json()
    rows = real.catalogue.rows([one["video_id"] for one in filtered["recommendations"]])
    assert len(rows) > 0
    assert (real.catalogue.categories[rows, 0] > 0).all()


@pytest.mark.parametrize("name", ["video_id", "item_id"])
def test_the_next_answer_reflects_feedback(server: TestClient, name: str) -> None:
    before = ids(server.get(f"/recommendations/{SOMEONE}"))
    sent = server.post("/feedback", json={"user_id": SOMEONE, name: before[0], "event_type": "like"})
    assert (sent.status_code, sent.json()["status"]) == (202, "accepted")
    after = ids(server.get(f"/recommendations/{SOMEONE}"))
    assert before[0] not in after
    assert len(after) == 10


def test_feedback_on_channels_is_accepted(server: TestClient, real: System) -> None:
    body = {"user_id": SOMEONE, "channel_id": real.catalogue.channel_ids[0], "event_type": "subscribe"}
    assert server.post("/feedback", json=body).status_code == 202


def test_feedback_on_an_unknown_video_is_refused_and_leaves_no_trace(server: TestClient, real: System) -> None:
    sent = server.post("/feedback", json={"user_id": SOMEONE, "video_id": "nothing", "event_type": "like"})
    assert sent.status_code == 404
    assert real.store.follow() == 0
    assert real._log.read(0) == []


def test_a_stranger_gets_a_cold_start_list_but_no_invocation(server: TestClient) -> None:
    assert len(set(ids(server.get("/recommendations/nobody")))) == 10
    missing = server.post("/invocations", json={"user_id": "nobody", "k": 5})
    assert (missing.status_code, missing.json()) == (404, {"detail": "User 'nobody' not found"})


def test_an_invocation_holds_the_slate_of_the_person(server: TestClient) -> None:
    body = server.post("/invocations", json={"user_id": SOMEONE, "k": 5}).json()
    assert body["userId"] == SOMEONE
    assert [one["videoId"] for one in body["recommendations"]] == ids(server.get(f"/recommendations/{SOMEONE}?n=5"))


def test_similar_and_trending_are_lists_of_videos(server: TestClient) -> None:
    assert len(set(ids(server.get("/trending?n=6")))) == 6
    assert "v1" not in ids(server.get("/similar/v1?n=6"))
    assert server.get("/similar/nothing").status_code == 404


def test_it_is_told_why_a_video_is_shown_and_why_another_is_not(server: TestClient, real: System) -> None:
    first = ids(server.get(f"/recommendations/{SOMEONE}?n=5"))[0]
    told = server.get(f"/explain/{SOMEONE}/{first}?n=5").json()
    WhyOut.model_validate(told, strict=True)
    assert (told["outcome"], told["place"], told["video"]["video_id"]) == ("shown", 1, first)
    assert told["told"].startswith("Shown at place 1 of 5: ")
    adds = [abs(one["adds"]) for one in told["contributions"]["relevance"]]
    assert adds == sorted(adds, reverse=True)
    watched = real.catalogue.video_ids[real.store.user(SOMEONE).history.rows[0]]
    other = server.get(f"/explain/{SOMEONE}/{watched}?n=5").json()
    WhyOut.model_validate(other, strict=True)
    assert (other["outcome"], other["place"], other["removed_by"]) == ("removed", None, ["not_watched"])
    assert other["video"]["score"] is None
    assert server.get(f"/explain/{SOMEONE}/nothing").status_code == 404


def test_operators_see_health_metrics_and_releases(server: TestClient, real: System) -> None:
    server.get(f"/recommendations/{SOMEONE}")
    health = server.get("/health").json()
    assert health["status"] == "healthy"
    assert {check["name"] for check in health["checks"]} == {"release", "state", "event_log", "value", "pipeline"}
    assert server.get("/health/live").status_code == server.get("/health/ready").status_code == 200
    assert server.get("/ping").status_code == 200
    assert "# TYPE" in server.get("/metrics").text
    models = server.get("/models").json()
    assert models["serving"] == models["production"] == real.release
    assert server.get("/docs").status_code == 200


def test_it_is_told_what_is_known_of_a_person(server: TestClient, real: System) -> None:
    before = server.get(f"/features/{SOMEONE}").json()
    FeaturesOut.model_validate(before, strict=True)
    values = {one["name"]: one["value"] for one in before["features"]}
    assert before["known"]
    assert before["state"]["events"] == len(real.store.user(SOMEONE).history)
    assert values["history_length"] == pytest.approx(np.log1p(before["state"]["events"]))
    assert {"age", "history_length"} <= set(values)
    assert "hour_sin" not in values
    video_id = ids(server.get(f"/recommendations/{SOMEONE}"))[0]
    server.post("/feedback", json={"user_id": SOMEONE, "video_id": video_id, "event_type": "like"})
    after = server.get(f"/features/{SOMEONE}").json()
    assert after["state"]["version"] == before["state"]["version"] + 1
    assert after["state"]["events"] == before["state"]["events"] + 1
    assert after["newest_event_at"] == after["newest_event_of_all_at"] > before["newest_event_of_all_at"]


def test_of_a_stranger_it_is_told_that_nothing_is_known(server: TestClient) -> None:
    body = server.get("/features/nobody").json()
    FeaturesOut.model_validate(body, strict=True)
    assert (body["known"], body["newest_event_at"], body["state"]["version"]) == (False, None, 0)
    assert {one["value"] for one in body["features"] if one["name"] == "age"} == {None}


def test_no_experiment_is_running(server: TestClient) -> None:
    body = server.get("/ab/status").json()
    ExperimentsOut.model_validate(body, strict=True)
    assert body == {"assignment": "off", "experiments": []}


def samples(server: TestClient) -> Callable[..., float]:
    """Reads what /metrics says now, 0 for what it does not know."""
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(server.get("/metrics").text)
        for sample in family.samples
    }
    return lambda name, **labels: found.get((f"nextreel_{name}", frozenset(labels.items())), 0.0)


def test_the_metrics_tell_what_became_of_requests_and_events(server: TestClient, real: System) -> None:
    before = samples(server)
    video_id = ids(server.get(f"/recommendations/{SOMEONE}"))[0]
    server.post("/recommendations", json={"user_id": SOMEONE, "exclude": [video_id]})
    server.post("/feedback", json={"user_id": SOMEONE, "video_id": video_id, "event_type": "like"})
    server.get(f"/explain/{SOMEONE}/{video_id}")
    server.get("/trending")
    server.get(f"/similar/{video_id}")
    server.get("/similar/nothing")
    server.get(f"/recommendations/{SOMEONE}?n=0")
    after = samples(server)

    def grown(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    for stage, times in (("retrieve", 2), ("rank", 2), ("append", 1), ("why", 1), ("trending", 1), ("similar", 1)):
        assert grown("stage_seconds_count", stage=stage) == times
    assert grown("stage_seconds_count", stage="follow") >= 1
    for status, route in (("404", "/similar/{video_id}"), ("422", "/recommendations/{user_id}")):
        assert grown("request_seconds_count", method="GET", route=route, status=status) == 1
    assert grown("slates_total", level="full") == 2
    assert grown("source_proposals_total", source="als") > 0
    assert grown("filter_removed_total", filter="not_excluded") == 1
    assert grown("events_total", kind="like") == grown("event_lag_seconds_count") == 1
    assert grown("event_lag_seconds_bucket", le="10.0") == 1
    assert after("newest_event_timestamp_seconds") == real.store.newest_at
    assert after("requests_in_flight") == 1  # the one that asks
    for cache in ("als", "ease", "states"):
        assert grown("cache_requests_total", cache=cache, outcome="hit") >= 1
        assert grown("cache_requests_total", cache=cache, outcome="miss") >= 1


def test_promoted_places_are_labelled_and_an_invocation_keeps_its_shape(server: TestClient, real: System) -> None:
    real.recommender = replace(real.recommender, orderers=())  # by value alone, whatever the length of the list
    organic = ids(server.get(f"/recommendations/{SOMEONE}?n=10"))
    seen = set(real.catalogue.video_ids[real.store.user(SOMEONE).history.rows].tolist())
    other = next(one for one in real.catalogue.row_of if one not in organic and one not in seen)
    rows = real.catalogue.rows([other, organic[0], *list(seen)[:1]])
    real.recommender = replace(real.recommender, promotion=Promotion(rows, fixed=(1, 4, 5)))
    body = server.get(f"/recommendations/{SOMEONE}?n=10").json()["recommendations"]
    assert {place for place, one in enumerate(body) if one["promoted"]} == {1, 4}  # one of three is watched already
    assert {one["video_id"] for one in body if one["promoted"]} == {other, organic[0]}
    assert all((one["source"] == "promoted") == one["promoted"] for one in body)
    assert len({one["video_id"] for one in body}) == 10
    assert [one["video_id"] for one in body if not one["promoted"]] == organic[1:9]
    item = server.post("/invocations", json={"user_id": SOMEONE, "k": 5}).json()["recommendations"][1]
    assert set(item) == {"videoId", "score"}


def test_the_largest_numbers_of_feedback_leave_all_sums_finite(server: TestClient, real: System) -> None:
    largest = {"value": MAX_VALUE, "watch_seconds": MAX_VALUE, "position": MAX_POSITION}
    for signed in (largest, largest | {"value": -MAX_VALUE}, largest):
        one = {"user_id": SOMEONE, "event_type": "watch", "video_id": "v1"} | signed
        assert server.post("/feedback", json=one).status_code == 202
    counters = real.store.counters
    assert np.isfinite(counters.value_sum).all()
    assert np.isfinite(counters.watch_seconds).all()
    assert server.get("/recommendations/person-8").json()["level"] == "full"


def test_a_paged_list_goes_on_by_get_and_by_post(server: TestClient, real: System) -> None:
    plain = server.get(f"/recommendations/{SOMEONE}").json()
    assert plain["cursor"] is None
    first = server.get(f"/recommendations/{SOMEONE}?n=6&paged=true")
    second = server.get(f"/recommendations/{SOMEONE}", params={"n": 6, "cursor": first.json()["cursor"]})
    third = server.post(
        "/recommend", json={"user_id": SOMEONE, "num_recommendations": 6, "cursor": second.json()["cursor"]}
    )
    shown = ids(first) + ids(second) + ids(third)
    assert len(shown) == len(set(shown)) == 18
    assert len({answer.json()["request_id"] for answer in (first, second, third)}) == 3
    posted = server.post("/recommendations", json={"user_id": SOMEONE, "paged": True, "num_recommendations": 6})
    assert ids(posted) == ids(first)
    nobody = server.post("/recommend", json={"paged": True}).json()["cursor"]
    assert len(ids(server.post("/recommend", json={"cursor": nobody}))) == 10


def test_a_cursor_of_somebody_else_or_with_other_wishes_is_refused(server: TestClient) -> None:
    cursor = server.get(f"/recommendations/{SOMEONE}?paged=true").json()["cursor"]
    got = server.get("/recommendations/person-8", params={"cursor": cursor})
    for wrong in (got, server.post("/recommend", json={"cursor": cursor})):
        assert wrong.status_code == 404
        assert "Hint: ask for the first page again" in wrong.json()["detail"]
    mixed = server.post("/recommend", json={"user_id": SOMEONE, "cursor": cursor, "exclude": [1]})
    assert mixed.status_code == 422
    assert "a cursor goes with who asks and num_recommendations alone" in mixed.json()["detail"]
