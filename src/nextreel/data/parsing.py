"""From raw cells to typed ones, a whole column at a time; a cell that cannot be read becomes null and is marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from nextreel.data.schemas import KIND_NAMES, CellType
from nextreel.types import LATEST, Kind

# day, hour, minute, second with fraction, zone
_ISO = (
    r"^(\d{4}-\d{2}-\d{2})"
    r"(?:[T ](\d{2}):(\d{2})(?::(\d{2}(?:\.\d{1,9})?))?\s*(Z|z|UTC|[+-]\d{2}:?\d{2})?)?$"
)
_RATINGS = {
    "all": 0, "g": 0, "tv-y": 0, "tv-g": 0, "u": 0, "everyone": 0,
    "tv-y7": 7, "pg": 8, "tv-pg": 8, "12": 12, "teen": 13, "pg-13": 13, "tv-14": 14,
    "r": 17, "tv-ma": 17, "mature": 18, "adult": 18, "nc-17": 18, "x": 18,
}  # fmt: skip
_FLAGS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True,
          "false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parsed:
    """A typed column (n,), which cells were empty and which could not be read; None where no cell was."""

    values: pl.Series
    empty: pl.Series | None = None
    bad: pl.Series | None = None


class WrongType(Exception):  # caught one room further, where file and column are known
    """The whole column has a type from which such cells cannot be made; its text names that type."""


def parse(raw: pl.Series, cell: CellType) -> Parsed:
    """The column as cells of the given type; raises `WrongType` for a column of, say, dates where ids are wanted."""
    return _PARSERS[cell](raw)


def _all(like: pl.Series, value: bool) -> pl.Series:
    """The value for every cell of a column."""
    return pl.repeat(value, len(like), dtype=pl.Boolean, eager=True)


def _is_text(raw: pl.Series) -> bool:
    return raw.dtype == pl.String


def _text(raw: pl.Series) -> pl.Series:
    """Text without blanks around it; null where nothing is left."""
    text = raw.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _known(raw: pl.Series, values: pl.Series) -> Parsed:
    if values.null_count() == 0:
        return Parsed(values)
    empty = raw.is_null()
    return Parsed(values, empty, values.is_null() & ~empty)


def _nulls(raw: pl.Series, dtype: type[pl.DataType] | pl.DataType) -> Parsed:
    return Parsed(pl.repeat(None, len(raw), dtype=dtype, eager=True), _all(raw, True))


def _id(raw: pl.Series) -> Parsed:
    """Int64 where every cell is a plain integer, String otherwise; "007" is text, as it would not come back."""
    if raw.dtype == pl.Null:
        return _nulls(raw, pl.Int64)
    if raw.dtype.is_float():
        raw = raw.fill_nan(None)
        whole = raw.cast(pl.Int64, strict=False)
        return _known(raw, whole.set(whole.cast(pl.Float64) != raw.cast(pl.Float64), None))
    if raw.dtype.is_integer():
        whole = raw.cast(pl.Int64, strict=False)
        return _known(raw, whole if whole.null_count() == raw.null_count() else raw.cast(pl.String))
    if not _is_text(raw):
        raise WrongType(str(raw.dtype))
    text = _text(raw)
    whole = text.cast(pl.Int64, strict=False)
    plain = whole.null_count() == text.null_count() and bool((whole.cast(pl.String) == text).all())
    return _known(text, whole if plain else text)


def _words(raw: pl.Series) -> Parsed:
    if raw.dtype == pl.Null:
        return _nulls(raw, pl.String)
    if raw.dtype.is_nested() or isinstance(raw.dtype, pl.Binary | pl.Object | pl.Duration):
        raise WrongType(str(raw.dtype))
    text = _text(raw)
    return _known(text, text)


def _kind(raw: pl.Series) -> Parsed:
    if raw.dtype == pl.Null:
        return _nulls(raw, pl.Int8)
    if not _is_text(raw):
        raise WrongType(str(raw.dtype))
    text = _text(raw)
    codes = {name: int(Kind[name.upper()]) for name in KIND_NAMES}
    values = text.str.to_lowercase().replace_strict(codes, default=None, return_dtype=pl.Int8)
    return _known(text, values)


def _number(raw: pl.Series) -> Parsed:
    if raw.dtype == pl.Null:
        return _nulls(raw, pl.Float64)
    if _is_text(raw):
        raw = _text(raw)
    elif not (raw.dtype.is_numeric() or raw.dtype == pl.Boolean):
        raise WrongType(str(raw.dtype))
    values = raw.cast(pl.Float64, strict=False)
    if values.null_count() == raw.null_count() and np.isfinite(values.drop_nulls().to_numpy()).all():
        return _known(raw, values)
    missing = values.is_nan().fill_null(value=False)  # how data frames write "nothing"
    values = values.set(missing | values.is_infinite().fill_null(value=False), None)
    empty = raw.is_null() | missing
    return Parsed(values, empty, values.is_null() & ~empty)


def _whole(raw: pl.Series) -> Parsed:
    """Int64; text must be written the one way, though a data frame's "3.0" is 3 too."""
    if raw.dtype == pl.Null:
        return _nulls(raw, pl.Int64)
    if _is_text(raw):
        raw = _text(raw)
        plain = raw.str.strip_suffix(".0")
        values = plain.cast(pl.Int64, strict=False)
        return _known(raw, values.set((values.cast(pl.String) != plain).fill_null(value=True), None))
    if not raw.dtype.is_numeric():
        raise WrongType(str(raw.dtype))
    if not raw.dtype.is_integer():
        return _id(raw.cast(pl.Float64, strict=False))
    return _known(raw, raw.cast(pl.Int64, strict=False))


