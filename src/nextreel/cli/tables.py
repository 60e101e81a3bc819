"""Tables from and to files, chosen by the ending of their name: Parquet, CSV, and plain lists of ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nextreel.folders import whole
from nextreel.types import NextreelError


def read(path: Path, columns: tuple[str, ...], text: tuple[str, ...] = ()) -> Any:
    """The Arrow table in a `.parquet` or `.csv` file; of a CSV file the columns in `text` stay text ("007" is no 7).

    Raises NextreelError when it is no such table, or lacks one of the columns or has it twice.
    """
    import pyarrow as pa

    if not path.is_file():
        raise NextreelError(f"Expected a table at {path}, found no file. Hint: give a .parquet or .csv file.")
    if path.suffix not in {".parquet", ".csv"}:
        raise NextreelError(f"Expected a .parquet or .csv file, got {path}.")
    try:
        table = _parquet(path) if path.suffix == ".parquet" else _csv(path, text)
        names = table.column_names
    except (pa.ArrowException, OSError, ValueError) as error:
        told = _first_line(error)
        if path.suffix == ".parquet":
            raise NextreelError(f"{path}: expected a Parquet file, got: {told}. Hint: write it again.") from error
        raise NextreelError(
            f"{path}: expected CSV in UTF-8, with a header in row 1 and as many cells in every row, got: {told}. "
            "Hint: put a cell that holds a comma into quotation marks."
        ) from error
    twice = [name for name in columns if names.count(name) > 1]
    if twice:
        raise NextreelError(f"{path}: expected every column once, got {', '.join(names)}. Hint: rename all but one.")
    missing = [name for name in columns if name not in names]
    if missing:
        raise NextreelError(
            f"{path}: expected the columns {', '.join(columns)}, got {', '.join(names)}. "
            f"Hint: {', '.join(missing)} must be added or renamed."
        )
    return table


def _parquet(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def _csv(path: Path, text: tuple[str, ...]) -> Any:
    from pyarrow import csv

    one_by_one = csv.ReadOptions(use_threads=False)  # so that the parser knows the number of a broken row
    kept = csv.ConvertOptions(column_types=dict.fromkeys(text, "string"))
    return csv.read_csv(path, read_options=one_by_one, convert_options=kept)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def read_ids(path: Path) -> list[str]:
    """User ids as text, in the file's order: the column user_id of a table, or one id a line of any other file."""
    if path.suffix in {".parquet", ".csv"}:
        return [str(user_id) for user_id in read(path, ("user_id",), text=("user_id",)).column("user_id").to_pylist()]
    if not path.is_file():
        raise NextreelError(f"Expected `all` or a file of user ids, found no file {path}.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write(table: Any, path: Path) -> None:
    """Writes the Arrow table as `.parquet` or `.csv`; a reader never sees half a file.

    Raises NextreelError when such a file cannot hold one of the columns.
    """
    import pyarrow as pa

    if path.suffix not in {".parquet", ".csv"}:
        raise NextreelError(f"Expected --out to end in .parquet or .csv, got {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole(path) as half:
            if path.suffix == ".parquet":
                from pyarrow import parquet

                parquet.write_table(table, half)
            else:
                from pyarrow import csv

                csv.write_csv(table, half)
    except pa.ArrowException as error:
        raise NextreelError(
            f"Expected columns that a {path.suffix} file can hold, got: {_first_line(error)}. "
            "Hint: a .parquet file holds more types."
        ) from error
