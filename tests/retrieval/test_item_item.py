from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.retrieval import item_item
from nextreel.retrieval._arrays import FitError, best
from nextreel.retrieval.item_item import ItemItem, ItemItemParams, Sparse, fit_cosine, fit_ease
from nextreel.types import Kind, Request, UserState

USERS, VIDEOS = 40, 30
NOW = Request(None, 0.0)
FITS = pytest.mark.parametrize("fit", [fit_cosine, fit_ease])


def checkerboard(seed: int = 0) -> tuple[Any, Any, Any]:
    """Even users watch half of the even videos, odd users half of the odd ones."""
    rng = np.random.default_rng(seed)
    pairs = [(user, 2 * int(video) + user % 2) for user in range(USERS) for video in rng.permutation(VIDEOS // 2)[:8]]
    users, videos = np.array(pairs, np.int32).T
    return users, videos, np.ones(len(users), np.float32)


def watched(seed: int = 0) -> NDArray[np.float64]:
    users, videos, _ = checkerboard(seed)
    matrix = np.zeros((USERS, VIDEOS))
    matrix[users, videos] = 1
    return matrix


def person(rows: list[int]) -> UserState:
    state = UserState(1, known=True)
    for at, row in enumerate(rows):
        state.history.append(row, float(at), Kind.WATCH, 1.0)
        state.version += 1
    return state


@FITS
@pytest.mark.parametrize("neighbours", [None, 6])
def test_even_users_are_given_even_items(fit: Any, neighbours: int | None) -> None:
    model = fit(*checkerboard(), USERS, VIDEOS, ItemItemParams(l2=5.0, neighbours=neighbours))
    for parity in (0, 1):
        seen = [parity, parity + 4, parity + 10]
        rows, scores = model.retrieve(NOW, person(seen), 5)
        assert len(rows) == 5
        assert set((rows % 2).tolist()) == {parity}
        assert not set(rows.tolist()) & set(seen)
        np.testing.assert_array_equal(model.score(NOW, person(seen), rows), scores)


def test_cosine_weights_are_those_of_the_formula() -> None:
    x = watched()
    expected = (x.T @ x) / np.sqrt(np.outer(x.sum(0), x.sum(0)))
    np.fill_diagonal(expected, 0)
    model = fit_cosine(*checkerboard(), USERS, VIDEOS)
    assert not isinstance(model.weights, Sparse)
    np.testing.assert_allclose(model.weights, expected, atol=1e-6)


def test_ease_weights_are_those_of_a_ridge_regression_without_the_video_itself() -> None:
    x = watched()
    model = fit_ease(*checkerboard(), USERS, VIDEOS, ItemItemParams(l2=3.0))
    assert not isinstance(model.weights, Sparse)
    for video in range(0, VIDEOS, 7):
        others = np.delete(np.arange(VIDEOS), video)
        a = x[:, others]
        expected = np.linalg.solve(a.T @ a + 3.0 * np.eye(VIDEOS - 1), a.T @ x[:, video])
        np.testing.assert_allclose(model.weights[others, video], expected, atol=1e-4)
        assert model.weights[video, video] == 0


@FITS
@given(history=st.lists(st.integers(0, VIDEOS - 1), max_size=12), half_life=st.sampled_from([None, 2.0]))
@settings(max_examples=20, deadline=None)
def test_all_neighbours_kept_answer_as_the_dense_weights(fit: Any, history: list[int], half_life: float | None) -> None:
    dense = fit(*checkerboard(), USERS, VIDEOS, ItemItemParams(l2=5.0, half_life=half_life))
    sparse = fit(*checkerboard(), USERS, VIDEOS, ItemItemParams(l2=5.0, half_life=half_life, neighbours=VIDEOS))
    assert isinstance(sparse.weights, Sparse)
    rows, weights = np.array(history, np.int32), np.ones(len(history), np.float32)
    np.testing.assert_allclose(dense.scores(rows, weights), sparse.scores(rows, weights), atol=1e-5)


def test_only_the_largest_weights_are_kept() -> None:
    whole = fit_ease(*checkerboard(), USERS, VIDEOS, ItemItemParams(l2=5.0)).weights
    model = fit_ease(*checkerboard(), USERS, VIDEOS, ItemItemParams(l2=5.0, neighbours=4))
    assert isinstance(model.weights, Sparse)
    assert not isinstance(whole, Sparse)
    assert model.weights.values.shape == (VIDEOS, 4)
    kept = np.sort(np.abs(model.weights.values))
    np.testing.assert_allclose(kept, np.sort(np.abs(whole))[:, -4:], rtol=1e-5)


def test_lines_with_fewer_weights_add_nothing() -> None:
    lines = np.array([0, -1, 1], np.int32)  # the second video has none
    weights = Sparse(lines, np.array([[1, 2], [0, 0]], np.int32), np.array([[0.5, 0.25], [2.0, 0.0]], np.float32))
    model = ItemItem("item_item", weights, ItemItemParams())
    np.testing.assert_array_equal(model.scores(np.array([0, 1, 2]), np.ones(3, np.float32)), [2.0, 0.5, 0.25])
    np.testing.assert_array_equal(model.scores(np.array([1]), np.ones(1, np.float32)), [0.0, 0.0, 0.0])
    assert model.similar(0, 3)[0].tolist() == [1, 2]
    assert model.similar(1, 3)[0].tolist() == []
    assert model.similar(2, 3)[0].tolist() == [0]


def test_each_video_counts_once_and_older_ones_less() -> None:
    weights = np.eye(4, k=1, dtype=np.float32)
    plain = ItemItem("item_item", weights, ItemItemParams())
    np.testing.assert_array_equal(plain.scores(np.array([0, 1, 0]), np.ones(3, np.float32)), [0, 1, 1, 0])
    decayed = ItemItem("item_item", weights, ItemItemParams(half_life=1.0))
    # the last event of video 0 is newer than that of video 1
    np.testing.assert_array_equal(decayed.scores(np.array([0, 1, 0]), np.ones(3, np.float32)), [0, 1, 0.5, 0])
    newest = ItemItem("item_item", weights, ItemItemParams(max_history=1))
    np.testing.assert_array_equal(newest.scores(np.array([0, 1]), np.ones(2, np.float32)), [0, 0, 1, 0])


def test_disliked_videos_do_not_count() -> None:
    model = ItemItem("item_item", np.eye(4, k=1, dtype=np.float32), ItemItemParams())
    np.testing.assert_array_equal(model.scores(np.array([0, 1]), np.array([1, -1], np.float32)), [0, 1, 0, 0])


@FITS
def test_only_the_most_watched_videos_take_part_when_asked(fit: Any) -> None:
    users, videos, weights = checkerboard()
    counts = np.bincount(videos, minlength=VIDEOS)
    model = fit(users, videos, weights, USERS, VIDEOS, ItemItemParams(l2=5.0, max_videos=10))
    taking_part = np.flatnonzero(np.abs(model.weights).sum(axis=0) > 0)
    assert set(taking_part) <= set(np.argsort(-counts, kind="stable")[:10])
    assert model.weights.shape == (VIDEOS, VIDEOS)


@FITS
def test_a_person_without_a_positive_gets_nothing_and_no_score(fit: Any) -> None:
    model = fit(*checkerboard(), USERS, VIDEOS)
    rows, scores = model.retrieve(NOW, UserState(None), 5)
    assert len(rows) == len(scores) == 0
    assert np.isnan(model.score(NOW, UserState(None), np.array([1], np.int32))).all()


def test_similar_videos_are_of_the_same_colour_and_not_the_video_itself() -> None:
    for neighbours in (None, 8):
        model = fit_cosine(*checkerboard(), USERS, VIDEOS, ItemItemParams(neighbours=neighbours))
        rows, weights = model.similar(4, 5)
        assert len(rows) == 5
        assert 4 not in rows
        assert (rows % 2 == 0).all()
        assert (np.diff(weights) <= 0).all()


@FITS
@pytest.mark.parametrize("neighbours", [None, 6])
def test_a_saved_model_answers_the_same(fit: Any, neighbours: int | None, tmp_path: Path) -> None:
    model = fit(*checkerboard(), USERS, VIDEOS, ItemItemParams(l2=5.0, neighbours=neighbours))
    model.save(tmp_path)
    loaded = item_item.load(tmp_path)
    assert (loaded.name, loaded.params) == (model.name, model.params)
    for one, other in zip(model.retrieve(NOW, person([1, 3]), 9), loaded.retrieve(NOW, person([1, 3]), 9), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_missing_or_mixed_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="Expected a saved item-item model"):
        item_item.load(tmp_path)
    fit_cosine(*checkerboard(), USERS, VIDEOS).save(tmp_path)
    np.save(tmp_path / item_item.DENSE_FILE, np.eye(7, dtype=np.float32))
    with pytest.raises(FitError, match="weights of 30 videos"):
        item_item.load(tmp_path)


@given(st.lists(st.integers(-3, 3), max_size=30), st.integers(0, 35))
@settings(max_examples=60, deadline=None)
def test_best_is_a_stable_sort_cut_short(values: list[int], n: int) -> None:
    scores = np.array(values, np.float32)
    np.testing.assert_array_equal(best(scores, n), np.argsort(-scores, kind="stable")[:n])
