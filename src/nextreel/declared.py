"""The value formula that all processes of one home order lists by, in the place of the one their release came with."""

from __future__ import annotations

import json
from pathlib import Path

from nextreel.folders import alone, write_whole
from nextreel.types import NextreelError

FILE = "value.json"
RESET = "Hint: nextreel value --reset"


class DeclaredValue:
    """A formula in a file of the home: whoever serves from there follows it; none: each release has its own."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._known: tuple[int, int] | None = None  # inode and time of the file that was read last

    def read(self) -> str | None:
        """The formula, None where none is declared. Raises `NextreelError` for a file that holds something else."""
        self._known = self._stamp()
        try:
            return str(json.loads(self._path.read_bytes())["value"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise NextreelError(f"Expected JSON with a 'value' in {self._path}, got {error}. {RESET}") from error

    def moved(self) -> bool:
        """Whether the formula may be another than the one last read: one look at the disk, nothing is opened."""
        return self._stamp() != self._known

    def write(self, text: str | None) -> None:
        """Declares the formula, all at once for every process; None: each release is ordered by its own again."""
        with alone(self._path.parent, wait=True):
            if text is None:
                self._path.unlink(missing_ok=True)
            else:
                write_whole(self._path, json.dumps({"value": text}) + "\n")

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
