"""Where fitting begins: at the order that all sources together give, so that a ranker learns what that lacks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nextreel.features.fusion import reciprocal
from nextreel.ranking.model import Scorer
from nextreel.ranking.rows import Rows
from nextreel.types import FloatArray

START_FILE = "start.json"
_RANK = "rank_"


@dataclass(frozen=True)
class Started:
    """A scorer whose scores are added to Σ weight / (60 + rank) over the ranks of the sources.

    The rank columns hold ln(1 + rank); a source that has no rank adds nothing.
    """

    scorer: Scorer
    columns: tuple[int, ...]  # the rank columns of the rows
    weights: tuple[float, ...]  # of each

    @property
    def reads(self) -> frozenset[int]:
        """The rank columns, and those that the scorer reads."""
        return self.scorer.reads | frozenset(self.columns)

    def score(self, values: FloatArray) -> FloatArray:
        """(n,) raw scores."""
        raw: FloatArray = self.scorer.score(values) + _terms(values, self.columns, self.weights).sum(axis=1)
        return raw

    def contributions(self, values: FloatArray) -> FloatArray:
        """(n, features + 1) what each column adds, the terms of the start to their rank columns; last the mean."""
        parts = self.scorer.contributions(values)
        parts[:, list(self.columns)] += _terms(values, self.columns, self.weights)
        return parts

    def over(self, columns: Sequence[int]) -> Started:
        """The same over rows that have these columns alone."""
        place = {column: new for new, column in enumerate(columns)}
        return replace(self, scorer=self.scorer.over(columns), columns=tuple(place[one] for one in self.columns))

    def save(self, folder: Path) -> None:
        """Writes the scorer and where it begins into the folder."""
        self.scorer.save(folder)
        about = {"columns": list(self.columns), "weights": self.weights}
        (folder / START_FILE).write_text(json.dumps(about) + "\n", encoding="utf-8")


def load(folder: Path, scorer: Scorer) -> Scorer:
    """The scorer as `Started.save` wrote it; the scorer itself where nothing was written."""
    if not (folder / START_FILE).is_file():
        return scorer
    about = json.loads((folder / START_FILE).read_text(encoding="utf-8"))
    return Started(scorer, tuple(about["columns"]), tuple(about["weights"]))


@dataclass(frozen=True)
class Start:
    """The rank columns, and how much each of them counts."""

    columns: tuple[int, ...]
    weights: tuple[float, ...]

    def of(self, rows: Rows) -> Rows:
        """The same rows, from whose start a fit goes on."""
        return replace(rows, start=_terms(rows.values, self.columns, self.weights).sum(axis=1))


def standard(rows: Rows, strength: float, weights: Mapping[str, float]) -> Start | None:
    """The start in which one standard deviation of the fused score within a moment is worth `strength`.

    `weights` are those of the sources in that score, 1 for one that is not named. None where nothing is to begin from:
    a strength of 0, fewer than two sources, or ranks that say nothing.
    """
    columns = tuple(n for n, name in enumerate(rows.names) if name.startswith(_RANK))
    if strength == 0 or len(columns) < 2 or not len(rows):
        return None
    counts = [weights.get(rows.names[column].removeprefix(_RANK), 1.0) for column in columns]
    fused = _terms(rows.values, columns, counts).sum(axis=1, dtype=np.float64)
    size = rows.sizes()
    first = np.cumsum(size) - size
    mean = np.repeat(np.add.reduceat(fused, first) / size, size)
    spread = float(np.sqrt(np.add.reduceat((fused - mean) ** 2, first) / size).mean())
    return Start(columns, tuple(strength / spread * one for one in counts)) if spread > 0 else None


def _terms(values: FloatArray, columns: Sequence[int], weights: Sequence[float]) -> FloatArray:
    """(n, columns) weight / (60 + rank), 0 where there is no rank."""
    return np.asarray(weights, np.float32) * reciprocal(np.expm1(values[:, list(columns)]))
