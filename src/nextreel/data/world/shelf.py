"""What may be shown, and draws from it: by interest, by popularity, by channel, and what is new."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextreel.data.world.truth import Videos
from nextreel.types import DAY, TimeArray

_NEW = 3 * DAY  # younger videos have places of their own, so that each is shown soon after it is uploaded


class Range(NamedTuple):
    """Where draws come from: for each of n places the first row of the shelf and the one after the last."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]


class Shelf:
    """All V videos three times in a row: by category, by channel and by age.

    Whatever may be drawn from is then a range of rows, and one search in one cumulative sum serves every kind of draw.
    """

    def __init__(self, videos: Videos) -> None:
        n = len(videos)
        by_category = np.argsort(videos.child, kind="stable")  # children of one main category follow each other
        by_channel = np.argsort(videos.channel, kind="stable")
        by_age = np.argsort(videos.published, kind="stable")
        self._videos = videos
        self._order = np.concatenate([by_category, by_channel, by_age])  # (3 V,) row -> video
        self._child = np.searchsorted(videos.child[by_category], np.arange(int(videos.child.max()) + 2))
        self._main = np.searchsorted(videos.main[by_category], np.arange(int(videos.main.max()) + 2))
        self._channel = n + np.searchsorted(videos.channel[by_channel], np.arange(int(videos.channel.max()) + 2))
        self._published = videos.published[by_age]
        self._total = np.zeros(3 * n + 1)  # weights of the rows before each row

    def fill(self, at: float) -> None:
        """From now on videos are drawn by their popularity at this time; new ones all alike."""
        n = len(self._videos)
        popularity = self._videos.popularity(at)
        weight = np.ones(3 * n)
        weight[: 2 * n] = popularity[self._order[: 2 * n]]
        np.cumsum(weight, out=self._total[1:])

    def of_child(self, child: NDArray[np.integer[Any]]) -> Range:
        """The videos of child categories (n,)."""
        return Range(*_between(self._child, child))

    def of_main(self, main: NDArray[np.integer[Any]]) -> Range:
        """The videos of main categories (n,)."""
        return Range(*_between(self._main, main))

    def of_channel(self, channel: NDArray[np.integer[Any]]) -> Range:
        """The videos of channels (n,)."""
        return Range(*_between(self._channel, channel))

    def of_all(self, n: int) -> Range:
        """All videos, n times."""
        return Range(np.zeros(n, np.int64), np.full(n, len(self._videos), np.int64))

    def new(self, at: TimeArray) -> Range:
        """The videos published within the three days before each time (n,)."""
        base = 2 * len(self._videos)
        return Range(base + np.searchsorted(self._published, at - _NEW), base + np.searchsorted(self._published, at))

    def draw(self, rng: np.random.Generator, where: Range, at: TimeArray) -> NDArray[np.int64]:
        """One video (n,) from each range, -1 where nothing of it is published at the time (n,)."""
        bottom, top = self._total[where.low], self._total[where.high]
        target = bottom + rng.random(len(at)) * (top - bottom)
        row = np.searchsorted(self._total, target, side="right") - 1
        video = self._order[np.clip(row, where.low, np.maximum(where.high - 1, where.low)) % len(self._order)]
        return np.where((top > bottom) & (self._videos.published[video] <= at), video, -1)


def _between(bounds: NDArray[np.integer[Any]], one: NDArray[np.integer[Any]]) -> tuple[Any, Any]:
    """Bounds of each group (n,); an empty range for a group without a video."""
    known = np.minimum(one, len(bounds) - 2)
    return bounds[known], np.where(one == known, bounds[known + 1], bounds[known])
