"""The Recommender's promises, checked against a plain count of what is eligible, also while its parts fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextreel.features import TIMELESS
from nextreel.filters import FILTERS
from nextreel.ordering import CapParams, ExploreParams, OrderParams, Promotion, orderers
from nextreel.pipeline import Recommender, Source
from nextreel.retrieval.popular import Popular
from nextreel.store import Counters
from nextreel.types import (
    BoolArray,
    Catalogue,
    FloatArray,
    Matrix,
    Moment,
    NextreelError,
    Ranker,
    Request,
    Retriever,
    RowArray,
    Slate,
    UserId,
    UserState,
)

VIDEOS = 24
NAMES = ("news", "sport", "music")
LANGUAGES = ("de", "en")
AGES = (0, 6, 12, 16, 18)
NOW = 1_000.0


class Broken(Exception):
    """What a part that fails raises."""


@dataclass
class Fixed:
    """A source that proposes the rows of a list, withdrawn ones too, and watched ones if it is careless."""

    name: str
    rows: Sequence[int]
    fails: str = ""  # "retrieve", "score", or "range": proposes a row that is not in the catalogue
    careless: bool = False

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        if self.fails == "retrieve":
            raise Broken(self.name)
        watched = set() if self.careless else set(user.history.rows.tolist())
        rows = np.array([row for row in self.rows if row not in watched][:n], np.int32)
        if self.fails == "range":
            rows = np.append(rows, np.int32(VIDEOS))
        return rows, -np.arange(len(rows), dtype=np.float32)

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """Minus the place in the list; NaN for what is not in it."""
        if self.fails == "score":
            raise Broken(self.name)
        place = {row: -float(at) for at, row in enumerate(self.rows)}
        return np.array([place.get(row, np.nan) for row in rows.tolist()], np.float32)


@dataclass
class ByPlays:
    """A ranker that likes best what is played least."""

    mode: str = "good"
    objectives: tuple[str, ...] = ("relevance", "other")

    def score(self, matrix: Matrix) -> FloatArray:
        if self.mode == "raises":
            raise Broken("ranker")
        plays = matrix.values[:, matrix.names.index("plays")]
        scores = np.stack([-plays, plays], axis=1)
        if self.mode in {"nan", "inf"}:
            scores[-1, 0] = np.float32(self.mode)
        return scores[:-1] if self.mode == "short" else scores


@dataclass
class OneStore:
    """The store of one person."""

    counters: Counters
    state: UserState
    asked: list[UserId | None] = field(default_factory=list)

    def user(self, user_id: UserId | None) -> UserState:
        self.asked.append(user_id)
        return self.state if user_id == 1 else UserState(user_id)


@dataclass
class Situation:
    """A recommender of known parts, a request, and what may be shown, counted the plain way."""

    recommender: Recommender
    request: Request
    eligible: set[int]


Build = Callable[..., Recommender]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Parts that fail on purpose are logged; nobody wants to read that."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def build(catalogue_of: Callable[..., Catalogue], person: Callable[..., UserState]) -> Build:
    """Makes a recommender over 24 videos, of which row 0 is played most and row 23 least."""

    def build(
        sources: Sequence[Source],
        ranker: Ranker | None = None,
        order: OrderParams | None = None,
        state: UserState | None = None,
        codes: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> Recommender:
        catalogue = catalogue_of(codes or [[row % 3] for row in range(VIDEOS)], **columns)
        counters = Counters(VIDEOS)
        counters.plays += np.arange(VIDEOS, 0, -1, dtype=np.int32)
        return Recommender(
            catalogue=catalogue,
            store=OneStore(counters, state or person()),
            sources=sources,
            filters=FILTERS,
            features=TIMELESS,
            ranker=ranker,
            orderers=orderers(order or OrderParams(diversity=0.0)),
            ranked=1000,
            fallback=Popular(counters, "all"),
            release="r1",
        )

    return build


@st.composite
def situations(draw: st.DrawFn, build: Build, person: Callable[..., UserState]) -> Situation:
    rows = st.integers(0, VIDEOS - 1)
    codes = draw(st.lists(st.lists(st.integers(0, 2), max_size=2, unique=True), min_size=VIDEOS, max_size=VIDEOS))
    available = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=VIDEOS, max_size=VIDEOS))
    maturity = draw(st.lists(st.sampled_from(AGES), min_size=VIDEOS, max_size=VIDEOS))
    language = draw(st.lists(st.integers(-1, 1), min_size=VIDEOS, max_size=VIDEOS))
    history = draw(st.lists(rows, max_size=30))
    graded = draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.0]), min_size=len(history), max_size=len(history)))
    age = draw(st.sampled_from([None, 5.0, 13.0, 40.0]))
    request = Request(
        draw(st.sampled_from([1, 1, 1, "somebody new", None])),
        NOW,
        draw(st.integers(1, 40)),
        categories=tuple(draw(st.lists(st.sampled_from([*NAMES, "opera"]), max_size=2))),
        languages=tuple(draw(st.lists(st.sampled_from([*LANGUAGES, "fr"]), max_size=2))),
        max_maturity=draw(st.sampled_from([None, None, 0, 12, 99])),
        exclude=tuple(draw(st.lists(st.sampled_from([*range(100, 100 + VIDEOS), 7, "x"]), max_size=8))),
    )
    order = st.permutations(range(VIDEOS)).flatmap(lambda p: st.integers(0, VIDEOS).map(lambda n: p[:n]))
    failures = st.sampled_from(["", "", "", "retrieve", "score", "range"])
    sources = [
        Source(Fixed(f"source_{number}", draw(order), draw(failures), draw(st.booleans())), draw(st.integers(1, 30)))
        for number in range(draw(st.integers(1, 3)))
    ]
    mode = draw(st.sampled_from(["good", "good", "none", "raises", "nan", "inf", "short"]))
    recommender = build(
        sources,
        None if mode == "none" else ByPlays(mode),
        OrderParams(diversity=draw(st.sampled_from([0.0, 0.5, 1.0])), freshness=draw(st.sampled_from([0.0, 1.0]))),
        person(history, weights=graded, age=age),
        codes,
        available=np.array(available),
        maturity=np.array(maturity, np.int8),
        language=np.array(language, np.int32),
    )
    recommender = replace(recommender, ranked=draw(st.integers(1, 30)))
    watched = set(history) if request.user_id == 1 else set()
    limit = 18.0 if age is None or request.user_id != 1 else age
    limit = limit if request.max_maturity is None else min(limit, request.max_maturity)
    eligible = {
        row
        for row in range(VIDEOS)
        if row not in watched
        and available[row]
        and maturity[row] <= limit
        and 100 + row not in request.exclude
        and (not request.categories or any(NAMES[code] in request.categories for code in codes[row]))
        and (not request.languages or language[row] < 0 or LANGUAGES[language[row]] in request.languages)
    }
    return Situation(recommender, request, eligible)


def assert_promise(slate: Slate, situation: Situation) -> None:
    """Nothing twice, nothing ineligible, as many as there may be; and columns of one length."""
    shown, request = slate.rows.tolist(), situation.request
    assert len(set(shown)) == len(shown)
    assert set(shown) <= situation.eligible
    assert len(shown) == min(request.k, len(situation.eligible))
    assert slate.video_ids == [100 + row for row in shown]
    assert all(len(column) == len(shown) for column in (slate.value, slate.objectives, slate.propensities))
    assert all(len(column) == len(shown) for column in (slate.sources, slate.reasons, slate.promoted))
    assert np.isfinite(slate.value).all()
    assert all(slate.reasons)
    assert (slate.request, slate.release) == (request, "r1")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_slate_breaks_the_promise_whatever_is_asked_and_whatever_fails(
    build: Build, person: Callable[..., UserState], data: st.DataObject
) -> None:
    situation = data.draw(situations(build, person))
    recommender = situation.recommender
    slate = recommender.recommend(situation.request)
    assert_promise(slate, situation)

    fails = {source.retriever.name: cast("Fixed", source.retriever).fails for source in recommender.sources}
    asked = {name: one in {"retrieve", "range"} for name, one in fails.items()}
    broken = {name for name, one in fails.items() if one}
    if all(asked.values()):
        assert slate.level == "trending"
        assert broken | {"retrieval"} == set(slate.trace.failures)
        by_share = sorted(situation.eligible)[: situation.request.k]  # row 0 is played most
        assert set(slate.rows.tolist()) == set(by_share)
    else:
        mode = recommender.ranker.mode if isinstance(recommender.ranker, ByPlays) else "none"
        ranker_fails = mode not in {"none", "good"} and bool(situation.eligible)
        assert slate.level == ("unranked" if ranker_fails else "full")
        assert ("ranker" in slate.trace.failures) == ranker_fails
        assert set(slate.trace.failures) - {"ranker"} == broken
        assert slate.trace.eligible >= len(slate.rows)


def test_only_the_promising_candidates_are_ranked(build: Build) -> None:
    class Counting(ByPlays):
        def score(self, matrix: Matrix) -> FloatArray:
            judged.append(len(matrix.values))
            return super().score(matrix)

    judged: list[int] = []
    sources = [Source(Fixed("als", list(range(VIDEOS))), 30)]
    recommender = replace(build(sources, Counting()), ranked=6)
    assert recommender.recommend(Request(1, NOW, 1)).rows.tolist() == [5]  # the least played of the six best
    assert recommender.recommend(Request(1, NOW, 3)).rows.tolist() == [11, 10, 9]  # four times k
    assert recommender.recommend(Request(1, NOW, 20)).rows.tolist()[0] == 23
    assert judged == [6, 12, 24]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_last_rung_alone_keeps_the_promise(
    build: Build, person: Callable[..., UserState], data: st.DataObject
) -> None:
    situation = data.draw(situations(build, person))
    slate = situation.recommender.trending(situation.request)
    assert_promise(slate, situation)
    assert slate.level == "trending"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_slate_breaks_the_promise_whatever_is_promoted(
    build: Build, person: Callable[..., UserState], data: st.DataObject
) -> None:
    situation = data.draw(situations(build, person))
    rows = data.draw(st.lists(st.integers(0, VIDEOS - 1), min_size=1, max_size=6, unique=True))
    fixed = tuple(data.draw(st.lists(st.integers(0, 8), max_size=3, unique=True)))
    promotion = Promotion(np.array(rows, np.int32), fixed, data.draw(st.sampled_from([0.1, 0.5, 1.0])))
    params = OrderParams(
        diversity=data.draw(st.sampled_from([0.0, 0.5])),
        caps=CapParams(per_category=data.draw(st.sampled_from([None, 2]))),
        explore=ExploreParams(slots=data.draw(st.integers(0, 2))),
    )
    recommender = replace(situation.recommender, promotion=promotion, orderers=orderers(params))
    request = replace(situation.request, explain=data.draw(st.booleans()))
    slate = recommender.recommend(request)
    assert_promise(slate, replace(situation, request=request))
    promoted = slate.rows[slate.promoted].tolist()
    may_be = set(rows) & situation.eligible
    many = len(slate.rows)
    places = [place for place in fixed if place < many] if fixed else range(int(promotion.share * many + 1e-9))
    assert set(promoted) <= may_be
    assert len(promoted) == min(len(places), len(may_be))
    assert {slate.sources[place] for place in np.flatnonzero(slate.promoted)} <= {"promoted"}
    assert (slate.propensities[slate.promoted] == 1).all()
    counted = {"configured": len(rows), "eligible": len(may_be), "shown": len(promoted)}
    assert slate.trace.promoted == counted
    assert (slate.explanation is not None) == request.explain


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_same_request_gets_the_same_answer(
    build: Build, person: Callable[..., UserState], data: st.DataObject
) -> None:
    situation = data.draw(situations(build, person))
    one, two = (situation.recommender.recommend(situation.request) for _ in range(2))
    assert one.rows.tolist() == two.rows.tolist()
    np.testing.assert_array_equal(one.value, two.value)
    assert one.sources == two.sources


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_candidate_has_the_same_features_when_it_is_asked_for_by_row(
    build: Build, person: Callable[..., UserState], data: st.DataObject
) -> None:
    situation = data.draw(situations(build, person))
    recommender, request = situation.recommender, situation.request
    for source in recommender.sources:
        cast("Fixed", source.retriever).fails = ""
    moment = recommender.gather(request)
    chosen = data.draw(st.permutations(range(len(moment)))) if len(moment) else []
    again = recommender.gather(request, rows=moment.rows[list(chosen)])
    np.testing.assert_array_equal(recommender.matrix(again).values, recommender.matrix(moment).values[list(chosen)])


def alone(build: Build, rows: Sequence[int], quota: int = 30, **parts: Any) -> Recommender:
    return build([Source(Fixed("als", rows), quota)], **parts)


def test_a_source_asked_alone_gives_its_own_order(build: Build, person: Callable[..., UserState]) -> None:
    recommender = alone(build, [9, 4, 17, 0, 3, 11], state=person([4, 3]))
    slate = recommender.recommend(Request(1, NOW, 4))
    assert slate.rows.tolist() == [9, 17, 0, 11]
    assert slate.sources == ["als"] * 4
    assert slate.level == "full"
    assert slate.trace.failures == {}


def test_a_source_that_proposes_too_few_keeps_them_and_is_filled_up(build: Build) -> None:
    slate = alone(build, [20, 22, 21]).recommend(Request(1, NOW, 6))
    assert slate.rows.tolist() == [20, 22, 21, 0, 1, 2]
    assert slate.sources == ["als"] * 3 + ["eligible"] * 3


def test_what_a_lone_source_cannot_score_comes_after_what_it_can(build: Build) -> None:
    class Negative(Fixed):
        def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
            return super().score(request, user, rows) - np.float32(5)

    slate = build([Source(Negative("als", [20, 22]), 30)]).recommend(Request(1, NOW, 3))
    assert slate.rows.tolist() == [20, 22, 0]
    assert np.isfinite(slate.value).all()


def test_a_quota_is_widened_until_k_are_eligible(build: Build, person: Callable[..., UserState]) -> None:
    recommender = alone(build, list(reversed(range(VIDEOS))), quota=1, state=person([23, 22, 21]))
    assert recommender.recommend(Request(1, NOW, 1)).trace.eligible == 1
    slate = recommender.recommend(Request(1, NOW, 10))
    assert slate.rows.tolist() == list(range(20, 10, -1))  # all from the source, none to fill up
    assert slate.trace.eligible == 16


def test_watched_videos_do_not_use_up_the_quota(build: Build, person: Callable[..., UserState]) -> None:
    recommender = alone(build, list(range(VIDEOS)), quota=4, state=person(list(range(12))))
    assert recommender.gather(Request(1, NOW, 1)).rows.tolist() == [12, 13, 14, 15]


def test_the_ranker_decides_the_order_by_the_declared_value(build: Build) -> None:
    sources = [Source(Fixed("als", list(range(VIDEOS))), 30)]
    ranked = build(sources, ByPlays())
    slate = ranked.recommend(Request(1, NOW, 3))
    assert slate.rows.tolist() == [23, 22, 21]  # the least played
    assert slate.objectives.shape == (3, 2)
    np.testing.assert_array_equal(slate.value, slate.objectives[:, 0])
    other = replace(ranked, value=lambda objectives: objectives[:, 0] + 3 * objectives[:, 1])
    assert other.recommend(Request(1, NOW, 3)).rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("mode", ["raises", "nan", "inf", "short"])
def test_a_ranker_that_fails_leaves_the_order_to_the_sources(mode: str, build: Build) -> None:
    sources = [Source(Fixed("als", [5, 6, 7]), 3), Source(Fixed("ease", [6, 5, 8]), 3)]
    slate = build(sources, ByPlays(mode)).recommend(Request(1, NOW, 4))
    assert slate.level == "unranked"
    assert ("Broken" if mode == "raises" else "finite scores") in slate.trace.failures["ranker"]
    assert set(slate.rows.tolist()[:2]) == {5, 6}  # both sources put them first
    assert set(slate.rows.tolist()) == {5, 6, 7, 8}
    assert slate.objectives.shape == (4, 0)


def test_the_joined_order_counts_each_source_by_its_weight(build: Build) -> None:
    def order(als: float, ease: float) -> list[int]:
        sources = [Source(Fixed("als", [5, 6, 7]), 3, als), Source(Fixed("ease", [7, 6, 5]), 3, ease)]
        slate = build(sources).recommend(Request(1, NOW, 3))
        return [int(row) for row in slate.rows]

    assert order(1.0, 0.0) == order(3.0, 1.0) == [5, 6, 7]
    assert order(0.0, 1.0) == order(1.0, 3.0) == [7, 6, 5]


def test_one_source_that_fails_is_done_without(build: Build) -> None:
    sources = [Source(Fixed("als", [5], "retrieve"), 3), Source(Fixed("ease", [6, 8]), 3)]
    slate = build(sources, ByPlays()).recommend(Request(1, NOW, 2))
    assert slate.level == "full"
    assert slate.rows.tolist() == [8, 6]
    assert "Broken('als')" in slate.trace.failures["als"]
    assert slate.trace.proposed == {"ease": 2}


def test_a_source_that_cannot_score_leaves_its_columns_empty(build: Build) -> None:
    sources = [Source(Fixed("als", [5], "score"), 3), Source(Fixed("ease", [6, 8]), 3)]
    recommender = build(sources, ByPlays())
    moment = recommender.gather(Request(1, NOW, 2))
    assert moment.rows.tolist() == [5, 6, 8]
    assert np.isnan(moment.scores[:, 0]).all()
    assert np.isnan(moment.ranks[:, 0]).all()
    np.testing.assert_array_equal(moment.ranks[:, 1], [np.nan, 0, 1])


def test_when_every_source_fails_the_most_played_eligible_are_shown(
    build: Build, person: Callable[..., UserState]
) -> None:
    sources = [Source(Fixed(name, [5], "retrieve"), 3) for name in ("als", "ease")]
    available = np.ones(VIDEOS, np.bool_)
    available[2] = False
    recommender = build(sources, ByPlays(), state=person([0]), available=available)
    slate = recommender.recommend(Request(1, NOW, 4, exclude=(104,)))
    assert slate.level == "trending"
    assert slate.rows.tolist() == [1, 3, 5, 6]
    assert set(slate.trace.failures) == {"als", "ease", "retrieval"}
    assert slate.sources == ["popular_all"] * 4


def test_a_filter_that_fails_fails_the_request_and_is_never_passed_over(build: Build) -> None:
    def broken(moment: Moment) -> BoolArray:
        raise Broken("filter")

    recommender = replace(alone(build, [1, 2]), filters=(*FILTERS, broken))
    with pytest.raises(Broken):
        recommender.recommend(Request(1, NOW, 1))


@pytest.mark.parametrize("user_id", [None, "somebody new", 99])
def test_a_newcomer_is_given_what_the_sources_have(user_id: UserId | None, build: Build) -> None:
    slate = alone(build, [9, 4], ranker=ByPlays()).recommend(Request(user_id, NOW, 5))
    assert len(slate.rows) == 5
    assert slate.level == "full"


def test_nothing_eligible_is_an_empty_slate(build: Build) -> None:
    recommender = alone(build, [9, 4], ranker=ByPlays(), order=OrderParams(diversity=0.5, freshness=1.0))
    slate = recommender.recommend(Request(1, NOW, 5, categories=("opera",)))
    assert slate.video_ids == []
    assert slate.level == "full"
    assert slate.objectives.shape[0] == 0


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_than_one_cannot_be_asked_for(k: int, build: Build) -> None:
    with pytest.raises(NextreelError, match=f"k of at least 1, got {k}"):
        alone(build, [9]).recommend(Request(1, NOW, k))


def test_the_trace_tells_what_happened(build: Build, person: Callable[..., UserState]) -> None:
    als, ease = Fixed("als", [0, 3, 6, 1, 4], careless=True), Fixed("ease", [1, 0, 7], careless=True)
    sources = [Source(als, 3), Source(ease, 2)]
    recommender = build(sources, ByPlays(), OrderParams(diversity=1.0), person([3, 7]))
    trace = recommender.recommend(Request(1, NOW, 3, exclude=(100,))).trace
    # the five proposals of als and the three of ease: 0, 1, 3, 4, 6, 7; watched 3 and 7, excluded 0
    assert trace.candidates == 6
    assert trace.removed["not_watched"] == 2
    assert trace.removed["not_excluded"] == 1
    assert sum(trace.removed.values()) == 3
    assert trace.proposed == {"als": 3, "ease": 1}
    assert trace.eligible == 3
    assert set(trace.milliseconds) == {"retrieve", "filter", "score", "features", "rank", "order"}
    assert min(trace.milliseconds.values()) >= 0
    # the ranker says 6 (news), 4 (sport), 1 (sport): nothing to move
    assert trace.moved == {"by_diversity": 0}


def test_a_move_of_the_final_order_is_counted(build: Build) -> None:
    codes = [[0]] * 12 + [[1]] * 12
    recommender = alone(build, [0, 1, 12], ranker=None, order=OrderParams(diversity=1.0), codes=codes)
    slate = recommender.recommend(Request(1, NOW, 3))
    assert slate.rows.tolist() == [0, 12, 1]
    assert slate.trace.moved == {"by_diversity": 2}
    assert slate.value.tolist() == [0.0, -2.0, -1.0]  # the value that each was judged by, not that of its place


def test_the_reason_names_a_recent_video_that_is_alike(build: Build, person: Callable[..., UserState]) -> None:
    recommender = alone(build, [3, 4, 6], state=person([0, 9, 1], weights=[1.0, 1.0, -1.0]))
    slate = recommender.recommend(Request(1, NOW, 3))
    alike = "people with your taste watched it, such as Video 9"  # the newest liked of its category
    assert slate.reasons == [alike, "people with your taste watched it", alike]


def test_a_rank_is_how_many_candidates_the_source_scores_higher(build: Build) -> None:
    class Tied(Fixed):
        def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
            return np.where(rows == 1, np.nan, rows // 2).astype(np.float32)

    recommender = build([Source(Tied("als", [0, 1, 2, 3, 4]), 30)])
    moment = recommender.gather(Request(1, NOW, 1))
    np.testing.assert_array_equal(moment.ranks[:, 0], [3, np.nan, 1, 1, 0])
    # a row that was not proposed is ranked among the candidates, not among the rows asked for
    pairs = recommender.gather(Request(1, NOW, 1), rows=np.array([9, 5, 0]))
    np.testing.assert_array_equal(pairs.ranks[:, 0], [0, 0, 3])
    assert pairs.rows.tolist() == [9, 5, 0]


def test_a_source_that_scores_all_alike_is_nobodys_reason(build: Build) -> None:
    class Alike(Fixed):
        def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
            return np.where(rows == 6, 1.0, 0.0).astype(np.float32)

    recommender = build([Source(Alike("fresh", [6]), 1), Source(Fixed("als", [5, 6, 7, 8]), 4)])
    slate = recommender.recommend(Request(1, NOW, 3))
    assert dict(zip(slate.rows.tolist(), slate.sources, strict=True)) == {6: "fresh", 5: "als", 7: "als"}


def test_watched_rows_can_be_judged_when_asked_for(build: Build, person: Callable[..., UserState]) -> None:
    recommender = alone(build, list(range(VIDEOS)), state=person([2]))
    assert recommender.gather(Request(1, NOW, 1), rows=np.array([2])).rows.tolist() == [2]


def test_fakes_are_retrievers() -> None:
    source: Retriever = Fixed("als", [1])
    assert source.name == "als"


def promoting(recommender: Recommender, *rows: int, **params: Any) -> Recommender:
    return replace(recommender, promotion=Promotion(np.array(rows, np.int32), **params))


def test_a_promoted_video_that_no_source_proposes_is_judged_as_if_one_had(build: Build) -> None:
    sources = [Source(Fixed("als", [5, 6, 7]), 3), Source(Fixed("ease", [6, 5, 8]), 3)]
    seen: list[tuple[Moment, Matrix]] = []
    recommender = promoting(build(sources, ByPlays()), 20, 9, fixed=(1,))
    slate = recommender.recommend(Request(1, NOW, 4), lambda moment, matrix, scores: seen.append((moment, matrix)))
    assert slate.rows.tolist() == [8, 20, 7, 6]
    assert slate.promoted.tolist() == [False, True, False, False]
    assert (slate.sources[1], slate.reasons[1]) == ("promoted", "promoted")
    assert slate.value[1] == pytest.approx(-np.log(5))  # what it was judged by: row 20 has four plays
    moment, matrix = seen[0]
    assert moment.rows.tolist() == [5, 6, 7, 8, 20, 9]
    again = recommender.matrix(recommender.gather(Request(1, NOW, 4), rows=moment.rows))
    np.testing.assert_array_equal(matrix.values, again.values)


@pytest.mark.parametrize("rung", ["unranked", "trending"])
def test_promoted_places_are_kept_when_other_parts_fail(
    rung: str, build: Build, person: Callable[..., UserState]
) -> None:
    fails = "retrieve" if rung == "trending" else ""
    sources = [Source(Fixed(name, [5, 6, 7, 8], fails), 4) for name in ("als", "ease")]
    recommender = promoting(build(sources, ByPlays("raises"), state=person([20])), 20, 21, 22, fixed=(0, 2))
    slate = recommender.recommend(Request(1, NOW, 4, exclude=(122,), explain=True))
    assert slate.level == rung
    assert slate.rows[slate.promoted].tolist() == [21]  # 20 was watched, 22 is excluded
    assert slate.rows[0] == 21
    assert slate.rows[1:].tolist() == ([5, 6, 7] if rung == "unranked" else [0, 1, 2])
    assert slate.trace.promoted == {"configured": 3, "eligible": 1, "shown": 1}
    assert slate.explanation is not None
    assert slate.explanation.contributions == {}


def test_what_everybody_watches_and_a_source_alone_promote_nothing(build: Build) -> None:
    recommender = promoting(alone(build, [9, 4, 17]), 20, share=1.0)
    assert not recommender.trending(Request(1, NOW, 3)).promoted.any()
    assert not recommender.alone("als").recommend(Request(1, NOW, 3)).promoted.any()
    assert recommender.recommend(Request(1, NOW, 3)).promoted.any()


@dataclass
class Telling(ByPlays):
    """It can tell that all comes from the plays."""

    broken: Exception | None = None

    def contributions(self, matrix: Matrix) -> dict[str, FloatArray]:
        if self.broken is not None:
            raise self.broken
        parts = np.zeros((len(matrix.values), len(matrix.names) + 1), np.float32)
        parts[:, matrix.names.index("plays")] = -matrix.values[:, matrix.names.index("plays")] - 1
        parts[:, -1] = 1
        return {"relevance": parts, "other": -parts}


def test_a_slate_tells_what_each_feature_added_and_who_moved_what(build: Build) -> None:
    codes = [[0]] * 12 + [[1]] * 12
    sources = [Source(Fixed("als", [0, 1, 2, 3, 12]), 30)]
    recommender = promoting(build(sources, Telling(), OrderParams(diversity=1.0), codes=codes), 2, fixed=(2,))
    request = Request(1, NOW, 4, explain=True)
    slate = recommender.recommend(request)
    assert slate.rows.tolist() == [12, 3, 2, 1]  # by value 12, 3, 2, 1, 0; that is diverse already
    found = slate.explanation
    assert found is not None
    assert set(found.contributions) == {"relevance", "other"}
    np.testing.assert_allclose(found.raw("relevance"), slate.objectives[:, 0], rtol=1e-6)
    assert found.contributions["relevance"].shape == (4, len(found.features) + 1)
    ((name, part),) = found.top("relevance", 0, 1)
    assert name == "plays"
    assert part == pytest.approx(-np.log(13) - 1)
    assert {name: places.tolist() for name, places in found.places.items()} == {
        "value": [0, 1, 2, 2],  # the promoted one would stand where the fourth does now
        "by_diversity": [0, 1, -1, 2],
        "promotion": [0, 1, 2, 3],
    }
    assert [found.moved(place) for place in range(4)] == [[], [], [], ["promotion"]]
    plain = recommender.recommend(replace(request, explain=False))
    assert plain.rows.tolist() == slate.rows.tolist()
    assert plain.explanation is None
    assert "explain" not in plain.trace.milliseconds


def test_the_explanation_names_the_orderer_that_moved_a_video(build: Build) -> None:
    codes = [[0]] * 12 + [[1]] * 12
    recommender = alone(build, [0, 1, 12], ranker=None, order=OrderParams(diversity=1.0), codes=codes)
    found = recommender.recommend(Request(1, NOW, 3, explain=True)).explanation
    assert found is not None
    assert found.places["value"].tolist() == [0, 2, 1]
    assert [found.moved(place) for place in range(3)] == [[], ["by_diversity"], ["by_diversity"]]
    assert found.contributions == {}


def test_a_ranker_that_cannot_tell_costs_nobody_the_list(build: Build) -> None:
    sources = [Source(Fixed("als", list(range(VIDEOS))), 30)]
    slate = build(sources, Telling(broken=Broken("parts"))).recommend(Request(1, NOW, 3, explain=True))
    assert slate.rows.tolist() == [23, 22, 21]
    assert (slate.level, slate.trace.failures) == ("full", {"contributions": "Broken('parts')"})
    assert slate.explanation is not None
    assert slate.explanation.contributions == {}


def test_a_ranker_that_has_no_parts_to_tell_of_says_so_in_one_line(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    sources = [Source(Fixed("als", list(range(VIDEOS))), 30)]
    limit = NextreelError("No parts. Hint: another family.")
    logging.disable(logging.NOTSET)
    slate = build(sources, Telling(broken=limit)).recommend(Request(1, NOW, 3, explain=True))
    assert slate.rows.tolist() == [23, 22, 21]
    assert (slate.level, slate.trace.failures) == ("full", {"contributions": repr(limit)})
    assert slate.explanation is not None
    assert slate.explanation.contributions == {}
    assert slate.explanation.places["value"].tolist() == [0, 1, 2]
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage() == "no contributions: No parts. Hint: another family."
