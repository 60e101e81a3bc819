"""The final order on lists whose right order can be said by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from nextreel.filters import FILTERS
from nextreel.ordering import (
    CapParams,
    DppParams,
    ExploreParams,
    OrderParams,
    by_value,
    capped,
    diverse,
    dpp,
    explore,
    fresh,
    orderers,
    standardised,
)
from nextreel.pipeline import Recommender, Source
from nextreel.retrieval.popular import Popular
from nextreel.store import Counters
from nextreel.types import DAY, Catalogue, FloatArray, Moment, Orderer, Request, UserId, UserState

NEWS, SPORT = 0, 1
NOW = 100 * DAY


def values(*numbers: float) -> FloatArray:
    return np.array(numbers, np.float32)


@pytest.fixture(scope="module")
def six(catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]) -> Moment:
    """Three news, then three sport."""
    return moment_of(catalogue_of([[NEWS], [NEWS], [NEWS], [SPORT], [SPORT], [SPORT]]))


def test_by_value_the_best_come_first_and_ties_stay(six: Moment) -> None:
    order = by_value(six, values(1, 3, 3, 0, 5, 3), 5)
    assert order.positions.tolist() == [4, 1, 2, 5, 0]
    assert order.propensities.tolist() == [1.0] * 5


def test_without_diversity_the_order_is_that_of_the_values(six: Moment) -> None:
    value = values(6, 5, 4, 3, 2, 1)
    assert diverse(OrderParams(diversity=0.0))(six, value, 6).positions.tolist() == [0, 1, 2, 3, 4, 5]
    assert orderers(OrderParams(diversity=0.0)) == ()


def test_full_diversity_alternates_the_categories(six: Moment) -> None:
    order = diverse(OrderParams(diversity=1.0))(six, values(6, 5, 4, 3, 2, 1), 6)
    categories = six.catalogue.category[order.positions]
    assert categories.tolist() == [NEWS, SPORT, NEWS, SPORT, NEWS, SPORT]
    assert order.positions.tolist() == [0, 3, 1, 4, 2, 5]  # within a category the better ones come first


def test_some_diversity_moves_another_category_up_but_not_to_the_top(six: Moment) -> None:
    # After one news, likeness costs the next news 0.2. The best sport is behind it by 0.8 × 1.17 in the wide values
    # (standardised), and by 0.8 × 0.08 in the close ones.
    wide, close = values(6, 5, 4, 3, 2, 1), values(6.0, 5.9, 5.8, 5.7, 1.0, 0.0)
    order = diverse(OrderParams(diversity=0.2))
    assert order(six, wide, 6).positions.tolist()[:2] == [0, 1]
    assert order(six, close, 6).positions.tolist()[:2] == [0, 3]


def test_diversity_looks_no_deeper_than_it_may(six: Moment) -> None:
    value = values(6, 5, 4, 3, 2, 1)
    order = diverse(OrderParams(diversity=1.0, depth=1))(six, value, 3)
    assert sorted(order.positions.tolist()) == [0, 1, 2]  # the three best, although all are news
    deep = diverse(OrderParams(diversity=1.0, depth=2))(six, value, 3)
    assert deep.positions.tolist() == [0, 3, 1]


def test_videos_of_no_category_are_like_nothing(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = moment_of(catalogue_of([[NEWS], [NEWS], [], []]))
    order = diverse(OrderParams(diversity=1.0))(moment, values(4, 3, 2, 1), 4)
    assert order.positions.tolist() == [0, 2, 3, 1]


def test_freshness_lifts_a_new_video(catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]) -> None:
    published = np.array([np.nan, NOW - 50 * DAY, NOW, NOW + 5 * DAY])
    moment = moment_of(catalogue_of([[NEWS]] * 4, published_at=published), request=Request(1, NOW))
    value = values(4, 3, 2, 1)  # standardised 1.34, 0.45, -0.45, -1.34
    assert fresh(OrderParams(freshness=0.0))(moment, value, 4).positions.tolist() == [0, 1, 2, 3]
    # 1 for what is new or not even published, next to nothing after 50 days, nothing for an unknown date
    assert fresh(OrderParams(freshness=1.0))(moment, value, 4).positions.tolist() == [0, 2, 1, 3]
    assert fresh(OrderParams(freshness=3.0))(moment, value, 4).positions.tolist() == [2, 3, 0, 1]


def test_freshness_is_halved_after_the_half_life(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    published = np.array([NOW - 14 * DAY, NOW - 1e5 * DAY])
    moment = moment_of(catalogue_of([[NEWS]] * 2, published_at=published), request=Request(1, NOW))
    value = values(0, 1)  # two standard deviations apart: a boost of half of `freshness` must exceed 2
    assert fresh(OrderParams(freshness=3.9))(moment, value, 2).positions.tolist() == [1, 0]
    assert fresh(OrderParams(freshness=4.1))(moment, value, 2).positions.tolist() == [0, 1]


def test_the_orderers_run_in_their_order_and_only_where_asked_for() -> None:
    chain = orderers(OrderParams(diversity=0.1, freshness=0.1))
    assert [one.__name__ for one in chain] == ["by_freshness", "by_diversity"]
    assert [one.__name__ for one in orderers(OrderParams(diversity=0.0, freshness=0.1))] == ["by_freshness"]


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValidationError, match="diversty"):
        OrderParams.model_validate({"diversty": 0.1})


@pytest.mark.parametrize(
    "changes", [{"diversity": 1.1}, {"depth": 0}, {"diversifier": "magic"}, {"caps": {"per_channel": 0}}]
)
def test_a_parameter_out_of_bounds_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OrderParams.model_validate(changes)


EVERYTHING = OrderParams(
    freshness=1.0,
    diversity=0.5,
    diversifier="dpp",
    caps=CapParams(per_channel=1, per_category=2),
    explore=ExploreParams(slots=2),
)


def test_the_whole_chain_runs_from_freshness_to_exploration() -> None:
    names = ["by_freshness", "by_dpp", "by_caps", "by_exploration"]
    assert [one.__name__ for one in orderers(EVERYTHING)] == names
    with_mmr = EVERYTHING.model_copy(update={"diversifier": "mmr"})
    assert [one.__name__ for one in orderers(with_mmr)] == ["by_freshness", "by_diversity", *names[2:]]
    assert [one.__name__ for one in orderers(OrderParams())] == ["by_diversity"]
    assert orderers(OrderParams(diversifier="dpp", diversity=0.0)) == ()


@st.composite
def judged(
    draw: st.DrawFn, catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> tuple[Moment, FloatArray]:
    """At most 12 candidates of any categories, channels, ages and values, and a request for at most 15."""
    n = draw(st.integers(0, 12))
    codes = draw(st.lists(st.lists(st.integers(0, 2), max_size=3, unique=True), min_size=n, max_size=n))
    ages = draw(st.lists(st.one_of(st.just(np.nan), st.floats(0, 500)), min_size=n, max_size=n))
    channels = np.array(draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n)), np.int32)
    value = draw(st.lists(st.floats(-1e6, 1e6, width=32), min_size=n, max_size=n))
    catalogue = catalogue_of(codes, published_at=NOW - np.array(ages, np.float64) * DAY, channel=channels)
    request = Request(draw(st.sampled_from([1, "1", None])), NOW, draw(st.integers(1, 15)), seed=draw(st.integers()))
    return moment_of(catalogue, request=request), np.array(value, np.float32)


@pytest.mark.parametrize(
    "order",
    [
        by_value,
        *orderers(OrderParams(diversity=0.7, freshness=2.0)),
        *orderers(EVERYTHING),
        dpp(DppParams(likeness=1.0, channel=0.5, depth=1)),
        dpp(DppParams(strength=1e6)),
        capped(CapParams()),
        capped(CapParams(per_channel=2, window=3)),
        explore(ExploreParams(slots=3, places=(0, 7, 2), temperature=1e-3)),
        explore(ExploreParams(slots=30, temperature=1e6)),
    ],
)
@given(data=st.data())
def test_an_orderer_cannot_invent_or_repeat(
    order: Orderer,
    catalogue_of: Callable[..., Catalogue],
    moment_of: Callable[..., Moment],
    data: st.DataObject,
) -> None:
    moment, value = data.draw(judged(catalogue_of, moment_of))
    k = data.draw(st.integers(1, 15))
    chosen = order(moment, value, k)
    n = len(moment)
    assert len(chosen.positions) == len(chosen.propensities) == min(k, n)
    assert len(set(chosen.positions.tolist())) == len(chosen.positions)
    assert set(chosen.positions.tolist()) <= set(range(n))
    assert ((chosen.propensities > 0) & (chosen.propensities <= 1)).all()


@dataclass
class Judge:
    """A source whose scores are the values that a test wants."""

    values: FloatArray
    name: str = "judge"

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[NDArray[np.int32], FloatArray]:
        rows = np.argsort(-self.values, kind="stable")[:n].astype(np.int32)
        return rows, self.values[rows]

    def score(self, request: Request, user: UserState, rows: NDArray[np.int32]) -> FloatArray:
        return self.values[rows]


@dataclass
class Nobody:
    """The store of people who did nothing yet."""

    counters: Counters

    def user(self, user_id: UserId | None) -> UserState:
        return UserState(user_id)


def recommender_of(moment: Moment, value: FloatArray, params: OrderParams) -> Recommender:
    """The pipeline that judges the rows of the moment's catalogue by these values."""
    counters = Counters(len(value))
    return Recommender(
        catalogue=moment.catalogue,
        store=Nobody(counters),
        sources=[Source(Judge(value), 100)],
        filters=FILTERS,
        features=(),
        ranker=None,
        orderers=orderers(params),
        ranked=100,
        fallback=Popular(counters, "all"),
    )


