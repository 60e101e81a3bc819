"""Served rows are computed again to the last digit, and a planted difference is found and named."""

from __future__ import annotations

import functools
import json
import shutil
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from nextreel import feature_log, features, parity
from nextreel.backends import open_log
from nextreel.cli import show
from nextreel.cli.app import app
from nextreel.feature_log import MAGIC, Served, open_files
from nextreel.opening import open_system
from nextreel.parity import STATE, Parity, differences, verify
from nextreel.ranking.ranker import FittedRanker
from nextreel.serving.app import create_app
from nextreel.serving.current import Serving
from nextreel.settings import Settings, get_settings
from nextreel.system import System
from nextreel.types import Event, Feature, FloatArray, Kind, Moment, NextreelError, Request
from nextreel.uploads import Upload

KINDS = ("impression", "click", "watch", "like", "dislike", "complete", "hide", "share", "comment")


def opened(home: Path) -> System:
    return open_system(home, clock="end", feature_log=home / "features")


def busy(client: TestClient, system: System, seed: int, many: int) -> None:
    """Asks and answers as people do: known and new ones, in contexts, who like, subscribe and block."""
    rng = np.random.default_rng(seed)
    for number in range(many):
        user = f"person-{rng.integers(1, 84)}" if number % 4 else f"new-{rng.integers(3)}"
        body: dict[str, Any] = {"user_id": user, "num_recommendations": int(rng.integers(1, 30))}
        if number % 3 == 0:
            body["context"] = {"device": "mobile"}
            body["filters"] = {"categories": list(system.catalogue.category_names[:4])}
        answer = client.post("/recommend", json=body).json()
        assert answer["level"] == "full"
        ids = [one["video_id"] for one in answer["recommendations"]]
        event: dict[str, Any] = {"user_id": user, "event_type": KINDS[number % len(KINDS)]}
        if number % 5 == 0:
            event |= {"event_type": "subscribe", "channel_id": str(system.catalogue.channel_ids[number % 3])}
        elif number % 7 == 0:
            event |= {"event_type": "block", "channel_id": str(system.catalogue.channel_ids[number % 3])}
        else:
            event |= {"video_id": ids[0] if ids else "v1", "watch_seconds": float(rng.integers(1, 900))}
        assert client.post("/feedback", json=event).status_code == 202
        if number % 6 == 0:  # of a release that knows more videos
            system.feedback([Event(user, system.now(), Kind.WATCH, "not in this catalogue")])


