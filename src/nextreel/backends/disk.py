"""Files under keys in one folder."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from nextreel.backends.errors import BlobNotFound, InvalidKey

UPLOADS = ".uploads"  # unfinished files; no key starts with it


class DiskBlobs:
    """A folder of files; a file is there whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts) or parts[0] == UPLOADS:
            raise InvalidKey(
                f"Expected a key of names joined by single slashes, got {key!r}. Hint: write it like 'models/ranker/1'."
            )
        return self._root.joinpath(*parts)

    def put(self, key: str, source: Path) -> None:
        """Stores a copy of the file under the key, in place of what was there."""
        target = self._path(key)
        if not source.is_file():
            raise BlobNotFound(f"Expected a file at {source}, got none. Hint: put folders file by file.")
        _copy(source, target, self._root / UPLOADS)

    def get(self, key: str, target: Path) -> Path:
        """The target, now a copy of what is under the key; `BlobNotFound` when there is nothing."""
        source = self._path(key)
        if not source.is_file():
            raise BlobNotFound(f"Expected a file under {key!r}, got none. Hint: keys({key[:1]!r}) lists what is there.")
        _copy(source, target, target.parent)
        return target

    def keys(self, prefix: str) -> list[str]:
        """All keys that start with the prefix, in alphabetical order; as in S3 a prefix may end inside a name."""
        files = (path.relative_to(self._root) for path in self._root.rglob("*") if path.is_file())
        keys = (path.as_posix() for path in files if path.parts[0] != UPLOADS)
        return sorted(key for key in keys if key.startswith(prefix))

    def close(self) -> None:
        """Nothing to let go of; here because every backend can be closed."""


def _copy(source: Path, target: Path, beside: Path) -> None:
    """Copies by way of a temporary file on the target's disk, so that nobody ever sees half a file."""
    beside.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = beside / f".{uuid.uuid4().hex}"
    try:
        shutil.copyfile(source, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