chains = st.builds(
    OrderParams,
    freshness=st.sampled_from([0.0, 1.0]),
    diversity=st.sampled_from([0.0, 0.5, 1.0]),
    diversifier=st.sampled_from(["mmr", "dpp"]),
    caps=st.builds(
        CapParams,
        per_channel=st.sampled_from([None, 1, 2]),
        per_category=st.sampled_from([None, 1]),
        window=st.sampled_from([None, 2]),
    ),
    explore=st.builds(ExploreParams, slots=st.integers(0, 3)),
)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), params=chains)
def test_whatever_the_chain_a_slate_is_full_without_repeats_and_the_same_for_the_same_request(
    data: st.DataObject,
    params: OrderParams,
    catalogue_of: Callable[..., Catalogue],
    moment_of: Callable[..., Moment],
) -> None:
    moment, value = data.draw(judged(catalogue_of, moment_of))
    k, n = moment.request.k, len(moment)
    one, two = (recommender_of(moment, value, params).recommend(moment.request) for _ in range(2))
    assert one.trace.failures == {}
    assert len(one.rows) == len(set(one.rows.tolist())) == min(k, n)
    assert one.rows.tolist() == two.rows.tolist()
    assert one.propensities.tolist() == two.propensities.tolist()
    explored = min(params.explore.slots, k, max(n - k, 0))
    assert (one.propensities[: min(k, n) - explored] == 1).all()


