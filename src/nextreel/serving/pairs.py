"""What a table of pairs says of each: who, which video, when, and where the person was.

A cell that says nothing, or what cannot be, is refused with its row: the pair would be scored as another one.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from nextreel.types import LATEST, BoolArray, NextreelError

_IN_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


def ids(pairs: pa.Table, name: str) -> list[str]:
    """The column's ids as text. Raises `NextreelError` for a row that has none, and for numbers that are not whole."""
    column = _column(pairs, name)
    kind = column.type
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or isinstance(kind, pa.UuidType)):
        raise NextreelError(
            f"Expected integers or texts as {name}, got {kind}. "
            "Hint: data frames write integers as fractions where one of them is missing."
        )
    found = [None if cell is None else str(cell) for cell in column.to_pylist()]
    nothing = np.array([cell is None or not cell.strip() for cell in found], np.bool_)
    if nothing.any():
        raise NextreelError(
            f"Expected a {name} in every row, got none in {_where(nothing)}. Hint: leave such rows out."
        )
    return [str(cell) for cell in found]


def seconds(pairs: pa.Table) -> list[float]:
    """The column timestamp as seconds since 1970 UTC: a date is its first moment, parts of a microsecond are dropped.

    Raises `NextreelError` for a row with nothing, with text that is no time, or with a time not from 1970 to 2100.
    """
    column = _column(pairs, "timestamp")
    found = _seconds(column)
    at = np.array(found, np.float64)
    wrong = ~((at >= 0) & (at <= LATEST))  # NaN too
    if wrong.any():
        raise NextreelError(
            f"Expected a timestamp from 1970 to 2100 in every row, got {_told(column, int(np.argmax(wrong)))} in "
            f"{_where(wrong)}. Hint: write seconds since 1970, or ISO 8601 such as 2026-01-31T18:00:00."
        )
    return found


def context(pairs: pa.Table) -> list[list[str | None]]:
    """The columns device, location and surface as text, None where there is nothing."""
    nothing: list[str | None] = [None] * len(pairs)
    return [
        _words(pairs, name) if name in pairs.column_names else nothing for name in ("device", "location", "surface")
    ]


def _words(pairs: pa.Table, name: str) -> list[str | None]:
    column = _column(pairs, name)
    try:
        words: list[str | None] = column.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:  # a list, or bytes that are no UTF-8
        raise NextreelError(f"Expected text as {name}, got {column.type}: {error}. Hint: write it in UTF-8.") from error
    return words


def _column(pairs: pa.Table, name: str) -> pa.ChunkedArray:
    """The column, with its cells in place of their numbers in a dictionary."""
    count = pairs.column_names.count(name)
    if count != 1:
        raise NextreelError(f"Expected one column {name} in the pairs, got {count}. Hint: rename the others.")
    column = pairs[name]
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _seconds(column: pa.ChunkedArray) -> list[float]:
    """Each cell as seconds since 1970 UTC, NaN where it is no time. Raises `NextreelError` where no cell can be one."""
    kind = column.type
    if pa.types.is_date(kind):
        return _seconds(column.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms")))
    if pa.types.is_timestamp(kind):
        ticks, unit = column.cast(pa.int64()).to_pylist(), kind.unit
        if unit == "ns":
            ticks, unit = [None if tick is None else tick // 1_000 for tick in ticks], "us"
        return [math.nan if tick is None else tick / _IN_A_SECOND[unit] for tick in ticks]
    if _is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return [_second(cell) for cell in column.to_pylist()]
    raise NextreelError(
        f"Expected a timestamp as a time, a date, or seconds since 1970, got {kind}. "
        "Hint: write ISO 8601 such as 2026-01-31T18:00:00."
    )


def _second(cell: Any) -> float:
    if cell is None:
        return math.nan
    try:
        return float(cell)
    except ValueError:  # text
        return _of_iso(cell)


def _of_iso(text: str) -> float:
    """Seconds since 1970, NaN for what is no ISO 8601.

    >>> _of_iso("1970-01-02"), _of_iso("yesterday")
    (86400.0, nan)
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return math.nan
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _is_text(kind: pa.DataType) -> bool:
    """Whether cells are text, or there is none: an empty column has no type."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
    )


def _told(column: pa.ChunkedArray, row: int) -> str:
    """The cell as it stands in the table."""
    plain = column.slice(row, 1)
    if pa.types.is_timestamp(column.type):
        plain = plain.cast(pa.timestamp(column.type.unit))  # whatever its zone is called
    text: str | None = plain.cast(pa.string())[0].as_py()
    return "none" if text is None or not text.strip() else repr(text)


def _where(wrong: BoolArray) -> str:
    """The first row of those that are wrong, and how many they are.

    >>> _where(np.array([False, True, True]))
    'row 2 (2 such rows)'
    """
    return f"row {int(np.argmax(wrong)) + 1:,} ({np.count_nonzero(wrong):,} such rows)"
