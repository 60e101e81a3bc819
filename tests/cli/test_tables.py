from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from nextreel.cli import tables
from nextreel.types import NextreelError

PAIRS = pa.table({"user_id": [1, 2], "video_id": ["a", "b"]})


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.csv"])
def test_what_is_written_is_read_again_and_nothing_else_is_left(tmp_path: Path, name: str) -> None:
    tables.write(PAIRS, tmp_path / "new" / name)
    assert tables.read(tmp_path / "new" / name, ("user_id", "video_id")).to_pylist() == PAIRS.to_pylist()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    tables.write(PAIRS, tmp_path / "pairs.csv")
    with pytest.raises(
        NextreelError, match=r"expected the columns user_id, timestamp, got user_id, video_id.*timestamp"
    ):
        tables.read(tmp_path / "pairs.csv", ("user_id", "timestamp"))


def test_an_unknown_ending_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NextreelError, match=r"\.parquet or \.csv"):
        tables.write(PAIRS, tmp_path / "pairs.txt")
    with pytest.raises(NextreelError, match="found no file"):
        tables.read(tmp_path / "none.csv", ())
    with pytest.raises(NextreelError, match="`all` or a file of user ids"):
        tables.read_ids(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("pairs.csv", b"", "CSV in UTF-8, .*got: Empty CSV file. Hint"),
        ("pairs.csv", b"\n\n", "CSV in UTF-8, .*got: .*[Ee]mpty.*Hint"),
        (
            "pairs.csv",
            b"user_id,video_id\na,b\nc\n",
            r".* a header in row 1 .* Row #3: Expected 2 columns, got 1: c\. Hint",
        ),
        (
            "pairs.csv",
            b"user_id,video_id\na,b,c\n",
            r".* a header in row 1 .* Row #2: Expected 2 columns, got 3: a,b,c\. Hint",
        ),
        ("pairs.csv", b"user_id,video_id\n\xff,b\n", "CSV in UTF-8, .*invalid UTF8.*Hint"),
        ("pairs.csv", b"user_id,\xff\na,b\n", "CSV in UTF-8, .*Hint"),
        ("pairs.csv", b"user_id,video_id\na\xff\n", "CSV in UTF-8, .*Hint"),
        ("pairs.csv", b"user_id,video_id,user_id\na,b,c\n", "every column once, got user_id, video_id, user_id. Hint"),
        ("pairs.parquet", b"", "a Parquet file, got: .*Hint"),
        ("pairs.parquet", b"user_id,video_id\na,b\n", "a Parquet file, got: .*Hint"),
    ],
)
def test_a_file_that_is_no_such_table_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NextreelError, match=f"^{re.escape(str(tmp_path / name))}: expected {told}"):
        tables.read(tmp_path / name, ("user_id", "video_id"), text=("user_id", "video_id"))


def test_a_parquet_file_with_broken_pages_is_told(tmp_path: Path) -> None:
    tables.write(pa.table({"user_id": list(range(1_000))}), tmp_path / "ids.parquet")
    content = (tmp_path / "ids.parquet").read_bytes()
    (tmp_path / "ids.parquet").write_bytes(content[:4] + bytes(300) + content[304:])
    with pytest.raises(NextreelError, match=r"expected a Parquet file, got: .*Hint"):
        tables.read(tmp_path / "ids.parquet", ("user_id",))


def test_what_a_file_cannot_hold_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NextreelError, match=r"a \.csv file can hold, got: .*Hint"):
        tables.write(pa.table({"a": [1], "b": [[1, 2]]}), tmp_path / "lists.csv")
    assert list(tmp_path.iterdir()) == []


def test_ids_come_from_lines_or_from_the_column_and_keep_leading_zeros(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("007\n\n u2 \n")
    assert tables.read_ids(tmp_path / "ids.txt") == ["007", "u2"]
    (tmp_path / "ids.csv").write_text("user_id,name\n007,x\n42,y\n")
    assert tables.read_ids(tmp_path / "ids.csv") == ["007", "42"]
