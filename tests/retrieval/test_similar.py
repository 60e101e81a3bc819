"""What is near the videos that a person liked, where the nearest are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextreel.retrieval import index as indexes
from nextreel.retrieval.index import IndexParams
from nextreel.retrieval.similar import SimilarParams, directions, similar
from nextreel.types import FloatArray, Kind, Request, UserState

NOW = Request(None, 0.0)
Person = Callable[..., UserState]


def circle(n: int = 36) -> FloatArray:
    """Videos on a circle, each as far from the next."""
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_the_nearest_to_any_of_the_last_videos_come_first(person: Person) -> None:
    source = similar(indexes.build(circle()), SimilarParams(last=2))
    rows, scores = source.retrieve(NOW, person([30, 0, 18]), 4)
    assert source.name == "similar"
    assert sorted(rows.tolist()) == [1, 17, 19, 35]  # beside 0 and 18; 30 is too long ago
    assert scores.tolist() == pytest.approx([np.cos(np.pi / 18)] * 4)
    np.testing.assert_allclose(source.score(NOW, person([30, 0, 18]), rows), scores, rtol=1e-6)


def test_what_the_person_knows_or_did_not_like_is_not_looked_around(person: Person) -> None:
    source = similar(indexes.build(circle()), SimilarParams(last=5))
    state = person([0, 9, 18], weights=[1.0, -1.0, 0.0])
    rows, _ = source.retrieve(NOW, state, 2)
    assert sorted(rows.tolist()) == [1, 35]
    assert not {0, 9, 18} & set(source.retrieve(NOW, state, 36)[0].tolist())


def test_who_liked_nothing_gets_nothing_and_no_score(person: Person) -> None:
    source = similar(indexes.build(circle()))
    for state in (UserState(None), person([3], weights=[-1.0]), person([99])):  # the index does not hold row 99
        rows, scores = source.retrieve(NOW, state, 5)
        assert len(rows) == len(scores) == 0
        assert np.isnan(source.score(NOW, state, np.array([1, 2], np.int32))).all()


def test_rows_outside_the_index_have_no_score(person: Person) -> None:
    scores = similar(indexes.build(circle())).score(NOW, person([0]), np.array([0, 36, 35], np.int32))
    assert np.isnan(scores).tolist() == [False, True, False]


def test_one_more_event_counts_at_once(person: Person) -> None:
    source, state = similar(indexes.build(circle()), SimilarParams(last=1)), person([0])
    assert 1 in source.retrieve(NOW, state, 2)[0]
    state.history.append(18, 9.0, Kind.WATCH, 1.0)
    assert sorted(source.retrieve(NOW, state, 2)[0].tolist()) == [17, 19]


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_a_searched_index_finds_what_an_exact_one_does(kind: str, person: Person) -> None:
    rng = np.random.default_rng(0)
    exact = directions(rng.normal(size=(600, 8)).astype(np.float32))
    searched = indexes.build(exact.vectors, IndexParams.model_validate({"kind": kind, "probes": 64}))
    assert searched.kind == kind
    state = person([3, 77, 500])
    one, other = (similar(index).retrieve(NOW, state, 20) for index in (exact, searched))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], rtol=1e-5)
    rows = np.arange(50, dtype=np.int32)
    one_scores, other_scores = (similar(index).score(NOW, state, rows) for index in (exact, searched))
    np.testing.assert_allclose(one_scores, other_scores, rtol=1e-5, atol=1e-6)


def test_directions_are_of_unit_length_and_a_video_without_factors_is_like_none(person: Person) -> None:
    index = directions(np.array([[3, 4], [0, 0], [6, 8.1]], np.float32))
    np.testing.assert_allclose(np.linalg.norm(index.vectors, axis=1), [1, 0, 1], atol=1e-6)
    assert similar(index).retrieve(NOW, person([1]), 5)[0].tolist() == []
    assert similar(index).retrieve(NOW, person([0, 1]), 5)[0].tolist() == [2]
