"""Rows for the ranker: what a visit liked, rejected, was shown and left, and what it might have been shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.features import choose, compute
from nextreel.processing.people import Own
from nextreel.processing.shared import Shared
from nextreel.processing.visits import Pairs, judged, lot
from nextreel.store.memory import MemoryStore, advance
from nextreel.types import FloatArray, Moment, Request, RowArray, UserState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nextreel.pipeline import Recommender

SOURCES = ("liked", "rejected", "shown", "retrieved", "random")  # where a row comes from
_BATCH = 100_000  # rows made at once: some 30 MB
_BLOCK = 16_384  # visits, for each negative and four more, whose random negatives are drawn at once
_KEYS = ("user_id", "video_id", "at", "visit", "label", "source")


def schema(shared: Shared) -> pa.Schema:
    """Keys, label and source of each row, then every feature that the data allow, then the split."""
    ids = shared.people["user_id"].type, shared.video_ids.type
    keys = zip(_KEYS, (*ids, pa.float64(), pa.int64(), pa.float32(), pa.string()), strict=True)
    features = [(feature.__name__, pa.float32()) for feature in choose(shared.timed)]
    return pa.schema([*keys, *features, ("split", pa.int8())])


def judgement_rows(
    shared: Shared, own: Own, recommender_of: Callable[[MemoryStore], Recommender] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of every visit that liked, rejected or left something, in the order of the visits' times.

    Everything that was liked or rejected is a row. Up to `negative_ratio` negatives stand beside each liked video:
    impressions not taken first (as many as for one liked video where a visit liked none); the rest are half what the
    recommender retrieves (where there is one) and half drawn among the videos that were there, neither of which the
    person touches at any time. Features are computed by the code that
    serves, from the person's state just before the visit and the counters of the last full step before it.
    """
    replay = _Replay(shared, own, recommender_of)
    visits = own.visits
    liked, rejected, unseen = judged(own.events, own.graded, visits, len(shared.catalogue), shared.timed, shared.params)
    drawn = _Drawn(shared, own)
    order = np.argsort(visits.at, kind="stable")
    steps = np.floor(visits.at / shared.params.counters_every) * shared.params.counters_every
    before = np.searchsorted(shared.events.at, steps)
    batch = _Batch(shared)
    size = max(1, _BLOCK // (shared.params.negative_ratio + 4))
    for begin in range(0, len(order), size):
        block = order[begin : begin + size]
        need = np.diff(liked.start)[block] * shared.params.negative_ratio
        random = drawn.of(block, need)
        for place, visit in enumerate(block.tolist()):
            good, bad = liked.of(visit), rejected.of(visit)
            shown = unseen.of(visit)[: max(int(need[place]), shared.params.negative_ratio)]
            if len(good) or len(bad) or len(shown):
                moment = replay.moment(visit, int(before[visit]))
                others = replay.negatives(moment, visit, random.of(place), int(need[place]) - len(shown))
                parts = (good, bad, shown, *others)
                grades = liked.grade[liked.start[visit] : liked.start[visit + 1]]
                batch.add(own, visit, replay.matrix(moment, np.concatenate(parts)), parts, grades)
            replay.move_on(visit)
            if batch.size >= _BATCH:
                yield batch.take()
    if batch.size:
        yield batch.take()


class _Replay:
    """The people's states and everybody's counters, moved on from visit to visit."""

    def __init__(self, shared: Shared, own: Own, recommender_of: Callable[[MemoryStore], Recommender] | None) -> None:
        self.shared, self.own = shared, own
        people = np.unique(own.events.user)
        ids = shared.people["user_id"].take(pa.array(people)).to_pylist()
        profiles = dict(zip(ids, shared.profiles(people), strict=True))
        self.store = MemoryStore(shared.catalogue, shared.params.relevance, profiles)
        self.state_of = dict(zip(people.tolist(), self.store.states.values(), strict=True))
        self.recommender = None if recommender_of is None else recommender_of(self.store)
        self.features = choose(shared.timed)
        self.codes = shared.codes
        self.counted = 0
        self.device = [*shared.events.devices, None]  # UNKNOWN (-1) is the last
        self.location = [*shared.events.locations, None]
        self.surface = [*shared.events.surfaces, None]
        self.start = own.visits.start.tolist()
        self.user, self.at = own.visits.user.tolist(), own.visits.at.tolist()
        first = np.searchsorted(own.events.user, people)
        self.touched = dict(zip(people.tolist(), np.split(own.events.video, first[1:]), strict=True))

    def moment(self, visit: int, before: int) -> Moment:
        """What is known as the visit begins, with no candidates yet: counters hold the first `before` events."""
        if before > self.counted:
            step = slice(self.counted, before)
            self.store.counters.add(self.shared.events.take(step), self.shared.graded[step])
            self.counted = before
        state, first = self.state_of[self.user[visit]], self.start[visit]
        request = Request(
            state.user_id,
            self.at[visit],
            device=self.device[self.own.events.device[first]],
            country=self.location[self.own.events.location[first]],
            surface=self.surface[self.own.events.surface[first]],
        )
        return self._moment(request, state, np.empty(0, np.int32))

    def _moment(self, request: Request, state: UserState, rows: RowArray) -> Moment:
        return Moment.unscored(request, state, self.shared.catalogue, self.store.counters, rows, self.codes)

    def matrix(self, moment: Moment, rows: RowArray) -> FloatArray:
        """(features, rows) values."""
        return compute(self.features, self._moment(moment.request, moment.user, rows)).values.T

    def negatives(self, moment: Moment, visit: int, random: RowArray, need: int) -> tuple[RowArray, RowArray]:
        """At most `need` rows that the person never touches: half retrieved (where that is asked for), half random."""
        retrieved: RowArray = np.empty(0, np.int32)
        if self.recommender is not None and need > 1:
            proposed = self.recommender.gather(moment.request).rows
            proposed = proposed[~np.isin(proposed, self.touched[self.user[visit]])]
            drawn = lot(self.own.visits.number[visit] * len(self.shared.catalogue) + proposed, self.shared.params.seed)
            retrieved = proposed[np.argsort(drawn, kind="stable")[: need // 2]]
            random = random[~np.isin(random, retrieved)]
        return retrieved, random[: max(need - len(retrieved), 0)]

    def move_on(self, visit: int) -> None:
        """Applies the visit's events to the person's state."""
        which = slice(self.start[visit], self.start[visit + 1])
        advance(self.state_of[self.user[visit]], self.own.events.take(which), self.own.graded[which])


class _Drawn:
    """Random negatives: available videos, published by then, with which the person has no event at any time."""

    def __init__(self, shared: Shared, own: Own) -> None:
        self.shared, self.own = shared, own
        catalogue = shared.catalogue
        there = np.flatnonzero(catalogue.available)
        published = np.nan_to_num(catalogue.published_at[there], nan=-np.inf)
        by_date = np.argsort(published, kind="stable")
        self.rows, self.published = there[by_date].astype(np.int32), published[by_date]
        about = own.events.video >= 0
        self.videos = len(catalogue)
        self.touched = np.unique(own.events.user[about].astype(np.int64) * self.videos + own.events.video[about])

    def of(self, visits: NDArray[np.intp], need: NDArray[np.int64]) -> Pairs:
        """For each visit at least as many rows as it needs, without repeats, or all that there are."""
        draws = np.where(need > 0, 2 * need + 8, 0)
        which = np.repeat(np.arange(len(visits)), draws)
        place = np.arange(len(which)) - np.repeat(np.cumsum(draws) - draws, draws)
        visit = visits[which]
        at = self.own.visits.at[visits] if self.shared.timed else np.full(len(visits), np.inf)
        eligible = np.searchsorted(self.published, at, side="right")  # so many of the oldest were there
        number = (self.own.visits.number[visit] << 16) + place
        drawn = lot(number, self.shared.params.seed + 1) % np.maximum(eligible, 1).astype(np.uint64)[which]
        rows = self.rows[drawn.astype(np.int64)] if len(self.rows) else np.zeros(len(drawn), np.int32)
        pair = self.own.visits.user[visit].astype(np.int64) * self.videos + rows
        known = self.touched[np.minimum(np.searchsorted(self.touched, pair), len(self.touched) - 1)] == pair
        free = (eligible[which] > 0) & ~known
        which, place, rows = which[free], place[free], rows[free]
        _, first = np.unique(which * np.int64(self.videos) + rows, return_index=True)
        first = np.sort(first)  # in the order in which they were drawn
        which, rows = which[first], rows[first]
        short = np.flatnonzero(np.bincount(which, minlength=len(visits)) < need)
        if len(short):  # people who touched nearly all that there is
            every = [self._every(visits[place], eligible[place]) for place in short]
            kept = ~np.isin(which, short)
            which = np.concatenate([which[kept], np.repeat(short, [len(one) for one in every])])
            rows = np.concatenate([rows[kept], *every])[np.argsort(which, kind="stable")]
            which = np.sort(which)
        return Pairs(rows, np.zeros(len(rows), np.float32), np.searchsorted(which, np.arange(len(visits) + 1)))

    def _every(self, visit: np.intp, eligible: np.int64) -> RowArray:
        """All rows that may be drawn for the visit, in any order."""
        start = np.int64(self.own.visits.user[visit]) * self.videos
        own = slice(*np.searchsorted(self.touched, [start, start + self.videos]))
        rows = self.rows[:eligible]
        rows = rows[~np.isin(rows, self.touched[own] - start)]
        drawn = lot(self.own.visits.number[visit : visit + 1] * self.videos + rows, self.shared.params.seed + 1)
        return rows[np.argsort(drawn, kind="stable")]


@dataclass
class _Batch:
    """Rows that wait to be written."""

    shared: Shared
    size: int = 0
    values: list[FloatArray] = field(default_factory=list)  # (features, rows) of each visit
    rows: list[RowArray] = field(default_factory=list)
    visits: list[tuple[int, float, int, int, int]] = field(default_factory=list)  # user, at, number, split, rows
    labels: list[FloatArray] = field(default_factory=list)
    sources: list[tuple[int, ...]] = field(default_factory=list)  # rows of each source

    def add(self, own: Own, visit: int, values: FloatArray, parts: Sequence[RowArray], grades: FloatArray) -> None:
        """Takes the rows of one visit."""
        visits, n = own.visits, values.shape[1]
        about = (visits.user[visit], visits.at[visit], visits.number[visit], visits.split[visit], n)
        self.visits.append(about)
        self.values.append(values)
        self.rows.extend(parts)
        self.labels += [grades, np.zeros(n - len(grades), np.float32)]
        self.sources.append(tuple(map(len, parts)))
        self.size += n

    def take(self) -> pa.RecordBatch:
        """The rows so far, which are then forgotten."""
        user, at, number, split, n = (np.array(one) for one in zip(*self.visits, strict=True))
        rows = np.concatenate(self.rows)
        source = np.repeat(np.tile(np.arange(len(SOURCES)), len(n)), np.array(self.sources).ravel())
        columns = [
            self.shared.people["user_id"].take(pa.array(np.repeat(user, n))).combine_chunks(),
            self.shared.video_ids.take(pa.array(rows)),
            pa.array(np.repeat(at, n)),
            pa.array(np.repeat(number, n)),
            pa.array(np.concatenate(self.labels)),
            pa.array(SOURCES).take(pa.array(source)),
            *map(pa.array, np.concatenate(self.values, axis=1)),
            pa.array(np.repeat(split, n).astype(np.int8)),
        ]
        kind = schema(self.shared)
        self.size = 0
        for kept in (self.values, self.rows, self.visits, self.labels, self.sources):
            kept.clear()
        chunks = (one.combine_chunks() if isinstance(one, pa.ChunkedArray) else one for one in columns)
        return pa.RecordBatch.from_arrays(
            [one.chunk(0) if isinstance(one, pa.ChunkedArray) else one for one in chunks], schema=kind
        )
