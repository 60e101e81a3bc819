"""Folders that long runs write to: one run at a time, and files that are there whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nextreel.types import NextreelError


class FolderInUse(NextreelError):
    """Another run is writing to the folder."""


def half(file: Path) -> Path:
    """Where the file is written until it is whole; readers of Parquet folders pass over such names."""
    return file.with_name(f".{file.name}.half")


def write_whole(file: Path, text: str) -> None:
    """Writes the text; the file is there whole or as it was before."""
    with whole(file) as path:
        path.write_text(text, encoding="utf-8")


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes the file when all went well: on disk first, then under its name.

    One writer at a time: what a killed one left is written over by the next.
    """
    path = half(file)
    try:
        yield path
        with path.open("rb+") as written:
            os.fsync(written.fileno())
        path.replace(file)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds the folder, which is made, for this run; the system lets go of it when the process dies.

    While another run holds it, waits for that one where it may, else raises FolderInUse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise FolderInUse(
                f"Expected a folder for this run alone, got {folder}, where another run is writing. "
                "Hint: wait for it, or name another --out."
            ) from error
        yield
