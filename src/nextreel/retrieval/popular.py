"""Retrievers that know nobody: what everybody watches, over all time, of late, or rising now."""

from __future__ import annotations

from nextreel.retrieval._arrays import outside
from nextreel.store import Counters
from nextreel.types import FloatArray, Request, RowArray, UserState


class Popular:
    """The videos with the largest share of plays in one window of the counters; named after the window."""

    def __init__(self, counters: Counters, window: str) -> None:
        self.name = "trending" if window == "trend" else f"popular_{window}"
        self.window = window
        self._counters = counters

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """The n most played rows outside the history, best first; ties by row."""
        best = outside(self._counters.order(self.window)[: n + len(user.history)], user, n, len(self._counters))
        return best, self._counters.share(self.window)[best]

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """Share of plays of each row."""
        return self._counters.share(self.window)[rows]
