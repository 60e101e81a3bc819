"""One trained release with its state: answers, feedback, batches and pairs, from the same code."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import run

import numpy as np
import pyarrow as pa
import pytest

from nextreel import features
from nextreel.backends import Unreachable, open_key_value, open_log
from nextreel.opening import open_system
from nextreel.registry import CorruptRelease, Registry
from nextreel.serving.batch import score_pairs, top_n, vectors
from nextreel.system import System
from nextreel.types import Event, FloatArray, Kind, NextreelError, Request, UserId, VideoId, is_session
from nextreel.uploads import Upload

SOMEONE = "person-7"


@pytest.fixture
def system(home: Path) -> Iterator[System]:
    system = open_system(home, clock="end")
    yield system
    system.close()


@pytest.fixture(scope="module")
def read_only(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for the tests that send no feedback."""
    home = Path(shutil.copytree(trained, tmp_path_factory.mktemp("system") / "home"))
    system = open_system(home, clock="end")
    yield system
    system.close()


def ask(system: System, user_id: UserId | None = SOMEONE, k: int = 10, at: float | None = None) -> list[VideoId]:
    return system.recommend(Request(user_id, system.data_end if at is None else at, k)).video_ids


def watched(system: System, user_id: UserId) -> set[VideoId]:
    return {system.catalogue.video_ids[row] for row in system.store.user(user_id).history.rows}


def assert_batch_is_sound(system: System, table: pa.Table, k: int) -> None:
    """Exactly k videos for everybody: ranks from 1, no repeat, nothing watched, all of it available."""
    videos: dict[UserId, list[VideoId]] = {}
    for user_id, rank, video_id in zip(*(table[c].to_pylist() for c in ("user_id", "rank", "video_id")), strict=True):
        videos.setdefault(user_id, []).append(video_id)
        assert rank == len(videos[user_id])
    assert list(videos) == [user_id for user_id in system.store.users() if not is_session(user_id)]
    for user_id, chosen in videos.items():
        assert len(chosen) == len(set(chosen)) == k
        assert not set(chosen) & watched(system, user_id)
        assert system.catalogue.available[system.catalogue.rows(chosen)].all()


def test_every_stage_of_the_trained_release_answers(read_only: System) -> None:
    slate = read_only.recommend(Request(SOMEONE, read_only.data_end, 10))
    assert (slate.level, slate.release, slate.trace.failures) == ("full", read_only.release, {})
    assert {"retrieve", "filter", "features", "rank", "order"} <= slate.trace.milliseconds.keys()
    assert len(set(slate.video_ids)) == 10
    assert not set(slate.video_ids) & watched(read_only, SOMEONE)


def test_a_home_without_a_release_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(NextreelError, match=r"No release in production in .*Hint: nextreel train"):
        open_system(tmp_path)


