"""A set of pairs of numbers that grows, held as one sorted array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.types import BoolArray

_Places = NDArray[np.integer[Any]]


class Pairs:
    """Pairs of a person and something of which there are `width`: exact, at 8 bytes a pair.

    >>> seen = Pairs(100)
    >>> seen.add(np.array([7, 7]), np.array([3, 5]))
    >>> seen.has(np.array([7, 8]), np.array([5, 5])).tolist()
    [True, False]
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._keys = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, left: _Places, right: _Places) -> NDArray[np.int64]:
        """A number of its own for each pair (n,)."""
        return left.astype(np.int64) * self._width + right

    def has(self, left: _Places, right: _Places) -> BoolArray:
        """Which pairs (n,) are in the set."""
        keys = self.key(left, right)
        if not len(self._keys):
            return np.zeros(len(keys), np.bool_)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.asarray(self._keys[place] == keys, np.bool_)

    def clear(self) -> None:
        """Forgets all pairs."""
        self._keys = np.empty(0, np.int64)

    def add(self, left: _Places, right: _Places) -> None:
        """Adds pairs (n,) that are not in the set."""
        # two runs in order: a stable sort merges them in linear time
        added = np.concatenate([self._keys, np.unique(self.key(left, right))])
        self._keys = np.sort(added, kind="stable")


def is_first(keys: NDArray[np.int64]) -> BoolArray:
    """Where a key (n,) comes for the first time.

    >>> is_first(np.array([4, 2, 4])).tolist()
    [True, True, False]
    """
    mask = np.zeros(len(keys), np.bool_)
    mask[np.unique(keys, return_index=True)[1]] = True
    return mask