def _time(raw: pl.Series) -> Parsed:
    """Seconds since 1970-01-01 UTC; times without a zone are taken as UTC."""
    if raw.dtype == pl.Null:
        return _nulls(raw, pl.Float64)
    if raw.dtype == pl.Date:
        return _bounded(raw, raw.cast(pl.Int32).cast(pl.Float64) * 86_400.0)
    if isinstance(raw.dtype, pl.Datetime):
        micros = raw.to_physical() * {"ms": 1e3, "us": 1.0, "ns": 1e-3}[raw.dtype.time_unit]
        return _bounded(raw, micros.round() / 1e6)  # as times that come otherwise are rounded
    if raw.dtype.is_numeric():
        numbers = _number(raw)
        return _bounded(numbers.values, _rounded(_epoch(numbers.values)), numbers.bad)
    if not _is_text(raw):
        raise WrongType(str(raw.dtype))
    text = _text(raw)
    seconds = _epoch(text.cast(pl.Float64, strict=False))
    for read in (_plain, _iso):  # the quick way first
        if seconds.null_count() > text.null_count():
            seconds = seconds.zip_with(seconds.is_not_null(), read(text))
    return _bounded(text, _rounded(seconds))


def _rounded(seconds: pl.Series) -> pl.Series:
    """Whole microseconds, so that one moment is one number, however it was written."""
    return (seconds * 1e6).round() / 1e6


def _bounded(raw: pl.Series, seconds: pl.Series, bad: pl.Series | None = None) -> Parsed:
    if bad is None and len(seconds) and seconds.null_count() == 0 and _inside(seconds.min(), seconds.max()):
        return Parsed(seconds)
    inside = (seconds >= 0) & (seconds <= LATEST)
    values = seconds.set(~inside.fill_null(value=False), None)
    unread = values.is_null() & raw.is_not_null()
    return Parsed(values, values.is_null() & ~unread, unread if bad is None else unread | bad)


def _inside(least: Any, most: Any) -> bool:
    return bool(least >= 0 and most <= LATEST)


def _epoch(numbers: pl.Series) -> pl.Series:
    """Seconds from seconds, milli-, micro- or nanoseconds, told apart by size: 1e11 s would be the year 5138."""
    name = pl.col("x")
    scaled = pl.when(name >= 1e17).then(name / 1e9).when(name >= 1e14).then(name / 1e6).when(name >= 1e11)
    return numbers.to_frame("x").select(scaled.then(name / 1e3).otherwise(name).alias("x"))["x"]


