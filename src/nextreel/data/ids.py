"""Columns of ids: whole numbers, text, or categoricals that hold each distinct text once; 7 and "7" are one id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.types import UNKNOWN, BoolArray

_ROOM = 8  # numbers per row that a table of all numbers between the least and the greatest id may have
_CHUNK = 1 << 16  # cells looked through at a time


def no_texts(name: str = "") -> pl.Series:
    """A categorical column without cells. Texts keep their numbers while it, or one of its type, is there: polars
    forgets the numbers of categories that no column has.
    """
    return pl.Series(name, [], pl.Categorical(pl.Categories.random()))


def firsts(numbers: NDArray[np.uint32], new: BoolArray) -> NDArray[np.intp]:
    """Where each number that is `new` comes first, in that order; `new` is told of all that occur, and forgets them."""
    where = np.empty(len(new), np.intp)
    found = [np.empty(0, np.intp)]
    for start in range(0, len(numbers), _CHUNK):  # after the first chunks hardly any number is new
        rows = start + np.flatnonzero(new.take(numbers[start : start + _CHUNK]))
        fresh = numbers[rows]
        where[fresh[::-1]] = rows[::-1]  # of repeated numbers the last one stays: the earliest row
        found.append(rows[where[fresh] == rows])
        new[fresh] = False
    return np.concatenate(found)


def distinct(columns: Sequence[pl.Series]) -> pl.Series:
    """Every id of the columns once, in the order in which they come first: Int64 when all of them are, else String.

    >>> distinct([pl.Series([3, 1]), pl.Series(["x", "1"])]).to_list()
    ['3', '1', 'x']
    """
    filled = [column for column in columns if len(column) > column.null_count()]
    dtype = pl.Int64 if all(column.dtype == pl.Int64 for column in filled) else pl.String
    parts = [_used(column).cast(dtype).rename("id") for column in filled]
    if not parts:
        return pl.Series("id", [], dtype)
    return parts[0] if len(parts) == 1 else pl.concat(parts).unique(maintain_order=True)


def _used(column: pl.Series) -> pl.Series:
    numbers = _numbers(column)
    if numbers is None:
        return column.drop_nulls().unique(maintain_order=True)
    new = np.ones(numbers.none + 1, np.bool_)
    new[numbers.none] = False
    return column.gather(firsts(numbers.of, new))


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Small numbers of a column's values."""

    of: NDArray[np.uint32]  # each cell (n,)
    none: int  # of empty cells; all others are below
    low: int  # what was taken from whole numbers


def _numbers(column: pl.Series) -> _Numbers | None:
    """Small numbers of the values, None where there are none that come for nothing."""
    if isinstance(column.dtype, pl.Categorical):
        physical, low = column.to_physical(), 0
        none = int(physical.max() or 0) + 1  # type: ignore[arg-type]  # of unsigned integers it is int
    elif column.dtype == pl.Int64 and len(column) > column.null_count():
        low = int(column.min())  # type: ignore[arg-type]  # of Int64 it is int
        none = int(column.max()) + 1 - low  # type: ignore[arg-type]
        if none > _ROOM * len(column):
            return None
        physical = column - low
    else:
        return None
    physical = physical.cast(pl.UInt32)
    return _Numbers((physical.fill_null(none) if physical.null_count() else physical).to_numpy(), none, low)


def codes(values: pl.Series, ids: pl.Series) -> NDArray[np.int32]:
    """Of each value (n,) its place among the distinct ids, UNKNOWN where it is null or not there.

    >>> codes(pl.Series(["b", None, "a"]), pl.Series(["a", "b"])).tolist()
    [1, -1, 0]
    """
    text = isinstance(values.dtype, pl.Categorical)
    numbers = _numbers(values) if text or ids.dtype == pl.Int64 else None
    if numbers is not None:
        known = (ids.cast(pl.String).cast(values.dtype).to_physical() if text else ids).cast(pl.Int64).to_numpy()
        inside = np.flatnonzero((known >= numbers.low) & (known < numbers.low + numbers.none))
        code_of = np.full(numbers.none + 1, UNKNOWN, np.int32)
        code_of[known[inside] - numbers.low] = inside
        return code_of.take(numbers.of)
    dtype = pl.Int64 if values.dtype == pl.Int64 == ids.dtype else pl.String
    table = pl.DataFrame({"id": ids.cast(dtype), "code": np.arange(len(ids), dtype=np.int32)})
    joined = pl.DataFrame({"id": values.cast(dtype)}).join(table, on="id", how="left", maintain_order="left")
    return joined["code"].fill_null(UNKNOWN).to_numpy().astype(np.int32)


def any_repeated(ids: pl.Series) -> bool:
    """Whether any id comes twice.

    >>> any_repeated(pl.Series([3, 1, None, None])), any_repeated(pl.Series([3, 1, 3]))
    (False, True)
    """
    numbers = _numbers(ids)
    if numbers is None:
        there = ids.drop_nulls()
        return there.n_unique() < len(there)
    seen = np.zeros(numbers.none + 1, np.bool_)
    seen[numbers.of] = True
    return int(seen[: numbers.none].sum()) < len(ids) - ids.null_count()


def is_known(column: pl.Series, ids: pl.Series) -> BoolArray:
    """Whether each id of the column (n,) is among the ids; False where it is empty.

    >>> is_known(pl.Series(["7", "x", None]), pl.Series([7, 8])).tolist()
    [True, False, False]
    """
    found: BoolArray = codes(column, ids.drop_nulls().unique()) != UNKNOWN
    return found
