"""How a world is cut: nothing is left out, nothing twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextreel.data.world.plan import Plan, day_weights, quotas
from nextreel.types import DAY

sizes = st.integers(1, 3_000_000)


@given(users=sizes, interactions=st.integers(1, 200_000_000), days=st.integers(1, 400))
def test_every_person_is_in_one_shard_and_every_moment_in_one_part(users: int, interactions: int, days: int) -> None:
    plan = Plan(users=users, interactions=interactions, days=days)
    bounds = [one.start for one in plan.shards] + [users]
    assert bounds[0] == 0
    assert (np.diff(bounds) > 0).all()
    assert max(np.diff(bounds)) <= 50_001
    ends = plan.part_ends
    assert ends[-1] == plan.end
    assert (np.diff(ends, prepend=plan.start) > 0).all()
    assert interactions / len(ends) <= 3_000_000


@given(n=st.integers(0, 10**9), weights=st.lists(st.floats(0, 1e6), min_size=1).filter(lambda one: sum(one) > 1e-9))
def test_what_is_dealt_out_is_whole_and_adds_up(n: int, weights: list[float]) -> None:
    dealt = quotas(n, np.array(weights))
    assert dealt.sum() == n
    assert (dealt >= 0).all()


def test_who_has_not_joined_does_nothing_and_weekends_are_busier() -> None:
    plan = Plan(days=14)
    joined = np.array([plan.start + 7 * DAY])
    weights = day_weights(plan, joined, np.array([2.0]))
    assert (weights[:7] == 0).all()
    assert sorted(weights[7:].tolist()) == [2.0] * 5 + [2.5] * 2
