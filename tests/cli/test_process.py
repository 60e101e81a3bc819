"""`nextreel process`: what it prints, and what it says of options that do not go together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nextreel.cli import show
from nextreel.cli.app import app

runner = CliRunner()
SMALL = ["--users", 20, "--videos", 60, "--interactions", 600, "--workers", 1]
CONFIG = "parts: 2\nencoders: {title: hashed, title_dim: 16, min_count: 2, tags: {dim: 4, epochs: 1}}\n"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wide terminal, an empty folder, and parts that are written in this process."""

    def pool(workers: int, context: object, start: Callable[..., None], given: tuple[Any, ...]) -> Executor:
        del workers, context
        return ThreadPoolExecutor(1, "part", start, given)

    monkeypatch.setattr(import_module("nextreel.processing.local"), "ProcessPoolExecutor", pool)
    monkeypatch.setattr(show.out, "_width", 240)
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(CONFIG)


def call(*arguments: object) -> Result:
    return runner.invoke(app, ["process", "--out", "out", "--config", "small.yaml", *map(str, arguments)])


def told(*arguments: object) -> str:
    """The error of a command that cannot be."""
    result = call(*arguments)
    assert result.exit_code != 0
    return str(result.exception)


def test_help_names_both_sources_and_engines() -> None:
    printed = re.sub(r"\x1b\[[0-9;]*m", "", runner.invoke(app, ["process", "--help"], env={"COLUMNS": "200"}).stdout)
    for one in ("--synthetic", "--data-dir", "--engine", "local|spark", "--overwrite", "--negative-ratio", "--config"):
        assert one in printed


def test_a_synthetic_world_becomes_rows_and_a_table_of_them() -> None:
    result = call("--synthetic", *SMALL, "--seed", 3, "--negative-ratio", 2)
    assert result.exit_code == 0, result.output
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert (manifest["params"]["seed"], manifest["params"]["negative_ratio"], manifest["params"]["parts"]) == (3, 2, 2)
    for table in ("two_tower", "ranker"):
        counts = [manifest["rows"][table][split] for split in ("train", "val", "test")]
        words = [word for line in result.stdout.splitlines() if table in line for word in line.split()]
        assert [f"{n:,}" for n in (*counts, sum(counts))] == [word for word in words if word.replace(",", "").isdigit()]
    for source, n in manifest["sources"].items():
        assert re.search(rf"{source}\s+│\s+{n:,}\b", result.stdout)
    assert "Wrote out (prepare" in result.stdout
    assert "writing rows" in result.stderr
    assert "writing rows" not in result.stdout
    assert Path(".nextreel-embeddings").is_dir()
    again = call("--synthetic", *SMALL, "--seed", 3, "--negative-ratio", 2)
    assert "all was there" in again.stdout


def test_other_parameters_need_another_folder_or_to_overwrite() -> None:
    assert call("--synthetic", *SMALL).exit_code == 0
    assert "--overwrite" in told("--synthetic", *SMALL, "--seed", 9)
    assert call("--synthetic", *SMALL, "--seed", 9, "--overwrite").exit_code == 0
    assert json.loads(Path("out/manifest.json").read_text())["params"]["seed"] == 9


def test_a_folder_of_tables_is_read() -> None:
    made = runner.invoke(app, ["data", "synth", *map(str, SMALL[:6]), "--out", "world"])
    assert made.exit_code == 0, made.output
    result = call("--data-dir", "world", "--workers", 1)
    assert result.exit_code == 0, (result.output, result.exception)
    assert call("--data", "world", "--workers", 1).stdout.endswith("(all was there)\n")


def test_bad_rows_are_set_aside_when_asked() -> None:
    Path("world").mkdir()
    lines = [f"u{n % 7},v{n % 5},{1_700_000_000 + 7_200 * n},like" for n in range(60)]
    Path("world/interactions.csv").write_text("\n".join(["user_id,video_id,timestamp,kind", *lines, ",v1,,hug"]))
    assert "interactions.csv" in told("--data", "world", "--workers", 1)
    result = call("--data", "world", "--workers", 1, "--on-error", "quarantine")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "1 bad row was set aside" in result.output
    assert Path("world/quarantine/interactions.csv.parquet").is_file()


@pytest.mark.parametrize("given", [[], ["--synthetic", "--data-dir", "world"]])
def test_exactly_one_source_is_named(given: list[str]) -> None:
    assert "Expected either --data-dir DIR or --synthetic" in told(*given)
    assert not Path("out").exists()


def test_a_release_needs_its_home_and_the_other_way_round() -> None:
    assert "Expected --home with --release" in told("--data-dir", "world", "--release", "production")
    assert "No release in production in home" in told(
        "--data-dir", "world", "--release", "production", "--home", "home"
    )
    assert "a new world has no release" in told("--synthetic", "--home", "home")


def test_a_wrong_parameter_is_named() -> None:
    Path("small.yaml").write_text("negatives: 3\n")
    assert "negatives: Extra inputs" in told("--synthetic")


def test_a_folder_that_is_not_there_is_told() -> None:
    assert "nowhere" in told("--data-dir", "nowhere")
    assert not Path("out").exists()
