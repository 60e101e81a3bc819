"""The smaller MovieLens sets: 100K with its `u.` files, and latest-small with its CSV files.

F. M. Harper and J. A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 19.
Research use only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import polars as pl

from nextreel.data.dataset import Tables
from nextreel.data.errors import Fault, Problem, Told
from nextreel.data.intake import Intake
from nextreel.data.movielens import USERS, as_watches, cells, ratings, read_lines, require, videos
from nextreel.data.schemas import Column, Schema
from nextreel.data.tables import Raw, pieces
from nextreel.data.validation import clean, mask
from nextreel.types import DAY

Reader: TypeAlias = Callable[[Path, Intake], Tables | None]

FILES_100K = ("u.data", "u.item", "u.user", "u.genre")
FILES_LATEST = ("ratings.csv", "movies.csv")
_LATEST_TOO = ("tags.csv", "links.csv")  # may be there; not read
_NO_GENRE = ("unknown", "(no genres listed)")  # how the sets write that nobody said
_DATE = "%d-%b-%Y"
_BEFORE_FLAGS = ("video_id", "title", "release date", "video release date", "address")  # columns of u.item

RATINGS = Schema(
    "ratings",
    (
        Column("user_id", "whole", "who", required=True, aliases=("userId",), coded=True),
        Column("video_id", "whole", "the movie", required=True, aliases=("movieId",), coded=True),
        Column("value", "number", "stars", required=True, low=0.5, high=5, aliases=("rating",), coded=True),
        Column("timestamp", "time", "when", required=True),
    ),
)
MOVIES = Schema(
    "movies",
    (
        Column("video_id", "whole", "the movie", required=True, unique=True, aliases=("movieId",)),
        Column("title", "text", "title and year", required=True),
        Column("genres", "list", "genres", required=True),
    ),
)
GENRES = Schema(
    "genres",
    (
        Column("name", "text", "the genre", required=True, unique=True),
        Column("number", "whole", "its place among the flags of u.item, from 0", required=True),
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


def tables_100k(folder: Path, intake: Intake) -> Tables | None:
    """The tables of a folder with `u.data`, `u.item`, `u.user` and `u.genre`; None where anything was refused.

    A rating is a watched video with the rating as its value. A video counts as published on its release date, where
    there is none on 1 January of the year in its title. Raises `DataError` when a file is missing.
    """
    require(folder, FILES_100K)
    names = ("user_id", "age", "gender", "occupation", "zip")
    people = read_lines(folder / "u.user", intake, USERS, names, "|")
    genres = _genres(folder / "u.genre", intake)
    movies = None if genres is None else _movies(folder / "u.item", genres, intake)
    held = {"users": ("u.user", people), "videos": ("u.item", movies)}
    rows = ratings(folder / "u.data", intake, held, "\t")
    if rows is None or people is None or movies is None:
        return None
    return Tables(interactions=as_watches(rows), users=people, videos=movies)


def _genres(path: Path, intake: Intake) -> list[str] | None:
    """The names of the genres in the order of the flags in `u.item`; None where they are not in order.

    Without one of them no flag could be read, so none is ever set aside.
    """
    before = intake.report.refused
    frames = []
    for raw in cells(path, intake, [column.name for column in GENRES.columns], "|"):
        frame = clean(raw, GENRES, intake.report)
        order = frame["number"] != pl.int_range(raw.rows.start, raw.rows.start + frame.height, eager=True)
        told = Told("the genres numbered from 0 in their order", raw.frame["number"])
        intake.report.add_rows(raw.file, Fault("number", mask(order), told), raw.rows)
        for one in raw.broken:
            intake.report.add(Problem(raw.file, one.row, None, one.expected, one.got))
        frames.append(frame)
    return None if intake.report.refused > before else pl.concat(frames)["name"].to_list()


def _movies(path: Path, genres: list[str], intake: Intake) -> pl.DataFrame | None:
    """The videos of the lines of `u.item`, whose columns after the first ones are the genres' flags."""
    flags = [f"genre {name}" for name in genres]
    schema = Schema(
        "movies",
        (
            Column("video_id", "whole", "the movie", required=True, unique=True, low=0),
            Column("title", "text", "title and year"),
            Column("release date", "text", "day of the release"),
            *(Column(flag, "flag", "whether it is of the genre", required=True) for flag in flags),
        ),
        unread=("video release date", "address"),
    )
    movies = read_lines(path, intake, schema, (*_BEFORE_FLAGS, *flags), "|", [_dated])
    if movies is None:
        return None
    listed = [pl.when(flag).then(pl.lit(name)) for flag, name in zip(flags, genres, strict=True)
              if name not in _NO_GENRE]  # fmt: skip
    named = pl.concat_list(listed).list.drop_nulls() if listed else pl.lit([], pl.List(pl.String))
    released = movies["release date"].str.to_date(_DATE, strict=False).cast(pl.Int32).cast(pl.Float64) * DAY
    table = videos(movies.select("video_id", "title", genres=named))
    return table.with_columns(published_at=pl.coalesce(released, "published_at"))


def _dated(raw: Raw, frame: pl.DataFrame) -> list[Fault]:
    """The movies whose release date cannot be read."""
    texts = frame["release date"]
    bad = texts.str.to_date(_DATE, strict=False).is_null() & texts.is_not_null()
    return [Fault("release date", mask(bad), Told("a date such as 01-Jan-1995", raw.frame["release date"]))]


def tables_latest(folder: Path, intake: Intake) -> Tables | None:
    """The tables of a folder with `ratings.csv` and `movies.csv`; None where anything was refused.

    A rating, 0.5 to 5 stars, is a watched video with the rating as its value. A video counts as published on 1 January
    of the year in its title. `tags.csv` is not read: a catalogue has no times, so a model would know words that people
    gave a video after a split. Raises `DataError` when a file is missing.
    """
    require(folder, FILES_LATEST)
    rated, named = ([pieces(folder / name, name, intake.report, intake.sources)] for name in FILES_LATEST)
    movies = intake.table(MOVIES, named)
    rows = intake.linked(RATINGS, rated, "ratings.csv", {"videos": ("movies.csv", movies)}, complete=True)
    if rows is None or movies is None:
        return None
    told = pl.col("genres").list.eval(pl.element().filter(~pl.element().is_in(_NO_GENRE)))
    return Tables(interactions=as_watches(rows), videos=videos(movies.with_columns(told)))
