"""Counters of every video, advanced by events alone and read as columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.types import DAY, Events, FloatArray, Kind, NextreelError, RowArray, TimeArray

WINDOWS = {"1d": (12, DAY / 12), "7d": (14, DAY / 2), "30d": (10, 3 * DAY)}  # name -> (buckets, seconds a bucket)
TREND_HALF_LIFE = 3 * DAY
_RESCALE = 200.0  # half-lives after which the trend's reference time moves on, far below the range of float64


class Window:
    """Counts of the last `buckets` × `width` seconds before the newest event: a ring of buckets and their sum.

    Time is that of the events, so a stream that falls silent keeps its last counts instead of forgetting them.
    """

    def __init__(self, videos: int, buckets: int, width: float) -> None:
        self.width = width
        self.ring = np.zeros((buckets, videos), np.int32)
        self.total = np.zeros(videos, np.int32)
        self.newest = np.iinfo(np.int64).min  # number of the newest bucket; none yet

    def _advance(self, bucket: int) -> None:
        size = len(self.ring)
        if bucket - self.newest >= size:
            self.ring[:] = 0
            self.total[:] = 0
        else:
            for number in range(self.newest + 1, bucket + 1):
                self.total -= self.ring[number % size]
                self.ring[number % size] = 0
        self.newest = bucket

    def add(self, rows: RowArray, at: TimeArray) -> None:
        """Counts one for each row at its time; events older than the window count for nothing."""
        numbers = np.floor_divide(at, self.width).astype(np.int64)
        distinct = np.unique(numbers)
        for number in distinct:
            if number > self.newest:
                self._advance(int(number))
            elif self.newest - number >= len(self.ring):
                continue
            of_bucket = rows if len(distinct) == 1 else rows[numbers == number]
            np.add.at(self.ring[number % len(self.ring)], of_bucket, 1)
            np.add.at(self.total, of_bucket, 1)


class Counters:
    """What all people together did with each of n videos, as columns (n,)."""

    def __init__(self, videos: int) -> None:
        self.plays = np.zeros(videos, np.int32)  # events of positive relevance
        self.rejections = np.zeros(videos, np.int32)  # events of negative relevance
        self.impressions = np.zeros(videos, np.int32)
        self.clicks = np.zeros(videos, np.int32)
        self.likes = np.zeros(videos, np.int32)
        self.value_sum = np.zeros(videos, np.float64)  # of the values (ratings) that came
        self.value_count = np.zeros(videos, np.int32)
        self.watch_seconds = np.zeros(videos, np.float64)
        self.watches = np.zeros(videos, np.int32)  # events that carried a watch time
        self.first_at = np.full(videos, np.inf)  # time of the first play
        self.windows = {name: Window(videos, *shape) for name, shape in WINDOWS.items()}
        self.trend = np.zeros(videos, np.float64)  # plays weighed 2^((at - reference) / half-life)
        self.trend_reference = 0.0
        self.newest_at = -np.inf  # time of the newest event of any kind
        self._shares: dict[str, FloatArray] = {}  # what was asked for since the last event
        self._orders: dict[str, RowArray] = {}
        self._totals: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.plays)

    def add(self, events: Events, weights: FloatArray) -> None:
        """Counts the events, oldest first; `weights` is their relevance. Events about channels are passed over."""
        if len(events):
            self.newest_at = max(self.newest_at, float(events.at.max()))
        about_video = events.video >= 0
        if not about_video.any():
            return
        rows, at, kind = events.video[about_video], events.at[about_video], events.kind[about_video]
        weight, value, seconds = weights[about_video], events.value[about_video], events.watch_seconds[about_video]
        for column, chosen in (
            (self.rejections, weight < 0),
            (self.impressions, kind == Kind.IMPRESSION),
            (self.clicks, kind == Kind.CLICK),
            (self.likes, kind == Kind.LIKE),
        ):
            if chosen.any():
                np.add.at(column, rows[chosen], 1)
        rated = ~np.isnan(value)
        if rated.any():
            np.add.at(self.value_sum, rows[rated], value[rated])
            np.add.at(self.value_count, rows[rated], 1)
        timed = ~np.isnan(seconds)
        if timed.any():
            np.add.at(self.watch_seconds, rows[timed], seconds[timed])
            np.add.at(self.watches, rows[timed], 1)
        played = weight > 0
        if played.any():
            self._play(rows[played], at[played])
        self._shares, self._orders, self._totals = {}, {}, {}

    def _play(self, rows: RowArray, at: TimeArray) -> None:
        np.add.at(self.plays, rows, 1)
        np.minimum.at(self.first_at, rows, at)
        for window in self.windows.values():
            window.add(rows, at)
        newest = float(at.max())
        if (newest - self.trend_reference) / TREND_HALF_LIFE > _RESCALE:
            self.trend *= 2.0 ** max(-1000.0, (self.trend_reference - newest) / TREND_HALF_LIFE)
            self.trend_reference = newest
        np.add.at(self.trend, rows, 2.0 ** ((at - self.trend_reference) / TREND_HALF_LIFE))

    def share(self, name: str) -> FloatArray:
        """Each video's part of all plays: "all", a window's name ("1d", "7d", "30d") or "trend". Zeros before any.

        Not to be changed by the caller: it is kept until the next event.
        """
        kept = self._shares  # a thread that is overtaken by an event writes into what is thrown away
        if name not in kept:
            kept[name] = self._share(name)
        return kept[name]

    def order(self, name: str) -> RowArray:
        """All rows by their share, most played first, ties by row; kept until the next event, like the shares."""
        kept = self._orders
        if name not in kept:
            kept[name] = np.argsort(-self.share(name), kind="stable").astype(np.int32)
        return kept[name]

    def total(self, name: str) -> float:
        """The sum over all videos of a column, such as "plays"; kept until the next event, like the shares."""
        kept = self._totals
        if name not in kept:
            kept[name] = float(getattr(self, name).sum())
        return kept[name]

    def _share(self, name: str) -> FloatArray:
        counts: NDArray[Any]
        if name == "all":
            counts = self.plays
        elif name == "trend":
            counts = self.trend
        elif name in self.windows:
            counts = self.windows[name].total
        else:
            raise NextreelError(f"No counter '{name}'. Hint: all, trend, {', '.join(self.windows)}.")
        total = counts.sum(dtype=np.float64)
        return (counts / total).astype(np.float32) if total > 0 else np.zeros(len(counts), np.float32)

    def save(self, path: Path) -> None:
        """Writes everything into one npz file."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _COLUMNS}
        for name, window in self.windows.items():
            arrays[f"window_{name}"] = window.ring
            arrays[f"window_{name}_newest"] = np.array(window.newest)
        arrays["trend_reference"] = np.array(self.trend_reference)
        arrays["newest_at"] = np.array(self.newest_at)
        np.savez(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Counters:
        """The counters that `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            counters = cls(len(stored["plays"]))
            for name in _COLUMNS:
                setattr(counters, name, stored[name])
            for name, window in counters.windows.items():
                window.ring = stored[f"window_{name}"]
                window.total = window.ring.sum(axis=0, dtype=np.int32)
                window.newest = int(stored[f"window_{name}_newest"])
            counters.trend_reference = float(stored["trend_reference"])
            counters.newest_at = float(stored["newest_at"])
        return counters


_COLUMNS = (
    "plays",
    "rejections",
    "impressions",
    "clicks",
    "likes",
    "value_sum",
    "value_count",
    "watch_seconds",
    "watches",
    "first_at",
    "trend",
)
