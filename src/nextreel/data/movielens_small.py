"""The smaller MovieLens sets: 100K with its `u.` files, and latest-small with its CSV files.

F. M. Harper and J. A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 19.
Research use only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import polars as pl

from nextreel.data.dataset import Tables
from nextreel.data.errors import DataError, Problem, Report, Told
from nextreel.data.movielens import (
    Lines,
    as_watches,
    first_ids,
    integers,
    ratings,
    read_bytes,
    require,
    split_lines,
    users,
    videos,
)
from nextreel.data.schemas import Column, Schema
from nextreel.data.tables import Raw, read
from nextreel.data.validation import clean
from nextreel.data.versions import Source

Reader: TypeAlias = Callable[[Path, Report, list[Source]], Tables | None]

FILES_100K = ("u.data", "u.item", "u.user", "u.genre")
FILES_LATEST = ("ratings.csv", "movies.csv")
_LATEST_TOO = ("tags.csv", "links.csv")  # may be there; not read
_NO_GENRE = ("unknown", "(no genres listed)")  # how the sets write that nobody said
_BEFORE_FLAGS = 5  # cells of u.item: id, title, release date, video release date, address
_DATE = "%d-%b-%Y"

_MOVIE = Column("video_id", "id", "the movie", required=True, aliases=("movieId",))
_USER = Column("user_id", "id", "who", required=True, aliases=("userId",))
_WHEN = Column("timestamp", "time", "when", required=True)
RATINGS = Schema(
    "ratings",
    (_USER, _MOVIE, Column("value", "number", "stars", required=True, low=0.5, high=5, aliases=("rating",)), _WHEN),
)
MOVIES = Schema(
    "movies",
    (
        Column("video_id", "id", "the movie", required=True, unique=True, aliases=("movieId",)),
        Column("title", "text", "title and year", required=True),
        Column("genres", "list", "genres", required=True),
    ),
)


def reader_of(folder: Path) -> Reader | None:
    """What reads the folder; None where neither set lies in it.

    One of `u.data` and `u.item` makes it 100K. Two of the CSV names make it latest-small, unless there is a file of
    interactions; `ratings.csv` alone is a file of interactions itself.
    """
    if any((folder / name).is_file() for name in FILES_100K[:2]):
        return tables_100k
    if any((folder / f"interactions{suffix}").is_file() for suffix in (".parquet", ".csv")):
        return None
    csv = sum((folder / name).is_file() for name in FILES_LATEST + _LATEST_TOO)
    return tables_latest if csv >= 2 else None


def tables_100k(folder: Path, report: Report, sources: list[Source]) -> Tables:
    """The tables of a folder with `u.data`, `u.item`, `u.user` and `u.genre`; what is wrong goes to the report.

    A rating is a watched video with the rating as its value. A video counts as published on its release date, where
    there is none on 1 January of the year in its title. Raises `DataError` when a file is missing.
    """
    require(folder, FILES_100K)
    data, item, user, genre = (read_bytes(folder / name, sources) for name in FILES_100K)
    interactions, rows = ratings(data, "u.data", report, "\t")
    people = users(split_lines(user, "u.user", 5, report, "|"), "u.user", report, gender=2, age=1)
    genres = _genres(split_lines(genre, "u.genre", 2, report, "|"), report)
    movies = _movies(split_lines(item, "u.item", _BEFORE_FLAGS + len(genres), report, "|"), genres, report)
    known = {"user_id": ("u.user", people["user_id"]), "video_id": ("u.item", movies["video_id"])}
    for column, (file, ids) in known.items():
        if file not in report.counts:  # else its refused rows would be missed in every rating of them
            _refuse_strangers(Raw("u.data", interactions, rows), column, ids, file, report)
    return Tables(interactions=interactions, users=people, videos=movies)


def _genres(lines: Lines, report: Report) -> list[str]:
    """The names of the genres in the order of the flags in `u.item`."""
    places = integers([cells[1] for _, cells in lines])
    for at, ((row, cells), place) in enumerate(zip(lines, places.to_list(), strict=True)):
        if place != at:
            report.add(Problem("u.genre", row, "number", f"{at}, as genres are numbered from 0", repr(cells[1])))
    return [cells[0].strip() for _, cells in lines]


def _movies(lines: Lines, genres: list[str], report: Report) -> pl.DataFrame:
    flags = np.array([cells[_BEFORE_FLAGS:] for _, cells in lines], dtype=object).reshape(len(lines), len(genres))
    for at in np.flatnonzero(~np.isin(flags, ("0", "1")).all(axis=1)).tolist():
        told = "|".join(flags[at])[:80]
        report.add(Problem("u.item", lines[at][0], "genres", "0 or 1 for each genre", repr(told)))
    named = [[genre for genre, flag in zip(genres, row, strict=True) if flag == "1"] for row in flags.tolist()]
    table = videos(
        first_ids(lines, "u.item", report), [cells[1].strip() for _, cells in lines], [_told(one) for one in named]
    )
    texts = pl.Series([cells[2].strip() or None for _, cells in lines], dtype=pl.String)
    dates = texts.str.to_date(_DATE, strict=False)
    for at in (dates.is_null() & texts.is_not_null()).arg_true().to_list():
        report.add(Problem("u.item", lines[at][0], "release date", "a date such as 01-Jan-1995", repr(texts[at])))
    released = dates.cast(pl.Int32).cast(pl.Float64) * 86_400.0  # days to seconds since 1970
    return table.with_columns(released.alias("released")).select(
        pl.exclude("released", "published_at"), pl.coalesce("released", "published_at").alias("published_at")
    )


def _told(genres: list[str]) -> list[str]:
    """The genres without the word for none."""
    return [genre for genre in genres if genre not in _NO_GENRE]


def tables_latest(folder: Path, report: Report, sources: list[Source]) -> Tables | None:
    """The tables of a folder with `ratings.csv` and `movies.csv`.

    A rating, 0.5 to 5 stars, is a watched video with the rating as its value. A video counts as published on 1 January
    of the year in its title. `tags.csv` is not read: a catalogue has no times, so a model would know words that people
    gave a video after a split.
    None where something is wrong, which goes to the report. Raises `DataError` when a file is missing.
    """
    require(folder, FILES_LATEST)
    rated = _table(folder / "ratings.csv", RATINGS, report, sources)
    films = _table(folder / "movies.csv", MOVIES, report, sources)
    if rated is not None and rated.frame.height == 0 and "ratings.csv" not in report.counts:
        report.add(Problem("ratings.csv", None, None, "at least one rating", "no rows"))
    if rated is None or films is None:
        return None
    if "movies.csv" not in report.counts and "video_id" in rated.frame.columns:
        _refuse_strangers(rated, "video_id", films.frame["video_id"], "movies.csv", report)
    if not report.ok:
        return None
    genres = [_told(one) for one in films.frame["genres"].to_list()]
    movies = videos(films.frame["video_id"], films.frame["title"].to_list(), genres)
    return Tables(interactions=as_watches(rated.frame), videos=movies)


def _table(path: Path, schema: Schema, report: Report, sources: list[Source]) -> Raw | None:
    """The checked columns of a CSV file, its ids as whole numbers; None where it cannot be read as a table."""
    try:
        raw = read(path, report, sources)
    except DataError as error:  # so that the other files are judged too
        report.merge(error.report)
        return None
    frame = clean(raw, schema, report)
    for name in ("user_id", "video_id"):
        if name in frame.columns:
            text = frame[name]
            whole = text.cast(pl.Int64, strict=False)
            # written in one way only, as 7 and 007 would become one id after "every id once" was judged
            same = (whole.cast(pl.String) == text.cast(pl.String)).fill_null(value=False)
            bad = (~same & text.is_not_null()).to_numpy().astype(np.bool_)
            report.add_rows(raw.file, _written(raw, name), bad, raw.rows, Told("a whole number such as 7", text))
            frame = frame.with_columns(whole)
    return Raw(raw.file, frame, raw.rows)


def _written(raw: Raw, column: str) -> str:
    """How the file names the column of ids."""
    return {"user_id": "userId", "video_id": "movieId"}[column] if raw.file.endswith(".csv") else column


def _refuse_strangers(raw: Raw, column: str, known: pl.Series, file: str, report: Report) -> None:
    """Counts the rows whose id is not in the file that should hold it."""
    ids = raw.frame[column]
    strange = ~ids.is_in(known.drop_nulls().implode()) & ids.is_not_null()
    bad = strange.fill_null(value=False).to_numpy().astype(np.bool_)
    report.add_rows(raw.file, _written(raw, column), bad, raw.rows, Told(f"an id of {file}", ids))
