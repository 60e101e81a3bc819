"""What every recommender has to beat, fitted on the same events and asked in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np

from nextreel.evaluation.trials import Trial
from nextreel.filters import FilterParams, chosen
from nextreel.pipeline import Recommender, Source, Store
from nextreel.resuming import ResumeParams
from nextreel.retrieval import als, item_item
from nextreel.retrieval._arrays import best, outside, unseen
from nextreel.retrieval.popular import Popular
from nextreel.retrieval.transitions import fit_transitions
from nextreel.store import Counters
from nextreel.types import DAY, BoolArray, Catalogue, FloatArray, Moment, Request, Retriever, RowArray, UserState

EASE_VIDEOS = 6000  # most watched videos that EASE covers: time grows with the cube of their number
NEIGHBOURS = 200  # of the item-item cosine baseline
EASE_L2 = 2000.0
RECENT = 7 * DAY
ALS_SEED = 1  # fixed: between seeds recall@10 moves by 2 %, which would blur what the baseline is


class Fixed:
    """The same score for everybody at any time."""

    def __init__(self, name: str, column: FloatArray) -> None:
        self.name = name
        self._column = column
        self._order = best(column, len(column))

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """The n rows outside the history with the largest score; ties by row."""
        rows = outside(self._order[: n + len(user.history)], user, n, len(self._column))
        return rows, self._column[rows]

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The score of each row."""
        return self._column[rows]


class Now(Popular):
    """What is watched most in the seven days before the newest event that is known at a request."""

    def __init__(self, counters: Counters) -> None:
        super().__init__(counters, "7d")
        self.name = "popular_now"


class Random:
    """Another random order of the catalogue for every seed of a request."""

    def __init__(self, videos: int, seed: int) -> None:
        self.name = "random"
        self._videos, self._seed = videos, seed

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """The n rows outside the history with the largest random score."""
        return unseen(self._scores(request), user, n)

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The same random score of each row."""
        return self._scores(request)[rows]

    def _scores(self, request: Request) -> FloatArray:
        return np.random.default_rng([self._seed, request.seed]).random(self._videos, np.float32)


def baselines(
    trial: Trial, catalogue: Catalogue, store: Store, k: int, *, timed: bool, seed: int
) -> Iterator[tuple[Recommender, float]]:
    """The baselines over the store, each with the seconds of its fit.

    Popularity over all time is that of the training part; the others are fitted on the whole history, in which each
    event of positive relevance counts 1: popular_7d on its last seven days. Where the state moves on there is
    popular_now beside it, which counts the seven days before each request. No list holds a video without an event in
    the data. Without time stamps there is no popularity of the last days.
    """
    history = trial.history
    user, video = history.user[trial.watched], history.video[trial.watched]
    columns = (user, video, np.ones(len(user), np.float32), len(history.user_ids), len(catalogue))

    def counted(name: str, chosen: BoolArray) -> Retriever:
        return Fixed(name, np.bincount(history.video[chosen], minlength=len(catalogue)).astype(np.float32))

    def neighbours() -> Retriever:
        return item_item.fit_cosine(*columns, item_item.ItemItemParams(neighbours=NEIGHBOURS))

    def ease() -> Retriever:
        return item_item.fit_ease(*columns, item_item.ItemItemParams(l2=EASE_L2, max_videos=EASE_VIDEOS))

    fits: list[Callable[[], Retriever]] = [
        lambda: Random(len(catalogue), seed),
        lambda: counted("popular", trial.watched & trial.train),
        *([lambda: counted("popular_7d", trial.watched & (history.at > history.at[-1] - RECENT))] if timed else []),
        *([lambda: Now(store.counters)] if timed and trial.protocol != "frozen" else []),
        neighbours,
        ease,
        lambda: als.fit(*columns, als.AlsParams(seed=ALS_SEED)),
        lambda: fit_transitions(*columns),
    ]
    for fit in fits:
        started = perf_counter()
        retriever = fit()
        yield alone(retriever, catalogue, store, trial.videos, k, timed=timed), perf_counter() - started


def alone(
    retriever: Retriever, catalogue: Catalogue, store: Store, videos: BoolArray, k: int, *, timed: bool
) -> Recommender:
    """The recommender of one source, with the filters of a real one and of `videos` (catalogue,) only."""

    def has_events(moment: Moment) -> BoolArray:
        return videos[moment.rows]

    return Recommender(
        catalogue=catalogue,
        store=store,
        sources=[Source(retriever, k)],
        filters=(*chosen(FilterParams(), ResumeParams(places=0), timed=timed), has_events),
        features=(),
        ranker=None,
        orderers=(),
        ranked=k,
        fallback=Popular(store.counters, "all"),
    )
