"""Numbers as a network likes them: standard scores, buckets, and circles for the hour and the weekday."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextreel.encoding.files import EncodingError, read_json, write_json
from nextreel.types import DAY, FloatArray, TimeArray

NORMALIZERS = "normalizers"
BUCKETS = "buckets"
AGE_EDGES = (18.0, 25.0, 35.0, 45.0, 55.0, 65.0)  # years
DURATION_EDGES = (60.0, 300.0, 600.0, 1800.0, 3600.0)  # seconds

Numbers = NDArray[np.floating] | NDArray[np.integer]


@dataclass(frozen=True)
class Normalizer:
    """Standard scores of log1p of a number; a missing number (NaN) becomes 0, the mean.

    >>> views = fit_normalizer("views", np.array([0.0, 10.0, 1000.0]))
    >>> np.round(views.encode(np.array([10.0, np.nan])).astype(float), 3).tolist()
    [-0.246, 0.0]
    """

    name: str
    mean: float
    deviation: float
    log: bool = True

    def encode(self, values: Numbers) -> FloatArray:
        """Standard scores, of the shape of the values; negative numbers count as 0 before the logarithm."""
        numbers = np.asarray(values, np.float64)
        scores = (_logarithm(numbers, self.log) - self.mean) / self.deviation
        return np.where(np.isfinite(scores), scores, 0.0).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Writes `normalizers/<name>.json` below the folder."""
        content = {"name": self.name, "mean": self.mean, "deviation": self.deviation, "log": self.log}
        write_json(folder / NORMALIZERS / f"{self.name}.json", content)


def _logarithm(numbers: NDArray[np.float64], log: bool) -> NDArray[np.float64]:
    return np.log1p(np.maximum(numbers, 0.0)) if log else numbers


def fit_normalizer(name: str, values: Numbers, log: bool = True) -> Normalizer:
    """The normalizer of the finite values; with none, or all equal, it leaves differences as they are."""
    numbers = _logarithm(np.asarray(values, np.float64), log)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) == 0:
        return Normalizer(name, 0.0, 1.0, log)
    deviation = float(numbers.std())
    return Normalizer(name, float(numbers.mean()), deviation if deviation > 1e-9 else 1.0, log)


def load_normalizer(folder: Path, name: str) -> Normalizer:
    """The normalizer of that name which `Normalizer.save` wrote below the folder."""
    content = read_json(folder / NORMALIZERS / f"{name}.json", "normalizer", ("name", "mean", "deviation", "log"))
    return Normalizer(content["name"], float(content["mean"]), float(content["deviation"]), bool(content["log"]))


@dataclass(frozen=True)
class Buckets:
    """Codes of half-open intervals: 1 below the first edge, one more at each edge, 0 for a missing number.

    >>> Buckets("age", AGE_EDGES).encode(np.array([17.0, 18.0, 70.0, np.nan])).tolist()
    [1, 2, 7, 0]
    """

    name: str
    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises EncodingError unless the edges grow."""
        if any(right <= left for left, right in zip(self.edges, self.edges[1:], strict=False)):
            raise EncodingError(f"Expected edges that grow for the buckets '{self.name}'; got {self.edges}.")

    def __len__(self) -> int:
        """How many codes there are, the one for missing numbers included."""
        return len(self.edges) + 2

    def encode(self, values: Numbers) -> NDArray[np.int32]:
        """The code of each number, of the shape of the values."""
        numbers = np.asarray(values, np.float64)
        codes = np.searchsorted(np.asarray(self.edges), numbers, side="right") + 1
        return np.where(np.isnan(numbers), 0, codes).astype(np.int32)

    def code(self, value: float | None) -> int:
        """The code of one number, 0 where it is missing."""
        return 0 if value is None or math.isnan(value) else bisect_right(self.edges, value) + 1

    def one_hot(self, values: Numbers) -> FloatArray:
        """A 1.0 at the code of each number (n,), 0.0 elsewhere: (n, len(self))."""
        return np.eye(len(self), dtype=np.float32)[self.encode(values)]

    def save(self, folder: Path) -> None:
        """Writes `buckets/<name>.json` below the folder."""
        write_json(folder / BUCKETS / f"{self.name}.json", {"name": self.name, "edges": list(self.edges)})


def fit_buckets(name: str, counts: Numbers, n: int = 10) -> Buckets:
    """At most n buckets of counts, equally wide in log(1 + count) up to the largest, after one for counts below 1.

    Counts grow by orders of magnitude, so that steps of one ratio tell the rare from the rarest and all stars apart.

    >>> fit_buckets("popularity", np.array([0, 3, 1000, 99_999]), n=5).edges
    (1.0, 9.0, 99.0, 999.0, 9999.0)
    """
    if n < 1:
        raise EncodingError(f"Expected at least 1 bucket for '{name}'; got {n}.")
    numbers = np.asarray(counts, np.float64)
    largest = float(np.max(numbers, initial=0.0, where=np.isfinite(numbers)))
    edges = np.rint(np.expm1(np.linspace(0.0, math.log1p(largest), n + 1))[1:-1])
    return Buckets(name, tuple(np.unique(np.maximum(np.append(1.0, edges), 1.0)).tolist()))


def load_buckets(folder: Path, name: str) -> Buckets:
    """The buckets of that name which `Buckets.save` wrote below the folder."""
    content = read_json(folder / BUCKETS / f"{name}.json", "set of buckets", ("name", "edges"))
    return Buckets(content["name"], tuple(float(edge) for edge in content["edges"]))


def circle(phase: NDArray[np.float64]) -> FloatArray:
    """Sine and cosine (n, 2) of a phase in turns, so that the end of a cycle lies beside its start."""
    angle = 2.0 * np.pi * np.asarray(phase, np.float64)
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).astype(np.float32)


def hour_circle(at: TimeArray) -> FloatArray:
    """Sine and cosine (n, 2) of the hour of day in UTC.

    >>> hour_circle(np.array([0.0, 6 * 3600.0])).round(3).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return circle(np.asarray(at, np.float64) % DAY / DAY)


def weekday_circle(at: TimeArray) -> FloatArray:
    """Sine and cosine (n, 2) of the day of the week in UTC, whole days, Monday at the top of the circle."""
    days = np.floor(np.asarray(at, np.float64) / DAY) + 3  # 1970-01-01 was a Thursday
    return circle(days % 7 / 7)
