"""Promoted places: whose they are, what stands in them, and that all other promises hold around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nextreel.ordering import (
    Arranged,
    CapParams,
    ExploreParams,
    OrderParams,
    PromoteParams,
    Promotion,
    Resumed,
    arrange,
    by_value,
    orderers,
    promotion,
)
from nextreel.types import Catalogue, FloatArray, Moment, NextreelError, Order, Orderer, Request, Trace

NEWS, SPORT = 0, 1


@pytest.fixture(scope="module")
def ten(catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]) -> Moment:
    """Ten candidates, by turns news and sport, best first."""
    return moment_of(catalogue_of([[NEWS], [SPORT]] * 5))


VALUE: FloatArray = np.arange(10, 0, -1, dtype=np.float32)


def of(*rows: int, **params: Any) -> Promotion:
    return Promotion(np.array(rows, np.int32), **params)


def listed(
    moment: Moment,
    promoted: Promotion | None,
    k: int = 5,
    chain: tuple[Orderer, ...] = (),
    proposed: int = 10,
    seed: int = 0,
) -> Arranged:
    asked = replace(moment, request=Request(1, 0.0, k, seed=seed))
    return arrange(asked, VALUE, chain, Trace(), promoted, proposed)


def test_promoted_videos_have_the_declared_places_the_best_first(ten: Moment) -> None:
    found = listed(ten, of(9, 7, fixed=(3, 1)))
    assert found.positions.tolist() == [0, 7, 1, 9, 2]
    assert found.promoted.tolist() == [False, True, False, True, False]
    assert found.propensities.tolist() == [1.0] * 5


def test_a_video_that_would_have_won_a_place_keeps_the_promoted_one_alone(ten: Moment) -> None:
    found = listed(ten, of(0, fixed=(3,)))
    assert found.positions.tolist() == [1, 2, 3, 0, 4]
    assert found.promoted.tolist() == [False, False, False, True, False]


def test_a_promoted_video_without_a_place_may_still_win_one(ten: Moment) -> None:
    found = listed(ten, of(1, 2, 8, fixed=(0, 4), most=1))
    assert found.positions.tolist() == [1, 0, 2, 3, 4]
    assert found.promoted.tolist() == [True, False, False, False, False]


def test_who_was_added_for_promotion_alone_has_no_other_place(ten: Moment) -> None:
    rising = VALUE[::-1].copy()  # the last, whom no source proposed, are worth most
    asked = replace(ten, request=Request(1, 0.0, 5))
    found = arrange(asked, rising, (), Trace(), of(8, 9, fixed=(2,)), proposed=8)
    assert found.positions.tolist() == [7, 6, 9, 5, 4]


def test_what_was_begun_is_gone_on_with_and_never_promoted(ten: Moment) -> None:
    asked = replace(ten, request=Request(1, 0.0, 5))
    begun = Resumed(np.array([9, 8], np.int32), ("continue_watching", "next_episode"))
    found = arrange(asked, VALUE, (), Trace(), of(9, 8, fixed=(0, 1)), 9, begun)
    assert found.positions.tolist() == [8, 9, 0, 1, 2]  # the next episode is a video like any other
    assert found.promoted.tolist() == [True, False, False, False, False]
    assert found.resumed == {1: "continue_watching"}


@pytest.mark.parametrize(
    ("share", "k", "places"), [(0.1, 10, [5]), (0.1, 9, []), (0.3, 10, [2, 5, 7]), (1.0, 3, [0, 1, 2]), (0.5, 1, [])]
)
def test_a_share_of_the_places_is_rounded_down_and_spread(share: float, k: int, places: list[int], ten: Moment) -> None:
    found = listed(ten, of(*range(10), share=share), k)
    assert np.flatnonzero(found.promoted).tolist() == places


def test_places_that_the_list_does_not_have_are_left_out(ten: Moment) -> None:
    promoted = of(8, 9, fixed=(1, 4))
    assert listed(ten, promoted, k=3).positions.tolist() == [0, 8, 1]
    assert listed(ten, promoted, k=1).positions.tolist() == [0]
    few = ten.take(np.array([0, 8, 9]))
    found = arrange(replace(few, request=Request(1, 0.0, 10)), VALUE[[0, 8, 9]], (), Trace(), promoted, 3)
    assert found.positions.tolist() == [0, 1, 2]  # of rows 0, 8 and 9: the list is as long as it would be
    assert found.promoted.tolist() == [False, True, False]


def test_a_list_of_promoted_places_alone_asks_no_orderer(ten: Moment) -> None:
    def never(moment: Moment, value: FloatArray, k: int) -> Order:
        raise AssertionError

    assert listed(ten, of(4, 6, fixed=(0, 1)), 2, (never,)).positions.tolist() == [4, 6]


def test_without_promoted_candidates_the_list_is_as_it_was(ten: Moment) -> None:
    chain = orderers(OrderParams(diversity=0.5))
    for nobody in (of(77, fixed=(0,)), of(share=0.5)):
        assert listed(ten, nobody, chain=chain).positions.tolist() == listed(ten, None, chain=chain).positions.tolist()


def test_caps_neither_bind_nor_count_what_is_promoted(ten: Moment) -> None:
    chain = orderers(OrderParams(diversity=0.0, caps=CapParams(per_category=2)))
    found = listed(ten, of(6, 8, fixed=(0, 1)), k=6, chain=chain)  # two news
    assert found.positions.tolist() == [6, 8, 0, 1, 2, 3]  # and two of each after them


def test_nothing_is_drawn_into_a_promoted_place_and_propensities_are_true(ten: Moment) -> None:
    params = ExploreParams(slots=2, temperature=1.0)
    chain = orderers(OrderParams(diversity=0.0, explore=params))
    asked = 4_000
    drawn: Counter[int] = Counter()
    told: dict[int, float] = {}
    for seed in range(asked):
        found = listed(ten, of(0, 9, fixed=(3, 4)), chain=chain, seed=seed)
        assert found.promoted.tolist() == [False, False, False, True, True]
        assert found.positions[[0, 3, 4]].tolist() == [1, 0, 9]
        assert found.propensities[[0, 3, 4]].tolist() == [1.0] * 3
        first = int(found.positions[1])
        drawn[first] += 1
        told[first] = float(found.propensities[1])
    assert sum(told.values()) == pytest.approx(1.0, abs=1e-5)
    for row, chance in told.items():
        assert abs(drawn[row] - asked * chance) <= 4 * np.sqrt(asked * chance * (1 - chance))


def test_two_draws_one_after_the_other_multiply_their_propensities(ten: Moment) -> None:
    def swapping(moment: Moment, value: FloatArray, k: int) -> Order:
        order = by_value(moment, value, k).positions
        return Order(np.roll(order, 1), np.full(len(order), 0.5, np.float32))

    def halving(moment: Moment, value: FloatArray, k: int) -> Order:
        return Order(by_value(moment, value, k).positions, np.full(min(k, len(value)), 0.25, np.float32))

    assert listed(ten, None, chain=(swapping, halving)).propensities.tolist() == [0.125] * 5


def test_unknown_videos_are_refused_and_withdrawn_ones_are_not(catalogue_of: Callable[..., Catalogue]) -> None:
    catalogue = catalogue_of([[NEWS]] * 3, available=np.array([True, False, True]))
    assert promotion(PromoteParams(), catalogue) is None
    found = promotion(PromoteParams(videos=(102, 101), places=(0,), most=2), catalogue)
    assert found is not None
    assert (found.rows.tolist(), found.fixed, found.most) == ([2, 1], (0,), 2)
    with pytest.raises(NextreelError, match=r"got \['101', 999\].*Hint"):
        promotion(PromoteParams(videos=(100, "101", 999), share=0.1), catalogue)


@pytest.mark.parametrize(
    "changes",
    [
        {"videos": [1]},
        {"videos": [1], "places": [0], "share": 0.1},
        {"videos": [1, 1], "share": 0.1},
        {"videos": [7, "7"], "share": 0.1},
        {"videos": [True], "share": 0.1},
        {"videos": (2, False), "share": 0.1},
        {"videos": [1], "places": [2, 2]},
        {"videos": [1], "places": [-1]},
        {"videos": [1], "share": 1.1},
        {"videos": [1], "share": 0.1, "most": 0},
    ],
)
def test_promotions_that_cannot_be_meant_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OrderParams.model_validate({"promote": changes})


promotions = st.builds(
    lambda rows, places, share, most: of(*rows, fixed=tuple(places), share=share, most=most),
    st.lists(st.integers(0, 12), unique=True, max_size=5),
    st.lists(st.integers(0, 12), unique=True, max_size=3),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([None, 1, 2]),
)


@settings(max_examples=200, deadline=None)
@given(
    promoted=promotions,
    k=st.integers(1, 14),
    proposed=st.integers(1, 10),
    slots=st.integers(0, 3),
    cap=st.sampled_from([None, 1, 2]),
    seed=st.integers(0, 5),
)
def test_whatever_is_promoted_nothing_is_twice_and_the_rest_is_a_list_of_its_own(
    promoted: Promotion, k: int, proposed: int, slots: int, cap: int | None, seed: int, ten: Moment
) -> None:
    chain = orderers(OrderParams(caps=CapParams(per_category=cap), explore=ExploreParams(slots=slots)))
    moment = replace(ten, request=Request(1, 0.0, k, seed=seed))
    added = [row for row in promoted.rows.tolist() if proposed <= row < 10] if k <= proposed else []
    there = np.array([*range(proposed), *added])
    trace = Trace()
    found = arrange(moment.take(there), VALUE[there], chain, trace, promoted, proposed)
    shown = there[found.positions]
    given = shown[found.promoted].tolist()
    assert len(shown) == len(set(shown.tolist())) == min(k, proposed)
    assert set(given) <= set(promoted.rows.tolist())
    assert trace.promoted["shown"] == len(given) <= (promoted.most or len(shown))
    assert given == sorted(given)  # the better ones first
    if promoted.fixed:
        assert set(np.flatnonzero(found.promoted).tolist()) <= set(promoted.fixed)
    else:
        assert len(given) <= promoted.share * k
    assert ((found.propensities > 0) & (found.propensities <= 1)).all()
    others = np.array([row for row in range(proposed) if row not in given], np.intp)
    if len(given) < len(shown):
        alone = replace(moment.take(others), request=replace(moment.request, k=len(shown) - len(given)))
        plain = arrange(alone, VALUE[others], chain, Trace())
        assert shown[~found.promoted].tolist() == others[plain.positions].tolist()
        assert found.propensities[~found.promoted].tolist() == plain.propensities.tolist()
