"""`nextreel batch`: files, folders of parts, vectors in place of lists; and what `nextreel score` refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nextreel.cli import show
from nextreel.cli.app import app, main
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


def score(pairs: Path, out: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit status of the command, None where all went well."""
    monkeypatch.setattr(sys, "argv", ["nextreel", "score", "--pairs", *map(str, (pairs, "--out", out, "--home", home))])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("person-1,v1,\nperson-2,v1,1", "got none in row 1 (1 such rows)"),
        ("person-1,v1,1\nperson-2,v1,yesterday", "got 'yesterday' in row 2 (1 such rows)"),
        ("person-1,v1,-1e18", "got '-1e+18' in row 1"),
        ("person-1,v1,1.5\nperson-1,v1,inf", "got 'inf' in row 2"),
        ("person-1,v1,1.5\nperson-1,v1,nan", "got none in row 2"),
        (",v1,1", "Expected a user_id in every row, got none in row 1"),
        ("person-1,,1", "Expected a video_id in every row, got none in row 1"),
        ("person-1,v1", "Row #2: Expected 3 columns, got 2"),
    ],
)
def test_pairs_that_cannot_be_scored_are_one_message_and_no_file(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: str,
    told: str,
) -> None:
    (tmp_path / "pairs.csv").write_text(f"user_id,video_id,timestamp\n{lines}\n")
    assert score(tmp_path / "pairs.csv", tmp_path / "out" / "scores.csv", home, monkeypatch) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Hint" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("time", ["2025-12-30", "2025-12-30T00:00:00Z", "2025-12-30T00:00:00.000000999", "1767052800"])
def test_pairs_are_scored_alike_however_the_time_is_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: str
) -> None:
    (tmp_path / "pairs.csv").write_text(f"user_id,video_id,timestamp\nperson-1,v1,{time}\nperson-1,v1,{time}\n")
    (tmp_path / "plain.csv").write_text("user_id,video_id,timestamp\nperson-1,v1,1767052800\n")
    for name in ("pairs", "plain"):
        assert not score(tmp_path / f"{name}.csv", tmp_path / f"{name}.parquet", home, monkeypatch)
    plain = pq.read_table(tmp_path / "plain.parquet")["value"].to_pylist()
    assert pq.read_table(tmp_path / "pairs.parquet")["value"].to_pylist() == plain * 2
