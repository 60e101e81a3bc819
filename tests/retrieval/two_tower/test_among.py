"""Towers over an index that changed since: as if they had been built over the vectors that there are now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from nextreel.retrieval import index as indexes
from nextreel.retrieval.index import IndexParams
from nextreel.retrieval.live_index import LiveIndex
from nextreel.retrieval.similar import similar
from nextreel.retrieval.two_tower.retriever import TwoTower
from nextreel.retrieval.two_tower.trends import Snapshots

if TYPE_CHECKING:
    from tests.retrieval.two_tower.conftest import World

LATER = 10  # videos that came later
SWAPPED = np.array([3, 4])  # that changed their vectors
GONE = 8


def both(model: TwoTower, world: World, kind: Literal["flat", "hnsw"]) -> tuple[TwoTower, TwoTower]:
    """Towers with later vectors beside their index, and towers whose exact index was built over all of them."""
    n = world.videos - LATER
    vectors = np.array(model.vectors)
    base = indexes.build(vectors[:n], IndexParams(kind=kind, search_width=0 if kind == "flat" else world.videos))
    live = LiveIndex(base)
    live.add(vectors[n:])
    live.update(SWAPPED, vectors[SWAPPED[::-1]])
    live.remove(np.array([GONE]))
    vectors[SWAPPED] = vectors[SWAPPED[::-1]]
    whole = replace(model, index=indexes.build(vectors, IndexParams(kind="flat")))
    assert model.past is not None
    short = Snapshots(model.past.at, model.past.values[:, :n])
    counters = world.played()
    return replace(model, index=base, past=short).among(live.view).over(counters), whole.over(counters)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_towers_with_vectors_beside_their_index_answer_as_towers_over_all_of_them(
    world: World, model: TwoTower, kind: Literal["flat", "hnsw"]
) -> None:
    beside, whole = both(model, world, kind)
    everything = np.arange(world.videos, dtype=np.int32)
    assert len(beside) == len(whole) == world.videos
    np.testing.assert_array_equal(beside.vectors, whole.vectors)
    for history in ([], [0, 2, 3, 4], [1, world.videos - 1, world.videos - 3]):
        person = world.person(history)
        scores = whole.score(world.request, person, everything)
        np.testing.assert_allclose(beside.score(world.request, person, everything), scores, rtol=1e-5, atol=1e-6)
        rows, found = beside.retrieve(world.request, person, world.videos)
        expected = whole.retrieve(world.request, person, world.videos)[0]
        if kind == "flat":
            np.testing.assert_allclose(scores[rows], scores[expected[expected != GONE]], rtol=1e-5, atol=1e-6)
        else:
            assert set(rows.tolist()) >= set(expected[expected != GONE][:20].tolist())
        assert GONE not in rows  # however popular it is
        np.testing.assert_allclose(found, scores[rows], rtol=1e-5, atol=1e-6)
        assert not set(rows.tolist()) & set(history)
    rows, cosines = beside.similar(world.videos - 1, 5)
    np.testing.assert_allclose(cosines, (whole.vectors @ whole.vectors[-1])[rows], rtol=1e-5)
    assert GONE not in beside.similar(GONE, world.videos)[0]


def test_what_came_later_was_not_popular_in_the_past(world: World, model: TwoTower) -> None:
    beside, _ = both(model, world, "flat")
    assert beside.trends is not None
    assert model.past is not None
    long_ago = float(model.past.at[1]) + 1.0
    columns = beside.trends(long_ago)
    assert len(columns) == world.videos
    assert not columns[-LATER:].any()
    np.testing.assert_array_equal(columns[:-LATER], model.past.of(long_ago)[:-LATER])


def test_towers_keep_what_runs_their_graphs(world: World, model: TwoTower) -> None:
    beside, _ = both(model, world, "flat")
    session = beside._user_session
    assert beside.over(world.played())._user_session is session
    assert beside.among(LiveIndex(model.index).view)._user_session is session


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_what_is_near_is_found_among_later_videos_too(
    world: World, model: TwoTower, kind: Literal["flat", "hnsw"]
) -> None:
    beside, whole = both(model, world, kind)
    person = world.person([0, world.videos - 1])
    near, exact = similar(beside.space), similar(whole.space)
    everything = np.arange(world.videos, dtype=np.int32)
    scores = exact.score(world.request, person, everything)
    np.testing.assert_allclose(near.score(world.request, person, everything), scores, rtol=1e-5, atol=1e-6)
    rows, found = near.retrieve(world.request, person, 10)
    expected = [row for row in exact.retrieve(world.request, person, 11)[0].tolist() if row != GONE][:10]
    np.testing.assert_allclose(found, scores[expected], rtol=1e-5, atol=1e-6)
    assert GONE not in rows
