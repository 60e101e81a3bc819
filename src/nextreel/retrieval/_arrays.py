"""What the collaborative models share: positives without repeats, the best of a column of scores, a cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nextreel.history import History
from nextreel.telemetry import CacheMeter
from nextreel.types import FloatArray, NextreelError, RowArray, UserState

Value = TypeVar("Value")
CACHE_BYTES = 32_000_000  # of score columns that a model remembers, one for each person


class FitError(NextreelError):
    """Interactions that a collaborative model cannot be fitted on, or a saved model that cannot be read."""


def positives(
    user: NDArray[np.int32], row: RowArray, weight: FloatArray, n_users: int, n_videos: int
) -> tuple[NDArray[np.int32], RowArray, FloatArray]:
    """Users, rows and weights of the events with a weight above 0, one per user and video (its largest weight).

    Ordered by user, then row. Raises FitError when nothing is left or a code lies outside the given sizes.
    """
    if not len(user) == len(row) == len(weight):
        raise FitError(
            f"Expected columns of one length; got {len(user)} users, {len(row)} rows, {len(weight)} weights."
        )
    keep = (weight > 0) & (row >= 0)
    if not keep.any():
        raise FitError(
            f"Expected at least one event about a video with a weight above 0; got none in {len(user)} events. "
            "Hint: check how the relevance weights are made from event kinds and values."
        )
    u, r, w = user[keep], row[keep], weight[keep]
    if int(u.min()) < 0 or int(u.max()) >= n_users or int(r.max()) >= n_videos:
        raise FitError(
            f"Expected users in 0..{n_users - 1} and rows in 0..{n_videos - 1}; got users {u.min()}..{u.max()} and "
            f"rows up to {r.max()}. Hint: pass the sizes of the same user table and catalogue."
        )
    keys = u.astype(np.int64) * n_videos + r
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    one = ordered[first]
    largest = np.maximum.reduceat(w[order], first).astype(np.float32)
    return (one // n_videos).astype(np.int32), (one % n_videos).astype(np.int32), largest


def best(scores: FloatArray, n: int) -> RowArray:
    """At most n rows with the highest finite scores, best first; equal scores in order of the row."""
    n = min(n, len(scores))
    if n <= 0:
        return np.empty(0, np.int32)
    if n < len(scores):
        # all that reach the n-th score, so that ties at the edge are broken by row and not by the partition
        edge = np.partition(scores, len(scores) - n)[len(scores) - n]
        chosen = (scores >= edge).nonzero()[0]
    else:
        chosen = np.arange(len(scores))
    if len(chosen) == 0:  # NaN reaches nothing
        return np.empty(0, np.int32)
    reached = scores[chosen]
    order = np.argsort(-reached, kind="stable")[:n]
    if not np.isfinite(reached[order[-1]]) or not np.isfinite(reached[order[0]]):
        order = order[np.isfinite(reached[order])]
    rows: RowArray = chosen[order].astype(np.int32)
    return rows


def unseen(scores: FloatArray, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
    """At most n rows outside the user's history, best first, and their scores."""
    open_scores = scores.copy()
    open_scores[user.history.rows] = -np.inf
    rows = best(open_scores, n)
    return rows, scores[rows]


def outside(rows: RowArray, user: UserState, n: int, videos: int) -> RowArray:
    """The first n of the rows, which are below `videos`, that are not in the user's history."""
    return rows[~user.history.seen(videos)[rows]][:n]


class Cache(Generic[Value]):
    """A bounded map from a history to what was computed from it; the longest unused entry leaves first.

    The key is the history's stamp: an event changes it, and two stores that hold the same person at the same version
    but with other events never get each other's value. Look-ups are counted under the name. Safe between threads.
    """

    def __init__(self, capacity: int, name: str) -> None:
        self._capacity = max(1, capacity)
        self._meter = CacheMeter(name)
        self._entries: OrderedDict[int, Value] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, history: History, compute: Callable[[RowArray, FloatArray], Value], *, counted: bool = True) -> Value:
        """The value for the history of now: remembered, or computed from its liked rows and their weights.

        What a request asks for the second time, to score what it has retrieved, is not `counted`: it is always there.
        """
        key = history.stamp
        with self._lock:
            found = key in self._entries
            if found:
                self._entries.move_to_end(key)
                value = self._entries[key]
        if counted:
            self._meter.count("hit" if found else "miss")
        if found:
            return value
        value = compute(*history.liked)
        with self._lock:
            self._entries[key] = value
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
            self._meter.holds(len(self._entries))
        return value


def columns(videos: int, name: str) -> Cache[FloatArray]:
    """An empty cache of score columns (videos,), of as many people as fit into memory."""
    return Cache(CACHE_BYTES // (4 * max(1, videos)), name)
