"""MovieLens: reading the `.dat` files of the 1M set, fetching them, and what the other sets are read with too.

F. M. Harper and J. A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM TiiS 5(4), 19.
Research use only; the files may not be passed on, so they belong in no repository, package or image.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from hashlib import md5, sha256
from io import BytesIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import polars as pl

from nextreel.data.dataset import Tables
from nextreel.data.errors import DataError
from nextreel.data.intake import Check, Intake
from nextreel.data.schemas import Column, Schema
from nextreel.data.tables import Raw, lines
from nextreel.data.versions import Source
from nextreel.types import DAY, LATEST, Kind, NextreelError

URL = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MD5 = "c4d9eecfca2ab87c1945afe126590906"  # as GroupLens publishes it beside the archive  # pragma: allowlist secret
FILES = ("ratings.dat", "movies.dat", "users.dat", "README")
_YEAR = r"\(([12][0-9]{3})\)\s*$"
_BY_HAND = (
    "download ml-1m.zip from grouplens.org/datasets/movielens/1m with a browser, unpack it, and pass the folder that "
    "holds ratings.dat."
)
_LONGEST = 1 << 26  # bytes; the archive has 5.9 MB, its largest file 24.6 MB

RATINGS = Schema(
    "ratings",
    (
        Column("user_id", "whole", "who", required=True, low=0, coded=True),
        Column("video_id", "whole", "the movie", required=True, low=0, coded=True),
        Column("value", "whole", "stars", required=True, low=1, high=5, coded=True),
        Column("timestamp", "whole", "seconds since 1970-01-01 UTC", required=True, low=0, high=LATEST),
    ),
)
MOVIES = Schema(
    "movies",
    (
        Column("video_id", "whole", "the movie", required=True, unique=True, low=0),
        Column("title", "text", "title and year"),
        Column("genres", "list", "genres"),
    ),
)
USERS = Schema(
    "users",
    (
        Column("user_id", "whole", "who", required=True, unique=True, low=0),
        Column("gender", "text", "F or M"),
        Column("age", "number", "age", required=True, low=0, high=130, unit="years"),
    ),
    unread=("occupation", "zip"),
)


def tables(folder: Path, intake: Intake) -> Tables | None:
    """The tables of a folder with `ratings.dat`, `movies.dat` and `users.dat`; None where anything was refused.

    A rating is a watched video with the rating as its value. Ages are those of the file: the least age of each group,
    1 for people under 18. A video counts as published on 1 January of the year in its title.
    """
    require(folder, FILES[:3])
    movies = read_lines(folder / "movies.dat", intake, MOVIES, ("video_id", "title", "genres"))
    people = read_lines(folder / "users.dat", intake, USERS, ("user_id", "gender", "age", "occupation", "zip"))
    held = {"users": ("users.dat", people), "videos": ("movies.dat", movies)}
    rows = ratings(folder / "ratings.dat", intake, held)
    if rows is None or people is None or movies is None:
        return None
    return Tables(interactions=as_watches(rows), users=people, videos=videos(movies))


def require(folder: Path, files: Sequence[str]) -> None:
    """Returns when all the files are there, raises `DataError` that names the missing ones otherwise."""
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise DataError.of(folder.name, ", ".join(files), f"no {' and no '.join(missing)}")


def read_lines(
    path: Path, intake: Intake, schema: Schema, names: Sequence[str], mark: str = "::", checks: Sequence[Check] = ()
) -> pl.DataFrame | None:
    """The rows of a file of lines that hold to the schema; None where any was refused."""
    return intake.table(schema, [cells(path, intake, names, mark)], checks)


def cells(path: Path, intake: Intake, names: Sequence[str], mark: str = "::") -> Iterator[Raw]:
    """The pieces of a file of lines whose cells are divided by `mark`; its name, size and hash join the sources."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError.of(path.name, "a readable file", str(error.strerror)) from error
    intake.sources.append(Source(path.name, len(data), sha256(data).hexdigest()))
    yield from lines(path.name, data, names, mark, intake.report)


def ratings(
    path: Path, intake: Intake, held: Mapping[str, tuple[str, pl.DataFrame | None]], mark: str = "::"
) -> pl.DataFrame | None:
    """The ratings of lines with user, movie, rating from 1 to 5 and time in seconds; None where any was refused."""
    found = cells(path, intake, [column.name for column in RATINGS.columns], mark)
    return intake.linked(RATINGS, [found], path.name, held, complete=True)


def as_watches(frame: pl.DataFrame) -> pl.DataFrame:
    """The ratings as interactions: each is a watched video with the rating as its value."""
    return frame.with_columns(pl.col("timestamp", "value").cast(pl.Float64), kind=pl.lit(int(Kind.WATCH), pl.Int8))


def videos(movies: pl.DataFrame) -> pl.DataFrame:
    """The videos of movies with video_id, title and genres: the first genre is the category, published is 1 January
    of the year that ends the title.
    """
    year = pl.col("title").str.extract(_YEAR).str.to_date("%Y", strict=False)
    return movies.select(
        "video_id",
        "title",
        category=pl.col("genres").list.first(),
        child_categories="genres",
        published_at=year.cast(pl.Int32).cast(pl.Float64) * DAY,
    )


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
