"""Where good videos are won and lost, in a world of two sources whose proposals are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nextreel.evaluation import stages, trials
from nextreel.evaluation.asking import ask
from nextreel.evaluation.baselines import Fixed
from nextreel.evaluation.rows import Row
from nextreel.evaluation.stages import Stages
from nextreel.filters import FILTERS
from nextreel.pipeline import Recommender, Source
from nextreel.relevance import Relevance
from nextreel.retrieval.popular import Popular
from nextreel.store import MemoryStore
from nextreel.types import Catalogue, Events, FloatArray, Request, RowArray, UserState

Grade = Callable[[Events], FloatArray]
EventsOf = Callable[..., Events]
VIDEOS = 60
ROWS = [
    Row("fused", "stage", {"ndcg@10": 0.1}, 0.0),
    Row("ranked", "stage", {"ndcg@10": 0.2}, 0.0),
    Row("nextreel", "pipeline", {"ndcg@10": 0.3}, 0.0),
]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "CANDIDATES", 40)  # asked with k = 10


class Down(Fixed):
    """A source that does not answer."""

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        raise ConnectionError("down")


def source(name: str, first: int, last: int, quota: int) -> Source:
    """Proposes the videos from first to last, all with one score, and others only after them."""
    column = np.zeros(VIDEOS, np.float32)
    column[first : last + 1] = 1.0
    return Source(Fixed(name, column), quota)


def world(catalogue_of: Callable[..., Catalogue], *sources: Source) -> tuple[Recommender, MemoryStore]:
    available = np.ones(VIDEOS, np.bool_)
    available[25] = False
    catalogue = catalogue_of([[0]] * VIDEOS, available=available)
    store = MemoryStore(catalogue, Relevance())
    fallback = Popular(store.counters, "all")
    return Recommender(catalogue, store, sources, FILTERS, (), None, (), VIDEOS, fallback), store


def test_what_each_stage_kept_and_lost_is_that_counted_by_hand(
    catalogue_of: Callable[..., Catalogue], events_of: EventsOf, watches: Grade
) -> None:
    # two people with a history of video 59; then one newly watches 3 12 16 25 50 and the other 2 11
    lines = [(0, 59), (1, 59)] * 31 + [(0, row) for row in (3, 12, 16, 25, 50)] + [(1, 2), (1, 11)]
    trial = trials.frozen(events_of(lines), watches, VIDEOS)
    assert len(trial.truth.rows) == 7
    # a proposes 0 to 13; b proposes 10 to 20, which have the same score as 21 to 30
    recommender, store = world(catalogue_of, source("a", 0, 20, 14), source("b", 10, 30, 11))
    found = Stages(trial)
    ask(trial, store, {"nextreel": recommender}, 10, watch=found.watch(recommender))
    result = found.found(ROWS)
    assert result.candidates == 21  # rows 0 to 20
    assert result.recall == pytest.approx((3 / 5 + 2 / 2) / 2)
    a, b = result.sources
    assert (a.name, a.proposed, b.name, b.proposed) == ("a", 14, "b", 11)
    assert a.recall == pytest.approx((2 / 5 + 2 / 2) / 2)  # 3 12, and 2 11
    assert a.unique == pytest.approx((1 / 5 + 1 / 2) / 2)  # 3, and 2
    assert b.recall == pytest.approx((2 / 5 + 1 / 2) / 2)  # 12 16, and 11
    assert b.unique == pytest.approx((1 / 5 + 0) / 2)  # 16
    assert {name: many for name, many in result.lost.items() if many} == {"is_available": 1}  # 25
    assert set(result.lost) == {keep.__name__ for keep in FILTERS}
    assert result.truths == 7
    assert (result.fused, result.ranked, result.final) == (0.1, 0.2, 0.3)


def test_no_more_candidates_count_than_said(
    catalogue_of: Callable[..., Catalogue], events_of: EventsOf, watches: Grade
) -> None:
    lines = [(0, 59), (1, 59)] * 18 + [(0, 1), (0, 58), (1, 1), (1, 58)]
    trial = trials.frozen(events_of(lines), watches, VIDEOS)
    # both know a best video; together they propose 57
    first = np.linspace(1, 0, VIDEOS, dtype=np.float32)
    sources = Source(Fixed("a", first), 30), Source(Fixed("b", first[::-1].copy()), 30)
    recommender, store = world(catalogue_of, *sources)
    found = Stages(trial)
    ask(trial, store, {}, 10, watch=found.watch(recommender))
    result = found.found(ROWS)
    assert result.candidates == 40
    assert result.recall == 1.0
    assert sum(one.proposed for one in result.sources) == 40


def test_live_stages_see_what_was_known_at_each_request(
    catalogue_of: Callable[..., Catalogue], events_of: EventsOf, watches: Grade
) -> None:
    lines = [(0, 59), (1, 59)] * 9 + [(0, 3), (0, 14)]
    trial = trials.live(events_of(lines), watches, VIDEOS)
    recommender, store = world(catalogue_of, source("a", 0, 20, 14))
    found = Stages(trial)
    ask(trial, store, {}, 10, watch=found.watch(recommender))
    result = found.found(ROWS)
    assert trial.after.tolist() == [18, 19]
    assert result.recall == 1.0  # once 3 is watched, 14 moves up into what is proposed
    assert result.sources[0].unique == 1.0


def test_a_source_that_fails_is_no_result(
    catalogue_of: Callable[..., Catalogue], events_of: EventsOf, watches: Grade
) -> None:
    trial = trials.frozen(events_of([(0, 59)] * 18 + [(0, 3)] * 2), watches, VIDEOS)
    recommender, store = world(catalogue_of, source("a", 0, 20, 14))
    recommender = replace(
        recommender, sources=(*recommender.sources, Source(Down("b", np.ones(VIDEOS, np.float32)), 9))
    )
    with pytest.raises(trials.EvaluationError, match=r"request 0 failed.*down"):
        ask(trial, store, {}, 10, watch=Stages(trial).watch(recommender))
