"""Folders that long runs write to."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextreel.folders import FolderInUse, alone, whole, write_whole


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    write_whole(file, "first")

    def stopped() -> None:
        with whole(file) as path:
            path.write_text("half", encoding="utf-8")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        stopped()
    assert file.read_text(encoding="utf-8") == "first"
    write_whole(file, "second")
    assert file.read_text(encoding="utf-8") == "second"
    assert [one.name for one in tmp_path.iterdir()] == ["one.txt"]  # nothing half is left


def test_of_two_writers_at_once_each_writes_all_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    with whole(file) as one, whole(file) as other:
        one.write_text("one", encoding="utf-8")
        other.write_text("other, and longer", encoding="utf-8")
    assert file.read_text(encoding="utf-8") == "one"
    assert [found.name for found in tmp_path.iterdir()] == ["one.txt"]


def test_a_folder_is_held_by_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for it"
    with alone(folder), pytest.raises(FolderInUse, match="another run is writing"), alone(folder):
        pass
    with alone(folder):
        assert folder.is_dir()
