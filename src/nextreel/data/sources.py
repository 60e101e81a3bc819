"""What lies in a path: finds the kind of source, reads and checks it, and makes the data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from nextreel.data import movielens, movielens_small
from nextreel.data.dataset import Dataset, Tables, assemble, strange_rights
from nextreel.data.errors import DataError, Fault, Report
from nextreel.data.ids import no_texts
from nextreel.data.intake import Intake, Reading
from nextreel.data.schemas import SCHEMAS
from nextreel.data.tables import SUFFIXES, Numbered, Raw, pieces, suffix_of
from nextreel.data.validation import targets, windows
from nextreel.data.versions import digest_of

_WANTED = (
    "a folder with interactions.parquet, .csv or .csv.gz, or a folder `interactions` of such parts "
    "(and users, videos, channels, rights where there are any), "
    "a folder with MovieLens' ratings.dat, movies.dat and users.dat (1M), u.data, u.item, u.user and u.genre (100K) or "
    "ratings.csv and movies.csv (latest-small), or one .csv, .csv.gz or .parquet file of interactions"
)
_AS_IT_IS = Reading()


def load(path: Path, reading: Reading = _AS_IT_IS) -> Dataset:
    """The data set in a folder or file: Parquet or CSV tables, MovieLens, or one file of interactions.

    Raises `DataError` that lists what is wrong: file, row, column, what was expected and what came. With
    `Reading(on_error="quarantine")` bad rows are written beside the data instead, and the others make the data set.
    """
    intake = Intake(Path(path), reading)
    tables = _settled(Path(path), intake)
    dataset = assemble(tables, intake.sources, intake.report.warnings)
    counts = intake.counts()
    manifest = replace(dataset.manifest, counts={**dataset.manifest.counts, **counts})
    if intake.report.quarantined:  # the same files read to the end are another data set
        manifest = replace(manifest, version=digest_of({"from": manifest.version, **intake.report.quarantined}))
    return replace(dataset, manifest=manifest)


def check(path: Path, reading: Reading = _AS_IT_IS) -> Report:
    """What reading the source finds; never raises for what is in the files."""
    intake = Intake(Path(path), reading)
    try:
        _settled(Path(path), intake)
    except DataError as error:
        if error.report is not intake.report:
            intake.report.merge(error.report)
    return intake.report


def _settled(path: Path, intake: Intake) -> Tables:
    """The checked tables, once nothing was refused; raises `DataError` otherwise."""
    try:
        tables = _tables(path, intake)
    except DataError as error:
        intake.report.merge(error.report)
        tables = None
    intake.settle()
    if tables is None:
        raise DataError.of(str(path), _WANTED, "nothing of the kind")
    return tables


def _tables(path: Path, intake: Intake) -> Tables | None:
    """The checked tables; None where a file is so wrong that there is nothing to join."""
    if path.is_dir() and (path / "ratings.dat").is_file():
        return movielens.tables(path, intake)
    if path.is_dir() and (reader := movielens_small.reader_of(path)) is not None:
        return reader(path, intake)
    files = _files(path)
    found = {name: _pieces(parts, intake) for name, parts in files.items()}
    checks = {"videos": [windows], "rights": [windows]}
    tables = {
        name: intake.table(SCHEMAS[name], of, checks.get(name, []))
        for name, of in found.items()
        if name != "interactions"
    }
    held = {name: (_called(files[name]), rows) for name, rows in tables.items() if name != "rights"}

    def judge(raw: Raw, frame: pl.DataFrame) -> list[Fault]:
        return targets(raw, frame, intake.report)

    name = _called(files["interactions"])
    interactions = intake.linked(SCHEMAS["interactions"], found["interactions"], name, held, [judge])
    if interactions is None or not intake.report.ok:
        return None
    read = Tables(interactions, **tables)
    if (strange := strange_rights(read)) is not None:
        intake.report.warnings.append(strange)
    return read


def _pieces(parts: Sequence[tuple[str, Path]], intake: Intake) -> list[Iterator[Raw]]:
    texts: Numbered = defaultdict(no_texts)
    return [pieces(part, told, intake.report, intake.sources, texts) for told, part in parts]


def _called(parts: Sequence[tuple[str, Path]]) -> str:
    """How a table is called in a report: its file, or the folder of its parts."""
    return parts[0][0] if len(parts) == 1 else parts[0][0].split("/")[0]


def _files(path: Path) -> dict[str, list[tuple[str, Path]]]:
    """Name and place of each part of each table that is there."""
    if path.is_file():
        if suffix_of(path) is None:
            raise DataError.of(path.name, _WANTED, f"a file that ends in {path.suffix or 'nothing'!r}")
        return {"interactions": [(path.name, path)]}
    if not path.is_dir():
        raise DataError.of(str(path), _WANTED, "no such file or folder")
    found: dict[str, list[tuple[str, Path]]] = {}
    for name in SCHEMAS:
        there = [one for end in ("", *SUFFIXES) if (one := path / (name + end)).is_dir() or (end and one.is_file())]
        if len(there) > 1:
            raise DataError.of(str(path), f"one file of {name}", " and ".join(one.name for one in there))
        if there:
            found[name] = _parts(there[0]) if there[0].is_dir() else [(there[0].name, there[0])]
    if "interactions" in found:
        return found
    content = sorted(one.name for one in path.iterdir())
    single = [one for one in content if suffix_of(Path(one)) is not None]
    if len(single) == 1 and not found:
        return {"interactions": [(single[0], path / single[0])]}
    listed = ", ".join(content[:10]) + (f" and {len(content) - 10:,} more" if len(content) > 10 else "")
    raise DataError.of(str(path), _WANTED, f"a folder with {listed or 'nothing in it'}")


def _parts(folder: Path) -> list[tuple[str, Path]]:
    """The files of a table in parts, by name; names that begin with _ or . are marks that tools leave, such as
    _SUCCESS. Raises `DataError` for anything else that lies there, as its rows would be missed.
    """
    there = sorted(one for one in folder.iterdir() if not one.name.startswith(("_", ".")))
    other = [one.name for one in there if suffix_of(one) is None or not one.is_file()]
    if other or not there:
        got = ", ".join(other[:10]) if other else "none"
        raise DataError.of(folder.name, f"parts that end in {', '.join(SUFFIXES)}, and no folders", got)
    return [(f"{folder.name}/{one.name}", one) for one in there]
