"""Videos of the channels that a person follows, newest first."""

from __future__ import annotations

import numpy as np

from nextreel.retrieval._arrays import best, outside
from nextreel.store import Counters, uploaded_at
from nextreel.types import DAY, Catalogue, FloatArray, Request, RowArray, UserState


class Subscribed:
    """The videos of subscribed channels; a retriever named "subscribed".

    score = 1 / (1 + age in days), 0 for a video of a followed channel whose age is not known.
    """

    name = "subscribed"

    def __init__(self, catalogue: Catalogue, counters: Counters) -> None:
        self._catalogue = catalogue
        self._counters = counters
        channel = catalogue.channel
        self._by_channel = np.argsort(channel, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(channel[self._by_channel], np.arange(len(catalogue.channel_ids) + 1))

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """At most n rows outside the history, best first, and their scores; empty for one who follows no channel."""
        parts = [self._by_channel[self._starts[one] : self._starts[one + 1]] for one in sorted(user.subscribed)]
        if not parts:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        rows = outside(np.sort(np.concatenate(parts)), user, len(self._catalogue), len(self._catalogue))
        scores = self._recency(request.at, rows)
        published = ~np.isnan(scores)
        rows, scores = rows[published], scores[published]
        chosen = best(scores, n)
        return rows[chosen], scores[chosen]

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The score of each of the rows; NaN outside the channels followed and for what is not yet published."""
        scores = np.full(len(rows), np.nan, np.float32)
        if user.subscribed:
            own = np.isin(self._catalogue.channel[rows], list(user.subscribed))
            scores[own] = self._recency(request.at, rows[own])
        return scores

    def _recency(self, now: float, rows: RowArray) -> FloatArray:
        age = (now - uploaded_at(self._catalogue, self._counters, rows)) / DAY
        known = np.where(np.isnan(age), np.inf, age)
        return np.asarray(np.where(known >= 0, 1.0 / (1.0 + np.abs(known)), np.nan), np.float32)
