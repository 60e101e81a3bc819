"""The truth answers for any pair and time, from memory or mapped from the disk, and refuses strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nextreel.data import World, synthetic
from nextreel.data.world.truth import Truth
from nextreel.types import NextreelError


@pytest.fixture(scope="module")
def world() -> World:
    return World.make(80, 60, 2_000, seed=9)


def test_preferences_are_probabilities_that_differ(world: World) -> None:
    users, videos = world.users["user_id"].to_list(), world.videos["video_id"].to_list()
    found = world.preference(np.repeat(users, 60), np.tile(videos, 80))
    assert found.shape == (4_800,)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std() > 0.1
    assert world.preference([], []).shape == (0,)


def test_an_opened_truth_is_mapped_and_equal(world: World, tmp_path: Path) -> None:
    synthetic.write(tmp_path, 80, 60, 2_000, seed=9)
    truth = Truth.open(tmp_path)
    assert isinstance(truth.people.interests.base, np.memmap)
    pairs = world.interactions.drop_nulls("video_id")
    at = pairs["timestamp"].dt.epoch("ms").to_numpy() / 1e3
    ids = pairs["user_id"].to_list(), pairs["video_id"].to_list()
    np.testing.assert_array_equal(truth.preference(*ids, at), world.preference(*ids, at))
    np.testing.assert_array_equal(truth.click_probability(*ids, at, 3), world.truth.click_probability(*ids, at, 3))


@pytest.mark.parametrize("stranger", ["u81", "u0", "u-1", "u01", "v1", "1", "", 1])
def test_strangers_are_refused(world: World, stranger: str | int) -> None:
    with pytest.raises(NextreelError, match=f"user of this world, got '{stranger}'. Known: u1 to u80"):
        world.preference(["u1", stranger], ["v1", "v1"])


def test_questions_that_make_no_sense_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(NextreelError, match="2 users and 1 videos"):
        world.preference(["u1", "u2"], ["v1"])
    with pytest.raises(NextreelError, match="places from 0 to 9, got 10"):
        world.truth.click_probability(["u1"], ["v1"], position=10)
    with pytest.raises(NextreelError, match="nextreel data synth"):
        Truth.open(tmp_path)


def test_popularity_is_nothing_before_a_video_is_out(world: World) -> None:
    videos = world.truth.videos
    at = float(np.median(videos.published))
    assert ((videos.popularity(at) > 0) == (videos.published < at)).all()
