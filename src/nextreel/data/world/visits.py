"""When people come, with which interest, and the list each visit is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.data.world.memory import Memory
from nextreel.data.world.pairs import is_first
from nextreel.data.world.plan import present
from nextreel.data.world.shelf import Range, Shelf
from nextreel.data.world.truth import INTERESTS, LENGTH, Truth
from nextreel.data.world.words import MAIN_OF
from nextreel.types import BoolArray, TimeArray

_STAY = 0.55  # how often the next visit keeps the interest of the last
_DEEPER = 0.28  # chance that a list ends after each video
_CONTINUED = 0.6  # how often a list begins with the next episode of what the person watched
# Where the videos of a list come from: the visit's interest, its neighbourhood, what is popular, what is new, and
# channels the person subscribed to.
_SOURCES = (0.58, 0.16, 0.17, 0.03, 0.06)

_Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Visits:
    """Visits (m,) by person and time."""

    user: _Places
    at: TimeArray
    interest: _Places  # from 0 to INTERESTS - 1


@dataclass(frozen=True, slots=True)
class Shown:
    """Videos shown (n,), by visit and place in the list."""

    visit: _Places
    position: _Places
    user: _Places
    video: _Places
    continues: BoolArray  # the episode after one that the person watched


def visits(rng: np.random.Generator, truth: Truth, memory: Memory, begin: float, end: float, n: int) -> Visits:
    """About n visits between two times of one day; none where nobody has joined yet."""
    people = truth.people
    total = np.cumsum(people.activity * present(people.joined, begin, end))
    if total[-1] <= 0:
        n = 0
    user = np.searchsorted(total, rng.random(n) * total[-1], side="right")
    earliest = np.maximum(people.joined[user], begin)
    latest = np.maximum(min(end, truth.span[1] - 1_800), earliest)
    at = earliest + rng.random(n) * (latest - earliest)
    evening = begin + np.mod(rng.normal(20.0, 3.5, n), 24.0) * 3_600
    late = (rng.random(n) < 0.7) & (evening >= earliest) & (evening <= latest)
    at = np.where(late, evening, at)
    order = np.lexsort((at, user))
    user, at = user[order], at[order]
    total_share = np.cumsum(truth.shares(user, at), axis=1)
    drawn = (rng.random(n)[:, None] * total_share[:, -1:] >= total_share).sum(axis=1)
    drawn = np.minimum(drawn, INTERESTS - 1)
    # row -1 of each person: the interest of the last visit of an earlier day
    first = np.diff(user, prepend=-1) != 0
    stays = rng.random(n) < _STAY
    drawn = np.where(first & stays & (memory.interest[user] >= 0), memory.interest[user], drawn)
    source = np.maximum.accumulate(np.where(first | ~stays, np.arange(n), 0)) if n else np.arange(0)
    return Visits(user, at, drawn[source].astype(np.int64))


def lists(rng: np.random.Generator, truth: Truth, memory: Memory, shelf: Shelf, came: Visits) -> Shown:
    """What each visit is shown: nothing the person watched, was shown today, or that is of a channel they blocked."""
    depth = np.minimum(rng.geometric(_DEEPER, len(came.user)), LENGTH)
    many = depth + 2  # some are dropped
    visit = np.repeat(np.arange(len(depth)), many)
    place = np.arange(len(visit)) - np.repeat(np.cumsum(many) - many, many)
    user, at = came.user[visit], came.at[visit]
    video = shelf.draw(rng, _ranges(rng, truth, memory, shelf, came, visit), at)
    episode = memory.episode[user]
    out = (episode >= 0) & (truth.videos.published[episode] <= at)
    video = np.where((place == 0) & out & (rng.random(len(place)) < _CONTINUED), episode, video)
    kept = np.flatnonzero(video >= 0)
    kept = kept[~memory.forbidden(user[kept], video[kept])]
    kept = kept[is_first(memory.watched.key(user[kept], video[kept]))]
    visit = visit[kept]
    position = np.arange(len(visit)) - np.searchsorted(visit, visit)
    short = position < depth[visit]
    kept = kept[short]
    return Shown(visit[short], position[short], user[kept], video[kept], video[kept] == episode[kept])


def _ranges(
    rng: np.random.Generator, truth: Truth, memory: Memory, shelf: Shelf, came: Visits, visit: _Places
) -> Range:
    """Where the video of each place (n,) is drawn from."""
    n = len(visit)
    child = truth.people.interest_child[came.user, came.interest].astype(np.int64)
    channel = memory.a_subscription(rng, came.user[visit])
    source = np.searchsorted(np.cumsum(_SOURCES[:-1]), rng.random(n), side="right")
    source = np.where((source == 4) & (channel < 0), 0, source)
    of: list[tuple[Any, Range]] = [
        (source == 0, shelf.of_child(child[visit])),
        (source == 1, shelf.of_main(np.array(MAIN_OF)[child][visit])),
        (source == 2, shelf.of_all(n)),
        (source == 3, shelf.new(came.at[visit])),
        (source == 4, shelf.of_channel(np.maximum(channel, 0))),
    ]
    masks = [mask for mask, _ in of]
    return Range(np.select(masks, [one.low for _, one in of]), np.select(masks, [one.high for _, one in of]))
