"""MovieLens: reading the `.dat` files of the 1M set, fetching them, and what the other sets are read with too.

F. M. Harper and J. A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 19.
Research use only; the files may not be passed on, so they belong in no repository, package or image.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from hashlib import md5, sha256
from io import BytesIO
from pathlib import Path
from typing import TypeAlias
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
_YEAR = re.compile(r"\(([12][0-9]{3})\)\s*$")
_BY_HAND = (
    "download ml-1m.zip from grouplens.org/datasets/movielens/1m with a browser, unpack it, and pass the folder that "
    "holds ratings.dat."
)
_MARKS = {"\t": "a tab"}  # how a mark is called where it cannot be seen
_LATEST = 4_102_444_800  # 2100-01-01 UTC
_LONGEST = 1 << 26  # bytes; the archive has 5.9 MB, its largest file 24.6 MB

Lines: TypeAlias = list[tuple[int, list[str]]]  # row number and cells of each line that has the right width


def tables(folder: Path, report: Report, sources: list[Source]) -> Tables:
    """The tables of a folder with `ratings.dat`, `movies.dat` and `users.dat`; what is wrong goes to the report.

    A rating is a watched video with the rating as its value. Ages are those of the file: the least age of each group,
    1 for people under 18. A video counts as published on 1 January of the year in its title.
    """
    require(folder, FILES[:3])
    interactions, _ = ratings(read_bytes(folder / "ratings.dat", sources), "ratings.dat", report)
    people = split_lines(read_bytes(folder / "users.dat", sources), "users.dat", 5, report)
    return Tables(
        interactions=interactions,
        users=users(people, "users.dat", report, gender=1, age=2),
        videos=_movies(split_lines(read_bytes(folder / "movies.dat", sources), "movies.dat", 3, report), report),
    )


def require(folder: Path, files: Sequence[str]) -> None:
    """Returns when all the files are there, raises `DataError` that names the missing ones otherwise."""
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise DataError.of(folder.name, ", ".join(files), f"no {' and no '.join(missing)}")


def read_bytes(path: Path, sources: list[Source]) -> bytes:
    """The file's bytes; its name, size and hash join the sources."""
    data = path.read_bytes()
    sources.append(Source(path.name, len(data), sha256(data).hexdigest()))
    return data


def ratings(data: bytes, file: str, report: Report, mark: str = "::") -> tuple[pl.DataFrame, RowNumbers]:
    """The interactions of lines with user, movie, rating and time divided by `mark`, and where they stand in the file.

    Ratings are whole numbers from 1 to 5; what is wrong goes to the report.
    """
    names = ["user_id", "video_id", "value", "timestamp"]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data.replace(mark.encode(), b"\t")),
            read_options=pa_csv.ReadOptions(column_names=names),
            parse_options=pa_csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.int64()), null_values=[]),
        )
    except pa.ArrowInvalid:  # something is wrong: read line by line to say what
        lines = split_lines(data, file, len(names), report, mark)
        rows = RowNumbers(tuple(sorted(set(range(1, report.rows[file] + 1)) - {row for row, _ in lines})))
        frame = pl.DataFrame(
            {name: integers([cells[at] for _, cells in lines]) for at, name in enumerate(names)}, strict=False
        )
    else:
        rows = RowNumbers()
        frame = pl.DataFrame({name: pl.Series(name, table[name].to_numpy()) for name in names})
        report.rows[file] = frame.height
    if frame.height == 0 and report.ok:
        report.add(Problem(file, None, None, "at least one rating", "no rows"))
    for name, low, high in (
        ("user_id", 0, 1 << 62),
        ("video_id", 0, 1 << 62),
        ("value", 1, 5),
        ("timestamp", 0, _LATEST),
    ):
        bad = ~frame[name].is_between(low, high).fill_null(value=False).to_numpy().astype(np.bool_)
        report.add_rows(file, name, bad, rows, Told(f"a whole number from {low} to {high}", frame[name]))
    return as_watches(frame), rows


def as_watches(frame: pl.DataFrame) -> pl.DataFrame:
    """The ratings as interactions: each is a watched video with the rating as its value."""
    return frame.with_columns(pl.col("timestamp", "value").cast(pl.Float64), kind=pl.lit(int(Kind.WATCH), pl.Int8))


def integers(cells: list[str]) -> pl.Series:
    """Whole numbers, null for a cell that is none."""
    return pl.Series(cells, dtype=pl.String).str.strip_chars().cast(pl.Int64, strict=False)


def split_lines(data: bytes, file: str, width: int, report: Report, mark: str = "::") -> Lines:
    """Row number and cells of each line of Latin-1 text; lines of another width are counted."""
    good: Lines = []
    lines = [line for line in data.decode("latin-1").replace("\r\n", "\n").split("\n") if line]
    for row, line in enumerate(lines, 1):
        cells = line.split(mark)
        if len(cells) != width:
            report.add(Problem(file, row, None, f"{width} cells divided by {_MARKS.get(mark, mark)}", repr(line[:80])))
        else:
            good.append((row, cells))
    report.rows[file] = len(lines)
    return good


def users(lines: Lines, file: str, report: Report, gender: int, age: int) -> pl.DataFrame:
    """The people of lines with the id first; `gender` and `age` are the places of those cells."""
    ages = integers([cells[age] for _, cells in lines])
    for (row, cells), years in zip(lines, ages.to_list(), strict=True):
        if years is None or not 0 <= years <= 130:
            report.add(Problem(file, row, "age", "a number from 0 to 130", repr(cells[age])))
    return pl.DataFrame(
        {
            "user_id": first_ids(lines, file, report),
            "gender": pl.Series([cells[gender] or None for _, cells in lines], dtype=pl.String),
            "age": ages.cast(pl.Float64),
        }
    )


def _movies(lines: Lines, report: Report) -> pl.DataFrame:
    titles = [cells[1].strip() for _, cells in lines]
    genres = [[genre for genre in cells[2].strip().split("|") if genre] for _, cells in lines]
    return videos(first_ids(lines, "movies.dat", report), titles, genres)


def videos(ids: pl.Series, titles: Sequence[str], genres: Sequence[Sequence[str]]) -> pl.DataFrame:
    """The videos of movies: the first genre is the category, published is the year that ends the title."""
    years = [int(found[1]) if (found := _YEAR.search(title)) else None for title in titles]
    return pl.DataFrame(
        {
            "video_id": ids,
            "title": pl.Series(titles, dtype=pl.String),
            "category": pl.Series([listed[0] if listed else None for listed in genres], dtype=pl.String),
            "child_categories": pl.Series([list(one) for one in genres], dtype=pl.List(pl.String)),
            "published_at": pl.Series([None if year is None else _new_year(year) for year in years], dtype=pl.Float64),
        }
    )


def first_ids(lines: Lines, file: str, report: Report) -> pl.Series:
    """The first cells as ids, each of which may be there once."""
    ids = integers([cells[0] for _, cells in lines])
    again = ~ids.is_first_distinct()
    for (row, cells), one, twice in zip(lines, ids.to_list(), again.to_list(), strict=True):
        if one is None or twice:
            expected = "a whole number" if one is None else "every id once"
            report.add(Problem(file, row, "id", expected, repr(cells[0])))
    return ids


def _new_year(year: int) -> float:
    return float(np.datetime64(f"{year:04d}-01-01", "s").astype(np.int64))


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