@settings(deadline=None)
@given(data=st.data())
def test_the_default_chain_is_maximal_marginal_relevance_at_three_tenths(
    data: st.DataObject, catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment, value = data.draw(judged(catalogue_of, moment_of))
    slate = recommender_of(moment, value, OrderParams()).recommend(moment.request)
    best_first = np.argsort(-value, kind="stable")
    k = min(moment.request.k, len(value))
    pool, rows = value[best_first][: 3 * k], best_first[: 3 * k]
    scaled = pool - pool.sum() / np.float32(max(len(pool), 1))
    spread = np.sqrt(scaled @ scaled / np.float32(max(len(pool), 1)))
    gain = (1 - 0.3) * (scaled / spread if spread > 0 else scaled)
    length = np.maximum(moment.catalogue.category_length[rows], np.float32(1e-9))
    unit = moment.catalogue.categories[rows] / length[:, None]
    cosines, likeness, expected = unit @ unit.T, np.zeros(len(rows), np.float32), []
    for place in range(k):
        best = int((gain - likeness * np.float32(0.3 / max(place, 1))).argmax())
        expected.append(int(rows[best]))
        likeness += cosines[best]
        gain[best] = -np.inf
    assert slate.rows.tolist() == expected
    assert (slate.propensities == 1).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-10, 1e10, 1e20, 1e35])
def test_values_of_any_scale_are_standardised_alike(scale: float) -> None:
    value = np.array([0.3, -1.2, 2.5, 0.31, 0.0], np.float32)
    np.testing.assert_allclose(standardised(value * np.float32(scale)), standardised(value), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("same", [0.0, 1.0, -3e38, 1e-40])
def test_values_that_are_alike_stand_at_zero(same: float) -> None:
    assert standardised(np.full(7, same, np.float32)).tolist() == [0.0] * 7


@pytest.mark.parametrize("diversifier", ["mmr", "dpp"])
@settings(deadline=None)
@given(data=st.data())
def test_a_diversifier_shows_the_same_whether_or_not_others_come_after_it(
    diversifier: str, data: st.DataObject, catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment, value = data.draw(judged(catalogue_of, moment_of))
    alone = OrderParams.model_validate({"diversifier": diversifier, "diversity": 0.5})
    never_full = alone.model_copy(update={"caps": CapParams(per_channel=100)})
    shown = [recommender_of(moment, value, one).recommend(moment.request).rows.tolist() for one in (alone, never_full)]
    assert shown[0] == shown[1]


def test_exploration_is_told_in_the_slate_and_leaves_the_rest_of_it(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = moment_of(catalogue_of([[NEWS], [SPORT]] * 10))
    value = np.arange(20, 0, -1, dtype=np.float32)
    params = OrderParams(diversity=0.3, explore=ExploreParams(slots=1, temperature=5.0))
    plain = recommender_of(moment, value, params.model_copy(update={"explore": ExploreParams()}))
    request = Request(1, NOW, 6, seed=3)
    slate, without = recommender_of(moment, value, params).recommend(request), plain.recommend(request)
    assert slate.rows[:5].tolist() == without.rows[:5].tolist()
    assert slate.rows[5] not in without.rows
    assert slate.propensities[:5].tolist() == [1.0] * 5
    assert 0 < slate.propensities[5] < 1
    assert without.propensities.tolist() == [1.0] * 6
