"""New uploads, newest first: a share of the candidates for videos that few have watched yet."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from pydantic import Field

from nextreel.params import Params
from nextreel.retrieval._arrays import best, outside
from nextreel.store import Counters, uploaded_at
from nextreel.types import DAY, Catalogue, FloatArray, Request, RowArray, UserState


class FreshParams(Params):
    """What counts as new."""

    days: float = Field(default=30.0, gt=0)  # videos up to this age are proposed
    half_life_days: float = Field(default=7.0, gt=0)  # the age at which a video scores half


class Fresh:
    """The newest videos at the time of the request; a retriever named "fresh".

    score = 0.5 ** (age / half-life) * (1 + plays / most plays of a new video): early popularity makes a video at most
    one half-life younger, so that what nobody has seen yet gets its turn too.
    """

    name = "fresh"

    def __init__(self, catalogue: Catalogue, counters: Counters, params: FreshParams | None = None) -> None:
        self.params = params or FreshParams()
        self._catalogue = catalogue
        self._counters = counters
        published = catalogue.published_at
        self._dated = np.argsort(published, kind="stable")[: np.count_nonzero(~np.isnan(published))].astype(np.int32)
        self._times = published[self._dated]  # ascending
        self._undated = np.flatnonzero(np.isnan(published)).astype(np.int32)

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """At most n rows outside the history, best first, and their scores: videos of up to `days` days at the time."""
        new = self._new(request.at)
        if len(new) == 0:
            return new, np.empty(0, np.float32)
        rows = outside(new, user, len(new), len(self._catalogue))
        scores = self._scores(request.at, rows, new)
        chosen = best(scores, n)
        return rows[chosen], scores[chosen]

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The score of each of the rows, however old; NaN for an unknown age and for what is not yet published."""
        return self._scores(request.at, rows, self._new(request.at))

    def _new(self, now: float) -> RowArray:
        """The new rows, ascending."""
        oldest = now - self.params.days * DAY
        first, end = bisect_left(self._times, oldest), bisect_right(self._times, now)
        rows = self._dated[first:end]
        if len(self._undated):
            played = self._counters.first_at[self._undated]
            rows = np.concatenate([rows, self._undated[(played >= oldest) & (played <= now)]])
        return np.sort(rows)

    def _scores(self, now: float, rows: RowArray, new: RowArray) -> FloatArray:
        age = (now - uploaded_at(self._catalogue, self._counters, rows)) / DAY
        age[age < 0] = np.nan
        plays = self._counters.plays
        most = max(int(plays[new].max()), 1) if len(new) else 1
        early = 1.0 + np.minimum(plays[rows] / most, 1.0)
        return np.asarray(np.exp2(age / -self.params.half_life_days) * early, np.float32)
