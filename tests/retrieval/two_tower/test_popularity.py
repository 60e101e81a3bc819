"""What is popular, now and at a time gone by, and when somebody asks: how they move what the towers answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from nextreel.retrieval import index as indexes
from nextreel.retrieval.index import IndexParams
from nextreel.retrieval.two_tower import retriever
from nextreel.retrieval.two_tower.retriever import TwoTower
from nextreel.retrieval.two_tower.trends import Snapshots, columns
from nextreel.store import Counters
from nextreel.types import DAY, Request

if TYPE_CHECKING:
    from tests.retrieval.two_tower.conftest import World


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_scores_of_rows_are_those_of_proposals_whatever_the_index_and_however_popular(
    world: World, model: TwoTower, kind: Literal["flat", "hnsw"]
) -> None:
    index = indexes.build(model.vectors, IndexParams(kind=kind))
    served = replace(model, index=index).over(world.played())
    assert served.index.kind == kind
    plain = model.over(world.played())
    for user in (world.person([], user_id=None), world.person([0, 2, 4]), world.person([1, 3])):
        rows, scores = served.retrieve(world.request, user, 12)
        assert served.score(world.request, user, rows) == pytest.approx(scores, abs=1e-5)
        assert (np.diff(scores) <= 0).all()
        assert rows.tolist() == plain.retrieve(world.request, user, 12)[0].tolist()  # nothing better was missed
        assert not set(rows.tolist()) & set(user.history.rows.tolist())


def test_a_list_for_any_time_does_not_depend_on_when_it_is_made_and_others_do(world: World, model: TwoTower) -> None:
    served, user, every = model.over(world.played()), world.person([0, 2, 4]), np.arange(world.videos, dtype=np.int32)
    soon, later = (served.score(Request(7, world.now + wait, anytime=True), user, every) for wait in (1.0, 30 * DAY))
    assert soon == pytest.approx(later)
    soon, later = (served.score(Request(7, world.now + wait), user, every) for wait in (1.0, 30 * DAY))
    assert soon != pytest.approx(later)


def test_what_everybody_plays_now_moves_the_scores_by_the_persons_own_weights(world: World, model: TwoTower) -> None:
    counters = world.played()
    before, after = model.over(Counters(world.videos)), model.over(counters)
    user, every = world.person([0, 2, 4]), np.arange(world.videos, dtype=np.int32)
    weights = model.encode(world.request, user)[world.params.dim :]
    columns_now = columns([counters.share(name) for name in world.params.trends])
    moved = after.score(world.request, user, every) - before.score(world.request, user, every)
    assert moved == pytest.approx(columns_now @ weights, abs=1e-5)


def test_a_play_moves_the_next_request_without_another_pass_of_the_tower(world: World, model: TwoTower) -> None:
    counters = world.played(world.now - DAY / 2)
    served = model.over(counters)
    user, every = world.person([0, 2, 4]), np.arange(world.videos, dtype=np.int32)
    old = served.score(Request(7, world.now), user, every)
    events, weights = world.events, world.weights
    counters.add(replace(events.take(np.arange(50)), video=np.full(50, 9, np.int32)), weights[:50])
    new = served.score(Request(7, world.now), user, every)
    assert new[9] != old[9]
    assert len(served._cache) == 1


def test_towers_without_counters_know_what_was_popular_when_they_were_fitted(
    world: World, model: TwoTower, tmp_path: Path
) -> None:
    events, weights = world.events, world.weights
    counters = Counters(world.videos)
    counters.add(events, weights)
    user, every = world.person([0, 2, 4]), np.arange(world.videos, dtype=np.int32)
    expected = model.over(counters).score(world.request, user, every)
    model.save(tmp_path)
    for one in (model, retriever.load(tmp_path)):
        assert one.score(world.request, user, every) == pytest.approx(expected, abs=2e-3)  # kept in half precision


def test_an_answer_about_a_time_gone_by_knows_nothing_of_what_became_popular_later(
    world: World, model: TwoTower, tmp_path: Path
) -> None:
    events, weights = world.events, world.weights
    before = events.at < np.median(events.at)
    then = float(events.at[before].max()) + 1.0
    counters, user, every = (
        Counters(world.videos),
        world.person([0, 2, 4], now=then),
        np.arange(world.videos, dtype=np.int32),
    )
    request = Request(7, then)
    counters.add(events.take(before), weights[before])
    expected = model.over(counters).score(request, user, every)
    many = np.flatnonzero(~before)  # later everybody plays video 5
    counters.add(replace(events.take(many), video=np.full(len(many), 5, np.int32)), weights[many])
    forgetful = replace(model, past=Snapshots.none(world.videos, len(world.params.trends)))
    now = np.abs(forgetful.over(counters).score(request, user, every) - expected).max()
    model.save(tmp_path)
    for one in (model, retriever.load(tmp_path)):  # a snapshot may lack the last few events before its time
        assert np.abs(one.over(counters).score(request, user, every) - expected).max() < now / 4
