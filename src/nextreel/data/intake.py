"""What every loader does with the pieces of a table: judges them, sets refused rows aside, joins the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from nextreel.data.errors import DataError, Fault, Problem, Report, many
from nextreel.data.ids import any_repeated, distinct, is_known
from nextreel.data.quarantine import FOLDER, Quarantine
from nextreel.data.schemas import Schema
from nextreel.data.tables import Raw
from nextreel.data.validation import Checked, strangers
from nextreel.data.versions import Source
from nextreel.params import Params

Check: TypeAlias = Callable[[Raw, pl.DataFrame], list[Fault]]  # what else is wrong with the rows of a typed piece
Policy: TypeAlias = Literal["warn", "refuse"]
_STRANGERS = {  # table -> the column that names its rows, and what becomes of ids that it does not hold
    "users": ("user_id", "users have an empty profile"),
    "videos": ("video_id", "videos join the catalogue without metadata"),
    "channels": ("channel_id", "channels join the catalogue without a name"),
}
_SEEN = ("event_id", "event_check")  # two hashes of a text: 128 bits tell any two of them apart


class Reading(Params):
    """How a source is read: what becomes of bad rows, and of ids that interactions name and no table holds."""

    on_error: Literal["fail", "quarantine"] = "fail"  # refuse the source, or set bad rows aside and read the rest
    quarantine: Path | None = None  # where rows are set aside; None: a folder `quarantine` beside the data
    # None: a warning, but refused in MovieLens, whose files hold every user and movie
    unknown_users: Policy | None = None
    unknown_videos: Policy | None = None
    unknown_channels: Policy | None = None


class Intake:
    """One reading of a source: its options, its report, the files that were read."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.reading = reading
        self.report = Report()
        self.sources: list[Source] = []
        self._quarantine: Quarantine | None = None
        if reading.on_error == "quarantine":
            self._quarantine = Quarantine(reading.quarantine or (path.parent if path.is_file() else path) / FOLDER)

    def table(
        self, schema: Schema, files: Iterable[Iterator[Raw]], checks: Sequence[Check] = ()
    ) -> pl.DataFrame | None:
        """The rows of a table's files that hold to the schema and pass the checks; None where any was refused.

        Rows whose event_id came before are left out and counted. What is wrong, in rows or files, goes to the report.
        """
        before = self.report.refused
        checked = Checked(schema, self.report)
        frames: list[pl.DataFrame] = []
        origins: list[tuple[str, int]] = []
        for pieces in files:
            try:
                for raw in pieces:
                    frame, faults = checked.judge(raw)
                    for check in checks:
                        faults += [checked.named(fault) for fault in check(raw, frame) if fault.bad.any()]
                    frames.append(_hashed(self._kept(raw, frame, faults)))
                    origins.append((raw.file, frames[-1].height))
            except DataError as error:  # so that the other files are judged too
                self.report.merge(error.report)
        if self.report.refused > before or not frames:
            return None
        return self._once(_concat(_same_ids(frames)), origins)

    def _kept(self, raw: Raw, frame: pl.DataFrame, faults: Sequence[Fault]) -> pl.DataFrame:
        """The rows without a fault where the others are set aside, all of them where the source is refused."""
        aside = self._quarantine is not None
        bad = np.zeros(raw.frame.height, np.bool_)
        for fault in faults:
            bad |= fault.bad
            self.report.add_rows(raw.file, fault, raw.rows, refused=not aside)
        for one in raw.broken:
            self.report.add(Problem(raw.file, one.row, None, one.expected, one.got), refused=not aside)
        n = int(bad.sum()) + len(raw.broken)
        if self._quarantine is None or n == 0:
            return frame
        self._quarantine.add(raw, faults, bad)
        self.report.quarantined[raw.file] = self.report.quarantined.get(raw.file, 0) + n
        return frame.filter(pl.Series(~bad)) if frame.width else frame

    def _once(self, rows: pl.DataFrame, origins: Sequence[tuple[str, int]]) -> pl.DataFrame:
        """The rows whose event_id has not come before; the others are counted."""
        seen = [name for name in _SEEN if name in rows.columns]
        if not seen:
            return rows
        if any_repeated(rows[seen[0]]):
            first = rows.select(pl.struct(seen).is_first_distinct() | pl.col(seen[0]).is_null()).to_series()
            files = np.repeat([file for file, _ in origins], [n for _, n in origins])
            again = Counter(files[(~first).to_numpy()].tolist())
            self.report.repeated.update(again)
            self.report.warnings += [
                f"{file}: {many(n, 'row')} left out, as the event_id had come before" for file, n in again.items()
            ]
            rows = rows.filter(first)
        return rows.drop(seen)

    def linked(
        self,
        schema: Schema,
        files: Iterable[Iterator[Raw]],
        name: str,
        held: Mapping[str, tuple[str, pl.DataFrame | None]],
        checks: Sequence[Check] = (),
        *,
        complete: bool = False,
    ) -> pl.DataFrame | None:
        """The rows of the interactions called `name`, judged by the tables they name ids of; None where any is refused.

        `held`: table -> its file and its rows, None where those were refused. Tables that are `complete` hold every id
        there is, so that an unknown one is a fault unless the options say otherwise.
        """
        policies = {table: getattr(self.reading, f"unknown_{table}") or ("refuse" if complete else "warn")
                    for table in held}  # fmt: skip
        known = {
            _STRANGERS[table][0]: (file, rows[_STRANGERS[table][0]])
            for table, (file, rows) in held.items()
            if policies[table] == "refuse" and rows is not None
        }
        rows = self.table(schema, files, [*checks, lambda _, frame: strangers(frame, known)])
        if rows is None:
            return None
        if rows.height == 0:
            got = "none that could be read" if self.report.quarantined else "no rows"
            self.report.add(Problem(name, None, None, "at least one interaction", got))
            return None
        for table, (_, frame) in held.items():
            column, told = _STRANGERS[table]
            if policies[table] == "warn" and frame is not None and column in rows.columns:
                self._warn(rows[column], frame[column], told)
        return rows

    def _warn(self, column: pl.Series, ids: pl.Series, told: str) -> None:
        """Warns of distinct ids in a column that are not among the ids of their table."""
        seen = distinct([column])
        n = len(seen) - int(is_known(seen, ids).sum())
        if n:
            self.report.warnings.append(f"{n:,} {told}: interactions name them, the table does not")

    def settle(self) -> None:
        """Puts the quarantined rows in place; raises `DataError` and sets nothing aside where anything was refused."""
        if self._quarantine is None:
            self.report.raise_if_refused()
            return
        if not self.report.ok:
            self._quarantine.discard()
            raise DataError(self.report)
        self._quarantine.commit(self.report.rows)
        self.report.warnings += [
            f"{file}: {n:,} of {self.report.rows[file]:,} rows were set aside in {self._quarantine.path(file)}"
            for file, n in self.report.quarantined.items()
        ]

    def counts(self) -> Mapping[str, int]:
        """What the manifest says of rows that are not in the data set."""
        report = self.report
        return {
            "rows_quarantined": sum(report.quarantined.values()),
            "repeated_events": sum(report.repeated.values()),
        }


