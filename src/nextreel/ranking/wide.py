"""Models of libraries that count columns: they want rows as wide as those that they were fitted on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias

import numpy as np
from pydantic import AfterValidator, Field

from nextreel.params import Params
from nextreel.ranking.rows import Rows
from nextreel.types import FloatArray

COLUMNS_FILE = "columns.npy"


def _all_or_some(threads: int) -> int:
    if threads < 1 and threads != -1:  # a library may end the whole process at 0
        raise ValueError(f"expected -1 for all cores, or 1 and more, got {threads}")
    return threads


Threads: TypeAlias = Annotated[int, AfterValidator(_all_or_some)]


class BoostingParams(Params):
    """Hyper-parameters that libraries of boosted trees have in common."""

    iterations: int = Field(default=500, ge=1)
    # as many at most where an order goes on from the fused one of the sources; None: `iterations`
    order_iterations: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    l2: float = Field(default=3.0, ge=0)
    columns: float = Field(default=1.0, gt=0, le=1)  # part of the columns that a tree may ask about
    rows: float = Field(default=1.0, gt=0, le=1)  # part of the rows that a tree is grown on
    early_stopping: int = Field(default=50, ge=1)  # iterations without a better validation before it stops
    seed: int = Field(default=42, ge=0, lt=2**63)
    threads: Threads = -1  # -1: all cores

    def most(self, rows: Rows) -> int:
        """How many iterations there are at most on these rows."""
        return self.iterations if rows.start is None else self.order_iterations or self.iterations


@dataclass(frozen=True)
class Wide(ABC):
    """A library's model, scored over rows that may lack the columns it never asks about."""

    columns: tuple[int, ...]  # place in the rows of each column that it was fitted on; -1 for one that they lack

    @abstractmethod
    def _used(self) -> Sequence[int]:
        """The model's columns that can change a score."""

    @abstractmethod
    def _raw(self, wide: FloatArray) -> Any:
        """(n,) raw scores of rows (n, columns) of the model."""

    @abstractmethod
    def _parts(self, wide: FloatArray) -> Any:
        """(n, columns + 1) SHAP values of the model's columns, and the mean score."""

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Writes the library's own file."""

    @property
    def reads(self) -> frozenset[int]:
        """The columns of the rows that can change a score."""
        return frozenset(self.columns[column] for column in self._used())

    def score(self, values: FloatArray) -> FloatArray:
        """(n,) raw scores."""
        return np.asarray(self._raw(spread(values, self.columns)), np.float32)

    def contributions(self, values: FloatArray) -> FloatArray:
        """(n, features + 1) SHAP values and the mean score."""
        return gathered(np.asarray(self._parts(spread(values, self.columns))), self.columns, values.shape[1])

    def over(self, columns: Sequence[int]) -> Self:
        """The same model over rows of these columns alone."""
        place = {column: new for new, column in enumerate(columns)}
        return replace(self, columns=tuple(place.get(column, -1) for column in self.columns))

    def save(self, folder: Path) -> None:
        """Writes the model and the places of its columns into the folder."""
        self._write(folder)
        np.save(folder / COLUMNS_FILE, np.array(self.columns, np.int32))


def saved_columns(folder: Path) -> tuple[int, ...]:
    """The places that `Wide.save` wrote."""
    return tuple(np.load(folder / COLUMNS_FILE, allow_pickle=False).tolist())


def spread(values: FloatArray, columns: Sequence[int]) -> FloatArray:
    """(n, columns) each of the model's columns from its place in the rows, NaN where it has none (-1).

    >>> spread(np.array([[1.0, 2.0]], np.float32), [1, -1, 0]).tolist()
    [[2.0, nan, 1.0]]
    """
    place = np.asarray(columns)
    wide = np.full((len(values), len(place)), np.nan, np.float32)
    wide[:, place >= 0] = values[:, place[place >= 0]]
    return wide


def gathered(parts: FloatArray, columns: Sequence[int], width: int) -> FloatArray:
    """(n, width + 1) what each column of the rows adds, from what the model's columns add and, last, the mean score.

    >>> gathered(np.array([[1.0, 0.0, 3.0, 9.0]], np.float32), [1, -1, 0], 2).tolist()
    [[3.0, 1.0, 9.0]]
    """
    place = np.asarray(columns)
    found = np.zeros((len(parts), width + 1), np.float32)
    found[:, place[place >= 0]] = parts[:, :-1][:, place >= 0]
    found[:, -1] = parts[:, -1]
    return found
