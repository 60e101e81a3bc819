"""Exploration: which places are drawn, from whom, and how likely each draw was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nextreel.ordering import CapParams, ExploreParams, OrderParams, arrange, explore, orderers
from nextreel.store import Counters
from nextreel.types import UNKNOWN, Catalogue, FloatArray, Moment, Order, Request, Trace, UserId

SEEDS = 20_000
VALUE: FloatArray = np.array([9, 8, 7, 1.0, 0.5, 0.0, -1.0], np.float32)  # shown three, four are left to draw from


@pytest.fixture(scope="module")
def seven(catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]) -> Moment:
    return moment_of(catalogue_of([[0]] * 7))


def drawn(moment: Moment, params: ExploreParams, k: int = 3) -> Iterator[Order]:
    """The order for each of many seeds."""
    order = explore(params)
    for seed in range(SEEDS):
        yield order(replace(moment, request=Request(1, 0.0, k, seed=seed)), VALUE, k)


def test_propensities_are_the_frequencies_of_what_is_drawn(seven: Moment) -> None:
    temperature = 0.8
    scaled = (VALUE - VALUE.mean()) / VALUE.std()
    weights = {row: float(np.exp(scaled[row] / temperature)) for row in (3, 4, 5, 6)}
    orders = list(drawn(seven, ExploreParams(slots=2, temperature=temperature)))
    told = np.array([order.propensities for order in orders])
    lists = np.array([order.positions for order in orders])
    weight = np.array([weights.get(row, 0.0) for row in range(7)])
    assert (lists[:, 0] == 0).all()
    assert (told[:, 0] == 1).all()
    np.testing.assert_allclose(told[:, 1], weight[lists[:, 1]] / weight.sum(), rtol=1e-5)
    np.testing.assert_allclose(told[:, 2], weight[lists[:, 2]] / (weight.sum() - weight[lists[:, 1]]), rtol=1e-5)
    pairs: Counter[tuple[int, int]] = Counter(zip(lists[:, 1].tolist(), lists[:, 2].tolist(), strict=True))
    firsts = Counter(one for one, _ in pairs.elements())
    for one, two in permutations(weights, 2):
        first = weights[one] / sum(weights.values())
        second = weights[two] / (sum(weights.values()) - weights[one])
        assert abs(firsts[one] - SEEDS * first) <= 3 * np.sqrt(SEEDS * first * (1 - first))
        # given the first draw, and of both together
        assert abs(pairs[one, two] - firsts[one] * second) <= 3 * np.sqrt(firsts[one] * second * (1 - second))
        both = first * second
        assert abs(pairs[one, two] - SEEDS * both) <= 3 * np.sqrt(SEEDS * both * (1 - both))


@pytest.mark.parametrize("user_id", [1, "1", None, np.int64(1)])
def test_the_same_request_is_given_the_same_draw(user_id: UserId | None, seven: Moment) -> None:
    order, request = explore(ExploreParams(slots=2, temperature=5.0)), Request(user_id, 0.0, 3, seed=-4)
    one, two = (order(replace(seven, request=request), VALUE, 3) for _ in range(2))
    assert one.positions.tolist() == two.positions.tolist()
    assert one.propensities.tolist() == two.propensities.tolist()


def test_people_and_seeds_are_given_draws_of_their_own(seven: Moment) -> None:
    order = explore(ExploreParams(slots=2, temperature=5.0))

    def draws(*requests: Request) -> list[tuple[int, ...]]:
        return [tuple(order(replace(seven, request=one), VALUE, 3).positions.tolist()) for one in requests]

    assert len(set(draws(*(Request(user, 0.0, seed=1) for user in range(50))))) > 6  # of twelve pairs
    assert len(set(draws(*(Request(1, 0.0, seed=seed) for seed in range(50))))) > 6
    numbers, texts = (draws(*(Request(kind(user), 0.0) for user in range(20))) for kind in (int, str))
    assert numbers != texts
    same = draws(*(Request(kind(7), 0.0) for kind in (int, np.int64)))  # type: ignore[arg-type]  # read from arrays
    assert same[0] == same[1]


def test_declared_places_are_drawn_and_the_best_keep_their_order_in_the_others(seven: Moment) -> None:
    order = explore(ExploreParams(slots=2, places=(2, 0)))(seven, VALUE, 4)
    assert order.positions[[1, 3]].tolist() == [0, 1]
    assert set(order.positions[[0, 2]].tolist()) <= {4, 5, 6}
    assert (order.propensities[[0, 2]] < 1).all()
    assert order.propensities[[1, 3]].tolist() == [1.0, 1.0]


def test_places_that_the_list_does_not_have_are_not_drawn(seven: Moment) -> None:
    order = explore(ExploreParams(slots=2, places=(1, 8)))(seven, VALUE, 3)
    assert order.positions[[0, 2]].tolist() == [0, 1]
    assert order.propensities[[0, 2]].tolist() == [1.0, 1.0]


def test_nobody_below_the_best_leaves_the_order_as_it_is(seven: Moment) -> None:
    for k in (7, 10):
        order = explore(ExploreParams(slots=2))(seven, VALUE, k)
        assert order.positions.tolist() == list(range(7))
        assert order.propensities.tolist() == [1.0] * 7
    one_below = explore(ExploreParams(slots=3))(seven, VALUE, 6)
    assert one_below.positions.tolist() == [0, 1, 2, 3, 4, 6]  # one place alone can be drawn, with one candidate
    assert one_below.propensities.tolist() == [1.0] * 6


def test_with_little_temperature_the_best_below_is_drawn_and_with_much_all_alike(seven: Moment) -> None:
    cold = explore(ExploreParams(slots=1, temperature=1e-3))(seven, VALUE, 3)
    assert cold.positions.tolist() == [0, 1, 3]
    assert cold.propensities.tolist() == [1.0, 1.0, 1.0]
    hot = explore(ExploreParams(slots=1, temperature=1e6))(seven, VALUE, 3)
    assert hot.propensities[2] == pytest.approx(0.25, abs=1e-5)


def test_no_slots_change_nothing(seven: Moment) -> None:
    order = explore(ExploreParams())(seven, VALUE, 5)
    assert order.positions.tolist() == [0, 1, 2, 3, 4]
    assert order.propensities.tolist() == [1.0] * 5


@pytest.mark.parametrize(
    "changes",
    [{"slots": 1, "places": (1, 2)}, {"slots": 2, "places": (1, 1)}, {"slots": 1, "places": (-1,)}, {"temperature": 0}],
)
def test_places_that_cannot_be_meant_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"places|temperature"):
        ExploreParams.model_validate(changes)


def test_what_is_played_half_as_often_is_drawn_twice_as_often(seven: Moment) -> None:
    counters = Counters(7)
    counters.plays[:] = [0, 0, 0, 1, 3, 7, 15]
    moment = replace(seven, counters=counters)
    chances: dict[int, float] = {}
    for seed in range(60):
        asked = replace(moment, request=Request(1, 0.0, 3, seed=seed))
        order = explore(ExploreParams(slots=1, temperature=1e6, novelty=1.0))(asked, VALUE, 3)
        chances[int(order.positions[2])] = float(order.propensities[2])
    assert set(chances) == {3, 4, 5, 6}
    for row, weight in ((3, 8), (4, 4), (5, 2), (6, 1)):
        assert chances[row] == pytest.approx(weight / 15, abs=1e-5)


def test_who_would_break_a_cap_is_not_drawn_and_propensities_are_of_those_left(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    channel = np.array([0, 1, 2, 0, 3, 3, 1], np.int32)  # below the three best: of 0 and 1 there is one already
    moment = moment_of(catalogue_of([[0]] * 7, channel=channel))
    order = explore(ExploreParams(slots=2), CapParams(per_channel=1))
    logits = (VALUE - VALUE.mean()) / VALUE.std()
    seen: Counter[tuple[int, int]] = Counter()
    for seed in range(4_000):
        found = order(replace(moment, request=Request(1, 0.0, 3, seed=seed)), VALUE, 3)
        first, second = (int(one) for one in found.positions[1:])
        seen[first, second] += 1
        # the place of the second best is drawn for: its channel is free, that of the third is not yet
        chance = np.exp(logits[first]) / np.exp(logits[[4, 5, 6]]).sum()
        assert found.propensities[1] == pytest.approx(chance, rel=1e-4)
        assert len({int(channel[row]) for row in found.positions}) == 3
    assert {first for first, _ in seen} == {4, 5, 6}
    total = np.exp(logits[[4, 5, 6]]).sum()
    for row in (4, 5, 6):
        expected = float(np.exp(logits[row]) / total)
        many = sum(count for (first, _), count in seen.items() if first == row)
        assert abs(many - 4_000 * expected) <= 4 * np.sqrt(4_000 * expected * (1 - expected))


def test_where_nobody_fits_the_best_keep_the_place(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment]
) -> None:
    moment = moment_of(catalogue_of([[0]] * 7, channel=np.array([0, 1, 2, 0, 0, 0, 0], np.int32)))
    order = explore(ExploreParams(slots=2), CapParams(per_channel=1))(moment, VALUE, 3)
    assert order.positions.tolist() == [0, 1, 2]
    assert order.propensities.tolist() == [1.0] * 3


def broken(codes: list[int], cap: int, window: int) -> int:
    """Windows of so many places in which some kind is more often than the cap allows."""
    parts = [codes[first : first + window] for first in range(max(len(codes) - window, 0) + 1)]
    return sum(any(many > cap for code, many in Counter(part).items() if code != UNKNOWN) for part in parts)


@settings(max_examples=300, deadline=None)
@given(
    channels=st.lists(st.integers(-1, 4), min_size=1, max_size=14),
    k=st.integers(1, 8),
    cap=st.integers(1, 3),
    window=st.sampled_from([None, 2, 3, 5]),
    slots=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_exploration_breaks_no_cap_that_the_list_kept(
    channels: list[int],
    k: int,
    cap: int,
    window: int | None,
    slots: int,
    seed: int,
    catalogue_of: Callable[..., Catalogue],
    moment_of: Callable[..., Moment],
) -> None:
    request = Request(1, 0.0, k, seed=seed)
    channel = np.array(channels, np.int32)
    moment = moment_of(catalogue_of([[0]] * len(channels), channel=channel), request=request)
    value = np.arange(len(channels), 0, -1, dtype=np.float32)
    plain = OrderParams(diversity=0.0, caps=CapParams(per_channel=cap, window=window))
    explored = plain.model_copy(update={"explore": ExploreParams(slots=slots, temperature=5.0)})
    before, after = (arrange(moment, value, orderers(params), Trace()) for params in (plain, explored))
    counts = [broken(channel[found.positions].tolist(), cap, window or k) for found in (before, after)]
    assert counts[1] <= counts[0]
    assert len(set(after.positions.tolist())) == len(before.positions)
    drawn = after.propensities < 1
    assert not set(after.positions[drawn].tolist()) & set(before.positions.tolist())
