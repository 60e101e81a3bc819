"""The ranker's training rows: a replay that reads, then applies, so that the future cannot leak into features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.assembly import MomentParams
from nextreel.pipeline import Recommender
from nextreel.progress import Progress, silent
from nextreel.ranking.rows import Rows
from nextreel.store import MemoryStore
from nextreel.store.memory import relevance_of
from nextreel.types import DAY, MINUTE, UNKNOWN, Events, FloatArray, Moment, NextreelError, Request, RowArray, UserId


@dataclass(frozen=True)
class Plan:
    """Moments to ask at, in the order of the events: the state before event `position` answers for `user`."""

    position: NDArray[np.int64]  # (m,) number of the first event not yet applied
    user: NDArray[np.int32]  # (m,) code
    at: NDArray[np.float64]  # (m,)
    active: NDArray[np.bool_]  # (m,) the person's next event is the one at `position`


class Future:
    """What each person plays after a moment, or, with the grades turned round, rejects."""

    def __init__(self, events: Events, graded: FloatArray) -> None:
        positive = np.flatnonzero((graded > 0) & (events.video >= 0))
        order = positive[np.argsort(events.user[positive], kind="stable")]
        self._position = order  # event numbers, ascending within a person
        self._video = events.video[order]
        self._at = events.at[order]
        self._grade = graded[order]
        codes = np.arange(len(events.user_ids) + 1)
        self._starts = np.searchsorted(events.user[order], codes)

    def of(self, user: int, position: int, until: float) -> tuple[RowArray, FloatArray]:
        """Rows (p,) that the person plays from event `position` on and not after `until`, oldest first, and grades."""
        start, end = self._starts[user], self._starts[user + 1]
        first = start + int(np.searchsorted(self._position[start:end], position))
        last = start + int(np.searchsorted(self._at[start:end], until, side="right"))
        return self._video[first:last], self._grade[first:last]


def plan(events: Events, first: int, graded: FloatArray, params: MomentParams) -> Plan:
    """Sampled moments among the events from number `first` on: `active` and `idle` ones, sorted by position.

    An active moment is that of a random positive event. An idle one is a person known before and silent for
    `idle_days`, at one of `snapshots` times spread over that part, drawn among those who play something later in the
    horizon.
    """
    rng = np.random.default_rng(params.seed)
    n = len(events)
    positive = first + np.flatnonzero((graded[first:] > 0) & (events.video[first:] >= 0))
    chosen = np.sort(rng.choice(positive, min(params.active, len(positive)), replace=False))
    positions, users = [chosen], [events.user[chosen]]
    snapshots = np.unique(np.linspace(first, n, params.snapshots, endpoint=False).astype(np.int64))
    drawn_p, drawn_u = [], []
    for position in snapshots:
        last_at = np.full(len(events.user_ids), -np.inf)
        last_at[events.user[:position]] = events.at[:position]  # in order of time: the newest stays
        away = events.at[position] - last_at
        known = np.flatnonzero(np.isfinite(away) & (away >= params.idle_days * DAY))
        later = positive[positive >= position]
        later = later[events.at[later] <= events.at[position] + params.horizon_days * DAY]
        back = np.intersect1d(known, events.user[later])
        drawn_p.append(np.full(len(back), position))
        drawn_u.append(back)
    idle_p, idle_u = np.concatenate(drawn_p), np.concatenate(drawn_u)
    some = np.sort(rng.choice(len(idle_p), min(params.idle, len(idle_p)), replace=False))
    positions.append(idle_p[some])
    users.append(idle_u[some])
    position, user = np.concatenate(positions), np.concatenate(users)
    active = np.arange(len(position)) < len(chosen)
    order = np.argsort(position, kind="stable")
    position = position[order]
    return Plan(position, user[order].astype(np.int32), events.at[position], active[order])


def labels(rows: RowArray, played: RowArray, grades: FloatArray, params: MomentParams, near: bool) -> FloatArray:
    """(n,) label of each candidate: 1 where it is played, 0 where not, and at most the grade.

    For who is here just now 1 / n where it is the n-th of the next plays, NaN where it is played only after
    `next_events`.
    """
    relevance = np.minimum(grades, 1.0).astype(np.float32)
    _, first = np.unique(played, return_index=True)
    if near:
        place = np.empty(len(first), np.int64)
        place[np.argsort(first)] = np.arange(1, len(first) + 1)
        relevance[first] = np.where(place <= params.next_events, relevance[first] / place, np.nan)
    played, relevance = played[first], relevance[first]
    if len(played) == 0:
        return np.zeros(len(rows), np.float32)
    where = np.minimum(np.searchsorted(played, rows), len(played) - 1)
    return np.where(played[where] == rows, relevance[where], np.float32(0))


def examples(
    events: Events,
    store: MemoryStore,
    recommender: Recommender,
    first: int,
    params: MomentParams,
    progress: Progress = silent,
) -> Rows:
    """The training rows of moments sampled among the events from `first` on; the store ends after the last event.

    `store` must stand just before event `first`. Every positive among a moment's candidates is kept, and negatives of
    three kinds: a random sample of the other candidates, which are hard to tell; videos at random that no source
    proposes, which are easy; and what the person rejects. A moment's weight is how many positives it has, at most
    `counted`, over the mean of that. Raises `NextreelError` when no moment has a positive among
    its candidates.
    """
    graded = relevance_of(events, store.catalogue, store.rules)
    future, rejected = Future(events, graded), Future(events, -graded)
    rng = np.random.default_rng(params.seed + 1)
    values, targets, groups, at = [], [], [], []
    names: tuple[str, ...] = ()
    users: list[int] = []
    for number, request, user, position in _replayed(
        events, store, first, plan(events, first, graded, params), params.k, progress
    ):
        moment, until = recommender.gather(request), request.at + params.horizon_days * DAY
        played, grades = future.of(user, position, until)
        near = request.at - moment.user.last_at < params.visit_minutes * MINUTE
        label = labels(moment.rows, played, grades, params, near)
        if not (label > 0).any():
            continue
        negative = np.flatnonzero(label == 0)
        kept = rng.choice(negative, min(params.negatives, len(negative)), replace=False)
        refused = np.setdiff1d(rejected.of(user, position, until)[0], played)[: params.rejected_negatives]
        own = (label > 0) | np.isin(moment.rows, refused)
        own[kept] = True
        matrix = recommender.matrix(moment)
        names = matrix.names
        parts = [matrix.values[own]]
        others = np.union1d(refused, _unproposed(moment, played, params.random_negatives, rng))
        others = others[~np.isin(others, moment.rows)]
        if len(others):
            parts.append(recommender.matrix(recommender.among(moment, others)).values)
        values.extend(parts)
        targets.append(np.concatenate([label[own], np.zeros(len(others), np.float32)]))
        groups.append(np.full(len(targets[-1]), number))
        at.append(np.full(len(targets[-1]), request.at))
        users.append(user)
    if not values:
        raise NextreelError(
            "Expected moments with something played among the candidates, got none. "
            "Hint: more interactions, a larger moments.share or a longer moments.horizon_days."
        )
    sizes = [len(part) for part in targets]
    counts = np.minimum([np.count_nonzero(part) for part in targets], params.counted).astype(np.float32)
    return Rows(
        names,
        np.concatenate(values),
        np.concatenate(targets),
        np.concatenate(groups),
        np.repeat(counts / counts.mean(), sizes),
        np.concatenate(at),
        np.repeat(np.asarray(users, np.int32), sizes),
    )


def _unproposed(moment: Moment, played: RowArray, n: int, rng: np.random.Generator) -> RowArray:
    """At most n rows at random that are neither candidates, nor played before or within the horizon."""
    if n == 0:
        return np.empty(0, np.int32)
    rest = ~moment.user.history.seen(len(moment.catalogue))
    rest[moment.rows] = rest[played] = False
    rows = np.flatnonzero(rest).astype(np.int32)
    return rng.choice(rows, min(n, len(rows)), replace=False)


def _replayed(
    events: Events, store: MemoryStore, first: int, moments: Plan, k: int, progress: Progress
) -> Iterator[tuple[int, Request, int, int]]:
    """Each moment's number, request, user code and position, the store standing just before it."""
    applied = first
    newest = _newest(events, moments)
    devices, places = _said(events.device, events.devices, newest), _said(events.location, events.locations, newest)
    pages = _said(events.surface, events.surfaces, newest)
    with progress("replaying moments", len(moments.position)) as advance:
        for number, (position, user, at) in enumerate(zip(moments.position, moments.user, moments.at, strict=True)):
            if position > applied:
                store.apply_many(events.take(slice(applied, position)))
                applied = int(position)
            yield (
                number,
                Request(
                    _id(events, int(user)),
                    float(at),
                    k=k,
                    seed=number,
                    device=devices[number],
                    country=places[number],
                    surface=pages[number],
                ),
                int(user),
                int(position),
            )
            advance(1)
        store.apply_many(events.take(slice(applied, len(events))))


def _newest(events: Events, moments: Plan) -> NDArray[np.int64]:
    """Number (m,) of the event that tells where each person is: the one at hand, or the last one before; -1 if none."""
    order = np.argsort(events.user, kind="stable")
    people = events.user[order].astype(np.int64) * len(events) + order  # ascending
    before = np.searchsorted(people, moments.user.astype(np.int64) * len(events) + moments.position) - 1
    last = order[np.maximum(before, 0)]
    own = (before >= 0) & (events.user[last] == moments.user)
    return np.where(moments.active, moments.position, np.where(own, last, -1)).astype(np.int64)


def _said(column: NDArray[np.int32], words: Sequence[str], which: NDArray[np.int64]) -> list[str | None]:
    """The word (m,) that stands in the column at each of the events, None where there is none."""
    known = [*words, None]  # UNKNOWN (-1) is the last
    return [known[code] for code in np.where(which >= 0, column[which], UNKNOWN).tolist()]


def _id(events: Events, user: int) -> UserId:
    one = events.user_ids[user]
    found: UserId = one.item() if isinstance(one, np.generic) else one
    return found
