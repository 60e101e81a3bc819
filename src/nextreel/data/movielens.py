"""MovieLens-1M: reading its `.dat` files, and fetching them from GroupLens.

F. M. Harper and J. A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 19.
Research use only; the files may not be passed on, so they belong in no repository, package or image.
"""

from __future__ import annotations

import re
import zipfile
from hashlib import md5, sha256
from io import BytesIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from nextreel.data.dataset import Tables
from nextreel.data.errors import DataError, Problem, Report, RowNumbers, Told
from nextreel.data.versions import Source
from nextreel.types import Kind, NextreelError

URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MD5 = "c4d9eecfca2ab87c1945afe126590906"  # as GroupLens publishes it beside the archive
FILES = ("ratings.dat", "movies.dat", "users.dat", "README")
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_BY_HAND = (
    "download ml-1m.zip from grouplens.org/datasets/movielens/1m with a browser, unpack it, and pass the folder that "
    "holds ratings.dat."
)
_LONGEST = 1 << 26  # bytes; the archive has 5.9 MB, its largest file 24.6 MB


def tables(folder: Path, report: Report, sources: list[Source]) -> Tables:
    """The tables of a folder with `ratings.dat`, `movies.dat` and `users.dat`; what is wrong goes to the report.

    A rating is a watched video with the rating as its value. Ages are those of the file: the least age of each group,
    1 for people under 18. A video counts as published on 1 January of the year in its title.
    """
    missing = [name for name in FILES[:3] if not (folder / name).is_file()]
    if missing:
        raise DataError.of(folder.name, ", ".join(FILES[:3]), f"no {' and no '.join(missing)}")
    return Tables(
        interactions=_ratings(_bytes(folder / "ratings.dat", sources), report),
        users=_users(_lines(_bytes(folder / "users.dat", sources), "users.dat", 5, report), report),
        videos=_movies(_lines(_bytes(folder / "movies.dat", sources), "movies.dat", 3, report), report),
    )


def _bytes(path: Path, sources: list[Source]) -> bytes:
    data = path.read_bytes()
    sources.append(Source(path.name, len(data), sha256(data).hexdigest()))
    return data


def _ratings(data: bytes, report: Report) -> pl.DataFrame:
    file, names = "ratings.dat", ["user_id", "video_id", "value", "timestamp"]
    text = data.replace(b"::", b"\t")
    skipped: list[int] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        skipped.append(int(row.number))
        report.add(Problem(file, row.number, None, "4 cells divided by ::", f"{row.actual_columns}"))
        return "skip"

    def table(dtype: pa.DataType) -> pa.Table:
        skipped.clear()
        return pa_csv.read_csv(
            pa.BufferReader(text),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 24),
            parse_options=pa_csv.ParseOptions(delimiter="\t", quote_char=False, invalid_row_handler=refuse),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, dtype), check_utf8=False),
        )

    try:
        frame = pl.from_arrow(table(pa.int64()))
    except pa.ArrowInvalid:
        report.counts.pop(file, None)
        report.kept = [problem for problem in report.kept if problem.file != file]
        frame = _judged(table(pa.large_binary()), file, report, skipped)
    if not isinstance(frame, pl.DataFrame) or frame.height == 0:
        raise DataError.of(file, "at least one rating", "no rows")
    report.rows[file] = frame.height + len(skipped)
    for name, low, high in (("value", 1, 5), ("timestamp", 0, 4_102_444_800)):
        bad = ~frame[name].is_between(low, high).fill_null(value=True).to_numpy().astype(np.bool_)
        told = Told(f"a whole number from {low} to {high}", frame[name])
        report.add_rows(file, name, bad, RowNumbers(tuple(skipped)), told)
    return frame.with_columns(pl.col("timestamp", "value").cast(pl.Float64), kind=pl.lit(int(Kind.WATCH), pl.Int8))


def _judged(table: pa.Table, file: str, report: Report, skipped: list[int]) -> pl.DataFrame:
    """The table as integers, null where a cell is none; each such cell is counted."""
    columns: dict[str, pl.Series] = {}
    for name in table.column_names:
        raw = [cell.decode("latin-1") for cell in table[name].to_pylist()]
        values = pl.Series(name, raw).cast(pl.Int64, strict=False)
        told = Told("a whole number", raw)
        report.add_rows(file, name, values.is_null().to_numpy().astype(np.bool_), RowNumbers(tuple(skipped)), told)
        columns[name] = values
    return pl.DataFrame(columns)


