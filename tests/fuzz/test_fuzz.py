"""A part of what `make fuzz` plays, and that its referee notices what breaks a promise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from tests.fuzz.play import PER_WORLD, Break, play, play_world
from tests.fuzz.referee import Violation

from nextreel.filters import FILTERS
from nextreel.history import History
from nextreel.pipeline import Recommender, Store
from nextreel.store.counters import Counters
from nextreel.types import BoolArray, FloatArray, Moment, Order, UserId, UserState

WORLDS = 5
ENOUGH = 1_000  # slates in which a defect shows


@pytest.mark.parametrize("number", range(WORLDS))
def test_no_list_breaks_a_promise(number: int) -> None:
    counted = play_world(1, number, PER_WORLD)
    assert counted["slates"] == PER_WORLD
    assert {"level full", "level unranked", "level trending", "events", "promoted places", "places drawn"} <= set(
        counted
    )


def test_the_same_seed_plays_the_same() -> None:
    assert play(100, 5) == play(100, 5) != play(100, 6)


@pytest.mark.parametrize("left_out", [keep.__name__ for keep in FILTERS])
def test_a_recommender_without_any_one_of_its_filters_is_caught(left_out: str) -> None:
    def without(recommender: Recommender) -> Recommender:
        return replace(recommender, filters=[one for one in recommender.filters if one.__name__ != left_out])

    # who goes on with a series may be sent to another episode
    told = f"nothing that {left_out} removes|removed by .*{left_out}|begins with"
    with pytest.raises(Violation, match=told):
        play(2 * ENOUGH, 2, spoil=without)


@dataclass
class Forgetful:
    """A store that forgets what people did."""

    of: Store

    @property
    def counters(self) -> Counters:
        return self.of.counters

    def user(self, user_id: UserId | None) -> UserState:
        return replace(self.of.user(user_id), history=History())


def half_of_many(moment: Moment) -> BoolArray:
    return np.asarray((moment.rows % 2 == 0) | (len(moment) == 1))


def ordered(order: Order) -> Break:
    """A recommender whose last orderer answers so, whatever it is given."""

    def spoil(recommender: Recommender) -> Recommender:
        def by_mistake(moment: Moment, value: FloatArray, k: int) -> Order:
            k = min(k, len(moment))
            return Order(order.positions[:k], order.propensities[:k])

        return replace(recommender, orderers=(*recommender.orderers, by_mistake))

    return spoil


EVERYONE = np.arange(5000)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (ordered(Order(EVERYONE // 2, np.ones(5000, np.float32))), "none comes twice"),
        (lambda one: replace(one, filters=(*one.filters, half_of_many)), "eligible videos, or all of these"),
        (ordered(Order(EVERYONE, np.zeros(5000, np.float32))), "propensities above 0"),
        (ordered(Order(EVERYONE, np.full(5000, 1.5, np.float32))), "propensities above 0"),
        (lambda one: replace(one, promotion=None), "promoted"),
        (lambda one: replace(one, store=Forgetful(one.store)), "not_watched"),
        (lambda one: replace(one, value=lambda scores: scores[:, 0] * np.nan), "an answer from the rung full"),
    ],
)
def test_what_breaks_a_promise_is_caught(spoil: Break, told: str) -> None:
    with pytest.raises(Violation, match=told):
        play(ENOUGH, 3, spoil=spoil)
