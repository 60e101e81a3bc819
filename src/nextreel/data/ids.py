"""Columns of ids: whole numbers, text, or categoricals that hold each distinct text once; 7 and "7" are one id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.types import UNKNOWN, BoolArray

_ROOM = 8  # numbers per row that a table of all numbers between the least and the greatest id may have


def coded(column: pl.Series) -> tuple[pl.Series, NDArray[np.intp]]:
    """The texts of a categorical column in the order in which they come first, and of each cell (n,) its text's place,
    the number of texts where it is empty.
    """
    physical = column.to_physical()
    room = int(physical.max() or 0) + 1  # type: ignore[arg-type]  # of unsigned integers it is int
    at = physical.cast(pl.Int64).fill_null(room).to_numpy()
    first = np.full(room + 1, len(at))
    first[at[::-1]] = np.arange(len(at) - 1, -1, -1)  # of repeated places the last one stays: the earliest row
    used = np.flatnonzero(first[:room] < len(at))
    used = used[np.argsort(first[used])]
    place = np.full(room + 1, len(used), np.intp)
    place[used] = np.arange(len(used))
    return column.gather(first[used]).cast(pl.String), place[at]


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
    if isinstance(column.dtype, pl.Categorical):
        return coded(column)[0]
    return column.drop_nulls().unique(maintain_order=True)


def codes(values: pl.Series, ids: pl.Series) -> NDArray[np.int32]:
    """Of each value (n,) its place among the distinct ids, UNKNOWN where it is null or not there.

    >>> codes(pl.Series(["b", None, "a"]), pl.Series(["a", "b"])).tolist()
    [1, -1, 0]
    """
    if isinstance(values.dtype, pl.Categorical):
        texts, places = coded(values)
        found: NDArray[np.int32] = np.append(codes(texts, ids), np.int32(UNKNOWN))[places]
        return found
    if values.dtype == pl.Int64 == ids.dtype and len(ids):
        low, high = int(ids.min()), int(ids.max())  # type: ignore[arg-type]  # of Int64 they are int
        if high - low < _ROOM * (len(values) + len(ids)):
            return _by_number(values, ids, low, high)
    dtype = pl.Int64 if values.dtype == pl.Int64 == ids.dtype else pl.String
    table = pl.DataFrame({"id": ids.cast(dtype), "code": np.arange(len(ids), dtype=np.int32)})
    joined = pl.DataFrame({"id": values.cast(dtype)}).join(table, on="id", how="left", maintain_order="left")
    return joined["code"].fill_null(UNKNOWN).to_numpy().astype(np.int32)


def _by_number(values: pl.Series, ids: pl.Series, low: int, high: int) -> NDArray[np.int32]:
    """The codes by a table of all numbers from `low` to `high`."""
    table = np.full(high - low + 2, UNKNOWN, np.int32)  # the last place is for everything else
    table[ids.to_numpy() - low] = np.arange(len(ids), dtype=np.int32)
    inside = values.set(~values.is_between(low, high), None)
    found: NDArray[np.int32] = table[(inside - low).fill_null(high - low + 1).to_numpy()]
    return found


def is_known(column: pl.Series, ids: pl.Series) -> BoolArray:
    """Whether each id of the column (n,) is among the ids; False where it is empty.

    >>> is_known(pl.Series(["7", "x", None]), pl.Series([7, 8])).tolist()
    [True, False, False]
    """
    if isinstance(column.dtype, pl.Categorical):
        texts, places = coded(column)
        found: BoolArray = np.append(is_known(texts, ids), np.False_)[places]
        return found
    dtype = pl.Int64 if column.dtype == pl.Int64 == ids.dtype else pl.String
    among = column.cast(dtype).is_in(ids.cast(dtype).drop_nulls().implode())
    return among.fill_null(value=False).to_numpy().astype(np.bool_)
