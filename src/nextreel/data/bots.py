"""Users who do more in a short time than a person can: found by the rate of their events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nextreel.types import Events, Kind, NextreelError, TimeArray

if TYPE_CHECKING:
    from nextreel.data.dataset import Dataset

WINDOW = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Bots:
    """The people above a limit, busiest first: parallel columns."""

    users: NDArray[np.int32]  # (n,) codes
    peak: NDArray[np.int64]  # (n,) most events within one window
    at: TimeArray  # (n,) when that window begins
    events: NDArray[np.int64]  # (n,) of each of them, impressions included

    def __len__(self) -> int:
        return len(self.users)


def suspects(dataset: Dataset, limit: int) -> Bots:
    """The users of a data set with more than `limit` events within a minute; see `find`.

    Raises `NextreelError` for data without timestamps.
    """
    if not dataset.timed:
        raise NextreelError("Expected data with timestamps, without which nobody's rate is known; got data without.")
    return find(dataset.events, limit)


def find(events: Events, limit: int, window: float = WINDOW) -> Bots:
    """The users with more than `limit` events within some `window` seconds; impressions, not their doing, aside.

    Every window that begins with an event is looked at, so no boundary hides a burst. Raises `NextreelError` for a
    limit below 1 or a window that is not above 0.
    """
    if limit < 1 or not window > 0:
        raise NextreelError(f"Expected a limit of at least 1 event and a window above 0 s, got {limit} and {window} s.")
    made = np.flatnonzero(events.kind != Kind.IMPRESSION)
    if len(made) == 0:
        none = np.empty(0, np.int64)
        return Bots(none.astype(np.int32), none, np.empty(0), none)
    order = made[np.lexsort((events.at[made], events.user[made]))]
    user, at = events.user[order], events.at[order]
    # one line of time on which people do not overlap, so that a single search serves all of them
    line = (at - at.min()) + user.astype(np.float64) * (at.max() - at.min() + 2 * window)
    within = np.searchsorted(line, line + window, side="right") - np.arange(len(line))
    starts = np.flatnonzero(np.diff(user, prepend=-1))
    peaks = np.maximum.reduceat(within, starts)
    busy = np.flatnonzero(peaks > limit)
    busy = busy[np.argsort(-peaks[busy], kind="stable")]
    ends = np.append(starts[1:], len(user))
    first = np.array([starts[one] + int(np.argmax(within[starts[one] : ends[one]])) for one in busy], np.int64)
    users = user[starts[busy]]
    counts = np.bincount(events.user, minlength=len(events.user_ids))
    return Bots(users, peaks[busy].astype(np.int64), at[first], counts[users].astype(np.int64))
