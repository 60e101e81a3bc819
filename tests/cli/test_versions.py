"""Versions of data sets, told apart by content."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from nextreel.cli import app as door
from nextreel.cli import show
from nextreel.data import load
from nextreel.registry import Registry
from nextreel.types import NextreelError

runner = CliRunner()
OLD = "user_id,video_id,timestamp\n1,2,100\n1,3,200\n"
NEW = "user_id,video_id,timestamp,device\n1,2,100,tv\n1,3,200,tv\n4,3,86500,tv\n"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "out", Console(width=250, highlight=False))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, text in (("old", OLD), ("new", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "interactions.csv").write_text(text)
    return tmp_path / "old", tmp_path / "new"


def call(*arguments: object) -> str:
    result = runner.invoke(door.app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_a_difference_is_told_in_files_counts_columns_and_times(folders: tuple[Path, Path]) -> None:
    printed = call("data", "diff", *folders)
    rows = {line.split("│")[1].strip(): line for line in printed.splitlines() if line.count("│") > 2}
    assert [cell.strip() for cell in rows["interactions"].split("│")[2:4]] == ["2", "3"]
    assert [cell.strip() for cell in rows["users"].split("│")[2:4]] == ["1", "2"]
    assert "file interactions.csv" in rows
    assert "column interactions.device" in rows
    assert "1970-01-02 00:01:40" in rows["last event"]
    assert "first event" not in rows


def test_the_same_data_in_two_places_are_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "interactions.csv").write_text(OLD)
    assert call("data", "diff", folders[0], tmp_path / "copy").strip() == "The same data."


def test_versions_are_those_of_folders_and_of_releases(folders: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = folders
    home, content = tmp_path / "home", tmp_path / "content"
    content.mkdir()
    (content / "model").write_text("x")
    lineage = {"dataset": load(old).manifest.to_json()}
    release = Registry(home).publish(content, metrics={}, lineage=lineage, created_at=0.0)
    printed = call("data", "versions", new, "--home", home)
    lines = {line.split()[-2]: line for line in printed.splitlines() if line.startswith("│")}
    assert load(new).manifest.version in lines[str(new)]
    assert load(old).manifest.version in lines[release]
    assert "1970-01-01" in lines[release]
    assert "The same data." in call("data", "diff", release, old, "--home", home)


def test_a_place_that_is_neither_folder_nor_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NextreelError, match=r"Expected a folder .* or the id of a release .* got 'yesterday'"):
        call("data", "diff", "yesterday", tmp_path, "--home", tmp_path)


def test_a_home_without_releases_asks_for_folders(tmp_path: Path) -> None:
    assert "Hint: name folders" in call("data", "versions", "--home", tmp_path)
