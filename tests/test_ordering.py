"""The final order on lists whose right order can be said by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nextreel.ordering import OrderParams, by_value, diverse, fresh, orderers
from nextreel.types import DAY, Catalogue, FloatArray, Moment, Orderer, Request

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


@pytest.mark.parametrize("order", [by_value, *orderers(OrderParams(diversity=0.7, freshness=2.0))])
@given(data=st.data())
def test_an_orderer_cannot_invent_or_repeat(
    order: Orderer,
    catalogue_of: Callable[..., Catalogue],
    moment_of: Callable[..., Moment],
    data: st.DataObject,
) -> None:
    n = data.draw(st.integers(0, 12))
    k = data.draw(st.integers(1, 15))
    codes = data.draw(st.lists(st.lists(st.integers(0, 2), max_size=3, unique=True), min_size=n, max_size=n))
    ages = data.draw(st.lists(st.one_of(st.just(np.nan), st.floats(-5, 500)), min_size=n, max_size=n))
    value = data.draw(st.lists(st.floats(-1e6, 1e6, width=32), min_size=n, max_size=n))
    catalogue = catalogue_of(codes, published_at=NOW - np.array(ages, np.float64) * DAY)
    chosen = order(moment_of(catalogue, request=Request(1, NOW)), np.array(value, np.float32), k)
    assert len(chosen.positions) == len(chosen.propensities) == min(k, n)
    assert len(set(chosen.positions.tolist())) == len(chosen.positions)
    assert set(chosen.positions.tolist()) <= set(range(n))
    assert ((chosen.propensities > 0) & (chosen.propensities <= 1)).all()