def test_a_release_with_one_changed_byte_in_whatever_file_is_refused(home: Path) -> None:
    registry = Registry(home)
    folder = registry.path(str(registry.production()))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert {"catalogue.arrow", "config.json", "ease/weights.npy", "manifest.json"} < set(names)
    assert len(names) > 40  # each of them, not a choice
    for name in names:
        file = folder / name
        file.chmod(0o644)
        kept = file.read_bytes()
        changed = bytearray(kept)
        changed[len(changed) // 2] ^= 1
        file.write_bytes(bytes(changed))
        with pytest.raises(CorruptRelease, match=name):
            open_system(home)
        file.write_bytes(kept)
    open_system(home).close()


def test_a_liked_video_leaves_the_list_and_the_list_moves(system: System) -> None:
    before = ask(system)
    liked = system.catalogue.row_of[before[0]]
    offsets = system.feedback([Event(SOMEONE, system.now(), Kind.LIKE, before[0])])
    assert offsets == [1]
    after = ask(system)
    assert before[0] not in after
    assert after != before
    assert system.store.user(SOMEONE).history.rows[-1] == liked


def test_a_subscription_hides_nothing(system: System) -> None:
    at, everything = system.data_end, len(system.catalogue)
    before = set(ask(system, k=everything, at=at))
    system.feedback([Event(SOMEONE, at, Kind.SUBSCRIBE, channel_id=system.catalogue.channel_ids[0])])
    assert set(ask(system, k=everything, at=at)) == before


def test_a_newcomer_is_known_from_the_first_event_on(system: System) -> None:
    cold = ask(system, "newcomer")
    assert not system.store.knows("newcomer")
    assert len(cold) == 10
    system.feedback([Event("newcomer", system.now(), Kind.WATCH, cold[3])])
    assert system.store.knows("newcomer")
    assert cold[3] not in ask(system, "newcomer")
    assert "newcomer" in system.store.users()


def test_feedback_is_there_after_a_restart(home: Path) -> None:
    first = open_system(home, clock="end")
    liked = ask(first)[0]
    first.feedback([Event(SOMEONE, first.now(), Kind.LIKE, liked)])
    end, answer = first.data_end, ask(first)
    first.close()
    again = open_system(home, clock="end")
    assert liked in watched(again, SOMEONE)
    assert again.data_end == end
    assert ask(again) == answer
    again.close()


def test_feedback_that_cannot_be_applied_yet_is_taken_and_applied_later(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable(until: int | None = None) -> int:
        raise Unreachable("on purpose")

    liked = ask(system)[0]
    with monkeypatch.context() as patch:
        patch.setattr(system.store, "follow", unreachable)
        assert system.feedback([Event(SOMEONE, system.now(), Kind.LIKE, liked)]) == [1]
    assert "feedback is in the log" in caplog.text
    system._followed = -np.inf  # the moment has passed
    assert liked not in ask(system)


def test_a_clock_that_starts_at_the_end_never_goes_back_behind_feedback(home: Path) -> None:
    first = open_system(home, clock="end")
    later = first.now() + 3_600
    first.feedback([Event(SOMEONE, later, Kind.LIKE, ask(first)[0])])
    first.close()
    again = open_system(home, clock="end")
    assert again.now() > later
    again.close()


def test_another_process_hears_of_feedback_within_a_moment(home: Path) -> None:
    here, there = open_system(home, clock="end"), open_system(home, clock="end")
    liked = ask(there)[0]
    here.feedback([Event(SOMEONE, here.now(), Kind.LIKE, liked)])
    there._followed = -np.inf  # the moment has passed
    assert liked not in ask(there)
    assert there.store.counters.likes.tolist() == here.store.counters.likes.tolist()
    here.close()
    there.close()


def test_similar_videos_are_others_that_may_be_shown(read_only: System) -> None:
    request = Request(None, read_only.data_end, 10)
    for video_id in read_only.catalogue.video_ids[:20].tolist():
        ids = [other for other, _ in read_only.similar(video_id, request)]
        assert len(set(ids)) == 10
        assert video_id not in ids
        assert read_only.recommender.keeps(request, read_only.catalogue.rows(ids)).all()


def test_what_may_not_be_shown_yet_there_or_any_more_is_similar_to_nothing(system: System) -> None:
    video_id, now = system.catalogue.video_ids[0], system.now()
    unlimited = [other for other, _ in system.similar(video_id, Request(None, now, 200))]
    gone, later, there, mature, *rest = unlimited
    limited = [
        Upload(video_id=gone, available_until=now - 10),
        Upload(video_id=later, published_at=now + 1e6),
        Upload(video_id=there, regions=("NO",)),
        Upload(video_id=mature, maturity_rating=21),
    ]
    system.upload(limited)

    def similar(country: str | None = None) -> set[VideoId]:
        return {other for other, _ in system.similar(video_id, Request(None, now, 200, country=country))}

    assert similar() == set(rest)
    assert similar(country="NO") == {there, *rest}
    system.upload([Upload(video_id=one, regions=("NO",)) for one in rest[:-2]])
    assert {other for other, _ in system.similar(video_id, Request(None, now, 2))} == set(rest[-2:])


def test_similar_to_an_unknown_video_is_an_error(read_only: System) -> None:
    with pytest.raises(NextreelError, match="No video 'nothing'"):
        read_only.similar("nothing", Request(None, read_only.data_end, 3))


def test_trending_is_by_share_of_the_trend_best_first(read_only: System) -> None:
    found = read_only.trending(Request(None, read_only.data_end, 5))
    share = read_only.store.counters.share("trend")
    scores = [score for _, score in found]
    assert len(found) == 5
    assert scores == sorted(scores, reverse=True)
    assert scores == [pytest.approx(float(share[read_only.catalogue.row_of[video_id]])) for video_id, _ in found]


def test_a_ranker_that_fails_is_told_as_degraded(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(scores: FloatArray) -> FloatArray:
        return np.full(len(scores), np.inf, np.float32)

    monkeypatch.setattr(system, "recommender", replace(system.recommender, value=broken))
    assert {name: status for name, status, _ in system.health()}["pipeline"] == "degraded"


def test_a_release_without_a_ranker_is_healthy(system: System) -> None:
    system.recommender = replace(system.recommender, ranker=None)
    assert {name: status for name, status, _ in system.health()}["pipeline"] == "healthy"


def test_health_is_good_until_the_log_is_gone(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name: status for name, status, _ in system.health()} == {
        "state": "healthy",
        "event_log": "healthy",
        "value": "healthy",
        "pipeline": "healthy",
    }

    def broken(after: int, limit: int) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(system._log, "read", broken)
    assert {name: status for name, status, _ in system.health()}["event_log"] == "unhealthy"


def test_ids_of_text_stay_text(read_only: System) -> None:
    assert read_only.resolve_user("7") == "7"
    assert read_only.resolve_video("7") == "7"


def test_ids_are_integers_where_those_of_the_data_are(read_only: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_only, "_integer_users", True)
    numbers = {"7": 7, "-7": -7, "0": 0, "9" * 30: int("9" * 30)}
    texts = ("007", "-0", "--7", "-", "ann", "٣", "²", "", "7\n")
    assert {text: read_only.resolve_user(text) for text in (*numbers, *texts)} == numbers | {t: t for t in texts}


@pytest.mark.parametrize("at", ["end", "last"])
def test_a_batch_holds_k_new_videos_for_everybody(read_only: System, at: str) -> None:
    table = top_n(read_only, None, 20, "last" if at == "last" else "end")
    assert table.column_names == ["user_id", "rank", "video_id", "score"]
    assert_batch_is_sound(read_only, table, 20)


def test_a_batch_of_one_source_holds_k_new_videos_for_everybody_best_first(read_only: System) -> None:
    table = top_n(read_only, None, 20, source="two_tower")
    assert_batch_is_sound(read_only, table, 20)
    scores = table["score"].to_numpy().reshape(-1, 20)
    assert (np.diff(scores, axis=1) <= 0).all()
    towers = read_only.recommender.alone("two_tower").sources[0].retriever
    state = read_only.store.user(SOMEONE)
    request = Request(SOMEONE, read_only.data_end, 20)
    own = [row for row in towers.retrieve(request, state, 120)[0] if read_only.catalogue.available[row]]
    age = state.profile.age or 18
    allowed = [row for row in own if read_only.catalogue.maturity[row] <= age][:20]
    mine = top_n(read_only, [SOMEONE], 20, source="two_tower")["video_id"].to_pylist()
    assert mine == read_only.catalogue.video_ids[allowed].tolist()


def test_an_unknown_source_is_told_with_those_there_are(read_only: System) -> None:
    with pytest.raises(
        NextreelError,
        match=r"No source 'magic'.*two_tower, als, ease, item_item, transitions, popular_all, trending, fresh",
    ):
        top_n(read_only, None, 5, source="magic")


def test_a_batch_is_what_single_requests_get(read_only: System) -> None:
    people: list[UserId] = [SOMEONE, "person-2", "nobody"]
    table = top_n(read_only, people, 5)
    assert table["user_id"].to_pylist() == [user_id for user_id in people for _ in range(5)]
    assert table["video_id"].to_pylist() == [video for user_id in people for video in ask(read_only, user_id, 5)]


def test_a_batch_of_nobody_has_columns_and_no_rows(read_only: System) -> None:
    table = top_n(read_only, [], 5)
    assert (table.num_rows, table.column_names) == (0, ["user_id", "rank", "video_id", "score"])


def test_people_whose_ids_are_of_both_kinds_can_stand_in_one_batch(read_only: System) -> None:
    table = top_n(read_only, [7, "nobody"], 2)
    assert [str(one) for one in table["user_id"].to_pylist()] == ["7", "7", "nobody", "nobody"]


def test_a_batch_of_everybody_leaves_out_sessions(system: System) -> None:
    accounts = system.store.users()
    system.feedback([Event("session:tab-1", system.now(), Kind.LIKE, system.catalogue.video_ids[0])])
    assert system.store.users() == [*accounts, "session:tab-1"]
    assert_batch_is_sound(system, top_n(system, None, 2), 2)
    assert vectors(system, "users")["user_id"].to_pylist() == accounts


def test_scored_pairs_have_the_scores_of_the_slate(read_only: System) -> None:
    slates = [read_only.recommend(Request(user_id, read_only.data_end, 10)) for user_id in (SOMEONE, "person-3")]
    pairs = pa.table(
        {
            "user_id": [slate.request.user_id for slate in slates for _ in range(10)],
            "video_id": [video for slate in slates for video in slate.video_ids],
            "timestamp": [read_only.data_end] * 20,
        }
    )
    shuffled = pairs.take(np.random.default_rng(0).permutation(20))
    ranker = read_only.recommender.ranker
    assert ranker is not None
    for asked in (pairs, shuffled):
        scored = score_pairs(read_only, asked)
        assert scored.column_names == [*asked.column_names, *ranker.objectives, "value"]
        assert scored.select(asked.column_names).equals(asked)
    value = score_pairs(read_only, pairs)["value"].to_numpy()
    np.testing.assert_allclose(value, np.concatenate([slate.value for slate in slates]), rtol=1e-5)


def test_pairs_may_have_times_of_any_kind(read_only: System) -> None:
    seconds = pa.array([math.floor(read_only.data_end)], pa.int64())
    pairs = [
        pa.table({"user_id": [SOMEONE], "video_id": ["v1"], "timestamp": column})
        for column in (
            seconds,
            seconds.cast(pa.timestamp("s")),
            seconds.cast(pa.timestamp("s")).cast(pa.timestamp("ns")),
        )
    ]
    assert len({score_pairs(read_only, one)["value"].to_pylist()[0] for one in pairs}) == 1


def test_a_pair_with_an_unknown_video_is_told_with_its_row(read_only: System) -> None:
    pairs = pa.table({"user_id": ["a", "b"], "video_id": ["v1", "nothing"], "timestamp": [0, 0]})
    with pytest.raises(NextreelError, match="'nothing' in row 2"):
        score_pairs(read_only, pairs)


def test_people_of_both_kinds_of_ids_can_stand_in_one_table_of_pairs(system: System) -> None:
    system._integer_users = True
    for people, given in ((["1", "abc"], ["1", "abc"]), (["1", "2"], [1, 2]), ([str(2**70)], [str(2**70)])):
        n = len(people)
        pairs = pa.table({"user_id": people, "video_id": ["v1"] * n, "timestamp": [0] * n})
        scored = score_pairs(system, pairs)
        assert scored["user_id"].to_pylist() == given
        assert scored["value"].null_count == 0


def test_a_table_without_pairs_has_the_columns_of_scores_and_no_rows(read_only: System) -> None:
    scored = score_pairs(read_only, pa.table({"user_id": [], "video_id": [], "timestamp": []}))
    assert (scored.num_rows, scored.column_names[-1]) == (0, "value")


def test_a_value_that_is_not_finite_is_told_with_the_formula_and_the_first_pair(system: System) -> None:
    def value(objectives: FloatArray) -> FloatArray:
        found = objectives[:, 0].copy()
        found[:] = np.inf if next(calls) else found  # the first pair is fine
        return found

    calls = iter(range(3))
    pairs = pa.table(
        {"user_id": ["person-3", SOMEONE, SOMEONE], "video_id": ["v1", "v2", "v3"], "timestamp": [0, 1, 0]}
    )
    system.value, system.recommender = "1 / (share - share)", replace(system.recommender, value=value)
    with pytest.raises(
        NextreelError, match=rf"'1 / \(share - share\)', got inf for user '{SOMEONE}' and video 'v2' in row 2\. Hint"
    ):
        score_pairs(system, pairs)


def test_an_answer_loads_neither_the_training_libraries_nor_those_of_large_catalogues(home: Path) -> None:
    heavy = ("torch", "catboost", "implicit", "pandas", "polars", "scipy", "sklearn", "faiss", "fastapi")
    program = (
        "import sys; from pathlib import Path; from nextreel.opening import open_system; "
        "from nextreel.types import Request; "
        f"system = open_system(Path({str(home)!r}), clock='end'); "
        f"assert len(system.recommend(Request({SOMEONE!r}, system.data_end, 5)).rows) == 5; "
        f"print(*(name for name in {heavy!r} if name in sys.modules))"
    )
    done = run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603  our own code
    assert done.stdout.split() == []


def test_a_release_whose_ranker_reads_other_columns_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = open_system(home, clock="end")
    read = {feature.__name__ for feature in system.recommender.features}
    system.close()
    lost = next(feature for feature in features.TIMELESS if feature.__name__ in read)
    rest = tuple(feature for feature in features.TIMELESS if feature is not lost)
    monkeypatch.setattr("nextreel.features.TIMELESS", rest)  # a version without one of the features
    with pytest.raises(NextreelError, match=rf"missing \['{lost.__name__}'\], unknown \[\].*Hint: train a release"):
        open_system(home, clock="end")


def test_states_live_where_the_url_says_each_under_its_release(home: Path, redis_url: str) -> None:
    system = open_system(home, clock="end", state_url=f"{redis_url}?prefix=test-system")
    system.feedback([Event("person-1", system.now(), Kind.LIKE, system.catalogue.video_ids[0])])
    version = system.store.user("person-1").version
    shared = open_key_value(f"{redis_url}?prefix=test-system")
    assert shared.get_many([f"{system.release}/user/s/person-1"])[0] is not None
    assert not list(home.glob("shared.db*"))
    system.close()
    again = open_system(home, clock="end", state_url=f"{redis_url}?prefix=test-system")
    assert again.store.user("person-1").version == version
    again.close()
    shared.close()


def test_a_home_whose_state_and_log_lie_elsewhere_is_only_read(home: Path, tmp_path: Path) -> None:
    def found() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in home.rglob("*") if path.is_file()}

    before = found()
    log_url = f"sqlite://{tmp_path}/log.db"
    for _ in range(2):
        system = open_system(home, clock="end", state_url=f"sqlite://{tmp_path}/shared.db", log_url=log_url)
        version = system.store.user("person-1").version
        system.feedback([Event("person-1", system.now(), Kind.LIKE, system.catalogue.video_ids[0])])
        assert system.store.user("person-1").version == version + 1
        system.close()
    kept = open_log(log_url)
    assert len(kept.read(0)) == 2
    kept.close()
    assert found() == before
