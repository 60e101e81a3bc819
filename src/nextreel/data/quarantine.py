"""Refused rows: written beside the data with the reason, so that they can be put right and read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from nextreel.data.errors import Fault
from nextreel.data.tables import Raw
from nextreel.types import BoolArray, NextreelError

FOLDER = "quarantine"
_ADDED = ("row", "column", "reason", "line")
_PART = ".part"  # ends the name of a file that is still being written


class Quarantine:
    """Writes `FOLDER/FILE.parquet` for every file with refused rows.

    Columns: `row` (1-based data row of the file), `column` (those with a fault, divided by ", "), `reason` (what was
    expected and what came, divided by "; "), `line` (the text of a row that could not be split into cells), then the
    file's own columns as text. A file appears when everything has been read, and an older one of the name goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writers: dict[str, pa_parquet.ParquetWriter] = {}

    def path(self, file: str) -> Path:
        """Where the refused rows of a file are written."""
        return self.folder / f"{file}.parquet"

    def add(self, raw: Raw, faults: Sequence[Fault], bad: BoolArray) -> None:
        """Writes the bad rows of the table and all its broken ones. Raises `NextreelError` where it cannot."""
        table = _table(raw, faults, bad)
        try:
            if raw.file not in self._writers:
                path = self.path(raw.file + _PART)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._writers[raw.file] = pa_parquet.ParquetWriter(path, table.schema, compression="zstd")
            self._writers[raw.file].write_table(table)
        except OSError as error:
            raise self._unwritable(error) from error

    def commit(self, read: Iterable[str]) -> None:
        """Puts the files in place and takes away those that an earlier reading of the same files has left."""
        try:
            for file in read:
                if file in self._writers:
                    self._writers.pop(file).close()
                    self.path(file + _PART).replace(self.path(file))
                else:
                    self.path(file).unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def discard(self) -> None:
        """Takes away what was written, as there is no data set that it was left out of."""
        for file, writer in self._writers.items():
            writer.close()
            self.path(file + _PART).unlink(missing_ok=True)
        self._writers.clear()

    def _unwritable(self, error: OSError) -> NextreelError:
        return NextreelError(
            f"Expected a folder to write refused rows to, got {self.folder}: {error.strerror or error}. "
            "Hint: choose another one with --quarantine."
        )


def _table(raw: Raw, faults: Sequence[Fault], bad: BoolArray) -> pa.Table:
    """The refused rows in the order of the file."""
    where = np.flatnonzero(bad)
    columns: dict[int, list[str]] = {at: [] for at in where.tolist()}
    reasons: dict[int, list[str]] = {at: [] for at in where.tolist()}
    for fault in faults:
        for at in np.flatnonzero(fault.bad).tolist():
            columns[at].append(fault.column or "")
            reasons[at].append(f"{fault.column}: expected {fault.told.expected}, got {fault.told.got(at)}")
    told = pl.DataFrame(
        {
            "row": pl.Series(raw.rows.all(raw.frame.height)[where], dtype=pl.Int64),
            "column": pl.Series([", ".join(dict.fromkeys(one)) for one in columns.values()], dtype=pl.String),
            "reason": pl.Series(["; ".join(one) for one in reasons.values()], dtype=pl.String),
            "line": pl.Series([None] * len(where), dtype=pl.String),
        }
    )
    cells = raw.frame.filter(pl.Series(bad)) if raw.frame.width else raw.frame
    names = _free(raw.frame.columns)
    told = told.with_columns(_text(cells[name]).rename(new) for name, new in zip(cells.columns, names, strict=True))
    broken = pl.DataFrame(
        {
            "row": pl.Series([one.row for one in raw.broken], dtype=pl.Int64),
            "reason": pl.Series([f"expected {one.expected}, got {one.got}" for one in raw.broken], dtype=pl.String),
            "line": pl.Series([one.text for one in raw.broken], dtype=pl.String),
        }
    )
    return pl.concat([told, broken], how="diagonal").sort("row").to_arrow().cast(_schema(names))


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(_ADDED[0], pa.int64()), *((name, pa.large_string()) for name in (*_ADDED[1:], *names))])


def _free(names: Sequence[str]) -> list[str]:
    """The file's column names, with a line below after each that the quarantine uses itself."""
    free: list[str] = []
    for name in names:
        new = name
        while new in _ADDED or new in free or (new != name and new in names):
            new += "_"
        free.append(new)
    return free


def _text(cells: pl.Series) -> pl.Series:
    """The cells as text, null where empty."""
    if cells.dtype.is_nested() or isinstance(cells.dtype, pl.Binary | pl.Object | pl.Null):
        return pl.Series(cells.name, [None if cell is None else str(cell) for cell in cells.to_list()], pl.String)
    return cells.cast(pl.String)
