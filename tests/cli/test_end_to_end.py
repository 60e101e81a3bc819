"""The command line over a trained release, from a folder of data to files of recommendations."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nextreel.assembly import Config
from nextreel.cli import show
from nextreel.cli.app import app
from nextreel.data import Dataset
from nextreel.declared import DeclaredValue
from nextreel.registry import Registry
from nextreel.training import train
from nextreel.types import NextreelError

runner = CliRunner()

SMALL = """
[quotas]
two_tower = 0
als = 0
[moments]
active = 30
idle = 30
[ranker.catboost]
iterations = 5
threads = 1
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal so wide that no title is broken into lines."""
    monkeypatch.setattr(show.out, "_width", 240)


def call(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_a_new_world_is_checked_trained_on_and_recommended_from(tmp_path: Path) -> None:
    world, home = tmp_path / "world", tmp_path / "home"
    sizes = ["--users", 60, "--videos", 80, "--interactions", 2_000, "--seed", 5]
    assert "2,000 interactions" in call("data", "synth", *sizes, "--out", world)
    call("data", "check", world)
    (tmp_path / "small.toml").write_text(SMALL)
    home.mkdir()
    DeclaredValue(home).write("relevance + telepathy")  # of an older release, say
    printed = call("train", "--data", world, "--config", tmp_path / "small.toml", "--home", home)
    assert "What is declared cannot be followed: No objective 'telepathy'" in printed
    release = Registry(home).production()
    assert str(release) in printed
    answer = json.loads(call("recommend", "u1", "-k", 4, "--json", "--home", home))
    assert (answer["release"], answer["level"], len(answer["recommendations"])) == (release, "full", 4)


def test_a_person_is_recommended_the_same_as_a_table_and_as_json(home: Path) -> None:
    answer = json.loads(call("recommend", "person-7", "-k", 5, "--json", "--home", home))
    table = call("recommend", "person-7", "-k", 5, "--home", home)
    assert [one["rank"] for one in answer["recommendations"]] == [1, 2, 3, 4, 5]
    for one in answer["recommendations"]:
        assert one["title"] in table
        assert one["reason"]


@pytest.mark.parametrize("at", ["end", "last", "now", "2026-02-01T00:00:00", "1767225600"])
def test_a_batch_is_written_for_everybody_at_any_time(home: Path, tmp_path: Path, at: str) -> None:
    call("batch", "--users", "all", "-k", 7, "--at", at, "--out", tmp_path / "recs.parquet", "--home", home)
    table = pq.read_table(tmp_path / "recs.parquet")
    assert table.column_names == ["user_id", "rank", "video_id", "score"]
    assert table.num_rows == 83 * 7
    assert len({*zip(table["user_id"].to_pylist(), table["video_id"].to_pylist(), strict=True)}) == 83 * 7


def test_a_batch_of_some_people_by_one_source(home: Path, tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("person-3\nperson-1\n")
    out = tmp_path / "recs.parquet"
    call("batch", "--users", tmp_path / "people.txt", "-k", 3, "--source", "two_tower", "--out", out, "--home", home)
    assert pq.read_table(out)["user_id"].to_pylist() == ["person-3"] * 3 + ["person-1"] * 3


def test_scored_pairs_carry_the_scores_of_the_list(home: Path, tmp_path: Path) -> None:
    answer = json.loads(call("recommend", "person-7", "-k", 5, "--json", "--home", home))
    shown = answer["recommendations"]
    lines = [f"person-7,{one['video_id']},{answer['at']!r}" for one in shown]
    (tmp_path / "pairs.csv").write_text("\n".join(["user_id,video_id,timestamp", *lines]) + "\n")
    call("score", "--pairs", tmp_path / "pairs.csv", "--out", tmp_path / "scores.parquet", "--home", home)
    scored = pq.read_table(tmp_path / "scores.parquet")
    assert scored.column_names[:4] == ["user_id", "video_id", "timestamp", "relevance"]
    assert scored.column_names[-1] == "value"
    assert all(0 < one < 1 for name in scored.column_names[4:-1] for one in scored[name].to_pylist())
    assert scored["value"].to_pylist() == pytest.approx([one["score"] for one in shown], rel=1e-5)


def test_releases_are_listed_shown_promoted_and_rolled_back(
    home: Path, tiny_dataset: Dataset, tiny_config: Config
) -> None:
    quotas = tiny_config.quotas.model_copy(update={"two_tower": 0, "als": 0})
    first = str(Registry(home).production())
    second = train(tiny_dataset, tiny_config.model_copy(update={"quotas": quotas}), home)
    listed = call("releases", "list", "--home", home)
    assert first in listed
    assert second in listed
    assert json.loads(call("releases", "show", second, "--home", home))["stage"] == "production"
    assert first in call("releases", "rollback", "--home", home)
    assert json.loads(call("recommend", "person-7", "--json", "--home", home))["release"] == first
    call("releases", "promote", second, "--home", home)
    assert json.loads(call("recommend", "person-7", "--json", "--home", home))["release"] == second


def test_a_home_without_a_release_is_told_with_what_makes_one(tmp_path: Path) -> None:
    result = runner.invoke(app, ["recommend", "person-7", "--home", str(tmp_path)])
    assert isinstance(result.exception, NextreelError)
    assert "nextreel train" in str(result.exception)
