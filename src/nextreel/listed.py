"""What a catalogue lists under a video or a series: where and when a video may be shown, and the episodes in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ANYWHERE = -1  # code of the region of an entry that holds in all of them


def entries(starts: NDArray[np.int64], which: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Every entry of the lists asked for: whose it is, as a place in `which`, and its own place among all entries.

    The entries of list i are those from starts[i] to starts[i + 1].

    >>> owner, entry = entries(np.array([0, 2, 2, 5]), np.array([2, 1, 0]))
    >>> owner.tolist(), entry.tolist()
    ([0, 0, 0, 2, 2], [2, 3, 4, 0, 1])
    """
    begin = starts[which]
    many = starts[which + 1] - begin
    owner = np.repeat(np.arange(len(which)), many)
    return owner, np.arange(len(owner)) + np.repeat(begin - np.cumsum(many) + many, many)


def _starts(of: NDArray[np.integer], lists: int) -> NDArray[np.int64]:
    """Where each list begins among entries that are sorted by the list that they are of."""
    return np.searchsorted(of, np.arange(lists + 1)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Rights:
    """Where and when videos may be shown. A video with no entry may be shown everywhere and at any time."""

    starts: NDArray[np.int64]  # (videos + 1,) the entries of a row are those from starts[row] to starts[row + 1]
    region: NDArray[np.int32]  # (entries,) codes into region_names, -1 = anywhere
    since: NDArray[np.float64]  # (entries,) the first second, NaN = since ever
    until: NDArray[np.float64]  # (entries,) the first second that is too late, NaN = for good
    region_names: tuple[str, ...]  # in capital letters

    @classmethod
    def of(
        cls,
        rows: NDArray[np.integer],
        regions: Sequence[str | None],
        since: NDArray[np.float64],
        until: NDArray[np.float64],
        videos: int,
    ) -> Rights:
        """The rights of so many videos from one row, region, beginning and end for each entry, in any order."""
        upper = [None if region is None else region.upper() for region in regions]
        names = tuple(sorted({region for region in upper if region is not None}))
        code_of = {name: code for code, name in enumerate(names)}
        codes = np.array([_ANYWHERE if one is None else code_of[one] for one in upper], np.int32)
        order = np.argsort(rows, kind="stable")
        return cls(_starts(rows[order], videos), codes[order], since[order], until[order], names)

    def allow(self, rows: NDArray[np.integer], country: str | None, at: float) -> NDArray[np.bool_]:
        """(n,) True where the video may be shown in the country at the time.

        In an unknown country only what may be shown anywhere may be.
        """
        allowed: NDArray[np.bool_] = self.starts[rows] == self.starts[rows + 1]
        if allowed.all():
            return allowed
        owner, entry = entries(self.starts, rows)
        region = self.region[entry]
        here = region == _ANYWHERE
        if country is not None and country.upper() in self.region_names:
            here |= region == self.region_names.index(country.upper())
        here &= ~(self.since[entry] > at) & ~(self.until[entry] <= at)  # NaN is neither
        allowed[owner[here]] = True
        return allowed


@dataclass(frozen=True, slots=True)
class Episodes:
    """The numbered videos of every series, by series and then by number."""

    rows: NDArray[np.int32]  # (numbered videos,)
    starts: NDArray[np.int64]  # (series + 1,) the episodes of a series are those from starts[code] to starts[code + 1]

    @classmethod
    def of(cls, series: NDArray[np.int32], episode: NDArray[np.int32], many: int) -> Episodes:
        """The episodes of so many series from the series (n,) and number (n,) of each video; below 0 is none."""
        rows = np.flatnonzero((series >= 0) & (episode >= 0))
        rows = rows[np.lexsort((episode[rows], series[rows]))]
        return cls(rows.astype(np.int32), _starts(series[rows], many))