def _plain(text: pl.Series) -> pl.Series:
    """Seconds since 1970 from text such as 2024-01-31T18:00:00Z; null for any other form."""
    form = pl.when(pl.col("x").str.len_bytes() == len("2024-01-31T18:00:00Z")).then(pl.col("x"))
    found = text.to_frame("x").select(form.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", strict=False))
    return found["x"].cast(pl.Int64).cast(pl.Float64) / 1e6


def _iso(text: pl.Series) -> pl.Series:
    """Seconds since 1970 from ISO 8601 text; null where it is none."""
    parts = text.to_frame("x").select(
        pl.col("x").str.extract_groups(_ISO).struct.rename_fields(["day", "h", "m", "s", "zone"]).alias("p")
    )
    parts = parts.unnest("p")
    number = {name: pl.col(name).cast(pl.Float64, strict=False).fill_null(0.0) for name in ("h", "m", "s")}
    zone = pl.col("zone").str.replace(":", "", literal=True)
    shift = (
        zone.str.slice(1, 2).cast(pl.Float64, strict=False) * 3_600
        + zone.str.slice(3, 2).cast(pl.Float64, strict=False) * 60
    )
    away = pl.when(zone.str.starts_with("-")).then(-shift).otherwise(shift).fill_null(0.0)
    right = (number["h"] <= 23) & (number["m"] <= 59) & (number["s"] < 61) & (shift.fill_null(0.0) <= 64_800)
    day = pl.col("day").str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32).cast(pl.Float64) * 86_400.0
    seconds = day + number["h"] * 3_600 + number["m"] * 60 + number["s"] - away
    return parts.select(pl.when(right).then(seconds).alias("x"))["x"]


def _flag(raw: pl.Series) -> Parsed:
    if raw.dtype == pl.Null:
        return _nulls(raw, pl.Boolean)
    if raw.dtype == pl.Boolean:
        return _known(raw, raw)
    if not (_is_text(raw) or raw.dtype.is_numeric()):
        raise WrongType(str(raw.dtype))
    text = _text(raw)
    return _known(text, text.str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean))


def _list(raw: pl.Series) -> Parsed:
    """Lists of text without empty members; null where the cell is empty."""
    if raw.dtype == pl.Null:
        return _nulls(raw, pl.List(pl.String))
    if isinstance(raw.dtype, pl.Array):
        raw = raw.cast(pl.List(raw.dtype.inner))
    if isinstance(raw.dtype, pl.List):
        inner = raw.list.explode().dtype
        if inner.is_nested() or isinstance(inner, pl.Binary | pl.Object | pl.Duration):
            raise WrongType(str(raw.dtype))
        lists = raw.cast(pl.List(pl.String))
    elif _is_text(raw):
        raw = _text(raw)
        lists = raw.str.split("|")
    else:
        raise WrongType(str(raw.dtype))
    cleaned = pl.element().str.strip_chars()
    return _known(raw, lists.list.eval(cleaned.filter(cleaned != "")))


def _maturity(raw: pl.Series) -> Parsed:
    if raw.dtype.is_numeric() or raw.dtype == pl.Null:
        numbers = _number(raw)
        return _age(numbers.values, raw.is_null() if numbers.empty is None else numbers.empty)
    if not _is_text(raw):
        raise WrongType(str(raw.dtype))
    text = _text(raw)
    named = text.str.to_lowercase().replace_strict(_RATINGS, default=None, return_dtype=pl.Float64)
    values = named.zip_with(named.is_not_null(), text.str.strip_suffix("+").cast(pl.Float64, strict=False))
    return _age(values, text.is_null())


def _age(years: pl.Series, empty: pl.Series) -> Parsed:
    fits = ((years >= 0) & (years <= 21) & (years == years.floor())).fill_null(value=False)
    values = years.set(~fits, None).cast(pl.Int8)
    return Parsed(values, empty, values.is_null() & ~empty)


_PARSERS: dict[CellType, Callable[[pl.Series], Parsed]] = {
    "id": _id,
    "text": _words,
    "kind": _kind,
    "number": _number,
    "whole": _whole,
    "time": _time,
    "flag": _flag,
    "list": _list,
    "maturity": _maturity,
}
