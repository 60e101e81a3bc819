"""Reading one CSV or Parquet file into columns: text as it stands in a CSV, typed from Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from nextreel.data.errors import DataError, Problem, Report, RowNumbers
from nextreel.data.versions import Source


@dataclass(frozen=True, slots=True)
class Raw:
    """A file's columns before any check."""

    file: str
    frame: pl.DataFrame
    rows: RowNumbers


def read(path: Path, report: Report, sources: list[Source]) -> Raw:
    """The columns of a `.csv` or `.parquet` file.

    Rows of a wrong width are counted in the report. Raises `DataError` when the file cannot be read as a table.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError.of(path.name, "a readable file", str(error.strerror)) from error
    sources.append(Source(path.name, len(data), sha256(data).hexdigest()))
    table, rows = _parquet(path.name, data) if path.suffix == ".parquet" else _csv(path.name, data, report)
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError.of(path.name, "every column once", f"more than one column {', '.join(map(repr, twice))}")
    try:
        frame = pl.from_arrow(table)
    except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError) as error:
        raise DataError.of(path.name, "columns of plain types", _first_line(error)) from error
    if not isinstance(frame, pl.DataFrame):
        raise DataError.of(path.name, "a table", "a single column")
    report.rows[path.name] = frame.height + len(rows.skipped)
    return Raw(path.name, frame, rows)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _parquet(file: str, data: bytes) -> tuple[pa.Table, RowNumbers]:
    try:
        return pa_parquet.read_table(pa.BufferReader(data)), RowNumbers()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError.of(file, "a Parquet file", _first_line(error)) from error


def _csv(file: str, data: bytes, report: Report) -> tuple[pa.Table, RowNumbers]:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError.of(
            file, "text in UTF-8", f"byte 0x{data[error.start]:02x} in line {line:,}", "save the file as UTF-8."
        ) from error
    if data.count(b'"') % 2:
        raise DataError.of(
            file, "every quotation mark closed", "an odd number of them", 'write a " inside a cell as "".'
        )
    skipped: list[int] = []

    def refuse(row: Any) -> str:
        number = int(row.number) - 1  # the header is the first row the parser counts
        skipped.append(number)
        report.add(
            Problem(file, number, None, f"{row.expected_columns} cells", f"{row.actual_columns}: {row.text!r:.80}")
        )
        return "skip"

    names = _header(file, data)
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            # one thread, so that the parser knows the number of a refused row
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=max(1 << 20, min(len(data) + 1, 1 << 30))),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.large_string() for name in names},
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError.of(file, "a CSV file with a header line", _first_line(error)) from error
    return table, RowNumbers(tuple(skipped))


def _header(file: str, data: bytes) -> list[str]:
    """The column names, so that every column can be read as text."""
    options = pa_csv.ReadOptions(use_threads=False, block_size=1 << 20)
    parse = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip")
    try:
        with pa_csv.open_csv(pa.BufferReader(data), read_options=options, parse_options=parse) as reader:
            return list(reader.schema.names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError.of(file, "a CSV file with a header line", _first_line(error)) from error
