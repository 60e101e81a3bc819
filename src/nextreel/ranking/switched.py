"""Two orders in one: for who was here just now, and for who comes back after a while."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nextreel.ranking.model import Scorer
from nextreel.ranking.rows import Rows
from nextreel.types import BoolArray, FloatArray

SWITCH_FILE, NEAR, FAR = "switch.json", "near", "far"
AWAY = "days_since_last_event"  # the column that tells them apart: ln(1 + days), NaN for who was never here


@dataclass(frozen=True)
class Switched:
    """A scorer of rows whose column is below the limit, and one of all others; their scores are not compared.

    The column is one of the person: all rows of a moment go the same way.
    """

    near: Scorer
    far: Scorer
    column: int
    limit: float

    @property
    def reads(self) -> frozenset[int]:
        """The columns that either reads, and the one that tells them apart."""
        return self.near.reads | self.far.reads | {self.column}

    def score(self, values: FloatArray) -> FloatArray:
        """(n,) raw scores."""
        return self._each(values, lambda scorer, some: scorer.score(some)[:, None], 1)[:, 0]

    def contributions(self, values: FloatArray) -> FloatArray:
        """(n, features + 1) what each column adds to the score of the scorer that judges the row, and its mean."""
        return self._each(values, lambda scorer, some: scorer.contributions(some), values.shape[1] + 1)

    def over(self, columns: Sequence[int]) -> Switched:
        """The same over rows that have these columns alone."""
        place = {column: new for new, column in enumerate(columns)}
        return replace(self, near=self.near.over(columns), far=self.far.over(columns), column=place[self.column])

    def save(self, folder: Path) -> None:
        """Writes both scorers, each into a folder of its own, and what tells them apart."""
        for name, scorer in ((NEAR, self.near), (FAR, self.far)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            scorer.save(folder / name)
        about = {"column": self.column, "limit": self.limit}
        (folder / SWITCH_FILE).write_text(json.dumps(about) + "\n", encoding="utf-8")

    def _each(self, values: FloatArray, judge: Callable[[Scorer, FloatArray], FloatArray], width: int) -> FloatArray:
        near = is_near(values, self.column, self.limit)
        if near.all():
            return judge(self.near, values)
        if not near.any():
            return judge(self.far, values)
        found = np.empty((len(values), width), np.float32)
        found[near], found[~near] = judge(self.near, values[near]), judge(self.far, values[~near])
        return found


def load(folder: Path, part: Callable[[Path], Scorer]) -> Scorer:
    """The scorer as `Switched.save` wrote it; what `part` reads where nothing is switched."""
    if not (folder / SWITCH_FILE).is_file():
        return part(folder)
    about = json.loads((folder / SWITCH_FILE).read_text(encoding="utf-8"))
    return Switched(part(folder / NEAR), part(folder / FAR), int(about["column"]), float(about["limit"]))


def is_near(values: FloatArray, column: int, limit: float) -> BoolArray:
    """(n,) whether the column of the rows is below the limit; NaN is not."""
    near: BoolArray = values[:, column] < limit
    return near


def split(rows: Rows, column: int, limit: float) -> tuple[Rows, Rows]:
    """The rows that are near, and the others."""
    near = is_near(rows.values, column, limit)
    return rows.take(near), rows.take(~near)