def _lines(data: bytes, file: str, width: int, report: Report) -> list[tuple[int, list[str]]]:
    """Row number and cells of each line; lines of another width are counted."""
    good: list[tuple[int, list[str]]] = []
    lines = [line for line in data.decode("latin-1").replace("\r\n", "\n").split("\n") if line]
    for row, line in enumerate(lines, 1):
        cells = line.split("::")
        if len(cells) == width and cells[0].isdecimal() and len(cells[0]) < 19:
            good.append((row, cells))
        else:
            report.add(Problem(file, row, None, f"{width} cells divided by ::, the first a number", repr(line[:80])))
    report.rows[file] = len(lines)
    return good


def _users(lines: list[tuple[int, list[str]]], report: Report) -> pl.DataFrame:
    bad = [row for row, cells in lines if not (cells[2].isdecimal() and int(cells[2]) <= 130)]
    for row in bad:
        report.add(Problem("users.dat", row, "age", "a number from 0 to 130", "something else"))
    _once([int(cells[0]) for _, cells in lines], "users.dat", report)
    return pl.DataFrame(
        {
            "user_id": pl.Series([int(cells[0]) for _, cells in lines], dtype=pl.Int64),
            "gender": pl.Series([cells[1] or None for _, cells in lines], dtype=pl.String),
            "age": pl.Series([None if row in bad else float(cells[2]) for row, cells in lines], dtype=pl.Float64),
        }
    )


def _movies(lines: list[tuple[int, list[str]]], report: Report) -> pl.DataFrame:
    titles = [cells[1].strip() for _, cells in lines]
    genres = [[genre for genre in cells[2].strip().split("|") if genre] for _, cells in lines]
    years = [int(found[1]) if (found := _YEAR.search(title)) else None for title in titles]
    _once([int(cells[0]) for _, cells in lines], "movies.dat", report)
    return pl.DataFrame(
        {
            "video_id": pl.Series([int(cells[0]) for _, cells in lines], dtype=pl.Int64),
            "title": pl.Series(titles, dtype=pl.String),
            "category": pl.Series([listed[0] if listed else None for listed in genres], dtype=pl.String),
            "child_categories": pl.Series(genres, dtype=pl.List(pl.String)),
            "published_at": pl.Series([None if year is None else _new_year(year) for year in years], dtype=pl.Float64),
        }
    )


def _new_year(year: int) -> float:
    return float(np.datetime64(f"{year:04d}-01-01", "s").astype(np.int64))


def _once(ids: list[int], file: str, report: Report) -> None:
    again = ~pl.Series(ids, dtype=pl.Int64).is_first_distinct().to_numpy().astype(np.bool_)
    report.add_rows(file, "id", again, RowNumbers(), Told("every id once", ids))


def fetch(to: Path) -> Path:
    """The folder with the files of MovieLens-1M, downloaded from GroupLens and verified by checksum.

    Raises `NextreelError` when the archive cannot be fetched or is not the published one.
    """
    try:
        with urlopen(URL, timeout=30) as answer:  # a constant https address
            archive = answer.read(_LONGEST)
    except (URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise NextreelError(
            f"Expected an answer from {URL}, got: {reason}. Hint: without a network, {_BY_HAND}"
        ) from error
    return unpack(archive, Path(to))


def unpack(archive: bytes, to: Path, checksum: str = MD5) -> Path:
    """The folder with the archive's data files, written only after the checksum has proved right."""
    found = md5(archive, usedforsecurity=False).hexdigest()
    if found != checksum:
        raise NextreelError(
            f"Expected the archive with md5 {checksum}, got {found} ({len(archive):,} bytes): nothing was written. "
            f"Hint: try again, or {_BY_HAND}"
        )
    to.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(BytesIO(archive)) as opened:
        for member in opened.infolist():
            name = Path(member.filename).name  # the folder inside is dropped, so no member can climb out of `to`
            if name in FILES and not member.is_dir() and member.file_size <= _LONGEST:
                (to / name).write_bytes(opened.read(member))
    return to
