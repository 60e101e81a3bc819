"""Retrievers that know nobody: what everybody watches, over all time, of late, or rising now."""

from __future__ import annotations

import numpy as np

from nextreel.store import Counters
from nextreel.types import FloatArray, Request, RowArray, UserState


class Popular:
    """The videos with the largest share of plays in one window of the counters; named after the window."""

    def __init__(self, counters: Counters, window: str) -> None:
        self.name = "trending" if window == "trend" else f"popular_{window}"
        self.window = window
        self._counters = counters

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """The n most played rows, best first; ties by row."""
        share = self._counters.share(self.window)
        n = min(n, len(share))
        chosen = np.argpartition(-share, n - 1)[:n] if n < len(share) else np.arange(n)
        best = chosen[np.lexsort((chosen, -share[chosen]))].astype(np.int32)
        return best, share[best]

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """Share of plays of each row."""
        return self._counters.share(self.window)[rows]
