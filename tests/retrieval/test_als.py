from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nextreel.progress import Progress
from nextreel.retrieval import als
from nextreel.retrieval._arrays import FitError
from nextreel.retrieval.als import Als, AlsParams
from nextreel.types import DAY, FloatArray, Kind, Request, RowArray, TimeArray, UserState

USERS, VIDEOS = 40, 30
NOW = Request(None, 0.0)


def checkerboard(seed: int = 0) -> tuple[RowArray, RowArray, FloatArray]:
    """Even users watch half of the even videos, odd users half of the odd ones."""
    rng = np.random.default_rng(seed)
    pairs = [(user, 2 * int(video) + user % 2) for user in range(USERS) for video in rng.permutation(VIDEOS // 2)[:8]]
    users, videos = np.array(pairs, np.int32).T
    return users, videos, np.ones(len(users), np.float32)


def person(rows: list[int], user_id: int | None = 1, weight: float = 1.0) -> UserState:
    state = UserState(user_id, known=True)
    for at, row in enumerate(rows):
        state.history.append(row, float(at), Kind.WATCH, weight)
        state.version += 1
    return state


@pytest.fixture(scope="module")
def model() -> Als:
    return als.fit(*checkerboard(), USERS, VIDEOS, AlsParams(factors=4, iterations=10, threads=1))


def test_even_users_are_given_even_items(model: Als) -> None:
    for parity in (0, 1):
        watched = [parity, parity + 4, parity + 10]
        rows, scores = model.retrieve(NOW, person(watched), 10)
        assert set((rows % 2).tolist()) == {parity}
        assert not set(rows.tolist()) & set(watched)
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(model.score(NOW, person(watched), rows), scores, rtol=1e-5)


def test_fold_in_equals_the_user_factors_of_a_plain_solution(model: Als) -> None:
    users, videos, weights = checkerboard()
    factors = model.item_factors.astype(np.float64)
    for user in range(5):
        rows = videos[users == user]
        confidence = np.ones(VIDEOS)
        confidence[rows] = model.params.alpha
        preference = np.zeros(VIDEOS)
        preference[rows] = 1.0
        left = factors.T @ np.diag(confidence) @ factors + model.params.regularization * np.eye(4)
        expected = np.linalg.solve(left, factors.T @ (confidence * preference))
        np.testing.assert_allclose(model.vector(rows, weights[: len(rows)]), expected, atol=1e-4)


def test_fold_in_equals_the_librarys_own_user_factors() -> None:
    users, videos, _ = checkerboard(1)
    weights = np.random.default_rng(1).uniform(0.5, 3.0, len(users)).astype(np.float32)
    params = AlsParams(factors=6, iterations=15, alpha=2.0, threads=1)
    ours = als.fit(users, videos, weights, USERS, VIDEOS, params)
    matrix = csr_matrix((weights, (users, videos)), shape=(USERS, VIDEOS))
    with threadpool_limits(1, "blas"):
        library = AlternatingLeastSquares(factors=6, regularization=0.1, alpha=2.0, num_threads=1)
        library.item_factors = np.array(ours.item_factors)
        expected = library.recalculate_user(np.arange(USERS), matrix)
    for user in range(USERS):
        mine = ours.vector(videos[users == user], weights[users == user])
        np.testing.assert_allclose(mine, expected[user], atol=2e-3)


def test_a_new_user_is_served_from_the_first_event(model: Als) -> None:
    rows, _ = model.retrieve(NOW, person([7], user_id=999_999), 5)
    assert (rows % 2 == 1).all()


def test_a_person_without_a_positive_gets_nothing_and_no_score(model: Als) -> None:
    for state in (UserState(None), person([3], weight=-1.0), person([3], weight=0.0)):
        rows, scores = model.retrieve(NOW, state, 5)
        assert len(rows) == len(scores) == 0
        assert np.isnan(model.score(NOW, state, np.array([1, 2], np.int32))).all()


def test_one_more_event_changes_the_remembered_scores(model: Als) -> None:
    state, rows = person([0, 2]), np.arange(8, dtype=np.int32)
    before = model.score(NOW, state, rows)
    np.testing.assert_array_equal(model.score(NOW, state, rows), before)
    state.history.append(5, 9.0, Kind.WATCH, 1.0)
    state.version += 1
    assert not np.allclose(model.score(NOW, state, rows), before)


def test_two_stores_that_hold_the_same_person_do_not_share_scores(model: Als) -> None:
    one, other, rows = person([0, 2]), person([1, 3]), np.arange(8, dtype=np.int32)
    assert (one.user_id, one.version) == (other.user_id, other.version)
    assert not np.allclose(model.score(NOW, one, rows), model.score(NOW, other, rows))


def test_repeated_events_count_once_as_the_strongest(model: Als) -> None:
    once = model.vector(np.array([4, 6], np.int32), np.array([1, 2], np.float32))
    more = model.vector(np.array([6, 4, 6, 6], np.int32), np.array([0.5, 1, 2, -1], np.float32))
    np.testing.assert_allclose(once, more, rtol=1e-5)


def test_similar_videos_are_of_the_same_colour_and_not_the_video_itself(model: Als) -> None:
    rows, cosines = model.similar(4, 5)
    assert 4 not in rows
    assert (rows % 2 == 0).all()
    assert (np.diff(cosines) <= 0).all()


def test_a_saved_model_answers_the_same(model: Als, tmp_path: Path) -> None:
    model.save(tmp_path / "als")
    loaded = als.load(tmp_path / "als")
    assert loaded.params == model.params
    for one, other in zip(model.retrieve(NOW, person([1, 3]), 9), loaded.retrieve(NOW, person([1, 3]), 9), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_missing_or_mixed_saved_model_is_refused(model: Als, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="Expected a saved ALS model"):
        als.load(tmp_path)
    model.save(tmp_path)
    np.save(tmp_path / als.GRAM_FILE, np.eye(7))
    with pytest.raises(FitError, match="come from two models"):
        als.load(tmp_path)


def test_the_same_seed_gives_the_same_factors() -> None:
    params = AlsParams(factors=4, iterations=3, threads=1)
    one, other = (als.fit(*checkerboard(), USERS, VIDEOS, params).item_factors for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_each_iteration_is_reported(model: Als) -> None:
    done: list[int] = []

    @contextmanager
    def progress(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        assert total == 3
        yield done.append

    reporter: Progress = progress
    als.fit(*checkerboard(), USERS, VIDEOS, AlsParams(factors=2, iterations=3, threads=1), reporter)
    assert sum(done) == 3


def test_events_without_a_positive_cannot_be_fitted() -> None:
    users, videos, weights = checkerboard()
    with pytest.raises(FitError, match="at least one event about a video with a weight above 0"):
        als.fit(users, videos, -weights, USERS, VIDEOS)
    with pytest.raises(FitError, match=r"users in 0\.\.9"):
        als.fit(users, videos, weights, 10, VIDEOS)


def test_answering_imports_no_training_library() -> None:
    code = (
        "import sys, numpy as np; from nextreel.retrieval import als, item_item; "
        "als.Als(np.eye(2, dtype=np.float32), als.AlsParams()).scores(np.array([0]), np.ones(1)); "
        "sys.exit(any(name in sys.modules for name in ('implicit', 'scipy', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


# --- Age and confidence -----------------------------------------------------------------------------------------------

HALVED = AlsParams(factors=4, iterations=10, threads=1, half_life_days=1.0)


def changed_tastes() -> tuple[RowArray, RowArray, FloatArray, TimeArray]:
    """The checkerboard, turned around fifty days later: even users watch odd videos now."""
    users, videos, weights = checkerboard()
    at = np.concatenate([np.zeros(len(users)), np.full(len(users), 50 * DAY)])
    return np.tile(users, 2), np.concatenate([videos, videos ^ 1]), np.tile(weights, 2), at


def test_with_a_half_life_old_tastes_are_forgotten() -> None:
    users, videos, weights, at = changed_tastes()
    model = als.fit(users, videos, weights, USERS, VIDEOS, HALVED, at=at)
    state = UserState(1, known=True)
    for row, days in ((0, 0.0), (4, 0.1), (10, 0.2), (1, 50.0), (5, 50.1)):
        state.history.append(row, days * DAY, Kind.WATCH, 1.0)
    assert (model.retrieve(NOW, state, 5)[0] % 2 == 1).all()


def test_a_person_who_comes_back_late_is_known_by_what_they_watched_last() -> None:
    users, videos, weights = checkerboard()
    model = als.fit(users, videos, weights, USERS, VIDEOS, HALVED, at=np.zeros(len(users)))
    rows, ones = np.array([0, 4, 10], np.int32), np.ones(3, np.float32)
    early, late = (model.vector(rows, ones, np.array([0.0, 0.0, 1.0]) * DAY + start) for start in (0.0, 999 * DAY))
    np.testing.assert_allclose(early, late, rtol=1e-5)


def test_decayed_weights_are_those_of_the_formula() -> None:
    weights = HALVED.decayed(np.array([1, 2, -1], np.float32), np.array([0.0, 2.0, 3.0]) * DAY)
    assert weights.tolist() == pytest.approx([1 / 8, 2 / 2, -1.0])
    assert HALVED.decayed(np.ones(0, np.float32), np.ones(0)).tolist() == []


def test_without_a_half_life_times_change_nothing(model: Als) -> None:
    timed = als.fit(*checkerboard(), USERS, VIDEOS, model.params, at=np.arange(8.0 * USERS) * DAY)
    np.testing.assert_array_equal(timed.item_factors, model.item_factors)


def test_a_half_life_needs_the_time_of_each_event() -> None:
    with pytest.raises(FitError, match="Expected the time of each event"):
        als.fit(*checkerboard(), USERS, VIDEOS, HALVED)
    with pytest.raises(FitError, match="time of each of 320 events; got 3 times"):
        als.fit(*checkerboard(), USERS, VIDEOS, HALVED, at=np.zeros(3))
    model = Als(np.eye(4, dtype=np.float32), HALVED)
    with pytest.raises(FitError, match="Hint: pass `at`"):
        model.scores(np.array([1], np.int32), np.ones(1, np.float32))


def test_confidences_are_those_of_the_formula() -> None:
    weights = np.array([1, 3], np.float32)
    assert AlsParams(alpha=2.0).confidences(weights).tolist() == [2.0, 6.0]
    log = AlsParams(alpha=2.0, confidence="log", epsilon=0.5).confidences(weights)
    assert log.tolist() == pytest.approx([2 * np.log(3), 2 * np.log(7)])


def test_a_model_of_another_confidence_is_saved_with_it(tmp_path: Path) -> None:
    params = AlsParams(factors=4, iterations=2, threads=1, confidence="log", epsilon=2.0, half_life_days=3.0)
    model = als.fit(*checkerboard(), USERS, VIDEOS, params, at=np.zeros(8 * USERS))
    model.save(tmp_path)
    loaded = als.load(tmp_path)
    assert loaded.params == params
    for one, other in zip(model.retrieve(NOW, person([1, 3]), 9), loaded.retrieve(NOW, person([1, 3]), 9), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