@pytest.fixture(scope="module")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose requests were logged: of two threads over HTTP, and of a second process that lags behind."""
    home = Path(shutil.copytree(trained, tmp_path_factory.mktemp("parity") / "home"))
    system, other = opened(home), opened(home)
    other._followed = np.inf  # it takes no look at the log of its own
    with TestClient(create_app(Serving(system), Settings(api_keys=()))) as client:
        threads = [threading.Thread(target=busy, args=(client, system, seed, 30)) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        for number in range(12):
            other.recommend(Request(f"new-{number % 3}", other.now(), 10, f"other-{number}"))
            other.recommend(Request(None, other.now(), 5, f"nobody-{number}"))
        for thread in threads:
            thread.join()
        for number in range(3):
            other.recommend(Request(f"new-{number}", other.now(), 10, f"late-{number}"))
    other.close()
    return home


@pytest.fixture
def again(served: Path) -> Callable[..., Parity]:
    """Verifies a log of the served home, its own by default."""
    release = open_files(served / "features")[0].heading

    def again(log: Path = served / "features", limit: int | None = None) -> Parity:
        assert release is not None
        return verify(served, release.release, log, limit)

    return again


@pytest.fixture
def copy(served: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(served / "features", tmp_path / "features"))


def named(found: Parity) -> dict[str, float]:
    """Columns with a mismatch and their rates."""
    return {column.name: column.rate for column in found.columns if column.mismatches}


def rewritten(path: Path, change: Callable[[Served], Served]) -> None:
    """The file with every answer changed, and right checksums."""
    file = feature_log.scan(path)
    assert file.heading is not None
    answers = [change(file.read(position)) for _, position in file.answers]
    path.write_bytes(MAGIC + feature_log.frame(file.heading) + b"".join(map(feature_log.frame, answers)))


def test_served_rows_are_computed_again_without_a_mismatch(served: Path, again: Callable[..., Parity]) -> None:
    found = again()
    assert named(found) == {}
    assert found.rate == 0.0
    assert found.exact == 1.0
    assert found.requests + found.moved == 2 * 30 + 2 * 12 + 3
    assert found.requests >= 50
    assert found.rows > 1_000
    assert (found.dropped, found.lost) == (0, {})
    compared = {column.name: column.compared for column in found.columns}
    assert compared.pop(STATE) == found.requests
    assert set(compared.values()) == {found.rows}
    assert {"score_two_tower", "rank_ease", "share_30d", "plays", "ranker_relevance"} <= set(compared)


def test_the_log_holds_states_that_are_ahead_of_the_counters(served: Path) -> None:
    files = open_files(served / "features")
    answers = [file.read(position) for file in files for _, position in file.answers]
    assert any(one.user_offset > one.counted for one in answers)  # the second process' counters
    assert any(one.counted > one.user_offset > 0 for one in answers)
    assert {file.heading.writer for file in files if file.heading} == {
        file.heading.writer for file in files if file.heading and file.answers
    }


def test_a_replay_leaves_the_home_as_it_is(served: Path, again: Callable[..., Parity]) -> None:
    def content() -> dict[str, bytes]:
        files = (path for path in served.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files if not path.name.endswith(("-wal", "-shm"))}

    before = content()
    again(limit=5)
    assert content() == before


def heads_that_read(feature: str, home: Path) -> set[str]:
    """The logged columns of the objectives whose scores the feature can change."""
    system = open_system(home, clock="end")
    ranker = system.recommender.ranker
    system.close()
    assert isinstance(ranker, FittedRanker)
    place = ranker.names.index(feature)
    return {f"ranker_{head.objective}" for head in ranker.heads if place in head.model.scorer.reads}


def test_a_feature_that_changed_is_named(
    home: Path, again: Callable[..., Parity], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_change = heads_that_read("average_watch_share", home)

    def skewed(real: Feature) -> Feature:
        @functools.wraps(real)
        def feature(moment: Moment) -> FloatArray | float:
            return np.where(moment.rows % 2 == 0, real(moment) + np.float32(0.001), real(moment)).astype(np.float32)

        return feature

    changed = tuple(skewed(one) if one.__name__ == "average_watch_share" else one for one in features.TIMELESS)
    monkeypatch.setattr(features, "TIMELESS", changed)
    found = again()
    assert set(named(found)) <= {"average_watch_share", *may_change}
    assert named(found)["average_watch_share"] == pytest.approx(0.5, abs=0.2)
    (column,) = [column for column in found.columns if column.name == "average_watch_share"]
    assert column.largest == pytest.approx(0.001, rel=1e-3)
    assert 0 < found.rate < 0.02


def test_a_number_that_was_tampered_with_is_named(copy: Path, again: Callable[..., Parity]) -> None:
    path = next(file.path for file in open_files(copy) if len(file.answers) > 10)
    heading = feature_log.scan(path).heading
    assert heading is not None
    place = heading.columns.index("plays")

    def more_plays(one: Served) -> Served:
        values = np.frombuffer(zlib.decompress(one.values), np.float32).reshape(len(heading.columns), -1).copy()
        values[place, 0] += 1
        return msgspec.structs.replace(one, values=zlib.compress(values.tobytes()))

    untouched = sum(len(file.answers) for file in open_files(copy) if file.path != path)
    rewritten(path, more_plays)
    found = again(copy)
    assert set(named(found)) == {"plays"}
    (column,) = [column for column in found.columns if column.name == "plays"]
    assert found.requests - untouched <= column.mismatches <= len(feature_log.scan(path).answers)
    assert column.largest == pytest.approx(1.0)


def test_a_state_that_cannot_be_had_again_is_named(copy: Path, again: Callable[..., Parity]) -> None:
    for file in open_files(copy):
        rewritten(file.path, lambda one: msgspec.structs.replace(one, user_version=one.user_version + 1))
    found = again(copy)
    assert named(found) == {STATE: 1.0}


def test_answers_whose_counters_moved_are_counted_apart(copy: Path, again: Callable[..., Parity]) -> None:
    whole = again()
    path = next(file.path for file in open_files(copy) if len(file.answers) > 10)
    many = sum(counted >= 0 for counted, _ in feature_log.scan(path).answers)
    rewritten(path, lambda one: msgspec.structs.replace(one, counted=feature_log.MOVED))
    found = again(copy)
    assert (found.moved, found.requests) == (whole.moved + many, whole.requests - many)
    assert found.rate == 0.0


def test_a_log_in_which_every_answer_moved_proves_nothing(copy: Path, again: Callable[..., Parity]) -> None:
    for file in open_files(copy):
        rewritten(file.path, lambda one: msgspec.structs.replace(one, counted=feature_log.MOVED))
    with pytest.raises(NextreelError, match=r"during which no event was counted, got \d+ answers that all saw one"):
        again(copy)


def test_a_log_that_was_cut_off_is_verified_up_to_there_and_told(copy: Path, again: Callable[..., Parity]) -> None:
    path = next(file.path for file in open_files(copy) if len(file.answers) > 10)
    path.write_bytes(path.read_bytes()[:-100])
    found = again(copy)
    assert found.rate == 0.0
    assert found.requests + found.moved == again().requests + again().moved - 1
    assert set(found.lost) == {str(path)}
    assert found.lost[str(path)] > 0


def test_rows_over_a_catalogue_that_changed_meanwhile_are_computed_again(home: Path) -> None:
    system, other = opened(home), opened(home)
    other._followed = np.inf  # it hears of no change
    with TestClient(create_app(Serving(system), Settings(api_keys=()))) as client:
        for number in range(6):
            name = system.catalogue.category_names[number]
            system.upload([Upload(video_id=f"added-{number}", category=name, channel_id=f"channel-{number}")])
            system.feedback([Event("person-1", system.now(), Kind.LIKE, f"added-{number}")])
            busy(client, system, number, 4)
            other.recommend(Request("person-1", other.now(), 10, f"other-{number}"))
            if number == 3:
                system.withdraw("added-1")
                system.upload([Upload(video_id="v1", category=name, duration=10.0)])
    other.close()
    found = verify(home, system.release, home / "features")
    assert named(found) == {}
    assert (found.exact, found.requests + found.moved) == (1.0, 6 * 4 + 6)
    assert found.requests >= 6 * 4
    answers = [file.read(position) for file in open_files(home / "features") for _, position in file.answers]
    assert {one.changes for one in answers} >= {0, 1, 8}
    assert any(video_id == "added-5" for one in answers for video_id in one.video_ids)


def test_a_limit_replays_the_first_requests(again: Callable[..., Parity]) -> None:
    assert again(limit=3).requests == 3


def test_another_event_log_is_refused(served: Path, trained: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(trained, tmp_path / "home"))
    release = open_files(served / "features")[0].heading
    assert release is not None
    with pytest.raises(NextreelError, match=r"event at offset \d+ .*got 0 .* Hint: verify with the home that served"):
        verify(home, release.release, served / "features")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"columns": ("plays",)}, "got others or another order"),
        ({"fingerprint": "0" * 16}, "got 0000000000000000: the names are the same"),
        ({"release": "another"}, "found none. Hint: .* names the one that served"),
    ],
)
def test_a_log_of_other_features_or_another_release_is_refused(
    copy: Path, again: Callable[..., Parity], change: dict[str, Any], told: str
) -> None:
    for file in open_files(copy):
        assert file.heading is not None
        answers = [file.read(position) for _, position in file.answers]
        heading = msgspec.structs.replace(file.heading, **change)
        file.path.write_bytes(MAGIC + feature_log.frame(heading) + b"".join(map(feature_log.frame, answers)))
    with pytest.raises(NextreelError, match=told):
        again(copy)


def test_a_request_is_logged_only_when_its_candidates_were_ranked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = opened(home)
    system.recommend(Request("person-7", system.now(), 5))

    def broken(*_: Any) -> FloatArray:
        raise ValueError("broken")

    monkeypatch.setattr(type(system.recommender.ranker), "score", broken)
    assert system.recommend(Request("person-7", system.now(), 5)).level == "unranked"
    system.trending(Request(None, system.now(), 5))
    system.close()
    assert sum(len(file.answers) for file in open_files(home / "features")) == 1


def test_a_row_that_was_computed_while_counters_moved_is_marked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = opened(home)
    matrix = type(system.recommender).matrix

    def overtaken(recommender: Any, moment: Moment) -> Any:
        computed = matrix(recommender, moment)
        system.feedback([Event("person-9", system.now(), Kind.LIKE, "v1")])
        return computed

    monkeypatch.setattr(type(system.recommender), "matrix", overtaken)
    system.recommend(Request("person-7", system.now(), 5))
    monkeypatch.undo()
    system.recommend(Request("person-7", system.now(), 5))
    system.close()
    found = verify(home, system.release, home / "features")
    assert (found.moved, found.requests, found.rate) == (1, 1, 0.0)


def test_whole_numbers_must_be_equal_and_others_nearly() -> None:
    served = np.array([[3e6, 0.5, np.nan, np.nan, np.inf, 0.0, 1e-9, 1.0]], np.float32)
    now = np.array([[3e6 + 1, 0.5 + 2e-7, np.nan, 1.0, np.inf, -0.0, 2e-9, np.inf]], np.float32)
    differs, exact, gaps = differences(served, now)
    assert differs.tolist() == [[True, False, False, True, False, False, True, True]]
    assert exact.tolist() == [[False, False, True, False, True, True, False, False]]
    assert gaps[0, [0, 2, 3, 4, 5, 7]].tolist() == [1.0, 0.0, np.inf, 0.0, 0.0, np.inf]


@pytest.fixture
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.out, "_width", 200)


@pytest.mark.usefixtures("_wide")
def test_the_command_prints_the_rates_and_fails_on_a_mismatch(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["features", "verify", "--home", str(served), "--log", str(served / "features"), "--limit", "6"]
    good = CliRunner().invoke(app, [*command, "--json", str(tmp_path / "parity.json")])
    assert good.exit_code == 0, good.output
    assert "Mismatch rate 0.000000 over 6 requests" in good.stdout
    assert "share_30d" in good.stdout
    written = json.loads((tmp_path / "parity.json").read_text())
    assert (written["requests"], written["rate"], written["exact"]) == (6, 0.0, 1.0)
    real = parity.verify

    def skewed(*given: Any, **places: Any) -> Parity:
        found = real(*given, **places)
        first = replace(found.columns[3], mismatches=7, largest=0.25)
        return replace(
            found, columns=(*found.columns[:3], first, *found.columns[4:]), dropped=4, lost={"x": 9}, moved=2
        )

    monkeypatch.setattr(parity, "verify", skewed)
    bad = CliRunner().invoke(app, command)
    assert bad.exit_code == 1
    for told in ("2 more requests", "4 requests were not logged", "x: the last 9 bytes", "0.25"):
        assert told in bad.stdout


def test_a_list_on_the_terminal_can_be_logged_and_verified(home: Path) -> None:
    log = str(home / "features")
    asked = CliRunner().invoke(app, ["recommend", "person-7", "--home", str(home), "--feature-log", log])
    assert asked.exit_code == 0, asked.output
    checked = CliRunner().invoke(app, ["features", "verify", "--home", str(home), "--log", log])
    assert checked.exit_code == 0, checked.output
    assert "over 1 requests" in " ".join(checked.stdout.split())


def test_commands_read_the_event_log_that_a_setting_names(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, features = f"sqlite://{tmp_path / 'elsewhere.db'}", str(home / "features")
    monkeypatch.setenv("LOG_URL", url)
    get_settings.cache_clear()
    try:
        recommend = ["recommend", "person-7", "--json", "--home", str(home), "--feature-log", features]
        shown = json.loads(CliRunner().invoke(app, recommend).stdout)["recommendations"][0]["video_id"]
        with closing(open_log(url)) as elsewhere:
            elsewhere.append([Event("person-7", time.time(), Kind.COMPLETE, shown)])
        after = json.loads(CliRunner().invoke(app, recommend).stdout)["recommendations"]
        assert shown not in [one["video_id"] for one in after]
        checked = CliRunner().invoke(app, ["features", "verify", "--home", str(home), "--log", features])
        assert "over 2 requests" in checked.stdout, (checked.output, checked.exception)
    finally:
        get_settings.cache_clear()
    assert not (home / "log.db").exists()
