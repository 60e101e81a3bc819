"""How popular each video is of late, as columns that the towers weigh: from counters of now, or as they once stood."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from nextreel.types import Events, FloatArray, TimeArray

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SNAPSHOTS = 256
CELLS = 50_000_000  # most values of all snapshots: 100 MB in half precision


class Shares(Protocol):
    """Counters of every video: `nextreel.store.Counters`."""

    newest_at: float  # time of the newest event that is counted

    def share(self, name: str) -> FloatArray:
        """Each video's part of all plays in a window."""
        ...

    def add(self, events: Events, weights: FloatArray) -> None:
        """Counts the events, oldest first."""
        ...


def columns(shares: Sequence[FloatArray]) -> FloatArray:
    """Log(1 + plays in relation to the mean video's), (videos, windows), from each video's part of all plays."""
    relative = np.stack(shares, axis=1) * np.float32(len(shares[0]))
    logs: FloatArray = np.log1p(relative, dtype=np.float32)
    return logs


@dataclass(frozen=True)
class Snapshots:
    """The columns as they stood at some times."""

    at: TimeArray  # (snapshots,) ascending; of the newest event that is counted, -inf for none
    values: NDArray[np.float16]  # (snapshots, videos, windows)

    def before(self, at: TimeArray) -> NDArray[np.int64]:
        """Number of the newest snapshot that counts nothing at or after each of the times."""
        return np.asarray(np.searchsorted(self.at, at, side="left") - 1, np.int64)

    def of(self, at: float) -> FloatArray:
        """The columns (videos, windows) that were known just before that time."""
        columns: FloatArray = self.values[int(self.before(np.array([at]))[0])].astype(np.float32)
        return columns

    @classmethod
    def none(cls, n_videos: int, windows: int) -> Snapshots:
        """Nothing is known of any video at any time."""
        return cls(np.full(1, -np.inf), np.zeros((1, n_videos, windows), np.float16))


class Columns:
    """The columns at any time: of now, made again only after the counters moved on, or as they once stood."""

    def __init__(self, counters: Shares, windows: Sequence[str], past: Snapshots) -> None:
        self._counters, self._windows, self._past = counters, windows, past
        self._kept: tuple[list[FloatArray], FloatArray] | None = None

    def __call__(self, at: float) -> FloatArray:
        """The columns (videos, windows) for a request at that time; not to be changed.

        A request of a time that the counters have left behind, and that the past knows, is answered from the past: what
        became popular later was not known then.
        """
        shares = [self._counters.share(name) for name in self._windows]
        if at < self._counters.newest_at and at < self._past.at[-1]:
            past = self._past.of(at)
            return np.pad(past, ((0, len(shares[0]) - len(past)), (0, 0)))  # what came since was not there
        kept = self._kept  # one read: another thread may write it
        if kept is None or any(new is not old for new, old in zip(shares, kept[0], strict=True)):
            self._kept = kept = shares, columns(shares)
        return kept[1]


def snapshots(
    counters: Shares, events: Events, weights: FloatArray, windows: Sequence[str], n_videos: int
) -> Snapshots:
    """The columns at times between which equally many events lie; `counters` start empty and end after them all."""
    many = int(np.clip(CELLS // max(1, n_videos * len(windows)), 2, MOST_SNAPSHOTS))
    if not windows:
        return Snapshots.none(n_videos, 0)
    cuts = np.unique(np.linspace(0, len(events), many, dtype=np.int64))
    at, values = np.full(len(cuts), -np.inf), np.zeros((len(cuts), n_videos, len(windows)), np.float16)
    for number, (start, end) in enumerate(pairwise(cuts.tolist()), start=1):
        counters.add(events.take(slice(start, end)), weights[start:end])
        at[number], values[number] = events.at[end - 1], columns([counters.share(name) for name in windows])
    return Snapshots(at, values)
