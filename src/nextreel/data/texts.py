"""Columns of many cells but few distinct texts: each text is read once, in whichever piece it comes first."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.data.ids import firsts, no_texts
from nextreel.data.parsing import Parsed, parse
from nextreel.data.schemas import CellType

REPEATING: tuple[CellType, ...] = ("kind", "flag")  # cells that are one of few texts


class Texts:
    """Reads such a column piece by piece; what stays text becomes a categorical where it is `coded`."""

    def __init__(self, cell: CellType, *, coded: bool) -> None:
        self._cell = cell
        self._text = no_texts() if coded else pl.Series([], dtype=pl.String)
        self._plain = no_texts()  # numbers the texts that come one by one
        self._begin(self._plain)

    def _begin(self, numbered: pl.Series) -> None:
        """Forgets what was read: the texts of this column have other numbers."""
        self._numbered = numbered.clear()
        self._place = np.zeros(1, np.uint32)  # of each text's number: where in what follows it stands, 0 when unread
        self._values = pl.Series([None])  # what a text stands for; first of all what no text at all does
        self._empty, self._bad = pl.Series([True]), pl.Series([False])

    def parse(self, raw: pl.Series) -> Parsed:
        """The column as typed cells; raises `WrongType` as `parsing.parse` does."""
        if raw.dtype == pl.String:
            raw = raw.cast(self._plain.dtype)
        if not isinstance(raw.dtype, pl.Categorical | pl.Enum):
            parsed = parse(raw, self._cell)
            return Parsed(self._coded(parsed.values), parsed.empty, parsed.bad)
        if raw.dtype != self._numbered.dtype:
            self._begin(raw)
        physical = raw.to_physical()
        most = int(physical.max() or 0)  # type: ignore[arg-type]  # of unsigned integers it is int
        none = max(most + 1, len(self._place) - 1)  # the number of empty cells, which no text has yet
        numbers = physical.cast(pl.UInt32)
        if numbers.null_count():
            numbers = numbers.fill_null(none)
        self._see(raw, numbers.to_numpy(), none)
        place = pl.Series(self._place)
        blank = raw.null_count() > 0 or bool(self._empty[1:].any())
        return Parsed(
            self._values.gather(place).gather(numbers),
            self._empty.gather(place).gather(numbers) if blank else None,
            self._bad.gather(place).gather(numbers) if self._bad.any() else None,
        )

    def _see(self, raw: pl.Series, numbers: NDArray[np.uint32], none: int) -> None:
        """Reads the texts that did not come before; `none` is the number of empty cells."""
        self._place = np.concatenate([self._place, np.zeros(none + 1 - len(self._place), np.uint32)])
        new = self._place == 0
        new[none] = False
        first = firsts(numbers, new)
        if len(first) == 0 and self._values.dtype != pl.Null:
            return
        parsed = parse(raw.gather(first).cast(pl.String), self._cell)
        values = self._coded(parsed.values)
        if self._values.dtype == pl.Null:
            self._values = self._values.cast(values.dtype)
        elif self._values.dtype != values.dtype:  # ids that are numbers, and now one that is none
            self._values, values = (one.cast(pl.String).cast(self._text.dtype) for one in (self._values, values))
        self._place[numbers[first]] = np.arange(len(self._values), len(self._values) + len(first), dtype=np.uint32)
        no = pl.repeat(False, len(first), dtype=pl.Boolean, eager=True)
        self._values = pl.concat([self._values, values])
        self._empty = pl.concat([self._empty, no if parsed.empty is None else parsed.empty])
        self._bad = pl.concat([self._bad, no if parsed.bad is None else parsed.bad])

    def _coded(self, values: pl.Series) -> pl.Series:
        return values.cast(self._text.dtype) if values.dtype == pl.String else values
