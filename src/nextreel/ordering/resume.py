"""The first places of a list: what the person is in the middle of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextreel.listed import entries
from nextreel.resuming import ResumeParams, begun, finished
from nextreel.types import UNKNOWN, BoolArray, Moment, RowArray

CONTINUE, NEXT = "continue_watching", "next_episode"  # what such places are called


@dataclass(frozen=True, slots=True)
class Resumed:
    """Videos to go on with, the newest first, and what each is."""

    rows: RowArray  # (n,)
    sources: tuple[str, ...]  # (n,)


@dataclass(frozen=True, slots=True)
class Begun:
    """What the person may go on with, the newest first, before any filter."""

    rows: RowArray  # (n,)
    unfinished: BoolArray  # (n,) False for an episode of a series of which the person finished another one


@dataclass(frozen=True, slots=True)
class Resume:
    """How many first places of a list go to what the person is in the middle of."""

    params: ResumeParams

    def begun(self, moment: Moment) -> Begun:
        """What the person of the moment, of no matter which rows, has begun, and the episodes of series they follow.

        Not those episodes that they have watched.
        """
        user, catalogue, at = moment.user, moment.catalogue, moment.request.at
        rows, when = begun(user, catalogue, at, self.params)
        unfinished = np.ones(len(rows), np.bool_)
        if catalogue.series_ids:
            ended, ended_at = finished(user, catalogue, at, self.params)
            ended_at = ended_at[ended < len(catalogue)]
            series = catalogue.series[ended[ended < len(catalogue)]]
            owner, entry = entries(catalogue.episodes.starts, series[series != UNKNOWN])
            episodes, late = catalogue.episodes.rows[entry], ended_at[series != UNKNOWN][owner]
            fresh = ~user.history.seen(len(catalogue))[episodes]
            rows = np.concatenate([rows, episodes[fresh]])
            when = np.concatenate([when, late[fresh]])
            unfinished = np.concatenate([unfinished, np.zeros(np.count_nonzero(fresh), np.bool_)])
        newest = np.argsort(-when, kind="stable")
        rows, unfinished = rows[newest], unfinished[newest]
        first = np.sort(np.unique(rows, return_index=True)[1])
        return Begun(rows[first], unfinished[first])

    def chosen(self, begun: Begun, eligible: RowArray, moment: Moment) -> Resumed:
        """Of what was begun and is eligible the newest, as many as have a place, and one episode of a series."""
        kept = np.isin(begun.rows, eligible)
        rows, unfinished = begun.rows[kept], begun.unfinished[kept]
        series = np.where(unfinished, -1 - np.arange(len(rows)), moment.catalogue.series[rows])  # each its own
        first = np.sort(np.unique(series, return_index=True)[1])[: min(self.params.places, moment.request.k)]
        sources = tuple(CONTINUE if one else NEXT for one in unfinished[first].tolist())
        return Resumed(rows[first], sources)
