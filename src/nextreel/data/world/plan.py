"""How large a world is, and how the work on it is cut: by people into shards, by time into parts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nextreel.types import DAY, NextreelError, TimeArray

END = 1_767_225_600.0  # 2026-01-01 UTC: a world is the same whenever it is made
_SHARD_USERS = 50_000
_SHARD_ROWS = 80_000  # a day
_PART_ROWS = 2_000_000


class Purpose(IntEnum):
    """What random numbers are drawn for; the numbers are part of the seed."""

    PEOPLE = 1
    INTERESTS = 2
    VIDEOS = 3
    SERIES = 4
    CHANNELS = 5
    SUBSCRIBERS = 6
    TITLES = 7
    LIVES = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """The arguments of a world. Nothing else decides what it is like: neither the machine nor the processes."""

    users: int = 1_000
    videos: int = 500
    interactions: int = 10_000
    days: int = 60
    seed: int = 42
    end: float = END

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("users", "videos", "interactions", "days")}
        if min(sizes.values()) < 1:
            found = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
            raise NextreelError(f"Expected at least 1 user, video, interaction and day, got {found}.")
        if self.seed < 0:
            raise NextreelError(f"Expected a seed of at least 0, got {self.seed}.")

    @property
    def start(self) -> float:
        """When the first day begins."""
        return self.end - self.days * DAY

    @property
    def shards(self) -> tuple[slice, ...]:
        """Groups of people who live through all days on their own; what one group needs fits into little memory."""
        wanted = max(-(-self.users // _SHARD_USERS), -(-self.interactions // (_SHARD_ROWS * self.days)))
        bounds = np.linspace(0, self.users, min(wanted, self.users) + 1).astype(np.int64).tolist()
        return tuple(slice(low, high) for low, high in pairwise(bounds))

    @property
    def part_ends(self) -> TimeArray:
        """When each file of interactions ends; all are equally long."""
        many = max(1, round(self.interactions / _PART_ROWS))
        return np.asarray(np.linspace(self.start, self.end, many + 1)[1:], np.float64)

    def random(self, what: Purpose, shard: int = 0) -> np.random.Generator:
        """A generator of its own for each purpose and shard, so that none waits for what another draws."""
        return np.random.default_rng([self.seed, int(what), shard])


def day_weights(plan: Plan, joined: TimeArray, activity: NDArray[np.floating]) -> TimeArray:
    """How much people do on each day (days,): by their number then and how active they are; more at weekends."""
    begin = plan.start + DAY * np.arange(plan.days)
    weekday = np.floor(begin / DAY + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    doing = [float(activity @ present(joined, day, day + DAY)) for day in begin]
    return np.asarray(np.where(weekday >= 5, 1.25, 1.0) * np.array(doing), np.float64)


def present(joined: TimeArray, begin: float, end: float) -> TimeArray:
    """For which part of a stretch of time (n,) people are there.

    >>> present(np.array([0.0, 15.0, 30.0]), 10.0, 20.0).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.asarray(np.clip((end - joined) / (end - begin), 0.0, 1.0), np.float64)


def quotas(n: int, weights: NDArray[np.floating]) -> NDArray[np.int64]:
    """n whole things dealt out by weight, in sum exactly n.

    >>> quotas(10, np.array([1.0, 1.0, 2.0])).tolist()
    [2, 3, 5]
    """
    reached = np.round(n * np.cumsum(weights) / weights.sum()).astype(np.int64)
    return np.asarray(np.diff(reached, prepend=0), np.int64)
