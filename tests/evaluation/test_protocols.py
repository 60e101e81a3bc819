from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from nextreel import evaluation
from nextreel.evaluation import lineage
from nextreel.evaluation.baselines import Lists, fit_baselines
from nextreel.evaluation.protocols import EvaluationError, compare, measure, slates, split
from nextreel.evaluation.results import Comparison, Results, Row
from nextreel.types import Events, FloatArray, Kind, RowArray

IMPRESSION, WATCH = int(Kind.IMPRESSION), int(Kind.WATCH)


def events(lines: list[tuple[int, int, int]]) -> Events:
    """Events of (user, video, kind), one a second."""
    user, video, kind = np.array(lines).T
    n = len(lines)
    nothing = np.full(n, np.nan, np.float32)
    ids = np.array([f"u{code}" for code in range(user.max() + 1)], dtype=object)
    at = np.arange(n, dtype=np.float64)
    return Events(ids, user.astype(np.int32), video.astype(np.int32), at, kind.astype(np.int8), nothing, nothing)


HISTORY = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0), (2, 3), (0, 3), (1, 4), (0, 4)]
TEST = [(0, 2), (1, 1), (1, 0), (0, 5), (3, 1), (2, 3), (1, 1), (0, 1), (1, 9), (0, 2)]


def tiny() -> Events:
    """100 events: each of HISTORY ten times over (people watch things again), then TEST."""
    return events([(u, v, WATCH) for u, v in HISTORY for _ in range(10)] + [(u, v, WATCH) for u, v in TEST])


def everything(some: Events) -> FloatArray:
    return np.ones(len(some), np.float32)


def watches(some: Events) -> FloatArray:
    return np.where(some.kind == WATCH, np.float32(1), np.float32(0))


def known() -> evaluation.Split:
    return split(tiny(), everything, 10)


def test_the_split_is_cut_by_rows_and_time_stands_just_after_the_last_known_event() -> None:
    parts = known()
    assert (parts.train, len(parts.history)) == (80, 90)
    assert 89.0 < parts.at < 89.001


def test_truth_is_what_is_new_to_people_who_have_a_history() -> None:
    parts = known()
    # user 2 watches only what they know, user 3 has no history
    assert parts.users.tolist() == [0, 1]
    assert parts.truth.offsets.tolist() == [0, 2, 4]
    assert parts.truth.rows.tolist() == [2, 5, 1, 9]
    assert np.flatnonzero(parts.videos).tolist() == [0, 1, 2, 3, 4, 5, 9]


def test_an_impression_neither_hides_a_video_nor_makes_it_right() -> None:
    lines = [(0, 0, WATCH), (1, 0, WATCH), (0, 5, IMPRESSION)] + [(0, 1, WATCH)] * 6
    later = [(0, 5, WATCH)]
    world = events(lines + later)
    parts = split(world, watches, 6)
    assert parts.truth.rows.tolist() == [5]
    world = events([*lines, (0, 4, IMPRESSION)])
    with pytest.raises(EvaluationError, match="got none"):
        split(world, watches, 6)


def test_without_time_stamps_each_persons_rows_are_cut_by_their_order() -> None:
    # one person's rows after the other's, as many files without times are sorted
    world = events([(user, video, WATCH) for user in (0, 1) for video in range(user, user + 10)])
    parts = split(world, everything, 11, timed=False)
    assert (parts.train, len(parts.history)) == (16, 18)
    assert parts.users.tolist() == [0, 1]
    assert parts.truth.rows.tolist() == [9, 10]
    assert (np.diff(parts.history.at) > 0).all()
    assert parts.at > parts.history.at[-1]


@pytest.mark.parametrize("timed", [True, False])
def test_known_events_keep_all_their_columns(timed: bool) -> None:
    world = tiny()
    number = np.arange(len(world), dtype=np.int32)
    world = replace(world, value=number.astype(np.float32), device=number, position=number, devices=("phone",))
    history = split(world, everything, 10, timed=timed).history
    assert history.devices == ("phone",)
    assert history.device.tolist() == history.position.tolist() == history.value.astype(int).tolist()
    assert history.user.tolist() == world.user[history.device].tolist()


def test_metrics_of_lists_are_those_counted_by_hand() -> None:
    lists = np.full((2, 100), -1, np.int32)
    lists[0, :3] = [9, 2, 5]  # truth 2 and 5
    lists[1, :2] = [1, 3]  # truth 1 and 9
    found, each = measure(lists, known(), np.eye(10, dtype=np.float32))
    assert each["recall@10"].tolist() == [1.0, 0.5]
    assert found["recall@10"] == 0.75
    assert found["precision@5"] == pytest.approx((2 / 5 + 1 / 5) / 2)
    assert found["hit_rate@10"] == 1.0
    assert found["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    ideal = 1 + 1 / np.log2(3)
    assert found["ndcg@10"] == pytest.approx(((1 / np.log2(3) + 1 / 2) / ideal + 1 / ideal) / 2)
    assert found["map@100"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1 / 2) / 2)
    assert found["coverage@10"] == pytest.approx(5 / 7)  # 9 2 5 1 3 of the seven videos with an event
    assert found["diversity@10"] == 1.0


