"""Tables from and to files, chosen by the ending of their name: Parquet, CSV, and plain lists of ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nextreel.folders import whole
from nextreel.types import NextreelError


def read(path: Path, columns: tuple[str, ...], text: tuple[str, ...] = ()) -> Any:
    """The Arrow table in a `.parquet` or `.csv` file; of a CSV file the columns in `text` stay text ("007" is no 7).

    Raises NextreelError when it lacks one of the columns.
    """
    if not path.is_file():
        raise NextreelError(f"Expected a table at {path}, found no file. Hint: give a .parquet or .csv file.")
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
    elif path.suffix == ".csv":
        from pyarrow import csv

        kept = csv.ConvertOptions(column_types=dict.fromkeys(text, "string"))
        table = csv.read_csv(path, convert_options=kept)
    else:
        raise NextreelError(f"Expected a .parquet or .csv file, got {path}.")
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise NextreelError(
            f"{path}: expected the columns {', '.join(columns)}, got {', '.join(table.column_names)}. "
            f"Hint: {', '.join(missing)} must be added or renamed."
        )
    return table


def read_ids(path: Path) -> list[str]:
    """User ids as text, in the file's order: the column user_id of a table, or one id a line of any other file."""
    if path.suffix in {".parquet", ".csv"}:
        return [str(user_id) for user_id in read(path, ("user_id",), text=("user_id",)).column("user_id").to_pylist()]
    if not path.is_file():
        raise NextreelError(f"Expected `all` or a file of user ids, found no file {path}.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write(table: Any, path: Path) -> None:
    """Writes the Arrow table as `.parquet` or `.csv`; a reader never sees half a file."""
    if path.suffix not in {".parquet", ".csv"}:
        raise NextreelError(f"Expected --out to end in .parquet or .csv, got {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as half:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            parquet.write_table(table, half)
        else:
            from pyarrow import csv

            csv.write_csv(table, half)
