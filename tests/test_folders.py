"""Folders that long runs write to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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


def test_a_folder_is_held_by_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for it"
    with alone(folder), pytest.raises(FolderInUse, match="another run is writing"), alone(folder):
        pass
    with alone(folder):
        assert folder.is_dir()


def test_who_may_wait_comes_after_who_holds_the_folder(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with alone(tmp_path, wait=True):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with alone(tmp_path):
            waiting = pool.submit(second)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            order.append("first")
        waiting.result(timeout=10)
    assert order == ["first", "second"]
