"""The ranker's rows from what people were really shown: one for each impression, with how they answered it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.assembly import ExposureParams
from nextreel.pipeline import Recommender
from nextreel.progress import Progress, silent
from nextreel.ranking.rows import Rows
from nextreel.store import MemoryStore
from nextreel.types import UNKNOWN, BoolArray, Catalogue, Events, FloatArray, Kind, Request, RowArray, UserId

REJECTED = (Kind.DISLIKE, Kind.HIDE)
_ANSWERS = {"click": (Kind.CLICK,), "like": (Kind.LIKE,), "share": (Kind.SHARE,), "dislike": REJECTED}


@dataclass(frozen=True)
class Exposures:
    """m impressions as columns, in the order of the events, and how each was answered."""

    position: NDArray[np.int64]  # (m,) number of the event
    visit: NDArray[np.int64]  # (m,) number of the visit it was part of, ascending
    played: FloatArray  # (m,) seconds
    labels: dict[str, FloatArray]  # objective -> (m,) from 0 to 1

    def __len__(self) -> int:
        return len(self.position)


def exposures(events: Events, catalogue: Catalogue, params: ExposureParams) -> Exposures:
    """Every impression of a video of the catalogue, and what the person did with the video soon afterwards.

    An event answers the last impression of its video that came before it, not more than `within_hours` ago.
    `long_view` is a play of `long_view_seconds`, or of the whole of a shorter video; `watch` is the part of the other
    impressions of videos as long that were played for a shorter time, so that a clip and a film are on one scale.
    """
    order = np.lexsort((events.video, events.user))  # stable: by person and video, in order of time
    user, video, at, kind = events.user[order], events.video[order], events.at[order], events.kind[order]
    shown = (kind == Kind.IMPRESSION) & (video >= 0)
    place = np.maximum.accumulate(np.where(shown, np.arange(len(order)), -1))  # of the last impression, of any pair
    there = np.maximum(place, 0)
    answers = (
        ~shown & (place >= 0) & (user[there] == user) & (video[there] == video)
        & (at - at[there] <= 3_600.0 * params.within_hours)
    )  # fmt: skip
    which = np.cumsum(shown)[there] - 1  # number of the impression among the impressions
    n = int(shown.sum())
    labels = {name: _any(which[answers & np.isin(kind, kinds)], n) for name, kinds in _ANSWERS.items()}
    watched = answers & ~np.isnan(events.watch_seconds[order])
    played = np.zeros(n, np.float32)
    np.maximum.at(played, which[watched], events.watch_seconds[order][watched])  # the same play may be told twice
    rows = video[shown]
    if watched.any():
        length = catalogue.duration[rows]
        labels["long_view"] = (played >= np.fmin(length, params.long_view_seconds)).astype(np.float32)
        labels["watch"] = played_further(played, length, params.duration_groups)
    position = order[shown]
    back = np.argsort(position)
    position = position[back]
    return Exposures(
        position,
        _visits(events, position, params),
        played[back],
        {name: label[back] for name, label in labels.items()},
    )


def _any(which: NDArray[np.int64], n: int) -> FloatArray:
    found = np.zeros(n, np.float32)
    found[which] = 1.0
    return found


def played_further(played: FloatArray, duration: FloatArray, groups: int) -> FloatArray:
    """(n,) part of the videos of about the same duration that were played for less time, equals counted half.

    Videos are grouped by quantiles of their duration; those of unknown duration are one group more. Source: Zhan et
    al., Deconfounding duration bias in watch-time prediction for video recommendation, KDD (2022).

    >>> played_further(np.array([5, 10, 3600, 60], np.float32), np.array([10, 10, 7200, 7200], np.float32), 2).tolist()
    [0.25, 0.75, 0.75, 0.25]
    """
    known = ~np.isnan(duration)
    group = np.zeros(len(played), np.int64)
    if known.any():
        edges = np.unique(np.quantile(duration[known], np.linspace(0, 1, groups + 1)[1:-1]))
        group[known] = 1 + np.searchsorted(edges, duration[known], side="right")
    order = np.lexsort((played, group))
    group, ordered = group[order], played[order]
    first = np.flatnonzero(np.diff(group, prepend=-1))
    size = np.diff(first, append=len(group))
    begin = np.repeat(first, size)
    new = np.flatnonzero((np.diff(ordered, prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0))
    many = np.diff(new, append=len(group))
    middle = np.repeat(new + many / 2, many) - begin  # of the equals
    part = np.empty(len(played), np.float32)
    part[order] = middle / np.repeat(size, size)
    return part


def _visits(events: Events, position: NDArray[np.int64], params: ExposureParams) -> NDArray[np.int64]:
    """(m,) number of the visit of each impression, in the order in which visits begin.

    A visit is a stretch of one person's impressions on one surface and device without a silence.
    """
    columns = (events.user, events.surface, events.device, events.location)
    who: list[NDArray[np.int32]] = [column[position] for column in columns]
    at = events.at[position]
    order = np.lexsort(who[::-1])  # stable: in order of time
    new = np.diff(at[order], prepend=-np.inf) > 60.0 * params.visit_minutes
    for column in who:
        new |= np.diff(column[order], prepend=UNKNOWN - 1) != 0
    visit = np.empty(len(position), np.int64)
    visit[order] = np.cumsum(new) - 1
    _, first, number = np.unique(visit, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[number]


def exposure_rows(
    events: Events,
    store: MemoryStore,
    recommender: Recommender,
    first: int,
    params: ExposureParams,
    progress: Progress = silent,
) -> dict[str, Rows]:
    """The rows of visits drawn among the events from `first` on, by objective; the store ends after the last event.

    `store` must stand just before event `first`. All rows of a visit are computed from the state just before it. An
    objective with fewer than `least` positive rows is left out; nothing is returned for data without impressions.
    """
    part = events.take(slice(first, len(events)))
    shown = exposures(part, store.catalogue, params)
    visits = shown.visit.max() + 1 if len(shown) else 0
    if not visits:
        return {}
    drawn = np.zeros(visits, np.bool_)
    drawn[np.random.default_rng(params.seed).permutation(visits)[: params.visits]] = True
    values, kept = [], []
    names: tuple[str, ...] = ()
    for request, rows, which in replayed(part, store, shown, drawn, progress):
        matrix = recommender.matrix(recommender.gather(request, rows))
        names = matrix.names
        values.append(matrix.values)
        kept.append(which)
    chosen = np.concatenate(kept)
    whole, position = np.concatenate(values), shown.position[chosen]
    ones = np.ones(len(chosen), np.float32)
    return {
        objective: Rows(names, whole, label[chosen], shown.visit[chosen], ones, part.at[position], part.user[position])
        for objective, label in shown.labels.items()
        if np.count_nonzero(label[chosen]) >= params.least
    }


def replayed(
    events: Events, store: MemoryStore | None, shown: Exposures, drawn: BoolArray, progress: Progress
) -> Iterator[tuple[Request, RowArray, NDArray[np.int64]]]:
    """Each drawn visit's request, the distinct videos it showed and which exposures these are; the store goes along.

    `store` must stand just before the first event. It stands before the visit when its request is told, and after the
    last event at the end. None: no store goes along, and what is known stays as it is.
    """
    order = np.argsort(shown.visit, kind="stable")
    starts = np.flatnonzero(np.diff(shown.visit[order], prepend=-1))
    applied = 0
    with progress("replaying visits", int(drawn.sum())) as advance:
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(order)], strict=True)):
            if not drawn[number]:
                continue
            which = order[start:end]
            begin = int(shown.position[which[0]])
            if store is not None and begin > applied:
                store.apply_many(events.take(slice(applied, begin)))
                applied = begin
            rows, place = np.unique(events.video[shown.position[which]], return_index=True)
            yield request_at(events, begin), rows.astype(np.int32), which[place]
            advance(1)
        if store is not None:
            store.apply_many(events.take(slice(applied, len(events))))


def request_at(events: Events, position: int) -> Request:
    """The request that the event of this number came from: who, when, and where."""

    def said(column: NDArray[np.int32], words: tuple[str, ...]) -> str | None:
        code = int(column[position])
        return None if code == UNKNOWN else words[code]

    one = events.user_ids[events.user[position]]
    user_id: UserId = one.item() if isinstance(one, np.generic) else one
    return Request(
        user_id,
        float(events.at[position]),
        device=said(events.device, events.devices),
        country=said(events.location, events.locations),
        surface=said(events.surface, events.surfaces),
    )
