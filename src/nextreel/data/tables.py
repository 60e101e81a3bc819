"""Reading a CSV or Parquet file piece by piece into columns: text as it stands in a CSV, typed from Parquet."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from nextreel.data.errors import DataError, Fault, Report, RowNumbers, Told
from nextreel.data.ids import no_texts
from nextreel.data.schemas import INTERACTIONS
from nextreel.data.versions import Source

SUFFIXES = (".parquet", ".csv", ".csv.gz")
PIECE = 1 << 19  # rows that are read and judged at a time
_BLOCK = 1 << 20  # bytes of text
_TAB = "\t"
_MARK = "\ufdd0"  # Unicode keeps it for use inside programs
_MARKS = {_TAB: "a tab"}  # how a mark is called where it cannot be seen
_CODED = {
    name
    for column in INTERACTIONS.columns
    for name in (column.name, *column.aliases)
    if column.coded or column.type == "kind"
}
_FAULTS = (pa.ArrowException, OSError, EOFError, ValueError, zlib.error)  # what broken bytes make the readers raise

Numbered: TypeAlias = defaultdict[str, pl.Series]  # column -> `no_texts` that keep the numbers of its texts


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that could not be split into cells."""

    row: int
    text: str
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Raw:
    """The columns of a file, or of one piece of it, before any check."""

    file: str
    frame: pl.DataFrame
    rows: RowNumbers
    broken: tuple[Broken, ...] = ()  # rows that are not in the frame
    faults: tuple[Fault, ...] = ()  # cells that are no text


def suffix_of(path: Path) -> str | None:
    """The ending that says how to read the file, None for one that is no table."""
    return next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)


def pieces(
    path: Path, name: str, report: Report, sources: list[Source], texts: Numbered | None = None
) -> Iterator[Raw]:
    """The file in pieces of at most about `PIECE` rows, at least one; `name` is how reports call it.

    Files that are given the same `texts` have the same numbers for texts of the same columns, so that each of them is
    read once.
    The file's size and hash join the sources, its rows are counted in the report. Raises `DataError` when it cannot
    be read as a table to its end.
    """
    try:
        with path.open("rb") as opened:
            size = path.stat().st_size
            sources.append(Source(name, size, file_digest(opened, "sha256").hexdigest()))
            if size == 0 and "/" in name:  # how some tools write a part without rows
                report.rows[name] = 0
                report.warnings.append(f"{name}: the part is empty")
                return
            opened.seek(0)
            match suffix_of(path):
                case ".parquet":
                    texts = defaultdict(no_texts) if texts is None else texts
                    yield from _counted(_parquet(name, opened, texts), report)
                case ".csv.gz":
                    with gzip.open(opened) as packed:
                        yield from _counted(csv(name, cast("IO[bytes]", packed)), report)
                case _:
                    yield from _counted(csv(name, opened), report)
    except OSError as error:
        raise DataError.of(name, "a readable file", str(error.strerror or error)) from error


