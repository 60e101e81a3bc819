"""One query for each interest, on interests that are far apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from nextreel.retrieval import index as indexes
from nextreel.retrieval.multi_query import MultiQueryParams, interests, multi_query, ward
from nextreel.types import FloatArray, Request, UserState

NOW = Request(None, 0.0)
GENRES, EACH, DIM = 5, 20, 8
Person = Callable[..., UserState]


def videos(seed: int = 0) -> FloatArray:
    """Video r is of genre r % GENRES: its vector lies near the genre's axis."""
    rng = np.random.default_rng(seed)
    vectors = 0.1 * rng.normal(size=(GENRES * EACH, DIM)).astype(np.float32)
    vectors[np.arange(len(vectors)), np.arange(len(vectors)) % GENRES] += 1.0
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_every_interest_is_proposed_for_and_no_other(person: Person) -> None:
    source = multi_query(indexes.build(videos()), MultiQueryParams(queries=3))
    state = person([0, 5, 10, 15, 20, 1, 6, 2])  # five of genre 0, two of 1, one of 2
    rows, scores = source.retrieve(NOW, state, 30)
    assert source.name == "multi_query"
    assert set((rows % GENRES).tolist()) == {0, 1, 2}
    assert len(set(rows.tolist())) == 30
    assert not set(rows.tolist()) & set(state.history.rows.tolist())
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_allclose(source.score(NOW, state, rows), scores, rtol=1e-6)


def test_the_mean_of_all_would_lie_between_the_interests(person: Person) -> None:
    index = indexes.build(videos())
    state = person([0, 5, 10, 15, 20, 1, 6])
    one, several = (multi_query(index, MultiQueryParams(queries=many)).retrieve(NOW, state, 20)[0] for many in (1, 2))
    assert np.count_nonzero(several % GENRES == 1) > np.count_nonzero(one % GENRES == 1)


def test_watching_more_of_a_genre_brings_more_of_it(person: Person) -> None:
    source = multi_query(indexes.build(videos()), MultiQueryParams(queries=2))
    before, after = (source.retrieve(NOW, person(rows), 20)[0] for rows in ([0, 5], [0, 5, 3, 8, 13, 18, 23]))
    assert np.count_nonzero(after % GENRES == 3) > np.count_nonzero(before % GENRES == 3)


def test_a_query_is_the_decayed_mean_of_its_group() -> None:
    liked = np.array([[1, 0], [0, 1]], np.float32)
    query = interests(liked, MultiQueryParams(queries=1, half_life=1.0))
    np.testing.assert_allclose(query, [np.array([0.5, 1.0]) / np.hypot(0.5, 1.0)], rtol=1e-6)
    newest = interests(liked, MultiQueryParams(queries=3, max_history=1))
    np.testing.assert_allclose(newest, [[0, 1]])


def test_opposite_tastes_in_one_group_leave_no_query() -> None:
    liked = np.array([[1, 0], [-1, 0]], np.float32)
    assert interests(liked, MultiQueryParams(queries=1, half_life=1e9)).shape == (0, 2)


def test_who_liked_nothing_gets_nothing(person: Person) -> None:
    source = multi_query(indexes.build(videos()))
    assert len(source.retrieve(NOW, UserState(None), 5)[0]) == 0
    assert np.isnan(source.score(NOW, person([3], weights=[-1.0]), np.array([1], np.int32))).all()


@pytest.mark.parametrize("groups", [1, 2, 5, 9])
@pytest.mark.parametrize("seed", [0, 1])
def test_groups_are_those_of_the_library(groups: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(40, 6)).astype(np.float32)
    ours, library = ward(vectors, groups), fcluster(linkage(vectors, "ward"), groups, "maxclust")
    assert len(set(zip(ours.tolist(), library.tolist(), strict=True))) == groups


@given(n=st.integers(1, 12), groups=st.integers(1, 14), same=st.booleans())
@settings(max_examples=40, deadline=None)
def test_there_are_as_many_groups_as_asked_for_or_as_vectors(n: int, groups: int, same: bool) -> None:
    vectors = np.ones((n, 3), np.float32) if same else np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    found = ward(vectors, groups)
    assert found.shape == (n,)
    assert sorted(set(found.tolist())) == list(range(min(n, groups)))
