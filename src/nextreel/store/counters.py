"""Counters of every video, advanced by events alone and read as columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.types import DAY, BoolArray, Catalogue, Events, FloatArray, Kind, NextreelError, RowArray, TimeArray

WINDOWS = {  # name -> (buckets, seconds a bucket)
    "5min": (5, 60.0),
    "1h": (12, 300.0),
    "1d": (12, DAY / 12),
    "7d": (14, DAY / 2),
    "30d": (10, 3 * DAY),
}
TREND_HALF_LIFE = 3 * DAY
SURFACES = 16  # that are counted apart, those that came first: a client may name as many as it likes
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
            if self.total.any():
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
        newest = int(numbers.max())
        if newest > self.newest:
            self._advance(newest)
        inside = numbers > self.newest - len(self.ring)
        if not inside.all():
            rows, numbers = rows[inside], numbers[inside]
        np.add.at(self.ring, (numbers % len(self.ring), rows), 1)
        np.add.at(self.total, rows, 1)


class Answers:
    """How what one surface showed of n videos was answered there, as columns (n,)."""

    def __init__(self, videos: int) -> None:
        self.impressions = np.zeros(videos, np.int32)
        self.clicks = np.zeros(videos, np.int32)
        self.full_watches = np.zeros(videos, np.int32)  # watches of positive relevance


class Counters:
    """What all people together did with each of n videos, as columns (n,), and how many follow each channel."""

    def __init__(self, videos: int, channels: int = 0) -> None:
        self.subscribers = np.zeros(channels, np.int32)  # (channels,) subscribe events
        self.plays = np.zeros(videos, np.int32)  # events of positive relevance
        self.rejections = np.zeros(videos, np.int32)  # events of negative relevance
        self.impressions = np.zeros(videos, np.int32)
        self.clicks = np.zeros(videos, np.int32)
        self.likes = np.zeros(videos, np.int32)
        self.comments = np.zeros(videos, np.int32)
        self.shares = np.zeros(videos, np.int32)
        self.value_sum = np.zeros(videos, np.float64)  # of the values (ratings) that came
        self.value_count = np.zeros(videos, np.int32)
        self.watch_seconds = np.zeros(videos, np.float64)
        self.watches = np.zeros(videos, np.int32)  # events that carried a watch time
        self.full_watches = np.zeros(videos, np.int32)  # watches of positive relevance
        self.first_at = np.full(videos, np.inf)  # time of the first play
        self.surfaces: dict[str, Answers] = {}  # surface -> events that happened there
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
        """Counts the events, oldest first; `weights` is their relevance."""
        if not len(events):
            return
        self.newest_at = max(self.newest_at, float(events.at.max()))
        about_video = events.video >= 0
        if not about_video.all():
            followed = events.channel[(events.kind == Kind.SUBSCRIBE) & (events.channel >= 0)]
            np.add.at(self.subscribers, followed, 1)
            events, weights = events.take(about_video), weights[about_video]
            if not len(events):
                return
        rows, at, value, seconds = events.video, events.at, events.value, events.watch_seconds
        by_kind = np.bincount(events.kind, minlength=len(Kind))
        for kind, column in (
            (Kind.IMPRESSION, self.impressions),
            (Kind.CLICK, self.clicks),
            (Kind.LIKE, self.likes),
            (Kind.COMMENT, self.comments),
            (Kind.SHARE, self.shares),
        ):
            if by_kind[kind]:
                np.add.at(column, rows[events.kind == kind], 1)
        full = (events.kind == Kind.WATCH) & (weights > 0)
        if full.any():
            np.add.at(self.full_watches, rows[full], 1)
        if events.surfaces:
            self._answer(events, full)
        rejected = weights < 0
        if rejected.any():
            np.add.at(self.rejections, rows[rejected], 1)
        rated = ~np.isnan(value)
        if rated.any():
            np.add.at(self.value_sum, rows[rated], value[rated])
            np.add.at(self.value_count, rows[rated], 1)
        timed = ~np.isnan(seconds)
        if timed.any():
            np.add.at(self.watch_seconds, rows[timed], seconds[timed])
            np.add.at(self.watches, rows[timed], 1)
        played = weights > 0
        if played.all():
            self._play(rows, at)
        elif played.any():
            self._play(rows[played], at[played])
        self._shares, self._orders, self._totals = {}, {}, {}

    def _answer(self, events: Events, full: BoolArray) -> None:
        """Counts impressions, clicks and full watches where they happened; `full` (n,) are the last."""
        kinds = (events.kind == Kind.IMPRESSION, events.kind == Kind.CLICK, full)
        told = (events.surface >= 0) & (kinds[0] | kinds[1] | full)
        codes, first = np.unique(events.surface[told], return_index=True)
        for code in codes[np.argsort(first)].tolist():  # in the order in which they came
            name = events.surfaces[code]
            if name not in self.surfaces:
                if len(self.surfaces) == SURFACES:
                    continue
                self.surfaces[name] = Answers(len(self))
            answers, there = self.surfaces[name], told & (events.surface == code)
            for column, kind in zip((answers.impressions, answers.clicks, answers.full_watches), kinds, strict=True):
                np.add.at(column, events.video[there & kind], 1)

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
        """Each video's part of all plays: "all", "trend", or a window's name such as "7d". Zeros before any.

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

    def answers(self, surface: str | None) -> Answers | None:
        """How what the surface showed was answered; None where it showed nothing, or is not known."""
        found = None if surface is None else self.surfaces.get(surface)
        return found if found is not None and self.answered(surface, "impressions") else None

    def answered(self, surface: str | None, name: str) -> float:
        """The sum over all videos of a column of a surface's answers, such as "clicks"; kept until the next event."""
        kept, key = self._totals, f"{name} on {surface}"
        if key not in kept:
            kept[key] = float(getattr(self.surfaces[surface], name).sum()) if surface in self.surfaces else 0.0
        return kept[key]

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
        arrays["surfaces"] = np.array(list(self.surfaces), np.str_)
        for name in _ANSWERS:
            columns = [getattr(answers, name) for answers in self.surfaces.values()]
            arrays[f"surface_{name}"] = np.array(columns, np.int32).reshape(len(columns), len(self))
        arrays["trend_reference"] = np.array(self.trend_reference)
        arrays["newest_at"] = np.array(self.newest_at)
        np.savez(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Counters:
        """The counters that `save` wrote. Raises `NextreelError` where some are missing that are counted today."""
        with np.load(path, allow_pickle=False) as stored:
            if "surfaces" not in stored:
                raise NextreelError(
                    f"Expected counters of every surface in {path}, got those of an older version. "
                    "Hint: train and publish the release again."
                )
            counters = cls(len(stored["plays"]), len(stored["subscribers"]))
            for name in _COLUMNS:
                setattr(counters, name, stored[name])
            for name, window in counters.windows.items():
                window.ring = stored[f"window_{name}"]
                window.total = window.ring.sum(axis=0, dtype=np.int32)
                window.newest = int(stored[f"window_{name}_newest"])
            for number, surface in enumerate(stored["surfaces"].tolist()):
                counters.surfaces[surface] = answers = Answers(len(counters))
                for name in _ANSWERS:
                    setattr(answers, name, stored[f"surface_{name}"][number])
            counters.trend_reference = float(stored["trend_reference"])
            counters.newest_at = float(stored["newest_at"])
        return counters


def uploaded_at(catalogue: Catalogue, counters: Counters, rows: RowArray) -> TimeArray:
    """When each of the rows (n,) was published; its first play where the data do not say, NaN without either."""
    published = catalogue.published_at[rows]
    first = counters.first_at[rows]
    return np.where(np.isnan(published), np.where(np.isfinite(first), first, np.nan), published)


_ANSWERS = ("impressions", "clicks", "full_watches")
_COLUMNS = (
    "plays",
    "rejections",
    "impressions",
    "clicks",
    "likes",
    "comments",
    "shares",
    "subscribers",
    "value_sum",
    "value_count",
    "watch_seconds",
    "watches",
    "full_watches",
    "first_at",
    "trend",
)
