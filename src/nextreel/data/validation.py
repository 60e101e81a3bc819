"""Checking a raw table against its schema, whole columns at a time; every refused cell is counted."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import polars as pl

from nextreel.data.errors import Fault, Problem, Report, Told
from nextreel.data.ids import is_known
from nextreel.data.parsing import Parsed, WrongType, parse
from nextreel.data.schemas import Column, Schema
from nextreel.data.tables import Raw
from nextreel.data.texts import REPEATING, Texts
from nextreel.types import UNKNOWN, BoolArray, Kind

_ABOUT = {"video_id": "a video id, as this kind of interaction is about a video",
          "channel_id": "a channel id, as subscribe and block are about a channel"}  # fmt: skip


def clean(raw: Raw, schema: Schema, report: Report) -> pl.DataFrame:
    """The typed columns of the schema that the table has, rows as in the table; what is wrong goes to the report."""
    table = Checked(schema, report)
    frame, faults = table.judge(raw)
    for fault in faults:
        report.add_rows(raw.file, fault, raw.rows)
    return frame


class Checked:
    """Judges a table piece by piece; remembers what must be the same or unique over all of them."""

    def __init__(self, schema: Schema, report: Report) -> None:
        self.schema = schema
        self._report = report
        self._texts = {column.name: Texts(column.type, coded=column.coded) for column in schema.columns}
        self._seen: dict[str, list[pl.Series]] = {}  # unique column -> values of the pieces before
        self._told: dict[str, tuple[str, ...]] = {}  # file -> columns that were looked for and found
        self._names: dict[str, str | None] = {}  # column -> its name in the file at hand

    def judge(self, raw: Raw) -> tuple[pl.DataFrame, list[Fault]]:
        """The typed columns of the schema that the piece has, and what is wrong with its rows.

        What is wrong with the whole file goes to the report, once.
        """
        if raw.file not in self._told:
            self._names = {column.name: self._find(raw, column) for column in self.schema.columns}
            self._warn_of_others(raw)
        columns: dict[str, pl.Series] = {}
        faults = list(raw.faults)
        for column in self.schema.columns:
            name = self._names[column.name]
            if name is None:
                continue
            try:
                parsed = self._parsed(column, raw.frame[name])
            except WrongType as wrong:
                if raw.file not in self._told:
                    self._report.add(Problem(raw.file, None, name, column.expected, f"a column of type {wrong}"))
                continue
            columns[column.name] = parsed.values
            faults += self._faults(raw, column, name, parsed)
        if raw.file not in self._told:
            self._compare(raw.file, tuple(columns))
        return pl.DataFrame(columns), faults

    def _parsed(self, column: Column, cells: pl.Series) -> Parsed:
        """The typed cells of a column; raises `WrongType` where none can be made of it."""
        if column.coded or column.type in REPEATING or isinstance(cells.dtype, pl.Categorical | pl.Enum):
            return self._texts[column.name].parse(cells)
        return parse(cells, column.type)

    def named(self, fault: Fault) -> Fault:
        """The fault of a column of the schema with the name that the column has in the file at hand."""
        return replace(fault, column=self._names.get(fault.column or "") or fault.column)

    def _find(self, raw: Raw, column: Column) -> str | None:
        """The column's name in the file, under its own name or an alias."""
        there = [name for name in (column.name, *column.aliases) if name in raw.frame.columns]
        if len(there) > 1:
            got = "it as " + " and ".join(map(repr, there))
            self._report.add(Problem(raw.file, None, column.name, "this column once", got))
        if there:
            return there[0]
        if column.required:
            found = ", ".join(map(repr, raw.frame.columns)) or "no columns"
            close = get_close_matches(column.name, raw.frame.columns, 1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            self._report.add(Problem(raw.file, None, column.name, "this column", found[:300] + hint))
        return None

    def _warn_of_others(self, raw: Raw) -> None:
        known = {name for column in self.schema.columns for name in (column.name, *column.aliases)}
        known |= set(self.schema.unread)
        self._report.warnings += [
            f"{raw.file}: column {name!r} is not in the schema and is not read"
            for name in raw.frame.columns
            if name not in known
        ]

    def _compare(self, file: str, columns: tuple[str, ...]) -> None:
        """Adds a problem where a part has other columns than the first part."""
        if self._told:
            first, wanted = next(iter(self._told.items()))
            if set(wanted) != set(columns):
                got = ", ".join(columns) or "none of them"
                self._report.add(Problem(file, None, None, f"the columns of {first}: {', '.join(wanted)}", got))
        self._told[file] = columns

    def _faults(self, raw: Raw, column: Column, name: str, parsed: Parsed) -> list[Fault]:
        cells = raw.frame[name]
        wrong = [parsed.bad] if parsed.bad is not None else []
        if column.low is not None and _passes(parsed.values.min(), column.low, operator.lt):
            wrong.append(parsed.values < column.low)
        if column.high is not None and _passes(parsed.values.max(), column.high, operator.gt):
            wrong.append(parsed.values > column.high)
        faults = []
        if wrong:
            bad = np.logical_or.reduce([mask(one) for one in wrong])
            faults.append(Fault(name, bad, Told(column.expected, cells)))
        if parsed.empty is not None and (column.required or column.filled):
            faults.append(Fault(name, mask(parsed.empty), Told(column.expected)))
        if column.unique:
            again = ~(mask(parsed.values.is_first_distinct()) | mask(parsed.values.is_null()))
            for before in self._seen.setdefault(name, []):
                again |= is_known(parsed.values, before)
            self._seen[name].append(parsed.values)
            faults.append(Fault(name, again, Told("every id once", cells)))
        return [fault for fault in faults if fault.bad.any()]


def _passes(extreme: Any, bound: float, over: Callable[[Any, float], bool]) -> bool:
    """Whether any value passes a bound: whether the least or the greatest one, None without values, does."""
    return extreme is not None and over(extreme, bound)


def mask(series: pl.Series) -> BoolArray:
    """True where the series (n,) is; False where it is null."""
    return series.fill_null(value=False).to_numpy().astype(np.bool_)


def targets(raw: Raw, frame: pl.DataFrame, report: Report) -> list[Fault]:
    """The interactions that do not name the video or the channel their kind is about."""
    about_channel = np.zeros(raw.frame.height, np.bool_)
    unread = np.zeros(raw.frame.height, np.bool_)
    if "kind" in frame.columns:
        kind = frame["kind"].fill_null(UNKNOWN).to_numpy()
        about_channel = (kind == Kind.SUBSCRIBE) | (kind == Kind.BLOCK)
        unread = kind == UNKNOWN
    faults = []
    for name, wanted in (("video_id", ~about_channel & ~unread), ("channel_id", about_channel)):
        if name in frame.columns:
            if frame[name].null_count():
                faults.append(Fault(name, wanted & mask(frame[name].is_null()), Told(_ABOUT[name])))
        elif name in raw.frame.columns:
            continue  # it is there, with a type that is in the report
        elif wanted.any():
            report.add(Problem(raw.file, None, name, _ABOUT[name], "no such column"))
    return faults


def windows(raw: Raw, frame: pl.DataFrame) -> list[Fault]:
    """The rows that end before they begin: nobody could ever be shown such a video."""
    since, until = "available_from", "available_until"
    if not {since, until} <= set(frame.columns):
        return []
    return [Fault(until, mask(frame[until] <= frame[since]), Told(f"a time after {since}", frame[until]))]


def strangers(frame: pl.DataFrame, known: Mapping[str, tuple[str, pl.Series]]) -> list[Fault]:
    """The rows that name an id which another table does not hold; `known`: column -> that table's file and ids."""
    faults = []
    for name, (file, ids) in known.items():
        if name in frame.columns:
            strange = ~is_known(frame[name], ids) & mask(frame[name].is_not_null())
            faults.append(Fault(name, strange, Told(f"an id of {file}", frame[name])))
    return faults
