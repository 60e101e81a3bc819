"""The days of one shard of people, one after the other, with exactly as many interactions as were dealt to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nextreel.data.world.memory import Memory
from nextreel.data.world.plan import Plan, Purpose, day_weights, quotas
from nextreel.data.world.reactions import react
from nextreel.data.world.rows import Rows, in_order
from nextreel.data.world.shelf import Shelf
from nextreel.data.world.truth import Truth
from nextreel.data.world.visits import Visits, lists, visits
from nextreel.data.world.words import COUNTRY_CODES, DEVICE_SHARES, DEVICES
from nextreel.types import DAY, NextreelError

_TRIES = 12  # rounds of visits on one day
_AT_FIRST = 8.0  # interactions of one visit, before any is known


def live(plan: Plan, truth: Truth, shard: int, n: int) -> Iterator[Rows]:
    """n interactions of one shard's people, whom alone `truth` holds: one array a day, oldest first.

    What a visit of late evening does after midnight comes with the next day. Raises `NextreelError` where the people
    have seen nearly every video before n interactions are reached.
    """
    life = _Life(plan, truth, shard)
    goals = np.cumsum(quotas(n, day_weights(plan, truth.people.joined, truth.people.activity)))
    later = in_order([])
    done = 0
    for day, goal in enumerate(goals.tolist()):
        end = plan.start + (day + 1) * DAY
        parts = life.day(end - DAY, goal - done)
        done += sum(map(len, parts))
        rows = in_order([later, *parts])
        cut = len(rows) if day == plan.days - 1 else int(np.searchsorted(rows["at"], round(end * 1e3)))
        yield rows[:cut]
        later = rows[cut:]
    if done < n:
        raise NextreelError(
            f"Expected enough users and videos for {plan.interactions:,} interactions, got {plan.users:,} users and "
            f"{plan.videos:,} videos, who have seen nearly everything. Hint: ask for more users or videos."
        )


class _Life:
    def __init__(self, plan: Plan, truth: Truth, shard: int) -> None:
        self.rng = plan.random(Purpose.LIVES, shard)
        self.truth = truth
        self.memory = Memory(len(truth.people), truth.videos)
        self.shelf = Shelf(truth.videos)
        self.first = plan.shards[shard].start
        self.shard, self.shards = shard, len(plan.shards)
        self.requests = 0
        self.rows_a_visit = _AT_FIRST

    def day(self, begin: float, wanted: int) -> list[Rows]:
        """Parts of the day's interactions, together as many as wanted, or fewer where there is nothing left to do."""
        self.shelf.fill(begin + DAY)
        self.memory.today.clear()
        parts: list[Rows] = []
        for _ in range(_TRIES):
            if wanted <= 0 or (parts and not len(parts[-1])):
                break
            came = visits(self.rng, self.truth, self.memory, begin, begin + DAY, self._visits_for(wanted))
            shown = lists(self.rng, self.truth, self.memory, self.shelf, came)
            rows = react(self.rng, self.truth, self.memory, came, shown)
            if len(came.user):
                self.rows_a_visit = max(0.5, 0.5 * self.rows_a_visit + 0.5 * len(rows) / len(came.user))
            rows = in_order([_choose(self.rng, rows, len(came.user), wanted)])
            wanted -= len(rows)
            self.memory.learn(rows)
            parts.append(self._named(rows, came))
        return parts

    def _visits_for(self, rows: int) -> int:
        return int(1.1 * rows / self.rows_a_visit) + 4

    def _named(self, rows: Rows, came: Visits) -> Rows:
        """The rows with requests that no other has, devices and places; people counted over all shards."""
        chosen = np.unique(rows["request"])  # visits, by person and time
        self.memory.interest[came.user[chosen]] = came.interest[chosen]  # of several visits the last one stays
        number = np.zeros(len(came.user), np.int64)
        number[chosen[np.argsort(came.at[chosen], kind="stable")]] = np.arange(len(chosen)) + self.requests
        self.requests += len(chosen)
        rng, people, visit = self.rng, self.truth.people, rows["request"]
        away = rng.random((2, len(came.user))) < np.array([[0.2], [0.03]])
        device = np.where(away[0], rng.choice(len(DEVICES), len(came.user), p=DEVICE_SHARES), people.device[came.user])
        place = np.where(away[1], rng.integers(0, len(COUNTRY_CODES), len(came.user)), people.country[came.user])
        rows["device"], rows["place"] = device[visit], place[visit]
        rows["request"] = number[visit] * self.shards + self.shard
        rows["user"] += self.first
        return rows


def _choose(rng: np.random.Generator, rows: Rows, visits: int, wanted: int) -> Rows:
    """At most so many rows: those of whole visits drawn at random, of the last one its first rows."""
    many = np.bincount(rows["request"], minlength=visits)
    lot = rng.permutation(visits)
    reached = np.cumsum(many[lot])
    last = int(np.searchsorted(reached, wanted))
    if last >= visits:
        return rows
    chosen = np.zeros(visits, np.bool_)
    chosen[lot[: last + 1]] = True
    kept: NDArray[np.bool_] = chosen[rows["request"]]
    cut = np.flatnonzero(rows["request"] == lot[last])
    cut = cut[np.lexsort((rows["kind"][cut], rows["at"][cut]))]
    kept[cut[len(cut) - (int(reached[last]) - wanted) :]] = False
    return rows[kept]
