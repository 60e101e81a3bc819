"""The synthetic world: the same for a seed, readable, and with something to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from nextreel.data import World, load, synthetic
from nextreel.data.tastes import Tastes
from nextreel.types import Kind, NextreelError


@pytest.fixture(scope="module")
def world() -> World:
    return World.make(users=400, videos=300, interactions=40_000, seed=7)


def test_a_world_has_exactly_the_sizes_asked_for() -> None:
    for sizes in ((1, 1, 1), (50, 30, 777), (200, 100, 5_000)):
        made = World.make(*sizes)
        assert (made.users.height, made.videos.height, made.interactions.height) == sizes


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.write(tmp_path / name, 60, 40, 600, seed)
    for file in ("users", "videos", "channels", "interactions"):
        a, b, c = ((tmp_path / name / f"{file}.parquet").read_bytes() for name in "abc")
        assert a == b
        assert a != c


def test_a_written_world_loads_without_a_warning_and_its_tastes_come_back(tmp_path: Path) -> None:
    made = World.make(60, 40, 600, 3)
    made.write(tmp_path)
    found = load(tmp_path)
    assert len(found.events) == 600
    assert found.timed
    assert found.manifest.warnings == ()
    assert found.manifest.counts["videos_without_metadata"] == 0
    np.testing.assert_array_equal(found.events.at, made.dataset().events.at)
    tastes = Tastes.load(tmp_path / "world.npz")
    pairs = (["u1", "u60"], ["v40", "v2"])
    np.testing.assert_array_equal(tastes.preference(*pairs), made.preference(*pairs))


def test_true_preferences_are_probabilities_and_strangers_are_refused(world: World) -> None:
    users, videos = np.repeat(world.tastes.user_ids, 50), np.tile(world.tastes.video_ids[:50], 400)
    truth = world.preference(users, videos)
    assert truth.shape == (20_000,)
    assert truth.min() >= 0
    assert truth.max() <= 1
    assert truth.std() > 0.1
    with pytest.raises(NextreelError, match="'u401'"):
        world.preference(["u401"], ["v1"])


def test_titles_can_be_read_and_do_not_repeat(world: World) -> None:
    titles = world.videos["title"]
    assert titles.n_unique() == len(titles)
    assert titles.str.contains(r"^\p{Lu}|^\d|^[¡¿]").all()
    assert not titles.str.contains(r"[{}]").any()
    assert world.videos["category"].n_unique() == 10
    assert 0 < world.videos["is_available"].not_().sum() < 30


def test_all_kinds_of_answers_about_videos_happen_and_watches_have_a_length(world: World) -> None:
    kinds = {kind.name.lower() for kind in Kind} - {"subscribe", "block"}
    assert set(world.interactions["kind"]) == kinds
    watches = world.interactions.filter(pl.col("kind") == "watch").join(world.videos, on="video_id")
    assert watches["watch_time"].null_count() == 0
    assert (watches["watch_time"] <= watches["duration"] + 0.1).all()


def test_nothing_happens_before_its_time(world: World) -> None:
    rows = world.interactions.join(world.videos, on="video_id").join(world.users, on="user_id")
    assert rows.height == world.interactions.height
    assert (rows["timestamp"] >= rows["published_at"]).all()
    assert (rows["timestamp"] >= rows["created_at"]).all()
    assert world.interactions["timestamp"].is_sorted()
    assert (world.interactions["timestamp"].dt.epoch("s") <= synthetic.END).all()


def test_nobody_is_shown_again_what_they_watched(world: World) -> None:
    watches = world.interactions.filter(pl.col("kind") == "watch")
    assert watches.select("user_id", "video_id").is_unique().all()


def test_a_place_further_up_is_clicked_more_at_equal_preference(world: World) -> None:
    shown = world.interactions.filter(pl.col("kind") == "impression")
    clicked = world.interactions.filter(pl.col("kind") == "click").select("user_id", "video_id", "request_id")
    rows = shown.join(clicked.with_columns(hit=1), on=["user_id", "video_id", "request_id"], how="left")
    first, seventh = (rows.filter(pl.col("position") == place)["hit"].fill_null(0).to_numpy() for place in (0, 6))
    assert first.mean() > seventh.mean()


def hit_rate(scores: NDArray[np.floating], seen: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    who = truth.any(axis=1) & seen.any(axis=1)
    top = np.argsort(-np.where(seen, -np.inf, scores)[who], axis=1, kind="stable")[:, :10]
    return float(np.take_along_axis(truth[who], top, axis=1).any(axis=1).mean())


def test_neighbours_and_true_tastes_foresee_later_watches_better_than_popularity(world: World) -> None:
    dataset = world.dataset()
    people, videos = len(dataset.profiles), len(dataset.catalogue)
    cut = int(0.8 * len(dataset.events))
    watched = dataset.events.kind == Kind.WATCH
    early = watched & (np.arange(len(watched)) < cut)
    seen, later = np.zeros((2, people, videos), np.bool_)
    seen[dataset.events.user[early], dataset.events.video[early]] = True
    late = watched & ~early
    later[dataset.events.user[late], dataset.events.video[late]] = True
    together = seen.T.astype(np.float64) @ seen
    size = np.sqrt(np.diag(together) + 1e-9)
    np.fill_diagonal(together, 0)
    popular = hit_rate(np.tile(seen.sum(axis=0), (people, 1)), seen, later)
    neighbours = hit_rate(seen @ (together / np.outer(size, size)), seen, later)
    pairs = np.repeat(world.tastes.user_ids, videos), np.tile(world.tastes.video_ids, people)
    truth = hit_rate(world.preference(*pairs).reshape(people, videos), seen, later)
    assert neighbours > popular + 0.2
    assert truth > popular + 0.3


def test_a_session_stays_nearer_to_one_interest_than_later_ones_do(world: World) -> None:
    watches = (
        world.interactions.filter(pl.col("kind") == "watch")
        .join(world.videos.select("video_id", child=pl.col("child_categories").list.first()), on="video_id")
        .sort("user_id", "timestamp")
        .with_columns(
            same=pl.col("child") == pl.col("child").shift(1).over("user_id"),
            session=pl.col("request_id") == pl.col("request_id").shift(1).over("user_id"),
        )
    )
    within = watches.filter("session")["same"].drop_nulls().to_numpy()
    across = watches.filter(~pl.col("session"))["same"].drop_nulls().to_numpy()
    assert within.mean() > across.mean() + 0.03


def test_what_is_liked_is_watched_longer(world: World) -> None:
    watches = world.interactions.filter(pl.col("kind") == "watch").join(world.videos, on="video_id")
    truth = world.preference(watches["user_id"].to_list(), watches["video_id"].to_list())
    part = (watches["watch_time"] / watches["duration"]).to_numpy()
    assert part[truth > 0.7].mean() > part[truth < 0.3].mean() + 0.2


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(NextreelError, match="at least 1"):
        World.make(users=0)
    with pytest.raises(NextreelError, match="more users or videos"):
        World.make(2, 2, 5_000)
