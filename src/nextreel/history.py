"""A person's history: columns that grow at the end, and what the collaborative models read of them."""

from __future__ import annotations

from itertools import count

import numpy as np
from numpy.typing import NDArray

_stamps = count(1)


class History:
    """A person's events about videos, oldest first, in arrays that grow at the end.

    The views it hands out stay valid (and stay as they were) when more is appended. `stamp` is a number that no other
    content of any history in this process has: what was computed from a history is right as long as the stamp is.
    """

    __slots__ = ("_at", "_kind", "_liked", "_n", "_row", "_weight", "stamp")

    def __init__(self, capacity: int = 8) -> None:
        self._n = 0
        self._liked: tuple[int, NDArray[np.int32], NDArray[np.float32]] | None = None
        self.stamp = next(_stamps)
        self._row = np.empty(capacity, np.int32)
        self._at = np.empty(capacity, np.float64)
        self._kind = np.empty(capacity, np.int8)
        self._weight = np.empty(capacity, np.float32)

    def __len__(self) -> int:
        return self._n

    def _reserve(self, more: int) -> None:
        need = self._n + more
        if need > len(self._row):
            size = max(need, 2 * len(self._row))
            for name in ("_row", "_at", "_kind", "_weight"):
                old = getattr(self, name)
                new = np.empty(size, old.dtype)
                new[: self._n] = old[: self._n]
                setattr(self, name, new)

    def append(self, row: int, at: float, kind: int, weight: float) -> None:
        """Adds one event."""
        self._reserve(1)
        n = self._n
        self._row[n], self._at[n], self._kind[n], self._weight[n] = row, at, kind, weight
        self._n = n + 1
        self.stamp = next(_stamps)

    def extend(
        self,
        rows: NDArray[np.int32],
        at: NDArray[np.float64],
        kinds: NDArray[np.int8],
        weights: NDArray[np.float32],
    ) -> None:
        """Adds events in their order."""
        more = len(rows)
        self._reserve(more)
        where = slice(self._n, self._n + more)
        self._row[where], self._at[where], self._kind[where], self._weight[where] = rows, at, kinds, weights
        self._n += more
        self.stamp = next(_stamps)

    @property
    def rows(self) -> NDArray[np.int32]:
        """Catalogue row of each event."""
        return self._row[: self._n]

    @property
    def at(self) -> NDArray[np.float64]:
        """Time of each event."""
        return self._at[: self._n]

    @property
    def kinds(self) -> NDArray[np.int8]:
        """Kind of each event."""
        return self._kind[: self._n]

    @property
    def weights(self) -> NDArray[np.float32]:
        """Graded relevance of each event: above 0 liked, below 0 disliked, 0 a touch that says nothing."""
        return self._weight[: self._n]

    def seen(self, videos: int) -> NDArray[np.bool_]:
        """(videos,) True where an event is about the row; events about later rows are left out."""
        mask = np.zeros(videos, np.bool_)
        rows = self.rows
        mask[rows[rows < videos]] = True
        return mask

    @property
    def liked(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """`liked` of this history; kept until more is appended."""
        kept = self._liked
        if kept is None or kept[0] != self.stamp:
            kept = self._liked = (self.stamp, *liked(self.rows, self.weights))
        return kept[1:]


def liked(rows: NDArray[np.int32], weights: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Rows of one history with a weight above 0, each once and placed by its last event, and their largest weight."""
    keep = weights > 0
    if not keep.all():
        rows, weights = rows[keep], weights[keep]
    ordered = np.sort(rows)
    if not (ordered[1:] == ordered[:-1]).any():  # nothing twice: the usual case, at a fifth of the time
        return rows, weights
    rows, weights = rows[::-1], weights[::-1]  # newest first, so that unique keeps the last event
    one, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    largest = np.zeros(len(one), np.float32)
    np.maximum.at(largest, inverse, weights)
    newest_last = np.argsort(-first, kind="stable")
    return one[newest_last], largest[newest_last]