def _hashed(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with two hashes in place of an event_id that is text: so many texts are not kept."""
    if _SEEN[0] not in frame.columns or frame.schema[_SEEN[0]] == pl.Int64:
        return frame
    ids = pl.col(_SEEN[0])
    return frame.with_columns(
        pl.when(ids.is_not_null()).then(ids.hash(seed)).alias(name) for seed, name in enumerate(_SEEN)
    )


def _same_ids(frames: Sequence[pl.DataFrame]) -> Sequence[pl.DataFrame]:
    """The pieces with event_ids that can be compared: where some were text, whole numbers are hashed as text too."""
    if not any(_SEEN[1] in frame.columns for frame in frames):
        return frames
    return [
        frame if _SEEN[1] in frame.columns else _hashed(frame.with_columns(pl.col(_SEEN[0]).cast(pl.String)))
        for frame in frames
    ]


def _concat(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The pieces as one table; ids that are whole numbers in some and text in others are text."""
    mixed = [name for name in frames[0].columns if len({str(frame.schema[name]) for frame in frames}) > 1]
    for name in mixed:
        words = next((one for frame in frames if isinstance(one := frame.schema[name], pl.Categorical)), pl.String())
        frames = [frame.with_columns(pl.col(name).cast(pl.String).cast(words)) for frame in frames]
    return pl.concat([frame.select(frames[0].columns) for frame in frames])