def test_a_list_with_a_watched_video_is_refused() -> None:
    lists = np.full((2, 100), -1, np.int32)
    lists[1, 0] = 4
    with pytest.raises(EvaluationError, match="row 4 for user 'u1'"):
        measure(lists, known(), np.eye(10, dtype=np.float32))


def oracle() -> Lists:
    def lists(users: NDArray[np.int32], at: float, k: int) -> RowArray:
        assert at > 89
        answers = np.full((len(users), k), -1, np.int32)
        answers[:, :2] = [[2, 5], [1, 9]]
        return answers

    return lists


@pytest.fixture(scope="module")
def results() -> Results:
    parts = known()
    rows, comparisons = compare(parts, {"oracle": oracle}, np.eye(10, dtype=np.float32))
    return Results(
        protocol="frozen",
        users=2,
        truths=2.0,
        videos=7,
        rows=rows,
        comparisons=comparisons,
        notes=["a note"],
        seed=42,
        seconds=1.0,
        peak_memory=lineage.peak_memory(),
        data={"version": "tiny"},
        commit=lineage.commit(),
        hardware=lineage.hardware(),
        versions=lineage.versions(),
    )


def test_every_baseline_and_the_model_are_judged_in_one_run(results: Results) -> None:
    names = ["random", "popular", "popular_7d", "item_item", "ease", "als", "oracle"]
    assert [row.model for row in results.rows] == names
    assert results.row("oracle").metrics["ndcg@10"] == pytest.approx(1)
    best = max(row.metrics["ndcg@10"] for row in results.rows if row.kind == "baseline")
    first = results.comparisons[0]
    assert (first.metric, first.model) == ("ndcg@10", "oracle")
    assert first.difference == pytest.approx(1 - best)
    assert first.low <= first.difference <= first.high


def test_popularity_of_the_last_days_needs_time_stamps() -> None:
    rows, _ = compare(known(), {}, np.eye(10, dtype=np.float32), timed=False)
    assert "popular_7d" not in [row.model for row in rows]


def test_popular_counts_the_training_part_and_leaves_out_what_is_watched() -> None:
    parts = known()
    baseline = {
        one.name: one.lists
        for one in fit_baselines(
            parts.history, parts.watched, parts.seen, parts.train, parts.videos, timed=True, seed=0
        )
    }
    lists = baseline["popular"](parts.users, parts.at, 3)
    # counts in train: video 0 30, 3 20, 1 10, 2 10, 4 10; ties by row; user 0 has 0 1 3 4, user 1 has 0 2 4
    assert lists.tolist() == [[2, 5, 9], [3, 1, 5]]
    for name, answer in baseline.items():
        for user, row in zip(parts.users.tolist(), answer(parts.users, parts.at, 100), strict=True):
            shown = set(row[row >= 0].tolist())
            history = set(parts.history.video[parts.history.user == user].tolist())
            assert shown == set(np.flatnonzero(parts.videos).tolist()) - history, name


def test_a_recommender_is_asked_by_id_at_the_given_time_and_short_slates_are_padded() -> None:
    asked: list[tuple[Any, ...]] = []

    def recommend(request: Any) -> Any:
        asked.append((request.user_id, request.at, request.k))
        return SimpleNamespace(rows=np.array([7, 8], np.int32))

    ask = slates(cast(Any, SimpleNamespace(recommend=recommend)), np.array([10, 20, 30]))
    lists = ask(np.array([0, 2], np.int32), 5.0, 4)
    assert asked == [(10, 5.0, 4), (30, 5.0, 4)]
    assert type(asked[0][0]) is int
    assert lists.tolist() == [[7, 8, -1, -1]] * 2


def test_results_are_written_as_json_and_as_a_table(results: Results, tmp_path: Path) -> None:
    path, table = evaluation.write(results, tmp_path / "out" / "frozen.json")
    about = json.loads(path.read_text(encoding="utf-8"))
    assert about["rows"][-1]["model"] == "oracle"
    assert about["rows"][-1]["metrics"]["recall@100"] == 1.0
    assert about["seed"] == 42
    assert about["versions"]["numpy"] == np.__version__
    text = table.read_text(encoding="utf-8")
    assert "| oracle | 1.0000 |" in text
    assert "- a note" in text
    console = Console(width=200)
    with console.capture() as shown:
        console.print(results.table())
    assert "oracle" in shown.get()


def test_a_metric_that_nobody_has_is_null_in_json() -> None:
    row = Row("m", "baseline", {"diversity@10": float("nan")}, 0.0)
    blank = Results("frozen", 1, 1.0, 1, [row], [], [], 0, 0.0, 0, {}, None, {}, {})
    assert blank.to_json()["rows"][0]["metrics"]["diversity@10"] is None
    assert "| - |" in blank.to_markdown()
    with pytest.raises(KeyError, match="Expected one of"):
        blank.row("other")


def test_a_difference_is_told_in_words() -> None:
    assert "above ease" in str(Comparison("ndcg@10", "nextreel", "ease", 0.03, 0.01, 0.05))
    assert "not told apart from ease" in str(Comparison("ndcg@10", "nextreel", "ease", 0.03, -0.01, 0.05))
