"""What the collaborative models share: positives without repeats, and the best of a column of scores."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nextreel.types import FloatArray, NextreelError, RowArray, UserState

Value = TypeVar("Value")


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


def liked(rows: RowArray, weights: FloatArray) -> tuple[RowArray, FloatArray]:
    """Rows of one history with a weight above 0, each once and placed by its last event, and their largest weight."""
    keep = weights > 0
    rows, weights = rows[keep][::-1], weights[keep][::-1]  # newest first, so that unique keeps the last event
    one, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    largest = np.zeros(len(one), np.float32)
    np.maximum.at(largest, inverse, weights)
    newest_last = np.argsort(-first, kind="stable")
    return one[newest_last], largest[newest_last]


def best(scores: FloatArray, n: int) -> RowArray:
    """At most n rows with the highest finite scores, best first; equal scores in order of the row."""
    n = min(n, len(scores))
    if n <= 0:
        return np.empty(0, np.int32)
    if n < len(scores):
        # all that reach the n-th score, so that ties at the edge are broken by row and not by the partition
        edge = np.partition(scores, len(scores) - n)[len(scores) - n]
        chosen = np.flatnonzero(scores >= edge)
    else:
        chosen = np.arange(len(scores))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:n]
    return chosen[np.isfinite(scores[chosen])].astype(np.int32)


def unseen(scores: FloatArray, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
    """At most n rows outside the user's history, best first, and their scores."""
    open_scores = scores.copy()
    open_scores[user.history.rows] = -np.inf
    rows = best(open_scores, n)
    return rows, scores[rows]


class Cache(Generic[Value]):
    """A bounded map from a history to what was computed from it; the longest unused entry leaves first.

    The key is a digest of the history itself: an event changes it, and two stores that hold the same person at the
    same version but with other events never get each other's value. Safe between threads.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = max(1, capacity)
        self._entries: OrderedDict[bytes, Value] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, user: UserState, compute: Callable[[RowArray, FloatArray], Value]) -> Value:
        """The value for the person's history of now: remembered, or computed from its rows and weights."""
        rows, weights = user.history.rows, user.history.weights
        digest = blake2b(rows.tobytes(), digest_size=16)
        digest.update(weights.tobytes())
        key = digest.digest()
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        value = compute(rows, weights)
        with self._lock:
            self._entries[key] = value
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
        return value
