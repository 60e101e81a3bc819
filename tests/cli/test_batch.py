"""`nextreel batch`: files for small batches, folders of parts for large ones, vectors in place of lists."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nextreel.cli import show
from nextreel.cli.app import app
from nextreel.types import NextreelError

runner = CliRunner()
TOWERS = ("--source", "two_tower", "-k", 3)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.out, "_width", 240)


def call(*arguments: object) -> str:
    result = runner.invoke(app, ["batch", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_folder_gets_parts_that_are_kept_and_replaced_only_on_demand(home: Path, tmp_path: Path) -> None:
    base = ("--out", tmp_path / "recs", "--home", home, "--part-size", 50)
    assert "249 rows" in call(*base, *TOWERS)
    assert len(pq.read_table(tmp_path / "recs")) == 249
    assert "complete already: 249 rows in 2 parts" in call(*base, *TOWERS)
    (tmp_path / "recs" / "part-00001.parquet").unlink()
    assert "in 2 parts, 1 of them from before" in call(*base, *TOWERS)
    with pytest.raises(NextreelError, match="--overwrite"):
        call(*base, "--source", "two_tower", "-k", 4)
    assert "332 rows" in call(*base, "--source", "two_tower", "-k", 4, "--overwrite")


def test_now_is_the_moment_at_which_the_batch_began(home: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "people.txt").write_text("person-1\n")
    base = ("--users", tmp_path / "people.txt", "--out", tmp_path / "out", "--home", home, "--at", "now", *TOWERS)
    call(*base)
    assert "complete already" in call(*base)


def test_the_lists_of_a_source_at_everybodys_last_event_fit_into_one_file(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "recs.parquet"
    call("--users", "all", "--at", "last", *TOWERS, "--out", out, "--home", home)
    assert pq.read_table(out).num_rows == 249


@pytest.mark.parametrize(("of", "rows"), [("videos", 120), ("users", 83)])
def test_vectors_go_to_a_file_or_a_folder(home: Path, tmp_path: Path, of: str, rows: int) -> None:
    call("--vectors", of, "--out", tmp_path / "file.parquet", "--home", home)
    call("--vectors", of, "--out", tmp_path / "folder", "--home", home)
    table = pq.read_table(tmp_path / "file.parquet")
    assert table.column_names == [f"{of[:-1]}_id", "vector", "trends"]
    assert table.num_rows == rows
    assert pq.read_table(tmp_path / "folder").equals(table)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--out", "recs.txt"),
        ("--vectors", "videos", "--out", "vectors.csv"),
        ("--vectors", "users", "-k", 3, "--out", "vectors"),
        ("--vectors", "users", "--source", "als", "--out", "vectors"),
        ("--vectors", "videos", "--users", "all", "--out", "vectors"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(tmp_path: Path, wrong: tuple[object, ...]) -> None:
    with pytest.raises(NextreelError, match="Expected"):
        call(*wrong, "--home", tmp_path / "nowhere")