def _counted(found: Iterable[Raw], report: Report) -> Iterator[Raw]:
    for raw in found:
        report.rows[raw.file] = report.rows.get(raw.file, 0) + raw.frame.height + len(raw.broken)
        yield raw


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _once(file: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError.of(file, "every column once", f"more than one column {', '.join(map(repr, twice))}")


def _parquet(file: str, opened: IO[bytes], texts: Numbered) -> Iterator[Raw]:
    try:
        source = pa.PythonFile(opened, mode="r")
        found = pa_parquet.ParquetFile(source)
        schema = found.schema_arrow
        _once(file, schema.names)
        words = [one.name for one in schema if one.name in _CODED and _is_text(one.type)]
        # dictionaries as they are stored: each distinct text is judged once
        found = pa_parquet.ParquetFile(source, read_dictionary=words, metadata=found.metadata)
        start = 0
        for frame in _ahead(
            _frame(file, table, texts) for table in _joined(found.iter_batches(PIECE), found.schema_arrow)
        ):
            yield Raw(file, frame, RowNumbers(start=start))
            start += frame.height
    except _FAULTS as error:
        raise DataError.of(file, "a Parquet file", _first_line(error)) from error


def _ahead(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The frames, each one decoded while the one before it is judged: Arrow and polars work without Python's lock."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = reader.submit(next, frames, None)
            yield frame


def _joined(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The batches, at least one table, put together to about `PIECE` rows."""
    waiting: list[pa.RecordBatch] = []
    rows, none_yet = 0, True
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= PIECE:
            yield pa.Table.from_batches(waiting)
            waiting, rows, none_yet = [], 0, False
    if waiting or none_yet:
        yield pa.Table.from_batches(waiting, schema=waiting[0].schema if waiting else schema)


def _frame(file: str, table: pa.Table, texts: Numbered) -> pl.DataFrame:
    """The table with polars' types; a dictionary of texts becomes a categorical of the column's, times become UTC."""
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        plain = column
        if pa.types.is_dictionary(column.type):
            if _is_text(column.type.value_type):
                columns.append(_words(name, column, texts[name]))
                continue
            plain = column.cast(column.type.value_type)
        elif pa.types.is_timestamp(column.type) and column.type.tz is not None:
            plain = column.cast(pa.timestamp(column.type.unit, "UTC"))  # the moment stays: Arrow keeps it in UTC
        try:
            columns.append(pl.Series(name, pl.from_arrow(plain)))
        except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError) as error:
            raise DataError.of(file, f"column {name!r} of a plain type", _first_line(error)) from error
    return pl.DataFrame(columns)


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _words(name: str, column: pa.ChunkedArray, texts: pl.Series) -> pl.Series:
    parts = [texts.alias(name)]
    for chunk in column.chunks:
        distinct = pl.Series(name, pl.from_arrow(chunk.dictionary.cast(pa.large_string())), pl.String)
        parts.append(distinct.cast(texts.dtype).gather(pl.Series(pl.from_arrow(chunk.indices)).cast(pl.UInt32)))
    return pl.concat(parts)


def _marked(error: UnicodeError) -> tuple[str, int]:
    """The bytes that are no UTF-8 as text that no file holds: a noncharacter before the number of each."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(f"{_MARK}x{byte:02x}" for byte in bad), error.end


codecs.register_error("nextreel-mark", _marked)


class _Text(io.RawIOBase):
    """A stream of UTF-8 made from any bytes; counts quotation marks and sees bytes that are no UTF-8."""

    def __init__(self, inner: IO[bytes]) -> None:
        self._inner = inner
        self._rest = b""  # the beginning of a character whose end was not read yet
        self._ready = b""
        self.quotes = 0
        self.marked = False

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes; those that are no UTF-8 are marked."""
        while not self._ready:
            read = self._inner.read(size if size > 0 else _BLOCK)
            data = self._rest + read
            if not data:
                return b""
            try:
                _, used = codecs.utf_8_decode(data, "strict", not read)
                self._ready = data[:used]
            except UnicodeDecodeError:
                self.marked = True
                text, used = codecs.utf_8_decode(data, "nextreel-mark", not read)
                self._ready = text.encode()
            self._rest = data[used:]
            self.quotes += self._ready.count(b'"')
        given, self._ready = (self._ready, b"") if size < 0 else (self._ready[:size], self._ready[size:])
        return given

    def close(self) -> None:
        """Nothing: whoever opened the stream closes it."""


@dataclass(slots=True)
class _Refused:
    """Remembers the rows of a wrong width that the parser meets."""

    header: int  # rows above the data
    mark: str  # what divides cells in the file, where it is not a comma
    rows: list[Broken] = field(default_factory=list)

    def __call__(self, row: Any) -> str:
        """Tells the parser to go on."""
        text = str(row.text).replace(_MARK, "\\")
        expected = f"{row.expected_columns} cells"
        if self.mark:
            text = text.replace(_TAB, self.mark)
            expected += f" divided by {_MARKS.get(self.mark, self.mark)}"
        self.rows.append(
            Broken(int(row.number) - self.header, text, expected, f"{row.actual_columns}: {_short(repr(text))}")
        )
        return "skip"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def lines(file: str, data: bytes, names: Sequence[str], mark: str, report: Report) -> Iterator[Raw]:
    """The pieces of Latin-1 text without a header and without quotation marks, its cells divided by `mark`."""
    text = data.decode("latin-1")
    if mark != _TAB:
        text = text.replace(_TAB, " ").replace(mark, _TAB)
    return _counted(csv(file, io.BytesIO(text.encode()), names, mark), report)


def csv(file: str, opened: IO[bytes], names: Sequence[str] = (), mark: str = "") -> Iterator[Raw]:
    """The pieces of a text in UTF-8 whose cells are divided by commas; the first line names the columns.

    With `names` there is no such line, a tab divides the cells, quotation marks mean nothing, and `mark` stands for
    the tab in reports. Raises `DataError` when the text is no table.
    """
    quoted = not names
    refused = _Refused(1 if quoted else 0, mark)
    text = _Text(opened)
    start = 0
    try:
        columns = names or _header(file, opened)
        _once(file, columns)
        reader = pa_csv.open_csv(
            pa.PythonFile(text, mode="r"),
            # one thread, so that the parser knows the number of a refused row
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names or None),
            parse_options=pa_csv.ParseOptions(
                delimiter="," if quoted else _TAB,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=refused,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.large_string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
        with reader:
            for table in _joined(reader, reader.schema):
                raw = _piece(file, table, start, refused.rows, text.marked)
                start += table.num_rows + len(raw.broken)
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError.of(file, "a file that can be read to its end", _first_line(error)) from error
    except (pa.ArrowException, ValueError) as error:
        wanted = "a CSV file with a header line" if quoted else f"lines of {len(names)} cells"
        raise DataError.of(file, wanted, _first_line(error)) from error
    if refused.rows:  # those after the last row that could be split
        yield Raw(file, pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), RowNumbers(), tuple(refused.rows))
    if quoted and text.quotes % 2:
        raise DataError.of(
            file, "every quotation mark closed", "an odd number of them", 'write a " inside a cell as "".'
        )


def _piece(file: str, table: pa.Table, start: int, refused: list[Broken], marked: bool) -> Raw:
    """The piece of text that follows `start` data rows; takes the refused rows that lie within it from the list."""
    n = 0
    while n < len(refused) and refused[n].row <= start + table.num_rows + n:
        n += 1
    broken = tuple(refused[:n])
    del refused[:n]
    frame = pl.DataFrame([pl.Series(name, pl.from_arrow(column), pl.String)
                          for name, column in zip(table.column_names, table.columns, strict=True)])  # fmt: skip
    faults: list[Fault] = []
    if marked:
        for cells in frame.iter_columns():
            bad = cells.str.contains(_MARK, literal=True).fill_null(value=False).to_numpy()
            if bad.any():
                shown = cells.str.replace_all(_MARK, "\\", literal=True)
                frame = frame.with_columns(shown)
                faults.append(Fault(cells.name, bad.astype(np.bool_), Told("text in UTF-8", shown)))
    return Raw(file, frame, RowNumbers(tuple(one.row for one in broken), start), broken, tuple(faults))


def _header(file: str, opened: IO[bytes]) -> list[str]:
    """The column names in the first line that is not empty; the stream is at its start again."""
    block = opened.read(_BLOCK)
    opened.seek(0)
    for end in re.finditer(rb"[\r\n]|\Z", block):
        line = block[: end.start()]
        if line.count(b'"') % 2 == 0 and line.strip(b"\r\n\xef\xbb\xbf"):
            break
    else:
        line = b""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise DataError.of(file, "column names in UTF-8", _first_line(error)) from error
    options = pa_csv.ParseOptions(newlines_in_values=True)
    return list(pa_csv.read_csv(pa.BufferReader(line + b"\n"), parse_options=options).column_names)
