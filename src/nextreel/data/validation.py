"""Checking a raw table against its schema, whole columns at a time; every refused cell is counted."""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np
import polars as pl

from nextreel.data.errors import Problem, Report, RowNumbers, Told
from nextreel.data.parsing import Parsed, WrongType, parse
from nextreel.data.schemas import Column, Schema
from nextreel.data.tables import Raw
from nextreel.types import BoolArray, Kind


def clean(raw: Raw, schema: Schema, report: Report) -> pl.DataFrame:
    """The typed columns of the schema that the table has, rows as in the table; what is wrong goes to the report."""
    columns: dict[str, pl.Series] = {}
    used: set[str] = set()
    for column in schema.columns:
        name = _find(raw, column, report)
        if name is None:
            continue
        used.add(name)
        values = raw.frame[name]
        try:
            parsed = parse(values, column.type)
        except WrongType as wrong:
            report.add(Problem(raw.file, None, name, column.expected, f"a column of type {wrong}"))
            continue
        columns[column.name] = parsed.values
        _judge(raw, column, name, parsed, report)
    extra = [name for name in raw.frame.columns if name not in used]
    known = {name for column in schema.columns for name in (column.name, *column.aliases)}
    report.warnings += [f"{raw.file}: column {name!r} is not in the schema and is not read" for name in extra
                        if name not in known]  # fmt: skip
    return pl.DataFrame(columns)


def _find(raw: Raw, column: Column, report: Report) -> str | None:
    """The column's name in the file, under its own name or an alias."""
    there = [name for name in (column.name, *column.aliases) if name in raw.frame.columns]
    if len(there) > 1:
        report.add(Problem(raw.file, None, column.name, "this column once", "it as " + " and ".join(map(repr, there))))
    if there:
        return there[0]
    if column.required:
        found = ", ".join(map(repr, raw.frame.columns)) or "no columns"
        close = get_close_matches(column.name, raw.frame.columns, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        report.add(Problem(raw.file, None, column.name, "this column", found[:300] + hint))
    return None


def _judge(raw: Raw, column: Column, name: str, parsed: Parsed, report: Report) -> None:
    bad = _mask(parsed.bad)
    numbers = raw.rows
    if column.low is not None or column.high is not None:
        outside = pl.Series(np.zeros(len(bad), np.bool_))
        if column.low is not None:
            outside = outside | (parsed.values < column.low)
        if column.high is not None:
            outside = outside | (parsed.values > column.high)
        bad = bad | _mask(outside)
    report.add_rows(raw.file, name, bad, numbers, Told(column.expected, raw.frame[name]))
    if column.required or column.filled:
        report.add_rows(raw.file, name, _mask(parsed.empty), numbers, Told(column.expected))
    if column.unique:
        again = _mask(parsed.values.is_first_distinct()) | _mask(parsed.values.is_null())
        report.add_rows(raw.file, name, ~again, numbers, Told("every id once", raw.frame[name]))


def _mask(series: pl.Series) -> BoolArray:
    return series.fill_null(value=False).to_numpy().astype(np.bool_)


def check_targets(frame: pl.DataFrame, file: str, rows: RowNumbers, report: Report) -> None:
    """Counts the interactions that do not name the video or the channel their kind is about."""
    about_channel = np.zeros(frame.height, np.bool_)
    unread = np.zeros(frame.height, np.bool_)
    if "kind" in frame.columns:
        about_channel = _mask(frame["kind"].is_in([int(Kind.SUBSCRIBE), int(Kind.BLOCK)]))
        unread = _mask(frame["kind"].is_null())
    for name, wanted, kinds in (
        ("video_id", ~about_channel & ~unread, "a video id, as this kind of interaction is about a video"),
        ("channel_id", about_channel, "a channel id, as subscribe and block are about a channel"),
    ):
        if name in frame.columns:
            report.add_rows(file, name, wanted & _mask(frame[name].is_null()), rows, Told(kinds))
        elif wanted.any() and not (name == "video_id" and frame.height == 0):
            report.add(Problem(file, None, name, kinds, "no such column"))
