"""`nextreel evaluate`: what it prints and writes, and what it refuses before a long run begins."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nextreel import evaluation
from nextreel.assembly import Config
from nextreel.cli import loading, show
from nextreel.cli.app import app
from nextreel.data import synthetic
from nextreel.evaluation import seeds as of_seeds
from nextreel.ranking.value import FormulaError
from nextreel.types import NextreelError

runner = CliRunner()
SMALL = "[als]\nfactors = 8\niterations = 3\nthreads = 1\n"
FEW = f"""{SMALL}
[quotas]
two_tower = 0
[moments]
active = 20
idle = 20
[exposures]
least = 10
[ranker.catboost]
iterations = 10
threads = 1
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal so wide that no line is broken."""
    monkeypatch.setattr(show.out, "_width", 240)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 people and 80 videos, with a configuration of a small model beside them."""
    folder = tmp_path_factory.mktemp("evaluate") / "world"
    synthetic.write(folder, 60, 80, 2_000, 5)
    (folder.parent / "small.toml").write_text(SMALL)
    return folder


def call(world: Path, *arguments: object) -> Result:
    given = ["evaluate", "--data", world, "--config", world.parent / "small.toml", *arguments]
    return runner.invoke(app, [str(one) for one in given])


def test_one_source_is_judged_live_with_several_seeds_and_a_report_is_written(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "reports" / "als"
    live = ("--protocol", "live", "--every", 5, "--source", "als")
    result = call(world, *live, "--seed", 1, "--seed", 2, "--report", out)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "Protocol live" in result.stdout
    assert "Mean over requests" in result.stdout
    assert str(out / "live.md") in result.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "live.json",
        "live.md",
        "live_models.svg",
        "live_recall.svg",
        "live_segments.svg",
    ]
    found = json.loads((out / "live.json").read_text())
    assert found["stages"] is None
    assert found["config"]["als"]["seed"] == 1
    row = next(row for row in found["rows"] if row["kind"] == "source")
    assert list(found["seeds"]) == [row["model"]]
    seeds = found["seeds"][row["model"]]
    assert list(seeds) == ["1", "2"]
    assert seeds["1"] == row["metrics"]
    assert seeds["1"] != seeds["2"]
    text = (out / "live.md").read_text()
    assert "Mean ± half the range over 2 seeds (1, 2)" in text
    assert "every 5th row" in text
    for file in re.findall(r"\]\(([^)]+)\)", text):
        assert (out / file).is_file()


def test_json_and_full_go_with_the_same_run(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of its own would only say the same again: the results are those of one, kept."""
    kept: list[evaluation.Results] = []
    plain = evaluation.evaluate

    def once(*given: Any, **options: Any) -> evaluation.Results:
        if not kept:
            kept.append(plain(*given, **options))
        return kept[0]

    monkeypatch.setattr(evaluation, "evaluate", once)
    short = call(world, "--source", "als")
    full = call(world, "--source", "als", "--full", "--json", tmp_path / "one.json")
    assert (short.exit_code, full.exit_code) == (0, 0), (short.output, full.output, full.exception)
    for part in ("Precision@k", "By events of the person"):
        assert part in full.stdout
        assert part not in short.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "one.md"]
    assert "![" not in (tmp_path / "one.md").read_text()
    assert json.loads((tmp_path / "one.json").read_text())["seeds"] == {}


def test_what_people_were_shown_is_judged_and_a_formula_previewed(world: Path, tmp_path: Path) -> None:
    (world.parent / "few.toml").write_text(FEW)
    given = ("--config", world.parent / "few.toml", "--protocol", "exposures", "--every", 2)
    result = call(
        world, *given, "--value", "relevance + 50 * click", "--report", tmp_path, "--json", tmp_path / "x.json"
    )
    assert result.exit_code == 0, (result.output, result.exception)
    for part in ("Protocol exposures", "video_rate", "One visit of 2 is judged", "Preview of `relevance + 50 * click`"):
        assert part in result.stdout
    names = {"exposures.json", "exposures.md", "exposures_order.svg", "exposures_reliability.svg", "x.json", "x.md"}
    assert {path.name for path in tmp_path.iterdir()} == names
    found = json.loads((tmp_path / "exposures.json").read_text())
    assert {one["objective"] for one in found["outcomes"]} >= {"click", "watch"}
    assert found["preview"]["previewed"] == "relevance + 50 * click"
    assert found == json.loads((tmp_path / "x.json").read_text())


@pytest.mark.parametrize("protocol", ["live", "exposures"])
@pytest.mark.parametrize("wrong", ["relevance + likes", "2 *", "__import__('os')", "7"])
def test_a_bad_formula_is_refused_before_the_data_are_read(
    world: Path, protocol: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("the data were read"))
    result = call(world, "--protocol", protocol, "--value", wrong)
    assert isinstance(result.exception, FormulaError)


def test_several_seeds_of_what_people_were_shown_go_side_by_side(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, Any]] = []

    def evaluate_exposures(_: object, config: Config, **options: Any) -> None:
        asked.append((config.als.seed, options["every"]))
        if len(asked) == 2:
            raise NextreelError("far enough")

    monkeypatch.setattr(evaluation, "evaluate_exposures", evaluate_exposures)
    call(world, "--protocol", "exposures", "--seed", 7, "--seed", 8, "--every", 3)
    assert asked == [(7, 3), (8, 3)]


def test_one_seed_is_that_of_the_models(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def evaluate_seeds(_: object, protocol: str, __: object, **options: Any) -> None:
        asked.append((protocol, options["seeds"], options["source"], options["every"]))
        raise NextreelError("far enough")

    monkeypatch.setattr(of_seeds, "evaluate_seeds", evaluate_seeds)
    call(world, "--seed", 7)
    assert asked == [("frozen", [7], None, 1)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--every", 2), "only `live`"),
        (("--seed", 3, "--seed", 3, "--source", "als"), "several different"),
        (("--source", "oracle"), "No source 'oracle'"),
        (("--source", "als", "--value", "relevance"), "no `--source`"),
        (("--source", "als", "--protocol", "exposures"), "no `--source`"),
        (("--value", "relevance + share"), "of share"),
    ],
)
def test_what_cannot_be_is_told(world: Path, options: tuple[object, ...], said: str) -> None:
    result = call(world, *options)
    assert isinstance(result.exception, NextreelError)
    assert said in str(result.exception)


def test_a_report_without_matplotlib_is_refused_before_anything_is_read(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Any = importlib.util.find_spec

    def none_of_matplotlib(name: str, *more: Any) -> Any:
        return None if name == "matplotlib" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", none_of_matplotlib)
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("the data were read"))
    result = call(world, "--report", tmp_path / "report")
    assert isinstance(result.exception, NextreelError)
    assert "nextreel[report]" in str(result.exception)
    assert not (tmp_path / "report").exists()


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load", lambda *_, **__: pytest.fail("the data were read"))
    (tmp_path / "file").write_text("")
    for option in (("--json", tmp_path / "file" / "one.json"), ("--report", tmp_path / "file")):
        result = call(world, *option)
        assert isinstance(result.exception, NextreelError)
        assert "Expected a folder to write to" in str(result.exception)


def test_help_teaches_the_protocols_and_what_to_look_at() -> None:
    shown = runner.invoke(app, ["evaluate", "--help"], env={"COLUMNS": "300"}).stdout
    printed = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    for one in (
        "frozen|live|leave-last-out|exposures",
        "--value",
        "--source",
        "--every",
        "--seed",
        "--report",
        "--json",
        "--full",
        "luck",
    ):
        assert one in printed
