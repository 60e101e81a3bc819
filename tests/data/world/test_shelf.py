"""Draws come from where they are asked from, as often as their popularity says."""

from __future__ import annotations

import numpy as np
import pytest

from nextreel.data.world.plan import Plan
from nextreel.data.world.shelf import Range, Shelf
from nextreel.data.world.truth import Videos
from nextreel.data.world.uploads import uploads
from nextreel.types import DAY

PLAN = Plan(videos=240)
N = 20_000


@pytest.fixture(scope="module")
def videos() -> Videos:
    return uploads(PLAN)[0]


@pytest.fixture(scope="module")
def shelf(videos: Videos) -> Shelf:
    shelf = Shelf(videos)
    shelf.fill(PLAN.end)
    return shelf


def draw(shelf: Shelf, where: Range, at: float = PLAN.end) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.asarray(shelf.draw(np.random.default_rng(1), where, np.full(len(where.low), at)))


def test_draws_stay_in_their_category_and_channel(shelf: Shelf, videos: Videos) -> None:
    child, main, channel = np.arange(N) % 30, np.arange(N) % 10, videos.channel[np.arange(N) % 240]
    np.testing.assert_array_equal(videos.child[draw(shelf, shelf.of_child(child))], child)
    np.testing.assert_array_equal(videos.main[draw(shelf, shelf.of_main(main))], main)
    np.testing.assert_array_equal(videos.channel[draw(shelf, shelf.of_channel(channel))], channel)


def test_a_video_is_drawn_as_often_as_it_is_popular(shelf: Shelf, videos: Videos) -> None:
    popularity = videos.popularity(PLAN.end)
    expected = N * popularity / popularity.sum()
    found = np.bincount(draw(shelf, shelf.of_all(N)), minlength=240)
    assert (np.abs(found - expected) < 5 * np.sqrt(expected + 1)).all()


def test_new_videos_are_those_of_the_last_three_days(shelf: Shelf, videos: Videos) -> None:
    at = np.full(N, PLAN.end - 5 * DAY)
    found = draw(shelf, shelf.new(at), float(at[0]))
    expected = np.flatnonzero((videos.published >= at[0] - 3 * DAY) & (videos.published < at[0]))
    assert set(found.tolist()) == set(expected.tolist())


def test_where_there_is_nothing_nothing_is_drawn(shelf: Shelf) -> None:
    assert (draw(shelf, shelf.of_channel(np.full(5, 10_000))) == -1).all()
    assert (draw(shelf, shelf.of_all(5), at=0.0) == -1).all()
    assert (draw(shelf, shelf.new(np.zeros(5)), at=0.0) == -1).all()
