"""What every recommender has to beat, fitted on the same events and judged in the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nextreel.retrieval import als, item_item
from nextreel.retrieval._arrays import best
from nextreel.types import DAY, UNKNOWN, BoolArray, Events, FloatArray, RowArray

Lists: TypeAlias = Callable[[NDArray[np.int32], float, int], RowArray]  # (user codes, at, k) -> (users, k), -1 padded

EASE_VIDEOS = 6000  # most watched videos that EASE covers: time grows with the cube of their number
NEIGHBOURS = 200  # of the item-item cosine baseline
EASE_L2 = 2000.0
RECENT_DAYS = 7.0
ALS_SEED = 1  # fixed: between seeds recall@10 moves by 2 %, which would blur what the baseline is


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: its name and how it answers."""

    name: str
    lists: Lists


class Histories:
    """The rows of each person, oldest first, as one compressed array."""

    def __init__(self, user: NDArray[np.int32], video: RowArray, n_users: int) -> None:
        order = np.argsort(user, kind="stable")  # stable: events stay oldest first within a person
        self._rows = video[order]
        self._offsets = np.searchsorted(user[order], np.arange(n_users + 1))

    def of(self, user: int) -> RowArray:
        """The rows of one person, with repeats."""
        return self._rows[self._offsets[user] : self._offsets[user + 1]]


def fit_baselines(
    history: Events,
    watched: BoolArray,
    seen: BoolArray,
    train: int,
    eligible: BoolArray,
    *,
    timed: bool,
    seed: int,
) -> Iterator[Baseline]:
    """The baselines, one after another so that the caller can time each and only one is in memory.

    `history` are all events before the test part; `watched` (events,) marks those that say a video was watched and
    `seen` (events,) those after which it is no longer one to recommend. Popularity over all time is that of the first
    `train` events; all others are fitted on the whole history. No list holds a video that the person has seen or that
    is not `eligible` (videos,). Without time stamps there is no popularity of the last days.
    """
    n_users, n_videos = len(history.user_ids), len(eligible)
    user, video = history.user[watched], history.video[watched]
    ones = np.ones(len(user), np.float32)
    liked, hidden = Histories(user, video, n_users), Histories(history.user[seen], history.video[seen], n_users)

    def by(scores: Callable[[int], FloatArray]) -> Lists:
        return lambda users, _, k: ranked(scores, hidden, eligible, users, k)

    def folded(model: als.Als | item_item.ItemItem) -> Lists:
        def scores(who: int) -> FloatArray:
            rows = liked.of(who)
            return model.scores(rows, np.ones(len(rows), np.float32))

        return by(scores)

    def constant(counts: NDArray[np.int64]) -> Lists:
        column = counts.astype(np.float32)
        return by(lambda _: column)

    yield Baseline("random", by(lambda who: np.random.default_rng([seed, who]).random(n_videos, np.float32)))
    early = history.video[:train][watched[:train]]
    yield Baseline("popular", constant(np.bincount(early, minlength=n_videos)))
    if timed:
        recent = watched & (history.at > history.at[-1] - RECENT_DAYS * DAY)
        yield Baseline("popular_7d", constant(np.bincount(history.video[recent], minlength=n_videos)))
    cosine = item_item.ItemItemParams(neighbours=NEIGHBOURS)
    yield Baseline("item_item", folded(item_item.fit_cosine(user, video, ones, n_users, n_videos, cosine)))
    ease = item_item.ItemItemParams(l2=EASE_L2, max_videos=EASE_VIDEOS)
    yield Baseline("ease", folded(item_item.fit_ease(user, video, ones, n_users, n_videos, ease)))
    yield Baseline("als", folded(als.fit(user, video, ones, n_users, n_videos, als.AlsParams(seed=ALS_SEED))))


def ranked(
    scores: Callable[[int], FloatArray],  # user code -> (videos,)
    seen: Histories,
    eligible: BoolArray,
    users: NDArray[np.int32],
    k: int,
) -> RowArray:
    """Each person's k best eligible unseen rows by a column of scores: (users, k), padded with -1."""
    lists = np.full((len(users), k), UNKNOWN, np.int32)
    for place, user in enumerate(users.tolist()):
        column = np.where(eligible, scores(user), np.float32(-np.inf))
        column[seen.of(user)] = -np.inf
        top = best(column, k)
        lists[place, : len(top)] = top
    return lists
