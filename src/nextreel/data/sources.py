"""What lies in a path: finds the kind of source, reads and checks it, and makes the data set."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from nextreel.data import movielens, movielens_small
from nextreel.data.dataset import Dataset, Tables, assemble
from nextreel.data.errors import DataError, Problem, Report
from nextreel.data.schemas import SCHEMAS
from nextreel.data.tables import read
from nextreel.data.validation import check_targets, clean
from nextreel.data.versions import Source

_SUFFIXES = (".parquet", ".csv")
_WANTED = (
    "a folder with interactions.parquet or interactions.csv (and users, videos, channels where there are any), "
    "a folder with MovieLens' ratings.dat, movies.dat and users.dat (1M), u.data, u.item, u.user and u.genre (100K) or "
    "ratings.csv and movies.csv (latest-small), or one .csv or .parquet file of interactions"
)


def load(path: Path) -> Dataset:
    """The data set in a folder or file: Parquet or CSV tables, MovieLens, or one file of interactions.

    Raises `DataError` that lists what is wrong: file, row, column, what was expected and what came.
    """
    path = Path(path)
    report = Report()
    sources: list[Source] = []
    tables = _tables(path, report, sources)
    report.raise_if_refused()
    if tables is None:
        raise DataError.of(str(path), _WANTED, "nothing of the kind")
    return assemble(tables, sources, report.warnings)


def check(path: Path) -> Report:
    """What reading the source finds; never raises for what is in the files."""
    report = Report()
    try:
        tables = _tables(Path(path), report, [])
        if tables is not None and report.ok:
            assemble(tables, [])
    except DataError as error:
        report.merge(error.report)
    return report


def _tables(path: Path, report: Report, sources: list[Source]) -> Tables | None:
    """The checked tables; None where a file is so wrong that there is nothing to join."""
    if path.is_dir() and (path / "ratings.dat").is_file():
        return movielens.tables(path, report, sources)
    if path.is_dir() and (reader := movielens_small.reader_of(path)) is not None:
        return reader(path, report, sources)
    files = _files(path)
    frames: dict[str, pl.DataFrame] = {}
    for name, file in files.items():
        try:
            raw = read(file, report, sources)
        except DataError as error:  # so that the other files are judged too
            report.merge(error.report)
            continue
        frames[name] = clean(raw, SCHEMAS[name], report)
        if name == "interactions":
            check_targets(frames[name], raw.file, raw.rows, report)
            if raw.frame.height == 0 and report.ok:
                report.add(Problem(raw.file, None, None, "at least one interaction", "no rows"))
    if not report.ok:
        return None
    tables = Tables(**frames)
    _warn_of_strangers(tables, report)
    return tables


def _files(path: Path) -> dict[str, Path]:
    """The file of each table that is there."""
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise DataError.of(path.name, _WANTED, f"a file that ends in {path.suffix or 'nothing'!r}")
        return {"interactions": path}
    if not path.is_dir():
        raise DataError.of(str(path), _WANTED, "no such file or folder")
    found: dict[str, Path] = {}
    for name in SCHEMAS:
        there = [path / (name + suffix) for suffix in _SUFFIXES if (path / (name + suffix)).is_file()]
        if len(there) > 1:
            raise DataError.of(str(path), f"one file of {name}", " and ".join(one.name for one in there))
        if there:
            found[name] = there[0]
    if "interactions" in found:
        return found
    content = sorted(one.name for one in path.iterdir())
    single = [one for one in content if Path(one).suffix in _SUFFIXES]
    if len(single) == 1 and not found:
        return {"interactions": path / single[0]}
    listed = ", ".join(content[:10]) + (f" and {len(content) - 10:,} more" if len(content) > 10 else "")
    raise DataError.of(str(path), _WANTED, f"a folder with {listed or 'nothing in it'}")


def _warn_of_strangers(tables: Tables, report: Report) -> None:
    """Warns of ids that interactions name and the tables of users or videos do not hold."""
    for name, table, noun in (
        ("user_id", tables.users, "users have an empty profile"),
        ("video_id", tables.videos, "videos join the catalogue without metadata"),
    ):
        if table is None or name not in tables.interactions.columns:
            continue
        seen = tables.interactions[name].drop_nulls().unique().cast(pl.String)
        strangers = len(seen) - int(seen.is_in(table[name].cast(pl.String).implode()).sum())
        if strangers:
            report.warnings.append(f"{strangers:,} {noun}: interactions name them, the table does not")
