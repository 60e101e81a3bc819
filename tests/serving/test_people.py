"""Sessions, their merge into accounts, and forgetting, over a trained release and two processes' systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from nextreel import feature_log
from nextreel.backends import StillRead
from nextreel.opening import open_system
from nextreel.serving.app import create_app
from nextreel.serving.current import Serving
from nextreel.serving.outgoing import MergeOut, ReceiptOut
from nextreel.settings import Settings
from nextreel.system import System
from nextreel.types import session_person

SOMEONE = "person-7"


@pytest.fixture
def features(tmp_path: Path) -> Path:
    return tmp_path / "features"


@pytest.fixture
def real(home: Path, features: Path) -> System:
    return open_system(home, clock="end", feature_log=features)


@pytest.fixture
def other(home: Path) -> Iterator[System]:
    """Another worker over the same home."""
    system = open_system(home, clock="end")
    yield system
    system.close()


@pytest.fixture
def server(real: System) -> Iterator[TestClient]:
    settings = Settings(api_keys=(), admin_on_loopback=True)
    with TestClient(create_app(Serving(real), settings)) as client:
        yield client


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["video_id"] for one in answer.json()["recommendations"]]


def tell(server: TestClient, kind: str, videos: list[str], **who: Any) -> None:
    events = [{"event_type": kind, "video_id": video, **who} for video in videos]
    answer = server.post("/feedback", json=events)
    assert answer.status_code == 202, answer.text


def followed(system: System) -> System:
    system._followed = -np.inf  # the moment between two looks at the log has passed
    system.follow()
    return system


def test_a_session_s_list_is_personal_after_its_first_clicks(server: TestClient) -> None:
    cold = ids(server.get("/sessions/tab/recommendations?n=20"))
    assert cold == ids(server.post("/recommendations", json={"session_id": "tab", "num_recommendations": 20}))
    assert cold == ids(server.post("/recommendations", json={"num_recommendations": 20}))
    tell(server, "like", cold[12:15], session_id="tab")
    warm = ids(server.get("/sessions/tab/recommendations?n=20"))
    assert not set(warm) & set(cold[12:15])
    assert warm == ids(server.post("/recommendations", json={"session_id": "tab", "num_recommendations": 20}))
    stranger = ids(server.get("/sessions/another/recommendations?n=20"))
    assert stranger == ids(server.post("/recommendations", json={"num_recommendations": 20}))
    assert warm != [one for one in stranger if one not in cold[12:15]][: len(warm)]  # more than what was seen is gone
    assert server.get("/sessions/tab/recommendations").json()["user_id"] is None


def test_a_user_goes_before_a_session_where_both_ask(server: TestClient) -> None:
    both = server.post("/recommendations", json={"session_id": "tab", "user_id": SOMEONE}).json()
    assert both["user_id"] == SOMEONE
    assert [one["video_id"] for one in both["recommendations"]] == ids(server.get(f"/recommendations/{SOMEONE}"))


@pytest.mark.parametrize("how", ["merge", "feedback"])
def test_what_a_session_did_becomes_the_account_s(server: TestClient, real: System, other: System, how: str) -> None:
    before = real.store.user(SOMEONE).version
    watched = ids(server.get("/sessions/tab/recommendations"))[:3]
    tell(server, "watch", watched, session_id="tab")
    plays = real.store.counters.plays.sum()
    if how == "merge":
        answer = server.post("/sessions/tab/merge", json={"user_id": SOMEONE})
        assert MergeOut.model_validate(answer.json()).merged
        assert not server.post("/sessions/tab/merge", json={"user_id": SOMEONE}).json()["merged"]
    else:
        tell(server, "impression", watched[:1], session_id="tab", user_id=SOMEONE)
        tell(server, "impression", watched[:1], session_id="tab", user_id=SOMEONE)
    for system in (real, followed(other)):
        state = system.store.user(SOMEONE)
        assert state.version == before + (3 if how == "merge" else 5)
        assert [system.catalogue.video_ids[row] for row in state.history.rows[-3:]] == watched
        assert not system.store.knows(session_person("tab"))
        assert system.store.counters.plays.sum() == plays
    assert not set(ids(server.get(f"/recommendations/{SOMEONE}?n=50"))) & set(watched)
    assert set(ids(server.get("/sessions/tab/recommendations?n=50"))) & set(watched)  # a new session's
    merges = [event for _, event in real._log.read(0) if event.session_id is not None]
    assert len(merges) == 1  # however often both ids come


def test_an_event_is_somebody_s(server: TestClient) -> None:
    video = ids(server.get(f"/recommendations/{SOMEONE}"))[0]
    answer = server.post("/feedback", json={"event_type": "like", "video_id": video})
    assert answer.status_code == 422
    assert "an event needs user_id or session_id" in answer.json()["detail"]


def test_no_account_can_be_mistaken_for_a_session(server: TestClient, real: System) -> None:
    video = ids(server.get(f"/recommendations/{SOMEONE}"))[0]
    asked = [
        server.get("/recommendations/session:tab"),
        server.post("/recommendations", json={"user_id": "session:tab"}),
        server.post("/feedback", json={"user_id": "session:tab", "event_type": "like", "video_id": video}),
        server.post("/sessions/tab/merge", json={"user_id": "session:other"}),
        server.delete("/users/session:tab"),
        server.post("/invocations", json={"user_id": "session:tab"}),
        server.get(f"/explain/session:tab/{video}"),
    ]
    assert [answer.status_code for answer in asked] == [422] * len(asked)
    assert all("Hint: send the rest as session_id" in answer.text for answer in asked)
    assert real._log.read(0) == []


def test_a_forgotten_user_is_a_newcomer_in_every_process(server: TestClient, real: System, other: System) -> None:
    tell(server, "like", ids(server.get(f"/recommendations/{SOMEONE}"))[:2], user_id=SOMEONE)
    assert followed(other).store.knows(SOMEONE)
    answer = server.delete(f"/users/{SOMEONE}")
    receipt = ReceiptOut.model_validate(answer.json())
    assert answer.status_code == 200
    assert SOMEONE not in answer.text
    assert {place for place, n in receipt.counts.items() if n} >= {"live states", "snapshots", "event log"}
    assert receipt.releases == [real.release]
    for system in (real, followed(other)):
        assert not system.store.knows(SOMEONE)
        assert SOMEONE not in system.store.users()
    again = server.delete(f"/users/{SOMEONE}").json()["counts"]
    assert {place: n for place, n in again.items() if n and place != "feature log"} == {}  # its writer has its own time
    cold = ids(server.post("/recommendations", json={}))
    assert ids(server.get(f"/recommendations/{SOMEONE}")) == cold
    tell(server, "like", cold[:1], user_id=SOMEONE)
    assert real.store.user(SOMEONE).version == 1


def test_what_the_ranker_read_for_a_forgotten_user_is_in_no_byte(
    server: TestClient, real: System, features: Path
) -> None:
    tell(server, "like", ids(server.get(f"/recommendations/{SOMEONE}"))[:1], user_id=SOMEONE)
    ids(server.get("/recommendations/person-8"))
    assert real._feature_log is not None
    real._feature_log.close()  # has written what waits
    assert server.delete(f"/users/{SOMEONE}").json()["counts"]["feature log"] == 1
    (file,) = feature_log.open_files(features)
    assert [file.read(at).request.user_id for _, at in file.answers] == ["person-8"]
    assert SOMEONE.encode() not in file.path.read_bytes()


def test_only_admins_forget(real: System) -> None:
    with TestClient(create_app(Serving(real), Settings(api_keys=()))) as client:
        assert client.delete(f"/users/{SOMEONE}").status_code == 403
        assert real.store.knows(SOMEONE)


def test_an_open_list_of_a_forgotten_user_ends(server: TestClient, real: System) -> None:
    mine = server.get(f"/recommendations/{SOMEONE}?n=5&paged=true").json()["cursor"]
    theirs = server.get("/recommendations/person-8?n=5&paged=true").json()["cursor"]
    assert server.delete(f"/users/{SOMEONE}").json()["counts"]["cursors"] == 1
    assert server.get(f"/recommendations/{SOMEONE}?n=5&cursor={mine}").status_code == 404
    assert len(ids(server.get(f"/recommendations/person-8?n=5&cursor={theirs}"))) == 5


def test_a_session_s_list_has_pages(server: TestClient) -> None:
    first = server.post("/recommendations", json={"session_id": "tab", "num_recommendations": 5, "paged": True}).json()
    more = {"session_id": "tab", "num_recommendations": 5, "cursor": first["cursor"]}
    page = ids(server.post("/recommendations", json=more))
    assert len(page) == 5
    assert not set(page) & {one["video_id"] for one in first["recommendations"]}
    assert server.post("/recommendations", json=more | {"session_id": "another"}).status_code == 404
    got = server.get(f"/sessions/tab/recommendations?n=5&paged=true&cursor={first['cursor']}").json()
    assert [one["video_id"] for one in got["recommendations"]] == page


def test_a_file_that_is_read_on_and_on_is_told_and_can_be_tried_again(
    server: TestClient, real: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(user_id: object) -> None:
        raise StillRead("Expected log.db to be read by nobody.")

    with monkeypatch.context() as patched:
        patched.setattr(real, "forget", busy)
        answer = server.delete(f"/users/{SOMEONE}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert server.delete(f"/users/{SOMEONE}").status_code == 200
