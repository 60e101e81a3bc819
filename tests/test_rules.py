"""All rules at once: nothing unfit is ever shown at any rung, lists are as long as they can be, and `why` agrees.

What may be shown is counted the plain way, one video after another, from the events themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.features import TIMELESS
from nextreel.filters import FilterParams, chosen
from nextreel.listed import Rights
from nextreel.ordering import OrderParams, Promotion, Resume, orderers
from nextreel.pipeline import Recommender, Source
from nextreel.relevance import Relevance
from nextreel.resuming import ResumeParams
from nextreel.retrieval.popular import Popular
from nextreel.store import MemoryStore
from nextreel.types import (
    DAY,
    UNKNOWN,
    Catalogue,
    Events,
    FloatArray,
    Kind,
    Matrix,
    Profile,
    Request,
    RowArray,
    Slate,
    UserState,
)
from nextreel.why import why

VIDEOS, NOW = 14, 20_000 * DAY
SECONDS = 100.0  # every video is so long, or nobody knows how long
RESUME = ResumeParams()
FILTERS = FilterParams(tired_impressions=2)
NAN = float("nan")
Entry = tuple[str | None, float, float]
Happened = tuple[Kind, int, float, float]  # kind, row, time, seconds watched


@dataclass
class Sourced:
    """A source that proposes rows, as every source outside the history, or fails."""

    rows: list[int]
    fails: bool
    name: str = "some"

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        if self.fails:
            raise RuntimeError(self.name)
        seen = set(user.history.rows.tolist())
        rows = np.array([row for row in self.rows if row not in seen][:n], np.int32)
        return rows, -np.arange(len(rows), dtype=np.float32)

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        place = {row: -float(at) for at, row in enumerate(self.rows)}
        return np.array([place.get(row, NAN) for row in rows.tolist()], np.float32)


@dataclass
class Judge:
    """A ranker that likes what is played least, or fails."""

    fails: bool
    objectives: tuple[str, ...] = ("relevance",)

    def score(self, matrix: Matrix) -> FloatArray:
        if self.fails:
            raise RuntimeError("ranker")
        return -matrix.values[:, [matrix.names.index("plays")]]


@dataclass
class World:
    """Videos with all that rules look at, what one person did, and what they ask for."""

    catalogue: Catalogue
    rights: list[list[Entry]]
    events: list[Happened]
    blocked: list[int]
    profile: Profile
    request: Request
    rung: str
    proposed: list[int]
    promoted: list[int]

    def recommender(self) -> Recommender:
        store = MemoryStore(self.catalogue, Relevance(), {1: self.profile})
        done = [*self.events, *((Kind.BLOCK, UNKNOWN, NOW, NAN) for _ in self.blocked)]
        if done:
            kinds, rows, at, seconds = (np.array(column) for column in zip(*done, strict=True))
            nothing = np.full(len(done), np.nan, np.float32)
            channel = np.array([UNKNOWN] * len(self.events) + self.blocked, np.int32)
            users = np.zeros(len(done), np.int32)
            columns = (users, rows.astype(np.int32), at, kinds.astype(np.int8), nothing, seconds.astype(np.float32))
            store.apply_many(Events(np.array([1]), *columns, channel=channel))
        return Recommender(
            catalogue=self.catalogue,
            store=store,
            sources=[Source(Sourced(self.proposed, self.rung == "trending"), 5)],
            filters=chosen(FILTERS, RESUME, timed=True),
            features=TIMELESS,
            ranker=Judge(self.rung == "unranked"),
            orderers=orderers(OrderParams()),
            ranked=100,
            fallback=Popular(store.counters, "all"),
            promotion=Promotion(np.array(self.promoted, np.int32), (1,)) if self.promoted else None,
            resume=Resume(RESUME),
        )

    def watched(self, row: int) -> float:
        """Part of the video that was watched since the last end of it, NaN where nobody can say."""
        mine = [one for one in self.events if one[1] == row]
        seconds, known = 0.0, False
        for kind, _, _, watched in mine:
            if kind in (Kind.COMPLETE, Kind.HIDE, Kind.DISLIKE):
                seconds, known = 0.0, False
            elif kind == Kind.WATCH and not np.isnan(watched):
                seconds, known = seconds + watched, True
        return seconds / float(self.catalogue.duration[row]) if known else NAN

    def watched_at(self, row: int) -> float:
        return max(at for kind, one, at, watched in self.events if one == row and kind == Kind.WATCH and watched >= 0)

    def begun(self, row: int) -> bool:
        return 0.05 <= self.watched(row) <= 0.9 and self.watched_at(row) > NOW - 30 * DAY

    def met(self, row: int) -> bool:
        return any(one == row and kind != Kind.IMPRESSION for kind, one, _, _ in self.events)

    def may_be_shown(self, row: int) -> bool:
        """What is true of a video and a person, whatever is asked for."""
        c = self.catalogue
        country = self.request.country or self.profile.country
        here = not self.rights[row] or any(
            (region is None or (country is not None and region == country.upper()))
            and not since > NOW
            and not until <= NOW
            for region, since, until in self.rights[row]
        )
        age = 18 if self.profile.age is None else self.profile.age
        limit = age if self.request.max_maturity is None else min(age, self.request.max_maturity)
        return bool(
            c.available[row]
            and not c.published_at[row] > NOW
            and here
            and c.channel[row] not in self.blocked
            and c.maturity[row] <= limit
        )

    def allowed(self, row: int) -> bool:
        """All rules but that what was watched is not shown."""
        c, request = self.catalogue, self.request
        hidden = any(one == row and kind == Kind.HIDE for kind, one, _, _ in self.events)
        if not self.may_be_shown(row) or hidden or c.video_ids[row] in request.exclude:
            return False
        if request.max_age_days is not None:
            first = self.recommender().store.counters.first_at[row]  # of the plays, else endless
            out = c.published_at[row] if not np.isnan(c.published_at[row]) else first if np.isfinite(first) else NAN
            if not out >= NOW - request.max_age_days * DAY:
                return False
        answered = max((at for kind, one, at, _ in self.events if one == row and kind != Kind.IMPRESSION), default=-1.0)
        shown = [at for kind, one, at, _ in self.events if one == row and kind == Kind.IMPRESSION]
        if sum(at > max(answered, NOW - 7 * DAY) for at in shown) >= FILTERS.tired_impressions:
            return False
        if c.series[row] == UNKNOWN or c.episode[row] == UNKNOWN:
            return True
        return not any(
            c.series[one] == c.series[row]
            and 0 <= c.episode[one] < c.episode[row]
            and self.may_be_shown(one)
            and (not self.met(one) or self.begun(one))
            for one in range(VIDEOS)
        )

    def eligible(self) -> set[int]:
        return {row for row in range(VIDEOS) if self.allowed(row) and not self.met(row)}

    def resumed(self) -> list[int]:
        """What there is to go on with, the newest first, as many as have places."""
        when = {row: self.watched_at(row) for row in range(VIDEOS) if self.begun(row) and self.allowed(row)}
        ends: dict[int, float] = {}
        for row in range(VIDEOS):
            series = int(self.catalogue.series[row])
            late = [at for kind, one, at, _ in self.events if one == row and kind == Kind.COMPLETE]
            if self.watched(row) > 0.9:
                late.append(self.watched_at(row))
            late = [at for at in late if at > NOW - 30 * DAY]
            if series != UNKNOWN and late:
                ends[series] = max(ends.get(series, 0.0), *late)
        for series, at in ends.items():
            rows = [row for row in sorted(self.eligible()) if self.catalogue.series[row] == series]
            numbered = [row for row in rows if self.catalogue.episode[row] != UNKNOWN]
            if numbered:
                when[numbered[0]] = at
        return sorted(when, key=lambda row: -when[row])[: RESUME.places]


@st.composite
def worlds(draw: st.DrawFn, catalogue_of: Callable[..., Catalogue]) -> World:
    """Any world whose events all have times of their own."""

    def column(values: st.SearchStrategy[float] | st.SearchStrategy[int], dtype: type) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=VIDEOS, max_size=VIDEOS)), dtype)

    days = st.sampled_from([NAN, NAN, NOW - 40 * DAY, NOW - 2 * DAY, NOW + DAY])
    entry = st.tuples(st.sampled_from([None, "DE", "FR"]), days, st.sampled_from([NAN, NAN, NOW - DAY, NOW, NOW + DAY]))
    limited = st.sampled_from([False, False, True])
    rights = [draw(st.lists(entry, max_size=2)) if draw(limited) else [] for _ in range(VIDEOS)]
    flat = [(row, *one) for row, of in enumerate(rights) for one in of]
    events: list[Happened] = []
    kinds = [Kind.IMPRESSION] * 4 + [Kind.WATCH] * 4 + [Kind.COMPLETE] * 2 + [Kind.CLICK, Kind.DISLIKE, Kind.HIDE]
    at = NOW - draw(st.sampled_from([5, 9, 33])) * DAY
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=3, max_size=25)):
        at += draw(st.sampled_from([0.01, 0.2, 0.5])) * DAY
        row = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 5, 5]))
        seconds = draw(st.sampled_from([40.0, 20.0, 95.0, 2.0, NAN])) if kind == Kind.WATCH else NAN
        if at <= NOW:
            events.append((kind, row, at, seconds))
    catalogue = catalogue_of(
        [[row % 3] for row in range(VIDEOS)],
        available=column(st.sampled_from([1, 1, 1, 1, 1, 0]), np.bool_),
        published_at=column(st.sampled_from([NAN, NAN, NOW - 100 * DAY, NOW - 3 * DAY, NOW + DAY]), np.float64),
        maturity=column(st.sampled_from([0, 0, 0, 16, 18]), np.int8),
        channel=column(st.sampled_from([UNKNOWN, UNKNOWN, 0, 1]), np.int32),
        duration=column(st.sampled_from([SECONDS, SECONDS, NAN]), np.float32),
        series=column(st.sampled_from([UNKNOWN, UNKNOWN, 0, 1]), np.int32),
        episode=column(st.sampled_from([UNKNOWN, 1, 2, 3, 4]), np.int32),
        series_ids=("s1", "s2"),
        rights=Rights.of(
            np.array([one[0] for one in flat], np.int64),
            [one[1] for one in flat],
            np.array([one[2] for one in flat], np.float64),
            np.array([one[3] for one in flat], np.float64),
            VIDEOS,
        )
        if flat
        else None,
    )  # fmt: skip
    request = Request(
        1,
        NOW,
        draw(st.integers(1, 18)),
        country=draw(st.sampled_from([None, "DE", "fr", "US"])),
        max_maturity=draw(st.sampled_from([None, 16])),
        exclude=tuple(draw(st.lists(st.integers(100, 100 + VIDEOS), max_size=2))),
        max_age_days=draw(st.sampled_from([None, None, 7.0])),
    )
    return World(
        catalogue,
        rights,
        events,
        draw(st.lists(st.integers(0, 1), max_size=1)),
        Profile(country=draw(st.sampled_from([None, "DE"])), age=draw(st.sampled_from([None, 17.0, 40.0]))),
        request,
        draw(st.sampled_from(["full", "unranked", "trending"])),
        draw(st.permutations(range(VIDEOS)))[: draw(st.sampled_from([VIDEOS, 5, 0]))],
        draw(st.lists(st.integers(0, VIDEOS - 1), max_size=2, unique=True)),
    )


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Parts that fail on purpose are logged; nobody wants to read that."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_list_holds_nothing_unfit_and_all_that_it_can_at_every_rung(
    data: st.DataObject, catalogue_of: Callable[..., Catalogue]
) -> None:
    world = data.draw(worlds(catalogue_of))
    slate = world.recommender().recommend(world.request)
    rows, eligible, resumed = slate.rows.tolist(), world.eligible(), world.resumed()
    if eligible:  # nothing is ranked, and no ranker fails, where there is nothing
        assert slate.level == world.rung
    assert len(rows) == len(set(rows)) == min(world.request.k, len(eligible | set(resumed)))
    assert set(rows) <= eligible | set(resumed)
    given_places = [
        place for place, source in enumerate(slate.sources) if source in ("continue_watching", "next_episode")
    ]
    free = [place for place in range(len(rows)) if not slate.promoted[place]]
    assert given_places == free[: len(given_places)]
    promoted = {row for place, row in enumerate(rows) if slate.promoted[place]}
    wanted = [row for row in resumed[: world.request.k] if row not in promoted]
    assert [rows[place] for place in given_places] == wanted[: len(free)]
    for place in given_places:
        assert (slate.sources[place] == "continue_watching") == world.met(rows[place])
        assert slate.propensities[place] == 1.0


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_video_is_told_an_outcome_that_agrees_with_the_list(
    data: st.DataObject, catalogue_of: Callable[..., Catalogue]
) -> None:
    world = data.draw(worlds(catalogue_of))
    recommender = world.recommender()
    rows, eligible = recommender.recommend(world.request).rows.tolist(), world.eligible()
    for row in range(VIDEOS):
        found = why(recommender, world.request, row)
        assert (found.outcome == "shown") == (row in rows)
        assert found.place == (rows.index(row) if row in rows else None)
        assert found.proposed or found.outcome in ("shown", "removed", "not proposed")
        assert (found.outcome == "removed") == bool(found.removed_by) == (row not in eligible and row not in rows)


def plain(world: World) -> Slate:
    return replace(world.recommender(), resume=None).recommend(world.request)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_where_nothing_is_begun_a_list_is_what_it_is_without_the_rule(
    data: st.DataObject, catalogue_of: Callable[..., Catalogue]
) -> None:
    world = data.draw(worlds(catalogue_of))
    world.events = [one for one in world.events if one[0] in (Kind.IMPRESSION, Kind.CLICK, Kind.DISLIKE)]
    one, other = world.recommender().recommend(world.request), plain(world)
    assert one.rows.tolist() == other.rows.tolist()
    assert one.value.tobytes() == other.value.tobytes()
    assert one.propensities.tobytes() == other.propensities.tobytes()
    assert (one.sources, one.reasons, one.trace.resumed) == (other.sources, other.reasons, {})
