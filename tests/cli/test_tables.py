from __future__ import annotations

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


def test_ids_come_from_lines_or_from_the_column_and_keep_leading_zeros(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("007\n\n u2 \n")
    assert tables.read_ids(tmp_path / "ids.txt") == ["007", "u2"]
    (tmp_path / "ids.csv").write_text("user_id,name\n007,x\n42,y\n")
    assert tables.read_ids(tmp_path / "ids.csv") == ["007", "42"]
