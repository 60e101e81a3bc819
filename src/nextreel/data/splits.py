"""Splits that let nothing of the future into the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.types import Events, NextreelError


@dataclass(frozen=True, slots=True)
class Split:
    """Three parts of one data set; user codes and video rows mean the same in all of them."""

    train: Events
    valid: Events
    test: Events

    @property
    def bounds(self) -> dict[str, tuple[int, int]]:
        """First row and the row after the last of each part, counted over train, valid, test in turn."""
        a, b, c = (len(part) for part in (self.train, self.valid, self.test))
        return {"train": (0, a), "valid": (a, a + b), "test": (a + b, a + b + c)}


def split_by_time(events: Events, fractions: Sequence[float] = (0.8, 0.1, 0.1), *, timed: bool = True) -> Split:
    """The oldest events, the next and the newest, cut by row count; where untimed, each user's rows are cut so.

    The cuts are at floor(n · 0.8) and floor(n · 0.9) for the default. Raises `NextreelError` unless the fractions are
    three numbers from 0 to 1 that sum to 1.
    """
    return _parts(events, part_of(events, fractions, timed=timed))


def part_of(events: Events, fractions: Sequence[float], *, timed: bool) -> NDArray[np.int8]:
    """The part (n,) that `split_by_time` puts each event into: 0 train, 1 valid, 2 test."""
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise NextreelError(f"Expected three fractions from 0 to 1 that sum to 1, got {tuple(fractions)}.")
    place, size = (np.arange(len(events)), np.int64(len(events))) if timed else _places(events)
    cuts = [np.floor(size * end + 1e-9) for end in (fractions[0], fractions[0] + fractions[1])]  # .8 + .1 is below .9
    return (place >= cuts[0]).astype(np.int8) + (place >= cuts[1])


def last_out(events: Events) -> NDArray[np.int8]:
    """The part (n,) of each event: 2 if its user's last, 1 if the one before, else 0; 0 for users with under 3."""
    place, size = _places(events)
    part = np.where(place == size - 1, 2, np.where(place == size - 2, 1, 0))
    return np.where(size < 3, 0, part).astype(np.int8)


def leave_last_out(events: Events) -> Split:
    """Each user's last event as test, the one before as valid, the rest as train; users with under 3 only train."""
    return _parts(events, last_out(events))


def _places(events: Events) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each event (n,): how many earlier ones its user has, and how many in all."""
    count = np.bincount(events.user, minlength=len(events.user_ids))
    order = np.argsort(events.user, kind="stable")
    start = np.concatenate([[0], np.cumsum(count)])[:-1]
    place = np.empty(len(events), np.int64)
    place[order] = np.arange(len(events)) - start[events.user[order]]
    return place, count[events.user]


def _parts(events: Events, part: NDArray[np.int8]) -> Split:
    if (part[1:] >= part[:-1]).all():  # parts that follow each other need no copy
        first, second = np.searchsorted(part, [1, 2])
        return Split(events.take(slice(0, first)), events.take(slice(first, second)), events.take(slice(second, None)))
    return Split(*(events.take(np.flatnonzero(part == which)) for which in range(3)))
