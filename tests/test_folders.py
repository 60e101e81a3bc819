"""Folders that long runs write to."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextreel.folders import FolderInUse, alone, half, whole, write_whole


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
    assert half(file).is_file()  # what the next run writes over
    write_whole(file, "second")
    assert file.read_text(encoding="utf-8") == "second"
    assert not half(file).exists()


def test_a_folder_is_held_by_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for it"
    with alone(folder), pytest.raises(FolderInUse, match="another run is writing"), alone(folder):
        pass
    with alone(folder):
        assert folder.is_dir()
